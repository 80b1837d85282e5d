/* sched/fleet.c - see fleet.h. */
#include "sched/fleet.h"

/* A device with less than this to do is as good as idle; each further level is eight times as much. */
#define NEAR_NS UINT64_C(8192)

void pen_fleet_init(struct pen_fleet *fleet, uint64_t seed)
{
    *fleet = (struct pen_fleet){.random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1};
    for (uint32_t i = 0; i < PEN_FLEET_DEVICES; i++)
        fleet->level_of[i] = PEN_FLEET_LEVELS;
}

static uint8_t level_of(uint64_t ahead_ns)
{
    uint8_t level = 0;
    for (uint64_t limit = NEAR_NS; ahead_ns >= limit && level < PEN_FLEET_LEVELS - 1; limit *= 8)
        level++;
    return level;
}

void pen_fleet_note(struct pen_fleet *fleet, uint32_t device, uint64_t ahead_ns, bool room)
{
    uint8_t before = fleet->level_of[device], now = room ? level_of(ahead_ns) : PEN_FLEET_LEVELS;
    if (now == before)
        return;
    if (before < PEN_FLEET_LEVELS)
        pen_device_set_remove(&fleet->level[before], device);
    if (now < PEN_FLEET_LEVELS)
        pen_device_set_add(&fleet->level[now], device);
    fleet->level_of[device] = now;
}

/* xorshift64* (Marsaglia 2003, Vigna 2016). */
static uint32_t next_random(struct pen_fleet *fleet)
{
    fleet->random ^= fleet->random >> 12;
    fleet->random ^= fleet->random << 25;
    fleet->random ^= fleet->random >> 27;
    return (uint32_t)((fleet->random * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

/* The first at `from` or after it, round; -1: there is none. */
static int first_from(const struct pen_device_set *level, const struct pen_device_set *set, uint32_t from)
{
    uint64_t later = ~UINT64_C(0) << from % 64;
    for (uint32_t i = 0; i <= PEN_FLEET_WORDS; i++) {
        uint32_t at = (from / 64 + i) % PEN_FLEET_WORDS;
        uint64_t word = level->words[at] & set->words[at];
        if (i == 0)
            word &= later;
        else if (i == PEN_FLEET_WORDS)
            word &= ~later;
        if (word)
            return (int)(at * 64 + (uint32_t)__builtin_ctzll(word));
    }
    return -1;
}

int pen_fleet_best(const struct pen_fleet *fleet, const struct pen_device_set *set)
{
    int best = -1;
    for (uint32_t i = 0; i < PEN_FLEET_LEVELS && best < 0; i++)
        best = first_from(&fleet->level[i], set, 0);
    return best;
}

/* Moves the best of the set, up to `most`, to what is chosen. */
static void choose(const struct pen_fleet *fleet, struct pen_device_set left, uint32_t most, uint32_t *out,
                   uint32_t *count)
{
    int best;
    for (uint32_t i = 0; i < most && (best = pen_fleet_best(fleet, &left)) >= 0; i++) {
        pen_device_set_remove(&left, (uint32_t)best);
        out[(*count)++] = (uint32_t)best;
    }
}

static struct pen_device_set both(const struct pen_device_set *a, const struct pen_device_set *b)
{
    struct pen_device_set set;
    for (uint32_t i = 0; i < PEN_FLEET_WORDS; i++)
        set.words[i] = a->words[i] & b->words[i];
    return set;
}

static void choose_other(struct pen_fleet *fleet, const struct pen_device_set *left, uint32_t *out, uint32_t *count)
{
    uint32_t from = next_random(fleet) % PEN_FLEET_DEVICES;
    int found = -1;
    for (uint32_t i = 0; i < PEN_FLEET_LEVELS && found < 0; i++)
        found = first_from(&fleet->level[i], left, from);
    if (found >= 0)
        out[(*count)++] = (uint32_t)found;
}

uint32_t pen_fleet_candidates(struct pen_fleet *fleet, const struct pen_device_set *allowed,
                              const struct pen_device_set *holders, const struct pen_device_set *code,
                              uint32_t out_devices[PEN_FLEET_CANDIDATES])
{
    const struct pen_device_set *kinds[] = {holders, code};
    struct pen_device_set left = *allowed;
    uint32_t count = 0;
    for (uint32_t kind = 0; kind < 2; kind++) {
        uint32_t before = count;
        choose(fleet, both(&left, kinds[kind]), PEN_FLEET_EACH, out_devices, &count);
        for (uint32_t i = before; i < count; i++)
            pen_device_set_remove(&left, out_devices[i]);
    }
    for (uint32_t i = 0; i < PEN_FLEET_OTHERS; i++) {
        uint32_t before = count;
        choose_other(fleet, &left, out_devices, &count);
        if (count > before)
            pen_device_set_remove(&left, out_devices[before]);
    }
    return count;
}
