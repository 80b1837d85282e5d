/* Waiting for completions: a short spin, then asleep on the shared page's epoch. */
#include <errno.h>

#include "client/internal.h"

/* What is waited for: a slot, or a queue's counter. */
struct target {
    uint32_t slot;
    bool queue;
    uint64_t sequence;
};

/* 1: complete, 0: not yet, negative: the slot's error. */
static int look(struct pen_session *session, const struct target *target)
{
    if (target->queue)
        return pen_queue_completed(session, target->slot) >= target->sequence;
    /* Acquire: pairs with the worker's release in pen_publish_event. */
    int32_t state = atomic_load_explicit(&session->view.slots[target->slot].state, memory_order_acquire);
    return state == PEN_STATE_COMPLETE ? 1 : state < 0 ? state : 0;
}

static bool output_waits(struct pen_session *session)
{
    return atomic_load_explicit(&session->view.shared->output_frames, memory_order_relaxed) >
           atomic_load_explicit(&session->output_written, memory_order_relaxed);
}

/* ---- spinning ---------------------------------------------------------------------------------------- */

static int spin(struct pen_session *session, const struct target *target)
{
    uint64_t now = pen_now_ns(), end = now + session->spin_ns;
    int rc = 0;
    for (uint32_t turn = 0; !rc && now < end; turn++) {
        pen_spin_turn(turn);
        rc = look(session, target);
        now = pen_now_ns();
    }
    pen_spin_learn(&session->spinner, rc != 0, now > end ? now - end : 0);
    return rc;
}

/* ---- sleeping ---------------------------------------------------------------------------------------- */

/* Sleeps until epoch is not `seen`, at most timeout_ns. The caller has counted itself in `waiters` before it read
 * `seen`. helps: it may turn the link of a session on another host meanwhile. */
static void sleep_on_epoch(struct pen_session *session, uint32_t seen, uint64_t timeout_ns, bool helps)
{
    uint64_t limit = timeout_ns < PEN_PEER_CHECK_NS ? timeout_ns : PEN_PEER_CHECK_NS;
    int saved = errno;
    struct pen_shared *shared = session->view.shared;
    bool remote = helps && session->remote;
    if (!remote || !pen_remote_end_help(session->remote, &shared->epoch, seen, &shared->waiters, limit)) {
        if (remote)
            pen_ring_doorbell(&session->view); /* the command may have been sent quietly */
        if (remote && pen_remote_end_is_full(session->remote))
            pen_answers_poll(session);
        pen_futex_wait(&shared->epoch, seen, limit, true);
    }
    errno = saved;
    if (remote && pen_remote_end_is_full(session->remote)) /* what is waited for comes behind what is to be read */
        pen_answers_poll(session);
    else
        pen_answers_poll_now_and_then(session);
}

/* Asks to be woken when the target is reached (see wire/shared.h). It lasts until everybody is woken once. */
static void ask(struct pen_session *session, const struct target *target)
{
    if (!target->queue) {
        _Atomic int32_t *state = &session->view.slots[target->slot].state;
        int32_t old = atomic_load_explicit(state, memory_order_relaxed);
        while (old > PEN_STATE_COMPLETE &&
               !atomic_compare_exchange_weak_explicit(state, &old, old | PEN_SLOT_WAITED, memory_order_seq_cst,
                                                      memory_order_relaxed)) {
        }
        return;
    }
    _Atomic uint64_t *wanted = &session->view.queues[target->slot].wanted;
    uint64_t old = atomic_load_explicit(wanted, memory_order_relaxed);
    while ((!old || old > target->sequence) &&
           !atomic_compare_exchange_weak_explicit(wanted, &old, target->sequence, memory_order_seq_cst,
                                                  memory_order_relaxed)) {
    }
    pen_fence(); /* Dekker with pen_publish_queue, see there */
}

static int sleep_until(struct pen_session *session, const struct target *target)
{
    struct pen_shared *shared = session->view.shared;
    int rc = 0;
    /* seq_cst with epoch, as in pen_publish_output: it sees us, or we see its frame. */
    atomic_fetch_add_explicit(&shared->waiters, 1, memory_order_seq_cst);
    while (!rc) {
        /* In this order: epoch, ask, look. The worker does the reverse, so that either the look finds the target
         * reached, or epoch moves after we have read it and the sleep ends at once. */
        uint32_t seen = atomic_load_explicit(&shared->epoch, memory_order_seq_cst);
        bool dead = pen_session_dead(session) != 0;
        ask(session, target);
        rc = look(session, target); /* after `dead`: what was published before the worker died counts */
        if (rc || dead)
            rc = rc ? rc : -PEN_EGONE;
        else if (output_waits(session))
            pen_session_drain_output(session); /* the worker may be waiting for room in its outbox */
        else
            sleep_on_epoch(session, seen, UINT64_MAX, true);
    }
    atomic_fetch_sub_explicit(&shared->waiters, 1, memory_order_relaxed);
    return rc;
}

static int wait_for(struct pen_session *session, const struct target *target)
{
    if (pen_session_dead(session) & PEN_DEAD_FORKED)
        return -PEN_EGONE;
    int rc = look(session, target);
    if (!rc) {
        rc = !session->remote && pen_spin_pays(&session->spinner) ? spin(session, target) : 0;
        rc = rc ? rc : sleep_until(session, target);
    }
    pen_session_drain_output(session);
    return rc < 0 ? rc : 0;
}

int pen_wait_slot(struct pen_session *session, uint32_t slot)
{
    const struct target target = {.slot = slot};
    return slot ? wait_for(session, &target) : 0;
}

int pen_wait_queue(struct pen_session *session, uint32_t queue_slot, uint64_t sequence)
{
    const struct target target = {.slot = queue_slot, .queue = true, .sequence = sequence};
    return wait_for(session, &target);
}

uint32_t pen_epoch(struct pen_session *session)
{
    if (pen_session_dead(session) & PEN_DEAD_FORKED)
        return 0;
    /* Acquire at least: what was published before this epoch is seen by the caller's looks after it. */
    return atomic_load_explicit(&session->view.shared->epoch, memory_order_seq_cst);
}

int pen_wait_epoch(struct pen_session *session, uint32_t seen_epoch, uint32_t timeout_ms)
{
    if (pen_session_dead(session))
        return -PEN_EGONE;
    struct pen_shared *shared = session->view.shared;
    uint64_t now = pen_now_ns(), deadline = now + timeout_ms * 1000000ull;
    /* seq_cst both, as in pen_publish_wake; a watcher is a waiter too. */
    atomic_fetch_add_explicit(&shared->waiters, 1, memory_order_seq_cst);
    atomic_fetch_add_explicit(&shared->watchers, 1, memory_order_seq_cst);
    while (atomic_load_explicit(&shared->epoch, memory_order_seq_cst) == seen_epoch && now < deadline &&
           !pen_session_dead(session)) {
        sleep_on_epoch(session, seen_epoch, deadline - now, false); /* it waits for long: others come by */
        now = pen_now_ns();
    }
    atomic_fetch_sub_explicit(&shared->watchers, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&shared->waiters, 1, memory_order_relaxed);
    return pen_session_dead(session) ? -PEN_EGONE : 0;
}

void pen_wake_epoch(struct pen_session *session)
{
    if (!(pen_session_dead(session) & PEN_DEAD_FORKED))
        pen_publish_wake(&session->view);
}
