/* worker/remote.c - see remote.h. */
#include "worker/remote.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/tls.h"

#define SEND_MS      10000
#define HANDSHAKE_MS 10000
/* How long the receiving thread sleeps for room in the ring before it looks whether the session has ended. */
#define ROOM_NS 100000000u

/* ---- what is published goes over the link ---- */

#define ADD(remote_, name_, ...)                                                                                       \
    do {                                                                                                               \
        _Alignas(8) unsigned char frame_[128];                                                                         \
        const struct pen_msg_##name_ message_ = {__VA_ARGS__};                                                         \
        pen_msg_##name_##_encode(&message_, 0, frame_);                                                                \
        if (pen_link_add((remote_)->link, frame_, pen_msg_##name_##_size(&message_)))                                  \
            lose(remote_);                                                                                             \
    } while (0)

/* The session is over: whoever watches the program's socket sees it closed. */
static void lose(struct pen_remote *remote)
{
    shutdown(remote->ends[1], SHUT_RDWR);
}

static void send_times(void *context, uint32_t slot, const struct pen_event_times *times)
{
    ADD((struct pen_remote *)context, link_times, .slot = slot, .queued = times->queued, .submitted = times->submitted,
        .started = times->started, .ended = times->ended);
}

/* Progress is not worth a message. */
static void send_event(void *context, uint32_t slot, int32_t state)
{
    if (state <= PEN_STATE_COMPLETE)
        ADD((struct pen_remote *)context, link_event, .slot = slot, .state = state);
}

static void send_queue(void *context, uint32_t queue_slot, uint64_t completed)
{
    ADD((struct pen_remote *)context, link_queue, .slot = queue_slot, .completed = completed);
}

static void flush(void *context)
{
    pen_link_flush(((struct pen_remote *)context)->link);
}

void pen_remote_send_range(struct pen_remote *remote, uint64_t offset, uint64_t bytes)
{
    if (pen_link_add_range(remote->link, remote->arena, offset, bytes))
        lose(remote);
}

/* ---- what comes goes into ring and arena ---- */

static int into_ring(struct pen_remote *remote, const void *frame, size_t size)
{
    void *at;
    while (!(at = pen_ring_reserve(&remote->writer, size)))
        pen_ring_wait_room(&remote->writer, size, 0, ROOM_NS);
    memcpy(at, frame, size);
    pen_ring_publish(&remote->writer, size);
    pen_fence();
    pen_ring_doorbell(&remote->view);
    return 0;
}

static int take_frame(void *context, const void *frame, size_t size, void **out_bulk, uint64_t *out_bulk_bytes)
{
    struct pen_remote *remote = context;
    uint16_t opcode = ((const struct pen_frame_header *)frame)->opcode;
    if (opcode == PEN_OP_LINK_PART)
        return pen_link_take_part(frame, size, remote->arena, remote->arena_bytes, out_bulk, out_bulk_bytes);
    const struct pen_message_info *info = pen_message_info(opcode);
    return info && info->direction == PEN_DIRECTION_COMMAND ? into_ring(remote, frame, size) : -PEN_EPROTO;
}

static void *receive(void *context)
{
    struct pen_remote *remote = context;
    while (!pen_link_turn(remote->link, UINT64_MAX))
        ;
    lose(remote);
    return NULL;
}

/* ---- life ---- */

static bool session_key(void *context, const char *identity, unsigned char secret[PEN_TLS_KEY_BYTES])
{
    memcpy(secret, context, PEN_TLS_KEY_BYTES);
    return !strcmp(identity, PEN_TLS_SESSION_IDENTITY);
}

static int make_stream(int fd, const unsigned char *secret, struct pen_stream **out_stream)
{
    struct pen_stream *stream;
    if (!secret)
        return pen_stream_plain(fd, out_stream);
    int rc = pen_stream_tls_accept(fd, session_key, (void *)(uintptr_t)secret, &stream);
    if (rc)
        return rc;
    if ((rc = pen_tls_handshake_until(stream, pen_deadline_ms(HANDSHAKE_MS))))
        pen_stream_destroy(stream);
    else
        *out_stream = stream;
    return rc;
}

int pen_remote_init(struct pen_remote *remote, int fd, const unsigned char *secret, struct pen_shared_view *view,
                    void *arena, uint64_t arena_bytes)
{
    const struct pen_link_owner owner = {take_frame, NULL, remote};
    *remote = (struct pen_remote){.view = *view, .arena = arena, .arena_bytes = arena_bytes};
    int rc = make_stream(fd, secret, &remote->stream);
    if (rc)
        return rc;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, remote->ends))
        return -PEN_EIO;
    if ((rc = pen_link_create(&owner, &remote->link)))
        return rc;
    remote->mirror = (struct pen_mirror){send_times, send_event, send_queue, flush, remote};
    pen_ring_writer_init(&remote->writer, &remote->view);
    view->mirror = &remote->mirror;
    return 0;
}

int pen_remote_start(struct pen_remote *remote, const void *opened, size_t size)
{
    int rc = pen_stream_send_frame(remote->stream, opened, size, pen_deadline_ms(SEND_MS));
    if (!rc)
        rc = pen_link_attach(remote->link, remote->stream, 0);
    if (rc)
        return rc;
    pthread_t thread;
    if (pthread_create(&thread, NULL, receive, remote))
        return -PEN_ENOMEM;
    pthread_detach(thread); /* it ends with its link or with the process */
    return 0;
}
