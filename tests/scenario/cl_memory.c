/* Buffers: creation, sub-buffers, transfers, rectangles, copies, fills, maps, callbacks; every call's errors.
 * Usage: cl_check.h. */
#include "memory_check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Bits 7 to 14 come again after PERIOD bytes: from there on it is copied, since sanitizers take long for each byte. */
static void number(unsigned char *bytes, size_t size, unsigned seed)
{
    enum { PERIOD = 1 << 15 };
    for (size_t i = 0; i < size && i < PERIOD; i++)
        bytes[i] = (unsigned char)((i * 2654435761u + seed) >> 7);
    for (size_t made = PERIOD; made < size; made *= 2)
        memcpy(bytes + made, bytes, made < size - made ? made : size - made);
}

static cl_uint refs(cl_mem memory)
{
    cl_uint count = 0;
    EXPECT_OK(clGetMemObjectInfo(memory, CL_MEM_REFERENCE_COUNT, sizeof count, &count, NULL));
    return count;
}

static cl_uint maps(cl_mem memory)
{
    cl_uint count = 99;
    EXPECT_OK(clGetMemObjectInfo(memory, CL_MEM_MAP_COUNT, sizeof count, &count, NULL));
    return count;
}

/* ---- creation ------------------------------------------------------------------------------------------ */

static void creation(struct world *w)
{
    int host[64] = {0};
    EXPECT_REFUSED(clCreateBuffer(NULL, 0, 64, NULL, &status), CL_INVALID_CONTEXT);
    EXPECT_REFUSED(clCreateBuffer(w->context, CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY, 64, NULL, &status),
                   CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateBuffer(w->context, CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR, 64, host, &status),
                   CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateBuffer(w->context, CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR, 64, host, &status),
                   CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateBuffer(w->context, CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS, 64, NULL, &status),
                   CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateBuffer(w->context, (cl_mem_flags)1 << 40, 64, NULL, &status), CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateBuffer(w->context, 0, 0, NULL, &status), CL_INVALID_BUFFER_SIZE);
    cl_ulong most = 0;
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof most, &most, NULL));
    EXPECT_REFUSED(clCreateBuffer(w->context, 0, (size_t)most + 1, NULL, &status), CL_INVALID_BUFFER_SIZE);
    EXPECT_REFUSED(clCreateBuffer(w->context, CL_MEM_COPY_HOST_PTR, 64, NULL, &status), CL_INVALID_HOST_PTR);
    EXPECT_REFUSED(clCreateBuffer(w->context, CL_MEM_USE_HOST_PTR, 64, NULL, &status), CL_INVALID_HOST_PTR);
    EXPECT_REFUSED(clCreateBuffer(w->context, 0, 64, host, &status), CL_INVALID_HOST_PTR);
    EXPECT(clCreateBuffer(w->context, 0, 0, NULL, NULL) == NULL); /* without a place for the status */
}

static void properties(struct world *w)
{
    char version[128] = "";
    EXPECT_OK(clGetPlatformInfo(w->platform, CL_PLATFORM_VERSION, sizeof version, version, NULL));
    if (strncmp(version, "OpenCL 3", 8) != 0) {
        skip("not an OpenCL 3 platform");
        return;
    }
    cl_int status;
    const cl_mem_properties none[] = {0}, bad[] = {0x7777, 1, 0};
    cl_mem_properties list[4] = {9, 9, 9, 9};
    size_t size = 99;
    EXPECT_REFUSED(clCreateBufferWithProperties(w->context, bad, 0, 64, NULL, &status), CL_INVALID_PROPERTY);
    cl_mem buffer = clCreateBufferWithProperties(w->context, none, CL_MEM_READ_ONLY, 64, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_PROPERTIES, sizeof list, list, &size));
    EXPECT(size == sizeof none && list[0] == 0);
    clReleaseMemObject(buffer);
    buffer = clCreateBufferWithProperties(w->context, NULL, CL_MEM_READ_ONLY, 64, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_PROPERTIES, 0, NULL, &size));
    EXPECT(size == 0);
    clReleaseMemObject(buffer);
}

static void info(struct world *w)
{
    static int host[256];
    cl_mem buffer = buffer_of(w, CL_MEM_READ_ONLY | CL_MEM_USE_HOST_PTR | CL_MEM_HOST_READ_ONLY, sizeof host, host);
    cl_mem_object_type type = 0;
    cl_mem_flags flags = 0;
    size_t size = 0, offset = 99;
    void *pointer = NULL;
    cl_context context = NULL;
    cl_mem associated = buffer;
    cl_bool svm = CL_TRUE;
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_TYPE, sizeof type, &type, NULL));
    EXPECT(type == CL_MEM_OBJECT_BUFFER);
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_FLAGS, sizeof flags, &flags, NULL));
    EXPECT(flags == (CL_MEM_READ_ONLY | CL_MEM_USE_HOST_PTR | CL_MEM_HOST_READ_ONLY));
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_SIZE, sizeof size, &size, NULL));
    EXPECT(size == sizeof host);
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_HOST_PTR, sizeof pointer, &pointer, NULL));
    EXPECT(pointer == host);
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_CONTEXT, sizeof context, &context, NULL));
    EXPECT(context == w->context);
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof associated, &associated, NULL));
    EXPECT(associated == NULL);
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_OFFSET, sizeof offset, &offset, NULL));
    EXPECT(offset == 0);
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_USES_SVM_POINTER, sizeof svm, &svm, NULL));
    EXPECT(svm == CL_FALSE);
    EXPECT_STATUS(clGetMemObjectInfo(buffer, CL_MEM_SIZE, 4, &size, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clGetMemObjectInfo(buffer, 0x9999, sizeof size, &size, NULL), CL_INVALID_VALUE);
    EXPECT(maps(buffer) == 0);
    EXPECT(refs(buffer) == 1);
    EXPECT_OK(clRetainMemObject(buffer));
    EXPECT(refs(buffer) == 2);
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT(refs(buffer) == 1);
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_STATUS(clRetainMemObject(NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clReleaseMemObject(NULL), CL_INVALID_MEM_OBJECT);
    buffer = buffer_of(w, CL_MEM_COPY_HOST_PTR, sizeof host, host);
    EXPECT_OK(clGetMemObjectInfo(buffer, CL_MEM_HOST_PTR, sizeof pointer, &pointer, NULL));
    EXPECT(pointer == NULL);
    EXPECT_OK(clReleaseMemObject(buffer));
}

/* ---- sub-buffers --------------------------------------------------------------------------------------- */

static void sub_buffers(struct world *w)
{
    size_t align = w->align, size = 4 * align;
    cl_int status;
    unsigned char *bytes = malloc(size), *back = malloc(size);
    number(bytes, size, 1);
    cl_mem parent = buffer_of(w, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, size, bytes);
    cl_buffer_region region = {align, 2 * align};
    cl_mem sub = clCreateSubBuffer(parent, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
    EXPECT_OK(status);
    cl_mem_flags flags = 0;
    size_t offset = 0, sub_size = 0;
    cl_mem associated = NULL;
    EXPECT_OK(clGetMemObjectInfo(sub, CL_MEM_OFFSET, sizeof offset, &offset, NULL));
    EXPECT_OK(clGetMemObjectInfo(sub, CL_MEM_SIZE, sizeof sub_size, &sub_size, NULL));
    EXPECT_OK(clGetMemObjectInfo(sub, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof associated, &associated, NULL));
    EXPECT_OK(clGetMemObjectInfo(sub, CL_MEM_FLAGS, sizeof flags, &flags, NULL));
    EXPECT(offset == align && sub_size == 2 * align && associated == parent);
    if (flags != 0) /* rusticl says 0 */
        EXPECT((flags & CL_MEM_READ_ONLY) && (flags & (CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY)) == 0);
    EXPECT_OK(clEnqueueReadBuffer(w->queue, sub, CL_TRUE, 0, 2 * align, back, 0, NULL, NULL));
    EXPECT(memcmp(back, bytes + align, 2 * align) == 0);
    memset(back, 0x5a, 2 * align);
    EXPECT_OK(clEnqueueWriteBuffer(w->queue, sub, CL_TRUE, 8, 16, back, 0, NULL, NULL));
    EXPECT_OK(clEnqueueReadBuffer(w->queue, parent, CL_TRUE, 0, size, back, 0, NULL, NULL));
    memset(bytes + align + 8, 0x5a, 16);
    EXPECT(memcmp(back, bytes, size) == 0);
    EXPECT_STATUS(clEnqueueReadBuffer(w->queue, sub, CL_TRUE, align, 2 * align, back, 0, NULL, NULL), CL_INVALID_VALUE);

    EXPECT_REFUSED(clCreateSubBuffer(sub, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status), CL_INVALID_MEM_OBJECT);
    EXPECT_REFUSED(clCreateSubBuffer(NULL, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status), CL_INVALID_MEM_OBJECT);
    EXPECT_REFUSED(clCreateSubBuffer(parent, CL_MEM_WRITE_ONLY, CL_BUFFER_CREATE_TYPE_REGION, &region, &status),
                   CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateSubBuffer(parent, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &status),
                   CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateSubBuffer(parent, CL_MEM_ALLOC_HOST_PTR, CL_BUFFER_CREATE_TYPE_REGION, &region, &status),
                   CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateSubBuffer(parent, 0, 0x9999, &region, &status), CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateSubBuffer(parent, 0, CL_BUFFER_CREATE_TYPE_REGION, NULL, &status), CL_INVALID_VALUE);
    region = (cl_buffer_region){align, 4 * align};
    EXPECT_REFUSED(clCreateSubBuffer(parent, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status), CL_INVALID_VALUE);
    region = (cl_buffer_region){align, 0};
    EXPECT_REFUSED(clCreateSubBuffer(parent, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status),
                   CL_INVALID_BUFFER_SIZE);
    if (align > 4 && !w->fragile) {
        region = (cl_buffer_region){align / 2, 4};
        EXPECT_REFUSED(clCreateSubBuffer(parent, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status),
                       CL_MISALIGNED_SUB_BUFFER_OFFSET);
    }
    EXPECT_OK(clReleaseMemObject(parent)); /* the sub-buffer keeps it alive */
    EXPECT_OK(clEnqueueReadBuffer(w->queue, sub, CL_TRUE, 8, 16, back, 0, NULL, NULL));
    EXPECT(back[0] == 0x5a && back[15] == 0x5a);
    EXPECT_OK(clReleaseMemObject(sub));
    free(bytes);
    free(back);
}

static void sub_buffers_of_sub_access(struct world *w)
{
    cl_int status;
    int value = 0;
    cl_mem parent = buffer_of(w, CL_MEM_HOST_READ_ONLY, 4 * w->align, NULL);
    cl_buffer_region region = {0, w->align};
    EXPECT_REFUSED(clCreateSubBuffer(parent, CL_MEM_HOST_WRITE_ONLY, CL_BUFFER_CREATE_TYPE_REGION, &region, &status),
                   CL_INVALID_VALUE);
    cl_mem sub = clCreateSubBuffer(parent, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
    EXPECT_OK(status);
    EXPECT_STATUS(clEnqueueWriteBuffer(w->queue, sub, CL_TRUE, 0, 4, &value, 0, NULL, NULL), CL_INVALID_OPERATION);
    EXPECT_OK(clReleaseMemObject(sub));
    sub = clCreateSubBuffer(parent, CL_MEM_HOST_NO_ACCESS, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
    EXPECT_OK(status);
    EXPECT_STATUS(clEnqueueReadBuffer(w->queue, sub, CL_TRUE, 0, 4, &value, 0, NULL, NULL), CL_INVALID_OPERATION);
    EXPECT_OK(clReleaseMemObject(sub));
    EXPECT_OK(clReleaseMemObject(parent));
}

static void sub_buffers_in_kernels(struct world *w)
{
    size_t count = w->align / 4;
    if (count == 0)
        count = 4;
    cl_int status, zero = 0;
    cl_mem parent = buffer_of(w, 0, 3 * count * 4, NULL);
    EXPECT_OK(clEnqueueFillBuffer(w->queue, parent, &zero, 4, 0, 3 * count * 4, 0, NULL, NULL));
    cl_buffer_region region = {count * 4, count * 4};
    cl_mem sub = clCreateSubBuffer(parent, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
    EXPECT_OK(status);
    add(w, w->queue, parent, 1, 3 * count, 0, NULL, NULL);
    add(w, w->queue, sub, 10, count, 0, NULL, NULL);
    add(w, w->queue, parent, 100, 3 * count, 0, NULL, NULL);
    cl_int *values = calloc(3 * count, 4);
    EXPECT_OK(clEnqueueReadBuffer(w->queue, parent, CL_TRUE, 0, 3 * count * 4, values, 0, NULL, NULL));
    bool right = true;
    for (size_t i = 0; i < 3 * count; i++)
        right &= values[i] == (i / count == 1 ? 111 : 101);
    EXPECT(right);
    free(values);
    EXPECT_OK(clReleaseMemObject(sub));
    EXPECT_OK(clReleaseMemObject(parent));
}

/* ---- read, write --------------------------------------------------------------------------------------- */

static void read_write(struct world *w)
{
    static const size_t sizes[] = {1, 4, 4095, 65536, 65537, 1 << 20, (1 << 24) + 3};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];
        unsigned char *bytes = malloc(size), *back = calloc(1, size);
        number(bytes, size, (unsigned)i);
        cl_mem buffer = buffer_of(w, 0, size, NULL);
        EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, size, bytes, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, size, back, 0, NULL, NULL));
        EXPECT(memcmp(bytes, back, size) == 0);
        if (size > 8) {
            EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_FALSE, 3, 5, bytes + 1, 0, NULL, NULL));
            EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_FALSE, 1, size - 1, back, 0, NULL, NULL));
            EXPECT_OK(clFinish(w->queue));
            memmove(bytes + 3, bytes + 1, 5);
            EXPECT(memcmp(bytes + 1, back, size - 1) == 0);
        }
        EXPECT_OK(clReleaseMemObject(buffer));
        free(bytes);
        free(back);
    }
}

