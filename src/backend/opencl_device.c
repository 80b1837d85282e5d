/* backend/opencl_device.c - platforms, devices, their parts, and the domains they are in. */
#include "backend/opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PLATFORMS 32
/* More parts than this make no sense: a command names at most so many devices. */
#define MOST_PARTS PEN_LIMIT_DEVICES

/* The one instance: drivers are loaded once a process. */
static struct {
    struct pen_list domains;
    struct pen_backend_device *devices;
    uint32_t device_count;
    bool started;
} backend;

/* ---- one device ---------------------------------------------------------------------------------------- */

static enum pen_device_class class_of(cl_device_type type)
{
    if (type & CL_DEVICE_TYPE_GPU && !(type & CL_DEVICE_TYPE_CPU))
        return PEN_DEVICE_CLASS_GPU;
    if (type & CL_DEVICE_TYPE_CPU)
        return PEN_DEVICE_CLASS_CPU;
    return type & CL_DEVICE_TYPE_CUSTOM ? PEN_DEVICE_CLASS_CUSTOM : PEN_DEVICE_CLASS_ACCELERATOR;
}

/* All but domain, index, flags and properties. */
static void describe(cl_platform_id platform, cl_device_id id, struct pen_backend_device *out)
{
    *out = (struct pen_backend_device){
        .class = class_of(pen_opencl_number(id, CL_DEVICE_TYPE)),
        .memory_bytes = pen_opencl_number(id, CL_DEVICE_GLOBAL_MEM_SIZE),
        .compute_units = (uint32_t)pen_opencl_number(id, CL_DEVICE_MAX_COMPUTE_UNITS),
    };
    pen_opencl_text(id, CL_DEVICE_NAME, out->vendor_name, sizeof out->vendor_name);
    pen_opencl_text(id, CL_DRIVER_VERSION, out->driver_version, sizeof out->driver_version);
    if (clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof out->driver - 1, out->driver, NULL))
        out->driver[0] = 0;
}

static bool has_extension(cl_device_id id, const char *name)
{
    char text[PEN_LIMIT_PROPERTY], *rest;

    pen_opencl_text(id, CL_DEVICE_EXTENSIONS, text, sizeof text);
    for (const char *one = strtok_r(text, " ", &rest); one; one = strtok_r(NULL, " ", &rest))
        if (!strcmp(one, name))
            return true;
    return false;
}

/* What came with OpenCL 2.1, or before it with extensions. The driver may have no such entry point otherwise. */
static void learn_functions(cl_platform_id platform, struct pen_opencl_device *device)
{
    bool core = device->version >= 210;
    char text[64];

    if (core || has_extension(device->id, "cl_khr_il_program")) {
        pen_opencl_text(device->id, CL_DEVICE_IL_VERSION, text, sizeof text);
        if (text[0])
            device->from_il = core ? clCreateProgramWithIL
                                   : (clCreateProgramWithILKHR_fn)clGetExtensionFunctionAddressForPlatform(
                                         platform, "clCreateProgramWithILKHR");
    }
    if (core)
        device->sub_groups = clGetKernelSubGroupInfo;
    else if (has_extension(device->id, "cl_khr_subgroups"))
        device->sub_groups = (clGetKernelSubGroupInfoKHR_fn)clGetExtensionFunctionAddressForPlatform(
            platform, "clGetKernelSubGroupInfoKHR");
}

