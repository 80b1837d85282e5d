/* icd/entry.h - every OpenCL entry point that the front end implements, by the file that defines it.
 * PEN_ENTRIES is the one list of them: it declares pen_clXxx with exactly the type that cl_icd.h gives clXxx, it fills
 * the dispatch table, and it is what clGetExtensionFunctionAddress searches.
 * Inside the front end call pen_clXxx, never clXxx: that would be the loader's.
 * Threads: as OpenCL says (object.h). Errors: as the OpenCL 3.0 specification lists them for the function. */
#ifndef PEN_ICD_ENTRY_H
#define PEN_ICD_ENTRY_H

#include "icd/object.h"

/* X(name): a core entry point, or one of the extensions that have a place in the dispatch table. */
#define PEN_ENTRIES(X)                                                                                                 \
    /* platform.c */                                                                                                   \
    X(clGetPlatformIDs)                                                                                                \
    X(clGetPlatformInfo)                                                                                               \
    X(clUnloadCompiler)                                                                                                \
    X(clUnloadPlatformCompiler)                                                                                        \
    /* dispatch.c */                                                                                                   \
    X(clGetExtensionFunctionAddress)                                                                                   \
    X(clGetExtensionFunctionAddressForPlatform)                                                                        \
    /* device.c */                                                                                                     \
    X(clGetDeviceIDs)                                                                                                  \
    X(clGetDeviceInfo)                                                                                                 \
    X(clCreateSubDevices)                                                                                              \
    X(clCreateSubDevicesEXT)                                                                                           \
    X(clRetainDevice)                                                                                                  \
    X(clRetainDeviceEXT)                                                                                               \
    X(clReleaseDevice)                                                                                                 \
    X(clReleaseDeviceEXT)                                                                                              \
    X(clGetDeviceAndHostTimer)                                                                                         \
    X(clGetHostTimer)                                                                                                  \
    /* context.c */                                                                                                    \
    X(clCreateContext)                                                                                                 \
    X(clCreateContextFromType)                                                                                         \
    X(clRetainContext)                                                                                                 \
    X(clReleaseContext)                                                                                                \
    X(clGetContextInfo)                                                                                                \
    X(clSetContextDestructorCallback)                                                                                  \
    /* queue.c */                                                                                                      \
    X(clCreateCommandQueue)                                                                                            \
    X(clCreateCommandQueueWithProperties)                                                                              \
    X(clRetainCommandQueue)                                                                                            \
    X(clReleaseCommandQueue)                                                                                           \
    X(clGetCommandQueueInfo)                                                                                           \
    X(clSetCommandQueueProperty)                                                                                       \
    X(clSetDefaultDeviceCommandQueue)                                                                                  \
    X(clFlush)                                                                                                         \
    X(clFinish)                                                                                                        \
    /* event.c */                                                                                                      \
    X(clWaitForEvents)                                                                                                 \
    X(clGetEventInfo)                                                                                                  \
    X(clRetainEvent)                                                                                                   \
    X(clReleaseEvent)                                                                                                  \
    X(clGetEventProfilingInfo)                                                                                         \
    X(clSetEventCallback)                                                                                              \
    X(clCreateUserEvent)                                                                                               \
    X(clSetUserEventStatus)                                                                                            \
    /* sync.c */                                                                                                       \
    X(clEnqueueMarker)                                                                                                 \
    X(clEnqueueMarkerWithWaitList)                                                                                     \
    X(clEnqueueBarrier)                                                                                                \
    X(clEnqueueBarrierWithWaitList)                                                                                    \
    X(clEnqueueWaitForEvents)                                                                                          \
    /* buffer.c */                                                                                                     \
    X(clCreateBuffer)                                                                                                  \
    X(clCreateBufferWithProperties)                                                                                    \
    X(clCreateSubBuffer)                                                                                               \
    /* image.c */                                                                                                      \
    X(clCreateImage)                                                                                                   \
    X(clCreateImageWithProperties)                                                                                     \
    X(clCreateImage2D)                                                                                                 \
    X(clCreateImage3D)                                                                                                 \
    X(clGetSupportedImageFormats)                                                                                      \
    X(clGetImageInfo)                                                                                                  \
    /* memory.c */                                                                                                     \
    X(clRetainMemObject)                                                                                               \
    X(clReleaseMemObject)                                                                                              \
    X(clGetMemObjectInfo)                                                                                              \
    X(clSetMemObjectDestructorCallback)                                                                                \
    /* sampler.c */                                                                                                    \
    X(clCreateSampler)                                                                                                 \
    X(clCreateSamplerWithProperties)                                                                                   \
    X(clRetainSampler)                                                                                                 \
    X(clReleaseSampler)                                                                                                \
    X(clGetSamplerInfo)                                                                                                \
    /* transfer.c, rect.c, map.c */                                                                                    \
    X(clEnqueueReadBuffer)                                                                                             \
    X(clEnqueueWriteBuffer)                                                                                            \
    X(clEnqueueCopyBuffer)                                                                                             \
    X(clEnqueueFillBuffer)                                                                                             \
    X(clEnqueueReadBufferRect)                                                                                         \
    X(clEnqueueWriteBufferRect)                                                                                        \
    X(clEnqueueCopyBufferRect)                                                                                         \
    X(clEnqueueReadImage)                                                                                              \
    X(clEnqueueWriteImage)                                                                                             \
    X(clEnqueueCopyImage)                                                                                              \
    X(clEnqueueFillImage)                                                                                              \
    X(clEnqueueCopyImageToBuffer)                                                                                      \
    X(clEnqueueCopyBufferToImage)                                                                                      \
    X(clEnqueueMigrateMemObjects)                                                                                      \
    X(clEnqueueMapBuffer)                                                                                              \
    X(clEnqueueMapImage)                                                                                               \
    X(clEnqueueUnmapMemObject)                                                                                         \
    /* program.c, build.c, binary.c */                                                                                 \
    X(clCreateProgramWithSource)                                                                                       \
    X(clCreateProgramWithBinary)                                                                                       \
    X(clCreateProgramWithBuiltInKernels)                                                                               \
    X(clCreateProgramWithIL)                                                                                           \
    X(clRetainProgram)                                                                                                 \
    X(clReleaseProgram)                                                                                                \
    X(clSetProgramReleaseCallback)                                                                                     \
    X(clSetProgramSpecializationConstant)                                                                              \
    X(clBuildProgram)                                                                                                  \
    X(clCompileProgram)                                                                                                \
    X(clLinkProgram)                                                                                                   \
    X(clGetProgramInfo)                                                                                                \
    X(clGetProgramBuildInfo)                                                                                           \
    /* kernel.c, launch.c */                                                                                           \
    X(clCreateKernel)                                                                                                  \
    X(clCreateKernelsInProgram)                                                                                        \
    X(clCloneKernel)                                                                                                   \
    X(clRetainKernel)                                                                                                  \
    X(clReleaseKernel)                                                                                                 \
    X(clSetKernelArg)                                                                                                  \
    X(clGetKernelInfo)                                                                                                 \
    X(clGetKernelArgInfo)                                                                                              \
    X(clGetKernelWorkGroupInfo)                                                                                        \
    X(clGetKernelSubGroupInfo)                                                                                         \
    X(clGetKernelSubGroupInfoKHR)                                                                                      \
    X(clEnqueueNDRangeKernel)                                                                                          \
    X(clEnqueueTask)                                                                                                   \
    /* svm.c */                                                                                                        \
    X(clSVMAlloc)                                                                                                      \
    X(clSVMFree)                                                                                                       \
    X(clEnqueueSVMFree)                                                                                                \
    X(clEnqueueSVMMemcpy)                                                                                              \
    X(clEnqueueSVMMemFill)                                                                                             \
    X(clEnqueueSVMMap)                                                                                                 \
    X(clEnqueueSVMUnmap)                                                                                               \
    X(clEnqueueSVMMigrateMem)                                                                                          \
    X(clSetKernelArgSVMPointer)                                                                                        \
    X(clSetKernelExecInfo)                                                                                             \
    /* absent.c: what no device of the pool offers */                                                                  \
    X(clCreatePipe)                                                                                                    \
    X(clGetPipeInfo)                                                                                                   \
    X(clEnqueueNativeKernel)                                                                                           \
    X(clCreateFromGLBuffer)                                                                                            \
    X(clCreateFromGLTexture)                                                                                           \
    X(clCreateFromGLTexture2D)                                                                                         \
    X(clCreateFromGLTexture3D)                                                                                         \
    X(clCreateFromGLRenderbuffer)                                                                                      \
    X(clGetGLObjectInfo)                                                                                               \
    X(clGetGLTextureInfo)                                                                                              \
    X(clEnqueueAcquireGLObjects)                                                                                       \
    X(clEnqueueReleaseGLObjects)                                                                                       \
    X(clGetGLContextInfoKHR)                                                                                           \
    X(clCreateEventFromGLsyncKHR)                                                                                      \
    X(clCreateFromEGLImageKHR)                                                                                         \
    X(clEnqueueAcquireEGLObjectsKHR)                                                                                   \
    X(clEnqueueReleaseEGLObjectsKHR)                                                                                   \
    X(clCreateEventFromEGLSyncKHR)

