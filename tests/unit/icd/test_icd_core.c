/* The front end's objects, devices, contexts, queues and enqueues, on a session without a worker. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "icd/entry.h"
#include "icd/extension.h"
#include "stub_session.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static cl_device_id devices[3]; /* CPU, GPU; the custom one is the third */
static cl_context context;
static cl_command_queue in_order, unordered;

static int set_up(void **state)
{
    (void)state;
    cl_uint count = 0;
    cl_int error = 0;
    cl_platform_id platform = NULL;
    if (pen_clGetPlatformIDs(1, &platform, NULL) ||
        pen_clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL | CL_DEVICE_TYPE_CUSTOM, 3, devices, &count))
        return 1;
    pen_clGetDeviceIDs(platform, CL_DEVICE_TYPE_CUSTOM, 1, &devices[2], NULL);
    context = pen_clCreateContext(NULL, 2, devices, NULL, NULL, &error);
    in_order = pen_clCreateCommandQueue(context, devices[0], 0, &error);
    unordered = pen_clCreateCommandQueue(context, devices[0], CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &error);
    /* Not forgotten before the next test: the stub completes by what queue_create said. */
    stub.acquired = stub.released = stub.cancelled = 0;
    return !context || !in_order || !unordered;
}

static int tear_down(void **state)
{
    (void)state;
    int failed =
        pen_clReleaseCommandQueue(in_order) || pen_clReleaseCommandQueue(unordered) || pen_clReleaseContext(context);
    stub_reset();
    return failed;
}

/* Decodes the last command of a name. */
#define LAST(name_, opcode_, out_)                                                                                     \
    do {                                                                                                               \
        const struct stub_command *last_ = stub_last(opcode_);                                                         \
        assert_non_null(last_);                                                                                        \
        struct pen_scratch scratch_ = {0};                                                                             \
        assert_int_equal(pen_msg_##name_##_decode(last_->frame, last_->size, &scratch_, (out_)), 0);                   \
        pen_scratch_finish(&scratch_); /* what is used here points into the frame */                                   \
    } while (0)

/* ---- the first session ---- */

static void *creating_thread(void *out_context)
{
    cl_int error = 0;
    *(cl_context *)out_context = pen_clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    return NULL;
}

/* A fork does not wait for a session that is being opened, and neither does the child, which opens its own. */
static void test_fork_while_opening(void **state)
{
    (void)state;
    pthread_t thread;
    cl_context opened = NULL;
    cl_platform_id platform = NULL;
    int status = -1;
    assert_int_equal(pen_clGetPlatformIDs(1, &platform, NULL), CL_SUCCESS);
    assert_int_equal(pen_clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, devices, NULL), CL_SUCCESS);
    stub.open_slowly = true;
    assert_int_equal(pthread_create(&thread, NULL, creating_thread, &opened), 0);
    while (!stub.opening)
        usleep(1000);
    alarm(30);
    pid_t child = fork();
    if (!child) {
        cl_context own = NULL;
        alarm(5);
        stub.open_slowly = false;
        creating_thread(&own);
        _exit(own ? 0 : 1);
    }
    alarm(0);
    assert_int_equal(waitpid(child, &status, 0), child);
    stub.open_slowly = false;
    pthread_join(thread, NULL);
    assert_int_equal(status, 0);
    assert_non_null(opened);
    assert_int_equal(pen_clReleaseContext(opened), CL_SUCCESS);
}

/* ---- objects ---- */

static void test_references(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_context own = pen_clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    assert_int_equal(pen_retain(own, PEN_MAGIC_QUEUE, -99), -99);
    assert_int_equal(pen_release(NULL, PEN_MAGIC_CONTEXT, -99), -99);
    cl_command_queue queue = pen_clCreateCommandQueue(own, devices[0], 0, &error);
    assert_int_equal(pen_clReleaseContext(own), CL_SUCCESS);
    /* Alive for the queue's sake: not to be released again, but to be had again. */
    assert_int_equal(pen_clReleaseContext(own), CL_INVALID_CONTEXT);
    assert_int_equal(pen_clRetainContext(own), CL_SUCCESS);
    assert_int_equal(pen_clReleaseCommandQueue(queue), CL_SUCCESS);
    assert_int_equal(own->object.refs, 1);
    assert_int_equal(own->object.internal, 1);
    assert_int_equal(pen_clReleaseContext(own), CL_SUCCESS);
}

static void test_info_sizes(void **state)
{
    (void)state;
    cl_uint value = 7, out = 0;
    size_t size = 0;
    assert_int_equal(pen_info(&value, 4, 3, &out, &size), CL_INVALID_VALUE);
    assert_int_equal(size, 0);
    assert_int_equal(pen_info(&value, 4, 0, NULL, &size), CL_SUCCESS);
    assert_int_equal(size, 4);
    assert_int_equal(pen_info(&value, 4, 9, &out, NULL), CL_SUCCESS);
    assert_int_equal(out, 7);
    char text[3] = "";
    assert_int_equal(pen_info_string("abc", 3, text, &size), CL_INVALID_VALUE);
    assert_int_equal(pen_info_string("ab", 3, text, &size), CL_SUCCESS);
    assert_int_equal(size, 3);
    assert_int_equal(pen_info(NULL, 0, 3, text, &size), CL_SUCCESS);
    assert_int_equal(size, 0);
}

