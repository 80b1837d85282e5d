/* icd/build.c - clBuildProgram and clCompileProgram, and how any build (also link.c's) runs: begun under the program's
 * lock, made by the worker with no lock held, ended under the lock again. A build with a callback runs on a thread of
 * its own; what it needs from this process (text, headers, options) is collected before the call returns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "icd/entry.h"
#include "icd/includes.h"
#include "icd/program.h"

/* ---- jobs ---------------------------------------------------------------------------------------------- */

void pen_job_free(struct pen_build_job *job)
{
    if (!job)
        return;
    for (cl_uint i = 0; i < job->input_count; i++)
        pen_unref(job->inputs[i]);
    if (job->program)
        pen_unref(job->program);
    for (cl_uint i = 0; job->recipes && i < job->device_count; i++)
        pen_recipe_unref(job->recipes[i]);
    free(job->recipes);
    free(job->inputs);
    free(job->indices);
    free(job->devices);
    free(job->options);
    free(job->remark);
    free(job);
}

/* Adds the device to the job. Room is for all of the program's. */
static void add_device(struct pen_build_job *job, cl_uint index)
{
    job->indices[job->device_count] = index;
    job->devices[job->device_count++] = job->program->devices[index]->id;
}

struct pen_build_job *pen_job_create(cl_program program, uint32_t step, const cl_uint *indices, cl_uint count,
                                     const char *options)
{
    struct pen_build_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->program = program;
    pen_ref(program);
    job->step = step;
    job->indices = calloc(program->device_count, sizeof *job->indices); /* room for add_built */
    job->devices = calloc(program->device_count, sizeof *job->devices);
    job->recipes = calloc(program->device_count, sizeof(struct pen_recipe *));
    job->options = strdup(options ? options : "");
    job->no_options = !options;
    if (!job->indices || !job->devices || !job->recipes || !job->options) {
        pen_job_free(job);
        return NULL;
    }
    for (cl_uint i = 0; i < count; i++)
        add_device(job, indices[i]);
    return job;
}

static bool has_index(const cl_uint *indices, cl_uint count, cl_uint index)
{
    for (cl_uint i = 0; i < count; i++)
        if (indices[i] == index)
            return true;
    return false;
}

/* A device that is built and not in the job, so that it would lose its build when the job begins anew; NULL: none. */
static const struct pen_build_state *built_outside(const struct pen_build_job *job)
{
    cl_program program = job->program;
    for (cl_uint i = 0; i < program->device_count; i++)
        if (program->builds[i].status == CL_BUILD_SUCCESS && !has_index(job->indices, job->device_count, i))
            return &program->builds[i];
    return NULL;
}

/* Whatever is built is made of the text that the worker has under the program's id: if the recipe's is the same, one
 * more device can be built of that. A link cannot be repeated so; and an #include by an absolute path is rewritten if
 * the file is there, which may change. */
static bool is_of_text(const struct pen_build_state *state, const struct pen_recipe *recipe)
{
    const struct pen_recipe *before = state->recipe;
    return (recipe->kind == PEN_RECIPE_SOURCE || recipe->kind == PEN_RECIPE_IL) && before->kind == recipe->kind &&
           before->size == recipe->size && !memcmp(before->text, recipe->text, recipe->size);
}

/* What is built is made again with the job, under the new id: a given binary as it is, a text as it is now. */
static void add_built(struct pen_build_job *job)
{
    cl_program program = job->program;
    for (cl_uint i = 0; i < program->device_count; i++) {
        if (program->builds[i].status != CL_BUILD_SUCCESS || has_index(job->indices, job->device_count, i))
            continue;
        job->recipes[job->device_count] =
            pen_recipe_ref(program->from_binary ? program->builds[i].recipe : job->recipes[0]);
        add_device(job, i);
    }
}

static void begin_anew(struct pen_build_job *job)
{
    cl_program program = job->program;
    if (program->id)
        pen_builder_drop(program->context->session, program->id);
    program->id = pen_session_new_id(program->context->session);
    for (cl_uint i = 0; i < program->device_count; i++)
        pen_program_forget_build(program, &program->builds[i]);
    pen_meta_free(program->kernels, program->kernel_count);
    program->kernels = NULL;
    program->kernel_count = 0;
}

