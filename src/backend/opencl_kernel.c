/* backend/opencl_kernel.c - kernels: their handles, arguments, and what drivers know of their shape. */
#include "backend/opencl.h"

#include <stdlib.h>

int pen_opencl_kernel_create(struct pen_backend_program *program, const char *name, struct pen_backend_kernel **out)
{
    cl_int status;

    struct pen_backend_kernel *kernel = calloc(1, sizeof *kernel);
    if (!kernel)
        return -PEN_ENOMEM;
    kernel->domain = program->domain;
    kernel->program = program->program;
    kernel->kernel = clCreateKernel(kernel->program, name, &status);
    if (status) {
        free(kernel);
        return pen_opencl_status(status);
    }
    clRetainProgram(kernel->program);
    *out = kernel;
    return 0;
}

void pen_opencl_kernel_destroy(struct pen_backend_kernel *kernel)
{
    if (!kernel)
        return;
    clReleaseKernel(kernel->kernel);
    clReleaseProgram(kernel->program);
    free(kernel);
}

int pen_opencl_set_value(struct pen_backend_kernel *kernel, uint32_t index, const void *value, size_t size)
{
    return pen_opencl_status(clSetKernelArg(kernel->kernel, index, size, value));
}

int pen_opencl_set_local(struct pen_backend_kernel *kernel, uint32_t index, size_t size)
{
    return pen_opencl_status(clSetKernelArg(kernel->kernel, index, size, NULL));
}

int pen_opencl_set_memory(struct pen_backend_kernel *kernel, uint32_t index, struct pen_backend_memory *memory)
{
    cl_mem handle = memory ? memory->memory : NULL;

    return pen_opencl_status(clSetKernelArg(kernel->kernel, index, sizeof handle, &handle));
}

int pen_opencl_set_sampler(struct pen_backend_kernel *kernel, uint32_t index, struct pen_backend_sampler *sampler)
{
    cl_sampler handle = (cl_sampler)sampler;

    if (!handle) /* Oclgrind would follow it */
        return -PEN_EARGVALUE;
    return pen_opencl_status(clSetKernelArg(kernel->kernel, index, sizeof handle, &handle));
}

/* The queries that cl_khr_subgroups has, too. */
static cl_int facts_of_shape(const struct pen_backend_kernel *kernel, const struct pen_opencl_device *on,
                             const size_t *shape, uint32_t dimensions, struct pen_msg_kernel_facts *facts)
{
    size_t bytes = dimensions * sizeof *shape, size = 0, count = 0;

    cl_int status = on->sub_groups(kernel->kernel, on->id, CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE, bytes, shape,
                                   sizeof size, &size, NULL);
    if (!status)
        status = on->sub_groups(kernel->kernel, on->id, CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE, bytes, shape,
                                sizeof count, &count, NULL);
    facts->max_sub_group_size = size;
    facts->sub_group_count = count;
    return status;
}

/* What holds of all shapes, and, unless NULL, the shape for so many sub-groups. OpenCL 2.1. */
static cl_int facts_of_kernel(const struct pen_backend_kernel *kernel, const struct pen_opencl_device *on,
                              const size_t *sub_groups, struct pen_msg_kernel_facts *facts)
{
    size_t most = 0, compiled = 0, answer[3] = {0, 0, 0};

    cl_int status =
        on->sub_groups(kernel->kernel, on->id, CL_KERNEL_MAX_NUM_SUB_GROUPS, 0, NULL, sizeof most, &most, NULL);
    if (!status)
        status = on->sub_groups(kernel->kernel, on->id, CL_KERNEL_COMPILE_NUM_SUB_GROUPS, 0, NULL, sizeof compiled,
                                &compiled, NULL);
    if (!status && sub_groups)
        status = on->sub_groups(kernel->kernel, on->id, CL_KERNEL_LOCAL_SIZE_FOR_SUB_GROUP_COUNT, sizeof *sub_groups,
                                sub_groups, sizeof answer, answer, NULL);
    facts->max_num_sub_groups = most;
    facts->compile_num_sub_groups = compiled;
    for (int i = 0; i < 3; i++)
        facts->local[i] = answer[i];
    return status;
}

int pen_opencl_kernel_facts(struct pen_backend_kernel *kernel, uint32_t device, const uint64_t local[3],
                            uint32_t dimensions, struct pen_msg_kernel_facts *out)
{
    const struct pen_opencl_device *on;
    struct pen_msg_kernel_facts facts = {0};
    const size_t shape[3] = {local[0], local[1], local[2]};
    cl_int status = CL_SUCCESS;

    if (device >= kernel->domain->device_count)
        return -PEN_ENODEV;
    if (dimensions > 3)
        return -PEN_EDIMENSION;
    on = &kernel->domain->devices[device];
    if (!on->sub_groups || (!dimensions && on->version < 210))
        return -PEN_EUNSUPPORTED;
    if (on->version >= 210)
        status = facts_of_kernel(kernel, on, dimensions ? NULL : shape, &facts);
    if (!status && dimensions)
        status = facts_of_shape(kernel, on, shape, dimensions, &facts);
    if (status)
        return pen_opencl_status(status);
    *out = facts;
    return 0;
}

int pen_opencl_kernel_suggest(struct pen_backend_queue *queue, const struct pen_backend_launch *launch,
                              uint64_t out_local[3])
{
    const struct pen_backend_domain *domain = queue->domain;
    clGetKernelSuggestedLocalWorkSizeKHR_fn suggest =
        (clGetKernelSuggestedLocalWorkSizeKHR_fn)clGetExtensionFunctionAddressForPlatform(
            domain->platform, "clGetKernelSuggestedLocalWorkSizeKHR");
    size_t local[3] = {0};

    if (!suggest)
        return -PEN_EUNSUPPORTED;
    cl_int status = suggest(queue->queue, launch->kernel->kernel, launch->dimensions, (const size_t *)launch->offset,
                            (const size_t *)launch->global, local);
    for (int i = 0; i < 3 && !status; i++)
        out_local[i] = local[i];
    return pen_opencl_status(status);
}
