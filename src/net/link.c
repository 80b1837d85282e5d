/* See link.h.
 *
 * What is kept is a list of pieces: copied bytes, or a range of somebody's. `sent` goes through it, from `acknowledged`
 * on; pieces before both are dropped. One thread at a time writes to the socket (`sending`), without the lock: it
 * gathers pieces, writes, and says what was taken. Pieces only grow at their end, so what it gathered stays where it
 * is. Ranges that go beside the frames are in a list of their own (`beside`), and become pieces a part at a time, when
 * few bytes are left to send: a frame never waits for more than that. */
#include "net/link.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "net/pack.h"
#include "net/unix.h"
#include "wire/arena.h"
#include "wire/futex.h"

/* Bytes of copied frames in one piece. */
#define PIECE_BYTES 65536u
/* Bytes of an arena range sent as one part: the least while frames come between, else more and more. */
#define PART_LEAST (UINT64_C(64) << 10)
#define PART_MOST  (UINT64_C(1) << 20)
/* A part of what goes beside is added when less than this is left to send. */
#define LEFT_BYTES (UINT64_C(128) << 10)
/* Read at once after a part, since most of what comes then is another's, and goes elsewhere. */
#define HEAD_BYTES 1024u
/* Bytes of somebody's that are no arena's. */
#define NO_OFFSET UINT64_MAX
/* Pieces written at once. */
#define GATHER 64
/* What has come since the last acknowledgement is acknowledged when it is so much, or when so long has passed. */
#define ACK_BYTES (256u << 10)
#define ACK_NS    10000000u
/* Received, and sent of what goes beside, in one turn: then it is time for the other. */
#define TURN_BYTES (1u << 20)
/* What pen_link_flush_burst is called for so soon after the last goes together: so soon, or within such a part of a
 * round trip, if that is more. It waits for at most twice as long. */
#define BURST_NS         20000u
#define BURST_ROUND_TRIP 16
/* Until a frame is offered again that the owner had no room for. */
#define AGAIN_NS 1000000u
/* Until it is tried again to make parts of what goes beside, when memory was short or too much was kept. */
#define SHORT_NS 10000000u

/* What whoever sent last has not sent. */
enum left {
    LEFT_NOTHING,
    LEFT_FOR_SOCKET, /* it takes no more, or the next turn sends it */
    LEFT_FOR_MEMORY, /* of what goes beside, of which no part could be made */
};

struct piece {
    struct piece *next;
    const unsigned char *bytes;
    uint64_t size;
    uint64_t offset; /* of somebody's bytes: of the arena range that they are, or stand for */
    size_t capacity; /* of `own`; 0: the bytes are somebody's */
    unsigned char own[];
};

/* A range of an arena that goes beside the frames. */
struct range {
    struct range *next;
    const unsigned char *memory; /* where the bytes lie that are left */
    uint64_t offset, bytes, number;
    uint64_t frames_before; /* link->frames when it was added */
};

struct pen_link {
    struct pen_link_owner owner;
    void (*range_left)(void *context); /* NULL: nobody asks */

    pthread_mutex_t lock;
    /* guarded by lock; counts are in bytes since the session began */
    struct piece *first, *last; /* the first begins at `base` */
    uint64_t base, added, sent, acknowledged;
    struct piece *cursor; /* holds byte `sent`, or NULL: all that was added is sent */
    uint64_t cursor_at;   /* bytes of it that are sent */
    struct range *beside, *beside_last;
    uint64_t beside_bytes;
    struct range *packing;            /* whose first part is being packed, without the lock; or NULL */
    uint64_t part_bytes, part_frames; /* of the next part; `frames` at the last */
    uint64_t kept;                    /* of copied bytes: in pieces, and for ranges */
    uint64_t ranges_end;              /* of the last part of a range, as `added` */
    uint64_t frames;                  /* bytes of pen_link_add_bulk's frames since the session began */
    struct pen_stream *stream;

    struct pen_pack *pack; /* NULL: not agreed; its two sides are the sending thread's and the turning thread's */

    /* A thread writes to the socket. seq_cst with `added`: see pen_link_flush. */
    _Atomic uint32_t sending;
    _Atomic uint64_t unsent;        /* added - sent + beside_bytes; written under lock */
    _Atomic uint32_t room;          /* futex: changes when it is full no longer */
    _Atomic uint64_t frames_unsent; /* copied bytes not sent; written under lock */
    _Atomic bool broken;            /* the connection is, found by a sender; the turning thread detaches */
    _Atomic uint32_t left;          /* enum left; written by the sending thread */
    _Atomic uint64_t burst_at;      /* when the first of a burst was sent, ns; relaxed, a hint */
    _Atomic uint64_t burst_ns;      /* how long what follows is gathered; BURST_NS: not at all. Relaxed */
    _Atomic uint64_t due;           /* when what is gathered has to be sent, ns; 0: nothing is. See is_gathering */
    _Atomic bool kicked;            /* the eventfd has been written, or is about to be */
    _Atomic bool awake;             /* a waiting thread has seen it written: the next turn reads it */
    int wake_fd;                    /* eventfd */

