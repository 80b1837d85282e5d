/* scenario/cl_kernel.c - kernels on any platform: creation, argument and work-group information, every error of
 * clSetKernelArg and clEnqueueNDRangeKernel, arguments that change between launches, shapes and offsets. Where a driver
 * is known to differ from the specification the check is made on Penstock alone, and says so. */
#include <pthread.h>

#include "program_check.h"

static const char source[] =
    "typedef struct { int a; float b; char c[40]; } pair;\n"
    "kernel void empty(void) {}\n"
    "kernel __attribute__((reqd_work_group_size(4, 2, 1))) void fixed(global int *o) {\n"
    "    o[get_global_id(1) * get_global_size(0) + get_global_id(0)] = get_local_size(0) * 10 + get_local_size(1); }\n"
    "kernel void values(global int *o, char c, float f, long l, float4 v, int3 t, pair p) {\n"
    "    o[0] = c; o[1] = (int)f; o[2] = (int)l; o[3] = (int)v.w; o[4] = t.z; o[5] = p.a + p.c[39]; }\n"
    "kernel void locals(global int *o, local int *s, int n) {\n"
    "    int i = get_local_id(0); s[i] = i + n; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    o[get_global_id(0)] = s[get_local_size(0) - 1 - i]; }\n"
    "kernel void more_locals(global int *o, local int *s, local int *t) {\n"
    "    local int own[4]; int i = get_local_id(0); own[i] = s[i] = t[i] = i; barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    o[get_global_id(0)] = own[3 - i] + s[3 - i] + t[3 - i]; }\n"
    "kernel void ids(global int *o, int width) {\n"
    "    int x = get_global_id(0), y = get_global_id(1), z = get_global_id(2);\n"
    "    int at = ((z - get_global_offset(2)) * get_global_size(1) + y - get_global_offset(1)) * get_global_size(0)\n"
    "             + x - get_global_offset(0);\n"
    "    o[at] = x + width * (y + width * z); }\n"
    "kernel void names(global const float *restrict input, constant int *table, local uchar4 *space, ulong count,\n"
    "                  volatile global uint *output) { if (count) *output = input[0] + table[0] + space[0].x; }\n"
    "kernel void may_be_null(global int *o, global int *n) { o[0] = n == 0; }\n"
    "kernel void add(global int *o, int n) { atomic_add(o, n); }\n";

static const char read_write_source[] = "kernel void twice(read_write image2d_t image) {\n"
                                        "    int2 at = (int2)(get_global_id(0), get_global_id(1));\n"
                                        "    write_imageui(image, at, read_imageui(image, at) * 2u); }\n";
#define SAMPLE                                                                                                         \
    "    int2 at = (int2)(get_global_id(0), get_global_id(1));\n"                                                      \
    "    write_imageui(out, at, read_imageui(in, s, at) + 1u); }\n"
static const char image_source[] =
    "kernel void sample(read_only image2d_t in, sampler_t s, write_only image2d_t out) {\n" SAMPLE;
/* The same by names of its own. */
static const char named_image_source[] = "typedef read_only image2d_t picture;\n"
                                         "typedef write_only image2d_t canvas;\n"
                                         "typedef sampler_t how;\n"
                                         "kernel void sample(picture in, how s, canvas out) {\n" SAMPLE;
/* Names that begin like OpenCL's own, and what else a name may stand for. */
static const char named_source[] =
    "typedef struct { int w, h; } image_size;\n"
    "typedef struct { int w, h, d; } image_box;\n"
    "typedef struct { int w, h; } image2d_info;\n"
    "typedef struct { int w, h; } sampler_t_info;\n"
    "typedef global int *results;\n"
    "typedef local int *room;\n"
    "typedef int number;\n"
    "typedef ulong wide;\n"
    "typedef float4 colour;\n"
    "typedef enum { ONE = 1, TWO } choice;\n"
    "kernel void named(results o, image_size s, image_box b, global image2d_info *p, sampler_t_info t, number n, wide "
    "w,\n"
    "                  colour c, choice e, room r) {\n"
    "    r[0] = n;\n"
    "    o[0] = s.w * 10 + s.h; o[1] = b.w * 100 + b.h * 10 + b.d; o[2] = p->w * 10 + p->h; o[3] = t.w * 10 + t.h;\n"
    "    o[4] = r[0]; o[5] = (int)(w >> 32); o[6] = (int)c.w; o[7] = e == TWO; }\n";

static cl_kernel make_kernel(cl_program program, const char *name)
{
    cl_int status;
    cl_kernel kernel = clCreateKernel(program, name, &status);
    CHECK(status == CL_SUCCESS && kernel, "%s: %d", name, status);
    return kernel;
}

static cl_mem make_buffer(cl_context context, size_t size)
{
    cl_int status;
    cl_mem buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, size, NULL, &status);
    CHECK_OK(status);
    return buffer;
}

static void read_ints(struct cl_setup *s, cl_mem buffer, cl_int *out, size_t count)
{
    CHECK_OK(clEnqueueReadBuffer(s->queue, buffer, CL_TRUE, 0, count * sizeof *out, out, 0, NULL, NULL));
}

/* ---- creation ------------------------------------------------------------------------------------------- */

