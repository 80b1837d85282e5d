/* backend/fake.c - a deterministic device without any driver, for unit and scenario tests.
 *
 *   PENSTOCK_FAKE_DEVICES=n     how many devices (1)
 *   PENSTOCK_FAKE_DOMAINS=n     how many domains; each device is in the next one (1)
 *   PENSTOCK_FAKE_MEMORY=bytes  memory of each domain (268435456)
 *   PENSTOCK_FAKE_INDIRECT=1    not in host memory: its storage is its own, as with a discrete device
 *   PENSTOCK_FAKE_LAZY=1        commands begin when their queue is flushed, not before
 *   PENSTOCK_FAKE_SEED=n        commands take up to 200 us, overtake each other, and are told of as late, when others
 *                               that waited for them have begun; all by this seed (0: no)
 *   PENSTOCK_FAKE_SLOW=n        what the n-th device's queues read and write takes 100 ms more (0: none)
 *   PENSTOCK_FAKE_UNBUILT=n     builds for the n-th device fail (0: none)
 *   PENSTOCK_FAKE_LOAD=ms       a kernel's first launch on a device takes so much longer (0)
 *   PENSTOCK_FAKE_DEAF=1        commands do not wait for events: a driver's fault, for tests that must find it
 *   PENSTOCK_FAKE_FAIL=launch:3,write:1:late
 *                               the third launch is refused, the first write fails when it runs. Also: read copy fill
 *                               marker barrier memory queue program build kernel
 *
 * Each queue is a thread that runs one command at a time; waits are on the device side. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/fake.h"

#define JITTER_NS 200000
#define SLOW_NS   100000000
#define TOLD_LATE 4u /* one in so many */

/* ---- events and commands ------------------------------------------------------------------------------- */

struct pen_backend_event {
    uint32_t refs;
    bool ended;
    int status;
};

struct command {
    struct pen_list link;
    enum pen_fake_call call;
    struct pen_backend_event *event; /* always there: referenced */
    struct pen_backend_event **waits;
    uint32_t wait_count;
    bool alone; /* waits for all earlier commands of the queue, later ones wait for it */
    bool barrier;
    bool sent; /* it may begin */
    int fault; /* what it is to end with */
    pen_backend_done done;
    void *context;
    struct pen_event_times times;
    struct pen_backend_memory *held[2]; /* referenced */
    struct pen_fake_run run;
    bool loads;
    struct pen_fake_side from, to;
    uint64_t extent[3];
    size_t element_bytes;
    unsigned char pattern[128];
    size_t pattern_size;
};

struct pen_backend_queue {
    pthread_t thread;
    struct pen_list link;     /* of `queues`; with what follows guarded by pen_fake.lock */
    struct pen_list commands; /* not begun */
    pthread_cond_t changed;   /* a command came, was sent or is over, an event ended, the queue is to stop */
    bool running, stopping;
    bool in_order, profiling, slow;
    uint32_t device;
    uint64_t random;
};

static struct pen_list queues = {&queues, &queues};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* xorshift64 (Marsaglia, 2003) */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void unref_locked(struct pen_backend_event *event)
{
    if (event && --event->refs == 0)
        free(event);
}

static void fake_event_release(struct pen_backend_event *event)
{
    pthread_mutex_lock(&pen_fake.lock);
    unref_locked(event);
    pthread_mutex_unlock(&pen_fake.lock);
}

static void command_free(struct command *command)
{
    pthread_mutex_lock(&pen_fake.lock);
    for (uint32_t i = 0; i < command->wait_count; i++)
        unref_locked(command->waits[i]);
    unref_locked(command->event);
    pthread_mutex_unlock(&pen_fake.lock);
    for (uint32_t i = 0; i < PEN_FAKE_ARGUMENTS; i++)
        pen_fake_memory_unref(command->run.arguments[i].memory);
    pen_fake_memory_unref(command->held[0]);
    pen_fake_memory_unref(command->held[1]);
    free(command->waits);
    free(command);
}

