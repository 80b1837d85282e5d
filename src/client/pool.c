/* The devices of the pools, as their daemons describe them. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "client/internal.h"
#include "net/pack.h"

/* How long a daemon is waited for. */
struct patience {
    uint64_t deadline_ns; /* for its greeting */
    uint64_t probe_ms;    /* then, while it looks for devices */
};

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

static int query(const struct pen_daemon_peer *peer, struct pen_unix_frame *frame, const struct patience *patience,
                 struct pen_pool *pool, struct pen_error *error)
{
    uint64_t deadline_ns = patience->deadline_ns;
    struct pen_msg_devices devices;
    struct pen_scratch scratch = {0};
    const void *bytes = NULL;
    int rc = PEN_DAEMON_SEND(peer, device_list, &(struct pen_msg_device_list){0}, deadline_ns);
    if (rc)
        return pen_fail(error, rc, "asking the daemon for its devices: %s", pen_error_text(rc));
    if (peer->stream)
        (void)pen_pack_available(); /* loads what a session will want, while nothing else is to be done */
    rc = pen_daemon_greeted(peer, frame, deadline_ns, error);
    if (!rc) /* it is there and well; how long its drivers take, it alone knows, and bounds */
        rc = receive_kept(peer, frame, PEN_OP_DEVICES, pen_deadline_ms(patience->probe_ms), pool, &bytes, error);
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

/* What the daemon has said goes, and with it what was decoded of it. */
static void forget(struct pen_pool *pool)
{
    for (uint32_t i = 0; i < pool->device_count; i++)
        free((void *)(uintptr_t)pool->devices[i].properties);
    free(pool->devices);
    for (struct block *block = pool->storage, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    *pool =
        (struct pen_pool){.name = pool->name, .status = pool->status, .error = pool->error, .address = pool->address};
}

static int query_once(struct pen_pool *pool, const struct patience *patience)
{
    struct pen_unix_frame frame = {0};
    struct pen_daemon_peer peer = {.fd = -1};
    int rc = pen_daemon_connect(pool->address, patience->deadline_ns, &peer, &pool->error);
    if (rc)
        return rc;
    if (peer.stream) /* its sessions connect again */
        pool->address->answered = pen_tcp_place_of(peer.fd);
    rc = query(&peer, &frame, patience, pool, &pool->error);
    pen_daemon_close(&peer);
    pen_unix_frame_finish(&frame);
    if (rc)
        forget(pool);
    return rc;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

struct question {
    struct pen_pool *pool;
    struct patience patience;
    pthread_t thread;
    bool aside; /* the thread is at it */
};

static void *ask(void *context)
{
    const struct question *question = context;
    struct pen_pool *pool = question->pool;
    do
        pool->status = query_once(pool, &question->patience);
    while (pen_daemon_try_again(pool->address, pool->status, question->patience.deadline_ns));
    return NULL;
}

/* Each on a thread of its own but the last, which is this one's, as are those for which there is no thread. */
static void ask_all(struct pen_pools *pools)
{
    struct question questions[PEN_POOLS_MOST];
    bool several = pools->count > 1;
    const struct patience patience = {pen_deadline_ms(several ? PEN_SEVERAL_TIMEOUT_MS : PEN_CONNECT_TIMEOUT_MS),
                                      several ? PEN_SEVERAL_PROBE_MS : PEN_PROBE_TIMEOUT_MS};
    for (uint32_t i = 0; i < pools->count; i++) {
        struct question *question = &questions[i];
        *question = (struct question){.pool = &pools->pools[i], .patience = patience};
        question->aside = i + 1 < pools->count && !pen_thread_start(&question->thread, ask, question);
    }
    for (uint32_t i = 0; i < pools->count; i++)
        if (!questions[i].aside)
            ask(&questions[i]);
    for (uint32_t i = 0; i < pools->count; i++)
        if (questions[i].aside)
            pthread_join(questions[i].thread, NULL);
}

bool pen_pool_there(const struct pen_pool *pool)
{
    struct pen_pool_address address = *pool->address;
    struct pen_pool now = {.name = pool->name, .address = &address};
    const struct patience patience = {pen_deadline_ms(PEN_SEVERAL_TIMEOUT_MS), PEN_SEVERAL_PROBE_MS};
    bool there = query_once(&now, &patience) == 0 && now.number == pool->number;
    forget(&now);
    explicit_bzero(&address, sizeof address);
    return there;
}

static int init(struct pen_pool *pool, const struct pen_pool_address *address)
{
    char name[PEN_POOL_NAME_BYTES];
    pen_pool_address_name(address, name);
    pool->name = strdup(name);
    pool->address = malloc(sizeof *pool->address);
    if (!pool->address || !pool->name)
        return -PEN_ENOMEM;
    *pool->address = *address;
    return 0;
}

int pen_pools_query(struct pen_pools *out_pools, struct pen_error *error)
{
    struct pen_pool_list list;
    struct pen_pools pools = {0};
    int rc = pen_pool_list_read(&list, error);
    if (rc)
        return rc;
    pools.pools = calloc(list.count, sizeof *pools.pools);
    for (; pools.pools && !rc && pools.count < list.count; pools.count++)
        rc = init(&pools.pools[pools.count], &list.addresses[pools.count]);
    pen_pool_list_finish(&list);
    if (!pools.pools || rc) {
        pen_pools_finish(&pools);
        return pen_fail(error, -PEN_ENOMEM, "asking the pools for their devices: out of memory");
    }
    ask_all(&pools);
    *out_pools = pools;
    return 0;
}

void pen_pools_finish(struct pen_pools *pools)
{
    for (uint32_t i = 0; i < pools->count; i++) {
        struct pen_pool *pool = &pools->pools[i];
        forget(pool);
        if (pool->address)
            explicit_bzero(pool->address, sizeof *pool->address);
        free(pool->address);
        free((void *)(uintptr_t)pool->name);
    }
    free(pools->pools);
    *pools = (struct pen_pools){0};
}

int pen_pools_check(struct pen_error *error)
{
    struct pen_pool_list list;
    int rc = pen_pool_list_read(&list, error);
    if (!rc)
        pen_pool_list_finish(&list);
    return rc;
}

bool pen_pools_elsewhere(void)
{
    struct pen_pool_list list;
    bool elsewhere = true;
    if (pen_pool_list_read(&list, NULL))
        return false; /* who asks for its devices is told */
    for (uint32_t i = 0; i < list.count; i++)
        elsewhere = elsewhere && !list.addresses[i].local;
    pen_pool_list_finish(&list);
    return elsewhere;
}

bool pen_pools_named(void)
{
    struct pen_pool_list list;
    if (pen_pool_list_read(&list, NULL))
        return true; /* something is, if not well */
    bool named = list.named;
    pen_pool_list_finish(&list);
    return named;
}
