/* icd/builder.c - see builder.h. Texts go through the arena: the worker copies them out when it decodes the command, so
 * the staging can be freed as soon as the build that follows has been answered. */
#include "icd/builder.h"

#include <stdlib.h>
#include <string.h>

#include "base/scratch.h"

void pen_answer_finish(struct pen_answer *answer)
{
    for (uint32_t i = 0; i < answer->device_count; i++)
        free(answer->devices[i].log);
    free(answer->devices);
    free(answer->message);
    pen_meta_free(answer->kernels, answer->kernel_count);
    *answer = (struct pen_answer){0};
}

int pen_answer_begin(struct pen_answer *answer, uint32_t device_count)
{
    *answer = (struct pen_answer){.devices = calloc(device_count + 1, sizeof *answer->devices), .message = strdup("")};
    if (!answer->devices || !answer->message) {
        pen_answer_finish(answer);
        return -PEN_ENOMEM;
    }
    answer->device_count = device_count;
    for (uint32_t i = 0; i < device_count; i++)
        answer->devices[i].outcome = PEN_BUILD_OUTCOME_FAILED;
    return 0;
}

int pen_answer_merge(struct pen_answer *all, const uint32_t *at, struct pen_answer *part)
{
    for (uint32_t i = 0; i < part->device_count; i++) {
        free(all->devices[at[i]].log);
        all->devices[at[i]] = part->devices[i];
        part->devices[i].log = NULL;
    }
    if (part->status && !all->status) {
        all->status = part->status;
        free(all->message);
        all->message = part->message;
        part->message = NULL;
    }
    int rc = pen_meta_merge(&all->kernels, &all->kernel_count, part->kernels, part->kernel_count);
    part->kernels = NULL;
    part->kernel_count = 0;
    pen_answer_finish(part);
    return rc;
}

/* ---- reading answers ----------------------------------------------------------------------------------- */

static int read_built(const void *frame, size_t size, struct pen_scratch *scratch, const uint64_t *devices,
                      struct pen_answer *answer, struct pen_msg_built *out_built)
{
    int rc = pen_msg_built_decode(frame, size, scratch, out_built);
    if (rc)
        return rc;
    answer->status = out_built->status;
    free(answer->message);
    answer->message = strdup(out_built->message);
    for (uint32_t i = 0; i < answer->device_count; i++) {
        /* A build that was refused as a whole says nothing of its devices. */
        answer->devices[i].outcome = out_built->status ? PEN_BUILD_OUTCOME_FAILED : PEN_BUILD_OUTCOME_SUCCESS;
        for (uint32_t j = 0; j < out_built->results_count; j++) {
            const struct pen_build_result *result = &out_built->results[j];
            if (result->device != devices[i])
                continue;
            answer->devices[i].outcome = result->outcome;
            answer->devices[i].binary_type = result->binary_type;
            answer->devices[i].global_variable_bytes = result->global_variable_bytes;
        }
    }
    return answer->message ? 0 : -PEN_ENOMEM;
}

static int read_logs(struct pen_session *session, uint64_t sequence, const struct pen_msg_built *built,
                     const uint64_t *devices, struct pen_answer *answer)
{
    for (uint32_t j = 0; j < built->results_count; j++) {
        if (!built->results[j].log_bytes)
            continue;
        void *log = NULL;
        size_t size;
        int rc = pen_session_answer_data(session, sequence, &log, &size);
        if (rc)
            return rc;
        for (uint32_t i = 0; log && i < answer->device_count; i++)
            if (devices[i] == built->results[j].device && !answer->devices[i].log) {
                answer->devices[i].log = log;
                log = NULL;
            }
        free(log);
    }
    return 0;
}

static int read_kernel(struct pen_session *session, uint64_t sequence, struct pen_scratch *scratch,
                       struct pen_kernel_meta *out_meta)
{
    uint16_t opcode;
    void *frame;
    size_t size;
    int rc = pen_session_answer(session, sequence, &opcode, &frame, &size);
    if (rc)
        return rc;
    struct pen_msg_kernel_info info;
    rc = opcode == PEN_OP_KERNEL_INFO ? pen_msg_kernel_info_decode(frame, size, scratch, &info) : -PEN_EPROTO;
    if (!rc)
        rc = pen_meta_copy(&info, out_meta);
    pen_scratch_reset(scratch);
    free(frame);
    return rc;
}

