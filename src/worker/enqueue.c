/* worker/enqueue.c - a command comes, gets its task and its place, and goes or is held; and what was held goes on when
 * nothing keeps it any more. Dispatch. Model: README rules 2-6, 11. */
#include <stdlib.h>

#include "worker/remote.h"
#include "worker/task.h"

/* Times that something is done and leaves no memory for who waits, before what devices alone hold is sent home. */
#define PATIENCE 64u

/* ---- a place on one of several devices --------------------------------------------------------------------------- */

/* Nothing that it waits for is to be awaited any more: it goes as it is, if it can. False: it has to be placed. */
static bool try_pass(const struct pen_work_command *command)
{
    return pen_is_spread(command->queue) ? pen_spread_is_marker(command) : pen_move_try_pass(command);
}

/* place: not now, since the device where it would be done first has no room; since there is no memory for it. */
#define LATER   PEN_SPREAD_LATER
#define STARVED (LATER + 1)

static int place(struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_access accesses[PEN_LIMIT_ARGUMENTS];
    uint32_t count = pen_command_accesses(command, accesses);
    int rc = command->lane ? pen_room_reserve(accesses, count, command->lane->device)
                           : pen_spread_choose(command, task, accesses, count);
    if (rc)
        return rc == -PEN_EDEVMEM && !task->last_chance ? STARVED : rc;
    task->keeps_event = true;
    rc = pen_move_note(command, task, accesses, count);
    if (!rc)
        pen_graph_placed(&task->work->graph, &task->node);
    return rc;
}

/* For a command that has just come; it may have to be held then, for room, which others may have waited for longer, or
 * for what it is placed after. An error is the command's. */
static int place_new(struct pen_work_command *command, struct pen_work_task *task, bool *out_hold)
{
    int rc = pen_is_spread(command->queue) && task->work->no_room ? LATER : place(command, task);
    *out_hold = rc > 0 || (!rc && pen_task_must_hold(command, &rc));
    return *out_hold ? 0 : rc;
}

/* Among what is to have a place: by its queue's priority, then by age. */
static int line_up(struct pen_table *table, struct pen_work_task *task)
{
    return pen_table_add(table, &task->waiting, task->queue->priority, task->sequence);
}

static int await_room(struct pen_work_task *task)
{
    int rc = line_up(&task->awaits->waiting, task);
    if (rc)
        return rc;
    pen_place_wait(&task->awaits->place, task->expected_run_ns);
    task->work->no_room++;
    return 0;
}

/* Those that were there before go first. */
static void await_memory(struct pen_work_task *task)
{
    if (task->starved) {
        pen_list_prepend(&task->work->starved, &task->node.ready);
        return;
    }
    pen_list_append(&task->work->starved, &task->node.ready);
    task->starved = true;
    task->patience = PATIENCE;
}

/* For a held one. *out_hold: it is not to be submitted yet. */
static int place_held(struct pen_work *work, struct pen_work_task *task, bool *out_hold)
{
    struct pen_work_command *command = task->command;
    int rc = place(command, task);
    *out_hold = false;
    if (rc == LATER) {
        rc = await_room(task);
        *out_hold = !rc;
        return rc;
    }
    if (rc == STARVED) {
        await_memory(task);
        *out_hold = true;
        return 0;
    }
    if (rc || !pen_task_must_hold(command, &rc))
        return rc;
    *out_hold = true;
    if (pen_task_add_edges(work, command, task))
        pen_task_out_of_memory(work);
    pen_graph_hold(&work->graph, &task->node);
    return 0;
}

/* ---- going on ---------------------------------------------------------------------------------------------------- */

/* What it waited for was submitted when its edge was met, and may have failed since. */
static int find_poison(const struct pen_work_task *task)
{
    const struct pen_work_command *command = task->command;
    int poison = task->node.poison;
    for (uint32_t i = 0; i < command->wait_count; i++) {
        if (pen_task_is_done(command->waits[i]))
            pen_task_settle(command->waits[i], command->waits[i]->status);
        if (pen_task_poisons(command, i) && pen_task_has_failed(command->waits[i]))
            poison = -PEN_EDEPENDENCY;
    }
    return poison;
}

/* A long read of a program on another host, for which there is no room in the link, or others wait for it. It is looked
 * at when nothing else is in its way: what has room then comes to use it, whatever the program does. */
static bool must_wait_to_read(const struct pen_work_command *command, const struct pen_work_task *task)
{
    struct pen_work *work = command->queue->work;
    return pen_task_reads_far(command, task) &&
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
        pen_task_refuse(command, task, poison);
    else
        pen_task_hand_over(work, command, task);
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
        PEN_CONTAINER((struct pen_table_entry *)(uintptr_t)entry, struct pen_work_task, waiting);
    return ((const struct pen_work *)work)->domain_count > 1 ? pen_spread_missing(task) : 0;
}

