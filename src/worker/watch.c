/* worker/watch.c - see watch.h. */
#include "worker/watch.h"

#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/remote.h"

/* Until the pipe is looked at again that somebody else is emptying. */
#define COLLECTED_MS 1

enum { CLIENT, CONTROL, WAKE, TEXT, STOP, COUNT };

static void drain_eventfd(int fd)
{
    uint64_t ignored;
    ssize_t n = read(fd, &ignored, sizeof ignored);
    (void)n;
}

/* A new connection of a program on another host; all else that the daemon may have to say ends the session: false. */
static bool take_control(struct pen_watch *watch)
{
    struct pen_remote *remote = watch->work->config.remote;
    struct pen_scratch scratch = {0};
    struct pen_msg_relink relink;
    int rc = remote ? pen_unix_receive_some(watch->control_fd, &watch->frame) : -PEN_EPROTO;
    if (rc <= 0)
        return rc == 0;
    struct pen_unix_frame *frame = &watch->frame;
    if (frame->opcode != PEN_OP_RELINK || frame->fd_count != 1 ||
        pen_msg_relink_decode(frame->data, frame->size, &scratch, &relink))
        return false;
    pen_scratch_finish(&scratch);
    struct pen_remote_offer offer = {.fd = frame->fds[0], .protected = relink.protected};
    memcpy(offer.secret, relink.secret, sizeof offer.secret);
    frame->fds[0] = -1;
    pen_remote_relink(remote, &offer);
    explicit_bzero(&offer, sizeof offer);
    explicit_bzero(frame->data, frame->size);
    return true;
}

/* The client has nothing to say here: anything that comes ends the session. */
static bool has_left(struct pen_watch *watch, const struct pollfd *fds)
{
    return (fds[CLIENT].revents & ~POLLOUT) || (fds[CONTROL].revents && !take_control(watch));
}

static void *watch_main(void *context)
{
    struct pen_watch *watch = context;
    struct pen_work *work = watch->work;
    struct pen_capture *capture = work->config.capture;
    struct pollfd fds[COUNT] = {
        [CLIENT] = {.fd = work->config.client_fd},
        [CONTROL] = {.fd = watch->control_fd, .events = POLLIN | POLLRDHUP},
        [WAKE] = {.fd = work->outbox.wake_fd, .events = POLLIN},
        [TEXT] = {.events = POLLIN},
        [STOP] = {.fd = watch->stop_fd, .events = POLLIN},
    };
    bool collected = false; /* by another thread, just now */
    /* Nothing in here may wait for anything but poll: others wait for room in the outbox, which only this loop makes.
     */
    for (;;) {
        bool empty = pen_outbox_flush(&work->outbox);
        fds[CLIENT].events = (short)(POLLIN | POLLRDHUP | (empty ? 0 : POLLOUT));
        fds[TEXT].fd = capture && !collected && !pen_outbox_full(&work->outbox) ? capture->read_fd : -1;
        int ready = poll(fds, COUNT, collected ? COLLECTED_MS : -1);
        collected = false;
        if (ready < 0)
            continue;
        if (fds[STOP].revents)
            return NULL;
        if (has_left(watch, fds)) {
            pen_outbox_break(&work->outbox);
            watch->gone(watch->context);
            return NULL;
        }
        if (fds[WAKE].revents)
            drain_eventfd(work->outbox.wake_fd);
        if (fds[TEXT].revents)
            collected = !pen_capture_collect_some(capture, &work->outbox, &work->view);
    }
}

int pen_watch_start(struct pen_watch *watch)
{
    watch->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (watch->stop_fd < 0)
        return -PEN_EIO;
    if (pthread_create(&watch->thread, NULL, watch_main, watch)) {
        close(watch->stop_fd);
        return -PEN_ENOMEM;
    }
    return 0;
}

void pen_watch_stop(struct pen_watch *watch)
{
    uint64_t one = 1;
    ssize_t n = write(watch->stop_fd, &one, sizeof one);
    (void)n; /* a fresh eventfd takes it */
    pthread_join(watch->thread, NULL);
    close(watch->stop_fd);
    pen_unix_frame_finish(&watch->frame);
}
