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

/* An event of the program's own that nobody has set yet holds up what waits for it. */
#define PEN_REPLAY_GATES 64
struct pen_replay_gate {
    uint32_t open;  /* events that share this place; 0: none */
    uint64_t since; /* the number of the first of them */
};

/* Of which gates something is behind: a bit for each, as it was when `at` of them had been opened. */
struct pen_replay_hold {
    uint64_t gates, at;
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
    struct pen_map open_events; /* id of a program's own event that nobody has set -> struct pen_replay_gate */
    struct pen_map held_events; /* id of an event behind gates, or of one itself -> struct pen_replay_hold */
    struct pen_replay_gate gates[PEN_REPLAY_GATES];
    uint64_t gates_opened;
    struct pen_list transfers; /* struct transfer, oldest first; initialized by pen_replay_init */
    uint64_t transfer_bytes;
    uint64_t next_event; /* ids of our own, out of the way of the log's */
    uint32_t devices_seen;
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
    uint64_t last;               /* sequence of its last command; 0: none */
    struct pen_replay_hold all;  /* of its commands so far */
    struct pen_replay_hold next; /* of its next one, whatever that waits for itself */
};

/* A use of a region by a queued command which nobody is known to have waited for. */
struct pen_replay_use {
    struct pen_list link;
    uint64_t queue, sequence, event;
    struct pen_replay_slot *slot; /* referenced; NULL: the queue's counter tells of it */
    struct pen_replay_hold hold;
};

/* A region's place in the arena, how wide its elements are, and who uses it. */
struct pen_replay_region {
    uint64_t offset; /* UINT64_MAX: it has none of its own (a slice or a view) */
    enum pen_region_kind kind;
    struct pen_image_desc image;
    uint64_t root;        /* whose contents it shares; its own id otherwise */
    struct pen_list uses; /* of a root: struct pen_replay_use; initialized */
    bool defined;         /* of a root: somebody has put something there */
};

/* The regions that are arguments of a kernel, by index; 0: none. */
struct pen_replay_kernel {
    uint64_t regions[PEN_LIMIT_ARGUMENTS];
    uint32_t count;
};

/* replay_gates.c: what the program cannot have waited for, since it is behind a gate */

int pen_replay_gate_opened(struct pen_replay *replay, uint64_t event);
void pen_replay_gate_set(struct pen_replay *replay, uint64_t event);
/* Gates of a hold that are still open; of two holds; of what waits for an event. */
uint64_t pen_replay_held(const struct pen_replay *replay, struct pen_replay_hold hold);
struct pen_replay_hold pen_replay_hold(const struct pen_replay *replay, struct pen_replay_hold one,
                                       struct pen_replay_hold other);
struct pen_replay_hold pen_replay_event_hold(const struct pen_replay *replay, uint64_t event);
int pen_replay_event_held(struct pen_replay *replay, uint64_t event, struct pen_replay_hold hold);
void pen_replay_event_gone(struct pen_replay *replay, uint64_t event);

/* replay_order.c: order that the program kept by waiting, which the log does not tell */

/* A queued command. Regions of 0 are skipped; lists are borrowed. */
struct pen_replay_command {
    uint64_t queue;
    const uint64_t *regions, *waits;
    uint32_t regions_count, waits_count;
    bool changes;       /* it may write to the regions */
    bool marks, blocks; /* a marker or barrier: without waits it waits for all before it; all after it wait for it */
    bool needs_slot;
    /* What the replay makes of it. */
    uint64_t event;
    struct pen_replay_slot *slot; /* referenced; NULL without an event */
    struct pen_replay_hold hold;
};

/* Before a command is sent: waits for the uses of its regions that are not behind a gate and that neither its wait list
 * nor its queue puts before it. */
int pen_replay_order(struct pen_replay *replay, struct pen_replay_command *command);
/* It has been sent. */
int pen_replay_sent(struct pen_replay *replay, const struct pen_replay_command *command, uint64_t sequence);
void pen_replay_region_free(struct pen_replay *replay, struct pen_replay_region *region);
/* Something has been put into a region; whether it ever was: what is read from it otherwise is undefined. */
void pen_replay_define(struct pen_replay *replay, uint64_t region);
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
/* The log's digest of a read, which is waited for: it was complete then, so that nothing holds it up. */
int pen_replay_compare(struct pen_replay *replay, uint64_t sequence, const struct pen_msg_read_digest *digest);
/* Waits until all transfers are complete. */
void pen_replay_settle_transfers(struct pen_replay *replay);
void pen_replay_drop_transfers(struct pen_replay *replay);

struct pen_replay_slot *pen_replay_slot_new(struct pen_replay *replay, int *out_error);
void pen_replay_slot_unref(struct pen_replay *replay, struct pen_replay_slot *slot);

#endif