static int read_kernels(struct pen_session *session, uint64_t sequence, struct pen_scratch *scratch, uint32_t count,
                        struct pen_answer *answer)
{
    if (count > PEN_LIMIT_KERNELS)
        return -PEN_EPROTO;
    answer->kernels = calloc(count + 1, sizeof *answer->kernels);
    int rc = answer->kernels ? 0 : -PEN_ENOMEM;
    for (uint32_t i = 0; !rc && i < count; i++) {
        rc = read_kernel(session, sequence, scratch, &answer->kernels[i]);
        answer->kernel_count += !rc;
    }
    return rc;
}

static int read_answer(struct pen_session *session, uint64_t sequence, const uint64_t *devices, uint32_t device_count,
                       struct pen_answer *out_answer)
{
    struct pen_answer answer;
    struct pen_scratch scratch = {0}, kernel_scratch = {0};
    uint16_t opcode;
    void *frame = NULL;
    size_t size;
    struct pen_msg_built built;
    int rc = pen_answer_begin(&answer, device_count);
    if (!rc)
        rc = pen_session_answer(session, sequence, &opcode, &frame, &size);
    if (!rc)
        rc = opcode == PEN_OP_BUILT ? read_built(frame, size, &scratch, devices, &answer, &built) : -PEN_EPROTO;
    if (!rc)
        rc = read_logs(session, sequence, &built, devices, &answer);
    if (!rc)
        rc = read_kernels(session, sequence, &kernel_scratch, built.kernels, &answer);
    pen_scratch_finish(&scratch);
    pen_scratch_finish(&kernel_scratch);
    free(frame);
    if (rc)
        pen_answer_finish(&answer);
    else
        *out_answer = answer;
    return rc;
}

/* ---- sending ------------------------------------------------------------------------------------------- */

/* One arena range for a text and its headers, each piece at a multiple of 64. */
struct staging {
    struct pen_session *session;
    uint64_t offset, used;
};

static uint64_t rounded(uint64_t size)
{
    return (size + 63) & ~UINT64_C(63);
}

static int stage_begin(struct staging *staging, struct pen_session *session, uint64_t bytes)
{
    staging->session = session;
    staging->used = 0;
    return pen_arena_alloc(session, bytes ? bytes : 64, 64, &staging->offset);
}

static struct pen_bulk stage(struct staging *staging, const void *bytes, size_t size)
{
    struct pen_bulk bulk = {.offset = staging->offset + staging->used, .size = size};
    if (size)
        memcpy(pen_arena_at(staging->session, bulk.offset), bytes, size);
    staging->used += rounded(size);
    return bulk;
}

static int send_text(struct staging *staging, const struct pen_recipe *recipe, uint64_t id)
{
    uint64_t sequence;
    bool empty = !recipe->size; /* a program may be; what is sent is not */
    struct pen_msg_program_create create = {
        .program = id,
        .kind = recipe->kind == PEN_RECIPE_IL ? PEN_PROGRAM_KIND_IL : PEN_PROGRAM_KIND_SOURCE,
        .text = stage(staging, empty ? "\n" : recipe->text, empty ? 1 : recipe->size)};
    return PEN_SEND(staging->session, program_create, &create, &sequence);
}

/* They hold for the builds that follow, until they are set anew. */
static int send_constants(struct pen_session *session, const struct pen_recipe *recipe, uint64_t id)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < recipe->constant_count; i++) {
        uint64_t sequence;
        const struct pen_recipe_constant *from = &recipe->constants[i];
        struct pen_msg_program_constant constant = {
            .program = id, .constant = from->id, .value = {.data = from->value, .size = from->size}};
        rc = PEN_SEND(session, program_constant, &constant, &sequence);
    }
    return rc;
}

static int send_headers(struct staging *staging, const struct pen_recipe *recipe, uint64_t id)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < recipe->header_count; i++) {
        uint64_t sequence;
        struct pen_msg_program_header header = {.program = id,
                                                .name = recipe->headers[i].name,
                                                .text =
                                                    stage(staging, recipe->headers[i].text, recipe->headers[i].size)};
        rc = PEN_SEND(staging->session, program_header, &header, &sequence);
    }
    return rc;
}

/* As many parts of them as one command has no room for; leaves the rest. */
static int send_options(struct pen_session *session, const char **options)
{
    char part[PEN_LIMIT_TEXT + 1];
    int rc = 0;
    while (!rc && strlen(*options) > PEN_LIMIT_TEXT) {
        uint64_t sequence;
        const struct pen_msg_build_options message = {.part = part};
        *(char *)mempcpy(part, *options, PEN_LIMIT_TEXT) = 0;
        rc = PEN_SEND(session, build_options, &message, &sequence);
        *options += PEN_LIMIT_TEXT;
    }
    return rc;
}

