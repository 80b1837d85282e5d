/* worker/build.c - the command program_build: which devices, which inputs, the job, and the answer in parts. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/definition.h"
#include "worker/builder.h"

/* ---- the answer ------------------------------------------------------------------------------------------- */

/* The kernels of one name. What is not known of an argument fits any, so that a kernel may fit two that do not fit each
 * other (wire/definition.h): it is of a function only if it fits all that are. */
struct namesakes {
    const struct pen_msg_kernel_info *kernels[PEN_LIMIT_DEVICES]; /* by the job's devices; NULL: it has none */
    uint32_t functions[PEN_LIMIT_DEVICES];                        /* which each is of: below function_count */
    uint32_t function_count;
};

/* Of those before it. */
static bool fits(const struct namesakes *names, uint32_t function, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++)
        if (names->kernels[i] && names->functions[i] == function &&
            !pen_same_definition(names->kernels[i], names->kernels[at]))
            return false;
    return true;
}

static void group(const struct pen_work_job *job, const char *name, struct namesakes *out_names)
{
    out_names->function_count = 0;
    for (uint32_t i = 0; i < job->device_count; i++) {
        uint32_t function = 0;
        if (!(out_names->kernels[i] = pen_unit_kernel(job->units[i], name)))
            continue;
        while (function < out_names->function_count && !fits(out_names, function, i))
            function++;
        out_names->functions[i] = function;
        if (function == out_names->function_count)
            out_names->function_count++;
    }
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What holds of a kernel whichever of two devices runs it. */
static struct pen_kernel_device_info common(const struct pen_kernel_device_info *a,
                                            const struct pen_kernel_device_info *b)
{
    struct pen_kernel_device_info both = *a;
    both.work_group_size = smaller(a->work_group_size, b->work_group_size);
    both.local_bytes = larger(a->local_bytes, b->local_bytes);
    both.private_bytes = larger(a->private_bytes, b->private_bytes);
    return both;
}

/* One function's description, which is its first device's, with what every device of it has to say. */
static void reply_function(struct pen_work_job *job, const struct namesakes *names, uint32_t function)
{
    struct pen_kernel_device_info devices[PEN_LIMIT_DEVICES];
    const struct pen_msg_kernel_info *first = NULL;
    uint32_t count = 0;
    for (uint32_t t = 0; t < job->target_count; t++) {
        const struct pen_work_target *target = &job->targets[t];
        bool found = false;
        for (uint32_t i = target->first; i < target->first + target->count; i++) {
            const struct pen_msg_kernel_info *its = names->kernels[i];
            if (!its || names->functions[i] != function)
                continue;
            first = first ? first : its;
            if (!its->devices_count)
                continue;
            devices[count] = found ? common(&devices[count], &its->devices[0]) : its->devices[0];
            found = true;
        }
        if (found)
            devices[count++].device = target->device->id;
    }
    assert(first);
    struct pen_msg_kernel_info info = *first;
    info.devices = devices;
    info.devices_count = count;
    PEN_REPLY(job->work, kernel_info, &info, job->sequence);
}

static bool named_before(const struct pen_work_job *job, uint32_t unit, const char *name)
{
    for (uint32_t i = 0; i < unit; i++)
        if (pen_unit_kernel(job->units[i], name))
            return true;
    return false;
}

/* Calls reply_function for each function once (send), or counts them. */
static uint32_t each_function(struct pen_work_job *job, bool send)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < job->device_count; i++) {
        const struct pen_work_unit *unit = job->units[i];
        for (uint32_t k = 0; k < unit->kernel_count; k++) {
            struct namesakes names;
            if (named_before(job, i, unit->kernels[k].name))
                continue;
            group(job, unit->kernels[k].name, &names);
            for (uint32_t f = 0; send && f < names.function_count; f++)
                reply_function(job, &names, f);
            count += names.function_count;
        }
    }
    return count;
}

/* What a build for the target came to: what it came to where it failed, or else on the first of its devices. */
static const struct pen_work_unit *unit_of(const struct pen_work_job *job, const struct pen_work_target *target)
{
    for (uint32_t i = target->first; i < target->first + target->count; i++)
        if (job->units[i]->status)
            return job->units[i];
    return job->units[target->first];
}