/* A command to be filled in. A fault that is due makes it fail, here or when it runs. */
static int command_create(enum pen_fake_call call, const struct pen_backend_order *order, struct command **out)
{
    bool late;
    int rc = pen_fake_fault(call, &late);

    if (rc)
        return rc;
    struct command *command = calloc(1, sizeof *command);
    if (!command)
        return -PEN_ENOMEM;
    command->call = call;
    command->fault = late ? -PEN_EDEVRES : 0;
    command->done = order->done;
    command->context = order->context;
    command->event = calloc(1, sizeof *command->event);
    command->waits = calloc(order->wait_count + 1, sizeof *command->waits);
    if (!command->event || !command->waits) {
        free(command->event);
        free(command->waits);
        free(command);
        return -PEN_ENOMEM;
    }
    command->event->refs = 1;
    pthread_mutex_lock(&pen_fake.lock);
    for (; command->wait_count < order->wait_count; command->wait_count++) {
        command->waits[command->wait_count] = order->waits[command->wait_count];
        command->waits[command->wait_count]->refs++;
    }
    pthread_mutex_unlock(&pen_fake.lock);
    *out = command;
    return 0;
}

static void hold(struct command *command, struct pen_backend_memory *memory)
{
    pen_fake_memory_ref(memory);
    command->held[command->held[0] != NULL] = memory;
}

static int command_queue(struct pen_backend_queue *queue, struct command *command,
                         const struct pen_backend_order *order)
{
    command->times.queued = command->times.submitted = now_ns();
    pthread_mutex_lock(&pen_fake.lock);
    if (order->out_event) {
        command->event->refs++;
        *order->out_event = command->event;
    }
    command->sent = !pen_fake.lazy;
    pen_list_append(&queue->commands, &command->link);
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&pen_fake.lock);
    return 0;
}

static void send_locked(struct pen_backend_queue *queue)
{
    PEN_LIST_EACH(node, next, &queue->commands)
    PEN_CONTAINER(node, struct command, link)->sent = true;
    pthread_cond_broadcast(&queue->changed);
}

/* ---- queues' threads ----------------------------------------------------------------------------------- */

static void repeat(struct command *command)
{
    for (uint64_t z = 0; z < command->extent[2]; z++)
        for (uint64_t y = 0; y < command->extent[1]; y++) {
            unsigned char *row = command->to.start + z * command->to.slice + y * command->to.row;
            size_t bytes = command->extent[0] * command->element_bytes;
            for (size_t i = 0; i < bytes; i++)
                row[i] = command->pattern[i % command->pattern_size];
        }
}

static int touch_memory(struct command *command)
{
    switch (command->call) {
    case PEN_FAKE_LAUNCH:
        return command->run.builtin->run(&command->run);
    case PEN_FAKE_WRITE:
    case PEN_FAKE_READ:
    case PEN_FAKE_COPY:
        pen_fake_move(command->to, command->from, command->extent, command->element_bytes);
        return 0;
    case PEN_FAKE_FILL:
        repeat(command);
        return 0;
    default:
        return 0;
    }
}

/* 1 ready, 0 not yet, negative: one that it waits for has failed. */
static int readiness(const struct command *command)
{
    int rc = 1;

    for (uint32_t i = 0; i < command->wait_count && !pen_fake.deaf; i++) {
        if (!command->waits[i]->ended)
            return 0;
        if (command->waits[i]->status)
            rc = -PEN_EDEPENDENCY;
    }
    return rc;
}

/* The command to run next, or NULL. In order: the first; otherwise any that is ready, by the seed. */
static struct command *choose(struct pen_backend_queue *queue)
{
    struct command *chosen = NULL;
    uint64_t ready = 0;

    PEN_LIST_EACH(node, next, &queue->commands)
    {
        struct command *command = PEN_CONTAINER(node, struct command, link);
        bool first = node->prev == &queue->commands;
        if (!command->sent)
            break;
        if ((first || !command->alone) && readiness(command)) {
            ready++;
            if (!chosen || (queue->random && next_random(&queue->random) % ready == 0))
                chosen = command;
        }
        if (queue->in_order || command->barrier)
            break;
    }
    return chosen;
}

static void rest(uint64_t ns)
{
    struct timespec rest = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};

    nanosleep(&rest, NULL);
}

static uint64_t jitter(struct pen_backend_queue *queue)
{
    return next_random(&queue->random) % JITTER_NS;
}

