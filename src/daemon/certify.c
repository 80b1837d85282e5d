/* daemon/certify.c - the certificates that a configuration names; see config.h. By itself, since it alone needs
 * OpenSSL. */
#include <stdio.h>

#include "daemon/config.h"
#include "daemon/document.h"

/* Where the file says it; 1 when it cannot be read any more. */
static size_t line_of(const char *file, const char *key)
{
    struct pen_document document = {0};
    struct pen_error ignored;
    size_t line = pen_document_load(&document, file, &ignored) ? 1 : pen_document_line(&document, key);
    pen_document_finish(&document);
    return line;
}

int pen_config_certificates(const struct pen_config *config, const char *file,
                            struct pen_certificates **out_certificates, struct pen_error *error)
{
    struct pen_certificate_files files;
    struct pen_error wrong;
    const char *which;
    char key[32];
    *out_certificates = NULL;
    if (!config->certificate)
        return 0;
    snprintf(files.certificate, sizeof files.certificate, "%s", config->certificate);
    snprintf(files.private_key, sizeof files.private_key, "%s", config->private_key);
    snprintf(files.authority, sizeof files.authority, "%s", config->authority);
    if (!pen_certificates_load(&files, out_certificates, &which, &wrong))
        return 0;
    snprintf(key, sizeof key, "listen.%s", which);
    return pen_fail(error, -PEN_ECONFIG, "%s:%zu: listen.%s", file, line_of(file, key), wrong.message);
}
