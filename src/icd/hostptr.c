#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"
#include "icd/move.h"
#include "icd/service.h"

/* Compared and copied at a time: what differs is copied while it is in the cache. Bytes. */
#define CHUNK_BYTES (256u << 10)

/* A command that may write a range of a region (offsets in the program's range), not yet brought back. */
struct use {
    struct pen_list link;
    cl_command_queue queue; /* referenced */
    cl_event event;         /* referenced; NULL: complete when the queue is idle */
    size_t first, size;
};

_Atomic uint32_t pen_hostptr_count; /* regions, and farewells (memory.c) to say; relaxed: a hint */

static pthread_mutex_t regions_lock = PTHREAD_MUTEX_INITIALIZER; /* guards: regions, and the uses of each */
static struct pen_list regions = {&regions, &regions};
static _Thread_local bool inside; /* this thread holds the lock: calls made under it do not come back in */

static void enter(void)
{
    pthread_mutex_lock(&regions_lock);
    inside = true;
}

static void leave(void)
{
    inside = false;
    pthread_mutex_unlock(&regions_lock);
}

/* ---- ranges -------------------------------------------------------------------------------------------- */

static bool is_image(cl_mem memory)
{
    return memory->type != CL_MEM_OBJECT_BUFFER;
}

/* A transfer of a range of a root region: of all of it for an image. */
static struct pen_move range_move(cl_mem root, size_t first, size_t size, bool to_region)
{
    struct pen_move move = {
        .memory = root,
        .type = to_region ? CL_COMMAND_WRITE_BUFFER : CL_COMMAND_READ_BUFFER,
        .to_region = to_region,
        .blocking = true,
        .program = root->host_ptr,
        .program_place = {first, size, size},
        .region_place = {first, size, size},
        .span = {size, 1, 1},
        .box = {.origin = {first, 0, 0}},
        .extent = {size, 1, 1},
    };
    if (is_image(root)) {
        const size_t origin[3] = {0};
        size_t extent[3];
        pen_image_all(root, extent);
        move.program_place = pen_image_host_place(root, origin);
        move.region_place = pen_image_place(root, origin);
        move.span = pen_image_span(root, extent);
        move.box = (struct pen_box){0};
        for (int i = 0; i < 3; i++)
            move.extent[i] = extent[i];
    }
    return move;
}

/* Bytes of the program's range from host_ptr on. */
static size_t host_reach(cl_mem root)
{
    struct pen_move move = range_move(root, 0, root->size, true);
    size_t reach = 0;
    (void)pen_span_reach(&move.program_place, &move.span, &reach);
    return reach;
}

/* Makes [first, first + size) of `to` equal to `from`. False when it was. */
static bool equalize(char *to, const char *from, size_t first, size_t size)
{
    bool changed = false;
    for (size_t at = first; at < first + size; at += CHUNK_BYTES) {
        size_t chunk = first + size - at < CHUNK_BYTES ? first + size - at : CHUNK_BYTES;
        if (memcmp(to + at, from + at, chunk) != 0) {
            memcpy(to + at, from + at, chunk);
            changed = true;
        }
    }
    return changed;
}

/* The range of its root that an object covers. */
static cl_mem covered(cl_mem memory, size_t *out_first, size_t *out_size)
{
    cl_mem root = pen_memory_root(memory, out_first);
    *out_size = memory->size;
    if (is_image(root)) {
        *out_first = 0;
        *out_size = root->size;
    }
    return root;
}

/* ---- program to devices -------------------------------------------------------------------------------- */

static void push_direct(cl_mem root, size_t first, size_t size)
{
    char *contents = pen_memory_at(root);
    if (!is_image(root)) {
        (void)equalize(contents, root->host_ptr, first, size);
        return;
    }
    struct pen_move move = range_move(root, 0, size, true);
    if (!pen_span_equal(contents, &move.region_place, root->host_ptr, &move.program_place, &move.span))
        pen_span_copy(contents, &move.region_place, root->host_ptr, &move.program_place, &move.span);
}

