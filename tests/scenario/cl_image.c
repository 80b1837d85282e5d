/* Images of every kind: formats, creation, transfers, copies, fills, maps, host pointers, views; samplers; every call's
 * errors. Usage: cl_check.h. */
#include "cl_check.h"

enum { KINDS = 5 };

/* Extent as clEnqueueReadImage takes it. */
struct kind {
    const char *name;
    cl_mem_object_type type;
    size_t extent[3];
};
static const struct kind kinds[KINDS] = {
    {"1D", CL_MEM_OBJECT_IMAGE1D, {37, 1, 1}},  {"1D array", CL_MEM_OBJECT_IMAGE1D_ARRAY, {21, 6, 1}},
    {"2D", CL_MEM_OBJECT_IMAGE2D, {33, 17, 1}}, {"2D array", CL_MEM_OBJECT_IMAGE2D_ARRAY, {19, 11, 4}},
    {"3D", CL_MEM_OBJECT_IMAGE3D, {13, 9, 5}},
};

static const size_t zero[3];

static cl_image_desc desc_of(cl_mem_object_type type, const size_t extent[3])
{
    cl_image_desc desc = {.image_type = type, .image_width = extent[0]};
    switch (type) {
    case CL_MEM_OBJECT_IMAGE1D_ARRAY:
        desc.image_array_size = extent[1];
        break;
    case CL_MEM_OBJECT_IMAGE2D:
        desc.image_height = extent[1];
        break;
    case CL_MEM_OBJECT_IMAGE2D_ARRAY:
        desc.image_height = extent[1];
        desc.image_array_size = extent[2];
        break;
    case CL_MEM_OBJECT_IMAGE3D:
        desc.image_height = extent[1];
        desc.image_depth = extent[2];
        break;
    default:
        break;
    }
    return desc;
}

static cl_mem image_of(struct world *w, cl_mem_flags flags, const cl_image_format *format, cl_mem_object_type type,
                       const size_t extent[3], void *host)
{
    cl_int status;
    const cl_image_desc desc = desc_of(type, extent);
    cl_mem image = clCreateImage(w->context, flags, format, &desc, host, &status);
    EXPECT_OK(status);
    return image;
}

static size_t element_of(cl_mem image)
{
    size_t size = 0;
    EXPECT_OK(clGetImageInfo(image, CL_IMAGE_ELEMENT_SIZE, sizeof size, &size, NULL));
    return size;
}

static const cl_image_format rgba8 = {CL_RGBA, CL_UNSIGNED_INT8}, rgbaf = {CL_RGBA, CL_FLOAT};

static void number(unsigned char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((i * 2654435761u + seed) >> 7);
}

/* Tight images as bytes. */
static void copy_box(unsigned char *to, const size_t to_extent[3], const size_t to_origin[3], const unsigned char *from,
                     const size_t from_extent[3], const size_t from_origin[3], const size_t region[3], size_t element)
{
    for (size_t z = 0; z < region[2]; z++)
        for (size_t y = 0; y < region[1]; y++)
            memcpy(
                to + (((to_origin[2] + z) * to_extent[1] + to_origin[1] + y) * to_extent[0] + to_origin[0]) * element,
                from +
                    (((from_origin[2] + z) * from_extent[1] + from_origin[1] + y) * from_extent[0] + from_origin[0]) *
                        element,
                region[0] * element);
}

static size_t volume(const size_t extent[3])
{
    return extent[0] * extent[1] * extent[2];
}

/* A box strictly inside, as far as the kind has room. */
static void inner(const size_t extent[3], size_t origin[3], size_t region[3])
{
    for (int i = 0; i < 3; i++) {
        origin[i] = extent[i] > 3 ? 1 : 0;
        region[i] = extent[i] > 3 ? extent[i] - 2 : extent[i];
    }
}

/* Maps of 1D arrays are beyond rusticl. */
static bool beyond(struct world *w, const struct kind *kind)
{
    return w->fragile && kind->type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
}

/* ---- formats ------------------------------------------------------------------------------------------- */

static void formats(struct world *w)
{
    cl_uint count = 0;
    cl_image_format list[256];
    for (int k = 0; k < KINDS; k++) {
        EXPECT_OK(clGetSupportedImageFormats(w->context, CL_MEM_READ_WRITE, kinds[k].type, 256, list, &count));
        EXPECT(count > 0 && count <= 256);
        for (cl_uint i = 0; i < count && i < 256; i++) {
            cl_image_format format = {0, 0};
            cl_mem image = image_of(w, CL_MEM_READ_WRITE, &list[i], kinds[k].type, kinds[k].extent, NULL);
            if (!image) {
                printf("    %s, order %#x, type %#x\n", kinds[k].name, list[i].image_channel_order,
                       list[i].image_channel_data_type);
                continue;
            }
            EXPECT_OK(clGetImageInfo(image, CL_IMAGE_FORMAT, sizeof format, &format, NULL));
            EXPECT(memcmp(&format, &list[i], sizeof format) == 0);
            size_t element = element_of(image), size = volume(kinds[k].extent) * element;
            unsigned char *bytes = malloc(size), *back = calloc(1, size);
            number(bytes, size, i);
            EXPECT_OK(clEnqueueWriteImage(w->queue, image, CL_TRUE, zero, kinds[k].extent, 0, 0, bytes, 0, NULL, NULL));
            EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, kinds[k].extent, 0, 0, back, 0, NULL, NULL));
            if (memcmp(bytes, back, size) != 0) {
                expectations_failed++;
                printf("    %s, order %#x, type %#x does not come back\n", kinds[k].name, list[i].image_channel_order,
                       list[i].image_channel_data_type);
            }
            free(bytes);
            free(back);
            EXPECT_OK(clReleaseMemObject(image));
        }
    }
    cl_uint fewer = 0;
    EXPECT_OK(clGetSupportedImageFormats(w->context, 0, CL_MEM_OBJECT_IMAGE2D, 1, list, &fewer));
    EXPECT(fewer > 1);
    EXPECT_OK(clGetSupportedImageFormats(w->context, CL_MEM_READ_ONLY, CL_MEM_OBJECT_IMAGE2D, 0, NULL, &count));
    EXPECT(count > 0);
    EXPECT_STATUS(clGetSupportedImageFormats(NULL, 0, CL_MEM_OBJECT_IMAGE2D, 0, NULL, &count), CL_INVALID_CONTEXT);
    EXPECT_STATUS(clGetSupportedImageFormats(w->context, 0, CL_MEM_OBJECT_BUFFER, 0, NULL, &count), CL_INVALID_VALUE);
    EXPECT_STATUS(clGetSupportedImageFormats(w->context, 0, CL_MEM_OBJECT_IMAGE2D, 0, list, &count), CL_INVALID_VALUE);
}

/* ---- creation, info ------------------------------------------------------------------------------------ */

