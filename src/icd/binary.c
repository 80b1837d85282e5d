/* icd/binary.c - clCreateProgramWithBinary, and the containers that CL_PROGRAM_BINARIES gives. A container holds how
 * the program was made, so it can be made on any device; where its native code is for the very device and driver that
 * it is given to, that is used. A vendor's own binary is tried at once, since its driver alone knows whether it is one;
 * SPIR, too, which from then on is a program's text like any other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "icd/container.h"
#include "icd/device.h"
#include "icd/entry.h"
#include "icd/program.h"

/* Names the device and driver that native code is for; malloc'ed. */
static char *device_key(cl_device_id device)
{
    const struct pen_msg_device *info = &device->pool->info;
    char *key = NULL;
    return asprintf(&key, "%s\n%s\n%s", info->driver, info->driver_version, info->vendor_name) < 0 ? NULL : key;
}

/* ---- out ----------------------------------------------------------------------------------------------- */

static bool has_device(const struct pen_msg_kernel_info *info, uint64_t device)
{
    for (uint32_t i = 0; i < info->devices_count; i++)
        if (info->devices[i].device == device)
            return true;
    return false;
}

/* What is known of the device's kernels; what holds for it alone is left out. */
static int add_kernels(cl_program program, const struct pen_build_state *state, struct pen_container *container)
{
    container->kernels = calloc(program->kernel_count + 1, sizeof *container->kernels);
    if (!container->kernels)
        return -PEN_ENOMEM;
    for (uint32_t i = 0; i < program->kernel_count; i++) {
        struct pen_msg_kernel_info info = program->kernels[i].info;
        if (!has_device(&info, state->device->id))
            continue;
        info.devices_count = 0;
        struct pen_container_kernel kernel = {.size = pen_msg_kernel_info_size(&info)};
        if (!kernel.size)
            continue;
        kernel.frame = calloc(1, kernel.size);
        if (!kernel.frame)
            return -PEN_ENOMEM;
        pen_msg_kernel_info_encode(&info, 0, kernel.frame);
        container->kernels[container->kernel_count++] = kernel;
    }
    return 0;
}

/* The device's own code for an executable, if the driver gives it; without it the container is complete too. */
static void ask_native(cl_program program, const struct pen_build_state *state, struct pen_container *container)
{
    if (state->status != CL_BUILD_SUCCESS || state->binary_type != CL_PROGRAM_BINARY_TYPE_EXECUTABLE || !program->id ||
        container->recipe->kind == PEN_RECIPE_NATIVE)
        return;
    uint64_t id = program->id;
    void *native;
    size_t size;
    pthread_mutex_unlock(&program->lock);
    int rc = pen_builder_binary(program->context->session, id, state->device->id, &native, &size);
    pthread_mutex_lock(&program->lock);
    if (rc)
        return;
    if (size && size <= PEN_LIMIT_PROGRAM) {
        container->native = native;
        container->native_size = size;
    } else {
        free(native);
    }
}

int pen_program_contain(cl_program program, struct pen_build_state *state)
{
    bool ready = state->status == CL_BUILD_SUCCESS || (program->from_binary && state->status == CL_BUILD_NONE);
    if (state->container || !ready || !state->recipe)
        return 0;
    struct pen_container container = {
        .binary_type = state->binary_type, .recipe = pen_recipe_ref(state->recipe), .key = device_key(state->device)};
    void *bytes;
    size_t size;
    int rc = container.key ? 0 : -PEN_ENOMEM;
    if (!rc)
        ask_native(program, state, &container);
    if (!rc && container.native)
        rc = add_kernels(program, state, &container);
    if (!rc)
        rc = pen_container_encode(&container, &bytes, &size);
    if (!rc && !state->container) {
        state->container = bytes;
        state->container_size = size;
    } else if (!rc) {
        free(bytes); /* another thread was faster while the lock was dropped */
    }
    pen_container_finish(&container);
    return rc;
}

/* ---- in ------------------------------------------------------------------------------------------------ */

