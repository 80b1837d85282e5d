/* Queues of a device that spans others: what the program sees is what one device would have done, in the order that it
 * would have done it in; and commands that have nothing to do with each other run at the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"

enum {
    Q = 10,
    OTHER = 11,
    P = 20,
    BOUND = 21,
    SLEEP = 30,
    MIX,
    PRINT,
    FILL,
    NOP,
    HOLD,
    HOLD_FIRST,
    R = 50,
    S = 70,
    E = 1000
};
#define BUFFERS 6u
#define WORDS   64u
#define AT(n_)  ((n_)*4096u)
#define BACK    (UINT64_C(1) << 20)

static void prepare(struct rig *rig, const struct rig_options *options, uint32_t queue_flags)
{
    rig_start(rig, options);
    rig_program(rig, P,
                "kernel sleep(value ms)\nkernel mix(global to, global from, value word)\nkernel nop()\n"
                "kernel fill(global to, value word)\nkernel hold()\n");
    assert_int_equal(rig_build(rig, P, 1), 0);
    rig_kernel(rig, SLEEP, P, "sleep");
    rig_kernel(rig, MIX, P, "mix");
    rig_kernel(rig, NOP, P, "nop");
    rig_kernel(rig, HOLD, P, "hold");
    rig_kernel(rig, FILL, P, "fill");
    rig_queue(rig, Q, 1, queue_flags, 0);
}

static void is_queued(struct rig *rig, uint32_t slot)
{
    atomic_store(&rig->view.slots[slot].state, PEN_STATE_QUEUED);
}

static void send_sleep(struct rig *rig, uint32_t ms, uint64_t event, uint32_t slot, const uint64_t *waits,
                       uint32_t count)
{
    rig_set_word(rig, SLEEP, 0, ms);
    rig_launch(rig, Q, SLEEP, 1, event, slot, waits, count);
}

static void send_mix(struct rig *rig, uint64_t queue, uint64_t to, uint64_t from, uint32_t word, uint64_t event,
                     uint32_t slot, const uint64_t *waits, uint32_t count)
{
    rig_set_region(rig, MIX, 0, to);
    rig_set_region(rig, MIX, 1, from);
    rig_set_word(rig, MIX, 2, word);
    rig_launch(rig, queue, MIX, WORDS, event, slot, waits, count);
}

/* Two commands of one in-order queue that share nothing run side by side; the second, which is done first, is not seen
 * to be complete before the first. */
static void test_independent_commands_overlap(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true}, 0);
    uint64_t begin = pen_now_ns();
    send_sleep(&rig, 900, E, 1, NULL, 0);
    send_sleep(&rig, 300, E + 1, 2, NULL, 0);
    usleep(600000);
    assert_true(rig_slot(&rig, 2) > 0);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    assert_int_equal(rig_slot(&rig, 1), PEN_STATE_COMPLETE);
    assert_true(pen_now_ns() - begin < 1190000000);
    rig_stop(&rig);
}

/* Profiling tells the same tale: no command has begun before the one before it had ended. */
static void test_times_are_in_order(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true}, PEN_QUEUE_FLAG_PROFILING);
    for (uint32_t i = 0; i < 4; i++)
        send_sleep(&rig, 40 - 10 * i, E + i, 1 + i, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    for (uint32_t i = 1; i < 4; i++)
        assert_true(rig.view.times[1 + i].started >= rig.view.times[i].ended);
    rig_stop(&rig);
}

/* Members that are the same are built for at once: a span's build takes no longer than one member's. */
static void test_members_share_a_build(void **state)
{
    (void)state;
    const uint64_t one = 1, from = P + 1;
    struct rig rig;
    struct pen_msg_built built;
    prepare(&rig, &(struct rig_options){.domains = 3, .span = true, .shared = true}, 0);
    assert_int_equal(rig_asked.builds, 1);
    assert_int_equal(rig_asked.built_devices, 3);
    for (uint32_t i = 0; i < 3; i++)
        send_sleep(&rig, 20, E + i, 1 + i, NULL, 0); /* on all of them */
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_int_equal(rig_build(&rig, P, 1), 0);
    assert_int_equal(rig_asked.builds, 1); /* it was kept, for all */

    rig_program(&rig, P + 1, "kernel nop()\n");
    RIG_SEND(&rig, program_build, .program = P + 1, .step = PEN_BUILD_STEP_COMPILE, .devices = &one,
             .devices_count = 1);
    RIG_SEND(&rig, program_build, .program = P + 2, .step = PEN_BUILD_STEP_LINK, .devices = &one, .devices_count = 1,
             .inputs = &from, .inputs_count = 1);
    for (int i = 0; i < 2; i++) {
        rig_answer(&rig, PEN_OP_BUILT);
        assert_int_equal(pen_msg_built_decode(rig.frame.data, rig.frame.size, &rig.scratch, &built), 0);
        assert_int_equal(built.status, 0);
    }
    rig_answer(&rig, PEN_OP_KERNEL_INFO);
    assert_int_equal(rig_asked.builds, 3);
    assert_int_equal(rig_asked.built_devices, 9);

    struct pen_msg_data data; /* and a binary */
    RIG_SEND(&rig, program_binary, .program = P, .device = 1);
    rig_answer(&rig, PEN_OP_DATA);
    assert_int_equal(pen_msg_data_decode(rig.frame.data, rig.frame.size, &rig.scratch, &data), 0);
    memcpy(rig.arena + AT(0), data.part.data, data.part.size);
    RIG_SEND(&rig, program_create, .program = P + 3, .kind = PEN_PROGRAM_KIND_NATIVE, .device = 1,
             .text = {AT(0), data.part.size});
    assert_int_equal(rig_build(&rig, P + 3, 1), 0);
    assert_int_equal(rig_asked.builds, 4);
    assert_int_equal(rig_asked.built_devices, 12);
    rig_stop(&rig);

    prepare(&rig, &(struct rig_options){.domains = 2, .span = true}, 0);
    assert_int_equal(rig_asked.builds, 2); /* they are not of one driver */
    rig_stop(&rig);
}

/* What the program is told of a build is what the first member says for which it failed. */
static void test_a_member_refuses_a_build(void **state)
{
    (void)state;
    const char *const faults[] = {"1", "2", "3"};
    const uint64_t one = 1;
    for (size_t i = 0; i < 3; i++) {
        struct rig rig;
        struct pen_msg_built built;
        struct pen_msg_data log;
        rig_start(&rig, &(struct rig_options){.domains = 3, .span = true, .shared = true, .unbuilt = faults[i]});
        rig_program(&rig, P, "kernel nop()\n");
        RIG_SEND(&rig, program_build, .program = P, .devices = &one, .devices_count = 1, .options = "");
        rig_answer(&rig, PEN_OP_BUILT);
        assert_int_equal(pen_msg_built_decode(rig.frame.data, rig.frame.size, &rig.scratch, &built), 0);
        assert_int_equal(built.status, -PEN_EBUILD);
        assert_int_equal(built.results_count, 1);
        assert_int_equal(built.results[0].outcome, PEN_BUILD_OUTCOME_FAILED);
        assert_int_equal(built.results[0].binary_type, 0);
        assert_true(built.results[0].log_bytes);
        rig_answer(&rig, PEN_OP_DATA);
        assert_int_equal(pen_msg_data_decode(rig.frame.data, rig.frame.size, &rig.scratch, &log), 0);
        assert_non_null(memmem(log.part.data, log.part.size, "this device", strlen("this device")));
        assert_int_equal(rig_asked.built_devices, 3);
        rig_stop(&rig);
    }
}

