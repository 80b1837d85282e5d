/* worker/output.c - see output.h. */
#include "worker/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "penstock-protocol.h"

/* Asked of the kernel; it may give less. */
#define PIPE_BYTES (1 << 20)
/* Who waits for room in a link looks so often whether the session has ended. */
#define LOOK_NS 100000000u

/* ---- outbox ------------------------------------------------------------------------------------------- */

int pen_outbox_init(struct pen_outbox *outbox, int fd)
{
    *outbox = (struct pen_outbox){.fd = fd, .limit = PEN_OUTBOX_BYTES};
    outbox->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (outbox->wake_fd < 0)
        return -PEN_EIO;
    pthread_mutex_init(&outbox->lock, NULL);
    pthread_cond_init(&outbox->room, NULL);
    return 0;
}

void pen_outbox_finish(struct pen_outbox *outbox)
{
    close(outbox->wake_fd);
    pthread_mutex_destroy(&outbox->lock);
    pthread_cond_destroy(&outbox->room);
    free(outbox->bytes);
}

/* Bytes the socket took; marks the outbox broken when the client is gone. Locked. */
static size_t push(struct pen_outbox *outbox, const unsigned char *bytes, size_t size)
{
    size_t sent = 0;
    while (sent < size && !outbox->broken) {
        ssize_t n = send(outbox->fd, bytes + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        else if (errno != EINTR)
            outbox->broken = true;
    }
    return sent;
}

static void flush_locked(struct pen_outbox *outbox)
{
    if (outbox->start == outbox->end)
        return;
    outbox->start += push(outbox, outbox->bytes + outbox->start, outbox->end - outbox->start);
    if (outbox->start == outbox->end || outbox->broken)
        outbox->start = outbox->end = 0;
    pthread_cond_broadcast(&outbox->room);
}

static int keep(struct pen_outbox *outbox, const unsigned char *bytes, size_t size)
{
    if (outbox->capacity - outbox->end < size && outbox->start) {
        memmove(outbox->bytes, outbox->bytes + outbox->start, outbox->end - outbox->start);
        outbox->end -= outbox->start;
        outbox->start = 0;
    }
    if (outbox->capacity - outbox->end < size) {
        size_t capacity = outbox->capacity ? outbox->capacity : PEN_LIMIT_FRAME;
        while (capacity - outbox->end < size)
            capacity *= 2;
        unsigned char *bigger = realloc(outbox->bytes, capacity);
        if (!bigger)
            return -PEN_ENOMEM;
        outbox->bytes = bigger;
        outbox->capacity = capacity;
    }
    memcpy(outbox->bytes + outbox->end, bytes, size);
    outbox->end += size;
    return 0;
}

static bool full_locked(const struct pen_outbox *outbox)
{
    return outbox->end - outbox->start > outbox->limit && !outbox->broken;
}

static bool is_broken(struct pen_outbox *outbox)
{
    pthread_mutex_lock(&outbox->lock);
    bool broken = outbox->broken;
    pthread_mutex_unlock(&outbox->lock);
    return broken;
}

/* Whoever turns the link makes room, and never waits here: it publishes, and does not print. */
static int send_over_link(struct pen_outbox *outbox, const void *frame, size_t size, bool wait)
{
    while (wait && !is_broken(outbox) && !pen_link_wait_room(outbox->link, LOOK_NS))
        ;
    if (is_broken(outbox))
        return -PEN_EGONE;
    int rc = pen_link_add(outbox->link, frame, size);
    pen_link_flush(outbox->link);
    return rc;
}

static int send_frame(struct pen_outbox *outbox, const void *frame, size_t size, bool wait)
{
    int rc = 0;
    if (outbox->link)
        return send_over_link(outbox, frame, size, wait);
    pthread_mutex_lock(&outbox->lock);
    while (wait && full_locked(outbox))
        pthread_cond_wait(&outbox->room, &outbox->lock);
    flush_locked(outbox);
    size_t sent = outbox->start == outbox->end ? push(outbox, frame, size) : 0;
    if (outbox->broken) {
        rc = -PEN_EGONE;
    } else if (sent < size) {
        rc = keep(outbox, (const unsigned char *)frame + sent, size - sent);
        if (rc)
            outbox->broken = sent != 0; /* half a frame is out: nothing can follow */
        uint64_t one = 1;
        ssize_t ignored = write(outbox->wake_fd, &one, sizeof one);
        (void)ignored; /* full: it is awake already */
    }
    pthread_mutex_unlock(&outbox->lock);
    return rc;
}

int pen_outbox_send(struct pen_outbox *outbox, const void *frame, size_t size)
{
    return send_frame(outbox, frame, size, true);
}

int pen_outbox_send_last(struct pen_outbox *outbox, const void *frame, size_t size)
{
    return send_frame(outbox, frame, size, false);
}

bool pen_outbox_flush(struct pen_outbox *outbox)
{
    pthread_mutex_lock(&outbox->lock);
    flush_locked(outbox);
    bool empty = outbox->start == outbox->end;
    pthread_mutex_unlock(&outbox->lock);
    return empty;
}

bool pen_outbox_full(struct pen_outbox *outbox)
{
    if (outbox->link)
        return !is_broken(outbox) && !pen_link_wait_room(outbox->link, 0);
    pthread_mutex_lock(&outbox->lock);
    bool full = full_locked(outbox);
    pthread_mutex_unlock(&outbox->lock);
    return full;
}

void pen_outbox_break(struct pen_outbox *outbox)
{
    pthread_mutex_lock(&outbox->lock);
    outbox->broken = true;
    pthread_cond_broadcast(&outbox->room);
    pthread_mutex_unlock(&outbox->lock);
}

/* ---- captured standard output -------------------------------------------------------------------------- */

int pen_capture_start(struct pen_capture *capture)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return -PEN_EIO;
    /* The writing end blocks (whoever prints knows no better), and is inherited as fd 1 by compilers that drivers run.
     */
    if (fcntl(ends[1], F_SETFL, 0) || dup2(ends[1], STDOUT_FILENO) < 0) {
        close(ends[0]);
        close(ends[1]);
        return -PEN_EIO;
    }
    close(ends[1]);
    fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES); /* smaller is slower, not wrong */
    setvbuf(stdout, NULL, _IOFBF, BUFSIZ);    /* for drivers that print through stdio; flushed in collect */
    capture->read_fd = ends[0];
    pthread_mutex_init(&capture->lock, NULL);
    return 0;
}

