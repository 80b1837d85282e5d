/* backend/opencl_type.c - sizes of OpenCL C's built-in types, by name (OpenCL C 3.0, 6.3). */
#include "backend/opencl.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint8_t bytes; /* 0: as wide as an address */
} scalars[] = {
    {"char", 1},          {"uchar", 1},          {"signed char", 1}, {"unsigned char", 1}, {"short", 2},
    {"ushort", 2},        {"unsigned short", 2}, {"half", 2},        {"int", 4},           {"uint", 4},
    {"unsigned int", 4},  {"unsigned", 4},       {"float", 4},       {"long", 8},          {"ulong", 8},
    {"unsigned long", 8}, {"double", 8},         {"size_t", 0},      {"ptrdiff_t", 0},     {"intptr_t", 0},
    {"uintptr_t", 0},
};

/* The elements of "float4" past "float"; 3 are as wide as 4. 0: not a vector. */
static uint32_t vector_elements(const char *digits)
{
    static const char *const lengths[] = {"2", "3", "4", "8", "16"};

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        if (!strcmp(digits, lengths[i]))
            return i == 1 ? 4 : (uint32_t)strtoul(digits, NULL, 10);
    return 0;
}

uint32_t pen_opencl_type_bytes(const char *name, uint32_t address_bits)
{
    for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++) {
        size_t length = strlen(scalars[i].name);
        if (strncmp(name, scalars[i].name, length))
            continue;
        uint32_t bytes = scalars[i].bytes ? scalars[i].bytes : address_bits / 8;
        if (!name[length])
            return bytes;
        if (vector_elements(name + length))
            return bytes * vector_elements(name + length);
    }
    return 0;
}
