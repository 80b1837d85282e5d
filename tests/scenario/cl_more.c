/* scenario/cl_more.c - what no driver here has and others do: run with more_layer.c below, natively and through
 * Penstock. */
#include "cl_check.h"

#include <CL/cl_ext.h>

#include "more_layer.h"

static bool has_extension(struct world *w, const char *name)
{
    char extensions[8192] = "";
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_EXTENSIONS, sizeof extensions, extensions, NULL));
    return strstr(extensions, name);
}

/* ---- cl_khr_priority_hints, cl_khr_throttle_hints ---------------------------------------------------------- */

/* Larger than what Penstock does without the device. */
enum { FILLED = 1 << 20 };

static cl_uint hints_of(struct world *w, const cl_queue_properties *properties)
{
    const cl_uint pattern = NO_HINTS;
    cl_uint last = 0;
    cl_int status;
    cl_command_queue queue = clCreateCommandQueueWithProperties(w->context, w->device, properties, &status);
    if (!expect_status(status, CL_SUCCESS, "clCreateCommandQueueWithProperties", "CL_SUCCESS", __LINE__))
        return 0;
    cl_mem buffer = clCreateBuffer(w->context, CL_MEM_READ_WRITE, FILLED, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clEnqueueFillBuffer(queue, buffer, &pattern, sizeof pattern, 0, FILLED, 0, NULL, NULL));
    EXPECT_OK(clFinish(queue)); /* it may be one without order */
    EXPECT_OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, FILLED - sizeof last, sizeof last, &last, 0, NULL, NULL));
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseCommandQueue(queue));
    return last;
}

static void hints(struct world *w)
{
    static const cl_queue_properties lists[][7] = {
        {CL_QUEUE_PROPERTIES, CL_QUEUE_PROFILING_ENABLE, 0},
        {CL_QUEUE_PRIORITY_KHR, CL_QUEUE_PRIORITY_HIGH_KHR, 0},
        {CL_QUEUE_THROTTLE_KHR, CL_QUEUE_THROTTLE_LOW_KHR, 0},
        {CL_QUEUE_PRIORITY_KHR, CL_QUEUE_PRIORITY_LOW_KHR, CL_QUEUE_PROPERTIES, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE,
         CL_QUEUE_THROTTLE_KHR, CL_QUEUE_THROTTLE_MED_KHR, 0},
    };
    static const cl_uint wanted[] = {NO_HINTS, 0x100, 4, 0x402};
    EXPECT(has_extension(w, "cl_khr_priority_hints") && has_extension(w, "cl_khr_throttle_hints"));
    for (size_t i = 0; i < 4; i++)
        EXPECT(hints_of(w, lists[i]) == wanted[i]);
    cl_queue_properties got[7] = {0};
    size_t size = 0;
    cl_int status;
    cl_command_queue queue = clCreateCommandQueueWithProperties(w->context, w->device, lists[3], &status);
    EXPECT_OK(status);
    if (w->strict) { /* natively PoCL's own list lacks what the layer has taken out */
        EXPECT_OK(clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES_ARRAY, sizeof got, got, &size));
        EXPECT(size == sizeof got && !memcmp(got, lists[3], sizeof got));
    }
    EXPECT_OK(clReleaseCommandQueue(queue));
}

static void bad_hints(struct world *w)
{
    static const cl_queue_properties lists[][5] = {
        {CL_QUEUE_PRIORITY_KHR, 0, 0},
        {CL_QUEUE_PRIORITY_KHR, 3, 0},
        {CL_QUEUE_THROTTLE_KHR, 8, 0},
        {CL_QUEUE_PRIORITY_KHR, 1, CL_QUEUE_PRIORITY_KHR, 1, 0},
    };
    for (size_t i = 0; w->strict && i < 4; i++)
        EXPECT_REFUSED(clCreateCommandQueueWithProperties(w->context, w->device, lists[i], &status), CL_INVALID_VALUE);
}

