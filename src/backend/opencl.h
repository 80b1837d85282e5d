/* backend/opencl.h - what the opencl_*.c files share; private to this folder.
 * Model:     README.md, invariants 1-8
 * Ownership: see backend.h; what the drivers hand out is released by the file that asked for it.
 * Threads:   opencl_program.c, opencl_kernel.c's creation and destruction and opencl_kernel_info.c run on the builder's
 *            thread too (backend.h) and read of a domain what is constant; all else but completion callbacks
 *            (opencl_event.c) is the dispatch thread's.
 * Errors:    cl_int becomes -PEN_E* in opencl_status.c alone. */
#ifndef PEN_BACKEND_OPENCL_H
#define PEN_BACKEND_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#define CL_USE_DEPRECATED_OPENCL_2_0_APIS
#include <CL/cl.h>
#include <CL/cl_ext.h>

#include <stdatomic.h>

#include "backend/backend.h"
#include "base/list.h"

/* What to add to a device's profiling clock to get CLOCK_MONOTONIC. Each profiled command gives a lower and an upper
 * bound (it was queued after the enqueue call began, and had ended when its callback ran); the offset moves only as
 * far as they force it, so that times of different commands stay comparable. */
struct pen_opencl_clock {
    _Atomic int64_t offset; /* relaxed: a number that stands alone */
};

struct pen_opencl_device {
    cl_device_id id;
    cl_device_id parent;   /* of a sub-device, which is ours to release; else NULL */
    uint32_t version;      /* OpenCL version the driver implements here: 120, 300 */
    uint32_t address_bits; /* of kernels */
    bool custom;
    /* NULL: not offered. Of drivers before OpenCL 2.1 the extensions' own functions. */
    clCreateProgramWithILKHR_fn from_il;
    clGetKernelSubGroupInfoKHR_fn sub_groups;
    /* PoCL 3.1 asserts in every image command on a sub-device's queue: they go to a queue of the parent, which is in
     * the context for that alone. opencl_image.c */
    bool images_by_parent;
    cl_command_queue_properties queue_properties;
    struct pen_backend_property *properties; /* owned; pen_backend_device shows them */
    uint32_t property_count;
    struct pen_opencl_clock clock;
};

struct pen_opencl_pending;

struct pen_backend_domain {
    struct pen_list link;
    cl_platform_id platform;
    cl_context context;
    struct pen_opencl_device *devices;
    uint32_t device_count;
    /* constant, as all above */
    bool arg_info_option;   /* the compiler takes -cl-kernel-arg-info */
    bool one_thread;        /* pen_backend_device.one_thread */
    bool fatal_binaries;    /* a binary that is not the driver's own ends the process: opencl_program.c */
    struct pen_list queues; /* struct pen_backend_queue */
    /* Completion notes to use again: callbacks push onto `returned` (release), the dispatch thread takes all of it
     * at once (acquire) when `spare` is empty. */
    struct pen_opencl_pending *_Atomic returned;
    struct pen_opencl_pending *spare;
};

struct pen_backend_queue {
    struct pen_list link;
    struct pen_backend_domain *domain;
    struct pen_opencl_device *device;
    cl_command_queue queue;
    cl_command_queue image_queue; /* the parent's, out of order: where image commands go; NULL: to `queue` */
    bool in_order, profiling;
    bool flushed; /* since the last command: see queue_finish */
};

/* Events and samplers have no struct of ours: their handles are the driver's. */

struct pen_backend_memory {
    struct pen_backend_domain *domain;
    cl_mem memory;
    enum pen_region_kind kind;
};

struct pen_backend_program {
    struct pen_backend_domain *domain;
    cl_program program; /* as given, or the result of a link */
    bool source;        /* from text or IL: compiled here */
    bool bitcode;       /* from LLVM's bitcode: SPIR, or the driver's own kind of binary */
};

struct pen_backend_kernel {
    struct pen_backend_domain *domain;
    cl_program program; /* referenced */
    cl_kernel kernel;
};

static inline bool pen_is_image(enum pen_region_kind kind)
{
    return kind != PEN_REGION_KIND_BUFFER;
}

/* opencl_status.c */
int pen_opencl_status(cl_int status);

