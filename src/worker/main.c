/* worker/main.c - penstock-worker: started by the daemon, probes or serves one session (README). */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "net/pack.h"
#include "net/unix.h"
#include "state/log.h"
#include "worker/cache.h"
#include "worker/caches.h"
#include "worker/files.h"
#include "worker/jail.h"
#include "worker/options.h"
#include "worker/remote.h"
#include "worker/span.h"
#include "worker/watch.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

/* How long a frame to the daemon or the client may take. */
#define SEND_MS 10000
/* How long the last words of a failed session may take. */
#define LAST_WORDS_MS 2000
/* Exit status of a worker in which LeakSanitizer found something. */
#define LEAKS 23

struct worker {
    struct pen_worker_options options;
    char tmp_dir[256];
    struct pen_cache *cache;
    struct pen_jail jail;
    struct pen_crash_page *crash;
    int crash_fd;
    struct pen_capture capture;
    struct pen_backend_device *devices; /* as the drivers have them */
    uint32_t device_count;
    struct pen_offer *offers;
    uint32_t offer_count;
    struct pen_log_writer *log;
    struct pen_work_memory memory;  /* of the session to come */
    struct pen_unix_frame adoption; /* what came for it; its texts and lists are in the scratch, too */
    struct pen_scratch scratch;
    int client_fd;
    _Atomic bool ending; /* seq_cst: the first to set it, dispatch or watch, ends the process */
};

/* ---- talking to the daemon ------------------------------------------------------------------------------------ */

#define SEND(fd_, name_, message_, fds_, count_)                                                                       \
    __extension__({                                                                                                    \
        size_t send_size_ = pen_msg_##name_##_size(message_);                                                          \
        void *send_frame_ = send_size_ ? aligned_alloc(8, send_size_) : NULL;                                          \
        int send_rc_ = -PEN_ENOMEM;                                                                                    \
        if (send_frame_) {                                                                                             \
            pen_msg_##name_##_encode((message_), 0, send_frame_);                                                      \
            send_rc_ = pen_unix_send((fd_), send_frame_, send_size_, (fds_), (count_), pen_deadline_ms(SEND_MS));      \
        }                                                                                                              \
        free(send_frame_);                                                                                             \
        send_rc_;                                                                                                      \
    })

static int refuse(int fd, const struct pen_error *error)
{
    const struct pen_msg_refused refused = {.status = error->code, .message = error->message};
    fprintf(stderr, "penstock-worker: %s\n", error->message);
    if (fd >= 0)
        SEND(fd, refused, &refused, NULL, 0);
    return 1;
}

/* Of what makes a device what it is, in order. Not of its memory, which may be what is free. */
static uint64_t pool_digest(const struct worker *worker)
{
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    for (uint32_t i = 0; i < worker->offer_count; i++) {
        const struct pen_backend_device *device = &worker->offers[i].device;
        const char *const texts[] = {device->driver, device->driver_version, device->vendor_name};
        for (size_t j = 0; j < sizeof texts / sizeof *texts; j++)
            XXH3_64bits_update(&state, texts[j], strlen(texts[j]) + 1);
        const uint32_t numbers[] = {(uint32_t)device->class, device->flags, device->compute_units,
                                    worker->offers[i].member_count};
        XXH3_64bits_update(&state, numbers, sizeof numbers);
    }
    return XXH3_64bits_digest(&state);
}

static int send_device(const struct worker *worker, uint32_t index, uint32_t *numbers)
{
    static const char *const classes[] = {"cpu", "gpu", "accelerator", "custom"};
    const struct pen_backend_device *device = &worker->offers[index].device;
    const char *class = (unsigned)device->class < 4 ? classes[device->class] : "device";
    char name[32];
    snprintf(name, sizeof name, "%s%u", class, numbers[(unsigned)device->class & 3]++);
    const struct pen_msg_device message = {.device = index + 1,
                                           .class = device->class,
                                           .flags = device->flags,
                                           .memory_bytes = device->memory_bytes,
                                           .compute_units = device->compute_units,
                                           .properties = device->property_count,
                                           .spans =
                                               worker->offers[index].members ? worker->offers[index].member_count : 1,
                                           .name = name,
                                           .vendor_name = device->vendor_name,
                                           .driver = device->driver,
                                           .driver_version = device->driver_version,
                                           .api = "opencl"};
    int rc = SEND(worker->options.control_fd, device, &message, NULL, 0);
    for (uint32_t i = 0; i < device->property_count && !rc; i++) {
        const struct pen_backend_property *property = &device->properties[i];
        const struct pen_msg_device_property part = {
            .device = index + 1, .key = property->key, .value = {property->value, property->size}};
        rc = SEND(worker->options.control_fd, device_property, &part, NULL, 0);
    }
    return rc;
}

