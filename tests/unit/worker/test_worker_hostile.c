/* A client that breaks the rules: each broken command fails its session with a sentence, and nothing worse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"

enum { Q = 10, P = 20, K = 30, A = 40, IMAGE, S = 50, USER = 60, E = 100 };

#define RGBA8 .channel_order = 0x10B5, .channel_type = 0x10D2, .element_bytes = 4

static void prepare(struct rig *rig)
{
    rig_program(rig, P, "kernel fill(global to, value word)\n");
    assert_int_equal(rig_build(rig, P, 1), 0);
    rig_kernel(rig, K, P, "fill");
    rig_queue(rig, Q, 1, 0, 0);
    rig_buffer(rig, A, 0, 16, true);
    RIG_SEND(rig, region_create, .region = IMAGE, .kind = PEN_REGION_KIND_IMAGE2D, .size = 64, .arena_offset = 4096,
             .flags = PEN_REGION_FLAG_DIRECT, .image = {RGBA8, .width = 4, .height = 4, .row_pitch = 16});
    RIG_SEND(rig, sampler_create, .sampler = S, .address_mode = 0x1130, .filter_mode = 0x1140);
    RIG_SEND(rig, event_create, .event = USER, .slot = 1);
}

/* A raw frame: bytes behind a header that says `size` and `opcode`. */
static void send_raw(struct rig *rig, uint32_t size, uint16_t opcode, uint32_t bytes)
{
    unsigned char *frame = rig_begin(rig, bytes);
    const struct pen_frame_header header = {.size = size, .opcode = opcode, .sequence = ++rig->sequence};
    memset(frame, 0xAB, bytes);
    memcpy(frame, &header, sizeof header);
    rig_commit(rig, bytes);
}

static void send_options_without_end(struct rig *r)
{
    static char part[PEN_LIMIT_TEXT + 1];
    memset(part, 'x', PEN_LIMIT_TEXT);
    for (uint32_t sent = 0; sent <= PEN_LIMIT_OPTIONS; sent += PEN_LIMIT_TEXT)
        RIG_SEND(r, build_options, .part = part);
}

