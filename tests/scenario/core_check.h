/* scenario/core_check.h - what cl_core.c checks with: checks that go on after a failure, groups, and the platform named
 * on the command line.
 * Usage: PROGRAM PLATFORM-NAME [GROUP...]; exit status 0: all passed, 1: some failed, 77: no such platform or device.
 */
#ifndef CORE_CHECK_H
#define CORE_CHECK_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_0_APIS
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#include <CL/cl.h>
#include <CL/cl_ext.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures, check_count;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        check_count++;                                                                                                 \
        if (!(condition)) {                                                                                            \
            check_failures++;                                                                                          \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                                    \
        }                                                                                                              \
    } while (0)
/* The expression's value is the error code expected. */
#define CHECK_IS(expression, expected)                                                                                 \
    do {                                                                                                               \
        long got_ = (long)(expression), want_ = (long)(expected);                                                      \
        check_count++;                                                                                                 \
        if (got_ != want_) {                                                                                           \
            check_failures++;                                                                                          \
            fprintf(stderr, "%s:%d: failed: %s is %ld, not %s (%ld)\n", __FILE__, __LINE__, #expression, got_,         \
                    #expected, want_);                                                                                 \
        }                                                                                                              \
    } while (0)
#define CHECK_OK(expression) CHECK_IS(expression, CL_SUCCESS)
/* What the rest of the group cannot do without. */
#define NEED(condition)                                                                                                \
    do {                                                                                                               \
        bool holds_ = (condition);                                                                                     \
        CHECK(holds_ &&#condition);                                                                                    \
        if (!holds_)                                                                                                   \
            return;                                                                                                    \
    } while (0)

struct check_group {
    const char *name;
    void (*run)(void);
};

static cl_platform_id check_platform;

static bool check_find_platform(const char *name)
{
    cl_platform_id platforms[32];
    cl_uint count = 0;
    if (clGetPlatformIDs(32, platforms, &count))
        return false;
    for (cl_uint i = 0; i < count && i < 32; i++) {
        char its[256] = "";
        cl_uint devices = 0;
        if (clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof its, its, NULL) || !strstr(its, name))
            continue;
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 0, NULL, &devices) || !devices)
            continue;
        check_platform = platforms[i];
        return true;
    }
    return false;
}

/* Devices of the platform; at most `room`. */
static cl_uint check_devices(cl_device_id *devices, cl_uint room)
{
    cl_uint count = 0;
    if (clGetDeviceIDs(check_platform, CL_DEVICE_TYPE_ALL, room, devices, &count))
        return 0;
    return count < room ? count : room;
}

static bool check_is_penstock(void)
{
    char name[64] = "";
    return !clGetPlatformInfo(check_platform, CL_PLATFORM_NAME, sizeof name, name, NULL) && !strcmp(name, "Penstock");
}

static int check_main(int argc, char **argv, const struct check_group *groups, size_t group_count)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s PLATFORM-NAME [GROUP...]\n", argv[0]);
        return 2;
    }
    if (!check_platform) {
        fprintf(stderr, "no platform named '%s' with a device\n", argv[1]);
        return 77;
    }
    for (size_t i = 0; i < group_count; i++) {
        bool wanted = argc == 2;
        for (int a = 2; a < argc; a++)
            wanted |= !strcmp(argv[a], groups[i].name);
        if (!wanted)
            continue;
        int before = check_failures;
        groups[i].run();
        printf("%s %s\n", check_failures == before ? "ok  " : "FAIL", groups[i].name);
        fflush(stdout);
    }
    printf("%d checks, %d failed\n", check_count, check_failures);
    return check_failures || !check_count ? 1 : 0;
}

#endif
