/* worker/trace.c - what became of a recorded session's commands, as entries of its log: which device each went to,
 * behind what, and when it ran. */
#include "state/log.h"
#include "worker/work.h"

/* Between replicas: move.c numbers them so. */
static bool is_copy(const struct pen_work_task *task)
{
    return task->sequence >> 63;
}

/* A copy that was made for a command may be over before it is placed. */
static bool is_named(const struct pen_work_task *wait)
{
    return wait->queue && (wait->node.state != PEN_GRAPH_DONE || is_copy(wait));
}

static const char *name_of(const struct pen_work_command *command, const struct pen_work_task *task)
{
    if (task->moves)
        return "copy";
    return command->opcode == PEN_OP_LAUNCH ? command->u.launch.kernel->name : pen_message_info(command->opcode)->name;
}

void pen_trace_placed(const struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work *work = task->work;
    const struct pen_work_device *device = command->lane->device;
    uint64_t after[PEN_LIMIT_WAITS];
    struct pen_msg_placed placed = {
        .node = command->sequence, .device = device->id, .after = after, .name = name_of(command, task)};
    if (device->span) {
        placed.device = device->span->id;
        while (device->span->members[placed.lane] != device)
            placed.lane++;
    }
    if (task->moves) {
        placed.to_host = command->opcode == PEN_OP_READ;
        placed.region = command->u.transfer.region->id;
        placed.bytes = command->u.transfer.region->size;
    }
    for (uint32_t i = 0; i < command->wait_count && placed.after_count < PEN_LIMIT_WAITS; i++)
        if (is_named(command->waits[i]))
            after[placed.after_count++] = command->waits[i]->sequence;
    size_t size = pen_msg_placed_size(&placed);
    if (!size || size > PEN_LIMIT_FRAME)
        return;
    pen_msg_placed_encode(&placed, command->sequence, work->reply);
    pen_log_append(work->log, work->reply, size, NULL, 0);
    task->traced = true;
}

void pen_trace_executed(const struct pen_work_task *task)
{
    _Alignas(8) unsigned char frame[128];
    const struct pen_msg_executed executed = {.node = task->sequence,
                                              .status = task->node.status,
                                              .submitted = task->ran.submitted,
                                              .started = task->ran.started,
                                              .ended = task->ran.ended};
    pen_msg_executed_encode(&executed, task->sequence, frame);
    pen_log_append(task->work->log, frame, pen_msg_executed_size(&executed), NULL, 0);
}
