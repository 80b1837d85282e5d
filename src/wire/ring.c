/* The two ends of the command ring. */
#include "wire/ring.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* ---- the reading end -------------------------------------------------------------------------------- */

int pen_ring_reader_init(struct pen_ring_reader *reader, struct pen_shared_view *view)
{
    unsigned char *frame = aligned_alloc(64, PEN_LIMIT_FRAME);
    if (!frame)
        return -PEN_ENOMEM;
    memset(reader, 0, sizeof *reader);
    reader->view = view;
    reader->frame = frame;
    return 0;
}

void pen_ring_reader_finish(struct pen_ring_reader *reader)
{
    free(reader->frame);
    reader->frame = NULL;
}

/* Looks at head again when all that was seen is consumed; true when there is something to read. */
static bool look(struct pen_ring_reader *reader)
{
    if (reader->broken || reader->head != reader->tail)
        return true;
    /* Acquire: pairs with the writer's release in pen_ring_publish. */
    uint64_t head = atomic_load_explicit(&reader->view->shared->head, memory_order_acquire);
    if (head == reader->tail)
        return false;
    if (head - reader->tail > reader->view->ring_bytes || head % 8)
        reader->broken = -PEN_EPROTO; /* also a head that went back: the difference wraps */
    else
        reader->head = head;
    return true;
}

bool pen_ring_ready(struct pen_ring_reader *reader)
{
    return look(reader);
}

void pen_ring_give_room(struct pen_ring_reader *reader)
{
    struct pen_shared *shared = reader->view->shared;
    if (reader->published == reader->tail)
        return;
    reader->published = reader->tail;
    /* Release: pairs with the acquire of tail in pen_ring_reserve. Then Dekker with pen_ring_wait_room: tail; fence;
     * room_waiters here, room_waiters; fence; tail there. */
    atomic_store_explicit(&shared->tail, reader->tail, memory_order_release);
    pen_fence();
    if (atomic_load_explicit(&shared->room_waiters, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&shared->tail_epoch, 1, memory_order_release);
        pen_futex_wake(&shared->tail_epoch, INT_MAX, true);
    }
}

int pen_ring_next(struct pen_ring_reader *reader, const void **out_frame, size_t *out_size)
{
    if (reader->tail - reader->published >= reader->view->ring_bytes / 8)
        pen_ring_give_room(reader);
    if (!look(reader)) {
        pen_ring_give_room(reader);
        return 0;
    }
    if (reader->broken)
        return reader->broken;
    uint64_t available = reader->head - reader->tail;
    const unsigned char *at = reader->view->ring + (reader->tail & (reader->view->ring_bytes - 1));
    const size_t header = sizeof(struct pen_frame_header);
    size_t size = 0;
    /* The header is read once, into private memory: what is checked is what is used. */
    if (available >= header) {
        memcpy(reader->frame, at, header);
        if (pen_frame_check_header(reader->frame, header, &size))
            size = 0;
    }
    if (size < header || size > available || size > PEN_LIMIT_FRAME || size % 8)
        return reader->broken = -PEN_EPROTO;
    memcpy(reader->frame + header, at + header, size - header);
    reader->tail += size;
    *out_frame = reader->frame;
    *out_size = size;
    return 1;
}

/* What there is now, as bits of enum pen_ring_wait_result; takes the kick. */
static unsigned pending(struct pen_ring_reader *reader)
{
    unsigned result = look(reader) ? PEN_RING_FRAMES : 0;
    if (atomic_load_explicit(&reader->kicked, memory_order_relaxed) &&
        /* Acquire: pairs with the release in pen_ring_kick; we see what the kicker has done. */
        atomic_exchange_explicit(&reader->kicked, 0, memory_order_acq_rel))
        result |= PEN_RING_KICKED;
    return result;
}

/* Sleeps on the doorbell until `deadline`, unless something is pending. */
static unsigned sleep_once(struct pen_ring_reader *reader, uint64_t now, uint64_t deadline)
{
    struct pen_shared *shared = reader->view->shared;
    uint32_t seen = atomic_load_explicit(&shared->doorbell, memory_order_relaxed);
    /* Dekker, twice: asleep; fence; head against head; fence; asleep in the client (pen_ring_doorbell), and
     * sleeping; fence; kicked against kicked; fence; sleeping in pen_ring_kick. The client can spoil `asleep`, which
     * delays its own commands only; `sleeping` it cannot reach. */
    atomic_store_explicit(&reader->sleeping, 1, memory_order_relaxed);
    atomic_store_explicit(&shared->asleep, 1, memory_order_relaxed);
    pen_fence();
    unsigned result = pending(reader);
    if (!result)
        pen_futex_wait(&shared->doorbell, seen, deadline == UINT64_MAX ? UINT64_MAX : deadline - now, true);
    atomic_store_explicit(&shared->asleep, 0, memory_order_relaxed);
    atomic_store_explicit(&reader->sleeping, 0, memory_order_relaxed);
    return result ? result : pending(reader);
}

