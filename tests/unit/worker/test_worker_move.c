/* Contents that go from device to device: they get there, whatever runs meanwhile; nobody waits for a copy who has
 * nothing to do with it; what a copy could not bring is not computed with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"
#include "worker/remote.h"

enum { Q = 10, P = 20, SLEEP = 30, MIX, NOP, R = 50, E = 1000 };
#define DEVICES 3u
#define BUFFERS 4u
#define WORDS   64u
#define AT(n_)  ((n_)*4096u)
#define BACK    (UINT64_C(1) << 20)

/* Queue Q + i is on device 1 + i % DEVICES. */
static void prepare(struct rig *rig, const struct rig_options *options, uint32_t queues)
{
    rig_start(rig, options);
    rig_program(rig, P, "kernel sleep(value ms)\nkernel mix(global to, global from, value word)\nkernel nop()\n");
    assert_int_equal(rig_build(rig, P, DEVICES), 0);
    rig_kernel(rig, SLEEP, P, "sleep");
    rig_kernel(rig, MIX, P, "mix");
    rig_kernel(rig, NOP, P, "nop");
    for (uint32_t i = 0; i < queues; i++)
        rig_queue(rig, Q + i, 1 + i % DEVICES, 0, i);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        memset(rig->arena + AT(i), 0, WORDS * 4);
        rig_buffer(rig, R + i, AT(i), WORDS, true);
    }
}

static void send_mix(struct rig *rig, uint64_t queue, uint64_t to, uint64_t from, uint32_t word, uint64_t event,
                     uint32_t slot, const uint64_t *wait)
{
    rig_set_region(rig, MIX, 0, to);
    rig_set_region(rig, MIX, 1, from);
    rig_set_word(rig, MIX, 2, word);
    rig_launch(rig, queue, MIX, WORDS, event, slot, wait, wait != NULL);
}

static void send_sleep(struct rig *rig, uint64_t queue, uint32_t ms, uint64_t event, uint32_t slot)
{
    rig_set_word(rig, SLEEP, 0, ms);
    rig_launch(rig, queue, SLEEP, 1, event, slot, NULL, 0);
}

/* The first move of a region waits for all that its device was given before, since that was not watched; but nothing
 * else waits for the move, and the next one waits for what it has to. */
static void test_nobody_else_waits(void **state)
{
    (void)state;
    const uint64_t first = E, moved = E + 2;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true}, 6);
    send_mix(&rig, Q, R, R, 1, first, 1, NULL);
    send_sleep(&rig, Q, 300, E + 1, 2);
    send_mix(&rig, Q + 1, R, R, 2, moved, 3, &first);
    rig_launch(&rig, Q + 4, NOP, 1, E + 3, 4, NULL, 0); /* on the second device, too */
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    assert_true(rig_slot(&rig, 2) > 0);
    assert_true(rig_slot(&rig, 3) > 0);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    assert_int_equal(rig_slot(&rig, 2), PEN_STATE_COMPLETE);
    send_sleep(&rig, Q + 1, 300, E + 4, 5);
    send_mix(&rig, Q + 2, R, R, 3, E + 5, 6, &moved);
    assert_int_equal(rig_wait_slot(&rig, 6), 0);
    assert_true(rig_slot(&rig, 5) > 0); /* the sleep has nothing to do with it */
    assert_int_equal(rig_read(&rig, Q + 2, R, WORDS, BACK), 0);
    uint32_t expected = 1;
    for (uint32_t word = 2; word <= 3; word++)
        expected = expected * 1664525 + expected + word;
    assert_int_equal(*(uint32_t *)(void *)(rig.arena + BACK), expected);
    rig_stop(&rig);
}

