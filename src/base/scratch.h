/* base/scratch.h - a bump allocator that decoders put lists of structs into; reset after each message.
 * Ownership: owns its block. Threads: one. Errors: NULL when out of memory or over PEN_SCRATCH_LIMIT. */
#ifndef PEN_BASE_SCRATCH_H
#define PEN_BASE_SCRATCH_H

#include <stddef.h>

/* More than any message of one frame can need: lists are bounded by the frame's bytes. */
#define PEN_SCRATCH_LIMIT (4u << 20)

struct pen_scratch_block;

/* Zero-initialize. */
struct pen_scratch {
    struct pen_scratch_block *blocks;
    size_t total; /* bytes handed out since the last reset */
};

/* Zero-filled, 16-byte aligned. */
void *pen_scratch_alloc(struct pen_scratch *scratch, size_t size);
/* What was handed out is gone; one block is kept. */
void pen_scratch_reset(struct pen_scratch *scratch);
void pen_scratch_finish(struct pen_scratch *scratch);

#endif
