/* net/stream.h - a connection to a peer on another host: bytes, both ways, in order, until it breaks. One file for each
 * transport: plain.c (TCP without protection, for measurements on one host), tls.c.
 * Ownership: a stream owns its descriptor.
 * Threads:   one sends while another receives; destroy when nobody does either.
 * Errors:    0 or -PEN_E*: EGONE the peer closed, or the connection broke. Nothing blocks. */
#ifndef PEN_NET_STREAM_H
#define PEN_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct pen_stream;

struct pen_stream_ops {
    /* Bytes taken from the parts' beginning; 0: none now, poll for POLLOUT. */
    ssize_t (*send)(struct pen_stream *stream, const struct iovec *parts, int count);
    /* Bytes received; 0: none now, poll for POLLIN. */
    ssize_t (*receive)(struct pen_stream *stream, void *bytes, size_t size);
    void (*destroy)(struct pen_stream *stream);
    /* NULL, or why the connection has ended or was never made; "" when nobody knows. */
    const char *(*why)(const struct pen_stream *stream);
    /* NULL, or how long the peer's answer takes at present, ns; 0: nobody knows. */
    uint64_t (*round_trip_ns)(const struct pen_stream *stream);
    /* NULL, or pen_stream_awaits. */
    bool (*awaits)(const struct pen_stream *stream, uint64_t *out_unheard_ns);
};

struct pen_stream {
    const struct pen_stream_ops *ops;
    int fd; /* to poll */
};

/* Accepts NULL. */
void pen_stream_destroy(struct pen_stream *stream);

/* After an error: a clause that says what the peer, or its certificate, was refused for or has refused; "" when there
 * is nothing to say. The stream's. */
const char *pen_stream_why(const struct pen_stream *stream);

/* How long a byte and its answer take at present, without what the peer does between; 0: nobody knows. */
uint64_t pen_stream_round_trip_ns(const struct pen_stream *stream);

/* Whether bytes of ours are under way, or wait until they may be; and for how long nothing has come of the peer's host
 * that has been sent something since, 0: it was heard of after that. A host says that it has no room, too: what does
 * not read is not gone. Where nobody knows, nothing is under way. */
bool pen_stream_awaits(const struct pen_stream *stream, uint64_t *out_unheard_ns);

/* Waits until the descriptor is ready for `events` (POLLIN, POLLOUT), or a while: try again. -PEN_ETIMEOUT: the
 * deadline has passed. */
int pen_stream_wait(const struct pen_stream *stream, short events, uint64_t deadline_ns);

/* Whole frames, waiting until `deadline_ns` (absolute): for whoever has a thread to spare. -PEN_ETIMEOUT; then the
 * stream is of no use any more. */
int pen_stream_send_frame(struct pen_stream *stream, const void *frame, size_t size, uint64_t deadline_ns);
/* Exactly one frame; `at` has PEN_LIMIT_FRAME bytes. Its header has been checked, nothing else. */
int pen_stream_receive_frame(struct pen_stream *stream, void *at, size_t *out_size, uint64_t deadline_ns);

/* Over a connected stream socket, as it is; takes fd on success. */
int pen_stream_plain(int fd, struct pen_stream **out_stream);

#endif
