/* net/tls_module.h - TLS for programs, which load it only when their pool is on another host: libpenstock-tls.so, a
 * module with one symbol, this table. Whoever always needs TLS (daemon, worker) calls net/tls.h and has no module.
 * Threads: any. */
#ifndef PEN_NET_TLS_MODULE_H
#define PEN_NET_TLS_MODULE_H

#include "base/error.h"
#include "net/tls.h"

#define PEN_TLS_MODULE        "libpenstock-tls.so"
#define PEN_TLS_MODULE_SYMBOL "pen_tls_module"

/* The functions of net/tls.h that connect. */
struct pen_tls_module {
    const char *version; /* PEN_VERSION of its build: no other's is used */
    int (*connect)(int fd, const struct pen_tls_key *key, struct pen_stream **out_stream);
    int (*connect_certified)(int fd, const struct pen_certificate_files *files, const char *address,
                             struct pen_stream **out_stream, struct pen_error *error);
    int (*handshake_until)(struct pen_stream *stream, uint64_t deadline_ns);
};

/* Loads the module, from where this library or program is or where it was to be installed; it stays loaded, since its
 * streams point into it. -PEN_ENOENT: it is not there; -PEN_EVERSION; -PEN_EIO: it cannot be loaded. */
int pen_tls_module_load(const struct pen_tls_module **out_module, struct pen_error *error);

#endif