/* What is done, what the sentence must hold. One line each. */
#define CASES(X)                                                                                                       \
    X("no such message", "unknown", send_raw(r, 64, 0x0FFF, 64))                                                       \
    X("a reply as a command", "fatal", send_raw(r, 64, PEN_OP_FATAL, 64))                                              \
    X("a control message as a command", "shutdown", send_raw(r, 16, PEN_OP_SHUTDOWN, 16))                              \
    X("rubbish in a launch", "launch", send_raw(r, 256, PEN_OP_LAUNCH, 256))                                           \
    X("a truncated launch", "launch", send_raw(r, 24, PEN_OP_LAUNCH, 24))                                              \
    X("a frame of no size", "frame", send_raw(r, 0, PEN_OP_MARKER, 16))                                                \
    X("a frame longer than all", "frame", send_raw(r, 1u << 30, PEN_OP_MARKER, 16))                                    \
    X("a frame of odd size", "frame", send_raw(r, 17, PEN_OP_MARKER, 24))                                              \
    X("head beyond the ring", "frame", atomic_fetch_add(&r->view.shared->head, UINT64_C(1) << 40))                     \
    X("a sequence twice", "comes after", r->sequence -= 2; RIG_SEND(r, queue_destroy, .queue = Q))                     \
    X("no such queue", "no queue", RIG_SEND(r, marker, .queue = 999))                                                  \
    X("queue 0", "no queue", RIG_SEND(r, marker, .queue = 0))                                                          \
    X("a region as a queue", "no queue", RIG_SEND(r, marker, .queue = A))                                              \
    X("a name twice", "taken", rig_queue(r, Q, 1, 0, 1))                                                               \
    X("a name of nothing", "none", rig_queue(r, 0, 1, 0, 1))                                                           \
    X("a queue on no device", "no device", rig_queue(r, 77, 9, 0, 1))                                                  \
    X("a queue's slot", "QUEUES", rig_queue(r, 77, 1, 0, PEN_LIMIT_QUEUES))                                            \
    X("destroying nothing", "no queue", RIG_SEND(r, queue_destroy, .queue = 5))                                        \
    X("an event's slot", "SLOTS", RIG_SEND(r, marker, .queue = Q, .event = E, .slot = PEN_LIMIT_SLOTS))                \
    X("a slot without an event", "slot", RIG_SEND(r, marker, .queue = Q, .slot = 3))                                   \
    X("a wait for nothing", "event to wait",                                                                           \
      RIG_SEND(r, marker, .queue = Q, .waits = (const uint64_t[]){9}, .waits_count = 1))                               \
    X("an event for itself", "event to wait",                                                                          \
      RIG_SEND(r, marker, .queue = Q, .event = E, .slot = 2, .waits = (const uint64_t[]){E}, .waits_count = 1))        \
    X("setting a command's event", "not the program's", RIG_SEND(r, marker, .queue = Q, .event = E, .slot = 2);        \
      RIG_SEND(r, event_set, .event = E))                                                                              \
    X("setting twice", "set already", RIG_SEND(r, event_set, .event = USER); RIG_SEND(r, event_set, .event = USER))    \
    X("setting to running", "status", RIG_SEND(r, event_set, .event = USER, .status = 1))                              \
    X("an event's slot of its own", "SLOTS", RIG_SEND(r, event_create, .event = E, .slot = UINT32_MAX))                \
    X("a region beyond the arena", "arena", rig_buffer(r, 77, RIG_ARENA - 64, 32, false))                              \
    X("a region that wraps round", "arena", rig_buffer(r, 77, UINT64_MAX - 63, 32, false))                             \
    X("a region of nothing", "arena", rig_buffer(r, 77, 0, 0, false))                                                  \
    X("a misaligned region", "arena", rig_buffer(r, 77, 4, 1, false))                                                  \
    X("a slice beyond its parent", "slice",                                                                            \
      RIG_SEND(r, region_slice, .region = 77, .parent = A, .offset = 60, .size = 8, .flags = PEN_REGION_FLAG_DIRECT))  \
    X("a slice that wraps round", "slice",                                                                             \
      RIG_SEND(r, region_slice, .region = 77, .parent = A, .offset = 32, .size = UINT64_MAX,                           \
               .flags = PEN_REGION_FLAG_DIRECT))                                                                       \
    X("a slice of an image", "slice",                                                                                  \
      RIG_SEND(r, region_slice, .region = 77, .parent = IMAGE, .size = 4, .flags = PEN_REGION_FLAG_DIRECT))            \
    X("a slice stored elsewhere", "direct", RIG_SEND(r, region_slice, .region = 77, .parent = A, .size = 4))           \
    X("an image larger than its region", "image",                                                                      \
      RIG_SEND(r, region_create, .region = 77, .size = 60, .kind = PEN_REGION_KIND_IMAGE2D,                            \
               .image = {RGBA8, .width = 4, .height = 4}))                                                             \
    X("an image that overflows", "image",                                                                              \
      RIG_SEND(r, region_create, .region = 77, .size = 64, .kind = PEN_REGION_KIND_IMAGE3D,                            \
               .image = {RGBA8, .width = UINT64_MAX / 2, .height = 2, .depth = 2}))                                    \
    X("an image of no height", "image",                                                                                \
      RIG_SEND(r, region_create, .region = 77, .size = 64, .kind = PEN_REGION_KIND_IMAGE2D,                            \
               .image = {RGBA8, .width = 4}))                                                                          \
    X("an image's pixels understated", "image",                                                                        \
      RIG_SEND(                                                                                                        \
          r, region_create, .region = 77, .size = 64, .kind = PEN_REGION_KIND_IMAGE2D,                                 \
          .image = {.channel_order = 0x10B5, .channel_type = 0x10DE, .element_bytes = 1, .width = 4, .height = 4}))    \
    X("an image's rows overlapping", "image",                                                                          \
      RIG_SEND(r, region_create, .region = 77, .size = 64, .kind = PEN_REGION_KIND_IMAGE2D,                            \
               .image = {RGBA8, .width = 4, .height = 4, .row_pitch = 8}))                                             \
    X("a view beyond its parent", "image",                                                                             \
      RIG_SEND(r, region_view, .region = 77, .parent = A, .kind = PEN_REGION_KIND_IMAGE1D_BUFFER,                      \
               .flags = PEN_REGION_FLAG_DIRECT, .image = {RGBA8, .width = 17}))                                        \
    X("a region's last slot", "SLOTS", RIG_SEND(r, region_destroy, .region = A, .slot = PEN_LIMIT_SLOTS))              \
    X("a write beyond the region", "outside the region",                                                               \
      RIG_SEND(r, write, .queue = Q, .region = A, .extent = {65, 1, 1}, .data = {0, 65}))                              \
    X("a write at a wild origin", "outside the region",                                                                \
      RIG_SEND(r, write, .queue = Q, .region = A, .box = {.origin = {UINT64_MAX, 0, 0}}, .extent = {4, 1, 1},          \
               .data = {0, 4}))                                                                                        \
    X("a write of wild rows", "outside the region",                                                                    \
      RIG_SEND(r, write, .queue = Q, .region = A, .box = {.row_pitch = UINT64_MAX / 2}, .extent = {4, 4, 1},           \
               .data = {0, 64}))                                                                                       \
    X("a write of nothing", "empty", RIG_SEND(r, write, .queue = Q, .region = A, .extent = {4, 0, 1}, .data = {0, 4})) \
    X("a write from beyond the arena", "outside the arena",                                                            \
      RIG_SEND(r, write, .queue = Q, .region = A, .extent = {4, 1, 1}, .data = {RIG_ARENA, 4}))                        \
    X("a write from too little", "host side",                                                                          \
      RIG_SEND(r, write, .queue = Q, .region = A, .extent = {8, 1, 1}, .data = {0, 4}))                                \
    X("a read to a wild host", "host side",                                                                            \
      RIG_SEND(r, read, .queue = Q, .region = A, .host = {.origin = {0, UINT64_MAX, 0}}, .extent = {4, 1, 1},          \
               .arena_size = 4))                                                                                       \
    X("a read out of an image", "outside the region",                                                                  \
      RIG_SEND(r, read, .queue = Q, .region = IMAGE, .box = {.origin = {1, 0, 0}}, .extent = {4, 4, 1},                \
               .arena_size = 64))                                                                                      \
    X("a read of rows too close", "host side",                                                                         \
      RIG_SEND(r, read, .queue = Q, .region = IMAGE, .host = {.row_pitch = 4}, .extent = {4, 4, 1}, .arena_size = 64)) \
    X("a copy beyond", "box", RIG_SEND(r, copy, .queue = Q, .source = A, .target = A, .extent = {65, 1, 1}))           \
    X("a copy beyond into an image", "box",                                                                            \
      RIG_SEND(r, copy, .queue = Q, .source = A, .target = IMAGE, .source_box = {.origin = {4, 0, 0}},                 \
               .extent = {4, 4, 1}))                                                                                   \
    X("a copy from no region", "no region", RIG_SEND(r, copy, .queue = Q, .target = A, .extent = {4, 1, 1}))           \
    X("a fill beyond", "outside",                                                                                      \
      RIG_SEND(r, fill, .queue = Q, .region = A, .origin = {64, 0, 0}, .extent = {4, 1, 1}, .pattern = {"abcd", 4}))   \
    X("a fill with nothing", "pattern", RIG_SEND(r, fill, .queue = Q, .region = A, .extent = {4, 1, 1}))               \
    X("a fill with three bytes", "pattern",                                                                            \
      RIG_SEND(r, fill, .queue = Q, .region = A, .extent = {6, 1, 1}, .pattern = {"abc", 3}))                          \
    X("a fill of half a pixel", "pattern",                                                                             \
      RIG_SEND(r, fill, .queue = Q, .region = IMAGE, .extent = {1, 1, 1}, .pattern = {"ab", 2}))                       \
    X("migrating nothing known", "no region",                                                                          \
      RIG_SEND(r, migrate, .queue = Q, .regions = (const uint64_t[]){A, 7}, .regions_count = 2))                       \
    X("a launch of no kernel", "no kernel", rig_launch(r, Q, 999, 1, 0, 0, NULL, 0))                                   \
    X("a launch in no dimension", "dimensions", RIG_SEND(r, launch, .queue = Q, .kernel = K))                          \
    X("a launch in four", "dimensions", RIG_SEND(r, launch, .queue = Q, .kernel = K, .dimensions = 4))                 \
    X("an argument too far", "which has 2", rig_set_region(r, K, 2, A))                                                \
    X("an argument of no kernel", "no kernel", rig_set_region(r, 5, 0, A))                                             \
    X("an argument that is no region", "no region", rig_set_region(r, K, 0, S))                                        \
    X("a value that is an object", "names object",                                                                     \
      RIG_SEND(r, kernel_argument, .kernel = K, .index = 1, .object = A, .size = 4, .value = {"abcd", 4}))             \
    X("a clone of nothing", "no kernel", RIG_SEND(r, kernel_clone, .kernel = 77, .source = 78))                        \
    X("a kernel of no program", "no program", rig_kernel(r, 77, 78, "fill"))                                           \
    X("a question about four dimensions", "dimensions",                                                                \
      RIG_SEND(r, kernel_query, .kernel = K, .device = 1, .dimensions = 4))                                            \
    X("a suggestion for no dimension", "dimensions", RIG_SEND(r, kernel_suggest, .queue = Q, .kernel = K))             \
    X("a program beyond the arena", "arena", RIG_SEND(r, program_create, .program = 77, .text = {RIG_ARENA, 1}))       \
    X("a program larger than all", "PROGRAM", RIG_SEND(r, program_create, .program = 77, .text = {0, 1u << 29}))       \
    X("a program made twice", "taken", RIG_SEND(r, program_create, .program = P, .text = {0, 1}))                      \
    X("a binary beside a text", "has its text",                                                                        \
      RIG_SEND(r, program_create, .program = P, .kind = PEN_PROGRAM_KIND_NATIVE, .device = 1, .text = {0, 1}))         \
    X("a header at the root", "header", RIG_SEND(r, program_header, .program = P, .name = "/etc/passwd"))              \
    X("a header above", "header", RIG_SEND(r, program_header, .program = P, .name = "0/../../x"))                      \
    X("a header without a directory", "header", RIG_SEND(r, program_header, .program = P, .name = "x"))                \
    X("a header with a hole", "header", RIG_SEND(r, program_header, .program = P, .name = "0//x"))                     \
    X("a build for no device", "no device", RIG_SEND(r, program_build, .program = P))                                  \
    X("a build for one twice", "twice",                                                                                \
      RIG_SEND(r, program_build, .program = P, .devices = (const uint64_t[]){1, 1}, .devices_count = 2))               \
    X("options without end", "OPTIONS", send_options_without_end(r))                                                   \
    X("a link of nothing", "inputs",                                                                                   \
      RIG_SEND(r, program_build, .program = 77, .step = PEN_BUILD_STEP_LINK, .devices = (const uint64_t[]){1},         \
               .devices_count = 1))                                                                                    \
    X("parts without sizes", "parts",                                                                                  \
      RIG_SEND(r, device_partition, .parent = 1, .parts = (const uint64_t[]){9}, .parts_count = 1))                    \
    X("parts called like devices", "taken",                                                                            \
      RIG_SEND(r, device_partition, .parent = 1, .parts = (const uint64_t[]){1}, .parts_count = 1,                     \
               .part_units = (const uint32_t[]){1}, .part_units_count = 1))

