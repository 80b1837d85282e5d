/* worker/watch.h - the thread that sees what the dispatch thread, perhaps stuck in a driver, cannot: the client or the
 * daemon gone, a new connection of a program on another host, the client ready for more output, text in the captured
 * standard output. */
#ifndef PEN_WORKER_WATCH_H
#define PEN_WORKER_WATCH_H

#include "net/unix.h"
#include "worker/work.h"

struct pen_watch {
    struct pen_work *work;
    int control_fd;              /* -1: none */
    void (*gone)(void *context); /* once, on the watch thread: client or daemon is gone. May end the process. */
    void *context;
    pthread_t thread;
    int stop_fd;                 /* eventfd */
    struct pen_unix_frame frame; /* from the daemon */
};

/* `watch` has work, control_fd, gone and context set. */
int pen_watch_start(struct pen_watch *watch);
void pen_watch_stop(struct pen_watch *watch);

#endif
