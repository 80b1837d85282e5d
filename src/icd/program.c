/* icd/program.c - program objects and their queries. A program's text stays here until it is built for the first time;
 * what a build says of it (status, log, kernels) is kept, so that queries never leave the process. */
#include "icd/program.h"

#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"

/* ---- life ---------------------------------------------------------------------------------------------- */

static cl_program give(cl_int *out_error, cl_program program)
{
    if (out_error)
        *out_error = program ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
    return program;
}

cl_program pen_program_new(cl_context context, const cl_device_id *devices, cl_uint device_count)
{
    if (!devices) {
        devices = context->devices;
        device_count = context->device_count;
    }
    cl_program program = calloc(1, sizeof *program);
    if (!program)
        return NULL;
    program->devices = calloc(device_count, sizeof(cl_device_id));
    program->builds = calloc(device_count, sizeof *program->builds);
    if (!program->devices || !program->builds) {
        free(program->devices);
        free(program->builds);
        free(program);
        return NULL;
    }
    pen_object_init(&program->object, PEN_MAGIC_PROGRAM);
    pthread_mutex_init(&program->lock, NULL);
    program->context = context;
    pen_ref(context);
    for (cl_uint i = 0; i < device_count; i++) {
        program->devices[i] = program->builds[i].device = devices[i];
        program->builds[i].status = CL_BUILD_NONE;
        pen_ref(devices[i]);
    }
    program->device_count = device_count;
    return program;
}

void pen_program_forget_build(cl_program program, struct pen_build_state *state)
{
    free(state->options);
    free(state->log);
    free(state->container);
    state->options = state->log = NULL;
    state->container = NULL;
    state->container_size = 0;
    state->global_variable_bytes = 0;
    state->status = CL_BUILD_NONE;
    if (!program->from_binary) {
        pen_recipe_unref(state->recipe);
        state->recipe = NULL;
        state->binary_type = program->spir ? CL_PROGRAM_BINARY_TYPE_INTERMEDIATE : CL_PROGRAM_BINARY_TYPE_NONE;
    }
}

void pen_program_destroy(cl_program program)
{
    if (program->id)
        pen_builder_drop(program->context->session, program->id);
    for (cl_uint i = 0; i < program->device_count; i++) {
        pen_program_forget_build(program, &program->builds[i]);
        pen_recipe_unref(program->builds[i].recipe);
        pen_meta_free(program->builds[i].given, program->builds[i].given_count);
        free(program->builds[i].native);
        pen_unref(program->devices[i]);
    }
    pen_meta_free(program->kernels, program->kernel_count);
    pen_unref(program->context);
    pthread_mutex_destroy(&program->lock);
    free(program->builds);
    free(program->devices);
    free(program->constants);
    free(program->source);
    free(program->il);
    free(program);
}

struct pen_build_state *pen_program_state(cl_program program, cl_device_id device)
{
    for (cl_uint i = 0; i < program->device_count; i++)
        if (program->devices[i] == device)
            return &program->builds[i];
    return NULL;
}

CL_API_ENTRY cl_int CL_API_CALL pen_clRetainProgram(cl_program program)
{
    return pen_retain(program, PEN_MAGIC_PROGRAM, CL_INVALID_PROGRAM);
}

CL_API_ENTRY cl_int CL_API_CALL pen_clReleaseProgram(cl_program program)
{
    return pen_release(program, PEN_MAGIC_PROGRAM, CL_INVALID_PROGRAM);
}

/* No device has program-scope destructors; for that case the specification wants this error. */
CL_API_ENTRY cl_int CL_API_CALL pen_clSetProgramReleaseCallback(cl_program program, pen_program_notify notify,
                                                                void *user)
{
    (void)user;
    if (!pen_object_is(program, PEN_MAGIC_PROGRAM))
        return CL_INVALID_PROGRAM;
    return notify ? CL_INVALID_OPERATION : CL_INVALID_VALUE;
}

/* ---- creation ------------------------------------------------------------------------------------------ */

