/* A recorded session: the log holds what was sent with the bytes beside it, in order, and what each read delivered. One
 * that is traced as it runs: what became of the commands that came meanwhile. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "net/unix.h"
#include "rig.h"
#include "state/log.h"
#include "worker/watch.h"

enum { Q = 10, P = 20, INC = 30, A = 40, E = 100 };

static const char text[] = "kernel inc(global data)\n";

static void record(int fd)
{
    struct rig rig;
    struct pen_log_writer *log;
    assert_int_equal(pen_log_writer_create(dup(fd), &log), 0);
    rig_start(&rig, &(struct rig_options){.log = log, .features = PEN_FEATURE_RECORD | PEN_FEATURE_DIRECT});
    /* Direct access and a record exclude each other. */
    assert_int_equal(rig.features, PEN_FEATURE_RECORD);
    rig_program(&rig, P, text);
    assert_int_equal(rig_build(&rig, P, 1), 0);
    rig_kernel(&rig, INC, P, "inc");
    rig_queue(&rig, Q, 1, 0, 0);
    memset(rig.arena, 5, 64);
    rig_buffer(&rig, A, 0, 16, true);
    rig_set_region(&rig, INC, 0, A);
    rig_launch(&rig, Q, INC, 16, 0, 0, NULL, 0);
    /* Every second word: the digest is of what was asked for, not of the gaps. */
    atomic_store(&rig.view.slots[1].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, event_create, .event = E, .slot = 2);
    RIG_SEND(&rig, read, .queue = Q, .event = E + 1, .slot = 1, .region = A, .box = {.row_pitch = 8},
             .host = {.row_pitch = 16}, .extent = {4, 8, 1}, .arena_offset = 4096, .arena_size = 128,
             .waits = (const uint64_t[]){E}, .waits_count = 1);
    RIG_SEND(&rig, event_set, .event = E);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    assert_int_equal(rig.arena[4096], 6);
    rig_stop(&rig);
    assert_int_equal(pen_log_writer_destroy(log), 0);
}

static void check_digest(const struct pen_log_entry *entry, uint64_t read_sequence)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_read_digest digest;
    unsigned char expected[32];
    static const unsigned char word[] = {6, 5, 5, 5};
    for (int i = 0; i < 8; i++)
        memcpy(expected + (size_t)i * 4, word, 4);
    XXH128_hash_t hash = XXH3_128bits(expected, sizeof expected);
    assert_int_equal(entry->sequence, read_sequence);
    assert_int_equal(pen_msg_read_digest_decode(entry->frame, entry->size, &scratch, &digest), 0);
    assert_int_equal(digest.bytes, 32);
    assert_true(digest.low == hash.low64 && digest.high == hash.high64);
    pen_scratch_finish(&scratch);
}

/* The next entry but for what became of commands, which is counted. */
static uint32_t placed, executed, copies;

static int next(struct pen_log_reader *reader, struct pen_log_entry *entry)
{
    struct pen_scratch scratch = {0};
    struct pen_error error = {0};
    struct pen_msg_placed where;
    int rc;
    while ((rc = pen_log_next(reader, entry, &error)) == 1) {
        if (entry->opcode == PEN_OP_EXECUTED) {
            executed++;
        } else if (entry->opcode == PEN_OP_PLACED) {
            assert_int_equal(pen_msg_placed_decode(entry->frame, entry->size, &scratch, &where), 0);
            assert_int_equal(where.device, 1);
            placed++;
            copies += where.region != 0;
        } else {
            break;
        }
    }
    pen_scratch_finish(&scratch);
    return rc;
}

