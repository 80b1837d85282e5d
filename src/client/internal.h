/* client/internal.h - what the files of this folder share; nobody else includes it, but their tests. */
#ifndef PEN_CLIENT_INTERNAL_H
#define PEN_CLIENT_INTERNAL_H

#include <pthread.h>

#include "base/list.h"
#include "client/lock.h"
#include "client/pages.h"
#include "client/remote.h"
#include "client/session.h"
#include "net/tenant.h"
#include "net/unix.h"
#include "wire/arena.h"
#include "wire/ring.h"

/* A sleeping wait looks at the socket this often: the time until a dead worker is noticed. */
#define PEN_PEER_CHECK_NS 100000000u

/* Where a session's patience and memory end. Tests set less, right after they have opened it. */
struct pen_session_bounds {
    /* Of answers and output that nobody has fetched yet: one largest program (PEN_LIMIT_PROGRAM) and its logs. */
    uint64_t answer_bytes;
    /* Of output among them: before more is read, it is written. */
    uint64_t output_bytes;
    /* An output frame is in the worker's outbox before it is counted, and the worker sends from there whenever the
     * socket has room, whatever else it does. One that is counted and does not come, while we read and nothing else
     * comes either, is a broken worker. Long: a worker may be stopped, or have to wait for a processor. */
    uint64_t output_quiet_ns;
    /* For frees that wait for the worker, before the arena is called full. */
    uint64_t arena_wait_ns;
    /* Of freed arena memory that is kept, because it will be wanted again. */
    uint64_t arena_kept_bytes;
};

enum { /* bits of pen_session.dead */
       PEN_DEAD_LOST = 1u,
       PEN_DEAD_FORKED = 2u,
};

struct pen_slot_pool {
    struct pen_lock lock;
    /* guarded by lock */
    uint32_t limit;    /* slots are 1 .. limit - 1, or first .. limit - 1 */
    uint32_t next;     /* never given out yet */
    uint32_t capacity; /* of the arrays; at least `next`, so that a release needs no memory */
    uint32_t *free, free_count;
    uint32_t *aside, aside_count; /* released before they were complete */
    uint32_t cursor;              /* into aside: where to look next */
    void **owners;                /* of each slot in use; NULL: nobody said */
    uint32_t owned_cursor;        /* into owners, likewise */
    _Atomic bool few;             /* are left; relaxed, a hint */
};

struct pen_pending_free {
    uint64_t offset;
    uint32_t slot;
};

struct pen_session {
    /* constant once open */
    struct pen_shared_view view;
    uint64_t number;
    uint32_t features;
    uint64_t spin_ns;
    struct pen_session_bounds bounds;
    void *arena_base;
    uint64_t arena_bytes;
    struct pen_list in_process; /* fork.c's list, under its lock */

    /* PEN_DEAD_*. LOST: set (release) after the epitaph was written; loads acquire. FORKED: set in the one thread
     * that a forked child has. */
    _Atomic uint32_t dead;
    char epitaph[PEN_LIMIT_NAME];

    _Atomic uint32_t refs; /* pen_session_unref */

    /* sending: guarded by `sending`, whose holder may take it again */
    _Alignas(64) struct pen_lock sending;
    _Atomic uintptr_t sender; /* the thread that holds it, or 0; relaxed: only equality with oneself matters */
    uint32_t depth;
    size_t reserved; /* bytes of the frame between begin and commit */
    uint64_t sequence;
    struct pen_ring_writer writer;

    _Alignas(64) _Atomic uint64_t last_id; /* relaxed: only uniqueness matters */

    struct pen_slot_pool slots, queue_slots;
    uint64_t queue_last[PEN_LIMIT_QUEUES]; /* of released ones, under queue_slots' lock: the last that they count */

    /* guarded by memory_lock */
    pthread_mutex_t memory_lock;
    int arena_fd;
    struct pen_space space;
    struct pen_pages pages; /* any thread */
    struct pen_pending_free *pending;
    uint32_t pending_count, pending_capacity, pending_cursor;

    /* guarded by answers_lock; the thread that has set `reading` has socket and reader to itself */
    pthread_mutex_t answers_lock;
    pthread_cond_t answers_changed;
    int socket;
    struct pen_remote_end *remote; /* NULL: the worker is on this host */
    bool reading;
    struct pen_frame_reader reader;
    struct pen_list answers;      /* struct pen_answer, in order of arrival */
    struct pen_list output;       /* the same: `output` frames not yet written */
    uint64_t answer_bytes;        /* in both */
    uint64_t output_bytes;        /* in output */
    uint64_t received;            /* all that has come */
    _Atomic uint64_t peer_looked; /* when the socket was read last, ns; relaxed, a hint */

    /* output_lock orders what is written to stdout; it is taken before answers_lock */
    pthread_mutex_t output_lock;
    _Atomic uint64_t output_written; /* frames; release, so that who finds it high enough may return */

    /* adaptive spinning of waits for completion and for answers; relaxed, a hint */
    struct pen_spinner spinner, answer_spinner;
};

static inline uint32_t pen_session_dead(struct pen_session *session)
{
    /* Acquire: pairs with the release in pen_session_fail, for the epitaph. */
    return atomic_load_explicit(&session->dead, memory_order_acquire);
}

/* address.c: where the pools are that PENSTOCK_POOL names, or the file pool in $XDG_CONFIG_HOME/penstock or
 * ~/.config/penstock, in that order; at least one: when neither names any (`named`), it is the daemon of this host. */
