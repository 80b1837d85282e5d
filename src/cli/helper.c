/* cli/helper.c - private daemons and janitors. Both are children in sessions of their own, so that a terminal's ^C
 * passes them by, and hold one end of a socket pair: when our end closes, by exit or by SIGKILL, they clean up. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "client/session.h"
#include "net/unix.h"

#define LIFELINE_FD 3
/* A private daemon listens before it looks for devices: more than this is a stuck host. */
#define READY_MS 20000
/* For finding out whether a daemon is there. */
#define REACH_MS 2000

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGALRM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void keep_lifeline(int fd)
{
    setsid();
    if (fd != LIFELINE_FD)
        dup2(fd, LIFELINE_FD);
    close_range(LIFELINE_FD + 1, ~0u, 0);
}

/* In the child. */
static _Noreturn void become_daemon(const char *program, const char *directory, const struct pen_private *how, int fd)
{
    const char *arguments[12] = {program, "--private", directory, "--lifeline", "3", "--log", "warn"};
    int count = 7;
    if (how->config) {
        arguments[count++] = "--config";
        arguments[count++] = how->config;
    }
    if (how->span) {
        arguments[count++] = "--span";
        arguments[count++] = how->span;
    }
    keep_lifeline(fd);
    if (fd == LIFELINE_FD)
        fcntl(fd, F_SETFD, 0);
    reset_signals();
    dup2(STDERR_FILENO, STDOUT_FILENO);
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd >= 0)
        dup2(null_fd, STDIN_FILENO);
    execv(program, (char *const *)arguments);
    _exit(127);
}

/* In the child. It keeps no descriptor of the program's: who reads our output must see its end. */
static _Noreturn void become_janitor(const char *directory, int fd)
{
    char byte;
    keep_lifeline(fd);
    for (int i = 0; i < LIFELINE_FD; i++)
        close(i);
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    while (read(LIFELINE_FD, &byte, 1) < 0 && errno == EINTR)
        ;
    pen_place_remove(directory);
    _exit(0);
}

/* Forks; in the child *out_fd is its end of the lifeline. */
static int fork_helper(struct pen_helper *helper, int *out_fd, struct pen_error *error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return pen_fail(error, -PEN_EIO, "cannot make a socket pair: %s", strerror(errno));
    helper->pid = fork();
    if (helper->pid == 0) {
        *out_fd = pair[1];
        return 0;
    }
    close(pair[1]);
    if (helper->pid < 0) {
        close(pair[0]);
        *helper = (struct pen_helper){.lifeline = -1};
        return pen_fail(error, -PEN_EIO, "cannot fork: %s", strerror(errno));
    }
    helper->lifeline = pair[0];
    return 0;
}

int pen_helper_janitor(struct pen_helper *helper, struct pen_error *error)
{
    int fd = -1;
    *helper = (struct pen_helper){.lifeline = -1};
    int rc = pen_place_temporary(helper->directory, sizeof helper->directory, error);
    if (rc)
        return rc;
    char directory[PATH_MAX];
    memcpy(directory, helper->directory, sizeof directory);
    rc = fork_helper(helper, &fd, error);
    if (!rc && helper->pid == 0)
        become_janitor(directory, fd);
    if (rc)
        pen_place_remove(directory);
    return rc;
}

/* A byte comes when it listens; the end of the stream when it could not, after it has said why on stderr. */
static int await_ready(struct pen_helper *helper, struct pen_error *error)
{
    uint64_t deadline = pen_deadline_ms(READY_MS);
    for (;;) {
        uint64_t now = pen_deadline_ms(0);
        struct pollfd poll_fd = {.fd = helper->lifeline, .events = POLLIN};
        int ready = now < deadline ? poll(&poll_fd, 1, (int)((deadline - now) / 1000000) + 1) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return pen_fail(error, -PEN_ETIMEOUT, "the private daemon did not start within %d ms", READY_MS);
        char byte;
        ssize_t got = read(helper->lifeline, &byte, 1);
        if (got == 1)
            return 0;
        if (got < 0 && errno == EINTR)
            continue;
        return pen_fail(error, -PEN_EIO, "the private daemon did not start");
    }
}

int pen_helper_daemon(struct pen_helper *helper, const struct pen_private *how, struct pen_error *error)
{
    char program[PATH_MAX];
    int fd = -1;
    *helper = (struct pen_helper){.lifeline = -1};
    if (!pen_place_find("../daemon/penstockd", PEN_BINDIR "/penstockd", program, sizeof program))
        return pen_fail(error, -PEN_ENOENT,
                        "cannot find penstockd: it is neither in ../daemon/ beside this program nor "
                        "in " PEN_BINDIR);
    int rc = pen_place_temporary(helper->directory, sizeof helper->directory, error);
    if (rc)
        return rc;
    char directory[PATH_MAX];
    memcpy(directory, helper->directory, sizeof directory);
    snprintf(helper->socket, sizeof helper->socket, "%.200s/penstockd.sock", directory);
    rc = fork_helper(helper, &fd, error);
    if (!rc && helper->pid == 0)
        become_daemon(program, directory, how, fd);
    if (!rc)
        rc = await_ready(helper, error);
    if (rc) {
        pen_helper_end(helper);
        pen_place_remove(directory);
    }
    return rc;
}

void pen_helper_end(struct pen_helper *helper)
{
    if (helper->pid <= 0)
        return;
    close(helper->lifeline);
    while (waitpid(helper->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    pen_place_remove(helper->directory); /* gone already, unless the helper was killed */
    *helper = (struct pen_helper){.lifeline = -1};
}

bool pen_helper_reachable(void)
{
    struct pen_unix_paths paths;
    const char *path;
    int fd;
    if (pen_unix_client_paths(&paths, NULL) ||
        pen_unix_connect_first(&paths, pen_deadline_ms(REACH_MS), &path, &fd, NULL))
        return false;
    close(fd);
    return true;
}

int pen_helper_pool(struct pen_helper *helper, const struct pen_private *how, struct pen_error *error)
{
    *helper = (struct pen_helper){.lifeline = -1};
    bool own = how->always || how->config || how->span;
    if (!own && pen_pools_named())
        return pen_pools_check(error);
    if (!own && pen_helper_reachable())
        return 0;
    int rc = pen_helper_daemon(helper, how, error);
    if (rc)
        return rc;
    setenv("PENSTOCK_SOCKET", helper->socket, 1);
    setenv("PENSTOCK_POOL", "local", 1); /* whatever else is named */
    return 0;
}
