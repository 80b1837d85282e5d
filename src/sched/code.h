/* sched/code.h - what running a kernel for the first time costs on a device: drivers compile it, or bring it there, at
 * its first launch. Pure.
 *
 * Method:  a kernel's first run on a device is compared with a later one of about the same size; what it took longer
 *          is averaged by device, for kernels that no device of the same kind has run yet and for others: some drivers
 *          keep for all devices what they have made for one.
 * Units:   nanoseconds, of one clock.
 * Threads: one.
 * Errors:  none. */
#ifndef PEN_SCHED_CODE_H
#define PEN_SCHED_CODE_H

#include "sched/place.h"

/* One kernel on one device. Zero-initialize. */
struct pen_code {
    bool given;                     /* it runs or has run there, or is about to: see pen_code_give */
    bool again;                     /* of its first run: another device of the kind had run it before */
    uint64_t ran;                   /* bits of the size classes that one has run of */
    uint64_t first_ns, first_items; /* its first run, until another one shows what of it was loading; 0: none */
};

/* One kernel on all devices of a kind. Zero-initialize. */
struct pen_code_runs {
    struct pen_estimate estimate; /* of its runs, but for first ones */
    uint64_t loaded_ns;           /* when its first run on any of them had ended; 0: none has */
};

/* What loading takes, on devices of a kind. Zero-initialize. */
struct pen_code_cost {
    bool known;
    float ns;
};
struct pen_code_costs {
    struct pen_code_cost anew, again; /* of a kernel that none of them has run yet; that another one has */
};

/* What the kernel's next run there is expected to take longer than its later ones. NULL: nothing is known of it. */
uint64_t pen_code_expected_ns(const struct pen_code *code, const struct pen_code_runs *runs,
                              const struct pen_code_costs *costs);
/* A run of it goes there: those that follow find the code. */
void pen_code_give(struct pen_code *code);
/* One of so many work items has run. */
void pen_code_ran(struct pen_code *code, struct pen_code_runs *runs, struct pen_code_costs *costs, uint64_t items,
                  uint64_t begun_ns, uint64_t ended_ns);
/* One has, nobody knows for how long. */
void pen_code_ran_unseen(struct pen_code *code, struct pen_code_runs *runs, uint64_t items, uint64_t ended_ns);

#endif
