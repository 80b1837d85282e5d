/* icd/includes.c - see includes.h: texts are scanned for what they include, and the headers that were found are put
 * together with the options. What is needed beside that (macros, deeper directories) is known only when all texts have
 * been seen; so it is an attempt, and another with what the first one has shown to be needed. */
#include "icd/includes.h"

#include <stdlib.h>
#include <string.h>

#include "icd/collector.h"
#include "penstock-protocol.h"

/* Includes within includes within ... : a compiler gives up at 200. */
#define NESTING 200

/* ---- texts --------------------------------------------------------------------------------------------- */

static int scan(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes);

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strndup(path, slash ? (size_t)(slash - path) : 0);
}

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

int pen_collector_take(struct pen_collector *collector, const struct pen_collector_text *from, const char *here,
                       char *there, char *bytes, size_t size)
{
    struct pen_collector_text text = {.nesting = from->nesting + 1, .there = directory_of(there)};
    text.here = here ? directory_of(here) : NULL;
    int rc = text.there && (text.here || !here) ? 0 : -PEN_ENOMEM;
    /* Kept before it is scanned, so that a file that includes itself ends. */
    uint32_t index = collector->header_count;
    if (rc) {
        free(there);
        free(bytes);
    } else {
        rc = pen_collector_add_header(collector, there, bytes, size);
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

static int include_name(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes,
                        const struct pen_directive *directive)
{
    char *name = strndup(directive->name, directive->name_size);
    int rc = name ? pen_collector_find(collector, text, name, directive->kind == PEN_DIRECTIVE_QUOTED, directive->every)
                  : -PEN_ENOMEM;
    if (rc > 0)
        rc = name[0] == '/' ? pen_rooted_add(&text->rooted, (size_t)(directive->name - bytes)) : 0;
    free(name);
    return rc;
}

static int scan_joined(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes)
{
    int rc = 0;
    for (const char *cursor = bytes; !rc;) {
        struct pen_directive directive = pen_scan_next(&cursor);
        switch (directive.kind) {
        case PEN_DIRECTIVE_END:
            return 0;
        case PEN_DIRECTIVE_DEFINE:
            rc = pen_collector_add_define(collector, text, bytes, &directive);
            break;
        case PEN_DIRECTIVE_MACRO:
            rc = pen_collector_add_computed(collector, text, bytes, &directive);
            break;
        case PEN_DIRECTIVE_CONDITION:
            rc = pen_collector_add_condition(collector, text, bytes, &directive);
            break;
        case PEN_DIRECTIVE_QUOTED:
        case PEN_DIRECTIVE_ANGLED:
            rc = include_name(collector, text, bytes, &directive);
            break;
        }
    }
    return rc;
}

static int scan(struct pen_collector *collector, struct pen_collector_text *text, const char *bytes)
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
static int add_given(struct pen_collector *collector)
{
    const struct pen_collector_text program = {0};
    int rc = 0;
    for (uint32_t i = 0; rc >= 0 && i < collector->given_count; i++) {
        rc = pen_collector_try(collector, &program, NULL, collector->directories[0].there, collector->given[i].name);
        collector->directories[0].used |= rc > 0;
    }
    return rc < 0 ? rc : 0;
}

/* ---- attempts ------------------------------------------------------------------------------------------ */

void pen_collector_finish(struct pen_collector *collector)
{
    for (uint32_t i = 0; i < collector->header_count; i++) {
        free(collector->headers[i].name);
        free(collector->headers[i].text);
    }
    for (uint32_t i = 0; i < collector->directory_count; i++) {
        free(collector->directories[i].here);
        free(collector->directories[i].there);
    }
    pen_collector_forget_computed(collector);
    free(collector->headers);
    free(collector->directories);
    free(collector->remark);
    pen_macros_finish(&collector->macros);
    pen_rooted_finish(&collector->rooted);
    pen_options_free(collector->options, collector->option_count);
}

/* One attempt with what is known to be needed. 1: more is. */
static int attempt(struct pen_collector *collector, const char *source, const char *options, struct pen_includes *out)
{
    struct pen_collector_text text = {0};
    struct pen_includes result = {0};
    int rc = pen_options_split(options, &collector->options, &collector->option_count);
    if (!rc)
        rc = pen_collector_add_directories(collector, options);
    if (!rc)
        rc = scan(collector, &text, source);
    if (!rc)
        rc = add_given(collector);
    if (!rc && collector->needs.macros)
        rc = pen_collector_find_computed(collector);
    if (!rc && (collector->more.climb > collector->needs.climb || collector->more.macros > collector->needs.macros)) {
        pen_rooted_finish(&text.rooted);
        return 1;
    }
    if (!rc)
        rc = pen_collector_write_options(collector, options, &result.options);
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
    result.remark = collector->remark;
    collector->remark = NULL;
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
    for (struct pen_collector_needs needs = {0}; rc == 1 && needs.climb <= PEN_COLLECTOR_CLIMB;) {
        struct pen_collector collector = {
            .given = given, .given_count = given_count, .needs = needs, .more = needs, .error = error};
        rc = attempt(&collector, source, options, out);
        needs = collector.more;
        pen_collector_finish(&collector);
    }
    if (rc == 1)
        return pen_fail(error, -PEN_ELIMIT, "an #include may climb %d directories ('../')", PEN_COLLECTOR_CLIMB);
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
    free(includes->remark);
    *includes = (struct pen_includes){0};
}
