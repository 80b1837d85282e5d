/* Whole frames over a stream socket, with descriptors; and the buffered reader. */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/unix.h"
#include "wire/futex.h"

#define HEADER sizeof(struct pen_frame_header)

/* Waits until the socket is ready for `events` (or broken: the next call will say so). */
static int wait_ready(int fd, short events, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now = deadline_ns && deadline_ns != UINT64_MAX ? pen_now_ns() : 0;
        uint64_t left_ms = deadline_ns > now ? (deadline_ns - now + 999999) / 1000000 : 0;
        int timeout = deadline_ns == UINT64_MAX ? -1 : left_ms > 3600000 ? 3600000 : (int)left_ms;
        struct pollfd poller = {.fd = fd, .events = events};
        int rc = poll(&poller, 1, timeout);
        if (rc > 0)
            return 0;
        if (rc < 0 && errno != EINTR)
            return -PEN_EIO;
        if (deadline_ns != UINT64_MAX && pen_now_ns() >= deadline_ns)
            return -PEN_ETIMEOUT;
    }
}

static int socket_error(int code)
{
    return code == EPIPE || code == ECONNRESET || code == ENOTCONN ? -PEN_EGONE : -PEN_EIO;
}

/* ---- sending ----------------------------------------------------------------------------------------- */

int pen_unix_send(int fd, const void *frame, size_t size, const int *descriptors, unsigned descriptor_count,
                  uint64_t deadline_ns)
{
    if (size < HEADER || size > PEN_LIMIT_FRAME || descriptor_count > PEN_UNIX_DESCRIPTORS)
        return -PEN_EINVAL;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * PEN_UNIX_DESCRIPTORS)];
    } control = {0};
    size_t sent = 0;
    while (sent < size) {
        struct iovec part = {.iov_base = (char *)(uintptr_t)frame + sent, .iov_len = size - sent};
        struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
        if (descriptor_count && sent == 0) {
            message.msg_control = control.bytes;
            message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptor_count);
            struct cmsghdr *header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(sizeof(int) * descriptor_count);
            memcpy(CMSG_DATA(header), descriptors, sizeof(int) * descriptor_count);
        }
        ssize_t rc = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (rc >= 0) {
            sent += (size_t)rc;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int waited = wait_ready(fd, POLLOUT, deadline_ns);
            if (waited)
                return waited;
        } else if (errno != EINTR) {
            return socket_error(errno);
        }
    }
    return 0;
}

/* ---- receiving --------------------------------------------------------------------------------------- */

/* Takes the descriptors of a message: what fits goes to fds, the rest is closed. False when there were more than fit.
 */
static bool take_descriptors(struct msghdr *message, int *fds, unsigned *count)
{
    bool all = !(message->msg_flags & MSG_CTRUNC);
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < received; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            if (fds && *count < PEN_UNIX_DESCRIPTORS) {
                fds[(*count)++] = fd;
            } else {
                close(fd);
                all = false;
            }
        }
    }
    return all;
}

