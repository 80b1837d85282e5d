/* scenario/memory_check.h - what the programs about memory objects check with, beside cl_check.h: buffers, kernels that
 * add and copy, gates that hold commands back, ranges of the program's own. */
#ifndef MEMORY_CHECK_H
#define MEMORY_CHECK_H

#include "cl_check.h"

static const char source[] = "kernel void add(global int *a, int n) { a[get_global_id(0)] += n; }\n"
                             "kernel void copy(global const int *a, global int *b)\n"
                             "{ b[get_global_id(0)] = a[get_global_id(0)]; }\n";

static inline cl_mem buffer_of(struct world *w, cl_mem_flags flags, size_t size, void *host)
{
    cl_int status;
    cl_mem buffer = clCreateBuffer(w->context, flags, size, host, &status);
    EXPECT_OK(status);
    return buffer;
}

static inline void add(struct world *w, cl_command_queue queue, cl_mem buffer, cl_int n, size_t count, cl_uint waits,
                       const cl_event *wait_list, cl_event *event)
{
    static cl_kernel kernel;
    if (!kernel)
        kernel = make_kernel(w, source, "add");
    EXPECT_OK(clSetKernelArg(kernel, 0, sizeof buffer, &buffer));
    EXPECT_OK(clSetKernelArg(kernel, 1, sizeof n, &n));
    EXPECT_OK(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &count, NULL, waits, wait_list, event));
}

static inline void copy_by_kernel(struct world *w, cl_mem from, cl_mem to, size_t count)
{
    static cl_kernel kernel;
    if (!kernel)
        kernel = make_kernel(w, source, "copy");
    EXPECT_OK(clSetKernelArg(kernel, 0, sizeof from, &from));
    EXPECT_OK(clSetKernelArg(kernel, 1, sizeof to, &to));
    EXPECT_OK(clEnqueueNDRangeKernel(w->queue, kernel, 1, NULL, &count, NULL, 0, NULL, NULL));
}

static inline cl_event gate(struct world *w)
{
    cl_int status;
    cl_event event = clCreateUserEvent(w->context, &status);
    EXPECT_OK(status);
    return event;
}

static inline cl_int *host_range(size_t count)
{
    void *p = NULL;
    if (posix_memalign(&p, 4096, count * 4))
        exit(1);
    for (size_t i = 0; i < count; i++)
        ((cl_int *)p)[i] = (cl_int)i;
    return p;
}

static inline bool counts_up(const cl_int *values, size_t count, cl_int from)
{
    for (size_t i = 0; i < count; i++)
        if (values[i] != (cl_int)i + from)
            return false;
    return true;
}

#endif
