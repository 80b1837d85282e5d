/* icd/device.c - devices and what they say of themselves: the real device's own answers, but for what depends on us. */
#include "icd/device.h"

#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"
#include "icd/service.h"
#include "wire/futex.h"

/* ---- the real device's answers ---------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    uint32_t left = ((const struct pen_property *)a)->key, right = ((const struct pen_property *)b)->key;
    return (left > right) - (left < right);
}

const struct pen_property *pen_device_property(cl_device_id device, cl_device_info key)
{
    const struct pen_device_facts *facts = device->facts;
    uint32_t low = 0, high = facts->property_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (facts->properties[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < facts->property_count && facts->properties[low].key == key ? &facts->properties[low] : NULL;
}

/* A scalar of at most 8 bytes, little-endian as everything that travels; 0 when the driver does not answer. */
static uint64_t scalar(cl_device_id device, cl_device_info key)
{
    const struct pen_property *property = pen_device_property(device, key);
    uint64_t value = 0;
    if (property && property->size <= sizeof value)
        memcpy(&value, property->value, property->size);
    return value;
}

bool pen_device_bool(cl_device_id device, cl_device_info key)
{
    return scalar(device, key) != 0;
}

cl_uint pen_device_uint(cl_device_id device, cl_device_info key)
{
    return (cl_uint)scalar(device, key);
}

