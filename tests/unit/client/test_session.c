/* A session against a fake worker: opening, commands, waits, answers, output, memory, slots; a worker that dies; fork.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/internal.h"
#include "fake_worker.h"

#define THREADS 4

static struct fake_worker fake;
static struct pen_session *session;

static int set_up(void **state)
{
    (void)state;
    struct pen_error error = {0};
    if (fake_start(&fake, FAKE_NORMAL))
        return -1;
    if (pen_session_open(NULL, &session, &error)) {
        print_error("%s\n", error.message);
        return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pen_session_close(session);
    session = NULL;
    fake_stop(&fake);
    return fake.malformed ? -1 : 0;
}

static uint64_t send_marker(uint64_t queue, uint64_t event, uint32_t slot)
{
    uint64_t sequence = 0;
    const struct pen_msg_marker marker = {.queue = queue, .event = event, .slot = slot};
    assert_int_equal(PEN_SEND(session, marker, &marker, &sequence), 0);
    return sequence;
}

static void tell(uint64_t what)
{
    uint64_t sequence;
    const struct pen_msg_program_destroy message = {.program = what};
    assert_int_equal(PEN_SEND(session, program_destroy, &message, &sequence), 0);
}

/* How long this thread was ready to wait for each of the last frames that it received. */
static _Thread_local uint64_t patience_ns[2];

int __real_pen_unix_receive(int fd, struct pen_unix_frame *frame, uint64_t deadline_ns);
int __wrap_pen_unix_receive(int fd, struct pen_unix_frame *frame, uint64_t deadline_ns);
int __wrap_pen_unix_receive(int fd, struct pen_unix_frame *frame, uint64_t deadline_ns)
{
    patience_ns[0] = patience_ns[1];
    patience_ns[1] = deadline_ns - pen_now_ns();
    return __real_pen_unix_receive(fd, frame, deadline_ns);
}

/* ---- opening ----------------------------------------------------------------------------------------- */

static void pool(void **unused)
{
    (void)unused;
    struct pen_pools pools = {0};
    struct pen_error error = {0};
    assert_int_equal(fake_start(&fake, FAKE_NORMAL), 0);
    assert_int_equal(pen_pools_query(&pools, &error), 0);
    assert_int_equal(pools.count, 1);
    assert_string_equal(pools.pools[0].name, "local");
    const struct pen_pool devices = pools.pools[0];
    assert_int_equal(devices.status, 0);
    assert_int_equal(devices.device_count, 2);
    assert_string_equal(devices.devices[0].info.name, "cpu0");
    assert_string_equal(devices.devices[1].info.driver_version, "1.0");
    assert_int_equal(devices.devices[0].property_count, 0);
    assert_int_equal(devices.devices[1].property_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct pen_property *property = &devices.devices[1].properties[i];
        assert_int_equal(property->key, 0x1000 + i);
        assert_int_equal(property->size, 4);
        assert_memory_equal(property->value, &i, 4);
    }
    struct pen_pool others = devices;
    others.number++;
    assert_true(pen_pool_there(&devices));
    assert_false(pen_pool_there(&others)); /* another daemon's */
    fake_stop(&fake);
    uint64_t start = pen_now_ns();
    assert_false(pen_pool_there(&devices));
    pen_pools_finish(&pools);
    pen_pools_finish(&pools);
    assert_int_equal(pen_pools_query(&pools, &error), 0);
    assert_int_equal(pools.pools[0].status, -PEN_ENOENT);
    assert_int_equal(pools.pools[0].device_count, 0);
    assert_int_equal(pen_session_open(&pools.pools[0], &session, &error), -PEN_ENOENT);
    assert_true(pen_now_ns() - start < 1000000000u);
    assert_null(session);
    assert_non_null(strstr(error.message, "PENSTOCK_SOCKET"));
    pen_pools_finish(&pools);
}

