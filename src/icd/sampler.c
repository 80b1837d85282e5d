#include <stdlib.h>
#include <string.h>

#include "icd/entry.h"

/* As wide as in a list of properties: what is checked is all that was given. */
struct sampler_choice {
    cl_sampler_properties normalized, addressing, filter;
};

static cl_int choice_check(cl_context context, const struct sampler_choice *choice)
{
    if (choice->normalized != CL_TRUE && choice->normalized != CL_FALSE)
        return CL_INVALID_VALUE;
    if (choice->addressing < CL_ADDRESS_NONE || choice->addressing > CL_ADDRESS_MIRRORED_REPEAT)
        return CL_INVALID_VALUE;
    if (choice->filter != CL_FILTER_NEAREST && choice->filter != CL_FILTER_LINEAR)
        return CL_INVALID_VALUE;
    /* Repeating is defined for normalized coordinates only. */
    if (!choice->normalized &&
        (choice->addressing == CL_ADDRESS_REPEAT || choice->addressing == CL_ADDRESS_MIRRORED_REPEAT))
        return CL_INVALID_VALUE;
    for (cl_uint i = 0; i < context->device_count; i++)
        if (pen_device_bool(context->devices[i], CL_DEVICE_IMAGE_SUPPORT))
            return CL_SUCCESS;
    return CL_INVALID_OPERATION;
}

/* Reads the list; *out_count is its entries with the 0, 0 for no list. */
static cl_int choice_parse(const cl_sampler_properties *properties, struct sampler_choice *choice, size_t *out_count)
{
    bool seen[3] = {false};
    *choice = (struct sampler_choice){CL_TRUE, CL_ADDRESS_CLAMP, CL_FILTER_NEAREST};
    *out_count = 0;
    if (!properties)
        return CL_SUCCESS;
    size_t at = 0;
    for (; properties[at] != 0; at += 2) {
        size_t which;
        switch (properties[at]) {
        case CL_SAMPLER_NORMALIZED_COORDS:
            which = 0;
            choice->normalized = properties[at + 1];
            break;
        case CL_SAMPLER_ADDRESSING_MODE:
            which = 1;
            choice->addressing = properties[at + 1];
            break;
        case CL_SAMPLER_FILTER_MODE:
            which = 2;
            choice->filter = properties[at + 1];
            break;
        default:
            return CL_INVALID_VALUE;
        }
        if (seen[which])
            return CL_INVALID_VALUE;
        seen[which] = true;
    }
    *out_count = at + 1;
    return CL_SUCCESS;
}

static int sampler_send(cl_sampler sampler)
{
    struct pen_msg_sampler_create create = {
        .sampler = sampler->id,
        .normalized = sampler->normalized,
        .address_mode = sampler->addressing,
        .filter_mode = sampler->filter,
    };
    uint64_t sequence;
    return PEN_SEND(sampler->context->session, sampler_create, &create, &sequence);
}

static cl_int sampler_create(cl_context context, const struct sampler_choice *choice,
                             const cl_sampler_properties *properties, size_t property_count, cl_sampler *out_sampler)
{
    cl_int status = choice_check(context, choice);
    if (status != CL_SUCCESS)
        return status;
    cl_sampler sampler = calloc(1, sizeof *sampler);
    if (!sampler)
        return CL_OUT_OF_HOST_MEMORY;
    if (property_count) {
        sampler->property_list = malloc(property_count * sizeof *properties);
        if (!sampler->property_list) {
            free(sampler);
            return CL_OUT_OF_HOST_MEMORY;
        }
        memcpy(sampler->property_list, properties, property_count * sizeof *properties);
        sampler->property_count = property_count;
    }
    pen_object_init(&sampler->object, PEN_MAGIC_SAMPLER);
    pen_ref(context);
    sampler->context = context;
    atomic_fetch_add_explicit(&context->samplers, 1, memory_order_relaxed);
    sampler->id = pen_session_new_id(context->session);
    sampler->normalized = (cl_bool)choice->normalized;
    sampler->addressing = (cl_addressing_mode)choice->addressing;
    sampler->filter = (cl_filter_mode)choice->filter;
    int error = sampler_send(sampler);
    if (error) {
        pen_unref(sampler);
        return pen_status(error);
    }
    *out_sampler = sampler;
    return CL_SUCCESS;
}

cl_sampler pen_clCreateSampler(cl_context context, cl_bool normalized, cl_addressing_mode addressing,
                               cl_filter_mode filter, cl_int *errcode_ret)
{
    struct sampler_choice choice = {normalized, addressing, filter};
    cl_sampler sampler = NULL;
    cl_int status = CL_INVALID_CONTEXT;
    if (pen_object_is(context, PEN_MAGIC_CONTEXT))
        status = sampler_create(context, &choice, NULL, 0, &sampler);
    if (errcode_ret)
        *errcode_ret = status;
    return sampler;
}

cl_sampler pen_clCreateSamplerWithProperties(cl_context context, const cl_sampler_properties *properties,
                                             cl_int *errcode_ret)
{
    struct sampler_choice choice;
    size_t count;
    cl_sampler sampler = NULL;
    cl_int status = CL_INVALID_CONTEXT;
    if (pen_object_is(context, PEN_MAGIC_CONTEXT))
        status = choice_parse(properties, &choice, &count);
    if (status == CL_SUCCESS)
        status = sampler_create(context, &choice, properties, count, &sampler);
    if (errcode_ret)
        *errcode_ret = status;
    return sampler;
}

void pen_sampler_destroy(cl_sampler sampler)
{
    struct pen_msg_sampler_destroy destroy = {.sampler = sampler->id};
    uint64_t sequence;
    (void)PEN_SEND(sampler->context->session, sampler_destroy, &destroy, &sequence);
    atomic_fetch_sub_explicit(&sampler->context->samplers, 1, memory_order_relaxed);
    pen_unref(sampler->context);
    free(sampler->property_list);
    free(sampler);
}

cl_int pen_clRetainSampler(cl_sampler sampler)
{
    return pen_retain(sampler, PEN_MAGIC_SAMPLER, CL_INVALID_SAMPLER);
}

cl_int pen_clReleaseSampler(cl_sampler sampler)
{
    return pen_release(sampler, PEN_MAGIC_SAMPLER, CL_INVALID_SAMPLER);
}

cl_int pen_clGetSamplerInfo(cl_sampler sampler, cl_sampler_info param_name, size_t param_value_size, void *param_value,
                            size_t *param_value_size_ret)
{
    if (!pen_object_is(sampler, PEN_MAGIC_SAMPLER))
        return CL_INVALID_SAMPLER;
    switch (param_name) {
    case CL_SAMPLER_REFERENCE_COUNT:
        PEN_INFO(cl_uint, atomic_load(&sampler->object.refs));
    case CL_SAMPLER_CONTEXT:
        PEN_INFO(cl_context, sampler->context);
    case CL_SAMPLER_NORMALIZED_COORDS:
        PEN_INFO(cl_bool, sampler->normalized);
    case CL_SAMPLER_ADDRESSING_MODE:
        PEN_INFO(cl_addressing_mode, sampler->addressing);
    case CL_SAMPLER_FILTER_MODE:
        PEN_INFO(cl_filter_mode, sampler->filter);
    case CL_SAMPLER_PROPERTIES:
        return pen_info(sampler->property_list, sampler->property_count * sizeof *sampler->property_list,
                        param_value_size, param_value, param_value_size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}
