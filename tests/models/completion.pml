/* A completion that a held command waits for (worker/task.c: pen_task_finish; hold.c: pen_task_hold; enqueue.c:
 * pen_task_reap): the driver's thread tells of it while dispatch is about to sleep because of it. No command stays held, and
 * each is released once.
 *
 * -DHOLD_LATE: dispatch says that it holds commands only after it has looked at what has finished;
 * -DNO_WAKE: the driver's thread looks whether commands are held before it tells. Either way one stays held. */
#define TASKS 2

byte finished;             /* tasks told of and not taken, as bits */
bool done[TASKS], holding, kicked;
bool held[TASKS];          /* command i waits for task i */
byte released[TASKS];

proctype driver(byte task) {
    bool wake;
    done[task] = true; /* published */
#ifdef NO_WAKE
    wake = holding;
    atomic { finished = finished | (1 << task) };
#else
    atomic { finished = finished | (1 << task) };
    wake = holding;
#endif
    if :: wake -> kicked = true :: else fi
}

active proctype dispatch() {
    byte next = 0, list, i;
    run driver(0);
    run driver(1);
    do
    :: next < TASKS -> /* a command that waits for task `next` comes */
        if
        :: done[next] -> released[next]++
        :: else ->
            held[next] = true;
#ifndef HOLD_LATE
            holding = true;
#endif
        fi;
        next++
    :: else ->
        /* reap, as long as there is something */
        do
        :: atomic { finished -> list = finished; finished = 0 };
            i = 0;
            do
            :: i < TASKS ->
                if :: (list & (1 << i)) && held[i] -> held[i] = false; released[i]++ :: else fi;
                i++
            :: else -> break
            od
        :: !finished -> break
        od;
        holding = held[0] || held[1];
        if
        :: !held[0] && !held[1] -> break
        :: else
#ifndef HOLD_LATE
            /* seq_cst: holding, then finished once more, before it sleeps */
            -> if :: finished -> skip :: !finished -> atomic { kicked -> kicked = false } fi
#else
            -> atomic { kicked -> kicked = false }
#endif
        fi
    od;
    assert(released[0] == 1 && released[1] == 1)
}