enum { BEFORE_CASES = __COUNTER__ };
#define ONE_CASE(name_, expected_, action_)                                                                            \
    case __COUNTER__ - BEFORE_CASES - 1:                                                                               \
        *name = (name_);                                                                                               \
        *expected = (expected_);                                                                                       \
        if (r) {                                                                                                       \
            action_;                                                                                                   \
        }                                                                                                              \
        return true;

static bool run_case(int number, struct rig *r, const char **name, const char **expected)
{
    switch (number) {
        CASES(ONE_CASE)
    default:
        return false;
    }
}

static void test_malformed_commands(void **state)
{
    (void)state;
    const char *name, *expected;
    int cases = 0;
    for (int i = 0; run_case(i, NULL, &name, &expected); i++) {
        struct rig rig;
        char message[512] = "";
        rig_start(&rig, &(struct rig_options){0});
        prepare(&rig);
        run_case(i, &rig, &name, &expected);
        int code = rig_fatal(&rig, message, sizeof message);
        if (!code)
            fail_msg("%s: the session goes on", name);
        if (!strstr(message, expected))
            fail_msg("%s: \"%s\" does not say \"%s\"", name, message, expected);
        rig_stop(&rig);
        cases = i + 1;
    }
    assert_true(cases > 70);
}

/* A device that the daemon does not offer is no device. */
static void test_hidden_device(void **state)
{
    (void)state;
    struct rig rig;
    char message[512];
    rig_start(&rig, &(struct rig_options){.domains = 2, .hidden = 1});
    rig_queue(&rig, Q, 2, 0, 0);
    rig_queue(&rig, Q + 1, 1, 0, 1);
    assert_int_equal(rig_fatal(&rig, message, sizeof message), -PEN_EPROTO);
    assert_non_null(strstr(message, "no device"));
    rig_stop(&rig);
}

