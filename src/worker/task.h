/* worker/task.h - what the files share that take a command from its coming to its end:
 *
 *   enqueue.c: it comes ──► hold.c: it is held ──► enqueue.c: nothing keeps it ──► handover.c: a driver has it
 *       └─ nothing to wait for: at once ──────────────────────────────────────────────►┘       └──► task.c: it is over
 *
 * Ownership, threads, errors: as in work.h; dispatch, unless marked. */
#ifndef PEN_WORKER_TASK_H
#define PEN_WORKER_TASK_H

#include "net/link.h"
#include "worker/work.h"

/* ---- task.c --------------------------------------------------------------------------------------------- */

/* One reference; NULL: out of memory. A program's own event, or a write's bytes, have no queue. */
struct pen_work_task *pen_task_create(struct pen_work *work, struct pen_work_queue *queue, uint32_t slot,
                                      uint64_t sequence);
static inline bool pen_task_is_done(struct pen_work_task *task)
{
    return atomic_load_explicit(&task->done, memory_order_acquire);
}
/* As far as dispatch knows. */
static inline bool pen_task_has_failed(const struct pen_work_task *task)
{
    return task->node.state == PEN_GRAPH_DONE && task->node.status < 0;
}
/* Its command is over, or never runs: published, now or when it is its turn. Any thread. */
void pen_task_finish(struct pen_work_task *task, int status);
/* Takes over into the graph how the task ended. */
void pen_task_settle(struct pen_work_task *task, int status);
/* Publishes what was put off, as far as what was before it is published now. */
void pen_task_publish_put_off(struct pen_work *work);

/* ---- handover.c ----------------------------------------------------------------------------------------- */

/* To its driver, with or without a task. Nothing it waits for is held or in another domain, or has failed. */
void pen_task_hand_over(struct pen_work *work, struct pen_work_command *command, struct pen_work_task *task);
/* The command never comes to the device. task may be NULL. */
void pen_task_refuse(const struct pen_work_command *command, struct pen_work_task *task, int status);
/* Its turn to be published is after all that is pending in its queue. */
void pen_task_line_up(struct pen_work_task *task);
/* A marker without waits of an out-of-order queue: no driver sees it. */
bool pen_task_is_group_marker(const struct pen_work_command *command);
/* Is it to be published after what it waits for, which later ones of its queue tell of, too? */
bool pen_task_has_before(const struct pen_work_command *command);
/* Do the bytes of a transfer, read or write, go beside what else is sent to or by a program on another host? */
static inline bool pen_task_goes_beside(const struct pen_work_command *command, uint16_t opcode)
{
    return command->opcode == opcode && command->u.transfer.arena_size > PEN_LINK_INLINE_BYTES;
}
/* The same of a read by such a program. task may be NULL. */
bool pen_task_reads_far(const struct pen_work_command *command, const struct pen_work_task *task);

/* ---- hold.c --------------------------------------------------------------------------------------------- */

/* An error of what a command is merely ordered after is no matter to it. */
static inline bool pen_task_poisons(const struct pen_work_command *command, uint32_t wait)
{
    return wait < command->order_from;
}
/* Must the command be held for this one? */
bool pen_task_must_hold_for(const struct pen_work_command *command, struct pen_work_task *wait);
/* For any? If not, *out_error says whether what it waits for has failed. */
bool pen_task_must_hold(const struct pen_work_command *command, int *out_error);
/* Must it be held for what is before it in its queue? */
bool pen_task_waits_for_queue(const struct pen_work_command *command);
/* What later commands of its queue go by. */
void pen_task_note_order(const struct pen_work_command *command, struct pen_work_task *task, bool held);
/* From all that it has to come after, now that it is new, or placed. -PEN_ENOMEM. */
int pen_task_add_edges(struct pen_work *work, const struct pen_work_command *command, struct pen_work_task *task);
/* Keeps a copy of the command until its edges are met. False: the session has failed. */
bool pen_task_hold(struct pen_work *work, const struct pen_work_command *command, struct pen_work_task *task);
/* Fails the session for want of memory to hold a command. Returns false. */
bool pen_task_out_of_memory(struct pen_work *work);

#endif
