/* icd/staging.c - how much staging a session may have under way, when its worker is on another host. See move.h. */
#include "icd/move.h"
#include "icd/service.h"
#include "net/link.h"
#include "wire/futex.h"

/* Of a thread that waits for room, while an event of the program's own is what all may wait for. */
#define PATIENCE_NS 100000000u
/* Room comes about with completions that nobody has asked to be woken for. */
#define LOOK_MS 10

/* What is short may go over the limit a little, so that it does not wait for what is long. */
static bool take_room(struct pen_home *home, uint64_t bytes)
{
    uint64_t limit = PEN_LINK_BULK_BYTES + (bytes <= PEN_LINK_INLINE_BYTES ? PEN_LINK_KEPT_BYTES : 0);
    uint64_t staged = atomic_load_explicit(&home->staged_bytes, memory_order_relaxed);
    do
        if (staged && staged + bytes > limit)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&home->staged_bytes, &staged, staged + bytes, memory_order_relaxed,
                                                  memory_order_relaxed));
    return true;
}

/* The network has done what it can, and what is left may wait for an event that this thread is to set. */
static bool may_wait_for_program(struct pen_home *home, struct pen_session *session)
{
    return atomic_load_explicit(&home->own_events, memory_order_relaxed) && pen_session_has_delivered(session);
}

void pen_staging_take_room(cl_context context, uint64_t bytes)
{
    struct pen_home *home = context->home;
    struct pen_session *session = context->session;
    uint64_t ends = 0, until = 0;
    if (!(pen_session_features(session) & PEN_FEATURE_REMOTE)) {
        pen_staging_take_room_now(home, bytes);
        return;
    }
    while (!take_room(home, bytes)) {
        uint32_t seen = pen_epoch(session);
        uint64_t now = pen_now_ns(), before = ends;
        pen_recycle(context);
        ends = atomic_load_explicit(&home->stagings_ended, memory_order_relaxed);
        if (!until || ends != before || !may_wait_for_program(home, session))
            until = now + PATIENCE_NS;
        /* Nothing has ended since somebody waited in vain: nor will it now. */
        bool in_vain = atomic_load_explicit(&home->in_vain_at, memory_order_relaxed) == ends + 1;
        if (pen_session_alive(session) || now >= until || (in_vain && may_wait_for_program(home, session))) {
            atomic_store_explicit(&home->in_vain_at, ends + 1, memory_order_relaxed);
            pen_staging_take_room_now(home, bytes);
            return;
        }
        (void)pen_wait_epoch(session, seen, LOOK_MS);
    }
}

void pen_staging_take_room_now(struct pen_home *home, uint64_t bytes)
{
    atomic_fetch_add_explicit(&home->staged_bytes, bytes, memory_order_relaxed);
}

void pen_staging_give_room(struct pen_home *home, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&home->staged_bytes, bytes, memory_order_relaxed);
}
