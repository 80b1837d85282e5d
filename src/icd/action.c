/* icd/action.c - what this process must do when a command has completed, before any call says that it has. */
#include "icd/memory.h"
#include "icd/service.h"

/* Held while actions run, so that whoever asks meanwhile is told only when they have. Recursive: an action may drop the
 * last reference of an object whose destructor callback calls OpenCL again. Taken before `lock`. */
static pthread_mutex_t running = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct pen_list due = {&due, &due}; /* guarded by running: found complete, in the order they were added */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pen_list pending = {&pending, &pending}; /* guarded by lock, in the order they were added */

/* Actions that have not run. Release after one has run: pairs with the acquire in pen_settle. */
static _Atomic uint32_t outstanding;

void pen_action_add(struct pen_action *action)
{
    pen_ref(action->event);
    pthread_mutex_lock(&lock);
    pen_list_append(&pending, &action->link);
    atomic_fetch_add_explicit(&outstanding, 1, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
}

/* The event's outcome as -PEN_E* or 0; positive: not complete. */
static int outcome(cl_event event)
{
    if (event->slot)
        return pen_slot_state(event->context->session, event->slot);
    return atomic_load_explicit(&event->local, memory_order_acquire) > CL_COMPLETE;
}

static void collect(void)
{
    pthread_mutex_lock(&lock);
    PEN_LIST_EACH(node, next, &pending)
    {
        struct pen_action *action = PEN_CONTAINER(node, struct pen_action, link);
        if (outcome(action->event) > 0)
            continue;
        pen_list_remove(node);
        pen_list_append(&due, node);
    }
    pthread_mutex_unlock(&lock);
}

static void run_due(void)
{
    pthread_mutex_lock(&running);
    collect();
    while (!pen_list_empty(&due)) {
        struct pen_action *action = PEN_CONTAINER(due.next, struct pen_action, link);
        cl_event event = action->event;
        pen_list_remove(&action->link);
        action->run(action, outcome(event));
        pen_unref(event);
        atomic_fetch_sub_explicit(&outstanding, 1, memory_order_release);
    }
    pthread_mutex_unlock(&running);
}

void pen_recycle(struct pen_session *session)
{
    if (atomic_load_explicit(&outstanding, memory_order_acquire))
        run_due();
    if (pen_hostptr_any())
        pen_farewell_run(session);
}

void pen_settle(struct pen_session *session)
{
    pen_session_drain_output(session);
    if (atomic_load_explicit(&outstanding, memory_order_acquire))
        run_due();
    pen_hostptr_after_sync(session);
}

void pen_running_at_fork(enum pen_fork when)
{
    switch (when) {
    case PEN_FORK_PREPARE:
        pthread_mutex_lock(&running);
        break;
    case PEN_FORK_PARENT:
        pthread_mutex_unlock(&running);
        break;
    case PEN_FORK_CHILD:
        /* A recursive lock knows its thread, which the child's is not. */
        running = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
        pen_list_init(&due);
        break;
    }
}

/* The parent's commands are the parent's to finish: the child forgets them. */
void pen_action_at_fork(enum pen_fork when)
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
        pen_list_init(&pending);
        atomic_store(&outstanding, 0);
        break;
    }
}
