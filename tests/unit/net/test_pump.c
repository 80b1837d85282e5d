/* Who turns a link: a helper when one waits, else the link's own thread; nobody's wish is lost. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/pump.h"
#include "net/unix.h"
#include "wire/futex.h"

#define LONG_NS UINT64_C(20000000000)

/* A link with a thread of its own, and the peer's end of its connection. */
struct rig {
    struct pen_link *link;
    struct pen_pump pump;
    pthread_t own;
    _Atomic bool stop;
    _Atomic uint32_t frames; /* that have come */
    _Atomic uint32_t by_own; /* of those, that the own thread has received */
    _Atomic int ended;       /* what the own thread was told of */
    int peer;
};

static _Thread_local bool is_own;

static int take_frame(void *context, const void *frame, size_t size)
{
    struct rig *rig = context;
    (void)frame, (void)size;
    if (is_own)
        atomic_fetch_add(&rig->by_own, 1);
    atomic_fetch_add(&rig->frames, 1);
    return 0;
}

static void *run(void *context)
{
    struct rig *rig = context;
    is_own = true;
    while (!atomic_load(&rig->stop)) {
        int rc = pen_pump_run(&rig->pump, UINT64_MAX);
        if (!rc)
            continue;
        atomic_store(&rig->ended, rc);
        pen_pump_give(&rig->pump, false);
        break;
    }
    return NULL;
}

static void rig_start(struct rig *rig)
{
    const struct pen_link_owner owner = {.frame = take_frame, .context = rig};
    struct pen_stream *stream;
    int fds[2];
    *rig = (struct rig){0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(pen_stream_plain(fds[0], &stream), 0);
    rig->peer = fds[1];
    assert_int_equal(pen_link_create(&owner, &rig->link), 0);
    assert_int_equal(pen_link_attach(rig->link, stream, 0), 0);
    pen_pump_init(&rig->pump, rig->link);
    assert_int_equal(pthread_create(&rig->own, NULL, run, rig), 0);
}

static void rig_finish(struct rig *rig)
{
    atomic_store(&rig->stop, true);
    pen_pump_rouse(&rig->pump);
    pthread_join(rig->own, NULL);
    pen_link_destroy(rig->link);
    close(rig->peer);
}

static void say(struct rig *rig)
{
    _Alignas(8) unsigned char frame[64];
    const struct pen_msg_link_queue queue = {.completed = 1};
    pen_msg_link_queue_encode(&queue, 0, frame);
    assert_int_equal(pen_unix_send(rig->peer, frame, pen_msg_link_queue_size(&queue), NULL, 0, pen_deadline_ms(20000)),
                     0);
}

static void await(_Atomic uint32_t *value, uint32_t least)
{
    uint64_t limit = pen_now_ns() + LONG_NS;
    while (atomic_load(value) < least) {
        assert_true(pen_now_ns() < limit);
        usleep(100);
    }
}

/* As a thread that waits does: until that many frames have come, or it is to leave. */
static bool help(struct rig *rig, uint32_t least)
{
    bool going = true;
    while (!pen_pump_take(&rig->pump))
        usleep(100);
    while (going && atomic_load(&rig->frames) < least) {
        pen_link_wait(rig->link, 1000000);
        going = pen_pump_turn(&rig->pump);
    }
    pen_pump_give(&rig->pump, false);
    return going;
}

static void own_thread_when_nobody_waits(void **unused)
{
    struct rig rig;
    (void)unused;
    rig_start(&rig);
    for (uint32_t i = 1; i <= 20; i++) {
        say(&rig);
        await(&rig.by_own, i);
    }
    rig_finish(&rig);
}

static void a_helper_receives_itself(void **unused)
{
    struct rig rig;
    (void)unused;
    rig_start(&rig);
    while (!pen_pump_take(&rig.pump))
        usleep(100);
    for (uint32_t i = 1; i <= 20; i++) {
        say(&rig);
        while (atomic_load(&rig.frames) < i) {
            pen_link_wait(rig.link, LONG_NS);
            assert_true(pen_pump_turn(&rig.pump));
        }
    }
    assert_int_equal(atomic_load(&rig.by_own), 0);
    usleep(20000); /* the own thread sleeps for good by now, most likely */
    pen_pump_give(&rig.pump, false);
    say(&rig);
    await(&rig.by_own, 1);
    rig_finish(&rig);
}

/* Helpers that come and go, while frames keep coming and the own thread demands the pump: none is lost. */
static void *demand_often(void *context)
{
    struct rig *rig = context;
    for (int i = 0; i < 200; i++) {
        pen_pump_rouse(&rig->pump);
        usleep(200);
    }
    return NULL;
}

static void comes_and_goes(void **unused)
{
    struct rig rig;
    pthread_t rouser;
    (void)unused;
    rig_start(&rig);
    assert_int_equal(pthread_create(&rouser, NULL, demand_often, &rig), 0);
    for (uint32_t i = 1; i <= 2000; i++) {
        say(&rig);
        if (i % 3)
            while (!help(&rig, i))
                ;
        else
            await(&rig.frames, i);
    }
    pthread_join(rouser, NULL);
    rig_finish(&rig);
}

/* What a helper finds broken, the own thread is told of. */
static void a_helper_finds_it_broken(void **unused)
{
    struct rig rig;
    uint64_t limit = pen_now_ns() + LONG_NS;
    (void)unused;
    rig_start(&rig);
    while (!pen_pump_take(&rig.pump))
        usleep(100);
    shutdown(rig.peer, SHUT_RDWR);
    while (pen_pump_turn(&rig.pump))
        pen_link_wait(rig.link, 1000000);
    pen_pump_give(&rig.pump, false);
    while (!atomic_load(&rig.ended)) {
        assert_true(pen_now_ns() < limit);
        usleep(100);
    }
    assert_int_equal(atomic_load(&rig.ended), -PEN_EGONE);
    rig_finish(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(own_thread_when_nobody_waits),
                                       cmocka_unit_test(a_helper_receives_itself), cmocka_unit_test(comes_and_goes),
                                       cmocka_unit_test(a_helper_finds_it_broken)};
    return cmocka_run_group_tests_name("net-pump", tests, NULL, NULL);
}
