/* fake_worker.h - a daemon and a worker in one thread of the test, on a socket in a folder of its own
 * ($PENSTOCK_SOCKET).
 *
 * What the client sends drives it: a marker completes its event and queue (queue ids are queue slots); a marker whose
 * queue is FAKE_QUEUE_NEVER completes nothing; a fill prints its pattern, then completes; a kernel_query is answered
 * `dimensions` times; a program_binary is answered with as many bytes as its program's id; a region_destroy
 * completes its slot; program_destroy of FAKE_* does what the name says. */
#ifndef FAKE_WORKER_H
#define FAKE_WORKER_H

#include <pthread.h>
#include <stdint.h>

#include "net/unix.h"
#include "wire/arena.h"
#include "wire/ring.h"

#define FAKE_ARENA_BYTES (1ull << 30)

enum {
    FAKE_QUEUE_NEVER = 1000, /* marker */
    FAKE_DIE = 1,            /* program_destroy: closes the socket without a word */
    FAKE_FATAL = 2,          /* sends `fatal` */
    FAKE_STALL = 3,          /* reads no more commands for 200 ms */
    FAKE_NONSENSE = 4,       /* sends what is no frame */
    FAKE_LIE = 5,            /* counts an output frame that it does not send */
    FAKE_LATE = 6,           /* counts an output frame, and sends it FAKE_LATE_US later */
    FAKE_FLOOD = 7,          /* prints FAKE_FLOOD_BYTES */
};

#define FAKE_FLOOD_BYTES (2ull << 20)
#define FAKE_LATE_US     200000u

enum fake_mode { /* how session_open is answered */
                 FAKE_NORMAL,
                 FAKE_REFUSES,
                 FAKE_NO_DESCRIPTORS,
                 FAKE_WRONG_VERSION,
                 FAKE_HANGS_UP,
                 FAKE_WRONG_SIZES,
                 FAKE_SLOW, /* as normal, but only when `go` is set */
};

struct fake_worker {
    char directory[64], path[108];
    enum fake_mode mode;
    pthread_t thread;
    int listener;
    _Atomic int stop;
    _Atomic int asked, go;      /* FAKE_SLOW: a session was asked for, and may be given */
    _Atomic uint64_t commands;  /* executed */
    _Atomic uint64_t malformed; /* commands that did not decode or were out of sequence */
    uint32_t features;          /* as asked for */
    _Atomic uint32_t delay_us;  /* before each completion, and each kernel_query's answer */
};

/* Listens, sets $PENSTOCK_SOCKET, serves connections one after the other. 0 or -1. */
int fake_start(struct fake_worker *fake, enum fake_mode mode);
void fake_stop(struct fake_worker *fake);

#endif
