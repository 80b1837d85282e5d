/* The shared page: made and mapped; what the worker publishes in it. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/ring.h"

#define PAGE        4096u
#define SEALS       (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define HEADER_SIZE ((sizeof(struct pen_shared) + PAGE - 1) / PAGE * PAGE)

/* What the worker writes once, before anything that changes. */
#define CONSTANTS offsetof(struct pen_shared, head)

static bool ring_bytes_ok(uint32_t ring_bytes)
{
    return ring_bytes >= PEN_RING_BYTES_MIN && ring_bytes <= PEN_RING_BYTES_MAX && (ring_bytes & (ring_bytes - 1)) == 0;
}

/* Maps the file once, and the ring at its end a second time right after itself. */
static int map_file(int fd, const struct pen_shared *constants, size_t shared_bytes, struct pen_shared_view *out_view,
                    struct pen_error *error)
{
    size_t mapped = shared_bytes + constants->ring_bytes;
    unsigned char *base = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        pen_fail(error, -PEN_ENOMEM, "mapping the session's shared page: %zu bytes of address space: %s", mapped,
                 strerror(errno));
        return -PEN_ENOMEM;
    }
    int protection = PROT_READ | PROT_WRITE;
    if (mmap(base, shared_bytes, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
        mmap(base + shared_bytes, constants->ring_bytes, protection, MAP_SHARED | MAP_FIXED, fd,
             (off_t)constants->ring_offset) == MAP_FAILED) {
        int saved = errno;
        munmap(base, mapped);
        pen_fail(error, -PEN_ENOMEM, "mapping the session's shared page of %zu bytes: %s", shared_bytes,
                 strerror(saved));
        return -PEN_ENOMEM;
    }
    *out_view = (struct pen_shared_view){
        .shared = (struct pen_shared *)(void *)base,
        .queues = (struct pen_queue_slot *)(void *)(base + constants->queues_offset),
        .slots = (struct pen_event_slot *)(void *)(base + constants->slots_offset),
        .times = (struct pen_event_times *)(void *)(base + constants->times_offset),
        .ring = base + constants->ring_offset,
        .ring_bytes = constants->ring_bytes,
        .shared_bytes = shared_bytes,
        .mapped_bytes = mapped,
    };
    return 0;
}

void pen_ring_populate(const struct pen_shared_view *view)
{
#ifdef MADV_POPULATE_WRITE
    (void)madvise(view->ring, view->ring_bytes, MADV_POPULATE_WRITE);
#else
    (void)view;
#endif
}