static void read_write_large(struct world *w)
{
    size_t size = 200u << 20; /* more than three pieces of a staged transfer */
    cl_ulong most = 0;
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof most, &most, NULL));
    if (most < size) {
        skip("the device has no buffer of 200 MiB");
        return;
    }
    uint32_t *words = malloc(size), *back = malloc(size);
    for (size_t i = 0; i < size / 4; i++)
        words[i] = (uint32_t)i * 2654435761u;
    memset(back, 0, size);
    cl_mem buffer = buffer_of(w, 0, size, NULL);
    cl_event event = NULL;
    EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, size, words, 0, NULL, &event));
    cl_int state = CL_QUEUED;
    EXPECT_OK(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    EXPECT_OK(clReleaseEvent(event));
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 4, size - 4, back, 0, NULL, NULL));
    EXPECT(memcmp(words + 1, back, size - 4) == 0);
    EXPECT_OK(clReleaseMemObject(buffer));
    free(words);
    free(back);
}

static void read_write_errors(struct world *w)
{
    cl_int status;
    char bytes[128] = {0};
    cl_mem buffer = buffer_of(w, 0, 64, NULL);
    EXPECT_STATUS(clEnqueueReadBuffer(NULL, buffer, CL_TRUE, 0, 4, bytes, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    EXPECT_STATUS(clEnqueueReadBuffer(w->queue, NULL, CL_TRUE, 0, 4, bytes, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 61, 4, bytes, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 65, 0, bytes, 0, NULL, NULL), CL_INVALID_VALUE);
    if (!w->fragile)
        EXPECT_STATUS(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 4, SIZE_MAX, bytes, 0, NULL, NULL),
                      CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, 4, NULL, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, 65, bytes, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, 4, NULL, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, 4, bytes, 1, NULL, NULL),
                  CL_INVALID_EVENT_WAIT_LIST);
    cl_event none = NULL;
    EXPECT_STATUS(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, 4, bytes, 0, &none, NULL),
                  CL_INVALID_EVENT_WAIT_LIST);
    EXPECT_STATUS(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, 4, bytes, 1, &none, NULL),
                  CL_INVALID_EVENT_WAIT_LIST);
    cl_context other = clCreateContext(NULL, 1, &w->device, NULL, NULL, &status);
    EXPECT_OK(status);
    cl_mem foreign = clCreateBuffer(other, 0, 64, NULL, &status);
    EXPECT_OK(status);
    EXPECT_STATUS(clEnqueueReadBuffer(w->queue, foreign, CL_TRUE, 0, 4, bytes, 0, NULL, NULL), CL_INVALID_CONTEXT);
    EXPECT_STATUS(clEnqueueCopyBuffer(w->queue, buffer, foreign, 0, 0, 4, 0, NULL, NULL), CL_INVALID_CONTEXT);
    EXPECT_OK(clReleaseMemObject(foreign));
    EXPECT_OK(clReleaseContext(other));
    EXPECT_OK(clReleaseMemObject(buffer));
}

static void host_access(struct world *w)
{
    int value = 7;
    static const size_t origin[3] = {0, 0, 0}, region[3] = {4, 1, 1};
    cl_mem read_only = buffer_of(w, CL_MEM_HOST_READ_ONLY, 64, NULL);
    cl_mem write_only = buffer_of(w, CL_MEM_HOST_WRITE_ONLY, 64, NULL);
    cl_mem none = buffer_of(w, CL_MEM_HOST_NO_ACCESS, 64, NULL);
    cl_mem no_read[] = {write_only, none}, no_write[] = {read_only, none};
    for (int i = 0; i < 2; i++) {
        EXPECT_STATUS(clEnqueueReadBuffer(w->queue, no_read[i], CL_TRUE, 0, 4, &value, 0, NULL, NULL),
                      CL_INVALID_OPERATION);
        EXPECT_STATUS(clEnqueueReadBufferRect(w->queue, no_read[i], CL_TRUE, origin, origin, region, 0, 0, 0, 0, &value,
                                              0, NULL, NULL),
                      CL_INVALID_OPERATION);
        EXPECT_REFUSED(clEnqueueMapBuffer(w->queue, no_read[i], CL_TRUE, CL_MAP_READ, 0, 4, 0, NULL, NULL, &status),
                       CL_INVALID_OPERATION);
        EXPECT_STATUS(clEnqueueWriteBuffer(w->queue, no_write[i], CL_TRUE, 0, 4, &value, 0, NULL, NULL),
                      CL_INVALID_OPERATION);
        EXPECT_STATUS(clEnqueueWriteBufferRect(w->queue, no_write[i], CL_TRUE, origin, origin, region, 0, 0, 0, 0,
                                               &value, 0, NULL, NULL),
                      CL_INVALID_OPERATION);
        EXPECT_REFUSED(clEnqueueMapBuffer(w->queue, no_write[i], CL_TRUE, CL_MAP_WRITE, 0, 4, 0, NULL, NULL, &status),
                       CL_INVALID_OPERATION);
        EXPECT_REFUSED(clEnqueueMapBuffer(w->queue, no_write[i], CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION, 0, 4, 0, NULL,
                                          NULL, &status),
                       CL_INVALID_OPERATION);
    }
    EXPECT_OK(clEnqueueWriteBuffer(w->queue, write_only, CL_TRUE, 0, 4, &value, 0, NULL, NULL));
    EXPECT_OK(clEnqueueCopyBuffer(w->queue, write_only, none, 0, 0, 4, 0, NULL, NULL));
    EXPECT_OK(clEnqueueCopyBuffer(w->queue, none, read_only, 0, 0, 4, 0, NULL, NULL));
    value = 0;
    EXPECT_OK(clEnqueueReadBuffer(w->queue, read_only, CL_TRUE, 0, 4, &value, 0, NULL, NULL));
    EXPECT(value == 7);
    EXPECT_OK(clReleaseMemObject(read_only));
    EXPECT_OK(clReleaseMemObject(write_only));
    EXPECT_OK(clReleaseMemObject(none));
}

/* Commands behind one that waits: nothing may happen before its turn, and all of it in order. */
static void behind_a_gate(struct world *w)
{
    enum { COUNT = 50000 }; /* more than a small transfer */
    cl_int *first = malloc(COUNT * 4), *second = malloc(COUNT * 4), *back = calloc(COUNT, 4), early = -1;
    for (int i = 0; i < COUNT; i++) {
        first[i] = i;
        second[i] = 2 * i;
    }
    cl_mem buffer = buffer_of(w, CL_MEM_COPY_HOST_PTR, COUNT * 4, first);
    cl_event wait = gate(w), read_done = NULL;
    add(w, w->queue, buffer, 1000, COUNT, 1, &wait, NULL);
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_FALSE, 40, 4, &early, 0, NULL, NULL));
    EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_FALSE, 0, COUNT * 4, second, 0, NULL, NULL));
    add(w, w->queue, buffer, 5, COUNT, 0, NULL, NULL);
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_FALSE, 0, COUNT * 4, back, 0, NULL, &read_done));
    EXPECT_OK(clFlush(w->queue));
    cl_int state = 99;
    EXPECT_OK(clGetEventInfo(read_done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    EXPECT(state > CL_COMPLETE && early == -1 && back[1] == 0);
    EXPECT_OK(clSetUserEventStatus(wait, CL_COMPLETE));
    EXPECT_OK(clWaitForEvents(1, &read_done));
    EXPECT(early == 1010);
    bool right = true;
    for (int i = 0; i < COUNT; i++)
        right &= back[i] == 2 * i + 5;
    EXPECT(right);
    cl_command_type type = 0;
    EXPECT_OK(clGetEventInfo(read_done, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
    EXPECT(type == CL_COMMAND_READ_BUFFER);
    EXPECT_OK(clReleaseEvent(read_done));
    EXPECT_OK(clReleaseEvent(wait));
    EXPECT_OK(clReleaseMemObject(buffer));
    free(first);
    free(second);
    free(back);
}

/* A later read of the same bytes must not be overtaken by what an earlier one leaves behind. */
static void land_in_order(struct world *w, size_t size, int rounds)
{
    unsigned char *next = malloc(size), *landed = calloc(1, size);
    cl_mem buffer = buffer_of(w, CL_MEM_COPY_HOST_PTR, size, landed);
    for (int round = 0; round < rounds; round++) {
        memset(next, round + 2, size);
        add(w, w->queue, buffer, 0, 1, 0, NULL, NULL);
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_FALSE, 0, 4, landed, 0, NULL, NULL));
        if (round % 2)
            EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, size, next, 0, NULL, NULL));
        else
            EXPECT_OK(clEnqueueFillBuffer(w->queue, buffer, next, 1, 0, size, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, size, landed, 0, NULL, NULL));
        EXPECT_OK(clFinish(w->queue));
        bool later = memcmp(landed, next, size) == 0;
        EXPECT(later);
        if (!later)
            break;
    }
    EXPECT_OK(clReleaseMemObject(buffer));
    free(next);
    free(landed);
}

