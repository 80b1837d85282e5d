/* The socket: answers for whoever waits for them, kernels' output, the news that the worker is dead.
 *
 * One thread at a time reads (`reading`), without the lock; the others wait on the condition for what it brings. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client/internal.h"

/* How much longer than its workers a daemon may take to go. */
#define DAEMON_GOING_MS 20

struct pen_answer {
    struct pen_list link;
    uint64_t sequence;
    size_t size;
    void *frame; /* malloc'ed, the taker's */
};

static void wake_sleepers(struct pen_session *session)
{
    pen_futex_wake(&session->view.shared->epoch, UINT32_MAX, true);
    pen_futex_wake(&session->view.shared->tail_epoch, UINT32_MAX, true);
}

/* The reason is in two parts, the second may be "". Caller holds answers_lock. */
static void lose(struct pen_session *session, const char *why, const char *detail)
{
    if (pen_session_dead(session))
        return;
    snprintf(session->epitaph, sizeof session->epitaph, "%s%s", why, detail);
    /* Release: pairs with the acquire in pen_session_dead, for the epitaph. */
    atomic_fetch_or_explicit(&session->dead, PEN_DEAD_LOST, memory_order_release);
    pthread_cond_broadcast(&session->answers_changed);
    wake_sleepers(session);
}

void pen_session_fail(struct pen_session *session, const char *why)
{
    pthread_mutex_lock(&session->answers_lock);
    lose(session, why, "");
    pthread_mutex_unlock(&session->answers_lock);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

/* Caller holds answers_lock. */
static void keep(struct pen_session *session, struct pen_list *list, const void *frame, size_t size)
{
    if (session->answer_bytes + size > session->bounds.answer_bytes) {
        char most[32];
        snprintf(most, sizeof most, "%llu bytes", (unsigned long long)session->bounds.answer_bytes);
        lose(session, "the worker sent answers that nobody asked for, more than ", most);
        return;
    }
    struct pen_answer *answer = malloc(sizeof *answer);
    void *copy = malloc(size);
    if (!answer || !copy) {
        free(answer);
        free(copy);
        lose(session, "out of host memory while reading the worker's answers", "");
        return;
    }
    memcpy(copy, frame, size);
    *answer = (struct pen_answer){
        .sequence = ((const struct pen_frame_header *)frame)->sequence, .size = size, .frame = copy};
    pen_list_append(list, &answer->link);
    session->answer_bytes += size;
    if (list == &session->output)
        session->output_bytes += size;
}

/* Takes an answer out of its list; returns the frame. Caller holds answers_lock. */
static void *take(struct pen_session *session, struct pen_answer *answer, size_t *out_size)
{
    void *frame = answer->frame;
    pen_list_remove(&answer->link);
    session->answer_bytes -= answer->size;
    if (((const struct pen_frame_header *)frame)->opcode == PEN_OP_OUTPUT)
        session->output_bytes -= answer->size;
    *out_size = answer->size;
    free(answer);
    return frame;
}

static void read_epitaph(struct pen_session *session, const void *frame, size_t size)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_fatal fatal;
    if (pen_msg_fatal_decode(frame, size, &scratch, &fatal))
        lose(session, "the session failed, and the worker's message about it is malformed", "");
    else
        lose(session, fatal.message, "");
    pen_scratch_finish(&scratch);
}

/* Sorts what was read. Caller holds answers_lock and has the reader. */
static void sort_frames(struct pen_session *session)
{
    const void *frame;
    size_t size;
    int rc;
    while ((rc = pen_frame_reader_next(&session->reader, &frame, &size)) > 0) {
        uint16_t opcode = ((const struct pen_frame_header *)frame)->opcode;
        if (opcode == PEN_OP_FATAL)
            read_epitaph(session, frame, size);
        else
            keep(session, opcode == PEN_OP_OUTPUT ? &session->output : &session->answers, frame, size);
    }
    if (rc < 0)
        lose(session, "the worker's answers are malformed", "");
}

/* The connection's other end was the daemon's at first: the system remembers whose. A daemon that was killed takes its
 * workers with it, and they may be gone a moment before it. */
static bool daemon_is_gone(const struct pen_session *session)
{
    struct ucred daemon = {0};
    socklen_t size = sizeof daemon;
    if (session->features & PEN_FEATURE_REMOTE ||
        getsockopt(session->socket, SOL_SOCKET, SO_PEERCRED, &daemon, &size) || daemon.pid <= 0)
        return false;
    struct pollfd process = {.fd = pidfd_open(daemon.pid, 0), .events = POLLIN};
    if (process.fd < 0)
        return errno == ESRCH;
    bool gone = poll(&process, 1, DAEMON_GOING_MS) == 1;
    close(process.fd);
    return gone;
}

