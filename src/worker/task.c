/* worker/task.c - commands that somebody waits for: waits, holding, completion, publication.
 * Model: README rules 2-6. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/remote.h"
#include "worker/work.h"

/* ---- life --------------------------------------------------------------------------------------------- */

static struct pen_work_task *task_create(struct pen_work *work, struct pen_work_queue *queue, uint32_t slot,
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
    task->hazard.ticket = 0;
    if (task->placed)
        pen_spread_left(task);
    if (task->moves)
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

static bool is_done(struct pen_work_task *task)
{
    return atomic_load_explicit(&task->done, memory_order_acquire);
}

/* Takes over into the graph how the task ended. */
static void settle(struct pen_work_task *task, int status)
{
    if (task->node.state == PEN_GRAPH_DONE)
        return;
    pen_graph_done(&task->work->graph, &task->node, status);
    if (task->traced)
        pen_trace_executed(task);
    leave(task);
    forget_before(task);
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

/* ---- completion (any thread) ---------------------------------------------------------------------------- */

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
        if (!is_done(task->before[i]))
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

static void finish(struct pen_work_task *task, int status)
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
    /* seq_cst: pairs with the stores in hold() and publish_put_off() and with pen_task_reap's loads before dispatch
     * sleeps. A client that wakes is likely to send: dispatch wakes meanwhile. */
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
    finish(task, task->instead ? task->instead : status);
    /* Release: pairs with pen_work_destroy, which waits until nobody is in here. */
    atomic_fetch_sub_explicit(&work->callbacks, 1, memory_order_release);
}

/* ---- submission (dispatch) -------------------------------------------------------------------------------- */

/* Its turn to be published is after all that is pending. */
static void line_up(struct pen_work_task *task)
{
    struct pen_work_queue *queue = task->queue;
    if (!queue->in_order)
        return;
    pthread_mutex_lock(&queue->lock);
    pen_list_append(&queue->pending, &task->pending);
    pthread_mutex_unlock(&queue->lock);
}

static void take_off(struct pen_work_task *task)
{
    task->work->flying++;
    if (!pen_is_spread(task->queue)) /* else it has lined up when it came */
        line_up(task);
}

static void note_tracked(struct pen_work_queue *queue, uint64_t sequence)
{
    queue->tracked = sequence;
    queue->untracked = 0;
}

/* The queue has come to this command, whatever became of it. */
static void note_submitted(struct pen_work_queue *queue, uint64_t sequence)
{
    queue->submitted = sequence;
    if (pen_list_empty(&queue->touched))
        pen_list_append(&queue->work->touched, &queue->touched);
}

/* The task's command is not to run: what depends on it is poisoned now. In an in-order queue its error is published
 * when what went before is complete: a marker tells, unless everything before it is tracked by itself. It is pending
 * already. */
static void fail(struct pen_work_task *task, int status)
{
    struct pen_work_queue *queue = task->queue;
    if (!pen_is_spread(queue)) /* there a command that is done tells that all before it are */
        settle(task, status);
    bool wait = queue->in_order && queue->untracked;
    note_tracked(queue, task->sequence);
    if (wait) {
        const struct pen_backend_order order = {.done = pen_task_done, .context = task};
        task->instead = status;
        if (!queue->work->ops->marker(queue->lanes[0].backend, &order))
            return;
        queue->work->ops->queue_finish(queue->lanes[0].backend);
    }
    finish(task, status);
}

/* What is over tells that all is over which it came after (sched/hazard.h): a command that does not run at all waits
 * for that, or others would be let pass. */
static void catch_up(const struct pen_work_command *command, const struct pen_work_task *task)
{
    for (uint32_t i = 0; task && task->hazard.ticket && i < command->wait_count; i++)
        if (command->waits[i]->node.state == PEN_GRAPH_SUBMITTED && command->waits[i]->lane)
            task->work->ops->queue_finish(command->waits[i]->lane->backend);
}

/* A command that never comes to the device. task may be NULL. */
static void refuse(const struct pen_work_command *command, struct pen_work_task *task, int status)
{
    struct pen_work_queue *queue = command->queue;
    note_submitted(queue, command->sequence);
    if (!task)
        return;
    catch_up(command, task);
    take_off(task);
    fail(task, status);
}

/* Events that the device itself can wait for. The others are done. */
static uint32_t device_waits(const struct pen_work_command *command, struct pen_backend_event **out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < command->wait_count; i++)
        if (command->waits[i]->node.state == PEN_GRAPH_SUBMITTED && command->waits[i]->event)
            out[count++] = command->waits[i]->event;
    return count;
}

