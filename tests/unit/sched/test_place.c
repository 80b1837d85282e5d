/* sched/place: the device that is done first, room, and what is expected of commands that were seen, or nearly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/place.h"

static void test_choose(void **state)
{
    (void)state;
    struct pen_place places[3] = {{.ahead_ns = 500}, {.ahead_ns = 100}, {.ahead_ns = 100}};
    struct pen_place_option options[3] = {
        {.place = &places[0], .run_ns = 50}, {.place = &places[1], .run_ns = 50}, {.place = &places[2], .run_ns = 50}};
    uint64_t end = 0;
    assert_int_equal(pen_place_choose(options, 3, 1000, &end), 1); /* the first of equal ones */
    assert_int_equal(end, 1150);
    options[1].ready_ns = 2000; /* what it waits for there takes longer than the other devices' work */
    options[2].ready_ns = 2001;
    assert_int_equal(pen_place_choose(options, 3, 1000, &end), 0);
    assert_int_equal(end, 1550);
    options[0].run_ns = 1000; /* the kernel is slow there */
    assert_int_equal(pen_place_choose(options, 3, 1000, &end), 1);
    assert_int_equal(end, 2050);
}

/* It goes to where its data is, until another device has time so much sooner that bringing it is worth while. */
static void test_nearest(void **state)
{
    (void)state;
    const uint64_t run = 50000, bring = 10000;
    struct pen_place places[2] = {{0}};
    struct pen_place_option options[2] = {{.place = &places[0], .bring_ns = bring, .run_ns = run},
                                          {.place = &places[1], .run_ns = run}};
    uint64_t end;
    places[1].ahead_ns = PEN_PLACE_STAY * run;
    assert_int_equal(pen_place_choose(options, 2, 1000, &end), 1);
    assert_int_equal(end, 1000 + (PEN_PLACE_STAY + 1) * run);
    places[1].ahead_ns++;
    assert_int_equal(pen_place_choose(options, 2, 1000, &end), 0);
    assert_int_equal(end, 1000 + bring + run);
    options[0].bring_ns = PEN_PLACE_STAY * run; /* which takes longer than to wait */
    assert_int_equal(pen_place_choose(options, 2, 1000, &end), 1);
    options[1].bring_ns = options[0].bring_ns; /* no device has it */
    assert_int_equal(pen_place_choose(options, 2, 1000, &end), 0);
    options[0].run_ns = options[1].run_ns = PEN_PLACE_STAY_NS; /* of long ones, none is kept waiting for many others */
    options[0].bring_ns = bring;
    options[1].bring_ns = 0;
    places[1].ahead_ns = PEN_PLACE_STAY_NS;
    assert_int_equal(pen_place_choose(options, 2, 1000, &end), 1);
    places[1].ahead_ns++;
    assert_int_equal(pen_place_choose(options, 2, 1000, &end), 0);
}

/* How long data takes to be brought is measured: a little more or less makes no device nearer. */
static void test_as_near(void **state)
{
    (void)state;
    struct pen_place places[2] = {{.ahead_ns = 1}, {0}};
    struct pen_place_option options[2] = {{.place = &places[0], .bring_ns = 80000, .run_ns = 10},
                                          {.place = &places[1], .bring_ns = 90000, .run_ns = 10}};
    uint64_t end;
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 1);
    places[0].ahead_ns = 0;
    places[1].ahead_ns = 1;
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 0);
    options[1].bring_ns = 92000;
    places[0].ahead_ns = 2;
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 0);
}

/* What would be done first where there is no room waits for that, until another is better. */
static void test_room(void **state)
{
    (void)state;
    struct pen_place places[2] = {{0}};
    const struct pen_place_option options[2] = {{.place = &places[0], .run_ns = 10},
                                                {.place = &places[1], .ready_ns = 10000, .run_ns = 10}};
    uint64_t end;
    for (uint32_t i = 0; i < PEN_PLACE_AHEAD; i++) {
        assert_true(pen_place_has_room(&places[0]));
        assert_int_equal(pen_place_choose(options, 2, 0, &end), 0);
        pen_place_enter(&places[0], 10);
    }
    assert_false(pen_place_has_room(&places[0]));
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 0);
    assert_int_equal(end, 10 * (PEN_PLACE_AHEAD + 1));
    pen_place_enter(&places[0], 100000); /* more than the other is worth waiting for */
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 1);
    pen_place_leave(&places[0], 100000);
    pen_place_leave(&places[0], 10);
    assert_true(pen_place_has_room(&places[0]));
    assert_int_equal(places[0].ahead_ns, 10 * (PEN_PLACE_AHEAD - 1));
    for (uint32_t i = 0; i < 2; i++) { /* long ones, of which it is given two */
        assert_true(pen_place_has_room(&places[1]));
        pen_place_enter(&places[1], PEN_PLACE_AHEAD_NS);
    }
    assert_false(pen_place_has_room(&places[1]));
}

/* A short command stays where its code is; where much work waits for those devices, it is loaded on another one, and
 * from then on that one is as good. */
