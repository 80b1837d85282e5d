/* icd/includes.c - see includes.h. A directory is a pair: where it is here, and what it is called over there; a file
 * found through it is the pair's join with the include's name on both sides, so relative includes keep working. */
#include "icd/includes.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "penstock-protocol.h"

#define ABSOLUTE_PREFIX "penstock-root"
/* Includes within includes within ... : a compiler gives up at 200. */
#define NESTING 200
/* How far a path may climb out of its directory. */
#define CLIMB 64

struct directory {
    char *here;  /* NULL: the names given to clCompileProgram */
    char *there; /* "N", "N/u", ... */
    bool used;
};

struct macro { /* #define NAME "value", or -D NAME="value" */
    char *name, *value;
};

struct edit { /* an absolute include in the text being scanned */
    size_t at, size;
    char *text;
};

struct collector {
    const struct pen_include_given *given;
    uint32_t given_count;
    struct pen_option *options;
    uint32_t option_count;
    struct directory *directories; /* [0] given, [1] working directory, -I in order, [last] root */
    uint32_t directory_count;
    struct macro *macros;
    uint32_t macro_count;
    struct pen_recipe_header *headers;
    uint32_t header_count;
    uint64_t bytes;
    uint32_t climb, climb_needed;
    struct pen_error *error;
};

/* ---- paths ------------------------------------------------------------------------------------------- */

/* directory + "/" + name; malloc'ed. */
static char *join(const char *directory, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

/* Resolves "." and ".." by text alone, in place. False when the path climbs above its first component. */
static bool normalize(char *path)
{
    char *out = path;
    for (const char *at = path; *at;) {
        size_t size = strcspn(at, "/");
        if (size == 2 && at[0] == '.' && at[1] == '.') {
            while (out > path && *--out != '/')
                ;
            if (out == path)
                return false;
        } else if (size && !(size == 1 && at[0] == '.')) {
            if (out > path)
                *out++ = '/';
            memmove(out, at, size);
            out += size;
        }
        at += size + (at[size] == '/');
    }
    *out = 0;
    return true;
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strndup(path, slash ? (size_t)(slash - path) : 0);
}

/* A file's contents, zero-terminated; -PEN_ENOENT when it is no readable regular file. */
static int read_file(const char *path, char **out_text, size_t *out_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat status;
    if (fd < 0)
        return -PEN_ENOENT;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode) || status.st_size > (off_t)PEN_LIMIT_PROGRAM) {
        close(fd);
        return -PEN_ENOENT;
    }
    size_t size = (size_t)status.st_size, done = 0;
    char *text = malloc(size + 1);
    while (text && done < size) {
        ssize_t got = read(fd, text + done, size - done);
        if (got <= 0 && !(got < 0 && errno == EINTR))
            break;
        done += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (!text)
        return -PEN_ENOMEM;
    text[done] = 0;
    *out_text = text;
    *out_size = done;
    return 0;
}

/* ---- what was found ---------------------------------------------------------------------------------- */

static bool known(const struct collector *collector, const char *name)
{
    for (uint32_t i = 0; i < collector->header_count; i++)
        if (strcmp(collector->headers[i].name, name) == 0)
            return true;
    return false;
}

/* Takes name and text, also on failure. */
static int add_header(struct collector *collector, char *name, char *text, size_t size)
{
    int rc = 0;
    struct pen_recipe_header *grown = NULL;
    if (collector->header_count == PEN_LIMIT_HEADERS)
        rc = pen_fail(collector->error, -PEN_ELIMIT, "a build may include %u files (limit HEADERS); '%s' is one more",
                      PEN_LIMIT_HEADERS, name);
    else if (collector->bytes + size > PEN_LIMIT_PROGRAM)
        rc = pen_fail(
            collector->error, -PEN_ELIMIT,
            "the files that a build includes may have %u bytes in all (limit PROGRAM); with '%s' they have more",
            PEN_LIMIT_PROGRAM, name);
    else if (strlen(name) > PEN_LIMIT_NAME)
        rc = pen_fail(collector->error, -PEN_ELIMIT,
                      "the path of an include file may have %u bytes (limit NAME): '%.80s...'", PEN_LIMIT_NAME, name);
    else if (!(grown = realloc(collector->headers, (collector->header_count + 1) * sizeof *grown)))
        rc = -PEN_ENOMEM;
    if (!grown) {
        free(name);
        free(text);
        return rc;
    }
    collector->headers = grown;
    collector->headers[collector->header_count++] = (struct pen_recipe_header){name, text, size};
    collector->bytes += size;
    return 0;
}

