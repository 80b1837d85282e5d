/* What a jailed process can do no more, and what drivers need that it still can. What this system offers is found out
 * here, in children that try it; the jail must have all of that, say so, and hold what it says. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker/files.h"
#include "worker/jail.h"

static char inside[64], outside[64];
static char disk[256] = "none"; /* in /dev */

/* As Penstock's own configuration is: in a folder that may be read. */
#define SECRET "/usr/include"
static struct pen_jail jail; /* a child's, once it is in */

static int holds(uint32_t part)
{
    return !((jail.without | jail.partly) & part);
}

/* A test that this system cannot do is seen from the exit status. */
static bool skipped;

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

/* The parts that the jail cannot have here. */
static uint32_t not_offered(void)
{
    return (offered(write_oom_score) ? 0 : PEN_JAIL_PART_OOM_SCORE) |
           (offered(leave_network) ? 0 : PEN_JAIL_PART_NETWORK_NAMESPACE) |
           (landlock_abi() >= 1 ? 0 : PEN_JAIL_PART_LANDLOCK) | (seccomp_offered() ? 0 : PEN_JAIL_PART_SECCOMP);
}

/* In the child: the number of what is wrong, 0 when nothing is. */
static int try_files(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/made", inside);
    if (pen_file_write(path, "x", 1) || unlink(path))
        return 1;
    snprintf(path, sizeof path, "%s/kept", outside);
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return 3;
    close(fd);
    if (!holds(PEN_JAIL_PART_LANDLOCK))
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

static bool readable(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* What drivers are made of can be read; nothing of the user's, and no disk. */
static int try_reading(void)
{
    static const char *const drivers[] = {"vendors/x.icd",       "prefix/lib/deep/libx.so", "prefix/share/x",
                                          "elsewhere/liby.so.1", "layers/liba.so",          "ours/x"};
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if (!readable(outside, drivers[i]))
            return 100;
    if (!readable("/etc", "ld.so.cache") || !readable("/etc", "OpenCL/vendors") || !readable("/proc", "self/maps") ||
        !readable("/proc", "meminfo") || !readable("/usr", "lib") || !readable("/dev", "urandom") ||
        !readable("/dev", "") || !readable(inside, ""))
        return 101;
    if (!holds(PEN_JAIL_PART_LANDLOCK))
        return 0;
    if (readable(outside, "kept") || readable(outside, "prefix/etc/x") || readable(outside, "") ||
        readable(outside, "elsewhere/key") || readable(outside, "layers/key") || readable("/etc", "shadow") ||
        readable("/root", "") || readable("/home", "") || readable("/proc", "1/cmdline"))
        return 102;
    if (readable(SECRET, "") || readable(SECRET, "stdio.h") || !readable("/usr/share", ""))
        return 104;
    return readable("/dev", disk) ? 103 : 0;
}

static int try_network(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!holds(PEN_JAIL_PART_NETWORK_NAMESPACE) || fd < 0)
        return 0;
    return sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to) < 0 ? 0 : 10;
}

static int try_calls(void)
{
    if (holds(PEN_JAIL_PART_SECCOMP)) {
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
    if (holds(PEN_JAIL_PART_LIMITS)) {
        struct rlimit core;
        if (getrlimit(RLIMIT_CORE, &core) || core.rlim_cur || prctl(PR_GET_DUMPABLE))
            return 26;
    }
    if (holds(PEN_JAIL_PART_NO_NEW_PRIVILEGES) && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 27;
    return 0;
}

static int fails_with(long rc, int error)
{
    return rc == -1 && errno == error;
}

/* The kernel does not look at the upper half of an int. */
#define UPPER (UINT64_C(1) << 32)

static void name_socket(struct sockaddr_un *out, const char *name)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(out->sun_path, sizeof out->sun_path, "%s/%s", outside, name);
}

/* Daemons of the user listen outside. */
static int try_sockets(void)
{
    struct sockaddr_un to;
    int pair[2];
    if (!holds(PEN_JAIL_PART_SECCOMP))
        return 0;
    name_socket(&to, "stream");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 50; /* a driver may have some of its own */
    if (!fails_with(connect(fd, (struct sockaddr *)&to, sizeof to), EPERM))
        return 51;
    for (int type = SOCK_DGRAM; type <= SOCK_RAW; type++) {
        if (!fails_with(socket(AF_UNIX, type | SOCK_CLOEXEC, 0), EPERM) ||
            !fails_with(syscall(SYS_socket, AF_UNIX | UPPER, type, 0), EPERM))
            return 52;
        if (!fails_with(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), EPERM))
            return 53;
    }
    return socketpair(AF_UNIX, SOCK_STREAM, 0, pair) ? 54 : 0;
}

