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

/* How long it is busy with what it has, as expected. What takes longer than all of that is to take as long again. */
static uint64_t ahead_ns(const struct pen_place *place, uint64_t now_ns)
{
    uint64_t at_it = place->running && now_ns > place->since_ns ? now_ns - place->since_ns : 0;
    return later(place->ahead_ns, at_it);
}

static uint64_t end_of(const struct pen_place_option *option, uint64_t now_ns)
{
    uint64_t begin = later(now_ns + ahead_ns(option->place, now_ns), option->ready_ns);
    return begin + option->bring_ns + option->run_ns;
}

static uint32_t first_to_end(const struct pen_place_option *options, uint32_t count, uint64_t now_ns)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (end_of(&options[i], now_ns) < end_of(&options[best], now_ns))
            best = i;
    return best;
}

/* How long the device is busy, the command included, if it never has to wait. */
static uint64_t busy_ns(const struct pen_place_option *option, uint64_t now_ns)
{
    return ahead_ns(option->place, now_ns) + option->run_ns;
}

static uint32_t least_busy(const struct pen_place_option *options, uint32_t count, uint64_t now_ns)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (busy_ns(&options[i], now_ns) < busy_ns(&options[best], now_ns))
            best = i;
    return best;
}

/* How far away data is is measured: what is within an eighth is as far. */
static bool is_much_more(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns > b_ns && a_ns - b_ns > a_ns / 8;
}

static bool is_nearer(const struct pen_place_option *a, const struct pen_place_option *b, uint64_t now_ns)
{
    if (is_much_more(a->bring_ns, b->bring_ns))
        return false;
    return is_much_more(b->bring_ns, a->bring_ns) || busy_ns(a, now_ns) < busy_ns(b, now_ns);
}

/* What is brought for one command is missed where it was by the next ones, which no end of this one shows: were each to
 * end as soon as it can, neighbours would take turns with the rows of a matrix, and bring every one. */
static uint32_t nearest(const struct pen_place_option *options, uint32_t count, uint64_t now_ns)
{
    uint32_t near = 0, idle = least_busy(options, count, now_ns);
    for (uint32_t i = 1; i < count; i++)
        if (is_nearer(&options[i], &options[near], now_ns))
            near = i;
    uint64_t stay = PEN_PLACE_STAY * options[idle].run_ns;
    uint64_t more = later(options[idle].bring_ns, options[near].bring_ns) - options[near].bring_ns;
    stay = stay < PEN_PLACE_STAY_NS ? stay : PEN_PLACE_STAY_NS;
    return busy_ns(&options[near], now_ns) > busy_ns(&options[idle], now_ns) + later(stay, PEN_PLACE_CROSS_NS + more)
               ? idle
               : near;
}

static bool is_to_be_brought(const struct pen_place_option *options, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (options[i].bring_ns)
            return true;
    return false;
}

uint32_t pen_place_choose(const struct pen_place_option *options, uint32_t count, uint64_t now_ns, uint64_t *out_end_ns)
{
    assert(count);
    uint32_t best =
        is_to_be_brought(options, count) ? nearest(options, count, now_ns) : first_to_end(options, count, now_ns);
    *out_end_ns = end_of(&options[best], now_ns);
    return best;
}

void pen_place_enter(struct pen_place *place, uint64_t run_ns)
{
    place->ahead_ns += run_ns;
    place->flying++;
}

void pen_place_begin(struct pen_place *place, uint64_t now_ns)
{
    if (!place->running++)
        place->since_ns = now_ns;
}

void pen_place_end(struct pen_place *place, uint64_t ended_ns)
{
    assert(place->running);
    place->running--;
    place->since_ns = later(place->since_ns, ended_ns);
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
