/* worker/jail.h - the sandbox: what a session's kernels (native code in this process) can reach. Applied before drivers
 * load, to this process and whatever it runs (PoCL runs a linker). What the system lacks is left out and said; one
 * part, one path or one system call that cannot be had costs none of the others. no new privileges, no core dumps, no
 * capabilities, dies with the daemon, first to go when memory is short, Landlock: files may be read, and written only
 * below the directories given and in /dev; a network namespace of its own, without interfaces; seccomp: no tracing,
 * mounting, modules, keys, namespaces. Threads: call it while there is one. */
#ifndef PEN_WORKER_JAIL_H
#define PEN_WORKER_JAIL_H

#include <stdbool.h>
#include <stddef.h>

enum pen_jail_part { PEN_JAIL_WITHOUT, PEN_JAIL_PARTLY, PEN_JAIL_WHOLE };

/* Writable: directories that exist. out_status: the names of the parts, separated by spaces; "without-" before one that
 * does not hold, "partly-" before one that holds in part. True when files and system calls are held whole. */
bool pen_jail_enter(const char *const *writable, size_t writable_count, char *out_status, size_t size);
/* The part of it that denies system calls, by name. Needs no_new_privs. */
enum pen_jail_part pen_jail_deny(const char *const *calls, size_t count);

#endif
