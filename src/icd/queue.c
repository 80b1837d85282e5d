/* icd/queue.c - command queues. */
#include <stdlib.h>
#include <string.h>

#include "icd/device.h"
#include "icd/entry.h"
#include "icd/service.h"
#include "wire/futex.h"

/* ---- creation --------------------------------------------------------------------------------------- */

#define HOST_PROPERTIES                                                                                                \
    ((cl_command_queue_properties)(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE))
#define DEVICE_PROPERTIES ((cl_command_queue_properties)(CL_QUEUE_ON_DEVICE | CL_QUEUE_ON_DEVICE_DEFAULT))

/* Queues on the device are valid to ask for, out of order, and supported by none; only such a one is the default. */
static cl_int check_properties(cl_command_queue_properties properties)
{
    bool on_device = properties & CL_QUEUE_ON_DEVICE;
    if (properties & ~(HOST_PROPERTIES | DEVICE_PROPERTIES))
        return CL_INVALID_VALUE;
    if (on_device ? !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE) : properties & CL_QUEUE_ON_DEVICE_DEFAULT)
        return CL_INVALID_VALUE;
    return on_device ? CL_INVALID_QUEUE_PROPERTIES : CL_SUCCESS;
}

/* What the program asks for. */
struct queue_asked {
    cl_command_queue_properties properties;
    uint64_t priority, throttle; /* PEN_HINT_* */
    const cl_queue_properties *list;
    size_t count; /* of the list's entries, with the final 0; 0: there is none */
};

static int send_create(cl_command_queue queue, const struct queue_asked *asked)
{
    struct pen_msg_queue_create message = {
        .queue = queue->id,
        .device = queue->device->id,
        .flags =
            (queue->in_order ? 0 : PEN_QUEUE_FLAG_OUT_OF_ORDER) | (queue->profiling ? PEN_QUEUE_FLAG_PROFILING : 0),
        .slot = queue->slot,
        .priority = (enum pen_hint)asked->priority,
        .throttle = (enum pen_hint)asked->throttle,
    };
    uint64_t sequence = 0;
    return PEN_SEND(queue->context->session, queue_create, &message, &sequence);
}

static int start(cl_command_queue queue, const struct queue_asked *asked)
{
    struct pen_session *session = queue->context->session;
    int rc = pen_queue_slot_acquire(session, &queue->slot);
    if (rc)
        return rc;
    queue->id = pen_session_new_id(session);
    rc = send_create(queue, asked);
    if (rc)
        pen_queue_slot_release(session, queue->slot, 0);
    return rc;
}