/* Sends what has changed since it was last sent or fetched. */
static int push_indirect(struct pen_enqueue *e, cl_mem root, size_t first, size_t size)
{
    struct pen_session *session = root->context->session;
    struct pen_move move = range_move(root, first, size, true);
    size_t from = is_image(root) ? 0 : first, reach = is_image(root) ? host_reach(root) : size;
    if (!equalize(root->host_shadow, root->host_ptr, from, reach))
        return 0;

    uint64_t staging, sequence;
    int error = pen_arena_alloc(session, pen_span_bytes(&move.span), 256, &staging);
    if (error)
        return error;
    struct pen_place tight = pen_span_tight(&move.span);
    pen_span_copy(pen_arena_at(session, staging), &tight, root->host_ptr, &move.program_place, &move.span);
    struct pen_enqueue write = {0};
    if (pen_enqueue_begin(&write, e->queue, move.type, 0, NULL, NULL, false, true) != CL_SUCCESS) {
        pen_arena_free(session, staging);
        return -PEN_ENOMEM;
    }
    error = pen_move_send(&write, &move, staging, &sequence);
    if (!error && !e->queue->in_order) /* nothing orders the command after it but a wait */
        error = pen_enqueue_wait(&write, sequence);
    if (error)
        pen_arena_free(session, staging);
    else
        error = pen_staging_free_after(&write, staging);
    (void)pen_enqueue_end(&write, error);
    return error;
}

static int push(struct pen_enqueue *e, cl_mem root, size_t first, size_t size)
{
    if (!root->direct)
        return push_indirect(e, root, first, size);
    push_direct(root, first, size);
    return 0;
}

/* ---- devices to program -------------------------------------------------------------------------------- */

static bool use_done(const struct use *use)
{
    if (!use->event)
        return pen_queue_idle(use->queue);
    if (atomic_load_explicit(&use->event->local, memory_order_acquire) <= CL_COMPLETE)
        return true;
    return use->event->slot && pen_slot_state(use->queue->context->session, use->event->slot) <= PEN_STATE_COMPLETE;
}

static void use_free(struct use *use)
{
    pen_list_remove(&use->link);
    if (use->event)
        pen_unref(use->event);
    pen_unref(use->queue);
    free(use);
}

static int use_add(struct pen_enqueue *e, cl_mem root, size_t first, size_t size)
{
    /* A later command of the same in-order queue on the same range ends later: one is enough. */
    if (e->queue->in_order)
        PEN_LIST_EACH(node, next, &root->host_uses)
        {
            struct use *use = PEN_CONTAINER(node, struct use, link);
            if (use->queue == e->queue && use->first == first && use->size == size)
                use_free(use);
        }
    struct use *use = calloc(1, sizeof *use);
    if (!use)
        return -PEN_ENOMEM;
    pen_ref(e->queue);
    if (e->event)
        pen_ref(e->event);
    *use = (struct use){.queue = e->queue, .event = e->event, .first = first, .size = size};
    pen_list_append(&root->host_uses, &use->link);
    atomic_store_explicit(&root->device_wrote, true, memory_order_relaxed);
    return 0;
}

static void fetch_direct(cl_mem root, size_t first, size_t size)
{
    if (pen_session_alive(root->context->session)) /* lost, or the parent's: what is in the arena is not ours to see */
        return;
    struct pen_move move = range_move(root, first, size, false);
    pen_span_copy(root->host_ptr, &move.program_place, pen_memory_at(root), &move.region_place, &move.span);
}

/* Through a queue of its own: commands that wait on the program's queues must not hold this up. */
static void fetch_indirect(cl_mem root, const struct use *use)
{
    struct pen_move move = range_move(root, use->first, use->size, false);
    cl_int status;
    cl_command_queue queue = pen_clCreateCommandQueue(root->context, use->queue->device, 0, &status);
    if (!queue)
        return;
    if (pen_move_run(queue, &move, 0, NULL, NULL) == CL_SUCCESS) {
        size_t from = is_image(root) ? 0 : use->first, reach = is_image(root) ? host_reach(root) : use->size;
        memcpy((char *)root->host_shadow + from, (char *)root->host_ptr + from, reach);
    }
    (void)pen_release(queue, PEN_MAGIC_QUEUE, CL_INVALID_COMMAND_QUEUE);
}

/* Brings back what commands that are complete have written; each byte once. `all`: whether complete or not. */
static void fetch(cl_mem root, bool all)
{
    struct pen_list *head = &root->host_uses;
    struct pen_list *node = head->next;
    while (node != head) {
        struct use *use = PEN_CONTAINER(node, struct use, link);
        if (!all && !use_done(use)) {
            node = node->next;
            continue;
        }
        if (root->direct)
            fetch_direct(root, use->first, use->size);
        else
            fetch_indirect(root, use);
        size_t first = use->first, end = use->first + use->size;
        PEN_LIST_EACH(other, next, node)
        {
            if (other == head)
                continue;
            struct use *inner = PEN_CONTAINER(other, struct use, link);
            if (inner->first >= first && inner->first + inner->size <= end && (all || use_done(inner)))
                use_free(inner);
        }
        node = node->next;
        use_free(use);
    }
    atomic_store_explicit(&root->device_wrote, !pen_list_empty(head), memory_order_relaxed);
}

