/* icd/launch.c - clEnqueueNDRangeKernel. All checks are against what was noted when the kernel was made
 * (struct pen_kernel_limits), so a launch is checks, the arguments that changed, and one command. */
#include "icd/device.h"
#include "icd/entry.h"
#include "icd/kernel.h"
#include "icd/memory.h"

/* ---- checks (OpenCL 3.0, clEnqueueNDRangeKernel, errors) ----------------------------------------------- */

static cl_int check_global(const struct pen_kernel_limits *limits, struct pen_launch *shape, const size_t *offset,
                           const size_t *global)
{
    shape->nothing = !global;
    for (uint32_t i = 0; i < shape->dimensions; i++) {
        shape->global[i] = global ? global[i] : 0;
        shape->offset[i] = offset ? offset[i] : 0;
        if (!shape->global[i])
            shape->nothing = true;
        else if (shape->global[i] > limits->max_offset)
            return CL_INVALID_GLOBAL_WORK_SIZE;
        else if (shape->offset[i] > limits->max_offset - shape->global[i])
            return CL_INVALID_GLOBAL_OFFSET;
    }
    return shape->nothing && !limits->zero_sized ? CL_INVALID_GLOBAL_WORK_SIZE : CL_SUCCESS;
}

/* The kernel's own required size holds where the program gives none. */
static cl_int check_required(const struct pen_kernel_device_info *info, struct pen_launch *shape, const size_t *local)
{
    const uint64_t *required = info->compile_work_group_size;
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t given = local && i < shape->dimensions ? local[i] : 1;
        if (local && given != required[i])
            return CL_INVALID_WORK_GROUP_SIZE;
        if (i >= shape->dimensions && required[i] != 1)
            return CL_INVALID_WORK_GROUP_SIZE;
        if (i < shape->dimensions)
            shape->local[i] = required[i];
    }
    return CL_SUCCESS;
}

static cl_int check_local(const struct pen_kernel_limits *limits, struct pen_launch *shape, const size_t *local)
{
    bool required = limits->info->compile_work_group_size[0] != 0;
    if (required) {
        cl_int status = check_required(limits->info, shape, local);
        if (status != CL_SUCCESS)
            return status;
    } else if (!local) {
        return CL_SUCCESS;
    }
    uint64_t items = 1;
    for (uint32_t i = 0; i < shape->dimensions; i++) {
        uint64_t size = required ? shape->local[i] : local[i];
        shape->local[i] = size;
        if (!size)
            return CL_INVALID_WORK_GROUP_SIZE;
        if (size > limits->max_items[i])
            return CL_INVALID_WORK_ITEM_SIZE;
        if (!limits->non_uniform && shape->global[i] % size != 0)
            return CL_INVALID_WORK_GROUP_SIZE;
        if (size > limits->max_group / items)
            return CL_INVALID_WORK_GROUP_SIZE;
        items *= size;
    }
    shape->doubtful = items > limits->kernel_group;
    return CL_SUCCESS;
}

/* The region of a watched argument; NULL when it has been released since it was set. */
static cl_mem watched_region(const struct pen_kernel_argument *argument)
{
    cl_mem memory = argument->object;
    return argument->watched && pen_object_is(memory, PEN_MAGIC_MEMORY) && memory->id == argument->id ? memory : NULL;
}

/* Images that the device may not take, sub-buffers that it cannot address. */
static cl_int check_watched(cl_command_queue queue, cl_kernel kernel, const struct pen_kernel_limits *limits)
{
    for (uint32_t i = 0; i < kernel->meta->info.arguments_count; i++) {
        const struct pen_kernel_argument *argument = &kernel->arguments[i];
        if (argument->watched && argument->offset % limits->base_align != 0)
            return CL_MISALIGNED_SUB_BUFFER_OFFSET;
        cl_mem memory = watched_region(argument);
        cl_int status =
            memory && memory->type != CL_MEM_OBJECT_BUFFER ? pen_image_check_device(queue, memory) : CL_SUCCESS;
        if (status != CL_SUCCESS)
            return status;
    }
    return CL_SUCCESS;
}

