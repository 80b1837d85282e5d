/* The allocator of arena ranges. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "wire/arena.h"

#define PAGE  4096u
#define TRIES 8 /* free blocks of one list looked at before a longer list is taken */

struct pen_space_block {
    uint64_t offset, size;
    struct pen_space_block *prev, *next; /* by address; next also links spare records */
    struct pen_space_block *free_prev, *free_next;
    uint64_t dirty_from, dirty_to; /* free: everything outside was never touched, or given back */
    bool is_free;
};

/* ---- lists of free blocks ---------------------------------------------------------------------------- */

struct place {
    unsigned level, step;
};

/* The list that blocks of `size` are in: level 0 holds 0..15 grains, level l 2^(l+3)..2^(l+4)-1 grains in 16 steps. */
static struct place place_of(uint64_t size)
{
    uint64_t grains = size / PEN_ARENA_GRAIN;
    if (grains < PEN_SPACE_STEPS)
        return (struct place){0, (unsigned)grains};
    unsigned log = 63u - (unsigned)__builtin_clzll(grains);
    return (struct place){log - 3, (unsigned)(grains >> (log - 4)) - PEN_SPACE_STEPS};
}

/* The first list of which every block has at least `size`. */
static struct place place_above(uint64_t size)
{
    uint64_t grains = size / PEN_ARENA_GRAIN;
    if (grains >= PEN_SPACE_STEPS) {
        unsigned log = 63u - (unsigned)__builtin_clzll(grains);
        grains += (1ull << (log - 4)) - 1;
    }
    return place_of(grains * PEN_ARENA_GRAIN);
}

static uint64_t dirty_of(const struct pen_space_block *block)
{
    return block->dirty_to - block->dirty_from;
}

static void insert_free(struct pen_space *space, struct pen_space_block *block)
{
    struct place at = place_of(block->size);
    block->is_free = true;
    block->free_prev = NULL;
    block->free_next = space->free[at.level][at.step];
    if (block->free_next)
        block->free_next->free_prev = block;
    space->free[at.level][at.step] = block;
    space->levels |= 1ull << at.level;
    space->steps[at.level] = (uint16_t)(space->steps[at.level] | 1u << at.step);
    space->dirty_bytes += dirty_of(block);
}

static void remove_free(struct pen_space *space, struct pen_space_block *block)
{
    struct place at = place_of(block->size);
    if (block->free_prev)
        block->free_prev->free_next = block->free_next;
    else
        space->free[at.level][at.step] = block->free_next;
    if (block->free_next)
        block->free_next->free_prev = block->free_prev;
    if (!space->free[at.level][at.step]) {
        space->steps[at.level] = (uint16_t)(space->steps[at.level] & ~(1u << at.step));
        if (!space->steps[at.level])
            space->levels &= ~(1ull << at.level);
    }
    block->is_free = false;
    space->dirty_bytes -= dirty_of(block);
}

/* Moves *at to the first list from there on that is not empty; false: none. */
static bool next_list(const struct pen_space *space, struct place *at)
{
    if (at->level >= PEN_SPACE_LEVELS)
        return false;
    unsigned steps = at->step < PEN_SPACE_STEPS ? space->steps[at->level] & (~0u << at->step) : 0;
    if (!steps) {
        uint64_t levels = space->levels & (~0ull << at->level) & ~(1ull << at->level);
        if (!levels)
            return false;
        at->level = (unsigned)__builtin_ctzll(levels);
        steps = space->steps[at->level];
    }
    at->step = (unsigned)__builtin_ctz(steps);
    return true;
}

/* ---- records ----------------------------------------------------------------------------------------- */

/* Spare records are linked by `next`. */
static int need_spares(struct pen_space *space, int count)
{
    struct pen_space_block **link = &space->spare;
    for (int i = 0; i < count; i++) {
        if (!*link) {
            *link = calloc(1, sizeof **link);
            if (!*link)
                return -PEN_ENOMEM;
        }
        link = &(*link)->next;
    }
    return 0;
}

static struct pen_space_block *take_spare(struct pen_space *space)
{
    struct pen_space_block *block = space->spare;
    space->spare = block->next;
    *block = (struct pen_space_block){0};
    return block;
}

/* Cuts `block` (not in a free list) in two at `size`; returns the second half. Each keeps its part of the touched hull.
 */
