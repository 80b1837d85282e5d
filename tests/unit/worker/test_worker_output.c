/* What kernels print: in order, complete, and on the socket before the completion of what printed it; and the watch
 * that empties the pipe and sees who is gone. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"
#include "worker/watch.h"

enum { Q = 10, P = 20, PRINT = 30, NOP, E = 100 };

struct captured {
    struct rig rig;
    struct pen_capture capture;
    int stdout_fd; /* the test's own */
    struct pen_watch watch;
    bool watched;
    _Atomic int gone;
    char *text;
    size_t size;
    uint64_t frames;
};

static void note_gone(void *context)
{
    atomic_store(&((struct captured *)context)->gone, 1);
}

static void start(struct captured *c, int control_fd, bool watched)
{
    *c = (struct captured){0};
    fflush(stdout);
    c->stdout_fd = dup(STDOUT_FILENO);
    assert_int_equal(pen_capture_start(&c->capture), 0);
    rig_start(&c->rig, &(struct rig_options){.capture = &c->capture});
    c->watch = (struct pen_watch){
        .work = c->rig.work, .control_fd = control_fd, .return_fd = -1, .gone = note_gone, .context = c};
    c->watched = watched;
    if (watched)
        assert_int_equal(pen_watch_start(&c->watch), 0);
    /* The text holds printf, as that of a program that prints does. */
    rig_program(&c->rig, P, "# printf\nkernel print(value number)\nkernel nop()\n");
    assert_int_equal(rig_build(&c->rig, P, 1), 0);
    rig_kernel(&c->rig, PRINT, P, "print");
    rig_kernel(&c->rig, NOP, P, "nop");
    rig_queue(&c->rig, Q, 1, 0, 0);
}

static void stop(struct captured *c)
{
    if (c->watched)
        pen_watch_stop(&c->watch);
    rig_stop(&c->rig);
    fflush(stdout);
    dup2(c->stdout_fd, STDOUT_FILENO);
    close(c->stdout_fd);
    close(c->capture.read_fd);
    free(c->text);
}

/* Receives the output frames that the shared page counts. */
static void receive(struct captured *c)
{
    uint64_t until = atomic_load_explicit(&c->rig.view.shared->output_frames, memory_order_acquire);
    for (; c->frames < until; c->frames++) {
        struct pen_msg_output output;
        rig_answer(&c->rig, PEN_OP_OUTPUT);
        assert_int_equal(pen_msg_output_decode(c->rig.frame.data, c->rig.frame.size, &c->rig.scratch, &output), 0);
        c->text = realloc(c->text, c->size + output.text.size + 1);
        memcpy(c->text + c->size, output.text.data, output.text.size);
        c->size += output.text.size;
        c->text[c->size] = 0;
    }
}

static void expect_numbers(const struct captured *c, uint32_t count)
{
    const char *at = c->text ? c->text : "";
    for (uint32_t i = 0; i < count; i++) {
        char line[64];
        int length = snprintf(line, sizeof line, "fake prints %u\n", i);
        assert_memory_equal(at, line, (size_t)length);
        at += length;
    }
    assert_int_equal(*at, 0);
}

static void test_before_completion(void **state)
{
    (void)state;
    struct captured c;
    start(&c, -1, false); /* nobody else empties the pipe */
    for (uint32_t i = 0; i < 300; i++) {
        rig_set_word(&c.rig, PRINT, 0, i);
        uint64_t last = rig_launch(&c.rig, Q, PRINT, 1, E + i, i % 3 + 1, NULL, 0);
        if (i % 2)
            rig_wait_queue(&c.rig, 0, last);
        else
            assert_int_equal(rig_wait_slot(&c.rig, i % 3 + 1), 0);
        receive(&c);
        expect_numbers(&c, i + 1);
        RIG_SEND(&c.rig, event_destroy, .event = E + i);
    }
    stop(&c);
}

/* Far more than pipe and socket hold, from kernels whose completion nobody asks for, to a client that does not read. */
static void test_much_output(void **state)
{
    (void)state;
    struct captured c;
    const uint32_t count = 20000;
    start(&c, -1, true);
    assert_true(fcntl(c.capture.read_fd, F_SETPIPE_SZ, 4096) > 0);
    uint64_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        rig_set_word(&c.rig, PRINT, 0, i);
        last = rig_launch(&c.rig, Q, PRINT, 1, 0, 0, NULL, 0);
    }
    rig_wait_queue(&c.rig, 0, last);
    receive(&c);
    expect_numbers(&c, count);
    stop(&c);
}