/* One non-blocking read: bytes > 0, 0 nothing now, or an error. With fds NULL, descriptors are refused. */
static ssize_t receive_some(int fd, void *at, size_t size, int *fds, unsigned *count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * PEN_UNIX_DESCRIPTORS)];
    } control;
    struct iovec part = {.iov_base = at, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t rc;
    do {
        rc = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : socket_error(errno);
    if (!take_descriptors(&message, fds, count))
        return -PEN_EPROTO;
    return rc == 0 ? -PEN_EGONE : rc;
}

static void close_descriptors(struct pen_unix_frame *frame)
{
    for (unsigned i = 0; i < frame->fd_count && i < PEN_UNIX_DESCRIPTORS; i++)
        if (frame->fds[i] >= 0)
            close(frame->fds[i]);
    frame->fd_count = 0;
}

static int begin_frame(struct pen_unix_frame *frame)
{
    close_descriptors(frame);
    if (!frame->data)
        frame->data = malloc(PEN_LIMIT_FRAME);
    return frame->data ? 0 : -PEN_ENOMEM;
}

static int give_up(struct pen_unix_frame *frame, int rc)
{
    close_descriptors(frame);
    frame->filled = 0;
    return rc;
}

int pen_unix_receive_some(int fd, struct pen_unix_frame *frame)
{
    int rc = frame->filled ? 0 : begin_frame(frame);
    while (!rc) {
        size_t wanted = frame->filled < HEADER ? HEADER : frame->size;
        ssize_t got =
            receive_some(fd, (char *)frame->data + frame->filled, wanted - frame->filled, frame->fds, &frame->fd_count);
        if (got == 0)
            return 0;
        if (got < 0)
            return give_up(frame, (int)got);
        frame->filled += (size_t)got;
        if (frame->filled == HEADER)
            rc = pen_frame_check_header(frame->data, HEADER, &frame->size);
        if (!rc && frame->filled >= HEADER && frame->filled == frame->size) {
            frame->filled = 0;
            frame->opcode = ((const struct pen_frame_header *)frame->data)->opcode;
            return 1;
        }
    }
    return give_up(frame, rc);
}

int pen_unix_receive(int fd, struct pen_unix_frame *frame, uint64_t deadline_ns)
{
    int rc;
    while ((rc = pen_unix_receive_some(fd, frame)) == 0 && (rc = wait_ready(fd, POLLIN, deadline_ns)) == 0)
        ;
    return rc == 1 ? 0 : give_up(frame, rc);
}

void pen_unix_frame_finish(struct pen_unix_frame *frame)
{
    close_descriptors(frame);
    free(frame->data);
    *frame = (struct pen_unix_frame){0};
}

/* ---- buffered reader --------------------------------------------------------------------------------- */

int pen_frame_reader_space(struct pen_frame_reader *reader, void **out_at, size_t *out_space)
{
    if (!reader->buffer) {
        reader->buffer = malloc(PEN_FRAME_READER_BYTES);
        if (!reader->buffer)
            return -PEN_ENOMEM;
        reader->capacity = PEN_FRAME_READER_BYTES;
    }
    if (reader->start && reader->capacity - reader->end < PEN_LIMIT_FRAME) {
        memmove(reader->buffer, reader->buffer + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
    }
    *out_at = reader->buffer + reader->end;
    *out_space = reader->capacity - reader->end;
    return 0;
}

void pen_frame_reader_filled(struct pen_frame_reader *reader, size_t bytes)
{
    reader->end += bytes;
}

ssize_t pen_frame_reader_fill(struct pen_frame_reader *reader, int fd)
{
    void *at;
    size_t space;
    int rc = pen_frame_reader_space(reader, &at, &space);
    if (rc)
        return rc;
    if (!space)
        return -PEN_ELIMIT; /* the caller left frames unread */
    ssize_t got = receive_some(fd, at, space, NULL, NULL);
    if (got > 0)
        pen_frame_reader_filled(reader, (size_t)got);
    return got;
}

int pen_frame_reader_next(struct pen_frame_reader *reader, const void **out_frame, size_t *out_size)
{
    if (reader->broken)
        return reader->broken;
    size_t available = reader->end - reader->start, size = 0;
    if (available < HEADER) {
        if (!available)
            reader->start = reader->end = 0;
        return 0;
    }
    if (pen_frame_check_header(reader->buffer + reader->start, HEADER, &size) || size < HEADER ||
        size > PEN_LIMIT_FRAME)
        return reader->broken = -PEN_EPROTO;
    if (available < size)
        return 0;
    *out_frame = reader->buffer + reader->start;
    *out_size = size;
    reader->start += size;
    return 1;
}

void pen_frame_reader_align(struct pen_frame_reader *reader)
{
    if (reader->start % 8 == 0)
        return;
    memmove(reader->buffer, reader->buffer + reader->start, reader->end - reader->start);
    reader->end -= reader->start;
    reader->start = 0;
}

void pen_frame_reader_finish(struct pen_frame_reader *reader)
{
    free(reader->buffer);
    *reader = (struct pen_frame_reader){0};
}