    /* for pen_link_wait; written by the turning thread */
    _Atomic int poll_fd;            /* the stream's, or -1 */
    _Atomic bool refused;           /* the owner had no room for the frame that comes next */
    _Atomic bool more;              /* the last turn has left what had come */
    _Atomic uint64_t unacked_since; /* ns; 0: nothing but acknowledgements has come since the last */

    pthread_mutex_t bulk_lock;
    void *bulk; /* where the next of the bytes goes that come; guarded by bulk_lock, or the owner's lock in frame() */
    uint64_t bulk_offset; /* of the arena range that it is, or stands for; guarded by bulk_lock */

    /* the turning thread's */
    struct pen_frame_reader reader;
    uint64_t bulk_left;
    unsigned char *packed; /* where the next goes of those that come packed, for `bulk`; NULL: they come as they are */
    bool in_bulk, after_bulk;
    uint64_t received, acked;
    uint64_t best_part_ns; /* of a round trip, as BURST_ROUND_TRIP; 0: unknown */
};

int pen_link_create(const struct pen_link_owner *owner, struct pen_link **out_link)
{
    struct pen_link *link = calloc(1, sizeof *link);
    if (!link)
        return -PEN_ENOMEM;
    link->owner = *owner;
    link->part_bytes = PART_LEAST;
    atomic_store(&link->burst_ns, BURST_NS);
    atomic_store(&link->poll_fd, -1);
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
    while (link->first) {
        struct piece *next = link->first->next;
        free(link->first);
        link->first = next;
    }
    while (link->beside) {
        struct range *next = link->beside->next;
        free(link->beside);
        link->beside = next;
    }
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

void pen_link_forked(struct pen_link *link)
{
    if (link->stream)
        close(link->stream->fd);
    close(link->wake_fd);
}

void pen_link_kick(struct pen_link *link)
{
    const uint64_t one = 1;
    if (atomic_exchange(&link->kicked, true))
        return;
    ssize_t ignored = write(link->wake_fd, &one, sizeof one);
    (void)ignored; /* full: it is awake already */
}

/* ---- what is kept ------------------------------------------------------------------------------------ */

static struct piece *new_piece(size_t capacity)
{
    struct piece *piece = malloc(sizeof *piece + capacity);
    if (!piece)
        return NULL;
    *piece = (struct piece){.capacity = capacity};
    piece->bytes = piece->own;
    return piece;
}

/* Locked. */
static void append_piece(struct pen_link *link, struct piece *piece)
{
    if (link->last)
        link->last->next = piece;
    else
        link->first = piece;
    link->last = piece;
}

/* Locked. A piece has room for a whole frame, or is closed. */
static int append_copy(struct pen_link *link, const void *bytes, size_t size)
{
    struct piece *piece = link->last;
    if (!piece || piece->capacity - (piece->capacity ? piece->size : 0) < size) {
        if (!(piece = new_piece(size > PIECE_BYTES ? size : PIECE_BYTES)))
            return -PEN_ENOMEM;
        append_piece(link, piece);
    }
    memcpy(piece->own + piece->size, bytes, size);
    if (!link->cursor) {
        link->cursor = piece;
        link->cursor_at = piece->size;
    }
    piece->size += size;
    link->added += size;
    link->kept += size;
    return 0;
}

/* Locked. Somebody's bytes, where they lie, as a piece of no capacity. */
static void append_bytes(struct pen_link *link, struct piece *piece, const void *bytes, uint64_t size, uint64_t offset)
{
    append_piece(link, piece);
    piece->bytes = bytes;
    piece->size = size;
    piece->offset = offset;
    if (!link->cursor) {
        link->cursor = piece;
        link->cursor_at = 0;
    }
    link->added += size;
}

/* Locked. */
static bool is_full(const struct pen_link *link)
{
    return link->kept >= PEN_LINK_KEPT_BYTES ||
           (link->beside && link->frames - link->beside->frames_before >= PEN_LINK_AHEAD_BYTES);
}

/* Locked. Who waits for room has it now. */
static void note_room(struct pen_link *link, bool was_full)
{
    if (!was_full || is_full(link))
        return;
    atomic_fetch_add_explicit(&link->room, 1, memory_order_release);
    pen_futex_wake(&link->room, UINT32_MAX, false);
}

/* Locked. Drops pieces that are acknowledged; the last one stays while it may grow. */
static void drop_acknowledged(struct pen_link *link)
{
    uint64_t limit = link->acknowledged < link->sent ? link->acknowledged : link->sent;
    bool full = is_full(link);
    while (link->first && link->first != link->last && link->first != link->cursor &&
           link->base + link->first->size <= limit) {
        struct piece *piece = link->first;
        link->base += piece->size;
        link->kept -= piece->capacity ? piece->size : 0;
        link->first = piece->next;
        free(piece);
    }
    note_room(link, full);
}

/* Locked. */
static void note_unsent(struct pen_link *link)
{
    /* seq_cst: pairs with pen_link_flush. */
    atomic_store(&link->unsent, link->added - link->sent + link->beside_bytes);
}

/* Locked. */
static void add_frames_unsent(struct pen_link *link, uint64_t bytes)
{
    uint64_t before = atomic_load_explicit(&link->frames_unsent, memory_order_relaxed);
    atomic_store_explicit(&link->frames_unsent, before + bytes, memory_order_relaxed);
}

/* Locked. Both, or nothing. */
static int append_with_bulk(struct pen_link *link, const void *frame, size_t size, const void *bulk,
                            uint64_t bulk_bytes, uint64_t offset)
{
    struct piece *piece = NULL;
    if (link->kept >= PEN_LINK_KEPT_MOST)
        return -PEN_ELIMIT;
    if (bulk_bytes && !(piece = new_piece(0)))
        return -PEN_ENOMEM;
    int rc = append_copy(link, frame, size);
    if (rc) {
        free(piece);
        return rc;
    }
    add_frames_unsent(link, size);
    if (piece)
        append_bytes(link, piece, bulk, bulk_bytes, offset);
    return 0;
}

int pen_link_add_bulk(struct pen_link *link, const void *frame, size_t size, const void *bulk, uint64_t bulk_bytes)
{
    pthread_mutex_lock(&link->lock);
    int rc = append_with_bulk(link, frame, size, bulk, bulk_bytes, NO_OFFSET);
    link->frames += size;
    note_unsent(link);
    pthread_mutex_unlock(&link->lock);
    return rc;
}

int pen_link_add(struct pen_link *link, const void *frame, size_t size)
{
    return pen_link_add_bulk(link, frame, size, NULL, 0);
}

/* Locked. How long the next part is, at most. */
static uint64_t next_part_bytes(struct pen_link *link)
{
    link->part_bytes = link->frames == link->part_frames ? 2 * link->part_bytes : PART_LEAST;
    link->part_bytes = link->part_bytes < PART_MOST ? link->part_bytes : PART_MOST;
    link->part_frames = link->frames;
    return link->part_bytes;
}

/* Locked. So many bytes of it have become pieces. */
static void shorten(struct pen_link *link, struct range *range, uint64_t bytes)
{
    link->ranges_end = link->added;
    range->memory += bytes;
    range->offset += bytes;
    range->bytes -= bytes;
}

/* Locked. The first part of the range, of at most so many bytes; what is left of it stays in *range, all of it when
 * that failed. */
static int append_part(struct pen_link *link, struct range *range, uint64_t most)
{
    _Alignas(8) unsigned char frame[64];
    uint64_t bytes = range->bytes < most ? range->bytes : most;
    const struct pen_msg_link_part part = {range->offset, bytes, bytes == range->bytes ? range->number : 0};
    pen_msg_link_part_encode(&part, 0, frame);
    int rc = append_with_bulk(link, frame, pen_msg_link_part_size(&part), range->memory, bytes, range->offset);
    if (!rc)
        shorten(link, range, bytes);
    return rc;
}

/* Locked, but not while it compresses: the range stays first, since the caller has `sending`. The same, packed if that
 * is faster. */
static int append_packed(struct pen_link *link, struct range *range, uint64_t most)
{
    const void *packed;
    size_t size;
    most = most < PEN_LIMIT_BLOCK ? most : PEN_LIMIT_BLOCK;
    uint64_t bytes = range->bytes < most ? range->bytes : most;
    const struct range part = {
        .memory = range->memory, .offset = range->offset, .number = bytes == range->bytes ? range->number : 0};
    link->packing = range;
    pthread_mutex_unlock(&link->lock);
    pen_pack_part(link->pack, part.offset, bytes, part.number, part.memory, &packed, &size);
    pthread_mutex_lock(&link->lock);
    link->packing = NULL;
    if (!size)
        return append_part(link, range, most);
    int rc = append_with_bulk(link, packed, size, NULL, 0, NO_OFFSET);
    if (!rc)
        shorten(link, range, bytes);
    return rc;
}

/* Locked. */
static int put_beside(struct pen_link *link, const struct range *range)
{
    struct range *copy = link->kept < PEN_LINK_KEPT_MOST ? malloc(sizeof *copy) : NULL;
    if (!copy)
        return -PEN_ENOMEM;
    *copy = *range;
    copy->frames_before = link->frames;
    if (link->beside)
        link->beside_last->next = copy;
    else
        link->beside = copy;
    link->beside_last = copy;
    link->beside_bytes += copy->bytes;
    link->kept += sizeof *copy;
    return 0;
}

/* Locked. Some of the first of what goes beside. */
static int append_next(struct pen_link *link)
{
    uint64_t most = next_part_bytes(link);
    struct range *range = link->beside;
    bool pack = link->pack && pen_pack_wants(link->pack, range->bytes < most ? range->bytes : most);
    return pack ? append_packed(link, range, most) : append_part(link, range, most);
}

/* Locked, but see append_packed. Makes pieces of what goes beside, while few bytes are left to send and *budget lasts.
 * Without memory: at another time. */
static void append_beside(struct pen_link *link, uint64_t *budget)
{
    bool full = is_full(link);
    while (link->beside && *budget && link->added - link->sent < LEFT_BYTES) {
        struct range *range = link->beside;
        uint64_t before = range->bytes;
        if (append_next(link))
            break;
        uint64_t bytes = before - range->bytes;
        link->beside_bytes -= bytes;
        *budget -= bytes < *budget ? bytes : *budget;
        if (range->bytes)
            continue;
        link->beside = range->next;
        link->kept -= sizeof *range;
        free(range);
        if (link->range_left)
            link->range_left(link->owner.context);
    }
    note_room(link, full);
}

int pen_link_add_range(struct pen_link *link, const void *memory, uint64_t offset, uint64_t bytes, uint64_t number)
{
    struct range range = {.memory = memory, .offset = offset, .bytes = bytes, .number = number};
    int rc = 0;
    pthread_mutex_lock(&link->lock);
    if (number)
        rc = put_beside(link, &range);
    while (!number && range.bytes && !rc)
        rc = append_part(link, &range, next_part_bytes(link));
    note_unsent(link);
    pthread_mutex_unlock(&link->lock);
    return rc;
}

/* What link_part and link_packed both say. */
static int decode_part(const void *frame, size_t size, struct pen_msg_link_part *out)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_link_packed packed;
    if (((const struct pen_frame_header *)frame)->opcode == PEN_OP_LINK_PART)
        return pen_msg_link_part_decode(frame, size, &scratch, out);
    int rc = pen_msg_link_packed_decode(frame, size, &scratch, &packed);
    if (!rc)
        *out = (struct pen_msg_link_part){packed.offset, packed.bytes, packed.number};
    return rc;
}

