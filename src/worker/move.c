/* worker/move.c - contents go from replica to replica as commands of their own, in a queue of each domain's: ordered by
 * what they read and write, waited for where they are needed, beside everything else. Model: README rule 12. */
#include <assert.h>
#include <stdlib.h>

#include "mem/box.h"
#include "state/log.h"
#include "worker/work.h"

/* Of a copy of which nothing is known, about. */
#define BYTES_PER_NS 8

/* ---- histories ---------------------------------------------------------------------------------------------- */

/* Of the replica, or of a direct region, which has the host's alone; NULL: out of memory. */
static struct pen_hazard_region *history_at(struct pen_work_region *root, uint32_t at)
{
    if (at == PEN_REPLICA_HOST)
        return &root->history;
    if (at >= root->history_count) {
        struct pen_hazard_region *more = realloc(root->histories, (at + 1) * sizeof *more);
        if (!more)
            return NULL;
        for (uint32_t i = root->history_count; i <= at; i++)
            more[i] = (struct pen_hazard_region){0};
        root->histories = more;
        root->history_count = at + 1;
    }
    return &root->histories[at];
}

uint64_t pen_move_missing(const struct pen_access *access, const struct pen_work_device *device)
{
    if (pen_region_is_direct(access->root) || access->fresh)
        return 0;
    return pen_residency_missing(&access->root->residency, access->begin, access->end, device->domain->index);
}

void pen_move_visit(const struct pen_access *access, const struct pen_work_device *device,
                    void (*visit)(void *context, const struct pen_hazard_node *before), void *context)
{
    const struct pen_work_region *root = access->root;
    const struct pen_hazard_region *history = NULL;
    if (pen_region_is_direct(root))
        history = &root->history;
    else if (device->domain->index < root->history_count)
        history = &root->histories[device->domain->index];
    if (history)
        pen_hazard_visit(history, access->begin, access->end, access->mode, visit, context);
}

void pen_move_forget(struct pen_work_region *root)
{
    pen_hazard_forget(&root->work->hazards, &root->history);
    for (uint32_t i = 0; i < root->history_count; i++)
        pen_hazard_forget(&root->work->hazards, &root->histories[i]);
    pen_trace_forget(root);
    free(root->histories);
    root->histories = NULL;
    root->history_count = 0;
}

struct noting {
    struct pen_work_task *task;
    struct pen_work_command *command;
    const struct pen_access *access, *others; /* others: other_count of the command's; what one has met, all have */
    uint32_t other_count, at;
};

static bool is_to_find(const struct pen_access *access, const struct pen_work_move *move)
{
    return !access->fresh && access->root == move->region && access->begin < move->end && move->begin < access->end;
}

/* Is what the copy brings, or some of it, what the command is to find there? Not if that is known to be elsewhere. */
static bool finds(const struct noting *noting, const struct pen_work_move *move)
{
    bool found = is_to_find(noting->access, move);
    for (uint32_t i = 0; i < noting->other_count; i++)
        found = found || is_to_find(&noting->others[i], move);
    return found && move->to == noting->at && !move->undone;
}

/* A copy that brings what the command is to find stands with what the program has that wait for: its failing is the
 * command's. All others are merely to be over. */
static int meet(void *context, struct pen_hazard_node *before, enum pen_hazard_kind kind)
{
    const struct noting *noting = context;
    struct pen_work_command *command = noting->command;
    struct pen_work_task *task = PEN_CONTAINER(before, struct pen_work_task, hazard);
    if (pen_is_traced(task->work))
        pen_trace_met(command, noting->task, task, kind);
    int rc = pen_command_add_wait(task->work, command, task);
    if (rc || !task->move || !finds(noting, task->move))
        return rc;
    command->waits[command->wait_count - 1] = command->waits[command->order_from];
    command->waits[command->order_from++] = task;
    return 0;
}

