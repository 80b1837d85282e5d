/* sched/hazard.c - see hazard.h. */
#include "sched/hazard.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define FEW 6u /* accesses that a piece knows without memory of their own */

struct access {
    struct pen_hazard_node *node;
    uint64_t ticket;
};

struct pen_hazard_piece {
    uint64_t begin, end;
    uint32_t writes, count, capacity; /* of accesses; the first `writes` of them are writes */
    bool joined;                      /* of several pieces: not every read came after every write */
    struct access *accesses;          /* `few`, or malloc'ed */
    struct access few[FEW];
    struct pen_hazard_piece *next_spare;
};

void pen_hazards_init(struct pen_hazards *hazards)
{
    *hazards = (struct pen_hazards){0};
}

void pen_hazards_finish(struct pen_hazards *hazards)
{
    while (hazards->spare) {
        struct pen_hazard_piece *piece = hazards->spare;
        hazards->spare = piece->next_spare;
        free(piece);
    }
}

static bool is_over(const struct access *access)
{
    assert(access && access->node);
    return access->node->ticket != access->ticket;
}

/* ---- a piece ------------------------------------------------------------------------------------------------ */

static struct pen_hazard_piece *take(struct pen_hazards *hazards, uint64_t begin, uint64_t end)
{
    struct pen_hazard_piece *piece = hazards->spare;
    if (piece)
        hazards->spare = piece->next_spare;
    else if (!(piece = malloc(sizeof *piece)))
        return NULL;
    piece->begin = begin;
    piece->end = end;
    piece->writes = piece->count = 0;
    piece->capacity = FEW;
    piece->joined = false;
    piece->accesses = piece->few;
    return piece;
}

static void drop_memory(struct pen_hazard_piece *piece)
{
    if (piece->accesses != piece->few)
        free(piece->accesses);
    piece->accesses = piece->few;
    piece->capacity = FEW;
}

static void give(struct pen_hazards *hazards, struct pen_hazard_piece *piece)
{
    drop_memory(piece);
    piece->next_spare = hazards->spare;
    hazards->spare = piece;
}

/* Forgets what is over; writes stay before reads. */
static void prune(struct pen_hazard_piece *piece)
{
    uint32_t kept = 0, writes = 0;
    for (uint32_t i = 0; i < piece->count; i++)
        if (!is_over(&piece->accesses[i])) {
            writes += i < piece->writes;
            piece->accesses[kept++] = piece->accesses[i];
        }
    piece->count = kept;
    piece->writes = writes;
}

static int reserve(struct pen_hazard_piece *piece, uint32_t count)
{
    if (count <= piece->capacity)
        return 0;
    uint32_t capacity = count * 2;
    struct access *more = malloc(capacity * sizeof *more);
    if (!more)
        return -PEN_ENOMEM;
    memcpy(more, piece->accesses, piece->count * sizeof *more);
    drop_memory(piece);
    piece->accesses = more;
    piece->capacity = capacity;
    return 0;
}

/* Reads without end take no memory without end: what is over makes room. */
static int add_read(struct pen_hazard_piece *piece, const struct access *access)
{
    const struct access *last = piece->count ? &piece->accesses[piece->count - 1] : NULL;
    if (last && last->node == access->node && last->ticket == access->ticket)
        return 0;
    if (piece->count == piece->capacity) {
        prune(piece);
        if (piece->count > piece->capacity / 2 && reserve(piece, piece->count + 1))
            return -PEN_ENOMEM;
    }
    assert(piece->accesses);
    piece->accesses[piece->count++] = *access;
    return 0;
}

/* A write by `node`, of which all that comes before it has been met. */
struct writing {
    struct pen_hazard_node *node;
    enum pen_hazard_mode mode;
};

/* Is it to be told of behind that, too? */
static bool outlasts(const struct access *access, const struct writing *writing)
{
    return writing->mode != PEN_HAZARD_OVERWRITE && access->node->matters && access->node != writing->node &&
           !is_over(access);
}

static uint32_t count_outlasting(const struct pen_hazard_piece *piece, const struct writing *writing)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < piece->writes; i++)
        count += outlasts(&piece->accesses[i], writing);
    return count;
}

