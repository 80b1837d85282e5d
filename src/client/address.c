/* Which pools the program is to use. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/internal.h"

/* Of the file: more than any list needs. */
#define FILE_BYTES ((size_t)PEN_POOLS_MOST * PEN_POOL_ADDRESS_BYTES)
#define SEPARATORS " \t\r\n,"

/* $XDG_CONFIG_HOME/penstock/pool, else ~/.config/penstock/pool. */
static int file_path(char out[PATH_MAX])
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int size = -1;
    if (config && config[0] == '/')
        size = snprintf(out, PATH_MAX, "%s/penstock/pool", config);
    else if (home && home[0] == '/')
        size = snprintf(out, PATH_MAX, "%s/.config/penstock/pool", home);
    return size < 0 || size >= PATH_MAX ? -PEN_ENOENT : 0;
}

/* All of it, malloc'ed. It holds keys: nobody else may read it. */
static int read_text(int fd, const char *path, char **out_text, struct pen_error *error)
{
    struct stat status;
    if (fstat(fd, &status))
        return pen_fail(error, -PEN_EIO, "reading the pools' addresses from %s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return pen_fail(error, -PEN_EINVAL, "reading the pools' addresses from %s: it is no file", path);
    if (status.st_mode & 077)
        return pen_fail(error, -PEN_EPERM,
                        "%s is not used, since others can read or write it (mode %04o; 0600 is allowed)", path,
                        status.st_mode & 07777);
    char *text = calloc(1, FILE_BYTES + 1);
    if (!text)
        return pen_fail(error, -PEN_ENOMEM, "reading %s: out of memory", path);
    size_t size = 0;
    ssize_t got;
    while ((got = read(fd, text + size, FILE_BYTES - size)) > 0)
        size += (size_t)got;
    int rc = 0;
    if (got < 0)
        rc = pen_fail(error, -PEN_EIO, "reading the pools' addresses from %s: %s", path, strerror(errno));
    else if (size == FILE_BYTES)
        rc = pen_fail(error, -PEN_ELIMIT, "%s is too long: less than %zu bytes are allowed", path, FILE_BYTES);
    if (!rc) {
        *out_text = text;
        return 0;
    }
    explicit_bzero(text, size);
    free(text);
    return rc;
}

static int read_file(const char *path, char **out_text, struct pen_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* what is no file is not waited for */
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? -PEN_ENOENT
                   : pen_fail(error, -PEN_EIO, "reading the pools' addresses from %s: %s", path, strerror(errno));
    int rc = read_text(fd, path, out_text, error);
    close(fd);
    return rc;
}

/* The next address in *text, which it ends with a zero; NULL: there is none. '#' where one could begin is a comment. */
static char *next_word(char **text)
{
    char *word = *text + strspn(*text, SEPARATORS);
    while (*word == '#') {
        word += strcspn(word, "\r\n");
        word += strspn(word, SEPARATORS);
    }
    char *end = word + strcspn(word, SEPARATORS);
    *text = end + (*end != 0);
    *end = 0;
    return *word ? word : NULL;
}

static int add(struct pen_pool_list *list, const char *word, const char *source, struct pen_error *error)
{
    struct pen_error why = {0};
    if (list->count == PEN_POOLS_MOST)
        return pen_fail(error, -PEN_ELIMIT, "%s names more than %d pools", source, PEN_POOLS_MOST);
    int rc = pen_pool_address_parse(word, &list->addresses[list->count], &why);
    if (rc)
        return pen_fail(error, rc, "%s, pool %u: %s", source, list->count + 1, why.message);
    list->count++;
    return 0;
}

/* Words are ended by zeros in `text`. */
static int parse(char *text, const char *source, struct pen_pool_list *list, struct pen_error *error)
{
    int rc = 0;
    for (char *word; !rc && (word = next_word(&text));)
        rc = add(list, word, source, error);
    return rc;
}

/* What the environment says, else the file; nothing when neither does. */
static int read_words(struct pen_pool_list *list, struct pen_error *error)
{
    const char *named = getenv("PENSTOCK_POOL"), *socket = getenv("PENSTOCK_SOCKET"), *source = "PENSTOCK_POOL";
    char path[PATH_MAX], *text = NULL;
    int rc = 0;
    if (named && named[strspn(named, SEPARATORS)]) {
        text = strdup(named);
        rc = text ? 0 : pen_fail(error, -PEN_ENOMEM, "reading PENSTOCK_POOL: out of memory");
    } else if (!(socket && *socket) && !file_path(path)) { /* the socket is where on this host */
        source = path;
        rc = read_file(path, &text, error);
    }
    if (!text)
        return rc == -PEN_ENOENT ? 0 : rc;
    size_t size = strlen(text);
    rc = parse(text, source, list, error);
    explicit_bzero(text, size);
    free(text);
    return rc;
}

int pen_pool_list_read(struct pen_pool_list *out_list, struct pen_error *error)
{
    struct pen_pool_list list = {.addresses = calloc(PEN_POOLS_MOST, sizeof *list.addresses)};
    if (!list.addresses)
        return pen_fail(error, -PEN_ENOMEM, "reading the pools' addresses: out of memory");
    int rc = read_words(&list, error);
    if (rc) {
        pen_pool_list_finish(&list);
        return rc;
    }
    list.named = list.count > 0;
    if (!list.named)
        list.addresses[list.count++].local = true;
    *out_list = list;
    return 0;
}

void pen_pool_list_finish(struct pen_pool_list *list)
{
    if (list->addresses)
        explicit_bzero(list->addresses, PEN_POOLS_MOST * sizeof *list->addresses);
    free(list->addresses);
    *list = (struct pen_pool_list){0};
}