static void test_every_error_has_a_status(void **state)
{
    (void)state;
    assert_int_equal(pen_status(0), CL_SUCCESS);
#define X(name, number, text)                                                                                          \
    assert_true(pen_status(-PEN_##name) < 0);                                                                          \
    assert_int_equal(pen_status(-PEN_##name), pen_status(PEN_##name));
    PEN_ERRORS(X)
#undef X
    assert_int_equal(pen_status(-PEN_EGONE), CL_DEVICE_NOT_AVAILABLE);
    assert_int_equal(pen_status(-12345), CL_OUT_OF_RESOURCES);
    assert_int_equal(pen_status(-19), CL_OUT_OF_RESOURCES); /* a hole in the table */
    assert_int_equal(pen_status(INT32_MIN), CL_OUT_OF_RESOURCES);
}

/* What no device offers is refused as the specification says it of devices and contexts without. */
static void test_absent(void **state)
{
    (void)state;
    cl_int error = 0;
    size_t word = 0;
    const void *pointer = &word;
    const cl_kernel_exec_info pointers = CL_KERNEL_EXEC_INFO_SVM_PTRS;
    assert_null(pen_clSVMAlloc(context, CL_MEM_READ_WRITE, 64, 0));
    assert_int_equal(pen_clEnqueueSVMFree(in_order, 0, NULL, NULL, NULL, 0, NULL, NULL), CL_INVALID_OPERATION);
    assert_int_equal(pen_clEnqueueSVMMemcpy(in_order, CL_TRUE, &word, &word + 1, 8, 0, NULL, NULL),
                     CL_INVALID_OPERATION);
    assert_int_equal(pen_clEnqueueSVMMemFill(in_order, &word, &word, 8, 8, 0, NULL, NULL), CL_INVALID_OPERATION);
    assert_int_equal(pen_clEnqueueSVMUnmap(in_order, &word, 0, NULL, NULL), CL_INVALID_OPERATION);
    assert_int_equal(pen_clEnqueueSVMMigrateMem(in_order, 1, &pointer, NULL, 0, 0, NULL, NULL), CL_INVALID_OPERATION);
    assert_int_equal(pen_clEnqueueSVMUnmap(NULL, &word, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    assert_int_equal(pen_clSetKernelArgSVMPointer(NULL, 0, &word), CL_INVALID_KERNEL);
    assert_int_equal(pen_clSetKernelExecInfo(NULL, pointers, sizeof pointer, &pointer), CL_INVALID_KERNEL);
    assert_null(pen_clCreatePipe(context, 0, 4, 4, NULL, &error));
    assert_int_equal(error, CL_INVALID_OPERATION);
    assert_null(pen_clCreatePipe(NULL, 0, 4, 4, NULL, &error));
    assert_int_equal(error, CL_INVALID_CONTEXT);
    assert_int_equal(pen_clGetPipeInfo(NULL, CL_PIPE_PACKET_SIZE, sizeof word, &word, NULL), CL_INVALID_MEM_OBJECT);
    assert_int_equal(pen_clEnqueueNativeKernel(in_order, NULL, NULL, 0, 0, NULL, NULL, 0, NULL, NULL),
                     CL_INVALID_OPERATION);
    assert_int_equal(pen_clSetDefaultDeviceCommandQueue(context, devices[0], in_order), CL_INVALID_OPERATION);
    assert_null(pen_clCreateFromGLBuffer(context, 0, 1, &error));
    assert_int_equal(error, CL_INVALID_CONTEXT);
    assert_null(pen_clCreateEventFromGLsyncKHR(context, NULL, &error));
    assert_int_equal(error, CL_INVALID_CONTEXT);
    assert_null(pen_clCreateEventFromEGLSyncKHR(context, NULL, NULL, &error));
    assert_int_equal(error, CL_INVALID_CONTEXT);
    assert_null(pen_clCreateFromEGLImageKHR(context, NULL, NULL, 0, NULL, &error));
    assert_int_equal(error, CL_INVALID_OPERATION);
}

static void test_dispatch(void **state)
{
    (void)state;
    cl_platform_id platform = pen_platform();
    assert_non_null(pen_dispatch.clSetContextDestructorCallback);
    assert_ptr_equal(pen_clGetExtensionFunctionAddress("clIcdGetPlatformIDsKHR"), (void *)pen_clGetPlatformIDs);
    assert_ptr_equal(pen_clGetExtensionFunctionAddressForPlatform(platform, "clFinish"), (void *)pen_clFinish);
    assert_null(pen_clGetExtensionFunctionAddressForPlatform(NULL, "clFinish"));
    assert_null(pen_clGetExtensionFunctionAddress("clFinis"));
    assert_null(pen_clGetExtensionFunctionAddress(NULL));
}

/* ---- devices ---- */

static void test_no_platform(void **state)
{
    (void)state;
    static const char *const variables[] = {"PENSTOCK_WORKER", "STUB_NO_DAEMON", "STUB_NO_DEVICE"};
    for (size_t i = 0; i < COUNT(variables); i++) {
        pid_t child = fork();
        if (!child) { /* the first call of its process */
            cl_uint count = 9;
            cl_platform_id platform;
            setenv(variables[i], "1", 1);
            cl_int status = pen_clGetPlatformIDs(1, &platform, &count);
            cl_int again = pen_clGetPlatformIDs(1, &platform, NULL);
            cl_int of_null = pen_clGetDeviceIDs(NULL, CL_DEVICE_TYPE_ALL, 0, NULL, &count);
            _exit(status == CL_PLATFORM_NOT_FOUND_KHR && again == status && !count && of_null == CL_INVALID_PLATFORM
                      ? 0
                      : 1);
        }
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

/* What the first calls of a process say on standard error, and how often the daemon is asked. */
static int first_calls(const char *failure, const char *verbose, char *out_said, size_t size, bool *out_later)
{
    int ends[2], status = -1;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (!child) {
        cl_platform_id platform;
        dup2(ends[1], STDERR_FILENO);
        setenv("STUB_POOL_ERROR", failure, 1);
        if (verbose)
            setenv("PENSTOCK_VERBOSE", verbose, 1);
        int found = pen_clGetPlatformIDs(1, &platform, NULL) == CL_SUCCESS;
        unsetenv("STUB_POOL_ERROR");
        bool later = pen_clGetPlatformIDs(1, &platform, NULL) == CL_SUCCESS;
        _exit(found ? 100 : stub.pool_queries * 2 + later);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], out_said, size - 1);
    out_said[got < 0 ? 0 : got] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 100);
    *out_later = WEXITSTATUS(status) & 1;
    return WEXITSTATUS(status) / 2;
}

/* No daemon is an answer. Anything else may be over at the next call, and is said where it is asked for. */
static void test_late_platform(void **state)
{
    (void)state;
    static const int reasons[] = {PEN_ETIMEOUT, PEN_EVERSION, PEN_EBUSY, PEN_EPERM, PEN_EGONE, PEN_ENODEV};
    char said[200], number[12];
    bool later;
    for (size_t i = 0; i < COUNT(reasons); i++) {
        snprintf(number, sizeof number, "%d", reasons[i]);
        assert_int_equal(first_calls(number, NULL, said, sizeof said, &later), 2);
        assert_true(later);
        assert_string_equal(said, "");
        assert_int_equal(first_calls(number, "1", said, sizeof said, &later), 2);
        assert_true(later);
        assert_string_equal(said, "penstock: no platform: the stub's daemon has its reasons\n");
    }
    snprintf(number, sizeof number, "%d", PEN_ENOENT);
    assert_int_equal(first_calls(number, "0", said, sizeof said, &later), 1);
    assert_false(later);
    assert_string_equal(said, "");
    assert_int_equal(first_calls(number, "1", said, sizeof said, &later), 1);
    assert_non_null(strstr(said, "reasons"));
}

static void test_extensions(void **state)
{
    (void)state;
    char text[256];
    cl_name_version list[8];
    size_t size = 0;
    assert_int_equal(pen_clGetDeviceInfo(devices[0], CL_DEVICE_EXTENSIONS, sizeof text, text, NULL), CL_SUCCESS);
    assert_string_equal(text, "cl_khr_fp64 cl_khr_il_program");
    assert_int_equal(pen_clGetDeviceInfo(devices[0], CL_DEVICE_EXTENSIONS_WITH_VERSION, sizeof list, list, &size),
                     CL_SUCCESS);
    assert_int_equal(size, 2 * sizeof list[0]);
    assert_string_equal(list[0].name, "cl_khr_fp64");
    assert_int_equal(list[0].version, CL_MAKE_VERSION(1, 0, 0));
    assert_int_equal(list[1].version, CL_MAKE_VERSION(2, 1, 0));
    /* The custom device has none: the platform has its own alone. */
    assert_int_equal(pen_clGetPlatformInfo(pen_platform(), CL_PLATFORM_EXTENSIONS, sizeof text, text, NULL),
                     CL_SUCCESS);
    assert_string_equal(text, "cl_khr_icd cl_khr_extended_versioning");

    struct pen_extensions a = {0}, b = {0}, both = {0};
    const struct pen_extensions *lists[] = {&a, &b};
    assert_int_equal(pen_extensions_filter("cl_khr_fp16 cl_khr_fp64 no", NULL, 0, &a), 0);
    assert_int_equal(pen_extensions_filter("cl_khr_fp64 cl_khr_extended_versioning", NULL, 0, &b), 0);
    assert_int_equal(pen_extensions_common(lists, 2, &both), 0);
    assert_string_equal(both.text, "cl_khr_icd cl_khr_extended_versioning cl_khr_fp64");
    assert_true(pen_extensions_have(&both, "cl_khr_fp64"));
    assert_false(pen_extensions_have(&both, "cl_khr_fp6"));
    pen_extensions_finish(&a);
    pen_extensions_finish(&b);
    pen_extensions_finish(&both);
}

static void test_device_answers(void **state)
{
    (void)state;
    cl_ulong number = 0;
    cl_uint word = 0;
    char bytes[512];
    size_t size = 0, most = 0;
#define ASK(device_, name_, out_) pen_clGetDeviceInfo((device_), (name_), sizeof(out_), &(out_), &size)
    /* The daemon's word bounds the driver's. */
    assert_int_equal(ASK(devices[0], CL_DEVICE_GLOBAL_MEM_SIZE, number), CL_SUCCESS);
    assert_int_equal(number, 1 << 20);
    assert_int_equal(ASK(devices[0], CL_DEVICE_MAX_MEM_ALLOC_SIZE, number), CL_SUCCESS);
    assert_int_equal(number, 1 << 20);
    assert_int_equal(ASK(devices[1], CL_DEVICE_GLOBAL_MEM_SIZE, number), CL_SUCCESS);
    assert_true(number == 8ull << 30);
    /* So does what a command holds. */
    assert_int_equal(ASK(devices[0], CL_DEVICE_MAX_PARAMETER_SIZE, most), CL_SUCCESS);
    assert_int_equal(most, PEN_LIMIT_ARGUMENT);
    assert_int_equal(ASK(devices[0], CL_DEVICE_SVM_CAPABILITIES, number), CL_SUCCESS);
    assert_int_equal(number, 0);
    assert_int_equal(ASK(devices[0], CL_DEVICE_VENDOR_ID, word), CL_SUCCESS);
    assert_int_equal(word, 77);
    assert_int_equal(ASK(devices[1], CL_DEVICE_VENDOR_ID, word), CL_INVALID_VALUE);
    assert_int_equal(ASK(devices[1], CL_DEVICE_OPENCL_C_FEATURES, bytes), CL_INVALID_VALUE);
    assert_int_equal(ASK(devices[0], CL_DEVICE_OPENCL_C_FEATURES, bytes), CL_SUCCESS);
    assert_int_equal(size, sizeof(cl_name_version)); /* pipes and device_enqueue are left out */
    assert_int_equal(ASK(devices[0], PEN_KEY_FORMATS, bytes), CL_INVALID_VALUE);
    assert_non_null(pen_device_property(devices[0], PEN_KEY_FORMATS));
    assert_int_equal(ASK(devices[0], CL_DEVICE_PARTITION_PROPERTIES, bytes), CL_SUCCESS);
    assert_int_equal(size, 2 * sizeof(cl_device_partition_property)); /* no affinity domains */
    assert_int_equal(ASK(devices[1], CL_DEVICE_PARTITION_PROPERTIES, bytes), CL_SUCCESS);
    assert_int_equal(size, sizeof(cl_device_partition_property));
    assert_int_equal(ASK(devices[0], 0x1100, bytes), CL_INVALID_VALUE);
    assert_int_equal(ASK(devices[0], 0, bytes), CL_INVALID_VALUE);
    assert_int_equal(ASK(devices[0], 0xffffffff, bytes), CL_INVALID_VALUE);
#undef ASK
}

static void test_device_types(void **state)
{
    (void)state;
    static const struct {
        cl_device_type type;
        cl_int status;
        cl_uint count;
        int first;
    } cases[] = {
        {CL_DEVICE_TYPE_ALL, CL_SUCCESS, 2, 0},    {CL_DEVICE_TYPE_DEFAULT, CL_SUCCESS, 1, 0},
        {CL_DEVICE_TYPE_GPU, CL_SUCCESS, 1, 1},    {CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_DEFAULT, CL_SUCCESS, 2, 0},
        {CL_DEVICE_TYPE_CUSTOM, CL_SUCCESS, 1, 2}, {CL_DEVICE_TYPE_ACCELERATOR, CL_DEVICE_NOT_FOUND, 0, 0},
        {0, CL_INVALID_DEVICE_TYPE, 9, 0},         {CL_DEVICE_TYPE_GPU | 1 << 10, CL_INVALID_DEVICE_TYPE, 9, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cl_device_id found[4] = {NULL};
        cl_uint count = 9;
        assert_int_equal(pen_clGetDeviceIDs(pen_platform(), cases[i].type, 4, found, &count), cases[i].status);
        assert_int_equal(count, cases[i].count);
        if (!cases[i].status)
            assert_ptr_equal(found[0], devices[cases[i].first]);
    }
    cl_device_type type = 0;
    assert_int_equal(pen_clGetDeviceInfo(devices[0], CL_DEVICE_TYPE, sizeof type, &type, NULL), CL_SUCCESS);
    assert_int_equal(type, CL_DEVICE_TYPE_CPU);
    assert_int_equal(pen_clGetDeviceInfo(devices[2], CL_DEVICE_TYPE, sizeof type, &type, NULL), CL_SUCCESS);
    assert_int_equal(type, CL_DEVICE_TYPE_CUSTOM); /* by the daemon's class */
}

static void test_partition(void **state)
{
    (void)state;
    static const struct {
        cl_device_partition_property list[8];
        cl_int status;
        cl_uint count;
    } cases[] = {
        {{CL_DEVICE_PARTITION_EQUALLY, 1, 0}, CL_SUCCESS, 4},
        {{CL_DEVICE_PARTITION_EQUALLY, 3, 0}, CL_SUCCESS, 1},
        {{CL_DEVICE_PARTITION_EQUALLY, 5, 0}, CL_INVALID_VALUE, 0},
        {{CL_DEVICE_PARTITION_EQUALLY, 0, 0}, CL_INVALID_VALUE, 0},
        {{CL_DEVICE_PARTITION_EQUALLY, 1, 7}, CL_INVALID_VALUE, 0},
        {{CL_DEVICE_PARTITION_BY_COUNTS, 3, 1, 0, 0}, CL_SUCCESS, 2},
        {{CL_DEVICE_PARTITION_BY_COUNTS, 3, 2, 0, 0}, CL_INVALID_DEVICE_PARTITION_COUNT, 0},
        {{CL_DEVICE_PARTITION_BY_COUNTS, -1, 0, 0}, CL_INVALID_DEVICE_PARTITION_COUNT, 0},
        {{CL_DEVICE_PARTITION_BY_COUNTS, 0, 0}, CL_INVALID_VALUE, 0},
        {{CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN, CL_DEVICE_AFFINITY_DOMAIN_NUMA, 0}, CL_INVALID_VALUE, 0},
        {{0}, CL_INVALID_VALUE, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cl_uint count = 0;
        assert_int_equal(pen_clCreateSubDevices(devices[0], cases[i].list, 0, NULL, &count), cases[i].status);
        assert_int_equal(count, cases[i].count);
    }
    assert_int_equal(stub_count(PEN_OP_DEVICE_PARTITION), 0);
    assert_int_equal(pen_clCreateSubDevices(devices[1], cases[0].list, 0, NULL, NULL), CL_INVALID_VALUE);
    assert_int_equal(pen_clCreateSubDevices(devices[0], NULL, 0, NULL, NULL), CL_INVALID_VALUE);

    cl_device_id parts[2] = {NULL};
    assert_int_equal(pen_clCreateSubDevices(devices[0], cases[5].list, 1, parts, NULL), CL_INVALID_VALUE);
    assert_int_equal(pen_clCreateSubDevices(devices[0], cases[5].list, 2, parts, NULL), CL_SUCCESS);
    struct pen_msg_device_partition sent;
    LAST(device_partition, PEN_OP_DEVICE_PARTITION, &sent);
    assert_int_equal(sent.parent, 1);
    assert_int_equal(sent.parts_count, 2);
    assert_int_equal(sent.parts[1], parts[1]->id);
    assert_int_equal(sent.part_units[0], 3);
    cl_device_partition_property type[8];
    size_t size = 0;
    pen_clGetDeviceInfo(parts[0], CL_DEVICE_PARTITION_TYPE, sizeof type, type, &size);
    assert_int_equal(size, 5 * sizeof type[0]);
    assert_memory_equal(type, cases[5].list, size);
    /* A part of one unit has no parts; a part holds the parent, and is the program's to release. */
    assert_int_equal(pen_clCreateSubDevices(parts[1], cases[0].list, 0, NULL, NULL), CL_DEVICE_PARTITION_FAILED);
    /* Parts that nobody has any more are had again by who asks for the same; while one is left, there are others. */
    cl_device_id others[2] = {NULL};
    uint64_t id = parts[1]->id;
    assert_int_equal(pen_clReleaseDevice(parts[1]), CL_SUCCESS);
    assert_int_equal(pen_clCreateSubDevices(devices[0], cases[5].list, 2, others, NULL), CL_SUCCESS);
    assert_int_not_equal(others[1]->id, id);
    assert_int_equal(pen_clReleaseDevice(parts[0]), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_DEVICE_PARTITION), 2);
    assert_int_equal(pen_clCreateSubDevices(devices[0], cases[5].list, 2, parts, NULL), CL_SUCCESS);
    assert_int_equal(parts[1]->id, id);
    assert_int_equal(stub_count(PEN_OP_DEVICE_PARTITION), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pen_clReleaseDevice(parts[i]), CL_SUCCESS);
        assert_int_equal(pen_clReleaseDevice(others[i]), CL_SUCCESS);
    }
    stub.partition_status = -PEN_EPARTITION;
    parts[0] = NULL;
    assert_int_equal(pen_clCreateSubDevices(devices[0], cases[1].list, 1, parts, NULL), CL_DEVICE_PARTITION_FAILED);
    assert_null(parts[0]);
    const cl_device_partition_property_ext ext[] = {CL_DEVICE_PARTITION_EQUALLY_EXT, 2, 0};
    cl_uint count = 0;
    assert_int_equal(pen_clCreateSubDevicesEXT(devices[0], ext, 0, NULL, &count), CL_SUCCESS);
    assert_int_equal(count, 2);
}

/* ---- contexts ---- */

static char heard[512];
static int heard_count;

static void CL_CALLBACK hear(const char *text, const void *data, size_t size, void *user)
{
    (void)data, (void)size, (void)user;
    snprintf(heard, sizeof heard, "%s", text);
    heard_count++;
}

static void test_context_properties(void **state)
{
    (void)state;
    cl_context_properties platform = (cl_context_properties)pen_platform();
    const struct {
        cl_context_properties list[5];
        cl_int status;
    } cases[] = {
        {{CL_CONTEXT_PLATFORM, platform, 0}, CL_SUCCESS},
        {{CL_CONTEXT_PLATFORM, 0, 0}, CL_INVALID_PLATFORM},
        {{CL_CONTEXT_PLATFORM, (cl_context_properties)context, 0}, CL_INVALID_PLATFORM},
        {{CL_CONTEXT_PLATFORM, platform, CL_CONTEXT_PLATFORM, platform, 0}, CL_INVALID_PROPERTY},
        {{CL_CONTEXT_INTEROP_USER_SYNC, CL_FALSE, CL_CONTEXT_PLATFORM, platform, 0}, CL_SUCCESS},
        {{CL_CONTEXT_INTEROP_USER_SYNC, 2, 0}, CL_INVALID_PROPERTY},
        {{0x2008 /* CL_GL_CONTEXT_KHR */, 1, 0}, CL_INVALID_PROPERTY},
        {{0}, CL_SUCCESS},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cl_int error = 1;
        cl_context made = pen_clCreateContext(cases[i].list, 1, devices, NULL, NULL, &error);
        assert_int_equal(error, cases[i].status);
        assert_int_equal(made != NULL, !cases[i].status);
        if (made)
            pen_clReleaseContext(made);
        made = pen_clCreateContextFromType(cases[i].list, CL_DEVICE_TYPE_GPU, NULL, NULL, &error);
        assert_int_equal(error, cases[i].status);
        if (made)
            pen_clReleaseContext(made);
    }
    cl_int error = 0;
    cl_device_id wrong[] = {devices[0], (cl_device_id)context};
    assert_null(pen_clCreateContext(NULL, 2, wrong, NULL, NULL, &error));
    assert_int_equal(error, CL_INVALID_DEVICE);
    assert_null(pen_clCreateContextFromType(NULL, CL_DEVICE_TYPE_ACCELERATOR, NULL, NULL, &error));
    assert_int_equal(error, CL_DEVICE_NOT_FOUND);
}

static void test_direct(void **state)
{
    (void)state;
    cl_int error = 0;
    assert_false(context->direct); /* the GPU is not */
    cl_context of_cpu = pen_clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    assert_true(of_cpu->direct && of_cpu->direct_images);
    pen_clReleaseContext(of_cpu);
    stub.features = 0; /* as when the session is recorded */
    of_cpu = pen_clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    assert_false(of_cpu->direct || of_cpu->direct_images);
    pen_clReleaseContext(of_cpu);
    stub.features = PEN_FEATURE_DIRECT;
}

static void test_slice_align(void **state)
{
    (void)state;
    assert_int_equal(pen_device_slice_align(devices[0]), 128);
    assert_int_equal(pen_device_slice_align(devices[1]), 1); /* its driver takes any */
    assert_int_equal(pen_device_slice_align(devices[2]), 1); /* its driver does not say */
}

/* Whatever notices that the session is lost says so, in the same words, and tells the program, once. */
static void test_lost_is_told(void **state)
{
    (void)state;
    for (int way = 0; way < 6; way++) {
        cl_int error = 0;
        cl_context old = pen_clCreateContext(NULL, 1, devices, hear, NULL, &error);
        bool ordered = way < 3;
        cl_command_queue_properties properties = ordered ? 0 : CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
        cl_command_queue queue = pen_clCreateCommandQueue(old, devices[0], properties, &error);
        cl_event user = pen_clCreateUserEvent(old, &error), event = NULL;
        assert_int_equal(pen_clEnqueueMarkerWithWaitList(queue, 1, &user, NULL), CL_SUCCESS);
        stub.lost = true;
        heard_count = 0;
        for (int again = 0; again < 2; again++) {
            if (way % 3 == 0)
                error = pen_clFinish(queue);
            else if (way % 3 == 1)
                error = pen_clEnqueueMarkerWithWaitList(queue, 0, NULL, NULL);
            else
                error = pen_clEnqueueMarkerWithWaitList(queue, 0, NULL, &event);
            assert_int_equal(error, CL_DEVICE_NOT_AVAILABLE);
            assert_int_equal(heard_count, 1);
        }
        assert_null(event);
        assert_int_equal(pen_clReleaseEvent(user), CL_SUCCESS);
        assert_int_equal(pen_clReleaseCommandQueue(queue), CL_SUCCESS);
        assert_int_equal(pen_clReleaseContext(old), CL_SUCCESS);
    }
}

static cl_bool is_available(cl_device_id device)
{
    cl_bool available = 99;
    assert_int_equal(pen_clGetDeviceInfo(device, CL_DEVICE_AVAILABLE, sizeof available, &available, NULL), CL_SUCCESS);
    return available;
}

/* What belongs to a lost session fails; the next context has another session. */
static void test_lost(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_device_id part[1];
    const cl_device_partition_property one[] = {CL_DEVICE_PARTITION_EQUALLY, 4, 0};
    assert_int_equal(pen_clCreateSubDevices(devices[0], one, 1, part, NULL), CL_SUCCESS);
    cl_context old = pen_clCreateContext(NULL, 1, devices, hear, NULL, &error);
    cl_command_queue queue = pen_clCreateCommandQueue(old, devices[0], 0, &error);
    cl_event user = pen_clCreateUserEvent(old, &error), event = NULL;
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(queue, 1, &user, &event), CL_SUCCESS);
    struct pen_session *lost = old->session;
    int others = stub_refs(lost) - 1; /* of the set-up: its context, and the opener */
    stub.lost = true;
    heard_count = 0;
    stub.open_error = -PEN_ENOENT;
    assert_int_equal(is_available(devices[0]), CL_FALSE);
    stub.open_error = 0; /* the next context can have another session */
    assert_int_equal(is_available(devices[0]), CL_TRUE);
    assert_int_equal(is_available(part[0]), CL_FALSE);
    assert_int_equal(pen_clFinish(queue), CL_DEVICE_NOT_AVAILABLE);
    assert_int_equal(pen_clWaitForEvents(1, &event), CL_DEVICE_NOT_AVAILABLE);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(queue, 0, NULL, NULL), CL_DEVICE_NOT_AVAILABLE);
    assert_int_equal(heard_count, 1);
    assert_string_equal(heard, "the stub was told to die");
    cl_int status = 0;
    pen_clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
    assert_int_equal(status, CL_DEVICE_NOT_AVAILABLE);
    assert_null(pen_clCreateUserEvent(old, &error));
    assert_int_equal(error, CL_OUT_OF_RESOURCES);

    stub.open_error = -PEN_ENOENT;
    assert_null(pen_clCreateContext(NULL, 1, devices, hear, NULL, &error));
    assert_int_equal(error, CL_DEVICE_NOT_AVAILABLE);
    assert_string_equal(heard, "the stub will not");
    stub.open_error = 0;
    cl_context new = pen_clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    assert_int_equal(error, CL_SUCCESS);
    assert_ptr_not_equal(new->session, old->session);
    assert_int_equal(stub_refs(new->session), 2);
    assert_int_equal(stub_refs(lost), others); /* the opener has let go, the context has not */
    assert_null(pen_clCreateContext(NULL, 1, part, NULL, NULL, &error));
    assert_int_equal(error, CL_DEVICE_NOT_AVAILABLE);
    assert_int_equal(pen_clFinish(queue), CL_DEVICE_NOT_AVAILABLE);
    assert_int_equal(is_available(devices[0]), CL_TRUE);
    assert_int_equal(is_available(part[0]), CL_FALSE); /* its session is the old one */
    assert_int_equal(pen_clReleaseEvent(event), CL_SUCCESS);
    assert_int_equal(pen_clReleaseEvent(user), CL_SUCCESS);
    assert_int_equal(pen_clReleaseDevice(part[0]), CL_SUCCESS);
    assert_int_equal(pen_clReleaseCommandQueue(queue), CL_SUCCESS);
    assert_int_equal(pen_clReleaseContext(old), CL_SUCCESS);
    assert_int_equal(stub_refs(lost), others - 1);
    assert_int_equal(pen_clReleaseContext(new), CL_SUCCESS);
}

/* ---- queues ---- */

static void test_queue_create(void **state)
{
    (void)state;
    struct pen_msg_queue_create sent;
    LAST(queue_create, PEN_OP_QUEUE_CREATE, &sent);
    assert_int_equal(sent.queue, unordered->id);
    assert_int_equal(sent.flags, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    assert_int_equal(sent.device, 1);
    assert_int_equal(sent.slot, unordered->slot);
}

/* A clFinish asks the worker for nothing when nothing was sent since the last. */
static void test_finish(void **state)
{
    (void)state;
    stub.complete_at_once = true;
    assert_int_equal(pen_clFinish(unordered), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 0);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(unordered, 0, NULL, NULL), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 1);
    assert_int_equal(pen_clFinish(unordered), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 2);
    uint32_t commands = stub.command_count;
    assert_int_equal(pen_clFinish(unordered), CL_SUCCESS);
    assert_int_equal(pen_clFinish(in_order), CL_SUCCESS);
    assert_int_equal(stub.command_count, commands);
    assert_int_equal(stub.acquired, stub.released + stub.cancelled);
}

/* The completion counter of a queue that is gone goes to another only when the worker counts no more in it. */
static void test_queue_slots(void **state)
{
    (void)state;
    cl_int error = 0;
    int before = stub.queue_slots;
    cl_event user = pen_clCreateUserEvent(context, &error);
    cl_command_queue queue = pen_clCreateCommandQueue(context, devices[0], 0, &error);
    uint32_t slot = queue->slot;
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(queue, 1, &user, NULL), CL_SUCCESS);
    uint64_t last = queue->last;
    assert_int_equal(pen_clReleaseCommandQueue(queue), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_QUEUE_DESTROY), 1);
    assert_int_equal(stub.queue_slots, before + 1);
    queue = pen_clCreateCommandQueue(context, devices[0], 0, &error);
    assert_int_not_equal(queue->slot, slot);
    assert_int_equal(pen_clReleaseCommandQueue(queue), CL_SUCCESS); /* idle: free at once */
    assert_int_equal(stub.queue_slots, before + 1);
    stub_complete_queue(slot, last);
    queue = pen_clCreateCommandQueue(context, devices[0], 0, &error);
    assert_int_equal(queue->slot, slot);
    assert_int_equal(pen_clReleaseCommandQueue(queue), CL_SUCCESS);
    assert_int_equal(stub.queue_slots, before);
    assert_int_equal(pen_clReleaseEvent(user), CL_SUCCESS);
}

/* ---- enqueues ---- */

static cl_event user_event(void)
{
    cl_int error = 0;
    cl_event event = pen_clCreateUserEvent(context, &error);
    assert_int_equal(error, CL_SUCCESS);
    return event;
}

static void test_wait_list(void **state)
{
    (void)state;
    enum { MANY = 40 };
    cl_event events[MANY];
    for (int i = 0; i < MANY; i++)
        events[i] = user_event();
    /* Complete ones are left out, failed ones are not: the worker passes the failure on. */
    assert_int_equal(pen_clSetUserEventStatus(events[0], CL_COMPLETE), CL_SUCCESS);
    assert_int_equal(pen_clSetUserEventStatus(events[1], -9), CL_SUCCESS);
    struct pen_enqueue e = {0};
    assert_int_equal(pen_enqueue_begin(&e, in_order, CL_COMMAND_USER, MANY, events, NULL, false, false), CL_SUCCESS);
    assert_int_equal(e.wait_count, MANY - 1);
    for (uint32_t i = 0; i < e.wait_count; i++)
        assert_int_equal(e.waits[i], events[i + 1]->id);
    assert_null(e.event);
    assert_false(pen_enqueue_ready(&e));
    assert_int_equal(pen_enqueue_end(&e, 0), CL_SUCCESS);
    assert_int_equal(pen_enqueue_begin(&e, in_order, CL_COMMAND_USER, 2, events, NULL, true, false),
                     CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    assert_int_equal(pen_enqueue_begin(&e, in_order, CL_COMMAND_USER, 1, events, NULL, true, false), CL_SUCCESS);
    assert_true(pen_enqueue_ready(&e));
    assert_int_equal(pen_enqueue_end(&e, 0), CL_SUCCESS);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(pen_clReleaseEvent(events[i]), CL_SUCCESS);
}

static void test_wait_list_errors(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_context other = pen_clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    cl_event foreign = pen_clCreateUserEvent(other, &error), own = user_event();
    cl_event list[] = {own, foreign}, wrong[] = {own, (cl_event)context}, null[] = {own, NULL};
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(NULL, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList((cl_command_queue)own, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(in_order, 0, list, NULL), CL_INVALID_EVENT_WAIT_LIST);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(in_order, 1, NULL, NULL), CL_INVALID_EVENT_WAIT_LIST);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(in_order, 2, wrong, NULL), CL_INVALID_EVENT_WAIT_LIST);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(in_order, 2, null, NULL), CL_INVALID_EVENT_WAIT_LIST);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(in_order, 2, list, NULL), CL_INVALID_CONTEXT);
    assert_int_equal(pen_clWaitForEvents(2, list), CL_INVALID_CONTEXT);
    assert_int_equal(stub_count(PEN_OP_MARKER), 0);
    pen_clReleaseEvent(own);
    pen_clReleaseEvent(foreign);
    pen_clReleaseContext(other);
}