static void wait_gone(struct captured *c)
{
    for (int i = 0; i < 5000 && !atomic_load(&c->gone); i++)
        usleep(1000);
    assert_true(atomic_load(&c->gone));
}

static void test_client_gone(void **state)
{
    (void)state;
    struct captured c;
    start(&c, -1, true);
    usleep(10000);
    assert_false(atomic_load(&c.gone));
    shutdown(c.rig.client_fd, SHUT_RDWR);
    wait_gone(&c);

    stop(&c);
}

/* An outbox and a socket that are full soon. */
static void make_narrow(struct captured *c)
{
    int bytes = 1;
    assert_int_equal(setsockopt(c->rig.worker_fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    pthread_mutex_lock(&c->rig.work->outbox.lock);
    c->rig.work->outbox.limit = 1000;
    pthread_mutex_unlock(&c->rig.work->outbox.lock);
}

/* As a kernel does, that nobody waits for; the pipe is far longer. */
static void print_lines(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        assert_true(dprintf(STDOUT_FILENO, "fake prints %u\n", i) > 0);
}

static void wait_full(struct captured *c)
{
    for (int i = 0; i < 5000 && !pen_outbox_full(&c->rig.work->outbox); i++)
        usleep(1000);
    assert_true(pen_outbox_full(&c->rig.work->outbox));
    usleep(20000);
}

static void test_full_and_gone(void **state)
{
    (void)state;
    struct captured c;
    start(&c, -1, true);
    make_narrow(&c);
    print_lines(20000);
    wait_full(&c);
    assert_false(atomic_load(&c.gone));
    shutdown(c.rig.client_fd, SHUT_RDWR);
    wait_gone(&c);
    stop(&c);
}

/* What prints on and on, into a link. */
struct printer {
    struct pen_outbox *outbox;
    _Atomic uint64_t frames;
    _Atomic int rc;
};

static void *print_on(void *context)
{
    struct printer *printer = context;
    static unsigned char text[PEN_LIMIT_OUTPUT];
    static _Alignas(8) unsigned char frame[PEN_LIMIT_OUTPUT + 64];
    const struct pen_msg_output output = {.text = {text, sizeof text}};
    pen_msg_output_encode(&output, 0, frame);
    while (!atomic_load(&printer->rc) && atomic_load(&printer->frames) < 2 * PEN_LINK_KEPT_MOST / PEN_LIMIT_OUTPUT) {
        atomic_store(&printer->rc, pen_outbox_send(printer->outbox, frame, pen_msg_output_size(&output)));
        atomic_fetch_add(&printer->frames, !atomic_load(&printer->rc));
    }
    return NULL;
}

static int take_any(void *context, const void *frame, size_t size)
{
    (void)frame, (void)size;
    ++*(uint64_t *)context;
    return 0;
}

/* To a program on another host that has no connection at the moment: whoever prints waits before much is kept, until
 * there is one, and all of it arrives, or the session is over. */
static void test_full_link(void **state)
{
    uint64_t none = 0, come = 0;
    const struct pen_link_owner from = {.frame = take_any, .context = &none},
                                to = {.frame = take_any, .context = &come};
    struct pen_stream *one, *other;
    struct pen_link *sending, *receiving;
    struct pen_outbox outbox;
    struct printer printer = {.outbox = &outbox};
    pthread_t thread;
    int fds[2];
    (void)state;
    assert_int_equal(pen_outbox_init(&outbox, -1), 0);
    assert_int_equal(pen_link_create(&from, &sending), 0);
    assert_int_equal(pen_link_create(&to, &receiving), 0);
    outbox.link = sending;
    assert_false(pen_outbox_full(&outbox));
    assert_int_equal(pthread_create(&thread, NULL, print_on, &printer), 0);
    for (int i = 0; i < 5000 && !pen_outbox_full(&outbox); i++)
        usleep(1000);
    assert_true(pen_outbox_full(&outbox));
    usleep(300000);
    assert_int_equal(atomic_load(&printer.rc), 0);
    assert_true(pen_link_unacknowledged(sending) < PEN_LINK_KEPT_BYTES + (1u << 20));

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(pen_stream_plain(fds[0], &one), 0);
    assert_int_equal(pen_stream_plain(fds[1], &other), 0);
    assert_int_equal(pen_link_attach(sending, one, 0), 0);
    assert_int_equal(pen_link_attach(receiving, other, 0), 0);
    while (come < PEN_LINK_KEPT_MOST * 5 / 4 / PEN_LIMIT_OUTPUT) {
        assert_int_equal(pen_link_turn(sending), 0);
        assert_int_equal(pen_link_turn(receiving), 0);
    }
    assert_int_equal(atomic_load(&printer.rc), 0);
    pen_link_detach(sending);
    for (int i = 0; i < 5000 && !pen_outbox_full(&outbox); i++)
        usleep(1000);
    pen_outbox_break(&outbox);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&printer.rc), -PEN_EGONE);
    pen_link_destroy(sending);
    pen_link_destroy(receiving);
    pen_outbox_finish(&outbox);
}

