/* The completion counter of an in-order queue in shared memory (wire/shared.c: pen_publish_queue; client/wait.c: sleep_until,
 * ask): threads that wait for numbers share one word, `wanted`, which holds the lowest. Nobody sleeps on when his number
 * has been reached.
 *
 * Stores may be put off, as in doorbell.pml: the worker's of `completed`.
 * -DNO_FENCE_WORKER: without the worker's fence; -DLATE_EPOCH: a waiter reads the epoch after it has asked. Either way somebody
 * does. */
#define LAST 2

byte completed, wanted, epoch;
byte late_completed; bool has_late;
byte seen_by[2]; bool sleeps[2];

inline flush() { if :: has_late -> completed = late_completed; has_late = false :: else fi }

active proctype buffer() {
end:
    do
    :: atomic { has_late -> flush() }
    od
}

active proctype worker() {
    byte number = 0, want;
    do
    :: number < LAST ->
        number++;
        atomic { flush(); late_completed = number; has_late = true };
#ifndef NO_FENCE_WORKER
        atomic { flush() };
#endif
        want = wanted;
        if
        :: want && want <= number ->
            atomic { flush(); if :: wanted == want -> wanted = 0 :: else fi };
            atomic { flush(); epoch++; sleeps[0] = false; sleeps[1] = false }
        :: else
        fi
    :: else -> break
    od
}

proctype waiter(byte me; byte number) {
    byte seen, old;
    do
    :: completed >= number -> break
    :: else ->
#ifndef LATE_EPOCH
        seen = epoch;
#endif
        /* a compare-and-swap in a loop is atomic as a whole, but for what it may have missed before */
        atomic { if :: wanted == 0 || wanted > number -> wanted = number :: else fi };
#ifdef LATE_EPOCH
        seen = epoch;
#endif
        if
        :: completed >= number -> break
        :: else -> atomic { if :: epoch == seen -> sleeps[me] = true :: else fi }; !sleeps[me]
        fi
    od
}

init { atomic { run waiter(0, 1); run waiter(1, 2) } }
