/* pen_copy: every branch of its choice gives what memmove gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/copy.h"

#define ROOM (PEN_COPY_LARGE + 3 * 4096)

/* The same each time, so that they are made once: a sanitizer looks at each byte of them. */
static const unsigned char *pattern(void)
{
    static unsigned char bytes[2 * ROOM];
    uint32_t x = 1;
    for (size_t i = bytes[0] ? sizeof bytes : 0; i < sizeof bytes; i++) {
        x = x * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(x >> 24);
    }
    return bytes;
}

/* From `from` to `to` within one block (overlapping when they are near), or between two. */
static void check(size_t to, size_t from, size_t size, int blocks)
{
    unsigned char *one = aligned_alloc(4096, 2 * ROOM), *two = aligned_alloc(4096, 2 * ROOM);
    unsigned char *expected = malloc(2 * ROOM);
    assert_true(one && two && expected);
    memcpy(one, pattern(), 2 * ROOM);
    memset(two, 0x5A, 2 * ROOM);
    unsigned char *target = blocks == 1 ? one : two;
    memcpy(expected, target, 2 * ROOM);
    memmove(expected + to, (blocks == 1 ? expected : one) + from, size);
    pen_copy(target + to, one + from, size);
    assert_memory_equal(target, expected, 2 * ROOM); /* also what lies before and behind */
    free(one);
    free(two);
    free(expected);
}

static void test_apart(void **state)
{
    (void)state;
    static const size_t offsets[] = {0, 1, 16, 63, 64, 65, 2048, 4032, 4095};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        check(offsets[i], 0, PEN_COPY_LARGE, 2);
        check(0, offsets[i], PEN_COPY_LARGE + 7, 2);
    }
    check(3, 5, 1000, 2);
    check(3, 5, 0, 2);
}

static void test_overlapping(void **state)
{
    (void)state;
    static const size_t steps[] = {0, 1, 64, 4096, PEN_COPY_LARGE - 4096, PEN_COPY_LARGE};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        check(steps[i], 0, PEN_COPY_LARGE, 1);
        check(0, steps[i], PEN_COPY_LARGE, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apart),
        cmocka_unit_test(test_overlapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
