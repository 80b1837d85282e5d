/* worker/options.h - the worker's command line (README). Errors: -PEN_ECONFIG with a sentence. */
#ifndef PEN_WORKER_OPTIONS_H
#define PEN_WORKER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"

#define PEN_WORKER_PARTITIONS 64
#define PEN_WORKER_SPANS      64

struct pen_worker_options {
    int control_fd, return_fd; /* -1: not given */
    bool probe, no_jail, require_jail, verbose;
    const char *files; /* paths between colons, for the jail; NULL: none */
    bool tenants;      /* its session may be a tenant's */
    const struct pen_backend_ops *ops;
    const char *cache_dir, *tmp_dir; /* NULL: not given */
    uint64_t cache_bytes, ring_bytes, arena_bytes, spin_us;
    struct {
        const char *pattern; /* malloc'ed */
        uint32_t count;      /* compute units of each part; 0: whole */
        bool equal;          /* no: so many equal parts */
    } partitions[PEN_WORKER_PARTITIONS];
    uint32_t partition_count;
    struct {
        const char *pattern; /* malloc'ed */
        uint32_t count;
    } spans[PEN_WORKER_SPANS];
    uint32_t span_count;
};

int pen_worker_options_parse(int argc, char **argv, struct pen_worker_options *out, struct pen_error *error);
/* For pen_backend_ops.init: the first pattern that matches the device's name, driver, or "driver/name" decides.
 * context: the options. */
uint32_t pen_worker_partition_units(void *context, const struct pen_backend_device *whole);
/* In any case of letters, as partitions are. */
bool pen_worker_matches(const char *pattern, const struct pen_backend_device *device);

#endif
