/* worker/remote.h - the worker's end of a session whose program is on another host: what comes over the link goes into
 * the session's own ring and arena, as a program here would put it there; what is published goes over the link as well.
 * When the connection breaks, the session goes on, and waits for another (link_resume).
 * Ownership: owns the connections and the link; ends with the process. Threads: a thread of its own receives; any
 * thread publishes. */
#ifndef PEN_WORKER_REMOTE_H
#define PEN_WORKER_REMOTE_H

#include <pthread.h>

#include "base/list.h"
#include "net/loan.h"
#include "net/pump.h"
#include "net/unix.h"
#include "wire/ring.h"
#include "worker/crash.h"
#include "worker/proof.h"

struct pen_work;
struct pen_work_task;

struct pen_remote {
    uint64_t session, reconnect_ns;
    struct pen_stream *stream; /* the connection, until the link has it */
    struct pen_link *link;
    struct pen_pump pump;
    struct pen_prover prover; /* of new connections */
    _Atomic bool idle;        /* dispatch sleeps in pen_remote_idle */
    struct pen_mirror mirror;
    struct pen_shared_view view;
    struct pen_ring_writer writer; /* the receiving thread's */
    struct pen_loans loans;
    _Atomic uint64_t reading;             /* bytes of long reads that are submitted and not added to the link */
    struct pen_work *_Atomic holds_reads; /* dispatch does, for room in the link; NULL: it holds none. Written by it */
    struct pen_work *dispatch;    /* that turns the link now; NULL: the receiving thread does. Of whoever turns it */
    uint64_t arriving;            /* number of the part that comes; the same */
    _Atomic bool detached;        /* the program is sent away */
    struct pen_crash_page *crash; /* where it is told that there is no connection; borrowed */
    int ends[2]; /* a socket pair: [0] stands for the program's socket, and is seen closed when the session is over */

    pthread_mutex_t lock;
    /* guarded by lock */
    struct pen_stream *offer; /* a new connection, of the program's, not taken yet; NULL: none */
    uint64_t arrived;         /* the last command whose bytes are all here, of those whose bytes come beside */
    struct pen_list awaited;  /* struct pen_work_task.held, of tasks that wait for a later one, in order */
    uint64_t reads;           /* sent beside; written under lock */
};

/* Takes the offered connection. `crash` is the worker's page. `view` and the arena are the session's; view->mirror is
 * set. -PEN_ENOMEM, -PEN_EIO. */
int pen_remote_init(struct pen_remote *remote, uint64_t session, uint64_t reconnect_ns,
                    const struct pen_remote_offer *first, struct pen_crash_page *crash, struct pen_shared_view *view,
                    void *arena, uint64_t arena_bytes);
/* Answers session_open, and begins to receive. */
int pen_remote_start(struct pen_remote *remote, const void *opened, size_t size);
/* A new connection, in place of one that is broken, or seems to be to the program, if it is the program's: until that
 * is proven the session goes on as it is. Takes it. Any thread. */
void pen_remote_relink(struct pen_remote *remote, const struct pen_remote_offer *offer);
/* Sends the program away, having told it so, until it is not detached. Any thread. */
void pen_remote_detach(struct pen_remote *remote, bool detached);
/* The bytes that a read has put into the arena, on their way before its completion. Any thread. */
void pen_remote_send_range(struct pen_remote *remote, uint64_t offset, uint64_t bytes);
/* Whether a long read may be submitted: not more than PEN_LINK_BULK_BYTES of reads lie in the arena, or are about to,
 * that are not on their way. If not, dispatch is kicked when that may have changed. Dispatch. */
bool pen_remote_has_room(struct pen_remote *remote, struct pen_work *work, uint64_t bytes);
/* In place of pen_ring_wait: dispatch has nothing to do, and receives until there are frames, or it is kicked. */
void pen_remote_idle(struct pen_remote *remote, struct pen_work *work);
/* pen_ring_kick has been called: ends pen_remote_idle. Any thread. */
void pen_remote_kick(struct pen_remote *remote);
/* False when the bytes of command task->sequence are here; else pen_task_arrived is called when they are. Dispatch. */
bool pen_remote_await(struct pen_remote *remote, struct pen_work_task *task);

#endif
