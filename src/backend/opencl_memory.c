/* backend/opencl_memory.c - buffers, images, parts and views of them, samplers. */
#include "backend/opencl.h"

#include <stdlib.h>

static cl_mem_flags access_flags(uint32_t flags)
{
    bool reads = flags & PEN_REGION_FLAG_KERNEL_READS, writes = flags & PEN_REGION_FLAG_KERNEL_WRITES;

    if (reads == writes)
        return CL_MEM_READ_WRITE;
    return reads ? CL_MEM_READ_ONLY : CL_MEM_WRITE_ONLY;
}

static cl_mem_object_type image_type(enum pen_region_kind kind)
{
    switch (kind) {
    case PEN_REGION_KIND_IMAGE1D:
        return CL_MEM_OBJECT_IMAGE1D;
    case PEN_REGION_KIND_IMAGE1D_BUFFER:
        return CL_MEM_OBJECT_IMAGE1D_BUFFER;
    case PEN_REGION_KIND_IMAGE1D_ARRAY:
        return CL_MEM_OBJECT_IMAGE1D_ARRAY;
    case PEN_REGION_KIND_IMAGE2D:
        return CL_MEM_OBJECT_IMAGE2D;
    case PEN_REGION_KIND_IMAGE2D_ARRAY:
        return CL_MEM_OBJECT_IMAGE2D_ARRAY;
    case PEN_REGION_KIND_IMAGE3D:
        return CL_MEM_OBJECT_IMAGE3D;
    case PEN_REGION_KIND_BUFFER:
        break;
    }
    return CL_MEM_OBJECT_BUFFER;
}

/* Fields that a type does not have must be 0. Pitches say how given memory is laid out: the host's or a parent's. */
static cl_mem create_image(struct pen_backend_domain *domain, const struct pen_backend_memory_desc *from,
                           cl_int *out_status)
{
    const struct pen_image_desc *image = &from->image;
    enum pen_region_kind kind = from->kind;
    bool array = kind == PEN_REGION_KIND_IMAGE1D_ARRAY || kind == PEN_REGION_KIND_IMAGE2D_ARRAY;
    bool volume = kind == PEN_REGION_KIND_IMAGE3D;
    bool laid_out = (from->host || from->parent) && kind != PEN_REGION_KIND_IMAGE1D_BUFFER;
    cl_mem_flags flags = access_flags(from->flags) | (from->host ? CL_MEM_USE_HOST_PTR : 0);
    const cl_image_format format = {image->channel_order, image->channel_type};
    const cl_image_desc desc = {
        .image_type = image_type(kind),
        .image_width = image->width,
        .image_height =
            volume || kind == PEN_REGION_KIND_IMAGE2D || kind == PEN_REGION_KIND_IMAGE2D_ARRAY ? image->height : 0,
        .image_depth = volume ? image->depth : 0,
        .image_array_size = array ? image->array_size : 0,
        .image_row_pitch = laid_out ? image->row_pitch : 0,
        .image_slice_pitch = laid_out && (array || volume) ? image->slice_pitch : 0,
        .mem_object = from->parent ? from->parent->memory : NULL,
    };
    return clCreateImage(domain->context, flags, &format, &desc, from->host, out_status);
}

static cl_mem create_buffer(struct pen_backend_domain *domain, const struct pen_backend_memory_desc *from,
                            cl_int *out_status)
{
    cl_mem_flags flags = access_flags(from->flags);

    if (from->parent) {
        const cl_buffer_region range = {from->parent_offset, from->size};
        return clCreateSubBuffer(from->parent->memory, flags, CL_BUFFER_CREATE_TYPE_REGION, &range, out_status);
    }
    if (from->host)
        flags |= CL_MEM_USE_HOST_PTR;
    return clCreateBuffer(domain->context, flags, from->size, from->host, out_status);
}

int pen_opencl_memory_create(struct pen_backend_domain *domain, const struct pen_backend_memory_desc *desc,
                             struct pen_backend_memory **out)
{
    struct pen_backend_memory_desc from = *desc;
    cl_int status = CL_SUCCESS;

    struct pen_backend_memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return -PEN_ENOMEM;
    if (from.parent)
        from.host = NULL; /* the parent's storage */
    memory->domain = domain;
    memory->kind = desc->kind;
    memory->memory =
        pen_is_image(desc->kind) ? create_image(domain, &from, &status) : create_buffer(domain, &from, &status);
    if (status) {
        free(memory);
        return pen_opencl_status(status);
    }
    *out = memory;
    return 0;
}

struct farewell {
    void (*destroyed)(void *context);
    void *context;
};

static void CL_CALLBACK on_destroyed(cl_mem memory, void *user)
{
    struct farewell *farewell = user;

    (void)memory;
    farewell->destroyed(farewell->context);
    free(farewell);
}

/* Without a destructor callback: nothing uses the memory once the domain's queues have run dry. */
static void release_and_wait(struct pen_backend_memory *memory)
{
    clReleaseMemObject(memory->memory);
    PEN_LIST_EACH(node, next, &memory->domain->queues)
    pen_opencl_queue_finish(PEN_CONTAINER(node, struct pen_backend_queue, link));
}

/* PoCL 3.1 and Oclgrind 21.10 forget those of images over buffers. */
static bool has_destructor_callbacks(const struct pen_backend_memory *memory)
{
    return memory->kind != PEN_REGION_KIND_IMAGE1D_BUFFER;
}

void pen_opencl_memory_destroy(struct pen_backend_memory *memory, void (*destroyed)(void *), void *context)
{
    if (!memory)
        return;
    if (!destroyed) {
        clReleaseMemObject(memory->memory);
    } else {
        struct farewell *farewell = has_destructor_callbacks(memory) ? malloc(sizeof *farewell) : NULL;
        if (farewell)
            *farewell = (struct farewell){destroyed, context};
        if (farewell && !clSetMemObjectDestructorCallback(memory->memory, on_destroyed, farewell)) {
            clReleaseMemObject(memory->memory);
        } else {
            free(farewell);
            release_and_wait(memory);
            destroyed(context);
        }
    }
    free(memory);
}

int pen_opencl_sampler_create(struct pen_backend_domain *domain, const struct pen_msg_sampler_create *desc,
                              struct pen_backend_sampler **out)
{
    cl_int status;
    cl_sampler sampler =
        clCreateSampler(domain->context, desc->normalized != 0, desc->address_mode, desc->filter_mode, &status);
    if (status)
        return pen_opencl_status(status);
    *out = (struct pen_backend_sampler *)sampler;
    return 0;
}

void pen_opencl_sampler_destroy(struct pen_backend_sampler *sampler)
{
    if (sampler)
        clReleaseSampler((cl_sampler)sampler);
}
