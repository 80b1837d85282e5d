/* worker/trace.c - what became of a session's commands, as entries of a log: which device each went to, behind what,
 * and when it ran. The log is the session's record, or the file of somebody who traces it as it runs, or both. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "net/unix.h"
#include "state/log.h"
#include "wire/futex.h"
#include "worker/work.h"

/* How long dispatch has to make log and trace whole when the process is about to end. */
#define LEAVE_NS 500000000u

/* ---- whom for ----------------------------------------------------------------------------------------------- */

int pen_trace_head(const struct pen_work *work, struct pen_log_writer *log)
{
    _Alignas(8) unsigned char frame[8192];
    const struct pen_msg_hello hello = {.major = PEN_PROTOCOL_MAJOR,
                                        .minor = PEN_PROTOCOL_MINOR,
                                        .pid = (uint32_t)getpid(),
                                        .name = work->config.program ? work->config.program : ""};
    pen_msg_hello_encode(&hello, 0, frame);
    int rc = pen_log_append(log, frame, pen_msg_hello_size(&hello), NULL, 0);
    for (uint32_t i = 0; i < work->device_count && !rc; i++) {
        const struct pen_backend_device *backend = work->devices[i]->backend;
        if (!work->devices[i]->id)
            continue; /* another spans it */
        const struct pen_msg_device device = {.device = work->devices[i]->id,
                                              .class = backend->class,
                                              .flags = backend->flags,
                                              .memory_bytes = backend->memory_bytes,
                                              .compute_units = backend->compute_units,
                                              .spans = work->devices[i]->domain ? 1 : work->devices[i]->member_count,
                                              .name = backend->vendor_name,
                                              .vendor_name = backend->vendor_name,
                                              .driver = backend->driver,
                                              .driver_version = backend->driver_version,
                                              .api = ""};
        pen_msg_device_encode(&device, 0, frame);
        rc = pen_log_append(log, frame, pen_msg_device_size(&device), NULL, 0);
    }
    return rc;
}

static int refuse(const struct pen_work *work, int connection, int code, const char *why)
{
    _Alignas(8) unsigned char frame[512];
    char text[256];
    snprintf(text, sizeof text, "session %llu is not traced: %s", (unsigned long long)work->config.session, why);
    const struct pen_msg_refused refused = {.status = code, .message = text};
    pen_msg_refused_encode(&refused, 0, frame);
    (void)pen_unix_send(connection, frame, pen_msg_refused_size(&refused), NULL, 0, 0); /* he is gone otherwise */
    return code;
}

int pen_trace_want(struct pen_work *work, int current, int connection)
{
    _Alignas(8) unsigned char frame[64];
    if (current >= 0 || atomic_load(&work->trace_end) >= 0)
        return refuse(work, connection, -PEN_EBUSY, "somebody traces it already, and one at a time may");
    int fd = memfd_create("penstock-trace", MFD_CLOEXEC);
    if (fd < 0)
        return refuse(work, connection, -PEN_ENOMEM, "its worker can make no file for it");
    const struct pen_msg_session_traced traced = {0};
    pen_msg_session_traced_encode(&traced, 0, frame);
    int rc = pen_unix_send(connection, frame, pen_msg_session_traced_size(&traced), &fd, 1, 0);
    if (rc) {
        close(fd);
        return rc;
    }
    atomic_store(&work->trace_file, fd);
    pen_work_kick(work);
    return 0;
}

void pen_trace_end(struct pen_work *work, int connection)
{
    int fd = atomic_exchange(&work->trace_file, -1);
    if (fd >= 0) { /* dispatch has not begun */
        close(fd);
        close(connection);
        return;
    }
    atomic_store(&work->trace_end, connection);
    pen_work_kick(work);
}

static void begin(struct pen_work *work, int fd)
{
    if (fd < 0)
        return; /* it is over */
    struct pen_log_writer *trace;
    work->traced_bytes = 0;
    if (pen_log_writer_create(fd, &trace)) {
        close(fd); /* an empty file says that there is no trace */
        return;
    }
    (void)pen_trace_head(work, trace);
    atomic_store(&work->trace, trace);
}

