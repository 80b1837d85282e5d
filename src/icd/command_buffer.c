/* icd/command_buffer.c - see command_buffer.h. */
#include "icd/command_buffer.h"

#include <stdlib.h>
#include <string.h>

#include "icd/device.h"
#include "icd/entry.h"
#include "icd/move.h"
#include "icd/service.h"

/* ---- life ----------------------------------------------------------------------------------------------- */

void pen_recorded_free(struct pen_recorded *command)
{
    if (!command)
        return;
    for (cl_uint i = 0; i < command->held_count; i++)
        pen_unref(command->held[i]);
    free(command->held);
    free(command->waits);
    free(command);
}

void pen_command_buffer_destroy(cl_command_buffer_khr buffer)
{
    for (cl_uint i = 0; i < buffer->command_count; i++)
        pen_recorded_free(buffer->commands[i]);
    for (size_t i = 0; i < buffer->pending_count; i++)
        pen_unref(buffer->pending[i]);
    pthread_mutex_destroy(&buffer->lock);
    pen_unref(buffer->queue);
    free(buffer->commands);
    free(buffer->pending);
    free(buffer->property_list);
    free(buffer);
}

/* One property there is; 0 ends the list. */
static cl_int parse(const cl_command_buffer_properties_khr *list, size_t *out_count, bool *out_simultaneous)
{
    *out_count = 0;
    *out_simultaneous = false;
    if (!list)
        return CL_SUCCESS;
    size_t count = 0;
    for (; list[count]; count += 2) {
        if (list[count] != CL_COMMAND_BUFFER_FLAGS_KHR || count)
            return CL_INVALID_VALUE;
        if (list[count + 1] & ~(cl_command_buffer_properties_khr)CL_COMMAND_BUFFER_SIMULTANEOUS_USE_KHR)
            return CL_INVALID_VALUE;
        *out_simultaneous = list[count + 1] & CL_COMMAND_BUFFER_SIMULTANEOUS_USE_KHR;
    }
    *out_count = count + 1;
    return CL_SUCCESS;
}

static cl_command_buffer_khr create(cl_command_queue queue, const cl_command_buffer_properties_khr *list, size_t count,
                                    bool simultaneous)
{
    cl_command_buffer_khr buffer = calloc(1, sizeof *buffer);
    cl_command_buffer_properties_khr *copy = count ? malloc(count * sizeof *copy) : NULL;
    if (!buffer || (count && !copy)) {
        free(buffer);
        free(copy);
        return NULL;
    }
    if (count)
        memcpy(copy, list, count * sizeof *copy);
    pen_object_init(&buffer->object, PEN_MAGIC_COMMAND_BUFFER);
    pthread_mutex_init(&buffer->lock, NULL);
    buffer->queue = queue;
    buffer->property_list = copy;
    buffer->property_count = count;
    buffer->simultaneous = simultaneous;
    pen_ref(queue);
    return buffer;
}

cl_command_buffer_khr CL_API_CALL pen_clCreateCommandBufferKHR(cl_uint queue_count, const cl_command_queue *queues,
                                                               const cl_command_buffer_properties_khr *properties,
                                                               cl_int *out_error)
{
    cl_command_buffer_khr buffer = NULL;
    size_t count = 0;
    bool simultaneous = false;
    cl_int status = queue_count == 1 && queues ? CL_SUCCESS : CL_INVALID_VALUE; /* 0.9.0 knows one queue */
    if (!status && !pen_object_is(queues[0], PEN_MAGIC_QUEUE))
        status = CL_INVALID_COMMAND_QUEUE;
    if (!status && !pen_extensions_have(&queues[0]->device->facts->extensions, "cl_khr_command_buffer"))
        status = CL_INVALID_OPERATION;
    if (!status)
        status = parse(properties, &count, &simultaneous);
    if (!status && !(buffer = create(queues[0], properties, count, simultaneous)))
        status = CL_OUT_OF_HOST_MEMORY;
    if (out_error)
        *out_error = status;
    return buffer;
}

cl_int CL_API_CALL pen_clFinalizeCommandBufferKHR(cl_command_buffer_khr buffer)
{
    if (!pen_object_is(buffer, PEN_MAGIC_COMMAND_BUFFER))
        return CL_INVALID_COMMAND_BUFFER_KHR;
    pthread_mutex_lock(&buffer->lock);
    cl_int status = buffer->finalized ? CL_INVALID_OPERATION : CL_SUCCESS;
    buffer->finalized = true;
    pthread_mutex_unlock(&buffer->lock);
    return status;
}

cl_int CL_API_CALL pen_clRetainCommandBufferKHR(cl_command_buffer_khr buffer)
{
    return pen_retain(buffer, PEN_MAGIC_COMMAND_BUFFER, CL_INVALID_COMMAND_BUFFER_KHR);
}

cl_int CL_API_CALL pen_clReleaseCommandBufferKHR(cl_command_buffer_khr buffer)
{
    return pen_release(buffer, PEN_MAGIC_COMMAND_BUFFER, CL_INVALID_COMMAND_BUFFER_KHR);
}

