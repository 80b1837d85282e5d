/* Completion slots of events, and queues' counters: who has which. */
#include <stdlib.h>

#include "client/internal.h"

#define FIRST_CAPACITY 256u
#define LOOKS          2u /* at slots kept aside, for each acquire: what comes in at most one a release goes out */

/* How long a new queue waits for the next of those kept aside when all PEN_LIMIT_QUEUES slots are taken. */
#define QUEUE_SLOT_WAIT_NS 10000000000u
#define QUEUE_SLOT_LOOK_MS 100u
/* And when none is kept aside: queues that the program has released are held a moment longer by what still runs of
 * them. */
#define QUEUE_SLOT_HELD_NS 1000000000u

void pen_slot_pool_finish(struct pen_slot_pool *pool)
{
    free(pool->free);
    free(pool->aside);
    free(pool->owners);
    *pool = (struct pen_slot_pool){0};
}

static int grow(struct pen_slot_pool *pool)
{
    uint32_t capacity = pool->capacity ? pool->capacity * 2 : FIRST_CAPACITY;
    uint32_t *bigger = realloc(pool->free, capacity * sizeof *bigger);
    if (!bigger)
        return -PEN_ENOMEM;
    pool->free = bigger;
    bigger = realloc(pool->aside, capacity * sizeof *bigger);
    if (!bigger)
        return -PEN_ENOMEM;
    pool->aside = bigger;
    void **owners = realloc(pool->owners, capacity * sizeof *owners);
    if (!owners)
        return -PEN_ENOMEM;
    pool->owners = owners;
    pool->capacity = capacity;
    return 0;
}

static void note_few(struct pen_slot_pool *pool)
{
    bool few = pool->limit - pool->next + pool->free_count < PEN_SLOTS_FEW;
    if (few != atomic_load_explicit(&pool->few, memory_order_relaxed))
        atomic_store_explicit(&pool->few, few, memory_order_relaxed);
}

/* The worker is done with a slot of the pool. Acquire: whoever gets it next comes after everything that the worker did
 * with it. */
static bool is_complete(struct pen_session *session, const struct pen_slot_pool *pool, uint32_t slot)
{
    if (pool == &session->queue_slots) {
        return atomic_load_explicit(&session->view.queues[slot].completed, memory_order_acquire) >=
               session->queue_last[slot];
    }
    return atomic_load_explicit(&session->view.slots[slot].state, memory_order_acquire) <= PEN_STATE_COMPLETE;
}

