/* backend/opencl_event.c - events: completion callbacks, profiling times on CLOCK_MONOTONIC.
 *
 * A note of who is to be told lives from the enqueue to its callback; notes are used again, since a program may have
 * an event on every command. The dispatch thread takes notes, callbacks (any thread) give them back. */
#include "backend/opencl.h"

#include <stdlib.h>
#include <time.h>

struct pen_opencl_pending {
    struct pen_opencl_pending *next;
    struct pen_backend_domain *domain;
    pen_backend_done done;
    void *context;
    struct pen_opencl_clock *clock; /* NULL: the queue does not profile */
    int64_t enqueued_ns;            /* before the driver was called */
    _Atomic bool armed;             /* release when filled in, acquire in the callback: we do not lean on the driver's
                                       own hand-off between its threads */
};

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- notes --------------------------------------------------------------------------------------------- */

static struct pen_opencl_pending *take_note(struct pen_backend_domain *domain)
{
    if (!domain->spare)
        domain->spare = atomic_exchange_explicit(&domain->returned, NULL, memory_order_acquire);
    struct pen_opencl_pending *note = domain->spare;
    if (!note)
        return malloc(sizeof *note);
    domain->spare = note->next;
    return note;
}

static void return_note(struct pen_opencl_pending *note)
{
    struct pen_backend_domain *domain = note->domain;

    note->next = atomic_load_explicit(&domain->returned, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&domain->returned, &note->next, note, memory_order_release,
                                                  memory_order_relaxed))
        ;
}

static void free_notes(struct pen_opencl_pending *note)
{
    while (note) {
        struct pen_opencl_pending *next = note->next;
        free(note);
        note = next;
    }
}

void pen_opencl_pending_free(struct pen_backend_domain *domain)
{
    free_notes(domain->spare);
    free_notes(atomic_exchange_explicit(&domain->returned, NULL, memory_order_acquire));
    domain->spare = NULL;
}

/* ---- times --------------------------------------------------------------------------------------------- */

/* See struct pen_opencl_clock. */
static int64_t clock_offset(struct pen_opencl_clock *clock, int64_t low, int64_t high)
{
    int64_t held = atomic_load_explicit(&clock->offset, memory_order_relaxed), offset = held;

    if (offset > high)
        offset = high;
    if (offset < low)
        offset = low;
    if (offset != held)
        atomic_store_explicit(&clock->offset, offset, memory_order_relaxed);
    return offset;
}

/* In order even where the driver leaves some at 0 (rusticl). */
static struct pen_event_times event_times(const struct pen_opencl_pending *note, cl_event event)
{
    static const cl_profiling_info what[4] = {CL_PROFILING_COMMAND_QUEUED, CL_PROFILING_COMMAND_SUBMIT,
                                              CL_PROFILING_COMMAND_START, CL_PROFILING_COMMAND_END};
    int64_t now = now_ns();
    cl_ulong at[4];

    for (int i = 0; i < 4; i++) {
        if (clGetEventProfilingInfo(event, what[i], sizeof at[i], &at[i], NULL)) {
            uint64_t before = (uint64_t)note->enqueued_ns;
            return (struct pen_event_times){before, before, (uint64_t)now, (uint64_t)now};
        }
        if (i && at[i] < at[i - 1])
            at[i] = at[i - 1];
    }
    int64_t offset = clock_offset(note->clock, note->enqueued_ns - (int64_t)at[0], now - (int64_t)at[3]);
    return (struct pen_event_times){at[0] + (uint64_t)offset, at[1] + (uint64_t)offset, at[2] + (uint64_t)offset,
                                    at[3] + (uint64_t)offset};
}

/* ---- completion ---------------------------------------------------------------------------------------- */

static void complete(struct pen_opencl_pending *note, cl_event event, cl_int status)
{
    struct pen_event_times times = {0};

    if (!atomic_load_explicit(&note->armed, memory_order_acquire))
        return; /* a driver that tells twice */
    pen_backend_done done = note->done;
    void *context = note->context;
    bool timed = note->clock;
    atomic_store_explicit(&note->armed, false, memory_order_relaxed);
    if (timed)
        times = event_times(note, event);
    return_note(note);
    done(context, status < 0 ? pen_opencl_status(status) : 0, timed ? &times : NULL);
}

static void CL_CALLBACK on_complete(cl_event event, cl_int status, void *user)
{
    complete(user, event, status);
}

int pen_opencl_begin_noted(struct pen_backend_queue *queue, const struct pen_backend_order *order,
                           struct pen_opencl_enqueue *e)
{
    struct pen_opencl_pending *note = take_note(queue->domain);

    if (!note)
        return -PEN_ENOMEM;
    *note = (struct pen_opencl_pending){.domain = queue->domain, .done = order->done, .context = order->context};
    if (queue->profiling) {
        note->clock = &queue->device->clock;
        note->enqueued_ns = now_ns();
    }
    atomic_store_explicit(&note->armed, true, memory_order_release);
    e->pending = note;
    return 0;
}

/* The command is queued, but its end cannot be told: wait for it here. */
static void complete_by_waiting(struct pen_opencl_pending *note, cl_event event)
{
    cl_int status = clWaitForEvents(1, &event);

    if (status) /* say what the event says, if it does */
        clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL);
    complete(note, event, status);
}

int pen_opencl_end(const struct pen_backend_order *order, struct pen_opencl_enqueue *e, cl_int status)
{
    if (status) {
        if (e->pending)
            return_note(e->pending);
        return pen_opencl_status(status);
    }
    if (!e->place)
        return 0;
    if (order->out_event)
        *order->out_event = (struct pen_backend_event *)e->event;
    if (e->pending && clSetEventCallback(e->event, CL_COMPLETE, on_complete, e->pending))
        complete_by_waiting(e->pending, e->event);
    if (!order->out_event)
        clReleaseEvent(e->event);
    return 0;
}

void pen_opencl_event_release(struct pen_backend_event *event)
{
    if (event)
        clReleaseEvent((cl_event)event);
}
