/* worker/kernel.c - kernels: arguments as the log sets them, and as each driver's kernel object has them.
 * A driver's kernel is given only the arguments whose version differs from what it has: a launch with nothing changed
 * costs one comparison. */
#include <stdlib.h>
#include <string.h>

#include "worker/work.h"

/* ---- arguments ------------------------------------------------------------------------------------------- */

static void drop_object(struct pen_work_argument *argument)
{
    if (!argument->object)
        return;
    if (argument->kind == PEN_ARGUMENT_KIND_REGION)
        pen_region_unref(argument->object);
    else if (argument->kind == PEN_ARGUMENT_KIND_SAMPLER)
        pen_sampler_unref(argument->object);
    argument->object = NULL;
}

static void take_object(struct pen_work_argument *argument)
{
    if (!argument->object)
        return;
    if (argument->kind == PEN_ARGUMENT_KIND_REGION)
        pen_region_ref(argument->object);
    else if (argument->kind == PEN_ARGUMENT_KIND_SAMPLER)
        ((struct pen_work_sampler *)argument->object)->refs++;
}

static void arguments_free(struct pen_work_argument *arguments, uint32_t count)
{
    for (uint32_t i = 0; arguments && i < count; i++) {
        drop_object(&arguments[i]);
        free(arguments[i].value);
    }
    free(arguments);
}

static int copy_value(struct pen_work_argument *argument, const void *value, uint32_t size)
{
    if (argument->capacity < size) {
        uint32_t capacity = size < 16 ? 16 : size;
        unsigned char *bigger = realloc(argument->value, capacity);
        if (!bigger)
            return -PEN_ENOMEM;
        argument->value = bigger;
        argument->capacity = capacity;
    }
    if (size)
        memcpy(argument->value, value, size);
    return 0;
}

static int arguments_copy(const struct pen_work_argument *from, uint32_t count, struct pen_work_argument **out)
{
    struct pen_work_argument *copy = calloc(count ? count : 1, sizeof *copy);
    if (!copy)
        return -PEN_ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = from[i];
        copy[i].value = NULL;
        copy[i].capacity = 0;
        take_object(&copy[i]);
        if (from[i].kind == PEN_ARGUMENT_KIND_VALUE && copy_value(&copy[i], from[i].value, from[i].size)) {
            arguments_free(copy, count);
            return -PEN_ENOMEM;
        }
    }
    *out = copy;
    return 0;
}

/* So much of an argument's value lies behind a snapshot's arguments. */
static size_t value_bytes(const struct pen_work_argument *argument)
{
    return argument->kind == PEN_ARGUMENT_KIND_VALUE ? (argument->size + 7ul) / 8 * 8 : 0;
}

/* A region that is alive is used, and stays so. */
static void keep_object(struct pen_work_argument *argument)
{
    if (argument->kind != PEN_ARGUMENT_KIND_REGION) {
        take_object(argument);
    } else if (argument->object && pen_region_alive(argument->object)) {
        pen_region_use(argument->object);
    } else if (argument->object) {
        argument->error = argument->error ? argument->error : -PEN_EKERNELARGS;
        argument->object = NULL;
    }
}

int pen_kernel_snapshot(const struct pen_work_kernel *kernel, struct pen_work_argument **out, size_t *out_bytes)
{
    uint32_t count = kernel->argument_count;
    size_t bytes = count * sizeof **out;
    for (uint32_t i = 0; i < count; i++)
        bytes += value_bytes(&kernel->arguments[i]);
    struct pen_work_argument *copy = malloc(bytes ? bytes : 1);
    if (!copy)
        return -PEN_ENOMEM;
    unsigned char *value = (unsigned char *)&copy[count];
    for (uint32_t i = 0; i < count; i++) {
        const struct pen_work_argument *from = &kernel->arguments[i];
        copy[i] = *from;
        copy[i].value = value;
        if (value_bytes(from))
            memcpy(value, from->value, from->size);
        value += value_bytes(from);
        keep_object(&copy[i]);
    }
    *out = copy;
    *out_bytes = bytes;
    return 0;
}

void pen_kernel_snapshot_free(struct pen_work_argument *arguments, uint32_t count)
{
    for (uint32_t i = 0; arguments && i < count; i++)
        if (arguments[i].object && arguments[i].kind == PEN_ARGUMENT_KIND_REGION)
            pen_region_unuse(arguments[i].object);
        else
            drop_object(&arguments[i]);
    free(arguments);
}

