/* See remote.h. */
#include "client/remote.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"
#include "client/internal.h"
#include "net/pump.h"
#include "net/unix.h"
#include "wire/arena.h"
#include "wire/ring.h"

/* One try of making the connection again, which takes five round trips and may lose some of what it sends; somebody has
 * to answer as soon as that. Who answers, and does not come to an end in time, has twice as long next time. */
#define TRY_MS          3000
#define TRY_MOST_MS     30000
#define TRY_ROUND_TRIPS 10
/* Between two tries: doubles from the first to the last. */
#define PAUSE_FIRST_MS 10
#define PAUSE_LAST_MS  1000
/* A thread that has nothing to do until the process ends sleeps so long at a time. */
#define STAY_MS 60000
/* For the last words, when a session is closed. */
#define LAST_WORDS_MS 200
/* How often a thread that waits for room in the link looks whether it is to stop. */
#define STOP_CHECK_NS 100000000u
/* Of answers and output that the program has not read: a few of the largest frames. */
#define PAIR_BYTES (4 * PEN_LIMIT_FRAME)
/* Completions that wait for reads: of each slot that the program has one, and of queues, which count on in the one that
 * they have while the reads are the same, as many in all. */
#define EARLY_MOST (2u * PEN_LIMIT_SLOTS)

/* A completion that came ahead of the bytes of reads before it. */
struct early {
    struct pen_list link;
    uint64_t after;
    bool is_queue;
    uint32_t slot;
    union {
        int32_t state;
        uint64_t completed;
    } u;
};

struct pen_remote_end {
    struct pen_remote_config config; /* stream: the link's */
    struct pen_link *link;
    struct pen_pump pump;
    struct pen_shared_view view;
    pthread_mutex_t forwarding;  /* who has it moves commands from the ring to the link */
    _Atomic int unsound;         /* -PEN_E*: one could not be moved, and none is any more. Written under forwarding */
    struct pen_ring_reader ring; /* guarded by forwarding */
    struct pen_loans loans;
    int socket;        /* our end of the pair: answers and output, for the program's threads, a frame a message */
    _Atomic bool full; /* it takes no more until they read */
    pthread_t sender, receiver;
    bool sending, receiving; /* their threads run */
    _Atomic bool leaving;    /* the worker has been told that no new connection will come */
    _Atomic bool connected;  /* written by the receiving thread */
    _Atomic bool stop;
    int stop_fd;               /* eventfd: readable from then on */
    pthread_mutex_t trying;    /* between a try and its end: */
    bool is_trying, is_orphan; /* guarded by trying; the end is the receiving thread's, which nobody waits for */

    struct pen_spinner spinner; /* of threads of the program that wait */

    /* of whoever has the pump */
    uint64_t arriving;     /* number of the part that comes */
    uint64_t reads;        /* whose bytes are all here, of those whose bytes come beside */
    struct pen_list early; /* struct early, in order of arrival */
    uint32_t early_count;
    struct early *counters[PEN_LIMIT_QUEUES]; /* of those, the last one of each queue; or NULL */
    uint64_t round_trip_ns;                   /* of the last connection, when it was made; 0: nobody knows */
    bool detached; /* the pool sends us away: we come back when it lets us, however long it takes */
};

/* ---- from the program --------------------------------------------------------------------------------- */

/* A long write's bytes follow beside other commands, which need not wait for them. */
static int forward(struct pen_remote_end *end, const void *frame, size_t size)
{
    const struct pen_frame_header *header = frame;
    struct pen_bulk bulk;
    int rc = pen_arena_bulk(frame, size, &bulk);
    bool beside = !rc && header->opcode == PEN_OP_WRITE && bulk.size > PEN_LINK_INLINE_BYTES;
    if (!rc && !beside)
        rc = pen_loans_add_range(&end->loans, bulk.offset, bulk.size, 0);
    if (!rc)
        rc = pen_link_add(end->link, frame, size);
    if (!rc && beside)
        rc = pen_loans_add_range(&end->loans, bulk.offset, bulk.size, header->sequence);
    return rc;
}

