/* Commands through a real ring on the fake device: order, events, holding, poison, domains, regions, builds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"

#define PROGRAM                                                                                                        \
    "kernel inc(global data)\nkernel fill(global to, value word)\nkernel copy(global to, global from)\n"               \
    "kernel sleep(value ms)\nkernel nop()\n"

enum { Q = 10, Q2, Q3, P = 20, INC = 30, FILL, COPY, SLEEP, NOP, A = 40, B, C, E = 100 };

/* Program 20 with kernels 30.. on all devices, buffers 40, 41 of 16 words at 0 and 4096, an in-order queue on each. */
static void prepare(struct rig *rig, uint32_t domains, uint32_t queue_flags)
{
    rig_program(rig, P, PROGRAM);
    assert_int_equal(rig_build(rig, P, domains), 0);
    rig_kernel(rig, INC, P, "inc");
    rig_kernel(rig, FILL, P, "fill");
    rig_kernel(rig, COPY, P, "copy");
    rig_kernel(rig, SLEEP, P, "sleep");
    rig_kernel(rig, NOP, P, "nop");
    for (uint32_t i = 0; i < domains; i++)
        rig_queue(rig, Q + i, i + 1, queue_flags, i);
    rig_buffer(rig, A, 0, 16, true);
    rig_buffer(rig, B, 4096, 16, true);
}

static uint32_t word(struct rig *rig, uint64_t offset, uint32_t index)
{
    uint32_t value;
    memcpy(&value, rig->arena + offset + (size_t)index * 4, 4);
    return value;
}

static void test_in_order(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, 0);
    rig_set_region(&rig, INC, 0, A);
    uint64_t last = 0;
    for (int i = 0; i < 1000; i++)
        last = rig_launch(&rig, Q, INC, 16, 0, 0, NULL, 0);
    rig_wait_queue(&rig, 0, last);
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(word(&rig, 0, i), 1000);
    assert_int_equal(atomic_load(&rig.crash->launches), 1000);
    char name[64];
    pen_crash_kernel(rig.crash, 0, name, sizeof name);
    assert_string_equal(name, "inc");
    rig_stop(&rig);
}

/* A device may tell of a command after it has told of one that waited for that: it is not seen in this order. */
static void test_told_of_late(void **state)
{
    (void)state;
    for (uint32_t flags = 0; flags <= PEN_QUEUE_FLAG_OUT_OF_ORDER; flags += PEN_QUEUE_FLAG_OUT_OF_ORDER) {
        struct rig rig;
        rig_start(&rig, &(struct rig_options){.seed = "5"});
        prepare(&rig, 1, flags);
        rig_queue(&rig, Q2, 1, flags, 1);
        for (uint32_t i = 0; i < 100; i++) {
            const uint64_t before = E + 3 * i, between = before + 1;
            const uint32_t slot = 1 + 3 * i;
            rig_launch(&rig, Q, NOP, 1, before, slot, NULL, 0);
            rig_launch(&rig, Q2, NOP, 1, between, slot + 1, &before, 1);
            rig_launch(&rig, Q, NOP, 1, between + 1, slot + 2, &between, 1);
            while (rig_slot(&rig, slot + 1) > 0)
                ;
            assert_int_equal(rig_slot(&rig, slot), PEN_STATE_COMPLETE);
            while (rig_slot(&rig, slot + 2) > 0)
                ;
            assert_int_equal(rig_slot(&rig, slot + 1), PEN_STATE_COMPLETE);
        }
        /* By way of one that has no event. */
        for (uint32_t i = 0; i < 100; i++) {
            const uint64_t before = 2 * E + 300 + 2 * i;
            const uint32_t slot = 301 + 2 * i;
            rig_launch(&rig, Q, NOP, 1, before, slot, NULL, 0);
            rig_launch(&rig, Q2, NOP, 1, 0, 0, &before, 1);
            atomic_store(&rig.view.slots[slot + 1].state, PEN_STATE_QUEUED);
            RIG_SEND(&rig, marker, .queue = Q2, .event = before + 1, .slot = slot + 1);
            while (rig_slot(&rig, slot + 1) > 0)
                ;
            assert_int_equal(rig_slot(&rig, slot), PEN_STATE_COMPLETE);
        }
        rig_stop(&rig);
    }
}

static void test_arguments_hold_for_later_launches(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, 0);
    rig_set_region(&rig, FILL, 0, A);
    rig_set_word(&rig, FILL, 1, 5);
    rig_launch(&rig, Q, FILL, 8, 0, 0, NULL, 0);
    rig_set_region(&rig, FILL, 0, B);
    rig_launch(&rig, Q, FILL, 8, 0, 0, NULL, 0);
    RIG_SEND(&rig, kernel_clone, .kernel = 77, .source = FILL);
    rig_set_word(&rig, FILL, 1, 6);
    uint64_t last = rig_launch(&rig, Q, 77, 4, E, 1, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    rig_wait_queue(&rig, 0, last);
    assert_int_equal(word(&rig, 0, 7), 5);
    assert_int_equal(word(&rig, 4096, 0), 5);
    rig_stop(&rig);
}

