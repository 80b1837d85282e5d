/* cli/replay.h - doing again what a session's log says, in a session of our own. Ids are kept; devices, completion
 * slots and arena ranges are mapped to what this session has.
 * Ownership: a replay owns its session's objects; the log's entries are borrowed for the call.
 * Threads:   one. Errors: 0 or -PEN_E*, with a sentence. */
#ifndef PEN_CLI_REPLAY_H
#define PEN_CLI_REPLAY_H

#include "base/list.h"
#include "base/map.h"
#include "client/session.h"
#include "state/log.h"

struct pen_replay_counts {
    uint64_t commands;
    uint64_t builds, failed_builds;
    uint64_t reads, compared, different; /* compared: with a digest in the log, and of defined contents */
};

/* A completion slot of ours that stands for one of the log's, until the log uses that number again. */
struct pen_replay_slot {
    uint32_t slot;
    uint32_t refs;
};

/* Markers of ours that a command waits for, each behind all that its queue had been sent. */
struct pen_replay_waits {
    uint64_t events[PEN_LIMIT_ARGUMENTS], queues[PEN_LIMIT_ARGUMENTS];
    uint32_t count;
};

/* Zero-initialize but for `session` and `pool`, which are borrowed. */
struct pen_replay {
    struct pen_session *session;
    const struct pen_pool *pool;
    struct pen_replay_counts counts;

    struct pen_map devices;     /* the log's id -> struct pen_pool_device */
    struct pen_map slots;       /* the log's number -> struct pen_replay_slot */
    struct pen_map queues;      /* id -> struct pen_replay_queue */
    struct pen_map regions;     /* id -> struct pen_replay_region */
    struct pen_map kernels;     /* id -> struct pen_replay_kernel */
    struct pen_map reads;       /* the log's sequence -> struct transfer */
    struct pen_map open_events; /* id of a program's own event that nobody has set -> non-NULL */
    struct pen_list transfers;  /* struct transfer, oldest first; initialized by pen_replay_init */
    uint64_t transfer_bytes;
    uint64_t next_event; /* ids of our own, out of the way of the log's */
    uint32_t devices_seen;
    struct pen_replay_waits waits; /* of the entry at hand */
    bool held_up;                  /* by open events, through such waits, may be what was not in the program */
    struct pen_scratch scratch;
};

void pen_replay_init(struct pen_replay *replay, struct pen_session *session, const struct pen_pool *pool);
/* One entry of the log. */
int pen_replay_entry(struct pen_replay *replay, const struct pen_log_entry *entry, struct pen_error *error);
/* Waits until all is done. Events that the log leaves unset are set to failed. */
int pen_replay_drain(struct pen_replay *replay, struct pen_error *error);
void pen_replay_finish(struct pen_replay *replay);

/* A queue of ours: where it publishes completion. */
struct pen_replay_queue {
    uint32_t slot;
    bool in_order;
    uint64_t last; /* sequence of its last command; 0: none */
};

/* A region's place in the arena, how wide its elements are, and who used it last. */
struct pen_replay_region {
    uint64_t offset; /* UINT64_MAX: it has none of its own (a slice or a view) */
    enum pen_region_kind kind;
    struct pen_image_desc image;
    uint64_t root;            /* whose contents it shares; its own id otherwise */
    uint64_t queue, sequence; /* of a root: its last use by a queued command of this session; 0: none */
    bool defined;             /* of a root: somebody has put something there */
};

/* The regions that are arguments of a kernel, by index; 0: none. */
struct pen_replay_kernel {
    uint64_t regions[PEN_LIMIT_ARGUMENTS];
    uint32_t count;
};

/* replay_order.c: order that the program kept by waiting, which the log does not tell */

/* Before a command of `queue` that uses these regions (0s are skipped): their last uses are complete before it, where
 * it names no event and the queue itself does not see to that. Waits for them; or while an event of the program's is
 * open, until which they may be held up, has the command wait: its `waits` are then ours until pen_replay_ordered. */
int pen_replay_order(struct pen_replay *replay, uint64_t queue, const uint64_t *regions, uint32_t count,
                     const uint64_t **waits, uint32_t *waits_count);
/* The command has been sent. */
int pen_replay_ordered(struct pen_replay *replay);
/* A queued command has been sent; `changes`: it may write to the regions. */
void pen_replay_used(struct pen_replay *replay, uint64_t queue, const uint64_t *regions, uint32_t count,
                     uint64_t sequence, bool changes);
/* Whether anything was ever put into a region: what is read from it otherwise is undefined. */
bool pen_replay_defined(struct pen_replay *replay, uint64_t region);
/* Waits until all commands of a queue are complete. */
int pen_replay_wait_queue(struct pen_replay *replay, uint64_t queue);
int pen_replay_kernel_made(struct pen_replay *replay, uint64_t kernel, uint64_t source);
void pen_replay_kernel_gone(struct pen_replay *replay, uint64_t kernel);
void pen_replay_kernel_argument(struct pen_replay *replay, const struct pen_msg_kernel_argument *message);

/* replay_data.c: bytes in and out */

struct pen_replay_transfer {
    struct pen_list link;
    struct pen_replay_slot *slot; /* referenced */
    uint64_t offset, size;        /* arena range */
    bool is_read, digested;
    bool expects;      /* its digest in the log has come: `expected` */
    bool undefined;    /* a read of contents that are, or that others were writing */
    uint64_t sequence; /* the log's */
    struct pen_box host;
    uint64_t row_bytes, rows, slices;
    struct pen_msg_read_digest digest, expected;
};

/* Arena memory for a command's bytes, filled with `bytes` unless NULL. Retires old transfers when many are pending. */
int pen_replay_stage(struct pen_replay *replay, const void *bytes, uint64_t size, uint64_t *out_offset);
/* The range is freed when the slot is complete (takes a reference). */
int pen_replay_track(struct pen_replay *replay, struct pen_replay_transfer *transfer);
/* Fills in what a read's digest is made of: rows of the host side. */
int pen_replay_shape(const struct pen_replay_region *region, const struct pen_msg_read *message,
                     struct pen_replay_transfer *out);
/* The log's digest of a read, which is waited for; one that may be held up is compared when it is complete. */
int pen_replay_compare(struct pen_replay *replay, uint64_t sequence, const struct pen_msg_read_digest *digest);
/* Waits until all transfers are complete. */
void pen_replay_settle_transfers(struct pen_replay *replay);
void pen_replay_drop_transfers(struct pen_replay *replay);

struct pen_replay_slot *pen_replay_slot_new(struct pen_replay *replay, int *out_error);
void pen_replay_slot_unref(struct pen_replay *replay, struct pen_replay_slot *slot);

#endif
