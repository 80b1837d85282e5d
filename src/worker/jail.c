/* worker/jail.c - see jail.h. */
#include "worker/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

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

/* ---- limits, privileges -------------------------------------------------------------------------------------------
 */

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

/* ---- network --------------------------------------------------------------------------------------------------------
 */

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

/* ---- files
 * ------------------------------------------------------------------------------------------------------------ */

/* Newer than the headers of some systems. */
#define ACCESS_REFER    (UINT64_C(1) << 13)
#define ACCESS_TRUNCATE (UINT64_C(1) << 14)

static uint64_t write_accesses(int abi)
{
    uint64_t accesses = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                        LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                        LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                        LANDLOCK_ACCESS_FS_MAKE_SYM;
    if (abi >= 2)
        accesses |= ACCESS_REFER;
    if (abi >= 3)
        accesses |= ACCESS_TRUNCATE;
    return accesses;
}

static bool allow_below(int ruleset, const char *path, uint64_t accesses)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = accesses};
    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return false;
    long rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
    return !rc;
}

static bool restrict_files(const char *const *writable, size_t writable_count)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return false;
    const uint64_t files = LANDLOCK_ACCESS_FS_WRITE_FILE | (abi >= 3 ? ACCESS_TRUNCATE : 0);
    const struct landlock_ruleset_attr attributes = {.handled_access_fs = write_accesses(abi)};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
    if (ruleset < 0)
        return false;
    /* What cannot be allowed stays forbidden: no reason to go without the rest. */
    for (size_t i = 0; i < writable_count; i++)
        if (!allow_below(ruleset, writable[i], write_accesses(abi)))
            fprintf(stderr, "penstock-worker: %s cannot be made writable in the jail: %s\n", writable[i],
                    strerror(errno));
    allow_below(ruleset, "/dev", files);
    allow_below(ruleset, "/proc/self", files); /* thread names */
    bool ok = !syscall(SYS_landlock_restrict_self, ruleset, 0);
    close(ruleset);
    return ok;
}

/* ---- system calls
 * -------------------------------------------------------------------------------------------------------- */

/* By name: the library knows more of them than some systems' headers. */
static const char *const denied[] = {
    "acct",
    "add_key",
    "adjtimex",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "ioperm",
    "iopl",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
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
    "pivot_root",
    "process_madvise",
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
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
    "vhangup",
};

enum pen_jail_part pen_jail_deny(const char *const *calls, size_t count)
{
    enum pen_jail_part part = PEN_JAIL_WHOLE;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return PEN_JAIL_WITHOUT;
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(calls[i]);
        if (number == __NR_SCMP_ERROR || seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0)) {
            fprintf(stderr, "penstock-worker: the system call %s cannot be denied in the jail\n", calls[i]);
            part = PEN_JAIL_PARTLY;
        }
    }
    if (seccomp_load(filter))
        part = PEN_JAIL_WITHOUT;
    seccomp_release(filter);
    return part;
}

/* ---- all of it
 * ------------------------------------------------------------------------------------------------------------ */

static void say(enum pen_jail_part part, const char *name, char *out, size_t size)
{
    static const char *const prefixes[] = {
        [PEN_JAIL_WITHOUT] = "without-", [PEN_JAIL_PARTLY] = "partly-", [PEN_JAIL_WHOLE] = ""};
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s%s%s", used ? " " : "", prefixes[part], name);
}

static enum pen_jail_part whole(bool active)
{
    return active ? PEN_JAIL_WHOLE : PEN_JAIL_WITHOUT;
}

bool pen_jail_enter(const char *const *writable, size_t writable_count, char *out_status, size_t size)
{
    out_status[0] = 0;
    say(whole(write_text("/proc/self/oom_score_adj", OOM_SCORE)), "oom-score", out_status, size);
    say(whole(leave_network()), "network-namespace", out_status, size);
    say(whole(drop_capabilities()), "drop-capabilities", out_status, size);
    bool sealed = !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    say(whole(sealed), "no-new-privileges", out_status, size);
    say(whole(limit_process()), "limits", out_status, size);
    enum pen_jail_part files = whole(sealed && restrict_files(writable, writable_count));
    say(files, "landlock", out_status, size);
    enum pen_jail_part calls = sealed ? pen_jail_deny(denied, sizeof denied / sizeof *denied) : PEN_JAIL_WITHOUT;
    say(calls, "seccomp", out_status, size);
    return files == PEN_JAIL_WHOLE && calls == PEN_JAIL_WHOLE;
}
