#include "icd/box.h"

#include <stdint.h>
#include <string.h>

#include "base/copy.h"

size_t pen_span_bytes(const struct pen_span *span)
{
    return span->row_bytes * span->rows * span->slices;
}

bool pen_span_reach(const struct pen_place *place, const struct pen_span *span, size_t *out_bytes)
{
    size_t rows, slices, sum;
    if (!pen_size_mul(span->rows - 1, place->row_pitch, &rows) ||
        !pen_size_mul(span->slices - 1, place->slice_pitch, &slices) || !pen_size_add(rows, slices, &sum) ||
        !pen_size_add(sum, span->row_bytes, &sum))
        return false;
    *out_bytes = sum;
    return true;
}

struct pen_place pen_span_tight(const struct pen_span *span)
{
    return (struct pen_place){.first = 0, .row_pitch = span->row_bytes, .slice_pitch = span->row_bytes * span->rows};
}

/* Rows that touch in both places are one longer row, and so are slices: fewer, larger copies. */
static struct pen_span span_joined(struct pen_span span, const struct pen_place *a, const struct pen_place *b)
{
    if (span.rows > 1 && (a->row_pitch != span.row_bytes || b->row_pitch != span.row_bytes))
        return span;
    size_t slice = span.row_bytes * span.rows;
    if (span.slices > 1 && (a->slice_pitch != slice || b->slice_pitch != slice))
        return (struct pen_span){slice, 1, span.slices};
    return (struct pen_span){slice * span.slices, 1, 1};
}

void pen_span_copy(void *to, const struct pen_place *to_place, const void *from, const struct pen_place *from_place,
                   const struct pen_span *span)
{
    struct pen_span run = span_joined(*span, to_place, from_place);
    char *target = (char *)to + to_place->first;
    const char *source = (const char *)from + from_place->first;
    if (run.rows == 1 && run.slices == 1) {
        pen_copy(target, source, run.row_bytes);
        return;
    }
    for (size_t slice = 0; slice < run.slices; slice++)
        for (size_t row = 0; row < run.rows; row++)
            memcpy(target + slice * to_place->slice_pitch + row * to_place->row_pitch,
                   source + slice * from_place->slice_pitch + row * from_place->row_pitch, run.row_bytes);
}

bool pen_span_equal(const void *a, const struct pen_place *a_place, const void *b, const struct pen_place *b_place,
                    const struct pen_span *span)
{
    struct pen_span run = span_joined(*span, a_place, b_place);
    const char *first = (const char *)a + a_place->first;
    const char *second = (const char *)b + b_place->first;
    for (size_t slice = 0; slice < run.slices; slice++)
        for (size_t row = 0; row < run.rows; row++)
            if (memcmp(first + slice * a_place->slice_pitch + row * a_place->row_pitch,
                       second + slice * b_place->slice_pitch + row * b_place->row_pitch, run.row_bytes) != 0)
                return false;
    return true;
}

bool pen_rect_place(const size_t origin[3], const size_t region[3], size_t row_pitch, size_t slice_pitch,
                    struct pen_place *out_place)
{
    size_t least, slices, rows, first;
    if (row_pitch == 0)
        row_pitch = region[0];
    if (row_pitch < region[0] || !pen_size_mul(row_pitch, region[1], &least))
        return false;
    if (slice_pitch == 0)
        slice_pitch = least;
    if (slice_pitch < least || slice_pitch % row_pitch != 0)
        return false;
    if (!pen_size_mul(origin[2], slice_pitch, &slices) || !pen_size_mul(origin[1], row_pitch, &rows) ||
        !pen_size_add(slices, rows, &first) || !pen_size_add(first, origin[0], &first))
        return false;
    *out_place = (struct pen_place){first, row_pitch, slice_pitch};
    return true;
}

bool pen_rect_overlap(const size_t source_origin[3], const size_t target_origin[3], const size_t region[3],
                      size_t row_pitch, size_t slice_pitch)
{
    const size_t slice_size = (region[1] - 1) * row_pitch + region[0];
    const size_t block_size = (region[2] - 1) * slice_pitch + slice_size;
    const size_t source = source_origin[2] * slice_pitch + source_origin[1] * row_pitch + source_origin[0];
    const size_t target = target_origin[2] * slice_pitch + target_origin[1] * row_pitch + target_origin[0];

    if (!pen_range_overlap(source, block_size, target, block_size))
        return false;

    /* Apart in x: one's rows lie in the gap between the other's. */
    const size_t source_x = source_origin[0] % row_pitch, target_x = target_origin[0] % row_pitch;
    if ((target_x >= source_x + region[0] && target_x + region[0] <= source_x + row_pitch) ||
        (source_x >= target_x + region[0] && source_x + region[0] <= target_x + row_pitch))
        return false;

    /* Apart in y: one's slices lie in the gap between the other's. */
    const size_t source_y = (source_origin[1] * row_pitch + source_origin[0]) % slice_pitch;
    const size_t target_y = (target_origin[1] * row_pitch + target_origin[0]) % slice_pitch;
    if ((target_y >= source_y + slice_size && target_y + slice_size <= source_y + slice_pitch) ||
        (source_y >= target_y + slice_size && source_y + slice_size <= target_y + slice_pitch))
        return false;
    return true;
}

bool pen_box_overlap(const size_t a[3], const size_t b[3], const size_t region[3])
{
    for (int axis = 0; axis < 3; axis++)
        if (!pen_range_overlap(a[axis], region[axis], b[axis], region[axis]))
            return false;
    return true;
}