static void test_record(void **state)
{
    (void)state;
    static const uint16_t opcodes[] = {
        PEN_OP_HELLO,        PEN_OP_DEVICE,        PEN_OP_PROGRAM_CREATE,  PEN_OP_PROGRAM_BUILD, PEN_OP_KERNEL_CREATE,
        PEN_OP_QUEUE_CREATE, PEN_OP_REGION_CREATE, PEN_OP_KERNEL_ARGUMENT, PEN_OP_LAUNCH,        PEN_OP_EVENT_CREATE,
        PEN_OP_READ,         PEN_OP_EVENT_SET,     PEN_OP_READ_DIGEST,
    };
    struct pen_error error = {0};
    struct pen_log_reader *reader;
    struct pen_log_entry entry;
    uint64_t read_sequence = 0;
    int fd = memfd_create("log", MFD_CLOEXEC);
    record(fd);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(pen_log_reader_create(fd, &reader, &error), 0);
    for (size_t i = 0; i < sizeof opcodes / sizeof *opcodes; i++) {
        assert_int_equal(next(reader, &entry), 1);
        assert_int_equal(entry.opcode, opcodes[i]);
        if (entry.opcode == PEN_OP_PROGRAM_CREATE) {
            assert_int_equal(entry.bulk_size, strlen(text));
            assert_memory_equal(entry.bulk, text, strlen(text));
        } else if (entry.opcode == PEN_OP_REGION_CREATE) {
            assert_int_equal(entry.bulk_size, 64);
            assert_int_equal(*(const unsigned char *)entry.bulk, 5);
        } else if (entry.opcode == PEN_OP_READ) {
            read_sequence = entry.sequence;
        } else if (entry.opcode == PEN_OP_READ_DIGEST) {
            check_digest(&entry, read_sequence);
        }
    }
    assert_int_equal(next(reader, &entry), 0);
    assert_int_equal(placed, 3); /* a launch, a read, and a copy of the buffer's contents to the device */
    assert_int_equal(executed, 3);
    assert_int_equal(copies, 1);
    assert_false(pen_log_truncated(reader));
    pen_log_reader_destroy(reader);
}

/* A read that never ran has delivered nothing. */
static void test_read_that_never_ran(void **state)
{
    (void)state;
    const uint64_t user = E;
    struct pen_error error = {0};
    struct pen_log_reader *reader;
    struct pen_log_entry entry;
    struct pen_log_writer *log;
    struct rig rig;
    int fd = memfd_create("log", MFD_CLOEXEC), more;
    assert_int_equal(pen_log_writer_create(dup(fd), &log), 0);
    rig_start(&rig, &(struct rig_options){.log = log, .features = PEN_FEATURE_RECORD, .no_thread = true});
    rig_program(&rig, P, "kernel nop()\n");
    assert_int_equal(rig_build(&rig, P, 1), 0);
    rig_kernel(&rig, INC, P, "nop");
    rig_queue(&rig, Q, 1, 0, 0);
    rig_buffer(&rig, A, 0, 16, true);
    RIG_SEND(&rig, event_create, .event = user, .slot = 2);
    RIG_SEND(&rig, event_set, .event = user, .status = -PEN_EIO);
    rig_launch(&rig, Q, INC, 1, 0, 0, NULL, 0);
    RIG_SEND(&rig, read, .queue = Q, .event = E + 1, .slot = 1, .region = A, .extent = {64, 1, 1}, .arena_offset = 4096,
             .arena_size = 64, .waits = &user, .waits_count = 1);
    rig_pump(&rig);
    assert_int_equal(rig_slot(&rig, 1), -PEN_EDEPENDENCY);
    assert_int_equal(rig_asked.markers, 0); /* every command's end is asked for already: the log tells of it */
    rig_stop(&rig);
    assert_int_equal(pen_log_writer_destroy(log), 0);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(pen_log_reader_create(fd, &reader, &error), 0);
    while ((more = pen_log_next(reader, &entry, &error)) == 1)
        assert_int_not_equal(entry.opcode, PEN_OP_READ_DIGEST);
    assert_int_equal(more, 0);
    pen_log_reader_destroy(reader);
}

/* What the node of `sequence` comes after, as the log in fd has it: how many, and the first. */
static uint32_t after_of(int fd, uint64_t sequence, uint64_t *out_first)
{
    struct pen_scratch scratch = {0};
    struct pen_error error = {0};
    struct pen_log_reader *reader;
    struct pen_log_entry entry;
    struct pen_msg_placed where = {0};
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(pen_log_reader_create(dup(fd), &reader, &error), 0);
    while (where.node != sequence) {
        assert_int_equal(pen_log_next(reader, &entry, &error), 1);
        if (entry.opcode == PEN_OP_PLACED)
            assert_int_equal(pen_msg_placed_decode(entry.frame, entry.size, &scratch, &where), 0);
    }
    uint32_t count = where.after_count;
    if (count)
        *out_first = where.after[0].node;
    pen_scratch_finish(&scratch);
    pen_log_reader_destroy(reader);
    return count;
}