/* The same as of builds, of what our cache gives back. */
static void test_members_load_their_builds(void **state)
{
    (void)state;
    struct rig rig;
    char dir[] = "/tmp/penstock-test-cache-XXXXXX", command[64];
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 2; i++) {
        prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true, .cache_dir = dir}, 0);
        assert_int_equal(rig_asked.builds, 1);
        assert_int_equal(rig_asked.built_devices, 2);
        assert_int_equal(rig.crash->build_hits, i);
        rig_stop(&rig);
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

/* A program's own event holds up what comes after it in its queue, and no other queue, though that works on the same
 * memory: what the program has not ordered is not ordered. */
static void test_a_gate(void **state)
{
    (void)state;
    const uint64_t gate = E;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true}, 0);
    rig_queue(&rig, OTHER, 1, 0, 1);
    rig_buffer(&rig, R, AT(0), WORDS, true);
    rig_buffer(&rig, R + 1, AT(1), WORDS, true);
    memset(rig.arena, 0, AT(2));
    is_queued(&rig, 1);
    RIG_SEND(&rig, event_create, .event = gate, .slot = 1);
    send_mix(&rig, Q, R, R + 1, 1, E + 1, 2, &gate, 1);
    send_mix(&rig, Q, R + 1, R + 1, 5, E + 2, 3, NULL, 0);
    send_mix(&rig, OTHER, R, R, 3, E + 3, 4, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    usleep(20000);
    assert_true(rig_slot(&rig, 2) > 0);
    assert_true(rig_slot(&rig, 3) > 0);
    assert_int_equal(*(uint32_t *)(void *)rig.arena, 3);
    assert_int_equal(*(uint32_t *)(void *)(rig.arena + AT(1)), 0); /* it comes after the gate, too */
    RIG_SEND(&rig, event_set, .event = gate, .status = 0);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_int_equal(rig_slot(&rig, 2), PEN_STATE_COMPLETE);
    assert_int_equal(*(uint32_t *)(void *)rig.arena, 3 * 1664525 + 1);
    rig_stop(&rig);
}

/* Another queue's command that waits for the last of an in-order queue comes after all of that queue. */
static void test_another_queue_waits(void **state)
{
    (void)state;
    const uint64_t last = E + 2;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 3, .span = true, .shared = true}, 0);
    rig_queue(&rig, OTHER, 1, 0, 1);
    send_sleep(&rig, 100, E + 1, 1, NULL, 0);
    rig_launch(&rig, Q, NOP, 1, last, 2, NULL, 0);
    rig_launch(&rig, OTHER, NOP, 1, E + 3, 3, &last, 1);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_int_equal(rig_slot(&rig, 1), PEN_STATE_COMPLETE);
    rig_stop(&rig);
}

/* Without order, a barrier alone orders; a marker waits for all. */
static void test_barrier(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true}, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    send_sleep(&rig, 100, E, 1, NULL, 0);
    is_queued(&rig, 2);
    RIG_SEND(&rig, barrier, .queue = Q, .event = E + 1, .slot = 2);
    rig_launch(&rig, Q, NOP, 1, E + 2, 3, NULL, 0);
    is_queued(&rig, 4);
    RIG_SEND(&rig, marker, .queue = Q, .event = E + 3, .slot = 4);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_int_equal(rig_slot(&rig, 1), PEN_STATE_COMPLETE);
    assert_int_equal(rig_slot(&rig, 2), PEN_STATE_COMPLETE);
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    rig_stop(&rig);
}

/* More than its devices are given at a time: the rest waits, and all is done. */
static void test_many(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true}, 0);
    rig_buffer(&rig, R, AT(0), WORDS, true);
    memset(rig.arena, 0, AT(1));
    uint32_t expected = 0;
    for (uint32_t i = 0; i < 20 * PEN_PLACE_AHEAD; i++) {
        send_mix(&rig, Q, R, R, i, 0, 0, NULL, 0);
        expected = expected * 1664525 + expected + i;
    }
    rig_wait_queue(&rig, 0, rig.sequence);
    assert_int_equal(*(uint32_t *)(void *)rig.arena, expected);
    rig_stop(&rig);
}

/* What is ready last, in a queue of a higher priority, waits for what the devices have been given, and for no more. All
 * are there when the first goes: they wait for an event of the program's, and that one for the last that the devices
 * are given at once. */
static void test_priorities(void **state)
{
    (void)state;
    enum { MANY = 20 };
    const uint64_t gate = E + 1, given = E + 2 + 3;
    struct rig rig;
    uint32_t done = 0;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true}, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    RIG_SEND(&rig, queue_create, .queue = OTHER, .device = 1, .flags = PEN_QUEUE_FLAG_OUT_OF_ORDER, .slot = 1,
             .priority = PEN_HINT_HIGH);
    send_sleep(&rig, 20, E, 1, NULL, 0); /* how long they run is known from then on */
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    is_queued(&rig, 1);
    RIG_SEND(&rig, event_create, .event = gate, .slot = 1);
    for (uint32_t i = 0; i < MANY; i++)
        send_sleep(&rig, 20, E + 2 + i, 2 + i, &gate, 1);
    rig_launch(&rig, OTHER, SLEEP, 1, E + 2 + MANY, 2 + MANY, &given, 1);
    RIG_SEND(&rig, event_set, .event = gate, .status = 0);
    assert_int_equal(rig_wait_slot(&rig, 2 + MANY), 0);
    for (uint32_t i = 0; i < MANY; i++)
        done += rig_slot(&rig, 2 + i) == PEN_STATE_COMPLETE;
    assert_in_range(done, 1, MANY / 2);
    assert_int_equal(rig_slot(&rig, 2), PEN_STATE_COMPLETE); /* the oldest was among them */
    rig_stop(&rig);
}

