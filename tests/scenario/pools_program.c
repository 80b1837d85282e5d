/* scenario/pools_program.c - an OpenCL program that uses all devices of the platform, fake ones of several pools, for
 * test_pools.py. It tells devices by their memory.
 *
 *   pools_program MODE
 *
 * each: a context for each device: data there, changed, and back.
 *
 * together: a context of all devices, and one from their type; prints what came of them.
 *
 * callbacks: while a command of the first device has not begun, the callback of one of the last is not late.
 *
 * hostptr: a kernel of each device writes to the program's memory (CL_MEM_USE_HOST_PTR); prints "ready", waits for a
 * line, then waits for each device by a thread of its own, and prints how long that took.
 *
 * full: prints "ready", waits for a line, then sends to the first device until there is no room for more; by then a
 * read of it has left something to be done. Prints how long the second device takes meanwhile, and then what became of
 * the first. It is wrong if any of those who send to the first has not waited.
 *
 * full-fork: the same, but that nothing is left to be done, and a thread forks while another sends what has changed in
 * the program's memory; it has to wait, too.
 *
 * loop: each device by a thread of its own, until a line comes, and once more, or until it is gone, of which it prints
 * "lost"; prints "running" when all have been used.
 *
 * late: prints "ready" once the devices are known, waits for a line, then opens a context for each device and reads
 * from it by a thread of its own, and prints how long each took; one more forks meanwhile.
 *
 * type: prints "ready", waits for a line, then makes a context from the type; prints what came of it.
 *
 * fork: all devices, also in a child, which has nothing of its parent's, and again in the parent.
 *
 * Exits with 0; 2 when there is no platform; 1 when anything is wrong. */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ITEMS        4096
#define DEVICES_MOST 16

/* What is used of one device. */
struct use {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_kernel inc;
    cl_mem buffer;
    pthread_t thread;
    _Atomic cl_int status; /* the first that was not CL_SUCCESS; several threads may use a device */
    unsigned rounds;
};

static struct use uses[DEVICES_MOST];
static cl_uint device_count;
static _Atomic unsigned used; /* devices, once */
static _Atomic bool told_to_end;

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static _Noreturn void wrong(const char *what, cl_int status)
{
    printf("wrong: %s: %d\n", what, (int)status);
    fflush(stdout);
    _exit(1);
}

static void check(cl_int status, const char *what)
{
    if (status != CL_SUCCESS)
        wrong(what, status);
}
#define CHECK(call_) check((call_), #call_)

static unsigned memory_mib(cl_device_id device)
{
    cl_ulong bytes = 0;
    CHECK(clGetDeviceInfo(device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof bytes, &bytes, NULL));
    return (unsigned)(bytes >> 20);
}

static void find_devices(void)
{
    cl_platform_id platform;
    cl_device_id devices[DEVICES_MOST];
    if (clGetPlatformIDs(1, &platform, NULL) ||
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, DEVICES_MOST, devices, &device_count)) {
        puts("no platform");
        exit(2);
    }
    for (cl_uint i = 0; i < device_count; i++)
        uses[i].device = devices[i];
}

/* ---- one device ---------------------------------------------------------------------------------------- */

static bool note(struct use *use, cl_int status)
{
    cl_int none = CL_SUCCESS;
    atomic_compare_exchange_strong(&use->status, &none, status);
    return use->status == CL_SUCCESS;
}

static bool open_context(struct use *use)
{
    cl_int status;
    use->status = CL_SUCCESS;
    use->context = clCreateContext(NULL, 1, &use->device, NULL, NULL, &status);
    return note(use, status);
}

static bool set_up(struct use *use)
{
    const char *source = "kernel inc(global data)\n";
    cl_int status;
    if (!open_context(use))
        return false;
    use->queue = clCreateCommandQueueWithProperties(use->context, use->device, NULL, &status);
    note(use, status);
    use->program = clCreateProgramWithSource(use->context, 1, &source, NULL, &status);
    if (!note(use, status) || !note(use, clBuildProgram(use->program, 0, NULL, "", NULL, NULL)))
        return false;
    use->inc = clCreateKernel(use->program, "inc", &status);
    note(use, status);
    use->buffer = clCreateBuffer(use->context, CL_MEM_READ_WRITE, ITEMS * sizeof(cl_uint), NULL, &status);
    return note(use, status) && note(use, clSetKernelArg(use->inc, 0, sizeof use->buffer, &use->buffer));
}