/* __local arguments beside the kernel's own local memory. */
static bool fits_local(cl_kernel kernel, const struct pen_kernel_limits *limits)
{
    uint64_t own = limits->info->local_bytes;
    return own <= limits->local_bytes && kernel->local_argument_bytes <= limits->local_bytes - own;
}

cl_int pen_launch_check(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,
                        const size_t *global, const size_t *local, struct pen_launch *shape)
{
    *shape = (struct pen_launch){.dimensions = dimensions, .global = {1, 1, 1}};
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    if (!pen_object_is(kernel, PEN_MAGIC_KERNEL))
        return CL_INVALID_KERNEL;
    if (kernel->program->context != queue->context)
        return CL_INVALID_CONTEXT;
    const struct pen_kernel_limits *limits = pen_kernel_limits(kernel, queue->device);
    if (!limits)
        return CL_INVALID_PROGRAM_EXECUTABLE;
    if (kernel->unset)
        return CL_INVALID_KERNEL_ARGS;
    if (shape->dimensions - 1 > 2)
        return CL_INVALID_WORK_DIMENSION;
    cl_int status = check_global(limits, shape, offset, global);
    if (status == CL_SUCCESS)
        status = check_local(limits, shape, local);
    if (status == CL_SUCCESS && kernel->local_argument_bytes && !fits_local(kernel, limits))
        status = CL_OUT_OF_RESOURCES;
    if (status == CL_SUCCESS && kernel->watched)
        status = check_watched(queue, kernel, limits);
    return status;
}

/* ---- commands ------------------------------------------------------------------------------------------ */

/* Regions with a host pointer: devices must see what the program has put there. */
static int use_host_pointers(struct pen_enqueue *e, cl_kernel kernel)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < kernel->meta->info.arguments_count; i++) {
        cl_mem memory = watched_region(&kernel->arguments[i]);
        if (memory)
            rc = pen_hostptr_before_use(e, memory, kernel->arguments[i].writes);
    }
    return rc;
}

static int send_launch(struct pen_enqueue *e, cl_kernel kernel, const struct pen_launch *shape)
{
    struct pen_session *session = e->queue->context->session;
    struct pen_msg_launch launch = {.queue = e->queue->id,
                                    .event = e->event_id,
                                    .slot = e->slot,
                                    .dimensions = shape->dimensions,
                                    .kernel = kernel->id,
                                    .offset = {shape->offset[0], shape->offset[1], shape->offset[2]},
                                    .global = {shape->global[0], shape->global[1], shape->global[2]},
                                    .local = {shape->local[0], shape->local[1], shape->local[2]},
                                    .waits = e->waits,
                                    .waits_count = e->wait_count};
    int rc =
        pen_queue_lock(e->queue, NULL); /* no other launch of this kernel gets between the arguments and this one */
    if (rc)
        return rc;
    rc = kernel->dirty ? pen_arguments_send(kernel) : 0;
    if (!rc)
        rc = PEN_ENQUEUE_LOCKED(e, launch, &launch);
    pen_session_unlock(session);
    return rc;
}

cl_int pen_launch_run(cl_command_queue queue, cl_kernel kernel, cl_command_type type, const struct pen_launch *shape,
                      cl_uint wait_count, const cl_event *wait_list, cl_event *out_event)
{
    bool watched = kernel->watched && pen_hostptr_any();
    /* Programs that try sizes expect the refusal from this call: where nothing else can delay it, wait for it. */
    bool ask_driver = shape->doubtful && !wait_count && pen_queue_idle(queue);
    struct pen_enqueue e = {0};
    cl_int status = pen_enqueue_begin(&e, queue, type, wait_count, wait_list, out_event, false, watched || ask_driver);
    if (status != CL_SUCCESS)
        return status;
    if (shape->nothing)
        return pen_enqueue_end(&e, pen_enqueue_place(&e));
    int rc = watched ? use_host_pointers(&e, kernel) : 0;
    if (!rc)
        rc = send_launch(&e, kernel, shape);
    if (!rc && ask_driver)
        rc = pen_wait_slot(queue->context->session, e.slot);
    return pen_enqueue_end(&e, rc);
}

