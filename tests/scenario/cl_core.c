/* scenario/cl_core.c - platforms, devices, contexts, queues, events and what orders commands, as the OpenCL 3.0
 * specification has them; section numbers are of the unified specification. */
#include "core_fixture.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* Checks that drivers are known to fail natively (PoCL 3.1: handles of another kind, wait lists of kernels, unknown
 * device types, failed user events, clEnqueueWaitForEvents; rusticl: no default device): asked of Penstock, and of
 * whom CL_CHECK_STRICT is set for. */
static bool check_strictly(void)
{
    return check_is_penstock() || getenv("CL_CHECK_STRICT");
}

/* ---- 4.1, 4.2: platforms, devices ------------------------------------------------------------------- */

static void test_platform(void)
{
    cl_uint count = 0;
    CHECK_IS(clGetPlatformIDs(0, NULL, NULL), CL_INVALID_VALUE);
    CHECK_OK(clGetPlatformIDs(0, NULL, &count));
    CHECK(count >= 1);
    char text[4096];
    size_t size = 0;
    static const cl_platform_info texts[] = {CL_PLATFORM_PROFILE, CL_PLATFORM_VERSION, CL_PLATFORM_NAME,
                                             CL_PLATFORM_VENDOR, CL_PLATFORM_EXTENSIONS};
    for (size_t i = 0; i < COUNT(texts); i++) {
        CHECK_OK(clGetPlatformInfo(check_platform, texts[i], 0, NULL, &size));
        CHECK_OK(clGetPlatformInfo(check_platform, texts[i], sizeof text, text, NULL));
        CHECK(strlen(text) + 1 == size);
        CHECK_IS(clGetPlatformInfo(check_platform, texts[i], size - 1, text, NULL), CL_INVALID_VALUE);
    }
    CHECK_OK(clGetPlatformInfo(check_platform, CL_PLATFORM_EXTENSIONS, sizeof text, text, NULL));
    CHECK(strstr(text, "cl_khr_icd") != NULL);
    CHECK_IS(clGetPlatformInfo(check_platform, 0x12345, sizeof text, text, NULL), CL_INVALID_VALUE);
    CHECK_OK(clUnloadPlatformCompiler(check_platform));
    CHECK_OK(clUnloadCompiler());
    if (!check_is_penstock())
        return;
    CHECK_OK(clGetPlatformInfo(check_platform, CL_PLATFORM_ICD_SUFFIX_KHR, sizeof text, text, NULL));
    CHECK(!strcmp(text, "PEN"));
    CHECK_OK(clGetPlatformInfo(check_platform, CL_PLATFORM_VERSION, sizeof text, text, NULL));
    CHECK(!strncmp(text, "OpenCL 3.0 ", 11));
    CHECK(clGetExtensionFunctionAddressForPlatform(check_platform, "clIcdGetPlatformIDsKHR") != NULL);
    CHECK(clGetExtensionFunctionAddressForPlatform(check_platform, "clNoSuchFunction") == NULL);
}

static void test_device_ids(void)
{
    cl_device_id found[16];
    cl_uint count = 0;
    CHECK_OK(clGetDeviceIDs(check_platform, CL_DEVICE_TYPE_ALL, 0, NULL, &count));
    CHECK(count >= 1);
    if (check_strictly()) {
        CHECK_OK(clGetDeviceIDs(check_platform, CL_DEVICE_TYPE_DEFAULT, 16, found, &count));
        CHECK_IS(count, 1);
    }
    CHECK_IS(clGetDeviceIDs(check_platform, CL_DEVICE_TYPE_ALL, 0, found, &count), CL_INVALID_VALUE);
    CHECK_IS(clGetDeviceIDs(check_platform, CL_DEVICE_TYPE_ALL, 0, NULL, NULL), CL_INVALID_VALUE);
    if (check_strictly()) {
        CHECK_IS(clGetDeviceIDs(check_platform, 0, 16, found, &count), CL_INVALID_DEVICE_TYPE);
        CHECK_IS(clGetDeviceIDs(check_platform, 1u << 20, 16, found, &count), CL_INVALID_DEVICE_TYPE);
    }
    /* Every device is found by its own type and by no other. */
    for (cl_uint i = 0; i < device_count; i++) {
        cl_device_type type = 0;
        CHECK_OK(clGetDeviceInfo(devices[i], CL_DEVICE_TYPE, sizeof type, &type, NULL));
        CHECK_OK(clGetDeviceIDs(check_platform, type & ~(cl_device_type)CL_DEVICE_TYPE_DEFAULT, 16, found, &count));
        bool there = false;
        for (cl_uint j = 0; j < count && j < 16; j++)
            there |= found[j] == devices[i];
        CHECK(there);
    }
    cl_int status = clGetDeviceIDs(check_platform, CL_DEVICE_TYPE_CUSTOM, 16, found, &count);
    CHECK(status == CL_DEVICE_NOT_FOUND || status == CL_SUCCESS);
}

/* Every query of the core specification that a device of its version must answer, in the size it must have. */
static void test_device_info(void)
{
    static const struct {
        cl_device_info name;
        size_t size; /* 0: text */
        int since;   /* version * 10 */
    } queries[] = {
        {CL_DEVICE_TYPE, 8, 10},
        {CL_DEVICE_VENDOR_ID, 4, 10},
        {CL_DEVICE_MAX_COMPUTE_UNITS, 4, 10},
        {CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS, 4, 10},
        {CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t), 10},
        {CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT, 4, 10},
        {CL_DEVICE_NATIVE_VECTOR_WIDTH_INT, 4, 11},
        {CL_DEVICE_MAX_CLOCK_FREQUENCY, 4, 10},
        {CL_DEVICE_ADDRESS_BITS, 4, 10},
        {CL_DEVICE_MAX_MEM_ALLOC_SIZE, 8, 10},
        {CL_DEVICE_IMAGE_SUPPORT, 4, 10},
        {CL_DEVICE_IMAGE2D_MAX_WIDTH, sizeof(size_t), 10},
        {CL_DEVICE_MAX_PARAMETER_SIZE, sizeof(size_t), 10},
        {CL_DEVICE_MEM_BASE_ADDR_ALIGN, 4, 10},
        {CL_DEVICE_SINGLE_FP_CONFIG, 8, 10},
        {CL_DEVICE_GLOBAL_MEM_CACHE_TYPE, 4, 10},
        {CL_DEVICE_GLOBAL_MEM_SIZE, 8, 10},
        {CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE, 8, 10},
        {CL_DEVICE_LOCAL_MEM_TYPE, 4, 10},
        {CL_DEVICE_LOCAL_MEM_SIZE, 8, 10},
        {CL_DEVICE_ERROR_CORRECTION_SUPPORT, 4, 10},
        {CL_DEVICE_HOST_UNIFIED_MEMORY, 4, 11},
        {CL_DEVICE_PROFILING_TIMER_RESOLUTION, sizeof(size_t), 10},
        {CL_DEVICE_ENDIAN_LITTLE, 4, 10},
        {CL_DEVICE_AVAILABLE, 4, 10},
        {CL_DEVICE_COMPILER_AVAILABLE, 4, 10},
        {CL_DEVICE_LINKER_AVAILABLE, 4, 12},
        {CL_DEVICE_EXECUTION_CAPABILITIES, 8, 10},
        {CL_DEVICE_QUEUE_PROPERTIES, 8, 10},
        {CL_DEVICE_PLATFORM, sizeof(cl_platform_id), 10},
        {CL_DEVICE_NAME, 0, 10},
        {CL_DEVICE_VENDOR, 0, 10},
        {CL_DRIVER_VERSION, 0, 10},
        {CL_DEVICE_PROFILE, 0, 10},
        {CL_DEVICE_VERSION, 0, 10},
        {CL_DEVICE_OPENCL_C_VERSION, 0, 11},
        {CL_DEVICE_EXTENSIONS, 0, 10},
        {CL_DEVICE_BUILT_IN_KERNELS, 0, 12},
        {CL_DEVICE_PRINTF_BUFFER_SIZE, sizeof(size_t), 12},
        {CL_DEVICE_PREFERRED_INTEROP_USER_SYNC, 4, 12},
        {CL_DEVICE_PARENT_DEVICE, sizeof(cl_device_id), 12},
        {CL_DEVICE_PARTITION_MAX_SUB_DEVICES, 4, 12},
        {CL_DEVICE_PARTITION_AFFINITY_DOMAIN, 8, 12},
        {CL_DEVICE_REFERENCE_COUNT, 4, 12},
        {CL_DEVICE_SVM_CAPABILITIES, 8, 30},
        {CL_DEVICE_QUEUE_ON_DEVICE_PROPERTIES, 8, 30},
        {CL_DEVICE_QUEUE_ON_DEVICE_MAX_SIZE, 4, 30},
        {CL_DEVICE_MAX_ON_DEVICE_QUEUES, 4, 30},
        {CL_DEVICE_MAX_PIPE_ARGS, 4, 30},
        {CL_DEVICE_PIPE_SUPPORT, 4, 30},
        {CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES, 8, 30},
        {CL_DEVICE_ATOMIC_MEMORY_CAPABILITIES, 8, 30},
        {CL_DEVICE_ATOMIC_FENCE_CAPABILITIES, 8, 30},
        {CL_DEVICE_NON_UNIFORM_WORK_GROUP_SUPPORT, 4, 30},
        {CL_DEVICE_NUMERIC_VERSION, 4, 30},
        {CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, sizeof(size_t), 30},
        {CL_DEVICE_MAX_NUM_SUB_GROUPS, 4, 30},
    };
    for (cl_uint d = 0; d < device_count; d++) {
        static char value[16384];
        int major = 0, minor = 0;
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_VERSION, sizeof value, value, NULL));
        CHECK(sscanf(value, "OpenCL %d.%d ", &major, &minor) == 2);
        for (size_t i = 0; i < COUNT(queries); i++) {
            if (queries[i].since > major * 10 + minor)
                continue;
            if (queries[i].name == CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES && !check_strictly())
                continue; /* PoCL 3.1 answers in 4 bytes */
            size_t size = 0;
            cl_int status = clGetDeviceInfo(devices[d], queries[i].name, 0, NULL, &size);
            if (status || (queries[i].size && size != queries[i].size))
                fprintf(stderr, "query 0x%x: status %d, %zu bytes\n", queries[i].name, status, size);
            CHECK_OK(status);
            CHECK(!queries[i].size || queries[i].size == size);
            CHECK_OK(clGetDeviceInfo(devices[d], queries[i].name, sizeof value, value, NULL));
            CHECK(queries[i].size || strlen(value) + 1 == size);
            CHECK_IS(clGetDeviceInfo(devices[d], queries[i].name, size - 1, value, NULL), CL_INVALID_VALUE);
        }
        CHECK_IS(clGetDeviceInfo(devices[d], 0x7fff, sizeof value, value, NULL), CL_INVALID_VALUE);
        CHECK_IS(clGetDeviceInfo(devices[d], 0x70000000, sizeof value, value, NULL), CL_INVALID_VALUE);
    }
}