/* All strings as one; NULL when out of memory. A length of 0 means zero-terminated. */
static char *concatenate(cl_uint count, const char **strings, const size_t *lengths)
{
    size_t total = 0;
    for (cl_uint i = 0; i < count; i++)
        total += lengths && lengths[i] ? lengths[i] : strlen(strings[i]);
    char *text = malloc(total + 1), *out = text;
    for (cl_uint i = 0; text && i < count; i++)
        out = mempcpy(out, strings[i], lengths && lengths[i] ? lengths[i] : strlen(strings[i]));
    if (text)
        *out = 0;
    return text;
}

CL_API_ENTRY cl_program CL_API_CALL pen_clCreateProgramWithSource(cl_context context, cl_uint count,
                                                                  const char **strings, const size_t *lengths,
                                                                  cl_int *out_error)
{
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return pen_refuse(out_error, CL_INVALID_CONTEXT);
    if (!count || !strings)
        return pen_refuse(out_error, CL_INVALID_VALUE);
    for (cl_uint i = 0; i < count; i++)
        if (!strings[i])
            return pen_refuse(out_error, CL_INVALID_VALUE);
    char *source = concatenate(count, strings, lengths);
    cl_program program = source ? pen_program_new(context, NULL, 0) : NULL;
    if (program)
        program->source = source;
    else
        free(source);
    return give(out_error, program);
}

static bool takes_il(cl_device_id device)
{
    const struct pen_property *versions = pen_device_property(device, CL_DEVICE_IL_VERSION);
    return versions && versions->size > 1;
}

/* Devices of `version` (as pen_device_version) and later. */
static bool any_takes_il(const cl_device_id *devices, cl_uint count, unsigned version)
{
    for (cl_uint i = 0; i < count; i++)
        if (takes_il(devices[i]) && pen_device_version(devices[i]) >= version)
            return true;
    return false;
}

CL_API_ENTRY cl_program CL_API_CALL pen_clCreateProgramWithIL(cl_context context, const void *il, size_t size,
                                                              cl_int *out_error)
{
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return pen_refuse(out_error, CL_INVALID_CONTEXT);
    if (!any_takes_il(context->devices, context->device_count, 0))
        return pen_refuse(out_error, CL_INVALID_OPERATION);
    if (!il || !pen_spirv_ok(il, size) || size > PEN_LIMIT_PROGRAM)
        return pen_refuse(out_error, CL_INVALID_VALUE);
    void *copy = malloc(size);
    cl_program program = copy ? pen_program_new(context, NULL, 0) : NULL;
    if (!program) {
        free(copy);
        return pen_refuse(out_error, CL_OUT_OF_HOST_MEMORY);
    }
    program->il = memcpy(copy, il, size);
    program->il_size = size;
    return give(out_error, program);
}

/* Devices report no built-in kernels, so no name is one. */
CL_API_ENTRY cl_program CL_API_CALL pen_clCreateProgramWithBuiltInKernels(cl_context context, cl_uint device_count,
                                                                          const cl_device_id *devices,
                                                                          const char *names, cl_int *out_error)
{
    (void)names;
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return pen_refuse(out_error, CL_INVALID_CONTEXT);
    for (cl_uint i = 0; devices && i < device_count; i++)
        if (!pen_object_is(devices[i], PEN_MAGIC_DEVICE) || !pen_context_has_device(context, devices[i]))
            return pen_refuse(out_error, CL_INVALID_DEVICE);
    return pen_refuse(out_error, CL_INVALID_VALUE);
}

