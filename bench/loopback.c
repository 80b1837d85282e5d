/* bench/loopback.c - what one connection over loopback is good for, without Penstock: what remote.py compares with.
 * usage: loopback BYTES       prints `row value`, times in ns, rates in byte/s
 * Two processes, 1 MiB a call, and of TLS the version, cipher and kind of key that Penstock's connections have. The
 * rows, of tcp and of tls: `tcp`, BYTES one after the other; `tcp_round_trip`, a byte there and one back;
 * `tcp_write_1M`, `tcp_write_16M`, so many bytes there and one back, the median of many; `tcp_read_1M`, `tcp_read_16M`,
 * a byte there and so many back: what a blocking transfer cannot do without. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PART        (1 << 20)
#define ROUND_TRIPS 2000
#define CIPHER      "TLS_AES_128_GCM_SHA256"

/* Transfers that are answered, of the sizes that callpath.c has, and as many. */
static const struct transfer {
    const char *name;
    size_t bytes;
    int count;
} transfers[] = {{"1M", 1 << 20, 200}, {"16M", 16 << 20, 30}};
#define TRANSFERS (sizeof transfers / sizeof *transfers)

static unsigned char memory[16 << 20];

struct connection {
    int fd;
    SSL *ssl; /* NULL: as it is */
};

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void check(bool good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(1);
}

/* ---- the connection ---------------------------------------------------------------------------------- */

static SSL_SESSION *session_of(SSL *ssl)
{
    static const unsigned char secret[32] = {1}, cipher[2] = {0x13, 0x01};
    SSL_SESSION *session = SSL_SESSION_new();
    check(session && SSL_SESSION_set1_master_key(session, secret, sizeof secret) &&
              SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, cipher)) &&
              SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION),
          "making a key");
    return session;
}

static int use_key(SSL *ssl, const EVP_MD *hash, const unsigned char **out_name, size_t *out_size, SSL_SESSION **out)
{
    (void)hash;
    *out_name = (const unsigned char *)"bench";
    *out_size = strlen("bench");
    *out = session_of(ssl);
    return 1;
}

static int find_key(SSL *ssl, const unsigned char *name, size_t size, SSL_SESSION **out)
{
    (void)name, (void)size;
    *out = session_of(ssl);
    return 1;
}

static void protect(struct connection *connection, bool accepts)
{
    SSL_CTX *context = SSL_CTX_new(accepts ? TLS_server_method() : TLS_client_method());
    check(context && SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) &&
              SSL_CTX_set_ciphersuites(context, CIPHER) && SSL_CTX_set_num_tickets(context, 0),
          "setting TLS up");
    SSL_CTX_set_psk_use_session_callback(context, use_key);
    SSL_CTX_set_psk_find_session_callback(context, find_key);
    connection->ssl = SSL_new(context);
    SSL_CTX_free(context); /* the connection has its own reference */
    check(connection->ssl && SSL_set_fd(connection->ssl, connection->fd), "setting TLS up");
    check((accepts ? SSL_accept(connection->ssl) : SSL_connect(connection->ssl)) == 1, "the TLS handshake");
}

static struct connection connection_over(int fd, bool tls, bool accepts)
{
    struct connection connection = {.fd = fd};
    const int yes = 1;
    check(fd >= 0 && !setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), "connecting over loopback");
    if (tls)
        protect(&connection, accepts);
    return connection;
}

static size_t put(struct connection *connection, unsigned char *at, size_t size)
{
    ssize_t sent =
        connection->ssl ? SSL_write(connection->ssl, at, (int)size) : send(connection->fd, at, size, MSG_NOSIGNAL);
    check(sent > 0, "sending");
    return (size_t)sent;
}

static size_t take(struct connection *connection, unsigned char *at, size_t size)
{
    ssize_t came = connection->ssl ? SSL_read(connection->ssl, at, (int)size) : recv(connection->fd, at, size, 0);
    check(came > 0, "receiving");
    return (size_t)came;
}

