/* scenario/random_execute.c - a random program, executed: bytes and order must be what the model and the plan say. */
#include "random_program.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct run;

/* What has to be kept of an operation until the end. */
struct kept {
    struct run *run;
    uint32_t index;
    cl_event event;
    unsigned char *bytes;    /* that a transfer reads from or writes to */
    unsigned char *expected; /* in there, of a read */
    size_t size;
};

struct run {
    const struct random_device *device;
    const struct random_program *program;
    const struct random_step *steps;
    struct random_model model;
    cl_command_queue queues[MOST_QUEUES];
    cl_mem objects[MOST_OBJECTS];
    unsigned char *storage[MOST_BUFFERS + MOST_LISTED]; /* of buffers in the program's own memory */
    uint32_t storage_count;
    uint32_t maps[MOST_SLOTS]; /* operations; or NONE */
    unsigned char *mapped[MOST_SLOTS];
    struct kept kept[MOST_LISTED];
    uint32_t callbacks;      /* asked for */
    _Atomic uint32_t called; /* release by callbacks, which are over then; pairs with acquire in all_called */
    _Atomic bool failed;     /* relaxed: read by the program's own thread until it is at its end */
};

/* ---- what is wrong ------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static bool fail(struct run *run, uint32_t index, const char *format, ...)
{
    char sentence[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    atomic_store_explicit(&run->failed, true, memory_order_relaxed);
    if (index == NONE)
        printf("seed %u: %s\n", run->program->seed, sentence);
    else
        printf("seed %u, operation %u: %s\n", run->program->seed, index, sentence);
    return false;
}

static bool worked(struct run *run, uint32_t index, cl_int status, const char *call)
{
    return status == CL_SUCCESS || fail(run, index, "%s: %d", call, status);
}

static bool same(struct run *run, uint32_t index, const unsigned char *got, const unsigned char *expected, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (got[i] != expected[i])
            return fail(run, index, "byte %zu of %zu is 0x%02x, not 0x%02x", i, size, got[i], expected[i]);
    return true;
}

static cl_int state_of(cl_event event)
{
    cl_int state = CL_QUEUED;
    cl_int status = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return status ? status : state;
}

/* If it is seen to be complete, so must be all that it came after. */
static bool check_order(struct run *run, uint32_t index, bool complete)
{
    cl_int state = state_of(run->kept[index].event);
    if (state < 0)
        return fail(run, index, "its event says %d", state);
    if (complete && state != CL_COMPLETE)
        return fail(run, index, "is not complete (%d), and was waited for", state);
    for (uint32_t i = 0; i < index && state == CL_COMPLETE; i++) {
        cl_event event = run->kept[i].event;
        if (event && random_in(&run->steps[index].before, i) && state_of(event) != CL_COMPLETE)
            return fail(run, index, "is complete before operation %u is", i);
    }
    return true;
}

static bool look(struct run *run, uint32_t until)
{
    for (uint32_t i = until; i-- > 0;)
        if (run->kept[i].event && random_is_queued(run->program->operations[i].kind) && !check_order(run, i, false))
            return false;
    return true;
}

static void CL_CALLBACK on_complete(cl_event event, cl_int state, void *context)
{
    struct kept *kept = context;
    (void)event;
    if (state == CL_COMPLETE)
        check_order(kept->run, kept->index, true);
    else
        fail(kept->run, kept->index, "its callback says %d", state);
    atomic_fetch_add_explicit(&kept->run->called, 1, memory_order_release);
}

static cl_ulong time_of(cl_event event, cl_profiling_info which)
{
    cl_ulong time = 0;
    clGetEventProfilingInfo(event, which, sizeof time, &time, NULL);
    return time;
}

static bool is_timed(const struct run *run, uint32_t index)
{
    return run->kept[index].event && random_is_queued(run->program->operations[index].kind);
}

/* Profiling must tell the same tale. */
static bool check_times(struct run *run, uint32_t index)
{
    cl_event event = run->kept[index].event;
    cl_ulong started = time_of(event, CL_PROFILING_COMMAND_START), ended = time_of(event, CL_PROFILING_COMMAND_END);
    uint32_t queue = run->program->operations[index].queue;
    if (started > ended || time_of(event, CL_PROFILING_COMMAND_SUBMIT) > started ||
        time_of(event, CL_PROFILING_COMMAND_QUEUED) > time_of(event, CL_PROFILING_COMMAND_SUBMIT))
        return fail(run, index, "its times are not in order");
    for (uint32_t i = 0; i < index && run->program->in_order[queue]; i++)
        if (is_timed(run, i) && run->program->operations[i].queue == queue &&
            time_of(run->kept[i].event, CL_PROFILING_COMMAND_END) > started)
            return fail(run, index, "began before operation %u of the same queue had ended, by their times", i);
    return true;
}

