/* backend/backend.h - what the worker asks of a vendor's runtime. opencl.c drives real devices; fake.c is a
 * deterministic one for tests.
 *
 * A *domain* is a set of devices of one driver that share objects and can wait for each other's events on the
 * device side (one vendor context). Commands that depend on another domain are held by the worker until that is
 * done; the backend never sees them before.
 *
 * Ownership: handles are owned by the worker, which destroys each; a destroyed handle may be in use by commands
 *            still running (the runtime retains it).
 * Threads:   the worker calls from two: dispatch calls everything; a builder meanwhile program_create, _constant,
 *            _build, _kernels, _binary, _destroy, kernel_create, kernel_info and kernel_destroy, of other programs and
 *            kernels than dispatch's at the time. Only what a link takes in, dispatch may make kernels of and read
 *            binaries of at the same time. A device with `one_thread` sees dispatch alone.
 *            `done` callbacks come on any thread of the driver's, also before the enqueue call has returned; they only
 *            note and wake.
 * Errors:    0 or -PEN_E*. A command whose call fails was not queued: its `done` is never called, *out_event not set.
 *            One that fails later says so through `done`, and poisons what waits for its event (-PEN_EDEPENDENCY). */
#ifndef PEN_BACKEND_BACKEND_H
#define PEN_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "penstock-protocol.h"
#include "wire/shared.h"

/* opaque, each backend has its own */
struct pen_backend_domain;
struct pen_backend_queue;
struct pen_backend_memory;
struct pen_backend_sampler;
struct pen_backend_program;
struct pen_backend_kernel;
struct pen_backend_event;

struct pen_backend_property {
    uint32_t key;
    uint32_t size;
    void *value;
};

/* Keys from here on are no device query of OpenCL's: supported image formats, a cl_image_format[] each, under
 * PEN_KEY_FORMATS + 16 * access + kind (the same as in icd/object.h).
 * access: 0 CL_MEM_READ_WRITE, 1 WRITE_ONLY, 2 READ_ONLY, 3 KERNEL_READ_AND_WRITE; kind: enum pen_region_kind. */
#ifndef PEN_KEY_FORMATS
#define PEN_KEY_FORMATS 0x70000000u
#endif

/* What cutting a device along an affinity domain comes to, under PEN_KEY_PARTS + the number of the domain's bit: a
 * uint32_t[], the domain that was cut along, then the compute units of each part (the same as in icd/object.h). */
#ifndef PEN_KEY_PARTS
#define PEN_KEY_PARTS 0x70001000u
#endif

/* A device as found. Index `index` within its domain. */
struct pen_backend_device {
    struct pen_backend_domain *domain;
    uint32_t index;
    enum pen_device_class class;
    uint32_t flags;  /* PEN_DEVICE_FLAG_*, probed, not believed */
    bool one_thread; /* the driver cannot be called by two threads at the same time */
    uint64_t memory_bytes;
    uint32_t compute_units;
    char vendor_name[256], driver[256], driver_version[256];
    struct pen_backend_property *properties;
    uint32_t property_count;
};

/* How a device is to be cut: into parts of so many compute units each. */
struct pen_backend_cut {
    uint32_t domain; /* by this affinity domain, which has to come to the same; 0: by units alone */
    uint32_t parts;
    const uint32_t *units;
};

struct pen_backend_queue_desc {
    uint32_t flags;                   /* PEN_QUEUE_FLAG_* */
    enum pen_hint priority, throttle; /* for drivers that take such hints */
};

/* Called once for each command that asked for it, from any thread. status: 0 or -PEN_E*. times: NULL unless the
 * queue profiles. Of an in-order queue, PoCL calls in order; rusticl and Oclgrind may call a later command's first
 * (the earlier ones have ended by then too). */
typedef void (*pen_backend_done)(void *context, int status, const struct pen_event_times *times);

/* What every queued command carries. */
struct pen_backend_order {
    struct pen_backend_event *const *waits; /* of the same domain */
    uint32_t wait_count;
    pen_backend_done done; /* NULL: nobody is told. With out_event NULL too, an enqueue is cheapest. */
    void *context;
    struct pen_backend_event **out_event; /* NULL: not wanted; else the caller releases it */
};