/* Everything behind a program's own event is held, keeps its arguments and its regions, and goes in order. */
static void test_held_by_user_event(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, 0);
    const uint64_t user = E;
    atomic_store(&rig.view.slots[1].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    rig_set_region(&rig, FILL, 0, A);
    rig_set_word(&rig, FILL, 1, 1);
    rig_launch(&rig, Q, FILL, 16, E + 1, 2, &user, 1);
    rig_set_word(&rig, FILL, 1, 2);
    rig_set_region(&rig, FILL, 0, B);
    rig_launch(&rig, Q, FILL, 16, E + 2, 3, NULL, 0);
    rig_set_region(&rig, INC, 0, A);
    rig_launch(&rig, Q, INC, 16, 0, 0, NULL, 0);
    RIG_SEND(&rig, kernel_destroy, .kernel = FILL);
    atomic_store(&rig.view.slots[9].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, region_destroy, .region = B, .slot = 9);
    RIG_SEND(&rig, event_destroy, .event = E + 1);
    usleep(20000);
    assert_int_equal(rig_slot(&rig, 2), PEN_STATE_QUEUED);
    assert_int_equal(rig_slot(&rig, 3), PEN_STATE_QUEUED);
    assert_int_equal(rig_slot(&rig, 9), PEN_STATE_QUEUED);
    assert_int_equal(word(&rig, 0, 0), 0);
    RIG_SEND(&rig, event_set, .event = user, .status = 0);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_int_equal(rig_wait_slot(&rig, 9), 0);
    uint64_t last = rig_launch(&rig, Q, INC, 16, 0, 0, NULL, 0);
    rig_wait_queue(&rig, 0, last);
    assert_int_equal(word(&rig, 0, 0), 3);
    assert_int_equal(word(&rig, 4096, 0), 2);
    rig_stop(&rig);
}

/* The program has released the region that an argument names, before the launch that is then held. */
static void test_held_with_a_dead_region(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, 0);
    const uint64_t user = E;
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    rig_set_region(&rig, INC, 0, A);
    RIG_SEND(&rig, region_destroy, .region = A, .slot = 2);
    rig_launch(&rig, Q, INC, 16, E + 1, 3, &user, 1);
    RIG_SEND(&rig, event_set, .event = user);
    assert_int_equal(rig_wait_slot(&rig, 3), -PEN_EKERNELARGS);
    rig_stop(&rig);
}

/* A launch that is held keeps no region that it cannot be given. */
static void test_held_with_a_wrong_argument(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, 0);
    const uint64_t user = E;
    atomic_store(&rig.view.slots[2].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    rig_set_region(&rig, FILL, 0, B);
    rig_set_region(&rig, FILL, 1, A); /* which is a value */
    rig_launch(&rig, Q, FILL, 16, E + 1, 3, &user, 1);
    RIG_SEND(&rig, event_set, .event = user);
    assert_int_equal(rig_wait_slot(&rig, 3), -PEN_EARGVALUE);
    RIG_SEND(&rig, region_destroy, .region = A, .slot = 2);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    rig_stop(&rig);
}

/* An error reaches what waits for it, through a chain, and nothing else. */
static void test_poison(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, 0);
    const uint64_t user = E, first = E + 1, second = E + 2;
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    rig_set_region(&rig, INC, 0, A);
    rig_launch(&rig, Q, INC, 16, first, 2, &user, 1);
    rig_launch(&rig, Q, INC, 16, second, 3, &first, 1);
    rig_launch(&rig, Q, INC, 16, E + 3, 4, NULL, 0);
    RIG_SEND(&rig, event_set, .event = user, .status = -PEN_EIO);
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    assert_int_equal(rig_slot(&rig, 1), -PEN_EIO);
    assert_int_equal(rig_slot(&rig, 2), -PEN_EDEPENDENCY);
    assert_int_equal(rig_slot(&rig, 3), -PEN_EDEPENDENCY);
    assert_int_equal(word(&rig, 0, 0), 1);
    /* After it is done, too. */
    rig_launch(&rig, Q, INC, 16, E + 4, 5, &second, 1);
    assert_int_equal(rig_wait_slot(&rig, 5), -PEN_EDEPENDENCY);
    rig_stop(&rig);
}

/* A launch that the device refuses when it is dispatched: its event has the error, dependents are poisoned, others go
 * on; and in an in-order queue the error comes after what went before. */
static void test_refused_at_dispatch(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.fail = "launch:3"});
    prepare(&rig, 1, 0);
    const uint64_t bad = E;
    rig_set_word(&rig, SLEEP, 0, 30);
    rig_set_region(&rig, INC, 0, A);
    uint64_t started = pen_now_ns();
    rig_launch(&rig, Q, SLEEP, 1, 0, 0, NULL, 0);
    rig_launch(&rig, Q, NOP, 1, 0, 0, NULL, 0);
    rig_launch(&rig, Q, INC, 16, bad, 1, NULL, 0);
    rig_launch(&rig, Q, INC, 16, E + 1, 2, &bad, 1);
    rig_launch(&rig, Q, INC, 16, E + 2, 3, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 1), -PEN_EDEVRES);
    assert_true(pen_now_ns() - started >= 30000000); /* not before the sleep has ended */
    assert_int_equal(rig_wait_slot(&rig, 2), -PEN_EDEPENDENCY);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_int_equal(word(&rig, 0, 0), 1);
    rig_stop(&rig);
}

