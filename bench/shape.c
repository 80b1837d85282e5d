/* See shape.h. */
#include "shape.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TASKS = 20000,       /* of a row, about */
    INDEPENDENT = 4096,  /* regions, so that what a task writes was last used long ago */
    WAVEFRONT_SIDE = 32, /* tiles */
    CHOLESKY_SIDE = 24,
    PARAMETERS = 16 /* regions that nobody writes */
};

/* ---- made ------------------------------------------------------------------------------------------------------ */

static struct shape create(uint32_t tasks, uint32_t regions)
{
    struct shape shape = {.tasks = malloc(tasks * sizeof *shape.tasks), .region_count = regions};
    if (!shape.tasks) {
        fprintf(stderr, "%s: out of memory for %u tasks\n", program_invocation_short_name, tasks);
        exit(1);
    }
    return shape;
}

/* It writes the last of the regions. */
static void add(struct shape *shape, uint32_t count, const uint32_t *regions)
{
    struct shape_task *task = &shape->tasks[shape->task_count++];
    task->count = count;
    memcpy(task->regions, regions, count * sizeof *regions);
}

/* The tasks name so many regions each, the first of them parameters. */
static void pad(struct shape *shape, uint32_t regions)
{
    for (uint32_t i = 0; i < shape->task_count; i++) {
        struct shape_task *task = &shape->tasks[i];
        uint32_t more = task->count < regions ? regions - task->count : 0;
        memmove(task->regions + more, task->regions, task->count * sizeof *task->regions);
        for (uint32_t j = 0; j < more; j++)
            task->regions[j] = shape->region_count + (i + j) % PARAMETERS;
        task->count += more;
    }
    shape->region_count += PARAMETERS;
}

static struct shape independent(void)
{
    struct shape shape = create(TASKS, INDEPENDENT);
    for (uint32_t i = 0; i < TASKS; i++)
        add(&shape, 1, &(uint32_t){i % INDEPENDENT});
    return shape;
}

/* Each reads what those before it wrote, and writes what the oldest of them did. */
static struct shape chain(uint32_t regions)
{
    struct shape shape = create(TASKS, regions);
    for (uint32_t i = 0; i < TASKS; i++) {
        uint32_t ring[SHAPE_REGIONS];
        for (uint32_t j = 0; j < regions; j++)
            ring[j] = (i + 1 + j) % regions;
        add(&shape, regions, ring);
    }
    return shape;
}

static void add_wavefront(struct shape *shape, uint32_t side)
{
    for (uint32_t at = 0; at < side * side; at++) {
        uint32_t regions[3], count = 0;
        if (at >= side)
            regions[count++] = at - side;
        if (at % side)
            regions[count++] = at - 1;
        regions[count++] = at;
        add(shape, count, regions);
    }
}

struct shape shape_wavefront(uint32_t side)
{
    struct shape shape = create(side * side, side * side);
    add_wavefront(&shape, side);
    return shape;
}

static struct shape wavefronts(void)
{
    uint32_t tiles = WAVEFRONT_SIDE * WAVEFRONT_SIDE;
    struct shape shape = create(TASKS, tiles);
    while (shape.task_count + tiles <= TASKS)
        add_wavefront(&shape, WAVEFRONT_SIDE);
    return shape;
}

/* Of a lower triangle of tiles: potrf, trsm, syrk and gemm, by columns. */
static struct shape cholesky(void)
{
    const uint32_t side = CHOLESKY_SIDE, once = side * (side + 1) * (side + 2) / 6;
    struct shape shape = create(TASKS, side * side);
    while (shape.task_count + once <= TASKS)
        for (uint32_t k = 0; k < side; k++) {
            add(&shape, 1, &(uint32_t){k * side + k});
            for (uint32_t i = k + 1; i < side; i++)
                add(&shape, 2, (uint32_t[]){k * side + k, i * side + k});
            for (uint32_t i = k + 1; i < side; i++) {
                for (uint32_t j = k + 1; j < i; j++)
                    add(&shape, 3, (uint32_t[]){i * side + k, j * side + k, i * side + j});
                add(&shape, 2, (uint32_t[]){i * side + k, i * side + i});
            }
        }
    return shape;
}

/* ---- measured -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    struct shape (*make)(void); /* NULL: a chain */
    uint32_t regions;           /* that each task names at least */
} rows[] = {
    {"independent_1", independent, 1},
    {"independent_8", independent, 8},
    {"chain_1", NULL, 1},
    {"chain_2", NULL, 2},
    {"chain_4", NULL, 4},
    {"chain_8", NULL, 8},
    {"wavefront_3", wavefronts, 1},
    {"wavefront_8", wavefronts, 8},
    {"cholesky_3", cholesky, 1},
    {"cholesky_8", cholesky, 8},
};

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], name))
            return true;
    return argc <= 1;
}

int shape_measure(int argc, char **argv, uint64_t (*run)(const struct shape *shape))
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!wanted(rows[i].name, argc, argv))
            continue;
        struct shape shape = rows[i].make ? rows[i].make() : chain(rows[i].regions);
        pad(&shape, rows[i].regions);
        run(&shape);
        printf("%s %.1f\n", rows[i].name, (double)run(&shape) / shape.task_count);
        fflush(stdout);
        free(shape.tasks);
    }
    return 0;
}
