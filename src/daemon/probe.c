/* daemon/probe.c - the pool: what devices there are, told by a `penstock-worker --probe`, so that a driver that
 * crashes when it is loaded takes nothing down but that process. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "daemon/daemon.h"

/* Most devices that a probe may tell of; PEN_LIMIT_DEVICES of them are offered. */
#define POOL_DEVICES 1024

/* Properties of devices whose `api` is "opencl" that the configuration changes (CL/cl.h). The rest of the daemon does
 * not know any API. */
#define OPENCL_TYPE           0x1000u
#define OPENCL_MAX_ALLOCATION 0x1010u
#define OPENCL_GLOBAL_MEMORY  0x101Fu

struct property {
    uint32_t key, size;
    void *value;
};

struct found_device {
    struct pen_msg_device info; /* its strings are ours */
    struct property *properties;
    uint32_t property_count; /* received so far; info.properties in all */
    const struct pen_config_rule *rule;
};

struct pen_probe {
    struct pen_list link;
    struct pen_daemon *daemon;
    uint64_t number; /* its directory's name */
    pid_t pid;
    int fd;
    struct event *event, *timer;
    struct pen_frame_reader reader;
    struct pen_scratch scratch;
    bool counted, timed_out;
    bool done; /* all was said and the pool is known: only its exit is awaited */
    uint32_t expected;
    uint64_t found;
    char *jail;
    uint32_t jail_lacks; /* PEN_JAIL_PART_* */
    struct found_device *devices;
    uint32_t device_count;
    char complaint[512]; /* what was wrong with its answers */
};

/* ---- what it says ------------------------------------------------------------------------------------ */

static void free_devices(struct pen_probe *probe)
{
    for (uint32_t i = 0; i < probe->device_count; i++) {
        struct found_device *device = &probe->devices[i];
        for (uint32_t j = 0; j < device->property_count; j++)
            free(device->properties[j].value);
        free(device->properties);
        free((char *)device->info.name);
        free((char *)device->info.vendor_name);
        free((char *)device->info.driver);
        free((char *)device->info.driver_version);
        free((char *)device->info.api);
    }
    free(probe->devices);
    free(probe->jail);
    probe->devices = NULL;
    probe->jail = NULL;
    probe->device_count = 0;
}

static int take_device(struct pen_probe *probe, const void *frame, size_t size)
{
    struct pen_msg_device info;
    int rc = pen_msg_device_decode(frame, size, &probe->scratch, &info);
    if (rc)
        return rc;
    if (probe->device_count == probe->expected || info.properties > PEN_LIMIT_PROPERTIES)
        return -PEN_EPROTO;

    struct found_device *device = &probe->devices[probe->device_count];
    *device = (struct found_device){.info = info};
    device->info.name = strdup(info.name);
    device->info.vendor_name = strdup(info.vendor_name);
    device->info.driver = strdup(info.driver);
    device->info.driver_version = strdup(info.driver_version);
    device->info.api = strdup(info.api);
    device->properties = calloc(info.properties ? info.properties : 1, sizeof *device->properties);
    probe->device_count++;
    return device->info.name && device->info.vendor_name && device->info.driver && device->info.driver_version &&
                   device->info.api && device->properties
               ? 0
               : -PEN_ENOMEM;
}

static int take_property(struct pen_probe *probe, const void *frame, size_t size)
{
    struct pen_msg_device_property message;
    int rc = pen_msg_device_property_decode(frame, size, &probe->scratch, &message);
    if (rc)
        return rc;
    struct found_device *device = probe->device_count ? &probe->devices[probe->device_count - 1] : NULL;
    if (!device || device->info.device != message.device || device->property_count == device->info.properties)
        return -PEN_EPROTO;

    struct property property = {.key = message.key, .size = message.value.size};
    property.value = malloc(property.size ? property.size : 1);
    if (!property.value)
        return -PEN_ENOMEM;
    if (property.size)
        memcpy(property.value, message.value.data, property.size);
    device->properties[device->property_count++] = property;
    return 0;
}