static int try_namespaces(void)
{
    if (!holds(PEN_JAIL_PART_SECCOMP))
        return 0;
    static const unsigned long flags[] = {
        CLONE_NEWUSER,  CLONE_NEWUSER | CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWUTS,
        CLONE_NEWCGROUP};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        long pid = syscall(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0, 0);
        if (!pid)
            _exit(0);
        if (!fails_with(pid, EPERM))
            return 60;
    }
    uint64_t arguments[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
    long pid = syscall(SYS_clone3, arguments, sizeof arguments);
    if (!pid)
        _exit(0);
    return fails_with(pid, ENOSYS) ? 0 : 61;
}

static void *return_argument(void *argument)
{
    return argument;
}

static int try_thread(void)
{
    pthread_t thread;
    void *result = NULL;
    if (pthread_create(&thread, NULL, return_argument, inside) || pthread_join(thread, &result))
        return 62;
    return result == inside ? 0 : 63;
}

static int try_signals(void)
{
    struct rlimit limit;
    if (!holds(PEN_JAIL_PART_SECCOMP))
        return 0;
    if (!fails_with(kill(getppid(), 0), EPERM) || !fails_with(kill(1, 0), EPERM))
        return 70;
    if (!fails_with(prlimit(getppid(), RLIMIT_NPROC, NULL, &limit), EPERM))
        return 71;
    if (kill(getpid(), 0) || raise(SIGURG))
        return 72;
    if (!fails_with(setsid(), EPERM) || !fails_with(setpgid(0, 0), EPERM))
        return 73; /* its group is what the daemon ends */
    return 0;
}

/* An assertion in what a driver runs. */
static int try_abort(void)
{
    int status;
    pid_t pid = fork();
    if (!pid)
        abort();
    if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
        return 74;
    return landlock_abi() < 6 || WTERMSIG(status) == SIGABRT ? 0 : 75;
}

/* Without a terminal another error would say that there is none. */
static int try_typing(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (!holds(PEN_JAIL_PART_SECCOMP))
        return 0;
    if (!fails_with(ioctl(fd, TIOCSTI, "x"), EPERM) || !fails_with(ioctl(fd, TIOCLINUX, "x"), EPERM) ||
        !fails_with(syscall(SYS_ioctl, fd, TIOCSTI | UPPER, "x"), EPERM))
        return 80;
    close(fd);
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

static int listener = -1;

/* The folder of drivers is one with two of ours. */
static void make_vendors(void)
{
    static const char *const drivers[] = {"prefix/lib/deep/libx.so", "elsewhere/liby.so.1"};
    char path[128], line[128];
    snprintf(path, sizeof path, "%s/vendors", outside);
    assert_int_equal(mkdir(path, 0700) || setenv("OCL_ICD_VENDORS", path, 1), 0);
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        snprintf(path, sizeof path, "%s/vendors/%c.icd", outside, "xy"[i]);
        int size = snprintf(line, sizeof line, "%s/%s\n", outside, drivers[i]);
        assert_int_equal(pen_file_write(path, line, (size_t)size), 0);
    }
}

