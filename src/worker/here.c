/* worker/here.c - reads and writes that dispatch does itself, in the region's own memory.
 * Model: README rule 10. Of a program on another host: one on this host does the same by its own thread. */
#include <string.h>

#include "worker/remote.h"
#include "worker/work.h"

static bool is_one_run(const uint64_t origin[3])
{
    return !origin[1] && !origin[2];
}

bool pen_here_may(const struct pen_work_command *command)
{
    if ((command->opcode != PEN_OP_WRITE && command->opcode != PEN_OP_READ) || !command->queue->in_order ||
        !command->queue->work->config.remote)
        return false;
    const struct pen_work_region *region = command->u.transfer.region;
    const uint64_t *extent = command->u.transfer.extent;
    const struct pen_box *box = &command->u.transfer.box, *host = &command->u.transfer.host;
    return pen_region_is_direct(region) && region->kind == PEN_REGION_KIND_BUFFER && extent[1] == 1 && extent[2] == 1 &&
           is_one_run(box->origin) && is_one_run(host->origin) && !host->origin[0] &&
           command->u.transfer.arena_size == extent[0];
}

static unsigned char *in_region(const struct pen_work_command *command)
{
    return command->queue->work->arena + command->u.transfer.region->arena_offset + command->u.transfer.box.origin[0];
}

/* All that came before in the in-order queue is complete, but for what is held. */
static bool is_idle(struct pen_work_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool idle = !queue->untracked && pen_list_empty(&queue->pending);
    pthread_mutex_unlock(&queue->lock);
    return idle;
}

/* What its wait list names is complete, whatever else it waits for. */
static bool has_waited(const struct pen_work_command *command)
{
    for (uint32_t i = 0; i < command->wait_count; i++) {
        const struct pen_work_task *wait = command->waits[i];
        /* Acquire: pairs with the release in publish(), task.c. */
        if (!wait->write && (!atomic_load_explicit(&wait->done, memory_order_acquire) || wait->status < 0))
            return false;
    }
    return true;
}

bool pen_here_is_turn(const struct pen_work_command *command)
{
    return pen_here_may(command) &&
           (command->u.transfer.lent || command->u.transfer.arena_size <= PEN_LINK_INLINE_BYTES) &&
           is_idle(command->queue) && has_waited(command);
}

void pen_here_run(struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_event_times times = {.queued = pen_now_ns()};
    unsigned char *staged = command->queue->work->arena + command->u.transfer.arena_offset;
    if (command->opcode == PEN_OP_READ)
        memmove(staged, in_region(command), command->u.transfer.arena_size);
    else if (!command->u.transfer.lent)
        memmove(in_region(command), staged, command->u.transfer.arena_size);
    pen_here_take_back(command); /* before the program hears that the arena range is its own again */
    times.submitted = times.started = times.queued;
    times.ended = pen_now_ns();
    pen_task_done(task, 0, &times);
}

void pen_here_lend(struct pen_work_task *task)
{
    struct pen_work_command *command = task->command;
    if (command->u.transfer.lent || !pen_here_may(command) || task->queue->held.next != &task->held ||
        !is_idle(task->queue) || !has_waited(command))
        return;
    command->u.transfer.loan = (struct pen_loan){.offset = command->u.transfer.arena_offset,
                                                 .bytes = command->u.transfer.arena_size,
                                                 .memory = in_region(command),
                                                 .receives = true};
    pen_loan_begin(&task->work->config.remote->loans, &command->u.transfer.loan);
    command->u.transfer.lent = true;
}

void pen_here_take_back(struct pen_work_command *command)
{
    if (command->opcode == PEN_OP_WRITE && command->u.transfer.lent)
        pen_loan_end(&command->queue->work->config.remote->loans, &command->u.transfer.loan);
    command->u.transfer.lent = false;
}
