/* worker/commands_queue.c - queued commands: decoded, every field checked against what it names, handed to enqueue.c.
 */
#include <stdlib.h>
#include <string.h>

#include "mem/box.h"
#include "worker/work.h"

static bool fail_command(struct pen_work *work, uint16_t opcode, const char *what)
{
    return pen_work_fail(work, -PEN_EPROTO, "%s: %s", pen_message_info(opcode)->name, what);
}

static bool find_queue(struct pen_work *work, struct pen_work_command *command, uint64_t queue, uint64_t event,
                       uint32_t slot)
{
    command->queue = pen_work_find(work, &work->queues, queue, "queue");
    if (!command->queue)
        return false;
    command->lane = pen_is_spread(command->queue) ? NULL : &command->queue->lanes[0];
    if (!pen_slot_ok(slot) || (!event && slot))
        return fail_command(work, command->opcode, event ? "its slot is over limit SLOTS" : "a slot without an event");
    return true;
}

static struct pen_work_region *find_region(struct pen_work *work, uint64_t id)
{
    return pen_work_find(work, &work->regions, id, "region");
}

/* ---- launch ------------------------------------------------------------------------------------------------------ */

static bool launch(struct pen_work *work, struct pen_work_command *command, const struct pen_msg_launch *m)
{
    if (!find_queue(work, command, m->queue, m->event, m->slot))
        return false;
    struct pen_work_kernel *kernel = pen_work_find(work, &work->kernels, m->kernel, "kernel");
    if (!kernel)
        return false;
    if (!m->dimensions || m->dimensions > PEN_LIMIT_DIMENSIONS)
        return fail_command(work, command->opcode, "1 to 3 dimensions are allowed");
    for (uint32_t i = 0; i < m->dimensions; i++)
        if (m->local[0] && !m->local[i])
            return fail_command(work, command->opcode, "a work-group without extent");
    command->u.launch.kernel = kernel;
    command->u.launch.arguments = kernel->arguments;
    command->u.launch.version = kernel->version;
    command->u.launch.dimensions = m->dimensions;
    memcpy(command->u.launch.offset, m->offset, sizeof m->offset);
    memcpy(command->u.launch.global, m->global, sizeof m->global);
    memcpy(command->u.launch.local, m->local, sizeof m->local);
    return pen_task_enqueue(work, command, m->event, m->slot, m->waits, m->waits_count);
}

/* ---- write, read ----------------------------------------------------------------------------------------- */

static bool is_image(const struct pen_work_region *region)
{
    return region->kind != PEN_REGION_KIND_BUFFER;
}

/* The box lies in the region. *out_whole: it is all of it. */
static int check_box(const struct pen_work_region *region, const struct pen_box *box, const uint64_t extent[3],
                     bool *out_whole)
{
    uint64_t end;
    int rc;
    if (is_image(region)) {
        uint64_t whole[3];
        pen_image_extent(region->kind, &region->image, whole);
        *out_whole = !memcmp(extent, whole, sizeof whole); /* then the origin can only be 0 */
        return pen_box_in_image(region->kind, &region->image, box->origin, extent);
    }
    rc = pen_box_end(box, extent[0], extent[1], extent[2], &end);
    if (rc || end > region->size)
        return -PEN_EINVAL;
    *out_whole = extent[0] == region->size;
    return 0;
}

/* The host's side lies in an arena range of `size` bytes. */
static int check_host(const struct pen_work_region *region, struct pen_box *host, const uint64_t extent[3],
                      uint64_t size)
{
    uint64_t end;
    int rc = is_image(region) ? pen_box_of_image(region->kind, &region->image, extent, host, &end)
                              : pen_box_end(host, extent[0], extent[1], extent[2], &end);
    return rc || end > size ? -PEN_EINVAL : 0;
}

