/* scenario/cl_recorded.c - cl_khr_command_buffer 0.9.0 on any platform that has it: every command, order by queue and
 * by sync points, state, substituted queues, errors. What the specification of that version leaves open, and where a
 * driver is known to differ, is checked on Penstock alone. */
#include "program_check.h"

#include <CL/cl_ext.h>

#define COUNT 256u

#define FUNCTIONS(X)                                                                                                   \
    X(clCreateCommandBufferKHR)                                                                                        \
    X(clFinalizeCommandBufferKHR)                                                                                      \
    X(clRetainCommandBufferKHR)                                                                                        \
    X(clReleaseCommandBufferKHR)                                                                                       \
    X(clEnqueueCommandBufferKHR)                                                                                       \
    X(clGetCommandBufferInfoKHR)                                                                                       \
    X(clCommandBarrierWithWaitListKHR)                                                                                 \
    X(clCommandCopyBufferKHR)                                                                                          \
    X(clCommandCopyBufferRectKHR)                                                                                      \
    X(clCommandCopyBufferToImageKHR)                                                                                   \
    X(clCommandCopyImageKHR)                                                                                           \
    X(clCommandCopyImageToBufferKHR)                                                                                   \
    X(clCommandFillBufferKHR)                                                                                          \
    X(clCommandFillImageKHR)                                                                                           \
    X(clCommandNDRangeKernelKHR)
#define X(name) static name##_fn p_##name;
FUNCTIONS(X)
#undef X

static cl_program program;

static void find_functions(struct cl_setup *s)
{
#define X(name)                                                                                                        \
    p_##name = (name##_fn)clGetExtensionFunctionAddressForPlatform(s->platform, #name);                                \
    CHECK(p_##name, "%s", #name);
    FUNCTIONS(X)
#undef X
    if (cl_check_failures)
        exit(1);
}

static bool has_extension(cl_device_id device)
{
    char text[8192] = "";
    clGetDeviceInfo(device, CL_DEVICE_EXTENSIONS, sizeof text, text, NULL);
    return strstr(text, "cl_khr_command_buffer") != NULL;
}

static cl_command_queue new_queue(struct cl_setup *s, cl_command_queue_properties properties)
{
    cl_int status;
    cl_command_queue queue = clCreateCommandQueue(s->context, s->devices[0], properties, &status);
    CHECK_OK(status);
    return queue;
}

static cl_command_buffer_khr new_buffer(cl_command_queue queue, bool simultaneous)
{
    const cl_command_buffer_properties_khr list[] = {CL_COMMAND_BUFFER_FLAGS_KHR,
                                                     CL_COMMAND_BUFFER_SIMULTANEOUS_USE_KHR, 0};
    cl_int status;
    cl_command_buffer_khr buffer = p_clCreateCommandBufferKHR(1, &queue, simultaneous ? list : NULL, &status);
    CHECK_OK(status);
    return buffer;
}

static cl_mem new_memory(struct cl_setup *s, size_t size)
{
    cl_int status;
    cl_mem memory = clCreateBuffer(s->context, CL_MEM_READ_WRITE, size, NULL, &status);
    CHECK_OK(status);
    return memory;
}

/* kernel void add(global int *v, int n) { v[get_global_id(0)] += n; } */
static cl_kernel new_kernel(cl_mem memory, cl_int n)
{
    cl_int status;
    cl_kernel kernel = clCreateKernel(program, "add", &status);
    CHECK_OK(status);
    CHECK_OK(clSetKernelArg(kernel, 0, sizeof memory, &memory));
    CHECK_OK(clSetKernelArg(kernel, 1, sizeof n, &n));
    return kernel;
}

static cl_uint state_of(cl_command_buffer_khr buffer)
{
    cl_command_buffer_state_khr state = 99;
    CHECK_OK(p_clGetCommandBufferInfoKHR(buffer, CL_COMMAND_BUFFER_STATE_KHR, sizeof state, &state, NULL));
    return state;
}

static void check_all(cl_command_queue queue, cl_mem memory, cl_int expected)
{
    cl_int values[COUNT];
    CHECK_OK(clEnqueueReadBuffer(queue, memory, CL_TRUE, 0, sizeof values, values, 0, NULL, NULL));
    for (cl_uint i = 0; i < COUNT; i++)
        if (values[i] != expected) {
            CHECK(false, "[%u] is %d, not %d", i, values[i], expected);
            return;
        }
    CHECK(true, "as expected");
}

/* ---- in order ------------------------------------------------------------------------------------------- */

static void check_commands(struct cl_setup *s)
{
    const size_t count = COUNT, bytes = COUNT * sizeof(cl_int);
    const size_t right[3] = {bytes / 2, 0, 0}, half[3] = {bytes / 2, 1, 1};
    const cl_int three = 3, other = 1000;
    cl_mem first = new_memory(s, bytes), second = new_memory(s, bytes);
    cl_kernel kernel = new_kernel(first, 4);
    cl_command_buffer_khr buffer = new_buffer(s->queue, false);
    cl_sync_point_khr point = 0;
    CHECK_OK(p_clCommandFillBufferKHR(buffer, NULL, first, &three, sizeof three, 0, bytes, 0, NULL, &point, NULL));
    CHECK_OK(p_clCommandBarrierWithWaitListKHR(buffer, NULL, 1, &point, NULL, NULL));
    CHECK_OK(p_clCommandNDRangeKernelKHR(buffer, NULL, NULL, kernel, 1, NULL, &count, NULL, 0, NULL, NULL, NULL));
    CHECK_OK(p_clCommandCopyBufferKHR(buffer, NULL, first, second, 0, 0, bytes / 2, 0, NULL, NULL, NULL));
    CHECK_OK(
        p_clCommandCopyBufferRectKHR(buffer, NULL, first, second, right, right, half, 0, 0, 0, 0, 0, NULL, NULL, NULL));
    CHECK(state_of(buffer) == CL_COMMAND_BUFFER_STATE_RECORDING_KHR, "%u", state_of(buffer));
    CHECK_OK(p_clFinalizeCommandBufferKHR(buffer));
    CHECK(state_of(buffer) == CL_COMMAND_BUFFER_STATE_EXECUTABLE_KHR, "%u", state_of(buffer));
    if (s->penstock) /* what the kernel is given now is not the command's any more; PoCL 3.1's is */
        CHECK_OK(clSetKernelArg(kernel, 1, sizeof other, &other));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(clEnqueueFillBuffer(s->queue, second, &other, sizeof other, 0, bytes, 0, NULL, NULL));
        CHECK_OK(p_clEnqueueCommandBufferKHR(0, NULL, buffer, 0, NULL, NULL));
        check_all(s->queue, second, 7);
        CHECK_OK(clFinish(s->queue));
    }
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseMemObject(first));
    if (s->penstock) { /* the command buffer holds what it uses */
        CHECK_OK(p_clEnqueueCommandBufferKHR(0, NULL, buffer, 0, NULL, NULL));
        check_all(s->queue, second, 7);
    }
    CHECK_OK(p_clReleaseCommandBufferKHR(buffer));
    CHECK_OK(clReleaseMemObject(second));
}

