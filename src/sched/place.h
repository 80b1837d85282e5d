/* sched/place.h - which device a ready command goes to: the one where it is expected to be complete first; where its
 * data would have to be brought to others, the one that has most of it, while it is not busy for much longer (decision
 * 0015). Pure: the caller tells the time.
 *
 * Method:  earliest finish time (the second half of HEFT: Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002); what has
 *          no room where it would be done first waits for it (availability: US20130185725). A device is expected to
 *          be free when what it was given has run, or, once that is late, in as long as it has taken; how long a
 *          command runs is learnt, by kernel, device and size class, as a moving average. A device on which code is to
 *          be loaded first has that much less time, but for as much work as waits for those that have it: so much is
 *          done while it is loaded.
 * Threads: one.
 * Errors:  none. */
#ifndef PEN_SCHED_PLACE_H
#define PEN_SCHED_PLACE_H

#include <stdbool.h>
#include <stdint.h>

/* Commands that a device is given before it has done the first of them: enough to hide the way to it and back for
 * commands of a microsecond, few enough that the next one still finds the device that is free. */
#define PEN_PLACE_AHEAD 64u
/* And so much work, once it has two: what comes with a higher priority is to wait for no more. */
#define PEN_PLACE_AHEAD_NS 2000000u
/* What a command is expected to take of which nothing is known. */
#define PEN_PLACE_UNKNOWN_NS 100000u
/* What it costs to wait for another device's command: between two devices that are equal otherwise, a chain of
 * commands stays where it is. */
#define PEN_PLACE_CROSS_NS 20000u

/* A device that has more of a command's data gets it, though another has time sooner: by as many runs of it as that,
 * and by no more than that time. Enough that a device's part of a graph grows until its border is short; less than a
 * device is given at a time, so that others are not left idle. */
#define PEN_PLACE_STAY    16u
#define PEN_PLACE_STAY_NS 1600000u

/* A device's load. Zero-initialize. */
struct pen_place {
    uint64_t ahead_ns; /* of what it was given and has not done, as expected */
    uint64_t since_ns; /* when it began with what it does now, if it has something to do that waits for nothing else */
    uint64_t waiting_ns;      /* of what waits for room there, as expected */
    uint32_t flying, running; /* what it was given; of that, what has begun */
};

static inline bool pen_place_has_room(const struct pen_place *place)
{
    return place->flying < 2 || (place->flying < PEN_PLACE_AHEAD && place->ahead_ns < PEN_PLACE_AHEAD_NS);
}

/* What is known of one device for one command. */
struct pen_place_option {
    struct pen_place *place;
    uint64_t ready_ns; /* when all that the command waits for is expected to be done, and to be known there */
    uint64_t bring_ns; /* to make its data valid there */
    uint64_t load_ns;  /* to load its code there */
    uint64_t run_ns;   /* as it is expected to run there */
};

/* How long commands of one kind run on one device. Zero-initialize. */
struct pen_estimate {
    uint64_t known;   /* bits of the size classes that one has run of */
    uint64_t first;   /* of these, with that one its code may have been loaded: it took no less than others will */
    float run_ns[64]; /* by size class */
};

/* Work items into a size class: powers of two. */
static inline uint32_t pen_size_class(uint64_t items)
{
    return items ? 63u - (uint32_t)__builtin_clzll(items) : 0;
}

/* The option to take, and when it ends; the first of equal ones. Of at least one. Its device may have no room: then it
 * is worth waiting for. */
uint32_t pen_place_choose(const struct pen_place_option *options, uint32_t count, uint64_t now_ns,
                          uint64_t *out_end_ns);
/* The command waits for room there, until it does not. The same run_ns. */
void pen_place_wait(struct pen_place *place, uint64_t run_ns);
void pen_place_wait_no_more(struct pen_place *place, uint64_t run_ns);
/* The command goes there; it is expected to run for run_ns, loading included. */
void pen_place_enter(struct pen_place *place, uint64_t run_ns);
/* It waits for nothing that other devices do, and the device has it. Before it leaves, it ends. */
void pen_place_begin(struct pen_place *place, uint64_t now_ns);
void pen_place_end(struct pen_place *place, uint64_t ended_ns);
/* It is done, or was not done after all. The same run_ns. */
void pen_place_leave(struct pen_place *place, uint64_t run_ns);

/* What a command of `items` work items is expected to run. Of a size that was not seen yet: from the nearest that was.
 */
uint64_t pen_estimate_run(const struct pen_estimate *estimate, uint64_t items);
/* One has run for so long. */
void pen_estimate_note(struct pen_estimate *estimate, uint64_t items, uint64_t run_ns);
/* One has, with which its code may have been loaded: it counts until there is another. */
void pen_estimate_note_first(struct pen_estimate *estimate, uint64_t items, uint64_t run_ns);

#endif
