/* icd/copy.h - region to region, and a pattern into a region: small ones of direct regions by this thread when nothing
 * is in the way, the others by the worker.
 * Ownership: borrows every pointer; the pattern is copied
 * Threads:   any
 * Errors:    as the enqueue call returns them */
#ifndef PEN_ICD_COPY_H
#define PEN_ICD_COPY_H

#include "icd/memory.h"

struct pen_copy {
    cl_mem source, target;
    cl_command_type type;
    struct pen_place source_place, target_place; /* counted from the first byte of each one's contents */
    struct pen_span span;
    struct pen_box source_box, target_box; /* as the worker takes them */
    uint64_t extent[3];
};

struct pen_fill {
    cl_mem memory;
    cl_command_type type;
    const void *pattern;   /* as it is stored; NULL: only the driver knows */
    size_t pattern_size;   /* bytes; the span's rows are multiples of it */
    struct pen_bytes sent; /* as the worker takes it: an image's colour is four channels */
    struct pen_place place;
    struct pen_span span;
    uint64_t origin[3], extent[3]; /* as the worker takes them */
    unsigned char pixel[16];       /* an image's colour: what `pattern` and `sent` point to */
    uint32_t channels[4];
};

/* The checks of a clEnqueueCopy* or Fill*, but for its wait list, and what it is to do: CL_SUCCESS or its error. */
cl_int pen_copy_of_buffer(cl_command_queue queue, cl_mem source, cl_mem target, size_t source_offset,
                          size_t target_offset, size_t size, struct pen_copy *out_copy);
cl_int pen_copy_of_rect(cl_command_queue queue, cl_mem source, cl_mem target, const size_t *source_origin,
                        const size_t *target_origin, const size_t *region, size_t source_row_pitch,
                        size_t source_slice_pitch, size_t target_row_pitch, size_t target_slice_pitch,
                        struct pen_copy *out_copy);
cl_int pen_copy_of_image(cl_command_queue queue, cl_mem source, cl_mem target, const size_t *source_origin,
                         const size_t *target_origin, const size_t *region, struct pen_copy *out_copy);
/* Between an image and a tight run of bytes in a buffer. */
cl_int pen_copy_of_image_buffer(cl_command_queue queue, cl_mem image, cl_mem buffer, bool to_image,
                                const size_t *origin, const size_t *region, size_t offset, struct pen_copy *out_copy);
/* Points to the program's pattern. */
cl_int pen_fill_of_buffer(cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size,
                          size_t offset, size_t size, struct pen_fill *out_fill);
/* Points into itself: not to be copied. */
cl_int pen_fill_of_image(cl_command_queue queue, cl_mem image, const void *color, const size_t *origin,
                         const size_t *region, struct pen_fill *out_fill);

/* The whole of a clEnqueueCopy* or Fill* after its own checks. */
cl_int pen_copy_run(cl_command_queue queue, const struct pen_copy *copy, cl_uint wait_count, const cl_event *wait_list,
                    cl_event *out_event);
cl_int pen_fill_run(cl_command_queue queue, const struct pen_fill *fill, cl_uint wait_count, const cl_event *wait_list,
                    cl_event *out_event);

#endif