static void check_images(struct cl_setup *s)
{
    const cl_image_format format = {CL_RGBA, CL_UNSIGNED_INT8};
    const cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 16, .image_height = COUNT / 16};
    const size_t origin[3] = {0}, all[3] = {16, COUNT / 16, 1}, bytes = COUNT * sizeof(cl_int);
    const cl_uint color[4] = {1, 2, 3, 4};
    const cl_int packed = 0x04030201;
    cl_int status;
    if (!s->penstock) /* PoCL 3.1 records them, and stumbles over them when enqueued */
        return;
    cl_mem from = clCreateImage(s->context, CL_MEM_READ_WRITE, &format, &desc, NULL, &status);
    CHECK_OK(status);
    cl_mem to = clCreateImage(s->context, CL_MEM_READ_WRITE, &format, &desc, NULL, &status);
    CHECK_OK(status);
    cl_mem result = new_memory(s, bytes), back = new_memory(s, bytes);
    cl_command_buffer_khr buffer = new_buffer(s->queue, false);
    CHECK_OK(p_clCommandFillImageKHR(buffer, NULL, from, color, origin, all, 0, NULL, NULL, NULL));
    CHECK_OK(p_clCommandCopyImageKHR(buffer, NULL, from, to, origin, origin, all, 0, NULL, NULL, NULL));
    CHECK_OK(p_clCommandCopyImageToBufferKHR(buffer, NULL, to, result, origin, all, 0, 0, NULL, NULL, NULL));
    CHECK_OK(p_clCommandCopyBufferToImageKHR(buffer, NULL, result, from, 0, origin, all, 0, NULL, NULL, NULL));
    CHECK_OK(p_clCommandCopyImageToBufferKHR(buffer, NULL, from, back, origin, all, 0, 0, NULL, NULL, NULL));
    CHECK_OK(p_clFinalizeCommandBufferKHR(buffer));
    CHECK_OK(p_clEnqueueCommandBufferKHR(0, NULL, buffer, 0, NULL, NULL));
    check_all(s->queue, result, packed);
    check_all(s->queue, back, packed);
    CHECK_OK(p_clReleaseCommandBufferKHR(buffer));
    CHECK_OK(clReleaseMemObject(from));
    CHECK_OK(clReleaseMemObject(to));
    CHECK_OK(clReleaseMemObject(result));
    CHECK_OK(clReleaseMemObject(back));
}