cl_int pen_job_begin(struct pen_build_job *job)
{
    cl_program program = job->program;
    cl_int status = CL_SUCCESS;
    pthread_mutex_lock(&program->lock);
    if (program->building || program->attached) {
        status = CL_INVALID_OPERATION;
    } else {
        const struct pen_build_state *other = built_outside(job);
        job->exists = other && !program->from_binary && (job->refusal.code || is_of_text(other, job->recipes[0]));
        if (!job->exists) {
            add_built(job);
            begin_anew(job);
        }
        job->id = program->id;
        program->building = true;
        for (cl_uint i = 0; i < job->device_count; i++) {
            struct pen_build_state *state = &program->builds[job->indices[i]];
            pen_program_forget_build(program, state);
            pen_meta_forget(program->kernels, &program->kernel_count, job->devices[i]);
            state->status = CL_BUILD_IN_PROGRESS;
            state->options = strdup(job->options);
        }
    }
    pthread_mutex_unlock(&program->lock);
    return status;
}

static cl_program_binary_type type_of(const struct pen_build_job *job, uint32_t answered)
{
    if (answered)
        return answered;
    if (job->step == PEN_BUILD_STEP_COMPILE)
        return CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT;
    return job->step == PEN_BUILD_STEP_LINK && strstr(job->options, "-create-library")
               ? CL_PROGRAM_BINARY_TYPE_LIBRARY
               : CL_PROGRAM_BINARY_TYPE_EXECUTABLE;
}

/* What the driver said, after what we have to say. */
static char *log_of(const struct pen_build_job *job, const char *said)
{
    char *log = NULL;
    if (!job->remark)
        return strdup(said);
    return asprintf(&log, "%s\n%s", job->remark, said) < 0 ? NULL : log;
}

static void end_device(struct pen_build_job *job, cl_uint i, struct pen_device_answer *device, const char *message)
{
    struct pen_build_state *state = &job->program->builds[job->indices[i]];
    bool built = device && device->outcome == PEN_BUILD_OUTCOME_SUCCESS;
    state->status = built ? CL_BUILD_SUCCESS : CL_BUILD_ERROR;
    state->log = log_of(job, device && device->log ? device->log : message);
    if (!built)
        return;
    state->global_variable_bytes = device->global_variable_bytes;
    if (!job->program->from_binary) {
        state->binary_type = type_of(job, device->binary_type);
        pen_recipe_unref(state->recipe);
        state->recipe = pen_recipe_ref(job->recipes[i]);
    }
}

/* What a build's error is called when it happens in this step: whatever a driver stumbles over, the step has failed. */
static int error_of_step(uint32_t step, int error)
{
    static const int failures[] = {-PEN_EBUILD, -PEN_ECOMPILE, -PEN_ELINK};
    static const int options[] = {-PEN_EBUILDOPTIONS, -PEN_ECOMPILEROPTIONS, -PEN_ELINKEROPTIONS};
    switch (-error) {
    case 0:
    case PEN_ENOMEM:
    case PEN_EGONE:
    case PEN_EDEVMEM:
    case PEN_EDEVRES:
    case PEN_EDEVICEGONE:
    case PEN_EBINARY:
        return error;
    case PEN_EBUILDOPTIONS:
    case PEN_ECOMPILEROPTIONS:
    case PEN_ELINKEROPTIONS:
        return options[step];
    default:
        return failures[step];
    }
}

/* rc: 0 with an answer, or why there is none. */
static int end(struct pen_build_job *job, int rc, struct pen_answer *answer)
{
    cl_program program = job->program;
    const char *message = job->refusal.code ? job->refusal.message : rc ? pen_error_text(rc) : answer->message;
    int result = rc ? rc : answer->status;
    pthread_mutex_lock(&program->lock);
    for (cl_uint i = 0; i < job->device_count; i++) {
        struct pen_device_answer *device = rc ? NULL : &answer->devices[i];
        end_device(job, i, device, message);
        if (!result && device && device->outcome != PEN_BUILD_OUTCOME_SUCCESS)
            result = -PEN_EBUILD;
    }
    if (!rc && answer->kernel_count) {
        int merged = pen_meta_merge(&program->kernels, &program->kernel_count, answer->kernels, answer->kernel_count);
        answer->kernels = NULL;
        answer->kernel_count = 0;
        result = result ? result : merged;
    }
    program->building = false;
    pthread_mutex_unlock(&program->lock);
    return error_of_step(job->step, result);
}

