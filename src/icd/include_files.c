/* icd/include_files.c - headers as files of the program's host, and as texts given to clCompileProgram: looked for in
 * the directories that a compiler searches, and kept. See collector.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "icd/collector.h"
#include "penstock-protocol.h"

/* The empty file of a directory that a path only passes. */
#define PASSED ".penstock"

/* ---- paths ------------------------------------------------------------------------------------------- */

/* directory + "/" + name; malloc'ed. */
static char *join(const char *directory, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

/* Resolves "." and ".." by text alone, in place. False when the path climbs above its first component. */
static bool normalize(char *path)
{
    char *out = path;
    for (const char *at = path; *at;) {
        size_t size = strcspn(at, "/");
        if (size == 2 && at[0] == '.' && at[1] == '.') {
            while (out > path && *--out != '/')
                ;
            if (out == path)
                return false;
        } else if (size && !(size == 1 && at[0] == '.')) {
            if (out > path)
                *out++ = '/';
            memmove(out, at, size);
            out += size;
        }
        at += size + (at[size] == '/');
    }
    *out = 0;
    return true;
}

/* A file's contents, zero-terminated; -PEN_ENOENT when it is no readable regular file. */
static int read_file(const char *path, char **out_text, size_t *out_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat status;
    if (fd < 0)
        return -PEN_ENOENT;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode) || status.st_size > (off_t)PEN_LIMIT_PROGRAM) {
        close(fd);
        return -PEN_ENOENT;
    }
    size_t size = (size_t)status.st_size, done = 0;
    char *text = malloc(size + 1);
    while (text && done < size) {
        ssize_t got = read(fd, text + done, size - done);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            break;
        done += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (!text)
        return -PEN_ENOMEM;
    text[done] = 0;
    *out_text = text;
    *out_size = done;
    return 0;
}

/* ---- what was found ---------------------------------------------------------------------------------- */

static bool known(const struct pen_collector *collector, const char *name)
{
    for (uint32_t i = 0; i < collector->header_count; i++)
        if (strcmp(collector->headers[i].name, name) == 0)
            return true;
    return false;
}

/* True when something lies below that directory over there. */
static bool has_files(const struct pen_collector *collector, const char *directory)
{
    size_t size = strlen(directory);
    for (uint32_t i = 0; i < collector->header_count; i++)
        if (strncmp(collector->headers[i].name, directory, size) == 0 && collector->headers[i].name[size] == '/')
            return true;
    return false;
}

int pen_collector_add_header(struct pen_collector *collector, char *name, char *text, size_t size)
{
    int rc = 0;
    struct pen_recipe_header *grown = NULL;
    if (collector->header_count == PEN_LIMIT_HEADERS)
        rc = pen_fail(collector->error, -PEN_ELIMIT, "a build may include %u files (limit HEADERS); '%s' is one more",
                      PEN_LIMIT_HEADERS, name);
    else if (collector->bytes + size > PEN_LIMIT_PROGRAM)
        rc = pen_fail(
            collector->error, -PEN_ELIMIT,
            "the files that a build includes may have %u bytes in all (limit PROGRAM); with '%s' they have more",
            PEN_LIMIT_PROGRAM, name);
    else if (strlen(name) > PEN_LIMIT_NAME)
        rc = pen_fail(collector->error, -PEN_ELIMIT,
                      "the path of an include file may have %u bytes (limit NAME): '%.80s...'", PEN_LIMIT_NAME, name);
    else if (!(grown = realloc(collector->headers, (collector->header_count + 1) * sizeof *grown)))
        rc = -PEN_ENOMEM;
    if (!grown) {
        free(name);
        free(text);
        return rc;
    }
    collector->headers = grown;
    collector->headers[collector->header_count++] = (struct pen_recipe_header){name, text, size};
    collector->bytes += size;
    return 0;
}

