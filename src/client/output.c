/* What kernels have printed, onto the program's own standard output. */
#include <stdio.h>
#include <stdlib.h>

#include "client/internal.h"

static bool arrived(struct pen_session *session)
{
    pthread_mutex_lock(&session->answers_lock);
    bool some = !pen_list_empty(&session->output);
    pthread_mutex_unlock(&session->answers_lock);
    return some;
}

static void write_frame(const void *frame, size_t size)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_output output;
    if (!pen_msg_output_decode(frame, size, &scratch, &output) && output.text.size)
        (void)fwrite(output.text.data, 1, output.text.size, stdout);
    pen_scratch_finish(&scratch);
}

void pen_session_drain_output(struct pen_session *session)
{
    if (pen_session_dead(session) & PEN_DEAD_FORKED)
        return;
    /* Acquire: pairs with the release in pen_publish_output; the frame is on its way. */
    uint64_t target = atomic_load_explicit(&session->view.shared->output_frames, memory_order_acquire);
    if (atomic_load_explicit(&session->output_written, memory_order_acquire) >= target)
        return;
    pthread_mutex_lock(&session->output_lock);
    uint64_t written = atomic_load_explicit(&session->output_written, memory_order_relaxed);
    int rc = 0;
    /* All that was counted, and what has come beyond it. */
    while (!rc && (written < target || arrived(session))) {
        void *frame;
        size_t size;
        rc = pen_answers_output(session, session->bounds.output_quiet_ns, &frame, &size);
        if (!rc) {
            write_frame(frame, size);
            free(frame);
            written++;
        }
    }
    fflush(stdout);
    /* Release: pairs with the acquire above; who sees it returns after the text is out. */
    atomic_store_explicit(&session->output_written, written, memory_order_release);
    pthread_mutex_unlock(&session->output_lock);
    if (rc == -PEN_ETIMEOUT)
        pen_session_fail(session, "the worker counted more frames of kernels' output than it sent");
}
