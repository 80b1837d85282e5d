/* worker/options.c - see options.h. */
#include "worker/options.h"

#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/arena.h"
#include "wire/ring.h"
#include "worker/cache.h"

enum {
    CONTROL_FD = 1,
    RETURN_FD,
    PROBE,
    BACKEND,
    PARTITION,
    SPAN,
    CACHE_DIR,
    CACHE_BYTES,
    TMP_DIR,
    RING_BYTES,
    ARENA_BYTES,
    SPIN_US,
    TENANTS,
    FILES,
    NO_JAIL,
    REQUIRE_JAIL,
    VERBOSE
};

static const struct option table[] = {
    {"control-fd", required_argument, NULL, CONTROL_FD},
    {"return-fd", required_argument, NULL, RETURN_FD},
    {"probe", no_argument, NULL, PROBE},
    {"backend", required_argument, NULL, BACKEND},
    {"partition", required_argument, NULL, PARTITION},
    {"span", required_argument, NULL, SPAN},
    {"cache-dir", required_argument, NULL, CACHE_DIR},
    {"cache-bytes", required_argument, NULL, CACHE_BYTES},
    {"tmp-dir", required_argument, NULL, TMP_DIR},
    {"ring-bytes", required_argument, NULL, RING_BYTES},
    {"arena-bytes", required_argument, NULL, ARENA_BYTES},
    {"spin-us", required_argument, NULL, SPIN_US},
    {"tenants", no_argument, NULL, TENANTS},
    {"files", required_argument, NULL, FILES},
    {"no-jail", no_argument, NULL, NO_JAIL},
    {"require-jail", no_argument, NULL, REQUIRE_JAIL},
    {"verbose", no_argument, NULL, VERBOSE},
    {NULL, 0, NULL, 0},
};

static int number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *out,
                  struct pen_error *error)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value < min || value > max)
        return pen_fail(error, -PEN_ECONFIG, "--%s=%s: a number from %llu to %llu is allowed", name, text,
                        (unsigned long long)min, (unsigned long long)max);
    *out = value;
    return 0;
}

/* PATTERN:NUMBER, or PATTERN:/NUMBER where out_slash is not NULL; the pattern is malloc'ed. */
static int rule(const char *name, const char *text, uint64_t min, uint64_t max, const char **out_pattern,
                uint32_t *out_number, bool *out_slash, struct pen_error *error)
{
    const char *colon = strrchr(text, ':');
    uint64_t value = 0;
    if (!colon)
        return pen_fail(error, -PEN_ECONFIG, "--%s=%s: PATTERN:NUMBER is allowed", name, text);
    bool slash = out_slash && colon[1] == '/';
    int rc = number(name, colon + 1 + slash, min + slash, max, &value, error);
    if (!rc && !(*out_pattern = strndup(text, (size_t)(colon - text))))
        rc = pen_fail(error, -PEN_ENOMEM, "out of memory for the command line");
    *out_number = (uint32_t)value;
    if (out_slash)
        *out_slash = slash;
    return rc;
}

static int partition(struct pen_worker_options *options, const char *text, struct pen_error *error)
{
    uint32_t at = options->partition_count;
    if (at == PEN_WORKER_PARTITIONS)
        return pen_fail(error, -PEN_ECONFIG, "--partition=%s: at most %d are allowed", text, PEN_WORKER_PARTITIONS);
    int rc = rule("partition", text, 0, UINT32_MAX, &options->partitions[at].pattern, &options->partitions[at].count,
                  &options->partitions[at].equal, error);
    options->partition_count += !rc;
    return rc;
}

static int span(struct pen_worker_options *options, const char *text, struct pen_error *error)
{
    uint32_t at = options->span_count;
    if (at == PEN_WORKER_SPANS)
        return pen_fail(error, -PEN_ECONFIG, "--span=%s: at most %d are allowed", text, PEN_WORKER_SPANS);
    int rc =
        rule("span", text, 1, PEN_LIMIT_DEVICES, &options->spans[at].pattern, &options->spans[at].count, NULL, error);
    options->span_count += !rc;
    return rc;
}

static int backend(struct pen_worker_options *options, const char *name, struct pen_error *error)
{
    if (!strcmp(name, "opencl"))
        options->ops = &pen_backend_opencl;
    else if (!strcmp(name, "fake"))
        options->ops = &pen_backend_fake;
    else
        return pen_fail(error, -PEN_ECONFIG, "--backend=%s: opencl and fake are allowed", name);
    return 0;
}