/* The device reports the failure when the command runs. */
static void test_fails_late(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.fail = "launch:1:late"});
    prepare(&rig, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    const uint64_t bad = E;
    rig_set_region(&rig, INC, 0, A);
    rig_launch(&rig, Q, INC, 16, bad, 1, NULL, 0);
    rig_launch(&rig, Q, INC, 16, E + 1, 2, &bad, 1);
    assert_int_equal(rig_wait_slot(&rig, 1), -PEN_EDEVRES);
    assert_int_equal(rig_wait_slot(&rig, 2), -PEN_EDEPENDENCY);
    rig_launch(&rig, Q, INC, 16, E + 2, 3, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    rig_stop(&rig);
}

/* It fails while what waits for it is held for something else. */
static void test_fails_while_another_is_held(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.fail = "launch:1:late"});
    prepare(&rig, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    const uint64_t both[] = {E, E + 1};
    rig_set_region(&rig, INC, 0, A);
    RIG_SEND(&rig, event_create, .event = E, .slot = 1);
    rig_launch(&rig, Q, INC, 16, E + 1, 2, NULL, 0);
    rig_launch(&rig, Q, INC, 16, E + 2, 3, both, 2);
    assert_int_equal(rig_wait_slot(&rig, 2), -PEN_EDEVRES);
    RIG_SEND(&rig, event_set, .event = E);
    assert_int_equal(rig_wait_slot(&rig, 3), -PEN_EDEPENDENCY);
    assert_int_equal(word(&rig, 0, 0), 0);
    rig_stop(&rig);
}

/* A chain by events on an out-of-order queue that overtakes whatever it can. */
static void test_out_of_order_chain(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.seed = "11"});
    prepare(&rig, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    rig_set_region(&rig, FILL, 0, A);
    for (uint32_t i = 0; i < 200; i++) {
        const uint64_t before = E + i - 1;
        rig_set_word(&rig, FILL, 1, i);
        rig_launch(&rig, Q, FILL, 16, E + i, i + 1, &before, i != 0);
        if (i)
            RIG_SEND(&rig, event_destroy, .event = before);
    }
    assert_int_equal(rig_wait_slot(&rig, 200), 0);
    for (uint32_t i = 1; i < 200; i++)
        assert_int_equal(rig_slot(&rig, i), 0);
    assert_int_equal(word(&rig, 0, 3), 199);
    rig_stop(&rig);
}

/* Barriers and markers wait for held commands, and what follows a barrier waits for it. */
static void test_barrier_behind_held(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.seed = "5"});
    prepare(&rig, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    const uint64_t user = E;
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    rig_set_region(&rig, FILL, 0, A);
    rig_set_word(&rig, FILL, 1, 7);
    rig_launch(&rig, Q, FILL, 16, 0, 0, &user, 1);
    for (uint32_t i = 2; i <= 4; i++)
        atomic_store(&rig.view.slots[i].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, marker, .queue = Q, .event = E + 1, .slot = 2);
    RIG_SEND(&rig, barrier, .queue = Q, .event = E + 2, .slot = 3);
    rig_set_region(&rig, COPY, 0, B);
    rig_set_region(&rig, COPY, 1, A);
    rig_launch(&rig, Q, COPY, 16, E + 3, 4, NULL, 0);
    usleep(20000);
    for (uint32_t i = 2; i <= 4; i++)
        assert_int_equal(rig_slot(&rig, i), PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_set, .event = user, .status = 0);
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    assert_int_equal(rig_slot(&rig, 2), 0);
    assert_int_equal(rig_slot(&rig, 3), 0);
    assert_int_equal(word(&rig, 4096, 15), 7);
    rig_stop(&rig);
}

/* A barrier with a wait list waits for that alone, and what follows waits for the barrier alone; one without a list
 * waits for what was there before, also before the barrier with a list. */
static void test_barrier_with_waits(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.seed = "5"});
    prepare(&rig, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    const uint64_t first = E, second = E + 1;
    for (uint32_t i = 1; i <= 7; i++)
        atomic_store(&rig.view.slots[i].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_create, .event = first, .slot = 1);
    RIG_SEND(&rig, event_create, .event = second, .slot = 2);
    rig_launch(&rig, Q, NOP, 1, E + 2, 3, &first, 1);
    RIG_SEND(&rig, barrier, .queue = Q, .event = E + 3, .slot = 4, .waits = &second, .waits_count = 1);
    rig_launch(&rig, Q, NOP, 1, E + 4, 5, NULL, 0);
    RIG_SEND(&rig, barrier, .queue = Q, .event = E + 5, .slot = 6);
    rig_launch(&rig, Q, NOP, 1, E + 6, 7, NULL, 0);
    usleep(20000);
    for (uint32_t i = 1; i <= 7; i++)
        assert_true(rig_slot(&rig, i) > 0);
    RIG_SEND(&rig, event_set, .event = second);
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    assert_int_equal(rig_wait_slot(&rig, 5), 0);
    usleep(20000);
    assert_int_equal(rig_slot(&rig, 3), PEN_STATE_QUEUED);
    assert_int_equal(rig_slot(&rig, 6), PEN_STATE_QUEUED);
    assert_int_equal(rig_slot(&rig, 7), PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_set, .event = first);
    assert_int_equal(rig_wait_slot(&rig, 7), 0);
    assert_int_equal(rig_slot(&rig, 6), 0);
    assert_int_equal(rig_slot(&rig, 3), 0);
    rig_stop(&rig);
}