static int take_kernels(struct pen_build_state *state, const struct pen_container *container)
{
    state->given = calloc(container->kernel_count + 1, sizeof *state->given);
    int rc = state->given ? 0 : -PEN_ENOMEM;
    for (uint32_t i = 0; !rc && i < container->kernel_count; i++) {
        struct pen_scratch scratch = {0};
        struct pen_msg_kernel_info info;
        const struct pen_container_kernel *kernel = &container->kernels[i];
        rc = pen_msg_kernel_info_decode(kernel->frame, kernel->size, &scratch, &info);
        if (!rc)
            rc = pen_meta_copy(&info, &state->given[i]);
        state->given_count += !rc;
        pen_scratch_finish(&scratch);
    }
    return rc;
}

static int take_container(struct pen_build_state *state, const void *bytes, size_t size)
{
    struct pen_container container = {0};
    int rc = pen_container_decode(bytes, size, &container);
    if (rc)
        return rc;
    char *key = device_key(state->device);
    bool same = key && strcmp(key, container.key) == 0;
    free(key);
    if (!same && pen_recipe_native(container.recipe)) {
        pen_container_finish(&container);
        return -PEN_EBINARY;
    }
    state->binary_type = container.binary_type;
    state->recipe = pen_recipe_ref(container.recipe);
    if (same && container.native) {
        state->native = container.native;
        state->native_size = container.native_size;
        container.native = NULL;
        rc = take_kernels(state, &container);
    } else if (same && container.recipe->kind == PEN_RECIPE_NATIVE) {
        state->native = malloc(container.recipe->size);
        state->native_size = container.recipe->size;
        if (state->native)
            memcpy(state->native, container.recipe->text, container.recipe->size);
    }
    pen_container_finish(&container);
    return rc;
}

/* Has the driver load a binary, to see. */
static int try_native(cl_program program, const struct pen_build_state *state, const void *bytes, size_t size,
                      cl_program_binary_type *out_type)
{
    struct pen_session *session = program->context->session;
    if (size > PEN_LIMIT_PROGRAM)
        return -PEN_EBINARY;
    struct pen_answer answer = {0};
    uint64_t id = pen_session_new_id(session);
    int rc = pen_builder_native(session, id, &(struct pen_native){state->device->id, bytes, size}, 1, &answer);
    uint32_t type = CL_PROGRAM_BINARY_TYPE_EXECUTABLE;
    if (!rc && answer.status)
        rc = -PEN_EBINARY;
    else if (!rc && answer.devices[0].binary_type)
        type = answer.devices[0].binary_type;
    pen_answer_finish(&answer);
    pen_builder_drop(session, id);
    if (rc)
        return rc == -PEN_EGONE || rc == -PEN_ENOMEM ? rc : -PEN_EBINARY;
    *out_type = type;
    return 0;
}

/* A vendor's own binary. */
static int take_native(cl_program program, struct pen_build_state *state, const void *bytes, size_t size)
{
    cl_program_binary_type type;
    int rc = try_native(program, state, bytes, size, &type);
    if (rc)
        return rc;
    state->native = malloc(size);
    state->recipe = pen_recipe_create(PEN_RECIPE_NATIVE, PEN_BUILD_STEP_BUILD, bytes, size, "", "");
    if (!state->native || !state->recipe)
        return -PEN_ENOMEM;
    memcpy(state->native, bytes, size);
    state->native_size = size;
    state->binary_type = type;
    return 0;
}

static bool is_code(const struct pen_build_state *state)
{
    return state->native && state->binary_type == CL_PROGRAM_BINARY_TYPE_EXECUTABLE;
}

/* One program of the worker's serves all devices. Can it be made for device `last` and those before it? By their
 * recipes, or else of the code that each of them has. */
static bool go_together(cl_program program, cl_uint last)
{
    const struct pen_build_state *builds = program->builds;
    bool alike = true, code = true;
    for (cl_uint i = 0; i <= last; i++)
        if (builds[i].recipe) {
            alike = alike && pen_recipe_alike(builds[i].recipe, builds[last].recipe);
            code = code && is_code(&builds[i]);
        }
    return alike || code;
}

static int take_binary(cl_program program, cl_uint i, const void *bytes, size_t size)
{
    struct pen_build_state *state = &program->builds[i];
    int rc =
        pen_container_is(bytes, size) ? take_container(state, bytes, size) : take_native(program, state, bytes, size);
    return !rc && !go_together(program, i) ? -PEN_EBINARY : rc;
}