/* A marker without waits of an out-of-order queue: no driver sees it. */
static bool is_group_marker(const struct pen_work_command *command)
{
    return !command->queue->in_order && !command->wait_count &&
           (command->opcode == PEN_OP_MARKER || (command->opcode == PEN_OP_BARRIER && pen_is_spread(command->queue)));
}

/* One of a spanning device: what it waits for is done, and what was before it in an in-order queue is published before.
 */
static bool is_met_marker(const struct pen_work_command *command)
{
    return pen_is_spread(command->queue) && pen_spread_is_marker(command);
}

static void pass(struct pen_work_task *task)
{
    uint64_t now = pen_now_ns();
    const struct pen_event_times times = {now, now, now, now};
    take_off(task);
    pen_graph_submitted(&task->work->graph, &task->node);
    pen_task_done(task, 0, &times);
}

static void submit_marker(struct pen_work *work, struct pen_work_task *task)
{
    pen_publish_event(&work->view, task->slot, PEN_STATE_SUBMITTED, false);
    take_off(task);
    pen_graph_submitted(&work->graph, &task->node);
    int rc = pen_group_close(task->queue, task, false);
    if (rc)
        fail(task, rc);
}

/* Who is told of the command: its task; of one without, in an out-of-order queue, its group; else nobody. */
static int fill_order(struct pen_work_queue *queue, struct pen_work_task *task, struct pen_backend_order *order)
{
    struct pen_work_group *group = queue->in_order ? NULL : pen_group_enter(queue);
    if (!queue->in_order && !group)
        return -PEN_ENOMEM;
    if (task) {
        task->group = group;
        order->done = pen_task_done;
        order->context = task;
        order->out_event = task->keeps_event ? &task->event : NULL;
    } else if (group) {
        order->done = pen_group_done;
        order->context = group;
    }
    return 0;
}

/* How long it runs is to be learnt. */
static void note_start(const struct pen_work_command *command, struct pen_work_task *task)
{
    if (task->node.state != PEN_GRAPH_PLACED) /* else it has just been placed */
        task->submitted_ns = pen_now_ns();
    for (uint32_t i = 0; i < command->wait_count; i++)
        if (command->waits[i]->node.state == PEN_GRAPH_SUBMITTED && command->waits[i]->lane != task->lane)
            task->crosses = true;
}

/* Is a command that waits for this one to be published after it, which nothing else sees to? */
static bool is_before(const struct pen_work_task *wait, const struct pen_work_queue *queue)
{
    return wait->node.state == PEN_GRAPH_SUBMITTED && !(queue->in_order && wait->queue == queue);
}

/* What later ones of the queue tell of, too. */
static bool has_before(const struct pen_work_command *command)
{
    for (uint32_t i = 0; i < command->wait_count; i++)
        if (is_before(command->waits[i], command->queue))
            return true;
    return false;
}

/* -PEN_ENOMEM. */
static int note_before(const struct pen_work_command *command, struct pen_work_task *task)
{
    uint32_t count = command->wait_count < command->order_from ? command->wait_count : command->order_from;
    for (uint32_t i = 0; i < count; i++) {
        struct pen_work_task *wait = command->waits[i];
        if (!is_before(wait, task->queue))
            continue;
        if (!task->before && !(task->before = malloc((count - i) * sizeof(struct pen_work_task *))))
            return -PEN_ENOMEM;
        task->before[task->before_count++] = wait;
        wait->refs++;
    }
    return 0;
}

static bool goes_beside(const struct pen_work_command *command, uint16_t opcode)
{
    return command->opcode == opcode && command->u.transfer.arena_size > PEN_LINK_INLINE_BYTES;
}

/* Whose bytes go beside what else is sent to a program on another host. */
static bool reads_far(const struct pen_work_command *command, const struct pen_work_task *task)
{
    return task && task->delivers && task->work->config.remote && goes_beside(command, PEN_OP_READ);
}

/* Until its bytes are the link's, or it has failed. */
static void note_reading(const struct pen_work_command *command, struct pen_work_task *task)
{
    if (!reads_far(command, task))
        return;
    task->reading = command->u.transfer.arena_size;
    atomic_fetch_add(&task->work->config.remote->reading, task->reading);
}