static void test_device_values(void)
{
    for (cl_uint d = 0; d < device_count; d++) {
        cl_ulong memory = 0, allocation = 0;
        cl_uint units = 0, references = 0;
        cl_bool available = CL_FALSE;
        cl_platform_id platform = NULL;
        cl_device_id parent = devices[d];
        size_t sizes[3] = {0}, group = 0, size = 0;
        cl_command_queue_properties queue = 0;
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_GLOBAL_MEM_SIZE, sizeof memory, &memory, NULL));
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof allocation, &allocation, NULL));
        CHECK(memory > 0 && allocation > 0 && allocation <= memory);
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL));
        CHECK(units >= 1);
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_AVAILABLE, sizeof available, &available, NULL));
        CHECK_IS(available, CL_TRUE);
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_PLATFORM, sizeof platform, &platform, NULL));
        CHECK(platform == check_platform);
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_PARENT_DEVICE, sizeof parent, &parent, NULL));
        CHECK(parent == NULL);
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_REFERENCE_COUNT, sizeof references, &references, NULL));
        CHECK_IS(references, 1);
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof sizes, sizes, &size));
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, NULL));
        CHECK(sizes[0] >= 1 && group >= 1);
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_QUEUE_PROPERTIES, sizeof queue, &queue, NULL));
        CHECK(queue & CL_QUEUE_PROFILING_ENABLE);
        CHECK_OK(clRetainDevice(devices[d]));
        CHECK_OK(clReleaseDevice(devices[d]));
        CHECK_OK(clReleaseDevice(devices[d])); /* of a root: changes nothing */
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_REFERENCE_COUNT, sizeof references, &references, NULL));
        CHECK_IS(references, 1);
        /* OpenCL 3.0: absent features answer zero. */
        if (!check_is_penstock())
            continue;
        cl_device_svm_capabilities svm = 1;
        cl_bool pipes = CL_TRUE;
        cl_device_exec_capabilities execution = 0;
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_SVM_CAPABILITIES, sizeof svm, &svm, NULL));
        CHECK_IS(svm, 0);
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_PIPE_SUPPORT, sizeof pipes, &pipes, NULL));
        CHECK_IS(pipes, CL_FALSE);
        CHECK_OK(clGetDeviceInfo(devices[d], CL_DEVICE_EXECUTION_CAPABILITIES, sizeof execution, &execution, NULL));
        CHECK_IS(execution, CL_EXEC_KERNEL);
        CHECK(queue & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    }
}

static void test_timers(void)
{
    cl_ulong device = 0, host = 0, later = 0;
    cl_ulong resolution = 0;
    if (clGetPlatformInfo(check_platform, CL_PLATFORM_HOST_TIMER_RESOLUTION, sizeof resolution, &resolution, NULL) ||
        !resolution)
        return;
    CHECK_OK(clGetDeviceAndHostTimer(devices[0], &device, &host));
    CHECK_OK(clGetHostTimer(devices[0], &later));
    CHECK(device > 0 && host > 0 && later >= host);
    CHECK_IS(clGetDeviceAndHostTimer(devices[0], NULL, &host), CL_INVALID_VALUE);
    CHECK_IS(clGetHostTimer(devices[0], NULL), CL_INVALID_VALUE);
}

/* ---- 4.3: sub-devices ------------------------------------------------------------------------------- */

/* What was filled in is read back; then both go. */
static void check_and_release(cl_context context, cl_command_queue queue)
{
    int pattern = 7, value = 0;
    cl_int error;
    cl_mem buffer = clCreateBuffer(context, 0, 64, NULL, &error);
    CHECK_OK(error);
    CHECK_OK(clEnqueueFillBuffer(queue, buffer, &pattern, sizeof pattern, 0, 64, 0, NULL, NULL));
    CHECK_OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 60, sizeof value, &value, 0, NULL, NULL));
    CHECK_IS(value, 7);
    CHECK_OK(clReleaseMemObject(buffer));
    CHECK_OK(clReleaseCommandQueue(queue));
    CHECK_OK(clReleaseContext(context));
}

