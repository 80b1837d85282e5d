/* worker/program.c - programs as the application gave them: text, headers, constants; and their messages. */
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "worker/module.h"
#include "worker/work.h"

static void drop_headers(struct pen_work_program *program)
{
    for (uint32_t i = 0; i < program->header_count; i++) {
        program->work->source_bytes -= program->headers[i].size;
        free(program->headers[i].name);
        free(program->headers[i].bytes);
    }
    free(program->headers);
    program->headers = NULL;
    program->header_count = 0;
}

void pen_program_unref(struct pen_work_program *program)
{
    if (--program->refs)
        return;
    struct pen_work *work = program->work;
    for (uint32_t i = 0; i < program->text_count; i++) {
        work->source_bytes -= program->texts[i].size;
        free(program->texts[i].bytes);
    }
    if (program->prints)
        atomic_fetch_sub_explicit(&work->printers, 1, memory_order_release);
    for (uint32_t i = 0; i < program->unit_count; i++)
        if (program->units[i])
            pen_unit_unref(program->units[i]);
    drop_headers(program);
    free(program->units);
    free(program->constants);
    free(program->texts);
    free(program);
}

/* A private copy of text in the arena (the client may change it while a compiler reads), with a zero after it. */
static unsigned char *copy_text(struct pen_work *work, const struct pen_bulk *text, const char *what)
{
    if (text->size > PEN_LIMIT_PROGRAM || !pen_arena_range_ok(work->arena_bytes, text->offset, text->size)) {
        pen_work_fail(work, -PEN_EPROTO,
                      "%s of %llu bytes at arena offset %llu: over limit PROGRAM or outside the arena", what,
                      (unsigned long long)text->size, (unsigned long long)text->offset);
        return NULL;
    }
    if (work->source_bytes + text->size > PEN_WORK_SOURCES) {
        pen_work_fail(work, -PEN_ELIMIT, "programs and headers take more than %llu bytes (limit PEN_WORK_SOURCES)",
                      (unsigned long long)PEN_WORK_SOURCES);
        return NULL;
    }
    unsigned char *bytes = malloc(text->size + 1);
    if (!bytes) {
        pen_work_fail(work, -PEN_ENOMEM, "out of memory for %s of %llu bytes", what, (unsigned long long)text->size);
        return NULL;
    }
    memcpy(bytes, work->arena + text->offset, text->size);
    bytes[text->size] = 0;
    work->source_bytes += text->size;
    return bytes;
}

static void note_prints(struct pen_work_program *program)
{
    if (!program->prints)
        atomic_fetch_add_explicit(&program->work->printers, 1, memory_order_release);
    program->prints = true;
}

static bool may_print(enum pen_program_kind kind, const void *bytes, size_t size)
{
    return memmem(bytes, size, "printf", strlen("printf")) || kind == PEN_PROGRAM_KIND_NATIVE ||
           (kind == PEN_PROGRAM_KIND_IL && pen_module_may_print(bytes, size));
}

static bool add_text(struct pen_work_program *program, const struct pen_msg_program_create *message,
                     struct pen_work_device *device)
{
    struct pen_work *work = program->work;
    unsigned char *bytes = copy_text(work, &message->text, "a program's text");
    struct pen_work_text *grown = realloc(program->texts, (program->text_count + 1) * sizeof *grown);
    if (grown)
        program->texts = grown;
    if (!bytes || !grown) {
        if (bytes)
            work->source_bytes -= message->text.size;
        free(bytes);
        return bytes ? pen_work_fail(work, -PEN_ENOMEM, "out of memory for a program") : false;
    }
    program->texts[program->text_count++] =
        (struct pen_work_text){.device = device, .bytes = bytes, .size = message->text.size};
    program->key[0] = program->key[1] = 0;
    if (may_print(message->kind, bytes, message->text.size))
        note_prints(program);
    return true;
}

