/* sched/table.c - see table.h. */
#include "sched/table.h"

#include <stdlib.h>

#include "base/error.h"

#define CHILDREN    4u
#define TICKET_BITS 56

void pen_table_finish(struct pen_table *table)
{
    free(table->slots);
    *table = (struct pen_table){0};
}

static void put(struct pen_table *table, uint32_t at, struct pen_table_slot slot)
{
    table->slots[at] = slot;
    slot.entry->place = at + 1;
}

/* From `at` on, where nothing is, to where nothing above is later. */
static void rise(struct pen_table *table, uint32_t at, struct pen_table_slot slot)
{
    while (at) {
        uint32_t above = (at - 1) / CHILDREN;
        if (table->slots[above].key <= slot.key)
            break;
        put(table, at, table->slots[above]);
        at = above;
    }
    put(table, at, slot);
}

static uint32_t first_child(const struct pen_table *table, uint32_t at)
{
    uint32_t first = at * CHILDREN + 1, best = first;
    for (uint32_t i = first + 1; i < first + CHILDREN && i < table->count; i++)
        if (table->slots[i].key < table->slots[best].key)
            best = i;
    return best;
}

/* The same, to where nothing below is earlier. */
static void sink(struct pen_table *table, uint32_t at, struct pen_table_slot slot)
{
    while (at * CHILDREN + 1 < table->count) {
        uint32_t below = first_child(table, at);
        if (table->slots[below].key >= slot.key)
            break;
        put(table, at, table->slots[below]);
        at = below;
    }
    put(table, at, slot);
}

int pen_table_add(struct pen_table *table, struct pen_table_entry *entry, uint8_t priority, uint64_t ticket)
{
    if (table->count == table->capacity) {
        uint32_t bigger = table->capacity ? 2 * table->capacity : 64;
        struct pen_table_slot *slots = realloc(table->slots, bigger * sizeof *slots);
        if (!slots)
            return -PEN_ENOMEM;
        table->slots = slots;
        table->capacity = bigger;
    }
    uint64_t key = (uint64_t)(UINT8_MAX - priority) << TICKET_BITS | ticket;
    rise(table, table->count++, (struct pen_table_slot){key, entry});
    return 0;
}

void pen_table_remove(struct pen_table *table, struct pen_table_entry *entry)
{
    uint32_t at = entry->place - 1;
    struct pen_table_slot last = table->slots[--table->count];
    entry->place = 0;
    if (at == table->count)
        return;
    if (at && last.key < table->slots[(at - 1) / CHILDREN].key)
        rise(table, at, last);
    else
        sink(table, at, last);
}

struct pen_table_entry *pen_table_best(const struct pen_table *table,
                                       uint64_t (*missing)(void *context, const struct pen_table_entry *entry),
                                       void *context)
{
    const struct pen_table_slot *best = NULL;
    uint64_t fewest = 0;
    for (uint32_t i = 0; i < table->count && i < PEN_TABLE_LOOKS; i++) {
        const struct pen_table_slot *slot = &table->slots[i];
        if (slot->key - table->slots[0].key > PEN_TABLE_AGE) /* another priority is further away, too */
            continue;
        uint64_t bytes = missing(context, slot->entry);
        if (!best || bytes < fewest || (bytes == fewest && slot->key < best->key)) {
            best = slot;
            fewest = bytes;
        }
    }
    return best ? best->entry : NULL;
}