/* Each device's own code by itself: what is told of one's kernels need not hold of another's by the same name. */
static int make_native(struct pen_build_job *job, const struct pen_native *natives, struct pen_answer *out_answer)
{
    struct pen_answer answer;
    int rc = pen_answer_begin(&answer, job->device_count);
    for (uint32_t i = 0; !rc && i < job->device_count; i++) {
        const struct pen_build_state *state = &job->program->builds[job->indices[i]];
        struct pen_answer part = {0};
        rc = pen_builder_native(job->program->context->session, job->id, &natives[i], 1, &part);
        if (!rc && !part.status)
            rc = pen_meta_complete(part.kernels, part.kernel_count, state->given, state->given_count);
        if (rc)
            pen_answer_finish(&part);
        else
            rc = pen_answer_merge(&answer, &i, &part);
    }
    if (rc)
        pen_answer_finish(&answer);
    else
        *out_answer = answer;
    return rc;
}

/* Can it be made by its recipes? */
static bool has_recipes(const struct pen_build_job *job)
{
    bool can = job->recipes[0]->kind != PEN_RECIPE_NATIVE;
    for (cl_uint i = 1; can && i < job->device_count; i++)
        can = pen_recipe_alike(job->recipes[0], job->recipes[i]);
    return can;
}

/* Is what the program was made of worth more than native code? A device that spans others goes by what a text says of
 * its kernels; of native code it knows nothing, and runs them one by one. What the text comes to, the caches have. */
static bool wants_text(const struct pen_build_job *job)
{
    bool spans = false;
    for (cl_uint i = 0; i < job->device_count; i++)
        spans = spans || job->program->devices[job->indices[i]]->pool->info.spans > 1;
    return spans && has_recipes(job) && !pen_recipe_native(job->recipes[0]);
}

/* Native code for the devices, if the binaries had it for all and nothing is better; else what the recipes say. */
static int make(struct pen_build_job *job, struct pen_answer *out_answer)
{
    cl_program program = job->program;
    struct pen_session *session = program->context->session;
    if (program->linked)
        return pen_link_make(job, out_answer);
    struct pen_native natives[PEN_LIMIT_DEVICES];
    if (!wants_text(job) && pen_program_natives(program, job->devices, job->device_count, natives)) {
        int rc = make_native(job, natives, out_answer);
        if (rc || !out_answer->status || !has_recipes(job))
            return rc;
        pen_answer_finish(out_answer);
        pen_builder_drop(session, job->id);
        pthread_mutex_lock(&program->lock);
        program->id = job->id = pen_session_new_id(session);
        pthread_mutex_unlock(&program->lock);
    }
    return pen_builder_make(session, job->recipes, job->id, job->exists, job->devices, job->device_count, out_answer);
}

static cl_int run(struct pen_build_job *job)
{
    struct pen_answer answer = {0};
    int rc = job->refusal.code ? job->refusal.code : make(job, &answer);
    rc = end(job, rc, &answer);
    pen_answer_finish(&answer);
    return pen_status(rc);
}

static void *run_thread(void *argument)
{
    struct pen_build_job *job = argument;
    run(job);
    job->notify(job->program, job->user);
    pen_job_free(job);
    return NULL;
}

static bool start_thread(struct pen_build_job *job)
{
    pthread_t thread;
    if (pen_thread_start(&thread, run_thread, job))
        return false;
    pthread_detach(thread);
    return true;
}

cl_int pen_job_run(struct pen_build_job *job, pen_program_notify notify, void *user)
{
    job->notify = notify;
    job->user = user;
    if (notify && start_thread(job))
        return CL_SUCCESS;
    cl_int status = run(job);
    if (notify) {
        notify(job->program, user);
        status = CL_SUCCESS;
    }
    pen_job_free(job);
    return status;
}

/* ---- entry points -------------------------------------------------------------------------------------- */

/* True for a sub-device, of any depth, of one of the devices: what is built for a device runs on its parts. */
static bool is_part_of_one(cl_device_id device, const cl_device_id *devices, cl_uint count)
{
    for (cl_device_id whole = device->parent; whole; whole = whole->parent)
        for (cl_uint i = 0; i < count; i++)
            if (devices[i] == whole)
                return true;
    return false;
}

