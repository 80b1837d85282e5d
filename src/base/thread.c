#include "base/thread.h"

#include <signal.h>

#include "base/error.h"

int pen_thread_start(pthread_t *out_thread, void *(*run)(void *), void *context)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(out_thread, NULL, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? -PEN_ENOMEM : 0;
}
