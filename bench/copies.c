/* bench/copies.c - what is copied of a wavefront of tiles on two devices with memories of their own, by the worker's
 * code (session.h), in a time of their own (timed.h): the same in every run. usage: copies KERNEL_NS prints `copies N`,
 * and as `time` the share of what one device would take for the kernels alone */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"
#include "timed.h"
#include "wire/futex.h"

#define SIDE          32u
#define TILE_BYTES    65536u
#define COPIED_PER_US 8000u

int main(int argc, char **argv)
{
    uint64_t kernel_ns = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
    if (!kernel_ns) {
        fputs("usage: copies KERNEL_NS\n", stderr);
        return 2;
    }
    struct session session = {.ops = timed_ops(kernel_ns, COPIED_PER_US), .region_bytes = TILE_BYTES};
    struct shape shape = shape_wavefront(SIDE);
    session_start(&session, shape.region_count);
    uint64_t begin = pen_now_ns();
    for (uint32_t i = 0; i < shape.task_count; i++)
        session_enqueue(&session, &shape.tasks[i]);
    while (session_is_busy(&session)) {
        timed_go_on();
        pen_task_reap(session.work);
    }
    double share = (double)(pen_now_ns() - begin) / (double)(kernel_ns * shape.task_count);
    printf("copies %llu\ntime %.3f\n", (unsigned long long)session.work->copies, share);
    session_stop(&session, &shape);
    free(shape.tasks);
    return 0;
}
