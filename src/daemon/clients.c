/* daemon/clients.c - connections: hello, then requests one at a time, until a session is opened (then a worker has it)
 * or the other side closes. See README.md, "Life of a connection". */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "daemon/daemon.h"

/* Connections taken from the listening socket in one turn of the loop. */
#define ACCEPT_BATCH 64
/* Of those from other hosts that limits.connections has no room for: who has said nothing for longest gives way. */
#define LATE_MOST 64
/* Until connections are taken again, after one could not be for want of descriptors or memory. */
#define ACCEPT_PAUSE_MS 500

enum client_state {
    CLIENT_NEW,          /* its hello is awaited */
    CLIENT_READY,        /* a request is awaited */
    CLIENT_WANTS_POOL,   /* we owe it the devices */
    CLIENT_WANTS_WORKER, /* we owe it a session */
    CLIENT_CLOSING       /* it has been refused: closed once that is written */
};

struct client {
    struct pen_list link;
    struct pen_daemon *daemon;
    enum client_state state;
    int fd;
    struct pen_unix_peer peer;
    bool remote;                             /* over TCP: peer is nobody */
    bool late;                               /* there was no room: it may go on with a session, and nothing else */
    struct pen_stream *stream;               /* NULL: fd as it is; else it has fd */
    char tenant[PEN_TLS_IDENTITY_BYTES + 1]; /* of the stream */
    bool mute;                               /* a session's own connection: a refusal closes it without a word */
    struct event *readable, *writable, *timer;
    struct pen_frame_reader reader;
    struct evbuffer *out;
    struct pen_session_request request; /* in CLIENT_WANTS_WORKER; owns record_fd */
    char record_path[PATH_MAX], record_name[PATH_MAX];
};

static struct client *client_of(struct pen_list *link)
{
    return PEN_CONTAINER(link, struct client, link);
}

/* The session is not opened: its log has no use. */
static void drop_record(struct client *client)
{
    if (client->request.record_fd < 0)
        return;
    close(client->request.record_fd);
    client->request.record_fd = -1;
    unlink(client->record_path);
}

static void destroy(struct client *client)
{
    drop_record(client);
    if (client->readable)
        event_free(client->readable);
    if (client->writable)
        event_free(client->writable);
    if (client->timer)
        event_free(client->timer);
    if (client->out)
        evbuffer_free(client->out);
    pen_frame_reader_finish(&client->reader);
    if (client->stream)
        pen_stream_destroy(client->stream);
    else
        close(client->fd);
    client->daemon->client_count--;
    client->daemon->remote_count -= client->remote;
    pen_list_remove(&client->link);
    free(client);
}

/* ---- sending ----------------------------------------------------------------------------------------- */

/* Requests are taken only while nothing is left to write, so that a peer that does not read cannot make us grow. */
static bool owes_output(const struct client *client)
{
    return evbuffer_get_length(client->out) > 0;
}

/* Bytes written; 0: none now; negative: the connection is broken. */
static ssize_t write_some(struct client *client)
{
    if (!client->stream) {
        int written = evbuffer_write(client->out, client->fd);
        return written < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : written > 0 ? written : -PEN_EGONE;
    }
    struct evbuffer_iovec first;
    if (evbuffer_peek(client->out, -1, NULL, &first, 1) < 1)
        return -PEN_EGONE;
    const struct iovec part = {first.iov_base, first.iov_len};
    ssize_t written = client->stream->ops->send(client->stream, &part, 1);
    if (written > 0)
        evbuffer_drain(client->out, (size_t)written);
    return written;
}

/* False when the connection is broken; the client is then gone. */
static bool flush(struct client *client)
{
    while (owes_output(client)) {
        ssize_t written = write_some(client);
        if (written > 0)
            continue;
        if (written == 0) {
            event_add(client->writable, NULL);
            event_del(client->readable);
            return true;
        }
        destroy(client);
        return false;
    }
    if (client->state == CLIENT_CLOSING) {
        destroy(client);
        return false;
    }
    event_del(client->writable);
    event_add(client->readable, NULL);
    return true;
}

