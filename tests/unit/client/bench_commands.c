/* What the sending of a command costs the program's thread, and a round trip: ns. Goal: 40 for the lock, the room, the
 * publication and the doorbell's check. Needs two CPUs to itself to say something. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/session.h"
#include "fake_worker.h"

#define BURST  1000u
#define ROUNDS 501u

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *what, double *samples, double each)
{
    qsort(samples, ROUNDS, sizeof *samples, compare);
    printf("%-44s median %8.1f ns   p10 %8.1f   p90 %8.1f\n", what, samples[ROUNDS / 2] / each,
           samples[ROUNDS / 10] / each, samples[ROUNDS * 9 / 10] / each);
}

int main(void)
{
    static struct fake_worker fake;
    static double samples[ROUNDS];
    struct pen_session *session;
    struct pen_error error = {0};
    uint64_t sequence = 0;
    if (fake_start(&fake, FAKE_NORMAL) || pen_session_open(NULL, &session, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const struct pen_msg_marker marker = {.queue = 1};
    const struct pen_msg_launch launch = {
        .queue = 1, .dimensions = 1, .kernel = 5, .global = {1024, 1, 1}, .local = {64, 1, 1}};
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t start = pen_now_ns();
        for (unsigned i = 0; i < BURST; i++)
            PEN_SEND(session, marker, &marker, &sequence);
        samples[round] = (double)(pen_now_ns() - start);
        pen_wait_queue(session, 1, sequence);
    }
    report("marker: encode, lock, publish", samples, BURST);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t start = pen_now_ns();
        for (unsigned i = 0; i < BURST; i++)
            PEN_SEND(session, launch, &launch, &sequence);
        samples[round] = (double)(pen_now_ns() - start);
        PEN_SEND(session, marker, &marker, &sequence);
        pen_wait_queue(session, 1, sequence);
    }
    report("launch: encode, lock, publish", samples, BURST);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t start = pen_now_ns();
        for (unsigned i = 0; i < BURST; i++) {
            int rc;
            void *at = pen_session_begin(session, 48, &sequence, &rc);
            if (i == 0) {
                pen_msg_marker_encode(&marker, sequence, at);
            } else {
                /* The frame of the last lap is still there but for its sequence. */
                const struct pen_frame_header header = {.size = 48, .opcode = PEN_OP_MARKER, .sequence = sequence};
                memcpy(at, &header, sizeof header);
            }
            pen_session_commit(session);
        }
        samples[round] = (double)(pen_now_ns() - start);
        usleep(300);
    }
    report("begin and commit alone", samples, BURST);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t start = pen_now_ns();
        PEN_SEND(session, marker, &marker, &sequence);
        pen_wait_queue(session, 1, sequence);
        samples[round] = (double)(pen_now_ns() - start);
    }
    report("marker and wait, hot", samples, 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        usleep(200);
        uint64_t start = pen_now_ns();
        PEN_SEND(session, marker, &marker, &sequence);
        pen_wait_queue(session, 1, sequence);
        samples[round] = (double)(pen_now_ns() - start);
    }
    report("marker and wait, worker asleep", samples, 1);
    pen_session_close(session);
    fake_stop(&fake);
    return 0;
}
