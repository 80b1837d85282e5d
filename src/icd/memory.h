/* icd/memory.h - what the files of memory objects (buffer, image, transfers, maps, host pointers) share.
 * Model:     icd/README.md, memory
 * Ownership: borrows every pointer unless marked "takes"
 * Threads:   any
 * Errors:    cl_int where a check answers the program; 0 or -PEN_E* elsewhere */
#ifndef PEN_ICD_MEMORY_H
#define PEN_ICD_MEMORY_H

#include "icd/box.h"
#include "icd/object.h"

#define PEN_MEM_ACCESS  (CL_MEM_READ_WRITE | CL_MEM_WRITE_ONLY | CL_MEM_READ_ONLY)
#define PEN_MEM_STORAGE (CL_MEM_USE_HOST_PTR | CL_MEM_ALLOC_HOST_PTR | CL_MEM_COPY_HOST_PTR)
#define PEN_MEM_HOST    (CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_NO_ACCESS)

/* ---- checks ------------------------------------------------------------------------------------------- */

/* Flags that contradict each other or do not exist: CL_INVALID_VALUE; host_ptr and flags: CL_INVALID_HOST_PTR. */
cl_int pen_memory_check_flags(cl_mem_flags flags);
cl_int pen_memory_check_host_ptr(cl_mem_flags flags, const void *host_ptr);
/* Flags of an object made from `parent`: checked against its, and what is not given inherited. */
cl_int pen_memory_inherit(cl_mem parent, cl_mem_flags flags, cl_mem_flags *out_flags);
/* A property list that may hold nothing but its end: CL_INVALID_PROPERTY otherwise. */
cl_int pen_memory_check_properties(const cl_mem_properties *properties);
/* Largest answer of the context's devices to a size query (also of CL_DEVICE_MAX_MEM_ALLOC_SIZE). */
cl_ulong pen_context_largest(cl_context context, cl_device_info key);

/* A buffer or image that a command of `queue` may name: CL_INVALID_MEM_OBJECT, CL_INVALID_CONTEXT. The queue is checked
 * first: CL_INVALID_COMMAND_QUEUE. */
cl_int pen_memory_check(cl_command_queue queue, cl_mem memory, bool image);
/* The program reads or writes it: CL_INVALID_OPERATION where the host access flags forbid that. */
cl_int pen_memory_check_access(cl_mem memory, bool reads, bool writes);
/* What the queue's device says of an image: CL_INVALID_OPERATION, CL_INVALID_IMAGE_SIZE,
 * CL_IMAGE_FORMAT_NOT_SUPPORTED. Of a sub-buffer: CL_MISALIGNED_SUB_BUFFER_OFFSET. */
cl_int pen_image_check_device(cl_command_queue queue, cl_mem image);
/* Origin and region as the image's type has them, inside of it: CL_INVALID_VALUE. */
cl_int pen_image_check_box(cl_mem image, const size_t origin[3], const size_t region[3]);
cl_int pen_memory_check_alignment(cl_command_queue queue, cl_mem memory);

/* ---- life --------------------------------------------------------------------------------------------- */

/* A new object without contents; references context and parent. NULL: out of memory. Until pen_memory_publish it is
 * dropped by pen_memory_abandon. */
cl_mem pen_memory_new(cl_context context, cl_mem parent, cl_mem_object_type type, cl_mem_flags flags,
                      const cl_mem_properties *properties);
void pen_memory_abandon(cl_mem memory);
/* Allocates `size` bytes of the arena for a parentless object. */
int pen_memory_allocate(cl_mem memory, size_t size);
/* The handle for the program, or NULL with the object abandoned when `error` is set. Sets *errcode_ret. */
cl_mem pen_memory_publish(cl_mem memory, cl_int error, cl_int *errcode_ret);

/* Takes a mapping that is in no list; its staging range is the caller's to give back. */
void pen_mapping_free(struct pen_mapping *mapping);

/* Objects whose release has to wait for devices: those that are free now are gone, their callbacks called. */
void pen_farewell_run(struct pen_session *session);

/* ---- geometry ----------------------------------------------------------------------------------------- */

/* The object at the end of the parents, and where `memory` begins in its contents, bytes. */
cl_mem pen_memory_root(cl_mem memory, size_t *out_offset);
/* PEN_REGION_FLAG_* of an object. */
uint32_t pen_memory_region_flags(cl_mem memory);
/* First byte of a direct object's contents. */
void *pen_memory_at(cl_mem memory);
/* Layout of the arena contents, and of host_ptr's, of a whole image; the span of all of it. */
struct pen_place pen_image_place(cl_mem image, const size_t origin[3]);
struct pen_place pen_image_host_place(cl_mem image, const size_t origin[3]);
struct pen_span pen_image_span(cl_mem image, const size_t region[3]);
/* Extent of the whole image as clEnqueueReadImage would take it. */
void pen_image_all(cl_mem image, size_t out_region[3]);

/* ---- image formats (formats.c) ------------------------------------------------------------------------ */

/* Can a device, or any of the context's that take images, have an image of that format with that access? */
bool pen_device_has_format(cl_device_id device, cl_mem_flags flags, cl_mem_object_type type,
                           const cl_image_format *format);
bool pen_context_has_format(cl_context context, cl_mem_flags flags, cl_mem_object_type type,
                            const cl_image_format *format);
bool pen_context_has_images(cl_context context);
/* enum pen_region_kind of a memory object's type; false: not one of an image. */
bool pen_image_kind(cl_mem_object_type type, enum pen_region_kind *out_kind);

/* ---- host pointers (hostptr.c; object.h has the rest) ------------------------------------------------- */

/* A parentless object with host_ptr set and its contents in place. 0 or -PEN_ENOMEM. */
int pen_hostptr_add(cl_mem memory);
/* Takes it off the list, after a last look at what devices wrote. Nothing may use it any more. */
void pen_hostptr_remove(cl_mem memory);
/* Brings back what complete commands wrote. True when no other command may write it still. */
bool pen_hostptr_settled(cl_mem memory);
/* Is it, or what it is a part of, memory of the program's? */
static inline bool pen_hostptr_is(cl_mem memory)
{
    return memory->host_ptr != NULL;
}
/* Is there memory of the program's that a command on the session's devices may have written since it was last looked
 * at, or one that may write it? */
bool pen_hostptr_awaited(cl_context context);
/* This thread has changed a direct object's contents: `reach` bytes from its byte `first`. */
void pen_hostptr_wrote_here(cl_mem memory, size_t first, size_t reach);
/* The program has changed its range through a map, `size` bytes from byte `first` of the object (all of an image):
 * the command of `e` is to wait (e->waits) until devices see it. Waits for nothing. */
int pen_hostptr_push(struct pen_enqueue *e, cl_mem memory, size_t first, size_t size);

#endif
