/* The program's end of a session on another host, whose worker is played by a thread of ours: what comes when nobody
 * reads, what comes too early, and an end in the middle of a try to connect again. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/internal.h"
#include "client/remote.h"
#include "net/tcp.h"

#define OUTPUTS     100000u
#define SLOT        5u
#define QUEUE       7u
#define PATIENCE_NS UINT64_C(20000000000)
#define NEVER       (UINT64_C(1) << 63)

struct far {
    struct pen_shared_view view;
    void *arena;
    struct pen_remote_end *end;
    int socket;                                     /* the program's */
    int worker;                                     /* the worker's end of the connection */
    _Alignas(8) unsigned char out[PEN_LIMIT_FRAME]; /* what it is about to say */
    size_t out_bytes;
};

static void open_far_at(struct far *far, const char *host, uint64_t reconnect_ns)
{
    struct pen_error error = {0};
    int pair[2], page, arena;
    assert_int_equal(pen_shared_create(PEN_RING_BYTES, &page, &far->view, &error), 0);
    assert_int_equal(pen_arena_create(PEN_ARENA_BYTES_MIN, &arena, &error), 0);
    assert_int_equal(pen_arena_map(arena, PEN_ARENA_BYTES_MIN, &far->arena, &error), 0);
    close(page);
    close(arena);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct pen_remote_config config = {.session = 1,
                                       .worker_pid = 1,
                                       .reconnect_ns = reconnect_ns,
                                       .view = &far->view,
                                       .arena = far->arena,
                                       .arena_bytes = PEN_ARENA_BYTES_MIN};
    strcpy(config.address.host, host);
    config.address.plain = true;
    assert_int_equal(pen_stream_plain(pair[0], &config.stream), 0);
    far->out_bytes = 0;
    far->worker = pair[1];
    assert_int_equal(pen_remote_end_start(&config, &far->socket, &far->end, &error), 0);
}

/* Nobody listens where it could be connected to again. */
static void open_far(struct far *far)
{
    open_far_at(far, "127.0.0.1:1", 1);
}

static void close_far(struct far *far)
{
    close(far->worker);
    close(far->socket);
    pen_remote_end_stop(far->end);
    pen_arena_unmap(far->arena, PEN_ARENA_BYTES_MIN);
    pen_shared_unmap(&far->view);
}