/* More events than one command may name: it waits for markers that wait for them. */
static void test_long_wait_list(void **state)
{
    (void)state;
    enum { OVER = PEN_LIMIT_WAITS + 3 };
    cl_event user = user_event(), event = NULL, *many = malloc(OVER * sizeof(cl_event));
    for (int i = 0; i < OVER; i++)
        many[i] = user;
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(unordered, PEN_LIMIT_WAITS, many, NULL), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 1);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(unordered, OVER, many, &event), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 4);
    struct pen_msg_marker sent;
    struct pen_scratch scratch = {0};
    for (uint32_t i = 0, marker = 0; i < stub.command_count && marker < 3; i++) {
        const struct stub_command *command = &stub.commands[i];
        if (command->opcode != PEN_OP_MARKER)
            continue;
        marker++;
        assert_int_equal(pen_msg_marker_decode(command->frame, command->size, &scratch, &sent), 0);
        assert_int_equal(sent.waits_count, marker < 3 ? PEN_LIMIT_WAITS : OVER - PEN_LIMIT_WAITS);
        for (uint32_t j = 0; j < sent.waits_count; j++)
            assert_int_equal(sent.waits[j], user->id);
    }
    pen_scratch_finish(&scratch);
    LAST(marker, PEN_OP_MARKER, &sent);
    assert_int_equal(sent.event, event->id);
    assert_int_equal(sent.waits_count, 2);
    assert_int_not_equal(sent.waits[1], user->id);
    assert_int_equal(stub_count(PEN_OP_EVENT_DESTROY), 2); /* the markers' own */
    assert_int_equal(stub.released, 2);
    free(many);
    pen_clReleaseEvent(event);
    pen_clReleaseEvent(user);
}

