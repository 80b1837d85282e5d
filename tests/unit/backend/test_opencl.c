/* The OpenCL backend on a real driver: test_opencl LIBRARY [UNITS], where LIBRARY is the vendor's and UNITS the compute
 * units of a part. Exits 77 where the driver is not installed. What README.md says of the drivers is held here. */
#include "common.h"

#include <stdatomic.h>
#include <sys/mman.h>

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

static const struct pen_backend_ops *const ops = &pen_backend_opencl;

static struct {
    const char *library;
    uint32_t units;
    bool pocl, rusticl, oclgrind;
    struct pen_backend_device *devices;
    uint32_t count;
    struct pen_backend_domain *domain;
    struct pen_backend_queue *queue; /* in order, device 0 */
    unsigned char *arena;            /* shared memory */
} test;

#define ARENA (1u << 20)

static const struct pen_backend_property *find(const struct pen_backend_device *device, uint32_t key)
{
    for (uint32_t i = 0; i < device->property_count; i++)
        if (device->properties[i].key == key)
            return &device->properties[i];
    return NULL;
}

static void devices_are_described(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < test.count; i++) {
        const struct pen_backend_device *device = &test.devices[i];
        const struct pen_backend_property *name = find(device, CL_DEVICE_NAME);
        assert_non_null(name);
        assert_string_equal((const char *)name->value, device->vendor_name);
        assert_true(device->memory_bytes > 0);
        assert_true(device->compute_units > 0);
        assert_int_equal(device->class, PEN_DEVICE_CLASS_CPU);
        assert_true(device->property_count <= PEN_LIMIT_PROPERTIES);
        for (uint32_t j = 0; j < device->property_count; j++)
            assert_true(device->properties[j].size <= PEN_LIMIT_PROPERTY);
        assert_null(find(device, CL_DEVICE_PLATFORM));
        assert_null(find(device, CL_DEVICE_PARENT_DEVICE));
        assert_int_equal(find(device, CL_DEVICE_MAX_WORK_ITEM_SIZES)->size, 3 * sizeof(size_t));
        const struct pen_backend_property *formats = find(device, PEN_KEY_FORMATS + 16 * 2 + PEN_REGION_KIND_IMAGE2D);
        assert_non_null(formats);
        assert_int_equal(formats->size % sizeof(cl_image_format), 0);
        print_message("%s: %u properties, flags %u, %u units\n", device->vendor_name, device->property_count,
                      device->flags, device->compute_units);
    }
}

/* README.md, table of drivers. */
static void probes_find_what_drivers_do(void **unused)
{
    (void)unused;
    uint32_t both = PEN_DEVICE_FLAG_DIRECT | PEN_DEVICE_FLAG_DIRECT_IMAGES;
    for (uint32_t i = 0; i < test.count; i++) {
        uint32_t flags = test.devices[i].flags;
        assert_int_equal(flags & both, test.rusticl ? PEN_DEVICE_FLAG_DIRECT : both);
        assert_int_equal(!(flags & PEN_DEVICE_FLAG_OUT_OF_ORDER), test.rusticl);
        assert_int_equal(test.devices[i].one_thread, test.oclgrind);
        assert_int_equal(!(flags & PEN_DEVICE_FLAG_ANY_SLICE), test.pocl);
    }
}

static void parts_are_devices_of_one_domain(void **unused)
{
    (void)unused;
    if (!test.units || !test.pocl)
        return;
    assert_true(test.count >= 2);
    for (uint32_t i = 0; i < test.count; i++) {
        assert_ptr_equal(test.devices[i].domain, test.domain);
        assert_int_equal(test.devices[i].compute_units, test.units);
    }
}