static int take_count(struct pen_probe *probe, const void *frame, size_t size)
{
    struct pen_msg_devices message;
    int rc = pen_msg_devices_decode(frame, size, &probe->scratch, &message);
    if (rc)
        return rc;
    if (probe->counted || message.count > POOL_DEVICES)
        return -PEN_EPROTO;
    probe->counted = true;
    probe->expected = message.count;
    probe->found = message.pool;
    probe->devices = calloc(message.count ? message.count : 1, sizeof *probe->devices);
    probe->jail = strdup(message.jail);
    probe->jail_lacks = message.jail_lacks;
    return probe->devices && probe->jail ? 0 : -PEN_ENOMEM;
}

static int take_refusal(struct pen_probe *probe, const void *frame, size_t size)
{
    struct pen_msg_refused message;
    int rc = pen_msg_refused_decode(frame, size, &probe->scratch, &message);
    if (!rc)
        snprintf(probe->complaint, sizeof probe->complaint, "%s", message.message);
    return rc;
}

static int take_frame(struct pen_probe *probe, const void *frame, size_t size)
{
    pen_scratch_reset(&probe->scratch);
    switch (((const struct pen_frame_header *)frame)->opcode) {
    case PEN_OP_DEVICES:
        return take_count(probe, frame, size);
    case PEN_OP_DEVICE:
        return take_device(probe, frame, size);
    case PEN_OP_DEVICE_PROPERTY:
        return take_property(probe, frame, size);
    case PEN_OP_REFUSED:
        return take_refusal(probe, frame, size);
    default:
        return -PEN_EPROTO;
    }
}

static void late(evutil_socket_t fd, short what, void *context)
{
    struct pen_probe *probe = context;
    (void)fd, (void)what;
    probe->timed_out = true;
    kill(-probe->pid, SIGKILL);
}

/* ---- the configuration's say ------------------------------------------------------------------------- */

static bool name_taken(const struct pen_probe *probe, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (probe->devices[i].rule && !strcmp(probe->devices[i].info.name, name))
            return true;
    return false;
}

/* A rule that matches one device gives it its name; several are numbered from 0. */
static void rename_device(struct pen_probe *probe, uint32_t index)
{
    struct found_device *device = &probe->devices[index];
    const char *base = device->rule->name ? device->rule->name : device->info.name;
    uint32_t alike = 0, number = 0;
    for (uint32_t i = 0; i < probe->device_count; i++)
        alike += probe->devices[i].rule == device->rule;

    char name[96];
    snprintf(name, sizeof name, "%.80s", base);
    if (device->rule->name && alike > 1)
        snprintf(name, sizeof name, "%.80s%" PRIu32, base, number++);
    while (name_taken(probe, index, name))
        snprintf(name, sizeof name, "%.80s%" PRIu32, base, number++);
    char *copy = strdup(name);
    if (!copy)
        return;
    free((char *)device->info.name);
    device->info.name = copy;
}

static void set_property(struct found_device *device, uint32_t key, uint64_t value, bool only_less)
{
    for (uint32_t i = 0; i < device->property_count; i++) {
        struct property *property = &device->properties[i];
        uint64_t now;
        if (property->key != key || property->size != sizeof now)
            continue;
        memcpy(&now, property->value, sizeof now);
        if (!only_less || value < now)
            memcpy(property->value, &value, sizeof value);
    }
}

static void apply_rule(struct pen_probe *probe, uint32_t index)
{
    struct found_device *device = &probe->devices[index];
    const struct pen_config_rule *rule = device->rule;
    bool opencl = !strcmp(device->info.api, "opencl");
    rename_device(probe, index);
    if (rule->memory_bytes) {
        device->info.memory_bytes = rule->memory_bytes;
        if (opencl) {
            set_property(device, OPENCL_GLOBAL_MEMORY, rule->memory_bytes, false);
            set_property(device, OPENCL_MAX_ALLOCATION, rule->memory_bytes, true);
        }
    }
    if (rule->class >= 0) {
        static const uint64_t types[] = {1 << 1, 1 << 2, 1 << 3, 1 << 4}; /* CL_DEVICE_TYPE_CPU, GPU, ... */
        device->info.class = (enum pen_device_class)rule->class;
        if (opencl)
            set_property(device, OPENCL_TYPE, types[rule->class], false);
    }
}