static void reply(struct pen_work_job *job)
{
    struct pen_work *work = job->work;
    struct pen_build_result results[PEN_LIMIT_DEVICES];
    const struct pen_work_unit *units[PEN_LIMIT_DEVICES];
    uint32_t count = job->target_count;
    struct pen_msg_built built = {.results = results, .results_count = count, .message = ""};
    char message[512];
    for (uint32_t i = 0; i < count; i++) {
        const struct pen_work_unit *unit = units[i] = unit_of(job, &job->targets[i]);
        results[i] = unit->result;
        results[i].device = job->targets[i].device->id;
        results[i].log_bytes = unit->log ? strlen(unit->log) : 0;
        if (unit->status && !built.status) {
            built.status = unit->status;
            snprintf(message, sizeof message, "building program %llu for %s: %s", (unsigned long long)job->program->id,
                     unit->device->backend->vendor_name, pen_error_text(unit->status));
            built.message = message;
        }
    }
    built.kernels = each_function(job, false);
    PEN_REPLY(work, built, &built, job->sequence);
    for (uint32_t i = 0; i < count; i++)
        if (results[i].log_bytes)
            pen_work_reply_data(work, job->sequence, 0, units[i]->log, results[i].log_bytes, false);
    each_function(job, true);
}

/* ---- the job ------------------------------------------------------------------------------------------------ */

static void job_free(struct pen_work_job *job)
{
    for (uint32_t i = 0; i < job->device_count; i++)
        if (job->units[i])
            pen_unit_unref(job->units[i]);
    for (uint32_t i = 0; job->inputs && i < job->device_count * job->input_count; i++)
        if (job->inputs[i])
            pen_unit_unref(job->inputs[i]);
    if (job->program)
        pen_program_unref(job->program);
    free(job->inputs);
    free(job->options);
    free(job);
}

static bool resolve_devices(struct pen_work_job *job, const struct pen_msg_program_build *message)
{
    struct pen_work *work = job->work;
    for (uint32_t i = 0; i < message->devices_count; i++) {
        struct pen_work_target *target = &job->targets[i];
        struct pen_work_device *const *members;
        if (!(target->device = pen_work_device(work, message->devices[i])))
            return false;
        for (uint32_t j = 0; j < i; j++)
            if (target->device == job->targets[j].device)
                return pen_work_fail(work, -PEN_EPROTO, "program_build names device %llu twice",
                                     (unsigned long long)message->devices[i]);
        target->first = job->device_count;
        target->count = pen_device_members(&target->device, &members);
        if (target->first + target->count > PEN_LIMIT_DEVICES)
            return pen_work_fail(work, -PEN_ELIMIT, "program_build for more than %u devices (limit DEVICES)",
                                 PEN_LIMIT_DEVICES);
        memcpy(&job->devices[target->first], members, target->count * sizeof(struct pen_work_device *));
        job->device_count += target->count;
        job->target_count++;
    }
    return true;
}

/* The program that a link makes. */
static bool make_program(struct pen_work_job *job, uint64_t id, bool prints)
{
    struct pen_work *work = job->work;
    struct pen_work_program *program = calloc(1, sizeof *program);
    if (!program)
        return pen_work_fail(work, -PEN_ENOMEM, "out of memory for a program");
    *program = (struct pen_work_program){.work = work, .refs = 1, .id = id, .prints = prints};
    if (prints)
        atomic_fetch_add_explicit(&work->printers, 1, memory_order_release);
    if (!pen_work_name(work, &work->programs, id, program, "program")) {
        pen_program_unref(program);
        return false;
    }
    job->program = program;
    program->refs++;
    return true;
}

