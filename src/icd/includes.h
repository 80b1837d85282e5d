/* icd/includes.h - the headers that a build takes from the program's own host.
 * A build may run elsewhere, so every file that the text could include is found here, by the rules of a C compiler,
 * and goes along. Conditionals are not evaluated: what might be included is sent if it exists; what does not exist is
 * left to the device's compiler, which has headers of its own and words for what is missing.
 *
 * A name that macros make (`#include NAME`, `#include TEXT(DIRECTORY/file.h)`, `#if HAS(<file.h>)` where HAS has an
 * __has_include in its body) is looked for under all that it may come to, by every definition of a macro in any text or
 * the options, as far as a bound on the ways to choose them goes (PEN_EXPAND_TRIES); a remark says where that is not
 * all. A word that may be a macro of the device's own compiler (`__OPENCL_VERSION__`, `__LINE__`, `cl_khr_fp64`, any in
 * capital letters without a definition) may be any number: all files are sent that have one there
 * (docs/decisions/0016).
 *
 * On the other side the files lie in numbered directories: a file's name is "N/relative/path.h", and the options name
 * directory N as `-I @N@`, which the worker replaces by where it is. N counts the search directories in order: include
 * names given to clCompileProgram, the working directory (PoCL searches it before any -I), each -I, and the root for
 * absolute paths: where an #include, or a macro in a text with computed ones, begins with such a path, the text or the
 * option is made to say `penstock-root/...`. Only directories in which something was found are named, so that equal
 * builds look equal wherever they are started. A path that climbs out of its directory ("../common.h") makes all of
 * them deeper ("N/u/...", `-I @N@/u`); a directory that a path only passes ("gone/../common.h") comes with an empty
 * file of its own, so that it exists.
 *
 * Ownership: the result is malloc'ed.
 * Threads:   none; reads files.
 * Units:     bytes.
 * Errors:    0; -PEN_ENOMEM; -PEN_ELIMIT with a sentence that names the limit. */
#ifndef PEN_ICD_INCLUDES_H
#define PEN_ICD_INCLUDES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/map.h"
#include "icd/recipe.h"

/* A header given by the application under a name. */
struct pen_include_given {
    const char *name;
    const char *text;
};

struct pen_includes {
    char *source;  /* the text with absolute includes rewritten; NULL: as it was */
    char *options; /* for the worker */
    char *remark;  /* on what has not been looked for, a line for the build's log; NULL: everything has */
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
    PEN_DIRECTIVE_QUOTED,    /* #include "name", __has_include("name") */
    PEN_DIRECTIVE_ANGLED,    /* #include <name> */
    PEN_DIRECTIVE_MACRO,     /* #include what is to be expanded */
    PEN_DIRECTIVE_DEFINE,    /* #define name value, #define name(parameters) value */
    PEN_DIRECTIVE_CONDITION, /* #if, #elif: `name` is the condition */
    PEN_DIRECTIVE_END
};

struct pen_directive {
    enum pen_directive_kind kind;
    bool every;       /* include_next: the file of that name in any directory */
    const char *name; /* in the text, with its comments; see pen_scan_copy */
    size_t name_size;
    const char *value; /* of a define */
    size_t value_size;
};

/* The text (zero-terminated) with its joined lines in one; malloc'ed. */
char *pen_scan_join(const char *text);
/* Where in the text that is which has this index in the joined one. */
size_t pen_scan_origin(const char *text, size_t index);
/* The next directive at or after *cursor of a joined text, past comments, strings and what else there is; moves the
 * cursor. A cursor starts at the text's beginning. */
struct pen_directive pen_scan_next(const char **cursor);
/* A part of a joined text without its comments, which may cut a constant or comment short; malloc'ed. */
char *pen_scan_copy(const char *at, size_t size);

/* ---- macros (macros.c), and what they come to (expand.c) ----------------------------------------------- */

