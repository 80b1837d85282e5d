/* CL_MEM_USE_HOST_PTR: the program's own range is the buffer's, wherever devices keep it. Usage: cl_check.h. */
#include "memory_check.h"

#include <unistd.h>

static void use_host_ptr(struct world *w)
{
    enum { COUNT = 40000 };
    cl_int status, *host = host_range(COUNT), *back = calloc(COUNT, 4);
    cl_mem buffer = buffer_of(w, CL_MEM_USE_HOST_PTR, COUNT * 4, host);
    add(w, w->queue, buffer, 10, COUNT, 0, NULL, NULL);
    cl_int *p =
        clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 40, 4000, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT(p == host + 10);
    EXPECT(counts_up(p, 1000, 20));
    for (int i = 0; i < 1000; i++)
        p[i] += 100;
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, NULL));
    add(w, w->queue, buffer, 1, COUNT, 0, NULL, NULL);
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
    EXPECT(counts_up(back, 10, 11) && counts_up(back + 10, 1000, 121) && counts_up(back + 1010, COUNT - 1010, 1021));
    /* Writes of the program's, seen through a map. */
    cl_int value = -3;
    EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 8, 4, &value, 0, NULL, NULL));
    EXPECT_OK(clEnqueueFillBuffer(w->queue, buffer, &value, 4, COUNT * 2, COUNT * 2, 0, NULL, NULL));
    p = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, COUNT * 4, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT(p == host && host[2] == -3 && host[3] == 14 && host[COUNT / 2] == -3 && host[COUNT - 1] == -3);
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, NULL));
    EXPECT_OK(clReleaseMemObject(buffer));
    free(host);
    free(back);
}

/* Programs that believe a CPU or unified-memory device use the pointer with no read, write or map. */
static void use_host_ptr_unmapped(struct world *w)
{
    enum { COUNT = 30000 };
    if (!w->host_memory) {
        skip("the device does not share memory with the host");
        return;
    }
    cl_int *host = host_range(COUNT), *back = calloc(COUNT, 4);
    cl_mem buffer = buffer_of(w, CL_MEM_USE_HOST_PTR, COUNT * 4, host), plain = buffer_of(w, 0, COUNT * 4, NULL);
    add(w, w->queue, buffer, 5, COUNT, 0, NULL, NULL);
    EXPECT_OK(clFinish(w->queue));
    EXPECT(counts_up(host, COUNT, 5));
    for (int i = 0; i < COUNT; i++)
        host[i] += 1;
    cl_event event = NULL;
    add(w, w->queue, buffer, 1, COUNT, 0, NULL, &event);
    EXPECT_OK(clWaitForEvents(1, &event));
    EXPECT_OK(clReleaseEvent(event));
    EXPECT(counts_up(host, COUNT, 7));
    host[17] = 1000;
    copy_by_kernel(w, buffer, plain, COUNT);
    EXPECT_OK(clEnqueueReadBuffer(w->queue, plain, CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
    EXPECT(back[16] == 23 && back[17] == 1000 && back[18] == 25);
    /* A blocking call on another buffer is a point where the program may look, too. */
    for (int i = 0; i < 10; i++)
        add(w, w->queue, buffer, 1, COUNT, 0, NULL, NULL);
    EXPECT_OK(clEnqueueReadBuffer(w->queue, plain, CL_TRUE, 0, 4, back, 0, NULL, NULL));
    EXPECT(host[0] == 17 && host[17] == 1010);
    for (int i = 0; i < 10; i++)
        add(w, w->queue, buffer, -1, COUNT, 0, NULL, NULL);
    EXPECT_OK(clEnqueueWriteBuffer(w->queue, plain, CL_TRUE, 0, 4, back, 0, NULL, NULL));
    EXPECT(host[0] == 7 && host[17] == 1000);
    for (int i = 0; i < 10; i++)
        add(w, w->queue, buffer, 1, COUNT, 0, NULL, NULL);
    EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 68, 4, back, 0, NULL, NULL));
    EXPECT(host[0] == 17 && host[17] == back[0]);
    EXPECT_OK(clEnqueueCopyBuffer(w->queue, plain, buffer, 0, 0, COUNT * 4, 0, NULL, NULL));
    EXPECT_OK(clFinish(w->queue));
    EXPECT(host[0] == 7 && host[17] == 1000);
    /* What was released after a blocking call is not looked at any more. */
    EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, 4, back, 0, NULL, NULL));
    EXPECT_OK(clReleaseMemObject(buffer));
    host[0] = -1;
    EXPECT_OK(clFinish(w->queue));
    EXPECT(host[0] == -1);
    EXPECT_OK(clReleaseMemObject(plain));
    free(host);
    free(back);
}

