/* sched/fleet: the most available of a set of devices; a few candidates of all kinds, each once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/fleet.h"

static struct pen_fleet fleet;

static struct pen_device_set set_of(const uint32_t *devices, uint32_t count)
{
    struct pen_device_set set = {{0}};
    for (uint32_t i = 0; i < count; i++)
        pen_device_set_add(&set, devices[i]);
    return set;
}
#define SET(...) set_of((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static struct pen_device_set all(void)
{
    struct pen_device_set set;
    for (uint32_t i = 0; i < PEN_FLEET_WORDS; i++)
        set.words[i] = UINT64_MAX;
    return set;
}

static void the_most_available(void **unused)
{
    struct pen_device_set some = SET(3, 64, 1000), none = {{0}};
    (void)unused;
    pen_fleet_init(&fleet, 1);
    assert_int_equal(pen_fleet_best(&fleet, &some), -1);
    pen_fleet_note(&fleet, 3, 900000, true);
    pen_fleet_note(&fleet, 64, 100000, true);
    pen_fleet_note(&fleet, 1000, 0, false);
    pen_fleet_note(&fleet, 5, 0, true); /* not one of them */
    assert_int_equal(pen_fleet_best(&fleet, &some), 64);
    pen_fleet_note(&fleet, 1000, 0, true);
    assert_int_equal(pen_fleet_best(&fleet, &some), 1000);
    pen_fleet_note(&fleet, 1000, UINT64_MAX, true);
    pen_fleet_note(&fleet, 64, 0, false);
    assert_int_equal(pen_fleet_best(&fleet, &some), 3);
    assert_int_equal(pen_fleet_best(&fleet, &none), -1);
}

static bool is_among(uint32_t device, const uint32_t *devices, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (devices[i] == device)
            return true;
    return false;
}

static void few_of_all_kinds(void **unused)
{
    uint32_t found[PEN_FLEET_CANDIDATES], seen_others = 0;
    struct pen_device_set allowed = all(), holders = SET(7, 8), code = SET(8, 100, 200, 300, 400, 500, 600),
                          none = {{0}};
    struct pen_device_set others = {{0}};
    (void)unused;
    pen_fleet_init(&fleet, 2);
    for (uint32_t i = 0; i < PEN_FLEET_DEVICES; i++)
        pen_fleet_note(&fleet, i, i == 100 ? 5000000 : 0, i != 7);
    for (int turn = 0; turn < 100; turn++) {
        uint32_t count = pen_fleet_candidates(&fleet, &allowed, &holders, &code, found);
        assert_int_equal(count, 1 + PEN_FLEET_EACH + PEN_FLEET_OTHERS); /* 7 has no room */
        assert_int_equal(found[0], 8);
        for (uint32_t i = 1; i < 1 + PEN_FLEET_EACH; i++)
            assert_true(pen_device_set_has(&code, found[i]) && found[i] != 8 && found[i] != 100);
        for (uint32_t i = 0; i < count; i++)
            assert_false(is_among(found[i], found, i));
        for (uint32_t i = count - PEN_FLEET_OTHERS; i < count; i++) {
            seen_others += !pen_device_set_has(&others, found[i]);
            pen_device_set_add(&others, found[i]);
        }
    }
    assert_true(seen_others > 50);
    allowed = SET(100);
    assert_int_equal(pen_fleet_candidates(&fleet, &allowed, &none, &code, found), 1);
    assert_int_equal(found[0], 100);
    assert_int_equal(pen_fleet_candidates(&fleet, &none, &holders, &code, found), 0);
    assert_int_equal(pen_fleet_candidates(&fleet, &holders, &none, &none, found), 1); /* as one of the others */
    assert_int_equal(found[0], 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_most_available), cmocka_unit_test(few_of_all_kinds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