/* A copy fails: what needed it fails, and what does not need it goes on. */
static void test_failed_copy(void **state)
{
    (void)state;
    const char *const faults[] = {"read:1", "read:1:late", "write:2", "write:2:late"};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const uint64_t first = E;
        struct rig rig;
        prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true, .fail = faults[i]}, DEVICES);
        send_mix(&rig, Q, R, R, 1, first, 1, NULL); /* the first write brings it here */
        send_mix(&rig, Q + 1, R, R, 2, E + 1, 2, &first);
        rig_launch(&rig, Q + 1, NOP, 1, E + 2, 3, NULL, 0);
        assert_int_equal(rig_wait_slot(&rig, 3), 0);
        assert_int_equal(rig_slot(&rig, 1), PEN_STATE_COMPLETE);
        if (rig_slot(&rig, 2) >= 0)
            fail_msg("%s: %d", faults[i], rig_slot(&rig, 2));
        for (uint32_t device = 0; device < DEVICES; device++) { /* the contents are as they were */
            assert_int_equal(rig_read(&rig, Q + device, R, WORDS, BACK), 0);
            if (*(uint32_t *)(void *)(rig.arena + BACK) != 1)
                fail_msg("%s: device %u has %u", faults[i], device, *(uint32_t *)(void *)(rig.arena + BACK));
        }
        rig_stop(&rig);
    }
}

/* A driver whose commands begin when their queue is flushed: what a copy waits for is flushed, though its queue has
 * been idle. And of a queue that has something in flight, all of it is waited for. */
static void test_lazy_driver(void **state)
{
    (void)state;
    for (uint32_t busy = 0; busy < 2; busy++) {
        const uint64_t first = E;
        struct rig rig;
        prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true, .lazy = true}, 3);
        send_mix(&rig, Q, R, R, 1, first, 1, NULL);
        assert_int_equal(rig_wait_slot(&rig, 1), 0);
        if (busy)
            send_sleep(&rig, Q, 100, E + 1, 2);
        send_mix(&rig, Q + 1, R, R, 2, E + 2, 3, &first);
        assert_int_equal(rig_wait_slot(&rig, 3), 0);
        assert_int_equal(rig_read(&rig, Q + 2, R, WORDS, BACK), 0);
        assert_int_equal(*(uint32_t *)(void *)(rig.arena + BACK), 1664525 + 1 + 2);
        rig_stop(&rig);
    }
}

/* A command that the driver refuses, behind one that still runs: who comes after both comes after the one that runs. */
static void test_refused_behind_running(void **state)
{
    (void)state;
    struct rig rig;
    const uint64_t moved = E;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true, .fail = "launch:4"}, 5);
    RIG_SEND(&rig, queue_create, .queue = Q + 9, .device = 1, .flags = PEN_QUEUE_FLAG_OUT_OF_ORDER, .slot = 9);
    send_mix(&rig, Q + 1, R, R, 1, moved, 1, NULL);
    send_mix(&rig, Q, R, R, 2, E + 1, 2, &moved); /* from now on R is watched */
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    rig_set_word(&rig, SLEEP, 0, 100);
    rig_launch(&rig, Q + 9, SLEEP, 1, E + 2, 3, NULL, 0);
    const uint64_t slept = E + 2;
    rig_set_region(&rig, MIX, 0, R);
    rig_set_word(&rig, MIX, 2, 3);
    rig_launch(&rig, Q + 9, MIX, WORDS, E + 3, 4, &slept, 1); /* refused: the fourth launch */
    send_mix(&rig, Q + 9, R, R, 4, E + 4, 5, &slept);         /* runs after the sleep */
    const uint64_t ran = E + 4;
    send_mix(&rig, Q + 1, R, R, 5, E + 5, 6, &ran);
    assert_int_equal(rig_wait_slot(&rig, 6), 0);
    assert_true(rig_slot(&rig, 4) < 0);
    uint32_t expected = 0;
    static const uint32_t words[] = {1, 2, 4, 5};
    for (int i = 0; i < 4; i++)
        expected = expected * 1664525 + expected + words[i];
    assert_int_equal(rig_read(&rig, Q + 2, R, WORDS, BACK), 0);
    assert_int_equal(*(uint32_t *)(void *)(rig.arena + BACK), expected);
    rig_stop(&rig);
}

/* ---- random programs against a model ------------------------------------------------------------------------ */

static uint32_t pick(uint64_t *random, uint32_t below)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33) % below;
}

/* Several queues on several devices. Each command waits for the one before it, wherever that was, now and then by way
 * of a program's own event. */
