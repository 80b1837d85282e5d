/* Events of the front end: status, actions, callbacks, profiling; on a session without a worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "icd/entry.h"
#include "icd/service.h"
#include "stub_session.h"
#include "wire/futex.h"

static cl_device_id device;
static cl_context context;
static cl_command_queue queue, profiling;

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static bool becomes(_Atomic int *value, int wanted)
{
    for (int i = 0; i < 5000 && atomic_load(value) != wanted; i++)
        sleep_ms(1);
    return atomic_load(value) == wanted;
}

static int set_up(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_platform_id platform = NULL;
    pen_clGetPlatformIDs(1, &platform, NULL);
    pen_clGetDeviceIDs(platform, CL_DEVICE_TYPE_CPU, 1, &device, NULL);
    context = pen_clCreateContext(NULL, 1, &device, NULL, NULL, &error);
    queue = pen_clCreateCommandQueue(context, device, 0, &error);
    profiling = pen_clCreateCommandQueue(context, device, CL_QUEUE_PROFILING_ENABLE, &error);
    return !context || !queue || !profiling;
}

static void CL_CALLBACK on_gone(cl_context gone, void *user)
{
    (void)gone;
    atomic_store((_Atomic int *)user, 1);
}

/* The service thread may be about to let go of a test's last event, and of all that this keeps. */
static int tear_down(void **state)
{
    (void)state;
    _Atomic int gone = 0;
    int failed = pen_clSetContextDestructorCallback(context, on_gone, &gone) || pen_clReleaseCommandQueue(queue) ||
                 pen_clReleaseCommandQueue(profiling) || pen_clReleaseContext(context);
    failed = failed || !becomes(&gone, 1);
    stub_reset();
    return failed;
}

/* A command that was sent and waits for the test to complete it. */
static cl_event send_marker(cl_command_queue on)
{
    cl_int error = 0;
    cl_event user = pen_clCreateUserEvent(context, &error), event = NULL;
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(on, 1, &user, &event), CL_SUCCESS);
    assert_int_equal(pen_clReleaseEvent(user), CL_SUCCESS);
    return event;
}

