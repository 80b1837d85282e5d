/* scenario/random_plan.c - what operations wait for, so that a part of a program has one result. See random_program.h.
 */
#include "random_program.h"

#include <string.h>

struct access {
    struct random_range range;
    uint32_t since; /* the operation that made the buffer; NONE: it was there from the beginning */
};

struct planner {
    const struct random_program *program;
    struct random_step *steps;
    struct random_set known;                      /* complete, and the program knows it */
    struct random_set opened;                     /* gates */
    struct random_set enqueued;                   /* commands */
    struct random_set all[MOST_QUEUES];           /* commands of a queue, and what was complete before them */
    struct random_set barrier[MOST_QUEUES];       /* what is complete before any later command of the queue */
    uint32_t gates[MOST_SLOTS], maps[MOST_SLOTS]; /* open; or NONE */
    uint32_t made[MOST_BUFFERS];
    struct access accesses[MOST_LISTED][2];
};

bool random_is_kernel(enum random_kind kind)
{
    return kind <= RANDOM_MIX;
}

bool random_is_queued(enum random_kind kind)
{
    return kind <= RANDOM_BARRIER;
}

bool random_is_awaited(const struct random_operation *operation)
{
    return operation->blocking &&
           (operation->kind == RANDOM_READ || operation->kind == RANDOM_READ_RECT || operation->kind == RANDOM_MAP);
}

/* ---- what touches what --------------------------------------------------------------------------------------- */

static struct random_range range(const struct random_program *program, uint32_t object, uint32_t at, uint32_t size,
                                 bool writes)
{
    uint32_t begin = program->origins[object] + at;
    return (struct random_range){program->parents[object], begin, begin + size, writes};
}

static uint32_t extent(const struct random_operation *operation, uint32_t pitch)
{
    return operation->rows ? (operation->rows - 1) * pitch + operation->size : operation->size;
}

void random_touches(const struct random_program *program, uint32_t index, struct random_range out[2])
{
    const struct random_operation *operation = &program->operations[index];
    bool reads = operation->kind == RANDOM_READ || operation->kind == RANDOM_READ_RECT ||
                 (operation->kind == RANDOM_MAP && !operation->writes);
    out[0].buffer = out[1].buffer = NONE;
    if (operation->kind > RANDOM_MAP)
        return;
    if (operation->kind == RANDOM_MAP) /* what is mapped for the program is all of it (OpenCL 3.0, 5.5.3) */
        out[0] = (struct random_range){program->parents[operation->target], 0, MOST_BYTES, !reads};
    else
        out[0] = range(program, operation->target, operation->at, extent(operation, operation->pitch), !reads);
    if (operation->source != operation->target)
        out[1] = range(program, operation->source, operation->from, extent(operation, operation->from_pitch), false);
}

static bool collide(const struct access *a, const struct access *b)
{
    return a->range.buffer != NONE && a->range.buffer == b->range.buffer && a->since == b->since &&
           (a->range.writes || b->range.writes) && a->range.begin < b->range.end && b->range.begin < a->range.end;
}

static bool conflict(const struct planner *planner, uint32_t one, uint32_t other)
{
    for (int i = 0; i < 4; i++)
        if (collide(&planner->accesses[one][i & 1], &planner->accesses[other][i >> 1]))
            return true;
    return false;
}

/* ---- order --------------------------------------------------------------------------------------------------- */

static void wait_for(struct planner *planner, struct random_step *step, uint32_t other)
{
    random_add(&step->waits, other);
    random_add(&step->before, other);
    random_join(&step->before, &planner->steps[other].before);
    planner->steps[other].event = true;
}

/* The program may wait until these are complete. */
static void open_gates(struct planner *planner, struct random_step *step, const struct random_set *until)
{
    for (uint32_t i = 0; i < planner->program->count; i++)
        if (random_in(until, i) && planner->program->operations[i].kind == RANDOM_GATE &&
            !random_in(&planner->opened, i)) {
            random_add(&step->opens, i);
            random_add(&planner->opened, i);
        }
}

/* It waits until these are complete, and knows it then. */
static void block(struct planner *planner, struct random_step *step, const struct random_set *until)
{
    open_gates(planner, step, until);
    random_join(&planner->known, until);
}

static struct random_set with_before(const struct planner *planner, uint32_t index)
{
    struct random_set all = planner->steps[index].before;
    random_add(&all, index);
    return all;
}

static void note_accesses(struct planner *planner, uint32_t index)
{
    struct random_range ranges[2];
    random_touches(planner->program, index, ranges);
    for (int i = 0; i < 2; i++) {
        uint32_t buffer = ranges[i].buffer;
        planner->accesses[index][i] = (struct access){ranges[i], buffer == NONE ? NONE : planner->made[buffer]};
    }
}

/* A buffer that the program has mapped is its own: nobody changes it, and nobody reads what it may be changing. */
static bool is_mapped(const struct planner *planner, uint32_t index)
{
    for (uint32_t i = 0; i < MOST_SLOTS; i++)
        if (planner->maps[i] != NONE && conflict(planner, index, planner->maps[i]))
            return true;
    return false;
}