/* A type that is one may have any name: then it counts as a value as wide as a handle, or of unknown size. */
static bool is_sampler(const struct pen_argument_info *info, const struct pen_msg_kernel_argument *message)
{
    return message->kind == PEN_ARGUMENT_KIND_SAMPLER && info->kind == PEN_ARGUMENT_KIND_VALUE &&
           (!info->size || info->size == sizeof(void *));
}

/* What is wrong with setting the argument to this; 0 when nothing is. Where the kind is a guess, the driver says. */
static int check_argument(const struct pen_work_kernel *kernel, const struct pen_msg_kernel_argument *message)
{
    const struct pen_argument_info *info = &kernel->info->arguments[message->index];
    if (info->known && info->kind != message->kind && !is_sampler(info, message))
        return -PEN_EARGVALUE;
    if (message->kind == PEN_ARGUMENT_KIND_VALUE &&
        (!message->value.size || (info->known && info->size && info->size != message->value.size)))
        return -PEN_EARGSIZE;
    if (message->kind == PEN_ARGUMENT_KIND_LOCAL && (!message->size || message->size > UINT32_MAX))
        return -PEN_EARGSIZE;
    if (message->kind == PEN_ARGUMENT_KIND_SAMPLER && !message->object)
        return -PEN_EARGVALUE;
    return 0;
}

static bool set_argument(struct pen_work *work, const struct pen_msg_kernel_argument *message)
{
    struct pen_work_kernel *kernel = pen_work_find(work, &work->kernels, message->kernel, "kernel");
    void *object = NULL;
    if (!kernel)
        return false;
    if (message->object) {
        bool region = message->kind == PEN_ARGUMENT_KIND_REGION;
        if (!region && message->kind != PEN_ARGUMENT_KIND_SAMPLER)
            return pen_work_fail(work, -PEN_EPROTO, "kernel_argument of kind %u names object %llu", message->kind,
                                 (unsigned long long)message->object);
        object = pen_work_find(work, region ? &work->regions : &work->samplers, message->object,
                               region ? "region" : "sampler");
        if (!object)
            return false;
    }
    if (kernel->error)
        return true; /* its launches fail whatever the arguments */
    if (message->index >= kernel->argument_count)
        return pen_work_fail(work, -PEN_EPROTO, "kernel_argument %u of kernel %s, which has %u", message->index,
                             kernel->name, kernel->argument_count);
    struct pen_work_argument *argument = &kernel->arguments[message->index];
    drop_object(argument);
    argument->kind = message->kind;
    argument->object = object;
    take_object(argument);
    argument->error = check_argument(kernel, message);
    argument->size = 0;
    if (message->kind == PEN_ARGUMENT_KIND_VALUE) {
        if (copy_value(argument, message->value.data, message->value.size))
            return pen_work_fail(work, -PEN_ENOMEM, "out of memory for an argument of kernel %s", kernel->name);
        argument->size = message->value.size;
    } else if (message->kind == PEN_ARGUMENT_KIND_LOCAL) {
        argument->size = (uint32_t)message->size;
    }
    argument->version = kernel->version = ++work->version;
    return true;
}

/* ---- preparing a launch -------------------------------------------------------------------------------------- */

struct pen_work_instance *pen_kernel_instance(struct pen_work_kernel *kernel, const struct pen_work_device *device)
{
    uint32_t at = device->index;
    if (at < kernel->instance_count && kernel->instances[at])
        return kernel->instances[at];
    if (pen_work_grow(&kernel->instances, &kernel->instance_count, at))
        return NULL;
    struct pen_work_instance *instance = calloc(1, sizeof *instance + kernel->argument_count * sizeof(uint64_t));
    kernel->instances[at] = instance;
    return instance;
}

static int instance_of(struct pen_work_kernel *kernel, const struct pen_work_device *device,
                       struct pen_work_instance **out)
{
    uint32_t at = device->index;
    struct pen_work_instance *instance = at < kernel->instance_count ? kernel->instances[at] : NULL;
    if (!instance || !instance->backend) {
        struct pen_work_unit *unit = at < kernel->unit_count ? kernel->units[at] : NULL;
        if (!unit || !pen_unit_kernel(unit, kernel->name))
            return -PEN_EEXECUTABLE;
        if (!(instance = pen_kernel_instance(kernel, device)))
            return -PEN_ENOMEM;
        int rc = kernel->work->ops->kernel_create(unit->backend, kernel->name, &instance->backend);
        if (rc)
            return rc;
    }
    *out = instance;
    return 0;
}