int pen_shared_create(uint32_t ring_bytes, int *out_fd, struct pen_shared_view *out_view, struct pen_error *error)
{
    if (!ring_bytes_ok(ring_bytes)) {
        return pen_fail(error, -PEN_EINVAL,
                        "a session's ring cannot have %u bytes: session.ring is a power of two from %u to %u",
                        ring_bytes, PEN_RING_BYTES_MIN, PEN_RING_BYTES_MAX);
    }
    struct pen_shared constants = {.magic = PEN_SHARED_MAGIC, .version = PEN_SHARED_VERSION, .ring_bytes = ring_bytes};
    constants.queues_offset = HEADER_SIZE;
    constants.slots_offset = constants.queues_offset + sizeof(struct pen_queue_slot) * PEN_LIMIT_QUEUES;
    constants.times_offset = constants.slots_offset + sizeof(struct pen_event_slot) * PEN_LIMIT_SLOTS;
    constants.ring_offset = constants.times_offset + sizeof(struct pen_event_times) * PEN_LIMIT_SLOTS;
    static_assert(sizeof(struct pen_queue_slot) * PEN_LIMIT_QUEUES % PAGE == 0, "slots begin on a page");
    static_assert(sizeof(struct pen_event_slot) * PEN_LIMIT_SLOTS % PAGE == 0, "times begin on a page");
    static_assert(sizeof(struct pen_event_times) * PEN_LIMIT_SLOTS % PAGE == 0, "the ring begins on a page");
    size_t shared_bytes = constants.ring_offset + ring_bytes;

    int fd = memfd_create("penstock-shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return pen_fail(error, -PEN_EIO, "making the session's shared page: memfd_create: %s", strerror(errno));
    struct pen_shared_view view = {0};
    if (ftruncate(fd, (off_t)shared_bytes) || fcntl(fd, F_ADD_SEALS, SEALS)) {
        int rc = pen_fail(error, -PEN_EIO, "making the session's shared page of %zu bytes: %s", shared_bytes,
                          strerror(errno));
        close(fd);
        return rc;
    }
    int rc = map_file(fd, &constants, shared_bytes, &view, error);
    if (rc) {
        close(fd);
        return rc;
    }
    memcpy(view.shared, &constants, CONSTANTS);
    *out_fd = fd;
    *out_view = view;
    return 0;
}

/* Every range after the one before it, on a page of its own, the ring ending with the file. */
static bool constants_ok(const struct pen_shared *constants, uint64_t shared_bytes)
{
    const struct {
        uint64_t offset, size;
    } ranges[] = {
        {0, sizeof(struct pen_shared)},
        {constants->queues_offset, sizeof(struct pen_queue_slot) * PEN_LIMIT_QUEUES},
        {constants->slots_offset, sizeof(struct pen_event_slot) * PEN_LIMIT_SLOTS},
        {constants->times_offset, sizeof(struct pen_event_times) * PEN_LIMIT_SLOTS},
        {constants->ring_offset, constants->ring_bytes},
    };
    uint64_t end = 0;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (ranges[i].offset < end || ranges[i].offset % PAGE || ranges[i].offset > shared_bytes ||
            ranges[i].size > shared_bytes - ranges[i].offset)
            return false;
        end = ranges[i].offset + ranges[i].size;
    }
    return end == shared_bytes && ring_bytes_ok(constants->ring_bytes);
}

int pen_shared_map(int fd, struct pen_shared_view *out_view, struct pen_error *error)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat status;
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &status))
        return pen_fail(error, -PEN_EPROTO, "the session's shared page is not a sealed memory file");
    struct pen_shared constants;
    if (pread(fd, &constants, CONSTANTS, 0) != (ssize_t)CONSTANTS || constants.magic != PEN_SHARED_MAGIC)
        return pen_fail(error, -PEN_EPROTO, "what the worker sent is not a session's shared page");
    if (constants.version != PEN_SHARED_VERSION) {
        return pen_fail(error, -PEN_EVERSION, "the worker's shared page has version %u, this library knows %u",
                        constants.version, PEN_SHARED_VERSION);
    }
    if (!constants_ok(&constants, (uint64_t)status.st_size)) {
        return pen_fail(error, -PEN_EPROTO, "the session's shared page of %lld bytes has its parts in wrong places",
                        (long long)status.st_size);
    }
    struct pen_shared_view view = {0};
    int rc = map_file(fd, &constants, (size_t)status.st_size, &view, error);
    if (rc)
        return rc;
    if ((rc = pen_shared_keep_from_children(&view, error))) {
        pen_shared_unmap(&view);
        return rc;
    }
    *out_view = view;
    return 0;
}

int pen_shared_keep_from_children(const struct pen_shared_view *view, struct pen_error *error)
{
    if (madvise(view->shared, view->mapped_bytes, MADV_DONTFORK))
        return pen_fail(error, -PEN_EIO, "keeping the session's shared page from forked children: %s", strerror(errno));
    return 0;
}

void pen_shared_unmap(struct pen_shared_view *view)
{
    if (view->shared)
        munmap(view->shared, view->mapped_bytes);
    *view = (struct pen_shared_view){0};
}

void pen_publish_times(struct pen_shared_view *view, uint32_t slot, const struct pen_event_times *times)
{
    assert(pen_slot_ok(slot));
    if (!slot)
        return;
    if (view->mirror)
        view->mirror->times(view->mirror->context, slot, times);
    view->times[slot] = *times;
}

