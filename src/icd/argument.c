/* icd/argument.c - clSetKernelArg: checks and notes an argument here; the next launch sends what has changed.
 * A kernel holds no references on memory objects and samplers (OpenCL 3.0, clSetKernelArg: "implementations shall not
 * allow cl_kernel objects to hold reference counts to cl_kernel arguments"): it keeps their ids. */
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "icd/entry.h"
#include "icd/kernel.h"
#include "icd/memory.h"

/* ---- what is kept -------------------------------------------------------------------------------------- */

static bool is_large(const struct pen_kernel_argument *argument)
{
    return argument->kind == PEN_ARGUMENT_KIND_VALUE && argument->size > sizeof argument->value.small;
}

static const unsigned char *value_of(const struct pen_kernel_argument *argument)
{
    return is_large(argument) ? argument->value.large : argument->value.small;
}

void pen_argument_finish(struct pen_kernel_argument *argument)
{
    if (is_large(argument))
        free(argument->value.large);
    *argument = (struct pen_kernel_argument){0};
}

/* What a __local argument counts in the kernel's sum: no more than so much that no device has it, and that the sum of
 * all arguments does not overflow. */
static uint64_t local_bytes(const struct pen_kernel_argument *argument)
{
    const uint64_t most = UINT64_MAX / (2ull * PEN_LIMIT_ARGUMENTS);
    return argument->size < most ? argument->size : most;
}

/* `argument`, which is in place in the kernel, is about to change. */
static void take_out(cl_kernel kernel, struct pen_kernel_argument *argument)
{
    if (is_large(argument))
        free(argument->value.large);
    if (argument->kind == PEN_ARGUMENT_KIND_LOCAL)
        kernel->local_argument_bytes -= local_bytes(argument);
    kernel->watched -= argument->watched;
    kernel->unset -= !argument->set;
}

/* It has changed. */
static void put_in(cl_kernel kernel, struct pen_kernel_argument *argument)
{
    argument->set = argument->dirty = kernel->dirty = true;
    kernel->watched += argument->watched;
    if (argument->kind == PEN_ARGUMENT_KIND_LOCAL)
        kernel->local_argument_bytes += local_bytes(argument);
}

static void exchange(cl_kernel kernel, struct pen_kernel_argument *argument, const struct pen_kernel_argument *changed)
{
    take_out(kernel, argument);
    *argument = *changed;
    put_in(kernel, argument);
}

int pen_arguments_copy(cl_kernel kernel, cl_kernel source)
{
    for (uint32_t i = 0; i < kernel->meta->info.arguments_count; i++) {
        struct pen_kernel_argument *argument = &kernel->arguments[i];
        *argument = source->arguments[i];
        if (!is_large(argument))
            continue;
        argument->value.large = malloc(argument->size);
        if (!argument->value.large) {
            *argument = (struct pen_kernel_argument){0};
            return -PEN_ENOMEM;
        }
        memcpy(argument->value.large, source->arguments[i].value.large, argument->size);
    }
    kernel->unset = source->unset;
    kernel->watched = source->watched;
    kernel->local_argument_bytes = source->local_argument_bytes;
    kernel->dirty = source->dirty;
    return 0;
}

int pen_arguments_send(cl_kernel kernel)
{
    struct pen_session *session = kernel->program->context->session;
    for (uint32_t i = 0; i < kernel->meta->info.arguments_count; i++) {
        struct pen_kernel_argument *argument = &kernel->arguments[i];
        if (!argument->dirty)
            continue;
        bool value = argument->kind == PEN_ARGUMENT_KIND_VALUE;
        struct pen_msg_kernel_argument message = {
            .kernel = kernel->id,
            .index = i,
            .kind = (enum pen_argument_kind)argument->kind,
            .object = argument->id,
            .size = argument->size,
            .value = {.data = value ? value_of(argument) : NULL, .size = value ? (uint32_t)argument->size : 0}};
        uint64_t sequence;
        int rc = PEN_SEND(session, kernel_argument, &message, &sequence);
        if (rc)
            return rc;
        argument->dirty = false;
    }
    kernel->dirty = false;
    return 0;
}