static void test_status(void **state)
{
    (void)state;
    cl_event event = send_marker(queue);
    static const cl_int states[] = {CL_QUEUED, CL_SUBMITTED, CL_RUNNING, CL_COMPLETE};
    for (int i = 0; i < 4; i++) {
        stub_complete(event->slot, states[i]);
        assert_int_equal(pen_event_status(event), states[i]);
    }
    assert_int_equal(pen_event_wait(event), CL_SUCCESS);
    pen_clReleaseEvent(event);
    event = send_marker(queue);
    stub_complete(event->slot, -PEN_EDEVMEM);
    assert_int_equal(pen_event_status(event), CL_MEM_OBJECT_ALLOCATION_FAILURE);
    assert_int_equal(pen_event_wait(event), CL_MEM_OBJECT_ALLOCATION_FAILURE);
    assert_int_equal(pen_clWaitForEvents(1, &event), CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    pen_clReleaseEvent(event);
}

static void test_user_event(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_event user = pen_clCreateUserEvent(context, &error);
    assert_int_equal(pen_event_status(user), CL_SUBMITTED);
    assert_int_equal(pen_clSetUserEventStatus(user, CL_RUNNING), CL_INVALID_VALUE);
    assert_int_equal(pen_clSetUserEventStatus(user, -1234), CL_SUCCESS);
    const struct stub_command *sent = stub_last(PEN_OP_EVENT_SET);
    struct pen_scratch scratch = {0};
    struct pen_msg_event_set message;
    assert_int_equal(pen_msg_event_set_decode(sent->frame, sent->size, &scratch, &message), 0);
    assert_int_equal(message.event, user->id);
    assert_int_equal(message.status, -PEN_EDEPENDENCY);
    assert_int_equal(pen_event_status(user), -1234); /* also when the worker publishes its own */
    stub_complete(user->slot, -PEN_EDEPENDENCY);
    assert_int_equal(pen_event_status(user), -1234);
    assert_int_equal(pen_clSetUserEventStatus(user, CL_COMPLETE), CL_INVALID_OPERATION);
    assert_int_equal(pen_clReleaseEvent(user), CL_SUCCESS);
    cl_event event = send_marker(queue);
    assert_int_equal(pen_clSetUserEventStatus(event, CL_COMPLETE), CL_INVALID_EVENT);
    pen_clReleaseEvent(event);
}

/* ---- actions ---- */

struct noted {
    struct pen_action action;
    int order, status;
    cl_int seen; /* what the event said while the action ran */
};
static int ran;

static void run(struct pen_action *action, int status)
{
    struct noted *noted = PEN_CONTAINER(action, struct noted, action);
    noted->order = ++ran;
    noted->status = status;
    noted->seen = atomic_load(&action->event->local);
}

static void test_actions(void **state)
{
    (void)state;
    cl_event first = send_marker(queue), second = send_marker(queue), third = send_marker(queue);
    struct noted a = {.action = {.event = first, .run = run}};
    struct noted b = {.action = {.event = second, .run = run}};
    struct noted c = {.action = {.event = third, .run = run}};
    ran = 0;
    pen_action_add(&a.action);
    pen_action_add(&b.action);
    pen_action_add(&c.action);
    pen_settle(context);
    assert_int_equal(ran, 0);
    stub_complete(second->slot, -PEN_EDEVRES);
    stub_complete(first->slot, 0);
    /* Asking for either runs both, in the order they were added, before it is said to be complete. */
    assert_int_equal(pen_event_status(second), CL_OUT_OF_RESOURCES);
    assert_int_equal(ran, 2);
    assert_int_equal(a.order, 1);
    assert_int_equal(b.order, 2);
    assert_int_equal(a.status, 0);
    assert_int_equal(b.status, -PEN_EDEVRES);
    assert_int_equal(b.seen, CL_QUEUED);
    /* The action keeps the event until it has run. */
    assert_int_equal(pen_clReleaseEvent(third), CL_SUCCESS);
    stub_complete(third->slot, 0);
    assert_int_equal(pen_clFinish(profiling), CL_SUCCESS);
    assert_int_equal(ran, 3);
    pen_clReleaseEvent(first);
    pen_clReleaseEvent(second);
}

static _Atomic int slow_state; /* 1: the action runs, 2: it is done */

static void run_slowly(struct pen_action *action, int status)
{
    (void)action, (void)status;
    atomic_store(&slow_state, 1);
    sleep_ms(50);
    atomic_store(&slow_state, 2);
}

static void *settle_in_thread(void *event)
{
    (void)pen_event_status(event);
    return NULL;
}

/* While one thread runs the action, another is not told that the event is complete. */
static void test_actions_across_threads(void **state)
{
    (void)state;
    cl_event event = send_marker(queue);
    struct noted slow = {.action = {.event = event, .run = run_slowly}};
    atomic_store(&slow_state, 0);
    pen_action_add(&slow.action);
    stub_complete(event->slot, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, settle_in_thread, event), 0);
    while (!atomic_load(&slow_state))
        sleep_ms(1);
    assert_int_equal(pen_event_status(event), CL_COMPLETE);
    assert_int_equal(atomic_load(&slow_state), 2);
    pthread_join(thread, NULL);
    pen_clReleaseEvent(event);
}

/* ---- callbacks ---- */

static _Atomic int calls;
static cl_int statuses[64];

static void CL_CALLBACK called(cl_event event, cl_int status, void *user)
{
    (void)event, (void)user;
    int at = atomic_load(&calls);
    statuses[at % 64] = status;
    atomic_store(&calls, at + 1);
}

