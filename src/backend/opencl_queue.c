/* backend/opencl_queue.c - queues, and the commands that move no data. */
#include "backend/opencl.h"

#include <stdlib.h>

/* The worker's numbers are handed to drivers as they are. */
_Static_assert(sizeof(size_t) == sizeof(uint64_t), "size_t of 64 bits");

/* The call of OpenCL 1.2, but where there are hints to give: Oclgrind hangs in clCreateCommandQueueWithProperties. */
static cl_command_queue create_queue(const struct pen_backend_domain *domain, cl_device_id device,
                                     cl_command_queue_properties properties, const struct pen_backend_queue_desc *desc,
                                     cl_int *out_status)
{
    cl_queue_properties list[7] = {CL_QUEUE_PROPERTIES, properties};
    size_t count = 2;

    if (desc->priority) {
        list[count++] = CL_QUEUE_PRIORITY_KHR;
        list[count++] = desc->priority;
    }
    if (desc->throttle) {
        list[count++] = CL_QUEUE_THROTTLE_KHR;
        list[count++] = desc->throttle;
    }
    if (count == 2)
        return clCreateCommandQueue(domain->context, device, properties, out_status);
    return clCreateCommandQueueWithProperties(domain->context, device, list, out_status);
}

int pen_opencl_queue_create(struct pen_backend_domain *domain, uint32_t device,
                            const struct pen_backend_queue_desc *desc, struct pen_backend_queue **out)
{
    cl_command_queue_properties properties = 0;
    cl_int status;

    if (device >= domain->device_count)
        return -PEN_ENODEV;
    struct pen_backend_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return -PEN_ENOMEM;
    queue->domain = domain;
    queue->device = &domain->devices[device];
    queue->profiling = desc->flags & PEN_QUEUE_FLAG_PROFILING;
    if (queue->profiling)
        properties |= CL_QUEUE_PROFILING_ENABLE;
    if (desc->flags & PEN_QUEUE_FLAG_OUT_OF_ORDER) /* where the device cannot, in order is one of the orders allowed */
        properties |= CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE & queue->device->queue_properties;
    queue->in_order = !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    queue->queue = create_queue(domain, queue->device->id, properties, desc, &status);
    if (!status && queue->device->images_by_parent) {
        properties |= CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE & queue->device->queue_properties;
        queue->image_queue = create_queue(domain, queue->device->parent, properties, desc, &status);
    }
    if (status) {
        if (queue->queue)
            clReleaseCommandQueue(queue->queue);
        free(queue);
        return pen_opencl_status(status);
    }
    pen_list_append(&domain->queues, &queue->link);
    *out = queue;
    return 0;
}

void pen_opencl_queue_destroy(struct pen_backend_queue *queue)
{
    if (!queue)
        return;
    pen_list_remove(&queue->link);
    clReleaseCommandQueue(queue->queue);
    if (queue->image_queue)
        clReleaseCommandQueue(queue->image_queue);
    free(queue);
}

int pen_opencl_queue_flush(struct pen_backend_queue *queue)
{
    if (queue->flushed)
        return 0;
    queue->flushed = true;
    if (queue->image_queue)
        clFlush(queue->image_queue);
    return pen_opencl_status(clFlush(queue->queue));
}

/* rusticl (Mesa 22.3): clFinish waits for nothing that an earlier clFlush has sent; with a command of its own to wait
 * for, it does. */
int pen_opencl_queue_finish(struct pen_backend_queue *queue)
{
    cl_int status = queue->flushed ? clEnqueueMarkerWithWaitList(queue->queue, 0, NULL, NULL) : CL_SUCCESS;

    if (!status)
        status = clFinish(queue->queue);
    queue->flushed = false;
    return pen_opencl_status(status);
}

int pen_opencl_launch(struct pen_backend_queue *queue, const struct pen_backend_launch *launch,
                      const struct pen_backend_order *order)
{
    const size_t *offset = NULL, *global = (const size_t *)launch->global;
    const size_t *local = launch->local[0] ? (const size_t *)launch->local : NULL;
    struct pen_opencl_enqueue e;

    if (launch->offset[0] | launch->offset[1] | launch->offset[2])
        offset = (const size_t *)launch->offset;
    int rc = pen_opencl_begin(queue, order, &e);
    if (rc)
        return rc;
    return pen_opencl_end(order, &e,
                          clEnqueueNDRangeKernel(queue->queue, launch->kernel->kernel, launch->dimensions, offset,
                                                 global, local, PEN_OPENCL_WAITS(order), e.place));
}

int pen_opencl_marker(struct pen_backend_queue *queue, const struct pen_backend_order *order)
{
    struct pen_opencl_enqueue e;
    int rc = pen_opencl_begin(queue, order, &e);

    if (rc)
        return rc;
    return pen_opencl_end(order, &e, clEnqueueMarkerWithWaitList(queue->queue, PEN_OPENCL_WAITS(order), e.place));
}

int pen_opencl_barrier(struct pen_backend_queue *queue, const struct pen_backend_order *order)
{
    struct pen_opencl_enqueue e;
    int rc = pen_opencl_begin(queue, order, &e);

    if (rc)
        return rc;
    return pen_opencl_end(order, &e, clEnqueueBarrierWithWaitList(queue->queue, PEN_OPENCL_WAITS(order), e.place));
}
