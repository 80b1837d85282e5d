/* icd/meta.c - see meta.h. */
#include "icd/meta.h"

#include <stdlib.h>
#include <string.h>

#include "wire/definition.h"

/* The generated structs point to const; these copies are ours. */
static void free_const(const void *memory)
{
    free((void *)(uintptr_t)memory);
}

void pen_meta_finish(struct pen_kernel_meta *meta)
{
    for (uint32_t i = 0; meta->info.arguments && i < meta->info.arguments_count; i++) {
        free_const(meta->info.arguments[i].type_name);
        free_const(meta->info.arguments[i].name);
    }
    free_const(meta->info.name);
    free_const(meta->info.attributes);
    free_const(meta->info.arguments);
    free_const(meta->info.devices);
    *meta = (struct pen_kernel_meta){0};
}

void pen_meta_free(struct pen_kernel_meta *kernels, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        pen_meta_finish(&kernels[i]);
    free(kernels);
}

/* count elements, at least one so that NULL means out of memory. */
static void *copy_array(const void *from, uint32_t count, size_t size)
{
    void *copy = calloc(count ? count : 1, size);
    if (copy && count)
        memcpy(copy, from, count * size);
    return copy;
}

int pen_meta_copy(const struct pen_msg_kernel_info *info, struct pen_kernel_meta *out_meta)
{
    struct pen_kernel_meta meta = {.info = *info};
    struct pen_argument_info *arguments = copy_array(info->arguments, info->arguments_count, sizeof *arguments);
    meta.info.name = strdup(info->name);
    meta.info.attributes = strdup(info->attributes);
    meta.info.devices = copy_array(info->devices, info->devices_count, sizeof *info->devices);
    meta.info.arguments = arguments;
    bool complete = arguments && meta.info.name && meta.info.attributes && meta.info.devices;
    for (uint32_t i = 0; arguments && i < info->arguments_count; i++) {
        arguments[i].type_name = strdup(info->arguments[i].type_name);
        arguments[i].name = strdup(info->arguments[i].name);
        complete = complete && arguments[i].type_name && arguments[i].name;
    }
    if (!complete) {
        pen_meta_finish(&meta);
        return -PEN_ENOMEM;
    }
    *out_meta = meta;
    return 0;
}

static struct pen_kernel_meta *find(struct pen_kernel_meta *kernels, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(kernels[i].info.name, name) == 0)
            return &kernels[i];
    return NULL;
}

const struct pen_kernel_meta *pen_meta_find(const struct pen_kernel_meta *kernels, uint32_t count, const char *name)
{
    return find((struct pen_kernel_meta *)(uintptr_t)kernels, count, name);
}

uint32_t pen_meta_count(const struct pen_kernel_meta *kernels, uint32_t count)
{
    uint32_t alike = 0;
    for (uint32_t i = 0; i < count; i++)
        alike += !kernels[i].differs;
    return alike;
}

/* What `given` knows of an argument and `to` does not. */
static int learn_argument(struct pen_argument_info *to, const struct pen_argument_info *given)
{
    if (to->known || !given->known) {
        if (!to->size && given->known)
            to->size = given->size;
        return 0;
    }
    struct pen_argument_info copy = *given;
    copy.type_name = strdup(given->type_name);
    copy.name = strdup(given->name);
    if (!copy.type_name || !copy.name) {
        free_const(copy.type_name);
        free_const(copy.name);
        return -PEN_ENOMEM;
    }
    free_const(to->type_name);
    free_const(to->name);
    *to = copy;
    return 0;
}

/* What `given`, which has as many arguments, knows of the function and `kernel` does not. */
static int learn(struct pen_kernel_meta *kernel, const struct pen_kernel_meta *given)
{
    int rc = 0;
    if (!kernel->info.attributes[0] && given->info.attributes[0]) {
        const char *attributes = strdup(given->info.attributes);
        if (!attributes)
            return -PEN_ENOMEM;
        free_const(kernel->info.attributes);
        kernel->info.attributes = attributes;
    }
    for (uint32_t i = 0; !rc && i < kernel->info.arguments_count; i++)
        rc = learn_argument((struct pen_argument_info *)(uintptr_t)&kernel->info.arguments[i],
                            &given->info.arguments[i]);
    return rc;
}

