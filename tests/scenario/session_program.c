/* scenario/session_program.c - an OpenCL program for the scenarios of test_session.py, on the fake device or a real
 * one.
 *
 *   session_program MODE [NUMBER]
 *
 *   first            one kernel; prints the milliseconds from the first OpenCL call to its result
 *   loop SECONDS     rounds of kernels, writes and reads, checked, until it is over or SIGUSR1 comes, and one more;
 *                    prints "running" after the first, and at the end how many there were, and how long the slowest
 *                    of the others took
 *   idle SECONDS     one kernel, then nothing; prints "running"
 *   busy MS          one kernel that takes so long; prints "running" when it has been flushed
 *   enqueue SECONDS  a kernel each millisecond, waited for at the end, and counted by itself; prints "running", and the
 *                    milliseconds that the slowest call took
 *   fault            a kernel that ends the worker; prints "running" before it
 *   open PATH        what a kernel gets that opens the file on the device's host, by a system call of Linux on x86-64:
 *                    a descriptor, or a negative error
 *   print COUNT      kernels that print, each followed by a line of ours
 *   burst COUNT      so many kernels that print, behind one that takes a second; prints "running" when they have been
 *                    flushed, and waits for them
 *   pour MIB         so many kernels at once that each print a MiB, in lines of 64 bytes; prints "running" before
 *                    it waits
 *   hold MIB         a buffer of that size, filled, then idle; prints "running"
 *   keep MIB         a buffer of that size, and a part of it, written by kernels; prints "running", waits for a line,
 *                    goes on with both, and checks them
 *   many COUNT       so many kernels in three queues, each with an event, many waiting for others; after a tenth of
 *                    them and at the end prints "running", and waits for a line
 *   readers [1]      kernels that read one buffer and write another each, two of `indexed` and two of `pointed`; 1: of
 *                    a program made of its own binary, as from a program's cache
 *   build COUNT      programs, all different, each built and run
 *   include COUNT    the same, and they include value.h, which is looked for in the folder it runs in
 *   abandon          one kernel, and a command that waits for an event that nobody will set; then ends
 *   leave            one kernel; then ends without a word to anybody
 *   scribble         one kernel; then puts into the session's ring what is no command
 *
 * Exits with 0; with 3, "why: ..." and "lost: CALL: STATUS" when OpenCL says that the device is gone; with 2 when there
 * is no platform; with 1 when anything is wrong. */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "wire/shared.h"

#define ITEMS 4096

static struct {
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_mem buffer;
    bool fake;
} cl;

static const char *const fake_source =
    "# printf: the worker looks for the word\nkernel inc(global data)\nkernel fault()\nkernel sleep(value ms)\n"
    "kernel print(value number)\n";
static const char *const real_source =
    "__kernel void inc(__global uint *data) { data[get_global_id(0)]++; }\n"
    "__kernel void fault(ulong address) { *(volatile __global uint *)address = 1; }\n"
    "__kernel void sleep(uint ms) {\n"
    "    volatile uint x = 0;\n"
    "    for (ulong i = 0; i < (ulong)ms * 100000; i++) x++;\n"
    "}\n"
    "__kernel void print(uint number) { printf(\"kernel prints %u\\n\", number); }\n"
    "__kernel void pour(uint number) {\n"
    "    for (uint i = 0; i < 16384; i++)\n"
    "        printf(\"%07u and %07u more, of which there are many in a mebibyte\\n\", number, i);\n"
    "}\n";

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void check(cl_int status, const char *call)
{
    if (status == CL_SUCCESS)
        return;
    printf("lost: %s: %d\n", call, (int)status);
    fflush(stdout);
    bool gone = status == CL_DEVICE_NOT_AVAILABLE || status == CL_OUT_OF_RESOURCES ||
                status == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
    _exit(gone ? 3 : 1);
}
#define CHECK(call_) check((call_), #call_)

static void say(const char *text)
{
    puts(text);
    fflush(stdout);
}

static void CL_CALLBACK say_why(const char *why, const void *info, size_t size, void *unused)
{
    (void)info, (void)size, (void)unused;
    printf("why: %s\n", why);
    fflush(stdout);
}

static void build_program(cl_program program)
{
    cl_device_id device;
    char log[4096] = "";
    cl_int status = clBuildProgram(program, 0, NULL, "", NULL, NULL);
    CHECK(clGetProgramInfo(program, CL_PROGRAM_DEVICES, sizeof(cl_device_id), &device, NULL));
    if (status && !clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL))
        printf("log: %s\n", log);
    check(status, "clBuildProgram");
}

