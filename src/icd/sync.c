/* icd/sync.c - markers and barriers. */
#include "icd/entry.h"
#include "icd/service.h"

/* With nothing left to wait for it completes here and now: in an in-order queue when that is idle; in an out-of-order
 * one when what it was told to wait for is complete (without a list it waits for every earlier command). */
static bool is_complete(struct pen_enqueue *e, cl_uint wait_count)
{
    return pen_enqueue_ready(e) && (e->queue->in_order || wait_count);
}

cl_int CL_API_CALL pen_clEnqueueMarkerWithWaitList(cl_command_queue queue, cl_uint wait_count,
                                                   const cl_event *wait_list, cl_event *event)
{
    struct pen_enqueue e = {0};
    cl_int status = pen_enqueue_begin(&e, queue, CL_COMMAND_MARKER, wait_count, wait_list, event, false, false);
    if (status)
        return status;
    if (is_complete(&e, wait_count)) {
        pen_enqueue_done_here(&e, pen_enqueue_clock(&e));
        return pen_enqueue_end(&e, 0);
    }
    return pen_enqueue_end(&e, wait_count ? pen_enqueue_place(&e) : pen_enqueue_marker(&e));
}

/* An out-of-order queue's last barrier is what a thread must see complete before it touches a region itself. Noted
 * under the session's lock, so that of two threads' barriers the one that was sent last stays. Returns the one before;
 * the caller unrefs it without that lock. */
static cl_event note_barrier(struct pen_enqueue *e, uint64_t sequence)
{
    cl_command_queue queue = e->queue;
    pen_enqueue_note(e, sequence);
    if (queue->in_order)
        return NULL;
    pen_ref(e->event);
    pthread_mutex_lock(&queue->lock);
    cl_event before = queue->barrier;
    queue->barrier = e->event;
    pthread_mutex_unlock(&queue->lock);
    return before;
}

cl_int CL_API_CALL pen_clEnqueueBarrierWithWaitList(cl_command_queue queue, cl_uint wait_count,
                                                    const cl_event *wait_list, cl_event *event)
{
    struct pen_enqueue e = {0};
    bool force = pen_object_is(queue, PEN_MAGIC_QUEUE) && !queue->in_order;
    cl_int status = pen_enqueue_begin(&e, queue, CL_COMMAND_BARRIER, wait_count, wait_list, event, false, force);
    if (status)
        return status;
    if (is_complete(&e, wait_count)) {
        pen_enqueue_done_here(&e, pen_enqueue_clock(&e));
        return pen_enqueue_end(&e, 0);
    }
    int rc = wait_count ? pen_enqueue_keep_list(&e) : 0;
    if (rc)
        return pen_enqueue_end(&e, rc);
    struct pen_msg_barrier message = {
        .queue = queue->id, .event = e.event_id, .slot = e.slot, .waits = e.waits, .waits_count = e.wait_count};
    cl_event before = NULL;
    uint64_t sequence = 0;
    rc = pen_queue_lock(queue, NULL);
    if (rc)
        return pen_enqueue_end(&e, rc);
    rc = PEN_SEND_NOTE(queue->context->session, barrier, &message, &sequence, before = note_barrier(&e, sequence));
    pen_session_unlock(queue->context->session);
    if (before)
        pen_unref(before);
    return pen_enqueue_end(&e, rc);
}

/* ---- OpenCL 1.0 ---- */

cl_int CL_API_CALL pen_clEnqueueMarker(cl_command_queue queue, cl_event *event)
{
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    return event ? pen_clEnqueueMarkerWithWaitList(queue, 0, NULL, event) : CL_INVALID_VALUE;
}

cl_int CL_API_CALL pen_clEnqueueBarrier(cl_command_queue queue)
{
    return pen_clEnqueueBarrierWithWaitList(queue, 0, NULL, NULL);
}

cl_int CL_API_CALL pen_clEnqueueWaitForEvents(cl_command_queue queue, cl_uint count, const cl_event *events)
{
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    if (!count || !events)
        return CL_INVALID_VALUE;
    for (cl_uint i = 0; i < count; i++)
        if (!pen_object_is(events[i], PEN_MAGIC_EVENT))
            return CL_INVALID_EVENT;
    return pen_clEnqueueBarrierWithWaitList(queue, count, events, NULL);
}
