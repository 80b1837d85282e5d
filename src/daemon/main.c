/* daemon/main.c - penstockd: options, paths, signals, start and stop. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/streams.h"
#include "daemon/daemon.h"
#include "net/tcp.h"

enum { EXIT_USAGE = 2 };

struct options {
    const char *config_file, *socket;
    const char *private_dir; /* NULL: none */
    int lifeline_fd;         /* -1: none */
    int level;               /* enum pen_report_level; -1: as configured */
    const char *plain_tcp;   /* an address of this host's own; NULL: none */
    unsigned long span;      /* 0: none */
    bool check;
};

static const char usage[] =
    "usage: penstockd [OPTION]...\n"
    "Keeps this host's accelerators as a pool, and a worker process for each session on it.\n"
    "\n"
    "  --config FILE     configuration, see penstock.yaml(5)\n"
    "                    (PENSTOCK_CONFIG, else " PEN_CONFIG_SYSTEM " if there is one)\n"
    "  --socket PATH     where to listen (`socket` of the configuration, else PENSTOCK_SOCKET,\n"
    "                    else by user)\n"
    "  --log LEVEL       error, warn, info or debug (`log` of the configuration)\n"
    "  --check           read the configuration, say what is wrong with it, and exit\n"
    "  --foreground      stay in the foreground: it always does\n"
    "  --private DIR     listen in DIR and remove it at the end,\n"
    "  --lifeline FD     which is when the other side of this socket closes: for penstock run\n"
    "  --plain-tcp ADDRESS  listen without protection at an address that this host alone can\n"
    "                    reach, 127.0.0.1:port: for measurements\n"
    "  --span N          offer each N devices as one; one that can be cut, in N parts\n"
    "  --version, --help\n";

/* ---- options ----------------------------------------------------------------------------------------- */

static int parse_level(const char *name)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(name, names[i]))
            return i;
    return -1;
}

