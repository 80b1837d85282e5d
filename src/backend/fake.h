/* backend/fake.h - what the fake_*.c files share; private to this folder.
 * Threads: `pen_fake.lock` guards references, events, queues and the count of calls; a program and a kernel with its
 *          arguments belong to one thread at a time, texts and built-ins are constant.
 * Errors:  0 or -PEN_E*. */
#ifndef PEN_BACKEND_FAKE_H
#define PEN_BACKEND_FAKE_H

#include <pthread.h>

#include "backend/backend.h"
#include "base/list.h"

#define PEN_FAKE_ARGUMENTS 4

/* What PENSTOCK_FAKE_FAIL can name. */
enum pen_fake_call {
    PEN_FAKE_LAUNCH,
    PEN_FAKE_WRITE,
    PEN_FAKE_READ,
    PEN_FAKE_COPY,
    PEN_FAKE_FILL,
    PEN_FAKE_MARKER,
    PEN_FAKE_BARRIER,
    PEN_FAKE_MEMORY,
    PEN_FAKE_QUEUE,
    PEN_FAKE_PROGRAM,
    PEN_FAKE_BUILD,
    PEN_FAKE_KERNEL,
    PEN_FAKE_CALLS
};

struct pen_backend_memory {
    struct pen_backend_domain *domain;
    struct pen_backend_memory *parent; /* referenced */
    unsigned char *bytes;
    bool owned; /* bytes are malloc'ed here */
    enum pen_region_kind kind;
    uint64_t size;
    struct pen_image_desc image;
    uint32_t refs; /* the worker's handle, slices and views, queued commands */
    void (*destroyed)(void *context);
    void *context;
};

struct pen_fake_value {
    bool set;
    uint32_t value;
    size_t local_bytes;
    struct pen_backend_memory *memory;
};

/* A kernel with its arguments as they were at the launch, and its range. */
struct pen_fake_run {
    const struct pen_fake_builtin *builtin;
    struct pen_fake_value arguments[PEN_FAKE_ARGUMENTS]; /* memory referenced while queued */
    uint64_t first, count;                               /* work-items */
};

struct pen_fake_builtin {
    const char *name;
    uint32_t argument_count;
    struct {
        enum pen_argument_kind kind;
        const char *type, *name;
    } arguments[PEN_FAKE_ARGUMENTS];
    int (*run)(struct pen_fake_run *run);
};

struct pen_backend_kernel {
    struct pen_backend_domain *domain;
    const struct pen_fake_builtin *builtin;
    struct pen_fake_value values[PEN_FAKE_ARGUMENTS];
    uint64_t loaded; /* bits of the devices that have had it */
};

struct pen_backend_domain {
    uint32_t device_count;
    uint64_t memory_used; /* of memory_limit, bytes */
    uint64_t memory_limit;
};

extern struct pen_fake {
    pthread_mutex_t lock;
    bool indirect, lazy, deaf;
    uint64_t seed, queues_made, slow, unbuilt, load_ms;
    struct {
        uint64_t calls, fail_at; /* 1-based; 0: never */
        bool late;
    } faults[PEN_FAKE_CALLS];
    struct pen_backend_domain *domains;
    struct pen_backend_device *devices;
    uint32_t device_count;
} pen_fake;

/* fake_device.c */
int pen_fake_init(uint32_t (*partition_units)(void *, const struct pen_backend_device *), void *context,
                  struct pen_backend_device **out_devices, uint32_t *out_count, struct pen_error *error);
void pen_fake_finish(void);
int pen_fake_partition(const struct pen_backend_device *device, const struct pen_backend_cut *cut,
                       struct pen_backend_device *out_devices, struct pen_error *error);
/* Counts one call. 0 go on, -PEN_EDEVRES this one fails; *out_late (may be NULL): it is to fail when it runs. */
int pen_fake_fault(enum pen_fake_call call, bool *out_late);

/* fake_program.c */
int pen_fake_program_create(struct pen_backend_domain *domain, enum pen_program_kind kind, const uint32_t *devices,
                            uint32_t device_count, const void *bytes, size_t size, struct pen_backend_program **out);
void pen_fake_program_destroy(struct pen_backend_program *program);
int pen_fake_program_constant(struct pen_backend_program *program, uint32_t constant, const void *value, size_t size);
int pen_fake_program_build(struct pen_backend_domain *domain, const struct pen_backend_build *build,
                           struct pen_backend_program **out_program, struct pen_build_result *results, char **logs);
int pen_fake_program_binary(struct pen_backend_program *program, uint32_t device, void **out_bytes, size_t *out_size);
int pen_fake_program_kernels(struct pen_backend_program *program, char ***out_names, uint32_t *out_count);
int pen_fake_kernel_create(struct pen_backend_program *program, const char *name, struct pen_backend_kernel **out);
void pen_fake_kernel_destroy(struct pen_backend_kernel *kernel);
int pen_fake_kernel_info(struct pen_backend_kernel *kernel, struct pen_msg_kernel_info *out_info);
int pen_fake_kernel_facts(struct pen_backend_kernel *kernel, uint32_t device, const uint64_t local[3],
                          uint32_t dimensions, struct pen_msg_kernel_facts *out);
int pen_fake_kernel_suggest(struct pen_backend_queue *queue, const struct pen_backend_launch *launch,
                            uint64_t out_local[3]);
int pen_fake_set_value(struct pen_backend_kernel *kernel, uint32_t index, const void *value, size_t size);
int pen_fake_set_local(struct pen_backend_kernel *kernel, uint32_t index, size_t size);
int pen_fake_set_memory(struct pen_backend_kernel *kernel, uint32_t index, struct pen_backend_memory *memory);
int pen_fake_set_sampler(struct pen_backend_kernel *kernel, uint32_t index, struct pen_backend_sampler *sampler);

/* fake_memory.c */
int pen_fake_memory_create(struct pen_backend_domain *domain, const struct pen_backend_memory_desc *desc,
                           struct pen_backend_memory **out);
void pen_fake_memory_destroy(struct pen_backend_memory *memory, void (*destroyed)(void *), void *context);
void pen_fake_memory_ref(struct pen_backend_memory *memory);
void pen_fake_memory_unref(struct pen_backend_memory *memory);

/* One side of a transfer: where it begins, and how far apart rows and slices are. */
struct pen_fake_side {
    unsigned char *start;
    size_t row, slice;
};
/* extent in elements; for a buffer with an image on the other side, `element_bytes` and tight rows. -PEN_EINVAL when
 * the box leaves the memory. */
int pen_fake_side_of(const struct pen_backend_memory *memory, const struct pen_box *box, const uint64_t extent[3],
                     size_t element_bytes, struct pen_fake_side *out);
struct pen_fake_side pen_fake_host_side(void *bytes, const struct pen_box *box, const uint64_t extent[3],
                                        size_t element_bytes);
/* Bytes of an element: a byte of a buffer, a pixel of an image. */
size_t pen_fake_element(const struct pen_backend_memory *memory);
void pen_fake_move(struct pen_fake_side to, struct pen_fake_side from, const uint64_t extent[3], size_t element_bytes);
/* What is to be repeated: of an image, the pixel of a 16-byte colour. -PEN_EIMAGEFORMAT. */
int pen_fake_pixel(const struct pen_backend_memory *memory, const void *pattern, size_t size, unsigned char out[128],
                   size_t *out_size);

#endif
