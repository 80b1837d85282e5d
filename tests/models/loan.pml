/* Bytes of a program's that a link sends from where they lie (net/link_send.c: send_all; net/link.c: pen_link_let_go), and that the
 * program takes back while they may be under way, or be sent once more over the next connection: from then on nothing is read there.
 *
 * -DNO_WAIT: what is not sent yet is exchanged without waiting for who sends; -DSENT_STAYS: what was sent once is left as it
 * is, though it may be sent again. Either way the program's memory is read after it was taken back. */
#define PIECES 2

bool lent[PIECES] = true; /* the piece's bytes are the program's; else what was put instead */
byte sent;                /* pieces: these are kept, and sent again when a connection has broken */
bool sending, locked, taken_back, broken_once;

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

active proctype sender() {
    byte piece;
    bool from_program;
    do
    :: sent == PIECES && broken_once -> break
    :: atomic { sent < PIECES && !sending -> sending = true };
        lock();
        piece = sent;
        from_program = lent[piece]; /* gather() */
        unlock();
        assert(!(from_program && taken_back)); /* the socket reads */
        lock();
        sent++;
        unlock();
        sending = false
    :: !broken_once -> /* another connection: pen_link_attach, rewind_to */
        atomic { !sending -> sending = true };
        lock();
        broken_once = true;
        if :: sent = 0 :: skip fi;
        unlock();
        sending = false
    od
}

active proctype program() {
    byte i;
    bool all = true;
    lock();
    i = 0;
    do
    :: i < PIECES ->
        if
#ifndef SENT_STAYS
        :: i < sent -> lent[i] = false
#else
        :: i < sent
#endif
#ifndef NO_WAIT
        :: i >= sent -> all = false
#else
        :: i >= sent -> lent[i] = false
#endif
        fi;
        i++
    :: else -> break
    od;
    unlock();
    if
    :: !all ->
        atomic { !sending -> sending = true };
        lock();
        lent[0] = false;
        lent[1] = false;
        unlock();
        sending = false
    :: else
    fi;
    taken_back = true
}
