/* What a jailed process can do no more, and what drivers need that it still can. What this system offers is found out
 * here, in children that try it; the jail must have all of that, say so, and hold what it says. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/files.h"
#include "worker/jail.h"

static char inside[64], outside[64], active[256];

static int holds(const char *part)
{
    char copy[sizeof active], *rest = copy;
    strcpy(copy, active);
    for (char *word; (word = strsep(&rest, " "));)
        if (!strcmp(word, part))
            return 1;
    return 0;
}

/* ---- what the system offers ---- */

static int landlock_abi(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static int seccomp_offered(void)
{
    const uint32_t action = SECCOMP_RET_ERRNO;
    return !syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
}

/* Does it succeed in a child? */
static int offered(int (*trial)(void))
{
    int status;
    pid_t pid = fork();
    if (!pid)
        _exit(trial());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && !WEXITSTATUS(status);
}

static int leave_network(void)
{
    return unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET);
}

static int write_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, "500", 3) != 3;
}

/* The parts that the jail must have here. */
static void expect(char *out, size_t size)
{
    snprintf(out, size,
             "%soom-score %snetwork-namespace drop-capabilities no-new-privileges limits %slandlock %sseccomp",
             offered(write_oom_score) ? "" : "without-", offered(leave_network) ? "" : "without-",
             landlock_abi() >= 1 ? "" : "without-", seccomp_offered() ? "" : "without-");
}

/* In the child: the number of what is wrong, 0 when nothing is. */
static int try_files(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/made", inside);
    if (pen_file_write(path, "x", 1) || unlink(path))
        return 1;
    snprintf(path, sizeof path, "%s/kept", outside);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 2; /* reading is allowed everywhere */
    close(fd);
    fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return 3;
    close(fd);
    if (!holds("landlock"))
        return 0;
    if (open(path, O_WRONLY | O_CLOEXEC) >= 0 || errno != EACCES)
        return 4;
    if (!unlink(path))
        return 5;
    if (landlock_abi() >= 3 && !truncate(path, 0))
        return 7;
    snprintf(path, sizeof path, "%s/new", outside);
    if (open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 || !mkdir(path, 0700))
        return 6;
    return 0;
}

static int try_network(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!holds("network-namespace") || fd < 0)
        return 0;
    return sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) < 0 ? 0 : 10;
}

static int try_calls(void)
{
    if (holds("seccomp")) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != -1 || errno != EPERM)
            return 20;
        if (mount("none", inside, "tmpfs", 0, NULL) != -1 || errno != EPERM)
            return 21;
        if (unshare(CLONE_NEWUSER) != -1 || errno != EPERM)
            return 22;
        if (syscall(SYS_bpf, 0, NULL, 0) != -1 || errno != EPERM)
            return 23;
        if (syscall(SYS_keyctl, 0, 0, 0) != -1 || errno != EPERM)
            return 24;
        if (syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0) != -1 || errno != EPERM)
            return 25;
    }
    if (holds("limits")) {
        struct rlimit core;
        if (getrlimit(RLIMIT_CORE, &core) || core.rlim_cur || prctl(PR_GET_DUMPABLE))
            return 26;
    }
    if (holds("no-new-privileges") && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 27;
    return 0;
}

/* PoCL runs a linker. */
static int try_exec(void)
{
    pid_t pid = fork();
    int status;
    if (!pid) {
        execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
        _exit(1);
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7 ? 0 : 30;
}

static void make_folders(void)
{
    char path[128];
    strcpy(inside, "/tmp/penstock-jail-in-XXXXXX");
    strcpy(outside, "/tmp/penstock-jail-out-XXXXXX");
    assert_non_null(mkdtemp(inside));
    assert_non_null(mkdtemp(outside));
    snprintf(path, sizeof path, "%s/kept", outside);
    assert_int_equal(pen_file_write(path, "y", 1), 0);
}

static void remove_folders(void)
{
    pen_file_remove_tree(inside);
    pen_file_remove_tree(outside);
}

static int exit_status(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int enter_and_try(const char *const *writable, size_t count, const char *expected)
{
    bool whole = pen_jail_enter(writable, count, active, sizeof active);
    if (strcmp(active, expected) != 0) {
        fprintf(stderr, "the jail is \"%s\", and could be \"%s\"\n", active, expected);
        return 40;
    }
    if (whole != (holds("landlock") && holds("seccomp")))
        return 41;
    int rc = try_files();
    rc = rc ? rc : try_network();
    rc = rc ? rc : try_calls();
    return rc ? rc : try_exec();
}

static void test_jail(void **state)
{
    (void)state;
    char expected[256];
    make_folders();
    expect(expected, sizeof expected);
    pid_t pid = fork();
    if (!pid) {
        const char *writable[] = {inside};
        _exit(enter_and_try(writable, 1, expected));
    }
    assert_int_equal(exit_status(pid), 0);
    remove_folders();
}

/* Paths that cannot be made writable cost nothing else. */
static void test_unusable_paths(void **state)
{
    (void)state;
    char expected[256];
    make_folders();
    expect(expected, sizeof expected);
    pid_t pid = fork();
    if (!pid) {
        const char *writable[] = {"/nowhere/at/all", inside, "/dev/null"};
        _exit(enter_and_try(writable, 3, expected));
    }
    assert_int_equal(exit_status(pid), 0);
    remove_folders();
}

/* A system call that the library does not know costs none of the others, and is told. */
static void test_unknown_call(void **state)
{
    (void)state;
    if (!seccomp_offered())
        skip();
    pid_t pid = fork();
    if (!pid) {
        static const char *const calls[] = {"ptrace", "no_such_call", "keyctl"};
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (pen_jail_deny(calls, 3) != PEN_JAIL_PARTLY)
            _exit(1);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != -1 || errno != EPERM)
            _exit(2);
        _exit(syscall(SYS_keyctl, 0, 0, 0) != -1 || errno != EPERM ? 3 : 0);
    }
    assert_int_equal(exit_status(pid), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jail),
        cmocka_unit_test(test_unusable_paths),
        cmocka_unit_test(test_unknown_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
