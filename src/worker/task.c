/* worker/task.c - a task's life, and its completion: it is made, done, published in the order that the program may see,
 * and settled. Model: README rules 2-6. */
#include "worker/task.h"

#include <stdlib.h>

#include "worker/remote.h"

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct pen_work_task *pen_task_create(struct pen_work *work, struct pen_work_queue *queue, uint32_t slot,
                                      uint64_t sequence)
{
    struct pen_work_task *task = work->spare;
    if (task)
        work->spare = task->next_finished;
    else if (!(task = malloc(sizeof *task)))
        return NULL;
    *task = (struct pen_work_task){.work = work, .queue = queue, .refs = 1, .slot = slot, .sequence = sequence};
    pen_list_init(&task->held);
    if (queue) {
        task->lane = pen_is_spread(queue) ? NULL : &queue->lanes[0];
        task->after_reads = queue->after_reads;
        pen_queue_ref(queue);
    }
    return task;
}

/* It is over, or never will be. */
static void leave(struct pen_work_task *task)
{
    task->hazard.ticket = task->traced_at.ticket = 0;
    if (task->placed)
        pen_spread_left(task);
    if (task->move)
        pen_move_over(task);
}

static void forget_before(struct pen_work_task *task)
{
    while (task->before_count)
        pen_task_unref(task->before[--task->before_count]);
    free(task->before);
    task->before = NULL;
}

void pen_task_unref(struct pen_work_task *task)
{
    if (--task->refs)
        return;
    struct pen_work *work = task->work;
    forget_before(task);
    if (task->event)
        work->ops->event_release(task->event);
    pen_command_free(task->command);
    free(task->after);
    leave(task);
    pen_graph_drop(&work->graph, &task->node);
    if (task->queue)
        pen_queue_unref(task->queue);
    task->next_finished = work->spare;
    work->spare = task;
}

void pen_task_settle(struct pen_work_task *task, int status)
{
    if (pen_task_is_done(task))
        forget_before(task);
    if (task->node.state == PEN_GRAPH_DONE)
        return;
    pen_graph_done(&task->work->graph, &task->node, status);
    if (task->traced)
        pen_trace_executed(task);
    leave(task);
    if (task->queue && task->queue->barrier == task)
        task->queue->barrier = NULL;
    if (task->queue && task->queue->alone == task)
        task->queue->alone = NULL;
    if (task->event) {
        task->work->ops->event_release(task->event);
        task->event = NULL;
    }
    if (status < 0)
        atomic_fetch_add_explicit(&task->work->crash->failed, 1, memory_order_relaxed);
}

/* ---- completion (any thread) ------------------------------------------------------------------------------------- */

/* Effects, then times, then the slot. True when somebody slept for it. */
static bool publish(struct pen_work_task *task)
{
    struct pen_shared_view *view = &task->work->view;
    if (task->timed)
        pen_publish_times(view, task->slot, &task->times);
    bool woken = pen_publish_event(view, task->slot, task->status, task->after_reads);
    atomic_store_explicit(&task->done, true, memory_order_release);
    return woken;
}

/* After the push the task belongs to dispatch. */
static void push(_Atomic(struct pen_work_task *) *list, struct pen_work_task *task)
{
    struct pen_work_task *first = atomic_load_explicit(list, memory_order_relaxed);
    do
        task->next_finished = first;
    while (!atomic_compare_exchange_weak(list, &first, task));
}

/* Drivers tell of commands in any order, also of those that waited for each other. The program must not see that a
 * command is complete before what it had that wait for: dispatch publishes it then. */
static bool comes_early(const struct pen_work_task *task)
{
    for (uint32_t i = 0; i < task->before_count; i++)
        if (!pen_task_is_done(task->before[i]))
            return true;
    return false;
}

/* What ran beside what was before it, the program sees after it. */
static void set_in_order(struct pen_work_queue *queue, struct pen_event_times *times)
{
    if (times->started < queue->last_end_ns)
        times->started = queue->last_end_ns;
    if (times->ended < times->started)
        times->ended = times->started;
    queue->last_end_ns = times->ended;
}

