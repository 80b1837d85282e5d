#include <string.h>

#include "icd/copy.h"
#include "icd/entry.h"
#include "icd/format.h"
#include "icd/move.h"

_Static_assert(sizeof(((struct pen_fill *)NULL)->pixel) == PEN_ELEMENT_BYTES, "a fill holds one pixel of any format");

static struct pen_box pixels(const size_t origin[3])
{
    return (struct pen_box){.origin = {origin[0], origin[1], origin[2]}};
}

/* ---- checks -------------------------------------------------------------------------------------------- */

cl_int pen_image_check_box(cl_mem image, const size_t origin[3], const size_t region[3])
{
    size_t extent[3];
    if (!origin || !region)
        return CL_INVALID_VALUE;
    pen_image_all(image, extent);
    /* Axes that the image has not are 1 long: origin 0 and region 1 is all that fits. */
    for (int axis = 0; axis < 3; axis++)
        if (region[axis] == 0 || origin[axis] > extent[axis] || region[axis] > extent[axis] - origin[axis])
            return CL_INVALID_VALUE;
    return CL_SUCCESS;
}

/* Pitches of the program's memory: defaults, and the least that rows and slices need. */
static cl_int host_place(cl_mem image, const size_t region[3], size_t row_pitch, size_t slice_pitch,
                         struct pen_place *out_place)
{
    size_t row_bytes = region[0] * image->element_bytes, slice;
    if (row_pitch == 0)
        row_pitch = row_bytes;
    if (row_pitch < row_bytes)
        return CL_INVALID_VALUE;
    if (image->type == CL_MEM_OBJECT_IMAGE1D_ARRAY) { /* its layers lie along the second axis */
        if (slice_pitch == 0)
            slice_pitch = row_pitch;
        if (slice_pitch < row_bytes)
            return CL_INVALID_VALUE;
        *out_place = (struct pen_place){0, slice_pitch, slice_pitch};
        return CL_SUCCESS;
    }
    if (!pen_size_mul(row_pitch, region[1], &slice))
        return CL_INVALID_VALUE;
    /* What has no slices is natively allowed to be given a pitch for them. */
    bool sliced = image->type == CL_MEM_OBJECT_IMAGE3D || image->type == CL_MEM_OBJECT_IMAGE2D_ARRAY;
    if (slice_pitch == 0 || !sliced)
        slice_pitch = slice;
    if (slice_pitch < slice)
        return CL_INVALID_VALUE;
    *out_place = (struct pen_place){0, row_pitch, slice_pitch};
    return CL_SUCCESS;
}

/* ---- read, write --------------------------------------------------------------------------------------- */

static cl_int image_transfer(cl_command_queue queue, cl_mem image, bool to_region, cl_bool blocking,
                             const size_t origin[3], const size_t region[3], size_t row_pitch, size_t slice_pitch,
                             void *pointer, cl_uint wait_count, const cl_event *wait_list, cl_event *out_event)
{
    cl_int status = pen_memory_check(queue, image, true);
    if (status == CL_SUCCESS)
        status = pointer ? pen_image_check_box(image, origin, region) : CL_INVALID_VALUE;
    if (status != CL_SUCCESS)
        return status;
    struct pen_move move = {
        .memory = image,
        .type = to_region ? CL_COMMAND_WRITE_IMAGE : CL_COMMAND_READ_IMAGE,
        .to_region = to_region,
        .blocking = blocking != CL_FALSE,
        .program = pointer,
        .region_place = pen_image_place(image, origin),
        .span = pen_image_span(image, region),
        .box = pixels(origin),
        .extent = {region[0], region[1], region[2]},
    };
    status = host_place(image, region, row_pitch, slice_pitch, &move.program_place);
    if (status == CL_SUCCESS)
        status = pen_memory_check_access(image, !to_region, to_region);
    if (status == CL_SUCCESS)
        status = pen_image_check_device(queue, image);
    return status == CL_SUCCESS ? pen_move_run(queue, &move, wait_count, wait_list, out_event) : status;
}

