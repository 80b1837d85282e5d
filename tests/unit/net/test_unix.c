/* Addresses, listening, connecting. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/unix.h"
#include "wire/futex.h"

static char base[64], path[108];

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof base, "/tmp/pen-unix-XXXXXX");
    if (!mkdtemp(base))
        return -1;
    snprintf(path, sizeof path, "%s/dir/d.sock", base);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command);
}

static void listens_and_connects(void **unused)
{
    (void)unused;
    struct pen_error error = {0};
    struct pen_unix_peer peer;
    struct stat status;
    char directory[80];
    int listener = -1, client = -1, server = -1, other = -1;
    umask(0);
    assert_int_equal(pen_unix_listen(path, PEN_UNIX_NO_GROUP, &listener, &error), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_true(S_ISSOCK(status.st_mode));
    assert_int_equal(status.st_mode & 0777, 0600);
    snprintf(directory, sizeof directory, "%s/dir", base);
    assert_int_equal(stat(directory, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);

    assert_int_equal(pen_unix_accept(listener, &server), -PEN_ETIMEOUT);
    assert_int_equal(pen_unix_connect(path, pen_deadline_ms(1000), &client, &error), 0);
    assert_int_equal(pen_unix_accept(listener, &server), 0);
    assert_true(fcntl(client, F_GETFD) & fcntl(server, F_GETFD) & fcntl(listener, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(pen_unix_peer(server, &peer), 0);
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, getuid());

    assert_int_equal(pen_unix_listen(path, PEN_UNIX_NO_GROUP, &other, &error), -PEN_EBUSY);
    assert_non_null(strstr(error.message, path));
    close(client);
    close(server);
    close(listener);
}

static void replaces_a_stale_socket(void **unused)
{
    (void)unused;
    struct pen_error error = {0};
    int listener = -1, client = -1;
    assert_int_equal(pen_unix_connect(path, pen_deadline_ms(1000), &client, &error), -PEN_ENOENT);
    assert_int_equal(pen_unix_listen(path, PEN_UNIX_NO_GROUP, &listener, &error), 0);
    close(listener); /* as a killed daemon leaves it */
    uint64_t start = pen_now_ns();
    assert_int_equal(pen_unix_connect(path, pen_deadline_ms(10000), &client, &error), -PEN_ENOENT);
    assert_true(pen_now_ns() - start < 1000000000u);
    assert_int_equal(pen_unix_listen(path, PEN_UNIX_NO_GROUP, &listener, &error), 0);
    assert_int_equal(pen_unix_connect(path, pen_deadline_ms(1000), &client, &error), 0);
    close(client);
    close(listener);
}

static void leaves_others_files_alone(void **unused)
{
    (void)unused;
    struct pen_error error = {0};
    int listener = -1;
    char file[108];
    snprintf(file, sizeof file, "%s/file", base);
    int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    assert_int_equal(pen_unix_listen(file, PEN_UNIX_NO_GROUP, &listener, &error), -PEN_EBUSY);
    assert_int_equal(access(file, F_OK), 0);
    assert_int_equal(chmod(base, 0777), 0);
    snprintf(file, sizeof file, "%s/sock", base);
    assert_int_equal(pen_unix_listen(file, PEN_UNIX_NO_GROUP, &listener, &error), -PEN_EPERM);
    assert_int_equal(chmod(base, 01777), 0);
    assert_int_equal(pen_unix_listen(file, PEN_UNIX_NO_GROUP, &listener, &error), 0);
    close(listener);
}

static void a_full_backlog_ends_in_time(void **unused)
{
    (void)unused;
    struct pen_error error = {0};
    int clients[300], listener = -1, rc = 0, count = 0;
    assert_int_equal(pen_unix_listen(path, PEN_UNIX_NO_GROUP, &listener, &error), 0);
    while (count < 300 && !(rc = pen_unix_connect(path, pen_deadline_ms(50), &clients[count], &error)))
        count++;
    assert_int_equal(rc, -PEN_ETIMEOUT);
    while (count)
        close(clients[--count]);
    close(listener);
}

