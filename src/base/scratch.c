/* base/scratch.c - see scratch.h. */
#include "base/scratch.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 65536u

struct pen_scratch_block {
    struct pen_scratch_block *next;
    size_t size, used;
    _Alignas(16) unsigned char bytes[];
};

void *pen_scratch_alloc(struct pen_scratch *scratch, size_t size)
{
    if (size > PEN_SCRATCH_LIMIT || scratch->total + size > PEN_SCRATCH_LIMIT)
        return NULL;
    size = (size + 15) & ~(size_t)15;
    struct pen_scratch_block *block = scratch->blocks;
    if (!block || block->size - block->used < size) {
        size_t bytes = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        block = malloc(sizeof *block + bytes);
        if (!block)
            return NULL;
        *block = (struct pen_scratch_block){.next = scratch->blocks, .size = bytes};
        scratch->blocks = block;
    }
    void *at = block->bytes + block->used;
    block->used += size;
    scratch->total += size;
    memset(at, 0, size);
    return at;
}

void pen_scratch_reset(struct pen_scratch *scratch)
{
    struct pen_scratch_block *keep = scratch->blocks;
    if (!keep)
        return;
    while (keep->next) {
        struct pen_scratch_block *next = keep->next->next;
        free(keep->next);
        keep->next = next;
    }
    keep->used = 0;
    scratch->total = 0;
}

void pen_scratch_finish(struct pen_scratch *scratch)
{
    if (!scratch)
        return;
    pen_scratch_reset(scratch);
    free(scratch->blocks);
    *scratch = (struct pen_scratch){0};
}
