/* See pump.h. */
#include "net/pump.h"

#include <limits.h>

#include "base/error.h"
#include "wire/futex.h"

/* Who finds a helper at it looks again so much later, a few times; then it sleeps until it is told. So a program that
 * waits again and again need not tell anybody, and one that waits for long wakes nobody. */
#define ASIDE_NS    1000000u
#define ASIDE_TIMES 4u

enum { FREE, HELD, AWAITED /* held, and somebody sleeps until it is given */ };

void pen_pump_init(struct pen_pump *pump, struct pen_link *link)
{
    *pump = (struct pen_pump){.link = link};
}

static bool take(struct pen_pump *pump)
{
    uint32_t expected = FREE;
    /* Acquire: pairs with the release in pen_pump_give; the link is as it was left. */
    return atomic_compare_exchange_strong_explicit(&pump->role, &expected, HELD, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* The own thread has something to do. */
static bool is_called(struct pen_pump *pump)
{
    return atomic_load(&pump->roused) || atomic_load_explicit(&pump->wanted, memory_order_relaxed);
}

bool pen_pump_take(struct pen_pump *pump)
{
    return !is_called(pump) && !atomic_load_explicit(&pump->failed, memory_order_relaxed) && take(pump);
}

bool pen_pump_turn(struct pen_pump *pump)
{
    int rc = pen_link_turn(pump->link);
    if (rc)
        atomic_store_explicit(&pump->failed, rc, memory_order_relaxed);
    return !rc && !is_called(pump);
}

void pen_pump_give(struct pen_pump *pump, bool others)
{
    bool failed = atomic_load_explicit(&pump->failed, memory_order_relaxed);
    if (atomic_exchange_explicit(&pump->role, FREE, memory_order_release) == AWAITED || others || failed)
        pen_futex_wake(&pump->role, INT_MAX, false);
    if (failed || atomic_load(&pump->roused)) /* a helper's turn may have taken its kick */
        pen_link_kick(pump->link);
}

/* A helper has it. */
static void step_aside(struct pen_pump *pump, uint64_t timeout_ns)
{
    uint32_t held = HELD;
    if (++pump->in_vain <= ASIDE_TIMES) {
        pen_futex_wait(&pump->role, HELD, timeout_ns < ASIDE_NS ? timeout_ns : ASIDE_NS, false);
        return;
    }
    pump->in_vain = 0;
    /* seq_cst: Dekker with pen_pump_rouse: AWAITED, roused here, roused, AWAITED there. */
    if (atomic_compare_exchange_strong(&pump->role, &held, AWAITED) && !atomic_load(&pump->roused))
        pen_futex_wait(&pump->role, AWAITED, timeout_ns, false);
}

void pen_pump_rouse(struct pen_pump *pump)
{
    uint32_t awaited = AWAITED;
    atomic_store(&pump->roused, true);
    (void)atomic_compare_exchange_strong(&pump->role, &awaited, HELD);
    pen_futex_wake(&pump->role, INT_MAX, false);
    pen_link_kick(pump->link);
}

int pen_pump_run(struct pen_pump *pump, uint64_t timeout_ns)
{
    if (atomic_exchange(&pump->roused, false))
        return 0;
    if (!atomic_load_explicit(&pump->failed, memory_order_relaxed))
        pen_link_wait(pump->link, timeout_ns);
    if (!take(pump)) {
        step_aside(pump, timeout_ns);
        return 0;
    }
    pump->in_vain = 0;
    int rc = atomic_exchange_explicit(&pump->failed, 0, memory_order_relaxed);
    if (!rc)
        rc = pen_link_turn(pump->link);
    if (!rc)
        pen_pump_give(pump, false);
    return rc;
}

int pen_pump_demand(struct pen_pump *pump)
{
    int gone = -PEN_EGONE;
    atomic_store_explicit(&pump->wanted, true, memory_order_relaxed);
    while (!take(pump)) {
        pen_link_kick(pump->link);
        pen_futex_wait(&pump->role, HELD, ASIDE_NS, false);
    }
    atomic_store_explicit(&pump->wanted, false, memory_order_relaxed);
    return atomic_compare_exchange_strong(&pump->failed, &gone, 0) ? -PEN_EGONE : 0;
}