static void test_sub_devices(void)
{
    cl_uint units = 0, most = 0, count = 0;
    CHECK_OK(clGetDeviceInfo(devices[0], CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL));
    CHECK_OK(clGetDeviceInfo(devices[0], CL_DEVICE_PARTITION_MAX_SUB_DEVICES, sizeof most, &most, NULL));
    cl_device_partition_property equally[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
    if (most < 2 && !check_strictly()) /* rusticl crashes */
        return;
    CHECK_IS(clCreateSubDevices(devices[0], NULL, 0, NULL, &count), CL_INVALID_VALUE);
    if (most < 2) {
        CHECK(clCreateSubDevices(devices[0], equally, 0, NULL, &count) != CL_SUCCESS);
        return;
    }
    CHECK_OK(clCreateSubDevices(devices[0], equally, 0, NULL, &count));
    CHECK_IS(count, units);
    cl_device_id *parts = calloc(count, sizeof *parts);
    CHECK_IS(clCreateSubDevices(devices[0], equally, count - 1, parts, NULL), CL_INVALID_VALUE);
    NEED(clCreateSubDevices(devices[0], equally, count, parts, NULL) == CL_SUCCESS);
    for (cl_uint i = 0; i < count; i++) {
        cl_device_id parent = NULL;
        cl_uint its = 0, references = 0;
        cl_device_partition_property type[8] = {0};
        size_t size = 0;
        CHECK_OK(clGetDeviceInfo(parts[i], CL_DEVICE_PARENT_DEVICE, sizeof parent, &parent, NULL));
        CHECK(parent == devices[0]);
        CHECK_OK(clGetDeviceInfo(parts[i], CL_DEVICE_MAX_COMPUTE_UNITS, sizeof its, &its, NULL));
        CHECK_IS(its, 1);
        CHECK_OK(clGetDeviceInfo(parts[i], CL_DEVICE_PARTITION_TYPE, sizeof type, type, &size));
        CHECK(size == sizeof equally && !memcmp(type, equally, size));
        CHECK_OK(clRetainDevice(parts[i]));
        CHECK_OK(clGetDeviceInfo(parts[i], CL_DEVICE_REFERENCE_COUNT, sizeof references, &references, NULL));
        CHECK_IS(references, 2);
        CHECK_OK(clReleaseDevice(parts[i]));
    }
    /* A program on a part. */
    cl_int error = 0;
    cl_context context = clCreateContext(NULL, 1, parts, NULL, NULL, &error);
    CHECK_OK(error);
    cl_command_queue queue = clCreateCommandQueue(context, parts[0], 0, &error);
    CHECK_OK(error);
    if (check_strictly()) {
        CHECK(!clCreateCommandQueue(context, devices[0], 0, &error));
        CHECK_IS(error, CL_INVALID_DEVICE);
    }
    check_and_release(context, queue);
    for (cl_uint i = 0; i < count; i++)
        CHECK_OK(clReleaseDevice(parts[i]));
    free(parts);
    cl_device_partition_property counts[] = {CL_DEVICE_PARTITION_BY_COUNTS, (cl_device_partition_property)units + 1,
                                             CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0};
    CHECK_IS(clCreateSubDevices(devices[0], counts, 0, NULL, &count), CL_INVALID_DEVICE_PARTITION_COUNT);
    cl_device_partition_property unknown[] = {0x7777, 1, 0};
    CHECK_IS(clCreateSubDevices(devices[0], unknown, 0, NULL, &count), CL_INVALID_VALUE);
}

/* Parts that were let go of are parts no more: a program may cut its device as often as it likes. */
static void test_sub_devices_come_and_go(void)
{
    cl_uint most = 0;
    CHECK_OK(clGetDeviceInfo(devices[0], CL_DEVICE_PARTITION_MAX_SUB_DEVICES, sizeof most, &most, NULL));
    if (most < 2)
        return;
    cl_device_partition_property halves[] = {CL_DEVICE_PARTITION_BY_COUNTS, 1, 1,
                                             CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0};
    cl_device_id kept[2], parts[2];
    NEED(clCreateSubDevices(devices[0], halves, 2, kept, NULL) == CL_SUCCESS);
    for (int round = 0; round < 2000; round++) {
        NEED(clCreateSubDevices(devices[0], halves, 2, parts, NULL) == CL_SUCCESS);
        CHECK(parts[0] != kept[0] && parts[1] != kept[1]);
        CHECK_OK(clReleaseDevice(parts[0]));
        CHECK_OK(clReleaseDevice(parts[1]));
    }
    /* Those of the last round work. */
    NEED(clCreateSubDevices(devices[0], halves, 2, parts, NULL) == CL_SUCCESS);
    cl_int error = 0;
    cl_context context = clCreateContext(NULL, 2, parts, NULL, NULL, &error);
    CHECK_OK(error);
    cl_command_queue queue = clCreateCommandQueue(context, parts[1], 0, &error);
    CHECK_OK(error);
    check_and_release(context, queue);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(clReleaseDevice(parts[i]));
        CHECK_OK(clReleaseDevice(kept[i]));
    }
}

/* ---- 4.4: contexts ---------------------------------------------------------------------------------- */

static _Atomic int destroyed_order[2], destroyed_count;

static void CL_CALLBACK context_destroyed(cl_context context, void *user)
{
    (void)context;
    int at = atomic_fetch_add(&destroyed_count, 1);
    if (at < 2)
        destroyed_order[at] = *(int *)user;
}

static void CL_CALLBACK notify(const char *text, const void *data, size_t size, void *user)
{
    (void)text, (void)data, (void)size, (void)user;
}

static void test_context(void)
{
    cl_int error = 1;
    cl_context_properties list[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)check_platform, 0};
    cl_context context = clCreateContext(list, device_count, devices, notify, NULL, &error);
    CHECK_OK(error);
    NEED(context);
    cl_uint count = 0;
    size_t size = 0;
    cl_context_properties got[8] = {0};
    cl_device_id its[16] = {0};
    CHECK_OK(clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL));
    CHECK_IS(count, 1);
    CHECK_OK(clGetContextInfo(context, CL_CONTEXT_NUM_DEVICES, sizeof count, &count, NULL));
    CHECK_IS(count, device_count);
    CHECK_OK(clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof its, its, &size));
    CHECK(size == device_count * sizeof its[0] && !memcmp(its, devices, size));
    CHECK_OK(clGetContextInfo(context, CL_CONTEXT_PROPERTIES, sizeof got, got, &size));
    CHECK(size == sizeof list && !memcmp(got, list, size));
    CHECK_IS(clGetContextInfo(context, CL_CONTEXT_PROPERTIES, 1, got, &size), CL_INVALID_VALUE);
    CHECK_IS(clGetContextInfo(context, 0x9999, sizeof got, got, &size), CL_INVALID_VALUE);
    CHECK_OK(clRetainContext(context));
    CHECK_OK(clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL));
    CHECK_IS(count, 2);
    CHECK_OK(clReleaseContext(context));
    CHECK_OK(clReleaseContext(context));

    CHECK(!clCreateContext(NULL, 0, devices, NULL, NULL, &error));
    CHECK_IS(error, CL_INVALID_VALUE);
    CHECK(!clCreateContext(NULL, 1, devices, NULL, &count, &error));
    CHECK_IS(error, CL_INVALID_VALUE);
    cl_context_properties unknown[] = {0x7777, 1, 0};
    CHECK(!clCreateContext(unknown, 1, devices, NULL, NULL, &error));
    CHECK_IS(error, CL_INVALID_PROPERTY);
    if (check_is_penstock()) {
        cl_context_properties twice[] = {CL_CONTEXT_INTEROP_USER_SYNC, CL_TRUE, CL_CONTEXT_INTEROP_USER_SYNC, CL_TRUE,
                                         0};
        CHECK(!clCreateContext(twice, 1, devices, NULL, NULL, &error));
        CHECK_IS(error, CL_INVALID_PROPERTY);
        cl_device_id same[] = {devices[0], devices[0]};
        context = clCreateContext(NULL, 2, same, NULL, NULL, &error);
        CHECK_OK(error);
        CHECK_OK(clGetContextInfo(context, CL_CONTEXT_NUM_DEVICES, sizeof count, &count, NULL));
        CHECK_IS(count, 1);
        CHECK_OK(clReleaseContext(context));
    }

    context = clCreateContextFromType(list, CL_DEVICE_TYPE_ALL, NULL, NULL, &error);
    CHECK_OK(error);
    CHECK_OK(clGetContextInfo(context, CL_CONTEXT_NUM_DEVICES, sizeof count, &count, NULL));
    CHECK_IS(count, device_count);
    CHECK_OK(clReleaseContext(context));
    if (check_strictly()) {
        CHECK(!clCreateContextFromType(list, 1u << 20, NULL, NULL, &error));
        CHECK_IS(error, CL_INVALID_DEVICE_TYPE);
    }
}

static void test_context_destructors(void)
{
    char version[128] = "";
    clGetPlatformInfo(check_platform, CL_PLATFORM_VERSION, sizeof version, version, NULL);
    if (strncmp(version, "OpenCL 3", 8))
        return;
    static int one = 1, two = 2;
    cl_int error = 0;
    cl_context context = clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    CHECK_OK(clSetContextDestructorCallback(context, context_destroyed, &one));
    CHECK_OK(clSetContextDestructorCallback(context, context_destroyed, &two));
    CHECK_IS(clSetContextDestructorCallback(context, NULL, NULL), CL_INVALID_VALUE);
    /* A queue keeps its context alive. */
    cl_command_queue queue = clCreateCommandQueue(context, devices[0], 0, &error);
    CHECK_OK(clReleaseContext(context));
    CHECK_IS(destroyed_count, 0);
    cl_context again = NULL;
    CHECK_OK(clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof again, &again, NULL));
    CHECK(again == context);
    CHECK_OK(clReleaseCommandQueue(queue));
    CHECK_IS(destroyed_count, 2);
    CHECK_IS(destroyed_order[0], 2);
    CHECK_IS(destroyed_order[1], 1);
}

/* ---- 5.1: queues ------------------------------------------------------------------------------------ */