static void run_random(uint64_t seed)
{
    char jitter[32];
    struct rig rig;
    uint64_t random = seed;
    uint32_t words[BUFFERS][WORDS] = {{0}};
    snprintf(jitter, sizeof jitter, "%llu", (unsigned long long)seed);
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true, .seed = jitter}, 5);
    uint32_t commands = 30 + pick(&random, 60), gates = 0;
    for (uint32_t slot = 1; slot <= commands; slot++) {
        uint64_t before = E + slot - 1, queue = Q + pick(&random, 5);
        uint32_t to = pick(&random, BUFFERS), from = pick(&random, BUFFERS), word = pick(&random, 1000);
        if (pick(&random, 5) == 0) { /* all that was sent is complete when this one may go */
            assert_int_equal(slot > 1 ? rig_wait_slot(&rig, slot - 1) : 0, 0);
            before = E + 500 + gates++;
            atomic_store(&rig.view.slots[500 + gates].state, PEN_STATE_QUEUED);
            RIG_SEND(&rig, event_create, .event = before, .slot = 500 + gates);
        }
        send_mix(&rig, queue, R + to, R + from, word, E + slot, slot, slot > 1 || before >= E + 500 ? &before : NULL);
        if (before >= E + 500)
            RIG_SEND(&rig, event_set, .event = before, .status = 0);
        for (uint32_t i = 0; i < WORDS; i++)
            words[to][i] = words[to][i] * 1664525 + words[from][i] + word;
    }
    assert_int_equal(rig_wait_slot(&rig, commands), 0);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        assert_int_equal(rig_read(&rig, Q + pick(&random, 5), R + i, WORDS, BACK), 0);
        if (memcmp(rig.arena + BACK, words[i], sizeof words[i]))
            fail_msg("seed %llu: buffer %u differs", (unsigned long long)seed, i);
    }
    rig_stop(&rig);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++)
        run_random(seed);
}

static void slice(struct rig *rig, uint64_t region, uint64_t first, uint64_t count)
{
    RIG_SEND(rig, region_slice, .region = region, .parent = R, .offset = first * 4, .size = count * 4,
             .flags = PEN_REGION_FLAG_KERNEL_READS | PEN_REGION_FLAG_KERNEL_WRITES);
}

/* Two devices at the halves of a buffer do not take turns with it: each has its half, and what another one needs of it
 * is all that goes there. What is overwritten is not brought at all. */
static void test_ranges_move(void **state)
{
    (void)state;
    const uint32_t half = WORDS / 2;
    const uint64_t bytes = (uint64_t)half * 4;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true}, DEVICES);
    slice(&rig, R + 10, 0, half);
    slice(&rig, R + 11, half, half);
    for (uint32_t i = 0; i < WORDS; i++)
        ((uint32_t *)(void *)(rig.arena + AT(0)))[i] = i;
    for (uint32_t i = 0; i < 3; i++) { /* in turns */
        send_mix(&rig, Q, R + 10, R + 10, 1, E + 2 * i, 1, NULL);
        send_mix(&rig, Q + 1, R + 11, R + 11, 1, E + 2 * i + 1, 2, NULL);
        assert_int_equal(rig_wait_slot(&rig, 1), 0);
        assert_int_equal(rig_wait_slot(&rig, 2), 0);
    }
    assert_int_equal(atomic_load(&rig.crash->transfer_bytes), 2 * bytes); /* once each, from the host */
    RIG_SEND(&rig, fill, .queue = Q + 2, .region = R, .origin = {0}, .extent = {8, 1, 1},
             .pattern = {&(uint32_t){5}, 4});
    assert_int_equal(rig_read(&rig, Q + 2, R, 2, BACK), 0);
    assert_int_equal(atomic_load(&rig.crash->transfer_bytes), 2 * bytes);
    send_mix(&rig, Q + 1, R + 1, R, 0, E + 6, 3, NULL);
    assert_int_equal(rig_wait_slot(&rig, 3), 0);
    /* All of the other buffer, and of this one what the two others have, each by way of the host. */
    assert_int_equal(atomic_load(&rig.crash->transfer_bytes), 2 * bytes + WORDS * 4 + 2 * bytes);
    uint32_t value = WORDS - 1;
    for (uint32_t i = 0; i < 3; i++)
        value = value * 1664525 + value + 1;
    assert_int_equal(rig_read(&rig, Q, R, WORDS, BACK), 0);
    const uint32_t *back = (const uint32_t *)(const void *)(rig.arena + BACK);
    assert_int_equal(back[0], 5);
    assert_int_equal(back[1], 5);
    assert_int_equal(back[WORDS - 1], value);
    rig_stop(&rig);
}