/* Of the devices with room for which something waits, the one with what is to go first: it may take another's room,
 * and so what goes before others has to choose before them. NULL: there is none. */
static struct pen_work_device *first_with_room(const struct pen_work *work)
{
    struct pen_work_device *best = NULL;
    for (uint32_t i = 0; i < work->device_count && work->no_room; i++) {
        struct pen_work_device *device = work->devices[i];
        const struct pen_table_slot *first = pen_table_first(&device->waiting);
        if (first && pen_place_has_room(&device->place) && (!best || first->key < pen_table_first(&best->waiting)->key))
            best = device;
    }
    return best;
}

/* Is it to be placed on one of several devices? */
static bool wants_place(const struct pen_work_task *task)
{
    return task->node.state == PEN_GRAPH_READY && pen_is_spread(task->queue) && !pen_spread_is_marker(task->command);
}

/* Of what has become ready, the oldest that need not be placed; the others line up. NULL: no other is left. */
static struct pen_work_task *pop_ready(struct pen_work *work)
{
    struct pen_graph_node *node;
    while ((node = pen_graph_pop(&work->graph))) {
        struct pen_work_task *task = PEN_CONTAINER(node, struct pen_work_task, node);
        if (!wants_place(task) || line_up(&work->unplaced, task))
            return task;
    }
    return NULL;
}

/* Of what is to be placed, and has just become ready or waits for a device that has room now, what goes first. NULL:
 * there is none. */
static struct pen_work_task *pop_unplaced(struct pen_work *work)
{
    const struct pen_table_slot *first = pen_table_first(&work->unplaced);
    struct pen_work_device *device = first_with_room(work);
    struct pen_table *table = &work->unplaced;
    struct pen_table_entry *entry = first ? first->entry : NULL;
    if (device && (!first || pen_table_first(&device->waiting)->key < first->key)) {
        table = &device->waiting;
        entry = pen_table_best(table, missing, work);
        work->no_room--;
    }
    if (!entry)
        return NULL;
    pen_table_remove(table, entry);
    struct pen_work_task *task = PEN_CONTAINER(entry, struct pen_work_task, waiting);
    if (table != &work->unplaced)
        pen_place_wait_no_more(&task->awaits->place, task->expected_run_ns);
    return task;
}

static struct pen_work_task *first_starved(struct pen_work *work)
{
    struct pen_list *first = work->starved.next;
    return first == &work->starved ? NULL : PEN_CONTAINER(first, struct pen_work_task, node.ready);
}

/* Something has been done, and may have left memory for them: in order, as far as it goes. Where the others never come
 * to an end, what devices alone hold goes to the host beside them, after so many of them and then ever more seldom. */
static void feed_starved(struct pen_work *work)
{
    struct pen_work_task *task, *last = NULL;
    while ((task = first_starved(work)) && task != last) {
        pen_list_remove(&task->node.ready);
        release(work, task);
        last = task;
    }
    if (!task || ++task->tries < task->patience)
        return;
    task->patience *= 2;
    pen_room_send_home(work);
}

/* Drivers may tell of commands before they let go of what those used. */
static void finish_queues(struct pen_work *work)
{
    PEN_LIST_EACH(node, next, &work->queue_list)
    {
        struct pen_work_queue *queue = PEN_CONTAINER(node, struct pen_work_queue, link);
        for (uint32_t i = 0; i < queue->lane_count; i++)
            work->ops->queue_finish(queue->lanes[i].backend);
    }
}

/* When nothing is under way any more, only what devices alone hold can leave memory, once it is copied to the host.
 * Then there will be no more. False: there is none, or still a chance for it. */
