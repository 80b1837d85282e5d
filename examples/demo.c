/* examples/demo.c - an ordinary OpenCL 1.2 program, which knows nothing of Penstock.
 *
 * It draws the Mandelbrot set with all devices of a platform together: the picture is cut into bands, each device
 * takes the next band when it is done with its last, and the host checks every pixel against its own computation.
 *
 *   demo [PLATFORM]    PLATFORM is a part of a platform's name; without it, the first platform with a device */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WIDTH       1024
#define HEIGHT      768
#define BAND        32 /* rows */
#define BANDS       (HEIGHT / BAND)
#define ROUNDS      1000
#define MAX_DEVICES 16
#define COLUMNS     76 /* of the printed picture */
#define LINES       24

/* In fixed point, so that every device and the host agree to the last bit; ONE is 1.0. */
#define POINT 26
#define ONE   (INT64_C(1) << POINT)

static const char source[] =
    "kernel void mandelbrot(global int *out, int first_row, int width, int height, int rounds, int point)\n"
    "{\n"
    "    int column = get_global_id(0), row = get_global_id(1) + first_row, round = 0;\n"
    "    long one = 1L << point, x = 0, y = 0;\n"
    "    long a = (32 * one * column / width - 22 * one) / 10, b = (24 * one * row / height - 12 * one) / 10;\n"
    "    while (round < rounds && (x * x >> point) + (y * y >> point) < 4 * one) {\n"
    "        long next = (x * x >> point) - (y * y >> point) + a;\n"
    "        y = (2 * x * y >> point) + b;\n"
    "        x = next;\n"
    "        round++;\n"
    "    }\n"
    "    out[get_global_id(1) * width + column] = round;\n"
    "}\n";

struct worker {
    cl_device_id device;
    char name[128];
    cl_command_queue queue;
    cl_kernel kernel;
    cl_mem buffer;
    cl_event done; /* of the band under way; NULL: idle */
    int band, bands;
    double busy_ms;
};

static int picture[HEIGHT * WIDTH];
static int made_by[BANDS];

static void check(cl_int status, const char *what)
{
    if (status == CL_SUCCESS)
        return;
    fprintf(stderr, "demo: %s failed: OpenCL error %d\n", what, status);
    exit(1);
}

static int on_host(int column, int row)
{
    int64_t a = (32 * ONE * column / WIDTH - 22 * ONE) / 10, b = (24 * ONE * row / HEIGHT - 12 * ONE) / 10;
    int64_t x = 0, y = 0;
    int round = 0;
    while (round < ROUNDS && (x * x >> POINT) + (y * y >> POINT) < 4 * ONE) {
        int64_t next = (x * x >> POINT) - (y * y >> POINT) + a;
        y = (2 * x * y >> POINT) + b;
        x = next;
        round++;
    }
    return round;
}

/* The first platform whose name contains `wanted` and that has devices; prints what it found. */
static cl_uint find_devices(const char *wanted, cl_device_id *out_devices)
{
    cl_platform_id platforms[16];
    cl_uint count = 0, found = 0;
    if (clGetPlatformIDs(16, platforms, &count) != CL_SUCCESS)
        count = 0;
    for (cl_uint i = 0; i < count && i < 16; i++) {
        char name[128] = "";
        clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name, name, NULL);
        if (!strstr(name, wanted) ||
            clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, MAX_DEVICES, out_devices, &found) != CL_SUCCESS || !found)
            continue;
        printf("platform \"%s\" with %u device%s\n", name, found, found == 1 ? "" : "s");
        return found < MAX_DEVICES ? found : MAX_DEVICES;
    }
    fprintf(stderr, "demo: no OpenCL platform%s%s has a device\n", *wanted ? " named " : "", wanted);
    exit(1);
}

static void set_up(struct worker *worker, cl_context context, cl_program program)
{
    cl_int status;
    check(clGetDeviceInfo(worker->device, CL_DEVICE_NAME, sizeof worker->name, worker->name, NULL), "clGetDeviceInfo");
    worker->queue = clCreateCommandQueue(context, worker->device, CL_QUEUE_PROFILING_ENABLE, &status);
    check(status, "clCreateCommandQueue");
    worker->buffer = clCreateBuffer(context, CL_MEM_WRITE_ONLY, sizeof(int) * BAND * WIDTH, NULL, &status);
    check(status, "clCreateBuffer");
    worker->kernel = clCreateKernel(program, "mandelbrot", &status);
    check(status, "clCreateKernel");
    const int width = WIDTH, height = HEIGHT, rounds = ROUNDS, point = POINT;
    check(clSetKernelArg(worker->kernel, 0, sizeof worker->buffer, &worker->buffer), "clSetKernelArg");
    check(clSetKernelArg(worker->kernel, 2, sizeof width, &width), "clSetKernelArg");
    check(clSetKernelArg(worker->kernel, 3, sizeof height, &height), "clSetKernelArg");
    check(clSetKernelArg(worker->kernel, 4, sizeof rounds, &rounds), "clSetKernelArg");
    check(clSetKernelArg(worker->kernel, 5, sizeof point, &point), "clSetKernelArg");
}

