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

/* The devices that a command may go to. */
struct choice {
    const struct pen_place_option *options;
    uint32_t count;
    uint64_t now_ns;
    uint64_t waiting_ns; /* work that waits for each device with the command's code */
};

/* Of devices that have the code, the least. None has: then all are to load it, and nothing is gained by that. */
static uint64_t waiting_for_code(const struct pen_place_option *options, uint32_t count)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++)
        if (!options[i].load_ns && options[i].place->waiting_ns < least)
            least = options[i].place->waiting_ns;
    return least == UINT64_MAX ? 0 : least;
}

/* What loading the code delays, as far as nothing else would have had to wait meanwhile. */
static uint64_t load_ns(const struct choice *choice, const struct pen_place_option *option)
{
    return option->load_ns > choice->waiting_ns ? option->load_ns - choice->waiting_ns : 0;
}

static uint64_t end_of(const struct choice *choice, uint32_t at)
{
    const struct pen_place_option *option = &choice->options[at];
    uint64_t begin = later(choice->now_ns + ahead_ns(option->place, choice->now_ns), option->ready_ns);
    return begin + option->bring_ns + load_ns(choice, option) + option->run_ns;
}

static uint32_t first_to_end(const struct choice *choice)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < choice->count; i++)
        if (end_of(choice, i) < end_of(choice, best))
            best = i;
    return best;
}

/* How long the device is busy, the command included, if it never has to wait. */
static uint64_t busy_ns(const struct choice *choice, uint32_t at)
{
    const struct pen_place_option *option = &choice->options[at];
    return ahead_ns(option->place, choice->now_ns) + load_ns(choice, option) + option->run_ns;
}

static uint32_t least_busy(const struct choice *choice)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < choice->count; i++)
        if (busy_ns(choice, i) < busy_ns(choice, best))
            best = i;
    return best;
}

/* How far away data is is measured: what is within an eighth is as far. */
static bool is_much_more(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns > b_ns && a_ns - b_ns > a_ns / 8;
}

static bool is_nearer(const struct choice *choice, uint32_t a, uint32_t b)
{
    uint64_t a_ns = choice->options[a].bring_ns, b_ns = choice->options[b].bring_ns;
    if (is_much_more(a_ns, b_ns))
        return false;
    return is_much_more(b_ns, a_ns) || busy_ns(choice, a) < busy_ns(choice, b);
}

/* What is brought for one command is missed where it was by the next ones, which no end of this one shows: were each to
 * end as soon as it can, neighbours would take turns with the rows of a matrix, and bring every one. */
static uint32_t nearest(const struct choice *choice)
{
    const struct pen_place_option *options = choice->options;
    uint32_t near = 0, idle = least_busy(choice);
    for (uint32_t i = 1; i < choice->count; i++)
        if (is_nearer(choice, i, near))
            near = i;
    uint64_t stay = PEN_PLACE_STAY * options[idle].run_ns;
    uint64_t more = later(options[idle].bring_ns, options[near].bring_ns) - options[near].bring_ns;
    stay = stay < PEN_PLACE_STAY_NS ? stay : PEN_PLACE_STAY_NS;
    return busy_ns(choice, near) > busy_ns(choice, idle) + later(stay, PEN_PLACE_CROSS_NS + more) ? idle : near;
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
    const struct choice choice = {options, count, now_ns, waiting_for_code(options, count)};
    uint32_t best = is_to_be_brought(options, count) ? nearest(&choice) : first_to_end(&choice);
    *out_end_ns = end_of(&(struct choice){options, count, now_ns, 0}, best);
    return best;
}

void pen_place_wait(struct pen_place *place, uint64_t run_ns)
{
    place->waiting_ns += run_ns;
}

void pen_place_wait_no_more(struct pen_place *place, uint64_t run_ns)
{
    assert(place->waiting_ns >= run_ns);
    place->waiting_ns -= run_ns;
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

/* From the nearest class of those. */
static uint64_t from_nearest(const struct pen_estimate *estimate, uint64_t classes, uint32_t class)
{
    uint64_t smaller = classes << (63 - class), larger = classes >> class; /* it is in both */
    int below = smaller ? __builtin_clzll(smaller) : 64, above = larger ? __builtin_ctzll(larger) : 64;
    assert(below < 64 || above < 64);
    if (below <= above) /* a smaller one: as much longer as it is larger */
        return in_bounds(estimate->run_ns[class - below] * (float)(UINT64_C(1) << below));
    return in_bounds(estimate->run_ns[class + above] / (float)(UINT64_C(1) << above));
}

uint64_t pen_estimate_run(const struct pen_estimate *estimate, uint64_t items)
{
    uint64_t later_ones = estimate->known & ~estimate->first;
    uint32_t class = pen_size_class(items);
    if (!estimate->known)
        return PEN_PLACE_UNKNOWN_NS;
    uint64_t run_ns = from_nearest(estimate, later_ones ? later_ones : estimate->known, class);
    bool most = estimate->first >> class & 1;
    uint64_t most_ns = most ? in_bounds(estimate->run_ns[class]) : run_ns;
    return run_ns < most_ns ? run_ns : most_ns;
}

void pen_estimate_note(struct pen_estimate *estimate, uint64_t items, uint64_t run_ns)
{
    uint32_t class = pen_size_class(items);
    uint64_t bit = UINT64_C(1) << class;
    float *average = &estimate->run_ns[class];
    float run = run_ns ? (float)run_ns : 1;
    *average = estimate->known & ~estimate->first & bit ? *average + LEARN * (run - *average) : run;
    estimate->known |= bit;
    estimate->first &= ~bit;
}

void pen_estimate_note_first(struct pen_estimate *estimate, uint64_t items, uint64_t run_ns)
{
    uint64_t bit = UINT64_C(1) << pen_size_class(items);
    if (estimate->known & bit)
        return;
    pen_estimate_note(estimate, items, run_ns);
    estimate->first |= bit;
}