static void set_up(void)
{
    cl_platform_id platform;
    cl_device_id device;
    cl_uint count = 0;
    char name[256];
    cl_int status;
    if (clGetPlatformIDs(1, &platform, &count) || count == 0 ||
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL)) {
        puts("no platform");
        exit(2);
    }
    CHECK(clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof name, name, NULL));
    cl.fake = strstr(name, "fake") != NULL;
    cl.context = clCreateContext(NULL, 1, &device, say_why, NULL, &status);
    check(status, "clCreateContext");
    cl.queue = clCreateCommandQueueWithProperties(cl.context, device, NULL, &status);
    check(status, "clCreateCommandQueue");
    cl.program =
        clCreateProgramWithSource(cl.context, 1, (const char **)(cl.fake ? &fake_source : &real_source), NULL, &status);
    check(status, "clCreateProgramWithSource");
    build_program(cl.program);
    cl.buffer = clCreateBuffer(cl.context, CL_MEM_READ_WRITE, ITEMS * sizeof(cl_uint), NULL, &status);
    check(status, "clCreateBuffer");
}

static void tear_down(void)
{
    CHECK(clReleaseMemObject(cl.buffer));
    CHECK(clReleaseProgram(cl.program));
    CHECK(clReleaseCommandQueue(cl.queue));
    CHECK(clReleaseContext(cl.context));
}

static cl_kernel kernel(const char *name)
{
    cl_int status;
    cl_kernel made = clCreateKernel(cl.program, name, &status);
    check(status, "clCreateKernel");
    return made;
}

static void launch(cl_kernel what, size_t items)
{
    CHECK(clEnqueueNDRangeKernel(cl.queue, what, 1, NULL, &items, NULL, 0, NULL, NULL));
}

/* Writes, adds, reads, compares. */
static void round_trip(cl_kernel inc, cl_uint start)
{
    static cl_uint data[ITEMS];
    for (cl_uint i = 0; i < ITEMS; i++)
        data[i] = start + i;
    CHECK(clEnqueueWriteBuffer(cl.queue, cl.buffer, CL_FALSE, 0, sizeof data, data, 0, NULL, NULL));
    CHECK(clSetKernelArg(inc, 0, sizeof cl.buffer, &cl.buffer));
    for (int i = 0; i < 3; i++)
        launch(inc, ITEMS);
    CHECK(clEnqueueReadBuffer(cl.queue, cl.buffer, CL_TRUE, 0, sizeof data, data, 0, NULL, NULL));
    for (cl_uint i = 0; i < ITEMS; i++) {
        if (data[i] != start + i + 3) {
            printf("wrong: element %u is %u, not %u\n", i, data[i], start + i + 3);
            exit(1);
        }
    }
}

static void round_trip_once(void)
{
    cl_kernel inc = kernel("inc");
    round_trip(inc, 1);
    CHECK(clReleaseKernel(inc));
}

static volatile sig_atomic_t told_to_end;

static void hear_end(int number)
{
    (void)number;
    told_to_end = 1;
}

static void loop(double seconds)
{
    const struct sigaction action = {.sa_handler = hear_end, .sa_flags = SA_RESTART};
    cl_kernel inc = kernel("inc");
    double now = now_ms(), end = now + seconds * 1e3, slowest = 0;
    cl_uint rounds = 0;
    bool last;
    sigaction(SIGUSR1, &action, NULL);
    do {
        double begin = now;
        last = told_to_end || now >= end;
        round_trip(inc, rounds * 17);
        now = now_ms();
        if (rounds++ == 0)
            say("running");
        else
            slowest = now - begin > slowest ? now - begin : slowest;
    } while (!last);
    printf("%u rounds, the slowest %.3f ms\n", rounds, slowest);
    CHECK(clReleaseKernel(inc));
}

static void first(double begin)
{
    round_trip_once();
    printf("%.3f\n", now_ms() - begin);
}

static void fault(void)
{
    cl_kernel broken = kernel("fault");
    if (!cl.fake) {
        cl_ulong address = 64;
        CHECK(clSetKernelArg(broken, 0, sizeof address, &address));
    }
    round_trip_once();
    say("running");
    launch(broken, 1);
    CHECK(clFinish(cl.queue));
    say("survived");
    CHECK(clReleaseKernel(broken));
}