static void creation_errors(struct world *w)
{
    static char host[4096];
    static const size_t extent[3] = {16, 8, 1};
    cl_image_desc desc = desc_of(CL_MEM_OBJECT_IMAGE2D, extent), bad;
    cl_image_format format = {CL_RGBA, 0x10ff};
    EXPECT_REFUSED(clCreateImage(NULL, 0, &rgba8, &desc, NULL, &status), CL_INVALID_CONTEXT);
    EXPECT_REFUSED(clCreateImage(w->context, CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY, &rgba8, &desc, NULL, &status),
                   CL_INVALID_VALUE);
    EXPECT_REFUSED(clCreateImage(w->context, 0, NULL, &desc, NULL, &status), CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
    if (w->strict)
        EXPECT_REFUSED(clCreateImage(w->context, 0, &format, &desc, NULL, &status), CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
    EXPECT_REFUSED(clCreateImage(w->context, 0, &rgba8, NULL, NULL, &status), CL_INVALID_IMAGE_DESCRIPTOR);
    EXPECT_REFUSED(clCreateImage(w->context, CL_MEM_USE_HOST_PTR, &rgba8, &desc, NULL, &status), CL_INVALID_HOST_PTR);
    EXPECT_REFUSED(clCreateImage(w->context, 0, &rgba8, &desc, host, &status), CL_INVALID_HOST_PTR);
    bad = desc;
    bad.image_type = CL_MEM_OBJECT_BUFFER;
    if (w->strict)
        EXPECT_REFUSED(clCreateImage(w->context, 0, &rgba8, &bad, NULL, &status), CL_INVALID_IMAGE_DESCRIPTOR);
    bad = desc;
    bad.num_mip_levels = 1;
    if (!w->pocl)
        EXPECT_REFUSED(clCreateImage(w->context, 0, &rgba8, &bad, NULL, &status), CL_INVALID_IMAGE_DESCRIPTOR);
    bad = desc;
    bad.image_row_pitch = 128; /* with no memory that would have it */
    if (!w->pocl)
        EXPECT_REFUSED(clCreateImage(w->context, 0, &rgba8, &bad, NULL, &status), CL_INVALID_IMAGE_DESCRIPTOR);
    bad.image_row_pitch = 60; /* shorter than a row */
    if (w->strict)
        EXPECT_REFUSED(clCreateImage(w->context, CL_MEM_COPY_HOST_PTR, &rgba8, &bad, host, &status),
                       CL_INVALID_IMAGE_DESCRIPTOR);
    bad.image_row_pitch = 66; /* not a multiple of the element's size */
    if (w->strict)
        EXPECT_REFUSED(clCreateImage(w->context, CL_MEM_COPY_HOST_PTR, &rgba8, &bad, host, &status),
                       CL_INVALID_IMAGE_DESCRIPTOR);
    size_t most = 0;
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_IMAGE2D_MAX_WIDTH, sizeof most, &most, NULL));
    bad = desc;
    bad.image_width = most + 1;
    if (!w->pocl)
        EXPECT_REFUSED(clCreateImage(w->context, 0, &rgba8, &bad, NULL, &status), CL_INVALID_IMAGE_SIZE);
    bad = desc;
    bad.image_type = CL_MEM_OBJECT_IMAGE1D_BUFFER; /* of no buffer */
    if (w->strict)
        EXPECT_REFUSED(clCreateImage(w->context, 0, &rgba8, &bad, NULL, &status), CL_INVALID_IMAGE_DESCRIPTOR);
}

static size_t size_info(cl_mem image, cl_image_info key)
{
    size_t value = 99999;
    EXPECT_OK(clGetImageInfo(image, key, sizeof value, &value, NULL));
    return value;
}

static void info(struct world *w)
{
    for (int k = 0; k < KINDS; k++) {
        const size_t *extent = kinds[k].extent;
        cl_mem image = image_of(w, CL_MEM_READ_ONLY, &rgba8, kinds[k].type, extent, NULL);
        const cl_image_desc desc = desc_of(kinds[k].type, extent);
        EXPECT(size_info(image, CL_IMAGE_WIDTH) == desc.image_width);
        if (!w->fragile || desc.image_height) /* rusticl says 1 where there is none */
            EXPECT(size_info(image, CL_IMAGE_HEIGHT) == desc.image_height);
        EXPECT(size_info(image, CL_IMAGE_DEPTH) == desc.image_depth);
        EXPECT(size_info(image, CL_IMAGE_ARRAY_SIZE) == desc.image_array_size);
        EXPECT(size_info(image, CL_IMAGE_ROW_PITCH) == extent[0] * 4);
        size_t slice = kinds[k].type == CL_MEM_OBJECT_IMAGE1D || kinds[k].type == CL_MEM_OBJECT_IMAGE2D ? 0
                       : kinds[k].type == CL_MEM_OBJECT_IMAGE1D_ARRAY                                   ? extent[0] * 4
                                                                      : extent[0] * extent[1] * 4;
        if (!w->fragile)
            EXPECT(size_info(image, CL_IMAGE_SLICE_PITCH) == slice);
        cl_uint levels = 9, samples = 9;
        cl_mem buffer = image;
        EXPECT_OK(clGetImageInfo(image, CL_IMAGE_NUM_MIP_LEVELS, sizeof levels, &levels, NULL));
        EXPECT_OK(clGetImageInfo(image, CL_IMAGE_NUM_SAMPLES, sizeof samples, &samples, NULL));
        EXPECT_OK(clGetImageInfo(image, CL_IMAGE_BUFFER, sizeof buffer, &buffer, NULL));
        EXPECT(levels == 0 && samples == 0 && buffer == NULL);
        EXPECT_STATUS(clGetImageInfo(image, 0x9999, sizeof levels, &levels, NULL), CL_INVALID_VALUE);
        EXPECT_STATUS(clGetImageInfo(image, CL_IMAGE_WIDTH, 2, &levels, NULL), CL_INVALID_VALUE);
        cl_mem_object_type type = 0;
        size_t size = 0;
        EXPECT_OK(clGetMemObjectInfo(image, CL_MEM_TYPE, sizeof type, &type, NULL));
        EXPECT_OK(clGetMemObjectInfo(image, CL_MEM_SIZE, sizeof size, &size, NULL));
        EXPECT(type == kinds[k].type && size >= volume(extent) * 4);
        EXPECT_OK(clReleaseMemObject(image));
    }
    cl_int status;
    size_t value;
    cl_mem buffer = clCreateBuffer(w->context, 0, 64, NULL, &status);
    EXPECT_OK(status);
    if (w->strict)
        EXPECT_STATUS(clGetImageInfo(buffer, CL_IMAGE_WIDTH, sizeof value, &value, NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clGetImageInfo(NULL, CL_IMAGE_WIDTH, sizeof value, &value, NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_OK(clReleaseMemObject(buffer));
}

static void legacy(struct world *w)
{
    cl_int status;
    static unsigned char bytes[16 * 8 * 4], back[sizeof bytes];
    number(bytes, sizeof bytes, 5);
    static const size_t flat[3] = {16, 8, 1}, deep[3] = {8, 4, 4};
    cl_mem image = clCreateImage2D(w->context, CL_MEM_COPY_HOST_PTR, &rgba8, 16, 8, 0, bytes, &status);
    EXPECT_OK(status);
    EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, flat, 0, 0, back, 0, NULL, NULL));
    EXPECT(memcmp(bytes, back, sizeof bytes) == 0);
    EXPECT_OK(clReleaseMemObject(image));
    memset(back, 0, sizeof back);
    image = clCreateImage3D(w->context, CL_MEM_COPY_HOST_PTR, &rgba8, 8, 4, 4, 0, 0, bytes, &status);
    EXPECT_OK(status);
    EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, deep, 0, 0, back, 0, NULL, NULL));
    EXPECT(memcmp(bytes, back, sizeof bytes) == 0);
    EXPECT_OK(clReleaseMemObject(image));
    if (w->strict) { /* pitches, too, are sizes here */
        EXPECT_REFUSED(clCreateImage2D(w->context, 0, &rgba8, 0, 8, 0, NULL, &status), CL_INVALID_IMAGE_SIZE);
        EXPECT_REFUSED(clCreateImage2D(w->context, CL_MEM_COPY_HOST_PTR, &rgba8, 16, 8, 60, bytes, &status),
                       CL_INVALID_IMAGE_SIZE);
        EXPECT_REFUSED(clCreateImage2D(w->context, 0, &rgba8, 16, 8, 64, NULL, &status), CL_INVALID_IMAGE_SIZE);
        EXPECT_REFUSED(clCreateImage3D(w->context, CL_MEM_COPY_HOST_PTR, &rgba8, 8, 4, 4, 32, 130, bytes, &status),
                       CL_INVALID_IMAGE_SIZE);
        EXPECT_REFUSED(clCreateImage3D(w->context, 0, NULL, 8, 4, 4, 0, 0, NULL, &status),
                       CL_INVALID_IMAGE_FORMAT_DESCRIPTOR);
    }
}

