/* daemon/document.h - a YAML file with its positions: checks it against a libcyaml schema, finds the line of a key.
 * libcyaml fills the structs; this says what is wrong and where in words that an operator can act on.
 * Ownership: a document owns its text and nodes. Threads: one. Errors: -PEN_ECONFIG with file, line, key, and what
 *            is allowed; -PEN_EIO when the file cannot be read. */
#ifndef PEN_DAEMON_DOCUMENT_H
#define PEN_DAEMON_DOCUMENT_H

#include <cyaml/cyaml.h>
#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "base/error.h"

/* Longest configuration file, bytes. */
#define PEN_DOCUMENT_LIMIT (1u << 20)

/* Zero-initialize. */
struct pen_document {
    const char *file; /* as given; borrowed */
    char *text;
    size_t size;
    yaml_document_t yaml;
    bool parsed;
};

int pen_document_load(struct pen_document *document, const char *file, struct pen_error *error);
void pen_document_finish(struct pen_document *document);
/* True when there is nothing in it but comments. */
bool pen_document_empty(struct pen_document *document);

/* Keys that the schema does not have, keys given twice, lists where values should be. Values of type CYAML_IGNORE are
 * mappings from any key to a single value. */
int pen_document_check(struct pen_document *document, const cyaml_schema_value_t *schema, struct pen_error *error);

/* Line (from 1) of the value at a path such as "devices[1].memory"; 1 when there is none. */
size_t pen_document_line(struct pen_document *document, const char *path);

/* The pairs of a mapping at `path`: calls `pair` for each, until one returns non-zero, which is returned. */
int pen_document_pairs(struct pen_document *document, const char *path,
                       int (*pair)(void *context, const char *key, const char *value, size_t line), void *context);

#endif
