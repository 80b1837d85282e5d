#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"
#include "icd/format.h"
#include "icd/memory.h"

/* ---- geometry ------------------------------------------------------------------------------------------ */

static bool is_array(cl_mem_object_type type)
{
    return type == CL_MEM_OBJECT_IMAGE1D_ARRAY || type == CL_MEM_OBJECT_IMAGE2D_ARRAY;
}

/* Extent as clEnqueueReadImage takes it: an array's layers are its last axis. */
static void extent_of(const cl_image_desc *desc, size_t out_extent[3])
{
    out_extent[0] = desc->image_width;
    out_extent[1] = out_extent[2] = 1;
    switch (desc->image_type) {
    case CL_MEM_OBJECT_IMAGE1D_ARRAY:
        out_extent[1] = desc->image_array_size;
        break;
    case CL_MEM_OBJECT_IMAGE2D:
        out_extent[1] = desc->image_height;
        break;
    case CL_MEM_OBJECT_IMAGE2D_ARRAY:
        out_extent[1] = desc->image_height;
        out_extent[2] = desc->image_array_size;
        break;
    case CL_MEM_OBJECT_IMAGE3D:
        out_extent[1] = desc->image_height;
        out_extent[2] = desc->image_depth;
        break;
    default:
        break;
    }
}

void pen_image_all(cl_mem image, size_t out_region[3])
{
    extent_of(&image->desc, out_region);
}

static struct pen_place place_of(cl_mem image, const size_t origin[3], size_t row_pitch, size_t slice_pitch)
{
    /* Layers of a 1D array lie along the second axis. */
    size_t second = image->type == CL_MEM_OBJECT_IMAGE1D_ARRAY ? slice_pitch : row_pitch;
    size_t first = origin[0] * image->element_bytes + origin[1] * second + origin[2] * slice_pitch;
    return (struct pen_place){first, second, slice_pitch};
}

struct pen_place pen_image_place(cl_mem image, const size_t origin[3])
{
    return place_of(image, origin, image->row_pitch, image->slice_pitch);
}

struct pen_place pen_image_host_place(cl_mem image, const size_t origin[3])
{
    return place_of(image, origin, image->desc.image_row_pitch, image->desc.image_slice_pitch);
}

struct pen_span pen_image_span(cl_mem image, const size_t region[3])
{
    return (struct pen_span){region[0] * image->element_bytes, region[1], region[2]};
}

/* ---- checks -------------------------------------------------------------------------------------------- */

static bool extent_within(cl_device_id device, const cl_image_desc *desc)
{
    switch (desc->image_type) {
    case CL_MEM_OBJECT_IMAGE1D_BUFFER:
        return desc->image_width <= pen_device_size(device, CL_DEVICE_IMAGE_MAX_BUFFER_SIZE);
    case CL_MEM_OBJECT_IMAGE3D:
        return desc->image_width <= pen_device_size(device, CL_DEVICE_IMAGE3D_MAX_WIDTH) &&
               desc->image_height <= pen_device_size(device, CL_DEVICE_IMAGE3D_MAX_HEIGHT) &&
               desc->image_depth <= pen_device_size(device, CL_DEVICE_IMAGE3D_MAX_DEPTH);
    default:
        break;
    }
    if (is_array(desc->image_type) && desc->image_array_size > pen_device_size(device, CL_DEVICE_IMAGE_MAX_ARRAY_SIZE))
        return false;
    if (desc->image_type == CL_MEM_OBJECT_IMAGE2D || desc->image_type == CL_MEM_OBJECT_IMAGE2D_ARRAY)
        if (desc->image_height > pen_device_size(device, CL_DEVICE_IMAGE2D_MAX_HEIGHT))
            return false;
    return desc->image_width <= pen_device_size(device, CL_DEVICE_IMAGE2D_MAX_WIDTH);
}

static bool extent_within_any(cl_context context, const cl_image_desc *desc)
{
    for (cl_uint i = 0; i < context->device_count; i++)
        if (pen_device_bool(context->devices[i], CL_DEVICE_IMAGE_SUPPORT) && extent_within(context->devices[i], desc))
            return true;
    return false;
}

cl_int pen_image_check_device(cl_command_queue queue, cl_mem image)
{
    if (queue->context->device_count == 1) /* seen when it was created */
        return CL_SUCCESS;
    if (!pen_device_bool(queue->device, CL_DEVICE_IMAGE_SUPPORT))
        return CL_INVALID_OPERATION;
    if (!extent_within(queue->device, &image->desc))
        return CL_INVALID_IMAGE_SIZE;
    return pen_device_has_format(queue->device, image->flags, image->type, &image->format)
               ? CL_SUCCESS
               : CL_IMAGE_FORMAT_NOT_SUPPORTED;
}

