/* worker/submit.c - commands given to the backend, kept while they are held, and freed. */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "state/log.h"
#include "worker/remote.h"
#include "worker/work.h"

/* A kept command has room for so many to wait for, at least: most have their place still to come, and wait then. */
#define WAITS 8u

/* ---- submission ------------------------------------------------------------------------------------------ */

static int submit_launch(struct pen_work_command *command, const struct pen_backend_order *order)
{
    const struct pen_work_lane *lane = command->lane;
    struct pen_work *work = command->queue->work;
    struct pen_work_kernel *kernel = command->u.launch.kernel;
    struct pen_backend_launch launch;
    int rc = pen_kernel_prepare(kernel, command->u.launch.arguments, command->u.launch.version, lane->device,
                                &launch.kernel);
    if (rc)
        return rc;
    launch.dimensions = command->u.launch.dimensions;
    memcpy(launch.offset, command->u.launch.offset, sizeof launch.offset);
    memcpy(launch.global, command->u.launch.global, sizeof launch.global);
    memcpy(launch.local, command->u.launch.local, sizeof launch.local);
    if (work->noted != kernel) {
        pen_crash_note(work->crash, kernel->name);
        work->noted = kernel;
    }
    uint64_t launches = atomic_load_explicit(&work->crash->launches, memory_order_relaxed);
    atomic_store_explicit(&work->crash->launches, launches + 1, memory_order_relaxed); /* dispatch alone writes it */
    return work->ops->launch(lane->backend, &launch, order);
}

static int submit_transfer(struct pen_work_command *command, const struct pen_backend_order *order)
{
    const struct pen_work_lane *lane = command->lane;
    struct pen_work *work = command->queue->work;
    bool write = command->opcode == PEN_OP_WRITE;
    struct pen_backend_transfer transfer = {.box = command->u.transfer.box,
                                            .host = command->u.transfer.host,
                                            .bytes = work->arena + command->u.transfer.arena_offset};
    memcpy(transfer.extent, command->u.transfer.extent, sizeof transfer.extent);
    int rc = pen_region_memory(command->u.transfer.region, lane->device, &transfer.memory);
    if (rc)
        return rc;
    return write ? work->ops->write(lane->backend, &transfer, order) : work->ops->read(lane->backend, &transfer, order);
}

static int submit_copy(struct pen_work_command *command, const struct pen_backend_order *order)
{
    const struct pen_work_lane *lane = command->lane;
    struct pen_work *work = command->queue->work;
    struct pen_backend_copy copy = {.source_box = command->u.copy.source_box, .target_box = command->u.copy.target_box};
    memcpy(copy.extent, command->u.copy.extent, sizeof copy.extent);
    int rc = pen_region_memory(command->u.copy.source, lane->device, &copy.source);
    if (!rc)
        rc = pen_region_memory(command->u.copy.target, lane->device, &copy.target);
    return rc ? rc : work->ops->copy(lane->backend, &copy, order);
}

static int submit_fill(struct pen_work_command *command, const struct pen_backend_order *order)
{
    const struct pen_work_lane *lane = command->lane;
    struct pen_work *work = command->queue->work;
    struct pen_backend_memory *memory;
    int rc = pen_region_memory(command->u.fill.region, lane->device, &memory);
    if (rc)
        return rc;
    return work->ops->fill(lane->backend, memory, command->u.fill.origin, command->u.fill.extent,
                           command->u.fill.pattern, command->u.fill.pattern_bytes, order);
}

int pen_command_submit(struct pen_work_command *command, const struct pen_backend_order *order)
{
    const struct pen_backend_ops *ops = command->queue->work->ops;
    switch (command->opcode) {
    case PEN_OP_LAUNCH:
        return submit_launch(command, order);
    case PEN_OP_WRITE:
    case PEN_OP_READ:
        return submit_transfer(command, order);
    case PEN_OP_COPY:
        return submit_copy(command, order);
    case PEN_OP_FILL:
        return submit_fill(command, order);
    case PEN_OP_MIGRATE: /* what it is for has been done when it was placed */
    case PEN_OP_MARKER:
        return ops->marker(command->lane->backend, order);
    default:
        return ops->barrier(command->lane->backend, order);
    }
}

/* ---- keeping --------------------------------------------------------------------------------------------- */

/* Takes a use of every region the command names; `release` gives them back. */
static void hold_regions(struct pen_work_command *command, bool release)
{
    void (*change)(struct pen_work_region *) = release ? pen_region_unuse : pen_region_use;
    switch (command->opcode) {
    case PEN_OP_WRITE:
    case PEN_OP_READ:
        change(command->u.transfer.region);
        break;
    case PEN_OP_COPY:
        change(command->u.copy.source);
        change(command->u.copy.target);
        break;
    case PEN_OP_FILL:
        change(command->u.fill.region);
        break;
    case PEN_OP_MIGRATE:
        for (uint32_t i = 0; i < command->u.migrate.count; i++)
            change(command->u.migrate.regions[i]);
        break;
    default:
        break;
    }
}

