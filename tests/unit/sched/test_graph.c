/* sched/graph: rules 1 to 3 of its header, and a random graph against a slow model of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"
#include "sched/graph.h"

static void test_until(void **state)
{
    (void)state;
    struct pen_graph graph;
    struct pen_graph_node a = {0}, b = {0}, c = {0};
    pen_graph_init(&graph);
    assert_int_equal(pen_graph_edge(&graph, &a, &b, PEN_GRAPH_UNTIL_SUBMITTED, true), 0);
    assert_int_equal(pen_graph_edge(&graph, &a, &c, PEN_GRAPH_UNTIL_DONE, true), 0);
    pen_graph_hold(&graph, &b);
    pen_graph_hold(&graph, &c);
    assert_null(pen_graph_pop(&graph));
    assert_int_equal(graph.held, 2);
    pen_graph_submitted(&graph, &a);
    assert_ptr_equal(pen_graph_pop(&graph), &b);
    assert_null(pen_graph_pop(&graph));
    pen_graph_done(&graph, &a, 0);
    assert_ptr_equal(pen_graph_pop(&graph), &c);
    assert_int_equal(c.poison, 0);
    pen_graph_submitted(&graph, &b);
    pen_graph_submitted(&graph, &c);
    assert_int_equal(graph.held, 0);
    pen_graph_finish(&graph);
}

static void test_poison(void **state)
{
    (void)state;
    struct pen_graph graph;
    struct pen_graph_node bad = {0}, depends = {0}, follows = {0}, late = {0};
    pen_graph_init(&graph);
    pen_graph_edge(&graph, &bad, &depends, PEN_GRAPH_UNTIL_DONE, true);
    pen_graph_edge(&graph, &bad, &follows, PEN_GRAPH_UNTIL_SUBMITTED, false);
    pen_graph_hold(&graph, &depends);
    pen_graph_hold(&graph, &follows);
    pen_graph_done(&graph, &bad, -PEN_EIO);
    assert_ptr_equal(pen_graph_pop(&graph), &depends);
    assert_ptr_equal(pen_graph_pop(&graph), &follows);
    assert_int_equal(depends.poison, -PEN_EDEPENDENCY);
    assert_int_equal(follows.poison, 0);
    pen_graph_edge(&graph, &bad, &late, PEN_GRAPH_UNTIL_DONE, true);
    assert_int_equal(late.unmet, 0);
    assert_int_equal(late.poison, -PEN_EDEPENDENCY);
    pen_graph_finish(&graph);
}

/* What a node was to be held for may be done by the time it is held: it is ready at once, with the poison. */
static void test_held_for_nothing(void **state)
{
    (void)state;
    struct pen_graph graph;
    struct pen_graph_node gone = {0}, node = {0}, other = {0};
    pen_graph_init(&graph);
    pen_graph_edge(&graph, &gone, &other, PEN_GRAPH_UNTIL_DONE, true);
    pen_graph_hold(&graph, &other);
    pen_graph_done(&graph, &gone, -PEN_EIO);
    assert_int_equal(pen_graph_edge(&graph, &gone, &node, PEN_GRAPH_UNTIL_DONE, true), 0);
    pen_graph_hold(&graph, &node);
    assert_int_equal(graph.held, 2);
    assert_ptr_equal(pen_graph_pop(&graph), &other);
    assert_ptr_equal(pen_graph_pop(&graph), &node);
    assert_int_equal(node.poison, -PEN_EDEPENDENCY);
    pen_graph_submitted(&graph, &other);
    pen_graph_submitted(&graph, &node);
    assert_int_equal(graph.held, 0);
    pen_graph_finish(&graph);
}

/* A node whose device is chosen late is held before that, and again for what it is placed behind. */
static void test_placed(void **state)
{
    (void)state;
    struct pen_graph graph;
    struct pen_graph_node first = {0}, second = {0}, third = {0}, other = {0};
    pen_graph_init(&graph);
    pen_graph_edge(&graph, &first, &second, PEN_GRAPH_UNTIL_PLACED, false);
    pen_graph_hold(&graph, &second);
    pen_graph_edge(&graph, &second, &third, PEN_GRAPH_UNTIL_PLACED, false);
    pen_graph_hold(&graph, &third);
    pen_graph_placed(&graph, &first);
    assert_int_equal(pen_graph_edge(&graph, &other, &first, PEN_GRAPH_UNTIL_SUBMITTED, false), 0);
    pen_graph_hold(&graph, &first);
    assert_int_equal(first.state, PEN_GRAPH_PLACED_HELD);
    assert_ptr_equal(pen_graph_pop(&graph), &second); /* first is placed, though not submitted */
    pen_graph_placed(&graph, &second);
    assert_int_equal(pen_graph_edge(&graph, &first, &second, PEN_GRAPH_UNTIL_SUBMITTED, false), 0);
    pen_graph_hold(&graph, &second);
    assert_ptr_equal(pen_graph_pop(&graph), &third);
    assert_null(pen_graph_pop(&graph));
    assert_int_equal(graph.held, 3);
    pen_graph_submitted(&graph, &other); /* from nothing: a command whose device is known */
    assert_ptr_equal(pen_graph_pop(&graph), &first);
    assert_int_equal(first.state, PEN_GRAPH_PLACED_READY);
    assert_null(pen_graph_pop(&graph));
    pen_graph_submitted(&graph, &first);
    assert_ptr_equal(pen_graph_pop(&graph), &second);
    pen_graph_done(&graph, &second, -PEN_EIO); /* refused */
    pen_graph_done(&graph, &third, 0);
    assert_int_equal(graph.held, 0);
    pen_graph_finish(&graph);
}

