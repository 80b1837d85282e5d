/* bench/shape.h - graphs of tasks, by which regions each of them reads and writes: the same for whoever is measured.
 * Whatever fails ends the program, with a message. */
#ifndef BENCH_SHAPE_H
#define BENCH_SHAPE_H

#include <stdint.h>

#define SHAPE_REGIONS 8u /* that a task names at most */

struct shape_task {
    uint32_t count;                  /* of regions, each another */
    uint32_t regions[SHAPE_REGIONS]; /* the last one is read and written, the others are read */
};

struct shape {
    struct shape_task *tasks;
    uint32_t task_count, region_count;
};

/* Has `run` do all tasks of each row that the arguments name, or of all rows; it returns how many ns that took. Prints
 * `ROW NS`, of one task, after a run to warm up. The program's exit status. */
int shape_measure(int argc, char **argv, uint64_t (*run)(const struct shape *shape));

/* Tiles of a square of so many, by rows: each reads the one above and the one to the left of it. The caller frees the
 * tasks. */
struct shape shape_wavefront(uint32_t side);

#endif
