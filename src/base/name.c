/* base/name.c - see name.h. */
#include "base/name.h"

#include <string.h>

bool pen_header_name_ok(const char *name)
{
    if (!*name || *name == '/')
        return false;
    for (const char *at = name; *at;) {
        size_t length = strcspn(at, "/");
        if (!length || (length == 1 && at[0] == '.') || (length == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        at += length;
        if (*at && !*++at)
            return false;
    }
    return strchr(name, '/') != NULL;
}

bool pen_ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && !strcmp(text + length - end_length, end);
}
