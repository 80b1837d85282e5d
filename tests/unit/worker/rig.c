/* tests/unit/worker/rig.c - see rig.h. The fake has one domain; here a device may stand in a domain of its own, which
 * is another name for the fake's: its memories, programs and events are as separate as those of two drivers. */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/builder.h"
#include "worker/files.h"

#define PATIENCE_NS UINT64_C(10000000000)
#define TEXT_OFFSET (RIG_ARENA - (1u << 20))

/* ---- domains ---------------------------------------------------------------------------------------------------- */

struct shadow {
    struct pen_backend_domain *real;
    uint32_t index; /* of its one device there */
};
static struct shadow shadows[RIG_DOMAINS], part_shadows[PEN_REPLICAS];
static struct pen_backend_ops ops;
static useconds_t build_us;
static pthread_t dispatch;
static _Atomic int building;

struct rig_asked rig_asked;

static const struct shadow *of(struct pen_backend_domain *domain)
{
    return (const struct shadow *)(const void *)domain;
}

/* Parts in a domain of their own, as many as are asked for. */
static int partition(const struct pen_backend_device *device, const struct pen_backend_cut *cut,
                     struct pen_backend_device *out_devices, struct pen_error *error)
{
    if (rig_asked.partitions == PEN_REPLICAS)
        return pen_fail(error, -PEN_EPARTITION, "too many");
    struct shadow *shadow = &part_shadows[rig_asked.partitions++];
    *shadow = *of(device->domain);
    for (uint32_t i = 0; i < cut->parts; i++) {
        out_devices[i] = *device;
        out_devices[i].domain = (struct pen_backend_domain *)(void *)shadow;
        out_devices[i].compute_units = cut->units[i];
    }
    return 0;
}

static int queue_create(struct pen_backend_domain *domain, uint32_t device, const struct pen_backend_queue_desc *desc,
                        struct pen_backend_queue **out)
{
    return pen_backend_fake.queue_create(of(domain)->real, of(domain)->index + device, desc, out);
}

static int memory_create(struct pen_backend_domain *domain, const struct pen_backend_memory_desc *desc,
                         struct pen_backend_memory **out)
{
    return pen_backend_fake.memory_create(of(domain)->real, desc, out);
}

static int sampler_create(struct pen_backend_domain *domain, const struct pen_msg_sampler_create *message,
                          struct pen_backend_sampler **out)
{
    return pen_backend_fake.sampler_create(of(domain)->real, message, out);
}

static void real_indices(struct pen_backend_domain *domain, const uint32_t *devices, uint32_t count, uint32_t *out)
{
    for (uint32_t i = 0; i < count; i++)
        out[i] = of(domain)->index + devices[i];
}

static int program_create(struct pen_backend_domain *domain, enum pen_program_kind kind, const uint32_t *devices,
                          uint32_t device_count, const void *bytes, size_t size, struct pen_backend_program **out)
{
    uint32_t indices[PEN_LIMIT_DEVICES];
    real_indices(domain, devices, device_count, indices);
    return pen_backend_fake.program_create(of(domain)->real, kind, indices, device_count, bytes, size, out);
}

static int program_build(struct pen_backend_domain *domain, const struct pen_backend_build *build,
                         struct pen_backend_program **out, struct pen_build_result *results, char **logs)
{
    struct pen_backend_build real = *build;
    uint32_t indices[PEN_LIMIT_DEVICES];
    real_indices(domain, build->devices, build->device_count, indices);
    real.devices = indices;
    rig_asked.builds++;
    rig_asked.built_devices += build->device_count;
    if (atomic_fetch_add(&building, 1))
        rig_asked.builds_at_once = true;
    rig_asked.builds_by_dispatch += pthread_equal(pthread_self(), dispatch) != 0;
    usleep(build_us);
    int rc = pen_backend_fake.program_build(of(domain)->real, &real, out, results, logs);
    atomic_fetch_sub(&building, 1);
    return rc;
}

static int kernel_create(struct pen_backend_program *program, const char *name, struct pen_backend_kernel **out)
{
    return strcmp(name, RIG_UNKNOWN_KERNEL) ? pen_backend_fake.kernel_create(program, name, out) : -PEN_EKERNELNAME;
}

/* ---- what the worker asks of the device ------------------------------------------------------------------ */

