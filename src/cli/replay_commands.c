/* cli/replay_commands.c - each command of a log, sent again. See replay.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/replay.h"

/* Ids from here on are of our own events. */
#define OWN_EVENTS (UINT64_C(1) << 63)

/* ---- mapping ----------------------------------------------------------------------------------------- */

/* The pool's device for one of the log's: the same device, else the first of its class, else the first. */
static const struct pen_pool_device *choose_device(const struct pen_replay *replay, const struct pen_msg_device *wanted)
{
    const struct pen_pool_device *best = NULL;
    uint32_t best_score = 0;
    for (uint32_t i = 0; i < replay->pool->device_count; i++) {
        const struct pen_pool_device *device = &replay->pool->devices[i];
        uint32_t score = 1;
        score += device->info.class == wanted->class ? 2 : 0;
        score += !strcmp(device->info.vendor_name, wanted->vendor_name) ? 4 : 0;
        score += !strcmp(device->info.name, wanted->name) ? 8 : 0;
        if (score > best_score) {
            best = device;
            best_score = score;
        }
    }
    return best;
}

/* Ids made by device_partition are the log's own and stay. 0 stays 0. */
static uint64_t map_device(const struct pen_replay *replay, uint64_t id)
{
    const struct pen_pool_device *device = pen_map_get(&replay->devices, id ? id : UINT64_MAX);
    return device ? device->info.device : id;
}

/* The log uses slot number `logged` for a new event: one of ours for it. 0 stays 0. */
static int map_slot(struct pen_replay *replay, uint32_t logged, uint32_t *out_slot)
{
    int rc = 0;
    *out_slot = 0;
    if (!logged)
        return 0;
    struct pen_replay_slot *slot = pen_replay_slot_new(replay, &rc);
    if (rc)
        return rc;
    pen_replay_slot_unref(replay, pen_map_remove(&replay->slots, logged));
    rc = pen_map_set(&replay->slots, logged, slot);
    if (rc)
        pen_replay_slot_unref(replay, slot);
    else
        *out_slot = slot->slot;
    return rc;
}

/* ---- sending ----------------------------------------------------------------------------------------- */

/* Decodes the entry as message NAME into `m`, runs the statements that change it, sends it; `sequence` is then known.
 */
#define AGAIN(name_, ...)                                                                                              \
    do {                                                                                                               \
        struct pen_msg_##name_ m;                                                                                      \
        rc = pen_msg_##name_##_decode(entry->frame, entry->size, &replay->scratch, &m);                                \
        if (!rc)                                                                                                       \
            __VA_ARGS__;                                                                                               \
        if (!rc)                                                                                                       \
            rc = PEN_SEND(replay->session, name_, &m, &sequence);                                                      \
    } while (0)

/* `parent` is 0 for a region with contents of its own. */
static int region_map(struct pen_replay *replay, uint64_t id, uint64_t parent, uint64_t offset,
                      enum pen_region_kind kind, const struct pen_image_desc *image)
{
    const struct pen_replay_region *shared = parent ? pen_map_get(&replay->regions, parent) : NULL;
    struct pen_replay_region *region = calloc(1, sizeof *region);
    if (!region)
        return -PEN_ENOMEM;
    *region = (struct pen_replay_region){.offset = offset, .kind = kind, .root = shared ? shared->root : id};
    pen_list_init(&region->uses);
    if (image)
        region->image = *image;
    pen_replay_region_free(replay, pen_map_remove(&replay->regions, id));
    int rc = pen_map_set(&replay->regions, id, region);
    if (rc)
        free(region);
    return rc;
}

static int region_create(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence;
    int rc;
    AGAIN(region_create, {
        rc = pen_arena_alloc(replay->session, m.size, 64, &m.arena_offset);
        if (!rc && m.initialized && entry->bulk_size != m.size)
            rc = -PEN_EPROTO;
        if (!rc && m.initialized)
            memcpy(pen_arena_at(replay->session, m.arena_offset), entry->bulk, m.size);
        if (!rc)
            rc = region_map(replay, m.region, 0, m.arena_offset, m.kind, &m.image);
        if (!rc && m.initialized)
            pen_replay_define(replay, m.region);
    });
    return rc;
}

