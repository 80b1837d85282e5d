/* bench/callpath.c - what OpenCL calls cost on one device: the rows of docs' call-path table.
 * usage: callpath PLATFORM-SUBSTRING [ROW...]     prints `row value`, times in ns, rates in 1/s or byte/s.
 * An ordinary OpenCL 1.2 program: callpath.py runs it natively and through Penstock in turn. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "rows.h"

static cl_context context;
static cl_device_id device;
static cl_command_queue queue;
static cl_kernel nop, increment, with_arguments;
static const size_t one = 1;

static void launch(cl_command_queue on, cl_kernel kernel)
{
    check(clEnqueueNDRangeKernel(on, kernel, 1, NULL, &one, &one, 0, NULL, NULL), "clEnqueueNDRangeKernel");
}

static cl_mem new_buffer(size_t size)
{
    cl_int status;
    cl_mem buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, size, NULL, &status);
    check(status, "clCreateBuffer");
    return buffer;
}

static cl_command_queue new_queue(cl_command_queue_properties properties)
{
    cl_int status;
    cl_command_queue made = clCreateCommandQueue(context, device, properties, &status);
    check(status, "clCreateCommandQueue");
    return made;
}

/* ---- rows ---- */

static void row_enqueue(void)
{
    enum { BURSTS = 10, BURST = 1000 };
    double in_call = 0;
    for (int b = 0; b < BURSTS; b++) {
        double begin = now_ns();
        for (int i = 0; i < BURST; i++)
            launch(queue, nop);
        in_call += now_ns() - begin;
        check(clFinish(queue), "clFinish");
    }
    print_row("enqueue", in_call / (BURSTS * BURST));
}

static void row_throughput(void)
{
    enum { KERNELS = 10000 };
    double begin = now_ns();
    for (int i = 0; i < KERNELS; i++)
        launch(queue, nop);
    check(clFinish(queue), "clFinish");
    print_row("throughput", KERNELS / (now_ns() - begin) * 1e9);
}

static void row_independent(void)
{
    enum { KERNELS = 2000, REPEATS = 5 };
    double rates[REPEATS];
    cl_command_queue unordered = new_queue(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    for (int r = 0; r < REPEATS; r++) {
        double begin = now_ns();
        for (int i = 0; i < KERNELS; i++)
            launch(unordered, nop);
        check(clFinish(unordered), "clFinish");
        rates[r] = KERNELS / (now_ns() - begin) * 1e9;
    }
    print_row("independent", quantile(rates, REPEATS, 0.5));
    clReleaseCommandQueue(unordered);
}

static void row_finish(void)
{
    enum { WARM = 100, REPEATS = 2000 };
    static double times[REPEATS];
    for (int i = -WARM; i < REPEATS; i++) {
        double begin = now_ns();
        launch(queue, nop);
        check(clFinish(queue), "clFinish");
        if (i >= 0)
            times[i] = now_ns() - begin;
    }
    print_row("finish", quantile(times, REPEATS, 0.5));
    print_row("finish_p99", quantile(times, REPEATS, 0.99));
}

static void row_read4(void)
{
    enum { REPEATS = 2000 };
    static double times[REPEATS];
    cl_mem buffer = new_buffer(64);
    int value = 7;
    check(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, 4, &value, 0, NULL, NULL), "clEnqueueWriteBuffer");
    for (int i = 0; i < REPEATS; i++) {
        double begin = now_ns();
        check(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, 4, &value, 0, NULL, NULL), "clEnqueueReadBuffer");
        times[i] = now_ns() - begin;
    }
    print_row("read4", quantile(times, REPEATS, 0.5));
    clReleaseMemObject(buffer);
}

