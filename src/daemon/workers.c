/* daemon/workers.c - the workers: kept warm, handed a session, watched until they end. See README.md, "Life of a
 * worker". */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "worker/crash.h"

/* Of sends to workers: what does not fit at once is for one that is stuck, or does not want to read; others are not to
 * wait for it. A small frame fits whole or not at all. */
#define AT_ONCE 0
/* Between a session's start and its spare's: the program has the processors to itself while it starts. */
#define REFILL_MS 250
/* Wait before a worker is started again after failed starts: doubles from the first to the last. */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_LAST_MS  30000

enum worker_state { WORKER_STARTING, WORKER_WARM, WORKER_SERVING, WORKER_ENDING };

struct worker {
    struct pen_list link;
    struct pen_daemon *daemon;
    enum worker_state state;
    bool served;       /* had a session */
    bool asked_to_end; /* its end is no failure */
    pid_t pid;
    int pidfd;                /* of one that another daemon started, which is no child of ours; -1: it is one */
    bool returning;           /* such a one, whose `ready` is awaited */
    int control_fd, crash_fd; /* -1: none */
    struct event *event, *timer, *ended;
    struct pen_unix_frame frame;
    uint64_t pool;   /* digest of the devices that its drivers have */
    uint64_t number; /* its directory's name */

    /* the session, from SERVING on */
    uint64_t session, started_ns;
    pid_t client_pid;
    char program[PEN_DAEMON_PROGRAM];
    char *record_name;                       /* NULL: not recorded */
    bool remote;                             /* of a program on another host */
    bool detached;                           /* the program is sent away */
    char tenant[PEN_TLS_IDENTITY_BYTES + 1]; /* whose program that is; "" without protection */
};

