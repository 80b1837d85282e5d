/* icd/rooted.c - absolute paths in a text or in options, marked as paths below a directory of ours; see includes.h. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "icd/includes.h"

int pen_rooted_add(struct pen_rooted *rooted, size_t at)
{
    for (uint32_t i = 0; i < rooted->count; i++)
        if (rooted->at[i] == at)
            return 0;
    size_t *grown = realloc(rooted->at, (rooted->count + 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    rooted->at = grown;
    uint32_t i = rooted->count++;
    for (; i && rooted->at[i - 1] > at; i--)
        rooted->at[i] = rooted->at[i - 1];
    rooted->at[i] = at;
    return 0;
}

/* Where the path's directory ends, as far as no macro makes it. */
static char *directory_end(char *path)
{
    char *last = strrchr(path, '/');
    for (char *at = path; at < last; at += 1 + strcspn(at + 1, "/"))
        if (pen_word_is_reserved(at + 1) || pen_word_is_capital(at + 1, strcspn(at + 1, "/")))
            return at;
    return last;
}

/* What is in double quotes may be a string for something else, and has to be a file's whole name; what is not may get
 * its end from another macro. */
static bool names_file(const char *at, size_t size, bool whole)
{
    char path[PATH_MAX];
    if (size < 2 || size >= sizeof path)
        return false;
    memcpy(path, at, size);
    path[size] = 0;
    if (access(path, F_OK) == 0)
        return true;
    char *end = directory_end(path);
    *end = 0;
    return !whole && end > path && access(path, F_OK) == 0;
}

int pen_rooted_add_value(struct pen_rooted *rooted, const char *text, size_t at)
{
    const char *path = text + at + strspn(text + at, "\\\"'<");
    if (*path != '/')
        return 0;
    char before = path > text ? path[-1] : 0;
    size_t size = strcspn(path, before == '"' ? "\\\"\n" : before == '<' ? ">\n" : " \t\r\n\\\"'(),;");
    return names_file(path, size, before == '"') ? pen_rooted_add(rooted, (size_t)(path - text)) : 0;
}

void pen_rooted_write(const struct pen_rooted *rooted, const char *text, size_t from, size_t to, FILE *out)
{
    for (uint32_t i = 0; i < rooted->count; i++) {
        if (rooted->at[i] < from || rooted->at[i] >= to)
            continue;
        fwrite(text + from, 1, rooted->at[i] - from, out);
        fputs(PEN_ROOTED, out);
        from = rooted->at[i];
    }
    fwrite(text + from, 1, to - from, out);
}

char *pen_rooted_text(const struct pen_rooted *rooted, const char *text, size_t size, size_t *out_size)
{
    char *result = NULL;
    FILE *out = open_memstream(&result, out_size);
    if (!out)
        return NULL;
    pen_rooted_write(rooted, text, 0, size, out);
    bool failed = ferror(out) != 0;
    if (fclose(out) || failed) {
        free(result);
        return NULL;
    }
    return result;
}

void pen_rooted_finish(struct pen_rooted *rooted)
{
    free(rooted->at);
    *rooted = (struct pen_rooted){0};
}