/* It has room for what outlasts, and one more. */
static void set_write(struct pen_hazard_piece *piece, const struct writing *writing)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < piece->writes; i++)
        if (outlasts(&piece->accesses[i], writing))
            piece->accesses[kept++] = piece->accesses[i];
    piece->accesses[kept++] = (struct access){writing->node, writing->node->ticket};
    piece->count = piece->writes = kept;
    piece->joined = false;
}

static bool has_write(const struct pen_hazard_piece *piece, const struct pen_hazard_node *node)
{
    for (uint32_t i = 0; i < piece->writes; i++)
        if (piece->accesses[i].node == node)
            return true;
    return false;
}

/* What outlasts the write that `into`, which has room, is set to, and is known to another piece. */
static void take_outlasting(struct pen_hazard_piece *into, const struct pen_hazard_piece *other,
                            const struct writing *writing)
{
    for (uint32_t i = 0; i < other->writes; i++)
        if (outlasts(&other->accesses[i], writing) && !has_write(into, other->accesses[i].node))
            into->accesses[into->writes++] = other->accesses[i];
    into->count = into->writes;
}

static int copy_accesses(struct pen_hazard_piece *to, const struct pen_hazard_piece *from)
{
    if (reserve(to, from->count))
        return -PEN_ENOMEM;
    memcpy(to->accesses, from->accesses, from->count * sizeof *from->accesses);
    to->count = from->count;
    to->writes = from->writes;
    to->joined = from->joined;
    return 0;
}

/* ---- a region's pieces -------------------------------------------------------------------------------------- */

/* The first piece that ends after `at`. */
static uint32_t find(const struct pen_hazard_region *region, uint64_t at)
{
    uint32_t low = 0, high = region->count;
    if (high == 1) /* as of most, which commands name as a whole */
        return region->pieces[0]->end <= at;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (region->pieces[middle]->end <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int insert(struct pen_hazard_region *region, uint32_t index, struct pen_hazard_piece *piece)
{
    if (region->count == region->capacity) {
        uint32_t capacity = region->capacity ? region->capacity * 2 : 1;
        void *more = realloc(region->pieces, capacity * sizeof *region->pieces);
        if (!more)
            return -PEN_ENOMEM;
        region->pieces = more;
        region->capacity = capacity;
    }
    memmove(&region->pieces[index + 1], &region->pieces[index], (region->count - index) * sizeof *region->pieces);
    region->pieces[index] = piece;
    region->count++;
    return 0;
}

static void take_out(struct pen_hazards *hazards, struct pen_hazard_region *region, uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++)
        give(hazards, region->pieces[i]);
    memmove(&region->pieces[first], &region->pieces[end], (region->count - end) * sizeof *region->pieces);
    region->count -= end - first;
}

/* If a piece lies on both sides of `at`, it becomes two. */
static int split(struct pen_hazards *hazards, struct pen_hazard_region *region, uint64_t at)
{
    uint32_t index = find(region, at);
    if (index == region->count || region->pieces[index]->begin >= at)
        return 0;
    struct pen_hazard_piece *left = region->pieces[index];
    struct pen_hazard_piece *right = take(hazards, at, left->end);
    if (!right)
        return -PEN_ENOMEM;
    prune(left);
    if (copy_accesses(right, left) || insert(region, index + 1, right)) {
        give(hazards, right);
        return -PEN_ENOMEM;
    }
    left->end = at;
    return 0;
}

/* `into` takes in its neighbour's bytes, those between them, and accesses. */
static int join(struct pen_hazard_piece *into, const struct pen_hazard_piece *other)
{
    if (reserve(into, into->count + other->count))
        return -PEN_ENOMEM;
    uint32_t reads = into->count - into->writes;
    struct access *list = into->accesses;
    memmove(list + into->writes + other->writes, list + into->writes, reads * sizeof *list);
    memcpy(list + into->writes, other->accesses, other->writes * sizeof *list);
    memcpy(list + into->count + other->writes, other->accesses + other->writes,
           (other->count - other->writes) * sizeof *list);
    into->writes += other->writes;
    into->count += other->count;
    into->end = other->end;
    into->joined = true;
    return 0;
}

/* Too many pieces: those whose accesses are over go; if that is not enough, each two neighbours become one. */
static int thin_out(struct pen_hazards *hazards, struct pen_hazard_region *region)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < region->count; i++) {
        prune(region->pieces[i]);
        if (region->pieces[i]->count)
            region->pieces[kept++] = region->pieces[i];
        else
            give(hazards, region->pieces[i]);
    }
    region->count = kept;
    if (kept <= PEN_HAZARD_PIECES / 2)
        return 0;
    int rc = 0;
    for (uint32_t i = kept = 0; i < region->count; i += 2) {
        struct pen_hazard_piece *piece = region->pieces[kept++] = region->pieces[i];
        if (i + 1 == region->count)
            continue;
        if (rc || (rc = join(piece, region->pieces[i + 1])))
            region->pieces[kept++] = region->pieces[i + 1];
        else
            give(hazards, region->pieces[i + 1]);
    }
    region->count = kept;
    return rc;
}

