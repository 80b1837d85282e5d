#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"
#include "icd/move.h"
#include "icd/service.h"

/* Compared and copied at a time: what differs is copied while it is in the cache. Bytes. */
#define CHUNK_BYTES (256u << 10)

/* A command that may write a range of a region (offsets in the program's range), not yet brought back. */
struct use {
    struct pen_list link; /* in its region's list, or of those that are to be freed */
    struct pen_list batch;
    cl_mem root;
    cl_event event; /* referenced */
    size_t first, size;
    bool fetched;
    _Atomic bool contested; /* a later use may be writing while this one is fetched; relaxed: for a log to tell */
};

/* A queue of our own, one for each context and device that need it: what moves between the program's range and devices
 * waits for nothing of the program's, which may have its own queues wait for what it does next. */
struct lane {
    struct pen_list link;
    cl_command_queue queue;
};

_Atomic uint32_t pen_hostptr_count; /* regions, and farewells (memory.c) to say; relaxed: a hint */

/* `sharing` of each pool guards: its regions, the uses of each, its host_push and host_resend, and lanes; of the range
 * of a use that is listed, the shadow is the fetching thread's. Held while commands are sent, never while one is waited
 * for or an object may end: what is to go is collected in struct leavings.
 *
 * `fetching`: a thread brings bytes back, without the lock; others wait for it, since they may not say that a command
 * is complete before its bytes are there. It calls nothing that takes a turn. */
static void init_sharing(struct pen_home *home)
{
    home->sharing = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    home->fetched = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    home->fetching = false;
}

void pen_home_init_hostptr(struct pen_home *home)
{
    init_sharing(home);
    pen_list_init(&home->regions);
    pen_list_init(&home->lanes);
}

/* ---- what goes once the lock is dropped ----------------------------------------------------------------- */

struct leavings {
    struct pen_list uses;
    cl_event pushes[2]; /* one found complete, one that another has taken the place of */
    unsigned push_count;
};

static void leavings_init(struct leavings *leavings)
{
    pen_list_init(&leavings->uses);
    leavings->push_count = 0;
}

static void leavings_drop(struct leavings *leavings)
{
    PEN_LIST_EACH(node, next, &leavings->uses)
    {
        struct use *use = PEN_CONTAINER(node, struct use, link);
        pen_unref(use->event);
        free(use);
    }
    for (unsigned i = 0; i < leavings->push_count; i++)
        (void)pen_release(leavings->pushes[i], PEN_MAGIC_EVENT, CL_INVALID_EVENT);
    leavings_init(leavings);
}

static void push_leave(cl_event push, struct leavings *leavings)
{
    if (push)
        leavings->pushes[leavings->push_count++] = push;
}

static void use_leave(struct use *use, struct leavings *leavings)
{
    pen_list_remove(&use->link);
    pen_list_append(&leavings->uses, &use->link);
}

/* ---- lanes --------------------------------------------------------------------------------------------- */

/* The caller holds `sharing`. */
static cl_command_queue lane_find(cl_context context, cl_device_id device)
{
    PEN_LIST_EACH(node, next, &context->home->lanes)
    {
        cl_command_queue queue = PEN_CONTAINER(node, struct lane, link)->queue;
        if (queue->context == context && queue->device == device)
            return queue;
    }
    return NULL;
}

static int lane_make(cl_context context, cl_device_id device)
{
    cl_int status;
    struct lane *lane = malloc(sizeof *lane);
    if (!lane)
        return -PEN_ENOMEM;
    lane->queue = pen_clCreateCommandQueue(context, device, 0, &status);
    if (!lane->queue) {
        free(lane);
        int gone = pen_session_alive(context->session);
        return gone ? gone : -PEN_ELIMIT;
    }
    pthread_mutex_lock(&context->home->sharing);
    bool late = lane_find(context, device) != NULL;
    if (!late)
        pen_list_append(&context->home->lanes, &lane->link);
    pthread_mutex_unlock(&context->home->sharing);
    if (late) {
        (void)pen_release(lane->queue, PEN_MAGIC_QUEUE, CL_INVALID_COMMAND_QUEUE);
        free(lane);
    }
    return 0;
}