/* What the program has it wait for and was over when it was placed is not named. The copy made for it is; and so is, by
 * that, the one before it, which is over when that goes. */
static void test_what_is_over(void **state)
{
    (void)state;
    const uint64_t waits[] = {E + 1, E};
    struct pen_log_writer *log;
    struct rig rig;
    uint64_t first = 0;
    int fd = memfd_create("log", MFD_CLOEXEC);
    assert_int_equal(pen_log_writer_create(dup(fd), &log), 0);
    rig_start(&rig, &(struct rig_options){.domains = 2, .log = log, .features = PEN_FEATURE_RECORD, .no_thread = true});
    rig_program(&rig, P, text);
    assert_int_equal(rig_build(&rig, P, 2), 0);
    rig_kernel(&rig, INC, P, "inc");
    rig_queue(&rig, Q, 1, 0, 0);
    rig_queue(&rig, Q + 1, 2, 0, 0);
    rig_buffer(&rig, A, 0, 16, true);
    rig_set_region(&rig, INC, 0, A);
    RIG_SEND(&rig, event_create, .event = E, .slot = 2);
    rig_launch(&rig, Q, INC, 16, E + 1, 1, NULL, 0);
    rig_pump(&rig);
    assert_int_equal(rig_slot(&rig, 1), 0);
    uint64_t launch = rig_launch(&rig, Q + 1, INC, 16, 0, 0, waits, 2);
    rig_pump(&rig);
    RIG_SEND(&rig, event_set, .event = E);
    rig_pump(&rig);
    rig_stop(&rig);
    assert_int_equal(pen_log_writer_destroy(log), 0);
    assert_int_equal(after_of(fd, launch, &first), 1);
    assert_true(first >> 63);
    assert_int_equal(after_of(fd, first, &first), 1);
    assert_true(first >> 63);
    close(fd);
}

/* What is drawn of why a command comes after others: as many letters as it has of them, in order of their nodes. */
static void check_edges(int fd, uint64_t sequence, const char *expected)
{
    static const char letters[] = {[PEN_EDGE_WAIT] = 'w',
                                   [PEN_EDGE_READ_AFTER_WRITE] = 'r',
                                   [PEN_EDGE_WRITE_AFTER_READ] = 'a',
                                   [PEN_EDGE_WRITE_AFTER_WRITE] = 'o',
                                   [PEN_EDGE_BARRIER] = 'b',
                                   [PEN_EDGE_IN_ORDER] = 'i'};
    struct pen_scratch scratch = {0};
    struct pen_error error = {0};
    struct pen_log_reader *reader;
    struct pen_log_entry entry;
    struct pen_msg_placed where = {0};
    char found[16] = "";
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(pen_log_reader_create(dup(fd), &reader, &error), 0);
    while (where.node != sequence) {
        assert_int_equal(pen_log_next(reader, &entry, &error), 1);
        if (entry.opcode == PEN_OP_PLACED)
            assert_int_equal(pen_msg_placed_decode(entry.frame, entry.size, &scratch, &where), 0);
    }
    for (uint32_t i = 0; i < where.after_count && i + 1 < sizeof found; i++)
        found[i] = letters[where.after[i].why];
    assert_string_equal(found, expected);
    pen_scratch_finish(&scratch);
    pen_log_reader_destroy(reader);
}

static uint64_t send_copy_on(struct rig *rig, uint64_t queue, uint64_t from, uint64_t to)
{
    RIG_SEND(rig, copy, .queue = queue, .source = from, .target = to, .extent = {32, 1, 1});
    return rig->sequence;
}

static uint64_t send_copy(struct rig *rig, uint64_t from, uint64_t to)
{
    return send_copy_on(rig, Q, from, to);
}

static void record_into(int fd, const struct rig_options *options, struct rig *rig, struct pen_log_writer **out_log)
{
    struct rig_options with_log = *options;
    assert_int_equal(pen_log_writer_create(dup(fd), out_log), 0);
    with_log.log = *out_log;
    with_log.features = PEN_FEATURE_RECORD;
    rig_start(rig, &with_log);
}