/* A path that goes by way of a directory and back, "N/empty/../a.h", needs that directory. */
static int add_passed(struct pen_collector *collector, const char *path)
{
    int rc = 0;
    for (const char *at = strstr(path, "/../"); !rc && at; at = strstr(at + 1, "/../")) {
        char *way = strndup(path, (size_t)(at - path));
        bool needed = way && normalize(way) && !has_files(collector, way);
        char *name = needed ? join(way, PASSED) : NULL, *empty = needed ? strdup("") : NULL;
        if (name && empty) {
            rc = pen_collector_add_header(collector, name, empty, 0);
        } else {
            free(name);
            free(empty);
            rc = needed || !way ? -PEN_ENOMEM : 0;
        }
        free(way);
    }
    return rc;
}

/* ---- the search ---------------------------------------------------------------------------------------- */

/* The given header of this name below directory 0. 1: found, 0: not, negative: error. */
static int try_given(struct pen_collector *collector, const struct pen_collector_text *from, const char *there)
{
    size_t base = strlen(collector->directories[0].there);
    if (strncmp(there, collector->directories[0].there, base) != 0 || there[base] != '/')
        return 0;
    for (uint32_t i = 0; i < collector->given_count; i++) {
        char *name = strdup(collector->given[i].name);
        bool same = name && normalize(name) && strcmp(name, there + base + 1) == 0;
        free(name);
        if (!same)
            continue;
        char *bytes = strdup(collector->given[i].text), *path = strdup(there);
        if (!bytes || !path) {
            free(bytes);
            free(path);
            return -PEN_ENOMEM;
        }
        int rc = pen_collector_take(collector, from, NULL, path, bytes, strlen(bytes));
        return rc ? rc : 1;
    }
    return 0;
}

int pen_collector_try(struct pen_collector *collector, const struct pen_collector_text *from,
                      const char *here_directory, const char *there_directory, const char *name)
{
    char *path = join(there_directory, name), *there = path ? strdup(path) : NULL;
    char *here = here_directory ? join(here_directory, name) : NULL;
    char *bytes = NULL;
    size_t size = 0;
    int rc = there && (here || !here_directory) ? 0 : -PEN_ENOMEM;
    bool inside = !rc && normalize(there);
    if (inside && known(collector, there)) {
        rc = 1;
    } else if (!rc && !here) {
        rc = inside ? try_given(collector, from, there) : 0;
    } else if (!rc) {
        rc = read_file(here, &bytes, &size);
        if (rc == -PEN_ENOENT) {
            rc = 0;
        } else if (!rc && !inside) {
            free(bytes);
            collector->more.climb = collector->needs.climb + 1;
            rc = 1;
        } else if (!rc) {
            rc = pen_collector_take(collector, from, here, there, bytes, size);
            there = NULL;
            rc = rc ? rc : 1;
        }
    }
    int passed = rc > 0 && inside ? add_passed(collector, path) : 0;
    free(path);
    free(here);
    free(there);
    return passed ? passed : rc;
}

/* An absolute path, by way of the last directory. */
static int try_absolute(struct pen_collector *collector, const struct pen_collector_text *from, const char *name)
{
    struct pen_collector_directory *last = &collector->directories[collector->directory_count - 1];
    char *there = join(last->there, PEN_ROOTED);
    int rc = there ? pen_collector_try(collector, from, "", there, name + 1) : -PEN_ENOMEM;
    free(there);
    last->used |= rc > 0;
    return rc;
}

int pen_collector_find(struct pen_collector *collector, const struct pen_collector_text *from, const char *name,
                       bool quoted, bool every)
{
    if (name[0] == '/')
        return try_absolute(collector, from, name);
    int rc = 0, found = 0;
    if (quoted && from->there)
        rc = found = pen_collector_try(collector, from, from->here, from->there, name);
    for (uint32_t i = 0; rc >= 0 && (every || !found) && i + 1 < collector->directory_count; i++) {
        struct pen_collector_directory *directory = &collector->directories[i];
        rc = pen_collector_try(collector, from, directory->here, directory->there, name);
        directory->used |= rc > 0;
        found |= rc > 0;
    }
    return rc < 0 ? rc : found;
}