/* Region 1000 + depth, which has that many regions above it. */
static void send_view(struct rig *rig, uint64_t depth)
{
    RIG_SEND(rig, region_view, .region = 1000 + depth, .parent = 1000 + depth - 1, .kind = PEN_REGION_KIND_IMAGE2D,
             .flags = PEN_REGION_FLAG_DIRECT, .image = {RGBA8, .width = 4, .height = 4, .row_pitch = 16});
}

/* A chain of views ends before the worker's stack does; the longest one works. */
static void test_views_of_views(void **state)
{
    (void)state;
    struct rig rig;
    char message[512];
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig);
    RIG_SEND(&rig, region_slice, .region = 1001, .parent = A, .size = 64, .flags = PEN_REGION_FLAG_DIRECT);
    for (uint64_t depth = 2; depth <= PEN_WORK_DEPTH; depth++)
        send_view(&rig, depth);
    rig_set_region(&rig, K, 0, 1000 + PEN_WORK_DEPTH);
    rig_set_word(&rig, K, 1, 7);
    rig_launch(&rig, Q, K, 16, E, 2, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    send_view(&rig, PEN_WORK_DEPTH + 1);
    assert_int_equal(rig_fatal(&rig, message, sizeof message), -PEN_ELIMIT);
    assert_non_null(strstr(message, "PEN_WORK_DEPTH"));
    rig_stop(&rig);
}