/* Only queues that have something wait for events: a thousand idle ones need not all wake. */
static void end_event(struct pen_backend_event *event, int status)
{
    pthread_mutex_lock(&pen_fake.lock);
    event->ended = true;
    event->status = status;
    PEN_LIST_EACH(node, next, &queues)
    {
        struct pen_backend_queue *queue = PEN_CONTAINER(node, struct pen_backend_queue, link);
        if (!pen_list_empty(&queue->commands))
            pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&pen_fake.lock);
}

static void run_command(struct pen_backend_queue *queue, struct command *command, int dependency)
{
    int status = dependency < 0 ? dependency : command->fault;
    bool late = queue->random && next_random(&queue->random) % TOLD_LATE == 0;

    if (queue->random && !status)
        rest(jitter(queue));
    command->times.started = now_ns();
    if (queue->slow && (command->call == PEN_FAKE_READ || command->call == PEN_FAKE_WRITE))
        rest(SLOW_NS);
    if (command->loads)
        rest(pen_fake.load_ms * 1000000);
    if (!status)
        status = touch_memory(command);
    command->times.ended = now_ns();
    if (late) {
        end_event(command->event, status);
        rest(jitter(queue));
    }
    if (command->done)
        command->done(command->context, status, queue->profiling ? &command->times : NULL);
    if (!late)
        end_event(command->event, status);
    command_free(command);
}

static void *queue_main(void *user)
{
    struct pen_backend_queue *queue = user;

    pthread_mutex_lock(&pen_fake.lock);
    for (;;) {
        struct command *command = choose(queue);
        if (command) {
            int dependency = readiness(command);
            pen_list_remove(&command->link);
            queue->running = true;
            pthread_mutex_unlock(&pen_fake.lock);
            run_command(queue, command, dependency);
            pthread_mutex_lock(&pen_fake.lock);
            queue->running = false;
            pthread_cond_broadcast(&queue->changed);
        } else if (queue->stopping && pen_list_empty(&queue->commands)) {
            break;
        } else {
            pthread_cond_wait(&queue->changed, &pen_fake.lock);
        }
    }
    pthread_mutex_unlock(&pen_fake.lock);
    return NULL;
}

static void queue_free(struct pen_backend_queue *queue)
{
    pthread_mutex_lock(&pen_fake.lock);
    pen_list_remove(&queue->link);
    pthread_mutex_unlock(&pen_fake.lock);
    pthread_cond_destroy(&queue->changed);
    free(queue);
}

static int fake_queue_create(struct pen_backend_domain *domain, uint32_t device,
                             const struct pen_backend_queue_desc *desc, struct pen_backend_queue **out)
{
    int rc = pen_fake_fault(PEN_FAKE_QUEUE, NULL);

    if (rc || device >= domain->device_count)
        return rc ? rc : -PEN_ENODEV;
    struct pen_backend_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return -PEN_ENOMEM;
    pen_list_init(&queue->commands);
    queue->in_order = !(desc->flags & PEN_QUEUE_FLAG_OUT_OF_ORDER);
    queue->profiling = desc->flags & PEN_QUEUE_FLAG_PROFILING;
    queue->slow = device + 1 == pen_fake.slow;
    queue->device = device;
    pthread_mutex_lock(&pen_fake.lock);
    pen_fake.queues_made++;
    queue->random = pen_fake.seed ? pen_fake.seed * UINT64_C(0x9E3779B97F4A7C15) + pen_fake.queues_made : 0;
    pthread_cond_init(&queue->changed, NULL);
    pen_list_append(&queues, &queue->link);
    pthread_mutex_unlock(&pen_fake.lock);
    if (pthread_create(&queue->thread, NULL, queue_main, queue)) {
        queue_free(queue);
        return -PEN_EDEVRES;
    }
    *out = queue;
    return 0;
}

static int fake_queue_finish(struct pen_backend_queue *queue)
{
    pthread_mutex_lock(&pen_fake.lock);
    send_locked(queue);
    while (queue->running || !pen_list_empty(&queue->commands))
        pthread_cond_wait(&queue->changed, &pen_fake.lock);
    pthread_mutex_unlock(&pen_fake.lock);
    return 0;
}

