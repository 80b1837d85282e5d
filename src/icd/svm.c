/* icd/svm.c - shared virtual memory, which no device of the pool offers: CL_DEVICE_SVM_CAPABILITIES is 0, so the calls
 * check what comes first and answer CL_INVALID_OPERATION (OpenCL 3.0, Appendix F: optional features). */
#include "icd/entry.h"

void *CL_API_CALL pen_clSVMAlloc(cl_context context, cl_svm_mem_flags flags, size_t size, cl_uint alignment)
{
    (void)context, (void)flags, (void)size, (void)alignment;
    return NULL;
}

void CL_API_CALL pen_clSVMFree(cl_context context, void *pointer)
{
    (void)context, (void)pointer;
}

static cl_int absent(cl_command_queue queue)
{
    return pen_object_is(queue, PEN_MAGIC_QUEUE) ? CL_INVALID_OPERATION : CL_INVALID_COMMAND_QUEUE;
}

cl_int CL_API_CALL pen_clEnqueueSVMFree(cl_command_queue queue, cl_uint pointer_count, void *pointers[],
                                        void(CL_CALLBACK *free_func)(cl_command_queue, cl_uint, void *[], void *),
                                        void *user, cl_uint wait_count, const cl_event *wait_list, cl_event *event)
{
    (void)pointer_count, (void)pointers, (void)free_func, (void)user, (void)wait_count, (void)wait_list, (void)event;
    return absent(queue);
}

cl_int CL_API_CALL pen_clEnqueueSVMMemcpy(cl_command_queue queue, cl_bool blocking, void *target, const void *source,
                                          size_t size, cl_uint wait_count, const cl_event *wait_list, cl_event *event)
{
    (void)blocking, (void)target, (void)source, (void)size, (void)wait_count, (void)wait_list, (void)event;
    return absent(queue);
}

cl_int CL_API_CALL pen_clEnqueueSVMMemFill(cl_command_queue queue, void *target, const void *pattern,
                                           size_t pattern_size, size_t size, cl_uint wait_count,
                                           const cl_event *wait_list, cl_event *event)
{
    (void)target, (void)pattern, (void)pattern_size, (void)size, (void)wait_count, (void)wait_list, (void)event;
    return absent(queue);
}

cl_int CL_API_CALL pen_clEnqueueSVMMap(cl_command_queue queue, cl_bool blocking, cl_map_flags flags, void *pointer,
                                       size_t size, cl_uint wait_count, const cl_event *wait_list, cl_event *event)
{
    (void)blocking, (void)flags, (void)pointer, (void)size, (void)wait_count, (void)wait_list, (void)event;
    return absent(queue);
}

cl_int CL_API_CALL pen_clEnqueueSVMUnmap(cl_command_queue queue, void *pointer, cl_uint wait_count,
                                         const cl_event *wait_list, cl_event *event)
{
    (void)pointer, (void)wait_count, (void)wait_list, (void)event;
    return absent(queue);
}

cl_int CL_API_CALL pen_clEnqueueSVMMigrateMem(cl_command_queue queue, cl_uint pointer_count, const void **pointers,
                                              const size_t *sizes, cl_mem_migration_flags flags, cl_uint wait_count,
                                              const cl_event *wait_list, cl_event *event)
{
    (void)pointer_count, (void)pointers, (void)sizes, (void)flags, (void)wait_count, (void)wait_list, (void)event;
    return absent(queue);
}

cl_int CL_API_CALL pen_clSetKernelArgSVMPointer(cl_kernel kernel, cl_uint index, const void *value)
{
    (void)index, (void)value;
    return pen_object_is(kernel, PEN_MAGIC_KERNEL) ? CL_INVALID_OPERATION : CL_INVALID_KERNEL;
}

cl_int CL_API_CALL pen_clSetKernelExecInfo(cl_kernel kernel, cl_kernel_exec_info name, size_t size, const void *value)
{
    (void)size, (void)value;
    if (!pen_object_is(kernel, PEN_MAGIC_KERNEL))
        return CL_INVALID_KERNEL;
    bool known = name == CL_KERNEL_EXEC_INFO_SVM_PTRS || name == CL_KERNEL_EXEC_INFO_SVM_FINE_GRAIN_SYSTEM;
    return known ? CL_INVALID_OPERATION : CL_INVALID_VALUE;
}