/* One piece of what the pipe holds, to the outbox and counted; false when there is none. Locked. */
static bool move_piece(struct pen_capture *capture, struct pen_outbox *outbox, struct pen_shared_view *view, bool wait)
{
    unsigned char text[PEN_LIMIT_OUTPUT];
    _Alignas(8) unsigned char frame[PEN_LIMIT_OUTPUT + 64];
    ssize_t n;
    do
        n = read(capture->read_fd, text, sizeof text);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    const struct pen_msg_output message = {.text = {text, (uint32_t)n}};
    pen_msg_output_encode(&message, 0, frame);
    /* When the client is gone the pipe is emptied all the same, so that nobody blocks on it. */
    if (!send_frame(outbox, frame, pen_msg_output_size(&message), wait))
        pen_publish_output(view);
    return true;
}

void pen_capture_collect(struct pen_capture *capture, struct pen_outbox *outbox, struct pen_shared_view *view)
{
    fflush(stdout);
    pthread_mutex_lock(&capture->lock);
    while (move_piece(capture, outbox, view, true))
        ;
    pthread_mutex_unlock(&capture->lock);
}

bool pen_capture_collect_some(struct pen_capture *capture, struct pen_outbox *outbox, struct pen_shared_view *view)
{
    /* No fflush: who prints through stdio holds its lock while the pipe is full. */
    if (pthread_mutex_trylock(&capture->lock))
        return false;
    move_piece(capture, outbox, view, false);
    pthread_mutex_unlock(&capture->lock);
    return true;
}
