/* worker/remote.c - see remote.h. */
#include "worker/remote.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/futex.h"
#include "worker/work.h"

#define SEND_MS      10000
#define HANDSHAKE_MS 10000
#define PAGE         4096u
/* A program that has proven itself says at once what it has; that may be lost on the way. */
#define RESUME_MS 10000
/* For what is left to send when the program is sent away. */
#define LAST_WORDS_MS 1000

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

/* What must be there before the program sees a completion that came after reads. */
static uint64_t reads_before(struct pen_remote *remote, bool after_reads)
{
    if (!after_reads)
        return 0;
    pthread_mutex_lock(&remote->lock);
    uint64_t reads = remote->reads;
    pthread_mutex_unlock(&remote->lock);
    return reads;
}

/* Progress is not worth a message. */
static void send_event(void *context, uint32_t slot, int32_t state, bool after_reads)
{
    if (state <= PEN_STATE_COMPLETE)
        ADD((struct pen_remote *)context, link_event, .slot = slot, .state = state,
            .after = reads_before(context, after_reads));
}

static void send_queue(void *context, uint32_t queue_slot, uint64_t completed, bool after_reads)
{
    ADD((struct pen_remote *)context, link_queue, .slot = queue_slot, .completed = completed,
        .after = reads_before(context, after_reads));
}

static void flush(void *context)
{
    pen_link_flush_burst(((struct pen_remote *)context)->link);
}

void pen_remote_send_range(struct pen_remote *remote, uint64_t offset, uint64_t bytes)
{
    /* Their numbers are in the order in which they are sent. */
    pthread_mutex_lock(&remote->lock);
    uint64_t number = bytes > PEN_LINK_INLINE_BYTES ? ++remote->reads : 0;
    int rc = pen_loans_add_range(&remote->loans, offset, bytes, number);
    pthread_mutex_unlock(&remote->lock);
    if (rc)
        lose(remote);
}

/* Room may be there for a read that dispatch holds back. */
static void range_left(void *context)
{
    struct pen_remote *remote = context;
    /* seq_cst: pairs with pen_remote_has_room. */
    struct pen_work *work = atomic_load(&remote->holds_reads);
    if (work)
        pen_work_kick(work);
}

bool pen_remote_has_room(struct pen_remote *remote, struct pen_work *work, uint64_t bytes)
{
    atomic_store(&remote->holds_reads, work); /* before looking: what leaves after that kicks */
    uint64_t before = atomic_load(&remote->reading) + pen_link_beside(remote->link);
    bool room = !before || before + bytes <= PEN_LINK_BULK_BYTES;
    if (room)
        atomic_store(&remote->holds_reads, NULL);
    return room;
}

/* ---- what comes goes into ring and arena ---- */

static int into_ring(struct pen_remote *remote, const void *frame, size_t size)
{
    void *at = NULL;
    if (pen_link_unsent(remote->link) < PEN_LINK_KEPT_BYTES) /* else first what was done is told */
        at = pen_ring_reserve(&remote->writer, size);
    if (!at)
        return PEN_LINK_KEEP; /* what waits for the program's acknowledgements is not to wait for room here */
    memcpy(at, frame, size);
    pen_ring_publish(&remote->writer, size);
    pen_fence();
    pen_ring_doorbell(&remote->view);
    return 0;
}

/* Dispatch turns the link, and a part has come: before it takes a long one, it has a look at the write whose bytes they
 * are, which may be in the ring still. */
static int make_way(struct pen_remote *remote, const struct pen_msg_link_part *part)
{
    struct pen_work *work = remote->dispatch;
    if (part->bytes < PEN_LINK_INLINE_BYTES)
        return 0;
    if (pen_ring_ready(&work->ring) || (atomic_load(&work->holding) && atomic_load(&work->finished)))
        return PEN_LINK_LATER;
    pthread_mutex_lock(&remote->lock);
    struct pen_work_task *awaited =
        pen_list_empty(&remote->awaited) ? NULL : PEN_CONTAINER(remote->awaited.next, struct pen_work_task, held);
    pthread_mutex_unlock(&remote->lock);
    if (awaited && awaited->write &&
        part->offset == awaited->write->command->u.transfer.arena_offset) /* the first of them */
        pen_here_lend(awaited->write);
    return 0;
}

/* The program is done with a range of the arena, and what it sends from now on may use it again. */
static int take_forget(struct pen_remote *remote, const void *frame, size_t size)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_link_forget forget;
    if (pen_msg_link_forget_decode(frame, size, &scratch, &forget) ||
        !pen_arena_range_ok(remote->loans.arena_bytes, forget.offset, forget.bytes) || forget.offset % PAGE ||
        forget.bytes % PAGE)
        return -PEN_EPROTO;
    (void)madvise(remote->loans.arena + forget.offset, forget.bytes, MADV_REMOVE); /* else it is kept */
    return 0;
}

