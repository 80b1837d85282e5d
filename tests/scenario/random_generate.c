/* scenario/random_generate.c - a program from a seed. See random_program.h. */
#include "random_program.h"

#include <string.h>

/* splitmix64 (Steele, Lea and Flood, OOPSLA 2014) */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static uint32_t below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)(next(state) % limit);
}

static bool one_in(uint64_t *state, uint32_t count)
{
    return below(state, count) == 0;
}

void random_bytes(uint32_t word, unsigned char *out, size_t size)
{
    uint64_t state = word;
    for (size_t i = 0; i < size; i++)
        out[i] = (unsigned char)(next(&state) >> 32);
}

uint32_t random_contents(const struct random_program *program, uint32_t buffer, uint32_t word)
{
    return program->seed * 31u + buffer + word;
}

/* ---- what there is ------------------------------------------------------------------------------------------- */

static void make_objects(uint64_t *state, struct random_program *program)
{
    static const cl_mem_flags flags[] = {CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, CL_MEM_COPY_HOST_PTR,
                                         CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR, CL_MEM_USE_HOST_PTR};
    program->buffer_count = 1 + below(state, MOST_BUFFERS);
    for (uint32_t i = 0; i < program->buffer_count; i++) {
        program->sizes[i] = SLICE_ALIGN * (1 + below(state, MOST_BYTES / SLICE_ALIGN));
        program->parents[i] = i;
        program->flags[i] = flags[below(state, sizeof flags / sizeof *flags)];
    }
    program->slice_count = below(state, MOST_SLICES + 1);
    for (uint32_t i = program->buffer_count; i < program->buffer_count + program->slice_count; i++) {
        uint32_t parent = below(state, program->buffer_count > 2 ? 2 : program->buffer_count); /* they overlap */
        program->parents[i] = parent;
        program->origins[i] = SLICE_ALIGN * below(state, program->sizes[parent] / SLICE_ALIGN);
        program->sizes[i] = 4 * (1 + below(state, (program->sizes[parent] - program->origins[i]) / 4));
    }
    program->queue_count = 1 + below(state, MOST_QUEUES);
    for (uint32_t i = 0; i < program->queue_count; i++)
        program->in_order[i] = !one_in(state, 3);
}

static uint32_t any_object(uint64_t *state, const struct random_program *program)
{
    return below(state, program->buffer_count + program->slice_count);
}

/* ---- ranges -------------------------------------------------------------------------------------------------- */

/* Some words, often all, in each of two objects, at the same place or not. */
static void choose_range(uint64_t *state, const struct random_program *program, struct random_operation *operation,
                         bool same_place)
{
    uint32_t size = program->sizes[operation->target], from_size = program->sizes[operation->source];
    uint32_t shorter = size < from_size ? size : from_size;
    operation->size = one_in(state, 3) ? shorter : 4 * (1 + below(state, shorter / 4));
    operation->at = 4 * below(state, ((same_place ? shorter : size) - operation->size) / 4 + 1);
    operation->from = same_place ? operation->at : 4 * below(state, (from_size - operation->size) / 4 + 1);
}

static uint32_t choose_rows(uint64_t *state, uint32_t size, uint32_t row, uint32_t rows, uint32_t *out_pitch)
{
    uint32_t widest = rows > 1 ? (size - row) / (rows - 1) : size;
    *out_pitch = row + below(state, widest - row + 1);
    return below(state, size - (rows - 1) * *out_pitch - row + 1);
}

/* Of bytes, not words. */
static void choose_rectangle(uint64_t *state, const struct random_program *program, struct random_operation *operation)
{
    uint32_t size = program->sizes[operation->target], from_size = program->sizes[operation->source];
    uint32_t shorter = size < from_size ? size : from_size;
    operation->rows = 1 + below(state, shorter < 8 ? shorter : 8);
    operation->size = 1 + below(state, shorter / operation->rows);
    operation->at = choose_rows(state, size, operation->size, operation->rows, &operation->pitch);
    operation->from = choose_rows(state, from_size, operation->size, operation->rows, &operation->from_pitch);
}

static void choose_fill(uint64_t *state, const struct random_program *program, struct random_operation *operation)
{
    uint32_t pattern = 1u << below(state, 5), size = program->sizes[operation->target] / pattern;
    if (!size) {
        pattern = 1;
        size = program->sizes[operation->target];
    }
    uint32_t count = one_in(state, 3) ? size : 1 + below(state, size);
    operation->pattern_size = pattern;
    operation->size = count * pattern;
    operation->at = pattern * below(state, size - count + 1);
}