/* One that fails, fails alone; what names its event carries the error, what only came after it does not. */
static void test_failure(void **state)
{
    (void)state;
    const char *const faults[] = {"launch:2", "launch:2:late"};
    for (size_t i = 0; i < 2; i++) {
        const uint64_t bad = E + 1;
        struct rig rig;
        prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true, .fail = faults[i]}, 0);
        send_sleep(&rig, 50, E, 1, NULL, 0);
        rig_launch(&rig, Q, NOP, 1, bad, 2, NULL, 0);
        rig_launch(&rig, Q, NOP, 1, E + 2, 3, &bad, 1);
        rig_launch(&rig, Q, NOP, 1, E + 3, 4, NULL, 0);
        assert_true(rig_wait_slot(&rig, 2) < 0);
        assert_int_equal(rig_slot(&rig, 1), PEN_STATE_COMPLETE);
        assert_int_equal(rig_wait_slot(&rig, 4), 0);
        assert_true(rig_slot(&rig, 3) < 0);
        rig_stop(&rig);
    }
}

/* The session ends while commands wait for what will never be. */
static void test_end_with_held_commands(void **state)
{
    (void)state;
    const uint64_t gate = E;
    for (uint32_t flags = 0; flags <= PEN_QUEUE_FLAG_OUT_OF_ORDER; flags += PEN_QUEUE_FLAG_OUT_OF_ORDER) {
        struct rig rig;
        prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true}, flags);
        rig_buffer(&rig, R, AT(0), WORDS, true);
        is_queued(&rig, 1);
        RIG_SEND(&rig, event_create, .event = gate, .slot = 1);
        send_mix(&rig, Q, R, R, 1, E + 1, 2, NULL, 0);
        send_mix(&rig, Q, R, R, 1, E + 2, 3, &gate, 1);
        send_mix(&rig, Q, R, R, 1, E + 3, 4, NULL, 0);
        assert_int_equal(rig_wait_slot(&rig, 2), 0);
        rig_stop(&rig);
    }
}

/* One that is done waits to be published behind one that waits for another driver: the session's end waits for neither.
 */
static void test_end_with_unpublished_commands(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .indirect = true}, 0);
    for (uint32_t i = 0; i < 3; i++)
        rig_buffer(&rig, R + i, AT(i), WORDS, true);
    send_mix(&rig, Q, R, R, 1, E, 1, NULL, 0);
    send_mix(&rig, Q, R + 1, R + 1, 1, E + 1, 2, NULL, 0);
    send_sleep(&rig, 200, E + 2, 3, NULL, 0);
    send_sleep(&rig, 200, E + 3, 4, NULL, 0);
    send_mix(&rig, Q, R, R + 1, 1, E + 4, 5, NULL, 0);
    send_mix(&rig, Q, R + 2, R + 2, 1, E + 5, 6, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    uint64_t begin = pen_now_ns();
    rig_stop(&rig);
    assert_true(pen_now_ns() - begin < UINT64_C(2000000000));
}

/* Far more than the devices take, and each of them large: the ring waits, and the session does not end of it. */
static void test_much_more_than_room(void **state)
{
    (void)state;
    enum { WAITS = 2000, COMMANDS = 20000 };
    static uint64_t waits[WAITS];
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true}, 0);
    rig_launch(&rig, Q, NOP, 1, E, 1, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    for (uint32_t i = 0; i < WAITS; i++)
        waits[i] = E;
    for (uint32_t i = 0; i < COMMANDS; i++)
        rig_launch(&rig, Q, NOP, 1, 0, 0, waits, WAITS);
    uint64_t deadline = pen_now_ns() + UINT64_C(60000000000);
    while (atomic_load_explicit(&rig.view.queues[0].completed, memory_order_acquire) < rig.sequence) {
        assert_false(atomic_load(&rig.view.shared->gone));
        assert_true(pen_now_ns() < deadline);
        usleep(1000);
    }
    rig_stop(&rig);
}

/* ---- random programs against a model ------------------------------------------------------------------------ */

struct model {
    uint32_t words[BUFFERS][WORDS];
    uint64_t random;
    uint32_t commands;
    uint64_t last; /* event of the command before; without order each waits for it */
};

static uint32_t pick(struct model *model, uint32_t below)
{
    model->random = model->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(model->random >> 33) % below;
}

/* A kernel over a buffer, or over the second half of it by a slice. */
static void random_mix(struct rig *rig, struct model *model, uint64_t event, uint32_t slot, const uint64_t *waits)
{
    uint32_t to = pick(model, BUFFERS), from = pick(model, BUFFERS), word = pick(model, 1000);
    bool half = pick(model, 3) == 0;
    uint32_t first = half ? WORDS / 2 : 0;
    send_mix(rig, Q, (half ? S : R) + to, (half ? S : R) + from, word, event, slot, waits, waits != NULL);
    for (uint32_t i = first; i < WORDS; i++)
        model->words[to][i] = model->words[to][i] * 1664525 + model->words[from][i] + word;
}

static void random_copy(struct rig *rig, struct model *model, uint64_t event, uint32_t slot, const uint64_t *waits)
{
    uint32_t to = pick(model, BUFFERS), from = pick(model, BUFFERS), count = 1 + pick(model, WORDS / 2);
    uint32_t at = pick(model, WORDS / 2 - count + 1), source = WORDS / 2 + pick(model, WORDS / 2 - count + 1);
    is_queued(rig, slot);
    RIG_SEND(rig, copy, .queue = Q, .event = event, .slot = slot, .source = R + from, .target = R + to,
             .source_box = {.origin = {source * 4}}, .target_box = {.origin = {at * 4}}, .extent = {count * 4, 1, 1},
             .waits = waits, .waits_count = waits != NULL);
    memmove(&model->words[to][at], &model->words[from][source], count * 4);
}

static void random_fill(struct rig *rig, struct model *model, uint64_t event, uint32_t slot, const uint64_t *waits)
{
    uint32_t to = pick(model, BUFFERS), word = pick(model, 1000), count = 1 + pick(model, WORDS);
    uint32_t at = pick(model, WORDS - count + 1);
    is_queued(rig, slot);
    RIG_SEND(rig, fill, .queue = Q, .event = event, .slot = slot, .region = R + to, .origin = {at * 4},
             .extent = {count * 4, 1, 1}, .pattern = {&word, 4}, .waits = waits, .waits_count = waits != NULL);
    for (uint32_t i = at; i < at + count; i++)
        model->words[to][i] = word;
}

static void random_marker(struct rig *rig, struct model *model, uint64_t event, uint32_t slot, const uint64_t *waits)
{
    is_queued(rig, slot);
    if (pick(model, 2))
        RIG_SEND(rig, marker, .queue = Q, .event = event, .slot = slot, .waits = waits, .waits_count = waits != NULL);
    else
        RIG_SEND(rig, barrier, .queue = Q, .event = event, .slot = slot, .waits = waits, .waits_count = waits != NULL);
}

static void check_order(struct rig *rig, uint32_t commands)
{
    bool complete = false;
    for (uint32_t slot = commands; slot >= 1; slot--) {
        int state = rig_slot(rig, slot);
        assert_true(!complete || state == PEN_STATE_COMPLETE);
        complete = complete || state == PEN_STATE_COMPLETE;
    }
}

