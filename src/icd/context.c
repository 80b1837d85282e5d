/* icd/context.c - contexts. They do not exist in the protocol: a context is devices of a session, and so of one pool
 * (docs/decisions/0012). */
#include <stdlib.h>
#include <string.h>

#include "icd/device.h"
#include "icd/entry.h"
#include "icd/service.h"

/* What clCreateContext was called with, once it has been checked. */
struct request {
    const cl_context_properties *properties;
    size_t property_count; /* entries with the final 0; 0 when no list was given */
    void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *);
    void *user;
    cl_platform_id platform; /* as the list names it, or NULL */
};

/* Each name at most once; those of other APIs' contexts (GL, EGL, D3D) are of extensions that we do not have. */
static cl_int parse(struct request *request)
{
    const cl_context_properties *list = request->properties;
    bool seen_platform = false, seen_sync = false;
    if (!list)
        return CL_SUCCESS;
    size_t i = 0;
    for (; list[i]; i += 2) {
        bool *seen = NULL;
        if (list[i] == CL_CONTEXT_PLATFORM)
            seen = &seen_platform;
        else if (list[i] == CL_CONTEXT_INTEROP_USER_SYNC)
            seen = &seen_sync;
        if (!seen || *seen)
            return CL_INVALID_PROPERTY;
        *seen = true;
        if (seen == &seen_sync && list[i + 1] != CL_TRUE && list[i + 1] != CL_FALSE)
            return CL_INVALID_PROPERTY;
        if (seen == &seen_platform)
            request->platform = (cl_platform_id)list[i + 1];
        if (seen == &seen_platform && !pen_object_is(request->platform, PEN_MAGIC_PLATFORM))
            return CL_INVALID_PLATFORM;
    }
    request->property_count = i + 1;
    return CL_SUCCESS;
}

static void finish(cl_context context)
{
    free(context->devices);
    free(context->properties);
    free(context);
}

static bool all_direct(cl_context context, uint32_t flag)
{
    for (cl_uint i = 0; i < context->device_count; i++)
        if (!(context->devices[i]->pool->info.flags & flag))
            return false;
    return (pen_session_features(context->session) & PEN_FEATURE_DIRECT) != 0;
}

static cl_int choose_home(cl_context context, const struct request *request)
{
    struct pen_error error = {0};
    context->home = context->devices[0]->home;
    for (cl_uint i = 1; i < context->device_count; i++) {
        const struct pen_home *other = context->devices[i]->home;
        if (other == context->home)
            continue;
        (void)pen_fail(&error, -PEN_EINVAL,
                       "a context is of devices of one pool, and these are of %s and %s: one for each pool is allowed",
                       context->home->pool->name, other->pool->name);
        pen_say("no context", &error);
        if (request->notify)
            request->notify(error.message, NULL, 0, request->user);
        return CL_INVALID_DEVICE;
    }
    return CL_SUCCESS;
}

/* A sub-device is known in one session only, which must be this one. */
static cl_int join_session(cl_context context, const struct request *request)
{
    int rc = 0;
    context->session = pen_session(context->home, &rc);
    if (!context->session) {
        const char *why = pen_session_failure();
        if (request->notify)
            request->notify(why, NULL, 0, request->user);
        return pen_status(rc) == CL_OUT_OF_HOST_MEMORY ? CL_OUT_OF_HOST_MEMORY : CL_DEVICE_NOT_AVAILABLE;
    }
    for (cl_uint i = 0; i < context->device_count; i++)
        if (context->devices[i]->session && context->devices[i]->session != context->session)
            return CL_DEVICE_NOT_AVAILABLE;
    bool here = !(pen_session_features(context->session) & PEN_FEATURE_REMOTE);
    context->stored_direct = all_direct(context, PEN_DEVICE_FLAG_DIRECT);
    context->stored_direct_images = context->stored_direct && all_direct(context, PEN_DEVICE_FLAG_DIRECT_IMAGES);
    context->direct = here && context->stored_direct;
    context->direct_images = here && context->stored_direct_images;
    return CL_SUCCESS;
}

/* "Duplicate devices specified in devices are ignored." */
static void add_device(cl_context context, cl_device_id device)
{
    if (!pen_context_has_device(context, device))
        context->devices[context->device_count++] = device;
}

static cl_int create(const struct request *request, cl_uint device_count, const cl_device_id *devices,
                     cl_context *out_context)
{
    cl_context context = calloc(1, sizeof *context);
    if (!context)
        return CL_OUT_OF_HOST_MEMORY;
    size_t bytes = request->property_count * sizeof *request->properties;
    context->devices = calloc(device_count, sizeof *context->devices);
    context->properties = bytes ? malloc(bytes) : NULL;
    cl_int status = context->devices && (context->properties || !bytes) ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
    if (!status) {
        if (bytes)
            memcpy(context->properties, request->properties, bytes);
        context->property_count = request->property_count;
        context->notify = request->notify;
        context->notify_user = request->user;
        for (cl_uint i = 0; i < device_count; i++)
            add_device(context, devices[i]);
        status = choose_home(context, request);
    }
    if (!status)
        status = join_session(context, request);
    if (status) {
        finish(context);
        return status;
    }
    pen_object_init(&context->object, PEN_MAGIC_CONTEXT);
    pthread_mutex_init(&context->lock, NULL);
    pen_list_init(&context->destructors);
    for (cl_uint i = 0; i < context->device_count; i++)
        pen_ref(context->devices[i]);
    pen_session_ref(context->session);
    *out_context = context;
    return CL_SUCCESS;
}

