/* icd/service.c - the one thread that calls event callbacks: started by the first callback of the process, asleep
 * (on a condition when no event is watched, on the session's epoch otherwise), never ended.
 *
 * An event that is watched is in `incoming` or in the thread's own list; the thread calls each callback when the event
 * has reached the state it is for, and lets the event go when it has no more. No lock of ours is held in a callback. */
#include <assert.h>
#include <stdlib.h>

#include "base/thread.h"
#include "icd/service.h"

/* A worker that dies publishes nothing; its loss is found within pen_wait_epoch or after so long. */
#define SLEEP_MS 1000u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
/* guarded by lock */
static struct pen_list incoming = {&incoming, &incoming};
static bool started;
static struct pen_session *asleep_on; /* whose epoch the thread sleeps on, or is about to */

/* Appends all of `from` to `to`. */
static void move_all(struct pen_list *from, struct pen_list *to)
{
    while (!pen_list_empty(from)) {
        struct pen_list *node = from->next;
        pen_list_remove(node);
        pen_list_append(to, node);
    }
}

/* The first callback that is due in `status`, taken off the event; NULL when there is none. *out_done: there are no
 * others either, and the event is no longer watched. */
static struct pen_event_callback *take_due(cl_event event, cl_int status, bool *out_done)
{
    struct pen_event_callback *callback = NULL;
    pthread_mutex_lock(&event->lock);
    *out_done = pen_list_empty(&event->callbacks);
    if (*out_done) {
        event->watched = false;
    } else {
        callback = PEN_CONTAINER(event->callbacks.next, struct pen_event_callback, link);
        if (callback->type >= status)
            pen_list_remove(&callback->link);
        else
            callback = NULL;
    }
    pthread_mutex_unlock(&event->lock);
    return callback;
}

/* Calls what is due. True when the event is no longer watched. */
static bool serve_event(cl_event event)
{
    cl_int status = pen_event_status(event);
    struct pen_event_callback *callback;
    bool done = false;
    while ((callback = take_due(event, status, &done))) {
        callback->call(event, status < 0 ? status : callback->type, callback->user);
        free(callback);
    }
    return done;
}

/* Of the first; there is one. */
static struct pen_session *session_of(const struct pen_list *watched)
{
    assert(!pen_list_empty(watched));
    cl_event event = PEN_CONTAINER(watched->next, struct _cl_event, in_service);
    return event->context->session;
}

static void serve_all(struct pen_list *watched)
{
    struct pen_list waiting;
    pen_list_init(&waiting);
    PEN_LIST_EACH(node, next, watched)
    {
        /* Off the list first: once it is not watched, it may be watched anew at once. */
        cl_event event = PEN_CONTAINER(node, struct _cl_event, in_service);
        pen_list_remove(node);
        if (serve_event(event))
            pen_unref(event);
        else
            pen_list_append(&waiting, node);
    }
    move_all(&waiting, watched);
}

static void *serve(void *unused)
{
    (void)unused;
    struct pen_list watched;
    pen_list_init(&watched);
    for (;;) {
        pthread_mutex_lock(&lock);
        asleep_on = NULL;
        while (pen_list_empty(&watched) && pen_list_empty(&incoming))
            pthread_cond_wait(&arrived, &lock);
        move_all(&incoming, &watched);
        /* From here on a kick moves this session's epoch, so that nothing is missed between look and sleep. */
        struct pen_session *session = asleep_on = session_of(&watched);
        uint32_t epoch = pen_epoch(session);
        pthread_mutex_unlock(&lock);
        serve_all(&watched);
        if (!pen_list_empty(&watched) && session_of(&watched) == session)
            pen_wait_epoch(session, epoch, SLEEP_MS);
    }
    return NULL;
}

/* The caller holds lock. */
static int start(void)
{
    pthread_t thread;
    if (pen_thread_start(&thread, serve, NULL))
        return -PEN_EDEVRES;
    pthread_detach(thread);
    pthread_setname_np(thread, "penstock-events");
    started = true;
    return 0;
}

int pen_service_watch(cl_event event)
{
    pthread_mutex_lock(&lock);
    int rc = started ? 0 : start();
    if (!rc) {
        pen_ref(event);
        event->watched = true;
        pen_list_append(&incoming, &event->in_service);
        /* Asleep on an epoch, it will see this one when it wakes: its completion moves that epoch too. */
        pthread_cond_signal(&arrived);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

void pen_service_kick(void)
{
    pthread_mutex_lock(&lock);
    struct pen_session *session = asleep_on;
    pthread_mutex_unlock(&lock);
    if (session)
        pen_wake_epoch(session);
}

/* The thread is not in the child, and what it watched is the parent's. */
void pen_service_at_fork(enum pen_fork when)
{
    switch (when) {
    case PEN_FORK_PREPARE:
        pthread_mutex_lock(&lock);
        break;
    case PEN_FORK_PARENT:
        pthread_mutex_unlock(&lock);
        break;
    case PEN_FORK_CHILD:
        lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
        arrived = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
        pen_list_init(&incoming);
        started = false;
        asleep_on = NULL;
        break;
    }
}
