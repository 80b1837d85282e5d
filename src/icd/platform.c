/* icd/platform.c - the one platform: the devices of all pools. */
#include <stdlib.h>
#include <string.h>

#include "icd/device.h"
#include "icd/entry.h"
#include "icd/service.h"

static struct _cl_platform_id the_platform;
static struct pen_extensions extensions;
static _Atomic bool loaded;                              /* release: the platform is complete */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held while the daemons are asked */
static bool answered;                                    /* guarded by lock: there is nothing to ask a second time */

static int make_extensions(cl_platform_id platform)
{
    const struct pen_extensions **lists = calloc(platform->device_count, sizeof *lists);
    if (!lists)
        return -PEN_ENOMEM;
    for (cl_uint i = 0; i < platform->device_count; i++)
        lists[i] = &platform->devices[i].facts->extensions;
    int rc = pen_extensions_common(lists, platform->device_count, &extensions);
    free(lists);
    return rc;
}

static int make_home(cl_platform_id platform, struct pen_home *home, const struct pen_pool *pool)
{
    home->pool = pool;
    pen_home_init_session(home);
    pen_home_init_actions(home);
    pen_home_init_hostptr(home);
    pen_home_init_service(home);
    for (uint32_t i = 0; i < pool->device_count; i++) {
        int rc = pen_device_init_root(&platform->devices[platform->device_count], platform, home, &pool->devices[i]);
        if (rc)
            return rc;
        platform->device_count++;
    }
    return 0;
}

static int make_devices(cl_platform_id platform, uint32_t device_count)
{
    const struct pen_pools *pools = &platform->pools;
    platform->devices = calloc(device_count, sizeof *platform->devices);
    platform->homes = calloc(pools->count, sizeof *platform->homes);
    if (!platform->devices || !platform->homes)
        return -PEN_ENOMEM;
    for (uint32_t i = 0; i < pools->count; i++) {
        int rc = make_home(platform, &platform->homes[i], &pools->pools[i]);
        if (rc)
            return rc;
    }
    return make_extensions(platform);
}

/* Why a pool has no device. */
static int why_none(const struct pen_pool *pool, struct pen_error *error)
{
    return pool->status ? pen_fail(error, pool->status, "%s", pool->error.message)
                        : pen_fail(error, -PEN_ENOENT, "the pool has no device");
}

/* Of several pools, those that have none are left out, with a word why. */
static uint32_t count_devices(const struct pen_pools *pools)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < pools->count; i++) {
        const struct pen_pool *pool = &pools->pools[i];
        struct pen_error why = {0};
        count += pool->device_count;
        if (pool->device_count || pools->count == 1)
            continue;
        (void)why_none(pool, &why);
        pen_say(pool->name, &why);
    }
    return count;
}

/* No pool has any. -PEN_ENOENT: that will be the same the next time. */
static int why_none_at_all(const struct pen_pools *pools, struct pen_error *error)
{
    int rc = -PEN_ENOENT;
    if (pools->count == 1)
        return why_none(&pools->pools[0], error);
    for (uint32_t i = 0; i < pools->count; i++) {
        int status = pools->pools[i].status;
        rc = status && status != -PEN_ENOENT ? status : rc;
    }
    return pen_fail(error, rc, "none of %u pools has a device", pools->count);
}

/* 0, or why there is no platform. The caller holds lock. */
static int load(struct pen_error *error)
{
    cl_platform_id platform = &the_platform;
    *platform = (struct _cl_platform_id){0};
    pen_object_init(&platform->object, PEN_MAGIC_PLATFORM);
    int rc = pen_pools_query(&platform->pools, error);
    if (rc)
        return rc;
    uint32_t count = count_devices(&platform->pools);
    if (!count)
        rc = why_none_at_all(&platform->pools, error);
    else if (make_devices(platform, count))
        rc = pen_fail(error, -PEN_ENOMEM, "reading the daemon's devices: out of memory");
    if (!rc)
        return 0;
    for (cl_uint i = 0; i < platform->device_count; i++)
        pen_device_finish_root(&platform->devices[i]);
    free(platform->devices);
    free(platform->homes);
    pen_pools_finish(&platform->pools);
    return rc;
}