static int region_slice(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence;
    int rc;
    AGAIN(region_slice, rc = region_map(replay, m.region, m.parent, UINT64_MAX, PEN_REGION_KIND_BUFFER, NULL));
    return rc;
}

static int region_view(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence;
    int rc;
    AGAIN(region_view, rc = region_map(replay, m.region, m.parent, UINT64_MAX, m.kind, &m.image));
    return rc;
}

static int region_destroy(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence;
    uint32_t slot = 0;
    struct pen_replay_region *region = NULL;
    int rc;
    AGAIN(region_destroy, {
        region = pen_map_remove(&replay->regions, m.region);
        rc = region ? pen_slot_acquire(replay->session, NULL, &slot) : -PEN_EPROTO;
        m.slot = slot;
    });
    if (!rc && region->offset != UINT64_MAX)
        pen_arena_free_after(replay->session, region->offset, slot);
    else if (!rc)
        pen_slot_release(replay->session, slot);
    pen_replay_region_free(replay, region);
    return rc;
}

static int queue_create(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence;
    struct pen_replay_queue *queue = calloc(1, sizeof *queue);
    int rc = queue ? pen_queue_slot_acquire(replay->session, &queue->slot) : -PEN_ENOMEM;
    if (rc) {
        free(queue);
        return rc;
    }
    AGAIN(queue_create, {
        m.device = map_device(replay, m.device);
        m.slot = queue->slot;
        queue->in_order = !(m.flags & PEN_QUEUE_FLAG_OUT_OF_ORDER);
        free(pen_map_remove(&replay->queues, m.queue));
        rc = pen_map_set(&replay->queues, m.queue, queue);
    });
    return rc;
}

static int queue_destroy(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence;
    struct pen_replay_queue *queue = NULL;
    int rc;
    AGAIN(queue_destroy, queue = pen_map_remove(&replay->queues, m.queue));
    if (queue)
        pen_queue_slot_release(replay->session, queue->slot, queue->in_order ? queue->last : 0);
    free(queue);
    return rc;
}

/* ---- commands with an answer ------------------------------------------------------------------------- */

/* One frame that answers `sequence`. */
static int await(struct pen_replay *replay, uint64_t sequence, uint16_t wanted, void **out_frame, size_t *out_size)
{
    uint16_t opcode;
    int rc = pen_session_answer(replay->session, sequence, &opcode, out_frame, out_size);
    if (!rc && opcode != wanted) {
        free(*out_frame);
        rc = -PEN_EPROTO;
    }
    return rc;
}

static int await_any(struct pen_replay *replay, uint64_t sequence, uint16_t wanted)
{
    void *frame;
    size_t size;
    int rc = await(replay, sequence, wanted, &frame, &size);
    if (!rc)
        free(frame);
    return rc;
}

/* built, then the logs that it announces, then its kernels. */
static int await_build(struct pen_replay *replay, uint64_t sequence)
{
    void *frame;
    size_t size;
    struct pen_msg_built built;
    struct pen_scratch scratch = {0};
    int rc = await(replay, sequence, PEN_OP_BUILT, &frame, &size);
    if (rc)
        return rc;
    rc = pen_msg_built_decode(frame, size, &scratch, &built);
    if (!rc) {
        replay->counts.builds++;
        replay->counts.failed_builds += built.status != 0;
    }
    for (uint32_t i = 0; !rc && i < built.results_count; i++) {
        void *log = NULL;
        size_t log_size;
        if (built.results[i].log_bytes)
            rc = pen_session_answer_data(replay->session, sequence, &log, &log_size);
        free(log);
    }
    for (uint32_t i = 0; !rc && i < built.kernels; i++)
        rc = await_any(replay, sequence, PEN_OP_KERNEL_INFO);
    pen_scratch_finish(&scratch);
    free(frame);
    return rc;
}