static bool transfer(struct pen_work *work, struct pen_work_command *command, uint64_t region_id,
                     const struct pen_box *box, const struct pen_box *host, const uint64_t extent[3],
                     uint64_t arena_offset, uint64_t arena_size)
{
    struct pen_work_region *region = find_region(work, region_id);
    if (!region)
        return false;
    if (!pen_arena_range_ok(work->arena_bytes, arena_offset, arena_size))
        return fail_command(work, command->opcode, "its arena range is outside the arena");
    command->u.transfer.region = region;
    command->u.transfer.box = *box;
    command->u.transfer.host = *host;
    memcpy(command->u.transfer.extent, extent, sizeof command->u.transfer.extent);
    command->u.transfer.arena_offset = arena_offset;
    command->u.transfer.arena_size = arena_size;
    command->u.transfer.lent = false;
    if (check_box(region, box, extent, &command->u.transfer.whole))
        return fail_command(work, command->opcode, "its box is empty or outside the region");
    if (check_host(region, &command->u.transfer.host, extent, arena_size))
        return fail_command(work, command->opcode, "its host side is outside its arena range");
    return true;
}

static bool write_region(struct pen_work *work, struct pen_work_command *command, const struct pen_msg_write *m)
{
    return find_queue(work, command, m->queue, m->event, m->slot) &&
           transfer(work, command, m->region, &m->box, &m->host, m->extent, m->data.offset, m->data.size) &&
           pen_task_enqueue(work, command, m->event, m->slot, m->waits, m->waits_count);
}

static bool read_region(struct pen_work *work, struct pen_work_command *command, const struct pen_msg_read *m)
{
    return find_queue(work, command, m->queue, m->event, m->slot) &&
           transfer(work, command, m->region, &m->box, &m->host, m->extent, m->arena_offset, m->arena_size) &&
           pen_task_enqueue(work, command, m->event, m->slot, m->waits, m->waits_count);
}

/* ---- copy, fill ------------------------------------------------------------------------------------------ */

/* The buffer's side of a copy between a buffer and an image: pixels without gaps. */
static int check_pixels(const struct pen_work_region *buffer, const struct pen_work_region *image,
                        const struct pen_box *box, const uint64_t extent[3])
{
    uint64_t bytes = image->image.element_bytes;
    for (int i = 0; i < 3; i++)
        if (!pen_multiply(bytes, extent[i], &bytes))
            return -PEN_EINVAL;
    return bytes && pen_range_within(box->origin[0], bytes, buffer->size) ? 0 : -PEN_EINVAL;
}

static bool copy(struct pen_work *work, struct pen_work_command *command, const struct pen_msg_copy *m)
{
    if (!find_queue(work, command, m->queue, m->event, m->slot))
        return false;
    struct pen_work_region *source = find_region(work, m->source);
    struct pen_work_region *target = source ? find_region(work, m->target) : NULL;
    bool ignored;
    if (!target)
        return false;
    command->u.copy.source = source;
    command->u.copy.target = target;
    command->u.copy.source_box = m->source_box;
    command->u.copy.target_box = m->target_box;
    memcpy(command->u.copy.extent, m->extent, sizeof m->extent);
    command->u.copy.whole = false;
    int rc = is_image(target) && !is_image(source) ? check_pixels(source, target, &m->source_box, m->extent)
                                                   : check_box(source, &m->source_box, m->extent, &ignored);
    if (!rc)
        rc = is_image(source) && !is_image(target)
                 ? check_pixels(target, source, &m->target_box, m->extent)
                 : check_box(target, &m->target_box, m->extent, &command->u.copy.whole);
    if (rc)
        return fail_command(work, command->opcode, "a box is empty or outside its region");
    if (is_image(source) && is_image(target) && source->image.element_bytes != target->image.element_bytes)
        return fail_command(work, command->opcode, "images of unlike formats");
    return pen_task_enqueue(work, command, m->event, m->slot, m->waits, m->waits_count);
}