static struct pen_space_block *split(struct pen_space *space, struct pen_space_block *block, uint64_t size)
{
    struct pen_space_block *rest = take_spare(space);
    rest->offset = block->offset + size;
    rest->size = block->size - size;
    rest->prev = block;
    rest->next = block->next;
    if (rest->next)
        rest->next->prev = rest;
    block->next = rest;
    block->size = size;
    rest->dirty_from = block->dirty_from > rest->offset ? block->dirty_from : rest->offset;
    rest->dirty_to = block->dirty_to > rest->offset ? block->dirty_to : rest->dirty_from;
    block->dirty_to = block->dirty_to < rest->offset ? block->dirty_to : rest->offset;
    block->dirty_from = block->dirty_from < block->dirty_to ? block->dirty_from : block->dirty_to;
    return rest;
}

/* `next` becomes part of `block`; neither is in a free list. */
static void merge(struct pen_space *space, struct pen_space_block *block, struct pen_space_block *next)
{
    block->size += next->size;
    block->next = next->next;
    if (block->next)
        block->next->prev = block;
    if (!dirty_of(block)) {
        block->dirty_from = next->dirty_from;
        block->dirty_to = next->dirty_to;
    } else if (dirty_of(next)) {
        block->dirty_to = next->dirty_to;
    }
    next->next = space->spare;
    space->spare = next;
}

int pen_space_init(struct pen_space *space, uint64_t bytes)
{
    if (bytes < PEN_ARENA_GRAIN || bytes % PEN_ARENA_GRAIN || bytes > PEN_ARENA_BYTES_MAX)
        return -PEN_EINVAL;
    *space = (struct pen_space){.bytes = bytes};
    int rc = need_spares(space, 1);
    if (rc)
        return rc;
    space->first = take_spare(space);
    space->first->size = bytes;
    insert_free(space, space->first);
    return 0;
}

static void free_records(struct pen_space_block *block)
{
    while (block) {
        struct pen_space_block *next = block->next;
        free(block);
        block = next;
    }
}

void pen_space_finish(struct pen_space *space)
{
    free_records(space->first);
    free_records(space->spare);
    pen_map_finish(&space->used);
    *space = (struct pen_space){0};
}

/* ---- allocation -------------------------------------------------------------------------------------- */

static uint64_t key_of(uint64_t offset)
{
    return offset / PEN_ARENA_GRAIN + 1;
}

static bool fits(const struct pen_space_block *block, uint64_t size, uint64_t align)
{
    uint64_t aligned = (block->offset + align - 1) & ~(align - 1);
    uint64_t skipped = aligned - block->offset;
    return skipped <= block->size && size <= block->size - skipped;
}

/* The first that fits of at most `tries` blocks of the list. */
static struct pen_space_block *try_list(const struct pen_space *space, struct place at, uint64_t size, uint64_t align,
                                        uint64_t tries)
{
    struct pen_space_block *block = space->free[at.level][at.step];
    for (uint64_t i = 0; block && i < tries; i++, block = block->free_next)
        if (fits(block, size, align))
            return block;
    return NULL;
}

/* The list of just this size first, for what was freed last is warm; then the next longer one, where an unaligned block
 * always fits; then one so long that alignment does not matter; and before giving up, every block that is long enough.
 */
static struct pen_space_block *find(const struct pen_space *space, uint64_t size, uint64_t align)
{
    struct pen_space_block *block = try_list(space, place_of(size), size, align, TRIES);
    struct place at = place_above(size);
    if (!block && next_list(space, &at))
        block = try_list(space, at, size, align, TRIES);
    at = place_above(size + align - PEN_ARENA_GRAIN);
    if (!block && next_list(space, &at))
        block = space->free[at.level][at.step];
    for (at = place_of(size); !block && next_list(space, &at); at.step++)
        block = try_list(space, at, size, align, UINT64_MAX);
    return block;
}

int pen_space_alloc(struct pen_space *space, uint64_t size, uint64_t align, uint64_t *out_offset)
{
    if (!size || (align & (align - 1)) || align > PEN_ARENA_BYTES_MAX)
        return -PEN_EINVAL;
    if (size > space->bytes)
        return -PEN_EDEVMEM;
    size = (size + PEN_ARENA_GRAIN - 1) / PEN_ARENA_GRAIN * PEN_ARENA_GRAIN;
    uint64_t least = size >= PEN_ARENA_HUGE ? PEN_ARENA_HUGE : PEN_ARENA_GRAIN;
    align = align > least ? align : least;

    struct pen_space_block *block = find(space, size, align);
    if (!block)
        return -PEN_EDEVMEM;
    uint64_t offset = (block->offset + align - 1) & ~(align - 1);
    /* What may fail comes first. */
    struct pen_space_block *named = block;
    if (need_spares(space, 2))
        return -PEN_ENOMEM;
    bool skips = offset != block->offset;
    if (skips)
        named = space->spare; /* the record that split() will take */
    if (pen_map_set(&space->used, key_of(offset), named))
        return -PEN_ENOMEM;
    remove_free(space, block);
    if (skips) {
        struct pen_space_block *rest = split(space, block, offset - block->offset);
        insert_free(space, block);
        block = rest;
    }
    if (block->size > size)
        insert_free(space, split(space, block, size));
    space->used_bytes += size;
    assert(block == named && block->offset == offset);
    *out_offset = offset;
    return 0;
}

