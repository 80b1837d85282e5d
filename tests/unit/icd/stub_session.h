/* A client library without a worker, for tests of the front end: it notes the commands and completes them when the test
 * says so. One session at a time is alive; functions of client/session.h that the core of icd/ does not use answer as
 * if lost. */
#ifndef STUB_SESSION_H
#define STUB_SESSION_H

#include "client/session.h"

#define STUB_SLOTS    32768u
#define STUB_COMMANDS 131072u

struct stub_command {
    uint16_t opcode;
    uint64_t sequence;
    void *frame;
    size_t size;
};

struct stub {
    struct stub_command commands[STUB_COMMANDS];
    uint32_t command_count;
    bool complete_at_once;    /* every queued command is complete when its frame is committed */
    bool lost;                /* the session that is open now */
    int open_error;           /* what the next pen_session_open returns; the pool is there without one */
    _Atomic bool open_slowly; /* pen_session_open takes until this is false again */
    _Atomic bool opening;     /* it has begun to */
    int slot_error;           /* what the next pen_slot_acquire returns */
    int arena_error;          /* what the next pen_arena_alloc returns */
    void (*on_arena)(void);   /* called by pen_arena_alloc, which may wait */
    void (*on_drain)(void);   /* called by pen_session_drain_output */
    void (*on_held)(void);    /* called by pen_slots_complete, which has asked the owners */
    bool few_slots;           /* says pen_slots_few, whatever there are */
    int partition_status;
    uint32_t features;
    _Atomic int acquired, released, cancelled; /* event slots */
    int queue_slots;                           /* in use */
    int opened, pool_queries;                  /* ever */
    _Atomic int drained;
    uint32_t lock_depth;   /* guarded by the session's lock */
    uint32_t quiet_within; /* unlocked quietly how often while it stayed locked; likewise */
};
extern struct stub stub;

/* A session's references, its opener's among them. */
int stub_refs(const struct pen_session *session);

/* Forgets commands and counts; a session that is open stays so. */
void stub_reset(void);
/* The last command of that opcode, decoded by the test; NULL: none. */
const struct stub_command *stub_last(uint16_t opcode);
/* The same of the one that `number` others of it were before. */
const struct stub_command *stub_nth(uint16_t opcode, uint32_t number);
uint32_t stub_count(uint16_t opcode);
/* Whom pen_slot_acquire gave the slot to. */
void *stub_owner(uint32_t slot);
/* Publishes a state in a slot, or that a queue is complete up to a sequence number. */
void stub_complete(uint32_t slot, int32_t state);
void stub_complete_queue(uint32_t queue_slot, uint64_t sequence);

#endif