/* Slots: of a command that was sent, released; of one that was not, or that was done here, given back. */
static void test_slots_are_given_back(void **state)
{
    (void)state;
    cl_event event = NULL;
    struct pen_enqueue e = {0};
    assert_int_equal(pen_enqueue_begin(&e, in_order, CL_COMMAND_MARKER, 0, NULL, &event, false, false), CL_SUCCESS);
    assert_true(e.slot && e.event_id);
    assert_int_equal(pen_enqueue_end(&e, -PEN_EDEVMEM), CL_MEM_OBJECT_ALLOCATION_FAILURE);
    assert_null(event);
    assert_int_equal(stub.cancelled, 1);
    assert_int_equal(stub.released, 0);

    assert_int_equal(pen_clEnqueueMarkerWithWaitList(in_order, 0, NULL, &event), CL_SUCCESS); /* idle: done here */
    assert_int_equal(stub_count(PEN_OP_MARKER), 0);
    assert_int_equal(pen_event_status(event), CL_COMPLETE);
    assert_int_equal(stub.cancelled, 2);
    pen_clReleaseEvent(event);
    assert_int_equal(stub_count(PEN_OP_EVENT_DESTROY), 0);

    cl_event user = user_event();
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(in_order, 1, &user, &event), CL_SUCCESS);
    struct pen_msg_marker sent;
    LAST(marker, PEN_OP_MARKER, &sent);
    assert_int_equal(sent.event, event->id);
    assert_int_equal(sent.slot, event->slot);
    assert_int_equal(sent.waits_count, 1);
    assert_int_equal(sent.waits[0], user->id);
    assert_int_equal(in_order->last, stub_last(PEN_OP_MARKER)->sequence);
    pen_clReleaseEvent(event);
    pen_clReleaseEvent(user);
    assert_int_equal(stub_count(PEN_OP_EVENT_DESTROY), 2);
    assert_int_equal(stub.released, 2);

    stub.slot_error = -PEN_ELIMIT;
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(in_order, 0, NULL, &event), CL_OUT_OF_RESOURCES);
}

