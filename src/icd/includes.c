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

/* Includes within includes within ... : a compiler gives up at 200. */
#define NESTING 200
/* How far a path may climb out of its directory. */
#define CLIMB 64
/* The empty file of a directory that a path only passes. */
#define PASSED ".penstock"

struct directory {
    char *here;  /* NULL: the names given to clCompileProgram */
    char *there; /* "N", "N/u", ... */
    bool used;
};

struct text {           /* one that is being scanned */
    char *here, *there; /* its directory; NULL: the program itself, or (here) a given header */
    uint32_t nesting;
    struct pen_rooted rooted;
};

struct computed { /* #include NAME */
    char *here, *there, *name;
    uint32_t nesting;
    bool every;
};

struct needs { /* what is known only when all texts have been seen, for another attempt */
    uint32_t climb;
    bool macros; /* there are computed includes */
};

struct collector {
    const struct pen_include_given *given;
    uint32_t given_count;
    struct pen_option *options;
    uint32_t option_count;
    struct directory *directories; /* [0] given, [1] working directory, -I in order, [last] root */
    uint32_t directory_count;
    struct pen_macros macros;
    struct computed *computed;
    uint32_t computed_count;
    struct pen_recipe_header *headers;
    uint32_t header_count;
    uint64_t bytes;
    struct needs needs, more;
    struct pen_rooted rooted; /* in the options */
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

/* True when something lies below that directory over there. */
static bool has_files(const struct collector *collector, const char *directory)
{
    size_t size = strlen(directory);
    for (uint32_t i = 0; i < collector->header_count; i++)
        if (strncmp(collector->headers[i].name, directory, size) == 0 && collector->headers[i].name[size] == '/')
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

/* A path that goes by way of a directory and back, "N/empty/../a.h", needs that directory. */
static int add_passed(struct collector *collector, const char *path)
{
    int rc = 0;
    for (const char *at = strstr(path, "/../"); !rc && at; at = strstr(at + 1, "/../")) {
        char *way = strndup(path, (size_t)(at - path));
        bool needed = way && normalize(way) && !has_files(collector, way);
        char *name = needed ? join(way, PASSED) : NULL, *empty = needed ? strdup("") : NULL;
        if (name && empty) {
            rc = add_header(collector, name, empty, 0);
        } else {
            free(name);
            free(empty);
            rc = needed || !way ? -PEN_ENOMEM : 0;
        }
        free(way);
    }
    return rc;
}

/* ---- the text ---------------------------------------------------------------------------------------- */

static int scan(struct collector *collector, struct text *text, const char *bytes);

/* Marks the absolute paths in its text. */
static int root_header(struct pen_recipe_header *header, const struct pen_rooted *rooted)
{
    char *text = rooted->count ? pen_rooted_text(rooted, header->text, header->size, &header->size) : NULL;
    if (!text)
        return rooted->count ? -PEN_ENOMEM : 0;
    free(header->text);
    header->text = text;
    return 0;
}

/* Scans the file that was found, then keeps it. Takes there and bytes, also on failure. */
static int take_file(struct collector *collector, const struct text *from, const char *here, char *there, char *bytes,
                     size_t size)
{
    struct text text = {.nesting = from->nesting + 1, .there = directory_of(there)};
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
    if (!rc)
        rc = root_header(&collector->headers[index], &text.rooted);
    pen_rooted_finish(&text.rooted);
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
    char *path = join(there_directory, name), *there = path ? strdup(path) : NULL;
    char *here = here_directory ? join(here_directory, name) : NULL;
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
            collector->more.climb = collector->needs.climb + 1;
            rc = 1;
        } else if (!rc) {
            rc = take_file(collector, from, here, there, bytes, size);
            there = NULL;
            rc = rc ? rc : 1;
        }
    }
    int passed = rc > 0 && inside ? add_passed(collector, path) : 0;
    free(path);
    free(here);
    free(there);
    return passed ? passed : rc;
}

/* An absolute path, by way of the last directory. */
static int try_absolute(struct collector *collector, const struct text *from, const char *name)
{
    struct directory *last = &collector->directories[collector->directory_count - 1];
    char *there = join(last->there, PEN_ROOTED);
    int rc = there ? try_directory(collector, from, "", there, name + 1) : -PEN_ENOMEM;
    free(there);
    last->used |= rc > 0;
    return rc;
}

/* Looks where a compiler does: beside the file (quoted names), then in the directories in order. `every`: for all files
 * of that name. 1: found, 0: not, negative: error. */