static struct timeval milliseconds(uint64_t ms)
{
    return (struct timeval){(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
}

static struct worker *worker_of(struct pen_list *link)
{
    return PEN_CONTAINER(link, struct worker, link);
}

static uint32_t count_in(const struct pen_daemon *daemon, enum worker_state state)
{
    uint32_t count = 0;
    PEN_LIST_EACH(link, next, &daemon->workers)
    count += worker_of(link)->state == state;
    return count;
}

/* ---- the crash page ---------------------------------------------------------------------------------- */

/* Read, never mapped: the worker could cut the file short. False when there is none. */
static bool read_crash_page(const struct worker *worker, struct pen_crash_page *out)
{
    memset(out, 0, sizeof *out);
    return worker->crash_fd >= 0 && pread(worker->crash_fd, out, sizeof *out, 0) == (ssize_t)sizeof *out &&
           out->magic == PEN_CRASH_MAGIC;
}

/* "kernel "b"; before it "a"", or what it did instead. */
static void describe_work(const struct worker *worker, char *out, size_t size)
{
    struct pen_crash_page page;
    char name[PEN_CRASH_NAME + 1];
    size_t used;
    snprintf(out, size, "before it had launched a kernel");
    if (!read_crash_page(worker, &page))
        return;
    pen_crash_kernel(&page, 0, name, sizeof name);
    if (!name[0]) {
        snprintf(out, size, "before it had launched a kernel (phase: %s)", pen_crash_phase_name(&page));
        return;
    }
    used = (size_t)snprintf(out, size, "the last kernel launched was \"%s\"", name);
    for (uint32_t age = 1; age < PEN_CRASH_KERNELS && used < size; age++) {
        pen_crash_kernel(&page, age, name, sizeof name);
        if (!name[0])
            break;
        used += (size_t)snprintf(out + used, size - used, "%s\"%s\"", age == 1 ? ", before it " : ", ", name);
    }
}

/* What is wrong with cache.dir, once for as long as it is. */
static void say_cache(struct pen_daemon *daemon, struct pen_crash_page *page)
{
    char *before = daemon->cache_lacks;
    page->cache[sizeof page->cache - 1] = '\0';
    daemon->cache_lacks = page->cache[0] ? strdup(page->cache) : NULL;
    if (daemon->cache_lacks && (!before || strcmp(before, daemon->cache_lacks) != 0))
        pen_report(PEN_REPORT_WARN, "%s: what is built, and what drivers keep, may go with its session",
                   daemon->cache_lacks);
    free(before);
}

/* ---- ending ------------------------------------------------------------------------------------------ */

/* The number of a child is its own until it is reaped. Of another process: while it has it, or nobody has. */
static void make_end(struct worker *worker)
{
    if (worker->pidfd < 0 || !pidfd_send_signal(worker->pidfd, 0, NULL, 0) || (kill(worker->pid, 0) && errno == ESRCH))
        kill(-worker->pid, SIGKILL);
}

static void overdue(evutil_socket_t fd, short what, void *context)
{
    struct worker *worker = context;
    (void)fd, (void)what;
    if (worker->state == WORKER_STARTING || worker->returning)
        pen_report(PEN_REPORT_ERROR, "worker %d was not ready within %" PRIu64 " ms (limits.worker_start_ms)",
                   (int)worker->pid, worker->daemon->config.worker_start_ms);
    else if (!worker->daemon->stopping)
        pen_report(PEN_REPORT_WARN, "worker %d did not end within %" PRIu64 " ms (limits.stop_ms)", (int)worker->pid,
                   worker->daemon->config.stop_ms);
    make_end(worker);
}

static void arm(struct worker *worker, uint64_t ms)
{
    struct timeval limit = milliseconds(ms);
    event_add(worker->timer, &limit);
}

/* Says that the worker is to end, and closes the control connection. */
static void let_go(struct worker *worker)
{
    const struct pen_msg_shutdown message = {0};
    _Alignas(8) unsigned char frame[64];
    pen_msg_shutdown_encode(&message, 0, frame);
    worker->returning = false;
    if (worker->control_fd >= 0)
        (void)pen_unix_send(worker->control_fd, frame, pen_msg_shutdown_size(&message), NULL, 0, AT_ONCE);
    if (worker->event)
        event_free(worker->event);
    worker->event = NULL;
    if (worker->control_fd >= 0)
        close(worker->control_fd);
    worker->control_fd = -1;
    worker->state = WORKER_ENDING;
    if (worker->timer)
        arm(worker, worker->daemon->config.stop_ms);
}

/* The same, and what becomes of it is no failure of its own. */
static void dismiss(struct worker *worker)
{
    worker->asked_to_end = true;
    let_go(worker);
}

static void work_directory(const struct worker *worker, char *out, size_t size)
{
    snprintf(out, size, "%s/worker-%" PRIu64, worker->daemon->work_dir, worker->number);
}

/* What it has in the file system, and the process, are left as they are. */
static void forget(struct worker *worker)
{
    if (worker->event)
        event_free(worker->event);
    if (worker->ended)
        event_free(worker->ended);
    if (worker->pidfd >= 0)
        close(worker->pidfd);
    if (worker->timer)
        event_free(worker->timer);
    if (worker->control_fd >= 0)
        close(worker->control_fd);
    if (worker->crash_fd >= 0)
        close(worker->crash_fd);
    pen_unix_frame_finish(&worker->frame);
    pen_list_remove(&worker->link);
    free(worker->record_name);
    free(worker);
}

static void destroy(struct worker *worker)
{
    char directory[PATH_MAX + 64];
    work_directory(worker, directory, sizeof directory);
    pen_remove_tree(directory);
    pen_note_remove(worker->daemon, worker->number);
    forget(worker);
}

static void say_session_ended(const struct worker *worker, int status)
{
    char work[700];
    if (WIFSIGNALED(status)) {
        describe_work(worker, work, sizeof work);
        pen_report(PEN_REPORT_ERROR,
                   "session %" PRIu64 " of %s (pid %d) is lost: its worker %d was killed by signal %d (%s); %s",
                   worker->session, worker->program, (int)worker->client_pid, (int)worker->pid, WTERMSIG(status),
                   strsignal(WTERMSIG(status)), work);
        return;
    }
    if (WEXITSTATUS(status)) {
        describe_work(worker, work, sizeof work);
        pen_report(PEN_REPORT_WARN, "session %" PRIu64 " of %s (pid %d) failed: its worker %d exited with %d; %s",
                   worker->session, worker->program, (int)worker->client_pid, (int)worker->pid, WEXITSTATUS(status),
                   work);
        return;
    }
    struct pen_crash_page page;
    read_crash_page(worker, &page);
    say_cache(worker->daemon, &page);
    pen_report(PEN_REPORT_INFO, "session %" PRIu64 " of %s (pid %d) ended: %" PRIu64 " commands, %" PRIu64 " failed",
               worker->session, worker->program, (int)worker->client_pid, (uint64_t)page.commands,
               (uint64_t)page.failed);
}

/* One that never served: a failed start unless it was told to go. */
static void say_spare_ended(struct pen_daemon *daemon, const struct worker *worker, int status)
{
    if (worker->asked_to_end)
        return;
    daemon->start_failures++;
    if (WIFSIGNALED(status))
        pen_report(PEN_REPORT_ERROR,
                   "worker %d was killed by signal %d (%s) before it had a session; drivers.environment says which "
                   "drivers it loads",
                   (int)worker->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == 127)
        pen_report(PEN_REPORT_ERROR, "worker %s cannot be executed (workers.path, PENSTOCK_WORKER_PATH)",
                   daemon->worker_path);
    else
        pen_report(PEN_REPORT_ERROR, "worker %d exited with %d before it had a session", (int)worker->pid,
                   WEXITSTATUS(status));
}

/* It has loaded its drivers; the descriptor is its crash page. */
static int take_ready(struct worker *worker, struct pen_unix_frame *frame)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_ready message;
    int rc = pen_msg_ready_decode(frame->data, frame->size, &scratch, &message);
    pen_scratch_finish(&scratch);
    if (!rc && frame->fd_count != 1)
        rc = -PEN_EPROTO;
    if (!rc && worker->returning && message.pid != (uint32_t)worker->pid)
        rc = -PEN_EPROTO;
    if (rc)
        return rc;
    worker->pool = message.pool;
    worker->crash_fd = frame->fds[0];
    frame->fds[0] = -1;
    return 0;
}

/* Nobody tells us how the child of another ended, but for its own words. */
static void say_other_ended(struct worker *worker)
{
    char work[700];
    struct pen_crash_page page;
    /* It may have ended right after its first words to us, which bring the page. */
    if (worker->returning && pen_unix_receive_some(worker->control_fd, &worker->frame) == 1 &&
        worker->frame.opcode == PEN_OP_READY)
        take_ready(worker, &worker->frame);
    if (read_crash_page(worker, &page) && page.phase == PEN_CRASH_ENDED) {
        say_session_ended(worker, W_EXITCODE(page.status & 0xff, 0));
        return;
    }
    if (worker->asked_to_end) {
        pen_report(PEN_REPORT_INFO, "session %" PRIu64 " of %s (pid %d) ended", worker->session, worker->program,
                   (int)worker->client_pid);
        return;
    }
    describe_work(worker, work, sizeof work);
    pen_report(PEN_REPORT_ERROR,
               "session %" PRIu64
               " of %s (pid %d) is lost: its worker %d, of the penstockd before this one, was killed; "
               "%s",
               worker->session, worker->program, (int)worker->client_pid, (int)worker->pid, work);
}

static void worker_exited(struct worker *worker, int status)
{
    struct pen_daemon *daemon = worker->daemon;
    if (worker->served)
        say_session_ended(worker, status);
    else
        say_spare_ended(daemon, worker, status);
    destroy(worker);
}

void pen_workers_reap(struct pen_daemon *daemon)
{
    for (;;) {
        /* Looked at before it is reaped: while its number is taken, the group it may have left can be ended. */
        siginfo_t info = {0};
        int status;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == 0)
            break;
        kill(-info.si_pid, SIGKILL);
        if (waitpid(info.si_pid, &status, 0) < 0)
            break;
        if (pen_probe_exited(daemon, info.si_pid, status))
            continue;
        PEN_LIST_EACH(link, next, &daemon->workers)
        {
            if (worker_of(link)->pid == info.si_pid) {
                worker_exited(worker_of(link), status);
                break;
            }
        }
    }
    pen_workers_fill(daemon);
    pen_daemon_maybe_leave(daemon);
}

