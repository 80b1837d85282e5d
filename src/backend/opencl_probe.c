/* backend/opencl_probe.c - does a device really work in host memory?
 *
 * Shown by trying: memory shared between processes, at the alignment that the arena gives, is made an object's storage
 * (CL_MEM_USE_HOST_PTR); what the host puts there must reach commands, and what commands put there must be there for
 * the host, with no map or unmap between, twice over, and on a second device of the context too. Kernels are not tried
 * (a driver's first build takes 0.5 s and more): on the drivers known they see the same storage as commands do, and
 * tests/unit/backend_opencl.c holds that. */
#include "backend/opencl.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARENA_ALIGN  64u /* client/session.h: pen_arena_alloc */
#define SHARED_BYTES (64u << 10)
#define BUFFER_BYTES 8192u

struct probe {
    cl_context context;
    cl_command_queue queues[2]; /* the device's, and its peer's (or NULL) */
    unsigned char *host;        /* SHARED_BYTES of shared memory, at ARENA_ALIGN and no better */
    cl_mem plain;               /* a buffer of the driver's own */
    unsigned char seen[BUFFER_BYTES];
};

static void *map_shared(void)
{
    int fd = memfd_create("penstock-probe", MFD_CLOEXEC);
    if (fd < 0)
        return MAP_FAILED;
    void *at = MAP_FAILED;
    if (!ftruncate(fd, SHARED_BYTES))
        at = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return at;
}

static void paint(unsigned char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 7 + (i >> 8) + seed);
}

static bool painted(const unsigned char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)(i * 7 + (i >> 8) + seed))
            return false;
    return true;
}

/* The driver's own buffer <- seed; clFinish comes with the blocking write. */
static bool load_plain(struct probe *probe, cl_command_queue queue, size_t size, unsigned seed)
{
    paint(probe->seen, size, seed);
    return !clEnqueueWriteBuffer(queue, probe->plain, CL_TRUE, 0, size, probe->seen, 0, NULL, NULL);
}

static bool plain_has(struct probe *probe, cl_command_queue queue, size_t size, unsigned seed)
{
    memset(probe->seen, 0, size);
    return !clEnqueueReadBuffer(queue, probe->plain, CL_TRUE, 0, size, probe->seen, 0, NULL, NULL) &&
           painted(probe->seen, size, seed);
}

static bool buffer_round(struct probe *probe, cl_command_queue queue, cl_mem shared, unsigned seed)
{
    paint(probe->host, BUFFER_BYTES, seed);
    if (clEnqueueCopyBuffer(queue, shared, probe->plain, 0, 0, BUFFER_BYTES, 0, NULL, NULL) ||
        !plain_has(probe, queue, BUFFER_BYTES, seed))
        return false;
    if (!load_plain(probe, queue, BUFFER_BYTES, seed + 1) ||
        clEnqueueCopyBuffer(queue, probe->plain, shared, 0, 0, BUFFER_BYTES, 0, NULL, NULL) || clFinish(queue))
        return false;
    return painted(probe->host, BUFFER_BYTES, seed + 1);
}

static bool buffers_direct(struct probe *probe)
{
    cl_int status;
    cl_mem shared =
        clCreateBuffer(probe->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, BUFFER_BYTES, probe->host, &status);
    if (status)
        return false;
    bool direct = true;
    for (unsigned round = 0; round < 4 && direct; round++) {
        cl_command_queue queue = probe->queues[round & 1];
        if (queue)
            direct = buffer_round(probe, queue, shared, 3 + 2 * round);
    }
    clReleaseMemObject(shared);
    return direct;
}

struct image_case {
    cl_image_format format;
    size_t element_bytes;
    cl_mem_object_type type;
};

/* Odd widths, so that a driver that pads rows is found out. */
static const struct image_case image_cases[] = {
    {{CL_RGBA, CL_UNORM_INT8}, 4, CL_MEM_OBJECT_IMAGE2D}, {{CL_R, CL_FLOAT}, 4, CL_MEM_OBJECT_IMAGE2D},
    {{CL_RGBA, CL_FLOAT}, 16, CL_MEM_OBJECT_IMAGE3D},     {{CL_R, CL_UNSIGNED_INT8}, 1, CL_MEM_OBJECT_IMAGE2D_ARRAY},
    {{CL_RGBA, CL_FLOAT}, 16, CL_MEM_OBJECT_IMAGE1D},
};