static void reads_land_in_order(struct world *w)
{
    land_in_order(w, 4, 200);
    land_in_order(w, 1 << 20, 40);
}

/* What a blocking call was given is the program's again when it returns, whatever is under way, and nothing beside it
 * was touched. */
static void changed_at_once(struct world *w)
{
    enum { SIZE = 3000007, ROUNDS = 40 };
    unsigned char *bytes = malloc(SIZE), *back = malloc(SIZE + 2), *same = malloc(SIZE);
    cl_mem buffer = buffer_of(w, 0, SIZE, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        size_t size = round % 2 ? SIZE : 70001;
        number(bytes, size, (unsigned)round);
        memcpy(same, bytes, size);
        memset(back, 0x5a, size + 2);
        EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, size, bytes, 0, NULL, NULL));
        memset(bytes, 0xee, size);
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, size, back + 1, 0, NULL, NULL));
        bool as_written = memcmp(back + 1, same, size) == 0 && back[0] == 0x5a && back[size + 1] == 0x5a;
        EXPECT(as_written);
        if (!as_written)
            break;
    }
    EXPECT_OK(clReleaseMemObject(buffer));
    free(bytes);
    free(back);
    free(same);
}

/* Bytes that come over a network must not be in the buffer before what reads the old ones there is done. */
static void write_after_use(struct world *w)
{
    enum { SIZE = 12 << 20, ROUNDS = 12 };
    cl_int status;
    unsigned char *now = malloc(SIZE), *then = malloc(SIZE), *back = malloc(SIZE);
    cl_mem buffer = buffer_of(w, 0, SIZE, NULL), copy = buffer_of(w, 0, SIZE, NULL);
    cl_command_queue other = clCreateCommandQueue(w->context, w->device, 0, &status);
    EXPECT_OK(status);
    for (int round = 0; round < ROUNDS; round++) {
        /* the copy before the write in its queue, or in another, and named by its wait list */
        cl_command_queue queue = round % 2 ? other : w->queue;
        size_t size = round % 4 < 2 ? SIZE : 4000;
        cl_event written, copied;
        number(then, SIZE, (unsigned)round);
        number(now, SIZE, (unsigned)round + 100);
        EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, SIZE, then, 0, NULL, &written));
        EXPECT_OK(
            clEnqueueCopyBuffer(queue, buffer, copy, 0, 0, SIZE, 1, &written, &copied)); /* a log keeps that order */
        EXPECT_OK(clFlush(queue));
        EXPECT_OK(
            clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, size, now, round % 2, round % 2 ? &copied : NULL, NULL));
        EXPECT_OK(clEnqueueReadBuffer(w->queue, copy, CL_TRUE, 0, SIZE, back, 0, NULL, NULL));
        EXPECT(memcmp(back, then, SIZE) == 0);
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, SIZE, back, 0, NULL, NULL));
        EXPECT(memcmp(back, now, size) == 0 && memcmp(back + size, then + size, SIZE - size) == 0);
        EXPECT_OK(clReleaseEvent(written));
        EXPECT_OK(clReleaseEvent(copied));
    }
    EXPECT_OK(clReleaseCommandQueue(other));
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseMemObject(copy));
    free(now);
    free(then);
    free(back);
}

static void released_while_in_use(struct world *w)
{
    enum { COUNT = 1024 };
    cl_int *back = calloc(COUNT, 4), zero = 0;
    cl_event wait = gate(w);
    cl_mem buffer = buffer_of(w, 0, COUNT * 4, NULL);
    EXPECT_OK(clEnqueueFillBuffer(w->queue, buffer, &zero, 4, 0, COUNT * 4, 0, NULL, NULL));
    add(w, w->queue, buffer, 3, COUNT, 1, &wait, NULL);
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_FALSE, 0, COUNT * 4, back, 0, NULL, NULL));
    EXPECT_OK(clReleaseMemObject(buffer));
    for (int i = 0; i < 20; i++) { /* whose memory must not be that */
        cl_mem other = buffer_of(w, 0, COUNT * 4, NULL);
        EXPECT_OK(clReleaseMemObject(other));
    }
    EXPECT_OK(clSetUserEventStatus(wait, CL_COMPLETE));
    EXPECT_OK(clFinish(w->queue));
    bool right = true;
    for (int i = 0; i < COUNT; i++)
        right &= back[i] == 3;
    EXPECT(right);
    EXPECT_OK(clReleaseEvent(wait));
    free(back);
}

/* ---- copy, fill ---------------------------------------------------------------------------------------- */

