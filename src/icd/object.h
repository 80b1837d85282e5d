/* icd/object.h - the OpenCL objects of the front end, and what its files share.
 * One file per object (context.c, queue.c, event.c, memory.c, ...); this header holds the structs because most
 * calls touch several of them.
 *
 * Ownership: every object begins with struct pen_object: dispatch table, magic, references. A child holds a
 *            reference on its parents (queue -> context, kernel -> program, sub-buffer -> buffer, ...).
 *            "internal" references (a queued command on its kernel or memory) use the same counter's twin, so that
 *            CL_*_REFERENCE_COUNT shows only the program's.
 * Threads:   OpenCL's: all calls are thread-safe but clSetKernelArg on one kernel. `lock` in an object guards what
 *            the comment beside a field says.
 * Errors:    entry points return cl_int; everything below returns 0 or -PEN_E*, and status.c alone translates. */
#ifndef PEN_ICD_OBJECT_H
#define PEN_ICD_OBJECT_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_0_APIS
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#define CL_USE_DEPRECATED_OPENCL_2_1_APIS
#define CL_USE_DEPRECATED_OPENCL_2_2_APIS
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <CL/cl_icd.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "client/session.h"

/* ---- common ------------------------------------------------------------------------------------------ */

enum pen_magic { /* 0 once destroyed, so that a stale handle is refused while its memory is still readable */
                 PEN_MAGIC_PLATFORM = 0x50454e01,
                 PEN_MAGIC_DEVICE,
                 PEN_MAGIC_CONTEXT,
                 PEN_MAGIC_QUEUE,
                 PEN_MAGIC_MEMORY,
                 PEN_MAGIC_SAMPLER,
                 PEN_MAGIC_PROGRAM,
                 PEN_MAGIC_KERNEL,
                 PEN_MAGIC_EVENT,
                 PEN_MAGIC_COMMAND_BUFFER
};

struct pen_object {
    const cl_icd_dispatch *dispatch; /* must be first: the ICD loader calls through it */
    uint32_t magic;
    _Atomic uint32_t refs;     /* the program's: what the info query shows */
    _Atomic uint32_t internal; /* ours, plus one while refs > 0; destroyed when it reaches 0 */
};

extern const cl_icd_dispatch pen_dispatch; /* dispatch.c */

void pen_object_init(struct pen_object *object, enum pen_magic magic);
static inline bool pen_object_is(const void *object, enum pen_magic magic)
{
    return object && ((const struct pen_object *)object)->magic == (uint32_t)magic;
}
/* Internal references. _unref calls the destructor for the object's magic when the last one goes. */
void pen_ref(void *object);
void pen_unref(void *object);
/* The program's: clRetain*, clRelease*. CL_SUCCESS or `invalid` when it is not an object of that magic. */
cl_int pen_retain(void *object, enum pen_magic magic, cl_int invalid);
cl_int pen_release(void *object, enum pen_magic magic, cl_int invalid);
/* One destructor an object file; called by pen_unref once. */
void pen_device_destroy(cl_device_id);
void pen_context_destroy(cl_context);
void pen_queue_destroy(cl_command_queue);
void pen_memory_destroy(cl_mem);
void pen_sampler_destroy(cl_sampler);
void pen_program_destroy(cl_program);
void pen_kernel_destroy(cl_kernel);
void pen_event_destroy(cl_event);
void pen_command_buffer_destroy(cl_command_buffer_khr);

/* Answers of clGet*Info: size check, copy, size out. */
cl_int pen_info(const void *value, size_t size, size_t param_size, void *param_value, size_t *param_size_ret);
cl_int pen_info_string(const char *text, size_t param_size, void *param_value, size_t *param_size_ret);
#define PEN_INFO(type, expression)                                                                                     \
    do {                                                                                                               \
        type value_ = (expression);                                                                                    \
        return pen_info(&value_, sizeof value_, param_value_size, param_value, param_value_size_ret);                  \
    } while (0)

/* NULL, and why, from a call that was to return an object. out_error may be NULL. */
void *pen_refuse(cl_int *out_error, cl_int error);

