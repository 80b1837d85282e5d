/* worker/watch.h - the thread that sees what the dispatch thread, perhaps stuck in a driver, cannot: the client or the
 * daemon gone, a new connection of a program on another host, who traces the session, the client ready for more output,
 * text in the captured standard output. A daemon that goes without a word (`shutdown`) was killed: the session of a
 * program on another host then waits for the next one, for as long as for a new connection. */
#ifndef PEN_WORKER_WATCH_H
#define PEN_WORKER_WATCH_H

#include "net/unix.h"
#include "worker/work.h"

struct pen_watch {
    struct pen_work *work;
    int control_fd; /* -1: none */
    int return_fd;  /* listens, non-blocking, for the daemon after one that was killed; -1: none comes */
    /* Says `ready` over its connection; on the watch thread. 0, or the connection is of no use. */
    int (*greet)(void *context, int control_fd);
    void (*gone)(void *context); /* once, on the watch thread: client or daemon is gone. May end the process. */
    void *context;
    pthread_t thread;
    int stop_fd;                 /* eventfd */
    int trace_fd;                /* connection of who traces the session; -1: nobody does */
    struct pen_unix_frame frame; /* from the daemon */
    uint64_t until_ns;           /* while the next daemon is awaited: for how long */
};

/* `watch` has work, control_fd, gone and context set. */
int pen_watch_start(struct pen_watch *watch);
void pen_watch_stop(struct pen_watch *watch);

#endif