/* ---- starting ---------------------------------------------------------------------------------------- */

/* Not a child of ours. */
static void other_ended(evutil_socket_t fd, short what, void *context)
{
    struct worker *worker = context;
    struct pen_daemon *daemon = worker->daemon;
    (void)fd, (void)what;
    make_end(worker); /* what it has left of its group */
    say_other_ended(worker);
    destroy(worker);
    pen_daemon_maybe_leave(daemon);
}

/* False, and it is let go, when its drivers have other devices than the pool: ids would mean others in it. While a
 * probe runs nobody knows. */
static bool fits(struct worker *worker)
{
    struct pen_daemon *daemon = worker->daemon;
    if (daemon->pool.state != PEN_POOL_KNOWN || worker->pool == daemon->pool.found)
        return true;
    pen_report(
        PEN_REPORT_ERROR,
        "worker %d sees other devices than the pool has (did a driver fail in it?); it is ended; SIGHUP looks for "
        "devices again",
        (int)worker->pid);
    daemon->start_failures++;
    dismiss(worker);
    return false;
}

void pen_workers_check(struct pen_daemon *daemon)
{
    PEN_LIST_EACH(link, next, &daemon->workers)
    {
        if (worker_of(link)->state == WORKER_WARM)
            (void)fits(worker_of(link));
    }
}

