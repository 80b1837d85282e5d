/* icd/record.c - clCommand*: commands into a command buffer (command_buffer.h). */
#include <stdlib.h>
#include <string.h>

#include "icd/command_buffer.h"
#include "icd/entry.h"

/* What every clCommand* takes beside its own arguments. */
struct recording {
    cl_command_buffer_khr buffer;
    cl_command_queue queue;
    cl_uint wait_count;
    const cl_sync_point_khr *wait_list;
    cl_sync_point_khr *out_sync_point;
    cl_mutable_command_khr *out_handle;
};

/* Version 0.9.0: the queue is the command buffer's only one, and commands do not change. */
static cl_int check(const struct recording *recording)
{
    if (!pen_object_is(recording->buffer, PEN_MAGIC_COMMAND_BUFFER))
        return CL_INVALID_COMMAND_BUFFER_KHR;
    if (recording->queue)
        return CL_INVALID_COMMAND_QUEUE;
    if (recording->out_handle)
        return CL_INVALID_VALUE;
    return CL_SUCCESS;
}

static cl_int check_wait_list(const struct recording *recording)
{
    if ((recording->wait_count == 0) != (recording->wait_list == NULL))
        return CL_INVALID_SYNC_POINT_WAIT_LIST_KHR;
    for (cl_uint i = 0; i < recording->wait_count; i++)
        if (!recording->wait_list[i] || recording->wait_list[i] > recording->buffer->command_count)
            return CL_INVALID_SYNC_POINT_WAIT_LIST_KHR;
    return CL_SUCCESS;
}

/* The commands that `command` waits for, where the queue does not order them: its list, which for a barrier without one
 * is all that nobody waits for yet; and the last barrier. A sync point is 1 + the index of its command. */
static cl_int set_waits(const struct recording *recording, struct pen_recorded *command)
{
    cl_command_buffer_khr buffer = recording->buffer;
    bool all = command->kind == PEN_RECORDED_BARRIER && !recording->wait_count;
    command->waits = calloc((size_t)(all ? buffer->command_count : recording->wait_count) + 1, sizeof(cl_uint));
    if (!command->waits)
        return CL_OUT_OF_HOST_MEMORY;
    for (cl_uint i = 0; i < recording->wait_count; i++)
        command->waits[command->wait_count++] = recording->wait_list[i] - 1;
    for (cl_uint i = 0; all && i < buffer->command_count; i++)
        if (!buffer->commands[i]->awaited)
            command->waits[command->wait_count++] = i;
    if (buffer->barrier && !all)
        command->waits[command->wait_count++] = buffer->barrier - 1;
    return CL_SUCCESS;
}

static cl_int append(const struct recording *recording, struct pen_recorded *command)
{
    cl_command_buffer_khr buffer = recording->buffer;
    struct pen_recorded **grown =
        realloc(buffer->commands, (buffer->command_count + 1) * sizeof(struct pen_recorded *));
    if (!grown)
        return CL_OUT_OF_HOST_MEMORY;
    buffer->commands = grown;
    cl_int status = set_waits(recording, command);
    if (status != CL_SUCCESS)
        return status;
    for (cl_uint i = 0; i < command->wait_count; i++)
        buffer->commands[command->waits[i]]->awaited = true;
    buffer->commands[buffer->command_count++] = command;
    if (command->kind == PEN_RECORDED_BARRIER)
        buffer->barrier = buffer->command_count;
    if (recording->out_sync_point)
        *recording->out_sync_point = buffer->command_count;
    return CL_SUCCESS;
}

/* Takes `command`, which may be NULL, or whose making may have failed with `status`. */
static cl_int record(const struct recording *recording, struct pen_recorded *command, cl_int status)
{
    if (status == CL_SUCCESS && !command)
        status = CL_OUT_OF_HOST_MEMORY;
    if (status == CL_SUCCESS) {
        pthread_mutex_lock(&recording->buffer->lock);
        status = recording->buffer->finalized ? CL_INVALID_OPERATION : check_wait_list(recording);
        if (status == CL_SUCCESS)
            status = append(recording, command);
        pthread_mutex_unlock(&recording->buffer->lock);
    }
    if (status != CL_SUCCESS)
        pen_recorded_free(command);
    return status;
}

static struct pen_recorded *new_command(int kind, cl_uint most_held)
{
    struct pen_recorded *command = calloc(1, sizeof *command);
    void **held = calloc(most_held ? most_held : 1, sizeof *held);
    if (!command || !held) {
        free(command);
        free(held);
        return NULL;
    }
    command->kind = kind;
    command->held = held;
    return command;
}

static void hold(struct pen_recorded *command, void *object)
{
    pen_ref(object);
    command->held[command->held_count++] = object;
}

/* ---- barrier -------------------------------------------------------------------------------------------- */