static void test_code(void **state)
{
    (void)state;
    const uint64_t run = 1000, load = 50000;
    struct pen_place places[2] = {{0}};
    struct pen_place_option options[2] = {{.place = &places[0], .run_ns = run},
                                          {.place = &places[1], .load_ns = load, .run_ns = run}};
    uint64_t end, waiting = 0;
    for (uint32_t i = 0; i < PEN_PLACE_AHEAD; i++) {
        if (i * run < load)
            assert_int_equal(pen_place_choose(options, 2, 0, &end), 0);
        pen_place_enter(&places[0], run);
    }
    places[0].ahead_ns = load;
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 0); /* as soon as there */
    for (; waiting < 2 * run; waiting += run) {
        pen_place_wait(&places[0], run);
        places[0].ahead_ns -= run;
    }
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 0);
    pen_place_wait(&places[0], run);
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 1);
    assert_int_equal(end, load + run); /* it takes no less for that */
    pen_place_wait_no_more(&places[0], run);
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 0);
    pen_place_wait(&places[0], run);
    pen_place_enter(&places[1], load + run);
    options[1].load_ns = 0;
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 0);
    options[0].bring_ns = load; /* where data is to be brought, it counts as well */
    options[1].bring_ns = load;
    places[1] = (struct pen_place){.ahead_ns = places[0].ahead_ns - 1};
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 1);
    places[0].waiting_ns = 0;
    options[1].load_ns = 2;
    assert_int_equal(pen_place_choose(options, 2, 0, &end), 0);
}

/* What a device was expected to have done long ago it still does: who comes now goes elsewhere. */
static void test_late(void **state)
{
    (void)state;
    struct pen_place places[2] = {{0}};
    struct pen_place_option options[2] = {{.place = &places[0], .run_ns = 10}, {.place = &places[1], .run_ns = 10}};
    uint64_t end;
    pen_place_enter(&places[0], 100);
    pen_place_enter(&places[1], 300);
    pen_place_begin(&places[0], 1000);
    assert_int_equal(pen_place_choose(options, 2, 1200, &end), 0);
    assert_int_equal(end, 1200 + 200 + 10);
    assert_int_equal(pen_place_choose(options, 2, 1400, &end), 1); /* which is not late: it waits for something else */
    pen_place_begin(&places[1], 1000);
    assert_int_equal(pen_place_choose(options, 2, 1400, &end), 0); /* both are late */
    pen_place_enter(&places[1], 300);
    pen_place_begin(&places[1], 1400);
    pen_place_end(&places[1], 1450);
    pen_place_leave(&places[1], 300);
    assert_int_equal(pen_place_choose(options, 2, 1500, &end), 1); /* this one has gone on */
    assert_int_equal(end, 1500 + 300 + 10);
    options[0].bring_ns = options[1].bring_ns = PEN_PLACE_STAY_NS;
    options[0].bring_ns /= 2; /* it has some of the data */
    assert_int_equal(pen_place_choose(options, 2, 1500, &end), 0);
    assert_int_equal(pen_place_choose(options, 2, 1450 + PEN_PLACE_STAY_NS, &end), 0);
    pen_place_end(&places[1], 1600);
    pen_place_leave(&places[1], 300);
    assert_int_equal(pen_place_choose(options, 2, 1000 + PEN_PLACE_STAY_NS, &end), 1);
    pen_place_end(&places[0], 0);
    pen_place_leave(&places[0], 100);
    assert_int_equal(pen_place_choose(options, 2, 1000 + PEN_PLACE_STAY_NS, &end), 0);
}

static void test_estimate(void **state)
{
    (void)state;
    struct pen_estimate estimate = {0};
    assert_int_equal(pen_estimate_run(&estimate, 1000), PEN_PLACE_UNKNOWN_NS);
    assert_int_equal(pen_estimate_run(&estimate, 0), PEN_PLACE_UNKNOWN_NS);
    pen_estimate_note(&estimate, 1024, 4000);
    assert_int_equal(pen_estimate_run(&estimate, 1024), 4000);
    assert_int_equal(pen_estimate_run(&estimate, 2047), 4000);
    assert_int_equal(pen_estimate_run(&estimate, 4096), 16000); /* of sizes not seen: in proportion */
    assert_int_equal(pen_estimate_run(&estimate, 256), 1000);
    assert_in_range(pen_estimate_run(&estimate, UINT64_MAX), UINT64_C(1) << 40, UINT64_C(1) << 42); /* in bounds */
    for (int i = 0; i < 50; i++)
        pen_estimate_note(&estimate, 1024, 9000);
    assert_in_range(pen_estimate_run(&estimate, 1024), 8900, 9000); /* it follows what the kernel does now */
    pen_estimate_note(&estimate, 1 << 14, 1000);
    assert_in_range(pen_estimate_run(&estimate, 1 << 12), 35000, 36000); /* of two as near, from the smaller one */
    assert_int_equal(pen_estimate_run(&estimate, 1 << 13), 500);
    pen_estimate_note(&estimate, 1 << 20, 0);
    assert_in_range(pen_estimate_run(&estimate, 1 << 20), 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_choose),  cmocka_unit_test(test_nearest),
                                       cmocka_unit_test(test_as_near), cmocka_unit_test(test_room),
                                       cmocka_unit_test(test_code),    cmocka_unit_test(test_late),
                                       cmocka_unit_test(test_estimate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
