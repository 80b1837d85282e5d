/* net/pump.h - who turns a link. A thread that waits for what comes over it turns it itself, so that nothing is handed
 * from thread to thread; while nobody waits, a thread of the link's own does (leader and followers: Schmidt et al.,
 * "Leader/Followers", PLoP 2000).
 * Threads:   one at a time has the pump, and with it the right to turn, resume and detach the link. The own thread is
 *            the one in pen_pump_run; the others are called helpers.
 * Errors:    0 or -PEN_E*, of pen_link_turn. */
#ifndef PEN_NET_PUMP_H
#define PEN_NET_PUMP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/link.h"

struct pen_pump {
    struct pen_link *link;
    _Atomic uint32_t role; /* futex: enum in pump.c */
    _Atomic bool wanted;   /* the own thread asks for it: helpers keep away */
    _Atomic bool roused;
    _Atomic int failed; /* what a helper's turn came to: for the own thread */
    uint32_t in_vain;   /* the own thread's: how often in a row it found a helper at it */
};

/* Borrows the link. */
void pen_pump_init(struct pen_pump *pump, struct pen_link *link);

/* ---- helpers ----------------------------------------------------------------------------------------- */

/* False: another thread has it, or is about to. */
bool pen_pump_take(struct pen_pump *pump);
/* One turn. False: it is time to give the pump back, since the link has failed or the own thread asks for it. */
bool pen_pump_turn(struct pen_pump *pump);
/* others: more threads wait for what comes, and shall not have to wait until the own thread looks by itself. */
void pen_pump_give(struct pen_pump *pump, bool others);

/* ---- the own thread ---------------------------------------------------------------------------------- */

/* Waits for news, at most timeout_ns, and turns, unless a helper does it. 0; or what the link's turn came to, its own
 * or a helper's: then the caller has the pump. */
int pen_pump_run(struct pen_pump *pump, uint64_t timeout_ns);
/* Makes pen_pump_run return soon. Any thread. */
void pen_pump_rouse(struct pen_pump *pump);
/* Takes the pump from whoever has it. 0; or -PEN_EGONE, what a helper's turn came to, and pen_pump_run does not return
 * any more: the caller may make another connection. */
int pen_pump_demand(struct pen_pump *pump);

#endif
