#include "icd/move.h"

#include <stdlib.h>

#include "icd/entry.h"
#include "icd/service.h"

cl_int pen_enqueue_drop(struct pen_enqueue *e, cl_int status)
{
    (void)pen_enqueue_end(e, -PEN_EBUSY);
    return status;
}

/* An out-of-order queue has no order but its barriers'. */
static void wait_barrier(cl_command_queue queue)
{
    while (!pen_queue_idle(queue)) {
        pthread_mutex_lock(&queue->lock);
        cl_event barrier = queue->barrier;
        if (barrier)
            pen_ref(barrier);
        pthread_mutex_unlock(&queue->lock);
        if (!barrier)
            return;
        cl_int status = pen_event_wait(barrier);
        pen_unref(barrier);
        if (status != CL_SUCCESS)
            return;
    }
}

cl_int pen_enqueue_wait_turn(struct pen_enqueue *e, cl_uint wait_count, const cl_event *wait_list)
{
    cl_int status = pen_enqueue_wait_list(e, wait_count, wait_list);
    if (status != CL_SUCCESS)
        return status;
    if (!e->queue->in_order) {
        wait_barrier(e->queue);
        return CL_SUCCESS;
    }
    int error = pen_queue_wait(e->queue);
    return error ? pen_status(error) : CL_SUCCESS;
}

cl_int pen_enqueue_nothing(struct pen_enqueue *e, bool turn)
{
    if (turn) {
        pen_enqueue_done_here(e, pen_enqueue_clock(e));
        return pen_enqueue_end(e, 0);
    }
    /* Without an event and a wait list nobody can tell that it was there. */
    if (!e->event && e->wait_count == 0)
        return pen_enqueue_end(e, 0);
    return pen_enqueue_end(e, pen_enqueue_place(e));
}

/* ---- staging ------------------------------------------------------------------------------------------- */

#define STAGING_ALIGN 256

static bool is_remote(const struct pen_session *session)
{
    return pen_session_features(session) & PEN_FEATURE_REMOTE;
}

int pen_staging_alloc(cl_context context, uint64_t size, uint64_t *out_offset)
{
    pen_recycle(context);
    return pen_arena_alloc(context->session, size, STAGING_ALIGN, out_offset);
}

struct staged {
    struct pen_action action;
    struct pen_session *session;
    struct pen_home *home; /* the session's */
    uint64_t offset, bytes;
    bool from_region; /* a read: `move` says where the bytes go */
    struct pen_move move;
};

static void staged_copy_out(const struct pen_move *move, struct pen_session *session, uint64_t offset)
{
    struct pen_place tight = pen_span_tight(&move->span);
    pen_span_copy(move->program, &move->program_place, pen_arena_at(session, offset), &tight, &move->span);
}

static void staged_run(struct pen_action *action, int status)
{
    struct staged *staged = PEN_CONTAINER(action, struct staged, action);
    if (staged->from_region && status == 0)
        staged_copy_out(&staged->move, staged->session, staged->offset);
    if (staged->from_region)
        atomic_fetch_sub_explicit(&staged->home->reads_staged, 1, memory_order_release);
    pen_arena_free(staged->session, staged->offset);
    pen_staging_give_room(staged->home, staged->bytes);
    atomic_fetch_add_explicit(&staged->home->stagings_ended, 1, memory_order_relaxed);
    free(staged);
}

/* Takes the room that its bytes have. */
static struct staged *staged_new(struct pen_enqueue *e, uint64_t offset, uint64_t bytes, const struct pen_move *move)
{
    struct staged *staged = calloc(1, sizeof *staged);
    if (!staged)
        return NULL;
    staged->action.event = e->event;
    staged->action.run = staged_run;
    staged->session = e->queue->context->session;
    staged->home = e->queue->context->home;
    staged->offset = offset;
    staged->bytes = bytes;
    if (move) {
        staged->from_region = !move->to_region;
        staged->move = *move;
    }
    return staged;
}

int pen_staging_free_after(struct pen_enqueue *e, uint64_t offset, uint64_t bytes)
{
    struct staged *staged = staged_new(e, offset, bytes, NULL);
    if (!staged)
        return -PEN_ENOMEM;
    pen_staging_take_room_now(staged->home, bytes);
    pen_action_add(&staged->action);
    return 0;
}

