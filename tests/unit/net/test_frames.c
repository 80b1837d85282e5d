/* The buffered reader, at every split of the bytes; whole frames over a socket. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/unix.h"
#include "wire/futex.h"

static size_t make_frame(unsigned char *at, size_t size, uint64_t sequence)
{
    const struct pen_frame_header header = {.size = (uint32_t)size, .opcode = 0x0401, .sequence = sequence};
    memcpy(at, &header, sizeof header);
    memset(at + sizeof header, (int)sequence, size - sizeof header);
    return size;
}

static void check_frame(const void *frame, size_t size, size_t expected, uint64_t sequence)
{
    struct pen_frame_header header;
    assert_int_equal(size, expected);
    assert_int_equal((uintptr_t)frame % 8, 0);
    memcpy(&header, frame, sizeof header);
    assert_int_equal(header.sequence, sequence);
    for (size_t i = sizeof header; i < size; i++)
        assert_int_equal(((const unsigned char *)frame)[i], (unsigned char)sequence);
}

static void feed(struct pen_frame_reader *reader, const unsigned char *bytes, size_t size)
{
    void *at;
    size_t space;
    assert_int_equal(pen_frame_reader_space(reader, &at, &space), 0);
    assert_true(space >= size);
    memcpy(at, bytes, size);
    pen_frame_reader_filled(reader, size);
}

static void every_split(void **unused)
{
    (void)unused;
    static const size_t sizes[] = {16, 24, 72, 16, 128};
    unsigned char bytes[512];
    size_t total = 0;
    for (size_t i = 0; i < 5; i++)
        total += make_frame(bytes + total, sizes[i], i + 1);
    for (size_t first = 0; first <= total; first++) {
        for (size_t second = first; second <= total; second++) {
            struct pen_frame_reader reader = {0};
            const size_t ends[] = {first, second, total};
            size_t fed = 0, got = 0;
            for (size_t part = 0; part < 3; part++) {
                const void *frame;
                size_t size;
                feed(&reader, bytes + fed, ends[part] - fed);
                fed = ends[part];
                while (pen_frame_reader_next(&reader, &frame, &size) == 1) {
                    check_frame(frame, size, sizes[got], got + 1);
                    got++;
                }
            }
            assert_int_equal(got, 5);
            pen_frame_reader_finish(&reader);
        }
    }
}

static void longest_frames(void **unused)
{
    (void)unused;
    static unsigned char bytes[PEN_LIMIT_FRAME];
    struct pen_frame_reader reader = {0};
    const void *frame;
    size_t size;
    for (uint64_t i = 1; i < 50; i++) {
        size_t length = i % 2 ? PEN_LIMIT_FRAME : PEN_LIMIT_FRAME - 24;
        make_frame(bytes, length, i);
        for (size_t at = 0; at < length;) {
            size_t part = length - at < 30000 ? length - at : 30000;
            assert_int_equal(pen_frame_reader_next(&reader, &frame, &size), 0);
            feed(&reader, bytes + at, part);
            at += part;
        }
        assert_int_equal(pen_frame_reader_next(&reader, &frame, &size), 1);
        check_frame(frame, size, length, i);
    }
    pen_frame_reader_finish(&reader);
}

static void nonsense_is_for_ever(void **unused)
{
    (void)unused;
    const struct pen_frame_header bad[] = {{.size = 0},          {.size = 8},
                                           {.size = 17},         {.size = PEN_LIMIT_FRAME + 8},
                                           {.size = UINT32_MAX}, {.size = 16, .reserved = 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pen_frame_reader reader = {0};
        unsigned char good[16];
        const void *frame = NULL;
        size_t size = 0;
        feed(&reader, (const unsigned char *)&bad[i], sizeof bad[i]);
        assert_int_equal(pen_frame_reader_next(&reader, &frame, &size), -PEN_EPROTO);
        make_frame(good, 16, 1);
        feed(&reader, good, 16);
        assert_int_equal(pen_frame_reader_next(&reader, &frame, &size), -PEN_EPROTO);
        assert_null(frame);
        pen_frame_reader_finish(&reader);
    }
}

/* ---- sockets ----------------------------------------------------------------------------------------- */

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void with_descriptors(void **unused)
{
    (void)unused;
    unsigned char bytes[64];
    int pair[2], before = open_descriptors();
    struct pen_unix_frame frame = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    make_frame(bytes, 64, 3);
    int passed[PEN_UNIX_DESCRIPTORS] = {pair[0], pair[1], 0, 1};
    for (unsigned count = 0; count <= PEN_UNIX_DESCRIPTORS; count++)
        assert_int_equal(pen_unix_send(pair[0], bytes, 64, passed, count, 0), 0);
    assert_int_equal(pen_unix_send(pair[0], bytes, 64, passed, PEN_UNIX_DESCRIPTORS + 1, 0), -PEN_EINVAL);
    for (unsigned count = 0; count <= PEN_UNIX_DESCRIPTORS; count++) {
        assert_int_equal(pen_unix_receive(pair[1], &frame, pen_deadline_ms(1000)), 0);
        check_frame(frame.data, frame.size, 64, 3);
        assert_int_equal(frame.opcode, 0x0401);
        assert_int_equal(frame.fd_count, count);
        for (unsigned i = 0; i < count; i++)
            assert_true(fcntl(frame.fds[i], F_GETFD) & FD_CLOEXEC);
    }
    int taken = frame.fds[0];
    frame.fds[0] = -1;
    pen_unix_frame_finish(&frame);
    pen_unix_frame_finish(&frame); /* zeroed */
    assert_true(fcntl(taken, F_GETFD) >= 0);
    close(taken);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(open_descriptors(), before);
}

