/* mem/box, mem/residency: bounds that cannot be talked round, and where contents are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "mem/box.h"
#include "mem/residency.h"

static void test_ranges(void **state)
{
    (void)state;
    assert_true(pen_range_within(0, 10, 10));
    assert_true(pen_range_within(10, 0, 10));
    assert_false(pen_range_within(11, 0, 10));
    assert_false(pen_range_within(1, 10, 10));
    assert_false(pen_range_within(UINT64_MAX, 2, 10));
    assert_false(pen_range_within(2, UINT64_MAX, 10));
}

/* Every small box against counting its bytes one by one. */
static void test_box_end_by_counting(void **state)
{
    (void)state;
    for (uint64_t code = 0; code < UINT64_C(4) * 4 * 4 * 6 * 12 * 3; code++) {
        uint64_t row = code % 4 + 1, rows = code / 4 % 4 + 1, slices = code / 16 % 4 + 1;
        struct pen_box box = {
            .row_pitch = code / 64 % 6, .slice_pitch = code / 384 % 12 * 2, .origin = {code / 4608, 1, 2}};
        uint64_t pitch = box.row_pitch ? box.row_pitch : row;
        uint64_t slice = box.slice_pitch ? box.slice_pitch : pitch * rows;
        uint64_t last = box.origin[0] + (1 + rows - 1) * pitch + (2 + slices - 1) * slice + row - 1, end = 0;
        int rc = pen_box_end(&box, row, rows, slices, &end);
        if (pitch < row || (slices > 1 && slice < pitch * rows))
            assert_int_equal(rc, -PEN_EINVAL);
        else {
            assert_int_equal(rc, 0);
            assert_int_equal(end, last + 1);
        }
    }
}

static void test_box_end_overflows(void **state)
{
    (void)state;
    static const uint64_t large[] = {UINT64_MAX, UINT64_MAX / 2 + 1, UINT64_C(1) << 62, UINT64_C(1) << 33};
    uint64_t end;
    for (unsigned i = 0; i < 3; i++) {
        const struct pen_box at = {.origin = {large[i], large[i], large[i]}, .row_pitch = large[i]};
        assert_int_equal(pen_box_end(&at, large[i], large[i], large[i], &end), -PEN_EINVAL);
        const struct pen_box row = {.origin = {0, large[i], 0}, .row_pitch = 16};
        assert_int_equal(pen_box_end(&row, 4, 2, 1, &end), -PEN_EINVAL);
        const struct pen_box start = {.origin = {UINT64_MAX - 3, 0, 0}};
        assert_int_equal(pen_box_end(&start, 8, 1, 1, &end), -PEN_EINVAL);
    }
    const struct pen_box product = {.row_pitch = large[3]};
    assert_int_equal(pen_box_end(&product, 1, large[3], 1, &end), -PEN_EINVAL);
    const struct pen_box none = {0};
    assert_int_equal(pen_box_end(&none, 0, 1, 1, &end), -PEN_EINVAL);
    assert_int_equal(pen_box_end(&none, 1, 0, 1, &end), -PEN_EINVAL);
    assert_int_equal(pen_box_end(&none, 1, 1, 0, &end), -PEN_EINVAL);
}

