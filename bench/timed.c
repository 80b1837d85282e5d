/* See timed.h. */
#include "timed.h"

#include <stdlib.h>
#include <time.h>

#include "base/list.h"
#include "instant.h"

struct pen_backend_event {
    uint32_t refs;
    bool ended;
};

struct command {
    struct pen_list link;
    uint64_t takes_ns;
    pen_backend_done done;
    void *context;
    struct pen_backend_event *event, **waits; /* referenced */
    uint32_t wait_count;
};

struct pen_backend_queue {
    struct pen_list link, commands; /* not begun */
    struct command *running;
    uint64_t ends_ns;
};

static struct {
    struct pen_list queues;
    uint64_t now_ns, kernel_ns, copied_per_us;
} device;

/* All of the program goes by the devices' time. */
int clock_gettime(clockid_t clock, struct timespec *out_time)
{
    (void)clock;
    *out_time = (struct timespec){.tv_sec = (time_t)(device.now_ns / 1000000000),
                                  .tv_nsec = (long)(device.now_ns % 1000000000)};
    return 0;
}

static void event_release(struct pen_backend_event *event)
{
    if (!--event->refs)
        free(event);
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

static void command_free(struct command *command)
{
    for (uint32_t i = 0; i < command->wait_count; i++)
        event_release(command->waits[i]);
    free(command->waits);
    event_release(command->event);
    free(command);
}

static int submit(struct pen_backend_queue *queue, const struct pen_backend_order *order, uint64_t takes_ns)
{
    struct command *command = calloc(1, sizeof *command);
    struct pen_backend_event *event = calloc(1, sizeof *event), **waits = calloc(order->wait_count + 1, sizeof *waits);
    if (!command || !event || !waits) {
        free(command);
        free(event);
        free(waits);
        return -PEN_ENOMEM;
    }
    *command = (struct command){
        .takes_ns = takes_ns, .done = order->done, .context = order->context, .event = event, .waits = waits};
    for (; command->wait_count < order->wait_count; command->wait_count++) {
        waits[command->wait_count] = order->waits[command->wait_count];
        waits[command->wait_count]->refs++;
    }
    event->refs = order->out_event ? 2 : 1;
    if (order->out_event)
        *order->out_event = event;
    pen_list_append(&queue->commands, &command->link);
    return 0;
}

static int launch(struct pen_backend_queue *queue, const struct pen_backend_launch *what,
                  const struct pen_backend_order *order)
{
    (void)what;
    return submit(queue, order, device.kernel_ns);
}

static int transfer(struct pen_backend_queue *queue, const struct pen_backend_transfer *what,
                    const struct pen_backend_order *order)
{
    return submit(queue, order, what->extent[0] * 1000 / device.copied_per_us);
}

static int marker(struct pen_backend_queue *queue, const struct pen_backend_order *order)
{
    return submit(queue, order, 0);
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

static bool can_begin(const struct command *command)
{
    for (uint32_t i = 0; i < command->wait_count; i++)
        if (!command->waits[i]->ended)
            return false;
    return true;
}

static void begin_next(struct pen_backend_queue *queue)
{
    PEN_LIST_EACH(node, next, &queue->commands)
    {
        struct command *command = PEN_CONTAINER(node, struct command, link);
        if (!can_begin(command))
            continue;
        pen_list_remove(node);
        queue->running = command;
        queue->ends_ns = device.now_ns + command->takes_ns;
        return;
    }
}

static void end(struct pen_backend_queue *queue)
{
    struct command *command = queue->running;
    queue->running = NULL;
    command->event->ended = true;
    if (command->done)
        command->done(command->context, 0, NULL);
    command_free(command);
}

/* The queue whose command ends next, of all that can run; NULL: none has any. */
static struct pen_backend_queue *first_to_end(void)
{
    struct pen_backend_queue *first = NULL;
    PEN_LIST_EACH(node, next, &device.queues)
    {
        struct pen_backend_queue *queue = PEN_CONTAINER(node, struct pen_backend_queue, link);
        if (!queue->running)
            begin_next(queue);
        if (queue->running && (!first || queue->ends_ns < first->ends_ns))
            first = queue;
    }
    return first;
}

void timed_go_on(void)
{
    struct pen_backend_queue *queue = first_to_end();
    if (!queue)
        return;
    device.now_ns = queue->ends_ns;
    end(queue);
}

/* ---- queues ---------------------------------------------------------------------------------------------------- */

static int queue_create(struct pen_backend_domain *domain, uint32_t index, const struct pen_backend_queue_desc *desc,
                        struct pen_backend_queue **out)
{
    (void)domain, (void)index, (void)desc;
    struct pen_backend_queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return -PEN_ENOMEM;
    pen_list_init(&queue->commands);
    pen_list_append(&device.queues, &queue->link);
    *out = queue;
    return 0;
}

static int queue_finish(struct pen_backend_queue *queue)
{
    while (queue->running || !pen_list_empty(&queue->commands))
        timed_go_on();
    return 0;
}

static void queue_destroy(struct pen_backend_queue *queue)
{
    if (!queue)
        return;
    queue_finish(queue);
    pen_list_remove(&queue->link);
    free(queue);
}

struct pen_backend_ops timed_ops(uint64_t kernel_ns, uint64_t copied_per_us)
{
    struct pen_backend_ops ops = instant_ops;
    pen_list_init(&device.queues);
    device.now_ns = 1000000000;
    device.kernel_ns = kernel_ns;
    device.copied_per_us = copied_per_us;
    ops.name = "timed";
    ops.queue_create = queue_create;
    ops.queue_destroy = queue_destroy;
    ops.queue_finish = queue_finish;
    ops.launch = launch;
    ops.write = ops.read = transfer;
    ops.marker = ops.barrier = marker;
    ops.event_release = event_release;
    return ops;
}
