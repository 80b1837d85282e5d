/* See certificates.h. */
#include "net/certificates.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct pen_certificates {
    X509 *own;
    STACK_OF(X509) * between; /* own and the authority */
    EVP_PKEY *key;
    X509_STORE *authorities;
};

void pen_certificates_destroy(struct pen_certificates *certificates)
{
    if (!certificates)
        return;
    X509_free(certificates->own);
    sk_X509_pop_free(certificates->between, X509_free);
    EVP_PKEY_free(certificates->key);
    X509_STORE_free(certificates->authorities);
    free(certificates);
}

/* ---- files ------------------------------------------------------------------------------------------- */

static int open_file(const char *which, const char *path, BIO **out_file, struct stat *out_status,
                     struct pen_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FILE *file = fd >= 0 && !fstat(fd, out_status) ? fdopen(fd, "r") : NULL;
    if (!file) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return pen_fail(error, code == ENOENT ? -PEN_ENOENT : -PEN_EIO, "%s %.300s: %s", which, path, strerror(code));
    }
    *out_file = BIO_new_fp(file, BIO_CLOSE);
    if (*out_file)
        return 0;
    fclose(file);
    return pen_fail(error, -PEN_ENOMEM, "%s %.300s: %s", which, path, pen_error_text(-PEN_ENOMEM));
}

/* All of a file's certificates. */
static int read_certificates(const char *which, const char *path, STACK_OF(X509) * *out, struct pen_error *error)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    struct stat status = {0};
    BIO *file = NULL;
    int rc = open_file(which, path, &file, &status, error);
    X509 *one = NULL;
    while (!rc && (one = PEM_read_bio_X509(file, NULL, NULL, NULL)))
        if (!all || !sk_X509_push(all, one)) {
            X509_free(one);
            rc = pen_fail(error, -PEN_ENOMEM, "%s %.300s: %s", which, path, pen_error_text(-PEN_ENOMEM));
        }
    if (!rc) {
        BIO_free(file);
        bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
        ERR_clear_error();
        if (!at_end || !sk_X509_num(all))
            rc = pen_fail(error, -PEN_EPROTO,
                          "%s %.300s: it must hold one certificate or more, in PEM, and nothing else", which, path);
    }
    if (rc)
        sk_X509_pop_free(all, X509_free);
    else
        *out = all;
    return rc;
}

/* Nobody is asked for a password. */
static int no_password(char *out, int size, int writing, void *context)
{
    (void)out, (void)size, (void)writing, (void)context;
    return -1;
}

static int read_key(const char *path, EVP_PKEY **out_key, struct pen_error *error)
{
    struct stat status = {0};
    BIO *file = NULL;
    int rc = open_file("private_key", path, &file, &status, error);
    if (rc)
        return rc;
    if (status.st_mode & 077)
        rc = pen_fail(
            error, -PEN_EPERM,
            "private_key %.300s: it is not used, since others can read or write it (mode %04o; 0600 is allowed)", path,
            status.st_mode & 07777);
    else if (!(*out_key = PEM_read_bio_PrivateKey(file, NULL, no_password, NULL)))
        rc = pen_fail(error, -PEN_EPROTO, "private_key %.300s: it must hold a private key, in PEM, without a password",
                      path);
    BIO_free(file);
    ERR_clear_error();
    return rc;
}

/* Whatever the file has is believed: a site may give the authority that its hosts' certificates come from, and not the
 * one above it. */
static int read_authorities(const char *path, X509_STORE **out_store, struct pen_error *error)
{
    STACK_OF(X509) *all = NULL;
    int rc = read_certificates("authority", path, &all, error);
    if (rc)
        return rc;
    X509_STORE *store = X509_STORE_new();
    bool good = store && X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    for (int i = 0; good && i < sk_X509_num(all); i++)
        good = X509_STORE_add_cert(store, sk_X509_value(all, i));
    sk_X509_pop_free(all, X509_free);
    *out_store = store;
    return good ? 0 : pen_fail(error, -PEN_ENOMEM, "authority %.300s: %s", path, pen_error_text(-PEN_ENOMEM));
}

