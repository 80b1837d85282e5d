/* worker/room.c - devices' memory that is short: what need not be there leaves for what a command is to find there.
 * Model: README rule 13. */
#include "worker/work.h"

static void stop(void *context, const struct pen_hazard_node *before)
{
    (void)before;
    *(bool *)context = true;
}

/* Is it to be read by what waits for room in the link? Of that no history tells, where all was valid when it came. */
static bool is_to_be_read(const struct pen_work_region *root, const struct pen_work_domain *domain)
{
    PEN_LIST_EACH(node, next, &root->work->unsent)
    {
        const struct pen_work_command *read = PEN_CONTAINER(node, struct pen_work_task, node.ready)->command;
        if (read->u.transfer.region->root == root && read->lane->device->domain == domain)
            return true;
    }
    return false;
}

/* Does anything under way count on the replica, by that memory? What has been submitted keeps it by itself, unless it
 * is a copy that may yet fail. */
static bool is_in_use(const struct pen_work_region *root, const struct pen_work_device *device)
{
    const struct pen_access all = {(struct pen_work_region *)(uintptr_t)root, 0, root->size, PEN_HAZARD_WRITE, false};
    bool used = !pen_list_empty(&root->copies) || is_to_be_read(root, device->domain);
    pen_move_visit(&all, device, stop, &used);
    return used;
}

static bool is_among(const struct pen_work_region *root, const struct pen_access *accesses, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (accesses[i].root == root)
            return true;
    return false;
}

static bool may_leave(const struct pen_work_region *root, const struct pen_work_device *device,
                      const struct pen_access *accesses, uint32_t count)
{
    uint32_t at = device->domain->index;
    return !pen_region_is_direct(root) && at < root->memory_count && root->memories[at] &&
           pen_residency_is_spare(&root->residency, at) && !is_among(root, accesses, count) && !is_in_use(root, device);
}

/* The next region after *at, or the first, that need not be in the device's memory leaves it: its contents are
 * elsewhere, nothing uses them there, and they are not what the accesses are of. False: there is none. */
static bool make_room(const struct pen_work *work, const struct pen_work_device *device,
                      const struct pen_access *accesses, uint32_t count, const struct pen_list **at)
{
    const struct pen_list *node = *at ? *at : &work->region_list;
    while ((node = node->next) != &work->region_list) {
        struct pen_work_region *region =
            PEN_CONTAINER((struct pen_list *)(uintptr_t)node, struct pen_work_region, link);
        if (region->root != region || !may_leave(region, device, accesses, count))
            continue;
        pen_region_leave(region, device->domain->index);
        *at = node;
        return true;
    }
    return false;
}

static int reserve(struct pen_work_region *root, struct pen_work_device *device, const struct pen_access *accesses,
                   uint32_t count)
{
    struct pen_backend_memory *memory;
    const struct pen_list *at = NULL;
    uint32_t domain = device->domain->index;
    if (domain >= root->memory_count || !root->memories[domain])
        root->made |= UINT64_C(1) << domain;
    int rc = pen_region_memory(root, device, &memory);
    while (rc == -PEN_EDEVMEM && make_room(root->work, device, accesses, count, &at))
        rc = pen_region_memory(root, device, &memory);
    return rc;
}

int pen_room_reserve(const struct pen_access *accesses, uint32_t count, struct pen_work_device *device)
{
    int rc = 0;
    for (uint32_t i = 0; i < count; i++)
        accesses[i].root->made &= ~(UINT64_C(1) << device->domain->index);
    for (uint32_t i = 0; i < count && !rc; i++)
        if (!pen_region_is_direct(accesses[i].root))
            rc = reserve(accesses[i].root, device, accesses, count);
    return rc;
}

bool pen_room_make(const struct pen_work_command *command)
{
    struct pen_access accesses[PEN_LIMIT_ARGUMENTS];
    uint32_t count = pen_command_accesses(command, accesses);
    const struct pen_list *at = NULL;
    bool any = false;
    while (make_room(command->queue->work, command->lane->device, accesses, count, &at))
        any = true;
    return any;
}

/* What cannot be copied stays. */
void pen_room_send_home(struct pen_work *work)
{
    PEN_LIST_EACH(node, next, &work->region_list)
    {
        struct pen_work_region *region = PEN_CONTAINER(node, struct pen_work_region, link);
        if (region->root == region)
            (void)pen_move_home(region);
    }
}
