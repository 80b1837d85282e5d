/* worker/region.c - regions: their life, and their memory in each domain. Direct regions have one storage, the arena
 * range. */
#include <stdlib.h>
#include <sys/mman.h>

#include "mem/box.h"
#include "worker/work.h"

/* ---- life ------------------------------------------------------------------------------------------------- */

struct pen_work_region *pen_region_create(struct pen_work *work, uint64_t id)
{
    struct pen_work_region *region = calloc(1, sizeof *region);
    if (!region)
        return NULL;
    *region = (struct pen_work_region){.work = work, .id = id, .refs = 1, .uses = 1};
    region->root = region;
    pen_list_init(&region->copies);
    pen_list_append(&work->region_list, &region->link);
    return region;
}

void pen_region_ref(struct pen_work_region *region)
{
    region->refs++;
}

void pen_region_unref(struct pen_work_region *region)
{
    if (--region->refs)
        return;
    pen_move_forget(region);
    pen_residency_finish(&region->residency);
    free(region->memories);
    free(region);
}

void pen_region_use(struct pen_work_region *region)
{
    region->uses++;
}

/* Counts the drivers that still hold memory over an arena range. */
struct retirement {
    struct pen_work *work;
    uint64_t offset, bytes; /* of the arena, whose pages go back to the system; 0: none */
    uint32_t slot;
    _Atomic uint32_t left;
};

/* Any thread. */
static void retire(void *context)
{
    struct retirement *retirement = context;
    struct pen_work *work = retirement->work;
    /* acq_rel: what every driver did with the memory comes before the slot. */
    if (atomic_fetch_sub_explicit(&retirement->left, 1, memory_order_acq_rel) != 1)
        return;
    if (retirement->bytes) /* a hint */
        (void)madvise(work->arena + retirement->offset, retirement->bytes, MADV_REMOVE);
    pen_publish_event(&work->view, retirement->slot, PEN_STATE_COMPLETE, false);
    pen_publish_wake(&work->view);
    free(retirement);
    atomic_fetch_sub_explicit(&work->callbacks, 1, memory_order_release);
}

static void destroy_memories(struct pen_work_region *region)
{
    struct pen_work *work = region->work;
    struct retirement *retirement = malloc(sizeof *retirement);
    if (!retirement) {
        /* The client keeps the range for good: safe, and the only thing left to do. */
        for (uint32_t i = 0; i < region->memory_count; i++)
            if (region->memories[i])
                work->ops->memory_destroy(region->memories[i], NULL, NULL);
        return;
    }
    *retirement = (struct retirement){.work = work, .slot = region->retire_slot, .left = 1};
    /* A program on another host has an arena of its own, and gives back the pages of that. */
    if (work->config.remote && region->root == region && region->size >= PEN_ARENA_HUGE) {
        retirement->offset = region->arena_offset;
        retirement->bytes = region->size & ~(PEN_ARENA_HUGE - 1);
    }
    atomic_fetch_add_explicit(&work->callbacks, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < region->memory_count; i++) {
        if (!region->memories[i])
            continue;
        atomic_fetch_add_explicit(&retirement->left, 1, memory_order_relaxed);
        work->ops->memory_destroy(region->memories[i], retire, retirement);
    }
    retire(retirement);
}

void pen_region_unuse(struct pen_work_region *region)
{
    if (--region->uses)
        return;
    struct pen_work *work = region->work;
    pen_list_remove(&region->link);
    work->destroy_epoch++;
    if (region->root == region)
        atomic_fetch_sub_explicit(&work->crash->region_bytes, region->size, memory_order_relaxed);
    destroy_memories(region);
    region->memory_count = 0;
    if (region->parent) {
        region->parent->children--;
        pen_region_unuse(region->parent);
    }
    region->parent = region->root = NULL;
    pen_region_unref(region);
}

/* ---- memory in a domain ------------------------------------------------------------------------------------- */

