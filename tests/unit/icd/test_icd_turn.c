/* Two threads on one in-order queue, one of which does a command itself; on a session without a worker. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "icd/entry.h"
#include "stub_session.h"

enum { BYTES = 256 << 10, SMALL = 64, MOST_MS = 10000 };

static cl_context context;
static cl_command_queue queue;
static cl_mem buffer;
static unsigned char bytes[BYTES];
static pthread_t other;
static _Atomic int returned; /* the other thread's call; -1: not yet */

static int set_up(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_platform_id platform = NULL;
    cl_device_id device = NULL;
    pen_clGetPlatformIDs(1, &platform, NULL);
    pen_clGetDeviceIDs(platform, CL_DEVICE_TYPE_CPU, 1, &device, NULL);
    context = pen_clCreateContext(NULL, 1, &device, NULL, NULL, &error);
    queue = pen_clCreateCommandQueue(context, device, 0, &error);
    buffer = pen_clCreateBuffer(context, 0, BYTES, NULL, &error);
    returned = -1;
    return !context || !queue || !buffer || !buffer->direct;
}

static int tear_down(void **state)
{
    (void)state;
    int failed = pen_clReleaseMemObject(buffer) || pen_clReleaseCommandQueue(queue) || pen_clReleaseContext(context);
    stub_reset();
    return failed;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void join(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += MOST_MS / 1000;
    assert_int_equal(pthread_timedjoin_np(other, NULL, &until), 0);
}

static cl_int read_all(void)
{
    return pen_clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, BYTES, bytes, 0, NULL, NULL);
}

static cl_int fill(size_t size)
{
    unsigned char value = 1;
    return pen_clEnqueueFillBuffer(queue, buffer, &value, 1, 0, size, 0, NULL, NULL);
}

static void *fill_large_and_small(void *unused)
{
    (void)unused;
    returned = fill(BYTES) || fill(SMALL);
    return NULL;
}

static void *read_in_thread(void *unused)
{
    (void)unused;
    returned = read_all();
    return NULL;
}

static uint64_t gate_of_last_marker(void)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_marker marker = {0};
    const struct stub_command *sent = stub_last(PEN_OP_MARKER);
    assert_non_null(sent);
    assert_int_equal(pen_msg_marker_decode(sent->frame, sent->size, &scratch, &marker), 0);
    assert_int_equal(marker.queue, queue->id);
    assert_int_equal(marker.waits_count, 1);
    uint64_t id = marker.waits[0];
    pen_scratch_finish(&scratch);
    return id;
}

static uint64_t last_event_set(void)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_event_set set = {0};
    const struct stub_command *sent = stub_last(PEN_OP_EVENT_SET);
    assert_non_null(sent);
    assert_int_equal(pen_msg_event_set_decode(sent->frame, sent->size, &scratch, &set), 0);
    assert_int_equal(set.status, 0);
    return set.event;
}

/* Called in the turn of the test's thread. */
static void fill_from_another_thread(void)
{
    stub.on_drain = NULL;
    assert_int_equal(pthread_create(&other, NULL, fill_large_and_small, NULL), 0);
    join(); /* it is not held up */
    assert_int_equal(returned, CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 1); /* one gate is enough */
    assert_int_equal(stub_count(PEN_OP_FILL), 2);   /* the small one goes there, too */
    assert_true(stub_last(PEN_OP_MARKER)->sequence < stub_last(PEN_OP_FILL)->sequence);
    assert_int_equal(stub_count(PEN_OP_EVENT_SET), 0);
}

static void test_comes_after(void **state)
{
    (void)state;
    stub.on_drain = fill_from_another_thread;
    assert_int_equal(read_all(), CL_SUCCESS);
    assert_null(stub.on_drain);
    assert_int_equal(last_event_set(), gate_of_last_marker());
    stub_complete_queue(queue->slot, queue->last);
    uint32_t before = stub.command_count;
    assert_int_equal(read_all(), CL_SUCCESS); /* by itself: without a command */
    assert_int_equal(stub.command_count, before);
}

static void read_beside(void)
{
    stub.on_drain = NULL;
    assert_int_equal(pthread_create(&other, NULL, read_in_thread, NULL), 0);
    for (int i = 0; i < MOST_MS && stub_count(PEN_OP_MARKER) == 0; i++)
        pause_ms(1);
    assert_int_equal(stub_count(PEN_OP_MARKER), 1);
    assert_int_equal(returned, -1);
}

/* The second waits for the first one's gate. */
static void test_two_turns(void **state)
{
    (void)state;
    stub.on_drain = read_beside;
    assert_int_equal(read_all(), CL_SUCCESS);
    assert_int_equal(last_event_set(), gate_of_last_marker());
    pause_ms(20);
    assert_int_equal(returned, -1);
    stub_complete_queue(queue->slot, stub_last(PEN_OP_MARKER)->sequence);
    join();
    assert_int_equal(returned, CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 1);
    assert_int_equal(stub.quiet_within, 0); /* while it looked whether the first one ends, it had no lock */
}

/* The turn's place is behind what was there before it, and no further. */
static void test_waits_for_what_was_before(void **state)
{
    (void)state;
    assert_int_equal(fill(BYTES), CL_SUCCESS);
    uint64_t before = queue->last;
    assert_int_equal(pthread_create(&other, NULL, read_in_thread, NULL), 0);
    for (int i = 0; i < MOST_MS && !atomic_load(&queue->turn); i++)
        pause_ms(1);
    assert_non_null(atomic_load(&queue->turn));
    assert_int_equal(fill(BYTES), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 1);
    assert_int_equal(stub_count(PEN_OP_EVENT_SET), 0);
    stub_complete_queue(queue->slot, before);
    join();
    assert_int_equal(returned, CL_SUCCESS);
    assert_int_equal(last_event_set(), gate_of_last_marker());
    stub_complete_queue(queue->slot, queue->last);
}

/* Without a slot for the gate's event the other thread's call fails, and the turn goes on. */
static void fail_from_another_thread(void)
{
    stub.on_drain = NULL;
    stub.slot_error = -PEN_ELIMIT;
    assert_int_equal(fill(BYTES), CL_OUT_OF_RESOURCES);
    assert_int_equal(stub_count(PEN_OP_FILL), 0);
    stub.slot_error = 0;
}

static void test_no_gate_to_be_had(void **state)
{
    (void)state;
    stub.on_drain = fail_from_another_thread;
    assert_int_equal(read_all(), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_EVENT_SET), 0);
    assert_null(atomic_load(&queue->turn));
    assert_int_equal(fill(BYTES), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 0);
    stub_complete_queue(queue->slot, queue->last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_comes_after, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waits_for_what_was_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_gate_to_be_had, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("icd turns", tests, NULL, NULL);
}
