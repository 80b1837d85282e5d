/* See tls.h.
 *
 * An SSL object is one thread's at a time: a lock is held for each SSL_read and SSL_write, none of which blocks. What
 * is written goes out in records of up to 16 KiB: small parts are gathered into one, large ones are encrypted from
 * where they lie. A write that the socket did not take is tried again with the same bytes, since a link's bytes do not
 * change; more may follow them by then (SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER). */
#include "net/tls.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tcp.h"

#define CIPHERS "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256" /* SHA-256 both: a key is bound to a hash */
/* One record's most; and the most that is encrypted while the lock is held. */
#define RECORD_BYTES 16384u
#define WRITE_BYTES  65536u
#define WHY_BYTES    200
/* Records that are sent with one key, 16 GiB of full ones: AES-GCM is good for 2^24.5 (RFC 8446 section 5.5). */
#define KEY_RECORDS (UINT64_C(1) << 20)

struct tls {
    struct pen_stream stream; /* first */
    SSL *ssl;
    pthread_mutex_t lock;
    struct pen_tls_key key; /* its secret is wiped after the handshake */
    bool certified;         /* certificates are in use, beside keys at the accepting end */
    pen_tls_find_key find;
    pen_tls_admit admit;
    void *context;
    char why[WHY_BYTES];
    uint64_t records, key_records;      /* sent with the present key; most. Guarded by lock */
    unsigned char record[RECORD_BYTES]; /* the sender's */
};

static struct tls *tls_of(const struct pen_stream *stream)
{
    return (struct tls *)(void *)(uintptr_t)stream;
}

/* ---- the key ----------------------------------------------------------------------------------------- */

/* A session as OpenSSL wants an external key: the key, its hash by way of a cipher, and the version. */
static SSL_SESSION *session_of(SSL *ssl, const unsigned char *secret)
{
    static const unsigned char aes_128_gcm_sha256[2] = {0x13, 0x01};
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
    SSL_SESSION *session = SSL_SESSION_new();
    if (session && cipher && SSL_SESSION_set1_master_key(session, secret, PEN_TLS_KEY_BYTES) &&
        SSL_SESSION_set_cipher(session, cipher) && SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
        return session;
    SSL_SESSION_free(session);
    return NULL;
}

static int use_key(SSL *ssl, const EVP_MD *hash, const unsigned char **out_identity, size_t *out_size,
                   SSL_SESSION **out_session)
{
    struct tls *tls = SSL_get_app_data(ssl);
    (void)hash;
    *out_identity = (const unsigned char *)tls->key.identity;
    *out_size = strlen(tls->key.identity);
    *out_session = session_of(ssl, tls->key.secret);
    return *out_session != NULL;
}

/* For a name that nobody has, a key that nobody has: the handshake then fails where it does for a wrong key, and with
 * the same alert, so that a stranger does not learn who has a key. 1 also for what can be no name. */
static int find_key(SSL *ssl, const unsigned char *identity, size_t size, SSL_SESSION **out_session)
{
    struct tls *tls = SSL_get_app_data(ssl);
    *out_session = NULL;
    if (!size || size > PEN_TLS_IDENTITY_BYTES || memchr(identity, 0, size))
        return 1;
    memcpy(tls->key.identity, identity, size);
    tls->key.identity[size] = 0;
    if (!tls->find(tls->context, tls->key.identity, tls->key.secret) &&
        RAND_priv_bytes(tls->key.secret, sizeof tls->key.secret) != 1)
        return 0;
    *out_session = session_of(ssl, tls->key.secret);
    return *out_session != NULL;
}

/* ---- the certificate --------------------------------------------------------------------------------- */

/* Called for each certificate, the peer's own last, when all that it rests on is good. */
static int look_at(int good, X509_STORE_CTX *chain)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = SSL_get_app_data(ssl);
    if (!good || X509_STORE_CTX_get_error_depth(chain) > 0)
        return good;
    bool named =
        pen_certificates_name(X509_STORE_CTX_get_current_cert(chain), tls->key.identity, sizeof tls->key.identity);
    int rc = named ? tls->admit(tls->context, tls->key.identity) : -PEN_EINVAL;
    if (rc)
        X509_STORE_CTX_set_error(chain, rc == -PEN_EPERM ? X509_V_ERR_CERT_REVOKED : X509_V_ERR_CERT_REJECTED);
    return !rc;
}