/* Of a device that spans two: by what each does with the bytes. They are all placed at once, when the gate opens. */
static void test_why_data(void **state)
{
    (void)state;
    const uint64_t gate = E;
    struct pen_log_writer *log;
    struct rig rig;
    int fd = memfd_create("log", MFD_CLOEXEC);
    record_into(fd, &(struct rig_options){.domains = 2, .span = true, .shared = true}, &rig, &log);
    rig_queue(&rig, Q, 1, 0, 0);
    for (uint64_t i = 0; i < 3; i++)
        rig_buffer(&rig, A + i, i * 4096, 16, false);
    RIG_SEND(&rig, event_create, .event = gate, .slot = 1);
    RIG_SEND(&rig, marker, .queue = Q, .waits = &gate, .waits_count = 1);
    uint64_t first = send_copy(&rig, A, A + 1);
    uint64_t reads = send_copy(&rig, A + 1, A + 2);
    uint64_t writes = send_copy(&rig, A, A + 1);
    atomic_store(&rig.view.slots[3].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, fill, .queue = Q, .event = E + 2, .slot = 3, .region = A + 1, .extent = {16, 1, 1},
             .pattern = {"abcd", 4});
    uint64_t overwrites = rig.sequence;
    RIG_SEND(&rig, event_set, .event = gate);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    rig_stop(&rig);
    assert_int_equal(pen_log_writer_destroy(log), 0);
    check_edges(fd, first, "");
    check_edges(fd, reads, "r");
    check_edges(fd, writes, "a");
    check_edges(fd, overwrites, "o");
    close(fd);
}

/* Of a device by itself the same, beside the order of its queue; and nothing of what another queue does with the bytes,
 * since nothing has it come before or after. */
static void test_why_data_of_one_device(void **state)
{
    (void)state;
    const uint64_t gate = E;
    struct pen_log_writer *log;
    struct rig rig;
    int fd = memfd_create("log", MFD_CLOEXEC);
    record_into(fd, &(struct rig_options){.no_thread = true}, &rig, &log);
    rig_queue(&rig, Q, 1, 0, 0);
    rig_queue(&rig, Q + 1, 1, 0, 1);
    for (uint64_t i = 0; i < 3; i++)
        rig_buffer(&rig, A + i, i * 4096, 16, false);
    RIG_SEND(&rig, event_create, .event = gate, .slot = 1);
    RIG_SEND(&rig, copy, .queue = Q + 1, .source = A + 1, .target = A + 2, .extent = {32, 1, 1}, .waits = &gate,
             .waits_count = 1);
    uint64_t other = rig.sequence;
    RIG_SEND(&rig, marker, .queue = Q, .waits = &gate, .waits_count = 1);
    uint64_t first = send_copy(&rig, A, A + 1);
    uint64_t reads = send_copy(&rig, A + 1, A + 2);
    uint64_t writes = send_copy(&rig, A, A + 1);
    uint64_t later = send_copy(&rig, A, A + 2);
    uint64_t both = send_copy(&rig, A + 1, A);
    RIG_SEND(&rig, event_set, .event = gate);
    rig_pump(&rig);
    rig_stop(&rig);
    assert_int_equal(pen_log_writer_destroy(log), 0);
    check_edges(fd, other, "");
    check_edges(fd, first, "i");
    check_edges(fd, reads, "r");
    check_edges(fd, writes, "a");
    check_edges(fd, later, "oi");
    check_edges(fd, both, "raa");
    close(fd);
}

/* With a kernel that holds, so that nothing is over until all are placed: let_go_recorded. */
static void record_held(int fd, const struct rig_options *options, uint64_t buffers, struct rig *rig,
                        struct pen_log_writer **out_log)
{
    record_into(fd, options, rig, out_log);
    rig_program(rig, P, "kernel hold()\n");
    assert_int_equal(rig_build(rig, P, 1), 0);
    rig_kernel(rig, INC, P, "hold");
    rig_queue(rig, Q, 1, 0, 0);
    for (uint64_t i = 0; i < buffers; i++)
        rig_buffer(rig, A + i, i * 4096, 16, false);
    atomic_store(&pen_backend_fake_holds, true);
}

static void let_go_recorded(struct rig *rig, struct pen_log_writer *log)
{
    rig_execute(rig);
    atomic_store(&pen_backend_fake_holds, false);
    rig_pump(rig);
    rig_stop(rig);
    assert_int_equal(pen_log_writer_destroy(log), 0);
}