/* opencl_property.c: every answer of a device, malloc'ed; *out_count may be 0. */
int pen_opencl_properties(cl_device_id device, cl_context context, struct pen_backend_property **out_properties,
                          uint32_t *out_count);
void pen_opencl_properties_free(struct pen_backend_property *properties, uint32_t count);
/* A string property into text, cut to size; "" when the device does not answer. */
void pen_opencl_text(cl_device_id device, cl_device_info key, char *text, size_t size);
/* A number of at most 8 bytes; 0 when the device does not answer. */
uint64_t pen_opencl_number(cl_device_id device, cl_device_info key);

/* opencl_probe.c: PEN_DEVICE_FLAG_DIRECT and _DIRECT_IMAGES as tried out. peer: another device of the context, or the
 * device itself. images: try them too. Never fails: what cannot be shown is not claimed. */
uint32_t pen_opencl_probe(cl_context context, cl_device_id device, cl_device_id peer, bool images);

/* opencl_device.c */
int pen_opencl_init(uint32_t (*partition_units)(void *, const struct pen_backend_device *), void *context,
                    struct pen_backend_device **out_devices, uint32_t *out_count, struct pen_error *error);
void pen_opencl_finish(void);
/* rusticl crashes in clCreateSubDevices; its limits say 0 sub-devices, so ask them first. */
bool pen_opencl_can_part(cl_device_id id, cl_device_partition_property how);
/* At most so many parts, which the caller releases. -PEN_EPARTITION: more. */
int pen_opencl_parts(cl_device_id id, const cl_device_partition_property *how, uint32_t most, cl_device_id *out_ids,
                     uint32_t *out_count);
int pen_opencl_partition(const struct pen_backend_device *device, const struct pen_backend_cut *cut,
                         struct pen_backend_device *out_devices, struct pen_error *error);

/* opencl_memory.c */
int pen_opencl_memory_create(struct pen_backend_domain *domain, const struct pen_backend_memory_desc *desc,
                             struct pen_backend_memory **out);
void pen_opencl_memory_destroy(struct pen_backend_memory *memory, void (*destroyed)(void *), void *context);
int pen_opencl_sampler_create(struct pen_backend_domain *domain, const struct pen_msg_sampler_create *desc,
                              struct pen_backend_sampler **out);
void pen_opencl_sampler_destroy(struct pen_backend_sampler *sampler);

/* opencl_program.c */
int pen_opencl_program_create(struct pen_backend_domain *domain, enum pen_program_kind kind, const uint32_t *devices,
                              uint32_t device_count, const void *bytes, size_t size, struct pen_backend_program **out);
void pen_opencl_program_destroy(struct pen_backend_program *program);
int pen_opencl_program_constant(struct pen_backend_program *program, uint32_t constant, const void *value, size_t size);
int pen_opencl_program_build(struct pen_backend_domain *domain, const struct pen_backend_build *build,
                             struct pen_backend_program **out_program, struct pen_build_result *results, char **logs);
int pen_opencl_program_binary(struct pen_backend_program *program, uint32_t device, void **out_bytes, size_t *out_size);
int pen_opencl_program_kernels(struct pen_backend_program *program, char ***out_names, uint32_t *out_count);

/* opencl_kernel.c, opencl_kernel_info.c */
int pen_opencl_kernel_create(struct pen_backend_program *program, const char *name, struct pen_backend_kernel **out);
void pen_opencl_kernel_destroy(struct pen_backend_kernel *kernel);
int pen_opencl_kernel_info(struct pen_backend_kernel *kernel, struct pen_msg_kernel_info *out_info);
int pen_opencl_kernel_facts(struct pen_backend_kernel *kernel, uint32_t device, const uint64_t local[3],
                            uint32_t dimensions, struct pen_msg_kernel_facts *out);
int pen_opencl_kernel_suggest(struct pen_backend_queue *queue, const struct pen_backend_launch *launch,
                              uint64_t out_local[3]);