/* The peer has shown a key, which is to OpenSSL a session that goes on; or a certificate, which was verified. */
static bool is_proven(const struct tls *tls)
{
    return SSL_session_reused(tls->ssl) ||
           (tls->certified && SSL_get0_peer_certificate(tls->ssl) && SSL_get_verify_result(tls->ssl) == X509_V_OK);
}

/* ---- the socket -------------------------------------------------------------------------------------- */

/* OpenSSL's own way to a socket would raise SIGPIPE in the program. */

static bool not_now(ssize_t rc)
{
    return rc < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

static int socket_write(BIO *bio, const char *bytes, int size)
{
    ssize_t rc = send((int)(intptr_t)BIO_get_data(bio), bytes, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    BIO_clear_retry_flags(bio);
    if (not_now(rc))
        BIO_set_retry_write(bio);
    return (int)rc;
}

static int socket_read(BIO *bio, char *bytes, int size)
{
    ssize_t rc = recv((int)(intptr_t)BIO_get_data(bio), bytes, (size_t)size, MSG_DONTWAIT);
    BIO_clear_retry_flags(bio);
    if (not_now(rc))
        BIO_set_retry_read(bio);
    return (int)rc;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* Made when it is first needed and there is memory for it; lives as long as the process. Of threads that make one at
 * the same time the first one's is kept: no lock, which a fork could leave held. Release and acquire, for what is in
 * it. */
static BIO_METHOD *_Atomic kept_method;

static BIO_METHOD *new_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "penstock socket");
    if (method && BIO_meth_set_write(method, socket_write) && BIO_meth_set_read(method, socket_read) &&
        BIO_meth_set_ctrl(method, socket_control))
        return method;
    BIO_meth_free(method);
    return NULL;
}

static BIO_METHOD *get_method(void)
{
    BIO_METHOD *method = atomic_load_explicit(&kept_method, memory_order_acquire), *mine;
    if (method || !(mine = new_method()))
        return method;
    if (atomic_compare_exchange_strong_explicit(&kept_method, &method, mine, memory_order_acq_rel,
                                                memory_order_acquire))
        return mine;
    BIO_meth_free(mine);
    return method;
}

static int set_socket(SSL *ssl, int fd)
{
    BIO_METHOD *method = get_method();
    BIO *bio = method ? BIO_new(method) : NULL;
    if (!bio)
        return 0;
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return 1;
}

/* ---- the stream -------------------------------------------------------------------------------------- */

/* Locked. Bytes, 0: not now, or what is wrong. */
static ssize_t result(struct tls *tls, int rc)
{
    if (rc > 0)
        return rc;
    int why = SSL_get_error(tls->ssl, rc);
    if (why == SSL_ERROR_SSL && tls->certified)
        pen_certificates_explain(tls->ssl, tls->why, sizeof tls->why);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -PEN_EGONE;
}

/* What to write: a large part as it lies, else small ones one after the other. */
static const void *gather(struct tls *tls, const struct iovec *parts, int count, size_t *out_size)
{
    size_t size = 0;
    if (parts->iov_len >= RECORD_BYTES) {
        *out_size = parts->iov_len < WRITE_BYTES ? parts->iov_len : WRITE_BYTES;
        return parts->iov_base;
    }
    for (; count && size < RECORD_BYTES; parts++, count--) {
        size_t part = parts->iov_len < RECORD_BYTES - size ? parts->iov_len : RECORD_BYTES - size;
        memcpy(tls->record + size, parts->iov_base, part);
        size += part;
    }
    *out_size = size;
    return tls->record;
}

/* Locked; so many bytes have just been taken, and no record waits for the socket. The peer is told when another key
 * follows; the other direction's is the peer's to change. Only when the socket takes that at once: until it has,
 * OpenSSL would not read either, and two ends that wait for each other to read would wait for ever. */
static void count_records(struct tls *tls, size_t bytes)
{
    struct pollfd socket = {.fd = tls->stream.fd, .events = POLLOUT};
    tls->records += (bytes + RECORD_BYTES - 1) / RECORD_BYTES;
    if (tls->records < tls->key_records || poll(&socket, 1, 0) != 1)
        return;
    if (SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) && SSL_do_handshake(tls->ssl) == 1)
        tls->records = 0;
}