/* What another queue does with the bytes meanwhile does not hide what this one did. */
static void test_why_data_beside_another_queue(void **state)
{
    (void)state;
    struct pen_log_writer *log;
    struct rig rig;
    int fd = memfd_create("log", MFD_CLOEXEC);
    record_held(fd, &(struct rig_options){.no_thread = true}, 6, &rig, &log);
    rig_queue(&rig, Q + 1, 1, 0, 1);
    rig_launch(&rig, Q, INC, 1, 0, 0, NULL, 0);
    rig_launch(&rig, Q + 1, INC, 1, 0, 0, NULL, 0);
    send_copy(&rig, A, A + 1);
    uint64_t reads = send_copy_on(&rig, Q + 1, A + 1, A + 2);
    send_copy(&rig, A, A + 4);
    uint64_t after_read = send_copy(&rig, A + 3, A + 1);
    uint64_t writes = send_copy_on(&rig, Q + 1, A + 3, A + 1);
    send_copy(&rig, A, A + 4);
    uint64_t after_write = send_copy(&rig, A + 1, A + 5);
    let_go_recorded(&rig, log);
    check_edges(fd, reads, "i");
    check_edges(fd, after_read, "oi");
    check_edges(fd, writes, "a");
    check_edges(fd, after_write, "ri");
    close(fd);
}

/* What comes after a command that the driver refused comes after those before it: that one has changed nothing. */
static void test_why_data_past_a_refused_one(void **state)
{
    (void)state;
    struct pen_log_writer *log;
    struct rig rig;
    int fd = memfd_create("log", MFD_CLOEXEC);
    record_held(fd, &(struct rig_options){.no_thread = true, .fail = "copy:2"}, 4, &rig, &log);
    rig_launch(&rig, Q, INC, 1, 0, 0, NULL, 0);
    uint64_t first = send_copy(&rig, A, A + 1);
    uint64_t refused = send_copy(&rig, A + 3, A + 1);
    uint64_t reads = send_copy(&rig, A + 1, A + 2);
    let_go_recorded(&rig, log);
    check_edges(fd, first, "i");
    check_edges(fd, refused, "o");
    check_edges(fd, reads, "ri");
    close(fd);
}

/* A command that the driver refuses does not stop dispatch until what it waits for is over, as none does in a session
 * that is not recorded. */
static void test_refused_behind_another_queue(void **state)
{
    (void)state;
    const uint64_t held = E;
    struct pen_log_writer *log;
    struct rig rig;
    int fd = memfd_create("log", MFD_CLOEXEC);
    record_into(fd, &(struct rig_options){0}, &rig, &log);
    rig_program(&rig, P, "kernel hold()\nkernel inc(global data)\nkernel nop()\n");
    assert_int_equal(rig_build(&rig, P, 1), 0);
    rig_kernel(&rig, INC, P, "inc");
    rig_kernel(&rig, INC + 1, P, "hold");
    rig_kernel(&rig, INC + 2, P, "nop");
    for (uint32_t i = 0; i < 3; i++)
        rig_queue(&rig, Q + i, 1, 0, i);
    rig_buffer(&rig, A, 0, 16, false);
    rig_set_region(&rig, INC, 0, A);
    atomic_store(&pen_backend_fake_holds, true);
    rig_launch(&rig, Q, INC + 1, 1, held, 1, NULL, 0);
    atomic_store(&rig.view.slots[2].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, launch, .queue = Q + 1, .event = E + 1, .slot = 2, .dimensions = 1, .kernel = INC,
             .global = {16, 1, 1}, .local = {3, 1, 1}, .waits = &held, .waits_count = 1);
    rig_launch(&rig, Q + 2, INC + 2, 1, E + 2, 3, NULL, 0);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_true(rig_slot(&rig, 1) > 0);
    assert_true(rig_slot(&rig, 2) > 0); /* the program is not told before */
    atomic_store(&pen_backend_fake_holds, false);
    assert_int_equal(rig_wait_slot(&rig, 2), -PEN_EGROUPSIZE);
    assert_int_equal(rig_wait_slot(&rig, 1), PEN_STATE_COMPLETE);
    rig_stop(&rig);
    assert_int_equal(pen_log_writer_destroy(log), 0);
    close(fd);
}

