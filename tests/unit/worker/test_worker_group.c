/* Markers of out-of-order queues, and what a command without an event costs: neither is the driver asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"

enum { Q = 10, P = 20, SLEEP = 30, NOP, E = 100 };
#define COMMANDS 1000u

static void prepare(struct rig *rig, uint32_t queue_flags)
{
    rig_program(rig, P, "kernel sleep(value ms)\nkernel nop()\n");
    assert_int_equal(rig_build(rig, P, 1), 0);
    rig_kernel(rig, SLEEP, P, "sleep");
    rig_kernel(rig, NOP, P, "nop");
    rig_queue(rig, Q, 1, queue_flags, 0);
}

static void send_marker(struct rig *rig, uint64_t event, uint32_t slot)
{
    atomic_store(&rig->view.slots[slot].state, PEN_STATE_QUEUED);
    RIG_SEND(rig, marker, .queue = Q, .event = event, .slot = slot);
}

/* Of what the driver does for a command, the cheapest: a callback when the queue has no order, else nothing but for one
 * command in PEN_WORK_UNTRACKED and the last. */
static void test_plain_launches_are_cheap(void **state)
{
    (void)state;
    struct rig rig;
    for (uint32_t flags = 0; flags <= PEN_QUEUE_FLAG_OUT_OF_ORDER; flags += PEN_QUEUE_FLAG_OUT_OF_ORDER) {
        rig_start(&rig, &(struct rig_options){.no_thread = true});
        prepare(&rig, flags);
        for (uint32_t i = 0; i < COMMANDS; i++)
            rig_launch(&rig, Q, NOP, 1, 0, 0, NULL, 0);
        if (flags)
            send_marker(&rig, E, 1);
        rig_pump(&rig);
        assert_int_equal(rig_asked.launches, COMMANDS);
        assert_int_equal(rig_asked.events, 0);
        assert_int_equal(rig_asked.markers, 0);
        assert_int_equal(rig_asked.callbacks, flags ? COMMANDS : COMMANDS / PEN_WORK_UNTRACKED + 1);
        if (flags)
            assert_int_equal(rig_slot(&rig, 1), PEN_STATE_COMPLETE);
        else
            rig_wait_queue(&rig, 0, rig.sequence);
        rig_stop(&rig);
    }
}

/* A marker is complete when all before it is, whatever comes later; and never before an earlier marker. */
static void test_marker(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    send_marker(&rig, E, 1);
    assert_int_equal(rig_wait_slot(&rig, 1), 0); /* nothing to wait for */
    rig_set_word(&rig, SLEEP, 0, 100);
    rig_launch(&rig, Q, SLEEP, 1, E + 1, 2, NULL, 0);
    rig_launch(&rig, Q, SLEEP, 1, 0, 0, NULL, 0);
    send_marker(&rig, E + 2, 3);
    send_marker(&rig, E + 3, 4);
    rig_set_word(&rig, SLEEP, 0, 300);
    rig_launch(&rig, Q, SLEEP, 1, E + 4, 5, NULL, 0);
    uint64_t begin = pen_now_ns();
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    assert_int_equal(rig_slot(&rig, 3), PEN_STATE_COMPLETE);
    assert_int_equal(rig_slot(&rig, 2), PEN_STATE_COMPLETE);
    assert_true(pen_now_ns() - begin > 150000000); /* both sleeps, the one without an event too */
    assert_true(rig_slot(&rig, 5) > 0);
    send_marker(&rig, E + 5, 6);
    assert_int_equal(rig_wait_slot(&rig, 6), 0);
    assert_int_equal(rig_slot(&rig, 5), PEN_STATE_COMPLETE);
    assert_int_equal(rig_asked.markers, 0);
    rig_stop(&rig);
}

/* Commands that fail, late or at once, are complete too; a marker does not inherit their errors. */
static void test_marker_behind_failures(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.fail = "launch:2,launch:3:late"});
    prepare(&rig, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    for (uint32_t i = 0; i < 4; i++)
        rig_launch(&rig, Q, NOP, 1, i % 2 ? E + i : 0, i % 2 ? 1 + i : 0, NULL, 0);
    rig_launch(&rig, Q, SLEEP, 1, 0, 0, NULL, 0); /* its argument was never set */
    send_marker(&rig, E + 9, 9);
    assert_int_equal(rig_wait_slot(&rig, 9), 0);
    assert_true(rig_slot(&rig, 2) <= 0);
    assert_int_equal(rig_slot(&rig, 4), PEN_STATE_COMPLETE);
    rig_stop(&rig);
}

