/* Contents that move while commands are at them (worker/move.c, mem/residency.c, sched/hazard.c; src/worker/README.md, 12): a region
 * with a replica on each of two drivers and the host's. Commands read it, change it, or overwrite it; what is not valid where
 * they run is copied there by commands of the worker's own, one of which may fail. Nobody reads what another one writes at the
 * time, every command finds what the last one before it has left that has not failed, and all end; and so is what is there then. A
 * command is for that in the histories of its replica, and so are copies, of both their ends: that is what pins contents against a
 * move, and a move against commands.
 *
 * What follows a command that should have overwritten the region and failed may find anything.
 *
 * -DUNNOTED_SOURCE: a copy is in the history of where it goes only; -DREADERS_HIDE: who writes after those that read what a
 * copy brings does not ask whether that has failed; -DWRITERS_HIDE: nor does who comes after those that change it; -DREPLACE_HELD:
 * an overwrite gets another memory while one that needs the old one has not been handed over; -DLOST_ANYHOW: a copy that failed takes
 * with it what has overwritten it since; -DSTAYS_VALID: it takes nothing with it; -DLOST_IN_TURN: copies that fail with it are undone
 * after it; -DBROUGHT_AGAIN: it takes with it what another has brought there since. With each somebody finds what he should not. */
#define COMMANDS 3
#define TASKS    8 /* them, and up to two copies for each but the first, which needs one */
#define HOST     2
#define NOBODY   15
#define GARBAGE  14
#define ANYTHING 13
#define BIT(n)   (1 << (n))

mtype = { reads, changes, overwrites };

/* What commands leave is their number; the host has 0 first. */
byte memory[5], readers_in[5], writers_in[5]; /* the host's, two of each driver: another one for an overwrite */
byte generation[2];
#define CELL(replica) (replica == HOST -> 0 : 1 + 2 * replica + generation[replica])

typedef task_of {
    byte driver, from, to; /* replicas; a command's are the same */
    byte from_cell, to_cell;
    byte after, needs;     /* others, as bits: they are to be over; and not to have failed */
    byte waits;            /* of those after which it is, that its driver knows of */
    byte leaves, sources, stamp;
    bool copies, writes, fresh
}
task_of task[TASKS];
byte count, submitted, over, failed, reaped, of_driver[2];
byte lost;    /* those that have failed, or are going to, as bits */
byte undone;  /* copies, the same, that valid knows of */
byte failures;

/* Dispatch's: */
byte valid = BIT(HOST), stamp, last_stamp;
byte writer[3] = NOBODY, readers[3];
byte brings[3]; /* copies there that have not been overwritten since */
byte accepted;

inline meet_writer(at) {
    if
    :: writer[at] != NOBODY && !(reaped & BIT(writer[at])) -> task[count].after = task[count].after | BIT(writer[at])
    :: else
    fi
}

inline meet_copies(at) {
    task[count].after = task[count].after | (brings[at] & ~reaped);
    if
    :: !task[count].fresh -> task[count].needs = task[count].needs | (brings[at] & ~reaped & ~undone)
    :: else
    fi
}

inline note(at, writing) {
    if
    :: writing ->
        task[count].after = task[count].after | (readers[at] & ~reaped);
        if
        :: !(readers[at] & ~reaped) -> meet_writer(at); meet_copies(at)
#ifndef READERS_HIDE
        :: readers[at] & ~reaped -> meet_copies(at)
#endif
        :: else
        fi;
        writer[at] = count;
        readers[at] = 0;
#ifndef WRITERS_HIDE
        if :: task[count].fresh -> brings[at] = 0 :: else fi
#else
        brings[at] = 0
#endif
    :: else ->
        meet_writer(at);
        meet_copies(at);
        readers[at] = readers[at] | BIT(count)
    fi
}

/* Whose failing is whose; `u` is the caller's. */
inline foretell() {
    u = 0;
    do
    :: u == TASKS -> break
    :: else ->
        if
        :: task[u].needs & lost -> lost = lost | BIT(u)
        :: else
        fi;
        u++
    od;
    u = 0
}

/* What the last command before `t` has left; ANYTHING: nobody knows. `u` is the caller's. */
inline expect(t) {
    expected = 0;
    u = 0;
    do
    :: u == t -> break
    :: else ->
        if
        :: task[u].copies || !task[u].writes
        :: !task[u].copies && task[u].writes && !(lost & BIT(u)) -> expected = task[u].leaves
        :: !task[u].copies && task[u].writes && (lost & BIT(u)) && task[u].fresh -> expected = ANYTHING
        :: else
        fi;
        u++
    od;
    u = 0
}

inline begin(on) {
    of_driver[on] = of_driver[on] | BIT(count);
    task[count].driver = on;
    run execute(count);
    count++;
    foretell()
}

inline copy(on, source, target) {
    task[count].copies = true;
    task[count].writes = true;
    task[count].from = source;
    task[count].to = target;
    task[count].sources = had;
    task[count].stamp = stamp;
#ifndef UNNOTED_SOURCE
    note(source, false);
#endif
    task[count].fresh = true; /* it does not look at what it writes over */
    note(target, true);
    brings[target] = BIT(count);
    task[count].fresh = false;
    valid = valid | BIT(target);
    begin(on)
}

inline bring(d) {
    had = valid;
    if
    :: !(valid & BIT(d)) && !(valid & BIT(HOST)) -> copy(1 - d, 1 - d, HOST)
    :: else
    fi;
    if
    :: !(valid & BIT(d)) -> copy(d, HOST, d)
    :: else
    fi
}