/* Of a device by itself: by what the program asks for. */
static void test_why_asked(void **state)
{
    (void)state;
    const uint64_t gate = E, gated = E + 1;
    struct pen_log_writer *log;
    struct rig rig;
    int fd = memfd_create("log", MFD_CLOEXEC);
    record_into(fd, &(struct rig_options){.no_thread = true}, &rig, &log);
    rig_program(&rig, P, "kernel nop()\n");
    assert_int_equal(rig_build(&rig, P, 1), 0);
    rig_kernel(&rig, INC, P, "nop");
    rig_queue(&rig, Q, 1, 0, 0);
    rig_queue(&rig, Q + 1, 1, 0, 1);
    rig_queue(&rig, Q + 2, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER, 2);
    RIG_SEND(&rig, event_create, .event = gate, .slot = 1);
    uint64_t first = rig_launch(&rig, Q, INC, 1, gated, 2, &gate, 1);
    uint64_t next = rig_launch(&rig, Q, INC, 1, 0, 0, NULL, 0);
    uint64_t waits = rig_launch(&rig, Q + 1, INC, 1, 0, 0, &gated, 1);
    RIG_SEND(&rig, barrier, .queue = Q + 2, .waits = &gated, .waits_count = 1);
    uint64_t barred = rig_launch(&rig, Q + 2, INC, 1, 0, 0, NULL, 0);
    rig_pump(&rig);
    RIG_SEND(&rig, event_set, .event = gate);
    rig_pump(&rig);
    rig_stop(&rig);
    assert_int_equal(pen_log_writer_destroy(log), 0);
    check_edges(fd, first, "");
    check_edges(fd, next, "i");
    check_edges(fd, waits, "w");
    check_edges(fd, barred, "b");
    close(fd);
}

/* ---- traced as it runs -------------------------------------------------------------------------------------- */

/* Somebody asks for a trace: the file that he is sent. */
static int ask_for_trace(struct rig *rig, int ends[2])
{
    struct pen_unix_frame frame = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(pen_trace_want(rig->work, -1, ends[1]), 0);
    assert_int_equal(pen_unix_receive(ends[0], &frame, 0), 0);
    assert_int_equal(frame.opcode, PEN_OP_SESSION_TRACED);
    assert_int_equal(frame.fd_count, 1);
    int fd = frame.fds[0];
    frame.fds[0] = -1;
    pen_unix_frame_finish(&frame);
    return fd;
}

/* The trace is to end, and its connection is closed when it is whole. */
static void end_trace(struct rig *rig, int ends[2])
{
    char byte;
    pen_trace_end(rig->work, ends[1]);
    rig_pump(rig);
    assert_int_equal(recv(ends[0], &byte, 1, MSG_DONTWAIT), 0);
    close(ends[0]);
    assert_null(rig->work->trace);
}

/* Of a trace: how many were placed and executed; whether it has its end. Takes fd. */
static bool count_traced(int fd, uint32_t *out_placed, uint32_t *out_executed)
{
    bool whole = false;
    struct pen_error error = {0};
    struct pen_log_reader *reader;
    struct pen_log_entry entry;
    int rc;
    lseek(fd, 0, SEEK_SET);
    *out_placed = *out_executed = 0;
    assert_int_equal(pen_log_reader_create(fd, &reader, &error), 0);
    while ((rc = pen_log_next(reader, &entry, &error)) == 1) {
        assert_true(entry.opcode == PEN_OP_HELLO || entry.opcode == PEN_OP_DEVICE || entry.opcode == PEN_OP_PLACED ||
                    entry.opcode == PEN_OP_EXECUTED || entry.opcode == PEN_OP_SESSION_TRACED);
        assert_false(whole); /* nothing follows */
        whole = entry.opcode == PEN_OP_SESSION_TRACED;
        *out_placed += entry.opcode == PEN_OP_PLACED;
        *out_executed += entry.opcode == PEN_OP_EXECUTED;
    }
    assert_int_equal(rc, 0);
    assert_false(pen_log_truncated(reader));
    pen_log_reader_destroy(reader);
    return whole;
}

static void make_nop(struct rig *rig)
{
    rig_program(rig, P, "kernel nop()\n");
    assert_int_equal(rig_build(rig, P, 1), 0);
    rig_kernel(rig, INC, P, "nop");
    rig_queue(rig, Q, 1, 0, 0);
}

