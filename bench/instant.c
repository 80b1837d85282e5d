/* See instant.h. */
#include "instant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGIONS           8u
#define ADDRESS_GLOBAL    0x119Bu
#define ACCESS_NONE       0x11A3u
#define QUALIFIER_CONST   1u
#define BINARY_EXECUTABLE 4u

struct pen_backend_domain {
    char unused;
};

struct pen_backend_kernel {
    uint32_t regions;
};

/* What nothing has to be known of. */
static struct {
    char queue, memory, program, event;
} some;
static struct pen_backend_domain domains[INSTANT_DEVICES];
static struct pen_backend_kernel kernels[REGIONS];

/* Submitted, and not done. */
static struct {
    pen_backend_done done;
    void *context;
} * flying;
static uint32_t flying_count, flying_room;

struct pen_backend_device instant_device(uint32_t index, bool one_driver, bool direct)
{
    return (struct pen_backend_device){.domain = &domains[one_driver ? 0 : index],
                                       .index = one_driver ? index : 0,
                                       .class = PEN_DEVICE_CLASS_ACCELERATOR,
                                       .flags = PEN_DEVICE_FLAG_OUT_OF_ORDER | (direct ? PEN_DEVICE_FLAG_DIRECT : 0),
                                       .memory_bytes = UINT64_C(1) << 40,
                                       .compute_units = 1,
                                       .vendor_name = "instant",
                                       .driver = "instant",
                                       .driver_version = "1"};
}

