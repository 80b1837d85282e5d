/* worker/headers.c - the headers that come with a build, as files where the driver's compiler finds them.
 * Equal sets lie in one directory named by their content: drivers' own caches see the same path the next time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "worker/cache.h"
#include "worker/caches.h"
#include "worker/files.h"
#include "worker/work.h"

/* Replaces @N@ by directory/N; malloc'ed. */
static char *substitute(const char *options, const char *directory)
{
    size_t size = 1, length = strlen(directory);
    for (const char *at = options; *at; at++)
        size += *at == '@' ? length + 2 : 1;
    char *out = malloc(size), *to = out;
    if (!out)
        return NULL;
    for (const char *at = options; *at;) {
        size_t digits = *at == '@' ? strspn(at + 1, "0123456789") : 0;
        if (digits && at[1 + digits] == '@') {
            to = mempcpy(to, directory, length);
            *to++ = '/';
            to = mempcpy(to, at + 1, digits);
            at += digits + 2;
        } else {
            *to++ = *at++;
        }
    }
    *to = 0;
    return out;
}

static void digest(const struct pen_work_program *program, char out[33])
{
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    for (uint32_t i = 0; i < program->header_count; i++) {
        const struct pen_work_header *header = &program->headers[i];
        XXH3_128bits_update(&state, header->name, strlen(header->name) + 1);
        XXH3_128bits_update(&state, &header->size, sizeof header->size);
        XXH3_128bits_update(&state, header->bytes, header->size);
    }
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

static int write_all(const struct pen_work_program *program, const char *directory)
{
    for (uint32_t i = 0; i < program->header_count; i++) {
        const struct pen_work_header *header = &program->headers[i];
        char *path;
        if (asprintf(&path, "%s/%s", directory, header->name) < 0)
            return -PEN_ENOMEM;
        int rc = pen_file_make_parents(path, strlen(directory) + 1);
        if (!rc)
            rc = pen_file_write(path, header->bytes, header->size);
        free(path);
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- the directory ----------------------------------------------------------------------------------------------- */

/* How often another worker may take away, or make first, what we are about to use. */
#define TRIES 8

/* Opens it and keeps it from being evicted; -1 when it is not there (any more). */
static int hold(const char *directory)
{
    struct stat held, named;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && (flock(fd, LOCK_SH) || fstat(fd, &held) || stat(directory, &named) || held.st_ino != named.st_ino)) {
        close(fd); /* it was removed before we had the lock */
        return -1;
    }
    if (fd >= 0)
        futimens(fd, NULL); /* used now */
    return fd;
}

/* Made under another name, new and thus empty, and renamed: nobody sees a part of it. */
static int make(const struct pen_work_program *program, const char *directory)
{
    char *made;
    if (asprintf(&made, "%s.XXXXXX", directory) < 0)
        return -PEN_ENOMEM;
    int rc = mkdtemp(made) ? 0 : -PEN_EIO;
    if (!rc) {
        int fd = hold(made);
        rc = write_all(program, made);
        if (!rc && rename(made, directory) && errno != EEXIST && errno != ENOTEMPTY)
            rc = -PEN_EIO;
        pen_file_remove_tree(made); /* gone already, unless another worker was faster or something failed */
        if (fd >= 0)
            close(fd);
    }
    free(made);
    return rc;
}

static char *join(const char *base, const char *folder, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s%s", base, folder, name) < 0 ? NULL : path;
}

static uint64_t room_for(const struct pen_work_program *program)
{
    uint64_t bytes = pen_cache_header_bytes(1);
    for (uint32_t i = 0; i < program->header_count; i++)
        bytes += pen_cache_header_bytes(program->headers[i].size);
    return bytes;
}

static int make_and_hold(const struct pen_work_program *program, struct pen_headers *headers)
{
    int rc = 0;
    for (int i = 0; i < TRIES && !rc && headers->fd < 0; i++) {
        rc = make(program, headers->directory);
        headers->fd = rc ? -1 : hold(headers->directory);
    }
    return rc ? rc : headers->fd < 0 ? -PEN_EIO : 0;
}

/* False: the cache has no room for them, or its disk. */
static bool place_in_cache(const struct pen_work_program *program, const char *name, struct pen_headers *headers)
{
    struct pen_cache *cache = program->work->config.cache;
    if (!cache || !(headers->directory = join(pen_cache_headers(cache), "", name)))
        return false;
    if ((headers->fd = hold(headers->directory)) >= 0)
        return true;
    if (!pen_cache_take_room(cache, room_for(program)))
        return false;
    if (!make_and_hold(program, headers))
        return true;
    pen_caches_lack_room(pen_cache_dir(cache), 1, program->work->crash);
    return false;
}

/* In the cache when it is there or has room, else in the worker's own folder, for this build. */
static int find_or_make(const struct pen_work_program *program, const char *name, struct pen_headers *headers)
{
    if (place_in_cache(program, name, headers))
        return 0;
    free(headers->directory);
    headers->passing = true;
    headers->directory = join(program->work->config.tmp_dir, "headers/", name);
    if (!headers->directory || pen_file_make_parents(headers->directory, 1))
        return headers->directory ? -PEN_EIO : -PEN_ENOMEM;
    return make_and_hold(program, headers);
}

int pen_headers_place(const struct pen_work_program *program, const char *options, struct pen_headers *out_headers)
{
    struct pen_headers headers = {.fd = -1};
    char name[33];
    int rc = 0;
    if (program->header_count) {
        digest(program, name);
        rc = find_or_make(program, name, &headers);
    }
    if (!rc) {
        headers.options = headers.directory ? substitute(options, headers.directory) : strdup(options);
        rc = headers.options ? 0 : -PEN_ENOMEM;
    }
    if (rc)
        pen_headers_leave(&headers);
    else
        *out_headers = headers;
    return rc;
}

void pen_headers_leave(struct pen_headers *headers)
{
    if (headers->passing && headers->directory)
        pen_file_remove_tree(headers->directory);
    if (headers->fd >= 0)
        close(headers->fd);
    free(headers->directory);
    free(headers->options);
}
