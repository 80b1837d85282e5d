/* What a connection that cannot be made says of whoever should be there; which of a name's addresses is taken, and
 * when.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/stream.h"
#include "net/tcp.h"
#include "net/unix.h"
#include "wire/futex.h"

#define PATIENCE_MS 5000

static int connect_to(const char *address, struct pen_error *error)
{
    int fd, rc = pen_tcp_connect(address, true, NULL, pen_deadline_ms(PATIENCE_MS), &fd, error);
    if (!rc)
        close(fd);
    return rc;
}

static void test_nobody_listens(void **state)
{
    struct pen_error error;
    char address[64];
    int listener;
    (void)state;
    assert_int_equal(pen_tcp_listen("127.0.0.1:0", false, &listener, &error), 0);
    pen_tcp_local(listener, address, sizeof address);
    assert_int_equal(connect_to(address, &error), 0);
    close(listener);
    assert_int_equal(connect_to(address, &error), -PEN_ENOENT);
    assert_non_null(strstr(error.message, "refused"));
}

/* That says nothing of whoever listens. */
static void test_no_such_name(void **state)
{
    struct pen_error error;
    (void)state;
    assert_int_equal(connect_to("nowhere.invalid:1", &error), -PEN_EIO);
    assert_non_null(strstr(error.message, "looking up"));
}

/* Not the port that is left of it when it is cut off at 16 bits. */
static void test_no_address(void **state)
{
    static const char *const bad[] = {
        "127.0.0.1:65536", "127.0.0.1:nowhere", "127.0.0.1:-1", "127.0.0.1:", ":1", "[]:1", "127.0.0.1"};
    struct pen_error error;
    int listener;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(connect_to(bad[i], &error), -PEN_EINVAL);
        assert_int_equal(pen_tcp_check(bad[i], &error), -PEN_EINVAL);
        assert_int_equal(pen_tcp_listen(bad[i], true, &listener, &error), -PEN_EINVAL);
        assert_non_null(strstr(error.message, "is no address"));
        assert_non_null(strstr(error.message, "65535"));
    }
    assert_int_equal(pen_tcp_check("[::1]:65535", &error), 0);
}

/* Nor does that, but of ourselves. */
static void test_no_descriptor(void **state)
{
    struct rlimit before, none;
    struct pen_error error;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = connect_to("127.0.0.1:1", &error);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(rc, -PEN_ENOMEM);
    assert_non_null(strstr(error.message, "open files"));
}

/* ---- a name with several addresses ------------------------------------------------------------------- */

#define NAME      "pool.example"
#define ADDRESSES 10u
#define MS        UINT64_C(1000000)
/* Between two addresses; and far less than the half of PATIENCE_MS. */
#define NEXT_MS 250
#define SOON_MS 1500

/* What the resolver says of NAME. */
static struct addrinfo answer[ADDRESSES];
static struct sockaddr_storage places[ADDRESSES];

static void *next_symbol(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (!node || strcmp(node, NAME) != 0)
        return ((resolver)next_symbol("getaddrinfo"))(node, service, hints, out);
    *out = answer;
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    typedef void (*releaser)(struct addrinfo *);
    if (list != answer)
        ((releaser)next_symbol("freeaddrinfo"))(list);
}

/* NAME has the addresses of these listeners, in that order. */
static void name_them(const int *listeners, size_t count)
{
    memset(answer, 0, sizeof answer);
    for (size_t i = 0; i < count; i++) {
        struct sockaddr *place = (struct sockaddr *)&places[i];
        socklen_t size = sizeof places[i];
        assert_int_equal(getsockname(listeners[i], place, &size), 0);
        answer[i] = (struct addrinfo){.ai_family = place->sa_family,
                                      .ai_addr = place,
                                      .ai_addrlen = size,
                                      .ai_next = i + 1 < count ? &answer[i + 1] : NULL};
    }
}

static int listen_at(const char *address)
{
    struct pen_error error;
    int fd;
    assert_int_equal(pen_tcp_listen(address, false, &fd, &error), 0);
    return fd;
}

/* Says nothing to who connects: its queue is full. */
struct deaf {
    int listener, callers[8];
    size_t count;
};