static uint32_t wanted_workers(struct pen_daemon *daemon)
{
    uint32_t waiting = pen_clients_waiting(daemon);
    return waiting > daemon->spare_wanted ? waiting : daemon->spare_wanted;
}

static void became_warm(struct worker *worker)
{
    struct pen_daemon *daemon = worker->daemon;
    if (!fits(worker))
        return;
    worker->state = WORKER_WARM;
    event_del(worker->timer);
    daemon->start_failures = 0;
    struct pen_crash_page page;
    read_crash_page(worker, &page);
    say_cache(daemon, &page);
    page.jail[sizeof page.jail - 1] = '\0';
    pen_report(worker->number == 1 ? PEN_REPORT_INFO : PEN_REPORT_DEBUG, "worker %d is warm; jail: %s",
               (int)worker->pid, page.jail[0] ? page.jail : "unknown");
    pen_clients_worker_ready(daemon);
    /* The clients that it was started for may have given up. */
    if (worker->state == WORKER_WARM && count_in(daemon, WORKER_WARM) > wanted_workers(daemon))
        dismiss(worker);
}

static void say_refusal(const struct worker *worker)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_refused message;
    if (!pen_msg_refused_decode(worker->frame.data, worker->frame.size, &scratch, &message))
        pen_report(PEN_REPORT_ERROR, "worker %d: %s", (int)worker->pid, message.message);
    pen_scratch_finish(&scratch);
}

static void say_unexpected(const struct worker *worker, int rc)
{
    pen_report(PEN_REPORT_ERROR, "worker %d sent something unexpected (%s); it is ended", (int)worker->pid,
               pen_error_text(rc));
}

/* One that served before we began. */
static void became_known(struct worker *worker)
{
    worker->returning = false;
    event_del(worker->timer);
    if (pen_gate_knows(worker->daemon, worker->tenant))
        return;
    pen_report(PEN_REPORT_INFO, "tenant %s is not let in any more: its session %" PRIu64 " ends", worker->tenant,
               worker->session);
    dismiss(worker);
}

/* From a worker that starts: `ready`, or `refused`; from one that comes back: `ready`. */
static void first_words(struct worker *worker)
{
    int rc = pen_unix_receive_some(worker->control_fd, &worker->frame);
    if (rc == 0)
        return;
    if (rc == 1 && worker->frame.opcode == PEN_OP_READY) {
        rc = take_ready(worker, &worker->frame);
        if (!rc) {
            (worker->returning ? became_known : became_warm)(worker);
            return;
        }
    }
    if (rc == 1 && worker->frame.opcode == PEN_OP_REFUSED) {
        say_refusal(worker);
    } else if (rc != -PEN_EGONE) {
        say_unexpected(worker, rc == 1 ? -PEN_EPROTO : rc);
        make_end(worker);
    }
    let_go(worker);
}

/* A warm worker has nothing more to say: this is its end, or what drivers and kernels write there, which is not read.
 */
static void last_words(struct worker *worker)
{
    char byte;
    ssize_t got = recv(worker->control_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0) {
        say_unexpected(worker, -PEN_EPROTO);
        make_end(worker);
    }
    let_go(worker);
}

static void control_readable(evutil_socket_t fd, short what, void *context)
{
    struct worker *worker = context;
    (void)fd, (void)what;
    if (worker->state == WORKER_STARTING || worker->returning)
        first_words(worker);
    else
        last_words(worker);
}

/* Whether a session of a program on another host may come, which outlives us. */
static bool may_return(const struct pen_daemon *daemon)
{
    return daemon->gate_fd >= 0 || daemon->tcp_fd >= 0;
}

