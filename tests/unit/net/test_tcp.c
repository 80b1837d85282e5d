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
    assert_int_equal(connect_to("127.0.0.1:nowhere", &error), -PEN_EIO);
    assert_non_null(strstr(error.message, "looking up"));
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
        cmocka_unit_test(test_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