/* Its accesses are noted from now on. */
static void take_ticket(struct pen_work_task *task)
{
    task->hazard = (struct pen_hazard_node){.ticket = ++task->work->ticket};
}

static int note(struct noting *noting, enum pen_hazard_mode mode)
{
    const struct pen_access *access = noting->access;
    struct pen_hazard_region *history = history_at(access->root, noting->at);
    return history ? pen_hazard_access(&noting->task->work->hazards, history, access->begin, access->end, mode,
                                       &noting->task->hazard, meet, noting)
                   : -PEN_ENOMEM;
}

static int note_access(struct noting *noting, const struct pen_access *access, uint32_t at)
{
    noting->access = access;
    noting->at = at;
    return note(noting, access->fresh ? PEN_HAZARD_OVERWRITE : access->mode);
}

struct users {
    bool any, bound; /* bound: all of them have been submitted, and so with the memory that there was */
};

static void look_at_user(void *context, const struct pen_hazard_node *before)
{
    const struct pen_work_task *task = pen_task_of_hazard(before);
    struct users *users = context;
    users->any = true;
    users->bound = users->bound && task->node.state >= PEN_GRAPH_SUBMITTED;
}

bool pen_move_overtakes(const struct pen_work_command *command, const struct pen_access *access,
                        const struct pen_work_device *device)
{
    struct users users = {.bound = true};
    bool whole = !access->begin && access->end == access->root->size;
    if (!access->fresh || !whole || pen_region_is_direct(access->root) || !pen_is_spread(command->queue) ||
        pen_command_may_be_refused(command))
        return false;
    pen_move_visit(access, device, look_at_user, &users);
    return users.any && users.bound && pen_region_may_replace(access->root);
}

/* It gets a memory of its own, if there is one to be had, whose history begins with it. The access is the command's
 * last, so that all whose failing would be the command's are known. */
static void overtake(const struct pen_work_command *command, const struct pen_access *access)
{
    struct pen_work_device *device = command->lane->device;
    if (pen_move_overtakes(command, access, device) && !pen_region_replace(access->root, device))
        pen_hazard_forget(&access->root->work->hazards, &access->root->histories[device->domain->index]);
}

/* ---- copies ------------------------------------------------------------------------------------------------- */

/* What was submitted where the region was not watched yet may be at it still: wait for all of it. */
static int wait_for_unwatched(struct pen_work *work, struct pen_work_command *copy,
                              const struct pen_work_domain *domain)
{
    PEN_LIST_EACH(node, next, &work->queue_list)
    {
        struct pen_work_queue *queue = PEN_CONTAINER(node, struct pen_work_queue, link);
        if (queue == domain->transfer || pen_is_spread(queue) || queue->lanes[0].device->domain != domain)
            continue;
        struct pen_work_task *mark;
        int rc = pen_task_mark(queue, &mark);
        if (!rc && mark)
            rc = pen_command_add_wait(work, copy, mark);
        if (rc)
            return rc;
    }
    return 0;
}

static void describe(const struct pen_work_region *root, const struct pen_work_move *move,
                     struct pen_work_command *copy)
{
    copy->u.transfer.arena_offset = root->arena_offset + move->begin;
    copy->u.transfer.arena_size = move->end - move->begin;
    if (root->kind == PEN_REGION_KIND_BUFFER) {
        copy->u.transfer.box.origin[0] = move->begin;
        copy->u.transfer.extent[0] = move->end - move->begin;
        copy->u.transfer.extent[1] = copy->u.transfer.extent[2] = 1;
        return;
    }
    pen_image_extent(root->kind, &root->image, copy->u.transfer.extent);
    copy->u.transfer.host.row_pitch = root->image.row_pitch;
    copy->u.transfer.host.slice_pitch = root->image.slice_pitch;
}