/* ---- what the others call ------------------------------------------------------------------------------ */

int pen_hostptr_before_use(struct pen_enqueue *e, cl_mem memory, bool writes)
{
    if (!pen_hostptr_any() || !memory || inside)
        return 0;
    size_t first, size;
    cl_mem root = covered(memory, &first, &size);
    if (!root->host_ptr)
        return 0;
    int error = 0;
    bool unsynced = false;
    enter();
    PEN_LIST_EACH(node, next, &root->host_uses)
    {
        struct use *use = PEN_CONTAINER(node, struct use, link);
        unsynced |= pen_range_overlap(use->first, use->size, first, size);
    }
    if (!unsynced) /* otherwise the program has not been told yet that it may look, let alone write */
        error = push(e, root, first, size);
    if (!error && writes)
        error = use_add(e, root, first, size);
    leave();
    return error;
}

int pen_hostptr_push(struct pen_enqueue *e, cl_mem memory, size_t first, size_t size)
{
    size_t all_first, all_size;
    cl_mem root = covered(memory, &all_first, &all_size);
    bool part = memory->type == CL_MEM_OBJECT_BUFFER; /* an image's pixels lie anywhere in it */
    enter();
    int error = push(e, root, part ? all_first + first : all_first, part ? size : all_size);
    leave();
    return error;
}

void pen_hostptr_wrote_here(cl_mem memory, size_t first, size_t reach)
{
    if (!pen_hostptr_is(memory))
        return;
    size_t base;
    cl_mem root = pen_memory_root(memory, &base);
    if (is_image(root))
        fetch_direct(root, 0, root->size);
    else
        fetch_direct(root, base + first, reach);
}

void pen_hostptr_after_sync(struct pen_session *session)
{
    if (!pen_hostptr_any() || inside)
        return;
    enter();
    PEN_LIST_EACH(node, next, &regions)
    {
        cl_mem root = PEN_CONTAINER(node, struct _cl_mem, in_host_ptrs);
        if (root->context->session == session && !pen_list_empty(&root->host_uses))
            fetch(root, false);
    }
    leave();
    pen_farewell_run(session);
}

int pen_hostptr_add(cl_mem memory)
{
    if (!memory->direct) {
        size_t reach = host_reach(memory);
        memory->host_shadow = malloc(reach);
        if (!memory->host_shadow) {
            memory->host_ptr = NULL;
            return -PEN_ENOMEM;
        }
        memcpy(memory->host_shadow, memory->host_ptr, reach);
    }
    enter();
    pen_list_append(&regions, &memory->in_host_ptrs);
    leave();
    atomic_fetch_add_explicit(&pen_hostptr_count, 1, memory_order_relaxed);
    return 0;
}

bool pen_hostptr_settled(cl_mem memory)
{
    enter();
    fetch(memory, false);
    bool settled = pen_list_empty(&memory->host_uses);
    leave();
    return settled;
}

void pen_hostptr_remove(cl_mem memory)
{
    if (memory->parent || !memory->host_ptr)
        return;
    enter();
    if (memory->direct)
        fetch(memory, true);
    PEN_LIST_EACH(node, next, &memory->host_uses)
    use_free(PEN_CONTAINER(node, struct use, link));
    pen_list_remove(&memory->in_host_ptrs);
    leave();
    atomic_fetch_sub_explicit(&pen_hostptr_count, 1, memory_order_relaxed);
    free(memory->host_shadow);
    memory->host_shadow = NULL;
    memory->host_ptr = NULL;
}

/* The parent's commands are the parent's to finish; its regions' session is gone in the child. */
void pen_hostptr_at_fork(enum pen_fork when)
{
    switch (when) {
    case PEN_FORK_PREPARE:
        pthread_mutex_lock(&regions_lock);
        break;
    case PEN_FORK_PARENT:
        pthread_mutex_unlock(&regions_lock);
        break;
    case PEN_FORK_CHILD:
        regions_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        break;
    }
}
