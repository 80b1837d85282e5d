/* icd/recipe.h - how a program was made: what the application gave, with which options and headers, from which
 * inputs. A recipe is enough to make the program again, on any device; the portable container (container.h) and the
 * builder (builder.h) read it. Knows nothing of OpenCL objects.
 * Ownership: counted references; a link's recipe holds one on each input. Immutable once shared.
 * Threads:   references from any thread. Units: bytes. */
#ifndef PEN_ICD_RECIPE_H
#define PEN_ICD_RECIPE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pen_recipe_kind {
    PEN_RECIPE_SOURCE = 1,
    PEN_RECIPE_IL = 2,
    PEN_RECIPE_LINK = 3,
    PEN_RECIPE_NATIVE = 4 /* a vendor's binary that came without its source: runs on its own device only */
};

/* A header, under the name that the worker puts it in place with ("0/dir/file.h"). */
struct pen_recipe_header {
    char *name;
    void *text;
    size_t size;
};

struct pen_recipe_constant { /* specialization constant */
    uint32_t id;
    uint32_t size;
    unsigned char value[8];
};

struct pen_recipe {
    _Atomic uint32_t refs;
    enum pen_recipe_kind kind;
    uint32_t step;      /* enum pen_build_step */
    bool argument_info; /* the application may ask for the kernels' arguments; not in containers */
    void *text;         /* source (as sent to the worker), IL or native code; a zero byte follows */
    size_t size;
    char *options;      /* as the application gave them; never NULL */
    char *wire_options; /* with include directories as the worker knows them; never NULL */
    struct pen_recipe_header *headers;
    uint32_t header_count;
    struct pen_recipe_constant *constants;
    uint32_t constant_count;
    struct pen_recipe **inputs; /* of a link */
    uint32_t input_count;
};

/* Inputs of inputs of ... a link: deeper is refused. */
#define PEN_RECIPE_DEPTH 16

/* A recipe with one reference, copies of the text and options, and nothing else; NULL when out of memory.
 * options and wire_options may be NULL: "". */
struct pen_recipe *pen_recipe_create(enum pen_recipe_kind kind, uint32_t step, const void *text, size_t size,
                                     const char *options, const char *wire_options);
struct pen_recipe *pen_recipe_ref(struct pen_recipe *recipe);
/* Accepts NULL. */
void pen_recipe_unref(struct pen_recipe *recipe);
bool pen_recipe_equal(const struct pen_recipe *a, const struct pen_recipe *b);
/* True when one program of the worker's can be made by both, each for devices of its own: of the same text, by other
 * options and headers; by the same link of such inputs; of vendors' binaries. */
bool pen_recipe_alike(const struct pen_recipe *a, const struct pen_recipe *b);
/* True when kernels of the result may have a smaller last work-group (OpenCL 3.0, clEnqueueNDRangeKernel):
 * -cl-std of 2.0 or later, and no -cl-uniform-work-group-size. */
bool pen_recipe_non_uniform(const struct pen_recipe *recipe);
/* True when all of it was built so that clGetKernelArgInfo may answer. */
bool pen_recipe_argument_info(const struct pen_recipe *recipe);
/* True when some of it is a vendor's binary. */
bool pen_recipe_native(const struct pen_recipe *recipe);
/* 1 + the depth of the deepest input. */
uint32_t pen_recipe_depth(const struct pen_recipe *recipe);

#endif