/* Two drivers, one buffer: contents follow the commands, through the host replica. */
static void test_contents_between_domains(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.domains = 3, .indirect = true, .seed = "3"});
    prepare(&rig, 3, 0);
    uint32_t start[16] = {0};
    start[0] = 100;
    memcpy(rig.arena + 8192, start, sizeof start);
    RIG_SEND(&rig, write, .queue = Q, .region = A, .extent = {64, 1, 1}, .data = {8192, 64});
    rig_set_region(&rig, INC, 0, A);
    uint64_t before = 0;
    for (uint32_t i = 0; i < 30; i++) {
        rig_launch(&rig, Q + i % 3, INC, 16, E + i, i + 1, &before, i != 0);
        before = E + i;
    }
    assert_int_equal(rig_wait_slot(&rig, 30), 0);
    assert_int_equal(rig_read(&rig, Q2, A, 16, 16384), 0);
    assert_int_equal(word(&rig, 16384, 0), 130);
    assert_int_equal(word(&rig, 16384, 15), 30);
    assert_true(atomic_load(&rig.crash->transfer_bytes) >= UINT64_C(64) * 29);
    assert_true(atomic_load(&rig.crash->held) >= 1);
    rig_stop(&rig);
}

/* Two drivers write two slices of one buffer at the same time: neither loses. */
static void test_slices_on_two_domains(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.domains = 2, .indirect = true, .seed = "9"});
    prepare(&rig, 2, 0);
    const uint32_t flags = PEN_REGION_FLAG_KERNEL_READS | PEN_REGION_FLAG_KERNEL_WRITES;
    RIG_SEND(&rig, region_slice, .region = 50, .parent = A, .offset = 0, .size = 32, .flags = flags);
    RIG_SEND(&rig, region_slice, .region = 51, .parent = A, .offset = 32, .size = 32, .flags = flags);
    uint64_t last = 0;
    for (uint32_t i = 0; i < 20; i++) {
        rig_set_region(&rig, INC, 0, 50 + i % 2);
        last = rig_launch(&rig, Q + i % 2, INC, 8, 0, 0, NULL, 0);
    }
    rig_wait_queue(&rig, 1, last);
    rig_wait_queue(&rig, 0, last - 2);
    assert_int_equal(rig_read(&rig, Q, A, 16, 16384), 0);
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(word(&rig, 16384, i), 10);
    rig_stop(&rig);
}

/* Waiting on another domain's failed command poisons. */
static void test_poison_between_domains(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.domains = 2, .fail = "launch:1:late"});
    prepare(&rig, 2, 0);
    const uint64_t bad = E;
    rig_set_region(&rig, INC, 0, A);
    rig_launch(&rig, Q, INC, 16, bad, 1, NULL, 0);
    rig_launch(&rig, Q2, INC, 16, E + 1, 2, &bad, 1);
    rig_launch(&rig, Q2, INC, 16, E + 2, 3, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 2), -PEN_EDEPENDENCY);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_int_equal(word(&rig, 0, 0), 1);
    rig_stop(&rig);
}

static void test_transfers(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.indirect = true});
    prepare(&rig, 1, 0);
    /* A rectangle of 2 rows of 4 bytes out of rows of 16. */
    for (uint32_t i = 0; i < 64; i++)
        rig.arena[8192 + i] = (unsigned char)i;
    RIG_SEND(&rig, write, .queue = Q, .region = A, .extent = {64, 1, 1}, .data = {8192, 64});
    RIG_SEND(&rig, fill, .queue = Q, .region = A, .origin = {60, 0, 0}, .extent = {4, 1, 1}, .pattern = {"\7\7", 2});
    RIG_SEND(&rig, copy, .queue = Q, .source = A, .target = B, .extent = {64, 1, 1});
    RIG_SEND(&rig, migrate, .queue = Q, .regions = (const uint64_t[]){A, B}, .regions_count = 2);
    atomic_store(&rig.view.slots[1].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, read, .queue = Q, .event = E, .slot = 1, .region = B, .box = {.origin = {4, 1, 0}, .row_pitch = 16},
             .extent = {4, 2, 1}, .arena_offset = 12288, .arena_size = 8);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    static const unsigned char expected[] = {20, 21, 22, 23, 36, 37, 38, 39};
    assert_memory_equal(rig.arena + 12288, expected, 8);
    assert_int_equal(rig_read(&rig, Q, B, 16, 16384), 0);
    assert_memory_equal(rig.arena + 16384 + 60, "\7\7\7\7", 4);
    rig_stop(&rig);
}

