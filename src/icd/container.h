/* icd/container.h - the portable program binary: what clGetProgramInfo(CL_PROGRAM_BINARIES) gives and
 * clCreateProgramWithBinary takes back, on any device.
 *
 *   "PENBIN\0\2"                          the last byte is the version of the format
 *   u64 size                              of the whole container
 *   u64 checksum                          XXH64 of what follows
 *   messages container, container_recipe, ... of the schema, with the bytes that they announce
 *
 * Equal programs give equal bytes.
 * The decoder trusts nothing: lengths, counts, strings, nesting are checked before anything is allocated by them.
 * Ownership: encode allocates, the caller frees; decode's result holds one reference on the recipe.
 * Threads:   none shared. Errors: 0 or -PEN_E*; outputs untouched on failure. */
#ifndef PEN_ICD_CONTAINER_H
#define PEN_ICD_CONTAINER_H

#include "icd/recipe.h"

#define PEN_CONTAINER_MAGIC "PENBIN\0\2"

struct pen_container_kernel { /* a whole frame of message kernel_info, without devices; it decodes */
    void *frame;
    size_t size;
};

struct pen_container {
    uint32_t binary_type; /* CL_PROGRAM_BINARY_TYPE_*: compiled object, library or executable */
    struct pen_recipe *recipe;
    char *key;    /* names the device and driver that native code in here is for (limit NAME) */
    void *native; /* the device's own binary, or NULL */
    size_t native_size;
    struct pen_container_kernel *kernels; /* with `native`, which may tell less than a build from source does */
    uint32_t kernel_count;
};

/* True when the bytes begin as a container of any version: then they are no vendor's binary. */
bool pen_container_is(const void *bytes, size_t size);
/* -PEN_ENOMEM; -PEN_ELIMIT beyond 4 GiB. */
int pen_container_encode(const struct pen_container *container, void **out_bytes, size_t *out_size);
/* -PEN_EBINARY for anything malformed, -PEN_ENOMEM. */
int pen_container_decode(const void *bytes, size_t size, struct pen_container *out_container);
/* Accepts a zeroed one. */
void pen_container_finish(struct pen_container *container);

#endif
