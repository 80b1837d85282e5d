/* daemon/config.h - what an operator may set, with defaults; man page penstock.yaml(5).
 * Ownership: a config owns all of its strings. Threads: one.
 * Errors:    -PEN_ECONFIG with file, line, key, and what is allowed. */
#ifndef PEN_DAEMON_CONFIG_H
#define PEN_DAEMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "net/certificates.h"
#include "net/unix.h"
#include "penstock-protocol.h"

/* Most entries of `devices` and of `drivers.environment`. */
#define PEN_CONFIG_RULES       64
#define PEN_CONFIG_ENVIRONMENT 256

enum pen_config_backend { PEN_CONFIG_OPENCL = 0, PEN_CONFIG_FAKE = 1 };
enum pen_config_jail { PEN_CONFIG_JAIL_OFF = 0, PEN_CONFIG_JAIL_ON = 1, PEN_CONFIG_JAIL_REQUIRED = 2 };

/* Where the system's is. */
#define PEN_CONFIG_SYSTEM PEN_SYSCONFDIR "/penstock/penstock.yaml"

/* Longest address to listen at, bytes. */
#define PEN_CONFIG_ADDRESS 270

/* One entry of `devices`: what to do with the devices it matches. */
struct pen_config_rule {
    char *match;            /* glob on the vendor's device name, the driver's name, or "driver/device" */
    char *name;             /* NULL: as the probe says, by class */
    int64_t class;          /* enum pen_device_class; -1: the device's own */
    uint64_t memory_bytes;  /* 0: the device's own */
    uint64_t compute_units; /* of each part; 0: whole */
    uint64_t parts;         /* as many; 0: whole */
    uint64_t span;          /* that many are offered as one device; 0: each by itself */
    uint64_t enabled;
};

/* All numbers are 64 bits wide, so that one table can convert and check them (config.c). */
struct pen_config {
    char *socket;          /* NULL: the default path */
    uint64_t socket_group; /* whose members may connect, too; PEN_UNIX_NO_GROUP: our user alone */
    uint64_t backend;      /* enum pen_config_backend */
    uint64_t log_level;    /* enum pen_report_level */

    uint64_t arena_bytes, ring_bytes, spin_us;              /* session */
    uint64_t reconnect_ms;                                  /* session.reconnect_window */
    uint64_t lz4;                                           /* session.lz4: 0 or 1 */
    uint64_t max_sessions, max_connections;                 /* limits */
    uint64_t handshake_ms, worker_wait_ms, worker_start_ms; /* limits */
    uint64_t probe_ms, stop_ms;                             /* limits */
    uint64_t max_handshakes;                                /* limits */
    uint64_t handshakes_per_s, handshake_burst;             /* limits */
    char *listen_tcp;                                       /* listen; NULL: not */
    char *tenants_dir;                                      /* listen; NULL: by the environment */
    char *certificate, *private_key, *authority;            /* listen; NULL: keys alone */
    char *cache_dir;                                        /* cache; NULL: by the environment */
    uint64_t cache_bytes, cache_enabled;                    /* cache */
    uint64_t warm_workers;                                  /* workers */
    uint64_t jail;                                          /* workers; enum pen_config_jail */
    char *worker_path;                                      /* workers; NULL: beside the executable */
    char *worker_files;                                     /* workers.files; NULL: none */

    struct pen_config_rule *rules;
    uint32_t rule_count;
    char **environment; /* drivers.environment as "NAME=value" */
    uint32_t environment_count;
};

/* The file that is read: `option` (--config), else PENSTOCK_CONFIG; else, with `system`, PEN_CONFIG_SYSTEM, if there is
 * one. NULL: none. */
const char *pen_config_find(const char *option, bool system);
/* The defaults; with a file, what it says over them. On failure *config is zeroed. */
int pen_config_load(struct pen_config *config, const char *file, struct pen_error *error);
/* What is in the files that it names; *out_certificates is NULL when it names none. `file`: that was loaded. */
int pen_config_certificates(const struct pen_config *config, const char *file,
                            struct pen_certificates **out_certificates, struct pen_error *error);
/* Accepts a zeroed one. */
void pen_config_finish(struct pen_config *config);

/* The first rule that matches; NULL when the device is not to be offered. With no rules at all, one that offers it as
 * it is. */
const struct pen_config_rule *pen_config_rule_for(const struct pen_config *config, const char *driver,
                                                  const char *vendor_name);

#endif