static void bytes_go_in_and_out(void **unused)
{
    (void)unused;
    unsigned char sent[4096], got[4096];
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (unsigned char)(i * 13 + (i >> 8));
    struct pen_backend_memory *a = make_buffer(ops, test.domain, sizeof sent, NULL);
    struct pen_backend_memory *b = make_buffer(ops, test.domain, sizeof sent, NULL);

    put(ops, test.queue, a, 0, sent, sizeof sent);
    put(ops, test.queue, a, 100, sent, 50);
    const struct pen_backend_copy copy = {
        .source = a, .target = b, .source_box.origin = {100}, .target_box.origin = {200}, .extent = {50, 1, 1}};
    assert_int_equal(ops->copy(test.queue, &copy, &no_order), 0);
    get(ops, test.queue, b, 200, got, 50);
    assert_memory_equal(got, sent, 50);

    /* a box of 10 x 4 x 2 bytes out of rows of 64 and slices of 512 into rows of 16 and slices of 96 */
    put(ops, test.queue, a, 0, sent, sizeof sent);
    memset(got, 0xee, sizeof got);
    const struct pen_backend_transfer box = {
        .memory = a, .box = {{3, 2, 1}, 64, 512}, .host = {{5, 1, 0}, 16, 96}, .extent = {10, 4, 2}, .bytes = got};
    assert_int_equal(ops->read(test.queue, &box, &no_order), 0);
    assert_int_equal(ops->queue_finish(test.queue), 0);
    for (size_t z = 0; z < 2; z++)
        for (size_t y = 0; y < 4; y++)
            assert_memory_equal(got + 5 + (y + 1) * 16 + z * 96, sent + 3 + (y + 2) * 64 + (z + 1) * 512, 10);
    assert_int_equal(got[4], 0xee);

    /* the same box between buffers, then as one run of bytes */
    const struct pen_backend_copy rect = {.source = a,
                                          .target = b,
                                          .source_box = {{3, 2, 1}, 64, 512},
                                          .target_box = {{0, 0, 0}, 0, 0},
                                          .extent = {10, 4, 2}};
    assert_int_equal(ops->copy(test.queue, &rect, &no_order), 0);
    get(ops, test.queue, b, 0, got, 80);
    for (size_t i = 0; i < 8; i++)
        assert_memory_equal(got + i * 10, sent + 3 + (i % 4 + 2) * 64 + (i / 4 + 1) * 512, 10);

    const uint64_t origin[3] = {64, 0, 0}, extent[3] = {128, 1, 1};
    assert_int_equal(ops->fill(test.queue, b, origin, extent, "abcd", 4, &no_order), 0);
    get(ops, test.queue, b, 64, got, 128);
    for (size_t i = 0; i < 128; i++)
        assert_int_equal(got[i], "abcd"[i % 4]);
    ops->memory_destroy(a, NULL, NULL);
    ops->memory_destroy(b, NULL, NULL);
}

static const char kernels_text[] =
    "typedef struct { int a; char b; float c[5]; } thing;\n"
    "kernel void add(global uint *data, uint n) { data[get_global_id(0)] += n; }\n"
    "kernel void sum(global uint *to, global const uint *from, local uint *l) {\n"
    "    l[get_local_id(0)] = from[get_global_id(0)]; to[get_global_id(0)] += l[get_local_id(0)]; }\n"
    "kernel __attribute__((reqd_work_group_size(4, 1, 1))) void many(thing t, float3 v, long n, read_only image2d_t "
    "im,\n"
    "    sampler_t s, local float *l, constant float4 *c, global const thing *restrict g, double8 d, write_only\n"
    "    image2d_t out) {}\n"
    "kernel void pixels(read_only image2d_t from, sampler_t s, global uint *to) {\n"
    "    int2 at = (int2)(get_global_id(0), get_global_id(1));\n"
    "    to[at.y * get_global_size(0) + at.x] = read_imageui(from, s, at).x; }\n";

/* rusticl over llvmpipe has no double. */
static const char *kernels(void)
{
    static char text[sizeof kernels_text];

    memcpy(text, kernels_text, sizeof text);
    char *d = test.rusticl ? strstr(text, "double8 d") : NULL;
    if (d)
        memcpy(d, "float8 d ", 9);
    return text;
}

static void kernels_are_known(void **unused)
{
    (void)unused;
    struct pen_backend_program *program = make_program(ops, test.domain, kernels());
    struct pen_backend_kernel *kernel = make_kernel(ops, program, "many");
    struct pen_msg_kernel_info info;
    char **names;
    uint32_t count;

    assert_int_equal(ops->program_kernels(program, &names, &count), 0);
    assert_int_equal(count, 4);
    bool found = false;
    for (uint32_t i = 0; i < count; i++) {
        found = found || !strcmp(names[i], "pixels");
        free(names[i]);
    }
    free(names);
    assert_true(found);

    assert_int_equal(ops->kernel_info(kernel, &info), 0);
    assert_string_equal(info.name, "many");
    static const enum pen_argument_kind kinds[] = {
        PEN_ARGUMENT_KIND_VALUE,   PEN_ARGUMENT_KIND_VALUE, PEN_ARGUMENT_KIND_VALUE,  PEN_ARGUMENT_KIND_REGION,
        PEN_ARGUMENT_KIND_SAMPLER, PEN_ARGUMENT_KIND_LOCAL, PEN_ARGUMENT_KIND_REGION, PEN_ARGUMENT_KIND_REGION,
        PEN_ARGUMENT_KIND_VALUE,   PEN_ARGUMENT_KIND_REGION};
    /* PoCL takes any size of a struct: not known */
    const uint32_t sizes[] = {test.pocl ? 0 : 28, 16, 8, 0, 0, 0, 0, 0, test.rusticl ? 32 : 64, 0};
    assert_int_equal(info.arguments_count, 10);
    for (uint32_t i = 0; i < info.arguments_count; i++) {
        assert_int_equal(info.arguments[i].known, 1);
        assert_int_equal(info.arguments[i].kind, kinds[i]);
        assert_int_equal(info.arguments[i].size, sizes[i]);
    }
    assert_string_equal(info.arguments[0].type_name, "thing");
    assert_string_equal(info.arguments[2].name, "n");
    assert_int_equal(info.arguments[3].access, CL_KERNEL_ARG_ACCESS_READ_ONLY);
    assert_int_equal(info.arguments[9].access, CL_KERNEL_ARG_ACCESS_WRITE_ONLY);
    assert_int_equal(info.arguments[6].address, CL_KERNEL_ARG_ADDRESS_CONSTANT);
    assert_true(info.arguments[7].qualifiers & CL_KERNEL_ARG_TYPE_CONST);
    if (!test.units) /* PoCL builds for all sub-devices of a device */
        assert_int_equal(info.devices_count, 1);
    assert_int_equal(info.devices[0].device, 0);
    assert_true(info.devices[0].work_group_size > 0);
    if (!test.rusticl) /* of Mesa 22.3; it answers 0 */
        assert_int_equal(info.devices[0].compile_work_group_size[0], 4);
    pen_backend_kernel_info_free(&info);
    ops->kernel_destroy(kernel);
    ops->program_destroy(program);
}

