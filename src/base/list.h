/* base/list.h - intrusive doubly linked list; the head is a node of its own.
 * Ownership: none. Threads: the caller's lock. */
#ifndef PEN_BASE_LIST_H
#define PEN_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct pen_list {
    struct pen_list *prev, *next;
};

static inline void pen_list_init(struct pen_list *head)
{
    head->prev = head->next = head;
}

static inline bool pen_list_empty(const struct pen_list *head)
{
    return head->next == head;
}

/* Inserts at the tail. */
static inline void pen_list_append(struct pen_list *head, struct pen_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Inserts at the front. */
static inline void pen_list_prepend(struct pen_list *head, struct pen_list *node)
{
    pen_list_append(head->next, node);
}

/* Leaves the node empty, so that removing it again is harmless. */
static inline void pen_list_remove(struct pen_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    pen_list_init(node);
}

#define PEN_CONTAINER(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* `next_` is a second cursor, so that the body may remove `node_`. */
#define PEN_LIST_EACH(node_, next_, head_)                                                                             \
    for (struct pen_list *node_ = (head_)->next, *next_ = node_->next; node_ != (head_);                               \
         node_ = next_, next_ = node_->next)

#endif