static int start(struct pen_daemon *daemon, struct pen_error *error)
{
    struct pen_arguments arguments = {0};
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return pen_fail(error, -PEN_ENOMEM, "starting a worker: %s", pen_error_text(-PEN_ENOMEM));
    *worker = (struct worker){
        .daemon = daemon, .state = WORKER_STARTING, .pidfd = -1, .crash_fd = -1, .number = ++daemon->next_worker};
    int return_fd = -1;
    int rc = may_return(daemon) ? pen_note_listen(daemon, worker->number, &return_fd, error) : 0;
    if (rc) {
        free(worker);
        return rc;
    }

    char directory[PATH_MAX + 64];
    work_directory(worker, directory, sizeof directory);
    pen_arguments_common(&arguments, daemon);
    pen_arguments_add(&arguments, "--tmp-dir=%s", directory);
    pen_arguments_add(&arguments, "--ring-bytes=%" PRIu64, daemon->config.ring_bytes);
    pen_arguments_add(&arguments, "--arena-bytes=%" PRIu64, daemon->config.arena_bytes);
    pen_arguments_add(&arguments, "--spin-us=%" PRIu64, daemon->config.spin_us);
    if (daemon->config.listen_tcp)
        pen_arguments_add(&arguments, "--tenants");
    if (return_fd >= 0)
        pen_arguments_add(&arguments, "--return-fd=%d", PEN_SPAWN_RETURN_FD);
    rc = pen_spawn_worker(daemon, &arguments, return_fd, &worker->pid, &worker->control_fd, error);
    pen_arguments_finish(&arguments);
    if (return_fd >= 0)
        close(return_fd);
    if (rc) {
        pen_note_remove(daemon, worker->number);
        free(worker);
        return rc;
    }

    pen_list_append(&daemon->workers, &worker->link);
    worker->event = event_new(daemon->base, worker->control_fd, EV_READ | EV_PERSIST, control_readable, worker);
    worker->timer = evtimer_new(daemon->base, overdue, worker);
    if (!worker->event || !worker->timer || event_add(worker->event, NULL)) {
        make_end(worker); /* its exit is a failed start */
        return pen_fail(error, -PEN_ENOMEM, "starting a worker: %s", pen_error_text(-PEN_ENOMEM));
    }
    arm(worker, daemon->config.worker_start_ms);
    return 0;
}

static uint64_t backoff_ms(uint32_t failures)
{
    uint64_t ms = BACKOFF_FIRST_MS;
    for (uint32_t i = 1; i < failures && ms < BACKOFF_LAST_MS; i++)
        ms *= 2;
    return ms < BACKOFF_LAST_MS ? ms : BACKOFF_LAST_MS;
}

static void refill_later(struct pen_daemon *daemon, uint64_t ms)
{
    struct timeval delay = milliseconds(ms);
    if (!evtimer_pending(daemon->refill, NULL))
        event_add(daemon->refill, &delay);
}

/* Starts what is missing now; after failures, not before the timer's next turn. */
static void start_missing(struct pen_daemon *daemon)
{
    uint32_t wanted = wanted_workers(daemon);
    uint32_t spare = count_in(daemon, WORKER_STARTING) + count_in(daemon, WORKER_WARM);
    for (; spare < wanted && !daemon->stopping; spare++) {
        struct pen_error error = {0};
        if (!start(daemon, &error))
            continue;
        pen_report(PEN_REPORT_ERROR, "%s", error.message);
        daemon->start_failures++;
        refill_later(daemon, backoff_ms(daemon->start_failures));
        return;
    }
}

static void refill_now(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    start_missing(context);
}

void pen_workers_fill(struct pen_daemon *daemon)
{
    if (daemon->stopping)
        return;
    if (daemon->start_failures)
        refill_later(daemon, backoff_ms(daemon->start_failures));
    else if (pen_clients_waiting(daemon) || !evtimer_pending(daemon->refill, NULL))
        start_missing(daemon);
}

/* ---- sessions ---------------------------------------------------------------------------------------- */

static struct worker *warm_worker(struct pen_daemon *daemon)
{
    PEN_LIST_EACH(link, next, &daemon->workers)
    if (worker_of(link)->state == WORKER_WARM && worker_of(link)->pool == daemon->pool.found)
        return worker_of(link);
    return NULL;
}

static int send_adopt(struct worker *worker, uint64_t session, const struct pen_session_request *request)
{
    const struct pen_daemon_pool *pool = &worker->daemon->pool;
    struct pen_msg_adopt message = {.session = session,
                                    .features = request->features,
                                    .client_pid = (uint32_t)request->client_pid,
                                    .program = request->program,
                                    .record_path = request->record_path,
                                    .protected = request->protected,
                                    .reconnect_ms = (uint32_t)worker->daemon->config.reconnect_ms,
                                    .devices = pool->devices,
                                    .devices_count = pool->device_count};
    memcpy(message.secret, request->secret, sizeof message.secret);
    size_t size = pen_msg_adopt_size(&message);
    void *frame = size ? aligned_alloc(8, size) : NULL;
    if (!frame)
        return -PEN_ENOMEM;
    int fds[2] = {request->client_fd, request->record_fd};
    pen_msg_adopt_encode(&message, 0, frame);
    explicit_bzero(message.secret, sizeof message.secret);
    int rc = pen_unix_send(worker->control_fd, frame, size, fds, request->record_fd >= 0 ? 2 : 1, AT_ONCE);
    explicit_bzero(frame, size);
    free(frame);
    return rc;
}