/* Reads what is there, until the socket is empty or so much output is kept that it must be written first. Caller holds
 * answers_lock and has set `reading`, or nobody has. */
static void read_all(struct pen_session *session)
{
    ssize_t got;
    atomic_store_explicit(&session->peer_looked, pen_now_ns(), memory_order_relaxed);
    do {
        got = pen_frame_reader_fill(&session->reader, session->socket);
        if (got == -PEN_EGONE) {
            lose(session,
                 daemon_is_gone(session) ? "penstockd is gone, and its sessions with it"
                                         : "the worker died, perhaps by a fault in a kernel that it was running",
                 "");
        } else if (got < 0) {
            lose(session, "reading the worker's answers: ", pen_error_text((int)got));
        } else if (got > 0) {
            session->received += (uint64_t)got;
            sort_frames(session);
        }
    } while (got > 0 && !pen_session_dead(session) && session->output_bytes <= session->bounds.output_bytes);
}

/* Looks at the socket until it has something or the spin budget is over; true when it has. What is there at once does
 * not tell whether spinning pays. */
static bool spin_on_socket(struct pen_session *session, struct pollfd *poller)
{
    uint64_t now = pen_now_ns(), end = now + session->spin_ns;
    bool some = poll(poller, 1, 0) > 0;
    if (some)
        return true;
    while (!some && now < end) {
        pen_spin_turn(3); /* always a yield: each turn is a system call anyway */
        some = poll(poller, 1, 0) > 0;
        now = pen_now_ns();
    }
    pen_spin_learn(&session->answer_spinner, some, now > end ? now - end : 0);
    return some;
}

/* Waits until the socket has something, at most until `deadline` and no longer than PEN_PEER_CHECK_NS; `spin`: not
 * asleep at first, if that pays. Without the lock. */
static void wait_socket(struct pen_session *session, bool spin, uint64_t deadline)
{
    struct pollfd poller = {.fd = session->socket, .events = POLLIN};
    bool spins = spin && session->spin_ns && pen_spin_pays(&session->answer_spinner);
    if (spins && spin_on_socket(session, &poller))
        return;
    uint64_t now = pen_now_ns(), left = deadline > now ? deadline - now : 0;
    left = left < PEN_PEER_CHECK_NS ? left : PEN_PEER_CHECK_NS;
    (void)poll(&poller, 1, (int)((left + 999999) / 1000000));
}

/* One round of waiting for the list to change: as the reader, or for the reader. Caller holds answers_lock. */
static void wait_round(struct pen_session *session, bool spin, uint64_t deadline)
{
    if (!session->reading) {
        session->reading = true;
        pthread_mutex_unlock(&session->answers_lock);
        wait_socket(session, spin, deadline);
        pthread_mutex_lock(&session->answers_lock);
        read_all(session);
        session->reading = false;
        pthread_cond_broadcast(&session->answers_changed);
        return;
    }
    if (deadline == UINT64_MAX) {
        pthread_cond_wait(&session->answers_changed, &session->answers_lock);
        return;
    }
    struct timespec until = {.tv_sec = (time_t)(deadline / 1000000000u), .tv_nsec = (long)(deadline % 1000000000u)};
    pthread_cond_clockwait(&session->answers_changed, &session->answers_lock, CLOCK_MONOTONIC, &until);
}

void pen_answers_poll(struct pen_session *session)
{
    if (pen_session_dead(session))
        return;
    pthread_mutex_lock(&session->answers_lock);
    if (!session->reading) { /* else its reader will see what there is */
        read_all(session);
        pthread_cond_broadcast(&session->answers_changed);
    }
    bool much = session->output_bytes > session->bounds.output_bytes;
    pthread_mutex_unlock(&session->answers_lock);
    if (much) /* of a program that does not wait for its kernels */
        pen_session_drain_output(session);
}

void pen_answers_poll_now_and_then(struct pen_session *session)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    uint64_t looked = atomic_load_explicit(&session->peer_looked, memory_order_relaxed);
    if (now_ns > looked && now_ns - looked >= PEN_PEER_CHECK_NS)
        pen_answers_poll(session);
}

/* ---- answers ----------------------------------------------------------------------------------------- */

static struct pen_answer *find(struct pen_session *session, uint64_t sequence)
{
    PEN_LIST_EACH(node, next, &session->answers)
    {
        struct pen_answer *answer = PEN_CONTAINER(node, struct pen_answer, link);
        if (answer->sequence == sequence)
            return answer;
    }
    return NULL;
}

