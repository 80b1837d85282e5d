/* net/link_state.h - a link's state, and what the files link*.c share; nobody else includes it.
 * Threads: link.h. "Locked" below: the caller holds link->lock. "Sending": it has begun, and nobody else may write. */
#ifndef PEN_NET_LINK_STATE_H
#define PEN_NET_LINK_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "net/link.h"
#include "net/unix.h"

/* Received, and sent of what goes beside, in one turn: then it is time for the other. */
#define PEN_LINK_TURN_BYTES (1u << 20)
/* What has come since the last acknowledgement is acknowledged when it is so much, or when so long has passed. */
#define PEN_LINK_ACK_BYTES (256u << 10)
#define PEN_LINK_ACK_NS    10000000u
/* What pen_link_flush_burst is called for so soon after the last goes together: so soon, or within a small part of a
 * round trip, if that is more. It waits for at most twice as long. */
#define PEN_LINK_BURST_NS 20000u
/* While bytes are under way and nothing comes, it is looked so often whether the peer's host is there. */
#define PEN_LINK_LOOK_NS 1000000000u
/* Pieces written at once. */
#define PEN_LINK_GATHER 64

/* What whoever sent last has not sent. */
enum pen_link_left {
    PEN_LEFT_NOTHING,
    PEN_LEFT_FOR_SOCKET, /* it takes no more, or the next turn sends it */
    PEN_LEFT_FOR_MEMORY, /* of what goes beside, of which no part could be made */
};

/* A frame that has come, and has not been taken. */
struct pen_put_off {
    struct pen_put_off *next;
    uint64_t at; /* where it begins, of the bytes received */
    size_t size;
    _Alignas(8) unsigned char frame[];
};

struct pen_link {
    struct pen_link_owner owner;
    void (*range_left)(void *context); /* NULL: nobody asks */
    int room_fd;                       /* writable when the owner has room again; -1: nobody knows */

    pthread_mutex_t lock;
    /* guarded by lock; counts are in bytes since the session began */
    struct pen_piece *first, *last; /* the first begins at `base` */
    uint64_t base, added, sent, acknowledged;
    struct pen_piece *cursor; /* holds byte `sent`, or NULL: all that was added is sent */
    uint64_t cursor_at;       /* bytes of it that are sent */
    struct pen_range *beside, *beside_last;
    uint64_t beside_bytes;
    struct pen_range *packing;        /* whose first part is being packed, without the lock; or NULL */
    uint64_t part_bytes, part_frames; /* of the next part; `frames` at the last */
    uint64_t kept;                    /* of copied bytes: in pieces, and for ranges */
    uint64_t ranges_end;              /* of the last part of a range, as `added` */
    uint64_t frames;                  /* bytes of frames that were added since the session began */
    struct pen_stream *stream;

    struct pen_pack *pack; /* NULL: not agreed; its two sides are the sending thread's and the turning thread's */

    /* A thread writes to the socket. seq_cst with `added`: see flush in link_send.c. */
    _Atomic uint32_t sending;
    _Atomic uint64_t unsent;        /* added - sent + beside_bytes; written under lock */
    _Atomic uint32_t room;          /* futex: changes when it is full no longer */
    _Atomic uint64_t frames_unsent; /* copied bytes not sent; written under lock */
    _Atomic bool broken;            /* the connection is, found by a sender; the turning thread detaches */
    _Atomic uint32_t left;          /* enum pen_link_left; written by the sending thread */
    _Atomic uint64_t burst_at;      /* when the first of a burst was sent, ns; relaxed, a hint */
    _Atomic uint64_t burst_ns;      /* how long what follows is gathered; PEN_LINK_BURST_NS: not at all. Relaxed */
    _Atomic uint64_t due; /* when what is gathered has to be sent, ns; 0: nothing is. See pen_link_is_gathering */
    _Atomic bool kicked;  /* the eventfd has been written, or is about to be */
    _Atomic bool awake;   /* a waiting thread has seen it written: the next turn reads it */
    int wake_fd;          /* eventfd */