/* Every other one is made for kernels to read only; that they write to it all the same is no less ordered, as no driver
 * minds. With a slice of it. */
static void make_buffer(struct rig *rig, uint32_t i)
{
    uint32_t flags = PEN_REGION_FLAG_KERNEL_READS;
    if (i % 2)
        flags |= PEN_REGION_FLAG_KERNEL_WRITES;
    if (rig->features & PEN_FEATURE_DIRECT)
        flags |= PEN_REGION_FLAG_DIRECT;
    RIG_SEND(rig, region_create, .region = R + i, .size = WORDS * 4, .arena_offset = AT(i), .flags = flags,
             .initialized = true);
    RIG_SEND(rig, region_slice, .region = S + i, .parent = R + i, .offset = WORDS * 2, .size = WORDS * 2,
             .flags = flags);
}

static void run_random(uint64_t seed, const struct rig_options *options, bool ordered)
{
    struct rig rig;
    struct model model = {.random = seed};
    prepare(&rig, options, ordered ? 0 : PEN_QUEUE_FLAG_OUT_OF_ORDER);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        for (uint32_t w = 0; w < WORDS; w++)
            model.words[i][w] = pick(&model, 1000000);
        memcpy(rig.arena + AT(i), model.words[i], sizeof model.words[i]);
        make_buffer(&rig, i);
    }
    uint32_t commands = 40 + pick(&model, 100);
    for (uint32_t slot = 1; slot <= commands; slot++) {
        uint64_t event = E + slot, before = event - 1;
        const uint64_t *waits = slot > 1 && (!ordered || pick(&model, 4) == 0) ? &before : NULL;
        uint32_t what = pick(&model, 10);
        if (what < 6)
            random_mix(&rig, &model, event, slot, waits);
        else if (what < 8)
            random_copy(&rig, &model, event, slot, waits);
        else if (what < 9)
            random_fill(&rig, &model, event, slot, waits);
        else
            random_marker(&rig, &model, event, slot, waits);
        if (ordered && slot % 16 == 0)
            check_order(&rig, slot);
    }
    assert_int_equal(rig_wait_slot(&rig, commands), 0);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        assert_int_equal(rig_read(&rig, Q, R + i, WORDS, BACK), 0);
        if (memcmp(rig.arena + BACK, model.words[i], sizeof model.words[i]))
            fail_msg("seed %llu: buffer %u differs (%u devices%s%s%s)", (unsigned long long)seed, i, options->domains,
                     options->shared ? ", one domain" : "", options->indirect ? ", memory of their own" : "",
                     ordered ? "" : ", no order");
    }
    rig_stop(&rig);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        char jitter[32];
        snprintf(jitter, sizeof jitter, "%llu", seed % 2 ? (unsigned long long)seed : 0);
        const struct rig_options options = {.domains = seed % 12 ? 1 + (uint32_t)(seed % 4) : RIG_DOMAINS,
                                            .span = true,
                                            .shared = seed / 4 % 2,
                                            .indirect = seed / 8 % 2,
                                            .seed = jitter};
        run_random(seed, &options, seed % 5 != 0);
    }
}

/* Each driver has memory for two or three of the six buffers. */
static void test_random_with_little_memory(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 48; seed++) {
        char jitter[32];
        snprintf(jitter, sizeof jitter, "%llu", (unsigned long long)seed);
        const struct rig_options options = {.domains = 2 + (uint32_t)(seed % 3),
                                            .span = true,
                                            .indirect = true,
                                            .shared = seed / 3 % 2,
                                            .memory = seed / 6 % 2 ? "600" : "1000",
                                            .seed = seed % 2 ? jitter : NULL};
        run_random(seed, &options, seed % 5 != 0);
    }
}

/* ---- what runs until the test lets go of it ---------------------------------------------------------------------- */

static void send_hold(struct rig *rig, uint32_t slot)
{
    atomic_store(&pen_backend_fake_holds, true);
    rig_launch(rig, Q, HOLD, 1, E + slot, slot, NULL, 0);
}

static void let_go(void)
{
    atomic_store(&pen_backend_fake_holds, false);
}

/* What waits for a device that is full keeps nobody from another that has room, and does not change who of those goes
 * first, however many there are of it: here a kernel with variables of its own, which only the first device runs. */
static void test_priorities_behind_another_device(void **state)
{
    (void)state;
    enum { BEFORE = 30, LOW = 24, HIGH = 2 + BEFORE + LOW / 4 };
    const uint64_t gate = E + 1, given = E + 2 + BEFORE + 1, learn_ns = 200000000;
    struct rig rig;
    uint32_t done = 0;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true}, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    RIG_SEND(&rig, queue_create, .queue = OTHER, .device = 1, .flags = PEN_QUEUE_FLAG_OUT_OF_ORDER, .slot = 1,
             .priority = PEN_HINT_HIGH);
    rig_program(&rig, BOUND, "variable\nkernel hold()\n");
    assert_int_equal(rig_build(&rig, BOUND, 1), 0);
    rig_kernel(&rig, HOLD_FIRST, BOUND, "hold");
    send_sleep(&rig, 5, E, 1, NULL, 0); /* how long they run is known from then on */
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    atomic_store(&pen_backend_fake_holds, true);
    rig_launch(&rig, Q, HOLD_FIRST, 1, E + 2 + BEFORE + LOW + 1, 1, NULL, 0);
    usleep(learn_ns / 1000);
    let_go();
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    atomic_store(&pen_backend_fake_holds, true);
    is_queued(&rig, 1);
    RIG_SEND(&rig, event_create, .event = gate, .slot = 1);
    for (uint32_t slot = 2; slot <= 2 + BEFORE + LOW; slot++)
        if (slot < 2 + BEFORE)
            rig_launch(&rig, OTHER, HOLD_FIRST, 1, E + slot, slot, &gate, 1);
        else
            rig_launch(&rig, slot == HIGH ? OTHER : Q, SLEEP, 1, E + slot, slot, slot == HIGH ? &given : &gate, 1);
    RIG_SEND(&rig, event_set, .event = gate, .status = 0);
    assert_int_equal(rig_wait_slot(&rig, HIGH), 0);
    for (uint32_t slot = 2 + BEFORE; slot <= 2 + BEFORE + LOW; slot++)
        done += slot != HIGH && rig_slot(&rig, slot) == PEN_STATE_COMPLETE;
    let_go();
    assert_in_range(done, 1, LOW / 4);
    assert_int_equal(rig_wait_slot(&rig, 2 + BEFORE + LOW), 0);
    rig_stop(&rig);
}

static void go_on(struct rig *rig)
{
    rig_execute(rig);
    pen_task_reap(rig->work);
}

static void let_go_of(struct rig *rig, const uint32_t *slots, uint32_t count)
{
    let_go();
    for (uint32_t i = 0; i < count; i++)
        while (rig_slot(rig, slots[i]) > PEN_STATE_COMPLETE)
            usleep(100);
    atomic_store(&pen_backend_fake_holds, true);
}

