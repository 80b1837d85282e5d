/* icd/includes.h - the headers that a build takes from the program's own host.
 * A build may run elsewhere, so every file that the text could include is found here, by the rules of a C compiler,
 * and goes along. Conditionals are not evaluated: what might be included is sent if it exists; what does not exist is
 * left to the device's compiler, which has headers of its own and words for what is missing.
 *
 * On the other side the files lie in numbered directories: a file's name is "N/relative/path.h", and the options name
 * directory N as `-I @N@`, which the worker replaces by where it is. N counts the search directories in order: include
 * names given to clCompileProgram, the working directory (PoCL searches it before any -I), each -I, and the root for
 * absolute paths (such an #include is rewritten in the text to a path below `penstock-root/`). Only directories in
 * which something was found are named, so that equal builds look equal wherever they are started. A path that climbs
 * out of its directory ("../common.h") makes all of them deeper ("N/u/...", `-I @N@/u`).
 * Ownership: the result is malloc'ed. Threads: none; reads files. Units: bytes.
 * Errors:    0; -PEN_ENOMEM; -PEN_ELIMIT with a sentence that names the limit. */
#ifndef PEN_ICD_INCLUDES_H
#define PEN_ICD_INCLUDES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "icd/recipe.h"

/* A header given by the application under a name. */
struct pen_include_given {
    const char *name;
    const char *text;
};

struct pen_includes {
    char *source;  /* the text with absolute includes rewritten; NULL: as it was */
    char *options; /* for the worker */
    struct pen_recipe_header *headers;
    uint32_t header_count;
};

/* source: zero-terminated. options: as given to the build, may be NULL. */
int pen_includes_collect(const char *source, const char *options, const struct pen_include_given *given,
                         uint32_t given_count, struct pen_includes *out, struct pen_error *error);
/* Accepts a zeroed one. */
void pen_includes_finish(struct pen_includes *includes);

/* ---- build options (options.c), as a shell would split them: quotes of both kinds, backslashes --------- */

struct pen_option {
    const char *raw; /* in the options */
    size_t raw_size;
    char *value; /* without quotes and escapes; malloc'ed */
};

/* Splits into a malloc'ed array. -PEN_ENOMEM. */
int pen_options_split(const char *options, struct pen_option **out_options, uint32_t *out_count);
void pen_options_free(struct pen_option *options, uint32_t count);

/* ---- directives (scan.c) ------------------------------------------------------------------------------- */

enum pen_directive_kind {
    PEN_DIRECTIVE_QUOTED, /* #include "name" */
    PEN_DIRECTIVE_ANGLED, /* #include <name> */
    PEN_DIRECTIVE_MACRO,  /* #include NAME */
    PEN_DIRECTIVE_DEFINE, /* #define name value, where value begins with " or < */
    PEN_DIRECTIVE_END
};

struct pen_directive {
    enum pen_directive_kind kind;
    const char *name; /* in the text */
    size_t name_size;
    const char *value; /* of a define */
    size_t value_size;
};

/* The next directive at or after *cursor (zero-terminated text), past comments, strings and what else there is; moves
 * the cursor. A cursor starts at the text's beginning. */
struct pen_directive pen_scan_next(const char **cursor);

#endif
