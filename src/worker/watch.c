/* worker/watch.c - see watch.h. */
#include "worker/watch.h"

#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire/futex.h"
#include "worker/remote.h"

/* For the last words to a program on another host to arrive. */
#define LAST_WORDS_MS 300
/* Until the pipe is looked at again that somebody else is emptying. */
#define COLLECTED_MS 1
/* Until a link is looked at again that had no room for what the pipe holds: twice as long each time, at most so long.
 */
#define NO_ROOM_MS 256

enum { CLIENT, CONTROL, TRACE, WAKE, TEXT, STOP, COUNT };

static void drain_eventfd(int fd)
{
    uint64_t ignored;
    ssize_t n = read(fd, &ignored, sizeof ignored);
    (void)n;
}

/* The daemon was killed: the next one is awaited. False: none is. */
static bool lose_daemon(struct pen_watch *watch)
{
    struct pen_remote *remote = watch->work->config.remote;
    if (!remote || watch->return_fd < 0)
        return false;
    close(watch->control_fd);
    watch->control_fd = -1;
    watch->until_ns = pen_now_ns() + remote->reconnect_ns;
    pen_unix_frame_finish(&watch->frame);
    watch->frame = (struct pen_unix_frame){0};
    return true;
}

/* The next daemon has come. False: it is too late for that. */
static bool find_daemon(struct pen_watch *watch)
{
    int fd;
    if (pen_unix_accept(watch->return_fd, &fd))
        return pen_now_ns() < watch->until_ns;
    if (watch->greet(watch->context, fd)) {
        close(fd);
        return true;
    }
    watch->control_fd = fd;
    watch->until_ns = UINT64_MAX;
    return true;
}

/* At the session's end: a daemon that has come, and was not seen yet, hears of us, or it would not know how we ended.
 */
static void greet_last(struct pen_watch *watch)
{
    int fd;
    if (watch->return_fd < 0 || pen_unix_accept(watch->return_fd, &fd))
        return;
    (void)watch->greet(watch->context, fd);
    close(fd);
}

static bool take_relink(struct pen_remote *remote, struct pen_unix_frame *frame, struct pen_scratch *scratch)
{
    struct pen_msg_relink relink;
    if (frame->fd_count != 1 || pen_msg_relink_decode(frame->data, frame->size, scratch, &relink))
        return false;
    struct pen_remote_offer offer = {.fd = frame->fds[0], .protected = relink.protected};
    memcpy(offer.secret, relink.secret, sizeof offer.secret);
    frame->fds[0] = -1;
    pen_remote_relink(remote, &offer);
    explicit_bzero(&offer, sizeof offer);
    explicit_bzero(frame->data, frame->size);
    return true;
}

static bool take_detach(struct pen_work *work, const struct pen_unix_frame *frame, struct pen_scratch *scratch)
{
    struct pen_msg_detach detach;
    if (pen_msg_detach_decode(frame->data, frame->size, scratch, &detach))
        return false;
    pen_remote_detach(work->config.remote, detach.detached);
    pen_park_want(work, detach.detached && detach.parked);
    return true;
}

static bool take_trace(struct pen_watch *watch, struct pen_unix_frame *frame, struct pen_scratch *scratch)
{
    struct pen_msg_trace trace;
    if (frame->fd_count != 1 || pen_msg_trace_decode(frame->data, frame->size, scratch, &trace))
        return false;
    int fd = frame->fds[0];
    frame->fds[0] = -1;
    if (pen_trace_want(watch->work, watch->trace_fd, fd))
        close(fd);
    else
        watch->trace_fd = fd;
    return true;
}

/* About the connection of a program on another host, or a trace; all else that the daemon may have to say ends the
 * session: false. */
static bool take_control(struct pen_watch *watch)
{
    struct pen_remote *remote = watch->work->config.remote;
    struct pen_unix_frame *frame = &watch->frame;
    struct pen_scratch scratch = {0};
    int rc = pen_unix_receive_some(watch->control_fd, frame);
    if (rc == -PEN_EGONE)
        return lose_daemon(watch);
    if (rc <= 0)
        return rc == 0;
    bool taken = (frame->opcode == PEN_OP_TRACE && take_trace(watch, frame, &scratch)) ||
                 (remote && frame->opcode == PEN_OP_RELINK && take_relink(remote, frame, &scratch)) ||
                 (remote && frame->opcode == PEN_OP_DETACH && take_detach(watch->work, frame, &scratch));
    pen_scratch_finish(&scratch);
    return taken;
}

static bool daemon_stays(struct pen_watch *watch, const struct pollfd *control)
{
    if (watch->until_ns != UINT64_MAX)
        return find_daemon(watch);
    return !control->revents || take_control(watch);
}

/* The process ends next, and with it what is on its way; a program on another host that has not heard why would try to
 * come back. */