static void test_images(void **state)
{
    (void)state;
    uint64_t bytes;
    struct pen_image_desc image = {.channel_order = 0x10B5,
                                   .channel_type = 0x10D2,
                                   .element_bytes = 4,
                                   .width = 5,
                                   .height = 3,
                                   .depth = 2,
                                   .array_size = 7};
    const uint64_t at[3] = {0, 0, 0}, one[3] = {1, 1, 1};
    assert_int_equal(pen_image_check(PEN_REGION_KIND_IMAGE1D, &image, &bytes), 0);
    assert_int_equal(bytes, 20);
    assert_int_equal(pen_image_check(PEN_REGION_KIND_IMAGE2D, &image, &bytes), 0);
    assert_int_equal(bytes, 60);
    assert_int_equal(pen_image_check(PEN_REGION_KIND_IMAGE3D, &image, &bytes), 0);
    assert_int_equal(bytes, 120);
    assert_int_equal(pen_image_check(PEN_REGION_KIND_IMAGE1D_ARRAY, &image, &bytes), 0);
    assert_int_equal(bytes, 140);
    assert_int_equal(pen_image_check(PEN_REGION_KIND_IMAGE2D_ARRAY, &image, &bytes), 0);
    assert_int_equal(bytes, 420);
    image.row_pitch = 32;
    assert_int_equal(pen_image_check(PEN_REGION_KIND_IMAGE2D, &image, &bytes), 0);
    assert_int_equal(bytes, 84);
    const uint64_t edge[3] = {4, 2, 0}, corner[3] = {4, 2, 1}, wide[3] = {2, 1, 1};
    assert_int_equal(pen_box_in_image(PEN_REGION_KIND_IMAGE2D, &image, edge, one), 0);
    assert_int_equal(pen_box_in_image(PEN_REGION_KIND_IMAGE2D, &image, corner, one), -PEN_EINVAL);
    assert_int_equal(pen_box_in_image(PEN_REGION_KIND_IMAGE3D, &image, corner, one), 0);
    assert_int_equal(pen_box_in_image(PEN_REGION_KIND_IMAGE2D, &image, edge, wide), -PEN_EINVAL);
    assert_int_equal(pen_box_in_image(PEN_REGION_KIND_IMAGE2D, &image, at, at), -PEN_EINVAL);
}

static void test_element_bytes(void **state)
{
    (void)state;
    assert_int_equal(pen_image_element_bytes(0x10B0, 0x10D2), 1);  /* R UNORM8 */
    assert_int_equal(pen_image_element_bytes(0x10B5, 0x10DE), 16); /* RGBA FLOAT */
    assert_int_equal(pen_image_element_bytes(0x10B5, 0x10DD), 8);  /* RGBA HALF */
    assert_int_equal(pen_image_element_bytes(0x10B4, 0x10D4), 2);  /* RGB 565 */
    assert_int_equal(pen_image_element_bytes(0x10B5, 0x10D4), 0);  /* RGBA 565 */
    assert_int_equal(pen_image_element_bytes(0x10BF, 0x10D2), 3);  /* sRGB UNORM8 */
    assert_int_equal(pen_image_element_bytes(0, 0x10D2), 0);
    assert_int_equal(pen_image_element_bytes(0x10B0, 0), 0);
}

static void test_steps(void **state)
{
    (void)state;
    const uint64_t host = UINT64_C(1) << PEN_REPLICA_HOST;
    uint32_t from = 99;
    assert_int_equal(pen_replicas_next(0, 2, &from), PEN_MOVE_NONE); /* never written: nothing to move */
    assert_int_equal(pen_replicas_next(1 << 2, 2, &from), PEN_MOVE_NONE);
    assert_int_equal(pen_replicas_next(1 << 2, 5, &from), PEN_MOVE_TO_HOST);
    assert_int_equal(from, 2);
    assert_int_equal(pen_replicas_next(1 << 2 | host, 5, &from), PEN_MOVE_FROM_HOST);
    assert_int_equal(pen_replicas_next(1 << 2 | 1 << 5 | host, 5, &from), PEN_MOVE_NONE);
    assert_int_equal(pen_replicas_next(1 << 5, PEN_REPLICA_HOST, &from), PEN_MOVE_TO_HOST);
    assert_int_equal(from, 5);
}

#define BYTES 64u

/* What a byte knows, one by one. */
struct byte {
    uint64_t valid, overwrites;
};

static void check_bytes(const struct pen_residency *residency, const struct byte bytes[BYTES])
{
    uint64_t end;
    for (uint64_t at = 0; at < BYTES; at++) {
        assert_int_equal(pen_residency_at(residency, at, &end), bytes[at].valid);
        assert_in_range(end, at + 1, BYTES);
        assert_int_equal(bytes[end - 1].valid, bytes[at].valid);
    }
}