static void copies(struct world *w)
{
    static const size_t sizes[] = {16, 60000, 300000};
    for (size_t i = 0; i < 3; i++) {
        size_t size = sizes[i];
        unsigned char *bytes = malloc(size), *back = malloc(size);
        number(bytes, size, 3);
        cl_mem from = buffer_of(w, CL_MEM_COPY_HOST_PTR, size, bytes), to = buffer_of(w, 0, size, NULL);
        EXPECT_OK(clEnqueueCopyBuffer(w->queue, from, to, 0, 0, size, 0, NULL, NULL));
        EXPECT_OK(clEnqueueCopyBuffer(w->queue, from, to, 0, size / 2, size / 4, 0, NULL, NULL));
        EXPECT_OK(clEnqueueCopyBuffer(w->queue, to, to, size / 2, 0, 4, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadBuffer(w->queue, to, CL_TRUE, 0, size, back, 0, NULL, NULL));
        memcpy(bytes + size / 2, bytes, size / 4);
        EXPECT(memcmp(bytes, back, size) == 0);
        EXPECT_OK(clReleaseMemObject(from));
        EXPECT_OK(clReleaseMemObject(to));
        free(bytes);
        free(back);
    }
}

static void copy_errors(struct world *w)
{
    cl_int status;
    cl_mem a = buffer_of(w, 0, 4 * w->align, NULL), b = buffer_of(w, 0, 64, NULL);
    EXPECT_STATUS(clEnqueueCopyBuffer(NULL, a, b, 0, 0, 4, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    EXPECT_STATUS(clEnqueueCopyBuffer(w->queue, NULL, b, 0, 0, 4, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clEnqueueCopyBuffer(w->queue, a, NULL, 0, 0, 4, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clEnqueueCopyBuffer(w->queue, a, b, 0, 61, 4, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueCopyBuffer(w->queue, b, a, 61, 0, 4, 0, NULL, NULL), CL_INVALID_VALUE);
    if (!w->fragile)
        EXPECT_STATUS(clEnqueueCopyBuffer(w->queue, b, a, 4, 0, SIZE_MAX, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueCopyBuffer(w->queue, b, b, 0, 3, 4, 0, NULL, NULL), CL_MEM_COPY_OVERLAP);
    EXPECT_STATUS(clEnqueueCopyBuffer(w->queue, b, b, 3, 0, 4, 0, NULL, NULL), CL_MEM_COPY_OVERLAP);
    EXPECT_OK(clEnqueueCopyBuffer(w->queue, b, b, 4, 0, 4, 0, NULL, NULL));
    cl_buffer_region first = {0, 2 * w->align}, second = {w->align, 2 * w->align};
    cl_mem left = clCreateSubBuffer(a, 0, CL_BUFFER_CREATE_TYPE_REGION, &first, &status);
    EXPECT_OK(status);
    cl_mem right = clCreateSubBuffer(a, 0, CL_BUFFER_CREATE_TYPE_REGION, &second, &status);
    EXPECT_OK(status);
    EXPECT_STATUS(clEnqueueCopyBuffer(w->queue, left, right, 0, 0, w->align + 1, 0, NULL, NULL), CL_MEM_COPY_OVERLAP);
    EXPECT_OK(clEnqueueCopyBuffer(w->queue, left, right, 0, 0, w->align, 0, NULL, NULL));
    EXPECT_OK(clReleaseMemObject(left));
    EXPECT_OK(clReleaseMemObject(right));
    EXPECT_OK(clReleaseMemObject(a));
    EXPECT_OK(clReleaseMemObject(b));
}

static void fills(struct world *w)
{
    enum { SIZE = 1 << 18 };
    unsigned char pattern[128], *expected = malloc(SIZE), *back = malloc(SIZE);
    number(pattern, sizeof pattern, 9);
    cl_mem buffer = buffer_of(w, 0, SIZE, NULL);
    memset(expected, 0, SIZE);
    EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, SIZE, expected, 0, NULL, NULL));
    for (size_t size = 1; size <= 128; size *= 2) {
        size_t offset = size * 3, bytes = size * 11;
        EXPECT_OK(clEnqueueFillBuffer(w->queue, buffer, pattern, size, offset, bytes, 0, NULL, NULL));
        for (size_t i = 0; i < bytes; i++)
            expected[offset + i] = pattern[i % size];
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, SIZE, back, 0, NULL, NULL));
        EXPECT(memcmp(expected, back, SIZE) == 0);
    }
    EXPECT_OK(clEnqueueFillBuffer(w->queue, buffer, pattern, 16, 16, SIZE - 32, 0, NULL, NULL));
    for (size_t i = 0; i < SIZE - 32; i++)
        expected[16 + i] = pattern[i % 16];
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, SIZE, back, 0, NULL, NULL));
    EXPECT(memcmp(expected, back, SIZE) == 0);
    EXPECT_STATUS(clEnqueueFillBuffer(w->queue, buffer, NULL, 4, 0, 4, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueFillBuffer(w->queue, buffer, pattern, 0, 0, 4, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueFillBuffer(w->queue, buffer, pattern, 3, 0, 3, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueFillBuffer(w->queue, buffer, pattern, 256, 0, 256, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueFillBuffer(w->queue, buffer, pattern, 4, 2, 4, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueFillBuffer(w->queue, buffer, pattern, 4, 0, 6, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueFillBuffer(w->queue, buffer, pattern, 4, SIZE - 4, 8, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueFillBuffer(w->queue, NULL, pattern, 4, 0, 8, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clEnqueueFillBuffer(NULL, buffer, pattern, 4, 0, 8, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    EXPECT_OK(clReleaseMemObject(buffer));
    free(expected);
    free(back);
}

/* ---- rectangles ---------------------------------------------------------------------------------------- */

struct rect {
    size_t origin[3], row_pitch, slice_pitch;
};

static void copy_rect(unsigned char *to, const struct rect *t, const unsigned char *from, const struct rect *f,
                      const size_t region[3])
{
    for (size_t z = 0; z < region[2]; z++)
        for (size_t y = 0; y < region[1]; y++)
            memcpy(to + (t->origin[2] + z) * t->slice_pitch + (t->origin[1] + y) * t->row_pitch + t->origin[0],
                   from + (f->origin[2] + z) * f->slice_pitch + (f->origin[1] + y) * f->row_pitch + f->origin[0],
                   region[0]);
}

/* A transfer in pieces keeps to what it has taken for them: what lies beside it, here and where the device is, stays.
 */
static void pieces_and_neighbours(struct world *w)
{
    enum { ROW = 600 << 10, ROWS = 5, PITCH = ROW + 4096, GUARDS = 4, GUARD = 2 << 20 };
    const size_t origin[3] = {0}, region[3] = {ROW, ROWS, 1};
    unsigned char *bytes = malloc(ROWS * PITCH), *back = malloc(ROWS * PITCH), *same = malloc(GUARD);
    cl_mem buffer = buffer_of(w, 0, ROWS * ROW, NULL), holes[GUARDS], guards[GUARDS];
    number(bytes, ROWS * PITCH, 1);
    number(same, GUARD, 2);
    for (int i = 0; i < GUARDS; i++) {
        holes[i] = buffer_of(w, 0, ROWS * ROW, NULL);
        guards[i] = buffer_of(w, CL_MEM_COPY_HOST_PTR, GUARD, same);
    }
    for (int i = 0; i < GUARDS; i++)
        EXPECT_OK(clReleaseMemObject(holes[i]));
    EXPECT_OK(clFinish(w->queue));
    for (size_t pitch = ROW; pitch <= PITCH; pitch += PITCH - ROW) {
        memset(back, 0, ROWS * PITCH);
        EXPECT_OK(clEnqueueWriteBufferRect(w->queue, buffer, CL_TRUE, origin, origin, region, ROW, 0, pitch, 0, bytes,
                                           0, NULL, NULL));
        EXPECT_OK(clEnqueueReadBufferRect(w->queue, buffer, CL_TRUE, origin, origin, region, ROW, 0, pitch, 0, back, 0,
                                          NULL, NULL));
        for (size_t row = 0; row < ROWS; row++)
            EXPECT(memcmp(bytes + row * pitch, back + row * pitch, ROW) == 0);
    }
    for (int i = 0; i < GUARDS; i++) {
        EXPECT_OK(clEnqueueReadBuffer(w->queue, guards[i], CL_TRUE, 0, GUARD, back, 0, NULL, NULL));
        EXPECT(memcmp(same, back, GUARD) == 0);
        EXPECT_OK(clReleaseMemObject(guards[i]));
    }
    EXPECT_OK(clReleaseMemObject(buffer));
    free(bytes);
    free(back);
    free(same);
}

static void rectangles(struct world *w)
{
    enum { SIZE = 1 << 16, BIG = 1 << 20 };
    static const struct {
        struct rect buffer, host;
        size_t region[3];
    } cases[] = {
        {{{0, 0, 0}, 64, 64 * 16}, {{0, 0, 0}, 64, 64 * 16}, {64, 16, 8}},
        {{{3, 2, 1}, 64, 64 * 16}, {{5, 1, 0}, 40, 40 * 10}, {30, 8, 3}},
        {{{7, 0, 0}, 100, 100 * 5}, {{0, 3, 2}, 20, 20 * 9}, {13, 5, 4}},
        {{{0, 0, 0}, 16, 16}, {{0, 0, 0}, 8, 8}, {8, 1, 40}},
    };
    unsigned char *model = malloc(SIZE), *back = malloc(SIZE), *bytes = malloc(SIZE), *wanted = malloc(SIZE);
    cl_mem buffer = buffer_of(w, 0, SIZE, NULL), other = buffer_of(w, 0, SIZE, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct rect *in = &cases[i].buffer, *host = &cases[i].host;
        const size_t *region = cases[i].region;
        number(model, SIZE, (unsigned)i);
        number(bytes, SIZE, (unsigned)i + 50);
        EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, SIZE, model, 0, NULL, NULL));
        EXPECT_OK(clEnqueueWriteBufferRect(w->queue, buffer, i % 2 ? CL_FALSE : CL_TRUE, in->origin, host->origin,
                                           region, in->row_pitch, in->slice_pitch, host->row_pitch, host->slice_pitch,
                                           bytes, 0, NULL, NULL));
        copy_rect(model, in, bytes, host, region);
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, SIZE, back, 0, NULL, NULL));
        EXPECT(memcmp(model, back, SIZE) == 0);

        memset(back, 0x11, SIZE);
        memset(wanted, 0x11, SIZE);
        EXPECT_OK(clEnqueueReadBufferRect(w->queue, buffer, CL_TRUE, in->origin, host->origin, region, in->row_pitch,
                                          in->slice_pitch, host->row_pitch, host->slice_pitch, back, 0, NULL, NULL));
        copy_rect(wanted, host, model, in, region);
        EXPECT(memcmp(wanted, back, SIZE) == 0);

        EXPECT_OK(clEnqueueWriteBuffer(w->queue, other, CL_TRUE, 0, SIZE, bytes, 0, NULL, NULL));
        EXPECT_OK(clEnqueueCopyBufferRect(w->queue, buffer, other, in->origin, host->origin, region, in->row_pitch,
                                          in->slice_pitch, host->row_pitch, host->slice_pitch, 0, NULL, NULL));
        copy_rect(bytes, host, model, in, region);
        EXPECT_OK(clEnqueueReadBuffer(w->queue, other, CL_TRUE, 0, SIZE, back, 0, NULL, NULL));
        EXPECT(memcmp(bytes, back, SIZE) == 0);
    }
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseMemObject(other));
    free(model);
    free(back);
    free(bytes);
    free(wanted);

    /* Pitches of 0 are tight; and a copy too large for any short cut. */
    unsigned char *large = malloc(BIG), *result = malloc(BIG);
    number(large, BIG, 77);
    buffer = buffer_of(w, CL_MEM_COPY_HOST_PTR, BIG, large);
    other = buffer_of(w, 0, BIG, NULL);
    const size_t zero[3] = {0, 0, 0}, region[3] = {512, 64, 16};
    EXPECT_OK(clEnqueueCopyBufferRect(w->queue, buffer, other, zero, zero, region, 1024, 65536, 0, 0, 0, NULL, NULL));
    EXPECT_OK(clEnqueueReadBufferRect(w->queue, other, CL_TRUE, zero, zero, region, 0, 0, 1024, 65536, result, 0, NULL,
                                      NULL));
    bool right = true;
    for (size_t row = 0; row < 1024; row++)
        right &= memcmp(large + row * 1024, result + row * 1024, 512) == 0;
    EXPECT(right);
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseMemObject(other));
    free(large);
    free(result);
}

static void rectangle_errors(struct world *w)
{
    static char host[4096];
    static const size_t zero[3] = {0, 0, 0}, region[3] = {8, 4, 2}, empty[3] = {8, 0, 1}, far[3] = {0, 0, 100};
    cl_mem buffer = buffer_of(w, 0, 256, NULL), other = buffer_of(w, 0, 256, NULL);
    cl_command_queue q = w->queue;
    EXPECT_STATUS(clEnqueueReadBufferRect(NULL, buffer, CL_TRUE, zero, zero, region, 0, 0, 0, 0, host, 0, NULL, NULL),
                  CL_INVALID_COMMAND_QUEUE);
    EXPECT_STATUS(clEnqueueReadBufferRect(q, NULL, CL_TRUE, zero, zero, region, 0, 0, 0, 0, host, 0, NULL, NULL),
                  CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clEnqueueReadBufferRect(q, buffer, CL_TRUE, zero, zero, region, 0, 0, 0, 0, NULL, 0, NULL, NULL),
                  CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadBufferRect(q, buffer, CL_TRUE, zero, zero, empty, 0, 0, 0, 0, host, 0, NULL, NULL),
                  CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadBufferRect(q, buffer, CL_TRUE, zero, zero, region, 7, 0, 0, 0, host, 0, NULL, NULL),
                  CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadBufferRect(q, buffer, CL_TRUE, zero, zero, region, 0, 0, 7, 0, host, 0, NULL, NULL),
                  CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadBufferRect(q, buffer, CL_TRUE, zero, zero, region, 8, 31, 0, 0, host, 0, NULL, NULL),
                  CL_INVALID_VALUE);
    if (!w->fragile)
        EXPECT_STATUS(clEnqueueReadBufferRect(q, buffer, CL_TRUE, zero, zero, region, 8, 36, 0, 0, host, 0, NULL, NULL),
                      CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadBufferRect(q, buffer, CL_TRUE, far, zero, region, 0, 0, 0, 0, host, 0, NULL, NULL),
                  CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueWriteBufferRect(q, buffer, CL_TRUE, zero, zero, region, 64, 0, 0, 0, host, 0, NULL, NULL),
                  CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueCopyBufferRect(q, buffer, other, zero, far, region, 0, 0, 0, 0, 0, NULL, NULL),
                  CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueCopyBufferRect(q, buffer, other, zero, zero, region, 7, 0, 0, 0, 0, NULL, NULL),
                  CL_INVALID_VALUE);
    static const size_t right[3] = {8, 0, 0}, over[3] = {4, 1, 0}, below[3] = {0, 4, 0};
    static const size_t square[3] = {8, 4, 1};
    EXPECT_STATUS(clEnqueueCopyBufferRect(q, buffer, buffer, zero, over, square, 16, 0, 16, 0, 0, NULL, NULL),
                  CL_MEM_COPY_OVERLAP);
    EXPECT_STATUS(clEnqueueCopyBufferRect(q, buffer, buffer, zero, zero, square, 16, 0, 16, 0, 0, NULL, NULL),
                  CL_MEM_COPY_OVERLAP);
    EXPECT_OK(clEnqueueCopyBufferRect(q, buffer, buffer, zero, right, square, 16, 0, 16, 0, 0, NULL, NULL));
    EXPECT_OK(clEnqueueCopyBufferRect(q, buffer, buffer, zero, below, square, 16, 0, 16, 0, 0, NULL, NULL));
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseMemObject(other));
}

/* ---- maps ---------------------------------------------------------------------------------------------- */

static void map_read_write(struct world *w)
{
    enum { COUNT = 4096 };
    cl_int status;
    cl_mem buffer = buffer_of(w, 0, COUNT * 4, NULL);
    cl_int *p = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION, 0, COUNT * 4, 0, NULL,
                                   NULL, &status);
    EXPECT_OK(status);
    for (int i = 0; i < COUNT; i++)
        p[i] = i;
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, NULL));
    add(w, w->queue, buffer, 7, COUNT, 0, NULL, NULL);
    p = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 400, 400, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    bool right = true;
    for (int i = 0; i < 100; i++)
        right &= p[i] == 107 + i;
    EXPECT(right);
    p[0] = -1;
    cl_event event = NULL;
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, &event));
    add(w, w->queue, buffer, 1, COUNT, 0, NULL, NULL);
    EXPECT_OK(clWaitForEvents(1, &event));
    cl_command_type type = 0;
    EXPECT_OK(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
    EXPECT(type == CL_COMMAND_UNMAP_MEM_OBJECT);
    EXPECT_OK(clReleaseEvent(event));
    cl_int values[3];
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 396, 12, values, 0, NULL, NULL));
    EXPECT(values[0] == 107 && values[1] == 0 && values[2] == 109);
    EXPECT_OK(clReleaseMemObject(buffer));
}

