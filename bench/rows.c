/* See rows.h. */
#include "rows.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (!strcmp(argv[i], name))
            return true;
    return argc <= 2;
}

void run_rows(const struct row *rows, size_t count, int argc, char **argv)
{
    for (size_t i = 0; i < count; i++)
        if (wanted(rows[i].name, argc, argv))
            rows[i].run();
}

void print_row(const char *row, double value)
{
    printf("%s %.9g\n", row, value);
    fflush(stdout);
}

double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double quantile(double *values, size_t count, double q)
{
    qsort(values, count, sizeof *values, by_value);
    return values[(size_t)(q * (double)(count - 1) + 0.5)];
}

void check(cl_int status, const char *what)
{
    if (status == CL_SUCCESS)
        return;
    fprintf(stderr, "%s: %s: OpenCL error %d\n", program_invocation_short_name, what, status);
    exit(1);
}

cl_device_id choose_device(const char *platform_part)
{
    cl_platform_id platforms[32];
    cl_device_id device = NULL;
    cl_uint count = 0;
    char name[256];
    check(clGetPlatformIDs(32, platforms, &count), "clGetPlatformIDs");
    for (cl_uint i = 0; i < count && !device; i++) {
        check(clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name, name, NULL), "clGetPlatformInfo");
        if (strstr(name, platform_part))
            check(clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &device, NULL), "clGetDeviceIDs");
    }
    if (!device) {
        fprintf(stderr, "%s: no device on a platform whose name contains '%s'\n", program_invocation_short_name,
                platform_part);
        exit(1);
    }
    return device;
}
