/* See link.h. A link's life, its connections, and the turns of whoever has it; the rest: link_kept.c, link_send.c,
 * link_receive.c. */
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "net/link_state.h"
#include "net/pack.h"
#include "net/tcp.h"
#include "penstock-protocol.h"
#include "wire/futex.h"

/* Until a frame is offered again that the owner had no room for. */
#define AGAIN_NS 1000000u
/* A peer's host that has not answered for so long is not there. */
#define SILENCE_NS (PEN_TCP_SILENCE_MS * UINT64_C(1000000))
/* Until it is tried again to make parts of what goes beside, when memory was short or too much was kept. */
#define SHORT_NS 10000000u

int pen_link_create(const struct pen_link_owner *owner, struct pen_link **out_link)
{
    struct pen_link *link = calloc(1, sizeof *link);
    if (!link)
        return -PEN_ENOMEM;
    link->owner = *owner;
    pen_link_init_kept(link);
    atomic_store(&link->burst_ns, PEN_LINK_BURST_NS);
    atomic_store(&link->poll_fd, -1);
    link->room_fd = -1;
    link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (link->wake_fd < 0) {
        free(link);
        return -PEN_EIO;
    }
    pthread_mutex_init(&link->lock, NULL);
    pthread_mutex_init(&link->bulk_lock, NULL);
    *out_link = link;
    return 0;
}

void pen_link_destroy(struct pen_link *link)
{
    if (!link)
        return;
    pen_stream_destroy(link->stream);
    pen_link_finish_kept(link);
    pen_link_drop_put_off(link);
    pen_frame_reader_finish(&link->reader);
    pen_pack_destroy(link->pack);
    close(link->wake_fd);
    pthread_mutex_destroy(&link->bulk_lock);
    pthread_mutex_destroy(&link->lock);
    free(link);
}

int pen_link_use_packing(struct pen_link *link)
{
    return pen_pack_create(&link->pack);
}

void pen_link_tell_room(struct pen_link *link, int fd)
{
    link->room_fd = fd;
}

void pen_link_forked(struct pen_link *link)
{
    if (link->stream)
        close(link->stream->fd);
    close(link->wake_fd);
}

/* ---- turns ------------------------------------------------------------------------------------------- */

void pen_link_kick(struct pen_link *link)
{
    const uint64_t one = 1;
    if (atomic_exchange(&link->kicked, true))
        return;
    ssize_t ignored = write(link->wake_fd, &one, sizeof one);
    (void)ignored; /* full: it is awake already */
}

void pen_link_wait(struct pen_link *link, uint64_t timeout_ns)
{
    bool refused = atomic_load(&link->refused), full = refused || atomic_load(&link->keeps);
    uint32_t left = atomic_load(&link->left);
    short events = (short)((refused ? 0 : POLLIN) | (left == PEN_LEFT_FOR_SOCKET ? POLLOUT : 0));
    struct pollfd fds[] = {{.fd = events ? atomic_load(&link->poll_fd) : -1, .events = events},
                           {.fd = link->wake_fd, .events = POLLIN},
                           {.fd = full ? link->room_fd : -1, .events = POLLOUT}};
    uint64_t ns = timeout_ns, due = atomic_load(&link->due), now = due ? pen_now_ns() : 0;
    if (atomic_load(&link->more) || (due && now >= due))
        return;
    if (due && ns > due - now)
        ns = due - now;
    if (atomic_load(&link->unacked_since) && ns > PEN_LINK_ACK_NS)
        ns = PEN_LINK_ACK_NS;
    if (atomic_load(&link->awaits) && ns > PEN_LINK_LOOK_NS)
        ns = PEN_LINK_LOOK_NS;
    if (full && link->room_fd < 0 && ns > AGAIN_NS)
        ns = AGAIN_NS;
    if (left == PEN_LEFT_FOR_MEMORY && ns > SHORT_NS)
        ns = SHORT_NS;
    const struct timespec limit = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    if (ppoll(fds, sizeof fds / sizeof *fds, ns == UINT64_MAX ? NULL : &limit, NULL) > 0 && fds[1].revents)
        atomic_store(&link->awake, true); /* and not `kicked`: another thread's turn may have read it meanwhile */
}

/* Before anything is looked at that a kick may have been for. */
static void take_kick(struct pen_link *link)
{
    uint64_t ignored;
    /* A turn between a kick's flag and its write finds nothing to read; then `awake` has the next one read. */
    if (!atomic_exchange(&link->awake, false) && !atomic_load(&link->kicked))
        return;
    ssize_t n = read(link->wake_fd, &ignored, sizeof ignored);
    (void)n;
    atomic_store(&link->kicked, false); /* not before: the read would take a later kick, and leave its flag */
}

/* Nothing has come: is the peer's host there? What is under way is looked after by nobody else; where nothing is, TCP
 * asks (pen_tcp_notice_silence). */
