/* icd/dispatch.c - the table that the ICD loader calls through, and the few symbols that the library exports. */
#include <string.h>

#include "icd/entry.h"

#define PEN_EXPORT __attribute__((visibility("default")))

/* Windows' entries (D3D, DX9) have no place outside Windows and stay NULL. */
const cl_icd_dispatch pen_dispatch = {
#define X(name) .name = pen_##name,
    PEN_ENTRIES(X)
#undef X
};

/* What clGetExtensionFunctionAddress finds: every entry point by its own name (as drivers do), and extension functions
 * that are a core function under their first name. */
static const struct {
    const char *name;
    void *address;
} functions[] = {
#define X(name) {#name, (void *)pen_##name},
    PEN_ENTRIES(X) PEN_EXTENSION_ENTRIES(X)
#undef X
        {"clIcdGetPlatformIDsKHR", (void *)pen_clGetPlatformIDs},
    {"clCreateCommandQueueWithPropertiesKHR", (void *)pen_clCreateCommandQueueWithProperties},
    {"clCreateProgramWithILKHR", (void *)pen_clCreateProgramWithIL},
};

void *CL_API_CALL pen_clGetExtensionFunctionAddress(const char *name)
{
    if (!name)
        return NULL;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (!strcmp(functions[i].name, name))
            return functions[i].address;
    return NULL;
}

void *CL_API_CALL pen_clGetExtensionFunctionAddressForPlatform(cl_platform_id platform, const char *name)
{
    return pen_object_is(platform, PEN_MAGIC_PLATFORM) ? pen_clGetExtensionFunctionAddress(name) : NULL;
}

/* ---- exported (icd.map) ---- */

PEN_EXPORT cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint entry_count, cl_platform_id *platforms, cl_uint *out_count)
{
    return pen_clGetPlatformIDs(entry_count, platforms, out_count);
}

PEN_EXPORT cl_int CL_API_CALL clGetPlatformInfo(cl_platform_id platform, cl_platform_info key, size_t size, void *value,
                                                size_t *out_size)
{
    return pen_clGetPlatformInfo(platform, key, size, value, out_size);
}

PEN_EXPORT void *CL_API_CALL clGetExtensionFunctionAddress(const char *name)
{
    return pen_clGetExtensionFunctionAddress(name);
}

PEN_EXPORT void *CL_API_CALL clGetExtensionFunctionAddressForPlatform(cl_platform_id platform, const char *name)
{
    return pen_clGetExtensionFunctionAddressForPlatform(platform, name);
}
