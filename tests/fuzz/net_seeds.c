/* net_seeds FOLDER - what a tenant, and those that come near one, send over a network: FOLDER/gate/ and FOLDER/link/,
 * for the fuzzers of these names. */
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gate_rig.h"
#include "net/link.h"
#include "net/tls.h"

static const char *folder;

static void require(bool what)
{
    if (!what)
        abort();
}

static void keep(const char *name, const void *bytes, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wbe");
    require(file && fwrite(bytes, 1, size, file) == size && !fclose(file));
}

/* ---- at the gate -------------------------------------------------------------------------------------- */

/* All that a stranger sends, after the byte that says: at once. */
struct capture {
    unsigned char bytes[16384];
    size_t size;
};

static struct gate gate;

/* Carries over what there is, both ways. */
static void carry(int stranger, int to_gate, struct capture *capture)
{
    char bytes[8192];
    ssize_t got = recv(stranger, capture->bytes + capture->size, sizeof capture->bytes - capture->size, MSG_DONTWAIT);
    if (got > 0) {
        require(send(to_gate, capture->bytes + capture->size, (size_t)got, MSG_NOSIGNAL) == got);
        capture->size += (size_t)got;
    }
    gate_turn(&gate);
    got = recv(to_gate, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got > 0)
        require(send(stranger, bytes, (size_t)got, MSG_NOSIGNAL) == got);
}

/* A stranger's end of a connection to the gate; *out_fd is where it is heard. */
static int stranger_end(int *out_fd)
{
    int fds[2];
    require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds));
    gate_begin(&gate);
    gate_random(GATE_STRANGER);
    *out_fd = fds[1];
    return fds[0];
}

static void capture_stranger(const char *name, struct pen_stream *stranger, int fd, bool welcome)
{
    struct capture capture = {.size = 1};
    const struct pen_msg_device_list list = {0};
    _Alignas(8) unsigned char frame[64];
    short events;
    int rc = 0, to_gate = gate_dial();
    for (int i = 0; i < 8 && !rc; i++) {
        gate_random(GATE_STRANGER);
        rc = pen_tls_handshake(stranger, &events);
        if (rc == 1) {
            pen_msg_device_list_encode(&list, 0, frame);
            require(!pen_stream_send_frame(stranger, frame, pen_msg_device_list_size(&list), UINT64_MAX));
        }
        carry(fd, to_gate, &capture);
    }
    require(gate.admitted == welcome);
    keep(name, capture.bytes, capture.size);
    pen_stream_destroy(stranger);
    close(fd);
    close(to_gate);
    gate_turn(&gate);
}

/* Who knows alice's name, or her key, or another. */
static void with_key(const char *name, const char *identity, unsigned char byte, bool welcome)
{
    struct pen_tls_key key = {0};
    struct pen_stream *stream;
    int fd, end = stranger_end(&fd);
    strcpy(key.identity, identity);
    memset(key.secret, byte, sizeof key.secret);
    require(!pen_stream_tls_connect(end, &key, &stream));
    capture_stranger(name, stream, fd, welcome);
}

/* Who has a certificate, of alice's name or another. */
static void with_certificate(const char *name, const char *identity, bool welcome)
{
    struct pen_certificate_files files;
    struct pen_stream *stream;
    struct pen_error error;
    gate_certify(identity, &files);
    int fd, end = stranger_end(&fd);
    require(!pen_stream_tls_connect_certified(end, &files, "gate:7470", &stream, &error));
    capture_stranger(name, stream, fd, welcome);
}

/* The first that a TLS client says who has no key. */
static void without_key(const char *name, int version)
{
    unsigned char bytes[4096] = {0};
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(context, version);
    SSL *ssl = SSL_new(context);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    require(SSL_connect(ssl) < 0);
    int size = BIO_read(out, bytes + 1, sizeof bytes - 1);
    require(size > 0);
    keep(name, bytes, 1 + (size_t)size);
    SSL_free(ssl);
    SSL_CTX_free(context);
}

/* See fuzz_gate.c: zero is the right token. */
static void with_ticket(const char *name, uint64_t wrong)
{
    const struct pen_msg_link_hello hello = {{0, wrong}};
    _Alignas(8) unsigned char frame[40] = {0};
    pen_msg_link_hello_encode(&hello, 0, frame + 8);
    keep(name, frame + 7, 1 + pen_msg_link_hello_size(&hello));
}

