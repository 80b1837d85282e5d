/* base/thread.h - threads of ours in a program that is not.
 * Threads: any. */
#ifndef PEN_BASE_THREAD_H
#define PEN_BASE_THREAD_H

#include <pthread.h>

/* Starts a thread that gets none of the process's signals: they are for the program's own. 0 or -PEN_ENOMEM. */
int pen_thread_start(pthread_t *out_thread, void *(*run)(void *), void *context);

#endif