CL_API_ENTRY cl_int CL_API_CALL pen_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                                                           const size_t *offset, const size_t *global,
                                                           const size_t *local, cl_uint wait_count,
                                                           const cl_event *wait_list, cl_event *out_event)
{
    struct pen_launch shape;
    cl_int status = pen_launch_check(queue, kernel, dimensions, offset, global, local, &shape);
    return status == CL_SUCCESS
               ? pen_launch_run(queue, kernel, CL_COMMAND_NDRANGE_KERNEL, &shape, wait_count, wait_list, out_event)
               : status;
}

/* "Equivalent to clEnqueueNDRangeKernel with work_dim = 1, global_work_size[0] set to 1 and local_work_size[0] set
 * to 1" (OpenCL 1.2, 5.8). */
CL_API_ENTRY cl_int CL_API_CALL pen_clEnqueueTask(cl_command_queue queue, cl_kernel kernel, cl_uint wait_count,
                                                  const cl_event *wait_list, cl_event *out_event)
{
    static const size_t one = 1;
    struct pen_launch shape;
    cl_int status = pen_launch_check(queue, kernel, 1, NULL, &one, &one, &shape);
    return status == CL_SUCCESS
               ? pen_launch_run(queue, kernel, CL_COMMAND_TASK, &shape, wait_count, wait_list, out_event)
               : status;
}

/* ---- cl_khr_suggested_local_work_size ------------------------------------------------------------------- */

static int ask_shape(cl_command_queue queue, cl_kernel kernel, const struct pen_launch *shape, uint64_t out_local[3])
{
    struct pen_session *session = queue->context->session;
    struct pen_msg_kernel_suggest message = {.queue = queue->id,
                                             .kernel = kernel->id,
                                             .offset = {shape->offset[0], shape->offset[1], shape->offset[2]},
                                             .global = {shape->global[0], shape->global[1], shape->global[2]},
                                             .dimensions = shape->dimensions};
    struct pen_msg_kernel_facts facts;
    uint64_t sequence;
    pen_session_lock(session); /* as in send_launch */
    int rc = kernel->dirty ? pen_arguments_send(kernel) : 0;
    if (!rc)
        rc = PEN_SEND(session, kernel_suggest, &message, &sequence);
    pen_session_unlock(session);
    if (!rc)
        rc = pen_kernel_answer(session, sequence, &facts);
    for (uint32_t i = 0; !rc && i < 3; i++)
        out_local[i] = facts.local[i];
    return rc;
}

CL_API_ENTRY cl_int CL_API_CALL pen_clGetKernelSuggestedLocalWorkSizeKHR(cl_command_queue queue, cl_kernel kernel,
                                                                         cl_uint dimensions, const size_t *offset,
                                                                         const size_t *global, size_t *out_local)
{
    struct pen_launch shape;
    cl_int status = pen_launch_check(queue, kernel, dimensions, offset, global, NULL, &shape);
    if (status != CL_SUCCESS)
        return status;
    if (shape.nothing)
        return CL_INVALID_GLOBAL_WORK_SIZE;
    if (!out_local)
        return CL_INVALID_VALUE;
    if (!pen_extensions_have(&queue->device->facts->extensions, "cl_khr_suggested_local_work_size"))
        return CL_INVALID_OPERATION;
    int rc = shape.local[0] ? 0 : ask_shape(queue, kernel, &shape, shape.local); /* its source may demand one */
    for (uint32_t i = 0; !rc && i < dimensions; i++)
        out_local[i] = shape.local[i];
    return pen_status(rc);
}
