/* icd/scan.c - finds #include, __has_include, #define and #if in a program's text; see includes.h.
 * Translation phases 1 to 4 of C, as far as they matter: ??= and ??/ are # and a backslash, a backslash at a line's end
 * joins it with the next, a comment is a space, a directive is a # that begins a line. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "icd/includes.h"

/* ---- joined lines -------------------------------------------------------------------------------------- */

static bool is_trigraph(const char *at)
{
    return at[0] == '?' && at[1] == '?' && (at[2] == '=' || at[2] == '/');
}

/* The character that is written at `at`; out_size: in how many. */
static char character(const char *at, size_t *out_size)
{
    *out_size = is_trigraph(at) ? 3 : *at != 0;
    if (is_trigraph(at))
        return at[2] == '=' ? '#' : '\\';
    return *at;
}

/* Past any backslash-newlines. */
static const char *skip_joins(const char *at)
{
    for (size_t size; character(at, &size) == '\\';) {
        const char *after = at + size;
        if (after[0] == '\r' && after[1] == '\n')
            after++;
        if (*after != '\n')
            break;
        at = after + 1;
    }
    return at;
}

char *pen_scan_join(const char *text)
{
    char *joined = malloc(strlen(text) + 1), *to = joined;
    size_t size;
    for (const char *at = skip_joins(text); joined && *at; at = skip_joins(at + size))
        *to++ = character(at, &size);
    if (joined)
        *to = 0;
    return joined;
}

size_t pen_scan_origin(const char *text, size_t index)
{
    const char *at = skip_joins(text);
    for (size_t size; index; index--) {
        character(at, &size);
        at = skip_joins(at + size);
    }
    return (size_t)(at - text);
}

/* ---- words --------------------------------------------------------------------------------------------- */

static const char *next(const char *at)
{
    return at + (*at != 0);
}

static const char *skip_line(const char *at)
{
    while (*at && *at != '\n')
        at = next(at);
    return at;
}

/* Past the comment that begins here, or NULL when none does. A line comment's newline stays. */
static const char *skip_comment(const char *at)
{
    if (at[0] != '/')
        return NULL;
    const char *second = next(at);
    if (*second == '/')
        return skip_line(second);
    if (*second != '*')
        return NULL;
    at = next(second);
    while (*at && !(at[0] == '*' && *next(at) == '/'))
        at = next(at);
    return *at ? next(next(at)) : at;
}

