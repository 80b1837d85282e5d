/* net/certificates.h - X.509 for both ends of a TLS connection, where a site has an authority of its own: who an end
 * is, and whose word it takes for who the other is. What is used comes from three files in PEM. For net/tls.h and for
 * whoever reads the files beforehand; part of the TLS module (net/tls_module.h).
 * Threads:   any; nothing changes once it is loaded.
 * Errors:    0 or -PEN_E*. */
#ifndef PEN_NET_CERTIFICATES_H
#define PEN_NET_CERTIFICATES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Longest path of a file, with its zero. */
#define PEN_CERTIFICATE_PATH 1024

struct pen_certificate_files {
    char certificate[PEN_CERTIFICATE_PATH]; /* this end's, then those between it and the authority's */
    char private_key[PEN_CERTIFICATE_PATH]; /* nobody else may read it */
    char authority[PEN_CERTIFICATE_PATH];   /* certificates of those that may have signed the other end's */
};

struct pen_certificates;
struct ssl_st; /* OpenSSL's SSL and X509 */
struct x509_st;

/* The sentence of an error begins with the member of `files` that it is about, which is also *out_which then (unless
 * NULL). -PEN_ENOENT, -PEN_EPERM: others can read the private key; -PEN_EPROTO: it is not what it should be. */
int pen_certificates_load(const struct pen_certificate_files *files, struct pen_certificates **out_certificates,
                          const char **out_which, struct pen_error *error);
/* Accepts NULL. Connections that use them go on. */
void pen_certificates_destroy(struct pen_certificates *certificates);

/* Before the handshake: the end shows its certificate, and takes its authority's word. */
bool pen_certificates_use(const struct pen_certificates *certificates, struct ssl_st *ssl);
/* The connecting end: the other's certificate must be for the host of "host:port", a name or numbers. */
bool pen_certificates_expect(struct ssl_st *ssl, const char *address);
/* Whose it is: its subject's one common name, at most size - 1 bytes. False: it has none, or several. */
bool pen_certificates_name(const struct x509_st *certificate, char *out, size_t size);
/* Why SSL_do_handshake or SSL_read has just failed, with SSL_ERROR_SSL: a clause. */
void pen_certificates_explain(const struct ssl_st *ssl, char *out, size_t size);

#endif
