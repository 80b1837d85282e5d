/* backend/opencl_property.c - what a device says of itself, as raw bytes. */
#include "backend/opencl.h"

#include <stdlib.h>
#include <string.h>

/* The Khronos registry gives device queries of the API and of KHR extensions this range (UUID, PCI bus and sub-group
 * queries included). All of it is asked, so that queries newer than our headers travel too. */
#define FIRST_CORE_KEY 0x1000u
#define LAST_CORE_KEY  0x10ffu

static const cl_device_info extension_keys[] = {
    CL_DEVICE_SPIR_VERSIONS,
    CL_DEVICE_PCI_BUS_INFO_KHR,
    CL_DEVICE_CXX_FOR_OPENCL_NUMERIC_VERSION_EXT,
    CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV,
    CL_DEVICE_COMPUTE_CAPABILITY_MINOR_NV,
    CL_DEVICE_REGISTERS_PER_BLOCK_NV,
    CL_DEVICE_WARP_SIZE_NV,
    CL_DEVICE_GPU_OVERLAP_NV,
    CL_DEVICE_KERNEL_EXEC_TIMEOUT_NV,
    CL_DEVICE_INTEGRATED_MEMORY_NV,
    CL_DEVICE_PROFILING_TIMER_OFFSET_AMD,
    CL_DEVICE_TOPOLOGY_AMD,
    CL_DEVICE_BOARD_NAME_AMD,
    CL_DEVICE_GLOBAL_FREE_MEMORY_AMD,
    CL_DEVICE_SIMD_PER_COMPUTE_UNIT_AMD,
    CL_DEVICE_SIMD_WIDTH_AMD,
    CL_DEVICE_SIMD_INSTRUCTION_WIDTH_AMD,
    CL_DEVICE_WAVEFRONT_WIDTH_AMD,
    CL_DEVICE_GLOBAL_MEM_CHANNELS_AMD,
    CL_DEVICE_GLOBAL_MEM_CHANNEL_BANKS_AMD,
    CL_DEVICE_GLOBAL_MEM_CHANNEL_BANK_WIDTH_AMD,
    CL_DEVICE_LOCAL_MEM_SIZE_PER_COMPUTE_UNIT_AMD,
    CL_DEVICE_LOCAL_MEM_BANKS_AMD,
    CL_DEVICE_THREAD_TRACE_SUPPORTED_AMD,
    CL_DEVICE_GFXIP_MAJOR_AMD,
    CL_DEVICE_GFXIP_MINOR_AMD,
    CL_DEVICE_AVAILABLE_ASYNC_QUEUES_AMD,
    CL_DEVICE_PREFERRED_WORK_GROUP_SIZE_AMD,
    CL_DEVICE_MAX_WORK_GROUP_SIZE_AMD,
    CL_DEVICE_PREFERRED_CONSTANT_BUFFER_SIZE_AMD,
    CL_DEVICE_PCIE_ID_AMD,
    CL_DEVICE_IP_VERSION_INTEL,
    CL_DEVICE_ID_INTEL,
    CL_DEVICE_NUM_SLICES_INTEL,
    CL_DEVICE_NUM_SUB_SLICES_PER_SLICE_INTEL,
    CL_DEVICE_NUM_EUS_PER_SUB_SLICE_INTEL,
    CL_DEVICE_NUM_THREADS_PER_EU_INTEL,
    CL_DEVICE_FEATURE_CAPABILITIES_INTEL,
    CL_DEVICE_SUB_GROUP_SIZES_INTEL,
    CL_DEVICE_PLANAR_YUV_MAX_WIDTH_INTEL,
    CL_DEVICE_PLANAR_YUV_MAX_HEIGHT_INTEL,
};

/* Values that mean nothing outside the driver's process. */
static bool is_local(cl_device_info key)
{
    return key == CL_DEVICE_PLATFORM || key == CL_DEVICE_PARENT_DEVICE || key == CL_DEVICE_REFERENCE_COUNT;
}

void pen_opencl_text(cl_device_id device, cl_device_info key, char *text, size_t size)
{
    size_t length = 0;
    char *value = NULL;

    text[0] = 0;
    if (clGetDeviceInfo(device, key, 0, NULL, &length) || !length || !(value = calloc(1, length + 1)))
        return;
    if (!clGetDeviceInfo(device, key, length, value, NULL)) {
        size_t used = strnlen(value, length);
        used = used < size ? used : size - 1;
        memcpy(text, value, used);
        text[used] = 0;
    }
    free(value);
}

uint64_t pen_opencl_number(cl_device_id device, cl_device_info key)
{
    uint64_t value = 0;
    size_t size = 0;

    /* little-endian: a narrower answer fills the low bytes */
    if (clGetDeviceInfo(device, key, sizeof value, &value, &size) || size > sizeof value)
        return 0;
    return value;
}

/* Takes value. */
static int append(struct pen_backend_property **list, uint32_t *count, uint32_t key, void *value, size_t size)
{
    struct pen_backend_property *grown = realloc(*list, (*count + 1) * sizeof **list);
    if (!grown) {
        free(value);
        return -PEN_ENOMEM;
    }
    grown[*count] = (struct pen_backend_property){.key = key, .size = (uint32_t)size, .value = value};
    *list = grown;
    ++*count;
    return 0;
}

