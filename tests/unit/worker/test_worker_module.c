/* worker/module: what a module says is only read through; and modules that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/module.h"

#define OP(opcode_, words_) ((uint32_t)(words_) << 16 | (opcode_))
#define NAME                0x0000006b /* "k" */

/* Kernel k is function 10, whose parameters are 11, 12 and 13; of another one's and its own some are NoWrite. */
static const uint32_t module[] = {
    0x07230203, 0x00010200, 0,         100,        0,                                  /* header */
    OP(15, 4),  6,          20,        0x0000006a, OP(15, 5), 6,         10, NAME, 99, /* entry points j, k */
    OP(71, 4),  12,         38,        6,          OP(71, 4), 11,        38, 4,    OP(71, 4),
    21,         38,         6,         OP(71, 4),  13,        44,        6,                   /* NoWrite, NoAlias */
    OP(54, 5),  1,          20,        0,          3,         OP(55, 3), 2,  21,   OP(56, 1), /* j */
    OP(54, 5),  1,          10,        0,          3,         OP(55, 3), 2,  11,   OP(55, 3),
    2,          12,         OP(55, 3), 2,          13,        OP(56, 1), /* k */
};

static void test_parameters(void **state)
{
    (void)state;
    bool reads[4];
    pen_module_reads(module, sizeof module, "k", 3, reads);
    assert_false(reads[0]);
    assert_true(reads[1]);
    assert_false(reads[2]);
    pen_module_reads(module, sizeof module, "j", 1, reads);
    assert_true(reads[0]);
    pen_module_reads(module, sizeof module, "k", 4, reads); /* not as many as that */
    assert_false(reads[1]);
    pen_module_reads(module, sizeof module, "k", 2, reads);
    assert_false(reads[1]);
    pen_module_reads(module, sizeof module, "kk", 3, reads);
    assert_false(reads[1]);
}

static void test_prints(void **state)
{
    (void)state;
    uint32_t prints[sizeof module / 4 + 6];
    assert_false(pen_module_may_print(module, sizeof module));
    memcpy(prints, module, sizeof module);
    memcpy(prints + sizeof module / 4, (uint32_t[]){OP(12, 6), 2, 30, 1, 184, 31}, 6 * 4);
    assert_true(pen_module_may_print(prints, sizeof prints));
    prints[sizeof module / 4 + 4] = 23; /* another */
    assert_false(pen_module_may_print(prints, sizeof prints));
    assert_true(pen_module_may_print(prints, sizeof prints - 4));
    assert_true(pen_module_may_print("kernel void k() {}      ", 24));
    assert_true(pen_module_may_print("", 0));
}

/* As long as may be, and one word longer; what stands behind a function is no annotation. */
static void test_bounds(void **state)
{
    (void)state;
    bool reads[3];
    size_t words = PEN_MODULE_BYTES / 4;
    uint32_t *longer = malloc(PEN_MODULE_BYTES + 4);
    assert_non_null(longer);
    memcpy(longer, module, sizeof module);
    for (size_t i = sizeof module / 4; i <= words; i++)
        longer[i] = OP(0, 1);
    pen_module_reads(longer, PEN_MODULE_BYTES, "k", 3, reads);
    assert_true(reads[1]);
    pen_module_reads(longer, PEN_MODULE_BYTES + 4, "k", 3, reads);
    assert_false(reads[1]);
    memcpy(longer + sizeof module / 4, (uint32_t[]){OP(71, 4), 11, 38, 6}, 4 * 4);
    pen_module_reads(longer, PEN_MODULE_BYTES, "k", 3, reads);
    assert_false(reads[0]);
    free(longer);
    bool many[PEN_MODULE_PARAMETERS + 1];
    pen_module_reads(module, sizeof module, "k", PEN_MODULE_PARAMETERS + 1, many);
    assert_false(many[1]);
}

static void test_broken(void **state)
{
    (void)state;
    bool reads[3];
    for (size_t size = 0; size < sizeof module; size++) { /* in memory of that size */
        void *cut = malloc(size ? size : 1);
        assert_non_null(cut);
        memcpy(cut, module, size);
        pen_module_reads(cut, size, "k", 3, reads);
        pen_module_may_print(cut, size);
        free(cut);
    }
    for (size_t i = 0; i < sizeof module / 4; i++) {
        uint32_t wrong[sizeof module / 4];
        memcpy(wrong, module, sizeof wrong);
        for (int bit = 0; bit < 32; bit++) {
            wrong[i] = module[i] ^ UINT32_C(1) << bit;
            pen_module_reads(wrong, sizeof wrong, "k", 3, reads);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parameters), cmocka_unit_test(test_prints),
                                       cmocka_unit_test(test_bounds), cmocka_unit_test(test_broken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
