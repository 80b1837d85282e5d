/* client/pages.h - the arena's pages in the program's mapping, made many at a time where all are about to be written.
 * Page by page, a first write of 256 MiB takes 173 ms here (of malloc's memory: 150); made at once, and then written,
 * 120. Pieces of 2 MiB are looked at, each once; smaller ranges are left alone. All of
 * it is a hint: where the kernel (before 5.14) cannot, pages come one by one.
 *
 * Threads: any.
 * Units:   bytes. */
#ifndef PEN_CLIENT_PAGES_H
#define PEN_CLIENT_PAGES_H

#include <stdatomic.h>
#include <stdint.h>

#include "wire/arena.h"

/* Zero-initialize. Without memory for it (init failed, or never called) the calls below do nothing. */
struct pen_pages {
    unsigned char *base;
    _Atomic uint64_t *made; /* bit n: piece n was made by us; relaxed, a hint */
};

void pen_pages_init(struct pen_pages *pages, void *base, uint64_t arena_bytes);
void pen_pages_finish(struct pen_pages *pages);
/* The whole range is about to be written. */
void pen_pages_fill(struct pen_pages *pages, uint64_t offset, uint64_t size);
/* The range's pages were given back to the system. */
void pen_pages_forget(struct pen_pages *pages, uint64_t offset, uint64_t size);

#endif
