/* scenario/core_fixture.h - a context with queues of every kind and two kernels, and what watches events; for cl_core.c
 * and cl_lost.c. */
#ifndef CORE_FIXTURE_H
#define CORE_FIXTURE_H

#include "core_check.h"

#include <stdatomic.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static cl_device_id devices[16];
static cl_uint device_count;

/* A context of all devices and one queue for each kind. */
struct fixture {
    cl_context context;
    cl_command_queue in_order, out_of_order, profiling, second;
    cl_program program;
    cl_kernel add, spin;
    cl_mem buffer;
    bool overtakes;
};

static const char *const source = "__kernel void add(__global int *v, int n) { v[get_global_id(0)] += n; }\n"
                                  "__kernel void spin(__global int *v, int turns) {\n"
                                  "    int x = v[0];\n"
                                  "    for (int i = 0; i < turns; i++) x = x * 1664525 + 1013904223;\n"
                                  "    v[1] = x;\n"
                                  "}\n";

static bool set_up(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    cl_int error = 0;
    f->context = clCreateContext(NULL, device_count, devices, NULL, NULL, &error);
    if (!f->context)
        return false;
    f->in_order = clCreateCommandQueue(f->context, devices[0], 0, &error);
    /* Where there is no such queue (rusticl), one that keeps its order is one all the same, but for overtaking. */
    cl_command_queue_properties can = 0;
    clGetDeviceInfo(devices[0], CL_DEVICE_QUEUE_PROPERTIES, sizeof can, &can, NULL);
    f->overtakes = can & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
    f->out_of_order =
        clCreateCommandQueue(f->context, devices[0], f->overtakes ? CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE : 0, &error);
    f->profiling = clCreateCommandQueue(f->context, devices[0], CL_QUEUE_PROFILING_ENABLE, &error);
    f->second = clCreateCommandQueue(f->context, devices[device_count - 1], 0, &error);
    f->program = clCreateProgramWithSource(f->context, 1, (const char **)&source, NULL, &error);
    if (!f->program || clBuildProgram(f->program, 0, NULL, "", NULL, NULL))
        return false;
    f->add = clCreateKernel(f->program, "add", &error);
    f->spin = clCreateKernel(f->program, "spin", &error);
    int zeros[64] = {0};
    f->buffer = clCreateBuffer(f->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof zeros, zeros, &error);
    int one = 1, turns = 20000000;
    return f->in_order && f->out_of_order && f->profiling && f->second && f->add && f->spin && f->buffer &&
           !clSetKernelArg(f->add, 0, sizeof f->buffer, &f->buffer) && !clSetKernelArg(f->add, 1, sizeof one, &one) &&
           !clSetKernelArg(f->spin, 0, sizeof f->buffer, &f->buffer) &&
           !clSetKernelArg(f->spin, 1, sizeof turns, &turns);
}

static void tear_down(struct fixture *f)
{
    CHECK_OK(clReleaseMemObject(f->buffer));
    CHECK_OK(clReleaseKernel(f->add));
    CHECK_OK(clReleaseKernel(f->spin));
    CHECK_OK(clReleaseProgram(f->program));
    CHECK_OK(clReleaseCommandQueue(f->in_order));
    CHECK_OK(clReleaseCommandQueue(f->out_of_order));
    CHECK_OK(clReleaseCommandQueue(f->profiling));
    CHECK_OK(clReleaseCommandQueue(f->second));
    CHECK_OK(clReleaseContext(f->context));
}

static cl_int enqueue_add(struct fixture *f, cl_command_queue queue, cl_uint wait_count, const cl_event *waits,
                          cl_event *event)
{
    size_t global = 64;
    return clEnqueueNDRangeKernel(queue, f->add, 1, NULL, &global, NULL, wait_count, waits, event);
}

static int read_first(struct fixture *f, cl_command_queue queue)
{
    int value = -1;
    CHECK_OK(clEnqueueReadBuffer(queue, f->buffer, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL));
    return value;
}

static cl_int status_of(cl_event event)
{
    cl_int status = 12345;
    CHECK_OK(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL));
    return status;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Waits for another thread, at most 10 seconds. */
static bool becomes(_Atomic int *value, int wanted)
{
    for (int i = 0; i < 10000 && atomic_load(value) != wanted; i++)
        sleep_ms(1);
    return atomic_load(value) == wanted;
}

/* What an event's callback was told. */
struct calls {
    _Atomic int count;
    _Atomic int statuses[8];
    cl_event event;
    cl_event next; /* a user event to complete from within */
};

static void CL_CALLBACK called(cl_event event, cl_int status, void *user)
{
    struct calls *calls = user;
    calls->event = event;
    if (calls->next)
        clSetUserEventStatus(calls->next, CL_COMPLETE);
    int at = atomic_load(&calls->count);
    calls->statuses[at & 7] = status;
    atomic_store(&calls->count, at + 1);
}

static int fixture_main(int argc, char **argv, const struct check_group *groups, size_t group_count)
{
    if (argc >= 2 && check_find_platform(argv[1]))
        device_count = check_devices(devices, COUNT(devices));
    return check_main(argc, argv, groups, group_count);
}

#endif
