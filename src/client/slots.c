/* Completion slots of events, and queues' counters: who has which. */
#include <stdlib.h>

#include "client/internal.h"

#define FIRST_CAPACITY 256u
#define LOOKS          2u /* at slots kept aside, for each acquire: what comes in at most one a release goes out */

void pen_slot_pool_finish(struct pen_slot_pool *pool)
{
    free(pool->free);
    free(pool->aside);
    *pool = (struct pen_slot_pool){0};
}

static int grow(struct pen_slot_pool *pool)
{
    uint32_t capacity = pool->capacity ? pool->capacity * 2 : FIRST_CAPACITY;
    uint32_t *bigger = realloc(pool->free, capacity * sizeof *bigger);
    if (!bigger) {
        return -PEN_ENOMEM;
    }
    pool->free = bigger;
    bigger = realloc(pool->aside, capacity * sizeof *bigger);
    if (!bigger) {
        return -PEN_ENOMEM;
    }
    pool->aside = bigger;
    pool->capacity = capacity;
    return 0;
}

static bool is_complete(struct pen_session *session, uint32_t slot)
{
    /* Acquire: whoever gets the slot next comes after everything that the worker did with it. */
    return atomic_load_explicit(&session->view.slots[slot].state, memory_order_acquire) <= PEN_STATE_COMPLETE;
}

/* Looks at up to `looks` slots kept aside, going round; those complete by now become free. */
static void reap(struct pen_session *session, struct pen_slot_pool *pool, uint32_t looks)
{
    for (; looks && pool->aside_count; looks--) {
        if (pool->cursor >= pool->aside_count) {
            pool->cursor = 0;
        }
        uint32_t slot = pool->aside[pool->cursor];
        if (is_complete(session, slot)) {
            pool->aside[pool->cursor] = pool->aside[--pool->aside_count];
            pool->free[pool->free_count++] = slot;
        } else {
            pool->cursor++;
        }
    }
}

static int take(struct pen_slot_pool *pool, uint32_t *out_slot)
{
    if (pool->free_count) {
        *out_slot = pool->free[--pool->free_count];
        return 0;
    }
    if (pool->next >= pool->limit) {
        return -PEN_ELIMIT;
    }
    if (pool->next >= pool->capacity) {
        int rc = grow(pool);
        if (rc) {
            return rc;
        }
    }
    *out_slot = pool->next++;
    return 0;
}

int pen_slot_acquire(struct pen_session *session, uint32_t *out_slot)
{
    struct pen_slot_pool *pool = &session->slots;
    if (pen_session_dead(session)) {
        return -PEN_EGONE;
    }
    uint32_t slot = 0;
    pen_lock_take(&pool->lock);
    reap(session, pool, LOOKS);
    int rc = take(pool, &slot);
    if (rc == -PEN_ELIMIT) {
        reap(session, pool, pool->aside_count);
        rc = take(pool, &slot);
    }
    pen_lock_drop(&pool->lock);
    if (rc) {
        return rc;
    }
    /* Relaxed: the worker learns of the slot by a frame, which is published with release. */
    atomic_store_explicit(&session->view.slots[slot].state, PEN_STATE_QUEUED, memory_order_relaxed);
    *out_slot = slot;
    return 0;
}

void pen_slot_release(struct pen_session *session, uint32_t slot)
{
    struct pen_slot_pool *pool = &session->slots;
    if (!slot || (pen_session_dead(session) & PEN_DEAD_FORKED)) {
        return;
    }
    pen_lock_take(&pool->lock);
    if (is_complete(session, slot)) {
        pool->free[pool->free_count++] = slot;
    } else {
        pool->aside[pool->aside_count++] = slot;
    }
    pen_lock_drop(&pool->lock);
}

void pen_slot_cancel(struct pen_session *session, uint32_t slot)
{
    if (slot && !(pen_session_dead(session) & PEN_DEAD_FORKED)) {
        /* Relaxed: nobody else knows of it. */
        atomic_store_explicit(&session->view.slots[slot].state, PEN_STATE_COMPLETE, memory_order_relaxed);
        pen_slot_release(session, slot);
    }
}

int32_t pen_slot_state(struct pen_session *session, uint32_t slot)
{
    uint32_t dead = pen_session_dead(session);
    if (!slot) {
        return PEN_STATE_COMPLETE;
    }
    if (dead & PEN_DEAD_FORKED) {
        return -PEN_EGONE;
    }
    /* Acquire: pairs with the worker's release in pen_publish_event. */
    int32_t state = atomic_load_explicit(&session->view.slots[slot].state, memory_order_acquire);
    if (state <= PEN_STATE_COMPLETE) {
        return state;
    }
    if (dead) {
        return -PEN_EGONE;
    }
    pen_answers_poll_now_and_then(session); /* a program that only polls must learn of a dead worker too */
    return state & ~PEN_SLOT_WAITED;
}

struct pen_event_times pen_slot_times(struct pen_session *session, uint32_t slot)
{
    if (!slot || (pen_session_dead(session) & PEN_DEAD_FORKED)) {
        return (struct pen_event_times){0};
    }
    return session->view.times[slot];
}

/* A counter is not reset: sequence numbers only grow, so that what an earlier queue left is never too high. */
int pen_queue_slot_acquire(struct pen_session *session, uint32_t *out_slot)
{
    struct pen_slot_pool *pool = &session->queue_slots;
    if (pen_session_dead(session)) {
        return -PEN_EGONE;
    }
    pen_lock_take(&pool->lock);
    int rc = take(pool, out_slot);
    pen_lock_drop(&pool->lock);
    return rc;
}

void pen_queue_slot_release(struct pen_session *session, uint32_t slot)
{
    struct pen_slot_pool *pool = &session->queue_slots;
    if (pen_session_dead(session) & PEN_DEAD_FORKED) {
        return;
    }
    pen_lock_take(&pool->lock);
    pool->free[pool->free_count++] = slot;
    pen_lock_drop(&pool->lock);
}

uint64_t pen_queue_completed(struct pen_session *session, uint32_t queue_slot)
{
    if (pen_session_dead(session) & PEN_DEAD_FORKED) {
        return 0;
    }
    /* Acquire: pairs with the worker's release in pen_publish_queue. */
    return atomic_load_explicit(&session->view.queues[queue_slot].completed, memory_order_acquire);
}