cl_int pen_program_indices(cl_program program, cl_uint count, const cl_device_id *devices, cl_uint **out_indices,
                           cl_uint *out_count)
{
    if (!devices != !count)
        return CL_INVALID_VALUE;
    cl_uint total = devices ? count : program->device_count, kept = 0;
    cl_uint *indices = calloc(program->device_count, sizeof *indices);
    if (!indices)
        return CL_OUT_OF_HOST_MEMORY;
    for (cl_uint i = 0; i < total; i++) {
        cl_uint index = i;
        if (devices)
            for (index = 0; index < program->device_count && program->devices[index] != devices[i]; index++)
                ;
        if (index == program->device_count) {
            free(indices);
            return CL_INVALID_DEVICE;
        }
        if (!has_index(indices, kept, index))
            indices[kept++] = index;
    }
    for (cl_uint i = 0; devices && i < program->device_count; i++)
        if (!has_index(indices, kept, i) && is_part_of_one(program->devices[i], devices, count))
            indices[kept++] = i;
    *out_indices = indices;
    *out_count = kept;
    return CL_SUCCESS;
}

static int copy_constants(struct pen_build_job *job, struct pen_recipe *recipe)
{
    cl_program program = job->program;
    int rc = 0;
    pthread_mutex_lock(&program->lock);
    if (program->constant_count) {
        size_t size = program->constant_count * sizeof *program->constants;
        recipe->constants = malloc(size);
        if (recipe->constants) {
            memcpy(recipe->constants, program->constants, size);
            recipe->constant_count = program->constant_count;
        } else {
            rc = pen_fail(&job->refusal, -PEN_ENOMEM, "out of memory for specialization constants");
        }
    }
    pthread_mutex_unlock(&program->lock);
    return rc;
}

/* What a program made from source or IL is to become: its text, and the headers it includes, as they are now. */
static int write_recipe(struct pen_build_job *job, const struct pen_include_given *given, uint32_t given_count,
                        struct pen_recipe **out_recipe)
{
    cl_program program = job->program;
    struct pen_includes includes = {0};
    int rc = 0;
    if (program->source) {
        rc = pen_includes_collect(program->source, job->options, given, given_count, &includes, &job->refusal);
        if (rc)
            return rc;
    }
    job->remark = includes.remark;
    includes.remark = NULL;
    const char *source = includes.source ? includes.source : program->source;
    struct pen_recipe *recipe =
        source ? pen_recipe_create(PEN_RECIPE_SOURCE, job->step, source, strlen(source), job->options, includes.options)
               : pen_recipe_create(PEN_RECIPE_IL, job->step, program->il, program->il_size, job->options, job->options);
    if (recipe) {
        recipe->headers = includes.headers;
        recipe->header_count = includes.header_count;
        includes.headers = NULL;
        includes.header_count = 0;
        /* "Only available if [...] built with the -cl-kernel-arg-info option"; PoCL: or without options at all. */
        recipe->argument_info = job->no_options || strstr(job->options, "-cl-kernel-arg-info");
    }
    pen_includes_finish(&includes);
    if (!recipe)
        return pen_fail(&job->refusal, -PEN_ENOMEM, "out of memory for the program's text");
    *out_recipe = recipe;
    return copy_constants(job, recipe);
}

/* A limit that was met while headers were collected is a build that failed, with the sentence as its log. */
static void prepare_recipe(struct pen_build_job *job, const struct pen_include_given *given, uint32_t given_count)
{
    struct pen_recipe *recipe = NULL;
    int rc = write_recipe(job, given, given_count, &recipe);
    if (!rc && recipe && strlen(recipe->wire_options) > PEN_LIMIT_OPTIONS)
        rc = pen_fail(&job->refusal, -PEN_EBUILDOPTIONS, "build options may have %u bytes (limit OPTIONS), not %zu",
                      PEN_LIMIT_OPTIONS, strlen(recipe->wire_options));
    if (!rc && recipe && recipe->size > PEN_LIMIT_PROGRAM)
        rc = pen_fail(&job->refusal, -PEN_EBUILD, "a program may have %u bytes (limit PROGRAM), not %zu",
                      PEN_LIMIT_PROGRAM, recipe->size);
    if (rc)
        job->refusal.code = rc == -PEN_ELIMIT ? -PEN_EBUILD : rc;
    for (cl_uint i = 0; !rc && i < job->device_count; i++)
        job->recipes[i] = pen_recipe_ref(recipe);
    pen_recipe_unref(recipe);
}

