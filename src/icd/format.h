/* icd/format.h - what an image format is made of: channels, bytes, and how a colour is stored in it. Pure.
 * Model:   OpenCL 3.0 C and API specifications, image format descriptors and conversion rules
 * Threads: any */
#ifndef PEN_ICD_FORMAT_H
#define PEN_ICD_FORMAT_H

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest element: four channels of four bytes. */
#define PEN_ELEMENT_BYTES 16

/* Bytes of one pixel; 0 when order and type are not values of the specification or cannot go together. */
size_t pen_format_bytes(const cl_image_format *format);
/* A fill colour (four channels, each a float, cl_int or cl_uint as the format's type reads) as one pixel of the image.
 * Returns its bytes; 0 when drivers may round it each in its own way: then the driver is to store it. */
size_t pen_format_pack(const cl_image_format *format, const uint32_t color[4],
                       unsigned char out_pixel[PEN_ELEMENT_BYTES]);

#endif
