/* icd/macros.c - the macros that texts and options define; see includes.h. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "icd/includes.h"

size_t pen_word_size(const char *at)
{
    size_t size = 0;
    while ((at[size] >= 'a' && at[size] <= 'z') || (at[size] >= 'A' && at[size] <= 'Z') || at[size] == '_' ||
           (at[size] >= '0' && at[size] <= '9') || at[size] == PEN_MARK_BEGIN || at[size] == PEN_MARK_END)
        size++;
    return size;
}

bool pen_word_is(const char *at, size_t size, const char *name)
{
    return pen_word_size(name) == size && memcmp(at, name, size) == 0;
}

bool pen_word_asks(const char *at, size_t size)
{
    return pen_word_is(at, size, "__has_include") || pen_word_is(at, size, "__has_include_next");
}

bool pen_word_is_reserved(const char *at)
{
    return (at[0] == '_' && (at[1] == '_' || (at[1] >= 'A' && at[1] <= 'Z'))) || strncmp(at, "cl_", 3) == 0 ||
           strncmp(at, "CL_", 3) == 0;
}

bool pen_word_is_capital(const char *at, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (at[i] >= 'a' && at[i] <= 'z')
            return false;
    return at[0] >= 'A' && at[0] <= 'Z';
}

uint64_t pen_word_hash(const char *at, size_t size)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)at[i]) * UINT64_C(0x100000001b3);
    return hash ? hash : 1;
}

int pen_macros_add(struct pen_macros *macros, const char *name, size_t name_size, const char *body, size_t body_size)
{
    struct pen_macro *grown = realloc(macros->items, (macros->count + 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    macros->items = grown;
    struct pen_macro macro = {.name = pen_scan_copy(name, name_size), .body = pen_scan_copy(body, body_size)};
    if (!macro.name || !macro.body) {
        free(macro.name);
        free(macro.body);
        return -PEN_ENOMEM;
    }
    macros->items[macros->count++] = macro;
    return 0;
}

void pen_macros_finish(struct pen_macros *macros)
{
    for (uint32_t i = 0; i < macros->count; i++) {
        free(macros->items[i].name);
        free(macros->items[i].body);
    }
    free(macros->items);
    *macros = (struct pen_macros){0};
}

bool pen_macros_ask(const struct pen_macros *macros, const char *text)
{
    for (size_t size; *text; text += size ? size : 1) {
        size = pen_word_size(text);
        if (pen_word_asks(text, size))
            return true;
        for (uint32_t i = 0; size && i < macros->count; i++)
            if (macros->items[i].asks && pen_word_is(text, size, macros->items[i].name))
                return true;
    }
    return false;
}

void pen_macros_mark_asking(struct pen_macros *macros)
{
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < macros->count; i++) {
            struct pen_macro *macro = &macros->items[i];
            if (!macro->asks && pen_macros_ask(macros, macro->body))
                more = macro->asks = true;
        }
    }
}