/* status.c: the only place where errors become cl_int. */
cl_int pen_status(int error);

/* ---- platform, device -------------------------------------------------------------------------------- */

struct pen_home; /* service.h: a pool, and the process's session with it */

/* The one platform. Its devices are asked from the daemons once, at the first call that needs them. */
struct _cl_platform_id {
    struct pen_object object;
    struct pen_pools pools;
    struct pen_home *homes;        /* of each pool */
    struct _cl_device_id *devices; /* root devices, in the order of the pools */
    cl_uint device_count;
};

struct _cl_device_id {
    struct pen_object object; /* root devices are never destroyed */
    struct pen_home *home;    /* of the root, as what follows */
    const struct pen_pool_device *pool;
    uint64_t id;         /* in the protocol */
    cl_device_id parent; /* NULL: root; a sub-device holds a reference on it */
    cl_uint compute_units;
    cl_device_partition_property *partition; /* how a sub-device was made; 0-terminated; NULL for a root */
    cl_uint partition_length;                /* entries, the 0 included; 0 for a root */
    struct pen_session *session;             /* of a sub-device: where its id is known; NULL for a root */
    struct pen_part_set *set;                /* partition.c's, of a sub-device: those it was made with */
    _Atomic(struct pen_part_set *) sets;     /* partition.c's, of a root: all made of it and of its parts; they stay */
    const struct pen_device_facts *facts;    /* device.c's: the root's properties in order of key, its extensions */
};

/* Loads the platform once; NULL when no pool has a device. */
cl_platform_id pen_platform(void);
/* Property of the real device as raw bytes; NULL when the driver does not answer it. */
const struct pen_property *pen_device_property(cl_device_id device, cl_device_info key);
bool pen_device_bool(cl_device_id device, cl_device_info key);
cl_uint pen_device_uint(cl_device_id device, cl_device_info key);
/* What a sub-buffer's origin must be a multiple of, in bytes; at least 1. */
size_t pen_device_slice_align(cl_device_id device);
cl_ulong pen_device_ulong(cl_device_id device, cl_device_info key);
size_t pen_device_size(cl_device_id device, cl_device_info key);
/* Of OpenCL: 201 is 2.1. */
unsigned pen_device_version(cl_device_id device);
/* Synthetic keys (>= 0x70000000) under which the backend reports what is not a device query in OpenCL:
 * supported image formats: key = PEN_KEY_FORMATS + 16 * access + kind, value = cl_image_format[];
 * access: 0 read-write in separate kernels (CL_MEM_READ_WRITE), 1 write-only, 2 read-only, 3 kernel read and write;
 * kind: enum pen_region_kind. */
#define PEN_KEY_FORMATS 0x70000000u
/* What cutting along an affinity domain comes to: key = PEN_KEY_PARTS + the number of the domain's bit, value =
 * uint32_t[]: the domain that was cut along, then the compute units of each part. */
#define PEN_KEY_PARTS 0x70001000u

/* The process's session with a pool, opened by the first context of its devices; NULL with *out_error when it cannot be
 * had. Never closed before the process exits. After it was lost, and in a child of fork(), the next context gets a new
 * one; what belongs to the old one keeps its pointer to it and fails with -PEN_EGONE. */
struct pen_session *pen_session(struct pen_home *home, int *out_error);
/* Why the calling thread's last pen_session failed: a sentence. */
const char *pen_session_failure(void);

/* ---- context ----------------------------------------------------------------------------------------- */

struct pen_destructor {
    struct pen_list link;
    void(CL_CALLBACK *call)(void *, void *);
    void *user;
};

