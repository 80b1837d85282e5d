/* net/loan.h - memory in place of ranges of the arena. Both ends of a link name bulk by where it lies in the arena, and
 * each has its own. While a range is lent, its bytes are sent from, or received into, memory that lies elsewhere, and
 * need not be copied between that and the arena.
 * Ownership: borrows loans, and their memory, from begin to end.
 * Threads:   any; a loan is begun before its bytes can be asked for. */
#ifndef PEN_NET_LOAN_H
#define PEN_NET_LOAN_H

#include <pthread.h>

#include "base/list.h"
#include "net/link.h"

/* Not lent to both ends: what the peer sends never lands in memory that it is to get. */
struct pen_loan {
    struct pen_list node;
    uint64_t offset, bytes; /* of the arena */
    void *memory;
    bool receives;
};

struct pen_loans {
    struct pen_link *link;
    unsigned char *arena;
    uint64_t arena_bytes;
    pthread_mutex_t lock;
    struct pen_list open; /* guarded by lock */
};

/* Borrows both. */
void pen_loans_init(struct pen_loans *loans, struct pen_link *link, void *arena, uint64_t arena_bytes);
void pen_loans_finish(struct pen_loans *loans);

void pen_loan_begin(struct pen_loans *loans, struct pen_loan *loan);
/* The peer has had the bytes, or has sent them all, or the session is over. What an ill-behaved one wants or sends
 * still is the arena's. */
void pen_loan_end(struct pen_loans *loans, struct pen_loan *loan);

/* As pen_link_add_range and its owner's `part`, of lent memory where there is some; the latter after it has been
 * checked (-PEN_EPROTO). A range is lent whole, or not. */
int pen_loans_add_range(struct pen_loans *loans, uint64_t offset, uint64_t bytes, uint64_t number);
int pen_loans_take_part(struct pen_loans *loans, const struct pen_msg_link_part *part, void **out_bulk);

#endif
