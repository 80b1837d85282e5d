/* Bytes of four messages, written out by hand: a change here is a change of the protocol, and needs a new version.
 * Then what hostile counts may cost, and the edges of limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "penstock-protocol.h"

_Alignas(8) static unsigned char frame[PEN_LIMIT_FRAME];
static struct pen_scratch scratch;

static void expect_bytes(size_t size, const char *hex)
{
    char digits[3] = {0};
    size_t at = 0;
    for (const char *c = hex; *c; c++) {
        if (*c == ' ' || *c == '\n')
            continue;
        digits[0] = *c++;
        digits[1] = *c;
        if (at >= size || frame[at] != strtoul(digits, NULL, 16))
            fail_msg("byte %zu is %02x, expected %s (of %zu bytes)", at, at < size ? frame[at] : 0u, digits, size);
        at++;
    }
    assert_int_equal(at, size);
}

static void golden_launch(void **state)
{
    const uint64_t waits[] = {6, 7};
    const struct pen_msg_launch m = {.queue = 1,
                                     .event = 0x1122334455667788,
                                     .slot = 9,
                                     .dimensions = 2,
                                     .kernel = 3,
                                     .offset = {4},
                                     .global = {64, 32},
                                     .local = {8, 4},
                                     .waits = waits,
                                     .waits_count = 2};
    (void)state;
    pen_msg_launch_encode(&m, 5, frame);
    expect_bytes(pen_msg_launch_size(&m), "90000000 0002 0000 0500000000000000"
                                          "0100000000000000 8877665544332211 09000000 02000000 0300000000000000"
                                          "0400000000000000 0000000000000000 0000000000000000"
                                          "4000000000000000 2000000000000000 0000000000000000"
                                          "0800000000000000 0400000000000000 0000000000000000"
                                          "02000000 00000000 0600000000000000 0700000000000000");
}

static void golden_hello(void **state)
{
    const struct pen_msg_hello m = {.major = 1, .minor = 0, .pid = 4242, .name = "clinfo"};
    (void)state;
    pen_msg_hello_encode(&m, 0, frame);
    expect_bytes(pen_msg_hello_size(&m), "30000000 0104 0000 0000000000000000"
                                         "01000000 00000000 92100000 00000000 06000000 636c696e666f 00 0000000000");
}

static void golden_fill(void **state)
{
    const struct pen_msg_fill m = {
        .queue = 1, .region = 2, .origin = {16}, .extent = {64, 1, 1}, .pattern = {"\xaa\xbb\xcc", 3}};
    (void)state;
    pen_msg_fill_encode(&m, 1, frame);
    expect_bytes(pen_msg_fill_size(&m), "70000000 1302 0000 0100000000000000"
                                        "0100000000000000 0000000000000000 00000000 00000000 0200000000000000"
                                        "1000000000000000 0000000000000000 0000000000000000"
                                        "4000000000000000 0100000000000000 0100000000000000"
                                        "03000000 aabbcc 00 00000000 00000000");
}

static void golden_built(void **state)
{
    const struct pen_build_result result = {.device = 3, .outcome = PEN_BUILD_OUTCOME_FAILED, .log_bytes = 5};
    const struct pen_msg_built m = {.status = -PEN_EBUILD, .results = &result, .results_count = 1, .message = "no"};
    (void)state;
    pen_msg_built_encode(&m, 2, frame);
    expect_bytes(pen_msg_built_size(&m), "48000000 0303 0000 0200000000000000"
                                         "e9ffffff 00000000 01000000 00000000"
                                         "0300000000000000 02000000 00000000 0000000000000000 0500000000000000"
                                         "02000000 6e6f 00 00");
}

static void golden_print(void **state)
{
    const uint64_t waits[] = {6, 7};
    const struct pen_msg_write m = {
        .queue = 1, .region = 2, .extent = {4, 1, 1}, .data = {4096, 4}, .waits = waits, .waits_count = 2};
    char *text = NULL;
    size_t length = 0;
    (void)state;
    pen_msg_write_encode(&m, 12, frame);
    FILE *file = open_memstream(&text, &length);
    assert_int_equal(pen_message_print(file, frame, pen_msg_write_size(&m), false), 0);
    fclose(file);
    assert_string_equal(text, "12 write queue=1 event=0 slot=0 region=2 "
                              "box={origin=[0, 0, 0] row_pitch=0 slice_pitch=0} "
                              "host={origin=[0, 0, 0] row_pitch=0 slice_pitch=0} extent=[4, 1, 1] "
                              "data={offset=4096 size=4} waits=[6, 7]\n");
    free(text);
}

static void bulk_is_found(void **state)
{
    const struct pen_msg_program_header header = {.program = 1, .name = "a.h", .text = {64, 12}};
    const struct pen_msg_marker marker = {.queue = 1};
    struct pen_bulk bulk = {0};
    (void)state;
    pen_msg_program_header_encode(&header, 1, frame);
    assert_int_equal(pen_message_bulk(frame, pen_msg_program_header_size(&header), &bulk), 1);
    assert_int_equal(bulk.offset, 64);
    assert_int_equal(bulk.size, 12);
    pen_msg_marker_encode(&marker, 1, frame);
    assert_int_equal(pen_message_bulk(frame, pen_msg_marker_size(&marker), &bulk), 0);
    assert_int_equal(pen_message_bulk(frame, 8, &bulk), -PEN_EPROTO);
}

static void limits_hold_on_both_sides(void **state)
{
    static uint64_t waits[PEN_LIMIT_WAITS + 1];
    static char name[PEN_LIMIT_NAME + 2];
    struct pen_msg_marker m = {.queue = 1, .waits = waits, .waits_count = PEN_LIMIT_WAITS};
    struct pen_msg_kernel_create k = {.kernel = 1, .program = 2, .name = name};
    (void)state;
    size_t size = pen_msg_marker_size(&m);
    assert_int_not_equal(size, 0);
    pen_msg_marker_encode(&m, 1, frame);
    assert_int_equal(pen_msg_marker_decode(frame, size, &scratch, &m), 0);
    uint32_t count = PEN_LIMIT_WAITS + 1, claimed = (uint32_t)size + 8;
    memcpy(frame + 40, &count, sizeof count);
    memcpy(frame, &claimed, sizeof claimed);
    assert_int_equal(pen_msg_marker_decode(frame, claimed, &scratch, &m), -PEN_ELIMIT);
    m = (struct pen_msg_marker){.queue = 1, .waits = waits, .waits_count = PEN_LIMIT_WAITS + 1};
    assert_int_equal(pen_msg_marker_size(&m), 0);

    memset(name, 'n', PEN_LIMIT_NAME);
    assert_int_not_equal(pen_msg_kernel_create_size(&k), 0);
    name[PEN_LIMIT_NAME] = 'n';
    assert_int_equal(pen_msg_kernel_create_size(&k), 0);
}

/* A count that the frame cannot hold is refused before anything is allocated for it. */
static void hostile_counts_allocate_nothing(void **state)
{
    const struct pen_msg_kernel_info m = {.name = "k", .attributes = ""};
    struct pen_msg_kernel_info out;
    (void)state;
    size_t size = pen_msg_kernel_info_size(&m);
    pen_msg_kernel_info_encode(&m, 1, frame);
    assert_int_equal(size, 48);
    for (size_t at = 32; at < size; at += 8) { /* where the counts of arguments and devices are */
        const uint32_t zero = 0, count = PEN_LIMIT_DEVICES;
        memcpy(frame + at, &count, sizeof count);
        assert_int_equal(pen_msg_kernel_info_decode(frame, size, &scratch, &out), -PEN_EPROTO);
        assert_int_equal(scratch.total, 0);
        memcpy(frame + at, &zero, sizeof zero);
    }
    assert_int_equal(pen_msg_kernel_info_decode(frame, size, &scratch, &out), 0);
}

