/* wire/definition.h - what makes two descriptions of a kernel those of one function (OpenCL 3.0, clCreateKernel,
 * CL_INVALID_KERNEL_DEFINITION). Drivers spell types each in their own way, and not all know their sizes: what counts
 * is how many arguments there are, and what each is set with. What is not known fits all: two that fit a third need not
 * fit each other. */
#ifndef PEN_WIRE_DEFINITION_H
#define PEN_WIRE_DEFINITION_H

#include <stdbool.h>

#include "penstock-protocol.h"

static inline bool pen_same_argument(const struct pen_argument_info *a, const struct pen_argument_info *b)
{
    if (!a->known || !b->known)
        return true;
    return a->kind == b->kind && (!a->size || !b->size || a->size == b->size);
}

static inline bool pen_same_definition(const struct pen_msg_kernel_info *a, const struct pen_msg_kernel_info *b)
{
    if (a->arguments_count != b->arguments_count)
        return false;
    for (uint32_t i = 0; i < a->arguments_count; i++)
        if (!pen_same_argument(&a->arguments[i], &b->arguments[i]))
            return false;
    return true;
}

#endif