/* Another memory for what is overwritten, if somebody is at the old one, and all of those have it. */
inline overtake(d) {
    users = (readers[d] | brings[d]) & ~reaped;
    if
    :: writer[d] != NOBODY -> users = users | (BIT(writer[d]) & ~reaped)
    :: else
    fi;
    if
#ifndef REPLACE_HELD
    :: users && !(users & ~submitted) && !generation[d] ->
#else
    :: users && !generation[d] ->
#endif
        generation[d] = 1;
        writer[d] = NOBODY;
        readers[d] = 0;
        brings[d] = 0
    :: else
    fi
}

inline accept() {
    if :: d = 0 :: d = 1 fi;
    if :: kind = reads :: kind = changes :: kind = overwrites fi;
    accepted++;
    if
    :: kind == overwrites -> overtake(d)
    :: else -> bring(d)
    fi;
    task[count].from = d;
    task[count].to = d;
    task[count].leaves = accepted;
    task[count].writes = kind != reads;
    task[count].fresh = kind == overwrites;
    note(d, kind != reads);
    if
    :: kind != reads -> valid = BIT(d)
    :: else
    fi;
    if
    :: kind == overwrites -> stamp++; last_stamp = stamp
    :: else
    fi;
    begin(d)
}

/* Of a copy that failed, whose place is not valid any more; `v` is the caller's. */
inline undo(k) {
    undone = undone | BIT(k);
    again = 0;
#ifndef BROUGHT_AGAIN
    v = k + 1;
    do
    :: v >= count -> break
    :: else ->
        if
        :: task[v].copies && !(reaped & BIT(v)) && !(undone & BIT(v)) && task[v].to == task[k].to -> again = 1
        :: else
        fi;
        v++
    od;
    v = 0;
#endif
    if
#ifndef LOST_ANYHOW
    :: last_stamp > task[k].stamp
#endif
    :: again
    :: else ->
        valid = valid & ~BIT(task[k].to);
        if :: !valid -> valid = task[k].sources :: else fi
    fi;
    again = 0
}

/* It, and those that needed it. */
inline lose(t) {
#ifndef STAYS_VALID
    doomed = BIT(t);
    k = t;
#ifndef LOST_IN_TURN
    do
    :: k == count -> break
    :: else ->
        if
        :: task[k].copies && !(reaped & BIT(k)) && (task[k].needs & doomed) -> doomed = doomed | BIT(k)
        :: else
        fi;
        k++
    od;
    k--;
#endif
    do
    :: (doomed & ~undone & BIT(k)) -> undo(k); if :: k == t -> break :: else -> k-- fi
    :: !(doomed & ~undone & BIT(k)) -> if :: k == t -> break :: else -> k-- fi
    od;
    k = 0;
    doomed = 0
#else
    skip
#endif
}

active proctype dispatch() {
    byte d, had, users, t, u, k, v, doomed, again, expected;
    mtype kind;
    memory[1] = GARBAGE; memory[2] = GARBAGE; memory[3] = GARBAGE; memory[4] = GARBAGE;
    do
    :: atomic { accepted < COMMANDS -> accept(); had = 0; users = 0 }
    :: atomic { over & ~reaped ->
            t = 0;
            do :: !(over & ~reaped & BIT(t)) -> t++ :: else -> break od;
            if :: task[t].copies && (failed & BIT(t)) -> lose(t) :: else fi;
            reaped = reaped | BIT(t);
            t = 0
        }
    :: accepted == COMMANDS && reaped == BIT(count) - 1 -> break
    od;
    atomic {
        assert(valid);
        expect(count);
        d = 0;
        do
        :: d > HOST -> break
        :: else ->
            assert(expected == ANYTHING || !(valid & BIT(d)) || memory[CELL(d)] == expected);
            d++
        od
    }
}

inline fail(t) {
    failed = failed | BIT(t);
    lost = lost | BIT(t);
    foretell()
}

proctype execute(byte t) {
    byte found, u, expected;
    /* Dispatch hands it over once its driver has what it waits for, or that is over; with the memories that there are. */
    atomic { !(task[t].after & ~reaped & ~(submitted & of_driver[task[t].driver])) ->
        submitted = submitted | BIT(t);
        task[t].waits = task[t].after & ~reaped;
        task[t].from_cell = CELL(task[t].from);
        task[t].to_cell = CELL(task[t].to)
    }
    atomic { !(task[t].after & ~over) ->
        if
        :: task[t].needs & failed -> fail(t); over = over | BIT(t); goto ended
        /* A driver fails what waits for what has failed, whatever for. */
        :: task[t].waits & failed & of_driver[task[t].driver] -> fail(t); over = over | BIT(t); goto ended
        :: !(task[t].needs & failed) ->
            assert(!writers_in[task[t].from_cell] || task[t].fresh);
            assert(!task[t].writes || (!writers_in[task[t].to_cell] && !readers_in[task[t].to_cell]));
            found = memory[task[t].from_cell];
            if :: !task[t].fresh -> readers_in[task[t].from_cell]++ :: else fi;
            if :: task[t].writes -> writers_in[task[t].to_cell]++ :: else fi
        fi
    }
    atomic {
        if :: !task[t].fresh -> readers_in[task[t].from_cell]-- :: else fi;
        if :: task[t].writes -> writers_in[task[t].to_cell]-- :: else fi;
        if
        :: task[t].copies && !failures -> failures++; memory[task[t].to_cell] = GARBAGE; fail(t)
        :: task[t].copies -> memory[task[t].to_cell] = found
        :: !task[t].copies ->
            expect(t);
            assert(task[t].fresh || expected == ANYTHING || found == expected);
            expected = 0;
            if :: task[t].writes -> memory[task[t].to_cell] = task[t].leaves :: else fi
        fi;
        over = over | BIT(t)
    }
ended:
}