static void check_creation(struct cl_setup *s, cl_program program)
{
    cl_int status;
    cl_uint count = 0;
    char text[256] = "";
    cl_program its_program = NULL;
    cl_context its_context = NULL;
    CHECK(!clCreateKernel(NULL, "add", &status) && status == CL_INVALID_PROGRAM, "%d", status);
    CHECK(!clCreateKernel(program, "no_such", &status) && status == CL_INVALID_KERNEL_NAME, "%d", status);
    CHECK(!clCreateKernel(program, NULL, &status) && status == CL_INVALID_VALUE, "%d", status);
    CHECK_STATUS(clReleaseKernel(NULL), CL_INVALID_KERNEL);

    cl_kernel kernel = make_kernel(program, "values");
    CHECK_OK(clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof text, text, NULL));
    CHECK(strcmp(text, "values") == 0, "'%s'", text);
    CHECK_OK(clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof count, &count, NULL));
    CHECK(count == 7, "%u", count);
    CHECK_OK(clGetKernelInfo(kernel, CL_KERNEL_REFERENCE_COUNT, sizeof count, &count, NULL));
    CHECK(count == 1, "%u", count);
    CHECK_OK(clGetKernelInfo(kernel, CL_KERNEL_PROGRAM, sizeof its_program, &its_program, NULL));
    CHECK(its_program == program, "another program");
    CHECK_OK(clGetKernelInfo(kernel, CL_KERNEL_CONTEXT, sizeof its_context, &its_context, NULL));
    CHECK(its_context == s->context, "another context");
    CHECK_STATUS(clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, 2, text, NULL), CL_INVALID_VALUE);
    CHECK_STATUS(clGetKernelInfo(kernel, 0x9999, 0, NULL, NULL), CL_INVALID_VALUE);
    CHECK_OK(clReleaseKernel(kernel));

    cl_kernel kernels[16];
    CHECK_OK(clCreateKernelsInProgram(program, 0, NULL, &count));
    CHECK(count == 9, "%u", count);
    CHECK_STATUS(clCreateKernelsInProgram(program, count - 1, kernels, NULL), CL_INVALID_VALUE);
    CHECK_OK(clCreateKernelsInProgram(program, 16, kernels, &count));
    for (cl_uint i = 0; i < count; i++)
        CHECK_OK(clReleaseKernel(kernels[i]));
}

/* ---- information ----------------------------------------------------------------------------------------- */

static void check_argument(cl_kernel kernel, cl_uint index, cl_uint address, cl_ulong qualifiers, const char *type,
                           const char *name)
{
    char text[128] = "";
    cl_kernel_arg_address_qualifier got_address = 0;
    cl_kernel_arg_type_qualifier got_qualifiers = 99;
    cl_kernel_arg_access_qualifier access = 0;
    CHECK_OK(
        clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_ADDRESS_QUALIFIER, sizeof got_address, &got_address, NULL));
    CHECK(got_address == address, "%u: 0x%x", index, got_address);
    CHECK_OK(
        clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_TYPE_QUALIFIER, sizeof got_qualifiers, &got_qualifiers, NULL));
    CHECK(got_qualifiers == qualifiers, "%u: 0x%lx", index, (unsigned long)got_qualifiers);
    CHECK_OK(clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_ACCESS_QUALIFIER, sizeof access, &access, NULL));
    CHECK(access == CL_KERNEL_ARG_ACCESS_NONE, "%u: 0x%x", index, access);
    CHECK_OK(clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_TYPE_NAME, sizeof text, text, NULL));
    CHECK(strcmp(text, type) == 0, "%u: '%s'", index, text);
    CHECK_OK(clGetKernelArgInfo(kernel, index, CL_KERNEL_ARG_NAME, sizeof text, text, NULL));
    CHECK(strcmp(text, name) == 0, "%u: '%s'", index, text);
}