static void learn(cl_platform_id platform, cl_device_id id, cl_device_id parent, struct pen_opencl_device *out)
{
    unsigned major = 1, minor = 0;
    char text[64];

    pen_opencl_text(id, CL_DEVICE_VERSION, text, sizeof text);
    sscanf(text, "OpenCL %u.%u", &major, &minor);
    *out = (struct pen_opencl_device){
        .id = id,
        .parent = parent,
        .version = major * 100 + minor * 10,
        .address_bits = (uint32_t)pen_opencl_number(id, CL_DEVICE_ADDRESS_BITS),
        .custom = pen_opencl_number(id, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CUSTOM,
        .queue_properties = pen_opencl_number(id, CL_DEVICE_QUEUE_PROPERTIES),
    };
    learn_functions(platform, out);
}

/* ---- parts --------------------------------------------------------------------------------------------- */

bool pen_opencl_can_part(cl_device_id id, cl_device_partition_property how)
{
    cl_device_partition_property ways[16] = {0};

    if (pen_opencl_number(id, CL_DEVICE_PARTITION_MAX_SUB_DEVICES) < 2 ||
        clGetDeviceInfo(id, CL_DEVICE_PARTITION_PROPERTIES, sizeof ways, ways, NULL))
        return false;
    for (size_t i = 0; i < sizeof ways / sizeof *ways && ways[i]; i++)
        if (ways[i] == how)
            return true;
    return false;
}

int pen_opencl_parts(cl_device_id id, const cl_device_partition_property *how, uint32_t most, cl_device_id *out_ids,
                     uint32_t *out_count)
{
    cl_uint count = 0;
    cl_int status = clCreateSubDevices(id, how, 0, NULL, &count);

    if (status)
        return pen_opencl_status(status);
    if (!count || count > most)
        return -PEN_EPARTITION;
    status = clCreateSubDevices(id, how, count, out_ids, NULL);
    if (status)
        return pen_opencl_status(status);
    *out_count = count;
    return 0;
}

/* ---- domains ------------------------------------------------------------------------------------------- */

static void domain_destroy(struct pen_backend_domain *domain)
{
    if (!domain)
        return;
    pen_list_remove(&domain->link);
    if (domain->context)
        clReleaseContext(domain->context);
    for (uint32_t i = 0; i < domain->device_count; i++) {
        if (domain->devices[i].parent)
            clReleaseDevice(domain->devices[i].id);
        pen_opencl_properties_free(domain->devices[i].properties, domain->devices[i].property_count);
    }
    pen_opencl_pending_free(domain);
    free(domain->devices);
    free(domain);
}

/* The devices of a domain to be. */
struct found {
    cl_device_id ids[MOST_PARTS];
    cl_device_id parents[MOST_PARTS]; /* NULL: a root device */
    uint32_t count;
};

static void drop_parts(const struct found *found)
{
    for (uint32_t i = 0; i < found->count; i++)
        if (found->parents[i])
            clReleaseDevice(found->ids[i]);
}

/* The context's devices: the domain's own and, with `by_parent`, their parents. */
static cl_context create_context(cl_platform_id platform, const struct found *found, bool by_parent, cl_int *out_status)
{
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)platform, 0};
    cl_device_id ids[2 * MOST_PARTS];
    cl_uint count = found->count;

    memcpy(ids, found->ids, count * sizeof *ids);
    for (uint32_t i = 0; by_parent && i < found->count; i++)
        if (found->parents[i] && (!i || found->parents[i] != found->parents[i - 1]))
            ids[count++] = found->parents[i];
    return clCreateContext(properties, count, ids, NULL, NULL, out_status);
}

/* On success the domain owns the sub-devices, on failure the caller still does. */
static int domain_create(cl_platform_id platform, const struct found *found, struct pen_backend_domain **out)
{
    char name[64] = "", version[64];
    cl_int status;

    struct pen_backend_domain *domain = calloc(1, sizeof *domain);
    if (!domain)
        return -PEN_ENOMEM;
    pen_list_init(&domain->link);
    pen_list_init(&domain->queues);
    domain->platform = platform;
    domain->devices = calloc(found->count, sizeof *domain->devices);
    if (!domain->devices) {
        domain_destroy(domain);
        return -PEN_ENOMEM;
    }
    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, NULL);
    bool pocl = !strcmp(name, "Portable Computing Language");
    domain->context = create_context(platform, found, pocl, &status);
    if (status) {
        domain->context = NULL;
        domain_destroy(domain);
        return pen_opencl_status(status);
    }
    bool oclgrind = !strcmp(name, "Oclgrind");
    domain->arg_info_option = !oclgrind; /* it always keeps the information */
    domain->one_thread = oclgrind;       /* its objects, the context among them, count references without atomics */
    pen_opencl_text(found->ids[0], CL_DRIVER_VERSION, version, sizeof version);
    domain->fatal_binaries = !strcmp(name, "rusticl") && !strncmp(version, "22.", 3); /* later ones have a magic word */
    for (uint32_t i = 0; i < found->count; i++) {
        learn(platform, found->ids[i], found->parents[i], &domain->devices[i]);
        domain->devices[i].images_by_parent = pocl && found->parents[i];
    }
    domain->device_count = found->count;
    pen_list_append(&backend.domains, &domain->link);
    *out = domain;
    return 0;
}

