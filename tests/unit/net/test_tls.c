/* TLS streams: only who has the key gets through, and only with TLS 1.3. */
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "net/tls.h"
#include "net/unix.h"

/* ---- OpenSSL, short of memory ------------------------------------------------------------------------ */

/* One of these calls fails once. */
enum lacks { NOTHING, A_CONTEXT, ITS_CIPHERS, A_METHOD };
static enum lacks lacking;

static bool fails(enum lacks what)
{
    bool yes = lacking == what;
    if (yes)
        lacking = NOTHING;
    return yes;
}

static void *next_symbol(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

SSL_CTX *SSL_CTX_new(const SSL_METHOD *end)
{
    typedef SSL_CTX *(*maker)(const SSL_METHOD *);
    return fails(A_CONTEXT) ? NULL : ((maker)next_symbol("SSL_CTX_new"))(end);
}

int SSL_CTX_set_ciphersuites(SSL_CTX *context, const char *names)
{
    typedef int (*setter)(SSL_CTX *, const char *);
    return fails(ITS_CIPHERS) ? 0 : ((setter)next_symbol("SSL_CTX_set_ciphersuites"))(context, names);
}

BIO_METHOD *BIO_meth_new(int type, const char *name)
{
    typedef BIO_METHOD *(*maker)(int, const char *);
    return fails(A_METHOD) ? NULL : ((maker)next_symbol("BIO_meth_new"))(type, name);
}

/* Asked for, of all connections. */
static int updates;

int SSL_key_update(SSL *ssl, int kind)
{
    typedef int (*updater)(SSL *, int);
    updates++;
    return ((updater)next_symbol("SSL_key_update"))(ssl, kind);
}

/* ------------------------------------------------------------------------------------------------------ */

static bool find_key(void *context, const char *identity, unsigned char secret[PEN_TLS_KEY_BYTES])
{
    const char *known = context;
    memset(secret, 5, PEN_TLS_KEY_BYTES);
    return !strcmp(identity, known);
}

static struct pen_tls_key key_of(const char *identity, unsigned char byte)
{
    struct pen_tls_key key = {0};
    strcpy(key.identity, identity);
    memset(key.secret, byte, sizeof key.secret);
    return key;
}

struct pair {
    struct pen_stream *connecting, *accepting;
    int rc_connecting, rc_accepting;
};

static struct pair shake_hands(const char *identity, unsigned char byte)
{
    struct pen_tls_key key = key_of(identity, byte);
    struct pair pair = {0};
    short events;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(pen_stream_tls_connect(fds[0], &key, &pair.connecting), 0);
    assert_int_equal(pen_stream_tls_accept(fds[1], find_key, "alice", &pair.accepting), 0);
    for (int i = 0; i < 20; i++) {
        if (!pair.rc_connecting)
            pair.rc_connecting = pen_tls_handshake(pair.connecting, &events);
        if (!pair.rc_accepting)
            pair.rc_accepting = pen_tls_handshake(pair.accepting, &events);
    }
    return pair;
}

static void finish(struct pair *pair)
{
    pair->connecting->ops->destroy(pair->connecting);
    pair->accepting->ops->destroy(pair->accepting);
}

static void *connect_once(void *out_rc)
{
    struct pen_tls_key key = key_of("alice", 5);
    struct pen_stream *stream;
    int fds[2], *rc = out_rc;
    *rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds);
    if (*rc || (*rc = pen_stream_tls_connect(fds[0], &key, &stream)))
        return NULL;
    pen_stream_destroy(stream);
    close(fds[1]);
    return NULL;
}

/* Who comes when there is no memory is turned away; those who come later, at the same time, are not. The first of the
 * tests: what is made once in a process is not there yet. */
static void short_of_memory(void **unused)
{
    static const enum lacks each[] = {A_CONTEXT, ITS_CIPHERS, A_METHOD};
    struct pen_tls_key key = key_of("alice", 5);
    struct pen_stream *stream;
    pthread_t threads[4];
    int fds[2], rcs[4];
    (void)unused;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        lacking = each[i];
        assert_int_equal(pen_stream_tls_accept(fds[0], find_key, "alice", &stream), -PEN_ENOMEM);
        assert_int_equal(lacking, NOTHING);
    }
    for (size_t i = 0; i < 2; i++) {
        lacking = each[i];
        assert_int_equal(pen_stream_tls_connect(fds[0], &key, &stream), -PEN_ENOMEM);
        assert_int_equal(lacking, NOTHING);
    }
    close(fds[0]);
    close(fds[1]);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, connect_once, &rcs[i]), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(rcs[i], 0);
    struct pair pair = shake_hands("alice", 5);
    assert_int_equal(pair.rc_connecting, 1);
    assert_int_equal(pair.rc_accepting, 1);
    finish(&pair);
}

