/* worker/session.c - a session's life: made, run, failed, ended; the dispatch loop; replies. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mem/box.h"
#include "net/unix.h"
#include "state/log.h"
#include "wire/arena.h"
#include "worker/remote.h"
#include "worker/work.h"

/* How long the end waits for drivers' callbacks, and how long one that leaves does (less than pen_trace_leave). */
#define END_WAIT_NS   UINT64_C(5000000000)
#define LEAVE_WAIT_NS 250000000u
/* Commands between two looks at what drivers have finished. */
#define REAP_EVERY 64u
/* Of these looks, between two at which what is due in an idle moment is done though none has come: a program may sleep
 * for one queue's last command while it fills the ring for another. */
#define IDLE_EVERY 16u

/* ---- failing, replying ------------------------------------------------------------------------------------------ */

void pen_work_reply_send(struct pen_work *work, const void *frame, size_t size)
{
    pen_outbox_send(&work->outbox, frame, size); /* a client that is gone is noticed by the watch */
}

bool pen_work_fail(struct pen_work *work, int code, const char *format, ...)
{
    _Alignas(8) unsigned char frame[1024];
    char text[512];
    if (work->failed)
        return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    work->failed = code;
    const struct pen_msg_fatal fatal = {.status = code, .message = text};
    pen_msg_fatal_encode(&fatal, 0, frame);
    pen_work_reply_send(work, frame, pen_msg_fatal_size(&fatal));
    pen_publish_gone(&work->view);
    return false;
}

bool pen_work_malformed(struct pen_work *work, uint16_t opcode, int code)
{
    const struct pen_message_info *info = pen_message_info(opcode);
    return pen_work_fail(work, code, "command %s (0x%04x): %s", info ? info->name : "unknown", opcode,
                         pen_error_text(code));
}

void *pen_work_reply_begin(struct pen_work *work, const char *name, size_t size)
{
    if (!size) {
        pen_work_fail(work, -PEN_ELIMIT, "an answer (%s) exceeds a limit of the protocol", name);
        return NULL;
    }
    return work->reply;
}

void pen_work_reply_data(struct pen_work *work, uint64_t sequence, int status, const void *bytes, uint64_t size,
                         bool empty)
{
    struct pen_msg_data data = {.status = status, .total = size};
    if (!size && !empty)
        return;
    do {
        uint64_t left = size - data.offset;
        data.part.data = (const unsigned char *)bytes + (bytes ? data.offset : 0);
        data.part.size = left < PEN_LIMIT_TEXT ? (uint32_t)left : PEN_LIMIT_TEXT;
        PEN_REPLY(work, data, &data, sequence);
        data.offset += data.part.size;
    } while (data.offset < size);
}

/* ---- made ------------------------------------------------------------------------------------------------------- */

static uint32_t reconnect_ms(const struct pen_remote *remote)
{
    return remote ? (uint32_t)(remote->reconnect_ns / 1000000) : 0;
}

static int send_opened(struct pen_work *work)
{
    _Alignas(8) unsigned char frame[256];
    const struct pen_remote *remote = work->config.remote;
    struct pen_msg_session_opened opened = {.session = work->config.session,
                                            .features = work->features,
                                            .ring_bytes = work->view.ring_bytes,
                                            .shared_bytes = work->view.shared_bytes,
                                            .arena_bytes = work->arena_bytes,
                                            .worker_pid = (uint32_t)getpid(),
                                            .reconnect_ms = reconnect_ms(remote)};
    const int fds[] = {work->shared_fd, work->arena_fd};
    if (remote)
        memcpy(opened.proof, remote->prover.proof, sizeof opened.proof);
    pen_msg_session_opened_encode(&opened, 0, frame);
    size_t size = pen_msg_session_opened_size(&opened);
    int rc = remote ? pen_remote_start(work->config.remote, frame, size)
                    : pen_unix_send(work->config.client_fd, frame, size, fds, 2, pen_deadline_ms(10000));
    explicit_bzero(&opened, sizeof opened);
    explicit_bzero(frame, sizeof frame);
    return rc;
}

