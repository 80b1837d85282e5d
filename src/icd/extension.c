/* icd/extension.c - see extension.h. */
#include "icd/extension.h"

#include <stdlib.h>
#include <string.h>

/* Extensions of the kernel language, which the driver's compiler brings; of info queries, which are passed through; and
 * those whose host calls the front end has. What is not named here would need calls or objects that it does not have.
 */
static const char *const supported[] = {
    /* kernel language */
    "cl_amd_fp64",
    "cl_amd_media_ops",
    "cl_amd_media_ops2",
    "cl_arm_integer_dot_product_accumulate_int16",
    "cl_arm_integer_dot_product_accumulate_int8",
    "cl_arm_integer_dot_product_accumulate_saturate_int8",
    "cl_arm_integer_dot_product_int8",
    "cl_ext_cxx_for_opencl",
    "cl_ext_float_atomics",
    "cl_intel_bfloat16_conversions",
    "cl_intel_split_work_group_barrier",
    "cl_intel_subgroup_local_block_io",
    "cl_intel_subgroups",
    "cl_intel_subgroups_char",
    "cl_intel_subgroups_long",
    "cl_intel_subgroups_short",
    "cl_khr_3d_image_writes",
    "cl_khr_async_work_group_copy_fence",
    "cl_khr_byte_addressable_store",
    "cl_khr_expect_assume",
    "cl_khr_extended_async_copies",
    "cl_khr_extended_bit_ops",
    "cl_khr_fp16",
    "cl_khr_fp64",
    "cl_khr_global_int32_base_atomics",
    "cl_khr_global_int32_extended_atomics",
    "cl_khr_int64_base_atomics",
    "cl_khr_int64_extended_atomics",
    "cl_khr_integer_dot_product",
    "cl_khr_local_int32_base_atomics",
    "cl_khr_local_int32_extended_atomics",
    "cl_khr_select_fprounding_mode",
    "cl_khr_subgroup_ballot",
    "cl_khr_subgroup_clustered_reduce",
    "cl_khr_subgroup_extended_types",
    "cl_khr_subgroup_named_barrier",
    "cl_khr_subgroup_non_uniform_arithmetic",
    "cl_khr_subgroup_non_uniform_vote",
    "cl_khr_subgroup_rotate",
    "cl_khr_subgroup_shuffle",
    "cl_khr_subgroup_shuffle_relative",
    "cl_khr_work_group_uniform_arithmetic",
    "cl_nv_compiler_options",
    "cl_nv_pragma_unroll",
    /* programs in SPIR and SPIR-V */
    "cl_khr_il_program",
    "cl_khr_spir",
    "cl_khr_spirv_extended_debug_info",
    "cl_khr_spirv_linkonce_odr",
    "cl_khr_spirv_no_integer_wrap_decoration",
    "cl_khr_spirv_queries",
    /* info queries */
    "cl_amd_device_attribute_query",
    "cl_arm_core_id",
    "cl_intel_device_attribute_query",
    "cl_intel_required_subgroup_size",
    "cl_khr_device_uuid",
    "cl_khr_extended_versioning",
    "cl_khr_pci_bus_info",
    "cl_nv_device_attribute_query",
    /* host calls */
    "cl_khr_command_buffer",
    "cl_khr_create_command_queue",
    "cl_khr_depth_images",
    "cl_khr_image2d_from_buffer",
    "cl_khr_priority_hints",
    "cl_khr_subgroups",
    "cl_khr_suggested_local_work_size",
    "cl_khr_throttle_hints",
};

/* Of provisional extensions, whose host calls change with the version: that of ours, whatever the driver's. */
static const cl_name_version of_ours[] = {{CL_MAKE_VERSION(0, 9, 0), "cl_khr_command_buffer"}};

/* Host calls that need nothing of a device. */
static const char *const of_platform[] = {"cl_khr_icd", "cl_khr_extended_versioning"};

static bool is_supported(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof supported / sizeof supported[0]; i++)
        if (!strncmp(supported[i], name, length) && !supported[i][length])
            return true;
    return false;
}

static const cl_name_version *find(const cl_name_version *list, size_t count, const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (strnlen(list[i].name, sizeof list[i].name) == length && !memcmp(list[i].name, name, length))
            return &list[i];
    return NULL;
}

static cl_version version_of(const cl_name_version *given, size_t given_count, const char *name, size_t length)
{
    const cl_name_version *found = find(of_ours, sizeof of_ours / sizeof of_ours[0], name, length);
    if (!found)
        found = find(given, given_count, name, length);
    return found ? found->version : CL_MAKE_VERSION(1, 0, 0);
}

bool pen_extensions_have(const struct pen_extensions *extensions, const char *name)
{
    for (uint32_t i = 0; i < extensions->count; i++)
        if (!strcmp(extensions->versions[i].name, name))
            return true;
    return false;
}

/* There is room: the caller has allocated for every name it can add. */
static void add(struct pen_extensions *extensions, const char *name, size_t length, cl_version version)
{
    cl_name_version *entry = &extensions->versions[extensions->count];
    if (length >= sizeof entry->name)
        return;
    *entry = (cl_name_version){.version = version};
    memcpy(entry->name, name, length);
    if (pen_extensions_have(extensions, entry->name))
        return;
    char *end = extensions->text + strlen(extensions->text);
    if (extensions->count)
        *end++ = ' ';
    memcpy(end, name, length);
    end[length] = '\0';
    extensions->count++;
}

static int reserve(struct pen_extensions *extensions, size_t names)
{
    *extensions = (struct pen_extensions){0};
    extensions->text = calloc(names + 1, CL_NAME_VERSION_MAX_NAME_SIZE);
    extensions->versions = calloc(names + 1, sizeof *extensions->versions);
    if (extensions->text && extensions->versions)
        return 0;
    pen_extensions_finish(extensions);
    return -PEN_ENOMEM;
}

int pen_extensions_filter(const char *text, const cl_name_version *given, size_t given_count,
                          struct pen_extensions *out_extensions)
{
    size_t names = 1;
    for (const char *at = text; at && *at; at++)
        names += *at == ' ';
    int rc = reserve(out_extensions, names);
    if (rc || !text)
        return rc;
    for (const char *at = text; *at;) {
        size_t length = strcspn(at, " ");
        if (length && is_supported(at, length))
            add(out_extensions, at, length, version_of(given, given_count, at, length));
        at += length + (at[length] == ' ');
    }
    return 0;
}

static bool all_have(const struct pen_extensions *const *lists, size_t list_count, const char *name)
{
    for (size_t i = 0; i < list_count; i++)
        if (!pen_extensions_have(lists[i], name))
            return false;
    return true;
}

int pen_extensions_common(const struct pen_extensions *const *lists, size_t list_count,
                          struct pen_extensions *out_extensions)
{
    size_t own = sizeof of_platform / sizeof of_platform[0];
    int rc = reserve(out_extensions, own + (list_count ? lists[0]->count : 0));
    if (rc)
        return rc;
    for (size_t i = 0; i < own; i++)
        add(out_extensions, of_platform[i], strlen(of_platform[i]), CL_MAKE_VERSION(1, 0, 0));
    for (uint32_t i = 0; list_count && i < lists[0]->count; i++) {
        const cl_name_version *entry = &lists[0]->versions[i];
        if (all_have(lists, list_count, entry->name))
            add(out_extensions, entry->name, strlen(entry->name), entry->version);
    }
    return 0;
}

void pen_extensions_finish(struct pen_extensions *extensions)
{
    if (!extensions)
        return;
    free(extensions->text);
    free(extensions->versions);
    *extensions = (struct pen_extensions){0};
}
