/* worker/work.h - one session as the worker sees it: its objects, and what the worker's files share.
 * Ownership: objects are counted; the name a client gave is one reference, a child and a held command others.
 *            Counts belong to the dispatch thread. Backend handles belong to the object that holds them.
 * Threads:   "dispatch": the thread in pen_work_run. "driver": any thread of a driver, in a `done` callback.
 *            "watch": watch.c's. A field without a remark belongs to dispatch.
 * Errors:    a client's fault ends the session: pen_work_fail, which returns false for the handlers to pass on.
 *            What can go wrong with valid commands is an error of that command: it goes to its event. */
#ifndef PEN_WORKER_WORK_H
#define PEN_WORKER_WORK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "base/list.h"
#include "base/map.h"
#include "base/scratch.h"
#include "mem/residency.h"
#include "net/loan.h"
#include "penstock-protocol.h"
#include "sched/code.h"
#include "sched/fleet.h"
#include "sched/graph.h"
#include "sched/hazard.h"
#include "sched/place.h"
#include "sched/table.h"
#include "wire/arena.h"
#include "wire/ring.h"
#include "worker/crash.h"
#include "worker/output.h"
#include "worker/span.h"

struct pen_log_writer;
struct pen_cache;
struct pen_work_job;
struct pen_work_traced;
struct pen_builder;

/* Named limits of one session; over one of them the session fails with a sentence that names it. */
#define PEN_WORK_OBJECTS    (1u << 22)            /* objects of all kinds alive */
#define PEN_WORK_HELD       (UINT64_C(256) << 20) /* bytes of commands held in the worker */
#define PEN_WORK_SOURCES    (UINT64_C(1) << 30)   /* bytes of program texts and headers */
#define PEN_WORK_DEVICES    1024u                 /* root devices and parts */
#define PEN_WORK_DEPTH      64u                   /* slices and views between a region and its root */
#define PEN_WORK_UNITS_KEPT 64u                   /* built programs kept for the next build of the same */
#define PEN_WORK_BACKLOG    (UINT64_C(32) << 20)  /* bytes of them beyond which those without room have the ring wait */
#define PEN_WORK_REPLACED   (UINT64_C(64) << 20)  /* bytes of memories that others stand for, and drivers use still */
#define PEN_WORK_UNTRACKED  64u                   /* commands of an in-order queue between two completions asked for */

struct pen_work_domain {
    struct pen_backend_domain *backend;
    uint32_t index;                         /* its replica's number */
    struct pen_work_queue *transfer;        /* for copies between replicas; made at first use */
    struct pen_estimate to_host, from_host; /* how long those run, by bytes */
};

/* The members of a device that spans many. */
struct pen_work_fleet {
    struct pen_fleet available;
    struct pen_device_set all;
};

struct pen_work_device {
    uint64_t id;
    uint32_t index; /* in work->devices */
    const struct pen_backend_device *backend;
    struct pen_work_domain *domain;   /* NULL: it spans others */
    struct pen_work_device **members; /* which it spans; member_count of them, none of them spans */
    uint32_t member_count;
    struct pen_work_fleet *fleet; /* if it spans more than are looked at for each command */
    struct pen_work_device *span; /* the one that spans it; or NULL */
    uint32_t at;                  /* which of its span's members it is */
    struct pen_work_device *like; /* the first of its span's members that is the same as it */
    struct pen_place place;       /* of what spanning devices' queues have given it */
    struct pen_code_costs loads;  /* of `like`: what first runs of kernels take longer */
    struct pen_table waiting;     /* struct pen_work_task.waiting: for room there */
    uint64_t last_end_ns;         /* of those that are done */
    uint64_t traced_end_ns;       /* the same, of all that are traced */
};

/* Backend devices of one partition; sessions that ask twice for the same parts get the same. */
struct pen_work_partition {
    struct pen_work_partition *next;
    const struct pen_backend_device *parent;
    uint32_t domain, parts; /* as in struct pen_backend_cut */
    uint32_t units[PEN_LIMIT_PARTITIONS];
    struct pen_backend_device devices[PEN_LIMIT_PARTITIONS];
};

/* A queue's way to one device. */
struct pen_work_lane {
    struct pen_work_device *device;
    struct pen_backend_queue *backend;
};

struct pen_work_queue {
    struct pen_work *work;
    uint32_t refs;
    struct pen_list link; /* in work->queue_list */
    uint32_t slot;
    bool in_order, profiling;
    uint8_t priority; /* of a spanning device's commands that wait for room: the higher goes first */
    bool after_reads; /* has had, or waited for, a read whose bytes go beside the completions (worker/remote.h) */

    struct pen_list held; /* struct pen_work_task.held, in order */
    struct pen_work_task
        *barrier;                /* out-of-order: the last barrier while it is held; of a spanning device, until done */
    struct pen_work_task *alone; /* of a spanning device, in-order: the last that runs alone, until it is done */
    struct pen_list touched;     /* link in work->touched; empty when not */
    uint64_t traced;             /* sequence of the last command whose place was traced */
    uint64_t submitted, tracked; /* sequence of the last command submitted; of the last whose completion is asked */
    uint32_t untracked;          /* submitted since then */
    struct pen_work_group *group; /* out-of-order: the open one; NULL: no command came yet */

    /* guarded by lock: dispatch and driver */
    pthread_mutex_t lock;
    struct pen_list pending; /* in-order: struct pen_work_task.pending, in order of submission */
    uint64_t completed;      /* as published */

    uint64_t last_end_ns; /* of a spanning device: in the program's eyes */

    uint32_t lane_count; /* more than one: of a spanning device (spread.c) */
    struct pen_work_lane lanes[];
};

