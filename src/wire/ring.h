/* wire/ring.h - the shared page (wire/shared.h) as each side holds it: created by the worker, mapped by the client;
 * the command ring's two ends; publication of completions.
 * Ownership: a view owns its mapping, not the descriptor. A reader or writer borrows its view.
 * Threads:   said at each group.
 * Trust:     a reader believes nothing of the client: it keeps tail and all offsets in private memory, checks head
 *            against the ring's size, and copies a frame out before it looks at it.
 * Errors:    0 or -PEN_E*; outputs untouched on failure. */
#ifndef PEN_WIRE_RING_H
#define PEN_WIRE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "penstock-protocol.h"
#include "wire/futex.h"
#include "wire/shared.h"

/* Of the page's layout (struct pen_shared.version). */
#define PEN_SHARED_VERSION 2u
/* A ring holds two of the longest frames at least, and no more than 1 GiB. */
#define PEN_RING_BYTES_MIN (2u * PEN_LIMIT_FRAME)
#define PEN_RING_BYTES_MAX (1u << 30)
/* Default of session.spin_us: nothing busy-waits longer. */
#define PEN_SPIN_BUDGET_NS 20000u

/* ---- the shared page -------------------------------------------------------------------------------- */

/* Told of what is published, before it is: worker/remote.c sends it to a program on another host. Any thread.
 * after_reads: it may come after reads, whose bytes the program must have before it sees this. */
struct pen_mirror {
    void (*times)(void *context, uint32_t slot, const struct pen_event_times *times);
    void (*event)(void *context, uint32_t slot, int32_t state, bool after_reads);
    void (*queue)(void *context, uint32_t queue_slot, uint64_t completed, bool after_reads);
    void (*wake)(void *context); /* a batch is published */
    void *context;
};

/* Private copies of where everything is. Zero-initialize. */
struct pen_shared_view {
    const struct pen_mirror *mirror; /* NULL: none */
    uint32_t awake;                  /* of the client's waiters, those who publish here themselves */
    struct pen_shared *shared;
    struct pen_queue_slot *queues;
    struct pen_event_slot *slots;
    struct pen_event_times *times;
    unsigned char *ring; /* mapped twice in a row */
    uint32_t ring_bytes;
    size_t shared_bytes; /* the memfd's size */
    size_t mapped_bytes; /* shared_bytes + ring_bytes */
};

/* Worker: makes and seals the memfd (close-on-exec; the caller owns it), maps it, writes its constants. ring_bytes is
 * a power of two in PEN_RING_BYTES_MIN..MAX, else -PEN_EINVAL. */
int pen_shared_create(uint32_t ring_bytes, int *out_fd, struct pen_shared_view *out_view, struct pen_error *error);
/* Client: maps what the worker handed over. Checks the seals, the file's size and every constant against it before use:
 * -PEN_EPROTO, -PEN_EVERSION. The mapping is not inherited by fork (MADV_DONTFORK). Borrows fd. */
int pen_shared_map(int fd, struct pen_shared_view *out_view, struct pen_error *error);
/* A hint: without it the first lap of the ring takes the page faults. Any thread, beside whatever else is done. */
void pen_ring_populate(const struct pen_shared_view *view);
/* The mapping is not inherited by fork. */
int pen_shared_keep_from_children(const struct pen_shared_view *view, struct pen_error *error);
/* Accepts a zeroed view. */
void pen_shared_unmap(struct pen_shared_view *view);

/* What a client names in a command: 0 is "none" for event slots. */
static inline bool pen_slot_ok(uint32_t slot)
{
    return slot < PEN_LIMIT_SLOTS;
}
static inline bool pen_queue_slot_ok(uint32_t slot)
{
    return slot < PEN_LIMIT_QUEUES;
}

/* ---- worker: the reading end ------------------------------------------------------------------------ */

/* Threads: one thread reads and waits; pen_ring_kick may be called by any thread of the process. */
struct pen_ring_reader {
    struct pen_shared_view *view;
    /* owned by the reading thread */
    uint64_t tail;        /* consumed */
    uint64_t published;   /* tail as the client knows it */
    uint64_t head;        /* as last seen and found sane */
    unsigned char *frame; /* PEN_LIMIT_FRAME bytes, 64-aligned, private */
    int broken;           /* sticky error */
    struct pen_spinner spinner;
    /* shared with pen_ring_kick */
    _Atomic uint32_t kicked;   /* seq_cst with `sleeping` */
    _Atomic uint32_t sleeping; /* the reading thread is, or is about to be, asleep on the doorbell */
};

int pen_ring_reader_init(struct pen_ring_reader *reader, struct pen_shared_view *view);
void pen_ring_reader_finish(struct pen_ring_reader *reader);

/* The next frame, copied out: 1 and *out_frame (the reader's own buffer, 8-aligned, valid until the next call), or 0
 * when the ring is empty. Its header has been checked (pen_frame_check_header), nothing else. -PEN_EPROTO, and again on
 * every later call, when the client's head or header is nonsense: fail the session. The room of consumed frames is
 * given back in batches, and always before 0 is returned. */
int pen_ring_next(struct pen_ring_reader *reader, const void **out_frame, size_t *out_size);
/* True when pen_ring_next would return a frame or an error now; one acquire load. */
bool pen_ring_ready(struct pen_ring_reader *reader);
/* Gives back the room of all consumed frames now: before something long. */
void pen_ring_give_room(struct pen_ring_reader *reader);

