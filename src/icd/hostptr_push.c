/* icd/hostptr_push.c - CL_MEM_USE_HOST_PTR: what the program has changed, on its way to devices. See hostptr.h. */
#include <stdlib.h>
#include <string.h>

#include "icd/hostptr.h"
#include "icd/service.h"

/* Compared and copied at a time: what differs is copied while it is in the cache. Bytes. */
#define CHUNK_BYTES (256u << 10)

/* Makes [first, first + size) of `to` equal to `from`. */
static void equalize(char *to, const char *from, size_t first, size_t size)
{
    for (size_t at = first; at < first + size; at += CHUNK_BYTES) {
        size_t chunk = first + size - at < CHUNK_BYTES ? first + size - at : CHUNK_BYTES;
        if (memcmp(to + at, from + at, chunk) != 0)
            memcpy(to + at, from + at, chunk);
    }
}

static void push_direct(cl_mem root, size_t first, size_t size)
{
    char *contents = pen_memory_at(root);
    if (!pen_hostptr_is_image(root)) {
        equalize(contents, root->host_ptr, first, size);
        return;
    }
    struct pen_move move = pen_hostptr_move(root, 0, size, true);
    if (!pen_span_equal(contents, &move.region_place, root->host_ptr, &move.program_place, &move.span))
        pen_span_copy(contents, &move.region_place, root->host_ptr, &move.program_place, &move.span);
}

int pen_supplies_get(struct pen_supplies *supplies, cl_context context, cl_device_id device)
{
    int error = supplies->wants_lane ? pen_lane_make(context, device) : 0;
    if (error || supplies->staging_bytes >= supplies->wanted_bytes)
        return error;
    if (supplies->staging_bytes)
        pen_arena_free(context->session, supplies->staging);
    supplies->staging_bytes = 0;
    pen_staging_take_room(context, supplies->wanted_bytes);
    pen_staging_give_room(context->home, supplies->wanted_bytes); /* it is taken again with the range */
    error = pen_staging_alloc(context, supplies->wanted_bytes, &supplies->staging);
    if (!error)
        supplies->staging_bytes = supplies->wanted_bytes;
    return error;
}

void pen_supplies_drop(struct pen_supplies *supplies, cl_context context)
{
    if (supplies->staging_bytes)
        pen_arena_free(context->session, supplies->staging);
}

/* Forgets a push that is complete. What one that has failed should have sent, devices lack still. */
static void push_look(cl_mem root, struct pen_leavings *leavings)
{
    if (!root->host_push)
        return;
    cl_int status = pen_event_peek(root->host_push);
    if (status > CL_COMPLETE)
        return;
    root->host_resend |= status < 0;
    pen_leavings_add_push(root->host_push, leavings);
    root->host_push = NULL;
}

/* Sends the bytes of `move` from the program's range; root->host_push is then their write. Takes the staging range. */
static int push_send(cl_command_queue lane, cl_mem root, const struct pen_move *move, struct pen_supplies *supplies,
                     struct pen_leavings *leavings)
{
    struct pen_place tight = pen_span_tight(&move->span);
    struct pen_enqueue write = {.queue = lane};
    int error = pen_event_create(root->context, lane, move->type, &write.event);
    if (error)
        return error;
    write.event_id = write.event->id;
    write.slot = write.event->slot;
    if (root->host_push) { /* another device's lane may have it */
        write.wait_storage[0] = root->host_push->id;
        write.waits = write.wait_storage;
        write.wait_count = 1;
    }
    pen_span_copy(pen_arena_at(root->context->session, supplies->staging), &tight, root->host_ptr, &move->program_place,
                  &move->span);
    error = pen_staging_free_after(&write, supplies->staging, supplies->staging_bytes);
    if (!error) {
        supplies->staging_bytes = 0;
        error = pen_move_send(&write, move, supplies->staging);
    }
    pen_leavings_add_push(error ? write.event : root->host_push, leavings);
    if (!error)
        root->host_push = write.event;
    return error;
}

/* Sends what has changed since it was last sent or fetched. */
static int push_indirect(struct pen_enqueue *e, cl_mem root, size_t first, size_t size, struct pen_supplies *supplies,
                         struct pen_leavings *leavings)
{
    push_look(root, leavings);
    bool all = pen_hostptr_is_image(root) || (root->host_resend && pen_list_empty(&root->host_uses));
    struct pen_move move =
        all ? pen_hostptr_move(root, 0, root->size, true) : pen_hostptr_move(root, first, size, true);
    size_t from = all ? 0 : first, reach = all ? pen_hostptr_reach(root) : size;
    const char *host = (const char *)root->host_ptr + from;
    char *shadow = (char *)root->host_shadow + from;
    if (!root->host_resend && memcmp(shadow, host, reach) == 0)
        return 0;
    cl_command_queue lane = pen_lane_find(root->context, e->queue->device);
    supplies->wants_lane = !lane;
    supplies->wanted_bytes = pen_span_bytes(&move.span);
    if (!lane || supplies->staging_bytes < supplies->wanted_bytes)
        return PEN_PUSH_LACKING;
    int error = push_send(lane, root, &move, supplies, leavings);
    if (error)
        return error;
    memcpy(shadow, host, reach);
    if (all)
        root->host_resend = false;
    return 0;
}

int pen_hostptr_push_range(struct pen_enqueue *e, cl_mem root, size_t first, size_t size, struct pen_supplies *supplies,
                           struct pen_leavings *leavings)
{
    if (root->direct) {
        push_direct(root, first, size);
        return 0;
    }
    return push_indirect(e, root, first, size, supplies, leavings);
}

int pen_hostptr_await_push(struct pen_enqueue *e, cl_mem root)
{
    if (!root->host_push || pen_event_peek(root->host_push) == CL_COMPLETE)
        return 0;
    return pen_enqueue_wait_for(e, root->host_push);
}
