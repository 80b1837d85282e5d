/* Long transfers that go in pieces, of a pool on another host; on a session without a worker. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "icd/entry.h"
#include "icd/move.h"
#include "stub_session.h"

enum { PIECES = PEN_REMOTE_PIECES + 1, BYTES = PIECES * PEN_REMOTE_PIECE_BYTES, MANY = PEN_LIMIT_WAITS + 1 };

static cl_context context;
static cl_device_id device;
static cl_command_queue queue;
static cl_mem buffer;
static unsigned char *bytes;
static cl_event waits[MANY];
static cl_uint wait_count;
static pthread_t other;
static _Atomic int returned; /* the other thread's call; 1: not yet */

static int set_up(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_platform_id platform = NULL;
    stub.features = PEN_FEATURE_REMOTE;
    pen_clGetPlatformIDs(1, &platform, NULL);
    pen_clGetDeviceIDs(platform, CL_DEVICE_TYPE_GPU, 1, &device, NULL);
    context = pen_clCreateContext(NULL, 1, &device, NULL, NULL, &error);
    queue = pen_clCreateCommandQueue(context, device, 0, &error);
    buffer = pen_clCreateBuffer(context, 0, BYTES, NULL, &error);
    bytes = calloc(1, BYTES);
    wait_count = 0;
    return !context || !queue || !buffer || buffer->direct || !bytes;
}

static int tear_down(void **state)
{
    (void)state;
    stub_complete_queue(queue->slot, queue->last);
    for (cl_uint i = 0; i < wait_count; i++)
        (void)pen_clReleaseEvent(waits[i]);
    int failed = pen_clReleaseMemObject(buffer) || pen_clReleaseCommandQueue(queue) || pen_clReleaseContext(context);
    free(bytes);
    stub_reset();
    return failed;
}

static void wait_for_events(cl_uint count)
{
    cl_int error = 0;
    for (wait_count = 0; wait_count < count; wait_count++)
        assert_non_null(waits[wait_count] = pen_clCreateUserEvent(context, &error));
}

static void *write_all(void *out_event)
{
    returned = pen_clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, BYTES, bytes, wait_count, wait_count ? waits : NULL,
                                        out_event);
    return NULL;
}

static void begin(cl_event *out_event)
{
    returned = 1;
    assert_int_equal(pthread_create(&other, NULL, write_all, out_event), 0);
}

static void pause_ms(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void wait_for_pieces(uint32_t count)
{
    for (int i = 0; i < 5000 && stub_count(PEN_OP_WRITE) < count; i++)
        pause_ms();
    assert_int_equal(stub_count(PEN_OP_WRITE), count);
}

/* What a piece was sent with; the scratch is the caller's. */
static struct pen_msg_write piece(uint32_t number, struct pen_scratch *scratch)
{
    struct pen_msg_write write;
    const struct stub_command *sent = stub_nth(PEN_OP_WRITE, number);
    assert_non_null(sent);
    assert_int_equal(pen_msg_write_decode(sent->frame, sent->size, scratch, &write), 0);
    return write;
}

static void end_piece(uint32_t number, int32_t state)
{
    struct pen_scratch scratch = {0};
    stub_complete(piece(number, &scratch).slot, state);
    pen_scratch_finish(&scratch);
}

static void join(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    assert_int_equal(pthread_timedjoin_np(other, NULL, &until), 0);
}

static void expect_waits_for_piece(uint32_t number, uint32_t before)
{
    struct pen_scratch scratch = {0}, scratch_before = {0};
    struct pen_msg_write write = piece(number, &scratch);
    assert_int_equal(write.waits_count, 1);
    assert_int_equal(write.waits[0], piece(before, &scratch_before).event);
    pen_scratch_finish(&scratch_before);
    pen_scratch_finish(&scratch);
}

static bool is_aside(uint32_t number)
{
    struct pen_scratch scratch = {0};
    bool aside = piece(number, &scratch).queue != queue->id;
    pen_scratch_finish(&scratch);
    return aside;
}

static void fill(void)
{
    unsigned char value = 1;
    assert_int_equal(pen_clEnqueueFillBuffer(queue, buffer, &value, 1, 0, BYTES, 0, NULL, NULL), CL_SUCCESS);
}

/* More than one command may wait for: markers stand for them, once. */
static void test_many_waits(void **state)
{
    (void)state;
    wait_for_events(MANY);
    begin(NULL);
    wait_for_pieces(PEN_REMOTE_PIECES);
    assert_int_equal(stub_count(PEN_OP_MARKER), 2);
    assert_int_equal(stub_count(PEN_OP_EVENT_CREATE), MANY); /* no gate */
    for (uint32_t i = 1; i < PEN_REMOTE_PIECES; i++)
        expect_waits_for_piece(i, 0);
    end_piece(0, PEN_STATE_COMPLETE);
    wait_for_pieces(PIECES);
    for (uint32_t i = 1; i < PIECES; i++)
        end_piece(i, PEN_STATE_COMPLETE);
    join();
    assert_int_equal(returned, CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_MARKER), 2);
}

