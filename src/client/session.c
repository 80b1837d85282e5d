/* A session's life, its ids, and the sending of commands. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/internal.h"
#include "net/pack.h"

#define SPIN_US_MAX 1000u

/* ---- open -------------------------------------------------------------------------------------------- */

/* PENSTOCK_SPIN_US: how long a wait may spin; 0 never. */
static uint64_t spin_budget(void)
{
    const char *text = getenv("PENSTOCK_SPIN_US");
    if (!text || !*text)
        return PEN_SPIN_BUDGET_NS;
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || errno)
        return PEN_SPIN_BUDGET_NS;
    return (value < SPIN_US_MAX ? value : SPIN_US_MAX) * 1000u;
}

/* PENSTOCK_RECORD as an absolute path: the worker has another working directory. "" when it is not set. */
static int record_path(char *out_path, size_t size, struct pen_error *error)
{
    const char *path = getenv("PENSTOCK_RECORD");
    char directory[PATH_MAX] = "";
    out_path[0] = 0;
    if (!path || !*path)
        return 0;
    if (path[0] != '/' && !getcwd(directory, sizeof directory))
        return pen_fail(error, -PEN_EIO, "finding the directory of PENSTOCK_RECORD=%s: %s", path, strerror(errno));
    int length = snprintf(out_path, size, "%s%s%s", directory, path[0] == '/' ? "" : "/", path);
    if (length < 0 || (size_t)length >= size)
        return pen_fail(error, -PEN_ELIMIT, "PENSTOCK_RECORD: a path may have %zu bytes: %s", size - 1, path);
    return 0;
}

/* PENSTOCK_LZ4: 0 to do without. So does who has no LZ4. */
static uint32_t packing(void)
{
    const char *text = getenv("PENSTOCK_LZ4");
    return (!text || strcmp(text, "0") != 0) && pen_pack_available() ? PEN_FEATURE_LZ4 : 0;
}

/* The daemon's answer to session_open; of a pool on another host it comes with a ticket before. */
static int take_answer(struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint64_t deadline_ns,
                       struct pen_error *error)
{
    int rc = peer->stream && !peer->address->plain ? pen_daemon_take_ticket(peer, frame, deadline_ns, error)
                                                   : pen_daemon_greeted(peer, frame, deadline_ns, error);
    /* It is there and well; how long a worker's drivers take to load, it alone knows, and bounds. */
    return rc ? rc
              : pen_daemon_receive(peer, frame, PEN_OP_SESSION_OPENED, pen_deadline_ms(PEN_WORKER_TIMEOUT_MS), error);
}

static int request(struct pen_daemon_peer *peer, uint64_t pool, uint64_t deadline_ns, struct pen_unix_frame *frame,
                   struct pen_msg_session_opened *out_opened, struct pen_error *error)
{
    char path[PATH_MAX];
    struct pen_scratch scratch = {0};
    int rc = record_path(path, sizeof path, error);
    if (rc)
        return rc;
    if (path[0] && peer->stream)
        return pen_fail(error, -PEN_EUNSUPPORTED,
                        "PENSTOCK_RECORD=%s: sessions on another host (%s) are not recorded; record where the pool is",
                        path, peer->address->host);
    const struct pen_msg_session_open open = {
        .features = peer->stream ? PEN_FEATURE_REMOTE | PEN_FEATURE_DIRECT | packing()
                    : path[0]    ? PEN_FEATURE_RECORD
                                 : PEN_FEATURE_DIRECT,
        .pool = pool,
        .program = program_invocation_short_name,
        .record_path = path,
    };
    rc = PEN_DAEMON_SEND(peer, session_open, &open, deadline_ns);
    if (rc)
        return pen_fail(error, rc, "asking the daemon for a session: %s", pen_error_text(rc));
    rc = take_answer(peer, frame, deadline_ns, error);
    if (rc)
        return rc;
    rc = pen_msg_session_opened_decode(frame->data, frame->size, &scratch, out_opened);
    pen_scratch_finish(&scratch);
    if (rc || frame->fd_count != (peer->stream ? 0 : 2) || (out_opened->features & ~open.features) ||
        !(out_opened->features & PEN_FEATURE_REMOTE) != !peer->stream)
        return pen_fail(error, rc ? rc : -PEN_EPROTO, "the worker's answer to session_open is malformed");
    return 0;
}