static int find(struct collector *collector, const struct text *from, const char *name, bool quoted, bool every)
{
    if (name[0] == '/')
        return try_absolute(collector, from, name);
    int rc = 0, found = 0;
    if (quoted && from->there)
        rc = found = try_directory(collector, from, from->here, from->there, name);
    for (uint32_t i = 0; rc >= 0 && (every || !found) && i + 1 < collector->directory_count; i++) {
        struct directory *directory = &collector->directories[i];
        rc = try_directory(collector, from, directory->here, directory->there, name);
        directory->used |= rc > 0;
        found |= rc > 0;
    }
    return rc < 0 ? rc : found;
}

static int include_name(struct collector *collector, struct text *text, const char *bytes,
                        const struct pen_directive *directive)
{
    char *name = strndup(directive->name, directive->name_size);
    int rc =
        name ? find(collector, text, name, directive->kind == PEN_DIRECTIVE_QUOTED, directive->every) : -PEN_ENOMEM;
    if (rc > 0)
        rc = name[0] == '/' ? pen_rooted_add(&text->rooted, (size_t)(directive->name - bytes)) : 0;
    free(name);
    return rc;
}

/* ---- computed includes --------------------------------------------------------------------------------- */

static int add_macro(struct collector *collector, struct text *text, const char *bytes,
                     const struct pen_directive *directive)
{
    if (!collector->needs.macros)
        return 0;
    int rc = pen_macros_add(&collector->macros, directive->name, directive->name_size, directive->value,
                            directive->value_size);
    return rc ? rc : pen_rooted_add_value(&text->rooted, bytes, (size_t)(directive->value - bytes));
}

static void free_computed(struct computed *computed)
{
    free(computed->here);
    free(computed->there);
    free(computed->name);
}