static void builds_fail_with_a_log(void **unused)
{
    (void)unused;
    static const uint32_t devices[1];
    struct pen_backend_program *program = make_source(ops, test.domain, "kernel void f() { undeclared = 1; }");
    struct pen_backend_build build = {
        .step = PEN_BUILD_STEP_BUILD, .program = program, .devices = devices, .device_count = 1};
    struct pen_build_result result = {0};
    char *log = NULL;

    assert_int_equal(ops->program_build(test.domain, &build, NULL, &result, &log), -PEN_EBUILD);
    assert_int_equal(result.outcome, PEN_BUILD_OUTCOME_FAILED);
    assert_non_null(log);
    assert_non_null(strstr(log, "undeclared"));
    assert_int_equal(result.log_bytes, strlen(log));
    free(log);
    struct pen_backend_kernel *kernel;
    assert_true(ops->kernel_create(program, "f", &kernel) < 0);
    ops->program_destroy(program);

    program = make_program(ops, test.domain, kernels());
    assert_int_equal(ops->kernel_create(program, "absent", &kernel), -PEN_EKERNELNAME);
    ops->program_destroy(program);
    if (test.oclgrind)
        return; /* it finds out when it builds */
    assert_int_equal(
        ops->program_create(test.domain, PEN_PROGRAM_KIND_NATIVE, (const uint32_t[]){0}, 1, "garbage", 7, &program),
        -PEN_EBINARY);
    static const char longer[4096] = "poclbin of another driver, long enough for any header";
    assert_int_equal(ops->program_create(test.domain, PEN_PROGRAM_KIND_NATIVE, (const uint32_t[]){0}, 1, longer,
                                         sizeof longer, &program),
                     -PEN_EBINARY);
}

static void run_add(struct pen_backend_program *program, const char *name, uint32_t want)
{
    struct pen_backend_kernel *kernel = make_kernel(ops, program, name);
    struct pen_backend_memory *memory = make_buffer(ops, test.domain, 64, NULL);
    uint32_t data[16] = {1}, n = 5;

    put(ops, test.queue, memory, 0, data, sizeof data);
    assert_int_equal(ops->set_memory(kernel, 0, memory), 0);
    assert_int_equal(ops->set_value(kernel, 1, &n, sizeof n), 0);
    assert_int_equal(launch(ops, test.queue, kernel, 16, &no_order), 0);
    get(ops, test.queue, memory, 0, data, sizeof data);
    assert_int_equal(data[0], want + 1);
    assert_int_equal(data[15], want);
    ops->memory_destroy(memory, NULL, NULL);
    ops->kernel_destroy(kernel);
}

static void parts_of_programs_link(void **unused)
{
    (void)unused;
    static const uint32_t devices[1];
    struct pen_backend_program *parts[2] = {
        make_source(ops, test.domain, "uint twice(uint n) { return n * 2; }"),
        make_source(ops, test.domain,
                    "uint twice(uint n);\n"
                    "kernel void f(global uint *d, uint n) { d[get_global_id(0)] += twice(n); }")};
    struct pen_backend_build build = {.step = PEN_BUILD_STEP_COMPILE, .devices = devices, .device_count = 1};
    struct pen_build_result result = {0};
    struct pen_backend_program *linked = NULL;
    char *log = NULL;

    for (int i = 0; i < 2; i++) {
        build.program = parts[i];
        assert_int_equal(ops->program_build(test.domain, &build, NULL, &result, &log), 0);
        assert_int_equal(result.binary_type, 1);
        free(log);
    }
    build = (struct pen_backend_build){
        .step = PEN_BUILD_STEP_LINK, .devices = devices, .device_count = 1, .inputs = parts, .input_count = 2};
    assert_int_equal(ops->program_build(test.domain, &build, &linked, &result, &log), 0);
    free(log);
    run_add(linked, "f", 10);
    ops->program_destroy(linked);
    ops->program_destroy(parts[0]);
    ops->program_destroy(parts[1]);
}