static int program_build(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence = 0, devices[PEN_LIMIT_DEVICES];
    int rc;
    AGAIN(program_build, {
        for (uint32_t i = 0; i < m.devices_count; i++)
            devices[i] = map_device(replay, m.devices[i]);
        m.devices = devices;
    });
    return rc ? rc : await_build(replay, sequence);
}

static int program_binary(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence = 0;
    void *binary = NULL;
    size_t size;
    int rc;
    AGAIN(program_binary, m.device = map_device(replay, m.device));
    if (!rc)
        rc = pen_session_answer_data(replay->session, sequence, &binary, &size);
    free(binary);
    return rc == -PEN_EGONE ? rc : 0; /* that there is none may be what happened before, too */
}

static int device_partition(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence = 0;
    int rc;
    AGAIN(device_partition, m.parent = map_device(replay, m.parent));
    return rc ? rc : await_any(replay, sequence, PEN_OP_DEVICE_PARTITIONED);
}

static int kernel_query(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence = 0;
    int rc;
    AGAIN(kernel_query, m.device = map_device(replay, m.device));
    return rc ? rc : await_any(replay, sequence, PEN_OP_KERNEL_FACTS);
}

static int kernel_suggest(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence = 0;
    int rc;
    AGAIN(kernel_suggest, (void)m);
    return rc ? rc : await_any(replay, sequence, PEN_OP_KERNEL_FACTS);
}

/* ---- commands with bytes ----------------------------------------------------------------------------- */

/* The entry's bytes in our arena. */
static int staged(struct pen_replay *replay, const struct pen_log_entry *entry, struct pen_bulk *out_bulk)
{
    int rc = pen_replay_stage(replay, entry->bulk, entry->bulk_size, &out_bulk->offset);
    out_bulk->size = entry->bulk_size;
    return rc;
}

/* The fields that every queued command has, and its regions, of which it may change each. */
#define COMMAND(m_)               .queue = (m_).queue, .waits = (m_).waits, .waits_count = (m_).waits_count
#define CHANGES(regions_, count_) .regions = (regions_), .regions_count = (count_), .changes = true

/* An event of ours where the log has none: `slot` must tell when the command is complete. */
static int ensure_event(struct pen_replay *replay, uint32_t logged, uint64_t *event, uint32_t *slot,
                        struct pen_replay_slot **out_slot)
{
    int rc = 0;
    if (*event) {
        rc = map_slot(replay, logged, slot);
        *out_slot = rc ? NULL : pen_map_get(&replay->slots, logged);
        if (*out_slot)
            (*out_slot)->refs++;
        return rc ? rc : *out_slot ? 0 : -PEN_EPROTO;
    }
    *out_slot = pen_replay_slot_new(replay, &rc);
    if (!rc) {
        *event = replay->next_event++;
        *slot = (*out_slot)->slot;
    }
    return rc;
}

static int forget_event(struct pen_replay *replay, uint64_t event)
{
    uint64_t sequence;
    pen_replay_event_gone(replay, event);
    return PEN_SEND(replay->session, event_destroy, &(struct pen_msg_event_destroy){.event = event}, &sequence);
}

/* A queued command: what it comes after, and an event where the log has none but completion must be seen. */
static int begin(struct pen_replay *replay, struct pen_replay_command *command, uint64_t *event, uint32_t *slot)
{
    int rc = pen_replay_order(replay, command);
    if (rc || (!*event && !command->needs_slot))
        return rc;
    rc = ensure_event(replay, *slot, event, slot, &command->slot);
    command->event = *event;
    return rc;
}

/* It has been sent, unless `rc` says otherwise. */
static int end(struct pen_replay *replay, struct pen_replay_command *command, uint64_t sequence, int rc)
{
    if (!rc)
        rc = pen_replay_sent(replay, command, sequence);
    if (!rc && command->event >= OWN_EVENTS)
        rc = forget_event(replay, command->event);
    pen_replay_slot_unref(replay, command->slot);
    return rc;
}

