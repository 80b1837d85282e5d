/* Helpers of the backend's tests: a completion that can be waited for, and commands in a line. */
#ifndef TEST_BACKEND_COMMON_H
#define TEST_BACKEND_COMMON_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/backend.h"

struct completion {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int calls, status;
    bool timed;
    struct pen_event_times times;
};
#define COMPLETION                                                                                                     \
    {                                                                                                                  \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                                         \
    }

static inline void completion_note(void *context, int status, const struct pen_event_times *times)
{
    struct completion *completion = context;

    pthread_mutex_lock(&completion->lock);
    completion->calls++;
    completion->status = status;
    completion->timed = times != NULL;
    if (times)
        completion->times = *times;
    pthread_cond_broadcast(&completion->changed);
    pthread_mutex_unlock(&completion->lock);
}

static inline void completion_destroyed(void *context)
{
    completion_note(context, 0, NULL);
}

/* False when `calls` were not reached within seconds. */
static inline bool completion_wait(struct completion *completion, int calls)
{
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&completion->lock);
    while (completion->calls < calls && !rc)
        rc = pthread_cond_timedwait(&completion->changed, &completion->lock, &until);
    pthread_mutex_unlock(&completion->lock);
    return !rc;
}

static const struct pen_backend_order no_order;

static inline struct pen_backend_memory *make_buffer(const struct pen_backend_ops *ops,
                                                     struct pen_backend_domain *domain, uint64_t size, void *host)
{
    const struct pen_backend_memory_desc desc = {.kind = PEN_REGION_KIND_BUFFER, .size = size, .host = host};
    struct pen_backend_memory *memory = NULL;

    assert_int_equal(ops->memory_create(domain, &desc, &memory), 0);
    return memory;
}

static inline void put(const struct pen_backend_ops *ops, struct pen_backend_queue *queue,
                       struct pen_backend_memory *memory, uint64_t offset, const void *bytes, uint64_t size)
{
    const struct pen_backend_transfer transfer = {
        .memory = memory, .box.origin = {offset}, .extent = {size, 1, 1}, .bytes = (void *)(uintptr_t)bytes};

    assert_int_equal(ops->write(queue, &transfer, &no_order), 0);
    assert_int_equal(ops->queue_finish(queue), 0);
}

static inline void get(const struct pen_backend_ops *ops, struct pen_backend_queue *queue,
                       struct pen_backend_memory *memory, uint64_t offset, void *bytes, uint64_t size)
{
    const struct pen_backend_transfer transfer = {
        .memory = memory, .box.origin = {offset}, .extent = {size, 1, 1}, .bytes = bytes};

    assert_int_equal(ops->read(queue, &transfer, &no_order), 0);
    assert_int_equal(ops->queue_finish(queue), 0);
}

static inline struct pen_backend_program *make_source(const struct pen_backend_ops *ops,
                                                      struct pen_backend_domain *domain, const char *text)
{
    struct pen_backend_program *program = NULL;

    assert_int_equal(
        ops->program_create(domain, PEN_PROGRAM_KIND_SOURCE, (const uint32_t[]){0}, 1, text, strlen(text), &program),
        0);
    return program;
}

/* Builds for device 0; prints the log of a failure that was not expected. */
static inline struct pen_backend_program *make_program(const struct pen_backend_ops *ops,
                                                       struct pen_backend_domain *domain, const char *text)
{
    static const uint32_t devices[1];
    struct pen_backend_program *program = make_source(ops, domain, text);
    const struct pen_backend_build build = {
        .step = PEN_BUILD_STEP_BUILD, .program = program, .devices = devices, .device_count = 1};
    struct pen_build_result result = {0};
    char *log = NULL;

    int rc = ops->program_build(domain, &build, NULL, &result, &log);
    if (rc && log)
        print_message("%s\n", log);
    free(log);
    assert_int_equal(rc, 0);
    assert_int_equal(result.outcome, PEN_BUILD_OUTCOME_SUCCESS);
    return program;
}

static inline struct pen_backend_kernel *make_kernel(const struct pen_backend_ops *ops,
                                                     struct pen_backend_program *program, const char *name)
{
    struct pen_backend_kernel *kernel = NULL;

    assert_int_equal(ops->kernel_create(program, name, &kernel), 0);
    return kernel;
}

static inline int launch(const struct pen_backend_ops *ops, struct pen_backend_queue *queue,
                         struct pen_backend_kernel *kernel, uint64_t items, const struct pen_backend_order *order)
{
    const struct pen_backend_launch what = {.kernel = kernel, .dimensions = 1, .global = {items, 1, 1}};

    return ops->launch(queue, &what, order);
}

static inline struct pen_backend_queue *make_queue(const struct pen_backend_ops *ops, struct pen_backend_domain *domain,
                                                   uint32_t device, uint32_t flags)
{
    struct pen_backend_queue *queue = NULL;

    assert_int_equal(ops->queue_create(domain, device, &(struct pen_backend_queue_desc){.flags = flags}, &queue), 0);
    return queue;
}

#endif