static void binaries_come_back(void **unused)
{
    (void)unused;
    static const uint32_t devices[1];
    struct pen_backend_program *program = make_program(ops, test.domain, kernels()), *again;
    void *bytes;
    size_t size;

    assert_int_equal(ops->program_binary(program, 0, &bytes, &size), 0);
    assert_int_equal(
        ops->program_create(test.domain, PEN_PROGRAM_KIND_NATIVE, (const uint32_t[]){0}, 1, bytes, size, &again), 0);
    struct pen_backend_program *cut;
    if (test.rusticl) /* cut short, it would end the process; the others find out when they build, or trust it */
        assert_int_equal(
            ops->program_create(test.domain, PEN_PROGRAM_KIND_NATIVE, (const uint32_t[]){0}, 1, bytes, size - 40, &cut),
            -PEN_EBINARY);
    free(bytes);
    struct pen_backend_build build = {
        .step = PEN_BUILD_STEP_BUILD, .program = again, .devices = devices, .device_count = 1};
    struct pen_build_result result = {0};
    char *log = NULL;
    assert_int_equal(ops->program_build(test.domain, &build, NULL, &result, &log), 0);
    free(log);
    run_add(again, "add", 5);
    ops->program_destroy(again);
    ops->program_destroy(program);
}

/* What the front end stands on: host memory is the storage, for kernels too, with no map between. */
static void direct_memory_is_shared_with_kernels(void **unused)
{
    (void)unused;
    struct pen_backend_program *program = make_program(ops, test.domain, kernels());
    struct pen_backend_kernel *kernel = make_kernel(ops, program, "add");
    uint32_t *words = (uint32_t *)(void *)(test.arena + 64), n = 3;
    struct pen_backend_memory *memory = make_buffer(ops, test.domain, 8192, words), *slice;
    const struct pen_backend_memory_desc part = {
        .kind = PEN_REGION_KIND_BUFFER, .size = 4096, .parent = memory, .parent_offset = 4096};

    assert_int_equal(ops->memory_create(test.domain, &part, &slice), 0);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 2048; i++)
            words[i] = i + round;
        assert_int_equal(ops->set_memory(kernel, 0, memory), 0);
        assert_int_equal(ops->set_value(kernel, 1, &n, sizeof n), 0);
        assert_int_equal(launch(ops, test.queue, kernel, 256, &no_order), 0);
        assert_int_equal(ops->set_memory(kernel, 0, slice), 0);
        assert_int_equal(launch(ops, test.queue, kernel, 128, &no_order), 0);
        assert_int_equal(ops->queue_flush(test.queue), 0); /* rusticl's clFinish after it waits for nothing */
        assert_int_equal(ops->queue_finish(test.queue), 0);
        for (uint32_t i = 0; i < 2048; i++)
            assert_int_equal(words[i], i + round + (i < 256 || (i >= 1024 && i < 1152) ? 3 : 0));
    }
    ops->memory_destroy(slice, NULL, NULL);
    ops->memory_destroy(memory, NULL, NULL);
    ops->kernel_destroy(kernel);
    ops->program_destroy(program);
}

static void memory_goes_after_its_commands(void **unused)
{
    (void)unused;
    struct pen_backend_program *program = make_program(ops, test.domain, kernels());
    struct pen_backend_kernel *kernel = make_kernel(ops, program, "add");
    struct completion gone = COMPLETION;
    uint32_t *words = (uint32_t *)(void *)test.arena, n = 1;
    int launches = test.oclgrind ? 20 : 200;

    memset(words, 0, 8192);
    struct pen_backend_memory *memory = make_buffer(ops, test.domain, 8192, words), *other;
    assert_int_equal(ops->set_memory(kernel, 0, memory), 0);
    assert_int_equal(ops->set_value(kernel, 1, &n, sizeof n), 0);
    for (int i = 0; i < launches; i++)
        assert_int_equal(launch(ops, test.queue, kernel, 64, &no_order), 0);
    ops->memory_destroy(memory, completion_destroyed, &gone);
    assert_int_equal(ops->queue_finish(test.queue), 0);
    assert_int_equal(words[0], launches);
    assert_int_equal(words[63], launches);
    other = make_buffer(ops, test.domain, 8192, NULL);
    assert_int_equal(ops->set_memory(kernel, 0, other), 0);
    put(ops, test.queue, other, 0, words, 64);
    assert_true(completion_wait(&gone, 1));
    assert_int_equal(gone.calls, 1);
    ops->memory_destroy(other, NULL, NULL);
    ops->kernel_destroy(kernel);
    ops->program_destroy(program);
}

