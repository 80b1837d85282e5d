/* worker/commands_object.c - commands that make and end objects: queues, regions, samplers, events, parts of devices.
 */
#include <stdlib.h>
#include <string.h>

#include "mem/box.h"
#include "worker/work.h"

/* ---- queues ------------------------------------------------------------------------------------------------- */

static bool queue_create(struct pen_work *work, const struct pen_msg_queue_create *m)
{
    struct pen_work_device *device = pen_work_device(work, m->device);
    if (!device)
        return false;
    if (!pen_queue_slot_ok(m->slot))
        return pen_work_fail(work, -PEN_EPROTO, "queue_create with slot %u: limit QUEUES is %u", m->slot,
                             PEN_LIMIT_QUEUES);
    struct pen_work_queue *queue = NULL;
    int rc = pen_queue_create(work, device, m, &queue);
    if (rc)
        return pen_work_fail(work, rc, "device %s cannot make a queue with flags %u: %s", device->backend->vendor_name,
                             m->flags, pen_error_text(rc));
    if (pen_work_name(work, &work->queues, m->queue, queue, "queue"))
        return true;
    pen_queue_unref(queue);
    return false;
}

static bool queue_destroy(struct pen_work *work, const struct pen_msg_queue_destroy *m)
{
    struct pen_work_queue *queue = pen_work_unname(work, &work->queues, m->queue, "queue");
    if (!queue)
        return false;
    pen_task_track(queue);
    pen_queue_unref(queue);
    return true;
}

/* ---- parts of devices ------------------------------------------------------------------------------------------ */

static struct pen_work_partition *find_partition(struct pen_work *work, const struct pen_backend_device *parent,
                                                 const struct pen_backend_cut *cut)
{
    struct pen_work_partition *at = work->partitions;
    while (at && (at->parent != parent || at->domain != cut->domain || at->parts != cut->parts ||
                  memcmp(at->units, cut->units, cut->parts * sizeof *cut->units)))
        at = at->next;
    return at;
}

/* Asks the driver for nothing that would then be too much: what it makes stays until the session ends. */
static int make_partition(struct pen_work *work, const struct pen_backend_device *parent,
                          const struct pen_backend_cut *cut, struct pen_work_partition **out, struct pen_error *error)
{
    struct pen_work_partition *partition = find_partition(work, parent, cut);
    if (work->device_count + cut->parts > PEN_WORK_DEVICES || (!partition && work->domain_count == PEN_REPLICAS))
        return pen_fail(
            error, -PEN_ELIMIT,
            "more than %u devices or %u sets of parts in one session (limits PEN_WORK_DEVICES, PEN_REPLICAS)",
            PEN_WORK_DEVICES, PEN_REPLICAS);
    if (!partition) {
        partition = calloc(1, sizeof *partition);
        if (!partition)
            return pen_fail(error, -PEN_ENOMEM, "out of memory for parts of a device");
        int rc = work->ops->partition(parent, cut, partition->devices, error);
        if (rc) {
            free(partition);
            return rc;
        }
        partition->parent = parent;
        partition->domain = cut->domain;
        partition->parts = cut->parts;
        memcpy(partition->units, cut->units, cut->parts * sizeof *cut->units);
        partition->next = work->partitions;
        work->partitions = partition;
    }
    *out = partition;
    return 0;
}

static bool device_partition(struct pen_work *work, const struct pen_msg_device_partition *m, uint64_t sequence)
{
    struct pen_work_device *parent = pen_work_device(work, m->parent);
    struct pen_work_partition *partition = NULL;
    struct pen_work_device *part;
    struct pen_error error = {0};
    if (!parent)
        return false;
    if (parent->member_count)
        return pen_work_fail(work, -PEN_EPROTO, "device_partition of device %llu, which spans others",
                             (unsigned long long)m->parent);
    if (!m->parts_count || m->parts_count != m->part_units_count)
        return pen_work_fail(work, -PEN_EPROTO, "device_partition with %u parts and %u sizes", m->parts_count,
                             m->part_units_count);
    for (uint32_t i = 0; i < m->parts_count; i++)
        if (!m->parts[i] || pen_map_get(&work->device_map, m->parts[i]))
            return pen_work_fail(work, -PEN_EPROTO, "device_partition: id %llu is taken",
                                 (unsigned long long)m->parts[i]);
    const struct pen_backend_cut cut = {m->domain, m->parts_count, m->part_units};
    int rc = make_partition(work, parent->backend, &cut, &partition, &error);
    for (uint32_t i = 0; i < m->parts_count && !rc; i++) {
        rc = pen_work_add_device(work, m->parts[i], &partition->devices[i], &part);
        if (rc)
            pen_fail(&error, rc, "out of memory for parts of a device");
    }
    const struct pen_msg_device_partitioned reply = {.status = rc, .message = error.message};
    PEN_REPLY(work, device_partitioned, &reply, sequence);
    return !work->failed;
}

