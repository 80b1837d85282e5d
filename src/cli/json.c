/* cli/json.c - see json.h. */
#include "cli/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

json_t *pen_json_text(const char *text)
{
    char *clean = malloc(3 * strlen(text) + 1), *end = clean;
    if (!clean)
        return NULL;
    while (*text) {
        size_t length = pen_utf8_length(text);
        memcpy(end, length ? text : REPLACEMENT, length ? length : 3);
        end += length ? length : 3;
        text += length ? length : 1;
    }
    json_t *string = json_stringn(clean, (size_t)(end - clean));
    free(clean);
    return string;
}