/* Of a buffer, all is in bytes: extent {n, 1, 1} is one run; rows and slices by the pitches (0: tight), as in
 * clEnqueueReadBufferRect. Of an image, box and extent are in pixels; host.origin is in bytes, rows and slices. */
struct pen_backend_transfer {
    struct pen_backend_memory *memory;
    struct pen_box box, host;
    uint64_t extent[3];
    void *bytes; /* in the arena */
};

/* extent as in the schema's copy: bytes between buffers, else pixels. Image to image needs equal formats. */
struct pen_backend_copy {
    struct pen_backend_memory *source, *target;
    struct pen_box source_box, target_box;
    uint64_t extent[3];
};

struct pen_backend_launch {
    struct pen_backend_kernel *kernel;
    uint32_t dimensions;
    uint64_t offset[3], global[3], local[3]; /* local[0] = 0: the driver chooses */
};

struct pen_backend_memory_desc {
    enum pen_region_kind kind;
    uint32_t flags; /* PEN_REGION_FLAG_* */
    uint64_t size;
    struct pen_image_desc image;
    void *host;                        /* arena range that IS the storage (direct), else NULL; aligned to 64 */
    struct pen_backend_memory *parent; /* slice or view of it, else NULL */
    uint64_t parent_offset;
};

struct pen_backend_build {
    enum pen_build_step step;
    struct pen_backend_program *program; /* in: to build or compile; a link makes *out_program */
    const uint32_t *devices;
    uint32_t device_count; /* indices in the domain */
    const char *options;
    struct pen_backend_program *const *inputs;
    uint32_t input_count;
};

struct pen_backend_ops {
    const char *name;

    /* Load the drivers and find all devices, each physical device in a domain of its own driver. `partition_units`
     * is asked for each device (properties not filled in yet): 0 = whole, n = parts of n compute units each; what the
     * driver cannot cut stays whole. NULL: all whole. The array and what it holds belong to the backend until finish,
     * and so do the properties of what `partition` makes.
     * Sets PENSTOCK_SOCKET to /dev/null in this process, so that our own front end, if the loader finds it, finds no
     * daemon. finish: with all handles destroyed and all queues finished. */
    int (*init)(uint32_t (*partition_units)(void *context, const struct pen_backend_device *whole), void *context,
                struct pen_backend_device **out_devices, uint32_t *out_count, struct pen_error *error);
    void (*finish)(void);

    /* Parts of a device, in a new domain of their own; out_devices has room for them. */
    int (*partition)(const struct pen_backend_device *device, const struct pen_backend_cut *cut,
                     struct pen_backend_device *out_devices, struct pen_error *error);

    int (*queue_create)(struct pen_backend_domain *, uint32_t device, const struct pen_backend_queue_desc *,
                        struct pen_backend_queue **out);
    void (*queue_destroy)(struct pen_backend_queue *);
    /* Commands need not begin before a flush of their queue (rusticl's do not): flush before sleeping, and before a
     * command of another queue waits for them. Cheap when there is nothing new. */
    int (*queue_flush)(struct pen_backend_queue *);
    int (*queue_finish)(struct pen_backend_queue *);

    /* destroyed(context) (NULL: not wanted) is called once, on any thread, possibly before memory_destroy returns, when
     * the driver has really let go of it and of its storage: after commands that use it, after slices and views of it,
     * on some drivers (rusticl) only after the next command of the queue that used it last, or when a kernel that has
     * it as an argument gets another. */
    int (*memory_create)(struct pen_backend_domain *, const struct pen_backend_memory_desc *,
                         struct pen_backend_memory **out);
    void (*memory_destroy)(struct pen_backend_memory *, void (*destroyed)(void *context), void *context);

    int (*sampler_create)(struct pen_backend_domain *, const struct pen_msg_sampler_create *,
                          struct pen_backend_sampler **out);
    void (*sampler_destroy)(struct pen_backend_sampler *);

