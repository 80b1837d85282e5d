/* worker/spread.c - queues of a device that spans others: which of them a command goes to, and what it waits for there.
 * Model: README, "Spanning devices". */
#include <assert.h>
#include <stdlib.h>

#include "worker/work.h"

/* ---- what it waits for ---------------------------------------------------------------------------------------- */

bool pen_spread_is_marker(const struct pen_work_command *command)
{
    return command->opcode == PEN_OP_MARKER || command->opcode == PEN_OP_BARRIER ||
           command->opcode == PEN_OP_MIGRATE; /* the contents go where they are used */
}

bool pen_spread_is_alone(const struct pen_work_command *command)
{
    if (command->opcode != PEN_OP_LAUNCH || !command->queue->in_order)
        return false;
    const struct pen_work_kernel *kernel = command->u.launch.kernel;
    return kernel->own_variables || kernel->program->prints;
}

/* Commands of an in-order queue are placed one after the other, and nothing is placed that waits for the program: so
 * whatever stands before a placed command is under way, and no order between queues that the program did not ask for
 * can keep it waiting for ever. */
enum pen_graph_until pen_spread_until(const struct pen_work_command *command, const struct pen_work_task *wait)
{
    return wait->queue && !pen_spread_is_marker(command) ? PEN_GRAPH_UNTIL_PLACED : PEN_GRAPH_UNTIL_DONE;
}

/* ---- the devices that are looked at for it ---------------------------------------------------------------------- */

static void note_load(const struct pen_work_device *member)
{
    if (member->span->fleet)
        pen_fleet_note(&member->span->fleet->available, member->at, member->place.ahead_ns,
                       pen_place_has_room(&member->place));
}

int pen_spread_init(struct pen_work_device *device)
{
    if (device->member_count <= PEN_FLEET_CANDIDATES)
        return 0;
    device->fleet = calloc(1, sizeof *device->fleet);
    if (!device->fleet)
        return -PEN_ENOMEM;
    pen_fleet_init(&device->fleet->available, device->id);
    for (uint32_t i = 0; i < device->member_count; i++) {
        pen_device_set_add(&device->fleet->all, i);
        note_load(device->members[i]);
    }
    return 0;
}

void pen_spread_finish(struct pen_work_device *device)
{
    free(device->fleet);
    device->fleet = NULL;
}

/* A program's own variables are the first device's. */
static bool is_bound(const struct pen_work_command *command)
{
    return command->opcode == PEN_OP_LAUNCH && command->u.launch.kernel->own_variables;
}

struct near {
    const struct pen_work_device *span;
    struct pen_device_set set;
};

static void add_device_of(void *context, const struct pen_hazard_node *before)
{
    const struct pen_work_task *task = pen_task_of_hazard(before);
    struct near *near = context;
    if (task->lane && task->lane->device->span == near->span && task->node.state != PEN_GRAPH_DONE)
        pen_device_set_add(&near->set, task->lane->device->at);
}

/* Those that have some of what the command is to find: that hold its contents, or, where all share them, still run what
 * it comes after. */
static struct pen_device_set holders(const struct pen_work_queue *queue, const struct pen_access *accesses,
                                     uint32_t count)
{
    struct near near = {.span = queue->lanes[0].device->span};
    uint64_t replicas = 0, end;
    for (uint32_t i = 0; i < count; i++) {
        const struct pen_access *access = &accesses[i];
        if (pen_region_is_direct(access->root))
            pen_move_visit(access, queue->lanes[0].device, add_device_of, &near);
        else
            for (uint64_t at = access->begin; at < access->end && !access->fresh; at = end)
                replicas |= pen_residency_at(&access->root->residency, at, &end);
    }
    for (uint32_t i = 0; i < queue->lane_count; i++)
        if (pen_replicas_have(replicas, queue->lanes[i].device->domain->index))
            pen_device_set_add(&near.set, i);
    return near.set;
}

/* NULL: nothing is known of it there. */
static struct pen_work_instance *instance_at(const struct pen_work_kernel *kernel, const struct pen_work_device *device)
{
    return device->index < kernel->instance_count ? kernel->instances[device->index] : NULL;
}

/* Has the device the kernel's code, or is it about to? */
static bool has_code(const struct pen_work_command *command, const struct pen_work_lane *lane)
{
    const struct pen_work_instance *instance =
        command->opcode == PEN_OP_LAUNCH ? instance_at(command->u.launch.kernel, lane->device) : NULL;
    return instance && instance->code.given;
}