/* False: the device is gone. */
static bool round_trip(struct use *use)
{
    cl_uint data[ITEMS], start = use->rounds * 17;
    size_t items = ITEMS;
    for (cl_uint i = 0; i < ITEMS; i++)
        data[i] = start + i;
    if (!note(use, clEnqueueWriteBuffer(use->queue, use->buffer, CL_FALSE, 0, sizeof data, data, 0, NULL, NULL)) ||
        !note(use, clEnqueueNDRangeKernel(use->queue, use->inc, 1, NULL, &items, NULL, 0, NULL, NULL)) ||
        !note(use, clEnqueueReadBuffer(use->queue, use->buffer, CL_TRUE, 0, sizeof data, data, 0, NULL, NULL)))
        return false;
    for (cl_uint i = 0; i < ITEMS; i++)
        if (data[i] != start + i + 1)
            wrong("data", (cl_int)i);
    use->rounds++;
    return true;
}

static void tear_down(struct use *use)
{
    CHECK(clReleaseMemObject(use->buffer));
    CHECK(clReleaseKernel(use->inc));
    CHECK(clReleaseProgram(use->program));
    CHECK(clReleaseCommandQueue(use->queue));
    CHECK(clReleaseContext(use->context));
}

static void set_up_all(void)
{
    for (cl_uint i = 0; i < device_count; i++)
        if (!set_up(&uses[i]) || !round_trip(&uses[i]))
            wrong("setting up", uses[i].status);
}

static void tear_down_all(void)
{
    for (cl_uint i = 0; i < device_count; i++)
        tear_down(&uses[i]);
}

static void start_all(void *(*run)(void *))
{
    for (cl_uint i = 0; i < device_count; i++)
        if (pthread_create(&uses[i].thread, NULL, run, &uses[i]))
            wrong("pthread_create", 0);
}

static void join_all(void)
{
    for (cl_uint i = 0; i < device_count; i++)
        pthread_join(uses[i].thread, NULL);
}

/* ---- modes --------------------------------------------------------------------------------------------- */

static void use_all(void)
{
    for (cl_uint i = 0; i < device_count; i++)
        printf("%u MiB: %s\n", memory_mib(uses[i].device), round_trip(&uses[i]) ? "ok" : "lost");
}

static void each(void)
{
    set_up_all();
    use_all();
    tear_down_all();
}

static void CL_CALLBACK hear(const char *text, const void *data, size_t size, void *user)
{
    (void)data, (void)size, (void)user;
    printf("told: %s\n", text);
}

static void print_context(const char *what, cl_context context, cl_int status)
{
    cl_device_id devices[DEVICES_MOST];
    size_t size = 0;
    printf("%s: %d:", what, (int)status);
    if (context)
        CHECK(clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof devices, devices, &size));
    for (size_t i = 0; i < size / sizeof *devices; i++)
        printf(" %u", memory_mib(devices[i]));
    puts("");
    if (context)
        CHECK(clReleaseContext(context));
}

static void from_type(void)
{
    cl_int status;
    cl_context context = clCreateContextFromType(NULL, CL_DEVICE_TYPE_ALL, NULL, NULL, &status);
    print_context("from type", context, status);
}

static void together(void)
{
    cl_device_id devices[DEVICES_MOST];
    cl_int status;
    for (cl_uint i = 0; i < device_count; i++)
        devices[i] = uses[i].device;
    cl_context context = clCreateContext(NULL, device_count, devices, hear, NULL, &status);
    print_context("all", context, status);
    from_type();
}

static void CL_CALLBACK called(cl_event event, cl_int status, void *user)
{
    (void)event, (void)status;
    atomic_store((_Atomic bool *)user, true);
}

static void callbacks(void)
{
    struct use *first = &uses[0], *last = &uses[device_count - 1];
    _Atomic bool early = false, late = false;
    cl_int status;
    cl_event waiting, done;
    set_up_all();
    cl_event user = clCreateUserEvent(first->context, &status);
    CHECK(clEnqueueMarkerWithWaitList(first->queue, 1, &user, &waiting));
    CHECK(clSetEventCallback(waiting, CL_COMPLETE, called, &early));
    CHECK(clFlush(first->queue));
    usleep(100000); /* whoever calls it is asleep by now */
    double begin = now_ms();
    CHECK(clEnqueueMarkerWithWaitList(last->queue, 0, NULL, &done));
    CHECK(clSetEventCallback(done, CL_COMPLETE, called, &late));
    CHECK(clFlush(last->queue));
    while (!atomic_load(&late))
        usleep(1000);
    printf("%.1f ms\n", now_ms() - begin);
    if (atomic_load(&early))
        wrong("a callback before its time", 0);
    CHECK(clSetUserEventStatus(user, CL_COMPLETE));
    while (!atomic_load(&early))
        usleep(1000);
    CHECK(clReleaseEvent(user));
    CHECK(clReleaseEvent(waiting));
    CHECK(clReleaseEvent(done));
    tear_down_all();
}

static void wait_for_line(void)
{
    char line[8];
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        wrong("fgets", 0);
}

