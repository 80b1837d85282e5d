/* icd/include_macros.c - headers that macros name: `#include NAME`, and what an #if asks for through a macro with
 * __has_include. Kept until all macros are known. See collector.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "icd/collector.h"

/* ---- while texts are scanned --------------------------------------------------------------------------- */

int pen_collector_add_macro(struct pen_collector *collector, const char *name, size_t name_size, const char *value,
                            size_t value_size)
{
    if (collector->needs.macros)
        return pen_macros_add(&collector->macros, name, name_size, value, value_size);
    collector->more.macros |= memmem(value, value_size, "__has_include", strlen("__has_include")) != NULL;
    return 0;
}

int pen_collector_add_define(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes,
                             const struct pen_directive *directive)
{
    int rc = pen_collector_add_macro(collector, directive->name, directive->name_size, directive->value,
                                     directive->value_size);
    if (rc || !collector->needs.macros)
        return rc;
    return pen_rooted_add_value(&text->rooted, bytes, (size_t)(directive->value - bytes));
}

static void free_computed(struct pen_collector_computed *computed)
{
    free(computed->here);
    free(computed->there);
    free(computed->name);
    pen_map_finish(&computed->seen);
}

/* Room for one more: it doubles. */
static int reserve_computed(struct pen_collector *collector)
{
    uint32_t count = collector->computed_count;
    if (count & (count - 1))
        return 0;
    struct pen_collector_computed *grown =
        realloc(collector->computed, (count ? 2 * (size_t)count : 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    collector->computed = grown;
    return 0;
}

static int add_computed(struct pen_collector *collector, const struct pen_collector_text *text,
                        const struct pen_directive *directive)
{
    int rc = reserve_computed(collector);
    if (rc)
        return rc;
    struct pen_collector_computed computed = {.here = text->here ? strdup(text->here) : NULL,
                                              .there = text->there ? strdup(text->there) : NULL,
                                              .name = pen_scan_copy(directive->name, directive->name_size),
                                              .nesting = text->nesting,
                                              .every = directive->every,
                                              .condition = directive->kind == PEN_DIRECTIVE_CONDITION};
    if (!computed.name || !computed.here != !text->here || !computed.there != !text->there) {
        free_computed(&computed);
        return -PEN_ENOMEM;
    }
    collector->computed[collector->computed_count++] = computed;
    return 0;
}

/* An absolute path may be an argument of a macro. */
static int root_arguments(struct pen_collector_text *text, const char *bytes, const struct pen_directive *directive)
{
    int rc = 0;
    const char *end = directive->name + directive->name_size;
    for (const char *at = directive->name; !rc && at < end; at++)
        if (*at == '(' || *at == ',')
            rc = pen_rooted_add_value(&text->rooted, bytes, (size_t)(at + 1 - bytes));
    return rc;
}

int pen_collector_add_computed(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes,
                               const struct pen_directive *directive)
{
    collector->more.macros = true;
    int rc = add_computed(collector, text, directive);
    return rc ? rc : root_arguments(text, bytes, directive);
}

int pen_collector_add_condition(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes,
                                const struct pen_directive *directive)
{
    if (!collector->needs.macros)
        return 0;
    int rc = add_computed(collector, text, directive);
    return rc ? rc : root_arguments(text, bytes, directive);
}

void pen_collector_forget_computed(struct pen_collector *collector)
{
    for (uint32_t i = 0; i < collector->computed_count; i++)
        free_computed(&collector->computed[i]);
    free(collector->computed);
    collector->computed = NULL;
    collector->computed_count = 0;
}

/* ---- when all have been -------------------------------------------------------------------------------- */

struct wanted {
    struct pen_collector *collector;
    uint32_t computed; /* its index: others are added while its files are scanned */
    struct pen_collector_text from;
    bool quoted, every, condition;
};

/* Many choices of definitions come to the same. 1: it is new, and known from now on; 0: it is not. */
static int add_seen(struct wanted *wanted, const char *expanded)
{
    struct pen_map *seen = &wanted->collector->computed[wanted->computed].seen;
    uint64_t hash = pen_word_hash(expanded, strlen(expanded));
    if (pen_map_get(seen, hash))
        return 0;
    int rc = pen_map_set(seen, hash, wanted->collector);
    return rc ? rc : 1;
}

static int find_name(void *context, const char *name)
{
    const struct wanted *wanted = context;
    int rc = pen_collector_find(wanted->collector, &wanted->from, name, wanted->quoted, wanted->every);
    return rc < 0 ? rc : 0;
}

/* Given headers whose name, or the end of it behind a slash, fits. */
static int find_given(struct wanted *wanted, const char *pattern)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < wanted->collector->given_count; i++)
        for (const char *at = wanted->collector->given[i].name; !rc && at; at = strchr(at, '/'), at += at != NULL)
            if (pen_pattern_matches(pattern, strlen(pattern), at))
                rc = find_name(wanted, at);
    return rc;
}

