/* worker/access.c - which bytes of which regions a command reads and writes. Of a kernel: what its arguments may reach,
 * by their qualifiers and what its source does with them (source.h); of a transfer: from the box's first byte to its
 * last. */
#include "mem/box.h"
#include "worker/work.h"

/* Values of the API's enums in argument_info, as in the Khronos headers. */
#define ADDRESS_CONSTANT 0x119Du
#define ACCESS_READ_ONLY 0x11A0u
#define QUALIFIER_CONST  1u

/* May a kernel write through the argument? That the region was made for kernels to read only says nothing: hashcat's
 * write to such buffers, and no driver minds. */
static bool may_write(const struct pen_work_kernel *kernel, uint32_t index)
{
    const struct pen_argument_info *info = &kernel->info->arguments[index];
    if (kernel->reads && kernel->reads[index])
        return false;
    return !info->known || !(info->address == ADDRESS_CONSTANT || info->access == ACCESS_READ_ONLY ||
                             (info->qualifiers & QUALIFIER_CONST));
}

bool pen_command_may_be_refused(const struct pen_work_command *command)
{
    for (uint32_t i = 0; i < command->wait_count && i < command->order_from; i++)
        if (command->waits[i]->node.state != PEN_GRAPH_DONE || command->waits[i]->node.status < 0)
            return true;
    return false;
}

static bool is_root(const struct pen_work_region *region)
{
    return region->root == region;
}

/* A slice lies in its root where its arena range does; a view lies over all of what it is of. */
static void set_whole(struct pen_access *access, const struct pen_work_region *region, enum pen_hazard_mode mode)
{
    access->root = region->root;
    access->begin = region->arena_offset - region->root->arena_offset;
    access->end = access->begin + region->size;
    access->mode = mode;
    access->fresh = false;
}

/* Does a command that writes so many bytes leave no old one of what it covers? Not if it may never run. */
static bool is_fresh(const struct pen_work_command *command, const struct pen_work_region *region,
                     const struct pen_access *access, uint64_t bytes, bool whole)
{
    bool all = region->kind == PEN_REGION_KIND_BUFFER ? access->end - access->begin == bytes : whole && is_root(region);
    return all && !pen_command_may_be_refused(command);
}

static uint64_t product(const uint64_t extent[3])
{
    return extent[0] * extent[1] * extent[2];
}

static struct pen_access whole(const struct pen_work_region *region, enum pen_hazard_mode mode)
{
    struct pen_access access;
    set_whole(&access, region, mode);
    return access;
}

static struct pen_access part(const struct pen_work_region *region, const struct pen_box *box, const uint64_t extent[3],
                              enum pen_hazard_mode mode)
{
    struct pen_access access = whole(region, mode);
    struct pen_box from = {.row_pitch = box->row_pitch, .slice_pitch = box->slice_pitch};
    uint64_t end;
    if (region->kind != PEN_REGION_KIND_BUFFER || pen_box_end(box, extent[0], extent[1], extent[2], &end))
        return access;
    from.row_pitch = from.row_pitch ? from.row_pitch : extent[0];
    from.slice_pitch = from.slice_pitch ? from.slice_pitch : from.row_pitch * extent[1];
    access.end = access.begin + end;
    access.begin += box->origin[0] + box->origin[1] * from.row_pitch + box->origin[2] * from.slice_pitch;
    return access;
}

static uint32_t of_launch(const struct pen_work_command *command, struct pen_access *out)
{
    const struct pen_work_kernel *kernel = command->u.launch.kernel;
    uint32_t count = 0;
    for (uint32_t i = 0; i < kernel->argument_count && !kernel->error; i++) {
        const struct pen_work_argument *argument = &command->u.launch.arguments[i];
        const struct pen_work_region *region = argument->object;
        if (argument->kind != PEN_ARGUMENT_KIND_REGION || !region || argument->error || !pen_region_alive(region))
            continue;
        set_whole(&out[count++], region, may_write(kernel, i) ? PEN_HAZARD_WRITE : PEN_HAZARD_READ);
    }
    return count;
}

/* The pixels of an image in a buffer lie without gaps (schema, copy). */
static struct pen_access side(const struct pen_work_region *region, const struct pen_work_region *other,
                              const struct pen_box *box, const uint64_t extent[3], enum pen_hazard_mode mode)
{
    struct pen_access access = whole(region, mode);
    if (region->kind != PEN_REGION_KIND_BUFFER || other->kind == PEN_REGION_KIND_BUFFER)
        return part(region, box, extent, mode);
    access.begin += box->origin[0];
    access.end = access.begin + extent[0] * extent[1] * extent[2] * other->image.element_bytes;
    return access;
}

/* Into a buffer. */
static uint64_t bytes_of_copy(const struct pen_work_command *command)
{
    const struct pen_work_region *source = command->u.copy.source;
    uint64_t count = product(command->u.copy.extent);
    return source->kind == PEN_REGION_KIND_BUFFER ? count : count * source->image.element_bytes;
}

uint32_t pen_command_accesses(const struct pen_work_command *command, struct pen_access out[PEN_LIMIT_ARGUMENTS])
{
    switch (command->opcode) {
    case PEN_OP_LAUNCH:
        return of_launch(command, out);
    case PEN_OP_MIGRATE:
        for (uint32_t i = 0; i < command->u.migrate.count; i++)
            out[i] = whole(command->u.migrate.regions[i], PEN_HAZARD_READ);
        return command->u.migrate.count;
    case PEN_OP_WRITE:
    case PEN_OP_READ:
        out[0] = part(command->u.transfer.region, &command->u.transfer.box, command->u.transfer.extent,
                      command->opcode == PEN_OP_WRITE ? PEN_HAZARD_WRITE : PEN_HAZARD_READ);
        out[0].fresh =
            command->opcode == PEN_OP_WRITE && is_fresh(command, command->u.transfer.region, &out[0],
                                                        product(command->u.transfer.extent), command->u.transfer.whole);
        return 1;
    case PEN_OP_COPY:
        out[0] = side(command->u.copy.source, command->u.copy.target, &command->u.copy.source_box,
                      command->u.copy.extent, PEN_HAZARD_READ);
        out[1] = side(command->u.copy.target, command->u.copy.source, &command->u.copy.target_box,
                      command->u.copy.extent, PEN_HAZARD_WRITE);
        out[1].fresh = out[0].root != out[1].root &&
                       /* it does not read them */ is_fresh(command, command->u.copy.target, &out[1],
                                                            bytes_of_copy(command), command->u.copy.whole);
        return 2;
    case PEN_OP_FILL: {
        struct pen_box box = {0};
        for (int i = 0; i < 3; i++)
            box.origin[i] = command->u.fill.origin[i];
        out[0] = part(command->u.fill.region, &box, command->u.fill.extent, PEN_HAZARD_WRITE);
        out[0].fresh =
            is_fresh(command, command->u.fill.region, &out[0], product(command->u.fill.extent), command->u.fill.whole);
        return 1;
    }
    default:
        return 0;
    }
}

bool pen_access_moves(const struct pen_access *accesses, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!pen_region_is_direct(accesses[i].root))
            return true;
    return false;
}