int pen_opencl_set_value(struct pen_backend_kernel *kernel, uint32_t index, const void *value, size_t size);
int pen_opencl_set_local(struct pen_backend_kernel *kernel, uint32_t index, size_t size);
int pen_opencl_set_memory(struct pen_backend_kernel *kernel, uint32_t index, struct pen_backend_memory *memory);
int pen_opencl_set_sampler(struct pen_backend_kernel *kernel, uint32_t index, struct pen_backend_sampler *sampler);
/* Bytes of a by-value argument whose type has this name; 0: not a built-in type. opencl_type.c */
uint32_t pen_opencl_type_bytes(const char *name, uint32_t address_bits);

/* opencl_queue.c */
int pen_opencl_queue_create(struct pen_backend_domain *domain, uint32_t device,
                            const struct pen_backend_queue_desc *desc, struct pen_backend_queue **out);
void pen_opencl_queue_destroy(struct pen_backend_queue *queue);
int pen_opencl_queue_flush(struct pen_backend_queue *queue);
int pen_opencl_queue_finish(struct pen_backend_queue *queue);

/* opencl_event.c: the part of an enqueue that all commands share.
 *   struct pen_opencl_enqueue e;
 *   int rc = pen_opencl_begin(queue, order, &e);
 *   return rc ? rc : pen_opencl_end(order, &e, clEnqueue...(..., PEN_OPENCL_WAITS(order), e.place));
 * _begin says where the driver shall put the event; _end asks for the callback and hands the event out. */
struct pen_opencl_enqueue {
    cl_event *place; /* &event, or NULL: no event is needed, which is the cheap way */
    cl_event event;
    struct pen_opencl_pending *pending;
};
int pen_opencl_begin_noted(struct pen_backend_queue *queue, const struct pen_backend_order *order,
                           struct pen_opencl_enqueue *e);
int pen_opencl_end(const struct pen_backend_order *order, struct pen_opencl_enqueue *e, cl_int status);
/* Frees a domain's spare notes. */
void pen_opencl_pending_free(struct pen_backend_domain *domain);
void pen_opencl_event_release(struct pen_backend_event *event);

static inline int pen_opencl_begin(struct pen_backend_queue *queue, const struct pen_backend_order *order,
                                   struct pen_opencl_enqueue *e)
{
    queue->flushed = false;
    e->place = order->done || order->out_event ? &e->event : NULL;
    e->pending = NULL;
    return order->done ? pen_opencl_begin_noted(queue, order, e) : 0;
}

#define PEN_OPENCL_WAITS(order_)                                                                                       \
    (order_)->wait_count, (order_)->wait_count ? (const cl_event *)(const void *)(order_)->waits : NULL

/* opencl_image.c: commands with an image on at least one side */
int pen_opencl_image_write(struct pen_backend_queue *queue, const struct pen_backend_transfer *transfer,
                           const struct pen_backend_order *order);
int pen_opencl_image_read(struct pen_backend_queue *queue, const struct pen_backend_transfer *transfer,
                          const struct pen_backend_order *order);
int pen_opencl_image_copy(struct pen_backend_queue *queue, const struct pen_backend_copy *copy,
                          const struct pen_backend_order *order);
int pen_opencl_image_fill(struct pen_backend_queue *queue, struct pen_backend_memory *memory, const uint64_t origin[3],
                          const uint64_t extent[3], const void *colour, size_t size,
                          const struct pen_backend_order *order);

/* opencl_queue.c, opencl_transfer.c: commands */
int pen_opencl_launch(struct pen_backend_queue *queue, const struct pen_backend_launch *launch,
                      const struct pen_backend_order *order);
int pen_opencl_write(struct pen_backend_queue *queue, const struct pen_backend_transfer *transfer,
                     const struct pen_backend_order *order);
int pen_opencl_read(struct pen_backend_queue *queue, const struct pen_backend_transfer *transfer,
                    const struct pen_backend_order *order);
int pen_opencl_copy(struct pen_backend_queue *queue, const struct pen_backend_copy *copy,
                    const struct pen_backend_order *order);
int pen_opencl_fill(struct pen_backend_queue *queue, struct pen_backend_memory *memory, const uint64_t origin[3],
                    const uint64_t extent[3], const void *pattern, size_t pattern_size,
                    const struct pen_backend_order *order);
int pen_opencl_marker(struct pen_backend_queue *queue, const struct pen_backend_order *order);
int pen_opencl_barrier(struct pen_backend_queue *queue, const struct pen_backend_order *order);

#endif