/* Which object an image of that type may be made from, if any is given. */
static cl_int check_source(cl_context context, const cl_image_desc *desc)
{
    cl_mem source = desc->mem_object;
    if (!source)
        return desc->image_type == CL_MEM_OBJECT_IMAGE1D_BUFFER ? CL_INVALID_IMAGE_DESCRIPTOR : CL_SUCCESS;
    if (!pen_object_is(source, PEN_MAGIC_MEMORY) || source->context != context)
        return CL_INVALID_IMAGE_DESCRIPTOR;
    if (source->type == CL_MEM_OBJECT_BUFFER)
        return desc->image_type == CL_MEM_OBJECT_IMAGE1D_BUFFER || desc->image_type == CL_MEM_OBJECT_IMAGE2D
                   ? CL_SUCCESS
                   : CL_INVALID_IMAGE_DESCRIPTOR;
    return source->type == CL_MEM_OBJECT_IMAGE2D && desc->image_type == CL_MEM_OBJECT_IMAGE2D
               ? CL_SUCCESS
               : CL_INVALID_IMAGE_DESCRIPTOR;
}

/* Sizes that the type needs are not 0; those that it has not, become 0 (as the info query shows them). */
static cl_int normalize_extent(cl_image_desc *desc)
{
    enum pen_region_kind kind;
    if (!pen_image_kind(desc->image_type, &kind) || desc->num_mip_levels || desc->num_samples)
        return CL_INVALID_IMAGE_DESCRIPTOR;
    bool high =
        kind == PEN_REGION_KIND_IMAGE2D || kind == PEN_REGION_KIND_IMAGE2D_ARRAY || kind == PEN_REGION_KIND_IMAGE3D;
    desc->image_height = high ? desc->image_height : 0;
    desc->image_depth = kind == PEN_REGION_KIND_IMAGE3D ? desc->image_depth : 0;
    desc->image_array_size = is_array(desc->image_type) ? desc->image_array_size : 0;
    if (desc->image_width == 0 || (high && desc->image_height == 0) ||
        (kind == PEN_REGION_KIND_IMAGE3D && desc->image_depth == 0) ||
        (is_array(desc->image_type) && desc->image_array_size == 0))
        return CL_INVALID_IMAGE_SIZE;
    return CL_SUCCESS;
}

/* Pitches as given, or tight; only with memory of the program's, or of a buffer, may they be given. */
static cl_int normalize_pitches(cl_image_desc *desc, size_t element_bytes, bool may_give)
{
    size_t tight_row, tight_slice, extent[3];
    extent_of(desc, extent);
    if (!pen_size_mul(desc->image_width, element_bytes, &tight_row))
        return CL_INVALID_IMAGE_SIZE;
    if (!may_give && (desc->image_row_pitch || desc->image_slice_pitch))
        return CL_INVALID_IMAGE_DESCRIPTOR;
    if (desc->image_row_pitch == 0)
        desc->image_row_pitch = tight_row;
    if (desc->image_row_pitch < tight_row || desc->image_row_pitch % element_bytes != 0)
        return CL_INVALID_IMAGE_DESCRIPTOR;
    if (desc->image_type == CL_MEM_OBJECT_IMAGE3D || desc->image_type == CL_MEM_OBJECT_IMAGE2D_ARRAY) {
        if (!pen_size_mul(desc->image_row_pitch, desc->image_height, &tight_slice))
            return CL_INVALID_IMAGE_SIZE;
    } else if (desc->image_type == CL_MEM_OBJECT_IMAGE1D_ARRAY) {
        tight_slice = desc->image_row_pitch;
    } else {
        desc->image_slice_pitch = 0; /* has none; natively one that is given is ignored */
        return CL_SUCCESS;
    }
    if (desc->image_slice_pitch == 0)
        desc->image_slice_pitch = tight_slice;
    if (desc->image_slice_pitch < tight_slice || desc->image_slice_pitch % desc->image_row_pitch != 0)
        return CL_INVALID_IMAGE_DESCRIPTOR;
    return CL_SUCCESS;
}

/* OpenCL 3.0, "Image Descriptor": a 2D image from a buffer keeps to "the maximum [...] for all devices in the context
 * that support images"; these are powers of two. */