    /* A binary is for these devices, which have to be the same: indices in the domain. */
    int (*program_create)(struct pen_backend_domain *, enum pen_program_kind kind, const uint32_t *devices,
                          uint32_t device_count, const void *bytes, size_t size, struct pen_backend_program **out);
    void (*program_destroy)(struct pen_backend_program *);
    int (*program_constant)(struct pen_backend_program *, uint32_t constant, const void *value, size_t size);
    /* Blocks until done. results has device_count entries (their `device` is left alone); logs[i] is malloc'ed or NULL,
     * also after a failure. The program gets *out_program by a link only. Headers are where `options` say. */
    int (*program_build)(struct pen_backend_domain *, const struct pen_backend_build *,
                         struct pen_backend_program **out_program, struct pen_build_result *results, char **logs);
    /* malloc'ed bytes. */
    int (*program_binary)(struct pen_backend_program *, uint32_t device, void **out_bytes, size_t *out_size);
    /* malloc'ed array of malloc'ed names. */
    int (*program_kernels)(struct pen_backend_program *, char ***out_names, uint32_t *out_count);

    int (*kernel_create)(struct pen_backend_program *, const char *name, struct pen_backend_kernel **out);
    void (*kernel_destroy)(struct pen_backend_kernel *);
    /* Fills info (strings and lists are malloc'ed; pen_backend_kernel_info_free). devices[i].device is an index in the
     * domain; only devices that the program is built for. With `known` 0 a kind is a guess. */
    int (*kernel_info)(struct pen_backend_kernel *, struct pen_msg_kernel_info *out_info);
    /* dimensions 1-3: sub-groups of a work-group of `local`; 0: out->local is the shape for local[0] sub-groups.
     * -PEN_EUNSUPPORTED where the device has none. */
    int (*kernel_facts)(struct pen_backend_kernel *, uint32_t device, const uint64_t local[3], uint32_t dimensions,
                        struct pen_msg_kernel_facts *out);
    /* The shape that the driver would choose for a launch without one. -PEN_EUNSUPPORTED where it does not tell. */
    int (*kernel_suggest)(struct pen_backend_queue *, const struct pen_backend_launch *, uint64_t out_local[3]);
    int (*set_value)(struct pen_backend_kernel *, uint32_t index, const void *value, size_t size);
    int (*set_local)(struct pen_backend_kernel *, uint32_t index, size_t size);
    /* NULL is a null pointer. */
    int (*set_memory)(struct pen_backend_kernel *, uint32_t index, struct pen_backend_memory *);
    int (*set_sampler)(struct pen_backend_kernel *, uint32_t index, struct pen_backend_sampler *);

    int (*launch)(struct pen_backend_queue *, const struct pen_backend_launch *, const struct pen_backend_order *);
    int (*write)(struct pen_backend_queue *, const struct pen_backend_transfer *, const struct pen_backend_order *);
    int (*read)(struct pen_backend_queue *, const struct pen_backend_transfer *, const struct pen_backend_order *);
    int (*copy)(struct pen_backend_queue *, const struct pen_backend_copy *, const struct pen_backend_order *);
    /* pattern: for an image the 16 bytes of a clEnqueueFillImage colour (four float, int or uint). */
    int (*fill)(struct pen_backend_queue *, struct pen_backend_memory *, const uint64_t origin[3],
                const uint64_t extent[3], const void *pattern, size_t pattern_size, const struct pen_backend_order *);
    int (*marker)(struct pen_backend_queue *, const struct pen_backend_order *);
    int (*barrier)(struct pen_backend_queue *, const struct pen_backend_order *);

    void (*event_release)(struct pen_backend_event *);
};

extern const struct pen_backend_ops pen_backend_opencl;
extern const struct pen_backend_ops pen_backend_fake;
/* The fake's kernels named "hold" run for as long as this is set: for tests that are to find one running. */
extern _Atomic bool pen_backend_fake_holds;

void pen_backend_kernel_info_free(struct pen_msg_kernel_info *info);

#endif