static int write_again(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    struct pen_replay_transfer transfer = {0};
    struct pen_replay_command command = {0};
    uint64_t sequence = 0, region;
    int rc;
    AGAIN(write, {
        region = m.region;
        command = (struct pen_replay_command){COMMAND(m), CHANGES(&region, 1), .needs_slot = true};
        rc = begin(replay, &command, &m.event, &m.slot);
        if (!rc)
            rc = staged(replay, entry, &m.data);
        transfer.offset = m.data.offset;
        transfer.size = m.data.size;
    });
    transfer.slot = command.slot;
    if (!rc)
        rc = pen_replay_track(replay, &transfer);
    return end(replay, &command, sequence, rc);
}

static int read_again(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    struct pen_replay_transfer transfer = {.is_read = true, .sequence = entry->sequence};
    struct pen_replay_command command = {0};
    uint64_t sequence = 0, id;
    int rc;
    AGAIN(read, {
        const struct pen_replay_region *region = pen_map_get(&replay->regions, m.region);
        id = m.region;
        command = (struct pen_replay_command){COMMAND(m), .regions = &id, .regions_count = 1, .needs_slot = true};
        transfer.undefined = !pen_replay_defined(replay, id) || m.flags & PEN_READ_FLAG_CONTESTED;
        rc = region ? pen_replay_shape(region, &m, &transfer) : -PEN_EPROTO;
        if (!rc)
            rc = begin(replay, &command, &m.event, &m.slot);
        if (!rc)
            rc = pen_replay_stage(replay, NULL, m.arena_size, &m.arena_offset);
        transfer.offset = m.arena_offset;
        transfer.size = m.arena_size;
    });
    transfer.slot = command.slot;
    if (!rc)
        rc = pen_replay_track(replay, &transfer);
    replay->counts.reads += rc == 0;
    return end(replay, &command, sequence, rc);
}

/* Texts stay in the arena until the session ends: nothing says when the worker has copied one. */
static int program_create(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence;
    int rc;
    AGAIN(program_create, {
        rc = staged(replay, entry, &m.text);
        m.device = map_device(replay, m.device);
    });
    return rc;
}

static int program_header(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence;
    int rc;
    AGAIN(program_header, rc = staged(replay, entry, &m.text));
    return rc;
}

/* ---- events ------------------------------------------------------------------------------------------ */

static int event_create(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence;
    int rc;
    AGAIN(event_create, {
        rc = map_slot(replay, m.slot, &m.slot);
        if (!rc)
            rc = pen_replay_gate_opened(replay, m.event);
    });
    return rc;
}

static int event_set(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence;
    int rc;
    AGAIN(event_set, pen_replay_gate_set(replay, m.event));
    return rc;
}

/* One that nobody has set stays, without the program's name for it: what waits for it is failed at the log's end. */
static int event_destroy(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    struct pen_msg_event_destroy message;
    uint64_t sequence;
    int rc = pen_msg_event_destroy_decode(entry->frame, entry->size, &replay->scratch, &message);
    if (rc || pen_map_get(&replay->open_events, message.event))
        return rc;
    pen_replay_event_gone(replay, message.event);
    return PEN_SEND(replay->session, event_destroy, &message, &sequence);
}

/* Nobody will set them any more, and what waits for them would wait for ever. */
static int fail_open_events(struct pen_replay *replay)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < replay->open_events.capacity; i++) {
        uint64_t sequence;
        struct pen_msg_event_set message = {.event = replay->open_events.entries[i].key, .status = -PEN_EGONE};
        if (message.event)
            rc = PEN_SEND(replay->session, event_set, &message, &sequence);
    }
    pen_map_finish(&replay->open_events);
    return rc;
}

/* ---- entries ----------------------------------------------------------------------------------------- */

static int device_seen(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    struct pen_msg_device message;
    int rc = pen_msg_device_decode(entry->frame, entry->size, &replay->scratch, &message);
    if (rc)
        return rc;
    const struct pen_pool_device *device = choose_device(replay, &message);
    return device ? pen_map_set(&replay->devices, message.device, (void *)device) : -PEN_ENODEV;
}

