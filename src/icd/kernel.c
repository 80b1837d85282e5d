/* icd/kernel.c - kernel objects and their queries. All that is asked of a kernel came with the build's answer, but for
 * sub-groups, which depend on the shape that is asked about: the worker is asked once, and the last shapes are
 * remembered. */
#include "icd/kernel.h"

#include <stdlib.h>
#include <string.h>

#include "icd/device.h"
#include "icd/entry.h"
#include "icd/program.h"

/* ---- life ---------------------------------------------------------------------------------------------- */

static void fill_limits(struct pen_kernel_limits *limits, const struct pen_build_state *state,
                        const struct pen_kernel_device_info *info)
{
    cl_device_id device = state->device;
    *limits = (struct pen_kernel_limits){.device = device, .info = info};
    const struct pen_property *items = pen_device_property(device, CL_DEVICE_MAX_WORK_ITEM_SIZES);
    size_t most_items[3] = {SIZE_MAX, SIZE_MAX, SIZE_MAX};
    if (items) /* its value lies in a frame, aligned or not */
        memcpy(most_items, items->value, items->size < sizeof most_items ? items->size : sizeof most_items);
    for (unsigned i = 0; i < 3; i++)
        limits->max_items[i] = most_items[i];
    uint64_t most = pen_device_size(device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    limits->max_group = most ? most : UINT64_MAX;
    limits->kernel_group = info->work_group_size ? info->work_group_size : limits->max_group;
    limits->max_offset = pen_device_uint(device, CL_DEVICE_ADDRESS_BITS) == 32 ? UINT32_MAX : UINT64_MAX;
    limits->local_bytes = pen_device_ulong(device, CL_DEVICE_LOCAL_MEM_SIZE);
    limits->base_align = (uint32_t)pen_device_slice_align(device);
    limits->non_uniform = pen_device_bool(device, CL_DEVICE_NON_UNIFORM_WORK_GROUP_SUPPORT) && state->recipe &&
                          pen_recipe_non_uniform(state->recipe);
    limits->zero_sized = pen_device_version(device) >= 201;
}

/* Devices that the program was built for, in the program's order. Locked. */
static int fill_all_limits(cl_kernel kernel)
{
    cl_program program = kernel->program;
    const struct pen_msg_kernel_info *info = &kernel->meta->info;
    kernel->limits = calloc(info->devices_count + 1, sizeof *kernel->limits);
    if (!kernel->limits)
        return -PEN_ENOMEM;
    for (cl_uint i = 0; i < program->device_count; i++) {
        const struct pen_build_state *state = &program->builds[i];
        for (uint32_t j = 0; state->status == CL_BUILD_SUCCESS && j < info->devices_count; j++)
            if (info->devices[j].device == state->device->id && kernel->limit_count < info->devices_count)
                fill_limits(&kernel->limits[kernel->limit_count++], state, &info->devices[j]);
    }
    return 0;
}

static void free_kernel(cl_kernel kernel)
{
    for (uint32_t i = 0; kernel->arguments && i < kernel->meta->info.arguments_count; i++)
        pen_argument_finish(&kernel->arguments[i]);
    free(kernel->arguments);
    free(kernel->limits);
    free(kernel->sub_groups);
    free(kernel);
}

/* OpenCL 3.0, clGetKernelArgInfo: only of programs from source or IL, built to tell. We know it in any case. Locked. */
static bool tells_arguments(cl_program program)
{
    bool tells = !program->from_binary;
    for (cl_uint i = 0; tells && i < program->device_count; i++)
        tells = !program->builds[i].recipe || pen_recipe_argument_info(program->builds[i].recipe);
    return tells;
}

/* A kernel object without an id. Locked. */
static cl_kernel new_kernel(cl_program program, const struct pen_kernel_meta *meta)
{
    cl_kernel kernel = calloc(1, sizeof *kernel);
    if (!kernel)
        return NULL;
    pen_object_init(&kernel->object, PEN_MAGIC_KERNEL);
    kernel->program = program;
    kernel->meta = meta;
    kernel->unset = meta->info.arguments_count;
    kernel->tells = tells_arguments(program);
    kernel->arguments = calloc(kernel->unset + 1, sizeof *kernel->arguments);
    if (!kernel->arguments || fill_all_limits(kernel)) {
        free_kernel(kernel);
        return NULL;
    }
    kernel->id = pen_session_new_id(program->context->session);
    return kernel;
}

static void attach(cl_kernel kernel)
{
    pen_ref(kernel->program);
    kernel->program->attached++;
}

/* Locked. */
static cl_int create_kernel(cl_program program, const struct pen_kernel_meta *meta, cl_kernel *out_kernel)
{
    cl_kernel kernel = new_kernel(program, meta);
    if (!kernel)
        return CL_OUT_OF_HOST_MEMORY;
    uint64_t sequence;
    struct pen_msg_kernel_create create = {.kernel = kernel->id, .program = program->id, .name = meta->info.name};
    int rc = PEN_SEND(program->context->session, kernel_create, &create, &sequence);
    if (rc) {
        free_kernel(kernel);
        return pen_status(rc);
    }
    attach(kernel);
    *out_kernel = kernel;
    return CL_SUCCESS;
}

void pen_kernel_destroy(cl_kernel kernel)
{
    cl_program program = kernel->program;
    uint64_t sequence;
    struct pen_msg_kernel_destroy destroy = {.kernel = kernel->id};
    (void)PEN_SEND(program->context->session, kernel_destroy, &destroy, &sequence);
    free_kernel(kernel);
    pthread_mutex_lock(&program->lock);
    program->attached--;
    pthread_mutex_unlock(&program->lock);
    pen_unref(program);
}

/* Locked. */
static bool executable(cl_program program)
{
    for (cl_uint i = 0; !program->building && i < program->device_count; i++)
        if (program->builds[i].status == CL_BUILD_SUCCESS &&
            program->builds[i].binary_type == CL_PROGRAM_BINARY_TYPE_EXECUTABLE)
            return true;
    return false;
}

CL_API_ENTRY cl_kernel CL_API_CALL pen_clCreateKernel(cl_program program, const char *name, cl_int *out_error)
{
    cl_int status = CL_SUCCESS;
    cl_kernel kernel = NULL;
    if (!pen_object_is(program, PEN_MAGIC_PROGRAM)) {
        status = CL_INVALID_PROGRAM;
    } else if (!name) {
        status = CL_INVALID_VALUE;
    } else {
        pthread_mutex_lock(&program->lock);
        const struct pen_kernel_meta *meta = pen_meta_find(program->kernels, program->kernel_count, name);
        if (!executable(program))
            status = CL_INVALID_PROGRAM_EXECUTABLE;
        else if (meta && meta->differs)
            status = CL_INVALID_KERNEL_DEFINITION;
        else
            status = meta ? create_kernel(program, meta, &kernel) : CL_INVALID_KERNEL_NAME;
        pthread_mutex_unlock(&program->lock);
    }
    if (out_error)
        *out_error = status;
    return kernel;
}

CL_API_ENTRY cl_int CL_API_CALL pen_clCreateKernelsInProgram(cl_program program, cl_uint room, cl_kernel *kernels,
                                                             cl_uint *out_count)
{
    if (!pen_object_is(program, PEN_MAGIC_PROGRAM))
        return CL_INVALID_PROGRAM;
    pthread_mutex_lock(&program->lock);
    cl_uint total = pen_meta_count(program->kernels, program->kernel_count), made = 0;
    cl_int status = executable(program) ? CL_SUCCESS : CL_INVALID_PROGRAM_EXECUTABLE;
    if (status == CL_SUCCESS && kernels && room < total)
        status = CL_INVALID_VALUE;
    for (uint32_t i = 0; status == CL_SUCCESS && kernels && i < program->kernel_count; i++) {
        if (program->kernels[i].differs)
            continue;
        status = create_kernel(program, &program->kernels[i], &kernels[made]);
        made += status == CL_SUCCESS;
    }
    pthread_mutex_unlock(&program->lock);
    if (status == CL_SUCCESS) {
        if (out_count)
            *out_count = total;
        return CL_SUCCESS;
    }
    while (made)
        pen_release(kernels[--made], PEN_MAGIC_KERNEL, CL_INVALID_KERNEL);
    return status;
}

CL_API_ENTRY cl_kernel CL_API_CALL pen_clCloneKernel(cl_kernel source, cl_int *out_error)
{
    cl_int status = pen_object_is(source, PEN_MAGIC_KERNEL) ? CL_SUCCESS : CL_INVALID_KERNEL;
    cl_kernel kernel = NULL;
    if (status == CL_SUCCESS) {
        pthread_mutex_lock(&source->program->lock);
        kernel = new_kernel(source->program, source->meta);
        int rc = kernel ? pen_arguments_copy(kernel, source) : -PEN_ENOMEM;
        /* What was not sent for the source yet is not sent for the clone either. */
        uint64_t sequence;
        struct pen_msg_kernel_clone clone = {.kernel = kernel ? kernel->id : 0, .source = source->id};
        if (!rc)
            rc = PEN_SEND(source->program->context->session, kernel_clone, &clone, &sequence);
        if (!rc) {
            attach(kernel);
        } else if (kernel) {
            free_kernel(kernel);
            kernel = NULL;
        }
        status = pen_status(rc);
        pthread_mutex_unlock(&source->program->lock);
    }
    if (out_error)
        *out_error = status;
    return kernel;
}

CL_API_ENTRY cl_int CL_API_CALL pen_clRetainKernel(cl_kernel kernel)
{
    return pen_retain(kernel, PEN_MAGIC_KERNEL, CL_INVALID_KERNEL);
}

CL_API_ENTRY cl_int CL_API_CALL pen_clReleaseKernel(cl_kernel kernel)
{
    return pen_release(kernel, PEN_MAGIC_KERNEL, CL_INVALID_KERNEL);
}

/* ---- queries ------------------------------------------------------------------------------------------- */

CL_API_ENTRY cl_int CL_API_CALL pen_clGetKernelInfo(cl_kernel kernel, cl_kernel_info name, size_t param_value_size,
                                                    void *param_value, size_t *param_value_size_ret)
{
    if (!pen_object_is(kernel, PEN_MAGIC_KERNEL))
        return CL_INVALID_KERNEL;
    switch (name) {
    case CL_KERNEL_FUNCTION_NAME:
        return pen_info_string(kernel->meta->info.name, param_value_size, param_value, param_value_size_ret);
    case CL_KERNEL_NUM_ARGS:
        PEN_INFO(cl_uint, kernel->meta->info.arguments_count);
    case CL_KERNEL_REFERENCE_COUNT:
        PEN_INFO(cl_uint, atomic_load_explicit(&kernel->object.refs, memory_order_relaxed));
    case CL_KERNEL_CONTEXT:
        PEN_INFO(cl_context, kernel->program->context);
    case CL_KERNEL_PROGRAM:
        PEN_INFO(cl_program, kernel->program);
    case CL_KERNEL_ATTRIBUTES:
        return pen_info_string(kernel->meta->info.attributes, param_value_size, param_value, param_value_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

/* A name that was left out (message kernel_info) is "". */
static cl_int argument_string(const char *text, size_t size, void *value, size_t *out_size)
{
    return *text ? pen_info_string(text, size, value, out_size) : CL_KERNEL_ARG_INFO_NOT_AVAILABLE;
}

CL_API_ENTRY cl_int CL_API_CALL pen_clGetKernelArgInfo(cl_kernel kernel, cl_uint index, cl_kernel_arg_info name,
                                                       size_t param_value_size, void *param_value,
                                                       size_t *param_value_size_ret)
{
    if (!pen_object_is(kernel, PEN_MAGIC_KERNEL))
        return CL_INVALID_KERNEL;
    if (index >= kernel->meta->info.arguments_count)
        return CL_INVALID_ARG_INDEX;
    const struct pen_argument_info *info = &kernel->meta->info.arguments[index];
    if (name < CL_KERNEL_ARG_ADDRESS_QUALIFIER || name > CL_KERNEL_ARG_NAME)
        return CL_INVALID_VALUE;
    if (!info->known || !kernel->tells)
        return CL_KERNEL_ARG_INFO_NOT_AVAILABLE;
    switch (name) {
    case CL_KERNEL_ARG_ADDRESS_QUALIFIER:
        PEN_INFO(cl_kernel_arg_address_qualifier, info->address);
    case CL_KERNEL_ARG_ACCESS_QUALIFIER:
        PEN_INFO(cl_kernel_arg_access_qualifier, info->access);
    case CL_KERNEL_ARG_TYPE_NAME:
        return argument_string(info->type_name, param_value_size, param_value, param_value_size_ret);
    case CL_KERNEL_ARG_TYPE_QUALIFIER:
        PEN_INFO(cl_kernel_arg_type_qualifier, info->qualifiers);
    case CL_KERNEL_ARG_NAME:
        return argument_string(info->name, param_value_size, param_value, param_value_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

/* The device's entry; NULL, the only one there is. */
static const struct pen_kernel_limits *limits_for(cl_kernel kernel, cl_device_id device)
{
    if (!device)
        return kernel->limit_count == 1 ? kernel->limits : NULL;
    return pen_kernel_limits(kernel, device);
}

CL_API_ENTRY cl_int CL_API_CALL pen_clGetKernelWorkGroupInfo(cl_kernel kernel, cl_device_id device,
                                                             cl_kernel_work_group_info name, size_t param_value_size,
                                                             void *param_value, size_t *param_value_size_ret)
{
    if (!pen_object_is(kernel, PEN_MAGIC_KERNEL))
        return CL_INVALID_KERNEL;
    const struct pen_kernel_limits *limits = limits_for(kernel, device);
    if (!limits)
        return CL_INVALID_DEVICE;
    const struct pen_kernel_device_info *info = limits->info;
    size_t sizes[3];
    switch (name) {
    case CL_KERNEL_WORK_GROUP_SIZE:
        PEN_INFO(size_t, info->work_group_size);
    case CL_KERNEL_COMPILE_WORK_GROUP_SIZE:
        for (unsigned i = 0; i < 3; i++)
            sizes[i] = info->compile_work_group_size[i];
        return pen_info(sizes, sizeof sizes, param_value_size, param_value, param_value_size_ret);
    case CL_KERNEL_LOCAL_MEM_SIZE:
        PEN_INFO(cl_ulong, info->local_bytes + kernel->local_argument_bytes);
    case CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE:
        PEN_INFO(size_t, info->preferred_multiple);
    case CL_KERNEL_PRIVATE_MEM_SIZE:
        PEN_INFO(cl_ulong, info->private_bytes);
    case CL_KERNEL_GLOBAL_WORK_SIZE: /* for custom devices and built-in kernels only */
        if (limits->device->pool->info.class != PEN_DEVICE_CLASS_CUSTOM)
            return CL_INVALID_VALUE;
        for (unsigned i = 0; i < 3; i++)
            sizes[i] = info->global_work_size[i];
        return pen_info(sizes, sizeof sizes, param_value_size, param_value, param_value_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

/* ---- sub-groups ---------------------------------------------------------------------------------------- */

int pen_kernel_answer(struct pen_session *session, uint64_t sequence, struct pen_msg_kernel_facts *out_facts)
{
    uint16_t opcode;
    void *frame;
    size_t size;
    int rc = pen_session_answer(session, sequence, &opcode, &frame, &size);
    if (rc)
        return rc;
    struct pen_scratch scratch = {0};
    rc = opcode == PEN_OP_KERNEL_FACTS ? pen_msg_kernel_facts_decode(frame, size, &scratch, out_facts) : -PEN_EPROTO;
    pen_scratch_finish(&scratch);
    free(frame);
    return rc ? rc : out_facts->status;
}

/* Asks the worker. For the local size that gives a number of sub-groups, dimensions is 0 and local[0] that number. */
static int ask(cl_kernel kernel, cl_device_id device, const uint64_t local[3], uint32_t dimensions,
               struct pen_msg_kernel_facts *out_facts)
{
    struct pen_session *session = kernel->program->context->session;
    struct pen_msg_kernel_query query = {.kernel = kernel->id, .device = device->id, .dimensions = dimensions};
    memcpy(query.local, local, sizeof query.local);
    uint64_t sequence;
    int rc = PEN_SEND(session, kernel_query, &query, &sequence);
    return rc ? rc : pen_kernel_answer(session, sequence, out_facts);
}

/* The last shapes that were asked about: a program asks about one several questions, each of them twice (the size
 * first), and before every launch. */
#define SUB_GROUPS 4u
struct pen_sub_groups {
    cl_device_id device; /* NULL: nothing */
    uint32_t dimensions;
    uint64_t local[3];
    struct pen_msg_kernel_facts facts;
};

static bool recall(cl_kernel kernel, cl_device_id device, const uint64_t local[3], uint32_t dimensions,
                   struct pen_msg_kernel_facts *out_facts)
{
    bool found = false;
    pthread_mutex_lock(&kernel->program->lock);
    for (uint32_t i = 0; kernel->sub_groups && !found && i < SUB_GROUPS; i++) {
        const struct pen_sub_groups *one = &kernel->sub_groups[i];
        found = one->device == device && one->dimensions == dimensions && !memcmp(one->local, local, sizeof one->local);
        if (found)
            *out_facts = one->facts;
    }
    pthread_mutex_unlock(&kernel->program->lock);
    return found;
}

/* In the place of the oldest. Without memory it is asked again. */
static void remember(cl_kernel kernel, cl_device_id device, const uint64_t local[3], uint32_t dimensions,
                     const struct pen_msg_kernel_facts *facts)
{
    pthread_mutex_lock(&kernel->program->lock);
    if (!kernel->sub_groups)
        kernel->sub_groups = calloc(SUB_GROUPS, sizeof *kernel->sub_groups);
    struct pen_sub_groups *all = kernel->sub_groups;
    if (all) {
        memmove(all + 1, all, (SUB_GROUPS - 1) * sizeof *all);
        *all = (struct pen_sub_groups){.device = device, .dimensions = dimensions, .facts = *facts};
        memcpy(all->local, local, sizeof all->local);
    }
    pthread_mutex_unlock(&kernel->program->lock);
}

/* What the input of this query is: 0 nothing, 1 a local size, 2 a number of sub-groups; -1: no such query. */
static int input_of(cl_kernel_sub_group_info name)
{
    switch (name) {
    case CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE:
    case CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE:
        return 1;
    case CL_KERNEL_LOCAL_SIZE_FOR_SUB_GROUP_COUNT:
        return 2;
    case CL_KERNEL_MAX_NUM_SUB_GROUPS:
    case CL_KERNEL_COMPILE_NUM_SUB_GROUPS:
        return 0;
    default:
        return -1;
    }
}

/* Before OpenCL 2.1 they are cl_khr_subgroups', with two of the queries and none of a device. */
static bool has_sub_groups(cl_device_id device)
{
    return pen_device_version(device) < 201 ? pen_extensions_have(&device->facts->extensions, "cl_khr_subgroups")
                                            : pen_device_uint(device, CL_DEVICE_MAX_NUM_SUB_GROUPS) > 0;
}

static cl_int sub_group_info(cl_kernel_sub_group_info name, const struct pen_msg_kernel_facts *facts,
                             size_t param_value_size, void *param_value, size_t *param_value_size_ret)
{
    size_t sizes[3], count;
    switch (name) {
    case CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE:
        PEN_INFO(size_t, facts->max_sub_group_size);
    case CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE:
        PEN_INFO(size_t, facts->sub_group_count);
    case CL_KERNEL_MAX_NUM_SUB_GROUPS:
        PEN_INFO(size_t, facts->max_num_sub_groups);
    case CL_KERNEL_COMPILE_NUM_SUB_GROUPS:
        PEN_INFO(size_t, facts->compile_num_sub_groups);
    default: /* CL_KERNEL_LOCAL_SIZE_FOR_SUB_GROUP_COUNT: as many dimensions as there is room for */
        count = param_value ? param_value_size / sizeof(size_t) : 3;
        if (!count)
            return CL_INVALID_VALUE;
        count = count > 3 ? 3 : count;
        for (unsigned i = 0; i < 3; i++)
            sizes[i] = facts->local[i];
        return pen_info(sizes, count * sizeof(size_t), param_value_size, param_value, param_value_size_ret);
    }
}

CL_API_ENTRY cl_int CL_API_CALL pen_clGetKernelSubGroupInfo(cl_kernel kernel, cl_device_id device,
                                                            cl_kernel_sub_group_info name, size_t input_size,
                                                            const void *input, size_t param_value_size,
                                                            void *param_value, size_t *param_value_size_ret)
{
    if (!pen_object_is(kernel, PEN_MAGIC_KERNEL))
        return CL_INVALID_KERNEL;
    const struct pen_kernel_limits *limits = limits_for(kernel, device);
    if (!limits)
        return CL_INVALID_DEVICE;
    if (!has_sub_groups(limits->device))
        return CL_INVALID_OPERATION;
    int kind = input_of(name);
    size_t count = input_size / sizeof(size_t);
    if (kind < 0 || (kind != 1 && pen_device_version(limits->device) < 201) ||
        (kind > 0 && (!input || !count || input_size % sizeof(size_t))) || (kind == 1 && count > 3) ||
        (kind == 2 && count != 1))
        return CL_INVALID_VALUE;
    uint64_t local[3] = {1, 1, 1};
    for (size_t i = 0; kind > 0 && i < count; i++)
        local[i] = ((const size_t *)input)[i];
    struct pen_msg_kernel_facts facts;
    uint32_t dimensions = kind == 1 ? (uint32_t)count : kind == 2 ? 0 : 1;
    int rc = 0;
    if (!recall(kernel, limits->device, local, dimensions, &facts)) {
        rc = ask(kernel, limits->device, local, dimensions, &facts);
        if (!rc)
            remember(kernel, limits->device, local, dimensions, &facts);
    }
    return rc ? pen_status(rc) : sub_group_info(name, &facts, param_value_size, param_value, param_value_size_ret);
}

CL_API_ENTRY cl_int CL_API_CALL pen_clGetKernelSubGroupInfoKHR(cl_kernel kernel, cl_device_id device,
                                                               cl_kernel_sub_group_info name, size_t input_size,
                                                               const void *input, size_t param_value_size,
                                                               void *param_value, size_t *param_value_size_ret)
{
    return pen_clGetKernelSubGroupInfo(kernel, device, name, input_size, input, param_value_size, param_value,
                                       param_value_size_ret);
}
