/* scenario/cl_api.c - entry points that programs seldom call, each with what the specification says of it where the
 * feature is absent or there is little to it; and queries, which all are answered without a word to the worker:
 * run_program.py --quiet looks into the session's log for what was sent between two commands that LOUD and QUIET mark.
 * For Penstock: other platforms have some of these features, or know nothing of the rest. */
#include "cl_check.h"

#include <CL/cl_egl.h>
#include <CL/cl_ext.h>
#include <CL/cl_gl.h>

#define COUNT(array_) (sizeof(array_) / sizeof *(array_))

static cl_mem new_buffer(struct world *w, size_t size)
{
    cl_int status;
    cl_mem buffer = clCreateBuffer(w->context, CL_MEM_READ_WRITE, size, NULL, &status);
    EXPECT_OK(status);
    return buffer;
}

static cl_program new_program(struct world *w, const char *options)
{
    static const char *const text = "kernel void k(global int *o, int n, local int *l) { l[0] = n; *o = l[0]; }";
    cl_int status;
    cl_program program = clCreateProgramWithSource(w->context, 1, (const char **)&text, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clBuildProgram(program, 1, &w->device, options, NULL, NULL));
    return program;
}

/* ---- sub-devices and references under their first names ------------------------------------------------- */

static cl_uint device_references(cl_device_id device)
{
    cl_uint references = 0;
    EXPECT_OK(clGetDeviceInfo(device, CL_DEVICE_REFERENCE_COUNT, sizeof references, &references, NULL));
    return references;
}

static void devices_ext(struct world *w)
{
    static const cl_device_partition_property_ext singles[] = {CL_DEVICE_PARTITION_EQUALLY_EXT, 1,
                                                               CL_PROPERTIES_LIST_END_EXT};
    static const cl_device_partition_property_ext unknown[] = {0x4099, 1, CL_PROPERTIES_LIST_END_EXT};
    cl_device_id parts[64];
    cl_device_partition_property made[4] = {0};
    cl_uint units = 0, most = 0, count = 0;
    EXPECT_OK(clRetainDeviceEXT(w->device)); /* of a root: nothing happens */
    EXPECT_OK(clReleaseDeviceEXT(w->device));
    EXPECT(device_references(w->device) == 1);
    EXPECT_STATUS(clRetainDeviceEXT(NULL), CL_INVALID_DEVICE);
    EXPECT_STATUS(clReleaseDeviceEXT(NULL), CL_INVALID_DEVICE);
    EXPECT_STATUS(clCreateSubDevicesEXT(NULL, singles, 0, NULL, &count), CL_INVALID_DEVICE);
    EXPECT_STATUS(clCreateSubDevicesEXT(w->device, NULL, 0, NULL, &count), CL_INVALID_VALUE);
    EXPECT_STATUS(clCreateSubDevicesEXT(w->device, unknown, 0, NULL, &count), CL_INVALID_VALUE);
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL));
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_PARTITION_MAX_SUB_DEVICES, sizeof most, &most, NULL));
    if (units < 2 || most < units || units > COUNT(parts)) {
        skip("a device with one compute unit");
        return;
    }
    EXPECT_OK(clCreateSubDevicesEXT(w->device, singles, 0, NULL, &count));
    EXPECT(count == units);
    EXPECT_STATUS(clCreateSubDevicesEXT(w->device, singles, count - 1, parts, NULL), CL_INVALID_VALUE);
    EXPECT_OK(clCreateSubDevicesEXT(w->device, singles, count, parts, NULL));
    EXPECT_OK(clGetDeviceInfo(parts[0], CL_DEVICE_PARTITION_TYPE, sizeof made, made, NULL));
    EXPECT(made[0] == CL_DEVICE_PARTITION_EQUALLY && made[1] == 1 && made[2] == 0);
    EXPECT_OK(clRetainDeviceEXT(parts[0]));
    EXPECT(device_references(parts[0]) == 2);
    EXPECT_OK(clReleaseDeviceEXT(parts[0]));
    EXPECT(device_references(parts[0]) == 1);
    for (cl_uint i = 0; i < count; i++)
        EXPECT_OK(clReleaseDeviceEXT(parts[i]));
}

