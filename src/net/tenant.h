/* net/tenant.h - who may use a pool from another host: a tenant has a name, and a key or a certificate. On the pool's
 * host the key is in a file of its own; what the tenant gets is a connection string, "penstock://HOST:PORT/NAME#KEY".
 * Keys are written in base64url (RFC 4648 section 5), without padding. A certificate has its tenant's name, and is a
 * site's affair; the pool's host has no more of it than a mark when the tenant has been revoked.
 *
 * Threads: no state.
 * Errors:  0 or -PEN_E*, with a sentence that never holds a key. */
#ifndef PEN_NET_TENANT_H
#define PEN_NET_TENANT_H

#include <stdbool.h>
#include <stddef.h>

#include "net/tcp.h"
#include "net/tls.h"

#define PEN_TENANT_NAME_BYTES 32
#define PEN_TENANT_KEY_TEXT   43 /* characters of a key */
#define PEN_POOL_HOST_BYTES   270
/* Longest address of a pool, with its zero. */
#define PEN_POOL_ADDRESS_BYTES 4096
/* Longest name of a pool, with its zero. */
#define PEN_POOL_NAME_BYTES 384

/* 1 to PEN_TENANT_NAME_BYTES of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit: a name is part of a path.
 */
bool pen_tenant_name_ok(const char *name);

/* Where a host's keys are unless something else is said: PEN_SYSCONFDIR/penstock/tenants for root, else
 * $XDG_CONFIG_HOME/penstock/tenants or ~/.config/penstock/tenants. `out` has PATH_MAX bytes. -PEN_ENOENT: there is no
 * home. */
int pen_tenant_directory(char *out, struct pen_error *error);
/* With mode 0700, unless it is there; what is missing above it, 0755. */
int pen_tenant_make_directory(const char *directory, struct pen_error *error);
/* A new random key in DIRECTORY/NAME.key, mode 0600; the directory is made when it is missing. -PEN_EBUSY: there is one
 * of that name. */
int pen_tenant_create(const char *directory, const char *name, struct pen_tls_key *out_key, struct pen_error *error);
/* -PEN_ENOENT: none; -PEN_EPERM: others can read or write the file, or it is a link, or not to be read by us;
 * -PEN_EPROTO: it holds no key; -PEN_EIO: it cannot be read just now. */
int pen_tenant_load(const char *directory, const char *name, struct pen_tls_key *out_key, struct pen_error *error);
/* Neither key nor certificate is good any more: removes the key, if there is one, and leaves a mark, NAME.revoked. */
int pen_tenant_revoke(const char *directory, const char *name, bool *out_had_key, struct pen_error *error);
/* Removes the mark: the tenant's certificates are good again. -PEN_ENOENT: there is none. */
int pen_tenant_admit(const char *directory, const char *name, struct pen_error *error);
/* Whether a tenant may use a certificate. -PEN_EINVAL: that is no tenant's name; -PEN_EPERM: revoked; -PEN_EIO: the
 * directory does not tell. */
int pen_tenant_check(const char *directory, const char *name, struct pen_error *error);

struct pen_pool_address {
    bool local;                     /* "local": of this host's own daemon; nothing else is said then */
    char host[PEN_POOL_HOST_BYTES]; /* "host:port" */
    bool plain;                     /* "tcp://HOST:PORT": without protection or key, on this host alone */
    /* "penstock://HOST:PORT?certificate=FILE&private_key=FILE&authority=FILE", in any order; the paths are absolute,
     * and
     * '%' with two hexadecimal digits is a byte (RFC 3986 section 2.1). */
    bool certified;
    struct pen_certificate_files files;
    struct pen_tls_key key; /* else: "penstock://HOST:PORT/NAME#KEY" */
    /* Of the name's addresses the one that has answered last: tried first. No part of the text. */
    struct pen_tcp_place answered;
};
int pen_pool_address_parse(const char *text, struct pen_pool_address *out, struct pen_error *error);
/* One with a key, or plain. `out` has PEN_POOL_ADDRESS_BYTES. */
void pen_pool_address_print(const struct pen_pool_address *address, char *out);
/* What a person calls it by: the address without its key or files. `out` has PEN_POOL_NAME_BYTES. */
void pen_pool_address_name(const struct pen_pool_address *address, char *out);

#endif
