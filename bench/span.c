/* A program written for one device and one in-order queue, whose work falls into independent parts: how much faster is
 * it when that device spans two?  span PLATFORM [ROW...]; prints a row and its time in ns. */
#include <stdio.h>
#include <stdlib.h>

#include "rows.h"

#define REPEAT 3 /* the first time is not counted: kernels and pages are met for the first time */

static struct {
    cl_context context;
    cl_device_id device;
    cl_command_queue queue;
    cl_program program;
} world;

static const char source[] =
    "kernel void spin(global uint *a, int turns) {\n"
    "    uint x = a[get_global_id(0)];\n"
    "    for (int i = 0; i < turns; i++) x = x * 1664525u + 1013904223u;\n"
    "    a[get_global_id(0)] = x;\n"
    "}\n"
    "kernel void product(global const float *a, global const float *b, global float *c, int n) {\n"
    "    int i = get_global_id(1), j = get_global_id(0);\n"
    "    float sum = c[i * n + j];\n"
    "    for (int k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];\n"
    "    c[i * n + j] = sum;\n"
    "}\n"
    "kernel void relax(global const float *above, global const float *old, global const float *below, global float "
    "*new,\n"
    "                  int width, int height) {\n"
    "    int x = get_global_id(0), y = get_global_id(1);\n"
    "    float up = y ? old[(y - 1) * width + x] : above[(height - 1) * width + x];\n"
    "    float down = y < height - 1 ? old[(y + 1) * width + x] : below[x];\n"
    "    float left = old[y * width + (x ? x - 1 : x)], right = old[y * width + (x < width - 1 ? x + 1 : x)];\n"
    "    new[y * width + x] = 0.25f * (up + down + left + right);\n"
    "}\n";

static void open_world(const char *platform)
{
    const char *text = source;
    cl_int status;
    world.device = choose_device(platform);
    world.context = clCreateContext(NULL, 1, &world.device, NULL, NULL, &status);
    check(status, "context");
    world.queue = clCreateCommandQueue(world.context, world.device, 0, &status);
    check(status, "queue");
    world.program = clCreateProgramWithSource(world.context, 1, &text, NULL, &status);
    check(status, "program");
    check(clBuildProgram(world.program, 1, &world.device, "", NULL, NULL), "build");
}

static cl_kernel kernel_of(const char *name)
{
    cl_int status;
    cl_kernel kernel = clCreateKernel(world.program, name, &status);
    check(status, name);
    return kernel;
}

static cl_mem zeros(size_t bytes)
{
    const cl_float zero = 0;
    cl_int status;
    cl_mem buffer = clCreateBuffer(world.context, 0, bytes, NULL, &status);
    check(status, "buffer");
    check(clEnqueueFillBuffer(world.queue, buffer, &zero, sizeof zero, 0, bytes, 0, NULL, NULL), "fill");
    return buffer;
}

static void set(cl_kernel kernel, cl_uint index, cl_mem buffer)
{
    check(clSetKernelArg(kernel, index, sizeof buffer, &buffer), "argument");
}

static void set_int(cl_kernel kernel, cl_uint index, cl_int value)
{
    check(clSetKernelArg(kernel, index, sizeof value, &value), "argument");
}

static void launch(cl_kernel kernel, cl_uint dimensions, size_t x, size_t y)
{
    const size_t global[] = {x, y};
    check(clEnqueueNDRangeKernel(world.queue, kernel, dimensions, NULL, global, NULL, 0, NULL, NULL), "launch");
}

/* The best of some: what else runs on the machine only ever adds. */
static void measure(const char *row, void (*work)(void *), void *context)
{
    double best = 0;
    for (int i = 0; i <= REPEAT; i++) {
        double begin = now_ns();
        work(context);
        check(clFinish(world.queue), "finish");
        double took = now_ns() - begin;
        if (i == 1 || (i && took < best))
            best = took;
    }
    print_row(row, best);
}

/* ---- two chains of kernels that have nothing to do with each other ----------------------------------------- */

struct streams {
    cl_kernel kernel;
    cl_mem buffers[2];
    int count;
};

static void run_streams(void *context)
{
    struct streams *streams = context;
    for (int i = 0; i < streams->count; i++) {
        set(streams->kernel, 0, streams->buffers[i % 2]);
        launch(streams->kernel, 1, 64, 1);
    }
}

