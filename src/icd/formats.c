#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"
#include "icd/format.h"
#include "icd/memory.h"

bool pen_image_kind(cl_mem_object_type type, enum pen_region_kind *out_kind)
{
    switch (type) {
    case CL_MEM_OBJECT_IMAGE1D:
        *out_kind = PEN_REGION_KIND_IMAGE1D;
        return true;
    case CL_MEM_OBJECT_IMAGE1D_BUFFER:
        *out_kind = PEN_REGION_KIND_IMAGE1D_BUFFER;
        return true;
    case CL_MEM_OBJECT_IMAGE1D_ARRAY:
        *out_kind = PEN_REGION_KIND_IMAGE1D_ARRAY;
        return true;
    case CL_MEM_OBJECT_IMAGE2D:
        *out_kind = PEN_REGION_KIND_IMAGE2D;
        return true;
    case CL_MEM_OBJECT_IMAGE2D_ARRAY:
        *out_kind = PEN_REGION_KIND_IMAGE2D_ARRAY;
        return true;
    case CL_MEM_OBJECT_IMAGE3D:
        *out_kind = PEN_REGION_KIND_IMAGE3D;
        return true;
    default:
        return false;
    }
}

/* Number of the access in PEN_KEY_FORMATS. */
static uint32_t access_of(cl_mem_flags flags)
{
    if (flags & CL_MEM_KERNEL_READ_AND_WRITE)
        return 3;
    if (flags & CL_MEM_READ_ONLY)
        return 2;
    return flags & CL_MEM_WRITE_ONLY ? 1 : 0;
}

static const cl_image_format *device_formats(cl_device_id device, cl_mem_flags flags, enum pen_region_kind kind,
                                             size_t *out_count)
{
    const struct pen_property *property =
        pen_device_property(device, PEN_KEY_FORMATS + 16 * access_of(flags) + (uint32_t)kind);
    *out_count = property ? property->size / sizeof(cl_image_format) : 0;
    return property ? property->value : NULL;
}

bool pen_device_has_format(cl_device_id device, cl_mem_flags flags, cl_mem_object_type type,
                           const cl_image_format *format)
{
    enum pen_region_kind kind;
    size_t count = 0;
    if (!pen_image_kind(type, &kind))
        return false;
    const cl_image_format *formats = device_formats(device, flags, kind, &count);
    for (size_t i = 0; i < count; i++)
        if (memcmp(&formats[i], format, sizeof *format) == 0)
            return true;
    return false;
}

bool pen_context_has_images(cl_context context)
{
    for (cl_uint i = 0; i < context->device_count; i++)
        if (pen_device_bool(context->devices[i], CL_DEVICE_IMAGE_SUPPORT))
            return true;
    return false;
}

/* Of the context's first `device_count` devices. */
static bool any_has_format(cl_context context, cl_uint device_count, cl_mem_flags flags, cl_mem_object_type type,
                           const cl_image_format *format)
{
    for (cl_uint i = 0; i < device_count; i++)
        if (pen_device_bool(context->devices[i], CL_DEVICE_IMAGE_SUPPORT) &&
            pen_device_has_format(context->devices[i], flags, type, format))
            return true;
    return false;
}

bool pen_context_has_format(cl_context context, cl_mem_flags flags, cl_mem_object_type type,
                            const cl_image_format *format)
{
    return any_has_format(context, context->device_count, flags, type, format);
}

cl_int pen_clGetSupportedImageFormats(cl_context context, cl_mem_flags flags, cl_mem_object_type type,
                                      cl_uint num_entries, cl_image_format *formats, cl_uint *num_formats)
{
    enum pen_region_kind kind;
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return CL_INVALID_CONTEXT;
    if (pen_memory_check_flags(flags & ~(cl_mem_flags)CL_MEM_KERNEL_READ_AND_WRITE) != CL_SUCCESS ||
        !pen_image_kind(type, &kind) || (num_entries == 0 && formats))
        return CL_INVALID_VALUE;
    cl_uint found = 0; /* "a union of image formats supported by all devices in the context" */
    for (cl_uint i = 0; i < context->device_count; i++) {
        size_t count = 0;
        const cl_image_format *its = NULL;
        if (pen_device_bool(context->devices[i], CL_DEVICE_IMAGE_SUPPORT))
            its = device_formats(context->devices[i], flags, kind, &count);
        for (size_t j = 0; j < count; j++) {
            if (pen_format_bytes(&its[j]) == 0 || any_has_format(context, i, flags, type, &its[j]))
                continue;
            if (formats && found < num_entries)
                formats[found] = its[j];
            found++;
        }
    }
    if (num_formats)
        *num_formats = found;
    return CL_SUCCESS;
}