/* ---- an access ---------------------------------------------------------------------------------------------- */

struct meeting {
    struct pen_hazard_node *node;
    pen_hazard_meet *meet;
    void *context;
};

static int meet_one(const struct meeting *meeting, const struct access *before, enum pen_hazard_kind kind)
{
    if (is_over(before) || before->node == meeting->node || before->node->met_by == meeting->node->ticket)
        return 0;
    before->node->met_by = meeting->node->ticket;
    return meeting->meet(meeting->context, before->node, kind);
}

/* The reads since a write come after it by themselves: who meets one of them need not meet the write, unless that
 * matters. */
static int meet_all(const struct meeting *meeting, const struct pen_hazard_piece *piece, enum pen_hazard_mode mode)
{
    enum pen_hazard_kind after_write =
        mode == PEN_HAZARD_READ ? PEN_HAZARD_READ_AFTER_WRITE : PEN_HAZARD_WRITE_AFTER_WRITE;
    int rc = 0;
    bool read = false;
    if (mode != PEN_HAZARD_READ)
        for (uint32_t i = piece->writes; i < piece->count && !rc; i++) {
            read |= !is_over(&piece->accesses[i]) && piece->accesses[i].node != meeting->node;
            rc = meet_one(meeting, &piece->accesses[i], PEN_HAZARD_WRITE_AFTER_READ);
        }
    for (uint32_t i = 0; i < piece->writes && !rc; i++)
        if (!read || piece->joined || piece->accesses[i].node->matters)
            rc = meet_one(meeting, &piece->accesses[i], after_write);
    return rc;
}

/* Of pieces that a write covers, the first becomes all of them. */
static int write_pieces(struct pen_hazards *hazards, struct pen_hazard_region *region, uint32_t first, uint32_t end,
                        const struct writing *writing)
{
    struct pen_hazard_piece *piece = region->pieces[first];
    uint32_t count = 1;
    for (uint32_t i = first; i < end; i++)
        count += count_outlasting(region->pieces[i], writing);
    if (reserve(piece, count))
        return -PEN_ENOMEM;
    set_write(piece, writing);
    for (uint32_t i = first + 1; i < end; i++)
        take_outlasting(piece, region->pieces[i], writing);
    take_out(hazards, region, first + 1, end);
    return 0;
}

static int write_range(struct pen_hazards *hazards, struct pen_hazard_region *region, uint64_t begin, uint64_t end,
                       enum pen_hazard_mode mode, const struct meeting *meeting)
{
    const struct writing writing = {meeting->node, mode};
    uint32_t first = find(region, begin), last = first;
    int rc = 0;
    for (; last < region->count && region->pieces[last]->begin < end && !rc; last++)
        rc = meet_all(meeting, region->pieces[last], mode);
    if (rc)
        return rc;
    if (last > first) {
        rc = write_pieces(hazards, region, first, last, &writing);
    } else {
        struct pen_hazard_piece *piece = take(hazards, begin, end);
        rc = piece ? insert(region, first, piece) : -PEN_ENOMEM;
        if (piece && rc)
            give(hazards, piece);
        else if (piece)
            set_write(piece, &writing);
    }
    if (rc)
        return rc;
    region->pieces[first]->begin = begin;
    region->pieces[first]->end = end;
    return 0;
}

