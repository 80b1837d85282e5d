/* worker/builder.h - the thread that builds programs, so that queues go on while a compiler works.
 * A job is a build with all that it names: made by dispatch, run by the builder, taken back by dispatch, which alone
 * touches objects. While a job runs, its programs' texts, headers and constants stay as they are (build.c).
 * Threads: dispatch, but for what runs the job. */
#ifndef PEN_WORKER_BUILDER_H
#define PEN_WORKER_BUILDER_H

#include "worker/work.h"

/* More jobs than these wait in the ring. */
#define PEN_BUILDER_JOBS 64u

/* A device that a program is to be built for, and those of the job that it comes to. */
struct pen_work_target {
    struct pen_work_device *device;
    uint32_t first, count;
};

struct pen_work_job {
    struct pen_list link; /* in the builder's lists */
    struct pen_work *work;
    struct pen_work_program *program; /* referenced */
    uint64_t sequence;
    enum pen_build_step step;
    bool ordered; /* what its kernels only read is of use: there are several devices to order, or several replicas */
    char *options;
    uint32_t device_count, input_count, target_count;
    struct pen_work_target targets[PEN_LIMIT_DEVICES]; /* as the program named them */
    struct pen_work_device *devices[PEN_LIMIT_DEVICES];
    struct pen_work_unit *units[PEN_LIMIT_DEVICES]; /* referenced; found before, or made by the builder */
    uint64_t keys[PEN_LIMIT_DEVICES][2];
    struct pen_work_unit **inputs; /* device_count times input_count, referenced or NULL */
    int error;                     /* a unit could not be had at all */
    bool finished;                 /* guarded by the builder's lock */
};

struct pen_builder;

/* Runs the job on the builder's thread; waits while PEN_BUILDER_JOBS are under way. -PEN_ENOMEM: there is no thread. */
int pen_builder_add(struct pen_work *work, struct pen_work_job *job);
/* A finished job, taken off; NULL when there is none. Cheap. */
struct pen_work_job *pen_builder_take(struct pen_work *work);
/* Waits until the job is finished (and leaves it to be taken). */
void pen_builder_wait(struct pen_work *work, struct pen_work_job *job);
/* Waits until all jobs are finished: dispatch is going to build. */
void pen_builder_rest(struct pen_work *work);
/* Are jobs under way or finished and not taken? */
bool pen_builder_busy(const struct pen_work *work);
/* Waits for the job that runs, ends the thread. Jobs are left to be taken. */
void pen_builder_stop(struct pen_work *work);

/* build.c: what the builder runs. */
void pen_job_run(struct pen_work_job *job);

#endif