void instant_run(void)
{
    for (uint32_t i = 0; i < flying_count; i++)
        flying[i].done(flying[i].context, 0, NULL);
    flying_count = 0;
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

static int submit(const struct pen_backend_order *order)
{
    if (order->out_event)
        *order->out_event = (struct pen_backend_event *)(void *)&some.event;
    if (!order->done)
        return 0;
    if (flying_count == flying_room) {
        flying_room = flying_room ? 2 * flying_room : 256;
        void *more = realloc(flying, flying_room * sizeof *flying);
        if (!more)
            return -PEN_ENOMEM;
        flying = more;
    }
    flying[flying_count].done = order->done;
    flying[flying_count++].context = order->context;
    return 0;
}

static int launch(struct pen_backend_queue *queue, const struct pen_backend_launch *what,
                  const struct pen_backend_order *order)
{
    (void)queue, (void)what;
    return submit(order);
}

static int transfer(struct pen_backend_queue *queue, const struct pen_backend_transfer *what,
                    const struct pen_backend_order *order)
{
    (void)queue, (void)what;
    return submit(order);
}

static int marker(struct pen_backend_queue *queue, const struct pen_backend_order *order)
{
    (void)queue;
    return submit(order);
}

static void event_release(struct pen_backend_event *event)
{
    (void)event;
}

/* ---- objects --------------------------------------------------------------------------------------------------- */

static int queue_create(struct pen_backend_domain *domain, uint32_t device, const struct pen_backend_queue_desc *desc,
                        struct pen_backend_queue **out)
{
    (void)domain, (void)device, (void)desc;
    *out = (struct pen_backend_queue *)(void *)&some.queue;
    return 0;
}

static void queue_destroy(struct pen_backend_queue *queue)
{
    (void)queue;
}

static int queue_flush(struct pen_backend_queue *queue)
{
    (void)queue;
    return 0;
}

static int queue_finish(struct pen_backend_queue *queue)
{
    (void)queue;
    instant_run();
    return 0;
}

static int memory_create(struct pen_backend_domain *domain, const struct pen_backend_memory_desc *desc,
                         struct pen_backend_memory **out)
{
    (void)domain, (void)desc;
    *out = (struct pen_backend_memory *)(void *)&some.memory;
    return 0;
}

static void memory_destroy(struct pen_backend_memory *memory, void (*destroyed)(void *), void *context)
{
    (void)memory;
    if (destroyed)
        destroyed(context);
}

static int program_create(struct pen_backend_domain *domain, enum pen_program_kind kind, const uint32_t *devices,
                          uint32_t device_count, const void *bytes, size_t size, struct pen_backend_program **out)
{
    (void)domain, (void)kind, (void)devices, (void)device_count, (void)bytes, (void)size;
    *out = (struct pen_backend_program *)(void *)&some.program;
    return 0;
}

static void program_destroy(struct pen_backend_program *program)
{
    (void)program;
}

static int program_build(struct pen_backend_domain *domain, const struct pen_backend_build *build,
                         struct pen_backend_program **out_program, struct pen_build_result *results, char **logs)
{
    (void)domain, (void)out_program;
    for (uint32_t i = 0; i < build->device_count; i++) {
        results[i].outcome = PEN_BUILD_OUTCOME_SUCCESS;
        results[i].binary_type = BINARY_EXECUTABLE;
        logs[i] = NULL;
    }
    return 0;
}

static int program_kernels(struct pen_backend_program *program, char ***out_names, uint32_t *out_count)
{
    (void)program;
    *out_names = calloc(REGIONS, sizeof **out_names);
    for (*out_count = 0; *out_names && *out_count < REGIONS; ++*out_count)
        if (asprintf(&(*out_names)[*out_count], "task%u", *out_count + 1) < 0)
            return -PEN_ENOMEM;
    return *out_names ? 0 : -PEN_ENOMEM;
}

static int kernel_create(struct pen_backend_program *program, const char *name, struct pen_backend_kernel **out)
{
    (void)program;
    uint32_t regions = (uint32_t)(name[strlen("task")] - '0');
    *out = &kernels[regions - 1];
    (*out)->regions = regions;
    return 0;
}

static void kernel_destroy(struct pen_backend_kernel *kernel)
{
    (void)kernel;
}

static bool describe(struct pen_argument_info *arguments, uint32_t count)
{
    bool whole = true;
    for (uint32_t i = 0; i < count; i++) {
        arguments[i] = (struct pen_argument_info){.kind = PEN_ARGUMENT_KIND_REGION,
                                                  .address = ADDRESS_GLOBAL,
                                                  .access = ACCESS_NONE,
                                                  .qualifiers = i + 1 < count ? QUALIFIER_CONST : 0,
                                                  .known = 1,
                                                  .type_name = strdup("int*"),
                                                  .name = strdup("")};
        whole = whole && arguments[i].type_name && arguments[i].name;
    }
    return whole;
}

static int kernel_info(struct pen_backend_kernel *kernel, struct pen_msg_kernel_info *out)
{
    struct pen_argument_info *arguments = calloc(kernel->regions, sizeof *arguments);
    struct pen_kernel_device_info *devices = calloc(1, sizeof *devices);
    char *name = NULL;
    if (asprintf(&name, "task%u", kernel->regions) < 0)
        name = NULL;
    struct pen_msg_kernel_info info = {.name = name,
                                       .attributes = strdup(""),
                                       .arguments = arguments,
                                       .arguments_count = arguments ? kernel->regions : 0,
                                       .devices = devices,
                                       .devices_count = 1};
    if (name && info.attributes && devices && arguments && describe(arguments, kernel->regions)) {
        *out = info;
        return 0;
    }
    pen_backend_kernel_info_free(&info);
    return -PEN_ENOMEM;
}

static int set_memory(struct pen_backend_kernel *kernel, uint32_t index, struct pen_backend_memory *memory)
{
    (void)kernel, (void)index, (void)memory;
    return 0;
}

const struct pen_backend_ops instant_ops = {
    .name = "instant",
    .queue_create = queue_create,
    .queue_destroy = queue_destroy,
    .queue_flush = queue_flush,
    .queue_finish = queue_finish,
    .memory_create = memory_create,
    .memory_destroy = memory_destroy,
    .program_create = program_create,
    .program_destroy = program_destroy,
    .program_build = program_build,
    .program_kernels = program_kernels,
    .kernel_create = kernel_create,
    .kernel_destroy = kernel_destroy,
    .kernel_info = kernel_info,
    .set_memory = set_memory,
    .launch = launch,
    .write = transfer,
    .read = transfer,
    .marker = marker,
    .barrier = marker,
    .event_release = event_release,
};
