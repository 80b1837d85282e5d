/* icd/partition.c - sub-devices: parts of a device, made by the worker, which answers whether the driver could. */
#include <stdlib.h>
#include <string.h>

#include "icd/device.h"
#include "icd/entry.h"

/* Parts as the worker knows them. It is never told that they have gone: once the program has let go of all of them,
 * they are given to who asks for the same. */
struct pen_part_set {
    struct pen_part_set *next;
    struct pen_session *session;
    uint64_t parent; /* its id */
    uint32_t domain, count;
    uint32_t units[PEN_LIMIT_PARTITIONS];
    uint64_t ids[PEN_LIMIT_PARTITIONS];
    _Atomic uint32_t alive; /* as devices of the program's; acq_rel: who takes them over follows who let them go */
};

/* What is asked for, in units for each part. */
struct partition {
    uint32_t units[PEN_LIMIT_PARTITIONS];
    uint32_t domain, count;                         /* domain 0: by units alone */
    const cl_device_partition_property *properties; /* how it is made, as the parts tell */
    size_t property_count;                          /* with the final 0 */
    cl_device_partition_property along[3];          /* where `domain` is what that has come to */
};

/* A device of one unit has no parts, whatever its driver says. */
cl_uint pen_partition_max(cl_device_id device)
{
    cl_uint most = pen_device_uint(device, CL_DEVICE_PARTITION_MAX_SUB_DEVICES);
    if (most > device->compute_units)
        most = device->compute_units;
    if (most > PEN_LIMIT_PARTITIONS)
        most = PEN_LIMIT_PARTITIONS;
    return most > 1 ? most : 0;
}

/* What cutting along a domain comes to. Of a part that is not known: what there is is of its whole. */
static const struct pen_property *parts_along(cl_device_id device, uint32_t bit)
{
    return device->parent ? NULL : pen_device_property(device, PEN_KEY_PARTS + bit);
}

cl_device_affinity_domain pen_partition_domains(cl_device_id device)
{
    cl_device_affinity_domain domains = 0;
    for (uint32_t bit = 0; bit < 32; bit++)
        if (parts_along(device, bit))
            domains |= (cl_device_affinity_domain)1 << bit;
    return domains;
}

static bool has_way(cl_device_id device, cl_device_partition_property way)
{
    const struct pen_property *property = pen_device_property(device, CL_DEVICE_PARTITION_PROPERTIES);
    cl_device_partition_property entry;
    if (way == CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN)
        return pen_partition_max(device) > 0 && pen_partition_domains(device);
    for (size_t i = 0; property && (i + 1) * sizeof entry <= property->size; i++) {
        memcpy(&entry, (const char *)property->value + i * sizeof entry, sizeof entry);
        if (entry == way)
            return pen_partition_max(device) > 0;
    }
    return false;
}

size_t pen_partition_properties(cl_device_id device, cl_device_partition_property out_properties[PEN_PARTITION_WAYS])
{
    static const cl_device_partition_property ways[PEN_PARTITION_WAYS] = {
        CL_DEVICE_PARTITION_EQUALLY, CL_DEVICE_PARTITION_BY_COUNTS, CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN};
    size_t count = 0;
    for (size_t i = 0; i < PEN_PARTITION_WAYS; i++)
        if (has_way(device, ways[i]))
            out_properties[count++] = ways[i];
    if (!count) /* "If the device cannot be partitioned [...] a value of 0 will be returned" */
        out_properties[count++] = 0;
    return count;
}

static cl_int parse_equally(cl_device_id device, const cl_device_partition_property *properties,
                            struct partition *partition)
{
    cl_device_partition_property units = properties[1];
    if (units <= 0 || (cl_ulong)units > device->compute_units || properties[2])
        return CL_INVALID_VALUE;
    cl_uint count = device->compute_units / (cl_uint)units;
    if (count > PEN_LIMIT_PARTITIONS)
        return CL_DEVICE_PARTITION_FAILED;
    for (partition->count = 0; partition->count < count; partition->count++)
        partition->units[partition->count] = (uint32_t)units;
    partition->property_count = 3;
    return CL_SUCCESS;
}

static cl_int parse_counts(cl_device_id device, const cl_device_partition_property *properties,
                           struct partition *partition)
{
    cl_uint total = 0, most = pen_partition_max(device);
    for (properties++; *properties != CL_DEVICE_PARTITION_BY_COUNTS_LIST_END; properties++) {
        if (*properties < 0 || *properties > (cl_device_partition_property)(device->compute_units - total) ||
            partition->count == most)
            return CL_INVALID_DEVICE_PARTITION_COUNT;
        partition->units[partition->count++] = (uint32_t)*properties;
        total += (cl_uint)*properties;
    }
    if (!partition->count || properties[1])
        return CL_INVALID_VALUE;
    partition->property_count = partition->count + 3;
    return CL_SUCCESS;
}

