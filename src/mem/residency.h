/* mem/residency.h - where a region's contents are: one bit a replica. Pure.
 * Model:   architecture.md §6 rule 1: a region has one contents and any number of replicas; a replica is valid or
 *          not; a write leaves one valid. With no valid replica the contents are undefined (never written).
 * Threads: one. */
#ifndef PEN_MEM_RESIDENCY_H
#define PEN_MEM_RESIDENCY_H

#include <stdbool.h>
#include <stdint.h>

#define PEN_REPLICA_HOST 63u /* the arena range; devices' domains are 0 .. PEN_REPLICAS - 1 */
#define PEN_REPLICAS     63u

struct pen_residency {
    uint64_t valid;
};

enum pen_move {
    PEN_MOVE_NONE = 0, /* it is valid there, or there is nothing to move */
    PEN_MOVE_TO_HOST,  /* copy `from` to the host replica; then ask again */
    PEN_MOVE_FROM_HOST /* copy the host replica to `to` */
};

/* The next step towards a valid replica at `to`. `out_from` is set for PEN_MOVE_TO_HOST. */
enum pen_move pen_residency_next(const struct pen_residency *residency, uint32_t to, uint32_t *out_from);
/* A copy has been made at `to`. */
void pen_residency_copied(struct pen_residency *residency, uint32_t to);
/* It is not there after all. */
void pen_residency_lost(struct pen_residency *residency, uint32_t at);
/* A command that writes at `to` has been accepted there: every other replica is stale. */
void pen_residency_written(struct pen_residency *residency, uint32_t to);

static inline bool pen_residency_valid(const struct pen_residency *residency, uint32_t at)
{
    return residency->valid >> at & 1;
}

#endif
