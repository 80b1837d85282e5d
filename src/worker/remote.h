/* worker/remote.h - the worker's end of a session whose program is on another host: what comes over the link goes into
 * the session's own ring and arena, as a program here would put it there; what is published goes over the link as well.
 * Ownership: owns the connection and the link. Threads: a thread of its own receives; any thread publishes. */
#ifndef PEN_WORKER_REMOTE_H
#define PEN_WORKER_REMOTE_H

#include "net/link.h"
#include "net/unix.h"
#include "wire/ring.h"

struct pen_remote {
    struct pen_stream *stream; /* the connection, until the link has it */
    struct pen_link *link;
    struct pen_mirror mirror;
    struct pen_shared_view view;
    struct pen_ring_writer writer; /* the receiving thread's */
    unsigned char *arena;
    uint64_t arena_bytes;
    int ends[2]; /* a socket pair: [0] stands for the program's socket, and is seen closed when the link is lost */
};

/* Takes fd. secret: the key that the program must show; NULL: the connection is not protected. `view` and the arena are
 * the session's; view->mirror is set. -PEN_ENOMEM, -PEN_EIO. */
int pen_remote_init(struct pen_remote *remote, int fd, const unsigned char *secret, struct pen_shared_view *view,
                    void *arena, uint64_t arena_bytes);
/* Answers session_open, and begins to receive. */
int pen_remote_start(struct pen_remote *remote, const void *opened, size_t size);
/* The bytes that a read has put into the arena, on their way before its completion. Any thread. */
void pen_remote_send_range(struct pen_remote *remote, uint64_t offset, uint64_t bytes);

#endif