/* ---- buffers and queues -------------------------------------------------------------------------------------- */

static bool create_buffer(struct run *run, uint32_t buffer, uint32_t index)
{
    const struct random_program *program = run->program;
    unsigned char *contents = malloc(program->sizes[buffer]);
    cl_int status = CL_OUT_OF_HOST_MEMORY;
    if (!contents)
        return fail(run, index, "no memory");
    run->storage[run->storage_count++] = contents;
    memcpy(contents, random_model_object(program, &run->model, buffer), program->sizes[buffer]);
    run->objects[buffer] =
        clCreateBuffer(run->device->context, program->flags[buffer], program->sizes[buffer], contents, &status);
    return worked(run, index, status, "clCreateBuffer");
}

static bool create_slices(struct run *run, uint32_t buffer, uint32_t index)
{
    const struct random_program *program = run->program;
    cl_int status = CL_SUCCESS;
    for (uint32_t i = program->buffer_count; i < program->buffer_count + program->slice_count && !status; i++) {
        const cl_buffer_region region = {program->origins[i], program->sizes[i]};
        if (program->parents[i] == buffer)
            run->objects[i] =
                clCreateSubBuffer(run->objects[buffer], 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
    }
    return worked(run, index, status, "clCreateSubBuffer");
}

static void release_buffer(struct run *run, uint32_t buffer)
{
    for (uint32_t i = 0; i < run->program->buffer_count + run->program->slice_count; i++)
        if (run->program->parents[i] == buffer && run->objects[i]) {
            clReleaseMemObject(run->objects[i]);
            run->objects[i] = NULL;
        }
}

static bool begin(struct run *run)
{
    cl_command_queue_properties profiling = run->program->seed & 1 ? CL_QUEUE_PROFILING_ENABLE : 0;
    cl_int status;
    random_model_begin(run->program, &run->model);
    for (uint32_t i = 0; i < run->program->buffer_count; i++)
        if (!create_buffer(run, i, NONE) || !create_slices(run, i, NONE))
            return false;
    for (uint32_t i = 0; i < run->program->queue_count; i++) {
        cl_command_queue_properties order = run->program->in_order[i] ? 0 : CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
        run->queues[i] = clCreateCommandQueue(run->device->context, run->device->device, profiling | order, &status);
        if (!worked(run, NONE, status, "clCreateCommandQueue"))
            return false;
    }
    for (uint32_t i = 0; i < MOST_SLOTS; i++)
        run->maps[i] = NONE;
    return true;
}

/* ---- operations ---------------------------------------------------------------------------------------------- */

struct waits {
    cl_uint count;
    cl_event list[MOST_LISTED];
};

static void collect(const struct run *run, uint32_t index, struct waits *out)
{
    out->count = 0;
    for (uint32_t i = 0; i < index; i++)
        if (random_in(&run->steps[index].waits, i))
            out->list[out->count++] = run->kept[i].event;
}

#define WAITS(waits_) (waits_).count, (waits_).count ? (waits_).list : NULL

static cl_int launch(struct run *run, const struct random_operation *operation, const struct waits *waits,
                     cl_event *event)
{
    cl_kernel kernel = run->device->kernels[operation->kind];
    const size_t offset = operation->at / 4, count = operation->size / 4;
    const size_t one = 1; /* PoCL compiles a kernel for each size of its groups */
    cl_uint argument = 0;
    cl_int status = clSetKernelArg(kernel, argument++, sizeof(cl_mem), &run->objects[operation->target]);
    if (operation->kind == RANDOM_COPY_KERNEL || operation->kind == RANDOM_MIX)
        status |= clSetKernelArg(kernel, argument++, sizeof(cl_mem), &run->objects[operation->source]);
    if (operation->kind == RANDOM_FILL_KERNEL || operation->kind == RANDOM_MIX)
        status |= clSetKernelArg(kernel, argument++, sizeof operation->word, &operation->word);
    return status ? status
                  : clEnqueueNDRangeKernel(run->queues[operation->queue], kernel, 1, &offset, &count, &one,
                                           WAITS(*waits), event);
}

/* Where byte `at` is, in rows. */
static void origin_of(uint32_t at, uint32_t pitch, size_t out[3])
{
    out[0] = at % pitch;
    out[1] = at / pitch;
    out[2] = 0;
}

static cl_int transfer(struct run *run, uint32_t index, const struct waits *waits, cl_event *event)
{
    const struct random_operation *operation = &run->program->operations[index];
    struct kept *kept = &run->kept[index];
    cl_command_queue queue = run->queues[operation->queue];
    cl_mem target = run->objects[operation->target];
    const size_t zero[3] = {0}, extent[3] = {operation->size, operation->rows, 1};
    size_t origin[3];
    switch (operation->kind) {
    case RANDOM_WRITE:
        return clEnqueueWriteBuffer(queue, target, operation->blocking, operation->at, operation->size, kept->bytes,
                                    WAITS(*waits), event);
    case RANDOM_READ:
        return clEnqueueReadBuffer(queue, target, operation->blocking, operation->at, operation->size, kept->bytes,
                                   WAITS(*waits), event);
    case RANDOM_WRITE_RECT:
        origin_of(operation->at, operation->pitch, origin);
        return clEnqueueWriteBufferRect(queue, target, operation->blocking, origin, zero, extent, operation->pitch, 0,
                                        0, 0, kept->bytes, WAITS(*waits), event);
    default:
        origin_of(operation->at, operation->pitch, origin);
        return clEnqueueReadBufferRect(queue, target, operation->blocking, origin, zero, extent, operation->pitch, 0, 0,
                                       0, kept->bytes, WAITS(*waits), event);
    }
}

static cl_int copy(struct run *run, const struct random_operation *operation, const struct waits *waits,
                   cl_event *event)
{
    cl_mem source = run->objects[operation->source], target = run->objects[operation->target];
    cl_command_queue queue = run->queues[operation->queue];
    const size_t extent[3] = {operation->size, operation->rows, 1};
    size_t from[3], to[3];
    if (operation->kind == RANDOM_COPY)
        return clEnqueueCopyBuffer(queue, source, target, operation->from, operation->at, operation->size,
                                   WAITS(*waits), event);
    origin_of(operation->from, operation->from_pitch, from);
    origin_of(operation->at, operation->pitch, to);
    return clEnqueueCopyBufferRect(queue, source, target, from, to, extent, operation->from_pitch, 0, operation->pitch,
                                   0, WAITS(*waits), event);
}

static cl_int fill(struct run *run, const struct random_operation *operation, const struct waits *waits,
                   cl_event *event)
{
    unsigned char pattern[16];
    random_bytes(operation->word, pattern, operation->pattern_size);
    return clEnqueueFillBuffer(run->queues[operation->queue], run->objects[operation->target], pattern,
                               operation->pattern_size, operation->at, operation->size, WAITS(*waits), event);
}

static cl_int map(struct run *run, uint32_t index, const struct waits *waits, cl_event *event)
{
    const struct random_operation *operation = &run->program->operations[index];
    cl_map_flags flags = !operation->writes    ? CL_MAP_READ
                         : operation->word % 3 ? CL_MAP_READ | CL_MAP_WRITE
                                               : CL_MAP_WRITE_INVALIDATE_REGION;
    cl_int status;
    run->maps[operation->slot] = index;
    run->mapped[operation->slot] =
        clEnqueueMapBuffer(run->queues[operation->queue], run->objects[operation->target], operation->blocking, flags,
                           operation->at, operation->size, WAITS(*waits), event, &status);
    return status;
}

/* The program sees what was mapped, and leaves something else there. */
static cl_int unmap(struct run *run, uint32_t index, const struct waits *waits, cl_event *event)
{
    const struct random_operation *operation = &run->program->operations[index];
    uint32_t mapping = run->maps[operation->slot];
    const struct random_operation *mapped = &run->program->operations[mapping];
    unsigned char *expected = random_model_object(run->program, &run->model, mapped->target) + mapped->at;
    unsigned char *bytes = run->mapped[operation->slot];
    cl_int status = clWaitForEvents(1, &run->kept[mapping].event);
    if (status)
        return status;
    if (!mapped->writes || mapped->word % 3)
        same(run, mapping, bytes, expected, mapped->size);
    if (mapped->writes) {
        random_bytes(mapped->word, expected, mapped->size);
        memcpy(bytes, expected, mapped->size);
    }
    run->maps[operation->slot] = NONE;
    return clEnqueueUnmapMemObject(run->queues[operation->queue], run->objects[mapped->target], bytes, WAITS(*waits),
                                   event);
}

/* The program's side of a transfer. */
static bool make_bytes(struct run *run, uint32_t index)
{
    const struct random_operation *operation = &run->program->operations[index];
    struct kept *kept = &run->kept[index];
    const unsigned char *object = random_model_object(run->program, &run->model, operation->target) + operation->at;
    uint32_t rows = operation->rows ? operation->rows : 1;
    kept->size = rows * operation->size;
    kept->bytes = calloc(2, kept->size);
    if (!kept->bytes)
        return fail(run, index, "no memory");
    if (operation->kind == RANDOM_WRITE || operation->kind == RANDOM_WRITE_RECT) {
        random_bytes(operation->word, kept->bytes, kept->size);
        return true;
    }
    kept->expected = kept->bytes + kept->size;
    for (uint32_t row = 0; row < rows; row++)
        memcpy(kept->expected + row * operation->size, object + row * operation->pitch, operation->size);
    return true;
}

static cl_int enqueue(struct run *run, uint32_t index, cl_event *event)
{
    const struct random_operation *operation = &run->program->operations[index];
    cl_command_queue queue = run->queues[operation->queue];
    struct waits waits;
    collect(run, index, &waits);
    if (random_is_kernel(operation->kind))
        return launch(run, operation, &waits, event);
    switch (operation->kind) {
    case RANDOM_COPY:
    case RANDOM_COPY_RECT:
        return copy(run, operation, &waits, event);
    case RANDOM_FILL:
        return fill(run, operation, &waits, event);
    case RANDOM_MAP:
        return map(run, index, &waits, event);
    case RANDOM_UNMAP:
        return unmap(run, index, &waits, event);
    case RANDOM_MARKER:
        return clEnqueueMarkerWithWaitList(queue, WAITS(waits), event);
    case RANDOM_BARRIER:
        return clEnqueueBarrierWithWaitList(queue, WAITS(waits), event);
    default:
        return transfer(run, index, &waits, event);
    }
}

static bool is_transfer(enum random_kind kind)
{
    return kind == RANDOM_WRITE || kind == RANDOM_READ || kind == RANDOM_WRITE_RECT || kind == RANDOM_READ_RECT;
}

static bool run_command(struct run *run, uint32_t index)
{
    const struct random_operation *operation = &run->program->operations[index];
    struct kept *kept = &run->kept[index];
    *kept = (struct kept){.run = run, .index = index};
    if (is_transfer(operation->kind) && !make_bytes(run, index))
        return false;
    cl_int status = enqueue(run, index, run->steps[index].event ? &kept->event : NULL);
    if (!worked(run, index, status, random_text(run->program, index)))
        return false;
    if (operation->callback) {
        run->callbacks++;
        if (!worked(run, index, clSetEventCallback(kept->event, CL_COMPLETE, on_complete, kept), "clSetEventCallback"))
            return false;
    }
    return !random_is_awaited(operation) ||
           ((!kept->event || check_order(run, index, true)) &&
            (!kept->expected || same(run, index, kept->bytes, kept->expected, kept->size)));
}

/* A call that waits does so for other queues' commands, too, and for gates: those have to be on their way. */
static bool open_gates(struct run *run, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (random_in(&run->steps[index].opens, i) &&
            !worked(run, index, clSetUserEventStatus(run->kept[i].event, CL_COMPLETE), "clSetUserEventStatus"))
            return false;
    for (uint32_t i = 0; i < run->program->queue_count; i++)
        if (!worked(run, index, clFlush(run->queues[i]), "clFlush"))
            return false;
    return true;
}

static bool finish_queue(struct run *run, uint32_t queue, uint32_t index)
{
    return worked(run, index, clFinish(run->queues[queue]), "clFinish") && look(run, index);
}

static bool run_operation(struct run *run, uint32_t index)
{
    const struct random_operation *operation = &run->program->operations[index];
    struct kept *kept = &run->kept[index];
    cl_int status = CL_SUCCESS;
    switch (operation->kind) {
    case RANDOM_GATE:
        kept->event = clCreateUserEvent(run->device->context, &status);
        return worked(run, index, status, "clCreateUserEvent");
    case RANDOM_OPEN:
        return true; /* it is one that has to be opened first */
    case RANDOM_WAIT:
        return worked(run, index, clWaitForEvents(1, &run->kept[operation->also].event), "clWaitForEvents") &&
               check_order(run, operation->also, true);
    case RANDOM_FLUSH:
        return worked(run, index, clFlush(run->queues[operation->queue]), "clFlush");
    case RANDOM_FINISH:
        return finish_queue(run, operation->queue, index);
    case RANDOM_LOOK:
        return look(run, index);
    case RANDOM_RENEW:
        release_buffer(run, operation->target);
        return create_buffer(run, operation->target, index) && create_slices(run, operation->target, index);
    default:
        return run_command(run, index);
    }
}

static bool blocks(const struct random_operation *operation)
{
    return operation->blocking || operation->kind == RANDOM_OPEN || operation->kind == RANDOM_WAIT ||
           operation->kind == RANDOM_FINISH || operation->kind == RANDOM_UNMAP;
}

static bool run_all(struct run *run)
{
    for (uint32_t i = 0; i < run->program->count; i++) {
        if (run->steps[i].left_out)
            continue;
        if (blocks(&run->program->operations[i]) && !open_gates(run, i))
            return false;
        if (run->program->operations[i].kind == RANDOM_RENEW)
            random_model_run(run->program, i, &run->model);
        if (!run_operation(run, i) || atomic_load_explicit(&run->failed, memory_order_relaxed))
            return false;
        if (run->program->operations[i].kind != RANDOM_RENEW)
            random_model_run(run->program, i, &run->model);
    }
    return true;
}

/* ---- the end ------------------------------------------------------------------------------------------------- */

static bool all_called(struct run *run)
{
    const struct timespec rest = {.tv_nsec = 1000000};
    for (int ms = 0; ms < 10000; ms++) {
        if (atomic_load_explicit(&run->called, memory_order_acquire) == run->callbacks)
            return true;
        nanosleep(&rest, NULL);
    }
    return fail(run, NONE, "%u callbacks were asked for, %u came", run->callbacks,
                atomic_load_explicit(&run->called, memory_order_acquire));
}

static bool check_contents(struct run *run, uint32_t buffer)
{
    unsigned char bytes[MOST_BYTES];
    size_t size = run->program->sizes[buffer];
    cl_int status = clEnqueueReadBuffer(run->queues[0], run->objects[buffer], CL_TRUE, 0, size, bytes, 0, NULL, NULL);
    const unsigned char *expected = random_model_object(run->program, &run->model, buffer);
    for (size_t i = 0; !status && i < size; i++)
        if (bytes[i] != expected[i])
            return fail(run, NONE, "byte %zu of buffer %u is 0x%02x at last, not 0x%02x", i, buffer, bytes[i],
                        expected[i]);
    return worked(run, NONE, status, "clEnqueueReadBuffer");
}

static bool check_all(struct run *run)
{
    for (uint32_t i = 0; i < run->program->queue_count; i++)
        if (!finish_queue(run, i, run->program->count))
            return false;
    if (!all_called(run))
        return false;
    for (uint32_t i = 0; i < run->program->count; i++) {
        const struct kept *kept = &run->kept[i];
        if (kept->expected && !same(run, i, kept->bytes, kept->expected, kept->size))
            return false;
        if (run->program->seed & 1 && is_timed(run, i) && !check_times(run, i))
            return false;
    }
    for (uint32_t i = 0; i < run->program->buffer_count; i++)
        if (!check_contents(run, i))
            return false;
    return true;
}

/* After a failure commands may be under way, and wait for gates. */
static void end(struct run *run)
{
    for (uint32_t i = 0; i < run->program->count; i++)
        if (run->kept[i].event && run->program->operations[i].kind == RANDOM_GATE)
            clSetUserEventStatus(run->kept[i].event, CL_COMPLETE);
    for (uint32_t i = 0; i < run->program->queue_count; i++)
        if (run->queues[i])
            clFlush(run->queues[i]);
    for (uint32_t i = 0; i < run->program->queue_count; i++)
        if (run->queues[i]) {
            clFinish(run->queues[i]);
            clReleaseCommandQueue(run->queues[i]);
        }
    all_called(run);
    for (uint32_t i = 0; i < run->program->count; i++) {
        if (run->kept[i].event)
            clReleaseEvent(run->kept[i].event);
        free(run->kept[i].bytes);
    }
    for (uint32_t i = 0; i < run->program->buffer_count; i++)
        release_buffer(run, i);
}

bool random_execute(const struct random_device *device, const struct random_program *program,
                    const struct random_step steps[MOST_LISTED])
{
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return false;
    run->device = device;
    run->program = program;
    run->steps = steps;
    if (begin(run) && run_all(run))
        check_all(run);
    end(run);
    for (uint32_t i = 0; i < run->storage_count; i++)
        free(run->storage[i]);
    bool right = !atomic_load_explicit(&run->failed, memory_order_relaxed);
    free(run);
    return right;
}