static const char *const open_source = "__kernel void open(__global const char *path, __global long *out) {\n"
                                       "    __asm__ volatile(\"syscall\" : \"=a\"(*out) : \"a\"(2L), \"D\"(path), "
                                       "\"S\"(0L), \"d\"(0L) : \"rcx\", \"r11\", \"memory\");\n"
                                       "}\n";

static void open_there(const char *path)
{
    cl_int status;
    cl_long found = 0;
    cl_program program = clCreateProgramWithSource(cl.context, 1, (const char **)&open_source, NULL, &status);
    check(status, "clCreateProgramWithSource");
    build_program(program);
    cl_kernel opens = clCreateKernel(program, "open", &status);
    check(status, "clCreateKernel");
    cl_mem name = clCreateBuffer(cl.context, CL_MEM_READ_ONLY, strlen(path) + 1, NULL, &status);
    check(status, "clCreateBuffer");
    CHECK(clEnqueueWriteBuffer(cl.queue, name, CL_TRUE, 0, strlen(path) + 1, path, 0, NULL, NULL));
    CHECK(clSetKernelArg(opens, 0, sizeof name, &name));
    CHECK(clSetKernelArg(opens, 1, sizeof cl.buffer, &cl.buffer));
    launch(opens, 1);
    CHECK(clEnqueueReadBuffer(cl.queue, cl.buffer, CL_TRUE, 0, sizeof found, &found, 0, NULL, NULL));
    printf("%ld\n", (long)found);
    CHECK(clReleaseMemObject(name));
    CHECK(clReleaseKernel(opens));
    CHECK(clReleaseProgram(program));
}

static void busy(cl_uint ms)
{
    cl_kernel slow = kernel("sleep");
    CHECK(clSetKernelArg(slow, 0, sizeof ms, &ms));
    launch(slow, 1);
    CHECK(clFlush(cl.queue));
    say("running");
    CHECK(clFinish(cl.queue));
    say("done");
    CHECK(clReleaseKernel(slow));
}

static void enqueue(double seconds)
{
    cl_kernel inc = kernel("inc");
    cl_uint zero = 0, launches = 0, first_item;
    double begin = now_ms(), slowest = 0;
    CHECK(clEnqueueFillBuffer(cl.queue, cl.buffer, &zero, sizeof zero, 0, ITEMS * sizeof zero, 0, NULL, NULL));
    CHECK(clSetKernelArg(inc, 0, sizeof cl.buffer, &cl.buffer));
    CHECK(clFinish(cl.queue));
    say("running");
    for (double now; (now = now_ms()) < begin + seconds * 1e3; launches++) {
        launch(inc, ITEMS);
        CHECK(clFlush(cl.queue));
        double took = now_ms() - now;
        slowest = took > slowest ? took : slowest;
        usleep(1000);
    }
    CHECK(clEnqueueReadBuffer(cl.queue, cl.buffer, CL_TRUE, 0, sizeof first_item, &first_item, 0, NULL, NULL));
    if (first_item != launches) {
        printf("wrong: %u launches, and element 0 is %u\n", launches, first_item);
        exit(1);
    }
    printf("%.3f\n", slowest);
    CHECK(clReleaseKernel(inc));
}

static void print(cl_uint count)
{
    cl_kernel printer = kernel("print");
    for (cl_uint i = 0; i < count; i++) {
        CHECK(clSetKernelArg(printer, 0, sizeof i, &i));
        launch(printer, 1);
        CHECK(clFinish(cl.queue));
        printf("program prints %u\n", i);
    }
    CHECK(clReleaseKernel(printer));
}

/* Once with each number, all at once. */
static void launch_all(cl_kernel numbered, cl_uint count)
{
    for (cl_uint i = 0; i < count; i++) {
        CHECK(clSetKernelArg(numbered, 0, sizeof i, &i));
        launch(numbered, 1);
    }
    CHECK(clFlush(cl.queue));
    say("running");
    CHECK(clFinish(cl.queue));
}

static void burst(cl_uint count)
{
    const cl_uint ms = 1000;
    cl_kernel slow = kernel("sleep"), printer = kernel("print");
    CHECK(clSetKernelArg(slow, 0, sizeof ms, &ms));
    launch(slow, 1);
    launch_all(printer, count);
    CHECK(clReleaseKernel(slow));
    CHECK(clReleaseKernel(printer));
}

static void pour(cl_uint mib)
{
    cl_kernel pourer = kernel("pour");
    launch_all(pourer, mib);
    CHECK(clReleaseKernel(pourer));
}