static int probe(const struct worker *worker)
{
    const struct pen_msg_devices devices = {.count = worker->offer_count,
                                            .jail_lacks = worker->jail.without | worker->jail.partly,
                                            .pool = pool_digest(worker),
                                            .jail = worker->crash->jail};
    uint32_t numbers[4] = {0};
    int rc = SEND(worker->options.control_fd, devices, &devices, NULL, 0);
    for (uint32_t i = 0; i < worker->offer_count && !rc; i++)
        rc = send_device(worker, i, numbers);
    return rc ? 1 : 0;
}

/* ---- starting --------------------------------------------------------------------------------------------------- */

/* Also from the watching thread, when the client is gone. */
static void set_phase(struct worker *worker, enum pen_crash_phase phase)
{
    atomic_store_explicit(&worker->crash->phase, phase, memory_order_relaxed);
}

static int make_tmp_dir(struct worker *worker, struct pen_error *error)
{
    const char *base = getenv("TMPDIR");
    char made[sizeof worker->tmp_dir], path[PATH_MAX];
    int size = worker->options.tmp_dir ? snprintf(made, sizeof made, "%s", worker->options.tmp_dir)
                                       : snprintf(made, sizeof made, "%s/penstock-worker-XXXXXX", base ? base : "/tmp");
    bool fits = size < (int)sizeof made;
    if (worker->options.tmp_dir && (!fits || pen_file_make_directory(made)))
        return pen_fail(error, -PEN_ECONFIG, "--tmp-dir=%s: cannot be made: %s", worker->options.tmp_dir,
                        strerror(errno));
    if (!worker->options.tmp_dir && (!fits || !mkdtemp(made)))
        return pen_fail(error, -PEN_EIO, "no private directory below %s: %s", base ? base : "/tmp", strerror(errno));
    /* Absolute: it is going to be the working directory. */
    strcpy(worker->tmp_dir, realpath(made, path) && strlen(path) < sizeof worker->tmp_dir ? path : made);
    return 0;
}

static int link_caches(struct worker *worker)
{
    return pen_caches_link(worker->tmp_dir, worker->cache ? pen_cache_dir(worker->cache) : NULL, worker->crash);
}

static int open_cache(struct worker *worker, struct pen_error *error)
{
    const char *dir = worker->options.cache_dir;
    worker->cache = pen_cache_open(dir, worker->options.cache_bytes);
    if (link_caches(worker))
        return pen_fail(error, -PEN_EIO, "no folder for the drivers' caches in %s (setting: socket): %s",
                        worker->tmp_dir, strerror(errno));
    if (dir && !worker->cache)
        pen_caches_lack_room(dir, PEN_CACHES_ROOM, worker->crash);
    return 0;
}

static int enter_jail(struct worker *worker, struct pen_error *error)
{
    const char *writable[2 + PEN_CACHES];
    size_t count = 0;
    if (worker->options.tenants) { /* what their sessions want is loaded from where it is installed */
        pen_tls_prepare();
        (void)pen_pack_available();
    }
    setenv("PENSTOCK_WORKER", "1", 1);
    setenv("TMPDIR", worker->tmp_dir, 1);
    writable[count++] = worker->tmp_dir;
    if (worker->cache)
        writable[count++] = pen_cache_dir(worker->cache);
    pen_caches_announce(worker->tmp_dir, writable + count);
    count += PEN_CACHES;
    if (worker->options.no_jail) {
        strcpy(worker->crash->jail, "off");
    } else {
        pen_jail_enter(&(struct pen_jail_files){writable, count, worker->options.files, NULL}, &worker->jail);
        pen_jail_say(&worker->jail, worker->crash->jail, sizeof worker->crash->jail);
    }
    if (worker->options.verbose)
        fprintf(stderr, "penstock-worker: jail: %s\n", worker->crash->jail);
    if (worker->options.require_jail && (worker->jail.without | worker->jail.partly) & PEN_JAIL_NEEDED)
        return pen_fail(error, -PEN_EUNSUPPORTED,
                        "workers.jail is \"required\", and this system holds not all of landlock and seccomp: %s",
                        worker->crash->jail);
    return 0;
}

/* This thread, and those that it starts from now on, do not take a CPU from a program that is making calls (decision
 * 0022). Another policy than the usual one is somebody's wish, and stays; where the system refuses, all is as before.
 * Has it changed? */
