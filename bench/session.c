/* See session.h. */
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/builder.h"

enum { QUEUE = 1, PROGRAM = 2, KERNEL = 10, REGION = 100 };
#define ARENA (UINT64_C(256) << 20)

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    exit(1);
}

/* ---- made ------------------------------------------------------------------------------------------------------ */

#define SEND(session_, name_, ...)                                                                                     \
    do {                                                                                                               \
        _Alignas(8) unsigned char frame_[512];                                                                         \
        const struct pen_msg_##name_ message_ = {__VA_ARGS__};                                                         \
        pen_msg_##name_##_encode(&message_, (session_)->work->sequence + 1, frame_);                                   \
        if (!pen_work_execute((session_)->work, frame_, pen_msg_##name_##_size(&message_)))                            \
            fail("the session has failed at " #name_);                                                                 \
    } while (0)

static void start(struct session *session)
{
    static const uint64_t allowed[] = {1};
    struct pen_error error = {0};
    struct pen_work_memory memory;
    for (uint32_t i = 0; i < INSTANT_DEVICES; i++) {
        session->devices[i] = instant_device(i, session->direct, session->direct);
        session->members[i] = &session->devices[i];
    }
    struct pen_offer offer = {
        .device = session->devices[0], .members = session->members, .member_count = INSTANT_DEVICES};
    offer.device.domain = NULL;
    if (pen_crash_create(&session->crash, &session->crash_fd) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, session->ends) ||
        pen_work_memory_create(PEN_RING_BYTES_MIN, ARENA, &memory, &error))
        fail("no memory for a session");
    const struct pen_work_config config = {.ops = &session->ops,
                                           .offers = &offer,
                                           .offer_count = 1,
                                           .allowed = allowed,
                                           .allowed_count = 1,
                                           .features = session->direct ? PEN_FEATURE_DIRECT : 0,
                                           .memory = &memory,
                                           .tmp_dir = "",
                                           .crash = session->crash,
                                           .client_fd = session->ends[0]};
    if (pen_work_create(&config, &session->work, &error))
        fail(error.message);
}

static void *find(const struct pen_map *map, uint64_t id)
{
    void *object = pen_map_get(map, id);
    if (!object)
        fail("an object was not made");
    return object;
}

static void make_kernels(struct session *session)
{
    struct pen_work *work = session->work;
    const uint64_t device = 1;
    SEND(session, program_create, .program = PROGRAM, .kind = PEN_PROGRAM_KIND_SOURCE, .text = {0, 1});
    SEND(session, program_build, .program = PROGRAM, .devices = &device, .devices_count = 1, .options = "");
    while (pen_builder_busy(work)) {
        usleep(50);
        pen_build_collect(work);
    }
    for (uint32_t i = 0; i < SHAPE_REGIONS; i++) {
        char name[] = "task1";
        name[4] = (char)(name[4] + (int)i);
        SEND(session, kernel_create, .kernel = KERNEL + i, .program = PROGRAM, .name = name);
        session->kernels[i] = find(&work->kernels, KERNEL + i);
    }
}

static void make_objects(struct session *session, uint32_t regions)
{
    SEND(session, queue_create, .queue = QUEUE, .device = 1);
    session->queue = find(&session->work->queues, QUEUE);
    uint32_t flags = PEN_REGION_FLAG_KERNEL_READS | PEN_REGION_FLAG_KERNEL_WRITES;
    flags |= session->direct ? PEN_REGION_FLAG_DIRECT : 0;
    session->regions = calloc(regions, sizeof(struct pen_work_region *));
    if (!session->regions)
        fail("no memory for the regions");
    for (uint32_t i = 0; i < regions; i++) {
        SEND(session, region_create, .region = REGION + i, .size = session->region_bytes,
             .arena_offset = session->region_bytes * (i + 1), .flags = flags, .initialized = 1);
        session->regions[i] = find(&session->work->regions, REGION + i);
    }
    make_kernels(session);
}

void session_start(struct session *session, uint32_t regions)
{
    start(session);
    make_objects(session, regions);
}

void session_stop(struct session *session, const struct shape *shape)
{
    if (atomic_load(&session->crash->failed) || atomic_load(&session->crash->launches) != shape->task_count)
        fail("not every task was carried out");
    pen_work_destroy(session->work);
    free(session->regions);
    munmap(session->crash, PEN_CRASH_BYTES);
    close(session->crash_fd);
    close(session->ends[0]);
    close(session->ends[1]);
}

/* ---- its tasks ------------------------------------------------------------------------------------------------- */

static void set_arguments(struct session *session, struct pen_work_kernel *kernel, const struct shape_task *task)
{
    for (uint32_t i = 0; i < task->count; i++) {
        struct pen_work_argument *argument = &kernel->arguments[i];
        struct pen_work_region *region = session->regions[task->regions[i]];
        if (argument->object)
            pen_region_unref(argument->object);
        pen_region_ref(region);
        argument->kind = PEN_ARGUMENT_KIND_REGION;
        argument->object = region;
        argument->version = kernel->version = ++session->work->version;
    }
}

void session_enqueue(struct session *session, const struct shape_task *task)
{
    struct pen_work *work = session->work;
    struct pen_work_kernel *kernel = session->kernels[task->count - 1];
    set_arguments(session, kernel, task);
    struct pen_work_command command; /* filled as commands_queue.c does */
    command.opcode = PEN_OP_LAUNCH;
    command.sequence = ++work->sequence;
    command.queue = session->queue;
    command.lane = NULL;
    command.order_from = UINT32_MAX;
    command.kept = false;
    command.held_bytes = 0;
    memset(&command.u.launch, 0, sizeof command.u.launch);
    command.u.launch.kernel = kernel;
    command.u.launch.arguments = kernel->arguments;
    command.u.launch.version = kernel->version;
    command.u.launch.dimensions = 1;
    command.u.launch.global[0] = 1;
    if (!pen_task_enqueue(work, &command, 0, 0, NULL, 0))
        fail("the session has failed");
}

bool session_is_busy(const struct session *session)
{
    return pen_task_flying(session->work) || session->work->graph.held;
}
