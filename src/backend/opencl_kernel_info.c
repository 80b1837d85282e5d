/* backend/opencl_kernel_info.c - everything about a kernel that a front end is asked for. */
#include "backend/opencl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* malloc'ed, cut to `limit` bytes; "" when the driver does not answer, or not with text (Oclgrind 21.10 reads the
 * attributes from memory that it has freed). NULL: out of memory. */
static char *kernel_text(cl_kernel kernel, cl_kernel_info what, size_t limit)
{
    size_t size = 0;

    if (clGetKernelInfo(kernel, what, 0, NULL, &size))
        size = 0;
    char *text = calloc(1, size + 1);
    if (text && size && clGetKernelInfo(kernel, what, size, text, NULL))
        text[0] = 0;
    if (text && size > limit)
        text[limit] = 0;
    for (size_t i = 0; text && text[i]; i++)
        if (!isprint((unsigned char)text[i])) {
            text[0] = 0;
            break;
        }
    return text;
}

static char *argument_text(cl_kernel kernel, uint32_t index, cl_kernel_arg_info what)
{
    size_t size = 0;

    if (clGetKernelArgInfo(kernel, index, what, 0, NULL, &size))
        size = 0;
    char *text = calloc(1, size + 1);
    if (text && size && clGetKernelArgInfo(kernel, index, what, size, text, NULL))
        text[0] = 0;
    if (text && size > PEN_LIMIT_NAME)
        text[PEN_LIMIT_NAME] = 0;
    return text;
}

/* ---- sizes by trial ------------------------------------------------------------------------------------ */

/* `scratch` is a kernel object that nothing else uses. */
static bool accepts(cl_kernel scratch, uint32_t index, size_t size)
{
    static const unsigned char zeros[PEN_LIMIT_ARGUMENT + 16];

    return size && clSetKernelArg(scratch, index, size, zeros) == CL_SUCCESS;
}

/* The one size that the driver takes; 0 when it takes none, or does not check (PoCL takes any size of a struct). */
static uint32_t tried_size(cl_kernel scratch, uint32_t index)
{
    for (uint32_t step = 4; step; step = step == 4 ? 1 : 0) /* most types are whole words */
        for (uint32_t size = step; size <= PEN_LIMIT_ARGUMENT; size += step)
            if (accepts(scratch, index, size))
                return accepts(scratch, index, size + 1) || accepts(scratch, index, size - 1) ? 0 : size;
    return 0;
}

/* A binary without argument information: an argument that takes no bytes but a size alone is local memory; one that
 * takes a handle's bytes may be a pointer or a value of that size, and is taken for the first. */
static void guess_kind(cl_kernel scratch, struct pen_argument_info *argument, uint32_t index)
{
    argument->size = tried_size(scratch, index);
    argument->kind = PEN_ARGUMENT_KIND_VALUE;
    if (argument->size == sizeof(cl_mem))
        argument->kind = PEN_ARGUMENT_KIND_REGION;
    else if (!argument->size && clSetKernelArg(scratch, index, 16, NULL) == CL_SUCCESS)
        argument->kind = PEN_ARGUMENT_KIND_LOCAL;
    if (argument->kind != PEN_ARGUMENT_KIND_VALUE)
        argument->size = 0;
}

/* ---- arguments ----------------------------------------------------------------------------------------- */

/* By what its type is, whatever the program calls it: only images (and pipes) have an access qualifier. Of samplers
 * drivers tell nothing but the name: of one by another name kernel_argument says what is set (worker/kernel.c). */
static enum pen_argument_kind kind_of(const struct pen_argument_info *argument)
{
    if (argument->address == CL_KERNEL_ARG_ADDRESS_LOCAL)
        return PEN_ARGUMENT_KIND_LOCAL;
    if (argument->address == CL_KERNEL_ARG_ADDRESS_GLOBAL || argument->address == CL_KERNEL_ARG_ADDRESS_CONSTANT ||
        argument->access != CL_KERNEL_ARG_ACCESS_NONE)
        return PEN_ARGUMENT_KIND_REGION;
    return strcmp(argument->type_name, "sampler_t") ? PEN_ARGUMENT_KIND_VALUE : PEN_ARGUMENT_KIND_SAMPLER;
}

static int fill_argument(const struct pen_backend_kernel *kernel, cl_kernel scratch, uint32_t index,
                         struct pen_argument_info *argument)
{
    cl_kernel_arg_address_qualifier address = 0;
    cl_kernel_arg_access_qualifier access = 0;
    cl_kernel_arg_type_qualifier qualifiers = 0;

    argument->type_name = argument_text(kernel->kernel, index, CL_KERNEL_ARG_TYPE_NAME);
    argument->name = argument_text(kernel->kernel, index, CL_KERNEL_ARG_NAME);
    if (!argument->type_name || !argument->name)
        return -PEN_ENOMEM;
    if (clGetKernelArgInfo(kernel->kernel, index, CL_KERNEL_ARG_ADDRESS_QUALIFIER, sizeof address, &address, NULL) ||
        clGetKernelArgInfo(kernel->kernel, index, CL_KERNEL_ARG_ACCESS_QUALIFIER, sizeof access, &access, NULL) ||
        clGetKernelArgInfo(kernel->kernel, index, CL_KERNEL_ARG_TYPE_QUALIFIER, sizeof qualifiers, &qualifiers, NULL)) {
        guess_kind(scratch, argument, index);
        return 0;
    }
    argument->known = 1;
    argument->address = address;
    argument->access = access;
    argument->qualifiers = (uint32_t)qualifiers;
    argument->kind = kind_of(argument);
    if (argument->kind == PEN_ARGUMENT_KIND_VALUE) {
        argument->size = pen_opencl_type_bytes(argument->type_name, kernel->domain->devices[0].address_bits);
        if (!argument->size)
            argument->size = tried_size(scratch, index);
    }
    return 0;
}