static void test_builds(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.domains = 2});
    rig_program(&rig, P, PROGRAM);
    assert_int_equal(rig_build(&rig, P, 2), 0);
    /* The same text again: nothing is built. */
    rig_program(&rig, P + 1, PROGRAM);
    assert_int_equal(rig_build(&rig, P + 1, 2), 0);
    assert_int_equal(atomic_load(&rig.crash->build_hits), 2);
    rig_program(&rig, P + 2, "error no such thing\n");
    assert_int_equal(rig_build(&rig, P + 2, 1), -PEN_EBUILD);
    /* The kernels that the driver does know are to be had. */
    rig_program(&rig, P + 4, "kernel nop()\nkernel " RIG_UNKNOWN_KERNEL "(global y, global x, value a)\n");
    assert_int_equal(rig_build(&rig, P + 4, 2), 0);
    /* Kernels of what was not built fail by themselves. */
    rig_queue(&rig, Q, 1, 0, 0);
    rig_kernel(&rig, INC, P + 2, "inc");
    rig_launch(&rig, Q, INC, 1, E, 1, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 1), -PEN_EEXECUTABLE);
    rig_kernel(&rig, FILL, P, "there_is_none");
    rig_launch(&rig, Q, FILL, 1, E + 1, 2, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 2), -PEN_EKERNELNAME);
    /* Arguments that are not set, or dead. */
    rig_kernel(&rig, COPY, P, "inc");
    rig_launch(&rig, Q, COPY, 1, E + 2, 3, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 3), -PEN_EKERNELARGS);
    rig_buffer(&rig, A, 0, 16, false);
    rig_set_region(&rig, COPY, 0, A);
    RIG_SEND(&rig, region_destroy, .region = A, .slot = 4);
    rig_launch(&rig, Q, COPY, 1, E + 3, 5, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 5), -PEN_EKERNELARGS);
    /* The binary comes back as a program of that device. */
    struct pen_msg_data data;
    RIG_SEND(&rig, program_binary, .program = P, .device = 2);
    rig_answer(&rig, PEN_OP_DATA);
    assert_int_equal(pen_msg_data_decode(rig.frame.data, rig.frame.size, &rig.scratch, &data), 0);
    assert_int_equal(data.status, 0);
    assert_true(data.total && data.total == data.part.size);
    memcpy(rig.arena + 65536, data.part.data, data.part.size);
    RIG_SEND(&rig, program_create, .program = P + 3, .kind = PEN_PROGRAM_KIND_NATIVE, .device = 1,
             .text = {65536, data.part.size});
    assert_int_equal(rig_build(&rig, P + 3, 1), 0);
    assert_int_equal(rig_build(&rig, P + 3, 2), -PEN_EBINARY);
    RIG_SEND(&rig, program_create, .program = P + 3, .kind = PEN_PROGRAM_KIND_NATIVE, .device = 2,
             .text = {65536, data.part.size});
    assert_int_equal(rig_build(&rig, P + 3, 2), 0);
    rig_stop(&rig);
}

/* A kernel whose description is longer than a frame goes without names. */
static void test_long_description(void **state)
{
    (void)state;
    struct rig rig;
    struct pen_msg_kernel_info info;
    const uint64_t one = 1;
    rig_start(&rig, &(struct rig_options){.many_arguments = true});
    rig_program(&rig, P, "kernel nop()\n");
    RIG_SEND(&rig, program_build, .program = P, .devices = &one, .devices_count = 1);
    rig_answer(&rig, PEN_OP_BUILT);
    rig_answer(&rig, PEN_OP_KERNEL_INFO);
    assert_int_equal(pen_msg_kernel_info_decode(rig.frame.data, rig.frame.size, &rig.scratch, &info), 0);
    assert_int_equal(info.arguments_count, PEN_LIMIT_ARGUMENTS);
    for (uint32_t i = 0; i < info.arguments_count; i++) {
        assert_int_equal(info.arguments[i].size, i + 1);
        assert_string_equal(info.arguments[i].name, "");
    }
    assert_string_equal(info.arguments[0].type_name, "int");
    assert_string_equal(info.arguments[1].type_name, "");
    rig_kernel(&rig, INC, P, "nop");
    rig_queue(&rig, Q, 1, 0, 0);
    rig_stop(&rig);
}

/* Builds one kernel for three devices, which describe it so, and expects two functions: bit n - 1 for device n. */
static void expect_two_functions(const char *firsts, uint32_t first, uint32_t second)
{
    struct rig rig;
    struct pen_msg_built built;
    struct pen_msg_kernel_info info;
    const uint64_t devices[] = {1, 2, 3};
    const uint32_t expected[] = {first, second};
    rig_start(&rig, &(struct rig_options){.domains = 3, .firsts = firsts});
    rig_program(&rig, P, "kernel fill(global to, value word)\n");
    RIG_SEND(&rig, program_build, .program = P, .devices = devices, .devices_count = 3);
    rig_answer(&rig, PEN_OP_BUILT);
    assert_int_equal(pen_msg_built_decode(rig.frame.data, rig.frame.size, &rig.scratch, &built), 0);
    assert_int_equal(built.kernels, 2);
    for (int i = 0; i < 2; i++) {
        uint32_t of = 0;
        rig_answer(&rig, PEN_OP_KERNEL_INFO);
        assert_int_equal(pen_msg_kernel_info_decode(rig.frame.data, rig.frame.size, &rig.scratch, &info), 0);
        assert_string_equal(info.name, "fill");
        for (uint32_t d = 0; d < info.devices_count; d++)
            of |= 1u << (info.devices[d].device - 1);
        assert_int_equal(of, expected[i]);
    }
    rig_stop(&rig);
}