struct _cl_context {
    struct pen_object object;
    struct pen_home *home; /* of all its devices */
    struct pen_session *session;
    cl_device_id *devices; /* each referenced */
    cl_uint device_count;
    cl_context_properties *properties; /* as given, 0-terminated, or NULL */
    size_t property_count;             /* entries, the 0 included; 0 when none were given */
    void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *);
    void *notify_user;
    /* Every device works in host memory: buffers, and images, are stored in the worker's arena alone. */
    bool stored_direct, stored_direct_images;
    bool direct, direct_images;  /* likewise, and this process shares the arena: they are read and written in place */
    pthread_mutex_t lock;        /* guards: destructors */
    struct pen_list destructors; /* struct pen_destructor, newest first */
    _Atomic bool told;           /* the program's notify function has heard that the session is lost */
    _Atomic uint32_t samplers;   /* that it has */
};
bool pen_context_has_device(cl_context context, cl_device_id device);

/* ---- queue ------------------------------------------------------------------------------------------- */

struct _cl_command_queue {
    struct pen_object object;
    cl_context context;
    cl_device_id device;
    cl_command_queue_properties properties;
    cl_queue_properties *property_list;
    size_t property_count;
    uint64_t id;
    uint32_t slot; /* completion counter (in-order queues) */
    bool in_order, profiling;
    _Atomic uint64_t last;     /* sequence of the last command sent; written under the session's lock */
    uint64_t told;             /* likewise, of the last one whose end the program can learn of; guarded by that lock */
    _Atomic uint64_t finished; /* out-of-order: every command up to this one is known to be complete */
    struct pen_turn *_Atomic turn; /* in-order: turn.c's; set under the session's lock; NULL: no thread has it */
    pthread_mutex_t lock;          /* guards: barrier */
    cl_event barrier;              /* out-of-order: last barrier, referenced, or NULL */
};
/* True when every command sent so far is known to be complete. For an out-of-order queue: no unfinished barrier. */
bool pen_queue_idle(cl_command_queue queue);
/* The program is about to learn that all commands sent so far are complete. */
void pen_queue_tell(cl_command_queue queue);
/* Waits until all commands sent so far are complete, then runs what is due (pen_settle). 0 or -PEN_E*. */
int pen_queue_wait(cl_command_queue queue);
/* In-order: the same up to the command of that sequence number. */
int pen_queue_wait_for(cl_command_queue queue, uint64_t sequence);

/* turn.c: locks the session, for sending a command on the queue, which comes after what threads of the program do in
 * the place of commands that were there before; `own`: the turn that the command belongs to, or NULL. 0: locked, or
 * -PEN_E*. It may look for a while whether they end, without the lock: who has it already has it from here. */
int pen_queue_lock_behind(cl_command_queue queue); /* the rare half: locked when it is called, and when it returns 0 */
static inline int pen_queue_lock(cl_command_queue queue, const struct pen_turn *own)
{
    pen_session_lock(queue->context->session);
    /* Acquire: pairs with the release in pen_turn_end. */
    bool passes = atomic_load_explicit(&queue->turn, memory_order_acquire) == own;
    return __builtin_expect(passes, 1) ? 0 : pen_queue_lock_behind(queue);
}

/* ---- event ------------------------------------------------------------------------------------------- */

struct pen_event_callback {
    struct pen_list link;
    cl_int type;
    void(CL_CALLBACK *call)(cl_event, cl_int, void *);
    void *user;
};

struct _cl_event {
    struct pen_object object;
    cl_context context;
    cl_command_queue queue; /* NULL for a user event */
    cl_command_type type;
    uint64_t id;                  /* in the protocol; 0: completed by this process without the worker (slot 0) */
    _Atomic uint32_t slot;        /* given back, and then 0, when the program may keep the event for ever: event.c */
    _Atomic cl_int local;         /* state when slot is 0, or final state once noticed; CL_QUEUED before */
    struct pen_event_times times; /* valid for events completed here */
    _Atomic bool sent;            /* a command names the id and the slot; release: with hostptr_fetch.c's acquire */
    uint64_t sequence, told;      /* once sent: the command's, and its queue's `told` before it */
    _Atomic bool given;           /* to the program, which may keep it; release: all that is sent of it has been */
    pthread_mutex_t lock;         /* guards: callbacks, watched, and times and begun from `given` on */
    struct pen_list callbacks;    /* in the order of the states they are for */
    cl_event begun;               /* of several commands: the first one's, referenced, which tells when they began */
    bool watched;                 /* the service thread has it, with a reference */
    struct pen_list in_service;   /* service.c's */
};
/* Execution status now: CL_QUEUED .. CL_COMPLETE or a negative cl_int. Runs what is due when it is complete. */
cl_int pen_event_status(cl_event event);
/* Blocks; 0 or the event's negative cl_int. */
cl_int pen_event_wait(cl_event event);
/* While a thread has it pinned, which is a reference, an event that was not complete then keeps its id and its slot. */
void pen_event_pin(cl_event event);
void pen_event_unpin(cl_event event);