static int build(struct pen_session *session, const struct pen_msg_program_build *message,
                 struct pen_answer *out_answer)
{
    uint64_t sequence;
    struct pen_msg_program_build last = *message;
    pen_session_lock(session); /* what comes before it stays before it */
    int rc = send_options(session, &last.options);
    if (!rc)
        rc = PEN_SEND(session, program_build, &last, &sequence);
    pen_session_unlock(session);
    return rc ? rc : read_answer(session, sequence, message->devices, message->devices_count, out_answer);
}

static int make_leaf(struct pen_session *session, const struct pen_recipe *recipe, uint64_t id, bool exists,
                     const uint64_t *devices, uint32_t device_count, struct pen_answer *out_answer)
{
    uint64_t bytes = exists ? 0 : rounded(recipe->size ? recipe->size : 1);
    for (uint32_t i = 0; i < recipe->header_count; i++)
        bytes += rounded(recipe->headers[i].size);
    struct staging staging;
    int rc = stage_begin(&staging, session, bytes);
    if (rc)
        return rc;
    if (!exists)
        rc = send_text(&staging, recipe, id);
    if (!rc)
        rc = send_constants(session, recipe, id);
    if (!rc)
        rc = send_headers(&staging, recipe, id);
    struct pen_msg_program_build message = {.program = id,
                                            .step = (enum pen_build_step)recipe->step,
                                            .devices = devices,
                                            .devices_count = device_count,
                                            .options = recipe->wire_options};
    if (!rc)
        rc = build(session, &message, out_answer);
    pen_arena_free(session, staging.offset);
    return rc;
}

/* Of the devices from `first` on, those with the same recipe, if it is the first of them; else none. */
struct group {
    uint64_t devices[PEN_LIMIT_DEVICES];
    uint32_t at[PEN_LIMIT_DEVICES]; /* among all */
    uint32_t count;
};

static void gather(struct pen_recipe *const *recipes, const uint64_t *devices, uint32_t device_count, uint32_t first,
                   struct group *out_group)
{
    out_group->count = 0;
    for (uint32_t i = 0; i < first; i++)
        if (pen_recipe_equal(recipes[i], recipes[first]))
            return;
    for (uint32_t i = first; i < device_count; i++)
        if (pen_recipe_equal(recipes[i], recipes[first])) {
            out_group->devices[out_group->count] = devices[i];
            out_group->at[out_group->count++] = i;
        }
}

/* Of one text: a build for each way in which it is to be built. */
static int make_leaves(struct pen_session *session, struct pen_recipe *const *recipes, uint64_t id, bool exists,
                       const uint64_t *devices, uint32_t device_count, struct pen_answer *out_answer)
{
    struct pen_answer answer;
    int rc = pen_answer_begin(&answer, device_count);
    for (uint32_t i = 0; !rc && i < device_count; i++) {
        struct group group;
        struct pen_answer part = {0};
        gather(recipes, devices, device_count, i, &group);
        if (!group.count)
            continue;
        rc = make_leaf(session, recipes[i], id, exists || i > 0, group.devices, group.count, &part);
        if (!rc)
            rc = pen_answer_merge(&answer, group.at, &part);
    }
    if (rc)
        pen_answer_finish(&answer);
    else
        *out_answer = answer;
    return rc;
}

static int make_native(struct pen_session *session, struct pen_recipe *const *recipes, uint64_t id,
                       const uint64_t *devices, uint32_t device_count, struct pen_answer *out_answer)
{
    struct pen_native natives[PEN_LIMIT_DEVICES];
    for (uint32_t i = 0; i < device_count; i++)
        natives[i] = (struct pen_native){devices[i], recipes[i]->text, recipes[i]->size};
    return pen_builder_native(session, id, natives, device_count, out_answer);
}

/* Input `input` of each device's link. */
static int make_input(struct pen_session *session, struct pen_recipe *const *recipes, uint32_t input, uint64_t id,
                      const uint64_t *devices, uint32_t device_count, struct pen_answer *out_answer)
{
    struct pen_recipe *inputs[PEN_LIMIT_DEVICES];
    for (uint32_t i = 0; i < device_count; i++)
        inputs[i] = recipes[i]->inputs[input];
    return pen_builder_make(session, inputs, id, false, devices, device_count, out_answer);
}