/* ---- values -------------------------------------------------------------------------------------------- */

/* True when the bytes differed. The common sizes without a call. */
static inline bool replace(unsigned char *kept, const void *value, size_t size)
{
    bool differ;
    if (size == 4) {
        differ = memcmp(kept, value, 4) != 0;
        memcpy(kept, value, 4);
    } else if (size == 8) {
        differ = memcmp(kept, value, 8) != 0;
        memcpy(kept, value, 8);
    } else {
        differ = memcmp(kept, value, size) != 0;
        memcpy(kept, value, size);
    }
    return differ;
}

static cl_int set_value(cl_kernel kernel, struct pen_kernel_argument *argument, uint32_t wanted, size_t size,
                        const void *value)
{
    if (wanted ? size != wanted : !size || size > PEN_LIMIT_ARGUMENT)
        return CL_INVALID_ARG_SIZE;
    if (!value)
        return CL_INVALID_ARG_VALUE;
    if (argument->set && argument->kind == PEN_ARGUMENT_KIND_VALUE && argument->size == size) {
        if (replace(is_large(argument) ? argument->value.large : argument->value.small, value, size))
            argument->dirty = kernel->dirty = true;
        return CL_SUCCESS;
    }
    struct pen_kernel_argument changed = {.kind = PEN_ARGUMENT_KIND_VALUE, .size = size};
    if (is_large(&changed) && !(changed.value.large = malloc(size)))
        return CL_OUT_OF_HOST_MEMORY;
    memcpy(is_large(&changed) ? changed.value.large : changed.value.small, value, size);
    exchange(kernel, argument, &changed);
    return CL_SUCCESS;
}

static cl_int set_local(cl_kernel kernel, struct pen_kernel_argument *argument, size_t size, const void *value)
{
    if (!size)
        return CL_INVALID_ARG_SIZE;
    if (value)
        return CL_INVALID_ARG_VALUE;
    if (!argument->set || argument->kind != PEN_ARGUMENT_KIND_LOCAL || argument->size != size) {
        struct pen_kernel_argument changed = {.kind = PEN_ARGUMENT_KIND_LOCAL, .size = size};
        exchange(kernel, argument, &changed);
    }
    return CL_SUCCESS;
}

static cl_int set_sampler(cl_kernel kernel, struct pen_kernel_argument *argument, size_t size, const void *value)
{
    if (size != sizeof(cl_sampler))
        return CL_INVALID_ARG_SIZE;
    cl_sampler sampler = value ? *(const cl_sampler *)value : NULL;
    if (!pen_object_is(sampler, PEN_MAGIC_SAMPLER) || sampler->context != kernel->program->context)
        return CL_INVALID_SAMPLER;
    if (!argument->set || argument->kind != PEN_ARGUMENT_KIND_SAMPLER || argument->id != sampler->id) {
        struct pen_kernel_argument changed = {
            .kind = PEN_ARGUMENT_KIND_SAMPLER, .size = size, .object = sampler, .id = sampler->id};
        exchange(kernel, argument, &changed);
    }
    return CL_SUCCESS;
}

/* ---- regions ------------------------------------------------------------------------------------------- */

static bool is_image(cl_mem_object_type type)
{
    return type != CL_MEM_OBJECT_BUFFER && type != CL_MEM_OBJECT_PIPE;
}

