/* cli/control.c - see control.h. */
#include "cli/control.h"

#include <stdlib.h>
#include <unistd.h>

#define CONTROL_MS 10000

static int receive(struct pen_control *control, uint16_t wanted, struct pen_error *error)
{
    int rc = pen_unix_receive(control->fd, &control->frame, pen_deadline_ms(CONTROL_MS));
    if (rc)
        return pen_fail(error, rc, "waiting for the daemon at %s: %s", control->path, pen_error_text(rc));
    if (control->frame.opcode == wanted)
        return 0;
    struct pen_scratch scratch = {0};
    struct pen_msg_refused refused;
    rc = -PEN_EPROTO;
    if (control->frame.opcode == PEN_OP_REFUSED &&
        !pen_msg_refused_decode(control->frame.data, control->frame.size, &scratch, &refused))
        rc = pen_fail(error, refused.status < 0 ? refused.status : -PEN_EIO, "%s", refused.message);
    else
        pen_fail(error, rc, "the daemon at %s answered something else than was asked", control->path);
    pen_scratch_finish(&scratch);
    return rc;
}

int pen_control_ask(struct pen_control *control, void *frame, size_t size, uint16_t answer, struct pen_error *error)
{
    int rc = frame ? pen_unix_send(control->fd, frame, size, NULL, 0, pen_deadline_ms(CONTROL_MS)) : -PEN_ENOMEM;
    free(frame);
    if (rc)
        return pen_fail(error, rc, "asking the daemon at %s: %s", control->path, pen_error_text(rc));
    return receive(control, answer, error);
}

int pen_control_open(struct pen_control *control, struct pen_error *error)
{
    *control = (struct pen_control){.fd = -1};
    const struct pen_unix_paths *paths = &control->paths;
    int rc = pen_unix_client_paths(&control->paths, error);
    if (rc)
        return rc;
    rc = pen_unix_connect_first(paths, pen_deadline_ms(CONTROL_MS), &control->path, &control->fd, error);
    if (rc == -PEN_ENOENT)
        return pen_fail(error, rc, "no penstockd is running: nobody listens at %s%s%s (PENSTOCK_SOCKET)",
                        paths->path[0], paths->count > 1 ? ", nor at " : "", paths->count > 1 ? paths->path[1] : "");
    if (rc)
        return rc;
    const struct pen_msg_hello hello = {.major = PEN_PROTOCOL_MAJOR,
                                        .minor = PEN_PROTOCOL_MINOR,
                                        .pid = (uint32_t)getpid(),
                                        .name = "penstock " PEN_VERSION};
    rc = PEN_CONTROL_ASK(control, hello, &hello, PEN_OP_HELLO, error);
    if (rc)
        pen_control_close(control);
    return rc;
}

void pen_control_close(struct pen_control *control)
{
    if (control->fd >= 0)
        close(control->fd);
    pen_unix_frame_finish(&control->frame);
    *control = (struct pen_control){.fd = -1};
}
