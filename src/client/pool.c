/* The devices of the pool, as the daemon describes them. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/internal.h"

/* Frames are kept: what was decoded points into them. */
struct block {
    struct block *next;
    _Alignas(16) unsigned char frame[];
};

/* Receives one message and keeps it; *out_frame lives as long as the pool. */
static int receive_kept(const struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint16_t opcode,
                        uint64_t deadline_ns, struct pen_pool *pool, const void **out_frame, struct pen_error *error)
{
    int rc = pen_daemon_receive(peer, frame, opcode, deadline_ns, error);
    if (rc)
        return rc;
    struct block *block = malloc(sizeof *block + frame->size);
    if (!block)
        return pen_fail(error, -PEN_ENOMEM, "reading the daemon's devices: out of memory");
    memcpy(block->frame, frame->data, frame->size);
    block->next = pool->storage;
    pool->storage = block;
    *out_frame = block->frame;
    return 0;
}

static int malformed(int rc, struct pen_error *error)
{
    return pen_fail(error, rc, "the daemon's description of its devices is malformed");
}

static int query_properties(const struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint64_t deadline_ns,
                            struct pen_pool *pool, struct pen_pool_device *device, struct pen_error *error)
{
    uint32_t count = device->info.properties;
    if (count > PEN_LIMIT_PROPERTIES) {
        return pen_fail(error, -PEN_ELIMIT,
                        "the daemon's device %s has %u properties, at most %u are allowed (PROPERTIES)",
                        device->info.name, count, PEN_LIMIT_PROPERTIES);
    }
    struct pen_property *properties = calloc(count ? count : 1, sizeof *properties);
    if (!properties)
        return pen_fail(error, -PEN_ENOMEM, "reading the daemon's devices: out of memory");
    device->properties = properties;
    for (uint32_t i = 0; i < count; i++) {
        const void *bytes = NULL;
        struct pen_scratch scratch = {0};
        struct pen_msg_device_property message;
        int rc = receive_kept(peer, frame, PEN_OP_DEVICE_PROPERTY, deadline_ns, pool, &bytes, error);
        if (rc)
            return rc;
        rc = pen_msg_device_property_decode(bytes, frame->size, &scratch, &message);
        pen_scratch_finish(&scratch);
        if (rc || message.device != device->info.device)
            return malformed(rc ? rc : -PEN_EPROTO, error);
        properties[i] = (struct pen_property){message.key, message.value.size, message.value.data};
        device->property_count = i + 1;
    }
    return 0;
}

static int query_device(const struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint64_t deadline_ns,
                        struct pen_pool *pool, struct pen_error *error)
{
    const void *bytes = NULL;
    int rc = receive_kept(peer, frame, PEN_OP_DEVICE, deadline_ns, pool, &bytes, error);
    if (rc)
        return rc;
    struct pen_pool_device *device = &pool->devices[pool->device_count];
    struct pen_scratch scratch = {0};
    rc = pen_msg_device_decode(bytes, frame->size, &scratch, &device->info);
    pen_scratch_finish(&scratch); /* the message has no lists: all of it points into the frame */
    if (rc)
        return malformed(rc, error);
    pool->device_count++;
    return query_properties(peer, frame, deadline_ns, pool, device, error);
}

static int query(const struct pen_daemon_peer *peer, struct pen_unix_frame *frame, uint64_t deadline_ns,
                 struct pen_pool *pool, struct pen_error *error)
{
    struct pen_msg_devices devices;
    struct pen_scratch scratch = {0};
    const void *bytes = NULL;
    int rc = PEN_DAEMON_SEND(peer, device_list, &(struct pen_msg_device_list){0}, deadline_ns);
    if (rc)
        return pen_fail(error, rc, "asking the daemon for its devices: %s", pen_error_text(rc));
    rc = pen_daemon_greeted(peer, frame, deadline_ns, error);
    if (!rc) /* it is there and well; how long its drivers take, it alone knows, and bounds */
        rc = receive_kept(peer, frame, PEN_OP_DEVICES, pen_deadline_ms(PEN_PROBE_TIMEOUT_MS), pool, &bytes, error);
    if (rc)
        return rc;
    deadline_ns = pen_deadline_ms(PEN_CONNECT_TIMEOUT_MS);
    rc = pen_msg_devices_decode(bytes, frame->size, &scratch, &devices);
    pen_scratch_finish(&scratch);
    if (rc)
        return malformed(rc, error);
    if (devices.count > PEN_LIMIT_DEVICES) {
        return pen_fail(error, -PEN_ELIMIT, "the daemon has %u devices, at most %u are allowed (DEVICES)",
                        devices.count, PEN_LIMIT_DEVICES);
    }
    pool->number = devices.pool;
    pool->jail = devices.jail;
    pool->devices = calloc(devices.count ? devices.count : 1, sizeof *pool->devices);
    if (!pool->devices)
        return pen_fail(error, -PEN_ENOMEM, "reading the daemon's devices: out of memory");
    for (uint32_t i = 0; !rc && i < devices.count; i++)
        rc = query_device(peer, frame, deadline_ns, pool, error);
    return rc;
}

static int query_once(const struct pen_pool_address *address, uint64_t deadline_ns, struct pen_pool *out_pool,
                      struct pen_error *error)
{
    struct pen_unix_frame frame = {0};
    struct pen_pool pool = {0};
    struct pen_daemon_peer peer = {.fd = -1};
    int rc = pen_daemon_connect(address, deadline_ns, &peer, error);
    if (rc)
        return rc;
    rc = query(&peer, &frame, deadline_ns, &pool, error);
    pen_daemon_close(&peer);
    pen_unix_frame_finish(&frame);
    if (rc) {
        pen_pool_finish(&pool);
        return rc;
    }
    *out_pool = pool;
    return 0;
}

int pen_pool_query(struct pen_pool *out_pool, struct pen_error *error)
{
    uint64_t deadline_ns = pen_deadline_ms(PEN_CONNECT_TIMEOUT_MS);
    struct pen_pool_address storage;
    const struct pen_pool_address *address;
    int rc = pen_pool_address(&storage, &address, error);
    if (rc)
        return rc;
    do
        rc = query_once(address, deadline_ns, out_pool, error);
    while (pen_daemon_try_again(address, rc, deadline_ns));
    explicit_bzero(&storage, sizeof storage);
    return rc;
}

void pen_pool_finish(struct pen_pool *pool)
{
    for (uint32_t i = 0; i < pool->device_count; i++)
        free((void *)(uintptr_t)pool->devices[i].properties);
    free(pool->devices);
    struct block *block = pool->storage;
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    *pool = (struct pen_pool){0};
}