int pen_space_free(struct pen_space *space, uint64_t offset)
{
    if (offset % PEN_ARENA_GRAIN)
        return -PEN_EINVAL;
    struct pen_space_block *block = pen_map_remove(&space->used, key_of(offset));
    if (!block)
        return -PEN_EINVAL;
    space->used_bytes -= block->size;
    block->dirty_from = block->offset;
    block->dirty_to = block->offset + block->size;
    struct pen_space_block *near = block->next;
    if (near && near->is_free) {
        remove_free(space, near);
        merge(space, block, near);
    }
    near = block->prev;
    if (near && near->is_free) {
        remove_free(space, near);
        merge(space, near, block);
        block = near;
    }
    insert_free(space, block);
    return 0;
}

uint64_t pen_space_size(const struct pen_space *space, uint64_t offset)
{
    const struct pen_space_block *block = offset % PEN_ARENA_GRAIN ? NULL : pen_map_get(&space->used, key_of(offset));
    return block ? block->size : 0;
}

void pen_space_trim(struct pen_space *space, uint64_t keep_bytes,
                    void (*punch)(void *context, uint64_t offset, uint64_t size), void *context)
{
    for (unsigned i = PEN_SPACE_LEVELS * PEN_SPACE_STEPS; i-- > 0 && space->dirty_bytes > keep_bytes;) {
        struct pen_space_block *block = space->free[i / PEN_SPACE_STEPS][i % PEN_SPACE_STEPS];
        for (; block && space->dirty_bytes > keep_bytes; block = block->free_next) {
            uint64_t from = (block->dirty_from + PAGE - 1) / PAGE * PAGE, to = block->dirty_to / PAGE * PAGE;
            if (from < to)
                punch(context, from, to - from);
            space->dirty_bytes -= dirty_of(block);
            block->dirty_from = block->dirty_to = block->offset;
        }
    }
}

/* ---- invariants -------------------------------------------------------------------------------------- */

static void check_lists(const struct pen_space *space, uint64_t free_blocks)
{
    uint64_t listed = 0;
    for (unsigned level = 0; level < PEN_SPACE_LEVELS; level++) {
        assert(!(space->levels >> level & 1) == !space->steps[level]);
        for (unsigned step = 0; step < PEN_SPACE_STEPS; step++) {
            const struct pen_space_block *block = space->free[level][step], *before = NULL;
            assert(!(space->steps[level] >> step & 1) == !block);
            for (; block; before = block, block = block->free_next, listed++) {
                struct place at = place_of(block->size);
                assert(block->is_free && block->free_prev == before && at.level == level && at.step == step);
            }
        }
    }
    assert(listed == free_blocks);
}

void pen_space_check(const struct pen_space *space)
{
    uint64_t end = 0, used = 0, dirty = 0, free_blocks = 0, used_blocks = 0;
    const struct pen_space_block *before = NULL;
    for (const struct pen_space_block *block = space->first; block; before = block, block = block->next) {
        assert(block->prev == before && block->offset == end && block->size);
        assert(block->offset % PEN_ARENA_GRAIN == 0 && block->size % PEN_ARENA_GRAIN == 0);
        end += block->size;
        if (block->is_free) {
            assert(!before || !before->is_free);
            assert(block->dirty_from <= block->dirty_to);
            assert(!dirty_of(block) || (block->dirty_from >= block->offset && block->dirty_to <= end));
            free_blocks++;
            dirty += dirty_of(block);
        } else {
            assert(pen_map_get(&space->used, key_of(block->offset)) == block);
            used_blocks++;
            used += block->size;
        }
    }
    assert(end == space->bytes && used == space->used_bytes && dirty == space->dirty_bytes);
    assert(used_blocks == space->used.count);
    check_lists(space, free_blocks);
}
