/* scenario/bulk_program.c - an OpenCL program that has many long transfers under way, for test_flow.py and
 * test_reset.py.
 *
 *   bulk_program MODE COUNT [MIB]
 *
 *   writes  COUNT writes of so many MiB (32), not blocking; then what the buffer holds
 *   reads   COUNT reads, not blocking; then what they brought
 *   late    the same, behind an event of the program's own, which is set when all are enqueued
 *
 * Says "running" before the first, "enqueued" after the last (and when the event is set), and "right" or "wrong: ..."
 * when all is complete; then ends with its input. */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t bytes = 32 << 20;
static cl_context context;
static cl_command_queue queue;
static cl_mem buffer;

static void check(cl_int status, const char *call)
{
    if (status == CL_SUCCESS)
        return;
    printf("lost: %s: %d\n", call, (int)status);
    exit(1);
}
#define CHECK(call_) check((call_), #call_)

static void say(const char *text)
{
    puts(text);
    fflush(stdout);
}

/* No two of them have a page in common. */
static void *pattern(cl_uint number)
{
    cl_uint *words = malloc(bytes);
    for (size_t i = 0; words && i < bytes / sizeof *words; i++)
        words[i] = (cl_uint)i * 2654435761u + number;
    if (!words)
        exit(1);
    return words;
}

static void compare(const void *found, const void *wanted)
{
    const unsigned char *a = found, *b = wanted;
    size_t i = 0;
    if (!memcmp(a, b, bytes))
        return;
    while (a[i] == b[i])
        i++;
    printf("wrong: byte %zu\n", i);
    exit(1);
}

static void set_up(void)
{
    cl_platform_id platform;
    cl_device_id device;
    cl_int status;
    CHECK(clGetPlatformIDs(1, &platform, NULL));
    CHECK(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL));
    context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    check(status, "clCreateContext");
    queue = clCreateCommandQueueWithProperties(context, device, NULL, &status);
    check(status, "clCreateCommandQueue");
    buffer = clCreateBuffer(context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    check(status, "clCreateBuffer");
}

/* The last of them stays. */
static void writes(int count, void *const *from)
{
    for (int i = count - 1; i >= 0; i--)
        CHECK(clEnqueueWriteBuffer(queue, buffer, CL_FALSE, 0, bytes, from[i % 2], 0, NULL, NULL));
}

static void reads(int count, void *const *to, const cl_event *wait)
{
    for (int i = 0; i < count; i++)
        CHECK(clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, bytes, to[i % 2], wait ? 1 : 0, wait, NULL));
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 1;
    int count = atoi(argv[2]);
    bytes = argc > 3 ? (size_t)atoi(argv[3]) << 20 : bytes;
    set_up();
    void *sent[2] = {pattern(1), pattern(2)}, *found[2] = {calloc(1, bytes), calloc(1, bytes)};
    cl_event event = NULL;
    if (!found[0] || !found[1])
        return 1;
    bool writing = !strcmp(argv[1], "writes");
    if (!writing)
        CHECK(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, bytes, sent[0], 0, NULL, NULL));
    if (!strcmp(argv[1], "late"))
        check(!(event = clCreateUserEvent(context, NULL)), "clCreateUserEvent");
    say("running");
    if (writing)
        writes(count, sent);
    else
        reads(count, found, event ? &event : NULL);
    if (event)
        CHECK(clSetUserEventStatus(event, CL_COMPLETE));
    say("enqueued");
    CHECK(clFinish(queue));
    if (writing)
        CHECK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, bytes, found[0], 0, NULL, NULL));
    compare(found[0], sent[0]);
    if (!writing && count > 1)
        compare(found[1], sent[0]);
    say("right");
    while (getchar() != EOF)
        ;
    if (event)
        CHECK(clReleaseEvent(event));
    for (int i = 0; i < 2; i++) {
        free(sent[i]);
        free(found[i]);
    }
    return 0;
}
