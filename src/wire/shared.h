/* wire/shared.h - what program and worker share in memory: the command ring, completion, output counters.
 * One memfd, created and sealed (no shrink, no grow) by the worker; the arena is a second memfd.
 *
 *   offset 0               struct pen_shared              one writer for each cache line
 *   queues_offset          struct pen_queue_slot[PEN_LIMIT_QUEUES]
 *   slots_offset           struct pen_event_slot[PEN_LIMIT_SLOTS]   slot 0 is never used
 *   times_offset           struct pen_event_times[PEN_LIMIT_SLOTS]  sparse: touched by profiling only
 *   ring_offset            the ring's bytes, ring_bytes (a power of two, page-aligned); each side maps it
 *                          twice in a row, so that a frame never wraps
 *
 * Trust: the worker never reads back what the client could have changed, but for head and the waiter flags;
 * it checks head against the ring's size, and copies a frame out before it looks at it.
 * Atomics: every pair is named at the field. */
#ifndef PEN_WIRE_SHARED_H
#define PEN_WIRE_SHARED_H

#include <stdatomic.h>
#include <stdint.h>

#define PEN_SHARED_MAGIC 0x6b6e6570u /* "penk" */
#define PEN_RING_BYTES   (1u << 20)  /* default of session.ring */

struct pen_queue_slot {
    /* Sequence number up to which every command of an in-order queue is complete.
     * Worker stores (release) after the commands' effects and slots; client loads (acquire). */
    _Alignas(64) _Atomic uint64_t completed;
    /* Lowest sequence number that a client thread sleeps for, or 0. The client lowers it (seq_cst) before it looks at
     * `completed` a last time; the worker, once `completed` has reached it, clears it and wakes all sleepers. */
    _Atomic uint64_t wanted;
};

struct pen_event_slot {
    /* enum pen_state, or -PEN_E*. Worker stores (release) after effects and times; client loads (acquire).
     * The client sets it to queued before it sends the command that uses the slot; while it is positive, it adds
     * PEN_SLOT_WAITED before it sleeps: then whoever completes the slot wakes all sleepers. */
    _Atomic int32_t state;
};
#define PEN_SLOT_WAITED (1 << 30)

/* Nanoseconds of CLOCK_MONOTONIC. Valid once the slot's state is complete. */
struct pen_event_times {
    uint64_t queued, submitted, started, ended;
};

struct pen_shared {
    /* written once by the worker before it hands the page out */
    uint32_t magic, version;
    uint32_t ring_bytes, reserved;
    uint64_t queues_offset, slots_offset, times_offset, ring_offset;

    /* written by the client */
    _Alignas(64) _Atomic uint64_t head; /* bytes ever written; release, pairs with the worker's acquire */
    _Atomic uint32_t waiters;           /* client threads asleep on `epoch`; seq_cst with epoch */
    _Atomic uint32_t watchers;          /* those of them that want to see every completion; seq_cst with epoch */
    _Atomic uint32_t room_waiters;      /* client threads asleep for room in the ring; seq_cst with tail */

    /* written by the worker */
    _Alignas(64) _Atomic uint64_t tail;  /* bytes ever consumed; release */
    _Atomic uint32_t tail_epoch;         /* futex: +1 after tail moved while room_waiters */
    _Alignas(64) _Atomic uint32_t epoch; /* futex: +1 after completions were published (or by pen_wake_epoch) */
    _Atomic uint32_t gone;               /* 1: the session has failed, `fatal` is on the socket */
    _Atomic uint64_t output_frames;      /* output frames ever sent on the socket, before the completion */
    _Atomic uint64_t commands;           /* executed, for `penstock ps` */

    /* written by both */
    _Alignas(64) _Atomic uint32_t doorbell; /* futex: client +1 and wakes when `asleep` is set */
    _Atomic uint32_t asleep;                /* worker sets before it sleeps on doorbell; seq_cst with head */
};

#endif
