/* The fake device: its programs, its order, its failures. */
#include "common.h"

#include <signal.h>
#include <sys/wait.h>

static const struct pen_backend_ops *const ops = &pen_backend_fake;

struct state {
    struct pen_backend_device *devices;
    uint32_t count;
    struct pen_backend_domain *domain;
    struct pen_backend_queue *queue;
};

static void begin(struct state *state)
{
    struct pen_error error = {0};
    int rc = ops->init(NULL, NULL, &state->devices, &state->count, &error);

    if (rc)
        print_message("%s\n", error.message);
    assert_int_equal(rc, 0);
    state->domain = state->devices[0].domain;
    state->queue = make_queue(ops, state->domain, 0, 0);
}

static void end(struct state *state)
{
    static const char *const names[] = {"DEVICES", "DOMAINS", "MEMORY", "INDIRECT", "SEED",
                                        "DEAF",    "UNBUILT", "LOAD",   "FAIL"};
    char name[64];

    ops->queue_destroy(state->queue);
    ops->finish();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(name, sizeof name, "PENSTOCK_FAKE_%s", names[i]);
        unsetenv(name);
    }
}

static const char all_kernels[] = "# what there is\n"
                                  "kernel nop()\nkernel inc(global data)\nkernel copy(global to, global from)\n"
                                  "kernel fill(global to, value word)\nkernel saxpy(global y, global x, value a)\n"
                                  "kernel rotate(global data, local scratch)\nkernel fault()\n"
                                  "kernel sleep(value ms)\nkernel print(value number)\n";

static void set_word(struct pen_backend_kernel *kernel, uint32_t index, uint32_t word)
{
    assert_int_equal(ops->set_value(kernel, index, &word, sizeof word), 0);
}

static void kernels_compute(void **unused)
{
    (void)unused;
    struct state s;
    begin(&s);
    struct pen_backend_program *program = make_program(ops, s.domain, all_kernels);
    struct pen_backend_kernel *inc = make_kernel(ops, program, "inc"), *fill = make_kernel(ops, program, "fill"),
                              *saxpy = make_kernel(ops, program, "saxpy"),
                              *rotate = make_kernel(ops, program, "rotate");
    struct pen_backend_memory *a = make_buffer(ops, s.domain, 64, NULL), *b = make_buffer(ops, s.domain, 64, NULL);
    uint32_t words[16];
    float two = 2, floats[16];

    get(ops, s.queue, a, 0, words, sizeof words);
    for (int i = 0; i < 16; i++)
        assert_int_equal(words[i], 0); /* memory is zero-filled */
    ops->set_memory(fill, 0, a);
    set_word(fill, 1, 40);
    ops->set_memory(inc, 0, a);
    assert_int_equal(launch(ops, s.queue, fill, 16, &no_order), 0);
    set_word(fill, 1, 99); /* of no effect on what is queued */
    const struct pen_backend_launch part = {.kernel = inc, .dimensions = 1, .offset = {4}, .global = {4, 1, 1}};
    assert_int_equal(ops->launch(s.queue, &part, &no_order), 0);
    get(ops, s.queue, a, 0, words, sizeof words);
    for (int i = 0; i < 16; i++)
        assert_int_equal(words[i], i >= 4 && i < 8 ? 41 : 40);

    for (uint32_t i = 0; i < 16; i++)
        words[i] = i;
    put(ops, s.queue, a, 0, words, sizeof words);
    ops->set_memory(rotate, 0, a);
    assert_int_equal(ops->set_local(rotate, 1, 64), 0);
    assert_int_equal(launch(ops, s.queue, rotate, 16, &no_order), 0);
    get(ops, s.queue, a, 0, words, sizeof words);
    assert_int_equal(words[0], 1);
    assert_int_equal(words[15], 0);

    for (int i = 0; i < 16; i++)
        floats[i] = (float)i;
    put(ops, s.queue, a, 0, floats, sizeof floats);
    put(ops, s.queue, b, 0, floats, sizeof floats);
    ops->set_memory(saxpy, 0, a);
    ops->set_memory(saxpy, 1, b);
    assert_int_equal(ops->set_value(saxpy, 2, &two, sizeof two), 0);
    assert_int_equal(launch(ops, s.queue, saxpy, 16, &no_order), 0);
    get(ops, s.queue, a, 0, floats, sizeof floats);
    assert_true(floats[15] == 45);

    struct pen_msg_kernel_info info;
    assert_int_equal(ops->kernel_info(saxpy, &info), 0);
    assert_string_equal(info.name, "saxpy");
    assert_int_equal(info.arguments_count, 3);
    assert_int_equal(info.arguments[2].size, 4);
    assert_string_equal(info.arguments[2].name, "a");
    pen_backend_kernel_info_free(&info);

    struct pen_backend_kernel *const kernels[] = {inc, fill, saxpy, rotate};
    for (size_t i = 0; i < 4; i++)
        ops->kernel_destroy(kernels[i]);
    ops->memory_destroy(a, NULL, NULL);
    ops->memory_destroy(b, NULL, NULL);
    ops->program_destroy(program);
    end(&s);
}

