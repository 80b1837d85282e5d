/* The command ring: two threads, wrapping, sleeping on both ends, and clients that lie. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/ring.h"

#define SECOND 1000000000ull

/* Counted: whether a wait has spun. */
static _Thread_local uint64_t turns;

void __real_pen_spin_turn(uint32_t turn);
void __wrap_pen_spin_turn(uint32_t turn);
void __wrap_pen_spin_turn(uint32_t turn)
{
    turns++;
    __real_pen_spin_turn(turn);
}

struct fixture {
    struct pen_shared_view worker, client;
    struct pen_ring_reader reader;
    struct pen_ring_writer writer;
    int fd;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    memset(f, 0, sizeof *f);
    if (pen_shared_create(PEN_RING_BYTES_MIN, &f->fd, &f->worker, NULL) || pen_shared_map(f->fd, &f->client, NULL) ||
        pen_ring_reader_init(&f->reader, &f->worker))
        return -1;
    pen_ring_writer_init(&f->writer, &f->client);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    pen_ring_reader_finish(&f->reader);
    pen_shared_unmap(&f->client);
    pen_shared_unmap(&f->worker);
    close(f->fd);
    return 0;
}

static void put(struct pen_ring_writer *writer, size_t size, uint64_t sequence)
{
    unsigned char *at = pen_ring_reserve(writer, size);
    assert_non_null(at);
    const struct pen_frame_header header = {.size = (uint32_t)size, .opcode = 1, .sequence = sequence};
    memcpy(at, &header, sizeof header);
    memset(at + sizeof header, (int)(sequence & 0xff), size - sizeof header);
    pen_ring_publish(writer, size);
}

static void check(const void *frame, size_t size, uint64_t sequence)
{
    struct pen_frame_header header;
    const unsigned char *bytes = frame;
    memcpy(&header, frame, sizeof header);
    assert_int_equal((uintptr_t)frame % 8, 0);
    assert_int_equal(header.size, size);
    assert_int_equal(header.sequence, sequence);
    for (size_t i = sizeof header; i < size; i++)
        if (bytes[i] != (unsigned char)sequence)
            fail_msg("byte %zu of frame %llu", i, (unsigned long long)sequence);
}

static size_t size_of(uint64_t sequence)
{
    uint64_t x = sequence * 0x9e3779b97f4a7c15u >> 40;
    return x % 61 == 0 ? PEN_LIMIT_FRAME : 16 + x % 120 * 8;
}

static void one_thread_wraps(void **state)
{
    struct fixture *f = *state;
    const void *frame;
    size_t size;
    uint64_t sent = 0, received = 0;
    assert_int_equal(pen_ring_next(&f->reader, &frame, &size), 0);
    for (int lap = 0; lap < 300; lap++) {
        while (pen_ring_reserve(&f->writer, size_of(sent + 1))) {
            sent++;
            put(&f->writer, size_of(sent), sent);
        }
        assert_true(pen_ring_ready(&f->reader));
        while (pen_ring_next(&f->reader, &frame, &size) == 1) {
            received++;
            check(frame, size, received);
            assert_int_equal(size, size_of(received));
        }
        assert_int_equal(sent, received);
        assert_false(pen_ring_ready(&f->reader));
    }
    assert_true(f->writer.head > 10ull * PEN_RING_BYTES_MIN);
}

static void fills_to_the_last_byte(void **state)
{
    struct fixture *f = *state;
    const void *frame;
    size_t size;
    put(&f->writer, PEN_LIMIT_FRAME, 1);
    put(&f->writer, PEN_LIMIT_FRAME, 2);
    assert_null(pen_ring_reserve(&f->writer, 16));
    assert_false(pen_ring_wait_room(&f->writer, 16, 1000, 1000000));
    assert_int_equal(pen_ring_next(&f->reader, &frame, &size), 1);
    check(frame, PEN_LIMIT_FRAME, 1);
    pen_ring_give_room(&f->reader);
    assert_non_null(pen_ring_reserve(&f->writer, PEN_LIMIT_FRAME));
    assert_null(pen_ring_reserve(&f->writer, PEN_LIMIT_FRAME + 8));
}

