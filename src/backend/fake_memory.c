/* backend/fake_memory.c - the fake's memory: host memory, counted against a limit; boxes of it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#include "backend/fake.h"

int pen_fake_memory_create(struct pen_backend_domain *domain, const struct pen_backend_memory_desc *desc,
                           struct pen_backend_memory **out)
{
    struct pen_backend_memory *parent = desc->parent;
    int rc = pen_fake_fault(PEN_FAKE_MEMORY, NULL);

    if (rc)
        return rc;
    if (!desc->size)
        return -PEN_EBUFFERSIZE;
    if (desc->host && pen_fake.indirect)
        return -PEN_EUNSUPPORTED;
    if (parent && (desc->parent_offset > parent->size || desc->size > parent->size - desc->parent_offset))
        return -PEN_EINVAL;
    struct pen_backend_memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return -PEN_ENOMEM;
    *memory = (struct pen_backend_memory){
        .domain = domain,
        .kind = desc->kind,
        .size = desc->size,
        .image = desc->image,
        .refs = 1,
    };
    pthread_mutex_lock(&pen_fake.lock);
    if (parent) {
        parent->refs++;
        memory->parent = parent;
        memory->bytes = parent->bytes + desc->parent_offset;
    } else if (desc->size > domain->memory_limit - domain->memory_used) {
        rc = -PEN_EDEVMEM;
    } else {
        memory->owned = !desc->host;
        memory->bytes = desc->host ? desc->host : calloc(1, desc->size);
        rc = memory->bytes ? 0 : -PEN_ENOMEM;
        domain->memory_used += rc ? 0 : desc->size;
    }
    pthread_mutex_unlock(&pen_fake.lock);
    if (rc) {
        free(memory);
        return rc;
    }
    *out = memory;
    return 0;
}

void pen_fake_memory_ref(struct pen_backend_memory *memory)
{
    pthread_mutex_lock(&pen_fake.lock);
    memory->refs++;
    pthread_mutex_unlock(&pen_fake.lock);
}

void pen_fake_memory_unref(struct pen_backend_memory *memory)
{
    while (memory) {
        struct pen_backend_memory *parent = memory->parent;
        pthread_mutex_lock(&pen_fake.lock);
        bool last = --memory->refs == 0;
        if (last && !parent)
            memory->domain->memory_used -= memory->size;
        pthread_mutex_unlock(&pen_fake.lock);
        if (!last)
            return;
        if (memory->owned)
            free(memory->bytes);
        if (memory->destroyed)
            memory->destroyed(memory->context);
        free(memory);
        memory = parent;
    }
}

void pen_fake_memory_destroy(struct pen_backend_memory *memory, void (*destroyed)(void *), void *context)
{
    if (!memory)
        return;
    memory->destroyed = destroyed;
    memory->context = context;
    pen_fake_memory_unref(memory);
}

/* ---- boxes --------------------------------------------------------------------------------------------- */

size_t pen_fake_element(const struct pen_backend_memory *memory)
{
    return memory->kind == PEN_REGION_KIND_BUFFER ? 1 : memory->image.element_bytes;
}

static size_t or_tight(uint64_t pitch, size_t tight)
{
    return pitch ? pitch : tight;
}

int pen_fake_side_of(const struct pen_backend_memory *memory, const struct pen_box *box, const uint64_t extent[3],
                     size_t element_bytes, struct pen_fake_side *out)
{
    const struct pen_image_desc *image = &memory->image;
    bool buffer = memory->kind == PEN_REGION_KIND_BUFFER;
    struct pen_fake_side side = {.start = memory->bytes};
    size_t width = extent[0] * element_bytes;

    if (!extent[0] || !extent[1] || !extent[2] || width > memory->size)
        return -PEN_EINVAL;
    if (buffer) {
        side.row = or_tight(box->row_pitch, width);
        side.slice = or_tight(box->slice_pitch, side.row * extent[1]);
    } else {
        side.row = or_tight(image->row_pitch, image->width * element_bytes);
        side.slice = or_tight(image->slice_pitch, side.row * (image->height ? image->height : 1));
        if (memory->kind == PEN_REGION_KIND_IMAGE1D_ARRAY) /* its second coordinate counts slices */
            side.row = or_tight(image->slice_pitch, side.row);
    }
    size_t first =
        box->origin[0] * (buffer ? 1 : element_bytes) + box->origin[1] * side.row + box->origin[2] * side.slice;
    size_t last = first + (extent[1] - 1) * side.row + (extent[2] - 1) * side.slice + width;
    if (first > memory->size || last > memory->size || last < first)
        return -PEN_EINVAL;
    side.start += first;
    *out = side;
    return 0;
}

struct pen_fake_side pen_fake_host_side(void *bytes, const struct pen_box *box, const uint64_t extent[3],
                                        size_t element_bytes)
{
    struct pen_fake_side side = {.row = or_tight(box->row_pitch, extent[0] * element_bytes)};

    side.slice = or_tight(box->slice_pitch, side.row * extent[1]);
    side.start = (unsigned char *)bytes + box->origin[0] + box->origin[1] * side.row + box->origin[2] * side.slice;
    return side;
}

void pen_fake_move(struct pen_fake_side to, struct pen_fake_side from, const uint64_t extent[3], size_t element_bytes)
{
    for (uint64_t z = 0; z < extent[2]; z++)
        for (uint64_t y = 0; y < extent[1]; y++)
            memmove(to.start + z * to.slice + y * to.row, from.start + z * from.slice + y * from.row,
                    extent[0] * element_bytes);
}

/* ---- fills --------------------------------------------------------------------------------------------- */

static size_t channel_bytes(uint32_t type)
{
    switch (type) {
    case CL_UNORM_INT8:
    case CL_SIGNED_INT8:
    case CL_UNSIGNED_INT8:
        return 1;
    case CL_SIGNED_INT16:
    case CL_UNSIGNED_INT16:
        return 2;
    case CL_SIGNED_INT32:
    case CL_UNSIGNED_INT32:
    case CL_FLOAT:
        return 4;
    default:
        return 0;
    }
}

int pen_fake_pixel(const struct pen_backend_memory *memory, const void *pattern, size_t size, unsigned char out[128],
                   size_t *out_size)
{
    uint32_t channels[4], type = memory->image.channel_type;
    size_t bytes = channel_bytes(type), element = memory->image.element_bytes;

    if (memory->kind == PEN_REGION_KIND_BUFFER) {
        if (!size || size > 128)
            return -PEN_EINVAL;
        memcpy(out, pattern, size);
        *out_size = size;
        return 0;
    }
    if (size < sizeof channels || !bytes || element / bytes > 4)
        return -PEN_EIMAGEFORMAT;
    memcpy(channels, pattern, sizeof channels);
    if (memory->image.channel_order == CL_BGRA) {
        uint32_t red = channels[0];
        channels[0] = channels[2];
        channels[2] = red;
    }
    for (size_t i = 0; i < element / bytes; i++) {
        if (type == CL_UNORM_INT8) {
            float value;
            memcpy(&value, &channels[i], sizeof value);
            channels[i] = (uint32_t)lrintf(fminf(fmaxf(value, 0), 1) * 255);
        }
        memcpy(out + i * bytes, &channels[i], bytes); /* little-endian: the low bytes */
    }
    *out_size = element;
    return 0;
}
