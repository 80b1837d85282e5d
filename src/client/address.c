/* Which pool the program is to use. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/internal.h"

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

/* The file's first line. It holds a key: nobody else may read it. */
static int read_file(char *text, size_t size, struct pen_error *error)
{
    char path[PATH_MAX];
    struct stat status;
    if (file_path(path))
        return -PEN_ENOENT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? -PEN_ENOENT
                   : pen_fail(error, -PEN_EIO, "reading the pool's address from %s: %s", path, strerror(errno));
    ssize_t got = fstat(fd, &status) ? -1 : read(fd, text, size - 1);
    close(fd);
    if (got < 0)
        return pen_fail(error, -PEN_EIO, "reading the pool's address from %s: %s", path, strerror(errno));
    if (status.st_mode & 077)
        return pen_fail(error, -PEN_EPERM,
                        "%s is not used, since others can read or write it (mode %04o; 0600 is allowed)", path,
                        status.st_mode & 07777);
    text[got] = 0;
    text[strcspn(text, "\r\n")] = 0;
    return 0;
}

/* -PEN_ENOENT: none is. */
static int named_pool(struct pen_pool_address *out_address, struct pen_error *error)
{
    char text[PEN_POOL_ADDRESS_BYTES + 2];
    const char *pool = getenv("PENSTOCK_POOL"), *socket = getenv("PENSTOCK_SOCKET");
    if (pool && *pool)
        return pen_pool_address_parse(pool, out_address, error);
    if (socket && *socket)
        return -PEN_ENOENT; /* which says where on this host */
    int rc = read_file(text, sizeof text, error);
    if (!rc)
        rc = pen_pool_address_parse(text, out_address, error);
    explicit_bzero(text, sizeof text);
    return rc;
}

int pen_pool_address(struct pen_pool_address *storage, const struct pen_pool_address **out_address,
                     struct pen_error *error)
{
    int rc = named_pool(storage, error);
    if (rc && rc != -PEN_ENOENT)
        return rc;
    *out_address = rc ? NULL : storage;
    return 0;
}
