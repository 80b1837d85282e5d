/* Ids and what they name: beside a plain table, with keys that meet and keys that go; and what an empty map says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/map.h"

static char things[8];

static void is_empty_at_first(void **state)
{
    struct pen_map map = {0};
    (void)state;
    assert_null(pen_map_get(&map, 1));
    assert_null(pen_map_remove(&map, 1));
    pen_map_finish(&map);
    pen_map_finish(&map);
    pen_map_finish(NULL);
}

static void replaces_and_removes(void **state)
{
    struct pen_map map = {0};
    (void)state;
    assert_int_equal(pen_map_set(&map, UINT64_MAX, &things[0]), 0);
    assert_int_equal(pen_map_set(&map, UINT64_MAX, &things[1]), 0);
    assert_int_equal(map.count, 1);
    assert_ptr_equal(pen_map_get(&map, UINT64_MAX), &things[1]);
    assert_null(pen_map_get(&map, UINT32_MAX));
    assert_null(pen_map_remove(&map, 1));
    assert_ptr_equal(pen_map_remove(&map, UINT64_MAX), &things[1]);
    assert_null(pen_map_remove(&map, UINT64_MAX));
    assert_int_equal(map.count, 0);
    pen_map_finish(&map);
}

/* The smallest table with keys that all have their home in its last entry: they go on at its beginning. Whichever is
 * taken out first, the others are found. */
static void wraps_around(void **state)
{
    enum { MANY = 5 };
    uint64_t keys[MANY];
    (void)state;
    for (uint64_t key = 1, found = 0; found < MANY; key++)
        if (((uint32_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & 15) == 15)
            keys[found++] = key;
    for (int gone = 0; gone < MANY; gone++) {
        struct pen_map map = {0};
        for (int i = 0; i < MANY; i++)
            assert_int_equal(pen_map_set(&map, keys[i], &things[i]), 0);
        assert_int_equal(map.capacity, 16);
        assert_ptr_equal(pen_map_remove(&map, keys[gone]), &things[gone]);
        for (int i = 0; i < MANY; i++)
            assert_ptr_equal(pen_map_get(&map, keys[i]), i == gone ? NULL : &things[i]);
        pen_map_finish(&map);
    }
}

static uint64_t chance = 88172645463325252;

static uint32_t choose(uint32_t below)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (uint32_t)(chance >> 32) % below;
}

static void is_as_a_table(void **state)
{
    enum { KEYS = 700, TURNS = 60000 };
    static void *table[KEYS];
    struct pen_map map = {0};
    uint32_t count = 0;
    (void)state;
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        uint32_t i = choose(KEYS);
        uint64_t key = i % 2 ? i + 1 : ((uint64_t)i + 1) << 40; /* as sessions' ids, and far apart */
        bool fills = choose(16) < (turn / (TURNS / 4) % 2 ? 4 : 12);
        if (fills) {
            void *value = &things[choose(sizeof things)];
            assert_int_equal(pen_map_set(&map, key, value), 0);
            count += !table[i];
            table[i] = value;
        } else {
            assert_ptr_equal(pen_map_remove(&map, key), table[i]);
            count -= table[i] != NULL;
            table[i] = NULL;
        }
        assert_int_equal(map.count, count);
        i = choose(KEYS);
        assert_ptr_equal(pen_map_get(&map, i % 2 ? i + 1 : ((uint64_t)i + 1) << 40), table[i]);
    }
    for (uint32_t i = 0; i < KEYS; i++)
        assert_ptr_equal(pen_map_get(&map, i % 2 ? i + 1 : ((uint64_t)i + 1) << 40), table[i]);
    pen_map_finish(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_empty_at_first), cmocka_unit_test(replaces_and_removes),
                                       cmocka_unit_test(wraps_around), cmocka_unit_test(is_as_a_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
