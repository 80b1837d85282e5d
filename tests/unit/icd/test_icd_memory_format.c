/* Image formats: bytes of a pixel, and colours as they are stored. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "icd/format.h"

static size_t bytes(cl_channel_order order, cl_channel_type type)
{
    return pen_format_bytes(&(cl_image_format){order, type});
}

static void pixels_have_the_size_of_their_channels(void **state)
{
    (void)state;
    assert_int_equal(bytes(CL_R, CL_UNORM_INT8), 1);
    assert_int_equal(bytes(CL_A, CL_HALF_FLOAT), 2);
    assert_int_equal(bytes(CL_RG, CL_SIGNED_INT16), 4);
    assert_int_equal(bytes(CL_RA, CL_FLOAT), 8);
    assert_int_equal(bytes(CL_RGBA, CL_UNSIGNED_INT8), 4);
    assert_int_equal(bytes(CL_RGBA, CL_FLOAT), 16);
    assert_int_equal(bytes(CL_BGRA, CL_UNORM_INT8), 4);
    assert_int_equal(bytes(CL_INTENSITY, CL_FLOAT), 4);
    assert_int_equal(bytes(CL_LUMINANCE, CL_SNORM_INT16), 2);
    assert_int_equal(bytes(CL_DEPTH, CL_UNORM_INT16), 2);
    assert_int_equal(bytes(CL_DEPTH, CL_FLOAT), 4);
    assert_int_equal(bytes(CL_sRGBA, CL_UNORM_INT8), 4);
    assert_int_equal(bytes(CL_RGB, CL_UNORM_SHORT_565), 2);
    assert_int_equal(bytes(CL_RGBx, CL_UNORM_SHORT_555), 2);
    assert_int_equal(bytes(CL_RGB, CL_UNORM_INT_101010), 4);
    assert_int_equal(bytes(CL_RGBA, CL_UNORM_INT_101010_2), 4);
    assert_int_equal(bytes(CL_DEPTH_STENCIL, CL_UNORM_INT24), 4);
}

static void what_cannot_go_together_has_no_size(void **state)
{
    (void)state;
    assert_int_equal(bytes(CL_RGBA, CL_UNORM_SHORT_565), 0);
    assert_int_equal(bytes(CL_RGB, CL_UNORM_INT_101010_2), 0);
    assert_int_equal(bytes(CL_INTENSITY, CL_SIGNED_INT8), 0);
    assert_int_equal(bytes(CL_BGRA, CL_FLOAT), 0);
    assert_int_equal(bytes(CL_DEPTH, CL_SIGNED_INT32), 0);
    assert_int_equal(bytes(CL_sRGBA, CL_FLOAT), 0);
    assert_int_equal(bytes(CL_R, 0x10ff), 0);
    assert_int_equal(bytes(0x10ff, CL_FLOAT), 0);
    assert_int_equal(bytes(0, 0), 0);
}

static size_t pack(cl_channel_order order, cl_channel_type type, const void *color, unsigned char *out)
{
    uint32_t channels[4];
    memcpy(channels, color, sizeof channels);
    return pen_format_pack(&(cl_image_format){order, type}, channels, out);
}

static void expect(cl_channel_order order, cl_channel_type type, const void *color, const void *pixel, size_t size)
{
    unsigned char out[PEN_ELEMENT_BYTES];
    memset(out, 0xee, sizeof out);
    assert_int_equal(pack(order, type, color, out), size);
    assert_memory_equal(out, pixel, size);
    for (size_t i = size; i < sizeof out; i++)
        assert_int_equal(out[i], 0xee);
}

static void expect_not(cl_channel_order order, cl_channel_type type, const void *color)
{
    unsigned char out[PEN_ELEMENT_BYTES];
    assert_int_equal(pack(order, type, color, out), 0);
}

static void colours_are_stored_in_the_order_of_the_channels(void **state)
{
    (void)state;
    const cl_uint color[4] = {1, 2, 3, 4};
    expect(CL_RGBA, CL_UNSIGNED_INT8, color, "\1\2\3\4", 4);
    expect(CL_BGRA, CL_UNSIGNED_INT8, color, "\3\2\1\4", 4);
    expect(CL_ARGB, CL_UNSIGNED_INT8, color, "\4\1\2\3", 4);
    expect(CL_ABGR, CL_UNSIGNED_INT8, color, "\4\3\2\1", 4);
    expect(CL_A, CL_UNSIGNED_INT8, color, "\4", 1);
    expect(CL_RA, CL_UNSIGNED_INT8, color, "\1\4", 2);
    expect(CL_RG, CL_UNSIGNED_INT16, color, "\1\0\2\0", 4);
    expect(CL_RGBA, CL_UNSIGNED_INT32, color, color, 16);
}

static void numbers_of_the_type_are_stored_as_they_are(void **state)
{
    (void)state;
    const cl_int bytes_least[4] = {-128, 127, 0, -1}, shorts[4] = {-32768, 32767, 0, -1};
    const int16_t stored[4] = {-32768, 32767, 0, -1};
    const cl_float real[4] = {0.1f, -1e30f, NAN, INFINITY};
    expect(CL_RGBA, CL_SIGNED_INT8, bytes_least, "\x80\x7f\x00\xff", 4);
    expect(CL_RGBA, CL_SIGNED_INT16, shorts, stored, 8);
    expect(CL_RGBA, CL_SIGNED_INT32, shorts, shorts, 16);
    expect(CL_RGBA, CL_FLOAT, real, real, 16);
    expect(CL_DEPTH, CL_FLOAT, real, real, 4);
}

/* Saturation and rounding are the driver's: no two do them alike. */
static void what_has_to_be_rounded_is_left_to_the_driver(void **state)
{
    (void)state;
    const cl_uint over[4] = {0, 256, 0, 0}, under[4] = {0, 0, (cl_uint)-129, 0}, wide[4] = {65536, 0, 0, 0};
    const cl_float real[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    expect_not(CL_RGBA, CL_UNSIGNED_INT8, over);
    expect_not(CL_RGBA, CL_SIGNED_INT8, over);
    expect_not(CL_RGBA, CL_SIGNED_INT8, under);
    expect_not(CL_RGBA, CL_UNSIGNED_INT16, wide);
    expect_not(CL_RGBA, CL_SIGNED_INT16, wide);
    expect_not(CL_RGBA, CL_UNORM_INT8, real);
    expect_not(CL_RGBA, CL_SNORM_INT16, real);
    expect_not(CL_RGBA, CL_HALF_FLOAT, real);
    expect_not(CL_sRGBA, CL_UNORM_INT8, real);
    expect_not(CL_RGB, CL_UNORM_SHORT_565, real);
    expect_not(CL_RGBA, CL_UNORM_INT_101010_2, real);
    expect_not(CL_DEPTH_STENCIL, CL_FLOAT, real);
    expect_not(CL_BGRA, CL_FLOAT, real); /* no such format */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_have_the_size_of_their_channels),
        cmocka_unit_test(what_cannot_go_together_has_no_size),
        cmocka_unit_test(colours_are_stored_in_the_order_of_the_channels),
        cmocka_unit_test(numbers_of_the_type_are_stored_as_they_are),
        cmocka_unit_test(what_has_to_be_rounded_is_left_to_the_driver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
