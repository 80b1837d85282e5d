#include "icd/copy.h"
#include "icd/entry.h"
#include "icd/move.h"

/* ---- read, write --------------------------------------------------------------------------------------- */

static cl_int buffer_transfer(cl_command_queue queue, cl_mem buffer, bool to_region, cl_bool blocking, size_t offset,
                              size_t size, void *pointer, cl_uint wait_count, const cl_event *wait_list,
                              cl_event *out_event)
{
    cl_int status = pen_memory_check(queue, buffer, false);
    if (status != CL_SUCCESS)
        return status;
    if (offset > buffer->size || size > buffer->size - offset || !pointer)
        return CL_INVALID_VALUE;
    status = pen_memory_check_access(buffer, !to_region, to_region);
    if (status == CL_SUCCESS)
        status = pen_memory_check_alignment(queue, buffer);
    if (status != CL_SUCCESS)
        return status;
    struct pen_move move = {
        .memory = buffer,
        .type = to_region ? CL_COMMAND_WRITE_BUFFER : CL_COMMAND_READ_BUFFER,
        .to_region = to_region,
        .blocking = blocking != CL_FALSE,
        .program = pointer,
        .program_place = {0, size, size},
        .region_place = {offset, size, size},
        .span = {size, 1, 1},
        .box = {.origin = {offset, 0, 0}},
        .extent = {size, 1, 1},
    };
    return pen_move_run(queue, &move, wait_count, wait_list, out_event);
}

cl_int pen_clEnqueueReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size,
                               void *pointer, cl_uint wait_count, const cl_event *wait_list, cl_event *out_event)
{
    return buffer_transfer(queue, buffer, false, blocking, offset, size, pointer, wait_count, wait_list, out_event);
}

cl_int pen_clEnqueueWriteBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size,
                                const void *pointer, cl_uint wait_count, const cl_event *wait_list, cl_event *out_event)
{
    return buffer_transfer(queue, buffer, true, blocking, offset, size, (void *)pointer, wait_count, wait_list,
                           out_event);
}

/* ---- copy ---------------------------------------------------------------------------------------------- */

/* Two buffers that are the same memory, in the coordinates of their root. */
static bool ranges_overlap(cl_mem source, size_t source_offset, cl_mem target, size_t target_offset, size_t size)
{
    size_t source_base, target_base;
    if (pen_memory_root(source, &source_base) != pen_memory_root(target, &target_base))
        return false;
    return pen_range_overlap(source_base + source_offset, size, target_base + target_offset, size);
}

static cl_int copy_check(cl_command_queue queue, cl_mem source, cl_mem target, size_t source_offset,
                         size_t target_offset, size_t size)
{
    cl_int status = pen_memory_check(queue, source, false);
    if (status == CL_SUCCESS)
        status = pen_memory_check(queue, target, false);
    if (status != CL_SUCCESS)
        return status;
    if (size == 0 || source_offset > source->size || size > source->size - source_offset ||
        target_offset > target->size || size > target->size - target_offset)
        return CL_INVALID_VALUE;
    status = pen_memory_check_alignment(queue, source);
    if (status == CL_SUCCESS)
        status = pen_memory_check_alignment(queue, target);
    if (status != CL_SUCCESS)
        return status;
    return ranges_overlap(source, source_offset, target, target_offset, size) ? CL_MEM_COPY_OVERLAP : CL_SUCCESS;
}

cl_int pen_copy_of_buffer(cl_command_queue queue, cl_mem source, cl_mem target, size_t source_offset,
                          size_t target_offset, size_t size, struct pen_copy *out_copy)
{
    cl_int status = copy_check(queue, source, target, source_offset, target_offset, size);
    if (status != CL_SUCCESS)
        return status;
    *out_copy = (struct pen_copy){
        .source = source,
        .target = target,
        .type = CL_COMMAND_COPY_BUFFER,
        .source_place = {source_offset, size, size},
        .target_place = {target_offset, size, size},
        .span = {size, 1, 1},
        .source_box = {.origin = {source_offset, 0, 0}},
        .target_box = {.origin = {target_offset, 0, 0}},
        .extent = {size, 1, 1},
    };
    return CL_SUCCESS;
}

cl_int pen_clEnqueueCopyBuffer(cl_command_queue queue, cl_mem source, cl_mem target, size_t source_offset,
                               size_t target_offset, size_t size, cl_uint wait_count, const cl_event *wait_list,
                               cl_event *out_event)
{
    struct pen_copy copy;
    cl_int status = pen_copy_of_buffer(queue, source, target, source_offset, target_offset, size, &copy);
    return status == CL_SUCCESS ? pen_copy_run(queue, &copy, wait_count, wait_list, out_event) : status;
}

/* ---- fill ---------------------------------------------------------------------------------------------- */

static cl_int fill_check(cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size, size_t offset,
                         size_t size)
{
    cl_int status = pen_memory_check(queue, buffer, false);
    if (status != CL_SUCCESS)
        return status;
    if (!pattern || pattern_size == 0 || pattern_size > PEN_LIMIT_PATTERN || (pattern_size & (pattern_size - 1)))
        return CL_INVALID_VALUE;
    if (offset % pattern_size || size % pattern_size || offset > buffer->size || size > buffer->size - offset)
        return CL_INVALID_VALUE;
    return pen_memory_check_alignment(queue, buffer);
}

cl_int pen_fill_of_buffer(cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size,
                          size_t offset, size_t size, struct pen_fill *out_fill)
{
    cl_int status = fill_check(queue, buffer, pattern, pattern_size, offset, size);
    if (status != CL_SUCCESS)
        return status;
    *out_fill = (struct pen_fill){
        .memory = buffer,
        .type = CL_COMMAND_FILL_BUFFER,
        .pattern = pattern,
        .pattern_size = pattern_size,
        .sent = {pattern, (uint32_t)pattern_size},
        .place = {offset, size, size},
        .span = {size, 1, 1},
        .origin = {offset, 0, 0},
        .extent = {size, 1, 1},
    };
    return CL_SUCCESS;
}

cl_int pen_clEnqueueFillBuffer(cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size,
                               size_t offset, size_t size, cl_uint wait_count, const cl_event *wait_list,
                               cl_event *out_event)
{
    struct pen_fill fill;
    cl_int status = pen_fill_of_buffer(queue, buffer, pattern, pattern_size, offset, size, &fill);
    return status == CL_SUCCESS ? pen_fill_run(queue, &fill, wait_count, wait_list, out_event) : status;
}