/* ---- enqueue: what every clEnqueue* does around its own command (enqueue.c) --------------------------- */

/* One command being enqueued. Zero-initialize. */
struct pen_enqueue {
    cl_command_queue queue;
    cl_event event; /* made when the program wants one or the caller forces it; NULL otherwise. pen_ref it to keep it */
    cl_event *out_event;
    uint64_t event_id;
    uint32_t slot; /* to put into the message */
    const uint64_t *waits;
    uint32_t wait_count;   /* ids of the unfinished events of the wait list */
    bool tells;            /* the program can learn of the command's end: it gets the event, or the call blocks */
    struct pen_turn *turn; /* the command is sent in it; or NULL */
    uint64_t wait_storage[16];
    uint64_t *wait_heap;
    uint32_t wait_room; /* enqueue.c's: entries at `waits` */
    cl_event *kept;     /* enqueue.c's: events of ours among those that it waits for; dropped when it is sent */
    uint32_t kept_count;
    const cl_event *pinned; /* enqueue.c's: the program's wait list */
    cl_uint pinned_count;
};
/* CL_INVALID_EVENT_WAIT_LIST, CL_INVALID_CONTEXT. */
cl_int pen_enqueue_check_wait_list(cl_command_queue queue, cl_uint wait_count, const cl_event *wait_list);
/* Checks queue and wait list (CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT, CL_INVALID_EVENT_WAIT_LIST, and for
 * `blocking` CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) and, unless it fails, fills `e`. */
cl_int pen_enqueue_begin(struct pen_enqueue *e, cl_command_queue queue, cl_command_type type, cl_uint wait_count,
                         const cl_event *wait_list, cl_event *out_event, bool blocking, bool force_event);
/* Ends it: with 0, hands the event to the program; otherwise drops it and returns the translated error. */
cl_int pen_enqueue_end(struct pen_enqueue *e, int error);
/* Waits until the wait list is complete (0 or CL_EXEC_STATUS_ERROR_...); then e->wait_count is 0. */
cl_int pen_enqueue_wait_list(struct pen_enqueue *e, cl_uint wait_count, const cl_event *wait_list);
/* The command waits for an event of ours, too. 0 or -PEN_E*. */
int pen_enqueue_wait_for(struct pen_enqueue *e, cl_event event);
/* True when nothing comes before this command: wait list complete and queue idle. Who then touches a region takes the
 * turn. */
bool pen_enqueue_ready(struct pen_enqueue *e);
/* Sends a marker; with nothing to wait for, behind every earlier command. 0 or -PEN_E*. */
int pen_enqueue_marker(struct pen_enqueue *e);
/* To the worker, a marker or barrier without a wait list waits for every earlier command, which in an out-of-order
 * queue is too much for one whose list is complete: it is given an event that is complete. 0 or -PEN_E*. */
int pen_enqueue_keep_list(struct pen_enqueue *e);
/* Sends a marker in the place of a command without an effect of its own: it waits for its list and, in an out-of-order
 * queue, for nothing else but the last barrier. 0 or -PEN_E*. */
int pen_enqueue_place(struct pen_enqueue *e);
/* When a command done by this thread began, for pen_enqueue_done_here; 0 where nobody can ask. */
uint64_t pen_enqueue_clock(const struct pen_enqueue *e);
/* The command was done by this thread: its event, if any, is complete. `started_ns` of CLOCK_MONOTONIC. */
void pen_enqueue_done_here(struct pen_enqueue *e, uint64_t started_ns);
/* Waits for the command just sent (blocking calls), for no other, and runs what is due. It has an event: nothing else
 * tells whether it has failed. */
