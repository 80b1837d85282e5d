/* bench/session.h - a session's own code (src/worker/enqueue.c and what it stands on) without a program, ring and
 * messages: a queue of a device that spans two, and kernels and regions for the tasks of a shape. Threads: one.
 * Whatever fails ends the program, with a message. */
#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include "instant.h"
#include "shape.h"
#include "worker/work.h"

struct session {
    /* to be filled in before it starts */
    struct pen_backend_ops ops; /* of instant.h or timed.h */
    bool direct;                /* else each device has a driver, and a memory, of its own */
    uint64_t region_bytes;

    struct pen_work *work;
    struct pen_backend_device devices[INSTANT_DEVICES];
    const struct pen_backend_device *members[INSTANT_DEVICES];
    struct pen_crash_page *crash;
    int crash_fd, ends[2];
    struct pen_work_queue *queue;
    struct pen_work_kernel *kernels[SHAPE_REGIONS];
    struct pen_work_region **regions;
};

void session_start(struct session *session, uint32_t regions);
/* All tasks of the shape have been done, once. */
void session_stop(struct session *session, const struct shape *shape);
void session_enqueue(struct session *session, const struct shape_task *task);
/* Is any task not done? */
bool session_is_busy(const struct session *session);

#endif
