#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"
#include "icd/move.h"

#define MAP_FLAGS ((cl_map_flags)(CL_MAP_READ | CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION))

/* No flag at all is natively taken for both. */
static bool map_reads(cl_map_flags flags)
{
    return flags == 0 || (flags & CL_MAP_READ);
}

static bool map_writes(cl_map_flags flags)
{
    return flags == 0 || (flags & (CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION));
}

/* What is not written may be read later, so a staged map that is only to be written still needs the contents. */
static bool map_needs_contents(cl_map_flags flags)
{
    return map_reads(flags) || !(flags & CL_MAP_WRITE_INVALIDATE_REGION);
}

/* What is to be mapped, and where the program will see it. */
struct map_plan {
    cl_mem memory;
    cl_command_type type;
    cl_map_flags flags;
    bool blocking;
    struct pen_move move; /* the region's side of it */
    struct pen_place host_place;
    size_t origin[3], extent[3];
};

/* ---- map ----------------------------------------------------------------------------------------------- */

/* `place`: how what is mapped lies at `pointer`. */
static struct pen_mapping *mapping_new(const struct map_plan *plan, void *pointer, const struct pen_place *place)
{
    struct pen_mapping *mapping = calloc(1, sizeof *mapping);
    if (!mapping)
        return NULL;
    mapping->pointer = pointer;
    mapping->flags = plan->flags;
    mapping->row_pitch = place->row_pitch;
    /* A 1D array's layers lie along the second axis. */
    mapping->slice_pitch = plan->memory->type == CL_MEM_OBJECT_IMAGE1D_ARRAY ? place->row_pitch : place->slice_pitch;
    for (int i = 0; i < 3; i++) {
        mapping->origin[i] = plan->origin[i];
        mapping->extent[i] = plan->extent[i];
    }
    return mapping;
}

void pen_mapping_free(struct pen_mapping *mapping)
{
    if (mapping->event)
        pen_unref(mapping->event);
    free(mapping);
}

/* The unmap is to know whether the map has come about. */
static void mapping_keep_event(struct pen_mapping *mapping, const struct pen_enqueue *e)
{
    mapping->event = e->event;
    pen_ref(mapping->event);
}

/* From here on another thread's unmap of the same address may end it. */
static void mapping_add(cl_mem memory, struct pen_mapping *mapping)
{
    pthread_mutex_lock(&memory->lock);
    pen_list_prepend(&memory->mappings, &mapping->link);
    atomic_fetch_add_explicit(&memory->map_count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&memory->lock);
}

/* The newest map at that address, off the list; NULL: none. */
static struct pen_mapping *mapping_take(cl_mem memory, const void *pointer)
{
    struct pen_mapping *found = NULL;
    pthread_mutex_lock(&memory->lock);
    PEN_LIST_EACH(node, next, &memory->mappings)
    {
        struct pen_mapping *mapping = PEN_CONTAINER(node, struct pen_mapping, link);
        if (mapping->pointer == pointer) {
            found = mapping;
            pen_list_remove(node);
            atomic_fetch_sub_explicit(&memory->map_count, 1, memory_order_relaxed);
            break;
        }
    }
    pthread_mutex_unlock(&memory->lock);
    return found;
}

/* Lists what has been mapped, or drops it: `status` is what the command came to. Takes `mapping`; *out_mapping is a
 * copy, for the program's sake. */
static cl_int map_end(const struct map_plan *plan, struct pen_mapping *mapping, cl_int status,
                      struct pen_mapping *out_mapping)
{
    if (status != CL_SUCCESS) {
        pen_mapping_free(mapping);
        return status;
    }
    *out_mapping = *mapping;
    mapping_add(plan->memory, mapping);
    return status;
}