/* Maps the two memory files that a worker of this host has sent: the shared page, and the arena, whose descriptor is
 * taken. */
static int map_files(struct pen_session *session, struct pen_unix_frame *frame,
                     const struct pen_msg_session_opened *opened, struct pen_error *error)
{
    int rc = pen_shared_map(frame->fds[0], &session->view, error);
    if (rc)
        return rc;
    pen_ring_populate(&session->view);
    if (session->view.shared_bytes != opened->shared_bytes || session->view.ring_bytes != opened->ring_bytes)
        return pen_fail(error, -PEN_EPROTO, "the session's shared page is not as the worker announced it");
    session->arena_fd = frame->fds[1];
    frame->fds[1] = -1;
    return pen_arena_map_some(session->arena_fd, opened->arena_bytes, &session->arena_base, &session->arena_bytes,
                              error);
}

/* Makes both, of the sizes that a worker of another host has, and starts its stand-in, which takes the stream. */
static int make_files(struct pen_session *session, struct pen_daemon_peer *peer,
                      const struct pen_msg_session_opened *opened, struct pen_error *error)
{
    int page = -1, rc = pen_shared_create(opened->ring_bytes, &page, &session->view, error);
    if (rc)
        return rc;
    close(page);
    if ((rc = pen_shared_keep_from_children(&session->view, error)) ||
        (rc = pen_arena_create(opened->arena_bytes, &session->arena_fd, error)) ||
        (rc = pen_arena_map_some(session->arena_fd, opened->arena_bytes, &session->arena_base, &session->arena_bytes,
                                 error)))
        return rc;
    struct pen_remote_config config = {.stream = peer->stream,
                                       .address = *peer->address,
                                       .session = opened->session,
                                       .worker_pid = opened->worker_pid,
                                       .reconnect_ns = UINT64_C(1000000) * opened->reconnect_ms,
                                       .spin_ns = session->spin_ns,
                                       .packing = opened->features & PEN_FEATURE_LZ4,
                                       .view = &session->view,
                                       .arena = session->arena_base,
                                       .arena_bytes = session->arena_bytes};
    session->socket = -1; /* it was the stream's */
    *peer = (struct pen_daemon_peer){.fd = -1};
    if (session->bounds.arena_wait_ns < config.reconnect_ns)
        session->bounds.arena_wait_ns = config.reconnect_ns; /* the worker may be far away for a while */
    memcpy(config.proof, opened->proof, sizeof config.proof);
    rc = pen_remote_end_start(&config, &session->socket, &session->remote, error);
    explicit_bzero(&config, sizeof config);
    return rc;
}

static int set_up(struct pen_session *session, const struct pen_msg_session_opened *opened, struct pen_error *error)
{
    pen_pages_init(&session->pages, session->arena_base, session->arena_bytes);
    if (pen_space_init(&session->space, session->arena_bytes))
        return pen_fail(error, -PEN_ENOMEM, "opening a session: out of host memory");
    pen_ring_writer_init(&session->writer, &session->view);
    session->number = opened->session;
    session->features = opened->features;
    return 0;
}

static const struct pen_session_bounds usual_bounds = {.answer_bytes = 320u << 20,
                                                       .output_bytes = 64u << 20,
                                                       .output_quiet_ns = 5000000000u,
                                                       .arena_wait_ns = 1000000000u,
                                                       .arena_kept_bytes = PEN_ARENA_KEPT_BYTES};

static struct pen_session *session_create(void)
{
    struct pen_session *session = aligned_alloc(64, (sizeof *session + 63) / 64 * 64);
    if (!session)
        return NULL;
    memset(session, 0, sizeof *session);
    session->socket = session->arena_fd = -1;
    session->spin_ns = spin_budget();
    session->bounds = usual_bounds;
    session->refs = 1;
    session->slots.limit = PEN_LIMIT_SLOTS;
    session->slots.next = 1; /* slot 0 is nobody's */
    session->queue_slots.limit = PEN_LIMIT_QUEUES;
    pen_list_init(&session->answers);
    pen_list_init(&session->output);
    pthread_mutex_init(&session->memory_lock, NULL);
    pthread_mutex_init(&session->answers_lock, NULL);
    pthread_mutex_init(&session->output_lock, NULL);
    pthread_cond_init(&session->answers_changed, NULL);
    return session;
}

/* A child of fork must not keep the socket, or the worker would not see the parent's end: it is in fork.c's list from
 * its birth on, while the daemon's answer is yet to come. */
