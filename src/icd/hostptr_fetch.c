/* icd/hostptr_fetch.c - CL_MEM_USE_HOST_PTR: what commands may have written, on its way to the program. See hostptr.h.
 */
#include <stdlib.h>
#include <string.h>

#include "icd/hostptr.h"
#include "icd/service.h"

static bool use_done(const struct pen_hostptr_use *use)
{
    return pen_event_peek(use->event) <= CL_COMPLETE;
}

/* Are they ordered by their queue, and of one range? */
static bool alike(const struct pen_hostptr_use *a, const struct pen_hostptr_use *b)
{
    return a->event->queue == b->event->queue && a->event->queue->in_order && a->first == b->first &&
           a->size == b->size;
}

static bool use_sent(const struct pen_hostptr_use *use)
{
    return atomic_load_explicit(&use->event->sent, memory_order_acquire);
}

/* Of two that are alike, is the later one enough? It brings back what both wrote; but when only the first is complete
 * the program may look, unless it can learn of no command's end from the first to just before the second. */
static bool stands_for(const struct pen_hostptr_use *later, const struct pen_hostptr_use *use)
{
    if (!use_sent(use) || !use_sent(later) || use->event->sequence > later->event->sequence)
        return false;
    return later->event->told < use->event->sequence || use_done(later);
}

/* Forgets the one before `use` that it stands for. */
static void use_merge(struct pen_hostptr_use *use, struct pen_leavings *leavings)
{
    for (struct pen_list *node = use->link.prev; node != &use->root->host_uses; node = node->prev) {
        struct pen_hostptr_use *before = PEN_CONTAINER(node, struct pen_hostptr_use, link);
        if (!alike(before, use))
            continue;
        if (stands_for(use, before))
            pen_leavings_add_use(before, leavings);
        return;
    }
}

/* Forgets uses that later ones stand for: among the oldest, as commands complete, and the last but one, once the last
 * command is sent. The caller holds `sharing`; nobody is fetching. */
static void uses_merge(cl_mem root, struct pen_leavings *leavings)
{
    if (!pen_list_empty(&root->host_uses))
        use_merge(PEN_CONTAINER(root->host_uses.prev, struct pen_hostptr_use, link), leavings);
    PEN_LIST_EACH(node, next, &root->host_uses)
    {
        struct pen_hostptr_use *use = PEN_CONTAINER(node, struct pen_hostptr_use, link);
        use_merge(use, leavings);
        if (!use_done(use))
            return;
    }
}

static bool overlap(const struct pen_hostptr_use *use, size_t first, size_t size)
{
    return pen_range_overlap(use->first, use->size, first, size);
}

/* A command that may write there comes while bytes are fetched. */
static void contest(cl_mem root, size_t first, size_t size)
{
    PEN_LIST_EACH(node, next, &root->host_uses)
    {
        struct pen_hostptr_use *use = PEN_CONTAINER(node, struct pen_hostptr_use, link);
        if (overlap(use, first, size))
            atomic_store_explicit(&use->contested, true, memory_order_relaxed);
    }
}

static bool is_contested(const struct pen_hostptr_use *use)
{
    for (const struct pen_list *node = use->link.next; node != &use->root->host_uses; node = node->next) {
        const struct pen_hostptr_use *later = PEN_CONTAINER(node, const struct pen_hostptr_use, link);
        if (!use_done(later) && overlap(use, later->first, later->size))
            return true;
    }
    return false;
}

int pen_hostptr_use_add(struct pen_enqueue *e, cl_mem root, size_t first, size_t size, struct pen_leavings *leavings)
{
    if (!root->context->home->fetching)
        uses_merge(root, leavings);
    else
        contest(root, first, size);
    struct pen_hostptr_use *use = malloc(sizeof *use);
    if (!use)
        return -PEN_ENOMEM;
    pen_ref(e->event);
    *use = (struct pen_hostptr_use){.root = root, .event = e->event, .first = first, .size = size};
    pen_list_append(&root->host_uses, &use->link);
    return 0;
}