static void test_queue(void)
{
    cl_int error = 0;
    cl_context context = clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    NEED(context);
    cl_command_queue queue = clCreateCommandQueue(context, devices[0], CL_QUEUE_PROFILING_ENABLE, &error);
    CHECK_OK(error);
    cl_context its_context = NULL;
    cl_device_id its_device = NULL;
    cl_command_queue_properties properties = 0;
    cl_uint count = 0, queue_size = 0;
    size_t size = 9;
    CHECK_OK(clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof its_context, &its_context, &size));
    CHECK(its_context == context && size == sizeof its_context);
    CHECK_OK(clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof its_device, &its_device, NULL));
    CHECK(its_device == devices[0]);
    CHECK_OK(clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL));
    CHECK_IS(properties, CL_QUEUE_PROFILING_ENABLE);
    CHECK_OK(clRetainCommandQueue(queue));
    CHECK_OK(clGetCommandQueueInfo(queue, CL_QUEUE_REFERENCE_COUNT, sizeof count, &count, NULL));
    CHECK_IS(count, 2);
    CHECK_OK(clReleaseCommandQueue(queue));
    CHECK_IS(clGetCommandQueueInfo(queue, 0x9999, sizeof count, &count, NULL), CL_INVALID_VALUE);
    CHECK_IS(clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, 1, &properties, NULL), CL_INVALID_VALUE);
    CHECK_IS(clGetCommandQueueInfo(queue, CL_QUEUE_SIZE, sizeof queue_size, &queue_size, NULL),
             CL_INVALID_COMMAND_QUEUE);
    CHECK_OK(clFlush(queue));
    CHECK_OK(clFinish(queue));
    CHECK_OK(clReleaseCommandQueue(queue));

    CHECK(!clCreateCommandQueue(context, NULL, 0, &error));
    CHECK_IS(error, CL_INVALID_DEVICE);
    CHECK(!clCreateCommandQueue(context, devices[0], 1u << 20, &error));
    CHECK_IS(error, CL_INVALID_VALUE);
    if (device_count > 1) {
        CHECK(!clCreateCommandQueue(context, devices[1], 0, &error));
        CHECK_IS(error, CL_INVALID_DEVICE);
    }
    CHECK_OK(clReleaseContext(context));
}

static void test_queue_properties(void)
{
    if (!check_is_penstock()) /* 2.0's call, which not every driver survives (field notes) */
        return;
    cl_int error = 0;
    cl_context context = clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    CHECK_IS(clSetDefaultDeviceCommandQueue(context, devices[0], NULL), CL_INVALID_OPERATION); /* none are on devices */
    cl_queue_properties list[] = {CL_QUEUE_PROPERTIES, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, 0}, got[8];
    size_t size = 0;
    cl_command_queue queue = clCreateCommandQueueWithProperties(context, devices[0], list, &error);
    CHECK_OK(error);
    CHECK_OK(clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES_ARRAY, sizeof got, got, &size));
    CHECK(size == sizeof list && !memcmp(got, list, size));
    CHECK_OK(clReleaseCommandQueue(queue));
    queue = clCreateCommandQueueWithProperties(context, devices[0], NULL, &error);
    CHECK_OK(error);
    CHECK_OK(clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES_ARRAY, sizeof got, got, &size));
    CHECK_IS(size, 0);
    cl_command_queue none = queue;
    CHECK_OK(clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE_DEFAULT, sizeof none, &none, NULL));
    CHECK(none == NULL);
    CHECK_IS(clSetCommandQueueProperty(queue, CL_QUEUE_PROFILING_ENABLE, CL_TRUE, NULL), CL_INVALID_OPERATION);
    CHECK_OK(clReleaseCommandQueue(queue));
    static const struct {
        cl_queue_properties list[5];
        cl_int error;
    } wrong[] = {
        {{0x7777, 1, 0}, CL_INVALID_VALUE},
        {{CL_QUEUE_PROPERTIES, 1u << 20, 0}, CL_INVALID_VALUE},
        {{CL_QUEUE_SIZE, 1024, 0}, CL_INVALID_VALUE},
        {{CL_QUEUE_PROPERTIES, 0, CL_QUEUE_PROPERTIES, 0, 0}, CL_INVALID_VALUE},
        {{CL_QUEUE_PROPERTIES, CL_QUEUE_ON_DEVICE | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, 0},
         CL_INVALID_QUEUE_PROPERTIES},
        {{CL_QUEUE_PROPERTIES, CL_QUEUE_ON_DEVICE | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, CL_QUEUE_SIZE, 1024, 0},
         CL_INVALID_QUEUE_PROPERTIES},
        {{CL_QUEUE_PROPERTIES, CL_QUEUE_ON_DEVICE, 0}, CL_INVALID_VALUE},
        {{CL_QUEUE_PROPERTIES, CL_QUEUE_ON_DEVICE_DEFAULT | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, 0},
         CL_INVALID_VALUE},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        CHECK(!clCreateCommandQueueWithProperties(context, devices[0], wrong[i].list, &error));
        CHECK_IS(error, wrong[i].error);
    }
    CHECK_OK(clReleaseContext(context));
}

/* Many queues after each other, released with work in them. */
static void CL_CALLBACK one_done(cl_event event, cl_int status, void *done)
{
    (void)event, (void)status;
    atomic_fetch_add((_Atomic int *)done, 1);
}

static void test_queue_churn(void)
{
    struct fixture f;
    NEED(set_up(&f));
    static _Atomic int done; /* a driver whose program ends while it works may crash */
    for (int i = 0; i < 3000; i++) {
        cl_int error = 0;
        cl_event event = NULL;
        cl_command_queue_properties kind = i % 3 == 2 ? CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE : 0;
        cl_command_queue queue = clCreateCommandQueue(f.context, devices[0], kind, &error);
        if (error || enqueue_add(&f, queue, 0, NULL, &event) ||
            clSetEventCallback(event, CL_COMPLETE, one_done, (void *)&done) || clReleaseEvent(event) ||
            clReleaseCommandQueue(queue)) {
            CHECK_IS(i, 3000);
            break;
        }
    }
    CHECK(becomes(&done, 3000));
    tear_down(&f);
}

/* ---- 5.11 and 5.12: events -------------------------------------------------------------------------- */

static void test_event_info(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_event event = NULL;
    NEED(!enqueue_add(&f, f.in_order, 0, NULL, &event));
    cl_command_queue queue = NULL;
    cl_context context = NULL;
    cl_command_type type = 0;
    cl_uint count = 0;
    CHECK_OK(clGetEventInfo(event, CL_EVENT_COMMAND_QUEUE, sizeof queue, &queue, NULL));
    CHECK(queue == f.in_order);
    CHECK_OK(clGetEventInfo(event, CL_EVENT_CONTEXT, sizeof context, &context, NULL));
    CHECK(context == f.context);
    CHECK_OK(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
    CHECK_IS(type, CL_COMMAND_NDRANGE_KERNEL);
    CHECK_OK(clRetainEvent(event));
    CHECK_OK(clGetEventInfo(event, CL_EVENT_REFERENCE_COUNT, sizeof count, &count, NULL));
    CHECK(count >= 2);
    CHECK_OK(clReleaseEvent(event));
    CHECK_IS(clGetEventInfo(event, 0x9999, sizeof count, &count, NULL), CL_INVALID_VALUE);
    CHECK_IS(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, 1, &type, NULL), CL_INVALID_VALUE);
    cl_ulong time = 0;
    CHECK_IS(clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof time, &time, NULL),
             CL_PROFILING_INFO_NOT_AVAILABLE);
    CHECK_OK(clWaitForEvents(1, &event));
    CHECK_IS(status_of(event), CL_COMPLETE);
    CHECK_OK(clReleaseEvent(event));
    static const struct {
        cl_command_type type;
    } kinds[] = {{CL_COMMAND_MARKER}, {CL_COMMAND_BARRIER}, {CL_COMMAND_READ_BUFFER}, {CL_COMMAND_FILL_BUFFER}};
    int value = 0;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        cl_int status = i == 0   ? clEnqueueMarkerWithWaitList(f.in_order, 0, NULL, &event)
                        : i == 1 ? clEnqueueBarrierWithWaitList(f.in_order, 0, NULL, &event)
                        : i == 2 ? clEnqueueReadBuffer(f.in_order, f.buffer, CL_FALSE, 0, 4, &value, 0, NULL, &event)
                                 : clEnqueueFillBuffer(f.in_order, f.buffer, &value, 4, 0, 16, 0, NULL, &event);
        CHECK_OK(status);
        CHECK_OK(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
        CHECK_IS(type, kinds[i].type);
        CHECK_OK(clWaitForEvents(1, &event));
        CHECK_OK(clReleaseEvent(event));
    }
    tear_down(&f);
}

