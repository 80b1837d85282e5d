/* net/tenant.h - who may use a pool from another host: a tenant has a name and a key. On the pool's host the key is in
 * a file of its own; what the tenant gets is a connection string, "penstock://HOST:PORT/NAME#KEY". Keys are written in
 * base64url (RFC 4648 section 5), without padding. Threads: no state. Errors: 0 or -PEN_E*, with a sentence that never
 * holds a key. */
#ifndef PEN_NET_TENANT_H
#define PEN_NET_TENANT_H

#include <stdbool.h>
#include <stddef.h>

#include "net/tls.h"

#define PEN_TENANT_NAME_BYTES 32
#define PEN_TENANT_KEY_TEXT   43 /* characters of a key */
#define PEN_POOL_HOST_BYTES   270
/* Longest connection string, with its zero. */
#define PEN_POOL_ADDRESS_BYTES (12 + PEN_POOL_HOST_BYTES + 1 + PEN_TLS_IDENTITY_BYTES + 1 + PEN_TENANT_KEY_TEXT)

/* 1 to PEN_TENANT_NAME_BYTES of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit: a name is part of a path.
 */
bool pen_tenant_name_ok(const char *name);

/* Where a host's keys are unless something else is said: /etc/penstock/tenants for root, else
 * $XDG_CONFIG_HOME/penstock/tenants or ~/.config/penstock/tenants. `out` has PATH_MAX bytes. -PEN_ENOENT: there is no
 * home. */
int pen_tenant_directory(char *out, struct pen_error *error);
/* A new random key in DIRECTORY/NAME.key, mode 0600; the directory (0700, its last component only) is made when it is
 * missing. -PEN_EBUSY: there is one of that name. */
int pen_tenant_create(const char *directory, const char *name, struct pen_tls_key *out_key, struct pen_error *error);
/* -PEN_ENOENT: none; -PEN_EPERM: others can read or write the file. */
int pen_tenant_load(const char *directory, const char *name, struct pen_tls_key *out_key, struct pen_error *error);
int pen_tenant_remove(const char *directory, const char *name, struct pen_error *error);

struct pen_pool_address {
    char host[PEN_POOL_HOST_BYTES]; /* "host:port" */
    bool plain;                     /* "tcp://HOST:PORT": without protection or key, on this host alone */
    struct pen_tls_key key;
};
int pen_pool_address_parse(const char *text, struct pen_pool_address *out, struct pen_error *error);
/* `out` has PEN_POOL_ADDRESS_BYTES. */
void pen_pool_address_print(const struct pen_pool_address *address, char *out);

#endif
