/* worker/source.c - see source.h. The text becomes tokens; of macros is known what they could hide; then each place
 * where a parameter is named is judged by its neighbours. */
#include "worker/source.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Of one text and its options. */
#define MACROS_MAX 512u
/* Macros that name macros that name ... */
#define ROUNDS_MAX 16u
/* Open brackets within each other. */
#define NESTING_MAX 256u

enum kind {
    WORD,
    NUMBER,
    MARK,
    DIRECTIVE /* of a conditional or a macro; pragmas are none */
};

struct token {
    enum kind kind;
    uint32_t at, size; /* in the text */
    uint32_t pair;     /* of a bracket: the token of the other one */
    int deeper;        /* a directive: into a conditional (1), out of one (-1) */
    bool other;        /* a directive: into the next branch of one */
    bool given;        /* to what may be a macro, which does anything with it */
};

struct macro {
    uint32_t name;     /* a token */
    uint32_t from, to; /* its parameters and body */
    bool hides;        /* what it stands for may do something to what is beside it */
};

struct pen_source {
    char *text; /* without comments and joined lines; the options' macros behind it, as directives */
    struct token *tokens;
    uint32_t count, capacity;
    struct macro macros[MACROS_MAX];
    uint32_t macro_count;
    struct token *lines; /* of directives, which are not among `tokens` */
    uint32_t line_count, line_capacity;
};

/* ---- text ------------------------------------------------------------------------------------------------------ */

/* The end of a literal that begins here; NULL: it has none, or a trigraph may hide it. */
static const char *end_of_literal(const char *text)
{
    const char *at = text + 1;
    for (; *at && *at != '\n' && *at != *text; at++)
        if (at[0] == '?' && at[1] == '?')
            return NULL;
        else if (*at == '\\' && at[1])
            at++;
    return *at == *text ? at + 1 : NULL;
}

/* It ends lines, and joins them, only by what join_lines knows, also in comments. */
static bool has_plain_lines(const char *text)
{
    for (const char *at = text; (at = strpbrk(at, "\r\\?")); at++) {
        size_t blanks = *at == '\\' ? strspn(at + 1, " \t\f\v") : 0;
        if ((*at == '\r' && at[1] != '\n') || !strncmp(at, "?\?/", 3) || (blanks && strchr("\r\n", at[1 + blanks])))
            return false;
    }
    return true;
}

/* A line that goes on in the next one is one line. */
static void join_lines(char *text)
{
    char *to = text;
    for (const char *from = text; *from;)
        if (from[0] == '\\' && (from[1] == '\n' || (from[1] == '\r' && from[2] == '\n')))
            from += from[1] == '\n' ? 2 : 3;
        else
            *to++ = *from++;
    *to = 0;
}

static const char *end_of_comment(const char *text)
{
    if (text[1] == '/')
        return text + strcspn(text, "\n");
    const char *end = strstr(text + 2, "*/");
    return end ? end + 2 : NULL;
}

/* Comments become a space, literals a pair of quotes. False: it has what is not understood. */
static bool strip(char *text)
{
    char *to = text;
    for (const char *from = text; *from;) {
        const char *end = from + 1;
        if (from[0] == '/' && (from[1] == '/' || from[1] == '*')) {
            if (!(end = end_of_comment(from)))
                return false;
            *to++ = ' ';
        } else if (*from == '"' || *from == '\'') {
            if (!(end = end_of_literal(from)))
                return false;
            *to++ = '"';
            *to++ = '"';
        } else if (*from == '\\' || (from[0] == '?' && from[1] == '?') || (from[0] == '%' && from[1] == ':') ||
                   (unsigned char)*from >= 0x80) {
            return false;
        } else {
            *to++ = *from;
        }
        from = end;
    }
    *to = 0;
    return true;
}

/* ---- tokens ---------------------------------------------------------------------------------------------------- */

static bool is_word_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

