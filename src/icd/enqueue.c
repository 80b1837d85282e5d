/* icd/enqueue.c - what every clEnqueue* does around its own command: checks, wait list, event. */
#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"
#include "icd/service.h"
#include "wire/futex.h"

#define STORED_WAITS ((uint32_t)(sizeof((struct pen_enqueue *)0)->wait_storage / sizeof(uint64_t)))

cl_int pen_enqueue_check_wait_list(cl_command_queue queue, cl_uint wait_count, const cl_event *wait_list)
{
    if ((wait_count == 0) != (wait_list == NULL))
        return CL_INVALID_EVENT_WAIT_LIST;
    for (cl_uint i = 0; i < wait_count; i++)
        if (!pen_object_is(wait_list[i], PEN_MAGIC_EVENT))
            return CL_INVALID_EVENT_WAIT_LIST;
    for (cl_uint i = 0; i < wait_count; i++)
        if (wait_list[i]->context != queue->context)
            return CL_INVALID_CONTEXT;
    return CL_SUCCESS;
}

static void finish(struct pen_enqueue *e)
{
    for (uint32_t i = 0; i < e->kept_count; i++)
        (void)pen_release(e->kept[i], PEN_MAGIC_EVENT, CL_INVALID_EVENT);
    free(e->kept);
    e->kept = NULL;
    e->kept_count = 0;
    for (cl_uint i = 0; i < e->pinned_count; i++)
        pen_event_unpin(e->pinned[i]);
    e->pinned_count = 0;
    free(e->wait_heap);
    e->wait_heap = NULL;
    e->waits = NULL;
    e->wait_count = e->wait_room = 0;
}

/* Takes one of the program's references on the event, unless it fails. */
static int keep(struct pen_enqueue *e, cl_event event)
{
    cl_event *bigger = realloc(e->kept, (e->kept_count + 1) * sizeof(cl_event));
    if (!bigger)
        return -PEN_ENOMEM;
    e->kept = bigger;
    e->kept[e->kept_count++] = event;
    return 0;
}

/* A marker in the command's own queue that waits for `count` events. */
static int fold(struct pen_enqueue *e, const uint64_t *ids, uint32_t count, uint64_t *out_id)
{
    cl_event event = NULL;
    int rc = pen_event_create(e->queue->context, e->queue, CL_COMMAND_MARKER, &event);
    if (rc)
        return rc;
    rc = keep(e, event);
    if (rc) {
        (void)pen_release(event, PEN_MAGIC_EVENT, CL_INVALID_EVENT);
        return rc;
    }
    struct pen_enqueue marker = {.queue = e->queue,
                                 .event = event,
                                 .event_id = event->id,
                                 .slot = event->slot,
                                 .waits = ids,
                                 .wait_count = count};
    rc = pen_enqueue_marker(&marker);
    *out_id = event->id; /* where one of `ids` may have been */
    return rc;
}

/* One command names PEN_LIMIT_WAITS events at most: where the program has more, it waits for markers that wait for
 * them. Writes the markers' ids over the events'. */
static int fold_all(struct pen_enqueue *e, uint64_t *ids)
{
    uint32_t count = e->wait_count, folds = 0;
    if (count > PEN_LIMIT_WAITS * PEN_LIMIT_WAITS)
        return -PEN_ELIMIT;
    for (uint32_t at = 0; at < count; at += PEN_LIMIT_WAITS) {
        int rc = fold(e, ids + at, count - at < PEN_LIMIT_WAITS ? count - at : PEN_LIMIT_WAITS, &ids[folds]);
        if (rc)
            return rc;
        folds++;
    }
    e->wait_count = folds;
    return 0;
}

/* Notes the ids of what is not complete. What has failed is among it: the worker poisons what waits for it. */
static cl_int gather(struct pen_enqueue *e, cl_uint wait_count, const cl_event *wait_list, bool blocking)
{
    uint64_t *ids = e->wait_storage;
    e->wait_room = STORED_WAITS;
    if (wait_count > STORED_WAITS) {
        ids = e->wait_heap = malloc(wait_count * sizeof *ids);
        if (!ids)
            return CL_OUT_OF_HOST_MEMORY;
        e->wait_room = wait_count;
    }
    e->pinned = wait_list;
    for (cl_uint i = 0; i < wait_count; i++) {
        pen_event_pin(wait_list[i]);
        e->pinned_count++;
        cl_int status = pen_event_status(wait_list[i]);
        if (status < 0 && blocking)
            return CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
        if (status != CL_COMPLETE)
            ids[e->wait_count++] = wait_list[i]->id;
    }
    e->waits = ids;
    return e->wait_count > PEN_LIMIT_WAITS ? pen_status(fold_all(e, ids)) : CL_SUCCESS;
}

cl_int pen_enqueue_begin(struct pen_enqueue *e, cl_command_queue queue, cl_command_type type, cl_uint wait_count,
                         const cl_event *wait_list, cl_event *out_event, bool blocking, bool force_event)
{
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    cl_int status = pen_enqueue_check_wait_list(queue, wait_count, wait_list);
    if (status)
        return status;
    e->queue = queue;
    e->out_event = out_event;
    e->tells = out_event || blocking;
    if (wait_count)
        status = gather(e, wait_count, wait_list, blocking);
    if (!status && (out_event || force_event)) {
        pen_events_spare(queue->context);
        int rc = pen_event_create(queue->context, queue, type, &e->event);
        if (rc == -PEN_EGONE)
            pen_context_tell_lost(queue->context);
        status = pen_status(rc);
        if (!status) {
            e->event_id = e->event->id;
            e->slot = e->event->slot;
        }
    }
    if (status)
        finish(e);
    return status;
}

