/* scenario/more_layer.h - what more_layer.c and cl_more.c have in common. */
#ifndef MORE_LAYER_H
#define MORE_LAYER_H

/* A pattern of 4 bytes: a fill with it leaves it on a queue without hints, else priority * 256 + throttle. */
#define NO_HINTS 0xfeedfeedu

/* Most sub-groups of a work-group. */
#define SUB_GROUPS 6

#endif
