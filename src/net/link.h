/* net/link.h - one end of a session's link to another host: frames, and bulk bytes beside them, each exactly once and
 * in order, over connections (net/stream.h) that may break and be replaced.
 *
 * What is sent is one run of bytes, counted from the session's beginning. It is kept until the peer has acknowledged it
 * (link_ack). When a new connection is made, both ends first say how many bytes they have received (link_resume, which
 * is not part of the run), and each goes on from there. Bulk bytes are not copied: they are sent from where they lie,
 * and must stay there unchanged until they are acknowledged; they are received straight into their place.
 *
 * Ownership: a link owns its streams, and copies frames. Bulk is its sender's.
 * Threads:   any thread may send; whoever sends also writes to the socket, if nobody else does. One thread at a time
 *            turns (net/pump.h), which is receiving: it alone calls the owner, attaches, detaches and destroys.
 * Errors:    0 or -PEN_E*. A broken connection is none, but news for whoever turns. */
#ifndef PEN_NET_LINK_H
#define PEN_NET_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/stream.h"

struct pen_link;
struct pen_msg_link_part;

/* Bytes of frames that a link keeps until they are acknowledged: who adds more waits (pen_link_wait_room). */
#define PEN_LINK_KEPT_BYTES (UINT64_C(16) << 20)
/* Who cannot wait fails (-PEN_ELIMIT) when the peer leaves so much unacknowledged. */
#define PEN_LINK_KEPT_MOST (UINT64_C(256) << 20)

/* Ranges longer than this go beside the frames. */
#define PEN_LINK_INLINE_BYTES (UINT64_C(64) << 10)
/* While bytes go beside, not more than this of frames overtakes them: they pile up where they wait for the bytes. */
#define PEN_LINK_AHEAD_BYTES (UINT64_C(4) << 20)
/* Bytes beside the frames that may be under way in either direction, each where it came from and where it goes: several
 * times what the longest and fastest network holds. Who has more to send has it wait (icd/move.c, worker/enqueue.c);
 * one range that is longer goes when nothing else is under way. */
#define PEN_LINK_BULK_BYTES (UINT64_C(256) << 20)

/* What frame() below returns when there is no room for it now: it is called with it again, soon (pen_link_tell_room).
 */
#define PEN_LINK_LATER 1
/* The same; and the link keeps it, and the frames after it, and goes on receiving: what the peer says of our own bytes
 * (link_ack) is heard, and bulk is taken that comes after them, but none after a link_forget. They count as not
 * received until they are taken: a peer that waits for acknowledgements, as pen_link_wait_room does, sends not much
 * more. */
#define PEN_LINK_KEEP 2
/* Bytes of memory for frames that are kept so; then nothing more is received. A peer that connects anew has
 * PEN_LINK_KEPT_BYTES on their way each time. */
#define PEN_LINK_PUT_OFF_BYTES (4 * PEN_LINK_KEPT_BYTES)

/* What a link does with what comes; in pen_link_turn. An error ends the turn with it: the session has failed. */
struct pen_link_owner {
    /* A frame, 8-aligned; its header has been checked, nothing else. PEN_LINK_LATER: nothing more is received until it
     * has been taken. PEN_LINK_KEEP: see there. */
    int (*frame)(void *context, const void *frame, size_t size);
    /* A part of a range comes next, unchecked: its bytes go to *out_bulk, from then on until pen_link_let_go; `bulk`
     * (NULL: nobody asks) is called when they are all there. PEN_LINK_LATER: likewise. */
    int (*part)(void *context, const struct pen_msg_link_part *part, void **out_bulk);
    int (*bulk)(void *context);
    void *context;
};

int pen_link_create(const struct pen_link_owner *owner, struct pen_link **out_link);
/* Accepts NULL. */
void pen_link_destroy(struct pen_link *link);
/* From now on bulk that goes beside the frames may be compressed (net/pack.h), and may come so: both ends have agreed.
 * Before the first turn. -PEN_ENOENT: there is no LZ4 here; -PEN_ENOMEM. */
int pen_link_use_packing(struct pen_link *link);