static int add_query(struct pen_backend_property **list, uint32_t *count, cl_device_id device, cl_device_info key)
{
    size_t size = 0;

    if (is_local(key) || clGetDeviceInfo(device, key, 0, NULL, &size) || size > PEN_LIMIT_PROPERTY)
        return 0;
    void *value = calloc(1, size + 1);
    if (!value)
        return -PEN_ENOMEM;
    if (size && clGetDeviceInfo(device, key, size, value, NULL)) {
        free(value);
        return 0;
    }
    return append(list, count, key, value, size);
}

static const struct {
    enum pen_region_kind kind;
    cl_mem_object_type type;
} image_kinds[] = {
    {PEN_REGION_KIND_IMAGE1D, CL_MEM_OBJECT_IMAGE1D},
    {PEN_REGION_KIND_IMAGE1D_BUFFER, CL_MEM_OBJECT_IMAGE1D_BUFFER},
    {PEN_REGION_KIND_IMAGE1D_ARRAY, CL_MEM_OBJECT_IMAGE1D_ARRAY},
    {PEN_REGION_KIND_IMAGE2D, CL_MEM_OBJECT_IMAGE2D},
    {PEN_REGION_KIND_IMAGE2D_ARRAY, CL_MEM_OBJECT_IMAGE2D_ARRAY},
    {PEN_REGION_KIND_IMAGE3D, CL_MEM_OBJECT_IMAGE3D},
};

/* In the order of PEN_KEY_FORMATS' `access`. */
static const cl_mem_flags image_access[] = {
    CL_MEM_READ_WRITE,
    CL_MEM_WRITE_ONLY,
    CL_MEM_READ_ONLY,
    CL_MEM_KERNEL_READ_AND_WRITE,
};

static int add_formats(struct pen_backend_property **list, uint32_t *count, cl_context context)
{
    for (uint32_t access = 0; access < sizeof image_access / sizeof *image_access; access++) {
        for (size_t i = 0; i < sizeof image_kinds / sizeof *image_kinds; i++) {
            cl_uint formats = 0;
            if (clGetSupportedImageFormats(context, image_access[access], image_kinds[i].type, 0, NULL, &formats) ||
                !formats)
                continue;
            if (formats > PEN_LIMIT_PROPERTY / sizeof(cl_image_format))
                formats = PEN_LIMIT_PROPERTY / sizeof(cl_image_format);
            cl_image_format *value = calloc(formats, sizeof *value);
            if (!value)
                return -PEN_ENOMEM;
            if (clGetSupportedImageFormats(context, image_access[access], image_kinds[i].type, formats, value, NULL)) {
                free(value);
                continue;
            }
            int rc = append(list, count, PEN_KEY_FORMATS + 16 * access + image_kinds[i].kind, value,
                            formats * sizeof *value);
            if (rc)
                return rc;
        }
    }
    return 0;
}

/* What this domain comes to: see PEN_KEY_PARTS. */
static int add_parts(struct pen_backend_property **list, uint32_t *count, cl_device_id device, uint32_t bit)
{
    const cl_device_affinity_domain asked = (cl_device_affinity_domain)1 << bit;
    const cl_device_partition_property how[] = {CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN, asked, 0};
    cl_device_partition_property made[3] = {0};
    cl_device_id parts[PEN_LIMIT_PARTITIONS];
    uint32_t part_count = 0;

    if (pen_opencl_parts(device, how, PEN_LIMIT_PARTITIONS, parts, &part_count))
        return 0;
    uint32_t *value = calloc(1 + part_count, sizeof *value);
    bool told = !clGetDeviceInfo(parts[0], CL_DEVICE_PARTITION_TYPE, sizeof made, made, NULL) && made[0] == how[0];
    if (value)
        value[0] = (uint32_t)(told ? made[1] : how[1]);
    for (uint32_t i = 0; i < part_count; i++) {
        if (value)
            value[1 + i] = (uint32_t)pen_opencl_number(parts[i], CL_DEVICE_MAX_COMPUTE_UNITS);
        clReleaseDevice(parts[i]);
    }
    return value ? append(list, count, PEN_KEY_PARTS + bit, value, (1 + part_count) * sizeof *value) : -PEN_ENOMEM;
}

int pen_opencl_properties(cl_device_id device, cl_context context, struct pen_backend_property **out_properties,
                          uint32_t *out_count)
{
    struct pen_backend_property *list = NULL;
    uint32_t count = 0;
    int rc = 0;

    for (cl_device_info key = FIRST_CORE_KEY; key <= LAST_CORE_KEY && !rc; key++)
        rc = add_query(&list, &count, device, key);
    for (size_t i = 0; i < sizeof extension_keys / sizeof *extension_keys && !rc; i++)
        rc = add_query(&list, &count, device, extension_keys[i]);
    if (!rc && pen_opencl_number(device, CL_DEVICE_IMAGE_SUPPORT))
        rc = add_formats(&list, &count, context);
    uint64_t domains = pen_opencl_can_part(device, CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN)
                           ? pen_opencl_number(device, CL_DEVICE_PARTITION_AFFINITY_DOMAIN)
                           : 0;
    for (uint32_t bit = 0; bit < 32 && !rc; bit++)
        if (domains >> bit & 1)
            rc = add_parts(&list, &count, device, bit);
    if (rc) {
        pen_opencl_properties_free(list, count);
        return rc;
    }
    *out_properties = list;
    *out_count = count;
    return 0;
}

void pen_opencl_properties_free(struct pen_backend_property *properties, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free(properties[i].value);
    free(properties);
}