static void test_callbacks_in_order(void **state)
{
    (void)state;
    atomic_store(&calls, 0);
    cl_event event = send_marker(queue);
    assert_int_equal(pen_clSetEventCallback(event, CL_QUEUED, called, NULL), CL_INVALID_VALUE);
    assert_int_equal(pen_clSetEventCallback(event, CL_COMPLETE, called, NULL), CL_SUCCESS);
    assert_int_equal(pen_clSetEventCallback(event, CL_SUBMITTED, called, NULL), CL_SUCCESS);
    assert_int_equal(pen_clSetEventCallback(event, CL_RUNNING, called, NULL), CL_SUCCESS);
    sleep_ms(5);
    assert_int_equal(atomic_load(&calls), 0);
    stub_complete(event->slot, CL_RUNNING);
    assert_true(becomes(&calls, 2));
    assert_int_equal(statuses[0], CL_SUBMITTED);
    assert_int_equal(statuses[1], CL_RUNNING);
    stub_complete(event->slot, CL_COMPLETE);
    assert_true(becomes(&calls, 3));
    assert_int_equal(statuses[2], CL_COMPLETE);
    /* On what is complete, again and again; nothing but the new callback itself wakes the thread. */
    for (int i = 0; i < 30; i++) {
        assert_int_equal(pen_clSetEventCallback(event, CL_COMPLETE, called, NULL), CL_SUCCESS);
        assert_true(becomes(&calls, 4 + i));
    }
    pen_clReleaseEvent(event);
}

/* One event is watched for long; callbacks that are due at once come through all the same. */
static void test_callback_beside_a_waiting_one(void **state)
{
    (void)state;
    atomic_store(&calls, 0);
    cl_event waiting = send_marker(queue), due = send_marker(queue);
    assert_int_equal(pen_clSetEventCallback(waiting, CL_COMPLETE, called, NULL), CL_SUCCESS);
    stub_complete(due->slot, 0);
    sleep_ms(5);
    assert_int_equal(pen_clSetEventCallback(due, CL_COMPLETE, called, NULL), CL_SUCCESS);
    assert_true(becomes(&calls, 1));
    /* The earlier states of one whose last callback still waits. */
    stub_complete(waiting->slot, CL_RUNNING);
    assert_int_equal(pen_clSetEventCallback(waiting, CL_RUNNING, called, NULL), CL_SUCCESS);
    assert_true(becomes(&calls, 2));
    assert_int_equal(statuses[1], CL_RUNNING);
    stub_complete(waiting->slot, -PEN_EDEPENDENCY);
    assert_true(becomes(&calls, 3));
    assert_int_equal(statuses[2], CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    cl_int error = 0;
    cl_event user = pen_clCreateUserEvent(context, &error);
    assert_int_equal(pen_clSetEventCallback(user, CL_SUBMITTED, called, NULL), CL_SUCCESS);
    assert_true(becomes(&calls, 4));
    assert_int_equal(pen_clSetEventCallback(user, CL_COMPLETE, called, NULL), CL_SUCCESS);
    assert_int_equal(pen_clSetUserEventStatus(user, -3), CL_SUCCESS); /* no worker publishes anything */
    assert_true(becomes(&calls, 5));
    assert_int_equal(statuses[4], -3);
    pen_clReleaseEvent(user);
    pen_clReleaseEvent(waiting);
    pen_clReleaseEvent(due);
}

/* The thread watches an event that the program has let go, and destroys it after the call. */
static void test_callback_keeps_the_event(void **state)
{
    (void)state;
    atomic_store(&calls, 0);
    cl_event event = send_marker(queue);
    uint32_t slot = event->slot, before = stub_count(PEN_OP_EVENT_DESTROY);
    assert_int_equal(pen_clSetEventCallback(event, CL_COMPLETE, called, NULL), CL_SUCCESS);
    assert_int_equal(pen_clReleaseEvent(event), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_EVENT_DESTROY), before);
    stub_complete(slot, 0);
    assert_true(becomes(&calls, 1));
    for (int i = 0; i < 1000 && stub_count(PEN_OP_EVENT_DESTROY) == before; i++)
        sleep_ms(1);
    assert_int_equal(stub_count(PEN_OP_EVENT_DESTROY), before + 1);
}

