/* sched/code: what a kernel's first run on a device takes longer than later ones, and what is made of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/code.h"

/* A kernel on two devices that are the same. */
struct kernel {
    struct pen_code on[2];
    struct pen_code_runs runs;
};

static void run(struct kernel *kernel, uint32_t device, struct pen_code_costs *costs, uint64_t *now, uint64_t ns)
{
    pen_code_give(&kernel->on[device]);
    pen_code_ran(&kernel->on[device], &kernel->runs, costs, 1000, *now, *now + ns);
    *now += ns;
}

static uint64_t expected(const struct kernel *kernel, uint32_t device, const struct pen_code_costs *costs)
{
    return pen_code_expected_ns(&kernel->on[device], &kernel->runs, costs);
}

static void test_learning(void **state)
{
    (void)state;
    struct kernel a = {0}, b = {0}, c = {0};
    struct pen_code_costs costs = {0};
    uint64_t now = 1;
    assert_int_equal(pen_code_expected_ns(NULL, NULL, &costs), 0);
    run(&a, 0, &costs, &now, 5000);
    assert_int_equal(expected(&b, 0, &costs), 0);                     /* what of that was loading is not known yet */
    assert_int_equal(pen_estimate_run(&a.runs.estimate, 1000), 5000); /* better than nothing */
    run(&a, 0, &costs, &now, 1000);
    assert_int_equal(expected(&b, 0, &costs), 4000);
    assert_int_equal(pen_code_expected_ns(NULL, NULL, &costs), 4000);
    assert_int_equal(expected(&a, 0, &costs), 0); /* it is there */
    assert_int_equal(expected(&a, 1, &costs), 0); /* the other may find it */
    assert_int_equal(pen_estimate_run(&a.runs.estimate, 1000), 1000);
    run(&a, 1, &costs, &now, 2500);
    run(&a, 1, &costs, &now, 1000);
    assert_int_equal(pen_estimate_run(&a.runs.estimate, 1000), 1000); /* its first run there is no measure either */
    assert_int_equal(expected(&b, 1, &costs), 4000);
    run(&b, 1, &costs, &now, 1000);
    assert_int_equal(expected(&b, 0, &costs), 1500);
    pen_code_give(&b.on[0]);
    assert_int_equal(expected(&b, 0, &costs), 0); /* who comes next finds it */
    run(&b, 1, &costs, &now, 1000);               /* this one took no longer */
    assert_int_equal(expected(&c, 1, &costs), 3200);
}

/* Two devices at a time with a kernel that is new: each loads it. */
static void test_at_once(void **state)
{
    (void)state;
    struct kernel a = {0}, b = {0};
    struct pen_code_costs costs = {0};
    pen_code_ran(&a.on[0], &a.runs, &costs, 1000, 1000, 6000);
    pen_code_ran(&a.on[1], &a.runs, &costs, 1000, 1500, 6500);
    pen_code_ran(&a.on[1], &a.runs, &costs, 1000, 6500, 7500);
    assert_false(costs.again.known);
    assert_int_equal(expected(&b, 0, &costs), 4000);
}

/* A size that a device has not had may have to be compiled for. */
static void test_sizes(void **state)
{
    (void)state;
    struct kernel a = {0};
    struct pen_code_costs costs = {0};
    pen_code_ran(&a.on[0], &a.runs, &costs, 1000, 0, 5000);
    pen_code_ran(&a.on[0], &a.runs, &costs, 64000, 5000, 75000);
    assert_int_equal(pen_estimate_run(&a.runs.estimate, 1000), 5000);
    pen_code_ran(&a.on[0], &a.runs, &costs, 1000, 75000, 76000);
    assert_int_equal(pen_estimate_run(&a.runs.estimate, 64000), 64000); /* it took more, and that is too much */
    assert_int_equal(pen_estimate_run(&a.runs.estimate, 128000), 128000);
    pen_code_ran(&a.on[0], &a.runs, &costs, 64000, 76000, 96000);
    assert_int_equal(pen_estimate_run(&a.runs.estimate, 64000), 20000);
    assert_int_equal(costs.anew.ns, 4000);
}

/* Nobody saw how long the first took: the next is none. */
static void test_unseen(void **state)
{
    (void)state;
    struct kernel a = {0};
    struct pen_code_costs costs = {0};
    pen_code_ran_unseen(&a.on[0], &a.runs, 1000, 5000);
    pen_code_ran(&a.on[0], &a.runs, &costs, 1000, 5000, 6000);
    assert_int_equal(pen_estimate_run(&a.runs.estimate, 1000), 1000);
    pen_code_ran(&a.on[0], &a.runs, &costs, 1000, 6000, 7000);
    assert_false(costs.anew.known);
    pen_code_ran(&a.on[1], &a.runs, &costs, 1000, 7000, 10000);
    pen_code_ran(&a.on[1], &a.runs, &costs, 1000, 10000, 11000);
    assert_int_equal(costs.again.ns, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_learning), cmocka_unit_test(test_at_once),
                                       cmocka_unit_test(test_sizes), cmocka_unit_test(test_unseen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