static int load(const struct pen_certificate_files *files, struct pen_certificates *made, const char **out_which,
                struct pen_error *error)
{
    *out_which = "certificate";
    int rc = read_certificates(*out_which, files->certificate, &made->between, error);
    if (rc)
        return rc;
    made->own = sk_X509_shift(made->between);
    *out_which = "private_key";
    if ((rc = read_key(files->private_key, &made->key, error)))
        return rc;
    if (!X509_check_private_key(made->own, made->key)) {
        ERR_clear_error();
        return pen_fail(error, -PEN_EPROTO, "private_key %.300s: it is not the key of the first certificate in %.100s",
                        files->private_key, files->certificate);
    }
    *out_which = "authority";
    return read_authorities(files->authority, &made->authorities, error);
}

int pen_certificates_load(const struct pen_certificate_files *files, struct pen_certificates **out_certificates,
                          const char **out_which, struct pen_error *error)
{
    const char *ignored;
    struct pen_certificates *made = calloc(1, sizeof *made);
    if (!made)
        return pen_fail(error, -PEN_ENOMEM, "certificate %.300s: %s", files->certificate, pen_error_text(-PEN_ENOMEM));
    int rc = load(files, made, out_which ? out_which : &ignored, error);
    if (rc)
        pen_certificates_destroy(made);
    else
        *out_certificates = made;
    return rc;
}

/* ---- in use ------------------------------------------------------------------------------------------ */

bool pen_certificates_use(const struct pen_certificates *certificates, SSL *ssl)
{
    return SSL_use_cert_and_key(ssl, certificates->own, certificates->key, certificates->between, 1) == 1 &&
           SSL_set1_verify_cert_store(ssl, certificates->authorities) == 1;
}

/* Only its alternative names count (RFC 6125 section 6.4.4). */
bool pen_certificates_expect(SSL *ssl, const char *address)
{
    const char *end = strrchr(address, ':');
    char host[256];
    size_t size = end ? (size_t)(end - address) : strlen(address);
    if (size > 1 && address[0] == '[' && address[size - 1] == ']') {
        address++;
        size -= 2;
    }
    if (!size || size >= sizeof host)
        return false;
    memcpy(host, address, size);
    host[size] = 0;
    X509_VERIFY_PARAM *expected = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(expected,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    return X509_VERIFY_PARAM_set1_ip_asc(expected, host) || X509_VERIFY_PARAM_set1_host(expected, host, 0);
}

bool pen_certificates_name(const X509 *certificate, char *out, size_t size)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    unsigned char *text = NULL;
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return false;
    int length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    bool good = length > 0 && (size_t)length < size && !memchr(text, 0, (size_t)length);
    if (good) {
        memcpy(out, text, (size_t)length);
        out[length] = 0;
    }
    if (length >= 0)
        OPENSSL_free(text);
    return good;
}

/* What the other end has said of our certificate. */
static const char *alert_text(int alert)
{
    switch (alert) {
    case SSL_AD_CERTIFICATE_REQUIRED:
        return "it asks for a certificate";
    case SSL_AD_UNKNOWN_CA:
        return "the authority that it believes has not signed the certificate";
    case SSL_AD_CERTIFICATE_EXPIRED:
        return "the certificate has expired";
    case SSL_AD_CERTIFICATE_REVOKED:
        return "the tenant of the certificate's name has been revoked";
    case SSL_AD_BAD_CERTIFICATE:
        return "the certificate's common name is no tenant's, or it is not valid yet";
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
        return "the certificate is not for this use (its extended key usage)";
    case SSL_AD_HANDSHAKE_FAILURE:
        return "it knows tenants by their keys alone";
    default:
        return SSL_alert_desc_string_long(alert);
    }
}

void pen_certificates_explain(const SSL *ssl, char *out, size_t size)
{
    long verified = SSL_get_verify_result(ssl);
    int reason = ERR_GET_REASON(ERR_peek_last_error());
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    if (verified != X509_V_OK)
        snprintf(out, size, "its certificate is not accepted: %s", X509_verify_cert_error_string(verified));
    else if (reason > SSL_AD_REASON_OFFSET)
        snprintf(out, size, "it refuses: %s", alert_text(reason - SSL_AD_REASON_OFFSET));
    else
        snprintf(out, size, "%s", text ? text : "the connection broke");
}
