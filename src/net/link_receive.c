/* A link's receiving: frames, and after some of them the bytes of a part of a range, each where it goes. The turning
 * thread's. */
#include <stdlib.h>
#include <string.h>

#include "net/link_state.h"
#include "net/pack.h"
#include "penstock-protocol.h"
#include "wire/futex.h"

/* Read at once after a part, since most of what comes then is another's, and goes elsewhere. */
#define HEAD_BYTES 1024u

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
        pen_link_drop_kept(link);
    }
    pthread_mutex_unlock(&link->lock);
    pen_link_note_round_trip(link, link->stream);
    return rc;
}

/* Something that wants an acknowledgement. */
static void note_received(struct pen_link *link)
{
    if (!link->unacked_since)
        link->unacked_since = pen_now_ns();
}

/* So many bytes follow the frame; packed ones go to `packed` first. */
static void expect_bulk(struct pen_link *link, uint64_t bytes, void *packed)
{
    link->in_bulk = link->after_bulk = bytes != 0;
    link->bulk_left = bytes;
    link->packed = packed;
}

/* The owner says where they go in the end. */
static int ask_place(struct pen_link *link, const struct pen_msg_link_part *part)
{
    pthread_mutex_lock(&link->bulk_lock);
    link->bulk = NULL;
    link->bulk_offset = part->offset;
    pthread_mutex_unlock(&link->bulk_lock);
    return link->owner.part(link->owner.context, part, &link->bulk);
}

static int take_part(struct pen_link *link, const void *frame, size_t size)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_link_part part;
    if (link->put_off_forget)
        return PEN_LINK_LATER;
    int rc = pen_msg_link_part_decode(frame, size, &scratch, &part);
    pen_scratch_finish(&scratch);
    if (!rc)
        rc = ask_place(link, &part);
    if (!rc)
        expect_bulk(link, part.bytes, NULL);
    return rc;
}

static int take_packed(struct pen_link *link, const void *frame, size_t size)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_link_packed packed;
    void *at;
    if (link->put_off_forget)
        return PEN_LINK_LATER;
    int rc = link->pack ? pen_msg_link_packed_decode(frame, size, &scratch, &packed) : -PEN_EPROTO;
    pen_scratch_finish(&scratch);
    if (rc)
        return rc;
    const struct pen_msg_link_part part = {packed.offset, packed.bytes, packed.number};
    if ((rc = ask_place(link, &part)) || (rc = pen_pack_expect(link->pack, &packed, &at)))
        return rc;
    expect_bulk(link, packed.packed, at);
    return 0;
}

/* Memory, of what is put off. */
static uint64_t bytes_of(const struct pen_put_off *kept)
{
    return sizeof *kept + kept->size;
}

/* The reader stands behind it. PEN_LINK_LATER: there is no room, or no memory. */
static int put_off(struct pen_link *link, const void *frame, size_t size)
{
    struct pen_put_off *kept = link->put_off_bytes < PEN_LINK_PUT_OFF_BYTES ? malloc(sizeof *kept + size) : NULL;
    if (!kept)
        return PEN_LINK_LATER;
    *kept = (struct pen_put_off){.at = link->received - (link->reader.end - link->reader.start) - size, .size = size};
    memcpy(kept->frame, frame, size);
    if (link->put_off)
        link->put_off_last->next = kept;
    else
        link->put_off = kept;
    link->put_off_last = kept;
    link->put_off_bytes += bytes_of(kept);
    link->put_off_forget |= ((const struct pen_frame_header *)frame)->opcode == PEN_OP_LINK_FORGET;
    atomic_store(&link->keeps, true);
    return 0;
}

/* The first of them is not needed any more. */
static void drop_first(struct pen_link *link)
{
    struct pen_put_off *first = link->put_off;
    link->put_off = first->next;
    link->put_off_bytes -= bytes_of(first);
    free(first);
    if (link->put_off)
        return;
    link->put_off_forget = false;
    atomic_store(&link->keeps, false);
}

void pen_link_drop_put_off(struct pen_link *link)
{
    while (link->put_off)
        drop_first(link);
}

/* As many as there is room for now. */
static int offer_put_off(struct pen_link *link)
{
    while (link->put_off) {
        int rc = link->owner.frame(link->owner.context, link->put_off->frame, link->put_off->size);
        if (rc)
            return rc == PEN_LINK_KEEP || rc == PEN_LINK_LATER ? 0 : rc;
        drop_first(link);
    }
    return 0;
}

static int take_other(struct pen_link *link, const void *frame, size_t size)
{
    int rc = link->put_off ? PEN_LINK_KEEP : link->owner.frame(link->owner.context, frame, size);
    if (rc == PEN_LINK_KEEP)
        rc = put_off(link, frame, size);
    if (!rc)
        expect_bulk(link, 0, NULL);
    return rc;
}

static int take_frame(struct pen_link *link, const void *frame, size_t size)
{
    uint16_t opcode = ((const struct pen_frame_header *)frame)->opcode;
    if (opcode == PEN_OP_LINK_ACK)
        return take_ack(link, frame, size);
    int rc = opcode == PEN_OP_LINK_PART     ? take_part(link, frame, size)
             : opcode == PEN_OP_LINK_PACKED ? take_packed(link, frame, size)
                                            : take_other(link, frame, size);
    link->refused = rc == PEN_LINK_LATER;
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

int pen_link_acknowledge(struct pen_link *link)
{
    if (!link->unacked_since)
        return 0;
    uint64_t upto = link->put_off ? link->put_off->at : link->received, now = pen_now_ns();
    if (upto <= link->acked) { /* of those that are put off, more may have been said when there was a new connection */
        link->unacked_since = link->put_off ? now : 0;
        return 0;
    }
    if (upto - link->acked < PEN_LINK_ACK_BYTES && now - link->unacked_since < PEN_LINK_ACK_NS)
        return 0;
    _Alignas(8) unsigned char frame[64];
    const struct pen_msg_link_ack ack = {.received = upto};
    pen_msg_link_ack_encode(&ack, 0, frame);
    link->acked = upto;
    link->unacked_since = link->put_off ? now : 0;
    return pen_link_add(link, frame, pen_msg_link_ack_size(&ack));
}

ssize_t pen_link_receive(struct pen_link *link)
{
    ssize_t got = offer_put_off(link);
    if (!got && link->refused)
        got = digest(link);
    uint64_t limit = link->received + PEN_LINK_TURN_BYTES;
    bool more = false;
    while (got >= 0 && link->stream && !link->refused && !atomic_load(&link->broken)) {
        more = link->received >= limit; /* a stream may hold bytes that its socket does not show */
        if (more || (got = link->in_bulk ? receive_bulk(link) : receive_frames(link)) == 0)
            break;
    }
    atomic_store(&link->more, more);
    return got < 0 ? got : 0;
}

void pen_link_swap_received(struct pen_link *link, const struct pen_swap *swap)
{
    pthread_mutex_lock(&link->bulk_lock);
    if (pen_swap_has(swap, link->bulk, link->bulk_offset))
        link->bulk = swap->instead + ((unsigned char *)link->bulk - swap->memory);
    pthread_mutex_unlock(&link->bulk_lock);
}