static void hand_over(struct pen_work *work, struct pen_work_command *command, struct pen_work_task *task,
                      const struct pen_backend_order *order)
{
    struct pen_work_queue *queue = command->queue;
    bool here = task && pen_here_is_turn(command);
    int rc = 0;
    if (task) {
        pen_publish_event(&work->view, task->slot, PEN_STATE_SUBMITTED, false);
        take_off(task);
    }
    note_submitted(queue, command->sequence);
    if (task && task->placed)
        note_start(command, task);
    if (task && pen_is_traced(work))
        pen_trace_placed(command, task);
    note_reading(command, task);
    if (here)
        pen_here_run(command, task);
    else
        rc = pen_command_submit(command, order);
    if (!task) {
        queue->untracked++;
        if (rc && order->done)
            pen_group_leave(order->context);
    } else if (rc) {
        catch_up(command, task);
        fail(task, rc);
    } else {
        pen_graph_submitted(&work->graph, &task->node);
        note_tracked(queue, command->sequence);
    }
}

/* Its bytes shall know whose they are. They are the last that it waits for. */
static void note_write(struct pen_work_task *task)
{
    const struct pen_work_command *command = task->command;
    struct pen_work_task *bytes = command->wait_count ? command->waits[command->wait_count - 1] : NULL;
    if (bytes && !bytes->queue && bytes->sequence == command->sequence)
        bytes->write = task;
}

/* Submits with or without a task. Nothing it waits for is held or in another domain, or has failed. */
static void submit(struct pen_work *work, struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work_queue *queue = command->queue;
    struct pen_backend_event *few[16], **events = few;
    struct pen_backend_order order = {0};
    if (is_group_marker(command)) {
        if (task)
            submit_marker(work, task);
        return;
    }
    if (is_met_marker(command)) {
        pass(task);
        return;
    }
    if ((command->wait_count > 16 && !(events = malloc(command->wait_count * sizeof *events))) ||
        (task && note_before(command, task)) || fill_order(queue, task, &order)) {
        refuse(command, task, -PEN_ENOMEM);
    } else {
        order.waits = events;
        order.wait_count = command->wait_count ? device_waits(command, events) : 0;
        hand_over(work, command, task, &order);
    }
    if (events != few)
        free(events);
}

void pen_task_track(struct pen_work_queue *queue)
{
    struct pen_work *work = queue->work;
    if (!queue->in_order || queue->tracked == queue->submitted)
        return;
    struct pen_work_task *task = task_create(work, queue, 0, queue->submitted);
    if (!task)
        return; /* tried again in the next idle moment */
    take_off(task);
    pen_graph_submitted(&work->graph, &task->node);
    note_tracked(queue, task->sequence);
    const struct pen_backend_order order = {.done = pen_task_done, .context = task};
    if (work->ops->marker(queue->lanes[0].backend, &order)) {
        work->ops->queue_finish(queue->lanes[0].backend);
        finish(task, 0);
    }
}

static bool is_idle(struct pen_work_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool idle = queue->in_order && queue->tracked == queue->submitted && pen_list_empty(&queue->pending);
    pthread_mutex_unlock(&queue->lock);
    return idle;
}

int pen_task_mark(struct pen_work_queue *queue, struct pen_work_task **out_task)
{
    struct pen_work *work = queue->work;
    struct pen_backend_queue *backend = queue->lanes[0].backend;
    *out_task = NULL;
    if (is_idle(queue))
        return 0;
    struct pen_work_task *task = *out_task = task_create(work, queue, 0, queue->submitted);
    if (!task)
        return -PEN_ENOMEM;
    const struct pen_backend_order order = {.done = pen_task_done, .context = task, .out_event = &task->event};
    take_off(task);
    pen_graph_submitted(&work->graph, &task->node);
    note_tracked(queue, queue->submitted);
    if (queue->in_order ? work->ops->marker(backend, &order) : pen_group_close(queue, task, false)) {
        work->ops->queue_finish(backend);
        finish(task, 0);
    }
    work->ops->queue_flush(backend); /* another queue is going to wait for it */
    return 0;
}

void pen_task_last(struct pen_work_queue *queue)
{
    struct pen_work_task *task = queue->group ? task_create(queue->work, queue, 0, queue->submitted) : NULL;
    if (!task)
        return;
    take_off(task);
    pen_graph_submitted(&queue->work->graph, &task->node);
    pen_group_close(queue, task, true);
}

