#include "icd/copy.h"

#include <string.h>

#include "icd/move.h"

static void wrote_here(cl_mem memory, const struct pen_place *place, const struct pen_span *span)
{
    size_t reach = 0;
    (void)pen_span_reach(place, span, &reach);
    pen_hostptr_wrote_here(memory, place->first, reach);
}

static cl_int copy_here(struct pen_enqueue *e, struct pen_turn *turn, const struct pen_copy *copy)
{
    uint64_t started_ns = pen_enqueue_clock(e);
    int error = pen_session_alive(e->queue->context->session);
    if (!error)
        error = pen_hostptr_before_use(e, copy->source, false);
    if (!error)
        error = pen_hostptr_before_use(e, copy->target, false);
    if (!error) {
        pen_span_copy(pen_memory_at(copy->target), &copy->target_place, pen_memory_at(copy->source),
                      &copy->source_place, &copy->span);
        wrote_here(copy->target, &copy->target_place, &copy->span);
    }
    return pen_turn_done(turn, e, started_ns, error);
}

static int copy_send(struct pen_enqueue *e, const struct pen_copy *copy)
{
    int error = pen_hostptr_before_use(e, copy->source, false);
    if (!error)
        error = pen_hostptr_before_use(e, copy->target, true);
    if (error)
        return error;
    struct pen_msg_copy message = {
        .queue = e->queue->id,
        .event = e->event_id,
        .slot = e->slot,
        .source = copy->source->id,
        .target = copy->target->id,
        .source_box = copy->source_box,
        .target_box = copy->target_box,
        .extent = {copy->extent[0], copy->extent[1], copy->extent[2]},
        .waits = e->waits,
        .waits_count = e->wait_count,
    };
    return PEN_ENQUEUE(e, copy, &message);
}

cl_int pen_copy_run(cl_command_queue queue, const struct pen_copy *copy, cl_uint wait_count, const cl_event *wait_list,
                    cl_event *out_event)
{
    struct pen_enqueue e = {0};
    cl_int status =
        pen_enqueue_begin(&e, queue, copy->type, wait_count, wait_list, out_event, false, pen_hostptr_any());
    if (status != CL_SUCCESS)
        return status;
    if (pen_span_bytes(&copy->span) == 0)
        return pen_enqueue_nothing(&e, pen_enqueue_ready(&e));
    struct pen_turn turn;
    if (copy->source->direct && copy->target->direct && pen_small(pen_span_bytes(&copy->span)) &&
        pen_turn_try(&turn, &e))
        return copy_here(&e, &turn, copy);
    return pen_enqueue_end(&e, copy_send(&e, copy));
}

/* ---- fill ---------------------------------------------------------------------------------------------- */

/* Doubles what is there until the row is full. */
static void fill_row(char *row, size_t row_bytes, const void *pattern, size_t pattern_size)
{
    if (pattern_size == 1) {
        memset(row, *(const unsigned char *)pattern, row_bytes);
        return;
    }
    memcpy(row, pattern, pattern_size);
    for (size_t done = pattern_size; done < row_bytes;) {
        size_t more = done < row_bytes - done ? done : row_bytes - done;
        memcpy(row + done, row, more);
        done += more;
    }
}

static void fill_rows(const struct pen_fill *fill)
{
    char *first = (char *)pen_memory_at(fill->memory) + fill->place.first;
    for (size_t slice = 0; slice < fill->span.slices; slice++)
        for (size_t row = 0; row < fill->span.rows; row++)
            fill_row(first + slice * fill->place.slice_pitch + row * fill->place.row_pitch, fill->span.row_bytes,
                     fill->pattern, fill->pattern_size);
}

static cl_int fill_here(struct pen_enqueue *e, struct pen_turn *turn, const struct pen_fill *fill)
{
    uint64_t started_ns = pen_enqueue_clock(e);
    int error = pen_session_alive(e->queue->context->session);
    if (!error)
        error = pen_hostptr_before_use(e, fill->memory, false);
    if (!error) {
        fill_rows(fill);
        wrote_here(fill->memory, &fill->place, &fill->span);
    }
    return pen_turn_done(turn, e, started_ns, error);
}

static int fill_send(struct pen_enqueue *e, const struct pen_fill *fill)
{
    int error = pen_hostptr_before_use(e, fill->memory, true);
    if (error)
        return error;
    struct pen_msg_fill message = {
        .queue = e->queue->id,
        .event = e->event_id,
        .slot = e->slot,
        .region = fill->memory->id,
        .origin = {fill->origin[0], fill->origin[1], fill->origin[2]},
        .extent = {fill->extent[0], fill->extent[1], fill->extent[2]},
        .pattern = fill->sent,
        .waits = e->waits,
        .waits_count = e->wait_count,
    };
    return PEN_ENQUEUE(e, fill, &message);
}

cl_int pen_fill_run(cl_command_queue queue, const struct pen_fill *fill, cl_uint wait_count, const cl_event *wait_list,
                    cl_event *out_event)
{
    struct pen_enqueue e = {0};
    cl_int status =
        pen_enqueue_begin(&e, queue, fill->type, wait_count, wait_list, out_event, false, pen_hostptr_any());
    if (status != CL_SUCCESS)
        return status;
    if (pen_span_bytes(&fill->span) == 0)
        return pen_enqueue_nothing(&e, pen_enqueue_ready(&e));
    struct pen_turn turn;
    if (fill->pattern && fill->memory->direct && pen_small(pen_span_bytes(&fill->span)) && pen_turn_try(&turn, &e))
        return fill_here(&e, &turn, fill);
    return pen_enqueue_end(&e, fill_send(&e, fill));
}