    /* for pen_link_wait; written by the turning thread */
    _Atomic int poll_fd;            /* the stream's, or -1 */
    _Atomic bool refused;           /* the owner had no room for the frame that comes next */
    _Atomic bool keeps;             /* frames are put off */
    _Atomic bool more;              /* the last turn has left what had come */
    _Atomic bool awaits;            /* bytes may be under way. Set after they are sent; cleared before it is looked */
    _Atomic uint64_t unacked_since; /* ns; 0: nothing but acknowledgements has come since the last */

    pthread_mutex_t bulk_lock;
    void *bulk; /* where the next of the bytes goes that come; guarded by bulk_lock, or the owner's lock in part() */
    uint64_t bulk_offset; /* of the arena range that it is, or stands for; guarded by bulk_lock */

    /* the turning thread's */
    struct pen_frame_reader reader;
    uint64_t bulk_left;
    unsigned char *packed; /* where the next goes of those that come packed, for `bulk`; NULL: they come as they are */
    bool in_bulk, after_bulk;
    struct pen_put_off *put_off, *put_off_last;
    uint64_t put_off_bytes;
    bool put_off_forget; /* a link_forget is among them */
    uint64_t received, acked;
    uint64_t look_at, unheard_since; /* ns: when it is asked next whether the peer's host is there; and since when it
                                        has not answered, 0: it has */
    uint64_t best_part_ns;           /* of a round trip: how long a burst is gathered; 0: unknown */
};

/* ---- link_kept.c: what is to be sent, or was and is not acknowledged ------------------------------------ */

void pen_link_init_kept(struct pen_link *link);
void pen_link_finish_kept(struct pen_link *link);
/* Locked, and sending; not locked while a part is compressed. Makes pieces of what goes beside, while few bytes are
 * left to send and *budget lasts. Without memory: at another time. */
void pen_link_append_beside(struct pen_link *link, uint64_t *budget);
/* Locked, and sending. What comes next, as at most PEN_LINK_GATHER parts; how many. They stay where they are. */
int pen_link_gather(const struct pen_link *link, struct iovec *parts);
/* Locked. So many bytes of it are sent. */
void pen_link_advance(struct pen_link *link, uint64_t bytes);
/* Locked. Drops what is acknowledged. */
void pen_link_drop_kept(struct pen_link *link);
/* Locked, and sending. What comes next begins where the peer's bytes end. */
void pen_link_rewind(struct pen_link *link, uint64_t peer_received);

/* Bytes of somebody's that stand for a range of the arena, and what is to take their place. */
struct pen_swap {
    const unsigned char *memory;
    uint64_t offset, bytes;
    unsigned char *instead;
};
/* Whether `at`, which stands for the arena's range at `offset`, is among them: the same memory may stand for others,
 * too, and these stay. */
static inline bool pen_swap_has(const struct pen_swap *swap, const unsigned char *at, uint64_t offset)
{
    uint64_t distance = (uintptr_t)at - (uintptr_t)swap->memory;
    return distance < swap->bytes && offset - swap->offset == distance;
}
/* Locked. What is not sent yet may be in the hands of the sending thread: it stays, unless the caller is `sending`.
 * True when nothing has stayed. */
bool pen_link_swap_sent(struct pen_link *link, const struct pen_swap *swap, bool sending);

/* ---- link_send.c ---------------------------------------------------------------------------------------- */

/* Waits until nobody writes to the socket; nobody else does until the end. What was added meanwhile has to be flushed.
 */
void pen_link_begin_sending(struct pen_link *link);
void pen_link_end_sending(struct pen_link *link);
/* Nothing but frames of a burst is left to send, and it is not time yet. Else whoever turns sends now. */
bool pen_link_is_gathering(struct pen_link *link);
/* The network's best is what counts: when it is busy, its queues make round trips longer. The turning thread's. */
void pen_link_note_round_trip(struct pen_link *link, const struct pen_stream *stream);

/* ---- link_receive.c: the turning thread's --------------------------------------------------------------- */

/* What has come, up to PEN_LINK_TURN_BYTES. 0, or an error. */
ssize_t pen_link_receive(struct pen_link *link);
/* Says how much has come, if it is time. The acknowledgement itself is not acknowledged. */
int pen_link_acknowledge(struct pen_link *link);
void pen_link_drop_put_off(struct pen_link *link);
/* Any thread. */
void pen_link_swap_received(struct pen_link *link, const struct pen_swap *swap);

#endif