/* Its last entry says that it is whole. That, or anything before it, may be missing if there is no memory for it. */
static void finish(struct pen_work *work)
{
    _Alignas(8) unsigned char frame[64];
    const struct pen_msg_session_traced whole = {0};
    struct pen_log_writer *trace = atomic_load(&work->trace);
    if (!trace)
        return;
    pen_msg_session_traced_encode(&whole, 0, frame);
    (void)pen_log_append(trace, frame, pen_msg_session_traced_size(&whole), NULL, 0);
    (void)pen_log_flush(trace); /* before watch finds none */
    (void)pen_log_writer_destroy(atomic_exchange(&work->trace, NULL));
}

void pen_trace_step(struct pen_work *work)
{
    struct pen_log_writer *trace;
    if (atomic_load(&work->trace_file) >= 0)
        begin(work, atomic_exchange(&work->trace_file, -1));
    int connection = atomic_load(&work->trace_end);
    if (connection >= 0) {
        finish(work);
        close(connection);
        atomic_store(&work->trace_end, -1);
    } else if ((trace = atomic_load(&work->trace))) {
        (void)pen_log_flush(trace);
    }
}

void pen_trace_leave(struct pen_work *work)
{
    const struct timespec pause = {.tv_nsec = 100000};
    uint64_t deadline = pen_now_ns() + LEAVE_NS;
    pen_work_stop(work);
    while (!atomic_load(&work->left) && pen_now_ns() < deadline)
        nanosleep(&pause, NULL);
    struct pen_log_writer *trace = atomic_exchange(&work->trace, NULL); /* not freed: dispatch may be at it */
    if (trace)
        (void)pen_log_flush(trace);
}