/* Also of images over buffers, of which drivers forget the destructor callbacks. */
static void views_go_too(void **unused)
{
    (void)unused;
    struct completion gone = COMPLETION;
    struct pen_backend_memory *buffer = make_buffer(ops, test.domain, 4096, NULL), *view;
    const struct pen_backend_memory_desc desc = {
        .kind = PEN_REGION_KIND_IMAGE1D_BUFFER,
        .flags = PEN_REGION_FLAG_KERNEL_READS | PEN_REGION_FLAG_KERNEL_WRITES,
        .size = 4096,
        .image = {.channel_order = CL_RGBA, .channel_type = CL_UNSIGNED_INT8, .width = 1024, .element_bytes = 4},
        .parent = buffer};
    int rc = ops->memory_create(test.domain, &desc, &view);
    if (!rc) {
        ops->memory_destroy(view, completion_destroyed, &gone);
        assert_true(completion_wait(&gone, 1));
    }
    assert_true(!rc || test.oclgrind);
    ops->memory_destroy(buffer, completion_destroyed, &gone);
    assert_true(completion_wait(&gone, rc ? 1 : 2));
}

struct note {
    struct completion *completion;
    atomic_int calls;
    int status; /* of the first */
};

/* In whatever order, and on whatever thread: drivers promise neither. */
static void once(void *context, int status, const struct pen_event_times *times)
{
    struct note *note = context;
    if (atomic_fetch_add(&note->calls, 1) == 0)
        note->status = status;
    completion_note(note->completion, status, times);
}

static void many_completions_come_once(void **unused)
{
    (void)unused;
    enum { MOST = 3000 };
    static struct note notes[MOST];
    struct completion all = COMPLETION;
    struct pen_backend_program *program = make_program(ops, test.domain, kernels());
    struct pen_backend_kernel *kernel = make_kernel(ops, program, "add");
    struct pen_backend_memory *memory = make_buffer(ops, test.domain, 256, NULL);
    int count = test.oclgrind || test.rusticl ? 200 : MOST;
    uint32_t zero[64] = {0};

    put(ops, test.queue, memory, 0, zero, sizeof zero);
    for (int i = 0; i < count; i++) {
        uint32_t n = (uint32_t)i; /* arguments are set while callbacks run on other threads */
        notes[i].completion = &all;
        const struct pen_backend_order order = {.done = once, .context = &notes[i]};
        assert_int_equal(ops->set_memory(kernel, 0, memory), 0);
        assert_int_equal(ops->set_value(kernel, 1, &n, sizeof n), 0);
        assert_int_equal(launch(ops, test.queue, kernel, 64, &order), 0);
    }
    assert_int_equal(ops->queue_flush(test.queue), 0);
    assert_true(completion_wait(&all, count));
    assert_int_equal(all.calls, count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(notes[i].calls, 1);
        assert_int_equal(notes[i].status, 0);
    }
    get(ops, test.queue, memory, 0, zero, sizeof zero);
    assert_int_equal(zero[0], (uint32_t)count * (uint32_t)(count - 1) / 2);
    ops->memory_destroy(memory, NULL, NULL);
    ops->kernel_destroy(kernel);
    ops->program_destroy(program);
}

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void times_are_on_our_clock(void **unused)
{
    (void)unused;
    struct pen_backend_queue *queue = make_queue(ops, test.domain, 0, PEN_QUEUE_FLAG_PROFILING);
    struct pen_backend_memory *memory = make_buffer(ops, test.domain, 1 << 20, NULL);
    const uint64_t origin[3] = {0}, extent[3] = {1 << 20, 1, 1};

    for (int i = 0; i < 5; i++) {
        struct completion done = COMPLETION;
        const struct pen_backend_order order = {.done = completion_note, .context = &done};
        uint64_t before = now_ns();
        assert_int_equal(ops->fill(queue, memory, origin, extent, "abcd", 4, &order), 0);
        assert_int_equal(ops->queue_finish(queue), 0);
        assert_true(completion_wait(&done, 1));
        uint64_t after = now_ns();
        assert_int_equal(done.status, 0);
        assert_true(done.timed);
        assert_true(before <= done.times.queued);
        assert_true(done.times.queued <= done.times.submitted);
        assert_true(done.times.submitted <= done.times.started);
        assert_true(done.times.started <= done.times.ended);
        assert_true(done.times.ended <= after);
    }
    ops->memory_destroy(memory, NULL, NULL);
    ops->queue_destroy(queue);
}