static int keep_launch(struct pen_work_command *command)
{
    size_t bytes = 0;
    int rc = 0;
    if (!command->u.launch.kernel->error)
        rc = pen_kernel_snapshot(command->u.launch.kernel, &command->u.launch.arguments, &bytes);
    if (rc)
        return rc;
    command->held_bytes += bytes;
    pen_kernel_ref(command->u.launch.kernel);
    return 0;
}

struct pen_work_command *pen_command_keep(const struct pen_work_command *command)
{
    struct pen_work_command *copy = malloc(sizeof *copy);
    if (!copy)
        return NULL;
    *copy = *command;
    copy->kept = true;
    copy->wait_room = command->wait_count > WAITS ? command->wait_count : WAITS;
    copy->waits = malloc(copy->wait_room * sizeof(struct pen_work_task *));
    copy->held_bytes = sizeof *copy + command->wait_count * sizeof(struct pen_work_task *);
    if (command->opcode == PEN_OP_MIGRATE) {
        size_t bytes = (command->u.migrate.count + 1) * sizeof(struct pen_work_region *);
        copy->u.migrate.regions = malloc(bytes);
        copy->held_bytes += bytes;
    }
    if (!copy->waits || (command->opcode == PEN_OP_MIGRATE && !copy->u.migrate.regions) ||
        (command->opcode == PEN_OP_LAUNCH && keep_launch(copy))) {
        if (command->opcode == PEN_OP_MIGRATE)
            free(copy->u.migrate.regions);
        free(copy->waits);
        free(copy);
        return NULL;
    }
    if (command->opcode == PEN_OP_MIGRATE)
        memcpy(copy->u.migrate.regions, command->u.migrate.regions,
               command->u.migrate.count * sizeof(struct pen_work_region *));
    for (uint32_t i = 0; i < command->wait_count; i++) {
        copy->waits[i] = command->waits[i];
        copy->waits[i]->refs++;
    }
    pen_queue_ref(copy->queue);
    hold_regions(copy, false);
    return copy;
}

int pen_command_add_wait(struct pen_work *work, struct pen_work_command *command, struct pen_work_task *wait)
{
    bool borrowed = command->waits == work->waits;
    uint32_t *room = borrowed ? &work->wait_room : &command->wait_room;
    if (command->wait_count == *room) {
        struct pen_work_task **more = realloc(command->waits, sizeof(struct pen_work_task *) * 2 * *room);
        if (!more)
            return -PEN_ENOMEM;
        *room *= 2;
        command->waits = more;
        if (borrowed)
            work->waits = more;
    }
    command->waits[command->wait_count++] = wait;
    if (command->kept)
        wait->refs++;
    return 0;
}

void pen_command_forget_waits(struct pen_work_command *command)
{
    while (command->wait_count)
        pen_task_unref(command->waits[--command->wait_count]);
}

void pen_command_free(struct pen_work_command *command)
{
    if (!command)
        return;
    if (command->opcode == PEN_OP_WRITE)
        pen_here_take_back(command);
    hold_regions(command, true);
    if (command->opcode == PEN_OP_LAUNCH) {
        if (!command->u.launch.kernel->error)
            pen_kernel_snapshot_free(command->u.launch.arguments, command->u.launch.kernel->argument_count);
        pen_kernel_unref(command->u.launch.kernel);
    } else if (command->opcode == PEN_OP_MIGRATE) {
        free(command->u.migrate.regions);
    }
    pen_command_forget_waits(command);
    free(command->waits);
    pen_queue_unref(command->queue);
    free(command);
}

/* ---- recording ------------------------------------------------------------------------------------------- */

static void record_digest(struct pen_work *work, const struct pen_work_command *command)
{
    const struct pen_work_region *region = command->u.transfer.region;
    const struct pen_box *host = &command->u.transfer.host;
    const uint64_t *extent = command->u.transfer.extent;
    uint64_t row = extent[0], step = host->row_pitch, slice_step = host->slice_pitch;
    if (region->kind != PEN_REGION_KIND_BUFFER)
        row *= region->image.element_bytes;
    if (!step)
        step = row;
    if (!slice_step)
        slice_step = step * extent[1];
    const unsigned char *bytes = work->arena + command->u.transfer.arena_offset + host->origin[0] +
                                 host->origin[1] * step + host->origin[2] * slice_step;
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    for (uint64_t z = 0; z < extent[2]; z++)
        for (uint64_t y = 0; y < extent[1]; y++)
            XXH3_128bits_update(&state, bytes + z * slice_step + y * step, row);
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    const struct pen_msg_read_digest digest = {
        .bytes = row * extent[1] * extent[2], .low = hash.low64, .high = hash.high64};
    _Alignas(8) unsigned char frame[64];
    pen_msg_read_digest_encode(&digest, command->sequence, frame);
    pen_log_append(work->log, frame, pen_msg_read_digest_size(&digest), NULL, 0);
}

void pen_command_deliver(struct pen_work *work, const struct pen_work_command *command)
{
    if (work->log)
        record_digest(work, command);
    if (work->config.remote)
        pen_remote_send_range(work->config.remote, command->u.transfer.arena_offset, command->u.transfer.arena_size);
}
