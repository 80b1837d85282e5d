/* worker/proof.h - who comes with a new connection of a session proves that he is its program: it shows what only that
 * has been told (link_proof). That is done beside the session, which has its pump and its old connection until then.
 * Ownership: a connection is the prover's until it is proven. Threads: one for each connection that is looked at; the
 * functions here are any thread's. Errors: 0 or -PEN_E*. */
#ifndef PEN_WORKER_PROOF_H
#define PEN_WORKER_PROOF_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "net/tls.h"

/* Connections that are looked at at a time; whoever has taken longest gives way to one more. */
#define PEN_PROOFS 8

/* How a connection of the session is to be made. */
struct pen_remote_offer {
    int fd;
    bool protected;
    unsigned char secret[PEN_TLS_KEY_BYTES]; /* that the program must show, when it is protected */
};

struct pen_prover {
    uint64_t proof[2];
    /* Takes one that is proven, on a thread of ours. */
    void (*proven)(void *context, struct pen_stream *stream);
    void *context;

    pthread_mutex_t lock;
    /* guarded by lock */
    struct pen_list claims; /* the oldest first */
    uint32_t claim_count;
};

/* With a proof of its own. It lasts as long as the process. -PEN_EIO. */
int pen_prover_init(struct pen_prover *prover, void (*proven)(void *context, struct pen_stream *stream), void *context);
/* The connection is looked at; closed, when it does not prove itself in time. Takes the descriptor. */
void pen_prover_look_at(struct pen_prover *prover, const struct pen_remote_offer *offer);
/* The stream of a connection; with TLS, when the handshake is over. Takes the descriptor, and wipes the offer. */
int pen_offer_accept(struct pen_remote_offer *offer, uint64_t deadline_ns, struct pen_stream **out_stream);

#endif