static void make_deaf(struct deaf *deaf, const char *host)
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(host)};
    struct pollfd caller = {.fd = -1, .events = POLLOUT};
    socklen_t size = sizeof place;
    *deaf = (struct deaf){.listener = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(bind(deaf->listener, (struct sockaddr *)&place, size), 0);
    assert_int_equal(listen(deaf->listener, 0), 0);
    assert_int_equal(getsockname(deaf->listener, (struct sockaddr *)&place, &size), 0);
    do {
        assert_true(deaf->count < sizeof deaf->callers / sizeof *deaf->callers);
        caller.fd = deaf->callers[deaf->count++] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(caller.fd, (struct sockaddr *)&place, size);
    } while (poll(&caller, 1, 100) > 0);
}

static void close_deaf(struct deaf *deaf)
{
    for (size_t i = 0; i < deaf->count; i++)
        close(deaf->callers[i]);
    close(deaf->listener);
}

/* Where the connection to NAME leads that was made, and how long that took. */
static struct pen_tcp_place connect_within(uint64_t patience_ms, const struct pen_tcp_place *first, uint64_t *out_ms)
{
    struct pen_error error = {0};
    uint64_t begin = pen_now_ns();
    int fd, rc = pen_tcp_connect(NAME ":1", true, first, pen_deadline_ms(patience_ms), &fd, &error);
    *out_ms = (pen_now_ns() - begin) / MS;
    if (rc)
        fail_msg("%s", error.message);
    struct pen_tcp_place place = pen_tcp_place_of(fd);
    close(fd);
    return place;
}

static struct pen_tcp_place connect_by_name(const struct pen_tcp_place *first, uint64_t *out_ms)
{
    return connect_within(PATIENCE_MS, first, out_ms);
}

static bool leads_to(const struct pen_tcp_place *place, int listener)
{
    struct sockaddr_storage at = {0};
    socklen_t size = sizeof at;
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &size), 0);
    return place->size == size && !memcmp(&place->address, &at, size);
}

static void test_a_dead_address_costs_little(void **state)
{
    struct deaf deaf;
    uint64_t ms;
    (void)state;
    make_deaf(&deaf, "127.0.0.2");
    int good = listen_at("127.0.0.1:0");
    name_them((int[]){deaf.listener, good}, 2);
    struct pen_tcp_place place = connect_by_name(NULL, &ms);
    assert_true(leads_to(&place, good));
    assert_in_range(ms, NEXT_MS, SOON_MS);
    close(good);
    close_deaf(&deaf);
}

/* One that refuses does not even cost that: the shortest of some, since the machine may do something else. */
static void test_an_address_that_refuses_costs_nothing(void **state)
{
    uint64_t ms, shortest = UINT64_MAX;
    (void)state;
    int gone = listen_at("127.0.0.2:0"), good = listen_at("127.0.0.1:0");
    name_them((int[]){gone, good}, 2);
    close(gone);
    for (int i = 0; i < 9 && shortest >= NEXT_MS; i++) {
        struct pen_tcp_place place = connect_by_name(NULL, &ms);
        assert_true(leads_to(&place, good));
        shortest = ms < shortest ? ms : shortest;
    }
    assert_true(shortest < NEXT_MS);
    close(good);
}

/* Nor where one before it still says nothing: that costs its quarter of a second, and no other. */
static void test_one_that_refuses_beside_a_dead_one(void **state)
{
    struct deaf deaf;
    uint64_t ms, shortest = UINT64_MAX;
    (void)state;
    make_deaf(&deaf, "127.0.0.2");
    int gone = listen_at("127.0.0.3:0"), good = listen_at("127.0.0.1:0");
    name_them((int[]){deaf.listener, gone, good}, 3);
    close(gone);
    for (int i = 0; i < 9 && shortest >= 2 * NEXT_MS; i++) {
        struct pen_tcp_place place = connect_by_name(NULL, &ms);
        assert_true(leads_to(&place, good));
        shortest = ms < shortest ? ms : shortest;
    }
    assert_in_range(shortest, NEXT_MS, 2 * NEXT_MS - 1);
    close(good);
    close_deaf(&deaf);
}

/* With a quarter of a second for each the last one's turn would be when the time is over. */
static void test_many_dead_addresses(void **state)
{
    int listeners[ADDRESSES];
    struct deaf deaf;
    uint64_t ms;
    (void)state;
    make_deaf(&deaf, "127.0.0.2");
    for (size_t i = 0; i + 1 < ADDRESSES; i++)
        listeners[i] = deaf.listener;
    int good = listeners[ADDRESSES - 1] = listen_at("127.0.0.1:0");
    name_them(listeners, ADDRESSES);
    struct pen_tcp_place place = connect_within(NEXT_MS * (ADDRESSES - 2), NULL, &ms);
    assert_true(leads_to(&place, good));
    close(good);
    close_deaf(&deaf);
}