/* ---- waits and holding (dispatch) --------------------------------------------------------------------------- */

/* Once this one is submitted, will its driver have an event that others can wait for? */
static bool gives_event(const struct pen_work_task *task)
{
    if (task->node.state == PEN_GRAPH_SUBMITTED)
        return task->event;
    return task->keeps_event && task->command && !is_group_marker(task->command);
}

/* How far that one must have come before `command` goes on. When its driver has both, it orders them; but of another
 * queue's in-order command of a spanning device, all that was before it is to be done too. */
static enum pen_graph_until until(const struct pen_work_command *command, const struct pen_work_task *wait)
{
    if (!command->lane)
        return pen_spread_until(command, wait);
    bool ordered = wait->lane && wait->lane->device->domain == command->lane->device->domain && gives_event(wait) &&
                   (wait->queue == command->queue || !pen_is_spread(wait->queue));
    return ordered ? PEN_GRAPH_UNTIL_SUBMITTED : PEN_GRAPH_UNTIL_DONE;
}

/* Must `command` be held for this one? */
static bool must_hold_for(const struct pen_work_command *command, struct pen_work_task *wait)
{
    if (is_done(wait))
        settle(wait, wait->status);
    return wait->node.state < (enum pen_graph_state)until(command, wait);
}

static bool has_failed(const struct pen_work_task *wait)
{
    return wait->node.state == PEN_GRAPH_DONE && wait->node.status < 0;
}

/* Does the command wait for all earlier ones of an out-of-order queue? With a wait list, for that alone. */
static bool waits_for_all(const struct pen_work_command *command)
{
    return (command->opcode == PEN_OP_BARRIER || command->opcode == PEN_OP_MARKER) && !command->wait_count;
}

/* The last that is held of an in-order queue, after which the next comes; NULL: that is under way. Of a spanning
 * device's, one that has its place is no more to be waited for. */
static struct pen_work_task *held_before(const struct pen_work_queue *queue)
{
    if (pen_list_empty(&queue->held))
        return NULL;
    struct pen_work_task *last = PEN_CONTAINER(queue->held.prev, struct pen_work_task, held);
    return last->placed ? NULL : last; /* a plain device's is never */
}

/* The last of an in-order queue that is not published. */
static struct pen_work_task *pending_before(struct pen_work_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct pen_list *last = pen_list_empty(&queue->pending) ? NULL : queue->pending.prev;
    pthread_mutex_unlock(&queue->lock);
    return last ? PEN_CONTAINER(last, struct pen_work_task, pending) : NULL; /* which dispatch reaps */
}

/* One of a spanning device's in-order queue that runs beside no other. */
static bool is_alone(const struct pen_work_command *command)
{
    return pen_is_spread(command->queue) && pen_spread_is_alone(command);
}

static bool waits_for_held_queue(const struct pen_work_command *command)
{
    struct pen_work_queue *queue = command->queue;
    if (queue->in_order)
        return held_before(queue) || queue->alone || (is_alone(command) && pending_before(queue));
    return waits_for_all(command) ? !pen_list_empty(&queue->held) : queue->barrier != NULL;
}

static bool out_of_memory(struct pen_work *work)
{
    return pen_work_fail(work, -PEN_ENOMEM, "out of memory while a command was held for others");
}

static int follow(struct pen_work *work, struct pen_work_task *before, struct pen_work_task *task,
                  enum pen_graph_until until)
{
    if (before && until != PEN_GRAPH_UNTIL_PLACED)
        pen_trace_after(task, before, task->queue->in_order ? PEN_EDGE_IN_ORDER : PEN_EDGE_BARRIER);
    return before ? pen_graph_edge(&work->graph, &before->node, &task->node, until, false) : 0;
}

/* An error of what a command is merely ordered after is no matter to it. */
static bool poisons(const struct pen_work_command *command, uint32_t wait)
{
    return wait < command->order_from;
}

static int add_wait_edges(struct pen_work *work, const struct pen_work_command *command, struct pen_work_task *task)
{
    int rc = 0;
    for (uint32_t i = 0; i < command->wait_count && !rc; i++) {
        struct pen_work_task *wait = command->waits[i];
        if (task->node.state == PEN_GRAPH_NEW) /* else those that come with its place are noted */
            pen_trace_after(task, wait, PEN_EDGE_WAIT);
        rc = pen_graph_edge(&work->graph, &wait->node, &task->node, until(command, wait), poisons(command, i));
    }
    return rc;
}

