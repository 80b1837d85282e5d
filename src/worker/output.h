/* worker/output.h - what goes to the client's socket, in order and without ever blocking a completion on a slow
 * reader: an outbox in memory before the socket; and the captured standard output that feeds it.
 * Threads:   every function may be called from any thread. Errors: 0 or -PEN_E*. */
#ifndef PEN_WORKER_OUTPUT_H
#define PEN_WORKER_OUTPUT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/link.h"
#include "wire/ring.h"

/* Most bytes that wait for the client to read; then senders wait, until the watch (watch.h), which alone flushes then
 * and therefore never waits itself, has made room or seen the client go. */
#define PEN_OUTBOX_BYTES (64u << 20)

struct pen_outbox {
    int fd;                /* the client's socket, borrowed */
    int wake_fd;           /* eventfd: there is something that did not fit */
    struct pen_link *link; /* NULL, or frames go there and not to fd; set before anything is sent */
    pthread_mutex_t lock;
    pthread_cond_t room;
    /* guarded by lock */
    size_t limit; /* PEN_OUTBOX_BYTES */
    unsigned char *bytes;
    size_t start, end, capacity;
    bool broken;
};

int pen_outbox_init(struct pen_outbox *outbox, int fd);
void pen_outbox_finish(struct pen_outbox *outbox);
/* Sends what the socket takes now and keeps the rest. -PEN_EGONE when the client is. Waits while the outbox is full. */
int pen_outbox_send(struct pen_outbox *outbox, const void *frame, size_t size);
/* The same, and goes over the limit instead of waiting: for the watch, which nothing follows. */
int pen_outbox_send_last(struct pen_outbox *outbox, const void *frame, size_t size);
/* Sends what the socket takes now. True when nothing is left. */
bool pen_outbox_flush(struct pen_outbox *outbox);
bool pen_outbox_full(struct pen_outbox *outbox);
/* The client is gone: senders fail from now on. */
void pen_outbox_break(struct pen_outbox *outbox);

/* The process's standard output, redirected into a pipe. One for the process. */
struct pen_capture {
    int read_fd;          /* non-blocking */
    pthread_mutex_t lock; /* held from reading the pipe until the outbox has it, so that order is kept */
};

/* Redirects fd 1. Before drivers are loaded. */
int pen_capture_start(struct pen_capture *capture);
/* Moves what has been printed so far to the outbox as `output` frames and counts them in the shared page. */
void pen_capture_collect(struct pen_capture *capture, struct pen_outbox *outbox, struct pen_shared_view *view);
/* One piece of it, for the watch: never waits, for the outbox (which may go over its limit by one frame) or for anybody
 * else who collects. False when somebody does. */
bool pen_capture_collect_some(struct pen_capture *capture, struct pen_outbox *outbox, struct pen_shared_view *view);

#endif