static ssize_t tls_send(struct pen_stream *stream, const struct iovec *parts, int count)
{
    struct tls *tls = tls_of(stream);
    size_t size;
    const void *bytes = gather(tls, parts, count, &size);
    pthread_mutex_lock(&tls->lock);
    ERR_clear_error();
    ssize_t rc = result(tls, SSL_write(tls->ssl, bytes, (int)size));
    if (rc > 0)
        count_records(tls, (size_t)rc);
    pthread_mutex_unlock(&tls->lock);
    return rc;
}

static ssize_t tls_receive(struct pen_stream *stream, void *bytes, size_t size)
{
    struct tls *tls = tls_of(stream);
    pthread_mutex_lock(&tls->lock);
    ERR_clear_error();
    ssize_t rc = result(tls, SSL_read(tls->ssl, bytes, size < WRITE_BYTES ? (int)size : (int)WRITE_BYTES));
    pthread_mutex_unlock(&tls->lock);
    return rc;
}

static const char *tls_why(const struct pen_stream *stream)
{
    return tls_of(stream)->why;
}

/* All but the descriptor. Accepts NULL. */
static void discard(struct tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    OPENSSL_cleanse(&tls->key, sizeof tls->key);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

static void tls_destroy(struct pen_stream *stream)
{
    if (!stream)
        return;
    int fd = stream->fd;
    discard(tls_of(stream));
    close(fd);
}

/* At a program's end its session's threads still have connections: what they need is not to be taken from them. The
 * first call of OpenSSL decides that: this one, when the module is loaded, unless the program has used OpenSSL itself.
 */
__attribute__((constructor)) static void initialize(void)
{
    OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL);
}

/* TLS 1.3 alone, and little of it: no tickets, nothing before the handshake is over. Nobody's certificate is believed
 * unless an authority is named. NULL: there is no memory. */
static SSL_CTX *new_context(bool accepts)
{
    SSL_CTX *context = SSL_CTX_new(accepts ? TLS_server_method() : TLS_client_method());
    if (!context)
        return NULL;
    if (!accepts)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) && SSL_CTX_set_ciphersuites(context, CIPHERS) &&
        SSL_CTX_set_num_tickets(context, 0))
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* One for each end (the connecting one's, the accepting one's), since making one takes a seventh of a millisecond; kept
 * as the socket's method is. What differs between connections is set in their SSL. */
static SSL_CTX *_Atomic kept_contexts[2];

static SSL_CTX *get_context(bool accepts)
{
    SSL_CTX *context = atomic_load_explicit(&kept_contexts[accepts], memory_order_acquire), *mine;
    if (context || !(mine = new_context(accepts)))
        return context;
    if (atomic_compare_exchange_strong_explicit(&kept_contexts[accepts], &context, mine, memory_order_acq_rel,
                                                memory_order_acquire))
        return mine;
    SSL_CTX_free(mine);
    return context;
}

static SSL *new_ssl(bool accepts)
{
    SSL_CTX *context = get_context(accepts);
    return context ? SSL_new(context) : NULL;
}

static uint64_t tls_round_trip_ns(const struct pen_stream *stream)
{
    return pen_tcp_round_trip_ns(stream->fd);
}

static bool tls_awaits(const struct pen_stream *stream, uint64_t *out_unheard_ns)
{
    return pen_tcp_awaits(stream->fd, out_unheard_ns);
}

void pen_tls_prepare(void)
{
    SSL_free(new_ssl(true));
}

static int create(int fd, bool accepts, struct tls **out_tls)
{
    static const struct pen_stream_ops ops = {tls_send, tls_receive,       tls_destroy,
                                              tls_why,  tls_round_trip_ns, tls_awaits};
    struct tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return -PEN_ENOMEM;
    pthread_mutex_init(&tls->lock, NULL);
    tls->ssl = new_ssl(accepts);
    if (!tls->ssl || !SSL_set_app_data(tls->ssl, tls) || !set_socket(tls->ssl, fd)) {
        discard(tls);
        return -PEN_ENOMEM;
    }
    if (accepts)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    pen_tcp_tune(fd);
    tls->stream = (struct pen_stream){.ops = &ops, .fd = fd};
    tls->key_records = KEY_RECORDS;
    *out_tls = tls;
    return 0;
}