/* What waits for a marker's event waits in the worker, also across the queue's end. */
static void test_waits_for_marker(void **state)
{
    (void)state;
    const uint64_t user = E, before = E + 2;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    atomic_store(&rig.view.slots[1].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    rig_launch(&rig, Q, NOP, 1, E + 1, 2, &user, 1);
    send_marker(&rig, before, 3);
    rig_launch(&rig, Q, NOP, 1, E + 3, 4, &before, 1);
    rig_launch(&rig, Q, NOP, 1, 0, 0, &before, 1);
    RIG_SEND(&rig, queue_destroy, .queue = Q);
    usleep(20000);
    for (uint32_t slot = 1; slot <= 4; slot++)
        assert_true(rig_slot(&rig, slot) > 0);
    RIG_SEND(&rig, event_set, .event = user, .status = 0);
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    assert_int_equal(rig_slot(&rig, 3), PEN_STATE_COMPLETE);
    assert_int_equal(rig_slot(&rig, 2), PEN_STATE_COMPLETE);
    rig_stop(&rig);
    assert_int_equal(rig_asked.launches, 3);
}

/* The same for a marker that was held itself: what waits for it in another queue goes when it is complete, not when it
 * could be submitted, since no driver has an event for it. */
static void test_waits_for_held_marker(void **state)
{
    (void)state;
    const uint64_t user = E, before = E + 2;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    rig_queue(&rig, Q + 1, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER, 1);
    atomic_store(&rig.view.slots[1].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    rig_set_word(&rig, SLEEP, 0, 100);
    rig_launch(&rig, Q, SLEEP, 1, E + 1, 2, &user, 1);
    send_marker(&rig, before, 3);
    rig_launch(&rig, Q + 1, NOP, 1, E + 3, 4, &before, 1);
    RIG_SEND(&rig, event_set, .event = user, .status = 0);
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    assert_int_equal(rig_slot(&rig, 3), PEN_STATE_COMPLETE);
    assert_int_equal(rig_slot(&rig, 2), PEN_STATE_COMPLETE);
    rig_stop(&rig);
}

/* It may complete while a wait list that names it many times is looked through. */
static void test_marker_many_times_in_a_list(void **state)
{
    (void)state;
    enum { MANY = PEN_LIMIT_WAITS / 2 };
    uint64_t waits[MANY];
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    for (uint32_t round = 0; round < 2000; round++) {
        const uint64_t marker = E + 3 * (uint64_t)round;
        for (uint32_t i = 0; i < MANY; i++)
            waits[i] = marker;
        rig_launch(&rig, Q, NOP, 1, 0, 0, NULL, 0);
        send_marker(&rig, marker, 1);
        rig_launch(&rig, Q, NOP, 1, marker + 1, 2, waits, MANY);
        assert_int_equal(rig_wait_slot(&rig, 2), 0);
        RIG_SEND(&rig, event_destroy, .event = marker);
        RIG_SEND(&rig, event_destroy, .event = marker + 1);
    }
    rig_stop(&rig);
}

static void test_marker_has_times(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig, PEN_QUEUE_FLAG_OUT_OF_ORDER | PEN_QUEUE_FLAG_PROFILING);
    uint64_t begin = pen_now_ns();
    rig_set_word(&rig, SLEEP, 0, 20);
    rig_launch(&rig, Q, SLEEP, 1, 0, 0, NULL, 0);
    send_marker(&rig, E, 1);
    send_marker(&rig, E + 1, 2);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    send_marker(&rig, E + 2, 3); /* complete as it comes */
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    for (uint32_t slot = 1; slot <= 3; slot++) {
        struct pen_event_times times = rig.view.times[slot];
        assert_true(times.queued >= begin);
        assert_true(times.submitted >= times.queued);
        assert_true(times.started >= times.submitted);
        assert_true(times.ended >= times.started);
        assert_true(times.ended <= pen_now_ns());
    }
    assert_true(rig.view.times[1].ended >= begin + 20000000);
    rig_stop(&rig);
}

/* Queues that end with commands on their way, and a session that ends with some held: nothing is left behind. */
static void test_ends(void **state)
{
    (void)state;
    const uint64_t user = E;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){.seed = "7"});
    prepare(&rig, PEN_QUEUE_FLAG_OUT_OF_ORDER);
    atomic_store(&rig.view.slots[1].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_create, .event = user, .slot = 1);
    for (uint32_t i = 0; i < 50; i++) {
        rig_queue(&rig, 1000 + i, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER, 1);
        rig_launch(&rig, 1000 + i, NOP, 1, 0, 0, NULL, 0);
        rig_launch(&rig, Q, NOP, 1, 0, 0, NULL, 0);
        RIG_SEND(&rig, queue_destroy, .queue = 1000 + i);
        send_marker(&rig, E + 1 + i, 2 + i);
    }
    rig_launch(&rig, Q, NOP, 1, 0, 0, &user, 1);
    send_marker(&rig, E + 99, 99);
    assert_int_equal(rig_wait_slot(&rig, 51), 0);
    uint64_t begin = pen_now_ns();
    rig_stop(&rig);
    assert_true(pen_now_ns() - begin < 2000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_launches_are_cheap), cmocka_unit_test(test_marker),
        cmocka_unit_test(test_marker_behind_failures),   cmocka_unit_test(test_waits_for_marker),
        cmocka_unit_test(test_waits_for_held_marker),    cmocka_unit_test(test_marker_many_times_in_a_list),
        cmocka_unit_test(test_marker_has_times),         cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
