/* base/map.h - 64-bit id to pointer; open addressing, linear probing.
 * Ownership: owns its table, borrows the values. Threads: the caller's lock. Errors: 0 or -PEN_ENOMEM. */
#ifndef PEN_BASE_MAP_H
#define PEN_BASE_MAP_H

#include <stdint.h>

struct pen_map_entry {
    uint64_t key; /* 0: free */
    void *value;
};

/* Zero-initialize. */
struct pen_map {
    struct pen_map_entry *entries;
    uint32_t capacity; /* power of two, or 0 */
    uint32_t count;
};

void pen_map_finish(struct pen_map *map);
/* Sets or replaces. key is not 0, value is not NULL. */
int pen_map_set(struct pen_map *map, uint64_t key, void *value);
/* NULL when absent. */
void *pen_map_get(const struct pen_map *map, uint64_t key);
/* Returns what was there, or NULL. */
void *pen_map_remove(struct pen_map *map, uint64_t key);

#endif