int pen_stream_tls_connect(int fd, const struct pen_tls_key *key, struct pen_stream **out_stream)
{
    struct tls *tls;
    int rc = create(fd, false, &tls);
    if (rc)
        return rc;
    tls->key = *key;
    SSL_set_psk_use_session_callback(tls->ssl, use_key);
    *out_stream = &tls->stream;
    return 0;
}

int pen_stream_tls_connect_certified(int fd, const struct pen_certificate_files *files, const char *address,
                                     struct pen_stream **out_stream, struct pen_error *error)
{
    struct pen_certificates *mine;
    struct tls *tls;
    int rc = pen_certificates_load(files, &mine, NULL, error);
    if (rc)
        return rc;
    rc = create(fd, false, &tls);
    bool good = !rc && pen_certificates_use(mine, tls->ssl) && pen_certificates_expect(tls->ssl, address);
    pen_certificates_destroy(mine);
    if (rc)
        return pen_fail(error, rc, "connecting to %s: %s", address, pen_error_text(rc));
    if (!good) {
        discard(tls);
        return pen_fail(error, -PEN_EPROTO, "certificate %.300s: TLS does not take it for a connection to %s",
                        files->certificate, address);
    }
    tls->certified = true;
    *out_stream = &tls->stream;
    return 0;
}

int pen_stream_tls_accept(int fd, pen_tls_find_key find, void *context, struct pen_stream **out_stream)
{
    struct tls *tls;
    int rc = create(fd, true, &tls);
    if (rc)
        return rc;
    tls->find = find;
    tls->context = context;
    SSL_set_psk_find_session_callback(tls->ssl, find_key);
    *out_stream = &tls->stream;
    return 0;
}

int pen_stream_tls_accept_either(int fd, pen_tls_find_key find, pen_tls_admit admit, void *context,
                                 const struct pen_certificates *mine, struct pen_stream **out_stream)
{
    struct pen_stream *stream;
    int rc = pen_stream_tls_accept(fd, find, context, &stream);
    if (rc)
        return rc;
    struct tls *tls = tls_of(stream);
    /* OpenSSL wants a context's name where there is somebody to verify and sessions go on, as keys are to it. */
    if (!SSL_set_session_id_context(tls->ssl, (const unsigned char *)"penstock", 8) ||
        !pen_certificates_use(mine, tls->ssl)) {
        discard(tls);
        return -PEN_ENOMEM;
    }
    SSL_set_verify(tls->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, look_at);
    tls->admit = admit;
    tls->certified = true;
    *out_stream = stream;
    return 0;
}

/* ---- the handshake ----------------------------------------------------------------------------------- */

int pen_tls_handshake(struct pen_stream *stream, short *out_events)
{
    struct tls *tls = tls_of(stream);
    ERR_clear_error();
    int rc = SSL_do_handshake(tls->ssl);
    if (rc == 1) {
        OPENSSL_cleanse(tls->key.secret, sizeof tls->key.secret);
        return is_proven(tls) ? 1 : -PEN_EPERM;
    }
    switch (SSL_get_error(tls->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        *out_events = POLLIN;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        *out_events = POLLOUT;
        return 0;
    case SSL_ERROR_SSL:
        pen_certificates_explain(tls->ssl, tls->why, sizeof tls->why);
        return -PEN_EPERM;
    default:
        return -PEN_EGONE;
    }
}

int pen_tls_handshake_until(struct pen_stream *stream, uint64_t deadline_ns)
{
    for (;;) {
        short events = 0;
        int rc = pen_tls_handshake(stream, &events);
        if (!rc && !(rc = pen_stream_wait(stream, events, deadline_ns)))
            continue;
        return rc < 0 ? rc : 0;
    }
}

const char *pen_tls_identity(const struct pen_stream *stream)
{
    return tls_of(stream)->key.identity;
}

void pen_tls_change_keys_after(struct pen_stream *stream, uint64_t records)
{
    tls_of(stream)->key_records = records;
}
