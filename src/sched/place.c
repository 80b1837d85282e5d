/* sched/place.c - see place.h. */
#include "sched/place.h"

#include <assert.h>

/* Of a new run's share in the average: the last five or so count. */
#define LEARN 0.2f
/* No command is expected to take longer: an hour. */
#define MOST_NS 3.6e12f

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint32_t pen_place_choose(const struct pen_place_option *options, uint32_t count, uint64_t now_ns, uint64_t *out_end_ns)
{
    uint32_t best = 0;
    assert(count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t begin = later(now_ns + options[i].place->ahead_ns, options[i].ready_ns);
        uint64_t end = begin + options[i].bring_ns + options[i].run_ns;
        if (i && end >= *out_end_ns)
            continue;
        best = i;
        *out_end_ns = end;
    }
    return best;
}

void pen_place_enter(struct pen_place *place, uint64_t run_ns)
{
    place->ahead_ns += run_ns;
    place->flying++;
}

void pen_place_leave(struct pen_place *place, uint64_t run_ns)
{
    assert(place->flying && place->ahead_ns >= run_ns);
    place->ahead_ns -= run_ns;
    place->flying--;
}

static uint64_t in_bounds(float run_ns)
{
    return run_ns < MOST_NS ? (uint64_t)run_ns : (uint64_t)MOST_NS;
}

uint64_t pen_estimate_run(const struct pen_estimate *estimate, uint64_t items)
{
    int class = (int)pen_size_class(items);
    for (int away = 0; away < 64; away++) {
        float times = (float)(UINT64_C(1) << away);
        if (class - away >= 0 && estimate->run_ns[class - away] > 0) /* a smaller one: as much longer as it is larger */
            return in_bounds(estimate->run_ns[class - away] * times);
        if (class + away < 64 && estimate->run_ns[class + away] > 0)
            return in_bounds(estimate->run_ns[class + away] / times);
    }
    return PEN_PLACE_UNKNOWN_NS;
}

void pen_estimate_note(struct pen_estimate *estimate, uint64_t items, uint64_t run_ns)
{
    float *known = &estimate->run_ns[pen_size_class(items)];
    float run = run_ns ? (float)run_ns : 1;
    *known = *known > 0 ? *known + LEARN * (run - *known) : run;
}