static void queues_wait_for_each_other(void **unused)
{
    (void)unused;
    uint32_t last = test.count > 1 && test.devices[1].domain == test.domain ? 1 : 0;
    struct pen_backend_queue *queues[2] = {make_queue(ops, test.domain, 0, PEN_QUEUE_FLAG_OUT_OF_ORDER),
                                           make_queue(ops, test.domain, last, 0)};
    struct pen_backend_memory *memory = make_buffer(ops, test.domain, 65536, NULL);
    const uint64_t origin[3] = {0}, extent[3] = {65536, 1, 1};
    struct pen_backend_event *before = NULL;
    struct completion done = COMPLETION;
    uint32_t word;

    for (uint32_t i = 0; i < 20; i++) { /* alternate; the last must be the last */
        struct pen_backend_event *event;
        const struct pen_backend_order order = {.waits = &before,
                                                .wait_count = before ? 1 : 0,
                                                .out_event = &event,
                                                .done = i == 19 ? completion_note : NULL,
                                                .context = &done};
        assert_int_equal(ops->fill(queues[i & 1], memory, origin, extent, &i, 4, &order), 0);
        assert_int_equal(ops->queue_flush(queues[i & 1]), 0);
        ops->event_release(before);
        before = event;
    }
    const struct pen_backend_order after = {.waits = &before, .wait_count = 1};
    assert_int_equal(ops->marker(queues[0], &after), 0);
    assert_int_equal(ops->barrier(queues[0], &no_order), 0);
    assert_int_equal(ops->queue_finish(queues[0]), 0);
    assert_true(completion_wait(&done, 1));
    assert_false(done.timed);
    ops->event_release(before);
    get(ops, queues[0], memory, 65532, &word, 4);
    assert_int_equal(word, 19);
    ops->memory_destroy(memory, NULL, NULL);
    ops->queue_destroy(queues[0]);
    ops->queue_destroy(queues[1]);
}

static void wrong_calls_have_their_errors(void **unused)
{
    (void)unused;
    struct pen_backend_program *program = make_program(ops, test.domain, kernels());
    struct pen_backend_kernel *kernel = make_kernel(ops, program, "add");
    struct pen_backend_memory *memory = make_buffer(ops, test.domain, 256, NULL);
    struct completion never = COMPLETION;
    const struct pen_backend_order order = {.done = completion_note, .context = &never};
    uint32_t n = 1;

    assert_int_equal(ops->set_value(kernel, 7, &n, sizeof n), -PEN_EARGINDEX);
    assert_int_equal(ops->set_sampler(kernel, 1, NULL), -PEN_EARGVALUE);
    assert_int_equal(launch(ops, test.queue, kernel, 64, &order), -PEN_EKERNELARGS);
    assert_int_equal(ops->set_memory(kernel, 0, memory), 0);
    assert_int_equal(ops->set_value(kernel, 1, &n, sizeof n), 0);
    const struct pen_backend_launch uneven = {
        .kernel = kernel, .dimensions = 1, .global = {1, 1, 1}, .local = {1 << 20, 1, 1}};
    int rc = ops->launch(test.queue, &uneven, &order);
    assert_true(rc == -PEN_EGROUPSIZE || rc == -PEN_EITEMSIZE);
    const struct pen_backend_launch flat = {.kernel = kernel, .dimensions = 9, .global = {64, 1, 1}};
    assert_int_equal(ops->launch(test.queue, &flat, &order), -PEN_EDIMENSION);
    assert_int_equal(never.calls, 0);
    struct pen_backend_queue *queue;
    assert_int_equal(ops->queue_create(test.domain, 99, &(struct pen_backend_queue_desc){0}, &queue), -PEN_ENODEV);
    ops->memory_destroy(memory, NULL, NULL);
    ops->kernel_destroy(kernel);
    ops->program_destroy(program);
    ops->kernel_destroy(NULL);
    ops->program_destroy(NULL);
    ops->memory_destroy(NULL, NULL, NULL);
    ops->queue_destroy(NULL);
    ops->sampler_destroy(NULL);
    ops->event_release(NULL);
}

static const char named_text[] = "typedef struct { int w, h; } image_size;\n"
                                 "typedef struct { int w, h, d; } image_box;\n"
                                 "typedef struct { int w, h; } image2d_info;\n"
                                 "typedef global float *pointer;\n"
                                 "typedef int number;\n"
                                 "typedef read_only image2d_t picture;\n"
                                 "typedef sampler_t how;\n"
                                 "kernel void named(image_size s, image_box b, global image2d_info *i, pointer p, "
                                 "number n, picture im, how to) {}\n";

/* A name of the program's own says nothing, whatever it begins with. A sampler's type is a value's of unknown size, or
 * of a handle's. */
