/* A link's sending. One thread at a time writes to the socket (`sending`), without the lock: it gathers pieces, writes,
 * and says what was taken. */
#include "net/link_state.h"
#include "net/pack.h"
#include "wire/futex.h"

/* Of a round trip: see PEN_LINK_BURST_NS. */
#define BURST_ROUND_TRIP 16

/* Until all is sent, or the socket takes no more, or of what goes beside *budget bytes are
 * under way. */
static enum pen_link_left send_all(struct pen_link *link, uint64_t *budget)
{
    struct iovec parts[PEN_LINK_GATHER];
    for (;;) {
        pthread_mutex_lock(&link->lock);
        struct pen_stream *stream = link->stream;
        pen_link_append_beside(link, budget);
        int count = pen_link_gather(link, parts);
        bool beside = link->beside;
        uint64_t acknowledged = link->acknowledged;
        pthread_mutex_unlock(&link->lock);
        if (!count && !beside && link->pack)
            pen_pack_idle(link->pack);
        if (!stream)
            return count || beside ? PEN_LEFT_FOR_SOCKET : PEN_LEFT_NOTHING;
        if (!count)
            return !beside ? PEN_LEFT_NOTHING : *budget ? PEN_LEFT_FOR_MEMORY : PEN_LEFT_FOR_SOCKET;
        ssize_t taken = stream->ops->send(stream, parts, count);
        if (taken == 0 && link->pack)
            pen_pack_blocked(link->pack, acknowledged);
        if (taken <= 0) {
            atomic_store(&link->broken, taken < 0);
            return PEN_LEFT_FOR_SOCKET;
        }
        if (!atomic_load(&link->awaits)) {
            atomic_store(&link->awaits, true);
            pen_link_kick(link); /* whoever waits does so no longer than until it is time to look */
        }
        pthread_mutex_lock(&link->lock);
        pen_link_advance(link, (uint64_t)taken);
        pthread_mutex_unlock(&link->lock);
    }
}

static bool take_sending(struct pen_link *link)
{
    return !atomic_exchange(&link->sending, 1);
}

void pen_link_begin_sending(struct pen_link *link)
{
    for (uint32_t turn = 0; !take_sending(link); turn++)
        pen_spin_turn(turn);
}

void pen_link_end_sending(struct pen_link *link)
{
    atomic_store(&link->sending, 0);
}

/* True when all is sent, or will be by another. Whoever finds another sending leaves it to him: he looks at `unsent`
 * once more after he has stopped (Dekker: unsent; sending here, sending; unsent there). */
static bool flush(struct pen_link *link, uint64_t budget)
{
    enum pen_link_left left = PEN_LEFT_NOTHING;
    while (left == PEN_LEFT_NOTHING && atomic_load(&link->unsent)) {
        if (!take_sending(link))
            return true;
        left = send_all(link, &budget);
        atomic_store(&link->left, left);
        pen_link_end_sending(link);
    }
    return left == PEN_LEFT_NOTHING;
}

void pen_link_flush(struct pen_link *link)
{
    if (!flush(link, 0))     /* not more than that: whoever sends has other things to do */
        pen_link_kick(link); /* the turning thread waits for room, or detaches. Not before we have stopped sending. */
}

void pen_link_send(struct pen_link *link)
{
    (void)flush(link, PEN_LINK_TURN_BYTES); /* what is left then, another turn sends */
}

void pen_link_flush_burst(struct pen_link *link)
{
    uint64_t now = pen_now_ns(), last = atomic_load_explicit(&link->burst_at, memory_order_relaxed);
    uint64_t gather_ns = atomic_load_explicit(&link->burst_ns, memory_order_relaxed);
    if (now - last >= gather_ns) {
        atomic_store_explicit(&link->burst_at, now, memory_order_relaxed);
        pen_link_flush(link);
    } else if (gather_ns == PEN_LINK_BURST_NS || !atomic_exchange(&link->due, last + 2 * gather_ns)) {
        pen_link_kick(link);
    }
}

/* Whoever adds to it after `due` is 0 kicks once more (Dekker: unsent, due there; due here, unsent in flush). */
bool pen_link_is_gathering(struct pen_link *link)
{
    uint64_t due = atomic_load(&link->due);
    if (!due)
        return false;
    if (atomic_load(&link->left) == PEN_LEFT_NOTHING && pen_now_ns() < due &&
        atomic_load(&link->unsent) == atomic_load_explicit(&link->frames_unsent, memory_order_relaxed))
        return true;
    atomic_store(&link->due, 0);
    return false;
}

void pen_link_note_round_trip(struct pen_link *link, const struct pen_stream *stream)
{
    uint64_t part_ns = pen_stream_round_trip_ns(stream) / BURST_ROUND_TRIP;
    if (!part_ns || (link->best_part_ns && link->best_part_ns <= part_ns))
        return;
    link->best_part_ns = part_ns;
    atomic_store_explicit(&link->burst_ns, part_ns > PEN_LINK_BURST_NS ? part_ns : PEN_LINK_BURST_NS,
                          memory_order_relaxed);
}
