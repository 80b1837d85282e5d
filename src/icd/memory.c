#include "icd/memory.h"

#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"
#include "icd/service.h"

/* How long clReleaseMemObject waits for the worker to let go, so that destructor callbacks come before it returns when
 * nothing uses the object: natively they do. Whatever is in use longer says farewell at a later synchronizing call. */
#define FAREWELL_WAIT_MS 50

/* Start of an arena range: what devices ask of host memory that is to be their storage. */
#define ARENA_ALIGN_SMALL 256
#define ARENA_ALIGN_LARGE 4096

/* ---- checks ------------------------------------------------------------------------------------------- */

static bool at_most_one(cl_mem_flags flags)
{
    return (flags & (flags - 1)) == 0;
}

cl_int pen_memory_check_flags(cl_mem_flags flags)
{
    if (flags & ~(PEN_MEM_ACCESS | PEN_MEM_STORAGE | PEN_MEM_HOST))
        return CL_INVALID_VALUE;
    if (!at_most_one(flags & PEN_MEM_ACCESS) || !at_most_one(flags & PEN_MEM_HOST))
        return CL_INVALID_VALUE;
    if ((flags & CL_MEM_USE_HOST_PTR) && (flags & (CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR)))
        return CL_INVALID_VALUE;
    return CL_SUCCESS;
}

cl_int pen_memory_check_host_ptr(cl_mem_flags flags, const void *host_ptr)
{
    bool wanted = (flags & (CL_MEM_USE_HOST_PTR | CL_MEM_COPY_HOST_PTR)) != 0;
    return wanted == (host_ptr != NULL) ? CL_SUCCESS : CL_INVALID_HOST_PTR;
}

cl_int pen_memory_inherit(cl_mem parent, cl_mem_flags flags, cl_mem_flags *out_flags)
{
    cl_mem_flags mine = flags & PEN_MEM_ACCESS, theirs = parent->flags & PEN_MEM_ACCESS;
    cl_mem_flags host = flags & PEN_MEM_HOST, their_host = parent->flags & PEN_MEM_HOST;
    if (pen_memory_check_flags(flags) != CL_SUCCESS || (flags & PEN_MEM_STORAGE))
        return CL_INVALID_VALUE;
    if (mine && (theirs & (CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY)) && mine != theirs)
        return CL_INVALID_VALUE;
    /* No access may always be taken away; what the parent forbids cannot be given. */
    if (host && host != CL_MEM_HOST_NO_ACCESS && their_host && host != their_host)
        return CL_INVALID_VALUE;
    *out_flags = (mine ? mine : theirs) | (host ? host : their_host) | (parent->flags & PEN_MEM_STORAGE);
    return CL_SUCCESS;
}

cl_int pen_memory_check_properties(const cl_mem_properties *properties)
{
    return properties && properties[0] != 0 ? CL_INVALID_PROPERTY : CL_SUCCESS;
}

cl_ulong pen_context_largest(cl_context context, cl_device_info key)
{
    cl_ulong largest = 0;
    for (cl_uint i = 0; i < context->device_count; i++) {
        cl_ulong value = pen_device_ulong(context->devices[i], key);
        if (value > largest)
            largest = value;
    }
    return largest;
}

cl_int pen_memory_check(cl_command_queue queue, cl_mem memory, bool image)
{
    if (!pen_object_is(queue, PEN_MAGIC_QUEUE))
        return CL_INVALID_COMMAND_QUEUE;
    if (!pen_object_is(memory, PEN_MAGIC_MEMORY) || (memory->type != CL_MEM_OBJECT_BUFFER) != image)
        return CL_INVALID_MEM_OBJECT;
    return queue->context == memory->context ? CL_SUCCESS : CL_INVALID_CONTEXT;
}

cl_int pen_memory_check_access(cl_mem memory, bool reads, bool writes)
{
    if (reads && (memory->flags & (CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_NO_ACCESS)))
        return CL_INVALID_OPERATION;
    if (writes && (memory->flags & (CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS)))
        return CL_INVALID_OPERATION;
    return CL_SUCCESS;
}