static int order_copy(struct pen_work_command *copy, struct pen_work_task *task, bool to_host)
{
    struct pen_work_region *root = copy->u.transfer.region;
    const struct pen_work_domain *domain = copy->lane->device->domain;
    struct pen_access from = {root, task->move->begin, task->move->end, PEN_HAZARD_READ, false}, to = from;
    const struct pen_access all = {root, 0, root->size, PEN_HAZARD_WRITE, true};
    struct noting noting = {.task = task, .command = copy};
    to.mode = PEN_HAZARD_WRITE;
    to.fresh = true;
    task->hazard = (struct pen_hazard_node){.ticket = ++task->work->ticket, .matters = true};
    copy->order_from = 0;
    int rc = note_access(&noting, &from, to_host ? domain->index : PEN_REPLICA_HOST);
    if (!rc)
        rc = note_access(&noting, &to, to_host ? PEN_REPLICA_HOST : domain->index);
    /* A copy to a device is for a command that has just been placed there: what was made for that, nobody is at. */
    bool made = !to_host && root->made >> domain->index & 1;
    bool first = !made && !(root->noted >> domain->index & 1) && domain->index < root->memory_count &&
                 root->memories[domain->index] != NULL;
    if (!rc && first) { /* who comes after it waits for it, though it changes only some of that */
        noting = (struct noting){.task = task, .command = copy, .access = &all, .at = domain->index};
        rc = note(&noting, PEN_HAZARD_WRITE);
    }
    if (!rc && first)
        rc = wait_for_unwatched(task->work, copy, domain);
    root->noted |= (uint64_t)root->watched << domain->index;
    return rc;
}

/* Whose failing is its own. */
static int note_needs(const struct pen_work_command *copy, struct pen_work_move *move)
{
    uint32_t count = copy->order_from;
    if (count && !(move->needs = malloc(count * sizeof *move->needs)))
        return -PEN_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        move->needs[i] = copy->waits[i]->sequence;
    move->need_count = count;
    return 0;
}

/* Between the host's replica and the device's. */
static int copy(struct pen_work_region *root, struct pen_work_device *device, const struct pen_work_move *move)
{
    bool to_host = move->to == PEN_REPLICA_HOST;
    struct pen_work *work = root->work;
    struct pen_work_queue *queue;
    int rc = pen_queue_of_domain(work, device, &queue);
    if (rc)
        return rc;
    struct pen_work_command command = {.opcode = to_host ? PEN_OP_READ : PEN_OP_WRITE,
                                       .sequence = PEN_LOG_COPIES + work->copies++,
                                       .queue = queue,
                                       .lane = &queue->lanes[0],
                                       .wait_room = 8,
                                       .waits = malloc(8 * sizeof(struct pen_work_task *))};
    command.u.transfer.region = root;
    describe(root, move, &command);
    struct pen_work_task *task = command.waits ? pen_task_of_move(&command, move) : NULL;
    rc = task ? order_copy(&command, task, to_host) : -PEN_ENOMEM;
    if (!rc)
        rc = note_needs(&command, task->move);
    if (!rc)
        rc = pen_task_start(&command, task);
    else if (task)
        pen_task_unref(task);
    free(command.waits);
    atomic_fetch_add_explicit(&work->crash->transfer_bytes, move->end - move->begin, memory_order_relaxed);
    return rc;
}

static struct pen_work_device *device_in(struct pen_work *work, uint32_t domain)
{
    for (uint32_t i = 0; i < work->device_count; i++)
        if (work->devices[i]->domain && work->devices[i]->domain->index == domain)
            return work->devices[i];
    return NULL;
}

/* ---- copies that fail ---------------------------------------------------------------------------------------- */

static struct pen_work_move *move_of(struct pen_list *link)
{
    return PEN_CONTAINER(link, struct pen_work_move, link);
}

/* Has a later one brought those bytes there again? */
static bool is_superseded(const struct pen_work_move *move, uint64_t begin, uint64_t end)
{
    for (struct pen_list *node = move->link.next; node != &move->region->copies; node = node->next) {
        const struct pen_work_move *later = move_of(node);
        if (later->to == move->to && !later->undone && later->begin < end && begin < later->end)
            return true;
    }
    return false;
}