/* One name of two functions is described twice, each time for the devices that have that one. What is not known may be
 * any one's, and makes no two of others the same. */
static void test_two_definitions(void **state)
{
    (void)state;
    expect_two_functions("rvr", 5, 2);
    expect_two_functions("rrv", 3, 4);
    expect_two_functions("r?v", 3, 4);
    expect_two_functions("?rv", 3, 4);
    expect_two_functions("rv?", 5, 2);
}

/* A driver that takes one thread only: dispatch builds, and never beside the builder. */
static void test_one_thread(void **state)
{
    (void)state;
    struct rig rig;
    const uint64_t devices[] = {1, 2};
    rig_start(&rig, &(struct rig_options){.domains = 2, .one_thread = 1u << 1, .build_ms = 50});
    for (uint64_t i = 0; i < 4; i++) {
        char text[64];
        snprintf(text, sizeof text, "# %u\nkernel nop()\n", (unsigned)i);
        rig_program(&rig, P + i, text);
        RIG_SEND(&rig, program_build, .program = P + i, .devices = devices + i % 2, .devices_count = 1);
    }
    for (int i = 0; i < 4; i++) {
        struct pen_msg_built built;
        rig_answer(&rig, PEN_OP_BUILT);
        assert_int_equal(pen_msg_built_decode(rig.frame.data, rig.frame.size, &rig.scratch, &built), 0);
        assert_int_equal(built.status, 0);
        rig_answer(&rig, PEN_OP_KERNEL_INFO);
    }
    assert_int_equal(rig_asked.builds_by_dispatch, 2);
    assert_false(rig_asked.builds_at_once);
    rig_stop(&rig);
}

/* Queues go on while a compiler works; what names the program waits for it. */
static void test_queues_go_on_during_builds(void **state)
{
    (void)state;
    struct rig rig;
    const uint64_t one = 1;
    rig_start(&rig, &(struct rig_options){.build_ms = 200});
    prepare(&rig, 1, 0);
    rig_program(&rig, P + 1, "# another\n" PROGRAM);
    uint64_t build = RIG_SEND(&rig, program_build, .program = P + 1, .devices = &one, .devices_count = 1);
    uint64_t started = pen_now_ns();
    rig_set_region(&rig, INC, 0, A);
    rig_launch(&rig, Q, INC, 16, E, 1, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    assert_true(pen_now_ns() - started < 150000000);
    /* Created while it is built: waits, and finds the kernel. The program may be released at once. */
    rig_kernel(&rig, 77, P + 1, "inc");
    RIG_SEND(&rig, program_destroy, .program = P + 1);
    rig_set_region(&rig, 77, 0, A);
    rig_launch(&rig, Q, 77, 16, E + 1, 2, NULL, 0);
    rig_answer(&rig, PEN_OP_BUILT);
    const struct pen_frame_header *header = rig.frame.data;
    assert_int_equal(header->sequence, build);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    assert_int_equal(word(&rig, 0, 0), 2);
    /* The session may end in the middle of one. */
    rig_program(&rig, P + 2, "# a third\n" PROGRAM);
    RIG_SEND(&rig, program_build, .program = P + 2, .devices = &one, .devices_count = 1);
    rig_program(&rig, P + 3, "# a fourth\n" PROGRAM);
    RIG_SEND(&rig, program_build, .program = P + 3, .devices = &one, .devices_count = 1);
    usleep(20000);
    rig_stop(&rig);
}

static void test_cache_on_disk(void **state)
{
    (void)state;
    char dir[] = "/tmp/penstock-cache-XXXXXX", path[128];
    assert_non_null(mkdtemp(dir));
    struct rig rig;
    for (int round = 0; round < 3; round++) {
        rig_start(&rig, &(struct rig_options){.cache_dir = dir});
        prepare(&rig, 1, 0);
        assert_int_equal(atomic_load(&rig.crash->build_hits), round == 1);
        rig_set_region(&rig, INC, 0, A);
        rig_launch(&rig, Q, INC, 16, E, 1, NULL, 0);
        assert_int_equal(rig_wait_slot(&rig, 1), 0);
        assert_int_equal(word(&rig, 0, 0), 1);
        rig_stop(&rig);
        /* Then a damaged file is a miss. */
        snprintf(path, sizeof path, "for f in %s/builds/*; do printf x >> $f; done", dir);
        if (round == 1)
            assert_int_equal(system(path), 0);
    }
    /* A cache that cannot be written fails nobody. */
    rig_start(&rig, &(struct rig_options){.cache_dir = "/proc/nowhere"});
    prepare(&rig, 1, 0);
    rig_stop(&rig);
    snprintf(path, sizeof path, "rm -r %s", dir);
    assert_int_equal(system(path), 0);
}

static void test_region_retires(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, 0);
    rig_set_word(&rig, SLEEP, 0, 50);
    rig_set_region(&rig, INC, 0, A);
    rig_launch(&rig, Q, SLEEP, 1, 0, 0, NULL, 0);
    rig_launch(&rig, Q, INC, 16, E, 1, NULL, 0);
    atomic_store(&rig.view.slots[2].state, PEN_STATE_QUEUED);
    atomic_store(&rig.view.slots[3].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, region_destroy, .region = A, .slot = 2);
    RIG_SEND(&rig, region_destroy, .region = B, .slot = 3); /* never used */
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_int_equal(rig_slot(&rig, 2), PEN_STATE_QUEUED);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    assert_int_equal(rig_slot(&rig, 1), 0);
    assert_int_equal(word(&rig, 0, 0), 1);
    assert_int_equal(atomic_load(&rig.crash->region_bytes), 0);
    rig_stop(&rig);
}