/* OpenCL C's types of images, which no program can give to a type of its own. */
static const struct {
    const char *name;
    cl_mem_object_type type;
} images[] = {{"image1d_t", CL_MEM_OBJECT_IMAGE1D},
              {"image1d_array_t", CL_MEM_OBJECT_IMAGE1D_ARRAY},
              {"image1d_buffer_t", CL_MEM_OBJECT_IMAGE1D_BUFFER},
              {"image2d_t", CL_MEM_OBJECT_IMAGE2D},
              {"image2d_array_t", CL_MEM_OBJECT_IMAGE2D_ARRAY},
              {"image2d_depth_t", CL_MEM_OBJECT_IMAGE2D},
              {"image2d_array_depth_t", CL_MEM_OBJECT_IMAGE2D_ARRAY},
              {"image2d_msaa_t", CL_MEM_OBJECT_IMAGE2D},
              {"image2d_array_msaa_t", CL_MEM_OBJECT_IMAGE2D_ARRAY},
              {"image2d_msaa_depth_t", CL_MEM_OBJECT_IMAGE2D},
              {"image2d_array_msaa_depth_t", CL_MEM_OBJECT_IMAGE2D_ARRAY},
              {"image3d_t", CL_MEM_OBJECT_IMAGE3D}};

/* Only an image has an access qualifier. */
static bool takes_image(const struct pen_argument_info *info)
{
    return info->access != CL_KERNEL_ARG_ACCESS_NONE;
}

/* Does an argument take an object of that type? An image by a name of the program's own takes any image: which, only
 * the driver can tell. */
static bool takes(const struct pen_argument_info *info, cl_mem_object_type type)
{
    if (!takes_image(info)) /* nearly always, and without a call */
        return type == CL_MEM_OBJECT_BUFFER;
    for (size_t i = 0; i < sizeof images / sizeof *images; i++)
        if (strcmp(info->type_name, images[i].name) == 0)
            return images[i].type == type;
    return is_image(type);
}

/* Does the object fit what the kernel declares? */
static cl_int check_region(const struct pen_argument_info *info, cl_mem memory)
{
    if (!info->known)
        return CL_SUCCESS;
    if (!takes(info, memory->type))
        return CL_INVALID_MEM_OBJECT;
    if (!is_image(memory->type))
        return CL_SUCCESS;
    if ((info->access == CL_KERNEL_ARG_ACCESS_READ_ONLY && (memory->flags & CL_MEM_WRITE_ONLY)) ||
        (info->access == CL_KERNEL_ARG_ACCESS_WRITE_ONLY && (memory->flags & CL_MEM_READ_ONLY)))
        return CL_INVALID_ARG_VALUE;
    return CL_SUCCESS;
}

static bool may_write(const struct pen_argument_info *info, cl_mem memory)
{
    if (memory->flags & CL_MEM_READ_ONLY)
        return false;
    return !info->known ||
           (info->address != CL_KERNEL_ARG_ADDRESS_CONSTANT && info->access != CL_KERNEL_ARG_ACCESS_READ_ONLY &&
            !(info->qualifiers & CL_KERNEL_ARG_TYPE_CONST));
}

static void describe_region(struct pen_kernel_argument *argument, const struct pen_argument_info *info, cl_mem memory)
{
    argument->object = memory;
    argument->id = memory->id;
    argument->writes = may_write(info, memory);
    argument->watched = pen_hostptr_is(memory) || (is_image(memory->type) && memory->context->device_count > 1);
    if (!memory->parent)
        return;
    size_t offset;
    argument->watched |= !is_image(memory->type) || pen_memory_root(memory, &offset)->host_ptr;
    argument->offset = is_image(memory->type) ? 0 : memory->offset;
}

static cl_int set_region(cl_kernel kernel, struct pen_kernel_argument *argument, const struct pen_argument_info *info,
                         size_t size, const void *value)
{
    if (size != sizeof(cl_mem))
        return CL_INVALID_ARG_SIZE;
    cl_mem memory = value ? *(const cl_mem *)value : NULL;
    if (argument->set && argument->kind == PEN_ARGUMENT_KIND_REGION && argument->object == memory &&
        (!memory || argument->id == memory->id))
        return CL_SUCCESS;
    if (memory) {
        if (!pen_object_is(memory, PEN_MAGIC_MEMORY) || memory->context != kernel->program->context)
            return CL_INVALID_MEM_OBJECT;
        cl_int status = check_region(info, memory);
        if (status != CL_SUCCESS)
            return status;
    } else if (info->known && takes_image(info)) {
        return CL_INVALID_MEM_OBJECT; /* only a buffer may be NULL */
    }
    take_out(kernel, argument);
    *argument = (struct pen_kernel_argument){.kind = PEN_ARGUMENT_KIND_REGION, .size = size};
    if (memory)
        describe_region(argument, info, memory);
    put_in(kernel, argument);
    return CL_SUCCESS;
}