static void test_the_address_that_answered_is_first(void **state)
{
    struct deaf deaf;
    uint64_t ms, shortest = UINT64_MAX;
    (void)state;
    make_deaf(&deaf, "127.0.0.2");
    int good = listen_at("127.0.0.1:0"), elsewhere = listen_at("127.0.0.3:0");
    name_them((int[]){deaf.listener, good}, 2);
    struct pen_tcp_place place = connect_by_name(NULL, &ms);
    for (int i = 0; i < 9 && shortest >= NEXT_MS; i++) {
        struct pen_tcp_place again = connect_by_name(&place, &ms);
        assert_true(leads_to(&again, good));
        shortest = ms < shortest ? ms : shortest;
    }
    assert_true(shortest < NEXT_MS);
    /* The name has others by now. */
    name_them((int[]){elsewhere}, 1);
    place = connect_by_name(&place, &ms);
    assert_true(leads_to(&place, elsewhere));
    close(elsewhere);
    close(good);
    close_deaf(&deaf);
}

static void *hear_later(void *context)
{
    const struct deaf *deaf = context;
    (void)poll(NULL, 0, 2 * NEXT_MS);
    for (size_t i = 0; i < deaf->count; i++) {
        int fd = accept(deaf->listener, NULL, NULL);
        if (fd >= 0)
            close(fd);
    }
    return NULL;
}

/* While the next is tried, so is the one before: it answers when its queue has room. */
static void test_a_slow_address_is_not_given_up(void **state)
{
    struct deaf slow, deaf;
    pthread_t thread;
    uint64_t ms;
    (void)state;
    make_deaf(&slow, "127.0.0.2");
    make_deaf(&deaf, "127.0.0.3");
    name_them((int[]){slow.listener, deaf.listener}, 2);
    assert_int_equal(pthread_create(&thread, NULL, hear_later, &slow), 0);
    struct pen_tcp_place place = connect_by_name(NULL, &ms);
    assert_true(leads_to(&place, slow.listener));
    shutdown(slow.listener, SHUT_RDWR); /* the thread waits for no more */
    pthread_join(thread, NULL);
    close_deaf(&slow);
    close_deaf(&deaf);
}

/* After one family's first address comes the other's. */
static void test_families_take_turns(void **state)
{
    struct deaf deaf;
    struct pen_error error;
    uint64_t ms;
    int six;
    (void)state;
    if (pen_tcp_listen("[::1]:0", false, &six, &error))
        skip();
    make_deaf(&deaf, "127.0.0.2");
    int four = listen_at("127.0.0.1:0");
    name_them((int[]){deaf.listener, four, six}, 3);
    struct pen_tcp_place place = connect_by_name(NULL, &ms);
    assert_true(leads_to(&place, six));
    close(four);
    close(six);
    close_deaf(&deaf);
}

/* Of the reasons the heaviest is told: somebody may be where nothing is said. */
static void test_what_all_addresses_say(void **state)
{
    struct pen_error error;
    struct deaf deaf;
    int fd;
    (void)state;
    make_deaf(&deaf, "127.0.0.2");
    int gone = listen_at("127.0.0.1:0"), also_gone = listen_at("127.0.0.3:0");
    name_them((int[]){gone, also_gone}, 2);
    close(also_gone);
    close(gone);
    assert_int_equal(pen_tcp_connect(NAME ":1", true, NULL, pen_deadline_ms(PATIENCE_MS), &fd, &error), -PEN_ENOENT);
    answer[1].ai_next = &answer[2];
    answer[2] = answer[1];
    answer[2].ai_next = NULL;
    socklen_t size = sizeof places[2];
    assert_int_equal(getsockname(deaf.listener, (struct sockaddr *)&places[2], &size), 0);
    answer[2].ai_addr = (struct sockaddr *)&places[2];
    assert_int_equal(pen_tcp_connect(NAME ":1", true, NULL, pen_deadline_ms(NEXT_MS), &fd, &error), -PEN_ETIMEOUT);
    close_deaf(&deaf);
}