/* A queue without order waits at a gate; nothing but the commands behind it may wait with it. */
static void use_host_ptr_at_a_gate(struct world *w)
{
    enum { COUNT = 20000 };
    cl_int status, *host = host_range(COUNT), *back = calloc(COUNT, 4);
    cl_mem buffer = buffer_of(w, CL_MEM_USE_HOST_PTR, COUNT * 4, host);
    cl_command_queue queue =
        clCreateCommandQueue(w->context, w->device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &status);
    if (!queue) {
        skip("no out-of-order queues");
        EXPECT_OK(clReleaseMemObject(buffer));
        return;
    }
    for (int round = 0; round < 2; round++) { /* with an event and without one */
        cl_event open = gate(w), unmapped = NULL;
        cl_int *p =
            clEnqueueMapBuffer(queue, buffer, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 400, 4000, 0, NULL, NULL, &status);
        EXPECT_OK(status);
        for (int i = 0; i < 1000; i++)
            p[i] += 50;
        EXPECT_OK(clEnqueueBarrierWithWaitList(queue, 1, &open, NULL));
        alarm(30); /* to be killed is better than to hang */
        EXPECT_OK(clEnqueueUnmapMemObject(queue, buffer, p, 0, NULL, round ? NULL : &unmapped));
        add(w, queue, buffer, 1, COUNT, unmapped != NULL, unmapped ? &unmapped : NULL, NULL);
        alarm(0);
        EXPECT_OK(clSetUserEventStatus(open, CL_COMPLETE));
        EXPECT_OK(clFinish(queue));
        EXPECT_OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
        cl_int n = round + 1;
        EXPECT(counts_up(back, 100, n) && counts_up(back + 100, 1000, 100 + 51 * n) &&
               counts_up(back + 1100, COUNT - 1100, 1100 + n));
        EXPECT_OK(clReleaseEvent(open));
        if (unmapped)
            EXPECT_OK(clReleaseEvent(unmapped));
    }
    EXPECT_OK(clReleaseCommandQueue(queue));
    EXPECT_OK(clReleaseMemObject(buffer));
    free(host);
    free(back);
}

