/* scenario/random_program.h - random OpenCL programs: made from a seed, planned, their results told in advance,
 * executed.
 *
 * Model:  a program is a list of operations over a few buffers, slices of them (sub-buffers), and queues. Any part of
 *         the list is a program, too: what an operation has to wait for is planned after the part has been chosen, so
 *         that no two operations that touch the same bytes, one of them writing, are without order. So whatever the
 *         devices do at the same time, the results are those of the operations one after the other (random_model.c).
 * Errors: what fails is said on standard output, with the seed and the operation. */
#ifndef RANDOM_PROGRAM_H
#define RANDOM_PROGRAM_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOST_OPERATIONS 120u
#define MOST_BUFFERS    8u
#define MOST_SLICES     4u
#define MOST_OBJECTS    (MOST_BUFFERS + MOST_SLICES)
#define MOST_QUEUES     3u
#define MOST_SLOTS      2u /* of gates, and of maps */
#define MOST_LISTED     (MOST_OPERATIONS + 2 * MOST_SLOTS)
#define MOST_BYTES      4096u /* of a buffer */
#define SLICE_ALIGN     512u
#define NONE            UINT32_MAX

enum random_kind {
    /* kernels: `size` bytes from `at` of the target, and the same of the source, where there is one */
    RANDOM_INC,
    RANDOM_FILL_KERNEL,
    RANDOM_COPY_KERNEL,
    RANDOM_MIX,
    /* transfers */
    RANDOM_WRITE,
    RANDOM_READ,
    RANDOM_COPY,
    RANDOM_FILL,
    RANDOM_WRITE_RECT,
    RANDOM_READ_RECT,
    RANDOM_COPY_RECT,
    RANDOM_MAP,
    RANDOM_UNMAP, /* the program looks at the bytes, and changes them, just before */
    /* order */
    RANDOM_MARKER,
    RANDOM_BARRIER,
    RANDOM_GATE, /* makes an event of the program's own */
    RANDOM_OPEN, /* sets it */
    RANDOM_WAIT, /* for the event of operation `also` */
    RANDOM_FLUSH,
    RANDOM_FINISH,
    RANDOM_LOOK,  /* at the events' states */
    RANDOM_RENEW, /* a buffer and its slices are released and made anew, with other contents */
    RANDOM_KINDS
};

struct random_operation {
    enum random_kind kind;
    uint32_t queue, slot;
    uint32_t target, source; /* objects: buffers, then slices */
    uint32_t at, from;       /* bytes, in the target and the source */
    uint32_t size;           /* bytes; of a rectangle: of a row */
    uint32_t rows, pitch, from_pitch;
    uint32_t word; /* an argument, a pattern, or what bytes are made from */
    uint32_t pattern_size;
    uint32_t gates; /* slots whose gates it waits for, bits */
    uint32_t also;  /* the operation whose event it waits for though nothing asks for it; or NONE */
    bool blocking;  /* if it is a transfer or a map */
    bool event, callback;
    bool writes; /* a map */
};

struct random_program {
    uint32_t seed;
    uint32_t buffer_count, slice_count, queue_count;
    uint32_t count; /* of operations; the last 2 * MOST_SLOTS of them open the gates and end the maps */
    uint32_t sizes[MOST_OBJECTS], parents[MOST_OBJECTS], origins[MOST_OBJECTS];
    cl_mem_flags flags[MOST_BUFFERS];
    bool in_order[MOST_QUEUES];
    struct random_operation operations[MOST_LISTED];
};

/* A set of operations. */
struct random_set {
    uint64_t words[(MOST_LISTED + 63) / 64];
};

static inline bool random_in(const struct random_set *set, uint32_t i)
{
    return set->words[i / 64] >> i % 64 & 1;
}

static inline void random_add(struct random_set *set, uint32_t i)
{
    set->words[i / 64] |= UINT64_C(1) << i % 64;
}

static inline void random_remove(struct random_set *set, uint32_t i)
{
    set->words[i / 64] &= ~(UINT64_C(1) << i % 64);
}

static inline void random_join(struct random_set *set, const struct random_set *other)
{
    for (size_t i = 0; i < sizeof set->words / sizeof *set->words; i++)
        set->words[i] |= other->words[i];
}

/* What becomes of an operation. */
struct random_step {
    bool left_out; /* not of the chosen part, or senseless in it */
    bool event;    /* it needs one */
    struct random_set waits;
    struct random_set before; /* all that is complete before it begins */
    struct random_set opens;  /* gates that must be opened first: it blocks, and would wait for them */
};

/* ---- random_generate.c ---- */

/* operations: how many; 0: by the seed, too. */
void random_generate(uint32_t seed, uint32_t operations, struct random_program *out);
/* Bytes made from a word: the same for the program and for the model. */
void random_bytes(uint32_t word, unsigned char *out, size_t size);
/* The bytes that an object has first, made from this. */
uint32_t random_contents(const struct random_program *program, uint32_t buffer, uint32_t word);

/* ---- random_plan.c ---- */

/* Of the operations in `part`. */
void random_plan(const struct random_program *program, const struct random_set *part,
                 struct random_step steps[MOST_LISTED]);
bool random_is_queued(enum random_kind kind);
bool random_is_kernel(enum random_kind kind);
/* The call that enqueues it returns when it is complete. */
bool random_is_awaited(const struct random_operation *operation);
/* The bytes of the buffer that an operation touches on either side: of the whole program's, not an instance's. */
struct random_range {
    uint32_t buffer; /* NONE: it touches nothing */
    uint32_t begin, end;
    bool writes;
};
void random_touches(const struct random_program *program, uint32_t operation, struct random_range out[2]);

/* ---- random_model.c ---- */

struct random_model {
    unsigned char bytes[MOST_BUFFERS][MOST_BYTES];
};
void random_model_begin(const struct random_program *program, struct random_model *model);
/* Executes an operation. */
void random_model_run(const struct random_program *program, uint32_t operation, struct random_model *model);
/* An object's bytes. */
unsigned char *random_model_object(const struct random_program *program, struct random_model *model, uint32_t object);

/* ---- random_execute.c ---- */

struct random_device {
    cl_context context;
    cl_device_id device;
    cl_kernel kernels[RANDOM_MIX + 1];
};
/* False when anything was not as the model has it; said. */
bool random_execute(const struct random_device *device, const struct random_program *program,
                    const struct random_step steps[MOST_LISTED]);

/* ---- random_text.c ---- */

/* "read_rect of slice 1 at 16, 4 rows of 8 bytes, ..."; static storage. */
const char *random_text(const struct random_program *program, uint32_t operation);
/* The whole program, an operation a line. */
void random_print(const struct random_program *program, const struct random_step steps[MOST_LISTED]);

#endif
