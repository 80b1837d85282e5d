/* worker/proof.c - see proof.h. */
#include "worker/proof.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/thread.h"
#include "net/unix.h"

/* For the handshake and the proof. */
#define PROOF_MS 10000
/* A link_proof is shorter. */
#define PROOF_BYTES 64

/* A connection that has not proven itself yet. */
struct claim {
    struct pen_list link; /* of prover->claims; by itself, when it has given way */
    struct pen_prover *prover;
    struct pen_remote_offer offer;
    int fd; /* a copy of the offer's, to shut it down with */
};

static bool session_key(void *context, const char *identity, unsigned char secret[PEN_TLS_KEY_BYTES])
{
    memcpy(secret, context, PEN_TLS_KEY_BYTES);
    return !strcmp(identity, PEN_TLS_SESSION_IDENTITY);
}

int pen_offer_accept(struct pen_remote_offer *offer, uint64_t deadline_ns, struct pen_stream **out_stream)
{
    int rc = offer->protected ? pen_stream_tls_accept(offer->fd, session_key, offer->secret, out_stream)
                              : pen_stream_plain(offer->fd, out_stream);
    if (rc)
        close(offer->fd);
    else if (offer->protected && (rc = pen_tls_handshake_until(*out_stream, deadline_ns)))
        pen_stream_destroy(*out_stream);
    explicit_bzero(offer, sizeof *offer);
    return rc;
}

/* Whether the first frame is the session's proof. */
static bool shows_proof(const struct pen_prover *prover, struct pen_stream *stream, uint64_t deadline_ns)
{
    struct pen_msg_link_proof shown;
    struct pen_scratch scratch = {0};
    size_t size;
    unsigned char *frame = aligned_alloc(64, PEN_LIMIT_FRAME);
    bool good = frame && !pen_stream_receive_frame(stream, frame, &size, deadline_ns) &&
                !pen_msg_link_proof_decode(frame, size, &scratch, &shown) &&
                !CRYPTO_memcmp(shown.proof, prover->proof, sizeof prover->proof);
    pen_scratch_finish(&scratch);
    explicit_bzero(&shown, sizeof shown);
    if (frame)
        explicit_bzero(frame, PROOF_BYTES);
    free(frame);
    return good;
}

/* Under lock. False: it has given way. */
static bool withdraw(struct claim *claim)
{
    if (pen_list_empty(&claim->link))
        return false;
    pen_list_remove(&claim->link);
    claim->prover->claim_count--;
    return true;
}

/* From then on it gives way to none: what is proven is a claim no more. */
static bool settle(struct claim *claim)
{
    pthread_mutex_lock(&claim->prover->lock);
    bool stands = withdraw(claim);
    pthread_mutex_unlock(&claim->prover->lock);
    return stands;
}

static void give_up(struct claim *claim)
{
    (void)settle(claim);
    close(claim->fd);
    free(claim);
}

static void *look_at(void *context)
{
    struct claim *claim = context;
    struct pen_prover *prover = claim->prover;
    struct pen_stream *stream;
    uint64_t deadline_ns = pen_deadline_ms(PROOF_MS);
    if (!pen_offer_accept(&claim->offer, deadline_ns, &stream)) {
        if (shows_proof(prover, stream, deadline_ns) && settle(claim))
            prover->proven(prover->context, stream);
        else
            pen_stream_destroy(stream);
    }
    give_up(claim);
    return NULL;
}

/* Makes room in the list. What is shut down ends its thread. */
static void enter(struct pen_prover *prover, struct claim *claim)
{
    pthread_mutex_lock(&prover->lock);
    if (prover->claim_count == PEN_PROOFS) {
        struct claim *oldest = PEN_CONTAINER(prover->claims.next, struct claim, link);
        shutdown(oldest->fd, SHUT_RDWR);
        (void)withdraw(oldest);
    }
    pen_list_append(&prover->claims, &claim->link);
    prover->claim_count++;
    pthread_mutex_unlock(&prover->lock);
}

void pen_prover_look_at(struct pen_prover *prover, const struct pen_remote_offer *offer)
{
    struct claim *claim = calloc(1, sizeof *claim);
    int copy = claim ? fcntl(offer->fd, F_DUPFD_CLOEXEC, 0) : -1;
    pthread_t thread;
    if (copy < 0) {
        close(offer->fd);
        free(claim);
        return;
    }
    *claim = (struct claim){.prover = prover, .offer = *offer, .fd = copy};
    enter(prover, claim);
    if (!pen_thread_start(&thread, look_at, claim)) {
        pthread_detach(thread);
        return;
    }
    close(offer->fd);
    explicit_bzero(&claim->offer, sizeof claim->offer);
    give_up(claim);
}

int pen_prover_init(struct pen_prover *prover, void (*proven)(void *context, struct pen_stream *stream), void *context)
{
    prover->proven = proven;
    prover->context = context;
    prover->claim_count = 0;
    pen_list_init(&prover->claims);
    pthread_mutex_init(&prover->lock, NULL);
    return getrandom(prover->proof, sizeof prover->proof, 0) == (ssize_t)sizeof prover->proof ? 0 : -PEN_EIO;
}