/* What the program has written is there for whoever comes first, though another queue's command asked for it first. */
static void use_host_ptr_two_queues(struct world *w)
{
    enum { COUNT = 20000 };
    if (!w->host_memory) {
        skip("the device does not share memory with the host");
        return;
    }
    cl_int status, *host = host_range(COUNT), *back = calloc(COUNT, 4);
    cl_mem buffer = buffer_of(w, CL_MEM_USE_HOST_PTR, COUNT * 4, host), plain = buffer_of(w, 0, COUNT * 4, NULL);
    cl_command_queue other = clCreateCommandQueue(w->context, w->device, 0, &status);
    EXPECT_OK(status);
    cl_event open = gate(w);
    EXPECT_OK(clEnqueueMarkerWithWaitList(w->queue, 1, &open, NULL));
    for (int i = 0; i < COUNT; i++)
        host[i] += 100;
    copy_by_kernel(w, buffer, plain, COUNT);
    add(w, other, buffer, 1, COUNT, 0, NULL, NULL);
    EXPECT_OK(clFinish(other));
    EXPECT(counts_up(host, COUNT, 101));
    EXPECT_OK(clSetUserEventStatus(open, CL_COMPLETE));
    EXPECT_OK(clEnqueueReadBuffer(w->queue, plain, CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
    EXPECT(counts_up(back, COUNT, 101));
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
    EXPECT(counts_up(back, COUNT, 101));
    EXPECT_OK(clReleaseEvent(open));
    EXPECT_OK(clReleaseCommandQueue(other));
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseMemObject(plain));
    free(host);
    free(back);
}

/* What a command wrote is there when it is complete, though a later one of its queue, which waits, may write it anew.
 * The program learns that by the command's own event, or by that of a marker: one that waits for it, or one that finds
 * it complete. */
static void use_host_ptr_before_a_gate(struct world *w)
{
    enum { COUNT = 20000, BY_EVENT = 0, BY_MARKER, BY_LATE_MARKER, WAYS };
    cl_int status, *host = host_range(COUNT);
    cl_mem buffer = buffer_of(w, CL_MEM_USE_HOST_PTR, COUNT * 4, host);
    cl_command_queue other = clCreateCommandQueue(w->context, w->device, 0, &status);
    EXPECT_OK(status);
    for (int round = 0; round < 2 * WAYS; round++) {
        int by = round % WAYS;
        cl_event open = gate(w), written = NULL;
        add(w, w->queue, buffer, 1, COUNT, 0, NULL, by == BY_EVENT ? &written : NULL);
        EXPECT_OK(clFlush(w->queue));
        if (by == BY_LATE_MARKER)
            usleep(100000);
        if (by != BY_EVENT)
            EXPECT_OK(clEnqueueMarkerWithWaitList(w->queue, 0, NULL, &written));
        add(w, w->queue, buffer, 100, COUNT, 1, &open, NULL);
        EXPECT_OK(clFlush(w->queue));
        if (round < WAYS || !w->host_memory) { /* by a map, which also waits */
            const cl_int *p =
                clEnqueueMapBuffer(other, buffer, CL_TRUE, CL_MAP_READ, 0, COUNT * 4, 1, &written, NULL, &status);
            EXPECT_OK(status);
            EXPECT(p == host && counts_up(host, COUNT, 101 * round + 1));
            EXPECT_OK(clEnqueueUnmapMemObject(other, buffer, host, 0, NULL, NULL));
        } else {
            EXPECT_OK(clWaitForEvents(1, &written));
            EXPECT(counts_up(host, COUNT, 101 * round + 1));
        }
        EXPECT_OK(clSetUserEventStatus(open, CL_COMPLETE));
        EXPECT_OK(clFinish(w->queue));
        if (w->host_memory)
            EXPECT(counts_up(host, COUNT, 101 * round + 101));
        EXPECT_OK(clReleaseEvent(written));
        EXPECT_OK(clReleaseEvent(open));
    }
    EXPECT_OK(clFinish(other));
    EXPECT_OK(clReleaseCommandQueue(other));
    EXPECT_OK(clReleaseMemObject(buffer));
    free(host);
}

/* A map that the program has not seen complete changes nothing when it ends: not what a command wrote before it. */
static void use_host_ptr_map_unseen(struct world *w)
{
    enum { COUNT = 20000 };
    cl_int status, *host = host_range(COUNT), *back = calloc(COUNT, 4);
    cl_mem buffer = buffer_of(w, CL_MEM_USE_HOST_PTR, COUNT * 4, host);
    add(w, w->queue, buffer, 0, COUNT, 0, NULL, NULL); /* the driver's compiler is not waited for below */
    EXPECT_OK(clFinish(w->queue));
    for (int round = 0; round < 2; round++) { /* ended when it is complete, and before */
        cl_event open = gate(w);
        add(w, w->queue, buffer, 1, COUNT, 1, &open, NULL);
        void *p = clEnqueueMapBuffer(w->queue, buffer, CL_FALSE, CL_MAP_WRITE, 0, COUNT * 4, 0, NULL, NULL, &status);
        EXPECT_OK(status);
        EXPECT_OK(clFlush(w->queue));
        EXPECT_OK(clSetUserEventStatus(open, CL_COMPLETE));
        if (round == 0)
            usleep(200000);
        EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
        EXPECT(counts_up(back, COUNT, round + 1));
        if (w->host_memory)
            EXPECT(counts_up(host, COUNT, round + 1));
        EXPECT_OK(clReleaseEvent(open));
    }
    /* One that it has seen complete takes what was written with it. */
    cl_event mapped = NULL, open = gate(w);
    add(w, w->queue, buffer, 1, COUNT, 1, &open, NULL);
    cl_int *p = clEnqueueMapBuffer(w->queue, buffer, CL_FALSE, CL_MAP_WRITE, 0, COUNT * 4, 0, NULL, &mapped, &status);
    EXPECT_OK(status);
    EXPECT_OK(clSetUserEventStatus(open, CL_COMPLETE));
    EXPECT_OK(clWaitForEvents(1, &mapped));
    EXPECT(counts_up(p, COUNT, 3));
    p[7] = 700;
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, NULL));
    add(w, w->queue, buffer, 1, COUNT, 0, NULL, NULL);
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
    EXPECT(counts_up(back, 7, 4) && back[7] == 701 && counts_up(back + 8, COUNT - 8, 12));
    EXPECT_OK(clReleaseEvent(mapped));
    EXPECT_OK(clReleaseEvent(open));
    EXPECT_OK(clReleaseMemObject(buffer));
    free(host);
    free(back);
}