/* ---- over a link -------------------------------------------------------------------------------------- */

struct run {
    _Alignas(8) unsigned char bytes[4096];
    size_t size;
};

#define ADD(run_, name_, ...)                                                                                          \
    do {                                                                                                               \
        const struct pen_msg_##name_ message_ = {__VA_ARGS__};                                                         \
        size_t size_ = pen_msg_##name_##_size(&message_);                                                              \
        pen_msg_##name_##_encode(&message_, 0, (run_)->bytes + (run_)->size);                                          \
        (run_)->size += size_;                                                                                         \
    } while (0)

/* Bytes of the arena beside commands, and what the other end has received. */
static void commands(const char *name)
{
    struct run run = {0};
    ADD(&run, queue_create, .queue = 70000, .device = 1, .slot = 1);
    ADD(&run, region_create, .region = 70001, .size = 200, .arena_offset = 16);
    ADD(&run, link_part, .offset = 16, .bytes = 200);
    memset(run.bytes + run.size, 'b', 200);
    run.size += 200;
    ADD(&run, link_ack, .received = 100);
    ADD(&run, write, .queue = 70000, .event = 70002, .slot = 2, .region = 70001, .extent = {200, 1, 1},
        .data = {16, 200});
    ADD(&run, link_ack, .received = 264);
    ADD(&run, link_part, .offset = 255, .bytes = 1, .number = 3);
    run.bytes[run.size] = 'c';
    run.size += 1;
    keep(name, run.bytes, run.size);
}

/* Whatever it says, with two bytes after it. */
static void part(const char *name, uint64_t offset, uint64_t bytes)
{
    struct run run = {0};
    ADD(&run, link_part, .offset = offset, .bytes = bytes);
    keep(name, run.bytes, run.size + 2);
}

/* A hundred zeros at `offset`, in a block that says `bytes`; the first `size` bytes of it are there. */
static void packed(const char *name, uint64_t offset, uint64_t bytes, size_t size)
{
    static const unsigned char block[] = {0x1f, 0, 1, 0, 75, 0x50, 0, 0, 0, 0, 0};
    struct run run = {0};
    ADD(&run, link_packed, .offset = offset, .bytes = bytes, .number = 4, .packed = size);
    memcpy(run.bytes + run.size, block, size);
    run.size += size;
    ADD(&run, link_ack, .received = 64);
    keep(name, run.bytes, run.size);
}

static void acknowledgement(const char *name, uint64_t received)
{
    struct run run = {0};
    ADD(&run, link_ack, .received = received);
    keep(name, run.bytes, run.size);
}

int main(int argc, char **argv)
{
    static const char *const inside[] = {"gate", "link"};
    char path[4096];
    require(argc == 2);
    folder = argv[1];
    (void)mkdir(folder, 0777);
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, inside[i]);
        (void)mkdir(path, 0777);
    }
    gate_start(&gate);
    with_key("gate/alice", "alice", GATE_KEY, true);
    with_key("gate/wrong-key", "alice", GATE_KEY + 1, false);
    with_key("gate/nobody", "nobody", GATE_KEY, false);
    with_certificate("gate/alice-certified", "alice", true);
    with_certificate("gate/nobody-certified", "nobody", false);
    without_key("gate/tls-1.3", TLS1_3_VERSION);
    without_key("gate/tls-1.2", TLS1_2_VERSION);
    with_ticket("gate/ticket", 0);
    with_ticket("gate/wrong-ticket", 1);
    commands("link/commands");
    part("link/last", 255, 1);
    part("link/none", 256, 0);
    part("link/over", 256, 1);
    part("link/wrap", UINT64_MAX, 2);
    packed("link/packed", 100, 100, 11);
    packed("link/packed-long", 0, 101, 11);
    packed("link/packed-short", 0, 99, 11);
    packed("link/packed-cut", 0, 100, 5);
    packed("link/packed-over", 4000, 100, 11);
    acknowledgement("link/all", 264);
    acknowledgement("link/more", 265);
    return 0;
}