/* What is in the ring, under `forwarding`, while the link has room. When it holds no sound frame, or memory is short, a
 * command is lost, and what comes after it must not go: the receiving thread ends the session. */
static void forward_some(struct pen_remote_end *end)
{
    const void *frame;
    size_t size;
    int rc = atomic_load(&end->unsound);
    if (rc)
        return;
    while (pen_link_wait_room(end->link, 0) && (rc = pen_ring_next(&end->ring, &frame, &size)) > 0)
        if ((rc = forward(end, frame, size)))
            break;
    pen_ring_give_room(&end->ring);
    if (rc >= 0)
        return;
    atomic_store(&end->unsound, rc);
    pen_pump_rouse(&end->pump);
}

static void *send_commands(void *context)
{
    struct pen_remote_end *end = context;
    pen_ring_populate(&end->view); /* here, where nobody waits for it */
    while (!atomic_load(&end->unsound) && !atomic_load(&end->stop)) {
        pthread_mutex_lock(&end->forwarding);
        forward_some(end);
        pthread_mutex_unlock(&end->forwarding);
        pen_link_flush(end->link);
        if (pen_link_wait_room(end->link, STOP_CHECK_NS))
            pen_ring_wait_shared(&end->view, &end->stop);
    }
    return NULL;
}

/* ---- to the program ----------------------------------------------------------------------------------- */

/* Never waits: the thread that is here may be the only one that reads what is sent. */
static int answer(struct pen_remote_end *end, uint16_t opcode, const void *frame, size_t size)
{
    int rc = pen_unix_send(end->socket, frame, size, NULL, 0, 0);
    atomic_store_explicit(&end->full, rc == -PEN_ETIMEOUT, memory_order_relaxed);
    if (rc == -PEN_ETIMEOUT)
        return PEN_LINK_LATER;
    if (opcode == PEN_OP_OUTPUT)
        pen_publish_output(&end->view);
    else if (opcode == PEN_OP_FATAL)
        pen_publish_gone(&end->view);
    return rc;
}

