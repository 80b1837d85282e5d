/* What a connection that cannot be made says of whoever should be there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/tcp.h"
#include "net/unix.h"
#include "wire/futex.h"

#define PATIENCE_MS 5000

static int connect_to(const char *address, struct pen_error *error)
{
    int fd, rc = pen_tcp_connect(address, true, pen_deadline_ms(PATIENCE_MS), &fd, error);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_no_such_name),
        cmocka_unit_test(test_no_address),
        cmocka_unit_test(test_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
