/* Both ends, what is taken out twice, and a walk that empties the list under itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int number;
    struct pen_list link;
};

/* The numbers as digits, forwards; the same backwards, or -1. */
static int digits(const struct pen_list *head)
{
    int forwards = 0, backwards = 0, place = 1;
    for (const struct pen_list *node = head->next; node != head; node = node->next)
        forwards = forwards * 10 + PEN_CONTAINER(node, const struct item, link)->number;
    for (const struct pen_list *node = head->prev; node != head; node = node->prev, place *= 10)
        backwards += PEN_CONTAINER(node, const struct item, link)->number * place;
    return forwards == backwards ? forwards : -1;
}

static void keeps_order(void **state)
{
    struct pen_list head;
    struct item items[] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
    (void)state;
    pen_list_init(&head);
    assert_true(pen_list_empty(&head));
    assert_int_equal(digits(&head), 0);
    pen_list_append(&head, &items[1].link);
    assert_false(pen_list_empty(&head));
    pen_list_append(&head, &items[2].link);
    pen_list_prepend(&head, &items[0].link);
    pen_list_append(&head, &items[3].link);
    assert_int_equal(digits(&head), 1234);
    pen_list_remove(&items[1].link);
    assert_int_equal(digits(&head), 134);
    pen_list_remove(&items[2].link); /* its neighbour then */
    pen_list_remove(&items[1].link); /* is in none */
    assert_int_equal(digits(&head), 14);
    pen_list_prepend(&head, &items[2].link);
    assert_int_equal(digits(&head), 314);
    pen_list_prepend(&head, &items[1].link);
    assert_int_equal(digits(&head), 2314);
    pen_list_remove(&items[3].link);
    pen_list_remove(&items[1].link);
    assert_int_equal(digits(&head), 31);
}

static void is_emptied_in_a_walk(void **state)
{
    struct pen_list head, other;
    struct item items[5] = {{.number = 0}};
    int seen = 0;
    (void)state;
    pen_list_init(&head);
    pen_list_init(&other);
    for (int i = 0; i < 5; i++) {
        items[i].number = i + 1;
        pen_list_append(&head, &items[i].link);
    }
    PEN_LIST_EACH(node, next, &head)
    {
        seen = seen * 10 + PEN_CONTAINER(node, struct item, link)->number;
        pen_list_remove(node);
        pen_list_prepend(&other, node);
    }
    assert_int_equal(seen, 12345);
    assert_true(pen_list_empty(&head));
    assert_int_equal(digits(&other), 54321);
    PEN_LIST_EACH(node, next, &head)
    seen = -1;
    assert_int_equal(seen, 12345);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_order), cmocka_unit_test(is_emptied_in_a_walk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
