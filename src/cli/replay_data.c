/* cli/replay_data.c - the bytes of a replay: staged for writes, compared by digest after reads. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "cli/cli.h"
#include "cli/replay.h"
#include "mem/box.h"

/* Bytes of transfers that may be pending before the oldest are waited for. */
#define PENDING_BYTES (UINT64_C(256) << 20)
/* Reads that came out differently, told one by one. */
#define TOLD_DIFFERENCES 10

/* ---- slots ------------------------------------------------------------------------------------------- */

struct pen_replay_slot *pen_replay_slot_new(struct pen_replay *replay, int *out_error)
{
    struct pen_replay_slot *slot = calloc(1, sizeof *slot);
    *out_error = slot ? pen_slot_acquire(replay->session, NULL, &slot->slot) : -PEN_ENOMEM;
    if (*out_error) {
        free(slot);
        return NULL;
    }
    slot->refs = 1;
    return slot;
}

void pen_replay_slot_unref(struct pen_replay *replay, struct pen_replay_slot *slot)
{
    if (!slot || --slot->refs)
        return;
    pen_slot_release(replay->session, slot->slot);
    free(slot);
}

/* ---- transfers --------------------------------------------------------------------------------------- */

static struct pen_replay_transfer *transfer_of(struct pen_list *link)
{
    return PEN_CONTAINER(link, struct pen_replay_transfer, link);
}

/* XXH3-128 of the rows in order (schema: read_digest). */
static void digest(struct pen_replay *replay, struct pen_replay_transfer *transfer)
{
    const struct pen_box *host = &transfer->host;
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return;
    XXH3_128bits_reset(state);
    for (uint64_t z = 0; z < transfer->slices; z++) {
        for (uint64_t y = 0; y < transfer->rows; y++) {
            uint64_t at =
                (host->origin[2] + z) * host->slice_pitch + (host->origin[1] + y) * host->row_pitch + host->origin[0];
            XXH3_128bits_update(state, pen_arena_at(replay->session, transfer->offset + at), transfer->row_bytes);
            transfer->digest.bytes += transfer->row_bytes;
        }
    }
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    transfer->digest.low = hash.low64;
    transfer->digest.high = hash.high64;
    transfer->digested = true;
}

/* The command is done with the range: note what a read brought, and free the range. */
static void settle(struct pen_replay *replay, struct pen_replay_transfer *transfer)
{
    bool good = pen_wait_slot(replay->session, transfer->slot->slot) == 0;
    if (transfer->is_read && good)
        digest(replay, transfer);
    pen_arena_free(replay->session, transfer->offset);
    replay->transfer_bytes -= transfer->size;
    pen_replay_slot_unref(replay, transfer->slot);
    pen_list_remove(&transfer->link);
}

/* A read that is complete and has met its digest in the log. Takes it. */
static void judge(struct pen_replay *replay, struct pen_replay_transfer *transfer)
{
    const struct pen_msg_read_digest *expected = &transfer->expected;
    bool same = transfer->digested && transfer->digest.bytes == expected->bytes &&
                transfer->digest.low == expected->low && transfer->digest.high == expected->high;
    if (!transfer->undefined)
        replay->counts.compared++;
    if (!transfer->undefined && !same && ++replay->counts.different <= TOLD_DIFFERENCES)
        pen_cli_fail(0, "read %" PRIu64 " of %" PRIu64 " bytes %s", transfer->sequence, expected->bytes,
                     transfer->digested ? "brought other bytes than it did then" : "failed");
    free(transfer);
}

/* A read stays, in `reads`, until its digest comes. */
static void retire(struct pen_replay *replay, struct pen_replay_transfer *transfer)
{
    settle(replay, transfer);
    if (!transfer->is_read)
        free(transfer);
    else if (transfer->expects)
        judge(replay, transfer);
}

void pen_replay_settle_transfers(struct pen_replay *replay)
{
    PEN_LIST_EACH(link, next, &replay->transfers)
    retire(replay, transfer_of(link));
}

int pen_replay_stage(struct pen_replay *replay, const void *bytes, uint64_t size, uint64_t *out_offset)
{
    /* What an event holds up that the log sets only later must not be waited for. */
    PEN_LIST_EACH(link, next, &replay->transfers)
    {
        if (replay->transfer_bytes + size <= PENDING_BYTES || replay->open_events.count)
            break;
        retire(replay, transfer_of(link));
    }
    int rc = pen_arena_alloc(replay->session, size ? size : 1, 64, out_offset);
    if (!rc && bytes && size)
        memcpy(pen_arena_at(replay->session, *out_offset), bytes, size);
    return rc;
}

int pen_replay_track(struct pen_replay *replay, struct pen_replay_transfer *transfer)
{
    struct pen_replay_transfer *copy = malloc(sizeof *copy);
    if (!copy)
        return -PEN_ENOMEM;
    *copy = *transfer;
    if (copy->is_read && pen_map_set(&replay->reads, copy->sequence, copy)) {
        free(copy);
        return -PEN_ENOMEM;
    }
    copy->slot->refs++;
    pen_list_append(&replay->transfers, &copy->link);
    replay->transfer_bytes += copy->size;
    return 0;
}

int pen_replay_shape(const struct pen_replay_region *region, const struct pen_msg_read *message,
                     struct pen_replay_transfer *out)
{
    struct pen_box host = message->host;
    uint64_t end;
    int rc;
    out->rows = message->extent[1];
    out->slices = message->extent[2];
    if (region->kind == PEN_REGION_KIND_BUFFER) {
        out->row_bytes = message->extent[0];
        if (!host.row_pitch)
            host.row_pitch = out->row_bytes;
        if (!host.slice_pitch)
            host.slice_pitch = host.row_pitch * out->rows;
        rc = pen_box_end(&host, out->row_bytes, out->rows, out->slices, &end);
    } else {
        out->row_bytes = message->extent[0] * region->image.element_bytes;
        rc = pen_box_of_image(region->kind, &region->image, message->extent, &host, &end);
    }
    out->host = host;
    return rc || end > message->arena_size ? -PEN_EPROTO : 0;
}

int pen_replay_compare(struct pen_replay *replay, uint64_t sequence, const struct pen_msg_read_digest *expected)
{
    struct pen_replay_transfer *transfer = pen_map_remove(&replay->reads, sequence);
    if (!transfer)
        return -PEN_EPROTO;
    transfer->expected = *expected;
    transfer->expects = true;
    if (pen_list_empty(&transfer->link))
        judge(replay, transfer);
    else
        retire(replay, transfer);
    return 0;
}

void pen_replay_drop_transfers(struct pen_replay *replay)
{
    pen_replay_settle_transfers(replay);
    for (uint32_t i = 0; i < replay->reads.capacity; i++)
        free(replay->reads.entries[i].value); /* reads whose digest the log has not */
    pen_map_finish(&replay->reads);
}
