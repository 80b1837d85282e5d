#include "wire/futex.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool pen_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns, bool shared)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                               .tv_nsec = (long)(timeout_ns % 1000000000u)};
    int operation = FUTEX_WAIT | (shared ? 0 : FUTEX_PRIVATE_FLAG);
    long rc = syscall(SYS_futex, word, operation, expected, timeout_ns == UINT64_MAX ? NULL : &timeout, NULL, 0);
    return !(rc < 0 && errno == ETIMEDOUT);
}

void pen_futex_wake(_Atomic uint32_t *word, uint32_t count, bool shared)
{
    int operation = FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG);
    syscall(SYS_futex, word, operation, count > INT_MAX ? INT_MAX : (int)count, NULL, NULL, 0);
}

uint64_t pen_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#define IN_VAIN_MAX 32u
#define IN_VAIN     16u     /* from here on spinning is left out ... */
#define PROBE       16u     /* ... but for one wait in so many, to notice when it pays again */
#define LATE_NS     100000u /* more than any turn takes: others were at work in between */

bool pen_spin_pays(struct pen_spinner *spinner)
{
    uint32_t wait = atomic_fetch_add_explicit(&spinner->waits, 1, memory_order_relaxed);
    return atomic_load_explicit(&spinner->in_vain, memory_order_relaxed) < IN_VAIN || wait % PROBE == 0;
}

void pen_spin_learn(struct pen_spinner *spinner, bool in_time, uint64_t late_ns)
{
    uint32_t in_vain = atomic_load_explicit(&spinner->in_vain, memory_order_relaxed);
    if (late_ns > LATE_NS)
        in_vain = IN_VAIN_MAX;
    else if (in_time)
        in_vain = in_vain > 8 ? in_vain - 8 : 0;
    else if (in_vain < IN_VAIN_MAX)
        in_vain++;
    atomic_store_explicit(&spinner->in_vain, in_vain, memory_order_relaxed);
}

void pen_spin_turn(uint32_t turn)
{
    if ((turn & 3) == 3) {
        sched_yield();
        return;
    }
    for (int i = 0; i < 8; i++) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#else
        atomic_signal_fence(memory_order_seq_cst);
#endif
    }
}
