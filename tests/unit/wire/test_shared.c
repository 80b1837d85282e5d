/* Making and mapping the shared page; publication. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/ring.h"

#define RING (256u << 10)

static void both_sides_see_the_same(void **unused)
{
    (void)unused;
    struct pen_shared_view worker = {0}, client = {0};
    struct pen_error error = {0};
    int fd = -1;
    assert_int_equal(pen_shared_create(RING, &fd, &worker, &error), 0);
    assert_int_equal(pen_shared_map(fd, &client, &error), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(client.ring_bytes, RING);
    assert_int_equal(client.shared_bytes, worker.shared_bytes);

    /* The ring twice in a row, on both sides. */
    memcpy(client.ring + RING - 4, "12345678", 8);
    assert_memory_equal(worker.ring, "5678", 4);
    assert_memory_equal(worker.ring + RING, "5678", 4);

    const struct pen_event_times times = {1, 2, 3, 4};
    pen_publish_times(&worker, PEN_LIMIT_SLOTS - 1, &times);
    pen_publish_event(&worker, PEN_LIMIT_SLOTS - 1, -PEN_EDEVMEM, false);
    pen_publish_queue(&worker, PEN_LIMIT_QUEUES - 1, 77, false);
    pen_publish_event(&worker, 0, 1, false);
    uint32_t epoch = client.shared->epoch;
    pen_publish_output(&worker);
    assert_memory_equal(&client.times[PEN_LIMIT_SLOTS - 1], &times, sizeof times);
    assert_int_equal(client.slots[PEN_LIMIT_SLOTS - 1].state, -PEN_EDEVMEM);
    assert_int_equal(client.queues[PEN_LIMIT_QUEUES - 1].completed, 77);
    assert_int_equal(client.slots[0].state, 0);
    assert_int_equal(client.shared->output_frames, 1);
    assert_int_equal(client.shared->epoch, epoch + 1);
    pen_publish_gone(&worker);
    assert_int_equal(client.shared->gone, 1);

    pen_shared_unmap(&client);
    pen_shared_unmap(&worker);
    pen_shared_unmap(&worker); /* zeroed */
    close(fd);
}

/* A completion moves the epoch (and makes a system call) only for those who asked for just it. */
static void only_who_asked_is_woken(void **unused)
{
    (void)unused;
    struct pen_shared_view view = {0};
    int fd = -1;
    assert_int_equal(pen_shared_create(RING, &fd, &view, NULL), 0);
    _Atomic uint32_t *epoch = &view.shared->epoch;
    view.slots[1].state = PEN_STATE_QUEUED;
    pen_publish_event(&view, 1, PEN_STATE_SUBMITTED, false);
    assert_int_equal(view.slots[1].state, PEN_STATE_SUBMITTED);
    assert_false(pen_publish_event(&view, 1, PEN_STATE_COMPLETE, false));
    assert_int_equal(*epoch, 0);

    view.slots[1].state = PEN_STATE_QUEUED | PEN_SLOT_WAITED;
    assert_false(pen_publish_event(&view, 1, PEN_STATE_RUNNING, false));
    assert_int_equal(view.slots[1].state, PEN_STATE_RUNNING | PEN_SLOT_WAITED);
    assert_int_equal(*epoch, 0);
    assert_true(pen_publish_event(&view, 1, -PEN_EDEPENDENCY, false));
    assert_int_equal(view.slots[1].state, -PEN_EDEPENDENCY);
    assert_int_equal(*epoch, 1);
    pen_publish_event(&view, 1, PEN_STATE_RUNNING, false); /* never back from the end */
    assert_int_equal(view.slots[1].state, -PEN_EDEPENDENCY);

    view.queues[2].wanted = 10;
    assert_false(pen_publish_queue(&view, 2, 9, false));
    assert_int_equal(*epoch, 1);
    assert_int_equal(view.queues[2].wanted, 10);
    assert_true(pen_publish_queue(&view, 2, 11, false));
    assert_int_equal(*epoch, 2);
    assert_int_equal(view.queues[2].wanted, 0);
    assert_false(pen_publish_queue(&view, 2, 12, false));
    assert_int_equal(*epoch, 2);
    assert_false(pen_publish_wake(&view));
    view.shared->watchers = 1;
    assert_true(pen_publish_wake(&view));
    pen_shared_unmap(&view);
    close(fd);
}

struct sleeper {
    struct pen_shared_view *view;
    _Atomic bool there; /* about to sleep */
    bool woken;
};

static void *sleep_on_epoch(void *context)
{
    struct sleeper *sleeper = context;
    _Atomic uint32_t *epoch = &sleeper->view->shared->epoch;
    uint32_t seen = *epoch;
    sleeper->there = true;
    sleeper->woken = pen_futex_wait(epoch, seen, 300000000, true);
    return NULL;
}