static void use_host_ptr_sub(struct world *w)
{
    size_t part = w->align < 4096 ? 4096 : w->align, count = part / 4;
    cl_int status, *host = host_range(4 * count);
    cl_mem buffer = buffer_of(w, CL_MEM_USE_HOST_PTR, 4 * part, host);
    cl_buffer_region region = {part, part};
    cl_mem sub = clCreateSubBuffer(buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
    EXPECT_OK(status);
    void *pointer = NULL;
    EXPECT_OK(clGetMemObjectInfo(sub, CL_MEM_HOST_PTR, sizeof pointer, &pointer, NULL));
    if (pointer) /* rusticl says none */
        EXPECT(pointer == host + count);
    add(w, w->queue, sub, 10, count, 0, NULL, NULL);
    cl_int *p = clEnqueueMapBuffer(w->queue, sub, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, part, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT(p == host + count && counts_up(p, count, (cl_int)count + 10));
    p[0] = 7;
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, sub, p, 0, NULL, NULL));
    add(w, w->queue, buffer, 1, 4 * count, 0, NULL, NULL);
    p = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, 4 * part, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT(counts_up(host, count, 1) && host[count] == 8 && host[count + 1] == (cl_int)count + 12);
    EXPECT(counts_up(host + 2 * count, 2 * count, (cl_int)(2 * count) + 1));
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, NULL));
    EXPECT_OK(clReleaseMemObject(sub));
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clFinish(w->queue));
    free(host);
}

/* The program waits for one queue's command before it writes to its range and has another queue use that, while an
 * event of its own is open that neither waits for. Recorded, all that the log tells of it is the sequence. */
