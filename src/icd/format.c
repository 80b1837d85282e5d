#include "icd/format.h"

#include <stdint.h>
#include <string.h>

/* Which types go with an order: table "valid combinations" of the specification. */
enum { ANY = 1, NORMALIZED_OR_FLOAT = 2, BYTES = 4, PACKED_RGB = 8, UNORM8 = 16, DEPTH_TYPES = 32, STENCIL_TYPES = 64 };

static const struct order {
    cl_channel_order order;
    unsigned char channels; /* stored */
    signed char from[4];    /* which of R, G, B, A each stored channel holds; -1: padding */
    unsigned char types;    /* the enum above */
} orders[] = {
    {CL_R, 1, {0}, ANY},
    {CL_A, 1, {3}, ANY},
    {CL_RG, 2, {0, 1}, ANY},
    {CL_RA, 2, {0, 3}, ANY},
    {CL_RGB, 3, {0, 1, 2}, ANY},
    {CL_RGBA, 4, {0, 1, 2, 3}, ANY},
    {CL_BGRA, 4, {2, 1, 0, 3}, BYTES},
    {CL_ARGB, 4, {3, 0, 1, 2}, BYTES},
    {CL_ABGR, 4, {3, 2, 1, 0}, BYTES},
    {CL_INTENSITY, 1, {0}, NORMALIZED_OR_FLOAT},
    {CL_LUMINANCE, 1, {0}, NORMALIZED_OR_FLOAT},
    {CL_Rx, 1, {0}, ANY},
    {CL_RGx, 2, {0, 1}, ANY},
    {CL_RGBx, 3, {0, 1, 2}, PACKED_RGB},
    {CL_DEPTH, 1, {0}, DEPTH_TYPES},
    {CL_DEPTH_STENCIL, 1, {0}, STENCIL_TYPES},
    {CL_sRGB, 3, {0, 1, 2}, UNORM8},
    {CL_sRGBx, 4, {0, 1, 2, -1}, UNORM8},
    {CL_sRGBA, 4, {0, 1, 2, 3}, UNORM8},
    {CL_sBGRA, 4, {2, 1, 0, 3}, UNORM8},
};

static const struct order *order_of(cl_channel_order order)
{
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        if (orders[i].order == order)
            return &orders[i];
    return NULL;
}

/* Bytes of one channel; of the whole pixel when *out_packed. */
static size_t type_bytes(cl_channel_type type, bool *out_packed)
{
    *out_packed = false;
    switch (type) {
    case CL_SNORM_INT8:
    case CL_UNORM_INT8:
    case CL_SIGNED_INT8:
    case CL_UNSIGNED_INT8:
        return 1;
    case CL_SNORM_INT16:
    case CL_UNORM_INT16:
    case CL_SIGNED_INT16:
    case CL_UNSIGNED_INT16:
    case CL_HALF_FLOAT:
        return 2;
    case CL_SIGNED_INT32:
    case CL_UNSIGNED_INT32:
    case CL_FLOAT:
        return 4;
    case CL_UNORM_SHORT_565:
    case CL_UNORM_SHORT_555:
        *out_packed = true;
        return 2;
    case CL_UNORM_INT_101010:
    case CL_UNORM_INT_101010_2:
    case CL_UNORM_INT24:
        *out_packed = true;
        return 4;
    default:
        return 0;
    }
}

static bool type_fits(const struct order *order, cl_channel_type type)
{
    switch (type) {
    case CL_UNORM_SHORT_565:
    case CL_UNORM_SHORT_555:
    case CL_UNORM_INT_101010:
        return order->order == CL_RGB || order->order == CL_RGBx;
    case CL_UNORM_INT_101010_2:
        return order->order == CL_RGBA;
    case CL_UNORM_INT24:
        return order->order == CL_DEPTH_STENCIL;
    default:
        break;
    }
    bool packed;
    switch (order->types) {
    case BYTES:
        return type_bytes(type, &packed) == 1;
    case NORMALIZED_OR_FLOAT:
        return type == CL_UNORM_INT8 || type == CL_UNORM_INT16 || type == CL_SNORM_INT8 || type == CL_SNORM_INT16 ||
               type == CL_HALF_FLOAT || type == CL_FLOAT;
    case PACKED_RGB:
        return false;
    case UNORM8:
        return type == CL_UNORM_INT8;
    case DEPTH_TYPES:
        return type == CL_UNORM_INT16 || type == CL_FLOAT;
    case STENCIL_TYPES:
        return type == CL_FLOAT;
    default:
        return true;
    }
}

size_t pen_format_bytes(const cl_image_format *format)
{
    const struct order *order = order_of(format->image_channel_order);
    bool packed;
    size_t bytes = type_bytes(format->image_channel_data_type, &packed);
    if (!order || bytes == 0 || !type_fits(order, format->image_channel_data_type))
        return 0;
    if (order->order == CL_DEPTH_STENCIL && format->image_channel_data_type == CL_FLOAT)
        return 8; /* the depth, and 8 bits of stencil in a word of its own */
    return packed ? bytes : bytes * order->channels;
}

/* One channel of a colour; false when it is not one of the type's values. */
static bool pack_channel(cl_channel_type type, uint32_t channel, unsigned char *out)
{
    const int32_t number = (int32_t)channel;
    switch (type) {
    case CL_SIGNED_INT8:
        *out = (unsigned char)channel;
        return number >= INT8_MIN && number <= INT8_MAX;
    case CL_UNSIGNED_INT8:
        *out = (unsigned char)channel;
        return channel <= UINT8_MAX;
    case CL_SIGNED_INT16:
    case CL_UNSIGNED_INT16: {
        const uint16_t small = (uint16_t)channel;
        memcpy(out, &small, sizeof small);
        return type == CL_UNSIGNED_INT16 ? channel <= UINT16_MAX : number >= INT16_MIN && number <= INT16_MAX;
    }
    case CL_SIGNED_INT32:
    case CL_UNSIGNED_INT32:
    case CL_FLOAT:
        memcpy(out, &channel, sizeof channel);
        return true;
    default:
        return false;
    }
}

size_t pen_format_pack(const cl_image_format *format, const uint32_t color[4],
                       unsigned char out_pixel[PEN_ELEMENT_BYTES])
{
    const struct order *order = order_of(format->image_channel_order);
    const size_t pixel = pen_format_bytes(format);
    if (pixel == 0 || order->order == CL_DEPTH_STENCIL)
        return 0;
    const size_t bytes = pixel / order->channels;
    for (size_t i = 0; i < order->channels; i++)
        if (order->from[i] < 0 ||
            !pack_channel(format->image_channel_data_type, color[order->from[i]], out_pixel + i * bytes))
            return 0;
    return pixel;
}