int pen_meta_complete(struct pen_kernel_meta *kernels, uint32_t count, const struct pen_kernel_meta *given,
                      uint32_t given_count)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < count; i++) {
        const struct pen_kernel_meta *same = pen_meta_find(given, given_count, kernels[i].info.name);
        if (same && same->info.arguments_count == kernels[i].info.arguments_count)
            rc = learn(&kernels[i], same);
    }
    return rc;
}

static void forget_device(struct pen_kernel_meta *meta, uint64_t device)
{
    struct pen_kernel_device_info *devices = (struct pen_kernel_device_info *)(uintptr_t)meta->info.devices;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < meta->info.devices_count; i++)
        if (devices[i].device != device)
            devices[kept++] = devices[i];
    meta->info.devices_count = kept;
}

static bool is_several(const struct pen_kernel_meta *kernels, uint32_t count, const char *name)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++)
        found += strcmp(kernels[i].info.name, name) == 0;
    return found > 1;
}

void pen_meta_forget(struct pen_kernel_meta *kernels, uint32_t *count, uint64_t device)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < *count; i++) {
        forget_device(&kernels[i], device);
        if (kernels[i].info.devices_count)
            kernels[kept++] = kernels[i];
        else
            pen_meta_finish(&kernels[i]);
    }
    *count = kept;
    for (uint32_t i = 0; i < kept; i++)
        if (kernels[i].differs)
            kernels[i].differs = is_several(kernels, kept, kernels[i].info.name);
}

/* Moves the devices of `from` into `to`. */
static int add_devices(struct pen_kernel_meta *to, const struct pen_kernel_meta *from)
{
    for (uint32_t i = 0; i < from->info.devices_count; i++)
        forget_device(to, from->info.devices[i].device);
    uint32_t count = to->info.devices_count + from->info.devices_count;
    struct pen_kernel_device_info *devices =
        realloc((void *)(uintptr_t)to->info.devices, (count + 1) * sizeof *devices);
    if (!devices)
        return -PEN_ENOMEM;
    memcpy(devices + to->info.devices_count, from->info.devices, from->info.devices_count * sizeof *devices);
    to->info.devices = devices;
    to->info.devices_count = count;
    return 0;
}

/* The same function among those of the name; where there are others, they and `added` differ. */
static struct pen_kernel_meta *find_same(struct pen_kernel_meta *kernels, uint32_t count, struct pen_kernel_meta *added)
{
    struct pen_kernel_meta *same = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(kernels[i].info.name, added->info.name) != 0)
            continue;
        if (pen_same_definition(&kernels[i].info, &added->info))
            same = &kernels[i];
        else
            kernels[i].differs = added->differs = true;
    }
    return same;
}

int pen_meta_merge(struct pen_kernel_meta **kernels, uint32_t *count, struct pen_kernel_meta *added,
                   uint32_t added_count)
{
    int rc = 0;
    struct pen_kernel_meta *all = realloc(*kernels, (*count + added_count + 1) * sizeof *all);
    if (all)
        *kernels = all;
    else
        rc = -PEN_ENOMEM;
    for (uint32_t i = 0; i < added_count; i++) {
        struct pen_kernel_meta *same = rc ? NULL : find_same(all, *count, &added[i]);
        if (same) /* a device that told less than another must not hide what a third says otherwise */
            rc = learn(same, &added[i]);
        if (same && !rc)
            rc = add_devices(same, &added[i]);
        if (rc || same)
            pen_meta_finish(&added[i]);
        else
            all[(*count)++] = added[i];
    }
    free(added);
    return rc;
}
