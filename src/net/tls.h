/* net/tls.h - streams protected by TLS 1.3, in one of two ways. With a key that both ends have (external PSK with
 * ephemeral key exchange, RFC 8446 section 2.2): each proves to the other that it has the key, what is sent stays
 * secret even if the key becomes known later, and no certificate is needed. Or with certificates of both ends.
 * Ownership: a stream owns its descriptor; keys are copied, and wiped when the handshake is over.
 * Threads:   as net/stream.h; the handshake is one thread's.
 * Errors:    0 or -PEN_E*: EPERM the other end has not shown what it should, or speaks nothing that is allowed
 * (pen_stream_why says more); EGONE. */
#ifndef PEN_NET_TLS_H
#define PEN_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "net/certificates.h"
#include "net/stream.h"

#define PEN_TLS_KEY_BYTES      32
#define PEN_TLS_IDENTITY_BYTES 64 /* longest name of a key */

/* Of a session's own connection, whose key a session_ticket has brought. */
#define PEN_TLS_SESSION_IDENTITY "session"

struct pen_tls_key {
    char identity[PEN_TLS_IDENTITY_BYTES + 1]; /* who uses it; travels in the clear */
    unsigned char secret[PEN_TLS_KEY_BYTES];
};

/* The accepting end's keys: fills in `secret` for an identity as the peer has sent it (any bytes but zero, at most
 * PEN_TLS_IDENTITY_BYTES); false: there is none. During pen_tls_handshake. */
typedef bool (*pen_tls_find_key)(void *context, const char *identity, unsigned char secret[PEN_TLS_KEY_BYTES]);

/* The first connection of a process costs milliseconds more, for what OpenSSL loads then: or this does. */
void pen_tls_prepare(void);

/* Over a connected, non-blocking socket; takes fd on success. Nothing is sent yet: pen_tls_handshake. */
int pen_stream_tls_connect(int fd, const struct pen_tls_key *key, struct pen_stream **out_stream);
int pen_stream_tls_accept(int fd, pen_tls_find_key find, void *context, struct pen_stream **out_stream);

/* With the files' certificates; the peer's must be for the host of "host:port". */
int pen_stream_tls_connect_certified(int fd, const struct pen_certificate_files *files, const char *address,
                                     struct pen_stream **out_stream, struct pen_error *error);

/* The accepting end's tenants: 0 when the one whose certificate has this common name may come in; -PEN_EINVAL: that is
 * nobody's name; -PEN_EPERM: not any more. During pen_tls_handshake. */
typedef int (*pen_tls_admit)(void *context, const char *name);
/* The same, and who shows no key must have a certificate. */
int pen_stream_tls_accept_either(int fd, pen_tls_find_key find, pen_tls_admit admit, void *context,
                                 const struct pen_certificates *mine, struct pen_stream **out_stream);

/* 1: done; 0: once more when the descriptor is ready for *out_events (POLLIN or POLLOUT); -PEN_EPERM, -PEN_EGONE. */
int pen_tls_handshake(struct pen_stream *stream, short *out_events);
/* The same until done, or the deadline (-PEN_ETIMEOUT). */
int pen_tls_handshake_until(struct pen_stream *stream, uint64_t deadline_ns);
/* The identity that the peer has shown the key of, or the name in its certificate; after the handshake, at the
 * accepting end. The stream's. */
const char *pen_tls_identity(const struct pen_stream *stream);
/* The key that this end sends with is changed after so many records, not only after 2^20: for tests. While nobody
 * sends. */
void pen_tls_change_keys_after(struct pen_stream *stream, uint64_t records);

#endif