/* One that could be read, outside of the jail. */
static void find_disk(void)
{
    DIR *devices = opendir("/dev");
    struct stat status;
    for (struct dirent *entry; devices && (entry = readdir(devices));)
        if (!fstatat(dirfd(devices), entry->d_name, &status, 0) && S_ISBLK(status.st_mode) &&
            readable("/dev", entry->d_name))
            strcpy(disk, entry->d_name);
    closedir(devices);
}

static void make_folders(void)
{
    char path[128];
    strcpy(inside, "/tmp/penstock-jail-in-XXXXXX");
    strcpy(outside, "/tmp/penstock-jail-out-XXXXXX");
    assert_non_null(mkdtemp(inside));
    assert_non_null(mkdtemp(outside));
    static const char *const files[] = {"kept",      "prefix/lib/deep/libx.so", "prefix/share/x", "prefix/etc/x",
                                        "ours/x",    "elsewhere/liby.so.1",     "elsewhere/key",  "layers/liba.so",
                                        "layers/key"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", outside, files[i]);
        assert_int_equal(pen_file_make_parents(path, strlen(outside)), 0);
        assert_int_equal(pen_file_write(path, "y", 1), 0);
    }
    make_vendors();
    snprintf(path, sizeof path, "relative.so:%s/layers/liba.so", outside);
    assert_int_equal(setenv("OPENCL_LAYERS", path, 1), 0);
    find_disk();
    struct sockaddr_un name;
    name_socket(&name, "stream");
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&name, sizeof name) || listen(listener, 1), 0);
}

static void remove_folders(void)
{
    close(listener);
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

static int enter_and_try(const char *const *writable, size_t count, uint32_t lacks)
{
    static int (*const trials[])(void) = {try_files,  try_reading, try_network, try_calls,  try_sockets, try_namespaces,
                                          try_thread, try_signals, try_abort,   try_typing, try_exec};
    char text[256];
    int rc = 0;
    char others[128];
    snprintf(others, sizeof others, "/nowhere:%s/ours", outside);
    pen_jail_enter(&(struct pen_jail_files){writable, count, others, SECRET}, &jail);
    if (jail.without != lacks || jail.partly) {
        pen_jail_say(&jail, text, sizeof text);
        fprintf(stderr, "the jail is \"%s\", and could be without %#x only\n", text, lacks);
        return 40;
    }
    for (size_t i = 0; i < sizeof trials / sizeof *trials && !rc; i++)
        rc = trials[i]();
    return rc;
}

static void test_jail(void **state)
{
    (void)state;
    make_folders();
    uint32_t lacks = not_offered();
    pid_t pid = fork();
    if (!pid) {
        const char *writable[] = {inside};
        _exit(enter_and_try(writable, 1, lacks));
    }
    assert_int_equal(exit_status(pid), 0);
    remove_folders();
}

/* Paths that cannot be made writable cost nothing else. */
static void test_unusable_paths(void **state)
{
    (void)state;
    make_folders();
    uint32_t lacks = not_offered();
    pid_t pid = fork();
    if (!pid) {
        const char *writable[] = {"/nowhere/at/all", inside, "/dev/null"};
        _exit(enter_and_try(writable, 3, lacks));
    }
    assert_int_equal(exit_status(pid), 0);
    remove_folders();
}

/* The device number of the controlling one, 0: none (proc(5)); -1: not to be read. */
static int own_terminal(void)
{
    char text[512];
    int number = -1, fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, text, sizeof text - 1);
    text[size < 0 ? 0 : size] = 0;
    const char *name_end = strrchr(text, ')');
    if (!name_end || sscanf(name_end, ") %*c %*d %*d %*d %d", &number) != 1)
        number = -1;
    close(fd);
    return number;
}