/* Does the driver let a sub-buffer begin where no device's alignment allows it? */
static bool slices_anywhere(const struct pen_backend_domain *domain)
{
    const cl_buffer_region region = {4, 4};
    cl_int status;

    cl_mem whole = clCreateBuffer(domain->context, CL_MEM_READ_WRITE, 4096, NULL, &status);
    if (status)
        return false;
    cl_mem slice = clCreateSubBuffer(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
    if (!status)
        clReleaseMemObject(slice);
    clReleaseMemObject(whole);
    return !status;
}

/* What device `index` of a domain can do in host memory; its neighbour must see the same. */
static uint32_t probe(const struct pen_backend_domain *domain, uint32_t index)
{
    const struct pen_opencl_device *device = &domain->devices[index];
    const struct pen_opencl_device *peer = &domain->devices[(index + 1) % domain->device_count];
    uint32_t flags = pen_opencl_probe(domain->context, device->id, peer->id, !device->images_by_parent);

    if (flags && device->images_by_parent)
        flags |=
            pen_opencl_probe(domain->context, device->parent, device->parent, true) & PEN_DEVICE_FLAG_DIRECT_IMAGES;
    if (slices_anywhere(domain))
        flags |= PEN_DEVICE_FLAG_ANY_SLICE;
    return flags;
}

/* Describes device `index` of a domain; the domain owns its properties. Image formats are a context's, so that a device
 * is asked in one of its own. */
static int enlist(struct pen_backend_domain *domain, uint32_t index, uint32_t flags, struct pen_backend_device *out)
{
    struct pen_opencl_device *device = &domain->devices[index];
    cl_int status;

    describe(domain->platform, device->id, out);
    cl_context alone = clCreateContext(NULL, 1, &device->id, NULL, NULL, &status);
    if (status)
        return pen_opencl_status(status);
    int rc = pen_opencl_properties(device->id, alone, &device->properties, &device->property_count);
    clReleaseContext(alone);
    if (rc)
        return rc;
    out->properties = device->properties;
    out->property_count = device->property_count;
    out->domain = domain;
    out->index = index;
    out->flags = flags;
    out->one_thread = domain->one_thread;
    if (device->queue_properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE)
        out->flags |= PEN_DEVICE_FLAG_OUT_OF_ORDER;
    return 0;
}

/* ---- finding them -------------------------------------------------------------------------------------- */

static void find_devices(cl_platform_id platform,
                         uint32_t (*partition_units)(void *, const struct pen_backend_device *), void *context,
                         struct found *found)
{
    cl_device_id roots[MOST_PARTS];
    cl_uint root_count = 0;

    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MOST_PARTS, roots, &root_count))
        return;
    for (cl_uint i = 0; i < root_count && i < MOST_PARTS && found->count < MOST_PARTS; i++) {
        struct pen_backend_device whole;
        describe(platform, roots[i], &whole);
        uint32_t units = partition_units ? partition_units(context, &whole) : 0;
        const cl_device_partition_property equally[] = {CL_DEVICE_PARTITION_EQUALLY, units, 0};
        uint32_t parts = 0;
        if (units && units < whole.compute_units && pen_opencl_can_part(roots[i], CL_DEVICE_PARTITION_EQUALLY) &&
            !pen_opencl_parts(roots[i], equally, MOST_PARTS - found->count, found->ids + found->count, &parts))
            while (parts--)
                found->parents[found->count++] = roots[i];
        else
            found->ids[found->count++] = roots[i];
    }
}

static int grow_devices(uint32_t more)
{
    struct pen_backend_device *grown =
        realloc(backend.devices, (backend.device_count + more) * sizeof *backend.devices);
    if (!grown)
        return -PEN_ENOMEM;
    backend.devices = grown;
    return 0;
}

/* A driver that fails is left out; the others go on. */
static int add_platform(cl_platform_id platform, uint32_t (*partition_units)(void *, const struct pen_backend_device *),
                        void *context)
{
    struct pen_backend_domain *domain = NULL;
    struct found found = {.count = 0};

    find_devices(platform, partition_units, context, &found);
    if (!found.count)
        return 0;
    if (domain_create(platform, &found, &domain) || !domain) {
        drop_parts(&found);
        return 0;
    }
    int rc = grow_devices(found.count);
    for (uint32_t i = 0; i < found.count && !rc; i++) {
        rc = enlist(domain, i, probe(domain, i), &backend.devices[backend.device_count]);
        if (!rc)
            backend.device_count++;
    }
    return rc == -PEN_ENOMEM ? rc : 0;
}

/* Our own front end may be installed beside the vendors' drivers; the loader asks it for its platforms like any
 * other. In this process it must neither be used nor ask a daemon that may be waiting for us: so it finds none. */
static void hide_own_platform(void)
{
    setenv("PENSTOCK_SOCKET", "/dev/null", 1);
}

static bool is_own(cl_platform_id platform)
{
    char name[64] = "";

    clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, NULL);
    return !strcmp(name, "Penstock");
}

int pen_opencl_init(uint32_t (*partition_units)(void *, const struct pen_backend_device *), void *context,
                    struct pen_backend_device **out_devices, uint32_t *out_count, struct pen_error *error)
{
    cl_platform_id platforms[MOST_PLATFORMS];
    cl_uint count = 0;

