/* icd/spirv.c - the little that is read of a SPIR-V module: its header, and its specialization constants.
 * SPIR-V 1.2, sections 2.3 (physical layout), 3.32 (instructions). The module comes from the program: every length is
 * checked. */
#include <string.h>

#include "icd/program.h"

enum { MAGIC = 0x07230203, HEADER_WORDS = 5 };
enum { OP_TYPE_INT = 21, OP_TYPE_FLOAT = 22 };
enum { OP_SPEC_CONSTANT_TRUE = 48, OP_SPEC_CONSTANT_FALSE = 49, OP_SPEC_CONSTANT = 50 };
enum { OP_DECORATE = 71, DECORATION_SPEC_ID = 1 };

static uint32_t word_at(const void *il, size_t index)
{
    uint32_t word;
    memcpy(&word, (const unsigned char *)il + sizeof word * index, sizeof word);
    return word;
}

bool pen_spirv_ok(const void *il, size_t size)
{
    return size / 4 >= HEADER_WORDS && size % 4 == 0 && word_at(il, 0) == MAGIC;
}

/* Index of the first instruction with this opcode and `id` as operand `operand`; 0 when there is none.
 * *out_words is its length. */
static size_t find(const void *il, size_t words, uint32_t opcode, uint32_t operand, uint32_t id, uint32_t *out_words)
{
    for (size_t at = HEADER_WORDS; at < words;) {
        uint32_t first = word_at(il, at), count = first >> 16;
        if (!count || count > words - at)
            return 0;
        if ((first & 0xffff) == opcode && count > operand && word_at(il, at + operand) == id) {
            *out_words = count;
            return at;
        }
        at += count;
    }
    return 0;
}

/* The id that is decorated with this SpecId, 0 when none is. */
static uint32_t decorated(const void *il, size_t words, uint32_t spec_id)
{
    for (size_t at = HEADER_WORDS; at < words;) {
        uint32_t first = word_at(il, at), count = first >> 16;
        if (!count || count > words - at)
            return 0;
        if ((first & 0xffff) == OP_DECORATE && count >= 4 && word_at(il, at + 2) == DECORATION_SPEC_ID &&
            word_at(il, at + 3) == spec_id)
            return word_at(il, at + 1);
        at += count;
    }
    return 0;
}

uint32_t pen_spirv_constant_size(const void *il, size_t size, uint32_t id)
{
    if (!pen_spirv_ok(il, size))
        return 0;
    size_t words = size / 4;
    uint32_t target = decorated(il, words, id), count;
    if (!target)
        return 0;
    /* result is operand 2 of these: Op | type | result */
    if (find(il, words, OP_SPEC_CONSTANT_TRUE, 2, target, &count) ||
        find(il, words, OP_SPEC_CONSTANT_FALSE, 2, target, &count))
        return 1;
    size_t at = find(il, words, OP_SPEC_CONSTANT, 2, target, &count);
    if (!at)
        return 0;
    uint32_t type = word_at(il, at + 1);
    at = find(il, words, OP_TYPE_INT, 1, type, &count);
    if (!at)
        at = find(il, words, OP_TYPE_FLOAT, 1, type, &count);
    uint32_t bits = at && count >= 3 ? word_at(il, at + 2) : 0;
    return bits == 8 || bits == 16 || bits == 32 || bits == 64 ? bits / 8 : 0;
}
