/* See gate_rig.h. In place of the files of the daemon around the gate, and of its port, are those that this one has. */
#define OPENSSL_SUPPRESS_DEPRECATED /* RAND_set_rand_method */
#include "gate_rig.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/tcp.h"
#include "net/tenant.h"

/* ---- random numbers ----------------------------------------------------------------------------------- */

static enum gate_side side;
static uint64_t state[GATE_SIDES];

static int random_bytes(unsigned char *bytes, int size)
{
    for (int i = 0; i < size; i++) {
        state[side] = state[side] * UINT64_C(6364136223846793005) + 1442695040888963407;
        bytes[i] = (unsigned char)(state[side] >> 56);
    }
    return 1;
}

static int random_status(void)
{
    return 1;
}

void gate_random(enum gate_side whose)
{
    side = whose;
}

/* ---- what is around the gate -------------------------------------------------------------------------- */

static struct gate *gate_of(struct pen_daemon *daemon)
{
    return (struct gate *)(void *)((char *)daemon - offsetof(struct gate, daemon));
}

void pen_report(enum pen_report_level level, const char *format, ...)
{
    (void)level, (void)format;
}

int pen_tenant_directory(char *out, struct pen_error *error)
{
    (void)error;
    strcpy(out, "/dev/null/tenants"); /* nothing can be made there */
    return 0;
}

int pen_tenant_make_directory(const char *directory, struct pen_error *error)
{
    (void)directory, (void)error;
    return -PEN_EIO;
}

bool pen_tenant_name_ok(const char *name)
{
    return name[0] != 0;
}

int pen_tenant_load(const char *directory, const char *name, struct pen_tls_key *out_key, struct pen_error *error)
{
    (void)directory;
    memset(out_key->secret, GATE_KEY, sizeof out_key->secret);
    return strcmp(name, "alice") == 0 ? 0 : pen_fail(error, -PEN_ENOENT, "nobody");
}

int pen_tenant_check(const char *directory, const char *name, struct pen_error *error)
{
    (void)directory;
    return strcmp(name, "alice") == 0 ? 0 : pen_fail(error, -PEN_EPERM, "nobody");
}

static int place(struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    return (int)offsetof(struct sockaddr_un, sun_path) + 1 +
           snprintf(out->sun_path + 1, sizeof out->sun_path - 1, "penstock-gate-%d", (int)getpid());
}

/* gate_listen, to the linker: the rest of net/tcp.h is as it is. */
int pen_tcp_listen(const char *address, bool anywhere, int *out_fd, struct pen_error *error)
{
    struct sockaddr_un at;
    socklen_t size = (socklen_t)place(&at);
    (void)address, (void)anywhere, (void)error;
    *out_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return bind(*out_fd, (struct sockaddr *)&at, size) || listen(*out_fd, 64);
}

/* What comes after the handshake is a client's: read, and left unread. */
void pen_clients_admit(struct pen_daemon *daemon, struct pen_stream *stream, const char *tenant)
{
    char bytes[512];
    if (strcmp(tenant, "alice") != 0)
        abort();
    while (stream->ops->receive(stream, bytes, sizeof bytes) > 0)
        ;
    pen_stream_destroy(stream);
    gate_of(daemon)->admitted++;
}

void pen_revoke_watch(struct pen_daemon *daemon)
{
    (void)daemon; /* nobody is revoked */
}

void pen_revoke_look_again(struct pen_daemon *daemon)
{
    (void)daemon;
}

void pen_clients_pause(struct pen_daemon *daemon)
{
    (void)daemon; /* this process is never short of descriptors */
}

void pen_clients_open_session(struct pen_daemon *daemon, const struct pen_session_request *request)
{
    if (memcmp(request->secret, gate_of(daemon)->ticket.secret, sizeof request->secret) != 0)
        abort();
    close(request->client_fd);
    gate_of(daemon)->opened++;
}

