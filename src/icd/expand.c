/* icd/expand.c - what `#include MACRO(argument)` may come to; see includes.h.
 * C11 6.10.3: arguments are expanded before they take their places, but for # and ##; what a macro came to is looked
 * through again, together with what follows it; a macro is not replaced within what it came to. Which definition of a
 * macro holds is up to conditionals, so the text is expanded once for every choice of them: first with a definition for
 * every macro that has any, then with one macro left undefined, with two, and so on (Harvey and Ginsberg, Limited
 * discrepancy search, IJCAI 1995). */
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "icd/includes.h"

/* Macros within macros, and how many of them have a choice of definitions. */
#define NESTING 64
#define CHOICES 64
/* None of the texts' definitions holds. */
#define UNDEFINED PEN_MACRO_NONE

struct line {
    size_t size;
    char bytes[4096]; /* a longer one is no name of a file */
};

struct choice {
    const char *name; /* a macro's, see pen_macro */
    uint32_t index;   /* of the definition that holds, or UNDEFINED */
};

struct hidden { /* a macro, within what it came to */
    const struct pen_macro *macro;
    size_t tail; /* how much of the line follows that */
};

struct expansion {
    const struct pen_macros *macros;
    struct choice choices[CHOICES]; /* in the order in which they became necessary */
    unsigned choice_count, undefined_count;
    struct hidden hidden[NESTING];
    unsigned hidden_count;
    unsigned depth;        /* of arguments within arguments */
    unsigned tries, steps; /* left */
    bool crowded;          /* macros have had no room for their choices */
};

struct call {
    const struct pen_macro *macro;
    const char *parameters, *arguments; /* both behind their "("; NULL: the macro has none */
    const char *end;
};

/* ---- names --------------------------------------------------------------------------------------------- */

/* Of the quoted text that begins here. */
static size_t quoted_size(const char *at)
{
    size_t size = 1 + strcspn(at + 1, "\"");
    return size + (at[size] == '"');
}

/* A word that no definition replaces (`defined`: there are some, which may not hold). */
static bool may_be_compilers(const char *at, size_t size, bool defined)
{
    return !memchr(at, PEN_MARK_BEGIN, size) &&
           (pen_word_is_reserved(at) || (!defined && pen_word_is_capital(at, size)));
}

/* ---- which definition holds ---------------------------------------------------------------------------- */

/* The definition that is chosen for this name, the first one at first. out_defined: there are some. */
static const struct pen_macro *definition(struct expansion *expansion, const char *name, size_t size, bool *out_defined)
{
    uint32_t index = UNDEFINED;
    for (unsigned i = 0; i < expansion->choice_count; i++)
        if (pen_word_is(name, size, expansion->choices[i].name)) {
            *out_defined = true;
            index = expansion->choices[i].index;
            return index == UNDEFINED ? NULL : &expansion->macros->items[index];
        }
    index = pen_macros_find(expansion->macros, name, size);
    *out_defined = index != UNDEFINED;
    if (!*out_defined)
        return NULL;
    const struct pen_macro *macro = &expansion->macros->items[index];
    if (expansion->choice_count < CHOICES)
        expansion->choices[expansion->choice_count++] = (struct choice){macro->name, index};
    else
        expansion->crowded = true;
    return macro;
}