/* The contents are where the program can see them: in the arena, or in its own range. Ends `e`. */
static cl_int map_in_place(struct pen_enqueue *e, const struct map_plan *plan, cl_uint wait_count,
                           const cl_event *wait_list, struct pen_mapping *out_mapping)
{
    bool of_program = pen_hostptr_is(plan->memory);
    const struct pen_place *place = of_program ? &plan->host_place : &plan->move.region_place;
    char *base = of_program ? plan->memory->host_ptr : pen_memory_at(plan->memory);
    struct pen_mapping *mapping = mapping_new(plan, base + place->first, place);
    if (!mapping)
        return pen_enqueue_end(e, -PEN_ENOMEM);
    pen_queue_tell(e->queue);
    bool ready = pen_enqueue_ready(e);
    if (plan->blocking && !ready) {
        cl_int status = pen_enqueue_wait_turn(e, wait_count, wait_list);
        if (status != CL_SUCCESS) {
            free(mapping);
            return pen_enqueue_drop(e, status);
        }
        ready = true;
    }
    if (!ready && of_program && map_writes(plan->flags))
        mapping_keep_event(mapping, e);
    /* What earlier commands have left to do comes before the program looks. */
    pen_settle(e->queue->context);
    return map_end(plan, mapping, pen_enqueue_nothing(e, ready), out_mapping);
}

/* Through a range of the arena as large as what is mapped. Ends `e`. */
static cl_int map_staged(struct pen_enqueue *e, const struct map_plan *plan, cl_uint wait_count,
                         const cl_event *wait_list, struct pen_mapping *out_mapping)
{
    struct pen_session *session = e->queue->context->session;
    struct pen_place tight = pen_span_tight(&plan->move.span);
    uint64_t staging, bytes = pen_span_bytes(&plan->move.span);
    /* What is mapped is the program's; what it maps again and again is still on its way back. */
    pen_staging_take_room(e->queue->context, bytes);
    pen_staging_give_room(e->queue->context->home, bytes);
    int error = pen_staging_alloc(e->queue->context, bytes, &staging);
    if (error)
        return pen_enqueue_end(e, error);
    struct pen_mapping *mapping = mapping_new(plan, pen_arena_at(session, staging), &tight);
    if (!mapping) {
        pen_arena_free(session, staging);
        return pen_enqueue_end(e, -PEN_ENOMEM);
    }
    mapping->staged = true;
    mapping->arena_offset = staging;
    cl_int status;
    if (map_needs_contents(plan->flags)) {
        error = pen_move_send(e, &plan->move, staging);
        if (!error && plan->blocking)
            error = pen_enqueue_wait(e);
        else if (!error)
            mapping_keep_event(mapping, e);
        status = pen_enqueue_end(e, error);
    } else {
        status = plan->blocking ? pen_enqueue_wait_turn(e, wait_count, wait_list) : CL_SUCCESS;
        status = status == CL_SUCCESS ? pen_enqueue_nothing(e, plan->blocking) : pen_enqueue_drop(e, status);
    }
    if (status != CL_SUCCESS)
        pen_arena_free(session, staging);
    return map_end(plan, mapping, status, out_mapping);
}

static cl_int map_run(cl_command_queue queue, const struct map_plan *plan, cl_uint wait_count,
                      const cl_event *wait_list, cl_event *out_event, struct pen_mapping *out_mapping)
{
    bool of_program = pen_hostptr_is(plan->memory), in_place = plan->memory->direct || of_program;
    bool force_event = in_place ? !plan->blocking && of_program && map_writes(plan->flags)
                                : plan->blocking || map_needs_contents(plan->flags);
    struct pen_enqueue e = {0};
    cl_int status =
        pen_enqueue_begin(&e, queue, plan->type, wait_count, wait_list, out_event, plan->blocking, force_event);
    if (status != CL_SUCCESS)
        return status;
    int error = pen_session_alive(queue->context->session);
    if (error)
        return pen_enqueue_end(&e, error);
    if (in_place)
        return map_in_place(&e, plan, wait_count, wait_list, out_mapping);
    return map_staged(&e, plan, wait_count, wait_list, out_mapping);
}

static cl_int map_check(cl_command_queue queue, cl_mem memory, bool image, cl_map_flags flags)
{
    cl_int status = pen_memory_check(queue, memory, image);
    if (status != CL_SUCCESS)
        return status;
    if (flags & ~MAP_FLAGS)
        return CL_INVALID_VALUE;
    return pen_memory_check_access(memory, flags & CL_MAP_READ,
                                   flags & (CL_MAP_WRITE | CL_MAP_WRITE_INVALIDATE_REGION));
}