static void check_information(struct cl_setup *s, cl_program program)
{
    cl_device_id device = s->devices[0];
    cl_kernel kernel = make_kernel(program, "names");
    check_argument(kernel, 0, CL_KERNEL_ARG_ADDRESS_GLOBAL, CL_KERNEL_ARG_TYPE_CONST | CL_KERNEL_ARG_TYPE_RESTRICT,
                   "float*", "input");
    check_argument(kernel, 1, CL_KERNEL_ARG_ADDRESS_CONSTANT, CL_KERNEL_ARG_TYPE_CONST, "int*", "table");
    check_argument(kernel, 2, CL_KERNEL_ARG_ADDRESS_LOCAL, 0, "uchar4*", "space");
    check_argument(kernel, 3, CL_KERNEL_ARG_ADDRESS_PRIVATE, 0, "ulong", "count");
    check_argument(kernel, 4, CL_KERNEL_ARG_ADDRESS_GLOBAL, CL_KERNEL_ARG_TYPE_VOLATILE, "uint*", "output");
    CHECK_STATUS(clGetKernelArgInfo(kernel, 5, CL_KERNEL_ARG_NAME, 0, NULL, NULL), CL_INVALID_ARG_INDEX);
    if (s->penstock) /* PoCL 3.1 says yes */
        CHECK_STATUS(clGetKernelArgInfo(kernel, 0, 0x9999, 0, NULL, NULL), CL_INVALID_VALUE);

    size_t group = 0, shape[3] = {9, 9, 9}, multiple = 0;
    cl_ulong local = 99, more = 0, private_bytes = 0;
    CHECK_OK(clGetKernelWorkGroupInfo(kernel, device, CL_KERNEL_WORK_GROUP_SIZE, sizeof group, &group, NULL));
    CHECK(group > 0, "%zu", group);
    CHECK_OK(clGetKernelWorkGroupInfo(kernel, NULL, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof shape, shape, NULL));
    CHECK(!shape[0] && !shape[1] && !shape[2], "%zu %zu %zu", shape[0], shape[1], shape[2]);
    CHECK_OK(clGetKernelWorkGroupInfo(kernel, device, CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, sizeof multiple,
                                      &multiple, NULL));
    CHECK(multiple > 0, "%zu", multiple);
    CHECK_OK(clGetKernelWorkGroupInfo(kernel, device, CL_KERNEL_PRIVATE_MEM_SIZE, sizeof private_bytes, &private_bytes,
                                      NULL));
    CHECK_OK(clGetKernelWorkGroupInfo(kernel, device, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local, &local, NULL));
    CHECK_OK(clSetKernelArg(kernel, 2, 256, NULL));
    CHECK_OK(clGetKernelWorkGroupInfo(kernel, device, CL_KERNEL_LOCAL_MEM_SIZE, sizeof more, &more, NULL));
    if (s->penstock) /* PoCL 3.1 does not count arguments */
        CHECK(more == local + 256, "%lu, not %lu", (unsigned long)more, (unsigned long)local + 256);
    if (s->penstock) /* PoCL 3.1 answers */
        CHECK_STATUS(clGetKernelWorkGroupInfo(kernel, device, CL_KERNEL_GLOBAL_WORK_SIZE, sizeof shape, shape, NULL),
                     CL_INVALID_VALUE);
    CHECK_STATUS(clGetKernelWorkGroupInfo(kernel, device, 0x9999, 0, NULL, NULL), CL_INVALID_VALUE);
    CHECK_OK(clReleaseKernel(kernel));

    char attributes[128] = "";
    kernel = make_kernel(program, "fixed");
    CHECK_OK(clGetKernelWorkGroupInfo(kernel, device, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof shape, shape, NULL));
    CHECK(shape[0] == 4 && shape[1] == 2 && shape[2] == 1, "%zu %zu %zu", shape[0], shape[1], shape[2]);
    CHECK_OK(clGetKernelInfo(kernel, CL_KERNEL_ATTRIBUTES, sizeof attributes, attributes, NULL));
    CHECK(strstr(attributes, "reqd_work_group_size"), "'%s'", attributes);
    CHECK_OK(clReleaseKernel(kernel));
}

/* Only who asked for it is told. */
static void check_untold(struct cl_setup *s)
{
    cl_program program = cl_check_program(s->context, "kernel void k(global int *o) { *o = 1; }");
    CHECK_OK(clBuildProgram(program, 0, NULL, "-DA", NULL, NULL));
    cl_kernel kernel = make_kernel(program, "k");
    CHECK_STATUS(clGetKernelArgInfo(kernel, 0, CL_KERNEL_ARG_NAME, 0, NULL, NULL), CL_KERNEL_ARG_INFO_NOT_AVAILABLE);
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clBuildProgram(program, 0, NULL, "-DA -cl-kernel-arg-info", NULL, NULL));
    kernel = make_kernel(program, "k");
    CHECK_OK(clGetKernelArgInfo(kernel, 0, CL_KERNEL_ARG_NAME, 0, NULL, NULL));
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseProgram(program));
}

/* ---- arguments ------------------------------------------------------------------------------------------- */

struct pair {
    cl_int a;
    cl_float b;
    cl_char c[40];
};

static void check_values(struct cl_setup *s, cl_program program)
{
    cl_kernel kernel = make_kernel(program, "values");
    cl_mem out = make_buffer(s->context, 6 * sizeof(cl_int));
    cl_char c = -3;
    cl_float f = 7.5f;
    cl_long l = 1234567;
    cl_float4 v = {{1, 2, 3, 4}};
    cl_int4 t = {{5, 6, 7, 0}};
    struct pair p = {.a = 100};
    cl_int got[6];
    size_t one = 1;
    p.c[39] = 11;

    CHECK_STATUS(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL), CL_INVALID_KERNEL_ARGS);
    CHECK_STATUS(clSetKernelArg(NULL, 0, sizeof out, &out), CL_INVALID_KERNEL);
    CHECK_STATUS(clSetKernelArg(kernel, 7, sizeof out, &out), CL_INVALID_ARG_INDEX);
    CHECK_STATUS(clSetKernelArg(kernel, 1, 2, &c), CL_INVALID_ARG_SIZE);
    CHECK_STATUS(clSetKernelArg(kernel, 3, 4, &l), CL_INVALID_ARG_SIZE);
    if (s->penstock) /* PoCL 3.1 takes three quarters of a vector for a vector of three */
        CHECK_STATUS(clSetKernelArg(kernel, 4, 12, &v), CL_INVALID_ARG_SIZE);
    CHECK_STATUS(clSetKernelArg(kernel, 1, sizeof c, NULL), CL_INVALID_ARG_VALUE);
    CHECK_OK(clSetKernelArg(kernel, 0, sizeof out, &out));
    CHECK_OK(clSetKernelArg(kernel, 1, sizeof c, &c));
    CHECK_OK(clSetKernelArg(kernel, 2, sizeof f, &f));
    CHECK_OK(clSetKernelArg(kernel, 3, sizeof l, &l));
    CHECK_OK(clSetKernelArg(kernel, 4, sizeof v, &v));
    CHECK_OK(clSetKernelArg(kernel, 5, sizeof t, &t));
    CHECK_STATUS(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL), CL_INVALID_KERNEL_ARGS);
    CHECK_OK(clSetKernelArg(kernel, 6, sizeof p, &p));
    p.a = 0; /* the value at the time of the call counts */
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
    read_ints(s, out, got, 6);
    CHECK(got[0] == -3 && got[1] == 7 && got[2] == 1234567 && got[3] == 4 && got[4] == 7 && got[5] == 111,
          "%d %d %d %d %d %d", got[0], got[1], got[2], got[3], got[4], got[5]);

    /* a clone has its own from then on */
    cl_int status;
    cl_kernel clone = clCloneKernel(kernel, &status);
    CHECK_OK(status);
    c = 50;
    CHECK_OK(clSetKernelArg(kernel, 1, sizeof c, &c));
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, clone, 1, NULL, &one, NULL, 0, NULL, NULL));
    read_ints(s, out, got, 6);
    CHECK(got[0] == -3 && got[5] == 111, "%d %d", got[0], got[5]);
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
    read_ints(s, out, got, 6);
    CHECK(got[0] == 50, "%d", got[0]);
    CHECK_OK(clReleaseKernel(clone));
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseMemObject(out));
}