static void await_delivery(struct pen_link *link)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    for (uint64_t until = pen_deadline_ms(LAST_WORDS_MS); pen_link_unacknowledged(link) && pen_now_ns() < until;)
        nanosleep(&pause, NULL);
}

/* Last words to the client, if its socket takes them. */
static void say_daemon_left(struct pen_work *work)
{
    const struct pen_msg_fatal fatal = {.status = -PEN_EGONE, .message = "penstockd has ended this session"};
    _Alignas(8) unsigned char frame[128];
    size_t size = pen_msg_fatal_size(&fatal);
    assert(size && size <= sizeof frame);
    pen_msg_fatal_encode(&fatal, 0, frame);
    if (!pen_outbox_send_last(&work->outbox, frame, size))
        pen_outbox_flush(&work->outbox);
    if (work->outbox.link)
        await_delivery(work->outbox.link);
}

/* The client has nothing to say here: anything that comes ends the session. */
static bool has_left(struct pen_watch *watch, const struct pollfd *fds)
{
    if (fds[CLIENT].revents & ~POLLOUT)
        return true;
    if (daemon_stays(watch, &fds[CONTROL]))
        return false;
    say_daemon_left(watch->work);
    return true;
}

/* Milliseconds for poll. */
static int wait_at_most(const struct pen_watch *watch, uint64_t most_ms)
{
    uint64_t now = watch->until_ns == UINT64_MAX ? 0 : pen_now_ns();
    uint64_t ms = now < watch->until_ns ? (watch->until_ns - now) / 1000000 + 1 : 0;
    if (watch->until_ns == UINT64_MAX && most_ms == UINT64_MAX)
        return -1;
    ms = ms < most_ms ? ms : most_ms;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* Until the pipe is looked at again if it is not now; UINT64_MAX: it is, or the socket's POLLOUT tells. */
static uint64_t text_again_ms(const struct pen_watch *watch, bool collected, bool full, uint64_t *no_room_ms)
{
    bool of_link = full && watch->work->outbox.link;
    *no_room_ms = !of_link ? 1 : *no_room_ms < NO_ROOM_MS ? 2 * *no_room_ms : NO_ROOM_MS;
    return collected ? COLLECTED_MS : of_link ? *no_room_ms : UINT64_MAX;
}

static void *watch_main(void *context)
{
    struct pen_watch *watch = context;
    struct pen_work *work = watch->work;
    struct pen_capture *capture = work->config.capture;
    struct pollfd fds[COUNT] = {
        [CLIENT] = {.fd = work->config.client_fd},
        [CONTROL] = {.events = POLLIN | POLLRDHUP},
        [TRACE] = {.events = POLLIN | POLLRDHUP},
        [WAKE] = {.fd = work->outbox.wake_fd, .events = POLLIN},
        [TEXT] = {.events = POLLIN},
        [STOP] = {.fd = watch->stop_fd, .events = POLLIN},
    };
    bool collected = false; /* by another thread, just now */
    uint64_t no_room_ms = 1;
    /* Nothing in here may wait for anything but poll: others wait for room in the outbox, which only this loop makes.
     */
    for (;;) {
        bool empty = pen_outbox_flush(&work->outbox);
        fds[CLIENT].events = (short)(POLLIN | POLLRDHUP | (empty ? 0 : POLLOUT));
        bool full = capture && pen_outbox_full(&work->outbox);
        fds[TEXT].fd = capture && !collected && !full ? capture->read_fd : -1;
        fds[CONTROL].fd = watch->until_ns == UINT64_MAX ? watch->control_fd : watch->return_fd;
        fds[TRACE].fd = watch->trace_fd;
        int ready = poll(fds, COUNT, wait_at_most(watch, text_again_ms(watch, collected, full, &no_room_ms)));
        collected = false;
        if (ready < 0)
            continue;
        if (fds[STOP].revents) {
            greet_last(watch);
            return NULL;
        }
        if (has_left(watch, fds)) {
            greet_last(watch);
            pen_outbox_break(&work->outbox);
            if (watch->trace_fd >= 0 || work->log)
                pen_trace_leave(work);
            watch->gone(watch->context);
            return NULL;
        }
        if (fds[TRACE].revents) {
            pen_trace_end(work, watch->trace_fd);
            watch->trace_fd = -1;
        }
        if (fds[WAKE].revents)
            drain_eventfd(work->outbox.wake_fd);
        if (fds[TEXT].revents)
            collected = !pen_capture_collect_some(capture, &work->outbox, &work->view);
    }
}

int pen_watch_start(struct pen_watch *watch)
{
    watch->until_ns = UINT64_MAX;
    watch->trace_fd = -1;
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
    if (watch->trace_fd >= 0)
        close(watch->trace_fd);
    pen_unix_frame_finish(&watch->frame);
}