/* ---- programs and kernels ------------------------------------------------------------------------------- */

static void kernel_references(struct world *w)
{
    cl_program program = new_program(w, "");
    cl_int status;
    cl_uint references = 0;
    cl_kernel kernel = clCreateKernel(program, "k", &status);
    EXPECT_OK(status);
    EXPECT_STATUS(clRetainKernel(NULL), CL_INVALID_KERNEL);
    EXPECT_STATUS(clRetainKernel((cl_kernel)program), CL_INVALID_KERNEL);
    EXPECT_OK(clRetainKernel(kernel));
    EXPECT_OK(clGetKernelInfo(kernel, CL_KERNEL_REFERENCE_COUNT, sizeof references, &references, NULL));
    EXPECT(references == 2);
    EXPECT_OK(clReleaseKernel(kernel));
    EXPECT_STATUS(clBuildProgram(program, 0, NULL, "", NULL, NULL), CL_INVALID_OPERATION); /* it has a kernel yet */
    EXPECT_OK(clReleaseKernel(kernel));
    EXPECT_OK(clBuildProgram(program, 0, NULL, "", NULL, NULL));
    EXPECT_OK(clReleaseProgram(program));
}

static void CL_CALLBACK released(cl_program program, void *user)
{
    (void)program;
    *(bool *)user = true;
}

static void programs(struct world *w)
{
    static bool called;
    cl_program program = new_program(w, "");
    const cl_device_id none = (cl_device_id)program;
    EXPECT_STATUS(clSetProgramReleaseCallback(NULL, released, &called), CL_INVALID_PROGRAM);
    EXPECT_STATUS(clSetProgramReleaseCallback(program, NULL, &called), CL_INVALID_VALUE);
    /* No device runs destructors of variables in program scope. */
    EXPECT_STATUS(clSetProgramReleaseCallback(program, released, &called), CL_INVALID_OPERATION);
    EXPECT_REFUSED(clCreateProgramWithBuiltInKernels(NULL, 1, &w->device, "k", &status), CL_INVALID_CONTEXT);
    EXPECT_REFUSED(clCreateProgramWithBuiltInKernels(w->context, 0, NULL, "k", &status), CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateProgramWithBuiltInKernels(w->context, 1, NULL, "k", &status), CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateProgramWithBuiltInKernels(w->context, 0, &w->device, "k", &status), CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateProgramWithBuiltInKernels(w->context, 1, &w->device, NULL, &status), CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateProgramWithBuiltInKernels(w->context, 1, &w->device, "k", &status), CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateProgramWithBuiltInKernels(w->context, 1, &none, "k", &status), CL_INVALID_DEVICE);
    EXPECT_OK(clReleaseProgram(program));
    EXPECT(!called);
}

/* ---- memory objects ------------------------------------------------------------------------------------- */

static void images_with_properties(struct world *w)
{
    const cl_image_format format = {CL_RGBA, CL_UNSIGNED_INT8};
    const cl_image_desc shape = {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 5, .image_height = 3};
    const cl_mem_properties nothing[] = {0}, unknown[] = {0x9999, 1, 0};
    const size_t origin[3] = {0}, region[3] = {5, 3, 1};
    unsigned char pixels[60], back[60] = {0};
    cl_mem_properties got[2] = {7, 7};
    cl_int status;
    size_t size = 99;
    if (!w->images) {
        skip("a device without images");
        return;
    }
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (unsigned char)i;
    cl_mem image = clCreateImageWithProperties(w->context, nothing, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, &format,
                                               &shape, pixels, &status);
    EXPECT_OK(status);
    EXPECT_OK(clGetMemObjectInfo(image, CL_MEM_PROPERTIES, sizeof got, got, &size));
    EXPECT(size == sizeof nothing && got[0] == 0);
    EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, origin, region, 0, 0, back, 0, NULL, NULL));
    EXPECT(!memcmp(back, pixels, sizeof pixels));
    EXPECT_OK(clReleaseMemObject(image));
    image = clCreateImageWithProperties(w->context, NULL, CL_MEM_READ_WRITE, &format, &shape, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clGetMemObjectInfo(image, CL_MEM_PROPERTIES, sizeof got, got, &size));
    EXPECT(size == 0);
    EXPECT_OK(clReleaseMemObject(image));
    EXPECT_REFUSED(clCreateImageWithProperties(w->context, unknown, CL_MEM_READ_WRITE, &format, &shape, NULL, &status),
                   CL_INVALID_PROPERTY);
    EXPECT_REFUSED(clCreateImageWithProperties(NULL, NULL, CL_MEM_READ_WRITE, &format, &shape, NULL, &status),
                   CL_INVALID_CONTEXT);
}