static int set_value(struct pen_backend_kernel *kernel, uint32_t index, const void *value, size_t size)
{
    static const uint32_t refused = RIG_REFUSED_VALUE;
    if (size == sizeof refused && !memcmp(value, &refused, sizeof refused))
        return -PEN_EARGSIZE;
    return pen_backend_fake.set_value(kernel, index, value, size);
}

static int launch(struct pen_backend_queue *queue, const struct pen_backend_launch *how,
                  const struct pen_backend_order *order)
{
    rig_asked.launches++;
    rig_asked.markers_before_launch = rig_asked.markers;
    rig_asked.callbacks += order->done != NULL;
    rig_asked.events += order->out_event != NULL;
    return pen_backend_fake.launch(queue, how, order);
}

static int marker(struct pen_backend_queue *queue, const struct pen_backend_order *order)
{
    rig_asked.markers++;
    return pen_backend_fake.marker(queue, order);
}

/* PEN_LIMIT_ARGUMENTS of them, with names as long as they may be. */
static bool many_arguments;
static _Atomic(const char *) firsts; /* of the kernels yet to be described; by whoever builds */

static void redefine(struct pen_argument_info *argument)
{
    const char *next = atomic_load(&firsts);
    if (!next || !*next)
        return;
    if (*next == 'v')
        argument->kind = PEN_ARGUMENT_KIND_VALUE;
    argument->known = *next != '?';
    atomic_store(&firsts, next + 1);
}

static int kernel_info(struct pen_backend_kernel *kernel, struct pen_msg_kernel_info *out)
{
    int rc = pen_backend_fake.kernel_info(kernel, out);
    if (!rc && out->arguments_count)
        redefine((struct pen_argument_info *)(uintptr_t)out->arguments);
    if (rc || !many_arguments)
        return rc;
    struct pen_argument_info *arguments = calloc(PEN_LIMIT_ARGUMENTS, sizeof *arguments);
    char name[PEN_LIMIT_NAME + 1] = "";
    memset(name, 'x', PEN_LIMIT_NAME);
    for (uint32_t i = 0; i < PEN_LIMIT_ARGUMENTS; i++)
        arguments[i] = (struct pen_argument_info){.kind = PEN_ARGUMENT_KIND_VALUE,
                                                  .known = 1,
                                                  .size = i + 1,
                                                  .type_name = strdup(i ? name : "int"),
                                                  .name = strdup(name)};
    struct pen_msg_kernel_info old = {.arguments = out->arguments, .arguments_count = out->arguments_count};
    pen_backend_kernel_info_free(&old);
    out->arguments = arguments;
    out->arguments_count = PEN_LIMIT_ARGUMENTS;
    return 0;
}

static void rename_device(struct pen_backend_device *device, const struct rig_options *options)
{
    if (options->vendor_name)
        strcpy(device->vendor_name, options->vendor_name);
    if (options->driver)
        strcpy(device->driver, options->driver);
    if (options->driver_version)
        strcpy(device->driver_version, options->driver_version);
}