/* Referenced; NULL: it cannot be had. */
static cl_command_queue lane_get(cl_context context, cl_device_id device)
{
    cl_command_queue queue;
    do {
        pthread_mutex_lock(&context->home->sharing);
        queue = lane_find(context, device);
        if (queue)
            pen_ref(queue);
        pthread_mutex_unlock(&context->home->sharing);
    } while (!queue && lane_make(context, device) == 0);
    return queue;
}

/* Those of a context that has no region any more; they hold it. The caller holds `sharing`. */
static void lanes_take(cl_context context, struct pen_list *out_taken)
{
    PEN_LIST_EACH(node, next, &context->home->regions)
    if (PEN_CONTAINER(node, struct _cl_mem, in_host_ptrs)->context == context)
        return;
    PEN_LIST_EACH(node, next, &context->home->lanes)
    {
        if (PEN_CONTAINER(node, struct lane, link)->queue->context != context)
            continue;
        pen_list_remove(node);
        pen_list_append(out_taken, node);
    }
}

static void lanes_drop(struct pen_list *taken)
{
    PEN_LIST_EACH(node, next, taken)
    {
        struct lane *lane = PEN_CONTAINER(node, struct lane, link);
        (void)pen_release(lane->queue, PEN_MAGIC_QUEUE, CL_INVALID_COMMAND_QUEUE);
        free(lane);
    }
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

/* Makes [first, first + size) of `to` equal to `from`. */
static void equalize(char *to, const char *from, size_t first, size_t size)
{
    for (size_t at = first; at < first + size; at += CHUNK_BYTES) {
        size_t chunk = first + size - at < CHUNK_BYTES ? first + size - at : CHUNK_BYTES;
        if (memcmp(to + at, from + at, chunk) != 0)
            memcpy(to + at, from + at, chunk);
    }
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
        equalize(contents, root->host_ptr, first, size);
        return;
    }
    struct pen_move move = range_move(root, 0, size, true);
    if (!pen_span_equal(contents, &move.region_place, root->host_ptr, &move.program_place, &move.span))
        pen_span_copy(contents, &move.region_place, root->host_ptr, &move.program_place, &move.span);
}

/* What a push needs and only may take under the lock: it is got without, since for the arena one may have to wait. */
struct supplies {
    uint64_t staging, staging_bytes; /* 0 bytes: none */
    uint64_t wanted_bytes;
    bool wants_lane;
};

#define LACKING 1 /* the push wants supplies: drop the lock, get them, and come again */

static int supplies_get(struct supplies *supplies, cl_context context, cl_device_id device)
{
    int error = supplies->wants_lane ? lane_make(context, device) : 0;
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

static void supplies_drop(struct supplies *supplies, cl_context context)
{
    if (supplies->staging_bytes)
        pen_arena_free(context->session, supplies->staging);
}

/* Forgets a push that is complete. What one that has failed should have sent, devices lack still. */
static void push_look(cl_mem root, struct leavings *leavings)
{
    if (!root->host_push)
        return;
    cl_int status = pen_event_peek(root->host_push);
    if (status > CL_COMPLETE)
        return;
    root->host_resend |= status < 0;
    push_leave(root->host_push, leavings);
    root->host_push = NULL;
}

/* Sends the bytes of `move` from the program's range; root->host_push is then their write. Takes the staging range. */
static int push_send(cl_command_queue lane, cl_mem root, const struct pen_move *move, struct supplies *supplies,
                     struct leavings *leavings)
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
    push_leave(error ? write.event : root->host_push, leavings);
    if (!error)
        root->host_push = write.event;
    return error;
}