static void right_key(void **unused)
{
    struct pair pair = shake_hands("alice", 5);
    const struct iovec parts[] = {{"hel", 3}, {"lo", 2}};
    char bytes[16];
    (void)unused;
    assert_int_equal(pair.rc_connecting, 1);
    assert_int_equal(pair.rc_accepting, 1);
    assert_string_equal(pen_tls_identity(pair.accepting), "alice");
    assert_int_equal(pair.connecting->ops->send(pair.connecting, parts, 2), 5);
    assert_int_equal(pair.accepting->ops->receive(pair.accepting, bytes, sizeof bytes), 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_int_equal(pair.accepting->ops->receive(pair.accepting, bytes, sizeof bytes), 0);
    shutdown(pair.connecting->fd, SHUT_RDWR);
    assert_int_equal(pair.accepting->ops->receive(pair.accepting, bytes, sizeof bytes), -PEN_EGONE);
    assert_int_equal(pair.connecting->ops->send(pair.connecting, parts, 2), -PEN_EGONE); /* and no SIGPIPE */
    finish(&pair);
}

/* All of it, both at once; the sockets hold less. */
static void exchange(const struct pair *pair, const unsigned char *sent, unsigned char *received, size_t size)
{
    struct pen_stream *ends[2] = {pair->connecting, pair->accepting};
    size_t out[2] = {0}, in[2] = {0};
    while (in[0] < size || in[1] < size)
        for (int i = 0; i < 2; i++) {
            const struct iovec part = {(void *)(uintptr_t)(sent + out[i]), size - out[i]};
            ssize_t n = out[i] < size ? ends[i]->ops->send(ends[i], &part, 1) : 0;
            assert_true(n >= 0);
            out[i] += (size_t)n;
            n = in[i] < size ? ends[i]->ops->receive(ends[i], received + (size_t)i * size + in[i], size - in[i]) : 0;
            assert_true(n >= 0);
            in[i] += (size_t)n;
        }
}

/* Each end changes the key that it sends with, many times, while both send more than the socket holds. */
static void keys_are_changed(void **unused)
{
    enum { RECORD = 16384, RECORDS = 200, BOUND = 2, SIZE = RECORD * RECORDS };
    unsigned char *sent = malloc(SIZE), *received = calloc(2, SIZE);
    struct pair pair = shake_hands("alice", 5);
    (void)unused;
    for (size_t i = 0; i < SIZE; i++)
        sent[i] = (unsigned char)(i * 7 + i / 251);
    updates = 0;
    exchange(&pair, sent, received, SIZE);
    assert_int_equal(updates, 0);
    pen_tls_change_keys_after(pair.connecting, BOUND);
    pen_tls_change_keys_after(pair.accepting, BOUND);
    memset(received, 0, 2 * (size_t)SIZE);
    exchange(&pair, sent, received, SIZE);
    assert_true(updates > RECORDS / BOUND); /* not while a socket is full */
    assert_memory_equal(received, sent, SIZE);
    assert_memory_equal(received + SIZE, sent, SIZE);
    finish(&pair);
    free(sent);
    free(received);
}

static void refused(const char *identity, unsigned char byte)
{
    struct pair pair = shake_hands(identity, byte);
    assert_int_equal(pair.rc_accepting, -PEN_EPERM);
    assert_true(pair.rc_connecting == -PEN_EPERM || pair.rc_connecting == -PEN_EGONE);
    finish(&pair);
}

static void wrong_key(void **unused)
{
    (void)unused;
    refused("alice", 6);
}

static void unknown_identity(void **unused)
{
    (void)unused;
    refused("bob", 5);
}

/* What a peer hears that shows this key of that name. */
static ssize_t hear(const char *identity, unsigned char byte, unsigned char *out, size_t size)
{
    struct pen_tls_key key = key_of(identity, byte);
    struct pen_stream *connecting, *accepting;
    short events;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(pen_stream_tls_connect(fds[0], &key, &connecting), 0);
    assert_int_equal(pen_stream_tls_accept(fds[1], find_key, "alice", &accepting), 0);
    assert_int_equal(pen_tls_handshake(connecting, &events), 0);
    assert_int_equal(pen_tls_handshake(accepting, &events), -PEN_EPERM);
    ssize_t got = recv(fds[0], out, size, MSG_DONTWAIT);
    pen_stream_destroy(connecting);
    pen_stream_destroy(accepting);
    return got;
}

static void names_are_not_told(void **unused)
{
    unsigned char of_wrong[256], of_unknown[256];
    (void)unused;
    ssize_t size = hear("alice", 6, of_wrong, sizeof of_wrong);
    assert_true(size > 0);
    assert_int_equal(hear("bob", 5, of_unknown, sizeof of_unknown), size);
    assert_memory_equal(of_unknown, of_wrong, (size_t)size);
}

static void no_identity(void **unused)
{
    (void)unused;
    refused("", 5);
}

/* What the accepting end says to a peer that is none of ours. */
static int accept_from(int fd)
{
    struct pen_stream *stream;
    assert_int_equal(pen_stream_tls_accept(fd, find_key, "alice", &stream), 0);
    int rc = pen_tls_handshake_until(stream, pen_deadline_ms(200));
    stream->ops->destroy(stream);
    return rc;
}

static void an_older_version(void **unused)
{
    int fds[2];
    (void)unused;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_true(SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION));
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fds[0]);
    SSL_set_connect_state(ssl);
    assert_int_not_equal(SSL_do_handshake(ssl), 1);
    assert_int_equal(accept_from(fds[1]), -PEN_EPERM);
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fds[0]);
}