#define X(name) __typeof__(*(cl_api_##name)0) pen_##name;
PEN_ENTRIES(X)
#undef X

/* X(name): an extension that has no place in the dispatch table: found by clGetExtensionFunctionAddressForPlatform. */
#define PEN_EXTENSION_ENTRIES(X)                                                                                       \
    /* command_buffer.c, record.c */                                                                                   \
    X(clCreateCommandBufferKHR)                                                                                        \
    X(clFinalizeCommandBufferKHR)                                                                                      \
    X(clRetainCommandBufferKHR)                                                                                        \
    X(clReleaseCommandBufferKHR)                                                                                       \
    X(clEnqueueCommandBufferKHR)                                                                                       \
    X(clGetCommandBufferInfoKHR)                                                                                       \
    X(clCommandBarrierWithWaitListKHR)                                                                                 \
    X(clCommandCopyBufferKHR)                                                                                          \
    X(clCommandCopyBufferRectKHR)                                                                                      \
    X(clCommandCopyBufferToImageKHR)                                                                                   \
    X(clCommandCopyImageKHR)                                                                                           \
    X(clCommandCopyImageToBufferKHR)                                                                                   \
    X(clCommandFillBufferKHR)                                                                                          \
    X(clCommandFillImageKHR)                                                                                           \
    X(clCommandNDRangeKernelKHR)                                                                                       \
    /* launch.c */                                                                                                     \
    X(clGetKernelSuggestedLocalWorkSizeKHR)

#define X(name) __typeof__(*(name##_fn)0) pen_##name;
PEN_EXTENSION_ENTRIES(X)
#undef X

#endif