static void bad_opens(void **unused)
{
    (void)unused;
    const struct {
        enum fake_mode mode;
        int expected;
        const char *text;
    } cases[] = {
        {FAKE_REFUSES, -PEN_ELIMIT, "session.max"},      {FAKE_NO_DESCRIPTORS, -PEN_EPROTO, "session_open"},
        {FAKE_WRONG_VERSION, -PEN_EVERSION, "protocol"}, {FAKE_HANGS_UP, -PEN_EGONE, "closed"},
        {FAKE_WRONG_SIZES, -PEN_EPROTO, "arena"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pen_error error = {0};
        assert_int_equal(fake_start(&fake, cases[i].mode), 0);
        assert_int_equal(pen_session_open(NULL, &session, &error), cases[i].expected);
        assert_non_null(strstr(error.message, cases[i].text));
        assert_null(session);
        fake_stop(&fake);
    }
    pen_session_close(NULL);
}

/* A daemon that greets and then takes long to have a worker is waited for: limits.worker_wait_ms is its own. */
static void a_worker_is_waited_for(void **unused)
{
    (void)unused;
    assert_in_range(patience_ns[0], 1, PEN_CONNECT_TIMEOUT_MS * 1000000ull);
    assert_true(patience_ns[1] > 3600 * 1000000000ull);
}

static void recording_is_not_direct(void **unused)
{
    (void)unused;
    setenv("PENSTOCK_RECORD", "some.log", 1);
    assert_int_equal(set_up(NULL), 0);
    unsetenv("PENSTOCK_RECORD");
    assert_int_equal(pen_session_features(session), PEN_FEATURE_RECORD);
    assert_int_equal(tear_down(NULL), 0);
    assert_int_equal(set_up(NULL), 0);
    assert_int_equal(pen_session_features(session), PEN_FEATURE_DIRECT);
    assert_int_equal(tear_down(NULL), 0);
}

/* ---- commands and completion --------------------------------------------------------------------------- */

static void a_marker(void **unused)
{
    (void)unused;
    uint32_t slot = 0, queue = 0;
    assert_int_equal(pen_slot_acquire(session, NULL, &slot), 0);
    assert_int_equal(pen_queue_slot_acquire(session, &queue), 0);
    assert_int_not_equal(slot, 0);
    assert_int_equal(pen_slot_state(session, slot), PEN_STATE_QUEUED);
    uint64_t id = pen_session_new_id(session);
    assert_int_not_equal(id, pen_session_new_id(session));
    uint64_t sequence = send_marker(queue, id, slot);
    assert_int_equal(sequence, 1);
    assert_int_equal(pen_wait_slot(session, slot), 0);
    assert_int_equal(pen_slot_state(session, slot), PEN_STATE_COMPLETE);
    assert_int_equal(pen_slot_times(session, slot).ended, sequence + 3);
    assert_int_equal(pen_wait_queue(session, queue, sequence), 0);
    assert_int_equal(pen_queue_completed(session, queue), sequence);
    assert_int_equal(pen_wait_slot(session, 0), 0);
    assert_int_equal(pen_session_alive(session), 0);
    assert_string_equal(pen_session_epitaph(session), "");
}

/* A thread that sleeps for an event or for its place in a queue, in turn. One that nobody wakes does so by itself after
 * PEN_PEER_CHECK_NS, and finds complete what it waits for: it was forgotten. */

struct sleeper {
    pthread_t thread;
    unsigned index, forgotten, failures;
    bool by_event;
    uint32_t slot;
    uint64_t sequence;
};

static _Thread_local struct sleeper *asleep;

bool __real_pen_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns, bool shared);
bool __wrap_pen_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns, bool shared);
bool __wrap_pen_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns, bool shared)
{
    bool woken = __real_pen_futex_wait(word, expected, timeout_ns, shared);
    if (!woken && asleep)
        asleep->forgotten += asleep->by_event ? pen_slot_state(session, asleep->slot) == PEN_STATE_COMPLETE
                                              : pen_queue_completed(session, 4) >= asleep->sequence;
    return woken;
}

static void sleep_in_turn(struct sleeper *sleeper, int waits)
{
    for (int i = 0; i < waits; i++) {
        sleeper->slot = 0;
        sleeper->by_event = (i / 5 + (int)sleeper->index) % 2;
        sleeper->failures += sleeper->by_event && pen_slot_acquire(session, NULL, &sleeper->slot);
        const struct pen_msg_marker marker = {.queue = 4, .event = sleeper->by_event, .slot = sleeper->slot};
        sleeper->failures += PEN_SEND(session, marker, &marker, &sleeper->sequence) != 0;
        asleep = sleeper;
        sleeper->failures += sleeper->by_event ? pen_wait_slot(session, sleeper->slot) != 0
                                               : pen_wait_queue(session, 4, sleeper->sequence) != 0;
        asleep = NULL;
        pen_slot_release(session, sleeper->slot);
    }
}

static void *sleeping_thread(void *context)
{
    sleep_in_turn(context, 100);
    return NULL;
}

static void sleeping_waits(void **unused)
{
    (void)unused;
    struct sleeper sleeper = {0};
    fake.delay_us = 2000;
    sleep_in_turn(&sleeper, 50);
    assert_int_equal(sleeper.failures, 0);
    assert_in_range(sleeper.forgotten, 0, 2); /* complete just when the time was over: a busy machine */
    fake.delay_us = 0;
    for (int i = 0; i < 2000; i++) {
        uint64_t sequence = send_marker(3, 0, 0);
        assert_int_equal(pen_wait_queue(session, 3, sequence), 0);
    }
}

