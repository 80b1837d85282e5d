/* icd/recipe.c - see recipe.h. */
#include "icd/recipe.h"

#include <stdlib.h>
#include <string.h>

#include "penstock-protocol.h"

struct pen_recipe *pen_recipe_create(enum pen_recipe_kind kind, uint32_t step, const void *text, size_t size,
                                     const char *options, const char *wire_options)
{
    struct pen_recipe *recipe = calloc(1, sizeof *recipe);
    if (!recipe)
        return NULL;
    atomic_init(&recipe->refs, 1);
    recipe->kind = kind;
    recipe->step = step;
    recipe->size = size;
    recipe->text = malloc(size + 1);
    recipe->options = strdup(options ? options : "");
    recipe->wire_options = strdup(wire_options ? wire_options : "");
    if (!recipe->text || !recipe->options || !recipe->wire_options) {
        pen_recipe_unref(recipe);
        return NULL;
    }
    if (size)
        memcpy(recipe->text, text, size);
    ((char *)recipe->text)[size] = 0;
    return recipe;
}

struct pen_recipe *pen_recipe_ref(struct pen_recipe *recipe)
{
    atomic_fetch_add_explicit(&recipe->refs, 1, memory_order_relaxed);
    return recipe;
}

void pen_recipe_unref(struct pen_recipe *recipe)
{
    /* acq_rel: the last holder sees what the others did before they let go. */
    if (!recipe || atomic_fetch_sub_explicit(&recipe->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < recipe->header_count; i++) {
        free(recipe->headers[i].name);
        free(recipe->headers[i].text);
    }
    for (uint32_t i = 0; i < recipe->input_count; i++)
        pen_recipe_unref(recipe->inputs[i]);
    free(recipe->headers);
    free(recipe->constants);
    free(recipe->inputs);
    free(recipe->text);
    free(recipe->options);
    free(recipe->wire_options);
    free(recipe);
}

static bool headers_equal(const struct pen_recipe *a, const struct pen_recipe *b)
{
    if (a->header_count != b->header_count)
        return false;
    for (uint32_t i = 0; i < a->header_count; i++) {
        const struct pen_recipe_header *x = &a->headers[i], *y = &b->headers[i];
        if (strcmp(x->name, y->name) != 0 || x->size != y->size || (x->size && memcmp(x->text, y->text, x->size) != 0))
            return false;
    }
    return true;
}

static bool constants_equal(const struct pen_recipe *a, const struct pen_recipe *b)
{
    if (a->constant_count != b->constant_count)
        return false;
    for (uint32_t i = 0; i < a->constant_count; i++) {
        const struct pen_recipe_constant *x = &a->constants[i], *y = &b->constants[i];
        if (x->id != y->id || x->size != y->size || memcmp(x->value, y->value, x->size) != 0)
            return false;
    }
    return true;
}

static bool texts_equal(const struct pen_recipe *a, const struct pen_recipe *b)
{
    return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

/* Those that one sets, the other sets too, and so leaves none of the one's. */
static bool same_constants(const struct pen_recipe *a, const struct pen_recipe *b)
{
    bool same = a->constant_count == b->constant_count;
    for (uint32_t i = 0; same && i < a->constant_count; i++)
        same = a->constants[i].id == b->constants[i].id;
    return same;
}

bool pen_recipe_alike(const struct pen_recipe *a, const struct pen_recipe *b)
{
    if (a == b)
        return true;
    if (a->kind != b->kind)
        return false;
    if (a->kind == PEN_RECIPE_NATIVE)
        return true;
    if (a->kind != PEN_RECIPE_LINK)
        return texts_equal(a, b) && same_constants(a, b);
    bool alike = strcmp(a->wire_options, b->wire_options) == 0 && a->input_count == b->input_count;
    for (uint32_t i = 0; alike && i < a->input_count; i++)
        alike = pen_recipe_alike(a->inputs[i], b->inputs[i]);
    return alike;
}

bool pen_recipe_equal(const struct pen_recipe *a, const struct pen_recipe *b)
{
    if (a == b)
        return true;
    if (!a || !b || a->kind != b->kind || a->step != b->step || !texts_equal(a, b) ||
        strcmp(a->options, b->options) != 0 || strcmp(a->wire_options, b->wire_options) != 0 || !headers_equal(a, b) ||
        !constants_equal(a, b) || a->input_count != b->input_count)
        return false;
    for (uint32_t i = 0; i < a->input_count; i++)
        if (!pen_recipe_equal(a->inputs[i], b->inputs[i]))
            return false;
    return true;
}

bool pen_recipe_non_uniform(const struct pen_recipe *recipe)
{
    if (strstr(recipe->options, "-cl-uniform-work-group-size"))
        return false;
    if (recipe->kind == PEN_RECIPE_LINK) {
        for (uint32_t i = 0; i < recipe->input_count; i++)
            if (!pen_recipe_non_uniform(recipe->inputs[i]))
                return false;
        return true;
    }
    if (recipe->kind != PEN_RECIPE_SOURCE)
        return true;
    const char *standard = strstr(recipe->options, "-cl-std=");
    return standard && (strncmp(standard + 8, "CL2", 3) == 0 || strncmp(standard + 8, "CL3", 3) == 0 ||
                        strncmp(standard + 8, "CLC++", 5) == 0);
}

bool pen_recipe_argument_info(const struct pen_recipe *recipe)
{
    bool info = recipe->argument_info;
    if (recipe->kind == PEN_RECIPE_LINK) {
        info = true;
        for (uint32_t i = 0; info && i < recipe->input_count; i++)
            info = pen_recipe_argument_info(recipe->inputs[i]);
    }
    return info;
}

bool pen_recipe_native(const struct pen_recipe *recipe)
{
    bool native = recipe->kind == PEN_RECIPE_NATIVE;
    for (uint32_t i = 0; !native && i < recipe->input_count; i++)
        native = pen_recipe_native(recipe->inputs[i]);
    return native;
}

uint32_t pen_recipe_depth(const struct pen_recipe *recipe)
{
    uint32_t deepest = 0;
    for (uint32_t i = 0; i < recipe->input_count; i++) {
        uint32_t depth = pen_recipe_depth(recipe->inputs[i]);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}
