/* icd/absent.c - what no device of the pool offers: pipes, native kernels, objects shared with OpenGL and EGL.
 * The info queries say so; these entries check what a program may expect to be checked, then refuse with the error that
 * the specification gives for a device (or context) without the feature. */
#include "icd/entry.h"

static cl_int check_queue(cl_command_queue queue, cl_int otherwise)
{
    return pen_object_is(queue, PEN_MAGIC_QUEUE) ? otherwise : CL_INVALID_COMMAND_QUEUE;
}

static cl_int check_context(cl_context context, cl_int otherwise)
{
    return pen_object_is(context, PEN_MAGIC_CONTEXT) ? otherwise : CL_INVALID_CONTEXT;
}

/* ---- pipes, native kernels ---- */

cl_mem CL_API_CALL pen_clCreatePipe(cl_context context, cl_mem_flags flags, cl_uint packet_size, cl_uint max_packets,
                                    const cl_pipe_properties *properties, cl_int *out_error)
{
    (void)flags, (void)packet_size, (void)max_packets, (void)properties;
    return pen_refuse(out_error, check_context(context, CL_INVALID_OPERATION));
}

/* There are no pipes, so whatever this is, it is none. */
cl_int CL_API_CALL pen_clGetPipeInfo(cl_mem pipe, cl_pipe_info name, size_t size, void *value, size_t *out_size)
{
    (void)pipe, (void)name, (void)size, (void)value, (void)out_size;
    return CL_INVALID_MEM_OBJECT;
}

cl_int CL_API_CALL pen_clEnqueueNativeKernel(cl_command_queue queue, void(CL_CALLBACK *function)(void *),
                                             void *arguments, size_t arguments_size, cl_uint memory_count,
                                             const cl_mem *memories, const void **locations, cl_uint wait_count,
                                             const cl_event *wait_list, cl_event *event)
{
    (void)function, (void)arguments, (void)arguments_size, (void)memory_count, (void)memories, (void)locations;
    (void)wait_count, (void)wait_list, (void)event;
    return check_queue(queue, CL_INVALID_OPERATION);
}

/* ---- OpenGL: no context is made from a GL context, so every context is the wrong one ---- */

cl_mem CL_API_CALL pen_clCreateFromGLBuffer(cl_context context, cl_mem_flags flags, cl_GLuint buffer, int *out_error)
{
    (void)context, (void)flags, (void)buffer;
    return pen_refuse(out_error, CL_INVALID_CONTEXT);
}

cl_mem CL_API_CALL pen_clCreateFromGLTexture(cl_context context, cl_mem_flags flags, cl_GLenum target, cl_GLint level,
                                             cl_GLuint texture, cl_int *out_error)
{
    (void)context, (void)flags, (void)target, (void)level, (void)texture;
    return pen_refuse(out_error, CL_INVALID_CONTEXT);
}

cl_mem CL_API_CALL pen_clCreateFromGLTexture2D(cl_context context, cl_mem_flags flags, cl_GLenum target, cl_GLint level,
                                               cl_GLuint texture, cl_int *out_error)
{
    return pen_clCreateFromGLTexture(context, flags, target, level, texture, out_error);
}

cl_mem CL_API_CALL pen_clCreateFromGLTexture3D(cl_context context, cl_mem_flags flags, cl_GLenum target, cl_GLint level,
                                               cl_GLuint texture, cl_int *out_error)
{
    return pen_clCreateFromGLTexture(context, flags, target, level, texture, out_error);
}

cl_mem CL_API_CALL pen_clCreateFromGLRenderbuffer(cl_context context, cl_mem_flags flags, cl_GLuint renderbuffer,
                                                  cl_int *out_error)
{
    (void)context, (void)flags, (void)renderbuffer;
    return pen_refuse(out_error, CL_INVALID_CONTEXT);
}

cl_int CL_API_CALL pen_clGetGLObjectInfo(cl_mem memory, cl_gl_object_type *out_type, cl_GLuint *out_name)
{
    (void)out_type, (void)out_name;
    return pen_object_is(memory, PEN_MAGIC_MEMORY) ? CL_INVALID_GL_OBJECT : CL_INVALID_MEM_OBJECT;
}

cl_int CL_API_CALL pen_clGetGLTextureInfo(cl_mem memory, cl_gl_texture_info name, size_t size, void *value,
                                          size_t *out_size)
{
    (void)name, (void)size, (void)value, (void)out_size;
    return pen_object_is(memory, PEN_MAGIC_MEMORY) ? CL_INVALID_GL_OBJECT : CL_INVALID_MEM_OBJECT;
}

cl_int CL_API_CALL pen_clEnqueueAcquireGLObjects(cl_command_queue queue, cl_uint count, const cl_mem *memories,
                                                 cl_uint wait_count, const cl_event *wait_list, cl_event *event)
{
    (void)count, (void)memories, (void)wait_count, (void)wait_list, (void)event;
    return check_queue(queue, CL_INVALID_CONTEXT);
}

cl_int CL_API_CALL pen_clEnqueueReleaseGLObjects(cl_command_queue queue, cl_uint count, const cl_mem *memories,
                                                 cl_uint wait_count, const cl_event *wait_list, cl_event *event)
{
    return pen_clEnqueueAcquireGLObjects(queue, count, memories, wait_count, wait_list, event);
}

cl_int CL_API_CALL pen_clGetGLContextInfoKHR(const cl_context_properties *properties, cl_gl_context_info name,
                                             size_t size, void *value, size_t *out_size)
{
    (void)properties, (void)name, (void)size, (void)value, (void)out_size;
    return CL_INVALID_GL_SHAREGROUP_REFERENCE_KHR;
}

cl_event CL_API_CALL pen_clCreateEventFromGLsyncKHR(cl_context context, cl_GLsync sync, cl_int *out_error)
{
    (void)context, (void)sync;
    return pen_refuse(out_error, CL_INVALID_CONTEXT);
}

/* ---- EGL ---- */

cl_mem CL_API_CALL pen_clCreateFromEGLImageKHR(cl_context context, CLeglDisplayKHR display, CLeglImageKHR image,
                                               cl_mem_flags flags, const cl_egl_image_properties_khr *properties,
                                               cl_int *out_error)
{
    (void)display, (void)image, (void)flags, (void)properties;
    return pen_refuse(out_error, check_context(context, CL_INVALID_OPERATION));
}

cl_int CL_API_CALL pen_clEnqueueAcquireEGLObjectsKHR(cl_command_queue queue, cl_uint count, const cl_mem *memories,
                                                     cl_uint wait_count, const cl_event *wait_list, cl_event *event)
{
    (void)count, (void)memories, (void)wait_count, (void)wait_list, (void)event;
    return check_queue(queue, CL_INVALID_OPERATION);
}

cl_int CL_API_CALL pen_clEnqueueReleaseEGLObjectsKHR(cl_command_queue queue, cl_uint count, const cl_mem *memories,
                                                     cl_uint wait_count, const cl_event *wait_list, cl_event *event)
{
    return pen_clEnqueueAcquireEGLObjectsKHR(queue, count, memories, wait_count, wait_list, event);
}

cl_event CL_API_CALL pen_clCreateEventFromEGLSyncKHR(cl_context context, CLeglSyncKHR sync, CLeglDisplayKHR display,
                                                     cl_int *out_error)
{
    (void)context, (void)sync, (void)display;
    return pen_refuse(out_error, CL_INVALID_CONTEXT); /* made from no GL context */
}