/* Too much is too much, whatever it adds up to. */
static void check_much_local(struct cl_setup *s, cl_program program, cl_mem out)
{
    static const size_t sizes[][2] = {
        {(size_t)1 << 63, (size_t)1 << 63}, {SIZE_MAX, 16}, {16, SIZE_MAX}, {SIZE_MAX, SIZE_MAX}, {SIZE_MAX - 15, 16}};
    cl_kernel kernel = make_kernel(program, "more_locals");
    cl_int got[4] = {0};
    size_t four = 4;
    CHECK_OK(clSetKernelArg(kernel, 0, sizeof out, &out));
    for (size_t i = 0; s->penstock && i < sizeof sizes / sizeof *sizes; i++) {
        CHECK_OK(clSetKernelArg(kernel, 1, sizes[i][0], NULL));
        CHECK_OK(clSetKernelArg(kernel, 2, sizes[i][1], NULL));
        CHECK_STATUS(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &four, &four, 0, NULL, NULL),
                     CL_OUT_OF_RESOURCES);
    }
    CHECK_OK(clSetKernelArg(kernel, 1, 16, NULL));
    CHECK_OK(clSetKernelArg(kernel, 2, 16, NULL));
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &four, &four, 0, NULL, NULL));
    read_ints(s, out, got, 4);
    CHECK(got[0] == 9 && got[3] == 0, "%d %d", got[0], got[3]);
    CHECK_OK(clReleaseKernel(kernel));
}

static void check_memory_arguments(struct cl_setup *s, cl_program program)
{
    cl_kernel kernel = make_kernel(program, "may_be_null"), locals = make_kernel(program, "locals");
    cl_mem out = make_buffer(s->context, 64), other = make_buffer(s->context, 64), none = NULL;
    cl_int got[16] = {0}, three = 3;
    size_t four = 4, eight = 8;
    CHECK_STATUS(clSetKernelArg(kernel, 0, 4, &out), CL_INVALID_ARG_SIZE);
    if (s->penstock) { /* natively a handle of another kind is a crash */
        CHECK_STATUS(clSetKernelArg(kernel, 0, sizeof s->context, &s->context), CL_INVALID_MEM_OBJECT);
        cl_context context = clCreateContext(NULL, 1, s->devices, NULL, NULL, NULL);
        cl_mem foreign = make_buffer(context, 64);
        CHECK_STATUS(clSetKernelArg(kernel, 0, sizeof foreign, &foreign), CL_INVALID_MEM_OBJECT);
        CHECK_OK(clReleaseMemObject(foreign));
        CHECK_OK(clReleaseContext(context));
    }
    CHECK_OK(clSetKernelArg(kernel, 0, sizeof out, &out));
    CHECK_OK(clSetKernelArg(kernel, 1, sizeof none, NULL));
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &four, NULL, 0, NULL, NULL));
    read_ints(s, out, got, 1);
    CHECK(got[0] == 1, "%d", got[0]);
    CHECK_OK(clSetKernelArg(kernel, 1, sizeof other, &other));
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &four, NULL, 0, NULL, NULL));
    read_ints(s, out, got, 1);
    CHECK(got[0] == 0, "%d", got[0]);
    CHECK_OK(clSetKernelArg(kernel, 1, sizeof none, &none));
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &four, NULL, 0, NULL, NULL));
    read_ints(s, out, got, 1);
    CHECK(got[0] == 1, "%d", got[0]);

    CHECK_STATUS(clSetKernelArg(locals, 1, 0, NULL), CL_INVALID_ARG_SIZE);
    CHECK_STATUS(clSetKernelArg(locals, 1, 16, got), CL_INVALID_ARG_VALUE);
    CHECK_OK(clSetKernelArg(locals, 0, sizeof out, &out));
    CHECK_OK(clSetKernelArg(locals, 1, 8 * sizeof(cl_int), NULL));
    CHECK_OK(clSetKernelArg(locals, 2, sizeof three, &three));
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, locals, 1, NULL, &eight, &four, 0, NULL, NULL));
    read_ints(s, out, got, 8);
    CHECK(got[0] == 6 && got[3] == 3 && got[4] == 6 && got[7] == 3, "%d %d %d %d", got[0], got[3], got[4], got[7]);
    if (s->penstock) { /* as the specification has it; PoCL 3.1 finds out while it runs */
        CHECK_OK(clSetKernelArg(locals, 1, (size_t)1 << 40, NULL));
        CHECK_STATUS(clEnqueueNDRangeKernel(s->queue, locals, 1, NULL, &eight, &four, 0, NULL, NULL),
                     CL_OUT_OF_RESOURCES);
    }
    check_much_local(s, program, out);
    CHECK_OK(clReleaseMemObject(other)); /* may go while it is still an argument */
    CHECK_OK(clReleaseMemObject(out));
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseKernel(locals));
}

