/* tests/scenario/cl_check.h - an ordinary OpenCL program with checks, for any platform: it knows nothing of Penstock.
 *
 *   PROGRAM PLATFORM [CHECK]      PLATFORM: part of a platform's name; CHECK: run only checks whose name has it
 *
 * Prints one line a check. Ends with 0, 1 when any expectation failed or nothing was checked, 77 when there is no such
 * platform or device. PEN_CHECK_DEVICE chooses the device by its number (0). */
#ifndef CL_CHECK_H
#define CL_CHECK_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#include <CL/cl.h>

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct world {
    cl_platform_id platform;
    cl_device_id device;
    cl_context context;
    cl_command_queue queue; /* in order */
    bool images;
    bool host_memory; /* kernels work in the host's memory: host pointers show what they write */
    cl_uint align;    /* of sub-buffers, bytes */
    bool strict;      /* Penstock: the specification's word also where drivers are known not to keep it */
    bool llvmpipe;    /* by whichever platform: its images of buffers do not show the buffers' contents */
    bool fragile;     /* rusticl: hostile arguments end the process */
    bool pocl;        /* PoCL 3.1: ends the process when a command's wait list fails */
};

struct check {
    const char *name;
    void (*run)(struct world *);
};

static int expectations_failed, skipped;
static jmp_buf given_up;             /* out of the check at hand */
static _Thread_local bool may_leave; /* on the thread that runs the checks */

#define EXPECT(condition_)                                                                                             \
    do {                                                                                                               \
        if (!(condition_)) {                                                                                           \
            expectations_failed++;                                                                                     \
            printf("    %s:%d: not true: %s\n", __FILE__, __LINE__, #condition_);                                      \
        }                                                                                                              \
    } while (0)

#define EXPECT_STATUS(expression_, status_) expect_status((expression_), (status_), #expression_, #status_, __LINE__)
#define EXPECT_OK(expression_)              EXPECT_STATUS(expression_, CL_SUCCESS)

/* A call that should have worked and did not ends its check: what it was to give (an object, an event, a pointer to
 * mapped bytes) is not there, and to go on with it would be the program's end. */
static inline bool expect_status(cl_int got, cl_int wanted, const char *expression, const char *name, int line)
{
    if (got == wanted)
        return true;
    expectations_failed++;
    printf("    line %d: %.100s: %d, expected %s (%d)\n", line, expression, got, name, wanted);
    if (wanted == CL_SUCCESS && may_leave)
        longjmp(given_up, 1);
    return false;
}

/* A creating call whose last argument is &status: of this status, whatever the caller has of that name. */
#pragma GCC diagnostic ignored "-Wshadow"
#define EXPECT_REFUSED(call_, status_)                                                                                 \
    do {                                                                                                               \
        cl_int status = CL_SUCCESS;                                                                                    \
        EXPECT((call_) == NULL);                                                                                       \
        expect_status(status, (status_), #call_, #status_, __LINE__);                                                  \
    } while (0)

static inline void skip(const char *why)
{
    skipped++;
    printf("    skipped: %s\n", why);
}

static inline cl_kernel make_kernel(struct world *w, const char *source, const char *name)
{
    cl_int status;
    cl_program program = clCreateProgramWithSource(w->context, 1, &source, NULL, &status);
    EXPECT_OK(status);
    status = clBuildProgram(program, 1, &w->device, "", NULL, NULL);
    if (!expect_status(status, CL_SUCCESS, "clBuildProgram", "CL_SUCCESS", __LINE__)) {
        char log[8192] = "";
        clGetProgramBuildInfo(program, w->device, CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL);
        printf("%s\n", log);
        exit(1);
    }
    cl_kernel kernel = clCreateKernel(program, name, &status);
    EXPECT_OK(status);
    clReleaseProgram(program);
    return kernel;
}

static inline bool find_device(struct world *w, const char *platform_part)
{
    cl_platform_id platforms[32];
    cl_uint count = 0;
    char name[1024];
    const char *number = getenv("PEN_CHECK_DEVICE");
    if (clGetPlatformIDs(32, platforms, &count) != CL_SUCCESS)
        return false;
    for (cl_uint i = 0; i < count && i < 32; i++) {
        cl_device_id devices[64];
        cl_uint device_count = 0, chosen = number ? (cl_uint)atoi(number) : 0;
        if (clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name, name, NULL) != CL_SUCCESS ||
            !strstr(name, platform_part))
            continue;
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 64, devices, &device_count) != CL_SUCCESS ||
            device_count <= chosen)
            continue;
        w->strict = strstr(name, "Penstock") != NULL;
        w->pocl = strstr(name, "Portable") != NULL;
        w->fragile = strstr(name, "rusticl") != NULL;
        w->platform = platforms[i];
        w->device = devices[chosen];
        return true;
    }
    return false;
}

/* True when all was as expected. */
static inline bool run_check(struct world *w, const struct check *check)
{
    int before = expectations_failed;
    printf("... %s\n", check->name);
    may_leave = true;
    if (!setjmp(given_up)) {
        check->run(w);
        EXPECT_OK(clFinish(w->queue));
    } else {
        alarm(60); /* a gate that it has left shut may hold up the others: to be killed is better than to hang */
    }
    may_leave = false;
    printf("%s %s\n", expectations_failed != before ? "not ok" : "ok", check->name);
    return expectations_failed == before;
}

static inline int run_checks(int argc, char **argv, const struct check *checks, size_t count)
{
    struct world w = {0};
    cl_int status;
    cl_bool flag = CL_FALSE;
    cl_device_type type = 0;
    char device_name[1024] = "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2 || !find_device(&w, argv[1])) {
        printf("no platform with a device has \"%s\" in its name\n", argc < 2 ? "" : argv[1]);
        return 77;
    }
    (void)clGetDeviceInfo(w.device, CL_DEVICE_NAME, sizeof device_name, device_name, NULL);
    w.llvmpipe = strstr(device_name, "llvmpipe") != NULL;
    w.context = clCreateContext(NULL, 1, &w.device, NULL, NULL, &status);
    EXPECT_OK(status);
    w.queue = clCreateCommandQueue(w.context, w.device, 0, &status);
    EXPECT_OK(status);
    clGetDeviceInfo(w.device, CL_DEVICE_IMAGE_SUPPORT, sizeof flag, &flag, NULL);
    w.images = flag;
    clGetDeviceInfo(w.device, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof flag, &flag, NULL);
    clGetDeviceInfo(w.device, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    w.host_memory = flag || (type & CL_DEVICE_TYPE_CPU);
    clGetDeviceInfo(w.device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof w.align, &w.align, NULL);
    w.align /= 8;
    if (w.align == 0)
        w.align = 1;
    int bad = 0, ran = 0;
    for (size_t i = 0; i < count; i++) {
        if (argc > 2 && !strstr(checks[i].name, argv[2]))
            continue;
        bad += !run_check(&w, &checks[i]);
        ran++;
    }
    EXPECT_OK(clReleaseCommandQueue(w.queue));
    EXPECT_OK(clReleaseContext(w.context));
    printf("%d checks, %d bad, %d expectations failed, %d parts skipped\n", ran, bad, expectations_failed, skipped);
    return expectations_failed || !ran ? 1 : 0;
}

#endif