#define DECODE(name_)                                                                                                  \
    struct pen_scratch scratch = {0};                                                                                  \
    struct pen_msg_##name_ message;                                                                                    \
    if (pen_msg_##name_##_decode(frame, size, &scratch, &message))                                                     \
    return -PEN_EPROTO

static void publish(struct pen_remote_end *end, const struct early *news)
{
    if (news->is_queue)
        pen_publish_queue(&end->view, news->slot, news->u.completed, false);
    else
        pen_publish_event(&end->view, news->slot, news->u.state, false);
    pen_publish_wake(&end->view);
}

/* A queue's counter goes on, and the last that came of it said how far it was, after the same reads: that one counts
 * on, behind what has come meanwhile. */
static bool is_told_by_the_last(struct pen_remote_end *end, const struct early *news)
{
    struct early *last = news->is_queue ? end->counters[news->slot] : NULL;
    if (!last || last->after != news->after)
        return false;
    last->u.completed = news->u.completed;
    pen_list_remove(&last->link);
    pen_list_append(&end->early, &last->link);
    return true;
}

/* Now, or when the reads before it are here. */
static int publish_after_reads(struct pen_remote_end *end, const struct early *news)
{
    if (news->after <= end->reads) {
        publish(end, news);
        return 0;
    }
    if (is_told_by_the_last(end, news))
        return 0;
    struct early *copy = end->early_count < EARLY_MOST ? malloc(sizeof *copy) : NULL;
    if (!copy)
        return end->early_count < EARLY_MOST ? -PEN_ENOMEM : -PEN_EPROTO;
    *copy = *news;
    pen_list_append(&end->early, &copy->link);
    end->early_count++;
    if (copy->is_queue)
        end->counters[copy->slot] = copy;
    return 0;
}

/* All bytes of a part are here. */
static int take_bulk(void *context)
{
    struct pen_remote_end *end = context;
    if (!end->arriving)
        return 0;
    end->reads = end->arriving;
    PEN_LIST_EACH(node, next, &end->early)
    {
        struct early *news = PEN_CONTAINER(node, struct early, link);
        if (news->after > end->reads)
            continue;
        pen_list_remove(&news->link);
        end->early_count--;
        if (news->is_queue && end->counters[news->slot] == news)
            end->counters[news->slot] = NULL;
        publish(end, news);
        free(news);
    }
    return 0;
}

static int take_event(struct pen_remote_end *end, const void *frame, size_t size)
{
    DECODE(link_event);
    if (!pen_slot_ok(message.slot) || message.state > PEN_STATE_COMPLETE)
        return -PEN_EPROTO;
    return publish_after_reads(
        end, &(struct early){.after = message.after, .slot = message.slot, .u = {.state = message.state}});
}

static int take_queue(struct pen_remote_end *end, const void *frame, size_t size)
{
    DECODE(link_queue);
    if (!pen_queue_slot_ok(message.slot))
        return -PEN_EPROTO;
    return publish_after_reads(end, &(struct early){.after = message.after,
                                                    .is_queue = true,
                                                    .slot = message.slot,
                                                    .u = {.completed = message.completed}});
}

static int take_times(struct pen_remote_end *end, const void *frame, size_t size)
{
    DECODE(link_times);
    if (!pen_slot_ok(message.slot))
        return -PEN_EPROTO;
    const struct pen_event_times times = {message.queued, message.submitted, message.started, message.ended};
    pen_publish_times(&end->view, message.slot, &times);
    return 0;
}

static int take_part(void *context, const struct pen_msg_link_part *part, void **out_bulk)
{
    struct pen_remote_end *end = context;
    end->arriving = part->number;
    return pen_loans_take_part(&end->loans, part, out_bulk);
}

static int take_frame(void *context, const void *frame, size_t size)
{
    struct pen_remote_end *end = context;
    uint16_t opcode = ((const struct pen_frame_header *)frame)->opcode;
    const struct pen_message_info *info = pen_message_info(opcode);
    switch (opcode) {
    case PEN_OP_LINK_EVENT:
        return take_event(end, frame, size);
    case PEN_OP_LINK_TIMES:
        return take_times(end, frame, size);
    case PEN_OP_LINK_QUEUE:
        return take_queue(end, frame, size);
    case PEN_OP_LINK_DETACH:
        end->detached = true; /* the connection ends now */
        return 0;
    default:
        return info && info->direction == PEN_DIRECTION_REPLY ? answer(end, opcode, frame, size) : -PEN_EPROTO;
    }
}

/* ---- the connection ------------------------------------------------------------------------------------ */

/* The program's threads read it as the session's last words: none of them has the pump. `what` holds a place for the
 * host, and one for why. */
__attribute__((format(printf, 2, 0))) static void say_why(struct pen_remote_end *end, const char *what, const char *why)
{
    char text[PEN_LIMIT_NAME];
    _Alignas(8) unsigned char frame[PEN_LIMIT_NAME + 64];
    snprintf(text, sizeof text, what, end->config.address.host, why);
    const struct pen_msg_fatal fatal = {.status = -PEN_EGONE, .message = text};
    pen_msg_fatal_encode(&fatal, 0, frame);
    (void)pen_unix_send(end->socket, frame, pen_msg_fatal_size(&fatal), NULL, 0, UINT64_MAX);
    pen_publish_gone(&end->view);
}

/* False: it is time to stop. */
static bool pause_ms(const struct pen_remote_end *end, uint64_t ms)
{
    struct pollfd poller = {.fd = end->stop_fd, .events = POLLIN};
    return poll(&poller, 1, (int)ms) <= 0 && !atomic_load(&end->stop);
}

/* That the session is ours. */
static int prove(const struct pen_remote_end *end, struct pen_stream *stream, uint64_t deadline_ns)
{
    _Alignas(8) unsigned char frame[64];
    struct pen_msg_link_proof message;
    memcpy(message.proof, end->config.proof, sizeof message.proof);
    pen_msg_link_proof_encode(&message, 0, frame);
    int rc = pen_stream_send_frame(stream, frame, pen_msg_link_proof_size(&message), deadline_ns);
    explicit_bzero(&message, sizeof message);
    explicit_bzero(frame, sizeof frame);
    return rc;
}

/* Takes the stream. */
static int go_on(struct pen_remote_end *end, struct pen_stream *stream, uint64_t deadline_ns)
{
    int rc = prove(end, stream, deadline_ns);
    if (!rc)
        return pen_link_resume(end->link, stream, end->config.session, deadline_ns);
    pen_stream_destroy(stream);
    return rc;
}

static void note_connection(struct pen_remote_end *end, const struct pen_stream *stream)
{
    end->config.address.answered = pen_tcp_place_of(stream->fd);
    end->round_trip_ns = pen_stream_round_trip_ns(stream);
}

/* 0; as pen_daemon_resume; -PEN_EDEVICEGONE also when the ends do not agree about what was sent. */
static int try_to_reconnect(struct pen_remote_end *end, uint64_t reach_ms, uint64_t ms, struct pen_error *error)
{
    struct pen_stream *stream;
    uint64_t deadline_ns = pen_deadline_ms(ms);
    const struct pen_msg_session_resume resume = {end->config.session, end->config.worker_pid, 0};
    int rc = pen_daemon_resume(&end->config.address, &resume, pen_deadline_ms(reach_ms), deadline_ns, &stream, error);
    if (rc)
        return rc;
    note_connection(end, stream);
    rc = go_on(end, stream, deadline_ns);
    if (!rc)
        return 0;
    int code = rc == -PEN_EPROTO ? -PEN_EDEVICEGONE : rc == -PEN_ENOMEM || rc == -PEN_ETIMEOUT ? rc : -PEN_EGONE;
    return pen_fail(error, code, "going on with the session: %s", pen_error_text(rc));
}

/* The pool, or the way to it, may be back soon, or have room. What is not known to come from the pool is not its last
 * word: a refusal of our key, or what is no message. */
static bool may_pass(int rc)
{
    return rc == -PEN_ENOENT || rc == -PEN_ETIMEOUT || rc == -PEN_EGONE || rc == -PEN_EIO || rc == -PEN_ENOMEM ||
           rc == -PEN_EDETACHED || rc == -PEN_ELIMIT || rc == -PEN_EPERM || rc == -PEN_EPROTO;
}

/* A session that is detached is kept for as long as that lasts: the window begins with the last sign that it may, which
 * is everything but that nobody listens where the pool was, or somebody who is not it, and what this host lacks for a
 * connection. */
static bool may_be_kept(const struct pen_remote_end *end, int rc)
{
    return end->detached && rc != -PEN_ENOENT && rc != -PEN_ENOMEM && rc != -PEN_EPERM && rc != -PEN_EPROTO;
}

static uint64_t first_try_ms(const struct pen_remote_end *end)
{
    uint64_t ms = end->round_trip_ns / 1000000 * TRY_ROUND_TRIPS;
    return ms < TRY_MS ? TRY_MS : ms < TRY_MOST_MS ? ms : TRY_MOST_MS;
}

/* Not far beyond the window. */
static uint64_t next_try_ms(uint64_t ms, uint64_t first_ms, uint64_t until)
{
    uint64_t now = pen_now_ns(), left_ms = now < until ? (until - now) / 1000000 : 0;
    uint64_t most_ms = left_ms > first_ms ? left_ms : first_ms;
    most_ms = most_ms < TRY_MOST_MS ? most_ms : TRY_MOST_MS;
    return ms < most_ms ? ms : most_ms;
}

/* Whoever stops the end does not wait for the try, nor for the resolver in it. False: it is stopped. */
static bool begin_try(struct pen_remote_end *end)
{
    pthread_mutex_lock(&end->trying);
    bool goes = end->is_trying = !atomic_load(&end->stop);
    pthread_mutex_unlock(&end->trying);
    return goes;
}

/* False: it was stopped meanwhile. */
static bool end_try(struct pen_remote_end *end)
{
    pthread_mutex_lock(&end->trying);
    end->is_trying = false;
    pthread_mutex_unlock(&end->trying);
    return !atomic_load(&end->stop);
}

/* True when the link has a connection again. Else the session is lost, or it is time to stop. */
static bool reconnect(struct pen_remote_end *end)
{
    struct pen_error error = {0};
    uint64_t until = pen_now_ns() + end->config.reconnect_ns, pause = PAUSE_FIRST_MS;
    const uint64_t first_ms = first_try_ms(end);
    for (uint64_t try_ms = first_ms; begin_try(end);) {
        int rc = try_to_reconnect(end, first_ms, try_ms, &error);
        if (!end_try(end))
            return false;
        end->detached = rc && (end->detached || rc == -PEN_EDETACHED);
        if (!rc)
            return true;
        uint64_t now = pen_now_ns();
        if (may_be_kept(end, rc))
            until = now + end->config.reconnect_ns;
        if (!may_pass(rc) || now >= until) {
            say_why(end, "the connection to %s broke, and could not be made again: %s", error.message);
            return false;
        }
        if (!pause_ms(end, pause / 2 + now % (pause / 2 + 1))) /* not all clients of a pool at once */
            return false;
        pause = pause * 2 < PAUSE_LAST_MS ? pause * 2 : PAUSE_LAST_MS;
        try_ms = next_try_ms(rc == -PEN_ETIMEOUT ? 2 * try_ms : try_ms, first_ms, until);
    }
    return false;
}

/* What is left of an end: its threads are at their end, or this one is its last, of one that was left to it. */
static void discard(struct pen_remote_end *end)
{
    if (end->link)
        pen_loans_finish(&end->loans);
    pen_link_destroy(end->link);
    if (end->socket >= 0)
        close(end->socket);
    if (end->stop_fd >= 0)
        close(end->stop_fd);
    PEN_LIST_EACH(node, next, &end->early)
    free(PEN_CONTAINER(node, struct early, link));
    pen_ring_reader_finish(&end->ring);
    pthread_mutex_destroy(&end->forwarding);
    pthread_mutex_destroy(&end->trying);
    explicit_bzero(&end->config, sizeof end->config);
    free(end);
}

static bool is_orphan(struct pen_remote_end *end)
{
    pthread_mutex_lock(&end->trying);
    bool orphan = end->is_orphan;
    pthread_mutex_unlock(&end->trying);
    return orphan;
}

static void *receive(void *context)
{
    struct pen_remote_end *end = context;
    int rc = 0;
    while (!atomic_load(&end->stop) && !rc) {
        rc = pen_pump_run(&end->pump, UINT64_MAX);
        if (!rc && (rc = atomic_load(&end->unsound))) {
            (void)pen_pump_demand(&end->pump); /* a helper may be giving an answer */
            say_why(end, "a command could not be sent to %s: %s", pen_error_text(rc));
        }
        if (rc != -PEN_EGONE)
            continue;
        atomic_store(&end->connected, false);
        if (!atomic_load(&end->stop) && !atomic_load(&end->leaving) && reconnect(end)) {
            atomic_store(&end->connected, true);
            pen_link_flush(end->link); /* what the worker lacks; nobody may have anything to add */
            pen_pump_give(&end->pump, false);
            rc = 0;
        }
    }
    if (is_orphan(end)) {
        discard(end);
        return NULL;
    }
    if (atomic_load(&end->leaving)) /* the process ends, and this thread with it: nobody is told of a loss any more */
        while (pause_ms(end, STAY_MS))
            ;
    shutdown(end->socket, SHUT_RDWR); /* the program's threads see it */
    pen_publish_gone(&end->view);
    return NULL;
}

/* ---- a thread of the program waits ---------------------------------------------------------------------- */

/* Looks for news without sleeping, for the spin budget, if that pays. */
static bool spin(struct pen_remote_end *end, const _Atomic uint32_t *epoch, uint32_t seen)
{
    uint64_t now = pen_now_ns(), limit = now + end->config.spin_ns;
    bool going = true, news = false;
    if (!end->config.spin_ns || !pen_spin_pays(&end->spinner))
        return true;
    while (going && !news && now < limit) {
        going = pen_pump_turn(&end->pump);
        news = atomic_load(epoch) != seen;
        now = pen_now_ns();
    }
    pen_spin_learn(&end->spinner, news, now > limit ? now - limit : 0);
    return going;
}

bool pen_remote_end_is_full(const struct pen_remote_end *end)
{
    return atomic_load_explicit(&end->full, memory_order_relaxed);
}

bool pen_remote_end_help(struct pen_remote_end *end, const _Atomic uint32_t *epoch, uint32_t seen,
                         const _Atomic uint32_t *waiters, uint64_t timeout_ns)
{
    uint64_t deadline = pen_now_ns() + timeout_ns;
    if (!pen_pump_take(&end->pump))
        return false;
    end->view.awake = 1; /* guarded by the pump */
    /* What is to be answered first has to be sent. */
    if (!pthread_mutex_trylock(&end->forwarding)) {
        forward_some(end); /* the rest is the sending thread's */
        pthread_mutex_unlock(&end->forwarding);
        pen_link_send(end->link);
    }
    /* What could not be answered is tried once more; the caller reads now, or will. */
    bool going = (!pen_remote_end_is_full(end) || pen_pump_turn(&end->pump)) && spin(end, epoch, seen);
    while (going && atomic_load(epoch) == seen && !pen_remote_end_is_full(end)) {
        uint64_t now = pen_now_ns();
        if (now >= deadline)
            break;
        pen_link_wait(end->link, deadline - now);
        going = pen_pump_turn(&end->pump);
    }
    end->view.awake = 0;
    pen_pump_give(&end->pump, atomic_load(waiters) > 1);
    return going;
}

/* ---- memory of the program's -------------------------------------------------------------------------- */

void pen_remote_end_lend(struct pen_remote_end *end, struct pen_loan *loan)
{
    pen_loan_begin(&end->loans, loan);
}

void pen_remote_end_take_back(struct pen_remote_end *end, struct pen_loan *loan)
{
    pen_loan_end(&end->loans, loan);
}

bool pen_remote_end_is_connected(const struct pen_remote_end *end)
{
    return atomic_load(&end->connected);
}

bool pen_remote_end_has_delivered(struct pen_remote_end *end)
{
    return atomic_load(&end->connected) && pen_link_has_delivered(end->link);
}

void pen_remote_end_forget(struct pen_remote_end *end, uint64_t offset, uint64_t bytes)
{
    const struct pen_msg_link_forget forget = {offset, bytes};
    _Alignas(8) unsigned char frame[64];
    pen_msg_link_forget_encode(&forget, 0, frame);
    (void)pen_link_add(end->link, frame, pen_msg_link_forget_size(&forget)); /* without memory: it is kept */
    pen_link_flush(end->link);
}

/* ---- life --------------------------------------------------------------------------------------------- */

static int make_link(struct pen_remote_end *end, struct pen_stream *stream)
{
    const struct pen_link_owner owner = {take_frame, take_part, take_bulk, end};
    int rc = pen_link_create(&owner, &end->link);
    if (!rc) {
        pen_pump_init(&end->pump, end->link);
        pen_loans_init(&end->loans, end->link, end->config.arena, end->config.arena_bytes);
        rc = end->config.packing ? pen_link_use_packing(end->link) : 0;
    }
    if (!rc)
        return pen_link_attach(end->link, stream, 0);
    pen_stream_destroy(stream);
    return rc;
}

/* Messages: a frame is sent, or not. */
static int make_pair(struct pen_remote_end *end, int pair[2])
{
    const int bytes = PAIR_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -PEN_EIO;
    end->socket = pair[1];
    (void)setsockopt(end->socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    pen_link_tell_room(end->link, end->socket);
    return 0;
}

static int start(struct pen_remote_end *end, struct pen_stream *stream, int pair[2])
{
    note_connection(end, stream);
    int rc = make_link(end, stream);
    atomic_store(&end->connected, !rc);
    if (!rc)
        rc = pen_ring_reader_init(&end->ring, &end->view);
    if (!rc && (end->stop_fd = eventfd(0, EFD_CLOEXEC)) < 0)
        rc = -PEN_EIO;
    if (!rc)
        rc = make_pair(end, pair);
    if (!rc && !(rc = pen_thread_start(&end->receiver, receive, end)))
        end->receiving = true;
    /* Last: its first deed keeps others from the address space for a while. */
    if (!rc && !(rc = pen_thread_start(&end->sender, send_commands, end)))
        end->sending = true;
    return rc;
}

int pen_remote_end_start(const struct pen_remote_config *config, int *out_socket, struct pen_remote_end **out_end,
                         struct pen_error *error)
{
    struct pen_remote_end *end = calloc(1, sizeof *end);
    int pair[2] = {-1, -1};
    if (!end) {
        pen_stream_destroy(config->stream);
        return pen_fail(error, -PEN_ENOMEM, "opening a session: out of host memory");
    }
    end->config = *config;
    end->view = *config->view;
    end->socket = end->stop_fd = -1;
    pen_list_init(&end->early);
    pthread_mutex_init(&end->forwarding, NULL);
    pthread_mutex_init(&end->trying, NULL);
    int rc = start(end, config->stream, pair);
    if (rc) {
        pen_remote_end_stop(end);
        if (pair[0] >= 0)
            close(pair[0]);
        return pen_fail(error, rc, "opening a session on another host: %s", pen_error_text(rc));
    }
    *out_socket = pair[0];
    *out_end = end;
    return 0;
}

void pen_remote_end_forked(struct pen_remote_end *end)
{
    pen_link_forked(end->link);
    close(end->socket);
    close(end->stop_fd);
}

void pen_remote_end_leave(struct pen_remote_end *end)
{
    const struct timespec pause = {.tv_nsec = 200000};
    const struct pen_msg_link_end message = {0};
    _Alignas(8) unsigned char frame[64];
    uint64_t until = pen_deadline_ms(LAST_WORDS_MS);
    atomic_store(&end->leaving, true);
    pen_msg_link_end_encode(&message, 0, frame);
    if (!atomic_load(&end->connected) || pen_link_add(end->link, frame, pen_msg_link_end_size(&message)))
        return;
    pen_link_flush(end->link);
    /* The worker closes the connection. Were it closed here, what is on its way could get lost. */
    while (atomic_load(&end->connected) && pen_now_ns() < until)
        nanosleep(&pause, NULL);
}

static void ask_to_stop(struct pen_remote_end *end)
{
    const uint64_t one = 1;
    atomic_store(&end->stop, true);
    ssize_t ignored = write(end->stop_fd, &one, sizeof one);
    (void)ignored; /* a fresh eventfd takes it */
    if (end->socket >= 0)
        shutdown(end->socket, SHUT_RDWR); /* a receiver that waits for the program to read is let go */
}

/* True: it is in the middle of a try, and the end is its own from then on. That may be there longer than the session:
 * neither the page and the ring in `view` nor the arena may be touched any more, by what a try calls (the link resumes,
 * but sends nothing) or by discard. */
static bool leave_to_receiver(struct pen_remote_end *end)
{
    pthread_mutex_lock(&end->trying);
    bool leaves = end->is_orphan = end->is_trying;
    if (leaves)
        pthread_detach(end->receiver);
    pthread_mutex_unlock(&end->trying);
    return leaves;
}

void pen_remote_end_stop(struct pen_remote_end *end)
{
    if (!end)
        return;
    pen_remote_end_leave(end);
    ask_to_stop(end);
    if (end->sending) {
        pen_fence();
        pen_ring_doorbell_wake(&end->view);
        pthread_join(end->sender, NULL);
    }
    if (end->receiving) {
        pen_pump_rouse(&end->pump);
        if (leave_to_receiver(end))
            return;
        pthread_join(end->receiver, NULL);
    }
    discard(end);
}
