/* mem/box.c - see box.h. */
#include "mem/box.h"

#include "base/error.h"

/* Larger than any device's limit; keeps products of two in 64 bits. */
#define MAX_PIXELS (UINT64_C(1) << 31)

bool pen_range_within(uint64_t offset, uint64_t size, uint64_t limit)
{
    return offset <= limit && size <= limit - offset;
}

bool pen_multiply(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static bool add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

int pen_box_end(const struct pen_box *box, uint64_t row_bytes, uint64_t rows, uint64_t slices, uint64_t *out_end)
{
    uint64_t row_pitch = box->row_pitch ? box->row_pitch : row_bytes;
    uint64_t slice_pitch = box->slice_pitch, needed, row, slice, end;
    if (!row_bytes || !rows || !slices || row_pitch < row_bytes || !pen_multiply(row_pitch, rows, &needed))
        return -PEN_EINVAL;
    if (!slice_pitch)
        slice_pitch = needed;
    if (slices > 1 && slice_pitch < needed)
        return -PEN_EINVAL;
    if (!add(box->origin[1], rows - 1, &row) || !pen_multiply(row, row_pitch, &row) ||
        !add(box->origin[2], slices - 1, &slice) || !pen_multiply(slice, slice_pitch, &slice) ||
        !add(box->origin[0], row_bytes, &end) || !add(end, row, &end) || !add(end, slice, &end))
        return -PEN_EINVAL;
    *out_end = end;
    return 0;
}

void pen_image_extent(enum pen_region_kind kind, const struct pen_image_desc *image, uint64_t out_extent[3])
{
    out_extent[0] = image->width;
    out_extent[1] = out_extent[2] = 1;
    switch (kind) {
    case PEN_REGION_KIND_IMAGE1D_ARRAY:
        out_extent[1] = image->array_size;
        break;
    case PEN_REGION_KIND_IMAGE2D:
        out_extent[1] = image->height;
        break;
    case PEN_REGION_KIND_IMAGE2D_ARRAY:
        out_extent[1] = image->height;
        out_extent[2] = image->array_size;
        break;
    case PEN_REGION_KIND_IMAGE3D:
        out_extent[1] = image->height;
        out_extent[2] = image->depth;
        break;
    case PEN_REGION_KIND_BUFFER:
    case PEN_REGION_KIND_IMAGE1D:
    case PEN_REGION_KIND_IMAGE1D_BUFFER:
        break;
    }
}

int pen_box_in_image(enum pen_region_kind kind, const struct pen_image_desc *image, const uint64_t origin[3],
                     const uint64_t extent[3])
{
    uint64_t whole[3];
    pen_image_extent(kind, image, whole);
    for (int i = 0; i < 3; i++)
        if (!extent[i] || !pen_range_within(origin[i], extent[i], whole[i]))
            return -PEN_EINVAL;
    return 0;
}

/* ---- formats: the table "valid combinations" of the OpenCL specification, values of CL/cl.h ----------------- */

enum {
    SNORM8 = 0x10D0,
    SNORM16,
    UNORM8,
    UNORM16,
    SHORT_565,
    SHORT_555,
    INT_101010,
    SIGNED8,
    SIGNED16,
    SIGNED32,
    UNSIGNED8,
    UNSIGNED16,
    UNSIGNED32,
    HALF,
    FLOAT,
    INT24,
    INT_101010_2
};

static uint32_t channels_of(uint32_t order)
{
    switch (order) {
    case 0x10B0: /* R */
    case 0x10B1: /* A */
    case 0x10B8: /* INTENSITY */
    case 0x10B9: /* LUMINANCE */
    case 0x10BA: /* Rx */
    case 0x10BD: /* DEPTH */
    case 0x10BE: /* DEPTH_STENCIL */
        return 1;
    case 0x10B2: /* RG */
    case 0x10B3: /* RA */
    case 0x10BB: /* RGx */
        return 2;
    case 0x10B4: /* RGB */
    case 0x10BC: /* RGBx */
    case 0x10BF: /* sRGB */
        return 3;
    case 0x10B5: /* RGBA */
    case 0x10B6: /* BGRA */
    case 0x10B7: /* ARGB */
    case 0x10C0: /* sRGBx */
    case 0x10C1: /* sRGBA */
    case 0x10C2: /* sBGRA */
    case 0x10C3: /* ABGR */
        return 4;
    default:
        return 0;
    }
}

uint32_t pen_image_element_bytes(uint32_t order, uint32_t type)
{
    uint32_t channels = channels_of(order);
    if (!channels)
        return 0;
    switch (type) {
    case SNORM8:
    case UNORM8:
    case SIGNED8:
    case UNSIGNED8:
        return channels;
    case SNORM16:
    case UNORM16:
    case SIGNED16:
    case UNSIGNED16:
    case HALF:
        return channels * 2;
    case SIGNED32:
    case UNSIGNED32:
        return channels * 4;
    case FLOAT:
        return order == 0x10BE ? 8 : channels * 4;
    case SHORT_565:
    case SHORT_555:
        return channels == 3 ? 2 : 0;
    case INT_101010:
        return channels == 3 ? 4 : 0;
    case INT_101010_2:
        return order == 0x10B5 ? 4 : 0;
    case INT24:
        return order == 0x10BE ? 4 : 0;
    default:
        return 0;
    }
}

int pen_box_of_image(enum pen_region_kind kind, const struct pen_image_desc *image, const uint64_t extent[3],
                     struct pen_box *box, uint64_t *out_end)
{
    uint64_t row_bytes = extent[0] * image->element_bytes, rows = extent[1];
    if (!box->row_pitch)
        box->row_pitch = row_bytes;
    if (kind == PEN_REGION_KIND_IMAGE1D_ARRAY) {
        if (!box->slice_pitch)
            box->slice_pitch = box->row_pitch;
        /* Where a row is a slice, either pitch is the step. */
        box->row_pitch = box->slice_pitch;
    } else if (!box->slice_pitch && !pen_multiply(box->row_pitch, rows, &box->slice_pitch)) {
        return -PEN_EINVAL;
    }
    return pen_box_end(box, row_bytes, rows, extent[2], out_end);
}

int pen_image_check(enum pen_region_kind kind, const struct pen_image_desc *image, uint64_t *out_bytes)
{
    uint64_t extent[3], bytes;
    pen_image_extent(kind, image, extent);
    if (kind == PEN_REGION_KIND_BUFFER || !image->element_bytes ||
        image->element_bytes != pen_image_element_bytes(image->channel_order, image->channel_type))
        return -PEN_EINVAL;
    for (int i = 0; i < 3; i++)
        if (!extent[i] || extent[i] > MAX_PIXELS)
            return -PEN_EINVAL;
    struct pen_box box = {.row_pitch = image->row_pitch, .slice_pitch = image->slice_pitch};
    int rc = pen_box_of_image(kind, image, extent, &box, &bytes);
    if (rc)
        return rc;
    *out_bytes = bytes;
    return 0;
}