/* It has brought nothing: where the contents were is where they are; but for what has been overwritten since. */
static void undo(struct pen_work_move *move)
{
    struct pen_residency *residency = &move->region->residency;
    uint64_t end;
    move->undone = true;
    for (uint64_t at = move->begin; at < move->end; at = end) {
        pen_residency_at(residency, at, &end);
        if (!is_superseded(move, at, end))
            pen_residency_lost(residency, at, end, move->to, move->from, move->overwrites);
    }
}

static bool needs_a_doomed_one(const struct pen_work_move *move)
{
    for (struct pen_list *node = move->link.prev; node != &move->region->copies; node = node->prev)
        for (uint32_t i = 0; i < move->need_count; i++)
            if (move_of(node)->doomed && move->needs[i] == move_of(node)->sequence)
                return true;
    return false;
}

/* And with it all that would have copied what it was to bring, wherever to, and whatever was to be done there. The last
 * one goes first: what was before it is what it has found. */
static void undo_all(struct pen_work_move *failed)
{
    struct pen_list *copies = &failed->region->copies;
    failed->doomed = true;
    for (struct pen_list *node = failed->link.next; node != copies; node = node->next)
        move_of(node)->doomed = move_of(node)->doomed || needs_a_doomed_one(move_of(node));
    for (struct pen_list *node = copies->prev; node != failed->link.prev; node = node->prev)
        if (move_of(node)->doomed && !move_of(node)->undone)
            undo(move_of(node));
}

void pen_move_over(struct pen_work_task *copy)
{
    struct pen_work_move *move = copy->move;
    struct pen_work_region *root = move->region;
    struct pen_work_domain *domain = copy->lane->device->domain;
    struct pen_estimate *link = move->to == PEN_REPLICA_HOST ? &domain->to_host : &domain->from_host;
    if (copy->node.status < 0)
        undo_all(move);
    else if (copy->timed)
        pen_estimate_note(link, move->end - move->begin, copy->times.ended - copy->times.started);
    pen_residency_unpin(&root->residency, move->begin, move->end);
    pen_list_remove(&move->link);
    copy->work->moving--;
    copy->move = NULL;
    free(move->needs);
    free(move);
    pen_region_unref(root);
}

/* ---- how long copies take ------------------------------------------------------------------------------------ */

static uint64_t expected_ns(const struct pen_estimate *link, uint64_t bytes)
{
    return link->known ? pen_estimate_run(link, bytes) : bytes / BYTES_PER_NS;
}

uint64_t pen_move_expected_ns(const struct pen_access *access, const struct pen_work_device *device)
{
    const struct pen_work_region *root = access->root;
    uint64_t ns = 0, end;
    uint32_t from;
    bool moves = !access->fresh && !pen_region_is_direct(root);
    for (uint64_t at = access->begin; at < access->end && moves; at = end) {
        enum pen_move step =
            pen_replicas_next(pen_residency_at(&root->residency, at, &end), device->domain->index, &from);
        end = end < access->end ? end : access->end;
        if (step == PEN_MOVE_TO_HOST)
            ns += expected_ns(&device_in(root->work, from)->domain->to_host, end - at);
        if (step != PEN_MOVE_NONE)
            ns += expected_ns(&device->domain->from_host, end - at);
    }
    return ns;
}

/* Bytes that are in the same replicas. That one failed which the first copy needs may be known as soon as that is made:
 * then there is nothing to go on with. */
static int bring_part(struct pen_work_region *root, struct pen_work_device *device, struct pen_work_move move)
{
    uint32_t to = move.to, from;
    int rc = 0;
    if (pen_replicas_next(move.from, to, &from) == PEN_MOVE_TO_HOST) {
        root->watched = true;
        move.to = PEN_REPLICA_HOST;
        rc = copy(root, device_in(root->work, from), &move);
        if (!rc && pen_residency_missing(&root->residency, move.begin, move.end, PEN_REPLICA_HOST))
            rc = -PEN_EDEPENDENCY;
    }
    move.to = to;
    return rc || to == PEN_REPLICA_HOST ? rc : copy(root, device, &move);
}

