/* unit/icd/test_meta.c - kernels' information of builds for several devices becomes one; SPIR-V's specialization
 * constants are found, and nothing is read outside a module that lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "icd/meta.h"
#include "icd/program.h"

static struct pen_kernel_meta make_with(uint32_t argument_count, const char *name, uint64_t device, uint64_t group)
{
    const struct pen_argument_info arguments[] = {{.type_name = "int*", .name = "out"}, {.type_name = "", .name = ""}};
    const struct pen_kernel_device_info devices[] = {{.device = device, .work_group_size = group}};
    const struct pen_msg_kernel_info info = {.name = name,
                                             .attributes = "",
                                             .arguments = arguments,
                                             .arguments_count = argument_count,
                                             .devices = devices,
                                             .devices_count = 1};
    struct pen_kernel_meta meta;
    assert_int_equal(pen_meta_copy(&info, &meta), 0);
    return meta;
}

static struct pen_kernel_meta make(const char *name, uint64_t device, uint64_t group)
{
    return make_with(2, name, device, group);
}

static struct pen_kernel_meta *list(struct pen_kernel_meta a, struct pen_kernel_meta b)
{
    struct pen_kernel_meta *all = calloc(2, sizeof *all);
    all[0] = a;
    all[1] = b;
    return all;
}

static void test_merge(void **state)
{
    (void)state;
    struct pen_kernel_meta *kernels = NULL;
    uint32_t count = 0;
    assert_int_equal(pen_meta_merge(&kernels, &count, list(make("a", 1, 10), make("b", 1, 11)), 2), 0);
    assert_int_equal(pen_meta_merge(&kernels, &count, list(make("b", 2, 21), make("c", 2, 22)), 2), 0);
    assert_int_equal(count, 3);
    const struct pen_kernel_meta *b = pen_meta_find(kernels, count, "b");
    assert_int_equal(b->info.devices_count, 2);
    assert_string_equal(b->info.arguments[0].name, "out");
    /* built again for one device: its facts are replaced */
    assert_int_equal(pen_meta_merge(&kernels, &count, list(make("b", 1, 31), make("a", 1, 30)), 2), 0);
    assert_int_equal(count, 3);
    b = pen_meta_find(kernels, count, "b");
    assert_int_equal(b->info.devices_count, 2);
    for (uint32_t i = 0; i < 2; i++)
        assert_int_equal(b->info.devices[i].work_group_size, b->info.devices[i].device == 1 ? 31 : 21);
    /* a device's build is gone: so are kernels that only it had */
    pen_meta_forget(kernels, &count, 1);
    assert_int_equal(count, 2);
    assert_null(pen_meta_find(kernels, count, "a"));
    assert_int_equal(pen_meta_find(kernels, count, "b")->info.devices_count, 1);
    pen_meta_forget(kernels, &count, 2);
    assert_int_equal(count, 0);
    pen_meta_free(kernels, count);
}

/* A function that is not the same on two devices is described for each, and cannot be created until it is. */
static void test_differs(void **state)
{
    (void)state;
    struct pen_kernel_meta *kernels = NULL;
    uint32_t count = 0;
    struct pen_kernel_meta other = make_with(1, "a", 2, 20), again = make("a", 2, 21);
    assert_int_equal(pen_meta_merge(&kernels, &count, list(make("a", 1, 10), make("b", 1, 11)), 2), 0);
    assert_int_equal(pen_meta_merge(&kernels, &count, list(other, make("b", 2, 22)), 2), 0);
    assert_int_equal(count, 3);
    assert_int_equal(pen_meta_count(kernels, count), 1);
    assert_true(pen_meta_find(kernels, count, "a")->differs);
    assert_false(pen_meta_find(kernels, count, "b")->differs);
    pen_meta_forget(kernels, &count, 2); /* to be built again */
    assert_int_equal(pen_meta_count(kernels, count), 2);
    assert_false(pen_meta_find(kernels, count, "a")->differs);
    /* what is known of two arguments says that they are set otherwise */
    for (uint32_t i = 0; i < 2; i++) {
        ((struct pen_argument_info *)(uintptr_t)again.info.arguments)[i].known = 1;
        ((struct pen_argument_info *)(uintptr_t)kernels[0].info.arguments)[i].known = 1;
    }
    ((struct pen_argument_info *)(uintptr_t)again.info.arguments)[1].size = 4;
    assert_int_equal(pen_meta_merge(&kernels, &count, list(again, make("c", 2, 23)), 2), 0);
    assert_int_equal(pen_meta_count(kernels, count), 3); /* a size that only one device tells is no difference */
    assert_int_equal(pen_meta_find(kernels, count, "a")->info.devices_count, 2);
    again = make("a", 3, 30);
    ((struct pen_argument_info *)(uintptr_t)again.info.arguments)[0].known = 1;
    ((struct pen_argument_info *)(uintptr_t)again.info.arguments)[0].kind = PEN_ARGUMENT_KIND_LOCAL;
    assert_int_equal(pen_meta_merge(&kernels, &count, list(again, make("c", 3, 31)), 2), 0);
    assert_int_equal(pen_meta_count(kernels, count), 2);
    assert_true(pen_meta_find(kernels, count, "a")->differs);
    pen_meta_free(kernels, count);
}

