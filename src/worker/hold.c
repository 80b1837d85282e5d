/* worker/hold.c - what a command waits for before it may go, as edges of the graph, and holding it until then.
 * Dispatch. Model: README rules 2-6. */
#include "worker/task.h"

/* ---- what it waits for ------------------------------------------------------------------------------------------- */

/* Once this one is submitted, will its driver have an event that others can wait for? */
static bool gives_event(const struct pen_work_task *task)
{
    if (task->node.state == PEN_GRAPH_SUBMITTED)
        return task->event;
    return task->keeps_event && task->command && !pen_task_is_group_marker(task->command);
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

bool pen_task_must_hold_for(const struct pen_work_command *command, struct pen_work_task *wait)
{
    if (pen_task_is_done(wait))
        pen_task_settle(wait, wait->status);
    return wait->node.state < (enum pen_graph_state)until(command, wait);
}

bool pen_task_must_hold(const struct pen_work_command *command, int *out_error)
{
    bool hold = false;
    *out_error = 0;
    for (uint32_t i = 0; i < command->wait_count; i++) {
        hold = pen_task_must_hold_for(command, command->waits[i]) || hold; /* all are looked at */
        if (pen_task_poisons(command, i) && pen_task_has_failed(command->waits[i]))
            *out_error = -PEN_EDEPENDENCY;
    }
    return hold;
}

/* ---- what it follows in its queue -------------------------------------------------------------------------------- */

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

bool pen_task_waits_for_queue(const struct pen_work_command *command)
{
    struct pen_work_queue *queue = command->queue;
    if (queue->in_order)
        return held_before(queue) || queue->alone || (is_alone(command) && pending_before(queue));
    return waits_for_all(command) ? !pen_list_empty(&queue->held) : queue->barrier != NULL;
}

void pen_task_note_order(const struct pen_work_command *command, struct pen_work_task *task, bool held)
{
    struct pen_work_queue *queue = command->queue;
    bool spread = pen_is_spread(queue);
    if (command->opcode == PEN_OP_BARRIER && !queue->in_order && (held || spread))
        queue->barrier = task;
    if (spread)
        pen_task_line_up(task);
    if (is_alone(command))
        queue->alone = task;
}

/* ---- edges ------------------------------------------------------------------------------------------------------- */

bool pen_task_out_of_memory(struct pen_work *work)
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

static int add_wait_edges(struct pen_work *work, const struct pen_work_command *command, struct pen_work_task *task)
{
    int rc = 0;
    for (uint32_t i = 0; i < command->wait_count && !rc; i++) {
        struct pen_work_task *wait = command->waits[i];
        if (task->node.state == PEN_GRAPH_NEW) /* else those that come with its place are noted */
            pen_trace_after(task, wait, PEN_EDGE_WAIT);
        rc = pen_graph_edge(&work->graph, &wait->node, &task->node, until(command, wait), pen_task_poisons(command, i));
    }
    return rc;
}

static int add_in_order_edges(struct pen_work *work, const struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work_queue *queue = command->queue;
    struct pen_work_task *before = held_before(queue);
    if (!pen_is_spread(queue)) /* what it comes after there is traced when it goes */
        return before ? pen_graph_edge(&work->graph, &before->node, &task->node, PEN_GRAPH_UNTIL_SUBMITTED, false) : 0;
    int rc = follow(work, before, task, PEN_GRAPH_UNTIL_PLACED);
    if (!rc)
        rc = follow(work, queue->alone, task, PEN_GRAPH_UNTIL_DONE);
    if (!rc && is_alone(command))
        rc = follow(work, pending_before(queue), task, PEN_GRAPH_UNTIL_DONE);
    return rc;
}

int pen_task_add_edges(struct pen_work *work, const struct pen_work_command *command, struct pen_work_task *task)
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

/* ---- holding ----------------------------------------------------------------------------------------------------- */

/* Its bytes shall know whose they are. They are the last that it waits for. */
static void note_write(struct pen_work_task *task)
{
    const struct pen_work_command *command = task->command;
    struct pen_work_task *bytes = command->wait_count ? command->waits[command->wait_count - 1] : NULL;
    if (bytes && !bytes->queue && bytes->sequence == command->sequence)
        bytes->write = task;
}

bool pen_task_hold(struct pen_work *work, const struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work_command *copy = pen_command_keep(command);
    if (!copy || pen_task_add_edges(work, command, task)) {
        pen_command_free(copy);
        return pen_task_out_of_memory(work);
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
    atomic_store(&work->holding, work->graph.held); /* seq_cst: pairs with pen_task_finish() */
    return true;
}