const struct pen_work_text *pen_program_text(const struct pen_work_program *program,
                                             const struct pen_work_device *device)
{
    for (uint32_t i = 0; i < program->text_count; i++)
        if (!program->texts[i].device || program->texts[i].device->backend == device->backend ||
            program->texts[i].device == device->span)
            return &program->texts[i];
    return NULL;
}

/* The binary of one more device, for a program that has some already. */
static bool add_binary(struct pen_work *work, const struct pen_msg_program_create *message,
                       struct pen_work_device *device)
{
    struct pen_work_program *program = pen_program_find(work, message->program, "program");
    if (!program)
        return false;
    if (program->kind != PEN_PROGRAM_KIND_NATIVE || pen_program_text(program, device))
        return pen_work_fail(work, -PEN_EPROTO, "a binary for device %llu of program %llu, which has its text",
                             (unsigned long long)message->device, (unsigned long long)message->program);
    return add_text(program, message, device);
}

static bool create(struct pen_work *work, const struct pen_msg_program_create *message)
{
    struct pen_work_device *device = NULL;
    if (message->kind == PEN_PROGRAM_KIND_NATIVE) {
        if (!(device = pen_work_device(work, message->device)))
            return false;
        if (pen_map_get(&work->programs, message->program))
            return add_binary(work, message, device);
    }
    struct pen_work_program *program = calloc(1, sizeof *program);
    if (!program)
        return pen_work_fail(work, -PEN_ENOMEM, "out of memory for a program");
    *program = (struct pen_work_program){.work = work, .refs = 1, .id = message->program, .kind = message->kind};
    if (add_text(program, message, device) &&
        pen_work_name(work, &work->programs, message->program, program, "program"))
        return true;
    pen_program_unref(program);
    return false;
}

static bool add_header(struct pen_work *work, const struct pen_msg_program_header *message)
{
    struct pen_work_program *program = pen_program_find(work, message->program, "program");
    if (!program)
        return false;
    if (!pen_header_name_ok(message->name))
        return pen_work_fail(
            work, -PEN_EPROTO,
            "program_header named \"%.200s\": only names of the form N/path without . and .. are allowed",
            message->name);
    /* Headers are for the builds until the next set comes; the same name again replaces. */
    if (program->headers_used)
        drop_headers(program);
    program->headers_used = false;
    uint32_t at = 0;
    while (at < program->header_count && strcmp(program->headers[at].name, message->name))
        at++;
    if (at >= PEN_LIMIT_HEADERS)
        return pen_work_fail(work, -PEN_ELIMIT, "more than %u headers (limit HEADERS)", PEN_LIMIT_HEADERS);
    void *bytes = copy_text(work, &message->text, "a header");
    if (!bytes)
        return false;
    if (at == program->header_count) {
        struct pen_work_header *grown = realloc(program->headers, (at + 1) * sizeof *grown);
        if (grown)
            program->headers = grown;
        char *name = grown ? strdup(message->name) : NULL;
        if (!name) {
            work->source_bytes -= message->text.size;
            free(bytes);
            return pen_work_fail(work, -PEN_ENOMEM, "out of memory for a header");
        }
        program->headers[at] = (struct pen_work_header){.name = name};
        program->header_count++;
    } else {
        work->source_bytes -= program->headers[at].size;
        free(program->headers[at].bytes);
    }
    program->headers[at].bytes = bytes;
    program->headers[at].size = message->text.size;
    program->key[0] = program->key[1] = 0;
    if (memmem(bytes, message->text.size, "printf", strlen("printf")))
        note_prints(program);
    return true;
}