cl_int CL_API_CALL pen_clCommandBarrierWithWaitListKHR(cl_command_buffer_khr buffer, cl_command_queue queue,
                                                       cl_uint wait_count, const cl_sync_point_khr *wait_list,
                                                       cl_sync_point_khr *out_sync_point,
                                                       cl_mutable_command_khr *out_handle)
{
    struct recording recording = {buffer, queue, wait_count, wait_list, out_sync_point, out_handle};
    cl_int status = check(&recording);
    return status == CL_SUCCESS ? record(&recording, new_command(PEN_RECORDED_BARRIER, 0), status) : status;
}

/* ---- copy ----------------------------------------------------------------------------------------------- */

static cl_int record_copy(const struct recording *recording, const struct pen_copy *copy, cl_int status)
{
    if (status != CL_SUCCESS)
        return status;
    struct pen_recorded *command = new_command(PEN_RECORDED_COPY, 2);
    if (command) {
        command->copy = *copy;
        hold(command, copy->source);
        hold(command, copy->target);
    }
    return record(recording, command, status);
}

cl_int CL_API_CALL pen_clCommandCopyBufferKHR(cl_command_buffer_khr buffer, cl_command_queue queue, cl_mem source,
                                              cl_mem target, size_t source_offset, size_t target_offset, size_t size,
                                              cl_uint wait_count, const cl_sync_point_khr *wait_list,
                                              cl_sync_point_khr *out_sync_point, cl_mutable_command_khr *out_handle)
{
    struct recording recording = {buffer, queue, wait_count, wait_list, out_sync_point, out_handle};
    struct pen_copy copy;
    cl_int status = check(&recording);
    if (status == CL_SUCCESS)
        status = pen_copy_of_buffer(buffer->queue, source, target, source_offset, target_offset, size, &copy);
    return record_copy(&recording, &copy, status);
}

cl_int CL_API_CALL pen_clCommandCopyBufferRectKHR(cl_command_buffer_khr buffer, cl_command_queue queue, cl_mem source,
                                                  cl_mem target, const size_t *source_origin,
                                                  const size_t *target_origin, const size_t *region,
                                                  size_t source_row_pitch, size_t source_slice_pitch,
                                                  size_t target_row_pitch, size_t target_slice_pitch,
                                                  cl_uint wait_count, const cl_sync_point_khr *wait_list,
                                                  cl_sync_point_khr *out_sync_point, cl_mutable_command_khr *out_handle)
{
    struct recording recording = {buffer, queue, wait_count, wait_list, out_sync_point, out_handle};
    struct pen_copy copy;
    cl_int status = check(&recording);
    if (status == CL_SUCCESS)
        status = pen_copy_of_rect(buffer->queue, source, target, source_origin, target_origin, region, source_row_pitch,
                                  source_slice_pitch, target_row_pitch, target_slice_pitch, &copy);
    return record_copy(&recording, &copy, status);
}

cl_int CL_API_CALL pen_clCommandCopyImageKHR(cl_command_buffer_khr buffer, cl_command_queue queue, cl_mem source,
                                             cl_mem target, const size_t *source_origin, const size_t *target_origin,
                                             const size_t *region, cl_uint wait_count,
                                             const cl_sync_point_khr *wait_list, cl_sync_point_khr *out_sync_point,
                                             cl_mutable_command_khr *out_handle)
{
    struct recording recording = {buffer, queue, wait_count, wait_list, out_sync_point, out_handle};
    struct pen_copy copy;
    cl_int status = check(&recording);
    if (status == CL_SUCCESS)
        status = pen_copy_of_image(buffer->queue, source, target, source_origin, target_origin, region, &copy);
    return record_copy(&recording, &copy, status);
}

cl_int CL_API_CALL pen_clCommandCopyBufferToImageKHR(cl_command_buffer_khr buffer, cl_command_queue queue,
                                                     cl_mem source, cl_mem target, size_t source_offset,
                                                     const size_t *target_origin, const size_t *region,
                                                     cl_uint wait_count, const cl_sync_point_khr *wait_list,
                                                     cl_sync_point_khr *out_sync_point,
                                                     cl_mutable_command_khr *out_handle)
{
    struct recording recording = {buffer, queue, wait_count, wait_list, out_sync_point, out_handle};
    struct pen_copy copy;
    cl_int status = check(&recording);
    if (status == CL_SUCCESS)
        status =
            pen_copy_of_image_buffer(buffer->queue, target, source, true, target_origin, region, source_offset, &copy);
    return record_copy(&recording, &copy, status);
}