/* ---- by sync points ------------------------------------------------------------------------------------- */

/* (fill a; fill b) -> add to a -> barrier -> copy a to b. */
static void check_sync_points(struct cl_setup *s)
{
    const size_t count = COUNT, bytes = COUNT * sizeof(cl_int);
    const cl_int one = 1, two = 2;
    cl_int status;
    cl_command_queue queue = new_queue(s, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    cl_mem a = new_memory(s, bytes), b = new_memory(s, bytes);
    cl_kernel kernel = new_kernel(a, 10);
    cl_command_buffer_khr buffer = new_buffer(queue, false);
    cl_sync_point_khr points[2];
    CHECK_OK(p_clCommandFillBufferKHR(buffer, NULL, a, &one, sizeof one, 0, bytes, 0, NULL, &points[0], NULL));
    CHECK_OK(p_clCommandFillBufferKHR(buffer, NULL, b, &two, sizeof two, 0, bytes, 0, NULL, NULL, NULL));
    CHECK_OK(
        p_clCommandNDRangeKernelKHR(buffer, NULL, NULL, kernel, 1, NULL, &count, NULL, 1, points, &points[1], NULL));
    CHECK_OK(p_clCommandBarrierWithWaitListKHR(buffer, NULL, 0, NULL, NULL, NULL));
    CHECK_OK(p_clCommandCopyBufferKHR(buffer, NULL, a, b, 0, 0, bytes, 1, &points[1], NULL, NULL));
    CHECK_OK(p_clFinalizeCommandBufferKHR(buffer));
    for (int i = 0; i < 20; i++) {
        cl_event user = clCreateUserEvent(s->context, &status), done = NULL;
        CHECK_OK(status);
        CHECK_OK(p_clEnqueueCommandBufferKHR(0, NULL, buffer, 1, &user, &done));
        CHECK(state_of(buffer) == CL_COMMAND_BUFFER_STATE_PENDING_KHR, "%u", state_of(buffer));
        CHECK_STATUS(p_clEnqueueCommandBufferKHR(0, NULL, buffer, 0, NULL, NULL), CL_INVALID_OPERATION);
        cl_command_type type = 0;
        CHECK_OK(clGetEventInfo(done, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
        CHECK(type == CL_COMMAND_COMMAND_BUFFER_KHR, "%x", type);
        CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
        CHECK_OK(clWaitForEvents(1, &done));
        check_all(queue, b, 11);
        CHECK_OK(clReleaseEvent(user));
        CHECK_OK(clReleaseEvent(done));
        CHECK_OK(clFinish(queue));
        if (s->penstock)
            CHECK(state_of(buffer) == CL_COMMAND_BUFFER_STATE_EXECUTABLE_KHR, "%u", state_of(buffer));
    }
    CHECK_OK(p_clReleaseCommandBufferKHR(buffer));
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseMemObject(a));
    CHECK_OK(clReleaseMemObject(b));
    CHECK_OK(clReleaseCommandQueue(queue));
}

/* ---- other queues, twice at once, times ------------------------------------------------------------------- */

static void check_queues(struct cl_setup *s)
{
    const size_t count = COUNT, bytes = COUNT * sizeof(cl_int);
    const cl_int zero = 0;
    cl_command_queue recorded = new_queue(s, CL_QUEUE_PROFILING_ENABLE),
                     other = new_queue(s, CL_QUEUE_PROFILING_ENABLE);
    cl_command_queue unlike = new_queue(s, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    cl_mem memory = new_memory(s, bytes);
    cl_kernel kernel = new_kernel(memory, 5);
    cl_command_buffer_khr buffer = new_buffer(recorded, true);
    CHECK_OK(p_clCommandNDRangeKernelKHR(buffer, NULL, NULL, kernel, 1, NULL, &count, NULL, 0, NULL, NULL, NULL));
    CHECK_OK(p_clFinalizeCommandBufferKHR(buffer));
    CHECK_OK(clEnqueueFillBuffer(other, memory, &zero, sizeof zero, 0, bytes, 0, NULL, NULL));
    cl_event last = NULL;
    for (int i = 0; i < 10; i++)
        CHECK_OK(p_clEnqueueCommandBufferKHR(1, &other, buffer, 0, NULL, i == 9 ? &last : NULL));
    check_all(other, memory, 50);
    CHECK_STATUS(p_clEnqueueCommandBufferKHR(1, &unlike, buffer, 0, NULL, NULL), CL_INCOMPATIBLE_COMMAND_QUEUE_KHR);
    cl_ulong queued = 0, start = 0, end = 0;
    CHECK_OK(clWaitForEvents(1, &last));
    CHECK_OK(clGetEventProfilingInfo(last, CL_PROFILING_COMMAND_QUEUED, sizeof queued, &queued, NULL));
    CHECK_OK(clGetEventProfilingInfo(last, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL));
    CHECK_OK(clGetEventProfilingInfo(last, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL));
    CHECK(start && start < end, "from %llu to %llu", (unsigned long long)start, (unsigned long long)end);
    CHECK_OK(clReleaseEvent(last));
    CHECK_OK(p_clReleaseCommandBufferKHR(buffer));
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseMemObject(memory));
    CHECK_OK(clReleaseCommandQueue(recorded));
    CHECK_OK(clReleaseCommandQueue(other));
    CHECK_OK(clReleaseCommandQueue(unlike));
}

/* ---- queries, errors -------------------------------------------------------------------------------------- */

static void check_info(struct cl_setup *s)
{
    cl_command_buffer_khr buffer = new_buffer(s->queue, true);
    cl_command_queue queue = NULL;
    cl_uint count = 0;
    cl_command_buffer_properties_khr list[4] = {0};
    size_t size = 0;
    cl_device_command_buffer_capabilities_khr abilities = 0;
    if (s->penstock) { /* PoCL 3.1 answers with its own pointers */
        CHECK_OK(p_clGetCommandBufferInfoKHR(buffer, CL_COMMAND_BUFFER_QUEUES_KHR, sizeof queue, &queue, NULL));
        CHECK(queue == s->queue, "another queue");
        CHECK_OK(p_clGetCommandBufferInfoKHR(buffer, CL_COMMAND_BUFFER_PROPERTIES_ARRAY_KHR, sizeof list, list, &size));
        CHECK(size == 3 * sizeof list[0] && list[0] == CL_COMMAND_BUFFER_FLAGS_KHR, "%zu", size);
    }
    CHECK_OK(p_clGetCommandBufferInfoKHR(buffer, CL_COMMAND_BUFFER_NUM_QUEUES_KHR, sizeof count, &count, NULL));
    CHECK(count == 1, "%u", count);
    CHECK_OK(p_clRetainCommandBufferKHR(buffer));
    CHECK_OK(p_clGetCommandBufferInfoKHR(buffer, CL_COMMAND_BUFFER_REFERENCE_COUNT_KHR, sizeof count, &count, NULL));
    CHECK(count == 2, "%u", count);
    CHECK_OK(p_clReleaseCommandBufferKHR(buffer));
    CHECK_STATUS(p_clGetCommandBufferInfoKHR(buffer, 0x9999, sizeof count, &count, NULL), CL_INVALID_VALUE);
    CHECK_OK(p_clReleaseCommandBufferKHR(buffer));
    CHECK_OK(
        clGetDeviceInfo(s->devices[0], CL_DEVICE_COMMAND_BUFFER_CAPABILITIES_KHR, sizeof abilities, &abilities, NULL));
    CHECK(abilities & CL_COMMAND_BUFFER_CAPABILITY_SIMULTANEOUS_USE_KHR, "%llx", (unsigned long long)abilities);
    if (!s->penstock)
        return;
    char versions[64 * sizeof(cl_name_version)];
    CHECK_OK(clGetDeviceInfo(s->devices[0], CL_DEVICE_EXTENSIONS_WITH_VERSION, sizeof versions, versions, &size));
    const cl_name_version *entries = (const cl_name_version *)versions;
    for (size_t i = 0; i < size / sizeof *entries; i++)
        if (!strcmp(entries[i].name, "cl_khr_command_buffer"))
            CHECK(entries[i].version == CL_MAKE_VERSION(0, 9, 0), "%x", entries[i].version);
}

static void check_errors(struct cl_setup *s)
{
    const cl_command_buffer_properties_khr unknown[] = {0x7777, 1, 0};
    const size_t one = 1;
    const cl_int zero = 0;
    const cl_sync_point_khr missing = 3;
    cl_mutable_command_khr handle;
    cl_command_queue none = NULL;
    cl_int status;
    cl_event event = NULL;
    if (!s->penstock)
        return;
    CHECK(!p_clCreateCommandBufferKHR(0, NULL, NULL, &status) && status == CL_INVALID_VALUE, "%d", status);
    CHECK(!p_clCreateCommandBufferKHR(1, &none, NULL, &status) && status == CL_INVALID_COMMAND_QUEUE, "%d", status);
    CHECK(!p_clCreateCommandBufferKHR(1, &s->queue, unknown, &status) && status == CL_INVALID_VALUE, "%d", status);
    CHECK_STATUS(p_clFinalizeCommandBufferKHR(NULL), CL_INVALID_COMMAND_BUFFER_KHR);
    CHECK_STATUS(p_clReleaseCommandBufferKHR(NULL), CL_INVALID_COMMAND_BUFFER_KHR);
    CHECK_STATUS(p_clEnqueueCommandBufferKHR(0, NULL, NULL, 0, NULL, NULL), CL_INVALID_COMMAND_BUFFER_KHR);
    cl_mem memory = new_memory(s, 64);
    cl_kernel kernel = new_kernel(memory, 1);
    cl_command_buffer_khr buffer = new_buffer(s->queue, false);
#define FILL(queue_, memory_, waits_, list_, handle_)                                                                  \
    p_clCommandFillBufferKHR(buffer, queue_, memory_, &zero, 4, 0, 64, waits_, list_, NULL, handle_)
    CHECK_STATUS(FILL(s->queue, memory, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    CHECK_STATUS(FILL(NULL, NULL, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
    CHECK_STATUS(FILL(NULL, memory, 0, NULL, &handle), CL_INVALID_VALUE);
    CHECK_STATUS(FILL(NULL, memory, 1, NULL, NULL), CL_INVALID_SYNC_POINT_WAIT_LIST_KHR);
    CHECK_STATUS(FILL(NULL, memory, 1, &missing, NULL), CL_INVALID_SYNC_POINT_WAIT_LIST_KHR);
    CHECK_STATUS(p_clCommandNDRangeKernelKHR(buffer, NULL, NULL, NULL, 1, NULL, &one, NULL, 0, NULL, NULL, NULL),
                 CL_INVALID_KERNEL);
    CHECK_STATUS(p_clCommandNDRangeKernelKHR(buffer, NULL, NULL, kernel, 4, NULL, &one, NULL, 0, NULL, NULL, NULL),
                 CL_INVALID_WORK_DIMENSION);
    CHECK_STATUS(p_clCommandCopyBufferKHR(buffer, NULL, memory, memory, 0, 0, 64, 0, NULL, NULL, NULL),
                 CL_MEM_COPY_OVERLAP);
    CHECK_STATUS(p_clEnqueueCommandBufferKHR(0, NULL, buffer, 0, NULL, NULL), CL_INVALID_OPERATION);
    CHECK_OK(p_clFinalizeCommandBufferKHR(buffer));
    CHECK_STATUS(p_clFinalizeCommandBufferKHR(buffer), CL_INVALID_OPERATION);
    CHECK_STATUS(FILL(NULL, memory, 0, NULL, NULL), CL_INVALID_OPERATION);
    CHECK_STATUS(p_clEnqueueCommandBufferKHR(1, NULL, buffer, 0, NULL, NULL), CL_INVALID_VALUE);
    CHECK_STATUS(p_clEnqueueCommandBufferKHR(1, &none, buffer, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    CHECK_STATUS(p_clEnqueueCommandBufferKHR(0, NULL, buffer, 1, NULL, NULL), CL_INVALID_EVENT_WAIT_LIST);
    /* An empty one completes all the same. */
    CHECK_OK(p_clEnqueueCommandBufferKHR(0, NULL, buffer, 0, NULL, &event));
    CHECK_OK(clWaitForEvents(1, &event));
    CHECK_OK(clReleaseEvent(event));
    CHECK_OK(p_clReleaseCommandBufferKHR(buffer));
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(clReleaseMemObject(memory));
}

int main(int argc, char **argv)
{
    struct cl_setup setup = cl_check_begin(argc, argv);
    if (!has_extension(setup.devices[0])) {
        fprintf(stderr, "skipped: no command buffers\n");
        return 77;
    }
    find_functions(&setup);
    program = cl_check_program(setup.context, "kernel void add(global int *v, int n) { v[get_global_id(0)] += n; }");
    CHECK_OK(clBuildProgram(program, 0, NULL, "", NULL, NULL));
    check_commands(&setup);
    check_images(&setup);
    check_sync_points(&setup);
    check_queues(&setup);
    check_info(&setup);
    check_errors(&setup);
    CHECK_OK(clReleaseProgram(program));
    return cl_check_end(&setup);
}
