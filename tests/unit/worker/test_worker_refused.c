/* Commands that never run: the program is told of them when it could be told of others, not before what it had them
 * wait for, or what was before them in their queue, is complete. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"

enum { Q = 10, P = 20, HOLD = 30, NOP, E = 1000 };
enum { RUNS = 1, REFUSED, DEPENDS, MARKED, PROBE, GATE };
#define QUEUES 4u /* the first is the one that runs, the last the one that shows how far dispatch has come */

static void prepare(struct rig *rig, const struct rig_options *options, uint32_t flags)
{
    rig_start(rig, options);
    rig_program(rig, P, "kernel hold()\nkernel nop()\n");
    assert_int_equal(rig_build(rig, P, 1), 0);
    rig_kernel(rig, HOLD, P, "hold");
    rig_kernel(rig, NOP, P, "nop");
    for (uint32_t i = 0; i < QUEUES; i++)
        rig_queue(rig, Q + i, 1, i == 1 ? flags : 0, i);
    atomic_store(&pen_backend_fake_holds, true);
}

/* All that was sent has been looked at. */
static void wait_for_dispatch(struct rig *rig)
{
    rig_launch(rig, Q + QUEUES - 1, NOP, 1, E + PROBE, PROBE, NULL, 0);
    assert_int_equal(rig_wait_slot(rig, PROBE), 0);
}

static void let_go(void)
{
    atomic_store(&pen_backend_fake_holds, false);
}

/* After what was before it in its queue, which asked for an event or not. */
static void test_in_order(void **state)
{
    (void)state;
    for (uint32_t event = 0; event < 2; event++) {
        struct rig rig;
        prepare(&rig, &(struct rig_options){.fail = "launch:2"}, 0);
        rig_launch(&rig, Q + 1, HOLD, 1, event ? E + RUNS : 0, event ? RUNS : 0, NULL, 0);
        rig_launch(&rig, Q + 1, NOP, 1, E + REFUSED, REFUSED, NULL, 0);
        wait_for_dispatch(&rig);
        assert_true(rig_slot(&rig, REFUSED) > 0);
        let_go();
        assert_true(rig_wait_slot(&rig, REFUSED) < 0);
        if (event)
            assert_int_equal(rig_slot(&rig, RUNS), PEN_STATE_COMPLETE);
        rig_stop(&rig);
    }
}

/* After what it waits for in another queue; and what waits for it after it, and a marker behind it. */
static void check_behind_another_queue(const struct rig_options *options, uint32_t flags)
{
    const uint64_t runs = E + RUNS, refused = E + REFUSED;
    struct rig rig;
    prepare(&rig, options, flags);
    rig_launch(&rig, Q, HOLD, 1, runs, RUNS, NULL, 0);
    rig_launch(&rig, Q + 1, NOP, 1, refused, REFUSED, &runs, 1);
    rig_launch(&rig, Q + 2, NOP, 1, E + DEPENDS, DEPENDS, &refused, 1);
    atomic_store(&rig.view.slots[MARKED].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, marker, .queue = Q + 1, .event = E + MARKED, .slot = MARKED);
    wait_for_dispatch(&rig);
    usleep(20000);
    assert_true(rig_slot(&rig, RUNS) > 0);
    assert_true(rig_slot(&rig, REFUSED) > 0);
    assert_true(rig_slot(&rig, DEPENDS) > 0);
    assert_true(rig_slot(&rig, MARKED) > 0);
    let_go();
    assert_int_equal(rig_wait_slot(&rig, MARKED), 0);
    assert_true(rig_slot(&rig, REFUSED) < 0);
    assert_int_equal(rig_slot(&rig, RUNS), PEN_STATE_COMPLETE);
    assert_true(rig_wait_slot(&rig, DEPENDS) < 0);
    rig_stop(&rig);
}

static void test_behind_another_queue(void **state)
{
    (void)state;
    const struct rig_options
        plain = {.fail = "launch:2"},
        /* there a command of another queue comes to its driver when what it waits for is complete */
        span = {.domains = 2, .span = true, .shared = true, .fail = "launch:3"};
    for (uint32_t flags = 0; flags <= PEN_QUEUE_FLAG_OUT_OF_ORDER; flags += PEN_QUEUE_FLAG_OUT_OF_ORDER) {
        check_behind_another_queue(&plain, flags);
        check_behind_another_queue(&span, flags);
    }
}

/* One that waits for what has failed, and for what still runs. */
static void check_poisoned(const struct rig_options *options, uint32_t flags)
{
    const uint64_t waits[] = {E + GATE, E + RUNS};
    struct rig rig;
    prepare(&rig, options, flags);
    atomic_store(&rig.view.slots[GATE].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_create, .event = E + GATE, .slot = GATE);
    RIG_SEND(&rig, event_set, .event = E + GATE, .status = -1);
    rig_launch(&rig, Q, HOLD, 1, E + RUNS, RUNS, NULL, 0);
    rig_launch(&rig, Q + 1, NOP, 1, E + REFUSED, REFUSED, waits, 2);
    atomic_store(&rig.view.slots[MARKED].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, marker, .queue = Q + 1, .event = E + MARKED, .slot = MARKED);
    wait_for_dispatch(&rig);
    usleep(20000);
    assert_true(rig_slot(&rig, REFUSED) > 0);
    assert_true(rig_slot(&rig, MARKED) > 0);
    let_go();
    assert_int_equal(rig_wait_slot(&rig, MARKED), 0);
    assert_int_equal(rig_slot(&rig, REFUSED), -PEN_EDEPENDENCY);
    assert_int_equal(rig_slot(&rig, RUNS), PEN_STATE_COMPLETE);
    rig_stop(&rig);
}

static void test_poisoned(void **state)
{
    (void)state;
    for (uint32_t flags = 0; flags <= PEN_QUEUE_FLAG_OUT_OF_ORDER; flags += PEN_QUEUE_FLAG_OUT_OF_ORDER) {
        check_poisoned(&(struct rig_options){0}, flags);
        check_poisoned(&(struct rig_options){.domains = 2, .span = true, .shared = true}, flags);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_behind_another_queue),
        cmocka_unit_test(test_poisoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
