/* scenario/program_check.h - for ordinary OpenCL programs that check a platform: argv[1] names it by a part of its
 * name. A check that fails is printed and counted; main returns cl_check_end(): 1 after a failure, 77 when it was
 * skipped. */
#ifndef PROGRAM_CHECK_H
#define PROGRAM_CHECK_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#include <CL/cl.h>
#include <CL/cl_ext.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int cl_check_failures, cl_check_count;

#define CHECK(condition, ...)                                                                                          \
    do {                                                                                                               \
        cl_check_count++;                                                                                              \
        if (!(condition)) {                                                                                            \
            cl_check_failures++;                                                                                       \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                                            \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
        }                                                                                                              \
    } while (0)
#define CHECK_STATUS(expression, expected)                                                                             \
    do {                                                                                                               \
        cl_int status_ = (expression);                                                                                 \
        CHECK(status_ == (expected), "%d, not %d (%s)", status_, (int)(expected), #expected);                          \
    } while (0)
#define CHECK_OK(expression) CHECK_STATUS(expression, CL_SUCCESS)

struct cl_setup {
    cl_platform_id platform;
    cl_device_id devices[8];
    cl_uint device_count;
    cl_context context; /* of devices[0] */
    cl_command_queue queue;
    bool penstock;
};

/* Exits with 77 when there is no such platform or it has no device. */
static inline struct cl_setup cl_check_begin(int argc, char **argv)
{
    struct cl_setup setup = {0};
    cl_platform_id platforms[16];
    cl_uint count = 0;
    char name[256] = "";
    clGetPlatformIDs(16, platforms, &count);
    for (cl_uint i = 0; i < count && i < 16; i++) {
        clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name, name, NULL);
        if (argc < 2 || strstr(name, argv[1])) {
            setup.platform = platforms[i];
            break;
        }
    }
    if (!setup.platform ||
        clGetDeviceIDs(setup.platform, CL_DEVICE_TYPE_ALL, 8, setup.devices, &setup.device_count) != CL_SUCCESS) {
        fprintf(stderr, "skipped: no device on a platform '%s'\n", argc < 2 ? "" : argv[1]);
        exit(77);
    }
    setup.penstock = strstr(name, "Penstock") != NULL;
    cl_int status;
    setup.context = clCreateContext(NULL, 1, setup.devices, NULL, NULL, &status);
    CHECK_OK(status);
    setup.queue = clCreateCommandQueue(setup.context, setup.devices[0], 0, &status);
    CHECK_OK(status);
    if (cl_check_failures)
        exit(1);
    return setup;
}

static inline int cl_check_end(struct cl_setup *setup)
{
    clReleaseCommandQueue(setup->queue);
    clReleaseContext(setup->context);
    printf("%d checks, %d failed\n", cl_check_count, cl_check_failures);
    return cl_check_failures || !cl_check_count ? 1 : 0;
}

/* A program from one text, not built. */
static inline cl_program cl_check_program(cl_context context, const char *source)
{
    cl_int status;
    cl_program program = clCreateProgramWithSource(context, 1, &source, NULL, &status);
    CHECK_OK(status);
    return program;
}

/* The build log, for a failed build; static storage. */
static inline const char *cl_check_log(cl_program program, cl_device_id device)
{
    static char log[16384];
    log[0] = 0;
    clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL);
    return log;
}

/* Runs kernel `name` of a built program, `kernel void name(global int *out)`, on one work-item; what it wrote. */
static inline cl_int cl_check_run(struct cl_setup *setup, cl_program program, const char *name)
{
    cl_int status, value = -1;
    size_t one = 1;
    cl_mem out = clCreateBuffer(setup->context, CL_MEM_READ_WRITE, sizeof value, NULL, &status);
    CHECK_OK(status);
    cl_kernel kernel = clCreateKernel(program, name, &status);
    CHECK(status == CL_SUCCESS, "clCreateKernel(%s): %d", name, status);
    if (kernel) {
        CHECK_OK(clSetKernelArg(kernel, 0, sizeof out, &out));
        CHECK_OK(clEnqueueNDRangeKernel(setup->queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
        CHECK_OK(clEnqueueReadBuffer(setup->queue, out, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL));
        CHECK_OK(clReleaseKernel(kernel));
    }
    CHECK_OK(clReleaseMemObject(out));
    return value;
}

#endif
