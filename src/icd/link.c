/* icd/link.c - clLinkProgram. */
#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"
#include "icd/program.h"

static bool linkable(const struct pen_build_state *state)
{
    return state && state->recipe &&
           (state->binary_type == CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT ||
            state->binary_type == CL_PROGRAM_BINARY_TYPE_LIBRARY);
}

/* Makes input `i` under `id`. */
static int make_input(struct pen_build_job *job, cl_uint i, uint64_t id, struct pen_answer *answer)
{
    struct pen_recipe *recipes[PEN_LIMIT_DEVICES];
    if (job->device_count > PEN_LIMIT_DEVICES)
        return -PEN_ELIMIT;
    for (cl_uint device = 0; device < job->device_count; device++)
        recipes[device] = job->recipes[device]->inputs[i];
    return pen_builder_make(job->program->context->session, recipes, id, false, job->devices, job->device_count,
                            answer);
}

/* Input `i`'s id in the worker: a program from a binary is made there for this link alone. */
static int input_id(struct pen_build_job *job, cl_uint i, uint64_t *out_id, bool *out_temporary,
                    struct pen_answer *answer)
{
    cl_program input = job->inputs[i];
    pthread_mutex_lock(&input->lock);
    *out_id = input->from_binary ? 0 : input->id;
    pthread_mutex_unlock(&input->lock);
    *out_temporary = *out_id == 0;
    if (*out_id)
        return 0;
    *out_id = pen_session_new_id(input->context->session);
    return make_input(job, i, *out_id, answer);
}

int pen_link_make(struct pen_build_job *job, struct pen_answer *out_answer)
{
    struct pen_session *session = job->program->context->session;
    uint64_t *ids = calloc(job->input_count, sizeof *ids);
    bool *temporary = calloc(job->input_count, sizeof *temporary);
    struct pen_answer answer = {0};
    int rc = ids && temporary ? 0 : -PEN_ENOMEM;
    cl_uint made = 0;
    for (; !rc && !answer.status && made < job->input_count; made++) {
        pen_answer_finish(&answer);
        rc = input_id(job, made, &ids[made], &temporary[made], &answer);
    }
    if (!rc && !answer.status) {
        pen_answer_finish(&answer);
        rc = pen_builder_link(session, job->id, ids, job->input_count, job->options, job->devices, job->device_count,
                              &answer);
    }
    for (cl_uint i = 0; i < made; i++)
        if (temporary[i])
            pen_builder_drop(session, ids[i]);
    free(ids);
    free(temporary);
    if (rc)
        pen_answer_finish(&answer);
    else
        *out_answer = answer;
    return rc;
}

/* For each device of the program: either all inputs can be linked for it (its index is kept), or none has anything. */
static cl_int linkable_devices(cl_program program, cl_uint input_count, const cl_program *inputs, cl_uint *indices,
                               cl_uint *out_count)
{
    cl_uint kept = 0;
    for (cl_uint i = 0; i < program->device_count; i++) {
        cl_uint ready = 0, empty = 0;
        for (cl_uint j = 0; j < input_count; j++) {
            pthread_mutex_lock(&inputs[j]->lock);
            const struct pen_build_state *state = pen_program_state(inputs[j], program->devices[i]);
            ready += !inputs[j]->building && linkable(state);
            empty += !state || state->status == CL_BUILD_NONE;
            pthread_mutex_unlock(&inputs[j]->lock);
        }
        if (ready == input_count)
            indices[kept++] = i;
        else if (empty != input_count)
            return CL_INVALID_OPERATION;
    }
    *out_count = kept;
    return kept ? CL_SUCCESS : CL_INVALID_OPERATION;
}

/* The recipe of the link, from the inputs' for that device. */
static struct pen_recipe *link_recipe(cl_program program, cl_uint index, cl_uint input_count, const cl_program *inputs,
                                      const char *options)
{
    struct pen_recipe *recipe = pen_recipe_create(PEN_RECIPE_LINK, PEN_BUILD_STEP_LINK, NULL, 0, options, options);
    if (!recipe)
        return NULL;
    recipe->inputs = calloc(input_count, sizeof(struct pen_recipe *));
    for (cl_uint i = 0; recipe->inputs && i < input_count; i++) {
        pthread_mutex_lock(&inputs[i]->lock);
        const struct pen_build_state *state = pen_program_state(inputs[i], program->devices[index]);
        if (state && state->recipe)
            recipe->inputs[recipe->input_count++] = pen_recipe_ref(state->recipe);
        pthread_mutex_unlock(&inputs[i]->lock);
    }
    if (recipe->input_count == input_count)
        return recipe;
    pen_recipe_unref(recipe);
    return NULL;
}

