/* icd/session.c - the process's one session, and what fork does to it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "icd/service.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The last session opened, alive or lost. Lost ones are never freed, for objects of the program point to them; but when
 * the last context of one is gone, its memory is. */
static struct pen_session *_Atomic current;
static bool fork_handled; /* guarded by lock; the child has a lock of its own: who opens a session is not in it */
static _Thread_local char failure[sizeof((struct pen_error *)0)->message];

void pen_say(const char *what, const struct pen_error *why)
{
    const char *wanted = getenv("PENSTOCK_VERBOSE");
    if (wanted && wanted[0] && strcmp(wanted, "0") != 0)
        fprintf(stderr, "penstock: %s: %s\n", what, why->message);
}

/* Not taken before a fork: it is held for as long as a daemon takes to answer, and what it guards is whole at any time.
 */
static void session_at_fork(enum pen_fork when)
{
    if (when == PEN_FORK_CHILD)
        lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

/* In the order of the locks: icd/README.md, threads. */
static void at_fork(enum pen_fork when)
{
    pen_running_at_fork(when);
    session_at_fork(when);
    pen_farewell_at_fork(when);
    pen_hostptr_at_fork(when);
    pen_action_at_fork(when);
    pen_service_at_fork(when);
}

static void before_fork(void)
{
    at_fork(PEN_FORK_PREPARE);
}

static void after_fork_in_parent(void)
{
    at_fork(PEN_FORK_PARENT);
}

/* In a child every call on the parent's session says that it is gone, so the next context opens the child's own. */
static void after_fork_in_child(void)
{
    at_fork(PEN_FORK_CHILD);
}

/* Once, before the first session is opened, which may take long; after the client library has registered its own, since
 * our locks are taken before those that are taken under them. The caller holds lock. */
static int handle_fork(void)
{
    if (fork_handled)
        return 0;
    int rc = pen_session_handle_fork();
    if (!rc && pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child))
        rc = -PEN_ENOMEM;
    fork_handled = !rc;
    return rc;
}

/* The caller holds lock. */
static int open_another(void)
{
    struct pen_error error = {0};
    struct pen_session *session = NULL;
    int rc = handle_fork();
    if (!rc)
        rc = pen_session_open(&pen_platform()->pool, &session, &error);
    if (rc) {
        if (!error.message[0])
            (void)pen_fail(&error, rc, "%s", pen_error_text(rc));
        pen_say("no session", &error);
        snprintf(failure, sizeof failure, "%s", error.message);
        return rc;
    }
    struct pen_session *before = atomic_exchange_explicit(&current, session, memory_order_acq_rel);
    if (before)
        pen_session_unref(before);
    return 0;
}

struct pen_session *pen_session(int *out_error)
{
    pthread_mutex_lock(&lock);
    int rc = 0;
    if (!current || pen_session_alive(current))
        rc = open_another();
    struct pen_session *session = rc ? NULL : current;
    pthread_mutex_unlock(&lock);
    if (rc)
        *out_error = rc;
    return session;
}

const char *pen_session_failure(void)
{
    return failure;
}

/* A worker on another host does not see that we have ended; a connection may be made again. */
__attribute__((destructor)) static void leave(void)
{
    pen_session_leave(atomic_load_explicit(&current, memory_order_acquire));
}

bool pen_session_lost(void)
{
    struct pen_session *session = atomic_load_explicit(&current, memory_order_acquire);
    return session && pen_session_alive(session);
}