/* ---- regions --------------------------------------------------------------------------------------------- */

static bool fail_region(struct pen_work *work, uint64_t id, const char *what)
{
    return pen_work_fail(work, -PEN_EPROTO, "region %llu: %s", (unsigned long long)id, what);
}

static bool add_region(struct pen_work *work, struct pen_work_region *region)
{
    if (pen_work_name(work, &work->regions, region->id, region, "region"))
        return true;
    pen_region_unuse(region);
    return false;
}

static bool region_create(struct pen_work *work, const struct pen_msg_region_create *m)
{
    uint64_t bytes = 0;
    if (!m->size || !pen_arena_range_ok(work->arena_bytes, m->arena_offset, m->size) ||
        m->arena_offset % PEN_ARENA_GRAIN)
        return fail_region(work, m->region, "its arena range is empty, misaligned or outside the arena");
    if (m->kind == PEN_REGION_KIND_IMAGE1D_BUFFER)
        return fail_region(work, m->region, "a 1D image of a buffer is a view");
    if (m->kind != PEN_REGION_KIND_BUFFER && (pen_image_check(m->kind, &m->image, &bytes) || bytes > m->size))
        return fail_region(work, m->region, "its image's format, extent or pitches are not valid, or exceed its size");
    if ((m->flags & PEN_REGION_FLAG_DIRECT) && !(work->features & PEN_FEATURE_DIRECT))
        return fail_region(work, m->region, "direct, which was not agreed at session_open");
    struct pen_work_region *region = pen_region_create(work, m->region);
    if (!region)
        return pen_work_fail(work, -PEN_ENOMEM, "out of memory for a region");
    region->kind = m->kind;
    region->flags = m->flags;
    region->size = m->size;
    region->arena_offset = m->arena_offset;
    region->image = m->image;
    pen_residency_init(&region->residency, m->size);
    if (m->initialized)
        pen_residency_copied(&region->residency, 0, m->size, PEN_REPLICA_HOST);
    atomic_fetch_add_explicit(&work->crash->region_bytes, region->size, memory_order_relaxed);
    return add_region(work, region);
}

/* A region that shares the parent's contents. */
static struct pen_work_region *derive(struct pen_work *work, struct pen_work_region *parent, uint64_t id,
                                      uint32_t flags)
{
    if ((flags ^ parent->flags) & PEN_REGION_FLAG_DIRECT) {
        fail_region(work, id, "direct and its parent not, or the other way round");
        return NULL;
    }
    if (parent->depth == PEN_WORK_DEPTH) {
        pen_work_fail(work, -PEN_ELIMIT, "region %llu: a view of more than %u views (limit PEN_WORK_DEPTH)",
                      (unsigned long long)id, PEN_WORK_DEPTH);
        return NULL;
    }
    struct pen_work_region *region = pen_region_create(work, id);
    if (!region) {
        pen_work_fail(work, -PEN_ENOMEM, "out of memory for a region");
        return NULL;
    }
    region->depth = parent->depth + 1;
    region->flags = flags;
    region->arena_offset = parent->arena_offset;
    region->size = parent->size;
    region->parent = parent;
    parent->children++;
    region->root = parent->root;
    pen_region_use(parent);
    return region;
}

static bool region_slice(struct pen_work *work, const struct pen_msg_region_slice *m)
{
    struct pen_work_region *parent = pen_work_find(work, &work->regions, m->parent, "region");
    if (!parent)
        return false;
    if (parent->kind != PEN_REGION_KIND_BUFFER || parent->parent || !m->size ||
        !pen_range_within(m->offset, m->size, parent->size))
        return fail_region(work, m->region, "a slice of what is no whole buffer, empty, or beyond its end");
    struct pen_work_region *region = derive(work, parent, m->region, m->flags);
    if (!region)
        return false;
    region->kind = PEN_REGION_KIND_BUFFER;
    region->size = m->size;
    region->arena_offset += m->offset;
    region->parent_offset = m->offset;
    return add_region(work, region);
}

static bool region_view(struct pen_work *work, const struct pen_msg_region_view *m)
{
    struct pen_work_region *parent = pen_work_find(work, &work->regions, m->parent, "region");
    uint64_t bytes;
    if (!parent)
        return false;
    if (m->kind == PEN_REGION_KIND_BUFFER || pen_image_check(m->kind, &m->image, &bytes) || bytes > parent->size)
        return fail_region(work, m->region,
                           "its image's format, extent or pitches are not valid, or exceed its parent");
    struct pen_work_region *region = derive(work, parent, m->region, m->flags);
    if (!region)
        return false;
    region->kind = m->kind;
    region->image = m->image;
    return add_region(work, region);
}