int pen_work_memory_create(uint32_t ring_bytes, uint64_t arena_bytes, struct pen_work_memory *out_memory,
                           struct pen_error *error)
{
    struct pen_work_memory memory = {.shared_fd = -1, .arena_fd = -1};
    void *arena;
    arena_bytes = pen_arena_within_limit(arena_bytes);
    int rc = pen_shared_create(ring_bytes, &memory.shared_fd, &memory.view, error);
    if (rc)
        return rc;
    pen_ring_populate(&memory.view);
    if ((rc = pen_arena_create(arena_bytes, &memory.arena_fd, error)) ||
        (rc = pen_arena_map(memory.arena_fd, arena_bytes, &arena, error))) {
        pen_work_memory_finish(&memory);
        return rc;
    }
    memory.arena = arena;
    memory.arena_bytes = arena_bytes;
    *out_memory = memory;
    return 0;
}

void pen_work_memory_finish(struct pen_work_memory *memory)
{
    if (!memory->view.shared)
        return;
    pen_shared_unmap(&memory->view);
    if (memory->arena)
        pen_arena_unmap(memory->arena, memory->arena_bytes);
    close(memory->shared_fd);
    if (memory->arena_fd >= 0)
        close(memory->arena_fd);
    *memory = (struct pen_work_memory){0};
}

static void take_memory(struct pen_work *work, struct pen_work_memory *memory)
{
    work->shared_fd = memory->shared_fd;
    work->arena_fd = memory->arena_fd;
    work->view = memory->view;
    work->arena = memory->arena;
    work->arena_bytes = memory->arena_bytes;
    *memory = (struct pen_work_memory){0};
}

static uint32_t agreed_features(const struct pen_work_config *config)
{
    uint32_t features =
        config->features & (PEN_FEATURE_DIRECT | PEN_FEATURE_RECORD | PEN_FEATURE_REMOTE | PEN_FEATURE_LZ4);
    if (!config->log)
        features &= ~(uint32_t)PEN_FEATURE_RECORD;
    if (features & PEN_FEATURE_RECORD)
        features &= ~(uint32_t)PEN_FEATURE_DIRECT;
    return features;
}

static bool allowed(const struct pen_work_config *config, uint64_t device)
{
    for (uint32_t i = 0; i < config->allowed_count; i++)
        if (config->allowed[i] == device)
            return true;
    return false;
}

int pen_work_create(const struct pen_work_config *config, struct pen_work **out_work, struct pen_error *error)
{
    struct pen_work *work = calloc(1, sizeof *work);
    if (!work)
        return pen_fail(error, -PEN_ENOMEM, "out of memory for a session");
    work->config = *config;
    work->ops = config->ops;
    work->crash = config->crash;
    work->features = agreed_features(config);
    work->log = work->features & PEN_FEATURE_RECORD ? config->log : NULL;
    work->shared_fd = work->arena_fd = -1;
    work->trace_file = work->trace_end = -1;
    pen_list_init(&work->queue_list);
    pen_list_init(&work->touched);
    pen_list_init(&work->own_events);
    pen_list_init(&work->region_list);
    pen_list_init(&work->unsent);
    pen_list_init(&work->starved);
    pen_graph_init(&work->graph);
    pen_hazards_init(&work->hazards);
    int rc = pen_outbox_init(&work->outbox, config->client_fd);
    if (rc) {
        free(work);
        return pen_fail(error, rc, "starting a session: no descriptor for its outbox");
    }
    work->outbox.link = config->remote ? config->remote->link : NULL;
    work->wait_room = PEN_LIMIT_WAITS + 1; /* a write also for its bytes */
    work->waits = malloc(work->wait_room * sizeof(struct pen_work_task *));
    work->reply = aligned_alloc(64, PEN_LIMIT_FRAME);
    take_memory(work, config->memory);
    if (!work->waits || !work->reply || pen_ring_reader_init(&work->ring, &work->view))
        rc = pen_fail(error, -PEN_ENOMEM, "out of memory for a session");
    for (uint32_t i = 0; i < config->offer_count && !rc; i++)
        if (allowed(config, i + 1) && (rc = pen_work_add_offer(work, i + 1, &config->offers[i])))
            pen_fail(error, rc, "%u devices are too many", config->offer_count);
    if (!rc && work->log && (rc = pen_trace_head(work, work->log)))
        pen_fail(error, rc, "the log cannot be written");
    if (!rc && (rc = send_opened(work)))
        pen_fail(error, rc, "the client is gone, or does not read");
    if (rc) {
        pen_work_destroy(work);
        return rc;
    }
    *out_work = work;
    return 0;
}

/* ---- run -------------------------------------------------------------------------------------------------------- */