/* What cannot be brought leaves what would have been overwritten with it. */
static void test_failed_source(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true, .fail = "write:3:late"}, DEVICES);
    for (uint32_t i = 0; i < 2; i++) { /* two writes, to the first device */
        send_mix(&rig, Q, R + i, R + i, 5, E + i, 1 + i, NULL);
        assert_int_equal(rig_wait_slot(&rig, 1 + i), 0);
    }
    atomic_store(&rig.view.slots[3].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, copy, .queue = Q + 1, .event = E + 2, .slot = 3, .source = R, .target = R + 1,
             .extent = {WORDS * 4, 1, 1});
    assert_true(rig_wait_slot(&rig, 3) < 0);
    assert_int_equal(rig_read(&rig, Q + 1, R + 1, WORDS, BACK), 0);
    assert_int_equal(*(uint32_t *)(void *)(rig.arena + BACK), 5);
    rig_stop(&rig);
}

/* A copy fails that is held, and so are those that need it: one that reads, and one that writes behind that. */
static void test_failed_copy_behind_reader(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true, .fail = "read:1:late"}, 2 * DEVICES);
    send_mix(&rig, Q, R, R, 1, E, 1, NULL);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    send_sleep(&rig, Q, 100, E + 1, 2); /* which the copy waits for */
    atomic_store(&rig.view.slots[3].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, copy, .queue = Q + 1, .event = E + 2, .slot = 3, .source = R, .target = R + 1,
             .extent = {WORDS * 4, 1, 1});
    send_mix(&rig, Q + 1 + DEVICES, R, R, 2, E + 3, 4, NULL); /* of the same device */
    assert_true(rig_wait_slot(&rig, 4) < 0);
    assert_true(rig_slot(&rig, 3) < 0);
    for (uint32_t device = 0; device < DEVICES; device++) { /* the contents are as they were */
        assert_int_equal(rig_read(&rig, Q + device, R, WORDS, BACK), 0);
        assert_int_equal(*(uint32_t *)(void *)(rig.arena + BACK), 1);
    }
    rig_stop(&rig);
}

/* A copy fails that is held, and so are those that change or read what it was to bring, one behind the other: none of
 * them says that it has done so. */
static void test_failed_copy_behind_writer(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true, .fail = "read:1:late"}, 3 * DEVICES);
    send_mix(&rig, Q, R, R, 1, E, 1, NULL);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    send_sleep(&rig, Q, 200, E + 1, 2); /* which the copy waits for */
    send_mix(&rig, Q + 1, R, R, 2, E + 2, 3, NULL);
    send_mix(&rig, Q + 1 + DEVICES, R, R, 3, E + 3, 4, NULL); /* of the same device */
    send_mix(&rig, Q + 1 + 2 * DEVICES, R + 1, R, 4, E + 4, 5, NULL);
    assert_true(rig_slot(&rig, 4) > 0);
    assert_true(rig_wait_slot(&rig, 3) < 0);
    assert_true(rig_wait_slot(&rig, 4) < 0);
    assert_true(rig_wait_slot(&rig, 5) < 0);
    for (uint32_t device = 0; device < DEVICES; device++) { /* the contents are as they were */
        assert_int_equal(rig_read(&rig, Q + device, R, WORDS, BACK), 0);
        assert_int_equal(*(uint32_t *)(void *)(rig.arena + BACK), 1);
    }
    send_mix(&rig, Q + 1, R, R, 5, E + 5, 6, NULL);
    assert_int_equal(rig_wait_slot(&rig, 6), 0);
    assert_int_equal(rig_read(&rig, Q, R, WORDS, BACK), 0);
    assert_int_equal(*(uint32_t *)(void *)(rig.arena + BACK), 1664525 + 1 + 5);
    rig_stop(&rig);
}

