/* sched/graph.c - see graph.h. */
#include "sched/graph.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"

struct pen_graph_edge {
    struct pen_graph_edge *next;
    struct pen_graph_node *to;
    enum pen_graph_until until;
    bool poisons;
};

void pen_graph_init(struct pen_graph *graph)
{
    *graph = (struct pen_graph){0};
    pen_list_init(&graph->ready);
}

static void free_edges(struct pen_graph_edge *edge)
{
    while (edge) {
        struct pen_graph_edge *next = edge->next;
        free(edge);
        edge = next;
    }
}

void pen_graph_finish(struct pen_graph *graph)
{
    if (!graph)
        return;
    free_edges(graph->spare);
    graph->spare = NULL;
}

static bool is_met(const struct pen_graph_node *from, enum pen_graph_until until)
{
    return from->state >= (enum pen_graph_state)until;
}

static void poison(struct pen_graph_node *node, int status)
{
    if (status)
        node->poison = -PEN_EDEPENDENCY;
}

int pen_graph_edge(struct pen_graph *graph, struct pen_graph_node *from, struct pen_graph_node *to,
                   enum pen_graph_until until, bool poisons)
{
    assert(to->state == PEN_GRAPH_NEW || to->state == PEN_GRAPH_PLACED);
    if (is_met(from, until)) {
        if (poisons)
            poison(to, from->status);
        return 0;
    }
    struct pen_graph_edge *edge = graph->spare;
    if (edge)
        graph->spare = edge->next;
    else if (!(edge = malloc(sizeof *edge)))
        return -PEN_ENOMEM;
    *edge = (struct pen_graph_edge){.next = from->out, .to = to, .until = until, .poisons = poisons};
    from->out = edge;
    to->unmet++;
    return 0;
}

static void make_ready(struct pen_graph *graph, struct pen_graph_node *node)
{
    node->state++; /* HELD -> READY, PLACED_HELD -> PLACED_READY */
    pen_list_append(&graph->ready, &node->ready);
}

void pen_graph_hold(struct pen_graph *graph, struct pen_graph_node *node)
{
    assert(node->state == PEN_GRAPH_NEW || node->state == PEN_GRAPH_PLACED);
    graph->held++;
    node->state++; /* held */
    if (!node->unmet)
        make_ready(graph, node);
}

static bool is_held(const struct pen_graph_node *node)
{
    return node->state == PEN_GRAPH_HELD || node->state == PEN_GRAPH_PLACED_HELD;
}

/* Meets the edges out of `node` that its state meets. They were added at the front: turn them round, so that targets
 * become ready in the order of their edges. */
static void meet(struct pen_graph *graph, struct pen_graph_node *node)
{
    struct pen_graph_edge *reversed = NULL, *keep = NULL;
    for (struct pen_graph_edge *edge = node->out, *next; edge; edge = next) {
        next = edge->next;
        edge->next = reversed;
        reversed = edge;
    }
    for (struct pen_graph_edge *edge = reversed, *next; edge; edge = next) {
        next = edge->next;
        if (!is_met(node, edge->until)) {
            edge->next = keep;
            keep = edge;
            continue;
        }
        struct pen_graph_node *to = edge->to;
        if (edge->poisons)
            poison(to, node->status);
        if (!--to->unmet && is_held(to))
            make_ready(graph, to);
        edge->next = graph->spare;
        graph->spare = edge;
    }
    node->out = keep;
}

struct pen_graph_node *pen_graph_pop(struct pen_graph *graph)
{
    if (pen_list_empty(&graph->ready))
        return NULL;
    struct pen_graph_node *node = PEN_CONTAINER(graph->ready.next, struct pen_graph_node, ready);
    pen_list_remove(&node->ready);
    return node;
}

static void leave(struct pen_graph *graph, struct pen_graph_node *node)
{
    if (node->state != PEN_GRAPH_NEW && node->state != PEN_GRAPH_PLACED && node->state < PEN_GRAPH_SUBMITTED)
        graph->held--;
}

static void go(struct pen_graph *graph, struct pen_graph_node *node, enum pen_graph_state state)
{
    leave(graph, node);
    node->state = state;
    if (node->out)
        meet(graph, node);
}

void pen_graph_placed(struct pen_graph *graph, struct pen_graph_node *node)
{
    assert(node->state == PEN_GRAPH_NEW || node->state == PEN_GRAPH_READY);
    go(graph, node, PEN_GRAPH_PLACED);
}

void pen_graph_submitted(struct pen_graph *graph, struct pen_graph_node *node)
{
    assert(!is_held(node) && node->state < PEN_GRAPH_SUBMITTED);
    go(graph, node, PEN_GRAPH_SUBMITTED);
}

void pen_graph_done(struct pen_graph *graph, struct pen_graph_node *node, int status)
{
    assert(!is_held(node) && node->state != PEN_GRAPH_DONE);
    node->status = status;
    go(graph, node, PEN_GRAPH_DONE);
}

void pen_graph_drop(struct pen_graph *graph, struct pen_graph_node *node)
{
    while (node->out) {
        struct pen_graph_edge *edge = node->out;
        node->out = edge->next;
        edge->next = graph->spare;
        graph->spare = edge;
    }
}