static int add_macro(struct collector *collector, const char *name, size_t name_size, const char *value,
                     size_t value_size)
{
    struct macro *grown = realloc(collector->macros, (collector->macro_count + 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    collector->macros = grown;
    struct macro macro = {strndup(name, name_size), strndup(value, value_size)};
    if (!macro.name || !macro.value) {
        free(macro.name);
        free(macro.value);
        return -PEN_ENOMEM;
    }
    collector->macros[collector->macro_count++] = macro;
    return 0;
}

/* ---- the text ---------------------------------------------------------------------------------------- */

struct text { /* one that is being scanned */
    const struct text *parent;
    char *here, *there; /* its directory; NULL: the program itself, or (here) a given header */
    struct edit *edits;
    uint32_t edit_count;
    uint32_t nesting;
};

static int scan(struct collector *collector, struct text *text, const char *bytes);

static int apply_edits(struct text *text, char **bytes, size_t *size);

static void free_edits(struct text *text)
{
    for (uint32_t i = 0; i < text->edit_count; i++)
        free(text->edits[i].text);
    free(text->edits);
    text->edits = NULL;
    text->edit_count = 0;
}

/* Scans the file that was found, then keeps it. Takes there and bytes, also on failure. */
static int take_file(struct collector *collector, const struct text *from, const char *here, char *there, char *bytes,
                     size_t size)
{
    struct text text = {.parent = from, .nesting = from->nesting + 1, .there = directory_of(there)};
    text.here = here ? directory_of(here) : NULL;
    int rc = text.there && (text.here || !here) ? 0 : -PEN_ENOMEM;
    /* Kept before it is scanned, so that a file that includes itself ends. */
    uint32_t index = collector->header_count;
    if (rc) {
        free(there);
        free(bytes);
    } else {
        rc = add_header(collector, there, bytes, size);
    }
    if (!rc)
        rc = scan(collector, &text, collector->headers[index].text);
    if (!rc && text.edit_count) {
        char *edited = collector->headers[index].text;
        rc = apply_edits(&text, &edited, &collector->headers[index].size);
        collector->headers[index].text = edited;
    }
    free_edits(&text);
    free(text.here);
    free(text.there);
    return rc;
}

/* The given header of this name below directory 0. 1: found, 0: not, negative: error. */
static int try_given(struct collector *collector, const struct text *from, const char *there)
{
    size_t base = strlen(collector->directories[0].there);
    if (strncmp(there, collector->directories[0].there, base) != 0 || there[base] != '/')
        return 0;
    for (uint32_t i = 0; i < collector->given_count; i++) {
        char *name = strdup(collector->given[i].name);
        bool same = name && normalize(name) && strcmp(name, there + base + 1) == 0;
        free(name);
        if (!same)
            continue;
        char *bytes = strdup(collector->given[i].text), *path = strdup(there);
        if (!bytes || !path) {
            free(bytes);
            free(path);
            return -PEN_ENOMEM;
        }
        int rc = take_file(collector, from, NULL, path, bytes, strlen(bytes));
        return rc ? rc : 1;
    }
    return 0;
}

/* `name` in a directory. 1: it is there and has been taken, 0: it is not, negative: error. */
static int try_directory(struct collector *collector, const struct text *from, const char *here_directory,
                         const char *there_directory, const char *name)
{
    char *there = join(there_directory, name), *here = here_directory ? join(here_directory, name) : NULL;
    char *bytes = NULL;
    size_t size = 0;
    int rc = there && (here || !here_directory) ? 0 : -PEN_ENOMEM;
    bool inside = !rc && normalize(there);
    if (inside && known(collector, there)) {
        rc = 1;
    } else if (!rc && !here) {
        rc = inside ? try_given(collector, from, there) : 0;
    } else if (!rc) {
        rc = read_file(here, &bytes, &size);
        if (rc == -PEN_ENOENT) {
            rc = 0;
        } else if (!rc && !inside) {
            free(bytes);
            collector->climb_needed = collector->climb + 1;
            rc = 1;
        } else if (!rc) {
            rc = take_file(collector, from, here, there, bytes, size);
            there = NULL;
            rc = rc ? rc : 1;
        }
    }
    free(here);
    free(there);
    return rc;
}

/* `#include "/a/b.h"`: taken by way of the last directory, and the text is to say "penstock-root/a/b.h" instead. */
static int try_absolute(struct collector *collector, struct text *from, const char *text, const char *at, size_t size,
                        const char *name)
{
    struct directory *root = &collector->directories[collector->directory_count - 1];
    char *there = join(root->there, ABSOLUTE_PREFIX);
    int rc = there ? try_directory(collector, from, "", there, name + 1) : -PEN_ENOMEM;
    free(there);
    if (rc <= 0)
        return rc;
    root->used = true;
    struct edit edit = {.at = (size_t)(at - text), .size = size};
    struct edit *grown = realloc(from->edits, (from->edit_count + 1) * sizeof *grown);
    if (grown)
        from->edits = grown;
    if (!grown || asprintf(&edit.text, "%s%s", ABSOLUTE_PREFIX, name) < 0)
        return -PEN_ENOMEM;
    from->edits[from->edit_count++] = edit;
    return 1;
}

/* Replaces *bytes (malloc'ed) by the edited text. */
static int apply_edits(struct text *text, char **bytes, size_t *size)
{
    size_t length = *size;
    for (uint32_t i = 0; i < text->edit_count; i++)
        length += strlen(text->edits[i].text) - text->edits[i].size;
    char *edited = malloc(length + 1), *out = edited;
    if (!edited)
        return -PEN_ENOMEM;
    size_t done = 0;
    for (uint32_t i = 0; i < text->edit_count; i++) {
        const struct edit *edit = &text->edits[i];
        out = mempcpy(out, *bytes + done, edit->at - done);
        out = mempcpy(out, edit->text, strlen(edit->text));
        done = edit->at + edit->size;
    }
    memcpy(out, *bytes + done, *size - done);
    edited[length] = 0;
    free(*bytes);
    *bytes = edited;
    *size = length;
    return 0;
}

/* Looks where a compiler does: beside the file (quoted names), then in the directories in order. */
static int find(struct collector *collector, const struct text *from, const char *name, bool quoted)
{
    int rc = 0;
    if (quoted && from->there)
        rc = try_directory(collector, from, from->here, from->there, name);
    for (uint32_t i = 0; !rc && i + 1 < collector->directory_count; i++) {
        struct directory *directory = &collector->directories[i];
        rc = try_directory(collector, from, directory->here, directory->there, name);
        directory->used |= rc > 0;
    }
    return rc < 0 ? rc : 0;
}

static int include_macro(struct collector *collector, const struct text *from, const char *name, size_t name_size)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < collector->macro_count; i++) {
        const struct macro *macro = &collector->macros[i];
        if (strlen(macro->name) != name_size || memcmp(macro->name, name, name_size) != 0)
            continue;
        char *value = strndup(macro->value + 1, strlen(macro->value) - 2);
        rc = value ? 0 : -PEN_ENOMEM;
        if (!rc && value[0] != '/')
            rc = find(collector, from, value, macro->value[0] == '"');
        free(value);
    }
    return rc;
}

