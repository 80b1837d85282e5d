/* wire/futex.h - the three futex calls that the shared page and the client's locks need, and the spinning between.
 * Ownership: none. Threads: any. Errors: none are reported; every caller loops and looks again. */
#ifndef PEN_WIRE_FUTEX_H
#define PEN_WIRE_FUTEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Sleeps while *word is `expected`, at most timeout_ns (UINT64_MAX: no limit). `shared`: the word is in memory that
 * other processes map. Returns false when it timed out; true for a wake, a changed word or a signal. */
bool pen_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns, bool shared);
void pen_futex_wake(_Atomic uint32_t *word, uint32_t count, bool shared);

/* CLOCK_MONOTONIC. */
uint64_t pen_now_ns(void);

/* One turn of a spin that lets others run: pauses, or sched_yield() on every 4th. `turn` counts from 0. Spinning
 * without yielding can starve the very thread that is waited for (docs: field notes, hand-offs). */
void pen_spin_turn(uint32_t turn);

/* Whether spinning pays, learned from the waits before: not where most of them outlast it, and least where others want
 * the CPU, so that a yield comes back late (a wake-up by the kernel is in time). Zero-initialize. Any thread, without
 * locks: updates that race lose a count, which does not matter. */
struct pen_spinner {
    _Atomic uint32_t waits;
    _Atomic uint32_t in_vain;
};
bool pen_spin_pays(struct pen_spinner *spinner);
/* After a wait that did spin: did it end in time, and how long after the budget's end did the spin come back? */
void pen_spin_learn(struct pen_spinner *spinner, bool in_time, uint64_t late_ns);

/* Orders a store before a later load of another location (Dekker); pairs with the peer's own, or with its seq_cst
 * read-modify-write. Adds no happens-before of its own, so that ThreadSanitizer needs not know it. */
static inline void pen_fence(void)
{
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
    atomic_thread_fence(memory_order_seq_cst);
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

#endif