/* A driver's thread that collects waits for room. */
static void test_full_collecting_and_gone(void **state)
{
    (void)state;
    struct captured c;
    start(&c, -1, true);
    make_narrow(&c);
    pthread_mutex_lock(&c.capture.lock);
    print_lines(100);
    usleep(20000);
    shutdown(c.rig.client_fd, SHUT_RDWR);
    wait_gone(&c);
    pthread_mutex_unlock(&c.capture.lock);
    stop(&c);
}

/* Kernels' threads, dispatch and watch all have something to send. */
static void test_full_and_resumed(void **state)
{
    (void)state;
    struct captured c;
    const uint32_t printed = 20000, count = 400; /* what the ring holds */
    start(&c, -1, true);
    make_narrow(&c);
    print_lines(printed);
    wait_full(&c);
    uint64_t last = 0;
    for (uint32_t i = 0; i < count; i++) {
        rig_set_word(&c.rig, PRINT, 0, printed + i);
        last = rig_launch(&c.rig, Q, PRINT, 1, E + i, i + 1, NULL, 0);
    }
    usleep(20000);
    for (int i = 0; i < 10000 && atomic_load(&c.rig.view.queues[0].completed) < last; i++) {
        receive(&c);
        usleep(1000);
    }
    rig_wait_queue(&c.rig, 0, last);
    receive(&c);
    expect_numbers(&c, printed + count);
    assert_false(atomic_load(&c.gone));
    stop(&c);
}

/* Who prints through stdio has its lock while it waits for the pipe to be emptied. */
static void test_stdio_in_use(void **state)
{
    (void)state;
    struct captured c;
    start(&c, -1, true);
    flockfile(stdout);
    print_lines(10);
    for (int i = 0; i < 5000 && c.size < 10 * strlen("fake prints 0\n"); i++) {
        receive(&c);
        usleep(1000);
    }
    funlockfile(stdout);
    expect_numbers(&c, 10);
    stop(&c);
}

static void test_daemon_gone(void **state)
{
    (void)state;
    struct captured c;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    start(&c, ends[0], true);
    usleep(10000);
    assert_false(atomic_load(&c.gone));
    close(ends[1]);
    wait_gone(&c);
    stop(&c);
    close(ends[0]);
}

static int greet(void *context, int control_fd)
{
    (void)context;
    return write(control_fd, "ready", 5) == 5 ? 0 : -1;
}

/* A daemon that comes at the session's end is told of it: whether the program or dispatch ended it. */
static void test_daemon_at_the_end(void **state)
{
    (void)state;
    for (int leaves = 0; leaves < 2; leaves++) {
        struct captured c;
        struct pen_error error;
        char folder[] = "/tmp/penstock-output-XXXXXX", path[64], word[5];
        int ends[2], listener, daemon;
        assert_non_null(mkdtemp(folder));
        snprintf(path, sizeof path, "%s/session", folder);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        start(&c, ends[0], false);
        assert_int_equal(pen_unix_listen(path, PEN_UNIX_NO_GROUP, &listener, &error), 0);
        assert_int_equal(pen_unix_connect(path, pen_deadline_ms(1000), &daemon, &error), 0);
        c.watch.return_fd = listener;
        c.watch.greet = greet;
        if (leaves)
            shutdown(c.rig.client_fd, SHUT_RDWR);
        assert_int_equal(pen_watch_start(&c.watch), 0);
        while (leaves && !atomic_load(&c.gone))
            usleep(1000);
        pen_watch_stop(&c.watch);
        assert_int_equal(recv(daemon, word, sizeof word, MSG_DONTWAIT), 5);
        stop(&c);
        assert_int_equal(close(daemon) || close(listener) || close(ends[0]) || close(ends[1]), 0);
        assert_int_equal(unlink(path) || rmdir(folder), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_completion), cmocka_unit_test(test_much_output),
        cmocka_unit_test(test_client_gone),       cmocka_unit_test(test_full_and_gone),
        cmocka_unit_test(test_full_link),         cmocka_unit_test(test_full_collecting_and_gone),
        cmocka_unit_test(test_full_and_resumed),  cmocka_unit_test(test_stdio_in_use),
        cmocka_unit_test(test_daemon_gone),       cmocka_unit_test(test_daemon_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