static void row_chain(void)
{
    enum { LENGTH = 1000, REPEATS = 5 };
    cl_event events[LENGTH];
    double times[REPEATS];
    cl_int zero = 0, value = 0, status;
    cl_command_queue unordered = new_queue(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    cl_mem buffer = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof zero, &zero, &status);
    check(status, "clCreateBuffer");
    check(clSetKernelArg(increment, 0, sizeof buffer, &buffer), "clSetKernelArg");
    for (int r = 0; r < REPEATS; r++) {
        double begin = now_ns();
        for (int i = 0; i < LENGTH; i++)
            check(clEnqueueNDRangeKernel(unordered, increment, 1, NULL, &one, &one, i ? 1 : 0,
                                         i ? &events[i - 1] : NULL, &events[i]),
                  "clEnqueueNDRangeKernel");
        check(clFinish(unordered), "clFinish");
        times[r] = now_ns() - begin;
        for (int i = 0; i < LENGTH; i++)
            clReleaseEvent(events[i]);
    }
    check(clEnqueueReadBuffer(unordered, buffer, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL),
          "clEnqueueReadBuffer");
    if (value != LENGTH * REPEATS) {
        fprintf(stderr, "callpath: the chain counted %d instead of %d\n", value, LENGTH * REPEATS);
        exit(1);
    }
    print_row("chain", quantile(times, REPEATS, 0.5));
    clReleaseMemObject(buffer);
    clReleaseCommandQueue(unordered);
}

static void transfers(const char *name, size_t size, size_t repeats)
{
    char row[64];
    double *times = malloc(repeats * sizeof *times);
    unsigned char *out = NULL, *in = NULL;
    if (!times || posix_memalign((void **)&out, 4096, size) || posix_memalign((void **)&in, 4096, size)) {
        fprintf(stderr, "callpath: out of memory for transfers of %zu bytes\n", size);
        exit(1);
    }
    for (size_t i = 0; i < size; i++)
        out[i] = (unsigned char)(i * 131 >> 3);
    memset(in, 1, size);
    cl_mem buffer = new_buffer(size);
    check(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, size, out, 0, NULL, NULL), "clEnqueueWriteBuffer");
    check(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, size, in, 0, NULL, NULL), "clEnqueueReadBuffer");
    if (memcmp(in, out, size)) {
        fprintf(stderr, "callpath: %s: other bytes came back\n", name);
        exit(1);
    }
    for (size_t i = 0; i < repeats; i++) {
        double begin = now_ns();
        check(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, size, out, 0, NULL, NULL), "clEnqueueWriteBuffer");
        times[i] = now_ns() - begin;
    }
    snprintf(row, sizeof row, "write_%s", name);
    print_row(row, (double)size / quantile(times, repeats, 0.5) * 1e9);
    for (size_t i = 0; i < repeats; i++) {
        double begin = now_ns();
        check(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, size, in, 0, NULL, NULL), "clEnqueueReadBuffer");
        times[i] = now_ns() - begin;
    }
    snprintf(row, sizeof row, "read_%s", name);
    print_row(row, (double)size / quantile(times, repeats, 0.5) * 1e9);
    clReleaseMemObject(buffer);
    free(out);
    free(in);
    free(times);
}

static void row_transfers(void)
{
    transfers("4K", 4096, 1000);
    transfers("1M", 1 << 20, 200);
    transfers("16M", 16 << 20, 30);
    transfers("256M", 256 << 20, 5);
}

static void row_argument(void)
{
    enum { CALLS = 100000, REPEATS = 11 };
    double times[REPEATS];
    for (int r = 0; r < REPEATS; r++) {
        double begin = now_ns();
        for (int i = 0; i < CALLS; i++)
            check(clSetKernelArg(with_arguments, 1, sizeof i, &i), "clSetKernelArg");
        times[r] = (now_ns() - begin) / CALLS;
    }
    print_row("argument", quantile(times, REPEATS, 0.5));
}

