/* The arena's ranges: given out, taken back, taken back later. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/internal.h"

#define PAGE  4096u
#define LOOKS 32u /* at frees that wait for the worker, for each allocation */

/* Returns pages to the system in both processes. A hint: where it fails the memory is just kept. */
static void punch(void *context, uint64_t offset, uint64_t size)
{
    struct pen_session *session = context;
    int saved = errno;
    (void)fallocate(session->arena_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
    pen_pages_forget(&session->pages, offset, size);
    if (session->remote)
        pen_remote_end_forget(session->remote, offset, size);
    errno = saved;
}

/* Caller holds memory_lock. */
static void free_now(struct pen_session *session, uint64_t offset)
{
    (void)pen_space_free(&session->space, offset); /* refuses what was not allocated */
    if (session->space.dirty_bytes > session->bounds.arena_kept_bytes)
        pen_space_trim(&session->space, session->bounds.arena_kept_bytes / 2, punch, session);
}

/* Frees those of up to `looks` pending ranges whose slot is complete, going round. Caller holds memory_lock. */
static void reap(struct pen_session *session, uint32_t looks)
{
    for (; looks && session->pending_count; looks--) {
        if (session->pending_cursor >= session->pending_count)
            session->pending_cursor = 0;
        struct pen_pending_free *entry = &session->pending[session->pending_cursor];
        if (pen_slot_state(session, entry->slot) > PEN_STATE_COMPLETE) {
            session->pending_cursor++;
            continue;
        }
        struct pen_pending_free done = *entry;
        *entry = session->pending[--session->pending_count];
        pen_slot_release(session, done.slot);
        free_now(session, done.offset);
    }
}

int pen_arena_alloc(struct pen_session *session, uint64_t size, uint64_t align, uint64_t *out_offset)
{
    uint64_t deadline = 0;
    for (;;) {
        if (pen_session_dead(session))
            return -PEN_EGONE;
        uint32_t seen = pen_epoch(session);
        pthread_mutex_lock(&session->memory_lock);
        reap(session, LOOKS);
        int rc = pen_space_alloc(&session->space, size, align, out_offset);
        if (rc == -PEN_EDEVMEM && session->pending_count) {
            reap(session, session->pending_count);
            rc = pen_space_alloc(&session->space, size, align, out_offset);
        }
        bool more = session->pending_count > 0;
        pthread_mutex_unlock(&session->memory_lock);
        if (rc != -PEN_EDEVMEM || !more)
            return rc;
        /* Released regions may be in use a moment longer; not for ever, for they may wait for this very thread. */
        uint64_t now = pen_now_ns();
        deadline = deadline ? deadline : now + session->bounds.arena_wait_ns;
        if (now >= deadline)
            return rc;
        (void)pen_wait_epoch(session, seen, 10);
    }
}

void pen_arena_free(struct pen_session *session, uint64_t offset)
{
    if (pen_session_dead(session) & PEN_DEAD_FORKED)
        return;
    pthread_mutex_lock(&session->memory_lock);
    free_now(session, offset);
    pthread_mutex_unlock(&session->memory_lock);
}

void pen_arena_free_after(struct pen_session *session, uint64_t offset, uint32_t slot)
{
    if (pen_session_dead(session) & PEN_DEAD_FORKED)
        return;
    pthread_mutex_lock(&session->memory_lock);
    if (session->pending_count == session->pending_capacity) {
        uint32_t capacity = session->pending_capacity ? session->pending_capacity * 2 : 64;
        struct pen_pending_free *bigger = realloc(session->pending, capacity * sizeof *bigger);
        if (bigger) {
            session->pending = bigger;
            session->pending_capacity = capacity;
        }
    }
    bool noted = session->pending_count < session->pending_capacity;
    if (noted) {
        session->pending[session->pending_count++] = (struct pen_pending_free){offset, slot};
        reap(session, 2);
    }
    pthread_mutex_unlock(&session->memory_lock);
    if (!noted && pen_wait_slot(session, slot) != -PEN_EGONE) { /* no memory to remember it by: now, then */
        pen_slot_release(session, slot);
        pen_arena_free(session, offset);
    }
}

void *pen_arena_at(struct pen_session *session, uint64_t offset)
{
    return (unsigned char *)session->arena_base + offset;
}

void pen_arena_will_fill(struct pen_session *session, uint64_t offset, uint64_t size)
{
    int saved = errno;
    pen_pages_fill(&session->pages, offset, size);
    errno = saved;
}

static void touch(const struct pen_loan *loan)
{
    for (uint64_t at = 0; at < loan->bytes; at += PAGE - ((uintptr_t)loan->memory + at) % PAGE) {
        volatile unsigned char *byte = (unsigned char *)loan->memory + at;
        if (loan->receives)
            *byte = *byte;
        else
            (void)*byte;
    }
}

void pen_arena_lend(struct pen_session *session, struct pen_loan *loan)
{
    touch(loan);
    pen_remote_end_lend(session->remote, loan);
}

void pen_arena_take_back(struct pen_session *session, struct pen_loan *loan)
{
    pen_remote_end_take_back(session->remote, loan);
}

bool pen_session_has_delivered(struct pen_session *session)
{
    return !session->remote || pen_remote_end_has_delivered(session->remote);
}

void pen_memory_shed(struct pen_session *session)
{
    pen_fork_lock(); /* the descriptor is fork.c's, too */
    pthread_mutex_lock(&session->memory_lock);
    if (session->arena_fd >= 0) {
        punch(session, 0, session->arena_bytes);
        close(session->arena_fd);
        session->arena_fd = -1;
    }
    pthread_mutex_unlock(&session->memory_lock);
    pen_fork_unlock();
}

void pen_memory_finish(struct pen_session *session)
{
    pen_pages_finish(&session->pages);
    free(session->pending);
    pen_space_finish(&session->space);
    pen_arena_unmap(session->arena_base, session->arena_bytes);
}
