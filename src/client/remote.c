/* See remote.h. */
#include "client/remote.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/link.h"
#include "net/unix.h"
#include "wire/arena.h"
#include "wire/ring.h"

struct pen_remote_end {
    struct pen_link *link;
    struct pen_shared_view view;
    struct pen_ring_reader ring; /* the sending thread's */
    unsigned char *arena;
    uint64_t arena_bytes;
    int socket; /* our end of the pair: answers and output, for the program's threads */
    pthread_t sender, receiver;
    bool sending, receiving; /* their threads run */
    _Atomic bool stop;
};

/* ---- from the program --------------------------------------------------------------------------------- */

static int forward(struct pen_remote_end *end, const void *frame, size_t size)
{
    struct pen_bulk bulk;
    int rc = pen_arena_bulk(frame, size, &bulk);
    if (!rc)
        rc = pen_link_add_range(end->link, end->arena, bulk.offset, bulk.size);
    return rc ? rc : pen_link_add(end->link, frame, size);
}

static void *send_commands(void *context)
{
    struct pen_remote_end *end = context;
    while (!atomic_load(&end->stop)) {
        const void *frame;
        size_t size;
        int rc = pen_ring_next(&end->ring, &frame, &size);
        if (rc > 0)
            rc = forward(end, frame, size);
        if (rc < 0)
            break;
        if (pen_ring_ready(&end->ring))
            continue;
        pen_link_flush(end->link);
        pen_ring_wait(&end->ring, PEN_SPIN_BUDGET_NS, UINT64_MAX);
    }
    return NULL;
}

/* ---- to the program ----------------------------------------------------------------------------------- */

static int answer(struct pen_remote_end *end, uint16_t opcode, const void *frame, size_t size)
{
    if (opcode == PEN_OP_OUTPUT)
        pen_publish_output(&end->view); /* before it is sent: sending may wait until the program reads */
    int rc = pen_unix_send(end->socket, frame, size, NULL, 0, UINT64_MAX);
    if (opcode == PEN_OP_FATAL)
        pen_publish_gone(&end->view);
    return rc;
}

#define DECODE(name_)                                                                                                  \
    struct pen_scratch scratch = {0};                                                                                  \
    struct pen_msg_##name_ message;                                                                                    \
    if (pen_msg_##name_##_decode(frame, size, &scratch, &message))                                                     \
    return -PEN_EPROTO

static int take_event(struct pen_remote_end *end, const void *frame, size_t size)
{
    DECODE(link_event);
    if (!pen_slot_ok(message.slot) || message.state > PEN_STATE_COMPLETE)
        return -PEN_EPROTO;
    pen_publish_event(&end->view, message.slot, message.state);
    pen_publish_wake(&end->view);
    return 0;
}

static int take_times(struct pen_remote_end *end, const void *frame, size_t size)
{
    DECODE(link_times);
    if (!pen_slot_ok(message.slot))
        return -PEN_EPROTO;
    const struct pen_event_times times = {message.queued, message.submitted, message.started, message.ended};
    pen_publish_times(&end->view, message.slot, &times);
    return 0;
}

static int take_queue(struct pen_remote_end *end, const void *frame, size_t size)
{
    DECODE(link_queue);
    if (!pen_queue_slot_ok(message.slot))
        return -PEN_EPROTO;
    pen_publish_queue(&end->view, message.slot, message.completed);
    pen_publish_wake(&end->view);
    return 0;
}

static int take_frame(void *context, const void *frame, size_t size, void **out_bulk, uint64_t *out_bulk_bytes)
{
    struct pen_remote_end *end = context;
    uint16_t opcode = ((const struct pen_frame_header *)frame)->opcode;
    const struct pen_message_info *info = pen_message_info(opcode);
    switch (opcode) {
    case PEN_OP_LINK_EVENT:
        return take_event(end, frame, size);
    case PEN_OP_LINK_TIMES:
        return take_times(end, frame, size);
    case PEN_OP_LINK_QUEUE:
        return take_queue(end, frame, size);
    case PEN_OP_LINK_PART:
        return pen_link_take_part(frame, size, end->arena, end->arena_bytes, out_bulk, out_bulk_bytes);
    default:
        return info && info->direction == PEN_DIRECTION_REPLY ? answer(end, opcode, frame, size) : -PEN_EPROTO;
    }
}

static void *receive(void *context)
{
    struct pen_remote_end *end = context;
    while (!atomic_load(&end->stop) && !pen_link_turn(end->link, UINT64_MAX))
        ;
    shutdown(end->socket, SHUT_RDWR); /* the program's threads see it */
    pen_publish_gone(&end->view);
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------------- */

/* Signals are the program's own threads'. */
static int start_thread(pthread_t *thread, void *(*run)(void *), void *context)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(thread, NULL, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? -PEN_ENOMEM : 0;
}

static int make_link(struct pen_remote_end *end, struct pen_stream *stream)
{
    const struct pen_link_owner owner = {take_frame, NULL, end};
    int rc = pen_link_create(&owner, &end->link);
    if (!rc)
        return pen_link_attach(end->link, stream, 0);
    pen_stream_destroy(stream);
    return rc;
}

int pen_remote_end_start(struct pen_stream *stream, const struct pen_shared_view *view, void *arena,
                         uint64_t arena_bytes, int *out_socket, struct pen_remote_end **out_end,
                         struct pen_error *error)
{
    struct pen_remote_end *end = calloc(1, sizeof *end);
    int pair[2] = {-1, -1};
    if (!end) {
        pen_stream_destroy(stream);
        return pen_fail(error, -PEN_ENOMEM, "opening a session: out of host memory");
    }
    end->view = *view;
    end->arena = arena;
    end->arena_bytes = arena_bytes;
    int rc = make_link(end, stream);
    if (!rc)
        rc = pen_ring_reader_init(&end->ring, &end->view);
    if (!rc && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        rc = -PEN_EIO;
    end->socket = pair[1];
    if (!rc && !(rc = start_thread(&end->sender, send_commands, end)))
        end->sending = true;
    if (!rc && !(rc = start_thread(&end->receiver, receive, end)))
        end->receiving = true;
    if (rc) {
        pen_remote_end_stop(end);
        if (pair[0] >= 0)
            close(pair[0]);
        return pen_fail(error, rc, "opening a session on another host: %s", pen_error_text(rc));
    }
    *out_socket = pair[0];
    *out_end = end;
    return 0;
}

void pen_remote_end_forked(struct pen_remote_end *end)
{
    pen_link_forked(end->link);
    close(end->socket);
}

void pen_remote_end_stop(struct pen_remote_end *end)
{
    if (!end)
        return;
    atomic_store(&end->stop, true);
    if (end->socket >= 0)
        shutdown(end->socket, SHUT_RDWR); /* a receiver that waits for the program to read is let go */
    if (end->sending) {
        pen_ring_kick(&end->ring);
        pthread_join(end->sender, NULL);
    }
    if (end->receiving) {
        pen_link_kick(end->link);
        pthread_join(end->receiver, NULL);
    }
    pen_link_destroy(end->link);
    if (end->socket >= 0)
        close(end->socket);
    pen_ring_reader_finish(&end->ring);
    free(end);
}