/* All files that fit, in whichever directory. */
static int find_fitting(struct wanted *wanted, const char *pattern)
{
    const struct pen_collector *collector = wanted->collector;
    if (pattern[0] == '/')
        return pen_pattern_list("", pattern, find_name, wanted);
    int rc = find_given(wanted, pattern);
    if (!rc && wanted->from.here)
        rc = pen_pattern_list(wanted->from.here, pattern, find_name, wanted);
    for (uint32_t i = 0; !rc && i + 1 < collector->directory_count; i++)
        if (collector->directories[i].here)
            rc = pen_pattern_list(collector->directories[i].here, pattern, find_name, wanted);
    return rc;
}

static int find_wanted(struct wanted *wanted, const char *begin, size_t size)
{
    char *name = strndup(begin, size), *plain = name ? pen_pattern_plain(name) : NULL;
    int rc = plain ? 0 : -PEN_ENOMEM;
    if (!rc && size)
        rc = find_name(wanted, plain);
    if (!rc && size && strchr(name, PEN_MARK_BEGIN))
        rc = find_fitting(wanted, name);
    free(name);
    free(plain);
    return rc;
}

/* What a macro came to: "name", or <name>. */
static int find_included(struct wanted *wanted, const char *expanded)
{
    expanded += strspn(expanded, " ");
    bool angled = *expanded == '<';
    if (!angled && *expanded != '"')
        return 0;
    wanted->quoted = !angled;
    return find_wanted(wanted, expanded + 1, strcspn(expanded + 1, angled ? ">" : "\""));
}

/* What a condition came to. */
static int find_asked(struct wanted *wanted, const char *expanded)
{
    struct pen_directive directive;
    int rc = 0;
    for (const char *at = expanded; !rc && (directive = pen_scan_next(&at)).kind != PEN_DIRECTIVE_END;)
        if (directive.kind == PEN_DIRECTIVE_QUOTED || directive.kind == PEN_DIRECTIVE_ANGLED) {
            wanted->quoted = directive.kind == PEN_DIRECTIVE_QUOTED;
            wanted->every = directive.every;
            rc = find_wanted(wanted, directive.name, directive.name_size);
        }
    return rc;
}

static int find_expanded(void *context, const char *expanded)
{
    struct wanted *wanted = context;
    int rc = add_seen(wanted, expanded);
    if (rc <= 0)
        return rc;
    return wanted->condition ? find_asked(wanted, expanded) : find_included(wanted, expanded);
}

static int add_remark(struct pen_collector *collector, const char *text)
{
    static const char *const format =
        "penstock: not all was looked for that '%.80s' may come to by the definitions of its macros (%d ways to choose "
        "them and %d replacements are tried); a header that is missed is sent if an #include names it, also under #if "
        "0";
    int size = collector->remark ? 0 : asprintf(&collector->remark, format, text, PEN_EXPAND_TRIES, PEN_EXPAND_STEPS);
    if (size < 0)
        collector->remark = NULL;
    return size < 0 ? -PEN_ENOMEM : 0;
}

static int find_computed(struct pen_collector *collector, uint32_t index)
{
    struct pen_collector_computed computed = collector->computed[index];
    struct wanted wanted = {.collector = collector,
                            .computed = index,
                            .from = {.here = computed.here, .there = computed.there, .nesting = computed.nesting},
                            .every = computed.every,
                            .condition = computed.condition};
    if (computed.condition && !pen_macros_ask(&collector->macros, computed.name))
        return 0;
    bool whole = true;
    int rc = pen_expand(&collector->macros, computed.name, find_expanded, &wanted, &whole);
    return rc || whole ? rc : add_remark(collector, computed.name);
}

/* Until no more macros are found: a file may define some that other files include by. */
int pen_collector_find_computed(struct pen_collector *collector)
{
    int rc = 0;
    for (uint32_t known = UINT32_MAX; !rc && known != collector->macros.count;) {
        known = collector->macros.count;
        rc = pen_macros_mark_asking(&collector->macros);
        for (uint32_t i = 0; !rc && i < collector->computed_count; i++)
            rc = find_computed(collector, i);
    }
    return rc;
}