/* Bytes of the token that begins here. */
static uint32_t size_of_token(const char *text)
{
    static const char *const marks[] = {"<<=", ">>=", "...", "++", "--", "->", "<<", ">>", "<=", ">=", "==", "!=",
                                        "&&",  "||",  "+=",  "-=", "*=", "/=", "%=", "&=", "|=", "^=", "##", "\"\""};
    uint32_t size = 1;
    if (is_word_byte(*text) || (*text == '.' && isdigit((unsigned char)text[1]))) {
        bool number = !isalpha((unsigned char)*text) && *text != '_' && *text != '$';
        while (is_word_byte(text[size]) || (number && text[size] == '.') ||
               (number && strchr("+-", text[size]) && text[size] && strchr("eEpP", text[size - 1])))
            size++;
        return size;
    }
    for (size_t i = 0; i < sizeof marks / sizeof *marks && ispunct((unsigned char)text[1]); i++)
        if (!strncmp(text, marks[i], strlen(marks[i])))
            return (uint32_t)strlen(marks[i]);
    return size;
}

static bool add_token(struct token **tokens, uint32_t *count, uint32_t *capacity, struct token token)
{
    if (*count == *capacity) {
        uint32_t bigger = *capacity ? 2 * *capacity : 256;
        struct token *more = realloc(*tokens, bigger * sizeof *more);
        if (!more)
            return false;
        *tokens = more;
        *capacity = bigger;
    }
    (*tokens)[(*count)++] = token;
    return true;
}

static struct token token_at(const struct pen_source *source, const char *at)
{
    struct token token = {.at = (uint32_t)(at - source->text), .size = size_of_token(at)};
    bool digit = isdigit((unsigned char)*at) || (*at == '.' && token.size > 1 && isdigit((unsigned char)at[1]));
    token.kind = digit ? NUMBER : is_word_byte(*at) ? WORD : MARK;
    return token;
}

static bool is(const struct pen_source *source, const struct token *token, const char *text)
{
    return token->size == strlen(text) && !memcmp(source->text + token->at, text, token->size);
}

static bool is_same(const struct pen_source *source, const struct token *a, const struct token *b)
{
    return a->size == b->size && !memcmp(source->text + a->at, source->text + b->at, a->size);
}

static bool is_one_of(const struct pen_source *source, const struct token *token, const char *const *texts)
{
    for (; *texts; texts++)
        if (is(source, token, *texts))
            return true;
    return false;
}

/* ---- directives ------------------------------------------------------------------------------------------------ */

/* False: it may make anything of the text. */
static bool note_directive(struct pen_source *source, uint32_t first)
{
    static const char *const conditionals[] = {"if",    "ifdef", "ifndef", "elif", "else",
                                               "endif", "undef", "error",  NULL};
    if (first == source->line_count)
        return true;
    const struct token *name = &source->lines[first];
    if (is(source, name, "pragma"))
        return true;
    if (!is(source, name, "define"))
        return is_one_of(source, name, conditionals);
    if (first + 1 == source->line_count || source->macro_count == MACROS_MAX)
        return false;
    source->macros[source->macro_count++] =
        (struct macro){.name = first + 1, .from = first + 2, .to = source->line_count};
    return true;
}

/* How much deeper in conditionals it leads. */
static int depth_of(const struct pen_source *source, uint32_t first)
{
    static const char *const begins[] = {"if", "ifdef", "ifndef", NULL};
    const struct token *name = &source->lines[first];
    return is_one_of(source, name, begins) ? 1 : is(source, name, "endif") ? -1 : 0;
}

/* From behind its # to the end of the line. NULL: give up. */
static const char *read_directive(struct pen_source *source, const char *at)
{
    static const char *const others[] = {"elif", "else", NULL};
    uint32_t first = source->line_count;
    while (*at && *at != '\n')
        if (isspace((unsigned char)*at)) {
            at++;
        } else {
            struct token token = token_at(source, at);
            if (!add_token(&source->lines, &source->line_count, &source->line_capacity, token))
                return NULL;
            at += token.size;
        }
    bool any = first < source->line_count, pragma = any && is(source, &source->lines[first], "pragma");
    struct token mark = {.kind = DIRECTIVE, .at = (uint32_t)(at - source->text)};
    mark.deeper = any ? depth_of(source, first) : 0;
    mark.other = any && is_one_of(source, &source->lines[first], others);
    if (!note_directive(source, first) ||
        (!pragma && !add_token(&source->tokens, &source->count, &source->capacity, mark)))
        return NULL;
    return at;
}