/* Sixteen kernels with loops, local memory, barriers and math; `seed` makes the text unique. */
static char *medium_source(unsigned seed)
{
    enum { ROOM = 1 << 16 };
    char *text = malloc(ROOM);
    size_t used = (size_t)snprintf(text, ROOM, "#define SEED %uu\n", seed);
    for (int k = 0; k < 16; k++)
        used += (size_t)snprintf(
            text + used, ROOM - used,
            "__kernel void k%d(__global const float *a, __global float *b, __local float *t, int n) {\n"
            "  int g = get_global_id(0), l = get_local_id(0), w = get_local_size(0);\n"
            "  float sum = 0; uint h = SEED ^ (uint)g * %uu;\n"
            "  for (int i = 0; i < n; i++) {\n"
            "    t[l] = a[(g + i * %d) %% n]; barrier(CLK_LOCAL_MEM_FENCE);\n"
            "    float x = t[(l + %d) %% w]; h = h * 1664525u + 1013904223u;\n"
            "    sum += sin(x) * %d.0f + sqrt(fabs(x)) - exp(-x * x) + mad(x, x, (float)(h >> 24));\n"
            "    sum += (h & 7u) == %du ? 0.5f : pow(fabs(x) + 1.0f, 1.5f);\n"
            "    barrier(CLK_LOCAL_MEM_FENCE);\n"
            "  }\n"
            "  for (int s = w / 2; s > 0; s >>= 1) {\n"
            "    t[l] = sum; barrier(CLK_LOCAL_MEM_FENCE);\n"
            "    if (l < s) sum += t[l + s]; barrier(CLK_LOCAL_MEM_FENCE);\n"
            "  }\n"
            "  b[g] = sum + clamp(sum, -%d.0f, %d.0f);\n"
            "}\n",
            k, 2654435761u + (unsigned)k, k + 1, k + 1, k, k % 8, k, k + 10);
    return text;
}

static void row_build(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    char *text = medium_source((unsigned)t.tv_nsec ^ ((unsigned)getpid() << 12));
    for (int pass = 0; pass < 2; pass++) {
        cl_int status;
        double begin = now_ns();
        cl_program program = clCreateProgramWithSource(context, 1, (const char **)&text, NULL, &status);
        check(status, "clCreateProgramWithSource");
        check(clBuildProgram(program, 1, &device, "", NULL, NULL), "clBuildProgram");
        print_row(pass ? "build_again" : "build_cold", now_ns() - begin);
        clReleaseProgram(program);
    }
    free(text);
}

/* ---- */

static void prepare(void)
{
    cl_int status;
    char text[512];
    double begin = now_ns();
    context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    check(status, "clCreateContext");
    queue = new_queue(0);
    print_row("create", now_ns() - begin);

    /* Unique text: this build runs the compiler and pays its one-time start. */
    snprintf(text, sizeof text,
             "__constant int unique = %d;\n__kernel void nop(void) {}\n__kernel void increment(__global int *p) { p[0] "
             "+= 1; }\n"
             "__kernel void with_arguments(__global int *p, int a, float b) { if (a == -12345) p[0] = (int)b; }\n",
             (int)getpid());
    const char *source = text;
    cl_program program = clCreateProgramWithSource(context, 1, &source, NULL, &status);
    check(status, "clCreateProgramWithSource");
    check(clBuildProgram(program, 1, &device, "", NULL, NULL), "clBuildProgram");
    nop = clCreateKernel(program, "nop", &status);
    check(status, "clCreateKernel");
    increment = clCreateKernel(program, "increment", &status);
    check(status, "clCreateKernel");
    with_arguments = clCreateKernel(program, "with_arguments", &status);
    check(status, "clCreateKernel");
    clReleaseProgram(program);
    for (int i = 0; i < 200; i++)
        launch(queue, nop);
    check(clFinish(queue), "clFinish");
}

static const struct row rows[] = {
    {"enqueue", row_enqueue},   {"throughput", row_throughput}, {"independent", row_independent},
    {"finish", row_finish},     {"read4", row_read4},           {"chain", row_chain},
    {"argument", row_argument}, {"transfers", row_transfers},   {"build", row_build},
};

int main(int argc, char **argv)
{
    device = choose_device(argc > 1 ? argv[1] : "");
    prepare();
    run_rows(rows, sizeof rows / sizeof *rows, argc, argv);
    clReleaseKernel(nop);
    clReleaseKernel(increment);
    clReleaseKernel(with_arguments);
    clReleaseCommandQueue(queue);
    clReleaseContext(context);
    return 0;
}
