/* icd/hostptr.c - CL_MEM_USE_HOST_PTR: the regions, and what the others call. See hostptr.h. */
#include <stdlib.h>
#include <string.h>

#include "icd/hostptr.h"
#include "icd/service.h"

_Atomic uint32_t pen_hostptr_count; /* regions, and farewells (memory.c) to say; relaxed: a hint */

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

void pen_leavings_init(struct pen_leavings *leavings)
{
    pen_list_init(&leavings->uses);
    leavings->push_count = 0;
}

void pen_leavings_drop(struct pen_leavings *leavings)
{
    PEN_LIST_EACH(node, next, &leavings->uses)
    {
        struct pen_hostptr_use *use = PEN_CONTAINER(node, struct pen_hostptr_use, link);
        pen_unref(use->event);
        free(use);
    }
    for (unsigned i = 0; i < leavings->push_count; i++)
        (void)pen_release(leavings->pushes[i], PEN_MAGIC_EVENT, CL_INVALID_EVENT);
    pen_leavings_init(leavings);
}

void pen_leavings_add_push(cl_event push, struct pen_leavings *leavings)
{
    if (push)
        leavings->pushes[leavings->push_count++] = push;
}

void pen_leavings_add_use(struct pen_hostptr_use *use, struct pen_leavings *leavings)
{
    pen_list_remove(&use->link);
    pen_list_append(&leavings->uses, &use->link);
}

/* ---- ranges -------------------------------------------------------------------------------------------- */

bool pen_hostptr_is_image(cl_mem memory)
{
    return memory->type != CL_MEM_OBJECT_BUFFER;
}

