/* icd/service.h - what the core files of icd/ (platform.c, context.c, queue.c, event.c, enqueue.c, sync.c, action.c,
 * service.c, session.c, fork.c) need of each other and nobody else does.
 * Ownership and threads: said at each. Errors: 0 or -PEN_E*. */
#ifndef PEN_ICD_SERVICE_H
#define PEN_ICD_SERVICE_H

#include "icd/object.h"

/* session.c: tells the user on standard error why something is not to be had, if PENSTOCK_VERBOSE asks for it; a
 * library prints nothing unasked. */
void pen_say(const char *what, const struct pen_error *why);

/* A pool of the platform's, the process's session with it, and the thread that watches events of its commands. Lives as
 * long as the process. */
struct pen_home {
    const struct pen_pool *pool;
    /* session.c's */
    pthread_mutex_t opening; /* held while a session is opened: as long as the daemon takes */
    /* The last one opened, alive or lost; written under `opening`. Lost ones are never freed, for objects of the
     * program point to them; but when the last context of one is gone, its memory is. */
    struct pen_session *_Atomic session;
    /* action.c's */
    pthread_mutex_t running; /* held while actions run: whoever asks meanwhile is told only when they have */
    struct pen_list due;     /* guarded by running: actions found complete, in the order they were added */
    pthread_mutex_t noting;  /* taken after running */
    struct pen_list pending; /* guarded by noting: the others, likewise */
    /* actions that have not run. Release, when one has; pairs with acquire in any_outstanding: what it did is seen */
    _Atomic uint32_t outstanding;
    /* hostptr.c's: see hostptr.h */
    pthread_mutex_t sharing;
    pthread_cond_t fetched;
    /* guarded by sharing */
    struct pen_list regions, lanes;
    bool fetching;
    /* move.c's: reads whose bytes an action is to copy out of staging. Release: they are where they belong */
    _Atomic uint32_t reads_staged;
    /* staging.c's; relaxed */
    _Atomic uint64_t staged_bytes;   /* of staging under way */
    _Atomic uint64_t stagings_ended; /* how many transfers' were */
    _Atomic uint64_t in_vain_at;     /* that number + 1 when a thread waited for it in vain; 0: none has */
    _Atomic uint32_t own_events;     /* user events that are not set; event.c writes it */
    /* service.c's */
    pthread_mutex_t watching;
    pthread_cond_t arrived;
    /* guarded by watching */
    struct pen_list incoming;      /* events */
    bool served;                   /* there is a thread */
    struct pen_session *asleep_on; /* whose epoch the thread sleeps on, or is about to */
};
/* Locks and lists as they are at first, and again in a forked child. */
void pen_home_init_session(struct pen_home *home); /* session.c */
void pen_home_init_actions(struct pen_home *home); /* action.c: in a child, nothing is to be done any more */
void pen_home_init_service(struct pen_home *home); /* service.c */
/* platform.c: those of the platform, if it has been loaded; this does not load it. */
struct pen_home *pen_homes(uint32_t *out_count);

/* session.c: true when there was a session and it is lost; the next context will open another. */
bool pen_session_lost(struct pen_home *home);

/* context.c: tells the program's notify function, once, that the context's session is lost. */
void pen_context_tell_lost(cl_context context);

/* event.c: when few slots are left, gives back those of complete events that the program keeps. Runs what is due. */
void pen_events_spare(cl_context context);
/* A user event that is ours. CL_SUCCESS, or what clCreateUserEvent is to return. */
cl_int pen_event_create_user(cl_context context, cl_event *out_event);
/* A new event of `context`, with an id and a slot, of which the caller gets the program's reference. `queue`
 * is NULL for a user event. */
int pen_event_create(cl_context context, cl_command_queue queue, cl_command_type type, cl_event *out_event);
/* The same as pen_event_status, but runs nothing: complete may still have actions due. */
cl_int pen_event_peek(cl_event event);

/* service.c: watches `event`, whose callbacks are not all called, until they are. Takes a reference of its own. Starts
 * the thread on first need: -PEN_EDEVRES when it cannot be. The caller holds event->lock and found watched false. */
int pen_service_watch(cl_event event);
/* Something of this pool is due now that no worker will publish: look again. Cheap when the thread does not sleep. */
void pen_service_kick(struct pen_home *home);

/* Around fork: hold the file's own locks, so that the child finds its data whole; the child makes new locks and forgets
 * what only the parent can finish. In the order in which the locks are taken (icd/README.md, threads). */
enum pen_fork { PEN_FORK_PREPARE, PEN_FORK_PARENT, PEN_FORK_CHILD };
void pen_farewell_at_fork(enum pen_fork when); /* memory.c */
/* hostptr.c, under memory.c's; does not wait. False: another thread has one of the locks, and none is held. */
bool pen_hostptr_before_fork(void);
void pen_hostptr_after_fork(bool in_child);
/* hostptr.c: at first; in a child, pen_hostptr_after_fork does it. */
void pen_home_init_hostptr(struct pen_home *home);
/* platform.c, in the child: what is locked while a daemon is asked, and what of the homes is the parent's. */
void pen_platform_forked(void);
/* fork.c: has all of that called. Before the platform is loaded, under its lock. -PEN_ENOMEM. */
int pen_handle_fork(void);

#endif
