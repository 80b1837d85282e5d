/* mem/residency.c - see residency.h. */
#include "mem/residency.h"

enum pen_move pen_residency_next(const struct pen_residency *residency, uint32_t to, uint32_t *out_from)
{
    if (!residency->valid || pen_residency_valid(residency, to))
        return PEN_MOVE_NONE;
    if (pen_residency_valid(residency, PEN_REPLICA_HOST))
        return PEN_MOVE_FROM_HOST;
    *out_from = (uint32_t)__builtin_ctzll(residency->valid);
    return PEN_MOVE_TO_HOST;
}

void pen_residency_copied(struct pen_residency *residency, uint32_t to)
{
    residency->valid |= UINT64_C(1) << to;
}

void pen_residency_lost(struct pen_residency *residency, uint32_t at)
{
    residency->valid &= ~(UINT64_C(1) << at);
}

void pen_residency_written(struct pen_residency *residency, uint32_t to)
{
    residency->valid = UINT64_C(1) << to;
}