static void own_names_tell_nothing(void **unused)
{
    (void)unused;
    static const enum pen_argument_kind kinds[] = {
        PEN_ARGUMENT_KIND_VALUE, PEN_ARGUMENT_KIND_VALUE,  PEN_ARGUMENT_KIND_REGION, PEN_ARGUMENT_KIND_REGION,
        PEN_ARGUMENT_KIND_VALUE, PEN_ARGUMENT_KIND_REGION, PEN_ARGUMENT_KIND_VALUE};
    const uint32_t sizes[] = {test.pocl ? 0 : 8, test.pocl ? 0 : 12, 0, 0, test.pocl ? 0 : 4, 0, sizeof(cl_sampler)};
    struct pen_backend_program *program = make_program(ops, test.domain, named_text);
    struct pen_backend_kernel *kernel = make_kernel(ops, program, "named");
    struct pen_msg_kernel_info info;

    assert_int_equal(ops->kernel_info(kernel, &info), 0);
    assert_int_equal(info.arguments_count, 7);
    for (uint32_t i = 0; i < info.arguments_count; i++) {
        assert_int_equal(info.arguments[i].kind, kinds[i]);
        if (i != 6 || info.arguments[i].size)
            assert_int_equal(info.arguments[i].size, sizes[i]);
        assert_int_equal(info.arguments[i].access != CL_KERNEL_ARG_ACCESS_NONE, i == 5);
    }
    pen_backend_kernel_info_free(&info);
    ops->kernel_destroy(kernel);
    ops->program_destroy(program);
}

static void images_are_moved_filled_and_sampled(void **unused)
{
    (void)unused;
    const struct pen_backend_memory_desc desc = {.kind = PEN_REGION_KIND_IMAGE2D,
                                                 .size = 16 * 8 * 4,
                                                 .image = {.channel_order = CL_RGBA,
                                                           .channel_type = CL_UNSIGNED_INT8,
                                                           .width = 16,
                                                           .height = 8,
                                                           .row_pitch = 64,
                                                           .slice_pitch = 512,
                                                           .element_bytes = 4}};
    const struct pen_msg_sampler_create sampling = {
        .normalized = 0, .address_mode = CL_ADDRESS_CLAMP_TO_EDGE, .filter_mode = CL_FILTER_NEAREST};
    const uint32_t colour[4] = {7, 8, 9, 10};
    const uint64_t origin[3] = {2, 3, 0}, extent[3] = {5, 2, 1};
    struct pen_backend_memory *image, *out = make_buffer(ops, test.domain, 512, NULL);
    struct pen_backend_sampler *sampler;
    unsigned char bytes[512], got[512];
    uint32_t seen[128];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;
    assert_int_equal(ops->memory_create(test.domain, &desc, &image), 0);
    struct pen_backend_transfer all = {.memory = image, .host = {{0}, 64, 512}, .extent = {16, 8, 1}, .bytes = bytes};
    assert_int_equal(ops->write(test.queue, &all, &no_order), 0);
    assert_int_equal(ops->fill(test.queue, image, origin, extent, colour, sizeof colour, &no_order), 0);
    all.bytes = got;
    assert_int_equal(ops->read(test.queue, &all, &no_order), 0);
    assert_int_equal(ops->queue_finish(test.queue), 0);
    for (size_t y = 3; y < 5; y++)
        for (size_t x = 2; x < 7; x++)
            memcpy(bytes + y * 64 + x * 4, "\7\10\11\12", 4);
    assert_memory_equal(got, bytes, sizeof bytes);

    const struct pen_backend_copy copy = {
        .source = image, .target = out, .source_box.origin = {2, 3}, .target_box.origin = {16}, .extent = {5, 2, 1}};
    assert_int_equal(ops->copy(test.queue, &copy, &no_order), 0);
    get(ops, test.queue, out, 16, got, 40);
    for (size_t i = 0; i < 10; i++)
        assert_memory_equal(got + 4 * i, "\7\10\11\12", 4);

    struct pen_backend_program *program = make_program(ops, test.domain, kernels());
    struct pen_backend_kernel *kernel = make_kernel(ops, program, "pixels");
    assert_int_equal(ops->sampler_create(test.domain, &sampling, &sampler), 0);
    assert_int_equal(ops->set_memory(kernel, 0, image), 0);
    assert_int_equal(ops->set_sampler(kernel, 1, sampler), 0);
    assert_int_equal(ops->set_memory(kernel, 2, out), 0);
    const struct pen_backend_launch launch2 = {.kernel = kernel, .dimensions = 2, .global = {16, 8, 1}};
    assert_int_equal(ops->launch(test.queue, &launch2, &no_order), 0);
    get(ops, test.queue, out, 0, seen, sizeof seen);
    for (size_t i = 0; i < 128; i++)
        assert_int_equal(seen[i], bytes[4 * i]);
    ops->sampler_destroy(sampler);
    ops->memory_destroy(image, NULL, NULL);
    ops->memory_destroy(out, NULL, NULL);
    ops->kernel_destroy(kernel);
    ops->program_destroy(program);
}

