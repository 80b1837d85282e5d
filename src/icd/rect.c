#include "icd/copy.h"
#include "icd/entry.h"
#include "icd/move.h"

static struct pen_box box_of(const size_t origin[3], const struct pen_place *place)
{
    return (struct pen_box){{origin[0], origin[1], origin[2]}, place->row_pitch, place->slice_pitch};
}

/* One side within its buffer. */
static bool rect_fits(cl_mem buffer, const struct pen_place *place, const struct pen_span *span)
{
    size_t reach;
    return pen_span_reach(place, span, &reach) && place->first <= buffer->size && reach <= buffer->size - place->first;
}

static bool region_valid(const size_t region[3])
{
    size_t bytes;
    return region && region[0] && region[1] && region[2] && pen_size_mul(region[0], region[1], &bytes) &&
           pen_size_mul(bytes, region[2], &bytes);
}

struct side {
    const size_t *origin;
    size_t row_pitch, slice_pitch;
};

static cl_int rect_transfer(cl_command_queue queue, cl_mem buffer, bool to_region, cl_bool blocking, struct side inside,
                            struct side host, const size_t region[3], void *pointer, cl_uint wait_count,
                            const cl_event *wait_list, cl_event *out_event)
{
    cl_int status = pen_memory_check(queue, buffer, false);
    if (status != CL_SUCCESS)
        return status;
    if (!pointer || !inside.origin || !host.origin || !region_valid(region))
        return CL_INVALID_VALUE;
    struct pen_move move = {
        .memory = buffer,
        .type = to_region ? CL_COMMAND_WRITE_BUFFER_RECT : CL_COMMAND_READ_BUFFER_RECT,
        .to_region = to_region,
        .blocking = blocking != CL_FALSE,
        .program = pointer,
        .span = {region[0], region[1], region[2]},
        .extent = {region[0], region[1], region[2]},
    };
    if (!pen_rect_place(inside.origin, region, inside.row_pitch, inside.slice_pitch, &move.region_place) ||
        !pen_rect_place(host.origin, region, host.row_pitch, host.slice_pitch, &move.program_place) ||
        !rect_fits(buffer, &move.region_place, &move.span))
        return CL_INVALID_VALUE;
    status = pen_memory_check_access(buffer, !to_region, to_region);
    if (status == CL_SUCCESS)
        status = pen_memory_check_alignment(queue, buffer);
    if (status != CL_SUCCESS)
        return status;
    move.box = box_of(inside.origin, &move.region_place);
    return pen_move_run(queue, &move, wait_count, wait_list, out_event);
}

cl_int pen_clEnqueueReadBufferRect(cl_command_queue queue, cl_mem buffer, cl_bool blocking, const size_t *buffer_origin,
                                   const size_t *host_origin, const size_t *region, size_t buffer_row_pitch,
                                   size_t buffer_slice_pitch, size_t host_row_pitch, size_t host_slice_pitch,
                                   void *pointer, cl_uint wait_count, const cl_event *wait_list, cl_event *out_event)
{
    return rect_transfer(queue, buffer, false, blocking,
                         (struct side){buffer_origin, buffer_row_pitch, buffer_slice_pitch},
                         (struct side){host_origin, host_row_pitch, host_slice_pitch}, region, pointer, wait_count,
                         wait_list, out_event);
}

cl_int pen_clEnqueueWriteBufferRect(cl_command_queue queue, cl_mem buffer, cl_bool blocking,
                                    const size_t *buffer_origin, const size_t *host_origin, const size_t *region,
                                    size_t buffer_row_pitch, size_t buffer_slice_pitch, size_t host_row_pitch,
                                    size_t host_slice_pitch, const void *pointer, cl_uint wait_count,
                                    const cl_event *wait_list, cl_event *out_event)
{
    return rect_transfer(queue, buffer, true, blocking,
                         (struct side){buffer_origin, buffer_row_pitch, buffer_slice_pitch},
                         (struct side){host_origin, host_row_pitch, host_slice_pitch}, region, (void *)pointer,
                         wait_count, wait_list, out_event);
}