static int include_name(struct collector *collector, struct text *text, const char *bytes,
                        const struct pen_directive *directive)
{
    char *name = strndup(directive->name, directive->name_size);
    if (!name)
        return -PEN_ENOMEM;
    int rc = name[0] == '/' ? try_absolute(collector, text, bytes, directive->name, directive->name_size, name)
                            : find(collector, text, name, directive->kind == PEN_DIRECTIVE_QUOTED);
    free(name);
    return rc < 0 ? rc : 0;
}

static int scan(struct collector *collector, struct text *text, const char *bytes)
{
    if (text->nesting > NESTING)
        return 0;
    int rc = 0;
    for (const char *cursor = bytes; !rc;) {
        struct pen_directive directive = pen_scan_next(&cursor);
        switch (directive.kind) {
        case PEN_DIRECTIVE_END:
            return 0;
        case PEN_DIRECTIVE_DEFINE:
            rc = add_macro(collector, directive.name, directive.name_size, directive.value, directive.value_size);
            break;
        case PEN_DIRECTIVE_MACRO:
            rc = include_macro(collector, text, directive.name, directive.name_size);
            break;
        case PEN_DIRECTIVE_QUOTED:
        case PEN_DIRECTIVE_ANGLED:
            rc = include_name(collector, text, bytes, &directive);
            break;
        }
    }
    return rc;
}