/* What the program sends is thrown away. */
static void say_all(struct far *far)
{
    char ignored[4096];
    for (size_t sent = 0; sent < far->out_bytes;) {
        struct pollfd poller = {.fd = far->worker, .events = POLLIN | POLLOUT};
        assert_true(poll(&poller, 1, -1) == 1);
        if (poller.revents & POLLIN)
            (void)!recv(far->worker, ignored, sizeof ignored, 0);
        ssize_t rc = send(far->worker, far->out + sent, far->out_bytes - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (rc < 0 && errno != EAGAIN)
            break; /* the session is over */
        sent += rc > 0 ? (size_t)rc : 0;
    }
    far->out_bytes = 0;
}

#define SAY(far_, name_, ...)                                                                                          \
    do {                                                                                                               \
        const struct pen_msg_##name_ message_ = {__VA_ARGS__};                                                         \
        size_t size_ = pen_msg_##name_##_size(&message_);                                                              \
        if (size_ > sizeof(far_)->out - (far_)->out_bytes)                                                             \
            say_all(far_);                                                                                             \
        pen_msg_##name_##_encode(&message_, 0, (far_)->out + (far_)->out_bytes);                                       \
        (far_)->out_bytes += size_;                                                                                    \
    } while (0)

static void *print_much(void *context)
{
    struct far *far = context;
    for (uint32_t i = 0; i < OUTPUTS; i++)
        SAY(far, output, .text = {"text", 4});
    SAY(far, link_event, .slot = SLOT, .state = PEN_STATE_COMPLETE);
    say_all(far);
    return NULL;
}

/* How many frames of output there are to be read. */
static uint32_t read_all(const struct far *far)
{
    static _Alignas(8) unsigned char frame[PEN_LIMIT_FRAME];
    uint32_t count = 0;
    for (ssize_t got; (got = recv(far->socket, frame, sizeof frame, MSG_DONTWAIT)) > 0; count++) {
        const struct pen_frame_header *header = (const void *)frame;
        assert_int_equal(header->size, got);
        assert_int_equal(header->opcode, PEN_OP_OUTPUT);
    }
    return count;
}

/* The thread that waits receives, too, and must not wait for itself to read. */
static void test_a_burst_of_output(void **state)
{
    struct far far;
    pthread_t thread;
    uint32_t seen = 0;
    (void)state;
    open_far(&far);
    struct pen_shared *shared = far.view.shared;
    atomic_store(&far.view.slots[SLOT].state, PEN_STATE_QUEUED);
    atomic_store(&shared->waiters, 1);
    assert_int_equal(pthread_create(&thread, NULL, print_much, &far), 0);
    uint64_t until = pen_now_ns() + PATIENCE_NS;
    while (atomic_load(&far.view.slots[SLOT].state) != PEN_STATE_COMPLETE && pen_now_ns() < until) {
        uint32_t epoch = atomic_load(&shared->epoch);
        (void)pen_remote_end_help(far.end, &shared->epoch, epoch, &shared->waiters, PEN_PEER_CHECK_NS);
        seen += read_all(&far);
    }
    seen += read_all(&far);
    assert_int_equal(atomic_load(&far.view.slots[SLOT].state), PEN_STATE_COMPLETE);
    assert_int_equal(seen, OUTPUTS);
    assert_int_equal(atomic_load(&shared->output_frames), OUTPUTS);
    pthread_join(thread, NULL);
    close_far(&far);
}

/* Nor is it looked again and again whether he reads who does not. */
static void test_nobody_reads(void **state)
{
    struct far far;
    pthread_t thread;
    struct timespec before, after;
    (void)state;
    open_far(&far);
    assert_int_equal(pthread_create(&thread, NULL, print_much, &far), 0);
    uint64_t until = pen_now_ns() + PATIENCE_NS;
    while (!pen_remote_end_is_full(far.end) && pen_now_ns() < until)
        usleep(1000);
    assert_true(pen_remote_end_is_full(far.end));
    usleep(100000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    usleep(500000);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    int64_t us = (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
    assert_in_range(us, 0, 2000);
    shutdown(far.worker, SHUT_RDWR);
    pthread_join(thread, NULL);
    close_far(&far);
}

static void *complete_early(void *context)
{
    struct far *far = context;
    for (uint32_t i = 0; i < 2 * PEN_LIMIT_SLOTS + 1; i++)
        SAY(far, link_event, .slot = 1 + i % (PEN_LIMIT_SLOTS - 1), .state = PEN_STATE_COMPLETE, .after = NEVER);
    say_all(far);
    return NULL;
}

/* A worker that never sends the reads that all of its completions wait for. */
static void test_completions_that_never_count(void **state)
{
    struct far far;
    pthread_t thread;
    (void)state;
    open_far(&far);
    assert_int_equal(pthread_create(&thread, NULL, complete_early, &far), 0);
    struct pollfd poller = {.fd = far.socket, .events = POLLIN};
    assert_int_equal(poll(&poller, 1, (int)(PATIENCE_NS / 1000000)), 1);
    assert_true(poller.revents & POLLHUP);
    uint64_t until = pen_now_ns() + PATIENCE_NS;
    while (!atomic_load(&far.view.shared->gone) && pen_now_ns() < until)
        usleep(1000);
    assert_int_equal(atomic_load(&far.view.shared->gone), 1);
    pthread_join(thread, NULL);
    close_far(&far);
}

static void *count_early(void *context)
{
    struct far *far = context;
    const uint64_t bytes = 0;
    for (uint64_t i = 1; i <= 3 * PEN_LIMIT_SLOTS; i++)
        SAY(far, link_queue, .slot = QUEUE + i % 2, .completed = i, .after = 1);
    say_all(far);
    SAY(far, link_part, .bytes = sizeof bytes, .number = 1);
    memcpy(far->out + far->out_bytes, &bytes, sizeof bytes);
    far->out_bytes += sizeof bytes;
    say_all(far);
    return NULL;
}

/* Of a queue's counters that wait for the same reads the last is enough, whatever other queues say between them. */
static void test_a_counter_that_waits(void **state)
{
    struct far far;
    pthread_t thread;
    (void)state;
    open_far(&far);
    assert_int_equal(pthread_create(&thread, NULL, count_early, &far), 0);
    uint64_t until = pen_now_ns() + PATIENCE_NS;
    while (!atomic_load(&far.view.queues[QUEUE].completed) && pen_now_ns() < until)
        usleep(1000);
    assert_int_equal(atomic_load(&far.view.queues[QUEUE].completed), 3 * PEN_LIMIT_SLOTS);
    assert_int_equal(atomic_load(&far.view.queues[QUEUE + 1].completed), 3 * PEN_LIMIT_SLOTS - 1);
    pthread_join(thread, NULL);
    close_far(&far);
}

/* Who ends a session is not held up by a pool that says nothing. */
static void test_the_end_waits_for_no_try(void **state)
{
    struct far far;
    struct pen_error error;
    struct pollfd poller = {.events = POLLIN};
    char host[64];
    (void)state;
    assert_int_equal(pen_tcp_listen("127.0.0.1:0", false, &poller.fd, &error), 0);
    pen_tcp_local(poller.fd, host, sizeof host);
    open_far_at(&far, host, PATIENCE_NS);
    shutdown(far.worker, SHUT_RDWR);
    assert_int_equal(poll(&poller, 1, (int)(PATIENCE_NS / 1000000)), 1);
    uint64_t begin = pen_now_ns();
    close_far(&far);
    assert_in_range(pen_now_ns() - begin, 0, UINT64_C(1000000000));
    close(poller.fd); /* and the try ends */
    usleep(100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_burst_of_output),
        cmocka_unit_test(test_nobody_reads),
        cmocka_unit_test(test_completions_that_never_count),
        cmocka_unit_test(test_a_counter_that_waits),
        cmocka_unit_test(test_the_end_waits_for_no_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
