/* Talking to the daemon: connection, hello, refusals. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/internal.h"
#include "net/tcp.h"
#include "net/tls_module.h"

/* Before a connection to another host is tried again. */
#define AGAIN_NS 50000000
/* Of a name's addresses that lead to somebody who is not the pool. */
#define REFUSED_MOST 8

int pen_daemon_send(const struct pen_daemon_peer *peer, void *frame, size_t size, uint64_t deadline_ns)
{
    if (!frame)
        return size ? -PEN_ENOMEM : -PEN_ELIMIT;
    int rc = peer->stream ? pen_stream_send_frame(peer->stream, frame, size, deadline_ns)
                          : pen_unix_send(peer->fd, frame, size, NULL, 0, deadline_ns);
    free(frame);
    return rc;
}

static int receive_over(struct pen_stream *stream, struct pen_unix_frame *frame, uint64_t deadline_ns)
{
    if (!frame->data && !(frame->data = malloc(PEN_LIMIT_FRAME)))
        return -PEN_ENOMEM;
    int rc = pen_stream_receive_frame(stream, frame->data, &frame->size, deadline_ns);
    if (!rc)
        frame->opcode = ((const struct pen_frame_header *)frame->data)->opcode;
    return rc;
}

static int ended(const struct pen_daemon_peer *peer, struct pen_error *error)
{
    const char *why = peer->stream ? pen_stream_why(peer->stream) : "";
    return *why ? pen_fail(error, -PEN_EDEVICEGONE, "connecting to %s: %s", peer->address->host, why)
                : pen_fail(error, -PEN_EGONE, "the daemon closed the connection");
}

int pen_daemon_receive(const struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint16_t opcode,
                       uint64_t deadline_ns, struct pen_error *error)
{
    int rc =
        peer->stream ? receive_over(peer->stream, frame, deadline_ns) : pen_unix_receive(peer->fd, frame, deadline_ns);
    if (rc == -PEN_EGONE)
        return ended(peer, error);
    if (rc)
        return pen_fail(error, rc, "waiting for the daemon's answer: %s", pen_error_text(rc));
    if (frame->opcode == opcode)
        return 0;
    struct pen_scratch scratch = {0};
    struct pen_msg_refused refused;
    if (frame->opcode == PEN_OP_REFUSED && !pen_msg_refused_decode(frame->data, frame->size, &scratch, &refused)) {
        rc = pen_fail(error, refused.status < 0 ? refused.status : -PEN_EIO, "the daemon refused: %s", refused.message);
    } else {
        rc = pen_fail(error, -PEN_EPROTO, "the daemon answered with message 0x%04x where 0x%04x was due", frame->opcode,
                      opcode);
    }
    pen_scratch_finish(&scratch);
    return rc;
}

static int check_hello(const struct pen_unix_frame *frame, struct pen_error *error)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_hello hello;
    int rc = pen_msg_hello_decode(frame->data, frame->size, &scratch, &hello);
    if (rc) {
        rc = pen_fail(error, rc, "the daemon's first message is malformed");
    } else if (hello.major != PEN_PROTOCOL_MAJOR) {
        rc = pen_fail(error, -PEN_EVERSION, "the daemon speaks protocol %u.%u, this library %u.%u", hello.major,
                      hello.minor, PEN_PROTOCOL_MAJOR, PEN_PROTOCOL_MINOR);
    }
    pen_scratch_finish(&scratch);
    return rc;
}

void pen_daemon_close(struct pen_daemon_peer *peer)
{
    if (peer->stream)
        pen_stream_destroy(peer->stream);
    else if (peer->fd >= 0)
        close(peer->fd);
    *peer = (struct pen_daemon_peer){.fd = -1};
}

static int prove(int fd, const struct pen_pool_address *address, uint64_t deadline_ns, struct pen_stream **out_stream,
                 struct pen_error *error)
{
    int rc = pen_daemon_protect(fd, address->plain ? NULL : &address->key, deadline_ns, out_stream);
    if (!rc)
        return 0;
    pen_fail(error, rc,
             rc == -PEN_EPERM      ? "%s does not accept the key of tenant %s: is it the pool's, and not revoked?"
             : rc == -PEN_ETIMEOUT ? "connecting to %s as tenant %s: no answer in time"
                                   : "connecting to %s as tenant %s: the connection broke",
             address->host, address->key.identity);
    return rc;
}

static int certify(int fd, const struct pen_pool_address *address, uint64_t deadline_ns, struct pen_stream **out_stream,
                   struct pen_error *error)
{
    const struct pen_tls_module *tls;
    struct pen_stream *stream;
    int rc = pen_tls_module_load(&tls, error);
    if (!rc)
        rc = tls->connect_certified(fd, &address->files, address->host, &stream, error);
    if (rc) {
        close(fd);
        return rc;
    }
    rc = tls->handshake_until(stream, deadline_ns);
    if (!rc) {
        *out_stream = stream;
        return 0;
    }
    pen_fail(error, rc, "connecting to %s with a certificate: %s", address->host,
             rc == -PEN_EPERM ? pen_stream_why(stream) : pen_error_text(rc));
    pen_stream_destroy(stream);
    return rc;
}