int pen_enqueue_wait(struct pen_enqueue *e);

/* The command was sent (called with the session locked). */
static inline void pen_enqueue_note(struct pen_enqueue *e, uint64_t sequence)
{
    atomic_store_explicit(&e->queue->last, sequence, memory_order_release);
    if (e->event) {
        e->event->sequence = sequence;
        e->event->told = e->queue->told;
        atomic_store_explicit(&e->event->sent, true, memory_order_release);
    }
    if (e->tells)
        e->queue->told = sequence;
}
/* PEN_ENQUEUE(e, launch, &message): sends one queued command and notes it on its queue. 0 or -PEN_E*. _LOCKED: after
 * pen_queue_lock. */
#define PEN_ENQUEUE_LOCKED(e_, name_, message_)                                                                        \
    __extension__({                                                                                                    \
        uint64_t sequence_ = 0;                                                                                        \
        PEN_SEND_NOTE((e_)->queue->context->session, name_, message_, &sequence_, pen_enqueue_note((e_), sequence_));  \
    })
#define PEN_ENQUEUE(e_, name_, message_)                                                                               \
    __extension__({                                                                                                    \
        int locked_ = pen_queue_lock((e_)->queue, (e_)->turn);                                                         \
        if (!locked_) {                                                                                                \
            locked_ = PEN_ENQUEUE_LOCKED(e_, name_, message_);                                                         \
            pen_session_unlock((e_)->queue->context->session);                                                         \
        }                                                                                                              \
        locked_;                                                                                                       \
    })

/* ---- turns: what the program's own thread does in a command's place (turn.c) ---------------------------- */

/* In an in-order queue the command is whole for what other threads enqueue there meanwhile: that comes after, behind a
 * gate, a marker that waits until the turn ends. Nobody waits for the turn otherwise: its thread may wait for others,
 * and call functions of the program. In an out-of-order queue there is no order to keep, and this does nothing. So do
 * commands that are the parts of one (move.c). */
struct pen_turn {
    cl_command_queue queue;
    cl_event gate; /* what the gate's marker waits for; written under the session's lock; NULL: there is none */
};
/* Takes the turn of the command if there is nothing to wait for. */
bool pen_turn_try(struct pen_turn *turn, struct pen_enqueue *e);
/* Takes it when the wait list is complete, and waits for what comes before it on the queue. CL_SUCCESS, or what the
 * call is to return. */
cl_int pen_turn_wait(struct pen_turn *turn, struct pen_enqueue *e, cl_uint wait_count, const cl_event *wait_list);
/* Takes it, of an in-order queue, without waiting for anything: for commands that are sent with `turn` in their struct
 * pen_enqueue. 0: the session is locked, as by pen_queue_lock, or -PEN_E*. */
int pen_turn_begin(struct pen_turn *turn, cl_command_queue queue);
/* No gate yet: what is sent on the queue now still comes before all of other threads'. Under the session's lock, of
 * in-order queues. */
bool pen_turn_is_open(const struct pen_turn *turn);
void pen_turn_end(struct pen_turn *turn);
/* Ends it, of a command that this thread has done since started_ns, or could not (`error`), and `e`. What the call is
 * to return. */
cl_int pen_turn_done(struct pen_turn *turn, struct pen_enqueue *e, uint64_t started_ns, int error);

/* ---- actions: what this process must do when a command has completed ---------------------------------- */

/* E.g. copy what a non-blocking read has left in the arena to the program's pointer, and free the arena range.
 * Runs once, on the first thread of those that use the pool which notices the completion, before any call reports it:
 * others wait for it meanwhile, so it sends nothing, and lets no object go. */
