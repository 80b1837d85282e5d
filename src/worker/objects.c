/* worker/objects.c - ids, devices and their domains, queues, samplers. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/work.h"

void *pen_work_find(struct pen_work *work, const struct pen_map *map, uint64_t id, const char *what)
{
    void *object = id ? pen_map_get(map, id) : NULL;
    if (!object)
        pen_work_fail(work, -PEN_EPROTO, "there is no %s %llu", what, (unsigned long long)id);
    return object;
}

bool pen_work_name(struct pen_work *work, struct pen_map *map, uint64_t id, void *object, const char *what)
{
    if (!id || pen_map_get(map, id))
        return pen_work_fail(work, -PEN_EPROTO, "the id of a new %s is %s: %llu", what, id ? "taken" : "none",
                             (unsigned long long)id);
    if (work->objects >= PEN_WORK_OBJECTS)
        return pen_work_fail(work, -PEN_ELIMIT, "more than %u objects (limit PEN_WORK_OBJECTS)", PEN_WORK_OBJECTS);
    if (pen_map_set(map, id, object))
        return pen_work_fail(work, -PEN_ENOMEM, "out of memory for the name of a %s", what);
    work->objects++;
    return true;
}

void *pen_work_unname(struct pen_work *work, struct pen_map *map, uint64_t id, const char *what)
{
    void *object = pen_work_find(work, map, id, what);
    if (object) {
        pen_map_remove(map, id);
        work->objects--;
    }
    return object;
}

int pen_work_grow(void *array_of_pointers, uint32_t *count, uint32_t index)
{
    void ***array = array_of_pointers;
    if (index < *count)
        return 0;
    uint32_t bigger = index + 1 < 4 ? 4 : index + 1;
    void **grown = realloc(*array, bigger * sizeof **array);
    if (!grown)
        return -PEN_ENOMEM;
    memset(grown + *count, 0, (bigger - *count) * sizeof *grown);
    *array = grown;
    *count = bigger;
    return 0;
}

/* ---- devices -------------------------------------------------------------------------------------------- */

struct pen_work_device *pen_work_device(struct pen_work *work, uint64_t id)
{
    return pen_work_find(work, &work->device_map, id, "device");
}

static struct pen_work_domain *domain_of(struct pen_work *work, struct pen_backend_domain *backend)
{
    for (uint32_t i = 0; i < work->domain_count; i++)
        if (work->domains[i]->backend == backend)
            return work->domains[i];
    if (work->domain_count == PEN_REPLICAS)
        return NULL;
    struct pen_work_domain *domain = calloc(1, sizeof *domain);
    if (!domain)
        return NULL;
    *domain = (struct pen_work_domain){.backend = backend, .index = work->domain_count};
    work->domains[work->domain_count++] = domain;
    return domain;
}

int pen_work_add_device(struct pen_work *work, uint64_t id, const struct pen_backend_device *backend,
                        struct pen_work_device **out_device)
{
    if (work->device_count >= PEN_WORK_DEVICES)
        return -PEN_ELIMIT;
    struct pen_work_domain *domain = backend->domain ? domain_of(work, backend->domain) : NULL;
    if (backend->domain && !domain)
        return -PEN_ELIMIT;
    struct pen_work_device *device = calloc(1, sizeof *device);
    uint32_t room = work->device_count;
    struct pen_work_device **grown =
        device ? realloc(work->devices, (room + 1) * sizeof(struct pen_work_device *)) : NULL;
    if (!grown) {
        free(device);
        return -PEN_ENOMEM;
    }
    work->devices = grown;
    *device = (struct pen_work_device){.id = id, .index = room, .backend = backend, .domain = domain};
    if (id && pen_map_set(&work->device_map, id, device)) {
        free(device);
        return -PEN_ENOMEM;
    }
    work->devices[work->device_count++] = device;
    *out_device = device;
    return 0;
}

static bool is_alike(const struct pen_backend_device *a, const struct pen_backend_device *b)
{
    return a->compute_units == b->compute_units && !strcmp(a->vendor_name, b->vendor_name) &&
           !strcmp(a->driver, b->driver);
}

int pen_work_add_offer(struct pen_work *work, uint64_t id, const struct pen_offer *offer)
{
    struct pen_work_device *device;
    int rc = pen_work_add_device(work, id, &offer->device, &device);
    if (rc || !offer->member_count)
        return rc;
    device->members = calloc(offer->member_count, sizeof(struct pen_work_device *));
    if (!device->members)
        return -PEN_ENOMEM;
    for (; device->member_count < offer->member_count && !rc; device->member_count += !rc)
        rc = pen_work_add_device(work, 0, offer->members[device->member_count], &device->members[device->member_count]);
    for (uint32_t i = 0; i < device->member_count; i++) {
        assert(device->members[i]);
        device->members[i]->span = device;
        device->members[i]->at = i;
        uint32_t like = 0;
        while (!is_alike(offer->members[like], offer->members[i]))
            like++;
        device->members[i]->like = device->members[like];
    }
    return rc ? rc : pen_spread_init(device);
}