static bool resolve_inputs(struct pen_work_job *job, const struct pen_msg_program_build *message)
{
    struct pen_work *work = job->work;
    bool prints = false;
    assert(job->device_count && message->inputs_count); /* resolve() has seen to it */
    job->inputs = calloc((size_t)job->device_count * message->inputs_count, sizeof(struct pen_work_unit *));
    if (!job->inputs)
        return pen_work_fail(work, -PEN_ENOMEM, "out of memory for a link");
    job->input_count = message->inputs_count;
    for (uint32_t i = 0; i < message->inputs_count; i++) {
        struct pen_work_program *input = pen_program_find(work, message->inputs[i], "program to link");
        if (!input)
            return false;
        prints = prints || input->prints;
        for (uint32_t d = 0; d < job->device_count; d++) {
            uint32_t at = job->devices[d]->index;
            struct pen_work_unit *unit = at < input->unit_count ? input->units[at] : NULL;
            if (unit)
                unit->refs++;
            job->inputs[d * job->input_count + i] = unit;
        }
    }
    return make_program(job, message->program, prints);
}

static bool resolve(struct pen_work_job *job, const struct pen_msg_program_build *message)
{
    struct pen_work *work = job->work;
    bool link = message->step == PEN_BUILD_STEP_LINK;
    if (!message->devices_count)
        return pen_work_fail(work, -PEN_EPROTO, "program_build for no device");
    if (link != (message->inputs_count != 0))
        return pen_work_fail(work, -PEN_EPROTO, "program_build of step %u with %u inputs", message->step,
                             message->inputs_count);
    if (!resolve_devices(job, message))
        return false;
    if (link)
        return resolve_inputs(job, message);
    struct pen_work_program *program = pen_program_find(work, message->program, "program");
    if (program && !program->text_count)
        return pen_work_fail(work, -PEN_EPROTO, "program_build of program %llu, which a link has made",
                             (unsigned long long)message->program);
    if (program) {
        program->refs++;
        job->program = program;
    }
    return program != NULL;
}

/* What came before, and this after it; malloc'ed. What came before is gone. NULL after failing the session. */
static char *append_options(struct pen_work *work, const char *part)
{
    char *before = work->options, *all = NULL;
    work->options = NULL;
    if ((before ? strlen(before) : 0) + strlen(part) > PEN_LIMIT_OPTIONS)
        pen_work_fail(work, -PEN_ELIMIT, "a build with more than %u bytes of options (limit OPTIONS)",
                      PEN_LIMIT_OPTIONS);
    else if (asprintf(&all, "%s%s", before ? before : "", part) < 0)
        pen_work_fail(work, -PEN_ENOMEM, "out of memory for the options of a build");
    free(before);
    return all;
}

bool pen_work_build_options(struct pen_work *work, const struct pen_msg_build_options *message)
{
    return (work->options = append_options(work, message->part)) != NULL;
}

static struct pen_work_job *job_create(struct pen_work *work, const struct pen_msg_program_build *message,
                                       uint64_t sequence)
{
    struct pen_work_job *job = calloc(1, sizeof *job);
    if (!job) {
        pen_work_fail(work, -PEN_ENOMEM, "out of memory for a build");
        return NULL;
    }
    if (!(job->options = append_options(work, message->options))) {
        free(job);
        return NULL;
    }
    job->work = work;
    job->sequence = sequence;
    job->step = message->step;
    if (!resolve(job, message)) {
        job_free(job);
        return NULL;
    }
    return job;
}

/* Does what is built for the one do for the other, too? Members of a span that are the same get one unit, so that a
 * span's builds take no longer than those of one of them. */
static bool is_one_unit(const struct pen_work_job *job, uint32_t a, uint32_t b)
{
    const struct pen_work_device *one = job->devices[a], *other = job->devices[b];
    if (!one->span || one->like != other->like || one->domain != other->domain)
        return false;
    if (!job->inputs)
        return pen_program_text(job->program, one) == pen_program_text(job->program, other);
    return !memcmp(job->inputs + (size_t)a * job->input_count, job->inputs + (size_t)b * job->input_count,
                   job->input_count * sizeof *job->inputs);
}

/* Of the job's devices, the first whose unit is this one's. */
static uint32_t first_of_unit(const struct pen_work_job *job, uint32_t device)
{
    uint32_t first = 0;
    while (first < device && !is_one_unit(job, first, device))
        first++;
    return first;
}

