/* What a link keeps: a list of pieces, which are copied bytes, or a range of somebody's. `sent` goes through it, from
 * `acknowledged` on; pieces before both are dropped. Pieces only grow at their end, so what the sending thread has
 * gathered stays where it is. Ranges that go beside the frames are in a list of their own (`beside`), and become pieces
 * a part at a time, when few bytes are left to send: a frame never waits for more than that. */
#include <stdlib.h>
#include <string.h>

#include "net/link_state.h"
#include "net/pack.h"
#include "penstock-protocol.h"
#include "wire/futex.h"

/* Bytes of copied frames in one piece. */
#define PIECE_BYTES 65536u
/* Bytes of an arena range sent as one part: the least while frames come between, else more and more. */
#define PART_LEAST (UINT64_C(64) << 10)
#define PART_MOST  (UINT64_C(1) << 20)
/* A part of what goes beside is added when less than this is left to send. */
#define LEFT_BYTES (UINT64_C(128) << 10)

struct pen_piece {
    struct pen_piece *next;
    const unsigned char *bytes;
    uint64_t size;
    uint64_t offset; /* of somebody's bytes: of the arena range that they are, or stand for */
    size_t capacity; /* of `own`; 0: the bytes are somebody's */
    unsigned char own[];
};

/* A range of an arena that goes beside the frames. */
struct pen_range {
    struct pen_range *next;
    const unsigned char *memory; /* where the bytes lie that are left */
    uint64_t offset, bytes, number;
    uint64_t frames_before; /* link->frames when it was added */
};

void pen_link_init_kept(struct pen_link *link)
{
    link->part_bytes = PART_LEAST;
}

void pen_link_finish_kept(struct pen_link *link)
{
    while (link->first) {
        struct pen_piece *next = link->first->next;
        free(link->first);
        link->first = next;
    }
    while (link->beside) {
        struct pen_range *next = link->beside->next;
        free(link->beside);
        link->beside = next;
    }
}

/* ---- frames ------------------------------------------------------------------------------------------ */

static struct pen_piece *new_piece(size_t capacity)
{
    struct pen_piece *piece = malloc(sizeof *piece + capacity);
    if (!piece)
        return NULL;
    *piece = (struct pen_piece){.capacity = capacity};
    piece->bytes = piece->own;
    return piece;
}

/* Locked. */
static void append_piece(struct pen_link *link, struct pen_piece *piece)
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
    struct pen_piece *piece = link->last;
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
static void append_bytes(struct pen_link *link, struct pen_piece *piece, const void *bytes, uint64_t size,
                         uint64_t offset)
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

