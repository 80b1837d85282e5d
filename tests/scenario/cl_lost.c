/* scenario/cl_lost.c - a kernel that faults, on PoCL, costs its own session and nothing else. Only for Penstock:
 * natively the program itself dies. By itself, since all contexts of a process lose their session together. */
#include "core_fixture.h"

static _Atomic int told;

static void CL_CALLBACK hear(const char *text, const void *data, size_t size, void *user)
{
    (void)data, (void)size, (void)user;
    CHECK(text && text[0]);
    atomic_fetch_add(&told, 1);
}

/* A kernel that faults costs its own session: errors, no hang, and the next context works. */
static void test_lost(void)
{
    static const char *const wild = "__kernel void wild(__global int *v) { *(__global volatile int *)8 = v[0]; }\n";
    struct fixture f;
    NEED(check_is_penstock());
    NEED(set_up(&f));
    cl_int error = 0;
    cl_context context = clCreateContext(NULL, 1, devices, hear, NULL, &error);
    cl_command_queue queue = clCreateCommandQueue(context, devices[0], 0, &error);
    cl_program program = clCreateProgramWithSource(context, 1, (const char **)&wild, NULL, &error);
    CHECK_OK(clBuildProgram(program, 0, NULL, "", NULL, NULL));
    cl_kernel kernel = clCreateKernel(program, "wild", &error);
    int zero = 0, value = 0;
    cl_mem buffer = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof zero, &zero, &error);
    CHECK_OK(clSetKernelArg(kernel, 0, sizeof buffer, &buffer));
    cl_event user = clCreateUserEvent(f.context, &error), held = NULL, event = NULL;
    struct calls calls = {0};
    CHECK_OK(enqueue_add(&f, f.in_order, 1, &user, &held));
    CHECK_OK(clSetEventCallback(held, CL_COMPLETE, called, &calls));
    size_t one = 1;
    CHECK_OK(clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, &event));
    CHECK(clFinish(queue) != CL_SUCCESS);
    CHECK_IS(told, 1);
    CHECK(status_of(event) < 0);
    CHECK(clWaitForEvents(1, &event) < 0);
    CHECK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, 4, &value, 0, NULL, NULL) < 0);
    CHECK(clFinish(f.in_order) < 0); /* another context of the same session */
    CHECK(becomes(&calls.count, 1));
    CHECK(calls.statuses[0] < 0);
    cl_bool available = CL_FALSE; /* programs look before they start anew */
    CHECK_OK(clGetDeviceInfo(devices[0], CL_DEVICE_AVAILABLE, sizeof available, &available, NULL));
    CHECK_IS(available, CL_TRUE);
    struct fixture again;
    NEED(set_up(&again));
    CHECK_OK(enqueue_add(&again, again.in_order, 0, NULL, NULL));
    CHECK_IS(read_first(&again, again.in_order), 1);
    tear_down(&again);
    (void)clSetUserEventStatus(user, CL_COMPLETE);
    CHECK_OK(clReleaseEvent(user));
    CHECK_OK(clReleaseEvent(held));
    CHECK_OK(clReleaseEvent(event));
    CHECK_OK(clReleaseMemObject(buffer));
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseProgram(program));
    CHECK_OK(clReleaseCommandQueue(queue));
    CHECK_OK(clReleaseContext(context));
    tear_down(&f);
}

int main(int argc, char **argv)
{
    static const struct check_group groups[] = {{"lost", test_lost}};
    return fixture_main(argc, argv, groups, COUNT(groups));
}
