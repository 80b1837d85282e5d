/* Completions are published in the order that the program may see (worker/task.c: pen_task_finish, publish_in_order,
 * publish_early): commands of two in-order queues, some of which wait for one of the other queue. Drivers tell of them in any
 * order. Each is published once, after what is before it in its queue and after what it waits for, and none is left.
 *
 * -DKICK_BEFORE: who tells looks whether dispatch has to be woken before he has told; -DNO_HOLDING: dispatch does not say that it
 * keeps some; -DSTAYS_PUT_OFF: one that was put off is still so when it comes again. Each leaves some. -DNO_BEFORE: what a command waits for
 * is not looked at: it is published before that. */
#define QUEUES 2
#define EACH   2
#define TASKS  4
#define BIT(n) (1 << (n))
#define ALL    15

byte before[TASKS]; /* as bits */
byte done;          /* published */
byte told, put_off; /* guarded by the queue's lock */
byte head[QUEUES];
bool locked[QUEUES];
byte finished, early; /* lists that dispatch takes */
bool holding, kicked;

/* pen_task_finish(); all but t is the caller's. */
inline finish(t) {
#ifdef KICK_BEFORE
    wake = holding || early;
#endif
    atomic { !locked[t / EACH] ->
        locked[t / EACH] = true;
        told = told | BIT(t);
#ifndef STAYS_PUT_OFF
        put_off = put_off & ~BIT(t);
#endif
        do
        :: head[t / EACH] == EACH -> break
        :: else ->
            at = (t / EACH) * EACH + head[t / EACH];
            if
            :: !(told & BIT(at)) || (put_off & BIT(at)) -> break
#ifndef NO_BEFORE
            :: (told & ~put_off & BIT(at)) && (before[at] & ~done) -> put_off = put_off | BIT(at); late = BIT(at); break
#endif
            :: else ->
                assert(!(done & BIT(at)) && !(before[at] & ~done));
                done = done | BIT(at);
                published = published | BIT(at);
                head[t / EACH]++
            fi
        od;
        at = 0
    }
    /* What it waits for may have been published since. */
    atomic { early = early | late; late = 0; locked[t / EACH] = false };
    atomic { finished = finished | published; published = 0 };
#ifdef KICK_BEFORE
    atomic { if :: wake -> kicked = true :: else fi; wake = false }
#else
    atomic { if :: holding || early -> kicked = true :: else fi }
#endif
}

proctype driver(byte t) {
    byte at, late, published;
    bool wake;
    finish(t)
}

/* Those of the list that may be published now are, the others are kept. */
inline look_again(list) {
    t = 0;
    do
    :: t == TASKS -> break
    :: else ->
        if
        :: atomic { (list & BIT(t)) && (before[t] & ~done) -> kept = kept | BIT(t) }
        :: atomic { (list & BIT(t)) && !(before[t] & ~done) -> skip }; finish(t)
        :: else
        fi;
        t++
    od;
    t = 0
}

active proctype dispatch() {
    byte at, late, published, t, kept, list;
    bool wake;
    before[2] = BIT(0); /* 0, 2, 3, 1 is the only order */
    before[1] = BIT(3);
    atomic { run driver(0); run driver(1); run driver(2); run driver(3) };
    do
    :: finished || early ->
        finished = 0;
        list = kept;
        kept = 0;
        look_again(list);
        atomic { list = early; early = 0 };
        look_again(list);
#ifndef NO_HOLDING
        if :: kept -> holding = true :: else fi
#endif
    :: else ->
#ifndef NO_HOLDING
        holding = kept != 0;
#endif
        if
        :: done == ALL -> break
        :: finished || early
        :: else -> if :: atomic { kicked -> kicked = false } :: done == ALL -> break fi
        fi
    od;
    assert(!kept)
}