static int add_in_order_edges(struct pen_work *work, const struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work_queue *queue = command->queue;
    if (!pen_is_spread(queue))
        return follow(work, held_before(queue), task, PEN_GRAPH_UNTIL_SUBMITTED);
    int rc = follow(work, held_before(queue), task, PEN_GRAPH_UNTIL_PLACED);
    if (!rc)
        rc = follow(work, queue->alone, task, PEN_GRAPH_UNTIL_DONE);
    if (!rc && is_alone(command))
        rc = follow(work, pending_before(queue), task, PEN_GRAPH_UNTIL_DONE);
    return rc;
}

static int add_edges(struct pen_work *work, const struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work_queue *queue = command->queue;
    int rc = add_wait_edges(work, command, task);
    if (rc || task->node.state == PEN_GRAPH_PLACED)
        return rc;
    if (queue->in_order)
        return add_in_order_edges(work, command, task);
    if (!waits_for_all(command))
        return follow(work, queue->barrier, task,
                      pen_is_spread(queue) ? PEN_GRAPH_UNTIL_DONE : PEN_GRAPH_UNTIL_SUBMITTED);
    /* Back to the last that waited for all: it stands for those before it, so that edges are as many as commands. */
    for (struct pen_list *node = queue->held.prev; !rc && node != &queue->held; node = node->prev) {
        struct pen_work_task *before = PEN_CONTAINER(node, struct pen_work_task, held);
        rc = follow(work, before, task, PEN_GRAPH_UNTIL_SUBMITTED);
        if (waits_for_all(before->command))
            break;
    }
    return rc;
}

static bool hold(struct pen_work *work, const struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work_command *copy = pen_command_keep(command);
    if (!copy || add_edges(work, command, task)) {
        pen_command_free(copy);
        return out_of_memory(work);
    }
    work->held_bytes += copy->held_bytes;
    if (work->held_bytes > PEN_WORK_HELD) {
        pen_command_free(copy);
        return pen_work_fail(work, -PEN_ELIMIT,
                             "commands that wait for unfinished events take more than %llu bytes (limit PEN_WORK_HELD)",
                             (unsigned long long)PEN_WORK_HELD);
    }
    pen_command_free(task->command); /* of a read that is delivered */
    task->command = copy;
    note_write(task);
    pen_list_append(&command->queue->held, &task->held);
    atomic_fetch_add_explicit(&work->crash->held, 1, memory_order_relaxed);
    pen_graph_hold(&work->graph, &task->node);
    atomic_store(&work->holding, work->graph.held); /* seq_cst: pairs with finish() */
    return true;
}

/* ---- a place on one of several devices ------------------------------------------------------------------------ */

/* Nothing that it waits for is to be awaited any more: it goes as it is, if it can. False: it has to be placed. */
static bool try_pass(const struct pen_work_command *command)
{
    return pen_is_spread(command->queue) ? pen_spread_is_marker(command) : pen_move_try_pass(command);
}

/* place: not now, since the device where it would be done first has no room. */
#define LATER 1

static int place(struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_access accesses[PEN_LIMIT_ARGUMENTS];
    uint32_t count = pen_command_accesses(command, accesses);
    if (!command->lane && !pen_spread_choose(command, task, accesses, count))
        return LATER;
    task->keeps_event = true;
    int rc = pen_move_note(command, task, accesses, count);
    if (!rc)
        pen_graph_placed(&task->work->graph, &task->node);
    return rc;
}

/* Is it to be held? If not, *out_error says whether what it waits for has failed. */
static bool must_hold(const struct pen_work_command *command, int *out_error)
{
    bool hold = false;
    *out_error = 0;
    for (uint32_t i = 0; i < command->wait_count; i++) {
        hold = must_hold_for(command, command->waits[i]) || hold; /* all are looked at */
        if (poisons(command, i) && has_failed(command->waits[i]))
            *out_error = -PEN_EDEPENDENCY;
    }
    return hold;
}

/* For a command that has just come; it may have to be held then, for room, which others may have waited for longer, or
 * for what it is placed after. An error is the command's. */
static int place_new(struct pen_work_command *command, struct pen_work_task *task, bool *out_hold)
{
    int rc = pen_is_spread(command->queue) && task->work->no_room.count ? LATER : place(command, task);
    *out_hold = rc == LATER || (!rc && must_hold(command, &rc));
    return *out_hold ? 0 : rc;
}

