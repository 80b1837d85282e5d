/* What is handed out is zero, aligned and apart from all else, up to the limit, and again after a reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/scratch.h"

static void is_zero_and_aligned(void **state)
{
    static const size_t sizes[] = {1, 15, 16, 17, 0, 4096, 65536, 65537, 100000, 3, 65520};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    struct pen_scratch scratch = {0};
    unsigned char *parts[COUNT];
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            parts[i] = pen_scratch_alloc(&scratch, sizes[i]);
            assert_non_null(parts[i]);
            assert_int_equal((uintptr_t)parts[i] % 16, 0);
            for (size_t j = 0; j < sizes[i]; j++)
                assert_int_equal(parts[i][j], 0);
            memset(parts[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < COUNT; i++)
            for (size_t j = 0; j < sizes[i]; j++)
                assert_int_equal(parts[i][j], i + 1);
        pen_scratch_reset(&scratch);
        assert_int_equal(scratch.total, 0);
    }
    pen_scratch_finish(&scratch);
}

static void has_a_limit(void **state)
{
    struct pen_scratch scratch = {0};
    (void)state;
    assert_null(pen_scratch_alloc(&scratch, PEN_SCRATCH_LIMIT + 1));
    assert_null(pen_scratch_alloc(&scratch, SIZE_MAX));
    assert_non_null(pen_scratch_alloc(&scratch, 1));
    assert_null(pen_scratch_alloc(&scratch, PEN_SCRATCH_LIMIT));
    assert_non_null(pen_scratch_alloc(&scratch, PEN_SCRATCH_LIMIT - 16));
    assert_null(pen_scratch_alloc(&scratch, 1));
    pen_scratch_reset(&scratch);
    assert_non_null(pen_scratch_alloc(&scratch, PEN_SCRATCH_LIMIT));
    pen_scratch_finish(&scratch);
}

static void finishes_whatever_it_is(void **state)
{
    struct pen_scratch scratch = {0};
    (void)state;
    pen_scratch_finish(NULL);
    pen_scratch_reset(&scratch);
    pen_scratch_finish(&scratch);
    assert_non_null(pen_scratch_alloc(&scratch, 8));
    pen_scratch_finish(&scratch);
    pen_scratch_finish(&scratch);
    assert_non_null(pen_scratch_alloc(&scratch, 8));
    pen_scratch_finish(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_zero_and_aligned), cmocka_unit_test(has_a_limit),
                                       cmocka_unit_test(finishes_whatever_it_is)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
