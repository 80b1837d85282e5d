/* icd/fork.c - what a fork does to the front end: the child's own calls find all locks free and all data whole, and
 * nothing of the parent's sessions but that they are gone, so the next context opens one of the child's own. */
#include <time.h>

#include "icd/service.h"

#define PAUSE_NS 1000000 /* before the locks are tried again */

static bool handled; /* guarded by platform.c's lock, but in a child, which has one thread then */

/* In the order of the locks: README.md, threads. False: not all are to be had, and none is held. */
static bool take_locks(void)
{
    pen_session_before_fork(); /* or all would wait at our locks while a silent daemon is waited for */
    pen_farewell_at_fork(PEN_FORK_PREPARE);
    if (pen_hostptr_before_fork())
        return true;
    pen_farewell_at_fork(PEN_FORK_PARENT);
    return false;
}

/* A thread may have its pool's lock until a broken connection is made again. Who forks waits for it, and holds nothing
 * meanwhile: threads that use other pools do not wait. */
static void prepare(void)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    while (!take_locks())
        nanosleep(&pause, NULL);
}

static void parent(void)
{
    pen_hostptr_after_fork(false);
    pen_farewell_at_fork(PEN_FORK_PARENT);
}

static void child(void)
{
    pen_hostptr_after_fork(true);
    pen_farewell_at_fork(PEN_FORK_CHILD);
    pen_platform_forked();
    handled = true; /* or this would not be called */
}

int pen_handle_fork(void)
{
    if (handled)
        return 0;
    int rc = pen_session_handle_fork();
    if (!rc && pthread_atfork(prepare, parent, child))
        rc = -PEN_ENOMEM;
    handled = !rc;
    return rc;
}
