/* Any bytes as a program's text and build options: scanning stays inside the text, moves forward, and ends; splitting
 * gives words that lie in the options, in order; what is included or asked for by macros, those of options among them,
 * is expanded, and that ends too, with a name that files can be compared with. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "icd/collector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void scan(const char *text)
{
    const char *end = text + strlen(text), *cursor = text;
    for (;;) {
        const char *before = cursor;
        struct pen_directive directive = pen_scan_next(&cursor);
        if (cursor < before || cursor > end)
            abort();
        if (directive.kind == PEN_DIRECTIVE_END)
            break;
        if (directive.name < before || directive.name + directive.name_size > end || cursor == before)
            abort();
    }
    if (*cursor)
        abort();
}

static int count(void *context, const char *text)
{
    unsigned *offers = context;
    if (++*offers > PEN_EXPAND_TRIES || !memchr(text, 0, 1 << 14))
        abort();
    char *plain = pen_pattern_plain(text);
    if (plain && strlen(plain) < 256 && strlen(plain) == strlen(text) &&
        !pen_pattern_matches(text, strlen(text), plain))
        abort();
    free(plain);
    pen_pattern_matches(text, strlen(text), "k1.2__LINE__.h");
    return 0;
}

static void expand(struct pen_macros *macros, const char *text)
{
    struct pen_rooted rooted = {0};
    struct pen_directive directive;
    for (const char *cursor = text; (directive = pen_scan_next(&cursor)).kind != PEN_DIRECTIVE_END;)
        if (directive.kind == PEN_DIRECTIVE_DEFINE &&
            (pen_macros_add(macros, directive.name, directive.name_size, directive.value, directive.value_size) ||
             pen_rooted_add_value(&rooted, text, (size_t)(directive.value - text))))
            break;
    if (pen_macros_mark_asking(macros))
        abort();
    for (const char *cursor = text; (directive = pen_scan_next(&cursor)).kind != PEN_DIRECTIVE_END;) {
        unsigned offers = 0;
        bool whole;
        bool expands = directive.kind == PEN_DIRECTIVE_MACRO || directive.kind == PEN_DIRECTIVE_CONDITION;
        char *name = expands ? pen_scan_copy(directive.name, directive.name_size) : NULL;
        if (name && (directive.kind == PEN_DIRECTIVE_MACRO || pen_macros_ask(macros, name)))
            pen_expand(macros, name, count, &offers, &whole);
        free(name);
    }
    size_t size;
    char *written = pen_rooted_text(&rooted, text, strlen(text), &size);
    if (written && size != strlen(text) + rooted.count * strlen(PEN_ROOTED))
        abort();
    free(written);
    pen_rooted_finish(&rooted);
}

static void split(const char *text)
{
    struct pen_option *options;
    uint32_t count;
    if (pen_options_split(text, &options, &count))
        return;
    const char *after = text;
    for (uint32_t i = 0; i < count; i++) {
        if (options[i].raw < after || !options[i].raw_size || strlen(options[i].value) > options[i].raw_size)
            abort();
        after = options[i].raw + options[i].raw_size;
    }
    if (after > text + strlen(text))
        abort();
    pen_options_free(options, count);
}

/* Nothing is found in any directory: no -I is left of the options, and what else there is stays. */
static void define(struct pen_collector *collector, const char *options)
{
    char *written;
    if (pen_options_split(options, &collector->options, &collector->option_count) ||
        pen_collector_add_directories(collector, options) || pen_collector_write_options(collector, options, &written))
        return;
    if (strlen(written) > strlen(options) + collector->rooted.count * strlen(PEN_ROOTED))
        abort();
    free(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    struct pen_collector collector = {.needs.macros = true};
    define(&collector, text);
    char *joined = pen_scan_join(text);
    if (joined) {
        size_t length = strlen(joined);
        if (length > size || pen_scan_origin(text, length) != strlen(text))
            abort();
        scan(joined);
        expand(&collector.macros, joined);
    }
    free(joined);
    pen_collector_finish(&collector);
    split(text);
    free(text);
    return 0;
}