/* Appends one frame to the listing; pen_msg_X_size is checked by the caller. */
static void *frame_space(struct evbuffer *out, size_t size, struct evbuffer_iovec *vector)
{
    return evbuffer_reserve_space(out, (ev_ssize_t)size, vector, 1) == 1 ? vector->iov_base : NULL;
}

#define APPEND(out_, name_, message_)                                                                                  \
    __extension__({                                                                                                    \
        struct evbuffer_iovec vector_;                                                                                 \
        size_t size_ = pen_msg_##name_##_size(message_);                                                               \
        void *at_ = size_ ? frame_space((out_), size_, &vector_) : NULL;                                               \
        if (at_) {                                                                                                     \
            pen_msg_##name_##_encode((message_), 0, at_);                                                              \
            vector_.iov_len = size_;                                                                                   \
            evbuffer_commit_space((out_), &vector_, 1);                                                                \
        }                                                                                                              \
        at_ ? 0 : -PEN_ENOMEM;                                                                                         \
    })

static int append_device(struct evbuffer *out, const struct found_device *device)
{
    int rc = APPEND(out, device, &device->info);
    for (uint32_t i = 0; i < device->property_count && !rc; i++) {
        const struct property *property = &device->properties[i];
        struct pen_msg_device_property message = {
            .device = device->info.device, .key = property->key, .value = {property->value, property->size}};
        rc = APPEND(out, device_property, &message);
    }
    return rc;
}

/* Of what the drivers have and what is offered of it under which name. */
static uint64_t list_digest(const struct pen_probe *probe)
{
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, &probe->found, sizeof probe->found);
    for (uint32_t i = 0; i < probe->device_count; i++) {
        const struct pen_msg_device *info = &probe->devices[i].info;
        const uint32_t class = (uint32_t)info->class;
        if (!probe->devices[i].rule)
            continue;
        XXH3_64bits_update(&state, &info->device, sizeof info->device);
        XXH3_64bits_update(&state, &class, sizeof class);
        XXH3_64bits_update(&state, info->name, strlen(info->name) + 1);
    }
    return XXH3_64bits_digest(&state);
}

/* Parts have as many compute units as the rule says: one with more is the whole device. */
static void say_if_whole(const struct pen_probe *probe, const struct found_device *device)
{
    const struct pen_msg_device *info = &device->info;
    if (!device->rule->compute_units || device->rule->span || info->compute_units <= device->rule->compute_units)
        return;
    pen_report(
        PEN_REPORT_WARN,
        "device \"%s\" of %s has %u compute units and is not cut into parts of %" PRIu64
        " (`devices` in %s): its driver does not cut it, or it would be more than %u parts, the most devices that "
        "a pool may have",
        info->vendor_name, info->driver, info->compute_units, device->rule->compute_units, probe->daemon->config_file,
        PEN_LIMIT_DEVICES);
}

