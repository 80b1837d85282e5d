/* Sessions and fork(): a child has nothing of them but the memory of the arena.
 *
 * The one mutable global of this folder: pthread_atfork's handlers take no argument. */
#include <pthread.h>
#include <unistd.h>

#include "client/internal.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int registered;                                        /* of pthread_atfork; written once, under `once` */
static pthread_rwlock_t forking = PTHREAD_RWLOCK_INITIALIZER; /* for writing: by who forks */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pen_list sessions = {&sessions, &sessions}; /* guarded by lock */

static void prepare(void)
{
    pthread_rwlock_wrlock(&forking);
    pthread_mutex_lock(&lock);
}

static void parent(void)
{
    pthread_mutex_unlock(&lock);
    pthread_rwlock_unlock(&forking);
}

/* The shared page is not in the child (MADV_DONTFORK): with the flag set nothing touches it. The socket's copy must go,
 * or the worker would not see the parent's end while the child lives. */
static void child(void)
{
    PEN_LIST_EACH(node, next, &sessions)
    {
        struct pen_session *session = PEN_CONTAINER(node, struct pen_session, in_process);
        atomic_fetch_or_explicit(&session->dead, PEN_DEAD_FORKED, memory_order_relaxed);
        if (session->socket >= 0) {
            close(session->socket);
            session->socket = -1;
        }
        if (session->arena_fd >= 0) {
            close(session->arena_fd);
            session->arena_fd = -1;
        }
        if (session->remote)
            pen_remote_end_forked(session->remote);
    }
    pthread_mutex_unlock(&lock);
    forking = (pthread_rwlock_t)PTHREAD_RWLOCK_INITIALIZER; /* threads that the child lacks may have waited for it */
}

static void register_handlers(void)
{
    registered = pthread_atfork(prepare, parent, child);
}

int pen_session_handle_fork(void)
{
    pthread_once(&once, register_handlers);
    return registered ? -PEN_ENOMEM : 0;
}

void pen_session_before_fork(void)
{
    pthread_rwlock_wrlock(&forking);
    pthread_rwlock_unlock(&forking);
}

void pen_fork_hold(void)
{
    pthread_rwlock_rdlock(&forking);
}

void pen_fork_let(void)
{
    pthread_rwlock_unlock(&forking);
}

void pen_fork_lock(void)
{
    pthread_mutex_lock(&lock);
}

void pen_fork_unlock(void)
{
    pthread_mutex_unlock(&lock);
}

void pen_fork_enter(struct pen_session *session)
{
    pen_list_append(&sessions, &session->in_process);
}

void pen_fork_leave(struct pen_session *session)
{
    if (session->in_process.next)
        pen_list_remove(&session->in_process);
}