/* Publishes the finished head of an in-order queue's pending commands; they then form a list by next_finished. */
static struct pen_work_task *publish_in_order(struct pen_work_queue *queue, bool *out_woken)
{
    struct pen_work_task *first = NULL, *last = NULL;
    bool after_reads = false;
    while (!pen_list_empty(&queue->pending)) {
        struct pen_work_task *task = PEN_CONTAINER(queue->pending.next, struct pen_work_task, pending);
        if (!task->finished || task->put_off)
            break;
        if (comes_early(task)) {
            task->put_off = true;
            push(&queue->work->early, task);
            break;
        }
        pen_list_remove(&task->pending);
        if (task->timed && pen_is_spread(queue))
            set_in_order(queue, &task->times);
        *out_woken |= publish(task);
        queue->completed = task->sequence;
        after_reads = task->after_reads;
        task->next_finished = NULL;
        if (last)
            last->next_finished = task;
        else
            first = task;
        last = task;
    }
    if (first)
        *out_woken |= pen_publish_queue(&queue->work->view, queue->slot, queue->completed, after_reads);
    return first;
}

void pen_task_finish(struct pen_work_task *task, int status)
{
    struct pen_work *work = task->work;
    struct pen_work_queue *queue = task->queue;
    bool woken = false;
    if (task->reading)
        atomic_fetch_sub(&work->config.remote->reading, task->reading);
    task->reading = 0; /* it may be put off, and come again */
    if (queue && queue->in_order) {
        pthread_mutex_lock(&queue->lock);
        task->status = status;
        task->finished = true;
        task->put_off = false;
        struct pen_work_task *list = publish_in_order(queue, &woken);
        pthread_mutex_unlock(&queue->lock);
        woken |= pen_publish_wake(&work->view);
        while (list) {
            struct pen_work_task *next = list->next_finished;
            push(&work->finished, list);
            list = next;
        }
    } else if (comes_early(task)) {
        task->status = status;
        push(&work->early, task);
    } else {
        struct pen_work_group *group = task->group; /* after the push the task is not ours */
        task->status = status;
        woken = publish(task);
        woken |= pen_publish_wake(&work->view);
        push(&work->finished, task);
        pen_group_leave(group);
    }
    /* seq_cst: pairs with the stores in pen_task_hold() and pen_task_publish_put_off() and with pen_task_reap's loads
     * before dispatch sleeps. A client that wakes is likely to send: dispatch wakes meanwhile. */
    if (atomic_load(&work->holding) || atomic_load(&work->early) || woken ||
        atomic_load_explicit(&work->park, memory_order_relaxed))
        pen_work_kick(work);
}

void pen_task_done(void *context, int status, const struct pen_event_times *times)
{
    struct pen_work_task *task = context;
    struct pen_work *work = task->work;
    atomic_fetch_add_explicit(&work->callbacks, 1, memory_order_relaxed);
    if (task->placed)
        task->ended_ns = pen_now_ns();
    if (task->traced)
        pen_trace_ended(task, times);
    if (times && task->queue->profiling) {
        task->times = *times;
        task->timed = true;
    }
    if (atomic_load_explicit(&work->printers, memory_order_acquire) && work->config.capture)
        pen_capture_collect(work->config.capture, &work->outbox, &work->view);
    if (task->delivers && !status && !task->instead)
        pen_command_deliver(work, task->command);
    pen_task_finish(task, task->instead ? task->instead : status);
    /* Release: pairs with pen_work_destroy, which waits until nobody is in here. */
    atomic_fetch_sub_explicit(&work->callbacks, 1, memory_order_release);
}

/* ---- what is published late (dispatch) --------------------------------------------------------------------------- */

/* As far as what was before them is published now. */
static void publish_early(struct pen_work *work, struct pen_work_task *list)
{
    while (list) {
        struct pen_work_task *next = list->next_finished;
        if (comes_early(list)) {
            list->next_finished = work->put_off;
            work->put_off = list;
        } else {
            pen_task_finish(list, list->status);
        }
        list = next;
    }
}

void pen_task_publish_put_off(struct pen_work *work)
{
    struct pen_work_task *again = work->put_off;
    work->put_off = NULL;
    publish_early(work, again);
    publish_early(work, atomic_exchange(&work->early, NULL));
    if (work->put_off)
        atomic_store(&work->holding, 1); /* seq_cst: pairs with pen_task_finish() */
}