cl_int pen_clEnqueueReadImage(cl_command_queue queue, cl_mem image, cl_bool blocking, const size_t *origin,
                              const size_t *region, size_t row_pitch, size_t slice_pitch, void *pointer,
                              cl_uint wait_count, const cl_event *wait_list, cl_event *out_event)
{
    return image_transfer(queue, image, false, blocking, origin, region, row_pitch, slice_pitch, pointer, wait_count,
                          wait_list, out_event);
}

cl_int pen_clEnqueueWriteImage(cl_command_queue queue, cl_mem image, cl_bool blocking, const size_t *origin,
                               const size_t *region, size_t row_pitch, size_t slice_pitch, const void *pointer,
                               cl_uint wait_count, const cl_event *wait_list, cl_event *out_event)
{
    return image_transfer(queue, image, true, blocking, origin, region, row_pitch, slice_pitch, (void *)pointer,
                          wait_count, wait_list, out_event);
}

/* ---- copy ---------------------------------------------------------------------------------------------- */

cl_int pen_copy_of_image(cl_command_queue queue, cl_mem source, cl_mem target, const size_t *source_origin,
                         const size_t *target_origin, const size_t *region, struct pen_copy *out_copy)
{
    cl_int status = pen_memory_check(queue, source, true);
    if (status == CL_SUCCESS)
        status = pen_memory_check(queue, target, true);
    if (status != CL_SUCCESS)
        return status;
    if (memcmp(&source->format, &target->format, sizeof source->format) != 0)
        return CL_IMAGE_FORMAT_MISMATCH;
    status = pen_image_check_box(source, source_origin, region);
    if (status == CL_SUCCESS)
        status = pen_image_check_box(target, target_origin, region);
    if (status == CL_SUCCESS)
        status = pen_image_check_device(queue, source);
    if (status == CL_SUCCESS)
        status = pen_image_check_device(queue, target);
    if (status != CL_SUCCESS)
        return status;
    if (source == target && pen_box_overlap(source_origin, target_origin, region))
        return CL_MEM_COPY_OVERLAP;
    *out_copy = (struct pen_copy){
        .source = source,
        .target = target,
        .type = CL_COMMAND_COPY_IMAGE,
        .source_place = pen_image_place(source, source_origin),
        .target_place = pen_image_place(target, target_origin),
        .span = pen_image_span(source, region),
        .source_box = pixels(source_origin),
        .target_box = pixels(target_origin),
        .extent = {region[0], region[1], region[2]},
    };
    return CL_SUCCESS;
}

cl_int pen_clEnqueueCopyImage(cl_command_queue queue, cl_mem source, cl_mem target, const size_t *source_origin,
                              const size_t *target_origin, const size_t *region, cl_uint wait_count,
                              const cl_event *wait_list, cl_event *out_event)
{
    struct pen_copy copy;
    cl_int status = pen_copy_of_image(queue, source, target, source_origin, target_origin, region, &copy);
    return status == CL_SUCCESS ? pen_copy_run(queue, &copy, wait_count, wait_list, out_event) : status;
}

cl_int pen_copy_of_image_buffer(cl_command_queue queue, cl_mem image, cl_mem buffer, bool to_image,
                                const size_t *origin, const size_t *region, size_t offset, struct pen_copy *out_copy)
{
    cl_int status = pen_memory_check(queue, image, true);
    if (status == CL_SUCCESS)
        status = pen_memory_check(queue, buffer, false);
    if (status == CL_SUCCESS && image->type == CL_MEM_OBJECT_IMAGE1D_BUFFER && image->parent == buffer)
        status = CL_INVALID_MEM_OBJECT; /* one is the other's memory */
    if (status == CL_SUCCESS)
        status = pen_image_check_box(image, origin, region);
    if (status != CL_SUCCESS)
        return status;
    struct pen_span span = pen_image_span(image, region);
    size_t bytes = pen_span_bytes(&span);
    if (offset > buffer->size || bytes > buffer->size - offset)
        return CL_INVALID_VALUE;
    status = pen_memory_check_alignment(queue, buffer);
    if (status == CL_SUCCESS)
        status = pen_image_check_device(queue, image);
    if (status != CL_SUCCESS)
        return status;
    struct pen_place in_image = pen_image_place(image, origin), in_buffer = pen_span_tight(&span);
    in_buffer.first = offset;
    struct pen_box image_box = pixels(origin), buffer_box = {.origin = {offset, 0, 0}};
    *out_copy = (struct pen_copy){
        .source = to_image ? buffer : image,
        .target = to_image ? image : buffer,
        .type = to_image ? CL_COMMAND_COPY_BUFFER_TO_IMAGE : CL_COMMAND_COPY_IMAGE_TO_BUFFER,
        .source_place = to_image ? in_buffer : in_image,
        .target_place = to_image ? in_image : in_buffer,
        .span = span,
        .source_box = to_image ? buffer_box : image_box,
        .target_box = to_image ? image_box : buffer_box,
        .extent = {region[0], region[1], region[2]},
    };
    return CL_SUCCESS;
}