int pen_move_send(struct pen_enqueue *e, const struct pen_move *move, uint64_t staging)
{
    uint64_t size = pen_span_bytes(&move->span);
    if (move->to_region) {
        struct pen_msg_write write = {
            .queue = e->queue->id,
            .event = e->event_id,
            .slot = e->slot,
            .region = move->memory->id,
            .box = move->box,
            .extent = {move->extent[0], move->extent[1], move->extent[2]},
            .data = {staging, size},
            .waits = e->waits,
            .waits_count = e->wait_count,
        };
        return PEN_ENQUEUE(e, write, &write);
    }
    struct pen_msg_read read = {
        .queue = e->queue->id,
        .event = e->event_id,
        .slot = e->slot,
        .flags = move->contested ? PEN_READ_FLAG_CONTESTED : 0,
        .region = move->memory->id,
        .box = move->box,
        .extent = {move->extent[0], move->extent[1], move->extent[2]},
        .arena_offset = staging,
        .arena_size = size,
        .waits = e->waits,
        .waits_count = e->wait_count,
    };
    return PEN_ENQUEUE(e, read, &read);
}

/* The same, and unlocks the session, which the caller has locked: to another host it is sent when he waits for it. */
static int send_locked(struct pen_enqueue *e, const struct pen_move *move, uint64_t staging)
{
    struct pen_session *session = e->queue->context->session;
    int error = pen_move_send(e, move, staging);
    if (is_remote(session))
        pen_session_unlock_quietly(session);
    else
        pen_session_unlock(session);
    return error;
}

/* The same for a caller who waits for it. */
static int send_to_wait(struct pen_enqueue *e, const struct pen_move *move, uint64_t staging)
{
    struct pen_session *session = e->queue->context->session;
    if (!is_remote(session))
        return pen_move_send(e, move, staging);
    int error = pen_queue_lock(e->queue, e->turn);
    return error ? error : send_locked(e, move, staging);
}

/* Sends the command, which has an event, through a staging range. `waits`: returns when it is complete; otherwise an
 * action does what is left. Ends `e`. */
static cl_int move_staged(struct pen_enqueue *e, const struct pen_move *move, bool waits)
{
    struct pen_session *session = e->queue->context->session;
    struct staged *staged = NULL;
    uint64_t offset, bytes = pen_span_bytes(&move->span), room = waits ? 0 : bytes;

    if (room)
        pen_staging_take_room(e->queue->context, room);
    int error = pen_staging_alloc(e->queue->context, bytes, &offset);
    if (error)
        goto out_room;
    if (!waits) {
        staged = staged_new(e, offset, bytes, move);
        error = staged ? 0 : -PEN_ENOMEM;
        if (error)
            goto out_free;
    }
    if (move->to_region) {
        struct pen_place tight = pen_span_tight(&move->span);
        pen_span_copy(pen_arena_at(session, offset), &tight, move->program, &move->program_place, &move->span);
    }
    error = pen_hostptr_before_use(e, move->memory, move->to_region);
    if (!error)
        error = waits ? send_to_wait(e, move, offset) : pen_move_send(e, move, offset);
    if (error)
        goto out_free;
    if (!waits) {
        if (staged->from_region)
            atomic_fetch_add_explicit(&staged->home->reads_staged, 1, memory_order_relaxed);
        pen_action_add(&staged->action);
        return pen_enqueue_end(e, 0);
    }
    error = pen_enqueue_wait(e);
    if (!error && !move->to_region)
        staged_copy_out(move, session, offset);
out_free:
    free(staged);
    pen_arena_free(session, offset);
out_room:
    if (room)
        pen_staging_give_room(e->queue->context->home, room);
    return pen_enqueue_end(e, error);
}

/* ---- by this thread ------------------------------------------------------------------------------------ */

