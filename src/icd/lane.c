/* icd/lane.c - see hostptr.h. */
#include <stdlib.h>

#include "icd/entry.h"
#include "icd/hostptr.h"
#include "icd/service.h"

struct lane {
    struct pen_list link;
    cl_command_queue queue;
};

cl_command_queue pen_lane_find(cl_context context, cl_device_id device)
{
    PEN_LIST_EACH(node, next, &context->home->lanes)
    {
        cl_command_queue queue = PEN_CONTAINER(node, struct lane, link)->queue;
        if (queue->context == context && queue->device == device)
            return queue;
    }
    return NULL;
}

int pen_lane_make(cl_context context, cl_device_id device)
{
    cl_int status;
    struct lane *lane = malloc(sizeof *lane);
    if (!lane)
        return -PEN_ENOMEM;
    lane->queue = pen_clCreateCommandQueue(context, device, 0, &status);
    if (!lane->queue) {
        free(lane);
        int gone = pen_session_alive(context->session);
        return gone ? gone : -PEN_ELIMIT;
    }
    pthread_mutex_lock(&context->home->sharing);
    bool late = pen_lane_find(context, device) != NULL;
    if (!late)
        pen_list_append(&context->home->lanes, &lane->link);
    pthread_mutex_unlock(&context->home->sharing);
    if (late) {
        (void)pen_release(lane->queue, PEN_MAGIC_QUEUE, CL_INVALID_COMMAND_QUEUE);
        free(lane);
    }
    return 0;
}

cl_command_queue pen_lane_get(cl_context context, cl_device_id device)
{
    cl_command_queue queue;
    do {
        pthread_mutex_lock(&context->home->sharing);
        queue = pen_lane_find(context, device);
        if (queue)
            pen_ref(queue);
        pthread_mutex_unlock(&context->home->sharing);
    } while (!queue && pen_lane_make(context, device) == 0);
    return queue;
}

void pen_lanes_take(cl_context context, struct pen_list *out_taken)
{
    PEN_LIST_EACH(node, next, &context->home->regions)
    if (PEN_CONTAINER(node, struct _cl_mem, in_host_ptrs)->context == context)
        return;
    PEN_LIST_EACH(node, next, &context->home->lanes)
    {
        if (PEN_CONTAINER(node, struct lane, link)->queue->context != context)
            continue;
        pen_list_remove(node);
        pen_list_append(out_taken, node);
    }
}

void pen_lanes_drop(struct pen_list *taken)
{
    PEN_LIST_EACH(node, next, taken)
    {
        struct lane *lane = PEN_CONTAINER(node, struct lane, link);
        (void)pen_release(lane->queue, PEN_MAGIC_QUEUE, CL_INVALID_COMMAND_QUEUE);
        free(lane);
    }
}