struct pen_home *pen_homes(uint32_t *out_count)
{
    bool there = atomic_load_explicit(&loaded, memory_order_acquire);
    *out_count = there ? the_platform.pools.count : 0;
    return there ? the_platform.homes : NULL;
}

void pen_platform_forked(void)
{
    uint32_t count;
    struct pen_home *homes = pen_homes(&count);
    lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* the thread that may have asked is not here */
    for (uint32_t i = 0; i < count; i++) {
        pen_home_init_session(&homes[i]);
        pen_home_init_actions(&homes[i]);
        pen_home_init_service(&homes[i]);
    }
}

/* A worker loads the vendors' drivers through the same loader: in it there is no Penstock (no recursion). No daemon, or
 * none with devices, is an answer for the process's life; what went wrong may go right the next time. The caller holds
 * lock. */
static void ask(void)
{
    struct pen_error error = {0};
    if (pen_handle_fork())
        return;
    if (getenv("PENSTOCK_WORKER")) {
        answered = true;
        return;
    }
    int rc = load(&error);
    if (rc)
        pen_say("no platform", &error);
    answered = rc == 0 || rc == -PEN_ENOENT;
    atomic_store_explicit(&loaded, rc == 0, memory_order_release);
}

cl_platform_id pen_platform(void)
{
    if (!atomic_load_explicit(&loaded, memory_order_acquire)) {
        pthread_mutex_lock(&lock);
        if (!answered)
            ask();
        pthread_mutex_unlock(&lock);
        if (!atomic_load_explicit(&loaded, memory_order_acquire))
            return NULL;
    }
    return &the_platform;
}

cl_int CL_API_CALL pen_clGetPlatformIDs(cl_uint entry_count, cl_platform_id *platforms, cl_uint *out_count)
{
    if ((!platforms && !out_count) || (platforms && !entry_count))
        return CL_INVALID_VALUE;
    cl_platform_id platform = pen_platform();
    if (out_count)
        *out_count = platform ? 1 : 0;
    if (!platform)
        return CL_PLATFORM_NOT_FOUND_KHR;
    if (platforms)
        platforms[0] = platform;
    return CL_SUCCESS;
}

cl_int CL_API_CALL pen_clGetPlatformInfo(cl_platform_id platform, cl_platform_info name, size_t param_value_size,
                                         void *param_value, size_t *param_value_size_ret)
{
    /* "platform can be NULL": then it is up to us, and there is one. */
    if (!platform)
        platform = pen_platform();
    if (!pen_object_is(platform, PEN_MAGIC_PLATFORM))
        return CL_INVALID_PLATFORM;
    const char *text = NULL;
    switch (name) {
    case CL_PLATFORM_PROFILE:
        text = "FULL_PROFILE";
        break;
    case CL_PLATFORM_VERSION:
        text = "OpenCL 3.0 Penstock " PEN_VERSION;
        break;
    case CL_PLATFORM_NAME:
    case CL_PLATFORM_VENDOR:
        text = "Penstock";
        break;
    case CL_PLATFORM_EXTENSIONS:
        text = extensions.text;
        break;
    case CL_PLATFORM_ICD_SUFFIX_KHR:
        text = "PEN";
        break;
    case CL_PLATFORM_HOST_TIMER_RESOLUTION:
        PEN_INFO(cl_ulong, 1);
    case CL_PLATFORM_NUMERIC_VERSION:
        PEN_INFO(cl_version, CL_MAKE_VERSION(3, 0, 0));
    case CL_PLATFORM_EXTENSIONS_WITH_VERSION:
        return pen_info(extensions.versions, extensions.count * sizeof *extensions.versions, param_value_size,
                        param_value, param_value_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
    return pen_info_string(text, param_value_size, param_value, param_value_size_ret);
}

/* The compiler is the worker's: nothing here to unload. */
cl_int CL_API_CALL pen_clUnloadCompiler(void)
{
    return CL_SUCCESS;
}

cl_int CL_API_CALL pen_clUnloadPlatformCompiler(cl_platform_id platform)
{
    return pen_object_is(platform, PEN_MAGIC_PLATFORM) ? CL_SUCCESS : CL_INVALID_PLATFORM;
}