/* Two sides that overlap are no two sides: what a command does there is not defined. */
static bool overlap(const struct random_program *program, const struct random_operation *operation)
{
    uint32_t a = operation->target, b = operation->source;
    return program->parents[a] == program->parents[b] &&
           program->origins[a] < program->origins[b] + program->sizes[b] &&
           program->origins[b] < program->origins[a] + program->sizes[a];
}

/* ---- operations ---------------------------------------------------------------------------------------------- */

/* How often each comes. */
static const uint8_t weights[RANDOM_KINDS] = {
    [RANDOM_INC] = 6,        [RANDOM_FILL_KERNEL] = 6, [RANDOM_COPY_KERNEL] = 8, [RANDOM_MIX] = 24,
    [RANDOM_WRITE] = 10,     [RANDOM_READ] = 10,       [RANDOM_COPY] = 8,        [RANDOM_FILL] = 6,
    [RANDOM_WRITE_RECT] = 3, [RANDOM_READ_RECT] = 3,   [RANDOM_COPY_RECT] = 3,   [RANDOM_MAP] = 4,
    [RANDOM_UNMAP] = 4,      [RANDOM_MARKER] = 2,      [RANDOM_BARRIER] = 2,     [RANDOM_GATE] = 2,
    [RANDOM_OPEN] = 2,       [RANDOM_WAIT] = 2,        [RANDOM_FLUSH] = 2,       [RANDOM_FINISH] = 2,
    [RANDOM_LOOK] = 3,       [RANDOM_RENEW] = 2,
};

static enum random_kind choose_kind(uint64_t *state)
{
    uint32_t sum = 0, at;
    for (int i = 0; i < RANDOM_KINDS; i++)
        sum += weights[i];
    at = below(state, sum);
    int kind = 0;
    for (; at >= weights[kind]; kind++)
        at -= weights[kind];
    return (enum random_kind)kind;
}

static void choose_place(uint64_t *state, const struct random_program *program, struct random_operation *operation)
{
    bool two_sides = operation->kind == RANDOM_COPY_KERNEL || operation->kind == RANDOM_MIX ||
                     operation->kind == RANDOM_COPY || operation->kind == RANDOM_COPY_RECT;
    operation->target =
        operation->kind == RANDOM_RENEW ? below(state, program->buffer_count) : any_object(state, program);
    operation->source = two_sides ? any_object(state, program) : operation->target;
    if (two_sides && operation->target != operation->source && overlap(program, operation))
        operation->source = operation->target;
    if (operation->target == operation->source && two_sides && operation->kind != RANDOM_MIX)
        operation->kind = RANDOM_FILL;
    if (operation->kind == RANDOM_FILL)
        choose_fill(state, program, operation);
    else if (operation->kind >= RANDOM_WRITE_RECT && operation->kind <= RANDOM_COPY_RECT)
        choose_rectangle(state, program, operation);
    else
        choose_range(state, program, operation, operation->kind <= RANDOM_MIX);
}

static bool can_block(enum random_kind kind)
{
    return kind == RANDOM_WRITE || kind == RANDOM_READ || kind == RANDOM_WRITE_RECT || kind == RANDOM_READ_RECT ||
           kind == RANDOM_MAP;
}

static struct random_operation make_operation(uint64_t *state, const struct random_program *program, uint32_t number)
{
    struct random_operation operation = {.kind = choose_kind(state)};
    choose_place(state, program, &operation);
    operation.queue = below(state, program->queue_count);
    operation.slot = below(state, MOST_SLOTS);
    operation.word = (uint32_t)next(state);
    operation.gates = one_in(state, 8) ? 1u << below(state, MOST_SLOTS) : 0;
    operation.also = number && (operation.kind == RANDOM_WAIT || one_in(state, 8)) ? below(state, number) : NONE;
    operation.blocking = one_in(state, 4) && can_block(operation.kind);
    operation.event = one_in(state, 2);
    operation.callback = one_in(state, 8);
    operation.writes = one_in(state, 2);
    return operation;
}

void random_generate(uint32_t seed, uint32_t operations, struct random_program *out)
{
    uint64_t state = seed;
    memset(out, 0, sizeof *out);
    out->seed = seed;
    make_objects(&state, out);
    uint32_t count = 4 + below(&state, one_in(&state, 4) ? MOST_OPERATIONS - 3 : 40);
    if (operations)
        count = operations < MOST_OPERATIONS ? operations : MOST_OPERATIONS;
    while (out->count < count) {
        out->operations[out->count] = make_operation(&state, out, out->count);
        out->count++;
    }
    for (uint32_t i = 0; i < MOST_SLOTS; i++) {
        out->operations[out->count++] = (struct random_operation){.kind = RANDOM_OPEN, .slot = i, .also = NONE};
        out->operations[out->count++] = (struct random_operation){.kind = RANDOM_UNMAP, .slot = i, .also = NONE};
    }
}