/* ---- profiling ---- */

static void test_profiling(void **state)
{
    (void)state;
    cl_ulong time = 0;
    cl_event event = send_marker(profiling), plain = send_marker(queue);
    assert_int_equal(pen_clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, 8, &time, NULL),
                     CL_PROFILING_INFO_NOT_AVAILABLE);
    stub_complete(event->slot, 0);
    stub_complete(plain->slot, 0);
    assert_int_equal(pen_clGetEventProfilingInfo(plain, CL_PROFILING_COMMAND_START, 8, &time, NULL),
                     CL_PROFILING_INFO_NOT_AVAILABLE);
    static const cl_profiling_info names[] = {CL_PROFILING_COMMAND_QUEUED, CL_PROFILING_COMMAND_SUBMIT,
                                              CL_PROFILING_COMMAND_START, CL_PROFILING_COMMAND_END};
    for (cl_uint i = 0; i < 4; i++) {
        assert_int_equal(pen_clGetEventProfilingInfo(event, names[i], 8, &time, NULL), CL_SUCCESS);
        assert_int_equal(time, event->slot + i);
    }
    assert_int_equal(pen_clGetEventProfilingInfo(event, 0x1, 8, &time, NULL), CL_INVALID_VALUE);
    pen_clReleaseEvent(event);
    pen_clReleaseEvent(plain);
    /* What this process did itself has times too. */
    struct pen_enqueue e = {0};
    stub_complete_queue(profiling->slot, profiling->last);
    assert_int_equal(pen_enqueue_begin(&e, profiling, CL_COMMAND_MARKER, 0, NULL, &event, false, false), CL_SUCCESS);
    assert_true(pen_enqueue_ready(&e));
    pen_enqueue_done_here(&e, 1000);
    assert_int_equal(pen_enqueue_end(&e, 0), CL_SUCCESS);
    assert_int_equal(pen_clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_QUEUED, 8, &time, NULL), CL_SUCCESS);
    assert_int_equal(time, 1000);
    assert_int_equal(pen_clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, 8, &time, NULL), CL_SUCCESS);
    assert_true(time > 1000);
    pen_clReleaseEvent(event);
    /* Also where the clock has not moved meanwhile: programs divide by what it took. */
    uint64_t started_ns = pen_now_ns() + 1000000000;
    e = (struct pen_enqueue){0};
    assert_int_equal(pen_enqueue_begin(&e, profiling, CL_COMMAND_MARKER, 0, NULL, &event, false, false), CL_SUCCESS);
    pen_enqueue_done_here(&e, started_ns);
    assert_int_equal(pen_enqueue_end(&e, 0), CL_SUCCESS);
    assert_int_equal(pen_clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, 8, &time, NULL), CL_SUCCESS);
    assert_int_equal(time, started_ns + 1);
    pen_clReleaseEvent(event);
}

/* ---- events that the program keeps ---- */