static bool read_tokens(struct pen_source *source)
{
    bool fresh_line = true;
    for (const char *at = source->text; *at;) {
        struct token token;
        if (isspace((unsigned char)*at)) {
            fresh_line = fresh_line || *at == '\n';
            at++;
            continue;
        }
        if (*at == '#') {
            if (!fresh_line || !(at = read_directive(source, at + 1)))
                return false;
            continue;
        }
        fresh_line = false;
        token = token_at(source, at);
        if (!add_token(&source->tokens, &source->count, &source->capacity, token))
            return false;
        at += token.size;
    }
    return true;
}

/* Of the conditionals that are open, the outermost first: which branch of all the text's. */
struct branches {
    uint32_t stack[NESTING_MAX], depth, count;
};

/* False: a conditional ends that has not begun, or they are too many. */
static bool follow(struct branches *branches, const struct token *token)
{
    if (token->kind != DIRECTIVE || (!token->deeper && !token->other))
        return true;
    if (token->deeper > 0 ? branches->depth + 1 == NESTING_MAX : !branches->depth)
        return false;
    if (token->deeper > 0)
        branches->depth++;
    if (token->deeper < 0)
        branches->depth--;
    else
        branches->stack[branches->depth] = ++branches->count;
    return true;
}

/* Every bracket has the other one, in the same branch of the same conditional: they are pairs whatever is left out. */
static bool match_brackets(const struct pen_source *source, struct token *tokens, uint32_t count)
{
    static const char open[] = "([{", close[] = ")]}";
    struct branches branches = {.depth = 0};
    uint32_t stack[NESTING_MAX], branch[NESTING_MAX], depth = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!follow(&branches, &tokens[i]))
            return false;
        uint32_t here = branches.stack[branches.depth];
        char c = tokens[i].kind == MARK && tokens[i].size == 1 ? source->text[tokens[i].at] : ' ';
        const char *opens = strchr(open, c), *closes = strchr(close, c);
        if (opens && depth == NESTING_MAX)
            return false;
        if (opens) {
            branch[depth] = here;
            stack[depth++] = i;
        }
        if (!closes)
            continue;
        if (!depth || source->text[tokens[stack[depth - 1]].at] != open[closes - close] || branch[depth - 1] != here)
            return false;
        tokens[i].pair = stack[--depth];
        tokens[tokens[i].pair].pair = i;
    }
    return !depth;
}

/* ---- macros ---------------------------------------------------------------------------------------------------- */

static struct macro *find_macro(struct pen_source *source, const struct token *name)
{
    for (uint32_t i = 0; i < source->macro_count; i++)
        if (is_same(source, &source->lines[source->macros[i].name], name))
            return &source->macros[i];
    return NULL;
}

static bool is_macro(struct pen_source *source, const struct token *token)
{
    return token->kind == WORD && find_macro(source, token);
}

/* All of one name are alike. True if that is new. */
static bool set_hides(struct pen_source *source, const struct macro *macro)
{
    bool changed = false;
    for (uint32_t i = 0; i < source->macro_count; i++)
        if (is_same(source, &source->lines[source->macros[i].name], &source->lines[macro->name])) {
            changed = changed || !source->macros[i].hides;
            source->macros[i].hides = true;
        }
    return changed;
}

static bool may_hide(struct pen_source *source, const struct macro *macro)
{
    static const char *const marks[] = {
        "=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=", "++", "--", "&", "##", "#", NULL};
    for (uint32_t i = macro->from; i < macro->to; i++) {
        const struct token *token = &source->lines[i];
        const struct macro *other = token->kind == WORD ? find_macro(source, token) : NULL;
        if (is_one_of(source, token, marks) || (other && other->hides))
            return true;
    }
    return !match_brackets(source, source->lines + macro->from, macro->to - macro->from);
}

/* False: it takes too long. */
static bool judge_macros(struct pen_source *source)
{
    bool changed = true;
    for (uint32_t round = 0; changed && round < ROUNDS_MAX; round++) {
        changed = false;
        for (uint32_t i = 0; i < source->macro_count; i++)
            if (!source->macros[i].hides && may_hide(source, &source->macros[i]))
                changed = set_hides(source, &source->macros[i]) || changed;
    }
    return !changed;
}