/* For the daemon after us. */
static void write_note(const struct worker *worker)
{
    struct pen_note note = {.number = worker->number,
                            .session = worker->session,
                            .started_ns = worker->started_ns,
                            .pid = worker->pid,
                            .client_pid = worker->client_pid,
                            .detached = worker->detached};
    memcpy(note.program, worker->program, sizeof note.program);
    memcpy(note.tenant, worker->tenant, sizeof note.tenant);
    if (pen_note_write(worker->daemon, &note))
        pen_report(PEN_REPORT_WARN, "session %" PRIu64 " is not noted in %s (%s): it ends should penstockd be killed",
                   worker->session, worker->daemon->work_dir, strerror(errno));
}

/* The worker's from now on. */
static void note_session(struct worker *worker, uint64_t session, const struct pen_session_request *request)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    worker->session = session;
    worker->started_ns = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
    worker->client_pid = request->client_pid;
    snprintf(worker->program, sizeof worker->program, "%s", request->program);
    worker->remote = request->features & PEN_FEATURE_REMOTE;
    memcpy(worker->tenant, request->tenant, sizeof worker->tenant);
    if (worker->remote)
        write_note(worker);
}

int pen_workers_adopt(struct pen_daemon *daemon, const struct pen_session_request *request)
{
    struct worker *worker;
    while ((worker = warm_worker(daemon))) {
        uint64_t session = daemon->next_session + 1;
        note_session(worker, session, request);
        int rc = send_adopt(worker, session, request);
        if (rc) { /* it has just died: its exit will say why */
            pen_report(PEN_REPORT_DEBUG, "worker %d takes no session (%s)", (int)worker->pid, pen_error_text(rc));
            make_end(worker);
            let_go(worker);
            continue;
        }
        daemon->next_session = session;
        worker->state = WORKER_SERVING;
        worker->served = true;
        worker->record_name = request->record_fd >= 0 ? strdup(request->record_name) : NULL;
        pen_report(PEN_REPORT_INFO, "session %" PRIu64 " of %s (pid %d): worker %d", session, worker->program,
                   (int)request->client_pid, (int)worker->pid);
        if (daemon->private_dir)
            daemon->spare_wanted = 0;
        else
            refill_later(daemon, REFILL_MS);
        return 0;
    }
    return -PEN_EBUSY;
}

static struct worker *serving(const struct pen_daemon *daemon, uint64_t session, const char *tenant)
{
    PEN_LIST_EACH(link, next, &daemon->workers)
    {
        struct worker *worker = worker_of(link);
        if (worker->state == WORKER_SERVING && worker->remote && worker->session == session &&
            !strcmp(worker->tenant, tenant))
            return worker;
    }
    return NULL;
}

int pen_workers_serve(const struct pen_daemon *daemon, const struct pen_msg_session_resume *which, const char *tenant)
{
    const struct worker *worker = serving(daemon, which->session, tenant);
    if (!worker || (uint32_t)worker->pid != which->worker_pid)
        return -PEN_EDEVICEGONE;
    return worker->detached ? -PEN_EDETACHED : 0;
}

static struct worker *of_session(const struct pen_daemon *daemon, uint64_t session)
{
    PEN_LIST_EACH(link, next, &daemon->workers)
    if (worker_of(link)->state == WORKER_SERVING && worker_of(link)->session == session)
        return worker_of(link);
    return NULL;
}

int pen_workers_detach(struct pen_daemon *daemon, uint64_t session, bool detached, bool parked, struct pen_error *error)
{
    struct worker *worker = of_session(daemon, session);
    const struct pen_msg_detach message = {.detached = detached, .parked = parked};
    _Alignas(8) unsigned char frame[64];
    if (!worker)
        return pen_fail(error, -PEN_ENOENT, "there is no session %" PRIu64, session);
    if (!worker->remote)
        return pen_fail(error, -PEN_EUNSUPPORTED,
                        "session %" PRIu64
                        " is of a program on this host: only those of programs on other hosts can be "
                        "detached",
                        session);
    if (worker->detached == detached && !parked)
        return 0;
    pen_msg_detach_encode(&message, 0, frame);
    int rc = pen_unix_send(worker->control_fd, frame, pen_msg_detach_size(&message), NULL, 0, AT_ONCE);
    if (rc)
        return pen_fail(error, rc, "the worker of session %" PRIu64 " does not answer: %s", session,
                        pen_error_text(rc));
    worker->detached = detached;
    write_note(worker);
    pen_report(PEN_REPORT_INFO, "session %" PRIu64 " of %s: %s", session, worker->program,
               !detached ? "attached"
               : parked  ? "detached, and to be parked"
                         : "detached");
    return 0;
}