static cl_int create_of(struct request *request, cl_uint device_count, const cl_device_id *devices,
                        cl_context *out_context)
{
    cl_int status = parse(request);
    if (status)
        return status;
    if (!devices || !device_count || (!request->notify && request->user))
        return CL_INVALID_VALUE;
    for (cl_uint i = 0; i < device_count; i++)
        if (!pen_object_is(devices[i], PEN_MAGIC_DEVICE))
            return CL_INVALID_DEVICE;
    return create(request, device_count, devices, out_context);
}

cl_context CL_API_CALL pen_clCreateContext(const cl_context_properties *properties, cl_uint device_count,
                                           const cl_device_id *devices,
                                           void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *),
                                           void *user, cl_int *out_error)
{
    struct request request = {.properties = properties, .notify = notify, .user = user};
    cl_context context = NULL;
    cl_int status = create_of(&request, device_count, devices, &context);
    if (out_error)
        *out_error = status;
    return context;
}

/* Of the first pool that gives a session. "Only devices that are returned by clGetDeviceIDs for device_type are used":
 * not all of them. */
static cl_int create_of_some(struct request *request, cl_uint device_count, const cl_device_id *devices,
                             cl_context *out_context)
{
    cl_int status = CL_SUCCESS;
    for (cl_uint first = 0, end; first < device_count; first = end) {
        for (end = first + 1; end < device_count && devices[end]->home == devices[first]->home;)
            end++;
        status = create(request, end - first, &devices[first], out_context);
        if (status != CL_DEVICE_NOT_AVAILABLE)
            break;
    }
    return status;
}

static cl_int create_from_type(struct request *request, cl_device_type type, cl_context *out_context)
{
    cl_int status = parse(request);
    if (status)
        return status;
    if (!request->notify && request->user)
        return CL_INVALID_VALUE;
    cl_platform_id platform = request->platform ? request->platform : pen_platform();
    if (!platform)
        return CL_INVALID_PLATFORM;
    cl_device_id *devices = calloc(platform->device_count, sizeof *devices);
    if (!devices)
        return CL_OUT_OF_HOST_MEMORY;
    cl_uint count = 0;
    status = pen_devices_of_type(platform, type, devices, &count);
    if (!status)
        status = create_of_some(request, count, devices, out_context);
    free(devices);
    return status;
}

cl_context CL_API_CALL pen_clCreateContextFromType(const cl_context_properties *properties, cl_device_type type,
                                                   void(CL_CALLBACK *notify)(const char *, const void *, size_t,
                                                                             void *),
                                                   void *user, cl_int *out_error)
{
    struct request request = {.properties = properties, .notify = notify, .user = user};
    cl_context context = NULL;
    cl_int status = create_from_type(&request, type, &context);
    if (out_error)
        *out_error = status;
    return context;
}

/* ---- end -------------------------------------------------------------------------------------------- */

void pen_context_destroy(cl_context context)
{
    PEN_LIST_EACH(node, next, &context->destructors)
    {
        struct pen_destructor *destructor = PEN_CONTAINER(node, struct pen_destructor, link);
        destructor->call(context, destructor->user);
        free(destructor);
    }
    for (cl_uint i = 0; i < context->device_count; i++)
        pen_unref(context->devices[i]);
    pthread_mutex_destroy(&context->lock);
    pen_session_unref(context->session);
    finish(context);
}

cl_int CL_API_CALL pen_clRetainContext(cl_context context)
{
    return pen_retain(context, PEN_MAGIC_CONTEXT, CL_INVALID_CONTEXT);
}

cl_int CL_API_CALL pen_clReleaseContext(cl_context context)
{
    return pen_release(context, PEN_MAGIC_CONTEXT, CL_INVALID_CONTEXT);
}

cl_int CL_API_CALL pen_clSetContextDestructorCallback(cl_context context, void(CL_CALLBACK *notify)(cl_context, void *),
                                                      void *user)
{
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return CL_INVALID_CONTEXT;
    if (!notify)
        return CL_INVALID_VALUE;
    struct pen_destructor *destructor = malloc(sizeof *destructor);
    if (!destructor)
        return CL_OUT_OF_HOST_MEMORY;
    destructor->call = (void(CL_CALLBACK *)(void *, void *))notify;
    destructor->user = user;
    pthread_mutex_lock(&context->lock);
    pen_list_prepend(&context->destructors, &destructor->link);
    pthread_mutex_unlock(&context->lock);
    return CL_SUCCESS;
}

/* ---- questions -------------------------------------------------------------------------------------- */

bool pen_context_has_device(cl_context context, cl_device_id device)
{
    for (cl_uint i = 0; i < context->device_count; i++)
        if (context->devices[i] == device)
            return true;
    return false;
}

void pen_context_tell_lost(cl_context context)
{
    if (context->notify && !atomic_exchange(&context->told, true))
        context->notify(pen_session_epitaph(context->session), NULL, 0, context->notify_user);
}

cl_int CL_API_CALL pen_clGetContextInfo(cl_context context, cl_context_info name, size_t param_value_size,
                                        void *param_value, size_t *param_value_size_ret)
{
    if (!pen_object_is(context, PEN_MAGIC_CONTEXT))
        return CL_INVALID_CONTEXT;
    switch (name) {
    case CL_CONTEXT_REFERENCE_COUNT:
        PEN_INFO(cl_uint, atomic_load(&context->object.refs));
    case CL_CONTEXT_NUM_DEVICES:
        PEN_INFO(cl_uint, context->device_count);
    case CL_CONTEXT_DEVICES:
        return pen_info(context->devices, context->device_count * sizeof *context->devices, param_value_size,
                        param_value, param_value_size_ret);
    case CL_CONTEXT_PROPERTIES:
        return pen_info(context->properties, context->property_count * sizeof *context->properties, param_value_size,
                        param_value, param_value_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}