/* When there is room again for a frame that the owner has put off, this descriptor is ready to be written to: nobody
 * need look before. The owner's; before the first turn. Without one it is offered again each millisecond. */
void pen_link_tell_room(struct pen_link *link, int fd);

/* In a forked child: closes its copies of the descriptors, whatever other threads were doing; the link is of no use. */
void pen_link_forked(struct pen_link *link);

/* ---- sending ----------------------------------------------------------------------------------------- */

/* Adds a frame to what is to be sent; pen_link_flush sends. -PEN_ENOMEM. */
int pen_link_add(struct pen_link *link, const void *frame, size_t size);
/* The arena's bytes from `offset` on, which lie at `memory`, stay the caller's and must not change until acknowledged;
 * the other end's owner says where they go. number 0: ahead of what is added after them. Else they go beside it, in
 * small parts whenever no frame waits, in the order of the calls; the last part has the number. */
int pen_link_add_range(struct pen_link *link, const void *memory, uint64_t offset, uint64_t bytes, uint64_t number);
/* From now on nothing is sent from these bytes of somebody's, nor received there, that stood for the arena's range at
 * `offset`: `instead` takes their place, with whatever it holds. For bytes that the peer has had, or has no claim to.
 * Any thread. */
void pen_link_let_go(struct pen_link *link, const void *memory, uint64_t offset, uint64_t bytes, void *instead);
/* Writes what the socket takes of the frames; the rest, and what goes beside them, whoever turns sends. */
void pen_link_flush(struct pen_link *link);
/* For frames that often come many at a time, none of which anybody waits for at the other end sooner than a round trip:
 * the first goes at once, the others together, a small part of a round trip later. */
void pen_link_flush_burst(struct pen_link *link);
/* The same as flush by whoever turns, without having received first: also what goes beside the frames. */
void pen_link_send(struct pen_link *link);
/* Bytes of frames added that no socket has taken yet, and of all that the peer has not acknowledged. Hints. */
uint64_t pen_link_unsent(struct pen_link *link);
uint64_t pen_link_unacknowledged(struct pen_link *link);
/* Bytes that go beside the frames, and wait for those before them. */
uint64_t pen_link_beside(struct pen_link *link);
/* Calls `left` with the owner's context whenever they are less by a whole range: any thread, which has locks of the
 * link. Before the first turn. */
void pen_link_tell_left(struct pen_link *link, void (*left)(void *context));
/* Whether the peer has acknowledged all bytes of ranges. */
bool pen_link_has_delivered(struct pen_link *link);
/* Waits until less than PEN_LINK_KEPT_BYTES of frames are kept, and less than PEN_LINK_AHEAD_BYTES are ahead of what
 * goes beside, at most timeout_ns; whether it is so. */
bool pen_link_wait_room(struct pen_link *link, uint64_t timeout_ns);

/* ---- connections ------------------------------------------------------------------------------------- */

/* Closes the connection: what was not sent or acknowledged waits for the next. */
void pen_link_detach(struct pen_link *link);
/* How many bytes have come. */
uint64_t pen_link_received(const struct pen_link *link);
/* Goes on over a new connection: exchanges link_resume, of that session, with the peer, which does the same. Takes the
 * stream, also when it fails. */
int pen_link_resume(struct pen_link *link, struct pen_stream *stream, uint64_t session, uint64_t deadline_ns);
/* The same when the peer is known to have `peer_received` bytes; on the first connection none. -PEN_EPROTO when that is
 * more than was sent, or less than was acknowledged. The connection that there was goes with success alone. */
int pen_link_attach(struct pen_link *link, struct pen_stream *stream, uint64_t peer_received);
/* Receives what is there and sends what is left, without waiting. 0; -PEN_EGONE: the connection is broken, and
 * detached; else the owner's error, or -PEN_EPROTO. */
int pen_link_turn(struct pen_link *link);
/* Sleeps until there is something for pen_link_turn to do, at most timeout_ns (UINT64_MAX: no limit). Any thread. */
void pen_link_wait(struct pen_link *link, uint64_t timeout_ns);
/* Makes the current pen_link_waits, or the next, return; until pen_link_turn. Any thread. */
void pen_link_kick(struct pen_link *link);

#endif