/* Those that have the kernel's code; all, if none has, or it is none. */
static struct pen_device_set coded(const struct pen_work_command *command)
{
    const struct pen_work_queue *queue = command->queue;
    struct pen_device_set set = {{0}};
    bool any = false;
    for (uint32_t i = 0; i < queue->lane_count; i++) {
        if (!has_code(command, &queue->lanes[i]))
            continue;
        pen_device_set_add(&set, i);
        any = true;
    }
    return any ? set : queue->lanes[0].device->span->fleet->all;
}

static bool is_full(uint64_t full, const struct pen_work_lane *lane)
{
    return full >> lane->device->domain->index & 1;
}

/* Of the devices that have the kernel's code, the one with the least to do, also without room: to wait for it may be
 * better than to load it on another. -1: none has. */
static int least_busy_coded(const struct pen_work_command *command, uint64_t full)
{
    const struct pen_work_queue *queue = command->queue;
    int best = -1;
    for (uint32_t i = 0; i < queue->lane_count; i++)
        if (!is_full(full, &queue->lanes[i]) && has_code(command, &queue->lanes[i]) &&
            (best < 0 || queue->lanes[i].device->place.ahead_ns < queue->lanes[best].device->place.ahead_ns))
            best = (int)i;
    return best;
}

static bool is_among(uint32_t lane, const uint32_t *lanes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (lanes[i] == lane)
            return true;
    return false;
}

static uint32_t few_of_many(const struct pen_work_command *command, const struct pen_access *accesses, uint32_t count,
                            uint64_t full, uint32_t out[PEN_LIMIT_DEVICES])
{
    const struct pen_work_queue *queue = command->queue;
    struct pen_work_fleet *fleet = queue->lanes[0].device->span->fleet;
    const struct pen_device_set near = holders(queue, accesses, count), code = coded(command);
    struct pen_device_set allowed = fleet->all;
    for (uint32_t i = 0; full && i < queue->lane_count; i++)
        if (is_full(full, &queue->lanes[i]))
            pen_device_set_remove(&allowed, i);
    uint32_t found = pen_fleet_candidates(&fleet->available, &allowed, &near, &code, out);
    int least = least_busy_coded(command, full);
    if (found && least >= 0 && !is_among((uint32_t)least, out, found))
        out[found++] = (uint32_t)least;
    return found;
}

/* All devices that it may go to; of many, those that hold inputs, the most available of those that have the code, and
 * two others, if they have room, and the one with the code that has the least to do. `full`: domains in which there is
 * no memory for it. */
static uint32_t candidates(const struct pen_work_command *command, const struct pen_access *accesses, uint32_t count,
                           uint64_t full, uint32_t out[PEN_LIMIT_DEVICES])
{
    const struct pen_work_queue *queue = command->queue;
    bool bound = is_bound(command), many = !bound && queue->lanes[0].device->span->fleet;
    uint32_t found = many ? few_of_many(command, accesses, count, full, out) : 0;
    if (found)
        return found;
    for (uint32_t i = 0; i < (bound ? 1 : queue->lane_count); i++) /* of many none has room: which is to be awaited? */
        if (!is_full(full, &queue->lanes[i]))
            out[found++] = i;
    return found;
}

/* ---- where it goes -------------------------------------------------------------------------------------------- */

static uint64_t items_of(const struct pen_work_command *command)
{
    const uint64_t *global = command->u.launch.global;
    uint64_t items = global[0];
    for (uint32_t i = 1; i < command->u.launch.dimensions; i++)
        items *= global[i];
    return items;
}

/* Devices that are the same have what is known of its runs in one place. */
static void expect_launch(const struct pen_work_command *command, const struct pen_work_device *device,
                          struct pen_place_option *option)
{
    const struct pen_work_kernel *kernel = command->u.launch.kernel;
    const struct pen_work_instance *own = instance_at(kernel, device), *first = instance_at(kernel, device->like);
    option->run_ns = first ? pen_estimate_run(&first->runs.estimate, items_of(command)) : PEN_PLACE_UNKNOWN_NS;
    option->load_ns = pen_code_expected_ns(own ? &own->code : NULL, first ? &first->runs : NULL, &device->like->loads);
}