/* What waits for room and what becomes ready when there is some: by priority, then by age. The first device alone is
 * given them, two at a time. */
static void test_ready_beside_waiting(void **state)
{
    (void)state;
    enum { OLD = 4, WAITS, HIGH, HIGH_WAITS, YOUNG };
    static const uint32_t running[] = {2, 3}, order[] = {HIGH, HIGH_WAITS, OLD, WAITS, YOUNG};
    const uint64_t gate = E;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true, .no_thread = true},
            PEN_QUEUE_FLAG_OUT_OF_ORDER);
    RIG_SEND(&rig, queue_create, .queue = OTHER, .device = 1, .flags = PEN_QUEUE_FLAG_OUT_OF_ORDER, .slot = 1,
             .priority = PEN_HINT_HIGH);
    rig_program(&rig, BOUND, "variable\nkernel hold()\n");
    assert_int_equal(rig_build(&rig, BOUND, 1), 0);
    rig_kernel(&rig, HOLD_FIRST, BOUND, "hold");
    for (uint32_t i = 0; i < 2; i++) { /* how long they run is known from then on */
        atomic_store(&pen_backend_fake_holds, true);
        rig_launch(&rig, Q, HOLD_FIRST, 1, E + 100 + i, 1, NULL, 0);
        go_on(&rig);
        usleep(20000);
        let_go();
        assert_int_equal(rig_wait_slot(&rig, 1), 0);
    }
    atomic_store(&pen_backend_fake_holds, true);
    is_queued(&rig, 1);
    RIG_SEND(&rig, event_create, .event = gate, .slot = 1);
    for (uint32_t slot = 2; slot <= YOUNG; slot++) {
        bool high = slot == HIGH || slot == HIGH_WAITS, gated = slot == OLD || slot == HIGH || slot == YOUNG;
        rig_launch(&rig, high ? OTHER : Q, HOLD_FIRST, 1, E + slot, slot, &gate, gated);
    }
    go_on(&rig);
    assert_int_equal(rig.work->no_room, 2);
    let_go_of(&rig, running, 2);
    RIG_SEND(&rig, event_set, .event = gate, .status = 0);
    for (uint32_t given = 2; given <= 6; given += 2) {
        go_on(&rig);
        for (uint32_t i = 0; i < 5; i++)
            assert_int_equal(rig_slot(&rig, order[i]) <= PEN_STATE_SUBMITTED, i < given);
        let_go_of(&rig, order, given < 5 ? given : 5);
    }
    let_go();
    rig_stop(&rig);
}

/* ---- links ------------------------------------------------------------------------------------------------------- */

/* How long contents take to a device is learnt: what others would have sooner goes there. */
static void test_a_slow_link(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .indirect = true, .slow = "2"}, 0);
    for (uint32_t i = 0; i < 12; i++) {
        rig_buffer(&rig, R + i, AT(i), WORDS, true);
        rig_set_region(&rig, FILL, 0, R + i);
        rig_set_word(&rig, FILL, 1, 5);
        rig_launch(&rig, Q, FILL, WORDS - 1, E + i, 1 + i, NULL, 0);
        if (i == 1)
            assert_int_equal(rig_wait_slot(&rig, 2), 0); /* each device has had one */
    }
    assert_int_equal(rig_wait_slot(&rig, 12), 0);
    rig_halt(&rig);
    struct pen_work_domain *fast = rig.work->domains[0], *slow = rig.work->domains[1];
    assert_int_equal(fast->transfer->submitted - slow->transfer->submitted, 10); /* copies are numbered */
    assert_true(pen_estimate_run(&slow->from_host, WORDS * 4) >= 100000000);
    assert_true(pen_estimate_run(&fast->from_host, WORDS * 4) < 100000000);
    rig_stop(&rig);
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static void send_fill(struct rig *rig, uint64_t region, uint32_t word, uint32_t slot)
{
    rig_set_region(rig, FILL, 0, region);
    rig_set_word(rig, FILL, 1, word);
    rig_launch(rig, Q, FILL, WORDS, E + slot, slot, NULL, 0);
}

static void check_word(struct rig *rig, uint64_t region, uint32_t word)
{
    assert_int_equal(rig_read(rig, Q, region, WORDS, BACK), 0);
    assert_int_equal(*(uint32_t *)(void *)(rig->arena + BACK), word);
}

/* Two devices of a span have memory for three buffers each: what has no room on one goes to the other. */
static void test_a_full_device_is_passed_over(void **state)
{
    (void)state;
    enum { ALL = 6 };
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .indirect = true, .memory = "1000"}, 0);
    for (uint32_t slot = 1; slot <= ALL; slot++) {
        rig_buffer(&rig, R + slot, AT(slot), WORDS, false);
        send_fill(&rig, R + slot, slot, slot);
        assert_int_equal(rig_wait_slot(&rig, slot), 0);
    }
    for (uint32_t slot = 1; slot <= ALL; slot++)
        check_word(&rig, R + slot, slot);
    assert_int_equal(atomic_load(&rig.crash->transfer_bytes), 0); /* none had to leave */
    rig_stop(&rig);
}

/* More than the devices hold: they have what they are at, and the host the rest. What no device can hold fails alone.
 */
static void test_more_than_all_memory(void **state)
{
    (void)state;
    enum { ALL = 20, TOO_LARGE, AFTER };
    for (uint32_t shared = 0; shared < 2; shared++) {
        struct rig rig;
        prepare(&rig,
                &(struct rig_options){.domains = 2, .span = true, .indirect = true, .shared = shared, .memory = "1000"},
                0);
        rig_buffer(&rig, R + TOO_LARGE, BACK + AT(1), 300, false);
        for (uint32_t slot = 1; slot <= ALL; slot++) {
            rig_buffer(&rig, R + slot, AT(slot), WORDS, false);
            send_fill(&rig, R + slot, slot, slot);
        }
        send_fill(&rig, R + TOO_LARGE, 1, TOO_LARGE);
        send_fill(&rig, R + 1, 100, AFTER);
        assert_int_equal(rig_wait_slot(&rig, AFTER), 0);
        for (uint32_t slot = 1; slot <= ALL; slot++)
            assert_int_equal(rig_slot(&rig, slot), 0);
        assert_int_equal(rig_slot(&rig, TOO_LARGE), -PEN_EDEVMEM);
        for (uint32_t slot = 2; slot <= ALL; slot++)
            check_word(&rig, R + slot, slot);
        check_word(&rig, R + 1, 100);
        rig_stop(&rig);
    }
}

