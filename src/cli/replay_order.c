/* cli/replay_order.c - a program that waits for a command before it sends one to another queue orders the two, and the
 * log does not tell. A program without data races has no other way to use a region from two queues than to wait, or to
 * name an event; so where a region changes queues and no event is named, the replay waits. But not for what is behind
 * a gate: that the program cannot have waited for, so that it comes later. */
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

/* A queue's or a slot's failure is no matter here, the session's is. */
static int unless_gone(int rc)
{
    return rc == -PEN_EGONE ? rc : 0;
}

int pen_replay_wait_queue(struct pen_replay *replay, uint64_t queue)
{
    uint64_t sequence;
    int rc;
    struct pen_replay_slot *slot = pen_replay_slot_new(replay, &rc);
    if (rc)
        return rc;
    struct pen_msg_marker marker = {.queue = queue, .event = replay->next_event++, .slot = slot->slot};
    rc = PEN_SEND(replay->session, marker, &marker, &sequence);
    if (!rc)
        rc = unless_gone(pen_wait_slot(replay->session, slot->slot));
    if (!rc)
        rc =
            PEN_SEND(replay->session, event_destroy, &(struct pen_msg_event_destroy){.event = marker.event}, &sequence);
    pen_replay_slot_unref(replay, slot);
    return rc;
}

static struct pen_replay_use *use_of(struct pen_list *link)
{
    return PEN_CONTAINER(link, struct pen_replay_use, link);
}

static void forget_use(struct pen_replay *replay, struct pen_replay_use *use)
{
    pen_list_remove(&use->link);
    pen_replay_slot_unref(replay, use->slot);
    free(use);
}

static int wait_for(struct pen_replay *replay, const struct pen_replay_use *use)
{
    if (use->slot)
        return unless_gone(pen_wait_slot(replay->session, use->slot->slot));
    const struct pen_replay_queue *queue = pen_map_get(&replay->queues, use->queue);
    if (!queue) /* gone: its commands may still run, but who destroys a queue has waited for it, as a rule */
        return 0;
    return unless_gone(pen_wait_queue(replay->session, queue->slot, use->sequence));
}

static bool names(const struct pen_replay_command *command, uint64_t event)
{
    for (uint32_t i = 0; event && i < command->waits_count; i++)
        if (command->waits[i] == event)
            return true;
    return false;
}

static struct pen_replay_hold hold_of(const struct pen_replay *replay, const struct pen_replay_command *command,
                                      const struct pen_replay_queue *queue)
{
    bool all = command->marks && !command->waits_count;
    struct pen_replay_hold hold = pen_replay_hold(replay, queue->next, all ? queue->all : queue->next);
    for (uint32_t i = 0; i < command->waits_count; i++)
        hold = pen_replay_hold(replay, hold, pen_replay_event_hold(replay, command->waits[i]));
    return hold;
}

/* What the program can have waited for, it is taken to have. What is named and complete before the command need not be
 * known any more, unless the command is behind a gate: the program may wait for the one and not for the other. */
static int order_after_uses(struct pen_replay *replay, const struct pen_replay_command *command, bool in_order,
                            struct pen_replay_region *region)
{
    PEN_LIST_EACH(link, next, &region->uses)
    {
        struct pen_replay_use *use = use_of(link);
        bool named = names(command, use->event);
        if ((in_order && use->queue == command->queue) || pen_replay_held(replay, use->hold) ||
            (named && command->hold.gates))
            continue;
        int rc = named ? 0 : wait_for(replay, use);
        if (rc)
            return rc;
        forget_use(replay, use);
    }
    return 0;
}

int pen_replay_order(struct pen_replay *replay, struct pen_replay_command *command)
{
    const struct pen_replay_queue *queue = pen_map_get(&replay->queues, command->queue);
    int rc = 0;
    if (!queue)
        return -PEN_EPROTO;
    command->hold = hold_of(replay, command, queue);
    command->needs_slot = command->needs_slot || (!queue->in_order && command->regions_count);
    for (uint32_t i = 0; i < command->regions_count && !rc; i++) {
        struct pen_replay_region *region = root_of(replay, command->regions[i]);
        if (region)
            rc = order_after_uses(replay, command, queue->in_order, region);
    }
    return rc;
}

/* The newest of an in-order queue stands for those before it that are behind the same gates. */
static int add_use(struct pen_replay *replay, const struct pen_replay_command *command, uint64_t sequence,
                   bool in_order, struct pen_replay_region *region)
{
    struct pen_replay_use *use = malloc(sizeof *use);
    if (!use)
        return -PEN_ENOMEM;
    *use = (struct pen_replay_use){
        .queue = command->queue, .sequence = sequence, .event = command->event, .hold = command->hold};
    if (!in_order) {
        use->slot = command->slot;
        use->slot->refs++;
    }
    PEN_LIST_EACH(link, next, &region->uses)
    {
        struct pen_replay_use *older = use_of(link);
        if (in_order && older->queue == use->queue && pen_replay_held(replay, older->hold) == use->hold.gates)
            forget_use(replay, older);
    }
    pen_list_append(&region->uses, &use->link);
    return 0;
}

int pen_replay_sent(struct pen_replay *replay, const struct pen_replay_command *command, uint64_t sequence)
{
    struct pen_replay_queue *queue = pen_map_get(&replay->queues, command->queue);
    queue->last = sequence;
    queue->all = pen_replay_hold(replay, queue->all, command->hold);
    if (queue->in_order || command->blocks)
        queue->next = pen_replay_hold(replay, queue->next, command->hold);
    int rc = pen_replay_event_held(replay, command->event, command->hold);
    for (uint32_t i = 0; i < command->regions_count && !rc; i++) {
        struct pen_replay_region *region = root_of(replay, command->regions[i]);
        if (!region)
            continue;
        rc = add_use(replay, command, sequence, queue->in_order, region);
        region->defined = region->defined || command->changes;
    }
    return rc;
}

void pen_replay_region_free(struct pen_replay *replay, struct pen_replay_region *region)
{
    if (!region)
        return;
    PEN_LIST_EACH(link, next, &region->uses)
    forget_use(replay, use_of(link));
    free(region);
}

void pen_replay_define(struct pen_replay *replay, uint64_t region)
{
    struct pen_replay_region *root = root_of(replay, region);
    if (root)
        root->defined = true;
}

bool pen_replay_defined(struct pen_replay *replay, uint64_t region)
{
    const struct pen_replay_region *root = root_of(replay, region);
    return root && root->defined;
}