void pen_hostptr_fetch_direct(cl_mem root, size_t first, size_t size)
{
    if (pen_session_alive(root->context->session)) /* lost, or the parent's: what is in the arena is not ours to see */
        return;
    struct pen_move move = pen_hostptr_move(root, first, size, false);
    pen_span_copy(root->host_ptr, &move.program_place, pen_memory_at(root), &move.region_place, &move.span);
}

/* True when the bytes are in the program's range, and are to be noted as what devices have. */
static bool fetch_indirect(const struct pen_hostptr_use *use)
{
    struct pen_move move = pen_hostptr_move(use->root, use->first, use->size, false);
    cl_command_queue lane = pen_lane_get(use->root->context, use->event->queue->device);
    if (!lane)
        return false;
    move.contested = atomic_load_explicit(&use->contested, memory_order_relaxed);
    int error = pen_move_fetch(lane, &move, use->event);
    pen_unref(lane);
    return error == 0;
}

/* Whether the bytes of `use` have been fetched for a later one of the batch. Uses of one region follow each other. */
static bool fetched_for_later(const struct pen_hostptr_use *use, const struct pen_list *batch)
{
    for (const struct pen_list *node = use->batch.next; node != batch; node = node->next) {
        const struct pen_hostptr_use *later = PEN_CONTAINER(node, const struct pen_hostptr_use, batch);
        if (later->root != use->root)
            return false;
        if (later->fetched && later->first <= use->first && later->first + later->size >= use->first + use->size)
            return true;
    }
    return false;
}

/* The caller does not hold `sharing`, and has its turn. Each byte once, for the last use of it: a recorded
 * session is to fetch behind that command, too. */
static void fetch(struct pen_list *batch)
{
    for (struct pen_list *node = batch->prev; node != batch; node = node->prev) {
        struct pen_hostptr_use *use = PEN_CONTAINER(node, struct pen_hostptr_use, batch);
        if (fetched_for_later(use, batch))
            continue;
        if (use->root->direct)
            pen_hostptr_fetch_direct(use->root, use->first, use->size);
        use->fetched = use->root->direct || fetch_indirect(use);
    }
}

void pen_hostptr_collect(cl_mem root, bool all, struct pen_list *batch, struct pen_leavings *leavings)
{
    uses_merge(root, leavings);
    PEN_LIST_EACH(node, next, &root->host_uses)
    {
        struct pen_hostptr_use *use = PEN_CONTAINER(node, struct pen_hostptr_use, link);
        if (!all && !use_done(use))
            continue;
        atomic_store_explicit(&use->contested, is_contested(use), memory_order_relaxed);
        pen_list_append(batch, &use->batch);
    }
}

void pen_hostptr_bring_back(struct pen_home *home, struct pen_list *batch, struct pen_leavings *leavings)
{
    if (pen_list_empty(batch))
        return;
    home->fetching = true;
    pthread_mutex_unlock(&home->sharing);
    fetch(batch);
    pthread_mutex_lock(&home->sharing);
    PEN_LIST_EACH(node, next, batch)
    {
        struct pen_hostptr_use *use = PEN_CONTAINER(node, struct pen_hostptr_use, batch);
        cl_mem root = use->root;
        if (use->fetched && !root->direct) {
            size_t from = pen_hostptr_is_image(root) ? 0 : use->first,
                   reach = pen_hostptr_is_image(root) ? pen_hostptr_reach(root) : use->size;
            memcpy((char *)root->host_shadow + from, (char *)root->host_ptr + from, reach);
        }
        pen_leavings_add_use(use, leavings);
    }
    home->fetching = false;
    pthread_cond_broadcast(&home->fetched);
}

bool pen_hostptr_may_be_newer(cl_mem root, size_t first, size_t size)
{
    PEN_LIST_EACH(node, next, &root->host_uses)
    {
        struct pen_hostptr_use *use = PEN_CONTAINER(node, struct pen_hostptr_use, link);
        if (overlap(use, first, size))
            return true;
    }
    return false;
}