/* Looks at up to `looks` slots kept aside, going round; those complete by now become free. */
static void reap(struct pen_session *session, struct pen_slot_pool *pool, uint32_t looks)
{
    for (; looks && pool->aside_count; looks--) {
        if (pool->cursor >= pool->aside_count)
            pool->cursor = 0;
        uint32_t slot = pool->aside[pool->cursor];
        if (is_complete(session, pool, slot)) {
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
    if (pool->next >= pool->limit)
        return -PEN_ELIMIT;
    if (pool->next >= pool->capacity) {
        int rc = grow(pool);
        if (rc)
            return rc;
    }
    *out_slot = pool->next++;
    return 0;
}

/* *out_aside, may be NULL: how many are kept aside still. */
static int acquire(struct pen_session *session, struct pen_slot_pool *pool, void *owner, uint32_t *out_slot,
                   uint32_t *out_aside)
{
    pen_lock_take(&pool->lock);
    reap(session, pool, LOOKS);
    int rc = take(pool, out_slot);
    if (rc == -PEN_ELIMIT) {
        reap(session, pool, pool->aside_count);
        rc = take(pool, out_slot);
    }
    if (!rc)
        pool->owners[*out_slot] = owner;
    if (!rc && pool == &session->slots) {
        /* The worker learns of the slot by a frame, which is published with release. Release: for who looked at the
         * slot on behalf of the owner before, and then looks whether he still has it. */
        atomic_store_explicit(&session->view.slots[*out_slot].state, PEN_STATE_QUEUED, memory_order_release);
    }
    if (out_aside)
        *out_aside = pool->aside_count;
    note_few(pool);
    pen_lock_drop(&pool->lock);
    return rc;
}

static void release(struct pen_session *session, struct pen_slot_pool *pool, uint32_t slot)
{
    pool->owners[slot] = NULL;
    if (is_complete(session, pool, slot))
        pool->free[pool->free_count++] = slot;
    else
        pool->aside[pool->aside_count++] = slot;
    note_few(pool);
}

int pen_slot_acquire(struct pen_session *session, void *owner, uint32_t *out_slot)
{
    return pen_session_dead(session) ? -PEN_EGONE : acquire(session, &session->slots, owner, out_slot, NULL);
}

bool pen_slots_few(struct pen_session *session)
{
    return atomic_load_explicit(&session->slots.few, memory_order_relaxed);
}

uint32_t pen_slots_complete(struct pen_session *session, uint32_t looks, bool (*hold)(void *owner), void **out_owners,
                            uint32_t room)
{
    struct pen_slot_pool *pool = &session->slots;
    uint32_t count = 0;
    if (pen_session_dead(session))
        return 0;
    pen_lock_take(&pool->lock);
    for (; looks && count < room && pool->next > 1; looks--) {
        uint32_t slot = pool->owned_cursor = pool->owned_cursor + 1 < pool->next ? pool->owned_cursor + 1 : 1;
        void *owner = pool->owners[slot];
        if (owner && is_complete(session, pool, slot) && hold(owner))
            out_owners[count++] = owner;
    }
    pen_lock_drop(&pool->lock);
    return count;
}

void pen_slot_release(struct pen_session *session, uint32_t slot)
{
    struct pen_slot_pool *pool = &session->slots;
    if (!slot || (pen_session_dead(session) & PEN_DEAD_FORKED))
        return;
    pen_lock_take(&pool->lock);
    release(session, pool, slot);
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
    if (!slot)
        return PEN_STATE_COMPLETE;
    if (dead & PEN_DEAD_FORKED)
        return -PEN_EGONE;
    /* Acquire: pairs with the worker's release in pen_publish_event. */
    int32_t state = atomic_load_explicit(&session->view.slots[slot].state, memory_order_acquire);
    if (state <= PEN_STATE_COMPLETE)
        return state;
    if (dead)
        return -PEN_EGONE;
    pen_answers_poll_now_and_then(session); /* a program that only polls must learn of a dead worker too */
    return state & ~PEN_SLOT_WAITED;
}

struct pen_event_times pen_slot_times(struct pen_session *session, uint32_t slot)
{
    if (!slot || (pen_session_dead(session) & PEN_DEAD_FORKED))
        return (struct pen_event_times){0};
    return session->view.times[slot];
}

/* A counter is not reset: sequence numbers only grow, so that what an earlier queue left is never too high. Each change
 * of what is kept aside (another thread may take what becomes free) is hope for the next; so is a connection that is to
 * come back, which brings news of many. */
int pen_queue_slot_acquire(struct pen_session *session, uint32_t *out_slot)
{
    uint32_t before = UINT32_MAX, aside = 0;
    uint64_t deadline = 0;
    for (;;) {
        uint32_t epoch = pen_epoch(session);
        if (pen_session_dead(session))
            return -PEN_EGONE;
        int rc = acquire(session, &session->queue_slots, NULL, out_slot, &aside);
        if (rc != -PEN_ELIMIT)
            return rc;
        uint64_t now = pen_now_ns();
        if (aside != before || (session->remote && !pen_remote_end_is_connected(session->remote)))
            deadline = now + (aside ? QUEUE_SLOT_WAIT_NS : QUEUE_SLOT_HELD_NS);
        before = aside;
        if (now > deadline)
            return rc;
        (void)pen_wait_epoch(session, epoch, QUEUE_SLOT_LOOK_MS);
    }
}

void pen_queue_slot_release(struct pen_session *session, uint32_t slot, uint64_t last)
{
    struct pen_slot_pool *pool = &session->queue_slots;
    if (pen_session_dead(session) & PEN_DEAD_FORKED)
        return;
    pen_lock_take(&pool->lock);
    session->queue_last[slot] = last;
    release(session, pool, slot);
    pen_lock_drop(&pool->lock);
}

uint64_t pen_queue_completed(struct pen_session *session, uint32_t queue_slot)
{
    if (pen_session_dead(session) & PEN_DEAD_FORKED)
        return 0;
    /* Acquire: pairs with the worker's release in pen_publish_queue. */
    return atomic_load_explicit(&session->view.queues[queue_slot].completed, memory_order_acquire);
}