/* What a copy between replicas moves, until it is over. */
struct pen_work_move {
    struct pen_list link;           /* in the region's copies */
    struct pen_work_region *region; /* a root; referenced */
    uint64_t begin, end;            /* bytes of the root; of an image all */
    uint32_t to;                    /* the replica that it makes valid */
    uint64_t from;                  /* the replicas that were, before the contents were moved there */
    uint64_t overwrites;            /* the region's, when it was made */
    uint64_t sequence;
    uint64_t *needs; /* sequences of the copies that bring what it copies; need_count of them */
    uint32_t need_count;
    bool doomed; /* it has failed, or will, since one that it needs has */
    bool undone; /* the region's residency knows */
};

/* A command whose completion somebody will hear of: it has an event, is held, or moves a queue's counter. Also a
 * program's own event (queue NULL). */
struct pen_work_task {
    struct pen_graph_node node;
    struct pen_work *work;
    struct pen_work_queue *queue;
    uint32_t refs; /* name, flight (until reaped), one for each held command that waits for it */
    uint32_t slot;
    uint64_t sequence;
    const struct pen_work_lane *lane; /* NULL: not placed yet, or it never will be */
    struct pen_backend_event *event;  /* while submitted, if it has a name */
    struct pen_work_command *command; /* while held */
    struct pen_work_group *group;     /* out-of-order: that counts it while it is in the driver's hands */
    /* link in queue->held, of a program's own event in work->own_events, of a write's bytes in remote->awaited */
    struct pen_list held;
    struct pen_table_entry waiting; /* of awaits->waiting, or of work->unplaced */
    struct pen_work_device *awaits; /* while it is in it: the device whose room it waits for */
    struct pen_work_task *write;    /* of a write's bytes: that is held for them */
    int instead;                    /* error to publish when the marker that stands for a failed command completes */
    bool named;
    bool keeps_event;              /* for others to wait for */
    bool traced;                   /* log or trace have where it went, and are to have its end */
    bool delivers;                 /* a read whose bytes are recorded or sent on; `command` stays until it is done */
    struct pen_predecessor *after; /* of a traced session: what it comes after, so far; after_count of them */
    uint32_t after_count, after_room;
    struct pen_work_move *move; /* a copy between replicas, while it is not over */
    struct pen_hazard_node hazard;
    struct pen_hazard_node traced_at; /* of a traced one: in its queue's histories (trace.c), which order nothing */
    uint64_t expected_run_ns, expected_end_ns, submitted_ns; /* of a placed one, as what follows */
    struct pen_work_kernel *kernel;                          /* referenced; or NULL */
    uint64_t items;
    /* what the program has it wait for and was under way when it was submitted, referenced: it is published after them
     */
    struct pen_work_task **before;
    uint32_t before_count;
    bool after_reads; /* the queue's, when it was made */
    bool placed;      /* by spread.c, and not done */
    bool crosses;     /* waits for another device */
    bool began;       /* does not, and its device has it */
    bool starved;     /* has been in work->starved */
    bool sent_home;   /* for it, what devices alone held was copied to the host, when work->ticket was home_ticket */
    bool last_chance; /* and now nothing is under way whose end could leave it memory */
    uint64_t home_ticket;
    uint32_t tries;    /* in vain, as the first in work->starved */
    uint32_t patience; /* so many, until what devices alone hold is sent home */
    uint64_t reading;  /* bytes of what it delivers in remote->reading */

    /* written by whoever finishes it, before `done` */
    struct pen_list pending; /* guarded by queue->lock */
    bool finished;           /* guarded by queue->lock */
    bool put_off;            /* of an in-order queue: in work->early or work->put_off; guarded by queue->lock */
    bool timed;
    uint64_t ended_ns;          /* of a placed one */
    struct pen_event_times ran; /* of a traced one: as the driver says; else when it was submitted, and ended */
    int status;
    struct pen_event_times times;
    struct pen_work_task *next_finished; /* in work->finished, work->early, work->put_off */
    _Atomic bool done;                   /* release; pairs with acquire in pen_task_is_done: status is set, published */
};

struct pen_work_region {
    struct pen_work *work;
    struct pen_list link; /* in work->region_list, while uses > 0 */
    uint32_t refs;        /* of the struct: one while uses > 0, one for each kernel argument that names it */
    uint32_t uses;        /* of the contents: name, slices and views, held commands */
    uint64_t id;
    enum pen_region_kind kind;
    uint32_t flags;
    uint32_t retire_slot;
    uint64_t size, arena_offset;
    struct pen_image_desc image;
    struct pen_work_region *parent; /* slice, view; a use of it */
    uint32_t depth;                 /* its parent's + 1; of a root 0 */
    uint32_t children;              /* slices and views of itself */
    struct pen_work_region *root;
    uint64_t parent_offset;
    struct pen_residency residency; /* of the root, if it is not direct */
    /* of the root (move.c): what watched commands do with the host's replica, or with a direct region; and with those
     * of the domains, history_count of them */
    struct pen_hazard_region history, *histories;
    uint32_t history_count;
    struct pen_work_traced *traced; /* of the root: what in-order queues do that keep their order by themselves */
    struct pen_list copies; /* struct pen_work_move.link: of the root, under way, in the order they were made in */
    uint64_t overwrites;    /* commands that left no old byte of what they covered */
    bool watched;           /* it has been in two domains: every command with it is watched */
    uint64_t noted;         /* the domains where every command with it that is not over is in the histories */
    uint64_t made; /* of the root: the domains whose memory was made for the last command that was placed there */
    struct pen_backend_memory **memories; /* by domain; memory_count of them */
    uint32_t memory_count;
};

