/* icd/service.c - the thread that calls event callbacks, one for each pool: started by the first callback of an event
 * of that pool's session, asleep (on a condition when no event is watched, on the session's epoch otherwise), never
 * ended.
 *
 * An event that is watched is in `incoming` or in the thread's own list; the thread calls each callback when the event
 * has reached the state it is for, and lets the event go when it has no more. No lock of ours is held in a callback. */
#include <assert.h>
#include <stdlib.h>

#include "base/thread.h"
#include "icd/service.h"

/* A worker that dies publishes nothing; its loss is found within pen_wait_epoch or after so long. */
#define SLEEP_MS 1000u

void pen_home_init_service(struct pen_home *home)
{
    home->watching = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    home->arrived = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    pen_list_init(&home->incoming);
    home->served = false;
    home->asleep_on = NULL;
}

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

/* Of the first; there is one. Those of a session that was lost before are all due. */
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

static void *serve(void *context)
{
    struct pen_home *home = context;
    struct pen_list watched;
    pen_list_init(&watched);
    for (;;) {
        pthread_mutex_lock(&home->watching);
        home->asleep_on = NULL;
        while (pen_list_empty(&watched) && pen_list_empty(&home->incoming))
            pthread_cond_wait(&home->arrived, &home->watching);
        move_all(&home->incoming, &watched);
        /* From here on a kick moves this session's epoch, so that nothing is missed between look and sleep. */
        struct pen_session *session = home->asleep_on = session_of(&watched);
        uint32_t epoch = pen_epoch(session);
        pthread_mutex_unlock(&home->watching);
        serve_all(&watched);
        if (!pen_list_empty(&watched) && session_of(&watched) == session)
            pen_wait_epoch(session, epoch, SLEEP_MS);
    }
    return NULL;
}

/* The caller holds home->watching. */
static int start(struct pen_home *home)
{
    pthread_t thread;
    if (pen_thread_start(&thread, serve, home))
        return -PEN_EDEVRES;
    pthread_detach(thread);
    pthread_setname_np(thread, "penstock-events");
    home->served = true;
    return 0;
}

int pen_service_watch(cl_event event)
{
    struct pen_home *home = event->context->home;
    pthread_mutex_lock(&home->watching);
    int rc = home->served ? 0 : start(home);
    if (!rc) {
        pen_ref(event);
        event->watched = true;
        pen_list_append(&home->incoming, &event->in_service);
        /* Asleep on an epoch, it will see this one when it wakes: its completion moves that epoch too. */
        pthread_cond_signal(&home->arrived);
    }
    pthread_mutex_unlock(&home->watching);
    return rc;
}

void pen_service_kick(struct pen_home *home)
{
    pthread_mutex_lock(&home->watching);
    struct pen_session *session = home->asleep_on;
    pthread_mutex_unlock(&home->watching);
    if (session)
        pen_wake_epoch(session);
}
