/* mem/box, mem/residency: bounds that cannot be talked round, and where contents are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

static void test_residency(void **state)
{
    (void)state;
    struct pen_residency residency = {0};
    uint32_t from = 99;
    /* Never written: nothing to move. */
    assert_int_equal(pen_residency_next(&residency, 2, &from), PEN_MOVE_NONE);
    pen_residency_written(&residency, 2);
    assert_int_equal(pen_residency_next(&residency, 2, &from), PEN_MOVE_NONE);
    assert_int_equal(pen_residency_next(&residency, 5, &from), PEN_MOVE_TO_HOST);
    assert_int_equal(from, 2);
    pen_residency_copied(&residency, PEN_REPLICA_HOST);
    assert_int_equal(pen_residency_next(&residency, 5, &from), PEN_MOVE_FROM_HOST);
    pen_residency_copied(&residency, 5);
    assert_int_equal(pen_residency_next(&residency, 5, &from), PEN_MOVE_NONE);
    assert_true(pen_residency_valid(&residency, 2));
    /* A write leaves one. */
    pen_residency_written(&residency, 5);
    assert_false(pen_residency_valid(&residency, 2));
    assert_false(pen_residency_valid(&residency, PEN_REPLICA_HOST));
    assert_int_equal(pen_residency_next(&residency, PEN_REPLICA_HOST, &from), PEN_MOVE_TO_HOST);
    assert_int_equal(from, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_box_end_by_counting),
        cmocka_unit_test(test_box_end_overflows),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_element_bytes),
        cmocka_unit_test(test_residency),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
