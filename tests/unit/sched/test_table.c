/* sched/table: the highest priority, then the oldest; what finds its data passes those of about its age. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sched/table.h"

#define ENTRIES 3000u

struct task {
    struct pen_table_entry entry;
    uint64_t ticket, missing;
    uint8_t priority;
};

static struct task tasks[ENTRIES];

static struct task *task_of(const struct pen_table_entry *entry)
{
    return (struct task *)(uintptr_t)entry; /* its first member */
}

static uint64_t missing_of(void *context, const struct pen_table_entry *entry)
{
    (void)context;
    return task_of(entry)->missing;
}

static void add(struct pen_table *table, uint32_t i, uint8_t priority, uint64_t ticket, uint64_t missing)
{
    tasks[i] = (struct task){.priority = priority, .ticket = ticket, .missing = missing};
    assert_int_equal(pen_table_add(table, &tasks[i].entry, priority, ticket), 0);
    assert_int_not_equal(tasks[i].entry.place, 0);
}

static struct task *take(struct pen_table *table)
{
    struct pen_table_entry *entry = pen_table_best(table, missing_of, NULL);
    if (!entry)
        return NULL;
    pen_table_remove(table, entry);
    assert_int_equal(entry->place, 0);
    return task_of(entry);
}

static void priority_then_age(void **unused)
{
    struct pen_table table = {0};
    (void)unused;
    assert_null(take(&table));
    add(&table, 0, 1, 10, 0);
    add(&table, 1, 1, 5, 0);
    add(&table, 2, 3, 20, 0);
    add(&table, 3, 3, 19, 0);
    const uint32_t order[] = {3, 2, 1, 0};
    for (uint32_t i = 0; i < 4; i++)
        assert_ptr_equal(take(&table), &tasks[order[i]]);
    assert_null(take(&table));
    pen_table_finish(&table);
}

/* Within an age, and never before a higher priority. */
static void data_that_is_there(void **unused)
{
    struct pen_table table = {0};
    (void)unused;
    add(&table, 0, 1, 100, 5000);
    add(&table, 1, 1, 100 + PEN_TABLE_AGE, 10);
    add(&table, 2, 1, 101 + PEN_TABLE_AGE, 0);
    add(&table, 3, 2, 500, 9000);
    const uint32_t order[] = {3, 1, 0, 2};
    for (uint32_t i = 0; i < 4; i++)
        assert_ptr_equal(take(&table), &tasks[order[i]]);
    assert_null(take(&table));
    pen_table_finish(&table);
}

/* Which of several tables has what goes first. */
static void the_first_of_several(void **unused)
{
    struct pen_table tables[3] = {{0}};
    (void)unused;
    assert_null(pen_table_first(&tables[0]));
    add(&tables[0], 0, 1, 10, 0);
    add(&tables[1], 1, 1, 9, 5000);
    add(&tables[1], 2, 1, 11, 0);
    add(&tables[2], 3, 2, 12, 9000);
    assert_ptr_equal(pen_table_first(&tables[1])->entry, &tasks[1].entry); /* whatever it misses */
    assert_true(pen_table_first(&tables[2])->key < pen_table_first(&tables[1])->key);
    assert_true(pen_table_first(&tables[1])->key < pen_table_first(&tables[0])->key);
    for (uint32_t i = 0; i < 3; i++)
        pen_table_finish(&tables[i]);
}

/* Beside a model that looks at all: in, out of the middle, and the first out. */
static void as_a_list_would(void **unused)
{
    struct pen_table table = {0};
    uint32_t seed = 7, taken = 0;
    (void)unused;
    memset(tasks, 0, sizeof tasks);
    for (uint32_t step = 0; step < 20 * ENTRIES; step++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t i = (seed >> 8) % ENTRIES;
        if (tasks[i].entry.place && seed >> 30) {
            pen_table_remove(&table, &tasks[i].entry);
            assert_int_equal(tasks[i].entry.place, 0);
        } else if (!tasks[i].entry.place) {
            add(&table, i, (uint8_t)(seed >> 28 & 3), (uint64_t)step * 1000, 0); /* further apart than an age */
        } else {
            const struct task *first = NULL;
            for (uint32_t at = 0; at < ENTRIES; at++)
                if (tasks[at].entry.place &&
                    (!first || tasks[at].priority > first->priority ||
                     (tasks[at].priority == first->priority && tasks[at].ticket < first->ticket)))
                    first = &tasks[at];
            assert_ptr_equal(take(&table), first);
            taken++;
        }
    }
    assert_true(taken > ENTRIES);
    pen_table_finish(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(priority_then_age), cmocka_unit_test(data_that_is_there),
                                       cmocka_unit_test(the_first_of_several), cmocka_unit_test(as_a_list_would)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