int pen_link_take_part(const void *frame, size_t size, unsigned char *arena, uint64_t arena_bytes, void **out_bulk,
                       uint64_t *out_bulk_bytes, uint64_t *out_number)
{
    struct pen_msg_link_part part;
    if (decode_part(frame, size, &part) || !pen_arena_range_ok(arena_bytes, part.offset, part.bytes))
        return -PEN_EPROTO;
    *out_bulk = arena + part.offset;
    *out_bulk_bytes = part.bytes;
    *out_number = part.number;
    return 0;
}

uint64_t pen_link_unsent(struct pen_link *link)
{
    return atomic_load_explicit(&link->frames_unsent, memory_order_relaxed);
}

uint64_t pen_link_unacknowledged(struct pen_link *link)
{
    pthread_mutex_lock(&link->lock);
    uint64_t bytes = link->added - link->acknowledged;
    pthread_mutex_unlock(&link->lock);
    return bytes;
}

uint64_t pen_link_beside(struct pen_link *link)
{
    pthread_mutex_lock(&link->lock);
    uint64_t bytes = link->beside_bytes;
    pthread_mutex_unlock(&link->lock);
    return bytes;
}

void pen_link_tell_left(struct pen_link *link, void (*left)(void *context))
{
    link->range_left = left;
}

