/* worker/builder.c - see builder.h. */
#include "worker/builder.h"

#include <stdlib.h>

struct pen_builder {
    struct pen_work *work;
    pthread_t thread;
    uint32_t jobs; /* added and not taken; dispatch's */
    pthread_mutex_t lock;
    pthread_cond_t added, ended;
    /* guarded by lock */
    struct pen_list waiting, finished;
    uint32_t unfinished; /* waiting, or running */
    bool stop;
    _Atomic bool any_finished; /* a hint for pen_builder_take */
};

static void *builder_main(void *context)
{
    struct pen_builder *builder = context;
    pthread_mutex_lock(&builder->lock);
    while (!builder->stop) {
        if (pen_list_empty(&builder->waiting)) {
            pthread_cond_wait(&builder->added, &builder->lock);
            continue;
        }
        struct pen_work_job *job = PEN_CONTAINER(builder->waiting.next, struct pen_work_job, link);
        pen_list_remove(&job->link);
        pthread_mutex_unlock(&builder->lock);
        pen_job_run(job);
        pthread_mutex_lock(&builder->lock);
        job->finished = true;
        builder->unfinished--;
        pen_list_append(&builder->finished, &job->link);
        atomic_store_explicit(&builder->any_finished, true, memory_order_release);
        pthread_cond_signal(&builder->ended);
        pen_work_kick(builder->work);
    }
    pthread_mutex_unlock(&builder->lock);
    return NULL;
}

static int start(struct pen_work *work)
{
    struct pen_builder *builder = calloc(1, sizeof *builder);
    if (!builder)
        return -PEN_ENOMEM;
    builder->work = work;
    pen_list_init(&builder->waiting);
    pen_list_init(&builder->finished);
    pthread_mutex_init(&builder->lock, NULL);
    pthread_cond_init(&builder->added, NULL);
    pthread_cond_init(&builder->ended, NULL);
    if (pthread_create(&builder->thread, NULL, builder_main, builder)) {
        free(builder);
        return -PEN_ENOMEM;
    }
    work->builder = builder;
    return 0;
}

int pen_builder_add(struct pen_work *work, struct pen_work_job *job)
{
    int rc = work->builder ? 0 : start(work);
    if (rc)
        return rc;
    struct pen_builder *builder = work->builder;
    pthread_mutex_lock(&builder->lock);
    while (builder->jobs >= PEN_BUILDER_JOBS && pen_list_empty(&builder->finished))
        pthread_cond_wait(&builder->ended, &builder->lock);
    builder->jobs++;
    builder->unfinished++;
    pen_list_append(&builder->waiting, &job->link);
    pthread_cond_signal(&builder->added);
    pthread_mutex_unlock(&builder->lock);
    return 0;
}

struct pen_work_job *pen_builder_take(struct pen_work *work)
{
    struct pen_builder *builder = work->builder;
    struct pen_work_job *job = NULL;
    /* Acquire: pairs with the release in builder_main. */
    if (!builder || !atomic_load_explicit(&builder->any_finished, memory_order_acquire))
        return NULL;
    pthread_mutex_lock(&builder->lock);
    if (!pen_list_empty(&builder->finished)) {
        job = PEN_CONTAINER(builder->finished.next, struct pen_work_job, link);
        pen_list_remove(&job->link);
        builder->jobs--;
    }
    atomic_store_explicit(&builder->any_finished, !pen_list_empty(&builder->finished), memory_order_relaxed);
    pthread_mutex_unlock(&builder->lock);
    return job;
}

void pen_builder_wait(struct pen_work *work, struct pen_work_job *job)
{
    struct pen_builder *builder = work->builder;
    pthread_mutex_lock(&builder->lock);
    while (!job->finished)
        pthread_cond_wait(&builder->ended, &builder->lock);
    pthread_mutex_unlock(&builder->lock);
}

void pen_builder_rest(struct pen_work *work)
{
    struct pen_builder *builder = work->builder;
    if (!builder)
        return;
    pthread_mutex_lock(&builder->lock);
    while (builder->unfinished)
        pthread_cond_wait(&builder->ended, &builder->lock);
    pthread_mutex_unlock(&builder->lock);
}

bool pen_builder_busy(const struct pen_work *work)
{
    return work->builder && work->builder->jobs;
}

void pen_builder_stop(struct pen_work *work)
{
    struct pen_builder *builder = work->builder;
    if (!builder)
        return;
    pthread_mutex_lock(&builder->lock);
    builder->stop = true;
    pthread_cond_signal(&builder->added);
    pthread_mutex_unlock(&builder->lock);
    pthread_join(builder->thread, NULL);
    /* What was not begun is as good as finished: it is taken and dropped. */
    while (!pen_list_empty(&builder->waiting)) {
        struct pen_list *link = builder->waiting.next;
        pen_list_remove(link);
        pen_list_append(&builder->finished, link);
        atomic_store_explicit(&builder->any_finished, true, memory_order_relaxed);
    }
}
