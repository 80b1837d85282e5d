/* icd/program.h - what the files of programs share: program.c (objects, queries), build.c (build, compile), link.c,
 * binary.c (containers), kernel.c.
 * Threads: where it says "locked", the caller holds program->lock. */
#ifndef PEN_ICD_PROGRAM_H
#define PEN_ICD_PROGRAM_H

#include "icd/builder.h"
#include "icd/object.h"
#include "icd/recipe.h"

typedef void(CL_CALLBACK *pen_program_notify)(cl_program, void *);

/* A program of the context for these devices (all of the context's when devices is NULL), with nothing in it. */
cl_program pen_program_new(cl_context context, const cl_device_id *devices, cl_uint device_count);
/* NULL when the program is not for that device. Locked, or before the program is handed out. */
struct pen_build_state *pen_program_state(cl_program program, cl_device_id device);
/* Forgets the last build's results, but for what a given binary holds. Locked. */
void pen_program_forget_build(cl_program program, struct pen_build_state *state);

/* spirv.c: size in bytes of the constant with that SpecId in a SPIR-V module, 0 when there is none. */
uint32_t pen_spirv_constant_size(const void *il, size_t size, uint32_t id);
/* A module in this machine's byte order, whole words, plausible header. */
bool pen_spirv_ok(const void *il, size_t size);

/* binary.c: makes the container of one device's program if it can be had and is not made yet. 0 or -PEN_E*; without a
 * binary container_size stays 0. Locked, but the lock is dropped while the worker is asked. */
int pen_program_contain(cl_program program, struct pen_build_state *state);

/* binary.c: the code for each of these devices (ids), from the binaries that the program is made of; false: not all of
 * them have some. */
bool pen_program_natives(cl_program program, const uint64_t *devices, cl_uint count,
                         struct pen_native out_natives[PEN_LIMIT_DEVICES]);

/* build.c: a build, compilation or link under way. */
struct pen_build_job {
    cl_program program; /* referenced */
    cl_uint *indices;   /* of the devices in program->builds; room for all of them */
    uint64_t *devices;  /* their ids */
    cl_uint device_count;
    char *options;
    bool no_options;             /* NULL were given */
    struct pen_recipe **recipes; /* what is to be made, by device; NULL each: refused before, `refusal` says why */
    struct pen_error refusal;
    char *remark;       /* for the log, see icd/includes.h; NULL: none */
    cl_program *inputs; /* of a link, referenced */
    cl_uint input_count;
    uint64_t id;   /* in the protocol */
    bool exists;   /* the worker has the text under that id */
    uint32_t step; /* enum pen_build_step */
    pen_program_notify notify;
    void *user;
};
/* NULL when out of memory. indices: see above, copied. */
struct pen_build_job *pen_job_create(cl_program program, uint32_t step, const cl_uint *indices, cl_uint count,
                                     const char *options);
/* Marks the program as being built; CL_INVALID_OPERATION when it may not be. */
cl_int pen_job_begin(struct pen_build_job *job);
/* Has it done: here when notify is NULL, else on a thread of its own. Takes the job. */
cl_int pen_job_run(struct pen_build_job *job, pen_program_notify notify, void *user);
void pen_job_free(struct pen_build_job *job);
/* The devices of a call's device list as indices of program->builds (malloc'ed), with their parts; NULL, 0: all. */
cl_int pen_program_indices(cl_program program, cl_uint count, const cl_device_id *devices, cl_uint **out_indices,
                           cl_uint *out_count);

/* link.c: asks the worker for the link; inputs that the worker does not have are made first. */
int pen_link_make(struct pen_build_job *job, struct pen_answer *out_answer);

#endif