/* A reader that is slow is slept for, after some waits that spun in vain. */
static void room_is_not_spun_for_in_vain(void **state)
{
    struct fixture *f = *state;
    int spun = 0;
    put(&f->writer, PEN_LIMIT_FRAME, 1);
    put(&f->writer, PEN_LIMIT_FRAME, 2);
    for (int i = 0; i < 96; i++) {
        uint64_t before = turns;
        assert_false(pen_ring_wait_room(&f->writer, 16, 20000, 40000));
        spun += turns > before;
    }
    assert_in_range(spun, 1, 16 + 96 / 16);
}

/* ---- two threads ------------------------------------------------------------------------------------- */

#define FRAMES 200000u

static void *writing_thread(void *context)
{
    struct fixture *f = context;
    for (uint64_t sequence = 1; sequence <= FRAMES; sequence++) {
        size_t size = size_of(sequence);
        while (!pen_ring_reserve(&f->writer, size))
            pen_ring_wait_room(&f->writer, size, sequence % 3 ? 2000 : 0, SECOND);
        unsigned char *at = pen_ring_reserve(&f->writer, size);
        const struct pen_frame_header header = {.size = (uint32_t)size, .opcode = 1, .sequence = sequence};
        memcpy(at, &header, sizeof header);
        memset(at + sizeof header, (int)(sequence & 0xff), size - sizeof header);
        pen_ring_publish(&f->writer, size);
        pen_fence();
        pen_ring_doorbell(f->writer.view);
        if (sequence % 1000 == 0)
            usleep(200); /* let the reader fall asleep at times */
    }
    return NULL;
}

static void two_threads(struct fixture *f)
{
    pthread_t thread;
    uint64_t received = 0;
    assert_int_equal(pthread_create(&thread, NULL, writing_thread, f), 0);
    while (received < FRAMES) {
        const void *frame;
        size_t size;
        int rc = pen_ring_next(&f->reader, &frame, &size);
        assert_true(rc >= 0);
        if (rc) {
            check(frame, size, ++received);
            if (received % 5000 == 0)
                usleep(500); /* let the writer fill the ring and fall asleep */
        } else {
            /* The longest sleep is a lost wake-up. */
            assert_int_equal(pen_ring_wait(&f->reader, received % 2 ? 5000 : 0, 5 * SECOND), PEN_RING_FRAMES);
        }
    }
    pthread_join(thread, NULL);
}

static void two_threads_two_mappings(void **state)
{
    two_threads(*state);
}

/* Both ends at the same addresses: here ThreadSanitizer sees what the ring's order is for. */
static void two_threads_one_mapping(void **state)
{
    struct fixture *f = *state;
    pen_ring_writer_init(&f->writer, &f->worker);
    two_threads(f);
}

/* ---- kicks ------------------------------------------------------------------------------------------- */

struct kicker {
    struct pen_ring_reader *reader;
    _Atomic uint32_t done;
    unsigned delay_us;
};

static void *kicking_thread(void *context)
{
    struct kicker *kicker = context;
    for (int i = 0; i < 2000; i++) {
        uint32_t before = atomic_load(&kicker->done);
        if (kicker->delay_us)
            usleep(kicker->delay_us);
        pen_ring_kick(kicker->reader);
        uint64_t end = pen_now_ns() + 10 * SECOND;
        for (uint32_t turn = 0; atomic_load(&kicker->done) == before && pen_now_ns() < end; turn++)
            pen_spin_turn(turn);
    }
    return NULL;
}

static void kicks_are_never_lost(void **state)
{
    struct fixture *f = *state;
    for (unsigned delay = 0; delay <= 50; delay += 50) {
        struct kicker kicker = {.reader = &f->reader, .delay_us = delay};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, kicking_thread, &kicker), 0);
        for (int i = 0; i < 2000; i++) {
            assert_int_equal(pen_ring_wait(&f->reader, i % 3 ? 0 : 3000, 5 * SECOND), PEN_RING_KICKED);
            atomic_fetch_add(&kicker.done, 1);
        }
        pthread_join(thread, NULL);
    }
    pen_ring_kick(&f->reader);
    put(&f->writer, 16, 1);
    assert_int_equal(pen_ring_wait(&f->reader, 0, 0), PEN_RING_KICKED | PEN_RING_FRAMES);
}