enum pen_ring_wait_result {
    PEN_RING_TIMEOUT = 0,
    PEN_RING_FRAMES = 1, /* pen_ring_next has something (or an error) to say */
    PEN_RING_KICKED = 2, /* pen_ring_kick was called since the last wait; both bits may be set */
};
/* Waits for frames or a kick: spins, yielding, for spin_budget_ns (0: not at all), then sleeps; returns bits of enum
 * pen_ring_wait_result, 0 after timeout_ns (UINT64_MAX: never). A signal handler does not end it. */
unsigned pen_ring_wait(struct pen_ring_reader *reader, uint64_t spin_budget_ns, uint64_t timeout_ns);
/* For a ring that several threads read by turns, each under a lock of theirs: sleeps until there are frames that none
 * of them has taken (with pen_ring_give_room), or `*stop`. pen_ring_doorbell_wake ends it. One thread at a time. */
void pen_ring_wait_shared(struct pen_shared_view *view, const _Atomic bool *stop);
/* Makes the current or next pen_ring_wait return KICKED. Any thread; async-signal-safe; no system call unless the
 * reader sleeps. */
void pen_ring_kick(struct pen_ring_reader *reader);

/* ---- worker: publication ---------------------------------------------------------------------------- */

/* Any thread. Order: effects on memory, then times, then event or queue, then (once for a batch) pen_publish_wake.
 * A client thread that sleeps for one event or one queue is woken when that is published, and by no other completion:
 * of a thousand commands, the one waited for costs a system call. */

/* Those that return bool tell whether a client thread slept for it, and was woken. */
/* after_reads is the mirror's. */
/* Slot 0 is nobody's: ignored. The caller has checked pen_slot_ok. */
void pen_publish_times(struct pen_shared_view *view, uint32_t slot, const struct pen_event_times *times);
/* state: enum pen_state or -PEN_E*. Release: pairs with the client's acquire load of the slot. */
bool pen_publish_event(struct pen_shared_view *view, uint32_t slot, int32_t state, bool after_reads);
/* Release. The caller has checked pen_queue_slot_ok, and never lets `completed` fall. */
bool pen_publish_queue(struct pen_shared_view *view, uint32_t queue_slot, uint64_t completed, bool after_reads);
/* One more `output` frame is on its way, on the socket or in an outbox that is sent as the socket gets room: call after
 * it was put there and before the completion of what printed it. Wakes the sleepers, so that they empty the socket. */
void pen_publish_output(struct pen_shared_view *view);
/* `fatal` is on the socket: nothing will be published any more. */
void pen_publish_gone(struct pen_shared_view *view);
/* epoch + 1, and a futex wake when a client thread watches every completion. */
bool pen_publish_wake(struct pen_shared_view *view);

/* ---- client: the writing end ------------------------------------------------------------------------ */

/* Threads: the caller's lock for everything (pen_ring_wait_room sleeps while it is held). */
struct pen_ring_writer {
    struct pen_shared_view *view;
    uint64_t head;      /* written by us alone */
    uint64_t tail_seen; /* tail as last loaded */
    struct pen_spinner spinner;
};

void pen_ring_writer_init(struct pen_ring_writer *writer, struct pen_shared_view *view);

/* Room for `size` bytes (a multiple of 8, at most PEN_LIMIT_FRAME) at the returned 8-aligned address, which is
 * contiguous; NULL when the ring is too full. */
static inline void *pen_ring_reserve(struct pen_ring_writer *writer, size_t size)
{
    const struct pen_shared_view *view = writer->view;
    if (__builtin_expect(writer->head - writer->tail_seen + size > view->ring_bytes, 0)) {
        /* Acquire: pairs with the reader's release of tail, so that we overwrite only what it has copied out. */
        writer->tail_seen = atomic_load_explicit(&view->shared->tail, memory_order_acquire);
        if (writer->head - writer->tail_seen + size > view->ring_bytes)
            return NULL;
    }
    return view->ring + (writer->head & (view->ring_bytes - 1));
}

/* Publishes `size` bytes written at pen_ring_reserve's address. The worker sees them if it is awake; otherwise
 * pen_ring_doorbell must follow. */
static inline void pen_ring_publish(struct pen_ring_writer *writer, size_t size)
{
    writer->head += size;
    /* Release: pairs with the reader's acquire of head. */
    atomic_store_explicit(&writer->view->shared->head, writer->head, memory_order_release);
}

/* Wakes the reader that was found asleep. */
void pen_ring_doorbell_wake(struct pen_shared_view *view);

/* Call after pen_ring_publish and a pen_fence(): a reader that set `asleep` before it saw our head is woken.
 * Pairs with pen_ring_wait: asleep = 1; fence; load head. */
static inline void pen_ring_doorbell(struct pen_shared_view *view)
{
    if (__builtin_expect(atomic_load_explicit(&view->shared->asleep, memory_order_relaxed), 0))
        pen_ring_doorbell_wake(view);
}

/* Waits until pen_ring_reserve would find `size` bytes: spins, yielding, if that pays, then sleeps; at most timeout_ns
 * in all. True when there is room. Rings the doorbell first. */
bool pen_ring_wait_room(struct pen_ring_writer *writer, size_t size, uint64_t spin_budget_ns, uint64_t timeout_ns);

#endif