cl_int CL_API_CALL pen_clCommandCopyImageToBufferKHR(cl_command_buffer_khr buffer, cl_command_queue queue,
                                                     cl_mem source, cl_mem target, const size_t *source_origin,
                                                     const size_t *region, size_t target_offset, cl_uint wait_count,
                                                     const cl_sync_point_khr *wait_list,
                                                     cl_sync_point_khr *out_sync_point,
                                                     cl_mutable_command_khr *out_handle)
{
    struct recording recording = {buffer, queue, wait_count, wait_list, out_sync_point, out_handle};
    struct pen_copy copy;
    cl_int status = check(&recording);
    if (status == CL_SUCCESS)
        status =
            pen_copy_of_image_buffer(buffer->queue, source, target, false, source_origin, region, target_offset, &copy);
    return record_copy(&recording, &copy, status);
}

/* ---- fill ----------------------------------------------------------------------------------------------- */

cl_int CL_API_CALL pen_clCommandFillBufferKHR(cl_command_buffer_khr buffer, cl_command_queue queue, cl_mem memory,
                                              const void *pattern, size_t pattern_size, size_t offset, size_t size,
                                              cl_uint wait_count, const cl_sync_point_khr *wait_list,
                                              cl_sync_point_khr *out_sync_point, cl_mutable_command_khr *out_handle)
{
    struct recording recording = {buffer, queue, wait_count, wait_list, out_sync_point, out_handle};
    cl_int status = check(&recording);
    if (status != CL_SUCCESS)
        return status;
    struct pen_recorded *command = new_command(PEN_RECORDED_FILL, 1);
    if (command)
        status = pen_fill_of_buffer(buffer->queue, memory, pattern, pattern_size, offset, size, &command->fill);
    if (command && status == CL_SUCCESS) {
        memcpy(command->pattern, pattern, pattern_size);
        command->fill.pattern = command->fill.sent.data = command->pattern;
        hold(command, memory);
    }
    return record(&recording, command, status);
}

cl_int CL_API_CALL pen_clCommandFillImageKHR(cl_command_buffer_khr buffer, cl_command_queue queue, cl_mem image,
                                             const void *color, const size_t *origin, const size_t *region,
                                             cl_uint wait_count, const cl_sync_point_khr *wait_list,
                                             cl_sync_point_khr *out_sync_point, cl_mutable_command_khr *out_handle)
{
    struct recording recording = {buffer, queue, wait_count, wait_list, out_sync_point, out_handle};
    cl_int status = check(&recording);
    if (status != CL_SUCCESS)
        return status;
    struct pen_recorded *command = new_command(PEN_RECORDED_FILL, 1);
    if (command)
        status = pen_fill_of_image(buffer->queue, image, color, origin, region, &command->fill);
    if (command && status == CL_SUCCESS)
        hold(command, image);
    return record(&recording, command, status);
}

/* ---- launch --------------------------------------------------------------------------------------------- */

/* A kernel of the command's own, with the arguments as they are now; what they name lives as long. */
static cl_int hold_kernel(struct pen_recorded *command, cl_kernel kernel)
{
    cl_int status = CL_SUCCESS;
    command->kernel = pen_clCloneKernel(kernel, &status);
    if (status != CL_SUCCESS)
        return status;
    hold(command, command->kernel);
    pen_clReleaseKernel(command->kernel);
    for (cl_uint i = 0; i < command->kernel->meta->info.arguments_count; i++) {
        const struct pen_kernel_argument *argument = &command->kernel->arguments[i];
        bool region = argument->kind == PEN_ARGUMENT_KIND_REGION, sampler = argument->kind == PEN_ARGUMENT_KIND_SAMPLER;
        if ((region && pen_object_is(argument->object, PEN_MAGIC_MEMORY)) ||
            (sampler && pen_object_is(argument->object, PEN_MAGIC_SAMPLER)))
            hold(command, argument->object);
    }
    return CL_SUCCESS;
}

cl_int CL_API_CALL pen_clCommandNDRangeKernelKHR(cl_command_buffer_khr buffer, cl_command_queue queue,
                                                 const cl_ndrange_kernel_command_properties_khr *properties,
                                                 cl_kernel kernel, cl_uint dimensions, const size_t *offset,
                                                 const size_t *global, const size_t *local, cl_uint wait_count,
                                                 const cl_sync_point_khr *wait_list, cl_sync_point_khr *out_sync_point,
                                                 cl_mutable_command_khr *out_handle)
{
    struct recording recording = {buffer, queue, wait_count, wait_list, out_sync_point, out_handle};
    struct pen_launch launch;
    cl_int status = check(&recording);
    if (status == CL_SUCCESS && properties && properties[0])
        status = CL_INVALID_VALUE;
    if (status == CL_SUCCESS)
        status = pen_launch_check(buffer->queue, kernel, dimensions, offset, global, local, &launch);
    if (status != CL_SUCCESS)
        return status;
    struct pen_recorded *command = new_command(PEN_RECORDED_LAUNCH, kernel->meta->info.arguments_count + 1);
    if (command) {
        command->launch = launch;
        status = hold_kernel(command, kernel);
    }
    return record(&recording, command, status);
}