/* In a child of the session's leader, as a worker is of its shell's. */
static int try_terminal(const char *terminal)
{
    int fd = open("/dev/tty", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 90;
    close(fd);
    if (own_terminal() <= 0)
        return 95;
    pen_jail_enter(&(struct pen_jail_files){0}, &jail);
    int refused = holds(PEN_JAIL_PART_LANDLOCK) ? EACCES : ENXIO;
    if (!holds(PEN_JAIL_PART_TERMINAL) || own_terminal() ||
        !fails_with(open("/dev/tty", O_RDONLY | O_CLOEXEC), refused))
        return 91;
    for (int mode = O_RDONLY; holds(PEN_JAIL_PART_LANDLOCK) && mode <= O_WRONLY; mode++)
        if (!fails_with(open(terminal, mode | O_NOCTTY | O_CLOEXEC), EACCES))
            return 92;
    return 0;
}

/* The shell's terminal is neither the jailed process's, nor can it be written to. */
static void test_terminal(void **state)
{
    (void)state;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), status;
    assert_true(terminal >= 0 && !grantpt(terminal) && !unlockpt(terminal));
    pid_t leader = fork();
    if (!leader) {
        setsid();
        if (open(ptsname(terminal), O_RDWR | O_CLOEXEC) < 0)
            _exit(93);
        pid_t pid = fork();
        if (!pid)
            _exit(try_terminal(ptsname(terminal)));
        _exit(waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 94);
    }
    assert_int_equal(exit_status(leader), 0);
    close(terminal);
}

/* Where Landlock does not keep signals in. */
static void test_signals_denied(void **state)
{
    (void)state;
    if (!seccomp_offered())
        skip();
    pid_t pid = fork();
    if (!pid) {
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC), owner = getppid();
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (pen_jail_deny(NULL, 0, true) != PEN_JAIL_WHOLE)
            _exit(1);
        if (!fails_with(kill(owner, 0), EPERM) || !fails_with(kill(-1, 0), EPERM) || !fails_with(kill(0, 0), EPERM))
            _exit(2);
        if (!fails_with(syscall(SYS_tgkill, owner, owner, 0), EPERM) ||
            !fails_with(syscall(SYS_tkill, owner, 0), EPERM) ||
            !fails_with(syscall(SYS_rt_sigqueueinfo, owner, 0, NULL), EPERM) ||
            !fails_with(syscall(SYS_rt_tgsigqueueinfo, owner, owner, 0, NULL), EPERM))
            _exit(3);
        if (!fails_with(fcntl(fd, F_SETOWN, owner), EPERM) || !fails_with(ioctl(fd, FIOSETOWN, &owner), EPERM))
            _exit(4);
        _exit(kill(getpid(), 0) || raise(SIGURG) ? 5 : try_exec());
    }
    assert_int_equal(exit_status(pid), 0);
}

static void test_words(void **state)
{
    (void)state;
    char text[256];
    pen_jail_say(&(struct pen_jail){0}, text, sizeof text);
    assert_string_equal(text,
                        "oom-score network-namespace terminal drop-capabilities no-new-privileges limits landlock "
                        "seccomp");
    pen_jail_say(&(struct pen_jail){.without = UINT32_MAX & ~PEN_JAIL_PART_SECCOMP, .partly = PEN_JAIL_PART_SECCOMP},
                 text, sizeof text);
    assert_string_equal(text, "without-oom-score without-network-namespace without-terminal without-drop-capabilities "
                              "without-no-new-privileges without-limits without-landlock partly-seccomp");
}

/* A system call that the library does not know costs none of the others, and is told. */
static void test_unknown_call(void **state)
{
    (void)state;
    if (!seccomp_offered()) {
        skipped = true;
        skip();
    }
    pid_t pid = fork();
    if (!pid) {
        static const char *const calls[] = {"ptrace", "no_such_call", "keyctl"};
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (pen_jail_deny(calls, 3, false) != PEN_JAIL_PARTLY)
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
        cmocka_unit_test(test_jail),     cmocka_unit_test(test_unusable_paths),
        cmocka_unit_test(test_terminal), cmocka_unit_test(test_signals_denied),
        cmocka_unit_test(test_words),    cmocka_unit_test(test_unknown_call),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : skipped ? 77 : 0;
}
