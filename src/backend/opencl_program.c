/* backend/opencl_program.c - programs: text, IL and binaries in; builds, logs, binaries and kernel names out. */
#include "backend/opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* rusticl of Mesa 22.3 asserts that a binary begins with version 1, the size of the rest and its kind, and then hands
 * the rest to a SPIR-V parser (program.rs, Program::from_bins). */
static bool harmless(const struct pen_backend_domain *domain, const void *bytes, size_t size)
{
    uint32_t words[4];

    if (!domain->fatal_binaries)
        return true;
    if (size < sizeof words)
        return false;
    memcpy(words, bytes, sizeof words);
    return words[0] == 1 && words[1] == size - 3 * sizeof *words && words[3] == 0x07230203;
}

/* SPIR: to drivers a binary. */
static bool is_bitcode(const void *bytes, size_t size)
{
    static const unsigned char magic[] = {'B', 'C', 0xc0, 0xde};

    return size > sizeof magic && !memcmp(bytes, magic, sizeof magic);
}

static cl_program from_il(const struct pen_backend_domain *domain, const void *bytes, size_t size, cl_int *out_status)
{
    for (uint32_t i = 0; i < domain->device_count; i++)
        if (domain->devices[i].from_il)
            return domain->devices[i].from_il(domain->context, bytes, size, out_status);
    *out_status = CL_INVALID_OPERATION;
    return NULL;
}

static cl_program from_binary(const struct pen_backend_domain *domain, const uint32_t *devices, uint32_t device_count,
                              const unsigned char *bytes, size_t size, cl_int *out_status)
{
    cl_device_id ids[PEN_LIMIT_DEVICES] = {NULL};
    size_t sizes[PEN_LIMIT_DEVICES] = {0};
    const unsigned char *binaries[PEN_LIMIT_DEVICES] = {NULL};
    cl_int statuses[PEN_LIMIT_DEVICES] = {CL_SUCCESS};

    if (!harmless(domain, bytes, size)) {
        *out_status = CL_INVALID_BINARY;
        return NULL;
    }
    for (uint32_t i = 0; i < device_count; i++) {
        ids[i] = domain->devices[devices[i]].id;
        sizes[i] = size;
        binaries[i] = bytes;
    }
    cl_program program =
        clCreateProgramWithBinary(domain->context, device_count, ids, sizes, binaries, statuses, out_status);
    for (uint32_t i = 0; i < device_count && !*out_status; i++) {
        if (!statuses[i])
            continue;
        clReleaseProgram(program);
        *out_status = statuses[i];
    }
    return program;
}

static cl_program create(struct pen_backend_domain *domain, enum pen_program_kind kind, const uint32_t *devices,
                         uint32_t device_count, const void *bytes, size_t size, cl_int *out_status)
{
    const char *text = bytes;

    switch (kind) {
    case PEN_PROGRAM_KIND_SOURCE:
        return clCreateProgramWithSource(domain->context, 1, &text, &size, out_status);
    case PEN_PROGRAM_KIND_IL:
        return is_bitcode(bytes, size) ? from_binary(domain, devices, device_count, bytes, size, out_status)
                                       : from_il(domain, bytes, size, out_status);
    case PEN_PROGRAM_KIND_NATIVE:
        return from_binary(domain, devices, device_count, bytes, size, out_status);
    }
    *out_status = CL_INVALID_VALUE;
    return NULL;
}

/* Takes `handle`, also when it fails. */
static int wrap(struct pen_backend_domain *domain, cl_program handle, bool source, bool bitcode,
                struct pen_backend_program **out)
{
    struct pen_backend_program *program = calloc(1, sizeof *program);

    if (!program) {
        clReleaseProgram(handle);
        return -PEN_ENOMEM;
    }
    *program = (struct pen_backend_program){.domain = domain, .program = handle, .source = source, .bitcode = bitcode};
    *out = program;
    return 0;
}

int pen_opencl_program_create(struct pen_backend_domain *domain, enum pen_program_kind kind, const uint32_t *devices,
                              uint32_t device_count, const void *bytes, size_t size, struct pen_backend_program **out)
{
    cl_int status = CL_SUCCESS;

    if (!size)
        return kind == PEN_PROGRAM_KIND_NATIVE ? -PEN_EBINARY : -PEN_EINVAL;
    if (!device_count || device_count > PEN_LIMIT_DEVICES)
        return -PEN_EINVAL;
    for (uint32_t i = 0; i < device_count; i++)
        if (devices[i] >= domain->device_count)
            return -PEN_ENODEV;
    cl_program handle = create(domain, kind, devices, device_count, bytes, size, &status);
    if (status)
        return pen_opencl_status(status);
    return wrap(domain, handle, kind != PEN_PROGRAM_KIND_NATIVE, is_bitcode(bytes, size), out);
}