static int apply(struct pen_worker_options *options, int option, const char *value, struct pen_error *error)
{
    uint64_t fd = 0;
    int rc = 0;
    switch (option) {
    case CONTROL_FD:
    case RETURN_FD:
        rc = number(option == CONTROL_FD ? "control-fd" : "return-fd", value, 3, 1 << 20, &fd, error);
        if (!rc)
            *(option == CONTROL_FD ? &options->control_fd : &options->return_fd) = (int)fd;
        return rc;
    case PROBE:
        options->probe = true;
        return 0;
    case BACKEND:
        return backend(options, value, error);
    case PARTITION:
        return partition(options, value, error);
    case SPAN:
        return span(options, value, error);
    case CACHE_DIR:
        options->cache_dir = value;
        return 0;
    case CACHE_BYTES:
        return number("cache-bytes", value, 0, UINT64_MAX, &options->cache_bytes, error);
    case TMP_DIR:
        options->tmp_dir = value;
        return 0;
    case RING_BYTES:
        rc = number("ring-bytes", value, (uint64_t)PEN_RING_BYTES_MIN, PEN_RING_BYTES_MAX, &options->ring_bytes, error);
        if (!rc && (options->ring_bytes & (options->ring_bytes - 1)))
            rc = pen_fail(error, -PEN_ECONFIG, "--ring-bytes=%s: a power of two is allowed", value);
        return rc;
    case ARENA_BYTES:
        rc = number("arena-bytes", value, PEN_ARENA_BYTES_MIN, PEN_ARENA_BYTES_MAX, &options->arena_bytes, error);
        if (!rc && options->arena_bytes % PEN_ARENA_HUGE)
            rc = pen_fail(error, -PEN_ECONFIG, "--arena-bytes=%s: a multiple of 2 MiB is allowed", value);
        return rc;
    case SPIN_US:
        return number("spin-us", value, 0, 1000000, &options->spin_us, error);
    case TENANTS:
        options->tenants = true;
        return 0;
    case FILES:
        options->files = value;
        return 0;
    case NO_JAIL:
        options->no_jail = true;
        return 0;
    case REQUIRE_JAIL:
        options->require_jail = true;
        return 0;
    case VERBOSE:
        options->verbose = true;
        return 0;
    default:
        return pen_fail(error, -PEN_ECONFIG, "an unknown option; src/worker/README.md has the list");
    }
}

int pen_worker_options_parse(int argc, char **argv, struct pen_worker_options *out, struct pen_error *error)
{
    int option;
    *out = (struct pen_worker_options){.control_fd = -1,
                                       .return_fd = -1,
                                       .ops = &pen_backend_opencl,
                                       .cache_bytes = PEN_CACHE_BYTES,
                                       .ring_bytes = PEN_RING_BYTES,
                                       .arena_bytes = PEN_ARENA_BYTES,
                                       .spin_us = PEN_SPIN_BUDGET_NS / 1000};
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
        int rc = apply(out, option, optarg, error);
        if (rc)
            return rc;
    }
    if (optind < argc)
        return pen_fail(error, -PEN_ECONFIG, "unexpected argument \"%s\"", argv[optind]);
    if (out->control_fd < 0)
        return pen_fail(error, -PEN_ECONFIG, "penstock-worker is started by penstockd: --control-fd is missing");
    return 0;
}

bool pen_worker_matches(const char *pattern, const struct pen_backend_device *device)
{
    char both[sizeof device->driver + sizeof device->vendor_name];
    snprintf(both, sizeof both, "%s/%s", device->driver, device->vendor_name);
    return !fnmatch(pattern, device->vendor_name, FNM_CASEFOLD) || !fnmatch(pattern, device->driver, FNM_CASEFOLD) ||
           !fnmatch(pattern, both, FNM_CASEFOLD);
}

uint32_t pen_worker_partition_units(void *context, const struct pen_backend_device *whole)
{
    const struct pen_worker_options *options = context;
    for (uint32_t i = 0; i < options->partition_count; i++) {
        if (!pen_worker_matches(options->partitions[i].pattern, whole))
            continue;
        uint32_t count = options->partitions[i].count;
        return options->partitions[i].equal ? whole->compute_units / count : count;
    }
    return 0;
}
