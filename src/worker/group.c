/* worker/group.c - when everything before a marker of an out-of-order queue is complete: by counting.
 * Model: README, "Out-of-order queues".
 * The driver's own marker would wait for each unfinished command by name; PoCL 3.1 takes time quadratic in their
 * number for that, also for a marker with a wait list. */
#include <stdlib.h>

#include "wire/futex.h"
#include "worker/work.h"

/* The commands between two such markers. */
struct pen_work_group {
    /* Commands in a driver's hands, +1 while the group is open, +1 while the group before it is not complete. acq_rel:
     * who takes off the last has seen what all the others published. */
    _Atomic uint64_t count;
    /* written before the group is closed */
    struct pen_work_task *marker; /* completes with the group; in flight, so that nobody ends the session before */
    struct pen_work_group *next;
    uint64_t closed_ns;
};

static struct pen_work_group *create(uint64_t count)
{
    struct pen_work_group *group = malloc(sizeof *group);
    if (group)
        *group = (struct pen_work_group){.count = count};
    return group;
}

struct pen_work_group *pen_group_enter(struct pen_work_queue *queue)
{
    if (!queue->group && !(queue->group = create(1)))
        return NULL;
    /* Relaxed: it is open, and so not 0. */
    atomic_fetch_add_explicit(&queue->group->count, 1, memory_order_relaxed);
    return queue->group;
}

static void complete(struct pen_work_task *marker, uint64_t since)
{
    uint64_t now = pen_now_ns();
    const struct pen_event_times times = {since, since, now, now};
    pen_task_done(marker, 0, &times);
}

void pen_group_leave(struct pen_work_group *group)
{
    while (group && atomic_fetch_sub_explicit(&group->count, 1, memory_order_acq_rel) == 1) {
        struct pen_work_group *next = group->next;
        complete(group->marker, group->closed_ns);
        free(group);
        group = next; /* which has waited for us */
    }
}

void pen_group_done(void *context, int status, const struct pen_event_times *times)
{
    (void)status; /* nobody has asked for it: no event */
    (void)times;
    pen_group_leave(context);
}

int pen_group_close(struct pen_work_queue *queue, struct pen_work_task *marker, bool last)
{
    struct pen_work_group *group = queue->group, *next = NULL;
    uint64_t now = pen_now_ns();
    /* Acquire: pairs with the release in pen_group_leave. */
    if (!group || (!last && atomic_load_explicit(&group->count, memory_order_acquire) == 1)) {
        complete(marker, now);
        return 0;
    }
    if (!last && !(next = create(2)))
        return -PEN_ENOMEM;
    group->marker = marker;
    group->next = next;
    group->closed_ns = now;
    queue->group = next;
    pen_group_leave(group);
    return 0;
}
