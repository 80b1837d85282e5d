/* net/tcp.h - TCP addresses, listening, connecting. Descriptors are non-blocking, close-on-exec, the caller's.
 * An address is "host:port", "[v6 address]:port"; without `anywhere` only those that this host alone can reach are
 * allowed (127.0.0.0/8, ::1): -PEN_EPERM. */
#ifndef PEN_NET_TCP_H
#define PEN_NET_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"

/* Where a connection leads; size 0: nobody knows. */
struct pen_tcp_place {
    struct sockaddr_storage address;
    socklen_t size;
};

/* -PEN_EINVAL: that is no address, whatever its name may stand for. */
int pen_tcp_check(const char *address, struct pen_error *error);
int pen_tcp_listen(const char *address, bool anywhere, int *out_fd, struct pen_error *error);
/* Where a listening socket is: "127.0.0.1:4711"; "?" when nobody knows. */
void pen_tcp_local(int fd, char *out, size_t size);
/* Tries the addresses of the name one after the other, each a quarter of a second after the one before, or when one of
 * those before it fails, or so that all have their turn before the deadline, and takes the first that answers (RFC
 * 8305, sections 4 and 5). `first`, or NULL: goes ahead of the others, if the name has it. -PEN_ENOENT: nobody listens
 * at any that this host has a way to. What does not tell whether somebody does: -PEN_ETIMEOUT; -PEN_EGONE, it broke at
 * once; -PEN_EIO, no way there, or no such name; -PEN_ENOMEM, this host or this process has no memory or no descriptor
 * for a connection. */
int pen_tcp_connect(const char *address, bool anywhere, const struct pen_tcp_place *first, uint64_t deadline_ns,
                    int *out_fd, struct pen_error *error);
/* The same, but for those places. -PEN_ENOENT also when the name has no other. */
int pen_tcp_connect_but(const char *address, bool anywhere, const struct pen_tcp_place *first,
                        const struct pen_tcp_place *without, size_t without_count, uint64_t deadline_ns, int *out_fd,
                        struct pen_error *error);
/* To where the connection `fd` leads, without looking the name up, which is for messages: as pen_tcp_connect. */
int pen_tcp_connect_again(int fd, const char *address, uint64_t deadline_ns, int *out_fd, struct pen_error *error);
/* Of a connected socket. */
struct pen_tcp_place pen_tcp_place_of(int fd);

/* For frames that shall not wait: they are sent at once, and find few bytes ahead of them in the socket's buffer. Other
 * sockets are left as they are. */
void pen_tcp_tune(int fd);
/* The kernel's estimate of the connection's round trip; 0: there is none. */
uint64_t pen_tcp_round_trip_ns(int fd);
/* A peer that is not heard of for PEN_TCP_SILENCE_MS counts as gone, while nothing of ours is under way: the connection
 * breaks. Of connections that are made here it is so already. */
void pen_tcp_notice_silence(int fd);
#define PEN_TCP_SILENCE_MS 10000
/* As pen_stream_awaits. A host that takes nothing more is asked again after longer and longer, two minutes at most. */
bool pen_tcp_awaits(int fd, uint64_t *out_unheard_ns);

#endif