int pen_workers_trace(struct pen_daemon *daemon, uint64_t session, int client_fd, struct pen_error *error)
{
    const struct worker *worker = of_session(daemon, session);
    _Alignas(8) unsigned char frame[64];
    if (!worker)
        return pen_fail(error, -PEN_ENOENT, "there is no session %" PRIu64, session);
    const struct pen_msg_trace message = {0};
    pen_msg_trace_encode(&message, 0, frame);
    int rc = pen_unix_send(worker->control_fd, frame, pen_msg_trace_size(&message), &client_fd, 1, AT_ONCE);
    if (rc)
        return pen_fail(error, rc, "the worker of session %" PRIu64 " does not answer: %s", session,
                        pen_error_text(rc));
    pen_report(PEN_REPORT_INFO, "session %" PRIu64 " of %s: traced", session, worker->program);
    return 0;
}

int pen_workers_relink(struct pen_daemon *daemon, const struct pen_session_request *request)
{
    struct worker *worker = serving(daemon, request->resume, request->tenant);
    struct pen_msg_relink message = {.protected = request->protected};
    _Alignas(8) unsigned char frame[128];
    if (!worker || worker->detached)
        return worker ? -PEN_EDETACHED : -PEN_EDEVICEGONE;
    memcpy(message.secret, request->secret, sizeof message.secret);
    pen_msg_relink_encode(&message, 0, frame);
    int rc = pen_unix_send(worker->control_fd, frame, pen_msg_relink_size(&message), &request->client_fd, 1, AT_ONCE);
    explicit_bzero(&message, sizeof message);
    explicit_bzero(frame, sizeof frame);
    pen_report(PEN_REPORT_INFO, "session %" PRIu64 " of %s: %s", worker->session, worker->program,
               rc ? "its worker takes no new connection" : "a new connection");
    return rc;
}

void pen_workers_drop_tenant(struct pen_daemon *daemon, const char *tenant)
{
    PEN_LIST_EACH(link, next, &daemon->workers)
    {
        struct worker *worker = worker_of(link);
        if (worker->state == WORKER_SERVING && worker->remote && !strcmp(worker->tenant, tenant))
            dismiss(worker);
    }
}

bool pen_workers_unknown(struct pen_daemon *daemon, char out_tenant[PEN_TLS_IDENTITY_BYTES + 1])
{
    PEN_LIST_EACH(link, next, &daemon->workers)
    {
        const struct worker *worker = worker_of(link);
        if (worker->state != WORKER_SERVING || !worker->remote || pen_gate_knows(daemon, worker->tenant))
            continue;
        strcpy(out_tenant, worker->tenant);
        return true;
    }
    return false;
}

uint32_t pen_workers_sessions(const struct pen_daemon *daemon)
{
    return count_in(daemon, WORKER_SERVING);
}

static bool is_listed(const struct worker *worker, const char *record_name)
{
    if (worker->state != WORKER_SERVING)
        return false;
    return !record_name || (worker->record_name && !strcmp(worker->record_name, record_name));
}

static enum pen_session_state state_of(const struct worker *worker, const struct pen_crash_page *page)
{
    if (worker->detached)
        return page->parked ? PEN_SESSION_STATE_PARKED : PEN_SESSION_STATE_DETACHED;
    return worker->remote && page->broken ? PEN_SESSION_STATE_BROKEN : PEN_SESSION_STATE_CONNECTED;
}

uint32_t pen_workers_list(struct pen_daemon *daemon, const char *record_name, struct pen_session_info *out,
                          uint32_t limit)
{
    uint32_t count = 0;
    PEN_LIST_EACH(link, next, &daemon->workers)
    {
        const struct worker *worker = worker_of(link);
        if (!is_listed(worker, record_name) || count == limit)
            continue;
        struct pen_crash_page page;
        read_crash_page(worker, &page);
        out[count++] = (struct pen_session_info){.session = worker->session,
                                                 .client_pid = (uint32_t)worker->client_pid,
                                                 .worker_pid = (uint32_t)worker->pid,
                                                 .started_ns = worker->started_ns,
                                                 .commands = page.commands,
                                                 .arena_used_bytes = page.region_bytes,
                                                 .state = state_of(worker, &page),
                                                 .program = worker->program};
    }
    return count;
}