bool pen_task_running(struct pen_work *work)
{
    uint32_t unpublished = 0;
    PEN_LIST_EACH(node, next, &work->queue_list)
    {
        struct pen_work_queue *queue = PEN_CONTAINER(node, struct pen_work_queue, link);
        pthread_mutex_lock(&queue->lock);
        PEN_LIST_EACH(pending, after, &queue->pending)
        unpublished += PEN_CONTAINER(pending, struct pen_work_task, pending)->finished;
        pthread_mutex_unlock(&queue->lock);
    }
    return work->flying > unpublished;
}

/* ---- the program's own events ------------------------------------------------------------------------------------ */

bool pen_task_event_create(struct pen_work *work, uint64_t event, uint32_t slot)
{
    struct pen_work_task *task = pen_task_create(work, NULL, slot, 0);
    if (!task)
        return pen_work_fail(work, -PEN_ENOMEM, "out of memory for an event");
    if (!pen_work_name(work, &work->events, event, task, "event")) {
        pen_task_unref(task);
        return false;
    }
    task->named = true;
    task->refs++;
    pen_list_append(&work->own_events, &task->held);
    return true;
}

bool pen_task_event_set(struct pen_work *work, uint64_t event, int status)
{
    struct pen_work_task *task = pen_work_find(work, &work->events, event, "event to set");
    if (!task)
        return false;
    if (task->queue || pen_task_is_done(task))
        return pen_work_fail(work, -PEN_EPROTO, "event_set of event %llu, which is not the program's or is set already",
                             (unsigned long long)event);
    if (status > 0)
        return pen_work_fail(work, -PEN_EPROTO, "event_set with status %d: 0 and negative errors are allowed", status);
    pen_list_remove(&task->held);
    pen_task_finish(task, status);
    pen_task_reap(work);
    return true;
}

bool pen_task_event_destroy(struct pen_work *work, uint64_t event)
{
    struct pen_work_task *task = pen_work_unname(work, &work->events, event, "event");
    if (!task)
        return false;
    if (!task->queue &&
        !pen_task_is_done(task)) { /* nobody can set it any more: what waits for it has waited in vain */
        pen_list_remove(&task->held);
        pen_task_finish(task, -PEN_EDEPENDENCY);
    }
    pen_task_unref(task);
    pen_task_reap(work);
    return true;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* Oldest first, and each command before its task: no chain of waits is ever freed from its end. */
static void discard_list(struct pen_list *list)
{
    PEN_LIST_EACH(node, next, list)
    {
        struct pen_work_task *task = PEN_CONTAINER(node, struct pen_work_task, held);
        struct pen_work_command *command = task->command;
        pen_list_remove(&task->held);
        if (task->queue && task->queue->in_order && pen_is_spread(task->queue))
            pen_list_remove(&task->pending);
        task->command = NULL;
        pen_command_free(command);
        pen_task_unref(task);
    }
}

/* Of a spanning device's queue: done, and never published, since what was before them never came to be done. */
static void discard_pending(struct pen_work_queue *queue)
{
    PEN_LIST_EACH(node, next, &queue->pending)
    {
        struct pen_work_task *task = PEN_CONTAINER(node, struct pen_work_task, pending);
        pen_list_remove(node);
        forget_before(task);
        pen_task_unref(task);
    }
}

void pen_task_discard_all(struct pen_work *work)
{
    PEN_LIST_EACH(node, next, &work->queue_list)
    PEN_CONTAINER(node, struct pen_work_queue, link)->refs++; /* while we look at them: they name each other's tasks */
    PEN_LIST_EACH(node, next, &work->queue_list)
    {
        struct pen_work_queue *queue = PEN_CONTAINER(node, struct pen_work_queue, link);
        discard_list(&queue->held);
        discard_pending(queue);
    }
    PEN_LIST_EACH(node, next, &work->queue_list)
    pen_queue_unref(PEN_CONTAINER(node, struct pen_work_queue, link));
    discard_list(&work->own_events);
    for (uint32_t i = 0; i < work->events.capacity; i++)
        if (work->events.entries[i].key)
            pen_task_unref(work->events.entries[i].value);
    pen_map_finish(&work->events);
    while (work->spare) {
        struct pen_work_task *next = work->spare->next_finished;
        free(work->spare);
        work->spare = next;
    }
}