/* Exits on --help, --version and mistakes. */
static void parse_options(int argc, char **argv, struct options *out)
{
    static const struct option known[] = {
        {"config", required_argument, NULL, 'c'},  {"socket", required_argument, NULL, 's'},
        {"log", required_argument, NULL, 'l'},     {"check", no_argument, NULL, 'k'},
        {"foreground", no_argument, NULL, 'f'},    {"lifeline", required_argument, NULL, 'L'},
        {"private", required_argument, NULL, 'P'}, {"plain-tcp", required_argument, NULL, 'T'},
        {"span", required_argument, NULL, 'S'},    {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    *out = (struct options){.lifeline_fd = -1, .level = -1};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        char *end = NULL;
        switch (option) {
        case 'c':
            out->config_file = optarg;
            break;
        case 's':
            out->socket = optarg;
            break;
        case 'l':
            out->level = parse_level(optarg);
            if (out->level < 0) {
                fprintf(stderr, "penstockd: --log is \"%s\"; it must be error, warn, info or debug\n", optarg);
                exit(EXIT_USAGE);
            }
            break;
        case 'k':
            out->check = true;
            break;
        case 'f':
            break;
        case 'L':
            out->lifeline_fd = (int)strtol(optarg, &end, 10);
            if (*end || out->lifeline_fd < 0 || fcntl(out->lifeline_fd, F_SETFD, FD_CLOEXEC)) {
                fprintf(stderr, "penstockd: --lifeline is \"%s\"; it must be an open descriptor\n", optarg);
                exit(EXIT_USAGE);
            }
            break;
        case 'P':
            out->private_dir = optarg;
            break;
        case 'T':
            out->plain_tcp = optarg;
            break;
        case 'S':
            out->span = strtoul(optarg, &end, 10);
            if (*end || out->span < 2 || out->span > PEN_LIMIT_DEVICES) {
                fprintf(stderr, "penstockd: --span is \"%s\"; it must be a number from 2 to %u\n", optarg,
                        PEN_LIMIT_DEVICES);
                exit(EXIT_USAGE);
            }
            break;
        case 'V':
            puts("penstockd " PEN_VERSION);
            exit(0);
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs("penstockd: see penstockd --help\n", stderr);
            exit(EXIT_USAGE);
        }
    }
    if (optind < argc) {
        fprintf(stderr, "penstockd: \"%s\" is not an option; see penstockd --help\n", argv[optind]);
        exit(EXIT_USAGE);
    }
}

/* ---- paths ------------------------------------------------------------------------------------------- */

static int find_socket(struct pen_daemon *daemon, const char *option, struct pen_error *error)
{
    char in_private[PATH_MAX];
    const char *path = option ? option : daemon->config.socket;
    if (daemon->private_dir) {
        snprintf(in_private, sizeof in_private, "%s/penstockd.sock", daemon->private_dir);
        path = in_private;
    }
    if (!path)
        return pen_unix_default_path(daemon->socket_path, sizeof daemon->socket_path, error);
    if (strlen(path) > 107)
        return pen_fail(error, -PEN_ELIMIT,
                        "the socket's path %.200s is longer than the 107 bytes that the system "
                        "allows (--socket, `socket`)",
                        path);
    snprintf(daemon->socket_path, sizeof daemon->socket_path, "%s", path);
    return 0;
}

/* PENSTOCK_WORKER_PATH, workers.path, the build tree's, the installed one. */
static int find_worker(struct pen_daemon *daemon, struct pen_error *error)
{
    const char *path = getenv("PENSTOCK_WORKER_PATH");
    if (!path || !*path)
        path = daemon->config.worker_path;
    if (path) {
        if (access(path, X_OK))
            return pen_fail(error, -PEN_ECONFIG,
                            "cannot execute the worker %.300s: %s (PENSTOCK_WORKER_PATH, "
                            "workers.path)",
                            path, strerror(errno));
        snprintf(daemon->worker_path, sizeof daemon->worker_path, "%s", path);
        return 0;
    }

    char self[PATH_MAX - 64];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    snprintf(daemon->worker_path, sizeof daemon->worker_path, "%s/../worker/penstock-worker", self);
    if (!access(daemon->worker_path, X_OK))
        return 0;
    snprintf(daemon->worker_path, sizeof daemon->worker_path, "%s", PEN_LIBEXECDIR "/penstock-worker");
    if (!access(daemon->worker_path, X_OK))
        return 0;
    return pen_fail(error, -PEN_ECONFIG,
                    "cannot find penstock-worker: neither %.300s/../worker/ nor " PEN_LIBEXECDIR
                    " has it; set PENSTOCK_WORKER_PATH or workers.path",
                    self);
}

/* mkdir -p; what cannot be made is the worker's to find out, which then works without a cache. */
static void make_directories(const char *path)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(part, 0700);
        *slash = '/';
    }
}

static int find_cache(struct pen_config *config, struct pen_error *error)
{
    const char *system = getenv("CACHE_DIRECTORY"), *user = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char path[PATH_MAX] = "";
    if (!config->cache_enabled)
        return 0;
    if (config->cache_dir)
        snprintf(path, sizeof path, "%s", config->cache_dir);
    else if (system && *system == '/') /* by systemd */
        snprintf(path, sizeof path, "%s", system);
    else if (user && *user == '/')
        snprintf(path, sizeof path, "%s/penstock", user);
    else if (geteuid() == 0)
        snprintf(path, sizeof path, "/var/cache/penstock");
    else if (home && *home == '/')
        snprintf(path, sizeof path, "%s/.cache/penstock", home);
    else
        return 0;
    make_directories(path);
    free(config->cache_dir);
    config->cache_dir = strdup(path);
    return config->cache_dir ? 0 : pen_fail(error, -PEN_ENOMEM, "starting: %s", pen_error_text(-PEN_ENOMEM));
}

static void set_level(const struct pen_daemon *daemon)
{
    pen_report_set_level(
        (enum pen_report_level)(daemon->level >= 0 ? (uint64_t)daemon->level : daemon->config.log_level));
}

/* ---- signals ----------------------------------------------------------------------------------------- */

static void on_stop(evutil_socket_t number, short what, void *context)
{
    struct pen_daemon *daemon = context;
    (void)what;
    if (daemon->stopping) /* asked twice */
        daemon->config.stop_ms = 0;
    pen_report(PEN_REPORT_INFO, "stopping: signal %d (%s)", (int)number, strsignal((int)number));
    pen_daemon_stop(daemon);
}