static int connect_session(struct pen_session *session, const struct pen_pool_address *address, uint64_t deadline_ns,
                           struct pen_daemon_peer *out_peer, struct pen_error *error)
{
    if (pen_session_handle_fork())
        return pen_fail(error, -PEN_ENOMEM, "opening a session: out of host memory");
    pen_fork_hold();
    int rc = pen_daemon_connect(address, deadline_ns, out_peer, error);
    if (!rc) {
        session->socket = out_peer->fd;
        pen_fork_lock();
        pen_fork_enter(session);
        pen_fork_unlock();
    }
    pen_fork_let();
    return rc;
}

/* The session has its socket, page and arena, whichever way they came. */
static int open_session(struct pen_session *session, const struct pen_pool *pool, uint64_t deadline_ns,
                        struct pen_error *error)
{
    struct pen_daemon_peer peer = {.fd = -1};
    struct pen_unix_frame frame = {0};
    struct pen_msg_session_opened opened = {0};
    int rc = connect_session(session, pool->address, deadline_ns, &peer, error);
    if (rc)
        return rc;
    rc = request(&peer, pool->number, deadline_ns, &frame, &opened, error);
    pen_fork_hold(); /* the page is mapped, and kept from children, at once */
    if (!rc)
        rc = peer.stream ? make_files(session, &peer, &opened, error) : map_files(session, &frame, &opened, error);
    if (!rc)
        rc = set_up(session, &opened, error);
    explicit_bzero(&opened, sizeof opened); /* and the frame: the session's proof is in them */
    if (frame.data)
        explicit_bzero(frame.data, frame.size);
    pen_unix_frame_finish(&frame);
    if (peer.stream) {
        session->socket = -1; /* it is the stream's, which goes */
        pen_daemon_close(&peer);
    }
    pen_fork_let();
    return rc;
}

static int open_once(const struct pen_pool *pool, uint64_t deadline_ns, struct pen_session **out_session,
                     struct pen_error *error)
{
    struct pen_session *session = session_create();
    if (!session)
        return pen_fail(error, -PEN_ENOMEM, "opening a session: out of host memory");
    int rc = open_session(session, pool, deadline_ns, error);
    if (rc) {
        pen_session_close(session);
        return rc;
    }
    *out_session = session;
    return 0;
}

int pen_session_open(const struct pen_pool *pool, struct pen_session **out_session, struct pen_error *error)
{
    struct pen_pool_address local = {.local = true};
    const struct pen_pool here = {.address = &local};
    uint64_t deadline_ns = pen_deadline_ms(PEN_CONNECT_TIMEOUT_MS);
    int rc;
    pool = pool ? pool : &here;
    do
        rc = open_once(pool, deadline_ns, out_session, error);
    while (pen_daemon_try_again(pool->address, rc, deadline_ns));
    return rc;
}

void pen_session_ref(struct pen_session *session)
{
    atomic_fetch_add_explicit(&session->refs, 1, memory_order_relaxed);
}

/* Its threads end; once. */
static void stop_stand_in(struct pen_session *session)
{
    pen_fork_lock(); /* fork.c looks at it, too */
    struct pen_remote_end *end = session->remote;
    session->remote = NULL;
    pen_fork_unlock();
    pen_remote_end_stop(end);
}

void pen_session_unref(struct pen_session *session)
{
    /* acq_rel: who gives back the memory comes after everybody's last use of it. */
    uint32_t before = atomic_fetch_sub_explicit(&session->refs, 1, memory_order_acq_rel);
    if (before > 2 || pen_session_dead(session) != PEN_DEAD_LOST) /* the parent's memory is not a child's to give */
        return;
    stop_stand_in(session);
    pen_memory_shed(session);
    pen_answers_shed(session);
}

void pen_session_leave(struct pen_session *session)
{
    if (!session || pen_session_dead(session))
        return;
    pen_fork_lock();
    if (session->remote)
        pen_remote_end_leave(session->remote);
    pen_fork_unlock();
}

