/* worker/handover.c - commands are handed over to their drivers, with what the device waits for and whom it tells;
 * those that never come to one; and markers of our own, which tell that a queue has come so far. Dispatch. */
#include <stdlib.h>

#include "worker/remote.h"
#include "worker/task.h"

/* ---- what a queue has come to ------------------------------------------------------------------------------------ */

void pen_task_line_up(struct pen_work_task *task)
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
        pen_task_line_up(task);
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

/* ---- what it is published after ---------------------------------------------------------------------------------- */

/* Is a command that waits for this one to be published after it, which nothing else sees to? */
static bool is_before(struct pen_work_task *wait, const struct pen_work_queue *queue)
{
    return !(queue->in_order && wait->queue == queue) && !pen_task_is_done(wait);
}

bool pen_task_has_before(const struct pen_work_command *command)
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

/* ---- what never comes to a device -------------------------------------------------------------------------------- */

/* The task's command is not to run: what depends on it is poisoned now. Its error is published when what the program
 * has it wait for is complete, and in an in-order queue what went before: a marker tells, unless everything before it
 * is tracked by itself. It is pending already. */
static void fail(struct pen_work_task *task, int status)
{
    struct pen_work_queue *queue = task->queue;
    if (!pen_is_spread(queue)) /* there a command that is done tells that all before it are */
        pen_task_settle(task, status);
    bool wait = queue->in_order && queue->untracked;
    note_tracked(queue, task->sequence);
    if (wait) {
        const struct pen_backend_order order = {.done = pen_task_done, .context = task};
        task->instead = status;
        if (!queue->work->ops->marker(queue->lanes[0].backend, &order))
            return;
        queue->work->ops->queue_finish(queue->lanes[0].backend);
    }
    pen_task_finish(task, status);
}

/* What is over tells that all is over which it came after (sched/hazard.h): a command that does not run at all waits
 * for that, or others would be let pass. */
static void catch_up(const struct pen_work_command *command, const struct pen_work_task *task)
{
    for (uint32_t i = 0; task && task->hazard.ticket && i < command->wait_count; i++)
        if (command->waits[i]->node.state == PEN_GRAPH_SUBMITTED && command->waits[i]->lane)
            task->work->ops->queue_finish(command->waits[i]->lane->backend);
}

/* Until then it counts as in a driver's hands. Without memory it is published too early. */
static void note_before_refusal(const struct pen_work_command *command, struct pen_work_task *task)
{
    if (!task->before_count && !note_before(command, task) && task->before_count && !task->queue->in_order)
        task->group = pen_group_enter(task->queue);
}

void pen_task_refuse(const struct pen_work_command *command, struct pen_work_task *task, int status)
{
    struct pen_work_queue *queue = command->queue;
    note_submitted(queue, command->sequence);
    if (!task)
        return;
    catch_up(command, task);
    note_before_refusal(command, task);
    take_off(task);
    fail(task, status);
}

/* ---- markers that no driver sees --------------------------------------------------------------------------------- */

bool pen_task_is_group_marker(const struct pen_work_command *command)
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

/* ---- to the driver ----------------------------------------------------------------------------------------------- */

/* Events that the device itself can wait for. The others are done. */
static uint32_t device_waits(const struct pen_work_command *command, struct pen_backend_event **out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < command->wait_count; i++)
        if (command->waits[i]->node.state == PEN_GRAPH_SUBMITTED && command->waits[i]->event)
            out[count++] = command->waits[i]->event;
    return count;
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
    task->began = !task->crosses;
    if (task->began)
        pen_place_begin(&task->lane->device->place, task->submitted_ns);
}

bool pen_task_reads_far(const struct pen_work_command *command, const struct pen_work_task *task)
{
    return task && task->delivers && task->work->config.remote && pen_task_goes_beside(command, PEN_OP_READ);
}

/* Until its bytes are the link's, or it has failed. */
static void note_reading(const struct pen_work_command *command, struct pen_work_task *task)
{
    if (!pen_task_reads_far(command, task))
        return;
    task->reading = command->u.transfer.arena_size;
    atomic_fetch_add(&task->work->config.remote->reading, task->reading);
}

/* Some drivers take memory only now. For a copy no room is made: what it is for counts on what is there. */
static int submit(struct pen_work_command *command, const struct pen_work_task *task,
                  const struct pen_backend_order *order)
{
    int rc = pen_command_submit(command, order);
    bool again = rc == -PEN_EDEVMEM && !(task && task->move) && pen_room_make(command);
    return again ? pen_command_submit(command, order) : rc;
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
        rc = submit(command, task, order);
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
        if (task->traced)
            pen_trace_accepted(command, task);
    }
}

void pen_task_hand_over(struct pen_work *work, struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work_queue *queue = command->queue;
    struct pen_backend_event *few[16], **events = few;
    struct pen_backend_order order = {0};
    if (pen_task_is_group_marker(command)) {
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
        pen_task_refuse(command, task, -PEN_ENOMEM);
    } else {
        order.waits = events;
        order.wait_count = command->wait_count ? device_waits(command, events) : 0;
        hand_over(work, command, task, &order);
    }
    if (events != few)
        free(events);
}

/* ---- markers of our own ------------------------------------------------------------------------------------------ */

void pen_task_track(struct pen_work_queue *queue)
{
    struct pen_work *work = queue->work;
    if (!queue->in_order || queue->tracked == queue->submitted)
        return;
    struct pen_work_task *task = pen_task_create(work, queue, 0, queue->submitted);
    if (!task)
        return; /* tried again in the next idle moment */
    take_off(task);
    pen_graph_submitted(&work->graph, &task->node);
    note_tracked(queue, task->sequence);
    const struct pen_backend_order order = {.done = pen_task_done, .context = task};
    if (work->ops->marker(queue->lanes[0].backend, &order)) {
        work->ops->queue_finish(queue->lanes[0].backend);
        pen_task_finish(task, 0);
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
    struct pen_work_task *task = *out_task = pen_task_create(work, queue, 0, queue->submitted);
    if (!task)
        return -PEN_ENOMEM;
    const struct pen_backend_order order = {.done = pen_task_done, .context = task, .out_event = &task->event};
    take_off(task);
    pen_graph_submitted(&work->graph, &task->node);
    note_tracked(queue, queue->submitted);
    if (queue->in_order ? work->ops->marker(backend, &order) : pen_group_close(queue, task, false)) {
        work->ops->queue_finish(backend);
        pen_task_finish(task, 0);
    }
    work->ops->queue_flush(backend); /* another queue is going to wait for it */
    return 0;
}

void pen_task_last(struct pen_work_queue *queue)
{
    struct pen_work_task *task = queue->group ? pen_task_create(queue->work, queue, 0, queue->submitted) : NULL;
    if (!task)
        return;
    take_off(task);
    pen_graph_submitted(&queue->work->graph, &task->node);
    pen_group_close(queue, task, true);
}