static int digest_seen(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    struct pen_msg_read_digest message;
    int rc = pen_msg_read_digest_decode(entry->frame, entry->size, &replay->scratch, &message);
    return rc ? rc : pen_replay_compare(replay, entry->sequence, &message);
}

/* A command that is sent as it is; after a statement; and a queued one that uses these regions. */
#define PLAIN(NAME_, name_) CHANGED(NAME_, name_, (void)0)
#define CHANGED(NAME_, name_, change_)                                                                                 \
    case PEN_OP_##NAME_:                                                                                               \
        AGAIN(name_, change_);                                                                                         \
        return rc
#define QUEUED(NAME_, name_, ...)                                                                                      \
    case PEN_OP_##NAME_:                                                                                               \
        AGAIN(name_, {                                                                                                 \
            struct pen_replay_command command = {COMMAND(m), __VA_ARGS__};                                             \
            rc = begin(replay, &command, &m.event, &m.slot);                                                           \
            if (!rc)                                                                                                   \
                rc = PEN_SEND(replay->session, name_, &m, &sequence);                                                  \
            return end(replay, &command, sequence, rc);                                                                \
        });                                                                                                            \
        return rc

static const struct pen_replay_kernel *kernel_of(const struct pen_replay *replay, uint64_t id)
{
    static const struct pen_replay_kernel unknown;
    const struct pen_replay_kernel *kernel = pen_map_get(&replay->kernels, id);
    return kernel ? kernel : &unknown;
}

static int dispatch(struct pen_replay *replay, const struct pen_log_entry *entry)
{
    uint64_t sequence = 0;
    int rc;
    switch (entry->opcode) {
        PLAIN(SAMPLER_CREATE, sampler_create);
        PLAIN(SAMPLER_DESTROY, sampler_destroy);
        PLAIN(PROGRAM_DESTROY, program_destroy);
        PLAIN(PROGRAM_CONSTANT, program_constant);
        PLAIN(BUILD_OPTIONS, build_options);
        CHANGED(KERNEL_CREATE, kernel_create, rc = pen_replay_kernel_made(replay, m.kernel, 0));
        CHANGED(KERNEL_CLONE, kernel_clone, rc = pen_replay_kernel_made(replay, m.kernel, m.source));
        CHANGED(KERNEL_DESTROY, kernel_destroy, pen_replay_kernel_gone(replay, m.kernel));
        CHANGED(KERNEL_ARGUMENT, kernel_argument, pen_replay_kernel_argument(replay, &m));
        QUEUED(LAUNCH, launch, CHANGES(kernel_of(replay, m.kernel)->regions, kernel_of(replay, m.kernel)->count));
        QUEUED(COPY, copy, CHANGES(((const uint64_t[]){m.source, m.target}), 2));
        QUEUED(FILL, fill, CHANGES(&m.region, 1));
        QUEUED(MIGRATE, migrate, CHANGES(m.regions, m.regions_count));
        QUEUED(MARKER, marker, .marks = true);
        QUEUED(BARRIER, barrier, .marks = true, .blocks = true);
    case PEN_OP_QUEUE_CREATE:
        return queue_create(replay, entry);
    case PEN_OP_QUEUE_DESTROY:
        return queue_destroy(replay, entry);
    case PEN_OP_DEVICE_PARTITION:
        return device_partition(replay, entry);
    case PEN_OP_REGION_CREATE:
        return region_create(replay, entry);
    case PEN_OP_REGION_SLICE:
        return region_slice(replay, entry);
    case PEN_OP_REGION_VIEW:
        return region_view(replay, entry);
    case PEN_OP_REGION_DESTROY:
        return region_destroy(replay, entry);
    case PEN_OP_PROGRAM_CREATE:
        return program_create(replay, entry);
    case PEN_OP_PROGRAM_HEADER:
        return program_header(replay, entry);
    case PEN_OP_PROGRAM_BUILD:
        return program_build(replay, entry);
    case PEN_OP_PROGRAM_BINARY:
        return program_binary(replay, entry);
    case PEN_OP_KERNEL_QUERY:
        return kernel_query(replay, entry);
    case PEN_OP_KERNEL_SUGGEST:
        return kernel_suggest(replay, entry);
    case PEN_OP_EVENT_CREATE:
        return event_create(replay, entry);
    case PEN_OP_EVENT_SET:
        return event_set(replay, entry);
    case PEN_OP_EVENT_DESTROY:
        return event_destroy(replay, entry);
    case PEN_OP_WRITE:
        return write_again(replay, entry);
    case PEN_OP_READ:
        return read_again(replay, entry);
    default:
        return -PEN_EUNSUPPORTED;
    }
}

