/* client/remote.h - a session whose worker is on another host. Two threads take the worker's place here: what the
 * program puts into the ring they send over a link, what the worker publishes they publish in the shared page; nobody
 * else in the program sees a difference. A connection that breaks is made again, while the program sees nothing but
 * time. Threads: start and stop by one thread. */
#ifndef PEN_CLIENT_REMOTE_H
#define PEN_CLIENT_REMOTE_H

#include "net/loan.h"
#include "net/stream.h"
#include "net/tenant.h"
#include "wire/ring.h"

struct pen_remote_end;

struct pen_remote_config {
    struct pen_stream *stream;       /* on which session_open has been answered; taken */
    struct pen_pool_address address; /* where it can be connected to again; copied */
    uint64_t session;
    uint32_t worker_pid;
    uint64_t proof[2];                  /* that the session is ours, for a new connection; wiped at the end */
    uint64_t reconnect_ns;              /* how long it is tried; then the session is lost */
    uint64_t spin_ns;                   /* a thread that waits looks so long before it sleeps */
    bool packing;                       /* bulk may come compressed, and go so (feature lz4) */
    const struct pen_shared_view *view; /* the session's, as the arena: both stay until pen_remote_end_stop returns */
    void *arena;
    uint64_t arena_bytes;
};
/* *out_socket, the caller's, stands for the worker's; what is read from it at once is one frame. */
int pen_remote_end_start(const struct pen_remote_config *config, int *out_socket, struct pen_remote_end **out_end,
                         struct pen_error *error);
/* A thread of the program waits until *epoch is not `seen`, at most timeout_ns: it does meanwhile what the two threads
 * would, if none of them is at it, and returns early when it is to read from its socket
 * (pen_remote_end_is_full): false, when it has not. `waiters` counts the program's threads that wait. */
bool pen_remote_end_help(struct pen_remote_end *end, const _Atomic uint32_t *epoch, uint32_t seen,
                         const _Atomic uint32_t *waiters, uint64_t timeout_ns);
/* Nothing more comes over the link until the program has read from its socket. A hint. */
bool pen_remote_end_is_full(const struct pen_remote_end *end);
/* As pen_arena_lend and pen_arena_take_back. */
void pen_remote_end_lend(struct pen_remote_end *end, struct pen_loan *loan);
void pen_remote_end_take_back(struct pen_remote_end *end, struct pen_loan *loan);
/* False while the connection is broken, and for good when the session is lost. Any thread. */
bool pen_remote_end_is_connected(const struct pen_remote_end *end);
/* As pen_session_has_delivered. */
bool pen_remote_end_has_delivered(struct pen_remote_end *end);
/* The range's pages were given back to the system here: the worker may do the same. */
void pen_remote_end_forget(struct pen_remote_end *end, uint64_t offset, uint64_t bytes);
/* In a forked child, which has neither of the threads: closes its copies of the descriptors, and nothing else. */
void pen_remote_end_forked(struct pen_remote_end *end);
/* Tells the worker that no new connection will come: else it would wait for one. Waits a moment until it knows. */
void pen_remote_end_leave(struct pen_remote_end *end);
/* The session is over. Does not wait for a try to connect again, which ends by itself later, and with it the thread
 * that makes it: nothing of the caller's is used from here on. Accepts NULL. */
void pen_remote_end_stop(struct pen_remote_end *end);

#endif