/* Another choice of definitions with at most so many macros left undefined; false when all have been made. */
static bool choose_next(struct expansion *expansion, unsigned undefined_most)
{
    for (; expansion->choice_count; expansion->choice_count--) {
        struct choice *last = &expansion->choices[expansion->choice_count - 1];
        if (last->index == UNDEFINED) {
            expansion->undefined_count--;
            continue;
        }
        uint32_t index = expansion->macros->items[last->index].next;
        if (index == UNDEFINED && expansion->undefined_count == undefined_most)
            continue;
        expansion->undefined_count += index == UNDEFINED;
        last->index = index;
        return true;
    }
    return false;
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

/* The argument of a call for a word of the macro's body; NULL when the word is no parameter. */
static const char *argument_of(const struct call *call, const char *word, size_t size, size_t *out_size)
{
    const char *parameters = call->parameters, *arguments = call->arguments;
    while (parameters) {
        parameters += strspn(parameters, " ");
        arguments += strspn(arguments, " ");
        if (!*parameters || *parameters == ')')
            return NULL;
        const char *name = *parameters == '.' ? "__VA_ARGS__" : parameters;
        bool rest = strncmp(parameters + pen_word_size(parameters), "...", 3) == 0;
        const char *end = argument_end(arguments, rest);
        if (size && pen_word_is(word, size, name)) {
            while (end > arguments && end[-1] == ' ')
                end--;
            *out_size = (size_t)(end - arguments);
            return arguments;
        }
        parameters = argument_end(parameters, false);
        parameters += *parameters == ',';
        arguments = end + (*end == ',');
    }
    return NULL;
}

/* False: the word at `at` does not call this macro. */
static bool find_call(const char *at, const struct pen_macro *macro, struct call *out_call)
{
    size_t size = pen_word_size(at);
    struct call call = {.macro = macro, .end = at + size};
    if (macro->name[size] == '(') {
        call.end += strspn(call.end, " ");
        if (*call.end != '(')
            return false;
        call.parameters = macro->name + size + 1;
        call.arguments = call.end + 1;
        call.end = argument_end(call.arguments, true);
        call.end += *call.end == ')';
    }
    *out_call = call;
    return true;
}

/* ---- replacement --------------------------------------------------------------------------------------- */

static bool expand(struct expansion *expansion, struct line *line);

static bool put(struct line *line, const char *bytes, size_t size)
{
    if (line->size + size >= sizeof line->bytes)
        return false;
    memcpy(line->bytes + line->size, bytes, size);
    line->size += size;
    line->bytes[line->size] = 0;
    return true;
}

static struct line *line_create(const char *bytes, size_t size)
{
    struct line *line = malloc(sizeof *line);
    if (!line)
        return NULL;
    line->size = 0;
    line->bytes[0] = 0;
    if (put(line, bytes, size))
        return line;
    free(line);
    return NULL;
}

static bool put_expanded(struct expansion *expansion, struct line *line, const char *argument, size_t size)
{
    struct line *expanded = expansion->depth < NESTING ? line_create(argument, size) : NULL;
    expansion->depth++;
    bool fits = expanded && expand(expansion, expanded) && put(line, expanded->bytes, expanded->size);
    expansion->depth--;
    free(expanded);
    return fits;
}

/* Spaces in a row as one. */
static bool put_spelling(struct line *line, const char *bytes, size_t size)
{
    bool fits = true;
    for (size_t i = 0; fits && i < size; i++)
        if (bytes[i] != ' ' || !i || bytes[i - 1] != ' ')
            fits = put(line, bytes + i, 1);
    return fits;
}

/* #parameter; *at is moved behind it. */
static bool put_string(struct line *line, const struct call *call, const char **at)
{
    const char *word = *at + 1 + strspn(*at + 1, " ");
    size_t size = pen_word_size(word), argument_size = 0;
    const char *argument = argument_of(call, word, size, &argument_size);
    *at = argument ? word + size : word;
    return !argument || (put(line, "\"", 1) && put_spelling(line, argument, argument_size) && put(line, "\"", 1));
}

/* Past a ##, which takes the spaces around it along. */
static const char *paste(struct line *line, const char *at)
{
    while (line->size && line->bytes[line->size - 1] == ' ')
        line->bytes[--line->size] = 0;
    return at + 2 + strspn(at + 2, " ");
}

/* What the call is replaced by. */
static bool put_body(struct expansion *expansion, struct line *line, const struct call *call)
{
    bool fits = true, pasted = false;
    for (const char *at = call->macro->body; fits && *at;) {
        if (at[0] == '#' && at[1] == '#') {
            at = paste(line, at);
            pasted = true;
            continue;
        }
        if (at[0] == '#' && call->parameters) {
            fits = put_string(line, call, &at);
        } else {
            size_t size = *at == '"' ? quoted_size(at) : pen_word_size(at), argument_size;
            const char *argument = argument_of(call, at, size, &argument_size);
            const char *after = at + (size ? size : 1);
            if (!argument)
                fits = put(line, at, (size_t)(after - at));
            else if (pasted || strncmp(after + strspn(after, " "), "##", 2) == 0)
                fits = put(line, argument, argument_size);
            else
                fits = put_expanded(expansion, line, argument, argument_size);
            at = after;
        }
        pasted = false;
    }
    return fits;
}

/* Spaces at the ends of what a macro came to are nobody's. */
static void trim(struct line *line, size_t from)
{
    size_t spaces = strspn(line->bytes + from, " ");
    line->size -= spaces;
    memmove(line->bytes + from, line->bytes + from + spaces, line->size - from + 1);
    while (line->size > from && line->bytes[line->size - 1] == ' ')
        line->bytes[--line->size] = 0;
}

/* Puts `size` bytes of the line, and what follows `end` in it, around what the call is replaced by. */
static bool replace(struct expansion *expansion, struct line *line, size_t size, const struct call *call)
{
    struct line *replaced = expansion->steps ? line_create(line->bytes, size) : NULL;
    bool fits = replaced != NULL;
    expansion->steps -= fits;
    fits = fits && put_body(expansion, replaced, call);
    if (fits)
        trim(replaced, size);
    fits = fits && put(replaced, call->end, strlen(call->end));
    if (fits)
        *line = *replaced;
    free(replaced);
    return fits;
}

/* The word at index `at` may be a macro of the device's compiler. */
static bool mark(struct line *line, size_t at, size_t size)
{
    if (line->size + 2 >= sizeof line->bytes)
        return false;
    char *word = line->bytes + at;
    memmove(word + size + 2, word + size, line->size - at - size + 1);
    memmove(word + 1, word, size);
    word[0] = PEN_MARK_BEGIN;
    word[size + 1] = PEN_MARK_END;
    line->size += 2;
    return true;
}

static bool is_hidden(const struct expansion *expansion, const struct pen_macro *macro)
{
    for (unsigned i = 0; i < expansion->hidden_count; i++)
        if (expansion->hidden[i].macro == macro)
            return true;
    return false;
}

/* Replaces the word at index `at` by what it comes to; *out_size of the line is done then. */
static bool expand_word(struct expansion *expansion, struct line *line, size_t at, size_t *out_size)
{
    const char *word = line->bytes + at;
    size_t size = pen_word_size(word);
    bool defined;
    struct call call;
    const struct pen_macro *macro = definition(expansion, word, size, &defined);
    *out_size = size;
    if (macro && !is_hidden(expansion, macro) && find_call(word, macro, &call)) {
        struct hidden hidden = {macro, strlen(call.end)};
        if (expansion->hidden_count == NESTING || !replace(expansion, line, at, &call))
            return false;
        expansion->hidden[expansion->hidden_count++] = hidden;
        *out_size = 0;
    } else if (!macro && may_be_compilers(word, size, defined)) {
        *out_size = size + 2;
        return mark(line, at, size);
    }
    return true;
}

/* Expands the line in place, by the definitions that are chosen. False: it does not fit, or does not end. */
static bool expand(struct expansion *expansion, struct line *line)
{
    bool fits = true;
    unsigned hidden_before = expansion->hidden_count;
    for (size_t at = 0, size; fits && line->bytes[at]; at += size) {
        while (expansion->hidden_count > hidden_before &&
               expansion->hidden[expansion->hidden_count - 1].tail >= line->size - at)
            expansion->hidden_count--;
        const char *word = line->bytes + at;
        size = *word == '"' ? quoted_size(word) : pen_word_size(word);
        if (!size)
            size = 1;
        else if (*word != '"' && !pen_word_asks(word, size))
            fits = expand_word(expansion, line, at, &size);
    }
    expansion->hidden_count = hidden_before;
    return fits;
}

/* ---- ways to choose ------------------------------------------------------------------------------------ */

/* Offers what the text comes to with so many macros left undefined. out_ended: there was room for all ways to choose
 * them. */
static int offer_ways(struct expansion *expansion, const char *text, unsigned undefined, pen_expand_offer offer,
                      void *context, bool *out_ended)
{
    int rc = 0;
    bool more = true;
    while (!rc && more && expansion->tries && expansion->steps) {
        struct line *line = line_create(text, strlen(text));
        bool fits = line && expand(expansion, line);
        if (expansion->undefined_count == undefined) {
            expansion->tries--;
            rc = fits ? offer(context, line->bytes) : 0;
        }
        free(line);
        more = choose_next(expansion, undefined);
    }
    *out_ended = !more && expansion->steps;
    return rc;
}

int pen_expand(const struct pen_macros *macros, const char *text, pen_expand_offer offer, void *context,
               bool *out_whole)
{
    struct expansion expansion = {.macros = macros, .tries = PEN_EXPAND_TRIES, .steps = PEN_EXPAND_STEPS};
    int rc = 0;
    bool ended = true;
    unsigned undefined = 0, tries_before = UINT_MAX;
    for (; !rc && ended && expansion.tries != tries_before; undefined++) {
        tries_before = expansion.tries;
        rc = offer_ways(&expansion, text, undefined, offer, context, &ended);
    }
    if (!rc)
        *out_whole = !expansion.crowded && (ended || undefined > 2);
    return rc;
}
