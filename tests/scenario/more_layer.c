/* scenario/more_layer.c - an OpenCL layer (OPENCL_LAYERS): below it a device has what PoCL 3.1's has not, so that
 * programs can ask for it, natively and through Penstock.
 *
 * cl_khr_priority_hints, cl_khr_throttle_hints: a queue's show where a buffer is filled with NO_HINTS.
 * cl_khr_depth_images: images of one float are such ones, too.
 * cl_khr_suggested_local_work_size: an eighth in each dimension, and the offset.
 * Affinity domains: one compute unit is one NUMA node.
 * Sub-groups: of 8 work-items, at most SUB_GROUPS in a work-group.
 * Programs from SPIR-V: from the one module that il_module.h has.
 *
 * With OLDER the device is of OpenCL 2.0, and has the last two as the extensions of that time. */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl_layer.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "il_module.h"
#include "more_layer.h"

#define MOST 256

static cl_icd_dispatch ours;
static const cl_icd_dispatch *below;

/* What is known of handles: a queue's hints, a sub-device's domain. */
static struct {
    void *handle;
    cl_uint value;
} notes[MOST];
static size_t note_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards: notes */

/* Over what is noted of an earlier object at that address. */
static void note(void *handle, cl_uint value)
{
    pthread_mutex_lock(&lock);
    size_t i = 0;
    while (i < note_count && notes[i].handle != handle)
        i++;
    if (i < MOST) {
        notes[i].handle = handle;
        notes[i].value = value;
        note_count += i == note_count;
    }
    pthread_mutex_unlock(&lock);
}

static cl_uint noted(const void *handle)
{
    cl_uint value = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < note_count; i++)
        if (notes[i].handle == handle)
            value = notes[i].value;
    pthread_mutex_unlock(&lock);
    return value;
}

static cl_int answer(const void *value, size_t size, size_t room, void *out, size_t *out_size)
{
    if (out && room < size)
        return CL_INVALID_VALUE;
    if (out)
        memcpy(out, value, size);
    if (out_size)
        *out_size = size;
    return CL_SUCCESS;
}

/* ---- devices -------------------------------------------------------------------------------------------- */

static cl_int CL_API_CALL get_device_info(cl_device_id device, cl_device_info name, size_t room, void *out,
                                          size_t *out_size)
{
    static const char more[] = " cl_khr_priority_hints cl_khr_throttle_hints cl_khr_depth_images "
                               "cl_khr_suggested_local_work_size cl_khr_subgroups cl_khr_il_program";
    static const char il[] = "SPIR-V_1.0";
#ifdef OLDER
    static const char older[] = "OpenCL 2.0 older";
#else
    static const cl_name_version il_version = {CL_MAKE_VERSION(1, 0, 0), "SPIR-V"};
    static const cl_uint sub_groups = SUB_GROUPS;
#endif
    static const cl_device_partition_property ways[] = {CL_DEVICE_PARTITION_EQUALLY, CL_DEVICE_PARTITION_BY_COUNTS,
                                                        CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN};
    static const cl_device_affinity_domain domains =
        CL_DEVICE_AFFINITY_DOMAIN_NUMA | CL_DEVICE_AFFINITY_DOMAIN_NEXT_PARTITIONABLE;
    static const cl_device_partition_property numa[] = {CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN,
                                                        CL_DEVICE_AFFINITY_DOMAIN_NUMA, 0};
    char text[8192];
    cl_int status;
    switch (name) {
    case CL_DEVICE_EXTENSIONS:
        status = below->clGetDeviceInfo(device, name, sizeof text - sizeof more, text, NULL);
        if (status)
            return status;
        strcat(text, more);
        return answer(text, strlen(text) + 1, room, out, out_size);
    case CL_DEVICE_IL_VERSION:
        return answer(il, sizeof il, room, out, out_size);
#ifdef OLDER
    case CL_DEVICE_VERSION:
        return answer(older, sizeof older, room, out, out_size);
    case CL_DEVICE_NUMERIC_VERSION:
    case CL_DEVICE_ILS_WITH_VERSION:
    case CL_DEVICE_MAX_NUM_SUB_GROUPS:
        return CL_INVALID_VALUE;
#else
    case CL_DEVICE_ILS_WITH_VERSION:
        return answer(&il_version, sizeof il_version, room, out, out_size);
    case CL_DEVICE_MAX_NUM_SUB_GROUPS:
        return answer(&sub_groups, sizeof sub_groups, room, out, out_size);
#endif
    case CL_DEVICE_PARTITION_PROPERTIES:
        return answer(ways, sizeof ways, room, out, out_size);
    case CL_DEVICE_PARTITION_AFFINITY_DOMAIN:
        return answer(&domains, sizeof domains, room, out, out_size);
    case CL_DEVICE_PARTITION_TYPE:
        if (noted(device))
            return answer(numa, sizeof numa, room, out, out_size);
        break;
    default:
        break;
    }
    return below->clGetDeviceInfo(device, name, room, out, out_size);
}