static cl_int create(cl_context context, cl_device_id device, const struct queue_asked *asked,
                     cl_command_queue *out_queue)
{
    cl_command_queue queue = calloc(1, sizeof *queue);
    cl_queue_properties *copy = asked->count ? malloc(asked->count * sizeof *copy) : NULL;
    if (!queue || (asked->count && !copy)) {
        free(queue);
        free(copy);
        return CL_OUT_OF_HOST_MEMORY;
    }
    if (asked->count)
        memcpy(copy, asked->list, asked->count * sizeof *copy);
    pen_object_init(&queue->object, PEN_MAGIC_QUEUE);
    pthread_mutex_init(&queue->lock, NULL);
    queue->context = context;
    queue->device = device;
    queue->properties = asked->properties;
    queue->property_list = copy;
    queue->property_count = asked->count;
    queue->in_order = !(asked->properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    queue->profiling = asked->properties & CL_QUEUE_PROFILING_ENABLE;
    int rc = start(queue, asked);
    if (rc) {
        pthread_mutex_destroy(&queue->lock);
        free(copy);
        free(queue);
        return rc == -PEN_EGONE ? CL_OUT_OF_RESOURCES : pen_status(rc);
    }
    pen_ref(context);
    pen_ref(device);
    *out_queue = queue;
    return CL_SUCCESS;
}

static cl_int check_place(cl_context context, cl_device_id device)
{
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return CL_INVALID_CONTEXT;
    if (!pen_object_is(device, PEN_MAGIC_DEVICE) || !pen_context_has_device(context, device))
        return CL_INVALID_DEVICE;
    return CL_SUCCESS;
}

cl_command_queue CL_API_CALL pen_clCreateCommandQueue(cl_context context, cl_device_id device,
                                                      cl_command_queue_properties properties, cl_int *out_error)
{
    cl_command_queue queue = NULL;
    cl_int status = check_place(context, device);
    if (!status)
        status = check_properties(properties);
    if (!status)
        status = create(context, device, &(struct queue_asked){.properties = properties}, &queue);
    if (out_error)
        *out_error = status;
    return queue;
}

/* Where the value of a name that may come once goes; NULL: no such name, on this device. */
static uint64_t *place_of(cl_device_id device, cl_queue_properties name, struct queue_asked *asked)
{
    const struct pen_extensions *extensions = &device->facts->extensions;
    if (name == CL_QUEUE_PROPERTIES)
        return &asked->properties;
    if (name == CL_QUEUE_PRIORITY_KHR && pen_extensions_have(extensions, "cl_khr_priority_hints"))
        return &asked->priority;
    if (name == CL_QUEUE_THROTTLE_KHR && pen_extensions_have(extensions, "cl_khr_throttle_hints"))
        return &asked->throttle;
    return NULL;
}

/* The values are one bit each. */
static bool is_hint(uint64_t value)
{
    return value == CL_QUEUE_PRIORITY_HIGH_KHR || value == CL_QUEUE_PRIORITY_MED_KHR ||
           value == CL_QUEUE_PRIORITY_LOW_KHR;
}

_Static_assert(CL_QUEUE_PRIORITY_HIGH_KHR == PEN_HINT_HIGH && CL_QUEUE_PRIORITY_MED_KHR == PEN_HINT_MEDIUM &&
                   CL_QUEUE_PRIORITY_LOW_KHR == PEN_HINT_LOW,
               "hints are the priorities of queues");
_Static_assert(CL_QUEUE_THROTTLE_HIGH_KHR == PEN_HINT_HIGH && CL_QUEUE_THROTTLE_MED_KHR == PEN_HINT_MEDIUM &&
                   CL_QUEUE_THROTTLE_LOW_KHR == PEN_HINT_LOW,
               "and their throttles");

/* Reads a 0-terminated list. CL_INVALID_VALUE for names that are unknown or come twice, for hints that are none, and
 * for a size, which only a queue on the device has. */
static cl_int parse(cl_device_id device, const cl_queue_properties *list, struct queue_asked *out_asked)
{
    struct queue_asked asked = {.list = list};
    uint64_t *seen[3] = {NULL};
    size_t count = 0, seen_count = 0;
    bool sized = false;
    for (; list && list[count]; count += 2) {
        uint64_t *place = place_of(device, list[count], &asked);
        sized |= list[count] == CL_QUEUE_SIZE;
        if (list[count] == CL_QUEUE_SIZE)
            continue;
        for (size_t i = 0; i < seen_count; i++)
            if (seen[i] == place)
                return CL_INVALID_VALUE;
        if (!place || (place != &asked.properties && !is_hint(list[count + 1])))
            return CL_INVALID_VALUE;
        *place = list[count + 1];
        seen[seen_count++] = place;
    }
    if (sized && !(asked.properties & CL_QUEUE_ON_DEVICE))
        return CL_INVALID_VALUE;
    asked.count = list ? count + 1 : 0;
    *out_asked = asked;
    return check_properties(asked.properties);
}

cl_command_queue CL_API_CALL pen_clCreateCommandQueueWithProperties(cl_context context, cl_device_id device,
                                                                    const cl_queue_properties *list, cl_int *out_error)
{
    cl_command_queue queue = NULL;
    struct queue_asked asked;
    cl_int status = check_place(context, device);
    if (!status)
        status = parse(device, list, &asked);
    if (!status)
        status = create(context, device, &asked, &queue);
    if (out_error)
        *out_error = status;
    return queue;
}

/* ---- end -------------------------------------------------------------------------------------------- */

/* Forgets the barrier that new commands stand behind, or only one that has ended: false when one is left. What was
 * found ended is what is dropped, though another thread notes the next barrier meanwhile. */
static bool drop_barrier(cl_command_queue queue, bool ended_only)
{
    pthread_mutex_lock(&queue->lock);
    cl_event barrier = queue->barrier;
    bool drop = barrier && (!ended_only || pen_event_peek(barrier) <= CL_COMPLETE);
    if (drop)
        queue->barrier = NULL;
    pthread_mutex_unlock(&queue->lock);
    if (drop)
        pen_unref(barrier);
    return drop || !barrier;
}

void pen_queue_destroy(cl_command_queue queue)
{
    struct pen_msg_queue_destroy message = {.queue = queue->id};
    uint64_t sequence = 0;
    (void)PEN_SEND(queue->context->session, queue_destroy, &message, &sequence); /* gone with its session */
    pen_queue_slot_release(queue->context->session, queue->slot, queue->in_order ? atomic_load(&queue->last) : 0);
    pthread_mutex_destroy(&queue->lock);
    pen_unref(queue->device);
    pen_unref(queue->context);
    free(queue->property_list);
    free(queue);
}

cl_int CL_API_CALL pen_clRetainCommandQueue(cl_command_queue queue)
{
    return pen_retain(queue, PEN_MAGIC_QUEUE, CL_INVALID_COMMAND_QUEUE);
}

/* The last barrier's event holds the queue as the queue holds it: the program's last release unties them. */
cl_int CL_API_CALL pen_clReleaseCommandQueue(cl_command_queue queue)
{
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    pen_ref(queue);
    cl_int status = pen_release(queue, PEN_MAGIC_QUEUE, CL_INVALID_COMMAND_QUEUE);
    if (!atomic_load(&queue->object.refs))
        (void)drop_barrier(queue, false);
    pen_unref(queue);
    return status;
}

/* ---- info ------------------------------------------------------------------------------------------- */

cl_int CL_API_CALL pen_clGetCommandQueueInfo(cl_command_queue queue, cl_command_queue_info name,
                                             size_t param_value_size, void *param_value, size_t *param_value_size_ret)
{
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    switch (name) {
    case CL_QUEUE_CONTEXT:
        PEN_INFO(cl_context, queue->context);
    case CL_QUEUE_DEVICE:
        PEN_INFO(cl_device_id, queue->device);
    case CL_QUEUE_REFERENCE_COUNT:
        PEN_INFO(cl_uint, atomic_load(&queue->object.refs));
    case CL_QUEUE_PROPERTIES:
        PEN_INFO(cl_command_queue_properties, queue->properties);
    case CL_QUEUE_PROPERTIES_ARRAY:
        return pen_info(queue->property_list, queue->property_count * sizeof *queue->property_list, param_value_size,
                        param_value, param_value_size_ret);
    case CL_QUEUE_SIZE: /* "CL_INVALID_COMMAND_QUEUE [...] if command_queue is not a valid command queue for param_name"
                         */
        return CL_INVALID_COMMAND_QUEUE;
    case CL_QUEUE_DEVICE_DEFAULT:
        PEN_INFO(cl_command_queue, NULL);
    default:
        return CL_INVALID_VALUE;
    }
}

/* OpenCL 1.0. Since 1.1 a device need not let its queues change. */
cl_int CL_API_CALL pen_clSetCommandQueueProperty(cl_command_queue queue, cl_command_queue_properties properties,
                                                 cl_bool enable, cl_command_queue_properties *out_old)
{
    (void)enable;
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    if (properties & ~HOST_PROPERTIES)
        return CL_INVALID_VALUE;
    if (out_old)
        *out_old = queue->properties;
    return CL_INVALID_OPERATION;
}

cl_int CL_API_CALL pen_clSetDefaultDeviceCommandQueue(cl_context context, cl_device_id device, cl_command_queue queue)
{
    cl_int status = check_place(context, device);
    (void)queue; /* no queue is one on a device */
    return status ? status : CL_INVALID_OPERATION;
}

/* ---- completion ------------------------------------------------------------------------------------- */

static bool counted_complete(cl_command_queue queue)
{
    uint64_t last = atomic_load_explicit(&queue->last, memory_order_acquire);
    return !last || pen_queue_completed(queue->context->session, queue->slot) >= last;
}

bool pen_queue_idle(cl_command_queue queue)
{
    return queue->in_order ? counted_complete(queue) : drop_barrier(queue, true);
}

void pen_queue_tell(cl_command_queue queue)
{
    if (!pen_hostptr_any()) /* which alone asks */
        return;
    pen_session_lock(queue->context->session);
    queue->told = atomic_load_explicit(&queue->last, memory_order_relaxed);
    pen_session_unlock(queue->context->session);
}

/* Waits for a marker behind everything sent so far. A command that failed is complete all the same. */
static int wait_unordered(cl_command_queue queue)
{
    uint64_t finished = atomic_load_explicit(&queue->finished, memory_order_acquire);
    uint64_t last = atomic_load_explicit(&queue->last, memory_order_acquire);
    if (last <= finished)
        return 0;
    struct pen_session *session = queue->context->session;
    struct pen_enqueue e = {0};
    cl_int status = pen_enqueue_begin(&e, queue, CL_COMMAND_MARKER, 0, NULL, NULL, false, true);
    if (status) {
        int gone = pen_session_alive(session);
        return gone ? gone : status == CL_OUT_OF_HOST_MEMORY ? -PEN_ENOMEM : -PEN_ELIMIT;
    }
    struct pen_msg_marker message = {.queue = queue->id, .event = e.event_id, .slot = e.slot};
    uint64_t sequence = 0;
    int rc = PEN_SEND_NOTE(session, marker, &message, &sequence, pen_enqueue_note(&e, sequence));
    if (!rc)
        rc = pen_wait_slot(session, e.slot);
    (void)pen_enqueue_end(&e, rc);
    if (rc == -PEN_EGONE)
        return rc;
    while (finished < sequence && !atomic_compare_exchange_weak_explicit(&queue->finished, &finished, sequence,
                                                                         memory_order_acq_rel, memory_order_acquire))
        ;
    return 0;
}

static int wait_in_order(cl_command_queue queue, uint64_t sequence)
{
    struct pen_session *session = queue->context->session;
    if (!sequence || pen_queue_completed(session, queue->slot) >= sequence)
        return 0;
    int rc = pen_wait_queue(session, queue->slot, sequence);
    return rc == -PEN_EGONE ? rc : 0;
}

int pen_queue_wait(cl_command_queue queue)
{
    return pen_queue_wait_for(queue, atomic_load_explicit(&queue->last, memory_order_acquire));
}

int pen_queue_wait_for(cl_command_queue queue, uint64_t sequence)
{
    pen_queue_tell(queue);
    int rc = queue->in_order ? wait_in_order(queue, sequence) : wait_unordered(queue);
    pen_settle(queue->context);
    if (!rc)
        rc = pen_hostptr_lost(queue->context->session);
    if (rc == -PEN_EGONE)
        pen_context_tell_lost(queue->context);
    return rc;
}

/* Every command is with the worker, and the worker awake, before its enqueue returns. */
cl_int CL_API_CALL pen_clFlush(cl_command_queue queue)
{
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    return pen_status(pen_session_alive(queue->context->session));
}

cl_int CL_API_CALL pen_clFinish(cl_command_queue queue)
{
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    return pen_status(pen_queue_wait(queue));
}