static int fake_queue_flush(struct pen_backend_queue *queue)
{
    pthread_mutex_lock(&pen_fake.lock);
    send_locked(queue);
    pthread_mutex_unlock(&pen_fake.lock);
    return 0;
}

static void fake_queue_destroy(struct pen_backend_queue *queue)
{
    if (!queue)
        return;
    pthread_mutex_lock(&pen_fake.lock);
    queue->stopping = true;
    send_locked(queue);
    pthread_mutex_unlock(&pen_fake.lock);
    pthread_join(queue->thread, NULL);
    queue_free(queue);
}

/* ---- commands ------------------------------------------------------------------------------------------ */

static int check_launch(const struct pen_backend_launch *launch)
{
    if (launch->dimensions < 1 || launch->dimensions > 3)
        return -PEN_EDIMENSION;
    for (uint32_t i = 0; i < launch->dimensions; i++)
        if (launch->local[0] && (!launch->local[i] || launch->global[i] % launch->local[i]))
            return -PEN_EGROUPSIZE;
    for (uint32_t i = 0; i < launch->kernel->builtin->argument_count; i++)
        if (!launch->kernel->values[i].set)
            return -PEN_EKERNELARGS;
    return 0;
}

static int fake_launch(struct pen_backend_queue *queue, const struct pen_backend_launch *launch,
                       const struct pen_backend_order *order)
{
    struct command *command;
    int rc = check_launch(launch);

    if (!rc)
        rc = command_create(PEN_FAKE_LAUNCH, order, &command);
    if (rc)
        return rc;
    command->run = (struct pen_fake_run){.builtin = launch->kernel->builtin, .first = launch->offset[0], .count = 1};
    command->loads = !(launch->kernel->loaded >> queue->device & 1);
    launch->kernel->loaded |= UINT64_C(1) << queue->device;
    for (uint32_t i = 0; i < launch->dimensions; i++)
        command->run.count *= launch->global[i];
    for (uint32_t i = 0; i < PEN_FAKE_ARGUMENTS; i++) {
        command->run.arguments[i] = launch->kernel->values[i];
        if (command->run.arguments[i].memory)
            pen_fake_memory_ref(command->run.arguments[i].memory);
    }
    return command_queue(queue, command, order);
}

static int transfer(struct pen_backend_queue *queue, enum pen_fake_call call,
                    const struct pen_backend_transfer *transfer, const struct pen_backend_order *order)
{
    size_t element = pen_fake_element(transfer->memory);
    struct pen_fake_side device, host = pen_fake_host_side(transfer->bytes, &transfer->host, transfer->extent, element);
    struct command *command;
    int rc = pen_fake_side_of(transfer->memory, &transfer->box, transfer->extent, element, &device);

    if (!rc)
        rc = command_create(call, order, &command);
    if (rc)
        return rc;
    hold(command, transfer->memory);
    command->to = call == PEN_FAKE_WRITE ? device : host;
    command->from = call == PEN_FAKE_WRITE ? host : device;
    command->element_bytes = element;
    memcpy(command->extent, transfer->extent, sizeof command->extent);
    return command_queue(queue, command, order);
}

static int fake_write(struct pen_backend_queue *queue, const struct pen_backend_transfer *what,
                      const struct pen_backend_order *order)
{
    return transfer(queue, PEN_FAKE_WRITE, what, order);
}

static int fake_read(struct pen_backend_queue *queue, const struct pen_backend_transfer *what,
                     const struct pen_backend_order *order)
{
    return transfer(queue, PEN_FAKE_READ, what, order);
}

static int fake_copy(struct pen_backend_queue *queue, const struct pen_backend_copy *copy,
                     const struct pen_backend_order *order)
{
    size_t from_element = pen_fake_element(copy->source), to_element = pen_fake_element(copy->target);
    size_t element = from_element > to_element ? from_element : to_element; /* a buffer's is 1 */
    struct pen_fake_side from, to;
    struct command *command;

    int rc = pen_fake_side_of(copy->source, &copy->source_box, copy->extent, element, &from);
    if (!rc)
        rc = pen_fake_side_of(copy->target, &copy->target_box, copy->extent, element, &to);
    if (!rc)
        rc = command_create(PEN_FAKE_COPY, order, &command);
    if (rc)
        return rc;
    hold(command, copy->source);
    hold(command, copy->target);
    command->from = from;
    command->to = to;
    command->element_bytes = element;
    memcpy(command->extent, copy->extent, sizeof command->extent);
    return command_queue(queue, command, order);
}