static bool find_native(cl_program program, uint64_t device, struct pen_native *out_native)
{
    for (cl_uint i = 0; i < program->device_count; i++) {
        const struct pen_build_state *state = &program->builds[i];
        *out_native = (struct pen_native){device, state->native, state->native_size};
        if (state->device->id == device)
            return state->native != NULL;
    }
    return false;
}

bool pen_program_natives(cl_program program, const uint64_t *devices, cl_uint count,
                         struct pen_native out_natives[PEN_LIMIT_DEVICES])
{
    if (count > PEN_LIMIT_DEVICES)
        return false;
    for (cl_uint i = 0; i < count; i++)
        if (!find_native(program, devices[i], &out_natives[i]))
            return false;
    return true;
}

/* LLVM's bitcode, for devices with cl_khr_spir. Unlike it is the devices' own code, as any other. */
static bool are_spir(cl_uint count, const cl_device_id *devices, const size_t *lengths, const unsigned char **binaries)
{
    static const unsigned char magic[] = {'B', 'C', 0xc0, 0xde};
    for (cl_uint i = 0; i < count; i++)
        if (!pen_extensions_have(&devices[i]->facts->extensions, "cl_khr_spir") || lengths[i] < sizeof magic ||
            memcmp(binaries[i], magic, sizeof magic) != 0 || lengths[i] != lengths[0] ||
            memcmp(binaries[i], binaries[0], lengths[0]) != 0)
            return false;
    return true;
}

static int take_spir(cl_program program, cl_uint i, const void *bytes, size_t size)
{
    cl_program_binary_type ignored; /* drivers say this and that */
    int rc = try_native(program, &program->builds[i], bytes, size, &ignored);
    if (rc)
        return rc;
    program->builds[i].binary_type = CL_PROGRAM_BINARY_TYPE_INTERMEDIATE;
    if (!program->il && !(program->il = malloc(size)))
        return -PEN_ENOMEM;
    memcpy(program->il, bytes, size);
    program->il_size = size;
    return 0;
}

static cl_int check_binaries(cl_context context, cl_uint count, const cl_device_id *devices, const size_t *lengths,
                             const unsigned char **binaries, cl_int *statuses)
{
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return CL_INVALID_CONTEXT;
    if (!devices || !count || !lengths || !binaries)
        return CL_INVALID_VALUE;
    for (cl_uint i = 0; i < count; i++)
        if (!pen_object_is(devices[i], PEN_MAGIC_DEVICE) || !pen_context_has_device(context, devices[i]))
            return CL_INVALID_DEVICE;
    cl_int status = CL_SUCCESS;
    for (cl_uint i = 0; i < count; i++) {
        bool given = lengths[i] && binaries[i];
        if (statuses)
            statuses[i] = given ? CL_SUCCESS : CL_INVALID_VALUE;
        if (!given)
            status = CL_INVALID_VALUE;
    }
    return status;
}

CL_API_ENTRY cl_program CL_API_CALL pen_clCreateProgramWithBinary(cl_context context, cl_uint count,
                                                                  const cl_device_id *devices, const size_t *lengths,
                                                                  const unsigned char **binaries, cl_int *statuses,
                                                                  cl_int *out_error)
{
    cl_int status = check_binaries(context, count, devices, lengths, binaries, statuses);
    if (status != CL_SUCCESS)
        return pen_refuse(out_error, status);
    cl_program program = pen_program_new(context, devices, count);
    if (!program)
        return pen_refuse(out_error, CL_OUT_OF_HOST_MEMORY);
    program->spir = are_spir(count, devices, lengths, binaries);
    program->from_binary = !program->spir;
    for (cl_uint i = 0; i < count; i++) {
        cl_int taken = pen_status(program->spir ? take_spir(program, i, binaries[i], lengths[i])
                                                : take_binary(program, i, binaries[i], lengths[i]));
        if (statuses)
            statuses[i] = taken;
        if (status == CL_SUCCESS)
            status = taken;
    }
    if (status != CL_SUCCESS) {
        pen_release(program, PEN_MAGIC_PROGRAM, CL_INVALID_PROGRAM);
        return pen_refuse(out_error, status);
    }
    if (out_error)
        *out_error = CL_SUCCESS;
    return program;
}
