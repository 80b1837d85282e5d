/* worker/jail.c - see jail.h. */
#include "worker/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/jail_files.h"

/* Of 1000: a worker goes before the programs around it. */
#define OOM_SCORE "500"

static bool write_text(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool write_text(const char *path, const char *format, ...)
{
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, (size_t)size) == size;
    close(fd);
    return ok;
}

/* ---- limits, privileges ---------------------------------------------------------------------------------- */

static bool limit_process(void)
{
    const struct rlimit none = {0, 0};
    return !setrlimit(RLIMIT_CORE, &none) && !prctl(PR_SET_PDEATHSIG, SIGKILL) && !prctl(PR_SET_DUMPABLE, 0);
}

static bool drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0}};
    for (unsigned long i = 0; i <= CAP_LAST_CAP; i++)
        prctl(PR_CAPBSET_DROP, i); /* not ours to drop when we have none: then there is nothing to gain either */
    return !syscall(SYS_capset, &header, none);
}

/* Not by setsid: a worker leads its group, which the daemon ends as a whole. */
static bool leave_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENXIO || errno == ENOENT; /* there is none */
    bool left = !ioctl(fd, TIOCNOTTY);
    close(fd);
    return left;
}

/* ---- network --------------------------------------------------------------------------------------------- */

static bool leave_network(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (!unshare(CLONE_NEWNET))
        return true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
        return false;
    /* Only how our ids look in there: the network is left whether or not they can be written. */
    if (write_text("/proc/self/setgroups", "deny") && write_text("/proc/self/gid_map", "%u %u 1", gid, gid))
        write_text("/proc/self/uid_map", "%u %u 1", uid, uid);
    return true;
}

/* ---- system calls ---------------------------------------------------------------------------------------- */

/* By name: the library knows more of them than some systems' headers. */
static const char *const denied[] = {
    "acct",
    "add_key",
    "adjtimex",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "connect",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "personality",
    "pidfd_getfd",
    "pidfd_send_signal",
    "pivot_root",
    "process_madvise",
    "process_mrelease",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setdomainname",
    "sethostname",
    "setns",
    "setpgid",
    "setsid",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
    "vhangup",
};

struct rule {
    const char *call;
    int error;
    unsigned test_count; /* all of them hold */
    struct scmp_arg_cmp tests[2];
};

/* The kernel looks at the lower half of an int only. */
#define INT_IS(argument_, value_)     SCMP_CMP(argument_, SCMP_CMP_MASKED_EQ, 0xFFFFFFFFu, (value_))
#define OTHER_THAN(argument_, value_) SCMP_CMP(argument_, SCMP_CMP_NE, (value_), 0)
#define HAS_FLAG(argument_, flag_)    SCMP_CMP(argument_, SCMP_CMP_MASKED_EQ, (flag_), (flag_))
#define SOCKET_IS(argument_, type_)   SCMP_CMP(argument_, SCMP_CMP_MASKED_EQ, 0xFu, (type_))

static const struct rule rules[] = {
    /* Namespaces: libc falls back from clone3, whose flags lie in memory, to clone. */
    {"clone3", ENOSYS, 0, {{0}}},
    {"clone", EPERM, 1, {HAS_FLAG(0, CLONE_NEWCGROUP)}},
    {"clone", EPERM, 1, {HAS_FLAG(0, CLONE_NEWIPC)}},
    {"clone", EPERM, 1, {HAS_FLAG(0, CLONE_NEWNET)}},
    {"clone", EPERM, 1, {HAS_FLAG(0, CLONE_NEWNS)}},
    {"clone", EPERM, 1, {HAS_FLAG(0, CLONE_NEWPID)}},
    {"clone", EPERM, 1, {HAS_FLAG(0, CLONE_NEWUSER)}},
    {"clone", EPERM, 1, {HAS_FLAG(0, CLONE_NEWUTS)}},
    /* Datagrams reach a socket by its path without connect; unix(7) takes raw ones for the same. */
    {"socket", EPERM, 2, {INT_IS(0, AF_UNIX), SOCKET_IS(1, SOCK_DGRAM)}},
    {"socket", EPERM, 2, {INT_IS(0, AF_UNIX), SOCKET_IS(1, SOCK_RAW)}},
    {"socketpair", EPERM, 1, {SOCKET_IS(1, SOCK_DGRAM)}},
    {"socketpair", EPERM, 1, {SOCKET_IS(1, SOCK_RAW)}},
    /* Typing into a terminal that stderr may be. */
    {"ioctl", EPERM, 1, {INT_IS(1, TIOCSTI)}},
    {"ioctl", EPERM, 1, {INT_IS(1, TIOCLINUX)}},
    /* Other processes' limits: one of time ends them. */
    {"prlimit64", EPERM, 1, {OTHER_THAN(0, 0)}},
};

