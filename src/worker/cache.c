/* worker/cache.c - see cache.h. A file: the frames of a cached_build and of its kernels, the log with its zero, the
 * binary. */
#include "worker/cache.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "worker/files.h"

/* +1 whenever the file's layout or what is in it changes meaning. */
#define LAYOUT 2u
/* Over the bound, so much of it is freed at once that not every build has to look. */
#define EVICT_TO(max) ((max) / 4 * 3)
/* What a file of a set of headers takes at least, and the set besides. */
#define BLOCK UINT64_C(4096)
/* Largest file that is read back. */
#define FILE_MAX (UINT64_C(512) << 20)

/* A cached_build's frame has one size; its checksum comes first, and is of all behind it. */
#define HEADER_BYTES (sizeof(struct pen_frame_header) + sizeof(struct pen_msg_cached_build))
#define CHECKED_FROM (sizeof(struct pen_frame_header) + sizeof(uint64_t[2]))

struct pen_cache {
    char *dir, *builds, *headers;
    uint64_t max_bytes;
    uint64_t bytes; /* estimate: as found at the last scan, and what we wrote since */
};

static uint64_t evict(struct pen_cache *cache, uint64_t down_to);

struct pen_cache *pen_cache_open(const char *dir, uint64_t max_bytes)
{
    struct pen_cache *cache = dir ? calloc(1, sizeof *cache) : NULL;
    if (!cache)
        return NULL;
    cache->max_bytes = max_bytes;
    cache->dir = pen_file_make_directory(dir) ? NULL : realpath(dir, NULL); /* wherever we are */
    if (!cache->dir || asprintf(&cache->builds, "%s/builds", cache->dir) < 0 ||
        pen_file_make_directory(cache->builds) || asprintf(&cache->headers, "%s/headers", cache->dir) < 0 ||
        pen_file_make_directory(cache->headers)) {
        pen_cache_close(cache);
        return NULL;
    }
    cache->bytes = evict(cache, max_bytes);
    return cache;
}

void pen_cache_close(struct pen_cache *cache)
{
    if (!cache)
        return;
    free(cache->dir);
    free(cache->builds);
    free(cache->headers);
    free(cache);
}

const char *pen_cache_dir(const struct pen_cache *cache)
{
    return cache->dir;
}

const char *pen_cache_headers(const struct pen_cache *cache)
{
    return cache->headers;
}

uint64_t pen_cache_header_bytes(uint64_t size)
{
    return (size + BLOCK - 1) / BLOCK * BLOCK;
}

bool pen_cache_take_room(struct pen_cache *cache, uint64_t bytes)
{
    if (bytes >= cache->max_bytes)
        return false;
    if (cache->bytes + bytes > cache->max_bytes)
        cache->bytes = evict(cache, EVICT_TO(cache->max_bytes) > bytes ? EVICT_TO(cache->max_bytes) - bytes : 0);
    cache->bytes += bytes;
    return true;
}

