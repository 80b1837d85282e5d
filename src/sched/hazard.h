/* sched/hazard.h - which earlier accesses to a region a new one must come after: read-after-write, write-after-read and
 * write-after-write, on byte ranges. Pure: no I/O, clock, threads or devices.
 *
 * Method:    a region's bytes are cut into pieces; each piece knows the accesses that its next one must come after: its
 *            last write, and the reads since. A new access splits the pieces at its ends, meets what they know, and a
 *            write takes their place. So edges are as many as conflicts that no other edge implies, and a command that
 *            names whole regions costs one look at one piece for each (the data dependencies of StarPU and of Jade,
 *            here on ranges; systems.md S3).
 * Rule:      an access is over only after all that it met is over. Who meets it need not look further back.
 * Ownership: accesses are the caller's, in memory that stays readable for as long as the tracker: one that is over is
 *            told by its ticket, and never has to be taken out of the regions that know it.
 * Threads:   one.
 * Errors:    0 or -PEN_ENOMEM, after which the region's history is as before. */
#ifndef PEN_SCHED_HAZARD_H
#define PEN_SCHED_HAZARD_H

#include <stdbool.h>
#include <stdint.h>

/* Pieces of one region while their accesses are not over; beyond it neighbours become one, and know what both knew:
 * more is ordered than need be, nothing less. */
#define PEN_HAZARD_PIECES 1024u

/* A command's part in this. The caller sets `ticket` to a number that no other access had before the command's first
 * access, and to 0 when it is over (its effects are there). */
struct pen_hazard_node {
    uint64_t ticket;
    uint64_t met_by; /* hazard.c: the last that was told to come after this one */
    /* A write whose failing is that of all after it: they are told of it also behind those that read or change what it
     * has written, up to one that overwrites it. */
    bool matters;
};

struct pen_hazard_piece;

/* One region's history. Zero-initialize; give back with pen_hazard_forget. */
struct pen_hazard_region {
    struct pen_hazard_piece **pieces; /* in order of their ranges, without overlaps; bytes in none have no history */
    uint32_t count, capacity;
};

struct pen_hazards {
    struct pen_hazard_piece *spare; /* pieces to be used again */
};

enum pen_hazard_mode {
    PEN_HAZARD_READ,
    PEN_HAZARD_WRITE,    /* it may read, too */
    PEN_HAZARD_OVERWRITE /* it leaves nothing of what was there */
};

/* Of a new access and one before it. */
enum pen_hazard_kind { PEN_HAZARD_READ_AFTER_WRITE, PEN_HAZARD_WRITE_AFTER_READ, PEN_HAZARD_WRITE_AFTER_WRITE };

/* `before` must be over before the new access may begin. Told once for each, with the first kind that was found. */
typedef int pen_hazard_meet(void *context, struct pen_hazard_node *before, enum pen_hazard_kind kind);

void pen_hazards_init(struct pen_hazards *hazards);
/* Frees what regions have given back. */
void pen_hazards_finish(struct pen_hazards *hazards);

/* `node` accesses bytes [begin, end) of the region, begin < end. A node's own earlier accesses are not met. An error of
 * `meet` is returned at once. */
int pen_hazard_access(struct pen_hazards *hazards, struct pen_hazard_region *region, uint64_t begin, uint64_t end,
                      enum pen_hazard_mode mode, struct pen_hazard_node *node, pen_hazard_meet *meet, void *context);
/* Meets all that such an access would, and changes nothing, but that another one of that node with the same ticket does
 * not meet them again. */
int pen_hazard_look(const struct pen_hazard_region *region, uint64_t begin, uint64_t end, enum pen_hazard_mode mode,
                    struct pen_hazard_node *node, pen_hazard_meet *meet, void *context);
/* Tells the accesses that such a one would have to come after, some of them perhaps twice, of each byte's the last one
 * first, and changes nothing. */
void pen_hazard_visit(const struct pen_hazard_region *region, uint64_t begin, uint64_t end, enum pen_hazard_mode mode,
                      void (*visit)(void *context, const struct pen_hazard_node *before), void *context);
/* The region goes away, or nothing of its history matters any more. */
void pen_hazard_forget(struct pen_hazards *hazards, struct pen_hazard_region *region);

#endif