void pen_trace_finish(struct pen_work *work)
{
    finish(work);
    int fds[] = {atomic_exchange(&work->trace_file, -1), atomic_exchange(&work->trace_end, -1)};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void append(struct pen_work *work, const void *frame, size_t size)
{
    if (work->log)
        pen_log_append(work->log, frame, size, NULL, 0);
    struct pen_log_writer *trace = atomic_load_explicit(&work->trace, memory_order_relaxed);
    if (!trace || work->traced_bytes + size > PEN_LIMIT_TRACE - PEN_LIMIT_FRAME) /* its first and its last are short */
        return;
    work->traced_bytes += size;
    pen_log_append(trace, frame, size, NULL, 0);
}

/* ---- commands ----------------------------------------------------------------------------------------------- */

static void add_edge(struct pen_work_task *task, uint64_t node, enum pen_edge why)
{
    if (task->after_count == PEN_LIMIT_EDGES)
        return;
    if (task->after_count == task->after_room) {
        uint32_t room = task->after_room ? 2 * task->after_room : 8;
        struct pen_predecessor *more = realloc(task->after, room * sizeof *more);
        if (!more)
            return; /* an arrow less */
        task->after = more;
        task->after_room = room;
    }
    task->after[task->after_count++] = (struct pen_predecessor){.node = node, .why = why};
}

void pen_trace_after(struct pen_work_task *task, const struct pen_work_task *before, enum pen_edge why)
{
    if (pen_is_traced(task->work) && before->queue && before->node.state != PEN_GRAPH_DONE)
        add_edge(task, before->sequence, why);
}

static bool is_after(const struct pen_work_task *task, uint64_t node)
{
    for (uint32_t i = 0; i < task->after_count; i++)
        if (task->after[i].node == node)
            return true;
    return false;
}

void pen_trace_met(const struct pen_work_command *command, struct pen_work_task *task,
                   const struct pen_work_task *before, enum pen_hazard_kind kind)
{
    enum pen_edge why = PEN_EDGE_WRITE_AFTER_WRITE;
    if (kind == PEN_HAZARD_WRITE_AFTER_READ)
        why = PEN_EDGE_WRITE_AFTER_READ;
    else if (kind == PEN_HAZARD_READ_AFTER_WRITE || command->opcode == PEN_OP_LAUNCH) /* it may read what it writes */
        why = PEN_EDGE_READ_AFTER_WRITE;
    pen_trace_after(task, before, why);
}

/* What the device is to wait for, and was not noted when the command was held or placed. */
static void note_waits(const struct pen_work_command *command, struct pen_work_task *task)
{
    for (uint32_t i = 0; i < command->wait_count; i++)
        if (!is_after(task, command->waits[i]->sequence))
            pen_trace_after(task, command->waits[i], i < command->order_from ? PEN_EDGE_WAIT : PEN_EDGE_BARRIER);
}

static const char *name_of(const struct pen_work_command *command, const struct pen_work_task *task)
{
    if (task->move)
        return "copy";
    return command->opcode == PEN_OP_LAUNCH ? command->u.launch.kernel->name : pen_message_info(command->opcode)->name;
}

/* Of a driver's queue that keeps the order by itself. */
static bool is_ordered(const struct pen_work_queue *queue)
{
    return queue->in_order && !pen_is_spread(queue) && queue != queue->lanes[0].device->domain->transfer;
}

/* ---- the order that such a queue keeps ----------------------------------------------------------------------- */

/* What one of them does with a root region. Each has its own: what another does comes neither before nor after, and
 * would take the place of what does (the rule of sched/hazard.h). */
struct pen_work_traced {
    const struct pen_work_queue *queue;
    struct pen_hazard_region history;
    struct pen_work_traced *next;
};

static void find(void *context, const struct pen_hazard_node *before)
{
    (void)before;
    *(bool *)context = true;
}

static bool is_over(const struct pen_work_traced *traced)
{
    bool found = false;
    pen_hazard_visit(&traced->history, 0, UINT64_MAX, PEN_HAZARD_WRITE, find, &found);
    return !found;
}

/* Whatever queue comes gets one in which all is over: there are no more than queues that were at the region at a time.
 * NULL: no memory. */
static struct pen_work_traced *traced_of(struct pen_work_region *root, const struct pen_work_queue *queue)
{
    struct pen_work_traced *traced = root->traced;
    while (traced && traced->queue != queue)
        traced = traced->next;
    if (traced)
        return traced;
    for (traced = root->traced; traced && !is_over(traced);)
        traced = traced->next;
    if (!traced && (traced = calloc(1, sizeof *traced))) {
        traced->next = root->traced;
        root->traced = traced;
    }
    if (traced)
        traced->queue = queue;
    return traced;
}

void pen_trace_forget(struct pen_work_region *root)
{
    while (root->traced) {
        struct pen_work_traced *traced = root->traced;
        root->traced = traced->next;
        pen_hazard_forget(&root->work->hazards, &traced->history);
        free(traced);
    }
}

struct noting {
    const struct pen_work_command *command;
    struct pen_work_task *task;
};

static int meet(void *context, struct pen_hazard_node *node, enum pen_hazard_kind kind)
{
    const struct noting *noting = context;
    const struct pen_work_task *before = PEN_CONTAINER(node, struct pen_work_task, traced_at);
    if (!is_after(noting->task, before->sequence))
        pen_trace_met(noting->command, noting->task, before, kind);
    return 0;
}

static uint32_t accesses_of(const struct pen_work_command *command, struct pen_access out[PEN_LIMIT_ARGUMENTS])
{
    return is_ordered(command->queue) ? pen_command_accesses(command, out) : 0;
}

/* What the data asks for: nobody waits for that. Other queues' commands come after what the program says, and no more.
 */
static void find_data(const struct pen_work_command *command, struct pen_work_task *task)
{
    struct noting noting = {command, task};
    struct pen_access accesses[PEN_LIMIT_ARGUMENTS];
    uint32_t count = accesses_of(command, accesses);
    if (count)
        task->traced_at.ticket = ++task->work->ticket;
    for (uint32_t i = 0; i < count; i++) {
        const struct pen_work_traced *traced = traced_of(accesses[i].root, command->queue);
        if (traced) /* without memory for it an arrow is missing */
            (void)pen_hazard_look(&traced->history, accesses[i].begin, accesses[i].end, accesses[i].mode,
                                  &task->traced_at, meet, &noting);
    }
}

/* It has been found already. */
static int pass(void *context, struct pen_hazard_node *node, enum pen_hazard_kind kind)
{
    (void)context, (void)node, (void)kind;
    return 0;
}

void pen_trace_accepted(const struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work *work = task->work;
    struct pen_access accesses[PEN_LIMIT_ARGUMENTS];
    uint32_t count = task->traced_at.ticket ? accesses_of(command, accesses) : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct pen_work_traced *traced = traced_of(accesses[i].root, command->queue);
        if (traced)
            (void)pen_hazard_access(&work->hazards, &traced->history, accesses[i].begin, accesses[i].end,
                                    accesses[i].mode, &task->traced_at, pass, NULL);
    }
}