CL_API_ENTRY cl_int CL_API_CALL pen_clSetProgramSpecializationConstant(cl_program program, cl_uint id, size_t size,
                                                                       const void *value)
{
    if (!pen_object_is(program, PEN_MAGIC_PROGRAM))
        return CL_INVALID_PROGRAM;
    if (!any_takes_il(program->devices, program->device_count, 202)) /* OpenCL 2.2 brought them */
        return CL_INVALID_OPERATION;
    if (!program->il || program->spir)
        return CL_INVALID_PROGRAM;
    uint32_t wanted = pen_spirv_constant_size(program->il, program->il_size, id);
    if (!wanted)
        return CL_INVALID_SPEC_ID;
    if (!value || size != wanted)
        return CL_INVALID_VALUE;
    pthread_mutex_lock(&program->lock);
    cl_uint i = 0;
    while (i < program->constant_count && program->constants[i].id != id)
        i++;
    cl_int status = i < PEN_LIMIT_CONSTANTS ? CL_SUCCESS : CL_OUT_OF_RESOURCES;
    if (status == CL_SUCCESS && i == program->constant_count) {
        struct pen_recipe_constant *grown = realloc(program->constants, (i + 1) * sizeof *grown);
        if (grown) {
            program->constants = grown;
            program->constant_count++;
        } else {
            status = CL_OUT_OF_HOST_MEMORY;
        }
    }
    if (status == CL_SUCCESS) {
        program->constants[i] = (struct pen_recipe_constant){.id = id, .size = wanted};
        memcpy(program->constants[i].value, value, size);
    }
    pthread_mutex_unlock(&program->lock);
    return status;
}

/* ---- queries ------------------------------------------------------------------------------------------- */

/* The names of those that can be created, as one string with semicolons; malloc'ed. Locked. */
static char *kernel_names(cl_program program)
{
    size_t total = 1;
    for (uint32_t i = 0; i < program->kernel_count; i++)
        total += strlen(program->kernels[i].info.name) + 1;
    char *names = malloc(total), *out = names;
    for (uint32_t i = 0; names && i < program->kernel_count; i++) {
        if (program->kernels[i].differs)
            continue;
        if (out != names)
            *out++ = ';';
        out = mempcpy(out, program->kernels[i].info.name, strlen(program->kernels[i].info.name));
    }
    if (names)
        *out = 0;
    return names;
}

static bool has_executable(cl_program program)
{
    for (cl_uint i = 0; i < program->device_count; i++)
        if (program->builds[i].status == CL_BUILD_SUCCESS &&
            program->builds[i].binary_type == CL_PROGRAM_BINARY_TYPE_EXECUTABLE)
            return true;
    return false;
}

/* What an executable tells. */
static cl_int executable_info(cl_program program, cl_program_info name, size_t param_value_size, void *param_value,
                              size_t *param_value_size_ret)
{
    pthread_mutex_lock(&program->lock);
    cl_int status = has_executable(program) ? CL_SUCCESS : CL_INVALID_PROGRAM_EXECUTABLE;
    size_t count = pen_meta_count(program->kernels, program->kernel_count);
    char *names = status == CL_SUCCESS && name == CL_PROGRAM_KERNEL_NAMES ? kernel_names(program) : NULL;
    pthread_mutex_unlock(&program->lock);
    if (status != CL_SUCCESS)
        return status;
    if (name == CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT || name == CL_PROGRAM_SCOPE_GLOBAL_DTORS_PRESENT)
        PEN_INFO(cl_bool, CL_FALSE);
    if (name == CL_PROGRAM_NUM_KERNELS)
        return pen_info(&count, sizeof count, param_value_size, param_value, param_value_size_ret);
    if (!names)
        return CL_OUT_OF_HOST_MEMORY;
    status = pen_info_string(names, param_value_size, param_value, param_value_size_ret);
    free(names);
    return status;
}