/* What the host has as well leaves a device's memory for what is to be brought. A slice goes with what it is of. */
static void test_what_is_elsewhere_leaves(void **state)
{
    (void)state;
    enum { MANY = 20 };
    for (uint32_t span = 0; span < 2; span++) {
        struct rig rig;
        uint32_t expected = 0;
        prepare(&rig, &(struct rig_options){.domains = 2, .span = span, .indirect = true, .memory = "1000"}, 0);
        rig_buffer(&rig, R, AT(0), WORDS, true);
        memset(rig.arena + AT(0), 0, WORDS * 4);
        for (uint32_t slot = 1; slot <= MANY; slot++) {
            rig_buffer(&rig, R + 20 + slot, AT(slot), WORDS, true);
            RIG_SEND(&rig, region_slice, .region = R + 60 + slot, .parent = R + 20 + slot, .size = WORDS * 4,
                     .flags = PEN_REGION_FLAG_KERNEL_READS | PEN_REGION_FLAG_KERNEL_WRITES);
            *(uint32_t *)(void *)(rig.arena + AT(slot)) = slot;
        }
        for (uint32_t slot = 1; slot <= 2 * MANY; slot++) { /* what has left is brought again */
            uint32_t from = 1 + slot % MANY;
            send_mix(&rig, Q, R, (slot % 2 ? R + 20 : R + 60) + from, 1, E + slot, slot, NULL, 0);
            assert_int_equal(rig_wait_slot(&rig, slot), 0);
            expected = expected * 1664525 + from + 1;
        }
        check_word(&rig, R, expected);
        rig_stop(&rig);
    }
}

/* A kernel is launched again with what it had, which has left the device's memory since. */
static void test_what_left_is_an_argument(void **state)
{
    (void)state;
    for (uint32_t span = 0; span < 2; span++) {
        struct rig rig;
        prepare(&rig, &(struct rig_options){.domains = 2, .span = span, .indirect = true, .memory = "1000"}, 0);
        for (uint32_t i = 0; i < 6; i++) {
            rig_buffer(&rig, R + i, AT(i), WORDS, true);
            memset(rig.arena + AT(i), 0, WORDS * 4);
        }
        *(uint32_t *)(void *)(rig.arena + AT(1)) = 7;
        send_mix(&rig, Q, R, R + 1, 1, E + 1, 1, NULL, 0);
        assert_int_equal(rig_wait_slot(&rig, 1), 0);
        for (uint32_t i = 2; i < 6; i++) {
            RIG_SEND(&rig, fill, .queue = Q, .region = R, .origin = {WORDS * 2}, .extent = {4, 1, 1},
                     .pattern = {&i, 4}); /* so that all goes where it is */
            RIG_SEND(&rig, copy, .queue = Q, .source = R + i, .target = R, .target_box = {.origin = {WORDS * 3}},
                     .extent = {4, 1, 1});
        }
        rig_launch(&rig, Q, MIX, 1, E + 2, 2, NULL, 0);
        assert_int_equal(rig_wait_slot(&rig, 2), 0);
        check_word(&rig, R, 8 * 1664525 + 8);
        rig_stop(&rig);
    }
}

/* What is under way uses all the memory there is: who needs some waits for that, and does not fail. */
static void test_memory_is_awaited(void **state)
{
    (void)state;
    enum { HELD_BACK = 1, FIRST, LAST = FIRST + 2 };
    const uint64_t holds = E + HELD_BACK;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .indirect = true, .memory = "300"},
            PEN_QUEUE_FLAG_OUT_OF_ORDER);
    send_hold(&rig, HELD_BACK);
    for (uint32_t slot = FIRST; slot <= LAST; slot++) { /* either device has memory for one */
        *(uint32_t *)(void *)(rig.arena + AT(slot)) = slot;
        rig_buffer(&rig, R + slot, AT(slot), WORDS, true);
        is_queued(&rig, slot);
        RIG_SEND(&rig, read, .queue = Q, .event = E + slot, .slot = slot, .region = R + slot, .extent = {4, 1, 1},
                 .arena_offset = BACK + AT(slot), .arena_size = 4, .waits = &holds, .waits_count = 1);
    }
    usleep(100000);
    for (uint32_t slot = FIRST; slot <= LAST; slot++)
        assert_true(rig_slot(&rig, slot) > 0);
    let_go();
    for (uint32_t slot = FIRST; slot <= LAST; slot++) {
        assert_int_equal(rig_wait_slot(&rig, slot), 0);
        assert_int_equal(*(uint32_t *)(void *)(rig.arena + BACK + AT(slot)), slot);
    }
    rig_stop(&rig);
}

/* What only the device has leaves for another queue's command also while a third never pauses. */
static void test_memory_is_awaited_beside_others(void **state)
{
    (void)state;
    enum { HELD = 3, STARVED, BUSY, AHEAD = 50, MOST = 3000 };
    struct rig rig;
    uint32_t slot;
    prepare(&rig, &(struct rig_options){.domains = 1, .indirect = true, .memory = "1000"}, 0);
    rig_queue(&rig, OTHER, 1, 0, 1);
    for (slot = 1; slot <= STARVED; slot++)
        rig_buffer(&rig, R + slot, AT(slot), WORDS, slot == STARVED);
    for (slot = 1; slot <= HELD; slot++) {
        send_fill(&rig, R + slot, slot, slot);
        assert_int_equal(rig_wait_slot(&rig, slot), 0);
    }
    rig_set_word(&rig, SLEEP, 0, 1);
    for (slot = BUSY; slot < BUSY + MOST; slot++) { /* so many of them are there at any time */
        rig_launch(&rig, OTHER, SLEEP, 1, E + slot, slot, NULL, 0);
        if (slot == BUSY + AHEAD)
            send_fill(&rig, R + STARVED, STARVED, STARVED);
        if (slot > BUSY + AHEAD) {
            assert_int_equal(rig_wait_slot(&rig, slot - AHEAD), 0);
            if (rig_slot(&rig, STARVED) <= 0)
                break;
        }
    }
    assert_int_equal(rig_slot(&rig, STARVED), 0);
    assert_in_range(slot, BUSY, BUSY + MOST - 1);
    for (slot = 1; slot <= STARVED; slot++)
        check_word(&rig, R + slot, slot);
    rig_stop(&rig);
}

/* ---- code -------------------------------------------------------------------------------------------------------- */

static void send_and_wait(struct rig *rig, uint64_t kernel, uint32_t slot)
{
    rig_launch(rig, Q, kernel, 1, E + slot, slot, NULL, 0);
    assert_int_equal(rig_wait_slot(rig, slot), 0);
}

/* As many as that, all at once. Returns the last one's slot. */
static uint32_t send_sleeps(struct rig *rig, uint32_t first_slot, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        rig_launch(rig, Q, SLEEP, 1, E + first_slot + i, first_slot + i, NULL, 0);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(rig_wait_slot(rig, first_slot + i), 0);
    return first_slot + count - 1;
}

static bool is_loaded(struct rig *rig, uint64_t kernel, uint32_t member)
{
    struct pen_work_kernel *it = pen_map_get(&rig->work->kernels, kernel);
    return pen_kernel_instance(it, rig->work->devices[0]->members[member])->code.given;
}

