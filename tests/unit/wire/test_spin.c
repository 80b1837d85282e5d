/* Where spinning does not pay it is left out, and tried again now and then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wire/futex.h"

/* Of so many waits, how many spin, when each ends so? */
static int spins(struct pen_spinner *spinner, int waits, bool in_time, uint64_t late_ns)
{
    int count = 0;
    for (int i = 0; i < waits; i++) {
        if (pen_spin_pays(spinner)) {
            count++;
            pen_spin_learn(spinner, in_time, late_ns);
        }
    }
    return count;
}

static void test_short_waits(void **state)
{
    (void)state;
    struct pen_spinner spinner = {0};
    assert_int_equal(spins(&spinner, 1000, true, 500), 1000);
}

static void test_long_waits(void **state)
{
    (void)state;
    struct pen_spinner spinner = {0};
    assert_in_range(spins(&spinner, 1600, false, 500), 16, 16 + 100);
    /* short again: found out by those that are tried */
    spins(&spinner, 100, true, 500);
    assert_int_equal(spins(&spinner, 1000, true, 500), 1000);
}

/* On a busy machine what was waited for is there when a yield comes back, which is milliseconds later. */
static void test_late_yields(void **state)
{
    (void)state;
    struct pen_spinner spinner = {0};
    assert_in_range(spins(&spinner, 1600, true, 3000000), 1, 1 + 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_waits),
        cmocka_unit_test(test_long_waits),
        cmocka_unit_test(test_late_yields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
