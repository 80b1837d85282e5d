/* net/unix.h - Unix sockets: where the daemon's is, listening, connecting, whole frames with descriptors, and a
 * buffered reader for event loops.
 * Ownership: a descriptor returned is the caller's, close-on-exec. Descriptors given to send stay the caller's.
 * Threads:   no state of its own; one thread at a time on one direction of one socket.
 * Deadlines: absolute CLOCK_MONOTONIC nanoseconds; UINT64_MAX waits forever, 0 does not wait. Sockets may be blocking
 *            or not: no call ever relies on it.
 * Errors:    0 or -PEN_E*: EGONE the peer closed or died, ETIMEOUT, EPROTO what it sent is no frame, EIO the rest. */
#ifndef PEN_NET_UNIX_H
#define PEN_NET_UNIX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "penstock-protocol.h"

/* Most descriptors that come with one frame; more are closed, and the frame is refused (-PEN_EPROTO). */
#define PEN_UNIX_DESCRIPTORS 4
/* A socket's path with its zero byte: sun_path of unix(7). */
#define PEN_UNIX_PATH_BYTES 108

/* ---- addresses --------------------------------------------------------------------------------------- */

/* Where a daemon listens: $PENSTOCK_SOCKET, else $XDG_RUNTIME_DIR/penstock/penstockd.sock, else
 * /run/penstock/penstockd.sock for root or /tmp/penstock-<uid>/penstockd.sock. -PEN_ELIMIT when it is longer than a
 * socket's address may be (107 bytes). */
int pen_unix_default_path(char *out_path, size_t size, struct pen_error *error);
/* Where clients look for one, in this order: there; and, when PENSTOCK_SOCKET is not set, in /run/penstock, where the
 * host's own pool listens (also root has an XDG_RUNTIME_DIR when it has logged in). */
struct pen_unix_paths {
    char path[2][PEN_UNIX_PATH_BYTES];
    unsigned count;
};
int pen_unix_client_paths(struct pen_unix_paths *out_paths, struct pen_error *error);

/* No group: only our user may connect. */
#define PEN_UNIX_NO_GROUP ((gid_t)-1)

/* Listens at `path` with mode 0600, or 0660 for the members of `group`. Makes its directory (0700, or 0710 of that
 * group; the last component only) when it is missing; refuses one that others could replace the socket in, or that
 * keeps the group out. A socket that nobody listens on is replaced; -PEN_EBUSY when somebody does, or keeps the
 * directory locked for 2 s. The descriptor is non-blocking. */
int pen_unix_listen(const char *path, gid_t group, int *out_fd, struct pen_error *error);
/* Non-blocking descriptor of a new connection; -PEN_ETIMEOUT when there is none (listening descriptor non-blocking). */
int pen_unix_accept(int listen_fd, int *out_fd);
/* -PEN_ENOENT when nobody listens there, at once; -PEN_EPERM when we may not; -PEN_ETIMEOUT when the daemon is too busy
 * to take it before the deadline. The descriptor is non-blocking. */
int pen_unix_connect(const char *path, uint64_t deadline_ns, int *out_fd, struct pen_error *error);

/* To the first where a daemon listens; *out_path is its path, in `paths`. When none does, the error of the first. */
int pen_unix_connect_first(const struct pen_unix_paths *paths, uint64_t deadline_ns, const char **out_path, int *out_fd,
                           struct pen_error *error);

struct pen_unix_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};
/* Who made the other end. */
int pen_unix_peer(int fd, struct pen_unix_peer *out_peer);

/* now + milliseconds. */
uint64_t pen_deadline_ms(uint64_t milliseconds);

/* ---- whole frames ------------------------------------------------------------------------------------ */

/* Sends all of a frame (its size is in its header) with up to PEN_UNIX_DESCRIPTORS descriptors. Never raises SIGPIPE.
 */
int pen_unix_send(int fd, const void *frame, size_t size, const int *descriptors, unsigned descriptor_count,
                  uint64_t deadline_ns);

/* A frame and its descriptors. Zero-initialize; may be reused: `fds` that the caller wants to keep it takes by setting
 * them to -1. */
struct pen_unix_frame {
    void *data; /* PEN_LIMIT_FRAME bytes, allocated at first use */
    size_t size;
    uint16_t opcode;
    int fds[PEN_UNIX_DESCRIPTORS];
    unsigned fd_count; /* as received; entries that were taken count still */
    size_t filled;     /* bytes of a frame that is not whole yet */
};
/* Receives exactly one frame, reading no byte beyond it, so that the socket can be handed on. The header has been
 * checked, nothing else. Closes what `frame` still had from before. On failure mid-frame the connection is unusable. */
int pen_unix_receive(int fd, struct pen_unix_frame *frame, uint64_t deadline_ns);
/* The same without waiting, for event loops: 1: a frame; 0: not all of it is here yet, call again with the same one. */
int pen_unix_receive_some(int fd, struct pen_unix_frame *frame);
/* Closes the descriptors not taken, frees. Accepts a zeroed one. */
void pen_unix_frame_finish(struct pen_unix_frame *frame);

/* ---- buffered reader --------------------------------------------------------------------------------- */

/* For event loops and for reply streams without descriptors: bytes in as they come, whole frames out. Holds at most one
 * frame and one read beyond it. Zero-initialize. */
struct pen_frame_reader {
    unsigned char *buffer; /* 8-aligned; start is a multiple of 8 */
    size_t capacity, start, end;
    int broken; /* sticky error */
};
#define PEN_FRAME_READER_BYTES ((size_t)2 * PEN_LIMIT_FRAME)

/* Where to put bytes and how many fit; *out_space > 0 whenever pen_frame_reader_next has returned 0. Then say how many
 * came. */
int pen_frame_reader_space(struct pen_frame_reader *reader, void **out_at, size_t *out_space);
void pen_frame_reader_filled(struct pen_frame_reader *reader, size_t bytes);
/* One non-blocking recv into it: bytes > 0; 0 nothing to read now; -PEN_EGONE end of stream or reset. Descriptors that
 * come along are closed and refused (-PEN_EPROTO). */
ssize_t pen_frame_reader_fill(struct pen_frame_reader *reader, int fd);
/* 1 and a frame (8-aligned, in the reader's buffer, valid until the next space/fill); 0 when more bytes are needed;
 * -PEN_EPROTO when the stream is no frame, and ever after. */
int pen_frame_reader_next(struct pen_frame_reader *reader, const void **out_frame, size_t *out_size);
/* The caller has taken bytes that are no frame from `start` on: what follows is moved to where frames may begin. */
void pen_frame_reader_align(struct pen_frame_reader *reader);
/* Accepts a zeroed one. */
void pen_frame_reader_finish(struct pen_frame_reader *reader);

#endif