/* For a held one. *out_hold: it is not to be submitted yet. */
static int place_held(struct pen_work *work, struct pen_work_task *task, bool *out_hold)
{
    struct pen_work_command *command = task->command;
    int rc = place(command, task);
    *out_hold = false;
    if (rc == LATER) {
        rc = pen_table_add(&work->no_room, &task->no_room, command->queue->priority, task->sequence);
        *out_hold = !rc;
        return rc;
    }
    if (rc || !must_hold(command, &rc))
        return rc;
    *out_hold = true;
    if (add_edges(work, command, task))
        out_of_memory(work);
    pen_graph_hold(&work->graph, &task->node);
    return 0;
}

/* What later commands of its queue go by. */
static void note_order(const struct pen_work_command *command, struct pen_work_task *task, bool held)
{
    struct pen_work_queue *queue = command->queue;
    bool spread = pen_is_spread(queue);
    if (command->opcode == PEN_OP_BARRIER && !queue->in_order && (held || spread))
        queue->barrier = task;
    if (spread)
        line_up(task);
    if (is_alone(command))
        queue->alone = task;
}

/* ---- going on ------------------------------------------------------------------------------------------------- */

/* What it waited for was submitted when its edge was met, and may have failed since. */
static int find_poison(const struct pen_work_task *task)
{
    const struct pen_work_command *command = task->command;
    int poison = task->node.poison;
    for (uint32_t i = 0; i < command->wait_count; i++) {
        if (is_done(command->waits[i]))
            settle(command->waits[i], command->waits[i]->status);
        if (poisons(command, i) && has_failed(command->waits[i]))
            poison = -PEN_EDEPENDENCY;
    }
    return poison;
}

/* A long read of a program on another host, for which there is no room in the link, or others wait for it. It is looked
 * at when nothing else is in its way: what has room then comes to use it, whatever the program does. */
static bool must_wait_to_read(const struct pen_work_command *command, const struct pen_work_task *task)
{
    struct pen_work *work = command->queue->work;
    return reads_far(command, task) &&
           (!pen_list_empty(&work->unsent) ||
            !pen_remote_has_room(work->config.remote, work, command->u.transfer.arena_size));
}

/* A held command is held no longer. */
static void go(struct pen_work *work, struct pen_work_task *task, int poison)
{
    struct pen_work_command *command = task->command;
    pen_list_remove(&task->held);
    if (task->queue->barrier == task && !pen_is_spread(task->queue))
        task->queue->barrier = NULL;
    work->held_bytes -= command->held_bytes;
    if (poison)
        refuse(command, task, poison);
    else
        submit(work, command, task);
    if (task->delivers) {
        pen_command_forget_waits(command);
    } else {
        task->command = NULL;
        pen_command_free(command);
    }
}

/* The last thing that kept a held command has gone. */
static void release(struct pen_work *work, struct pen_work_task *task)
{
    const struct pen_work_command *command = task->command;
    int poison = find_poison(task);
    bool hold = false;
    if (!poison && task->node.state == PEN_GRAPH_READY && !try_pass(command))
        poison = place_held(work, task, &hold);
    if (hold)
        return;
    if (!poison && must_wait_to_read(command, task))
        pen_list_append(&work->unsent, &task->node.ready);
    else
        go(work, task, poison);
}

static uint64_t missing(void *work, const struct pen_table_entry *entry)
{
    const struct pen_work_task *task =
        PEN_CONTAINER((struct pen_table_entry *)(uintptr_t)entry, struct pen_work_task, no_room);
    const struct pen_work *all = work;
    if (!pen_place_has_room(task->awaits))
        return PEN_TABLE_NEVER;
    return all->domain_count > 1 ? pen_spread_missing(task) : 0;
}

/* Those that found the device full where they would be done first. */
static void place_waiting(struct pen_work *work)
{
    struct pen_table_entry *entry;
    while ((entry = pen_table_best(&work->no_room, missing, work))) {
        pen_table_remove(&work->no_room, entry);
        release(work, PEN_CONTAINER(entry, struct pen_work_task, no_room));
    }
}

/* Those for which there was no room in the link, in order. */
static void read_waiting(struct pen_work *work)
{
    while (!pen_list_empty(&work->unsent)) {
        struct pen_work_task *task = PEN_CONTAINER(work->unsent.next, struct pen_work_task, node.ready);
        if (!pen_remote_has_room(work->config.remote, work, task->command->u.transfer.arena_size))
            return;
        pen_list_remove(&task->node.ready);
        go(work, task, find_poison(task));
    }
}