static cl_int compiler_available(cl_program program, const cl_uint *indices, cl_uint count)
{
    for (cl_uint i = 0; (program->source || program->il) && i < count; i++)
        if (!pen_device_bool(program->devices[indices[i]], CL_DEVICE_COMPILER_AVAILABLE))
            return CL_COMPILER_NOT_AVAILABLE;
    return CL_SUCCESS;
}

static cl_int build(cl_program program, uint32_t step, cl_uint device_count, const cl_device_id *devices,
                    const char *options, const struct pen_include_given *given, uint32_t given_count,
                    pen_program_notify notify, void *user)
{
    cl_uint *indices, count;
    cl_int status = pen_program_indices(program, device_count, devices, &indices, &count);
    if (status != CL_SUCCESS)
        return status;
    status = compiler_available(program, indices, count);
    struct pen_build_job *job = status == CL_SUCCESS ? pen_job_create(program, step, indices, count, options) : NULL;
    free(indices);
    if (!job)
        return status != CL_SUCCESS ? status : CL_OUT_OF_HOST_MEMORY;
    for (cl_uint i = 0; program->from_binary && i < job->device_count; i++)
        job->recipes[i] = pen_recipe_ref(program->builds[job->indices[i]].recipe);
    if (!program->from_binary)
        prepare_recipe(job, given, given_count);
    status = pen_job_begin(job);
    if (status == CL_SUCCESS)
        return pen_job_run(job, notify, user);
    pen_job_free(job);
    return status;
}

/* True when the given binary is an executable for every device: an object or a library can only be linked. */
static bool binaries_are_executable(cl_program program)
{
    for (cl_uint i = 0; i < program->device_count; i++)
        if (program->builds[i].binary_type != CL_PROGRAM_BINARY_TYPE_EXECUTABLE)
            return false;
    return true;
}

CL_API_ENTRY cl_int CL_API_CALL pen_clBuildProgram(cl_program program, cl_uint device_count,
                                                   const cl_device_id *devices, const char *options,
                                                   pen_program_notify notify, void *user)
{
    if (!pen_object_is(program, PEN_MAGIC_PROGRAM))
        return CL_INVALID_PROGRAM;
    if (!notify && user)
        return CL_INVALID_VALUE;
    if (program->linked || (program->from_binary && !binaries_are_executable(program)))
        return CL_INVALID_OPERATION;
    return build(program, PEN_BUILD_STEP_BUILD, device_count, devices, options, NULL, 0, notify, user);
}

CL_API_ENTRY cl_int CL_API_CALL pen_clCompileProgram(cl_program program, cl_uint device_count,
                                                     const cl_device_id *devices, const char *options,
                                                     cl_uint header_count, const cl_program *headers,
                                                     const char **names, pen_program_notify notify, void *user)
{
    if (!pen_object_is(program, PEN_MAGIC_PROGRAM))
        return CL_INVALID_PROGRAM;
    if ((!notify && user) || !header_count != !headers || !header_count != !names)
        return CL_INVALID_VALUE;
    if (!program->source && !program->il)
        return CL_INVALID_OPERATION;
    struct pen_include_given *given = calloc(header_count + 1, sizeof *given);
    if (!given)
        return CL_OUT_OF_HOST_MEMORY;
    cl_int status = CL_SUCCESS;
    for (cl_uint i = 0; status == CL_SUCCESS && i < header_count; i++)
        if (!pen_object_is(headers[i], PEN_MAGIC_PROGRAM) || !headers[i]->source)
            status = CL_INVALID_PROGRAM;
        else if (!names[i])
            status = CL_INVALID_VALUE;
        else
            given[i] = (struct pen_include_given){names[i], headers[i]->source};
    if (status == CL_SUCCESS)
        status =
            build(program, PEN_BUILD_STEP_COMPILE, device_count, devices, options, given, header_count, notify, user);
    free(given);
    return status;
}