static int read_range(struct pen_hazards *hazards, struct pen_hazard_region *region, uint64_t begin, uint64_t end,
                      const struct meeting *meeting)
{
    const struct access access = {meeting->node, meeting->node->ticket};
    int rc = 0;
    for (uint32_t i = find(region, begin); begin < end && !rc; i++) {
        struct pen_hazard_piece *piece = i < region->count ? region->pieces[i] : NULL;
        if (!piece || piece->begin > begin) { /* no history until the next piece */
            uint64_t until = piece && piece->begin < end ? piece->begin : end;
            piece = take(hazards, begin, until);
            if (!piece || insert(region, i, piece)) {
                if (piece)
                    give(hazards, piece);
                return -PEN_ENOMEM;
            }
        }
        rc = meet_all(meeting, piece, PEN_HAZARD_READ);
        if (!rc)
            rc = add_read(piece, &access);
        begin = piece->end;
    }
    return rc;
}

/* The piece that has just these bytes, as of most accesses, which name whole regions; NULL: there is none. */
static struct pen_hazard_piece *find_exact(const struct pen_hazard_region *region, uint64_t begin, uint64_t end)
{
    uint32_t at = find(region, begin);
    struct pen_hazard_piece *piece = at < region->count ? region->pieces[at] : NULL;
    return piece && piece->begin == begin && piece->end == end ? piece : NULL;
}

static int access_piece(struct pen_hazard_piece *piece, enum pen_hazard_mode mode, const struct meeting *meeting)
{
    int rc = meet_all(meeting, piece, mode);
    if (rc)
        return rc;
    if (mode == PEN_HAZARD_READ)
        return add_read(piece, &(struct access){meeting->node, meeting->node->ticket});
    const struct writing writing = {meeting->node, mode};
    rc = reserve(piece, count_outlasting(piece, &writing) + 1);
    if (!rc)
        set_write(piece, &writing);
    return rc;
}

int pen_hazard_access(struct pen_hazards *hazards, struct pen_hazard_region *region, uint64_t begin, uint64_t end,
                      enum pen_hazard_mode mode, struct pen_hazard_node *node, pen_hazard_meet *meet, void *context)
{
    const struct meeting meeting = {node, meet, context};
    struct pen_hazard_piece *piece = find_exact(region, begin, end);
    if (piece)
        return access_piece(piece, mode, &meeting);
    if (region->count >= PEN_HAZARD_PIECES && thin_out(hazards, region))
        return -PEN_ENOMEM;
    if (split(hazards, region, begin) || split(hazards, region, end))
        return -PEN_ENOMEM;
    return mode == PEN_HAZARD_READ ? read_range(hazards, region, begin, end, &meeting)
                                   : write_range(hazards, region, begin, end, mode, &meeting);
}

int pen_hazard_look(const struct pen_hazard_region *region, uint64_t begin, uint64_t end, enum pen_hazard_mode mode,
                    struct pen_hazard_node *node, pen_hazard_meet *meet, void *context)
{
    const struct meeting meeting = {node, meet, context};
    int rc = 0;
    for (uint32_t i = find(region, begin); i < region->count && region->pieces[i]->begin < end && !rc; i++)
        rc = meet_all(&meeting, region->pieces[i], mode);
    return rc;
}

void pen_hazard_visit(const struct pen_hazard_region *region, uint64_t begin, uint64_t end, enum pen_hazard_mode mode,
                      void (*visit)(void *context, const struct pen_hazard_node *before), void *context)
{
    for (uint32_t i = find(region, begin); i < region->count && region->pieces[i]->begin < end; i++) {
        const struct pen_hazard_piece *piece = region->pieces[i];
        uint32_t count = mode == PEN_HAZARD_READ ? piece->writes : piece->count;
        for (uint32_t j = count; j-- > 0;)
            if (!is_over(&piece->accesses[j]))
                visit(context, piece->accesses[j].node);
    }
}

void pen_hazard_forget(struct pen_hazards *hazards, struct pen_hazard_region *region)
{
    for (uint32_t i = 0; i < region->count; i++)
        give(hazards, region->pieces[i]);
    free(region->pieces);
    *region = (struct pen_hazard_region){0};
}