/* ---- transfers ----------------------------------------------------------------------------------------- */

static void read_write(struct world *w)
{
    for (int k = 0; k < KINDS; k++) {
        const size_t *extent = kinds[k].extent;
        size_t origin[3], region[3], size = volume(extent) * 4;
        unsigned char *model = malloc(size), *back = malloc(size), *part = calloc(4, size), *host = calloc(4, size);
        inner(extent, origin, region);
        number(model, size, 1);
        cl_mem image = image_of(w, 0, &rgba8, kinds[k].type, extent, NULL);
        EXPECT_OK(clEnqueueWriteImage(w->queue, image, CL_TRUE, zero, extent, 0, 0, model, 0, NULL, NULL));
        /* A part, tight. */
        EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, origin, region, 0, 0, part, 0, NULL, NULL));
        copy_box(host, region, zero, model, extent, origin, region, 4);
        EXPECT(memcmp(part, host, volume(region) * 4) == 0);
        /* A part from memory with pitches. A 1D array's layers are slices of one row. */
        bool layers = kinds[k].type == CL_MEM_OBJECT_IMAGE1D_ARRAY;
        size_t row = (region[0] + 3) * 4, slice = layers ? row : row * (region[1] + 2);
        bool sliced = layers || region[2] > 1;
        number(host, 4 * size, 2);
        EXPECT_OK(clEnqueueWriteImage(w->queue, image, CL_FALSE, origin, region, row, sliced ? slice : 0, host, 0, NULL,
                                      NULL));
        EXPECT_OK(clFinish(w->queue));
        for (size_t z = 0; z < region[2]; z++)
            for (size_t y = 0; y < region[1]; y++)
                memcpy(model + (((origin[2] + z) * extent[1] + origin[1] + y) * extent[0] + origin[0]) * 4,
                       host + z * slice + y * row, region[0] * 4);
        EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_FALSE, zero, extent, 0, 0, back, 0, NULL, NULL));
        EXPECT_OK(clFinish(w->queue));
        EXPECT(memcmp(model, back, size) == 0);
        /* And back into such memory; what lies between the rows stays. */
        memset(part, 0xab, 4 * size);
        EXPECT_OK(
            clEnqueueReadImage(w->queue, image, CL_TRUE, origin, region, row, sliced ? slice : 0, part, 0, NULL, NULL));
        bool right = true;
        for (size_t z = 0; z < region[2]; z++)
            for (size_t y = 0; y < region[1]; y++)
                right &= memcmp(part + z * slice + y * row, host + z * slice + y * row, region[0] * 4) == 0 &&
                         part[z * slice + y * row + region[0] * 4] == 0xab;
        EXPECT(right);
        EXPECT_OK(clReleaseMemObject(image));
        free(model);
        free(back);
        free(part);
        free(host);
    }
}