/* Only where a kernel declares one access does the specification ask for an image with the same. */
static void check_read_write_images(struct cl_setup *s)
{
    static const cl_mem_flags accesses[] = {CL_MEM_READ_WRITE, CL_MEM_READ_ONLY, CL_MEM_WRITE_ONLY};
    cl_uint most = 0;
    cl_int status;
    clGetDeviceInfo(s->devices[0], CL_DEVICE_MAX_READ_WRITE_IMAGE_ARGS, sizeof most, &most, NULL);
    if (!most)
        return;
    cl_program program = cl_check_program(s->context, read_write_source);
    CHECK_OK(clBuildProgram(program, 0, NULL, "-cl-std=CL3.0", NULL, NULL));
    cl_kernel kernel = make_kernel(program, "twice");
    const cl_image_format format = {CL_RGBA, CL_UNSIGNED_INT8};
    const cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 2, .image_height = 2};
    for (unsigned i = 0; i < 3; i++) {
        cl_mem image = clCreateImage(s->context, accesses[i], &format, &desc, NULL, &status);
        CHECK_OK(status);
        CHECK_OK(clSetKernelArg(kernel, 0, sizeof image, &image));
        CHECK_OK(clReleaseMemObject(image));
    }
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseProgram(program));
}

/* With one sampler alive, or none: what is as wide as its handle is a number all the same. */
static void check_names(struct cl_setup *s)
{
    cl_int status, got[8], n = 7, e = 2;
    const cl_int size[2] = {1, 2}, box[3] = {1, 2, 3}, info[2] = {5, 6}, t[2] = {3, 4};
    const cl_ulong w = (cl_ulong)9 << 32;
    const cl_float4 c = {{1, 2, 3, 4}};
    size_t one = 1;
    cl_program program = cl_check_program(s->context, named_source);
    status = clBuildProgram(program, 0, NULL, "", NULL, NULL);
    CHECK(status == CL_SUCCESS, "%d, %s", status, cl_check_log(program, s->devices[0]));
    cl_kernel kernel = make_kernel(program, "named");
    cl_mem out = make_buffer(s->context, sizeof got), in = make_buffer(s->context, sizeof info);
    CHECK_OK(clEnqueueWriteBuffer(s->queue, in, CL_TRUE, 0, sizeof info, info, 0, NULL, NULL));
    cl_sampler sampler = clCreateSampler(s->context, CL_FALSE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, &status);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(clSetKernelArg(kernel, 0, sizeof out, &out));
        CHECK_OK(clSetKernelArg(kernel, 1, sizeof size, size));
        CHECK_OK(clSetKernelArg(kernel, 2, sizeof box, box));
        CHECK_OK(clSetKernelArg(kernel, 3, sizeof in, &in));
        CHECK_OK(clSetKernelArg(kernel, 4, sizeof t, t));
        CHECK_OK(clSetKernelArg(kernel, 5, sizeof n, &n));
        CHECK_OK(clSetKernelArg(kernel, 6, sizeof w, &w));
        CHECK_OK(clSetKernelArg(kernel, 7, sizeof c, &c));
        CHECK_OK(clSetKernelArg(kernel, 8, sizeof e, &e));
        CHECK_OK(clSetKernelArg(kernel, 9, sizeof n, NULL));
        CHECK_OK(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
        memset(got, 0, sizeof got);
        read_ints(s, out, got, 8);
        CHECK(got[0] == 12 && got[1] == 123 && got[2] == 56 && got[3] == 34 && got[4] == 7 && got[5] == 9 &&
                  got[6] == 4 && got[7] == 1,
              "%d %d %d %d %d %d %d %d", got[0], got[1], got[2], got[3], got[4], got[5], got[6], got[7]);
        if (sampler)
            CHECK_OK(clReleaseSampler(sampler));
        sampler = NULL;
    }
    CHECK_OK(clReleaseMemObject(in));
    CHECK_OK(clReleaseMemObject(out));
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseProgram(program));
}

/* named: by names of the program's own, which do not tell what is a sampler. PoCL 3.1 goes by the names: it takes the
 * images for buffers, and follows the sampler's bytes. */
