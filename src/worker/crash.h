/* worker/crash.h - the crash page: a small shared memory that outlives the worker in the daemon's hands.
 * Written by the worker only, without locks: a reader may see a torn name, never an unterminated one if it uses
 * pen_crash_kernel. The daemon trusts nothing in it: it may be anything once a kernel has gone wild.
 * Atomics: relaxed; the page is for people and counters. */
#ifndef PEN_WORKER_CRASH_H
#define PEN_WORKER_CRASH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define PEN_CRASH_MAGIC   0x68737263u /* "crsh" */
#define PEN_CRASH_KERNELS 4
#define PEN_CRASH_NAME    120
#define PEN_CRASH_BYTES   4096 /* size of the memfd */

enum pen_crash_phase { PEN_CRASH_STARTING, PEN_CRASH_WARM, PEN_CRASH_SERVING, PEN_CRASH_ENDED, PEN_CRASH_PHASES };

struct pen_crash_page {
    uint32_t magic;
    _Atomic uint32_t next; /* launches noted; the newest is at (next - 1) % PEN_CRASH_KERNELS */
    char kernels[PEN_CRASH_KERNELS][PEN_CRASH_NAME];
    _Atomic uint32_t phase; /* enum pen_crash_phase */
    char jail[256];         /* active parts of the sandbox, separated by spaces */

    /* counters since the session began */
    _Atomic uint64_t commands, launches, builds, build_hits;
    _Atomic uint64_t region_bytes;   /* regions alive */
    _Atomic uint64_t transfer_bytes; /* moved between replicas */
    _Atomic uint64_t failed;         /* commands whose event got an error */
    _Atomic uint64_t held;           /* commands that had to wait in the worker */

    _Atomic uint32_t broken; /* 1: a program on another host has no connection */
    _Atomic uint32_t parked; /* 1: nothing of the session is in the devices' own memory */
    _Atomic uint32_t status; /* what it exits with, in phase PEN_CRASH_ENDED: not every daemon is its parent */

    char cache[448]; /* what is wrong with cache.dir; "": nothing */
};

/* Creates the memfd and maps it; -PEN_EIO when it cannot be had. The caller owns both. */
int pen_crash_create(struct pen_crash_page **out_page, int *out_fd);
/* Notes a launch; the name is copied when it differs from the newest one. */
void pen_crash_note(struct pen_crash_page *page, const char *kernel);
/* The age'th newest kernel's name (0 = newest) as a bounded string in out; "" when there is none. */
void pen_crash_kernel(const struct pen_crash_page *page, uint32_t age, char *out, size_t size);
/* What the worker was at, in a word; "unknown" when the page holds no phase. */
const char *pen_crash_phase_name(const struct pen_crash_page *page);

#endif
