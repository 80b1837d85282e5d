/* client/session.h - a program's side of a session: ids, arena, completion slots, commands, answers.
 * Knows no API: the front ends (icd/, later api/) build on it.
 * Ownership: a session is shared by all threads of the program; created by pen_session_open, ended by
 *            pen_session_close. It borrows nothing.
 * Threads:   every function may be called from any thread unless it says otherwise. Commands are encoded
 *            under the session's lock (pen_session_begin .. pen_session_commit).
 * Errors:    0 or -PEN_E*; once the worker is lost every call returns -PEN_EGONE.
 * Fork:      in a child of fork() every call returns -PEN_EGONE and touches nothing shared. */
#ifndef PEN_CLIENT_SESSION_H
#define PEN_CLIENT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "net/loan.h"
#include "penstock-protocol.h" /* generated: struct pen_msg_*, pen_msg_*_size/_encode/_decode */
#include "wire/shared.h"

struct pen_session;
struct pen_pool_address; /* net/tenant.h */

/* ---- pools: which devices there are (no session needed) ------------------------------------------ */

struct pen_property {
    uint32_t key;
    uint32_t size; /* bytes */
    const void *value;
};

/* A device of a pool, as the daemon describes it. Owned by its pen_pool. */
struct pen_pool_device {
    struct pen_msg_device info; /* strings are owned by the pool */
    const struct pen_property *properties;
    uint32_t property_count;
};

struct pen_pool {
    const char *name; /* "local", or its address without the key */
    int status;       /* 0, or why there are no devices, which `error` says in a sentence */
    struct pen_error error;
    struct pen_pool_device *devices;
    uint32_t device_count;
    uint64_t number;                  /* the daemon's, of this list of devices */
    const char *jail;                 /* active parts of the workers' sandbox, separated by spaces; or NULL */
    struct pen_pool_address *address; /* private */
    void *storage;                    /* private */
};

/* The pools of PENSTOCK_POOL, else of the file pool in $XDG_CONFIG_HOME/penstock or ~/.config/penstock, in the order in
 * which they are named there; else the one of this host (PENSTOCK_SOCKET, else the default path). */
struct pen_pools {
    struct pen_pool *pools;
    uint32_t count; /* at least 1 */
};

/* Asks the pools for their devices, all at once: the one that takes longest is waited for. Those that have not given
 * any have a status: -PEN_ENOENT at once where no daemon is, -PEN_ETIMEOUT for one that does not greet within
 * PEN_CONNECT_TIMEOUT_MS, or has no devices PEN_PROBE_TIMEOUT_MS later; where there are others, PEN_SEVERAL_TIMEOUT_MS
 * and PEN_SEVERAL_PROBE_MS. Not 0 only when the pools could not be asked. */
int pen_pools_query(struct pen_pools *out_pools, struct pen_error *error);
void pen_pools_finish(struct pen_pools *pools);
/* Asks a pool that had devices again: it answers, and they are the same, so that a session can be opened. Waits as
 * pen_pools_query does for one of several. */
bool pen_pool_there(const struct pen_pool *pool);
/* Not 0 when what names them is not understood: programs are not told, and find no devices. */
int pen_pools_check(struct pen_error *error);
/* Is any of them named, so that nothing but what is named is to be used? */
bool pen_pools_named(void);
/* Is none of them on this host? Sessions elsewhere are not recorded. */
bool pen_pools_elsewhere(void);
#define PEN_POOLS_MOST         32
#define PEN_CONNECT_TIMEOUT_MS 10000
#define PEN_SEVERAL_TIMEOUT_MS 3000
#define PEN_SEVERAL_PROBE_MS   30000   /* as long as limits.probe_ms is by default */
#define PEN_PROBE_TIMEOUT_MS   3610000 /* the most that the daemon's limits.probe_ms may be, and some more */
#define PEN_WORKER_TIMEOUT_MS  3610000 /* the same of its limits.worker_wait_ms */

/* ---- life ------------------------------------------------------------------------------------------- */

/* Registers our handlers of fork; pen_session_open does it too. Who registers handlers of its own that take locks under
 * which sessions are used calls this before: what is registered last runs first before a fork. -PEN_ENOMEM. */
int pen_session_handle_fork(void);
/* Waits until nobody is connecting to a daemon, which our handler does too. Called first in such a handler of one's
 * own, it leaves that next to nothing to wait for with those locks held. */