static void devices_are_cut_on_demand(void **unused)
{
    (void)unused;
    struct pen_backend_device parts[2];
    const uint32_t units[2] = {1, 1};
    struct pen_error error = {0};

    int rc = ops->partition(&test.devices[0], &(struct pen_backend_cut){.parts = 2, .units = units}, parts, &error);
    if (!test.pocl || test.devices[0].compute_units < 2) {
        assert_int_equal(rc, -PEN_EPARTITION);
        assert_non_null(strstr(error.message, test.devices[0].vendor_name));
        return;
    }
    assert_int_equal(rc, 0);
    assert_ptr_not_equal(parts[0].domain, test.domain);
    for (uint32_t i = 0; i < 2; i++) {
        assert_ptr_equal(parts[i].domain, parts[0].domain);
        assert_int_equal(parts[i].compute_units, 1);
        assert_true(parts[i].flags & PEN_DEVICE_FLAG_DIRECT);
        struct pen_backend_queue *queue = make_queue(ops, parts[0].domain, i, 0);
        struct pen_backend_memory *memory = make_buffer(ops, parts[0].domain, 4096, test.arena);
        const uint64_t origin[3] = {0}, extent[3] = {4096, 1, 1};
        assert_int_equal(ops->fill(queue, memory, origin, extent, i ? "wxyz" : "abcd", 4, &no_order), 0);
        assert_int_equal(ops->queue_finish(queue), 0);
        assert_memory_equal(test.arena + 4092, i ? "wxyz" : "abcd", 4);
        ops->memory_destroy(memory, NULL, NULL);
        ops->queue_destroy(queue);
    }
}

static void facts_are_told_or_refused(void **unused)
{
    (void)unused;
    struct pen_backend_program *program = make_program(ops, test.domain, kernels());
    struct pen_backend_kernel *kernel = make_kernel(ops, program, "add");
    struct pen_msg_kernel_facts facts;
    const uint64_t local[3] = {16, 1, 1};

    int rc = ops->kernel_facts(kernel, 0, local, 1, &facts);
    if (rc)
        assert_int_equal(rc, -PEN_EUNSUPPORTED);
    else
        assert_true(facts.max_sub_group_size > 0 && facts.sub_group_count > 0);
    print_message("sub-groups: %s\n", rc ? "none" : "yes");
    ops->kernel_destroy(kernel);
    ops->program_destroy(program);
}

static uint32_t all_alike(void *context, const struct pen_backend_device *whole)
{
    (void)context, (void)whole;
    return test.units;
}

/* A vendors' folder with this one driver in it. */
static int use_driver(const char *library)
{
    char folder[] = "/tmp/penstock-test-XXXXXX", path[64];

    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/driver.icd", folder);
    FILE *file = fopen(path, "w");
    if (!file)
        return -1;
    fprintf(file, "%s\n", library);
    fclose(file);
    setenv("OCL_ICD_VENDORS", folder, 1);
    setenv("RUSTICL_ENABLE", "llvmpipe", 1);
    struct pen_error error = {0};
    uint64_t start = now_ns();
    int rc = ops->init(all_alike, NULL, &test.devices, &test.count, &error);
    print_message("init: %.1f ms%s%s\n", (double)(now_ns() - start) / 1e6, rc ? ": " : "", error.message);
    unlink(path);
    rmdir(folder);
    return rc;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_described),
        cmocka_unit_test(probes_find_what_drivers_do),
        cmocka_unit_test(parts_are_devices_of_one_domain),
        cmocka_unit_test(bytes_go_in_and_out),
        cmocka_unit_test(kernels_are_known),
        cmocka_unit_test(own_names_tell_nothing),
        cmocka_unit_test(builds_fail_with_a_log),
        cmocka_unit_test(parts_of_programs_link),
        cmocka_unit_test(binaries_come_back),
        cmocka_unit_test(direct_memory_is_shared_with_kernels),
        cmocka_unit_test(memory_goes_after_its_commands),
        cmocka_unit_test(views_go_too),
        cmocka_unit_test(many_completions_come_once),
        cmocka_unit_test(times_are_on_our_clock),
        cmocka_unit_test(queues_wait_for_each_other),
        cmocka_unit_test(wrong_calls_have_their_errors),
        cmocka_unit_test(images_are_moved_filled_and_sampled),
        cmocka_unit_test(devices_are_cut_on_demand),
        cmocka_unit_test(facts_are_told_or_refused),
    };

    if (argc < 2)
        return 2;
    setvbuf(stdout, NULL, _IONBF, 0);
    test.library = argv[1];
    test.pocl = strstr(test.library, "pocl");
    test.rusticl = strstr(test.library, "Rusticl");
    test.oclgrind = strstr(test.library, "oclgrind");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    if (test.oclgrind) /* its own errors are found: clReleaseMemObject, CL_KERNEL_ATTRIBUTES */
        return 77;
#endif
    test.units = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    int fd = memfd_create("arena", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, ARENA))
        return 1;
    test.arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (test.arena == MAP_FAILED)
        return 1;
    int rc = use_driver(test.library);
    if (rc == -PEN_ENODEV)
        return 77;
    if (rc)
        return 1;
    test.domain = test.devices[0].domain;
    if (ops->queue_create(test.domain, 0, &(struct pen_backend_queue_desc){0}, &test.queue))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ops->queue_finish(test.queue);
    ops->queue_destroy(test.queue);
    ops->finish();
    return failed;
}