static void check_images(struct cl_setup *s, const char *text, bool named)
{
    cl_bool images = CL_FALSE;
    cl_int status;
    char version[256] = "";
    clGetDeviceInfo(s->devices[0], CL_DEVICE_IMAGE_SUPPORT, sizeof images, &images, NULL);
    clGetDeviceInfo(s->devices[0], CL_DEVICE_VERSION, sizeof version, version, NULL);
    if (!images || (named && strstr(version, "PoCL")))
        return;
    cl_program program = cl_check_program(s->context, text);
    CHECK_OK(clBuildProgram(program, 0, NULL, "", NULL, NULL));
    cl_kernel kernel = make_kernel(program, "sample");
    const cl_image_format format = {CL_RGBA, CL_UNSIGNED_INT8};
    const cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 2, .image_height = 2};
    cl_uchar pixels[16], got[16] = {0};
    for (unsigned i = 0; i < 16; i++)
        pixels[i] = (cl_uchar)(i * 3);
    cl_mem in = clCreateImage(s->context, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, &format, &desc, pixels, &status);
    CHECK_OK(status);
    cl_mem out = clCreateImage(s->context, CL_MEM_WRITE_ONLY, &format, &desc, NULL, &status);
    CHECK_OK(status);
    cl_mem buffer = make_buffer(s->context, 64);
    cl_sampler sampler = clCreateSampler(s->context, CL_FALSE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, &status);
    CHECK_OK(status);
    if (s->penstock) { /* PoCL 3.1 checks few of these */
        CHECK_STATUS(clSetKernelArg(kernel, 0, sizeof buffer, &buffer), CL_INVALID_MEM_OBJECT);
        CHECK_STATUS(clSetKernelArg(kernel, 0, sizeof buffer, NULL), CL_INVALID_MEM_OBJECT);
        CHECK_STATUS(clSetKernelArg(kernel, 0, sizeof out, &out), CL_INVALID_ARG_VALUE);
        CHECK_STATUS(clSetKernelArg(kernel, 2, sizeof in, &in), CL_INVALID_ARG_VALUE);
    }
    if (s->penstock && !named) {
        CHECK_STATUS(clSetKernelArg(kernel, 1, sizeof in, &in), CL_INVALID_SAMPLER);
        CHECK_STATUS(clSetKernelArg(kernel, 1, sizeof sampler, NULL), CL_INVALID_SAMPLER);
    }
    if (!named) /* of a name that tells nothing the size may not be known either */
        CHECK_STATUS(clSetKernelArg(kernel, 1, 2 * sizeof sampler, &sampler), CL_INVALID_ARG_SIZE);
    CHECK_OK(clSetKernelArg(kernel, 0, sizeof in, &in));
    CHECK_OK(clSetKernelArg(kernel, 1, sizeof sampler, &sampler));
    CHECK_OK(clSetKernelArg(kernel, 2, sizeof out, &out));
    size_t global[2] = {2, 2}, origin[3] = {0}, region[3] = {2, 2, 1};
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, kernel, 2, NULL, global, NULL, 0, NULL, NULL));
    CHECK_OK(clEnqueueReadImage(s->queue, out, CL_TRUE, origin, region, 0, 0, got, 0, NULL, NULL));
    for (unsigned i = 0; i < 16; i++)
        CHECK(got[i] == pixels[i] + 1, "%u: %d", i, got[i]);
    CHECK_OK(clReleaseSampler(sampler));
    CHECK_OK(clReleaseMemObject(buffer));
    CHECK_OK(clReleaseMemObject(out));
    CHECK_OK(clReleaseMemObject(in));
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseProgram(program));
}

/* ---- launches -------------------------------------------------------------------------------------------- */

static void check_shape(struct cl_setup *s, cl_kernel kernel, cl_mem out, cl_uint dimensions, const size_t *offset,
                        const size_t *global, const size_t *local)
{
    static cl_int got[4096];
    size_t size[3] = {1, 1, 1}, base[3] = {0};
    for (cl_uint i = 0; i < dimensions; i++) {
        size[i] = global[i];
        base[i] = offset ? offset[i] : 0;
    }
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, kernel, dimensions, offset, global, local, 0, NULL, NULL));
    read_ints(s, out, got, size[0] * size[1] * size[2]);
    for (size_t z = 0; z < size[2]; z++)
        for (size_t y = 0; y < size[1]; y++)
            for (size_t x = 0; x < size[0]; x++) {
                cl_int expected = (cl_int)(x + base[0] + 100 * (y + base[1] + 100 * (z + base[2])));
                cl_int value = got[(z * size[1] + y) * size[0] + x];
                CHECK(value == expected, "(%zu, %zu, %zu): %d, not %d", x, y, z, value, expected);
            }
}

static void check_shapes(struct cl_setup *s, cl_program program)
{
    cl_kernel kernel = make_kernel(program, "ids");
    cl_mem out = make_buffer(s->context, 4096 * sizeof(cl_int));
    cl_int width = 100;
    CHECK_OK(clSetKernelArg(kernel, 0, sizeof out, &out));
    CHECK_OK(clSetKernelArg(kernel, 1, sizeof width, &width));
    check_shape(s, kernel, out, 1, NULL, (size_t[]){16}, NULL);
    check_shape(s, kernel, out, 1, (size_t[]){5}, (size_t[]){16}, (size_t[]){8});
    check_shape(s, kernel, out, 2, (size_t[]){1, 2}, (size_t[]){6, 4}, (size_t[]){3, 2});
    check_shape(s, kernel, out, 3, (size_t[]){1, 2, 3}, (size_t[]){4, 2, 6}, (size_t[]){2, 1, 3});
    check_shape(s, kernel, out, 3, NULL, (size_t[]){3, 5, 7}, NULL);
    CHECK_OK(clReleaseMemObject(out));
    CHECK_OK(clReleaseKernel(kernel));
}

#define LAUNCH(dimensions, offset, global, local)                                                                      \
    clEnqueueNDRangeKernel(s->queue, kernel, dimensions, offset, global, local, 0, NULL, NULL)

