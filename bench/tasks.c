/* bench/tasks.c - what the worker's graph costs of a task: hazards, placement, table, completion (session.h), on
 * devices that take no time (instant.h). usage: tasks [ROW...]: see shape.h */
#include "session.h"
#include "wire/futex.h"

enum { REAP_EVERY = 64 }; /* as pen_work_run */

static void look(struct session *session)
{
    instant_run();
    pen_task_reap(session->work);
}

static uint64_t run(const struct shape *shape)
{
    struct session session = {.ops = instant_ops, .direct = true, .region_bytes = 4096};
    session_start(&session, shape->region_count);
    uint64_t begin = pen_now_ns();
    for (uint32_t i = 0; i < shape->task_count; i++) {
        session_enqueue(&session, &shape->tasks[i]);
        if ((i + 1) % REAP_EVERY == 0)
            look(&session);
    }
    while (session_is_busy(&session))
        look(&session);
    uint64_t took = pen_now_ns() - begin;
    session_stop(&session, shape);
    return took;
}

int main(int argc, char **argv)
{
    return shape_measure(argc, argv, run);
}