static bool image_round(struct probe *probe, cl_mem image, const size_t extent[3], size_t size, unsigned seed)
{
    static const size_t origin[3] = {0, 0, 0};
    cl_command_queue queue = probe->queues[0];

    paint(probe->host, size, seed);
    if (clEnqueueCopyImageToBuffer(queue, image, probe->plain, origin, extent, 0, 0, NULL, NULL) ||
        !plain_has(probe, queue, size, seed))
        return false;
    if (!load_plain(probe, queue, size, seed + 1) ||
        clEnqueueCopyBufferToImage(queue, probe->plain, image, 0, origin, extent, 0, NULL, NULL) || clFinish(queue))
        return false;
    return painted(probe->host, size, seed + 1);
}

/* 1 direct, 0 not, -1 the device has no such image. */
static int image_direct(struct probe *probe, const struct image_case *test)
{
    size_t extent[3] = {13, 1, 1};
    cl_image_desc desc = {.image_type = test->type, .image_width = extent[0]};
    if (test->type != CL_MEM_OBJECT_IMAGE1D)
        desc.image_height = extent[1] = 7;
    if (test->type == CL_MEM_OBJECT_IMAGE3D)
        desc.image_depth = extent[2] = 3;
    if (test->type == CL_MEM_OBJECT_IMAGE2D_ARRAY)
        desc.image_array_size = extent[2] = 3;
    size_t size = extent[0] * extent[1] * extent[2] * test->element_bytes;

    cl_int status;
    cl_mem image = clCreateImage(probe->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, &test->format, &desc,
                                 probe->host, &status);
    if (status)
        return status == CL_IMAGE_FORMAT_NOT_SUPPORTED ? -1 : 0;
    bool direct = image_round(probe, image, extent, size, 11) && image_round(probe, image, extent, size, 17);
    clReleaseMemObject(image);
    return direct;
}

static bool images_direct(struct probe *probe)
{
    bool any = false;

    for (size_t i = 0; i < sizeof image_cases / sizeof *image_cases; i++) {
        int direct = image_direct(probe, &image_cases[i]);
        if (!direct)
            return false;
        any = any || direct > 0;
    }
    return any;
}

static bool in_host_memory(cl_device_id device)
{
    return pen_opencl_number(device, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU ||
           pen_opencl_number(device, CL_DEVICE_HOST_UNIFIED_MEMORY);
}

uint32_t pen_opencl_probe(cl_context context, cl_device_id device, cl_device_id peer, bool images)
{
    uint32_t flags = 0;
    cl_int status;

    if (!in_host_memory(device))
        return 0;
    struct probe *probe = calloc(1, sizeof *probe);
    unsigned char *shared = map_shared();
    if (!probe || shared == MAP_FAILED)
        goto out;
    probe->context = context;
    probe->host = shared + ARENA_ALIGN;
    probe->queues[0] = clCreateCommandQueue(context, device, 0, &status);
    if (peer != device && in_host_memory(peer))
        probe->queues[1] = clCreateCommandQueue(context, peer, 0, &status);
    probe->plain = clCreateBuffer(context, CL_MEM_READ_WRITE, BUFFER_BYTES, NULL, &status);
    if (probe->queues[0] && probe->plain && buffers_direct(probe)) {
        flags = PEN_DEVICE_FLAG_DIRECT;
        if (images && pen_opencl_number(device, CL_DEVICE_IMAGE_SUPPORT) && images_direct(probe))
            flags |= PEN_DEVICE_FLAG_DIRECT_IMAGES;
    }
    if (probe->plain)
        clReleaseMemObject(probe->plain);
    for (int i = 0; i < 2; i++)
        if (probe->queues[i]) {
            clFinish(probe->queues[i]);
            clReleaseCommandQueue(probe->queues[i]);
        }
out:
    if (shared != MAP_FAILED)
        munmap(shared, SHARED_BYTES);
    free(probe);
    return flags;
}
