/* state/log: what is written is read; cut at every byte, damaged, or no log at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "penstock-protocol.h"
#include "state/log.h"

static const char bulk[] = "thirteen byte"; /* 13, so that there is padding */

static int write_log(void)
{
    _Alignas(8) unsigned char frame[512];
    struct pen_log_writer *writer;
    int fd = memfd_create("log", 0);
    assert_int_equal(pen_log_writer_create(dup(fd), &writer), 0);
    const struct pen_msg_hello hello = {.major = 1, .name = "program"};
    pen_msg_hello_encode(&hello, 0, frame);
    assert_int_equal(pen_log_append(writer, frame, pen_msg_hello_size(&hello), NULL, 0), 0);
    const struct pen_msg_write write = {.queue = 1, .region = 2, .extent = {13, 1, 1}, .data = {64, 13}};
    pen_msg_write_encode(&write, 1, frame);
    assert_int_equal(pen_log_append(writer, frame, pen_msg_write_size(&write), bulk, 13), 0);
    const struct pen_msg_region_create create = {.region = 2, .size = 13, .initialized = 1};
    pen_msg_region_create_encode(&create, 2, frame);
    assert_int_equal(pen_log_append(writer, frame, pen_msg_region_create_size(&create), bulk, 13), 0);
    const struct pen_msg_marker marker = {.queue = 1};
    pen_msg_marker_encode(&marker, 3, frame);
    assert_int_equal(pen_log_append(writer, frame, pen_msg_marker_size(&marker), NULL, 0), 0);
    assert_int_equal(pen_log_writer_destroy(writer), 0);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

/* How many entries are read before the end or an error (*out_rc). */
static int count(int fd, int *out_rc, bool *out_truncated, struct pen_error *error)
{
    static const uint16_t opcodes[] = {PEN_OP_HELLO, PEN_OP_WRITE, PEN_OP_REGION_CREATE, PEN_OP_MARKER};
    struct pen_log_reader *reader;
    struct pen_log_entry entry;
    int entries = 0;
    *out_rc = pen_log_reader_create(fd, &reader, error);
    if (*out_rc) {
        close(fd);
        return 0;
    }
    while ((*out_rc = pen_log_next(reader, &entry, error)) == 1) {
        assert_true(entries < 4);
        assert_int_equal(entry.opcode, opcodes[entries]);
        assert_int_equal(entry.sequence, entries);
        bool has_bulk = entries == 1 || entries == 2;
        assert_int_equal(entry.bulk_size, has_bulk ? 13 : 0);
        if (has_bulk)
            assert_memory_equal(entry.bulk, bulk, 13);
        entries++;
    }
    *out_truncated = pen_log_truncated(reader);
    pen_log_reader_destroy(reader);
    return entries;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct pen_error error = {0};
    int rc;
    bool truncated;
    assert_int_equal(count(write_log(), &rc, &truncated, &error), 4);
    assert_int_equal(rc, 0);
    assert_false(truncated);
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    int fd = write_log(), before = 0;
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t cut = 0; cut <= size; cut++) {
        int copy = write_log(), rc;
        bool truncated = false;
        struct pen_error error = {0};
        assert_int_equal(ftruncate(copy, cut), 0);
        int entries = count(copy, &rc, &truncated, &error);
        if (cut < 8) {
            assert_int_equal(rc, -PEN_EVERSION);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_true(entries == before || entries == before + 1);
        /* An entry's end is the only place where a log may stop without being cut. */
        assert_int_equal(truncated, cut > 8 && entries == before);
        before = entries;
    }
    assert_int_equal(before, 4);
    close(fd);
}

static void test_damaged(void **state)
{
    (void)state;
    int fd = write_log(), rc;
    bool truncated;
    struct pen_error error = {0};
    const uint32_t nonsense = 0xFFFFFFF0;
    assert_int_equal(pwrite(fd, &nonsense, 4, 8), 4);
    assert_int_equal(count(fd, &rc, &truncated, &error), 0);
    assert_int_equal(rc, -PEN_EPROTO);
    assert_non_null(strstr(error.message, "byte 8"));
}

/* What says which limit it was, and of what. */
static void test_over_a_limit(void **state)
{
    (void)state;
    const struct pen_msg_region_create region = {.region = 70000, .size = UINT64_C(1) << 41, .initialized = 1};
    _Alignas(8) unsigned char frame[512];
    size_t size = pen_msg_region_create_size(&region);
    int fd = write_log(), rc;
    bool truncated;
    struct pen_error error = {0};
    assert_in_range(size, 16, sizeof frame);
    pen_msg_region_create_encode(&region, 1, frame);
    assert_int_equal(ftruncate(fd, 8), 0);
    assert_int_equal(pwrite(fd, frame, size, 8), size);
    assert_int_equal(count(fd, &rc, &truncated, &error), 0);
    assert_int_equal(rc, -PEN_ELIMIT);
    assert_non_null(strstr(error.message, "byte 8: \"region_create\" is over"));
    assert_non_null(strstr(error.message, "BULK_MAX"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_over_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