/* A read that is not done at once, so that it is noted as outstanding. */
static void read_later(struct use *use)
{
    cl_uint data[ITEMS];
    cl_int status;
    cl_event user = clCreateUserEvent(use->context, &status);
    check(status, "clCreateUserEvent");
    note(use, clEnqueueReadBuffer(use->queue, use->buffer, CL_FALSE, 0, sizeof data, data, 1, &user, NULL));
    CHECK(clSetUserEventStatus(user, CL_COMPLETE));
    note(use, clFinish(use->queue));
    CHECK(clReleaseEvent(user));
}

static cl_uint host[DEVICES_MOST][ITEMS];

/* The bytes come back in clFinish. */
static void *finish_one(void *context)
{
    struct use *use = context;
    double begin = now_ms();
    note(use, clFinish(use->queue));
    printf("%u MiB: %d after %.0f ms\n", memory_mib(use->device), (int)use->status, now_ms() - begin);
    fflush(stdout);
    return NULL;
}

/* A buffer in the program's memory, and a kernel that writes to it. */
struct shared {
    cl_mem buffer;
    cl_kernel inc;
    cl_uint *data;
};
static struct shared shares[DEVICES_MOST];

static void set_up_share(struct use *use, struct shared *shared)
{
    cl_int status;
    shared->data = host[use - uses];
    shared->buffer = clCreateBuffer(use->context, CL_MEM_USE_HOST_PTR, sizeof host[0], shared->data, &status);
    check(status, "clCreateBuffer");
    shared->inc = clCreateKernel(use->program, "inc", &status);
    check(status, "clCreateKernel");
    CHECK(clSetKernelArg(shared->inc, 0, sizeof shared->buffer, &shared->buffer));
}

static void use_share(struct use *use, struct shared *shared)
{
    size_t items = ITEMS;
    note(use, clEnqueueNDRangeKernel(use->queue, shared->inc, 1, NULL, &items, NULL, 0, NULL, NULL));
    note(use, clFlush(use->queue));
}

/* The memory has changed since the last time. */
static void share(struct use *use, struct shared *shared)
{
    shared->data[ITEMS - 1]++;
    use_share(use, shared);
}

static void tear_down_share(const struct use *use, struct shared *shared, cl_uint expected)
{
    cl_uint value = shared->data[ITEMS - 1];
    if (!use->status && value != expected)
        wrong("what a kernel wrote", (cl_int)value);
    CHECK(clReleaseKernel(shared->inc));
    CHECK(clReleaseMemObject(shared->buffer));
}

static void hostptr(void)
{
    set_up_all();
    for (cl_uint i = 0; i < device_count; i++) {
        set_up_share(&uses[i], &shares[i]);
        share(&uses[i], &shares[i]);
    }
    usleep(500000); /* the kernels have run, and it is known here */
    wait_for_line();
    start_all(finish_one);
    join_all();
    for (cl_uint i = 0; i < device_count; i++)
        tear_down_share(&uses[i], &shares[i], 2);
    tear_down_all();
}

static _Atomic bool full;                   /* no more is to be sent */
static _Atomic unsigned begun, sent;        /* kernels; the one that is begun and not sent is being sent */
static _Atomic bool has_shared, has_forked; /* the threads that do are through */

static void *fill_one(void *context)
{
    struct use *use = context;
    size_t items = 1;
    while (!atomic_load(&full)) {
        atomic_fetch_add(&begun, 1);
        if (!note(use, clEnqueueNDRangeKernel(use->queue, use->inc, 1, NULL, &items, NULL, 0, NULL, NULL)))
            break;
        atomic_fetch_add(&sent, 1);
    }
    return NULL;
}

static void *share_one(void *context)
{
    share(context, &shares[0]);
    atomic_store(&has_shared, true);
    return NULL;
}

static void *fork_one(void *context)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    atomic_store(&has_forked, true);
    if (waitpid(child, &status, 0) != child || status)
        wrong("the child", status);
    return context;
}

/* A queue whose end is to be sent by whoever copies its read's bytes, which are here. */
static void leave_read(struct use *use)
{
    static cl_uint data[ITEMS];
    cl_int status;
    cl_command_queue queue = clCreateCommandQueueWithProperties(use->context, use->device, NULL, &status);
    check(status, "clCreateCommandQueueWithProperties");
    CHECK(clEnqueueReadBuffer(queue, use->buffer, CL_FALSE, 0, sizeof data, data, 0, NULL, NULL));
    CHECK(clFlush(queue));
    CHECK(clReleaseCommandQueue(queue));
    usleep(500000);
}

static void fill_first(void)
{
    if (pthread_create(&uses[0].thread, NULL, fill_one, &uses[0]))
        wrong("pthread_create", 0);
    for (unsigned before = 0, now = 1; now != before; now = atomic_load(&sent)) {
        before = now;
        usleep(1000000);
    }
    atomic_store(&full, true);
}