cl_int pen_memory_check_alignment(cl_command_queue queue, cl_mem memory)
{
    if (!memory->parent || memory->type != CL_MEM_OBJECT_BUFFER)
        return CL_SUCCESS;
    bool aligned = memory->offset % pen_device_slice_align(queue->device) == 0;
    return aligned ? CL_SUCCESS : CL_MISALIGNED_SUB_BUFFER_OFFSET;
}

/* ---- life --------------------------------------------------------------------------------------------- */

cl_mem pen_memory_new(cl_context context, cl_mem parent, cl_mem_object_type type, cl_mem_flags flags,
                      const cl_mem_properties *properties)
{
    cl_mem memory = calloc(1, sizeof *memory);
    if (!memory)
        return NULL;
    if (properties) { /* nothing but the end: pen_memory_check_properties */
        memory->property_list = calloc(1, sizeof *memory->property_list);
        if (!memory->property_list) {
            free(memory);
            return NULL;
        }
        memory->property_count = 1;
    }
    pen_object_init(&memory->object, PEN_MAGIC_MEMORY);
    pthread_mutex_init(&memory->lock, NULL);
    pen_list_init(&memory->mappings);
    pen_list_init(&memory->destructors);
    pen_list_init(&memory->in_host_ptrs);
    pen_list_init(&memory->host_uses);
    pen_ref(context);
    memory->context = context;
    if (parent) {
        pen_ref(parent);
        memory->parent = parent;
    }
    memory->id = pen_session_new_id(context->session);
    memory->type = type;
    memory->flags = flags;
    return memory;
}

int pen_memory_allocate(cl_mem memory, size_t size)
{
    uint64_t offset;
    int error = pen_arena_alloc(memory->context->session, size,
                                size < ARENA_ALIGN_LARGE ? ARENA_ALIGN_SMALL : ARENA_ALIGN_LARGE, &offset);
    if (error)
        return error;
    memory->arena_offset = offset;
    memory->allocated = true;
    return 0;
}

/* Everything but the worker's side and the arena range. */
static void memory_free(cl_mem memory)
{
    memory->object.magic = 0;
    if (memory->parent)
        pen_unref(memory->parent);
    pen_unref(memory->context);
    pthread_mutex_destroy(&memory->lock);
    free(memory->property_list);
    free(memory);
}

void pen_memory_abandon(cl_mem memory)
{
    pen_hostptr_remove(memory);
    if (memory->allocated)
        pen_arena_free(memory->context->session, memory->arena_offset);
    memory_free(memory);
}

cl_mem pen_memory_publish(cl_mem memory, cl_int error, cl_int *errcode_ret)
{
    if (errcode_ret)
        *errcode_ret = error;
    if (error == CL_SUCCESS)
        return memory;
    if (memory)
        pen_memory_abandon(memory);
    return NULL;
}

/* ---- farewell: what happens when nothing uses an object any more --------------------------------------- */

struct farewell {
    struct pen_list link;
    cl_mem memory;
    uint32_t slot; /* of its region_destroy; 0: not sent, commands may write the program's memory still */
};

static void farewell_later(cl_mem memory, uint32_t slot);

/* CL_MEM_USE_HOST_PTR was given for itself, not for what it is a part of. */
static bool is_of_program(cl_mem memory)
{
    return !memory->parent && memory->host_ptr;
}

static pthread_mutex_t farewell_lock = PTHREAD_MUTEX_INITIALIZER; /* guards: farewells */
static struct pen_list farewells = {&farewells, &farewells};

/* Devices are done with it: last bytes to the program's range, then its callbacks, newest first. */
static void farewell_say(cl_mem memory)
{
    struct pen_session *session = memory->context->session;
    pen_hostptr_remove(memory);
    PEN_LIST_EACH(node, next, &memory->destructors)
    {
        struct pen_destructor *destructor = PEN_CONTAINER(node, struct pen_destructor, link);
        destructor->call(memory, destructor->user);
        free(destructor);
    }
    PEN_LIST_EACH(node, next, &memory->mappings)
    {
        struct pen_mapping *mapping = PEN_CONTAINER(node, struct pen_mapping, link);
        if (mapping->staged)
            pen_arena_free(session, mapping->arena_offset);
        pen_mapping_free(mapping);
    }
    if (memory->allocated)
        pen_arena_free(session, memory->arena_offset);
    memory_free(memory);
}