static void transfer_errors(struct world *w)
{
    cl_int status;
    static char host[65536];
    static const size_t extent[3] = {16, 8, 1}, empty[3] = {16, 0, 1}, deep[3] = {16, 8, 2}, one[3] = {1, 0, 0},
                        third[3] = {0, 0, 1};
    cl_mem image = image_of(w, 0, &rgba8, CL_MEM_OBJECT_IMAGE2D, extent, NULL);
    cl_mem buffer = clCreateBuffer(w->context, 0, 512, NULL, &status);
    EXPECT_OK(status);
    cl_command_queue q = w->queue;
    EXPECT_STATUS(clEnqueueReadImage(NULL, image, CL_TRUE, zero, extent, 0, 0, host, 0, NULL, NULL),
                  CL_INVALID_COMMAND_QUEUE);
    EXPECT_STATUS(clEnqueueReadImage(q, NULL, CL_TRUE, zero, extent, 0, 0, host, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
    if (!w->fragile)
        EXPECT_STATUS(clEnqueueReadImage(q, buffer, CL_TRUE, zero, extent, 0, 0, host, 0, NULL, NULL),
                      CL_INVALID_MEM_OBJECT);
    EXPECT_STATUS(clEnqueueReadImage(q, image, CL_TRUE, zero, extent, 0, 0, NULL, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadImage(q, image, CL_TRUE, NULL, extent, 0, 0, host, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadImage(q, image, CL_TRUE, zero, NULL, 0, 0, host, 0, NULL, NULL), CL_INVALID_VALUE);
    if (w->strict)
        EXPECT_STATUS(clEnqueueReadImage(q, image, CL_TRUE, zero, empty, 0, 0, host, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadImage(q, image, CL_TRUE, zero, deep, 0, 0, host, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadImage(q, image, CL_TRUE, one, extent, 0, 0, host, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueReadImage(q, image, CL_TRUE, third, extent, 0, 0, host, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueWriteImage(q, image, CL_TRUE, one, extent, 0, 0, host, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueWriteImage(q, image, CL_TRUE, zero, extent, 0, 0, host, 1, NULL, NULL),
                  CL_INVALID_EVENT_WAIT_LIST);
    if (w->strict)
        EXPECT_STATUS(clEnqueueReadImage(q, image, CL_TRUE, zero, extent, 60, 0, host, 0, NULL, NULL),
                      CL_INVALID_VALUE);
    if (!w->fragile) {
        EXPECT_STATUS(clEnqueueCopyImageToBuffer(q, image, buffer, zero, extent, 1, 0, NULL, NULL), CL_INVALID_VALUE);
        EXPECT_STATUS(clEnqueueCopyBufferToImage(q, buffer, image, 1, zero, extent, 0, NULL, NULL), CL_INVALID_VALUE);
        EXPECT_STATUS(clEnqueueCopyImageToBuffer(q, image, buffer, one, extent, 0, 0, NULL, NULL), CL_INVALID_VALUE);
        EXPECT_STATUS(clEnqueueCopyImageToBuffer(q, buffer, image, zero, extent, 0, 0, NULL, NULL),
                      CL_INVALID_MEM_OBJECT);
    }
    EXPECT_OK(clReleaseMemObject(image));
    EXPECT_OK(clReleaseMemObject(buffer));
}

static void host_access(struct world *w)
{
    static char host[512];
    static const size_t extent[3] = {16, 8, 1};
    size_t row;
    cl_mem no_read = image_of(w, CL_MEM_HOST_WRITE_ONLY, &rgba8, CL_MEM_OBJECT_IMAGE2D, extent, NULL);
    cl_mem no_write = image_of(w, CL_MEM_HOST_READ_ONLY, &rgba8, CL_MEM_OBJECT_IMAGE2D, extent, NULL);
    EXPECT_STATUS(clEnqueueReadImage(w->queue, no_read, CL_TRUE, zero, extent, 0, 0, host, 0, NULL, NULL),
                  CL_INVALID_OPERATION);
    EXPECT_STATUS(clEnqueueWriteImage(w->queue, no_write, CL_TRUE, zero, extent, 0, 0, host, 0, NULL, NULL),
                  CL_INVALID_OPERATION);
    EXPECT_REFUSED(
        clEnqueueMapImage(w->queue, no_read, CL_TRUE, CL_MAP_READ, zero, extent, &row, NULL, 0, NULL, NULL, &status),
        CL_INVALID_OPERATION);
    EXPECT_REFUSED(
        clEnqueueMapImage(w->queue, no_write, CL_TRUE, CL_MAP_WRITE, zero, extent, &row, NULL, 0, NULL, NULL, &status),
        CL_INVALID_OPERATION);
    EXPECT_OK(clReleaseMemObject(no_read));
    EXPECT_OK(clReleaseMemObject(no_write));
}

/* ---- copy, fill ---------------------------------------------------------------------------------------- */

static void copies(struct world *w)
{
    for (int k = 0; k < KINDS; k++) {
        cl_int status;
        const size_t *extent = kinds[k].extent;
        size_t origin[3], region[3], size = volume(extent) * 16, target[3];
        unsigned char *a = malloc(size), *b = malloc(size), *back = malloc(size);
        inner(extent, origin, region);
        for (int i = 0; i < 3; i++)
            target[i] = extent[i] - region[i];
        number(a, size, 1);
        number(b, size, 2);
        cl_mem from = image_of(w, CL_MEM_COPY_HOST_PTR, &rgbaf, kinds[k].type, extent, a);
        cl_mem to = image_of(w, CL_MEM_COPY_HOST_PTR, &rgbaf, kinds[k].type, extent, b);
        EXPECT_OK(clEnqueueCopyImage(w->queue, from, to, origin, target, region, 0, NULL, NULL));
        copy_box(b, extent, target, a, extent, origin, region, 16);
        EXPECT_OK(clEnqueueReadImage(w->queue, to, CL_TRUE, zero, extent, 0, 0, back, 0, NULL, NULL));
        EXPECT(memcmp(b, back, size) == 0);

        cl_mem buffer = clCreateBuffer(w->context, CL_MEM_COPY_HOST_PTR, size, a, &status);
        EXPECT_OK(status);
        size_t part = volume(region) * 16, offset = size > part + 32 ? 32 : 0;
        EXPECT_OK(clEnqueueCopyImageToBuffer(w->queue, to, buffer, origin, region, offset, 0, NULL, NULL));
        copy_box(a + offset, region, zero, b, extent, origin, region, 16);
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, size, back, 0, NULL, NULL));
        EXPECT(memcmp(a, back, size) == 0);
        EXPECT_OK(clEnqueueCopyBufferToImage(w->queue, buffer, to, 0, target, region, 0, NULL, NULL));
        copy_box(b, extent, target, a, region, zero, region, 16);
        EXPECT_OK(clEnqueueReadImage(w->queue, to, CL_TRUE, zero, extent, 0, 0, back, 0, NULL, NULL));
        EXPECT(memcmp(b, back, size) == 0);
        EXPECT_OK(clReleaseMemObject(buffer));
        EXPECT_OK(clReleaseMemObject(from));
        EXPECT_OK(clReleaseMemObject(to));
        free(a);
        free(b);
        free(back);
    }
}

static void copy_errors(struct world *w)
{
    static const size_t extent[3] = {16, 8, 1}, region[3] = {8, 4, 1}, near[3] = {4, 2, 0}, beside[3] = {8, 0, 0},
                        far[3] = {9, 0, 0};
    cl_mem image = image_of(w, 0, &rgba8, CL_MEM_OBJECT_IMAGE2D, extent, NULL);
    cl_mem other = image_of(w, 0, &rgbaf, CL_MEM_OBJECT_IMAGE2D, extent, NULL);
    EXPECT_STATUS(clEnqueueCopyImage(w->queue, image, other, zero, zero, region, 0, NULL, NULL),
                  CL_IMAGE_FORMAT_MISMATCH);
    if (!w->fragile)
        EXPECT_STATUS(clEnqueueCopyImage(w->queue, image, image, zero, near, region, 0, NULL, NULL),
                      CL_MEM_COPY_OVERLAP);
    if (!w->pocl)
        EXPECT_STATUS(clEnqueueCopyImage(w->queue, image, image, zero, far, region, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_OK(clEnqueueCopyImage(w->queue, image, image, zero, beside, region, 0, NULL, NULL));
    EXPECT_STATUS(clEnqueueCopyImage(NULL, image, image, zero, beside, region, 0, NULL, NULL),
                  CL_INVALID_COMMAND_QUEUE);
    EXPECT_STATUS(clEnqueueCopyImage(w->queue, image, NULL, zero, beside, region, 0, NULL, NULL),
                  CL_INVALID_MEM_OBJECT);
    EXPECT_OK(clReleaseMemObject(image));
    EXPECT_OK(clReleaseMemObject(other));
}

static void fills(struct world *w)
{
    static const cl_uint color[4] = {1, 20, 255, 7};
    static const cl_float real[4] = {0.25f, -1.5f, 1e10f, 0.0f};
    for (int k = 0; k < KINDS; k++) {
        const size_t *extent = kinds[k].extent;
        size_t origin[3], region[3], size = volume(extent);
        inner(extent, origin, region);
        unsigned char *bytes = malloc(size * 4), *back = malloc(size * 4), *solid = malloc(size * 4);
        number(bytes, size * 4, 3);
        for (size_t i = 0; i < size * 4; i++)
            solid[i] = (unsigned char)color[i % 4];
        cl_mem image = image_of(w, CL_MEM_COPY_HOST_PTR, &rgba8, kinds[k].type, extent, bytes);
        EXPECT_OK(clEnqueueFillImage(w->queue, image, color, origin, region, 0, NULL, NULL));
        copy_box(bytes, extent, origin, solid, extent, zero, region, 4);
        EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, extent, 0, 0, back, 0, NULL, NULL));
        EXPECT(memcmp(bytes, back, size * 4) == 0);
        EXPECT_OK(clReleaseMemObject(image));
        free(bytes);
        free(back);
        free(solid);
        image = image_of(w, 0, &rgbaf, kinds[k].type, extent, NULL);
        cl_float *floats = malloc(size * 16);
        EXPECT_OK(clEnqueueFillImage(w->queue, image, real, zero, extent, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, extent, 0, 0, floats, 0, NULL, NULL));
        bool right = true;
        for (size_t i = 0; i < size; i++)
            right &= memcmp(floats + 4 * i, real, sizeof real) == 0;
        EXPECT(right);
        free(floats);
        EXPECT_OK(clReleaseMemObject(image));
    }
    static const size_t large[3] = {512, 300, 1};
    cl_mem image = image_of(w, 0, &rgba8, CL_MEM_OBJECT_IMAGE2D, large, NULL);
    unsigned char *back = malloc(volume(large) * 4);
    cl_event event = NULL;
    EXPECT_OK(clEnqueueFillImage(w->queue, image, color, zero, large, 0, NULL, &event));
    EXPECT_OK(clWaitForEvents(1, &event));
    EXPECT_OK(clReleaseEvent(event));
    EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, large, 0, 0, back, 0, NULL, NULL));
    bool right = true;
    for (size_t i = 0; i < volume(large) * 4; i++)
        right &= back[i] == color[i % 4];
    EXPECT(right);
    free(back);
    static const size_t far[3] = {1, 0, 0};
    EXPECT_STATUS(clEnqueueFillImage(w->queue, image, NULL, zero, large, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueFillImage(w->queue, image, color, far, large, 0, NULL, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clEnqueueFillImage(w->queue, NULL, color, zero, large, 0, NULL, NULL), CL_INVALID_MEM_OBJECT);
    EXPECT_OK(clReleaseMemObject(image));
}

/* Normalized, half and reordered channels: what a fill stores. */
static void fill_formats(struct world *w)
{
    static const struct {
        cl_image_format format;
        cl_float color[4];
        unsigned char pixel[8];
        size_t size;
    } cases[] = {
        {{CL_RGBA, CL_UNORM_INT8}, {0.0f, 1.0f, 0.2f, 2.0f}, {0, 255, 51, 255}, 4},
        {{CL_BGRA, CL_UNORM_INT8}, {0.0f, 1.0f, 0.2f, 0.4f}, {51, 255, 0, 102}, 4},
        {{CL_ARGB, CL_UNORM_INT8}, {0.0f, 1.0f, 0.2f, 0.4f}, {102, 0, 255, 51}, 4},
        {{CL_R, CL_UNORM_INT16}, {1.0f, 0, 0, 0}, {255, 255}, 2},
        {{CL_R, CL_HALF_FLOAT}, {1.0f, 0, 0, 0}, {0x00, 0x3c}, 2},
        {{CL_RGBA, CL_HALF_FLOAT}, {1.0f, -2.0f, 0.5f, 0.0f}, {0x00, 0x3c, 0x00, 0xc0, 0x00, 0x38, 0, 0}, 8},
        {{CL_A, CL_UNORM_INT8}, {0.0f, 0.0f, 0.0f, 1.0f}, {255}, 1},
        {{CL_RGBA, CL_SNORM_INT8}, {-1.0f, 1.0f, 0.0f, -1.0f}, {0x81, 0x7f, 0, 0x81}, 4},
    };
    static const size_t sizes[2][3] = {{8, 4, 1}, {256, 200, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int large = 0; large < 2; large++) {
            cl_int status;
            const size_t *extent = sizes[large];
            const cl_image_desc desc = desc_of(CL_MEM_OBJECT_IMAGE2D, extent);
            cl_mem image = clCreateImage(w->context, 0, &cases[i].format, &desc, NULL, &status);
            if (status == CL_IMAGE_FORMAT_NOT_SUPPORTED)
                continue;
            EXPECT_OK(status);
            unsigned char *back = malloc(volume(extent) * cases[i].size);
            EXPECT_OK(clEnqueueFillImage(w->queue, image, cases[i].color, zero, extent, 0, NULL, NULL));
            EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, extent, 0, 0, back, 0, NULL, NULL));
            bool right = true;
            for (size_t p = 0; p < volume(extent); p++)
                right &= memcmp(back + p * cases[i].size, cases[i].pixel, cases[i].size) == 0;
            if (!right) {
                expectations_failed++;
                printf("    order %#x type %#x, %s: %02x %02x %02x %02x\n", cases[i].format.image_channel_order,
                       cases[i].format.image_channel_data_type, large ? "large" : "small", back[0], back[1], back[2],
                       back[3]);
            }
            free(back);
            EXPECT_OK(clReleaseMemObject(image));
        }
}

/* ---- maps ---------------------------------------------------------------------------------------------- */

static void maps(struct world *w)
{
    for (int k = 0; k < KINDS; k++) {
        if (beyond(w, &kinds[k])) {
            skip(kinds[k].name);
            continue;
        }
        cl_int status;
        const size_t *extent = kinds[k].extent;
        size_t origin[3], region[3], size = volume(extent) * 4, row = 0, slice = 77;
        bool flat = kinds[k].type == CL_MEM_OBJECT_IMAGE1D || kinds[k].type == CL_MEM_OBJECT_IMAGE2D;
        inner(extent, origin, region);
        unsigned char *model = malloc(size), *back = malloc(size);
        number(model, size, 8);
        cl_mem image = image_of(w, CL_MEM_COPY_HOST_PTR, &rgba8, kinds[k].type, extent, model);
        unsigned char *p = clEnqueueMapImage(w->queue, image, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, origin, region, &row,
                                             &slice, 0, NULL, NULL, &status);
        EXPECT_OK(status);
        EXPECT(row >= region[0] * 4 || w->fragile);
        EXPECT(!flat || slice == 0);
        /* A 1D array's layers are slice_pitch apart. */
        size_t second = kinds[k].type == CL_MEM_OBJECT_IMAGE1D_ARRAY ? slice : row;
        bool right = true;
        for (size_t z = 0; z < region[2]; z++)
            for (size_t y = 0; y < region[1]; y++) {
                unsigned char *line =
                    model + (((origin[2] + z) * extent[1] + origin[1] + y) * extent[0] + origin[0]) * 4;
                right &= memcmp(p + z * slice + y * second, line, region[0] * 4) == 0;
                for (size_t x = 0; x < region[0] * 4; x++)
                    line[x] = p[z * slice + y * second + x] ^= 0x55;
            }
        EXPECT(right);
        EXPECT_OK(clEnqueueUnmapMemObject(w->queue, image, p, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, extent, 0, 0, back, 0, NULL, NULL));
        EXPECT(memcmp(model, back, size) == 0);

        slice = 77;
        p = clEnqueueMapImage(w->queue, image, CL_TRUE, CL_MAP_WRITE_INVALIDATE_REGION, zero, extent, &row, &slice, 0,
                              NULL, NULL, &status);
        EXPECT_OK(status);
        EXPECT(!flat || slice == 0);
        second = kinds[k].type == CL_MEM_OBJECT_IMAGE1D_ARRAY ? slice : row;
        for (size_t z = 0; z < extent[2]; z++)
            for (size_t y = 0; y < extent[1]; y++)
                memset(p + z * slice + y * second, 0x3c, extent[0] * 4);
        EXPECT_OK(clEnqueueUnmapMemObject(w->queue, image, p, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, extent, 0, 0, back, 0, NULL, NULL));
        memset(model, 0x3c, size);
        EXPECT(memcmp(model, back, size) == 0);
        EXPECT_OK(clReleaseMemObject(image));
        free(model);
        free(back);
    }
}

static void map_errors(struct world *w)
{
    static const size_t extent[3] = {16, 8, 1}, deep[3] = {16, 8, 4}, far[3] = {1, 0, 0};
    size_t row, slice;
    cl_mem image = image_of(w, 0, &rgba8, CL_MEM_OBJECT_IMAGE2D, extent, NULL);
    cl_mem volume_image = image_of(w, 0, &rgba8, CL_MEM_OBJECT_IMAGE3D, deep, NULL);
    EXPECT_REFUSED(
        clEnqueueMapImage(NULL, image, CL_TRUE, CL_MAP_READ, zero, extent, &row, &slice, 0, NULL, NULL, &status),
        CL_INVALID_COMMAND_QUEUE);
    EXPECT_REFUSED(
        clEnqueueMapImage(w->queue, NULL, CL_TRUE, CL_MAP_READ, zero, extent, &row, &slice, 0, NULL, NULL, &status),
        CL_INVALID_MEM_OBJECT);
    EXPECT_REFUSED(
        clEnqueueMapImage(w->queue, image, CL_TRUE, CL_MAP_READ, far, extent, &row, &slice, 0, NULL, NULL, &status),
        CL_INVALID_VALUE);
    EXPECT_REFUSED(
        clEnqueueMapImage(w->queue, image, CL_TRUE, CL_MAP_READ, zero, extent, NULL, &slice, 0, NULL, NULL, &status),
        CL_INVALID_VALUE);
    EXPECT_REFUSED(
        clEnqueueMapImage(w->queue, volume_image, CL_TRUE, CL_MAP_READ, zero, deep, &row, NULL, 0, NULL, NULL, &status),
        CL_INVALID_VALUE);
    EXPECT_OK(clReleaseMemObject(image));
    EXPECT_OK(clReleaseMemObject(volume_image));
}

/* ---- host pointers ------------------------------------------------------------------------------------- */

static void host_pitches(struct world *w)
{
    enum { ROW = 128, SLICE = ROW * 9 };
    static const size_t extent[3] = {20, 7, 3};
    static unsigned char back[20 * 7 * 3 * 4];
    cl_int status;
    cl_image_desc desc = desc_of(CL_MEM_OBJECT_IMAGE3D, extent);
    desc.image_row_pitch = ROW;
    desc.image_slice_pitch = SLICE;
    unsigned char *host;
    if (posix_memalign((void **)&host, 4096, SLICE * 3))
        exit(1);
    static const cl_mem_flags flags[2] = {CL_MEM_COPY_HOST_PTR, CL_MEM_USE_HOST_PTR};
    for (int i = 0; i < 2; i++) {
        number(host, SLICE * 3, 4);
        cl_mem image = clCreateImage(w->context, flags[i], &rgba8, &desc, host, &status);
        EXPECT_OK(status);
        EXPECT(size_info(image, CL_IMAGE_ROW_PITCH) == ROW && size_info(image, CL_IMAGE_SLICE_PITCH) == SLICE);
        EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, extent, 0, 0, back, 0, NULL, NULL));
        bool right = true;
        for (size_t z = 0; z < 3; z++)
            for (size_t y = 0; y < 7; y++)
                right &= memcmp(back + (z * 7 + y) * 80, host + z * SLICE + y * ROW, 80) == 0;
        EXPECT(right);
        static const cl_uint color[4] = {1, 2, 3, 4};
        static const size_t origin[3] = {2, 1, 1}, region[3] = {5, 2, 2};
        EXPECT_OK(clEnqueueFillImage(w->queue, image, color, origin, region, 0, NULL, NULL));
        size_t row = 0, slice = 0;
        unsigned char gap = host[80]; /* between the rows: the program's */
        unsigned char *p = clEnqueueMapImage(w->queue, image, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, origin, region, &row,
                                             &slice, 0, NULL, NULL, &status);
        EXPECT_OK(status);
        EXPECT(p[0] == 1 && p[3] == 4 && p[slice + row + 19] == 4 && (row == 20 || p[20] != 1));
        if (i == 1)
            EXPECT(p == host + SLICE + ROW + 8 && row == ROW && slice == SLICE);
        p[slice] = 0x99;
        EXPECT_OK(clEnqueueUnmapMemObject(w->queue, image, p, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, extent, 0, 0, back, 0, NULL, NULL));
        EXPECT(back[(2 * 7 + 1) * 80 + 8] == 0x99 && back[(1 * 7 + 1) * 80 + 8] == 1 && host[80] == gap);
        EXPECT_OK(clReleaseMemObject(image));
        EXPECT_OK(clFinish(w->queue));
    }
    free(host);
}

/* ---- views --------------------------------------------------------------------------------------------- */

static void buffer_views(struct world *w)
{
    enum { PIXELS = 256 };
    cl_int status;
    unsigned char bytes[PIXELS * 4], back[PIXELS * 4];
    number(bytes, sizeof bytes, 6);
    cl_mem buffer = clCreateBuffer(w->context, CL_MEM_COPY_HOST_PTR, sizeof bytes, bytes, &status);
    EXPECT_OK(status);
    cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE1D_BUFFER, .image_width = PIXELS, .mem_object = buffer};
    cl_mem image = clCreateImage(w->context, 0, &rgba8, &desc, NULL, &status);
    if (status != CL_SUCCESS || w->llvmpipe) {
        EXPECT(w->llvmpipe || status == CL_IMAGE_FORMAT_NOT_SUPPORTED || status == CL_INVALID_OPERATION);
        skip("no images of buffers");
        if (image)
            EXPECT_OK(clReleaseMemObject(image));
        EXPECT_OK(clReleaseMemObject(buffer));
        return;
    }
    static const size_t extent[3] = {PIXELS, 1, 1}, origin[3] = {10, 0, 0}, region[3] = {20, 1, 1};
    cl_mem associated = NULL, of = NULL;
    EXPECT_OK(clGetMemObjectInfo(image, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof associated, &associated, NULL));
    EXPECT_OK(clGetImageInfo(image, CL_IMAGE_BUFFER, sizeof of, &of, NULL));
    EXPECT(associated == buffer && of == buffer);
    EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, extent, 0, 0, back, 0, NULL, NULL));
    EXPECT(memcmp(bytes, back, sizeof bytes) == 0);
    memset(back, 0x42, sizeof back);
    EXPECT_OK(clEnqueueWriteImage(w->queue, image, CL_TRUE, origin, region, 0, 0, back, 0, NULL, NULL));
    EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 0, sizeof back, back, 0, NULL, NULL));
    memset(bytes + 40, 0x42, 80);
    EXPECT(memcmp(bytes, back, sizeof bytes) == 0);
    cl_uint four = 0x01020304;
    EXPECT_OK(clEnqueueFillBuffer(w->queue, buffer, &four, 4, 0, sizeof bytes, 0, NULL, NULL));
    EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, origin, region, 0, 0, back, 0, NULL, NULL));
    EXPECT(memcmp(back, &four, 4) == 0 && memcmp(back + 76, &four, 4) == 0);
    if (!w->pocl && !w->fragile) { /* which do not survive it */
        cl_event gate = clCreateUserEvent(w->context, &status);
        EXPECT_OK(status);
        EXPECT_OK(clEnqueueFillImage(w->queue, image, (cl_uint[4]){255, 0, 255, 0}, origin, region, 1, &gate, NULL));
        EXPECT_OK(clSetUserEventStatus(gate, CL_COMPLETE));
        EXPECT_OK(clEnqueueReadBuffer(w->queue, buffer, CL_TRUE, 36, 88, back, 0, NULL, NULL));
        EXPECT(memcmp(back, &four, 4) == 0 && memcmp(back + 4, "\xff\0\xff\0", 4) == 0);
        EXPECT(memcmp(back + 80, "\xff\0\xff\0", 4) == 0 && memcmp(back + 84, &four, 4) == 0);
        EXPECT_OK(clReleaseEvent(gate));
    }
    if (!w->pocl && !w->fragile) { /* the one is the other's memory */
        EXPECT_STATUS(clEnqueueCopyImageToBuffer(w->queue, image, buffer, zero, region, 512, 0, NULL, NULL),
                      CL_INVALID_MEM_OBJECT);
        EXPECT_STATUS(clEnqueueCopyBufferToImage(w->queue, buffer, image, 512, zero, region, 0, NULL, NULL),
                      CL_INVALID_MEM_OBJECT);
    }
    EXPECT_OK(clReleaseMemObject(image));

    desc.image_width = PIXELS + 1; /* more than the buffer holds */
    if (w->strict)
        EXPECT_REFUSED(clCreateImage(w->context, 0, &rgba8, &desc, NULL, &status), CL_INVALID_IMAGE_SIZE);

    cl_uint pitch = 0;
    (void)clGetDeviceInfo(w->device, CL_DEVICE_IMAGE_PITCH_ALIGNMENT, sizeof pitch, &pitch, NULL);
    desc = (cl_image_desc){.image_type = CL_MEM_OBJECT_IMAGE2D, .mem_object = buffer};
    desc.image_width = 12;
    desc.image_height = 4;
    desc.image_row_pitch = 256;
    if (pitch == 0) {
        EXPECT_REFUSED(clCreateImage(w->context, 0, &rgba8, &desc, NULL, &status), CL_INVALID_OPERATION);
        skip("no 2D images of buffers");
    } else if (256 % (pitch * 4) == 0) {
        static const size_t flat[3] = {12, 4, 1};
        image = clCreateImage(w->context, 0, &rgba8, &desc, NULL, &status);
        EXPECT_OK(status);
        number(bytes, sizeof bytes, 60);
        EXPECT_OK(clEnqueueWriteBuffer(w->queue, buffer, CL_TRUE, 0, sizeof bytes, bytes, 0, NULL, NULL));
        EXPECT_OK(clEnqueueReadImage(w->queue, image, CL_TRUE, zero, flat, 0, 0, back, 0, NULL, NULL));
        for (size_t y = 0; y < 4; y++)
            EXPECT(memcmp(back + y * 48, bytes + y * 256, 48) == 0);
        EXPECT_OK(clReleaseMemObject(image));
    }
    EXPECT_OK(clReleaseMemObject(buffer));
}