static int make_link(struct pen_session *session, struct pen_recipe *const *recipes, uint64_t id,
                     const uint64_t *devices, uint32_t device_count, struct pen_answer *out_answer)
{
    const struct pen_recipe *recipe = recipes[0];
    uint64_t *inputs = calloc(recipe->input_count, sizeof *inputs);
    struct pen_answer answer = {0};
    uint32_t made = 0;
    int rc = inputs ? 0 : -PEN_ENOMEM;
    while (!rc && !answer.status && made < recipe->input_count) {
        pen_answer_finish(&answer);
        inputs[made] = pen_session_new_id(session);
        rc = make_input(session, recipes, made, inputs[made], devices, device_count, &answer);
        made++;
    }
    if (!rc && !answer.status) {
        pen_answer_finish(&answer);
        rc = pen_builder_link(session, id, inputs, made, recipe->wire_options, devices, device_count, &answer);
    }
    for (uint32_t i = 0; i < made; i++)
        pen_builder_drop(session, inputs[i]);
    free(inputs);
    if (rc)
        pen_answer_finish(&answer);
    else
        *out_answer = answer;
    return rc;
}

int pen_builder_make(struct pen_session *session, struct pen_recipe *const *recipes, uint64_t id, bool exists,
                     const uint64_t *devices, uint32_t device_count, struct pen_answer *out_answer)
{
    if (!device_count || device_count > PEN_LIMIT_DEVICES)
        return -PEN_ELIMIT;
    for (uint32_t i = 1; i < device_count; i++)
        if (!pen_recipe_alike(recipes[0], recipes[i]))
            return -PEN_EBINARY;
    switch (recipes[0]->kind) {
    case PEN_RECIPE_SOURCE:
    case PEN_RECIPE_IL:
        return make_leaves(session, recipes, id, exists, devices, device_count, out_answer);
    case PEN_RECIPE_LINK:
        return make_link(session, recipes, id, devices, device_count, out_answer);
    case PEN_RECIPE_NATIVE:
        return make_native(session, recipes, id, devices, device_count, out_answer);
    }
    return -PEN_EINVAL;
}

int pen_builder_link(struct pen_session *session, uint64_t id, const uint64_t *inputs, uint32_t input_count,
                     const char *wire_options, const uint64_t *devices, uint32_t device_count,
                     struct pen_answer *out_answer)
{
    struct pen_msg_program_build message = {.program = id,
                                            .step = PEN_BUILD_STEP_LINK,
                                            .devices = devices,
                                            .devices_count = device_count,
                                            .inputs = inputs,
                                            .inputs_count = input_count,
                                            .options = wire_options};
    return build(session, &message, out_answer);
}

int pen_builder_native(struct pen_session *session, uint64_t id, const struct pen_native *natives, uint32_t count,
                       struct pen_answer *out_answer)
{
    uint64_t devices[PEN_LIMIT_DEVICES], bytes = 0;
    struct staging staging;
    if (count > PEN_LIMIT_DEVICES)
        return -PEN_ELIMIT;
    for (uint32_t i = 0; i < count; i++)
        bytes += rounded(natives[i].size);
    int rc = stage_begin(&staging, session, bytes);
    if (rc)
        return rc;
    for (uint32_t i = 0; !rc && i < count; i++) {
        uint64_t sequence;
        devices[i] = natives[i].device;
        struct pen_msg_program_create create = {.program = id,
                                                .kind = PEN_PROGRAM_KIND_NATIVE,
                                                .device = devices[i],
                                                .text = stage(&staging, natives[i].bytes, natives[i].size)};
        rc = PEN_SEND(session, program_create, &create, &sequence);
    }
    struct pen_msg_program_build message = {
        .program = id, .step = PEN_BUILD_STEP_BUILD, .devices = devices, .devices_count = count, .options = ""};
    if (!rc)
        rc = build(session, &message, out_answer);
    pen_arena_free(session, staging.offset);
    return rc;
}

int pen_builder_binary(struct pen_session *session, uint64_t id, uint64_t device, void **out_bytes, size_t *out_size)
{
    uint64_t sequence;
    struct pen_msg_program_binary message = {.program = id, .device = device};
    int rc = PEN_SEND(session, program_binary, &message, &sequence);
    return rc ? rc : pen_session_answer_data(session, sequence, out_bytes, out_size);
}

void pen_builder_drop(struct pen_session *session, uint64_t id)
{
    uint64_t sequence;
    struct pen_msg_program_destroy message = {.program = id};
    (void)PEN_SEND(session, program_destroy, &message, &sequence);
}