static bool slot_done(struct pen_session *session, uint32_t slot)
{
    return pen_slot_state(session, slot) <= PEN_STATE_COMPLETE;
}

static bool slot_done_soon(struct pen_session *session, uint32_t slot)
{
    for (int waited_ms = 0; waited_ms < FAREWELL_WAIT_MS; waited_ms++) {
        uint32_t epoch = pen_epoch(session);
        if (slot_done(session, slot))
            return true;
        pen_wait_epoch(session, epoch, 1);
    }
    return slot_done(session, slot);
}

/* What waits in the parent is the parent's to say. */
void pen_farewell_at_fork(enum pen_fork when)
{
    switch (when) {
    case PEN_FORK_PREPARE:
        pthread_mutex_lock(&farewell_lock);
        break;
    case PEN_FORK_PARENT:
        pthread_mutex_unlock(&farewell_lock);
        break;
    case PEN_FORK_CHILD:
        farewell_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        pen_list_init(&farewells);
        break;
    }
}

/* The object is not needed by the program, and bytes of it are not missing any more. */
static void memory_destroy(cl_mem memory)
{
    struct pen_session *session = memory->context->session;
    bool speaks = is_of_program(memory) || !pen_list_empty(&memory->destructors) || !pen_list_empty(&memory->mappings);
    struct pen_msg_region_destroy destroy = {.region = memory->id};
    uint64_t sequence;

    if ((speaks || memory->allocated) && pen_slot_acquire(session, NULL, &destroy.slot) != 0)
        destroy.slot = 0;
    int error = PEN_SEND(session, region_destroy, &destroy, &sequence);
    if (destroy.slot == 0 || error) {
        /* No slot to learn the end from: the range stays taken until the session ends, unless that is now. */
        memory->allocated = memory->allocated && error;
        if (destroy.slot)
            pen_slot_release(session, destroy.slot);
        farewell_say(memory);
    } else if (!speaks) {
        pen_arena_free_after(session, memory->arena_offset, destroy.slot);
        memory_free(memory);
    } else if (slot_done_soon(session, destroy.slot)) {
        pen_slot_release(session, destroy.slot);
        farewell_say(memory);
    } else {
        farewell_later(memory, destroy.slot);
    }
}

static void farewell_later(cl_mem memory, uint32_t slot)
{
    struct farewell *farewell = malloc(sizeof *farewell);
    if (!farewell) /* the object, its range and its callbacks are lost: better than memory in use given back */
        return;
    *farewell = (struct farewell){.memory = memory, .slot = slot};
    pthread_mutex_lock(&farewell_lock);
    pen_list_append(&farewells, &farewell->link);
    pthread_mutex_unlock(&farewell_lock);
    atomic_fetch_add_explicit(&pen_hostptr_count, 1, memory_order_relaxed);
}

static bool farewell_due(const struct farewell *farewell)
{
    if (farewell->slot)
        return slot_done(farewell->memory->context->session, farewell->slot);
    return pen_hostptr_settled(farewell->memory);
}

/* The session's farewells are this thread's while it looks at them: no lock is held while bytes are fetched and
 * callbacks called. Another thread may miss them meanwhile, which only makes them later. */
void pen_farewell_run(struct pen_session *session)
{
    struct pen_list mine;
    pen_list_init(&mine);
    pthread_mutex_lock(&farewell_lock);
    PEN_LIST_EACH(node, next, &farewells)
    {
        if (PEN_CONTAINER(node, struct farewell, link)->memory->context->session != session)
            continue;
        pen_list_remove(node);
        pen_list_append(&mine, node);
    }
    pthread_mutex_unlock(&farewell_lock);
    PEN_LIST_EACH(node, next, &mine)
    {
        struct farewell *farewell = PEN_CONTAINER(node, struct farewell, link);
        if (!farewell_due(farewell)) {
            pthread_mutex_lock(&farewell_lock);
            pen_list_append(&farewells, node);
            pthread_mutex_unlock(&farewell_lock);
            continue;
        }
        atomic_fetch_sub_explicit(&pen_hostptr_count, 1, memory_order_relaxed);
        if (farewell->slot) {
            pen_slot_release(session, farewell->slot);
            farewell_say(farewell->memory);
        } else {
            memory_destroy(farewell->memory);
        }
        free(farewell);
    }
}