bool pen_link_has_delivered(struct pen_link *link)
{
    pthread_mutex_lock(&link->lock);
    bool delivered = !link->beside && link->acknowledged >= link->ranges_end;
    pthread_mutex_unlock(&link->lock);
    return delivered;
}

bool pen_link_wait_room(struct pen_link *link, uint64_t timeout_ns)
{
    /* Acquire: `kept` is looked at after it. */
    uint32_t room = atomic_load_explicit(&link->room, memory_order_acquire);
    pthread_mutex_lock(&link->lock);
    bool full = is_full(link);
    pthread_mutex_unlock(&link->lock);
    return !full || (pen_futex_wait(&link->room, room, timeout_ns, false) &&
                     atomic_load_explicit(&link->room, memory_order_acquire) != room);
}

/* ---- sending ----------------------------------------------------------------------------------------- */

/* Locked. */
static int gather(const struct pen_link *link, struct iovec *parts)
{
    uint64_t skip = link->cursor_at;
    int count = 0;
    for (const struct piece *piece = link->cursor; piece && count < GATHER; piece = piece->next, skip = 0)
        if (piece->size > skip)
            parts[count++] = (struct iovec){(void *)(uintptr_t)(piece->bytes + skip), (size_t)(piece->size - skip)};
    return count;
}

