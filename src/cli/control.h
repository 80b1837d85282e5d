/* cli/control.h - asking the daemon: connection, hello, one request, its answer.
 * Ownership: the connection owns its socket and frame. Errors: 0 or -PEN_E* with a sentence. */
#ifndef PEN_CLI_CONTROL_H
#define PEN_CLI_CONTROL_H

#include "net/unix.h"

struct pen_control {
    int fd;
    struct pen_unix_frame frame; /* the last one received */
    struct pen_unix_paths paths;
    const char *path; /* of the daemon, in paths */
};

/* To the daemon of PENSTOCK_SOCKET or of the default paths. The structure stays where it is. */
int pen_control_open(struct pen_control *control, struct pen_error *error);
void pen_control_close(struct pen_control *control);
/* Sends an encoded frame (takes it; NULL: out of memory) and receives the answer; a refusal is an error with the
 * daemon's sentence. */
int pen_control_ask(struct pen_control *control, void *frame, size_t size, uint16_t answer, struct pen_error *error);

#define PEN_CONTROL_ASK(control_, name_, message_, answer_, error_)                                                    \
    __extension__({                                                                                                    \
        size_t size_ = pen_msg_##name_##_size(message_);                                                               \
        void *frame_ = size_ ? aligned_alloc(8, size_) : NULL;                                                         \
        if (frame_)                                                                                                    \
            pen_msg_##name_##_encode((message_), 0, frame_);                                                           \
        pen_control_ask((control_), frame_, size_, (answer_), (error_));                                               \
    })

#endif