static void streams_of(const char *row, int count, int turns)
{
    struct streams streams = {kernel_of("spin"), {zeros(4096), zeros(4096)}, count};
    set_int(streams.kernel, 1, turns);
    measure(row, run_streams, &streams);
    for (int i = 0; i < 2; i++)
        clReleaseMemObject(streams.buffers[i]);
    clReleaseKernel(streams.kernel);
}

static void streams(void)
{
    streams_of("streams", 400, 10000);
}

static void tasks(void)
{
    streams_of("tasks", 20000, 1);
}

/* ---- a product of matrices in blocks ------------------------------------------------------------------------ */

enum { BLOCKS = 4, BLOCK = 128 };

struct product {
    cl_kernel kernel;
    cl_mem a[BLOCKS][BLOCKS], b[BLOCKS][BLOCKS], c[BLOCKS][BLOCKS];
};

static void run_product(void *context)
{
    struct product *product = context;
    for (int i = 0; i < BLOCKS; i++)
        for (int j = 0; j < BLOCKS; j++)
            for (int k = 0; k < BLOCKS; k++) {
                set(product->kernel, 0, product->a[i][k]);
                set(product->kernel, 1, product->b[k][j]);
                set(product->kernel, 2, product->c[i][j]);
                launch(product->kernel, 2, BLOCK, BLOCK);
            }
}

static void product(void)
{
    struct product product = {.kernel = kernel_of("product")};
    for (int i = 0; i < BLOCKS * BLOCKS; i++) {
        product.a[i / BLOCKS][i % BLOCKS] = zeros(BLOCK * BLOCK * sizeof(cl_float));
        product.b[i / BLOCKS][i % BLOCKS] = zeros(BLOCK * BLOCK * sizeof(cl_float));
        product.c[i / BLOCKS][i % BLOCKS] = zeros(BLOCK * BLOCK * sizeof(cl_float));
    }
    set_int(product.kernel, 3, BLOCK);
    measure("product", run_product, &product);
    for (int i = 0; i < BLOCKS * BLOCKS; i++) {
        clReleaseMemObject(product.a[i / BLOCKS][i % BLOCKS]);
        clReleaseMemObject(product.b[i / BLOCKS][i % BLOCKS]);
        clReleaseMemObject(product.c[i / BLOCKS][i % BLOCKS]);
    }
    clReleaseKernel(product.kernel);
}

/* ---- Jacobi's iteration on a grid in strips ------------------------------------------------------------------ */

enum { STRIPS = 8, WIDTH = 1024, HEIGHT = 128, STEPS = 20 };

struct stencil {
    cl_kernel kernel;
    cl_mem strips[2][STRIPS];
};

static void run_stencil(void *context)
{
    struct stencil *stencil = context;
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < STRIPS; i++) {
            cl_mem *old = stencil->strips[step % 2];
            set(stencil->kernel, 0, old[i ? i - 1 : i]);
            set(stencil->kernel, 1, old[i]);
            set(stencil->kernel, 2, old[i < STRIPS - 1 ? i + 1 : i]);
            set(stencil->kernel, 3, stencil->strips[1 - step % 2][i]);
            launch(stencil->kernel, 2, WIDTH, HEIGHT);
        }
}

static void stencil(void)
{
    struct stencil stencil = {.kernel = kernel_of("relax")};
    for (int i = 0; i < 2 * STRIPS; i++)
        stencil.strips[i % 2][i / 2] = zeros(WIDTH * HEIGHT * sizeof(cl_float));
    set_int(stencil.kernel, 4, WIDTH);
    set_int(stencil.kernel, 5, HEIGHT);
    measure("stencil", run_stencil, &stencil);
    for (int i = 0; i < 2 * STRIPS; i++)
        clReleaseMemObject(stencil.strips[i % 2][i / 2]);
    clReleaseKernel(stencil.kernel);
}

int main(int argc, char **argv)
{
    static const struct row rows[] = {
        {"streams", streams}, {"product", product}, {"stencil", stencil}, {"tasks", tasks}};
    if (argc < 2) {
        fprintf(stderr, "usage: span PLATFORM [ROW...]\n");
        return 2;
    }
    open_world(argv[1]);
    run_rows(rows, sizeof rows / sizeof *rows, argc, argv);
    clReleaseProgram(world.program);
    clReleaseCommandQueue(world.queue);
    clReleaseContext(world.context);
    return 0;
}