/* Queues one message; flush() sends it. Memory that cannot be had closes the connection there. */
#define QUEUE(client_, name_, message_)                                                                                \
    do {                                                                                                               \
        size_t size_ = pen_msg_##name_##_size(message_);                                                               \
        void *frame_ = size_ ? aligned_alloc(8, size_) : NULL;                                                         \
        if (frame_)                                                                                                    \
            pen_msg_##name_##_encode((message_), 0, frame_);                                                           \
        if (!frame_ || evbuffer_add((client_)->out, frame_, size_))                                                    \
            (client_)->state = CLIENT_CLOSING;                                                                         \
        free(frame_);                                                                                                  \
    } while (0)

static void say_no(struct client *client, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Refuses the request; the connection goes on. */
static void say_no(struct client *client, int status, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct pen_msg_refused message = {.status = status, .message = text};
    if (client->mute)
        client->state = CLIENT_CLOSING;
    else
        QUEUE(client, refused, &message);
    if (client->remote)
        pen_report(PEN_REPORT_INFO, "refused tenant %s: %s", client->tenant, text);
    else
        pen_report(PEN_REPORT_INFO, "refused pid %d: %s", (int)client->peer.pid, text);
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static void arm(struct client *client, uint64_t ms)
{
    struct timeval limit = {(time_t)(ms / 1000), (suseconds_t)(ms % 1000 * 1000)};
    event_add(client->timer, &limit);
}

static void await_request(struct client *client)
{
    client->state = CLIENT_READY;
    arm(client, client->daemon->config.handshake_ms);
}

static int on_hello(struct client *client, const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_hello message;
    int rc = pen_msg_hello_decode(frame, size, scratch, &message);
    if (rc)
        return rc;
    struct pen_msg_hello answer = {.major = PEN_PROTOCOL_MAJOR,
                                   .minor = PEN_PROTOCOL_MINOR,
                                   .pid = (uint32_t)getpid(),
                                   .name = "penstockd " PEN_VERSION};
    QUEUE(client, hello, &answer);
    await_request(client);
    if (message.major != PEN_PROTOCOL_MAJOR) {
        say_no(client, -PEN_EVERSION,
               "\"%.100s\" speaks version %u.%u of the protocol, this penstockd %u.%u; use the same release of both",
               message.name, message.major, message.minor, PEN_PROTOCOL_MAJOR, PEN_PROTOCOL_MINOR);
        client->state = CLIENT_CLOSING;
    }
    return 0;
}

static void send_pool(struct client *client)
{
    struct pen_daemon_pool *pool = &client->daemon->pool;
    await_request(client);
    if (pool->state == PEN_POOL_FAILED)
        say_no(client, -PEN_ENODEV, "%s", pool->failure);
    else if (evbuffer_add_buffer_reference(client->out, pool->listing))
        client->state = CLIENT_CLOSING;
}

static int on_device_list(struct client *client)
{
    struct pen_daemon *daemon = client->daemon;
    /* Who asks for devices is likely to open a session. */
    if (daemon->spare_wanted != daemon->config.warm_workers) {
        daemon->spare_wanted = (uint32_t)daemon->config.warm_workers;
        pen_workers_fill(daemon);
    }
    if (daemon->pool.state == PEN_POOL_PROBING) {
        client->state = CLIENT_WANTS_POOL;
        event_del(client->timer); /* limits.probe_ms bounds it */
    } else {
        send_pool(client);
    }
    return 0;
}

static bool same_user(const struct client *client)
{
    return !client->remote && client->peer.uid == geteuid();
}

/* What is refused to tenants on other hosts. */
static bool is_here(struct client *client, const char *what)
{
    if (client->remote)
        say_no(client, -PEN_EPERM, "only programs on the pool's own host may %s", what);
    return !client->remote;
}

/* Our own user and root; anyone else is refused. */
static bool may_manage(struct client *client, const char *what)
{
    if (!is_here(client, what))
        return false;
    if (same_user(client) || client->peer.uid == 0)
        return true;
    say_no(client, -PEN_EPERM, "only user %d, who runs penstockd, may %s (you are user %d)", (int)geteuid(), what,
           (int)client->peer.uid);
    return false;
}

/* All, or those that are recorded to `record_name`. */
static int send_sessions(struct client *client, const char *record_name)
{
    static struct pen_session_info infos[PEN_LIMIT_SESSIONS];
    struct pen_msg_sessions message = {.sessions = infos};
    await_request(client);
    if (!is_here(client, "list its sessions"))
        return 0;
    message.sessions_count = pen_workers_list(client->daemon, record_name, infos, PEN_LIMIT_SESSIONS);
    QUEUE(client, sessions, &message);
    return 0;
}

static int on_record_list(struct client *client, const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_record_list message;
    int rc = pen_msg_record_list_decode(frame, size, scratch, &message);
    return rc ? rc : send_sessions(client, message.record_path);
}

static int on_session_detach(struct client *client, const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_session_detach message;
    struct pen_error error;
    int rc = pen_msg_session_detach_decode(frame, size, scratch, &message);
    if (rc)
        return rc;
    await_request(client);
    if (!may_manage(client, "detach or attach its sessions"))
        return 0;
    rc = pen_workers_detach(client->daemon, message.session, message.detached, message.parked, &error);
    if (rc)
        say_no(client, rc, "%s", error.message);
    else
        QUEUE(client, done, &(struct pen_msg_done){0});
    return 0;
}

/* 1: the connection is the worker's. */
static int on_session_trace(struct client *client, const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_session_trace message;
    struct pen_error error;
    int rc = pen_msg_session_trace_decode(frame, size, scratch, &message);
    if (rc)
        return rc;
    await_request(client);
    if (!may_manage(client, "trace its sessions"))
        return 0;
    if ((rc = pen_workers_trace(client->daemon, message.session, client->fd, &error))) {
        say_no(client, rc, "%s", error.message);
        return 0;
    }
    destroy(client);
    return 1;
}

static int on_shutdown(struct client *client, bool hands_over)
{
    await_request(client);
    if (!may_manage(client, "stop it"))
        return 0;
    if (hands_over && client->daemon->private_dir) {
        say_no(client, -PEN_EUNSUPPORTED,
               "this penstockd is private to a program, and ends with it: there is no next one to leave sessions to");
        return 0;
    }
    struct pen_msg_done message = {0};
    QUEUE(client, done, &message);
    pen_report(PEN_REPORT_INFO, "stopping: asked to by pid %d", (int)client->peer.pid);
    client->state = CLIENT_CLOSING;
    return 0;
}

/* The record is opened here, in the daemon's name: so only for the daemon's own user. */
static int open_record(struct client *client, const char *path)
{
    if (!same_user(client)) {
        say_no(client, -PEN_EPERM, "only user %d, who runs penstockd, may record a session", (int)geteuid());
        return -PEN_EPERM;
    }
    if (path[0] != '/' || strlen(path) >= sizeof client->record_path) {
        say_no(client, -PEN_EINVAL,
               "the file of a session's log must be an absolute path of at most %d bytes, not "
               "\"%.200s\"",
               PATH_MAX - 1, path);
        return -PEN_EINVAL;
    }
    /* Never an existing file: a program that opens several sessions gets PATH, PATH.1, PATH.2, ... */
    int fd = -1;
    errno = EEXIST;
    snprintf(client->record_path, sizeof client->record_path, "%s", path);
    for (unsigned i = 1; fd < 0 && errno == EEXIST && i <= PEN_LIMIT_RECORDS; i++) {
        fd = open(client->record_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 && errno == EEXIST)
            snprintf(client->record_path, sizeof client->record_path, "%.4000s.%u", path, i);
    }
    if (fd < 0 && errno == EEXIST) {
        say_no(client, -PEN_ELIMIT,
               "there are %u files %.500s, %.500s.1, ... already, as many logs as one name may have: remove them",
               PEN_LIMIT_RECORDS, path, path);
        return -PEN_ELIMIT;
    }
    if (fd < 0) {
        say_no(client, -PEN_EIO, "cannot create the session's log %.500s: %s", path, strerror(errno));
        return -PEN_EIO;
    }
    snprintf(client->record_name, sizeof client->record_name, "%s", path);
    client->request.record_fd = fd;
    return 0;
}

/* To a warm worker if there is one; true when the client is gone (it is the worker's now). */
static bool try_adopt(struct client *client)
{
    if (pen_workers_adopt(client->daemon, &client->request))
        return false;
    if (client->request.record_fd >= 0)
        close(client->request.record_fd);
    client->request.record_fd = -1;
    destroy(client);
    return true;
}

/* True, and it is refused, when the devices are not those that the program knows. */
static bool other_pool(struct client *client, uint64_t pool)
{
    if (!pool || pool == client->daemon->pool.number)
        return false;
    say_no(client, -PEN_EDEVICEGONE,
           "the pool's devices have changed since the program asked for them: it must be started again");
    return true;
}

/* True, and it is refused, when there is no room for another session beside those that are promised. */
static bool too_many_sessions(struct client *client, uint32_t promised)
{
    const struct pen_daemon *daemon = client->daemon;
    if (pen_workers_sessions(daemon) + pen_clients_waiting(daemon) + promised < daemon->config.max_sessions)
        return false;
    say_no(client, -PEN_ELIMIT, "there are %" PRIu64 " sessions, as many as limits.sessions allows",
           daemon->config.max_sessions);
    return true;
}

/* The session gets a connection of its own, with a key of its own: a worker never has a tenant's. This one has done its
 * service: who could ask for more tickets could fill our memory with them. */
static int send_ticket(struct client *client)
{
    struct pen_msg_session_ticket ticket;
    int rc = pen_gate_ticket(client->daemon, &client->request, &ticket);
    if (rc)
        say_no(client, rc, "opening a session: %s", pen_error_text(rc));
    else
        QUEUE(client, session_ticket, &ticket);
    client->state = CLIENT_CLOSING;
    explicit_bzero(&ticket, sizeof ticket);
    return 0;
}

/* 1: the connection is the worker's. */
static int on_session_open(struct client *client, const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_daemon *daemon = client->daemon;
    struct pen_msg_session_open message;
    int rc = pen_msg_session_open_decode(frame, size, scratch, &message);
    if (rc)
        return rc;
    await_request(client);
    if (too_many_sessions(client, pen_gate_promised(daemon)))
        return 0;
    if (other_pool(client, message.pool))
        return 0;
    /* Last: who is refused leaves no file. */
    if ((message.features & PEN_FEATURE_RECORD) && open_record(client, message.record_path))
        return 0;
    client->request.pool = message.pool;
    client->request.client_fd = client->fd;
    client->request.client_pid = client->peer.pid;
    /* A newer front end may ask for more: it does without what we do not know. */
    client->request.features = message.features & (PEN_FEATURE_DIRECT | PEN_FEATURE_RECORD);
    if (message.features & PEN_FEATURE_RECORD)
        client->request.features &= ~(uint32_t)PEN_FEATURE_DIRECT;
    if (client->remote)
        client->request.features =
            PEN_FEATURE_REMOTE | (message.features & (PEN_FEATURE_DIRECT | (daemon->config.lz4 ? PEN_FEATURE_LZ4 : 0)));
    snprintf(client->request.tenant, sizeof client->request.tenant, "%s", client->tenant);
    client->request.record_path = client->record_path;
    client->request.record_name = client->record_name;
    pen_utf8_copy(client->request.program, sizeof client->request.program, message.program);
    if (client->stream)
        return send_ticket(client);
    if (try_adopt(client))
        return 1;
    client->state = CLIENT_WANTS_WORKER;
    arm(client, daemon->config.worker_wait_ms);
    pen_workers_fill(daemon);
    return 0;
}

/* 1: the connection is the worker's. */
static int on_session_resume(struct client *client, const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_session_resume message;
    int rc = pen_msg_session_resume_decode(frame, size, scratch, &message);
    if (rc)
        return rc;
    await_request(client);
    rc = client->remote ? pen_workers_serve(client->daemon, &message, client->tenant) : -PEN_EDEVICEGONE;
    client->mute = rc == -PEN_EDETACHED && !client->stream; /* that is the session's own connection already */
    if (rc == -PEN_EDETACHED)
        say_no(client, rc, "session %" PRIu64 " is detached, until the pool attaches it", message.session);
    else if (rc)
        say_no(client, rc, "there is no session %" PRIu64 " of yours on another host (any more)", message.session);
    if (rc)
        return 0;
    client->request.resume = message.session;
    client->request.client_fd = client->fd;
    snprintf(client->request.tenant, sizeof client->request.tenant, "%s", client->tenant);
    if (client->stream)
        return send_ticket(client);
    (void)pen_workers_relink(client->daemon, &client->request);
    destroy(client);
    return 1;
}

static void find_no_room(struct client *client)
{
    say_no(client, -PEN_ELIMIT, "there are %" PRIu64 " connections, as many as limits.connections allows",
           client->daemon->config.max_connections);
    client->state = CLIENT_CLOSING;
}

/* A request of a greeted client. */
static int request(struct client *client, uint16_t opcode, const void *frame, size_t size, struct pen_scratch *scratch)
{
    int rc;
    if (client->late && opcode != PEN_OP_SESSION_RESUME) {
        find_no_room(client);
        return 0;
    }
    switch (opcode) {
    case PEN_OP_SESSION_OPEN:
        return on_session_open(client, frame, size, scratch);
    case PEN_OP_SESSION_RESUME:
        return on_session_resume(client, frame, size, scratch);
    case PEN_OP_DEVICE_LIST:
        rc = pen_message_check(frame, size, scratch);
        return rc ? rc : on_device_list(client);
    case PEN_OP_SESSION_LIST:
        rc = pen_message_check(frame, size, scratch);
        return rc ? rc : send_sessions(client, NULL);
    case PEN_OP_RECORD_LIST:
        return on_record_list(client, frame, size, scratch);
    case PEN_OP_SESSION_DETACH:
        return on_session_detach(client, frame, size, scratch);
    case PEN_OP_SESSION_TRACE:
        return on_session_trace(client, frame, size, scratch);
    case PEN_OP_SHUTDOWN:
    case PEN_OP_HAND_OVER:
        rc = pen_message_check(frame, size, scratch);
        return rc ? rc : on_shutdown(client, opcode == PEN_OP_HAND_OVER);
    default:
        return -PEN_EPROTO;
    }
}

/* 0; 1 when the client is no more; negative when it must be refused. */
static int handle(struct client *client, const void *frame, size_t size)
{
    struct pen_scratch scratch = {0};
    uint16_t opcode = ((const struct pen_frame_header *)frame)->opcode;
    int rc = -PEN_EPROTO; /* in the other states it must wait for its answer */
    if (client->state == CLIENT_NEW && opcode == PEN_OP_HELLO)
        rc = on_hello(client, frame, size, &scratch);
    else if (client->state == CLIENT_READY)
        rc = request(client, opcode, frame, size, &scratch);
    pen_scratch_finish(&scratch);
    return rc;
}

static void refuse_and_close(struct client *client, int rc)
{
    say_no(client, rc, "malformed or unexpected message (%s); the connection is closed", pen_error_text(rc));
    client->state = CLIENT_CLOSING;
    flush(client);
}

/* All frames that are there, while their answers can be written. */
static void process(struct client *client)
{
    struct pen_daemon *daemon = client->daemon;
    const void *frame;
    size_t size;
    int rc;
    while (!owes_output(client) && (rc = pen_frame_reader_next(&client->reader, &frame, &size)) != 0) {
        uint16_t opcode =
            rc == 1 && client->state == CLIENT_READY ? ((const struct pen_frame_header *)frame)->opcode : 0;
        if (rc == 1)
            rc = handle(client, frame, size);
        if (rc < 0)
            refuse_and_close(client, rc);
        if (rc)
            return;
        bool stops = (opcode == PEN_OP_SHUTDOWN || opcode == PEN_OP_HAND_OVER) && client->state == CLIENT_CLOSING;
        bool alive = flush(client);
        if (stops)
            (opcode == PEN_OP_SHUTDOWN ? pen_daemon_stop : pen_daemon_hand_over)(daemon);
        if (stops || !alive)
            return;
    }
}

static ssize_t fill(struct client *client, int fd)
{
    void *at;
    size_t space;
    if (!client->stream)
        return pen_frame_reader_fill(&client->reader, fd);
    ssize_t rc = pen_frame_reader_space(&client->reader, &at, &space);
    if (!rc && (rc = client->stream->ops->receive(client->stream, at, space)) > 0)
        pen_frame_reader_filled(&client->reader, (size_t)rc);
    return rc;
}

static void readable(evutil_socket_t fd, short what, void *context)
{
    struct client *client = context;
    (void)what;
    ssize_t got = fill(client, (int)fd);
    if (got == -PEN_EGONE || got == -PEN_EIO)
        destroy(client);
    else if (got < 0)
        refuse_and_close(client, (int)got);
    else if (got > 0)
        process(client);
}

static void writable(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    if (flush(context))
        process(context);
}

static void overdue(evutil_socket_t fd, short what, void *context)
{
    struct client *client = context;
    struct pen_daemon *daemon = client->daemon;
    (void)fd, (void)what;
    if (client->state == CLIENT_WANTS_WORKER) {
        const char *why = daemon->start_failures ? "workers do not start, see penstockd's log" : "the host is busy";
        say_no(client, -PEN_ETIMEOUT, "no worker was ready within %" PRIu64 " ms (limits.worker_wait_ms): %s",
               daemon->config.worker_wait_ms, why);
    } else {
        pen_report(PEN_REPORT_DEBUG, "pid %d said nothing for %" PRIu64 " ms (limits.handshake_ms)",
                   (int)client->peer.pid, daemon->config.handshake_ms);
    }
    client->state = CLIENT_CLOSING;
    if (flush(client)) /* what it does not read within another such time is dropped */
        arm(client, daemon->config.handshake_ms);
}

static void overdue_or_stuck(evutil_socket_t fd, short what, void *context)
{
    struct client *client = context;
    if (client->state == CLIENT_CLOSING)
        destroy(client);
    else
        overdue(fd, what, context);
}

/* ---- connecting -------------------------------------------------------------------------------------- */

/* NULL: there was no memory, and the connection is closed. */
static struct client *add_client(struct pen_daemon *daemon, int fd, bool remote, struct pen_stream *stream)
{
    struct client *client = calloc(1, sizeof *client);
    if (!client) {
        if (stream)
            pen_stream_destroy(stream);
        else
            close(fd);
        return NULL;
    }
    client->daemon = daemon;
    client->fd = fd;
    client->remote = remote;
    client->stream = stream;
    client->request.record_fd = -1;
    daemon->client_count++;
    daemon->remote_count += remote;
    pen_list_append(&daemon->clients, &client->link);

    client->out = evbuffer_new();
    client->readable = event_new(daemon->base, fd, EV_READ | EV_PERSIST, readable, client);
    client->writable = event_new(daemon->base, fd, EV_WRITE | EV_PERSIST, writable, client);
    client->timer = evtimer_new(daemon->base, overdue_or_stuck, client);
    if (!client->out || !client->readable || !client->writable || !client->timer || event_add(client->readable, NULL) ||
        (!remote && pen_unix_peer(fd, &client->peer))) {
        destroy(client);
        return NULL;
    }
    arm(client, daemon->config.handshake_ms);
    return client;
}

/* The client is late, and so may be others, of which one gives way. */
static void bound_late(struct client *client)
{
    struct client *oldest = NULL;
    uint32_t count = 0;
    client->late = true;
    PEN_LIST_EACH(link, next, &client->daemon->clients)
    if (client_of(link)->late && ++count == 1)
        oldest = client_of(link);
    if (count > LATE_MOST)
        destroy(oldest);
}

/* A new connection that wants one of limits.connections, of which this host's programs and others each have theirs:
 * what tenants hold keeps nobody from managing the pool. A session that goes on needs none, however many there are. */
static void take_place(struct client *client)
{
    const struct pen_daemon *daemon = client->daemon;
    uint32_t count = client->remote ? daemon->remote_count : daemon->client_count - daemon->remote_count;
    if (count <= daemon->config.max_connections)
        return;
    if (client->remote) {
        bound_late(client);
        return;
    }
    find_no_room(client);
    flush(client);
}

void pen_clients_admit(struct pen_daemon *daemon, struct pen_stream *stream, const char *tenant)
{
    struct client *client = add_client(daemon, stream->fd, true, stream);
    if (!client)
        return;
    take_place(client);
    snprintf(client->tenant, sizeof client->tenant, "%s", tenant);
    pen_report(PEN_REPORT_DEBUG, "tenant %s has connected", tenant);
    readable(stream->fd, EV_READ, client); /* what has come with the end of the handshake wakes nobody */
}

void pen_clients_drop_tenant(struct pen_daemon *daemon, const char *tenant)
{
    PEN_LIST_EACH(link, next, &daemon->clients)
    {
        struct client *client = client_of(link);
        if (!strcmp(client->tenant, tenant) || !strcmp(client->request.tenant, tenant))
            destroy(client);
    }
}

bool pen_clients_unknown(struct pen_daemon *daemon, char out_tenant[PEN_TLS_IDENTITY_BYTES + 1])
{
    PEN_LIST_EACH(link, next, &daemon->clients)
    {
        const char *tenant = client_of(link)->tenant;
        if (pen_gate_knows(daemon, tenant))
            continue;
        strcpy(out_tenant, tenant);
        return true;
    }
    return false;
}

void pen_clients_open_session(struct pen_daemon *daemon, const struct pen_session_request *request)
{
    struct client *client = add_client(daemon, request->client_fd, true, NULL);
    if (!client)
        return;
    client->request = *request;
    client->mute = true;
    snprintf(client->tenant, sizeof client->tenant, "%s", request->tenant);
    event_del(client->readable); /* what comes is the worker's */
    /* Its promise is kept by now; but limits and devices may be others than when it was given. */
    if (too_many_sessions(client, 0) || other_pool(client, request->pool)) {
        flush(client);
        return;
    }
    if (try_adopt(client))
        return;
    client->state = CLIENT_WANTS_WORKER;
    arm(client, daemon->config.worker_wait_ms);
    pen_workers_fill(daemon);
}

/* At all our sockets. */
static void set_listening(struct pen_daemon *daemon, bool listening)
{
    struct event *const events[] = {daemon->listen_event, daemon->tcp_event, daemon->gate_event};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        if (events[i])
            (void)(listening ? event_add(events[i], NULL) : event_del(events[i]));
}

void pen_clients_pause(struct pen_daemon *daemon)
{
    const struct timeval pause = {0, (suseconds_t)ACCEPT_PAUSE_MS * 1000};
    pen_report(PEN_REPORT_WARN, "cannot take a connection (%s); trying again in %d ms", strerror(errno),
               ACCEPT_PAUSE_MS);
    set_listening(daemon, false);
    event_add(daemon->listen_pause, &pause);
}

static void acceptable(evutil_socket_t fd, short what, void *context)
{
    struct pen_daemon *daemon = context;
    (void)what;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int client;
        int rc = pen_unix_accept((int)fd, &client);
        if (rc == -PEN_ETIMEOUT)
            return;
        if (rc) {
            pen_clients_pause(daemon);
            return;
        }
        struct client *added = add_client(daemon, client, fd == daemon->tcp_fd, NULL);
        if (added)
            take_place(added);
    }
}

static void listen_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    set_listening(context, true);
}