/* Transfers count by the byte, at a rate that any memory has: they are to weigh something. */
static void expect(const struct pen_work_command *command, const struct pen_access *accesses, uint32_t count,
                   const struct pen_work_device *device, struct pen_place_option *option)
{
    if (command->opcode == PEN_OP_LAUNCH)
        expect_launch(command, device, option);
    else
        option->run_ns = count ? 1000 + (accesses[0].end - accesses[0].begin) / 8 : 1000;
}

/* The devices that a command may go to. */
struct choice {
    struct pen_place_option options[PEN_LIMIT_DEVICES];
    struct pen_work_lane *lanes[PEN_LIMIT_DEVICES];
    uint32_t count;
    const struct pen_work_domain *domain; /* whose devices are to wait for what is visited; NULL: all */
    const struct pen_work_task *awaited;  /* by those, already */
};

/* Is it done no later than another that runs where it does? */
static bool is_awaited(const struct choice *choice, const struct pen_work_task *wait)
{
    return choice->awaited && choice->awaited->lane == wait->lane &&
           choice->awaited->expected_end_ns >= wait->expected_end_ns;
}

/* When it is expected to be done, on each device: what another one does has to become known there first. */
static void await(struct choice *choice, const struct pen_work_task *wait)
{
    if (wait->node.state == PEN_GRAPH_DONE || is_awaited(choice, wait))
        return;
    choice->awaited = wait;
    for (uint32_t i = 0; i < choice->count; i++) {
        const struct pen_work_device *device = choice->lanes[i]->device;
        bool crosses = wait->lane && wait->lane->device != device;
        uint64_t at = wait->expected_end_ns + (crosses ? PEN_PLACE_CROSS_NS : 0);
        if ((!choice->domain || choice->domain == device->domain) && at > choice->options[i].ready_ns)
            choice->options[i].ready_ns = at;
    }
}

static void visit(void *context, const struct pen_hazard_node *before)
{
    await(context, pen_task_of_hazard(before));
}

static void await_in(struct choice *choice, const struct pen_work_domain *domain)
{
    choice->domain = domain;
    choice->awaited = NULL;
}

/* What the access would come after. All devices find that of a direct region in the same history, those of one driver
 * that of another: each history is looked at once. */
static void await_access(struct choice *choice, const struct pen_work_command *command, const struct pen_access *access)
{
    assert(choice->count);
    if (pen_region_is_direct(access->root)) {
        pen_move_visit(access, choice->lanes[0]->device, visit, choice);
        return;
    }
    for (uint32_t i = 0; i < choice->count; i++) {
        const struct pen_work_device *device = choice->lanes[i]->device;
        if (device->domain == choice->domain)
            continue;
        await_in(choice, device->domain);
        if (!access->fresh || !pen_move_overtakes(command, access, device))
            pen_move_visit(access, device, visit, choice);
    }
    await_in(choice, NULL);
}

static void await_all(struct choice *choice, const struct pen_work_command *command, const struct pen_access *accesses,
                      uint32_t count)
{
    for (uint32_t i = 0; i < command->wait_count; i++)
        await(choice, command->waits[i]);
    for (uint32_t i = count; i-- > 0;) /* what is written is the last, as a rule, and may wait for most */
        await_access(choice, command, &accesses[i]);
}

/* How long it takes until its data is valid there. */
static uint64_t bring_ns(const struct pen_access *accesses, uint32_t count, const struct pen_work_device *device)
{
    uint64_t ns = 0;
    for (uint32_t i = 0; i < count; i++)
        ns += pen_move_expected_ns(&accesses[i], device);
    return ns;
}

uint64_t pen_spread_missing(const struct pen_work_task *task)
{
    struct pen_access accesses[PEN_LIMIT_ARGUMENTS];
    uint32_t count = pen_command_accesses(task->command, accesses);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += pen_move_missing(&accesses[i], task->awaits);
    return bytes;
}