static bool add_rule(scmp_filter_ctx filter, const struct rule *rule)
{
    int number = seccomp_syscall_resolve_name(rule->call);
    if (number != __NR_SCMP_ERROR &&
        !seccomp_rule_add_array(filter, SCMP_ACT_ERRNO((uint32_t)rule->error), number, rule->test_count, rule->tests))
        return true;
    fprintf(stderr, "penstock-worker: the system call %s cannot be denied in the jail\n", rule->call);
    return false;
}

/* Signals to other processes, where Landlock does not keep them in. A child may not even send one to itself then: what
 * aborts there ends by a fault. */
static bool keep_signals(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp other = OTHER_THAN(0, (scmp_datum_t)getpid());
    const struct rule signals[] = {
        {"kill", EPERM, 1, {other}},
        {"tkill", EPERM, 1, {other}},
        {"tgkill", EPERM, 1, {other}},
        {"rt_sigqueueinfo", EPERM, 1, {other}},
        {"rt_tgsigqueueinfo", EPERM, 1, {other}},
        {"fcntl", EPERM, 1, {INT_IS(1, F_SETOWN)}},
        {"fcntl", EPERM, 1, {INT_IS(1, F_SETOWN_EX)}},
        {"ioctl", EPERM, 1, {INT_IS(1, FIOSETOWN)}},
        {"ioctl", EPERM, 1, {INT_IS(1, SIOCSPGRP)}},
    };
    bool ok = true;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        ok = add_rule(filter, &signals[i]) && ok;
    return ok;
}

enum pen_jail_hold pen_jail_deny(const char *const *calls, size_t count, bool signals)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool all = true;
    if (!filter)
        return PEN_JAIL_WITHOUT;
    for (size_t i = 0; i < count; i++)
        all = add_rule(filter, &(struct rule){.call = calls[i], .error = EPERM}) && all;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        all = add_rule(filter, &rules[i]) && all;
    if (signals)
        all = keep_signals(filter) && all;
    bool loaded = !seccomp_load(filter);
    seccomp_release(filter);
    return !loaded ? PEN_JAIL_WITHOUT : all ? PEN_JAIL_WHOLE : PEN_JAIL_PARTLY;
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

static void note(struct pen_jail *jail, uint32_t part, bool holds)
{
    if (!holds)
        jail->without |= part;
}

void pen_jail_enter(const struct pen_jail_files *files, struct pen_jail *out_jail)
{
    struct pen_jail jail = {0};
    note(&jail, PEN_JAIL_PART_OOM_SCORE, write_text("/proc/self/oom_score_adj", OOM_SCORE));
    note(&jail, PEN_JAIL_PART_NETWORK_NAMESPACE, leave_network());
    note(&jail, PEN_JAIL_PART_TERMINAL, leave_terminal());
    note(&jail, PEN_JAIL_PART_DROP_CAPABILITIES, drop_capabilities());
    bool sealed = !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    note(&jail, PEN_JAIL_PART_NO_NEW_PRIVILEGES, sealed);
    note(&jail, PEN_JAIL_PART_LIMITS, limit_process());
    bool scoped = false, restricted = sealed && pen_jail_restrict_files(files, &scoped);
    note(&jail, PEN_JAIL_PART_LANDLOCK, restricted);
    enum pen_jail_hold calls =
        sealed ? pen_jail_deny(denied, sizeof denied / sizeof *denied, !scoped) : PEN_JAIL_WITHOUT;
    note(&jail, PEN_JAIL_PART_SECCOMP, calls != PEN_JAIL_WITHOUT);
    if (calls == PEN_JAIL_PARTLY)
        jail.partly |= PEN_JAIL_PART_SECCOMP;
    *out_jail = jail;
}

void pen_jail_say(const struct pen_jail *jail, char *out, size_t size)
{
    static const struct {
        uint32_t part;
        const char *name;
    } names[] = {
        {PEN_JAIL_PART_OOM_SCORE, "oom-score"},
        {PEN_JAIL_PART_NETWORK_NAMESPACE, "network-namespace"},
        {PEN_JAIL_PART_TERMINAL, "terminal"},
        {PEN_JAIL_PART_DROP_CAPABILITIES, "drop-capabilities"},
        {PEN_JAIL_PART_NO_NEW_PRIVILEGES, "no-new-privileges"},
        {PEN_JAIL_PART_LIMITS, "limits"},
        {PEN_JAIL_PART_LANDLOCK, "landlock"},
        {PEN_JAIL_PART_SECCOMP, "seccomp"},
    };
    out[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t used = strlen(out);
        const char *how = jail->without & names[i].part ? "without-" : jail->partly & names[i].part ? "partly-" : "";
        snprintf(out + used, size - used, "%s%s%s", used ? " " : "", how, names[i].name);
    }
}