unsigned pen_ring_wait(struct pen_ring_reader *reader, uint64_t spin_budget_ns, uint64_t timeout_ns)
{
    pen_ring_give_room(reader);
    unsigned result = pending(reader);
    if (result)
        return result;
    uint64_t now = pen_now_ns();
    uint64_t deadline = timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
    if (spin_budget_ns && pen_spin_pays(&reader->spinner)) {
        uint64_t spin_end = now + spin_budget_ns < deadline ? now + spin_budget_ns : deadline;
        for (uint32_t turn = 0; !result && now < spin_end; turn++, now = pen_now_ns()) {
            pen_spin_turn(turn);
            result = pending(reader);
        }
        pen_spin_learn(&reader->spinner, result, now > spin_end ? now - spin_end : 0);
    }
    while (!result && now < deadline) {
        result = sleep_once(reader, now, deadline);
        now = pen_now_ns();
    }
    return result;
}

void pen_ring_wait_shared(struct pen_shared_view *view, const _Atomic bool *stop)
{
    struct pen_shared *shared = view->shared;
    for (;;) {
        uint32_t seen = atomic_load_explicit(&shared->doorbell, memory_order_relaxed);
        /* Dekker, as in sleep_once: asleep; fence; head. */
        atomic_store_explicit(&shared->asleep, 1, memory_order_relaxed);
        pen_fence();
        if (atomic_load_explicit(&shared->head, memory_order_relaxed) !=
                atomic_load_explicit(&shared->tail, memory_order_relaxed) ||
            atomic_load(stop))
            break;
        pen_futex_wait(&shared->doorbell, seen, UINT64_MAX, true);
    }
    atomic_store_explicit(&shared->asleep, 0, memory_order_relaxed);
}

void pen_ring_kick(struct pen_ring_reader *reader)
{
    /* acq_rel: releases what the kicker did to pending(). One that finds it set leaves the waking to who set it. */
    if (atomic_exchange_explicit(&reader->kicked, 1, memory_order_acq_rel))
        return;
    pen_fence();
    if (atomic_load_explicit(&reader->sleeping, memory_order_relaxed)) {
        struct pen_shared *shared = reader->view->shared;
        atomic_fetch_add_explicit(&shared->doorbell, 1, memory_order_release);
        pen_futex_wake(&shared->doorbell, 1, true);
    }
}

/* ---- the writing end --------------------------------------------------------------------------------- */

void pen_ring_writer_init(struct pen_ring_writer *writer, struct pen_shared_view *view)
{
    *writer = (struct pen_ring_writer){.view = view};
    writer->head = atomic_load_explicit(&view->shared->head, memory_order_relaxed);
    writer->tail_seen = atomic_load_explicit(&view->shared->tail, memory_order_acquire);
}

void pen_ring_doorbell_wake(struct pen_shared_view *view)
{
    /* Who takes `asleep` away wakes; the others of a burst need not. */
    if (atomic_exchange_explicit(&view->shared->asleep, 0, memory_order_relaxed)) {
        atomic_fetch_add_explicit(&view->shared->doorbell, 1, memory_order_release);
        pen_futex_wake(&view->shared->doorbell, 1, true);
    }
}

bool pen_ring_wait_room(struct pen_ring_writer *writer, size_t size, uint64_t spin_budget_ns, uint64_t timeout_ns)
{
    struct pen_shared *shared = writer->view->shared;
    pen_fence();
    pen_ring_doorbell(writer->view);
    uint64_t now = pen_now_ns();
    uint64_t deadline = timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
    bool room = pen_ring_reserve(writer, size);
    if (!room && spin_budget_ns && pen_spin_pays(&writer->spinner)) {
        uint64_t spin_end = now + spin_budget_ns < deadline ? now + spin_budget_ns : deadline;
        for (uint32_t turn = 0; !room && now < spin_end; turn++, now = pen_now_ns()) {
            pen_spin_turn(turn);
            room = pen_ring_reserve(writer, size);
        }
        pen_spin_learn(&writer->spinner, room, now > spin_end ? now - spin_end : 0);
    }
    while (!room && now < deadline) {
        /* Dekker with pen_ring_give_room, see there. The reader bumps tail_epoch after it has seen us. */
        atomic_fetch_add_explicit(&shared->room_waiters, 1, memory_order_relaxed);
        uint32_t seen = atomic_load_explicit(&shared->tail_epoch, memory_order_acquire);
        pen_fence();
        room = pen_ring_reserve(writer, size);
        if (!room)
            pen_futex_wait(&shared->tail_epoch, seen, deadline == UINT64_MAX ? UINT64_MAX : deadline - now, true);
        atomic_fetch_sub_explicit(&shared->room_waiters, 1, memory_order_relaxed);
        room = room || pen_ring_reserve(writer, size);
        now = pen_now_ns();
    }
    return room;
}