/* Sends what has changed since it was last sent or fetched. */
static int push_indirect(struct pen_enqueue *e, cl_mem root, size_t first, size_t size, struct supplies *supplies,
                         struct leavings *leavings)
{
    push_look(root, leavings);
    bool all = is_image(root) || (root->host_resend && pen_list_empty(&root->host_uses));
    struct pen_move move = all ? range_move(root, 0, root->size, true) : range_move(root, first, size, true);
    size_t from = all ? 0 : first, reach = all ? host_reach(root) : size;
    const char *host = (const char *)root->host_ptr + from;
    char *shadow = (char *)root->host_shadow + from;
    if (!root->host_resend && memcmp(shadow, host, reach) == 0)
        return 0;
    cl_command_queue lane = lane_find(root->context, e->queue->device);
    supplies->wants_lane = !lane;
    supplies->wanted_bytes = pen_span_bytes(&move.span);
    if (!lane || supplies->staging_bytes < supplies->wanted_bytes)
        return LACKING;
    int error = push_send(lane, root, &move, supplies, leavings);
    if (error)
        return error;
    memcpy(shadow, host, reach);
    if (all)
        root->host_resend = false;
    return 0;
}

/* Devices see the program's bytes before the command of `e` runs. The caller holds `sharing`. */
static int push(struct pen_enqueue *e, cl_mem root, size_t first, size_t size, struct supplies *supplies,
                struct leavings *leavings)
{
    if (root->direct) {
        push_direct(root, first, size);
        return 0;
    }
    return push_indirect(e, root, first, size, supplies, leavings);
}

/* A push under way, whoever asked for it, comes before the command of `e`. The caller holds `sharing`. */
static int push_await(struct pen_enqueue *e, cl_mem root)
{
    if (!root->host_push || pen_event_peek(root->host_push) == CL_COMPLETE)
        return 0;
    return pen_enqueue_wait_for(e, root->host_push);
}

/* ---- devices to program -------------------------------------------------------------------------------- */

static bool use_done(const struct use *use)
{
    return pen_event_peek(use->event) <= CL_COMPLETE;
}

/* Are they ordered by their queue, and of one range? */
static bool alike(const struct use *a, const struct use *b)
{
    return a->event->queue == b->event->queue && a->event->queue->in_order && a->first == b->first &&
           a->size == b->size;
}

static bool use_sent(const struct use *use)
{
    return atomic_load_explicit(&use->event->sent, memory_order_acquire);
}

/* Of two that are alike, is the later one enough? It brings back what both wrote; but when only the first is complete
 * the program may look, unless it can learn of no command's end from the first to just before the second. */
static bool stands_for(const struct use *later, const struct use *use)
{
    if (!use_sent(use) || !use_sent(later) || use->event->sequence > later->event->sequence)
        return false;
    return later->event->told < use->event->sequence || use_done(later);
}

/* Forgets the one before `use` that it stands for. */
static void use_merge(struct use *use, struct leavings *leavings)
{
    for (struct pen_list *node = use->link.prev; node != &use->root->host_uses; node = node->prev) {
        struct use *before = PEN_CONTAINER(node, struct use, link);
        if (!alike(before, use))
            continue;
        if (stands_for(use, before))
            use_leave(before, leavings);
        return;
    }
}

/* Forgets uses that later ones stand for: among the oldest, as commands complete, and the last but one, once the last
 * command is sent. The caller holds `sharing`; nobody is fetching. */
static void uses_merge(cl_mem root, struct leavings *leavings)
{
    if (!pen_list_empty(&root->host_uses))
        use_merge(PEN_CONTAINER(root->host_uses.prev, struct use, link), leavings);
    PEN_LIST_EACH(node, next, &root->host_uses)
    {
        struct use *use = PEN_CONTAINER(node, struct use, link);
        use_merge(use, leavings);
        if (!use_done(use))
            return;
    }
}