/* An empty list in a marker means every earlier command: one whose list is complete must not be sent as that. */
static void test_marker_with_complete_list(void **state)
{
    (void)state;
    cl_event user = user_event(), held = user_event(), event = NULL;
    assert_int_equal(pen_clSetUserEventStatus(user, CL_COMPLETE), CL_SUCCESS);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(unordered, 1, &held, NULL), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 1);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(unordered, 1, &user, &event), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 1);
    assert_int_equal(pen_event_status(event), CL_COMPLETE);
    pen_clReleaseEvent(event);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(unordered, 0, NULL, &event), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 2);
    assert_int_equal(pen_event_status(event), CL_QUEUED);
    pen_clReleaseEvent(event);
    pen_clReleaseEvent(user);
    pen_clReleaseEvent(held);
}

static void test_barrier_keeps_hands_off(void **state)
{
    (void)state;
    cl_event user = user_event(), event = NULL;
    assert_true(pen_queue_idle(unordered));
    assert_int_equal(pen_clEnqueueBarrierWithWaitList(unordered, 1, &user, &event), CL_SUCCESS);
    assert_false(pen_queue_idle(unordered));
    stub_complete(event->slot, 0);
    assert_true(pen_queue_idle(unordered));
    assert_null(unordered->barrier);
    pen_clReleaseEvent(event);
    /* One that has failed is as much at its end: the program's thread acts again itself. */
    assert_int_equal(pen_clEnqueueBarrierWithWaitList(unordered, 1, &user, &event), CL_SUCCESS);
    stub_complete(event->slot, -PEN_EDEPENDENCY);
    assert_true(pen_queue_idle(unordered));
    assert_null(unordered->barrier);
    pen_clReleaseEvent(event);
    /* The queue and its last barrier hold each other until the program lets the queue go. */
    cl_int error = 0;
    cl_command_queue queue =
        pen_clCreateCommandQueue(context, devices[0], CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &error);
    assert_int_equal(pen_clEnqueueBarrierWithWaitList(queue, 1, &user, NULL), CL_SUCCESS);
    assert_int_equal(pen_clReleaseCommandQueue(queue), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_QUEUE_DESTROY), 1);
    pen_clReleaseEvent(user);
}

