/* backend/opencl_transfer.c - commands that move data, between buffers and the host: as one run of bytes where their
 * boxes are that. Those with an image go to opencl_image.c. */
#include "backend/opencl.h"

/* One side of a buffer transfer as a driver is told it. */
struct side {
    size_t origin[3], row, slice;
    size_t offset; /* of the origin, bytes */
    bool linear;   /* one run of bytes from offset */
};

static struct side side_of(const struct pen_box *box, const uint64_t extent[3])
{
    struct side side = {.origin = {box->origin[0], box->origin[1], box->origin[2]}};

    side.row = box->row_pitch ? box->row_pitch : extent[0];
    side.slice = box->slice_pitch ? box->slice_pitch : side.row * extent[1];
    side.offset = side.origin[0] + side.origin[1] * side.row + side.origin[2] * side.slice;
    side.linear = (extent[1] <= 1 || side.row == extent[0]) && (extent[2] <= 1 || side.slice == extent[0] * extent[1]);
    return side;
}

static size_t bytes_of(const uint64_t extent[3])
{
    return extent[0] * (extent[1] ? extent[1] : 1) * (extent[2] ? extent[2] : 1);
}

int pen_opencl_write(struct pen_backend_queue *queue, const struct pen_backend_transfer *transfer,
                     const struct pen_backend_order *order)
{
    cl_mem memory = transfer->memory->memory;
    struct pen_opencl_enqueue e;
    cl_int status;

    if (pen_is_image(transfer->memory->kind))
        return pen_opencl_image_write(queue, transfer, order);
    int rc = pen_opencl_begin(queue, order, &e);
    if (rc)
        return rc;
    struct side box = side_of(&transfer->box, transfer->extent), host = side_of(&transfer->host, transfer->extent);
    if (box.linear && host.linear)
        status = clEnqueueWriteBuffer(queue->queue, memory, CL_FALSE, box.offset, bytes_of(transfer->extent),
                                      (char *)transfer->bytes + host.offset, PEN_OPENCL_WAITS(order), e.place);
    else
        status = clEnqueueWriteBufferRect(queue->queue, memory, CL_FALSE, box.origin, host.origin,
                                          (const size_t *)transfer->extent, box.row, box.slice, host.row, host.slice,
                                          transfer->bytes, PEN_OPENCL_WAITS(order), e.place);
    return pen_opencl_end(order, &e, status);
}

int pen_opencl_read(struct pen_backend_queue *queue, const struct pen_backend_transfer *transfer,
                    const struct pen_backend_order *order)
{
    cl_mem memory = transfer->memory->memory;
    struct pen_opencl_enqueue e;
    cl_int status;

    if (pen_is_image(transfer->memory->kind))
        return pen_opencl_image_read(queue, transfer, order);
    int rc = pen_opencl_begin(queue, order, &e);
    if (rc)
        return rc;
    struct side box = side_of(&transfer->box, transfer->extent), host = side_of(&transfer->host, transfer->extent);
    if (box.linear && host.linear)
        status = clEnqueueReadBuffer(queue->queue, memory, CL_FALSE, box.offset, bytes_of(transfer->extent),
                                     (char *)transfer->bytes + host.offset, PEN_OPENCL_WAITS(order), e.place);
    else
        status = clEnqueueReadBufferRect(queue->queue, memory, CL_FALSE, box.origin, host.origin,
                                         (const size_t *)transfer->extent, box.row, box.slice, host.row, host.slice,
                                         transfer->bytes, PEN_OPENCL_WAITS(order), e.place);
    return pen_opencl_end(order, &e, status);
}

int pen_opencl_copy(struct pen_backend_queue *queue, const struct pen_backend_copy *copy,
                    const struct pen_backend_order *order)
{
    cl_mem from = copy->source->memory, to = copy->target->memory;
    struct pen_opencl_enqueue e;
    cl_int status;

    if (pen_is_image(copy->source->kind) || pen_is_image(copy->target->kind))
        return pen_opencl_image_copy(queue, copy, order);
    int rc = pen_opencl_begin(queue, order, &e);
    if (rc)
        return rc;
    struct side source = side_of(&copy->source_box, copy->extent), target = side_of(&copy->target_box, copy->extent);
    if (source.linear && target.linear)
        status = clEnqueueCopyBuffer(queue->queue, from, to, source.offset, target.offset, bytes_of(copy->extent),
                                     PEN_OPENCL_WAITS(order), e.place);
    else
        status = clEnqueueCopyBufferRect(queue->queue, from, to, source.origin, target.origin,
                                         (const size_t *)copy->extent, source.row, source.slice, target.row,
                                         target.slice, PEN_OPENCL_WAITS(order), e.place);
    return pen_opencl_end(order, &e, status);
}

int pen_opencl_fill(struct pen_backend_queue *queue, struct pen_backend_memory *memory, const uint64_t origin[3],
                    const uint64_t extent[3], const void *pattern, size_t pattern_size,
                    const struct pen_backend_order *order)
{
    struct pen_opencl_enqueue e;

    if (pen_is_image(memory->kind))
        return pen_opencl_image_fill(queue, memory, origin, extent, pattern, pattern_size, order);
    int rc = pen_opencl_begin(queue, order, &e);
    if (rc)
        return rc;
    return pen_opencl_end(order, &e,
                          clEnqueueFillBuffer(queue->queue, memory->memory, pattern, pattern_size, origin[0], extent[0],
                                              PEN_OPENCL_WAITS(order), e.place));
}
