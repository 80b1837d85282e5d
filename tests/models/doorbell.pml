/* The command ring's doorbell and kicks (wire/ring.c: sleep_once, pen_ring_doorbell, pen_ring_kick): a reader that sleeps
 * when there is nothing, a writer of commands, and a driver's thread that kicks. Nobody sleeps over what has come.
 *
 * Processors may put off stores: each process has a store buffer of one, which a fence or an atomic exchange empties.
 * -DNO_FENCE_READER, -DNO_FENCE_WRITER, -DNO_FENCE_KICKER: without that fence somebody does. */
#define COMMANDS 2
#define KICKS    2

byte head, taken, kicks_given, kicks_seen;
bool asleep, sleeping, kicked;
byte doorbell;
bool waits; /* the reader is in the futex */
byte waits_for;

/* The store that each has put off: the writer's of head; the reader's of asleep and sleeping, together. */
byte late_head; bool has_late_head;
bool late_asleep, has_late_asleep;

inline flush_writer() { if :: has_late_head -> head = late_head; has_late_head = false :: else fi }
inline flush_reader() { if :: has_late_asleep -> asleep = late_asleep; sleeping = late_asleep; has_late_asleep = false :: else fi }

active proctype buffers() { /* at any time, or at the end */
end:
    do
    :: atomic { has_late_head -> flush_writer() }
    :: atomic { has_late_asleep -> flush_reader() }
    od
}

inline ring() { /* doorbell and futex_wake */
    atomic { doorbell++; if :: waits && doorbell != waits_for -> waits = false :: else fi }
}

active proctype writer() {
    byte sent = 0, was;
    do
    :: sent < COMMANDS ->
        sent++;
        atomic { late_head = sent; has_late_head = true };
#ifndef NO_FENCE_WRITER
        atomic { flush_writer() };
#endif
        if
        :: asleep -> atomic { flush_writer(); was = asleep; asleep = false }; if :: was -> ring() :: else fi
        :: else
        fi
    :: else -> break
    od
}

active proctype kicker() {
    byte given = 0;
    bool was, late_kick;
    do
    :: given < KICKS ->
        given++;
        late_kick = true;
#ifdef NO_FENCE_KICKER
        /* an exchange that is no fence for the load after it */
        was = sleeping;
        atomic { if :: kicked -> late_kick = false :: else -> kicked = true fi; kicks_given++ };
        if :: late_kick && was -> ring() :: else fi
#else
        atomic { if :: kicked -> late_kick = false :: else -> kicked = true fi; kicks_given++ };
        if :: late_kick && sleeping -> ring() :: else fi
#endif
    :: else -> break
    od
}

inline look() { /* pending() */
    atomic { if :: head != taken -> taken = head; some = true :: else fi };
    atomic { if :: kicked -> kicked = false; kicks_seen = kicks_given; some = true :: else fi }
}

active proctype reader() {
    bool some;
    byte seen;
    do
    :: taken == COMMANDS && kicks_seen == KICKS -> break
    :: else ->
        some = false;
        look();
        if
        :: !some ->
            seen = doorbell;
            atomic { late_asleep = true; has_late_asleep = true };
#ifndef NO_FENCE_READER
            atomic { flush_reader() };
#endif
            look();
            if
            :: !some -> atomic { if :: doorbell == seen -> waits = true; waits_for = seen :: else fi }; !waits
            :: else
            fi;
            atomic { flush_reader(); asleep = false; sleeping = false }
        :: else
        fi
    od
}