/* Does a macro's definition name it? */
static bool is_in_a_macro(const struct pen_source *source, const struct token *name)
{
    for (uint32_t m = 0; m < source->macro_count; m++)
        for (uint32_t i = source->macros[m].name; i < source->macros[m].to; i++)
            if (is_same(source, &source->lines[i], name))
                return true;
    return false;
}

/* ---- options --------------------------------------------------------------------------------------------------- */

/* A -D's "NAME", "NAME=BODY", as a directive; where it ends. */
static char *append_macro(char *text, const char *definition, size_t size)
{
    char *to = stpcpy(text, "\n#define ");
    memcpy(to, definition, size);
    to[size] = 0;
    char *equals = strchr(to, '=');
    if (equals)
        *equals = ' ';
    return to + size;
}

/* Appends the options' macros to the text, which has room. False: there is an option that is not understood. */
static bool append_options(char *text, const char *options)
{
    char *to = text + strlen(text);
    if (strpbrk(options, "\"'\\\r\n%?") || strstr(options, "++") || strstr(options, "/*") || strstr(options, "//"))
        return false;
    for (const char *at = options; *at; at++)
        if ((unsigned char)*at >= 0x80)
            return false;
    for (const char *at = options; *(at += strspn(at, " \t"));) {
        size_t size = strcspn(at, " \t");
        bool define = !strncmp(at, "-D", 2), directory = !strncmp(at, "-I", 2);
        if (!define && !directory && strncmp(at, "-cl-", 4) != 0 && strncmp(at, "-w", size) != 0)
            return false;
        if ((define || directory) && size == 2) {
            at += size;
            at += strspn(at, " \t");
            size = strcspn(at, " \t");
        } else if (define) {
            at += 2;
            size -= 2;
        }
        if (define)
            to = append_macro(to, at, size);
        at += size;
    }
    return true;
}

/* ---- a kernel -------------------------------------------------------------------------------------------------- */

struct function {
    uint32_t begin, open, close, end; /* tokens: of its specifier, its parameters' brackets, and its body's last */
};

/* Only a word: a macro could end here what we believe to begin, or begin another. */
static bool is_plain_word(struct pen_source *source, const struct token *token)
{
    return token->kind == WORD && !is_macro(source, token);
}

/* What `kernel` at `at` begins, if that is one of this name. */
static bool read_function(struct pen_source *source, uint32_t at, const char *name, struct function *out)
{
    const struct token *tokens = source->tokens;
    uint32_t i = at + 1;
    for (; i + 1 < source->count && !(is(source, &tokens[i], name) && is(source, &tokens[i + 1], "(")); i++)
        if (is(source, &tokens[i], "("))
            i = tokens[i].pair; /* of an attribute */
        else if (!is_plain_word(source, &tokens[i]))
            return false;
    if (i + 1 >= source->count || is_macro(source, &tokens[at]))
        return false;
    *out = (struct function){.begin = at, .open = i + 1, .close = tokens[i + 1].pair};
    for (i = out->close + 1; i < source->count && !is(source, &tokens[i], "{"); i++)
        if (is(source, &tokens[i], "("))
            i = tokens[i].pair;
        else if (!is_plain_word(source, &tokens[i]))
            return false; /* it is declared only */
    if (i >= source->count)
        return false;
    out->end = tokens[i].pair;
    return true;
}

/* A name that is the compiler's, and may do anything: `__builtin_...`, `__extension__`, `_Generic`. */
static bool is_reserved(const struct pen_source *source, const struct token *token)
{
    static const char *const known[] = {"__kernel",     "__global",      "__local",     "__constant",
                                        "__private",    "__restrict",    "__read_only", "__write_only",
                                        "__read_write", "__attribute__", NULL};
    const char *text = source->text + token->at;
    return text[0] == '_' && (text[1] == '_' || isupper((unsigned char)text[1])) && !is_one_of(source, token, known);
}

/* What stands in the brackets behind a macro; in all of them, for the first ones may leave another macro's name. */
static void note_given(struct pen_source *source, uint32_t macro)
{
    for (uint32_t open = macro + 1; is(source, &source->tokens[open], "("); open = source->tokens[open].pair + 1)
        for (uint32_t i = open + 1; i < source->tokens[open].pair; i++)
            source->tokens[i].given = true;
}

