/* sched/graph.h - which held command may go when: nodes, edges, states. Pure: no I/O, clock, threads or devices.
 *
 *   NEW ──edge()s──► HELD ──last edge met──► READY ──pop(), submitted()──► SUBMITTED ──done()──► DONE
 *    └─ no unmet edge: the caller submits it at once, or holds it: READY ──────►┘
 *   A node whose device is still to be chosen goes twice through that: with the edges it has before, to PLACED; then
 *   with those that follow from where it is to run: PLACED ──edge()s──► PLACED_HELD ──► PLACED_READY ──► SUBMITTED.
 *   (Every state → DONE directly, but those held: a node that never reaches a device: poisoned, refused, or a program's
 *   own event)
 *
 * Rules
 *  1. An edge is met when its source has come as far as `until` says: PLACED (what is placed after it is ordered after
 * it by the edges that follow), SUBMITTED (the device orders the two by itself), or DONE.
 *  2. Only an edge that poisons carries an error on: its target's `poison` is -PEN_EDEPENDENCY. Order alone (an
 * in-order queue, a barrier) never poisons.
 *  3. A node is READY once, and PLACED_READY once, in the order in which its last edge was met; the graph never looks
 * at it again after DONE.
 *
 * Ownership: nodes are the caller's, and stay where they are until DONE; edges are the graph's.
 * Threads:   one.
 * Errors:    0 or -PEN_ENOMEM. */
#ifndef PEN_SCHED_GRAPH_H
#define PEN_SCHED_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/* In the order in which a node goes through them. */
enum pen_graph_state {
    PEN_GRAPH_NEW = 0,
    PEN_GRAPH_HELD,
    PEN_GRAPH_READY,
    PEN_GRAPH_PLACED,
    PEN_GRAPH_PLACED_HELD,
    PEN_GRAPH_PLACED_READY,
    PEN_GRAPH_SUBMITTED,
    PEN_GRAPH_DONE,
};

enum pen_graph_until {
    PEN_GRAPH_UNTIL_PLACED = PEN_GRAPH_PLACED,
    PEN_GRAPH_UNTIL_SUBMITTED = PEN_GRAPH_SUBMITTED,
    PEN_GRAPH_UNTIL_DONE = PEN_GRAPH_DONE
};

struct pen_graph_edge;

/* Zero-initialize. Fields are read-only for the caller. */
struct pen_graph_node {
    struct pen_list ready; /* link in graph->ready while READY or PLACED_READY */
    struct pen_graph_edge *out;
    uint32_t unmet; /* edges into this node that are not met */
    enum pen_graph_state state;
    int status; /* DONE: 0 or -PEN_E* */
    int poison; /* 0, or -PEN_EDEPENDENCY: something it depends on has failed */
};

struct pen_graph {
    struct pen_list ready;
    struct pen_graph_edge *spare; /* edges to be used again */
    uint32_t held;                /* nodes held or ready */
};

void pen_graph_init(struct pen_graph *graph);
/* Frees the edges that nodes have given back. */
void pen_graph_finish(struct pen_graph *graph);

/* `to` (NEW or PLACED) may not go until `from` is. Nothing is added when that is so already (but the poison is taken
 * over). */
int pen_graph_edge(struct pen_graph *graph, struct pen_graph_node *from, struct pen_graph_node *to,
                   enum pen_graph_until until, bool poisons);
/* NEW -> HELD, PLACED -> PLACED_HELD; ready at once without an unmet edge: what it was to be held for has gone
 * meanwhile. */
void pen_graph_hold(struct pen_graph *graph, struct pen_graph_node *node);
/* The oldest ready node, taken off the list (it stays READY or PLACED_READY), or NULL. */
struct pen_graph_node *pen_graph_pop(struct pen_graph *graph);
/* NEW or READY -> PLACED. */
void pen_graph_placed(struct pen_graph *graph, struct pen_graph_node *node);
void pen_graph_submitted(struct pen_graph *graph, struct pen_graph_node *node);
void pen_graph_done(struct pen_graph *graph, struct pen_graph_node *node, int status);
/* Takes back the edges out of a node that will never be done: its targets are never met. For the end of everything. */
void pen_graph_drop(struct pen_graph *graph, struct pen_graph_node *node);

#endif