static void outputs_are_untouched_on_failure(void **state)
{
    const struct pen_msg_hello m = {.major = 1, .name = "x"};
    struct pen_msg_hello out = {.major = 77};
    (void)state;
    size_t size = pen_msg_hello_size(&m);
    pen_msg_hello_encode(&m, 0, frame);
    frame[size - 1] = 1; /* padding */
    assert_int_equal(pen_msg_hello_decode(frame, size, &scratch, &out), -PEN_EPROTO);
    assert_int_equal(out.major, 77);
}

static void strings_end_where_they_say(void **state)
{
    const struct pen_msg_hello m = {.major = 1, .name = "abc"};
    struct pen_msg_hello out;
    (void)state;
    size_t size = pen_msg_hello_size(&m);
    pen_msg_hello_encode(&m, 0, frame);
    frame[37] = 0; /* inside the text */
    assert_int_equal(pen_msg_hello_decode(frame, size, &scratch, &out), -PEN_EPROTO);
    frame[37] = 'b';
    frame[39] = 'd'; /* where its zero byte belongs */
    assert_int_equal(pen_msg_hello_decode(frame, size, &scratch, &out), -PEN_EPROTO);
}

static void unknown_values_are_refused(void **state)
{
    const struct pen_msg_queue_create queue = {.queue = 1, .device = 1, .flags = PEN_QUEUE_FLAG_PROFILING};
    const struct pen_msg_program_create program = {.program = 1, .kind = PEN_PROGRAM_KIND_NATIVE};
    struct pen_msg_queue_create queue_out;
    struct pen_msg_program_create program_out;
    (void)state;
    pen_msg_queue_create_encode(&queue, 1, frame);
    frame[32] = 1u << 2; /* a flag that the schema does not have */
    assert_int_equal(pen_msg_queue_create_decode(frame, 48, &scratch, &queue_out), -PEN_EPROTO);
    pen_msg_program_create_encode(&program, 1, frame);
    frame[24] = PEN_PROGRAM_KIND_NATIVE + 1;
    assert_int_equal(
        pen_msg_program_create_decode(frame, pen_msg_program_create_size(&program), &scratch, &program_out),
        -PEN_EPROTO);
}