/* ---- state ---------------------------------------------------------------------------------------------- */

/* Lets go of what is complete; the caller holds the lock. True when something is not. */
static bool is_pending(cl_command_buffer_khr buffer)
{
    size_t left = 0;
    for (size_t i = 0; i < buffer->pending_count; i++) {
        cl_event event = buffer->pending[i];
        if (pen_event_peek(event) > CL_COMPLETE)
            buffer->pending[left++] = event;
        else
            pen_unref(event);
    }
    buffer->pending_count = left;
    return left != 0;
}

static cl_command_buffer_state_khr state_of(cl_command_buffer_khr buffer)
{
    pthread_mutex_lock(&buffer->lock);
    cl_command_buffer_state_khr state = !buffer->finalized   ? CL_COMMAND_BUFFER_STATE_RECORDING_KHR
                                        : is_pending(buffer) ? CL_COMMAND_BUFFER_STATE_PENDING_KHR
                                                             : CL_COMMAND_BUFFER_STATE_EXECUTABLE_KHR;
    pthread_mutex_unlock(&buffer->lock);
    return state;
}

cl_int CL_API_CALL pen_clGetCommandBufferInfoKHR(cl_command_buffer_khr buffer, cl_command_buffer_info_khr name,
                                                 size_t param_value_size, void *param_value,
                                                 size_t *param_value_size_ret)
{
    if (!pen_object_is(buffer, PEN_MAGIC_COMMAND_BUFFER))
        return CL_INVALID_COMMAND_BUFFER_KHR;
    switch (name) {
    case CL_COMMAND_BUFFER_QUEUES_KHR:
        PEN_INFO(cl_command_queue, buffer->queue);
    case CL_COMMAND_BUFFER_NUM_QUEUES_KHR:
        PEN_INFO(cl_uint, 1);
    case CL_COMMAND_BUFFER_REFERENCE_COUNT_KHR:
        PEN_INFO(cl_uint, atomic_load(&buffer->object.refs));
    case CL_COMMAND_BUFFER_STATE_KHR:
        PEN_INFO(cl_command_buffer_state_khr, state_of(buffer));
    case CL_COMMAND_BUFFER_PROPERTIES_ARRAY_KHR:
        return pen_info(buffer->property_list, buffer->property_count * sizeof *buffer->property_list, param_value_size,
                        param_value, param_value_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

/* ---- enqueue -------------------------------------------------------------------------------------------- */

/* One enqueue of a command buffer. */
struct replay {
    cl_command_buffer_khr buffer;
    cl_command_queue queue;
    cl_uint wait_count;
    const cl_event *wait_list;
    cl_event *events; /* the commands' own; in an in-order queue only the first's, and only for its times */
    cl_event *waits;  /* room for one wait list */
};

static cl_int run(struct replay *replay, const struct pen_recorded *command, cl_uint wait_count, cl_event *out_event)
{
    const cl_event *waits = wait_count ? replay->waits : NULL;
    switch (command->kind) {
    case PEN_RECORDED_COPY:
        return pen_copy_run(replay->queue, &command->copy, wait_count, waits, out_event);
    case PEN_RECORDED_FILL:
        return pen_fill_run(replay->queue, &command->fill, wait_count, waits, out_event);
    case PEN_RECORDED_LAUNCH:
        return pen_launch_run(replay->queue, command->kernel, CL_COMMAND_NDRANGE_KERNEL, &command->launch, wait_count,
                              waits, out_event);
    default:
        break;
    }
    return pen_clEnqueueMarkerWithWaitList(replay->queue, wait_count, waits, out_event);
}

/* Writes what a command waits for to replay->waits: other commands, or with none the enqueue's own list. */
static cl_uint waits_of(struct replay *replay, const struct pen_recorded *command)
{
    cl_uint count = replay->queue->in_order ? 0 : command->wait_count;
    for (cl_uint i = 0; i < count; i++)
        replay->waits[i] = replay->events[command->waits[i]];
    if (count)
        return count;
    if (replay->wait_count)
        memcpy(replay->waits, replay->wait_list, replay->wait_count * sizeof *replay->waits);
    return replay->wait_count;
}

static cl_int run_in_order(struct replay *replay)
{
    cl_int status = CL_SUCCESS;
    for (cl_uint i = 0; status == CL_SUCCESS && i < replay->buffer->command_count; i++) {
        const struct pen_recorded *command = replay->buffer->commands[i];
        if (i && command->kind == PEN_RECORDED_BARRIER) /* the queue is one */
            continue;
        /* What comes first waits for all of them. */
        cl_uint wait_count = i ? 0 : waits_of(replay, command);
        status = run(replay, command, wait_count, !i && replay->queue->profiling ? &replay->events[0] : NULL);
    }
    return status;
}

static cl_int run_unordered(struct replay *replay)
{
    cl_int status = CL_SUCCESS;
    for (cl_uint i = 0; status == CL_SUCCESS && i < replay->buffer->command_count; i++) {
        const struct pen_recorded *command = replay->buffer->commands[i];
        cl_uint wait_count = waits_of(replay, command);
        status = run(replay, command, wait_count, &replay->events[i]);
    }
    return status;
}

/* The event of the whole: complete when the last of the commands is. */
static cl_int finish(struct replay *replay, cl_event *out_event)
{
    cl_command_queue queue = replay->queue;
    cl_uint count = 0;
    for (cl_uint i = 0; !queue->in_order && i < replay->buffer->command_count; i++)
        if (!replay->buffer->commands[i]->awaited)
            replay->waits[count++] = replay->events[i];
    if (!replay->buffer->command_count) {
        count = replay->wait_count;
        if (count)
            memcpy(replay->waits, replay->wait_list, count * sizeof *replay->waits);
    }
    struct pen_enqueue e = {0};
    cl_int status = pen_enqueue_begin(&e, queue, CL_COMMAND_COMMAND_BUFFER_KHR, count, count ? replay->waits : NULL,
                                      out_event, false, true);
    if (status)
        return status;
    if (queue->profiling && replay->events[0]) {
        e.event->begun = replay->events[0];
        pen_ref(e.event->begun);
    }
    return pen_enqueue_nothing(&e, pen_enqueue_ready(&e) && (queue->in_order || count));
}

/* Room for everybody's events and for the longest wait list. */
static bool make_room(struct replay *replay)
{
    cl_command_buffer_khr buffer = replay->buffer;
    size_t longest = replay->wait_count > buffer->command_count ? replay->wait_count : buffer->command_count;
    for (cl_uint i = 0; i < buffer->command_count; i++)
        if (buffer->commands[i]->wait_count > longest)
            longest = buffer->commands[i]->wait_count;
    replay->events = calloc((size_t)buffer->command_count + 1, sizeof *replay->events);
    replay->waits = calloc(longest + 1, sizeof *replay->waits);
    return replay->events && replay->waits;
}

static cl_int run_all(struct replay *replay, cl_event *out_event)
{
    cl_int status = make_room(replay) ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
    if (status == CL_SUCCESS)
        status = replay->queue->in_order ? run_in_order(replay) : run_unordered(replay);
    if (status == CL_SUCCESS)
        status = finish(replay, out_event);
    for (cl_uint i = 0; replay->events && i < replay->buffer->command_count; i++)
        if (replay->events[i])
            pen_clReleaseEvent(replay->events[i]);
    free(replay->events);
    free(replay->waits);
    return status;
}

static cl_int check_queue(cl_command_buffer_khr buffer, cl_uint queue_count, const cl_command_queue *queues)
{
    if ((queue_count != 0) != (queues != NULL) || queue_count > 1)
        return CL_INVALID_VALUE;
    if (!queues)
        return CL_SUCCESS;
    if (!pen_object_is(queues[0], PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    if (queues[0]->context != buffer->queue->context)
        return CL_INVALID_CONTEXT;
    bool alike = queues[0]->device == buffer->queue->device && queues[0]->properties == buffer->queue->properties;
    return alike ? CL_SUCCESS : CL_INCOMPATIBLE_COMMAND_QUEUE_KHR;
}

/* May it be enqueued now? */
static cl_int check_state(cl_command_buffer_khr buffer)
{
    cl_int status = CL_SUCCESS;
    pthread_mutex_lock(&buffer->lock);
    if (!buffer->finalized || (is_pending(buffer) && !buffer->simultaneous))
        status = CL_INVALID_OPERATION;
    pthread_mutex_unlock(&buffer->lock);
    return status;
}

/* Without memory to note it the command buffer does not count as pending. */
static void note_pending(cl_command_buffer_khr buffer, cl_event event)
{
    pthread_mutex_lock(&buffer->lock);
    cl_event *grown = realloc(buffer->pending, (buffer->pending_count + 1) * sizeof(cl_event));
    if (grown) {
        buffer->pending = grown;
        buffer->pending[buffer->pending_count++] = event;
        pen_ref(event);
    }
    pthread_mutex_unlock(&buffer->lock);
}

cl_int CL_API_CALL pen_clEnqueueCommandBufferKHR(cl_uint queue_count, cl_command_queue *queues,
                                                 cl_command_buffer_khr buffer, cl_uint wait_count,
                                                 const cl_event *wait_list, cl_event *out_event)
{
    if (!pen_object_is(buffer, PEN_MAGIC_COMMAND_BUFFER))
        return CL_INVALID_COMMAND_BUFFER_KHR;
    cl_event event = NULL;
    struct replay replay = {.buffer = buffer,
                            .queue = queue_count && queues ? queues[0] : buffer->queue,
                            .wait_count = wait_count,
                            .wait_list = wait_list};
    cl_int status = check_queue(buffer, queue_count, queues);
    if (status == CL_SUCCESS)
        status = check_state(buffer);
    if (status == CL_SUCCESS)
        status = pen_enqueue_check_wait_list(replay.queue, wait_count, wait_list);
    if (status == CL_SUCCESS)
        status = run_all(&replay, &event);
    if (status != CL_SUCCESS)
        return status;
    note_pending(buffer, event);
    if (out_event)
        *out_event = event;
    else
        pen_clReleaseEvent(event);
    return CL_SUCCESS;
}
