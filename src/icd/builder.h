/* icd/builder.h - has the worker make programs, and reads its answers.
 * Threads:   any; blocks until the worker has answered. No lock of a program may be held.
 * Ownership: answers are malloc'ed (pen_answer_finish). Errors: 0 or -PEN_E*: the session is lost, or out of memory;
 *            a build that fails is an answer. */
#ifndef PEN_ICD_BUILDER_H
#define PEN_ICD_BUILDER_H

#include "icd/meta.h"
#include "icd/recipe.h"

struct pen_device_answer {
    enum pen_build_outcome outcome;
    uint32_t binary_type;
    uint64_t global_variable_bytes;
    char *log; /* NULL: "" */
};

struct pen_answer {
    int status;                        /* of the build: 0 or -PEN_E* */
    char *message;                     /* never NULL in an answer */
    struct pen_device_answer *devices; /* in the order asked for */
    uint32_t device_count;
    struct pen_kernel_meta *kernels;
    uint32_t kernel_count;
};

/* One device's own binary; borrowed. */
struct pen_native {
    uint64_t device;
    const void *bytes;
    size_t size;
};

/* An answer for so many devices that says of none that it was built. -PEN_ENOMEM: without any. */
int pen_answer_begin(struct pen_answer *answer, uint32_t device_count);
/* Adds what was answered for some of them: for part->devices[i], which is all->devices[at[i]]. Takes what `part` holds,
 * also on failure. */
int pen_answer_merge(struct pen_answer *all, const uint32_t *at, struct pen_answer *part);
void pen_answer_finish(struct pen_answer *answer);

/* Makes program `id` for these devices (ids), for each as its recipe says. -PEN_EBINARY: they are not alike.
 * `exists`: the worker has their text under that id already. Inputs of a link are made first, under ids that are given
 * up afterwards; when one fails, that is the answer. */
int pen_builder_make(struct pen_session *session, struct pen_recipe *const *recipes, uint64_t id, bool exists,
                     const uint64_t *devices, uint32_t device_count, struct pen_answer *out_answer);
/* Makes program `id` by linking programs that the worker has. */
int pen_builder_link(struct pen_session *session, uint64_t id, const uint64_t *inputs, uint32_t input_count,
                     const char *wire_options, const uint64_t *devices, uint32_t device_count,
                     struct pen_answer *out_answer);
/* Makes program `id` from the devices' own binaries. */
int pen_builder_native(struct pen_session *session, uint64_t id, const struct pen_native *natives, uint32_t count,
                       struct pen_answer *out_answer);
/* The device's own binary of a built program; malloc'ed. */
int pen_builder_binary(struct pen_session *session, uint64_t id, uint64_t device, void **out_bytes, size_t *out_size);
/* The worker may forget the program. */
void pen_builder_drop(struct pen_session *session, uint64_t id);

#endif
