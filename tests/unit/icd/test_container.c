/* unit/icd/test_container.c - a container comes back as it was, equal programs give equal bytes, and nothing that was
 * cut, flipped or lied about is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "icd/container.h"
#include "penstock-protocol.h"

static struct pen_recipe *source_recipe(const char *text, const char *options)
{
    struct pen_recipe *recipe =
        pen_recipe_create(PEN_RECIPE_SOURCE, PEN_BUILD_STEP_COMPILE, text, strlen(text), options, "-I @1@");
    assert_non_null(recipe);
    recipe->headers = calloc(2, sizeof *recipe->headers);
    recipe->headers[0] = (struct pen_recipe_header){strdup("1/a.h"), strdup("#define A"), 9};
    recipe->headers[1] = (struct pen_recipe_header){strdup("1/sub/b.h"), strdup(""), 0};
    recipe->header_count = 2;
    return recipe;
}

/* A link of a source and of a library made from IL with a constant. */
static struct pen_recipe *link_recipe(void)
{
    static const uint32_t il[] = {0x07230203, 0, 0, 1, 0};
    struct pen_recipe *module = pen_recipe_create(PEN_RECIPE_IL, PEN_BUILD_STEP_COMPILE, il, sizeof il, "", "");
    module->constants = calloc(1, sizeof *module->constants);
    module->constants[0] = (struct pen_recipe_constant){7, 4, {1, 2, 3, 4}};
    module->constant_count = 1;
    struct pen_recipe *library =
        pen_recipe_create(PEN_RECIPE_LINK, PEN_BUILD_STEP_LINK, NULL, 0, "-create-library", "");
    library->inputs = calloc(1, sizeof(struct pen_recipe *));
    library->inputs[0] = module;
    library->input_count = 1;
    struct pen_recipe *recipe = pen_recipe_create(PEN_RECIPE_LINK, PEN_BUILD_STEP_LINK, NULL, 0, "", "");
    recipe->inputs = calloc(2, sizeof(struct pen_recipe *));
    recipe->inputs[0] = source_recipe("kernel void k(void) {}", "-cl-std=CL2.0");
    recipe->inputs[1] = library;
    recipe->input_count = 2;
    return recipe;
}

/* A kernel's information as a frame. */
static struct pen_container_kernel kernel_frame(const char *name, uint32_t devices_count)
{
    const struct pen_argument_info argument = {
        .kind = PEN_ARGUMENT_KIND_REGION, .known = 1, .type_name = "int*", .name = "out"};
    const struct pen_kernel_device_info device = {.device = 1};
    const struct pen_msg_kernel_info info = {.name = name,
                                             .attributes = "",
                                             .arguments = &argument,
                                             .arguments_count = 1,
                                             .devices = &device,
                                             .devices_count = devices_count};
    struct pen_container_kernel kernel = {.size = pen_msg_kernel_info_size(&info)};
    kernel.frame = calloc(1, kernel.size);
    pen_msg_kernel_info_encode(&info, 0, kernel.frame);
    return kernel;
}

static struct pen_container full_container(void)
{
    struct pen_container_kernel *kernels = calloc(1, sizeof *kernels);
    kernels[0] = kernel_frame("k", 0);
    return (struct pen_container){.kernels = kernels,
                                  .kernel_count = 1,
                                  .binary_type = 4,
                                  .recipe = link_recipe(),
                                  .key = strdup("driver\n1.0\ndevice"),
                                  .native = memcpy(malloc(5), "code\0", 5),
                                  .native_size = 5};
}

static void encode(const struct pen_container *container, unsigned char **out_bytes, size_t *out_size)
{
    void *bytes;
    assert_int_equal(pen_container_encode(container, &bytes, out_size), 0);
    *out_bytes = bytes;
}