void pen_session_before_fork(void);
/* With the devices of `pool`: -PEN_EDEVICEGONE when the daemon has others by now. NULL: this host's daemon, with
 * whatever it has. A daemon that has no worker ready yet is waited for; one that does not greet within
 * PEN_CONNECT_TIMEOUT_MS is not. The pool is needed no longer. */
int pen_session_open(const struct pen_pool *pool, struct pen_session **out_session, struct pen_error *error);
/* A session has one reference from the opening on; a front end adds one for each object through which memory of the
 * arena is reached. When a lost session is left with the first one at most, the arena's memory goes back to the system,
 * and answers that nobody has fetched. The session itself stays until it is closed: whoever comes late finds it lost.
 */
void pen_session_ref(struct pen_session *session);
void pen_session_unref(struct pen_session *session);
/* Ends the session; what was not finished is dropped. Accepts NULL. */
void pen_session_close(struct pen_session *session);
/* The process ends, and with it the session, which stays as it is here. Accepts NULL, and another process's. */
void pen_session_leave(struct pen_session *session);
/* 0, or -PEN_EGONE when the worker is lost (or in a forked child); cheap. */
int pen_session_alive(struct pen_session *session);
/* Why the session was lost, for the program's error callbacks; "" while alive. Owned by the session. */
const char *pen_session_epitaph(struct pen_session *session);
/* What was agreed at open: PEN_FEATURE_*. */
uint32_t pen_session_features(const struct pen_session *session);

/* A new object id, unique in the session, never 0. */
uint64_t pen_session_new_id(struct pen_session *session);

/* ---- the arena: session memory mapped by program and worker ------------------------------------------ */

/* Allocates `size` bytes at `align` (a power of two, at least 64 is used; regions of 2 MiB and more are aligned to
 * 2 MiB so that they can be huge pages). -PEN_EDEVMEM when the arena is full. Contents are undefined. */
int pen_arena_alloc(struct pen_session *session, uint64_t size, uint64_t align, uint64_t *out_offset);
void pen_arena_free(struct pen_session *session, uint64_t offset);
/* Frees `offset` when `slot` becomes complete, then the slot too (see region_destroy). Takes both. */
void pen_arena_free_after(struct pen_session *session, uint64_t offset, uint32_t slot);
void *pen_arena_at(struct pen_session *session, uint64_t offset);
/* This thread is about to write all of the range: a hint that makes a first write of megabytes a third faster. */
void pen_arena_will_fill(struct pen_session *session, uint64_t offset, uint64_t size);

/* Of a session on another host (PEN_FEATURE_REMOTE): until it is taken back, what a write sends of the loan's range is
 * sent from its memory, or what a read brings is received there, and the arena has none of it. The range is the
 * caller's; the command is sent after the one call, and complete before the other. The caller's thread touches the
 * memory first, as the program's handlers of faults may expect. Borrows the loan. */
void pen_arena_lend(struct pen_session *session, struct pen_loan *loan);
void pen_arena_take_back(struct pen_session *session, struct pen_loan *loan);

/* False while the network has bytes of writes to bring to a worker on another host, or there is none now. */
bool pen_session_has_delivered(struct pen_session *session);

/* ---- completion -------------------------------------------------------------------------------------- */

/* A completion slot, in state queued. -PEN_ELIMIT when all PEN_LIMIT_SLOTS are in use. `owner`: for pen_slots_complete,
 * or NULL. */
int pen_slot_acquire(struct pen_session *session, void *owner, uint32_t *out_slot);
/* Less than PEN_SLOTS_FEW are left. One relaxed load. */
bool pen_slots_few(struct pen_session *session);
#define PEN_SLOTS_FEW 4096u
/* Goes on through `looks` slots, round and round: writes those owners of complete ones that `hold` is true for, at most
 * `room`, and returns how many. `hold` is called under the lock of the slots: their owner stays alive until his slot is
 * released, and takes no lock there. */
uint32_t pen_slots_complete(struct pen_session *session, uint32_t looks, bool (*hold)(void *owner), void **out_owners,
                            uint32_t room);
/* The slot must not be named by a later command; if its event is not complete yet it is kept aside until then. */
void pen_slot_release(struct pen_session *session, uint32_t slot);
/* Gives back a slot that no command has named (the call that wanted it failed, or was done without the worker). */
void pen_slot_cancel(struct pen_session *session, uint32_t slot);
/* enum pen_state or -PEN_E*; -PEN_EGONE for an unfinished slot of a lost session. One acquire load. */
int32_t pen_slot_state(struct pen_session *session, uint32_t slot);
struct pen_event_times pen_slot_times(struct pen_session *session, uint32_t slot);

