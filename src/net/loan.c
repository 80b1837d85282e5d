#include "net/loan.h"

#include "penstock-protocol.h"
#include "wire/arena.h"

void pen_loans_init(struct pen_loans *loans, struct pen_link *link, void *arena, uint64_t arena_bytes)
{
    *loans = (struct pen_loans){.link = link, .arena = arena, .arena_bytes = arena_bytes};
    pthread_mutex_init(&loans->lock, NULL);
    pen_list_init(&loans->open);
}

void pen_loans_finish(struct pen_loans *loans)
{
    pthread_mutex_destroy(&loans->lock);
}

void pen_loan_begin(struct pen_loans *loans, struct pen_loan *loan)
{
    pthread_mutex_lock(&loans->lock);
    pen_list_append(&loans->open, &loan->node);
    pthread_mutex_unlock(&loans->lock);
}

void pen_loan_end(struct pen_loans *loans, struct pen_loan *loan)
{
    pthread_mutex_lock(&loans->lock);
    pen_list_remove(&loan->node);
    pen_link_let_go(loans->link, loan->memory, loan->offset, loan->bytes, loans->arena + loan->offset);
    pthread_mutex_unlock(&loans->lock);
}

/* Locked. Where the range's bytes are. */
static unsigned char *place(const struct pen_loans *loans, uint64_t offset, uint64_t bytes, bool receives)
{
    for (struct pen_list *node = loans->open.next; node != &loans->open; node = node->next) {
        const struct pen_loan *loan = PEN_CONTAINER(node, struct pen_loan, node);
        if (loan->receives == receives && offset >= loan->offset &&
            pen_arena_range_ok(loan->bytes, offset - loan->offset, bytes))
            return (unsigned char *)loan->memory + (offset - loan->offset);
    }
    return loans->arena + offset;
}

int pen_loans_add_range(struct pen_loans *loans, uint64_t offset, uint64_t bytes, uint64_t number)
{
    pthread_mutex_lock(&loans->lock);
    int rc = pen_link_add_range(loans->link, place(loans, offset, bytes, false), offset, bytes, number);
    pthread_mutex_unlock(&loans->lock);
    return rc;
}

int pen_loans_take_part(struct pen_loans *loans, const struct pen_msg_link_part *part, void **out_bulk)
{
    if (!pen_arena_range_ok(loans->arena_bytes, part->offset, part->bytes))
        return -PEN_EPROTO;
    pthread_mutex_lock(&loans->lock); /* until the link has it, so that pen_loan_end finds it there */
    *out_bulk = place(loans, part->offset, part->bytes, true);
    pthread_mutex_unlock(&loans->lock);
    return 0;
}
