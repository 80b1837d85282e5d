/* A link's frames (net/link_send.c: pen_link_flush, pen_link_flush_burst, pen_link_is_gathering): threads that add frames
 * send them themselves, or leave them to who sends already, or, in a burst, to the turning thread for a little later.
 * Every frame is sent, without anybody's doing anything more.
 *
 * -DLOOK_ONCE: who sends does not look again after it has let go; -DNO_KICK: who gathers first does not wake the turning
 * thread; -DLATE_DUE: the turning thread ends a burst after it has sent. Each leaves a frame behind. */
byte added, sent, adders;
bool sending, due, time_is_up, kicked;

inline send_all() { atomic { sent = added } }

/* flush(): unsent; sending; again */
inline flush() {
    do
    :: added != sent ->
        atomic { taken = !sending; sending = true };
        if
        :: taken -> send_all(); sending = false
#ifdef LOOK_ONCE
            ; break
#endif
        :: else -> break
        fi
    :: else -> break
    od
}

proctype adder(bool burst) {
    bool taken, was;
    added++;
    if
    :: burst ->
        atomic { was = due; due = true };
#ifndef NO_KICK
        if :: !was -> kicked = true :: else fi
#endif
    :: else -> flush()
    fi;
    adders--
}

/* Time passes once something is gathered; the turning thread wakes by then, or by a kick. */
active proctype turner() {
    bool taken, gathering, limited; /* it knew of the burst when it went to sleep */
end:
    do
    :: kicked || (limited && time_is_up) ->
        kicked = false;
        gathering = false;
        if
        :: due ->
            if
            :: !time_is_up -> gathering = true
            :: else
#ifndef LATE_DUE
                -> due = false
#endif
            fi
        :: else
        fi;
        if
        :: !gathering ->
            flush();
#ifdef LATE_DUE
            due = false
#endif
        :: else
        fi;
        limited = due
    :: atomic { due && !time_is_up && !kicked -> time_is_up = true } /* its sleep is no longer than that */
    :: atomic { !due && time_is_up -> time_is_up = false }
    od
}

init {
    atomic { adders = 3; run adder(true); run adder(true); run adder(false) };
    adders == 0;
    timeout -> assert(added == sent) /* nobody moves any more */
}