/* None of its tickets is for a session that goes on. */
int pen_workers_relink(struct pen_daemon *daemon, const struct pen_session_request *request)
{
    (void)daemon, (void)request;
    abort();
}

/* ---- certificates ------------------------------------------------------------------------------------- */

static void require(bool what)
{
    if (!what)
        abort();
}

static struct {
    EVP_PKEY *key;
    X509 *certificate;
} authority;

static X509 *make_certificate(const char *name, EVP_PKEY *key, const X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *made = X509_new();
    X509_EXTENSION *host = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:gate");
    X509_NAME *subject = X509_get_subject_name(made);
    require(X509_set_version(made, issuer ? X509_VERSION_3 : X509_VERSION_1) &&
            ASN1_TIME_set_string_X509(X509_getm_notBefore(made), "20200101000000Z") &&
            ASN1_TIME_set_string_X509(X509_getm_notAfter(made), "20991231235959Z") &&
            X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0) &&
            X509_set_issuer_name(made, issuer ? X509_get_subject_name(issuer) : subject) && X509_set_pubkey(made, key));
    require(!issuer || X509_add_ext(made, host, -1));
    require(X509_sign(made, issuer_key, EVP_sha256()));
    X509_EXTENSION_free(host);
    return made;
}

/* One of the two, as a file in memory. */
static void keep_file(const X509 *certificate, const EVP_PKEY *key, char path[PEN_CERTIFICATE_PATH])
{
    int fd = memfd_create("penstock-gate", MFD_CLOEXEC);
    BIO *file = BIO_new_fd(fd, BIO_NOCLOSE);
    require(file && !fchmod(fd, 0600));
    require(certificate ? PEM_write_bio_X509(file, certificate)
                        : PEM_write_bio_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
    BIO_free(file);
    snprintf(path, PEN_CERTIFICATE_PATH, "/proc/self/fd/%d", fd);
}

void gate_certify(const char *name, struct pen_certificate_files *out_files)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    require(key);
    X509 *certificate = make_certificate(name, key, authority.certificate, authority.key);
    keep_file(certificate, NULL, out_files->certificate);
    keep_file(NULL, key, out_files->private_key);
    keep_file(authority.certificate, NULL, out_files->authority);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/* ---- */

void gate_start(struct gate *gate)
{
    static RAND_METHOD method = {.bytes = random_bytes, .pseudorand = random_bytes, .status = random_status};
    struct pen_certificate_files files;
    struct pen_error error;
    require(RAND_set_rand_method(&method));
    authority.key = EVP_EC_gen("P-256");
    require(authority.key);
    authority.certificate = make_certificate("authority", authority.key, NULL, authority.key);
    gate_certify("gate", &files);
    *gate = (struct gate){.daemon = {.base = event_base_new(), .gate_fd = -1}};
    gate->daemon.config = (struct pen_config){.listen_tcp = (char *)(uintptr_t) "",
                                              .handshake_ms = 3600000,
                                              .max_handshakes = 8,
                                              .handshakes_per_s = 1000000,
                                              .handshake_burst = 1000000};
    require(!pen_certificates_load(&files, &gate->daemon.certificates, NULL, &error));
    require(!pen_gate_init(&gate->daemon, &error));
}

void gate_begin(struct gate *gate)
{
    const struct pen_session_request request = {.client_fd = -1, .record_fd = -1};
    memset(state, 0, sizeof state);
    state[GATE_STRANGER] = 1;
    gate_random(GATE_POOL);
    gate->admitted = gate->opened = 0;
    if (pen_list_empty(&gate->daemon.tickets))
        require(!pen_gate_ticket(&gate->daemon, &request, &gate->ticket));
}

int gate_dial(void)
{
    struct sockaddr_un at;
    socklen_t size = (socklen_t)place(&at);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    require(!connect(fd, (struct sockaddr *)&at, size));
    return fd;
}

void gate_turn(struct gate *gate)
{
    gate_random(GATE_POOL);
    event_base_loop(gate->daemon.base, EVLOOP_NONBLOCK);
}