/* All that may wait for what others do. */
static void use_other(struct use *use)
{
    round_trip(use);
    read_later(use);
    share(use, &shares[use - uses]);
    note(use, clFinish(use->queue));
}

/* Of the next time that its memory is shared, what may have to wait for room is the sending of its bytes. */
static void prepare_share(struct use *use, struct shared *shared)
{
    share(use, shared); /* makes a queue for them */
    CHECK(clFinish(use->queue));
    use_share(use, shared); /* lets the event go of those that were sent */
    CHECK(clFinish(use->queue));
}

static void start(pthread_t *thread, void *(*run)(void *), struct use *use)
{
    if (pthread_create(thread, NULL, run, use))
        wrong("pthread_create", 0);
    usleep(200000); /* it waits by then */
}

static void fill(bool forks)
{
    struct use *first = &uses[0], *last = &uses[1];
    pthread_t sharer, forker;
    set_up_all();
    for (cl_uint i = 0; i < device_count; i++)
        set_up_share(&uses[i], &shares[i]);
    if (forks)
        prepare_share(first, &shares[0]);
    else
        leave_read(first);
    wait_for_line();
    fill_first();
    double begin = now_ms();
    use_other(last);
    start(&sharer, share_one, first);
    if (forks)
        start(&forker, fork_one, first);
    use_other(last);
    if (atomic_load(&begun) == atomic_load(&sent))
        wrong("there was room", (cl_int)atomic_load(&sent));
    if (atomic_load(&has_shared) || atomic_load(&has_forked))
        wrong("who shares, or forks, has not waited", atomic_load(&has_forked));
    printf("%u MiB: %d after %.0f ms\n", memory_mib(last->device), (int)last->status, now_ms() - begin);
    fflush(stdout);
    pthread_join(first->thread, NULL);
    pthread_join(sharer, NULL);
    if (forks)
        pthread_join(forker, NULL);
    finish_one(first);
    tear_down_share(first, &shares[0], forks ? 5 : 2);
    tear_down_share(last, &shares[1], 4);
    tear_down_all();
}

static void *loop_one(void *context)
{
    struct use *use = context;
    bool last;
    if (!set_up(use) || !round_trip(use))
        wrong("setting up", use->status);
    if (atomic_fetch_add(&used, 1) + 1 == device_count) {
        puts("running");
        fflush(stdout);
    }
    do {
        last = atomic_load(&told_to_end);
        if (!round_trip(use)) {
            puts("lost");
            fflush(stdout);
            break;
        }
    } while (!last);
    return NULL;
}

static void loop(void)
{
    char line[8];
    start_all(loop_one);
    if (!fgets(line, sizeof line, stdin))
        wrong("fgets", 0);
    atomic_store(&told_to_end, true);
    join_all();
    for (cl_uint i = 0; i < device_count; i++)
        printf("%u MiB: %s\n", memory_mib(uses[i].device), uses[i].status ? "lost" : "ok");
    tear_down_all();
}

#define FORKS_AFTER_US 200000 /* whoever opens a session is waiting for its daemon by then */

/* By the time it reads, another thread has begun to fork. */
static void *use_one(void *context)
{
    struct use *use = context;
    double begin = now_ms();
    if (set_up(use)) {
        usleep(2 * FORKS_AFTER_US);
        read_later(use);
    }
    printf("%u MiB: %d after %.0f ms\n", memory_mib(use->device), (int)use->status, now_ms() - begin);
    fflush(stdout);
    return NULL;
}

static void late(void)
{
    int status = -1;
    wait_for_line();
    start_all(use_one);
    usleep(FORKS_AFTER_US);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    if (waitpid(child, &status, 0) != child || status)
        wrong("the child", status);
    join_all();
    tear_down_all();
}

static void fork_once(void)
{
    int status = -1;
    set_up_all();
    pid_t child = fork();
    if (child == 0) {
        for (cl_uint i = 0; i < device_count; i++)
            if (round_trip(&uses[i]))
                wrong("the parent's session in the child", 0);
        set_up_all();
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status)
        wrong("the child", status);
    use_all();
    tear_down_all();
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    find_devices();
    if (!strcmp(mode, "each"))
        each();
    else if (!strcmp(mode, "together"))
        together();
    else if (!strcmp(mode, "callbacks"))
        callbacks();
    else if (!strcmp(mode, "hostptr"))
        hostptr();
    else if (!strcmp(mode, "full"))
        fill(false);
    else if (!strcmp(mode, "full-fork"))
        fill(true);
    else if (!strcmp(mode, "loop"))
        loop();
    else if (!strcmp(mode, "late"))
        late();
    else if (!strcmp(mode, "type")) {
        wait_for_line();
        from_type();
    } else if (!strcmp(mode, "fork"))
        fork_once();
    else
        return 1;
    return 0;
}