static int build_text(struct state *s, const char *text, char **out_log)
{
    static const uint32_t devices[1];
    struct pen_backend_program *program = make_source(ops, s->domain, text);
    const struct pen_backend_build build = {.program = program, .devices = devices, .device_count = 1};
    struct pen_build_result result;

    *out_log = NULL;
    int rc = ops->program_build(s->domain, &build, NULL, &result, out_log);
    assert_int_equal(result.outcome, rc ? PEN_BUILD_OUTCOME_FAILED : PEN_BUILD_OUTCOME_SUCCESS);
    ops->program_destroy(program);
    return rc;
}

static void wrong_programs_say_why(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"kernel nop()\nkernel absent()", "line 2: no kernel absent"},
        {"kernel inc(value data)", "line 1: wrong arguments for inc"},
        {"kernel copy(global to)", "wrong arguments for copy"},
        {"kernel nop", "wrong arguments for nop"},
        {"error out of luck", "error out of luck"},
    };
    struct state s;
    char *log;

    begin(&s);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(build_text(&s, wrong[i].text, &log), -PEN_EBUILD);
        assert_non_null(strstr(log, wrong[i].says));
        free(log);
    }
    assert_int_equal(build_text(&s, "kernel inc(global data)\nkernel nop()", &log), 0);
    end(&s);
}

static void programs_travel_as_binaries_and_link(void **unused)
{
    (void)unused;
    static const uint32_t devices[1];
    struct state s;
    begin(&s);
    struct pen_backend_program *one = make_source(ops, s.domain, "kernel nop()"), *two = NULL, *linked = NULL;
    struct pen_backend_build build = {
        .step = PEN_BUILD_STEP_COMPILE, .program = one, .devices = devices, .device_count = 1};
    struct pen_build_result result;
    struct pen_backend_kernel *kernel;
    char *log, **names;
    uint32_t count;
    void *bytes;
    size_t size;

    assert_int_equal(ops->program_build(s.domain, &build, NULL, &result, &log), 0);
    assert_int_equal(result.binary_type, 1);
    assert_int_equal(ops->kernel_create(one, "nop", &kernel), -PEN_EEXECUTABLE);
    build = (struct pen_backend_build){
        .step = PEN_BUILD_STEP_LINK, .devices = devices, .device_count = 1, .inputs = &one, .input_count = 1};
    assert_int_equal(ops->program_build(s.domain, &build, &linked, &result, &log), 0);
    assert_int_equal(ops->program_binary(linked, 0, &bytes, &size), 0);
    assert_int_equal(
        ops->program_create(s.domain, PEN_PROGRAM_KIND_NATIVE, (const uint32_t[]){0}, 1, bytes, size, &two), 0);
    free(bytes);
    build = (struct pen_backend_build){.program = two, .devices = devices, .device_count = 1};
    assert_int_equal(ops->program_build(s.domain, &build, NULL, &result, &log), 0);
    assert_int_equal(ops->program_kernels(two, &names, &count), 0);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "nop");
    free(names[0]);
    free(names);
    assert_int_equal(ops->kernel_create(two, "inc", &kernel), -PEN_EKERNELNAME);
    ops->program_destroy(one);
    ops->program_destroy(two);
    ops->program_destroy(linked);
    end(&s);
}

