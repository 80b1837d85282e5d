/* scenario/random_model.c - what a program's buffers hold: its operations, executed one after the other. */
#include "random_program.h"

#include <string.h>

static void write_words(unsigned char *to, const uint32_t *words, size_t count)
{
    memcpy(to, words, count * sizeof *words);
}

static void run_kernel(const struct random_operation *operation, unsigned char *target, const unsigned char *source)
{
    uint32_t to[MOST_BYTES / 4], from[MOST_BYTES / 4];
    size_t count = operation->size / 4;
    memcpy(to, target + operation->at, operation->size);
    memcpy(from, source + operation->from, operation->size);
    for (size_t i = 0; i < count; i++)
        to[i] = operation->kind == RANDOM_INC           ? to[i] + 1
                : operation->kind == RANDOM_FILL_KERNEL ? operation->word
                : operation->kind == RANDOM_COPY_KERNEL ? from[i]
                                                        : to[i] * 1664525 + from[i] + operation->word;
    write_words(target + operation->at, to, count);
}

static void copy_rows(const struct random_operation *operation, unsigned char *target, uint32_t pitch,
                      const unsigned char *source, uint32_t from_pitch)
{
    for (uint32_t row = 0; row < operation->rows; row++)
        memcpy(target + row * pitch, source + row * from_pitch, operation->size);
}

static void run_write(const struct random_operation *operation, unsigned char *target)
{
    unsigned char bytes[MOST_BYTES];
    if (operation->kind == RANDOM_WRITE_RECT) {
        random_bytes(operation->word, bytes, operation->rows * operation->size);
        copy_rows(operation, target + operation->at, operation->pitch, bytes, operation->size);
    } else {
        random_bytes(operation->word, bytes, operation->size);
        memcpy(target + operation->at, bytes, operation->size);
    }
}

static void run_fill(const struct random_operation *operation, unsigned char *target)
{
    unsigned char pattern[16];
    random_bytes(operation->word, pattern, operation->pattern_size);
    for (uint32_t i = 0; i < operation->size; i++)
        target[operation->at + i] = pattern[i % operation->pattern_size];
}

unsigned char *random_model_object(const struct random_program *program, struct random_model *model, uint32_t object)
{
    return model->bytes[program->parents[object]] + program->origins[object];
}

void random_model_begin(const struct random_program *program, struct random_model *model)
{
    for (uint32_t i = 0; i < program->buffer_count; i++)
        random_bytes(random_contents(program, i, 0), model->bytes[i], program->sizes[i]);
}

void random_model_run(const struct random_program *program, uint32_t index, struct random_model *model)
{
    const struct random_operation *operation = &program->operations[index];
    unsigned char *target = random_model_object(program, model, operation->target);
    const unsigned char *source = random_model_object(program, model, operation->source);
    switch (operation->kind) {
    case RANDOM_INC:
    case RANDOM_FILL_KERNEL:
    case RANDOM_COPY_KERNEL:
    case RANDOM_MIX:
        run_kernel(operation, target, source);
        break;
    case RANDOM_WRITE:
    case RANDOM_WRITE_RECT:
        run_write(operation, target);
        break;
    case RANDOM_COPY:
        memcpy(target + operation->at, source + operation->from, operation->size);
        break;
    case RANDOM_COPY_RECT:
        copy_rows(operation, target + operation->at, operation->pitch, source + operation->from, operation->from_pitch);
        break;
    case RANDOM_FILL:
        run_fill(operation, target);
        break;
    case RANDOM_RENEW:
        random_bytes(random_contents(program, operation->target, operation->word), model->bytes[operation->target],
                     program->sizes[operation->target]);
        break;
    default:
        break;
    }
}