/* The first device to be built for tells nothing of the arguments: the second and the third differ all the same. */
static void test_differs_behind_unknown(void **state)
{
    (void)state;
    struct pen_kernel_meta *kernels = NULL;
    uint32_t count = 0;
    struct pen_kernel_meta second = make("a", 2, 20), third = make("a", 3, 30);
    struct pen_argument_info *of_second = (struct pen_argument_info *)(uintptr_t)second.info.arguments;
    struct pen_argument_info *of_third = (struct pen_argument_info *)(uintptr_t)third.info.arguments;
    of_second[0].known = of_third[0].known = of_second[1].known = of_third[1].known = 1;
    of_third[1].kind = PEN_ARGUMENT_KIND_LOCAL;
    assert_int_equal(pen_meta_merge(&kernels, &count, list(make("a", 1, 10), make("b", 1, 11)), 2), 0);
    assert_int_equal(pen_meta_merge(&kernels, &count, list(second, make("b", 2, 21)), 2), 0);
    assert_int_equal(pen_meta_count(kernels, count), 2);
    assert_int_equal(pen_meta_find(kernels, count, "a")->info.arguments[1].known, 1);
    assert_int_equal(pen_meta_merge(&kernels, &count, list(third, make("b", 3, 31)), 2), 0);
    assert_int_equal(pen_meta_count(kernels, count), 1);
    assert_true(pen_meta_find(kernels, count, "a")->differs);
    pen_meta_free(kernels, count);
}

static void test_complete(void **state)
{
    (void)state;
    struct pen_kernel_meta kernels[2] = {make("a", 1, 10), make("b", 1, 11)}, given = make("b", 0, 0);
    ((struct pen_argument_info *)(uintptr_t)given.info.arguments)[0].known = 1;
    ((struct pen_argument_info *)(uintptr_t)given.info.arguments)[1].known = 1;
    assert_int_equal(pen_meta_complete(kernels, 2, &given, 1), 0);
    assert_int_equal(kernels[0].info.arguments[0].known, 0);
    assert_int_equal(kernels[1].info.arguments[1].known, 1);
    assert_int_equal(kernels[1].info.devices[0].work_group_size, 11); /* the device's facts stay */
    given.info.arguments_count = 1;                                   /* another kernel of the same name */
    kernels[0].info.arguments_count = 2;
    assert_int_equal(pen_meta_complete(kernels, 1, &given, 1), 0);
    assert_int_equal(kernels[0].info.arguments[0].known, 0);
    given.info.arguments_count = 2;
    pen_meta_finish(&given);
    pen_meta_finish(&kernels[0]);
    pen_meta_finish(&kernels[1]);
}

/* OpTypeInt %2 64 0, OpTypeFloat %3 16 0, OpSpecConstant %2 %4 1 0, OpSpecConstantTrue %5 %6, OpSpecConstant %3 %7 1,
 * and decorations: %4 has SpecId 40, %6 has 41, %7 has 42, %9 (which is no constant) has 43. */
static const uint32_t module[] = {
    0x07230203,
    0x00010000,
    0,
    10,
    0, /* header */
    4u << 16 | 71,
    4,
    1,
    40,
    4u << 16 | 71,
    6,
    1,
    41, /* OpDecorate */
    4u << 16 | 71,
    7,
    1,
    42,
    4u << 16 | 71,
    9,
    1,
    43, /* */
    4u << 16 | 21,
    2,
    64,
    0,
    3u << 16 | 22,
    3,
    16, /* types */
    5u << 16 | 50,
    2,
    4,
    1,
    0,
    3u << 16 | 48,
    5,
    6,
    4u << 16 | 50,
    3,
    7,
    1,
};

static void test_constants(void **state)
{
    (void)state;
    assert_true(pen_spirv_ok(module, sizeof module));
    assert_false(pen_spirv_ok(module, sizeof module - 1));
    assert_false(pen_spirv_ok(module + 1, sizeof module - 4));
    assert_false(pen_spirv_ok(module, 16));
    assert_int_equal(pen_spirv_constant_size(module, sizeof module, 40), 8);
    assert_int_equal(pen_spirv_constant_size(module, sizeof module, 41), 1);
    assert_int_equal(pen_spirv_constant_size(module, sizeof module, 42), 2);
    assert_int_equal(pen_spirv_constant_size(module, sizeof module, 43), 0);
    assert_int_equal(pen_spirv_constant_size(module, sizeof module, 44), 0);
}

/* Cut after any word, and with any instruction's length too short or too long (a sanitizer watches). */
static void test_hostile_module(void **state)
{
    (void)state;
    for (size_t size = 0; size <= sizeof module; size += 4) {
        void *cut = memcpy(malloc(size ? size : 1), module, size);
        (void)pen_spirv_constant_size(cut, size, 42);
        free(cut);
    }
    for (size_t word = 5; word < sizeof module / 4; word++) {
        uint32_t *bad = memcpy(malloc(sizeof module), module, sizeof module);
        bad[word] = 0xffff0000u | (bad[word] & 0xffff);
        (void)pen_spirv_constant_size(bad, sizeof module, 42);
        bad[word] &= 0xffff;
        (void)pen_spirv_constant_size(bad, sizeof module, 42);
        free(bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_merge),
                                       cmocka_unit_test(test_differs),
                                       cmocka_unit_test(test_differs_behind_unknown),
                                       cmocka_unit_test(test_complete),
                                       cmocka_unit_test(test_constants),
                                       cmocka_unit_test(test_hostile_module)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