/* ---- arguments that little is known of ----------------------------------------------------------------- */

/* What object of ours the handle-sized bytes are, 0 for none. They may be any number, so the memory there is read by
 * the system, which says no where we would crash. */
static uint32_t probe(const void *value)
{
    struct pen_object object;
    const void *at;
    memcpy(&at, value, sizeof at);
    struct iovec here = {&object, sizeof object}, there = {(void *)(uintptr_t)at, sizeof object};
    if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) != (ssize_t)sizeof object ||
        object.dispatch != &pen_dispatch)
        return 0;
    return object.magic;
}

/* A kernel from a binary without argument information: the bytes themselves must tell a handle from a number. Zeros go
 * as bytes: a driver takes them for a null buffer where a pointer is declared, but a null buffer not for a number. */
static cl_int set_unknown(cl_kernel kernel, struct pen_kernel_argument *argument, const struct pen_argument_info *info,
                          size_t size, const void *value)
{
    static const unsigned char zeros[sizeof(cl_mem)];
    if (!value && (info->kind == PEN_ARGUMENT_KIND_LOCAL || size != sizeof(cl_mem)))
        return set_local(kernel, argument, size, value);
    if (size != sizeof(cl_mem))
        return set_value(kernel, argument, info->kind == PEN_ARGUMENT_KIND_VALUE ? info->size : 0, size, value);
    switch (value ? probe(value) : 0) {
    case PEN_MAGIC_MEMORY:
        return set_region(kernel, argument, info, size, value);
    case PEN_MAGIC_SAMPLER:
        return set_sampler(kernel, argument, size, value);
    default:
        return set_value(kernel, argument, 0, size, value ? value : zeros);
    }
}

/* Is it a sampler, for a parameter whose type says no more than that it is as wide? A program may name that type as it
 * likes, and then nothing else tells it from a number. */
static bool is_sampler(cl_kernel kernel, const struct pen_argument_info *info, size_t size, const void *value)
{
    return size == sizeof(cl_sampler) && value && (!info->size || info->size == size) &&
           atomic_load_explicit(&kernel->program->context->samplers, memory_order_relaxed) &&
           probe(value) == PEN_MAGIC_SAMPLER;
}

/* ---- entry point --------------------------------------------------------------------------------------- */

CL_API_ENTRY cl_int CL_API_CALL pen_clSetKernelArg(cl_kernel kernel, cl_uint index, size_t size, const void *value)
{
    if (!pen_object_is(kernel, PEN_MAGIC_KERNEL))
        return CL_INVALID_KERNEL;
    if (index >= kernel->meta->info.arguments_count)
        return CL_INVALID_ARG_INDEX;
    const struct pen_argument_info *info = &kernel->meta->info.arguments[index];
    struct pen_kernel_argument *argument = &kernel->arguments[index];
    if (!info->known)
        return set_unknown(kernel, argument, info, size, value);
    switch (info->kind) {
    case PEN_ARGUMENT_KIND_VALUE:
        return is_sampler(kernel, info, size, value) ? set_sampler(kernel, argument, size, value)
                                                     : set_value(kernel, argument, info->size, size, value);
    case PEN_ARGUMENT_KIND_REGION:
        return set_region(kernel, argument, info, size, value);
    case PEN_ARGUMENT_KIND_SAMPLER:
        return set_sampler(kernel, argument, size, value);
    case PEN_ARGUMENT_KIND_LOCAL:
        return set_local(kernel, argument, size, value);
    }
    return CL_INVALID_ARG_VALUE;
}
