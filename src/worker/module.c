/* worker/module.c - see module.h. */
#include "worker/module.h"

#include <string.h>

enum { MAGIC = 0x07230203, HEADER_WORDS = 5 };
enum { OP_EXTENDED = 12, STD_PRINTF = 184 };
enum { OP_ENTRY_POINT = 15, OP_FUNCTION = 54, OP_FUNCTION_PARAMETER = 55, OP_FUNCTION_END = 56, OP_DECORATE = 71 };
enum { MODEL_KERNEL = 6, DECORATION_PARAMETER = 38, ATTRIBUTE_NO_WRITE = 6 };

struct instruction {
    uint32_t opcode, count; /* words, the first one included */
    size_t at;
};

static uint32_t word_at(const void *module, size_t index)
{
    uint32_t word;
    memcpy(&word, (const unsigned char *)module + sizeof word * index, sizeof word);
    return word;
}

/* The one behind *instruction; zeroed: the first. False: there is none, or it is cut. */
static bool next(const void *module, size_t words, struct instruction *instruction)
{
    size_t at = instruction->count ? instruction->at + instruction->count : HEADER_WORDS;
    if (at >= words)
        return false;
    uint32_t first = word_at(module, at);
    *instruction = (struct instruction){first & 0xffff, first >> 16, at};
    return instruction->count && instruction->count <= words - at;
}

/* The function that a program calls by this name; 0: there is none. */
static uint32_t entry_point(const void *module, size_t words, const char *name)
{
    struct instruction i = {0};
    while (next(module, words, &i) && i.opcode != OP_FUNCTION) {
        size_t room = i.count > 3 ? (i.count - 3) * 4 : 0, size = strlen(name) + 1;
        if (i.opcode == OP_ENTRY_POINT && room >= size && word_at(module, i.at + 1) == MODEL_KERNEL &&
            !memcmp((const unsigned char *)module + (i.at + 3) * 4, name, size))
            return word_at(module, i.at + 2);
    }
    return 0;
}

/* Which of these parameters are decorated so. Decorations come before the first function (SPIR-V, section 2.4). */
static void find_reads(const void *module, size_t words, const uint32_t *parameters, uint32_t count, bool *out_reads)
{
    struct instruction i = {0};
    while (next(module, words, &i) && i.opcode != OP_FUNCTION) {
        if (i.opcode != OP_DECORATE || i.count < 4 || word_at(module, i.at + 2) != DECORATION_PARAMETER ||
            word_at(module, i.at + 3) != ATTRIBUTE_NO_WRITE)
            continue;
        for (uint32_t k = 0; k < count; k++)
            out_reads[k] = out_reads[k] || parameters[k] == word_at(module, i.at + 1);
    }
}

/* Whatever set of instructions it is of. */
bool pen_module_may_print(const void *module, size_t size)
{
    struct instruction i = {0};
    size_t words = size / 4, end = HEADER_WORDS;
    if (words < HEADER_WORDS || word_at(module, 0) != MAGIC)
        return true;
    while (next(module, words, &i)) {
        end = i.at + i.count;
        if (i.opcode == OP_EXTENDED && i.count >= 5 && word_at(module, i.at + 4) == STD_PRINTF)
            return true;
    }
    return end != words;
}

void pen_module_reads(const void *module, size_t size, const char *kernel, uint32_t count, bool *out_reads)
{
    size_t words = size / 4;
    struct instruction i = {0};
    uint32_t parameters[PEN_MODULE_PARAMETERS], function, found = 0;
    bool inside = false;
    memset(out_reads, 0, count * sizeof *out_reads);
    if (size > PEN_MODULE_BYTES || count > PEN_MODULE_PARAMETERS || words < HEADER_WORDS ||
        word_at(module, 0) != MAGIC || !(function = entry_point(module, words, kernel)))
        return;
    while (next(module, words, &i) && !(inside && i.opcode == OP_FUNCTION_END)) {
        if (i.opcode == OP_FUNCTION && i.count >= 3)
            inside = word_at(module, i.at + 2) == function;
        if (!inside || i.opcode != OP_FUNCTION_PARAMETER || i.count < 3)
            continue;
        if (found < count)
            parameters[found] = word_at(module, i.at + 2);
        found++;
    }
    if (found == count)
        find_reads(module, words, parameters, count, out_reads);
}