/* Place of an in-order queue's completion counter; when all PEN_LIMIT_QUEUES are taken, that of a queue that is gone
 * and complete soon is waited for. -PEN_ELIMIT: there is none. */
int pen_queue_slot_acquire(struct pen_session *session, uint32_t *out_slot);
/* The queue is gone. Its worker goes on counting in the slot until its last command is complete, so until then nobody
 * else gets it: `last` is that command's sequence number; 0: there was none, or the queue does not count. */
void pen_queue_slot_release(struct pen_session *session, uint32_t slot, uint64_t last);
/* Sequence number up to which the queue is complete. One acquire load. */
uint64_t pen_queue_completed(struct pen_session *session, uint32_t queue_slot);

/* Wait until the slot is complete or failed; spins up to the spin budget, then sleeps. Returns 0 when complete, the
 * slot's negative error when it failed, -PEN_EGONE when the session is lost. Output that kernels printed before
 * that completion has been written to stdout when it returns. */
int pen_wait_slot(struct pen_session *session, uint32_t slot);
/* The same until the in-order queue has completed `sequence`. */
int pen_wait_queue(struct pen_session *session, uint32_t queue_slot, uint64_t sequence);
/* Sleep until any completion is published or timeout_ms passed. `seen_epoch` is what pen_epoch returned before the
 * caller looked at its slots, so that nothing is missed. For service threads. */
uint32_t pen_epoch(struct pen_session *session);
int pen_wait_epoch(struct pen_session *session, uint32_t seen_epoch, uint32_t timeout_ms);
/* Makes every thread that is in pen_wait_epoch return early: there is something new to look at. */
void pen_wake_epoch(struct pen_session *session);
/* Write to stdout what kernels have printed so far; a load when there is nothing. */
void pen_session_drain_output(struct pen_session *session);

/* ---- commands ---------------------------------------------------------------------------------------- */

/* Locks the session and reserves `size` bytes (a frame's size) in the ring, waiting for room. Returns where to
 * encode, and the sequence number that the command will have; NULL with *out_error set when the session is lost
 * (then not locked). Between begin and commit the caller may only encode and note the sequence. */
void *pen_session_begin(struct pen_session *session, size_t size, uint64_t *out_sequence, int *out_error);
/* Publishes the frame, unlocks, rings the doorbell if the worker sleeps. */
void pen_session_commit(struct pen_session *session);
/* Several frames that must stay together (arguments, then their launch): lock, any number of begin/commit pairs
 * (which nest), unlock. */
void pen_session_lock(struct pen_session *session);
void pen_session_unlock(struct pen_session *session);
/* The same, without ringing: what was sent can wait until something else is, or the caller is about to wait for it in
 * pen_wait_slot, and the worker is on another host. */
void pen_session_unlock_quietly(struct pen_session *session);

/* PEN_SEND(session, launch, &message, &sequence): encode and publish one command; 0 or -PEN_EGONE.
 * PEN_SEND_NOTE also runs a statement with `sequence` known while the lock is held (to note a queue's last one). */
#define PEN_SEND_NOTE(session_, name_, message_, out_sequence_, note_)                                                 \
    __extension__({                                                                                                    \
        int pen_rc_ = 0;                                                                                               \
        void *pen_at_ = pen_session_begin((session_), pen_msg_##name_##_size(message_), (out_sequence_), &pen_rc_);    \
        if (pen_at_) {                                                                                                 \
            pen_msg_##name_##_encode((message_), *(out_sequence_), pen_at_);                                           \
            note_;                                                                                                     \
            pen_session_commit(session_);                                                                              \
        }                                                                                                              \
        pen_rc_;                                                                                                       \
    })
#define PEN_SEND(session_, name_, message_, out_sequence_)                                                             \
    PEN_SEND_NOTE(session_, name_, message_, out_sequence_, (void)0)

/* ---- answers ----------------------------------------------------------------------------------------- */

/* One frame that answers `sequence`, in arrival order: waits for it, returns a malloc'ed copy in *out_frame (caller
 * frees), opcode and size. A command may have several (built, data.., kernel_info..): call again.
 * Any thread may wait; frames of other sequences are kept for their own waiters. */
int pen_session_answer(struct pen_session *session, uint64_t sequence, uint16_t *out_opcode, void **out_frame,
                       size_t *out_size);
/* Collects an answer made of `data` parts into one malloc'ed buffer (caller frees; zero-terminated beyond size).
 * Returns the answer's own status if that is an error. */
int pen_session_answer_data(struct pen_session *session, uint64_t sequence, void **out_data, size_t *out_size);

#endif