struct pen_action {
    struct pen_list link;
    cl_event event;                                     /* referenced until it has run */
    void (*run)(struct pen_action *action, int status); /* owns and frees the action */
};
/* Takes the action. */
void pen_action_add(struct pen_action *action);
/* Runs every action whose event is complete, and shows the program what commands that are complete have written. Cheap
 * when there is nothing (loads). Called by all synchronizing calls. */
void pen_settle(cl_context context);
/* Gives back what complete commands have used: the same, but the program is not to look. */
void pen_recycle(cl_context context);

/* ---- memory ------------------------------------------------------------------------------------------ */

struct pen_mapping {
    struct pen_list link;
    void *pointer; /* what the program got */
    cl_map_flags flags;
    uint64_t arena_offset; /* staging of an indirect region; unused for direct */
    bool staged;
    cl_event event; /* of the map, referenced, where it may not have come about before the unmap; or NULL */
    size_t origin[3], extent[3], row_pitch, slice_pitch;
};

struct _cl_mem {
    struct pen_object object;
    cl_context context;
    cl_mem parent; /* sub-buffer, image over buffer: referenced; else NULL */
    uint64_t id;
    cl_mem_object_type type;
    cl_mem_flags flags; /* as the info query shows them */
    cl_mem_properties *property_list;
    size_t property_count;
    size_t size;           /* bytes */
    size_t offset;         /* in the parent, bytes */
    uint64_t arena_offset; /* of the contents (in a sub-buffer: its own start) */
    bool allocated;        /* the arena range is its own */
    bool direct;
    cl_image_format format;
    cl_image_desc desc;
    size_t element_bytes;          /* images; pitches filled in (of host_ptr, as the info query shows them) */
    size_t row_pitch, slice_pitch; /* images: of the arena contents, bytes */
    void *host_ptr;                /* CL_MEM_USE_HOST_PTR, else NULL */
    _Atomic uint32_t map_count;
    pthread_mutex_t lock;     /* guards: mappings, destructors */
    struct pen_list mappings; /* struct pen_mapping */
    struct pen_list destructors;
    struct pen_list in_host_ptrs; /* link in hostptr.c's list of regions with a host pointer */
    struct pen_list host_uses;    /* hostptr.c's: commands that may write it, not yet synced */
    void *host_shadow;            /* hostptr.c's: indirect regions: the program's range as last sent or fetched */
    cl_event host_push;           /* hostptr.c's: the write that sent it last, or NULL: commands wait for it */
    bool host_resend;             /* hostptr.c's: such a write has failed */
};

/* hostptr.c: CL_MEM_USE_HOST_PTR. The arena range is what devices see; the program's range is kept equal to it at every
 * point where OpenCL, or a device that says it shares memory with the host, lets the program look. */
/* True when any such region exists: then begin the enqueue with force_event, so that its end can be known. */
extern _Atomic uint32_t pen_hostptr_count;
static inline bool pen_hostptr_any(void)
{
    return atomic_load_explicit(&pen_hostptr_count, memory_order_relaxed) != 0;
}
/* Before a command that uses `memory` is made and sent: the program may have changed its range, and the command is to
 * wait (e->waits) until devices see that; `writes`: the command may write it, and has an event. Waits for nothing. NULL
 * is accepted. 0 or -PEN_E*. */
int pen_hostptr_before_use(struct pen_enqueue *e, cl_mem memory, bool writes);
/* The command of before, which is not going to be sent, writes nothing. Its event; pen_enqueue_end calls it. */
void pen_hostptr_not_sent(cl_event event);
/* After a synchronizing call (pen_settle calls it): the program may look. */
void pen_hostptr_after_sync(cl_context context);
/* After pen_settle: -PEN_EGONE when what complete commands wrote may have been lost with the session. */
static inline int pen_hostptr_lost(struct pen_session *session)
{
    return pen_hostptr_any() ? pen_session_alive(session) : 0;
}

struct _cl_sampler {
    struct pen_object object;
    cl_context context;
    uint64_t id;
    cl_bool normalized;
    cl_addressing_mode addressing;
    cl_filter_mode filter;
    cl_sampler_properties *property_list;
    size_t property_count;
};

