/* base/map.c - see map.h. Deletion shifts entries back, so there are no tombstones (Knuth, TAOCP 6.4, algorithm R). */
#include "base/map.h"

#include <stdlib.h>

#include "base/error.h"

static uint32_t home(const struct pen_map *map, uint64_t key)
{
    return (uint32_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (map->capacity - 1);
}

/* The entry of key, or the free one where it would go. The map has at least one free entry. */
static struct pen_map_entry *find(const struct pen_map *map, uint64_t key)
{
    uint32_t i = home(map, key);
    while (map->entries[i].key && map->entries[i].key != key)
        i = (i + 1) & (map->capacity - 1);
    return &map->entries[i];
}

static int grow(struct pen_map *map)
{
    struct pen_map bigger = {.capacity = map->capacity ? map->capacity * 2 : 16, .count = map->count};
    bigger.entries = calloc(bigger.capacity, sizeof *bigger.entries);
    if (!bigger.entries)
        return -PEN_ENOMEM;
    for (uint32_t i = 0; i < map->capacity; i++)
        if (map->entries[i].key)
            *find(&bigger, map->entries[i].key) = map->entries[i];
    free(map->entries);
    *map = bigger;
    return 0;
}

void pen_map_finish(struct pen_map *map)
{
    if (!map)
        return;
    free(map->entries);
    *map = (struct pen_map){0};
}

int pen_map_set(struct pen_map *map, uint64_t key, void *value)
{
    if ((uint64_t)map->count * 2 >= map->capacity) {
        int rc = grow(map);
        if (rc)
            return rc;
    }
    struct pen_map_entry *entry = find(map, key);
    if (!entry->key)
        map->count++;
    *entry = (struct pen_map_entry){key, value};
    return 0;
}

void *pen_map_get(const struct pen_map *map, uint64_t key)
{
    return map->capacity ? find(map, key)->value : NULL;
}

void *pen_map_remove(struct pen_map *map, uint64_t key)
{
    if (!map->capacity)
        return NULL;
    struct pen_map_entry *entry = find(map, key);
    if (!entry->key)
        return NULL;
    void *value = entry->value;
    uint32_t mask = map->capacity - 1, hole = (uint32_t)(entry - map->entries);
    for (uint32_t i = (hole + 1) & mask; map->entries[i].key; i = (i + 1) & mask) {
        /* Move the entry into the hole unless its home lies after the hole. */
        if (((i - home(map, map->entries[i].key)) & mask) >= ((i - hole) & mask)) {
            map->entries[hole] = map->entries[i];
            hole = i;
        }
    }
    map->entries[hole] = (struct pen_map_entry){0};
    map->count--;
    return value;
}
