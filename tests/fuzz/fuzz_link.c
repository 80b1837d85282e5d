/* Any bytes as what comes over a link, to an owner that does as the worker's: parts go into an arena, packed or not,
 * commands are checked, and whatever else it is ends the session. However the bytes are cut, and across which
 * connections they come, the same frames and the same arena come of them. Nothing outside the arena is written (ASan).
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "net/link.h"
#include "net/unix.h"
#include "wire/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA 4096u

static void require(bool what)
{
    if (!what)
        abort();
}

/* ---- a connection in memory --------------------------------------------------------------------------- */

struct memory {
    struct pen_stream stream; /* first */
    const uint8_t *data;
    size_t left, step;
    uint64_t *sent; /* counts what the link has sent, over all its connections */
};

static ssize_t memory_send(struct pen_stream *stream, const struct iovec *parts, int count)
{
    ssize_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += (ssize_t)parts[i].iov_len;
    *((struct memory *)(void *)stream)->sent += (uint64_t)bytes;
    return bytes;
}

static ssize_t memory_receive(struct pen_stream *stream, void *bytes, size_t size)
{
    struct memory *memory = (struct memory *)(void *)stream;
    size = size < memory->step ? size : memory->step;
    size = size < memory->left ? size : memory->left;
    if (!size)
        return -PEN_EGONE;
    memcpy(bytes, memory->data, size);
    memory->data += size;
    memory->left -= size;
    return (ssize_t)size;
}

static void memory_destroy(struct pen_stream *stream)
{
    free(stream);
}

static struct pen_stream *memory_create(const uint8_t *data, size_t size, size_t step, uint64_t *sent)
{
    static const struct pen_stream_ops ops = {memory_send, memory_receive, memory_destroy, NULL, NULL, NULL};
    struct memory *memory = malloc(sizeof *memory);
    require(memory);
    *memory = (struct memory){{&ops, -1}, data, size, step, sent};
    return &memory->stream;
}

/* ---- the owner ---------------------------------------------------------------------------------------- */

struct owner {
    unsigned char *arena;
    uint64_t hash;
    uint64_t number; /* of the part that came last */
    uint32_t frames;
    int no_room; /* PEN_LINK_LATER or PEN_LINK_KEEP */
    struct pen_scratch scratch;
};

static void note(struct owner *owner, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        owner->hash = (owner->hash ^ bytes[i]) * 1099511628211u;
}

/* Now and then there is no room. */
static bool has_room(struct owner *owner)
{
    return ++owner->frames % 5;
}

static int take_part(void *context, const struct pen_msg_link_part *part, void **out_bulk)
{
    struct owner *owner = context;
    if (!has_room(owner))
        return PEN_LINK_LATER;
    note(owner, (const unsigned char *)part, sizeof *part);
    if (!pen_arena_range_ok(ARENA, part->offset, part->bytes))
        return -PEN_EPROTO;
    owner->number = part->number;
    *out_bulk = owner->arena + part->offset;
    return 0;
}

static int take_frame(void *context, const void *frame, size_t size)
{
    struct owner *owner = context;
    const struct pen_frame_header *header = frame;
    require((uintptr_t)frame % 8 == 0 && header->size == size && size <= PEN_LIMIT_FRAME);
    if (!has_room(owner))
        return owner->no_room;
    note(owner, frame, size);
    const struct pen_message_info *info = pen_message_info(header->opcode);
    if (!info || info->direction != PEN_DIRECTION_COMMAND)
        return -PEN_EPROTO;
    int rc = pen_message_check(frame, size, &owner->scratch);
    pen_scratch_reset(&owner->scratch);
    return rc;
}

static int take_bulk(void *context)
{
    struct owner *owner = context;
    note(owner, (const unsigned char *)&owner->number, sizeof owner->number);
    return 0;
}

/* ---- */

/* What the peer may acknowledge. */
static void send_something(struct pen_link *link, const unsigned char *arena)
{
    for (uint64_t i = 0; i < 3; i++)
        require(!pen_link_add_range(link, arena + i * 8, i * 8, 64, i));
    pen_link_flush(link);
}

/* Until nothing comes any more: whatever was put off is offered again. */
static int turn(struct pen_link *link)
{
    int rc;
    while (!(rc = pen_link_turn(link)))
        ;
    return rc;
}

/* Over one connection that ends after `cut` bytes and another, `step` bytes at a time; what came of it, as a number. */
static uint64_t outcome(const uint8_t *data, size_t size, size_t cut, size_t step, int no_room)
{
    struct owner owner = {.arena = calloc(1, ARENA), .hash = 14695981039346656037u, .no_room = no_room};
    const struct pen_link_owner calls = {take_frame, take_part, take_bulk, &owner};
    unsigned char source[128] = {0};
    uint64_t sent = 0;
    struct pen_link *link = NULL;
    require(owner.arena && !pen_link_create(&calls, &link) && !pen_link_use_packing(link));
    require(!pen_link_attach(link, memory_create(data, cut, step, &sent), 0));
    send_something(link, source);
    int rc = turn(link);
    if (rc == -PEN_EGONE) {
        require(pen_link_received(link) == cut);
        rc = pen_link_attach(link, memory_create(data + cut, size - cut, step, &sent), sent);
        if (!rc)
            rc = turn(link);
        require(rc != -PEN_EGONE || pen_link_received(link) == size);
    }
    note(&owner, owner.arena, ARENA);
    pen_link_destroy(link);
    pen_scratch_finish(&owner.scratch);
    free(owner.arena);
    return owner.hash * 31 + (uint64_t)-rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    uint64_t whole = outcome(data, size, size, SIZE_MAX, PEN_LINK_LATER);
    require(outcome(data, size, size, 1 + size % 61, PEN_LINK_LATER) == whole);
    require(outcome(data, size, data[size - 1] * size / 256, SIZE_MAX, PEN_LINK_LATER) == whole);
    /* What then comes ahead of what depends on how much comes at once. */
    (void)outcome(data, size, data[size - 1] * size / 256, 1 + size % 61, PEN_LINK_KEEP);
    return 0;
}