int pen_clients_init(struct pen_daemon *daemon, struct pen_error *error)
{
    pen_list_init(&daemon->clients);
    gid_t group = daemon->private_dir ? PEN_UNIX_NO_GROUP : (gid_t)daemon->config.socket_group;
    int rc = pen_unix_listen(daemon->socket_path, group, &daemon->listen_fd, error);
    if (rc) {
        daemon->listen_fd = -1;
        return rc;
    }
    daemon->listen_event = event_new(daemon->base, daemon->listen_fd, EV_READ | EV_PERSIST, acceptable, daemon);
    daemon->listen_pause = evtimer_new(daemon->base, listen_again, daemon);
    if (daemon->tcp_fd >= 0) {
        daemon->tcp_event = event_new(daemon->base, daemon->tcp_fd, EV_READ | EV_PERSIST, acceptable, daemon);
        if (!daemon->tcp_event || event_add(daemon->tcp_event, NULL))
            return pen_fail(error, -PEN_ENOMEM, "listening for TCP: %s", pen_error_text(-PEN_ENOMEM));
    }
    if (!daemon->listen_event || !daemon->listen_pause || event_add(daemon->listen_event, NULL))
        return pen_fail(error, -PEN_ENOMEM, "listening at %s: %s", daemon->socket_path, pen_error_text(-PEN_ENOMEM));
    return 0;
}