static void no_tls_at_all(void **unused)
{
    static const char *const said[] = {"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
                                       "\x30\0\0\0\1\4\0\0\0\0\0\0\0\0\0\0"};
    (void)unused;
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_int_equal(write(fds[0], said[i], 16), 16);
        assert_int_equal(accept_from(fds[1]), -PEN_EPERM);
        close(fds[0]);
    }
}

/* A connection that ends in the middle is no refusal: it may be tried again. */
static void a_broken_connection(void **unused)
{
    struct pen_tls_key key = key_of("alice", 5);
    struct pen_stream *connecting;
    short events;
    int fds[2];
    (void)unused;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(pen_stream_tls_connect(fds[0], &key, &connecting), 0);
    assert_int_equal(pen_tls_handshake(connecting, &events), 0);
    shutdown(fds[1], SHUT_WR);
    assert_int_equal(pen_tls_handshake(connecting, &events), -PEN_EGONE);
    pen_stream_destroy(connecting);
    close(fds[1]);
}

static void silence(void **unused)
{
    int fds[2];
    (void)unused;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(accept_from(fds[1]), -PEN_ETIMEOUT);
    close(fds[0]);
}

/* What a client with the key once sent gets nobody in a second time. */
static void a_replayed_handshake(void **unused)
{
    struct pen_tls_key key = key_of("alice", 5);
    struct pen_stream *stream;
    unsigned char hello[4096];
    short events;
    int fds[2];
    (void)unused;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(pen_stream_tls_connect(fds[0], &key, &stream), 0);
    assert_int_equal(pen_tls_handshake(stream, &events), 0);
    ssize_t size = read(fds[1], hello, sizeof hello);
    assert_true(size > 100);
    stream->ops->destroy(stream);
    close(fds[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(write(fds[0], hello, (size_t)size), size);
    assert_int_equal(accept_from(fds[1]), -PEN_ETIMEOUT); /* it answers, and waits for a proof that never comes */
    close(fds[0]);
}

/* A certificate that nobody has asked for, signed by nobody. */
static void certify(SSL_CTX *context)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    assert_true(X509_sign(certificate, key, EVP_sha256()));
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/* Over TCP what is small is not held back until what went before it is acknowledged (Nagle). */
static void small_records_go_at_once(void **unused)
{
    struct pen_tls_key key = key_of("alice", 5);
    struct pen_stream *connecting, *accepting;
    int on[2] = {0}, fds[2] = {socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, 0)};
    socklen_t size = sizeof *on;
    (void)unused;
    assert_int_equal(pen_stream_tls_connect(fds[0], &key, &connecting), 0);
    assert_int_equal(pen_stream_tls_accept(fds[1], find_key, "alice", &accepting), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(getsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on[i], &size), 0);
        assert_int_equal(on[i], 1);
    }
    pen_stream_destroy(connecting);
    pen_stream_destroy(accepting);
}

/* Whoever cannot show the key is nobody, whatever else it shows. */
static void a_server_with_a_certificate(void **unused)
{
    struct pen_tls_key key = key_of("alice", 5);
    struct pen_stream *stream;
    int fds[2], rc = 0;
    short events;
    (void)unused;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    certify(context);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fds[1]);
    SSL_set_accept_state(ssl);
    assert_int_equal(pen_stream_tls_connect(fds[0], &key, &stream), 0);
    for (int i = 0; i < 20 && !rc; i++) {
        rc = pen_tls_handshake(stream, &events);
        SSL_do_handshake(ssl);
    }
    assert_int_equal(rc, -PEN_EPERM);
    stream->ops->destroy(stream);
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_of_memory),
        cmocka_unit_test(right_key),
        cmocka_unit_test(keys_are_changed),
        cmocka_unit_test(wrong_key),
        cmocka_unit_test(unknown_identity),
        cmocka_unit_test(names_are_not_told),
        cmocka_unit_test(no_identity),
        cmocka_unit_test(an_older_version),
        cmocka_unit_test(no_tls_at_all),
        cmocka_unit_test(a_broken_connection),
        cmocka_unit_test(silence),
        cmocka_unit_test(a_replayed_handshake),
        cmocka_unit_test(a_server_with_a_certificate),
        cmocka_unit_test(small_records_go_at_once),
    };
    return cmocka_run_group_tests_name("net-tls", tests, NULL, NULL);
}
