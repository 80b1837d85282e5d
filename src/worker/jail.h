/* worker/jail.h - the sandbox: what a session's kernels (native code in this process) can reach. Applied before drivers
 * load, to this process and whatever it runs (PoCL runs a linker). What the system lacks is left out and said; one
 * part, one path or one system call that cannot be had costs none of the others. Its parts, as bits, are the schema's
 * jail_part:
 *   limits, oom-score, privileges, capabilities: no core dumps, dies with the daemon, first to go when memory is short
 *   terminal           no controlling one
 *   network-namespace  of its own, without interfaces
 *   landlock           files (jail_files.h); from ABI 6 on, signals reach nobody outside
 *   seccomp            no connection to anybody (nvidia-persistenced is not reached; its driver does without), no
 *                      tracing, mounting, modules, keys, namespaces, other processes' limits, typing into a terminal;
 *                      with an older Landlock, no signals but to itself
 * Threads: call it while there is one. */
#ifndef PEN_WORKER_JAIL_H
#define PEN_WORKER_JAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "penstock-protocol.h"
#include "worker/jail_files.h"

#define PEN_JAIL_NEEDED (PEN_JAIL_PART_LANDLOCK | PEN_JAIL_PART_SECCOMP) /* workers.jail: required */

struct pen_jail {
    uint32_t without, partly; /* PEN_JAIL_PART_* that do not hold, or not whole */
};

void pen_jail_enter(const struct pen_jail_files *files, struct pen_jail *out_jail);
/* The parts' names, separated by spaces; "without-" before one that does not hold, "partly-" before one that holds in
 * part. */
void pen_jail_say(const struct pen_jail *jail, char *out, size_t size);

enum pen_jail_hold { PEN_JAIL_WITHOUT, PEN_JAIL_PARTLY, PEN_JAIL_WHOLE };
/* The part of it that denies system calls: these by name, and others by their arguments. signals: also those that
 * signal other processes. Needs no_new_privs. */
enum pen_jail_hold pen_jail_deny(const char *const *calls, size_t count, bool signals);

#endif
