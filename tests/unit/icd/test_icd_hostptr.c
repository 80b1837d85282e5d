/* Regions with a host pointer where an enqueue fails: on a session without a worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "icd/entry.h"
#include "icd/memory.h"
#include "stub_session.h"

enum { SIZE = 4096 };

static cl_device_id devices[2]; /* CPU, GPU: together they have nothing direct */
static _Alignas(4096) char host[2][SIZE];
static cl_context context;
static cl_command_queue queue;
static cl_mem buffers[2];

static void look(void);

static int set_up(cl_uint device_count)
{
    cl_int error = 0;
    cl_platform_id platform = NULL;
    pen_clGetPlatformIDs(1, &platform, NULL);
    pen_clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 2, devices, NULL);
    context = pen_clCreateContext(NULL, device_count, devices, NULL, NULL, &error);
    queue = pen_clCreateCommandQueue(context, devices[0], 0, &error);
    for (int i = 0; i < 2 && !error; i++) {
        memset(host[i], 1, SIZE);
        buffers[i] = pen_clCreateBuffer(context, CL_MEM_USE_HOST_PTR, SIZE, host[i], &error);
    }
    stub.on_arena = look;
    return error || buffers[0]->direct != (device_count == 1);
}

static int set_up_direct(void **state)
{
    (void)state;
    return set_up(1);
}

static int set_up_indirect(void **state)
{
    (void)state;
    return set_up(2);
}

static int tear_down(void **state)
{
    (void)state;
    stub.lost = true; /* nobody answers region_destroy */
    int failed = pen_clReleaseMemObject(buffers[0]) || pen_clReleaseMemObject(buffers[1]) ||
                 pen_clReleaseCommandQueue(queue) || pen_clReleaseContext(context);
    stub_reset();
    return failed;
}

/* The arena may have to be waited for: nothing that others need is held meanwhile. */
static void look(void)
{
    alarm(30);
    (void)pen_hostptr_settled(buffers[0]);
    alarm(0);
}

/* A command that is not sent writes nothing: the program's bytes are the newest again, and nobody waits for more. */
static void test_not_sent(void **state)
{
    (void)state;
    struct pen_enqueue e = {0};
    assert_int_equal(pen_enqueue_begin(&e, queue, CL_COMMAND_NDRANGE_KERNEL, 0, NULL, NULL, false, true), CL_SUCCESS);
    assert_int_equal(pen_hostptr_before_use(&e, buffers[0], true), 0);
    assert_false(pen_hostptr_settled(buffers[0]));
    assert_int_equal(pen_enqueue_end(&e, -PEN_EDEVMEM), CL_MEM_OBJECT_ALLOCATION_FAILURE);
    assert_true(pen_hostptr_settled(buffers[0]));
    assert_int_equal(host[0][0], 1);
}

/* Of two arguments the first is noted and sent, and for the second there is no room. */
static void test_second_push_fails(void **state)
{
    (void)state;
    struct pen_enqueue e = {0};
    memset(host[0], 2, SIZE);
    memset(host[1], 2, SIZE);
    assert_int_equal(pen_enqueue_begin(&e, queue, CL_COMMAND_NDRANGE_KERNEL, 0, NULL, NULL, false, true), CL_SUCCESS);
    assert_int_equal(pen_hostptr_before_use(&e, buffers[0], true), 0);
    assert_int_equal(stub_count(PEN_OP_WRITE), 1);
    stub.arena_error = -PEN_EDEVMEM;
    assert_int_equal(pen_hostptr_before_use(&e, buffers[1], true), -PEN_EDEVMEM);
    assert_int_equal(pen_enqueue_end(&e, -PEN_EDEVMEM), CL_MEM_OBJECT_ALLOCATION_FAILURE);
    assert_true(pen_hostptr_settled(buffers[0]));
    assert_true(pen_hostptr_settled(buffers[1]));
    /* What the program changes now is sent again, though the first push is under way still. */
    stub.arena_error = 0;
    memset(host[0], 3, SIZE);
    e = (struct pen_enqueue){0};
    assert_int_equal(pen_enqueue_begin(&e, queue, CL_COMMAND_NDRANGE_KERNEL, 0, NULL, NULL, false, true), CL_SUCCESS);
    assert_int_equal(pen_hostptr_before_use(&e, buffers[0], true), 0);
    assert_int_equal(pen_hostptr_before_use(&e, buffers[1], true), 0);
    assert_int_equal(stub_count(PEN_OP_WRITE), 3);
    assert_int_equal(e.wait_count, 2);
    (void)pen_enqueue_end(&e, -PEN_EDEVMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_not_sent, set_up_direct, tear_down),
        cmocka_unit_test_setup_teardown(test_not_sent, set_up_indirect, tear_down),
        cmocka_unit_test_setup_teardown(test_second_push_fails, set_up_indirect, tear_down),
    };
    return cmocka_run_group_tests_name("icd host pointers", tests, NULL, NULL);
}
