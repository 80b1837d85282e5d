/* worker/region.c - regions: their memory in each domain, and moving contents between replicas.
 * Model: architecture.md §6 rule 1; mem/residency.h. Direct regions have one storage, the arena range: nothing moves.
 */
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
    pen_hazard_forget(&region->work->hazards, &region->history);
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
    work->destroy_epoch++;
    if (region->root == region)
        atomic_fetch_sub_explicit(&work->crash->region_bytes, region->size, memory_order_relaxed);
    destroy_memories(region);
    region->memory_count = 0;
    if (region->parent)
        pen_region_unuse(region->parent);
    region->parent = region->root = NULL;
    pen_region_unref(region);
}

/* ---- memory in a domain ------------------------------------------------------------------------------------- */

int pen_region_memory(struct pen_work_region *region, struct pen_work_device *device, struct pen_backend_memory **out)
{
    struct pen_work *work = region->work;
    uint32_t at = device->domain->index;
    bool direct = region->flags & PEN_REGION_FLAG_DIRECT;
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

/* ---- moving contents ---------------------------------------------------------------------------------------- */

static int transfer_queue(struct pen_work *work, struct pen_work_domain *domain, struct pen_backend_queue **out)
{
    if (!domain->transfer) {
        int rc = work->ops->queue_create(domain->backend, 0, &(struct pen_backend_queue_desc){0}, &domain->transfer);
        if (rc)
            return rc;
    }
    *out = domain->transfer;
    return 0;
}

/* Waits for all that was submitted in the domain: a command there may be writing another part of the region. */
static int finish_domain(struct pen_work *work, const struct pen_work_domain *domain)
{
    PEN_LIST_EACH(node, next, &work->queue_list)
    {
        struct pen_work_queue *queue = PEN_CONTAINER(node, struct pen_work_queue, link);
        for (uint32_t i = 0; i < queue->lane_count; i++) {
            const struct pen_work_lane *lane = &queue->lanes[i];
            int rc = lane->device->domain == domain ? work->ops->queue_finish(lane->backend) : 0;
            if (rc)
                return rc;
        }
    }
    return 0;
}

static void describe_whole(struct pen_work_region *root, struct pen_backend_transfer *out)
{
    out->bytes = root->work->arena + root->arena_offset;
    if (root->kind == PEN_REGION_KIND_BUFFER) {
        out->extent[0] = root->size;
        out->extent[1] = out->extent[2] = 1;
        return;
    }
    pen_image_extent(root->kind, &root->image, out->extent);
    out->host.row_pitch = root->image.row_pitch;
    out->host.slice_pitch = root->image.slice_pitch;
}

/* Between the arena range and the memory in the device's domain; blocks. */
static int move(struct pen_work_region *root, struct pen_work_device *device, bool to_host)
{
    struct pen_work *work = root->work;
    struct pen_backend_transfer transfer = {0};
    struct pen_backend_queue *queue;
    int rc = pen_region_memory(root, device, &transfer.memory);
    if (rc || (rc = transfer_queue(work, device->domain, &queue)) || (rc = finish_domain(work, device->domain)))
        return rc;
    describe_whole(root, &transfer);
    const struct pen_backend_order order = {0};
    rc = to_host ? work->ops->read(queue, &transfer, &order) : work->ops->write(queue, &transfer, &order);
    if (!rc)
        rc = work->ops->queue_finish(queue);
    if (!rc)
        atomic_fetch_add_explicit(&work->crash->transfer_bytes, root->size, memory_order_relaxed);
    return rc;
}

static struct pen_work_device *device_in(struct pen_work *work, uint32_t domain)
{
    for (uint32_t i = 0; i < work->device_count; i++)
        if (work->devices[i]->domain && work->devices[i]->domain->index == domain)
            return work->devices[i];
    return NULL;
}

int pen_region_acquire(struct pen_work_region *region, struct pen_work_device *device, bool writes, bool overwrite)
{
    struct pen_work_region *root = region->root;
    uint32_t to = device->domain->index, from = 0;
    if (root->flags & PEN_REGION_FLAG_DIRECT)
        return 0;
    overwrite = overwrite && region == root;
    for (enum pen_move next; !overwrite && (next = pen_residency_next(&root->residency, to, &from));) {
        bool to_host = next == PEN_MOVE_TO_HOST;
        int rc = move(root, to_host ? device_in(root->work, from) : device, to_host);
        if (rc)
            return rc;
        pen_residency_copied(&root->residency, to_host ? PEN_REPLICA_HOST : to);
    }
    if (writes)
        pen_residency_written(&root->residency, to);
    else if (!root->residency.valid)
        pen_residency_copied(&root->residency, to); /* undefined contents are the same everywhere */
    return 0;
}
