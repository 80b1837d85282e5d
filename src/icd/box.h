/* icd/box.h - arithmetic on boxes of bytes: rows of a row pitch, slices of a slice pitch. Pure.
 * Units:   bytes, but where a name says pixels
 * Threads: any
 * Errors:  bool; on false outputs are untouched */
#ifndef PEN_ICD_BOX_H
#define PEN_ICD_BOX_H

#include <stdbool.h>
#include <stddef.h>

/* Where a box lies in a linear range: its first byte, and the distances of its rows and slices. */
struct pen_place {
    size_t first, row_pitch, slice_pitch;
};

/* How much a box holds. Nothing is 0. */
struct pen_span {
    size_t row_bytes, rows, slices;
};

/* *out = a * b or a + b; false when that overflows. */
static inline bool pen_size_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool pen_size_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Bytes in the span; it must not overflow. */
size_t pen_span_bytes(const struct pen_span *span);
/* Bytes from the first to one past the last; false when that overflows. */
bool pen_span_reach(const struct pen_place *place, const struct pen_span *span, size_t *out_bytes);
/* The tight layout of a span. */
struct pen_place pen_span_tight(const struct pen_span *span);

/* Copies a span. `to` and `from` are the addresses that the places' first bytes are counted from. Ranges may overlap
 * only when it is one run of bytes in both (memmove). */
void pen_span_copy(void *to, const struct pen_place *to_place, const void *from, const struct pen_place *from_place,
                   const struct pen_span *span);
bool pen_span_equal(const void *a, const struct pen_place *a_place, const void *b, const struct pen_place *b_place,
                    const struct pen_span *span);

/* One side of a rectangle command: defaults the pitches (0) and checks them as clEnqueueReadBufferRect says (row pitch
 * at least region[0]; slice pitch at least region[1] row pitches and a multiple of the row pitch). */
bool pen_rect_place(const size_t origin[3], const size_t region[3], size_t row_pitch, size_t slice_pitch,
                    struct pen_place *out_place);

/* check_copy_overlap of the OpenCL specification's appendix on CL_MEM_COPY_OVERLAP: both sides with the same pitches,
 * origins counted from the same byte. */
bool pen_rect_overlap(const size_t source_origin[3], const size_t target_origin[3], const size_t region[3],
                      size_t row_pitch, size_t slice_pitch);
/* Do [a, a + a_size) and [b, b + b_size) share a byte? */
static inline bool pen_range_overlap(size_t a, size_t a_size, size_t b, size_t b_size)
{
    return a < b + b_size && b < a + a_size;
}
/* Do two boxes of the same extent in one image share a pixel? */
bool pen_box_overlap(const size_t a[3], const size_t b[3], const size_t region[3]);

#endif