static bool overlap(const struct use *use, size_t first, size_t size)
{
    return pen_range_overlap(use->first, use->size, first, size);
}

/* A command that may write there comes while bytes are fetched. */
static void contest(cl_mem root, size_t first, size_t size)
{
    PEN_LIST_EACH(node, next, &root->host_uses)
    {
        struct use *use = PEN_CONTAINER(node, struct use, link);
        if (overlap(use, first, size))
            atomic_store_explicit(&use->contested, true, memory_order_relaxed);
    }
}

static bool is_contested(const struct use *use)
{
    for (const struct pen_list *node = use->link.next; node != &use->root->host_uses; node = node->next) {
        const struct use *later = PEN_CONTAINER(node, const struct use, link);
        if (!use_done(later) && overlap(use, later->first, later->size))
            return true;
    }
    return false;
}

/* The caller holds `sharing`. The command has an event. */
static int use_add(struct pen_enqueue *e, cl_mem root, size_t first, size_t size, struct leavings *leavings)
{
    if (!root->context->home->fetching)
        uses_merge(root, leavings);
    else
        contest(root, first, size);
    struct use *use = malloc(sizeof *use);
    if (!use)
        return -PEN_ENOMEM;
    pen_ref(e->event);
    *use = (struct use){.root = root, .event = e->event, .first = first, .size = size};
    pen_list_append(&root->host_uses, &use->link);
    return 0;
}

static void fetch_direct(cl_mem root, size_t first, size_t size)
{
    if (pen_session_alive(root->context->session)) /* lost, or the parent's: what is in the arena is not ours to see */
        return;
    struct pen_move move = range_move(root, first, size, false);
    pen_span_copy(root->host_ptr, &move.program_place, pen_memory_at(root), &move.region_place, &move.span);
}

/* True when the bytes are in the program's range, and are to be noted as what devices have. */
static bool fetch_indirect(const struct use *use)
{
    struct pen_move move = range_move(use->root, use->first, use->size, false);
    cl_command_queue lane = lane_get(use->root->context, use->event->queue->device);
    if (!lane)
        return false;
    move.contested = atomic_load_explicit(&use->contested, memory_order_relaxed);
    int error = pen_move_fetch(lane, &move, use->event);
    pen_unref(lane);
    return error == 0;
}

/* Whether the bytes of `use` have been fetched for a later one of the batch. Uses of one region follow each other. */
static bool fetched_for_later(const struct use *use, const struct pen_list *batch)
{
    for (const struct pen_list *node = use->batch.next; node != batch; node = node->next) {
        const struct use *later = PEN_CONTAINER(node, const struct use, batch);
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
        struct use *use = PEN_CONTAINER(node, struct use, batch);
        if (fetched_for_later(use, batch))
            continue;
        if (use->root->direct)
            fetch_direct(use->root, use->first, use->size);
        use->fetched = use->root->direct || fetch_indirect(use);
    }
}

/* Notes what commands that are complete may have written; `all`: whether complete or not. The caller holds `sharing`
 * and has its turn. */
static void collect(cl_mem root, bool all, struct pen_list *batch, struct leavings *leavings)
{
    uses_merge(root, leavings);
    PEN_LIST_EACH(node, next, &root->host_uses)
    {
        struct use *use = PEN_CONTAINER(node, struct use, link);
        if (!all && !use_done(use))
            continue;
        atomic_store_explicit(&use->contested, is_contested(use), memory_order_relaxed);
        pen_list_append(batch, &use->batch);
    }
}

static void enter_in_turn(struct pen_home *home)
{
    pthread_mutex_lock(&home->sharing);
    while (home->fetching)
        pthread_cond_wait(&home->fetched, &home->sharing);
}

/* Brings back what has been collected. The lock is dropped meanwhile; the uses stay listed, so that nobody overwrites
 * what devices wrote. */
