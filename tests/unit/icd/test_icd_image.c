/* The front end's images: formats and rows, which devices of a context have and ask for differently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "icd/entry.h"
#include "stub_session.h"

enum { WIDTH = 24, HEIGHT = 4, PIXEL = 4 }; /* a row is 4 pixels more than the GPU's 16, and six times the CPU's 4 */

static const cl_image_format linear = {CL_RGBA, CL_UNORM_INT8}, srgb = {CL_sRGBA, CL_UNORM_INT8};
static cl_device_id devices[2]; /* CPU, GPU */

static int set_up(void **state)
{
    (void)state;
    cl_platform_id platform = NULL;
    return pen_clGetPlatformIDs(1, &platform, NULL) ||
           pen_clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 2, devices, NULL);
}

static cl_int make_image(cl_context context, const cl_image_format *format, cl_mem source, size_t row_pitch)
{
    const cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE2D,
                                .image_width = WIDTH,
                                .image_height = HEIGHT,
                                .image_row_pitch = row_pitch,
                                .mem_object = source};
    cl_int status = 1;
    cl_mem image = pen_clCreateImage(context, 0, format, &desc, NULL, &status);
    assert_int_equal(image != NULL, status == CL_SUCCESS);
    if (image)
        assert_int_equal(pen_clReleaseMemObject(image), CL_SUCCESS);
    return status;
}

static void test_rows_of_a_buffer(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_context of_cpu = pen_clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    cl_context of_both = pen_clCreateContext(NULL, 2, devices, NULL, NULL, &error);
    cl_mem buffer = pen_clCreateBuffer(of_cpu, 0, 4096, NULL, &error);
    cl_mem shared = pen_clCreateBuffer(of_both, 0, 4096, NULL, &error);
    assert_int_equal(make_image(of_cpu, &linear, buffer, 0), CL_SUCCESS);
    assert_int_equal(make_image(of_cpu, &linear, buffer, 28 * PIXEL), CL_SUCCESS);
    assert_int_equal(make_image(of_cpu, &linear, buffer, 26 * PIXEL), CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
    assert_int_equal(make_image(of_both, &linear, shared, 0), CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
    assert_int_equal(make_image(of_both, &linear, shared, 28 * PIXEL), CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
    assert_int_equal(make_image(of_both, &linear, shared, 32 * PIXEL), CL_SUCCESS);
    assert_int_equal(pen_clReleaseMemObject(buffer), CL_SUCCESS);
    assert_int_equal(pen_clReleaseMemObject(shared), CL_SUCCESS);
    assert_int_equal(pen_clReleaseContext(of_cpu), CL_SUCCESS);
    assert_int_equal(pen_clReleaseContext(of_both), CL_SUCCESS);
}

static void test_rows_of_an_image(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_context context = pen_clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = WIDTH, .image_height = HEIGHT};
    cl_mem image = pen_clCreateImage(context, 0, &linear, &desc, NULL, &error);
    assert_int_equal(error, CL_SUCCESS);
    assert_int_equal(make_image(context, &srgb, image, 0), CL_SUCCESS);
    assert_int_equal(make_image(context, &srgb, image, WIDTH * PIXEL), CL_SUCCESS);
    assert_int_equal(make_image(context, &srgb, image, (WIDTH + 4) * PIXEL), CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
    assert_int_equal(make_image(context, &linear, image, 0), CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
    assert_int_equal(pen_clReleaseMemObject(image), CL_SUCCESS);
    assert_int_equal(pen_clReleaseContext(context), CL_SUCCESS);
}

/* A context has the formats of all its devices; a device's queue takes images of its own. */
static void test_formats_of_two(void **state)
{
    (void)state;
    static const size_t origin[3] = {0}, region[3] = {WIDTH, HEIGHT, 1};
    static const uint32_t color[4] = {0};
    cl_int error = 0;
    cl_uint count = 0;
    cl_image_format formats[4] = {{0}};
    cl_context context = pen_clCreateContext(NULL, 2, devices, NULL, NULL, &error);
    assert_int_equal(pen_clGetSupportedImageFormats(context, 0, CL_MEM_OBJECT_IMAGE2D, 4, formats, &count), CL_SUCCESS);
    assert_int_equal(count, 3);
    assert_int_equal(formats[0].image_channel_order, CL_RGBA);
    assert_int_equal(formats[1].image_channel_order, CL_sRGBA);
    assert_int_equal(formats[2].image_channel_order, CL_R);
    assert_int_equal(pen_clGetSupportedImageFormats(context, 0, CL_MEM_OBJECT_IMAGE3D, 4, formats, &count), CL_SUCCESS);
    assert_int_equal(count, 0);
    const cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = WIDTH, .image_height = HEIGHT};
    const cl_image_format neither = {CL_A, CL_UNORM_INT8};
    assert_null(pen_clCreateImage(context, 0, &neither, &desc, NULL, &error));
    assert_int_equal(error, CL_IMAGE_FORMAT_NOT_SUPPORTED);
    cl_mem image = pen_clCreateImage(context, 0, &srgb, &desc, NULL, &error);
    assert_int_equal(error, CL_SUCCESS);
    cl_command_queue cpu = pen_clCreateCommandQueue(context, devices[0], 0, &error);
    cl_command_queue gpu = pen_clCreateCommandQueue(context, devices[1], 0, &error);
    assert_int_equal(pen_clEnqueueFillImage(cpu, image, color, origin, region, 0, NULL, NULL), CL_SUCCESS);
    assert_int_equal(pen_clEnqueueFillImage(gpu, image, color, origin, region, 0, NULL, NULL),
                     CL_IMAGE_FORMAT_NOT_SUPPORTED);
    assert_int_equal(pen_clEnqueueMigrateMemObjects(gpu, 1, &image, 0, 0, NULL, NULL), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MIGRATE), 0); /* a hint that cannot be taken */
    assert_int_equal(pen_clEnqueueMigrateMemObjects(cpu, 1, &image, 0, 0, NULL, NULL), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MIGRATE), 1);
    size_t row_pitch = 0;
    void *mapped = pen_clEnqueueMapImage(cpu, image, CL_FALSE, CL_MAP_WRITE, origin, region, &row_pitch, NULL, 0, NULL,
                                         NULL, &error);
    assert_int_equal(error, CL_SUCCESS);
    assert_int_equal(pen_clEnqueueUnmapMemObject(gpu, image, mapped, 0, NULL, NULL), CL_IMAGE_FORMAT_NOT_SUPPORTED);
    assert_int_equal(pen_clEnqueueUnmapMemObject(cpu, image, mapped, 0, NULL, NULL), CL_SUCCESS);
    assert_int_equal(pen_clReleaseCommandQueue(cpu), CL_SUCCESS);
    assert_int_equal(pen_clReleaseCommandQueue(gpu), CL_SUCCESS);
    assert_int_equal(pen_clReleaseMemObject(image), CL_SUCCESS);
    assert_int_equal(pen_clReleaseContext(context), CL_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_formats_of_two, set_up),
                                       cmocka_unit_test_setup(test_rows_of_a_buffer, set_up),
                                       cmocka_unit_test_setup(test_rows_of_an_image, set_up)};
    return cmocka_run_group_tests_name("icd images", tests, NULL, NULL);
}