/* Locked. */
static void advance(struct pen_link *link, uint64_t bytes)
{
    uint64_t frames = 0;
    link->sent += bytes;
    while (bytes && link->cursor) {
        uint64_t left = link->cursor->size - link->cursor_at, taken = bytes < left ? bytes : left;
        frames += link->cursor->capacity ? taken : 0;
        bytes -= taken;
        link->cursor_at += taken;
        if (taken < left)
            break;
        link->cursor = link->cursor->next;
        link->cursor_at = 0;
    }
    add_frames_unsent(link, -frames);
    drop_acknowledged(link);
    note_unsent(link);
}

/* The caller has `sending`. Until all is sent, or the socket takes no more, or of what goes beside *budget bytes are
 * under way. */
static enum left send_all(struct pen_link *link, uint64_t *budget)
{
    struct iovec parts[GATHER];
    for (;;) {
        pthread_mutex_lock(&link->lock);
        struct pen_stream *stream = link->stream;
        append_beside(link, budget);
        int count = gather(link, parts);
        bool beside = link->beside;
        uint64_t acknowledged = link->acknowledged;
        pthread_mutex_unlock(&link->lock);
        if (!count && !beside && link->pack)
            pen_pack_idle(link->pack);
        if (!stream)
            return count || beside ? LEFT_FOR_SOCKET : LEFT_NOTHING;
        if (!count)
            return !beside ? LEFT_NOTHING : *budget ? LEFT_FOR_MEMORY : LEFT_FOR_SOCKET;
        ssize_t taken = stream->ops->send(stream, parts, count);
        if (taken == 0 && link->pack)
            pen_pack_blocked(link->pack, acknowledged);
        if (taken <= 0) {
            atomic_store(&link->broken, taken < 0);
            return LEFT_FOR_SOCKET;
        }
        pthread_mutex_lock(&link->lock);
        advance(link, (uint64_t)taken);
        pthread_mutex_unlock(&link->lock);
    }
}

static bool take_sending(struct pen_link *link)
{
    return !atomic_exchange(&link->sending, 1);
}

/* True when all is sent, or will be by another. Whoever finds another sending leaves it to him: he looks at `unsent`
 * once more after he has stopped (Dekker: unsent; sending here, sending; unsent there). */
static bool flush(struct pen_link *link, uint64_t budget)
{
    enum left left = LEFT_NOTHING;
    while (left == LEFT_NOTHING && atomic_load(&link->unsent)) {
        if (!take_sending(link))
            return true;
        left = send_all(link, &budget);
        atomic_store(&link->left, left);
        atomic_store(&link->sending, 0);
    }
    return left == LEFT_NOTHING;
}

void pen_link_flush(struct pen_link *link)
{
    if (!flush(link, 0))     /* not more than that: whoever sends has other things to do */
        pen_link_kick(link); /* the turning thread waits for room, or detaches. Not before we have stopped sending. */
}

void pen_link_flush_burst(struct pen_link *link)
{
    uint64_t now = pen_now_ns(), last = atomic_load_explicit(&link->burst_at, memory_order_relaxed);
    uint64_t gather_ns = atomic_load_explicit(&link->burst_ns, memory_order_relaxed);
    if (now - last >= gather_ns) {
        atomic_store_explicit(&link->burst_at, now, memory_order_relaxed);
        pen_link_flush(link);
    } else if (gather_ns == BURST_NS || !atomic_exchange(&link->due, last + 2 * gather_ns)) {
        pen_link_kick(link);
    }
}

/* Nothing but frames of a burst is left to send, and it is not time yet. Else whoever turns sends now. Whoever adds to
 * it after `due` is 0 kicks once more (Dekker: unsent, due there; due here, unsent in flush). */
static bool is_gathering(struct pen_link *link)
{
    uint64_t due = atomic_load(&link->due);
    if (!due)
        return false;
    if (atomic_load(&link->left) == LEFT_NOTHING && pen_now_ns() < due &&
        atomic_load(&link->unsent) == atomic_load_explicit(&link->frames_unsent, memory_order_relaxed))
        return true;
    atomic_store(&link->due, 0);
    return false;
}

/* The network's best is what counts: when it is busy, its queues make round trips longer. */
static void note_round_trip(struct pen_link *link, const struct pen_stream *stream)
{
    uint64_t part_ns = pen_stream_round_trip_ns(stream) / BURST_ROUND_TRIP;
    if (!part_ns || (link->best_part_ns && link->best_part_ns <= part_ns))
        return;
    link->best_part_ns = part_ns;
    atomic_store_explicit(&link->burst_ns, part_ns > BURST_NS ? part_ns : BURST_NS, memory_order_relaxed);
}

