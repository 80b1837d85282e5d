/* cli/devices.c - penstock devices: the pools. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "client/session.h"

static const char *class_name(enum pen_device_class class)
{
    static const char *const names[] = {"cpu", "gpu", "accelerator", "custom"};
    return (unsigned)class < 4 ? names[class] : "unknown";
}

static const struct {
    uint32_t flag;
    const char *name, *meaning;
} abilities[] = {
    {PEN_DEVICE_FLAG_DIRECT, "direct", "buffers lie in memory shared with the program"},
    {PEN_DEVICE_FLAG_DIRECT_IMAGES, "direct-images", "images too"},
    {PEN_DEVICE_FLAG_OUT_OF_ORDER, "out-of-order", "queues may reorder"},
    {PEN_DEVICE_FLAG_ANY_SLICE, "any-slice", "parts of buffers begin anywhere"},
};
#define ABILITIES (sizeof abilities / sizeof *abilities)

static json_t *json_of(const struct pen_pool *pool, const struct pen_pool_device *device, bool verbose)
{
    const struct pen_msg_device *info = &device->info;
    json_t *flags = json_array();
    for (size_t i = 0; i < ABILITIES; i++)
        if (info->flags & abilities[i].flag)
            json_array_append_new(flags, json_string(abilities[i].name));
    json_t *object =
        json_pack("{s:I, s:o, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o}", "id", (json_int_t)info->device, "name",
                  pen_json_text(info->name), "class", class_name(info->class), "pool", pen_json_text(pool->name),
                  "device", pen_json_text(info->vendor_name), "driver", pen_json_text(info->driver), "driver_version",
                  pen_json_text(info->driver_version), "spans", (json_int_t)info->spans, "compute_units",
                  (json_int_t)info->compute_units, "memory_bytes", (json_int_t)info->memory_bytes, "features", flags);
    if (object && verbose) {
        json_object_set_new(object, "properties", json_integer((json_int_t)device->property_count));
        json_object_set_new(object, "jail", pen_json_text(pool->jail));
    }
    return object ? object : json_null();
}

static void print_json(const struct pen_pools *pools, bool verbose)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < pools->count; i++) {
        const struct pen_pool *pool = &pools->pools[i];
        for (uint32_t j = 0; j < pool->device_count; j++)
            json_array_append_new(array, json_of(pool, &pool->devices[j], verbose));
    }
    json_dumpf(array, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(array);
}

static void print_details(const struct pen_pool_device *device)
{
    const struct pen_msg_device *info = &device->info;
    printf("    id %" PRIu64 ", %s %s, %u properties\n", info->device, info->driver, info->driver_version,
           device->property_count);
    for (size_t i = 0; i < ABILITIES; i++)
        printf("    %-14s %s  (%s)\n", abilities[i].name, info->flags & abilities[i].flag ? "yes" : "no ",
               abilities[i].meaning);
}

static void print_pool(const struct pen_pool *pool, bool verbose)
{
    if (!pool->device_count) {
        puts("The pool has no device.");
        return;
    }
    printf("%-12s %-11s %5s %11s  %s\n", "NAME", "CLASS", "UNITS", "MEMORY", "DEVICE");
    for (uint32_t i = 0; i < pool->device_count; i++) {
        const struct pen_msg_device *info = &pool->devices[i].info;
        char spans[32] = "";
        if (info->spans > 1)
            snprintf(spans, sizeof spans, "spans %u: ", info->spans);
        printf("%-12s %-11s %5u %7.1f GiB  %s%s\n", info->name, class_name(info->class), info->compute_units,
               (double)info->memory_bytes / (1u << 30), spans, info->vendor_name);
        if (verbose)
            print_details(&pool->devices[i]);
    }
    if (verbose)
        printf("workers' jail: %s\n", pool->jail);
}

/* Each under its name, where there are several. */
static void print_tables(const struct pen_pools *pools, bool verbose)
{
    for (uint32_t i = 0; i < pools->count; i++) {
        const struct pen_pool *pool = &pools->pools[i];
        if (pool->status)
            continue;
        if (pools->count > 1)
            printf("%s%s:\n", i ? "\n" : "", pool->name);
        print_pool(pool, verbose);
    }
}

/* Says what is wrong with those that did not answer; the exit status. */
static int complain(const struct pen_pools *pools, bool *out_answered)
{
    int status = 0;
    for (uint32_t i = 0; i < pools->count; i++) {
        const struct pen_pool *pool = &pools->pools[i];
        *out_answered |= !pool->status;
        if (!pool->status)
            continue;
        status = pools->count > 1 ? pen_cli_fail(PEN_EXIT_FAILED, "%s: %s", pool->name, pool->error.message)
                                  : pen_cli_fail(PEN_EXIT_FAILED, "%s", pool->error.message);
    }
    return status;
}

int pen_cli_devices(int argc, char **argv)
{
    static const struct option known[] = {
        {"json", no_argument, NULL, 'j'},       {"verbose", no_argument, NULL, 'v'},
        {"private", no_argument, NULL, 'p'},    {"config", required_argument, NULL, 'c'},
        {"span", required_argument, NULL, 's'}, {0}};
    bool json = false, verbose = false;
    struct pen_private how = {0};
    int option;
    while ((option = pen_cli_option(argc, argv, known)) != -1) {
        switch (option) {
        case 'j':
            json = true;
            break;
        case 'v':
            verbose = true;
            break;
        case 'p':
            how.always = true;
            break;
        case 'c':
            how.config = optarg;
            break;
        case 's':
            how.span = optarg;
            break;
        default:
            return PEN_EXIT_USAGE;
        }
    }
    if (optind < argc)
        return pen_cli_fail(PEN_EXIT_USAGE, "devices takes no argument \"%s\"; see penstock help", argv[optind]);

    struct pen_helper helper;
    struct pen_pools pools = {0};
    struct pen_error error = {0};
    pen_progress_begin("looking for devices");
    int rc = pen_helper_pool(&helper, &how, &error);
    if (!rc)
        rc = pen_pools_query(&pools, &error);
    pen_progress_end();
    bool answered = false;
    int status = rc ? pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message) : complain(&pools, &answered);
    if (answered && json)
        print_json(&pools, verbose);
    else if (answered)
        print_tables(&pools, verbose);
    pen_pools_finish(&pools);
    pen_helper_end(&helper);
    return status;
}
