/* sched/place and mem/residency: what a graph that a device cannot do alone in time comes to, on two that have their
 * own memories: each does its part of it, and little is copied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mem/residency.h"
#include "sched/place.h"

enum { SIDE = 32, TILES = SIDE * SIDE, DEVICES = 2 };

/* A tile's command, by the tile that it writes. */
struct command {
    uint32_t device;
    bool started, done;
    uint64_t expected_ns, end_ns;
    uint64_t taken_ns[3]; /* to bring each input, once it is there */
};

/* Tiles by rows, each of which needs the one above and the one to the left of it, on two devices with memory of their
 * own, which take the oldest that is ready of what they were given. */
struct wavefront {
    uint64_t now_ns, run_ns, bring_ns; /* of a command; of a tile, from device to device */
    struct pen_place places[DEVICES];
    uint64_t free_ns[DEVICES];
    uint32_t given[DEVICES];
    uint64_t tiles[TILES]; /* replicas */
    struct command commands[TILES];
    uint32_t placed, copies;
};

static uint32_t inputs_of(uint32_t tile, uint32_t inputs[3])
{
    uint32_t count = 0;
    if (tile >= SIDE)
        inputs[count++] = tile - SIDE;
    if (tile % SIDE)
        inputs[count++] = tile - 1;
    inputs[count++] = tile;
    return count;
}

static struct pen_place_option option_on(struct wavefront *front, uint32_t device)
{
    struct pen_place_option option = {.place = &front->places[device], .run_ns = front->run_ns};
    uint32_t inputs[3], count = inputs_of(front->placed, inputs);
    for (uint32_t i = 0; i < count; i++) {
        const struct command *before = &front->commands[inputs[i]];
        uint64_t at = before->expected_ns + (before->device == device ? 0 : PEN_PLACE_CROSS_NS);
        if (inputs[i] != front->placed && !before->done && at > option.ready_ns)
            option.ready_ns = at;
        option.bring_ns += pen_replicas_have(front->tiles[inputs[i]], device) ? 0 : front->bring_ns;
    }
    return option;
}

/* By way of the host, as the worker does. How long it takes. */
static uint64_t bring(struct wavefront *front, uint32_t tile, uint32_t device)
{
    uint64_t *replicas = &front->tiles[tile];
    enum pen_move move;
    uint32_t from;
    uint64_t took = 0;
    while ((move = pen_replicas_next(*replicas, device, &from))) {
        *replicas |= UINT64_C(1) << (move == PEN_MOVE_TO_HOST ? PEN_REPLICA_HOST : device);
        front->copies++;
        took += front->bring_ns / 2;
    }
    return took;
}

static void submit(struct wavefront *front, uint32_t device)
{
    uint32_t tile = front->placed++, inputs[3], count = inputs_of(tile, inputs);
    struct command *command = &front->commands[tile];
    command->device = device;
    for (uint32_t i = 0; i < count; i++)
        command->taken_ns[i] = bring(front, inputs[i], device);
    front->tiles[tile] = UINT64_C(1) << device;
    pen_place_enter(&front->places[device], front->run_ns);
    front->given[device]++;
}

/* When it can begin; UINT64_MAX: not before another has ended. */
static uint64_t begin_of(const struct wavefront *front, uint32_t tile)
{
    const struct command *command = &front->commands[tile];
    uint32_t inputs[3], count = inputs_of(tile, inputs);
    uint64_t begin = front->free_ns[command->device] > front->now_ns ? front->free_ns[command->device] : front->now_ns;
    for (uint32_t i = 0; i < count; i++) {
        const struct command *before = &front->commands[inputs[i]];
        if (inputs[i] != tile && !before->started)
            return UINT64_MAX;
        uint64_t there = before->end_ns + command->taken_ns[i];
        begin = there > begin ? there : begin;
    }
    return begin;
}

/* The next thing that happens: one begins, or ends. */
static void go_on(struct wavefront *front)
{
    uint32_t next = TILES;
    uint64_t when = UINT64_MAX;
    for (uint32_t tile = 0; tile < front->placed; tile++) {
        const struct command *command = &front->commands[tile];
        uint64_t at = command->done ? UINT64_MAX : command->started ? command->end_ns : begin_of(front, tile);
        if (at < when) {
            when = at;
            next = tile;
        }
    }
    assert_int_not_equal(next, TILES);
    struct command *command = &front->commands[next];
    front->now_ns = when;
    if (command->started) {
        command->done = true;
        pen_place_end(&front->places[command->device], front->now_ns);
        pen_place_leave(&front->places[command->device], front->run_ns);
    } else {
        command->started = true;
        pen_place_begin(&front->places[command->device], front->now_ns);
        command->end_ns = front->free_ns[command->device] = when + front->run_ns;
    }
}

static void carry_out(struct wavefront *front)
{
    for (uint32_t i = 0; i < TILES; i++)
        front->tiles[i] = UINT64_C(1) << PEN_REPLICA_HOST;
    while (front->placed < TILES) {
        struct pen_place_option options[DEVICES];
        for (uint32_t device = 0; device < DEVICES; device++)
            options[device] = option_on(front, device);
        uint64_t *end = &front->commands[front->placed].expected_ns;
        uint32_t chosen = pen_place_choose(options, DEVICES, front->now_ns, end);
        if (pen_place_has_room(options[chosen].place))
            submit(front, chosen);
        else
            go_on(front);
    }
    while (!front->commands[TILES - 1].done)
        go_on(front);
}

/* Each device does its half of it, and what is copied is little more than every tile once and their border. */
static void test_wavefront(void **state)
{
    (void)state;
    static const uint64_t runs_ns[] = {10000, 20000, 50000, 100000};
    for (size_t i = 0; i < sizeof runs_ns / sizeof *runs_ns; i++) {
        struct wavefront front = {.run_ns = runs_ns[i], .bring_ns = 16384}; /* 64 KiB */
        carry_out(&front);
        print_message("runs of %u us: %u copies, %u and %u commands, %.2f of one device's time\n",
                      (uint32_t)(runs_ns[i] / 1000), front.copies, front.given[0], front.given[1],
                      (double)front.now_ns / (double)(TILES * runs_ns[i]));
        assert_in_range(front.copies, TILES, 1300);
        assert_in_range(front.now_ns, 0, TILES * runs_ns[i] * 2 / 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wavefront)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
