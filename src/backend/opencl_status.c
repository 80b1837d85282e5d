/* backend/opencl_status.c - what drivers answer, as errors of ours. The front end's status.c is the way back. */
#include "backend/opencl.h"

int pen_opencl_status(cl_int status)
{
    switch (status) {
    case CL_SUCCESS:
        return 0;
    case CL_OUT_OF_HOST_MEMORY:
        return -PEN_ENOMEM;
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
        return -PEN_EDEVMEM;
    case CL_OUT_OF_RESOURCES:
    case CL_MAP_FAILURE:
        return -PEN_EDEVRES;
    case CL_DEVICE_NOT_FOUND:
    case CL_INVALID_DEVICE:
        return -PEN_ENODEV;
    case CL_DEVICE_NOT_AVAILABLE:
        return -PEN_EDEVICEGONE;
    case CL_COMPILER_NOT_AVAILABLE:
    case CL_LINKER_NOT_AVAILABLE:
    case CL_PROFILING_INFO_NOT_AVAILABLE:
    case CL_KERNEL_ARG_INFO_NOT_AVAILABLE:
    case CL_INVALID_OPERATION:
        return -PEN_EUNSUPPORTED;
    case CL_MEM_COPY_OVERLAP:
        return -PEN_EOVERLAP;
    case CL_IMAGE_FORMAT_MISMATCH:
    case CL_IMAGE_FORMAT_NOT_SUPPORTED:
    case CL_INVALID_IMAGE_FORMAT_DESCRIPTOR:
        return -PEN_EIMAGEFORMAT;
    case CL_INVALID_IMAGE_SIZE:
    case CL_INVALID_IMAGE_DESCRIPTOR:
        return -PEN_EIMAGESIZE;
    case CL_INVALID_BUFFER_SIZE:
        return -PEN_EBUFFERSIZE;
    case CL_MISALIGNED_SUB_BUFFER_OFFSET:
        return -PEN_EMISALIGNED;
    case CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST:
        return -PEN_EDEPENDENCY;
    case CL_BUILD_PROGRAM_FAILURE:
        return -PEN_EBUILD;
    case CL_COMPILE_PROGRAM_FAILURE:
        return -PEN_ECOMPILE;
    case CL_LINK_PROGRAM_FAILURE:
        return -PEN_ELINK;
    case CL_INVALID_BINARY:
        return -PEN_EBINARY;
    case CL_INVALID_BUILD_OPTIONS:
        return -PEN_EBUILDOPTIONS;
    case CL_INVALID_COMPILER_OPTIONS:
        return -PEN_ECOMPILEROPTIONS;
    case CL_INVALID_LINKER_OPTIONS:
        return -PEN_ELINKEROPTIONS;
    case CL_INVALID_PROGRAM_EXECUTABLE:
        return -PEN_EEXECUTABLE;
    case CL_INVALID_KERNEL_NAME:
        return -PEN_EKERNELNAME;
    case CL_INVALID_KERNEL_ARGS:
        return -PEN_EKERNELARGS;
    case CL_INVALID_ARG_INDEX:
        return -PEN_EARGINDEX;
    case CL_INVALID_ARG_VALUE:
        return -PEN_EARGVALUE;
    case CL_INVALID_ARG_SIZE:
    case CL_MAX_SIZE_RESTRICTION_EXCEEDED:
        return -PEN_EARGSIZE;
    case CL_INVALID_WORK_DIMENSION:
        return -PEN_EDIMENSION;
    case CL_INVALID_WORK_GROUP_SIZE:
        return -PEN_EGROUPSIZE;
    case CL_INVALID_WORK_ITEM_SIZE:
        return -PEN_EITEMSIZE;
    case CL_INVALID_GLOBAL_OFFSET:
        return -PEN_EOFFSET;
    case CL_INVALID_GLOBAL_WORK_SIZE:
        return -PEN_EGLOBALSIZE;
    case CL_INVALID_QUEUE_PROPERTIES:
        return -PEN_EQUEUEPROPERTIES;
    case CL_DEVICE_PARTITION_FAILED:
    case CL_INVALID_DEVICE_PARTITION_COUNT:
        return -PEN_EPARTITION;
    case CL_INVALID_MEM_OBJECT:
    case CL_INVALID_SAMPLER:
    case CL_INVALID_EVENT:
        return -PEN_ENOENT;
    default:
        /* CL_INVALID_*: the arguments; anything else is some trouble of the driver's. */
        return status <= CL_INVALID_VALUE && status > -1000 ? -PEN_EINVAL : -PEN_EDEVRES;
    }
}
