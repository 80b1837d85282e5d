/* worker/jail.h - the sandbox: what a session's kernels (native code in this process) can reach. Applied before drivers
 * load, to this process and whatever it runs (PoCL runs a linker). What the system lacks is left out and said.
 *   no new privileges, no core dumps, no capabilities, dies with the daemon, first to go when memory is short,
 *   Landlock: files may be read, and written only below the directories given and in /dev;
 *   a network namespace of its own, without interfaces; seccomp: no tracing, mounting, modules, keys, namespaces.
 * Threads: call it while there is one. */
#ifndef PEN_WORKER_JAIL_H
#define PEN_WORKER_JAIL_H

#include <stddef.h>

/* Writable: directories that exist. out_active: the names of the parts that hold, separated by spaces. */
void pen_jail_enter(const char *const *writable, size_t writable_count, char *out_active, size_t size);

#endif
