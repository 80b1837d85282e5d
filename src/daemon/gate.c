/* daemon/gate.c - the door for programs on other hosts. Whoever knocks either shows a tenant's key or certificate
 * (TLS), and is a client like any other then; or a ticket, which a client has been given, and its connection becomes a
 * session's. Nothing else is read from a stranger. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "daemon/daemon.h"
#include "net/tcp.h"
#include "net/tenant.h"
#include "wire/futex.h"

/* Connections taken from the listening socket in one turn of the loop. */
#define ACCEPT_BATCH 64
/* Of what strangers can have said about keys' files so many go to the log at once, then one in so long. */
#define COMPLAINTS   16
#define COMPLAINT_MS 60000
/* First byte of a TLS connection: a handshake record. A frame's is no such number, since sizes are multiples of 8. */
#define TLS_HANDSHAKE 0x16
#define HELLO_BYTES   (sizeof(struct pen_frame_header) + 16)

/* A stranger. */
struct knock {
    struct pen_list link;
    struct pen_daemon *daemon;
    int fd;
    struct pen_rate_address from;
    struct pen_stream *stream; /* NULL: it has not said yet what it is */
    struct pen_tls_key key;    /* the tenant's that its handshake is held against; identity "": none */
    struct event *event, *timer;
    _Alignas(8) unsigned char hello[HELLO_BYTES];
    size_t got;
};

/* What a client was promised. */
struct ticket {
    struct pen_list link;
    struct event *timer;
    uint64_t token[2];
    struct pen_session_request request;
};

/* ---- strangers --------------------------------------------------------------------------------------- */

/* The connection stays open when it has become somebody else's: he was no stranger, and is not counted. */
static void forget(struct knock *knock, bool keep)
{
    if (keep)
        pen_rate_give(&knock->daemon->rates, &knock->from, knock->daemon->config.handshakes_per_s);
    if (knock->event)
        event_free(knock->event);
    if (knock->timer)
        event_free(knock->timer);
    if (!keep && knock->stream)
        pen_stream_destroy(knock->stream);
    else if (!keep)
        close(knock->fd);
    pen_list_remove(&knock->link);
    knock->daemon->knock_count--;
    explicit_bzero(&knock->key, sizeof knock->key);
    free(knock);
}

/* A key's file cannot be used, which any stranger can have said who knows the tenant's name: not more than so often. */
static void complain(struct pen_daemon *daemon, const char *what)
{
    if (!pen_bucket_take(&daemon->complaints, UINT64_C(1000000) * COMPLAINT_MS, COMPLAINTS, pen_now_ns())) {
        daemon->complaints_kept++;
        return;
    }
    if (daemon->complaints_kept)
        pen_report(PEN_REPORT_ERROR, "%s (%" PRIu64 " more about keys before it are not written here)", what,
                   daemon->complaints_kept);
    else
        pen_report(PEN_REPORT_ERROR, "%s", what);
    daemon->complaints_kept = 0;
}

/* -PEN_EIO: whether the tenant has one cannot be told just now; any other error: there is none that is good. */
static int load_key(struct pen_daemon *daemon, const char *tenant, unsigned char secret[PEN_TLS_KEY_BYTES])
{
    struct pen_tls_key key;
    struct pen_error error;
    int rc = pen_tenant_name_ok(tenant) ? pen_tenant_load(daemon->tenants_dir, tenant, &key, &error) : -PEN_ENOENT;
    if (rc && rc != -PEN_ENOENT)
        complain(daemon, error.message);
    if (rc)
        return rc;
    memcpy(secret, key.secret, sizeof key.secret);
    explicit_bzero(&key, sizeof key);
    return 0;
}

/* For its handshake. */
static bool find_key(void *context, const char *identity, unsigned char secret[PEN_TLS_KEY_BYTES])
{
    struct knock *knock = context;
    knock->key.identity[0] = 0;
    if (load_key(knock->daemon, identity, knock->key.secret))
        return false;
    snprintf(knock->key.identity, sizeof knock->key.identity, "%s", identity);
    memcpy(secret, knock->key.secret, sizeof knock->key.secret);
    return true;
}

