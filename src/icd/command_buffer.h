/* icd/command_buffer.h - cl_khr_command_buffer 0.9.0: commands recorded once, checked then, and enqueued many times.
 * The whole of it is the front end's: a recorded command is what an enqueue call makes of its arguments, and to enqueue
 * a command buffer is to run each. command_buffer.c has its life and its enqueue, record.c the commands.
 * Ownership: a command holds a reference on every object it uses; a launch has a kernel of its own, a clone.
 * Threads:   any; commands do not change once finalized. */
#ifndef PEN_ICD_COMMAND_BUFFER_H
#define PEN_ICD_COMMAND_BUFFER_H

#include "icd/copy.h"
#include "icd/kernel.h"

struct pen_recorded {
    enum { PEN_RECORDED_BARRIER, PEN_RECORDED_COPY, PEN_RECORDED_FILL, PEN_RECORDED_LAUNCH } kind;
    bool awaited;   /* a later command waits for it: then whoever waits for that one waits for it too */
    cl_uint *waits; /* indices of the commands that it waits for; unused where the queue is in order */
    cl_uint wait_count;
    void **held; /* objects referenced */
    cl_uint held_count;
    cl_kernel kernel; /* of a launch; among `held` */
    union {
        struct pen_copy copy;
        struct pen_launch launch;
        struct {
            struct pen_fill fill; /* points into this struct */
            unsigned char pattern[PEN_LIMIT_PATTERN];
        };
    };
};

struct _cl_command_buffer_khr {
    struct pen_object object;
    cl_command_queue queue; /* referenced */
    cl_command_buffer_properties_khr *property_list;
    size_t property_count; /* entries, the 0 included; 0 when none were given */
    bool simultaneous;     /* may be enqueued while it is pending */
    pthread_mutex_t lock;  /* guards what follows; `commands` only until `finalized` */
    bool finalized;
    struct pen_recorded **commands;
    cl_uint command_count;
    cl_uint barrier;   /* 1 + the last barrier's index; 0: none */
    cl_event *pending; /* of enqueues that were not complete when last looked at, each referenced */
    size_t pending_count;
};

/* Frees the command, and lets go of what it holds. Accepts NULL. */
void pen_recorded_free(struct pen_recorded *command);

#endif
