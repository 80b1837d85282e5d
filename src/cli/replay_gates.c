/* cli/replay_gates.c - what waits, directly or not, for an event of the program's own that nobody has set yet: a gate.
 */
#include <stdlib.h>

#include "cli/replay.h"

/* Those of a hold that are still open: a bit may have been another gate's since. */
uint64_t pen_replay_held(const struct pen_replay *replay, struct pen_replay_hold hold)
{
    uint64_t open = 0;
    for (uint32_t i = 0; i < PEN_REPLAY_GATES; i++) {
        const struct pen_replay_gate *gate = &replay->gates[i];
        if (hold.gates >> i & 1 && gate->open && gate->since <= hold.at)
            open |= UINT64_C(1) << i;
    }
    return open;
}

struct pen_replay_hold pen_replay_hold(const struct pen_replay *replay, struct pen_replay_hold one,
                                       struct pen_replay_hold other)
{
    return (struct pen_replay_hold){
        .gates = pen_replay_held(replay, one) | pen_replay_held(replay, other),
        .at = replay->gates_opened,
    };
}

struct pen_replay_hold pen_replay_event_hold(const struct pen_replay *replay, uint64_t event)
{
    const struct pen_replay_hold *hold = pen_map_get(&replay->held_events, event);
    return hold ? *hold : (struct pen_replay_hold){0};
}

int pen_replay_event_held(struct pen_replay *replay, uint64_t event, struct pen_replay_hold hold)
{
    if (!event || !hold.gates)
        return 0;
    struct pen_replay_hold *copy = malloc(sizeof *copy);
    if (!copy)
        return -PEN_ENOMEM;
    *copy = hold;
    pen_replay_event_gone(replay, event);
    int rc = pen_map_set(&replay->held_events, event, copy);
    if (rc)
        free(copy);
    return rc;
}

void pen_replay_event_gone(struct pen_replay *replay, uint64_t event)
{
    free(pen_map_remove(&replay->held_events, event));
}

int pen_replay_gate_opened(struct pen_replay *replay, uint64_t event)
{
    uint32_t best = 0; /* more gates than bits: some share one, which is open until all of them are set */
    for (uint32_t i = 1; i < PEN_REPLAY_GATES; i++)
        if (replay->gates[i].open < replay->gates[best].open)
            best = i;
    struct pen_replay_gate *gate = &replay->gates[best];
    int rc = pen_map_set(&replay->open_events, event, gate);
    if (rc)
        return rc;
    replay->gates_opened++;
    if (!gate->open++)
        gate->since = replay->gates_opened;
    return pen_replay_event_held(replay, event,
                                 (struct pen_replay_hold){.gates = UINT64_C(1) << best, .at = replay->gates_opened});
}

void pen_replay_gate_set(struct pen_replay *replay, uint64_t event)
{
    struct pen_replay_gate *gate = pen_map_remove(&replay->open_events, event);
    if (gate)
        gate->open--;
}