struct pen_pool_list {
    struct pen_pool_address *addresses;
    uint32_t count;
    bool named;
};
int pen_pool_list_read(struct pen_pool_list *out_list, struct pen_error *error);
void pen_pool_list_finish(struct pen_pool_list *list);

/* A connection to a daemon: a Unix socket, or a stream to another host. Zero-initialize with fd -1. */
struct pen_daemon_peer {
    int fd; /* the socket, or the stream's, to which it then belongs */
    struct pen_stream *stream;
    const struct pen_pool_address *address; /* borrowed */
    bool greeted;                           /* its hello has come */
};
/* Takes a connected socket: a stream over it, as it is or (key) with both sides proven. */
int pen_daemon_protect(int fd, const struct pen_tls_key *key, uint64_t deadline_ns, struct pen_stream **out_stream);
void pen_daemon_close(struct pen_daemon_peer *peer);
/* connect.c: a connection to a pool's daemon over which we have said hello. The request may follow at once: waiting for
 * its hello first would cost a hand-off to the daemon and one back. -PEN_EPERM: somebody at another host has refused
 * our key or has shown none, who need not be the pool. */
int pen_daemon_connect(const struct pen_pool_address *address, uint64_t deadline_ns, struct pen_daemon_peer *out_peer,
                       struct pen_error *error);
/* The same, and until reach_ns somebody has to take the connection. */
int pen_daemon_reach(const struct pen_pool_address *address, uint64_t reach_ns, uint64_t deadline_ns,
                     struct pen_daemon_peer *out_peer, struct pen_error *error);
/* After a request to that daemon that ended with rc: did the connection to another host break, and is there time to try
 * once more? Waits a little. */
bool pen_daemon_try_again(const struct pen_pool_address *address, int rc, uint64_t deadline_ns);
/* Receives the daemon's hello and checks it: before any other answer. */
int pen_daemon_greeted(const struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint64_t deadline_ns,
                       struct pen_error *error);
/* Receives a frame and checks that it is `opcode`; a `refused` becomes its status and message. */
int pen_daemon_receive(const struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint16_t opcode,
                       uint64_t deadline_ns, struct pen_error *error);
/* PEN_DAEMON_SEND(peer, hello, &message, deadline): one control message; evaluates to 0 or -PEN_E*. */
int pen_daemon_send(const struct pen_daemon_peer *peer, void *frame, size_t size, uint64_t deadline_ns);
#define PEN_DAEMON_SEND(peer_, name_, message_, deadline_)                                                             \
    __extension__({                                                                                                    \
        size_t pen_size_ = pen_msg_##name_##_size(message_);                                                           \
        void *pen_frame_ = pen_size_ ? malloc(pen_size_) : NULL;                                                       \
        if (pen_frame_)                                                                                                \
            pen_msg_##name_##_encode((message_), 0, pen_frame_);                                                       \
        pen_daemon_send((peer_), pen_frame_, pen_size_, (deadline_));                                                  \
    })

/* ticket.c: of a session on another host. */
/* After a request to a daemon on another host that is answered by a session_ticket: receives its hello, and that, and
 * puts the session's own connection, as the ticket says, in the place of the one to the daemon. It is made while the
 * answer is on its way. */
int pen_daemon_take_ticket(struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint64_t deadline_ns,
                           struct pen_error *error);
/* A new connection of an open session; link_resume is next. -PEN_EDEVICEGONE: the pool will not have the session any
 * more. Else it may be tried again; -PEN_ENOENT and -PEN_ENOMEM: as pen_tcp_connect; -PEN_EPERM: as pen_daemon_connect.
 */
int pen_daemon_resume(const struct pen_pool_address *address, const struct pen_msg_session_resume *resume,
                      uint64_t reach_ns, uint64_t deadline_ns, struct pen_stream **out_stream, struct pen_error *error);

/* fork.c: the handlers are registered by pen_session_handle_fork. */
/* The process does not fork between these two, where something is made that a child must not have. Any number of
 * threads may be there, as long as connecting to a daemon may take; who forks waits. */
void pen_fork_hold(void);
void pen_fork_let(void);
/* The same for one thread at a time, and for moments: what a child closes changes hands. May be taken between hold and
 * let. */
void pen_fork_lock(void);
void pen_fork_unlock(void);
/* The list of sessions that a forked child must not use, and whose descriptors it closes. Under the lock. Leaving
 * twice, or without having entered, does nothing. */
void pen_fork_enter(struct pen_session *session);
void pen_fork_leave(struct pen_session *session);

/* slots.c */
void pen_slot_pool_finish(struct pen_slot_pool *pool);

/* answers.c */
/* Marks the session lost, once, with the reason, and wakes everybody. */
void pen_session_fail(struct pen_session *session, const char *why);
/* Reads what is on the socket, without waiting; notices a dead worker. Nothing when another thread is reading. */
void pen_answers_poll(struct pen_session *session);
/* The same when the last look is PEN_PEER_CHECK_NS ago: for callers that poll. */
void pen_answers_poll_now_and_then(struct pen_session *session);
/* The oldest `output` frame: waits until nothing at all has come for quiet_ns; *out_frame is malloc'ed. -PEN_EGONE,
 * -PEN_ETIMEOUT. */
int pen_answers_output(struct pen_session *session, uint64_t quiet_ns, void **out_frame, size_t *out_size);
void pen_answers_finish(struct pen_session *session);
/* Drops what nobody has fetched. */
void pen_answers_shed(struct pen_session *session);

/* memory.c */
/* Gives the arena's pages back to the system; the mapping stays, and reads as zero. */
void pen_memory_shed(struct pen_session *session);
void pen_memory_finish(struct pen_session *session);

#endif