/* Without protection, all of a name's addresses have to be this host's. */
static void test_without_protection(void **state)
{
    struct pen_error error;
    int fd;
    (void)state;
    int good = listen_at("127.0.0.1:0");
    name_them((int[]){good, good}, 2);
    assert_int_equal(pen_tcp_connect(NAME ":1", false, NULL, pen_deadline_ms(PATIENCE_MS), &fd, &error), 0);
    close(fd);
    ((struct sockaddr_in *)(void *)&places[1])->sin_addr.s_addr = inet_addr("192.0.2.1");
    assert_int_equal(pen_tcp_connect(NAME ":1", false, NULL, pen_deadline_ms(PATIENCE_MS), &fd, &error), -PEN_EPERM);
    close(good);
}

/* Where somebody else was found the name's others are asked. */
static void test_without_some(void **state)
{
    struct pen_error error;
    struct pen_tcp_place without[2];
    int fd;
    (void)state;
    int one = listen_at("127.0.0.1:0"), other = listen_at("127.0.0.2:0");
    name_them((int[]){one, other}, 2);
    uint64_t deadline_ns = pen_deadline_ms(PATIENCE_MS);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pen_tcp_connect_but(NAME ":1", true, NULL, without, i, deadline_ns, &fd, &error), 0);
        without[i] = pen_tcp_place_of(fd);
        assert_true(leads_to(&without[i], i ? other : one));
        close(fd);
    }
    assert_int_equal(pen_tcp_connect_but(NAME ":1", true, NULL, without, 2, deadline_ns, &fd, &error), -PEN_ENOENT);
    close(one);
    close(other);
}

static void test_once_more_to_the_same(void **state)
{
    struct pen_error error;
    int fd, again;
    (void)state;
    int good = listen_at("127.0.0.1:0"), other = listen_at("127.0.0.2:0");
    name_them((int[]){good}, 1);
    assert_int_equal(pen_tcp_connect(NAME ":1", true, NULL, pen_deadline_ms(PATIENCE_MS), &fd, &error), 0);
    name_them((int[]){other}, 1);
    assert_int_equal(pen_tcp_connect_again(fd, NAME ":1", pen_deadline_ms(PATIENCE_MS), &again, &error), 0);
    struct pen_tcp_place place = pen_tcp_place_of(again);
    assert_true(leads_to(&place, good));
    close(again);
    close(good);
    assert_int_equal(pen_tcp_connect_again(fd, NAME ":1", pen_deadline_ms(PATIENCE_MS), &again, &error), -PEN_EGONE);
    assert_non_null(strstr(error.message, NAME));
    close(fd);
    close(other);
}

/* What is small is not held back until what went before it is acknowledged (Nagle). */
static void test_small_frames_go_at_once(void **state)
{
    struct pen_error error;
    struct pen_stream *stream;
    char address[64];
    int listener, fd, peer, on = 0;
    socklen_t size = sizeof on;
    (void)state;
    assert_int_equal(pen_tcp_listen("127.0.0.1:0", false, &listener, &error), 0);
    pen_tcp_local(listener, address, sizeof address);
    assert_int_equal(pen_tcp_connect(address, true, NULL, pen_deadline_ms(PATIENCE_MS), &fd, &error), 0);
    assert_int_equal(pen_unix_accept(listener, &peer), 0);
    const int ends[2] = {fd, peer};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pen_stream_plain(ends[i], &stream), 0);
        assert_int_equal(getsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
        assert_int_equal(on, 1);
        pen_stream_destroy(stream);
    }
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_no_such_name),
        cmocka_unit_test(test_no_address),
        cmocka_unit_test(test_no_descriptor),
        cmocka_unit_test(test_a_dead_address_costs_little),
        cmocka_unit_test(test_an_address_that_refuses_costs_nothing),
        cmocka_unit_test(test_one_that_refuses_beside_a_dead_one),
        cmocka_unit_test(test_many_dead_addresses),
        cmocka_unit_test(test_the_address_that_answered_is_first),
        cmocka_unit_test(test_a_slow_address_is_not_given_up),
        cmocka_unit_test(test_families_take_turns),
        cmocka_unit_test(test_what_all_addresses_say),
        cmocka_unit_test(test_without_protection),
        cmocka_unit_test(test_without_some),
        cmocka_unit_test(test_once_more_to_the_same),
        cmocka_unit_test(test_small_frames_go_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