static bool feed_last(struct pen_work *work)
{
    struct pen_work_task *task = first_starved(work);
    if (!task || work->ending || work->failed || !pen_list_empty(&work->unsent) || pen_task_running(work))
        return false;
    if (!task->sent_home || task->home_ticket != work->ticket) { /* what has come since may have written something */
        pen_room_send_home(work);
        task->sent_home = true;
        task->home_ticket = work->ticket;
        if (pen_task_running(work))
            return false;
    }
    finish_queues(work);
    task->last_chance = true;
    pen_list_remove(&task->node.ready);
    release(work, task);
    return true;
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

/* What drivers have finished. False: nothing. */
static bool take_in(struct pen_work *work)
{
    struct pen_work_task *list = reverse(atomic_exchange(&work->finished, NULL));
    bool any = list;
    while (list) {
        struct pen_work_task *next = list->next_finished;
        pen_task_settle(list, list->status);
        if (list->queue)
            work->flying--;
        pen_task_unref(list);
        list = next;
    }
    return any;
}

void pen_task_reap(struct pen_work *work)
{
    struct pen_work_task *task;
    if (!work->ending)
        read_waiting(work);
    do { /* seq_cst: pairs with pen_task_finish(). */
        while (atomic_load(&work->finished) || atomic_load(&work->early) ||
               (!work->ending && !pen_list_empty(&work->graph.ready))) {
            if (take_in(work) && !work->ending)
                feed_starved(work);
            while (!work->ending && ((task = pop_ready(work)) || (task = pop_unplaced(work))))
                release(work, task);
            pen_task_publish_put_off(work);
        }
    } while (feed_last(work));
    atomic_store(&work->holding, work->graph.held + (work->put_off != NULL));
}

/* ---- of a program on another host -------------------------------------------------------------------------------- */

/* A write whose bytes have not come yet waits for them as for an event. */
static bool await_bytes(struct pen_work *work, struct pen_work_command *command)
{
    if (!pen_task_goes_beside(command, PEN_OP_WRITE))
        return true;
    struct pen_work_task *bytes = pen_task_create(work, NULL, 0, command->sequence);
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
    pen_task_finish(task, 0);
}

/* The program must not see that a command is complete before it has the bytes of the reads before it. Which those are
 * need not be known for sure: in a queue with such reads all later commands come after them, and so does what waits for
 * those. */
static void note_reads(struct pen_work_command *command)
{
    bool after = pen_task_goes_beside(command, PEN_OP_READ);
    for (uint32_t i = 0; i < command->wait_count; i++)
        after = after || command->waits[i]->after_reads;
    command->queue->after_reads |= after;
}

/* ---- from a command to its task ---------------------------------------------------------------------------------- */

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
        if (pen_task_must_hold_for(command, command->waits[i]))
            *out_hold = true;
        else if (pen_task_has_failed(command->waits[i]))
            *out_poison = true;
    return true;
}

/* The command's task, named; NULL after failing the session. */
static struct pen_work_task *make_task(struct pen_work *work, struct pen_work_command *command, uint64_t event,
                                       uint32_t slot, bool delivers)
{
    struct pen_work_task *task = pen_task_create(work, command->queue, slot, command->sequence);
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
    struct pen_work *work = command->queue->work;
    struct pen_work_region *root = command->u.transfer.region;
    struct pen_work_move *kept = malloc(sizeof *kept);
    struct pen_work_task *task = kept ? pen_task_create(work, command->queue, 0, command->sequence) : NULL;
    if (!task) {
        free(kept);
        return NULL;
    }
    *kept = *move;
    kept->region = root;
    kept->sequence = command->sequence;
    task->keeps_event = true;
    task->move = kept;
    pen_residency_pin(&root->residency, move->begin, move->end);
    pen_list_append(&root->copies, &kept->link);
    work->moving++;
    pen_region_ref(root);
    return task;
}

int pen_task_start(struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work *work = task->work;
    const struct pen_work_move *move = task->move;
    pen_residency_copied(&move->region->residency, move->begin, move->end, move->to);
    pen_graph_placed(&work->graph, &task->node);
    int error;
    if (pen_task_must_hold(command, &error)) {
        if (!pen_task_hold(work, command, task))
            return work->failed;
    } else if (error) {
        pen_task_refuse(command, task, error);
    } else {
        pen_task_hand_over(work, command, task);
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
    held = held || pen_task_waits_for_queue(command);
    bool delivers = (work->log || work->config.remote) && command->opcode == PEN_OP_READ;
    bool track =
        spread || pen_is_traced(work) ||
        (queue->in_order && (work->last || queue->untracked + 1 >= PEN_WORK_UNTRACKED || pen_here_may(command)));
    bool placing = !held && !poison && !try_pass(command);
    struct pen_work_task *task = NULL;
    if (event || held || delivers || track || placing || pen_task_has_before(command)) {
        task = make_task(work, command, event, slot, delivers && !held);
        if (!task)
            return false;
        task->delivers = delivers;
    }
    int error = poison ? -PEN_EDEPENDENCY : 0;
    if (placing)
        error = place_new(command, task, &held);
    held = held || (!poison && !error && must_wait_to_read(command, task));
    if (held && !pen_task_hold(work, command, task))
        return false;
    pen_task_note_order(command, task, held);
    if (!held && error)
        pen_task_refuse(command, task, error);
    else if (!held)
        pen_task_hand_over(work, command, task);
    return true;
}