/* A program's object in the worker is of one text, and keeps the constants of the build before. */
static void test_alike(void **state)
{
    (void)state;
    struct pen_recipe *links[2] = {link_recipe(), link_recipe()};
    struct pen_recipe *sources[3] = {source_recipe("a", "-DX=1"), source_recipe("a", "-DX=2"), source_recipe("b", "")};
    struct pen_recipe *natives[2] = {pen_recipe_create(PEN_RECIPE_NATIVE, PEN_BUILD_STEP_BUILD, "1", 1, "", ""),
                                     pen_recipe_create(PEN_RECIPE_NATIVE, PEN_BUILD_STEP_BUILD, "22", 2, "", "")};
    assert_true(pen_recipe_alike(sources[0], sources[1]));
    assert_false(pen_recipe_equal(sources[0], sources[1]));
    assert_false(pen_recipe_alike(sources[0], sources[2]));
    assert_true(pen_recipe_alike(natives[0], natives[1]));
    assert_false(pen_recipe_alike(natives[0], sources[0]));
    struct pen_recipe_constant *constant = links[1]->inputs[1]->inputs[0]->constants;
    constant->value[0]++;
    assert_true(pen_recipe_alike(links[0], links[1]));
    constant->id++;
    assert_false(pen_recipe_alike(links[0], links[1]));
    constant->id--;
    links[1]->input_count--;
    assert_false(pen_recipe_alike(links[0], links[1]));
    links[1]->input_count++;
    for (int i = 0; i < 3; i++)
        pen_recipe_unref(sources[i]);
    for (int i = 0; i < 2; i++) {
        pen_recipe_unref(links[i]);
        pen_recipe_unref(natives[i]);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    struct pen_container container = full_container(), back = {0};
    unsigned char *bytes, *again;
    size_t size, again_size;
    encode(&container, &bytes, &size);
    assert_true(pen_container_is(bytes, size));
    assert_int_equal(size % 8, 0);
    assert_int_equal(pen_container_decode(bytes, size, &back), 0);
    assert_int_equal(back.binary_type, 4);
    assert_true(pen_recipe_equal(back.recipe, container.recipe));
    assert_string_equal(back.recipe->inputs[0]->headers[1].name, "1/sub/b.h");
    assert_int_equal(back.recipe->inputs[1]->inputs[0]->constants[0].value[3], 4);
    assert_string_equal(back.key, container.key);
    assert_int_equal(back.native_size, 5);
    assert_memory_equal(back.native, "code\0", 5);
    assert_int_equal(back.kernel_count, 1);
    assert_memory_equal(back.kernels[0].frame, container.kernels[0].frame, container.kernels[0].size);

    /* the same again, from what was read */
    encode(&back, &again, &again_size);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, bytes, size);
    free(again);
    free(bytes);
    pen_container_finish(&back);
    pen_container_finish(&container);
}

/* As many specialization constants as a program can have. */
static void test_most_constants(void **state)
{
    (void)state;
    struct pen_container container = full_container(), back = {0};
    struct pen_recipe *module = container.recipe->inputs[1]->inputs[0];
    unsigned char *bytes;
    size_t size;
    free(module->constants);
    module->constants = calloc(PEN_LIMIT_CONSTANTS, sizeof *module->constants);
    module->constant_count = PEN_LIMIT_CONSTANTS;
    for (uint32_t i = 0; i < PEN_LIMIT_CONSTANTS; i++)
        module->constants[i] = (struct pen_recipe_constant){.id = i, .size = 8, .value = {(unsigned char)i}};
    encode(&container, &bytes, &size);
    assert_int_equal(pen_container_decode(bytes, size, &back), 0);
    assert_true(pen_recipe_equal(back.recipe, container.recipe));
    free(bytes);
    pen_container_finish(&back);
    pen_container_finish(&container);
}

static void test_without_native(void **state)
{
    (void)state;
    struct pen_container container = {.binary_type = 1, .recipe = source_recipe("", "-w"), .key = strdup("")},
                         back = {0};
    unsigned char *bytes;
    size_t size;
    encode(&container, &bytes, &size);
    assert_int_equal(pen_container_decode(bytes, size, &back), 0);
    assert_null(back.native);
    assert_string_equal(back.key, "");
    assert_int_equal(back.recipe->size, 0);
    free(bytes);
    pen_container_finish(&back);
    pen_container_finish(&container);
}

static void assert_refused(const unsigned char *bytes, size_t size)
{
    struct pen_container back = {0};
    unsigned char *copy = malloc(size ? size : 1); /* so that a sanitizer sees a byte too many being read */
    memcpy(copy, bytes, size);
    assert_int_equal(pen_container_decode(copy, size, &back), -PEN_EBINARY);
    assert_null(back.recipe);
    free(copy);
}

/* The size and checksum as a hostile writer would make them. */
static void reseal(unsigned char *bytes, size_t size)
{
    uint64_t prelude[2] = {size, XXH64(bytes + 24, size - 24, 0)};
    memcpy(bytes + 8, prelude, sizeof prelude);
}

static void test_truncation(void **state)
{
    (void)state;
    struct pen_container container = full_container();
    unsigned char *bytes, *cut;
    size_t size;
    encode(&container, &bytes, &size);
    for (size_t length = 0; length < size; length++) {
        assert_refused(bytes, length);
        if (length < 24)
            continue;
        cut = memcpy(malloc(length), bytes, length);
        reseal(cut, length);
        assert_refused(cut, length);
        free(cut);
    }
    free(bytes);
    pen_container_finish(&container);
}

