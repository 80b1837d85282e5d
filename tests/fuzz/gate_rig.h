/* tests/fuzz/gate_rig.h - the daemon's gate (daemon/gate.c) by itself, for its fuzzer and for what makes the seeds of
 * it: a gate with one tenant, alice, whose key is 32 times GATE_KEY, or with a certificate of her name; and random
 * numbers that are the same each time, so that a captured handshake is good again. */
#ifndef PEN_TESTS_FUZZ_GATE_RIG_H
#define PEN_TESTS_FUZZ_GATE_RIG_H

#include "daemon/daemon.h"

#define GATE_KEY 7

struct gate {
    struct pen_daemon daemon;
    struct pen_msg_session_ticket ticket; /* the one that is promised */
    unsigned admitted, opened;            /* since gate_begin */
};

/* Whose random numbers follow. */
enum gate_side { GATE_POOL, GATE_STRANGER, GATE_SIDES };
void gate_random(enum gate_side side);

void gate_start(struct gate *gate);
/* The gate's authority gives out a certificate; the files are in memory, for as long as the process runs. */
void gate_certify(const char *name, struct pen_certificate_files *out_files);
/* Before each stranger: the random numbers begin anew, and a session is promised to a ticket. */
void gate_begin(struct gate *gate);
/* A stranger's connection, non-blocking. */
int gate_dial(void);
/* Lets the gate do all that it can now. */
void gate_turn(struct gate *gate);

#endif