/* The contents of a range, which begins and ends with parts of its residency, to the device; NULL: to the host. */
static int bring(struct pen_work_region *root, struct pen_work_device *device, uint64_t begin, uint64_t end)
{
    struct pen_work_move move = {.to = device ? device->domain->index : PEN_REPLICA_HOST};
    uint64_t next, more;
    int rc = 0;
    for (uint64_t at = begin; at < end && !rc; at = next) {
        move.from = pen_residency_at(&root->residency, at, &next);
        for (; next < end && pen_residency_at(&root->residency, next, &more) == move.from; next = more)
            ;
        move.begin = at;
        move.end = next;
        move.overwrites = root->overwrites;
        if (move.from && !pen_replicas_have(move.from, move.to))
            rc = bring_part(root, device, move);
    }
    return rc;
}

int pen_move_home(struct pen_work_region *root)
{
    return pen_region_is_direct(root) ? 0 : bring(root, NULL, 0, root->size);
}

/* ---- commands ----------------------------------------------------------------------------------------------- */

/* The access as its region's residency can tell it apart: all of the region, and old bytes in it, if that cannot be cut
 * any more. */
static struct pen_access cut(const struct pen_access *access)
{
    struct pen_work_region *root = access->root;
    struct pen_access whole = {root, 0, root->size, access->mode, false};
    pen_residency_merge(&root->residency, pen_list_empty(&root->copies));
    return pen_residency_cut(&root->residency, access->begin, access->end) ? *access : whole;
}

static void set_valid(const struct pen_access *cut, const struct pen_work_device *device)
{
    struct pen_work_region *root = cut->root;
    uint32_t at = device->domain->index;
    root->overwrites += cut->fresh;
    if (cut->mode == PEN_HAZARD_WRITE)
        pen_residency_written(&root->residency, cut->begin, cut->end, at, cut->fresh ? root->overwrites : 0);
    else
        pen_residency_read(&root->residency, cut->begin, cut->end, at);
}

/* A kernel whose region arguments were all found direct needs not be looked at again. */
static bool is_plain(const struct pen_work_command *command)
{
    if (command->opcode == PEN_OP_MARKER || command->opcode == PEN_OP_BARRIER)
        return true;
    if (command->opcode != PEN_OP_LAUNCH)
        return false;
    const struct pen_work_kernel *kernel = command->u.launch.kernel;
    return kernel->error ||
           (kernel->plain_version == command->u.launch.version && kernel->plain_epoch == kernel->work->destroy_epoch);
}

bool pen_move_try_pass(const struct pen_work_command *command)
{
    struct pen_access accesses[PEN_LIMIT_ARGUMENTS];
    const struct pen_work_device *device = command->lane->device;
    uint32_t count = is_plain(command) ? 0 : pen_command_accesses(command, accesses);
    for (uint32_t i = 0; i < count; i++) {
        const struct pen_work_region *root = accesses[i].root;
        if ((!pen_region_is_direct(root) && (root->watched || !pen_list_empty(&root->copies))) ||
            pen_move_missing(&accesses[i], device))
            return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (pen_region_is_direct(accesses[i].root))
            continue;
        const struct pen_access told = cut(&accesses[i]);
        if (pen_move_missing(&told, device))
            return false; /* what has been noted so far was valid there, and is */
        set_valid(&told, device);
    }
    return true;
}

static bool is_brought(const struct pen_access *access)
{
    return !access->fresh && !pen_region_is_direct(access->root);
}

static void unpin(const struct pen_access *told, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (is_brought(&told[i]))
            pen_residency_unpin(&told[i].root->residency, told[i].begin, told[i].end);
}

