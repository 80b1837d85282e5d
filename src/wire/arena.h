/* wire/arena.h - session memory: the sparse file that program and worker map, and the allocator of its ranges.
 * The worker creates and maps it, and checks ranges that a command names (pen_arena_range_ok); the client alone
 * allocates. Nothing of the allocator lives in the arena: what a kernel overwrites, it overwrites in its own data.
 * Threads:   the caller's lock. Units: bytes. Errors: 0 or -PEN_E*; outputs untouched on failure. */
#ifndef PEN_WIRE_ARENA_H
#define PEN_WIRE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/map.h"
#include "penstock-protocol.h"

/* Default of session.arena: address space, not memory. */
#define PEN_ARENA_BYTES     (64ull << 30)
#define PEN_ARENA_BYTES_MIN (16ull << 20)
#define PEN_ARENA_BYTES_MAX (1ull << 44)
/* Every range begins at a multiple of this, and takes a multiple of it. */
#define PEN_ARENA_GRAIN 64u
/* Ranges at least this long begin at a multiple of it, so that they can be huge pages. */
#define PEN_ARENA_HUGE (2ull << 20)
/* Memory that was used and freed is kept for the next allocation up to this (page faults are dear), then half of it is
 * returned to the system. */
#define PEN_ARENA_KEPT_BYTES (256ull << 20)

/* ---- the file ---------------------------------------------------------------------------------------- */

/* So many bytes, or half of the address space that the process may have (RLIMIT_AS): the rest is for what else it does.
 */
uint64_t pen_arena_within_limit(uint64_t bytes);
/* A sealed (no shrink, no grow, no more seals), sparse memfd of `bytes` (a multiple of 2 MiB within the limits above,
 * else -PEN_EINVAL). The caller owns it. */
int pen_arena_create(uint64_t bytes, int *out_fd, struct pen_error *error);
/* Maps all of it: no memory is reserved, huge pages are asked for, the address is a multiple of 2 MiB. Checks that the
 * file is as long as `bytes` and sealed (-PEN_EPROTO). Borrows fd. */
int pen_arena_map(int fd, uint64_t bytes, void **out_base, struct pen_error *error);
/* The same, or as much from its start as is within the limit and can be had. */
int pen_arena_map_some(int fd, uint64_t bytes, void **out_base, uint64_t *out_mapped, struct pen_error *error);
void pen_arena_unmap(void *base, uint64_t bytes);

/* The range that goes beside a command: its bulk, or what a new region begins with; of size 0: none. It may be outside
 * the arena. 0, or the decoder's error. */
int pen_arena_bulk(const void *frame, size_t size, struct pen_bulk *out_bulk);

/* A range that a peer names: inside the arena, no overflow. */
static inline bool pen_arena_range_ok(uint64_t arena_bytes, uint64_t offset, uint64_t size)
{
    return offset <= arena_bytes && size <= arena_bytes - offset;
}

/* ---- the allocator: two-level segregated fit (Masmano et al., ECRTS 2004), out of band ----------------- */

/* Constant time: a list of free blocks for each of 16 size steps in each power of two, and two levels of bit maps to
 * find the first that fits. Blocks know their neighbours and coalesce when freed. Blocks last freed are used first. */

#define PEN_SPACE_STEPS  16
#define PEN_SPACE_LEVELS 40

struct pen_space_block;

/* Zero-initialize, then pen_space_init. */
struct pen_space {
    uint64_t bytes;       /* of the range */
    uint64_t used_bytes;  /* allocated */
    uint64_t dirty_bytes; /* free, but touched since it was last returned to the system */
    struct pen_space_block *free[PEN_SPACE_LEVELS][PEN_SPACE_STEPS];
    uint64_t levels;                  /* bit l: steps[l] is not 0 */
    uint16_t steps[PEN_SPACE_LEVELS]; /* bit s: free[l][s] is not empty */
    struct pen_map used;              /* offset / grain + 1 -> block */
    struct pen_space_block *first;    /* lowest address */
    struct pen_space_block *spare;    /* unused block records */
};

/* Manages [0, bytes); bytes is a multiple of the grain. */
int pen_space_init(struct pen_space *space, uint64_t bytes);
/* Accepts a zeroed space. */
void pen_space_finish(struct pen_space *space);
/* size > 0 is rounded up to the grain; align is a power of two (less than the grain: the grain). -PEN_EDEVMEM: no room;
 * -PEN_ENOMEM: no host memory for the record; -PEN_EINVAL. */
int pen_space_alloc(struct pen_space *space, uint64_t size, uint64_t align, uint64_t *out_offset);
/* -PEN_EINVAL when nothing is allocated at `offset`. */
int pen_space_free(struct pen_space *space, uint64_t offset);
/* Size of the allocation at `offset`, 0 when there is none. */
uint64_t pen_space_size(const struct pen_space *space, uint64_t offset);
/* Calls `punch` for whole pages of free, touched memory, the longest blocks first, until at most keep_bytes of it are
 * left; they count as untouched from then on. */
void pen_space_trim(struct pen_space *space, uint64_t keep_bytes,
                    void (*punch)(void *context, uint64_t offset, uint64_t size), void *context);
/* Asserts every invariant of wire/README.md, rules 6-8. For tests: takes time. */
void pen_space_check(const struct pen_space *space);

#endif