/* The region is direct. */
static int copy_in_turn(struct pen_enqueue *e, const struct pen_move *move)
{
    /* A read of before may have its bytes still in staging; they must not land on those of this one. */
    pen_settle(move->memory->context);
    int error = pen_session_alive(move->memory->context->session);
    if (!error)
        error = pen_hostptr_before_use(e, move->memory, false);
    if (error)
        return error;
    void *contents = pen_memory_at(move->memory);
    if (move->to_region) {
        size_t reach = 0;
        (void)pen_span_reach(&move->region_place, &move->span, &reach);
        if (reach == pen_span_bytes(&move->span))
            pen_arena_will_fill(move->memory->context->session, move->memory->arena_offset + move->region_place.first,
                                reach);
        pen_span_copy(contents, &move->region_place, move->program, &move->program_place, &move->span);
        pen_hostptr_wrote_here(move->memory, move->region_place.first, reach);
    } else {
        pen_span_copy(move->program, &move->program_place, contents, &move->region_place, &move->span);
    }
    return 0;
}

/* Ends the turn, which is this command's, and `e`. */
static cl_int move_here(struct pen_enqueue *e, struct pen_turn *turn, const struct pen_move *move)
{
    uint64_t started_ns = pen_enqueue_clock(e);
    return pen_turn_done(turn, e, started_ns, copy_in_turn(e, move));
}

/* A small write need not wait for a busy queue. But the errors of a wait list are this call's to return, and after it
 * programs look where they had their memory used, or release that. */
static bool returns_at_once(const struct pen_move *move, cl_uint wait_count)
{
    return move->to_region && wait_count == 0 && pen_small(pen_span_bytes(&move->span)) &&
           !pen_hostptr_is(move->memory) && !pen_hostptr_awaited(move->memory->context);
}

static cl_int move_direct(cl_command_queue queue, const struct pen_move *move, cl_uint wait_count,
                          const cl_event *wait_list, cl_event *out_event)
{
    bool stages = !move->blocking || returns_at_once(move, wait_count);
    bool likely_ready = wait_count == 0 && pen_queue_idle(queue);
    bool force_event = stages && !likely_ready;
    for (;;) {
        struct pen_enqueue e = {0};
        cl_int status =
            pen_enqueue_begin(&e, queue, move->type, wait_count, wait_list, out_event, move->blocking, force_event);
        if (status != CL_SUCCESS)
            return status;
        struct pen_turn turn;
        if (pen_turn_try(&turn, &e))
            return move_here(&e, &turn, move);
        if (!stages) {
            status = pen_turn_wait(&turn, &e, wait_count, wait_list);
            return status == CL_SUCCESS ? move_here(&e, &turn, move) : pen_enqueue_drop(&e, status);
        }
        if (e.event)
            return move_staged(&e, move, false);
        /* Another thread has used the queue since. */
        (void)pen_enqueue_drop(&e, CL_SUCCESS);
        force_event = true;
    }
}

/* ---- in pieces ----------------------------------------------------------------------------------------- */

/* A part of a move: whole slices, or rows of one slice, or bytes of one row. */
struct cursor {
    size_t byte, row, slice;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The part at the cursor, which moves on. Images' rows are never longer than a piece. */
static struct pen_move cursor_take(struct cursor *at, const struct pen_move *whole, size_t piece_bytes)
{
    struct pen_move part = *whole;
    const struct pen_span *span = &whole->span;
    size_t slice_bytes = span->row_bytes * span->rows;
    size_t skip_bytes = at->byte, skip_rows = at->row, skip_slices = at->slice;

