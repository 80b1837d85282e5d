/* client/remote.h - a session whose worker is on another host. Two threads take the worker's place here: what the
 * program puts into the ring they send over a link, what the worker publishes they publish in the shared page; nobody
 * else in the program sees a difference. Threads: start and stop by one thread. */
#ifndef PEN_CLIENT_REMOTE_H
#define PEN_CLIENT_REMOTE_H

#include "net/stream.h"
#include "wire/ring.h"

struct pen_remote_end;

/* Takes the stream, on which session_open has been answered. `view` and the arena are the session's, and outlive the
 * end. *out_socket, the caller's, stands for the worker's. */
int pen_remote_end_start(struct pen_stream *stream, const struct pen_shared_view *view, void *arena,
                         uint64_t arena_bytes, int *out_socket, struct pen_remote_end **out_end,
                         struct pen_error *error);
/* In a forked child, which has neither of the threads: closes its copies of the descriptors, and nothing else. */
void pen_remote_end_forked(struct pen_remote_end *end);
/* The session is over. Accepts NULL. */
void pen_remote_end_stop(struct pen_remote_end *end);

#endif