/* rc of the log's writer: whoever asked for a record is told that it is not complete. */
static bool logged(struct pen_work *work, int rc)
{
    return !rc || pen_work_fail(work, rc, "the session's log cannot be written (is the disk full?)");
}

static bool record(struct pen_work *work, const void *frame, size_t size)
{
    struct pen_bulk bulk = {0};
    uint64_t bytes;
    if (pen_message_check(frame, size, &work->scratch) || pen_log_bulk_size(frame, size, &bytes))
        return true; /* its handler refuses it */
    if (bytes && (pen_arena_bulk(frame, size, &bulk) || !pen_arena_range_ok(work->arena_bytes, bulk.offset, bulk.size)))
        return true;
    return logged(work, pen_log_append(work->log, frame, size, bytes ? work->arena + bulk.offset : NULL, bytes));
}

bool pen_work_execute(struct pen_work *work, const void *frame, size_t size)
{
    const struct pen_frame_header *header = frame;
    uint16_t opcode = header->opcode;
    uint64_t sequence = header->sequence;
    if (sequence <= work->sequence)
        return pen_work_fail(work, -PEN_EPROTO, "command %llu comes after command %llu", (unsigned long long)sequence,
                             (unsigned long long)work->sequence);
    work->sequence = sequence;
    if (work->log && !record(work, frame, size))
        return false;
    pen_scratch_reset(&work->scratch);
    uint64_t commands = atomic_load_explicit(&work->crash->commands, memory_order_relaxed) + 1;
    atomic_store_explicit(&work->crash->commands, commands, memory_order_relaxed); /* dispatch alone writes both */
    atomic_store_explicit(&work->view.shared->commands, commands, memory_order_relaxed);
    switch (opcode >> 4) {
    case 0x012:
        return pen_work_program_command(work, opcode, frame, size, sequence);
    case 0x013:
        return pen_work_kernel_command(work, opcode, frame, size, sequence);
    case 0x020:
    case 0x021:
        return pen_work_queue_command(work, opcode, frame, size, sequence);
    default:
        return pen_work_object_command(work, opcode, frame, size, sequence);
    }
}

void pen_work_idle(struct pen_work *work)
{
    while (!pen_list_empty(&work->touched)) {
        struct pen_work_queue *queue = PEN_CONTAINER(work->touched.next, struct pen_work_queue, touched);
        pen_list_remove(&queue->touched);
        pen_task_track(queue);
        for (uint32_t i = 0; i < queue->lane_count; i++)
            work->ops->queue_flush(queue->lanes[i].backend);
    }
    if (work->log)
        logged(work, pen_log_flush(work->log));
    pen_trace_step(work);
}

static void wait_for_frames(struct pen_work *work)
{
    if (work->config.remote)
        pen_remote_idle(work->config.remote, work);
    else
        pen_ring_wait(&work->ring, work->config.spin_ns, UINT64_MAX);
}

void pen_work_kick(struct pen_work *work)
{
    pen_ring_kick(&work->ring);
    if (work->config.remote)
        pen_remote_kick(work->config.remote);
}

/* Commands come faster than their devices take them. What waits for room, or memory, alone waits for nothing that is in
 * the ring. */
static bool is_behind(const struct pen_work *work)
{
    return work->held_bytes > PEN_WORK_BACKLOG && (work->no_room || !pen_list_empty(&work->starved));
}

static void catch_up(struct pen_work *work)
{
    const struct timespec pause = {.tv_nsec = 50000};
    pen_work_idle(work);
    nanosleep(&pause, NULL);
    pen_task_reap(work);
    pen_build_collect(work);
}

int pen_work_run(struct pen_work *work)
{
    uint32_t since = 0, looks = 0;
    while (!work->failed && !atomic_load_explicit(&work->stop, memory_order_relaxed)) {
        const void *frame;
        size_t size;
        if (is_behind(work)) {
            catch_up(work);
            continue;
        }
        int rc = pen_ring_next(&work->ring, &frame, &size);
        if (rc < 0) {
            pen_work_fail(work, rc, "the ring holds no sound frame");
        } else if (rc) {
            work->last = !pen_ring_ready(&work->ring);
            pen_work_execute(work, frame, size);
            if (++since < REAP_EVERY && !work->last)
                continue;
            since = 0;
            pen_task_reap(work);
            pen_build_collect(work);
            if (++looks % IDLE_EVERY == 0)
                pen_work_idle(work);
        } else {
            pen_task_reap(work);
            pen_build_collect(work);
            pen_work_idle(work);
            pen_park_step(work);
            wait_for_frames(work);
        }
    }
    return work->failed;
}