cl_int pen_enqueue_end(struct pen_enqueue *e, int error)
{
    if (error == -PEN_EGONE)
        pen_context_tell_lost(e->queue->context);
    if (e->event && error && !atomic_load_explicit(&e->event->sent, memory_order_relaxed))
        pen_hostptr_not_sent(e->event);
    cl_event event = e->event;
    e->event = NULL;
    finish(e); /* reads the wait list, and the event's place may be in it */
    if (event && !error && e->out_event) {
        atomic_store_explicit(&event->given, true, memory_order_release);
        *e->out_event = event;
    } else if (event)
        (void)pen_release(event, PEN_MAGIC_EVENT, CL_INVALID_EVENT);
    return pen_status(error);
}

cl_int pen_enqueue_wait_list(struct pen_enqueue *e, cl_uint wait_count, const cl_event *wait_list)
{
    cl_int result = CL_SUCCESS;
    for (cl_uint i = wait_count; i-- > 0;)
        if (pen_event_wait(wait_list[i]))
            result = CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
    if (!result)
        e->wait_count = 0;
    return result;
}

/* Room for one id more at e->waits; NULL: out of memory. */
static uint64_t *wait_room(struct pen_enqueue *e)
{
    if (!e->wait_room) {
        e->waits = e->wait_storage;
        e->wait_room = STORED_WAITS;
    }
    if (e->wait_count == e->wait_room) {
        uint64_t *bigger = realloc(e->wait_heap, (size_t)2 * e->wait_room * sizeof *bigger);
        if (!bigger)
            return NULL;
        if (!e->wait_heap)
            memcpy(bigger, e->wait_storage, sizeof e->wait_storage);
        e->waits = e->wait_heap = bigger;
        e->wait_room *= 2;
    }
    return e->wait_heap ? e->wait_heap : e->wait_storage;
}

int pen_enqueue_wait_for(struct pen_enqueue *e, cl_event event)
{
    uint64_t *ids = wait_room(e);
    if (!ids)
        return -PEN_ENOMEM;
    int rc = e->wait_count < PEN_LIMIT_WAITS ? 0 : fold_all(e, ids);
    if (!rc)
        rc = keep(e, event);
    if (rc)
        return rc;
    (void)pen_retain(event, PEN_MAGIC_EVENT, CL_INVALID_EVENT);
    ids[e->wait_count++] = event->id;
    return 0;
}

bool pen_enqueue_ready(struct pen_enqueue *e)
{
    return !e->wait_count && pen_queue_idle(e->queue);
}

int pen_enqueue_keep_list(struct pen_enqueue *e)
{
    if (e->queue->in_order || e->wait_count)
        return 0;
    cl_int status = CL_SUCCESS;
    cl_event complete = NULL;
    status = pen_event_create_user(e->queue->context, &complete);
    int rc = status ? -PEN_ENOMEM : 0;
    if (!rc && pen_clSetUserEventStatus(complete, CL_COMPLETE))
        rc = -PEN_EGONE;
    if (!rc)
        rc = pen_enqueue_wait_for(e, complete);
    if (complete)
        (void)pen_clReleaseEvent(complete);
    int gone = rc ? pen_session_alive(e->queue->context->session) : 0;
    return gone ? gone : rc;
}

int pen_enqueue_place(struct pen_enqueue *e)
{
    int rc = pen_enqueue_keep_list(e);
    return rc ? rc : pen_enqueue_marker(e);
}

int pen_enqueue_marker(struct pen_enqueue *e)
{
    struct pen_msg_marker message = {
        .queue = e->queue->id, .event = e->event_id, .slot = e->slot, .waits = e->waits, .waits_count = e->wait_count};
    return PEN_ENQUEUE(e, marker, &message);
}

uint64_t pen_enqueue_clock(const struct pen_enqueue *e)
{
    return e->event && e->queue->profiling ? pen_now_ns() : 0;
}

void pen_enqueue_done_here(struct pen_enqueue *e, uint64_t started_ns)
{
    cl_event event = e->event;
    if (!event)
        return;
    pen_slot_cancel(e->queue->context->session, event->slot);
    atomic_store_explicit(&event->slot, 0, memory_order_relaxed);
    e->slot = 0;
    event->id = e->event_id = 0;
    if (e->queue->profiling) {
        uint64_t ended_ns = pen_now_ns();
        if (ended_ns <= started_ns) /* a coarse clock; programs divide by the time it took */
            ended_ns = started_ns + 1;
        event->times = (struct pen_event_times){started_ns, started_ns, started_ns, ended_ns};
    }
    pen_queue_tell(e->queue);
    atomic_store_explicit(&event->local, CL_COMPLETE, memory_order_release);
}

int pen_enqueue_wait(struct pen_enqueue *e)
{
    cl_context context = e->queue->context;
    int rc = pen_wait_slot(context->session, e->slot);
    pen_settle(context);
    return rc;
}