static int fake_fill(struct pen_backend_queue *queue, struct pen_backend_memory *memory, const uint64_t origin[3],
                     const uint64_t extent[3], const void *pattern, size_t pattern_size,
                     const struct pen_backend_order *order)
{
    bool buffer = memory->kind == PEN_REGION_KIND_BUFFER;
    const uint64_t whole[3] = {extent[0], buffer ? 1 : extent[1], buffer ? 1 : extent[2]};
    const struct pen_box box = {.origin = {origin[0], buffer ? 0 : origin[1], buffer ? 0 : origin[2]}};
    unsigned char pixel[sizeof((struct command *)0)->pattern];
    struct pen_fake_side to;
    struct command *command;
    size_t pixel_size;

    int rc = pen_fake_pixel(memory, pattern, pattern_size, pixel, &pixel_size);
    if (!rc)
        rc = pen_fake_side_of(memory, &box, whole, pen_fake_element(memory), &to);
    if (!rc)
        rc = command_create(PEN_FAKE_FILL, order, &command);
    if (rc)
        return rc;
    hold(command, memory);
    command->to = to;
    command->element_bytes = pen_fake_element(memory);
    memcpy(command->extent, whole, sizeof command->extent);
    memcpy(command->pattern, pixel, pixel_size);
    command->pattern_size = pixel_size;
    return command_queue(queue, command, order);
}

static int fake_marker(struct pen_backend_queue *queue, const struct pen_backend_order *order)
{
    struct command *command;
    int rc = command_create(PEN_FAKE_MARKER, order, &command);

    if (rc)
        return rc;
    command->alone = !order->wait_count;
    return command_queue(queue, command, order);
}

static int fake_barrier(struct pen_backend_queue *queue, const struct pen_backend_order *order)
{
    struct command *command;
    int rc = command_create(PEN_FAKE_BARRIER, order, &command);

    if (rc)
        return rc;
    command->alone = !order->wait_count;
    command->barrier = true;
    return command_queue(queue, command, order);
}

static int fake_sampler_create(struct pen_backend_domain *domain, const struct pen_msg_sampler_create *desc,
                               struct pen_backend_sampler **out)
{
    (void)domain, (void)desc;
    *out = malloc(1);
    return *out ? 0 : -PEN_ENOMEM;
}

static void fake_sampler_destroy(struct pen_backend_sampler *sampler)
{
    free(sampler);
}

const struct pen_backend_ops pen_backend_fake = {
    .name = "fake",
    .init = pen_fake_init,
    .finish = pen_fake_finish,
    .partition = pen_fake_partition,
    .queue_create = fake_queue_create,
    .queue_destroy = fake_queue_destroy,
    .queue_flush = fake_queue_flush,
    .queue_finish = fake_queue_finish,
    .memory_create = pen_fake_memory_create,
    .memory_destroy = pen_fake_memory_destroy,
    .sampler_create = fake_sampler_create,
    .sampler_destroy = fake_sampler_destroy,
    .program_create = pen_fake_program_create,
    .program_destroy = pen_fake_program_destroy,
    .program_constant = pen_fake_program_constant,
    .program_build = pen_fake_program_build,
    .program_binary = pen_fake_program_binary,
    .program_kernels = pen_fake_program_kernels,
    .kernel_create = pen_fake_kernel_create,
    .kernel_destroy = pen_fake_kernel_destroy,
    .kernel_info = pen_fake_kernel_info,
    .kernel_facts = pen_fake_kernel_facts,
    .kernel_suggest = pen_fake_kernel_suggest,
    .set_value = pen_fake_set_value,
    .set_local = pen_fake_set_local,
    .set_memory = pen_fake_set_memory,
    .set_sampler = pen_fake_set_sampler,
    .launch = fake_launch,
    .write = fake_write,
    .read = fake_read,
    .copy = fake_copy,
    .fill = fake_fill,
    .marker = fake_marker,
    .barrier = fake_barrier,
    .event_release = fake_event_release,
};
