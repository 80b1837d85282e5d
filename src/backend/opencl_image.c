/* backend/opencl_image.c - commands that move data to, from and between images.
 *
 * PoCL 3.1 ends the process in any image command on a queue of a sub-device (kernels that use images are well). There,
 * the command goes to a queue of the parent device, tied in with two more: it waits for a marker of its own queue, and
 * that queue's later commands wait for it. */
#include "backend/opencl.h"

/* Where an image command goes, and what it waits for. */
struct way {
    cl_command_queue queue;
    cl_uint wait_count;
    const cl_event *waits;
    cl_event entry; /* the marker on its own queue, or NULL */
};

static int image_begin(struct pen_backend_queue *queue, const struct pen_backend_order *order,
                       struct pen_opencl_enqueue *e, struct way *way)
{
    cl_event entry;
    int rc = pen_opencl_begin(queue, order, e);

    if (rc)
        return rc;
    if (!queue->image_queue) {
        *way = (struct way){queue->queue, PEN_OPENCL_WAITS(order), NULL};
        return 0;
    }
    cl_int status = clEnqueueMarkerWithWaitList(queue->queue, PEN_OPENCL_WAITS(order), &entry);
    if (status)
        return pen_opencl_end(order, e, status);
    e->place = &e->event;
    way->queue = queue->image_queue;
    way->entry = entry;
    way->waits = &way->entry;
    way->wait_count = 1;
    return 0;
}

static int image_end(struct pen_backend_queue *queue, const struct pen_backend_order *order,
                     struct pen_opencl_enqueue *e, struct way *way, cl_int status)
{
    if (way->entry) {
        clReleaseEvent(way->entry);
        cl_int tied = CL_SUCCESS;
        if (!status)
            tied = queue->in_order ? clEnqueueBarrierWithWaitList(queue->queue, 1, &e->event, NULL)
                                   : clEnqueueMarkerWithWaitList(queue->queue, 1, &e->event, NULL);
        if (tied)
            clFinish(way->queue);
    }
    return pen_opencl_end(order, e, status);
}

/* A type without slices must be given no slice pitch. */
static size_t image_slice(const struct pen_backend_transfer *transfer)
{
    enum pen_region_kind kind = transfer->memory->kind;
    bool sliced = kind == PEN_REGION_KIND_IMAGE3D || kind == PEN_REGION_KIND_IMAGE2D_ARRAY ||
                  kind == PEN_REGION_KIND_IMAGE1D_ARRAY;

    return sliced ? transfer->host.slice_pitch : 0;
}

/* The host's side of an image transfer: its origin is in bytes, rows and slices of the pitches given. */
static void *image_host(const struct pen_backend_transfer *transfer)
{
    const struct pen_box *host = &transfer->host;

    return (char *)transfer->bytes + host->origin[0] + host->origin[1] * host->row_pitch +
           host->origin[2] * host->slice_pitch;
}

int pen_opencl_image_write(struct pen_backend_queue *queue, const struct pen_backend_transfer *transfer,
                           const struct pen_backend_order *order)
{
    struct pen_opencl_enqueue e;
    struct way way = {0};
    int rc = image_begin(queue, order, &e, &way);

    if (rc)
        return rc;
    return image_end(queue, order, &e, &way,
                     clEnqueueWriteImage(way.queue, transfer->memory->memory, CL_FALSE,
                                         (const size_t *)transfer->box.origin, (const size_t *)transfer->extent,
                                         transfer->host.row_pitch, image_slice(transfer), image_host(transfer),
                                         way.wait_count, way.waits, e.place));
}

int pen_opencl_image_read(struct pen_backend_queue *queue, const struct pen_backend_transfer *transfer,
                          const struct pen_backend_order *order)
{
    struct pen_opencl_enqueue e;
    struct way way = {0};
    int rc = image_begin(queue, order, &e, &way);

    if (rc)
        return rc;
    return image_end(queue, order, &e, &way,
                     clEnqueueReadImage(way.queue, transfer->memory->memory, CL_FALSE,
                                        (const size_t *)transfer->box.origin, (const size_t *)transfer->extent,
                                        transfer->host.row_pitch, image_slice(transfer), image_host(transfer),
                                        way.wait_count, way.waits, e.place));
}

int pen_opencl_image_copy(struct pen_backend_queue *queue, const struct pen_backend_copy *copy,
                          const struct pen_backend_order *order)
{
    bool from_image = pen_is_image(copy->source->kind), to_image = pen_is_image(copy->target->kind);
    const size_t *from = (const size_t *)copy->source_box.origin, *to = (const size_t *)copy->target_box.origin;
    const size_t *extent = (const size_t *)copy->extent;
    cl_mem source = copy->source->memory, target = copy->target->memory;
    struct pen_opencl_enqueue e;
    struct way way = {0};
    cl_int status;

    int rc = image_begin(queue, order, &e, &way);
    if (rc)
        return rc;
    if (from_image && to_image)
        status = clEnqueueCopyImage(way.queue, source, target, from, to, extent, way.wait_count, way.waits, e.place);
    else if (from_image)
        status = clEnqueueCopyImageToBuffer(way.queue, source, target, from, extent, to[0], way.wait_count, way.waits,
                                            e.place);
    else
        status = clEnqueueCopyBufferToImage(way.queue, source, target, from[0], to, extent, way.wait_count, way.waits,
                                            e.place);
    return image_end(queue, order, &e, &way, status);
}

int pen_opencl_image_fill(struct pen_backend_queue *queue, struct pen_backend_memory *memory, const uint64_t origin[3],
                          const uint64_t extent[3], const void *colour, size_t size,
                          const struct pen_backend_order *order)
{
    struct pen_opencl_enqueue e;
    struct way way = {0};

    if (size < 4 * sizeof(cl_uint)) /* the driver reads four channels */
        return -PEN_EINVAL;
    int rc = image_begin(queue, order, &e, &way);
    if (rc)
        return rc;
    return image_end(queue, order, &e, &way,
                     clEnqueueFillImage(way.queue, memory->memory, colour, (const size_t *)origin,
                                        (const size_t *)extent, way.wait_count, way.waits, e.place));
}