static void hold(size_t mib)
{
    cl_int status;
    cl_uint zero = 0;
    cl_mem big = clCreateBuffer(cl.context, CL_MEM_READ_WRITE, mib << 20, NULL, &status);
    check(status, "clCreateBuffer");
    CHECK(clEnqueueFillBuffer(cl.queue, big, &zero, sizeof zero, 0, mib << 20, 0, NULL, NULL));
    CHECK(clFinish(cl.queue));
    say("running");
    sleep(100);
    CHECK(clReleaseMemObject(big));
}

/* All items but those of the part have been incremented once each time, those twice. */
static void keep(size_t mib)
{
    size_t items = (mib << 20) / sizeof(cl_uint), begin = items / 4, count = items / 2;
    cl_buffer_region region = {begin * sizeof(cl_uint), count * sizeof(cl_uint)};
    cl_uint zero = 0, *data = malloc(mib << 20);
    cl_kernel inc = kernel("inc"), inc_part = kernel("inc");
    cl_int status;
    cl_mem whole = clCreateBuffer(cl.context, CL_MEM_READ_WRITE, mib << 20, NULL, &status);
    check(status, "clCreateBuffer");
    cl_mem part = clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
    check(status, "clCreateSubBuffer");
    CHECK(clSetKernelArg(inc, 0, sizeof whole, &whole));
    CHECK(clSetKernelArg(inc_part, 0, sizeof part, &part));
    CHECK(clEnqueueFillBuffer(cl.queue, whole, &zero, sizeof zero, 0, mib << 20, 0, NULL, NULL));
    for (int i = 0; i < 2; i++) {
        launch(inc, items);
        launch(inc_part, count);
        CHECK(clFinish(cl.queue));
        if (i == 0) {
            say("running");
            (void)getchar();
        }
    }
    CHECK(clEnqueueReadBuffer(cl.queue, whole, CL_TRUE, 0, mib << 20, data, 0, NULL, NULL));
    for (size_t i = 0; i < items; i++)
        if (data[i] != (i >= begin && i < begin + count ? 4u : 2u)) {
            printf("wrong: element %zu is %u\n", i, data[i]);
            exit(1);
        }
    CHECK(clReleaseKernel(inc));
    CHECK(clReleaseKernel(inc_part));
    CHECK(clReleaseMemObject(part));
    CHECK(clReleaseMemObject(whole));
    free(data);
}

static void run_built(cl_program program)
{
    cl_int status;
    size_t items = ITEMS;
    cl_kernel inc = clCreateKernel(program, "inc", &status);
    check(status, "clCreateKernel");
    CHECK(clSetKernelArg(inc, 0, sizeof cl.buffer, &cl.buffer));
    CHECK(clEnqueueNDRangeKernel(cl.queue, inc, 1, NULL, &items, NULL, 0, NULL, NULL));
    CHECK(clFinish(cl.queue));
    CHECK(clReleaseKernel(inc));
}

static cl_command_queue queue_with(cl_queue_properties properties)
{
    cl_device_id device;
    cl_int status;
    CHECK(clGetContextInfo(cl.context, CL_CONTEXT_DEVICES, sizeof device, &device, NULL));
    const cl_queue_properties list[] = {CL_QUEUE_PROPERTIES, properties, 0};
    cl_command_queue queue = clCreateCommandQueueWithProperties(cl.context, device, list, &status);
    check(status, "clCreateCommandQueue");
    return queue;
}

/* At most UNDER_WAY at a time, so that what is kept of those that are done is seen. */
static void many(long count)
{
    enum { QUEUES = 3, UNDER_WAY = 10000, BUFFERS = 16 };
    cl_command_queue queues[QUEUES] = {cl.queue, queue_with(0), queue_with(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)};
    cl_mem buffers[BUFFERS];
    cl_event last[QUEUES] = {NULL};
    cl_kernel inc = kernel("inc");
    size_t one = 1;
    cl_int status;
    for (int i = 0; i < BUFFERS; i++) {
        buffers[i] = clCreateBuffer(cl.context, CL_MEM_READ_WRITE, sizeof(cl_uint), NULL, &status);
        check(status, "clCreateBuffer");
    }
    for (long i = 0; i < count; i++) {
        int at = (int)(i % QUEUES), other = (int)((i + 1) % QUEUES);
        bool waits = i % 4 == 0 && last[other];
        cl_event event;
        CHECK(clSetKernelArg(inc, 0, sizeof(cl_mem), &buffers[i % BUFFERS]));
        CHECK(clEnqueueNDRangeKernel(queues[at], inc, 1, NULL, &one, NULL, waits, waits ? &last[other] : NULL, &event));
        if (last[at])
            CHECK(clReleaseEvent(last[at]));
        last[at] = event;
        if (i % UNDER_WAY == 0 || i + 1 == count)
            for (int queue = 0; queue < QUEUES; queue++)
                CHECK(clFinish(queues[queue]));
        if (i + 1 == count / 10 || i + 1 == count) {
            say("running");
            (void)getchar();
        }
    }
    for (int i = 0; i < BUFFERS; i++)
        CHECK(clReleaseMemObject(buffers[i]));
    for (int i = 0; i < QUEUES; i++) {
        if (last[i])
            CHECK(clReleaseEvent(last[i]));
        if (queues[i] != cl.queue)
            CHECK(clReleaseCommandQueue(queues[i]));
    }
    CHECK(clReleaseKernel(inc));
}

