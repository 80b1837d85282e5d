/* A stream without protection over a connected socket. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "net/stream.h"
#include "net/tcp.h"

static ssize_t result(ssize_t rc)
{
    if (rc >= 0)
        return rc;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -PEN_EGONE;
}

static ssize_t plain_send(struct pen_stream *stream, const struct iovec *parts, int count)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(void *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    return result(sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static ssize_t plain_receive(struct pen_stream *stream, void *bytes, size_t size)
{
    ssize_t rc = recv(stream->fd, bytes, size, MSG_DONTWAIT);
    return rc == 0 && size ? -PEN_EGONE : result(rc);
}

static uint64_t plain_round_trip_ns(const struct pen_stream *stream)
{
    return pen_tcp_round_trip_ns(stream->fd);
}

static bool plain_awaits(const struct pen_stream *stream, uint64_t *out_unheard_ns)
{
    return pen_tcp_awaits(stream->fd, out_unheard_ns);
}

static void plain_destroy(struct pen_stream *stream)
{
    if (!stream)
        return;
    close(stream->fd);
    free(stream);
}

int pen_stream_plain(int fd, struct pen_stream **out_stream)
{
    static const struct pen_stream_ops ops = {.send = plain_send,
                                              .receive = plain_receive,
                                              .destroy = plain_destroy,
                                              .round_trip_ns = plain_round_trip_ns,
                                              .awaits = plain_awaits};
    struct pen_stream *stream = malloc(sizeof *stream);
    if (!stream)
        return -PEN_ENOMEM;
    pen_tcp_tune(fd);
    *stream = (struct pen_stream){.ops = &ops, .fd = fd};
    *out_stream = stream;
    return 0;
}
