/* worker/park.c - a session whose program has been sent away gives its devices' memory back: what only they hold is
 * copied to the host's replicas, and those on the devices go. What is used again is brought as any contents that are
 * elsewhere (move.c). Only with nothing under way, since what is held or runs has its replicas already. */
#include <time.h>

#include "mem/residency.h"
#include "worker/work.h"

void pen_park_want(struct pen_work *work, bool wanted)
{
    atomic_store(&work->park, wanted);
    pen_work_kick(work);
}

static bool is_quiet(const struct pen_work *work)
{
    return !work->graph.held && !work->flying && !work->moving;
}

static void for_each_region(struct pen_work *work, void (*call)(struct pen_work_region *region, void *context),
                            void *context)
{
    for (uint32_t i = 0; i < work->regions.capacity; i++)
        if (work->regions.entries[i].key)
            call(work->regions.entries[i].value, context);
}

/* One that cannot be copied stays where it is. */
static void bring_home(struct pen_work_region *region, void *context)
{
    (void)context;
    (void)pen_move_home(region->root);
}

/* Slices before what they are of. */
static void let_go(struct pen_work_region *region, void *depth)
{
    for (; region; region = region->parent) /* a parent's own name may have gone */
        if (region->depth == *(uint32_t *)depth)
            pen_region_let_go(region);
}

void pen_park_step(struct pen_work *work)
{
    const struct timespec pause = {.tv_nsec = 200000};
    bool wanted = atomic_load(&work->park);
    if (wanted == work->parked || (wanted && !is_quiet(work)))
        return;
    work->parked = wanted;
    if (wanted) {
        for_each_region(work, bring_home, NULL);
        while (work->moving && !work->failed) { /* there is nothing else to do */
            nanosleep(&pause, NULL);
            pen_task_reap(work);
        }
        for (uint32_t depth = PEN_WORK_DEPTH + 1; depth-- > 0;)
            for_each_region(work, let_go, &depth);
        work->memory_epoch++;
    }
    atomic_store_explicit(&work->crash->parked, wanted, memory_order_relaxed);
}