static void test_profiling(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, 0);
    rig_queue(&rig, Q3, 1, PEN_QUEUE_FLAG_PROFILING, 5);
    rig_set_word(&rig, SLEEP, 0, 5);
    uint64_t before = pen_now_ns();
    rig_launch(&rig, Q3, SLEEP, 1, E, 1, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    const struct pen_event_times *times = &rig.view.times[1];
    assert_true(times->queued >= before && times->queued <= times->submitted && times->submitted <= times->started);
    assert_true(times->ended >= times->started + 5000000 && times->ended <= pen_now_ns());
    rig_stop(&rig);
}

/* What a session leaves behind when it ends in the middle of everything: nothing (the sanitizer looks). */
static void test_end_in_the_middle(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.domains = 2, .indirect = true});
    prepare(&rig, 2, 0);
    const uint64_t user = E;
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    rig_set_region(&rig, INC, 0, A);
    uint64_t before = user;
    for (uint32_t i = 0; i < 100; i++) {
        rig_launch(&rig, Q + i % 2, INC, 16, E + 1 + i, 2 + i, &before, 1);
        before = E + 1 + i;
        if (i % 3 == 0)
            RIG_SEND(&rig, event_destroy, .event = before);
        if (i % 3 == 0)
            rig_launch(&rig, Q, INC, 16, before = E + 500 + i, 500 + i, NULL, 0);
    }
    RIG_SEND(&rig, event_destroy, .event = user);
    usleep(10000);
    rig_stop(&rig);
}

static uint64_t next_part = 1000;

/* `count` parts of device 1, each of that many units. */
static int cut(struct rig *rig, uint32_t count, uint32_t units)
{
    uint64_t ids[PEN_LIMIT_PARTITIONS];
    uint32_t sizes[PEN_LIMIT_PARTITIONS];
    struct pen_msg_device_partitioned answer;
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = next_part++;
        sizes[i] = units;
    }
    RIG_SEND(rig, device_partition, .parent = 1, .parts = ids, .parts_count = count, .part_units = sizes,
             .part_units_count = count);
    rig_answer(rig, PEN_OP_DEVICE_PARTITIONED);
    assert_int_equal(pen_msg_device_partitioned_decode(rig->frame.data, rig->frame.size, &rig->scratch, &answer), 0);
    return answer.status;
}

/* What is over a limit is refused before the driver has made anything; parts like others need nothing new. */
static void test_limits_of_parts(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.no_thread = true});
    for (uint32_t i = 1; i < PEN_REPLICAS; i++)
        assert_int_equal(cut(&rig, 1, i), 0);
    assert_int_equal(rig_asked.partitions, PEN_REPLICAS - 1);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(cut(&rig, 1, PEN_REPLICAS + i), -PEN_ELIMIT);
    assert_int_equal(rig_asked.partitions, PEN_REPLICAS - 1);
    assert_int_equal(cut(&rig, 1, 5), 0);
    rig_queue(&rig, Q, next_part - 1, 0, 0);
    rig_stop(&rig);

    rig_start(&rig, &(struct rig_options){.no_thread = true});
    for (uint32_t devices = 1; devices + PEN_LIMIT_PARTITIONS <= PEN_WORK_DEVICES; devices += PEN_LIMIT_PARTITIONS)
        assert_int_equal(cut(&rig, PEN_LIMIT_PARTITIONS, 1), 0);
    assert_int_equal(cut(&rig, PEN_LIMIT_PARTITIONS, 1), -PEN_ELIMIT);
    assert_int_equal(cut(&rig, PEN_LIMIT_PARTITIONS, 2), -PEN_ELIMIT);
    assert_int_equal(rig_asked.partitions, 1);
    assert_int_equal(cut(&rig, PEN_LIMIT_PARTITIONS - 1, 1), 0);
    rig_stop(&rig);
}

/* An event of the program's own that is let go before it is set: its slot is free again, and what waits for it fails.
 */
