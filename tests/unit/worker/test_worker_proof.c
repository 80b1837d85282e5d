/* Who claims a session, and which of them gives way when there are many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <semaphore.h>

#include "net/stream.h"
#include "net/unix.h"
#include "penstock-protocol.h"
#include "worker/proof.h"

#define PATIENCE_S 20

struct session {
    struct pen_prover prover;
    struct pen_stream *stream; /* the program's */
    sem_t proven;
    int silent[PEN_PROOFS]; /* claims that say nothing */
};

/* A claim that is looked at; our end of it. */
static int claim(struct pen_prover *prover)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    const struct pen_remote_offer offer = {.fd = ends[1]};
    pen_prover_look_at(prover, &offer);
    return ends[0];
}

/* As many come as make all that are looked at give way, before this thread is done with it. */
static void take(void *context, struct pen_stream *stream)
{
    struct session *session = context;
    for (int i = 0; i < PEN_PROOFS; i++)
        session->silent[i] = claim(&session->prover);
    session->stream = stream;
    sem_post(&session->proven);
}

static void test_the_proven_one_does_not_give_way(void **state)
{
    static struct session session; /* threads may still be at its end */
    struct timespec limit;
    _Alignas(8) unsigned char frame[64];
    char byte = 'x';
    (void)state;
    sem_init(&session.proven, 0, 0);
    assert_int_equal(pen_prover_init(&session.prover, take, &session), 0);
    int program = claim(&session.prover);
    struct pen_msg_link_proof proof;
    memcpy(proof.proof, session.prover.proof, sizeof proof.proof);
    pen_msg_link_proof_encode(&proof, 0, frame);
    assert_int_equal(
        pen_unix_send(program, frame, pen_msg_link_proof_size(&proof), NULL, 0, pen_deadline_ms(PATIENCE_S * 1000)), 0);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += PATIENCE_S;
    assert_int_equal(sem_timedwait(&session.proven, &limit), 0);
    assert_int_equal(send(program, &byte, 1, MSG_NOSIGNAL), 1);
    assert_int_equal(session.stream->ops->receive(session.stream, &byte, 1), 1);
    pen_stream_destroy(session.stream);
    close(program);
    for (int i = 0; i < PEN_PROOFS; i++)
        close(session.silent[i]);
    for (bool left = true; left; usleep(1000)) { /* their threads */
        pthread_mutex_lock(&session.prover.lock);
        left = session.prover.claim_count;
        pthread_mutex_unlock(&session.prover.lock);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_the_proven_one_does_not_give_way)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