/* ---- copy ---------------------------------------------------------------------------------------------- */

/* Both sides share the memory of one buffer: the specification's test where their pitches are the same, else whether
 * the ranges from first to last byte meet. */
static bool rects_overlap(const struct pen_copy *copy, const size_t source_origin[3], const size_t target_origin[3],
                          const size_t region[3])
{
    size_t source_base, target_base, source_reach, target_reach;
    if (pen_memory_root(copy->source, &source_base) != pen_memory_root(copy->target, &target_base))
        return false;
    const struct pen_place *from = &copy->source_place, *to = &copy->target_place;
    if (from->row_pitch == to->row_pitch && from->slice_pitch == to->slice_pitch) {
        const size_t source[3] = {source_base + source_origin[0], source_origin[1], source_origin[2]};
        const size_t target[3] = {target_base + target_origin[0], target_origin[1], target_origin[2]};
        return pen_rect_overlap(source, target, region, from->row_pitch, from->slice_pitch);
    }
    return pen_span_reach(from, &copy->span, &source_reach) && pen_span_reach(to, &copy->span, &target_reach) &&
           pen_range_overlap(source_base + from->first, source_reach, target_base + to->first, target_reach);
}

cl_int pen_copy_of_rect(cl_command_queue queue, cl_mem source, cl_mem target, const size_t *source_origin,
                        const size_t *target_origin, const size_t *region, size_t source_row_pitch,
                        size_t source_slice_pitch, size_t target_row_pitch, size_t target_slice_pitch,
                        struct pen_copy *out_copy)
{
    cl_int status = pen_memory_check(queue, source, false);
    if (status == CL_SUCCESS)
        status = pen_memory_check(queue, target, false);
    if (status != CL_SUCCESS)
        return status;
    if (!source_origin || !target_origin || !region_valid(region))
        return CL_INVALID_VALUE;
    struct pen_copy copy = {
        .source = source,
        .target = target,
        .type = CL_COMMAND_COPY_BUFFER_RECT,
        .span = {region[0], region[1], region[2]},
        .extent = {region[0], region[1], region[2]},
    };
    if (!pen_rect_place(source_origin, region, source_row_pitch, source_slice_pitch, &copy.source_place) ||
        !pen_rect_place(target_origin, region, target_row_pitch, target_slice_pitch, &copy.target_place) ||
        !rect_fits(source, &copy.source_place, &copy.span) || !rect_fits(target, &copy.target_place, &copy.span))
        return CL_INVALID_VALUE;
    if (source == target && copy.source_place.row_pitch != copy.target_place.row_pitch &&
        copy.source_place.slice_pitch != copy.target_place.slice_pitch)
        return CL_INVALID_VALUE;
    status = pen_memory_check_alignment(queue, source);
    if (status == CL_SUCCESS)
        status = pen_memory_check_alignment(queue, target);
    if (status != CL_SUCCESS)
        return status;
    if (rects_overlap(&copy, source_origin, target_origin, region))
        return CL_MEM_COPY_OVERLAP;
    copy.source_box = box_of(source_origin, &copy.source_place);
    copy.target_box = box_of(target_origin, &copy.target_place);
    *out_copy = copy;
    return CL_SUCCESS;
}

cl_int pen_clEnqueueCopyBufferRect(cl_command_queue queue, cl_mem source, cl_mem target, const size_t *source_origin,
                                   const size_t *target_origin, const size_t *region, size_t source_row_pitch,
                                   size_t source_slice_pitch, size_t target_row_pitch, size_t target_slice_pitch,
                                   cl_uint wait_count, const cl_event *wait_list, cl_event *out_event)
{
    struct pen_copy copy;
    cl_int status = pen_copy_of_rect(queue, source, target, source_origin, target_origin, region, source_row_pitch,
                                     source_slice_pitch, target_row_pitch, target_slice_pitch, &copy);
    return status == CL_SUCCESS ? pen_copy_run(queue, &copy, wait_count, wait_list, out_event) : status;
}