static void start_nop(struct rig *rig)
{
    rig_start(rig, &(struct rig_options){.no_thread = true});
    make_nop(rig);
}

static void launch_some(struct rig *rig, int count)
{
    for (int i = 0; i < count; i++)
        rig_launch(rig, Q, INC, 1, 0, 0, NULL, 0);
    rig_pump(rig);
}

/* What came while it was wanted, and no more; again; and with the session's end. */
static void test_live(void **state)
{
    (void)state;
    struct rig rig;
    int ends[2];
    uint32_t traced, over;
    start_nop(&rig);
    launch_some(&rig, 2);
    for (int i = 3; i < 5; i++) {
        int fd = ask_for_trace(&rig, ends);
        rig_pump(&rig);
        launch_some(&rig, i);
        end_trace(&rig, ends);
        launch_some(&rig, 1);
        assert_true(count_traced(fd, &traced, &over));
        assert_int_equal(traced, i);
        assert_int_equal(over, i);
    }
    close(ask_for_trace(&rig, ends)); /* over before it has begun: its connection is closed at once */
    end_trace(&rig, ends);
    int fd = ask_for_trace(&rig, ends);
    rig_pump(&rig);
    launch_some(&rig, 1);
    rig_stop(&rig);
    close(ends[0]);
    close(ends[1]);
    assert_true(count_traced(fd, &traced, &over));
    assert_int_equal(traced, 1);
}

/* A command is done, of which dispatch does not know yet. */
static void launch_unseen(struct rig *rig)
{
    rig_launch(rig, Q, INC, 1, E, 1, NULL, 0);
    rig_execute(rig);
    while (rig_slot(rig, 1) != PEN_STATE_COMPLETE)
        usleep(1000);
}

/* A command that is over, and dispatch has not come to know. Returns the trace. */
static int finish_unseen(struct rig *rig, int ends[2])
{
    start_nop(rig);
    int fd = ask_for_trace(rig, ends);
    rig_pump(rig);
    launch_unseen(rig);
    return fd;
}

static void stop_unseen(struct rig *rig, const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
    rig_stop(rig);
}

static void note_gone(void *gone)
{
    atomic_store((_Atomic bool *)gone, true);
}

/* The program of a recorded session leaves: the process ends when the log has what ran, too. */
static void test_record_left(void **state)
{
    (void)state;
    struct pen_log_writer *log;
    struct rig rig;
    int ends[2], fd = memfd_create("log", MFD_CLOEXEC);
    struct pen_error error = {0};
    struct pen_log_reader *reader;
    struct pen_log_entry entry;
    _Atomic bool gone = false;
    record_into(fd, &(struct rig_options){.no_thread = true}, &rig, &log);
    make_nop(&rig);
    rig_pump(&rig);
    launch_unseen(&rig);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    struct pen_watch watch = {
        .work = rig.work, .control_fd = ends[0], .return_fd = -1, .gone = note_gone, .context = &gone};
    assert_int_equal(pen_watch_start(&watch), 0);
    shutdown(rig.client_fd, SHUT_RDWR);
    usleep(50000);
    assert_false(gone);
    pen_work_leave(rig.work);
    while (!gone)
        usleep(1000);
    pen_watch_stop(&watch);
    assert_int_equal(pen_log_flush(log), 0);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(pen_log_reader_create(fd, &reader, &error), 0);
    executed = 0;
    while (next(reader, &entry) == 1)
        ;
    assert_int_equal(executed, 1);
    pen_log_reader_destroy(reader);
    stop_unseen(&rig, ends);
    assert_int_equal(pen_log_writer_destroy(log), 0);
}

/* The process is about to end: what is over is in the trace, and its end. */
static void test_live_left(void **state)
{
    (void)state;
    struct rig rig;
    int ends[2];
    uint32_t traced, over;
    int fd = finish_unseen(&rig, ends);
    pen_work_leave(rig.work);
    pen_trace_leave(rig.work); /* finds none */
    assert_true(count_traced(fd, &traced, &over));
    assert_int_equal(traced, 1);
    assert_int_equal(over, 1);
    stop_unseen(&rig, ends);
}

static void *come_back(void *callbacks)
{
    usleep(30000);
    atomic_fetch_sub((_Atomic uint32_t *)callbacks, 1);
    return NULL;
}

