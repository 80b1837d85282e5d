/* icd/move.h - bytes between the program's memory and a region: by this thread where the contents are in the arena and
 * nothing is in the way, else through a staging range of the arena and a command.
 * Model:     icd/README.md, memory
 * Ownership: borrows every pointer; the program's memory until the command has completed, as OpenCL says
 * Threads:   any
 * Errors:    as the enqueue call returns them */
#ifndef PEN_ICD_MOVE_H
#define PEN_ICD_MOVE_H

#include "icd/memory.h"

/* A blocking write to a busy queue is staged up to this size: it returns at once, but where programs may rely on the
 * device's use of their memory (CL_MEM_USE_HOST_PTR). Copies and fills of direct regions
 * are done by this thread up to this size: a hand-off costs more. Bytes. */
#define PEN_SMALL_BYTES (64u << 10)
/* A blocking transfer of an indirect region larger than a piece goes in pieces, a few in flight: two to a worker of
 * this host; to another host more and small ones, since there are more stations on the way, and each can be at one.
 * Bytes. */
#define PEN_PIECE_BYTES        (64u << 20)
#define PEN_PIECES             2u
#define PEN_REMOTE_PIECE_BYTES (1u << 20)
#define PEN_REMOTE_PIECES      8u

struct pen_move {
    cl_mem memory;
    cl_command_type type;
    bool to_region, blocking;
    bool contested; /* from a region: other commands may be writing meanwhile */
    void *program;  /* the address that program_place counts from */
    struct pen_place program_place;
    struct pen_place region_place; /* counted from the first byte of the region's contents */
    struct pen_span span;          /* how much */
    struct pen_box box;            /* the region's side, as the worker takes it */
    uint64_t extent[3];            /* likewise: bytes or pixels, rows, slices */
};

/* The whole of a clEnqueueRead* or Write* after its own checks. Nothing to move is a marker. */
cl_int pen_move_run(cl_command_queue queue, const struct pen_move *move, cl_uint wait_count, const cl_event *wait_list,
                    cl_event *out_event);

/* A read's bytes, waited for on a queue that nothing of the program's holds up, in pieces where they are many. `after`
 * is complete and has brought them about: a log of the session tells that order. Runs no action and none of the
 * program's functions: for threads that others wait for. 0 or -PEN_E*. */
int pen_move_fetch(cl_command_queue queue, const struct pen_move *move, cl_event after);

/* A command without an effect of its own that still has its place in the queue; `turn`: what it waits for is complete,
 * and so is it. Ends `e`. */
cl_int pen_enqueue_nothing(struct pen_enqueue *e, bool turn);
/* Drops the enqueue and returns `status`. */
cl_int pen_enqueue_drop(struct pen_enqueue *e, cl_int status);
/* Waits until this thread may act in the command's place: wait list complete, and what comes before it on the queue.
 * CL_SUCCESS, or what the call is to return. */
cl_int pen_enqueue_wait_turn(struct pen_enqueue *e, cl_uint wait_count, const cl_event *wait_list);

/* A range of the arena for bytes under way. Recycles what is free; waits for no command but, where the arena is full
 * and regions are on their way out, for those. */
int pen_staging_alloc(cl_context context, uint64_t size, uint64_t *out_offset);
/* Frees the range of so many bytes once the enqueue's command has completed; it has an event. Takes the range, whether
 * there is room for it or not. */
int pen_staging_free_after(struct pen_enqueue *e, uint64_t offset, uint64_t bytes);

/* staging.c: bounds what is under way to and from a worker on another host, by PEN_LINK_BULK_BYTES: before memory is
 * used for a transfer that the call will not wait for, it waits for room. Not for ever: when nothing moves any more
 * but an event of the program's own is not set yet, it takes what there is not, for the event may be this very thread's
 * to set. The caller gives the room back. */
void pen_staging_take_room(cl_context context, uint64_t bytes);
/* Without waiting, for memory that is in use already. */
void pen_staging_take_room_now(struct pen_home *home, uint64_t bytes);
void pen_staging_give_room(struct pen_home *home, uint64_t bytes);

/* Sends the command of `move` with its bytes in the arena, tight, at `staging`. */
int pen_move_send(struct pen_enqueue *e, const struct pen_move *move, uint64_t staging);

/* A direct region's copy or fill that this thread should do itself. */
static inline bool pen_small(size_t bytes)
{
    return bytes <= PEN_SMALL_BYTES;
}

#endif