static void wait_for_sending(struct pen_link *link)
{
    for (uint32_t turn = 0; !take_sending(link); turn++)
        pen_spin_turn(turn);
}

void pen_link_send(struct pen_link *link)
{
    (void)flush(link, TURN_BYTES); /* what is left then, another turn sends */
}

/* ---- letting go -------------------------------------------------------------------------------------- */

/* Bytes of somebody's that stand for a range of the arena, and what is to take their place. */
struct swap {
    const unsigned char *memory;
    uint64_t offset, bytes;
    unsigned char *instead;
};

/* The same memory may stand for other ranges, too, and these stay. */
static bool is_among(const struct swap *swap, const unsigned char *at, uint64_t offset)
{
    uint64_t distance = (uintptr_t)at - (uintptr_t)swap->memory;
    return distance < swap->bytes && offset - swap->offset == distance;
}

/* Locked. What is not sent yet may be in the hands of the sending thread: it stays, unless the caller has `sending`.
 * True when nothing has stayed. */
static bool swap_sent_from(struct pen_link *link, const struct swap *swap, bool sending)
{
    bool sent = link->cursor != link->first, all = true;
    for (struct piece *piece = link->first; piece; piece = piece->next) {
        sent = sent && piece != link->cursor;
        if (piece->capacity || !is_among(swap, piece->bytes, piece->offset))
            continue;
        if (sent || sending)
            piece->bytes = swap->instead + (piece->bytes - swap->memory);
        else
            all = false;
    }
    for (struct range *range = link->beside; range; range = range->next) {
        if (!is_among(swap, range->memory, range->offset))
            continue;
        if (range == link->packing)
            all = false;
        else
            range->memory = swap->instead + (range->memory - swap->memory);
    }
    return all;
}

static void swap_received_into(struct pen_link *link, const struct swap *swap)
{
    pthread_mutex_lock(&link->bulk_lock);
    if (is_among(swap, link->bulk, link->bulk_offset))
        link->bulk = swap->instead + ((unsigned char *)link->bulk - swap->memory);
    pthread_mutex_unlock(&link->bulk_lock);
}

void pen_link_let_go(struct pen_link *link, const void *memory, uint64_t offset, uint64_t bytes, void *instead)
{
    const struct swap swap = {memory, offset, bytes, instead};
    swap_received_into(link, &swap);
    pthread_mutex_lock(&link->lock);
    bool all = swap_sent_from(link, &swap, false);
    pthread_mutex_unlock(&link->lock);
    if (all)
        return;
    wait_for_sending(link);
    pthread_mutex_lock(&link->lock);
    (void)swap_sent_from(link, &swap, true);
    pthread_mutex_unlock(&link->lock);
    atomic_store(&link->sending, 0);
    pen_link_flush(link); /* what others have left to us */
}

/* ---- connections ------------------------------------------------------------------------------------- */

uint64_t pen_link_received(const struct pen_link *link)
{
    return link->received;
}

void pen_link_detach(struct pen_link *link)
{
    wait_for_sending(link);
    pthread_mutex_lock(&link->lock);
    struct pen_stream *stream = link->stream;
    link->stream = NULL;
    pthread_mutex_unlock(&link->lock);
    atomic_store(&link->poll_fd, -1);
    atomic_store(&link->broken, false);
    atomic_store(&link->sending, 0);
    pen_stream_destroy(stream);
}

/* Locked. */
static void rewind_to(struct pen_link *link, uint64_t peer_received)
{
    uint64_t at = link->base;
    link->cursor = link->first;
    while (link->cursor && at + link->cursor->size <= peer_received) {
        at += link->cursor->size;
        link->cursor = link->cursor->next;
    }
    link->cursor_at = peer_received - at;
    link->sent = peer_received;
    if (link->acknowledged < peer_received)
        link->acknowledged = peer_received;
    uint64_t frames = 0;
    for (const struct piece *piece = link->cursor; piece; piece = piece->next)
        frames += piece->capacity ? piece->size - (piece == link->cursor ? link->cursor_at : 0) : 0;
    atomic_store_explicit(&link->frames_unsent, frames, memory_order_relaxed);
    note_unsent(link);
}