void pen_clients_stop(struct pen_daemon *daemon)
{
    if (daemon->listen_event)
        event_free(daemon->listen_event);
    if (daemon->listen_pause)
        event_free(daemon->listen_pause);
    if (daemon->tcp_event)
        event_free(daemon->tcp_event);
    daemon->listen_event = daemon->listen_pause = daemon->tcp_event = NULL;
    if (daemon->tcp_fd >= 0)
        close(daemon->tcp_fd);
    daemon->tcp_fd = -1;
    if (daemon->listen_fd >= 0) {
        unlink(daemon->socket_path);
        close(daemon->listen_fd);
    }
    daemon->listen_fd = -1;
}

void pen_clients_finish(struct pen_daemon *daemon)
{
    pen_clients_stop(daemon);
    PEN_LIST_EACH(link, next, &daemon->clients)
    destroy(client_of(link));
}

/* ---- what they wait for ------------------------------------------------------------------------------ */

uint32_t pen_clients_waiting(const struct pen_daemon *daemon)
{
    uint32_t count = 0;
    PEN_LIST_EACH(link, next, &daemon->clients)
    count += client_of(link)->state == CLIENT_WANTS_WORKER;
    return count;
}

void pen_clients_pool_changed(struct pen_daemon *daemon)
{
    PEN_LIST_EACH(link, next, &daemon->clients)
    {
        struct client *client = client_of(link);
        if (client->state == CLIENT_WANTS_POOL) {
            send_pool(client);
            flush(client);
        } else if (client->state == CLIENT_WANTS_WORKER && other_pool(client, client->request.pool)) {
            drop_record(client);
            if (!client->mute)
                await_request(client);
            flush(client);
        }
    }
}

void pen_clients_worker_ready(struct pen_daemon *daemon)
{
    PEN_LIST_EACH(link, next, &daemon->clients)
    if (client_of(link)->state == CLIENT_WANTS_WORKER && !try_adopt(client_of(link)))
        return;
}