/* ---- cl_khr_suggested_local_work_size ----------------------------------------------------------------------- */

static void suggested(struct world *w)
{
    const size_t offset[2] = {0, 3}, global[2] = {64, 32}, nothing[2] = {64, 0};
    size_t local[3] = {7, 7, 7};
    cl_int status, one = 1;
    clGetKernelSuggestedLocalWorkSizeKHR_fn suggest =
        (clGetKernelSuggestedLocalWorkSizeKHR_fn)clGetExtensionFunctionAddressForPlatform(
            w->platform, "clGetKernelSuggestedLocalWorkSizeKHR");
    EXPECT(suggest != NULL);
    EXPECT(has_extension(w, "cl_khr_suggested_local_work_size"));
    if (!suggest)
        return;
    cl_kernel any = make_kernel(w, "kernel void k(global int *o, int v) { *o = v; }", "k");
    cl_kernel fixed =
        make_kernel(w, "kernel __attribute__((reqd_work_group_size(4, 2, 1))) void k(global int *o) { *o = 1; }", "k");
    cl_mem buffer = clCreateBuffer(w->context, CL_MEM_READ_WRITE, 4, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clSetKernelArg(any, 0, sizeof buffer, &buffer));
    if (w->strict)
        EXPECT_STATUS(suggest(w->queue, any, 2, offset, global, local), CL_INVALID_KERNEL_ARGS);
    EXPECT_OK(clSetKernelArg(any, 1, sizeof one, &one));
    EXPECT_OK(suggest(w->queue, any, 2, offset, global, local));
    EXPECT(local[0] == 8 && local[1] == 7 && local[2] == 7);
    EXPECT_OK(suggest(w->queue, any, 1, NULL, global, local));
    EXPECT(local[0] == 8);
    if (w->strict) {
        EXPECT_OK(clSetKernelArg(fixed, 0, sizeof buffer, &buffer));
        EXPECT_OK(suggest(w->queue, fixed, 2, NULL, global, local));
        EXPECT(local[0] == 4 && local[1] == 2);
        EXPECT_STATUS(suggest(w->queue, any, 2, NULL, nothing, local), CL_INVALID_GLOBAL_WORK_SIZE);
        EXPECT_STATUS(suggest(w->queue, any, 2, NULL, NULL, local), CL_INVALID_GLOBAL_WORK_SIZE);
        EXPECT_STATUS(suggest(w->queue, any, 4, NULL, global, local), CL_INVALID_WORK_DIMENSION);
        EXPECT_STATUS(suggest(w->queue, any, 2, NULL, global, NULL), CL_INVALID_VALUE);
        EXPECT_STATUS(suggest(NULL, any, 2, NULL, global, local), CL_INVALID_COMMAND_QUEUE);
        EXPECT_STATUS(suggest(w->queue, NULL, 2, NULL, global, local), CL_INVALID_KERNEL);
    }
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseKernel(any));
    EXPECT_OK(clReleaseKernel(fixed));
}

/* ---- sub-groups --------------------------------------------------------------------------------------------- */

typedef cl_int(CL_API_CALL *sub_group_function)(cl_kernel, cl_device_id, cl_kernel_sub_group_info, size_t, const void *,
                                                size_t, void *, size_t *);

static size_t ask(struct world *w, sub_group_function function, cl_kernel kernel, cl_kernel_sub_group_info name,
                  size_t count, const size_t *input)
{
    size_t answer = 99, size = 0;
    EXPECT_OK(function(kernel, w->device, name, count * sizeof *input, input, 0, NULL, &size));
    EXPECT(size == sizeof answer);
    EXPECT_OK(function(kernel, w->device, name, count * sizeof *input, input, sizeof answer, &answer, NULL));
    return answer;
}

/* The two of cl_khr_subgroups, which OpenCL 2.1 has taken over. More shapes than are remembered, and the first again.
 */
