/* icd/session.c - the process's sessions: one with each pool that it uses. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "icd/service.h"

static _Thread_local char failure[sizeof((struct pen_error *)0)->message];

void pen_say(const char *what, const struct pen_error *why)
{
    const char *wanted = getenv("PENSTOCK_VERBOSE");
    if (wanted && wanted[0] && strcmp(wanted, "0") != 0)
        fprintf(stderr, "penstock: %s: %s\n", what, why->message);
}

void pen_home_init_session(struct pen_home *home)
{
    home->opening = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    atomic_store(&home->reads_staged, 0); /* a forked child forgets its parent's actions */
    atomic_store(&home->staged_bytes, 0);
    atomic_store(&home->own_events, 0);
}

/* The caller holds home->opening. */
static int open_another(struct pen_home *home)
{
    struct pen_error error = {0};
    struct pen_session *session = NULL;
    int rc = pen_session_open(home->pool, &session, &error);
    if (rc) {
        if (!error.message[0])
            (void)pen_fail(&error, rc, "%s", pen_error_text(rc));
        pen_say("no session", &error);
        snprintf(failure, sizeof failure, "%s", error.message);
        return rc;
    }
    struct pen_session *before = atomic_exchange_explicit(&home->session, session, memory_order_acq_rel);
    if (before)
        pen_session_unref(before);
    return 0;
}

struct pen_session *pen_session(struct pen_home *home, int *out_error)
{
    pthread_mutex_lock(&home->opening);
    int rc = 0;
    if (!home->session || pen_session_alive(home->session))
        rc = open_another(home);
    struct pen_session *session = rc ? NULL : home->session;
    pthread_mutex_unlock(&home->opening);
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
    uint32_t count;
    struct pen_home *homes = pen_homes(&count);
    for (uint32_t i = 0; i < count; i++)
        pen_session_leave(atomic_load_explicit(&homes[i].session, memory_order_acquire));
}

bool pen_session_lost(struct pen_home *home)
{
    struct pen_session *session = atomic_load_explicit(&home->session, memory_order_acquire);
    return session && pen_session_alive(session);
}
