/* icd/kernel.h - what kernel.c, argument.c and launch.c share.
 * Threads: arguments are the calling program's to guard (OpenCL 3.0, clSetKernelArg); the rest does not change. */
#ifndef PEN_ICD_KERNEL_H
#define PEN_ICD_KERNEL_H

#include "icd/object.h"

static inline const struct pen_kernel_limits *pen_kernel_limits(cl_kernel kernel, cl_device_id device)
{
    for (uint32_t i = 0; i < kernel->limit_count; i++)
        if (kernel->limits[i].device == device)
            return &kernel->limits[i];
    return NULL;
}

/* kernel.c. Waits for the kernel_facts that answer a command: 0, -PEN_E* or their own status. */
int pen_kernel_answer(struct pen_session *session, uint64_t sequence, struct pen_msg_kernel_facts *out_facts);

/* argument.c. Frees what the argument holds. */
void pen_argument_finish(struct pen_kernel_argument *argument);
/* Gives `kernel`, which has none set, the arguments of another of the same function. 0 or -PEN_ENOMEM. */
int pen_arguments_copy(cl_kernel kernel, cl_kernel source);
/* Sends what has changed since it was last sent. The caller holds the session's lock. 0 or -PEN_E*. */
int pen_arguments_send(cl_kernel kernel);

/* launch.c. A launch whose shape was checked. */
struct pen_launch {
    uint32_t dimensions;
    bool nothing;  /* a global size is 0: there is no work-item */
    bool doubtful; /* a work-group larger than the driver says the kernel can have */
    uint64_t offset[3], global[3], local[3];
};
/* The checks of clEnqueueNDRangeKernel, but for its wait list: CL_SUCCESS or its error. */
cl_int pen_launch_check(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,
                        const size_t *global, const size_t *local, struct pen_launch *out_launch);
/* The rest of it. */
cl_int pen_launch_run(cl_command_queue queue, cl_kernel kernel, cl_command_type type, const struct pen_launch *launch,
                      cl_uint wait_count, const cl_event *wait_list, cl_event *out_event);

#endif