struct pen_work_sampler {
    const struct pen_backend_ops *ops;
    uint32_t refs;
    struct pen_msg_sampler_create message;
    struct pen_backend_sampler **samplers; /* by domain */
    uint32_t sampler_count;
};

/* A program built (or compiled, or linked) for one device, or for several that are the same; never changes. */
struct pen_work_unit {
    struct pen_work *work;
    uint32_t refs;
    struct pen_work_device *device;      /* the first of them */
    struct pen_backend_program *backend; /* NULL when there was none to make */
    struct pen_build_result result;
    int status;
    char *log; /* or NULL */
    struct pen_msg_kernel_info *kernels;
    uint32_t kernel_count;
    bool **reads; /* by kernel and argument: it is only read through, by the program's text; NULL: not known of any */
    struct pen_cache_entry
        *stored;     /* the kernels' strings lie in it; NULL: they are malloc'ed, as the backend made them */
    uint64_t key[2]; /* 0, 0: not to be found again */
};

struct pen_work_header {
    char *name;
    void *bytes;
    uint64_t size;
};

struct pen_work_constant {
    uint32_t id, size;
    unsigned char value[64];
};

/* What the application gave: all of a program, or one device's own binary. */
struct pen_work_text {
    struct pen_work_device *device; /* native: the one it is for; else NULL */
    unsigned char *bytes;           /* followed by a zero */
    uint64_t size;
};

struct pen_work_program {
    struct pen_work *work;
    uint32_t refs;
    uint64_t id;
    enum pen_program_kind kind;
    struct pen_work_text *texts; /* native: one for each device; else one, or none when made by a link */
    uint32_t text_count;
    bool prints;              /* it may print: its text or module holds printf, or it is native */
    struct pen_work_job *job; /* its build under way; until then text, headers and constants stay as they are */
    bool headers_used;        /* a build has come since the last header */
    struct pen_work_header *headers;
    uint32_t header_count;
    struct pen_work_constant *constants;
    uint32_t constant_count;
    uint64_t key[2];              /* of all the above, once it is needed; 0, 0 before */
    struct pen_work_unit **units; /* by device; unit_count of them */
    uint32_t unit_count;
};

struct pen_work_argument {
    uint64_t version; /* unique in the session; 0: never set */
    enum pen_argument_kind kind;
    int error; /* it was set to what it cannot be */
    uint32_t size, capacity;
    void *object;         /* region (referenced), sampler (referenced), or NULL */
    unsigned char *value; /* capacity bytes */
};

/* A kernel on a device: in its driver's hands, and which arguments it was last given; and what spanning devices' queues
 * had it do there. */
struct pen_work_instance {
    struct pen_backend_kernel *backend; /* NULL: not yet */
    uint64_t version, memory_epoch;
    struct pen_code code;
    struct pen_code_runs runs; /* of `like`: of all that are the same */
    uint64_t versions[];       /* by argument */
};

struct pen_work_kernel {
    struct pen_work *work;
    uint32_t refs;
    char *name;
    int error; /* why it cannot run */
    struct pen_work_program *program;
    struct pen_work_unit **units; /* by device, as they were when it was created; referenced */
    uint32_t unit_count;
    const struct pen_msg_kernel_info *info; /* of the first unit that has it; NULL with error */
    struct pen_work_instance **instances;   /* by device */
    uint32_t instance_count;
    uint64_t version;                    /* of the last argument set */
    uint64_t plain_version, plain_epoch; /* with these, every region argument was found alive and direct */
    bool own_variables;                  /* its program has variables of its own */
    bool *reads;                         /* by argument: it is only read through, by its text; NULL: not known of any */
    uint32_t argument_count;
    struct pen_work_argument *arguments;
};

/* A queued command, decoded, checked and resolved. On the stack when it is submitted at once (then it borrows what it
 * names); a copy of its own, with references, while held. */
struct pen_work_command {
    uint16_t opcode;
    uint64_t sequence;
    struct pen_work_queue *queue;
    const struct pen_work_lane *lane; /* of the queue: where it runs */
    struct pen_work_task **waits;
    uint32_t wait_count, wait_room;
    uint32_t order_from; /* from here on they are waited for, but their failing is no matter; UINT32_MAX: none */
    bool kept;           /* a copy, with references */
    size_t held_bytes;
    union {
        struct {
            struct pen_work_kernel *kernel;
            struct pen_work_argument *arguments; /* the kernel's, or a held command's own */
            uint64_t version;
            uint32_t dimensions;
            uint64_t offset[3], global[3], local[3];
        } launch;
        struct {
            struct pen_work_region *region;
            struct pen_box box, host;
            uint64_t extent[3];
            uint64_t arena_offset, arena_size;
            bool whole; /* a write that leaves no old byte */
            bool lent;  /* a write whose bytes are received into the region's memory */
            struct pen_loan loan;
        } transfer;
        struct {
            struct pen_work_region *source, *target;
            struct pen_box source_box, target_box;
            uint64_t extent[3];
            bool whole;
        } copy;
        struct {
            struct pen_work_region *region;
            uint64_t origin[3], extent[3];
            uint32_t pattern_bytes;
            bool whole;
            unsigned char pattern[PEN_LIMIT_PATTERN];
        } fill;
        struct {
            struct pen_work_region **regions;
            uint32_t count;
        } migrate;
    } u;
};

/* What program and worker share: made before there is a program, since filling the ring with pages takes half of what
 * opening a session takes. Zeroed: none. */
struct pen_work_memory {
    int shared_fd, arena_fd;
    struct pen_shared_view view;
    unsigned char *arena;
    uint64_t arena_bytes;
};