static int take_part(void *context, const struct pen_msg_link_part *part, void **out_bulk)
{
    struct pen_remote *remote = context;
    int rc = remote->dispatch ? make_way(remote, part) : 0;
    if (rc)
        return rc;
    remote->arriving = part->number;
    return pen_loans_take_part(&remote->loans, part, out_bulk);
}

static int take_frame(void *context, const void *frame, size_t size)
{
    struct pen_remote *remote = context;
    uint16_t opcode = ((const struct pen_frame_header *)frame)->opcode;
    if (opcode == PEN_OP_LINK_END) {
        lose(remote);
        return -PEN_EGONE; /* the connection is closed: that is what the program waits for */
    }
    if (opcode == PEN_OP_LINK_FORGET)
        return take_forget(remote, frame, size);
    const struct pen_message_info *info = pen_message_info(opcode);
    return info && info->direction == PEN_DIRECTION_COMMAND ? into_ring(remote, frame, size) : -PEN_EPROTO;
}

/* The oldest task that waits for what is here; NULL: none. */
static struct pen_work_task *next_arrived(struct pen_remote *remote)
{
    struct pen_work_task *task = NULL;
    pthread_mutex_lock(&remote->lock);
    if (!pen_list_empty(&remote->awaited))
        task = PEN_CONTAINER(remote->awaited.next, struct pen_work_task, held);
    if (task && task->sequence <= remote->arrived)
        pen_list_remove(&task->held);
    else
        task = NULL;
    pthread_mutex_unlock(&remote->lock);
    return task;
}

static int take_bulk(void *context)
{
    struct pen_remote *remote = context;
    struct pen_work_task *task;
    if (!remote->arriving)
        return 0;
    pthread_mutex_lock(&remote->lock);
    remote->arrived = remote->arriving;
    pthread_mutex_unlock(&remote->lock);
    while ((task = next_arrived(remote)))
        pen_task_arrived(task);
    return 0;
}

bool pen_remote_await(struct pen_remote *remote, struct pen_work_task *task)
{
    pthread_mutex_lock(&remote->lock);
    bool here = remote->arrived >= task->sequence;
    if (!here)
        pen_list_append(&remote->awaited, &task->held);
    pthread_mutex_unlock(&remote->lock);
    return !here;
}

/* ---- connections ---- */

void pen_remote_relink(struct pen_remote *remote, const struct pen_remote_offer *offer)
{
    pen_prover_look_at(&remote->prover, offer);
}

/* The prover's: a stream of the session's program. */
static void offer_stream(void *context, struct pen_stream *stream)
{
    struct pen_remote *remote = context;
    pthread_mutex_lock(&remote->lock);
    struct pen_stream *older = remote->offer;
    remote->offer = stream;
    pthread_mutex_unlock(&remote->lock);
    pen_stream_destroy(older);
    pen_pump_rouse(&remote->pump);
}

/* The offered connection becomes the link's. False: there is none, or it has failed. */
static bool take_offer(struct pen_remote *remote)
{
    pthread_mutex_lock(&remote->lock);
    struct pen_stream *stream = remote->offer;
    remote->offer = NULL;
    pthread_mutex_unlock(&remote->lock);
    return stream && !pen_link_resume(remote->link, stream, remote->session, pen_deadline_ms(RESUME_MS));
}

static bool has_offer(struct pen_remote *remote)
{
    pthread_mutex_lock(&remote->lock);
    bool has = remote->offer != NULL;
    pthread_mutex_unlock(&remote->lock);
    return has;
}

void pen_remote_detach(struct pen_remote *remote, bool detached)
{
    atomic_store(&remote->detached, detached);
    pen_pump_rouse(&remote->pump);
}

/* The caller has the pump. A program that has not heard it learns it when it connects again. */
static void send_away(struct pen_remote *remote)
{
    uint64_t now = pen_now_ns(), until = pen_deadline_ms(LAST_WORDS_MS);
    ADD(remote, link_detach, 0);
    pen_link_flush(remote->link);
    while (pen_link_unsent(remote->link) && now < until && !pen_link_turn(remote->link)) {
        pen_link_wait(remote->link, until - now);
        now = pen_now_ns();
    }
    pen_link_detach(remote->link);
}

/* The receiving thread's: how it is with the program. */
struct presence {
    bool connected, detached;
    uint64_t until; /* a new connection is awaited; UINT64_MAX: for ever, or there is one */
};

static void note_presence(struct pen_remote *remote, struct presence *now, bool connected)
{
    now->connected = connected;
    now->until = connected || now->detached ? UINT64_MAX : pen_now_ns() + remote->reconnect_ns;
    atomic_store_explicit(&remote->crash->broken, !connected, memory_order_relaxed);
}

