/* mem/box.h - does a box lie within a region, a range within the arena? Pure arithmetic that cannot overflow.
 * Units:  bytes for buffers and host sides, pixels for images.
 * Errors: 0 or -PEN_EINVAL. */
#ifndef PEN_MEM_BOX_H
#define PEN_MEM_BOX_H

#include <stdbool.h>
#include <stdint.h>

#include "penstock-protocol.h"

/* [offset, offset + size) within [0, limit). */
bool pen_range_within(uint64_t offset, uint64_t size, uint64_t limit);
/* a * b into *out; false when it overflows. */
bool pen_multiply(uint64_t a, uint64_t b, uint64_t *out);

/* Bytes from the start of the memory to the end of the box's last row, for a box of rows of row_bytes, in memory with
 * the box's pitches (0 = tight). No dimension is 0; pitches hold what lies in them. */
int pen_box_end(const struct pen_box *box, uint64_t row_bytes, uint64_t rows, uint64_t slices, uint64_t *out_end);

/* The host's side of an image transfer: fills in the pitches that are 0 (tight; the layers of a 1D array are slices of
 * one row), and tells where it ends. */
int pen_box_of_image(enum pen_region_kind kind, const struct pen_image_desc *image, const uint64_t extent[3],
                     struct pen_box *box, uint64_t *out_end);

/* Width, height, depth of an image with array layers in the last used dimension, as origins and extents count them. */
void pen_image_extent(enum pen_region_kind kind, const struct pen_image_desc *image, uint64_t out_extent[3]);
/* [origin, origin + extent) within the image; no extent is 0. */
int pen_box_in_image(enum pen_region_kind kind, const struct pen_image_desc *image, const uint64_t origin[3],
                     const uint64_t extent[3]);
/* Bytes of one pixel of a channel order and type (values of the Khronos headers); 0 when they are not ones of the
 * specification or cannot go together. */
uint32_t pen_image_element_bytes(uint32_t channel_order, uint32_t channel_type);
/* Are the description's format, dimensions and pitches sane, and how many bytes do the contents take? */
int pen_image_check(enum pen_region_kind kind, const struct pen_image_desc *image, uint64_t *out_bytes);

#endif