static void note_order(struct pen_work_queue *queue, struct pen_work_task *task)
{
    if (is_ordered(queue) && queue->traced && !is_after(task, queue->traced))
        add_edge(task, queue->traced, PEN_EDGE_IN_ORDER);
    queue->traced = task->sequence;
}

static void set_device(const struct pen_work_device *device, struct pen_msg_placed *placed)
{
    placed->device = device->span ? device->span->id : device->id;
    while (device->span && device->span->members[placed->lane] != device)
        placed->lane++;
}

void pen_trace_placed(const struct pen_work_command *command, struct pen_work_task *task)
{
    struct pen_work *work = task->work;
    note_waits(command, task);
    find_data(command, task);
    note_order(command->queue, task);
    struct pen_msg_placed placed = {.node = command->sequence,
                                    .after = task->after,
                                    .after_count = task->after_count,
                                    .name = name_of(command, task)};
    set_device(command->lane->device, &placed);
    if (task->move) {
        placed.to_host = command->opcode == PEN_OP_READ;
        placed.region = command->u.transfer.region->id;
        placed.bytes = command->u.transfer.arena_size;
    }
    size_t size = pen_msg_placed_size(&placed);
    assert(size && size <= PEN_LIMIT_FRAME);
    pen_msg_placed_encode(&placed, command->sequence, work->reply);
    append(work, work->reply, size);
    task->ran = (struct pen_event_times){.submitted = pen_now_ns()};
    task->traced = true;
    free(task->after);
    task->after = NULL;
    task->after_count = task->after_room = 0;
}

void pen_trace_ended(struct pen_work_task *task, const struct pen_event_times *times)
{
    if (times)
        task->ran = *times;
    else
        task->ran.ended = pen_now_ns();
}

/* Of a driver that tells no times: a device has one command after the other. */
static bool observe(struct pen_work_task *task)
{
    struct pen_event_times *ran = &task->ran;
    uint64_t *last_end_ns = &task->lane->device->traced_end_ns;
    bool observed = !ran->started && ran->ended;
    if (observed)
        ran->started = ran->submitted > *last_end_ns ? ran->submitted : *last_end_ns;
    if (ran->started > ran->ended)
        ran->started = ran->ended;
    if (ran->ended > *last_end_ns)
        *last_end_ns = ran->ended;
    return observed;
}

void pen_trace_executed(struct pen_work_task *task)
{
    _Alignas(8) unsigned char frame[128];
    bool observed = observe(task);
    const struct pen_msg_executed executed = {.node = task->sequence,
                                              .status = task->node.status,
                                              .observed = observed,
                                              .submitted = task->ran.submitted,
                                              .started = task->ran.started,
                                              .ended = task->ran.ended};
    pen_msg_executed_encode(&executed, task->sequence, frame);
    append(task->work, frame, pen_msg_executed_size(&executed));
}