static void test_bit_flips(void **state)
{
    (void)state;
    struct pen_container container = full_container();
    unsigned char *bytes;
    size_t size, taken = 0;
    encode(&container, &bytes, &size);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_refused(bytes, size);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    /* With a right checksum a flip may be another valid program; it must be one that can be written again. */
    for (size_t bit = 24 * 8; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        reseal(bytes, size);
        struct pen_container back = {0};
        if (pen_container_decode(bytes, size, &back) == 0) {
            unsigned char *again;
            size_t again_size;
            encode(&back, &again, &again_size);
            assert_int_equal(again_size, size);
            assert_memory_equal(again, bytes, size);
            free(again);
            taken++;
        }
        pen_container_finish(&back);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    assert_true(taken > 0 && taken < size * 8 - 24 * 8);
    free(bytes);
    pen_container_finish(&container);
}

/* Kernels' frames are checked as a worker's would be, and must not speak of devices. */
static void test_hostile_kernels(void **state)
{
    (void)state;
    for (int which = 0; which < 4; which++) {
        struct pen_container container = full_container();
        struct pen_container_kernel *kernel = &container.kernels[0];
        if (which == 0) {
            free(kernel->frame);
            *kernel = kernel_frame("k", 1);
        } else if (which == 1) {
            kernel->size -= 8;
        } else if (which == 2) {
            ((struct pen_frame_header *)kernel->frame)->opcode = PEN_OP_BUILT;
        } else {
            memset((char *)kernel->frame + sizeof(struct pen_frame_header), 0xff, 8);
        }
        unsigned char *bytes;
        size_t size;
        encode(&container, &bytes, &size);
        assert_refused(bytes, size);
        free(bytes);
        pen_container_finish(&container);
    }
}

static void assert_recipe_refused(struct pen_recipe *recipe)
{
    struct pen_container container = {.binary_type = 4, .recipe = recipe, .key = strdup("")};
    unsigned char *bytes;
    size_t size;
    encode(&container, &bytes, &size);
    assert_refused(bytes, size);
    free(bytes);
    pen_container_finish(&container);
}

static void test_hostile_recipes(void **state)
{
    (void)state;
    static const char *const names[] = {"/etc/passwd", "../x.h", "1/../../x.h", "1/..", "..", "",
                                        "a",           "./a",    "1/./a",       "1//a", "1/", "1/a/"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct pen_recipe *recipe = source_recipe("x", "");
        free(recipe->headers[0].name);
        recipe->headers[0].name = strdup(names[i]);
        assert_recipe_refused(recipe);
    }
    struct pen_recipe *recipe = source_recipe("x", "");
    recipe->kind = PEN_RECIPE_LINK; /* of nothing */
    assert_recipe_refused(recipe);
    recipe = source_recipe("x", "");
    recipe->step = 9;
    assert_recipe_refused(recipe);
    recipe = source_recipe("x", "");
    recipe->kind = (enum pen_recipe_kind)9;
    assert_recipe_refused(recipe);

    /* libraries of libraries of ...: one level too many */
    recipe = source_recipe("x", "");
    for (int depth = 1; depth <= PEN_RECIPE_DEPTH; depth++) {
        struct pen_recipe *outer = pen_recipe_create(PEN_RECIPE_LINK, PEN_BUILD_STEP_LINK, NULL, 0, "", "");
        outer->inputs = calloc(1, sizeof(struct pen_recipe *));
        outer->inputs[0] = recipe;
        outer->input_count = 1;
        recipe = outer;
    }
    assert_int_equal(pen_recipe_depth(recipe), PEN_RECIPE_DEPTH + 1);
    assert_recipe_refused(recipe);
}

static void test_non_uniform(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        bool expected;
    } cases[] = {{"", false},
                 {"-cl-std=CL1.2", false},
                 {"-cl-std=CL2.0", true},
                 {"-cl-std=CL3.0 -w", true},
                 {"-cl-std=CL2.0 -cl-uniform-work-group-size", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pen_recipe *recipe = source_recipe("x", cases[i].options);
        assert_int_equal(pen_recipe_non_uniform(recipe), cases[i].expected);
        pen_recipe_unref(recipe);
    }
    struct pen_recipe *recipe = link_recipe();
    assert_true(pen_recipe_non_uniform(recipe));
    free(recipe->inputs[0]->options);
    recipe->inputs[0]->options = strdup("-cl-std=CL1.1");
    assert_false(pen_recipe_non_uniform(recipe));
    pen_recipe_unref(recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alike),           cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_without_native),  cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_bit_flips),       cmocka_unit_test(test_hostile_kernels),
        cmocka_unit_test(test_hostile_recipes), cmocka_unit_test(test_non_uniform),
        cmocka_unit_test(test_most_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
