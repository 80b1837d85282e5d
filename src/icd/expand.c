/* icd/expand.c - what `#include MACRO(argument)` may come to; see includes.h. Not all that a preprocessor does, but no
 * less: each definition of a macro is tried, since which one holds is up to conditionals, and each stage is offered,
 * since what a # makes a string of is not expanded further. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "icd/includes.h"

/* Macros within macros, and how many ways are tried for one #include. */
#define NESTING 64
#define TRIES   1000

/* One stage. */
struct line {
    size_t size;
    char bytes[4096]; /* a longer one is no name of a file */
};

struct expansion {
    const struct pen_macros *macros;
    pen_expand_offer offer;
    void *context;
    unsigned tries;
};

static size_t word_size(const char *at)
{
    size_t size = 0;
    while ((at[size] >= 'a' && at[size] <= 'z') || (at[size] >= 'A' && at[size] <= 'Z') || at[size] == '_' ||
           (at[size] >= '0' && at[size] <= '9'))
        size++;
    return size;
}

/* Of the quoted text that begins here. */
static size_t quoted_size(const char *at)
{
    size_t size = 1 + strcspn(at + 1, "\"");
    return size + (at[size] == '"');
}

/* ---- macros -------------------------------------------------------------------------------------------- */

int pen_macros_add(struct pen_macros *macros, const char *name, size_t name_size, const char *body, size_t body_size)
{
    struct pen_macro *grown = realloc(macros->items, (macros->count + 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    macros->items = grown;
    struct pen_macro macro = {pen_scan_copy(name, name_size), pen_scan_copy(body, body_size)};
    if (!macro.name || !macro.body) {
        free(macro.name);
        free(macro.body);
        return -PEN_ENOMEM;
    }
    macros->items[macros->count++] = macro;
    return 0;
}

void pen_macros_finish(struct pen_macros *macros)
{
    for (uint32_t i = 0; i < macros->count; i++) {
        free(macros->items[i].name);
        free(macros->items[i].body);
    }
    free(macros->items);
    *macros = (struct pen_macros){0};
}

/* ---- calls --------------------------------------------------------------------------------------------- */

/* The end of the argument that begins at `at`: its comma or closing parenthesis, or the text's end. */
static const char *argument_end(const char *at, bool rest)
{
    char quote = 0;
    for (unsigned depth = 0; *at; at++)
        if (quote)
            quote = *at == quote ? 0 : quote;
        else if (*at == '"' || *at == '\'')
            quote = *at;
        else if (!depth && (*at == ')' || (*at == ',' && !rest)))
            break;
        else
            depth += (*at == '(') - (*at == ')');
    return at;
}

/* The argument of a call, whose parameters and arguments both begin behind their "(", for a word of the macro's body;
 * NULL when the word is no parameter. */
static const char *argument_of(const char *parameters, const char *arguments, const char *word, size_t size,
                               size_t *out_size)
{
    for (;;) {
        parameters += strspn(parameters, " ");
        arguments += strspn(arguments, " ");
        if (!*parameters || *parameters == ')')
            return NULL;
        const char *name = *parameters == '.' ? "__VA_ARGS__" : parameters;
        bool rest = strncmp(parameters + word_size(parameters), "...", 3) == 0;
        const char *end = argument_end(arguments, rest);
        if (word_size(name) == size && memcmp(name, word, size) == 0) {
            while (end > arguments && end[-1] == ' ')
                end--;
            *out_size = (size_t)(end - arguments);
            return arguments;
        }
        parameters = argument_end(parameters, false);
        parameters += *parameters == ',';
        arguments = end + (*end == ',');
    }
}

static void put(struct line *line, const char *bytes, size_t size)
{
    if (line->size + size < sizeof line->bytes)
        memcpy(line->bytes + line->size, bytes, size);
    line->size += size; /* too long: see `replaced` */
}

/* Past the operators # and ##, which leave nothing but what they stand between. */
static const char *skip_operator(struct line *line, const char *at)
{
    if (at[1] == '#')
        while (line->size && line->size < sizeof line->bytes && line->bytes[line->size - 1] == ' ')
            line->size--;
    at += strspn(at, "#");
    return at + strspn(at, " ");
}

/* The macro's body with a call's arguments; both NULL without parameters. */
static void put_body(struct line *line, const char *body, const char *parameters, const char *arguments)
{
    for (const char *at = body; *at;) {
        size_t size = *at == '"' ? quoted_size(at) : word_size(at), argument_size;
        const char *argument = parameters ? argument_of(parameters, arguments, at, size, &argument_size) : NULL;
        if (*at == '#' && (parameters || at[1] == '#')) {
            at = skip_operator(line, at);
            continue;
        }
        size = size ? size : 1;
        put(line, argument ? argument : at, argument ? argument_size : size);
        at += size;
    }
}

/* The text with the macro that is called at `at` replaced; malloc'ed. NULL: it is not called there. */
static struct line *replaced(const char *text, const char *at, const struct pen_macro *macro)
{
    size_t size = word_size(at);
    const char *after = at + size, *parameters = NULL, *arguments = NULL;
    if (word_size(macro->name) != size || memcmp(macro->name, at, size) != 0)
        return NULL;
    if (macro->name[size] == '(') {
        after += strspn(after, " ");
        if (*after != '(')
            return NULL;
        parameters = macro->name + size + 1;
        arguments = after + 1;
        after = argument_end(arguments, true);
        after += *after == ')';
    }
    struct line *line = malloc(sizeof *line);
    if (!line)
        return NULL;
    line->size = 0;
    put(line, text, (size_t)(at - text));
    put_body(line, macro->body, parameters, arguments);
    put(line, after, strlen(after));
    if (line->size >= sizeof line->bytes) {
        free(line);
        return NULL;
    }
    line->bytes[line->size] = 0;
    return line;
}

/* ---- expansion ----------------------------------------------------------------------------------------- */

static int expand(struct expansion *expansion, const char *text, size_t from, unsigned depth);

/* Each definition of the macro that is called at `at`. */
static int expand_call(struct expansion *expansion, const char *text, const char *at, unsigned depth, bool *out_called)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < expansion->macros->count && expansion->tries; i++) {
        struct line *line = replaced(text, at, &expansion->macros->items[i]);
        if (!line)
            continue;
        *out_called = true;
        expansion->tries--;
        rc = expand(expansion, line->bytes, (size_t)(at - text), depth + 1);
        free(line);
    }
    return rc;
}

static int expand(struct expansion *expansion, const char *text, size_t from, unsigned depth)
{
    bool called = false;
    int rc = expansion->offer(expansion->context, text);
    for (const char *at = text + from; !rc && *at && !called && depth < NESTING;) {
        size_t size = word_size(at);
        if (size)
            rc = expand_call(expansion, text, at, depth, &called);
        else if (*at == '"')
            size = quoted_size(at);
        at += size ? size : 1;
    }
    return rc;
}

int pen_expand(const struct pen_macros *macros, const char *text, pen_expand_offer offer, void *context)
{
    struct expansion expansion = {.macros = macros, .offer = offer, .context = context, .tries = TRIES};
    return expand(&expansion, text, 0, 0);
}