void *pen_clEnqueueMapBuffer(cl_command_queue queue, cl_mem buffer, cl_bool blocking, cl_map_flags flags, size_t offset,
                             size_t size, cl_uint wait_count, const cl_event *wait_list, cl_event *out_event,
                             cl_int *errcode_ret)
{
    struct pen_mapping mapping = {0};
    cl_int status = map_check(queue, buffer, false, flags);
    if (status == CL_SUCCESS && (size == 0 || offset > buffer->size || size > buffer->size - offset))
        status = CL_INVALID_VALUE;
    if (status == CL_SUCCESS)
        status = pen_memory_check_alignment(queue, buffer);
    if (status == CL_SUCCESS) {
        struct map_plan plan = {
            .memory = buffer,
            .type = CL_COMMAND_MAP_BUFFER,
            .flags = flags,
            .blocking = blocking != CL_FALSE,
            .host_place = {offset, size, size},
            .origin = {offset, 0, 0},
            .extent = {size, 1, 1},
            .move =
                {
                    .memory = buffer,
                    .region_place = {offset, size, size},
                    .span = {size, 1, 1},
                    .box = {.origin = {offset, 0, 0}},
                    .extent = {size, 1, 1},
                },
        };
        status = map_run(queue, &plan, wait_count, wait_list, out_event, &mapping);
    }
    if (errcode_ret)
        *errcode_ret = status;
    return mapping.pointer;
}

static bool has_slices(cl_mem image)
{
    return image->type == CL_MEM_OBJECT_IMAGE1D_ARRAY || image->type == CL_MEM_OBJECT_IMAGE2D_ARRAY ||
           image->type == CL_MEM_OBJECT_IMAGE3D;
}

static cl_int map_image(cl_command_queue queue, cl_mem image, cl_bool blocking, cl_map_flags flags,
                        const size_t origin[3], const size_t region[3], cl_uint wait_count, const cl_event *wait_list,
                        cl_event *out_event, struct pen_mapping *out_mapping)
{
    struct map_plan plan = {
        .memory = image,
        .type = CL_COMMAND_MAP_IMAGE,
        .flags = flags,
        .blocking = blocking != CL_FALSE,
        .host_place = pen_image_host_place(image, origin),
        .move =
            {
                .memory = image,
                .region_place = pen_image_place(image, origin),
                .span = pen_image_span(image, region),
            },
    };
    for (int i = 0; i < 3; i++) {
        plan.origin[i] = plan.move.box.origin[i] = origin[i];
        plan.extent[i] = plan.move.extent[i] = region[i];
    }
    return map_run(queue, &plan, wait_count, wait_list, out_event, out_mapping);
}

void *pen_clEnqueueMapImage(cl_command_queue queue, cl_mem image, cl_bool blocking, cl_map_flags flags,
                            const size_t *origin, const size_t *region, size_t *out_row_pitch, size_t *out_slice_pitch,
                            cl_uint wait_count, const cl_event *wait_list, cl_event *out_event, cl_int *errcode_ret)
{
    struct pen_mapping mapping = {0};
    cl_int status = map_check(queue, image, true, flags);
    if (status == CL_SUCCESS)
        status = pen_image_check_box(image, origin, region);
    if (status == CL_SUCCESS && (!out_row_pitch || (has_slices(image) && !out_slice_pitch)))
        status = CL_INVALID_VALUE;
    if (status == CL_SUCCESS)
        status = pen_image_check_device(queue, image);
    if (status == CL_SUCCESS)
        status = map_image(queue, image, blocking, flags, origin, region, wait_count, wait_list, out_event, &mapping);
    if (errcode_ret)
        *errcode_ret = status;
    if (status != CL_SUCCESS)
        return NULL;
    *out_row_pitch = mapping.row_pitch;
    if (out_slice_pitch)
        *out_slice_pitch = has_slices(image) ? mapping.slice_pitch : 0;
    return mapping.pointer;
}