int pen_link_attach(struct pen_link *link, struct pen_stream *stream, uint64_t peer_received)
{
    pen_link_detach(link);
    wait_for_sending(link);
    pthread_mutex_lock(&link->lock);
    /* All that it has was sent once, but an acknowledgement may not have come. */
    int rc = peer_received < link->acknowledged || peer_received > link->added ? -PEN_EPROTO : 0;
    if (!rc) {
        rewind_to(link, peer_received);
        link->stream = stream;
        atomic_store(&link->poll_fd, stream->fd);
        link->acked = link->received;
        link->unacked_since = 0;
        note_round_trip(link, stream);
    }
    pthread_mutex_unlock(&link->lock);
    atomic_store(&link->sending, 0);
    if (rc)
        pen_stream_destroy(stream);
    return rc;
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

/* ---- receiving --------------------------------------------------------------------------------------- */

static int take_ack(struct pen_link *link, const void *frame, size_t size)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_link_ack ack;
    int rc = pen_msg_link_ack_decode(frame, size, &scratch, &ack);
    pen_scratch_finish(&scratch);
    if (rc)
        return rc;
    pthread_mutex_lock(&link->lock);
    if (ack.received > link->added) {
        rc = -PEN_EPROTO;
    } else if (ack.received > link->acknowledged) {
        link->acknowledged = ack.received;
        drop_acknowledged(link);
    }
    pthread_mutex_unlock(&link->lock);
    note_round_trip(link, link->stream);
    return rc;
}

/* Something that wants an acknowledgement. */
static void note_received(struct pen_link *link)
{
    if (!link->unacked_since)
        link->unacked_since = pen_now_ns();
}

/* What the frame said of what follows it. */
static int expect_bulk(struct pen_link *link, const void *frame, size_t size, uint64_t bytes)
{
    void *packed = NULL;
    bool is_packed = ((const struct pen_frame_header *)frame)->opcode == PEN_OP_LINK_PACKED;
    int rc = is_packed ? pen_pack_expect(link->pack, frame, size, &packed, &bytes) : 0;
    if (rc)
        return rc;
    link->in_bulk = link->after_bulk = bytes != 0;
    link->bulk_left = bytes;
    link->packed = packed;
    return 0;
}

static bool is_part(uint16_t opcode)
{
    return opcode == PEN_OP_LINK_PART || opcode == PEN_OP_LINK_PACKED;
}

/* Which range of the arena comes after the part. */
static void expect_part(struct pen_link *link, const void *frame, size_t size)
{
    struct pen_msg_link_part part = {.offset = NO_OFFSET};
    (void)decode_part(frame, size, &part); /* the owner refuses a malformed one */
    pthread_mutex_lock(&link->bulk_lock);
    link->bulk = NULL;
    link->bulk_offset = part.offset;
    pthread_mutex_unlock(&link->bulk_lock);
}

static int take_frame(struct pen_link *link, const void *frame, size_t size)
{
    uint16_t opcode = ((const struct pen_frame_header *)frame)->opcode;
    if (opcode == PEN_OP_LINK_ACK)
        return take_ack(link, frame, size);
    if (opcode == PEN_OP_LINK_PACKED && !link->pack)
        return -PEN_EPROTO;
    uint64_t bulk_bytes = 0;
    if (is_part(opcode))
        expect_part(link, frame, size);
    int rc = link->owner.frame(link->owner.context, frame, size, &link->bulk, &bulk_bytes);
    link->refused = rc == PEN_LINK_LATER;
    if (!rc)
        rc = expect_bulk(link, frame, size, bulk_bytes);
    if (!rc)
        note_received(link);
    return rc;
}

/* All of it is there. */
static int unpack(struct pen_link *link)
{
    pthread_mutex_lock(&link->bulk_lock);
    int rc = pen_pack_unpack(link->pack, link->bulk);
    pthread_mutex_unlock(&link->bulk_lock);
    return rc;
}

static int bulk_came(struct pen_link *link, uint64_t bytes)
{
    note_received(link);
    link->bulk_left -= bytes;
    if (link->bulk_left)
        return 0;
    link->in_bulk = false;
    int rc = link->packed ? unpack(link) : 0;
    return rc || !link->owner.bulk ? rc : link->owner.bulk(link->owner.context);
}

/* Under bulk_lock. Where the next of what comes goes; then, that so many have come. */
static void *bulk_place(const struct pen_link *link)
{
    return link->packed ? link->packed : link->bulk;
}

static void bulk_placed(struct pen_link *link, uint64_t bytes)
{
    if (link->packed)
        link->packed += bytes;
    else {
        link->bulk = (unsigned char *)link->bulk + bytes;
        link->bulk_offset += bytes;
    }
}

/* What the reader holds of the bulk. */
static int take_buffered_bulk(struct pen_link *link)
{
    struct pen_frame_reader *reader = &link->reader;
    uint64_t bytes = reader->end - reader->start;
    if (bytes > link->bulk_left)
        bytes = link->bulk_left;
    pthread_mutex_lock(&link->bulk_lock);
    memcpy(bulk_place(link), reader->buffer + reader->start, bytes);
    bulk_placed(link, bytes);
    pthread_mutex_unlock(&link->bulk_lock);
    reader->start += bytes;
    pen_frame_reader_align(reader);
    return bulk_came(link, bytes);
}