static int fill_arguments(struct pen_backend_kernel *kernel, const char *name, struct pen_msg_kernel_info *info)
{
    cl_uint count = 0;
    cl_int status = clGetKernelInfo(kernel->kernel, CL_KERNEL_NUM_ARGS, sizeof count, &count, NULL);

    if (status)
        return pen_opencl_status(status);
    if (count > PEN_LIMIT_ARGUMENTS)
        return -PEN_ELIMIT;
    if (!count)
        return 0;
    struct pen_argument_info *arguments = calloc(count, sizeof *arguments);
    if (!arguments)
        return -PEN_ENOMEM;
    info->arguments = arguments;
    info->arguments_count = count;
    cl_kernel scratch = clCreateKernel(kernel->program, name, &status);
    if (status)
        return pen_opencl_status(status);
    int rc = 0;
    for (cl_uint i = 0; i < count && !rc; i++)
        rc = fill_argument(kernel, scratch, i, &arguments[i]);
    clReleaseKernel(scratch);
    return rc;
}

/* ---- devices ------------------------------------------------------------------------------------------- */

/* False when the kernel was not built for the device. */
static bool fill_device(const struct pen_backend_kernel *kernel, uint32_t index, struct pen_kernel_device_info *out)
{
    const struct pen_opencl_device *device = &kernel->domain->devices[index];
    size_t group = 0, compiled[3] = {0, 0, 0}, multiple = 0, global[3] = {0, 0, 0};
    cl_ulong local_bytes = 0, private_bytes = 0;
    cl_kernel handle = kernel->kernel;

    if (clGetKernelWorkGroupInfo(handle, device->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof group, &group, NULL))
        return false;
    clGetKernelWorkGroupInfo(handle, device->id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof compiled, compiled, NULL);
    clGetKernelWorkGroupInfo(handle, device->id, CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, sizeof multiple,
                             &multiple, NULL);
    clGetKernelWorkGroupInfo(handle, device->id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local_bytes, &local_bytes, NULL);
    clGetKernelWorkGroupInfo(handle, device->id, CL_KERNEL_PRIVATE_MEM_SIZE, sizeof private_bytes, &private_bytes,
                             NULL);
    if (device->custom)
        clGetKernelWorkGroupInfo(handle, device->id, CL_KERNEL_GLOBAL_WORK_SIZE, sizeof global, global, NULL);
    *out = (struct pen_kernel_device_info){
        .device = index,
        .work_group_size = group,
        .local_bytes = local_bytes,
        .private_bytes = private_bytes,
        .preferred_multiple = multiple,
    };
    for (int i = 0; i < 3; i++) {
        out->compile_work_group_size[i] = compiled[i];
        out->global_work_size[i] = global[i];
    }
    return true;
}

/* A program may be built for some of its devices; asking a kernel about another is an error that PoCL 3.1 does not
 * always find, so that the program is asked first. */
static bool built_for(const struct pen_backend_kernel *kernel, uint32_t index)
{
    cl_build_status status = CL_BUILD_NONE;

    return !clGetProgramBuildInfo(kernel->program, kernel->domain->devices[index].id, CL_PROGRAM_BUILD_STATUS,
                                  sizeof status, &status, NULL) &&
           status == CL_BUILD_SUCCESS;
}

static int fill_devices(const struct pen_backend_kernel *kernel, struct pen_msg_kernel_info *info)
{
    struct pen_kernel_device_info *devices = calloc(kernel->domain->device_count, sizeof *devices);

    if (!devices)
        return -PEN_ENOMEM;
    info->devices = devices;
    for (uint32_t i = 0; i < kernel->domain->device_count; i++)
        if (built_for(kernel, i) && fill_device(kernel, i, &devices[info->devices_count]))
            info->devices_count++;
    return 0;
}

int pen_opencl_kernel_info(struct pen_backend_kernel *kernel, struct pen_msg_kernel_info *out_info)
{
    struct pen_msg_kernel_info info = {
        .name = kernel_text(kernel->kernel, CL_KERNEL_FUNCTION_NAME, PEN_LIMIT_NAME),
        .attributes = kernel_text(kernel->kernel, CL_KERNEL_ATTRIBUTES, PEN_LIMIT_TEXT),
    };
    int rc = info.name && info.attributes ? 0 : -PEN_ENOMEM;

    if (!rc)
        rc = fill_arguments(kernel, info.name, &info);
    if (!rc)
        rc = fill_devices(kernel, &info);
    if (rc) {
        pen_backend_kernel_info_free(&info);
        return rc;
    }
    *out_info = info;
    return 0;
}