static cl_int CL_API_CALL create_sub_devices(cl_device_id device, const cl_device_partition_property *properties,
                                             cl_uint room, cl_device_id *out, cl_uint *out_count)
{
    static const cl_device_partition_property single[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
    bool by_domain = properties && properties[0] == CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN;
    cl_uint count = 0;
    cl_int status = below->clCreateSubDevices(device, by_domain ? single : properties, room, out, &count);
    for (cl_uint i = 0; !status && out && i < count; i++)
        note(out[i], by_domain);
    if (!status && out_count)
        *out_count = count;
    return status;
}

/* ---- queues --------------------------------------------------------------------------------------------- */

static cl_command_queue CL_API_CALL create_queue(cl_context context, cl_device_id device,
                                                 cl_command_queue_properties properties, cl_int *out_status)
{
    cl_command_queue queue = below->clCreateCommandQueue(context, device, properties, out_status);
    if (queue)
        note(queue, 0);
    return queue;
}

static cl_command_queue CL_API_CALL create_queue_with_properties(cl_context context, cl_device_id device,
                                                                 const cl_queue_properties *list, cl_int *out_status)
{
    cl_queue_properties rest[16] = {0};
    size_t count = 0;
    cl_uint hints = 0;
    for (; list && *list && count < 14; list += 2) {
        if (list[0] == CL_QUEUE_PRIORITY_KHR) {
            hints |= (cl_uint)list[1] << 8;
        } else if (list[0] == CL_QUEUE_THROTTLE_KHR) {
            hints |= (cl_uint)list[1];
        } else {
            rest[count++] = list[0];
            rest[count++] = list[1];
        }
    }
    cl_command_queue queue = below->clCreateCommandQueueWithProperties(context, device, rest, out_status);
    if (queue)
        note(queue, hints);
    return queue;
}

static cl_int CL_API_CALL fill_buffer(cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size,
                                      size_t offset, size_t size, cl_uint wait_count, const cl_event *waits,
                                      cl_event *out_event)
{
    const cl_uint asks = NO_HINTS;
    cl_uint hints = noted(queue);
    bool tell = hints && pattern_size == sizeof asks && !memcmp(pattern, &asks, sizeof asks);
    return below->clEnqueueFillBuffer(queue, buffer, tell ? &hints : pattern, pattern_size, offset, size, wait_count,
                                      waits, out_event);
}

/* ---- kernels -------------------------------------------------------------------------------------------- */

static cl_int CL_API_CALL suggest(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,
                                  const size_t *global, size_t *out_local)
{
    cl_uint arguments = 0;
    cl_int status = below->clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof arguments, &arguments, NULL);
    if (!queue || status)
        return CL_INVALID_KERNEL;
    for (cl_uint i = 0; i < dimensions; i++)
        out_local[i] = global[i] / 8 + (offset ? offset[i] : 0);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL sub_group_info(cl_kernel kernel, cl_device_id device, cl_kernel_sub_group_info name,
                                         size_t input_size, const void *input, size_t room, void *out, size_t *out_size)
{
    const size_t *numbers = input;
    size_t items = 1;
    (void)kernel, (void)device;
    for (size_t i = 0; i < input_size / sizeof *numbers; i++)
        items *= numbers[i];
    size_t size = items < 8 ? items : 8, count = (items + 7) / 8;
    switch (name) {
    case CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE:
        return answer(&size, sizeof size, room, out, out_size);
    case CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE:
        return answer(&count, sizeof count, room, out, out_size);
#ifndef OLDER
    case CL_KERNEL_LOCAL_SIZE_FOR_SUB_GROUP_COUNT: {
        size_t one = items <= SUB_GROUPS, shape[3] = {8 * items * one, one, one};
        return answer(shape, sizeof shape, room, out, out_size);
    }
    case CL_KERNEL_MAX_NUM_SUB_GROUPS:
        count = SUB_GROUPS;
        return answer(&count, sizeof count, room, out, out_size);
    case CL_KERNEL_COMPILE_NUM_SUB_GROUPS:
        count = 0;
        return answer(&count, sizeof count, room, out, out_size);
#endif
    default:
        return CL_INVALID_VALUE;
    }
}

/* ---- programs ------------------------------------------------------------------------------------------- */

/* What is set of programs from the module. Guarded by lock. */
static struct il_program {
    cl_program program;
    cl_uint seven, flag;
} il_programs[MOST];
static size_t il_program_count;

/* Copies what is set of it; false: it is not from the module. */
static bool il_of(cl_program program, struct il_program *out)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < il_program_count && !found; i++) {
        found = il_programs[i].program == program;
        *out = il_programs[i];
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void il_set(const struct il_program *set)
{
    pthread_mutex_lock(&lock);
    size_t i = 0;
    while (i < il_program_count && il_programs[i].program != set->program)
        i++;
    if (i < MOST) {
        il_programs[i] = *set;
        il_program_count += i == il_program_count;
    }
    pthread_mutex_unlock(&lock);
}

static cl_program CL_API_CALL create_from_il(cl_context context, const void *il, size_t size, cl_int *out_status)
{
    const char *text = il_source;
    if (size != sizeof il_module || memcmp(il, il_module, size) != 0) {
        *out_status = CL_INVALID_VALUE;
        return NULL;
    }
    cl_program program = below->clCreateProgramWithSource(context, 1, &text, NULL, out_status);
    if (program)
        il_set(&(struct il_program){program, IL_SEVEN_DEFAULT, 1});
    return program;
}

/* What its build is to be told; malloc'ed. */
static char *options_of(cl_program program, const char *given)
{
    struct il_program set;
    char *options = NULL;
    if (!il_of(program, &set))
        return given ? strdup(given) : NULL;
    return asprintf(&options, "%s -DSEVEN=%u -DFLAG=%u", given ? given : "", set.seven, set.flag) < 0 ? NULL : options;
}

static cl_int CL_API_CALL build(cl_program program, cl_uint count, const cl_device_id *devices, const char *given,
                                void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    char *options = options_of(program, given);
    cl_int status = below->clBuildProgram(program, count, devices, options, notify, user);
    free(options);
    return status;
}

static cl_int CL_API_CALL compile(cl_program program, cl_uint count, const cl_device_id *devices, const char *given,
                                  cl_uint header_count, const cl_program *headers, const char **names,
                                  void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    char *options = options_of(program, given);
    cl_int status =
        below->clCompileProgram(program, count, devices, options, header_count, headers, names, notify, user);
    free(options);
    return status;
}

/* ---- functions of extensions ---------------------------------------------------------------------------- */

static void *CL_API_CALL get_function(cl_platform_id platform, const char *name)
{
    if (!strcmp(name, "clGetKernelSuggestedLocalWorkSizeKHR"))
        return (void *)suggest;
    if (!strcmp(name, "clGetKernelSubGroupInfoKHR"))
        return (void *)sub_group_info;
    if (!strcmp(name, "clCreateProgramWithILKHR"))
        return (void *)create_from_il;
    return below->clGetExtensionFunctionAddressForPlatform(platform, name);
}

#ifdef OLDER
/* A driver of 2.0 has no such functions; who calls them may be ended by it. */
static cl_program CL_API_CALL no_program(cl_context context, const void *il, size_t size, cl_int *out_status)
{
    (void)context, (void)il, (void)size, (void)out_status;
    abort();
}

static cl_int CL_API_CALL no_sub_group_info(cl_kernel kernel, cl_device_id device, cl_kernel_sub_group_info name,
                                            size_t input_size, const void *input, size_t room, void *out,
                                            size_t *out_size)
{
    (void)kernel, (void)device, (void)name, (void)input_size, (void)input, (void)room, (void)out, (void)out_size;
    abort();
}

static cl_int CL_API_CALL no_constant(cl_program program, cl_uint id, size_t size, const void *value)
{
    (void)program, (void)id, (void)size, (void)value;
    abort();
}
#else
static cl_int CL_API_CALL set_constant(cl_program program, cl_uint id, size_t size, const void *value)
{
    struct il_program set;
    if (!il_of(program, &set))
        return CL_INVALID_PROGRAM;
    if (id == IL_SEVEN && size == sizeof set.seven)
        set.seven = *(const cl_uint *)value;
    else if (id == IL_FLAG && size == sizeof(cl_uchar))
        set.flag = *(const cl_uchar *)value;
    else
        return CL_INVALID_SPEC_ID;
    il_set(&set);
    return CL_SUCCESS;
}
#endif

/* ---- images --------------------------------------------------------------------------------------------- */

static cl_int CL_API_CALL get_formats(cl_context context, cl_mem_flags flags, cl_mem_object_type type, cl_uint room,
                                      cl_image_format *out, cl_uint *out_count)
{
    bool has_depth = type == CL_MEM_OBJECT_IMAGE2D || type == CL_MEM_OBJECT_IMAGE2D_ARRAY;
    cl_uint count = 0;
    cl_int status = below->clGetSupportedImageFormats(context, flags, type, room, out, &count);
    if (status || !has_depth)
        count += 0;
    else if (out && count < room)
        out[count++] = (cl_image_format){CL_DEPTH, CL_FLOAT};
    else
        count++;
    if (!status && out_count)
        *out_count = count;
    return status;
}

static cl_mem CL_API_CALL create_image(cl_context context, cl_mem_flags flags, const cl_image_format *format,
                                       const cl_image_desc *description, void *host, cl_int *out_status)
{
    cl_image_format plain = format ? *format : (cl_image_format){0};
    if (plain.image_channel_order == CL_DEPTH)
        plain.image_channel_order = CL_R;
    return below->clCreateImage(context, flags, format ? &plain : NULL, description, host, out_status);
}

/* ---- the layer ------------------------------------------------------------------------------------------ */

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info name, size_t room, void *out, size_t *out_size)
{
    static const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    return name == CL_LAYER_API_VERSION ? answer(&version, sizeof version, room, out, out_size) : CL_INVALID_VALUE;
}

CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint count, const cl_icd_dispatch *target, cl_uint *out_count,
                                            const cl_icd_dispatch **out_dispatch)
{
    below = target;
    ours.clGetDeviceInfo = get_device_info;
    ours.clCreateSubDevices = create_sub_devices;
    ours.clCreateCommandQueue = create_queue;
    ours.clCreateCommandQueueWithProperties = create_queue_with_properties;
    ours.clEnqueueFillBuffer = fill_buffer;
    ours.clGetExtensionFunctionAddressForPlatform = get_function;
    ours.clBuildProgram = build;
    ours.clCompileProgram = compile;
    ours.clGetKernelSubGroupInfoKHR = sub_group_info;
#ifdef OLDER
    ours.clCreateProgramWithIL = no_program;
    ours.clGetKernelSubGroupInfo = no_sub_group_info;
    ours.clSetProgramSpecializationConstant = no_constant;
#else
    ours.clCreateProgramWithIL = create_from_il;
    ours.clGetKernelSubGroupInfo = sub_group_info;
    ours.clSetProgramSpecializationConstant = set_constant;
#endif
    ours.clGetSupportedImageFormats = get_formats;
    ours.clCreateImage = create_image;
    *out_count = count;
    *out_dispatch = &ours;
    return CL_SUCCESS;
}