static void list_devices(struct choice *choice, const struct pen_work_command *command,
                         const struct pen_access *accesses, uint32_t count, uint64_t full)
{
    bool moves = pen_access_moves(accesses, count);
    uint64_t bring = 0;
    uint32_t lanes[PEN_LIMIT_DEVICES];
    choice->count = candidates(command, accesses, count, full, lanes);
    choice->domain = NULL;
    choice->awaited = NULL;
    for (uint32_t i = 0; i < choice->count; i++) {
        struct pen_work_lane *lane = &command->queue->lanes[lanes[i]];
        if (moves &&
            (!i || lane->device->domain != choice->lanes[i - 1]->device->domain)) /* all in one have the same */
            bring = bring_ns(accesses, count, lane->device);
        choice->lanes[i] = lane;
        choice->options[i] = (struct pen_place_option){.place = &lane->device->place, .bring_ns = bring};
        expect(command, accesses, count, lane->device, &choice->options[i]);
    }
}

/* What becomes of it there is to be learnt, if there is memory for that. */
static void note_kernel(const struct pen_work_command *command, struct pen_work_task *task)
{
    const struct pen_work_device *device = task->lane->device;
    task->kernel = command->u.launch.kernel;
    task->items = items_of(command);
    pen_kernel_ref(task->kernel);
    struct pen_work_instance *instance = pen_kernel_instance(task->kernel, device);
    if (instance && pen_kernel_instance(task->kernel, device->like))
        pen_code_give(&instance->code);
}

/* The lane on which it is expected to be done first, whatever there is of memory; NULL: all are full. */
static const struct pen_work_lane *best_lane(const struct pen_work_command *command, struct pen_work_task *task,
                                             const struct pen_access *accesses, uint32_t count, uint64_t full)
{
    struct choice choice;
    list_devices(&choice, command, accesses, count, full);
    if (!choice.count)
        return NULL;
    await_all(&choice, command, accesses, count);
    task->submitted_ns = pen_now_ns(); /* unless it is held there */
    uint32_t chosen = pen_place_choose(choice.options, choice.count, task->submitted_ns, &task->expected_end_ns);
    task->expected_run_ns = choice.options[chosen].load_ns + choice.options[chosen].run_ns;
    return choice.lanes[chosen];
}

int pen_spread_choose(struct pen_work_command *command, struct pen_work_task *task, const struct pen_access *accesses,
                      uint32_t count)
{
    const struct pen_work_lane *lane = NULL;
    uint64_t full = 0;
    int rc = -PEN_EDEVMEM;
    while (rc == -PEN_EDEVMEM && (lane = best_lane(command, task, accesses, count, full))) {
        if (!pen_place_has_room(&lane->device->place)) {
            task->awaits = lane->device;
            return PEN_SPREAD_LATER;
        }
        rc = pen_room_reserve(accesses, count, lane->device);
        full |= UINT64_C(1) << lane->device->domain->index;
    }
    if (rc)
        return rc;
    command->lane = task->lane = lane;
    pen_place_enter(&lane->device->place, task->expected_run_ns);
    note_load(lane->device);
    task->placed = true;
    if (command->opcode == PEN_OP_LAUNCH)
        note_kernel(command, task);
    return 0;
}

/* ---- what became of it ---------------------------------------------------------------------------------------- */

/* Of a device that has one command at a time, a command has begun when the one before it had ended. One that never ran
 * has no end. */
static void learn(struct pen_work_task *task)
{
    struct pen_work_device *device = task->lane->device;
    uint64_t *last_end_ns = &device->last_end_ns;
    uint64_t begun = task->submitted_ns > *last_end_ns ? task->submitted_ns : *last_end_ns;
    struct pen_work_instance *own = task->kernel ? instance_at(task->kernel, device) : NULL;
    struct pen_work_instance *first = task->kernel ? instance_at(task->kernel, device->like) : NULL;
    if (own && first && task->crosses && task->ended_ns)
        pen_code_ran_unseen(&own->code, &first->runs, task->items, task->ended_ns);
    else if (own && first && task->ended_ns > begun)
        pen_code_ran(&own->code, &first->runs, &device->like->loads, task->items, begun, task->ended_ns);
    if (task->ended_ns > *last_end_ns)
        *last_end_ns = task->ended_ns;
}

void pen_spread_left(struct pen_work_task *task)
{
    learn(task);
    if (task->began)
        pen_place_end(&task->lane->device->place, task->ended_ns);
    pen_place_leave(&task->lane->device->place, task->expected_run_ns);
    note_load(task->lane->device);
    if (task->kernel)
        pen_kernel_unref(task->kernel);
    task->kernel = NULL;
    task->placed = false;
}
