/* icd/action.c - what this process must do when a command has completed, before any call says that it has. Each pool's
 * commands by themselves: what is done for one may send to its session, and wait with it for its connection. */
#include "icd/memory.h"
#include "icd/service.h"

void pen_home_init_actions(struct pen_home *home)
{
    home->running = home->noting = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    pen_list_init(&home->due);
    pen_list_init(&home->pending);
    atomic_store(&home->outstanding, 0);
}

void pen_action_add(struct pen_action *action)
{
    struct pen_home *home = action->event->context->home;
    pen_ref(action->event);
    pthread_mutex_lock(&home->noting);
    pen_list_append(&home->pending, &action->link);
    /* Relaxed, without a pair: the list is guarded by noting, and who asks about the command knows of it from us. */
    atomic_fetch_add_explicit(&home->outstanding, 1, memory_order_relaxed);
    pthread_mutex_unlock(&home->noting);
}

/* The event's outcome as -PEN_E* or 0; positive: not complete. */
static int outcome(cl_event event)
{
    if (event->slot)
        return pen_slot_state(event->context->session, event->slot);
    return atomic_load_explicit(&event->local, memory_order_acquire) > CL_COMPLETE;
}

static void collect(struct pen_home *home)
{
    pthread_mutex_lock(&home->noting);
    PEN_LIST_EACH(node, next, &home->pending)
    {
        struct pen_action *action = PEN_CONTAINER(node, struct pen_action, link);
        if (outcome(action->event) > 0)
            continue;
        pen_list_remove(node);
        pen_list_append(&home->due, node);
    }
    pthread_mutex_unlock(&home->noting);
}

/* Under home->running. The event of an action that has run; NULL: none is due. */
static cl_event run_next(struct pen_home *home)
{
    if (pen_list_empty(&home->due))
        return NULL;
    struct pen_action *action = PEN_CONTAINER(home->due.next, struct pen_action, link);
    cl_event event = action->event;
    pen_list_remove(&action->link);
    action->run(action, outcome(event));
    /* Release: pairs with the acquire in any_outstanding; who finds none sees what the actions did. */
    atomic_fetch_sub_explicit(&home->outstanding, 1, memory_order_release);
    return event;
}

/* An event may be the last to hold objects: their end is sent, and functions of the program's are called, without the
 * lock. */
static void run_due(struct pen_home *home)
{
    cl_event event;
    pthread_mutex_lock(&home->running);
    collect(home);
    while ((event = run_next(home))) {
        pthread_mutex_unlock(&home->running);
        pen_unref(event);
        pthread_mutex_lock(&home->running);
    }
    pthread_mutex_unlock(&home->running);
}

static bool any_outstanding(struct pen_home *home)
{
    /* Acquire: pairs with the release in run_next. */
    return atomic_load_explicit(&home->outstanding, memory_order_acquire) != 0;
}

void pen_recycle(cl_context context)
{
    if (any_outstanding(context->home))
        run_due(context->home);
    if (pen_hostptr_any())
        pen_farewell_run(context->session);
}

void pen_settle(cl_context context)
{
    pen_session_drain_output(context->session);
    if (any_outstanding(context->home))
        run_due(context->home);
    pen_hostptr_after_sync(context);
}
