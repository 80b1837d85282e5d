/* icd/event.c - events: state, waiting, callbacks, profiling; events that the program completes itself. */
#include <stdlib.h>

#include "icd/entry.h"
#include "icd/service.h"

/* ---- life ------------------------------------------------------------------------------------------- */

int pen_event_create(cl_context context, cl_command_queue queue, cl_command_type type, cl_event *out_event)
{
    cl_event event = malloc(sizeof *event);
    if (!event)
        return -PEN_ENOMEM;
    *event = (struct _cl_event){
        .context = context,
        .queue = queue,
        .type = type,
        .local = queue ? CL_QUEUED : CL_SUBMITTED, /* a user event is submitted from the start */
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    pen_object_init(&event->object, PEN_MAGIC_EVENT);
    uint32_t slot = 0;
    int rc = pen_slot_acquire(context->session, event, &slot);
    if (rc) {
        free(event);
        return rc;
    }
    atomic_store_explicit(&event->slot, slot, memory_order_relaxed);
    event->id = pen_session_new_id(context->session);
    pen_list_init(&event->callbacks);
    pen_list_init(&event->in_service);
    pen_ref(queue ? (void *)queue : (void *)context); /* a queue holds its context */
    *out_event = event;
    return 0;
}

static bool is_own_and_unset(cl_event event)
{
    return !event->queue && event->sent && atomic_load_explicit(&event->local, memory_order_relaxed) == CL_SUBMITTED;
}

static void one_own_event_less(cl_event event)
{
    atomic_fetch_sub_explicit(&event->context->home->own_events, 1, memory_order_relaxed);
}

/* The worker forgets the event, and its slot is free. */
static void let_go(cl_event event)
{
    struct pen_session *session = event->context->session;
    struct pen_msg_event_destroy message = {.event = event->id};
    uint64_t sequence = 0;
    pen_session_lock(session);
    (void)PEN_SEND(session, event_destroy, &message, &sequence); /* with the session the event is gone too */
    if (event->queue)
        pen_session_unlock_quietly(session); /* it means nothing to any command */
    else
        pen_session_unlock(session);
    pen_slot_release(session, atomic_exchange_explicit(&event->slot, 0, memory_order_relaxed));
}

void pen_event_destroy(cl_event event)
{
    struct pen_session *session = event->context->session;
    if (is_own_and_unset(event))
        one_own_event_less(event);
    if (event->slot && event->sent)
        let_go(event);
    else if (event->slot)
        pen_slot_cancel(session, event->slot);
    pthread_mutex_destroy(&event->lock);
    if (event->begun)
        pen_unref(event->begun);
    pen_unref(event->queue ? (void *)event->queue : (void *)event->context);
    free(event);
}

cl_int CL_API_CALL pen_clRetainEvent(cl_event event)
{
    return pen_retain(event, PEN_MAGIC_EVENT, CL_INVALID_EVENT);
}

cl_int CL_API_CALL pen_clReleaseEvent(cl_event event)
{
    return pen_release(event, PEN_MAGIC_EVENT, CL_INVALID_EVENT);
}

/* ---- state ------------------------------------------------------------------------------------------ */

/* The states of a slot are the values of CL_COMPLETE .. CL_QUEUED. */
_Static_assert(PEN_STATE_COMPLETE == CL_COMPLETE && PEN_STATE_RUNNING == CL_RUNNING &&
                   PEN_STATE_SUBMITTED == CL_SUBMITTED && PEN_STATE_QUEUED == CL_QUEUED,
               "states of slots are those of events");

cl_int pen_event_peek(cl_event event)
{
    cl_int local = atomic_load_explicit(&event->local, memory_order_acquire);
    if (local <= CL_COMPLETE)
        return local;
    uint32_t slot = atomic_load_explicit(&event->slot, memory_order_relaxed);
    int32_t state = slot ? pen_slot_state(event->context->session, slot) : local;
    if (state == PEN_STATE_COMPLETE)
        return CL_COMPLETE;
    /* Acquire: with the release in pen_slot_acquire. The slot may be another event's by now: then this one is complete,
     * and says so itself. */
    local = atomic_load_explicit(&event->local, memory_order_acquire);
    if (local <= CL_COMPLETE)
        return local;
    if (state < 0)
        return pen_status(state);
    return state < local ? state : local; /* a user event is never less than submitted */
}

cl_int pen_event_status(cl_event event)
{
    cl_int local = atomic_load_explicit(&event->local, memory_order_acquire);
    if (local <= CL_COMPLETE)
        return local;
    cl_int status = pen_event_peek(event);
    if (status > CL_COMPLETE)
        return status;
    pen_settle(event->context);
    /* Whoever was first is right: a user event's own status may have come between. */
    if (atomic_compare_exchange_strong_explicit(&event->local, &local, status, memory_order_acq_rel,
                                                memory_order_acquire))
        return status;
    return local <= CL_COMPLETE ? local : status;
}

cl_int pen_event_wait(cl_event event)
{
    pen_event_pin(event);
    uint32_t slot = atomic_load_explicit(&event->slot, memory_order_relaxed);
    if (atomic_load_explicit(&event->local, memory_order_acquire) > CL_COMPLETE && slot)
        (void)pen_wait_slot(event->context->session, slot); /* the status tells */
    pen_event_unpin(event);
    cl_int status = pen_event_status(event);
    return status == CL_COMPLETE ? CL_SUCCESS : status;
}

cl_int CL_API_CALL pen_clWaitForEvents(cl_uint count, const cl_event *events)
{
    if (!count || !events)
        return CL_INVALID_VALUE;
    for (cl_uint i = 0; i < count; i++)
        if (!pen_object_is(events[i], PEN_MAGIC_EVENT))
            return CL_INVALID_EVENT;
    for (cl_uint i = 1; i < count; i++)
        if (events[i]->context != events[0]->context)
            return CL_INVALID_CONTEXT;
    struct pen_session *session = events[0]->context->session;
    cl_int result = CL_SUCCESS;
    /* The last one is likely to complete last: then this sleeps once. */
    for (cl_uint i = count; i-- > 0;)
        if (pen_event_wait(events[i]))
            result = CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
    pen_settle(events[0]->context);
    if (result ? pen_session_alive(session) : pen_hostptr_lost(session)) {
        pen_context_tell_lost(events[0]->context);
        return CL_DEVICE_NOT_AVAILABLE;
    }
    return result;
}

cl_int CL_API_CALL pen_clGetEventInfo(cl_event event, cl_event_info name, size_t param_value_size, void *param_value,
                                      size_t *param_value_size_ret)
{
    if (!pen_object_is(event, PEN_MAGIC_EVENT))
        return CL_INVALID_EVENT;
    switch (name) {
    case CL_EVENT_COMMAND_QUEUE:
        PEN_INFO(cl_command_queue, event->queue);
    case CL_EVENT_CONTEXT:
        PEN_INFO(cl_context, event->context);
    case CL_EVENT_COMMAND_TYPE:
        PEN_INFO(cl_command_type, event->type);
    case CL_EVENT_COMMAND_EXECUTION_STATUS:
        PEN_INFO(cl_int, pen_event_status(event));
    case CL_EVENT_REFERENCE_COUNT:
        PEN_INFO(cl_uint, atomic_load(&event->object.refs));
    default:
        return CL_INVALID_VALUE;
    }
}

/* Under event->lock, where the program has the event. */
static struct pen_event_times times_of(cl_event event)
{
    uint32_t slot = atomic_load_explicit(&event->slot, memory_order_relaxed);
    struct pen_event_times times = slot ? pen_slot_times(event->context->session, slot) : event->times;
    if (event->begun) {
        struct pen_event_times begun = times_of(event->begun);
        times = (struct pen_event_times){begun.queued, begun.submitted, begun.started, times.ended};
    }
    return times;
}

cl_int CL_API_CALL pen_clGetEventProfilingInfo(cl_event event, cl_profiling_info name, size_t param_value_size,
                                               void *param_value, size_t *param_value_size_ret)
{
    if (!pen_object_is(event, PEN_MAGIC_EVENT))
        return CL_INVALID_EVENT;
    if (!event->queue || !event->queue->profiling || pen_event_status(event) != CL_COMPLETE)
        return CL_PROFILING_INFO_NOT_AVAILABLE;
    pthread_mutex_lock(&event->lock);
    struct pen_event_times times = times_of(event);
    pthread_mutex_unlock(&event->lock);
    switch (name) {
    case CL_PROFILING_COMMAND_QUEUED:
        PEN_INFO(cl_ulong, times.queued);
    case CL_PROFILING_COMMAND_SUBMIT:
        PEN_INFO(cl_ulong, times.submitted);
    case CL_PROFILING_COMMAND_START:
        PEN_INFO(cl_ulong, times.started);
    case CL_PROFILING_COMMAND_END:
    case CL_PROFILING_COMMAND_COMPLETE: /* no kernel enqueues others */
        PEN_INFO(cl_ulong, times.ended);
    default:
        return CL_INVALID_VALUE;
    }
}

/* ---- events that the program keeps -------------------------------------------------------------------- */

/* Of a program that releases no event each would keep a slot, and an object of the worker's, for ever. So when few
 * slots are left, complete events that nobody but the program has a reference on are told what they need of both, and
 * these given back. What has failed keeps them: commands that wait for it are to fail. */
enum { SPARE_LOOKS = 512, SPARE_ROOM = 256 };

void pen_event_pin(cl_event event)
{
    /* seq_cst all four, with retire's: it sees the reference, or every look from here on sees the event complete. */
    atomic_fetch_add_explicit(&event->object.internal, 1, memory_order_seq_cst);
    (void)atomic_load_explicit(&event->local, memory_order_seq_cst);
}

void pen_event_unpin(cl_event event)
{
    pen_unref(event);
}

/* A reference on an event that only the program has one on. */
static bool hold(void *owner)
{
    cl_event event = owner;
    uint32_t only = 1;
    return atomic_load_explicit(&event->given, memory_order_acquire) &&
           atomic_load_explicit(&event->object.refs, memory_order_relaxed) &&
           atomic_compare_exchange_strong_explicit(&event->object.internal, &only, 2, memory_order_acquire,
                                                   memory_order_relaxed);
}

static void retire(cl_event event)
{
    if (pen_event_status(event) != CL_COMPLETE) /* from here on it says so itself */
        return;
    atomic_store_explicit(&event->local, CL_COMPLETE, memory_order_seq_cst); /* see pen_event_pin */
    /* The program may have released it since hold looked: then the other reference is ours, and reads its slot. */
    if (atomic_load_explicit(&event->object.internal, memory_order_seq_cst) != 2 ||
        !atomic_load_explicit(&event->object.refs, memory_order_relaxed))
        return;
    pthread_mutex_lock(&event->lock);
    cl_event begun = event->begun;
    event->times = times_of(event);
    event->begun = NULL;
    let_go(event);
    pthread_mutex_unlock(&event->lock);
    if (begun)
        pen_unref(begun);
}

void pen_events_spare(cl_context context)
{
    void *found[SPARE_ROOM];
    if (!pen_slots_few(context->session))
        return;
    uint32_t count = pen_slots_complete(context->session, SPARE_LOOKS, hold, found, SPARE_ROOM);
    for (uint32_t i = 0; i < count; i++) {
        retire(found[i]);
        pen_unref(found[i]);
    }
}

/* ---- callbacks -------------------------------------------------------------------------------------- */

/* Before the first callback for a later state; behind those for the same one. The caller holds event->lock. */
static void insert(cl_event event, struct pen_event_callback *callback)
{
    struct pen_list *at = event->callbacks.next;
    while (at != &event->callbacks && PEN_CONTAINER(at, struct pen_event_callback, link)->type >= callback->type)
        at = at->next;
    pen_list_append(at, &callback->link);
}

cl_int CL_API_CALL pen_clSetEventCallback(cl_event event, cl_int type,
                                          void(CL_CALLBACK *notify)(cl_event, cl_int, void *), void *user)
{
    if (!pen_object_is(event, PEN_MAGIC_EVENT))
        return CL_INVALID_EVENT;
    if (!notify || (type != CL_SUBMITTED && type != CL_RUNNING && type != CL_COMPLETE))
        return CL_INVALID_VALUE;
    struct pen_event_callback *callback = malloc(sizeof *callback);
    if (!callback)
        return CL_OUT_OF_HOST_MEMORY;
    *callback = (struct pen_event_callback){.type = type, .call = notify, .user = user};
    pthread_mutex_lock(&event->lock);
    insert(event, callback);
    int rc = event->watched ? 0 : pen_service_watch(event);
    if (rc)
        pen_list_remove(&callback->link);
    pthread_mutex_unlock(&event->lock);
    if (rc) {
        free(callback);
        return pen_status(rc);
    }
    /* What is due already, no worker will publish again. */
    if (pen_event_peek(event) <= type)
        pen_service_kick(event->context->home);
    return CL_SUCCESS;
}

/* ---- user events ------------------------------------------------------------------------------------ */

cl_int pen_event_create_user(cl_context context, cl_event *out_event)
{
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return CL_INVALID_CONTEXT;
    cl_event event = NULL;
    int rc = pen_event_create(context, NULL, CL_COMMAND_USER, &event);
    if (!rc) {
        struct pen_msg_event_create message = {.event = event->id, .slot = event->slot};
        uint64_t sequence = 0;
        rc = PEN_SEND(context->session, event_create, &message, &sequence);
        if (rc)
            (void)pen_release(event, PEN_MAGIC_EVENT, CL_INVALID_EVENT);
    }
    if (rc) /* of a lost session: the specification lists no better one here */
        return rc == -PEN_EGONE ? CL_OUT_OF_RESOURCES : pen_status(rc);
    event->sent = true;
    atomic_fetch_add_explicit(&context->home->own_events, 1, memory_order_relaxed);
    *out_event = event;
    return CL_SUCCESS;
}

cl_event CL_API_CALL pen_clCreateUserEvent(cl_context context, cl_int *out_error)
{
    cl_event event = NULL;
    if (pen_object_is(context, PEN_MAGIC_CONTEXT))
        pen_events_spare(context);
    cl_int status = pen_event_create_user(context, &event);
    if (event)
        atomic_store_explicit(&event->given, true, memory_order_release);
    if (out_error)
        *out_error = status;
    return event;
}

/* The program's own negative numbers stay here; the worker learns that what waits for the event has failed. */
cl_int CL_API_CALL pen_clSetUserEventStatus(cl_event event, cl_int status)
{
    if (!pen_object_is(event, PEN_MAGIC_EVENT) || event->queue)
        return CL_INVALID_EVENT;
    if (status > CL_COMPLETE)
        return CL_INVALID_VALUE;
    cl_int before = CL_SUBMITTED;
    if (!atomic_compare_exchange_strong_explicit(&event->local, &before, status, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return CL_INVALID_OPERATION;
    one_own_event_less(event);
    struct pen_msg_event_set message = {.event = event->id, .status = status ? -PEN_EDEPENDENCY : 0};
    uint64_t sequence = 0;
    int rc = PEN_SEND(event->context->session, event_set, &message, &sequence);
    pen_service_kick(event->context->home);
    return rc ? CL_OUT_OF_RESOURCES : CL_SUCCESS;
}