static cl_int parse_domain(cl_device_id device, const cl_device_partition_property *properties,
                           struct partition *partition)
{
    cl_device_partition_property domain = properties[1];
    bool single = domain > 0 && domain <= UINT32_MAX && !(domain & (domain - 1));
    const struct pen_property *parts = single ? parts_along(device, (uint32_t)__builtin_ctzll((uint64_t)domain)) : NULL;
    uint32_t made;
    if (!parts || properties[2] || parts->size < 2 * sizeof made)
        return CL_INVALID_VALUE;
    memcpy(&made, parts->value, sizeof made);
    size_t count = parts->size / sizeof made - 1;
    if (count > PEN_LIMIT_PARTITIONS)
        return CL_DEVICE_PARTITION_FAILED;
    memcpy(partition->units, (const char *)parts->value + sizeof made, count * sizeof made);
    partition->count = (uint32_t)count;
    partition->domain = (uint32_t)domain;
    partition->along[0] = CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN;
    partition->along[1] = made;
    partition->properties = partition->along;
    partition->property_count = 3;
    return CL_SUCCESS;
}

static cl_int parse(cl_device_id device, const cl_device_partition_property *properties, struct partition *partition)
{
    if (!properties)
        return CL_INVALID_VALUE;
    switch (properties[0]) {
    case CL_DEVICE_PARTITION_EQUALLY:
    case CL_DEVICE_PARTITION_BY_COUNTS:
    case CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN:
        break;
    default:
        return CL_INVALID_VALUE;
    }
    if (pen_device_property(device, CL_DEVICE_PARTITION_MAX_SUB_DEVICES) && !pen_partition_max(device))
        return device->parent ? CL_DEVICE_PARTITION_FAILED : CL_INVALID_VALUE;
    if (!has_way(device, properties[0]))
        return CL_INVALID_VALUE;
    if (properties[0] == CL_DEVICE_PARTITION_BY_AFFINITY_DOMAIN)
        return parse_domain(device, properties, partition);
    partition->properties = properties;
    return properties[0] == CL_DEVICE_PARTITION_EQUALLY ? parse_equally(device, properties, partition)
                                                        : parse_counts(device, properties, partition);
}

/* Asks the worker for parts named `ids`. 0 or -PEN_E*. */
static int ask(struct pen_session *session, cl_device_id device, const struct partition *partition, const uint64_t *ids)
{
    struct pen_msg_device_partition message = {
        .parent = device->id,
        .domain = partition->domain,
        .parts = ids,
        .parts_count = partition->count,
        .part_units = partition->units,
        .part_units_count = partition->count,
    };
    uint64_t sequence = 0;
    int rc = PEN_SEND(session, device_partition, &message, &sequence);
    uint16_t opcode = 0;
    void *frame = NULL;
    size_t size = 0;
    if (!rc)
        rc = pen_session_answer(session, sequence, &opcode, &frame, &size);
    if (rc)
        return rc;
    struct pen_scratch scratch = {0};
    struct pen_msg_device_partitioned answer;
    rc = opcode == PEN_OP_DEVICE_PARTITIONED ? pen_msg_device_partitioned_decode(frame, size, &scratch, &answer)
                                             : -PEN_EPROTO;
    if (!rc)
        rc = answer.status;
    pen_scratch_finish(&scratch);
    free(frame);
    return rc;
}

static _Atomic(struct pen_part_set *) *sets_of(cl_device_id device)
{
    while (device->parent)
        device = device->parent;
    return &device->sets;
}

/* Takes over parts like these that nobody has; NULL: there are none. */
static struct pen_part_set *find_set(struct pen_session *session, cl_device_id device,
                                     const struct partition *partition)
{
    /* Acquire: pairs with make_set. */
    struct pen_part_set *set = atomic_load_explicit(sets_of(device), memory_order_acquire);
    for (; set; set = set->next) {
        uint32_t none = 0;
        if (set->session == session && set->parent == device->id && set->domain == partition->domain &&
            set->count == partition->count &&
            !memcmp(set->units, partition->units, partition->count * sizeof *set->units) &&
            atomic_compare_exchange_strong_explicit(&set->alive, &none, set->count, memory_order_acq_rel,
                                                    memory_order_relaxed))
            break;
    }
    return set;
}