static void binaries_are_for_their_devices(void **unused)
{
    (void)unused;
    static const uint32_t devices[] = {0, 1};
    struct state s;
    setenv("PENSTOCK_FAKE_DEVICES", "2", 1);
    begin(&s);
    struct pen_backend_program *source = make_program(ops, s.domain, "kernel nop()"), *binary = NULL, *linked = NULL;
    struct pen_build_result results[2];
    char *logs[2];
    void *bytes;
    size_t size;
    assert_int_equal(ops->program_binary(source, 0, &bytes, &size), 0);
    for (uint32_t of = 1; of <= 2; of++) {
        assert_int_equal(ops->program_create(s.domain, PEN_PROGRAM_KIND_NATIVE, devices, of, bytes, size, &binary), 0);
        for (uint32_t count = 1; count <= 2; count++) {
            int expected = count > of ? -PEN_ENODEV : 0;
            struct pen_backend_build build = {.program = binary, .devices = devices, .device_count = count};
            assert_int_equal(ops->program_build(s.domain, &build, NULL, results, logs), expected);
            build = (struct pen_backend_build){.step = PEN_BUILD_STEP_LINK,
                                               .devices = devices,
                                               .device_count = count,
                                               .inputs = &binary,
                                               .input_count = 1};
            assert_int_equal(ops->program_build(s.domain, &build, &linked, results, logs), expected);
            ops->program_destroy(linked);
            linked = NULL;
        }
        ops->program_destroy(binary);
    }
    free(bytes);
    ops->program_destroy(source);
    end(&s);
}