static void sub_groups_of_shapes(struct world *w, sub_group_function function, cl_kernel kernel)
{
    static const size_t shapes[][3] = {{16, 1, 1}, {3, 1, 1}, {5, 3, 2}, {8, 2, 1}, {64, 1, 1}, {1, 1, 1}, {16, 1, 1}};
    static const size_t sizes[] = {8, 3, 8, 8, 8, 1, 8}, counts[] = {2, 1, 4, 2, 8, 1, 2};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        EXPECT(ask(w, function, kernel, CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE, 3, shapes[i]) == sizes[i]);
        EXPECT(ask(w, function, kernel, CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE, 3, shapes[i]) == counts[i]);
    }
    EXPECT(ask(w, function, kernel, CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE, 2, shapes[3]) == 2);
    EXPECT(ask(w, function, kernel, CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE, 1, shapes[3]) == 1);
}

static void sub_groups_of_kernel(struct world *w, cl_kernel kernel)
{
    static const size_t wanted[] = {2, SUB_GROUPS, SUB_GROUPS + 1};
    size_t shape[4] = {9, 9, 9, 9}, size = 0; /* room for more than there is */
    for (size_t i = 0; i < 3; i++) {
        bool can = wanted[i] <= SUB_GROUPS;
        EXPECT_OK(clGetKernelSubGroupInfo(kernel, w->device, CL_KERNEL_LOCAL_SIZE_FOR_SUB_GROUP_COUNT, sizeof *wanted,
                                          &wanted[i], sizeof shape, shape, &size));
        EXPECT(size == 3 * sizeof *shape && shape[0] == (can ? 8 * wanted[i] : 0) && shape[1] == can &&
               shape[2] == can);
    }
    EXPECT(ask(w, clGetKernelSubGroupInfo, kernel, CL_KERNEL_MAX_NUM_SUB_GROUPS, 0, NULL) == SUB_GROUPS);
    EXPECT(ask(w, clGetKernelSubGroupInfo, kernel, CL_KERNEL_COMPILE_NUM_SUB_GROUPS, 0, NULL) == 0);
    if (!w->strict)
        return;
    EXPECT_OK(clGetKernelSubGroupInfo(kernel, w->device, CL_KERNEL_LOCAL_SIZE_FOR_SUB_GROUP_COUNT, sizeof *wanted,
                                      wanted, sizeof *shape, shape, &size));
    EXPECT(size == sizeof *shape && shape[0] == 16);
}

