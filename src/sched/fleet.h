/* sched/fleet.h - which of many devices to consider for a command: those that have its data, those that have its code,
 * the most available first, and two others; not all. Pure.
 *
 * Method:  sets of devices by availability, an array of bits a level: the best of any set of them is found by as many
 *          ands as there are words (availability: US20130185725; two random choices: Mitzenmacher, IEEE TPDS
 *          12(10), 2001).
 * Threads: one.
 * Errors:  none. */
#ifndef PEN_SCHED_FLEET_H
#define PEN_SCHED_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#define PEN_FLEET_DEVICES 1024u
#define PEN_FLEET_WORDS   (PEN_FLEET_DEVICES / 64)
/* Of availability: idle, then by how long a device has still to do. */
#define PEN_FLEET_LEVELS 8u
/* Of each kind: that hold inputs, that hold the code. */
#define PEN_FLEET_EACH       4u
#define PEN_FLEET_OTHERS     2u
#define PEN_FLEET_CANDIDATES (2 * PEN_FLEET_EACH + PEN_FLEET_OTHERS)

/* Zero-initialize. */
struct pen_device_set {
    uint64_t words[PEN_FLEET_WORDS];
};

/* Initialize with pen_fleet_init. */
struct pen_fleet {
    struct pen_device_set level[PEN_FLEET_LEVELS]; /* of devices with room */
    uint8_t level_of[PEN_FLEET_DEVICES];           /* PEN_FLEET_LEVELS: it has no room */
    uint64_t random;
};

static inline void pen_device_set_add(struct pen_device_set *set, uint32_t device)
{
    set->words[device / 64] |= UINT64_C(1) << device % 64;
}

static inline void pen_device_set_remove(struct pen_device_set *set, uint32_t device)
{
    set->words[device / 64] &= ~(UINT64_C(1) << device % 64);
}

static inline bool pen_device_set_has(const struct pen_device_set *set, uint32_t device)
{
    return set->words[device / 64] >> device % 64 & 1;
}

/* No device has room. The seed is for the two others: the same choices for the same seed. */
void pen_fleet_init(struct pen_fleet *fleet, uint64_t seed);
/* How long the device has still to do, as expected; room: it takes more. */
void pen_fleet_note(struct pen_fleet *fleet, uint32_t device, uint64_t ahead_ns, bool room);
/* The most available device of the set that has room; -1: none has. */
int pen_fleet_best(const struct pen_fleet *fleet, const struct pen_device_set *set);
/* Devices to consider, each once: of those allowed, with room. `holders` have inputs of the command, `code` its kernel.
 */
uint32_t pen_fleet_candidates(struct pen_fleet *fleet, const struct pen_device_set *allowed,
                              const struct pen_device_set *holders, const struct pen_device_set *code,
                              uint32_t out_devices[PEN_FLEET_CANDIDATES]);

#endif
