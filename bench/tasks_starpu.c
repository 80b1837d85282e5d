/* bench/tasks_starpu.c - what a task costs in StarPU: the same graphs (shape.h) of tasks that do nothing, on its CPU
 * workers, ordered by its data dependencies. The environment chooses scheduler and workers (STARPU_SCHED, STARPU_NCPU).
 * usage: tasks_starpu [ROW...] */
#include <starpu.h>
#include <stdio.h>
#include <stdlib.h>

#include "shape.h"

static void nothing(void *buffers[], void *argument)
{
    (void)buffers, (void)argument;
}

static void check(int rc, const char *what)
{
    if (!rc)
        return;
    fprintf(stderr, "tasks_starpu: %s: error %d\n", what, rc);
    exit(1);
}

/* One for each number of regions. */
static struct starpu_codelet codelets[SHAPE_REGIONS];

static void make_codelets(void)
{
    for (int count = 1; count <= (int)SHAPE_REGIONS; count++) {
        struct starpu_codelet *codelet = &codelets[count - 1];
        codelet->cpu_funcs[0] = nothing;
        codelet->nbuffers = count;
        for (int i = 0; i < count; i++)
            codelet->modes[i] = i + 1 < count ? STARPU_R : STARPU_RW;
    }
}

static void submit(const struct shape_task *what, const starpu_data_handle_t *handles)
{
    struct starpu_task *task = starpu_task_create();
    task->cl = &codelets[what->count - 1];
    for (uint32_t i = 0; i < what->count; i++)
        task->handles[i] = handles[what->regions[i]];
    check(starpu_task_submit(task), "a task is refused");
}

static uint64_t now_ns(void)
{
    return (uint64_t)(starpu_timing_now() * 1000);
}

static uint64_t run(const struct shape *shape)
{
    starpu_data_handle_t *handles = calloc(shape->region_count, sizeof(starpu_data_handle_t));
    int *values = calloc(shape->region_count, sizeof *values);
    check(!handles || !values, "no memory");
    for (uint32_t i = 0; i < shape->region_count; i++)
        starpu_variable_data_register(&handles[i], STARPU_MAIN_RAM, (uintptr_t)&values[i], sizeof values[i]);
    uint64_t begin = now_ns();
    for (uint32_t i = 0; i < shape->task_count; i++)
        submit(&shape->tasks[i], handles);
    check(starpu_task_wait_for_all(), "waiting for all tasks");
    uint64_t took = now_ns() - begin;
    for (uint32_t i = 0; i < shape->region_count; i++)
        starpu_data_unregister(handles[i]);
    free(handles);
    free(values);
    return took;
}

int main(int argc, char **argv)
{
    check(starpu_init(NULL), "StarPU does not start");
    make_codelets();
    int rc = shape_measure(argc, argv, run);
    starpu_shutdown();
    return rc;
}