static bool give_way(void)
{
    return sched_getscheduler(0) == SCHED_OTHER && !sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
}

static int load_drivers(struct worker *worker, struct pen_error *error)
{
    bool gives_way = give_way(); /* so do their threads */
    int rc = worker->options.ops->init(pen_worker_partition_units, &worker->options, &worker->devices,
                                       &worker->device_count, error);
    if (gives_way)
        (void)sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
    return rc;
}

static int start(struct worker *worker, struct pen_error *error)
{
    int rc = pen_crash_create(&worker->crash, &worker->crash_fd);
    if (rc)
        return pen_fail(error, rc, "starting a worker: no memory file for its crash page");
    set_phase(worker, PEN_CRASH_STARTING);
    fcntl(worker->options.control_fd, F_SETFD, FD_CLOEXEC);
    if (worker->options.return_fd >= 0)
        fcntl(worker->options.return_fd, F_SETFD, FD_CLOEXEC);
    if ((rc = make_tmp_dir(worker, error)) || (rc = open_cache(worker, error)) || (rc = enter_jail(worker, error)))
        return rc;
    if ((rc = pen_capture_start(&worker->capture)))
        return pen_fail(error, rc, "starting a worker: no pipe for standard output");
    rc = load_drivers(worker, error);
    /* Compilers look for headers in the working directory too: ours holds none of the host's. */
    if (!rc && chdir(worker->tmp_dir))
        rc = pen_fail(error, -PEN_EIO, "starting a worker: its directory %s cannot be entered: %s", worker->tmp_dir,
                      strerror(errno));
    if (!rc &&
        pen_offers_make(&worker->options, worker->devices, worker->device_count, &worker->offers, &worker->offer_count))
        rc = pen_fail(error, -PEN_ENOMEM, "out of memory for the devices");
    return rc;
}

/* ---- serving ---------------------------------------------------------------------------------------------------- */

/* LeakSanitizer looks when a process ends by exit(), which a worker does not. In the jail it cannot: it traces. */
static bool leaks(const struct worker *worker)
{
#ifdef __SANITIZE_ADDRESS__
    return worker->options.no_jail && __lsan_do_recoverable_leak_check();
#else
    (void)worker;
    return false;
#endif
}

static _Noreturn void end(struct worker *worker, int status)
{
    while (atomic_exchange(&worker->ending, true))
        usleep(1000);
    if (leaks(worker))
        status = LEAKS;
    if (worker->crash) {
        atomic_store_explicit(&worker->crash->status, (uint32_t)status, memory_order_relaxed);
        set_phase(worker, PEN_CRASH_ENDED);
    }
    if (worker->log)
        pen_log_flush(worker->log);
    if (worker->tmp_dir[0])
        pen_file_remove_tree(worker->tmp_dir);
    _exit(status); /* drivers' threads may run kernels still: nothing of theirs is waited for */
}

static void gone(void *context)
{
    end(context, 0);
}

static void say_last_words(struct pen_work *work)
{
    for (int i = 0; i < LAST_WORDS_MS && !pen_outbox_flush(&work->outbox); i++)
        usleep(1000);
}

static int say_ready(void *context, int control_fd)
{
    struct worker *worker = context;
    const struct pen_msg_ready ready = {
        .pid = (uint32_t)getpid(), .devices = worker->offer_count, .pool = pool_digest(worker)};
    return SEND(control_fd, ready, &ready, &worker->crash_fd, 1);
}

/* Waits for the session to serve; 1 with it, 0 when the daemon wants no more of us. */
static int wait_for_adoption(struct worker *worker, struct pen_msg_adopt *out, struct pen_error *error)
{
    struct pen_unix_frame *frame = &worker->adoption;
    int rc = pen_work_memory_create((uint32_t)worker->options.ring_bytes, worker->options.arena_bytes, &worker->memory,
                                    error);
    if (rc)
        return rc;
    if (say_ready(worker, worker->options.control_fd))
        return 0;
    set_phase(worker, PEN_CRASH_WARM);
    rc = pen_unix_receive(worker->options.control_fd, frame, UINT64_MAX);
    if (rc == -PEN_EGONE || (!rc && frame->opcode == PEN_OP_SHUTDOWN))
        return 0;
    if (rc || frame->opcode != PEN_OP_ADOPT ||
        (rc = pen_msg_adopt_decode(frame->data, frame->size, &worker->scratch, out)) || !frame->fd_count)
        return pen_fail(error, rc ? rc : -PEN_EPROTO, "the daemon sent something else than adopt with a descriptor");
    worker->client_fd = frame->fds[0];
    frame->fds[0] = -1;
    if (frame->fd_count > 1 && out->features & PEN_FEATURE_RECORD) {
        if ((rc = pen_log_writer_create(frame->fds[1], &worker->log)))
            return pen_fail(error, rc, "the log %s cannot be written", out->record_path);
        frame->fds[1] = -1;
    }
    return 1;
}

