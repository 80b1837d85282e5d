/* sched/table.h - what could go now, and waits for room on a device: by priority, then by age; among the first of
 * these, what finds its data there. Pure.
 *
 * Method:    a table of tasks with priority and order of allocation (US9069609), as a heap of four children a node
 *            (Johnson, IPL 4(3), 1975) that holds the keys itself; fewest missing bytes first (PTask: Rossbach et al.,
 *            SOSP 2011), bounded by age, so that nothing is passed over for ever.
 * Ownership: entries are the caller's, and stay where they are while they are in the table.
 * Threads:   one.
 * Errors:    0 or -PEN_ENOMEM. */
#ifndef PEN_SCHED_TABLE_H
#define PEN_SCHED_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* So many of the first are looked at for one that finds its data: the root of the heap, its children and theirs. More
 * find little: with 85, four times the looks, bench/decision moves two bytes less of a thousand. */
#define PEN_TABLE_LOOKS 21u
/* What is younger by so many tickets does not pass anything. */
#define PEN_TABLE_AGE 64u

/* Zero-initialize. */
struct pen_table_entry {
    uint32_t place; /* in the heap, from 1; 0: in no table */
};

struct pen_table_slot {
    uint64_t key; /* the smallest goes first */
    struct pen_table_entry *entry;
};

/* Zero-initialize. */
struct pen_table {
    struct pen_table_slot *slots;
    uint32_t count, capacity;
};

void pen_table_finish(struct pen_table *table);
/* priority: the higher goes first. ticket, below 2^56: the lower goes first. O(log n). */
int pen_table_add(struct pen_table *table, struct pen_table_entry *entry, uint8_t priority, uint64_t ticket);
/* One that is in it. O(log n). */
void pen_table_remove(struct pen_table *table, struct pen_table_entry *entry);
/* What goes before all else in it; of several tables' the one with the smallest key goes first. NULL: it is empty. */
static inline const struct pen_table_slot *pen_table_first(const struct pen_table *table)
{
    return table->count ? table->slots : NULL;
}
/* Of the first, all of one priority and about one age, the one with the fewest missing bytes, and the oldest of equal
 * ones; it stays in. NULL: it is empty. */
struct pen_table_entry *pen_table_best(const struct pen_table *table,
                                       uint64_t (*missing)(void *context, const struct pen_table_entry *entry),
                                       void *context);

#endif