static void build(int count, const char *include)
{
    for (int i = 0; i < count; i++) {
        char text[256];
        const char *source = text;
        cl_int status;
        snprintf(text, sizeof text,
                 cl.fake ? "%s# %d\nkernel inc(global data)\n"
                         : "%s__kernel void inc(__global uint *data) { data[get_global_id(0)] += %d; }\n",
                 include, i);
        cl_program program = clCreateProgramWithSource(cl.context, 1, &source, NULL, &status);
        check(status, "clCreateProgramWithSource");
        build_program(program);
        run_built(program);
        CHECK(clReleaseProgram(program));
    }
    puts("built");
}

static struct pen_shared *find_shared_page(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        uintptr_t begin;
        unsigned long offset;
        if (strstr(line, "memfd:penstock-shared") && sscanf(line, "%zx-%*x %*s %lx", &begin, &offset) == 2 && !offset) {
            fclose(maps);
            return (struct pen_shared *)begin;
        }
    }
    printf("no shared page is mapped\n");
    exit(1);
}

static void scribble(void)
{
    round_trip_once();
    struct pen_shared *shared = find_shared_page();
    uint64_t head = atomic_load(&shared->head);
    memset((char *)shared + shared->ring_offset + head % shared->ring_bytes, 0, 64);
    atomic_store(&shared->head, head + 64);
    atomic_fetch_add(&shared->doorbell, 1);
    syscall(SYS_futex, &shared->doorbell, 1 /* FUTEX_WAKE */, 1, NULL, NULL, 0);
    sleep(1);
    round_trip_once();
}

/* Nothing of the arguments says that `from` is only read; of one kernel its text does. */
/* Takes the program; another of the same context, of its binary. */
static cl_program from_its_binary(cl_program program)
{
    cl_device_id device;
    cl_int status;
    size_t size = 0;
    CHECK(clGetProgramInfo(program, CL_PROGRAM_DEVICES, sizeof(cl_device_id), &device, NULL));
    CHECK(clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL));
    unsigned char *bytes = calloc(1, size + 1);
    CHECK(clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL));
    CHECK(clReleaseProgram(program));
    program = clCreateProgramWithBinary(cl.context, 1, &device, &size, (const unsigned char **)&bytes, NULL, &status);
    check(status, "clCreateProgramWithBinary");
    free(bytes);
    build_program(program);
    return program;
}

static void readers(bool cached)
{
    static const char *const names[] = {"indexed", "pointed"};
    const char *text = "kernel void indexed(global uint *to, global uint *from)\n"
                       "{ for (uint i = 0; i < 20000; i++) to[get_global_id(0)] += from[get_global_id(0)] ^ i; }\n"
                       "kernel void pointed(global uint *to, global uint *from)\n"
                       "{ for (uint i = 0; i < 20000; i++) to[get_global_id(0)] += *(from + get_global_id(0)) ^ i; }\n";
    const size_t items = ITEMS;
    cl_int status;
    cl_event gate = clCreateUserEvent(cl.context, &status); /* so that none is over before the next one comes */
    check(status, "clCreateUserEvent");
    cl_program program = clCreateProgramWithSource(cl.context, 1, &text, NULL, &status);
    check(status, "clCreateProgramWithSource");
    build_program(program);
    if (cached)
        program = from_its_binary(program);
    for (int i = 0; i < 4; i++) {
        cl_kernel reader = clCreateKernel(program, names[i / 2], &status);
        check(status, "clCreateKernel");
        cl_mem to = clCreateBuffer(cl.context, CL_MEM_READ_WRITE, ITEMS * sizeof(cl_uint), NULL, &status);
        check(status, "clCreateBuffer");
        CHECK(clSetKernelArg(reader, 0, sizeof(cl_mem), &to));
        CHECK(clSetKernelArg(reader, 1, sizeof(cl_mem), &cl.buffer));
        CHECK(clEnqueueNDRangeKernel(cl.queue, reader, 1, NULL, &items, NULL, 1, &gate, NULL));
        CHECK(clReleaseMemObject(to));
        CHECK(clReleaseKernel(reader));
    }
    CHECK(clSetUserEventStatus(gate, CL_COMPLETE));
    CHECK(clFinish(cl.queue));
    CHECK(clReleaseEvent(gate));
    CHECK(clReleaseProgram(program));
}

