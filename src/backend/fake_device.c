/* backend/fake_device.c - the fake's devices and what the environment asks of it (fake.c's header says what). */
#include <stdlib.h>
#include <string.h>

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include "backend/fake.h"

#define COMPUTE_UNITS 4
#define MEMORY_BYTES  (UINT64_C(256) << 20)

struct pen_fake pen_fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- environment, faults ------------------------------------------------------------------------------- */

static const char *const call_names[PEN_FAKE_CALLS] = {
    [PEN_FAKE_LAUNCH] = "launch",   [PEN_FAKE_WRITE] = "write",   [PEN_FAKE_READ] = "read",
    [PEN_FAKE_COPY] = "copy",       [PEN_FAKE_FILL] = "fill",     [PEN_FAKE_MARKER] = "marker",
    [PEN_FAKE_BARRIER] = "barrier", [PEN_FAKE_MEMORY] = "memory", [PEN_FAKE_QUEUE] = "queue",
    [PEN_FAKE_PROGRAM] = "program", [PEN_FAKE_BUILD] = "build",   [PEN_FAKE_KERNEL] = "kernel",
};

static int parse_number(const char *name, uint64_t fallback, uint64_t *out, struct pen_error *error)
{
    const char *text = getenv(name);
    char *end;

    *out = fallback;
    if (!text || !*text)
        return 0;
    *out = strtoull(text, &end, 0);
    return *end ? pen_fail(error, -PEN_ECONFIG, "%s=%s is not a number", name, text) : 0;
}

static int parse_fault(const char *item, struct pen_error *error)
{
    const char *colon = strchr(item, ':');
    char *end = NULL;

    for (int call = 0; colon && call < PEN_FAKE_CALLS; call++) {
        if (strlen(call_names[call]) != (size_t)(colon - item) ||
            memcmp(call_names[call], item, (size_t)(colon - item)))
            continue;
        pen_fake.faults[call].fail_at = strtoull(colon + 1, &end, 10);
        pen_fake.faults[call].late = !strcmp(end, ":late");
        if (pen_fake.faults[call].fail_at && (!*end || pen_fake.faults[call].late))
            return 0;
    }
    return pen_fail(error, -PEN_ECONFIG, "PENSTOCK_FAKE_FAIL: \"%s\" is not CALL:NUMBER or CALL:NUMBER:late", item);
}

static int parse_faults(struct pen_error *error)
{
    const char *text = getenv("PENSTOCK_FAKE_FAIL");
    char *copy = text ? strdup(text) : NULL, *rest;
    int rc = text && !copy ? -PEN_ENOMEM : 0;

    for (char *item = copy ? strtok_r(copy, ",", &rest) : NULL; item && !rc; item = strtok_r(NULL, ",", &rest))
        rc = parse_fault(item, error);
    free(copy);
    return rc;
}

int pen_fake_fault(enum pen_fake_call call, bool *out_late)
{
    pthread_mutex_lock(&pen_fake.lock);
    bool now = ++pen_fake.faults[call].calls == pen_fake.faults[call].fail_at;
    bool late = now && pen_fake.faults[call].late && out_late;
    pthread_mutex_unlock(&pen_fake.lock);
    if (out_late)
        *out_late = late;
    return now && !late ? -PEN_EDEVRES : 0;
}

/* ---- devices ------------------------------------------------------------------------------------------- */