/* A map for writing without invalidation keeps what is not written. */
static void map_write_keeps(struct world *w)
{
    cl_int values[16], status;
    for (int i = 0; i < 16; i++)
        values[i] = i;
    cl_mem buffer = buffer_of(w, CL_MEM_COPY_HOST_PTR, sizeof values, values);
    cl_int *p = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_WRITE, 0, sizeof values, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    p[3] = 99;
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, NULL));
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, sizeof values, values, 0, NULL, NULL));
    bool right = true;
    for (int i = 0; i < 16; i++)
        right &= values[i] == (i == 3 ? 99 : i);
    EXPECT(right);
    EXPECT_OK(clReleaseMemObject(buffer));
}

static void several_maps(struct world *w)
{
    cl_int values[256], status;
    for (int i = 0; i < 256; i++)
        values[i] = i;
    cl_mem buffer = buffer_of(w, CL_MEM_COPY_HOST_PTR, sizeof values, values);
    cl_int *a = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, 512, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    cl_int *b = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 256, 512, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    cl_int *c = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_WRITE, 768, 256, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT(a[127] == 127 && b[0] == 64 && b[127] == 191);
    cl_uint count = maps(buffer);
    if (count == 0)
        skip("the platform does not count maps");
    else
        EXPECT(count == 3);
    c[1] = -5;
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, a, 0, NULL, NULL));
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, c, 0, NULL, NULL));
    EXPECT_OK(clFinish(w->queue));
    EXPECT(b[1] == 65);
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, b, 0, NULL, NULL));
    EXPECT_OK(clFinish(w->queue));
    EXPECT(maps(buffer) == 0);
    /* The same range twice, and each unmapped. */
    a = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, 64, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    b = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, 64, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, b, 0, NULL, NULL));
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, a, 0, NULL, NULL));
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, sizeof values, values, 0, NULL, NULL));
    EXPECT(values[193] == -5 && values[192] == 192);
    EXPECT_OK(clReleaseMemObject(buffer));
}

static void map_errors(struct world *w)
{
    cl_int status;
    char outside[16];
    cl_mem buffer = buffer_of(w, 0, 64, NULL);
    EXPECT_REFUSED(clEnqueueMapBuffer(NULL, buffer, CL_TRUE, CL_MAP_READ, 0, 4, 0, NULL, NULL, &status),
                   CL_INVALID_COMMAND_QUEUE);
    EXPECT_REFUSED(clEnqueueMapBuffer(w->queue, NULL, CL_TRUE, CL_MAP_READ, 0, 4, 0, NULL, NULL, &status),
                   CL_INVALID_MEM_OBJECT);
    EXPECT_REFUSED(clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, 65, 0, NULL, NULL, &status),
                   CL_INVALID_VALUE);
    EXPECT_REFUSED(clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, 0, 0, NULL, NULL, &status),
                   CL_INVALID_VALUE);
    if (!w->pocl)
        EXPECT_REFUSED(clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, 1 << 20, 0, 4, 0, NULL, NULL, &status),
                       CL_INVALID_VALUE);
    EXPECT_REFUSED(clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, 4, 1, NULL, NULL, &status),
                   CL_INVALID_EVENT_WAIT_LIST);
    EXPECT_STATUS(clEnqueueUnmapMemObject(w->queue, buffer, outside, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueUnmapMemObject(NULL, buffer, outside, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    EXPECT_STATUS(clEnqueueUnmapMemObject(w->queue, NULL, outside, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
    void *p = clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, 4, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT_STATUS(clEnqueueUnmapMemObject(w->queue, buffer, p, 1, NULL, NULL), CL_INVALID_EVENT_WAIT_LIST);
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, NULL));
    if (w->strict)
        EXPECT_STATUS(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT(clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, 65, 0, NULL, NULL, NULL) == NULL);
    EXPECT_OK(clReleaseMemObject(buffer));
}

static void map_behind_a_gate(struct world *w)
{
    enum { COUNT = 30000 };
    cl_int zero = 0, status;
    cl_mem buffer = buffer_of(w, 0, COUNT * 4, NULL);
    EXPECT_OK(clEnqueueFillBuffer(w->queue, buffer, &zero, 4, 0, COUNT * 4, 0, NULL, NULL));
    cl_event wait = gate(w), mapped = NULL;
    add(w, w->queue, buffer, 4, COUNT, 1, &wait, NULL);
    cl_int *p = clEnqueueMapBuffer(w->queue, buffer, CL_FALSE, CL_MAP_READ | CL_MAP_WRITE, 0, COUNT * 4, 0, NULL,
                                   &mapped, &status);
    EXPECT_OK(status);
    EXPECT_OK(clFlush(w->queue));
    cl_int state = -1;
    EXPECT_OK(clGetEventInfo(mapped, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    EXPECT(state > CL_COMPLETE);
    EXPECT_OK(clSetUserEventStatus(wait, CL_COMPLETE));
    EXPECT_OK(clWaitForEvents(1, &mapped));
    EXPECT(p[0] == 4 && p[COUNT - 1] == 4);
    p[5] = 50;
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, buffer, p, 0, NULL, NULL));
    add(w, w->queue, buffer, 1, COUNT, 0, NULL, NULL);
    cl_int values[2];
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 16, 8, values, 0, NULL, NULL));
    EXPECT(values[0] == 5 && values[1] == 51);
    EXPECT_OK(clReleaseEvent(mapped));
    EXPECT_OK(clReleaseEvent(wait));
    EXPECT_OK(clReleaseMemObject(buffer));
}

/* ---- the host's memory, copied and allocated --------------------------------------------------------------- */

static void copy_and_alloc_host_ptr(struct world *w)
{
    cl_int values[64], status;
    for (int i = 0; i < 64; i++)
        values[i] = i;
    cl_mem copied = buffer_of(w, CL_MEM_COPY_HOST_PTR | CL_MEM_ALLOC_HOST_PTR, sizeof values, values);
    memset(values, 0, sizeof values); /* what was copied is ours */
    EXPECT_OK(clEnqueueReadBuffer(w->queue, copied, CL_TRUE, 0, sizeof values, values, 0, NULL, NULL));
    EXPECT(counts_up(values, 64, 0));
    cl_mem allocated = buffer_of(w, CL_MEM_ALLOC_HOST_PTR, sizeof values, NULL);
    cl_int *p =
        clEnqueueMapBuffer(w->queue, allocated, CL_TRUE, CL_MAP_WRITE, 0, sizeof values, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    for (int i = 0; i < 64; i++)
        p[i] = 100 + i;
    EXPECT_OK(clEnqueueUnmapMemObject(w->queue, allocated, p, 0, NULL, NULL));
    EXPECT_OK(clEnqueueReadBuffer(w->queue, allocated, CL_TRUE, 0, sizeof values, values, 0, NULL, NULL));
    EXPECT(counts_up(values, 64, 100));
    EXPECT_OK(clReleaseMemObject(copied));
    EXPECT_OK(clReleaseMemObject(allocated));
}

/* ---- destructor callbacks ------------------------------------------------------------------------------ */

static volatile int called[4], calls;
static cl_mem called_with;

static void CL_CALLBACK destroyed(cl_mem memory, void *user)
{
    called_with = memory;
    called[calls++] = *(int *)user;
}

static void destructor_callbacks(struct world *w)
{
    static int ids[3] = {1, 2, 3};
    cl_mem buffer = buffer_of(w, 0, 1024, NULL);
    EXPECT_STATUS(clSetMemObjectDestructorCallback(buffer, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clSetMemObjectDestructorCallback(NULL, destroyed, NULL), CL_INVALID_MEM_OBJECT);
    for (int i = 0; i < 3; i++)
        EXPECT_OK(clSetMemObjectDestructorCallback(buffer, destroyed, &ids[i]));
    calls = 0;
    EXPECT_OK(clRetainMemObject(buffer));
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT(calls == 0);
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT(calls == 3 && called[0] == 3 && called[1] == 2 && called[2] == 1 && called_with == buffer);
}

/* The program's memory is its own again only when the callback says so. */
static void destructor_waits_for_use(struct world *w)
{
    enum { COUNT = 2048 };
    static int id = 9;
    cl_int *host = host_range(COUNT);
    cl_event wait = gate(w);
    cl_mem buffer = buffer_of(w, CL_MEM_USE_HOST_PTR, COUNT * 4, host);
    EXPECT_OK(clSetMemObjectDestructorCallback(buffer, destroyed, &id));
    calls = 0;
    add(w, w->queue, buffer, 2, COUNT, 1, &wait, NULL);
    cl_mem nothing = buffer_of(w, 0, COUNT * 4, NULL); /* so that the kernel's arguments let go of it */
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT(calls == 0);
    EXPECT_OK(clSetUserEventStatus(wait, CL_COMPLETE));
    EXPECT_OK(clFinish(w->queue));
    add(w, w->queue, nothing, 2, COUNT, 0, NULL, NULL);
    EXPECT_OK(clFinish(w->queue));
    for (int i = 0; i < 200 && calls == 0; i++) {
        usleep(5000);
        EXPECT_OK(clFinish(w->queue));
    }
    EXPECT(calls == 1 && called[0] == 9);
    if (w->host_memory)
        EXPECT(counts_up(host, COUNT, 2));
    EXPECT_OK(clReleaseMemObject(nothing));
    EXPECT_OK(clReleaseEvent(wait));
    free(host);
}

/* ---- migration, out-of-order queues, failed events, threads ---------------------------------------------- */

static void migration(struct world *w)
{
    cl_int values[16];
    for (int i = 0; i < 16; i++)
        values[i] = i;
    cl_mem buffers[2] = {buffer_of(w, CL_MEM_COPY_HOST_PTR, sizeof values, values),
                         buffer_of(w, CL_MEM_COPY_HOST_PTR, sizeof values, values)};
    cl_event event = NULL;
    EXPECT_OK(clEnqueueMigrateMemObjects(w->queue, 2, buffers, 0, 0, NULL, &event));
    EXPECT_OK(clWaitForEvents(1, &event));
    cl_command_type type = 0;
    EXPECT_OK(clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL));
    EXPECT(type == CL_COMMAND_MIGRATE_MEM_OBJECTS);
    EXPECT_OK(clReleaseEvent(event));
    EXPECT_OK(clEnqueueMigrateMemObjects(w->queue, 1, buffers, CL_MIGRATE_MEM_OBJECT_HOST, 0, NULL, NULL));
    add(w, w->queue, buffers[0], 1, 16, 0, NULL, NULL);
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffers[0], CL_TRUE, 0, sizeof values, values, 0, NULL, NULL));
    EXPECT(counts_up(values, 16, 1));
    EXPECT_OK(
        clEnqueueMigrateMemObjects(w->queue, 1, buffers + 1, CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED, 0, NULL, NULL));
    EXPECT_STATUS(clEnqueueMigrateMemObjects(w->queue, 0, buffers, 0, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueMigrateMemObjects(w->queue, 1, NULL, 0, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueMigrateMemObjects(w->queue, 1, buffers, 1 << 10, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueMigrateMemObjects(NULL, 1, buffers, 0, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    EXPECT_OK(clReleaseMemObject(buffers[0]));
    EXPECT_OK(clReleaseMemObject(buffers[1]));
}

static void out_of_order(struct world *w)
{
    enum { COUNT = 20000 };
    cl_int status, zero = 0, *back = calloc(COUNT, 4);
    cl_command_queue queue =
        clCreateCommandQueue(w->context, w->device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &status);
    if (status != CL_SUCCESS) {
        skip("no out-of-order queues");
        free(back);
        return;
    }
    cl_mem buffer = buffer_of(w, 0, COUNT * 4, NULL);
    cl_event events[4], wait = gate(w);
    EXPECT_OK(clEnqueueFillBuffer(queue, buffer, &zero, 4, 0, COUNT * 4, 1, &wait, &events[0]));
    add(w, queue, buffer, 3, COUNT, 1, &events[0], &events[1]);
    EXPECT_OK(clEnqueueWriteBuffer(queue, buffer, CL_FALSE, 0, 4, &status, 1, &events[1], &events[2]));
    EXPECT_OK(clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, COUNT * 4, back, 1, &events[2], &events[3]));
    EXPECT(back[1] == 0);
    EXPECT_OK(clFlush(queue));
    EXPECT_OK(clSetUserEventStatus(wait, CL_COMPLETE));
    EXPECT_OK(clWaitForEvents(1, &events[3]));
    EXPECT(back[0] == CL_SUCCESS && back[1] == 3 && back[COUNT - 1] == 3);
    /* A blocking read that waits for an event, and one behind a barrier. */
    for (int i = 0; i < 4; i++)
        EXPECT_OK(clReleaseEvent(events[i]));
    add(w, queue, buffer, 4, COUNT, 0, NULL, &events[0]);
    EXPECT_OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 4, 4, back, 1, events, NULL));
    EXPECT(back[0] == 7);
    EXPECT_OK(clReleaseEvent(events[0]));
    add(w, queue, buffer, 5, COUNT, 0, NULL, NULL);
    EXPECT_OK(clEnqueueBarrierWithWaitList(queue, 0, NULL, NULL));
    EXPECT_OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 4, 4, back, 0, NULL, NULL));
    EXPECT(back[0] == 12);
    EXPECT_OK(clFinish(queue));
    EXPECT_OK(clReleaseEvent(wait));
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseCommandQueue(queue));
    free(back);
}