/* What is overwritten behind a copy that fails has been, and so has what comes after that. */
static void test_failed_copy_behind_overwrite(void **state)
{
    (void)state;
    const uint32_t half = WORDS / 2;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true, .fail = "read:1:late"}, 4 * DEVICES);
    slice(&rig, R + 10, 0, half);
    slice(&rig, R + 11, half, half);
    send_mix(&rig, Q, R, R, 1, E, 1, NULL);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    send_sleep(&rig, Q, 200, E + 1, 2);
    send_mix(&rig, Q + 1, R, R, 2, E + 2, 3, NULL);
    RIG_SEND(&rig, fill, .queue = Q + 1 + DEVICES, .region = R, .origin = {0}, .extent = {half * 4, 1, 1},
             .pattern = {&(uint32_t){9}, 4});
    send_mix(&rig, Q + 1 + 2 * DEVICES, R + 10, R + 10, 3, E + 3, 4, NULL);
    send_mix(&rig, Q + 1 + 3 * DEVICES, R + 11, R + 11, 4, E + 4, 5, NULL);
    assert_true(rig_wait_slot(&rig, 3) < 0);
    assert_int_equal(rig_wait_slot(&rig, 4), 0);
    assert_true(rig_wait_slot(&rig, 5) < 0);
    assert_int_equal(rig_read(&rig, Q + 2, R, WORDS, BACK), 0);
    const uint32_t *back = (const uint32_t *)(const void *)(rig.arena + BACK);
    assert_int_equal(back[0], 9 * 1664525u + 9 + 3);
    assert_int_equal(back[half], 1);
    rig_stop(&rig);
}

/* Commands at bytes that a copy was not to bring do not fail with it, though they come after it. */
static void test_failed_copy_of_other_bytes(void **state)
{
    (void)state;
    const uint32_t half = WORDS / 2;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true, .fail = "read:1:late"}, 2 * DEVICES);
    slice(&rig, R + 10, 0, half);
    slice(&rig, R + 11, half, half);
    send_mix(&rig, Q + 1, R + 11, R + 11, 1, E, 1, NULL);
    send_mix(&rig, Q, R + 10, R + 10, 1, E + 1, 2, NULL);
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    send_sleep(&rig, Q, 200, E + 2, 3);
    send_mix(&rig, Q + 1, R + 10, R + 10, 2, E + 3, 4, NULL); /* the first that leaves a device */
    send_mix(&rig, Q + 1 + DEVICES, R + 11, R + 11, 3, E + 4, 5, NULL);
    assert_true(rig_slot(&rig, 5) > 0);
    assert_true(rig_wait_slot(&rig, 4) < 0);
    assert_int_equal(rig_wait_slot(&rig, 5), 0);
    assert_int_equal(rig_read(&rig, Q + 2, R, WORDS, BACK), 0);
    const uint32_t *back = (const uint32_t *)(const void *)(rig.arena + BACK);
    assert_int_equal(back[0], 1);
    assert_int_equal(back[half], 1664525 + 1 + 3);
    rig_stop(&rig);
}

/* A buffer that is in more parts than can be told apart moves as a whole to where the last one is written, behind all
 * that another device does with any part of it. */
static void test_too_many_parts(void **state)
{
    (void)state;
    enum { PARTS = PEN_RESIDENCY_PARTS - 1, EACH = 16, LATE = PARTS - 6 };
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true}, DEVICES);
    rig_buffer(&rig, R + 20, BACK, (PARTS + 1) * EACH, true);
    for (uint32_t i = 0; i < PARTS; i++) {
        if (i == LATE)
            send_sleep(&rig, Q + i % 2, 100, 0, 0);
        uint32_t slot = i + 2 < PARTS ? 0 : 1 + i % 2; /* the last of each queue */
        if (slot)
            atomic_store(&rig.view.slots[slot].state, PEN_STATE_QUEUED);
        RIG_SEND(&rig, fill, .queue = Q + i % 2, .event = slot ? E + slot : 0, .slot = slot, .region = R + 20,
                 .origin = {i * EACH * 4}, .extent = {EACH * 4, 1, 1}, .pattern = {&i, 4});
    }
    assert_int_equal(rig_wait_slot(&rig, 1), 0);
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    assert_int_equal(rig_read(&rig, Q + 2, R + 20, PARTS * EACH, BACK + (1 << 18)), 0);
    const uint32_t *back = (const uint32_t *)(const void *)(rig.arena + BACK + (1 << 18));
    for (uint32_t i = 0; i < PARTS; i++)
        if (back[i * EACH] != i)
            fail_msg("part %u is %u", i, back[i * EACH]);
    rig_stop(&rig);
}