/* As many, and a piece that goes aside, behind the last one. */
static void test_most_waits_and_a_gate(void **state)
{
    (void)state;
    wait_for_events(PEN_LIMIT_WAITS);
    begin(NULL);
    wait_for_pieces(PEN_REMOTE_PIECES);
    fill();
    assert_int_equal(stub_count(PEN_OP_MARKER), 1);
    end_piece(0, PEN_STATE_COMPLETE);
    wait_for_pieces(PIECES);
    assert_int_equal(stub_count(PEN_OP_MARKER), 1); /* nothing is behind the gate that the transfer needs */
    assert_true(is_aside(PIECES - 1));
    expect_waits_for_piece(PIECES - 1, PIECES - 2);
    for (uint32_t i = 1; i < PIECES; i++)
        end_piece(i, PEN_STATE_COMPLETE);
    join();
    assert_int_equal(returned, CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_EVENT_SET), 1);
}

/* The queue aside is as the program's. */
static void test_aside_priority(void **state)
{
    (void)state;
    const cl_queue_properties low[] = {CL_QUEUE_PRIORITY_KHR, CL_QUEUE_PRIORITY_LOW_KHR, 0};
    struct pen_scratch scratch = {0};
    struct pen_msg_queue_create create;
    cl_command_queue usual = queue;
    cl_int error = 0;
    assert_non_null(queue = pen_clCreateCommandQueueWithProperties(context, device, low, &error));
    begin(NULL);
    wait_for_pieces(PEN_REMOTE_PIECES);
    fill();
    end_piece(0, PEN_STATE_COMPLETE);
    wait_for_pieces(PIECES);
    assert_true(is_aside(PIECES - 1));
    const struct stub_command *sent = stub_last(PEN_OP_QUEUE_CREATE);
    assert_int_equal(pen_msg_queue_create_decode(sent->frame, sent->size, &scratch, &create), 0);
    assert_int_equal(create.priority, PEN_HINT_LOW);
    pen_scratch_finish(&scratch);
    for (uint32_t i = 1; i < PIECES; i++)
        end_piece(i, PEN_STATE_COMPLETE);
    join();
    assert_int_equal(returned, CL_SUCCESS);
    stub_complete_queue(queue->slot, queue->last);
    assert_int_equal(pen_clReleaseCommandQueue(queue), CL_SUCCESS);
    queue = usual;
}

/* No more queues are to be had: the rest of the transfer comes after what other threads have sent. */
static void test_no_queue_aside(void **state)
{
    (void)state;
    static cl_command_queue others[PEN_LIMIT_QUEUES];
    cl_int error = 0;
    uint32_t count = 0;
    while (count < PEN_LIMIT_QUEUES && (others[count] = pen_clCreateCommandQueue(context, device, 0, &error)))
        count++;
    assert_in_range(count, 1, PEN_LIMIT_QUEUES - 1);
    begin(NULL);
    wait_for_pieces(PEN_REMOTE_PIECES);
    fill();
    end_piece(0, PEN_STATE_COMPLETE);
    wait_for_pieces(PIECES);
    assert_false(is_aside(PIECES - 1));
    assert_true(stub_nth(PEN_OP_WRITE, PIECES - 1)->sequence > stub_last(PEN_OP_FILL)->sequence);
    assert_int_equal(stub_count(PEN_OP_EVENT_SET), 1); /* the first turn has ended */
    fill();                                            /* behind the other one */
    assert_int_equal(stub_count(PEN_OP_MARKER), 2);
    for (uint32_t i = 1; i < PIECES; i++)
        end_piece(i, PEN_STATE_COMPLETE);
    join();
    assert_int_equal(returned, CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_EVENT_SET), 2);
    while (count--)
        assert_int_equal(pen_clReleaseCommandQueue(others[count]), CL_SUCCESS);
}