/* Given headers go along whether or not an #include of them was understood. */
static int add_given(struct collector *collector)
{
    const struct text program = {0};
    int rc = 0;
    for (uint32_t i = 0; rc >= 0 && i < collector->given_count; i++) {
        rc = try_directory(collector, &program, NULL, collector->directories[0].there, collector->given[i].name);
        collector->directories[0].used |= rc > 0;
    }
    return rc < 0 ? rc : 0;
}

/* ---- options ----------------------------------------------------------------------------------------- */

/* The directory that option i names; *out_next is the option after it. NULL: it is no -I. */
static const char *include_directory(const struct collector *collector, uint32_t i, uint32_t *out_next)
{
    const char *value = collector->options[i].value;
    assert(value);
    if (strncmp(value, "-I", 2) != 0 || (!value[2] && i + 1 == collector->option_count))
        return NULL;
    *out_next = i + (value[2] ? 1 : 2);
    return value[2] ? value + 2 : collector->options[i + 1].value;
}

/* -D NAME="file" and -DNAME=<file>. */
static int option_macro(struct collector *collector, uint32_t i)
{
    const char *value = collector->options[i].value;
    if (strncmp(value, "-D", 2) != 0)
        return 0;
    if (value[2])
        value += 2;
    else if (i + 1 < collector->option_count)
        value = collector->options[i + 1].value;
    assert(value);
    const char *equals = strchr(value, '=');
    size_t size = equals ? strlen(equals + 1) : 0;
    if (size < 3 || !(equals[1] == '"' || equals[1] == '<'))
        return 0;
    return add_macro(collector, value, (size_t)(equals - value), equals + 1, size);
}

static int add_directory(struct collector *collector, const char *here)
{
    struct directory *directory = &collector->directories[collector->directory_count];
    char name[16 + 2 * CLIMB];
    int size = snprintf(name, 16, "%u", collector->directory_count);
    for (uint32_t i = 0; i < collector->climb; i++, size += 2)
        memcpy(name + size, "/u", 3);
    directory->here = here ? strdup(here) : NULL;
    directory->there = strdup(name);
    collector->directory_count++;
    return directory->there && (directory->here || !here) ? 0 : -PEN_ENOMEM;
}

static int add_directories(struct collector *collector)
{
    collector->directories = calloc(collector->option_count + 3, sizeof *collector->directories);
    if (!collector->directories)
        return -PEN_ENOMEM;
    int rc = add_directory(collector, NULL);
    if (!rc)
        rc = add_directory(collector, ".");
    for (uint32_t i = 0, next; !rc && i < collector->option_count; i = next) {
        const char *directory = include_directory(collector, i, &next);
        if (directory) {
            rc = add_directory(collector, directory);
        } else {
            rc = option_macro(collector, i);
            next = i + 1;
        }
    }
    return rc ? rc : add_directory(collector, "");
}

static void write_directory(FILE *out, const struct directory *directory)
{
    if (!directory->used)
        return;
    size_t digits = strspn(directory->there, "0123456789");
    fprintf(out, "-I @%.*s@%s ", (int)digits, directory->there, directory->there + digits);
}