static cl_int check_pitch_alignment(cl_context context, const cl_image_desc *desc, size_t element_bytes)
{
    size_t pixels = pen_context_largest(context, CL_DEVICE_IMAGE_PITCH_ALIGNMENT);
    size_t base = pen_context_largest(context, CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT);
    if (pixels == 0) /* no device can */
        return CL_INVALID_OPERATION;
    bool aligned = desc->image_row_pitch % (pixels * element_bytes) == 0 &&
                   (base == 0 || desc->mem_object->offset % (base * element_bytes) == 0);
    return aligned ? CL_SUCCESS : CL_INVALID_IMAGE_FORMAT_DESCRIPTOR;
}

/* The same pixels under another name of the format: linear and sRGB, DEPTH and R. */
static bool formats_alike(const cl_image_format *a, const cl_image_format *b)
{
    static const cl_channel_order alike[][2] = {
        {CL_RGBA, CL_sRGBA}, {CL_BGRA, CL_sBGRA}, {CL_RGB, CL_sRGB}, {CL_RGBx, CL_sRGBx}, {CL_R, CL_DEPTH}};
    if (a->image_channel_data_type != b->image_channel_data_type)
        return false;
    for (size_t i = 0; i < sizeof alike / sizeof *alike; i++)
        if ((a->image_channel_order == alike[i][0] && b->image_channel_order == alike[i][1]) ||
            (a->image_channel_order == alike[i][1] && b->image_channel_order == alike[i][0]))
            return true;
    return false;
}

/* "The values specified in the image descriptor except for mem_object must match." */
static bool same_extent(cl_mem image, const cl_image_desc *desc)
{
    return image->desc.image_width == desc->image_width && image->desc.image_height == desc->image_height &&
           image->desc.image_row_pitch == desc->image_row_pitch;
}

/* The image fits into the object that it is made from. */
static cl_int check_view(cl_context context, const cl_image_format *format, const cl_image_desc *desc,
                         size_t element_bytes)
{
    cl_mem source = desc->mem_object;
    if (source->type == CL_MEM_OBJECT_IMAGE2D)
        return formats_alike(&source->format, format) && same_extent(source, desc) ? CL_SUCCESS
                                                                                   : CL_INVALID_IMAGE_FORMAT_DESCRIPTOR;
    size_t extent[3], reach;
    extent_of(desc, extent);
    struct pen_place place = {0, desc->image_row_pitch, 0};
    struct pen_span span = {desc->image_width * element_bytes, extent[1], 1};
    if (!pen_span_reach(&place, &span, &reach) || reach > source->size)
        return CL_INVALID_IMAGE_SIZE;
    return desc->image_type == CL_MEM_OBJECT_IMAGE2D ? check_pitch_alignment(context, desc, element_bytes) : CL_SUCCESS;
}

/* ---- creation ------------------------------------------------------------------------------------------ */

struct image_plan {
    cl_image_format format;
    cl_image_desc desc; /* normalized */
    size_t element_bytes;
    cl_mem_flags flags;
};

static cl_int plan_image(cl_context context, const cl_mem_properties *properties, cl_mem_flags flags,
                         const cl_image_format *format, const cl_image_desc *desc, const void *host_ptr,
                         struct image_plan *plan)
{
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return CL_INVALID_CONTEXT;
    cl_int status = pen_memory_check_properties(properties);
    if (status == CL_SUCCESS)
        status = pen_memory_check_flags(flags);
    if (status != CL_SUCCESS)
        return status;
    plan->element_bytes = format ? pen_format_bytes(format) : 0;
    if (plan->element_bytes == 0)
        return CL_INVALID_IMAGE_FORMAT_DESCRIPTOR;
    if (!desc)
        return CL_INVALID_IMAGE_DESCRIPTOR;
    if (!pen_context_has_images(context))
        return CL_INVALID_OPERATION;
    plan->format = *format;
    plan->desc = *desc;
    plan->flags = flags;
    status = normalize_extent(&plan->desc);
    if (status == CL_SUCCESS)
        status = check_source(context, &plan->desc);
    if (status != CL_SUCCESS)
        return status;
    cl_mem source = plan->desc.mem_object;
    if (source && source->type == CL_MEM_OBJECT_IMAGE2D && plan->desc.image_row_pitch == 0)
        plan->desc.image_row_pitch = source->desc.image_row_pitch;
    status = normalize_pitches(&plan->desc, plan->element_bytes, host_ptr || source);
    if (status != CL_SUCCESS)
        return status;
    if (!extent_within_any(context, &plan->desc))
        return CL_INVALID_IMAGE_SIZE;
    if (source) {
        status = host_ptr ? CL_INVALID_HOST_PTR : pen_memory_inherit(source, flags, &plan->flags);
        if (status == CL_SUCCESS)
            status = check_view(context, &plan->format, &plan->desc, plan->element_bytes);
    } else {
        plan->flags |= flags & PEN_MEM_ACCESS ? 0 : CL_MEM_READ_WRITE;
        status = pen_memory_check_host_ptr(flags, host_ptr);
    }
    if (status != CL_SUCCESS)
        return status;
    return pen_context_has_format(context, plan->flags, plan->desc.image_type, &plan->format)
               ? CL_SUCCESS
               : CL_IMAGE_FORMAT_NOT_SUPPORTED;
}