/* The last one stays while it may grow. */
void pen_link_drop_kept(struct pen_link *link)
{
    uint64_t limit = link->acknowledged < link->sent ? link->acknowledged : link->sent;
    bool full = is_full(link);
    while (link->first && link->first != link->last && link->first != link->cursor &&
           link->base + link->first->size <= limit) {
        struct pen_piece *piece = link->first;
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
    struct pen_piece *piece = NULL;
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

int pen_link_add(struct pen_link *link, const void *frame, size_t size)
{
    pthread_mutex_lock(&link->lock);
    int rc = append_with_bulk(link, frame, size, NULL, 0, 0);
    link->frames += size;
    note_unsent(link);
    pthread_mutex_unlock(&link->lock);
    return rc;
}

/* ---- ranges ------------------------------------------------------------------------------------------ */

/* Locked. How long the next part is, at most. */
static uint64_t next_part_bytes(struct pen_link *link)
{
    link->part_bytes = link->frames == link->part_frames ? 2 * link->part_bytes : PART_LEAST;
    link->part_bytes = link->part_bytes < PART_MOST ? link->part_bytes : PART_MOST;
    link->part_frames = link->frames;
    return link->part_bytes;
}

/* Locked. So many bytes of it have become pieces. */
static void shorten(struct pen_link *link, struct pen_range *range, uint64_t bytes)
{
    link->ranges_end = link->added;
    range->memory += bytes;
    range->offset += bytes;
    range->bytes -= bytes;
}

/* Locked. The first part of the range, of at most so many bytes; what is left of it stays in *range, all of it when
 * that failed. */
static int append_part(struct pen_link *link, struct pen_range *range, uint64_t most)
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

/* Locked, but not while it compresses: the range stays first, since nobody else sends. The same, packed if that
 * is faster. */
static int append_packed(struct pen_link *link, struct pen_range *range, uint64_t most)
{
    const void *packed;
    size_t size;
    most = most < PEN_LIMIT_BLOCK ? most : PEN_LIMIT_BLOCK;
    uint64_t bytes = range->bytes < most ? range->bytes : most;
    const struct pen_range part = {
        .memory = range->memory, .offset = range->offset, .number = bytes == range->bytes ? range->number : 0};
    link->packing = range;
    pthread_mutex_unlock(&link->lock);
    pen_pack_part(link->pack, part.offset, bytes, part.number, part.memory, &packed, &size);
    pthread_mutex_lock(&link->lock);
    link->packing = NULL;
    if (!size)
        return append_part(link, range, most);
    int rc = append_with_bulk(link, packed, size, NULL, 0, 0);
    if (!rc)
        shorten(link, range, bytes);
    return rc;
}

/* Locked. */
static int put_beside(struct pen_link *link, const struct pen_range *range)
{
    struct pen_range *copy = link->kept < PEN_LINK_KEPT_MOST ? malloc(sizeof *copy) : NULL;
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
    struct pen_range *range = link->beside;
    bool pack = link->pack && pen_pack_wants(link->pack, range->bytes < most ? range->bytes : most);
    return pack ? append_packed(link, range, most) : append_part(link, range, most);
}

void pen_link_append_beside(struct pen_link *link, uint64_t *budget)
{
    bool full = is_full(link);
    while (link->beside && *budget && link->added - link->sent < LEFT_BYTES) {
        struct pen_range *range = link->beside;
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
    struct pen_range range = {.memory = memory, .offset = offset, .bytes = bytes, .number = number};
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

/* ---- what is sent, and what has arrived -------------------------------------------------------------- */

int pen_link_gather(const struct pen_link *link, struct iovec *parts)
{
    uint64_t skip = link->cursor_at;
    int count = 0;
    for (const struct pen_piece *piece = link->cursor; piece && count < PEN_LINK_GATHER; piece = piece->next, skip = 0)
        if (piece->size > skip)
            parts[count++] = (struct iovec){(void *)(uintptr_t)(piece->bytes + skip), (size_t)(piece->size - skip)};
    return count;
}

void pen_link_advance(struct pen_link *link, uint64_t bytes)
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
    pen_link_drop_kept(link);
    note_unsent(link);
}

void pen_link_rewind(struct pen_link *link, uint64_t peer_received)
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
    for (const struct pen_piece *piece = link->cursor; piece; piece = piece->next)
        frames += piece->capacity ? piece->size - (piece == link->cursor ? link->cursor_at : 0) : 0;
    atomic_store_explicit(&link->frames_unsent, frames, memory_order_relaxed);
    note_unsent(link);
}

/* ---- how much ---------------------------------------------------------------------------------------- */

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

/* ---- letting go -------------------------------------------------------------------------------------- */

bool pen_link_swap_sent(struct pen_link *link, const struct pen_swap *swap, bool sending)
{
    bool sent = link->cursor != link->first, all = true;
    for (struct pen_piece *piece = link->first; piece; piece = piece->next) {
        sent = sent && piece != link->cursor;
        if (piece->capacity || !pen_swap_has(swap, piece->bytes, piece->offset))
            continue;
        if (sent || sending)
            piece->bytes = swap->instead + (piece->bytes - swap->memory);
        else
            all = false;
    }
    for (struct pen_range *range = link->beside; range; range = range->next) {
        if (!pen_swap_has(swap, range->memory, range->offset))
            continue;
        if (range == link->packing)
            all = false;
        else
            range->memory = swap->instead + (range->memory - swap->memory);
    }
    return all;
}