static int sampler_of(struct pen_work *work, struct pen_work_sampler *sampler, const struct pen_work_device *device,
                      struct pen_backend_sampler **out)
{
    uint32_t at = device->domain->index;
    int rc = pen_work_grow(&sampler->samplers, &sampler->sampler_count, at);
    if (!rc && !sampler->samplers[at])
        rc = work->ops->sampler_create(device->domain->backend, &sampler->message, &sampler->samplers[at]);
    if (!rc)
        *out = sampler->samplers[at];
    return rc;
}

static int give(struct pen_work *work, struct pen_work_instance *instance, uint32_t index,
                const struct pen_work_argument *argument, struct pen_work_device *device)
{
    struct pen_backend_memory *memory = NULL;
    struct pen_backend_sampler *sampler;
    int rc = 0;
    switch (argument->kind) {
    case PEN_ARGUMENT_KIND_VALUE:
        return work->ops->set_value(instance->backend, index, argument->value, argument->size);
    case PEN_ARGUMENT_KIND_LOCAL:
        return work->ops->set_local(instance->backend, index, argument->size);
    case PEN_ARGUMENT_KIND_REGION:
        if (argument->object)
            rc = pen_region_memory(argument->object, device, &memory);
        return rc ? rc : work->ops->set_memory(instance->backend, index, memory);
    case PEN_ARGUMENT_KIND_SAMPLER:
        rc = sampler_of(work, argument->object, device, &sampler);
        return rc ? rc : work->ops->set_sampler(instance->backend, index, sampler);
    }
    return -PEN_EINVAL;
}

/* Every argument is set, and every region alive. */
static int check_arguments(struct pen_work_kernel *kernel, const struct pen_work_argument *arguments, uint64_t version)
{
    bool plain = true;
    if (kernel->plain_version == version && kernel->plain_epoch == kernel->work->destroy_epoch)
        return 0;
    for (uint32_t i = 0; i < kernel->argument_count; i++) {
        const struct pen_work_region *region = arguments[i].object;
        if (arguments[i].error)
            return arguments[i].error;
        if (!arguments[i].version)
            return -PEN_EKERNELARGS;
        if (arguments[i].kind != PEN_ARGUMENT_KIND_REGION || !region)
            continue;
        if (!pen_region_alive(region))
            return -PEN_EKERNELARGS;
        plain = plain && pen_region_is_direct(region);
    }
    if (plain) {
        kernel->plain_version = version;
        kernel->plain_epoch = kernel->work->destroy_epoch;
    }
    return 0;
}