    if (backend.started)
        return pen_fail(error, -PEN_EBUSY, "the OpenCL drivers are already loaded in this process");
    pen_list_init(&backend.domains);
    backend.started = true;
    hide_own_platform();
    cl_int status = clGetPlatformIDs(MOST_PLATFORMS, platforms, &count);
    if (status && status != -1001) { /* CL_PLATFORM_NOT_FOUND_KHR: there is none */
        pen_opencl_finish();
        return pen_fail(error, pen_opencl_status(status), "the OpenCL loader cannot list platforms (error %d)", status);
    }
    for (cl_uint i = 0; i < count && i < MOST_PLATFORMS; i++) {
        if (is_own(platforms[i]))
            continue;
        int rc = add_platform(platforms[i], partition_units, context);
        if (rc) {
            pen_opencl_finish();
            return pen_fail(error, rc, "asking the OpenCL drivers for their devices: %s", pen_error_text(rc));
        }
    }
    if (!backend.device_count) {
        const char *vendors = getenv("OCL_ICD_VENDORS");
        pen_opencl_finish();
        return pen_fail(error, -PEN_ENODEV,
                        "no OpenCL driver here has a device; drivers are named by files in %.300s (OCL_ICD_VENDORS "
                        "chooses others)",
                        vendors && *vendors ? vendors : "/etc/OpenCL/vendors");
    }
    *out_devices = backend.devices;
    *out_count = backend.device_count;
    return 0;
}

void pen_opencl_finish(void)
{
    if (!backend.started)
        return;
    free(backend.devices);
    PEN_LIST_EACH(node, next, &backend.domains)
    domain_destroy(PEN_CONTAINER(node, struct pen_backend_domain, link));
    memset(&backend, 0, sizeof backend);
}

/* The driver's parts; `found` has their parents. */
static int cut_parts(const struct pen_opencl_device *whole, const struct pen_backend_cut *cut, struct found *found)
{
    cl_device_partition_property counts[MOST_PARTS + 2] = {CL_DEVICE_PARTITION_BY_COUNTS};
    const cl_device_partition_property equally[] = {CL_DEVICE_PARTITION_EQUALLY, cut->units[0], 0};
    const cl_device_partition_property along[] = {CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN, cut->domain, 0};
    const cl_device_partition_property *how = cut->domain ? along : counts;
    bool equal = true;

    for (uint32_t i = 0; i < cut->parts; i++) {
        counts[1 + i] = cut->units[i]; /* CL_DEVICE_PARTITION_BY_COUNTS_LIST_END is 0 */
        equal = equal && cut->units[i] == cut->units[0];
        found->parents[i] = whole->parent ? whole->parent : whole->id;
    }
    if (how == counts && equal && !pen_opencl_can_part(whole->id, CL_DEVICE_PARTITION_BY_COUNTS))
        how = equally;
    if (!pen_opencl_can_part(whole->id, how[0]))
        return -PEN_EPARTITION;
    int rc = pen_opencl_parts(whole->id, how, cut->parts, found->ids, &found->count);
    if (rc || found->count != cut->parts)
        return rc ? rc : -PEN_EPARTITION;
    for (uint32_t i = 0; i < cut->parts; i++)
        if (pen_opencl_number(found->ids[i], CL_DEVICE_MAX_COMPUTE_UNITS) != cut->units[i])
            return -PEN_EPARTITION;
    return 0;
}

int pen_opencl_partition(const struct pen_backend_device *device, const struct pen_backend_cut *cut,
                         struct pen_backend_device *out_devices, struct pen_error *error)
{
    const struct pen_opencl_device *whole = &device->domain->devices[device->index];
    struct pen_backend_domain *domain = NULL;
    struct found found = {.count = 0};

    if (!cut->parts || cut->parts > MOST_PARTS)
        return pen_fail(error, -PEN_EPARTITION, "a device can be cut into 1 to %u parts, not %u", MOST_PARTS,
                        cut->parts);
    int rc = cut_parts(whole, cut, &found);
    if (!rc)
        rc = domain_create(device->domain->platform, &found, &domain);
    if (rc || !domain) {
        drop_parts(&found);
        return pen_fail(error, rc, "%s has %u compute units and cannot be cut into these %u parts", device->vendor_name,
                        device->compute_units, cut->parts);
    }
    uint32_t storage = device->flags & (PEN_DEVICE_FLAG_DIRECT | PEN_DEVICE_FLAG_DIRECT_IMAGES);
    for (uint32_t i = 0; i < cut->parts && !rc; i++)
        rc = enlist(domain, i, storage, &out_devices[i]);
    if (rc) {
        domain_destroy(domain);
        return pen_fail(error, rc, "describing a part of %s: %s", device->vendor_name, pen_error_text(rc));
    }
    return 0;
}