static struct pen_build_job *create_job(cl_program program, const cl_uint *indices, cl_uint count, const char *options,
                                        cl_uint input_count, const cl_program *inputs)
{
    struct pen_build_job *job = pen_job_create(program, PEN_BUILD_STEP_LINK, indices, count, options);
    if (!job)
        return NULL;
    uint32_t depth = 0;
    bool complete = true;
    for (cl_uint i = 0; complete && i < count; i++) {
        job->recipes[i] = link_recipe(program, indices[i], input_count, inputs, job->options);
        complete = job->recipes[i] != NULL;
        if (complete && pen_recipe_depth(job->recipes[i]) > depth)
            depth = pen_recipe_depth(job->recipes[i]);
    }
    job->inputs = calloc(input_count, sizeof(cl_program));
    if (!complete || !job->inputs) {
        pen_job_free(job);
        return NULL;
    }
    for (cl_uint i = 0; i < input_count; i++) {
        job->inputs[i] = inputs[i];
        pen_ref(inputs[i]);
    }
    job->input_count = input_count;
    if (strlen(job->options) > PEN_LIMIT_OPTIONS)
        pen_fail(&job->refusal, -PEN_ELINKEROPTIONS, "link options may have %u bytes (limit OPTIONS), not %zu",
                 PEN_LIMIT_OPTIONS, strlen(job->options));
    else if (input_count > PEN_LIMIT_INPUTS)
        pen_fail(&job->refusal, -PEN_ELINK, "a link may have %u inputs (limit INPUTS), not %u", PEN_LIMIT_INPUTS,
                 input_count);
    else if (depth > PEN_RECIPE_DEPTH)
        pen_fail(&job->refusal, -PEN_ELINK, "libraries may be made of libraries %d deep", PEN_RECIPE_DEPTH);
    return job;
}

/* The specification gives the program also when the link failed, so that its log can be asked for. */
static cl_program link_program(cl_context context, cl_uint device_count, const cl_device_id *devices,
                               const char *options, cl_uint input_count, const cl_program *inputs,
                               pen_program_notify notify, void *user, cl_int *out_error)
{
    cl_program program = pen_program_new(context, devices, device_count);
    cl_uint *indices = program ? calloc(program->device_count, sizeof *indices) : NULL, count;
    cl_int status = indices ? linkable_devices(program, input_count, inputs, indices, &count) : CL_OUT_OF_HOST_MEMORY;
    struct pen_build_job *job = NULL;
    if (status == CL_SUCCESS) {
        program->linked = true;
        job = create_job(program, indices, count, options, input_count, inputs);
        status = job ? pen_job_begin(job) : CL_OUT_OF_HOST_MEMORY;
    }
    free(indices);
    if (status != CL_SUCCESS) {
        pen_job_free(job);
        if (program)
            pen_release(program, PEN_MAGIC_PROGRAM, CL_INVALID_PROGRAM);
        return pen_refuse(out_error, status);
    }
    status = pen_job_run(job, notify, user);
    if (status == CL_INVALID_LINKER_OPTIONS || status == CL_DEVICE_NOT_AVAILABLE) {
        pen_release(program, PEN_MAGIC_PROGRAM, CL_INVALID_PROGRAM);
        return pen_refuse(out_error, status);
    }
    if (out_error)
        *out_error = status;
    return program;
}

CL_API_ENTRY cl_program CL_API_CALL pen_clLinkProgram(cl_context context, cl_uint device_count,
                                                      const cl_device_id *devices, const char *options,
                                                      cl_uint input_count, const cl_program *inputs,
                                                      pen_program_notify notify, void *user, cl_int *out_error)
{
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return pen_refuse(out_error, CL_INVALID_CONTEXT);
    if (!device_count != !devices || !input_count || !inputs || (!notify && user))
        return pen_refuse(out_error, CL_INVALID_VALUE);
    for (cl_uint i = 0; i < input_count; i++)
        if (!pen_object_is(inputs[i], PEN_MAGIC_PROGRAM))
            return pen_refuse(out_error, CL_INVALID_PROGRAM);
    for (cl_uint i = 0; i < input_count; i++)
        if (inputs[i]->context != context)
            return pen_refuse(out_error, CL_INVALID_CONTEXT);
    for (cl_uint i = 0; i < device_count; i++)
        if (!pen_object_is(devices[i], PEN_MAGIC_DEVICE) || !pen_context_has_device(context, devices[i]))
            return pen_refuse(out_error, CL_INVALID_DEVICE);
    for (cl_uint i = 0; i < (devices ? device_count : context->device_count); i++)
        if (!pen_device_bool(devices ? devices[i] : context->devices[i], CL_DEVICE_LINKER_AVAILABLE))
            return pen_refuse(out_error, CL_LINKER_NOT_AVAILABLE);
    return link_program(context, device_count, devices, options, input_count, inputs, notify, user, out_error);
}