static void bad_sub_groups(struct world *w, sub_group_function function, cl_kernel kernel)
{
    const cl_kernel_sub_group_info count = CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE;
    const size_t shape[4] = {8, 1, 1, 1};
    size_t answer;
    EXPECT_STATUS(function(NULL, w->device, count, 24, shape, 8, &answer, NULL), CL_INVALID_KERNEL);
    EXPECT_STATUS(function(kernel, (cl_device_id)kernel, count, 24, shape, 8, &answer, NULL), CL_INVALID_DEVICE);
    EXPECT_STATUS(function(kernel, w->device, count, 0, NULL, 8, &answer, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(function(kernel, w->device, count, 12, shape, 8, &answer, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(function(kernel, w->device, count, 32, shape, 8, &answer, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(function(kernel, w->device, count, 24, shape, 4, &answer, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(function(kernel, w->device, 0x9999, 24, shape, 8, &answer, NULL), CL_INVALID_VALUE);
}

static void sub_groups(struct world *w)
{
    char version[1024] = "";
    size_t wanted = 2, shape[3];
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_VERSION, sizeof version, version, NULL));
    bool older = strncmp(version, "OpenCL 2.0", 10) == 0;
    sub_group_function function =
        (sub_group_function)clGetExtensionFunctionAddressForPlatform(w->platform, "clGetKernelSubGroupInfoKHR");
    cl_kernel kernel = make_kernel(w, "kernel void k(global int *o) { *o = 1; }", "k");
    EXPECT(has_extension(w, "cl_khr_subgroups"));
    EXPECT(function != NULL);
    if (function)
        sub_groups_of_shapes(w, function, kernel);
    sub_groups_of_shapes(w, clGetKernelSubGroupInfoKHR, kernel);
    if (w->strict)
        bad_sub_groups(w, clGetKernelSubGroupInfoKHR, kernel);
    if (!older) {
        sub_groups_of_shapes(w, clGetKernelSubGroupInfo, kernel);
        sub_groups_of_kernel(w, kernel);
    } else if (w->strict) { /* there are no more */
        EXPECT_STATUS(clGetKernelSubGroupInfoKHR(kernel, w->device, CL_KERNEL_LOCAL_SIZE_FOR_SUB_GROUP_COUNT,
                                                 sizeof wanted, &wanted, sizeof shape, shape, NULL),
                      CL_INVALID_VALUE);
        EXPECT_STATUS(clGetKernelSubGroupInfoKHR(kernel, w->device, CL_KERNEL_MAX_NUM_SUB_GROUPS, 0, NULL,
                                                 sizeof wanted, &wanted, NULL),
                      CL_INVALID_VALUE);
    }
    EXPECT_OK(clReleaseKernel(kernel));
}

/* ---- cl_khr_depth_images ------------------------------------------------------------------------------------ */

static void depth_images(struct world *w)
{
    enum { WIDTH = 37, HEIGHT = 11, COUNT = WIDTH * HEIGHT };
    const cl_image_format format = {CL_DEPTH, CL_FLOAT};
    const cl_image_desc shape = {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = WIDTH, .image_height = HEIGHT};
    const size_t origin[3] = {0}, region[3] = {WIDTH, HEIGHT, 1}, row[3] = {WIDTH, 1, 1};
    float values[COUNT], back[COUNT] = {0}, quarter = 0.25f;
    cl_image_format formats[256], got;
    cl_uint count = 0, found = 0;
    cl_int status;
    EXPECT(has_extension(w, "cl_khr_depth_images"));
    EXPECT_OK(clGetSupportedImageFormats(w->context, CL_MEM_READ_WRITE, CL_MEM_OBJECT_IMAGE2D, 256, formats, &count));
    for (cl_uint i = 0; i < count; i++)
        found += !memcmp(&formats[i], &format, sizeof format);
    EXPECT(found == 1);
    for (int i = 0; i < COUNT; i++)
        values[i] = (float)i / COUNT;
    cl_mem image =
        clCreateImage(w->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, &format, &shape, values, &status);
    if (!expect_status(status, CL_SUCCESS, "clCreateImage", "CL_SUCCESS", __LINE__))
        return;
    if (w->strict) { /* natively the layer has made it another */
        EXPECT_OK(clGetImageInfo(image, CL_IMAGE_FORMAT, sizeof got, &got, NULL));
        EXPECT(!memcmp(&got, &format, sizeof format));
    }
    EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, origin, region, 0, 0, back, 0, NULL, NULL));
    EXPECT(!memcmp(back, values, sizeof values));
    if (w->strict) { /* a colour of one float; natively PoCL, which knows nothing of it, reads four */
        EXPECT_OK(clEnqueueFillImage(w->queue, image, &quarter, origin, row, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, origin, region, 0, 0, back, 0, NULL, NULL));
        EXPECT(back[0] == quarter && back[WIDTH - 1] == quarter && back[WIDTH] == values[WIDTH]);
    }
    EXPECT_OK(clReleaseMemObject(image));
}

/* ---- affinity domains ---------------------------------------------------------------------------------------- */

static void affinity(struct world *w)
{
    static const cl_device_affinity_domain asked[] = {CL_DEVICE_AFFINITY_DOMAIN_NUMA,
                                                      CL_DEVICE_AFFINITY_DOMAIN_NEXT_PARTITIONABLE};
    cl_device_partition_property ways[8] = {0}, made[4];
    cl_device_affinity_domain domains = 0;
    size_t size = 0;
    cl_uint units = 0, count = 0;
    bool has = false;
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_PARTITION_PROPERTIES, sizeof ways, ways, &size));
    for (size_t i = 0; i < size / sizeof *ways; i++)
        has |= ways[i] == CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN;
    EXPECT(has);
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_PARTITION_AFFINITY_DOMAIN, sizeof domains, &domains, NULL));
    EXPECT(domains == (asked[0] | asked[1]));
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL));
    for (int i = 0; i < 2; i++) {
        const cl_device_partition_property how[] = {CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN,
                                                    (cl_device_partition_property)asked[i], 0};
        cl_device_id parts[64];
        cl_uint part_units = 0;
        if (!expect_status(clCreateSubDevices(w->device, how, 0, NULL, &count), CL_SUCCESS, "clCreateSubDevices",
                           "CL_SUCCESS", __LINE__))
            return;
        EXPECT(count == units);
        EXPECT_OK(clCreateSubDevices(w->device, how, 64, parts, &count));
        for (cl_uint j = 0; j < count; j++) {
            EXPECT_OK(clGetDeviceInfo(parts[j], CL_DEVICE_MAX_COMPUTE_UNITS, sizeof part_units, &part_units, NULL));
            EXPECT(part_units == 1);
            EXPECT_OK(clGetDeviceInfo(parts[j], CL_DEVICE_PARTITION_TYPE, sizeof made, made, &size));
            EXPECT(size == sizeof how && made[0] == how[0] && made[1] == CL_DEVICE_AFFINITY_DOMAIN_NUMA && !made[2]);
        }
        struct world part = {.device = parts[count - 1]};
        cl_int status, value = 0;
        size_t one = 1;
        part.context = clCreateContext(NULL, 1, &part.device, NULL, NULL, &status);
        EXPECT_OK(status);
        part.queue = clCreateCommandQueue(part.context, part.device, 0, &status);
        EXPECT_OK(status);
        cl_kernel kernel = make_kernel(&part, "kernel void k(global int *o) { *o = 9; }", "k");
        cl_mem buffer = clCreateBuffer(part.context, CL_MEM_READ_WRITE, sizeof value, NULL, &status);
        EXPECT_OK(clSetKernelArg(kernel, 0, sizeof buffer, &buffer));
        EXPECT_OK(clEnqueueNDRangeKernel(part.queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadBuffer(part.queue, buffer, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL));
        EXPECT(value == 9);
        EXPECT_OK(clReleaseMemObject(buffer));
        EXPECT_OK(clReleaseKernel(kernel));
        EXPECT_OK(clReleaseCommandQueue(part.queue));
        EXPECT_OK(clReleaseContext(part.context));
        for (cl_uint j = 0; j < count; j++)
            EXPECT_OK(clReleaseDevice(parts[j]));
    }
}

static void bad_affinity(struct world *w)
{
    static const cl_device_affinity_domain asked[] = {0, CL_DEVICE_AFFINITY_DOMAIN_L4_CACHE, 1 << 10,
                                                      CL_DEVICE_AFFINITY_DOMAIN_NUMA |
                                                          CL_DEVICE_AFFINITY_DOMAIN_NEXT_PARTITIONABLE};
    cl_uint count;
    for (size_t i = 0; w->strict && i < 4; i++) {
        const cl_device_partition_property how[] = {CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN,
                                                    (cl_device_partition_property)asked[i], 0};
        EXPECT_STATUS(clCreateSubDevices(w->device, how, 0, NULL, &count), CL_INVALID_VALUE);
    }
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        {"hints", hints},           {"bad_hints", bad_hints},
        {"suggested", suggested},   {"depth_images", depth_images},
        {"affinity", affinity},     {"bad_affinity", bad_affinity},
        {"sub_groups", sub_groups},
    };
    return run_checks(argc, argv, checks, sizeof checks / sizeof *checks);
}