/* Sends bytes with any number of descriptors, as a peer that does not care for limits. */
static void send_raw(int fd, const void *bytes, size_t size, unsigned descriptors)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * 16)];
    } control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptors) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors);
        for (unsigned i = 0; i < descriptors; i++)
            memcpy(CMSG_DATA(header) + i * sizeof(int), &(int){1}, sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &message, 0), (ssize_t)size);
}

static void surplus_descriptors_are_closed(void **unused)
{
    (void)unused;
    unsigned char bytes[64];
    make_frame(bytes, 64, 1);
    for (int split = 0; split < 3; split++) {
        int pair[2], before = open_descriptors();
        struct pen_unix_frame frame = {0};
        struct pen_frame_reader reader = {0};
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        if (split == 0) { /* five at once */
            send_raw(pair[0], bytes, 64, PEN_UNIX_DESCRIPTORS + 1);
            assert_int_equal(pen_unix_receive(pair[1], &frame, pen_deadline_ms(1000)), -PEN_EPROTO);
        } else if (split == 1) { /* three with the header, two with the rest */
            send_raw(pair[0], bytes, 16, 3);
            send_raw(pair[0], bytes + 16, 48, 2);
            assert_int_equal(pen_unix_receive(pair[1], &frame, pen_deadline_ms(1000)), -PEN_EPROTO);
        } else { /* any, where none is expected */
            send_raw(pair[0], bytes, 64, 1);
            assert_int_equal(pen_frame_reader_fill(&reader, pair[1]), -PEN_EPROTO);
        }
        assert_int_equal(frame.fd_count, 0);
        pen_unix_frame_finish(&frame);
        pen_frame_reader_finish(&reader);
        close(pair[0]);
        close(pair[1]);
        assert_int_equal(open_descriptors(), before);
    }
}