/* Wakes all that sleep on epoch. Release at least: who sees the new epoch sees what was published before. Where some of
 * the waiters are known to be awake, it is looked whether there are others: seq_cst both, as are a waiter's `waiters +
 * 1` and its load of epoch: we see it, or it sees the new epoch. */
static void wake_all(struct pen_shared *shared, uint32_t awake)
{
    atomic_fetch_add_explicit(&shared->epoch, 1, memory_order_seq_cst);
    if (!awake || atomic_load_explicit(&shared->waiters, memory_order_seq_cst) > awake)
        pen_futex_wake(&shared->epoch, INT_MAX, true);
}

bool pen_publish_event(struct pen_shared_view *view, uint32_t slot, int32_t state, bool after_reads)
{
    assert(pen_slot_ok(slot));
    if (!slot)
        return false;
    if (view->mirror)
        view->mirror->event(view->mirror->context, slot, state, after_reads);
    _Atomic int32_t *at = &view->slots[slot].state;
    if (state > PEN_STATE_COMPLETE) {
        /* Keeps the waiter's mark. Once more when the mark came just now; news of progress is not worth more. */
        int32_t old = atomic_load_explicit(at, memory_order_relaxed);
        for (int tries = 0; tries < 2 && old > 0; tries++)
            if (atomic_compare_exchange_strong_explicit(at, &old, state | (old & PEN_SLOT_WAITED), memory_order_release,
                                                        memory_order_relaxed))
                break;
        return false;
    }
    /* Release: pairs with the client's acquire in pen_slot_state. The mark is in the same word: nobody is missed. */
    int32_t old = atomic_exchange_explicit(at, state, memory_order_acq_rel);
    bool waited = old > 0 && (old & PEN_SLOT_WAITED);
    if (waited)
        wake_all(view->shared, view->awake);
    return waited;
}

bool pen_publish_queue(struct pen_shared_view *view, uint32_t queue_slot, uint64_t completed, bool after_reads)
{
    assert(pen_queue_slot_ok(queue_slot));
    struct pen_queue_slot *queue = &view->queues[queue_slot];
    if (view->mirror)
        view->mirror->queue(view->mirror->context, queue_slot, completed, after_reads);
    /* Release: pairs with the client's acquire in pen_queue_completed. Then Dekker with its wait: completed; fence;
     * wanted here, wanted; fence; completed there. */
    atomic_store_explicit(&queue->completed, completed, memory_order_release);
    pen_fence();
    uint64_t wanted = atomic_load_explicit(&queue->wanted, memory_order_relaxed);
    if (wanted && wanted <= completed) {
        /* All are woken, and say again what they want. Before the epoch moves: who says it later sees the new epoch. */
        (void)atomic_compare_exchange_strong_explicit(&queue->wanted, &wanted, 0, memory_order_seq_cst,
                                                      memory_order_relaxed);
        wake_all(view->shared, view->awake);
        return true;
    }
    return false;
}

void pen_publish_output(struct pen_shared_view *view)
{
    /* Release: pairs with the client's acquire before it returns from a wait. */
    atomic_fetch_add_explicit(&view->shared->output_frames, 1, memory_order_release);
    atomic_fetch_add_explicit(&view->shared->epoch, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&view->shared->waiters, memory_order_seq_cst))
        pen_futex_wake(&view->shared->epoch, INT_MAX, true);
}

void pen_publish_gone(struct pen_shared_view *view)
{
    atomic_store_explicit(&view->shared->gone, 1, memory_order_release);
    wake_all(view->shared, 0);
}

bool pen_publish_wake(struct pen_shared_view *view)
{
    if (view->mirror)
        view->mirror->wake(view->mirror->context);
    /* Both seq_cst, as are the client's `watchers + 1` and its load of epoch: either we see the watcher, or it sees the
     * new epoch, and with it what was published before. */
    atomic_fetch_add_explicit(&view->shared->epoch, 1, memory_order_seq_cst);
    bool watched = atomic_load_explicit(&view->shared->watchers, memory_order_seq_cst) != 0;
    if (watched)
        pen_futex_wake(&view->shared->epoch, INT_MAX, true);
    return watched;
}