static bool is_silent(struct pen_link *link)
{
    uint64_t now, unheard_ns;
    if (!atomic_load(&link->awaits) || (now = pen_now_ns()) < link->look_at)
        return false;
    link->look_at = now + PEN_LINK_LOOK_NS;
    atomic_store(&link->awaits, false);
    if (link->stream && pen_stream_awaits(link->stream, &unheard_ns))
        atomic_store(&link->awaits, true);
    else
        unheard_ns = 0;
    if (!unheard_ns)
        link->unheard_since = 0;
    else if (!link->unheard_since || unheard_ns < now - link->unheard_since)
        link->unheard_since = now;
    return link->unheard_since && now - link->unheard_since >= SILENCE_NS;
}

int pen_link_turn(struct pen_link *link)
{
    uint64_t received = link->received;
    take_kick(link);
    ssize_t got = atomic_load(&link->broken) ? 0 : pen_link_receive(link);
    if (got < 0 && got != -PEN_EGONE)
        return (int)got;
    if (got == -PEN_EGONE || atomic_load(&link->broken) || (link->received == received && is_silent(link))) {
        pen_link_detach(link);
        return -PEN_EGONE;
    }
    int rc = pen_link_acknowledge(link);
    if (!pen_link_is_gathering(link))
        pen_link_send(link);
    return rc;
}

/* ---- letting go -------------------------------------------------------------------------------------- */

void pen_link_let_go(struct pen_link *link, const void *memory, uint64_t offset, uint64_t bytes, void *instead)
{
    const struct pen_swap swap = {memory, offset, bytes, instead};
    pen_link_swap_received(link, &swap);
    pthread_mutex_lock(&link->lock);
    bool all = pen_link_swap_sent(link, &swap, false);
    pthread_mutex_unlock(&link->lock);
    if (all)
        return;
    pen_link_begin_sending(link);
    pthread_mutex_lock(&link->lock);
    (void)pen_link_swap_sent(link, &swap, true);
    pthread_mutex_unlock(&link->lock);
    pen_link_end_sending(link);
    pen_link_flush(link); /* what others have left to us */
}

/* ---- connections ------------------------------------------------------------------------------------- */

uint64_t pen_link_received(const struct pen_link *link)
{
    return link->received;
}

void pen_link_detach(struct pen_link *link)
{
    pen_link_begin_sending(link);
    pthread_mutex_lock(&link->lock);
    struct pen_stream *stream = link->stream;
    link->stream = NULL;
    pthread_mutex_unlock(&link->lock);
    atomic_store(&link->poll_fd, -1);
    atomic_store(&link->broken, false);
    pen_link_end_sending(link);
    pen_stream_destroy(stream);
}

int pen_link_attach(struct pen_link *link, struct pen_stream *stream, uint64_t peer_received)
{
    pthread_mutex_lock(&link->lock);
    /* All that it has was sent once, but an acknowledgement may not have come. */
    bool good = peer_received >= link->acknowledged && peer_received <= link->added;
    pthread_mutex_unlock(&link->lock);
    if (!good) {
        pen_stream_destroy(stream);
        return -PEN_EPROTO;
    }
    pen_link_detach(link);
    pen_link_begin_sending(link);
    pthread_mutex_lock(&link->lock);
    pen_link_rewind(link, peer_received);
    link->stream = stream;
    atomic_store(&link->poll_fd, stream->fd);
    link->acked = link->received;
    link->unacked_since = 0;
    link->look_at = link->unheard_since = 0;
    pen_link_note_round_trip(link, stream);
    pthread_mutex_unlock(&link->lock);
    pen_link_end_sending(link);
    return 0;
}

int pen_link_resume(struct pen_link *link, struct pen_stream *stream, uint64_t session, uint64_t deadline_ns)
{
    struct pen_msg_link_resume resume = {.session = session, .received = link->received};
    struct pen_scratch scratch = {0};
    size_t size = pen_msg_link_resume_size(&resume);
    unsigned char *frame = aligned_alloc(64, PEN_LIMIT_FRAME);
    int rc = frame ? 0 : -PEN_ENOMEM;
    if (!rc) {
        pen_msg_link_resume_encode(&resume, 0, frame);
        rc = pen_stream_send_frame(stream, frame, size, deadline_ns);
    }
    if (!rc && !(rc = pen_stream_receive_frame(stream, frame, &size, deadline_ns)))
        rc = pen_msg_link_resume_decode(frame, size, &scratch, &resume);
    pen_scratch_finish(&scratch);
    free(frame);
    if (!rc && resume.session != session)
        rc = -PEN_EPROTO;
    if (!rc)
        return pen_link_attach(link, stream, resume.received);
    pen_stream_destroy(stream);
    return rc;
}
