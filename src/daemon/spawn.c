/* daemon/spawn.c - starting workers: command line, environment, descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/daemon.h"

#define CONTROL_FD 3 /* worker/README.md */

/* ---- command line ------------------------------------------------------------------------------------ */

void pen_arguments_add(struct pen_arguments *arguments, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (arguments->count == PEN_SPAWN_ARGUMENTS || vasprintf(&text, format, args) < 0)
        arguments->failed = true;
    else
        arguments->items[arguments->count++] = text;
    va_end(args);
}

void pen_arguments_finish(struct pen_arguments *arguments)
{
    for (unsigned i = 0; i < arguments->count; i++)
        free(arguments->items[i]);
    *arguments = (struct pen_arguments){0};
}

static void add_rule(struct pen_arguments *arguments, const struct pen_config_rule *rule)
{
    if (rule->enabled && rule->parts)
        pen_arguments_add(arguments, "--partition=%s:/%" PRIu64, rule->match, rule->parts);
    else
        pen_arguments_add(arguments, "--partition=%s:%" PRIu64, rule->match, rule->enabled ? rule->compute_units : 0);
    pen_arguments_add(arguments, "--span=%s:%" PRIu64, rule->match, rule->enabled && rule->span ? rule->span : 1);
}

void pen_arguments_common(struct pen_arguments *arguments, const struct pen_daemon *daemon)
{
    const struct pen_config *config = &daemon->config;
    pen_arguments_add(arguments, "%s", daemon->worker_path);
    pen_arguments_add(arguments, "--control-fd=%d", CONTROL_FD);
    pen_arguments_add(arguments, "--backend=%s", config->backend == PEN_CONFIG_FAKE ? "fake" : "opencl");
    if (config->jail == PEN_CONFIG_JAIL_OFF)
        pen_arguments_add(arguments, "--no-jail");
    else if (config->jail == PEN_CONFIG_JAIL_REQUIRED)
        pen_arguments_add(arguments, "--require-jail");
    if (config->worker_files)
        pen_arguments_add(arguments, "--files=%s", config->worker_files);
    if (config->cache_enabled && config->cache_dir) {
        pen_arguments_add(arguments, "--cache-dir=%s", config->cache_dir);
        pen_arguments_add(arguments, "--cache-bytes=%" PRIu64, config->cache_bytes);
    }
    /* All rules, also those that leave devices whole: the first that matches decides. */
    for (uint32_t i = 0; i < config->rule_count; i++)
        add_rule(arguments, &config->rules[i]);
    if (daemon->span && !config->rule_count)
        add_rule(arguments,
                 &(struct pen_config_rule){
                     .match = (char *)(uintptr_t) "*", .parts = daemon->span, .span = daemon->span, .enabled = 1});
}

/* ---- environment ------------------------------------------------------------------------------------- */

static bool same_name(const char *pair, const char *other)
{
    size_t length = strcspn(pair, "=");
    return !strncmp(pair, other, length) && (other[length] == '=' || other[length] == '\0');
}

/* Addresses of pools, with keys of their tenants: kernels can read what their process was started with. */
static bool holds_keys(const char *pair)
{
    return same_name("PENSTOCK_POOL", pair);
}

/* The daemon's own with drivers.environment over it. The strings are borrowed; free the array. */
static char **worker_environment(const struct pen_config *config)
{
    size_t count = 0;
    while (environ[count])
        count++;
    char **result = calloc(count + config->environment_count + 1, sizeof *result);
    if (!result)
        return NULL;

    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        bool left_out = holds_keys(environ[i]);
        for (uint32_t j = 0; j < config->environment_count; j++)
            left_out = left_out || same_name(config->environment[j], environ[i]);
        if (!left_out)
            result[used++] = environ[i];
    }
    for (uint32_t j = 0; j < config->environment_count; j++)
        if (!holds_keys(config->environment[j]))
            result[used++] = config->environment[j];
    return result;
}

/* ---- process ----------------------------------------------------------------------------------------- */

/* In the child: those become CONTROL_FD and PEN_SPAWN_RETURN_FD, and nothing else is open from there on. */
static void place_descriptors(const int descriptors[2])
{
    const int places[2] = {CONTROL_FD, PEN_SPAWN_RETURN_FD};
    int copies[2] = {-1, -1};
    for (int i = 0; i < 2; i++) /* out of the way first */
        if (descriptors[i] >= 0 && (copies[i] = fcntl(descriptors[i], F_DUPFD, PEN_SPAWN_RETURN_FD + 1)) < 0)
            _exit(127);
    close_range(CONTROL_FD, PEN_SPAWN_RETURN_FD, 0);
    for (int i = 0; i < 2; i++)
        if (copies[i] >= 0 && dup2(copies[i], places[i]) < 0)
            _exit(127);
    close_range(PEN_SPAWN_RETURN_FD + 1, ~0u, 0);
}

/* In the child, between fork and exec. */
static _Noreturn void become_worker(const struct pen_daemon *daemon, pid_t parent, const int *descriptors,
                                    char *const *arguments, char *const *environment)
{
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);

    /* A group of its own: a terminal's ^C is for the daemon, and the group can be ended as a whole. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);

    setrlimit(RLIMIT_NOFILE, &daemon->descriptor_limit);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        _exit(127);
    place_descriptors(descriptors);
    execve(arguments[0], arguments, environment);
    _exit(127);
}

int pen_spawn_worker(struct pen_daemon *daemon, const struct pen_arguments *arguments, int return_fd, pid_t *out_pid,
                     int *out_fd, struct pen_error *error)
{
    int pair[2], rc = 0;
    if (arguments->failed)
        return pen_fail(error, -PEN_ENOMEM, "starting %s: its command line cannot be made", daemon->worker_path);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return pen_fail(error, -PEN_EIO, "starting %s: cannot make a socket pair: %s", daemon->worker_path,
                        strerror(errno));
    char **environment = worker_environment(&daemon->config);
    if (!environment) {
        rc = pen_fail(error, -PEN_ENOMEM, "starting %s: %s", daemon->worker_path, pen_error_text(-PEN_ENOMEM));
        goto err_pair;
    }

    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        become_worker(daemon, parent, (const int[]){pair[1], return_fd}, arguments->items, environment);
    free(environment);
    if (pid < 0) {
        rc = pen_fail(error, -PEN_EIO, "starting %s: cannot fork: %s", daemon->worker_path, strerror(errno));
        goto err_pair;
    }
    setpgid(pid, pid); /* here too, so that it is done when the first of us needs it */
    close(pair[1]);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    *out_pid = pid;
    *out_fd = pair[0];
    return 0;

err_pair:
    close(pair[0]);
    close(pair[1]);
    return rc;
}