/* What it takes to load a kernel is learnt; other kernels then stay on the device that has them, until there is more
 * work than that takes. What loads is not taken for how long a kernel runs. */
static void test_code_is_loaded_where_it_pays(void **state)
{
    (void)state;
    enum { EACH_MS = 5, LOAD_MS = 200, FEW = 10, MANY = 100, BUSY = 1, FIRST = 2 };
    struct rig rig;
    for (uint32_t much = 0; much < 2; much++) {
        prepare(&rig, &(struct rig_options){.domains = 2, .span = true, .shared = true, .load = "200"},
                PEN_QUEUE_FLAG_OUT_OF_ORDER);
        for (uint32_t slot = FIRST; slot < FIRST + 2;
             slot++) /* on the first device, and, while that is busy, on the other */
            send_and_wait(&rig, NOP, slot);
        send_hold(&rig, BUSY);
        for (uint32_t slot = FIRST; slot < FIRST + 2; slot++)
            send_and_wait(&rig, NOP, slot + 2);
        let_go();
        assert_int_equal(rig_wait_slot(&rig, BUSY), 0);
        rig_set_word(&rig, SLEEP, 0, EACH_MS);
        send_and_wait(&rig, SLEEP, FIRST + 4);
        send_and_wait(&rig, SLEEP, FIRST + 5);
        uint64_t begin = pen_now_ns();
        uint32_t last = send_sleeps(&rig, FIRST + 6, much ? MANY : FEW);
        assert_int_equal(last, FIRST + 5 + (much ? MANY : FEW));
        if (much)
            assert_true(pen_now_ns() - begin < MANY * EACH_MS * UINT64_C(1000000));
        rig_halt(&rig);
        assert_true(is_loaded(&rig, NOP, 1));
        assert_true(is_loaded(&rig, SLEEP, 0));
        assert_int_equal(is_loaded(&rig, SLEEP, 1), much);
        struct pen_work_kernel *sleep = pen_map_get(&rig.work->kernels, SLEEP);
        const struct pen_work_device *first = rig.work->devices[0]->members[0];
        assert_in_range(pen_estimate_run(&pen_kernel_instance(sleep, first)->runs.estimate, 1), EACH_MS * 1000000,
                        LOAD_MS * 1000000 / 4);
        rig_stop(&rig);
    }
}

/* The same where not all devices are looked at: the one that has the code is, also when it has no room. */
static void test_code_on_one_of_many(void **state)
{
    (void)state;
    enum { EACH_MS = 5, FEW = 20 };
    uint32_t loaded = 0;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = RIG_DOMAINS, .span = true, .shared = true, .load = "300"},
            PEN_QUEUE_FLAG_OUT_OF_ORDER);
    send_and_wait(&rig, NOP, 2);
    send_and_wait(&rig, NOP, 3);
    send_hold(&rig, 1);
    send_and_wait(&rig, NOP, 4);
    send_and_wait(&rig, NOP, 5);
    let_go();
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    rig_set_word(&rig, SLEEP, 0, EACH_MS);
    send_and_wait(&rig, SLEEP, 6);
    send_and_wait(&rig, SLEEP, 7);
    send_sleeps(&rig, 8, FEW);
    rig_halt(&rig);
    for (uint32_t i = 0; i < RIG_DOMAINS; i++)
        loaded += is_loaded(&rig, SLEEP, i);
    assert_int_equal(loaded, 1);
    rig_stop(&rig);
}

/* ---- many devices ---------------------------------------------------------------------------------------- */

/* Of many not all are looked at: each that is free is found all the same. */
static void test_many_devices(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = RIG_DOMAINS, .span = true, .shared = true}, 0);
    for (uint32_t slot = 1; slot <= RIG_DOMAINS; slot++)
        send_hold(&rig, slot);
    while (rig_slot(&rig, RIG_DOMAINS) > PEN_STATE_SUBMITTED)
        usleep(1000);
    rig_halt(&rig);
    const struct pen_work_device *span = rig.work->devices[0];
    assert_int_equal(span->member_count, RIG_DOMAINS);
    for (uint32_t i = 0; i < RIG_DOMAINS; i++)
        assert_int_equal(span->members[i]->place.flying, 1);
    let_go();
    rig_stop(&rig);
}

/* ---- complete overwrites -------------------------------------------------------------------------------------- */

enum { HOLDS = 1, READS, WRITES, READS_NEW, WRITES_AGAIN, BRINGS, HELD, GATE, FAILS };

/* R holds 7, and is read into R + 1 once the test lets go of what runs, which one would expect to take a while; R + 3
 * holds 9, and is on the devices. Memory of their own; what touches the same alone is in order. */
static void prepare_reader(struct rig *rig, uint64_t words, const char *fail)
{
    const uint64_t holds = E + HOLDS;
    prepare(rig, &(struct rig_options){.domains = 3, .span = true, .shared = true, .indirect = true, .fail = fail},
            PEN_QUEUE_FLAG_OUT_OF_ORDER);
    for (uint32_t i = 0; i < 6; i++)
        rig_buffer(rig, R + i, AT(i), i % 3 ? WORDS : words, true);
    *(uint32_t *)(void *)(rig->arena + AT(0)) = 7;
    *(uint32_t *)(void *)(rig->arena + AT(3)) = 9;
    send_mix(rig, Q, R + 4, R + 3, 0, E + BRINGS, BRINGS, NULL, 0);
    assert_int_equal(rig_wait_slot(rig, BRINGS), 0);
    send_hold(rig, HELD);
    usleep(20000);
    let_go();
    assert_int_equal(rig_wait_slot(rig, HELD), 0);
    send_hold(rig, HOLDS);
    send_mix(rig, Q, R + 1, R, 0, E + READS, READS, &holds, 1);
}

static void overwrite(struct rig *rig, uint64_t words, uint32_t slot, const uint64_t *wait)
{
    is_queued(rig, slot);
    RIG_SEND(rig, copy, .queue = Q, .event = E + slot, .slot = slot, .source = R + 3, .target = R,
             .extent = {words * 4, 1, 1}, .waits = wait, .waits_count = wait ? 1 : 0);
}

static uint32_t word_of(struct rig *rig, uint64_t region)
{
    assert_int_equal(rig_read(rig, Q, region, 1, RIG_ARENA - (2u << 20)), 0);
    return *(uint32_t *)(void *)(rig->arena + RIG_ARENA - (2u << 20));
}