typedef size_t (*step)(struct connection *, unsigned char *, size_t);

/* All from the same memory, which stays in the cache. */
static void move(step one, struct connection *connection, uint64_t bytes)
{
    while (bytes)
        bytes -= one(connection, memory, bytes < PART ? (size_t)bytes : PART);
}

/* Each from where it lies. */
static void move_block(step one, struct connection *connection, size_t bytes)
{
    for (size_t done = 0; done < bytes;)
        done += one(connection, memory + done, bytes - done < PART ? bytes - done : PART);
}

/* ---- what is measured -------------------------------------------------------------------------------- */

/* A block one way, and a byte the other. */
static void answer(struct connection *connection, const struct transfer *transfer, bool reads)
{
    for (int i = 0; i < transfer->count; i++) {
        move_block(take, connection, reads ? 1 : transfer->bytes);
        move_block(put, connection, reads ? transfer->bytes : 1);
    }
}

/* The other process: takes all and says so, then answers. */
static void serve(int listening, bool tls, uint64_t bytes)
{
    struct connection connection = connection_over(accept(listening, NULL, NULL), tls, true);
    move(take, &connection, bytes);
    move(put, &connection, 1);
    for (int i = 0; i < ROUND_TRIPS; i++) {
        move(take, &connection, 1);
        move(put, &connection, 1);
    }
    for (size_t i = 0; i < 2 * TRANSFERS; i++)
        answer(&connection, &transfers[i / 2], i % 2);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void ask(struct connection *connection, const char *name, const struct transfer *transfer, bool reads)
{
    double times[ROUND_TRIPS];
    for (int i = 0; i < transfer->count; i++) {
        double begin = now_ns();
        move_block(put, connection, reads ? 1 : transfer->bytes);
        move_block(take, connection, reads ? transfer->bytes : 1);
        times[i] = now_ns() - begin;
    }
    qsort(times, (size_t)transfer->count, sizeof *times, by_value);
    printf("%s_%s_%s %.9g\n", name, reads ? "read" : "write", transfer->name,
           (double)transfer->bytes / times[transfer->count / 2] * 1e9);
}

static void measure(int fd, bool tls, uint64_t bytes)
{
    static double times[ROUND_TRIPS];
    const char *name = tls ? "tls" : "tcp";
    struct connection connection = connection_over(fd, tls, false);
    double begin = now_ns();
    move(put, &connection, bytes);
    move(take, &connection, 1);
    printf("%s %.9g\n", name, (double)bytes / (now_ns() - begin) * 1e9);
    for (int i = 0; i < ROUND_TRIPS; i++) {
        begin = now_ns();
        move(put, &connection, 1);
        move(take, &connection, 1);
        times[i] = now_ns() - begin;
    }
    qsort(times, ROUND_TRIPS, sizeof *times, by_value);
    printf("%s_round_trip %.9g\n", name, times[ROUND_TRIPS / 2]);
    for (size_t i = 0; i < 2 * TRANSFERS; i++)
        ask(&connection, name, &transfers[i / 2], i % 2);
    fflush(stdout);
}

static void run(bool tls, uint64_t bytes)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0), status;
    check(!bind(listening, (struct sockaddr *)&address, size) && !listen(listening, 1) &&
              !getsockname(listening, (struct sockaddr *)&address, &size),
          "listening on loopback");
    pid_t child = fork();
    check(child >= 0, "starting the other process");
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(listening, tls, bytes);
        _exit(0);
    }
    check(!connect(fd, (struct sockaddr *)&address, size), "connecting over loopback");
    measure(fd, tls, bytes);
    check(waitpid(child, &status, 0) == child && status == 0, "ending the other process");
    close(fd);
    close(listening);
}

int main(int argc, char **argv)
{
    uint64_t bytes = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
    if (!bytes) {
        fprintf(stderr, "usage: loopback BYTES\n");
        return 2;
    }
    memset(memory, 0x5a, sizeof memory);
    run(false, bytes);
    run(true, bytes);
    return 0;
}
