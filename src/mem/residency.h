/* mem/residency.h - where a region's contents are: by byte ranges, one bit a replica. Pure.
 * Model:     architecture.md §6 rule 1: a region has one contents and any number of replicas; a replica is valid or
 *            not; a write leaves one valid. With no valid replica the contents are undefined (never written).
 * Method:    a region is cut into parts where accesses begin and end; each part knows its replicas.
 * Ownership: pen_residency_init, pen_residency_finish.
 * Threads:   one.
 * Errors:    none: a region that cannot be cut any more is one part, and moves as a whole. */
#ifndef PEN_MEM_RESIDENCY_H
#define PEN_MEM_RESIDENCY_H

#include <stdbool.h>
#include <stdint.h>

#define PEN_REPLICA_HOST 63u /* the arena range; devices' domains are 0 .. PEN_REPLICAS - 1 */
#define PEN_REPLICAS     63u

/* Parts of one region: beyond it, what is to be told apart from the rest is taken with all of it. */
#define PEN_RESIDENCY_PARTS 512u

struct pen_residency_part {
    uint64_t end;        /* it begins where the one before ends, the last one ends with the region */
    uint64_t valid;      /* replicas */
    uint64_t overwrites; /* the region's count of them when this was last overwritten without a look at its old bytes */
    uint32_t pins;       /* ranges that begin or end where it ends, and are to stay so */
};

struct pen_residency {
    struct pen_residency_part whole;  /* the only part, while `parts` is NULL */
    struct pen_residency_part *parts; /* count of them; or NULL */
    uint32_t count, capacity;
};

enum pen_move {
    PEN_MOVE_NONE = 0, /* it is valid there, or there is nothing to move */
    PEN_MOVE_TO_HOST,  /* copy `from` to the host replica; then ask again */
    PEN_MOVE_FROM_HOST /* copy the host replica to `to` */
};

static inline bool pen_replicas_have(uint64_t replicas, uint32_t at)
{
    return replicas >> at & 1;
}

/* The next step towards a valid replica at `to`, of bytes that are valid in those. `out_from` is set for
 * PEN_MOVE_TO_HOST. */
enum pen_move pen_replicas_next(uint64_t replicas, uint32_t to, uint32_t *out_from);

/* Undefined contents of so many bytes. */
void pen_residency_init(struct pen_residency *residency, uint64_t size);
void pen_residency_finish(struct pen_residency *residency);

/* The replicas that are valid at a byte; the same ones are up to *out_end. */
uint64_t pen_residency_at(const struct pen_residency *residency, uint64_t offset, uint64_t *out_end);
/* Bytes of the range that would have to be moved to `to`. */
uint64_t pen_residency_missing(const struct pen_residency *residency, uint64_t begin, uint64_t end, uint32_t to);

/* Nothing would be lost with the replica at `at`: all that is valid there is valid elsewhere. */
bool pen_residency_is_spare(const struct pen_residency *residency, uint32_t at);

/* Has a part begin at `begin`, and one end at `end`. False: there is no room for them. */
bool pen_residency_cut(struct pen_residency *residency, uint64_t begin, uint64_t end);
/* Neighbours that know the same become one, but where a range is pinned. `still`: no copy of the region is under way,
 * and none will be lost that was made before an overwrite. */
void pen_residency_merge(struct pen_residency *residency, bool still);

/* The ranges of what follows begin and end with parts. */

/* The range is to begin and end with parts until it is unpinned: of a copy that is under way, and may be lost. */
void pen_residency_pin(struct pen_residency *residency, uint64_t begin, uint64_t end);
void pen_residency_unpin(struct pen_residency *residency, uint64_t begin, uint64_t end);
/* A copy is to be made at `to`. */
void pen_residency_copied(struct pen_residency *residency, uint64_t begin, uint64_t end, uint32_t to);
/* A command that reads there has been accepted: undefined contents are from now on what it finds. */
void pen_residency_read(struct pen_residency *residency, uint64_t begin, uint64_t end, uint32_t at);
/* A command that writes at `to` has been accepted there: every other replica is stale. `overwrites`: the region's count
 * of overwrites, this one included; 0: it is none. */
void pen_residency_written(struct pen_residency *residency, uint64_t begin, uint64_t end, uint32_t to,
                           uint64_t overwrites);
/* It is not there after all, but for what has been overwritten since there were so many overwrites; where nothing else
 * is valid, it is in `from`. */
void pen_residency_lost(struct pen_residency *residency, uint64_t begin, uint64_t end, uint32_t at, uint64_t from,
                        uint64_t overwrites);

#endif
