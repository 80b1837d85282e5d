/* icd/collector.h - one attempt to collect a build's headers, as the files that do it share it; see includes.h.
 * A directory is a pair: where it is here, and what it is called over there; a file found through it is the pair's join
 * with the include's name on both sides, so relative includes keep working. Everything that is found goes into the
 * collector, which owns it.
 *
 * Threads: none.
 * Errors:  0; -PEN_ENOMEM; -PEN_ELIMIT with a sentence. */
#ifndef PEN_ICD_COLLECTOR_H
#define PEN_ICD_COLLECTOR_H

#include "icd/includes.h"

/* How far a path may climb out of its directory. */
#define PEN_COLLECTOR_CLIMB 64

struct pen_collector_directory {
    char *here;  /* NULL: the names given to clCompileProgram */
    char *there; /* "N", "N/u", ... */
    bool used;
};

struct pen_collector_text { /* one that is being scanned */
    char *here, *there;     /* its directory; NULL: the program itself, or (here) a given header */
    uint32_t nesting;
    struct pen_rooted rooted;
};

struct pen_collector_computed { /* #include NAME, or what an #if says */
    char *here, *there, *name;
    uint32_t nesting;
    bool every, condition;
    struct pen_map seen; /* hashes of what it came to and was looked for */
};

struct pen_collector_needs { /* what is known only when all texts have been seen, for another attempt */
    uint32_t climb;
    bool macros; /* there are computed includes, or macros that ask for files */
};

struct pen_collector {
    const struct pen_include_given *given;
    uint32_t given_count;
    struct pen_option *options;
    uint32_t option_count;
    struct pen_collector_directory *directories; /* [0] given, [1] working directory, -I in order, [last] root */
    uint32_t directory_count;
    struct pen_macros macros;
    struct pen_collector_computed *computed;
    uint32_t computed_count;
    struct pen_recipe_header *headers;
    uint32_t header_count;
    uint64_t bytes;
    struct pen_collector_needs needs, more;
    struct pen_rooted rooted; /* in the options */
    char *remark;             /* see pen_includes */
    struct pen_error *error;
};

/* ---- texts (includes.c) -------------------------------------------------------------------------------- */

/* Keeps the file that was found, and what it includes in turn. Takes there and bytes, also on failure. */
int pen_collector_take(struct pen_collector *collector, const struct pen_collector_text *from, const char *here,
                       char *there, char *bytes, size_t size);
/* Accepts a zeroed one. */
void pen_collector_finish(struct pen_collector *collector);

/* ---- files (include_files.c) --------------------------------------------------------------------------- */

/* Takes name and text, also on failure. */
int pen_collector_add_header(struct pen_collector *collector, char *name, char *text, size_t size);
/* `name` in a directory. 1: it is there and has been taken, 0: it is not, negative: error. */
int pen_collector_try(struct pen_collector *collector, const struct pen_collector_text *from,
                      const char *here_directory, const char *there_directory, const char *name);
/* Looks where a compiler does: beside the file (quoted names), then in the directories in order. `every`: for all files
 * of that name. 1: found, 0: not, negative: error. */
int pen_collector_find(struct pen_collector *collector, const struct pen_collector_text *from, const char *name,
                       bool quoted, bool every);

/* ---- macros (include_macros.c) ------------------------------------------------------------------------- */

/* The macro, if macros are needed; else notes whether this one makes them so. */
int pen_collector_add_macro(struct pen_collector *collector, const char *name, size_t name_size, const char *value,
                            size_t value_size);
/* Of the text's directives #define; #include MACRO; #if and #elif. */
int pen_collector_add_define(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes,
                             const struct pen_directive *directive);
int pen_collector_add_computed(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes,
                               const struct pen_directive *directive);
int pen_collector_add_condition(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes,
                                const struct pen_directive *directive);
/* What all of those ask for, when all texts have been seen, and what that asks for in turn. */
int pen_collector_find_computed(struct pen_collector *collector);
void pen_collector_forget_computed(struct pen_collector *collector);

/* ---- options (include_options.c) ----------------------------------------------------------------------- */

/* The directories to look in, and the macros that options define. */
int pen_collector_add_directories(struct pen_collector *collector, const char *options);
/* The options, each -I replaced by the directory's name over there, or dropped when nothing was found in it. */
int pen_collector_write_options(struct pen_collector *collector, const char *options, char **out_options);

#endif
