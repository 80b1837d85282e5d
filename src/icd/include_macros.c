/* icd/include_macros.c - headers that macros name: `#include NAME`. Kept until all macros are known. See collector.h.
 */
#include <stdlib.h>
#include <string.h>

#include "icd/collector.h"

int pen_collector_add_define(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes,
                             const struct pen_directive *directive)
{
    if (!collector->needs.macros)
        return 0;
    int rc = pen_macros_add(&collector->macros, directive->name, directive->name_size, directive->value,
                            directive->value_size);
    return rc ? rc : pen_rooted_add_value(&text->rooted, bytes, (size_t)(directive->value - bytes));
}

static void free_computed(struct pen_collector_computed *computed)
{
    free(computed->here);
    free(computed->there);
    free(computed->name);
}

/* Kept until all macros are known. */
int pen_collector_add_computed(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes,
                               const struct pen_directive *directive)
{
    collector->more.macros = true;
    struct pen_collector_computed *grown =
        realloc(collector->computed, (collector->computed_count + 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    collector->computed = grown;
    struct pen_collector_computed computed = {.here = text->here ? strdup(text->here) : NULL,
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

void pen_collector_forget_computed(struct pen_collector *collector)
{
    for (uint32_t i = 0; i < collector->computed_count; i++)
        free_computed(&collector->computed[i]);
    free(collector->computed);
    collector->computed = NULL;
    collector->computed_count = 0;
}

struct offer {
    struct pen_collector *collector;
    const struct pen_collector_computed *computed;
};

/* What a macro came to: "name", <name>, or the text that a # makes a string of. */
static int find_computed(void *context, const char *expanded)
{
    const struct offer *offer = context;
    const struct pen_collector_computed *computed = offer->computed;
    const struct pen_collector_text from = {
        .here = computed->here, .there = computed->there, .nesting = computed->nesting};
    expanded += strspn(expanded, " ");
    bool angled = *expanded == '<', quoted = *expanded == '"';
    const char *begin = expanded + (angled || quoted);
    size_t size = strcspn(begin, angled ? ">" : quoted ? "\"" : "");
    while (size && begin[size - 1] == ' ')
        size--;
    char *name = strndup(begin, size);
    int rc = name ? 0 : -PEN_ENOMEM;
    if (!rc && size)
        rc = pen_collector_find(offer->collector, &from, name, !angled, computed->every);
    free(name);
    return rc < 0 ? rc : 0;
}

/* Until nothing more is found: a file may define macros that other files include by. */
int pen_collector_find_computed(struct pen_collector *collector)
{
    int rc = 0;
    for (uint32_t known_files = UINT32_MAX; !rc && known_files != collector->header_count;) {
        known_files = collector->header_count;
        for (uint32_t i = 0; !rc && i < collector->computed_count; i++) {
            struct pen_collector_computed computed = collector->computed[i];
            struct offer offer = {collector, &computed};
            rc = pen_expand(&collector->macros, computed.name, find_computed, &offer);
        }
    }
    return rc;
}