static bool region_destroy(struct pen_work *work, const struct pen_msg_region_destroy *m)
{
    if (!pen_slot_ok(m->slot))
        return pen_work_fail(work, -PEN_EPROTO, "region_destroy with slot %u: limit SLOTS is %u", m->slot,
                             PEN_LIMIT_SLOTS);
    struct pen_work_region *region = pen_work_unname(work, &work->regions, m->region, "region");
    if (!region)
        return false;
    region->retire_slot = m->slot;
    pen_region_unuse(region);
    return true;
}

/* ---- samplers, events ------------------------------------------------------------------------------------ */

static bool sampler_create(struct pen_work *work, const struct pen_msg_sampler_create *m)
{
    struct pen_work_sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler)
        return pen_work_fail(work, -PEN_ENOMEM, "out of memory for a sampler");
    *sampler = (struct pen_work_sampler){.ops = work->ops, .refs = 1, .message = *m};
    if (pen_work_name(work, &work->samplers, m->sampler, sampler, "sampler"))
        return true;
    pen_sampler_unref(sampler);
    return false;
}

static bool sampler_destroy(struct pen_work *work, const struct pen_msg_sampler_destroy *m)
{
    struct pen_work_sampler *sampler = pen_work_unname(work, &work->samplers, m->sampler, "sampler");
    if (sampler)
        pen_sampler_unref(sampler);
    return sampler != NULL;
}

static bool event_create(struct pen_work *work, const struct pen_msg_event_create *m)
{
    if (!pen_slot_ok(m->slot))
        return pen_work_fail(work, -PEN_EPROTO, "event_create with slot %u: limit SLOTS is %u", m->slot,
                             PEN_LIMIT_SLOTS);
    return pen_task_event_create(work, m->event, m->slot);
}

/* ---- decoding -------------------------------------------------------------------------------------------- */

/* DECODED(name): 0 when the frame is a sound message `name`, now in m.name. */
#define DECODED(name_) (!(rc = pen_msg_##name_##_decode(frame, size, &work->scratch, &m.name_)))

bool pen_work_object_command(struct pen_work *work, uint16_t opcode, const void *frame, size_t size, uint64_t sequence)
{
    union {
        struct pen_msg_queue_create queue_create;
        struct pen_msg_queue_destroy queue_destroy;
        struct pen_msg_device_partition device_partition;
        struct pen_msg_region_create region_create;
        struct pen_msg_region_slice region_slice;
        struct pen_msg_region_view region_view;
        struct pen_msg_region_destroy region_destroy;
        struct pen_msg_sampler_create sampler_create;
        struct pen_msg_sampler_destroy sampler_destroy;
        struct pen_msg_event_create event_create;
        struct pen_msg_event_set event_set;
        struct pen_msg_event_destroy event_destroy;
    } m;
    int rc = -PEN_EPROTO;
    switch (opcode) {
    case PEN_OP_QUEUE_CREATE:
        return DECODED(queue_create) ? queue_create(work, &m.queue_create) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_QUEUE_DESTROY:
        return DECODED(queue_destroy) ? queue_destroy(work, &m.queue_destroy) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_DEVICE_PARTITION:
        return DECODED(device_partition) ? device_partition(work, &m.device_partition, sequence)
                                         : pen_work_malformed(work, opcode, rc);
    case PEN_OP_REGION_CREATE:
        return DECODED(region_create) ? region_create(work, &m.region_create) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_REGION_SLICE:
        return DECODED(region_slice) ? region_slice(work, &m.region_slice) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_REGION_VIEW:
        return DECODED(region_view) ? region_view(work, &m.region_view) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_REGION_DESTROY:
        return DECODED(region_destroy) ? region_destroy(work, &m.region_destroy) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_SAMPLER_CREATE:
        return DECODED(sampler_create) ? sampler_create(work, &m.sampler_create) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_SAMPLER_DESTROY:
        return DECODED(sampler_destroy) ? sampler_destroy(work, &m.sampler_destroy)
                                        : pen_work_malformed(work, opcode, rc);
    case PEN_OP_EVENT_CREATE:
        return DECODED(event_create) ? event_create(work, &m.event_create) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_EVENT_SET:
        return DECODED(event_set) ? pen_task_event_set(work, m.event_set.event, m.event_set.status)
                                  : pen_work_malformed(work, opcode, rc);
    case PEN_OP_EVENT_DESTROY:
        return DECODED(event_destroy) ? pen_task_event_destroy(work, m.event_destroy.event)
                                      : pen_work_malformed(work, opcode, rc);
    default:
        return pen_work_malformed(work, opcode, rc);
    }
}