static void waits_end_in_time(void **state)
{
    struct fixture *f = *state;
    uint64_t start = pen_now_ns();
    assert_int_equal(pen_ring_wait(&f->reader, 20000, 30000000), PEN_RING_TIMEOUT);
    uint64_t took = pen_now_ns() - start;
    assert_true(took >= 30000000 && took < 5 * SECOND);
    assert_int_equal(f->worker.shared->asleep, 0);
}

/* ---- clients that lie -------------------------------------------------------------------------------- */

static void expect_broken(struct fixture *f)
{
    const void *frame = NULL;
    size_t size = 0;
    assert_true(pen_ring_ready(&f->reader));
    assert_int_equal(pen_ring_next(&f->reader, &frame, &size), -PEN_EPROTO);
    assert_null(frame);
    f->client.shared->head = f->reader.tail; /* mended too late */
    assert_int_equal(pen_ring_next(&f->reader, &frame, &size), -PEN_EPROTO);
    assert_int_equal(pen_ring_wait(&f->reader, 0, 0), PEN_RING_FRAMES);
}

static void hostile_heads(void **state)
{
    const uint64_t bad[] = {1, 7, 8, PEN_RING_BYTES_MIN + 8, UINT64_MAX, UINT64_MAX - 7, 1ull << 63};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct fixture *f = *state;
        f->client.shared->head = bad[i]; /* the ring is zero: a frame of no bytes */
        expect_broken(f);
        tear_down(state);
        assert_int_equal(set_up(state), 0);
    }
}

static void head_that_goes_back(void **state)
{
    struct fixture *f = *state;
    const void *frame;
    size_t size;
    put(&f->writer, 64, 1);
    put(&f->writer, 64, 2);
    assert_int_equal(pen_ring_next(&f->reader, &frame, &size), 1);
    f->client.shared->head = 64; /* both were seen already: the second is still good */
    assert_int_equal(pen_ring_next(&f->reader, &frame, &size), 1);
    expect_broken(f);
}

static void hostile_sizes(void **state)
{
    /* 64 bytes are published; what the header claims of them is the case. */
    const struct {
        uint32_t size;
        uint16_t reserved;
        int expected;
    } cases[] = {
        {64, 0, 1},
        {0, 0, -PEN_EPROTO},
        {8, 0, -PEN_EPROTO},
        {20, 0, -PEN_EPROTO},
        {72, 0, -PEN_EPROTO},
        {PEN_LIMIT_FRAME + 8, 0, -PEN_EPROTO},
        {UINT32_MAX, 0, -PEN_EPROTO},
        {UINT32_MAX - 7, 0, -PEN_EPROTO},
        {64, 1, -PEN_EPROTO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture *f = *state;
        const void *frame;
        size_t size = 0;
        put(&f->writer, 64, 1);
        const struct pen_frame_header header = {.size = cases[i].size, .reserved = cases[i].reserved};
        memcpy(f->client.ring, &header, sizeof header);
        assert_int_equal(pen_ring_next(&f->reader, &frame, &size), cases[i].expected);
        tear_down(state);
        assert_int_equal(set_up(state), 0);
    }
}

/* A client that writes to the frame after it was published: what the worker has does not change. */
static void frames_are_copies(void **state)
{
    struct fixture *f = *state;
    const void *frame;
    size_t size;
    put(&f->writer, 64, 9);
    assert_int_equal(pen_ring_next(&f->reader, &frame, &size), 1);
    memset(f->client.ring, 0xff, 64);
    f->client.shared->tail = 12345; /* tail is the reader's own */
    check(frame, 64, 9);
    put(&f->writer, 64, 10);
    assert_int_equal(pen_ring_next(&f->reader, &frame, &size), 1);
    check(frame, 64, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_thread_wraps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fills_to_the_last_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(room_is_not_spun_for_in_vain, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_threads_two_mappings, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_threads_one_mapping, set_up, tear_down),
        cmocka_unit_test_setup_teardown(kicks_are_never_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waits_end_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hostile_heads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(head_that_goes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hostile_sizes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(frames_are_copies, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