/* The program is on another host: the worker's end of the link to it takes the place of its socket. */
static int make_remote(struct worker *worker, struct pen_msg_adopt *adopt, struct pen_remote *remote)
{
    struct pen_remote_offer offer = {.fd = worker->client_fd, .protected = adopt->protected};
    memcpy(offer.secret, adopt->secret, sizeof offer.secret);
    int rc = pen_remote_init(remote, adopt->session, UINT64_C(1000000) * adopt->reconnect_ms, &offer, worker->crash,
                             &worker->memory.view, worker->memory.arena, worker->memory.arena_bytes);
    if (rc)
        return rc;
    if (adopt->features & PEN_FEATURE_LZ4 && pen_link_use_packing(remote->link))
        adopt->features &= ~(enum pen_feature)PEN_FEATURE_LZ4;
    worker->client_fd = remote->ends[0];
    /* Such a session outlives the daemon (watch.h). A parent's death signal is its main thread's to have, which we are.
     */
    return prctl(PR_SET_PDEATHSIG, 0) ? -PEN_EIO : 0;
}

/* The program was killed, or its connection broke, before it had its session: no failure of ours. */
static bool program_left(int rc)
{
    return rc == -PEN_EGONE || rc == -PEN_ETIMEOUT;
}

static int serve(struct worker *worker)
{
    struct pen_msg_adopt adopt = {0};
    struct pen_error error = {0};
    struct pen_work *work;
    int rc = wait_for_adoption(worker, &adopt, &error);
    if (rc <= 0)
        return rc ? refuse(worker->client_fd >= 0 ? worker->client_fd : worker->options.control_fd, &error) : 0;
    struct pen_remote remote;
    bool is_remote = adopt.features & PEN_FEATURE_REMOTE;
    if (is_remote && (rc = make_remote(worker, &adopt, &remote)))
        return program_left(rc)
                   ? 0
                   : refuse(-1, &(struct pen_error){rc, "the worker cannot serve a program on another host"});
    const struct pen_work_config config = {.ops = worker->options.ops,
                                           .offers = worker->offers,
                                           .offer_count = worker->offer_count,
                                           .allowed = adopt.devices,
                                           .allowed_count = adopt.devices_count,
                                           .features = adopt.features,
                                           .memory = &worker->memory,
                                           .spin_ns = worker->options.spin_us * 1000,
                                           .session = adopt.session,
                                           .program = adopt.program,
                                           .tmp_dir = worker->tmp_dir,
                                           .cache = worker->cache,
                                           .log = worker->log,
                                           .crash = worker->crash,
                                           .capture = &worker->capture,
                                           .client_fd = worker->client_fd,
                                           .remote = is_remote ? &remote : NULL};
    rc = pen_work_create(&config, &work, &error);
    if (program_left(rc))
        return 0;
    if (rc)
        return refuse(worker->client_fd, &error);
    link_caches(worker); /* the disk may have become full meanwhile, or the opposite. The program has its answer. */
    struct pen_watch watch = {.work = work,
                              .control_fd = worker->options.control_fd,
                              .return_fd = worker->options.return_fd,
                              .greet = say_ready,
                              .gone = gone,
                              .context = worker};
    if (pen_watch_start(&watch)) {
        pen_work_fail(work, -PEN_ENOMEM, "the worker cannot start a thread");
        say_last_words(work);
        return 1;
    }
    set_phase(worker, PEN_CRASH_SERVING);
    (void)give_way();
    rc = pen_work_run(work);
    pen_work_leave(work);
    if (rc)
        say_last_words(work);
    pen_watch_stop(&watch); /* it is this frame's; when the program has left, it ends the process */
    return rc ? 2 : 0;
}

int main(int argc, char **argv)
{
    struct worker worker = {.crash_fd = -1, .client_fd = -1};
    struct pen_error error = {0};
    if (pen_worker_options_parse(argc, argv, &worker.options, &error))
        return refuse(worker.options.control_fd, &error);
    if (start(&worker, &error)) {
        refuse(worker.options.control_fd, &error);
        end(&worker, 1);
    }
    end(&worker, worker.options.probe ? probe(&worker) : serve(&worker));
}