/* What leaves no old byte does not wait for who reads them, and who comes after it does not either. */
static void test_overwrite_passes_reader(void **state)
{
    (void)state;
    struct rig rig;
    prepare_reader(&rig, WORDS, NULL);
    overwrite(&rig, WORDS, WRITES, NULL);
    send_mix(&rig, Q, R + 2, R, 0, E + READS_NEW, READS_NEW, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, WRITES), 0);
    assert_int_equal(rig_wait_slot(&rig, READS_NEW), 0);
    assert_true(rig_slot(&rig, HOLDS) > 0);
    assert_true(rig_slot(&rig, READS) > 0);
    let_go();
    assert_int_equal(rig_wait_slot(&rig, READS), 0);
    assert_int_equal(word_of(&rig, R), 9);
    assert_int_equal(word_of(&rig, R + 1), 7);
    assert_int_equal(word_of(&rig, R + 2), 9);
    assert_int_equal(atomic_load(&rig.work->replaced), 0);
    rig_stop(&rig);
}

/* A slice lies in the memory that there is. */
static void test_overwrite_under_a_slice(void **state)
{
    (void)state;
    struct rig rig;
    prepare_reader(&rig, WORDS, NULL);
    RIG_SEND(&rig, region_slice, .region = S, .parent = R, .offset = 0, .size = WORDS * 2,
             .flags = PEN_REGION_FLAG_KERNEL_READS | PEN_REGION_FLAG_KERNEL_WRITES);
    overwrite(&rig, WORDS, WRITES, NULL);
    usleep(100000);
    assert_true(rig_slot(&rig, WRITES) > 0);
    let_go();
    assert_int_equal(rig_wait_slot(&rig, WRITES), 0);
    assert_int_equal(rig_slot(&rig, READS), PEN_STATE_COMPLETE);
    assert_int_equal(word_of(&rig, R + 1), 7);
    assert_int_equal(word_of(&rig, S), 9);
    rig_stop(&rig);
}

/* A launch that was called before the kernel was released, and goes after R has another memory: to either device that
 * is not held, both have had the kernel with R before. No more than that, so that there is room however long they take.
 */
static void test_overwrite_and_a_released_kernel(void **state)
{
    (void)state;
    const uint64_t targets[] = {R + 2, R + 4}, holds = E + HOLDS, gate = E + GATE, overwritten = E + WRITES;
    struct rig rig;
    prepare_reader(&rig, WORDS, NULL);
    for (uint32_t i = 0; i < 2; i++) {
        rig_set_region(&rig, MIX, 0, targets[i]);
        rig_launch(&rig, Q, MIX, WORDS, 0, 0, &holds, 1);
    }
    rig_set_region(&rig, MIX, 0, R + 1);
    is_queued(&rig, GATE);
    RIG_SEND(&rig, event_create, .event = gate, .slot = GATE);
    overwrite(&rig, WORDS, WRITES, &gate);
    rig_launch(&rig, Q, MIX, WORDS, E + READS_NEW, READS_NEW, &overwritten, 1);
    RIG_SEND(&rig, kernel_destroy, .kernel = MIX);
    RIG_SEND(&rig, event_set, .event = gate, .status = 0);
    while (rig_slot(&rig, WRITES) > PEN_STATE_SUBMITTED)
        usleep(1000);
    let_go();
    assert_int_equal(rig_wait_slot(&rig, READS_NEW), 0);
    assert_int_equal(word_of(&rig, R), 9);
    assert_int_equal(word_of(&rig, R + 1), 7 * 1664525 + 9);
    rig_stop(&rig);
}

/* What fails before an overwrite that waits for it leaves what was there. */
static void test_overwrite_that_never_runs(void **state)
{
    (void)state;
    const uint64_t holds = E + HOLDS, fails = E + FAILS;
    struct rig rig;
    prepare_reader(&rig, WORDS, "launch:5:late");
    rig_launch(&rig, Q, NOP, 1, fails, FAILS, &holds, 1);
    overwrite(&rig, WORDS, WRITES, &fails);
    let_go();
    assert_true(rig_wait_slot(&rig, WRITES) < 0);
    assert_true(rig_slot(&rig, FAILS) < 0);
    assert_int_equal(rig_wait_slot(&rig, READS), 0);
    assert_int_equal(word_of(&rig, R), 7);
    assert_int_equal(word_of(&rig, R + 1), 7);
    rig_stop(&rig);
}

/* The memories that readers keep are no more than PEN_WORK_REPLACED: who comes later waits. */
static void test_overwrites_are_bounded(void **state)
{
    (void)state;
    const uint64_t words = PEN_WORK_REPLACED / 4 / 4 * 3, holds = E + HOLDS;
    struct rig rig;
    prepare_reader(&rig, words, NULL);
    overwrite(&rig, words, WRITES, NULL);
    send_mix(&rig, Q, R + 2, R, 0, E + READS_NEW, READS_NEW, &holds, 1);
    overwrite(&rig, words, WRITES_AGAIN, NULL);
    while (rig_slot(&rig, WRITES_AGAIN) > PEN_STATE_SUBMITTED)
        usleep(1000);
    assert_int_equal(atomic_load(&rig.work->replaced), words * 4);
    usleep(100000);
    assert_true(rig_slot(&rig, WRITES_AGAIN) > 0);
    let_go();
    assert_int_equal(rig_wait_slot(&rig, WRITES_AGAIN), 0);
    assert_int_equal(rig_slot(&rig, READS_NEW), PEN_STATE_COMPLETE);
    assert_int_equal(word_of(&rig, R), 9);
    assert_int_equal(word_of(&rig, R + 1), 7);
    assert_int_equal(word_of(&rig, R + 2), 9);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overwrite_passes_reader),
        cmocka_unit_test(test_overwrite_under_a_slice),
        cmocka_unit_test(test_overwrite_and_a_released_kernel),
        cmocka_unit_test(test_overwrite_that_never_runs),
        cmocka_unit_test(test_overwrites_are_bounded),
        cmocka_unit_test(test_a_slow_link),
        cmocka_unit_test(test_code_is_loaded_where_it_pays),
        cmocka_unit_test(test_code_on_one_of_many),
        cmocka_unit_test(test_a_full_device_is_passed_over),
        cmocka_unit_test(test_more_than_all_memory),
        cmocka_unit_test(test_what_is_elsewhere_leaves),
        cmocka_unit_test(test_what_left_is_an_argument),
        cmocka_unit_test(test_memory_is_awaited),
        cmocka_unit_test(test_memory_is_awaited_beside_others),
        cmocka_unit_test(test_random_with_little_memory),
        cmocka_unit_test(test_many_devices),
        cmocka_unit_test(test_independent_commands_overlap),
        cmocka_unit_test(test_times_are_in_order),
        cmocka_unit_test(test_members_share_a_build),
        cmocka_unit_test(test_a_member_refuses_a_build),
        cmocka_unit_test(test_members_load_their_builds),
        cmocka_unit_test(test_a_gate),
        cmocka_unit_test(test_another_queue_waits),
        cmocka_unit_test(test_barrier),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_priorities_behind_another_device),
        cmocka_unit_test(test_ready_beside_waiting),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_end_with_held_commands),
        cmocka_unit_test(test_end_with_unpublished_commands),
        cmocka_unit_test(test_much_more_than_room),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