/* The answers that a front end cannot do without; unset ones are absent, as on a poor driver. */
static const struct {
    cl_device_info key;
    uint32_t size; /* 0: text */
    uint64_t number;
    const char *text;
} answers[] = {
    {CL_DEVICE_TYPE, 8, CL_DEVICE_TYPE_ACCELERATOR, NULL},
    {CL_DEVICE_VENDOR_ID, 4, 0xfa4e, NULL},
    {CL_DEVICE_MAX_COMPUTE_UNITS, 4, COMPUTE_UNITS, NULL},
    {CL_DEVICE_MAX_WORK_ITEM_DIMENSIONS, 4, 3, NULL},
    {CL_DEVICE_MAX_WORK_GROUP_SIZE, 8, 1024, NULL},
    {CL_DEVICE_MAX_CLOCK_FREQUENCY, 4, 1000, NULL},
    {CL_DEVICE_ADDRESS_BITS, 4, 64, NULL},
    {CL_DEVICE_MAX_MEM_ALLOC_SIZE, 8, MEMORY_BYTES / 4, NULL},
    {CL_DEVICE_IMAGE_SUPPORT, 4, CL_FALSE, NULL},
    {CL_DEVICE_MAX_PARAMETER_SIZE, 8, 1024, NULL},
    {CL_DEVICE_MEM_BASE_ADDR_ALIGN, 4, 1024, NULL},
    {CL_DEVICE_GLOBAL_MEM_SIZE, 8, MEMORY_BYTES, NULL},
    {CL_DEVICE_MAX_CONSTANT_BUFFER_SIZE, 8, 65536, NULL},
    {CL_DEVICE_MAX_CONSTANT_ARGS, 4, 8, NULL},
    {CL_DEVICE_LOCAL_MEM_TYPE, 4, CL_GLOBAL, NULL},
    {CL_DEVICE_LOCAL_MEM_SIZE, 8, 65536, NULL},
    {CL_DEVICE_PROFILING_TIMER_RESOLUTION, 8, 1, NULL},
    {CL_DEVICE_ENDIAN_LITTLE, 4, CL_TRUE, NULL},
    {CL_DEVICE_AVAILABLE, 4, CL_TRUE, NULL},
    {CL_DEVICE_COMPILER_AVAILABLE, 4, CL_TRUE, NULL},
    {CL_DEVICE_LINKER_AVAILABLE, 4, CL_TRUE, NULL},
    {CL_DEVICE_EXECUTION_CAPABILITIES, 8, CL_EXEC_KERNEL, NULL},
    {CL_DEVICE_QUEUE_PROPERTIES, 8, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE | CL_QUEUE_PROFILING_ENABLE, NULL},
    {CL_DEVICE_PARTITION_MAX_SUB_DEVICES, 4, 0, NULL},
    {CL_DEVICE_NAME, 0, 0, "fake"},
    {CL_DEVICE_VENDOR, 0, 0, "Penstock"},
    {CL_DRIVER_VERSION, 0, 0, "1.0"},
    {CL_DEVICE_PROFILE, 0, 0, "FULL_PROFILE"},
    {CL_DEVICE_VERSION, 0, 0, "OpenCL 3.0 fake"},
    {CL_DEVICE_OPENCL_C_VERSION, 0, 0, "OpenCL C 1.2 fake"},
    {CL_DEVICE_EXTENSIONS, 0, 0, ""},
    {CL_DEVICE_BUILT_IN_KERNELS, 0, 0, ""},
};
#define ANSWERS ((uint32_t)(sizeof answers / sizeof *answers))

static int add_answers(struct pen_backend_device *device)
{
    static const uint64_t item_sizes[3] = {1024, 1024, 1024};

    device->properties = calloc(ANSWERS + 1, sizeof *device->properties);
    if (!device->properties)
        return -PEN_ENOMEM;
    for (uint32_t i = 0; i <= ANSWERS; i++) {
        const void *from = i == ANSWERS      ? item_sizes
                           : answers[i].text ? (const void *)answers[i].text
                                             : &answers[i].number;
        uint32_t size = i == ANSWERS ? (uint32_t)sizeof item_sizes : answers[i].size;
        if (i < ANSWERS && answers[i].text)
            size = (uint32_t)strlen(answers[i].text) + 1;
        void *value = malloc(size);
        if (!value)
            return -PEN_ENOMEM;
        memcpy(value, from, size);
        if (i < ANSWERS && answers[i].key == CL_DEVICE_GLOBAL_MEM_SIZE)
            memcpy(value, &device->memory_bytes, sizeof device->memory_bytes);
        device->properties[device->property_count++] = (struct pen_backend_property){
            .key = i == ANSWERS ? CL_DEVICE_MAX_WORK_ITEM_SIZES : answers[i].key, .size = size, .value = value};
    }
    return 0;
}

