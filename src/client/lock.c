#include "client/lock.h"

#define TURNS 40 /* some microseconds, 10 of them yields */

void pen_lock_wait(struct pen_lock *lock)
{
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        pen_spin_turn(turn);
        if (!atomic_load_explicit(&lock->held, memory_order_relaxed) && pen_lock_try(lock))
            return;
    }
    atomic_fetch_add_explicit(&lock->sleepers, 1, memory_order_relaxed);
    pen_fence();
    while (!pen_lock_try(lock))
        pen_futex_wait(&lock->held, 1, UINT64_MAX, false);
    atomic_fetch_sub_explicit(&lock->sleepers, 1, memory_order_relaxed);
}

void pen_lock_wake(struct pen_lock *lock)
{
    pen_futex_wake(&lock->held, 1, false);
}