/* Whether what the tenant has shown is good still: a handshake may take a while, and he may be revoked meanwhile. */
static bool is_good_still(const struct knock *knock, const char *tenant)
{
    struct pen_daemon *daemon = knock->daemon;
    unsigned char secret[PEN_TLS_KEY_BYTES];
    if (strcmp(knock->key.identity, tenant) != 0)
        return !pen_tenant_check(daemon->tenants_dir, tenant, NULL);
    bool good = !load_key(daemon, tenant, secret) && !CRYPTO_memcmp(secret, knock->key.secret, sizeof secret);
    explicit_bzero(secret, sizeof secret);
    return good;
}

/* Whether the name in a certificate that the authority has signed is a tenant's. */
static int admit(void *context, const char *name)
{
    const struct knock *knock = context;
    struct pen_error error;
    int rc = pen_tenant_check(knock->daemon->tenants_dir, name, &error);
    if (rc)
        pen_report(rc == -PEN_EIO ? PEN_REPORT_ERROR : PEN_REPORT_DEBUG, "a certificate was refused: %s",
                   error.message);
    return rc;
}

static int protect(struct knock *knock)
{
    const struct pen_certificates *mine = knock->daemon->certificates;
    return mine ? pen_stream_tls_accept_either(knock->fd, find_key, admit, knock, mine, &knock->stream)
                : pen_stream_tls_accept(knock->fd, find_key, knock, &knock->stream);
}

static void await(struct knock *knock, short events);

/* It has shown who it is. From here on it is a revocation's, which is watched for before it is looked for. */
static void let_in(struct knock *knock)
{
    struct pen_daemon *daemon = knock->daemon;
    struct pen_stream *stream = knock->stream;
    const char *tenant = pen_tls_identity(stream);
    pen_revoke_watch(daemon);
    bool good = is_good_still(knock, tenant);
    if (!good)
        pen_report(PEN_REPORT_DEBUG, "a connection was refused: tenant %s was revoked meanwhile", tenant);
    forget(knock, good);
    if (good)
        pen_clients_admit(daemon, stream, tenant);
}

static void shake_hands(struct knock *knock)
{
    short events = 0;
    int rc = pen_tls_handshake(knock->stream, &events);
    if (rc == 0) {
        await(knock, events == POLLOUT ? EV_WRITE : EV_READ);
    } else if (rc < 0) {
        pen_report(PEN_REPORT_DEBUG, "a connection was refused: %s (%s)",
                   rc == -PEN_EPERM ? "it has not shown the key or certificate of a tenant" : "it broke",
                   pen_stream_why(knock->stream));
        forget(knock, false);
    } else {
        let_in(knock);
    }
}

static struct ticket *ticket_of(struct pen_list *link)
{
    return PEN_CONTAINER(link, struct ticket, link);
}

static void tear_up(struct ticket *ticket)
{
    if (ticket->timer)
        event_free(ticket->timer);
    pen_list_remove(&ticket->link);
    explicit_bzero(ticket, sizeof *ticket);
    free(ticket);
}

/* The stranger's hello is whole: good for one session, once. */
static void take_hello(struct knock *knock)
{
    struct pen_daemon *daemon = knock->daemon;
    struct pen_scratch scratch = {0};
    struct pen_msg_link_hello hello;
    int rc = pen_msg_link_hello_decode(knock->hello, sizeof knock->hello, &scratch, &hello);
    pen_scratch_finish(&scratch);
    PEN_LIST_EACH(link, next, &daemon->tickets)
    {
        struct ticket *ticket = ticket_of(link);
        if (rc || CRYPTO_memcmp(ticket->token, hello.token, sizeof hello.token))
            continue;
        struct pen_session_request request = ticket->request;
        request.client_fd = knock->fd;
        tear_up(ticket);
        forget(knock, true);
        if (request.resume) {
            (void)pen_workers_relink(daemon, &request);
            close(request.client_fd);
        } else {
            pen_clients_open_session(daemon, &request);
        }
        explicit_bzero(&request, sizeof request);
        return;
    }
    pen_report(PEN_REPORT_DEBUG, "a connection was refused: it is neither TLS nor a session's");
    forget(knock, false);
}

