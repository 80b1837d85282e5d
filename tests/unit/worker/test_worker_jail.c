/* What a jailed process can do no more, and what drivers need that it still can. What this system lacks is not asserted
 * (jail.h says what is active), but everything that claims to hold must. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
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
    char no[64];
    snprintf(no, sizeof no, "no-%s", part);
    return strstr(active, part) && !strstr(active, no);
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

static void test_jail(void **state)
{
    (void)state;
    char path[128];
    int status;
    strcpy(inside, "/tmp/penstock-jail-in-XXXXXX");
    strcpy(outside, "/tmp/penstock-jail-out-XXXXXX");
    assert_non_null(mkdtemp(inside));
    assert_non_null(mkdtemp(outside));
    snprintf(path, sizeof path, "%s/kept", outside);
    assert_int_equal(pen_file_write(path, "y", 1), 0);
    pid_t pid = fork();
    if (!pid) {
        const char *writable[] = {inside};
        pen_jail_enter(writable, 1, active, sizeof active);
        int rc = holds("no-new-privileges") ? 0 : 40;
        rc = rc ? rc : try_files();
        rc = rc ? rc : try_network();
        rc = rc ? rc : try_calls();
        rc = rc ? rc : try_exec();
        _exit(rc);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    pen_file_remove_tree(inside);
    pen_file_remove_tree(outside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_jail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