static void use_host_ptr_after_waiting(struct world *w)
{
    enum { COUNT = 1000 };
    if (!w->host_memory) {
        skip("the device does not share memory with the host");
        return;
    }
    const size_t one = 1;
    cl_int status, turns = 100000000, *host = host_range(COUNT), back[2] = {0};
    cl_mem buffer = buffer_of(w, CL_MEM_USE_HOST_PTR, COUNT * 4, host), seen = buffer_of(w, 0, sizeof back, NULL);
    cl_command_queue other = clCreateCommandQueue(w->context, w->device, 0, &status);
    EXPECT_OK(status);
    cl_command_queue held = clCreateCommandQueue(w->context, w->device, 0, &status);
    EXPECT_OK(status);
    cl_kernel late = make_kernel(w,
                                 "kernel void late(global const int *v, global int *seen, int turns) {\n"
                                 "    int x = turns;\n"
                                 "    for (int i = 0; i < turns; i++) x = x * 1664525 + 1013904223;\n"
                                 "    seen[0] = x;\n"
                                 "    seen[1] = v[7];\n"
                                 "}\n",
                                 "late");
    cl_event open = gate(w);
    EXPECT_OK(clEnqueueMarkerWithWaitList(held, 1, &open, NULL));
    EXPECT_OK(clSetKernelArg(late, 0, sizeof buffer, &buffer));
    EXPECT_OK(clSetKernelArg(late, 1, sizeof seen, &seen));
    EXPECT_OK(clSetKernelArg(late, 2, sizeof turns, &turns));
    EXPECT_OK(clEnqueueNDRangeKernel(w->queue, late, 1, NULL, &one, NULL, 0, NULL, NULL));
    EXPECT_OK(clFinish(w->queue));
    for (int i = 0; i < COUNT; i++)
        host[i] = 1000 + i;
    add(w, other, buffer, 1, COUNT, 0, NULL, NULL);
    EXPECT_OK(clFinish(other));
    EXPECT(counts_up(host, COUNT, 1001));
    EXPECT_OK(clEnqueueReadBuffer(w->queue, seen, CL_TRUE, 0, sizeof back, back, 0, NULL, NULL));
    EXPECT(back[1] == 7);
    EXPECT_OK(clSetUserEventStatus(open, CL_COMPLETE));
    EXPECT_OK(clFinish(held));
    EXPECT_OK(clReleaseEvent(open));
    EXPECT_OK(clReleaseKernel(late));
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseMemObject(seen));
    EXPECT_OK(clReleaseCommandQueue(other));
    EXPECT_OK(clReleaseCommandQueue(held));
    free(host);
}

/* The program looks when one command is complete, while the next is still writing: what it writes is not to be relied
 * on.
 */
static void use_host_ptr_beside_a_writer(struct world *w)
{
    enum { COUNT = 1000 };
    if (!w->host_memory) {
        skip("the device does not share memory with the host");
        return;
    }
    const size_t one = 1;
    cl_int turns = 400000000, *host = host_range(COUNT);
    cl_mem buffer = buffer_of(w, CL_MEM_USE_HOST_PTR, COUNT * 4, host);
    cl_kernel churn = make_kernel(w,
                                  "kernel void churn(volatile global int *v, int turns) {\n"
                                  "    for (int i = 0; i < turns; i++) v[0] = i;\n"
                                  "}\n",
                                  "churn");
    EXPECT_OK(clSetKernelArg(churn, 0, sizeof buffer, &buffer));
    EXPECT_OK(clSetKernelArg(churn, 1, sizeof turns, &turns));
    for (int round = 1; round <= 3; round++) {
        cl_event first;
        add(w, w->queue, buffer, 1, COUNT, 0, NULL, &first);
        EXPECT_OK(clEnqueueNDRangeKernel(w->queue, churn, 1, NULL, &one, NULL, 0, NULL, NULL));
        EXPECT_OK(clFlush(w->queue));
        usleep(30000); /* until it writes */
        EXPECT_OK(clWaitForEvents(1, &first));
        EXPECT(counts_up(host + 1, COUNT - 1, round + 1));
        EXPECT_OK(clFinish(w->queue));
        EXPECT(host[0] == turns - 1 && counts_up(host + 1, COUNT - 1, round + 1));
        EXPECT_OK(clReleaseEvent(first));
    }
    EXPECT_OK(clReleaseKernel(churn));
    EXPECT_OK(clReleaseMemObject(buffer));
    free(host);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        {"use_host_ptr", use_host_ptr},
        {"use_host_ptr_unmapped", use_host_ptr_unmapped},
        {"use_host_ptr_at_a_gate", use_host_ptr_at_a_gate},
        {"use_host_ptr_two_queues", use_host_ptr_two_queues},
        {"use_host_ptr_before_a_gate", use_host_ptr_before_a_gate},
        {"use_host_ptr_map_unseen", use_host_ptr_map_unseen},
        {"use_host_ptr_sub", use_host_ptr_sub},
        {"use_host_ptr_after_waiting", use_host_ptr_after_waiting},
        {"use_host_ptr_beside_a_writer", use_host_ptr_beside_a_writer},
    };
    return run_checks(argc, argv, checks, sizeof checks / sizeof *checks);
}