void pen_memory_destroy(cl_mem memory)
{
    /* What devices write to their replicas is fetched while there is a region to fetch it from. */
    if (is_of_program(memory) && !memory->direct && !pen_hostptr_settled(memory))
        farewell_later(memory, 0);
    else
        memory_destroy(memory);
}

cl_int pen_clRetainMemObject(cl_mem memory)
{
    return pen_retain(memory, PEN_MAGIC_MEMORY, CL_INVALID_MEM_OBJECT);
}

cl_int pen_clReleaseMemObject(cl_mem memory)
{
    return pen_release(memory, PEN_MAGIC_MEMORY, CL_INVALID_MEM_OBJECT);
}

cl_int pen_clSetMemObjectDestructorCallback(cl_mem memory, void(CL_CALLBACK *call)(cl_mem, void *), void *user)
{
    if (!pen_object_is(memory, PEN_MAGIC_MEMORY))
        return CL_INVALID_MEM_OBJECT;
    if (!call)
        return CL_INVALID_VALUE;
    struct pen_destructor *destructor = malloc(sizeof *destructor);
    if (!destructor)
        return CL_OUT_OF_HOST_MEMORY;
    destructor->call = (void(CL_CALLBACK *)(void *, void *))call;
    destructor->user = user;
    pthread_mutex_lock(&memory->lock);
    pen_list_prepend(&memory->destructors, &destructor->link);
    pthread_mutex_unlock(&memory->lock);
    return CL_SUCCESS;
}

/* ---- geometry, info ------------------------------------------------------------------------------------ */

cl_mem pen_memory_root(cl_mem memory, size_t *out_offset)
{
    size_t offset = 0;
    while (memory->parent) {
        offset += memory->offset;
        memory = memory->parent;
    }
    *out_offset = offset;
    return memory;
}

uint32_t pen_memory_region_flags(cl_mem memory)
{
    size_t offset;
    cl_mem root = pen_memory_root(memory, &offset); /* what is a view of it is stored as it is */
    bool direct =
        root->type == CL_MEM_OBJECT_BUFFER ? root->context->stored_direct : root->context->stored_direct_images;
    uint32_t flags = direct ? PEN_REGION_FLAG_DIRECT : 0;
    if (!(memory->flags & CL_MEM_WRITE_ONLY))
        flags |= PEN_REGION_FLAG_KERNEL_READS;
    if (!(memory->flags & CL_MEM_READ_ONLY))
        flags |= PEN_REGION_FLAG_KERNEL_WRITES;
    return flags;
}

void *pen_memory_at(cl_mem memory)
{
    return pen_arena_at(memory->context->session, memory->arena_offset);
}

cl_int pen_clGetMemObjectInfo(cl_mem memory, cl_mem_info param_name, size_t param_value_size, void *param_value,
                              size_t *param_value_size_ret)
{
    if (!pen_object_is(memory, PEN_MAGIC_MEMORY))
        return CL_INVALID_MEM_OBJECT;
    switch (param_name) {
    case CL_MEM_TYPE:
        PEN_INFO(cl_mem_object_type, memory->type);
    case CL_MEM_FLAGS:
        PEN_INFO(cl_mem_flags, memory->flags);
    case CL_MEM_SIZE:
        PEN_INFO(size_t, memory->size);
    case CL_MEM_HOST_PTR:
        PEN_INFO(void *, memory->host_ptr);
    case CL_MEM_MAP_COUNT:
        PEN_INFO(cl_uint, atomic_load(&memory->map_count));
    case CL_MEM_REFERENCE_COUNT:
        PEN_INFO(cl_uint, atomic_load(&memory->object.refs));
    case CL_MEM_CONTEXT:
        PEN_INFO(cl_context, memory->context);
    case CL_MEM_ASSOCIATED_MEMOBJECT:
        PEN_INFO(cl_mem, memory->parent);
    case CL_MEM_OFFSET:
        PEN_INFO(size_t, memory->offset);
    case CL_MEM_USES_SVM_POINTER:
        PEN_INFO(cl_bool, CL_FALSE);
    case CL_MEM_PROPERTIES:
        return pen_info(memory->property_list, memory->property_count * sizeof *memory->property_list, param_value_size,
                        param_value, param_value_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}