int pen_session_answer(struct pen_session *session, uint64_t sequence, uint16_t *out_opcode, void **out_frame,
                       size_t *out_size)
{
    if (pen_session_dead(session) & PEN_DEAD_FORKED)
        return -PEN_EGONE;
    bool spin = true; /* once: who waits longer waits for a build */
    pthread_mutex_lock(&session->answers_lock);
    struct pen_answer *answer;
    /* What came before the session was lost is still good. */
    while (!(answer = find(session, sequence)) && !pen_session_dead(session)) {
        bool output = !pen_list_empty(&session->output);
        if (output) { /* printed by kernels meanwhile: it must not pile up behind a long build */
            pthread_mutex_unlock(&session->answers_lock);
            pen_session_drain_output(session);
            pthread_mutex_lock(&session->answers_lock);
            if (find(session, sequence))
                continue;
        }
        wait_round(session, spin, UINT64_MAX);
        spin = false;
    }
    if (answer) {
        *out_frame = take(session, answer, out_size);
        *out_opcode = ((const struct pen_frame_header *)*out_frame)->opcode;
    }
    pthread_mutex_unlock(&session->answers_lock);
    return answer ? 0 : -PEN_EGONE;
}

/* Adds one part to the buffer: 1 when the answer is whole, 0 when more follows. */
static int add_part(const struct pen_msg_data *part, void **buffer, uint64_t *filled)
{
    if (part->status)
        return part->status < 0 ? part->status : -PEN_EPROTO;
    if (part->total > PEN_LIMIT_PROGRAM)
        return -PEN_ELIMIT;
    if (!*buffer) {
        *buffer = malloc(part->total + 1);
        if (!*buffer)
            return -PEN_ENOMEM;
    }
    if (part->offset != *filled || part->part.size > part->total - part->offset)
        return -PEN_EPROTO;
    if (part->part.size)
        memcpy((char *)*buffer + *filled, part->part.data, part->part.size);
    *filled += part->part.size;
    if (!part->part.size && *filled < part->total)
        return -PEN_EPROTO; /* would never end */
    return *filled == part->total;
}

int pen_session_answer_data(struct pen_session *session, uint64_t sequence, void **out_data, size_t *out_size)
{
    void *buffer = NULL;
    uint64_t filled = 0, total = 0;
    int rc = 0;
    while (!rc) {
        struct pen_scratch scratch = {0};
        struct pen_msg_data part;
        uint16_t opcode;
        void *frame;
        size_t size;
        rc = pen_session_answer(session, sequence, &opcode, &frame, &size);
        if (rc)
            break;
        rc = opcode == PEN_OP_DATA ? pen_msg_data_decode(frame, size, &scratch, &part) : -PEN_EPROTO;
        if (!rc && buffer && part.total != total)
            rc = -PEN_EPROTO;
        if (!rc) {
            total = part.total;
            rc = add_part(&part, &buffer, &filled);
        }
        free(frame);
        pen_scratch_finish(&scratch);
    }
    if (rc < 0 || !buffer) {
        free(buffer);
        return rc;
    }
    ((char *)buffer)[filled] = 0;
    *out_data = buffer;
    *out_size = filled;
    return 0;
}

/* ---- output ------------------------------------------------------------------------------------------ */

int pen_answers_output(struct pen_session *session, uint64_t quiet_ns, void **out_frame, size_t *out_size)
{
    uint64_t deadline = pen_now_ns() + quiet_ns;
    int rc = 0;
    pthread_mutex_lock(&session->answers_lock);
    while (pen_list_empty(&session->output) && !rc) {
        uint64_t received = session->received;
        wait_round(session, false, deadline);
        if (session->received != received)
            deadline = pen_now_ns() + quiet_ns;
        if (!pen_list_empty(&session->output))
            break;
        rc = pen_session_dead(session) ? -PEN_EGONE : pen_now_ns() >= deadline ? -PEN_ETIMEOUT : 0;
    }
    if (!rc)
        *out_frame = take(session, PEN_CONTAINER(session->output.next, struct pen_answer, link), out_size);
    pthread_mutex_unlock(&session->answers_lock);
    return rc;
}

static void drop(struct pen_session *session, struct pen_list *list)
{
    PEN_LIST_EACH(node, next, list)
    {
        size_t size;
        free(take(session, PEN_CONTAINER(node, struct pen_answer, link), &size));
    }
}

void pen_answers_shed(struct pen_session *session)
{
    pthread_mutex_lock(&session->answers_lock);
    drop(session, &session->answers);
    drop(session, &session->output);
    pthread_mutex_unlock(&session->answers_lock);
}

void pen_answers_finish(struct pen_session *session)
{
    drop(session, &session->answers);
    drop(session, &session->output);
    pen_frame_reader_finish(&session->reader);
}