/* Starts band number `band`: the kernel, then the copy of its rows into the picture. */
static void start(struct worker *worker, int band)
{
    const size_t global[2] = {WIDTH, BAND};
    const int first_row = band * BAND;
    cl_event drawn;
    check(clSetKernelArg(worker->kernel, 1, sizeof first_row, &first_row), "clSetKernelArg");
    check(clEnqueueNDRangeKernel(worker->queue, worker->kernel, 2, NULL, global, NULL, 0, NULL, &drawn),
          "clEnqueueNDRangeKernel");
    check(clEnqueueReadBuffer(worker->queue, worker->buffer, CL_FALSE, 0, sizeof(int) * BAND * WIDTH,
                              picture + (size_t)first_row * WIDTH, 1, &drawn, &worker->done),
          "clEnqueueReadBuffer");
    check(clReleaseEvent(drawn), "clReleaseEvent");
    check(clFlush(worker->queue), "clFlush");
    worker->band = band;
}

/* Takes note of a band that is complete; false while it is under way. */
static int collect(struct worker *worker, int number)
{
    cl_int status;
    cl_ulong queued = 0, ended = 0;
    check(clGetEventInfo(worker->done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL),
          "clGetEventInfo");
    if (status < 0)
        check(status, "a band");
    if (status != CL_COMPLETE)
        return 0;
    check(clGetEventProfilingInfo(worker->done, CL_PROFILING_COMMAND_QUEUED, sizeof queued, &queued, NULL),
          "clGetEventProfilingInfo");
    check(clGetEventProfilingInfo(worker->done, CL_PROFILING_COMMAND_END, sizeof ended, &ended, NULL),
          "clGetEventProfilingInfo");
    worker->busy_ms += (double)(ended - queued) / 1e6;
    clReleaseEvent(worker->done);
    worker->done = NULL;
    worker->bands++;
    made_by[worker->band] = number;
    return 1;
}

/* Every device takes the next band as soon as it is idle. */
static void draw(struct worker *workers, cl_uint count)
{
    int next = 0, finished = 0;
    while (finished < BANDS) {
        int progress = 0;
        for (cl_uint i = 0; i < count; i++) {
            if (workers[i].done && collect(&workers[i], (int)i)) {
                finished++;
                progress = 1;
            }
            if (!workers[i].done && next < BANDS) {
                start(&workers[i], next++);
                progress = 1;
            }
        }
        if (!progress)
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
}

static long compare(void)
{
    long different = 0;
    for (int row = 0; row < HEIGHT; row++)
        for (int column = 0; column < WIDTH; column++)
            different += picture[row * WIDTH + column] != on_host(column, row);
    return different;
}

/* Each line ends with the number of the device that drew its middle row. */
static void print_picture(void)
{
    static const char shades[] = " .,:;+*oO#@";
    for (int line = 0; line < LINES; line++) {
        int row = (2 * line + 1) * HEIGHT / (2 * LINES);
        for (int column = 0; column < COLUMNS; column++) {
            int rounds = picture[row * WIDTH + column * WIDTH / COLUMNS];
            double shade = log((double)rounds + 1) / log(ROUNDS + 1.0) * (double)(sizeof shades - 2);
            putchar(shades[(int)shade]);
        }
        printf(" %d\n", made_by[row / BAND]);
    }
}

int main(int argc, char **argv)
{
    cl_device_id devices[MAX_DEVICES];
    struct worker workers[MAX_DEVICES] = {0};
    cl_int status;
    cl_uint count = find_devices(argc > 1 ? argv[1] : "", devices);
    cl_context context = clCreateContext(NULL, count, devices, NULL, NULL, &status);
    check(status, "clCreateContext");
    cl_program program = clCreateProgramWithSource(context, 1, (const char *[]){source}, NULL, &status);
    check(status, "clCreateProgramWithSource");
    check(clBuildProgram(program, count, devices, NULL, NULL, NULL), "clBuildProgram");
    for (cl_uint i = 0; i < count; i++) {
        workers[i].device = devices[i];
        set_up(&workers[i], context, program);
    }
    draw(workers, count);
    print_picture();
    for (cl_uint i = 0; i < count; i++)
        printf("device %u, %s: %d of %d bands, %.1f ms\n", i, workers[i].name, workers[i].bands, BANDS,
               workers[i].busy_ms);
    long different = compare();
    printf("%ld of %d pixels differ from the host's\n", different, WIDTH * HEIGHT);
    for (cl_uint i = 0; i < count; i++) {
        clReleaseKernel(workers[i].kernel);
        clReleaseMemObject(workers[i].buffer);
        clReleaseCommandQueue(workers[i].queue);
    }
    clReleaseProgram(program);
    clReleaseContext(context);
    return different ? 1 : 0;
}