/* More of them than there are slots. */
static void test_events_that_stay(void **state)
{
    (void)state;
    enum { COUNT = STUB_SLOTS + STUB_SLOTS / 4 };
    cl_int error = 0;
    cl_ulong begun = 0, ended = 0;
    cl_event *events = calloc(COUNT, sizeof *events);
    cl_command_queue unordered = pen_clCreateCommandQueue(
        context, device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE, &error);
    cl_event failed = send_marker(queue), waiting = send_marker(queue);
    stub_complete(failed->slot, -PEN_EDEVMEM);
    stub.complete_at_once = true;
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(unordered, 0, NULL, &events[0]), CL_SUCCESS);
    uint32_t slot = events[0]->slot;
    for (int i = 1; i < COUNT; i++)
        assert_int_equal(pen_clEnqueueMarkerWithWaitList(unordered, 0, NULL, &events[i]), CL_SUCCESS);
    cl_event user = pen_clCreateUserEvent(context, &error);
    assert_int_equal(error, CL_SUCCESS);
    assert_int_equal(pen_clFinish(unordered), CL_SUCCESS); /* needs one, too */
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(pen_event_status(events[i]), CL_COMPLETE);
    /* Those that are not complete, or have failed, keep theirs. */
    assert_int_equal(pen_event_status(waiting), CL_QUEUED);
    assert_int_not_equal(waiting->slot, 0);
    assert_int_not_equal(failed->slot, 0);
    /* The first has given its back, and still knows its times. */
    assert_int_equal(events[0]->slot, 0);
    assert_int_equal(pen_clGetEventProfilingInfo(events[0], CL_PROFILING_COMMAND_QUEUED, 8, &begun, NULL), CL_SUCCESS);
    assert_int_equal(pen_clGetEventProfilingInfo(events[0], CL_PROFILING_COMMAND_END, 8, &ended, NULL), CL_SUCCESS);
    assert_int_equal(begun, slot);
    assert_int_equal(ended, slot + 3);
    assert_int_equal(pen_clWaitForEvents(1, &events[0]), CL_SUCCESS);
    uint32_t before = stub_count(PEN_OP_EVENT_DESTROY);
    assert_int_equal(pen_clReleaseEvent(events[0]), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_EVENT_DESTROY), before); /* it is gone there already */
    for (int i = 1; i < COUNT; i++)
        assert_int_equal(pen_clReleaseEvent(events[i]), CL_SUCCESS);
    stub_complete(waiting->slot, 0);
    assert_int_equal(pen_clReleaseEvent(user), CL_SUCCESS);
    assert_int_equal(pen_clReleaseEvent(waiting), CL_SUCCESS);
    assert_int_equal(pen_clReleaseEvent(failed), CL_SUCCESS);
    assert_int_equal(pen_clReleaseCommandQueue(unordered), CL_SUCCESS);
    assert_int_equal(stub.acquired, stub.released + stub.cancelled);
    free(events);
}

static cl_event released;

static void keep_and_release(void)
{
    pen_ref(released);
    assert_int_equal(pen_clReleaseEvent(released), CL_SUCCESS);
}

/* One that the program releases meanwhile may be in use by us, who know nothing of that. */
static void test_event_that_does_not_stay(void **state)
{
    (void)state;
    released = send_marker(queue);
    uint32_t slot = released->slot;
    stub_complete(slot, 0);
    stub.few_slots = true;
    stub.on_held = keep_and_release;
    pen_events_spare(context);
    assert_int_equal(released->slot, slot);
    pen_unref(released);
}

/* A program may wait for its last command's event and have the next one's put in the same place. */
static void test_event_in_the_place_of_one_waited_for(void **state)
{
    (void)state;
    cl_event event = send_marker(queue), before = event;
    assert_int_equal(pen_clRetainEvent(before), CL_SUCCESS);
    assert_int_equal(pen_clEnqueueMarkerWithWaitList(queue, 1, &event, &event), CL_SUCCESS);
    assert_ptr_not_equal(event, before);
    assert_int_equal(before->object.internal, 1); /* nothing holds it but the program */
    assert_int_equal(event->object.internal, 1);
    assert_int_equal(pen_clReleaseEvent(before), CL_SUCCESS);
    assert_int_equal(pen_clReleaseEvent(before), CL_SUCCESS);
    stub_complete(event->slot, 0);
    assert_int_equal(pen_event_wait(event), CL_SUCCESS);
    assert_int_equal(pen_clReleaseEvent(event), CL_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_user_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_actions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_actions_across_threads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_callbacks_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_callback_beside_a_waiting_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_callback_keeps_the_event, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_profiling, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_events_that_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_event_that_does_not_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_event_in_the_place_of_one_waited_for, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("icd events", tests, NULL, NULL);
}
