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
    if (!estimate->known)
        return PEN_PLACE_UNKNOWN_NS;
    uint32_t class = pen_size_class(items);
    uint64_t smaller = estimate->known << (63 - class), larger = estimate->known >> class; /* it is in both */
    int below = smaller ? __builtin_clzll(smaller) : 64, above = larger ? __builtin_ctzll(larger) : 64;
    assert(below < 64 || above < 64);
    if (below <= above) /* a smaller one: as much longer as it is larger */
        return in_bounds(estimate->run_ns[class - below] * (float)(UINT64_C(1) << below));
    return in_bounds(estimate->run_ns[class + above] / (float)(UINT64_C(1) << above));
}

void pen_estimate_note(struct pen_estimate *estimate, uint64_t items, uint64_t run_ns)
{
    uint32_t class = pen_size_class(items);
    uint64_t bit = UINT64_C(1) << class;
    float *average = &estimate->run_ns[class];
    float run = run_ns ? (float)run_ns : 1;
    *average = estimate->known & bit ? *average + LEARN * (run - *average) : run;
    estimate->known |= bit;
}