static void builds_fail_on_the_device_that_is_named(void **unused)
{
    (void)unused;
    static const uint32_t devices[] = {0, 1};
    struct state s;
    setenv("PENSTOCK_FAKE_DEVICES", "2", 1);
    setenv("PENSTOCK_FAKE_UNBUILT", "2", 1);
    begin(&s);
    struct pen_backend_program *program = make_program(ops, s.domain, "kernel nop()"); /* for the first alone */
    const struct pen_backend_build build = {.program = program, .devices = devices, .device_count = 2};
    struct pen_build_result results[2];
    char *logs[2];
    assert_int_equal(ops->program_build(s.domain, &build, NULL, results, logs), -PEN_EBUILD);
    assert_int_equal(results[0].outcome, PEN_BUILD_OUTCOME_SUCCESS);
    assert_null(logs[0]);
    assert_int_equal(results[1].outcome, PEN_BUILD_OUTCOME_FAILED);
    assert_int_equal(results[1].log_bytes, strlen(logs[1]));
    free(logs[1]);
    ops->program_destroy(program);
    end(&s);
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t time_of_launch(const struct state *s, struct pen_backend_kernel *kernel)
{
    uint64_t start = clock_ns();
    assert_int_equal(launch(ops, s->queue, kernel, 1, &no_order), 0);
    ops->queue_finish(s->queue);
    return clock_ns() - start;
}

static void a_kernel_is_loaded_once(void **unused)
{
    (void)unused;
    struct state s;
    setenv("PENSTOCK_FAKE_LOAD", "1100", 1);
    begin(&s);
    struct pen_backend_program *program = make_program(ops, s.domain, all_kernels);
    struct pen_backend_kernel *nop = make_kernel(ops, program, "nop");
    assert_true(time_of_launch(&s, nop) >= 1100000000);
    assert_true(time_of_launch(&s, nop) < 1000000000);
    ops->kernel_destroy(nop);
    ops->program_destroy(program);
    end(&s);
}

/* Two queues and an out-of-order one, by three seeds: waits hold whatever the timing. */
static void waits_hold_under_every_seed(void **unused)
{
    (void)unused;
    for (int seed = 0; seed < 3; seed++) {
        char text[8];
        struct state s;
        snprintf(text, sizeof text, "%d", seed);
        setenv("PENSTOCK_FAKE_SEED", text, 1);
        setenv("PENSTOCK_FAKE_DEVICES", "2", 1);
        begin(&s);
        assert_int_equal(s.count, 2);
        struct pen_backend_queue *queues[3] = {s.queue, make_queue(ops, s.domain, 1, 0),
                                               make_queue(ops, s.domain, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER)};
        struct pen_backend_program *program = make_program(ops, s.domain, all_kernels);
        struct pen_backend_kernel *inc = make_kernel(ops, program, "inc"), *copy = make_kernel(ops, program, "copy");
        struct pen_backend_memory *a = make_buffer(ops, s.domain, 64, NULL), *b = make_buffer(ops, s.domain, 64, NULL);
        struct pen_backend_event *before = NULL, *event;
        struct completion done = COMPLETION;
        ops->set_memory(inc, 0, a);
        ops->set_memory(copy, 0, b);
        ops->set_memory(copy, 1, a);
        for (uint32_t i = 0; i < 30; i++) { /* inc on one queue, copy on another, each after the one before */
            const struct pen_backend_order order = {.waits = &before,
                                                    .wait_count = before != NULL,
                                                    .out_event = &event,
                                                    .done = completion_note,
                                                    .context = &done};
            assert_int_equal(launch(ops, queues[i % 3], i & 1 ? copy : inc, 16, &order), 0);
            ops->event_release(before);
            before = event;
        }
        ops->event_release(before);
        const struct pen_backend_order order = {.done = completion_note, .context = &done};
        assert_int_equal(ops->barrier(queues[2], &order), 0);
        for (int i = 0; i < 3; i++)
            assert_int_equal(ops->queue_finish(queues[i]), 0);
        assert_int_equal(done.calls, 31);
        assert_int_equal(done.status, 0);
        assert_false(done.timed);
        uint32_t words[16];
        get(ops, s.queue, b, 0, words, sizeof words);
        assert_int_equal(words[15], 15);
        ops->kernel_destroy(inc);
        ops->kernel_destroy(copy);
        ops->program_destroy(program);
        ops->memory_destroy(a, NULL, NULL);
        ops->memory_destroy(b, NULL, NULL);
        ops->queue_destroy(queues[1]);
        ops->queue_destroy(queues[2]);
        end(&s);
    }
}

/* What was seen to end first, of commands that do not depend on each other. */
static void order_of_eight(int *out)
{
    struct completion note[8];
    struct state s;
    begin(&s);
    struct pen_backend_queue *queue =
        make_queue(ops, s.domain, 0, PEN_QUEUE_FLAG_OUT_OF_ORDER | PEN_QUEUE_FLAG_PROFILING);
    struct pen_backend_program *program = make_program(ops, s.domain, all_kernels);
    struct pen_backend_kernel *slow = make_kernel(ops, program, "sleep"), *nop = make_kernel(ops, program, "nop");
    struct pen_backend_event *gate;
    const struct pen_backend_order first = {.out_event = &gate};
    set_word(slow, 0, 30);
    assert_int_equal(launch(ops, queue, slow, 1, &first), 0);
    for (int i = 0; i < 8; i++) {
        note[i] = (struct completion)COMPLETION;
        const struct pen_backend_order order = {
            .waits = &gate, .wait_count = 1, .done = completion_note, .context = &note[i]};
        assert_int_equal(launch(ops, queue, nop, 1, &order), 0);
    }
    assert_int_equal(ops->queue_finish(queue), 0);
    for (int i = 0; i < 8; i++) {
        out[i] = 0;
        assert_true(note[i].timed);
        assert_true(note[i].times.queued <= note[i].times.started && note[i].times.started <= note[i].times.ended);
        for (int j = 0; j < 8; j++)
            out[i] += note[j].times.ended < note[i].times.ended;
    }
    ops->event_release(gate);
    ops->kernel_destroy(slow);
    ops->kernel_destroy(nop);
    ops->program_destroy(program);
    ops->queue_destroy(queue);
    end(&s);
}

static void a_seed_decides_who_overtakes(void **unused)
{
    (void)unused;
    static const int in_order[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    int plain[8], once[8], again[8];

    order_of_eight(plain);
    assert_memory_equal(plain, in_order, sizeof in_order);
    setenv("PENSTOCK_FAKE_SEED", "7", 1);
    order_of_eight(once);
    setenv("PENSTOCK_FAKE_SEED", "7", 1);
    order_of_eight(again);
    assert_memory_equal(once, again, sizeof once);
    assert_memory_not_equal(once, in_order, sizeof in_order);
}

static void failures_come_when_asked_for(void **unused)
{
    (void)unused;
    struct state s;
    setenv("PENSTOCK_FAKE_FAIL", "launch:2,write:1:late,memory:2", 1);
    begin(&s);
    struct pen_backend_program *program = make_program(ops, s.domain, all_kernels);
    struct pen_backend_kernel *nop = make_kernel(ops, program, "nop");
    struct pen_backend_memory *memory = make_buffer(ops, s.domain, 64, NULL), *none = NULL;
    const struct pen_backend_memory_desc desc = {.kind = PEN_REGION_KIND_BUFFER, .size = 64};
    struct completion done = COMPLETION, poisoned = COMPLETION, never = COMPLETION;
    struct pen_backend_event *event;

    assert_int_equal(ops->memory_create(s.domain, &desc, &none), -PEN_EDEVRES);
    assert_null(none);
    const struct pen_backend_order unheard = {.done = completion_note, .context = &never};
    assert_int_equal(launch(ops, s.queue, nop, 1, &no_order), 0);
    assert_int_equal(launch(ops, s.queue, nop, 1, &unheard), -PEN_EDEVRES);
    assert_int_equal(launch(ops, s.queue, nop, 1, &no_order), 0);
    char byte = 1;
    const struct pen_backend_transfer write = {.memory = memory, .extent = {1, 1, 1}, .bytes = &byte};
    const struct pen_backend_order order = {.done = completion_note, .context = &done, .out_event = &event};
    assert_int_equal(ops->write(s.queue, &write, &order), 0);
    const struct pen_backend_order after = {
        .waits = &event, .wait_count = 1, .done = completion_note, .context = &poisoned};
    assert_int_equal(ops->marker(s.queue, &after), 0);
    ops->queue_finish(s.queue);
    assert_int_equal(done.status, -PEN_EDEVRES);
    assert_int_equal(poisoned.status, -PEN_EDEPENDENCY);
    assert_int_equal(never.calls, 0);
    get(ops, s.queue, memory, 0, &byte, 1);
    assert_int_equal(byte, 0);
    ops->event_release(event);
    ops->kernel_destroy(nop);
    ops->program_destroy(program);
    ops->memory_destroy(memory, NULL, NULL);
    end(&s);
}

static void wrong_settings_are_refused(void **unused)
{
    (void)unused;
    static const char *const wrong[][2] = {
        {"PENSTOCK_FAKE_DEVICES", "0"},       {"PENSTOCK_FAKE_DEVICES", "many"},
        {"PENSTOCK_FAKE_FAIL", "launch"},     {"PENSTOCK_FAKE_FAIL", "launch:0"},
        {"PENSTOCK_FAKE_FAIL", "lunch:1"},    {"PENSTOCK_FAKE_FAIL", "launch:1:soon"},
        {"PENSTOCK_FAKE_MEMORY", "1 pebble"}, {"PENSTOCK_FAKE_LOAD", "heavy"},
        {"PENSTOCK_FAKE_DOMAINS", "0"},       {"PENSTOCK_FAKE_DOMAINS", "2"}};
    struct pen_backend_device *devices;
    uint32_t count;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct pen_error error = {0};
        setenv(wrong[i][0], wrong[i][1], 1);
        assert_int_equal(ops->init(NULL, NULL, &devices, &count, &error), -PEN_ECONFIG);
        assert_non_null(strstr(error.message, wrong[i][0]));
        unsetenv(wrong[i][0]);
    }
}

static void memory_is_counted_and_shared(void **unused)
{
    (void)unused;
    struct state s;
    setenv("PENSTOCK_FAKE_MEMORY", "1000", 1);
    begin(&s);
    assert_int_equal(s.devices[0].memory_bytes, 1000);
    assert_true(s.devices[0].flags & PEN_DEVICE_FLAG_DIRECT);
    uint32_t arena[16] = {5};
    struct completion gone = COMPLETION, part_gone = COMPLETION;
    struct pen_backend_memory *memory = make_buffer(ops, s.domain, 64, arena), *slice, *big;
    struct pen_backend_memory_desc desc = {.size = 937};
    assert_int_equal(ops->memory_create(s.domain, &desc, &big), -PEN_EDEVMEM);
    desc = (struct pen_backend_memory_desc){.size = 32, .parent = memory, .parent_offset = 48};
    assert_int_equal(ops->memory_create(s.domain, &desc, &slice), -PEN_EINVAL);
    desc.parent_offset = 32;
    assert_int_equal(ops->memory_create(s.domain, &desc, &slice), 0);
    struct pen_backend_program *program = make_program(ops, s.domain, all_kernels);
    struct pen_backend_kernel *inc = make_kernel(ops, program, "inc"), *slow = make_kernel(ops, program, "sleep");
    ops->set_memory(inc, 0, slice);
    set_word(slow, 0, 20);
    launch(ops, s.queue, slow, 1, &no_order);
    assert_int_equal(launch(ops, s.queue, inc, 100, &no_order), 0);
    ops->memory_destroy(memory, completion_destroyed, &gone);
    ops->memory_destroy(slice, completion_destroyed, &part_gone);
    assert_int_equal(gone.calls, 0); /* a command holds it */
    ops->queue_finish(s.queue);
    assert_int_equal(gone.calls, 1);
    assert_int_equal(part_gone.calls, 1);
    assert_int_equal(arena[0], 5);
    assert_int_equal(arena[7], 0);
    assert_int_equal(arena[8], 1);
    assert_int_equal(arena[15], 1);
    desc = (struct pen_backend_memory_desc){.size = 1000};
    assert_int_equal(ops->memory_create(s.domain, &desc, &big), 0);
    ops->memory_destroy(big, NULL, NULL);
    ops->kernel_destroy(inc);
    ops->kernel_destroy(slow);
    ops->program_destroy(program);
    end(&s);

    setenv("PENSTOCK_FAKE_INDIRECT", "1", 1);
    begin(&s);
    assert_false(s.devices[0].flags & PEN_DEVICE_FLAG_DIRECT);
    desc = (struct pen_backend_memory_desc){.size = 64, .host = arena};
    assert_int_equal(ops->memory_create(s.domain, &desc, &memory), -PEN_EUNSUPPORTED);
    end(&s);
}

static void devices_take_turns_in_domains(void **unused)
{
    (void)unused;
    struct state s;
    setenv("PENSTOCK_FAKE_DEVICES", "3", 1);
    setenv("PENSTOCK_FAKE_DOMAINS", "2", 1);
    setenv("PENSTOCK_FAKE_MEMORY", "1000", 1);
    begin(&s);
    struct pen_backend_domain *other = s.devices[1].domain;
    assert_ptr_not_equal(s.domain, other);
    assert_ptr_equal(s.domain, s.devices[2].domain);
    assert_int_equal(s.devices[0].index, 0);
    assert_int_equal(s.devices[1].index, 0);
    assert_int_equal(s.devices[2].index, 1);
    struct pen_backend_memory *here = make_buffer(ops, s.domain, 1000, NULL),
                              *there = make_buffer(ops, other, 1000, NULL);
    struct pen_backend_queue *queue = NULL;
    const struct pen_backend_queue_desc desc = {0};
    assert_int_equal(ops->queue_create(other, 1, &desc, &queue), -PEN_ENODEV);
    ops->memory_destroy(here, NULL, NULL);
    ops->memory_destroy(there, NULL, NULL);
    end(&s);
}

/* The fault that tests of tests ask for. */
static void a_deaf_device_waits_for_nothing(void **unused)
{
    (void)unused;
    for (int deaf = 0; deaf < 2; deaf++) {
        struct state s;
        setenv("PENSTOCK_FAKE_DEAF", deaf ? "1" : "0", 1);
        begin(&s);
        struct pen_backend_queue *queue = make_queue(ops, s.domain, 0, 0);
        struct pen_backend_program *program = make_program(ops, s.domain, all_kernels);
        struct pen_backend_kernel *slow = make_kernel(ops, program, "sleep"), *nop = make_kernel(ops, program, "nop");
        struct completion first = COMPLETION, second = COMPLETION;
        struct pen_backend_event *event;
        set_word(slow, 0, 100);
        const struct pen_backend_order order = {.out_event = &event, .done = completion_note, .context = &first};
        assert_int_equal(launch(ops, s.queue, slow, 1, &order), 0);
        const struct pen_backend_order after = {
            .waits = &event, .wait_count = 1, .done = completion_note, .context = &second};
        assert_int_equal(launch(ops, queue, nop, 1, &after), 0);
        assert_true(completion_wait(&second, 1));
        assert_int_equal(first.calls, !deaf);
        assert_true(completion_wait(&first, 1));
        ops->event_release(event);
        ops->kernel_destroy(slow);
        ops->kernel_destroy(nop);
        ops->program_destroy(program);
        ops->queue_destroy(queue);
        end(&s);
    }
}

static void boxes_and_images_are_moved(void **unused)
{
    (void)unused;
    struct state s;
    begin(&s);
    unsigned char sent[512], got[512];
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (unsigned char)(i * 3);
    struct pen_backend_memory *buffer = make_buffer(ops, s.domain, 512, NULL), *image;
    const struct pen_backend_memory_desc desc = {.kind = PEN_REGION_KIND_IMAGE2D,
                                                 .size = 512,
                                                 .image = {.channel_order = 0x10b5, /* CL_RGBA */
                                                           .channel_type = 0x10d2,  /* CL_UNORM_INT8 */
                                                           .width = 16,
                                                           .height = 8,
                                                           .element_bytes = 4}};
    assert_int_equal(ops->memory_create(s.domain, &desc, &image), 0);
    put(ops, s.queue, buffer, 0, sent, 512);
    const struct pen_backend_copy copy = {
        .source = buffer, .target = image, .source_box.origin = {8}, .target_box.origin = {2, 3}, .extent = {5, 2, 1}};
    assert_int_equal(ops->copy(s.queue, &copy, &no_order), 0);
    const float colour[4] = {1, 0, 0.5f, 2};
    const uint64_t origin[3] = {0, 0, 0}, extent[3] = {1, 1, 1};
    assert_int_equal(ops->fill(s.queue, image, origin, extent, colour, sizeof colour, &no_order), 0);
    const struct pen_backend_transfer read = {.memory = image, .extent = {16, 8, 1}, .bytes = got};
    assert_int_equal(ops->read(s.queue, &read, &no_order), 0);
    ops->queue_finish(s.queue);
    assert_memory_equal(got, "\xff\0\x80\xff", 4);
    assert_memory_equal(got + 3 * 64 + 8, sent + 8, 20);
    assert_memory_equal(got + 4 * 64 + 8, sent + 28, 20);
    const struct pen_backend_transfer outside = {
        .memory = image, .box.origin = {1}, .extent = {16, 8, 1}, .bytes = got};
    assert_int_equal(ops->read(s.queue, &outside, &no_order), -PEN_EINVAL);
    ops->memory_destroy(buffer, NULL, NULL);
    ops->memory_destroy(image, NULL, NULL);
    end(&s);
}

/* In a child: what it prints, and how it ends. */
static int run_in_child(const char *name, char *text, size_t size)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        struct state s;
        dup2(ends[1], STDOUT_FILENO);
        signal(SIGSEGV, SIG_DFL); /* not cmocka's */
        begin(&s);
        struct pen_backend_program *program = make_program(ops, s.domain, all_kernels);
        struct pen_backend_kernel *kernel = make_kernel(ops, program, name);
        if (!strcmp(name, "print"))
            set_word(kernel, 0, 42);
        launch(ops, s.queue, kernel, 1, &no_order);
        ops->queue_finish(s.queue);
        _exit(0);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], text, size - 1);
    text[got > 0 ? got : 0] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void kernels_print_and_fault(void **unused)
{
    (void)unused;
    char text[256];

    assert_int_equal(run_in_child("print", text, sizeof text), 0);
    assert_string_equal(text, "fake prints 42\n");
    int status = run_in_child("fault", text, sizeof text);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void wrong_calls_have_their_errors(void **unused)
{
    (void)unused;
    struct state s;
    begin(&s);
    struct pen_backend_program *program = make_program(ops, s.domain, all_kernels);
    struct pen_backend_kernel *inc = make_kernel(ops, program, "inc");
    struct pen_backend_device part;
    struct pen_error error = {0};
    const uint32_t units = 1;
    uint32_t word = 0;

    assert_int_equal(launch(ops, s.queue, inc, 1, &no_order), -PEN_EKERNELARGS);
    assert_int_equal(ops->set_value(inc, 0, &word, sizeof word), -PEN_EARGVALUE);
    assert_int_equal(ops->set_memory(inc, 1, NULL), -PEN_EARGINDEX);
    assert_int_equal(ops->set_memory(inc, 0, NULL), 0);
    assert_int_equal(launch(ops, s.queue, inc, 1, &no_order), 0); /* a null pointer: touches nothing */
    const struct pen_backend_launch uneven = {.kernel = inc, .dimensions = 1, .global = {3, 1, 1}, .local = {2, 1, 1}};
    assert_int_equal(ops->launch(s.queue, &uneven, &no_order), -PEN_EGROUPSIZE);
    assert_int_equal(ops->partition(s.devices, &(struct pen_backend_cut){.parts = 1, .units = &units}, &part, &error),
                     -PEN_EPARTITION);
    ops->queue_finish(s.queue);
    ops->kernel_destroy(inc);
    ops->program_destroy(program);
    ops->queue_destroy(NULL);
    ops->memory_destroy(NULL, NULL, NULL);
    ops->event_release(NULL);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_compute),
        cmocka_unit_test(wrong_programs_say_why),
        cmocka_unit_test(programs_travel_as_binaries_and_link),
        cmocka_unit_test(binaries_are_for_their_devices),
        cmocka_unit_test(builds_fail_on_the_device_that_is_named),
        cmocka_unit_test(a_kernel_is_loaded_once),
        cmocka_unit_test(waits_hold_under_every_seed),
        cmocka_unit_test(a_seed_decides_who_overtakes),
        cmocka_unit_test(failures_come_when_asked_for),
        cmocka_unit_test(wrong_settings_are_refused),
        cmocka_unit_test(memory_is_counted_and_shared),
        cmocka_unit_test(devices_take_turns_in_domains),
        cmocka_unit_test(a_deaf_device_waits_for_nothing),
        cmocka_unit_test(boxes_and_images_are_moved),
        cmocka_unit_test(kernels_print_and_fault),
        cmocka_unit_test(wrong_calls_have_their_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
