/* mem/residency.c - see residency.h. */
#include "mem/residency.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum pen_move pen_replicas_next(uint64_t replicas, uint32_t to, uint32_t *out_from)
{
    if (!replicas || pen_replicas_have(replicas, to))
        return PEN_MOVE_NONE;
    if (pen_replicas_have(replicas, PEN_REPLICA_HOST))
        return PEN_MOVE_FROM_HOST;
    *out_from = (uint32_t)__builtin_ctzll(replicas);
    return PEN_MOVE_TO_HOST;
}

void pen_residency_init(struct pen_residency *residency, uint64_t size)
{
    *residency = (struct pen_residency){.whole = {.end = size}, .count = 1};
}

void pen_residency_finish(struct pen_residency *residency)
{
    free(residency->parts);
    residency->parts = NULL;
}

/* ---- parts ------------------------------------------------------------------------------------------------------ */

static const struct pen_residency_part *parts_of(const struct pen_residency *residency)
{
    return residency->parts ? residency->parts : &residency->whole;
}

/* The part that the byte is in. */
static uint32_t find(const struct pen_residency *residency, uint64_t offset)
{
    const struct pen_residency_part *parts = parts_of(residency);
    uint32_t low = 0, high = residency->count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (parts[middle].end > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

uint64_t pen_residency_at(const struct pen_residency *residency, uint64_t offset, uint64_t *out_end)
{
    const struct pen_residency_part *part = &parts_of(residency)[find(residency, offset)];
    *out_end = part->end;
    return part->valid;
}

uint64_t pen_residency_missing(const struct pen_residency *residency, uint64_t begin, uint64_t end, uint32_t to)
{
    uint64_t bytes = 0, next;
    for (uint64_t at = begin; at < end; at = next) {
        uint64_t valid = pen_residency_at(residency, at, &next);
        next = next < end ? next : end;
        if (valid && !pen_replicas_have(valid, to))
            bytes += next - at;
    }
    return bytes;
}

bool pen_residency_is_spare(const struct pen_residency *residency, uint32_t at)
{
    const struct pen_residency_part *parts = parts_of(residency);
    for (uint32_t i = 0; i < residency->count; i++)
        if (parts[i].valid == UINT64_C(1) << at)
            return false;
    return true;
}

/* For two more. */
static bool make_room(struct pen_residency *residency)
{
    uint32_t capacity = residency->capacity ? 2 * residency->capacity : 8;
    if (residency->count + 2 > PEN_RESIDENCY_PARTS)
        return false;
    if (residency->count + 2 <= residency->capacity)
        return true;
    struct pen_residency_part *parts = realloc(residency->parts, capacity * sizeof *parts);
    if (!parts)
        return false;
    if (!residency->parts)
        parts[0] = residency->whole;
    residency->parts = parts;
    residency->capacity = capacity;
    return true;
}

static bool is_cut(const struct pen_residency *residency, uint64_t offset)
{
    uint32_t i = find(residency, offset);
    const struct pen_residency_part *part = &parts_of(residency)[i];
    return part->end == offset || (i ? part[-1].end : 0) == offset;
}

static void cut(struct pen_residency *residency, uint64_t offset)
{
    if (is_cut(residency, offset))
        return;
    uint32_t i = find(residency, offset);
    struct pen_residency_part *part = &residency->parts[i];
    memmove(part + 1, part, (residency->count - i) * sizeof *part);
    part->end = offset;
    part->pins = 0;
    residency->count++;
}

bool pen_residency_cut(struct pen_residency *residency, uint64_t begin, uint64_t end)
{
    if (is_cut(residency, begin) && is_cut(residency, end))
        return true;
    if (!make_room(residency))
        return false;
    cut(residency, begin);
    cut(residency, end);
    return true;
}

static bool is_same(const struct pen_residency_part *a, const struct pen_residency_part *b, bool still)
{
    return a->valid == b->valid && (still || a->overwrites == b->overwrites);
}

void pen_residency_merge(struct pen_residency *residency, bool still)
{
    if (residency->count == 1)
        return;
    struct pen_residency_part *parts = residency->parts;
    uint32_t last = 0;
    for (uint32_t i = 1; i < residency->count; i++) {
        last += parts[last].pins || !is_same(&parts[last], &parts[i], still);
        parts[last] = parts[i];
    }
    residency->count = last + 1;
}

/* Of the part that ends there; the region's ends need none. */
static uint32_t *pins_at(struct pen_residency *residency, uint64_t offset)
{
    uint32_t i = offset ? find(residency, offset - 1) : 0;
    return offset && i + 1 < residency->count ? &residency->parts[i].pins : NULL;
}

void pen_residency_pin(struct pen_residency *residency, uint64_t begin, uint64_t end)
{
    uint32_t *pins[] = {pins_at(residency, begin), pins_at(residency, end)};
    for (int i = 0; i < 2; i++)
        if (pins[i])
            ++*pins[i];
}

void pen_residency_unpin(struct pen_residency *residency, uint64_t begin, uint64_t end)
{
    uint32_t *pins[] = {pins_at(residency, begin), pins_at(residency, end)};
    for (int i = 0; i < 2; i++)
        if (pins[i])
            --*pins[i];
}

/* ---- changes --------------------------------------------------------------------------------------------- */

/* The parts of a range: *out_count of them from the one returned on. */
static struct pen_residency_part *range(struct pen_residency *residency, uint64_t begin, uint64_t end,
                                        uint32_t *out_count)
{
    struct pen_residency_part *parts = residency->parts ? residency->parts : &residency->whole;
    uint32_t first = find(residency, begin), last = find(residency, end - 1);
    assert(begin < end && (first ? parts[first - 1].end : 0) == begin && parts[last].end == end);
    *out_count = last - first + 1;
    return &parts[first];
}

void pen_residency_copied(struct pen_residency *residency, uint64_t begin, uint64_t end, uint32_t to)
{
    uint32_t count;
    struct pen_residency_part *parts = range(residency, begin, end, &count);
    for (uint32_t i = 0; i < count; i++)
        parts[i].valid |= UINT64_C(1) << to;
}

void pen_residency_read(struct pen_residency *residency, uint64_t begin, uint64_t end, uint32_t at)
{
    uint32_t count;
    struct pen_residency_part *parts = range(residency, begin, end, &count);
    for (uint32_t i = 0; i < count; i++)
        if (!parts[i].valid)
            parts[i].valid = UINT64_C(1) << at;
}

void pen_residency_written(struct pen_residency *residency, uint64_t begin, uint64_t end, uint32_t to,
                           uint64_t overwrites)
{
    uint32_t count;
    struct pen_residency_part *parts = range(residency, begin, end, &count);
    for (uint32_t i = 0; i < count; i++) {
        parts[i].valid = UINT64_C(1) << to;
        parts[i].overwrites = overwrites ? overwrites : parts[i].overwrites;
    }
}

void pen_residency_lost(struct pen_residency *residency, uint64_t begin, uint64_t end, uint32_t at, uint64_t from,
                        uint64_t overwrites)
{
    uint32_t count;
    struct pen_residency_part *parts = range(residency, begin, end, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (parts[i].overwrites > overwrites)
            continue;
        parts[i].valid &= ~(UINT64_C(1) << at);
        if (!parts[i].valid)
            parts[i].valid = from;
    }
}