/* Contents that come to a device where nobody had them before wait for nothing there. */
static void test_the_first_copy_waits_for_nobody(void **state)
{
    (void)state;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true}, DEVICES + 1);
    send_sleep(&rig, Q, 500, E, 1);
    send_mix(&rig, Q + DEVICES, R, R, 1, E + 1, 2, NULL); /* on the same device */
    assert_int_equal(rig_wait_slot(&rig, 2), 0);
    assert_true(rig_slot(&rig, 1) > 0);
    rig_stop(&rig);
}

/* A long read of a program on another host waits for room in the link, and is noted nowhere: what it is to read stays
 * in the device's memory, however little of that there is. Who needs memory waits for the read, and does not fail. */
static void test_what_waits_for_the_link_is_in_use(void **state)
{
    (void)state;
    enum { LARGE = 20000, FAR = R + BUFFERS, OTHER, READ = 1, NEEDS_MEMORY };
    struct pen_remote remote = {.reading = PEN_LINK_BULK_BYTES, .ends = {-1, -1}};
    struct pen_link *link;
    struct rig rig;
    prepare(&rig, &(struct rig_options){.domains = DEVICES, .indirect = true, .memory = "100000", .no_thread = true},
            DEVICES + 1);
    assert_int_equal(pen_link_create(&(struct pen_link_owner){0}, &link), 0);
    pthread_mutex_init(&remote.lock, NULL);
    remote.link = link;
    pen_loans_init(&remote.loans, link, rig.arena, RIG_ARENA);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t at = BACK * (2 + i);
        *(uint32_t *)(void *)(rig.arena + at) = 7 + i;
        rig_buffer(&rig, FAR + i, at, LARGE, true);
    }
    assert_int_equal(rig_read(&rig, Q, FAR, 1, BACK), 0); /* it is in the device's memory now, and the host's */
    rig.work->config.remote = &remote;
    atomic_store(&rig.view.slots[READ].state, PEN_STATE_QUEUED);
    atomic_store(&rig.view.slots[NEEDS_MEMORY].state, PEN_STATE_QUEUED);
    RIG_SEND(&rig, read, .queue = Q, .event = E, .slot = READ, .region = FAR, .extent = {LARGE * 4, 1, 1},
             .arena_offset = BACK, .arena_size = LARGE * 4);
    rig_pump(&rig);
    assert_false(pen_list_empty(&rig.work->unsent));
    RIG_SEND(&rig, read, .queue = Q + DEVICES, .event = E + 1, .slot = NEEDS_MEMORY, .region = OTHER,
             .extent = {4, 1, 1}, .arena_offset = BACK * 5, .arena_size = 4);
    rig_pump(&rig);
    assert_true(rig_slot(&rig, NEEDS_MEMORY) > 0);
    *(uint32_t *)(void *)(rig.arena + BACK) = 0;
    atomic_store(&remote.reading, 0);
    rig_pump(&rig);
    assert_int_equal(rig_slot(&rig, READ), 0);
    assert_int_equal(rig_slot(&rig, NEEDS_MEMORY), 0);
    assert_int_equal(*(uint32_t *)(void *)(rig.arena + BACK), 7);
    assert_int_equal(*(uint32_t *)(void *)(rig.arena + BACK * 5), 8);
    rig.work->config.remote = NULL;
    rig_stop(&rig);
    pen_loans_finish(&remote.loans);
    pen_link_destroy(link);
    pthread_mutex_destroy(&remote.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_else_waits),
        cmocka_unit_test(test_failed_copy),
        cmocka_unit_test(test_lazy_driver),
        cmocka_unit_test(test_refused_behind_running),
        cmocka_unit_test(test_ranges_move),
        cmocka_unit_test(test_failed_source),
        cmocka_unit_test(test_too_many_parts),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_failed_copy_behind_reader),
        cmocka_unit_test(test_failed_copy_behind_writer),
        cmocka_unit_test(test_failed_copy_behind_overwrite),
        cmocka_unit_test(test_failed_copy_of_other_bytes),
        cmocka_unit_test(test_the_first_copy_waits_for_nobody),
        cmocka_unit_test(test_what_waits_for_the_link_is_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