static void check_launch_errors(struct cl_setup *s, cl_program program)
{
    cl_kernel kernel = make_kernel(program, "add");
    cl_mem out = make_buffer(s->context, 64);
    cl_int one = 1;
    size_t eight = 8, three = 3, zero = 0, most[3], group, huge[3];
    CHECK_OK(clSetKernelArg(kernel, 0, sizeof out, &out));
    CHECK_OK(clSetKernelArg(kernel, 1, sizeof one, &one));
    CHECK_STATUS(clEnqueueNDRangeKernel(NULL, kernel, 1, NULL, &eight, NULL, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    if (s->penstock) /* PoCL 3.1 crashes */
        CHECK_STATUS(clEnqueueNDRangeKernel(s->queue, NULL, 1, NULL, &eight, NULL, 0, NULL, NULL), CL_INVALID_KERNEL);
    CHECK_STATUS(LAUNCH(0, NULL, &eight, NULL), CL_INVALID_WORK_DIMENSION);
    CHECK_STATUS(LAUNCH(4, NULL, &eight, NULL), CL_INVALID_WORK_DIMENSION);
    CHECK_STATUS(LAUNCH(1, NULL, &eight, &three), CL_INVALID_WORK_GROUP_SIZE);
    if (s->penstock) /* PoCL 3.1 divides by it */
        CHECK_STATUS(LAUNCH(1, NULL, &eight, &zero), CL_INVALID_WORK_GROUP_SIZE);
    CHECK_OK(clGetDeviceInfo(s->devices[0], CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof most, most, NULL));
    CHECK_OK(clGetKernelWorkGroupInfo(kernel, s->devices[0], CL_KERNEL_WORK_GROUP_SIZE, sizeof group, &group, NULL));
    huge[0] = most[0] * 2;
    cl_int status = LAUNCH(1, NULL, huge, huge);
    CHECK(status == CL_INVALID_WORK_ITEM_SIZE || status == CL_INVALID_WORK_GROUP_SIZE, "%d", status);
    if (group < most[0] * most[1]) {
        huge[0] = most[0] < group ? most[0] : group;
        huge[1] = 2 * (group / huge[0]);
        status = LAUNCH(2, NULL, huge, huge);
        CHECK(status == CL_INVALID_WORK_GROUP_SIZE, "%d", status);
    }
    size_t offset = SIZE_MAX - 3;
    if (s->penstock) /* PoCL 3.1 takes it */
        CHECK_STATUS(LAUNCH(1, &offset, &eight, NULL), CL_INVALID_GLOBAL_OFFSET);
    if (s->penstock) /* PoCL 3.1 crashes */
        CHECK_STATUS(clEnqueueNDRangeKernel(s->queue, kernel, 1, NULL, &eight, NULL, 1, NULL, NULL),
                     CL_INVALID_EVENT_WAIT_LIST);

    cl_context context = clCreateContext(NULL, 1, s->devices, NULL, NULL, &status);
    cl_command_queue foreign = clCreateCommandQueue(context, s->devices[0], 0, &status);
    CHECK_OK(status);
    CHECK_STATUS(clEnqueueNDRangeKernel(foreign, kernel, 1, NULL, &eight, NULL, 0, NULL, NULL), CL_INVALID_CONTEXT);
    CHECK_OK(clReleaseCommandQueue(foreign));
    CHECK_OK(clReleaseContext(context));
    CHECK_OK(clReleaseMemObject(out));
    CHECK_OK(clReleaseKernel(kernel));
}

static void check_required_size(struct cl_setup *s, cl_program program)
{
    cl_kernel kernel = make_kernel(program, "fixed");
    cl_mem out = make_buffer(s->context, 64 * sizeof(cl_int));
    cl_int got[64];
    size_t global[2] = {8, 4}, right[2] = {4, 2}, wrong[2] = {2, 4}, odd[2] = {6, 4};
    CHECK_OK(clSetKernelArg(kernel, 0, sizeof out, &out));
    CHECK_OK(LAUNCH(2, NULL, global, right));
    read_ints(s, out, got, 32);
    CHECK(got[0] == 42 && got[31] == 42, "%d %d", got[0], got[31]);
    CHECK_STATUS(LAUNCH(2, NULL, global, wrong), CL_INVALID_WORK_GROUP_SIZE);
    CHECK_STATUS(LAUNCH(2, NULL, odd, right), CL_INVALID_WORK_GROUP_SIZE);
    CHECK_STATUS(LAUNCH(1, NULL, global, right), CL_INVALID_WORK_GROUP_SIZE);
    if (s->penstock) { /* the required size holds; PoCL 3.1 refuses that, as OpenCL 1.2 wants it */
        CHECK_OK(LAUNCH(2, NULL, global, NULL));
        read_ints(s, out, got, 32);
        CHECK(got[0] == 42 && got[31] == 42, "%d %d", got[0], got[31]);
    }
    CHECK_OK(clReleaseMemObject(out));
    CHECK_OK(clReleaseKernel(kernel));
}

/* OpenCL 2.1 and later: no work-items is a command too. */
static void check_nothing(struct cl_setup *s, cl_program program)
{
    char version[128] = "";
    clGetDeviceInfo(s->devices[0], CL_DEVICE_VERSION, sizeof version, version, NULL);
    if (strncmp(version, "OpenCL 2.1", 10) < 0)
        return;
    cl_kernel kernel = make_kernel(program, "add");
    cl_mem out = make_buffer(s->context, sizeof(cl_int));
    cl_int one = 1, zero = 0, got = -1;
    size_t none[2] = {0, 5};
    cl_event event = NULL;
    cl_command_type type = 0;
    cl_int status = 99;
    CHECK_OK(clEnqueueWriteBuffer(s->queue, out, CL_TRUE, 0, sizeof zero, &zero, 0, NULL, NULL));
    CHECK_OK(clSetKernelArg(kernel, 0, sizeof out, &out));
    CHECK_OK(clSetKernelArg(kernel, 1, sizeof one, &one));
    CHECK_OK(clEnqueueNDRangeKernel(s->queue, kernel, 2, NULL, none, NULL, 0, NULL, &event));
    CHECK_OK(clWaitForEvents(1, &event));
    CHECK_OK(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
    CHECK(type == CL_COMMAND_NDRANGE_KERNEL, "0x%x", type);
    CHECK_OK(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL));
    CHECK(status == CL_COMPLETE, "%d", status);
    read_ints(s, out, &got, 1);
    CHECK(got == 0, "%d", got);
    if (s->penstock) /* PoCL 3.1 refuses it */
        CHECK_OK(LAUNCH(1, NULL, NULL, NULL));
    CHECK_OK(clReleaseEvent(event));
    CHECK_OK(clReleaseMemObject(out));
    CHECK_OK(clReleaseKernel(kernel));
}

/* Each launch has the arguments of its time, also when thousands follow each other without a wait. */
static void check_changing_arguments(struct cl_setup *s, cl_program program)
{
    enum { LAUNCHES = 2000 };
    cl_kernel kernel = make_kernel(program, "add");
    cl_mem out[2] = {make_buffer(s->context, sizeof(cl_int)), make_buffer(s->context, sizeof(cl_int))};
    cl_int zero = 0, got[2], expected[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        CHECK_OK(clEnqueueWriteBuffer(s->queue, out[i], CL_TRUE, 0, sizeof zero, &zero, 0, NULL, NULL));
    for (cl_int i = 0; i < LAUNCHES; i++) {
        cl_int value = i % 7;
        clSetKernelArg(kernel, 0, sizeof out[0], &out[i % 3 != 0]);
        clSetKernelArg(kernel, 1, sizeof value, &value);
        CHECK_OK(clEnqueueTask(s->queue, kernel, 0, NULL, NULL));
        expected[i % 3 != 0] += value;
    }
    for (int i = 0; i < 2; i++) {
        read_ints(s, out[i], &got[i], 1);
        CHECK(got[i] == expected[i], "%d: %d, not %d", i, got[i], expected[i]);
        CHECK_OK(clReleaseMemObject(out[i]));
    }
    CHECK_OK(clReleaseKernel(kernel));
}

/* ---- threads --------------------------------------------------------------------------------------------- */

struct worker {
    struct cl_setup *setup;
    cl_program program;
    cl_int result;
};

static void *launch_many(void *argument)
{
    struct worker *w = argument;
    cl_int status, zero = 0, one = 1;
    cl_command_queue queue = clCreateCommandQueue(w->setup->context, w->setup->devices[0], 0, &status);
    cl_kernel kernel = clCreateKernel(w->program, "add", &status);
    cl_mem out = clCreateBuffer(w->setup->context, CL_MEM_COPY_HOST_PTR, sizeof zero, &zero, &status);
    size_t items = 4;
    w->result = -1;
    if (clSetKernelArg(kernel, 0, sizeof out, &out) || clSetKernelArg(kernel, 1, sizeof one, &one))
        return NULL;
    for (int i = 0; i < 500; i++)
        if (clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL))
            return NULL;
    clEnqueueReadBuffer(queue, out, CL_TRUE, 0, sizeof w->result, &w->result, 0, NULL, NULL);
    clReleaseMemObject(out);
    clReleaseKernel(kernel);
    clReleaseCommandQueue(queue);
    return NULL;
}

static void check_threads(struct cl_setup *s, cl_program program)
{
    pthread_t threads[4];
    struct worker workers[4];
    for (int i = 0; i < 4; i++) {
        workers[i] = (struct worker){s, program, 0};
        CHECK(pthread_create(&threads[i], NULL, launch_many, &workers[i]) == 0, "pthread_create");
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK(workers[i].result == 2000, "thread %d: %d", i, workers[i].result);
    }
}

/* "types": only what depends on how a driver tells of types. */
int main(int argc, char **argv)
{
    struct cl_setup setup = cl_check_begin(argc, argv);
    check_names(&setup);
    check_images(&setup, image_source, false);
    check_images(&setup, named_image_source, true);
    if (argc > 2 && !strcmp(argv[2], "types"))
        return cl_check_end(&setup);
    cl_program program = cl_check_program(setup.context, source);
    cl_int status = clBuildProgram(program, 0, NULL, "-cl-kernel-arg-info", NULL, NULL);
    CHECK(status == CL_SUCCESS, "%d, %s", status, cl_check_log(program, setup.devices[0]));
    if (status == CL_SUCCESS) {
        check_creation(&setup, program);
        check_information(&setup, program);
        check_untold(&setup);
        check_values(&setup, program);
        check_memory_arguments(&setup, program);
        check_read_write_images(&setup);
        check_shapes(&setup, program);
        check_launch_errors(&setup, program);
        check_required_size(&setup, program);
        check_nothing(&setup, program);
        check_changing_arguments(&setup, program);
        check_threads(&setup, program);
    }
    CHECK_OK(clReleaseProgram(program));
    return cl_check_end(&setup);
}