/* A session that has failed executes nothing more and says so once. */
static void test_nothing_after_fatal(void **state)
{
    (void)state;
    struct rig rig;
    char message[512];
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig);
    atomic_store(&rig.view.slots[1].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, marker, .queue = 999);
    RIG_SEND(&rig, event_set, .event = USER, .status = 0);
    RIG_SEND(&rig, marker, .queue = 998);
    assert_int_equal(rig_fatal(&rig, message, sizeof message), -PEN_EPROTO);
    usleep(5000);
    assert_int_equal(rig_slot(&rig, 1), PEN_STATE_QUEUED);
    assert_int_equal(pen_unix_receive(rig.client_fd, &rig.frame, pen_deadline_ms(50)), -PEN_ETIMEOUT);
    rig_stop(&rig);
}

/* The ring is scribbled on while the worker reads: whatever comes of it, the worker lives. */
/* Not instrumented: that it races is its purpose. */
__attribute__((no_sanitize("thread"))) static void *scribble(void *context)
{
    struct rig *rig = context;
    uint64_t random = 88172645463325252u;
    while (!atomic_load(&rig->view.shared->gone)) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        rig->view.ring[random % rig->view.ring_bytes] = (unsigned char)(random >> 32);
    }
    return NULL;
}

static void test_scribbled_ring(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        struct rig rig;
        pthread_t thread;
        rig_start(&rig, &(struct rig_options){0});
        prepare(&rig);
        pthread_create(&thread, NULL, scribble, &rig);
        rig_set_region(&rig, K, 0, A);
        for (int i = 0; i < 20000 && !atomic_load(&rig.view.shared->gone); i++) {
            const struct pen_msg_kernel_argument m = {.kernel = K, .index = 1, .size = 4, .value = {"abcd", 4}};
            size_t size = pen_msg_kernel_argument_size(&m);
            void *at = pen_ring_reserve(&rig.writer, size);
            if (!at)
                continue;
            pen_msg_kernel_argument_encode(&m, ++rig.sequence, at);
            rig_commit(&rig, size);
        }
        atomic_store(&rig.view.shared->gone, 1);
        pthread_join(thread, NULL);
        rig_stop(&rig);
    }
}

/* Operational errors are their command's, and the session lives. */
static void test_errors_of_commands(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, &(struct rig_options){0});
    prepare(&rig);
    /* Arguments of the wrong kind and size. */
    RIG_SEND(&rig, kernel_argument, .kernel = K, .index = 0, .size = 4, .value = {"abcd", 4});
    rig_set_word(&rig, K, 1, 1);
    rig_launch(&rig, Q, K, 1, E, 2, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 2), -PEN_EARGVALUE);
    rig_set_region(&rig, K, 0, A);
    RIG_SEND(&rig, kernel_argument, .kernel = K, .index = 1, .size = 3, .value = {"abc", 3});
    rig_launch(&rig, Q, K, 1, E + 1, 3, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 3), -PEN_EARGSIZE);
    /* A region of memory that is too large for the device. */
    rig_set_word(&rig, K, 1, 1);
    rig_launch(&rig, Q, K, 1, E + 2, 4, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malformed_commands),  cmocka_unit_test(test_hidden_device),
        cmocka_unit_test(test_nothing_after_fatal), cmocka_unit_test(test_scribbled_ring),
        cmocka_unit_test(test_errors_of_commands),  cmocka_unit_test(test_views_of_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