static void failed_wait_list(struct world *w)
{
    if (w->pocl) {
        skip("this driver ends the process");
        return;
    }
    cl_int value = 0, state = 0;
    cl_mem buffer = buffer_of(w, 0, 64, NULL);
    cl_event failed = gate(w);
    EXPECT_OK(clSetUserEventStatus(failed, -77));
    EXPECT_OK(clGetEventInfo(failed, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL));
    EXPECT(state == -77);
    EXPECT_STATUS(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, 4, &value, 1, &failed, NULL),
                  CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    EXPECT_STATUS(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, 4, &value, 1, &failed, NULL),
                  CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    EXPECT_REFUSED(clEnqueueMapBuffer(w->queue, buffer, CL_TRUE, CL_MAP_READ, 0, 4, 1, &failed, NULL, &status),
                   CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    EXPECT(maps(buffer) == 0);
    EXPECT_OK(clReleaseEvent(failed));
    EXPECT_OK(clReleaseMemObject(buffer));
}

/* ---- blocking calls without an event ------------------------------------------------------------------- */

static void *fail_soon(void *event)
{
    usleep(50000);
    EXPECT_OK(clSetUserEventStatus(event, -1));
    return NULL;
}

/* What a blocking call waits for fails meanwhile: the call says so and leaves the program's bytes alone. */
static void blocking_on_a_failure(struct world *w)
{
    if (w->pocl) {
        skip("this driver ends the process");
        return;
    }
    enum { COUNT = 1000 };
    cl_int *values = host_range(COUNT), status;
    cl_mem buffer = buffer_of(w, 0, COUNT * 4, NULL);
    for (int unordered = 0; unordered < 2; unordered++) {
        cl_command_queue queue = clCreateCommandQueue(w->context, w->device,
                                                      unordered ? CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE : 0, &status);
        EXPECT_OK(status);
        for (int map = 0; map < 2; map++) {
            pthread_t thread;
            cl_event fails = gate(w);
            pthread_create(&thread, NULL, fail_soon, fails);
            if (map)
                EXPECT_REFUSED(
                    clEnqueueMapBuffer(queue, buffer, CL_TRUE, CL_MAP_READ, 0, COUNT * 4, 1, &fails, NULL, &status),
                    CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
            else
                EXPECT_STATUS(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, COUNT * 4, values, 1, &fails, NULL),
                              CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
            pthread_join(thread, NULL);
            EXPECT_OK(clReleaseEvent(fails));
        }
        EXPECT_OK(clReleaseCommandQueue(queue));
    }
    EXPECT(counts_up(values, COUNT, 0));
    EXPECT(maps(buffer) == 0);
    EXPECT_OK(clReleaseMemObject(buffer));
    free(values);
}

/* In a queue without order a blocking call waits for its own command, not for one that this thread will let go. */
static void blocking_beside_a_gate(struct world *w)
{
    if (!w->strict) {
        skip("PoCL's blocking calls wait for the whole queue");
        return;
    }
    enum { COUNT = 1000 };
    cl_int *values = host_range(COUNT), back[COUNT], status;
    cl_command_queue queue =
        clCreateCommandQueue(w->context, w->device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &status);
    if (!queue) {
        skip("no out-of-order queues");
        free(values);
        return;
    }
    cl_mem held = buffer_of(w, CL_MEM_COPY_HOST_PTR, COUNT * 4, values);
    cl_mem other = buffer_of(w, CL_MEM_COPY_HOST_PTR, COUNT * 4, values);
    cl_event open = gate(w);
    add(w, queue, held, 1, COUNT, 1, &open, NULL);
    alarm(30); /* to be killed is better than to hang */
    EXPECT_OK(clEnqueueReadBuffer(queue, other, CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
    EXPECT(counts_up(back, COUNT, 0));
    cl_int *p = clEnqueueMapBuffer(queue, other, CL_TRUE, CL_MAP_READ, 0, COUNT * 4, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT(p && counts_up(p, COUNT, 0));
    EXPECT_OK(clEnqueueUnmapMemObject(queue, other, p, 0, NULL, NULL));
    alarm(0);
    EXPECT_OK(clSetUserEventStatus(open, CL_COMPLETE));
    EXPECT_OK(clFinish(queue));
    EXPECT_OK(clEnqueueReadBuffer(queue, held, CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
    EXPECT(counts_up(back, COUNT, 1));
    EXPECT_OK(clReleaseEvent(open));
    EXPECT_OK(clReleaseMemObject(held));
    EXPECT_OK(clReleaseMemObject(other));
    EXPECT_OK(clReleaseCommandQueue(queue));
    free(values);
}

/* Element 0 is doubled, long after the command began. */
static cl_kernel doubling(struct world *w, cl_mem buffer)
{
    cl_int turns = 50000000;
    cl_kernel kernel = make_kernel(w,
                                   "kernel void doubled(volatile global int *a, int turns) {\n"
                                   "    int x = turns;\n"
                                   "    for (int i = 0; i < turns; i++) x = x * 1664525 + 1013904223;\n"
                                   "    a[0] = 2 * a[0] + (x == 7 && turns == 1);\n"
                                   "}\n",
                                   "doubled");
    EXPECT_OK(clSetKernelArg(kernel, 0, sizeof buffer, &buffer));
    EXPECT_OK(clSetKernelArg(kernel, 1, sizeof turns, &turns));
    return kernel;
}

static void add_and_look(struct world *w, cl_command_queue queue, cl_mem buffer, cl_int expected)
{
    cl_int back = -1;
    add(w, queue, buffer, 1, 1, 0, NULL, NULL);
    EXPECT_OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, sizeof back, &back, 0, NULL, NULL));
    EXPECT(back == expected);
}

/* Two queues use a buffer in turns. The program waits for what must come first, and names no event of it; what is
 * behind a gate comes later. Recorded, all that the log tells of it is the sequence. */
static void queues_take_turns(struct world *w, cl_command_queue queue, bool by_marker)
{
    const size_t one = 1;
    cl_int status, zero = 0;
    cl_mem buffer = buffer_of(w, CL_MEM_COPY_HOST_PTR, sizeof zero, &zero);
    cl_command_queue other = clCreateCommandQueue(w->context, w->device, 0, &status);
    EXPECT_OK(status);
    cl_kernel doubled = doubling(w, buffer);
    cl_event gates[3] = {gate(w), gate(w), gate(w)}, first = NULL, mixed[2] = {NULL, gates[2]};
    add_and_look(w, other, buffer, 1);
    EXPECT_OK(clEnqueueNDRangeKernel(queue, doubled, 1, NULL, &one, NULL, 0, NULL, by_marker ? NULL : &first));
    if (by_marker)
        EXPECT_OK(clEnqueueMarkerWithWaitList(queue, 0, NULL, &first));
    EXPECT_OK(clEnqueueNDRangeKernel(queue, doubled, 1, NULL, &one, NULL, 2, gates, &mixed[0]));
    EXPECT_OK(clWaitForEvents(1, &first));
    add_and_look(w, other, buffer, 3);
    EXPECT_OK(clSetUserEventStatus(gates[0], CL_COMPLETE));
    add_and_look(w, other, buffer, 4); /* the second gate still holds it up */
    EXPECT_OK(clSetUserEventStatus(gates[1], CL_COMPLETE));
    EXPECT_OK(clFinish(queue));
    add(w, other, buffer, 1, 1, 2, mixed, NULL);
    EXPECT_OK(clSetUserEventStatus(gates[2], CL_COMPLETE));
    add_and_look(w, other, buffer, 10);
    for (int i = 0; i < 3; i++)
        EXPECT_OK(clReleaseEvent(gates[i]));
    EXPECT_OK(clReleaseEvent(first));
    EXPECT_OK(clReleaseEvent(mixed[0]));
    EXPECT_OK(clReleaseKernel(doubled));
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseCommandQueue(other));
}

static void queues_beside_a_gate(struct world *w)
{
    cl_int status;
    cl_command_queue queue =
        clCreateCommandQueue(w->context, w->device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &status);
    queues_take_turns(w, w->queue, false);
    queues_take_turns(w, w->queue, true);
    if (!queue) {
        skip("no out-of-order queues");
        return;
    }
    queues_take_turns(w, queue, false);
    queues_take_turns(w, queue, true);
    EXPECT_OK(clReleaseCommandQueue(queue));
}

/* In a queue without order an unmap without a wait list waits for no other command: not for one behind `open`. */
static void unmap_passes(cl_command_queue queue, cl_mem memory, cl_int count)
{
    static const cl_map_flags flags[] = {CL_MAP_READ, CL_MAP_WRITE};
    cl_int status;
    alarm(30); /* to be killed is better than to hang */
    for (int i = 0; i < 2; i++) {
        cl_event mapped, unmapped;
        cl_int *p =
            clEnqueueMapBuffer(queue, memory, CL_FALSE, flags[i], 0, (size_t)count * 4, 0, NULL, &mapped, &status);
        EXPECT_OK(status);
        EXPECT_OK(clWaitForEvents(1, &mapped));
        EXPECT(counts_up(p, count, 0));
        EXPECT_OK(clEnqueueUnmapMemObject(queue, memory, p, 0, NULL, &unmapped));
        EXPECT_OK(clWaitForEvents(1, &unmapped));
        EXPECT_OK(clReleaseEvent(mapped));
        EXPECT_OK(clReleaseEvent(unmapped));
    }
    alarm(0);
}

/* But for its own map: until that is complete, what the program was given is not free for the next. */
static void unmap_waits(struct world *w, cl_command_queue queue, cl_mem memory, cl_int count, cl_event open)
{
    const size_t bytes = (size_t)count * 4;
    cl_int status, *zeros = calloc(1, bytes);
    cl_mem late = buffer_of(w, CL_MEM_COPY_HOST_PTR, bytes, zeros);
    cl_int *p = clEnqueueMapBuffer(queue, late, CL_FALSE, CL_MAP_READ, 0, bytes, 1, &open, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clEnqueueUnmapMemObject(queue, late, p, 0, NULL, NULL));
    usleep(20000);
    p = clEnqueueMapBuffer(queue, memory, CL_TRUE, CL_MAP_READ, 0, bytes, 0, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clSetUserEventStatus(open, CL_COMPLETE));
    EXPECT_OK(clFinish(queue));
    EXPECT(counts_up(p, count, 0));
    EXPECT_OK(clEnqueueUnmapMemObject(queue, memory, p, 0, NULL, NULL));
    EXPECT_OK(clReleaseMemObject(late));
    free(zeros);
}

static void unmap_beside_a_gate(struct world *w)
{
    enum { COUNT = 1000 };
    cl_int *values = host_range(COUNT), status;
    cl_command_queue queue =
        clCreateCommandQueue(w->context, w->device, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &status);
    if (!queue) {
        skip("no out-of-order queues");
        free(values);
        return;
    }
    cl_mem held = buffer_of(w, CL_MEM_COPY_HOST_PTR, COUNT * 4, values);
    cl_mem other = buffer_of(w, CL_MEM_COPY_HOST_PTR, COUNT * 4, values);
    cl_event open = gate(w);
    add(w, queue, held, 1, COUNT, 1, &open, NULL);
    unmap_passes(queue, other, COUNT);
    if (w->strict) /* natively a map is not always before its unmap (PoCL 3.1: a crash) */
        unmap_waits(w, queue, other, COUNT, open);
    else
        EXPECT_OK(clSetUserEventStatus(open, CL_COMPLETE));
    EXPECT_OK(clFinish(queue));
    EXPECT_OK(clReleaseEvent(open));
    EXPECT_OK(clReleaseMemObject(held));
    EXPECT_OK(clReleaseMemObject(other));
    EXPECT_OK(clReleaseCommandQueue(queue));
    free(values);
}

/* One context over all devices of the platform: contents follow the commands that use them. */
static void several_devices(struct world *w)
{
    enum { COUNT = 40000, ROUNDS = 6 };
    cl_device_id devices[8];
    cl_command_queue queues[8];
    cl_uint count = 0;
    cl_int status, *host = host_range(COUNT), *back = calloc(COUNT, 4);
    EXPECT_OK(clGetDeviceIDs(w->platform, CL_DEVICE_TYPE_ALL, 8, devices, &count));
    if (count < 2) {
        skip("the platform has one device");
        free(host);
        free(back);
        return;
    }
    count = count < 8 ? count : 8;
    cl_context context = clCreateContext(NULL, count, devices, NULL, NULL, &status);
    EXPECT_OK(status);
    const char *text = source;
    cl_program program = clCreateProgramWithSource(context, 1, &text, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clBuildProgram(program, 0, NULL, "", NULL, NULL));
    cl_kernel kernel = clCreateKernel(program, "add", &status);
    EXPECT_OK(status);
    for (cl_uint i = 0; i < count; i++) {
        queues[i] = clCreateCommandQueue(context, devices[i], 0, &status);
        EXPECT_OK(status);
    }
    cl_mem plain = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, COUNT * 4, host, &status);
    EXPECT_OK(status);
    cl_mem shared = clCreateBuffer(context, CL_MEM_USE_HOST_PTR, COUNT * 4, host, &status);
    EXPECT_OK(status);
    cl_mem both[2] = {plain, shared};
    const size_t size = COUNT;
    for (int b = 0; b < 2; b++) {
        cl_event last = NULL;
        const cl_int one = 1;
        EXPECT_OK(clSetKernelArg(kernel, 0, sizeof both[b], &both[b]));
        EXPECT_OK(clSetKernelArg(kernel, 1, sizeof one, &one));
        for (cl_uint i = 0; i < ROUNDS * count; i++) {
            cl_event event = NULL;
            EXPECT_OK(clEnqueueNDRangeKernel(queues[i % count], kernel, 1, NULL, &size, NULL, last ? 1 : 0,
                                             last ? &last : NULL, &event));
            if (last)
                EXPECT_OK(clReleaseEvent(last));
            last = event;
            EXPECT_OK(clFlush(queues[i % count]));
        }
        cl_command_queue queue = queues[count - 1];
        EXPECT_OK(clEnqueueReadBuffer(queue, both[b], CL_TRUE, 0, COUNT * 4, back, 1, &last, NULL));
        EXPECT(counts_up(back, COUNT, (cl_int)(ROUNDS * count)));
        EXPECT_OK(clReleaseEvent(last));
        /* A map on one device, and the other sees what it changed. */
        cl_int *p = clEnqueueMapBuffer(queue, both[b], CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, COUNT * 4, 0, NULL, NULL,
                                       &status);
        EXPECT_OK(status);
        if (b == 1)
            EXPECT(p == host);
        for (int i = 0; i < COUNT; i++)
            p[i] = 5 * i;
        EXPECT_OK(clEnqueueUnmapMemObject(queue, both[b], p, 0, NULL, &last));
        EXPECT_OK(clFlush(queue));
        EXPECT_OK(clEnqueueNDRangeKernel(queues[0], kernel, 1, NULL, &size, NULL, 1, &last, NULL));
        EXPECT_OK(clReleaseEvent(last));
        EXPECT_OK(clEnqueueReadBuffer(queues[0], both[b], CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
        EXPECT(back[0] == 1 && back[1] == 6 && back[COUNT - 1] == 5 * (COUNT - 1) + 1);
        /* From one object to another, on the other device. */
        EXPECT_OK(clEnqueueCopyBuffer(queue, both[b], both[1 - b], 0, 0, COUNT * 4, 0, NULL, &last));
        EXPECT_OK(clFlush(queue));
        memset(back, 0, COUNT * 4);
        EXPECT_OK(clEnqueueReadBuffer(queues[0], both[1 - b], CL_TRUE, 0, COUNT * 4, back, 1, &last, NULL));
        EXPECT(back[0] == 1 && back[COUNT - 1] == 5 * (COUNT - 1) + 1);
        EXPECT_OK(clReleaseEvent(last));
        for (int i = 0; i < COUNT; i++)
            back[i] = i;
        for (int o = 0; o < 2; o++)
            EXPECT_OK(clEnqueueWriteBuffer(queues[0], both[o], CL_TRUE, 0, COUNT * 4, back, 0, NULL, NULL));
        EXPECT_OK(clFinish(queues[0]));
    }
    EXPECT_OK(clReleaseMemObject(plain));
    EXPECT_OK(clReleaseMemObject(shared));
    EXPECT_OK(clReleaseKernel(kernel));
    EXPECT_OK(clReleaseProgram(program));
    for (cl_uint i = 0; i < count; i++) {
        EXPECT_OK(clFinish(queues[i]));
        EXPECT_OK(clReleaseCommandQueue(queues[i]));
    }
    EXPECT_OK(clReleaseContext(context));
    free(host);
    free(back);
}

#define WHOLE_BYTES ((size_t)16 << 20)

struct worker {
    struct world *w;
    unsigned seed;
    int bad;
    cl_mem buffer; /* of both threads */
};

static void *work(void *argument)
{
    struct worker *me = argument;
    enum { SIZE = 40000 };
    cl_int status;
    cl_command_queue queue = clCreateCommandQueue(me->w->context, me->w->device, 0, &status);
    unsigned char *bytes = malloc(SIZE), *back = malloc(SIZE);
    for (unsigned round = 0; round < 60 && status == CL_SUCCESS; round++) {
        cl_mem a = clCreateBuffer(me->w->context, 0, SIZE, NULL, &status);
        cl_mem b = clCreateBuffer(me->w->context, 0, SIZE, NULL, &status);
        number(bytes, SIZE, me->seed + round);
        status |= clEnqueueWriteBuffer(queue, a, round % 2, 0, SIZE, bytes, 0, NULL, NULL);
        status |= clEnqueueCopyBuffer(queue, a, b, 0, 0, SIZE, 0, NULL, NULL);
        void *p = clEnqueueMapBuffer(queue, b, CL_TRUE, CL_MAP_READ, 0, SIZE, 0, NULL, NULL, &status);
        me->bad += !p || memcmp(p, bytes, SIZE) != 0;
        status |= clEnqueueUnmapMemObject(queue, b, p, 0, NULL, NULL);
        status |= clEnqueueReadBuffer(queue, b, CL_FALSE, 0, SIZE, back, 0, NULL, NULL);
        status |= clFinish(queue);
        me->bad += memcmp(back, bytes, SIZE) != 0;
        clReleaseMemObject(a);
        clReleaseMemObject(b);
    }
    me->bad += status != CL_SUCCESS;
    clReleaseCommandQueue(queue);
    free(bytes);
    free(back);
    return NULL;
}

static void threads(struct world *w)
{
    pthread_t ids[4];
    struct worker workers[4];
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (struct worker){.w = w, .seed = i * 1000};
        pthread_create(&ids[i], NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(ids[i], NULL);
        EXPECT(workers[i].bad == 0);
    }
}

/* Two threads, one in-order queue: each command of the one is whole for those of the other. */
struct shared_queue {
    struct world *w;
    cl_mem buffer, other;
    size_t size;
    _Atomic bool ends;
    int bad, rounds;
};

static bool uniform(const unsigned char *bytes, size_t size)
{
    return memcmp(bytes, bytes + 1, size - 1) == 0;
}

static void *fill_on(void *argument)
{
    struct shared_queue *shared = argument;
    for (; !shared->ends; shared->rounds++) {
        unsigned char value = (unsigned char)shared->rounds;
        shared->bad += clEnqueueFillBuffer(shared->w->queue, shared->buffer, &value, 1, 0, shared->size, 0, NULL,
                                           NULL) != CL_SUCCESS;
        shared->bad += clFinish(shared->w->queue) != CL_SUCCESS;
    }
    return NULL;
}

static void *copy_on(void *argument)
{
    struct shared_queue *shared = argument;
    unsigned char *bytes = malloc(shared->size);
    cl_int status;
    cl_command_queue own = clCreateCommandQueue(shared->w->context, shared->w->device, 0, &status);
    shared->bad += status != CL_SUCCESS;
    for (; status == CL_SUCCESS && !shared->ends; shared->rounds++) {
        status |=
            clEnqueueCopyBuffer(shared->w->queue, shared->buffer, shared->other, 0, 0, shared->size, 0, NULL, NULL);
        status |= clFinish(shared->w->queue);
        status |= clEnqueueReadBuffer(own, shared->other, CL_TRUE, 0, shared->size, bytes, 0, NULL, NULL);
        shared->bad += status != CL_SUCCESS || !uniform(bytes, shared->size);
    }
    shared->bad += clReleaseCommandQueue(own) != CL_SUCCESS;
    free(bytes);
    return NULL;
}

/* Blocking transfers by this thread until the other has had some rounds; returns how many of either were not whole. */
static int beside_another(struct world *w, size_t size, bool writes)
{
    enum { ROUNDS = 20 };
    pthread_t id;
    unsigned char *bytes = calloc(1, size), zero = 0;
    struct shared_queue shared = {.w = w, .size = size};
    shared.buffer = buffer_of(w, 0, size, NULL);
    shared.other = buffer_of(w, 0, size, NULL);
    EXPECT_OK(clEnqueueFillBuffer(w->queue, shared.buffer, &zero, 1, 0, size, 0, NULL, NULL));
    EXPECT_OK(clFinish(w->queue));
    EXPECT(pthread_create(&id, NULL, writes ? copy_on : fill_on, &shared) == 0);
    int bad = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (writes) {
            memset(bytes, i, size);
            EXPECT_OK(clEnqueueWriteBuffer(w->queue, shared.buffer, CL_TRUE, 0, size, bytes, 0, NULL, NULL));
        } else {
            EXPECT_OK(clEnqueueReadBuffer(w->queue, shared.buffer, CL_TRUE, 0, size, bytes, 0, NULL, NULL));
            bad += !uniform(bytes, size);
        }
    }
    shared.ends = true;
    pthread_join(id, NULL);
    EXPECT_OK(clReleaseMemObject(shared.buffer));
    EXPECT_OK(clReleaseMemObject(shared.other));
    free(bytes);
    return bad + shared.bad;
}

static void whole_for_another_thread(struct world *w)
{
    EXPECT(beside_another(w, WHOLE_BYTES, false) == 0);
    EXPECT(beside_another(w, WHOLE_BYTES, true) == 0);
}

/* A blocking transfer's times are those of all of it, also where it goes in pieces. On a busy machine this thread may
 * wait before or after: one that does not is enough. */
static void profiled_as_a_whole(struct world *w)
{
    enum { SIZE = 80 << 20, TRIES = 5 };
    static const cl_profiling_info names[] = {CL_PROFILING_COMMAND_QUEUED, CL_PROFILING_COMMAND_SUBMIT,
                                              CL_PROFILING_COMMAND_START, CL_PROFILING_COMMAND_END};
    cl_int status;
    cl_command_queue queue = clCreateCommandQueue(w->context, w->device, CL_QUEUE_PROFILING_ENABLE, &status);
    EXPECT_OK(status);
    unsigned char *bytes = calloc(1, SIZE);
    cl_mem buffer = buffer_of(w, 0, SIZE, NULL);
    bool whole = false;
    for (int i = 0; i < TRIES && !whole; i++) {
        cl_event event = NULL;
        cl_ulong times[4] = {0};
        struct timespec begin, end;
        EXPECT_OK(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, SIZE, bytes, 0, NULL, NULL));
        clock_gettime(CLOCK_MONOTONIC, &begin);
        EXPECT_OK(clEnqueueReadBuffer(queue, buffer, CL_TRUE, 0, SIZE, bytes, 0, NULL, &event));
        clock_gettime(CLOCK_MONOTONIC, &end);
        for (int t = 0; t < 4; t++)
            EXPECT_OK(clGetEventProfilingInfo(event, names[t], sizeof times[t], &times[t], NULL));
        EXPECT(times[0] <= times[1] && times[1] <= times[2] && times[2] < times[3]);
        cl_ulong took =
            (cl_ulong)(end.tv_sec - begin.tv_sec) * 1000000000 + (cl_ulong)end.tv_nsec - (cl_ulong)begin.tv_nsec;
        whole = times[3] - times[2] >= took / 2;
        EXPECT_OK(clReleaseEvent(event));
    }
    EXPECT(whole);
    EXPECT_OK(clReleaseMemObject(buffer));
    EXPECT_OK(clReleaseCommandQueue(queue));
    free(bytes);
}

/* Maps of one buffer at one address, by two threads: either may take off the list what the other has put there. */
static void *map_and_unmap(void *argument)
{
    enum { ROUNDS = 5000 };
    struct worker *me = argument;
    cl_int status;
    cl_command_queue queue = clCreateCommandQueue(me->w->context, me->w->device, 0, &status);
    for (int i = 0; i < ROUNDS && me->bad == 0; i++) {
        const unsigned *p =
            clEnqueueMapBuffer(queue, me->buffer, CL_TRUE, CL_MAP_READ, 0, sizeof *p, 0, NULL, NULL, &status);
        me->bad += status != CL_SUCCESS || !p || *p != me->seed;
        if (p)
            me->bad += clEnqueueUnmapMemObject(queue, me->buffer, (void *)p, 0, NULL, NULL) != CL_SUCCESS;
    }
    me->bad += clFinish(queue) != CL_SUCCESS;
    clReleaseCommandQueue(queue);
    return NULL;
}

static void maps_of_two_threads(struct world *w)
{
    if (w->pocl) {
        skip("this driver ends the process");
        return;
    }
    pthread_t ids[2];
    struct worker workers[2];
    unsigned value = 4711;
    cl_mem buffer = buffer_of(w, CL_MEM_COPY_HOST_PTR, sizeof value, &value);
    for (int i = 0; i < 2; i++) {
        workers[i] = (struct worker){.w = w, .seed = value, .buffer = buffer};
        pthread_create(&ids[i], NULL, map_and_unmap, &workers[i]);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(ids[i], NULL);
        EXPECT(workers[i].bad == 0);
    }
    EXPECT(maps(buffer) == 0);
    EXPECT_OK(clReleaseMemObject(buffer));
}

/* More staged bytes than anything could keep: what is done must come back. */
static void many_transfers(struct world *w)
{
    enum { SIZE = 1 << 20, ROUNDS = 600 };
    unsigned char *bytes = malloc(SIZE), *back = malloc(SIZE);
    number(bytes, SIZE, 4);
    cl_mem buffer = buffer_of(w, CL_MEM_COPY_HOST_PTR, SIZE, bytes);
    for (int i = 0; i < ROUNDS; i++) {
        add(w, w->queue, buffer, 0, 256, 0, NULL, NULL);
        EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_FALSE, 0, SIZE, bytes, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_FALSE, 0, SIZE, back, 0, NULL, NULL));
    }
    EXPECT_OK(clFinish(w->queue));
    EXPECT(memcmp(bytes, back, SIZE) == 0);
    EXPECT_OK(clReleaseMemObject(buffer));
    free(bytes);
    free(back);
}

/* ---- fork beside traffic --------------------------------------------------------------------------------- */

struct traffic {
    struct world *w;
    pthread_t thread;
    _Atomic bool *over;
    int failures;
};

static void CL_CALLBACK count_call(cl_event event, cl_int status, void *calls)
{
    (void)event, (void)status;
    atomic_fetch_add((_Atomic int *)calls, 1);
}

/* Host pointers that come and go, queues and events that end with the last of a read, callbacks. */
static void *make_traffic(void *argument)
{
    enum { COUNT = 3000 };
    struct traffic *t = argument;
    cl_int status, one = 1, *host = host_range(COUNT), back[16];
    static _Atomic int calls;
    while (!atomic_load(t->over)) {
        cl_mem buffer = clCreateBuffer(t->w->context, CL_MEM_USE_HOST_PTR, COUNT * 4, host, &status);
        cl_command_queue queue = clCreateCommandQueue(t->w->context, t->w->device, 0, &status);
        cl_event filled = NULL, read = NULL;
        t->failures += status != CL_SUCCESS;
        t->failures += clEnqueueFillBuffer(queue, buffer, &one, 4, 0, COUNT * 4, 0, NULL, &filled) != CL_SUCCESS;
        t->failures += clSetEventCallback(filled, CL_COMPLETE, count_call, &calls) != CL_SUCCESS;
        t->failures += clEnqueueReadBuffer(queue, buffer, CL_FALSE, 0, sizeof back, back, 0, NULL, &read) != CL_SUCCESS;
        t->failures += clWaitForEvents(1, &filled) != CL_SUCCESS;
        t->failures += clReleaseEvent(filled) != CL_SUCCESS;
        t->failures += clWaitForEvents(1, &read) != CL_SUCCESS || back[15] != 1;
        t->failures += clReleaseEvent(read) != CL_SUCCESS;
        t->failures += clReleaseCommandQueue(queue) != CL_SUCCESS;
        t->failures += clReleaseMemObject(buffer) != CL_SUCCESS;
    }
    free(host);
    return NULL;
}

/* A child that only ends needs no more than that fork returns; drivers in the program itself promise not even that. */
static void forks(struct world *w)
{
    if (!w->strict)
        return;
    _Atomic bool over = false;
    struct traffic traffic[3];
    for (int i = 0; i < 3; i++) {
        traffic[i] = (struct traffic){.w = w, .over = &over};
        pthread_create(&traffic[i].thread, NULL, make_traffic, &traffic[i]);
    }
    fflush(NULL);
    /* A fork of a program under ThreadSanitizer takes a third of a second here: shadows of all its memory are copied.
     */
    const time_t enough = time(NULL) + 10;
    int children = 0;
    for (; children < 200 && (children < 10 || time(NULL) < enough); children++) {
        alarm(20); /* to be killed is better than to hang */
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        int status = -1;
        EXPECT(waitpid(child, &status, 0) == child && status == 0);
        usleep(500);
    }
    atomic_store(&over, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(traffic[i].thread, NULL);
        EXPECT(traffic[i].failures == 0);
    }
    alarm(0);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        {"creation", creation},
        {"properties", properties},
        {"info", info},
        {"sub_buffers", sub_buffers},
        {"sub_buffers_of_sub_access", sub_buffers_of_sub_access},
        {"sub_buffers_in_kernels", sub_buffers_in_kernels},
        {"read_write", read_write},
        {"read_write_large", read_write_large},
        {"read_write_errors", read_write_errors},
        {"host_access", host_access},
        {"behind_a_gate", behind_a_gate},
        {"reads_land_in_order", reads_land_in_order},
        {"changed_at_once", changed_at_once},
        {"write_after_use", write_after_use},
        {"released_while_in_use", released_while_in_use},
        {"copies", copies},
        {"copy_errors", copy_errors},
        {"fills", fills},
        {"pieces_and_neighbours", pieces_and_neighbours},
        {"rectangles", rectangles},
        {"rectangle_errors", rectangle_errors},
        {"map_read_write", map_read_write},
        {"map_write_keeps", map_write_keeps},
        {"several_maps", several_maps},
        {"map_errors", map_errors},
        {"map_behind_a_gate", map_behind_a_gate},
        {"copy_and_alloc_host_ptr", copy_and_alloc_host_ptr},
        {"destructor_callbacks", destructor_callbacks},
        {"destructor_waits_for_use", destructor_waits_for_use},
        {"migration", migration},
        {"out_of_order", out_of_order},
        {"failed_wait_list", failed_wait_list},
        {"blocking_on_a_failure", blocking_on_a_failure},
        {"blocking_beside_a_gate", blocking_beside_a_gate},
        {"queues_beside_a_gate", queues_beside_a_gate},
        {"unmap_beside_a_gate", unmap_beside_a_gate},
        {"several_devices", several_devices},
        {"threads", threads},
        {"whole_for_another_thread", whole_for_another_thread},
        {"profiled_as_a_whole", profiled_as_a_whole},
        {"maps_of_two_threads", maps_of_two_threads},
        {"many_transfers", many_transfers},
        {"forks", forks},
    };
    return run_checks(argc, argv, checks, sizeof checks / sizeof *checks);
}