/* Over TCP, to the first of the name's addresses where the pool is; unless it is without protection, both sides have
 * shown the tenant's key then, or we have seen the daemon's certificate. */
static int connect_stream(struct pen_daemon_peer *peer, uint64_t reach_ns, uint64_t deadline_ns,
                          struct pen_error *error)
{
    const struct pen_pool_address *address = peer->address;
    const struct pen_tls_module *tls;
    struct pen_tcp_place refused[REFUSED_MOST];
    int fd, rc = address->plain ? 0 : pen_tls_module_load(&tls, error), last = 0;
    if (rc)
        return rc;
    for (size_t count = 0; count < REFUSED_MOST; count++) {
        rc = pen_tcp_connect_but(address->host, !address->plain, &address->answered, refused, count, reach_ns, &fd,
                                 last ? NULL : error);
        if (rc)
            return last ? last : rc;
        refused[count] = pen_tcp_place_of(fd);
        last = address->certified ? certify(fd, address, deadline_ns, &peer->stream, error)
                                  : prove(fd, address, deadline_ns, &peer->stream, error);
        if (!last)
            peer->fd = peer->stream->fd;
        if (last != -PEN_EPERM && last != -PEN_EGONE)
            break;
    }
    return last;
}

int pen_daemon_protect(int fd, const struct pen_tls_key *key, uint64_t deadline_ns, struct pen_stream **out_stream)
{
    const struct pen_tls_module *tls;
    struct pen_stream *stream;
    int rc = key ? pen_tls_module_load(&tls, NULL) : 0;
    if (!rc)
        rc = key ? tls->connect(fd, key, &stream) : pen_stream_plain(fd, &stream);
    if (rc) {
        close(fd);
        return rc;
    }
    rc = key ? tls->handshake_until(stream, deadline_ns) : 0;
    if (rc)
        pen_stream_destroy(stream);
    else
        *out_stream = stream;
    return rc;
}

static int connect_socket(struct pen_daemon_peer *peer, uint64_t deadline_ns, struct pen_error *error)
{
    struct pen_unix_paths paths;
    const char *path;
    int rc = pen_unix_client_paths(&paths, error);
    return rc ? rc : pen_unix_connect_first(&paths, deadline_ns, &path, &peer->fd, error);
}

static int say_hello(const struct pen_daemon_peer *peer, uint64_t deadline_ns, struct pen_error *error)
{
    const struct pen_msg_hello hello = {
        .major = PEN_PROTOCOL_MAJOR,
        .minor = PEN_PROTOCOL_MINOR,
        .pid = (uint32_t)getpid(),
        .name = program_invocation_short_name,
    };
    int rc = PEN_DAEMON_SEND(peer, hello, &hello, deadline_ns);
    return rc ? pen_fail(error, rc, "greeting the daemon: %s", pen_error_text(rc)) : 0;
}

/* The connecting end's handshake is over before the other has looked at its certificate (RFC 8446 section 4.4.2.4):
 * what is sent meanwhile may be lost with the connection, but what it says of the reason is there to be read. */
static int await_welcome(struct pen_daemon_peer *peer, uint64_t deadline_ns, struct pen_error *error)
{
    struct pen_unix_frame frame = {0};
    int rc = pen_daemon_greeted(peer, &frame, deadline_ns, error);
    pen_unix_frame_finish(&frame);
    peer->greeted = !rc;
    return rc;
}

int pen_daemon_connect(const struct pen_pool_address *address, uint64_t deadline_ns, struct pen_daemon_peer *out_peer,
                       struct pen_error *error)
{
    return pen_daemon_reach(address, deadline_ns, deadline_ns, out_peer, error);
}

int pen_daemon_reach(const struct pen_pool_address *address, uint64_t reach_ns, uint64_t deadline_ns,
                     struct pen_daemon_peer *out_peer, struct pen_error *error)
{
    struct pen_daemon_peer peer = {.fd = -1, .address = address};
    int rc =
        address->local ? connect_socket(&peer, reach_ns, error) : connect_stream(&peer, reach_ns, deadline_ns, error);
    if (rc)
        return rc;
    rc = say_hello(&peer, deadline_ns, error);
    if (address->certified)
        rc = await_welcome(&peer, deadline_ns, error);
    if (rc)
        pen_daemon_close(&peer);
    else
        *out_peer = peer;
    return rc;
}

bool pen_daemon_try_again(const struct pen_pool_address *address, int rc, uint64_t deadline_ns)
{
    const struct timespec pause = {.tv_nsec = AGAIN_NS};
    if (address->local || rc != -PEN_EGONE || pen_now_ns() + AGAIN_NS >= deadline_ns)
        return false;
    nanosleep(&pause, NULL);
    return true;
}

int pen_daemon_greeted(const struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint64_t deadline_ns,
                       struct pen_error *error)
{
    if (peer->greeted)
        return 0;
    int rc = pen_daemon_receive(peer, frame, PEN_OP_HELLO, deadline_ns, error);
    return rc ? rc : check_hello(frame, error);
}