void pen_work_stop(struct pen_work *work)
{
    atomic_store_explicit(&work->stop, true, memory_order_relaxed);
    pen_work_kick(work);
}

/* Until no driver's thread is in a callback of ours. */
static void wait_for_callbacks(const struct pen_work *work, uint64_t patience_ns)
{
    uint64_t deadline = pen_now_ns() + patience_ns;
    const struct timespec pause = {.tv_nsec = 100000};
    while (atomic_load_explicit(&work->callbacks, memory_order_acquire) && pen_now_ns() < deadline)
        nanosleep(&pause, NULL);
}

/* What a program has seen complete is still on its way here when its callback has not come back. */
void pen_work_leave(struct pen_work *work)
{
    work->ending = true;
    wait_for_callbacks(work, LEAVE_WAIT_NS);
    pen_task_reap(work);
    pen_trace_finish(work);
    atomic_store(&work->left, true);
}

/* ---- ended ----------------------------------------------------------------------------------------------- */

static void finish_queues(struct pen_work *work)
{
    PEN_LIST_EACH(node, next, &work->queue_list)
    {
        struct pen_work_queue *queue = PEN_CONTAINER(node, struct pen_work_queue, link);
        pen_task_last(queue);
        for (uint32_t i = 0; i < queue->lane_count; i++)
            work->ops->queue_finish(queue->lanes[i].backend);
    }
}

/* Until no driver's thread is in a callback of ours and every submitted task has come back. */
static void wait_for_drivers(struct pen_work *work)
{
    uint64_t deadline = pen_now_ns() + END_WAIT_NS;
    const struct timespec pause = {.tv_nsec = 100000};
    pen_task_reap(work);
    while (pen_task_running(work) && pen_now_ns() < deadline) {
        nanosleep(&pause, NULL);
        pen_task_reap(work);
    }
}

#define EACH_OBJECT(map_, unref_)                                                                                      \
    do {                                                                                                               \
        for (uint32_t i_ = 0; i_ < (map_)->capacity; i_++)                                                             \
            if ((map_)->entries[i_].key)                                                                               \
                unref_((map_)->entries[i_].value);                                                                     \
        pen_map_finish(map_);                                                                                          \
    } while (0)

static void free_device(struct pen_work_device *device)
{
    pen_spread_finish(device);
    pen_table_finish(&device->waiting);
    free(device->members);
    free(device);
}

static void free_objects(struct pen_work *work)
{
    EACH_OBJECT(&work->kernels, pen_kernel_unref);
    EACH_OBJECT(&work->programs, pen_program_unref);
    EACH_OBJECT(&work->samplers, pen_sampler_unref);
    EACH_OBJECT(&work->regions, pen_region_unuse);
    EACH_OBJECT(&work->queues, pen_queue_unref);
    for (uint32_t i = 0; i < work->domain_count; i++)
        if (work->domains[i]->transfer)
            pen_queue_unref(work->domains[i]->transfer);
    pen_unit_forget_all(work);
    pen_table_finish(&work->unplaced);
    free(work->options);
    pen_map_finish(&work->device_map);
    for (uint32_t i = 0; i < work->device_count; i++)
        free_device(work->devices[i]);
    for (uint32_t i = 0; i < work->domain_count; i++)
        free(work->domains[i]);
    while (work->partitions) {
        struct pen_work_partition *next = work->partitions->next;
        free(work->partitions);
        work->partitions = next;
    }
}

void pen_work_destroy(struct pen_work *work)
{
    if (!work)
        return;
    work->ending = true;
    pen_build_discard_all(work);
    finish_queues(work);
    wait_for_drivers(work);
    pen_task_discard_all(work);
    free_objects(work);
    wait_for_callbacks(work, END_WAIT_NS);
    pen_graph_finish(&work->graph);
    pen_hazards_finish(&work->hazards);
    pen_ring_reader_finish(&work->ring);
    pen_scratch_finish(&work->scratch);
    pen_shared_unmap(&work->view);
    if (work->arena)
        pen_arena_unmap(work->arena, work->arena_bytes);
    if (work->shared_fd >= 0)
        close(work->shared_fd);
    if (work->arena_fd >= 0)
        close(work->arena_fd);
    pen_outbox_finish(&work->outbox);
    pen_trace_finish(work);
    free(work->devices);
    free(work->waits);
    free(work->reply);
    free(work);
}
