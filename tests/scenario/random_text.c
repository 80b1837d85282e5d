/* scenario/random_text.c - a random program as text. See random_program.h. */
#include "random_program.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const names[RANDOM_KINDS] = {
    [RANDOM_INC] = "inc",
    [RANDOM_FILL_KERNEL] = "fill kernel",
    [RANDOM_COPY_KERNEL] = "copy kernel",
    [RANDOM_MIX] = "mix",
    [RANDOM_WRITE] = "write",
    [RANDOM_READ] = "read",
    [RANDOM_COPY] = "copy",
    [RANDOM_FILL] = "fill",
    [RANDOM_WRITE_RECT] = "write rectangle",
    [RANDOM_READ_RECT] = "read rectangle",
    [RANDOM_COPY_RECT] = "copy rectangle",
    [RANDOM_MAP] = "map",
    [RANDOM_UNMAP] = "unmap",
    [RANDOM_MARKER] = "marker",
    [RANDOM_BARRIER] = "barrier",
    [RANDOM_GATE] = "gate",
    [RANDOM_OPEN] = "open",
    [RANDOM_WAIT] = "wait",
    [RANDOM_FLUSH] = "flush",
    [RANDOM_FINISH] = "finish",
    [RANDOM_LOOK] = "look",
    [RANDOM_RENEW] = "renew",
};

struct text {
    char *at, *end;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text->at, (size_t)(text->end - text->at), format, arguments);
    va_end(arguments);
    text->at += length < text->end - text->at ? length : text->end - text->at;
}

static void add_side(struct text *text, const struct random_program *program, const char *preposition, uint32_t object,
                     uint32_t at, const struct random_operation *operation, uint32_t pitch)
{
    bool slice = object >= program->buffer_count;
    add(text, " %s %s %u [%u..%u)", preposition, slice ? "slice" : "buffer",
        slice ? object - program->buffer_count : object, at, at + operation->size);
    if (operation->rows)
        add(text, " x %u rows of %u", operation->rows, pitch);
}

const char *random_text(const struct random_program *program, uint32_t index)
{
    static char line[240];
    const struct random_operation *operation = &program->operations[index];
    struct text text = {line, line + sizeof line};
    add(&text, "%s", names[operation->kind]);
    if (operation->kind <= RANDOM_MAP)
        add_side(&text, program, "of", operation->target, operation->at, operation, operation->pitch);
    if (operation->kind <= RANDOM_MAP && operation->source != operation->target)
        add_side(&text, program, "from", operation->source, operation->from, operation, operation->from_pitch);
    if (operation->kind == RANDOM_RENEW)
        add(&text, " buffer %u", operation->target);
    if (operation->kind == RANDOM_WAIT)
        add(&text, " for %u", operation->also);
    if (operation->kind == RANDOM_MAP || operation->kind == RANDOM_UNMAP || operation->kind == RANDOM_GATE ||
        operation->kind == RANDOM_OPEN)
        add(&text, " (%u%s)", operation->slot, operation->kind == RANDOM_MAP && operation->writes ? ", to write" : "");
    if (random_is_queued(operation->kind) || operation->kind == RANDOM_FINISH || operation->kind == RANDOM_FLUSH)
        add(&text, ", queue %u", operation->queue);
    if (operation->blocking)
        add(&text, ", blocking");
    return line;
}

static void print_set(const char *what, const struct random_set *set)
{
    const char *before = what;
    for (uint32_t i = 0; i < MOST_LISTED; i++)
        if (random_in(set, i)) {
            printf("%s %u", before, i);
            before = "";
        }
}

void random_print(const struct random_program *program, const struct random_step steps[MOST_LISTED])
{
    printf("seed %u\n", program->seed);
    for (uint32_t i = 0; i < program->buffer_count + program->slice_count; i++)
        if (i < program->buffer_count)
            printf("buffer %u: %u bytes, flags 0x%llx\n", i, program->sizes[i], (unsigned long long)program->flags[i]);
        else
            printf("slice %u: %u bytes of buffer %u from %u\n", i - program->buffer_count, program->sizes[i],
                   program->parents[i], program->origins[i]);
    for (uint32_t i = 0; i < program->queue_count; i++)
        printf("queue %u: %s order%s\n", i, program->in_order[i] ? "in" : "out of", program->seed & 1 ? ", timed" : "");
    for (uint32_t i = 0; i < program->count; i++) {
        if (steps[i].left_out)
            continue;
        printf("%3u %s%s%s", i, random_text(program, i), steps[i].event ? ", event" : "",
               program->operations[i].callback && steps[i].event ? ", callback" : "");
        print_set(", after", &steps[i].waits);
        print_set(", opens", &steps[i].opens);
        putchar('\n');
    }
}