static void on_hand_over(evutil_socket_t number, short what, void *context)
{
    (void)what;
    pen_report(PEN_REPORT_INFO, "stopping: signal %d (%s)", (int)number, strsignal((int)number));
    pen_daemon_hand_over(context);
}

static void on_child(evutil_socket_t number, short what, void *context)
{
    (void)number, (void)what;
    pen_workers_reap(context);
}

/* The configuration, and the files that it names. */
static int load(const char *file, struct pen_config *config, struct pen_certificates **out_certificates,
                struct pen_error *error)
{
    int rc = pen_config_load(config, file, error);
    if (!rc && (rc = pen_config_certificates(config, file, out_certificates, error)))
        pen_config_finish(config);
    return rc;
}

static void on_reload(evutil_socket_t number, short what, void *context)
{
    struct pen_daemon *daemon = context;
    struct pen_config config;
    struct pen_certificates *certificates;
    struct pen_error error = {0};
    (void)number, (void)what;
    if (daemon->stopping)
        return;
    int rc = load(daemon->config_file, &config, &certificates, &error);
    if (!rc && (rc = find_cache(&config, &error))) {
        pen_certificates_destroy(certificates);
        pen_config_finish(&config);
    }
    if (rc) {
        pen_report(PEN_REPORT_ERROR, "the configuration is kept as it was: %s", error.message);
        return;
    }
    pen_certificates_destroy(daemon->certificates);
    pen_config_finish(&daemon->config);
    daemon->certificates = certificates;
    daemon->config = config;
    set_level(daemon);
    pen_report(PEN_REPORT_INFO, "configuration read again; `socket` and workers.path hold from the next start");
    daemon->spare_wanted = (uint32_t)config.warm_workers;
    daemon->start_failures = 0;
    pen_workers_retire(daemon);
    pen_probe_start(daemon);
    pen_workers_fill(daemon);
}

static void on_lifeline(evutil_socket_t fd, short what, void *context)
{
    char byte;
    (void)what;
    ssize_t got = read((int)fd, &byte, 1);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    pen_daemon_stop(context);
    close((int)fd);
}

/* ---- life -------------------------------------------------------------------------------------------- */

void pen_daemon_stop(struct pen_daemon *daemon)
{
    pen_probe_cancel(daemon);
    if (!daemon->stopping) {
        pen_gate_stop(daemon);
        pen_clients_finish(daemon);
    }
    daemon->stopping = true;
    pen_workers_stop(daemon);
    pen_daemon_maybe_leave(daemon);
}

void pen_daemon_hand_over(struct pen_daemon *daemon)
{
    if (!daemon->stopping && !daemon->private_dir)
        pen_workers_leave(daemon);
    pen_daemon_stop(daemon);
}

void pen_daemon_maybe_leave(struct pen_daemon *daemon)
{
    if (daemon->stopping && pen_list_empty(&daemon->workers) && pen_list_empty(&daemon->probes))
        event_base_loopbreak(daemon->base);
}

/* Descriptors: three a worker, one a connection. Children get the limit back: select() is still used out there. */
static void raise_descriptor_limit(struct pen_daemon *daemon)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    daemon->descriptor_limit = limit;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int prepare(struct pen_daemon *daemon, const struct options *options, struct pen_error *error)
{
    daemon->config_file = pen_config_find(options->config_file, !options->private_dir);
    daemon->private_dir = options->private_dir;
    daemon->level = options->level;
    daemon->span = options->span;
    int rc = load(daemon->config_file, &daemon->config, &daemon->certificates, error);
    if (!rc && daemon->span && daemon->config.rule_count)
        rc = pen_fail(error, -PEN_ECONFIG,
                      "--span=%lu, and %s says itself which devices there are: `span` in its entries of `devices`",
                      options->span, daemon->config_file);
    if (!rc)
        rc = find_worker(daemon, error);
    if (!rc)
        rc = find_socket(daemon, options->socket, error);
    if (!rc && !options->check)
        rc = find_cache(&daemon->config, error);
    set_level(daemon);
    return rc;
}