/* What the access is to find. A copy may fail, and be known to have, as soon as it has been made: no history tells of
 * it then. */
static int bring_access(const struct pen_access *told, struct pen_work_device *device)
{
    int rc = bring(told->root, device, told->begin, told->end);
    return rc || !pen_move_missing(told, device) ? rc : -PEN_EDEPENDENCY;
}

/* What the command is to find, before any history knows of the command, for a copy may have to come after all that one
 * knows. out_told: the accesses as their regions' residencies tell them apart; those that were brought are pinned. */
static int bring_all(const struct pen_work_command *command, const struct pen_access *accesses, uint32_t count,
                     struct pen_access *out_told)
{
    int rc = 0;
    uint32_t told = 0;
    for (; told < count && !rc; told++) {
        out_told[told] = accesses[told];
        if (!is_brought(&accesses[told]))
            continue;
        out_told[told] = cut(&accesses[told]);
        pen_residency_pin(&out_told[told].root->residency, out_told[told].begin, out_told[told].end);
        rc = bring_access(&out_told[told], command->lane->device);
    }
    for (uint32_t i = 0; i < told && !rc; i++) /* others' copies have been made since */
        if (is_brought(&out_told[i]) && pen_move_missing(&out_told[i], command->lane->device))
            rc = -PEN_EDEPENDENCY;
    if (rc)
        unpin(out_told, told);
    return rc;
}

/* The command's last access, of which it would leave no old byte. */
static int note_fresh(const struct noting *of_command, const struct pen_access *access)
{
    struct noting noting = *of_command;
    struct pen_work_command *command = noting.command;
    const struct pen_work_device *device = command->lane->device;
    struct pen_access told = cut(access), noted = *access;
    int rc = 0;
    /* What is brought for it may fail: then it never runs, and leaves what was there. */
    noted.fresh = told.fresh = told.fresh && !pen_command_may_be_refused(command);
    if (told.fresh)
        overtake(command, &told);
    else
        rc = bring_access(&told, command->lane->device);
    if (!rc)
        rc = note_access(&noting, &noted, device->domain->index);
    if (!rc)
        set_valid(&told, device);
    return rc;
}

/* Of which some are of regions whose contents move. */
static int bring_and_note(struct pen_work_command *command, struct pen_work_task *task,
                          const struct pen_access *accesses, uint32_t count)
{
    const struct pen_work_device *device = command->lane->device;
    struct noting noting = {.task = task, .command = command, .others = accesses, .other_count = count};
    struct pen_access told[PEN_LIMIT_ARGUMENTS];
    int rc = bring_all(command, accesses, count, told);
    if (rc)
        return rc;
    take_ticket(task);
    for (uint32_t i = 0; i < count && !rc; i++) {
        if (pen_region_is_direct(accesses[i].root)) {
            rc = note_access(&noting, &accesses[i], PEN_REPLICA_HOST);
        } else if (accesses[i].fresh) {
            assert(i == count - 1);
            rc = note_fresh(&noting, &accesses[i]);
        } else {
            rc = note_access(&noting, &accesses[i], device->domain->index);
            if (!rc)
                set_valid(&told[i], device);
        }
    }
    unpin(told, count);
    return rc;
}

int pen_move_note(struct pen_work_command *command, struct pen_work_task *task, const struct pen_access *accesses,
                  uint32_t count)
{
    struct noting noting = {.task = task, .command = command};
    int rc = 0;
    command->order_from = command->wait_count;
    if (pen_access_moves(accesses, count))
        return bring_and_note(command, task, accesses, count);
    take_ticket(task);
    for (uint32_t i = 0; i < count && !rc; i++) { /* no copy is in their way */
        noting.access = &accesses[i];
        rc = pen_hazard_access(&task->work->hazards, &accesses[i].root->history, accesses[i].begin, accesses[i].end,
                               accesses[i].mode, &task->hazard, meet, &noting);
    }
    return rc;
}