/* ---- queues ----------------------------------------------------------------------------------------------- */

/* Commands of a spanning device's queue are ordered by events alone, and so are copies, whose queue has no id. A driver
 * without such queues orders them more. */
static int make_lane(struct pen_work *work, struct pen_work_lane *lane, bool by_events,
                     const struct pen_msg_queue_create *m)
{
    const struct pen_work_device *device = lane->device;
    struct pen_backend_queue_desc desc = {m->flags, m->priority, m->throttle};
    if (device->span) /* its driver may not know them */
        desc.priority = desc.throttle = (enum pen_hint)0;
    int rc = -PEN_EUNSUPPORTED;
    if (work->log) /* what ran when (trace.c) */
        desc.flags |= PEN_QUEUE_FLAG_PROFILING;
    if (by_events) {
        desc.flags |= PEN_QUEUE_FLAG_OUT_OF_ORDER;
        rc = work->ops->queue_create(device->domain->backend, device->backend->index, &desc, &lane->backend);
        desc.flags &= ~(uint32_t)PEN_QUEUE_FLAG_OUT_OF_ORDER;
    }
    if (!by_events || (rc && rc != -PEN_ENOMEM))
        rc = work->ops->queue_create(device->domain->backend, device->backend->index, &desc, &lane->backend);
    return rc;
}

/* Hints are worth something where commands wait for room: a spanning device weighs them itself, as queue->priority. */
static uint8_t priority_of(enum pen_hint hint)
{
    return hint == PEN_HINT_HIGH ? 2 : hint == PEN_HINT_LOW ? 0 : 1;
}

static int make_lanes(struct pen_work_queue *queue, struct pen_work_device *const *members, uint32_t count,
                      const struct pen_msg_queue_create *m)
{
    int rc = 0;
    for (uint32_t i = 0; i < count && !rc; i++) {
        queue->lanes[i].device = members[i];
        rc = make_lane(queue->work, &queue->lanes[i], count > 1 || !m->queue, m);
        queue->lane_count += !rc;
    }
    return rc;
}

static void drop_lanes(struct pen_work_queue *queue)
{
    for (uint32_t i = 0; i < queue->lane_count; i++)
        queue->work->ops->queue_destroy(queue->lanes[i].backend);
}

int pen_queue_create(struct pen_work *work, struct pen_work_device *device, const struct pen_msg_queue_create *m,
                     struct pen_work_queue **out)
{
    struct pen_work_device *const *members;
    uint32_t member_count = pen_device_members(&device, &members);
    struct pen_work_queue *queue = calloc(1, sizeof *queue + member_count * sizeof *queue->lanes);
    if (!queue)
        return -PEN_ENOMEM;
    *queue = (struct pen_work_queue){.work = work,
                                     .refs = 1,
                                     .slot = m->slot,
                                     .in_order = !(m->flags & PEN_QUEUE_FLAG_OUT_OF_ORDER),
                                     .profiling = m->flags & PEN_QUEUE_FLAG_PROFILING,
                                     .priority = priority_of(m->priority)};
    int rc = make_lanes(queue, members, member_count, m);
    if (rc) {
        drop_lanes(queue);
        free(queue);
        return rc;
    }
    pen_list_init(&queue->held);
    pen_list_init(&queue->touched);
    pen_list_init(&queue->pending);
    pthread_mutex_init(&queue->lock, NULL);
    pen_list_append(&work->queue_list, &queue->link);
    *out = queue;
    return 0;
}

int pen_queue_of_domain(struct pen_work *work, struct pen_work_device *device, struct pen_work_queue **out)
{
    const struct pen_msg_queue_create how = {.flags = PEN_QUEUE_FLAG_OUT_OF_ORDER | PEN_QUEUE_FLAG_PROFILING};
    int rc = 0;
    if (!device->domain->transfer)
        rc = pen_queue_create(work, device, &how, &device->domain->transfer);
    *out = device->domain->transfer;
    return rc;
}

void pen_queue_ref(struct pen_work_queue *queue)
{
    queue->refs++;
}

void pen_queue_unref(struct pen_work_queue *queue)
{
    if (--queue->refs)
        return;
    pen_task_last(queue);
    if (queue->refs)
        return;
    pen_list_remove(&queue->link);
    pen_list_remove(&queue->touched);
    drop_lanes(queue);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* ---- samplers --------------------------------------------------------------------------------------------- */

void pen_sampler_unref(struct pen_work_sampler *sampler)
{
    if (--sampler->refs)
        return;
    for (uint32_t i = 0; i < sampler->sampler_count; i++)
        if (sampler->samplers[i])
            sampler->ops->sampler_destroy(sampler->samplers[i]);
    free(sampler->samplers);
    free(sampler);
}
