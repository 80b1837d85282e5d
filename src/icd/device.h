/* icd/device.h - what is known of a root device once and for all, and the platform's own answers. Private to the files
 * that make and describe devices (platform.c, device.c, partition.c, queue.c).
 * Ownership: facts belong to the platform and live as long as the process. Immutable. */
#ifndef PEN_ICD_DEVICE_H
#define PEN_ICD_DEVICE_H

#include "icd/extension.h"

struct pen_device_facts {
    cl_platform_id platform;
    struct pen_property *properties; /* in order of key; the values belong to its pool */
    uint32_t property_count;
    struct pen_extensions extensions;
    cl_name_version *features; /* OpenCL C features, without those of what is absent */
    uint32_t feature_count;
    bool has_features; /* the driver answers CL_DEVICE_OPENCL_C_FEATURES */
};

/* Makes `device` a root: one of a pool's devices. 0 or -PEN_ENOMEM. */
int pen_device_init_root(cl_device_id device, cl_platform_id platform, struct pen_home *home,
                         const struct pen_pool_device *pool);
/* Frees what init_root has made. */
void pen_device_finish_root(cl_device_id device);

/* The bits that clGetDeviceIDs selects by. */
cl_device_type pen_device_type(cl_device_id device);
/* Devices of the platform that `type` selects, in order; out_devices has room for all of them. CL_SUCCESS,
 * CL_INVALID_DEVICE_TYPE or CL_DEVICE_NOT_FOUND. */
cl_int pen_devices_of_type(cl_platform_id platform, cl_device_type type, cl_device_id *out_devices, cl_uint *out_count);

/* partition.c: which ways of partitioning there are, as CL_DEVICE_PARTITION_PROPERTIES. Returns entries. */
#define PEN_PARTITION_WAYS 3
size_t pen_partition_properties(cl_device_id device, cl_device_partition_property out_properties[PEN_PARTITION_WAYS]);
/* CL_DEVICE_PARTITION_AFFINITY_DOMAIN */
cl_device_affinity_domain pen_partition_domains(cl_device_id device);
cl_uint pen_partition_max(cl_device_id device);

#endif
