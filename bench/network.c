/* bench/network.c - what shows a network between a program and its device: long chains, which must not pay for it at
 * each link, and bulk transfers, of noise and of text, which must neither leave it idle nor hold launches up.
 * usage: network PLATFORM-SUBSTRING [ROW...]     prints `row value`, times in ns, rates in byte/s. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

/* Bulk: so many transfers of so many bytes are under way at a time, for so long. */
#define PART_BYTES (256u << 10)
#define DEPTH      8
#define BULK_NS    1.5e9

static cl_context context;
static cl_device_id device;
static cl_command_queue queue;
static cl_kernel nop, increment;
static const size_t one = 1;

static cl_command_queue new_queue(cl_command_queue_properties properties)
{
    cl_int status;
    cl_command_queue made = clCreateCommandQueue(context, device, properties, &status);
    check(status, "clCreateCommandQueue");
    return made;
}

/* ---- chains ------------------------------------------------------------------------------------------ */

enum { CHAINS = 7, LONG = 10000, SHORT = 1000 };

/* Launches each of which needs what the one before has written. */
static double chain(cl_command_queue on, bool by_events, int length)
{
    static cl_event events[LONG];
    double begin = now_ns();
    for (int i = 0; i < length; i++) {
        bool waits = by_events && i > 0;
        check(clEnqueueNDRangeKernel(on, increment, 1, NULL, &one, &one, waits, waits ? &events[i - 1] : NULL,
                                     by_events ? &events[i] : NULL),
              "clEnqueueNDRangeKernel");
    }
    check(clFinish(on), "clFinish");
    double time = now_ns() - begin;
    for (int i = 0; by_events && i < length; i++)
        clReleaseEvent(events[i]);
    return time;
}

/* The median, and the fastest, which what else the machine does delays least. */
static void chains(const char *name, bool by_events, int length)
{
    double times[CHAINS];
    char fastest[64];
    cl_int zero = 0, value = 0, status;
    cl_command_queue on = new_queue(by_events ? CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE : 0);
    cl_mem buffer = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof zero, &zero, &status);
    check(status, "clCreateBuffer");
    check(clSetKernelArg(increment, 0, sizeof buffer, &buffer), "clSetKernelArg");
    for (int i = 0; i < CHAINS; i++)
        times[i] = chain(on, by_events, length);
    check(clEnqueueReadBuffer(on, buffer, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL), "clEnqueueReadBuffer");
    if (value != length * CHAINS) {
        fprintf(stderr, "network: the chains counted %d instead of %d\n", value, length * CHAINS);
        exit(1);
    }
    print_row(name, quantile(times, CHAINS, 0.5));
    snprintf(fastest, sizeof fastest, "%s_fastest", name);
    print_row(fastest, times[0]);
    clReleaseMemObject(buffer);
    clReleaseCommandQueue(on);
}

static void row_chain_events(void)
{
    chains("chain_events", true, LONG);
}

static void row_chain_in_order(void)
{
    chains("chain_in_order", false, LONG);
}

static void row_short_chain_events(void)
{
    chains("short_chain_events", true, SHORT);
}

static void row_short_chain_in_order(void)
{
    chains("short_chain_in_order", false, SHORT);
}

/* ---- launches, alone and beside bulk ----------------------------------------------------------------- */

enum { LAUNCHES = 100000 };

static double launch(void)
{
    double begin = now_ns();
    check(clEnqueueNDRangeKernel(queue, nop, 1, NULL, &one, &one, 0, NULL, NULL), "clEnqueueNDRangeKernel");
    check(clFinish(queue), "clFinish");
    return now_ns() - begin;
}

/* Until the flag is up, or for `most_ns`; at least one. */
static void launches(const char *name, const _Atomic bool *stop, double most_ns)
{
    static double times[LAUNCHES];
    char row[64];
    size_t count = 0;
    double end = now_ns() + most_ns;
    do
        times[count++] = launch();
    while (count < LAUNCHES && !atomic_load(stop) && now_ns() < end);
    print_row(name, quantile(times, count, 0.5));
    snprintf(row, sizeof row, "%s_p99", name);
    print_row(row, quantile(times, count, 0.99));
}

static void row_launch(void)
{
    const _Atomic bool never = false;
    launches("launch", &never, 0.5e9);
}

struct bulk {
    bool reads, text;
    double rate; /* byte/s, of all that has arrived */
    _Atomic bool over;
};