/* Targets of one node become ready in the order in which their edges were added. */
static void test_order(void **state)
{
    (void)state;
    struct pen_graph graph;
    struct pen_graph_node source = {0}, targets[10] = {0};
    pen_graph_init(&graph);
    for (int i = 0; i < 10; i++) {
        pen_graph_edge(&graph, &source, &targets[i], i % 2 ? PEN_GRAPH_UNTIL_SUBMITTED : PEN_GRAPH_UNTIL_DONE, false);
        pen_graph_hold(&graph, &targets[i]);
    }
    pen_graph_submitted(&graph, &source);
    for (int i = 1; i < 10; i += 2)
        assert_ptr_equal(pen_graph_pop(&graph), &targets[i]);
    assert_null(pen_graph_pop(&graph));
    pen_graph_done(&graph, &source, 0);
    for (int i = 0; i < 10; i += 2)
        assert_ptr_equal(pen_graph_pop(&graph), &targets[i]);
    pen_graph_finish(&graph);
}

/* ---- a model: every node remembers all its sources ---------------------------------------------------------- */

#define NODES 400

struct model {
    struct pen_graph_node node;
    int sources[4];
    enum pen_graph_until until[4];
    int count;
    enum { HELD, READY, SUBMITTED, DONE } state;
};

static int is_ready(const struct model *nodes, int i)
{
    for (int s = 0; s < nodes[i].count; s++) {
        int from = nodes[nodes[i].sources[s]].state;
        if (from != DONE && !(from == SUBMITTED && nodes[i].until[s] == PEN_GRAPH_UNTIL_SUBMITTED))
            return 0;
    }
    return 1;
}

static void test_random(void **state)
{
    (void)state;
    static struct model nodes[NODES];
    struct pen_graph graph;
    pen_graph_init(&graph);
    srand(1);
    for (int i = 0; i < NODES; i++) {
        nodes[i] = (struct model){.count = i ? rand() % 5 : 0};
        for (int s = 0; s < nodes[i].count && s < 4; s++) {
            nodes[i].sources[s] = rand() % i;
            nodes[i].until[s] = rand() % 2 ? PEN_GRAPH_UNTIL_DONE : PEN_GRAPH_UNTIL_SUBMITTED;
            pen_graph_edge(&graph, &nodes[nodes[i].sources[s]].node, &nodes[i].node, nodes[i].until[s], true);
        }
        nodes[i].count = nodes[i].count > 4 ? 4 : nodes[i].count;
        if (nodes[i].node.unmet) {
            pen_graph_hold(&graph, &nodes[i].node);
        } else {
            pen_graph_submitted(&graph, &nodes[i].node);
            nodes[i].state = SUBMITTED;
        }
    }
    for (int finished = 0; finished < NODES;) {
        struct pen_graph_node *ready;
        while ((ready = pen_graph_pop(&graph))) {
            struct model *model = (struct model *)(void *)ready;
            assert_int_equal(model->state, HELD);
            assert_true(is_ready(nodes, (int)(model - nodes)));
            pen_graph_submitted(&graph, ready);
            model->state = SUBMITTED;
        }
        for (int i = 0; i < NODES; i++)
            assert_true(nodes[i].state != HELD || !is_ready(nodes, i));
        int i = rand() % NODES;
        while (nodes[i].state != SUBMITTED)
            i = (i + 1) % NODES;
        nodes[i].state = DONE;
        pen_graph_done(&graph, &nodes[i].node, 0);
        finished++;
    }
    assert_int_equal(graph.held, 0);
    pen_graph_finish(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_until),  cmocka_unit_test(test_poison), cmocka_unit_test(test_held_for_nothing),
        cmocka_unit_test(test_placed), cmocka_unit_test(test_order),  cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