struct pen_move pen_hostptr_move(cl_mem root, size_t first, size_t size, bool to_region)
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
    if (pen_hostptr_is_image(root)) {
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

size_t pen_hostptr_reach(cl_mem root)
{
    struct pen_move move = pen_hostptr_move(root, 0, root->size, true);
    size_t reach = 0;
    (void)pen_span_reach(&move.program_place, &move.span, &reach);
    return reach;
}

cl_mem pen_hostptr_covered(cl_mem memory, size_t *out_first, size_t *out_size)
{
    cl_mem root = pen_memory_root(memory, out_first);
    *out_size = memory->size;
    if (pen_hostptr_is_image(root)) {
        *out_first = 0;
        *out_size = root->size;
    }
    return root;
}

/* ---- what the others call ------------------------------------------------------------------------------ */

static void enter_in_turn(struct pen_home *home)
{
    pthread_mutex_lock(&home->sharing);
    while (home->fetching)
        pthread_cond_wait(&home->fetched, &home->sharing);
}

/* `newest`: the program's bytes are; otherwise what devices may have written is. `writes`: a use is noted. */
static int prepare(struct pen_enqueue *e, cl_mem root, size_t first, size_t size, bool newest, bool writes)
{
    struct pen_supplies supplies = {0};
    struct pen_leavings leavings;
    pen_leavings_init(&leavings);
    int error;
    do {
        pthread_mutex_lock(&root->context->home->sharing);
        error = newest || !pen_hostptr_may_be_newer(root, first, size)
                    ? pen_hostptr_push_range(e, root, first, size, &supplies, &leavings)
                    : 0;
        if (!error)
            error = pen_hostptr_await_push(e, root);
        if (!error && writes)
            error = pen_hostptr_use_add(e, root, first, size, &leavings);
        pthread_mutex_unlock(&root->context->home->sharing);
        pen_leavings_drop(&leavings);
    } while (error == PEN_PUSH_LACKING && (error = pen_supplies_get(&supplies, root->context, e->queue->device)) == 0);
    pen_supplies_drop(&supplies, root->context);
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
    cl_mem root = pen_hostptr_covered(memory, &first, &size);
    /* Where devices may have written, the program has not been told yet that it may look, let alone write. */
    return root->host_ptr ? prepare(e, root, first, size, false, writes) : 0;
}

int pen_hostptr_push(struct pen_enqueue *e, cl_mem memory, size_t first, size_t size)
{
    size_t all_first, all_size;
    cl_mem root = pen_hostptr_covered(memory, &all_first, &all_size);
    bool part = memory->type == CL_MEM_OBJECT_BUFFER; /* an image's pixels lie anywhere in it */
    return prepare(e, root, part ? all_first + first : all_first, part ? size : all_size, true, false);
}

void pen_hostptr_not_sent(cl_event event)
{
    if (!pen_hostptr_any())
        return;
    struct pen_home *home = event->context->home;
    struct pen_leavings leavings;
    pen_leavings_init(&leavings);
    enter_in_turn(home);
    PEN_LIST_EACH(region, next_region, &home->regions)
    PEN_LIST_EACH(node, next, &PEN_CONTAINER(region, struct _cl_mem, in_host_ptrs)->host_uses)
    {
        struct pen_hostptr_use *use = PEN_CONTAINER(node, struct pen_hostptr_use, link);
        if (use->event == event)
            pen_leavings_add_use(use, &leavings);
    }
    pthread_mutex_unlock(&home->sharing);
    pen_leavings_drop(&leavings);
}

void pen_hostptr_wrote_here(cl_mem memory, size_t first, size_t reach)
{
    if (!pen_hostptr_is(memory))
        return;
    size_t base;
    cl_mem root = pen_memory_root(memory, &base);
    if (pen_hostptr_is_image(root))
        pen_hostptr_fetch_direct(root, 0, root->size);
    else
        pen_hostptr_fetch_direct(root, base + first, reach);
}

void pen_hostptr_after_sync(cl_context context)
{
    if (!pen_hostptr_any())
        return;
    struct pen_home *home = context->home;
    struct pen_session *session = context->session;
    struct pen_list batch;
    struct pen_leavings leavings;
    pen_list_init(&batch);
    pen_leavings_init(&leavings);
    enter_in_turn(home);
    PEN_LIST_EACH(node, next, &home->regions)
    {
        cl_mem root = PEN_CONTAINER(node, struct _cl_mem, in_host_ptrs);
        if (root->context->session == session)
            pen_hostptr_collect(root, false, &batch, &leavings);
    }
    pen_hostptr_bring_back(home, &batch, &leavings);
    pthread_mutex_unlock(&home->sharing);
    pen_leavings_drop(&leavings);
    pen_farewell_run(session);
}

int pen_hostptr_add(cl_mem memory)
{
    if (!memory->direct) {
        size_t reach = pen_hostptr_reach(memory);
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
    struct pen_leavings leavings;
    pen_list_init(&batch);
    pen_leavings_init(&leavings);
    enter_in_turn(home);
    pen_hostptr_collect(memory, false, &batch, &leavings);
    pen_hostptr_bring_back(home, &batch, &leavings);
    bool settled = pen_list_empty(&memory->host_uses);
    pthread_mutex_unlock(&home->sharing);
    pen_leavings_drop(&leavings);
    return settled;
}

void pen_hostptr_remove(cl_mem memory)
{
    if (memory->parent || !memory->host_ptr)
        return;
    struct pen_home *home = memory->context->home;
    struct pen_list batch, taken;
    struct pen_leavings leavings;
    pen_list_init(&batch);
    pen_list_init(&taken);
    pen_leavings_init(&leavings);
    enter_in_turn(home);
    if (memory->direct) {
        pen_hostptr_collect(memory, true, &batch, &leavings);
        pen_hostptr_bring_back(home, &batch, &leavings);
    }
    PEN_LIST_EACH(node, next, &memory->host_uses)
    pen_leavings_add_use(PEN_CONTAINER(node, struct pen_hostptr_use, link), &leavings);
    pen_leavings_add_push(memory->host_push, &leavings);
    memory->host_push = NULL;
    pen_list_remove(&memory->in_host_ptrs);
    pen_lanes_take(memory->context, &taken);
    pthread_mutex_unlock(&home->sharing);
    pen_leavings_drop(&leavings);
    pen_lanes_drop(&taken);
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