    if (slice_bytes <= piece_bytes) {
        part.span.slices = least(piece_bytes / slice_bytes, span->slices - at->slice);
        at->slice += part.span.slices;
    } else if (span->row_bytes <= piece_bytes) {
        part.span.slices = 1;
        part.span.rows = least(piece_bytes / span->row_bytes, span->rows - at->row);
        at->row += part.span.rows;
    } else {
        part.span.slices = part.span.rows = 1;
        part.span.row_bytes = least(piece_bytes, span->row_bytes - at->byte);
        at->byte += part.span.row_bytes;
    }
    if (at->byte == span->row_bytes) {
        at->byte = 0;
        at->row++;
    }
    if (at->row == span->rows) {
        at->row = 0;
        at->slice++;
    }
    part.program_place.first +=
        skip_slices * part.program_place.slice_pitch + skip_rows * part.program_place.row_pitch + skip_bytes;
    part.box.origin[0] += skip_bytes;
    part.box.origin[1] += skip_rows;
    part.box.origin[2] += skip_slices;
    if (part.span.row_bytes != span->row_bytes)
        part.extent[0] = part.span.row_bytes;
    part.extent[1] = part.span.rows;
    part.extent[2] = part.span.slices;
    return part;
}

struct piece {
    cl_event event; /* NULL: not under way */
    uint64_t staging;
    struct pen_move move;
    bool lent; /* the program's memory is in the place of staging */
    struct pen_loan loan;
};

/* To another host a run of the program's bytes goes as it lies. Reads do not overtake those before them, whose bytes
 * may still have to be copied. */
static bool piece_lend(struct piece *piece, cl_context context)
{
    struct pen_session *session = context->session;
    const struct pen_move *move = &piece->move;
    size_t bytes = pen_span_bytes(&move->span), reach = 0;
    if (!is_remote(session) || !pen_span_reach(&move->program_place, &move->span, &reach) || reach != bytes ||
        (!move->to_region && atomic_load_explicit(&context->home->reads_staged, memory_order_acquire)))
        return false;
    piece->loan = (struct pen_loan){.offset = piece->staging,
                                    .bytes = bytes,
                                    .memory = (char *)move->program + move->program_place.first,
                                    .receives = !move->to_region};
    pen_arena_lend(session, &piece->loan);
    return true;
}

static void piece_take_back(struct piece *piece, struct pen_session *session)
{
    if (piece->lent)
        pen_arena_take_back(session, &piece->loan);
    piece->lent = false;
}

/* Waits for a piece under way and takes its bytes out. */
static cl_int piece_retire(struct piece *piece, struct pen_session *session)
{
    if (!piece->event)
        return CL_SUCCESS;
    cl_int status = pen_event_wait(piece->event);
    if (status == CL_SUCCESS && !piece->move.to_region && !piece->lent)
        staged_copy_out(&piece->move, session, piece->staging);
    piece_take_back(piece, session);
    (void)pen_release(piece->event, PEN_MAGIC_EVENT, CL_INVALID_EVENT);
    piece->event = NULL;
    return status;
}

/* The pieces of one transfer. To other threads that use the in-order queue they are one command: once one of them has
 * put a gate into the queue, pieces go beside it, on a queue of their own, behind the last one that was sent there.
 * Where no queue is to be had, the rest comes in a turn of its own, after what other threads have sent. */
struct pieces {
    cl_command_queue queue;
    struct pen_turn *turn;  /* NULL: there is no order to keep, or but one piece */
    bool begun;             /* the turn has */
    cl_command_queue aside; /* or NULL */
    cl_event first, last;   /* each referenced, or NULL */
};

static void keep_event(cl_event *kept, cl_event event)
{
    if (event)
        pen_ref(event);
    if (*kept)
        pen_unref(*kept);
    *kept = event;
}

/* As the program's. NULL: none is to be had. */
static cl_command_queue make_aside(cl_command_queue queue)
{
    return queue->property_list
               ? pen_clCreateCommandQueueWithProperties(queue->context, queue->device, queue->property_list, NULL)
               : pen_clCreateCommandQueue(queue->context, queue->device, queue->properties, NULL);
}

static int send_aside(struct pieces *all, struct pen_enqueue *e, const struct piece *piece, bool is_new)
{
    cl_command_queue queue = all->queue;
    struct pen_session *session = queue->context->session;
    int error = is_new ? pen_enqueue_wait_for(e, all->last) : 0;
    if (error)
        return error;
    e->queue = all->aside;
    pen_session_lock(session);
    if (all->aside->told < queue->told)
        all->aside->told = queue->told;
    return send_locked(e, &piece->move, piece->staging);
}

/* Locks the session, in the turn. */
static int lock_in_turn(struct pieces *all)
{
    int error = 0;
    if (all->begun)
        pen_session_lock(all->queue->context->session);
    else
        error = all->turn ? pen_turn_begin(all->turn, all->queue) : pen_queue_lock(all->queue, NULL);
    all->begun = all->turn && !error;
    return error;
}

static int send_in_turn(struct pieces *all, struct pen_enqueue *e, const struct piece *piece)
{
    struct pen_session *session = e->queue->context->session;
    int error = lock_in_turn(all);
    if (error)
        return error;
    if (all->turn && !pen_turn_is_open(all->turn)) {
        pen_session_unlock(session);
        bool is_new = !all->aside;
        if (is_new)
            all->aside = make_aside(all->queue);
        if (all->aside)
            return send_aside(all, e, piece, is_new);
        pen_turn_end(all->turn);
        all->begun = false;
        error = lock_in_turn(all);
        if (error)
            return error;
    }
    e->turn = all->turn;
    return send_locked(e, &piece->move, piece->staging);
}

/* In an in-order queue the program's list is the first piece's alone, and the others wait for that one: what has failed
 * of the list fails them too, and a list so long that markers of ours stand for it has them once, ahead of the turn. */
static cl_int piece_begin(struct pieces *all, struct piece *piece, struct pen_enqueue *e, cl_uint wait_count,
                          const cl_event *wait_list)
{
    bool follows = all->turn && all->first;
    cl_int status = pen_enqueue_begin(e, all->queue, piece->move.type, follows ? 0 : wait_count,
                                      follows ? NULL : wait_list, &piece->event, true, true);
    if (status != CL_SUCCESS || !follows || !wait_count || pen_event_peek(all->first) == CL_COMPLETE)
        return status;
    int error = pen_enqueue_wait_for(e, all->first);
    return error ? pen_enqueue_end(e, error) : CL_SUCCESS;
}

static cl_int piece_send(struct pieces *all, struct piece *piece, cl_uint wait_count, const cl_event *wait_list)
{
    cl_command_queue queue = all->queue;
    struct pen_session *session = queue->context->session;
    struct pen_enqueue e = {0};
    cl_int status = piece_begin(all, piece, &e, wait_count, wait_list);
    if (status != CL_SUCCESS)
        return status;
    piece->lent = piece_lend(piece, queue->context);
    if (piece->move.to_region && !piece->lent) {
        struct pen_place tight = pen_span_tight(&piece->move.span);
        pen_span_copy(pen_arena_at(session, piece->staging), &tight, piece->move.program, &piece->move.program_place,
                      &piece->move.span);
    }
    int error = pen_hostptr_before_use(&e, piece->move.memory, piece->move.to_region);
    if (!error)
        error = send_in_turn(all, &e, piece);
    if (error) {
        piece_take_back(piece, session);
        return pen_enqueue_end(&e, error);
    }
    if (!all->first)
        keep_event(&all->first, e.event);
    keep_event(&all->last, e.event);
    return pen_enqueue_end(&e, 0);
}

/* The transfer's event is its last piece's, which tells when the first one began. */
static cl_int pieces_end(struct pieces *all, cl_int status, cl_event *out_event)
{
    if (status == CL_SUCCESS && out_event) {
        pthread_mutex_lock(&all->last->lock);
        if (all->first != all->last)
            keep_event(&all->last->begun, all->first);
        pthread_mutex_unlock(&all->last->lock);
        (void)pen_retain(all->last, PEN_MAGIC_EVENT, CL_INVALID_EVENT);
        *out_event = all->last;
    }
    if (all->begun)
        pen_turn_end(all->turn);
    if (all->aside)
        (void)pen_release(all->aside, PEN_MAGIC_QUEUE, CL_INVALID_COMMAND_QUEUE);
    keep_event(&all->first, NULL);
    keep_event(&all->last, NULL);
    return status;
}

/* A blocking transfer with a few pieces in flight: while the device takes one, this thread copies or sends another. */
static cl_int move_pieces(cl_command_queue queue, const struct pen_move *move, cl_uint wait_count,
                          const cl_event *wait_list, cl_event *out_event)
{
    struct pen_session *session = queue->context->session;
    struct piece pieces[PEN_REMOTE_PIECES] = {{0}};
    bool remote = is_remote(session);
    unsigned count = remote ? PEN_REMOTE_PIECES : PEN_PIECES;
    size_t piece_bytes = remote ? PEN_REMOTE_PIECE_BYTES : PEN_PIECE_BYTES;
    struct cursor cursor = {0};
    struct pen_turn turn;
    struct pieces all = {.queue = queue};
    cl_int status = CL_SUCCESS;
    unsigned next = 0;

    /* Pieces are whole rows or slices: shorter than what they have, and more than the bytes would need. */
    size_t bytes = pen_span_bytes(&move->span);
    int error =
        pen_staging_alloc(queue->context, bytes <= piece_bytes ? bytes : count * piece_bytes, &pieces[0].staging);
    if (error)
        return pen_status(error);
    if (queue->in_order && bytes > piece_bytes)
        all.turn = &turn;
    for (unsigned i = 1; i < count; i++)
        pieces[i].staging = pieces[0].staging + i * (uint64_t)piece_bytes;
    while (cursor.slice < move->span.slices && status == CL_SUCCESS) {
        struct piece *piece = &pieces[next++ % count];
        status = piece_retire(piece, session);
        if (status != CL_SUCCESS)
            break;
        piece->move = cursor_take(&cursor, move, piece_bytes);
        status = piece_send(&all, piece, wait_count, wait_list);
    }
    for (unsigned i = 0; i < count; i++) {
        cl_int end = piece_retire(&pieces[next++ % count], session);
        if (status == CL_SUCCESS)
            status = end;
    }
    pen_arena_free(session, pieces[0].staging);
    return pieces_end(&all, status, out_event);
}

static int fetch_piece(cl_command_queue queue, const struct pen_move *piece, uint64_t staging, cl_event after)
{
    struct pen_session *session = queue->context->session;
    struct pen_enqueue e = {.queue = queue};
    if (pen_event_peek(after) == CL_COMPLETE) { /* what waits for one that has failed fails */
        e.waits = &after->id;
        e.wait_count = 1;
    }
    int error = pen_event_create(queue->context, queue, piece->type, &e.event);
    if (error)
        return error;
    e.event_id = e.event->id;
    e.slot = e.event->slot;
    error = pen_move_send(&e, piece, staging);
    if (!error)
        error = pen_wait_slot(session, e.slot);
    if (!error)
        staged_copy_out(piece, session, staging);
    (void)pen_release(e.event, PEN_MAGIC_EVENT, CL_INVALID_EVENT);
    return error;
}

int pen_move_fetch(cl_command_queue queue, const struct pen_move *move, cl_event after)
{
    struct pen_session *session = queue->context->session;
    struct cursor cursor = {0};
    uint64_t staging;
    int error = pen_arena_alloc(session, least(pen_span_bytes(&move->span), PEN_PIECE_BYTES), STAGING_ALIGN, &staging);
    if (error)
        return error;
    while (!error && cursor.slice < move->span.slices) {
        struct pen_move piece = cursor_take(&cursor, move, PEN_PIECE_BYTES);
        error = fetch_piece(queue, &piece, staging, after);
    }
    pen_arena_free(session, staging);
    return error;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static cl_int move_nothing(cl_command_queue queue, const struct pen_move *move, cl_uint wait_count,
                           const cl_event *wait_list, cl_event *out_event)
{
    struct pen_enqueue e = {0};
    cl_int status = pen_enqueue_begin(&e, queue, move->type, wait_count, wait_list, out_event, move->blocking, false);
    if (status != CL_SUCCESS)
        return status;
    bool ready = pen_enqueue_ready(&e);
    if (move->blocking && !ready) {
        status = pen_enqueue_wait_turn(&e, wait_count, wait_list);
        if (status != CL_SUCCESS)
            return pen_enqueue_drop(&e, status);
        ready = true;
    }
    return pen_enqueue_nothing(&e, ready);
}

cl_int pen_move_run(cl_command_queue queue, const struct pen_move *move, cl_uint wait_count, const cl_event *wait_list,
                    cl_event *out_event)
{
    size_t size = pen_span_bytes(&move->span);
    if (size == 0)
        return move_nothing(queue, move, wait_count, wait_list, out_event);
    if (move->memory->direct)
        return move_direct(queue, move, wait_count, wait_list, out_event);
    if (move->blocking && (is_remote(queue->context->session) ? !pen_small(size) : size > PEN_PIECE_BYTES))
        return move_pieces(queue, move, wait_count, wait_list, out_event);
    bool waits = move->blocking && !returns_at_once(move, wait_count);
    struct pen_enqueue e = {0};
    cl_int status = pen_enqueue_begin(&e, queue, move->type, wait_count, wait_list, out_event, move->blocking, true);
    return status == CL_SUCCESS ? move_staged(&e, move, waits) : status;
}