int pen_kernel_prepare(struct pen_work_kernel *kernel, struct pen_work_argument *arguments, uint64_t version,
                       struct pen_work_device *device, struct pen_backend_kernel **out)
{
    struct pen_work_instance *instance;
    if (kernel->error)
        return kernel->error;
    int rc = instance_of(kernel, device, &instance);
    if (rc || (rc = check_arguments(kernel, arguments, version)))
        return rc;
    if (instance->memory_epoch != kernel->work->memory_epoch) {
        instance->version = 0;
        memset(instance->versions, 0, kernel->argument_count * sizeof(uint64_t));
        instance->memory_epoch = kernel->work->memory_epoch;
    }
    if (instance->version != version || !version) {
        instance->version = 0; /* of no launch, should the driver take a part only */
        for (uint32_t i = 0; i < kernel->argument_count; i++) {
            if (instance->versions[i] == arguments[i].version)
                continue;
            if ((rc = give(kernel->work, instance, i, &arguments[i], device)))
                return rc;
            instance->versions[i] = arguments[i].version;
        }
        instance->version = version;
    }
    *out = instance->backend;
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

void pen_kernel_ref(struct pen_work_kernel *kernel)
{
    kernel->refs++;
}

void pen_kernel_unref(struct pen_work_kernel *kernel)
{
    if (--kernel->refs)
        return;
    struct pen_work *work = kernel->work;
    if (work->noted == kernel)
        work->noted = NULL;
    for (uint32_t i = 0; i < kernel->instance_count; i++) {
        if (kernel->instances[i] && kernel->instances[i]->backend)
            work->ops->kernel_destroy(kernel->instances[i]->backend);
        free(kernel->instances[i]);
    }
    free(kernel->instances);
    free(kernel->reads);
    arguments_free(kernel->arguments, kernel->argument_count);
    for (uint32_t i = 0; i < kernel->unit_count; i++)
        if (kernel->units[i])
            pen_unit_unref(kernel->units[i]);
    free(kernel->units);
    if (kernel->program)
        pen_program_unref(kernel->program);
    free(kernel->name);
    free(kernel);
}

/* Only what all its units know. Without memory nothing is known. */
static void find_reads(struct pen_work_kernel *kernel)
{
    uint32_t count = kernel->argument_count;
    for (uint32_t i = 0; i < kernel->unit_count && count; i++) {
        const struct pen_work_unit *unit = kernel->units[i];
        if (!unit || !pen_unit_kernel(unit, kernel->name))
            continue;
        const bool *reads = pen_unit_reads(unit, kernel->name, count);
        bool first = !kernel->reads;
        if (!reads || (first && !(kernel->reads = malloc(count * sizeof *kernel->reads)))) {
            free(kernel->reads);
            kernel->reads = NULL;
            return;
        }
        for (uint32_t k = 0; k < count; k++)
            kernel->reads[k] = (first || kernel->reads[k]) && reads[k];
    }
}

/* Takes hold of the program's units as they are; finds the kernel's description. */
static int bind(struct pen_work_kernel *kernel)
{
    const struct pen_work_program *program = kernel->program;
    bool built = false;
    for (uint32_t i = 0; i < program->unit_count; i++) {
        struct pen_work_unit *unit = program->units[i];
        if (!unit)
            continue;
        int rc = pen_work_grow(&kernel->units, &kernel->unit_count, i);
        if (rc)
            return rc;
        kernel->units[i] = unit;
        unit->refs++;
        built = built || !unit->status;
        kernel->own_variables = kernel->own_variables || unit->result.global_variable_bytes;
        if (!kernel->info)
            kernel->info = pen_unit_kernel(unit, kernel->name);
    }
    if (!kernel->info) {
        kernel->error = built ? -PEN_EKERNELNAME : -PEN_EEXECUTABLE;
        return 0;
    }
    kernel->argument_count = kernel->info->arguments_count;
    kernel->arguments = calloc(kernel->argument_count ? kernel->argument_count : 1, sizeof *kernel->arguments);
    return kernel->arguments ? 0 : -PEN_ENOMEM;
}

static struct pen_work_kernel *create(struct pen_work *work, uint64_t id, struct pen_work_program *program,
                                      const char *name)
{
    struct pen_work_kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel || !(kernel->name = strdup(name))) {
        free(kernel);
        pen_work_fail(work, -PEN_ENOMEM, "out of memory for kernel %s", name);
        return NULL;
    }
    kernel->work = work;
    kernel->refs = 1;
    kernel->program = program;
    program->refs++;
    if (bind(kernel)) {
        pen_work_fail(work, -PEN_ENOMEM, "out of memory for kernel %s", name);
    } else {
        /* The first argument's version: launches of a kernel without arguments have one too. */
        kernel->version = ++work->version;
        if (pen_work_name(work, &work->kernels, id, kernel, "kernel"))
            return kernel;
    }
    pen_kernel_unref(kernel);
    return NULL;
}

static bool clone_kernel(struct pen_work *work, const struct pen_msg_kernel_clone *message)
{
    struct pen_work_kernel *source = pen_work_find(work, &work->kernels, message->source, "kernel");
    struct pen_work_kernel *kernel = source ? create(work, message->kernel, source->program, source->name) : NULL;
    if (!kernel)
        return false;
    /* The program may have been built again since: the clone is of the kernel, not of the program. */
    for (uint32_t i = 0; i < kernel->unit_count; i++)
        if (kernel->units[i])
            pen_unit_unref(kernel->units[i]);
    free(kernel->units);
    arguments_free(kernel->arguments, kernel->argument_count);
    kernel->units = NULL;
    kernel->arguments = NULL;
    kernel->unit_count = kernel->argument_count = 0;
    kernel->error = source->error;
    kernel->info = source->info;
    int rc = source->unit_count ? pen_work_grow(&kernel->units, &kernel->unit_count, source->unit_count - 1) : 0;
    for (uint32_t i = 0; !rc && i < source->unit_count; i++) {
        kernel->units[i] = source->units[i];
        if (kernel->units[i])
            kernel->units[i]->refs++;
    }
    if (!rc)
        rc = arguments_copy(source->arguments, source->argument_count, &kernel->arguments);
    if (rc)
        return pen_work_fail(work, rc, "out of memory for a copy of kernel %s", source->name);
    kernel->argument_count = source->argument_count;
    kernel->own_variables = source->own_variables;
    if (source->reads && (kernel->reads = calloc(source->argument_count, sizeof *kernel->reads)))
        memcpy(kernel->reads, source->reads, source->argument_count * sizeof *kernel->reads);
    return true;
}

