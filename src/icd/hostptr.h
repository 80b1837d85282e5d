/* icd/hostptr.h - what the files of CL_MEM_USE_HOST_PTR share; the others call what object.h, memory.h and service.h
 * have of it. The arena range is what devices see, the program's range what the program does: before a command uses a
 * region, what the program has changed is pushed (hostptr_push.c); when the program may look, what commands wrote is
 * fetched (hostptr_fetch.c).
 *
 * Threads: `sharing` of each pool guards: its regions, the uses of each, its host_push and host_resend, and lanes; of
 * the range of a use that is listed, the shadow is the fetching thread's. Held while commands are sent, never while one
 * is waited for or an object may end: what is to go is collected in struct pen_leavings. Whoever calls what is declared
 * here holds it, where nothing else is said.
 *
 * `fetching`: a thread brings bytes back, without the lock; others wait for it, since they may not say that a command
 * is complete before its bytes are there. It calls nothing that takes a turn.
 * Units: bytes, in the program's range. Errors: 0 or -PEN_E*. */
#ifndef PEN_ICD_HOSTPTR_H
#define PEN_ICD_HOSTPTR_H

#include "icd/entry.h"
#include "icd/move.h"

/* ---- uses, and what goes once the lock is dropped (hostptr.c) ------------------------------------------ */

/* A command that may write a range of a region, not yet brought back. */
struct pen_hostptr_use {
    struct pen_list link; /* in its region's list, or of those that are to be freed */
    struct pen_list batch;
    cl_mem root;
    cl_event event; /* referenced */
    size_t first, size;
    bool fetched;
    _Atomic bool contested; /* a later use may be writing while this one is fetched; relaxed: for a log to tell */
};

struct pen_leavings {
    struct pen_list uses;
    cl_event pushes[2]; /* one found complete, one that another has taken the place of */
    unsigned push_count;
};

void pen_leavings_init(struct pen_leavings *leavings);
/* NULL is none. */
void pen_leavings_add_push(cl_event push, struct pen_leavings *leavings);
/* Takes the use out of its region's list. */
void pen_leavings_add_use(struct pen_hostptr_use *use, struct pen_leavings *leavings);
/* Without the lock. */
void pen_leavings_drop(struct pen_leavings *leavings);

/* ---- ranges (hostptr.c): need no lock ------------------------------------------------------------------ */

bool pen_hostptr_is_image(cl_mem memory);
/* A transfer of a range of a root region: of all of it for an image. */
struct pen_move pen_hostptr_move(cl_mem root, size_t first, size_t size, bool to_region);
/* Bytes of the program's range from host_ptr on. */
size_t pen_hostptr_reach(cl_mem root);
/* The range of its root that an object covers. */
cl_mem pen_hostptr_covered(cl_mem memory, size_t *out_first, size_t *out_size);

/* ---- lanes (lane.c) ------------------------------------------------------------------------------------ */

/* A lane is a queue of our own, one for each context and device that need it: what moves between the program's range
 * and devices waits for nothing of the program's, which may have its own queues wait for what it does next. */

/* NULL: there is none yet. */
cl_command_queue pen_lane_find(cl_context context, cl_device_id device);
/* Makes one, unless another thread is faster. Without the lock. */
int pen_lane_make(cl_context context, cl_device_id device);
/* Finds or makes it; referenced. NULL: it cannot be had. Without the lock. */
cl_command_queue pen_lane_get(cl_context context, cl_device_id device);
/* Those of a context that has no region any more; they hold it. */
void pen_lanes_take(cl_context context, struct pen_list *out_taken);
/* Without the lock. */
void pen_lanes_drop(struct pen_list *taken);

/* ---- program to devices (hostptr_push.c) --------------------------------------------------------------- */

/* What a push needs and only may take under the lock: it is got without, since for the arena one may have to wait. */
struct pen_supplies {
    uint64_t staging, staging_bytes; /* 0 bytes: none */
    uint64_t wanted_bytes;
    bool wants_lane;
};

#define PEN_PUSH_LACKING 1 /* the push wants supplies: drop the lock, get them, and come again */

/* Both without the lock. */
int pen_supplies_get(struct pen_supplies *supplies, cl_context context, cl_device_id device);
void pen_supplies_drop(struct pen_supplies *supplies, cl_context context);
/* Devices see the program's bytes before the command of `e` runs; or PEN_PUSH_LACKING. */
int pen_hostptr_push_range(struct pen_enqueue *e, cl_mem root, size_t first, size_t size, struct pen_supplies *supplies,
                           struct pen_leavings *leavings);
/* A push under way, whoever asked for it, comes before the command of `e`. */
int pen_hostptr_await_push(struct pen_enqueue *e, cl_mem root);

/* ---- devices to program (hostptr_fetch.c) -------------------------------------------------------------- */

/* Notes that the command of `e`, which has an event, may write there. */
int pen_hostptr_use_add(struct pen_enqueue *e, cl_mem root, size_t first, size_t size, struct pen_leavings *leavings);
/* True when a use that is not yet brought back may have written there. */
bool pen_hostptr_may_be_newer(cl_mem root, size_t first, size_t size);
/* Copies from the region of a direct object, if it is this process's. Without the lock. */
void pen_hostptr_fetch_direct(cl_mem root, size_t first, size_t size);
/* Notes what commands that are complete may have written; `all`: whether complete or not. The caller has its turn. */
void pen_hostptr_collect(cl_mem root, bool all, struct pen_list *batch, struct pen_leavings *leavings);
/* Brings back what has been collected. The lock is dropped meanwhile; the uses stay listed, so that nobody overwrites
 * what devices wrote. */
void pen_hostptr_bring_back(struct pen_home *home, struct pen_list *batch, struct pen_leavings *leavings);

#endif
