/* icd/options.c - build options split into words; see includes.h. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "icd/includes.h"

/* Copies one word without its quotes to `value`; returns where it ends. Within double quotes a backslash escapes a
 * double quote or a backslash; outside of quotes, any character; within single quotes, nothing. */
static const char *copy_word(const char *at, char *value)
{
    char quote = 0;
    while (*at && (quote || !isspace((unsigned char)*at))) {
        if (quote ? *at == quote : *at == '"' || *at == '\'') {
            quote = quote ? 0 : *at;
            at++;
        } else {
            if (*at == '\\' && at[1] && (!quote || (quote == '"' && (at[1] == '"' || at[1] == '\\'))))
                at++;
            *value++ = *at++;
        }
    }
    *value = 0;
    return at;
}

int pen_options_split(const char *options, struct pen_option **out_options, uint32_t *out_count)
{
    struct pen_option *words = NULL;
    uint32_t count = 0;
    for (const char *at = options;;) {
        while (isspace((unsigned char)*at))
            at++;
        if (!*at)
            break;
        struct pen_option *grown = realloc(words, (count + 1) * sizeof *grown);
        char *value = malloc(strlen(at) + 1);
        if (grown)
            words = grown;
        if (!grown || !value) {
            free(value);
            pen_options_free(words, count);
            return -PEN_ENOMEM;
        }
        const char *end = copy_word(at, value);
        words[count++] = (struct pen_option){.raw = at, .raw_size = (size_t)(end - at), .value = value};
        at = end;
    }
    *out_options = words;
    *out_count = count;
    return 0;
}

void pen_options_free(struct pen_option *options, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free(options[i].value);
    free(options);
}