/* Past spaces and comments within a line. */
static const char *skip_space(const char *at)
{
    for (;;) {
        const char *after = skip_comment(at);
        if (after)
            at = after;
        else if (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\f' || *at == '\v')
            at = next(at);
        else
            return at;
    }
}

/* Past a string or character constant; one that is not closed ends with its line. */
static const char *skip_quoted(const char *at)
{
    char quote = *at;
    for (at = next(at); *at && *at != '\n' && *at != quote; at = next(at))
        if (*at == '\\' && *next(at) != '\n' && *next(at))
            at = next(at);
    return *at == quote ? next(at) : at;
}

static bool word_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static size_t word_size(const char *at)
{
    size_t size = 0;
    while (word_character(at[size]))
        size++;
    return size;
}

static bool word_is(const char *at, size_t size, const char *word)
{
    return size == strlen(word) && memcmp(at, word, size) == 0;
}

/* "name" or <name> at `at`; the size without the quotes, or 0. */
static size_t header_name_size(const char *at)
{
    char close = 0;
    if (*at == '"')
        close = '"';
    else if (*at == '<')
        close = '>';
    size_t size = 0;
    if (close)
        while (at[1 + size] && at[1 + size] != '\n' && at[1 + size] != close)
            size++;
    return close && at[1 + size] == close ? size : 0;
}

/* ---- directives ---------------------------------------------------------------------------------------- */

/* Where the line ends that `at` is in: comments and quotes are passed. */
static const char *line_end(const char *at)
{
    for (at = skip_space(at); *at && *at != '\n'; at = skip_space(at))
        at = *at == '"' || *at == '\'' ? skip_quoted(at) : next(at);
    return at;
}

/* Past the parenthesis that closes what `at` is in, or where the line ends. */
static const char *skip_to_closing(const char *at)
{
    unsigned depth = 1;
    for (at = skip_space(at); *at && *at != '\n'; at = skip_space(at)) {
        depth += *at == '(';
        depth -= *at == ')';
        if (!depth)
            return at;
        at = *at == '"' || *at == '\'' ? skip_quoted(at) : next(at);
    }
    return at;
}

/* `end`: where what is to be expanded ends, if it is no name in quotes. */
static struct pen_directive include_directive(const char *at, const char *end, bool every)
{
    struct pen_directive directive = {.kind = PEN_DIRECTIVE_END, .every = every};
    size_t size = header_name_size(at);
    if (size) {
        directive.kind = *at == '"' ? PEN_DIRECTIVE_QUOTED : PEN_DIRECTIVE_ANGLED;
        directive.name = at + 1;
        directive.name_size = size;
    } else if (word_size(at)) {
        directive.kind = PEN_DIRECTIVE_MACRO;
        directive.name = at;
        directive.name_size = (size_t)(end - at);
    }
    return directive;
}

static struct pen_directive define_directive(const char *at)
{
    struct pen_directive directive = {.kind = PEN_DIRECTIVE_END, .name = at};
    const char *end = line_end(at), *after = at + word_size(at);
    if (after == at)
        return directive;
    if (*after == '(')
        after = skip_to_closing(after + 1);
    after += *after == ')';
    directive.kind = PEN_DIRECTIVE_DEFINE;
    directive.name_size = (size_t)(after - at);
    directive.value = skip_space(after);
    directive.value_size = (size_t)(end - directive.value);
    return directive;
}

static struct pen_directive condition_directive(const char *at)
{
    size_t size = (size_t)(line_end(at) - at);
    return (struct pen_directive){
        .kind = size ? PEN_DIRECTIVE_CONDITION : PEN_DIRECTIVE_END, .name = at, .name_size = size};
}

/* The directive whose # was just passed; END when it is none that matters. */
static struct pen_directive parse_directive(const char *at)
{
    at = skip_space(at);
    size_t size = word_size(at);
    const char *rest = skip_space(at + size);
    if (word_is(at, size, "include") || word_is(at, size, "include_next") || word_is(at, size, "import"))
        return include_directive(rest, line_end(rest), word_is(at, size, "include_next"));
    if (word_is(at, size, "define"))
        return define_directive(rest);
    if (word_is(at, size, "if") || word_is(at, size, "elif"))
        return condition_directive(rest);
    return (struct pen_directive){.kind = PEN_DIRECTIVE_END};
}

/* `__has_include("name")` asks for what an #include would. */
static struct pen_directive parse_question(const char *at, size_t size)
{
    bool every = word_is(at, size, "__has_include_next");
    const char *rest = skip_space(at + size);
    if (*rest != '(' || !(every || word_is(at, size, "__has_include")))
        return (struct pen_directive){.kind = PEN_DIRECTIVE_END};
    rest = skip_space(next(rest));
    return include_directive(rest, skip_to_closing(rest), every);
}

/* Past the # (or its digraph) that begins here, or NULL when none does. */
static const char *skip_hash(const char *at)
{
    if (*at == '#')
        return next(at);
    return *at == '%' && *next(at) == ':' ? next(next(at)) : NULL;
}

/* Where to read on: a comment may begin behind it. What a macro or a condition asks for is read as text, in which no #
 * begins a directive. */
static const char *directive_end(const struct pen_directive *directive)
{
    const char *at = directive->name + directive->name_size;
    switch (directive->kind) {
    case PEN_DIRECTIVE_DEFINE:
    case PEN_DIRECTIVE_CONDITION:
        at = directive->kind == PEN_DIRECTIVE_DEFINE ? directive->value : directive->name;
        for (const char *after; (after = skip_hash(at));)
            at = skip_space(after);
        return at;
    case PEN_DIRECTIVE_QUOTED:
    case PEN_DIRECTIVE_ANGLED:
        return next(at);
    case PEN_DIRECTIVE_MACRO:
    case PEN_DIRECTIVE_END:
        break;
    }
    return at;
}

struct pen_directive pen_scan_next(const char **cursor)
{
    const char *at = skip_space(*cursor), *hash;
    bool line_begins = true; /* or the cursor rests behind a directive, where no # can follow */
    while (*at) {
        struct pen_directive directive = {.kind = PEN_DIRECTIVE_END};
        size_t size = word_size(at);
        if (line_begins && (hash = skip_hash(at)))
            directive = parse_directive(hash);
        else if (*at == '_')
            directive = parse_question(at, size);
        if (directive.kind != PEN_DIRECTIVE_END) {
            *cursor = directive_end(&directive);
            return directive;
        }
        /* Read on: a comment or string may begin in this line. */
        line_begins = *at == '\n';
        if (size)
            at += size;
        else if (*at == '"' || *at == '\'')
            at = skip_quoted(at);
        else
            at = next(at);
        at = skip_space(at);
    }
    *cursor = at;
    return (struct pen_directive){.kind = PEN_DIRECTIVE_END};
}

char *pen_scan_copy(const char *at, size_t size)
{
    char *copy = malloc(size + 1), *to = copy;
    for (const char *end = at + size; copy && at < end;) {
        const char *after = skip_space(at);
        if (after > at) {
            *to++ = ' ';
            at = after;
        } else {
            after = *at == '"' || *at == '\'' ? skip_quoted(at) : next(at);
            after = after < end ? after : end;
            to = mempcpy(to, at, (size_t)(after - at));
            at = after;
        }
    }
    if (copy)
        *to = 0;
    return copy;
}