static void test_wait_for_events(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_event events[10];
    CHECK_IS(clWaitForEvents(0, events), CL_INVALID_VALUE);
    CHECK_IS(clWaitForEvents(1, NULL), CL_INVALID_VALUE);
    for (int i = 0; i < 10; i++)
        CHECK_OK(enqueue_add(&f, i % 2 ? f.in_order : f.second, i ? 1 : 0, i ? &events[i - 1] : NULL, &events[i]));
    CHECK_OK(clFlush(f.in_order));
    CHECK_OK(clFlush(f.second));
    CHECK_OK(clWaitForEvents(10, events));
    for (int i = 0; i < 10; i++) {
        CHECK_IS(status_of(events[i]), CL_COMPLETE);
        CHECK_OK(clReleaseEvent(events[i]));
    }
    CHECK_IS(read_first(&f, f.in_order), 10);
    /* Events of another context. */
    cl_int error = 0;
    cl_context other = clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    cl_event mixed[2] = {clCreateUserEvent(f.context, &error), clCreateUserEvent(other, &error)};
    CHECK_IS(clWaitForEvents(2, mixed), CL_INVALID_CONTEXT);
    CHECK_IS(clEnqueueMarkerWithWaitList(f.in_order, 1, &mixed[1], NULL), CL_INVALID_CONTEXT);
    CHECK_IS(clEnqueueMarkerWithWaitList(f.in_order, 0, mixed, NULL), CL_INVALID_EVENT_WAIT_LIST);
    CHECK_IS(clEnqueueMarkerWithWaitList(f.in_order, 1, NULL, NULL), CL_INVALID_EVENT_WAIT_LIST);
    if (check_strictly()) {
        CHECK_IS(enqueue_add(&f, f.in_order, 0, mixed, NULL), CL_INVALID_EVENT_WAIT_LIST);
        CHECK_IS(enqueue_add(&f, f.in_order, 1, &mixed[1], NULL), CL_INVALID_CONTEXT);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_OK(clSetUserEventStatus(mixed[i], CL_COMPLETE));
        CHECK_OK(clReleaseEvent(mixed[i]));
    }
    CHECK_OK(clReleaseContext(other));
    tear_down(&f);
}

/* An event that was complete before it is released, while other commands wait for it, and never waited for. */
static void test_event_release_early(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_event before = NULL, event = NULL;
    for (int i = 0; i < 1000; i++) {
        CHECK_OK(enqueue_add(&f, i % 2 ? f.in_order : f.out_of_order, before ? 1 : 0, before ? &before : NULL, &event));
        if (before)
            CHECK_OK(clReleaseEvent(before));
        before = event;
    }
    CHECK_OK(clFlush(f.in_order));
    CHECK_OK(clFlush(f.out_of_order));
    CHECK_OK(clWaitForEvents(1, &before));
    CHECK_OK(clReleaseEvent(before));
    CHECK_IS(read_first(&f, f.in_order), 1000);
    tear_down(&f);
}