/* All that is buffered. 0: more bytes are needed, or room. */
static int digest(struct pen_link *link)
{
    for (;;) {
        const void *frame;
        size_t size, start = link->reader.start;
        int rc;
        if (link->in_bulk) {
            if (link->reader.end == link->reader.start)
                return 0;
            rc = take_buffered_bulk(link);
        } else {
            rc = pen_frame_reader_next(&link->reader, &frame, &size);
            if (rc == 0)
                return 0;
            if (rc > 0)
                rc = take_frame(link, frame, size);
        }
        if (rc == PEN_LINK_LATER) {
            link->reader.start = start;
            return 0;
        }
        if (rc)
            return rc;
    }
}

/* One read from the socket: bytes, 0 when there is nothing, or an error. */
static ssize_t receive_bulk(struct pen_link *link)
{
    struct pen_stream *stream = link->stream;
    pthread_mutex_lock(&link->bulk_lock);
    ssize_t got = stream->ops->receive(stream, bulk_place(link), link->bulk_left);
    if (got > 0)
        bulk_placed(link, (uint64_t)got);
    pthread_mutex_unlock(&link->bulk_lock);
    if (got <= 0)
        return got;
    link->received += (uint64_t)got;
    int rc = bulk_came(link, (uint64_t)got);
    return rc ? rc : got;
}

/* The same. */
static ssize_t receive_frames(struct pen_link *link)
{
    struct pen_stream *stream = link->stream;
    void *at;
    size_t space;
    int rc = pen_frame_reader_space(&link->reader, &at, &space);
    if (rc)
        return rc;
    ssize_t got = stream->ops->receive(stream, at, link->after_bulk && space > HEAD_BYTES ? HEAD_BYTES : space);
    if (got > 0) {
        link->received += (uint64_t)got;
        pen_frame_reader_filled(&link->reader, (size_t)got);
        rc = digest(link);
    }
    return rc ? rc : got;
}

/* Says how much has come, if it is time. The acknowledgement itself is not acknowledged. */
static int acknowledge(struct pen_link *link)
{
    if (!link->unacked_since ||
        (link->received - link->acked < ACK_BYTES && pen_now_ns() - link->unacked_since < ACK_NS))
        return 0;
    _Alignas(8) unsigned char frame[64];
    const struct pen_msg_link_ack ack = {.received = link->received};
    pen_msg_link_ack_encode(&ack, 0, frame);
    link->acked = link->received;
    link->unacked_since = 0;
    return pen_link_add(link, frame, pen_msg_link_ack_size(&ack));
}

void pen_link_wait(struct pen_link *link, uint64_t timeout_ns)
{
    bool refused = atomic_load(&link->refused);
    uint32_t left = atomic_load(&link->left);
    short events = (short)((refused ? 0 : POLLIN) | (left == LEFT_FOR_SOCKET ? POLLOUT : 0));
    struct pollfd fds[2] = {{.fd = events ? atomic_load(&link->poll_fd) : -1, .events = events},
                            {.fd = link->wake_fd, .events = POLLIN}};
    uint64_t ns = timeout_ns, due = atomic_load(&link->due), now = due ? pen_now_ns() : 0;
    if (atomic_load(&link->more) || (due && now >= due))
        return;
    if (due && ns > due - now)
        ns = due - now;
    if (atomic_load(&link->unacked_since) && ns > ACK_NS)
        ns = ACK_NS;
    if (refused && ns > AGAIN_NS)
        ns = AGAIN_NS;
    if (left == LEFT_FOR_MEMORY && ns > SHORT_NS)
        ns = SHORT_NS;
    const struct timespec limit = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    if (ppoll(fds, 2, ns == UINT64_MAX ? NULL : &limit, NULL) > 0 && fds[1].revents)
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

/* What has come, up to TURN_BYTES. 0, or an error. */
static ssize_t receive_turn(struct pen_link *link)
{
    ssize_t got = link->refused ? digest(link) : 0;
    uint64_t limit = link->received + TURN_BYTES;
    bool more = false;
    while (got >= 0 && link->stream && !link->refused && !atomic_load(&link->broken)) {
        more = link->received >= limit; /* a stream may hold bytes that its socket does not show */
        if (more || (got = link->in_bulk ? receive_bulk(link) : receive_frames(link)) == 0)
            break;
    }
    atomic_store(&link->more, more);
    return got < 0 ? got : 0;
}

int pen_link_turn(struct pen_link *link)
{
    take_kick(link);
    ssize_t got = atomic_load(&link->broken) ? 0 : receive_turn(link);
    if (got < 0 && got != -PEN_EGONE)
        return (int)got;
    if (got == -PEN_EGONE || atomic_load(&link->broken)) {
        pen_link_detach(link);
        return -PEN_EGONE;
    }
    int rc = acknowledge(link);
    if (!is_gathering(link))
        pen_link_send(link);
    return rc;
}
