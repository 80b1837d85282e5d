/* icd/include_options.c - the build options' part in what is included: -I and -D. See collector.h. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "icd/collector.h"

/* The directory that option i names; *out_next is the option after it. NULL: it is no -I. */
static const char *include_directory(const struct pen_collector *collector, uint32_t i, uint32_t *out_next)
{
    const char *value = collector->options[i].value;
    assert(value);
    if (strncmp(value, "-I", 2) != 0 || (!value[2] && i + 1 == collector->option_count))
        return NULL;
    *out_next = i + (value[2] ? 1 : 2);
    return value[2] ? value + 2 : collector->options[i + 1].value;
}

/* Of the NAME or NAME(parameters) that an option defines, or 0: what it says is for the device's compiler to judge. */
static size_t macro_name_size(const char *at)
{
    size_t size = pen_word_size(at);
    if (size && at[size] == '(') {
        size_t list = strcspn(at + size, ")=");
        size += at[size + list] == ')' ? list + 1 : 0;
    }
    return !at[size] || at[size] == '=' ? size : 0;
}

/* -D NAME=value, -DNAME(parameters)=value, -D NAME. */
static int option_macro(struct pen_collector *collector, const char *options, uint32_t i)
{
    const struct pen_option *option = &collector->options[i];
    if (strncmp(option->value, "-D", 2) != 0)
        return 0;
    const char *name = option->value + 2;
    if (!*name && i + 1 < collector->option_count)
        name = (++option)->value;
    assert(name);
    size_t size = macro_name_size(name);
    if (!size)
        return 0;
    if (!name[size])
        return pen_collector_add_macro(collector, name, size, "1", 1);
    int rc = pen_collector_add_macro(collector, name, size, name + size + 1, strlen(name + size + 1));
    size_t at = (size_t)(option->raw - options) + strcspn(option->raw, "=") + 1;
    return rc || !collector->needs.macros ? rc : pen_rooted_add_value(&collector->rooted, options, at);
}

static int add_directory(struct pen_collector *collector, const char *here)
{
    struct pen_collector_directory *directory = &collector->directories[collector->directory_count];
    char name[16 + 2 * PEN_COLLECTOR_CLIMB];
    int size = snprintf(name, 16, "%u", collector->directory_count);
    for (uint32_t i = 0; i < collector->needs.climb; i++, size += 2)
        memcpy(name + size, "/u", 3);
    directory->here = here ? strdup(here) : NULL;
    directory->there = strdup(name);
    collector->directory_count++;
    return directory->there && (directory->here || !here) ? 0 : -PEN_ENOMEM;
}

int pen_collector_add_directories(struct pen_collector *collector, const char *options)
{
    collector->directories = calloc(collector->option_count + 3, sizeof *collector->directories);
    if (!collector->directories)
        return -PEN_ENOMEM;
    int rc = add_directory(collector, NULL);
    if (!rc)
        rc = add_directory(collector, ".");
    for (uint32_t i = 0, next; !rc && i < collector->option_count; i = next) {
        const char *directory = include_directory(collector, i, &next);
        if (directory) {
            rc = add_directory(collector, directory);
        } else {
            rc = option_macro(collector, options, i);
            next = i + 1;
        }
    }
    return rc ? rc : add_directory(collector, "");
}

static void write_directory(FILE *out, const struct pen_collector_directory *directory)
{
    if (!directory->used)
        return;
    size_t digits = strspn(directory->there, "0123456789");
    fprintf(out, "-I @%.*s@%s ", (int)digits, directory->there, directory->there + digits);
}

int pen_collector_write_options(struct pen_collector *collector, const char *options, char **out_options)
{
    size_t size;
    FILE *out = open_memstream(out_options, &size);
    if (!out)
        return -PEN_ENOMEM;
    write_directory(out, &collector->directories[0]);
    write_directory(out, &collector->directories[1]);
    const char *from = options;
    uint32_t index = 2;
    for (uint32_t i = 0, next; i < collector->option_count; i = next) {
        next = i + 1;
        if (!include_directory(collector, i, &next))
            continue;
        const struct pen_option *last = &collector->options[next - 1];
        pen_rooted_write(&collector->rooted, options, (size_t)(from - options),
                         (size_t)(collector->options[i].raw - options), out);
        write_directory(out, &collector->directories[index++]);
        from = last->raw + last->raw_size;
        from += *from == ' ';
    }
    pen_rooted_write(&collector->rooted, options, (size_t)(from - options), strlen(options), out);
    if (collector->directories[collector->directory_count - 1].used) {
        fputc(' ', out);
        write_directory(out, &collector->directories[collector->directory_count - 1]);
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) || failed) {
        free(*out_options);
        *out_options = NULL;
        return -PEN_ENOMEM;
    }
    return 0;
}