/* A driver's thread is still in its callback: the program sees the command complete, and dispatch has not got it. */
static void test_leave_waits_for_callbacks(void **state)
{
    (void)state;
    struct rig rig;
    int ends[2];
    pthread_t driver;
    close(finish_unseen(&rig, ends));
    atomic_fetch_add(&rig.work->callbacks, 1);
    assert_int_equal(pthread_create(&driver, NULL, come_back, &rig.work->callbacks), 0);
    pen_work_leave(rig.work);
    assert_int_equal(atomic_load(&rig.work->callbacks), 0);
    pthread_join(driver, NULL);
    stop_unseen(&rig, ends);
}

/* The same while dispatch is stuck: there is what it has written, and one sees that it is not all. */
static void test_live_cut(void **state)
{
    (void)state;
    struct rig rig;
    int ends[2];
    uint32_t traced, over;
    int fd = finish_unseen(&rig, ends);
    struct pen_log_writer *trace = atomic_load(&rig.work->trace);
    pen_trace_leave(rig.work);
    assert_false(count_traced(fd, &traced, &over));
    assert_int_equal(traced, 1);
    assert_int_equal(over, 0);
    assert_int_equal(pen_log_writer_destroy(trace), 0);
    stop_unseen(&rig, ends);
}

/* One at a time: the second is told so. */
static void test_live_twice(void **state)
{
    (void)state;
    struct rig rig;
    struct pen_unix_frame frame = {0};
    int ends[2], others[2];
    start_nop(&rig);
    int fd = ask_for_trace(&rig, ends);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, others), 0);
    assert_int_equal(pen_trace_want(rig.work, ends[1], others[1]), -PEN_EBUSY);
    assert_int_equal(pen_unix_receive(others[0], &frame, 0), 0);
    assert_int_equal(frame.opcode, PEN_OP_REFUSED);
    pen_unix_frame_finish(&frame);
    close(others[0]);
    close(others[1]);
    close(fd);
    end_trace(&rig, ends);
    rig_stop(&rig);
}

/* limit TRACE: what is written stays whole. */
static void test_live_full(void **state)
{
    (void)state;
    struct rig rig;
    int ends[2];
    uint32_t traced, over;
    start_nop(&rig);
    int fd = ask_for_trace(&rig, ends);
    rig_pump(&rig);
    rig.work->traced_bytes = PEN_LIMIT_TRACE - PEN_LIMIT_FRAME - 1000;
    launch_some(&rig, 100);
    end_trace(&rig, ends);
    assert_true(count_traced(fd, &traced, &over));
    assert_in_range(traced, 1, 20);
    rig_stop(&rig);
}

/* A disk without room: the session that asked for a record fails, with a sentence, though no further command follows
 * the one that could not be written. */
static void test_disk_full(void **state)
{
    (void)state;
    struct rig rig;
    struct pen_log_writer *log;
    char message[512] = "";
    int fd = memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(pen_log_writer_create(fd, &log), 0);
    rig_start(&rig, &(struct rig_options){.log = log, .features = PEN_FEATURE_RECORD});
    assert_int_equal(pen_log_flush(log), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    rig_queue(&rig, Q, 1, 0, 0);
    assert_int_equal(rig_fatal(&rig, message, sizeof message), -PEN_EIO);
    assert_non_null(strstr(message, "log"));
    rig_stop(&rig);
    assert_int_equal(pen_log_writer_destroy(log), -PEN_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_read_that_never_ran),
        cmocka_unit_test(test_what_is_over),
        cmocka_unit_test(test_why_data),
        cmocka_unit_test(test_why_data_of_one_device),
        cmocka_unit_test(test_why_data_beside_another_queue),
        cmocka_unit_test(test_why_data_past_a_refused_one),
        cmocka_unit_test(test_refused_behind_another_queue),
        cmocka_unit_test(test_why_asked),
        cmocka_unit_test(test_live),
        cmocka_unit_test(test_live_left),
        cmocka_unit_test(test_leave_waits_for_callbacks),
        cmocka_unit_test(test_record_left),
        cmocka_unit_test(test_live_cut),
        cmocka_unit_test(test_live_twice),
        cmocka_unit_test(test_live_full),
        cmocka_unit_test(test_disk_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