int pen_replay_entry(struct pen_replay *replay, const struct pen_log_entry *entry, struct pen_error *error)
{
    const struct pen_message_info *info = pen_message_info(entry->opcode);
    int rc;
    pen_scratch_reset(&replay->scratch);
    if (entry->opcode == PEN_OP_DEVICE)
        rc = device_seen(replay, entry);
    else if (entry->opcode == PEN_OP_READ_DIGEST)
        rc = digest_seen(replay, entry);
    else if (!info || info->direction != PEN_DIRECTION_COMMAND)
        return 0; /* what was said about the session, not what it did */
    else {
        rc = dispatch(replay, entry);
        replay->counts.commands += rc == 0;
    }
    if (rc == -PEN_EGONE)
        return pen_fail(error, rc, "the session was lost at command %" PRIu64 ": %s", entry->sequence,
                        pen_session_epitaph(replay->session));
    if (rc)
        return pen_fail(error, rc, "%s %" PRIu64 " (byte %" PRIu64 " of the log): %s", info ? info->name : "message",
                        entry->sequence, entry->file_offset, pen_error_text(rc));
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------------- */

void pen_replay_init(struct pen_replay *replay, struct pen_session *session, const struct pen_pool *pool)
{
    *replay = (struct pen_replay){.session = session, .pool = pool, .next_event = OWN_EVENTS};
    pen_list_init(&replay->transfers);
}

int pen_replay_drain(struct pen_replay *replay, struct pen_error *error)
{
    int rc = fail_open_events(replay);
    for (uint32_t i = 0; !rc && i < replay->queues.capacity; i++)
        if (replay->queues.entries[i].key)
            rc = pen_replay_wait_queue(replay, replay->queues.entries[i].key);
    if (!rc)
        rc = pen_session_alive(replay->session);
    if (!rc)
        pen_replay_settle_transfers(replay);
    pen_session_drain_output(replay->session);
    return rc ? pen_fail(error, rc, "the session was lost: %s", pen_session_epitaph(replay->session)) : 0;
}

void pen_replay_finish(struct pen_replay *replay)
{
    pen_replay_drop_transfers(replay);
    for (uint32_t i = 0; i < replay->slots.capacity; i++)
        pen_replay_slot_unref(replay, replay->slots.entries[i].value);
    for (uint32_t i = 0; i < replay->queues.capacity; i++)
        free(replay->queues.entries[i].value);
    for (uint32_t i = 0; i < replay->regions.capacity; i++)
        pen_replay_region_free(replay, replay->regions.entries[i].value);
    for (uint32_t i = 0; i < replay->kernels.capacity; i++)
        free(replay->kernels.entries[i].value);
    for (uint32_t i = 0; i < replay->held_events.capacity; i++)
        free(replay->held_events.entries[i].value);
    pen_map_finish(&replay->slots);
    pen_map_finish(&replay->queues);
    pen_map_finish(&replay->kernels);
    pen_map_finish(&replay->regions);
    pen_map_finish(&replay->devices);
    pen_map_finish(&replay->open_events);
    pen_map_finish(&replay->held_events);
    pen_scratch_finish(&replay->scratch);
}
