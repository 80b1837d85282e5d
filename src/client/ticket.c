/* A session's own connection to another host: the daemon gives a ticket for it, when the session is opened and when its
 * connection has broken. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/internal.h"
#include "net/tcp.h"

/* The connection then begins with the ticket's token, and is protected by its key. Takes the descriptor. */
static int present(int fd, const char *host, const struct pen_msg_session_ticket *ticket, uint64_t deadline_ns,
                   struct pen_stream **out_stream, struct pen_error *error)
{
    _Alignas(8) unsigned char bytes[64];
    struct pen_msg_link_hello hello;
    struct pen_tls_key key = {.identity = PEN_TLS_SESSION_IDENTITY};
    memcpy(hello.token, ticket->token, sizeof hello.token);
    memcpy(key.secret, ticket->secret, sizeof key.secret);
    pen_msg_link_hello_encode(&hello, 0, bytes);
    int rc = pen_unix_send(fd, bytes, pen_msg_link_hello_size(&hello), NULL, 0, deadline_ns);
    if (!rc)
        rc = pen_daemon_protect(fd, &key, deadline_ns, out_stream);
    else
        close(fd);
    explicit_bzero(&key, sizeof key);
    if (!rc)
        return 0;
    int code = rc == -PEN_ENOMEM ? rc : -PEN_EGONE;
    pen_fail(error, code, "opening the session's connection to %s: %s", host, pen_error_text(rc));
    return code;
}

/* Takes the descriptor. */
static int follow(struct pen_daemon_peer *peer, int fd, struct pen_unix_frame *frame, uint64_t deadline_ns,
                  struct pen_error *error)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_session_ticket ticket;
    struct pen_stream *stream;
    int rc = pen_msg_session_ticket_decode(frame->data, frame->size, &scratch, &ticket);
    pen_scratch_finish(&scratch);
    if (rc) {
        close(fd);
        return pen_fail(error, rc, "the daemon's ticket for a session is malformed");
    }
    rc = present(fd, peer->address->host, &ticket, deadline_ns, &stream, error);
    explicit_bzero(&ticket, sizeof ticket);
    explicit_bzero(frame->data, frame->size);
    if (rc)
        return rc;
    pen_stream_destroy(peer->stream);
    peer->stream = stream;
    peer->fd = stream->fd;
    return 0;
}

int pen_daemon_take_ticket(struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint64_t deadline_ns,
                           struct pen_error *error)
{
    int fd, rc = pen_tcp_connect_again(peer->fd, peer->address->host, deadline_ns, &fd, error);
    if (rc)
        return rc;
    if ((rc = pen_daemon_greeted(peer, frame, deadline_ns, error)) ||
        (rc = pen_daemon_receive(peer, frame, PEN_OP_SESSION_TICKET, deadline_ns, error))) {
        close(fd);
        return rc;
    }
    return follow(peer, fd, frame, deadline_ns, error);
}

/* The greeted daemon hands the session's new connection to its worker; peer->stream is that then. */
static int ask_for_session(struct pen_daemon_peer *peer, const struct pen_msg_session_resume *resume,
                           uint64_t deadline_ns, struct pen_error *error)
{
    struct pen_unix_frame frame = {0};
    int rc = PEN_DAEMON_SEND(peer, session_resume, resume, deadline_ns);
    if (rc)
        return pen_fail(error, rc, "asking for the session: %s", pen_error_text(rc));
    rc = peer->address->plain ? pen_daemon_greeted(peer, &frame, deadline_ns, error)
                              : pen_daemon_take_ticket(peer, &frame, deadline_ns, error);
    pen_unix_frame_finish(&frame);
    return rc;
}

int pen_daemon_resume(const struct pen_pool_address *address, const struct pen_msg_session_resume *resume,
                      uint64_t reach_ns, uint64_t deadline_ns, struct pen_stream **out_stream, struct pen_error *error)
{
    struct pen_daemon_peer peer;
    int rc = pen_daemon_reach(address, reach_ns, deadline_ns, &peer, error);
    if (rc)
        return rc;
    if ((rc = ask_for_session(&peer, resume, deadline_ns, error))) {
        pen_daemon_close(&peer);
        return rc;
    }
    *out_stream = peer.stream;
    return 0;
}