/* Several threads asleep, each for its own event or its own place in one queue. */
static void nobody_oversleeps(void **unused)
{
    (void)unused;
    struct sleeper sleepers[THREADS] = {0};
    unsigned forgotten = 0;
    fake.delay_us = 100;
    for (unsigned i = 0; i < THREADS; i++) {
        sleepers[i].index = i;
        assert_int_equal(pthread_create(&sleepers[i].thread, NULL, sleeping_thread, &sleepers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(sleepers[i].thread, NULL);
        assert_int_equal(sleepers[i].failures, 0);
        forgotten += sleepers[i].forgotten;
    }
    assert_in_range(forgotten, 0, 4); /* of 400; see above */
}

static void too_long_a_frame(void **unused)
{
    (void)unused;
    uint64_t sequence = 5;
    static unsigned char bytes[PEN_LIMIT_PATTERN + 1];
    const struct pen_msg_fill fill = {.pattern = {bytes, sizeof bytes}};
    assert_int_equal(PEN_SEND(session, fill, &fill, &sequence), -PEN_ELIMIT);
    assert_int_equal(sequence, 5);
    send_marker(0, 0, 0);
}

/* Many threads, each with its queue; groups of frames stay together; the ring is full at times. */

#define ROUNDS 20000u

struct sender {
    pthread_t thread;
    uint32_t queue;
    int failures;
};

static void *sending_thread(void *context)
{
    struct sender *sender = context;
    uint64_t last = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        const struct pen_msg_marker marker = {.queue = sender->queue};
        uint64_t first = 0, second = 0;
        pen_session_lock(session);
        sender->failures += PEN_SEND(session, marker, &marker, &first) != 0;
        sender->failures += PEN_SEND_NOTE(session, marker, &marker, &second, last = second) != 0;
        pen_session_unlock(session);
        sender->failures += second != first + 1 || last != second;
        if (i % 512 == 0)
            sender->failures += pen_wait_queue(session, sender->queue, last) != 0;
    }
    sender->failures += pen_wait_queue(session, sender->queue, last) != 0;
    return NULL;
}

static void many_threads(void **unused)
{
    (void)unused;
    struct sender senders[THREADS] = {0};
    for (uint32_t i = 0; i < THREADS; i++) {
        senders[i].queue = i;
        assert_int_equal(pthread_create(&senders[i].thread, NULL, sending_thread, &senders[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(senders[i].thread, NULL);
        assert_int_equal(senders[i].failures, 0);
    }
    assert_int_equal(fake.commands, 2 * THREADS * ROUNDS);
    assert_int_equal(fake.malformed, 0);
}

static void a_stalled_worker_fills_the_ring(void **unused)
{
    (void)unused;
    uint64_t sequence = 0;
    tell(FAKE_STALL);
    for (int i = 0; i < 20000; i++) /* more than fits */
        sequence = send_marker(1, 0, 0);
    assert_int_equal(pen_wait_queue(session, 1, sequence), 0);
}

static void *waking_thread(void *context)
{
    (void)context;
    usleep(20000);
    pen_wake_epoch(session);
    return NULL;
}

static void epoch(void **unused)
{
    (void)unused;
    pthread_t thread;
    uint32_t seen = pen_epoch(session);
    uint64_t start = pen_now_ns();
    assert_int_equal(pen_wait_epoch(session, seen, 30), 0);
    assert_true(pen_now_ns() - start >= 30000000);
    send_marker(0, 0, 0);
    assert_int_equal(pen_wait_epoch(session, seen, 5000), 0);
    while (pen_queue_completed(session, 0) < 1)
        usleep(100);
    seen = pen_epoch(session);
    start = pen_now_ns();
    assert_int_equal(pthread_create(&thread, NULL, waking_thread, NULL), 0);
    assert_int_equal(pen_wait_epoch(session, seen, 10000), 0);
    assert_true(pen_now_ns() - start < 5000000000u);
    pthread_join(thread, NULL);
}

/* ---- slots and memory ---------------------------------------------------------------------------------- */

static void slots_wait_until_they_are_complete(void **unused)
{
    (void)unused;
    uint32_t never, slot;
    assert_int_equal(pen_slot_acquire(session, NULL, &never), 0);
    send_marker(FAKE_QUEUE_NEVER, 1, never);
    pen_slot_release(session, never);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(pen_slot_acquire(session, NULL, &slot), 0);
        assert_int_not_equal(slot, never);
        assert_true(slot < 1000); /* used again and again */
        send_marker(2, 1, slot);
        if (i % 2)
            assert_int_equal(pen_wait_slot(session, slot), 0);
        pen_slot_release(session, slot); /* half of them unfinished */
        if (i % 100 == 0) {
            assert_int_equal(pen_slot_acquire(session, NULL, &slot), 0);
            pen_slot_cancel(session, slot);
        }
    }
}

static uint32_t refused_slot;

static bool hold_others(void *owner)
{
    return *(uint32_t *)owner != refused_slot;
}

/* Owners of complete slots are found again, each once in a round, while they have them. */
static void owners_of_complete_slots(void **unused)
{
    (void)unused;
    enum { COUNT = 1000, SOME = 10 };
    static uint32_t slots[COUNT];
    void *found[COUNT];
    session->slots.limit = PEN_SLOTS_FEW + COUNT;
    for (int i = 0; i < COUNT; i++) {
        assert_false(pen_slots_few(session));
        assert_int_equal(pen_slot_acquire(session, &slots[i], &slots[i]), 0);
    }
    assert_true(pen_slots_few(session));
    refused_slot = 0;
    assert_int_equal(pen_slots_complete(session, COUNT, hold_others, found, COUNT), 0);
    for (int i = 0; i < SOME; i++) {
        send_marker(2, 1, slots[i]);
        assert_int_equal(pen_wait_slot(session, slots[i]), 0);
    }
    refused_slot = slots[3];
    assert_int_equal(pen_slots_complete(session, COUNT, hold_others, found, 5), 5);
    assert_int_equal(pen_slots_complete(session, COUNT, hold_others, found + 5, COUNT), SOME - 1);
    for (int i = 0; i < SOME; i++) {
        int times = 0;
        for (int j = 0; j < 5 + SOME - 1; j++)
            times += found[j] == &slots[i];
        assert_int_equal(times, i == 3 ? 0 : i < 6 ? 2 : 1);
    }
    for (int i = 0; i < SOME; i++)
        pen_slot_release(session, slots[i]);
    assert_int_equal(pen_slots_complete(session, COUNT, hold_others, found, COUNT), 0);
    assert_false(pen_slots_few(session));
}

static void slots_run_out(void **unused)
{
    (void)unused;
    uint32_t slot, count = 0;
    int rc;
    while (!(rc = pen_slot_acquire(session, NULL, &slot))) {
        count++;
        pen_slot_release(session, slot); /* none is ever complete: all are kept aside */
    }
    assert_int_equal(rc, -PEN_ELIMIT);
    assert_int_equal(count, PEN_LIMIT_SLOTS - 1);
    for (count = 0; !(rc = pen_queue_slot_acquire(session, &slot)); count++)
        assert_true(slot < PEN_LIMIT_QUEUES);
    assert_int_equal(rc, -PEN_ELIMIT);
    assert_int_equal(count, PEN_LIMIT_QUEUES);
    pen_queue_slot_release(session, slot, 0);
    assert_int_equal(pen_queue_slot_acquire(session, &slot), 0);
}

/* The counter of a queue that is gone goes to another when the worker counts no more in it; that is waited for. */
static void a_queue_that_is_gone(void **unused)
{
    (void)unused;
    uint32_t slot, others[PEN_LIMIT_QUEUES], last = 0;
    assert_int_equal(pen_queue_slot_acquire(session, &slot), 0);
    fake.delay_us = 100000;
    uint64_t sequence = send_marker(slot, 0, 0);
    pen_queue_slot_release(session, slot, sequence);
    for (uint32_t i = 1; i < PEN_LIMIT_QUEUES; i++) {
        assert_int_equal(pen_queue_slot_acquire(session, &others[i]), 0);
        assert_int_not_equal(others[i], slot);
    }
    assert_true(pen_queue_completed(session, slot) < sequence);
    assert_int_equal(pen_queue_slot_acquire(session, &last), 0);
    assert_int_equal(last, slot);
    assert_int_equal(pen_queue_completed(session, slot), sequence);
    fake.delay_us = 0;
    /* Complete already: free at once. */
    pen_queue_slot_release(session, slot, sequence);
    assert_int_equal(pen_queue_slot_acquire(session, &last), 0);
    assert_int_equal(last, slot);
}

static void memory(void **unused)
{
    (void)unused;
    uint64_t a, b, c;
    uint32_t slot;
    assert_int_equal(pen_arena_alloc(session, 100, 4096, &a), 0);
    assert_int_equal((uintptr_t)pen_arena_at(session, a) % 4096, 0);
    memset(pen_arena_at(session, a), 7, 100);
    assert_int_equal(pen_arena_alloc(session, FAKE_ARENA_BYTES, 1, &b), -PEN_EDEVMEM);
    pen_arena_free(session, a);
    assert_int_equal(pen_arena_alloc(session, FAKE_ARENA_BYTES, 1, &b), 0);

    /* Given back when the worker says so, which the next allocation waits for. */
    fake.delay_us = 30000;
    assert_int_equal(pen_slot_acquire(session, NULL, &slot), 0);
    const struct pen_msg_region_destroy destroy = {.region = 1, .slot = slot};
    uint64_t sequence;
    assert_int_equal(PEN_SEND(session, region_destroy, &destroy, &sequence), 0);
    pen_arena_free_after(session, b, slot);
    assert_int_equal(pen_arena_alloc(session, FAKE_ARENA_BYTES / 2, 1, &c), 0);
    fake.delay_us = 0;

    /* Never given back: an error in bounded time. */
    session->bounds.arena_wait_ns = 200000000;
    assert_int_equal(pen_slot_acquire(session, NULL, &slot), 0);
    pen_arena_free_after(session, c, slot);
    uint64_t start = pen_now_ns();
    assert_int_equal(pen_arena_alloc(session, FAKE_ARENA_BYTES, 1, &c), -PEN_EDEVMEM);
    assert_true(pen_now_ns() - start < 5000000000u);
}

static size_t resident_pages(uint64_t offset, size_t size)
{
    size_t pages = size / 4096, count = 0;
    unsigned char *bits = malloc(pages);
    assert_int_equal(mincore(pen_arena_at(session, offset), size, bits), 0);
    for (size_t i = 0; i < pages; i++)
        count += bits[i] & 1;
    free(bits);
    return count;
}

static void touch(uint64_t offset, size_t size)
{
    for (size_t at = 0; at < size; at += 4096)
        ((volatile char *)pen_arena_at(session, offset))[at] = 1;
}

static void freed_memory_goes_back(void **unused)
{
    (void)unused;
    const size_t kept = 32u << 20, little = kept / 8, much = kept + (16u << 20);
    uint64_t a, b;
    session->bounds.arena_kept_bytes = kept;
    assert_int_equal(pen_arena_alloc(session, little, 1, &a), 0);
    touch(a, little);
    pen_arena_free(session, a);
    assert_int_equal(resident_pages(a, little), little / 4096); /* kept: it will be wanted again */
    assert_int_equal(pen_arena_alloc(session, much, 1, &b), 0);
    assert_int_equal(a, b);
    touch(b, much);
    pen_arena_free(session, b);
    assert_int_equal(resident_pages(b, much), 0);
}

/* ---- answers and output ---------------------------------------------------------------------------------- */

static int send_query(uint64_t kernel, uint32_t answers, uint64_t *out_sequence)
{
    const struct pen_msg_kernel_query query = {.kernel = kernel, .dimensions = answers};
    return PEN_SEND(session, kernel_query, &query, out_sequence) != 0;
}

static int take_facts(uint64_t sequence, uint64_t kernel, uint32_t answers)
{
    int bad = 0;
    for (uint32_t i = 0; i < answers; i++) {
        struct pen_scratch scratch = {0};
        struct pen_msg_kernel_facts facts = {0};
        uint16_t opcode = 0;
        void *frame = NULL;
        size_t size = 0;
        bad += pen_session_answer(session, sequence, &opcode, &frame, &size) != 0;
        bad += opcode != PEN_OP_KERNEL_FACTS || pen_msg_kernel_facts_decode(frame, size, &scratch, &facts) ||
               facts.max_sub_group_size != kernel || facts.sub_group_count != i;
        free(frame);
    }
    return bad;
}

static int ask_facts(uint64_t kernel, uint32_t answers)
{
    uint64_t sequence;
    return send_query(kernel, answers, &sequence) + take_facts(sequence, kernel, answers);
}

/* Counted: whether a wait has spun. */
static _Thread_local uint64_t turns;

void __real_pen_spin_turn(uint32_t turn);
void __wrap_pen_spin_turn(uint32_t turn);
void __wrap_pen_spin_turn(uint32_t turn)
{
    turns++;
    __real_pen_spin_turn(turn);
}

/* Answers that take long; how many of them were spun for. */
static int slow_answers(int count)
{
    int spun = 0;
    fake.delay_us = 1000;
    for (int i = 0; i < count; i++) {
        uint64_t before = turns;
        assert_int_equal(ask_facts(1, 1), 0);
        spun += turns > before;
    }
    fake.delay_us = 0;
    return spun;
}

/* Answers that take long are slept for, after some waits that spun in vain. That others were there before they were
 * wanted, since the machine is busy, is no reason to spin again. */
static void answers_are_not_spun_for_in_vain(void **unused)
{
    (void)unused;
    uint64_t sequence;
    assert_in_range(slow_answers(96), 1, 16 + 96 / 16);
    for (int i = 0; i < 96; i++) {
        assert_int_equal(send_query(1, 1, &sequence), 0);
        usleep(2000);
        assert_int_equal(take_facts(sequence, 1, 1), 0);
    }
    assert_in_range(slow_answers(96), 1, 96 / 16);
}

static void *asking_thread(void *context)
{
    uintptr_t bad = 0;
    for (uint32_t i = 0; i < 300; i++)
        bad += (uintptr_t)ask_facts((uintptr_t)context * 1000 + i, 1 + i % 3);
    return (void *)bad;
}

static void answers_find_their_askers(void **unused)
{
    (void)unused;
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, asking_thread, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) {
        void *bad;
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
}

static void answers_in_parts(void **unused)
{
    (void)unused;
    const uint64_t sizes[] = {0, 1, PEN_LIMIT_TEXT, PEN_LIMIT_TEXT + 1, 5000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct pen_msg_program_binary message = {.program = sizes[i]};
        uint64_t sequence;
        void *data;
        size_t size;
        assert_int_equal(PEN_SEND(session, program_binary, &message, &sequence), 0);
        assert_int_equal(pen_session_answer_data(session, sequence, &data, &size), 0);
        assert_int_equal(size, sizes[i]);
        assert_int_equal(strlen(data), sizes[i]);
        assert_int_equal(strspn(data, "b"), sizes[i]);
        free(data);
    }
    const struct pen_msg_program_binary message = {.program = 1, .device = 99};
    uint64_t sequence;
    void *data = NULL;
    size_t size;
    assert_int_equal(PEN_SEND(session, program_binary, &message, &sequence), 0);
    assert_int_equal(pen_session_answer_data(session, sequence, &data, &size), -PEN_EBINARY);
    assert_null(data);
}

/* Standard output goes to a file meanwhile. */
static void output_comes_before_the_wait_returns(void **unused)
{
    (void)unused;
    char name[] = "/tmp/pen-output-XXXXXX", expected[64 * 1024] = "", got[64 * 1024] = "";
    fflush(stdout);
    int saved = dup(1), file = mkstemp(name), bad = 0;
    assert_true(saved >= 0 && file >= 0);
    dup2(file, 1);
    for (int i = 0; i < 500; i++) {
        char line[64];
        int length = snprintf(line, sizeof line, "line %d\n", i);
        const struct pen_msg_fill fill = {.queue = 1, .pattern = {line, (uint32_t)length}};
        uint64_t sequence = 0;
        strcat(expected, line);
        bad += PEN_SEND(session, fill, &fill, &sequence) != 0;
        if (i % 7 == 0) {
            bad += pen_wait_queue(session, 1, sequence) != 0;
            ssize_t size = pread(file, got, sizeof got - 1, 0);
            bad += size < 0 || (size_t)size != strlen(expected) || memcmp(got, expected, (size_t)size) != 0;
        }
    }
    bad += ask_facts(3, 1); /* an answer that comes after the output of all of them */
    while (pen_queue_completed(session, 1) < 500)
        usleep(100);
    pen_session_drain_output(session);
    ssize_t size = pread(file, got, sizeof got - 1, 0);
    dup2(saved, 1);
    close(saved);
    close(file);
    unlink(name);
    assert_int_equal(bad, 0);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(got, expected, size);
}

/* Standard output goes to a temporary file, which is gone when it is closed. */
static int divert(int *out_saved)
{
    char name[] = "/tmp/pen-output-XXXXXX";
    fflush(stdout);
    *out_saved = dup(1);
    int file = mkstemp(name);
    assert_true(*out_saved >= 0 && file >= 0);
    unlink(name);
    dup2(file, 1);
    return file;
}

static void undivert(int saved)
{
    dup2(saved, 1);
    close(saved);
}

static void late_output_loses_nothing(void **unused)
{
    (void)unused;
    char got[64] = "";
    int saved, file = divert(&saved);
    session->bounds.output_quiet_ns = FAKE_LATE_US * 10000ull;
    tell(FAKE_LATE);
    uint64_t sequence = send_marker(5, 0, 0);
    int rc = pen_wait_queue(session, 5, sequence);
    ssize_t size = pread(file, got, sizeof got, 0);
    undivert(saved);
    close(file);
    assert_int_equal(rc, 0);
    assert_int_equal(size, 5);
    assert_string_equal(got, "late\n");
    assert_int_equal(pen_session_alive(session), 0);
}

/* More than is ever kept, while the program only asks whether it is done. */
static void much_output_is_written_without_a_wait(void **unused)
{
    (void)unused;
    struct stat status = {0};
    int saved, file = divert(&saved), rc = 0;
    session->bounds.output_bytes = FAKE_FLOOD_BYTES / 8;
    session->bounds.answer_bytes = FAKE_FLOOD_BYTES / 2;
    tell(FAKE_FLOOD);
    uint64_t sequence = send_marker(5, 0, 0);
    while (!rc && pen_queue_completed(session, 5) < sequence) {
        rc = pen_session_alive(session);
        usleep(1000);
    }
    pen_session_drain_output(session);
    fstat(file, &status);
    undivert(saved);
    close(file);
    assert_int_equal(rc, 0);
    assert_int_equal(pen_session_alive(session), 0);
    assert_int_equal(status.st_size, FAKE_FLOOD_BYTES);
}

/* ---- the end --------------------------------------------------------------------------------------------- */

struct waiter {
    pthread_t thread;
    int kind, rc;
    uint32_t slot;
};

static void *waiting_thread(void *context)
{
    struct waiter *waiter = context;
    uint16_t opcode;
    void *frame;
    size_t size;
    switch (waiter->kind) {
    case 0:
        waiter->rc = pen_wait_slot(session, waiter->slot);
        break;
    case 1:
        waiter->rc = pen_wait_queue(session, 5, 1000000);
        break;
    case 2:
        waiter->rc = pen_session_answer(session, 12345, &opcode, &frame, &size);
        break;
    case 3:
        do {
            pen_wait_epoch(session, pen_epoch(session), 60000);
        } while (!(waiter->rc = pen_session_alive(session)));
        break;
    default: /* only polls */
        while ((waiter->rc = pen_slot_state(session, waiter->slot)) > 0)
            usleep(1000);
        break;
    }
    return NULL;
}

static void lose_by(uint64_t how, const char *epitaph, uint64_t within_ns)
{
    struct waiter waiters[5] = {0};
    uint64_t sequence = send_marker(5, 0, 0);
    assert_int_equal(pen_wait_queue(session, 5, sequence), 0);
    for (int i = 0; i < 5; i++) {
        waiters[i].kind = i;
        assert_int_equal(pen_slot_acquire(session, NULL, &waiters[i].slot),
                         0); /* a thread may begin when all is over */
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, waiting_thread, &waiters[i]), 0);
    }
    usleep(30000);
    uint64_t start = pen_now_ns();
    tell(how);
    for (int i = 0; i < 5; i++) {
        pthread_join(waiters[i].thread, NULL);
        assert_int_equal(waiters[i].rc, -PEN_EGONE);
    }
    assert_true(pen_now_ns() - start < within_ns);
    assert_int_equal(pen_session_alive(session), -PEN_EGONE);
    assert_non_null(strstr(pen_session_epitaph(session), epitaph));
    const struct pen_msg_marker marker = {.queue = 5};
    uint32_t slot;
    uint64_t offset;
    assert_int_equal(PEN_SEND(session, marker, &marker, &sequence), -PEN_EGONE);
    assert_int_equal(pen_slot_acquire(session, NULL, &slot), -PEN_EGONE);
    assert_int_equal(pen_arena_alloc(session, 1, 1, &offset), -PEN_EGONE);
    assert_int_equal(pen_wait_queue(session, 5, 1), 0); /* what was complete stays complete */
}

static void the_worker_dies(void **unused)
{
    (void)unused;
    lose_by(FAKE_DIE, "died", 3000000000u);
}

static void the_session_fails(void **unused)
{
    (void)unused;
    lose_by(FAKE_FATAL, "told you so", 3000000000u);
}

static void the_worker_talks_nonsense(void **unused)
{
    (void)unused;
    lose_by(FAKE_NONSENSE, "malformed", 3000000000u);
}

static void the_worker_lies_about_output(void **unused)
{
    (void)unused;
    session->bounds.output_quiet_ns = 100000000;
    lose_by(FAKE_LIE, "output", 3000000000u);
}

static void the_worker_dies_with_a_full_ring(void **unused)
{
    (void)unused;
    const struct pen_msg_marker marker = {.queue = 5};
    uint64_t sequence;
    int rc = 0;
    tell(FAKE_STALL);
    tell(FAKE_DIE);
    uint64_t start = pen_now_ns();
    for (int i = 0; i < 100000 && !rc; i++)
        rc = PEN_SEND(session, marker, &marker, &sequence);
    assert_int_equal(rc, -PEN_EGONE);
    assert_true(pen_now_ns() - start < 3000000000u);
    assert_int_equal(pen_wait_queue(session, 5, sequence), -PEN_EGONE); /* the lock was given back */
}

/* What a lost session had is given back with the last that uses it; who comes late still finds it lost. */
static void a_lost_session_is_shed(void **unused)
{
    (void)unused;
    const size_t much = 16u << 20;
    uint64_t offset, sequence;
    const struct pen_msg_kernel_query query = {.kernel = 1, .dimensions = 3};
    assert_int_equal(pen_arena_alloc(session, much, 1, &offset), 0);
    touch(offset, much);
    assert_int_equal(PEN_SEND(session, kernel_query, &query, &sequence), 0); /* answers that nobody fetches */
    pen_session_ref(session);
    pen_session_ref(session);
    pen_session_unref(session);
    tell(FAKE_DIE);
    while (!pen_session_alive(session))
        usleep(1000);
    assert_true(session->answer_bytes > 0);
    assert_int_equal(resident_pages(offset, much), much / 4096);
    pen_session_unref(session);
    assert_int_equal(resident_pages(offset, much), 0);
    assert_int_equal(session->answer_bytes, 0);
    assert_int_equal(*(char *)pen_arena_at(session, offset), 0);
    pen_arena_free(session, offset);
    assert_int_equal(pen_session_alive(session), -PEN_EGONE);
    assert_int_equal(PEN_SEND(session, kernel_query, &query, &sequence), -PEN_EGONE);
    pen_session_unref(session); /* as its opener does when there is another */
}

#ifndef __SANITIZE_THREAD__ /* which does not follow a threaded program's child */
static int in_child(void)
{
    uint32_t slot = 1;
    uint64_t offset, sequence;
    uint16_t opcode;
    void *frame;
    size_t size;
    const struct pen_msg_marker marker = {.queue = 1};
    int bad = 0;
    bad += pen_session_alive(session) != -PEN_EGONE;
    bad += strstr(pen_session_epitaph(session), "forked") == NULL;
    bad += PEN_SEND(session, marker, &marker, &sequence) != -PEN_EGONE;
    bad += pen_slot_acquire(session, NULL, &slot) != -PEN_EGONE;
    bad += pen_slot_state(session, 1) != -PEN_EGONE;
    bad += pen_wait_slot(session, 1) != -PEN_EGONE;
    bad += pen_wait_queue(session, 1, 1) != -PEN_EGONE;
    bad += pen_wait_epoch(session, pen_epoch(session), 1000) != -PEN_EGONE;
    bad += pen_arena_alloc(session, 64, 64, &offset) != -PEN_EGONE;
    bad += pen_session_answer(session, 1, &opcode, &frame, &size) != -PEN_EGONE;
    bad += pen_slot_times(session, 1).ended != 0 || pen_queue_completed(session, 1) != 0;
    pen_slot_release(session, 1);
    pen_slot_cancel(session, 1);
    pen_queue_slot_release(session, 1, 0);
    pen_arena_free(session, 0);
    pen_arena_free_after(session, 0, 1);
    pen_session_drain_output(session);
    pen_wake_epoch(session);
    pen_session_lock(session);
    pen_session_unlock(session);
    bad += *(char *)pen_arena_at(session, 0) != 55; /* a mapped buffer is still readable */
    pen_session_close(session);
    return bad;
}

static void a_forked_child_keeps_off(void **unused)
{
    (void)unused;
    uint64_t offset;
    assert_int_equal(pen_arena_alloc(session, 4096, 4096, &offset), 0);
    assert_int_equal(offset, 0);
    *(char *)pen_arena_at(session, 0) = 55;
    for (int i = 0; i < 5; i++) {
        uint64_t sequence = send_marker(1, 0, 0);
        pid_t child = fork();
        if (child == 0)
            _exit(in_child());
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(pen_wait_queue(session, 1, sequence), 0); /* the parent's goes on */
    }
}
#endif

static void *opening_thread(void *context)
{
    struct pen_error error = {0};
    *(int *)context = pen_session_open(NULL, &session, &error);
    return NULL;
}

/* Sockets of this process that are connected to the fake. */
static int connections(void)
{
    int count = 0;
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_un peer = {0};
        socklen_t size = sizeof peer;
        count += !getpeername(fd, (struct sockaddr *)&peer, &size) && !strcmp(peer.sun_path, fake.path);
    }
    return count;
}