/* The specification wants a refusal, but programs rely on drivers that do not refuse. */
size_t pen_device_slice_align(cl_device_id device)
{
    size_t bytes = pen_device_uint(device, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;

    return !bytes || device->pool->info.flags & PEN_DEVICE_FLAG_ANY_SLICE ? 1 : bytes;
}

cl_ulong pen_device_ulong(cl_device_id device, cl_device_info key)
{
    return scalar(device, key);
}

size_t pen_device_size(cl_device_id device, cl_device_info key)
{
    return scalar(device, key);
}

unsigned pen_device_version(cl_device_id device)
{
    const struct pen_property *version = pen_device_property(device, CL_DEVICE_VERSION);
    if (!version || version->size < sizeof "OpenCL 1.0" - 1)
        return 100;
    const char *digits = (const char *)version->value + strlen("OpenCL ");
    return (unsigned)(digits[0] - '0') * 100 + (unsigned)(digits[2] - '0');
}

/* ---- roots ------------------------------------------------------------------------------------------ */

/* Features of what the front end reports as absent; the rest is the compiler's matter. */
static bool feature_is_absent(const char *name)
{
    static const char *const absent[] = {"__opencl_c_device_enqueue", "__opencl_c_pipes"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        if (!strcmp(name, absent[i]))
            return true;
    return false;
}

static int make_features(cl_device_id device, struct pen_device_facts *facts)
{
    const struct pen_property *property = pen_device_property(device, CL_DEVICE_OPENCL_C_FEATURES);
    if (!property)
        return 0;
    size_t count = property->size / sizeof(cl_name_version);
    facts->features = calloc(count + 1, sizeof *facts->features);
    if (!facts->features)
        return -PEN_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        cl_name_version *entry = &facts->features[facts->feature_count];
        memcpy(entry, (const char *)property->value + i * sizeof *entry, sizeof *entry);
        entry->name[sizeof entry->name - 1] = '\0';
        if (!feature_is_absent(entry->name))
            facts->feature_count++;
    }
    facts->has_features = true;
    return 0;
}

static int make_extensions(cl_device_id device, struct pen_device_facts *facts)
{
    const struct pen_property *names = pen_device_property(device, CL_DEVICE_EXTENSIONS);
    const struct pen_property *versions = pen_device_property(device, CL_DEVICE_EXTENSIONS_WITH_VERSION);
    char *text = names ? strndup(names->value, names->size) : strdup("");
    size_t count = versions ? versions->size / sizeof(cl_name_version) : 0;
    cl_name_version *given = calloc(count + 1, sizeof *given); /* a copy, for its alignment */
    int rc = -PEN_ENOMEM;
    if (text && given) {
        if (count)
            memcpy(given, versions->value, count * sizeof *given);
        rc = pen_extensions_filter(text, given, count, &facts->extensions);
    }
    free(given);
    free(text);
    return rc;
}

int pen_device_init_root(cl_device_id device, cl_platform_id platform, struct pen_home *home,
                         const struct pen_pool_device *pool)
{
    struct pen_device_facts *facts = calloc(1, sizeof *facts);
    if (!facts)
        return -PEN_ENOMEM;
    pen_object_init(&device->object, PEN_MAGIC_DEVICE);
    device->facts = facts;
    device->home = home;
    device->pool = pool;
    device->id = pool->info.device;
    device->compute_units = pool->info.compute_units;
    facts->platform = platform;
    facts->properties = calloc(pool->property_count + 1, sizeof *facts->properties);
    int rc = facts->properties ? 0 : -PEN_ENOMEM;
    if (!rc) {
        if (pool->property_count)
            memcpy(facts->properties, pool->properties, pool->property_count * sizeof *facts->properties);
        facts->property_count = pool->property_count;
        qsort(facts->properties, facts->property_count, sizeof *facts->properties, by_key);
        rc = make_extensions(device, facts);
    }
    if (!rc)
        rc = make_features(device, facts);
    if (rc)
        pen_device_finish_root(device);
    return rc;
}

void pen_device_finish_root(cl_device_id device)
{
    struct pen_device_facts *facts = (struct pen_device_facts *)device->facts;
    if (!facts)
        return;
    pen_extensions_finish(&facts->extensions);
    free(facts->features);
    free(facts->properties);
    free(facts);
    device->facts = NULL;
}

/* ---- selection -------------------------------------------------------------------------------------- */

/* The driver's word, or the daemon's when it has none. Which device is the default one is ours to say. */
cl_device_type pen_device_type(cl_device_id device)
{
    static const cl_device_type of_class[] = {
        [PEN_DEVICE_CLASS_CPU] = CL_DEVICE_TYPE_CPU,
        [PEN_DEVICE_CLASS_GPU] = CL_DEVICE_TYPE_GPU,
        [PEN_DEVICE_CLASS_ACCELERATOR] = CL_DEVICE_TYPE_ACCELERATOR,
        [PEN_DEVICE_CLASS_CUSTOM] = CL_DEVICE_TYPE_CUSTOM,
    };
    cl_device_type type = pen_device_ulong(device, CL_DEVICE_TYPE) & ~(cl_device_type)CL_DEVICE_TYPE_DEFAULT;
    return type ? type : of_class[device->pool->info.class];
}

cl_int pen_devices_of_type(cl_platform_id platform, cl_device_type type, cl_device_id *out_devices, cl_uint *out_count)
{
    const cl_device_type known = CL_DEVICE_TYPE_DEFAULT | CL_DEVICE_TYPE_CPU | CL_DEVICE_TYPE_GPU |
                                 CL_DEVICE_TYPE_ACCELERATOR | CL_DEVICE_TYPE_CUSTOM;
    if (!type || (type != CL_DEVICE_TYPE_ALL && (type & ~known)))
        return CL_INVALID_DEVICE_TYPE;
    cl_uint count = 0;
    bool seen_default = false;
    for (cl_uint i = 0; i < platform->device_count; i++) {
        cl_device_type its = pen_device_type(&platform->devices[i]);
        bool custom = its & CL_DEVICE_TYPE_CUSTOM;
        bool is_default = !custom && !seen_default;
        seen_default |= is_default;
        /* ALL is all but custom devices (OpenCL 3.0, Device Types). */
        bool chosen = type == CL_DEVICE_TYPE_ALL ? !custom : (its & type) != 0;
        chosen |= is_default && (type & CL_DEVICE_TYPE_DEFAULT);
        if (chosen)
            out_devices[count++] = &platform->devices[i];
    }
    *out_count = count;
    return count ? CL_SUCCESS : CL_DEVICE_NOT_FOUND;
}

cl_int CL_API_CALL pen_clGetDeviceIDs(cl_platform_id platform, cl_device_type type, cl_uint entry_count,
                                      cl_device_id *devices, cl_uint *out_count)
{
    if (!platform)
        platform = pen_platform();
    if (!pen_object_is(platform, PEN_MAGIC_PLATFORM))
        return CL_INVALID_PLATFORM;
    if ((!devices && !out_count) || (devices && !entry_count))
        return CL_INVALID_VALUE;
    cl_device_id *chosen = calloc(platform->device_count, sizeof *chosen);
    if (!chosen)
        return CL_OUT_OF_HOST_MEMORY;
    cl_uint count = 0;
    cl_int status = pen_devices_of_type(platform, type, chosen, &count);
    if (out_count && status != CL_INVALID_DEVICE_TYPE)
        *out_count = count;
    for (cl_uint i = 0; devices && i < count && i < entry_count; i++)
        devices[i] = chosen[i];
    free(chosen);
    return status;
}

/* ---- info ------------------------------------------------------------------------------------------- */

static cl_ulong memory_bytes(cl_device_id device)
{
    cl_ulong pool = device->pool->info.memory_bytes;
    return pool ? pool : pen_device_ulong(device, CL_DEVICE_GLOBAL_MEM_SIZE);
}

static cl_ulong allocation_bytes(cl_device_id device)
{
    cl_ulong most = pen_device_ulong(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE), all = memory_bytes(device);
    return most < all ? most : all;
}

/* Of all arguments of a kernel together: one alone can have no more than a command holds. */
static size_t parameter_bytes(cl_device_id device)
{
    size_t most = pen_device_size(device, CL_DEVICE_MAX_PARAMETER_SIZE);
    return most < PEN_LIMIT_ARGUMENT ? most : PEN_LIMIT_ARGUMENT;
}

/* Before the first session, and while it lives, a device is there. When the session is lost a part of the device is
 * lost with it, and the device there if the next context could have another. */
static bool is_available(cl_device_id device)
{
    if (device->session)
        return pen_session_alive(device->session) == 0;
    return !pen_session_lost(device->home) || pen_pool_there(device->home->pool);
}

/* What the real device cannot know, in numbers. CL_INVALID_VALUE: not one of them. */
static cl_int info_of_ours(cl_device_id device, cl_device_info name, size_t param_value_size, void *param_value,
                           size_t *param_value_size_ret)
{
    switch (name) {
    case CL_DEVICE_TYPE:
        PEN_INFO(cl_device_type, pen_device_type(device));
    case CL_DEVICE_PLATFORM:
        PEN_INFO(cl_platform_id, device->facts->platform);
    case CL_DEVICE_MAX_COMPUTE_UNITS:
        PEN_INFO(cl_uint, device->compute_units);
    case CL_DEVICE_GLOBAL_MEM_SIZE:
        PEN_INFO(cl_ulong, memory_bytes(device));
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE:
        PEN_INFO(cl_ulong, allocation_bytes(device));
    case CL_DEVICE_MAX_PARAMETER_SIZE:
        PEN_INFO(size_t, parameter_bytes(device));
    case CL_DEVICE_AVAILABLE:
        PEN_INFO(cl_bool, is_available(device));
    case CL_DEVICE_EXECUTION_CAPABILITIES:
        PEN_INFO(cl_device_exec_capabilities, CL_EXEC_KERNEL);
    case CL_DEVICE_QUEUE_ON_HOST_PROPERTIES: /* the worker reorders where the device cannot */
        PEN_INFO(cl_command_queue_properties, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE);
    case CL_DEVICE_PARENT_DEVICE:
        PEN_INFO(cl_device_id, device->parent);
    case CL_DEVICE_PARTITION_MAX_SUB_DEVICES:
        PEN_INFO(cl_uint, pen_partition_max(device));
    case CL_DEVICE_PARTITION_AFFINITY_DOMAIN:
        PEN_INFO(cl_device_affinity_domain, pen_partition_domains(device));
    case CL_DEVICE_REFERENCE_COUNT:
        PEN_INFO(cl_uint, device->parent ? atomic_load(&device->object.refs) : 1);
    default:
        return CL_INVALID_VALUE;
    }
}

/* Shared virtual memory, pipes, device-side queues: absent. CL_INVALID_VALUE: not one of their queries. */
static cl_int info_of_absent(cl_device_info name, size_t param_value_size, void *param_value,
                             size_t *param_value_size_ret)
{
    switch (name) {
    case CL_DEVICE_SVM_CAPABILITIES:
        PEN_INFO(cl_device_svm_capabilities, 0);
    case CL_DEVICE_DEVICE_ENQUEUE_CAPABILITIES:
        PEN_INFO(cl_device_device_enqueue_capabilities, 0);
    case CL_DEVICE_QUEUE_ON_DEVICE_PROPERTIES:
        PEN_INFO(cl_command_queue_properties, 0);
    case CL_DEVICE_PIPE_SUPPORT:
        PEN_INFO(cl_bool, CL_FALSE);
    case CL_DEVICE_QUEUE_ON_DEVICE_PREFERRED_SIZE:
    case CL_DEVICE_QUEUE_ON_DEVICE_MAX_SIZE:
    case CL_DEVICE_MAX_ON_DEVICE_QUEUES:
    case CL_DEVICE_MAX_ON_DEVICE_EVENTS:
    case CL_DEVICE_MAX_PIPE_ARGS:
    case CL_DEVICE_PIPE_MAX_ACTIVE_RESERVATIONS:
    case CL_DEVICE_PIPE_MAX_PACKET_SIZE:
        PEN_INFO(cl_uint, 0);
    case CL_DEVICE_BUILT_IN_KERNELS:
        return pen_info_string("", param_value_size, param_value, param_value_size_ret);
    case CL_DEVICE_BUILT_IN_KERNELS_WITH_VERSION:
        return pen_info(NULL, 0, param_value_size, param_value, param_value_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

/* Lists that are made once, or with the device. CL_INVALID_VALUE: not one of them. */
static cl_int info_of_lists(cl_device_id device, cl_device_info name, size_t param_size, void *param_value,
                            size_t *param_size_ret)
{
    const struct pen_device_facts *facts = device->facts;
    cl_device_partition_property ways[PEN_PARTITION_WAYS];
    switch (name) {
    case CL_DEVICE_EXTENSIONS:
        return pen_info_string(facts->extensions.text, param_size, param_value, param_size_ret);
    case CL_DEVICE_EXTENSIONS_WITH_VERSION:
        return pen_info(facts->extensions.versions, facts->extensions.count * sizeof(cl_name_version), param_size,
                        param_value, param_size_ret);
    case CL_DEVICE_OPENCL_C_FEATURES:
        return facts->has_features ? pen_info(facts->features, facts->feature_count * sizeof(cl_name_version),
                                              param_size, param_value, param_size_ret)
                                   : CL_INVALID_VALUE;
    case CL_DEVICE_PARTITION_PROPERTIES:
        return pen_info(ways, pen_partition_properties(device, ways) * sizeof ways[0], param_size, param_value,
                        param_size_ret);
    case CL_DEVICE_PARTITION_TYPE:
        if (device->partition)
            return pen_info(device->partition, device->partition_length * sizeof device->partition[0], param_size,
                            param_value, param_size_ret);
        ways[0] = 0;
        return pen_info(ways, sizeof ways[0], param_size, param_value, param_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

/* Command buffers are the front end's, for devices that have them natively. CL_INVALID_VALUE: not one of their queries.
 */
static cl_int info_of_command_buffers(cl_device_id device, cl_device_info name, size_t param_value_size,
                                      void *param_value, size_t *param_value_size_ret)
{
    if (!pen_extensions_have(&device->facts->extensions, "cl_khr_command_buffer"))
        return CL_INVALID_VALUE;
    switch (name) {
    case CL_DEVICE_COMMAND_BUFFER_CAPABILITIES_KHR:
        PEN_INFO(cl_device_command_buffer_capabilities_khr, CL_COMMAND_BUFFER_CAPABILITY_KERNEL_PRINTF_KHR |
                                                                CL_COMMAND_BUFFER_CAPABILITY_SIMULTANEOUS_USE_KHR |
                                                                CL_COMMAND_BUFFER_CAPABILITY_OUT_OF_ORDER_KHR);
    case CL_DEVICE_COMMAND_BUFFER_REQUIRED_QUEUE_PROPERTIES_KHR:
        PEN_INFO(cl_command_queue_properties, 0);
    default:
        return CL_INVALID_VALUE;
    }
}

enum answerer { ANSWER_DEVICE = 0, ANSWER_OURS, ANSWER_ABSENT, ANSWER_LISTS };

/* Who answers the keys of the core specification, which are dense from CL_DEVICE_TYPE on. */
static const unsigned char answerers[CL_DEVICE_LATEST_CONFORMANCE_VERSION_PASSED - CL_DEVICE_TYPE + 1] = {
#define OURS(name)   [CL_DEVICE_##name - CL_DEVICE_TYPE] = ANSWER_OURS
#define ABSENT(name) [CL_DEVICE_##name - CL_DEVICE_TYPE] = ANSWER_ABSENT
#define LISTS(name)  [CL_DEVICE_##name - CL_DEVICE_TYPE] = ANSWER_LISTS
    OURS(TYPE),
    OURS(PLATFORM),
    OURS(MAX_COMPUTE_UNITS),
    OURS(GLOBAL_MEM_SIZE),
    OURS(MAX_MEM_ALLOC_SIZE),
    OURS(MAX_PARAMETER_SIZE),
    OURS(AVAILABLE),
    OURS(EXECUTION_CAPABILITIES),
    OURS(QUEUE_ON_HOST_PROPERTIES),
    OURS(PARENT_DEVICE),
    OURS(PARTITION_MAX_SUB_DEVICES),
    OURS(PARTITION_AFFINITY_DOMAIN),
    OURS(REFERENCE_COUNT),
    ABSENT(SVM_CAPABILITIES),
    ABSENT(DEVICE_ENQUEUE_CAPABILITIES),
    ABSENT(QUEUE_ON_DEVICE_PROPERTIES),
    ABSENT(PIPE_SUPPORT),
    ABSENT(QUEUE_ON_DEVICE_PREFERRED_SIZE),
    ABSENT(QUEUE_ON_DEVICE_MAX_SIZE),
    ABSENT(MAX_ON_DEVICE_QUEUES),
    ABSENT(MAX_ON_DEVICE_EVENTS),
    ABSENT(MAX_PIPE_ARGS),
    ABSENT(PIPE_MAX_ACTIVE_RESERVATIONS),
    ABSENT(PIPE_MAX_PACKET_SIZE),
    ABSENT(BUILT_IN_KERNELS),
    ABSENT(BUILT_IN_KERNELS_WITH_VERSION),
    LISTS(EXTENSIONS),
    LISTS(EXTENSIONS_WITH_VERSION),
    LISTS(OPENCL_C_FEATURES),
    LISTS(PARTITION_PROPERTIES),
    LISTS(PARTITION_TYPE),
#undef OURS
#undef ABSENT
#undef LISTS
};

cl_int CL_API_CALL pen_clGetDeviceInfo(cl_device_id device, cl_device_info name, size_t size, void *value,
                                       size_t *out_size)
{
    if (!pen_object_is(device, PEN_MAGIC_DEVICE))
        return CL_INVALID_DEVICE;
    size_t index = (size_t)name - CL_DEVICE_TYPE;
    switch (index < sizeof answerers ? answerers[index] : ANSWER_DEVICE) {
    case ANSWER_OURS:
        return info_of_ours(device, name, size, value, out_size);
    case ANSWER_ABSENT:
        return info_of_absent(name, size, value, out_size);
    case ANSWER_LISTS:
        return info_of_lists(device, name, size, value, out_size);
    default:
        break;
    }
    if (name == CL_DEVICE_COMMAND_BUFFER_CAPABILITIES_KHR ||
        name == CL_DEVICE_COMMAND_BUFFER_REQUIRED_QUEUE_PROPERTIES_KHR)
        return info_of_command_buffers(device, name, size, value, out_size);
    if (name >= PEN_KEY_FORMATS) /* not the program's to ask */
        return CL_INVALID_VALUE;
    const struct pen_property *property = pen_device_property(device, name);
    return property ? pen_info(property->value, property->size, size, value, out_size) : CL_INVALID_VALUE;
}

/* ---- references, timers ----------------------------------------------------------------------------- */

/* Counting a root device's references changes nothing: it is never destroyed. */
cl_int CL_API_CALL pen_clRetainDevice(cl_device_id device)
{
    if (!pen_object_is(device, PEN_MAGIC_DEVICE))
        return CL_INVALID_DEVICE;
    return device->parent ? pen_retain(device, PEN_MAGIC_DEVICE, CL_INVALID_DEVICE) : CL_SUCCESS;
}

cl_int CL_API_CALL pen_clReleaseDevice(cl_device_id device)
{
    if (!pen_object_is(device, PEN_MAGIC_DEVICE))
        return CL_INVALID_DEVICE;
    return device->parent ? pen_release(device, PEN_MAGIC_DEVICE, CL_INVALID_DEVICE) : CL_SUCCESS;
}

cl_int CL_API_CALL pen_clRetainDeviceEXT(cl_device_id device)
{
    return pen_clRetainDevice(device);
}

cl_int CL_API_CALL pen_clReleaseDeviceEXT(cl_device_id device)
{
    return pen_clReleaseDevice(device);
}

/* Completion times are CLOCK_MONOTONIC of this host already (wire/shared.h), so both timers are that clock. */
cl_int CL_API_CALL pen_clGetDeviceAndHostTimer(cl_device_id device, cl_ulong *out_device, cl_ulong *out_host)
{
    if (!pen_object_is(device, PEN_MAGIC_DEVICE))
        return CL_INVALID_DEVICE;
    if (!out_device || !out_host)
        return CL_INVALID_VALUE;
    *out_device = *out_host = pen_now_ns();
    return CL_SUCCESS;
}

cl_int CL_API_CALL pen_clGetHostTimer(cl_device_id device, cl_ulong *out_host)
{
    if (!pen_object_is(device, PEN_MAGIC_DEVICE))
        return CL_INVALID_DEVICE;
    if (!out_host)
        return CL_INVALID_VALUE;
    *out_host = pen_now_ns();
    return CL_SUCCESS;
}