/* ---- shared virtual memory, pipes, native kernels ------------------------------------------------------- */

static void svm(struct world *w)
{
    const cl_kernel_exec_info lists = CL_KERNEL_EXEC_INFO_SVM_PTRS;
    char bytes[16] = "";
    void *pointer = bytes, *pointers[] = {bytes};
    const void *others[] = {bytes};
    cl_bool fine = CL_TRUE;
    cl_program program = new_program(w, "");
    cl_int status;
    cl_kernel kernel = clCreateKernel(program, "k", &status);
    EXPECT_OK(status);
    EXPECT(!clSVMAlloc(w->context, CL_MEM_READ_WRITE, 64, 0));
    clSVMFree(w->context, NULL);
    EXPECT_STATUS(clEnqueueSVMFree(w->queue, 1, pointers, NULL, NULL, 0, NULL, NULL), CL_INVALID_OPERATION);
    EXPECT_STATUS(clEnqueueSVMMemcpy(w->queue, CL_TRUE, bytes, bytes + 8, 8, 0, NULL, NULL), CL_INVALID_OPERATION);
    EXPECT_STATUS(clEnqueueSVMMemFill(w->queue, bytes, bytes + 8, 4, 8, 0, NULL, NULL), CL_INVALID_OPERATION);
    EXPECT_STATUS(clEnqueueSVMMap(w->queue, CL_TRUE, CL_MAP_READ, bytes, 8, 0, NULL, NULL), CL_INVALID_OPERATION);
    EXPECT_STATUS(clEnqueueSVMUnmap(w->queue, bytes, 0, NULL, NULL), CL_INVALID_OPERATION);
    EXPECT_STATUS(clEnqueueSVMMigrateMem(w->queue, 1, others, NULL, 0, 0, NULL, NULL), CL_INVALID_OPERATION);
    EXPECT_STATUS(clSetKernelArgSVMPointer(kernel, 0, pointer), CL_INVALID_OPERATION);
    EXPECT_STATUS(clSetKernelExecInfo(kernel, lists, sizeof pointer, &pointer), CL_INVALID_OPERATION);
    EXPECT_STATUS(clSetKernelExecInfo(kernel, CL_KERNEL_EXEC_INFO_SVM_FINE_GRAIN_SYSTEM, sizeof fine, &fine),
                  CL_INVALID_OPERATION);
    EXPECT_STATUS(clSetKernelExecInfo(kernel, 0x1234, sizeof pointer, &pointer), CL_INVALID_VALUE);
    EXPECT_STATUS(clSetKernelExecInfo(NULL, lists, sizeof pointer, &pointer), CL_INVALID_KERNEL);
    EXPECT_STATUS(clEnqueueSVMUnmap(NULL, bytes, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    EXPECT(!bytes[0]);
    EXPECT_OK(clReleaseKernel(kernel));
    EXPECT_OK(clReleaseProgram(program));
}

static void CL_CALLBACK native(void *argument)
{
    *(bool *)argument = true;
}

static void pipes_and_natives(struct world *w)
{
    static bool called;
    cl_mem buffer = new_buffer(w, 64);
    cl_uint number = 0;
    EXPECT_REFUSED(clCreatePipe(w->context, 0, 4, 4, NULL, &status), CL_INVALID_OPERATION);
    EXPECT_REFUSED(clCreatePipe(NULL, 0, 4, 4, NULL, &status), CL_INVALID_CONTEXT);
    EXPECT_STATUS(clGetPipeInfo(buffer, CL_PIPE_PACKET_SIZE, sizeof number, &number, NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clGetPipeInfo(NULL, CL_PIPE_PACKET_SIZE, sizeof number, &number, NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clEnqueueNativeKernel(w->queue, native, &called, sizeof called, 0, NULL, NULL, 0, NULL, NULL),
                  CL_INVALID_OPERATION);
    EXPECT_STATUS(clSetDefaultDeviceCommandQueue(w->context, w->device, w->queue), CL_INVALID_OPERATION);
    EXPECT(!called);
    EXPECT_OK(clReleaseMemObject(buffer));
}

/* ---- OpenGL and EGL: no context is made from one of theirs ----------------------------------------------- */

static void gl(struct world *w)
{
    enum { TEXTURE_2D = 0x0de1, TEXTURE_3D = 0x806f }; /* GL/gl.h's */
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)w->platform, 0};
    const cl_mem_flags flags = CL_MEM_READ_WRITE;
    cl_mem buffer = new_buffer(w, 64);
    cl_gl_object_type type = 0;
    cl_GLuint name = 0;
    cl_GLenum target = 0;
    cl_device_id device = NULL;
    EXPECT_REFUSED(clCreateFromGLBuffer(w->context, flags, 1, &status), CL_INVALID_CONTEXT);
    EXPECT_REFUSED(clCreateFromGLTexture(w->context, flags, TEXTURE_2D, 0, 1, &status), CL_INVALID_CONTEXT);
    EXPECT_REFUSED(clCreateFromGLTexture2D(w->context, flags, TEXTURE_2D, 0, 1, &status), CL_INVALID_CONTEXT);
    EXPECT_REFUSED(clCreateFromGLTexture3D(w->context, flags, TEXTURE_3D, 0, 1, &status), CL_INVALID_CONTEXT);
    EXPECT_REFUSED(clCreateFromGLRenderbuffer(w->context, flags, 1, &status), CL_INVALID_CONTEXT);
    EXPECT_REFUSED(clCreateEventFromGLsyncKHR(w->context, (cl_GLsync)&type, &status), CL_INVALID_CONTEXT);
    EXPECT_STATUS(clGetGLObjectInfo(buffer, &type, &name), CL_INVALID_GL_OBJECT);
    EXPECT_STATUS(clGetGLObjectInfo(NULL, &type, &name), CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clGetGLTextureInfo(buffer, CL_GL_TEXTURE_TARGET, sizeof target, &target, NULL), CL_INVALID_GL_OBJECT);
    EXPECT_STATUS(clGetGLTextureInfo(NULL, CL_GL_TEXTURE_TARGET, sizeof target, &target, NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clEnqueueAcquireGLObjects(w->queue, 1, &buffer, 0, NULL, NULL), CL_INVALID_CONTEXT);
    EXPECT_STATUS(clEnqueueReleaseGLObjects(w->queue, 1, &buffer, 0, NULL, NULL), CL_INVALID_CONTEXT);
    EXPECT_STATUS(clEnqueueAcquireGLObjects(NULL, 1, &buffer, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    EXPECT_STATUS(clEnqueueReleaseGLObjects(NULL, 1, &buffer, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    EXPECT_STATUS(clGetGLContextInfoKHR(properties, CL_CURRENT_DEVICE_FOR_GL_CONTEXT_KHR, sizeof device, &device, NULL),
                  CL_INVALID_GL_SHAREGROUP_REFERENCE_KHR);
    EXPECT_OK(clReleaseMemObject(buffer));
}

static void egl(struct world *w)
{
    cl_mem buffer = new_buffer(w, 64);
    char thing = 0;
    EXPECT_REFUSED(clCreateFromEGLImageKHR(w->context, &thing, &thing, CL_MEM_READ_WRITE, NULL, &status),
                   CL_INVALID_OPERATION);
    EXPECT_REFUSED(clCreateFromEGLImageKHR(NULL, &thing, &thing, CL_MEM_READ_WRITE, NULL, &status), CL_INVALID_CONTEXT);
    EXPECT_REFUSED(clCreateEventFromEGLSyncKHR(w->context, &thing, &thing, &status), CL_INVALID_CONTEXT);
    EXPECT_STATUS(clEnqueueAcquireEGLObjectsKHR(w->queue, 1, &buffer, 0, NULL, NULL), CL_INVALID_OPERATION);
    EXPECT_STATUS(clEnqueueReleaseEGLObjectsKHR(w->queue, 1, &buffer, 0, NULL, NULL), CL_INVALID_OPERATION);
    EXPECT_STATUS(clEnqueueAcquireEGLObjectsKHR(NULL, 1, &buffer, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    EXPECT_STATUS(clEnqueueReleaseEGLObjectsKHR(NULL, 1, &buffer, 0, NULL, NULL), CL_INVALID_COMMAND_QUEUE);
    EXPECT_OK(clReleaseMemObject(buffer));
}

/* Of the platform's own suffix the loader asks the platform; it has no function of such a name. */
static void function_addresses(struct world *w)
{
    EXPECT(!clGetExtensionFunctionAddress("clNoSuchFunctionPEN"));
    EXPECT(clGetExtensionFunctionAddressForPlatform(w->platform, "clCreateSubDevicesEXT") != NULL);
    EXPECT(!clGetExtensionFunctionAddressForPlatform(w->platform, "clNoSuchFunctionPEN"));
}

/* ---- queries --------------------------------------------------------------------------------------------- */

/* Patterns of fills between which run_program.py expects nothing in the log: at first nothing but what is asked once.
 */
#define ASKED_ONCE 0x51e4ce01u
#define ALL_KNOWN  0x51e4ce02u
#define LOUD       0x51e4ce03u

/* Larger than what Penstock does without the device. */
enum { FILLED = 1 << 20 };

/* CALL_(size, value, &size): of the names from FIRST to LAST, whichever there are. */
#define ASK_ALL(first_, last_, call_)                                                                                  \
    for (cl_uint name = (first_); name <= (last_); name++) {                                                           \
        size_t size = 0;                                                                                               \
        void *value = NULL;                                                                                            \
        if ((call_) || size > sizeof room)                                                                             \
            continue;                                                                                                  \
        memset(room, 0, size);                                                                                         \
        value = room;                                                                                                  \
        EXPECT_OK(call_);                                                                                              \
        asked++;                                                                                                       \
    }

struct things {
    cl_program program;
    cl_kernel kernel;
    cl_mem buffer, part, image;
    cl_sampler sampler;
    cl_event event, user;
    cl_command_queue queue;
    cl_command_buffer_khr commands;
    clGetCommandBufferInfoKHR_fn command_buffer_info;
};

static void ask_of_the_pool(struct world *w)
{
    static char room[65536];
    int asked = 0;
    cl_platform_id platforms[16];
    cl_device_id devices[64];
    cl_uint count = 0;
    cl_ulong time = 0;
    EXPECT_OK(clGetPlatformIDs(COUNT(platforms), platforms, &count));
    EXPECT_OK(clGetDeviceIDs(w->platform, CL_DEVICE_TYPE_ALL, COUNT(devices), devices, &count));
    (void)clGetHostTimer(w->device, &time);
    ASK_ALL(0x0900, 0x0920, clGetPlatformInfo(w->platform, name, size, value, &size));
    EXPECT(asked >= 6);
    asked = 0;
    ASK_ALL(0x1000, 0x10ff, clGetDeviceInfo(w->device, name, size, value, &size));
    ASK_ALL(0x12a9, 0x12aa, clGetDeviceInfo(w->device, name, size, value, &size));
    EXPECT(asked >= 80);
    asked = 0;
    ASK_ALL(CL_CONTEXT_REFERENCE_COUNT, CL_CONTEXT_NUM_DEVICES, clGetContextInfo(w->context, name, size, value, &size));
    EXPECT(asked == 4);
}

static void ask_of_memory(struct world *w, const struct things *t)
{
    static char room[65536];
    int asked = 0;
    cl_image_format formats[256];
    cl_uint count = 0;
    const cl_mem all[] = {t->buffer, t->part, t->image};
    for (size_t i = 0; i < COUNT(all); i++)
        if (all[i])
            ASK_ALL(CL_MEM_TYPE, CL_MEM_PROPERTIES, clGetMemObjectInfo(all[i], name, size, value, &size));
    EXPECT(asked >= 20);
    if (!t->image)
        return;
    asked = 0;
    ASK_ALL(CL_IMAGE_FORMAT, CL_IMAGE_NUM_SAMPLES, clGetImageInfo(t->image, name, size, value, &size));
    ASK_ALL(CL_SAMPLER_REFERENCE_COUNT, CL_SAMPLER_PROPERTIES, clGetSamplerInfo(t->sampler, name, size, value, &size));
    EXPECT(asked >= 14);
    EXPECT_OK(clGetSupportedImageFormats(w->context, CL_MEM_READ_ONLY, CL_MEM_OBJECT_IMAGE2D, COUNT(formats), formats,
                                         &count));
}

static void ask_of_programs(struct world *w, const struct things *t)
{
    static char room[65536];
    const size_t local[3] = {4, 2, 1}, groups = 2;
    int asked = 0;
    ASK_ALL(CL_PROGRAM_REFERENCE_COUNT, CL_PROGRAM_IL, clGetProgramInfo(t->program, name, size, value, &size));
    EXPECT(asked >= 9);
    asked = 0;
    ASK_ALL(CL_PROGRAM_BUILD_STATUS, CL_PROGRAM_BUILD_GLOBAL_VARIABLE_TOTAL_SIZE,
            clGetProgramBuildInfo(t->program, w->device, name, size, value, &size));
    EXPECT(asked == 5);
    asked = 0;
    ASK_ALL(CL_KERNEL_FUNCTION_NAME, CL_KERNEL_ATTRIBUTES, clGetKernelInfo(t->kernel, name, size, value, &size));
    EXPECT(asked == 6);
    asked = 0;
    for (cl_uint i = 0; i < 3; i++)
        ASK_ALL(CL_KERNEL_ARG_ADDRESS_QUALIFIER, CL_KERNEL_ARG_NAME,
                clGetKernelArgInfo(t->kernel, i, name, size, value, &size));
    EXPECT(asked == 15);
    asked = 0;
    ASK_ALL(CL_KERNEL_WORK_GROUP_SIZE, CL_KERNEL_PRIVATE_MEM_SIZE,
            clGetKernelWorkGroupInfo(t->kernel, w->device, name, size, value, &size));
    EXPECT(asked == 5);
    ASK_ALL(CL_KERNEL_MAX_SUB_GROUP_SIZE_FOR_NDRANGE, CL_KERNEL_SUB_GROUP_COUNT_FOR_NDRANGE,
            clGetKernelSubGroupInfoKHR(t->kernel, w->device, name, sizeof local, local, size, value, &size));
    ASK_ALL(CL_KERNEL_LOCAL_SIZE_FOR_SUB_GROUP_COUNT, CL_KERNEL_COMPILE_NUM_SUB_GROUPS,
            clGetKernelSubGroupInfo(t->kernel, w->device, name, sizeof groups, &groups, size, value, &size));
}

static void ask_of_commands(struct world *w, const struct things *t)
{
    static char room[65536];
    int asked = 0;
    ASK_ALL(CL_QUEUE_CONTEXT, CL_QUEUE_PROPERTIES_ARRAY, clGetCommandQueueInfo(w->queue, name, size, value, &size));
    EXPECT(asked >= 4);
    asked = 0;
    ASK_ALL(CL_EVENT_COMMAND_QUEUE, CL_EVENT_CONTEXT, clGetEventInfo(t->event, name, size, value, &size));
    ASK_ALL(CL_EVENT_COMMAND_QUEUE, CL_EVENT_CONTEXT, clGetEventInfo(t->user, name, size, value, &size));
    EXPECT(asked == 10);
    asked = 0;
    ASK_ALL(CL_PROFILING_COMMAND_QUEUED, CL_PROFILING_COMMAND_COMPLETE,
            clGetEventProfilingInfo(t->event, name, size, value, &size));
    EXPECT(asked == 5);
    asked = 0;
    if (t->commands)
        ASK_ALL(CL_COMMAND_BUFFER_QUEUES_KHR, CL_COMMAND_BUFFER_PROPERTIES_ARRAY_KHR,
                t->command_buffer_info(t->commands, name, size, value, &size));
    EXPECT(!t->commands || asked == 5);
}

static void mark(struct world *w, cl_mem buffer, cl_uint pattern)
{
    EXPECT_OK(clEnqueueFillBuffer(w->queue, buffer, &pattern, sizeof pattern, 0, FILLED, 0, NULL, NULL));
    EXPECT_OK(clFinish(w->queue));
}

static void make_things(struct world *w, struct things *t)
{
    const cl_image_format format = {CL_RGBA, CL_UNSIGNED_INT8};
    const cl_image_desc shape = {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 5, .image_height = 3};
    const cl_buffer_region half = {0, FILLED / 2};
    const cl_sampler_properties plain[] = {CL_SAMPLER_NORMALIZED_COORDS, CL_FALSE, 0};
    cl_int status;
    t->program = new_program(w, "-cl-kernel-arg-info");
    t->kernel = clCreateKernel(t->program, "k", &status);
    EXPECT_OK(status);
    t->buffer = new_buffer(w, FILLED);
    t->part = clCreateSubBuffer(t->buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &half, &status);
    EXPECT_OK(status);
    if (w->images) {
        t->image = clCreateImage(w->context, CL_MEM_READ_WRITE, &format, &shape, NULL, &status);
        EXPECT_OK(status);
        t->sampler = clCreateSamplerWithProperties(w->context, plain, &status);
        EXPECT_OK(status);
    }
    t->queue = clCreateCommandQueue(w->context, w->device, CL_QUEUE_PROFILING_ENABLE, &status);
    EXPECT_OK(status);
    EXPECT_OK(clEnqueueMarkerWithWaitList(t->queue, 0, NULL, &t->event));
    EXPECT_OK(clFinish(t->queue));
    t->user = clCreateUserEvent(w->context, &status);
    EXPECT_OK(status);
    clCreateCommandBufferKHR_fn record =
        (clCreateCommandBufferKHR_fn)clGetExtensionFunctionAddressForPlatform(w->platform, "clCreateCommandBufferKHR");
    t->command_buffer_info = (clGetCommandBufferInfoKHR_fn)clGetExtensionFunctionAddressForPlatform(
        w->platform, "clGetCommandBufferInfoKHR");
    if (record && t->command_buffer_info)
        t->commands = record(1, &t->queue, NULL, &status);
}

static void release_things(struct world *w, const struct things *t)
{
    clReleaseCommandBufferKHR_fn release = (clReleaseCommandBufferKHR_fn)clGetExtensionFunctionAddressForPlatform(
        w->platform, "clReleaseCommandBufferKHR");
    if (t->commands)
        EXPECT_OK(release(t->commands));
    if (t->image) {
        EXPECT_OK(clReleaseMemObject(t->image));
        EXPECT_OK(clReleaseSampler(t->sampler));
    }
    EXPECT_OK(clReleaseMemObject(t->part));
    EXPECT_OK(clReleaseMemObject(t->buffer));
    EXPECT_OK(clReleaseKernel(t->kernel));
    EXPECT_OK(clReleaseProgram(t->program));
    EXPECT_OK(clReleaseEvent(t->event));
    EXPECT_OK(clReleaseEvent(t->user));
    EXPECT_OK(clReleaseCommandQueue(t->queue));
}

static void queries(struct world *w)
{
    static const cl_uint marks[] = {ASKED_ONCE, ALL_KNOWN};
    struct things t = {0};
    make_things(w, &t);
    for (size_t i = 0; i < COUNT(marks); i++) {
        mark(w, t.buffer, marks[i]);
        ask_of_the_pool(w);
        ask_of_memory(w, &t);
        ask_of_programs(w, &t);
        ask_of_commands(w, &t);
        mark(w, t.buffer, LOUD);
    }
    release_things(w, &t);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        {"devices_ext", devices_ext},
        {"kernel_references", kernel_references},
        {"programs", programs},
        {"images_with_properties", images_with_properties},
        {"svm", svm},
        {"pipes_and_natives", pipes_and_natives},
        {"gl", gl},
        {"egl", egl},
        {"function_addresses", function_addresses},
        {"queries", queries},
    };
    return run_checks(argc, argv, checks, sizeof checks / sizeof *checks);
}