static void bring_back(struct pen_home *home, struct pen_list *batch, struct leavings *leavings)
{
    if (pen_list_empty(batch))
        return;
    home->fetching = true;
    pthread_mutex_unlock(&home->sharing);
    fetch(batch);
    pthread_mutex_lock(&home->sharing);
    PEN_LIST_EACH(node, next, batch)
    {
        struct use *use = PEN_CONTAINER(node, struct use, batch);
        cl_mem root = use->root;
        if (use->fetched && !root->direct) {
            size_t from = is_image(root) ? 0 : use->first, reach = is_image(root) ? host_reach(root) : use->size;
            memcpy((char *)root->host_shadow + from, (char *)root->host_ptr + from, reach);
        }
        use_leave(use, leavings);
    }
    home->fetching = false;
    pthread_cond_broadcast(&home->fetched);
}

/* ---- what the others call ------------------------------------------------------------------------------ */

static bool may_be_newer(cl_mem root, size_t first, size_t size)
{
    PEN_LIST_EACH(node, next, &root->host_uses)
    {
        struct use *use = PEN_CONTAINER(node, struct use, link);
        if (overlap(use, first, size))
            return true;
    }
    return false;
}

/* `newest`: the program's bytes are; otherwise what devices may have written is. `writes`: a use is noted. */
static int prepare(struct pen_enqueue *e, cl_mem root, size_t first, size_t size, bool newest, bool writes)
{
    struct supplies supplies = {0};
    struct leavings leavings;
    leavings_init(&leavings);
    int error;
    do {
        pthread_mutex_lock(&root->context->home->sharing);
        error = newest || !may_be_newer(root, first, size) ? push(e, root, first, size, &supplies, &leavings) : 0;
        if (!error)
            error = push_await(e, root);
        if (!error && writes)
            error = use_add(e, root, first, size, &leavings);
        pthread_mutex_unlock(&root->context->home->sharing);
        leavings_drop(&leavings);
    } while (error == LACKING && (error = supplies_get(&supplies, root->context, e->queue->device)) == 0);
    supplies_drop(&supplies, root->context);
    return error;
}

bool pen_hostptr_awaited(cl_context context)
{
    if (!pen_hostptr_any())
        return false;
    bool awaited = false;
    pthread_mutex_lock(&context->home->sharing);
    PEN_LIST_EACH(node, next, &context->home->regions)
    awaited |= !pen_list_empty(&PEN_CONTAINER(node, struct _cl_mem, in_host_ptrs)->host_uses);
    pthread_mutex_unlock(&context->home->sharing);
    return awaited;
}

int pen_hostptr_before_use(struct pen_enqueue *e, cl_mem memory, bool writes)
{
    if (!pen_hostptr_any() || !memory)
        return 0;
    size_t first, size;
    cl_mem root = covered(memory, &first, &size);
    /* Where devices may have written, the program has not been told yet that it may look, let alone write. */
    return root->host_ptr ? prepare(e, root, first, size, false, writes) : 0;
}

int pen_hostptr_push(struct pen_enqueue *e, cl_mem memory, size_t first, size_t size)
{
    size_t all_first, all_size;
    cl_mem root = covered(memory, &all_first, &all_size);
    bool part = memory->type == CL_MEM_OBJECT_BUFFER; /* an image's pixels lie anywhere in it */
    return prepare(e, root, part ? all_first + first : all_first, part ? size : all_size, true, false);
}