/* One change, to both. */
static void change(struct pen_residency *residency, struct byte bytes[BYTES], uint64_t begin, uint64_t end,
                   uint64_t count)
{
    uint32_t what = (uint32_t)rand() % 5, at = (uint32_t)rand() % 4, from = 1u << rand() % 4;
    uint64_t since = (uint64_t)rand() % (count + 1);
    if (what == 0)
        pen_residency_copied(residency, begin, end, at);
    else if (what == 1)
        pen_residency_read(residency, begin, end, at);
    else if (what == 4)
        pen_residency_lost(residency, begin, end, at, from, since);
    else
        pen_residency_written(residency, begin, end, at, what == 2 ? count : 0);
    for (uint64_t i = begin; i < end; i++) {
        struct byte *byte = &bytes[i];
        if (what == 0 || (what == 1 && !byte->valid)) {
            byte->valid |= UINT64_C(1) << at;
        } else if (what == 2 || what == 3) {
            byte->valid = UINT64_C(1) << at;
            byte->overwrites = what == 2 ? count : byte->overwrites;
        } else if (what == 4 && byte->overwrites <= since) {
            byte->valid &= ~(UINT64_C(1) << at);
            byte->valid = byte->valid ? byte->valid : from;
        }
    }
}

/* As if each byte knew its replicas. */
static void test_residency_by_bytes(void **state)
{
    (void)state;
    srand(1);
    for (int run = 0; run < 200; run++) {
        struct pen_residency residency;
        uint64_t pinned[2] = {0, 0};
        struct byte bytes[BYTES] = {{0, 0}};
        pen_residency_init(&residency, BYTES);
        for (uint64_t count = 1; count < 60; count++) {
            uint64_t begin = (uint64_t)rand() % BYTES, end = begin + 1 + (uint64_t)rand() % (BYTES - begin);
            assert_true(pen_residency_cut(&residency, begin, end));
            change(&residency, bytes, begin, end, count);
            check_bytes(&residency, bytes);
            if (count % 8 == 0) { /* a range that is lost when much has happened */
                pinned[0] = begin;
                pinned[1] = end;
                pen_residency_pin(&residency, begin, end);
            } else if (count % 8 == 7 && pinned[1]) {
                change(&residency, bytes, pinned[0], pinned[1], count);
                pen_residency_unpin(&residency, pinned[0], pinned[1]);
                pinned[1] = 0;
            }
            pen_residency_merge(&residency, false);
            check_bytes(&residency, bytes);
            uint64_t missing = 0;
            for (uint64_t i = begin; i < end; i++)
                missing += bytes[i].valid && !(bytes[i].valid >> 2 & 1);
            assert_int_equal(pen_residency_missing(&residency, begin, end, 2), missing);
            bool spare = true;
            for (uint64_t i = 0; i < BYTES; i++)
                spare = spare && bytes[i].valid != 1u << 2;
            assert_int_equal(pen_residency_is_spare(&residency, 2), spare);
        }
        if (pinned[1])
            pen_residency_unpin(&residency, pinned[0], pinned[1]);
        pen_residency_merge(&residency, true);
        check_bytes(&residency, bytes);
        for (uint64_t at = 0, end; at < BYTES; at = end) { /* neighbours differ */
            uint64_t valid = pen_residency_at(&residency, at, &end);
            if (end < BYTES)
                assert_int_not_equal(bytes[end].valid, valid);
        }
        pen_residency_finish(&residency);
    }
}

/* What cannot be cut any more says so, and is as it was; a whole region never has to be. */
static void test_residency_is_bounded(void **state)
{
    (void)state;
    struct pen_residency residency;
    uint64_t size = 4 * PEN_RESIDENCY_PARTS, cuts = 0, end;
    pen_residency_init(&residency, size);
    while (cuts < size && pen_residency_cut(&residency, 2 * cuts + 1, 2 * cuts + 2)) {
        pen_residency_written(&residency, 2 * cuts + 1, 2 * cuts + 2, cuts % 4, 0);
        cuts++;
    }
    assert_in_range(cuts, PEN_RESIDENCY_PARTS / 2 - 2, PEN_RESIDENCY_PARTS / 2);
    assert_int_equal(residency.count, 2 * cuts + 1);
    assert_true(pen_residency_cut(&residency, 0, size));
    pen_residency_written(&residency, 0, size, 3, 0);
    pen_residency_merge(&residency, true);
    assert_int_equal(pen_residency_at(&residency, 0, &end), 1 << 3);
    assert_int_equal(end, size);
    assert_true(pen_residency_cut(&residency, 1, 2));
    pen_residency_finish(&residency);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_box_end_by_counting),
        cmocka_unit_test(test_box_end_overflows),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_element_bytes),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_residency_by_bytes),
        cmocka_unit_test(test_residency_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
