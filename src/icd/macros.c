/* icd/macros.c - the macros that texts and options define; see includes.h. Texts may define tens of thousands: nothing
 * here looks at all of them for each. */
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
    return hash | 1;
}

/* The key of the name in the map: the hash, or one behind it that no other name has. out_first: see pen_macros_find. */
static uint64_t find_key(const struct pen_macros *macros, const char *name, size_t size, uint32_t *out_first)
{
    for (uint64_t key = pen_word_hash(name, size);; key += 2) {
        uintptr_t found = (uintptr_t)pen_map_get(&macros->firsts, key);
        *out_first = found ? (uint32_t)(found - 1) : PEN_MACRO_NONE;
        if (!found || pen_word_is(name, size, macros->items[*out_first].name))
            return key;
    }
}

uint32_t pen_macros_find(const struct pen_macros *macros, const char *name, size_t size)
{
    uint32_t first;
    find_key(macros, name, size, &first);
    return first;
}

/* Room for one more: it doubles. */
static int reserve(struct pen_macros *macros)
{
    if (macros->count & (macros->count - 1))
        return 0;
    struct pen_macro *grown = realloc(macros->items, (macros->count ? 2 * (size_t)macros->count : 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    macros->items = grown;
    return 0;
}

/* Puts the macro behind all others, and behind those of its name. */
static int append(struct pen_macros *macros, struct pen_macro *macro)
{
    uint32_t index = macros->count, first;
    uint64_t key = find_key(macros, macro->name, pen_word_size(macro->name), &first);
    macro->first = first == PEN_MACRO_NONE ? index : first;
    macro->next = PEN_MACRO_NONE;
    if (first == PEN_MACRO_NONE) {
        int rc = pen_map_set(&macros->firsts, key, (void *)((uintptr_t)index + 1));
        if (rc)
            return rc;
    } else {
        macros->items[macros->items[first].last].next = index;
    }
    macros->items[macros->count++] = *macro;
    macros->items[macro->first].last = index;
    return 0;
}

int pen_macros_add(struct pen_macros *macros, const char *name, size_t name_size, const char *body, size_t body_size)
{
    struct pen_macro macro = {.name = pen_scan_copy(name, name_size), .body = pen_scan_copy(body, body_size)};
    int rc = macro.name && macro.body ? reserve(macros) : -PEN_ENOMEM;
    if (!rc)
        rc = append(macros, &macro);
    if (rc) {
        free(macro.name);
        free(macro.body);
        return rc;
    }
    macros->asking |= strstr(macro.body, "__has_include") != NULL;
    return 0;
}

void pen_macros_finish(struct pen_macros *macros)
{
    for (uint32_t i = 0; i < macros->count; i++) {
        free(macros->items[i].name);
        free(macros->items[i].body);
    }
    free(macros->items);
    pen_map_finish(&macros->firsts);
    *macros = (struct pen_macros){0};
}

/* ---- which ask for files ------------------------------------------------------------------------------- */

bool pen_macros_ask(const struct pen_macros *macros, const char *text)
{
    for (size_t size; macros->asking && *text; text += size ? size : 1) {
        size = pen_word_size(text);
        if (pen_word_asks(text, size))
            return true;
        uint32_t first = size ? pen_macros_find(macros, text, size) : PEN_MACRO_NONE;
        if (first != PEN_MACRO_NONE && macros->items[first].asks)
            return true;
    }
    return false;
}

struct use {
    uint32_t user, next;
};

/* Names are by their first definitions. */
struct marking {
    struct pen_macros *macros;
    uint32_t *uses; /* of each name, the latest; PEN_MACRO_NONE: not used */
    struct use *items;
    uint32_t item_count;
    uint32_t *work; /* names that ask, and whose users are not marked yet */
    uint32_t work_count;
};

static void mark(struct marking *marking, uint32_t name)
{
    struct pen_macro *macro = &marking->macros->items[name];
    if (!macro->asks)
        marking->work[marking->work_count++] = name;
    macro->asks = true;
}

static int add_use(struct marking *marking, uint32_t name, uint32_t user)
{
    uint32_t count = marking->item_count;
    if (!(count & (count - 1))) {
        struct use *grown = realloc(marking->items, (count ? 2 * (size_t)count : 1) * sizeof *grown);
        if (!grown)
            return -PEN_ENOMEM;
        marking->items = grown;
    }
    marking->items[count] = (struct use){user, marking->uses[name]};
    marking->uses[name] = marking->item_count++;
    return 0;
}

/* Which names the macro's body uses; it is marked if it asks by itself. */
static int read_body(struct marking *marking, const struct pen_macro *macro)
{
    int rc = 0;
    for (size_t size, at = 0; !rc && macro->body[at]; at += size ? size : 1) {
        const char *word = macro->body + at;
        size = pen_word_size(word);
        uint32_t name = size ? pen_macros_find(marking->macros, word, size) : PEN_MACRO_NONE;
        if (pen_word_asks(word, size))
            mark(marking, macro->first);
        else if (name != PEN_MACRO_NONE)
            rc = add_use(marking, name, macro->first);
    }
    return rc;
}

static void mark_users(struct marking *marking)
{
    while (marking->work_count) {
        uint32_t name = marking->work[--marking->work_count];
        for (uint32_t i = marking->uses[name]; i < marking->item_count; i = marking->items[i].next)
            mark(marking, marking->items[i].user);
    }
}

int pen_macros_mark_asking(struct pen_macros *macros)
{
    if (!macros->asking)
        return 0;
    struct marking marking = {.macros = macros,
                              .uses = malloc(macros->count * sizeof *marking.uses),
                              .work = malloc(macros->count * sizeof *marking.work)};
    int rc = marking.uses && marking.work ? 0 : -PEN_ENOMEM;
    for (uint32_t i = 0; !rc && i < macros->count; i++) {
        macros->items[i].asks = false;
        marking.uses[i] = PEN_MACRO_NONE;
    }
    for (uint32_t i = 0; !rc && i < macros->count; i++)
        rc = read_body(&marking, &macros->items[i]);
    if (!rc)
        mark_users(&marking);
    free(marking.uses);
    free(marking.items);
    free(marking.work);
    return rc;
}
