/* icd/object.c - reference counts, and the answers of the info queries. */
#include "icd/object.h"

#include <assert.h>
#include <string.h>

void pen_object_init(struct pen_object *object, enum pen_magic magic)
{
    object->dispatch = &pen_dispatch;
    object->magic = (uint32_t)magic;
    atomic_init(&object->refs, 1);
    atomic_init(&object->internal, 1);
}

static void destroy(void *object, uint32_t magic)
{
    switch (magic) {
    case PEN_MAGIC_DEVICE:
        pen_device_destroy(object);
        break;
    case PEN_MAGIC_CONTEXT:
        pen_context_destroy(object);
        break;
    case PEN_MAGIC_QUEUE:
        pen_queue_destroy(object);
        break;
    case PEN_MAGIC_MEMORY:
        pen_memory_destroy(object);
        break;
    case PEN_MAGIC_SAMPLER:
        pen_sampler_destroy(object);
        break;
    case PEN_MAGIC_PROGRAM:
        pen_program_destroy(object);
        break;
    case PEN_MAGIC_KERNEL:
        pen_kernel_destroy(object);
        break;
    case PEN_MAGIC_EVENT:
        pen_event_destroy(object);
        break;
    case PEN_MAGIC_COMMAND_BUFFER:
        pen_command_buffer_destroy(object);
        break;
    default:
        assert(0 && "an object of no known kind lost its last reference");
    }
}

void pen_ref(void *object)
{
    struct pen_object *o = object;
    atomic_fetch_add_explicit(&o->internal, 1, memory_order_relaxed);
}

void pen_unref(void *object)
{
    struct pen_object *o = object;
    /* Release: what this thread did with the object comes before its end; acquire: for the thread that ends it. */
    uint32_t before = atomic_fetch_sub_explicit(&o->internal, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before != 1)
        return;
    uint32_t magic = o->magic;
    o->magic = 0;
    destroy(object, magic);
}

/* An object that only its children keep alive can be had again through their info queries (a queue's context): such a
 * one gets our reference for the program anew. */
cl_int pen_retain(void *object, enum pen_magic magic, cl_int invalid)
{
    struct pen_object *o = object;
    if (!pen_object_is(o, magic))
        return invalid;
    if (atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed) == 0)
        pen_ref(o);
    return CL_SUCCESS;
}

cl_int pen_release(void *object, enum pen_magic magic, cl_int invalid)
{
    struct pen_object *o = object;
    if (!pen_object_is(o, magic))
        return invalid;
    uint32_t refs = atomic_load_explicit(&o->refs, memory_order_relaxed);
    do {
        if (refs == 0) /* released more often than retained */
            return invalid;
    } while (
        !atomic_compare_exchange_weak_explicit(&o->refs, &refs, refs - 1, memory_order_acq_rel, memory_order_relaxed));
    if (refs == 1)
        pen_unref(o);
    return CL_SUCCESS;
}

cl_int pen_info(const void *value, size_t size, size_t param_size, void *param_value, size_t *param_size_ret)
{
    if (param_value) {
        if (param_size < size)
            return CL_INVALID_VALUE;
        if (size)
            memcpy(param_value, value, size);
    }
    if (param_size_ret)
        *param_size_ret = size;
    return CL_SUCCESS;
}

cl_int pen_info_string(const char *text, size_t param_size, void *param_value, size_t *param_size_ret)
{
    return pen_info(text, strlen(text) + 1, param_size, param_value, param_size_ret);
}

void *pen_refuse(cl_int *out_error, cl_int error)
{
    if (out_error)
        *out_error = error;
    return NULL;
}