static void share_units(struct pen_work_job *job)
{
    for (uint32_t i = 0; i < job->device_count; i++) {
        struct pen_work_unit *unit = job->units[first_of_unit(job, i)];
        if (!job->units[i] && unit) {
            job->units[i] = unit;
            unit->refs++;
        }
    }
}

static int make_unit(struct pen_work_job *job, uint32_t first)
{
    struct pen_unit_devices on = {.count = 0};
    for (uint32_t i = first; i < job->device_count; i++)
        if (first_of_unit(job, i) == first)
            on.devices[on.count++] = job->devices[i];
    int rc = pen_unit_make(job->program, &on, job->step, job->options,
                           job->inputs ? job->inputs + (size_t)first * job->input_count : NULL, job->input_count,
                           &job->units[first]);
    if (!rc && job->ordered && job->step == PEN_BUILD_STEP_BUILD)
        pen_unit_find_reads(job->units[first], job->program, job->options);
    return rc;
}

void pen_job_run(struct pen_work_job *job)
{
    for (uint32_t i = 0; i < job->device_count && !job->error; i++)
        if (!job->units[i] && first_of_unit(job, i) == i)
            job->error = make_unit(job, i);
}

/* Hangs the units into the program and answers. */
static bool finish(struct pen_work_job *job)
{
    struct pen_work *work = job->work;
    struct pen_work_program *program = job->program;
    int rc = job->error;
    assert(program);
    program->job = NULL;
    share_units(job);
    for (uint32_t i = 0; i < job->device_count && !rc; i++) {
        rc = pen_work_grow(&program->units, &program->unit_count, job->devices[i]->index);
        if (rc)
            break;
        struct pen_work_unit **place = &program->units[job->devices[i]->index];
        if (*place)
            pen_unit_unref(*place);
        *place = job->units[i];
        job->units[i]->refs++;
        pen_unit_keep(job->units[i], job->keys[i]);
    }
    program->headers_used = true;
    if (rc)
        pen_work_fail(work, rc, "out of memory while building program %llu", (unsigned long long)program->id);
    else
        reply(job);
    job_free(job);
    return !work->failed;
}

void pen_build_collect(struct pen_work *work)
{
    for (struct pen_work_job *job; (job = pen_builder_take(work));)
        finish(job);
}

void pen_build_discard_all(struct pen_work *work)
{
    pen_builder_stop(work);
    for (struct pen_work_job *job; (job = pen_builder_take(work));)
        job_free(job);
    free(work->builder);
    work->builder = NULL;
}

struct pen_work_program *pen_program_find(struct pen_work *work, uint64_t id, const char *what)
{
    struct pen_work_program *program = pen_work_find(work, &work->programs, id, what);
    if (program && program->job) {
        pen_ring_give_room(&work->ring);
        pen_builder_wait(work, program->job);
        pen_build_collect(work);
    }
    return program;
}

bool pen_work_build(struct pen_work *work, const struct pen_msg_program_build *message, uint64_t sequence)
{
    pen_build_collect(work);
    struct pen_work_job *job = job_create(work, message, sequence);
    bool all = true, here = false;
    if (!job)
        return false;
    atomic_fetch_add_explicit(&work->crash->builds, 1, memory_order_relaxed);
    job->ordered = work->domain_count > 1;
    for (uint32_t i = 0; i < job->device_count; i++) {
        here = here || job->devices[i]->backend->one_thread;
        job->ordered = job->ordered || job->devices[i]->span;
        if (first_of_unit(job, i) != i)
            continue;
        job->units[i] = pen_unit_find(job->program, job->devices[i], job->step, job->options, job->keys[i]);
        all = all && job->units[i];
    }
    if (all)
        return finish(job);
    pen_ring_give_room(&work->ring);
    if (!here) {
        job->program->job = job;
        if (!pen_builder_add(work, job))
            return true;
    }
    pen_builder_rest(work); /* the cache is one thread's */
    pen_job_run(job);       /* also when there is no thread to be had */
    return finish(job);
}