struct pen_work_config {
    const struct pen_backend_ops *ops;
    const struct pen_offer *offers; /* ids 1, 2, ... */
    uint32_t offer_count;
    const uint64_t *allowed; /* ids of those that the session may use */
    uint32_t allowed_count;
    uint32_t features;              /* PEN_FEATURE_*, as asked; `record` needs a log */
    struct pen_work_memory *memory; /* taken (then it is zeroed), or left when nothing could be made */
    uint64_t spin_ns;
    uint64_t session;
    const char *program;          /* its name, for the log; may be NULL */
    const char *tmp_dir;          /* private; "" : programs with headers fail */
    struct pen_cache *cache;      /* borrowed; may be NULL */
    struct pen_log_writer *log;   /* borrowed; NULL: no record */
    struct pen_crash_page *crash; /* borrowed */
    struct pen_capture *capture;  /* borrowed; NULL: stdout is not captured */
    int client_fd;                /* borrowed */
    struct pen_remote *remote;    /* borrowed; NULL: the program is on this host */
};

struct pen_work {
    struct pen_work_config config;
    const struct pen_backend_ops *ops;
    uint32_t features;
    struct pen_crash_page *crash;
    struct pen_log_writer *log;
    uint64_t traced_bytes; /* in `trace` */

    struct pen_shared_view view;
    int shared_fd, arena_fd;
    unsigned char *arena;
    uint64_t arena_bytes; /* these five are the config's memory */
    struct pen_ring_reader ring;
    struct pen_scratch scratch;
    struct pen_outbox outbox; /* any thread */

    struct pen_work_device **devices;
    uint32_t device_count;
    struct pen_work_domain *domains[PEN_REPLICAS];
    uint32_t domain_count;
    struct pen_work_partition *partitions;

    struct pen_map device_map, queues, regions, samplers, programs, kernels, events;
    uint32_t objects;
    uint64_t held_bytes, source_bytes;
    uint64_t version;       /* last given to an argument */
    uint64_t destroy_epoch; /* +1 whenever a region goes */
    uint64_t memory_epoch;  /* +1 whenever one has other memory than it had, which drivers' kernels are to be told */
    struct pen_list queue_list, touched;
    struct pen_list region_list; /* those alive, also without a name */
    struct pen_list own_events;  /* the program's, not set yet */
    struct pen_graph graph;
    struct pen_work_task *spare;  /* tasks to be used again, by next_finished */
    struct pen_work_task **waits; /* wait_room of them, for the command at hand */
    uint32_t wait_room;
    struct pen_hazards hazards;
    uint64_t ticket;           /* of the last access */
    uint64_t copies;           /* made so far */
    uint32_t moving;           /* under way */
    struct pen_table unplaced; /* struct pen_work_task.waiting: ready for a place, of which the first goes first */
    uint32_t no_room;          /* tasks of spanning devices, whose best device is full; graph.held counts them */
    struct pen_list starved;   /* struct pen_work_task.node.ready: there was no memory for them, the oldest first */
    struct pen_list unsent; /* struct pen_work_task.node.ready: reads that wait until those before are on their way */
    struct pen_work_unit *kept[PEN_WORK_UNITS_KEPT];
    char *options; /* of the build to come, so far; NULL: none */
    uint32_t kept_next;
    struct pen_builder *builder;         /* from the first build on */
    const struct pen_work_kernel *noted; /* newest in the crash page */
    void *reply;                         /* PEN_LIMIT_FRAME bytes, for the reply being encoded */
    uint64_t sequence;                   /* of the last command */
    uint32_t flying;                     /* tasks submitted and not reaped */
    bool last;                           /* the frame at hand is the last in the ring */
    int failed;                          /* -PEN_E*: the session has ended */
    bool parked;                         /* nothing is in the devices' own memory, see park.c */
    bool ending;                         /* being destroyed: what is held stays held */
    struct pen_work_task *put_off;       /* done, and to be published after others */

    _Atomic uint32_t holding;   /* some are held or put off: finished tasks must wake dispatch; seq_cst with finished */
    _Atomic uint32_t callbacks; /* drivers' threads in `done`, and regions on their way out */
    _Atomic uint32_t printers;  /* programs alive that may print */
    _Atomic uint64_t replaced;  /* bytes, see PEN_WORK_REPLACED */
    _Atomic(struct pen_work_task *) finished; /* pushed by drivers, taken as a whole by dispatch */
    _Atomic(struct pen_work_task *) early;    /* the same: those to be put off */
    _Atomic bool stop;                        /* pen_work_stop */
    _Atomic bool left;                        /* pen_work_leave: dispatch writes nothing any more */
    _Atomic bool park;                        /* pen_park_want */
    /* seq_cst, dispatch with watch: a trace of the session as it runs; NULL: nobody wants one. Dispatch makes it;
     * whoever exchanges it for NULL ends it: dispatch, or watch when dispatch does not come to that. */
    _Atomic(struct pen_log_writer *) trace;
    _Atomic int trace_file; /* pen_trace_want: of a trace that is to begin; -1: none */
    _Atomic int trace_end;  /* pen_trace_end: to be closed when the trace is whole; -1: none */
};

/* ---- session.c ---------------------------------------------------------------------------------------- */

/* Makes the shared page and the arena of a session to come. */
int pen_work_memory_create(uint32_t ring_bytes, uint64_t arena_bytes, struct pen_work_memory *out_memory,
                           struct pen_error *error);