void pen_session_close(struct pen_session *session)
{
    if (!session)
        return;
    pen_fork_lock();
    pen_fork_leave(session);
    if (session->socket >= 0)
        close(session->socket);
    if (session->arena_fd >= 0)
        close(session->arena_fd);
    pen_fork_unlock();
    if (!(pen_session_dead(session) & PEN_DEAD_FORKED)) /* a child has none of its threads */
        stop_stand_in(session);
    pen_answers_finish(session);
    pen_memory_finish(session);
    pen_slot_pool_finish(&session->slots);
    pen_slot_pool_finish(&session->queue_slots);
    if (!(pen_session_dead(session) &
          PEN_DEAD_FORKED)) { /* a child never had the page: its addresses may be another's */
        pen_shared_unmap(&session->view);
        pthread_mutex_destroy(&session->memory_lock);
        pthread_mutex_destroy(&session->answers_lock);
        pthread_mutex_destroy(&session->output_lock);
        pthread_cond_destroy(&session->answers_changed);
    }
    free(session);
}

int pen_session_alive(struct pen_session *session)
{
    if (!pen_session_dead(session)) {
        /* Relaxed: what it tells is read from the socket. */
        if (atomic_load_explicit(&session->view.shared->gone, memory_order_relaxed))
            pen_answers_poll(session);
        else
            pen_answers_poll_now_and_then(session);
    }
    return pen_session_dead(session) ? -PEN_EGONE : 0;
}

const char *pen_session_epitaph(struct pen_session *session)
{
    uint32_t dead = pen_session_dead(session);
    if (dead & PEN_DEAD_FORKED)
        return "the program was forked: a session belongs to the process that opened it";
    return dead ? session->epitaph : "";
}

uint32_t pen_session_features(const struct pen_session *session)
{
    return session->features;
}

uint64_t pen_session_new_id(struct pen_session *session)
{
    /* Devices of the pool and parts of them, which are ours to name, share one space. */
    return PEN_LIMIT_POOL_IDS + 1 + atomic_fetch_add_explicit(&session->last_id, 1, memory_order_relaxed);
}

/* ---- commands ---------------------------------------------------------------------------------------- */

static inline uintptr_t self(void)
{
    return (uintptr_t)pthread_self();
}

static inline void enter(struct pen_session *session)
{
    if (atomic_load_explicit(&session->sender, memory_order_relaxed) == self()) {
        session->depth++;
        return;
    }
    pen_lock_take(&session->sending);
    atomic_store_explicit(&session->sender, self(), memory_order_relaxed);
    session->depth = 1;
}

static inline bool leave_quietly(struct pen_session *session)
{
    if (--session->depth)
        return false;
    atomic_store_explicit(&session->sender, 0, memory_order_relaxed);
    pen_lock_drop(&session->sending);
    return true;
}

/* The outermost one rings the doorbell: pen_lock_drop's fence lies between our head and the worker's `asleep`. */
static inline void leave(struct pen_session *session)
{
    if (leave_quietly(session))
        pen_ring_doorbell(&session->view);
}

/* Caller holds `sending`. NULL when the session is lost. */
static void *wait_for_room(struct pen_session *session, size_t size)
{
    while (!pen_session_dead(session)) {
        if (pen_ring_wait_room(&session->writer, size, session->spin_ns, PEN_PEER_CHECK_NS))
            return pen_ring_reserve(&session->writer, size);
        pen_answers_poll(session);
    }
    return NULL;
}

void *pen_session_begin(struct pen_session *session, size_t size, uint64_t *out_sequence, int *out_error)
{
    if (__builtin_expect(pen_session_dead(session) || !size, 0)) {
        *out_error = size ? -PEN_EGONE : -PEN_ELIMIT;
        return NULL;
    }
    enter(session);
    void *at = pen_ring_reserve(&session->writer, size);
    if (__builtin_expect(!at, 0)) {
        at = wait_for_room(session, size);
        if (!at) {
            leave(session);
            *out_error = -PEN_EGONE;
            return NULL;
        }
    }
    session->reserved = size;
    *out_sequence = session->sequence + 1;
    return at;
}

void pen_session_commit(struct pen_session *session)
{
    session->sequence++;
    pen_ring_publish(&session->writer, session->reserved);
    leave(session);
}

void pen_session_lock(struct pen_session *session)
{
    if (!(pen_session_dead(session) & PEN_DEAD_FORKED))
        enter(session);
}

void pen_session_unlock(struct pen_session *session)
{
    if (!(pen_session_dead(session) & PEN_DEAD_FORKED))
        leave(session);
}

void pen_session_unlock_quietly(struct pen_session *session)
{
    if (!(pen_session_dead(session) & PEN_DEAD_FORKED))
        (void)leave_quietly(session);
}
