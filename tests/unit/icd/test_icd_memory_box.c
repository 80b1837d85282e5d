/* Arithmetic on boxes of bytes: copies against bytes copied one by one, overlap against bytes marked one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "icd/box.h"

#define BYTES 4096

static uint32_t random_state = 1;

static size_t pick(size_t low, size_t high)
{
    random_state = random_state * 1664525u + 1013904223u;
    return low + (random_state >> 8) % (high - low + 1);
}

static size_t byte_at(const struct pen_place *place, size_t x, size_t row, size_t slice)
{
    return place->first + x + row * place->row_pitch + slice * place->slice_pitch;
}

/* A layout that holds the span: tight, or with gaps. */
static struct pen_place random_place(const struct pen_span *span)
{
    struct pen_place place = {.first = pick(0, 9)};
    place.row_pitch = span->row_bytes + (pick(0, 1) ? pick(0, 5) : 0);
    place.slice_pitch = place.row_pitch * (span->rows + (pick(0, 1) ? pick(0, 2) : 0));
    return place;
}

static void copies_what_it_should_and_nothing_else(void **state)
{
    (void)state;
    for (int round = 0; round < 5000; round++) {
        unsigned char source[BYTES], target[BYTES], expected[BYTES];
        struct pen_span span = {pick(1, 20), pick(1, 6), pick(1, 5)};
        struct pen_place from = random_place(&span), to = random_place(&span);
        for (size_t i = 0; i < BYTES; i++) {
            source[i] = (unsigned char)pick(0, 255);
            target[i] = expected[i] = (unsigned char)pick(0, 255);
        }
        for (size_t slice = 0; slice < span.slices; slice++)
            for (size_t row = 0; row < span.rows; row++)
                for (size_t x = 0; x < span.row_bytes; x++)
                    expected[byte_at(&to, x, row, slice)] = source[byte_at(&from, x, row, slice)];
        bool equal = pen_span_equal(target, &to, source, &from, &span);
        assert_int_equal(equal, memcmp(target, expected, BYTES) == 0);
        pen_span_copy(target, &to, source, &from, &span);
        assert_memory_equal(target, expected, BYTES);
        assert_true(pen_span_equal(target, &to, source, &from, &span));
        target[byte_at(&to, span.row_bytes - 1, span.rows - 1, span.slices - 1)] ^= 1;
        assert_false(pen_span_equal(target, &to, source, &from, &span));
    }
}

static void a_reach_ends_with_the_last_byte(void **state)
{
    (void)state;
    size_t reach = 7;
    const struct pen_span span = {10, 3, 2};
    assert_true(pen_span_reach(&(struct pen_place){5, 16, 64}, &span, &reach));
    assert_int_equal(reach, 64 + 2 * 16 + 10);
    assert_int_equal(pen_span_bytes(&span), 60);
    reach = 7;
    assert_false(pen_span_reach(&(struct pen_place){0, SIZE_MAX / 2 + 1, 64}, &span, &reach));
    assert_int_equal(reach, 7);
    struct pen_place tight = pen_span_tight(&span);
    assert_int_equal(tight.row_pitch, 10);
    assert_int_equal(tight.slice_pitch, 30);
}

static void pitches_have_defaults_and_limits(void **state)
{
    (void)state;
    const size_t origin[3] = {3, 2, 1}, region[3] = {10, 4, 2};
    struct pen_place place = {0};
    assert_true(pen_rect_place(origin, region, 0, 0, &place));
    assert_int_equal(place.row_pitch, 10);
    assert_int_equal(place.slice_pitch, 40);
    assert_int_equal(place.first, 40 + 20 + 3);
    assert_true(pen_rect_place(origin, region, 12, 60, &place));
    assert_int_equal(place.first, 60 + 24 + 3);
    assert_false(pen_rect_place(origin, region, 9, 0, &place));   /* shorter than a row */
    assert_false(pen_rect_place(origin, region, 0, 39, &place));  /* shorter than a slice */
    assert_false(pen_rect_place(origin, region, 12, 50, &place)); /* not a multiple of the row pitch */
    const size_t far[3] = {0, 0, SIZE_MAX / 8};
    assert_false(pen_rect_place(far, region, 0, 0, &place)); /* overflow */
    const size_t huge[3] = {SIZE_MAX / 2, 4, 1};
    assert_false(pen_rect_place(origin, huge, 0, 0, &place));
}

static bool marked_twice(const size_t a[3], const size_t b[3], const size_t region[3], size_t row, size_t slice)
{
    static unsigned char marks[1 << 16];
    memset(marks, 0, sizeof marks);
    for (int side = 0; side < 2; side++) {
        const size_t *origin = side ? b : a;
        for (size_t z = 0; z < region[2]; z++)
            for (size_t y = 0; y < region[1]; y++)
                for (size_t x = 0; x < region[0]; x++)
                    if (marks[(origin[2] + z) * slice + (origin[1] + y) * row + origin[0] + x]++ && side)
                        return true;
    }
    return false;
}

static void rectangles_overlap_when_they_share_a_byte(void **state)
{
    (void)state;
    int overlapping = 0, apart = 0;
    for (int round = 0; round < 20000; round++) {
        size_t row = pick(4, 16), rows = pick(2, 6), slice = row * rows;
        size_t region[3] = {pick(1, row), pick(1, rows), pick(1, 3)};
        size_t a[3] = {pick(0, row - region[0]), pick(0, rows - region[1]), pick(0, 3)};
        size_t b[3] = {pick(0, row - region[0]), pick(0, rows - region[1]), pick(0, 3)};
        bool expected = marked_twice(a, b, region, row, slice);
        assert_int_equal(pen_rect_overlap(a, b, region, row, slice), expected);
        assert_int_equal(pen_rect_overlap(b, a, region, row, slice), expected);
        assert_int_equal(pen_box_overlap(a, b, region), expected);
        expected ? overlapping++ : apart++;
    }
    assert_true(overlapping > 1000 && apart > 1000);
}

static void ranges_that_only_touch_do_not_overlap(void **state)
{
    (void)state;
    assert_false(pen_range_overlap(0, 4, 4, 4));
    assert_false(pen_range_overlap(4, 4, 0, 4));
    assert_true(pen_range_overlap(0, 5, 4, 4));
    assert_true(pen_range_overlap(2, 1, 0, 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_what_it_should_and_nothing_else),
        cmocka_unit_test(a_reach_ends_with_the_last_byte),
        cmocka_unit_test(pitches_have_defaults_and_limits),
        cmocka_unit_test(rectangles_overlap_when_they_share_a_byte),
        cmocka_unit_test(ranges_that_only_touch_do_not_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