/* Whether a thread that sleeps is woken by a completion, when so many wait and one of them is awake. */
static bool wakes(struct pen_shared_view *view, uint32_t waiters)
{
    struct sleeper sleeper = {.view = view};
    pthread_t thread;
    uint32_t before = view->shared->epoch;
    view->shared->waiters = waiters;
    view->awake = 1;
    view->slots[1].state = PEN_STATE_QUEUED | PEN_SLOT_WAITED;
    assert_int_equal(pthread_create(&thread, NULL, sleep_on_epoch, &sleeper), 0);
    while (!sleeper.there)
        usleep(1000);
    usleep(50000);
    assert_true(pen_publish_event(view, 1, PEN_STATE_COMPLETE, false));
    assert_int_equal(view->shared->epoch, before + 1);
    pthread_join(thread, NULL);
    return sleeper.woken;
}

/* A thread that publishes what it waits for itself makes no system call for it; one that sleeps besides is woken. */
static void who_is_awake_is_not_woken(void **unused)
{
    (void)unused;
    struct pen_shared_view view = {0};
    int fd = -1;
    assert_int_equal(pen_shared_create(RING, &fd, &view, NULL), 0);
    assert_false(wakes(&view, 1)); /* the sleeper is not counted: nobody is to be woken */
    assert_true(wakes(&view, 2));
    pen_shared_unmap(&view);
    close(fd);
}

static void ring_sizes(void **unused)
{
    (void)unused;
    const uint32_t bad[] = {0, 1, 4096, PEN_RING_BYTES_MIN / 2, PEN_RING_BYTES_MIN + 4096, 3u << 18, 1u << 31};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pen_shared_view view = {0};
        struct pen_error error = {0};
        int fd = -1;
        assert_int_equal(pen_shared_create(bad[i], &fd, &view, &error), -PEN_EINVAL);
        assert_non_null(strstr(error.message, "session.ring is"));
        assert_int_equal(fd, -1);
    }
}

/* A copy of a good page with one field changed; sealed as a worker would. */
static int changed_page(size_t field, uint64_t value, size_t width, off_t shorter)
{
    struct pen_shared_view view = {0};
    int good = -1;
    assert_int_equal(pen_shared_create(RING, &good, &view, NULL), 0);
    int fd = memfd_create("changed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, (off_t)view.shared_bytes - shorter), 0);
    assert_int_equal(pwrite(fd, view.shared, 64, 0), 64);
    if (width)
        assert_int_equal(pwrite(fd, &value, width, (off_t)field), (ssize_t)width);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    pen_shared_unmap(&view);
    close(good);
    return fd;
}

static void refuses_bad_pages(void **unused)
{
    (void)unused;
    const struct {
        size_t field, width;
        uint64_t value;
        off_t shorter;
        int expected;
    } cases[] = {
        {0, 0, 0, 0, 0},
        {offsetof(struct pen_shared, magic), 4, 1, 0, -PEN_EPROTO},
        {offsetof(struct pen_shared, version), 4, 99, 0, -PEN_EVERSION},
        {offsetof(struct pen_shared, ring_bytes), 4, 2ull * RING, 0, -PEN_EPROTO},
        {offsetof(struct pen_shared, ring_bytes), 4, RING / 2, 0, -PEN_EPROTO},
        {offsetof(struct pen_shared, ring_bytes), 4, 0, 0, -PEN_EPROTO},
        {offsetof(struct pen_shared, queues_offset), 8, 0, 0, -PEN_EPROTO},
        {offsetof(struct pen_shared, queues_offset), 8, 4097, 0, -PEN_EPROTO},
        {offsetof(struct pen_shared, slots_offset), 8, 4096, 0, -PEN_EPROTO},
        {offsetof(struct pen_shared, times_offset), 8, UINT64_MAX & ~4095ull, 0, -PEN_EPROTO},
        {offsetof(struct pen_shared, ring_offset), 8, 1ull << 40, 0, -PEN_EPROTO},
        {offsetof(struct pen_shared, ring_offset), 8, 4096, 0, -PEN_EPROTO},
        {0, 0, 0, 4096, -PEN_EPROTO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pen_shared_view view = {0};
        struct pen_error error = {0};
        int fd = changed_page(cases[i].field, cases[i].value, cases[i].width, cases[i].shorter);
        assert_int_equal(pen_shared_map(fd, &view, &error), cases[i].expected);
        assert_true(cases[i].expected == 0 || (!view.shared && error.message[0]));
        pen_shared_unmap(&view);
        close(fd);
    }
}

static void refuses_what_could_shrink(void **unused)
{
    (void)unused;
    struct pen_shared_view view = {0};
    int fd = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(pen_shared_map(fd, &view, NULL), -PEN_EPROTO);
    close(fd);
    assert_int_equal(pen_shared_map(-1, &view, NULL), -PEN_EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_see_the_same),   cmocka_unit_test(only_who_asked_is_woken),
        cmocka_unit_test(who_is_awake_is_not_woken), cmocka_unit_test(ring_sizes),
        cmocka_unit_test(refuses_bad_pages),         cmocka_unit_test(refuses_what_could_shrink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
