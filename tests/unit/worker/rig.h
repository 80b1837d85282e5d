/* tests/unit/worker/rig.h - a session of the worker in this process on the fake backend, and a client of it that writes
 * the real ring: what the worker's tests and its fuzzer stand on. */
#ifndef PEN_TEST_RIG_H
#define PEN_TEST_RIG_H

#include "net/unix.h"
#include "worker/cache.h"
#include "worker/work.h"

#define RIG_DOMAINS 12
#define RIG_ARENA   (UINT64_C(64) << 20)

/* The fake driver refuses this value of an argument. */
#define RIG_REFUSED_VALUE 0xBAD0BAD0u

/* A kernel that is listed in its program and cannot be created. */
#define RIG_UNKNOWN_KERNEL "saxpy"

struct rig_options {
    uint32_t domains;    /* devices 1 .. domains, each in a domain of its own; 0: 1 */
    bool span;           /* one device, 1, that spans them */
    bool shared;         /* all in the first one's domain */
    uint32_t hidden;     /* the first that many are not the session's */
    bool lazy;           /* PENSTOCK_FAKE_LAZY */
    bool indirect;       /* devices with memory of their own */
    uint32_t one_thread; /* bits of the devices that say so */
    uint32_t build_ms;   /* how long a build takes */
    bool many_arguments; /* kernels have as many as may be, with the longest names */
    bool no_thread;      /* nobody runs the session: rig_pump does */
    uint32_t features;   /* 0: direct, unless indirect */
    const char *firsts;  /* how the first arguments of the kernels that are built are described, one after the other:
                          * 'r' as they are, regions; 'v' as values; '?' not known. NULL: as they are */
    const char *seed;    /* PENSTOCK_FAKE_SEED */
    const char *slow;    /* PENSTOCK_FAKE_SLOW */
    const char *unbuilt; /* PENSTOCK_FAKE_UNBUILT */
    const char *load;    /* PENSTOCK_FAKE_LOAD */
    const char *memory;  /* PENSTOCK_FAKE_MEMORY, of each domain */
    const char *fail;    /* PENSTOCK_FAKE_FAIL */
    const char *cache_dir;
    const char *vendor_name, *driver, *driver_version; /* NULL: the fake's own */
    struct pen_log_writer *log;
    struct pen_capture *capture;
};

struct rig {
    struct pen_work *work;
    struct pen_crash_page *crash;
    int crash_fd, client_fd, worker_fd, shared_fd, arena_fd;
    struct pen_cache *cache;
    struct pen_backend_device *devices;
    uint32_t device_count;
    struct pen_backend_device shadows[RIG_DOMAINS];
    struct pen_offer offers[RIG_DOMAINS];
    const struct pen_backend_device *members[RIG_DOMAINS];
    bool threaded;
    pthread_t thread;
    char tmp_dir[64];

    struct pen_shared_view view;
    struct pen_ring_writer writer;
    unsigned char *arena;
    uint64_t sequence;
    uint32_t features;
    struct pen_unix_frame frame; /* last answer */
    struct pen_scratch scratch;
};

/* What the worker has asked of the fake since rig_start. Written by its dispatch thread. */
struct rig_asked {
    uint32_t launches, markers;
    uint32_t markers_before_launch; /* the last one */
    uint32_t partitions;
    uint32_t callbacks, events; /* asked for with a launch */
    /* Written by whoever builds; read between builds, which shared memory orders and ThreadSanitizer does not see. */
    _Atomic uint32_t builds, built_devices; /* for how many devices in all */
    _Atomic uint32_t builds_by_dispatch;
    _Atomic bool builds_at_once;
};
extern struct rig_asked rig_asked;

void rig_start(struct rig *rig, const struct rig_options *options);
/* The worker's thread has ended: what it knew may be looked at. rig_stop is still to come. */
void rig_halt(struct rig *rig);
void rig_stop(struct rig *rig);
/* no_thread: executes all that is in the ring, and takes in what the device has finished until nothing is under way. */
void rig_pump(struct rig *rig);
/* no_thread: executes all that is in the ring, and no more. */
void rig_execute(struct rig *rig);

/* Puts a frame into the ring; returns its sequence number. */
void *rig_begin(struct rig *rig, size_t size);
uint64_t rig_commit(struct rig *rig, size_t size);
#define RIG_SEND(rig_, name_, ...)                                                                                     \
    __extension__({                                                                                                    \
        const struct pen_msg_##name_ rig_message_ = {__VA_ARGS__};                                                     \
        size_t rig_size_ = pen_msg_##name_##_size(&rig_message_);                                                      \
        void *rig_frame_ = rig_begin((rig_), rig_size_);                                                               \
        pen_msg_##name_##_encode(&rig_message_, ++(rig_)->sequence, rig_frame_);                                       \
        rig_commit((rig_), rig_size_);                                                                                 \
    })

/* The next frame from the worker; must have that opcode. Decode from rig->frame. */
void rig_answer(struct rig *rig, uint16_t opcode);
/* The slot's final state (complete or negative) within a few seconds; fails the test otherwise. */
int rig_wait_slot(struct rig *rig, uint32_t slot);
int rig_slot(struct rig *rig, uint32_t slot);
void rig_wait_queue(struct rig *rig, uint32_t slot, uint64_t sequence);
/* The session has failed: returns its code, and the sentence in out. */
int rig_fatal(struct rig *rig, char *out, size_t size);

/* Objects with usual contents. Programs go to the arena's last MiB. */
void rig_program(struct rig *rig, uint64_t id, const char *text);
/* Builds for device 1 .. devices; returns built.status. Skips logs and kernels of the answer. */
int rig_build(struct rig *rig, uint64_t id, uint32_t devices);
void rig_kernel(struct rig *rig, uint64_t id, uint64_t program, const char *name);
void rig_queue(struct rig *rig, uint64_t id, uint64_t device, uint32_t flags, uint32_t slot);
/* A buffer of `words` 32-bit words at arena offset, direct if the session is. */
void rig_buffer(struct rig *rig, uint64_t id, uint64_t offset, uint64_t words, bool initialized);
void rig_set_region(struct rig *rig, uint64_t kernel, uint32_t index, uint64_t region);
void rig_set_word(struct rig *rig, uint64_t kernel, uint32_t index, uint32_t value);
uint64_t rig_launch(struct rig *rig, uint64_t queue, uint64_t kernel, uint64_t items, uint64_t event, uint32_t slot,
                    const uint64_t *waits, uint32_t wait_count);
/* Reads a buffer into the arena at `to`, waits for it through slot 1000; returns its state. */
int rig_read(struct rig *rig, uint64_t queue, uint64_t region, uint64_t words, uint64_t to);

#endif