/* A command: what it waits for because it says so, then because of bytes. */
static void enqueue(struct planner *planner, uint32_t index)
{
    const struct random_operation *operation = &planner->program->operations[index];
    struct random_step *step = &planner->steps[index];
    uint32_t queue = operation->queue;
    bool in_order = planner->program->in_order[queue];
    step->before = planner->known;
    random_join(&step->before, in_order ? &planner->all[queue] : &planner->barrier[queue]);
    if (operation->also != NONE && random_in(&planner->enqueued, operation->also))
        wait_for(planner, step, operation->also);
    for (uint32_t i = 0; i < MOST_SLOTS; i++)
        if (operation->gates >> i & 1 && planner->gates[i] != NONE)
            wait_for(planner, step, planner->gates[i]);
    bool waits = memcmp(&step->waits, &(struct random_set){0}, sizeof step->waits) != 0;
    for (uint32_t other = index; other-- > 0;)
        if (random_in(&planner->enqueued, other) && !random_in(&step->before, other) && conflict(planner, index, other))
            wait_for(planner, step, other);
    if (!waits && (operation->kind == RANDOM_MARKER || operation->kind == RANDOM_BARRIER))
        random_join(&step->before, &planner->all[queue]);
    step->event |= operation->event || operation->callback;
    random_add(&planner->enqueued, index);
    random_join(&planner->all[queue], &step->before);
    random_add(&planner->all[queue], index);
    if (operation->kind == RANDOM_BARRIER) {
        random_join(&planner->barrier[queue], &step->before);
        random_add(&planner->barrier[queue], index);
    }
}

/* ---- operations ---------------------------------------------------------------------------------------------- */

static bool plan_unmap(struct planner *planner, uint32_t index)
{
    const struct random_operation *operation = &planner->program->operations[index];
    uint32_t map = planner->maps[operation->slot];
    if (map == NONE)
        return false;
    struct random_set until = with_before(planner, map);
    block(planner, &planner->steps[index], &until);
    planner->maps[operation->slot] = NONE;
    memcpy(planner->accesses[index], planner->accesses[map], sizeof planner->accesses[map]);
    enqueue(planner, index);
    return true;
}

static bool plan_command(struct planner *planner, uint32_t index)
{
    const struct random_operation *operation = &planner->program->operations[index];
    note_accesses(planner, index);
    if (is_mapped(planner, index) || (operation->kind == RANDOM_MAP && planner->maps[operation->slot] != NONE))
        return false;
    enqueue(planner, index);
    if (operation->kind == RANDOM_MAP) {
        planner->maps[operation->slot] = index;
        planner->steps[index].event = true;
    }
    struct random_set until = with_before(planner, index);
    if (random_is_awaited(operation))
        block(planner, &planner->steps[index], &until);
    else if (operation->blocking) /* a write is done with the program's bytes then, and perhaps with nothing else */
        open_gates(planner, &planner->steps[index], &until);
    return true;
}

static bool plan_gate(struct planner *planner, uint32_t index)
{
    uint32_t *gate = &planner->gates[planner->program->operations[index].slot];
    if (*gate != NONE && !random_in(&planner->opened, *gate))
        return false;
    *gate = index;
    planner->steps[index].event = true;
    return true;
}

static bool plan_open(struct planner *planner, uint32_t index)
{
    uint32_t gate = planner->gates[planner->program->operations[index].slot];
    if (gate == NONE || random_in(&planner->opened, gate))
        return false;
    random_add(&planner->steps[index].opens, gate);
    random_add(&planner->opened, gate);
    random_add(&planner->known, gate);
    return true;
}

static bool plan_wait(struct planner *planner, uint32_t index)
{
    uint32_t other = planner->program->operations[index].also;
    if (other == NONE || !random_in(&planner->enqueued, other))
        return false;
    planner->steps[other].event = true;
    struct random_set until = with_before(planner, other);
    block(planner, &planner->steps[index], &until);
    return true;
}

static bool plan_renew(struct planner *planner, uint32_t index)
{
    uint32_t buffer = planner->program->operations[index].target;
    for (uint32_t i = 0; i < MOST_SLOTS; i++)
        if (planner->maps[i] != NONE && planner->accesses[planner->maps[i]][0].range.buffer == buffer)
            return false;
    planner->made[buffer] = index;
    return true;
}

/* False: it makes no sense where it is. */
static bool plan_operation(struct planner *planner, uint32_t index)
{
    switch (planner->program->operations[index].kind) {
    case RANDOM_UNMAP:
        return plan_unmap(planner, index);
    case RANDOM_GATE:
        return plan_gate(planner, index);
    case RANDOM_OPEN:
        return plan_open(planner, index);
    case RANDOM_WAIT:
        return plan_wait(planner, index);
    case RANDOM_FINISH:
        block(planner, &planner->steps[index], &planner->all[planner->program->operations[index].queue]);
        return true;
    case RANDOM_RENEW:
        return plan_renew(planner, index);
    case RANDOM_FLUSH:
    case RANDOM_LOOK:
        return true;
    default:
        return plan_command(planner, index);
    }
}

void random_plan(const struct random_program *program, const struct random_set *part,
                 struct random_step steps[MOST_LISTED])
{
    struct planner planner = {.program = program, .steps = steps};
    for (uint32_t i = 0; i < MOST_SLOTS; i++)
        planner.gates[i] = planner.maps[i] = NONE;
    for (uint32_t i = 0; i < MOST_BUFFERS; i++)
        planner.made[i] = NONE;
    memset(steps, 0, program->count * sizeof *steps);
    for (uint32_t i = 0; i < program->count; i++)
        steps[i].left_out = !random_in(part, i) || !plan_operation(&planner, i);
}