static int make_set(struct pen_session *session, cl_device_id device, const struct partition *partition,
                    struct pen_part_set **out_set)
{
    _Atomic(struct pen_part_set *) *sets = sets_of(device);
    struct pen_part_set *set = malloc(sizeof *set);
    if (!set)
        return -PEN_ENOMEM;
    *set = (struct pen_part_set){.session = session,
                                 .parent = device->id,
                                 .domain = partition->domain,
                                 .count = partition->count,
                                 .alive = partition->count};
    memcpy(set->units, partition->units, sizeof set->units);
    for (uint32_t i = 0; i < set->count; i++)
        set->ids[i] = pen_session_new_id(session);
    int rc = ask(session, device, partition, set->ids);
    if (rc) {
        free(set);
        return rc;
    }
    struct pen_part_set *first = atomic_load_explicit(sets, memory_order_relaxed);
    do
        set->next = first;
    while (!atomic_compare_exchange_weak_explicit(sets, &first, set, memory_order_release, memory_order_relaxed));
    *out_set = set;
    return 0;
}

static cl_device_id create_part(cl_device_id parent, struct pen_session *session, const struct partition *partition,
                                uint32_t units)
{
    size_t bytes = partition->property_count * sizeof *partition->properties;
    cl_device_id device = calloc(1, sizeof *device);
    if (!device)
        return NULL;
    device->partition = malloc(bytes);
    if (!device->partition) {
        free(device);
        return NULL;
    }
    memcpy(device->partition, partition->properties, bytes);
    device->partition_length = (cl_uint)partition->property_count;
    pen_object_init(&device->object, PEN_MAGIC_DEVICE);
    device->home = parent->home;
    device->pool = parent->pool;
    device->facts = parent->facts;
    device->parent = parent;
    device->compute_units = units;
    device->session = session;
    pen_ref(parent);
    return device;
}

void pen_device_destroy(cl_device_id device)
{
    if (device->set)
        atomic_fetch_sub_explicit(&device->set->alive, 1, memory_order_acq_rel);
    pen_unref(device->parent); /* roots never lose their own first reference */
    free(device->partition);
    free(device);
}

static cl_int create_parts(cl_device_id device, const struct partition *partition, cl_device_id *out_devices)
{
    /* A part of a part is known where its parent is. */
    int rc = 0;
    struct pen_session *session = device->session ? device->session : pen_session(device->home, &rc);
    if (!session)
        return CL_OUT_OF_RESOURCES;
    cl_device_id parts[PEN_LIMIT_PARTITIONS] = {NULL};
    for (uint32_t i = 0; i < partition->count; i++) {
        parts[i] = create_part(device, session, partition, partition->units[i]);
        if (!parts[i])
            rc = -PEN_ENOMEM;
    }
    struct pen_part_set *set = rc ? NULL : find_set(session, device, partition);
    if (!rc && !set)
        rc = make_set(session, device, partition, &set);
    for (uint32_t i = 0; i < partition->count; i++) {
        if (!parts[i])
            continue; /* then there is no set */
        if (!set) {
            pen_unref(parts[i]);
            continue;
        }
        parts[i]->id = set->ids[i];
        parts[i]->set = set;
        out_devices[i] = parts[i];
    }
    if (rc == -PEN_EGONE) /* the specification lists no better one here */
        return CL_OUT_OF_RESOURCES;
    return pen_status(rc);
}

cl_int CL_API_CALL pen_clCreateSubDevices(cl_device_id device, const cl_device_partition_property *properties,
                                          cl_uint entry_count, cl_device_id *out_devices, cl_uint *out_count)
{
    if (!pen_object_is(device, PEN_MAGIC_DEVICE))
        return CL_INVALID_DEVICE;
    struct partition partition = {.count = 0};
    cl_int status = parse(device, properties, &partition);
    if (status)
        return status;
    if (out_devices && entry_count < partition.count)
        return CL_INVALID_VALUE;
    if (out_devices)
        status = create_parts(device, &partition, out_devices);
    if (!status && out_count)
        *out_count = partition.count;
    return status;
}

/* cl_ext_device_fission: the same in 64-bit entries with names of its own. */
cl_int CL_API_CALL pen_clCreateSubDevicesEXT(cl_device_id device, const cl_device_partition_property_ext *properties,
                                             cl_uint entry_count, cl_device_id *out_devices, cl_uint *out_count)
{
    cl_device_partition_property core[PEN_LIMIT_PARTITIONS + 3];
    size_t most = sizeof core / sizeof core[0], length = 1;
    if (!properties)
        return CL_INVALID_VALUE;
    bool equally = properties[0] == CL_DEVICE_PARTITION_EQUALLY_EXT;
    if (!equally && properties[0] != CL_DEVICE_PARTITION_BY_COUNTS_EXT)
        return CL_INVALID_VALUE;
    core[0] = equally ? CL_DEVICE_PARTITION_EQUALLY : CL_DEVICE_PARTITION_BY_COUNTS;
    for (; length < most && properties[length]; length++)
        core[length] = (cl_device_partition_property)properties[length];
    if (length + 2 > most)
        return CL_INVALID_VALUE;
    core[length] = core[length + 1] = 0;
    return pen_clCreateSubDevices(device, core, entry_count, out_devices, out_count);
}