static bool set_constant(struct pen_work *work, const struct pen_msg_program_constant *message)
{
    struct pen_work_program *program = pen_program_find(work, message->program, "program");
    if (!program)
        return false;
    if (message->value.size > sizeof program->constants->value)
        return pen_work_fail(work, -PEN_EPROTO, "a specialization constant of %u bytes", message->value.size);
    uint32_t at = 0;
    while (at < program->constant_count && program->constants[at].id != message->constant)
        at++;
    if (at >= PEN_LIMIT_CONSTANTS)
        return pen_work_fail(work, -PEN_ELIMIT, "more than %u specialization constants (limit CONSTANTS)",
                             PEN_LIMIT_CONSTANTS);
    if (at == program->constant_count) {
        struct pen_work_constant *grown = realloc(program->constants, (at + 1) * sizeof *grown);
        if (!grown)
            return pen_work_fail(work, -PEN_ENOMEM, "out of memory for a specialization constant");
        program->constants = grown;
        program->constant_count++;
    }
    program->constants[at] = (struct pen_work_constant){.id = message->constant, .size = message->value.size};
    if (message->value.size)
        memcpy(program->constants[at].value, message->value.data, message->value.size);
    program->key[0] = program->key[1] = 0;
    return true;
}

static bool send_binary(struct pen_work *work, const struct pen_msg_program_binary *message, uint64_t sequence)
{
    struct pen_work_program *program = pen_program_find(work, message->program, "program");
    struct pen_work_device *device = program ? pen_work_device(work, message->device) : NULL;
    if (!device)
        return false;
    if (device->member_count)
        device = device->members[0];
    struct pen_work_unit *unit = device->index < program->unit_count ? program->units[device->index] : NULL;
    void *bytes = NULL;
    size_t size = 0;
    int rc = unit && !unit->status && unit->backend
                 ? work->ops->program_binary(unit->backend, device->backend->index, &bytes, &size)
                 : -PEN_EEXECUTABLE;
    pen_work_reply_data(work, sequence, rc, bytes, size, true);
    free(bytes);
    return true;
}

bool pen_work_program_command(struct pen_work *work, uint16_t opcode, const void *frame, size_t size, uint64_t sequence)
{
    union {
        struct pen_msg_program_create create;
        struct pen_msg_program_destroy destroy;
        struct pen_msg_program_header header;
        struct pen_msg_build_options options;
        struct pen_msg_program_build build;
        struct pen_msg_program_binary binary;
        struct pen_msg_program_constant constant;
    } m;
    struct pen_scratch *scratch = &work->scratch;
    struct pen_work_program *program;
    int rc;
    switch (opcode) {
    case PEN_OP_PROGRAM_CREATE:
        if (!(rc = pen_msg_program_create_decode(frame, size, scratch, &m.create)))
            return create(work, &m.create);
        break;
    case PEN_OP_PROGRAM_DESTROY:
        if ((rc = pen_msg_program_destroy_decode(frame, size, scratch, &m.destroy)))
            break;
        program = pen_work_unname(work, &work->programs, m.destroy.program, "program");
        if (program)
            pen_program_unref(program);
        return program != NULL;
    case PEN_OP_PROGRAM_HEADER:
        if (!(rc = pen_msg_program_header_decode(frame, size, scratch, &m.header)))
            return add_header(work, &m.header);
        break;
    case PEN_OP_BUILD_OPTIONS:
        if (!(rc = pen_msg_build_options_decode(frame, size, scratch, &m.options)))
            return pen_work_build_options(work, &m.options);
        break;
    case PEN_OP_PROGRAM_BUILD:
        if (!(rc = pen_msg_program_build_decode(frame, size, scratch, &m.build)))
            return pen_work_build(work, &m.build, sequence);
        break;
    case PEN_OP_PROGRAM_BINARY:
        if (!(rc = pen_msg_program_binary_decode(frame, size, scratch, &m.binary)))
            return send_binary(work, &m.binary, sequence);
        break;
    default:
        if (!(rc = pen_msg_program_constant_decode(frame, size, scratch, &m.constant)))
            return set_constant(work, &m.constant);
        break;
    }
    return pen_work_malformed(work, opcode, rc);
}