/* What the first piece waits for fails: so does the transfer, and sends no more. */
static void test_failed_wait(void **state)
{
    (void)state;
    wait_for_events(1);
    begin(NULL);
    wait_for_pieces(PEN_REMOTE_PIECES);
    for (uint32_t i = 0; i < PEN_REMOTE_PIECES; i++)
        end_piece(i, -PEN_EDEPENDENCY);
    join();
    assert_int_equal(returned, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    assert_int_equal(stub_count(PEN_OP_WRITE), PEN_REMOTE_PIECES);
}

/* The transfer's event is its last piece's, which other threads may be looking at when it is told when it began. */
static void test_event(void **state)
{
    (void)state;
    struct pen_scratch scratch = {0};
    cl_event event = NULL;
    begin(&event);
    wait_for_pieces(PEN_REMOTE_PIECES);
    end_piece(0, PEN_STATE_COMPLETE);
    wait_for_pieces(PIECES);
    cl_event last = stub_owner(piece(PIECES - 1, &scratch).slot);
    pthread_mutex_lock(&last->lock);
    for (uint32_t i = 1; i < PIECES; i++)
        end_piece(i, PEN_STATE_COMPLETE);
    for (int i = 0; i < 50; i++)
        pause_ms();
    assert_int_equal(returned, 1);
    assert_null(last->begun);
    pthread_mutex_unlock(&last->lock);
    join();
    assert_int_equal(returned, CL_SUCCESS);
    assert_ptr_equal(event, last);
    assert_non_null(last->begun);
    assert_int_equal(pen_clReleaseEvent(event), CL_SUCCESS);
    pen_scratch_finish(&scratch);
}

static unsigned char small[PEN_REMOTE_PIECE_BYTES];

static void *write_small(void *unused)
{
    (void)unused;
    returned = pen_clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, sizeof small, small, 0, NULL, NULL) ||
               pen_clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, PEN_SMALL_BYTES, small, 0, NULL, NULL);
    return NULL;
}

/* Behind another thread's transfer, of one piece, and of less. */
static void test_behind(void **state)
{
    (void)state;
    struct pen_turn turn;
    assert_int_equal(pen_turn_begin(&turn, queue), 0);
    pen_session_unlock(context->session);
    returned = 1;
    assert_int_equal(pthread_create(&other, NULL, write_small, NULL), 0);
    wait_for_pieces(1);
    assert_int_equal(stub_count(PEN_OP_MARKER), 1);
    pen_turn_end(&turn);
    assert_int_equal(pen_turn_begin(&turn, queue), 0);
    pen_session_unlock(context->session);
    end_piece(0, PEN_STATE_COMPLETE);
    for (int i = 0; i < 5000 && !stub_count(PEN_OP_READ); i++)
        pause_ms();
    assert_int_equal(stub_count(PEN_OP_MARKER), 2);
    pen_turn_end(&turn);
    struct pen_scratch scratch = {0};
    struct pen_msg_read read;
    const struct stub_command *sent = stub_nth(PEN_OP_READ, 0);
    assert_non_null(sent);
    assert_int_equal(pen_msg_read_decode(sent->frame, sent->size, &scratch, &read), 0);
    stub_complete(read.slot, PEN_STATE_COMPLETE);
    pen_scratch_finish(&scratch);
    join();
    assert_int_equal(returned, CL_SUCCESS);
    assert_int_equal(stub.quiet_within, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_most_waits_and_a_gate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_aside_priority, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_queue_aside, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_behind, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("icd pieces", tests, NULL, NULL);
}
