/* Any bytes as a program's text and build options: scanning stays inside the text, moves forward, and ends; splitting
 * gives words that lie in the options, in order. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "icd/includes.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    scan(text);
    split(text);
    free(text);
    return 0;
}