/* Kept until all macros are known. */
static int add_computed(struct collector *collector, struct text *text, const char *bytes,
                        const struct pen_directive *directive)
{
    collector->more.macros = true;
    struct computed *grown = realloc(collector->computed, (collector->computed_count + 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    collector->computed = grown;
    struct computed computed = {.here = text->here ? strdup(text->here) : NULL,
                                .there = text->there ? strdup(text->there) : NULL,
                                .name = pen_scan_copy(directive->name, directive->name_size),
                                .nesting = text->nesting,
                                .every = directive->every};
    int rc = computed.name && !computed.here == !text->here && !computed.there == !text->there ? 0 : -PEN_ENOMEM;
    const char *end = directive->name + directive->name_size;
    for (const char *at = directive->name; !rc && at < end; at++)
        if (*at == '(' || *at == ',')
            rc = pen_rooted_add_value(&text->rooted, bytes, (size_t)(at + 1 - bytes));
    if (rc)
        free_computed(&computed);
    else
        collector->computed[collector->computed_count++] = computed;
    return rc;
}

struct offer {
    struct collector *collector;
    const struct computed *computed;
};

/* What a macro came to: "name", <name>, or the text that a # makes a string of. */
static int find_computed(void *context, const char *expanded)
{
    const struct offer *offer = context;
    const struct computed *computed = offer->computed;
    const struct text from = {.here = computed->here, .there = computed->there, .nesting = computed->nesting};
    expanded += strspn(expanded, " ");
    bool angled = *expanded == '<', quoted = *expanded == '"';
    const char *begin = expanded + (angled || quoted);
    size_t size = strcspn(begin, angled ? ">" : quoted ? "\"" : "");
    while (size && begin[size - 1] == ' ')
        size--;
    char *name = strndup(begin, size);
    int rc = name ? 0 : -PEN_ENOMEM;
    if (!rc && size)
        rc = find(offer->collector, &from, name, !angled, computed->every);
    free(name);
    return rc < 0 ? rc : 0;
}

/* Until nothing more is found: a file may define macros that other files include by. */
static int find_all_computed(struct collector *collector)
{
    int rc = 0;
    for (uint32_t known_files = UINT32_MAX; !rc && known_files != collector->header_count;) {
        known_files = collector->header_count;
        for (uint32_t i = 0; !rc && i < collector->computed_count; i++) {
            struct computed computed = collector->computed[i];
            struct offer offer = {collector, &computed};
            rc = pen_expand(&collector->macros, computed.name, find_computed, &offer);
        }
    }
    return rc;
}

static int scan_joined(struct collector *collector, struct text *text, const char *bytes)
{
    int rc = 0;
    for (const char *cursor = bytes; !rc;) {
        struct pen_directive directive = pen_scan_next(&cursor);
        switch (directive.kind) {
        case PEN_DIRECTIVE_END:
            return 0;
        case PEN_DIRECTIVE_DEFINE:
            rc = add_macro(collector, text, bytes, &directive);
            break;
        case PEN_DIRECTIVE_MACRO:
            rc = add_computed(collector, text, bytes, &directive);
            break;
        case PEN_DIRECTIVE_QUOTED:
        case PEN_DIRECTIVE_ANGLED:
            rc = include_name(collector, text, bytes, &directive);
            break;
        }
    }
    return rc;
}

static int scan(struct collector *collector, struct text *text, const char *bytes)
{
    if (text->nesting > NESTING)
        return 0;
    char *joined = pen_scan_join(bytes);
    int rc = joined ? scan_joined(collector, text, joined) : -PEN_ENOMEM;
    for (uint32_t i = 0; !rc && i < text->rooted.count; i++)
        text->rooted.at[i] = pen_scan_origin(bytes, text->rooted.at[i]);
    free(joined);
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

/* -D NAME=value, -DNAME(parameters)=value, -D NAME. */
static int option_macro(struct collector *collector, const char *options, uint32_t i)
{
    const struct pen_option *option = &collector->options[i];
    if (!collector->needs.macros || strncmp(option->value, "-D", 2) != 0)
        return 0;
    const char *name = option->value + 2;
    if (!*name && i + 1 < collector->option_count)
        name = (++option)->value;
    assert(name);
    const char *equals = strchr(name, '=');
    if (!equals)
        return pen_macros_add(&collector->macros, name, strlen(name), "1", 1);
    int rc = pen_macros_add(&collector->macros, name, (size_t)(equals - name), equals + 1, strlen(equals + 1));
    size_t at = (size_t)(option->raw - options) + strcspn(option->raw, "=") + 1;
    return rc ? rc : pen_rooted_add_value(&collector->rooted, options, at);
}

static int add_directory(struct collector *collector, const char *here)
{
    struct directory *directory = &collector->directories[collector->directory_count];
    char name[16 + 2 * CLIMB];
    int size = snprintf(name, 16, "%u", collector->directory_count);
    for (uint32_t i = 0; i < collector->needs.climb; i++, size += 2)
        memcpy(name + size, "/u", 3);
    directory->here = here ? strdup(here) : NULL;
    directory->there = strdup(name);
    collector->directory_count++;
    return directory->there && (directory->here || !here) ? 0 : -PEN_ENOMEM;
}

static int add_directories(struct collector *collector, const char *options)
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
            rc = option_macro(collector, options, i);
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
        pen_rooted_write(&collector->rooted, options, (size_t)(from - options),
                         (size_t)(collector->options[i].raw - options), out);
        write_directory(out, &collector->directories[index++]);
        from = last->raw + last->raw_size;
        from += *from == ' ';
    }
    pen_rooted_write(&collector->rooted, options, (size_t)(from - options), strlen(options), out);
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
    for (uint32_t i = 0; i < collector->computed_count; i++)
        free_computed(&collector->computed[i]);
    free(collector->headers);
    free(collector->directories);
    free(collector->computed);
    pen_macros_finish(&collector->macros);
    pen_rooted_finish(&collector->rooted);
    pen_options_free(collector->options, collector->option_count);
}

/* One attempt with what is known to be needed. 1: more is. */
static int attempt(struct collector *collector, const char *source, const char *options, struct pen_includes *out)
{
    struct text text = {0};
    struct pen_includes result = {0};
    int rc = pen_options_split(options, &collector->options, &collector->option_count);
    if (!rc)
        rc = add_directories(collector, options);
    if (!rc)
        rc = scan(collector, &text, source);
    if (!rc)
        rc = add_given(collector);
    if (!rc && collector->needs.macros)
        rc = find_all_computed(collector);
    if (!rc && (collector->more.climb > collector->needs.climb || collector->more.macros > collector->needs.macros)) {
        pen_rooted_finish(&text.rooted);
        return 1;
    }
    if (!rc)
        rc = write_options(collector, options, &result.options);
    if (!rc && text.rooted.count) {
        size_t size;
        result.source = pen_rooted_text(&text.rooted, source, strlen(source), &size);
        rc = result.source ? 0 : -PEN_ENOMEM;
    }
    pen_rooted_finish(&text.rooted);
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
    for (struct needs needs = {0}; rc == 1 && needs.climb <= CLIMB;) {
        struct collector collector = {
            .given = given, .given_count = given_count, .needs = needs, .more = needs, .error = error};
        rc = attempt(&collector, source, options, out);
        needs = collector.more;
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