/* ---- program, kernel ---------------------------------------------------------------------------------- */

struct pen_recipe; /* recipe.h: how a program was made, enough to make it again */

struct pen_kernel_meta {             /* one kernel of a built program; immutable while a kernel is attached */
    struct pen_msg_kernel_info info; /* malloc'ed copies */
    bool differs;                    /* on another device, that name is another function's: none can be created */
};

struct pen_build_state { /* of one program on one device; guarded by program->lock */
    cl_device_id device;
    cl_build_status status;
    cl_program_binary_type binary_type;
    size_t global_variable_bytes;
    char *options, *log;       /* NULL: "" */
    struct pen_recipe *recipe; /* of the last build, or what the given binary holds; NULL: neither */
    void *native;              /* the device's own code, from a given binary; NULL: none */
    size_t native_size;
    struct pen_kernel_meta *given; /* what the given binary tells of its kernels */
    uint32_t given_count;
    void *container; /* what CL_PROGRAM_BINARIES answers, made when first asked for */
    size_t container_size;
};

struct _cl_program {
    struct pen_object object;
    cl_context context;
    char *source; /* all of it; NULL: not from source */
    void *il;     /* SPIR-V, or SPIR; NULL: neither */
    size_t il_size;
    bool spir;                /* cl_khr_spir: it came as a binary, and is built like a text all the same */
    bool from_binary, linked; /* from_binary: but for SPIR */
    cl_device_id *devices;    /* each referenced */
    cl_uint device_count;
    pthread_mutex_t lock;           /* guards what follows */
    uint64_t id;                    /* in the protocol; 0: the worker does not have it */
    struct pen_build_state *builds; /* device_count, in the order of devices */
    struct pen_kernel_meta *kernels;
    uint32_t kernel_count;
    uint32_t attached; /* kernels that exist: CL_INVALID_OPERATION on rebuild */
    bool building;
    struct pen_recipe_constant *constants; /* specialization constants */
    uint32_t constant_count;
};

struct pen_kernel_argument {
    bool set, dirty; /* dirty: changed since it was last sent */
    bool watched;    /* a region that a launch must look at: it has a host pointer, or is a sub-buffer */
    bool writes;     /* with a region: the kernel may write it */
    uint32_t kind;   /* enum pen_argument_kind of what was set */
    size_t size;
    size_t offset; /* of a sub-buffer in its buffer */
    void *object;  /* cl_mem or cl_sampler, not referenced: OpenCL 3.0, clSetKernelArg, note on ownership */
    uint64_t id;
    union {
        unsigned char small[32];
        unsigned char *large;
    } value;
};

/* What a launch on one device has to respect; made with the kernel, so that a launch looks up nothing. */
struct pen_kernel_limits {
    cl_device_id device;
    const struct pen_kernel_device_info *info;
    uint64_t max_items[3];
    uint64_t max_group;    /* of the device */
    uint64_t kernel_group; /* what the driver says of this kernel; some drivers say less than they take */
    uint64_t max_offset;   /* largest global id + 1 */
    uint64_t local_bytes;
    uint32_t base_align; /* bytes, of a sub-buffer */
    bool non_uniform;    /* the last work-group may be smaller */
    bool zero_sized;     /* a global size of 0 is a command that does nothing (OpenCL 2.1) */
};

struct pen_sub_groups; /* kernel.c: what a device has said of a work-group's shape */

struct _cl_kernel {
    struct pen_object object;
    cl_program program;
    uint64_t id;
    const struct pen_kernel_meta *meta;
    struct pen_kernel_argument *arguments; /* meta->info.arguments_count */
    struct pen_kernel_limits *limits;      /* meta->info.devices_count */
    uint32_t limit_count;
    uint32_t unset;   /* arguments never set */
    uint32_t watched; /* arguments that are */
    uint64_t local_argument_bytes;
    struct pen_sub_groups *sub_groups; /* some; NULL: never asked; guarded by program->lock */
    bool dirty;                        /* any argument is */
    bool tells;                        /* clGetKernelArgInfo may answer */
};

#endif