/* What others have asked for, with the pump: a new connection, then whether there is to be one. */
static void change_presence(struct pen_remote *remote, struct presence *now)
{
    if (pen_pump_demand(&remote->pump))
        note_presence(remote, now, false);
    if (take_offer(remote)) {
        pen_link_flush(remote->link); /* what the program lacks; nobody may have anything to add */
        note_presence(remote, now, true);
    }
    if (now->detached != atomic_load(&remote->detached)) {
        now->detached = !now->detached;
        if (now->detached && now->connected)
            send_away(remote);
        note_presence(remote, now, false);
    }
    pen_pump_give(&remote->pump, false);
}

/* Until the session has failed, or has been without a connection for too long. */
static void *receive(void *context)
{
    struct pen_remote *remote = context;
    struct presence presence = {.connected = true, .until = UINT64_MAX};
    for (;;) {
        uint64_t now = presence.until == UINT64_MAX ? 0 : pen_now_ns();
        int rc = now < presence.until ? pen_pump_run(&remote->pump, presence.until - now) : -PEN_ETIMEOUT;
        if (rc == -PEN_EGONE) {
            note_presence(remote, &presence, false);
            pen_pump_give(&remote->pump, false);
        } else if (rc) {
            break;
        }
        if (has_offer(remote) || presence.detached != atomic_load(&remote->detached))
            change_presence(remote, &presence);
    }
    lose(remote);
    return NULL;
}

/* ---- dispatch receives ---- */

void pen_remote_kick(struct pen_remote *remote)
{
    pen_fence(); /* Dekker: kicked; fence; idle here, idle; fence; kicked in pen_remote_idle */
    if (atomic_load_explicit(&remote->idle, memory_order_relaxed))
        pen_link_kick(remote->link);
}

/* As pen_ring_wait, without sleeping: is there something for dispatch? */
static bool pending(struct pen_ring_reader *ring)
{
    return pen_ring_wait(ring, 0, 0) != PEN_RING_TIMEOUT;
}

static bool spin(struct pen_remote *remote, struct pen_ring_reader *ring, uint64_t spin_ns, bool *out_going)
{
    uint64_t now = pen_now_ns(), limit = now + spin_ns;
    bool some = false;
    if (!spin_ns || !pen_spin_pays(&ring->spinner))
        return false;
    while (*out_going && !some && now < limit) {
        *out_going = pen_pump_turn(&remote->pump);
        some = pending(ring);
        now = pen_now_ns();
    }
    pen_spin_learn(&ring->spinner, some, now > limit ? now - limit : 0);
    return some;
}

void pen_remote_idle(struct pen_remote *remote, struct pen_work *work)
{
    struct pen_ring_reader *ring = &work->ring;
    if (!pen_pump_take(&remote->pump)) {
        pen_ring_wait(ring, work->config.spin_ns, UINT64_MAX); /* who has it gives us frames */
        return;
    }
    remote->dispatch = work;
    bool going = true, some = spin(remote, ring, work->config.spin_ns, &going);
    while (going && !some) {
        atomic_store_explicit(&remote->idle, true, memory_order_relaxed);
        pen_fence();
        if (!(some = pending(ring)))
            pen_link_wait(remote->link, UINT64_MAX);
        atomic_store_explicit(&remote->idle, false, memory_order_relaxed);
        going = pen_pump_turn(&remote->pump);
        some = some || pending(ring);
    }
    remote->dispatch = NULL;
    pen_pump_give(&remote->pump, false);
}

/* ---- life ---- */

int pen_remote_init(struct pen_remote *remote, uint64_t session, uint64_t reconnect_ns,
                    const struct pen_remote_offer *first, struct pen_crash_page *crash, struct pen_shared_view *view,
                    void *arena, uint64_t arena_bytes)
{
    const struct pen_link_owner owner = {take_frame, take_part, take_bulk, remote};
    struct pen_remote_offer offer = *first;
    *remote = (struct pen_remote){.session = session, .reconnect_ns = reconnect_ns, .crash = crash, .view = *view};
    pthread_mutex_init(&remote->lock, NULL);
    pen_list_init(&remote->awaited);
    int rc = pen_prover_init(&remote->prover, offer_stream, remote);
    if (rc) {
        close(offer.fd);
        return rc;
    }
    rc = pen_offer_accept(&offer, pen_deadline_ms(HANDSHAKE_MS), &remote->stream);
    if (rc)
        return rc;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, remote->ends))
        return -PEN_EIO;
    if ((rc = pen_link_create(&owner, &remote->link)))
        return rc;
    pen_link_tell_left(remote->link, range_left);
    pen_pump_init(&remote->pump, remote->link);
    pen_loans_init(&remote->loans, remote->link, arena, arena_bytes);
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