static struct pen_image_desc wire_desc(cl_mem image)
{
    return (struct pen_image_desc){
        .channel_order = image->format.image_channel_order,
        .channel_type = image->format.image_channel_data_type,
        .width = image->desc.image_width,
        .height = image->desc.image_height,
        .depth = image->desc.image_depth,
        .array_size = image->desc.image_array_size,
        .row_pitch = image->row_pitch,
        .slice_pitch = image->slice_pitch,
        .element_bytes = (uint32_t)image->element_bytes,
    };
}

static int view_send(cl_mem image, enum pen_region_kind kind)
{
    cl_mem source = image->parent;
    image->row_pitch = source->type == CL_MEM_OBJECT_BUFFER ? image->desc.image_row_pitch : source->row_pitch;
    struct pen_place place = {0, image->row_pitch, 0};
    struct pen_span span = {image->desc.image_width * image->element_bytes,
                            kind == PEN_REGION_KIND_IMAGE2D ? image->desc.image_height : 1, 1};
    (void)pen_span_reach(&place, &span, &image->size); /* checked: it fits */
    image->direct = source->direct && image->context->direct_images;
    image->arena_offset = source->arena_offset;
    image->host_ptr = source->host_ptr;
    struct pen_msg_region_view view = {
        .region = image->id,
        .parent = source->id,
        .kind = kind,
        .flags = pen_memory_region_flags(image),
        .image = wire_desc(image),
    };
    uint64_t sequence;
    return PEN_SEND(image->context->session, region_view, &view, &sequence);
}

/* Contents of its own, tight in the arena, with the program's bytes if it gave any. */
static int image_send(cl_mem image, enum pen_region_kind kind, void *host_ptr)
{
    const size_t origin[3] = {0};
    int error = pen_memory_allocate(image, image->size);
    if (error)
        return error;
    if (host_ptr) {
        size_t extent[3];
        pen_image_all(image, extent);
        struct pen_place host = pen_image_host_place(image, origin), contents = pen_image_place(image, origin);
        struct pen_span span = pen_image_span(image, extent);
        pen_span_copy(pen_memory_at(image), &contents, host_ptr, &host, &span);
    }
    if (image->flags & CL_MEM_USE_HOST_PTR) {
        image->host_ptr = host_ptr;
        error = pen_hostptr_add(image);
        if (error)
            return error;
    }
    struct pen_msg_region_create create = {
        .region = image->id,
        .size = image->size,
        .arena_offset = image->arena_offset,
        .kind = kind,
        .flags = pen_memory_region_flags(image),
        .initialized = host_ptr != NULL,
        .image = wire_desc(image),
    };
    uint64_t sequence;
    return PEN_SEND(image->context->session, region_create, &create, &sequence);
}

static cl_int image_create(cl_context context, const cl_mem_properties *properties, const struct image_plan *plan,
                           void *host_ptr, cl_mem *out_image)
{
    enum pen_region_kind kind;
    size_t extent[3];
    cl_mem source = plan->desc.mem_object;
    cl_mem image = pen_memory_new(context, source, plan->desc.image_type, plan->flags, properties);
    if (!image)
        return CL_OUT_OF_HOST_MEMORY;
    *out_image = image;
    (void)pen_image_kind(image->type, &kind);
    image->format = plan->format;
    image->desc = plan->desc;
    image->element_bytes = plan->element_bytes;
    image->direct = context->direct_images;
    image->row_pitch = image->desc.image_width * image->element_bytes;
    pen_image_all(image, extent);
    if (kind == PEN_REGION_KIND_IMAGE1D_ARRAY)
        image->slice_pitch = image->row_pitch;
    else if (kind == PEN_REGION_KIND_IMAGE2D_ARRAY || kind == PEN_REGION_KIND_IMAGE3D)
        image->slice_pitch = image->row_pitch * extent[1];
    if (!pen_size_mul(image->row_pitch, extent[1], &image->size) ||
        !pen_size_mul(image->size, extent[2], &image->size) ||
        image->size > pen_context_largest(context, CL_DEVICE_MAX_MEM_ALLOC_SIZE))
        return CL_MEM_OBJECT_ALLOCATION_FAILURE;
    int error = source ? view_send(image, kind) : image_send(image, kind, host_ptr);
    return error ? pen_status(error) : CL_SUCCESS;
}