/* ---- of a program on another host --------------------------------------------------------------------------- */

/* A write whose bytes have not come yet waits for them as for an event. */
static bool await_bytes(struct pen_work *work, struct pen_work_command *command)
{
    if (!goes_beside(command, PEN_OP_WRITE))
        return true;
    struct pen_work_task *bytes = task_create(work, NULL, 0, command->sequence);
    if (!bytes)
        return pen_work_fail(work, -PEN_ENOMEM, "out of memory for a command");
    if (pen_remote_await(work->config.remote, bytes))
        command->waits[command->wait_count++] = bytes;
    else
        pen_task_unref(bytes);
    return true;
}

void pen_task_arrived(struct pen_work_task *task)
{
    finish(task, 0);
}

/* The program must not see that a command is complete before it has the bytes of the reads before it. Which those are
 * need not be known for sure: in a queue with such reads all later commands come after them, and so does what waits for
 * those. */
static void note_reads(struct pen_work_command *command)
{
    bool after = goes_beside(command, PEN_OP_READ);
    for (uint32_t i = 0; i < command->wait_count; i++)
        after = after || command->waits[i]->after_reads;
    command->queue->after_reads |= after;
}

/* ---- from a command to its task ----------------------------------------------------------------------------- */

static bool resolve_waits(struct pen_work *work, struct pen_work_command *command, const uint64_t *waits,
                          uint32_t wait_count, bool *out_hold, bool *out_poison)
{
    command->waits = work->waits;
    command->wait_count = wait_count;
    for (uint32_t i = 0; i < wait_count; i++) {
        struct pen_work_task *wait = pen_work_find(work, &work->events, waits[i], "event to wait for");
        if (!wait)
            return false;
        work->waits[i] = wait;
    }
    if (work->config.remote && !await_bytes(work, command))
        return false;
    for (uint32_t i = 0; i < command->wait_count; i++)
        if (must_hold_for(command, command->waits[i]))
            *out_hold = true;
        else if (has_failed(command->waits[i]))
            *out_poison = true;
    return true;
}

/* The command's task, named; NULL after failing the session. */
static struct pen_work_task *make_task(struct pen_work *work, struct pen_work_command *command, uint64_t event,
                                       uint32_t slot, bool delivers)
{
    struct pen_work_task *task = task_create(work, command->queue, slot, command->sequence);
    struct pen_work_command *copy = NULL;
    if (!task || (delivers && !(copy = pen_command_keep(command)))) {
        if (task)
            pen_task_unref(task);
        pen_work_fail(work, -PEN_ENOMEM, "out of memory for a command");
        return NULL;
    }
    if (copy)
        pen_command_forget_waits(copy);
    task->command = copy;
    if (event) {
        if (!pen_work_name(work, &work->events, event, task, "event")) {
            pen_task_unref(task);
            return NULL;
        }
        task->named = task->keeps_event = true;
        task->refs++;
    }
    return task;
}

struct pen_work_task *pen_task_of_move(const struct pen_work_command *command, const struct pen_work_move *move)
{
    struct pen_work_region *root = command->u.transfer.region;
    struct pen_work_task *task = task_create(command->queue->work, command->queue, 0, command->sequence);
    if (!task)
        return NULL;
    task->keeps_event = true;
    task->moves = root;
    task->move = *move;
    root->moving++;
    task->work->moving++;
    pen_region_ref(root);
    return task;
}

int pen_task_start(struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work *work = task->work;
    pen_residency_copied(&task->moves->residency, task->move.begin, task->move.end, task->move.to);
    pen_graph_placed(&work->graph, &task->node);
    int error;
    if (must_hold(command, &error)) {
        if (!hold(work, command, task))
            return work->failed;
    } else if (error) {
        refuse(command, task, error);
    } else {
        submit(work, command, task);
    }
    return task->node.state == PEN_GRAPH_DONE ? task->node.status : 0;
}

