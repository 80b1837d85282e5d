/* examples/chains.c - an OpenCL program for one device and one in-order queue, whose commands are two chains that
 * nothing connects until the end: what a device that spans two has room to show (README, "What a session did"). */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ITEMS  (1u << 16)
#define TURNS  300u
#define CHAINS 2
#define STEPS  3

static const char source[] = "kernel void churn(global uint *data, uint turns)\n"
                             "{\n"
                             "    uint x = data[get_global_id(0)] + get_global_id(0);\n"
                             "    for (uint i = 0; i < turns; i++)\n"
                             "        x = x * 1664525u + 1013904223u;\n"
                             "    data[get_global_id(0)] = x;\n"
                             "}\n"
                             "kernel void join(global uint *sum, global const uint *left, global const uint *right)\n"
                             "{\n"
                             "    size_t i = get_global_id(0);\n"
                             "    sum[i] = left[i] + right[i];\n"
                             "}\n";

static uint32_t expected[ITEMS], got[ITEMS];

static void check(cl_int status, const char *what)
{
    if (status == CL_SUCCESS)
        return;
    fprintf(stderr, "chains: %s failed: OpenCL error %d\n", what, status);
    exit(1);
}

static uint32_t on_host(uint32_t item)
{
    uint32_t x = 0;
    for (int step = 0; step < STEPS; step++) {
        x += item;
        for (uint32_t i = 0; i < TURNS; i++)
            x = x * 1664525u + 1013904223u;
    }
    return CHAINS * x;
}

static cl_kernel kernel_of(cl_program program, const char *name)
{
    cl_int status;
    cl_kernel kernel = clCreateKernel(program, name, &status);
    check(status, name);
    return kernel;
}

static void launch(cl_command_queue queue, cl_kernel kernel)
{
    const size_t items = ITEMS;
    check(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL), "clEnqueueNDRangeKernel");
}

static void set(cl_kernel kernel, cl_uint index, cl_mem buffer)
{
    check(clSetKernelArg(kernel, index, sizeof buffer, &buffer), "clSetKernelArg");
}

int main(void)
{
    const char *text = source;
    const cl_uint turns = TURNS;
    cl_platform_id platform;
    cl_device_id device;
    cl_mem chains[CHAINS], sum;
    cl_int status;
    check(clGetPlatformIDs(1, &platform, NULL), "clGetPlatformIDs");
    check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL), "clGetDeviceIDs");
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    check(status, "clCreateContext");
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, &status);
    check(status, "clCreateCommandQueue");
    cl_program program = clCreateProgramWithSource(context, 1, &text, NULL, &status);
    check(status, "clCreateProgramWithSource");
    check(clBuildProgram(program, 1, &device, "", NULL, NULL), "clBuildProgram");
    cl_kernel churn = kernel_of(program, "churn"), join = kernel_of(program, "join");
    for (int i = 0; i < CHAINS; i++) {
        chains[i] = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof got, got, &status);
        check(status, "clCreateBuffer");
    }
    sum = clCreateBuffer(context, 0, sizeof got, NULL, &status);
    check(status, "clCreateBuffer");

    check(clSetKernelArg(churn, 1, sizeof turns, &turns), "clSetKernelArg");
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < CHAINS; i++) {
            set(churn, 0, chains[i]);
            launch(queue, churn);
        }
    set(join, 0, sum);
    for (cl_uint i = 0; i < CHAINS; i++)
        set(join, 1 + i, chains[i]);
    launch(queue, join);
    check(clEnqueueReadBuffer(queue, sum, CL_TRUE, 0, sizeof got, got, 0, NULL, NULL), "clEnqueueReadBuffer");

    long different = 0;
    for (uint32_t i = 0; i < ITEMS; i++) {
        expected[i] = on_host(i);
        different += got[i] != expected[i];
    }
    printf("%u sums, %ld of them wrong\n", ITEMS, different);
    clReleaseMemObject(sum);
    for (int i = 0; i < CHAINS; i++)
        clReleaseMemObject(chains[i]);
    clReleaseKernel(join);
    clReleaseKernel(churn);
    clReleaseProgram(program);
    clReleaseCommandQueue(queue);
    clReleaseContext(context);
    return different != 0;
}