static void default_paths(void **unused)
{
    (void)unused;
    char out[256], expected[256], longer[300];
    struct pen_error error = {0};
    setenv("PENSTOCK_SOCKET", "/x/y.sock", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    assert_int_equal(pen_unix_default_path(out, sizeof out, &error), 0);
    assert_string_equal(out, "/x/y.sock");
    assert_int_equal(pen_unix_default_path(out, 5, &error), -PEN_ELIMIT);
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    setenv("PENSTOCK_SOCKET", longer, 1);
    assert_int_equal(pen_unix_default_path(out, sizeof out, &error), -PEN_ELIMIT);
    assert_string_equal(out, "/x/y.sock");
    setenv("PENSTOCK_SOCKET", "", 1);
    assert_int_equal(pen_unix_default_path(out, sizeof out, &error), 0);
    assert_string_equal(out, "/run/user/7/penstock/penstockd.sock");
    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(pen_unix_default_path(out, sizeof out, &error), 0);
    snprintf(expected, sizeof expected, "/tmp/penstock-%u/penstockd.sock", (unsigned)getuid());
    assert_string_equal(out, getuid() ? expected : "/run/penstock/penstockd.sock");
}

static void clients_look_further(void **unused)
{
    (void)unused;
    struct pen_unix_paths paths;
    struct pen_error error = {0};
    setenv("PENSTOCK_SOCKET", "/x/y.sock", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    assert_int_equal(pen_unix_client_paths(&paths, &error), 0);
    assert_int_equal(paths.count, 1); /* who names one means that one */
    assert_string_equal(paths.path[0], "/x/y.sock");
    unsetenv("PENSTOCK_SOCKET");
    assert_int_equal(pen_unix_client_paths(&paths, &error), 0);
    assert_int_equal(paths.count, 2);
    assert_string_equal(paths.path[0], "/run/user/7/penstock/penstockd.sock");
    assert_string_equal(paths.path[1], "/run/penstock/penstockd.sock");
    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(pen_unix_client_paths(&paths, &error), 0);
    assert_int_equal(paths.count, getuid() ? 2 : 1); /* for root they are the same */
}

static void connects_to_the_first(void **unused)
{
    (void)unused;
    struct pen_error error = {0};
    struct pen_unix_paths paths = {.count = 2};
    const char *chosen = NULL;
    int first = -1, second = -1, client = -1;
    snprintf(paths.path[0], sizeof paths.path[0], "%s/one/s", base);
    snprintf(paths.path[1], sizeof paths.path[1], "%s/two/s", base);
    assert_int_equal(pen_unix_connect_first(&paths, pen_deadline_ms(1000), &chosen, &client, &error), -PEN_ENOENT);
    assert_non_null(strstr(error.message, paths.path[0])); /* its own is what a user can do something about */
    assert_null(chosen);
    assert_int_equal(pen_unix_listen(paths.path[1], PEN_UNIX_NO_GROUP, &second, &error), 0);
    assert_int_equal(pen_unix_connect_first(&paths, pen_deadline_ms(1000), &chosen, &client, &error), 0);
    assert_string_equal(chosen, paths.path[1]);
    close(client);
    assert_int_equal(pen_unix_listen(paths.path[0], PEN_UNIX_NO_GROUP, &first, &error), 0);
    assert_int_equal(pen_unix_connect_first(&paths, pen_deadline_ms(1000), &chosen, &client, &error), 0);
    assert_string_equal(chosen, paths.path[0]);
    close(client);
    close(first);
    close(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(listens_and_connects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(replaces_a_stale_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_others_files_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_backlog_ends_in_time, set_up, tear_down),
        cmocka_unit_test(default_paths),
        cmocka_unit_test(clients_look_further),
        cmocka_unit_test_setup_teardown(connects_to_the_first, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