static void speaks(evutil_socket_t fd, short what, void *context)
{
    struct knock *knock = context;
    unsigned char first;
    (void)what;
    if (knock->stream) {
        shake_hands(knock);
        return;
    }
    if (!knock->got && recv((int)fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first == TLS_HANDSHAKE) {
        if (protect(knock))
            forget(knock, false);
        else
            shake_hands(knock);
        return;
    }
    ssize_t got = recv((int)fd, knock->hello + knock->got, sizeof knock->hello - knock->got, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    knock->got += got > 0 ? (size_t)got : 0;
    if (got <= 0 || knock->hello[0] != HELLO_BYTES)
        forget(knock, false);
    else if (knock->got == sizeof knock->hello)
        take_hello(knock);
}

static void await(struct knock *knock, short events)
{
    event_del(knock->event);
    event_assign(knock->event, knock->daemon->base, knock->fd, (short)(events | EV_PERSIST), speaks, knock);
    event_add(knock->event, NULL);
}

static void overdue(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    forget(context, false);
}

static struct timeval handshake_time(const struct pen_daemon *daemon)
{
    uint64_t ms = daemon->config.handshake_ms;
    return (struct timeval){(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
}

static void add_knock(struct pen_daemon *daemon, int fd, const struct pen_rate_address *from)
{
    struct knock *knock = calloc(1, sizeof *knock);
    struct timeval limit = handshake_time(daemon);
    if (!knock) {
        close(fd);
        return;
    }
    knock->daemon = daemon;
    knock->fd = fd;
    knock->from = *from;
    pen_tcp_notice_silence(fd);
    pen_list_append(&daemon->knocks, &knock->link);
    daemon->knock_count++;
    knock->event = event_new(daemon->base, fd, EV_READ | EV_PERSIST, speaks, knock);
    knock->timer = evtimer_new(daemon->base, overdue, knock);
    if (!knock->event || !knock->timer || event_add(knock->event, NULL) || event_add(knock->timer, &limit))
        forget(knock, false);
}

/* More often than limits.handshakes_per_s: it is not listened to. */
static bool comes_too_often(struct pen_daemon *daemon, int fd, struct pen_rate_address *out_from)
{
    const struct pen_config *config = &daemon->config;
    struct sockaddr_storage from = {0};
    socklen_t size = sizeof from;
    char text[64];
    if (getpeername(fd, (struct sockaddr *)&from, &size))
        return true; /* it has gone again */
    *out_from = pen_rate_address_of(&from);
    enum pen_rate_answer answer =
        pen_rate_take(&daemon->rates, out_from, config->handshakes_per_s, config->handshake_burst, pen_now_ns());
    if (answer == PEN_RATE_REFUSED_FIRST) {
        pen_rate_address_text(out_from, text);
        pen_report(PEN_REPORT_WARN,
                   "connections from %s are closed: %" PRIu64 " that show no key or ticket at once, then %" PRIu64
                   " a second are allowed (limits.handshake_burst, limits.handshakes_per_s)",
                   text, config->handshake_burst, config->handshakes_per_s);
    }
    return answer != PEN_RATE_OK;
}

static void acceptable(evutil_socket_t fd, short what, void *context)
{
    struct pen_daemon *daemon = context;
    (void)what;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct pen_rate_address from;
        int stranger, rc = pen_unix_accept((int)fd, &stranger);
        if (rc && rc != -PEN_ETIMEOUT)
            pen_clients_pause(daemon);
        if (rc)
            return;
        if (comes_too_often(daemon, stranger, &from)) {
            close(stranger);
            continue;
        }
        /* Whoever has waited longest gives way: who fills the door with silence keeps nobody out. */
        if (daemon->knock_count >= daemon->config.max_handshakes)
            forget(PEN_CONTAINER(daemon->knocks.next, struct knock, link), false);
        add_knock(daemon, stranger, &from);
    }
}

/* ---- tickets ----------------------------------------------------------------------------------------- */

static void expired(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    tear_up(context);
}

int pen_gate_ticket(struct pen_daemon *daemon, const struct pen_session_request *request,
                    struct pen_msg_session_ticket *out_ticket)
{
    struct ticket *ticket = calloc(1, sizeof *ticket);
    struct timeval limit = handshake_time(daemon);
    if (!ticket)
        return -PEN_ENOMEM;
    pen_list_append(&daemon->tickets, &ticket->link);
    ticket->request = *request;
    ticket->request.protected = true;
    ticket->request.record_path = ticket->request.record_name = ""; /* the client's may be gone before the ticket */
    ticket->timer = evtimer_new(daemon->base, expired, ticket);
    if (!ticket->timer || event_add(ticket->timer, &limit) ||
        getrandom(ticket->token, sizeof ticket->token, 0) != (ssize_t)sizeof ticket->token ||
        getrandom(ticket->request.secret, PEN_TLS_KEY_BYTES, 0) != PEN_TLS_KEY_BYTES) {
        tear_up(ticket);
        return -PEN_EIO;
    }
    memcpy(out_ticket->token, ticket->token, sizeof ticket->token);
    memcpy(out_ticket->secret, ticket->request.secret, PEN_TLS_KEY_BYTES);
    return 0;
}

uint32_t pen_gate_promised(const struct pen_daemon *daemon)
{
    uint32_t count = 0;
    PEN_LIST_EACH(link, next, &daemon->tickets)
    count += !ticket_of(link)->request.resume;
    return count;
}

bool pen_gate_knows(struct pen_daemon *daemon, const char *tenant)
{
    unsigned char secret[PEN_TLS_KEY_BYTES];
    if (!*tenant || daemon->gate_fd < 0)
        return !*tenant;
    int key = load_key(daemon, tenant, secret);
    int certificate = key && daemon->certificates ? pen_tenant_check(daemon->tenants_dir, tenant, NULL) : -PEN_ENOENT;
    explicit_bzero(secret, sizeof secret);
    if (!key || !certificate)
        return true;
    if (key != -PEN_EIO && certificate != -PEN_EIO)
        return false;
    pen_revoke_look_again(daemon);
    return true;
}

void pen_gate_drop_tenant(struct pen_daemon *daemon, const char *tenant)
{
    PEN_LIST_EACH(link, next, &daemon->tickets)
    if (!strcmp(ticket_of(link)->request.tenant, tenant))
        tear_up(ticket_of(link));
}

bool pen_gate_unknown(struct pen_daemon *daemon, char out_tenant[PEN_TLS_IDENTITY_BYTES + 1])
{
    PEN_LIST_EACH(link, next, &daemon->tickets)
    {
        const char *tenant = ticket_of(link)->request.tenant;
        if (pen_gate_knows(daemon, tenant))
            continue;
        strcpy(out_tenant, tenant);
        return true;
    }
    return false;
}

/* ---- open, closed ------------------------------------------------------------------------------------ */

int pen_gate_init(struct pen_daemon *daemon, struct pen_error *error)
{
    pen_list_init(&daemon->knocks);
    pen_list_init(&daemon->tickets);
    if (!daemon->config.listen_tcp)
        return 0;
    int rc = 0;
    if (daemon->config.tenants_dir)
        snprintf(daemon->tenants_dir, sizeof daemon->tenants_dir, "%s", daemon->config.tenants_dir);
    else
        rc = pen_tenant_directory(daemon->tenants_dir, error);
    if (!rc) /* to be watched (revoke.c); else nobody is in it, and that is said then */
        (void)pen_tenant_make_directory(daemon->tenants_dir, NULL);
    if (!rc)
        rc = pen_tcp_listen(daemon->config.listen_tcp, true, &daemon->gate_fd, error);
    if (rc)
        return rc;
    daemon->gate_event = event_new(daemon->base, daemon->gate_fd, EV_READ | EV_PERSIST, acceptable, daemon);
    if (!daemon->gate_event || event_add(daemon->gate_event, NULL))
        return pen_fail(error, -PEN_ENOMEM, "listening at %s: %s", daemon->config.listen_tcp,
                        pen_error_text(-PEN_ENOMEM));
    char address[64];
    pen_tcp_local(daemon->gate_fd, address, sizeof address);
    pen_report(PEN_REPORT_INFO, "listens for tenants at %s; their keys are in %s%s%s", address, daemon->tenants_dir,
               daemon->config.authority ? ", or their certificates are signed by " : "",
               daemon->config.authority ? daemon->config.authority : "");
    return 0;
}

void pen_gate_stop(struct pen_daemon *daemon)
{
    if (daemon->gate_event)
        event_free(daemon->gate_event);
    daemon->gate_event = NULL;
    if (daemon->gate_fd >= 0)
        close(daemon->gate_fd);
    daemon->gate_fd = -1;
    if (!daemon->knocks.next)
        return;
    PEN_LIST_EACH(knock, next, &daemon->knocks)
    forget(PEN_CONTAINER(knock, struct knock, link), false);
    PEN_LIST_EACH(ticket, later, &daemon->tickets)
    tear_up(ticket_of(ticket));
}