/* CL_PROGRAM_BINARY_SIZES and CL_PROGRAM_BINARIES. */
static cl_int binaries_info(cl_program program, cl_program_info name, size_t param_value_size, void *param_value,
                            size_t *param_value_size_ret)
{
    size_t entry = name == CL_PROGRAM_BINARIES ? sizeof(unsigned char *) : sizeof(size_t);
    size_t wanted = entry * program->device_count;
    if (param_value && param_value_size < wanted)
        return CL_INVALID_VALUE;
    int rc = 0;
    pthread_mutex_lock(&program->lock);
    for (cl_uint i = 0; !rc && param_value && i < program->device_count; i++) {
        const struct pen_build_state *state = &program->builds[i];
        rc = pen_program_contain(program, &program->builds[i]);
        unsigned char *target = name == CL_PROGRAM_BINARIES ? ((unsigned char **)param_value)[i] : NULL;
        if (!rc && name == CL_PROGRAM_BINARY_SIZES)
            ((size_t *)param_value)[i] = state->container_size;
        else if (!rc && target && state->container_size)
            memcpy(target, state->container, state->container_size);
    }
    pthread_mutex_unlock(&program->lock);
    if (!rc && param_value_size_ret)
        *param_value_size_ret = wanted;
    return pen_status(rc);
}

CL_API_ENTRY cl_int CL_API_CALL pen_clGetProgramInfo(cl_program program, cl_program_info name, size_t param_value_size,
                                                     void *param_value, size_t *param_value_size_ret)
{
    if (!pen_object_is(program, PEN_MAGIC_PROGRAM))
        return CL_INVALID_PROGRAM;
    switch (name) {
    case CL_PROGRAM_REFERENCE_COUNT:
        PEN_INFO(cl_uint, atomic_load_explicit(&program->object.refs, memory_order_relaxed));
    case CL_PROGRAM_CONTEXT:
        PEN_INFO(cl_context, program->context);
    case CL_PROGRAM_NUM_DEVICES:
        PEN_INFO(cl_uint, program->device_count);
    case CL_PROGRAM_DEVICES:
        return pen_info(program->devices, program->device_count * sizeof(cl_device_id), param_value_size, param_value,
                        param_value_size_ret);
    case CL_PROGRAM_SOURCE:
        return pen_info_string(program->source ? program->source : "", param_value_size, param_value,
                               param_value_size_ret);
    case CL_PROGRAM_IL:
        return pen_info(program->il, program->spir ? 0 : program->il_size, param_value_size, param_value,
                        param_value_size_ret);
    case CL_PROGRAM_BINARY_SIZES:
    case CL_PROGRAM_BINARIES:
        return binaries_info(program, name, param_value_size, param_value, param_value_size_ret);
    case CL_PROGRAM_NUM_KERNELS:
    case CL_PROGRAM_KERNEL_NAMES:
    case CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT:
    case CL_PROGRAM_SCOPE_GLOBAL_DTORS_PRESENT:
        return executable_info(program, name, param_value_size, param_value, param_value_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

CL_API_ENTRY cl_int CL_API_CALL pen_clGetProgramBuildInfo(cl_program program, cl_device_id device,
                                                          cl_program_build_info name, size_t param_value_size,
                                                          void *param_value, size_t *param_value_size_ret)
{
    if (!pen_object_is(program, PEN_MAGIC_PROGRAM))
        return CL_INVALID_PROGRAM;
    const struct pen_build_state *state = pen_program_state(program, device);
    if (!state)
        return CL_INVALID_DEVICE;
    cl_int status = CL_INVALID_VALUE;
    pthread_mutex_lock(&program->lock);
    switch (name) {
    case CL_PROGRAM_BUILD_STATUS:
        status = pen_info(&state->status, sizeof state->status, param_value_size, param_value, param_value_size_ret);
        break;
    case CL_PROGRAM_BUILD_OPTIONS:
        status =
            pen_info_string(state->options ? state->options : "", param_value_size, param_value, param_value_size_ret);
        break;
    case CL_PROGRAM_BUILD_LOG:
        status = pen_info_string(state->log ? state->log : "", param_value_size, param_value, param_value_size_ret);
        break;
    case CL_PROGRAM_BINARY_TYPE:
        status = pen_info(&state->binary_type, sizeof state->binary_type, param_value_size, param_value,
                          param_value_size_ret);
        break;
    case CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE:
        status = pen_info(&state->global_variable_bytes, sizeof state->global_variable_bytes, param_value_size,
                          param_value, param_value_size_ret);
        break;
    default:
        break;
    }
    pthread_mutex_unlock(&program->lock);
    return status;
}