static int make_device(struct pen_backend_device *device, struct pen_backend_domain *domain)
{
    *device = (struct pen_backend_device){
        .domain = domain,
        .index = domain->device_count++,
        .class = PEN_DEVICE_CLASS_ACCELERATOR,
        .flags = PEN_DEVICE_FLAG_OUT_OF_ORDER |
                 (pen_fake.indirect ? 0 : PEN_DEVICE_FLAG_DIRECT | PEN_DEVICE_FLAG_DIRECT_IMAGES),
        .memory_bytes = domain->memory_limit,
        .compute_units = COMPUTE_UNITS,
        .vendor_name = "fake",
        .driver = "Penstock fake",
        .driver_version = "1.0",
    };
    return add_answers(device);
}

int pen_fake_init(uint32_t (*partition_units)(void *, const struct pen_backend_device *), void *context,
                  struct pen_backend_device **out_devices, uint32_t *out_count, struct pen_error *error)
{
    uint64_t count, domains, memory, indirect, lazy, deaf;
    int rc;

    (void)partition_units, (void)context;
    memset(pen_fake.faults, 0, sizeof pen_fake.faults);
    if ((rc = parse_number("PENSTOCK_FAKE_DEVICES", 1, &count, error)) ||
        (rc = parse_number("PENSTOCK_FAKE_DOMAINS", 1, &domains, error)) ||
        (rc = parse_number("PENSTOCK_FAKE_MEMORY", MEMORY_BYTES, &memory, error)) ||
        (rc = parse_number("PENSTOCK_FAKE_INDIRECT", 0, &indirect, error)) ||
        (rc = parse_number("PENSTOCK_FAKE_LAZY", 0, &lazy, error)) ||
        (rc = parse_number("PENSTOCK_FAKE_DEAF", 0, &deaf, error)) ||
        (rc = parse_number("PENSTOCK_FAKE_SEED", 0, &pen_fake.seed, error)) ||
        (rc = parse_number("PENSTOCK_FAKE_SLOW", 0, &pen_fake.slow, error)) ||
        (rc = parse_number("PENSTOCK_FAKE_UNBUILT", 0, &pen_fake.unbuilt, error)) ||
        (rc = parse_number("PENSTOCK_FAKE_LOAD", 0, &pen_fake.load_ms, error)) || (rc = parse_faults(error)))
        return rc;
    if (!count || count > PEN_LIMIT_DEVICES)
        return pen_fail(error, -PEN_ECONFIG, "PENSTOCK_FAKE_DEVICES is 1 to %u", PEN_LIMIT_DEVICES);
    if (!domains || domains > count)
        return pen_fail(error, -PEN_ECONFIG, "PENSTOCK_FAKE_DOMAINS is 1 to PENSTOCK_FAKE_DEVICES");
    pen_fake.queues_made = pen_fake.device_count = 0;
    pen_fake.indirect = indirect;
    pen_fake.lazy = lazy;
    pen_fake.deaf = deaf;
    pen_fake.devices = calloc(count, sizeof *pen_fake.devices);
    pen_fake.domains = calloc(domains, sizeof *pen_fake.domains);
    if (!pen_fake.devices || !pen_fake.domains) {
        pen_fake_finish();
        return -PEN_ENOMEM;
    }
    for (uint32_t i = 0; i < domains; i++)
        pen_fake.domains[i].memory_limit = memory;
    for (uint32_t i = 0; i < count; i++) {
        pen_fake.device_count = i + 1;
        rc = make_device(&pen_fake.devices[i], &pen_fake.domains[i % domains]);
        if (rc) {
            pen_fake_finish();
            return rc;
        }
    }
    *out_devices = pen_fake.devices;
    *out_count = (uint32_t)count;
    return 0;
}

void pen_fake_finish(void)
{
    for (uint32_t i = 0; i < pen_fake.device_count; i++) {
        struct pen_backend_device *device = &pen_fake.devices[i];
        for (uint32_t j = 0; j < device->property_count; j++)
            free(device->properties[j].value);
        free(device->properties);
    }
    free(pen_fake.devices);
    free(pen_fake.domains);
    pen_fake.devices = NULL;
    pen_fake.domains = NULL;
    pen_fake.device_count = 0;
}

int pen_fake_partition(const struct pen_backend_device *device, const struct pen_backend_cut *cut,
                       struct pen_backend_device *out_devices, struct pen_error *error)
{
    (void)out_devices;
    return pen_fail(error, -PEN_EPARTITION, "%s cannot be cut into %u parts", device->vendor_name, cut->parts);
}