static bool query(struct pen_work *work, const struct pen_msg_kernel_query *message, uint64_t sequence)
{
    struct pen_work_kernel *kernel = pen_work_find(work, &work->kernels, message->kernel, "kernel");
    struct pen_work_device *device = kernel ? pen_work_device(work, message->device) : NULL;
    struct pen_work_instance *instance;
    struct pen_msg_kernel_facts facts = {0};
    if (!device)
        return false;
    if (message->dimensions > PEN_LIMIT_DIMENSIONS)
        return pen_work_fail(work, -PEN_EPROTO, "kernel_query with %u dimensions", message->dimensions);
    if (device->member_count)
        device = device->members[0];
    int rc = kernel->error ? kernel->error : instance_of(kernel, device, &instance);
    if (!rc)
        rc = work->ops->kernel_facts(instance->backend, device->backend->index, message->local, message->dimensions,
                                     &facts);
    facts.status = rc;
    PEN_REPLY(work, kernel_facts, &facts, sequence);
    return true;
}

static bool suggest(struct pen_work *work, const struct pen_msg_kernel_suggest *message, uint64_t sequence)
{
    struct pen_work_queue *queue = pen_work_find(work, &work->queues, message->queue, "queue");
    struct pen_work_kernel *kernel = queue ? pen_work_find(work, &work->kernels, message->kernel, "kernel") : NULL;
    struct pen_backend_launch launch = {.dimensions = message->dimensions};
    struct pen_msg_kernel_facts facts = {0};
    if (!kernel)
        return false;
    if (!message->dimensions || message->dimensions > PEN_LIMIT_DIMENSIONS)
        return pen_work_fail(work, -PEN_EPROTO, "kernel_suggest with %u dimensions", message->dimensions);
    memcpy(launch.offset, message->offset, sizeof launch.offset);
    memcpy(launch.global, message->global, sizeof launch.global);
    facts.status =
        pen_kernel_prepare(kernel, kernel->arguments, kernel->version, queue->lanes[0].device, &launch.kernel);
    if (!facts.status)
        facts.status = work->ops->kernel_suggest(queue->lanes[0].backend, &launch, facts.local);
    PEN_REPLY(work, kernel_facts, &facts, sequence);
    return true;
}

bool pen_work_kernel_command(struct pen_work *work, uint16_t opcode, const void *frame, size_t size, uint64_t sequence)
{
    union {
        struct pen_msg_kernel_create create;
        struct pen_msg_kernel_destroy destroy;
        struct pen_msg_kernel_argument argument;
        struct pen_msg_kernel_clone clone;
        struct pen_msg_kernel_query query;
        struct pen_msg_kernel_suggest suggest;
    } m;
    struct pen_scratch *scratch = &work->scratch;
    struct pen_work_program *program;
    struct pen_work_kernel *kernel;
    int rc;
    switch (opcode) {
    case PEN_OP_KERNEL_ARGUMENT:
        if (!(rc = pen_msg_kernel_argument_decode(frame, size, scratch, &m.argument)))
            return set_argument(work, &m.argument);
        break;
    case PEN_OP_KERNEL_CREATE:
        if ((rc = pen_msg_kernel_create_decode(frame, size, scratch, &m.create)))
            break;
        program = pen_program_find(work, m.create.program, "program");
        kernel = program ? create(work, m.create.kernel, program, m.create.name) : NULL;
        if (kernel)
            find_reads(kernel);
        return kernel != NULL;
    case PEN_OP_KERNEL_DESTROY:
        if ((rc = pen_msg_kernel_destroy_decode(frame, size, scratch, &m.destroy)))
            break;
        kernel = pen_work_unname(work, &work->kernels, m.destroy.kernel, "kernel");
        if (kernel)
            pen_kernel_unref(kernel);
        return kernel != NULL;
    case PEN_OP_KERNEL_CLONE:
        if (!(rc = pen_msg_kernel_clone_decode(frame, size, scratch, &m.clone)))
            return clone_kernel(work, &m.clone);
        break;
    case PEN_OP_KERNEL_SUGGEST:
        if (!(rc = pen_msg_kernel_suggest_decode(frame, size, scratch, &m.suggest)))
            return suggest(work, &m.suggest, sequence);
        break;
    default:
        if (!(rc = pen_msg_kernel_query_decode(frame, size, scratch, &m.query)))
            return query(work, &m.query, sequence);
        break;
    }
    return pen_work_malformed(work, opcode, rc);
}