/* Of the word that begins here, or 0. A mark (below) is part of the word that it was pasted into. */
size_t pen_word_size(const char *at);
/* The word of this size at `at` is the one that `name` begins with. */
bool pen_word_is(const char *at, size_t size, const char *name);
/* It is __has_include, or __has_include_next. */
bool pen_word_asks(const char *at, size_t size);
/* It is a compiler's (C11 7.1.3) or OpenCL's to define. */
bool pen_word_is_reserved(const char *at);
/* Odd, so never 0. */
uint64_t pen_word_hash(const char *at, size_t size);
/* It is written as names of macros are, in capital letters. */
bool pen_word_is_capital(const char *at, size_t size);

#define PEN_MACRO_NONE UINT32_MAX

struct pen_macro {
    char *name; /* "NAME" or "NAME(a, b)" */
    char *body;
    uint32_t first, next; /* definitions of its name, by index; PEN_MACRO_NONE follows the last */
    /* of a name, in its first definition */
    uint32_t last;
    bool asks; /* see pen_macros_mark_asking */
};

struct pen_macros { /* of one name there may be several */
    struct pen_macro *items;
    uint32_t count;
    struct pen_map firsts; /* hash of a name to the index of its first definition, plus 1 */
    bool asking;           /* there is a body with __has_include */
};

/* Copies. -PEN_ENOMEM. */
int pen_macros_add(struct pen_macros *macros, const char *name, size_t name_size, const char *body, size_t body_size);
void pen_macros_finish(struct pen_macros *macros);
/* The first definition of this name, or PEN_MACRO_NONE. */
uint32_t pen_macros_find(const struct pen_macros *macros, const char *name, size_t size);

/* True for a text with __has_include, or with a macro that asks: of which a body, when last marked, was such a text. */
bool pen_macros_ask(const struct pen_macros *macros, const char *text);
/* -PEN_ENOMEM. */
int pen_macros_mark_asking(struct pen_macros *macros);

/* Gets what a text comes to, with marks around each word that may be a macro of the device's compiler; anything but 0
 * ends the expansion, and is its result. */
typedef int (*pen_expand_offer)(void *context, const char *text);
/* What is done for one text: ways to choose definitions, and macros replaced. */
#define PEN_EXPAND_TRIES 1000
#define PEN_EXPAND_STEPS 50000
/* Offers what the text comes to by each choice of definitions. May be called with macros that grow meanwhile.
 * out_whole: with definitions for all macros, and for all but one, no way was left out. */
int pen_expand(const struct pen_macros *macros, const char *text, pen_expand_offer offer, void *context,
               bool *out_whole);

/* ---- names with marks (pattern.c) ---------------------------------------------------------------------- */

#define PEN_MARK_BEGIN '\1'
#define PEN_MARK_END   '\2'

/* True when the name fits: marked is the word that is marked, a preprocessing number of C (6.4.8), or nothing. */
bool pen_pattern_matches(const char *pattern, size_t size, const char *name);
/* Without the marks, the words as they are; malloc'ed. */
char *pen_pattern_plain(const char *pattern);
/* Offers the names below the directory that fit, in alphabetical order. -PEN_ENOMEM, or what an offer came to. */
int pen_pattern_list(const char *directory, const char *pattern, pen_expand_offer offer, void *context);

/* ---- absolute paths (rooted.c) ------------------------------------------------------------------------- */

/* How an absolute path begins over there. */
#define PEN_ROOTED "penstock-root"

struct pen_rooted { /* where that is to be put into a text, in order */
    size_t *at;
    uint32_t count;
};

/* Once, however often it is added. -PEN_ENOMEM. */
int pen_rooted_add(struct pen_rooted *rooted, size_t at);
/* The same, if an absolute path of a file begins at `at` of the text, or in quotes of some kind there. */
int pen_rooted_add_value(struct pen_rooted *rooted, const char *text, size_t at);
void pen_rooted_write(const struct pen_rooted *rooted, const char *text, size_t from, size_t to, FILE *out);
/* The whole text; malloc'ed, or NULL. */
char *pen_rooted_text(const struct pen_rooted *rooted, const char *text, size_t size, size_t *out_size);
void pen_rooted_finish(struct pen_rooted *rooted);

#endif