static bool fill(struct pen_work *work, struct pen_work_command *command, const struct pen_msg_fill *m)
{
    if (!find_queue(work, command, m->queue, m->event, m->slot))
        return false;
    struct pen_work_region *region = find_region(work, m->region);
    uint32_t bytes = m->pattern.size;
    struct pen_box box = {0};
    if (!region)
        return false;
    memcpy(box.origin, m->origin, sizeof box.origin);
    if (check_box(region, &box, m->extent, &command->u.fill.whole))
        return fail_command(work, command->opcode, "its box is empty or outside the region");
    if (!bytes || bytes > PEN_LIMIT_PATTERN)
        return fail_command(work, command->opcode, "its pattern is empty or over limit PATTERN");
    if (is_image(region) ? bytes != 16 /* a colour, whatever the format (schema) */
                         : (bytes & (bytes - 1)) || m->origin[0] % bytes || m->extent[0] % bytes || m->origin[1] ||
                               m->origin[2] || m->extent[1] != 1 || m->extent[2] != 1)
        return fail_command(work, command->opcode, "its pattern does not fit the region or the range");
    command->u.fill.region = region;
    memcpy(command->u.fill.origin, m->origin, sizeof m->origin);
    memcpy(command->u.fill.extent, m->extent, sizeof m->extent);
    command->u.fill.pattern_bytes = bytes;
    memcpy(command->u.fill.pattern, m->pattern.data, bytes);
    return pen_task_enqueue(work, command, m->event, m->slot, m->waits, m->waits_count);
}

/* ---- migrate, marker, barrier ---------------------------------------------------------------------------- */

static bool migrate(struct pen_work *work, struct pen_work_command *command, const struct pen_msg_migrate *m)
{
    struct pen_work_region *regions[PEN_LIMIT_ARGUMENTS];
    if (!find_queue(work, command, m->queue, m->event, m->slot))
        return false;
    for (uint32_t i = 0; i < m->regions_count; i++)
        if (!(regions[i] = find_region(work, m->regions[i])))
            return false;
    command->u.migrate.regions = regions;
    command->u.migrate.count = m->regions_count;
    return pen_task_enqueue(work, command, m->event, m->slot, m->waits, m->waits_count);
}

static bool marker(struct pen_work *work, struct pen_work_command *command, const struct pen_msg_marker *m)
{
    return find_queue(work, command, m->queue, m->event, m->slot) &&
           pen_task_enqueue(work, command, m->event, m->slot, m->waits, m->waits_count);
}

static bool barrier(struct pen_work *work, struct pen_work_command *command, const struct pen_msg_barrier *m)
{
    return find_queue(work, command, m->queue, m->event, m->slot) &&
           pen_task_enqueue(work, command, m->event, m->slot, m->waits, m->waits_count);
}

bool pen_work_queue_command(struct pen_work *work, uint16_t opcode, const void *frame, size_t size, uint64_t sequence)
{
    union {
        struct pen_msg_launch launch;
        struct pen_msg_write write;
        struct pen_msg_read read;
        struct pen_msg_copy copy;
        struct pen_msg_fill fill;
        struct pen_msg_migrate migrate;
        struct pen_msg_marker marker;
        struct pen_msg_barrier barrier;
    } m;
    struct pen_work_command command;
    int rc = -PEN_EPROTO;
    command.opcode = opcode;
    command.sequence = sequence;
    command.held_bytes = 0;
    command.kept = false;
    command.order_from = UINT32_MAX;
#define DECODED(name_) (!(rc = pen_msg_##name_##_decode(frame, size, &work->scratch, &m.name_)))
    switch (opcode) {
    case PEN_OP_LAUNCH:
        return DECODED(launch) ? launch(work, &command, &m.launch) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_WRITE:
        return DECODED(write) ? write_region(work, &command, &m.write) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_READ:
        return DECODED(read) ? read_region(work, &command, &m.read) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_COPY:
        return DECODED(copy) ? copy(work, &command, &m.copy) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_FILL:
        return DECODED(fill) ? fill(work, &command, &m.fill) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_MIGRATE:
        return DECODED(migrate) ? migrate(work, &command, &m.migrate) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_MARKER:
        return DECODED(marker) ? marker(work, &command, &m.marker) : pen_work_malformed(work, opcode, rc);
    case PEN_OP_BARRIER:
        return DECODED(barrier) ? barrier(work, &command, &m.barrier) : pen_work_malformed(work, opcode, rc);
    default:
        return pen_work_malformed(work, opcode, rc);
    }
#undef DECODED
}