/* False: it holds what is not understood. */
static bool look_through(struct pen_source *source, const struct function *function)
{
    for (uint32_t i = function->begin; i <= function->end; i++) {
        const struct token *token = &source->tokens[i];
        const struct macro *macro = token->kind == WORD ? find_macro(source, token) : NULL;
        if (token->kind == DIRECTIVE || (macro && macro->hides))
            return false;
        if (token->kind == WORD && (is_reserved(source, token) || is(source, token, "asm")))
            return false;
        if (macro)
            note_given(source, i);
    }
    return true;
}

/* The one definition of a kernel; false: there is none, or several, or it may not be what is compiled: macros could
 * make another, where a conditional leaves it out. */
static bool find_function(struct pen_source *source, const char *name, struct function *out)
{
    static const char *const specifiers[] = {"kernel", "__kernel", NULL};
    uint32_t found = 0;
    int depth = 0;
    for (uint32_t i = 0; i < source->count; i++) {
        struct function function;
        depth += source->tokens[i].deeper;
        if (is(source, &source->tokens[i], "(") || is(source, &source->tokens[i], "{"))
            i = source->tokens[i].pair; /* not in what a macro is given */
        if (is_one_of(source, &source->tokens[i], specifiers) && read_function(source, i, name, &function)) {
            if (depth || is_in_a_macro(source, &source->tokens[function.open - 1]))
                return false;
            *out = function;
            found++;
        }
    }
    return found == 1;
}

/* ---- types ----------------------------------------------------------------------------------------------------- */

/* One of the language's own, of numbers or vectors of them. */
static bool is_type(struct pen_source *source, const struct token *token)
{
    static const char *const types[] = {"char",  "uchar",  "short", "ushort", "int",      "uint",   "long", "ulong",
                                        "float", "double", "half",  "size_t", "unsigned", "signed", NULL};
    static const char *const widths[] = {"2", "3", "4", "8", "16", NULL};
    struct token base = *token;
    if (token->kind != WORD || is_macro(source, token))
        return false;
    while (base.size && isdigit((unsigned char)source->text[base.at + base.size - 1]))
        base.size--;
    const struct token width = {.kind = NUMBER, .at = base.at + base.size, .size = token->size - base.size};
    return is_one_of(source, &base, types) && (!width.size || is_one_of(source, &width, widths));
}

/* Is this bracket's group a cast, or a vector's? */
static bool is_cast(struct pen_source *source, uint32_t close)
{
    uint32_t open = source->tokens[close].pair;
    for (uint32_t i = open + 1; i < close; i++)
        if (!is_type(source, &source->tokens[i]))
            return false;
    return close > open + 1;
}

/* The name of a parameter that is a pointer to numbers in global memory; NULL: it is something else. */
static const struct token *pointer_name(struct pen_source *source, uint32_t from, uint32_t to)
{
    static const char *const before[] = {"global", "__global", "const", "volatile", NULL};
    static const char *const after[] = {"restrict", "__restrict", "const", NULL};
    const struct token *tokens = source->tokens;
    bool global = false;
    uint32_t types = 0, i = from;
    for (; i < to && !is(source, &tokens[i], "*"); i++) {
        global = global || is(source, &tokens[i], "global") || is(source, &tokens[i], "__global");
        types += is_type(source, &tokens[i]);
        if (!is_type(source, &tokens[i]) && (!is_one_of(source, &tokens[i], before) || is_macro(source, &tokens[i])))
            return NULL;
    }
    for (i++; i + 1 < to; i++)
        if (!is_one_of(source, &tokens[i], after) || is_macro(source, &tokens[i]))
            return NULL;
    if (i + 1 != to || !global || !types || tokens[i].kind != WORD || is_one_of(source, &tokens[i], after))
        return NULL;
    return is_in_a_macro(source, &tokens[i]) ? NULL : &tokens[i];
}

/* ---- uses ------------------------------------------------------------------------------------------------------ */

/* What may stand behind a value that is read, and no more. */
static const char *const ends[] = {";", ",",  ")",  "]",  "}",  ":",  "?",  "+", "-", "*", "/",  "%",  "<",
                                   ">", "<=", ">=", "==", "!=", "<<", ">>", "&", "|", "^", "&&", "||", NULL};