/* The options, each -I replaced by the directory's name over there, or dropped when nothing was found in it. */
static int write_options(struct collector *collector, const char *options, char **out_options)
{
    size_t size;
    FILE *out = open_memstream(out_options, &size);
    if (!out)
        return -PEN_ENOMEM;
    write_directory(out, &collector->directories[0]);
    write_directory(out, &collector->directories[1]);
    const char *from = options;
    uint32_t index = 2;
    for (uint32_t i = 0, next; i < collector->option_count; i = next) {
        next = i + 1;
        if (!include_directory(collector, i, &next))
            continue;
        const struct pen_option *last = &collector->options[next - 1];
        fwrite(from, 1, (size_t)(collector->options[i].raw - from), out);
        write_directory(out, &collector->directories[index++]);
        from = last->raw + last->raw_size;
        from += *from == ' ';
    }
    fputs(from, out);
    if (collector->directories[collector->directory_count - 1].used) {
        fputc(' ', out);
        write_directory(out, &collector->directories[collector->directory_count - 1]);
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) || failed) {
        free(*out_options);
        *out_options = NULL;
        return -PEN_ENOMEM;
    }
    return 0;
}

static void finish(struct collector *collector)
{
    for (uint32_t i = 0; i < collector->header_count; i++) {
        free(collector->headers[i].name);
        free(collector->headers[i].text);
    }
    for (uint32_t i = 0; i < collector->directory_count; i++) {
        free(collector->directories[i].here);
        free(collector->directories[i].there);
    }
    for (uint32_t i = 0; i < collector->macro_count; i++) {
        free(collector->macros[i].name);
        free(collector->macros[i].value);
    }
    free(collector->headers);
    free(collector->directories);
    free(collector->macros);
    pen_options_free(collector->options, collector->option_count);
}

/* One attempt with directories `climb` deep. 1: some path climbs further. */
static int attempt(struct collector *collector, const char *source, const char *options, struct pen_includes *out)
{
    struct text text = {0};
    struct pen_includes result = {0};
    int rc = pen_options_split(options, &collector->options, &collector->option_count);
    if (!rc)
        rc = add_directories(collector);
    if (!rc)
        rc = scan(collector, &text, source);
    if (!rc)
        rc = add_given(collector);
    if (!rc && collector->climb_needed > collector->climb) {
        free_edits(&text);
        return 1;
    }
    if (!rc)
        rc = write_options(collector, options, &result.options);
    if (!rc && text.edit_count) {
        size_t size = strlen(source);
        result.source = strdup(source);
        rc = result.source ? apply_edits(&text, &result.source, &size) : -PEN_ENOMEM;
    }
    free_edits(&text);
    if (rc) {
        pen_includes_finish(&result);
        return rc;
    }
    result.headers = collector->headers;
    result.header_count = collector->header_count;
    collector->headers = NULL;
    collector->header_count = 0;
    *out = result;
    return 0;
}

int pen_includes_collect(const char *source, const char *options, const struct pen_include_given *given,
                         uint32_t given_count, struct pen_includes *out, struct pen_error *error)
{
    options = options ? options : "";
    int rc = 1;
    for (uint32_t climb = 0; rc == 1 && climb <= CLIMB; climb++) {
        struct collector collector = {.given = given, .given_count = given_count, .climb = climb, .error = error};
        rc = attempt(&collector, source, options, out);
        finish(&collector);
    }
    if (rc == 1)
        return pen_fail(error, -PEN_ELIMIT, "an #include may climb %d directories ('../')", CLIMB);
    return rc == -PEN_ENOMEM ? pen_fail(error, rc, "out of memory while reading include files") : rc;
}

void pen_includes_finish(struct pen_includes *includes)
{
    for (uint32_t i = 0; i < includes->header_count; i++) {
        free(includes->headers[i].name);
        free(includes->headers[i].text);
    }
    free(includes->headers);
    free(includes->source);
    free(includes->options);
    *includes = (struct pen_includes){0};
}
