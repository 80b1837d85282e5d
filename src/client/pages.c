#include "client/pages.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#define WORD 64u

void pen_pages_init(struct pen_pages *pages, void *base, uint64_t arena_bytes)
{
    pages->base = base;
    pages->made = calloc(arena_bytes / PEN_ARENA_HUGE / WORD + 1, sizeof *pages->made);
}

void pen_pages_finish(struct pen_pages *pages)
{
    free((void *)pages->made);
    *pages = (struct pen_pages){0};
}

static uint64_t bit(uint64_t piece)
{
    return UINT64_C(1) << piece % WORD;
}

/* True for the first who asks. */
static bool claim(struct pen_pages *pages, uint64_t piece)
{
    _Atomic uint64_t *word = &pages->made[piece / WORD];
    return !(atomic_load_explicit(word, memory_order_relaxed) & bit(piece)) &&
           !(atomic_fetch_or_explicit(word, bit(piece), memory_order_relaxed) & bit(piece));
}

void pen_pages_fill(struct pen_pages *pages, uint64_t offset, uint64_t size)
{
    uint64_t piece = (offset + PEN_ARENA_HUGE - 1) / PEN_ARENA_HUGE, end = (offset + size) / PEN_ARENA_HUGE;
    while (pages->made && piece < end) {
        uint64_t first = piece;
        while (piece < end && claim(pages, piece))
            piece++;
#ifdef MADV_POPULATE_WRITE
        if (piece > first)
            (void)madvise(pages->base + first * PEN_ARENA_HUGE, (piece - first) * PEN_ARENA_HUGE, MADV_POPULATE_WRITE);
#endif
        piece += piece == first;
    }
}

void pen_pages_forget(struct pen_pages *pages, uint64_t offset, uint64_t size)
{
    uint64_t piece = offset / PEN_ARENA_HUGE, end = (offset + size + PEN_ARENA_HUGE - 1) / PEN_ARENA_HUGE;
    for (; pages->made && piece < end; piece++)
        atomic_fetch_and_explicit(&pages->made[piece / WORD], ~bit(piece), memory_order_relaxed);
}