static atomic_bool looking;

static void *look_for_idleness(void *unused)
{
    (void)unused;
    while (atomic_load(&looking))
        (void)pen_queue_idle(unordered);
    return NULL;
}

/* One thread finds a barrier complete while another sets the next one: the next one stays. */
static void test_barriers_of_two_threads(void **state)
{
    (void)state;
    enum { BARRIERS = 30000 };
    static cl_event barriers[BARRIERS]; /* kept: the stubbed session is for one thread */
    pthread_t lookers[4];
    cl_event user = user_event();
    int lost = 0;
    atomic_store(&looking, true);
    for (size_t i = 0; i < COUNT(lookers); i++)
        assert_int_equal(pthread_create(&lookers[i], NULL, look_for_idleness, NULL), 0);
    for (int i = 0; i < BARRIERS; i++) {
        assert_int_equal(pen_clEnqueueBarrierWithWaitList(unordered, 1, &user, &barriers[i]), CL_SUCCESS);
        for (int j = 0; j < 3; j++)
            lost += pen_queue_idle(unordered);
        stub_complete(barriers[i]->slot, 0);
    }
    atomic_store(&looking, false);
    for (size_t i = 0; i < COUNT(lookers); i++)
        pthread_join(lookers[i], NULL);
    assert_int_equal(lost, 0);
    for (int i = 0; i < BARRIERS; i++)
        pen_clReleaseEvent(barriers[i]);
    pen_clReleaseEvent(user);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_references, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_info_sizes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_error_has_a_status, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_absent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dispatch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_extensions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_device_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_device_types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_partition, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_context_properties, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_direct, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slice_align, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue_create, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_finish, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue_slots, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wait_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_wait_list_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_wait_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slots_are_given_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_marker_with_complete_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_barrier_keeps_hands_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_barriers_of_two_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_is_told, set_up, tear_down),
    };
    const struct CMUnitTest first[] = {cmocka_unit_test(test_no_platform), cmocka_unit_test(test_late_platform),
                                       cmocka_unit_test(test_fork_while_opening)};
    int failed = cmocka_run_group_tests_name("icd's first calls", first, NULL, NULL);
    return failed + cmocka_run_group_tests_name("icd core", tests, NULL, NULL);
}
