/* bench/rows.h - what the programs that measure OpenCL share. Whatever fails ends the program, with a message. */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <stddef.h>

struct row {
    const char *name;
    void (*run)(void);
};

/* Those of the rows that the program's second and further arguments name, or all. */
void run_rows(const struct row *rows, size_t count, int argc, char **argv);
/* A line of output: times in ns, rates in 1/s or byte/s. */
void print_row(const char *row, double value);

double now_ns(void);
/* Sorts the values. */
double quantile(double *values, size_t count, double q);

void check(cl_int status, const char *what);
/* The first device of the first platform whose name contains this. */
cl_device_id choose_device(const char *platform_part);

#endif
