/* icd/extension.h - which of a driver's extensions the front end can pass on.
 * Ownership: a filled pen_extensions is the caller's, freed with pen_extensions_finish.
 * Threads: none of their own. Errors: 0 or -PEN_ENOMEM. */
#ifndef PEN_ICD_EXTENSION_H
#define PEN_ICD_EXTENSION_H

#include "icd/object.h"

/* Zero-initialize. */
struct pen_extensions {
    char *text;                /* names, one space between; never NULL once filled */
    cl_name_version *versions; /* the same names */
    uint32_t count;
};

/* The names in `text` (may be NULL) that the front end supports. Versions are looked up in `given`, and are 1.0.0 when
 * the driver does not tell. */
int pen_extensions_filter(const char *text, const cl_name_version *given, size_t given_count,
                          struct pen_extensions *out_extensions);
/* What every one of `lists` has, after what the platform itself has (cl_khr_icd, ...). */
int pen_extensions_common(const struct pen_extensions *const *lists, size_t list_count,
                          struct pen_extensions *out_extensions);
bool pen_extensions_have(const struct pen_extensions *extensions, const char *name);
void pen_extensions_finish(struct pen_extensions *extensions);

#endif
