#include <string.h>

#include "base/copy.h"
#include "icd/entry.h"
#include "icd/memory.h"

/* The arena range holds the bytes; now the worker learns of it. */
static int buffer_send(cl_mem memory, bool initialized)
{
    struct pen_session *session = memory->context->session;
    struct pen_msg_region_create create = {
        .region = memory->id,
        .size = memory->size,
        .arena_offset = memory->arena_offset,
        .kind = PEN_REGION_KIND_BUFFER,
        .flags = pen_memory_region_flags(memory),
        .initialized = initialized,
    };
    uint64_t sequence;
    return PEN_SEND(session, region_create, &create, &sequence);
}

static int buffer_fill(cl_mem memory, void *host_ptr)
{
    int error = pen_memory_allocate(memory, memory->size);
    if (error)
        return error;
    if (host_ptr) {
        pen_arena_will_fill(memory->context->session, memory->arena_offset, memory->size);
        pen_copy(pen_memory_at(memory), host_ptr, memory->size);
    }
    if (memory->flags & CL_MEM_USE_HOST_PTR) {
        memory->host_ptr = host_ptr;
        error = pen_hostptr_add(memory);
        if (error)
            return error;
    }
    return buffer_send(memory, host_ptr != NULL);
}

static cl_int buffer_check(cl_context context, const cl_mem_properties *properties, cl_mem_flags flags, size_t size,
                           const void *host_ptr)
{
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return CL_INVALID_CONTEXT;
    cl_int status = pen_memory_check_properties(properties);
    if (status == CL_SUCCESS)
        status = pen_memory_check_flags(flags);
    if (status != CL_SUCCESS)
        return status;
    if (size == 0 || size > pen_context_largest(context, CL_DEVICE_MAX_MEM_ALLOC_SIZE))
        return CL_INVALID_BUFFER_SIZE;
    return pen_memory_check_host_ptr(flags, host_ptr);
}

cl_mem pen_clCreateBufferWithProperties(cl_context context, const cl_mem_properties *properties, cl_mem_flags flags,
                                        size_t size, void *host_ptr, cl_int *errcode_ret)
{
    cl_int status = buffer_check(context, properties, flags, size, host_ptr);
    if (status != CL_SUCCESS)
        return pen_memory_publish(NULL, status, errcode_ret);
    if (!(flags & PEN_MEM_ACCESS))
        flags |= CL_MEM_READ_WRITE;
    cl_mem memory = pen_memory_new(context, NULL, CL_MEM_OBJECT_BUFFER, flags, properties);
    if (!memory)
        return pen_memory_publish(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    memory->size = size;
    memory->direct = context->direct;
    int error = buffer_fill(memory, host_ptr);
    return pen_memory_publish(memory, error ? pen_status(error) : CL_SUCCESS, errcode_ret);
}

cl_mem pen_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host_ptr, cl_int *errcode_ret)
{
    return pen_clCreateBufferWithProperties(context, NULL, flags, size, host_ptr, errcode_ret);
}

/* Aligned for at least one device of the context. */
static bool slice_aligned(cl_context context, size_t origin)
{
    for (cl_uint i = 0; i < context->device_count; i++)
        if (origin % pen_device_slice_align(context->devices[i]) == 0)
            return true;
    return false;
}

static cl_int slice_check(cl_mem parent, cl_mem_flags flags, cl_buffer_create_type type, const cl_buffer_region *region,
                          cl_mem_flags *out_flags)
{
    if (!pen_object_is(parent, PEN_MAGIC_MEMORY) || parent->type != CL_MEM_OBJECT_BUFFER || parent->parent)
        return CL_INVALID_MEM_OBJECT;
    cl_int status = pen_memory_inherit(parent, flags, out_flags);
    if (status != CL_SUCCESS)
        return status;
    if (type != CL_BUFFER_CREATE_TYPE_REGION || !region)
        return CL_INVALID_VALUE;
    if (region->size == 0)
        return CL_INVALID_BUFFER_SIZE;
    if (region->origin > parent->size || region->size > parent->size - region->origin)
        return CL_INVALID_VALUE;
    return slice_aligned(parent->context, region->origin) ? CL_SUCCESS : CL_MISALIGNED_SUB_BUFFER_OFFSET;
}

cl_mem pen_clCreateSubBuffer(cl_mem parent, cl_mem_flags flags, cl_buffer_create_type type, const void *info,
                             cl_int *errcode_ret)
{
    const cl_buffer_region *region = info;
    cl_mem_flags inherited = 0;
    cl_int status = slice_check(parent, flags, type, region, &inherited);
    if (status != CL_SUCCESS)
        return pen_memory_publish(NULL, status, errcode_ret);
    cl_mem memory = pen_memory_new(parent->context, parent, CL_MEM_OBJECT_BUFFER, inherited, NULL);
    if (!memory)
        return pen_memory_publish(NULL, CL_OUT_OF_HOST_MEMORY, errcode_ret);
    memory->size = region->size;
    memory->offset = region->origin;
    memory->direct = parent->direct;
    memory->arena_offset = parent->arena_offset + region->origin;
    if (parent->host_ptr)
        memory->host_ptr = (char *)parent->host_ptr + region->origin;
    struct pen_msg_region_slice slice = {
        .region = memory->id,
        .parent = parent->id,
        .offset = region->origin,
        .size = region->size,
        .flags = pen_memory_region_flags(memory),
    };
    uint64_t sequence;
    int error = PEN_SEND(parent->context->session, region_slice, &slice, &sequence);
    return pen_memory_publish(memory, error ? pen_status(error) : CL_SUCCESS, errcode_ret);
}
