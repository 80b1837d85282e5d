/* Talking to the daemon: connection, hello, refusals. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/internal.h"
#include "net/tcp.h"

int pen_daemon_send(int fd, void *frame, size_t size, uint64_t deadline_ns)
{
    if (!frame)
        return size ? -PEN_ENOMEM : -PEN_ELIMIT;
    int rc = pen_unix_send(fd, frame, size, NULL, 0, deadline_ns);
    free(frame);
    return rc;
}

int pen_daemon_receive(int fd, struct pen_unix_frame *frame, uint16_t opcode, uint64_t deadline_ns,
                       struct pen_error *error)
{
    int rc = pen_unix_receive(fd, frame, deadline_ns);
    if (rc == -PEN_EGONE)
        return pen_fail(error, rc, "the daemon closed the connection");
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

const char *pen_pool_address(void)
{
    const char *pool = getenv("PENSTOCK_POOL");
    return pool && !strncmp(pool, "tcp://", 6) ? pool + 6 : NULL;
}

int pen_daemon_connect(uint64_t deadline_ns, int *out_fd, struct pen_error *error)
{
    struct pen_unix_paths paths;
    int fd = -1;
    const char *address = pen_pool_address(), *path = address;
    int rc;
    if (address) {
        rc = pen_tcp_connect(address, false, deadline_ns, &fd, error);
    } else {
        rc = pen_unix_client_paths(&paths, error);
        if (!rc)
            rc = pen_unix_connect_first(&paths, deadline_ns, &path, &fd, error);
    }
    if (rc)
        return rc;
    const struct pen_msg_hello hello = {
        .major = PEN_PROTOCOL_MAJOR,
        .minor = PEN_PROTOCOL_MINOR,
        .pid = (uint32_t)getpid(),
        .name = program_invocation_short_name,
    };
    rc = PEN_DAEMON_SEND(fd, hello, &hello, deadline_ns);
    if (rc) {
        pen_fail(error, rc, "greeting the daemon on %s: %s", path, pen_error_text(rc));
        close(fd);
        return rc;
    }
    *out_fd = fd;
    return 0;
}

int pen_daemon_greeted(int fd, struct pen_unix_frame *frame, uint64_t deadline_ns, struct pen_error *error)
{
    int rc = pen_daemon_receive(fd, frame, PEN_OP_HELLO, deadline_ns, error);
    return rc ? rc : check_hello(frame, error);
}
