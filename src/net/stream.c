/* Whole frames over a stream, and waiting for them. */
#include "net/stream.h"

#include <poll.h>

#include "base/error.h"
#include "penstock-protocol.h"
#include "wire/futex.h"

/* Longest sleep at a time. */
#define SLEEP_MS 1000

void pen_stream_destroy(struct pen_stream *stream)
{
    if (stream)
        stream->ops->destroy(stream);
}

const char *pen_stream_why(const struct pen_stream *stream)
{
    return stream->ops->why ? stream->ops->why(stream) : "";
}

uint64_t pen_stream_round_trip_ns(const struct pen_stream *stream)
{
    return stream->ops->round_trip_ns ? stream->ops->round_trip_ns(stream) : 0;
}

bool pen_stream_awaits(const struct pen_stream *stream, uint64_t *out_unheard_ns)
{
    *out_unheard_ns = 0;
    return stream->ops->awaits && stream->ops->awaits(stream, out_unheard_ns);
}

int pen_stream_wait(const struct pen_stream *stream, short events, uint64_t deadline_ns)
{
    struct pollfd poller = {.fd = stream->fd, .events = events};
    uint64_t now = pen_now_ns();
    if (now >= deadline_ns)
        return -PEN_ETIMEOUT;
    uint64_t left_ms = (deadline_ns - now + 999999) / 1000000;
    (void)poll(&poller, 1, left_ms < SLEEP_MS ? (int)left_ms : SLEEP_MS);
    return 0;
}

int pen_stream_send_frame(struct pen_stream *stream, const void *frame, size_t size, uint64_t deadline_ns)
{
    size_t sent = 0;
    while (sent < size) {
        const struct iovec part = {(char *)(uintptr_t)frame + sent, size - sent};
        ssize_t rc = stream->ops->send(stream, &part, 1);
        if (rc == 0)
            rc = pen_stream_wait(stream, POLLOUT, deadline_ns);
        if (rc < 0)
            return (int)rc;
        sent += (size_t)rc;
    }
    return 0;
}

static int receive_all(struct pen_stream *stream, void *at, size_t size, uint64_t deadline_ns)
{
    for (size_t got = 0; got < size;) {
        ssize_t rc = stream->ops->receive(stream, (char *)at + got, size - got);
        if (rc == 0)
            rc = pen_stream_wait(stream, POLLIN, deadline_ns);
        if (rc < 0)
            return (int)rc;
        got += (size_t)rc;
    }
    return 0;
}

int pen_stream_receive_frame(struct pen_stream *stream, void *at, size_t *out_size, uint64_t deadline_ns)
{
    const size_t header = sizeof(struct pen_frame_header);
    size_t size = 0;
    int rc = receive_all(stream, at, header, deadline_ns);
    if (!rc)
        rc = pen_frame_check_header(at, header, &size);
    if (!rc)
        rc = receive_all(stream, (char *)at + header, size - header, deadline_ns);
    if (!rc)
        *out_size = size;
    return rc;
}
