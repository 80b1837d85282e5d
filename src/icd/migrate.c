#include <stdlib.h>

#include "icd/entry.h"
#include "icd/move.h"

#define MIGRATE_FLAGS ((cl_mem_migration_flags)(CL_MIGRATE_MEM_OBJECT_HOST | CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED))

static cl_int migrate_check(cl_command_queue queue, cl_uint count, const cl_mem *objects, cl_mem_migration_flags flags)
{
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    if (count == 0 || !objects || (flags & ~MIGRATE_FLAGS))
        return CL_INVALID_VALUE;
    for (cl_uint i = 0; i < count; i++) {
        if (!pen_object_is(objects[i], PEN_MAGIC_MEMORY))
            return CL_INVALID_MEM_OBJECT;
        if (objects[i]->context != queue->context)
            return CL_INVALID_CONTEXT;
    }
    return CL_SUCCESS;
}

/* It has a place of its own on devices, and can have one on the queue's: it is no error to hint at an image that the
 * device does not take. */
static bool can_move(cl_command_queue queue, cl_mem memory)
{
    return !memory->direct &&
           (memory->type == CL_MEM_OBJECT_BUFFER || pen_image_check_device(queue, memory) == CL_SUCCESS);
}

static cl_uint collect(cl_command_queue queue, cl_uint count, const cl_mem *objects, uint64_t *regions)
{
    cl_uint moved = 0;
    for (cl_uint i = 0; i < count; i++)
        if (can_move(queue, objects[i]))
            regions[moved++] = objects[i]->id;
    return moved;
}

/* One command takes PEN_LIMIT_ARGUMENTS regions; the last one has the event. Ends `e`. */
static cl_int migrate_send(struct pen_enqueue *e, cl_mem_migration_flags flags, const uint64_t *regions, cl_uint count)
{
    for (cl_uint at = 0; at < count;) {
        cl_uint part = count - at < PEN_LIMIT_ARGUMENTS ? count - at : PEN_LIMIT_ARGUMENTS;
        bool last = at + part == count;
        struct pen_msg_migrate migrate = {
            .queue = e->queue->id,
            .event = last ? e->event_id : 0,
            .slot = last ? e->slot : 0,
            .flags = (uint32_t)flags,
            .regions = regions + at,
            .regions_count = part,
            .waits = e->waits,
            .waits_count = e->wait_count,
        };
        int error = PEN_ENQUEUE(e, migrate, &migrate);
        if (error)
            return pen_enqueue_end(e, error);
        at += part;
    }
    return pen_enqueue_end(e, 0);
}

cl_int pen_clEnqueueMigrateMemObjects(cl_command_queue queue, cl_uint count, const cl_mem *objects,
                                      cl_mem_migration_flags flags, cl_uint wait_count, const cl_event *wait_list,
                                      cl_event *out_event)
{
    cl_int status = migrate_check(queue, count, objects, flags);
    if (status != CL_SUCCESS)
        return status;
    uint64_t *regions = malloc(count * sizeof *regions);
    if (!regions)
        return CL_OUT_OF_HOST_MEMORY;
    struct pen_enqueue e = {0};
    cl_uint moved = collect(queue, count, objects, regions);
    status =
        pen_enqueue_begin(&e, queue, CL_COMMAND_MIGRATE_MEM_OBJECTS, wait_count, wait_list, out_event, false, false);
    if (status == CL_SUCCESS)
        status = moved ? migrate_send(&e, flags, regions, moved) : pen_enqueue_nothing(&e, pen_enqueue_ready(&e));
    free(regions);
    return status;
}