static void headers_are_checked(void **state)
{
    struct pen_frame_header header = {.size = 24, .opcode = PEN_OP_READY};
    size_t size;
    (void)state;
    assert_int_equal(pen_frame_check_header(&header, sizeof header, &size), 0);
    assert_int_equal(size, 24);
    assert_int_equal(pen_frame_check_header(&header, sizeof header - 1, &size), -PEN_EPROTO);
    static const uint32_t bad[] = {0, 8, 15, 20, PEN_LIMIT_FRAME + 8, 0xfffffff8};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        header.size = bad[i];
        assert_int_equal(pen_frame_check_header(&header, sizeof header, &size), -PEN_EPROTO);
    }
    header = (struct pen_frame_header){.size = 24, .opcode = PEN_OP_READY, .reserved = 1};
    assert_int_equal(pen_frame_check_header(&header, sizeof header, &size), -PEN_EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_launch),
        cmocka_unit_test(golden_hello),
        cmocka_unit_test(golden_fill),
        cmocka_unit_test(golden_built),
        cmocka_unit_test(golden_print),
        cmocka_unit_test(bulk_is_found),
        cmocka_unit_test(limits_hold_on_both_sides),
        cmocka_unit_test(hostile_counts_allocate_nothing),
        cmocka_unit_test(outputs_are_untouched_on_failure),
        cmocka_unit_test(strings_end_where_they_say),
        cmocka_unit_test(unknown_values_are_refused),
        cmocka_unit_test(headers_are_checked),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pen_scratch_finish(&scratch);
    return failed;
}
