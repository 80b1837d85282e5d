/* icd/fork.c - what a fork does to the front end: the child's own calls find all locks free and all data whole, and
 * nothing of the parent's sessions but that they are gone, so the next context opens one of the child's own. */
#include "icd/service.h"

static bool handled; /* guarded by platform.c's lock, but in a child, which has one thread then */

/* In the order of the locks: README.md, threads. */
static void prepare(void)
{
    pen_session_before_fork(); /* or all would wait at our locks while a silent daemon is waited for */
    pen_farewell_at_fork(PEN_FORK_PREPARE);
    pen_hostptr_at_fork(PEN_FORK_PREPARE);
}

static void parent(void)
{
    pen_hostptr_at_fork(PEN_FORK_PARENT);
    pen_farewell_at_fork(PEN_FORK_PARENT);
}

static void child(void)
{
    pen_hostptr_at_fork(PEN_FORK_CHILD);
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