/* ---- from a daemon to the next ------------------------------------------------------------------------------ */

void pen_workers_leave(struct pen_daemon *daemon)
{
    PEN_LIST_EACH(link, next, &daemon->workers)
    {
        struct worker *worker = worker_of(link);
        if (worker->state != WORKER_SERVING || !worker->remote)
            continue;
        pen_report(PEN_REPORT_INFO,
                   "session %" PRIu64 " of %s (pid %d) is left to the next penstockd: it waits %" PRIu64
                   " ms (session.reconnect_window)",
                   worker->session, worker->program, (int)worker->client_pid, daemon->config.reconnect_ms);
        daemon->handed_over = true;
        forget(worker); /* the control socket closes without a word */
    }
}

static void take_over(struct pen_daemon *daemon, const struct pen_note *note, int pidfd, int control_fd)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker) {
        close(pidfd);
        close(control_fd);
        return;
    }
    *worker = (struct worker){.daemon = daemon,
                              .state = WORKER_SERVING,
                              .served = true,
                              .pid = note->pid,
                              .pidfd = pidfd,
                              .returning = true,
                              .control_fd = control_fd,
                              .crash_fd = -1,
                              .number = note->number,
                              .session = note->session,
                              .started_ns = note->started_ns,
                              .client_pid = note->client_pid,
                              .remote = true,
                              .detached = note->detached};
    memcpy(worker->program, note->program, sizeof worker->program);
    memcpy(worker->tenant, note->tenant, sizeof worker->tenant);
    pen_list_append(&daemon->workers, &worker->link);
    daemon->next_session = note->session > daemon->next_session ? note->session : daemon->next_session;
    daemon->next_worker = note->number > daemon->next_worker ? note->number : daemon->next_worker;

    worker->event = event_new(daemon->base, control_fd, EV_READ | EV_PERSIST, control_readable, worker);
    worker->timer = evtimer_new(daemon->base, overdue, worker);
    worker->ended = event_new(daemon->base, pidfd, EV_READ, other_ended, worker);
    if (!worker->event || !worker->timer || !worker->ended || event_add(worker->event, NULL) ||
        event_add(worker->ended, NULL)) {
        make_end(worker);
        destroy(worker);
        return;
    }
    arm(worker, daemon->config.worker_start_ms);
    pen_report(PEN_REPORT_INFO,
               "session %" PRIu64 " of %s (pid %d) goes on: worker %d, of the penstockd before this one",
               worker->session, worker->program, (int)worker->client_pid, (int)worker->pid);
    if (*worker->tenant && daemon->gate_fd >= 0)
        pen_revoke_watch(daemon);
}

void pen_workers_inherit(struct pen_daemon *daemon)
{
    pen_note_each(daemon, take_over);
}

bool pen_workers_has(const struct pen_daemon *daemon, uint64_t number)
{
    PEN_LIST_EACH(link, next, &daemon->workers)
    if (worker_of(link)->number == number)
        return true;
    return false;
}

/* ---- all of them ------------------------------------------------------------------------------------- */

int pen_workers_init(struct pen_daemon *daemon, struct pen_error *error)
{
    pen_list_init(&daemon->workers);
    daemon->spare_wanted = (uint32_t)daemon->config.warm_workers;
    daemon->refill = evtimer_new(daemon->base, refill_now, daemon);
    return daemon->refill ? 0 : pen_fail(error, -PEN_ENOMEM, "starting: %s", pen_error_text(-PEN_ENOMEM));
}

void pen_workers_finish(struct pen_daemon *daemon)
{
    if (daemon->refill)
        event_free(daemon->refill);
    daemon->refill = NULL;
}

void pen_workers_retire(struct pen_daemon *daemon)
{
    PEN_LIST_EACH(link, next, &daemon->workers)
    {
        struct worker *worker = worker_of(link);
        if (worker->state == WORKER_STARTING || worker->state == WORKER_WARM)
            dismiss(worker);
    }
}

void pen_workers_stop(struct pen_daemon *daemon)
{
    event_del(daemon->refill);
    PEN_LIST_EACH(link, next, &daemon->workers)
    {
        struct worker *worker = worker_of(link);
        worker->asked_to_end = true;
        if (!worker->served) /* nothing to end in good order, and drivers take their time */
            make_end(worker);
        let_go(worker); /* also those that are ending: the time they have may be shorter now */
    }
}