bool pen_task_enqueue(struct pen_work *work, struct pen_work_command *command, uint64_t event, uint32_t slot,
                      const uint64_t *waits, uint32_t wait_count)
{
    struct pen_work_queue *queue = command->queue;
    bool held = false, poison = false, spread = pen_is_spread(queue);
    /* The program may know already that a copy has failed: where the contents are now has to be known here, too. So has
     * which devices are free. */
    if ((work->moving || spread) && atomic_load(&work->finished))
        pen_task_reap(work);
    if (!resolve_waits(work, command, waits, wait_count, &held, &poison))
        return false;
    if (work->config.remote)
        note_reads(command);
    held = held || waits_for_held_queue(command);
    bool delivers = (work->log || work->config.remote) && command->opcode == PEN_OP_READ;
    bool track =
        spread || pen_is_traced(work) ||
        (queue->in_order && (work->last || queue->untracked + 1 >= PEN_WORK_UNTRACKED || pen_here_may(command)));
    bool placing = !held && !poison && !try_pass(command);
    struct pen_work_task *task = NULL;
    if (event || held || delivers || track || placing || has_before(command)) {
        task = make_task(work, command, event, slot, delivers && !held);
        if (!task)
            return false;
        task->delivers = delivers;
    }
    int error = poison ? -PEN_EDEPENDENCY : 0;
    if (placing)
        error = place_new(command, task, &held);
    held = held || (!poison && !error && must_wait_to_read(command, task));
    if (held && !hold(work, command, task))
        return false;
    note_order(command, task, held);
    if (!held && error)
        refuse(command, task, error);
    else if (!held)
        submit(work, command, task);
    return true;
}

static struct pen_work_task *reverse(struct pen_work_task *list)
{
    struct pen_work_task *out = NULL;
    while (list) {
        struct pen_work_task *next = list->next_finished;
        list->next_finished = out;
        out = list;
        list = next;
    }
    return out;
}

/* As far as what was before them is published now. */
static void publish_early(struct pen_work *work, struct pen_work_task *list)
{
    while (list) {
        struct pen_work_task *next = list->next_finished;
        if (comes_early(list)) {
            list->next_finished = work->put_off;
            work->put_off = list;
        } else {
            finish(list, list->status);
        }
        list = next;
    }
}

static void publish_put_off(struct pen_work *work)
{
    struct pen_work_task *again = work->put_off;
    work->put_off = NULL;
    publish_early(work, again);
    publish_early(work, atomic_exchange(&work->early, NULL));
    if (work->put_off)
        atomic_store(&work->holding, 1); /* seq_cst: pairs with finish() */
}

void pen_task_reap(struct pen_work *work)
{
    struct pen_graph_node *node;
    if (!work->ending)
        read_waiting(work);
    /* seq_cst: pairs with finish(). */
    while (atomic_load(&work->finished) || atomic_load(&work->early) ||
           (!work->ending && !pen_list_empty(&work->graph.ready))) {
        struct pen_work_task *list = reverse(atomic_exchange(&work->finished, NULL));
        while (list) {
            struct pen_work_task *next = list->next_finished;
            settle(list, list->status);
            if (list->queue)
                work->flying--;
            pen_task_unref(list);
            list = next;
        }
        while (!work->ending && (node = pen_graph_pop(&work->graph)))
            release(work, PEN_CONTAINER(node, struct pen_work_task, node));
        publish_put_off(work);
        if (!work->ending)
            place_waiting(work);
    }
    atomic_store(&work->holding, work->graph.held + (work->put_off != NULL));
}

/* ---- the program's own events ------------------------------------------------------------------------------- */

bool pen_task_event_create(struct pen_work *work, uint64_t event, uint32_t slot)
{
    struct pen_work_task *task = task_create(work, NULL, slot, 0);
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
    if (task->queue || is_done(task))
        return pen_work_fail(work, -PEN_EPROTO, "event_set of event %llu, which is not the program's or is set already",
                             (unsigned long long)event);
    if (status > 0)
        return pen_work_fail(work, -PEN_EPROTO, "event_set with status %d: 0 and negative errors are allowed", status);
    pen_list_remove(&task->held);
    finish(task, status);
    pen_task_reap(work);
    return true;
}

bool pen_task_event_destroy(struct pen_work *work, uint64_t event)
{
    struct pen_work_task *task = pen_work_unname(work, &work->events, event, "event");
    if (!task)
        return false;
    if (!task->queue && !is_done(task)) { /* nobody can set it any more: what waits for it has waited in vain */
        pen_list_remove(&task->held);
        finish(task, -PEN_EDEPENDENCY);
    }
    pen_task_unref(task);
    pen_task_reap(work);
    return true;
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

/* ---- the end -------------------------------------------------------------------------------------------------- */

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