cl_int pen_clEnqueueCopyImageToBuffer(cl_command_queue queue, cl_mem image, cl_mem buffer, const size_t *origin,
                                      const size_t *region, size_t offset, cl_uint wait_count,
                                      const cl_event *wait_list, cl_event *out_event)
{
    struct pen_copy copy;
    cl_int status = pen_copy_of_image_buffer(queue, image, buffer, false, origin, region, offset, &copy);
    return status == CL_SUCCESS ? pen_copy_run(queue, &copy, wait_count, wait_list, out_event) : status;
}

cl_int pen_clEnqueueCopyBufferToImage(cl_command_queue queue, cl_mem buffer, cl_mem image, size_t offset,
                                      const size_t *origin, const size_t *region, cl_uint wait_count,
                                      const cl_event *wait_list, cl_event *out_event)
{
    struct pen_copy copy;
    cl_int status = pen_copy_of_image_buffer(queue, image, buffer, true, origin, region, offset, &copy);
    return status == CL_SUCCESS ? pen_copy_run(queue, &copy, wait_count, wait_list, out_event) : status;
}

/* ---- fill ---------------------------------------------------------------------------------------------- */

/* The pixels of an image of a buffer, whose colour is known as it is stored, are bytes of that: PoCL 3.1 ends the
 * process in the fill of such an image. */
static void fill_buffer_instead(struct pen_fill *fill)
{
    fill->memory = fill->memory->parent;
    fill->sent = (struct pen_bytes){fill->pixel, (uint32_t)fill->pattern_size};
    fill->origin[0] *= fill->pattern_size;
    fill->extent[0] *= fill->pattern_size;
}

cl_int pen_fill_of_image(cl_command_queue queue, cl_mem image, const void *color, const size_t *origin,
                         const size_t *region, struct pen_fill *out_fill)
{
    cl_int status = pen_memory_check(queue, image, true);
    if (status == CL_SUCCESS)
        status = color ? pen_image_check_box(image, origin, region) : CL_INVALID_VALUE;
    if (status == CL_SUCCESS)
        status = pen_image_check_device(queue, image);
    if (status != CL_SUCCESS)
        return status;
    bool depth = image->format.image_channel_order == CL_DEPTH; /* has one channel to read */
    *out_fill = (struct pen_fill){
        .memory = image,
        .type = CL_COMMAND_FILL_IMAGE,
        .pattern_size = image->element_bytes,
        .sent = {out_fill->channels, sizeof out_fill->channels},
        .place = pen_image_place(image, origin),
        .span = pen_image_span(image, region),
        .origin = {origin[0], origin[1], origin[2]},
        .extent = {region[0], region[1], region[2]},
    };
    memcpy(out_fill->channels, color, depth ? sizeof out_fill->channels[0] : sizeof out_fill->channels);
    out_fill->pattern = pen_format_pack(&image->format, out_fill->channels, out_fill->pixel) ? out_fill->pixel : NULL;
    if (out_fill->pattern && image->type == CL_MEM_OBJECT_IMAGE1D_BUFFER)
        fill_buffer_instead(out_fill);
    return CL_SUCCESS;
}

cl_int pen_clEnqueueFillImage(cl_command_queue queue, cl_mem image, const void *color, const size_t *origin,
                              const size_t *region, cl_uint wait_count, const cl_event *wait_list, cl_event *out_event)
{
    struct pen_fill fill;
    cl_int status = pen_fill_of_image(queue, image, color, origin, region, &fill);
    return status == CL_SUCCESS ? pen_fill_run(queue, &fill, wait_count, wait_list, out_event) : status;
}