void pen_hostptr_not_sent(cl_event event)
{
    if (!pen_hostptr_any())
        return;
    struct pen_home *home = event->context->home;
    struct leavings leavings;
    leavings_init(&leavings);
    enter_in_turn(home);
    PEN_LIST_EACH(region, next_region, &home->regions)
    PEN_LIST_EACH(node, next, &PEN_CONTAINER(region, struct _cl_mem, in_host_ptrs)->host_uses)
    {
        struct use *use = PEN_CONTAINER(node, struct use, link);
        if (use->event == event)
            use_leave(use, &leavings);
    }
    pthread_mutex_unlock(&home->sharing);
    leavings_drop(&leavings);
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

void pen_hostptr_after_sync(cl_context context)
{
    if (!pen_hostptr_any())
        return;
    struct pen_home *home = context->home;
    struct pen_session *session = context->session;
    struct pen_list batch;
    struct leavings leavings;
    pen_list_init(&batch);
    leavings_init(&leavings);
    enter_in_turn(home);
    PEN_LIST_EACH(node, next, &home->regions)
    {
        cl_mem root = PEN_CONTAINER(node, struct _cl_mem, in_host_ptrs);
        if (root->context->session == session)
            collect(root, false, &batch, &leavings);
    }
    bring_back(home, &batch, &leavings);
    pthread_mutex_unlock(&home->sharing);
    leavings_drop(&leavings);
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
    struct pen_home *home = memory->context->home;
    pthread_mutex_lock(&home->sharing);
    pen_list_append(&home->regions, &memory->in_host_ptrs);
    pthread_mutex_unlock(&home->sharing);
    atomic_fetch_add_explicit(&pen_hostptr_count, 1, memory_order_relaxed);
    return 0;
}

bool pen_hostptr_settled(cl_mem memory)
{
    struct pen_home *home = memory->context->home;
    struct pen_list batch;
    struct leavings leavings;
    pen_list_init(&batch);
    leavings_init(&leavings);
    enter_in_turn(home);
    collect(memory, false, &batch, &leavings);
    bring_back(home, &batch, &leavings);
    bool settled = pen_list_empty(&memory->host_uses);
    pthread_mutex_unlock(&home->sharing);
    leavings_drop(&leavings);
    return settled;
}

void pen_hostptr_remove(cl_mem memory)
{
    if (memory->parent || !memory->host_ptr)
        return;
    struct pen_home *home = memory->context->home;
    struct pen_list batch, taken;
    struct leavings leavings;
    pen_list_init(&batch);
    pen_list_init(&taken);
    leavings_init(&leavings);
    enter_in_turn(home);
    if (memory->direct) {
        collect(memory, true, &batch, &leavings);
        bring_back(home, &batch, &leavings);
    }
    PEN_LIST_EACH(node, next, &memory->host_uses)
    use_leave(PEN_CONTAINER(node, struct use, link), &leavings);
    push_leave(memory->host_push, &leavings);
    memory->host_push = NULL;
    pen_list_remove(&memory->in_host_ptrs);
    lanes_take(memory->context, &taken);
    pthread_mutex_unlock(&home->sharing);
    leavings_drop(&leavings);
    lanes_drop(&taken);
    atomic_fetch_sub_explicit(&pen_hostptr_count, 1, memory_order_relaxed);
    free(memory->host_shadow);
    memory->host_shadow = NULL;
    memory->host_ptr = NULL;
}

/* How many pools' locks the forking thread has: handlers of fork take no argument. Guarded by farewell_lock, which it
 * has all the while. Another thread may load the platform meanwhile; then there are more pools than that. */
static uint32_t fork_has;

static void unlock_after_fork(struct pen_home *homes)
{
    while (fork_has)
        pthread_mutex_unlock(&homes[--fork_has].sharing);
}

bool pen_hostptr_before_fork(void)
{
    uint32_t count;
    struct pen_home *homes = pen_homes(&count);
    for (fork_has = 0; fork_has < count; fork_has++) {
        if (pthread_mutex_trylock(&homes[fork_has].sharing)) {
            unlock_after_fork(homes);
            return false;
        }
    }
    return true;
}

/* The parent's commands are the parent's to finish; its regions' session is gone in the child, and so is the thread
 * that was fetching. */
void pen_hostptr_after_fork(bool in_child)
{
    uint32_t count;
    struct pen_home *homes = pen_homes(&count);
    if (!in_child) {
        unlock_after_fork(homes);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        init_sharing(&homes[i]);
}