cl_mem pen_clCreateImageWithProperties(cl_context context, const cl_mem_properties *properties, cl_mem_flags flags,
                                       const cl_image_format *format, const cl_image_desc *desc, void *host_ptr,
                                       cl_int *errcode_ret)
{
    struct image_plan plan;
    cl_mem image = NULL;
    cl_int status = plan_image(context, properties, flags, format, desc, host_ptr, &plan);
    if (status == CL_SUCCESS)
        status = image_create(context, properties, &plan, host_ptr, &image);
    return pen_memory_publish(image, status, errcode_ret);
}

cl_mem pen_clCreateImage(cl_context context, cl_mem_flags flags, const cl_image_format *format,
                         const cl_image_desc *desc, void *host_ptr, cl_int *errcode_ret)
{
    return pen_clCreateImageWithProperties(context, NULL, flags, format, desc, host_ptr, errcode_ret);
}

/* OpenCL 1.1 has no descriptors: what is wrong with one here, a pitch, is a size there. */
static cl_mem create_plain(cl_context context, cl_mem_flags flags, const cl_image_format *format,
                           const cl_image_desc *desc, void *host_ptr, cl_int *errcode_ret)
{
    cl_int status;
    cl_mem image = pen_clCreateImage(context, flags, format, desc, host_ptr, &status);
    if (errcode_ret)
        *errcode_ret = status == CL_INVALID_IMAGE_DESCRIPTOR ? CL_INVALID_IMAGE_SIZE : status;
    return image;
}

cl_mem pen_clCreateImage2D(cl_context context, cl_mem_flags flags, const cl_image_format *format, size_t width,
                           size_t height, size_t row_pitch, void *host_ptr, cl_int *errcode_ret)
{
    const cl_image_desc desc = {
        .image_type = CL_MEM_OBJECT_IMAGE2D,
        .image_width = width,
        .image_height = height,
        .image_row_pitch = row_pitch,
    };
    return create_plain(context, flags, format, &desc, host_ptr, errcode_ret);
}

cl_mem pen_clCreateImage3D(cl_context context, cl_mem_flags flags, const cl_image_format *format, size_t width,
                           size_t height, size_t depth, size_t row_pitch, size_t slice_pitch, void *host_ptr,
                           cl_int *errcode_ret)
{
    const cl_image_desc desc = {
        .image_type = CL_MEM_OBJECT_IMAGE3D,
        .image_width = width,
        .image_height = height,
        .image_depth = depth,
        .image_row_pitch = row_pitch,
        .image_slice_pitch = slice_pitch,
    };
    return create_plain(context, flags, format, &desc, host_ptr, errcode_ret);
}

cl_int pen_clGetImageInfo(cl_mem image, cl_image_info param_name, size_t param_value_size, void *param_value,
                          size_t *param_value_size_ret)
{
    enum pen_region_kind kind;
    if (!pen_object_is(image, PEN_MAGIC_MEMORY) || !pen_image_kind(image->type, &kind))
        return CL_INVALID_MEM_OBJECT;
    switch (param_name) {
    case CL_IMAGE_FORMAT:
        PEN_INFO(cl_image_format, image->format);
    case CL_IMAGE_ELEMENT_SIZE:
        PEN_INFO(size_t, image->element_bytes);
    case CL_IMAGE_ROW_PITCH:
        PEN_INFO(size_t, image->desc.image_row_pitch);
    case CL_IMAGE_SLICE_PITCH:
        PEN_INFO(size_t, image->desc.image_slice_pitch);
    case CL_IMAGE_WIDTH:
        PEN_INFO(size_t, image->desc.image_width);
    case CL_IMAGE_HEIGHT:
        PEN_INFO(size_t, image->desc.image_height);
    case CL_IMAGE_DEPTH:
        PEN_INFO(size_t, image->desc.image_depth);
    case CL_IMAGE_ARRAY_SIZE:
        PEN_INFO(size_t, image->desc.image_array_size);
    case CL_IMAGE_BUFFER:
        PEN_INFO(cl_mem, image->parent && image->parent->type == CL_MEM_OBJECT_BUFFER ? image->parent : NULL);
    case CL_IMAGE_NUM_MIP_LEVELS:
        PEN_INFO(cl_uint, 0);
    case CL_IMAGE_NUM_SAMPLES:
        PEN_INFO(cl_uint, 0);
    default:
        return CL_INVALID_VALUE;
    }
}