static void test_event_never_set(void **state)
{
    (void)state;
    struct rig rig;
    const uint64_t user = E;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, 0);
    atomic_store(&rig.view.slots[1].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    rig_launch(&rig, Q, NOP, 1, E + 1, 2, &user, 1);
    RIG_SEND(&rig, event_destroy, .event = user);
    assert_true(rig_wait_slot(&rig, 1) < 0);
    assert_int_equal(rig_wait_slot(&rig, 2), -PEN_EDEPENDENCY);
    rig_launch(&rig, Q, NOP, 1, E + 2, 3, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    rig_stop(&rig);
}

/* One thread of a program waits for its queue while another keeps the ring full: the completion of what it waits for is
 * asked for before the ring has run empty. */
static void test_queue_behind_a_busy_ring(void **state)
{
    (void)state;
    struct rig rig;
    const uint64_t one = 1;
    rig_start(&rig, &(struct rig_options){.one_thread = 1, .build_ms = 200});
    prepare(&rig, 1, 0);
    rig_queue(&rig, Q2, 1, 0, 1);
    /* While dispatch builds, the ring is filled. */
    rig_program(&rig, P + 1, "# another\n" PROGRAM);
    RIG_SEND(&rig, program_build, .program = P + 1, .devices = &one, .devices_count = 1);
    for (int i = 0; i < 3; i++)
        rig_launch(&rig, Q, NOP, 1, 0, 0, NULL, 0);
    for (int i = 0; i < 1500; i++)
        rig_set_word(&rig, FILL, 1, 1);
    rig_launch(&rig, Q2, NOP, 1, E, 1, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    rig_stop(&rig);
    assert_int_equal(rig_asked.launches, 4);
    assert_int_equal(rig_asked.markers_before_launch, 1);
}

static long resident_kib(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

/* Markers that wait for everything before them, behind commands that wait: what they cost grows as their number does.
 */
static void test_many_markers(void **state)
{
    (void)state;
    enum { MANY = 4000 };
    struct rig rig;
    const uint64_t user = E;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    long before = resident_kib();
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    for (uint32_t i = 0; i < MANY; i++)
        rig_launch(&rig, Q, NOP, 1, 0, 0, &user, 1);
    for (uint32_t i = 0; i < MANY; i++)
        RIG_SEND(&rig, marker, .queue = Q);
    atomic_store(&rig.view.slots[2].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, marker, .queue = Q, .event = E + 1, .slot = 2);
    RIG_SEND(&rig, event_set, .event = user);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    assert_true(resident_kib() - before < 100 * 1024);
    rig_stop(&rig);
}

/* A launch whose arguments the driver takes only in part leaves no trace in one with older arguments that was held. */
static void test_arguments_after_a_refusal(void **state)
{
    (void)state;
    struct rig rig;
    const uint64_t user = E;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    rig_set_region(&rig, FILL, 0, A);
    rig_set_word(&rig, FILL, 1, 7);
    rig_launch(&rig, Q, FILL, 16, E + 1, 2, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    memset(rig.arena, 0, 64);
    rig_launch(&rig, Q, FILL, 16, E + 2, 3, &user, 1);
    rig_set_region(&rig, FILL, 0, B);
    rig_set_word(&rig, FILL, 1, RIG_REFUSED_VALUE);
    rig_launch(&rig, Q, FILL, 16, E + 3, 4, NULL, 0);
    assert_true(rig_wait_slot(&rig, 4) < 0);
    RIG_SEND(&rig, event_set, .event = user);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_int_equal(word(&rig, 0, 0), 7);
    assert_int_equal(word(&rig, 4096, 0), 0);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_of_parts),
        cmocka_unit_test(test_event_never_set),
        cmocka_unit_test(test_queue_behind_a_busy_ring),
        cmocka_unit_test(test_many_markers),
        cmocka_unit_test(test_arguments_after_a_refusal),
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_long_description),
        cmocka_unit_test(test_two_definitions),
        cmocka_unit_test(test_one_thread),
        cmocka_unit_test(test_told_of_late),
        cmocka_unit_test(test_arguments_hold_for_later_launches),
        cmocka_unit_test(test_held_by_user_event),
        cmocka_unit_test(test_held_with_a_dead_region),
        cmocka_unit_test(test_held_with_a_wrong_argument),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_refused_at_dispatch),
        cmocka_unit_test(test_fails_late),
        cmocka_unit_test(test_fails_while_another_is_held),
        cmocka_unit_test(test_out_of_order_chain),
        cmocka_unit_test(test_barrier_behind_held),
        cmocka_unit_test(test_barrier_with_waits),
        cmocka_unit_test(test_contents_between_domains),
        cmocka_unit_test(test_slices_on_two_domains),
        cmocka_unit_test(test_poison_between_domains),
        cmocka_unit_test(test_transfers),
        cmocka_unit_test(test_builds),
        cmocka_unit_test(test_queues_go_on_during_builds),
        cmocka_unit_test(test_cache_on_disk),
        cmocka_unit_test(test_region_retires),
        cmocka_unit_test(test_profiling),
        cmocka_unit_test(test_end_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
