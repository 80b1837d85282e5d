/* bench/decision.c - what a decision of the scheduler costs in a session with 1,000 devices and 100,000 commands that
 * could go: sched's own code, with devices that are numbers. A device has done something; what is to go next, and
 * where? usage: decision     prints `decision NS`, and as `moved` the share of the inputs' bytes that were not where
 * they went */
#include <stdio.h>
#include <stdlib.h>

#include "sched/fleet.h"
#include "sched/place.h"
#include "sched/table.h"
#include "wire/futex.h"

enum { DEVICES = 1000, READY = 100000, KERNELS = 64, REGIONS = 4096, INPUTS = 3, DECISIONS = 500000, DEPTH = 2 };

struct task {
    struct pen_table_entry entry; /* the first member */
    uint32_t kernel, inputs[INPUTS];
    uint64_t run_ns;
};

struct device {
    struct pen_place place;
    uint64_t given[DEPTH]; /* run_ns of what it has, the oldest first */
};

static struct task tasks[READY];
static struct device devices[DEVICES];
static struct pen_device_set holders[REGIONS], code[KERNELS], all;
static struct pen_fleet fleet;
static struct pen_table table;
static uint64_t seed = 1, ticket, moved, used;

static uint32_t next_random(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((seed >> 33) % below);
}

static void note(uint32_t device)
{
    const struct pen_place *place = &devices[device].place;
    pen_fleet_note(&fleet, device, place->ahead_ns, place->flying < DEPTH);
}

static uint64_t bytes_of(uint32_t region)
{
    return UINT64_C(4096) << region % 8;
}

static uint64_t missing_at(const struct task *task, uint32_t device)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < INPUTS; i++)
        bytes += pen_device_set_has(&holders[task->inputs[i]], device) ? 0 : bytes_of(task->inputs[i]);
    return bytes;
}

static uint64_t missing(void *device, const struct pen_table_entry *entry)
{
    return missing_at((const struct task *)(const void *)entry, *(uint32_t *)device);
}

static bool add(struct task *task)
{
    *task = (struct task){.kernel = next_random(KERNELS), .run_ns = 50000 + next_random(100000)};
    for (uint32_t i = 0; i < INPUTS; i++)
        task->inputs[i] = next_random(REGIONS);
    return !pen_table_add(&table, &task->entry, (uint8_t)next_random(3), ++ticket);
}

/* It is written somewhere else now and then, so that not all is everywhere in the end. */
static void give(struct task *task, uint32_t device)
{
    struct device *to = &devices[device];
    for (uint32_t i = 0; i < INPUTS; i++) {
        struct pen_device_set *set = &holders[task->inputs[i]];
        used += bytes_of(task->inputs[i]);
        moved += pen_device_set_has(set, device) ? 0 : bytes_of(task->inputs[i]);
        if (!next_random(4))
            *set = (struct pen_device_set){{0}};
        pen_device_set_add(set, device);
    }
    pen_device_set_add(&code[task->kernel], device);
    to->given[to->place.flying] = task->run_ns;
    pen_place_enter(&to->place, task->run_ns);
    note(device);
}

static void finish_one(uint32_t device)
{
    struct device *its = &devices[device];
    uint64_t run_ns = its->given[0];
    its->given[0] = its->given[1];
    pen_place_leave(&its->place, run_ns);
    note(device);
}

/* False: there is none. */
static bool decide(uint32_t freed)
{
    struct pen_table_entry *entry = pen_table_best(&table, missing, &freed);
    if (!entry)
        return false;
    struct task *task = (struct task *)(void *)entry;
    struct pen_device_set theirs = {{0}};
    struct pen_place_option options[PEN_FLEET_CANDIDATES];
    uint32_t candidates[PEN_FLEET_CANDIDATES];
    uint64_t end_ns;
    pen_table_remove(&table, entry);
    for (uint32_t i = 0; i < INPUTS; i++)
        for (uint32_t word = 0; word < PEN_FLEET_WORDS; word++)
            theirs.words[word] |= holders[task->inputs[i]].words[word];
    uint32_t count = pen_fleet_candidates(&fleet, &all, &theirs, &code[task->kernel], candidates);
    for (uint32_t i = 0; i < count; i++)
        options[i] = (struct pen_place_option){.place = &devices[candidates[i]].place,
                                               .bring_ns = missing_at(task, candidates[i]) / 4,
                                               .run_ns = task->run_ns};
    if (!count)
        return false;
    give(task, candidates[pen_place_choose(options, count, 0, &end_ns)]);
    return add(task);
}

int main(void)
{
    pen_fleet_init(&fleet, 1);
    for (uint32_t i = 0; i < DEVICES; i++) {
        pen_device_set_add(&all, i);
        note(i);
    }
    for (uint32_t i = 0; i < REGIONS; i++)
        pen_device_set_add(&holders[i], next_random(DEVICES));
    bool good = true;
    for (uint32_t i = 0; i < READY && good; i++)
        good = add(&tasks[i]);
    for (uint32_t i = 0; i < DEVICES * DEPTH && good; i++)
        good = decide(i % DEVICES);
    moved = used = 0;
    uint64_t begin = pen_now_ns();
    for (uint32_t i = 0; i < DECISIONS && good; i++) {
        uint32_t device = next_random(DEVICES);
        if (!devices[device].place.flying)
            continue;
        finish_one(device);
        good = decide(device);
    }
    if (!good) {
        fputs("decision: nothing could be decided\n", stderr);
        return 1;
    }
    printf("decision %.1f\nmoved %.4f\n", (double)(pen_now_ns() - begin) / DECISIONS, (double)moved / (double)used);
    pen_table_finish(&table);
    return 0;
}