/* What stands in brackets of its own, from `open` on, is no place to assign to. */
static bool is_value_in_brackets(struct pen_source *source, uint32_t open)
{
    static const char *const statements[] = {"else", "do", "return", "case", "goto", NULL};
    const struct token *before = &source->tokens[open - 1], *behind = &source->tokens[source->tokens[open].pair + 1];
    if (is(source, before, ")")) /* a cast is of what (...)++ is */
        return is_cast(source, open - 1) && is_one_of(source, behind, ends);
    return before->kind == WORD && !is_one_of(source, before, statements);
}

/* `at`: p of p[...]. Is what it is there read, and no more? */
static bool is_read_at(struct pen_source *source, uint32_t at)
{
    static const char *const before[] = {
        "=",  "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=",    "(", ",",  ";",
        "{",  "}",  "[",  ":",  "?",  "+",  "-",  "*",  "/",  "%",   "<",      ">", "<=", ">=",
        "==", "!=", "<<", ">>", "|",  "^",  "&&", "||", "!",  "~",   "return", NULL};
    const struct token *tokens = source->tokens;
    if (!is(source, &tokens[at + 1], "[") || tokens[at].given)
        return false;
    uint32_t next = tokens[at + 1].pair + 1;
    while (is(source, &tokens[next], ".") && tokens[next + 1].kind == WORD)
        next += 2; /* of a vector */
    bool cast = is(source, &tokens[at - 1], ")");
    if (cast ? !is_cast(source, at - 1)
             : !is_one_of(source, &tokens[at - 1], before) || is_macro(source, &tokens[at - 1]))
        return false;
    bool alone = is(source, &tokens[at - 1], "(") && is(source, &tokens[next], ")");
    return is_one_of(source, &tokens[next], ends) && (!alone || is_value_in_brackets(source, at - 1));
}

static bool is_only_read(struct pen_source *source, const struct function *function, const struct token *name)
{
    for (uint32_t i = function->open; i < function->end; i++)
        if (&source->tokens[i] != name && is_same(source, &source->tokens[i], name) &&
            (i <= function->close || !is_read_at(source, i)))
            return false;
    return true;
}

static void judge_parameters(struct pen_source *source, const struct function *function, uint32_t count,
                             bool *out_reads)
{
    const struct token *tokens = source->tokens;
    uint32_t index = 0, from = function->open + 1;
    for (uint32_t i = from; i <= function->close; i++) {
        if (is(source, &tokens[i], "(") || is(source, &tokens[i], "[")) {
            i = tokens[i].pair;
            continue;
        }
        if (i != function->close && !is(source, &tokens[i], ","))
            continue;
        const struct token *name = index < count ? pointer_name(source, from, i) : NULL;
        if (name)
            out_reads[index] = is_only_read(source, function, name);
        index++;
        from = i + 1;
    }
    if (index != count)
        memset(out_reads, 0, count * sizeof *out_reads);
}

/* False: it holds what is not understood. */
static bool read_source(struct pen_source *source, const char *options)
{
    if (!has_plain_lines(source->text))
        return false;
    join_lines(source->text);
    return strip(source->text) && append_options(source->text, options) && read_tokens(source) &&
           match_brackets(source, source->tokens, source->count) && judge_macros(source);
}

struct pen_source *pen_source_create(const char *text, const char *options)
{
    size_t size = strlen(text), options_size = strlen(options);
    if (size + options_size > PEN_SOURCE_BYTES)
        return NULL;
    struct pen_source *source = calloc(1, sizeof *source);
    if (!source)
        return NULL;
    /* An option of two bytes and a space becomes a line of nine. */
    source->text = malloc(size + 8 * options_size + 16);
    if (source->text)
        memcpy(source->text, text, size + 1);
    if (source->text && read_source(source, options))
        return source;
    pen_source_destroy(source);
    return NULL;
}

void pen_source_destroy(struct pen_source *source)
{
    if (!source)
        return;
    free(source->text);
    free(source->tokens);
    free(source->lines);
    free(source);
}

void pen_source_reads(struct pen_source *source, const char *kernel, uint32_t count, bool *out_reads)
{
    struct function function = {0};
    memset(out_reads, 0, count * sizeof *out_reads);
    if (source && find_function(source, kernel, &function) && look_through(source, &function))
        judge_parameters(source, &function, count, out_reads);
}