static char *path_of(const struct pen_cache *cache, const uint64_t key[2], const char *suffix)
{
    char *path;
    return asprintf(&path, "%s/%016llx%016llx%s", cache->builds, (unsigned long long)key[1], (unsigned long long)key[0],
                    suffix) < 0
               ? NULL
               : path;
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

static void checksum(const unsigned char *bytes, size_t size, uint64_t out[2])
{
    XXH128_hash_t hash = XXH3_128bits(bytes + CHECKED_FROM, size - CHECKED_FROM);
    out[0] = hash.low64;
    out[1] = hash.high64;
}

static bool is_sound(const unsigned char *bytes, size_t size, const uint64_t key[2], struct pen_msg_cached_build *out)
{
    struct pen_scratch none = {0};
    uint64_t sum[2];
    if (size < HEADER_BYTES || ((const struct pen_frame_header *)(const void *)bytes)->sequence ||
        pen_msg_cached_build_decode(bytes, HEADER_BYTES, &none, out))
        return false;
    checksum(bytes, size, sum);
    if (out->layout != LAYOUT || memcmp(out->checksum, sum, sizeof sum) || memcmp(out->key, key, sizeof out->key))
        return false;
    uint64_t left = size - HEADER_BYTES;
    return out->kernels_bytes <= left && out->log_bytes <= left - out->kernels_bytes &&
           out->binary_bytes == left - out->kernels_bytes - out->log_bytes && out->kernels <= PEN_LIMIT_KERNELS &&
           out->log_bytes && !bytes[HEADER_BYTES + out->kernels_bytes + out->log_bytes - 1];
}

static bool decode_kernels(struct pen_cache_entry *entry, const unsigned char *at, uint64_t bytes, uint32_t count)
{
    if (count && !(entry->kernels = calloc(count, sizeof *entry->kernels)))
        return false;
    for (; entry->kernel_count < count; entry->kernel_count++) {
        size_t size;
        if (pen_frame_check_header(at, bytes, &size) || size > bytes ||
            pen_msg_kernel_info_decode(at, size, &entry->scratch, &entry->kernels[entry->kernel_count]))
            return false;
        at += size;
        bytes -= size;
    }
    return true;
}

struct pen_cache_entry *pen_cache_get(struct pen_cache *cache, const uint64_t key[2])
{
    struct pen_msg_cached_build header;
    size_t size = 0;
    struct pen_cache_entry *entry = calloc(1, sizeof *entry);
    char *path = entry ? path_of(cache, key, "") : NULL;
    if (!path || pen_file_read(path, FILE_MAX, &entry->bytes, &size) || !is_sound(entry->bytes, size, key, &header))
        goto miss;
    const unsigned char *at = (unsigned char *)entry->bytes + HEADER_BYTES;
    if (!decode_kernels(entry, at, header.kernels_bytes, header.kernels))
        goto miss;
    at += header.kernels_bytes;
    entry->log = header.log_bytes > 1 ? (const char *)at : NULL;
    entry->binary = at + header.log_bytes;
    entry->binary_size = header.binary_bytes;
    entry->result.outcome = PEN_BUILD_OUTCOME_SUCCESS;
    entry->result.binary_type = header.binary_type;
    entry->result.global_variable_bytes = header.global_variable_bytes;
    utimensat(AT_FDCWD, path, NULL, 0); /* used now */
    free(path);
    return entry;
miss:
    free(path);
    pen_cache_entry_free(entry);
    return NULL;
}

void pen_cache_entry_free(struct pen_cache_entry *entry)
{
    if (!entry)
        return;
    free(entry->bytes);
    free(entry->kernels);
    pen_scratch_finish(&entry->scratch);
    free(entry);
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

static bool put(struct pen_cache *cache, const uint64_t key[2], const unsigned char *bytes, size_t size)
{
    char suffix[32];
    snprintf(suffix, sizeof suffix, ".%d", (int)getpid());
    char *path = path_of(cache, key, ""), *made = path_of(cache, key, suffix);
    bool ok = path && made && !pen_file_write(made, bytes, size);
    if (ok && rename(made, path)) {
        unlink(made);
        ok = false;
    }
    free(path);
    free(made);
    return ok;
}

bool pen_cache_put(struct pen_cache *cache, const uint64_t key[2], const void *binary, uint64_t binary_size,
                   const char *log, const struct pen_build_result *result, const struct pen_msg_kernel_info *kernels,
                   uint32_t kernel_count)
{
    struct pen_msg_cached_build header = {.key = {key[0], key[1]},
                                          .layout = LAYOUT,
                                          .kernels = kernel_count,
                                          .log_bytes = log ? strlen(log) + 1 : 1,
                                          .binary_bytes = binary_size,
                                          .global_variable_bytes = result->global_variable_bytes,
                                          .binary_type = result->binary_type};
    for (uint32_t i = 0; i < kernel_count; i++) {
        size_t size = pen_msg_kernel_info_size(&kernels[i]);
        if (!size)
            return false;
        header.kernels_bytes += size;
    }
    uint64_t size = HEADER_BYTES + header.kernels_bytes + header.log_bytes + binary_size;
    unsigned char *bytes = size < FILE_MAX && pen_cache_take_room(cache, size) ? calloc(1, size) : NULL;
    if (!bytes)
        return false;
    unsigned char *at = bytes + HEADER_BYTES;
    for (uint32_t i = 0; i < kernel_count; i++) {
        pen_msg_kernel_info_encode(&kernels[i], 0, at);
        at += pen_msg_kernel_info_size(&kernels[i]);
    }
    memcpy(at, log ? log : "", header.log_bytes);
    memcpy(at + header.log_bytes, binary, binary_size);
    assert(pen_msg_cached_build_size(&header) == HEADER_BYTES);
    pen_msg_cached_build_encode(&header, 0, bytes);
    checksum(bytes, size, header.checksum);
    pen_msg_cached_build_encode(&header, 0, bytes);
    bool ok = put(cache, key, bytes, size);
    free(bytes);
    return ok;
}

/* ---- eviction --------------------------------------------------------------------------------------------------- */

struct entry {
    char name[64];
    bool is_directory; /* a set of headers */
    struct timespec used;
    uint64_t bytes;
};

struct entries {
    struct entry *items;
    size_t count, room;
};

static int by_age(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec)
        return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    return (x->used.tv_nsec > y->used.tv_nsec) - (x->used.tv_nsec < y->used.tv_nsec);
}

static uint64_t bytes_of_tree(const char *folder, const char *name)
{
    uint64_t bytes = BLOCK;
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return bytes;
    char *const paths[] = {path, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (const FTSENT *found; walk && (found = fts_read(walk));)
        if (found->fts_info == FTS_F)
            bytes += pen_cache_header_bytes((uint64_t)found->fts_statp->st_size);
    if (walk)
        fts_close(walk);
    free(path);
    return bytes;
}

/* All of a folder: files, or directories. */
static void list(struct entries *entries, const char *folder, bool directories)
{
    DIR *dir = opendir(folder);
    for (struct dirent *found; dir && (found = readdir(dir));) {
        struct stat status;
        if (found->d_name[0] == '.' || strlen(found->d_name) >= sizeof entries->items->name ||
            fstatat(dirfd(dir), found->d_name, &status, AT_SYMLINK_NOFOLLOW) ||
            !(directories ? S_ISDIR(status.st_mode) : S_ISREG(status.st_mode)))
            continue;
        if (entries->count == entries->room) {
            size_t room = entries->room ? entries->room * 2 : 64;
            struct entry *grown = realloc(entries->items, room * sizeof *grown);
            if (!grown)
                break;
            entries->items = grown;
            entries->room = room;
        }
        struct entry *entry = &entries->items[entries->count++];
        *entry = (struct entry){.is_directory = directories, .used = status.st_mtim};
        entry->bytes = directories ? bytes_of_tree(folder, found->d_name) : (uint64_t)status.st_size;
        memcpy(entry->name, found->d_name, strlen(found->d_name) + 1);
    }
    if (dir)
        closedir(dir);
}

/* A set of headers, unless a build uses it: gone at once under its name, then piece by piece. */
static bool remove_headers(const struct pen_cache *cache, const char *name)
{
    char *path = NULL, *gone = NULL;
    int fd = -1;
    bool ok = asprintf(&path, "%s/%s", cache->headers, name) >= 0 &&
              asprintf(&gone, "%s/gone.%d", cache->headers, (int)getpid()) >= 0 &&
              (fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) >= 0 &&
              !flock(fd, LOCK_EX | LOCK_NB) && (!strcmp(path, gone) || !rename(path, gone));
    if (ok)
        pen_file_remove_tree(gone);
    if (fd >= 0)
        close(fd);
    free(path);
    free(gone);
    return ok;
}

/* Removes what was used longest ago until at most down_to bytes are left; returns how many bytes are. */
static uint64_t evict(struct pen_cache *cache, uint64_t down_to)
{
    struct entries entries = {0};
    uint64_t total = 0;
    list(&entries, cache->builds, false);
    list(&entries, cache->headers, true);
    for (size_t i = 0; i < entries.count; i++)
        total += entries.items[i].bytes;
    if (total > down_to)
        qsort(entries.items, entries.count, sizeof *entries.items, by_age);
    int builds = open(cache->builds, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < entries.count && total > down_to; i++) {
        const struct entry *entry = &entries.items[i];
        if (entry->is_directory ? remove_headers(cache, entry->name) : !unlinkat(builds, entry->name, 0))
            total -= entry->bytes;
    }
    if (builds >= 0)
        close(builds);
    free(entries.items);
    return total;
}