static int make_listing(struct pen_probe *probe)
{
    struct pen_daemon *daemon = probe->daemon;
    struct evbuffer *out = evbuffer_new();
    struct pen_msg_devices count = {.jail = probe->jail};
    uint64_t ids[PEN_LIMIT_DEVICES] = {0};
    if (!out)
        return -PEN_ENOMEM;
    for (uint32_t i = 0; i < probe->device_count; i++) {
        struct found_device *device = &probe->devices[i];
        device->rule = pen_config_rule_for(&daemon->config, device->info.driver, device->info.vendor_name);
        if (!device->rule)
            pen_report(PEN_REPORT_INFO, "device \"%s\" of %s is not offered (`devices` in %s)",
                       device->info.vendor_name, device->info.driver, daemon->config_file);
        if (device->rule && count.count == PEN_LIMIT_DEVICES) {
            pen_report(PEN_REPORT_WARN,
                       "device \"%s\" of %s is not offered: there are %u already, the most that a "
                       "pool may have (limit DEVICES)",
                       device->info.vendor_name, device->info.driver, count.count);
            device->rule = NULL;
        }
        if (device->rule)
            ids[count.count++] = device->info.device;
    }
    for (uint32_t i = 0; i < probe->device_count; i++)
        if (probe->devices[i].rule) {
            say_if_whole(probe, &probe->devices[i]);
            apply_rule(probe, i);
        }
    count.pool = list_digest(probe);
    if (probe->jail_lacks)
        pen_report(PEN_REPORT_WARN,
                   "the workers' jail is not whole on this system: %s (`workers.jail: required` would "
                   "not serve without landlock and seccomp)",
                   probe->jail);
    int rc = APPEND(out, devices, &count);
    for (uint32_t i = 0; i < probe->device_count && !rc; i++) {
        struct found_device *device = &probe->devices[i];
        if (!device->rule)
            continue;
        rc = append_device(out, device);
        pen_report(PEN_REPORT_INFO, "device %s: %s of %s %s, %u compute units, %" PRIu64 " MiB", device->info.name,
                   device->info.vendor_name, device->info.driver, device->info.driver_version,
                   device->info.compute_units, device->info.memory_bytes >> 20);
    }
    if (rc) {
        evbuffer_free(out);
        return rc;
    }
    if (daemon->pool.listing)
        evbuffer_free(daemon->pool.listing);
    daemon->pool.listing = out;
    memcpy(daemon->pool.devices, ids, sizeof ids);
    daemon->pool.number = count.pool;
    daemon->pool.found = probe->found;
    daemon->pool.device_count = count.count;
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------------- */

static void directory_of(const struct pen_probe *probe, char *out, size_t size)
{
    snprintf(out, size, "%s/probe-%" PRIu64, probe->daemon->work_dir, probe->number);
}

/* It is not listened to any more. */
static void leave_alone(struct pen_probe *probe)
{
    if (probe->event)
        event_free(probe->event);
    if (probe->timer)
        event_free(probe->timer);
    probe->event = probe->timer = NULL;
}

static void destroy(struct pen_probe *probe)
{
    char directory[PATH_MAX + 64];
    directory_of(probe, directory, sizeof directory);
    pen_remove_tree(directory);
    leave_alone(probe);
    free_devices(probe);
    close(probe->fd);
    pen_frame_reader_finish(&probe->reader);
    pen_scratch_finish(&probe->scratch);
    pen_list_remove(&probe->link);
    free(probe);
}

static void fail(struct pen_daemon *daemon, const char *why)
{
    struct pen_daemon_pool *pool = &daemon->pool;
    const char *vendors = getenv("OCL_ICD_VENDORS");
    pool->state = PEN_POOL_FAILED;
    snprintf(pool->failure, sizeof pool->failure,
             "looking for devices failed: %.250s (drivers: %.80s, drivers.environment: %u entries in %.60s); SIGHUP to "
             "penstockd tries again",
             why, vendors ? vendors : "/etc/OpenCL/vendors", daemon->config.environment_count,
             daemon->config_file ? daemon->config_file : "no configuration file");
    pen_report(PEN_REPORT_ERROR, "%s", pool->failure);
    pen_clients_pool_changed(daemon);
}

/* Not left to its exit: unloading drivers takes its time. */
static void succeed(struct pen_probe *probe)
{
    struct pen_daemon *daemon = probe->daemon;
    int rc = make_listing(probe);
    probe->done = true;
    if (rc) {
        fail(daemon, pen_error_text(rc));
        return;
    }
    daemon->pool.state = PEN_POOL_KNOWN;
    if (daemon->pool.device_count == 0)
        pen_report(PEN_REPORT_WARN, "the pool has no device: no driver that was found has one that the configuration "
                                    "offers");
    pen_workers_check(daemon);
    pen_clients_pool_changed(daemon);
    pen_clients_worker_ready(daemon);
}

static bool complete(const struct pen_probe *probe)
{
    if (!probe->counted || probe->device_count != probe->expected)
        return false;
    for (uint32_t i = 0; i < probe->device_count; i++)
        if (probe->devices[i].property_count != probe->devices[i].info.properties)
            return false;
    return true;
}

static void readable(evutil_socket_t fd, short what, void *context)
{
    struct pen_probe *probe = context;
    (void)what;
    for (;;) {
        ssize_t got = pen_frame_reader_fill(&probe->reader, (int)fd);
        const void *frame;
        size_t size;
        int rc = 0;
        while (got > 0 && (rc = pen_frame_reader_next(&probe->reader, &frame, &size)) == 1) {
            rc = take_frame(probe, frame, size);
            if (rc)
                break;
        }
        if (rc < 0) {
            snprintf(probe->complaint, sizeof probe->complaint, "what it sent is no list of devices (%s)",
                     pen_error_text(rc));
            kill(-probe->pid, SIGKILL);
        }
        if (got < 0 || rc < 0)
            event_del(probe->event); /* the rest is said by its exit */
        if (got <= 0 || rc < 0)
            break;
    }
    if (!probe->done && !probe->complaint[0] && complete(probe))
        succeed(probe);
}

void pen_probe_start(struct pen_daemon *daemon)
{
    struct pen_arguments arguments = {0};
    struct pen_error error = {0};
    pen_probe_cancel(daemon);
    daemon->pool.state = PEN_POOL_PROBING;

    struct pen_probe *probe = calloc(1, sizeof *probe);
    if (!probe) {
        fail(daemon, pen_error_text(-PEN_ENOMEM));
        return;
    }
    probe->daemon = daemon;
    probe->number = ++daemon->next_probe;

    char directory[PATH_MAX + 64];
    directory_of(probe, directory, sizeof directory);
    pen_arguments_common(&arguments, daemon);
    pen_arguments_add(&arguments, "--probe");
    pen_arguments_add(&arguments, "--tmp-dir=%s", directory);
    int rc = pen_spawn_worker(daemon, &arguments, -1, &probe->pid, &probe->fd, &error);
    pen_arguments_finish(&arguments);
    if (rc) {
        free(probe);
        fail(daemon, error.message);
        return;
    }
    daemon->probe = probe;
    pen_list_append(&daemon->probes, &probe->link);

    struct timeval limit = {(time_t)(daemon->config.probe_ms / 1000),
                            (suseconds_t)(daemon->config.probe_ms % 1000 * 1000)};
    probe->event = event_new(daemon->base, probe->fd, EV_READ | EV_PERSIST, readable, probe);
    probe->timer = evtimer_new(daemon->base, late, probe);
    if (!probe->event || !probe->timer || event_add(probe->event, NULL) || event_add(probe->timer, &limit)) {
        pen_probe_cancel(daemon);
        fail(daemon, pen_error_text(-PEN_ENOMEM));
    }
}

void pen_probe_cancel(struct pen_daemon *daemon)
{
    struct pen_probe *probe = daemon->probe;
    if (!probe)
        return;
    daemon->probe = NULL;
    leave_alone(probe);
    kill(-probe->pid, SIGKILL);
}

static void describe_exit(const struct pen_probe *probe, int status, char *out, size_t size)
{
    const struct pen_daemon *daemon = probe->daemon;
    if (probe->timed_out)
        snprintf(out, size, "%.200s --probe did not finish within %" PRIu64 " ms (limits.probe_ms)",
                 daemon->worker_path, daemon->config.probe_ms);
    else if (WIFSIGNALED(status) && !probe->complaint[0])
        snprintf(out, size, "%.200s --probe was killed by signal %d (%s): one of the drivers it loads crashes",
                 daemon->worker_path, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == 127 && !probe->complaint[0])
        snprintf(out, size, "%.200s cannot be executed (workers.path)", daemon->worker_path);
    else
        snprintf(out, size, "%.200s --probe: %.200s", daemon->worker_path,
                 probe->complaint[0] ? probe->complaint : "it ended before it had told all devices");
}

static struct pen_probe *probe_of(struct pen_daemon *daemon, pid_t pid)
{
    PEN_LIST_EACH(link, next, &daemon->probes)
    {
        struct pen_probe *probe = PEN_CONTAINER(link, struct pen_probe, link);
        if (probe->pid == pid)
            return probe;
    }
    return NULL;
}

bool pen_probe_exited(struct pen_daemon *daemon, pid_t pid, int status)
{
    struct pen_probe *probe = probe_of(daemon, pid);
    char why[512] = "";
    if (!probe)
        return false;
    if (probe == daemon->probe) {
        readable(probe->fd, EV_READ, probe); /* what it wrote last */
        if (!probe->done)
            describe_exit(probe, status, why, sizeof why);
        daemon->probe = NULL;
    }
    destroy(probe);
    if (why[0])
        fail(daemon, why);
    return true;
}