static void CL_CALLBACK one_done(cl_event event, cl_int status, void *count)
{
    (void)event, (void)status;
    atomic_fetch_add((_Atomic cl_uint *)count, 1);
}

/* Queues one after the other, each released with work in it, whose event holds it; half a second to cut the connection
 * before. */
static void churn(cl_uint count)
{
    static _Atomic cl_uint done;
    const cl_uint pattern = 3;
    cl_device_id device;
    CHECK(clGetContextInfo(cl.context, CL_CONTEXT_DEVICES, sizeof device, &device, NULL));
    round_trip_once();
    say("running");
    usleep(500000);
    for (cl_uint i = 0; i < count; i++) {
        cl_int status;
        cl_event event;
        cl_command_queue queue = clCreateCommandQueueWithProperties(cl.context, device, NULL, &status);
        check(status, "clCreateCommandQueueWithProperties");
        CHECK(clEnqueueFillBuffer(queue, cl.buffer, &pattern, sizeof pattern, 0, sizeof pattern, 0, NULL, &event));
        CHECK(clSetEventCallback(event, CL_COMPLETE, one_done, (void *)&done));
        CHECK(clReleaseEvent(event));
        CHECK(clReleaseCommandQueue(queue));
    }
    while (atomic_load(&done) < count)
        usleep(1000);
}

/* Leaves a command behind that waits for what nobody will set. */
static void abandon(void)
{
    cl_int status;
    const cl_uint pattern = 3;
    cl_event gate = clCreateUserEvent(cl.context, &status);
    check(status, "clCreateUserEvent");
    CHECK(clEnqueueFillBuffer(cl.queue, cl.buffer, &pattern, sizeof pattern, 0, sizeof pattern, 1, &gate, NULL));
    CHECK(clFlush(cl.queue));
    CHECK(clReleaseEvent(gate));
    _exit(0);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    double number = argc > 2 ? atof(argv[2]) : 0, begin = now_ms();
    set_up();
    if (!strcmp(mode, "first"))
        first(begin);
    else if (!strcmp(mode, "loop"))
        loop(number);
    else if (!strcmp(mode, "idle")) {
        round_trip_once();
        say("running");
        usleep((useconds_t)(number * 1e6));
    } else if (!strcmp(mode, "busy"))
        busy((cl_uint)number);
    else if (!strcmp(mode, "fault"))
        fault();
    else if (!strcmp(mode, "enqueue"))
        enqueue(number);
    else if (!strcmp(mode, "open") && argc > 2)
        open_there(argv[2]);
    else if (!strcmp(mode, "print"))
        print((cl_uint)number);
    else if (!strcmp(mode, "burst"))
        burst((cl_uint)number);
    else if (!strcmp(mode, "pour"))
        pour((cl_uint)number);
    else if (!strcmp(mode, "hold"))
        hold((size_t)number);
    else if (!strcmp(mode, "many"))
        many((long)number);
    else if (!strcmp(mode, "readers"))
        readers(number > 0);
    else if (!strcmp(mode, "keep"))
        keep((size_t)number);
    else if (!strcmp(mode, "churn"))
        churn((cl_uint)number);
    else if (!strcmp(mode, "build"))
        build((int)number, "");
    else if (!strcmp(mode, "include"))
        build((int)number, "#include \"value.h\"\n");
    else if (!strcmp(mode, "abandon")) {
        round_trip_once();
        abandon();
    } else if (!strcmp(mode, "leave")) {
        round_trip_once();
        _exit(0);
    } else if (!strcmp(mode, "scribble"))
        scribble();
    else
        return 1;
    tear_down();
    return 0;
}