/* ---- kernels, samplers, order -------------------------------------------------------------------------- */

static void in_kernels(struct world *w)
{
    static const char source[] =
        "kernel void invert(read_only image2d_t from, write_only image2d_t to, sampler_t sampler)\n"
        "{ int2 at = (int2)(get_global_id(0), get_global_id(1));\n"
        "  write_imageui(to, at, (uint4)(255) - read_imageui(from, sampler, at)); }\n";
    enum { WIDTH = 64, HEIGHT = 48, SIZE = WIDTH * HEIGHT * 4 };
    static const size_t extent[3] = {WIDTH, HEIGHT, 1};
    static unsigned char bytes[SIZE], back[SIZE];
    cl_int status;
    number(bytes, SIZE, 12);
    cl_kernel kernel = make_kernel(w, source, "invert");
    cl_sampler sampler = clCreateSampler(w->context, CL_FALSE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST, &status);
    EXPECT_OK(status);
    cl_mem from = image_of(w, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, &rgba8, CL_MEM_OBJECT_IMAGE2D, extent, bytes);
    cl_mem to = image_of(w, CL_MEM_WRITE_ONLY, &rgba8, CL_MEM_OBJECT_IMAGE2D, extent, NULL);
    EXPECT_OK(clSetKernelArg(kernel, 0, sizeof from, &from));
    EXPECT_OK(clSetKernelArg(kernel, 1, sizeof to, &to));
    EXPECT_OK(clSetKernelArg(kernel, 2, sizeof sampler, &sampler));
    cl_event gate = clCreateUserEvent(w->context, &status);
    EXPECT_OK(status);
    EXPECT_OK(clEnqueueNDRangeKernel(w->queue, kernel, 2, NULL, extent, NULL, 1, &gate, NULL));
    EXPECT_OK(clEnqueueReadImage(w->queue, to, CL_FALSE, zero, extent, 0, 0, back, 0, NULL, NULL));
    EXPECT_OK(clSetUserEventStatus(gate, CL_COMPLETE));
    EXPECT_OK(clFinish(w->queue));
    bool right = true;
    for (size_t i = 0; i < SIZE; i++)
        right &= back[i] == 255 - bytes[i];
    EXPECT(right);
    /* What was written since is what the kernel sees. */
    memset(bytes, 1, SIZE);
    EXPECT_OK(clEnqueueWriteImage(w->queue, from, CL_FALSE, zero, extent, 0, 0, bytes, 0, NULL, NULL));
    EXPECT_OK(clEnqueueNDRangeKernel(w->queue, kernel, 2, NULL, extent, NULL, 0, NULL, NULL));
    EXPECT_OK(clEnqueueReadImage(w->queue, to, CL_TRUE, zero, extent, 0, 0, back, 0, NULL, NULL));
    EXPECT(back[0] == 254 && back[SIZE - 1] == 254);
    EXPECT_OK(clReleaseEvent(gate));
    EXPECT_OK(clReleaseMemObject(from));
    EXPECT_OK(clReleaseMemObject(to));
    EXPECT_OK(clReleaseSampler(sampler));
    EXPECT_OK(clReleaseKernel(kernel));
}