/* Accepts a zeroed one. */
void pen_work_memory_finish(struct pen_work_memory *memory);
/* Makes all that belongs to a session, and sends session_opened. */
int pen_work_create(const struct pen_work_config *config, struct pen_work **out_work, struct pen_error *error);
/* Waits for all that was submitted, frees everything. Accepts NULL. */
void pen_work_destroy(struct pen_work *work);
/* Executes commands until pen_work_stop (0) or the session fails (-PEN_E*). */
int pen_work_run(struct pen_work *work);
/* Any thread. */
void pen_work_stop(struct pen_work *work);
/* After pen_work_run, when the process is about to end: log and trace get what has been done. Nothing is freed. */
void pen_work_leave(struct pen_work *work);
/* Makes dispatch look at what drivers and builders have finished. Any thread. */
void pen_work_kick(struct pen_work *work);
/* Ends the session with a sentence for the program. Returns false. Once: later ones are ignored. */
bool pen_work_fail(struct pen_work *work, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for a frame that does not decode. */
bool pen_work_malformed(struct pen_work *work, uint16_t opcode, int code);
/* Executes one frame (header checked). False when the session has failed. */
bool pen_work_execute(struct pen_work *work, const void *frame, size_t size);
/* What is due when the ring has run empty, and now and then when it does not. */
void pen_work_idle(struct pen_work *work);
/* Encodes and sends one reply: PEN_REPLY(work, data, &message, sequence). */
#define PEN_REPLY(work_, name_, message_, sequence_)                                                                   \
    do {                                                                                                               \
        size_t pen_size_ = pen_msg_##name_##_size(message_);                                                           \
        void *pen_frame_ = pen_work_reply_begin((work_), #name_, pen_size_);                                           \
        if (pen_frame_) {                                                                                              \
            pen_msg_##name_##_encode((message_), (sequence_), pen_frame_);                                             \
            pen_work_reply_send((work_), pen_frame_, pen_size_);                                                       \
        }                                                                                                              \
    } while (0)
/* Where to encode a reply of `size` bytes; NULL after failing the session (0: the message exceeds a limit). */
void *pen_work_reply_begin(struct pen_work *work, const char *name, size_t size);
void pen_work_reply_send(struct pen_work *work, const void *frame, size_t size);
/* A whole answer made of `data` parts (one empty part when size is 0 and `empty`). */
void pen_work_reply_data(struct pen_work *work, uint64_t sequence, int status, const void *bytes, uint64_t size,
                         bool empty);

/* ---- commands_object.c, commands_queue.c, program.c, kernel.c: decode, check, carry out; false: the session has
 * failed */

bool pen_work_object_command(struct pen_work *work, uint16_t opcode, const void *frame, size_t size, uint64_t sequence);
bool pen_work_queue_command(struct pen_work *work, uint16_t opcode, const void *frame, size_t size, uint64_t sequence);
bool pen_work_program_command(struct pen_work *work, uint16_t opcode, const void *frame, size_t size,
                              uint64_t sequence);
bool pen_work_kernel_command(struct pen_work *work, uint16_t opcode, const void *frame, size_t size, uint64_t sequence);

/* ---- objects.c ------------------------------------------------------------------------------------------ */

/* The object of that id, or NULL after failing the session. `what` is for the sentence: "queue". */
void *pen_work_find(struct pen_work *work, const struct pen_map *map, uint64_t id, const char *what);
/* Names a new object; false after failing the session (id 0, taken, over a limit). */
bool pen_work_name(struct pen_work *work, struct pen_map *map, uint64_t id, void *object, const char *what);
/* Takes the name away; NULL after failing the session. */
void *pen_work_unname(struct pen_work *work, struct pen_map *map, uint64_t id, const char *what);
struct pen_work_device *pen_work_device(struct pen_work *work, uint64_t id);
/* New device; -PEN_ELIMIT. Makes its domain known when it is new. id 0: no command can name it. */
int pen_work_add_device(struct pen_work *work, uint64_t id, const struct pen_backend_device *backend,
                        struct pen_work_device **out_device);
/* A device offered to programs, with those it spans. */
int pen_work_add_offer(struct pen_work *work, uint64_t id, const struct pen_offer *offer);
/* Those that commands for it run on: its members, or itself. */
static inline uint32_t pen_device_members(struct pen_work_device *const *device,
                                          struct pen_work_device *const **out_members)
{
    *out_members = (*device)->member_count ? (*device)->members : device;
    return (*device)->member_count ? (*device)->member_count : 1;
}
/* Grows a zero-filled array of pointers so that `index` lies in it. */
int pen_work_grow(void *array_of_pointers, uint32_t *count, uint32_t index);

/* As the message says, for the device or what it spans; 0 or the driver's -PEN_E*. */
int pen_queue_create(struct pen_work *work, struct pen_work_device *device, const struct pen_msg_queue_create *message,
                     struct pen_work_queue **out);
/* The queue for copies to and from a device's domain: the domain's. */
int pen_queue_of_domain(struct pen_work *work, struct pen_work_device *device, struct pen_work_queue **out);
void pen_queue_ref(struct pen_work_queue *queue);
void pen_queue_unref(struct pen_work_queue *queue);
void pen_sampler_unref(struct pen_work_sampler *sampler);
void pen_program_unref(struct pen_work_program *program);
void pen_kernel_ref(struct pen_work_kernel *kernel);
void pen_kernel_unref(struct pen_work_kernel *kernel);

/* ---- region.c ------------------------------------------------------------------------------------------- */

struct pen_work_region *pen_region_create(struct pen_work *work, uint64_t id);
void pen_region_ref(struct pen_work_region *region);
void pen_region_unref(struct pen_work_region *region);
void pen_region_use(struct pen_work_region *region);
/* The last one destroys the memories; retire_slot is published when the drivers have let go of them. */
void pen_region_unuse(struct pen_work_region *region);
static inline bool pen_region_alive(const struct pen_work_region *region)
{
    return region->uses != 0;
}
/* It has one memory, the host's, for all devices: nothing moves. */
static inline bool pen_region_is_direct(const struct pen_work_region *region)
{
    return region->flags & PEN_REGION_FLAG_DIRECT;
}
/* The backend's memory for it in the device's domain. */
int pen_region_memory(struct pen_work_region *region, struct pen_work_device *device, struct pen_backend_memory **out);
/* Another memory for it in the device's domain, for a command that leaves no old byte: what has been submitted goes on
 * with the one there was, which goes when drivers have let go of it. An error leaves that one: there is no memory, or
 * slices lie in it, or it would exceed PEN_WORK_REPLACED. */
int pen_region_replace(struct pen_work_region *region, struct pen_work_device *device);
/* Nothing but memory stands against that. */
bool pen_region_may_replace(const struct pen_work_region *region);
/* Gives back its memory in the domain, with those of its slices and views: its contents are elsewhere, and nothing that
 * has yet to be submitted is to find them there. Its `root`. */
void pen_region_leave(struct pen_work_region *root, uint32_t domain);
/* Frees its memories in all domains, unless only they have its contents. A slice's go before those of what it is of. */
void pen_region_let_go(struct pen_work_region *region);

/* ---- build.c, unit.c ------------------------------------------------------------------------------------ */

/* Builds as the message says; the answer is sent when it is done, by pen_build_collect. */
bool pen_work_build_options(struct pen_work *work, const struct pen_msg_build_options *message);
bool pen_work_build(struct pen_work *work, const struct pen_msg_program_build *message, uint64_t sequence);
/* Takes back what the builder has finished, and answers. */
void pen_build_collect(struct pen_work *work);
/* Waits for the build that runs, drops the others. */
void pen_build_discard_all(struct pen_work *work);
/* The program of that id when no build of it is under way any more; NULL after failing the session. */
struct pen_work_program *pen_program_find(struct pen_work *work, uint64_t id, const char *what);
/* What the device is to make of it; NULL: a binary for other devices, or made by a link. */
const struct pen_work_text *pen_program_text(const struct pen_work_program *program,
                                             const struct pen_work_device *device);
/* The unit kept of an equal build, referenced, or NULL; and its key. */
struct pen_work_unit *pen_unit_find(struct pen_work_program *program, const struct pen_work_device *device,
                                    enum pen_build_step step, const char *options, uint64_t out_key[2]);
/* Keeps it for the next build of the same, if that may be. */
void pen_unit_keep(struct pen_work_unit *unit, const uint64_t key[2]);
/* What one unit is made for: devices of one domain that are the same, one at least. */
struct pen_unit_devices {
    struct pen_work_device *devices[PEN_LIMIT_DEVICES];
    uint32_t count;
};
/* One step of a program, by the cache on disk or the driver. The unit counts what went wrong as its status; -PEN_ENOMEM
 * only without one. inputs: the units to link. On the builder's thread. */
int pen_unit_make(struct pen_work_program *program, const struct pen_unit_devices *on, enum pen_build_step step,
                  const char *options, struct pen_work_unit *const *inputs, uint32_t input_count,
                  struct pen_work_unit **out_unit);
/* What a whole program's text or module, built with these options, shows to be only read. On the builder's thread. */
void pen_unit_find_reads(struct pen_work_unit *unit, const struct pen_work_program *program, const char *options);
/* That of the unit's kernel of that name, with so many arguments, by argument; NULL: nothing is known. */
const bool *pen_unit_reads(const struct pen_work_unit *unit, const char *name, uint32_t argument_count);
void pen_unit_unref(struct pen_work_unit *unit);
/* The description of a unit's kernel of that name, or NULL. */
const struct pen_msg_kernel_info *pen_unit_kernel(const struct pen_work_unit *unit, const char *name);
/* Forgets the units kept for the next build of the same. */
void pen_unit_forget_all(struct pen_work *work);
/* headers.c: a program's headers where a compiler finds them. */
struct pen_headers {
    char *options;   /* with @N@ replaced by directory N of them */
    char *directory; /* NULL: there are none */
    bool passing;    /* for this build only */
    int fd;          /* locks it; -1 */
};
/* Writes them, once for equal ones if there is a cache. They stay until they are left. On the builder's thread. */
int pen_headers_place(const struct pen_work_program *program, const char *options, struct pen_headers *out_headers);
void pen_headers_leave(struct pen_headers *headers);

/* ---- kernel.c ------------------------------------------------------------------------------------------- */

/* The kernel ready to launch on the device with these arguments: regions resident, arguments set. */
int pen_kernel_prepare(struct pen_work_kernel *kernel, struct pen_work_argument *arguments, uint64_t version,
                       struct pen_work_device *device, struct pen_backend_kernel **out);
/* The kernel on the device, to note what is learnt of it; NULL: out of memory. */
struct pen_work_instance *pen_kernel_instance(struct pen_work_kernel *kernel, const struct pen_work_device *device);
/* A copy of the arguments, for a held launch: uses the regions. */
int pen_kernel_snapshot(const struct pen_work_kernel *kernel, struct pen_work_argument **out, size_t *out_bytes);
void pen_kernel_snapshot_free(struct pen_work_argument *arguments, uint32_t count);

/* ---- enqueue.c, handover.c, task.c (what these share among themselves: task.h) --------------------------- */

/* Submits the command, or holds it; makes its task if it needs one. Takes nothing. False: the session has failed. */
bool pen_task_enqueue(struct pen_work *work, struct pen_work_command *command, uint64_t event, uint32_t slot,
                      const uint64_t *waits, uint32_t wait_count);
bool pen_task_event_create(struct pen_work *work, uint64_t event, uint32_t slot);
bool pen_task_event_set(struct pen_work *work, uint64_t event, int status);
bool pen_task_event_destroy(struct pen_work *work, uint64_t event);
/* Takes in what drivers have finished, and submits what has become ready. */
void pen_task_reap(struct pen_work *work);
/* The task of a copy that makes a replica valid of contents that were elsewhere; NULL: out of memory. */
struct pen_work_task *pen_task_of_move(const struct pen_work_command *command, const struct pen_work_move *move);
/* A copy goes as soon as what it waits for is under way. 0, or the driver's -PEN_E* when it was refused at once. */
int pen_task_start(struct pen_work_command *command, struct pen_work_task *task);
/* A task in flight that is done when all is that was submitted on the queue of a plain device; NULL: all is. 0 or
 * -PEN_ENOMEM. */
int pen_task_mark(struct pen_work_queue *queue, struct pen_work_task **out_task);
/* Asks for the completion of what was submitted on the in-order queue without asking. */
void pen_task_track(struct pen_work_queue *queue);
/* No command will come to the out-of-order queue any more: what is in flight takes a reference on it. */
void pen_task_last(struct pen_work_queue *queue);
/* The bytes of a write have come for which pen_remote_await was asked. Any thread. */
void pen_task_arrived(struct pen_work_task *task);
/* The driver's callback for a task's command; any thread. */
void pen_task_done(void *task, int status, const struct pen_event_times *times);
void pen_task_unref(struct pen_work_task *task);
/* Are tasks submitted that no driver has finished? */
static inline bool pen_task_flying(const struct pen_work *work)
{
    return work->flying != 0;
}
/* The same, but for those done that are not published, since what comes before them in their queue never will be. */
bool pen_task_running(struct pen_work *work);
/* At the end, when no driver has a task any more. */
void pen_task_discard_all(struct pen_work *work);

/* ---- trace.c: of a session that is recorded (work->log), or traced as it runs (work->trace) ------------------ */

static inline bool pen_is_traced(const struct pen_work *work)
{
    return work->log || atomic_load_explicit(&work->trace, memory_order_relaxed); /* dispatch alone sets it */
}
/* What a log begins with: who ran, and on which devices. 0 or what its writer says. */
int pen_trace_head(const struct pen_work *work, struct pen_log_writer *log);
/* Somebody, at the other end of `connection`, wants a trace; `current`: of who has one already, -1: nobody. Answers
 * him. 0: from then on he is traced for, until pen_trace_end. Watch. */
int pen_trace_want(struct pen_work *work, int current, int connection);
/* The trace is to end. The connection is closed when it is whole (takes). Watch. */
void pen_trace_end(struct pen_work *work, int connection);
/* Begins and ends traces, and writes what there is of one. */
void pen_trace_step(struct pen_work *work);
/* What is left of a trace at the end of the session: it is whole. */
void pen_trace_finish(struct pen_work *work);
/* The process is about to end: waits until pen_work_leave has made log and trace whole, or, when dispatch is stuck in a
 * driver, for half a second, and writes what there is of the trace. Watch. */
void pen_trace_leave(struct pen_work *work);
/* It comes after that one; noted for pen_trace_placed, if the session is traced. */
void pen_trace_after(struct pen_work_task *task, const struct pen_work_task *before, enum pen_edge why);
/* The same, because of the bytes that both access. */
void pen_trace_met(const struct pen_work_command *command, struct pen_work_task *task,
                   const struct pen_work_task *before, enum pen_hazard_kind kind);
/* It is about to be submitted. */
void pen_trace_placed(const struct pen_work_command *command, struct pen_work_task *task);
/* Its driver has it: who comes after its data comes after it. Of one that is refused nobody does. */
void pen_trace_accepted(const struct pen_work_command *command, struct pen_work_task *task);
/* The root region goes away. */
void pen_trace_forget(struct pen_work_region *root);
/* Its driver is done with it. Any thread. */
void pen_trace_ended(struct pen_work_task *task, const struct pen_event_times *times);
/* It is done. */
void pen_trace_executed(struct pen_work_task *task);

/* ---- group.c -------------------------------------------------------------------------------------------- */

/* One more command of an out-of-order queue, about to be submitted; NULL: out of memory. */
struct pen_work_group *pen_group_enter(struct pen_work_queue *queue);
/* It is complete, or was refused. Any thread; after its completion was published. Accepts NULL. */
void pen_group_leave(struct pen_work_group *group);
/* The driver's callback for a command without a task; context: its group. */
void pen_group_done(void *context, int status, const struct pen_event_times *times);
/* `marker` (in flight) is done when all that has entered is, which may be now. last: nothing enters any more.
 * -PEN_ENOMEM, unless it is the last. */
int pen_group_close(struct pen_work_queue *queue, struct pen_work_task *marker, bool last);

/* ---- access.c ------------------------------------------------------------------------------------------- */

struct pen_access {
    struct pen_work_region *root;
    uint64_t begin, end; /* bytes of the root */
    enum pen_hazard_mode mode;
    bool fresh; /* leaves no old byte of those */
};

/* Something that it waits for may fail, or has failed: then it never runs, and leaves every old byte. */
bool pen_command_may_be_refused(const struct pen_work_command *command);
/* How many, of PEN_LIMIT_ARGUMENTS at most. What it does not name it does not touch. */
uint32_t pen_command_accesses(const struct pen_work_command *command, struct pen_access out[PEN_LIMIT_ARGUMENTS]);
/* Is any of them of a region whose contents move? */
bool pen_access_moves(const struct pen_access *accesses, uint32_t count);

/* ---- move.c ---------------------------------------------------------------------------------------------- */

/* For a command that nothing has to be moved for, and that no copy is in the way of: notes what it does to where
 * contents are valid. False: it has to be placed, with what follows. */
bool pen_move_try_pass(const struct pen_work_command *command);
/* Has copies made of what is not valid on the command's lane; its waits grow by what it has to come after. 0 or
 * -PEN_ENOMEM. */
int pen_move_note(struct pen_work_command *command, struct pen_work_task *task, const struct pen_access *accesses,
                  uint32_t count);
/* Bytes that the access is to find, and that have to be brought to the device first. */
uint64_t pen_move_missing(const struct pen_access *access, const struct pen_work_device *device);
/* How long that is expected to take. */
uint64_t pen_move_expected_ns(const struct pen_access *access, const struct pen_work_device *device);
/* The copy is over, or never will be: the region's, which is no longer the task's. */
void pen_move_over(struct pen_work_task *copy);
/* Whose access that is. */
static inline const struct pen_work_task *pen_task_of_hazard(const struct pen_hazard_node *node)
{
    return PEN_CONTAINER((struct pen_hazard_node *)(uintptr_t)node, struct pen_work_task, hazard);
}
/* What watched commands on the device would have to come after. */
void pen_move_visit(const struct pen_access *access, const struct pen_work_device *device,
                    void (*visit)(void *context, const struct pen_hazard_node *before), void *context);
/* The access leaves no old byte, and need not come after those that are at them on the device: it is to have a memory
 * of its own there. Its command's waits are known; nothing that they wait for can fail. */
bool pen_move_overtakes(const struct pen_work_command *command, const struct pen_access *access,
                        const struct pen_work_device *device);
void pen_move_forget(struct pen_work_region *root);
/* Begins to make the host's replica valid, if only others are. -PEN_E*. */
int pen_move_home(struct pen_work_region *root);

/* ---- room.c ---------------------------------------------------------------------------------------------- */

/* Has the device's memory hold all that the accesses are of; what need not be there leaves, where it is short.
 * -PEN_EDEVMEM: that was not enough. */
int pen_room_reserve(const struct pen_access *accesses, uint32_t count, struct pen_work_device *device);
/* Begins to copy to the host what devices alone hold. With nothing under way. */
void pen_room_send_home(struct pen_work *work);
/* All leaves that need not be where the command runs, and is not the command's. False: there was nothing. */
bool pen_room_make(const struct pen_work_command *command);

/* ---- park.c ---------------------------------------------------------------------------------------------- */

/* Whether the session is to give its devices' memory back, when nothing is under way. Any thread. */
void pen_park_want(struct pen_work *work, bool wanted);
/* Does so, if it is time; when the ring has run empty. */
void pen_park_step(struct pen_work *work);

/* ---- spread.c: commands of a spanning device's queues ----------------------------------------------------- */

static inline bool pen_is_spread(const struct pen_work_queue *queue)
{
    return queue->lane_count > 1;
}
/* The device has its members. 0 or -PEN_ENOMEM. */
int pen_spread_init(struct pen_work_device *device);
void pen_spread_finish(struct pen_work_device *device);
/* Does it only wait? No device sees it then. */
bool pen_spread_is_marker(const struct pen_work_command *command);
/* Must all before it in its in-order queue be done, and no later one have begun? */
bool pen_spread_is_alone(const struct pen_work_command *command);
/* How far that must have come before the command, which has no place yet, can have one. */
enum pen_graph_until pen_spread_until(const struct pen_work_command *command, const struct pen_work_task *wait);
/* pen_spread_choose: the device where it would be done first has no room for more commands; task->awaits says which. */
#define PEN_SPREAD_LATER 1
/* Chooses a device that has memory for it: the command's lane, and the task's. 0, PEN_SPREAD_LATER or -PEN_E*. */
int pen_spread_choose(struct pen_work_command *command, struct pen_work_task *task, const struct pen_access *accesses,
                      uint32_t count);
/* Bytes that the device lacks whose room it waits for. */
uint64_t pen_spread_missing(const struct pen_work_task *task);
/* A placed one is done. */
void pen_spread_left(struct pen_work_task *task);

/* ---- here.c ---------------------------------------------------------------------------------------------- */

/* May dispatch do the command itself, in the region's memory, when it is its turn? */
bool pen_here_may(const struct pen_work_command *command);
/* Is it to, now? The command is about to be submitted. */
bool pen_here_is_turn(const struct pen_work_command *command);
/* Does it, in place of a driver, and tells the task, which is in flight. */
void pen_here_run(struct pen_work_command *command, struct pen_work_task *task);
/* Lends the region's memory for the bytes of the held write, the first of which are about to come, if it is its turn.
 */
void pen_here_lend(struct pen_work_task *task);
void pen_here_take_back(struct pen_work_command *command);

/* ---- submit.c ------------------------------------------------------------------------------------------- */

/* Gives the command to the backend. `order` holds its waits and whom to tell. */
int pen_command_submit(struct pen_work_command *command, const struct pen_backend_order *order);
/* A copy with references on all it names; NULL when out of memory. */
struct pen_work_command *pen_command_keep(const struct pen_work_command *command);
void pen_command_free(struct pen_work_command *command);
/* One more to wait for; the reference is taken when the command is kept. 0 or -PEN_ENOMEM. */
int pen_command_add_wait(struct pen_work *work, struct pen_work_command *command, struct pen_work_task *wait);
/* Of a kept command that has been submitted: it no longer keeps what it waited for. */
void pen_command_forget_waits(struct pen_work_command *command);
/* What a read has put into the arena: its XXH3 as an entry of the log, or its bytes on their way to the program's host.
 * Driver thread. */
void pen_command_deliver(struct pen_work *work, const struct pen_work_command *command);

#endif
