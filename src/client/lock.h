/* client/lock.h - a lock for sections of some tens of nanoseconds: one compare-exchange to take, one fence to drop;
 * contended, it spins (yielding) for a little and then sleeps. Not recursive, not fair.
 * Threads: any, of one process. Zero-initialize; nothing to destroy. */
#ifndef PEN_CLIENT_LOCK_H
#define PEN_CLIENT_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire/futex.h"

struct pen_lock {
    _Atomic uint32_t held;     /* 0 or 1; futex. Acquire when taken, release when dropped */
    _Atomic uint32_t sleepers; /* Dekker with held: see pen_lock_drop */
};

/* The contended half of pen_lock_take. */
void pen_lock_wait(struct pen_lock *lock);
/* The contended half of pen_lock_drop. */
void pen_lock_wake(struct pen_lock *lock);

static inline bool pen_lock_try(struct pen_lock *lock)
{
    uint32_t expected = 0;
    return atomic_compare_exchange_strong_explicit(&lock->held, &expected, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void pen_lock_take(struct pen_lock *lock)
{
    if (__builtin_expect(!pen_lock_try(lock), 0))
        pen_lock_wait(lock);
}

/* Also a full fence between what the caller stored before and what it loads after (pen_session_commit counts on it).
 * held = 0; fence; sleepers here, sleepers + 1; fence; held in pen_lock_wait: nobody sleeps on a free lock. */
static inline void pen_lock_drop(struct pen_lock *lock)
{
    atomic_store_explicit(&lock->held, 0, memory_order_release);
    pen_fence();
    if (__builtin_expect(atomic_load_explicit(&lock->sleepers, memory_order_relaxed) != 0, 0))
        pen_lock_wake(lock);
}

#endif