void pen_opencl_program_destroy(struct pen_backend_program *program)
{
    if (!program)
        return;
    clReleaseProgram(program->program);
    free(program);
}

int pen_opencl_program_constant(struct pen_backend_program *program, uint32_t constant, const void *value, size_t size)
{
    for (uint32_t i = 0; i < program->domain->device_count; i++)
        if (program->domain->devices[i].from_il && program->domain->devices[i].version >= 220)
            return pen_opencl_status(clSetProgramSpecializationConstant(program->program, constant, size, value));
    return -PEN_EUNSUPPORTED;
}

/* ---- builds -------------------------------------------------------------------------------------------- */

/* The front end needs to know every argument, asked for or not. malloc'ed. */
static char *compile_options(const struct pen_backend_build *build)
{
    static const char wanted[] = "-cl-kernel-arg-info";
    const char *given = build->options ? build->options : "";
    bool add = build->program->source && build->program->domain->arg_info_option && !strstr(given, wanted);
    size_t size = strlen(given) + sizeof wanted + 1;
    char *options = malloc(size);

    if (options)
        snprintf(options, size, "%s%s%s", given, add && *given ? " " : "", add ? wanted : "");
    return options;
}

static cl_int build_or_compile(const struct pen_backend_build *build, const cl_device_id *ids)
{
    struct pen_backend_program *program = build->program;
    cl_int status;

    char *options = compile_options(build);
    if (!options)
        return CL_OUT_OF_HOST_MEMORY;
    if (build->step == PEN_BUILD_STEP_COMPILE)
        status = clCompileProgram(program->program, build->device_count, ids, options, 0, NULL, NULL, NULL, NULL);
    else
        status = clBuildProgram(program->program, build->device_count, ids, options, NULL, NULL);
    free(options);
    return status;
}

static cl_program link_inputs(struct pen_backend_domain *domain, const struct pen_backend_build *build,
                              const cl_device_id *ids, cl_int *out_status)
{
    cl_program inputs[PEN_LIMIT_INPUTS];

    for (uint32_t i = 0; i < build->input_count; i++)
        inputs[i] = build->inputs[i]->program;
    return clLinkProgram(domain->context, build->device_count, ids, build->options ? build->options : "",
                         build->input_count, inputs, NULL, NULL, out_status);
}

static enum pen_build_outcome outcome_of(cl_build_status status)
{
    switch (status) {
    case CL_BUILD_SUCCESS:
        return PEN_BUILD_OUTCOME_SUCCESS;
    case CL_BUILD_NONE:
        return PEN_BUILD_OUTCOME_NONE;
    case CL_BUILD_IN_PROGRESS:
        return PEN_BUILD_OUTCOME_IN_PROGRESS;
    default:
        return PEN_BUILD_OUTCOME_FAILED;
    }
}

static char *build_log(cl_program program, cl_device_id device)
{
    size_t size = 0;

    if (clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) || size <= 1)
        return NULL;
    char *text = calloc(1, size + 1);
    if (text && clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, size, text, NULL)) {
        free(text);
        return NULL;
    }
    return text;
}

/* What became of a program on one device. A driver that answers nothing after a failure has failed. */
static void read_result(cl_program program, const struct pen_opencl_device *device, int rc,
                        struct pen_build_result *result, char **log)
{
    cl_build_status status = rc ? CL_BUILD_ERROR : CL_BUILD_NONE;
    cl_program_binary_type type = CL_PROGRAM_BINARY_TYPE_NONE;
    size_t globals = 0;

    *log = program ? build_log(program, device->id) : NULL;
    if (program) {
        clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_STATUS, sizeof status, &status, NULL);
        clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BINARY_TYPE, sizeof type, &type, NULL);
        if (!rc && device->version >= 200)
            clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE, sizeof globals,
                                  &globals, NULL);
    }
    result->outcome = outcome_of(status);
    result->binary_type = type;
    result->global_variable_bytes = globals;
    result->log_bytes = *log ? strlen(*log) : 0;
}

static bool build_is_sound(const struct pen_backend_domain *domain, const struct pen_backend_build *build)
{
    if (!build->device_count || build->device_count > domain->device_count || build->input_count > PEN_LIMIT_INPUTS)
        return false;
    for (uint32_t i = 0; i < build->device_count; i++)
        if (build->devices[i] >= domain->device_count)
            return false;
    return build->step == PEN_BUILD_STEP_LINK ? build->input_count > 0 : build->program != NULL;
}

