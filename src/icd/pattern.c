/* icd/pattern.c - names of files in which macros of the device's own compiler may stand; see includes.h. */
#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "icd/includes.h"

/* ---- one name ------------------------------------------------------------------------------------------ */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool continues_number(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
}

/* Of `name`, each index that the pattern can have come to. */
struct reached {
    bool at[NAME_MAX + 1];
};

static void pass_character(struct reached *reached, const char *name, size_t length, char c)
{
    for (size_t i = length; i; i--)
        reached->at[i] = reached->at[i - 1] && name[i - 1] == c;
    reached->at[0] = false;
}

static void pass_marked(struct reached *reached, const char *name, size_t length, const char *word, size_t size)
{
    struct reached after = *reached;
    bool number = false;
    for (size_t i = 0; i < length; i++) {
        if (reached->at[i] && i + size <= length && memcmp(name + i, word, size) == 0)
            after.at[i + size] = true;
        number = number ? continues_number(name[i]) : reached->at[i] && is_digit(name[i]);
        after.at[i + 1] |= number;
    }
    *reached = after;
}

bool pen_pattern_matches(const char *pattern, size_t size, const char *name)
{
    struct reached reached = {.at = {true}};
    size_t length = strlen(name);
    if (length > NAME_MAX)
        return false;
    for (const char *end = pattern + size; pattern < end; pattern++) {
        if (*pattern != PEN_MARK_BEGIN) {
            pass_character(&reached, name, length, *pattern);
            continue;
        }
        const char *word = pattern + 1;
        pattern = memchr(word, PEN_MARK_END, (size_t)(end - word));
        if (!pattern)
            return false;
        pass_marked(&reached, name, length, word, (size_t)(pattern - word));
    }
    return reached.at[length];
}

char *pen_pattern_plain(const char *pattern)
{
    char *plain = strdup(pattern), *to = plain;
    if (!plain)
        return NULL;
    for (; *pattern; pattern++)
        if (*pattern != PEN_MARK_BEGIN && *pattern != PEN_MARK_END)
            *to++ = *pattern;
    *to = 0;
    return plain;
}

/* ---- directories --------------------------------------------------------------------------------------- */

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The pattern with `size` bytes from `at` on replaced by a name that fits. */
static int list_entry(const char *directory, const char *pattern, const char *at, size_t size, const char *name,
                      pen_expand_offer offer, void *context)
{
    char *path = NULL;
    if (asprintf(&path, "%.*s%s%s", (int)(at - pattern), pattern, name, at + size) < 0)
        return -PEN_ENOMEM;
    int rc = pen_pattern_list(directory, path, offer, context);
    free(path);
    return rc;
}

int pen_pattern_list(const char *directory, const char *pattern, pen_expand_offer offer, void *context)
{
    const char *mark = strchr(pattern, PEN_MARK_BEGIN), *at = mark;
    if (!mark)
        return offer(context, pattern);
    while (at > pattern && at[-1] != '/')
        at--;
    size_t size = strcspn(at, "/");
    char *folder = NULL;
    if (asprintf(&folder, "%s/%.*s", directory, (int)(at - pattern), pattern) < 0)
        return -PEN_ENOMEM;
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, NULL, by_name), rc = 0;
    free(folder);
    for (int i = 0; i < count; i++) {
        if (!rc && pen_pattern_matches(at, size, entries[i]->d_name))
            rc = list_entry(directory, pattern, at, size, entries[i]->d_name, offer, context);
        free(entries[i]);
    }
    free(entries);
    return rc;
}