int pen_region_memory(struct pen_work_region *region, struct pen_work_device *device, struct pen_backend_memory **out)
{
    struct pen_work *work = region->work;
    uint32_t at = device->domain->index;
    bool direct = pen_region_is_direct(region);
    uint32_t needed =
        region->root->kind == PEN_REGION_KIND_BUFFER ? PEN_DEVICE_FLAG_DIRECT : PEN_DEVICE_FLAG_DIRECT_IMAGES;
    if (direct && !(device->backend->flags & needed))
        return -PEN_EINVAL; /* its only storage is memory that this device does not work in */
    if (at < region->memory_count && region->memories[at]) {
        *out = region->memories[at];
        return 0;
    }
    int rc = pen_work_grow(&region->memories, &region->memory_count, at);
    if (rc)
        return rc;
    struct pen_backend_memory_desc desc = {.kind = region->kind,
                                           .flags = region->flags,
                                           .size = region->size,
                                           .image = region->image,
                                           .parent_offset = region->parent_offset};
    if (direct)
        desc.host = work->arena + region->arena_offset;
    if (region->parent && (rc = pen_region_memory(region->parent, device, &desc.parent)))
        return rc;
    rc = work->ops->memory_create(device->domain->backend, &desc, &region->memories[at]);
    if (!rc)
        *out = region->memories[at];
    return rc;
}

struct replaced {
    struct pen_work *work;
    uint64_t bytes;
};

/* Any thread. */
static void replaced_is_gone(void *context)
{
    struct replaced *replaced = context;
    struct pen_work *work = replaced->work;
    /* Relaxed: a count. */
    atomic_fetch_sub_explicit(&work->replaced, replaced->bytes, memory_order_relaxed);
    free(replaced);
    atomic_fetch_sub_explicit(&work->callbacks, 1, memory_order_release);
}

bool pen_region_may_replace(const struct pen_work_region *region)
{
    /* Relaxed: dispatch alone adds to it. */
    uint64_t replaced = atomic_load_explicit(&region->work->replaced, memory_order_relaxed);
    return !region->children && replaced + region->size <= PEN_WORK_REPLACED;
}

int pen_region_replace(struct pen_work_region *region, struct pen_work_device *device)
{
    struct pen_work *work = region->work;
    uint32_t at = device->domain->index;
    struct pen_backend_memory *old, *memory;
    if (!pen_region_may_replace(region))
        return -PEN_ELIMIT;
    int rc = pen_region_memory(region, device, &old);
    if (rc)
        return rc;
    struct replaced *replaced = malloc(sizeof *replaced);
    if (!replaced)
        return -PEN_ENOMEM;
    region->memories[at] = NULL;
    rc = pen_region_memory(region, device, &memory);
    if (rc) {
        region->memories[at] = old;
        free(replaced);
        return rc;
    }
    *replaced = (struct replaced){work, region->size};
    atomic_fetch_add_explicit(&work->replaced, region->size, memory_order_relaxed);
    atomic_fetch_add_explicit(&work->callbacks, 1, memory_order_relaxed);
    work->ops->memory_destroy(old, replaced_is_gone, replaced);
    work->memory_epoch++;
    return 0;
}

static void drop_memory(struct pen_work_region *region, uint32_t at)
{
    if (at >= region->memory_count || !region->memories[at])
        return;
    region->work->ops->memory_destroy(region->memories[at], NULL, NULL);
    region->memories[at] = NULL;
}

void pen_region_leave(struct pen_work_region *root, uint32_t domain)
{
    struct pen_work *work = root->work;
    if (root->children)
        PEN_LIST_EACH(node, next, &work->region_list)
        {
            struct pen_work_region *region = PEN_CONTAINER(node, struct pen_work_region, link);
            if (region->root == root)
                drop_memory(region, domain);
        }
    drop_memory(root, domain);
    pen_residency_lost(&root->residency, 0, root->size, domain, 0, UINT64_MAX);
    work->memory_epoch++;
}

void pen_region_let_go(struct pen_work_region *region)
{
    struct pen_residency *residency = &region->root->residency;
    uint64_t size = region->root->size;
    if (pen_region_is_direct(region) || pen_residency_missing(residency, 0, size, PEN_REPLICA_HOST))
        return;
    for (uint32_t i = 0; i < region->memory_count; i++) {
        drop_memory(region, i);
        pen_residency_lost(residency, 0, size, i, 0, UINT64_MAX);
    }
}
