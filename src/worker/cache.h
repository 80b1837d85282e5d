/* worker/cache.h - what was built, on disk: native binary, log and kernel descriptions, by content.
 * A file a key: <dir>/builds/<32 hex digits>, made under another name and renamed, so that a reader sees all or
 * nothing; with a checksum, so that a damaged one is a miss. Beside them, <dir>/headers/<name>/: sets of headers
 * (headers.c), of which one that a build uses is locked (flock, shared). Over the bound, which is that of both, what
 * was used longest ago goes (mtime). A cache never fails anybody: what cannot be read is a miss, what cannot be written
 * is counted.
 *
 * Ownership: an entry owns its bytes.
 * Threads:   one; any number of processes. */
#ifndef PEN_WORKER_CACHE_H
#define PEN_WORKER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/scratch.h"
#include "penstock-protocol.h"

struct pen_cache;

#define PEN_CACHE_BYTES (UINT64_C(1) << 30) /* default of cache.bytes */

struct pen_cache_entry {
    void *bytes; /* all of the file; what follows points into it or into scratch */
    struct pen_scratch scratch;
    const void *binary;
    uint64_t binary_size;
    const char *log; /* zero-terminated; NULL when empty */
    struct pen_build_result result;
    struct pen_msg_kernel_info *kernels; /* malloc'ed array */
    uint32_t kernel_count;
};

/* NULL when dir is NULL or cannot be used. Makes dir and its folders, mode 0700. */
struct pen_cache *pen_cache_open(const char *dir, uint64_t max_bytes);
void pen_cache_close(struct pen_cache *cache);
const char *pen_cache_dir(const struct pen_cache *cache);
/* The folder of the sets of headers. A set takes pen_cache_header_bytes of each file, and of 1 besides. */
const char *pen_cache_headers(const struct pen_cache *cache);
uint64_t pen_cache_header_bytes(uint64_t size);
/* Makes room for so many bytes and counts them; false when they are more than the bound. */
bool pen_cache_take_room(struct pen_cache *cache, uint64_t bytes);
/* A malloc'ed entry, or NULL. */
struct pen_cache_entry *pen_cache_get(struct pen_cache *cache, const uint64_t key[2]);
void pen_cache_entry_free(struct pen_cache_entry *entry);
/* False when it was not written. */
bool pen_cache_put(struct pen_cache *cache, const uint64_t key[2], const void *binary, uint64_t binary_size,
                   const char *log, const struct pen_build_result *result, const struct pen_msg_kernel_info *kernels,
                   uint32_t kernel_count);

#endif
