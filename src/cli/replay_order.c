/* cli/replay_order.c - a program that waits for a command before it sends one to another queue orders the two, and the
 * log does not tell. A program without data races has no other way to use a region from two queues than to wait, or to
 * name an event; so where a region changes queues and no event is named, the replay waits, or has the command wait. */
#include <stdlib.h>
#include <string.h>

#include "cli/replay.h"

/* ---- kernels' arguments ------------------------------------------------------------------------------ */

int pen_replay_kernel_made(struct pen_replay *replay, uint64_t kernel, uint64_t source)
{
    struct pen_replay_kernel *made = calloc(1, sizeof *made);
    if (!made)
        return -PEN_ENOMEM;
    const struct pen_replay_kernel *from = source ? pen_map_get(&replay->kernels, source) : NULL;
    if (from)
        *made = *from;
    pen_replay_kernel_gone(replay, kernel);
    int rc = pen_map_set(&replay->kernels, kernel, made);
    if (rc)
        free(made);
    return rc;
}

void pen_replay_kernel_gone(struct pen_replay *replay, uint64_t kernel)
{
    free(pen_map_remove(&replay->kernels, kernel));
}

void pen_replay_kernel_argument(struct pen_replay *replay, const struct pen_msg_kernel_argument *message)
{
    struct pen_replay_kernel *kernel = pen_map_get(&replay->kernels, message->kernel);
    if (!kernel || message->index >= PEN_LIMIT_ARGUMENTS)
        return;
    kernel->regions[message->index] = message->kind == PEN_ARGUMENT_KIND_REGION ? message->object : 0;
    if (kernel->count <= message->index)
        kernel->count = message->index + 1;
}

/* ---- order ------------------------------------------------------------------------------------------- */

static struct pen_replay_region *root_of(struct pen_replay *replay, uint64_t id)
{
    struct pen_replay_region *region = id ? pen_map_get(&replay->regions, id) : NULL;
    return region && region->root != id ? pen_map_get(&replay->regions, region->root) : region;
}

static int send_marker(struct pen_replay *replay, uint64_t queue, uint64_t *out_event,
                       struct pen_replay_slot **out_slot)
{
    uint64_t sequence;
    int rc;
    struct pen_replay_slot *slot = pen_replay_slot_new(replay, &rc);
    if (rc)
        return rc;
    struct pen_msg_marker marker = {.queue = queue, .event = replay->next_event++, .slot = slot->slot};
    rc = PEN_SEND(replay->session, marker, &marker, &sequence);
    if (rc) {
        pen_replay_slot_unref(replay, slot);
        return rc;
    }
    pen_replay_used(replay, queue, NULL, 0, sequence, false);
    *out_event = marker.event;
    *out_slot = slot;
    return 0;
}

static int forget(struct pen_replay *replay, uint64_t event)
{
    uint64_t sequence;
    return PEN_SEND(replay->session, event_destroy, &(struct pen_msg_event_destroy){.event = event}, &sequence);
}

int pen_replay_wait_queue(struct pen_replay *replay, uint64_t queue)
{
    struct pen_replay_slot *slot;
    uint64_t event;
    int rc = send_marker(replay, queue, &event, &slot);
    if (rc)
        return rc;
    rc = pen_wait_slot(replay->session, slot->slot) == -PEN_EGONE ? -PEN_EGONE : 0;
    if (!rc)
        rc = forget(replay, event);
    pen_replay_slot_unref(replay, slot);
    return rc;
}

static int wait_for(struct pen_replay *replay, const struct pen_replay_region *region)
{
    const struct pen_replay_queue *queue = pen_map_get(&replay->queues, region->queue);
    if (!queue) /* gone: its commands may still run, but who destroys a queue has waited for it, as a rule */
        return 0;
    if (!queue->in_order)
        return pen_replay_wait_queue(replay, region->queue);
    return pen_wait_queue(replay->session, queue->slot, region->sequence) == -PEN_EGONE ? -PEN_EGONE : 0;
}

/* Has the entry at hand wait for what the queue has been sent so far. */
static int add_wait(struct pen_replay *replay, uint64_t queue)
{
    struct pen_replay_waits *waits = &replay->waits;
    struct pen_replay_slot *slot;
    for (uint32_t i = 0; i < waits->count; i++)
        if (waits->queues[i] == queue)
            return 0;
    if (!pen_map_get(&replay->queues, queue) || waits->count == PEN_LIMIT_ARGUMENTS)
        return 0;
    int rc = send_marker(replay, queue, &waits->events[waits->count], &slot);
    if (rc)
        return rc;
    waits->queues[waits->count++] = queue;
    replay->held_up = true;
    pen_replay_slot_unref(replay, slot);
    return 0;
}

int pen_replay_order(struct pen_replay *replay, uint64_t queue, const uint64_t *regions, uint32_t count,
                     const uint64_t **waits, uint32_t *waits_count)
{
    const struct pen_replay_queue *own = pen_map_get(&replay->queues, queue);
    int rc = 0;
    for (uint32_t i = 0; i < count && !rc && !*waits_count; i++) {
        struct pen_replay_region *region = root_of(replay, regions[i]);
        if (!region || !region->queue || (region->queue == queue && own && own->in_order))
            continue;
        if (replay->open_events.count) {
            rc = add_wait(replay, region->queue);
        } else {
            rc = wait_for(replay, region);
            region->queue = 0;
        }
    }
    if (!rc && replay->waits.count) {
        *waits = replay->waits.events;
        *waits_count = replay->waits.count;
    }
    return rc;
}

int pen_replay_ordered(struct pen_replay *replay)
{
    int rc = 0;
    for (uint32_t i = 0; i < replay->waits.count && !rc; i++)
        rc = forget(replay, replay->waits.events[i]);
    replay->waits.count = 0;
    return rc;
}

void pen_replay_used(struct pen_replay *replay, uint64_t queue, const uint64_t *regions, uint32_t count,
                     uint64_t sequence, bool changes)
{
    struct pen_replay_queue *used = queue ? pen_map_get(&replay->queues, queue) : NULL;
    if (used)
        used->last = sequence;
    for (uint32_t i = 0; i < count; i++) {
        struct pen_replay_region *region = root_of(replay, regions[i]);
        if (!region)
            continue;
        region->queue = queue;
        region->sequence = sequence;
        region->defined = region->defined || changes;
    }
}

bool pen_replay_defined(struct pen_replay *replay, uint64_t region)
{
    const struct pen_replay_region *root = root_of(replay, region);
    return root && root->defined;
}