/* Listens, and starts the first processes. */
static int start(struct pen_daemon *daemon, const char *plain_tcp, struct pen_error *error)
{
    daemon->base = event_base_new();
    if (!daemon->base)
        return pen_fail(error, -PEN_EIO, "starting: cannot make an event loop: %s", strerror(errno));
    pen_list_init(&daemon->probes);
    int rc = daemon->private_dir ? pen_folder_take_private(daemon, error) : 0;
    if (!rc)
        rc = pen_workers_init(daemon, error);
    if (!rc && plain_tcp)
        rc = pen_tcp_listen(plain_tcp, false, &daemon->tcp_fd, error);
    if (!rc)
        rc = pen_gate_init(daemon, error);
    if (!rc)
        rc = pen_clients_init(daemon, error);
    if (!rc)
        rc = pen_folder_open(daemon, error);
    if (rc)
        return rc;
    pen_workers_inherit(daemon);
    pen_folder_clean(daemon);
    pen_report(PEN_REPORT_INFO, "penstockd " PEN_VERSION " listens at %s, %s%s", daemon->socket_path,
               daemon->config_file ? "configured by " : "with the default configuration",
               daemon->config_file ? daemon->config_file : "");
    if (plain_tcp) {
        char address[64];
        pen_tcp_local(daemon->tcp_fd, address, sizeof address);
        pen_report(PEN_REPORT_INFO, "listens without protection at %s", address);
    }
    pen_probe_start(daemon);
    pen_workers_fill(daemon);
    return 0;
}

static void finish(struct pen_daemon *daemon)
{
    pen_gate_stop(daemon);
    pen_revoke_stop(daemon);
    if (daemon->clients.next) /* else they never began */
        pen_clients_finish(daemon);
    pen_workers_finish(daemon);
    pen_folder_close(daemon);
    pen_folder_remove_private(daemon);
    if (daemon->pool.listing)
        evbuffer_free(daemon->pool.listing);
    pen_certificates_destroy(daemon->certificates);
    free(daemon->cache_lacks);
    pen_config_finish(&daemon->config);
}

/* Signals wait until they are watched: one that comes earlier must not leave a socket behind. */
static void hold_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigprocmask(how, &set, NULL);
}

#define WATCHES 6

static int run(struct pen_daemon *daemon, int lifeline_fd)
{
    struct event *watches[WATCHES] = {
        evsignal_new(daemon->base, SIGTERM, on_stop, daemon),
        evsignal_new(daemon->base, SIGINT, on_stop, daemon),
        evsignal_new(daemon->base, SIGUSR1, on_hand_over, daemon),
        evsignal_new(daemon->base, SIGHUP, on_reload, daemon),
        evsignal_new(daemon->base, SIGCHLD, on_child, daemon),
        lifeline_fd >= 0 ? event_new(daemon->base, lifeline_fd, EV_READ | EV_PERSIST, on_lifeline, daemon) : NULL};
    for (int i = 0; i < WATCHES; i++)
        if (watches[i])
            event_add(watches[i], NULL);
    hold_signals(SIG_UNBLOCK);
    pen_workers_reap(daemon); /* who died before we watched */
    if (lifeline_fd >= 0 && write(lifeline_fd, "r", 1) != 1)
        pen_daemon_stop(daemon);

    int rc = event_base_dispatch(daemon->base);
    for (int i = 0; i < WATCHES; i++)
        if (watches[i])
            event_free(watches[i]);
    pen_report(PEN_REPORT_INFO, "stopped");
    return rc < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct pen_daemon daemon = {.listen_fd = -1, .tcp_fd = -1, .gate_fd = -1, .revoke_fd = -1, .work_fd = -1};
    struct options options;
    struct pen_error error = {0};
    if (pen_streams_open(0)) /* the workers' too */
        return 1;
    parse_options(argc, argv, &options);
    signal(SIGPIPE, SIG_IGN);

    int rc = prepare(&daemon, &options, &error);
    if (rc || options.check) {
        fprintf(rc ? stderr : stdout, "penstockd: %s\n", rc ? error.message : "the configuration is good");
        finish(&daemon);
        return rc ? 1 : 0;
    }
    hold_signals(SIG_BLOCK);
    raise_descriptor_limit(&daemon);
    rc = start(&daemon, options.plain_tcp, &error);
    if (rc)
        fprintf(stderr, "penstockd: %s\n", error.message);
    int status = rc ? 1 : run(&daemon, options.lifeline_fd);
    finish(&daemon);
    if (daemon.base)
        event_base_free(daemon.base);
    return status;
}