static void test_user_event(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_int error = 0;
    cl_event user = clCreateUserEvent(f.context, &error), first = NULL, second = NULL;
    CHECK_OK(error);
    cl_command_queue queue = f.in_order;
    cl_command_type type = 0;
    CHECK_OK(clGetEventInfo(user, CL_EVENT_COMMAND_QUEUE, sizeof queue, &queue, NULL));
    CHECK(queue == NULL);
    CHECK_OK(clGetEventInfo(user, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
    CHECK_IS(type, CL_COMMAND_USER);
    CHECK_IS(status_of(user), CL_SUBMITTED);
    CHECK_IS(clSetUserEventStatus(user, CL_RUNNING), CL_INVALID_VALUE);
    CHECK_OK(enqueue_add(&f, f.in_order, 1, &user, &first));
    CHECK_OK(enqueue_add(&f, f.second, 1, &first, &second));
    CHECK_OK(clFlush(f.in_order));
    CHECK_OK(clFlush(f.second));
    sleep_ms(20);
    CHECK(status_of(first) > CL_RUNNING);
    CHECK(status_of(second) > CL_RUNNING);
    CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
    CHECK_IS(status_of(user), CL_COMPLETE);
    CHECK_IS(clSetUserEventStatus(user, CL_COMPLETE), CL_INVALID_OPERATION);
    CHECK_IS(clSetUserEventStatus(first, CL_COMPLETE), CL_INVALID_EVENT);
    CHECK_OK(clWaitForEvents(1, &second));
    CHECK_OK(clWaitForEvents(1, &user));
    CHECK_IS(read_first(&f, f.second), 2);
    CHECK_OK(clReleaseEvent(first));
    CHECK_OK(clReleaseEvent(second));
    CHECK_OK(clReleaseEvent(user));
    CHECK(!clCreateUserEvent(NULL, &error));
    CHECK_IS(error, CL_INVALID_CONTEXT);
    tear_down(&f);
}

/* 5.11: a user event that fails ends the commands that wait for it, which never run. */
static void test_user_event_fails(void)
{
    if (!check_strictly())
        return;
    struct fixture f;
    NEED(set_up(&f));
    cl_int error = 0;
    cl_event user = clCreateUserEvent(f.context, &error), first = NULL, second = NULL;
    CHECK_OK(enqueue_add(&f, f.out_of_order, 1, &user, &first));
    CHECK_OK(enqueue_add(&f, f.out_of_order, 1, &first, &second));
    CHECK_OK(clFlush(f.out_of_order));
    CHECK_OK(clSetUserEventStatus(user, -77));
    CHECK_IS(status_of(user), -77);
    CHECK_IS(clWaitForEvents(1, &user), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    CHECK_IS(clWaitForEvents(1, &second), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    CHECK(status_of(first) < 0);
    CHECK(status_of(second) < 0);
    int value = 0;
    CHECK_IS(clEnqueueReadBuffer(f.out_of_order, f.buffer, CL_TRUE, 0, 4, &value, 1, &user, NULL),
             CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    CHECK_OK(clFinish(f.out_of_order));
    CHECK_IS(read_first(&f, f.in_order), 0); /* neither has run */
    CHECK_OK(clReleaseEvent(first));
    CHECK_OK(clReleaseEvent(second));
    CHECK_OK(clReleaseEvent(user));
    tear_down(&f);
}

struct release_later {
    cl_event event;
    _Atomic int done;
};

static void *complete_later(void *argument)
{
    struct release_later *later = argument;
    sleep_ms(30);
    clSetUserEventStatus(later->event, CL_COMPLETE);
    atomic_store(&later->done, 1);
    return NULL;
}

/* A blocked wait, finish and read, let go by another thread. */
static void test_user_event_unblocks(void)
{
    struct fixture f;
    NEED(set_up(&f));
    for (int way = 0; way < 4; way++) {
        cl_int error = 0;
        struct release_later later = {.event = clCreateUserEvent(f.context, &error)};
        cl_command_queue queue = way == 3 ? f.out_of_order : f.in_order;
        cl_event event = NULL;
        int value = 0;
        CHECK_OK(enqueue_add(&f, queue, 1, &later.event, &event));
        pthread_t thread;
        pthread_create(&thread, NULL, complete_later, &later);
        if (way == 0)
            CHECK_OK(clWaitForEvents(1, &later.event));
        else if (way == 1)
            CHECK_OK(clEnqueueReadBuffer(queue, f.buffer, CL_TRUE, 0, 4, &value, 0, NULL, NULL));
        else
            CHECK_OK(clFinish(queue));
        if (way > 0)
            CHECK_IS(status_of(event), CL_COMPLETE);
        CHECK(way != 1 || value == 2);
        pthread_join(thread, NULL);
        CHECK_OK(clFinish(queue));
        CHECK_OK(clReleaseEvent(event));
        CHECK_OK(clReleaseEvent(later.event));
    }
    CHECK_IS(read_first(&f, f.in_order), 4);
    tear_down(&f);
}

/* ---- callbacks -------------------------------------------------------------------------------------- */

static void test_callback_order(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_int error = 0;
    cl_event user = clCreateUserEvent(f.context, &error), event = NULL;
    CHECK_OK(enqueue_add(&f, f.in_order, 1, &user, &event));
    struct calls calls = {0};
    CHECK_IS(clSetEventCallback(event, CL_COMPLETE, NULL, NULL), CL_INVALID_VALUE);
    CHECK_IS(clSetEventCallback(event, 9, called, &calls), CL_INVALID_VALUE);
    CHECK_OK(clSetEventCallback(event, CL_COMPLETE, called, &calls));
    CHECK_OK(clSetEventCallback(event, CL_RUNNING, called, &calls));
    CHECK_OK(clSetEventCallback(event, CL_SUBMITTED, called, &calls));
    CHECK_OK(clFlush(f.in_order));
    sleep_ms(10);
    CHECK(calls.count <= 1);
    CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
    CHECK_OK(clFinish(f.in_order));
    CHECK(becomes(&calls.count, 3));
    CHECK(calls.event == event);
    CHECK_IS(calls.statuses[0], CL_SUBMITTED);
    CHECK_IS(calls.statuses[1], CL_RUNNING);
    CHECK_IS(calls.statuses[2], CL_COMPLETE);
    sleep_ms(10);
    CHECK_IS(calls.count, 3); /* each once */
    CHECK_OK(clReleaseEvent(event));
    CHECK_OK(clReleaseEvent(user));
    tear_down(&f);
}

/* On an event that is complete already; on one that fails; on a user event; on one that the program has released. */
static void test_callback_late(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_int error = 0;
    cl_event event = NULL;
    struct calls calls = {0};
    CHECK_OK(enqueue_add(&f, f.in_order, 0, NULL, &event));
    CHECK_OK(clFinish(f.in_order));
    for (int i = 0; i < 100; i++) {
        CHECK_OK(clSetEventCallback(event, CL_COMPLETE, called, &calls));
        CHECK(becomes(&calls.count, i + 1));
    }
    CHECK_OK(clReleaseEvent(event));

    cl_event user = NULL;
    if (check_strictly()) {
        struct calls failed = {0};
        user = clCreateUserEvent(f.context, &error);
        CHECK_OK(enqueue_add(&f, f.out_of_order, 1, &user, &event));
        CHECK_OK(clSetEventCallback(event, CL_COMPLETE, called, &failed));
        CHECK_OK(clFlush(f.out_of_order));
        CHECK_OK(clSetUserEventStatus(user, -5));
        CHECK(becomes(&failed.count, 1));
        CHECK(failed.statuses[0] < 0);
        CHECK_OK(clReleaseEvent(event));
        CHECK_OK(clReleaseEvent(user));
    }

    struct calls of_user = {0};
    user = clCreateUserEvent(f.context, &error);
    CHECK_OK(clSetEventCallback(user, CL_COMPLETE, called, &of_user));
    sleep_ms(5);
    CHECK_IS(of_user.count, 0);
    CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
    CHECK(becomes(&of_user.count, 1));
    CHECK_IS(of_user.statuses[0], CL_COMPLETE);
    CHECK_OK(clReleaseEvent(user));

    struct calls released = {0};
    CHECK_OK(enqueue_add(&f, f.in_order, 0, NULL, &event));
    CHECK_OK(clSetEventCallback(event, CL_COMPLETE, called, &released));
    CHECK_OK(clReleaseEvent(event));
    CHECK_OK(clFlush(f.in_order));
    CHECK(becomes(&released.count, 1));
    tear_down(&f);
}

/* A callback that completes a user event that another command waits for; and thousands of callbacks. */
static void test_callback_chain(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_int error = 0;
    struct calls calls = {.next = clCreateUserEvent(f.context, &error)};
    cl_event first = NULL, second = NULL;
    CHECK_OK(enqueue_add(&f, f.in_order, 0, NULL, &first));
    CHECK_OK(clSetEventCallback(first, CL_COMPLETE, called, &calls));
    CHECK_OK(enqueue_add(&f, f.second, 1, &calls.next, &second));
    CHECK_OK(clFlush(f.in_order));
    CHECK_OK(clFlush(f.second));
    CHECK_OK(clWaitForEvents(1, &second));
    CHECK(becomes(&calls.count, 1));
    CHECK_OK(clReleaseEvent(first));
    CHECK_OK(clReleaseEvent(second));
    CHECK_OK(clReleaseEvent(calls.next));
    struct calls many = {0};
    for (int i = 0; i < 2000; i++) {
        CHECK_OK(enqueue_add(&f, f.in_order, 0, NULL, &first));
        CHECK_OK(clSetEventCallback(first, CL_COMPLETE, called, &many));
        CHECK_OK(clReleaseEvent(first));
    }
    CHECK_OK(clFinish(f.in_order));
    CHECK(becomes(&many.count, 2000));
    CHECK_IS(read_first(&f, f.in_order), 2002);
    tear_down(&f);
}

/* ---- 5.13: markers, barriers; order ------------------------------------------------------------------ */

static void test_markers(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_int error = 0;
    for (int way = 0; way < 2; way++) {
        cl_command_queue queue = way ? f.out_of_order : f.in_order;
        cl_event user = clCreateUserEvent(f.context, &error), event = NULL, all = NULL, listed = NULL;
        CHECK_OK(enqueue_add(&f, queue, 1, &user, &event));
        CHECK_OK(clEnqueueMarkerWithWaitList(queue, 0, NULL, &all));
        CHECK_OK(clEnqueueMarkerWithWaitList(queue, 1, &event, &listed));
        CHECK_OK(clFlush(queue));
        sleep_ms(10);
        CHECK(status_of(all) > CL_COMPLETE);
        CHECK(status_of(listed) > CL_COMPLETE);
        CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
        CHECK_OK(clWaitForEvents(1, &all));
        CHECK_IS(status_of(event), CL_COMPLETE);
        CHECK_OK(clWaitForEvents(1, &listed));
        CHECK_OK(clReleaseEvent(user));
        CHECK_OK(clReleaseEvent(event));
        CHECK_OK(clReleaseEvent(all));
        CHECK_OK(clReleaseEvent(listed));
    }
    /* 1.x */
    cl_event event = NULL;
    CHECK_OK(clEnqueueMarker(f.in_order, &event));
    if (check_strictly())
        CHECK_OK(clEnqueueWaitForEvents(f.in_order, 1, &event));
    CHECK_OK(clEnqueueBarrier(f.in_order));
    CHECK_OK(clFinish(f.in_order));
    CHECK_IS(status_of(event), CL_COMPLETE);
    CHECK_OK(clReleaseEvent(event));
    CHECK_IS(clEnqueueMarker(f.in_order, NULL), CL_INVALID_VALUE);
    if (check_strictly())
        CHECK_IS(clEnqueueWaitForEvents(f.in_order, 0, NULL), CL_INVALID_VALUE);
    tear_down(&f);
}

/* A barrier holds later commands of an out-of-order queue, also those that this process could do by itself. */
static void test_barrier(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_int error = 0;
    cl_event user = clCreateUserEvent(f.context, &error), before = NULL, after = NULL, read = NULL;
    int value = -1;
    CHECK_OK(enqueue_add(&f, f.out_of_order, 1, &user, &before));
    CHECK_OK(clEnqueueBarrierWithWaitList(f.out_of_order, 0, NULL, NULL));
    CHECK_OK(enqueue_add(&f, f.out_of_order, 0, NULL, &after));
    CHECK_OK(clEnqueueBarrierWithWaitList(f.out_of_order, 1, &after, NULL));
    CHECK_OK(clEnqueueReadBuffer(f.out_of_order, f.buffer, CL_FALSE, 0, 4, &value, 0, NULL, &read));
    CHECK_OK(clFlush(f.out_of_order));
    sleep_ms(20);
    CHECK(status_of(after) > CL_COMPLETE);
    CHECK(status_of(read) > CL_COMPLETE);
    CHECK_IS(value, -1);
    CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
    CHECK_OK(clFinish(f.out_of_order));
    CHECK_IS(status_of(read), CL_COMPLETE);
    CHECK_IS(value, 2);
    CHECK_OK(clReleaseEvent(user));
    CHECK_OK(clReleaseEvent(before));
    CHECK_OK(clReleaseEvent(after));
    CHECK_OK(clReleaseEvent(read));
    tear_down(&f);
}

static bool completes(cl_event event)
{
    for (int i = 0; i < 5000 && status_of(event) > CL_COMPLETE; i++)
        sleep_ms(1);
    return status_of(event) == CL_COMPLETE;
}

/* With a list that is complete already, or none: still behind the last barrier, and only behind that. */
static void check_complete_list(struct fixture *f, cl_event complete)
{
    cl_int error = 0;
    cl_event user = clCreateUserEvent(f->context, &error), listed = NULL, last = NULL, mapped = NULL;
    cl_mem other = clCreateBuffer(f->context, 0, 64, NULL, &error);
    CHECK_OK(clEnqueueBarrierWithWaitList(f->out_of_order, 1, &user, NULL));
    CHECK_OK(clEnqueueMarkerWithWaitList(f->out_of_order, 1, &complete, &listed));
    CHECK_OK(clEnqueueBarrierWithWaitList(f->out_of_order, 1, &complete, NULL));
    CHECK_OK(enqueue_add(f, f->out_of_order, 0, NULL, &last));
    void *at = clEnqueueMapBuffer(f->out_of_order, other, CL_FALSE, CL_MAP_READ, 0, 64, 0, NULL, &mapped, &error);
    CHECK_OK(error);
    CHECK_OK(clFlush(f->out_of_order));
    sleep_ms(10);
    CHECK(status_of(mapped) > CL_COMPLETE);
    CHECK(status_of(listed) > CL_COMPLETE);
    CHECK(status_of(last) > CL_COMPLETE);
    CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
    CHECK(completes(listed));
    CHECK(completes(last));
    CHECK(completes(mapped));
    CHECK_OK(clEnqueueUnmapMemObject(f->out_of_order, other, at, 0, NULL, NULL));
    CHECK_OK(clReleaseMemObject(other));
    CHECK_OK(clReleaseEvent(user));
    CHECK_OK(clReleaseEvent(mapped));
    CHECK_OK(clReleaseEvent(listed));
    CHECK_OK(clReleaseEvent(last));
}

/* A barrier with a wait list waits for that, and for nothing else that came before it. */
static void test_barrier_with_list(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_int error = 0;
    cl_event first = clCreateUserEvent(f.context, &error), second = clCreateUserEvent(f.context, &error);
    cl_event held = NULL, after = NULL;
    if (f.overtakes) {
        CHECK_OK(enqueue_add(&f, f.out_of_order, 1, &first, &held));
        CHECK_OK(clEnqueueBarrierWithWaitList(f.out_of_order, 1, &second, NULL));
        CHECK_OK(enqueue_add(&f, f.out_of_order, 0, NULL, &after));
        CHECK_OK(clFlush(f.out_of_order));
        CHECK(status_of(after) > CL_COMPLETE);
        CHECK_OK(clSetUserEventStatus(second, CL_COMPLETE));
        CHECK(completes(after));
        if (check_strictly()) /* PoCL forgets the barrier before the last, and has such a marker wait for all */
            check_complete_list(&f, second);
        CHECK(status_of(held) > CL_COMPLETE);
        CHECK_OK(clSetUserEventStatus(first, CL_COMPLETE));
        CHECK_OK(clFinish(f.out_of_order));
        CHECK_IS(status_of(held), CL_COMPLETE);
        CHECK_OK(clReleaseEvent(held));
        CHECK_OK(clReleaseEvent(after));
    }
    CHECK_OK(clReleaseEvent(first));
    CHECK_OK(clReleaseEvent(second));
    tear_down(&f);
}

/* An out-of-order queue: an independent command overtakes one that is held; clFinish waits for all. */
static void test_overtaking(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_int error = 0;
    if (!f.overtakes) {
        tear_down(&f);
        return;
    }
    cl_mem other = clCreateBuffer(f.context, 0, 64, NULL, &error);
    cl_event user = clCreateUserEvent(f.context, &error), held = NULL, free_one = NULL;
    int pattern = 5;
    CHECK_OK(enqueue_add(&f, f.out_of_order, 1, &user, &held));
    CHECK_OK(clEnqueueFillBuffer(f.out_of_order, other, &pattern, 4, 0, 64, 0, NULL, &free_one));
    CHECK_OK(clFlush(f.out_of_order));
    CHECK_OK(clWaitForEvents(1, &free_one));
    CHECK(status_of(held) > CL_COMPLETE);
    CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
    CHECK_OK(clFinish(f.out_of_order));
    CHECK_IS(status_of(held), CL_COMPLETE);
    CHECK_OK(clFinish(f.out_of_order));
    CHECK_OK(clReleaseEvent(held));
    CHECK_OK(clReleaseEvent(free_one));
    CHECK_OK(clReleaseEvent(user));
    CHECK_OK(clReleaseMemObject(other));
    tear_down(&f);
}

/* A chain through three queues and both ends of the list of devices. */
static void test_wait_across_queues(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_command_queue queues[] = {f.in_order, f.out_of_order, f.second, f.profiling};
    enum { LENGTH = 400 };
    static cl_event events[LENGTH];
    for (int i = 0; i < LENGTH; i++) {
        /* Up to twenty events to wait for: more than fit where few do. */
        cl_uint count = (cl_uint)(i < 20 ? i : 20);
        CHECK_OK(enqueue_add(&f, queues[i % 4], count, count ? &events[(cl_uint)i - count] : NULL, &events[i]));
    }
    for (size_t i = 0; i < COUNT(queues); i++)
        CHECK_OK(clFlush(queues[i]));
    CHECK_OK(clWaitForEvents(1, &events[LENGTH - 1]));
    CHECK_IS(read_first(&f, f.second), LENGTH);
    for (int i = 0; i < LENGTH; i++)
        CHECK_OK(clReleaseEvent(events[i]));
    /* A wait list of ten thousand. */
    enum { MANY = 10000 };
    static cl_event many[MANY];
    cl_int error = 0;
    cl_event user = clCreateUserEvent(f.context, &error), last = NULL, marker = NULL;
    CHECK_OK(enqueue_add(&f, f.in_order, 1, &user, &last));
    for (int i = 0; i < MANY; i++)
        many[i] = i % 2 ? user : last;
    CHECK_OK(clEnqueueMarkerWithWaitList(f.out_of_order, MANY, many, &marker));
    CHECK_OK(clFlush(f.in_order));
    CHECK_OK(clFlush(f.out_of_order));
    sleep_ms(5);
    CHECK(status_of(marker) > CL_COMPLETE);
    CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
    CHECK_OK(clWaitForEvents(1, &marker));
    CHECK_IS(status_of(last), CL_COMPLETE);
    CHECK_OK(clReleaseEvent(user));
    CHECK_OK(clReleaseEvent(last));
    CHECK_OK(clReleaseEvent(marker));
    tear_down(&f);
}

/* ---- 5.14: profiling -------------------------------------------------------------------------------- */

static void test_profiling(void)
{
    struct fixture f;
    NEED(set_up(&f));
    cl_event events[8];
    int value = 0;
    size_t one = 1;
    for (int i = 0; i < 6; i++)
        CHECK_OK(clEnqueueNDRangeKernel(f.profiling, f.spin, 1, NULL, &one, NULL, 0, NULL, &events[i]));
    CHECK_OK(clEnqueueMarkerWithWaitList(f.profiling, 0, NULL, &events[6]));
    CHECK_OK(clEnqueueReadBuffer(f.profiling, f.buffer, CL_TRUE, 0, 4, &value, 0, NULL, &events[7]));
    CHECK_OK(clFinish(f.profiling));
    cl_ulong last_end = 0;
    for (int i = 0; i < 8; i++) {
        static const cl_profiling_info names[] = {CL_PROFILING_COMMAND_QUEUED, CL_PROFILING_COMMAND_SUBMIT,
                                                  CL_PROFILING_COMMAND_START, CL_PROFILING_COMMAND_END};
        cl_ulong times[4] = {0};
        for (int k = 0; k < 4; k++)
            CHECK_OK(clGetEventProfilingInfo(events[i], names[k], sizeof times[k], &times[k], NULL));
        CHECK(times[0] > 0);
        CHECK(times[0] <= times[1] && times[1] <= times[2] && times[2] <= times[3]);
        CHECK(i == 0 || i >= 6 || times[2] >= last_end); /* in order */
        CHECK(i >= 6 || times[3] > times[2]);
        last_end = times[3];
        CHECK_IS(clGetEventProfilingInfo(events[i], 0x9999, sizeof times, times, NULL), CL_INVALID_VALUE);
        CHECK_IS(clGetEventProfilingInfo(events[i], names[0], 1, times, NULL), CL_INVALID_VALUE);
        CHECK_OK(clReleaseEvent(events[i]));
    }
    cl_int error = 0;
    cl_event user = clCreateUserEvent(f.context, &error);
    cl_ulong time = 0;
    CHECK_IS(clGetEventProfilingInfo(user, CL_PROFILING_COMMAND_QUEUED, sizeof time, &time, NULL),
             CL_PROFILING_INFO_NOT_AVAILABLE);
    CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
    CHECK_OK(clReleaseEvent(user));
    tear_down(&f);
}

/* ---- bad handles ------------------------------------------------------------------------------------ */

/* The loader calls through a handle's first word: a handle of another kind is the worst that a program can pass. */
static void test_bad_handles(void)
{
    if (!check_strictly())
        return;
    struct fixture f;
    NEED(set_up(&f));
    cl_int error = 0;
    cl_event user = clCreateUserEvent(f.context, &error);
    char value[64];
    CHECK_IS(clGetCommandQueueInfo((cl_command_queue)f.context, CL_QUEUE_CONTEXT, 64, value, NULL),
             CL_INVALID_COMMAND_QUEUE);
    CHECK_IS(clGetEventInfo((cl_event)f.context, CL_EVENT_CONTEXT, 64, value, NULL), CL_INVALID_EVENT);
    CHECK_IS(clGetContextInfo((cl_context)f.in_order, CL_CONTEXT_DEVICES, 64, value, NULL), CL_INVALID_CONTEXT);
    CHECK_IS(clGetDeviceInfo((cl_device_id)f.context, CL_DEVICE_TYPE, 64, value, NULL), CL_INVALID_DEVICE);
    CHECK_IS(clFinish((cl_command_queue)f.context), CL_INVALID_COMMAND_QUEUE);
    CHECK_IS(clFlush((cl_command_queue)user), CL_INVALID_COMMAND_QUEUE);
    CHECK_IS(clReleaseEvent((cl_event)f.in_order), CL_INVALID_EVENT);
    CHECK_IS(clRetainContext((cl_context)user), CL_INVALID_CONTEXT);
    CHECK_IS(clReleaseCommandQueue((cl_command_queue)f.buffer), CL_INVALID_COMMAND_QUEUE);
    CHECK_IS(clSetUserEventStatus((cl_event)f.context, 0), CL_INVALID_EVENT);
    CHECK_IS(clSetEventCallback((cl_event)f.context, CL_COMPLETE, called, NULL), CL_INVALID_EVENT);
    CHECK_IS(clEnqueueMarkerWithWaitList((cl_command_queue)f.context, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    cl_event wrong[2] = {user, (cl_event)f.context};
    CHECK_IS(clEnqueueMarkerWithWaitList(f.in_order, 2, wrong, NULL), CL_INVALID_EVENT_WAIT_LIST);
    CHECK_IS(clWaitForEvents(2, wrong), CL_INVALID_EVENT);
    CHECK_IS(clFinish(NULL), CL_INVALID_COMMAND_QUEUE);
    CHECK_IS(clReleaseEvent(NULL), CL_INVALID_EVENT);
    CHECK_IS(clReleaseContext(NULL), CL_INVALID_CONTEXT);
    if (check_is_penstock()) { /* absent features */
        CHECK(clSVMAlloc(f.context, 0, 64, 0) == NULL);
        CHECK_IS(clEnqueueSVMMap(f.in_order, CL_TRUE, CL_MAP_READ, value, 64, 0, NULL, NULL), CL_INVALID_OPERATION);
        CHECK(!clCreatePipe(f.context, 0, 4, 4, NULL, &error));
        CHECK_IS(error, CL_INVALID_OPERATION);
        CHECK_IS(clEnqueueNativeKernel(f.in_order, NULL, NULL, 0, 0, NULL, NULL, 0, NULL, NULL), CL_INVALID_OPERATION);
    }
    CHECK_OK(clSetUserEventStatus(user, CL_COMPLETE));
    CHECK_OK(clReleaseEvent(user));
    tear_down(&f);
}

/* ---- threads, fork ---------------------------------------------------------------------------------- */

struct worker {
    struct fixture *f;
    pthread_t thread;
    int failures;
};

static void *work(void *argument)
{
    struct worker *w = argument;
    cl_int error = 0;
    for (int round = 0; round < 20; round++) {
        cl_command_queue queue = clCreateCommandQueue(w->f->context, devices[0], 0, &error);
        cl_mem buffer = clCreateBuffer(w->f->context, 0, 256, NULL, &error);
        cl_event before = NULL, event = NULL;
        int value = 0;
        for (int i = 0; i < 50; i++) {
            w->failures += clEnqueueFillBuffer(queue, buffer, &i, 4, 0, 256, before ? 1 : 0, before ? &before : NULL,
                                               &event) != CL_SUCCESS;
            if (before)
                clReleaseEvent(before);
            before = event;
        }
        w->failures += clEnqueueReadBuffer(queue, buffer, CL_TRUE, 128, 4, &value, 1, &before, NULL) != CL_SUCCESS;
        w->failures += value != 49;
        w->failures += clReleaseEvent(before) != CL_SUCCESS;
        w->failures += clFinish(queue) != CL_SUCCESS;
        w->failures += clReleaseMemObject(buffer) != CL_SUCCESS;
        w->failures += clReleaseCommandQueue(queue) != CL_SUCCESS;
    }
    return NULL;
}

static void test_threads(void)
{
    struct fixture f;
    NEED(set_up(&f));
    struct worker workers[6];
    for (size_t i = 0; i < COUNT(workers); i++) {
        workers[i] = (struct worker){.f = &f};
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (size_t i = 0; i < COUNT(workers); i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK_IS(workers[i].failures, 0);
    }
    tear_down(&f);
}

/* In the child: what is the parent's fails cleanly, and a context of its own works. */
static int child_of_fork(struct fixture *f, cl_event event)
{
    int failures = 0, pattern = 3, value = 0;
    failures += clFinish(f->in_order) == CL_OUT_OF_HOST_MEMORY;
    cl_int status = 0;
    clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
    clReleaseEvent(event);
    clReleaseMemObject(f->buffer);
    cl_int error = 0;
    cl_context context = clCreateContext(NULL, 1, devices, NULL, NULL, &error);
    if (!context)
        return error == CL_DEVICE_NOT_AVAILABLE ? failures : failures + 100;
    cl_command_queue queue = clCreateCommandQueue(context, devices[0], 0, &error);
    cl_mem buffer = clCreateBuffer(context, 0, 64, NULL, &error);
    failures += clEnqueueFillBuffer(queue, buffer, &pattern, 4, 0, 64, 0, NULL, &event) != CL_SUCCESS;
    struct calls calls = {0};
    failures += clSetEventCallback(event, CL_COMPLETE, called, &calls) != CL_SUCCESS;
    failures += clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, 4, &value, 0, NULL, NULL) != CL_SUCCESS;
    failures += value != 3;
    failures += !becomes(&calls.count, 1);
    failures += clReleaseEvent(event) != CL_SUCCESS;
    failures += clReleaseMemObject(buffer) != CL_SUCCESS;
    failures += clReleaseCommandQueue(queue) != CL_SUCCESS;
    failures += clReleaseContext(context) != CL_SUCCESS;
    return failures;
}

static void test_fork(void)
{
#ifdef __SANITIZE_THREAD__ /* which ends a child that starts threads */
    return;
#endif
#ifdef __SANITIZE_ADDRESS__ /* whose allocator is not ready for a fork while others allocate, as a link's threads do   \
                             */
    if (getenv("PENSTOCK_POOL"))
        return;
#endif
    if (!check_is_penstock()) /* drivers with threads of their own do not survive it */
        return;
    struct fixture f;
    NEED(set_up(&f));
    cl_event event = NULL;
    struct calls calls = {0};
    CHECK_OK(enqueue_add(&f, f.in_order, 0, NULL, &event));
    CHECK_OK(clSetEventCallback(event, CL_COMPLETE, called, &calls));
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(child_of_fork(&f, event));
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_IS(status, 0);
    CHECK_OK(clFinish(f.in_order)); /* the parent goes on */
    CHECK_IS(read_first(&f, f.in_order), 1);
    CHECK(becomes(&calls.count, 1));
    CHECK_OK(clReleaseEvent(event));
    tear_down(&f);
}

int main(int argc, char **argv)
{
    static const struct check_group groups[] = {
        {"platform", test_platform},
        {"device-ids", test_device_ids},
        {"device-info", test_device_info},
        {"device-values", test_device_values},
        {"timers", test_timers},
        {"sub-devices", test_sub_devices},
        {"sub-devices-come-and-go", test_sub_devices_come_and_go},
        {"context", test_context},
        {"context-destructors", test_context_destructors},
        {"queue", test_queue},
        {"queue-properties", test_queue_properties},
        {"queue-churn", test_queue_churn},
        {"event-info", test_event_info},
        {"wait-for-events", test_wait_for_events},
        {"event-release-early", test_event_release_early},
        {"user-event", test_user_event},
        {"user-event-fails", test_user_event_fails},
        {"user-event-unblocks", test_user_event_unblocks},
        {"callback-order", test_callback_order},
        {"callback-late", test_callback_late},
        {"callback-chain", test_callback_chain},
        {"markers", test_markers},
        {"barrier", test_barrier},
        {"barrier-with-list", test_barrier_with_list},
        {"overtaking", test_overtaking},
        {"wait-across-queues", test_wait_across_queues},
        {"profiling", test_profiling},
        {"bad-handles", test_bad_handles},
        {"threads", test_threads},
        {"fork", test_fork},
    };
    return fixture_main(argc, argv, groups, COUNT(groups));
}
