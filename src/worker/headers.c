/* worker/headers.c - the headers that come with a build, as files where the driver's compiler finds them.
 * Equal sets lie in one directory named by their content: drivers' own caches see the same path the next time. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "worker/cache.h"
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

int pen_headers_place(struct pen_work_program *program, const char *options, char **out_options)
{
    struct pen_work *work = program->work;
    const char *base = work->config.cache ? pen_cache_dir(work->config.cache) : work->config.tmp_dir;
    char name[33], *directory = NULL, *made = NULL;
    if (!program->header_count) {
        *out_options = strdup(options);
        return *out_options ? 0 : -PEN_ENOMEM;
    }
    digest(program, name);
    if (asprintf(&directory, "%s/headers/%s", base, name) < 0 ||
        asprintf(&made, "%s/headers/%s.%d", base, name, (int)getpid()) < 0)
        return -PEN_ENOMEM;
    int rc = 0;
    if (utimensat(AT_FDCWD, directory, NULL, 0)) {
        rc = pen_file_make_parents(made, 1);
        if (!rc && mkdir(made, 0700) && errno != EEXIST)
            rc = -PEN_EIO;
        if (!rc)
            rc = write_all(program, made);
        if (!rc && rename(made, directory) && errno != EEXIST && errno != ENOTEMPTY)
            rc = -PEN_EIO;
        pen_file_remove_tree(made); /* gone already, unless another worker was faster or something failed */
    }
    if (!rc && !(*out_options = substitute(options, directory)))
        rc = -PEN_ENOMEM;
    free(directory);
    free(made);
    return rc;
}
