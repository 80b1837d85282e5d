/* icd/turn.c - the turn of a command that the program's own thread does, in an in-order queue. See object.h. */
#include "icd/entry.h"
#include "icd/move.h"
#include "icd/service.h"
#include "wire/futex.h"

/* What another thread copies is short most times, and then over sooner than a gate is made: some microseconds, a few of
 * the turns yields. */
#define TURNS 24u

/* A marker that waits for an event of ours, which the turn's thread sets: what is enqueued from here on comes after.
 * The caller holds the session's lock. */
static int close_gate(cl_command_queue queue, cl_event *out_gate)
{
    struct pen_session *session = queue->context->session;
    cl_event gate = NULL;
    cl_int status = pen_event_create_user(queue->context, &gate);
    if (!gate) {
        int gone = pen_session_alive(session);
        return gone ? gone : status == CL_OUT_OF_HOST_MEMORY ? -PEN_ENOMEM : -PEN_ELIMIT;
    }
    struct pen_enqueue e = {.queue = queue};
    struct pen_msg_marker marker = {.queue = queue->id, .waits = &gate->id, .waits_count = 1};
    int rc = PEN_ENQUEUE_LOCKED(&e, marker, &marker);
    if (rc)
        (void)pen_clReleaseEvent(gate);
    else
        *out_gate = gate;
    return rc;
}

/* Under the session's lock, which it drops when it fails. Who ends a turn that is not there any more takes the lock,
 * and so comes after this. */
static int come_after(cl_command_queue queue)
{
    struct pen_turn *turn = atomic_exchange_explicit(&queue->turn, NULL, memory_order_acquire);
    int rc = turn ? close_gate(queue, &turn->gate) : 0;
    if (rc) {
        atomic_store_explicit(&queue->turn, turn, memory_order_relaxed);
        pen_session_unlock(queue->context->session);
    }
    return rc;
}

static bool is_taken(cl_command_queue queue)
{
    /* Acquire: pairs with the release in pen_turn_end, what was done in the turn is seen by who comes after. */
    return atomic_load_explicit(&queue->turn, memory_order_acquire) != NULL;
}

int pen_queue_lock_behind(cl_command_queue queue)
{
    struct pen_session *session = queue->context->session;
    pen_session_unlock_quietly(session);
    /* While the queue is idle the turn's thread waits for nothing any more. */
    for (uint32_t turn = 0; turn < TURNS && is_taken(queue) && pen_queue_idle(queue); turn++)
        pen_spin_turn(turn);
    pen_session_lock(session);
    int gone = pen_session_alive(session); /* a child of fork has no other thread to wait for */
    if (gone) {
        pen_session_unlock(session);
        return gone;
    }
    return come_after(queue);
}

/* Under the session's lock. */
static void take(struct pen_turn *turn)
{
    /* Relaxed: read under that lock, and else by nobody who looks into the turn. */
    atomic_store_explicit(&turn->queue->turn, turn, memory_order_relaxed);
}

bool pen_turn_try(struct pen_turn *turn, struct pen_enqueue *e)
{
    cl_command_queue queue = e->queue;
    *turn = (struct pen_turn){.queue = queue};
    if (!pen_enqueue_ready(e))
        return false;
    if (!queue->in_order)
        return true;
    pen_session_lock(queue->context->session);
    bool ready = !is_taken(queue) && pen_queue_idle(queue);
    if (ready)
        take(turn);
    pen_session_unlock_quietly(queue->context->session);
    return ready;
}

int pen_turn_begin(struct pen_turn *turn, cl_command_queue queue)
{
    *turn = (struct pen_turn){.queue = queue};
    int rc = pen_queue_lock(queue, NULL);
    if (rc)
        return rc;
    take(turn);
    return 0;
}

bool pen_turn_is_open(const struct pen_turn *turn)
{
    return atomic_load_explicit(&turn->queue->turn, memory_order_relaxed) == turn;
}

/* Its place is behind all that has been sent, up to *out_before. */
static int take_place(struct pen_turn *turn, uint64_t *out_before)
{
    cl_command_queue queue = turn->queue;
    struct pen_session *session = queue->context->session;
    uint64_t seen = atomic_load_explicit(&queue->last, memory_order_relaxed);
    int rc = pen_turn_begin(turn, queue);
    if (rc)
        return rc;
    *out_before = atomic_load_explicit(&queue->last, memory_order_relaxed);
    if (*out_before == seen)
        pen_session_unlock_quietly(session);
    else
        pen_session_unlock(session); /* there may be a gate */
    return 0;
}

cl_int pen_turn_wait(struct pen_turn *turn, struct pen_enqueue *e, cl_uint wait_count, const cl_event *wait_list)
{
    *turn = (struct pen_turn){.queue = e->queue};
    if (!e->queue->in_order)
        return pen_enqueue_wait_turn(e, wait_count, wait_list);
    cl_int status = pen_enqueue_wait_list(e, wait_count, wait_list);
    if (status != CL_SUCCESS)
        return status;
    uint64_t before;
    int rc = take_place(turn, &before);
    if (rc)
        return pen_status(rc);
    rc = pen_queue_wait_for(e->queue, before);
    if (rc)
        pen_turn_end(turn);
    return pen_status(rc);
}

void pen_turn_end(struct pen_turn *turn)
{
    cl_command_queue queue = turn->queue;
    struct pen_session *session = queue->context->session;
    struct pen_turn *own = turn;
    /* Release: what was done in the turn comes before what others enqueue; pairs with the acquires above. */
    if (!queue->in_order ||
        atomic_compare_exchange_strong_explicit(&queue->turn, &own, NULL, memory_order_release, memory_order_relaxed))
        return;
    pen_session_lock(session); /* another thread closes the gate, or has; or it could not */
    own = turn;
    (void)atomic_compare_exchange_strong_explicit(&queue->turn, &own, NULL, memory_order_release, memory_order_relaxed);
    pen_session_unlock_quietly(session);
    if (!turn->gate)
        return;
    (void)pen_clSetUserEventStatus(turn->gate, CL_COMPLETE);
    (void)pen_clReleaseEvent(turn->gate);
}

cl_int pen_turn_done(struct pen_turn *turn, struct pen_enqueue *e, uint64_t started_ns, int error)
{
    pen_turn_end(turn);
    if (!error)
        pen_enqueue_done_here(e, started_ns);
    return pen_enqueue_end(e, error);
}