static void truncation_and_deadlines(void **unused)
{
    (void)unused;
    unsigned char bytes[64];
    make_frame(bytes, 64, 1);
    for (size_t cut = 0; cut < 64; cut++) {
        for (int hang = 0; hang < 2; hang++) {
            int pair[2];
            struct pen_unix_frame frame = {0};
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
            if (cut)
                send_raw(pair[0], bytes, cut, 1);
            if (!hang)
                close(pair[0]);
            uint64_t start = pen_now_ns();
            assert_int_equal(pen_unix_receive(pair[1], &frame, hang ? start + 1000000 : UINT64_MAX),
                             hang ? -PEN_ETIMEOUT : -PEN_EGONE);
            assert_true(pen_now_ns() - start < 5000000000u);
            assert_int_equal(frame.fd_count, 0);
            pen_unix_frame_finish(&frame);
            if (hang)
                close(pair[0]);
            close(pair[1]);
        }
    }
}

static void reads_no_byte_too_many(void **unused)
{
    (void)unused;
    unsigned char bytes[128], rest[128];
    int pair[2];
    struct pen_unix_frame frame = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    make_frame(bytes, 64, 1);
    make_frame(bytes + 64, 64, 2);
    send_raw(pair[0], bytes, 128, 0);
    assert_int_equal(pen_unix_receive(pair[1], &frame, 0), 0);
    assert_int_equal(recv(pair[1], rest, sizeof rest, 0), 64);
    assert_memory_equal(rest, bytes + 64, 64);
    pen_unix_frame_finish(&frame);
    close(pair[0]);
    close(pair[1]);
}

static void comes_in_pieces(void **unused)
{
    (void)unused;
    unsigned char bytes[80];
    int pair[2], before = open_descriptors();
    struct pen_unix_frame frame = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    make_frame(bytes, 64, 1);
    make_frame(bytes + 64, 16, 2);
    for (int round = 0; round < 2; round++) {
        for (int at = 0; at < 63; at++) {
            assert_int_equal(pen_unix_receive_some(pair[1], &frame), 0);
            send_raw(pair[0], bytes + at, 1, at == 0 || at == 40 ? 1 : 0);
        }
        assert_int_equal(pen_unix_receive_some(pair[1], &frame), 0);
        send_raw(pair[0], bytes + 63, 17, 0);
        assert_int_equal(pen_unix_receive_some(pair[1], &frame), 1);
        check_frame(frame.data, frame.size, 64, 1);
        assert_int_equal(frame.fd_count, 2);
        assert_int_equal(pen_unix_receive_some(pair[1], &frame), 1);
        check_frame(frame.data, frame.size, 16, 2);
        assert_int_equal(frame.fd_count, 0);
    }
    send_raw(pair[0], bytes, 20, 1);
    assert_int_equal(pen_unix_receive_some(pair[1], &frame), 0);
    close(pair[0]);
    assert_int_equal(pen_unix_receive_some(pair[1], &frame), -PEN_EGONE);
    assert_int_equal(frame.fd_count, 0);
    pen_unix_frame_finish(&frame);
    close(pair[1]);
    assert_int_equal(open_descriptors(), before);
}

static void full_socket(void **unused)
{
    (void)unused;
    static unsigned char bytes[PEN_LIMIT_FRAME];
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    make_frame(bytes, sizeof bytes, 1);
    int rc = 0;
    for (int i = 0; i < 1000 && !rc; i++)
        rc = pen_unix_send(pair[0], bytes, sizeof bytes, NULL, 0, pen_deadline_ms(20));
    assert_int_equal(rc, -PEN_ETIMEOUT);
    close(pair[1]);
    assert_int_equal(pen_unix_send(pair[0], bytes, sizeof bytes, NULL, 0, pen_deadline_ms(20)), -PEN_EGONE);
    close(pair[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split),
        cmocka_unit_test(longest_frames),
        cmocka_unit_test(nonsense_is_for_ever),
        cmocka_unit_test(with_descriptors),
        cmocka_unit_test(surplus_descriptors_are_closed),
        cmocka_unit_test(truncation_and_deadlines),
        cmocka_unit_test(reads_no_byte_too_many),
        cmocka_unit_test(comes_in_pieces),
        cmocka_unit_test(full_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