/* Words of a small language, or what cannot be compressed: xorshift64 (Marsaglia 2003). */
static void fill(unsigned char *bytes, size_t size, bool text)
{
    static const char words[8][9] = {"region ", "queue  ", "event  ", "kernel ",
                                     "launch ", "read   ", "write  ", "tenant "};
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i + sizeof random <= size; i += sizeof random) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        memcpy(bytes + i, text ? (const void *)words[random % 8] : &random, sizeof random);
    }
}

static void *move_bulk(void *argument)
{
    static unsigned char host[DEPTH][PART_BYTES];
    struct bulk *bulk = argument;
    fill(host[0], sizeof host, bulk->text);
    cl_event under_way[DEPTH];
    cl_int status;
    cl_command_queue on = new_queue(0);
    cl_mem buffer = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, sizeof host, host, &status);
    check(status, "clCreateBuffer");
    size_t turn = 0;
    double begin = now_ns();
    for (; turn < DEPTH || now_ns() - begin < BULK_NS; turn++) {
        size_t at = turn % DEPTH;
        if (turn >= DEPTH) {
            check(clWaitForEvents(1, &under_way[at]), "clWaitForEvents");
            clReleaseEvent(under_way[at]);
        }
        status = bulk->reads ? clEnqueueReadBuffer(on, buffer, CL_FALSE, at * PART_BYTES, PART_BYTES, host[at], 0, NULL,
                                                   &under_way[at])
                             : clEnqueueWriteBuffer(on, buffer, CL_FALSE, at * PART_BYTES, PART_BYTES, host[at], 0,
                                                    NULL, &under_way[at]);
        check(status, "a transfer");
        check(clFlush(on), "clFlush");
    }
    check(clFinish(on), "clFinish");
    bulk->rate = (double)turn * PART_BYTES / (now_ns() - begin) * 1e9;
    atomic_store(&bulk->over, true);
    for (size_t i = 0; i < DEPTH; i++)
        clReleaseEvent(under_way[i]);
    clReleaseMemObject(buffer);
    clReleaseCommandQueue(on);
    return NULL;
}

static void launches_beside(bool reads, bool text, const char *bulk_row, const char *launch_row)
{
    struct bulk bulk = {.reads = reads, .text = text};
    pthread_t thread;
    if (pthread_create(&thread, NULL, move_bulk, &bulk)) {
        perror("network: starting a thread");
        exit(1);
    }
    launches(launch_row, &bulk.over, 10 * BULK_NS);
    pthread_join(thread, NULL);
    print_row(bulk_row, bulk.rate);
}

static void row_writes(void)
{
    launches_beside(false, false, "writes", "launch_beside_writes");
}

static void row_reads(void)
{
    launches_beside(true, false, "reads", "launch_beside_reads");
}

static void row_writes_text(void)
{
    launches_beside(false, true, "writes_text", "launch_beside_writes_text");
}

static void row_reads_text(void)
{
    launches_beside(true, true, "reads_text", "launch_beside_reads_text");
}

/* ---- */

static void prepare(void)
{
    const char *source = "__kernel void nop(void) {}\n__kernel void increment(__global int *p) { p[0] += 1; }\n";
    cl_int status;
    context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    check(status, "clCreateContext");
    queue = new_queue(0);
    cl_program program = clCreateProgramWithSource(context, 1, &source, NULL, &status);
    check(status, "clCreateProgramWithSource");
    check(clBuildProgram(program, 1, &device, "", NULL, NULL), "clBuildProgram");
    nop = clCreateKernel(program, "nop", &status);
    check(status, "clCreateKernel");
    increment = clCreateKernel(program, "increment", &status);
    check(status, "clCreateKernel");
    clReleaseProgram(program);
    launch();
}

static const struct row rows[] = {
    {"launch", row_launch},
    {"chain_events", row_chain_events},
    {"chain_in_order", row_chain_in_order},
    {"short_chain_events", row_short_chain_events},
    {"short_chain_in_order", row_short_chain_in_order},
    {"writes", row_writes},
    {"reads", row_reads},
    {"writes_text", row_writes_text},
    {"reads_text", row_reads_text},
};

int main(int argc, char **argv)
{
    device = choose_device(argc > 1 ? argv[1] : "");
    prepare();
    run_rows(rows, sizeof rows / sizeof *rows, argc, argv);
    clReleaseKernel(nop);
    clReleaseKernel(increment);
    clReleaseCommandQueue(queue);
    clReleaseContext(context);
    return 0;
}