/* ---- unmap --------------------------------------------------------------------------------------------- */

/* The region's side of what was mapped. */
static struct pen_move unmap_move(cl_mem memory, const struct pen_mapping *mapping)
{
    struct pen_move move = {
        .memory = memory,
        .to_region = true,
        .span = {mapping->extent[0], mapping->extent[1], mapping->extent[2]},
    };
    if (memory->type != CL_MEM_OBJECT_BUFFER)
        move.span = pen_image_span(memory, mapping->extent);
    for (int i = 0; i < 3; i++) {
        move.box.origin[i] = mapping->origin[i];
        move.extent[i] = mapping->extent[i];
    }
    return move;
}

/* Writes back what was mapped for writing, and gives the staging range back when that is done and the map, which
 * nothing else may order before it, has read into it. Ends `e`. */
static cl_int unmap_staged(struct pen_enqueue *e, cl_mem memory, const struct pen_mapping *mapping)
{
    struct pen_move move = unmap_move(memory, mapping);
    int error = 0;
    if (mapping->event && pen_event_status(mapping->event) != CL_COMPLETE)
        error = pen_enqueue_wait_for(e, mapping->event);
    if (!error && !map_writes(mapping->flags) && pen_enqueue_ready(e)) {
        pen_arena_free(memory->context->session, mapping->arena_offset);
        return pen_enqueue_nothing(e, true);
    }
    if (!error) /* from here on others may look at the event */
        error = pen_staging_free_after(e, mapping->arena_offset, pen_span_bytes(&move.span));
    if (error)
        return pen_enqueue_end(e, error);
    if (!map_writes(mapping->flags))
        return pen_enqueue_nothing(e, false);
    return pen_enqueue_end(e, pen_move_send(e, &move, mapping->arena_offset));
}

/* Devices are to see what the program has written to its range through the map. It has written nothing before the map
 * was complete, and until then devices may write there: results that no call has brought back yet. */
static int unmap_in_place(struct pen_enqueue *e, cl_mem memory, const struct pen_mapping *mapping)
{
    if (!map_writes(mapping->flags) || !pen_hostptr_is(memory))
        return 0;
    if (mapping->event && pen_event_status(mapping->event) != CL_COMPLETE)
        return 0;
    return pen_hostptr_push(e, memory, mapping->origin[0], mapping->extent[0]);
}

/* What was written through the map goes to the queue's device, which has to take such an image. */
static cl_int unmap_check(cl_command_queue queue, cl_mem memory, const struct pen_mapping *mapping)
{
    if (memory->type == CL_MEM_OBJECT_BUFFER || !mapping->staged || !map_writes(mapping->flags))
        return CL_SUCCESS;
    return pen_image_check_device(queue, memory);
}

cl_int pen_clEnqueueUnmapMemObject(cl_command_queue queue, cl_mem memory, void *pointer, cl_uint wait_count,
                                   const cl_event *wait_list, cl_event *out_event)
{
    cl_int status = pen_memory_check(queue, memory,
                                     pen_object_is(memory, PEN_MAGIC_MEMORY) && memory->type != CL_MEM_OBJECT_BUFFER);
    if (status != CL_SUCCESS)
        return status;
    struct pen_mapping *mapping = mapping_take(memory, pointer);
    if (!mapping)
        return CL_INVALID_VALUE;
    struct pen_enqueue e = {0};
    status = unmap_check(queue, memory, mapping);
    if (status == CL_SUCCESS)
        status = pen_enqueue_begin(&e, queue, CL_COMMAND_UNMAP_MEM_OBJECT, wait_count, wait_list, out_event, false,
                                   mapping->staged);
    if (status != CL_SUCCESS) {
        mapping_add(memory, mapping);
        return status;
    }
    if (mapping->staged) {
        status = unmap_staged(&e, memory, mapping);
    } else {
        int error = unmap_in_place(&e, memory, mapping);
        status = error ? pen_enqueue_end(&e, error) : pen_enqueue_nothing(&e, pen_enqueue_ready(&e));
    }
    pen_mapping_free(mapping);
    return status;
}