/* Else the worker would not see the parent's end before the child's. */
static void a_child_forked_meanwhile_has_no_socket(void **unused)
{
    (void)unused;
    pthread_t thread;
    int rc = -1, status = -1;
    assert_int_equal(fake_start(&fake, FAKE_SLOW), 0);
    assert_int_equal(pthread_create(&thread, NULL, opening_thread, &rc), 0);
    while (!fake.asked)
        usleep(1000);
    assert_int_equal(connections(), 1);
    pid_t child = fork();
    if (child == 0)
        _exit(connections());
    assert_int_equal(waitpid(child, &status, 0), child);
    fake.go = 1;
    pthread_join(thread, NULL);
    assert_int_equal(rc, 0);
    assert_int_equal(status, 0);
    assert_int_equal(pen_session_alive(session), 0);
    assert_int_equal(tear_down(NULL), 0);
}

int main(void)
{
#define WITH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool),
        cmocka_unit_test(bad_opens),
        WITH(a_worker_is_waited_for),
        cmocka_unit_test(recording_is_not_direct),
        WITH(a_marker),
        WITH(sleeping_waits),
        WITH(nobody_oversleeps),
        WITH(too_long_a_frame),
        WITH(many_threads),
        WITH(a_stalled_worker_fills_the_ring),
        WITH(epoch),
        WITH(slots_wait_until_they_are_complete),
        WITH(owners_of_complete_slots),
        WITH(slots_run_out),
        WITH(a_queue_that_is_gone),
        WITH(memory),
        WITH(freed_memory_goes_back),
        WITH(answers_find_their_askers),
        WITH(answers_in_parts),
        WITH(answers_are_not_spun_for_in_vain),
        WITH(output_comes_before_the_wait_returns),
        WITH(late_output_loses_nothing),
        WITH(much_output_is_written_without_a_wait),
        WITH(the_worker_dies),
        WITH(the_session_fails),
        WITH(the_worker_talks_nonsense),
        WITH(the_worker_lies_about_output),
        WITH(the_worker_dies_with_a_full_ring),
        WITH(a_lost_session_is_shed),
#ifndef __SANITIZE_THREAD__
        WITH(a_forked_child_keeps_off),
#endif
        cmocka_unit_test(a_child_forked_meanwhile_has_no_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