static void samplers(struct world *w)
{
    cl_int status;
    cl_sampler sampler = clCreateSampler(w->context, CL_TRUE, CL_ADDRESS_REPEAT, CL_FILTER_LINEAR, &status);
    EXPECT_OK(status);
    cl_bool normalized = CL_FALSE;
    cl_addressing_mode addressing = 0;
    cl_filter_mode filter = 0;
    cl_uint refs = 0;
    cl_context context = NULL;
    EXPECT_OK(clGetSamplerInfo(sampler, CL_SAMPLER_NORMALIZED_COORDS, sizeof normalized, &normalized, NULL));
    EXPECT_OK(clGetSamplerInfo(sampler, CL_SAMPLER_ADDRESSING_MODE, sizeof addressing, &addressing, NULL));
    EXPECT_OK(clGetSamplerInfo(sampler, CL_SAMPLER_FILTER_MODE, sizeof filter, &filter, NULL));
    EXPECT_OK(clGetSamplerInfo(sampler, CL_SAMPLER_CONTEXT, sizeof context, &context, NULL));
    EXPECT_OK(clRetainSampler(sampler));
    EXPECT_OK(clGetSamplerInfo(sampler, CL_SAMPLER_REFERENCE_COUNT, sizeof refs, &refs, NULL));
    EXPECT(normalized == CL_TRUE && addressing == CL_ADDRESS_REPEAT && filter == CL_FILTER_LINEAR && refs == 2 &&
           context == w->context);
    EXPECT_STATUS(clGetSamplerInfo(sampler, 0x9999, sizeof refs, &refs, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clGetSamplerInfo(sampler, CL_SAMPLER_CONTEXT, 1, &context, NULL), CL_INVALID_VALUE);
    EXPECT_OK(clReleaseSampler(sampler));
    EXPECT_OK(clReleaseSampler(sampler));
    EXPECT_REFUSED(clCreateSampler(NULL, CL_TRUE, CL_ADDRESS_CLAMP, CL_FILTER_LINEAR, &status), CL_INVALID_CONTEXT);
    if (!w->pocl) {
        EXPECT_REFUSED(clCreateSampler(w->context, CL_TRUE, 0x1, CL_FILTER_LINEAR, &status), CL_INVALID_VALUE);
        EXPECT_REFUSED(clCreateSampler(w->context, CL_TRUE, CL_ADDRESS_CLAMP, 0x1, &status), CL_INVALID_VALUE);
    }
    if (!w->fragile)
        EXPECT_REFUSED(clCreateSampler(w->context, CL_FALSE, CL_ADDRESS_REPEAT, CL_FILTER_LINEAR, &status),
                       CL_INVALID_VALUE);
    if (w->strict) { /* PoCL's clRetainSampler(NULL) and lists of properties */
        EXPECT_STATUS(clRetainSampler(NULL), CL_INVALID_SAMPLER);
        EXPECT_STATUS(clReleaseSampler(NULL), CL_INVALID_SAMPLER);
        const cl_sampler_properties list[] = {CL_SAMPLER_FILTER_MODE, CL_FILTER_LINEAR, 0};
        const cl_sampler_properties twice[] = {CL_SAMPLER_FILTER_MODE, CL_FILTER_LINEAR, CL_SAMPLER_FILTER_MODE,
                                               CL_FILTER_LINEAR, 0};
        const cl_sampler_properties unknown[] = {0x7777, 1, 0};
        const cl_sampler_properties wide[] = {CL_SAMPLER_FILTER_MODE, (1ull << 32) + CL_FILTER_LINEAR, 0};
        const cl_sampler_properties wide_bool[] = {CL_SAMPLER_NORMALIZED_COORDS, (1ull << 32) + CL_TRUE, 0};
        cl_sampler_properties back[8];
        size_t size = 0;
        sampler = clCreateSamplerWithProperties(w->context, list, &status);
        EXPECT_OK(status);
        EXPECT_OK(clGetSamplerInfo(sampler, CL_SAMPLER_PROPERTIES, sizeof back, back, &size));
        EXPECT(size == sizeof list && memcmp(back, list, size) == 0);
        EXPECT_OK(clGetSamplerInfo(sampler, CL_SAMPLER_NORMALIZED_COORDS, sizeof normalized, &normalized, NULL));
        EXPECT_OK(clGetSamplerInfo(sampler, CL_SAMPLER_ADDRESSING_MODE, sizeof addressing, &addressing, NULL));
        EXPECT(normalized == CL_TRUE && addressing == CL_ADDRESS_CLAMP);
        EXPECT_OK(clReleaseSampler(sampler));
        EXPECT_REFUSED(clCreateSamplerWithProperties(w->context, twice, &status), CL_INVALID_VALUE);
        EXPECT_REFUSED(clCreateSamplerWithProperties(w->context, unknown, &status), CL_INVALID_VALUE);
        EXPECT_REFUSED(clCreateSamplerWithProperties(w->context, wide, &status), CL_INVALID_VALUE);
        EXPECT_REFUSED(clCreateSamplerWithProperties(w->context, wide_bool, &status), CL_INVALID_VALUE);
    }
}

static void no_images(struct world *w)
{
    static const size_t extent[3] = {16, 8, 1};
    const cl_image_desc desc = desc_of(CL_MEM_OBJECT_IMAGE2D, extent);
    EXPECT_REFUSED(clCreateImage(w->context, 0, &rgba8, &desc, NULL, &status), CL_INVALID_OPERATION);
    skip("the device has no images");
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        {"formats", formats},
        {"creation_errors", creation_errors},
        {"info", info},
        {"legacy", legacy},
        {"read_write", read_write},
        {"transfer_errors", transfer_errors},
        {"host_access", host_access},
        {"copies", copies},
        {"copy_errors", copy_errors},
        {"fills", fills},
        {"fill_formats", fill_formats},
        {"maps", maps},
        {"map_errors", map_errors},
        {"host_pitches", host_pitches},
        {"buffer_views", buffer_views},
        {"in_kernels", in_kernels},
        {"samplers", samplers},
    };
    static const struct check without[] = {{"no_images", no_images}};
    struct world w = {0};
    cl_bool images = CL_FALSE;
    if (argc > 1 && find_device(&w, argv[1]))
        (void)clGetDeviceInfo(w.device, CL_DEVICE_IMAGE_SUPPORT, sizeof images, &images, NULL);
    return images || !w.device ? run_checks(argc, argv, checks, sizeof checks / sizeof *checks)
                               : run_checks(argc, argv, without, 1);
}