static void make_shadows(struct rig *rig, uint32_t domains, const struct rig_options *options)
{
    ops = pen_backend_fake;
    ops.partition = partition;
    ops.queue_create = queue_create;
    ops.memory_create = memory_create;
    ops.sampler_create = sampler_create;
    ops.program_create = program_create;
    ops.program_build = program_build;
    ops.kernel_create = kernel_create;
    ops.set_value = set_value;
    ops.kernel_info = kernel_info;
    ops.launch = launch;
    ops.marker = marker;
    for (uint32_t i = 0; i < domains; i++) {
        rig->shadows[i] = rig->devices[i];
        shadows[i] = (struct shadow){rig->devices[i].domain, rig->devices[i].index};
        rig->shadows[i].domain = (struct pen_backend_domain *)(void *)&shadows[options->shared ? 0 : i];
        rig->shadows[i].index = options->shared ? i : 0;
        rig->shadows[i].one_thread = options->one_thread & 1u << i;
        rename_device(&rig->shadows[i], options);
        rig->members[i] = &rig->shadows[i];
        rig->offers[i] = (struct pen_offer){.device = rig->shadows[i]};
    }
    if (options->span) {
        rig->offers[0].device.domain = NULL;
        rig->offers[0].members = rig->members;
        rig->offers[0].member_count = domains;
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static void *run(void *context)
{
    dispatch = pthread_self();
    pen_work_run(context);
    return NULL;
}

static void environment(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void open_session(struct rig *rig)
{
    struct pen_msg_session_opened opened;
    struct pen_error error = {0};
    void *arena;
    assert_int_equal(pen_unix_receive(rig->client_fd, &rig->frame, pen_deadline_ms(5000)), 0);
    assert_int_equal(rig->frame.opcode, PEN_OP_SESSION_OPENED);
    assert_int_equal(rig->frame.fd_count, 2);
    assert_int_equal(pen_msg_session_opened_decode(rig->frame.data, rig->frame.size, &rig->scratch, &opened), 0);
    assert_int_equal(pen_shared_map(rig->frame.fds[0], &rig->view, &error), 0);
    assert_int_equal(pen_arena_map(rig->frame.fds[1], opened.arena_bytes, &arena, &error), 0);
    rig->features = opened.features;
    rig->arena = arena;
    pen_ring_writer_init(&rig->writer, &rig->view);
}

void rig_start(struct rig *rig, const struct rig_options *options)
{
    struct pen_error error = {0};
    int ends[2];
    *rig = (struct rig){0};
    rig_asked = (struct rig_asked){0};
    uint32_t domains = options->domains ? options->domains : 1;
    char count[16];
    snprintf(count, sizeof count, "%u", domains);
    environment("PENSTOCK_FAKE_DEVICES", count);
    environment("PENSTOCK_FAKE_INDIRECT", options->indirect ? "1" : NULL);
    environment("PENSTOCK_FAKE_LAZY", options->lazy ? "1" : NULL);
    environment("PENSTOCK_FAKE_SEED", options->seed);
    environment("PENSTOCK_FAKE_SLOW", options->slow);
    environment("PENSTOCK_FAKE_UNBUILT", options->unbuilt);
    environment("PENSTOCK_FAKE_LOAD", options->load);
    environment("PENSTOCK_FAKE_MEMORY", options->memory);
    environment("PENSTOCK_FAKE_DOMAINS", options->memory && !options->shared ? count : NULL);
    environment("PENSTOCK_FAKE_FAIL", options->fail);
    if (pen_backend_fake.init(NULL, NULL, &rig->devices, &rig->device_count, &error))
        fail_msg("%s", error.message);
    make_shadows(rig, domains, options);
    build_us = options->build_ms * 1000;
    many_arguments = options->many_arguments;
    atomic_store(&firsts, options->firsts);
    assert_int_equal(pen_crash_create(&rig->crash, &rig->crash_fd), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    rig->client_fd = ends[0];
    rig->worker_fd = ends[1];
    strcpy(rig->tmp_dir, "/tmp/penstock-test-XXXXXX");
    assert_non_null(mkdtemp(rig->tmp_dir));
    if (options->cache_dir)
        rig->cache = pen_cache_open(options->cache_dir, 1 << 20);
    uint64_t ids[PEN_LIMIT_DEVICES];
    for (uint32_t i = 0; i < PEN_LIMIT_DEVICES; i++)
        ids[i] = i + 1;
    struct pen_work_memory memory;
    if (pen_work_memory_create(PEN_RING_BYTES_MIN, RIG_ARENA, &memory, &error))
        fail_msg("%s", error.message);
    const struct pen_work_config config = {.ops = &ops,
                                           .offers = rig->offers,
                                           .offer_count = options->span ? 1 : domains,
                                           .allowed = ids + options->hidden,
                                           .allowed_count = domains - options->hidden,
                                           .features = options->features   ? options->features
                                                       : options->indirect ? 0
                                                                           : PEN_FEATURE_DIRECT,
                                           .memory = &memory,
                                           .spin_ns = 1000,
                                           .session = 7,
                                           .program = "test",
                                           .tmp_dir = rig->tmp_dir,
                                           .cache = rig->cache,
                                           .log = options->log,
                                           .crash = rig->crash,
                                           .capture = options->capture,
                                           .client_fd = rig->worker_fd};
    if (pen_work_create(&config, &rig->work, &error))
        fail_msg("%s", error.message);
    open_session(rig);
    rig->threaded = !options->no_thread;
    if (rig->threaded)
        assert_int_equal(pthread_create(&rig->thread, NULL, run, rig->work), 0);
}

void rig_halt(struct rig *rig)
{
    pen_work_stop(rig->work);
    if (rig->threaded)
        pthread_join(rig->thread, NULL);
    rig->threaded = false;
}

void rig_stop(struct rig *rig)
{
    rig_halt(rig);
    pen_work_destroy(rig->work);
    pen_cache_close(rig->cache);
    pen_unix_frame_finish(&rig->frame);
    pen_scratch_finish(&rig->scratch);
    pen_shared_unmap(&rig->view);
    pen_arena_unmap(rig->arena, RIG_ARENA);
    munmap(rig->crash, PEN_CRASH_BYTES);
    close(rig->crash_fd);
    close(rig->client_fd);
    close(rig->worker_fd);
    pen_backend_fake.finish();
    pen_file_remove_tree(rig->tmp_dir);
}

void rig_execute(struct rig *rig)
{
    const void *frame;
    size_t size;
    while (!rig->work->failed && pen_ring_next(&rig->work->ring, &frame, &size) > 0) {
        rig->work->last = !pen_ring_ready(&rig->work->ring);
        pen_work_execute(rig->work, frame, size);
    }
}

void rig_pump(struct rig *rig)
{
    rig_execute(rig);
    pen_work_idle(rig->work);
    pen_task_reap(rig->work);
    while (pen_task_flying(rig->work) || pen_builder_busy(rig->work)) {
        usleep(50);
        pen_task_reap(rig->work);
        pen_build_collect(rig->work);
    }
}

/* ---- commands and answers -------------------------------------------------------------------------------- */

void *rig_begin(struct rig *rig, size_t size)
{
    assert_true(size != 0);
    void *at = pen_ring_reserve(&rig->writer, size);
    if (!at) {
        assert_true(pen_ring_wait_room(&rig->writer, size, 0, PATIENCE_NS));
        at = pen_ring_reserve(&rig->writer, size);
    }
    assert_non_null(at);
    return at;
}

uint64_t rig_commit(struct rig *rig, size_t size)
{
    pen_ring_publish(&rig->writer, size);
    pen_fence();
    pen_ring_doorbell(&rig->view);
    return rig->sequence;
}

void rig_answer(struct rig *rig, uint16_t opcode)
{
    pen_scratch_reset(&rig->scratch);
    if (!rig->threaded)
        rig_pump(rig);
    int rc = pen_unix_receive(rig->client_fd, &rig->frame, pen_deadline_ms(10000));
    if (rc)
        fail_msg("no answer: %s", pen_error_text(rc));
    if (rig->frame.opcode == PEN_OP_FATAL && opcode != PEN_OP_FATAL) {
        struct pen_msg_fatal fatal;
        pen_msg_fatal_decode(rig->frame.data, rig->frame.size, &rig->scratch, &fatal);
        fail_msg("the session has failed: %s", fatal.message);
    }
    assert_int_equal(rig->frame.opcode, opcode);
}

int rig_slot(struct rig *rig, uint32_t slot)
{
    return atomic_load_explicit(&rig->view.slots[slot].state, memory_order_acquire);
}

/* A session that has failed will publish nothing: says why. */
static void expect_alive(struct rig *rig)
{
    char message[512] = "";
    if (!atomic_load(&rig->view.shared->gone))
        return;
    rig_fatal(rig, message, sizeof message);
    fail_msg("the session has failed: %s", message);
}

int rig_wait_slot(struct rig *rig, uint32_t slot)
{
    uint64_t deadline = pen_now_ns() + PATIENCE_NS;
    if (!rig->threaded)
        rig_pump(rig);
    while (rig_slot(rig, slot) > 0) {
        if (pen_now_ns() > deadline)
            fail_msg("slot %u is in state %d for ever", slot, rig_slot(rig, slot));
        expect_alive(rig);
        usleep(20);
    }
    return rig_slot(rig, slot);
}

void rig_wait_queue(struct rig *rig, uint32_t slot, uint64_t sequence)
{
    uint64_t deadline = pen_now_ns() + PATIENCE_NS;
    while (atomic_load_explicit(&rig->view.queues[slot].completed, memory_order_acquire) < sequence) {
        if (pen_now_ns() > deadline)
            fail_msg("queue slot %u never comes to %llu", slot, (unsigned long long)sequence);
        expect_alive(rig);
        usleep(20);
    }
}

int rig_fatal(struct rig *rig, char *out, size_t size)
{
    struct pen_msg_fatal fatal;
    do {
        if (!rig->threaded)
            rig_pump(rig);
        if (pen_unix_receive(rig->client_fd, &rig->frame, pen_deadline_ms(5000)))
            return 0;
    } while (rig->frame.opcode != PEN_OP_FATAL);
    pen_scratch_reset(&rig->scratch);
    assert_int_equal(pen_msg_fatal_decode(rig->frame.data, rig->frame.size, &rig->scratch, &fatal), 0);
    snprintf(out, size, "%s", fatal.message);
    while (!atomic_load(&rig->view.shared->gone)) /* published after the sentence was sent */
        usleep(10);
    return fatal.status;
}

/* ---- objects --------------------------------------------------------------------------------------------- */

void rig_program(struct rig *rig, uint64_t id, const char *text)
{
    static uint64_t at; /* texts are copied out when the command is executed: each its own place for a while */
    uint64_t offset = TEXT_OFFSET + at % 512 * 2048;
    at++;
    assert_true(strlen(text) < 2048);
    memcpy(rig->arena + offset, text, strlen(text));
    RIG_SEND(rig, program_create, .program = id, .kind = PEN_PROGRAM_KIND_SOURCE, .text = {offset, strlen(text)});
}

int rig_build(struct rig *rig, uint64_t id, uint32_t devices)
{
    const uint64_t ids[] = {1, 2, 3};
    struct pen_msg_built built;
    RIG_SEND(rig, program_build, .program = id, .devices = ids, .devices_count = devices, .options = "");
    rig_answer(rig, PEN_OP_BUILT);
    assert_int_equal(pen_msg_built_decode(rig->frame.data, rig->frame.size, &rig->scratch, &built), 0);
    int status = built.status;
    uint32_t logs = 0, kernels = built.kernels;
    for (uint32_t i = 0; i < built.results_count; i++)
        logs += built.results[i].log_bytes != 0;
    while (logs--)
        rig_answer(rig, PEN_OP_DATA);
    while (kernels--)
        rig_answer(rig, PEN_OP_KERNEL_INFO);
    return status;
}

void rig_kernel(struct rig *rig, uint64_t id, uint64_t program, const char *name)
{
    RIG_SEND(rig, kernel_create, .kernel = id, .program = program, .name = name);
}

void rig_queue(struct rig *rig, uint64_t id, uint64_t device, uint32_t flags, uint32_t slot)
{
    RIG_SEND(rig, queue_create, .queue = id, .device = device, .flags = flags, .slot = slot);
}

void rig_buffer(struct rig *rig, uint64_t id, uint64_t offset, uint64_t words, bool initialized)
{
    uint32_t direct = rig->features & PEN_FEATURE_DIRECT ? PEN_REGION_FLAG_DIRECT : 0;
    RIG_SEND(rig, region_create, .region = id, .size = words * 4, .arena_offset = offset,
             .flags = PEN_REGION_FLAG_KERNEL_READS | PEN_REGION_FLAG_KERNEL_WRITES | direct,
             .initialized = initialized);
}

void rig_set_region(struct rig *rig, uint64_t kernel, uint32_t index, uint64_t region)
{
    RIG_SEND(rig, kernel_argument, .kernel = kernel, .index = index, .kind = PEN_ARGUMENT_KIND_REGION,
             .object = region);
}

void rig_set_word(struct rig *rig, uint64_t kernel, uint32_t index, uint32_t value)
{
    RIG_SEND(rig, kernel_argument, .kernel = kernel, .index = index, .kind = PEN_ARGUMENT_KIND_VALUE, .size = 4,
             .value = {&value, 4});
}

uint64_t rig_launch(struct rig *rig, uint64_t queue, uint64_t kernel, uint64_t items, uint64_t event, uint32_t slot,
                    const uint64_t *waits, uint32_t wait_count)
{
    if (slot)
        atomic_store(&rig->view.slots[slot].state, PEN_STATE_QUEUED);
    return RIG_SEND(rig, launch, .queue = queue, .event = event, .slot = slot, .dimensions = 1, .kernel = kernel,
                    .global = {items, 1, 1}, .waits = waits, .waits_count = wait_count);
}

int rig_read(struct rig *rig, uint64_t queue, uint64_t region, uint64_t words, uint64_t to)
{
    static uint64_t event = 1000000;
    atomic_store(&rig->view.slots[1000].state, PEN_STATE_QUEUED);
    event++;
    RIG_SEND(rig, read, .queue = queue, .event = event, .slot = 1000, .region = region, .extent = {words * 4, 1, 1},
             .arena_offset = to, .arena_size = words * 4);
    int state = rig_wait_slot(rig, 1000);
    RIG_SEND(rig, event_destroy, .event = event);
    return state;
}