int pen_opencl_program_build(struct pen_backend_domain *domain, const struct pen_backend_build *build,
                             struct pen_backend_program **out_program, struct pen_build_result *results, char **logs)
{
    cl_device_id ids[PEN_LIMIT_DEVICES];
    cl_program made = NULL;
    cl_int status;

    if (!build_is_sound(domain, build))
        return -PEN_EINVAL;
    for (uint32_t i = 0; i < build->device_count; i++)
        ids[i] = domain->devices[build->devices[i]].id;
    if (build->step == PEN_BUILD_STEP_LINK) {
        made = link_inputs(domain, build, ids, &status);
    } else {
        status = build_or_compile(build, ids);
        made = build->program->program;
    }
    int rc = pen_opencl_status(status);
    for (uint32_t i = 0; i < build->device_count; i++)
        read_result(made, &domain->devices[build->devices[i]], rc, &results[i], &logs[i]);
    /* Oclgrind says of bitcode that it is an object, whatever has been done with it. */
    for (uint32_t i = 0; i < build->device_count; i++)
        if (!rc && build->step == PEN_BUILD_STEP_BUILD && build->program->bitcode)
            results[i].binary_type = CL_PROGRAM_BINARY_TYPE_EXECUTABLE;
    if (build->step == PEN_BUILD_STEP_LINK) {
        if (rc && made)
            clReleaseProgram(made);
        else if (!rc)
            rc = wrap(domain, made, false, false, out_program);
    }
    return rc;
}

/* ---- what a built program holds ------------------------------------------------------------------------ */

int pen_opencl_program_binary(struct pen_backend_program *program, uint32_t device, void **out_bytes, size_t *out_size)
{
    cl_device_id ids[PEN_LIMIT_DEVICES];
    size_t sizes[PEN_LIMIT_DEVICES] = {0};
    unsigned char *binaries[PEN_LIMIT_DEVICES] = {NULL};
    cl_program handle = program->program;
    cl_uint count = 0, at = 0;

    if (device >= program->domain->device_count)
        return -PEN_ENODEV;
    if (clGetProgramInfo(handle, CL_PROGRAM_NUM_DEVICES, sizeof count, &count, NULL) || count > PEN_LIMIT_DEVICES ||
        clGetProgramInfo(handle, CL_PROGRAM_DEVICES, count * sizeof *ids, ids, NULL) ||
        clGetProgramInfo(handle, CL_PROGRAM_BINARY_SIZES, count * sizeof *sizes, sizes, NULL))
        return -PEN_EEXECUTABLE;
    /* PoCL builds for the parents of sub-devices */
    const struct pen_opencl_device *wanted = &program->domain->devices[device];
    while (at < count && ids[at] != wanted->id && ids[at] != wanted->parent)
        at++;
    if (at == count || !sizes[at])
        return -PEN_EEXECUTABLE;
    binaries[at] = malloc(sizes[at]);
    if (!binaries[at])
        return -PEN_ENOMEM;
    cl_int status = clGetProgramInfo(handle, CL_PROGRAM_BINARIES, count * sizeof *binaries, binaries, NULL);
    if (status) {
        free(binaries[at]);
        return pen_opencl_status(status);
    }
    *out_bytes = binaries[at];
    *out_size = sizes[at];
    return 0;
}

static void free_names(char **names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

int pen_opencl_program_kernels(struct pen_backend_program *program, char ***out_names, uint32_t *out_count)
{
    size_t size = 0;
    uint32_t count = 0;
    char *rest;

    cl_int status = clGetProgramInfo(program->program, CL_PROGRAM_KERNEL_NAMES, 0, NULL, &size);
    if (status)
        return pen_opencl_status(status);
    char *joined = calloc(1, size + 1);
    char **names = calloc(PEN_LIMIT_KERNELS, sizeof *names);
    if (!joined || !names)
        goto err_nomem;
    status = size ? clGetProgramInfo(program->program, CL_PROGRAM_KERNEL_NAMES, size, joined, NULL) : CL_SUCCESS;
    if (status) {
        free(joined);
        free(names);
        return pen_opencl_status(status);
    }
    for (char *name = strtok_r(joined, ";", &rest); name && count < PEN_LIMIT_KERNELS;
         name = strtok_r(NULL, ";", &rest))
        if (!(names[count++] = strdup(name)))
            goto err_nomem;
    free(joined);
    *out_names = names;
    *out_count = count;
    return 0;

err_nomem:
    free(joined);
    if (names)
        free_names(names, count);
    return -PEN_ENOMEM;
}
