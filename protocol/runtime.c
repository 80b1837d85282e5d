The hand-written parts of the generated C. emit_c.py puts `header` at the head of the header, `source` after the
source's includes, of `helpers` those that are called, and `tail` at the end. This file is not compiled by itself.

//// header
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "base/scratch.h"

/* For every message X:
 *   pen_msg_X_size     bytes of the whole frame, a multiple of 8; 0: a list, text or the frame is over its limit
 *   pen_msg_X_encode   writes exactly that many bytes at an 8-aligned frame
 *   pen_msg_X_decode   0, -PEN_EPROTO malformed, -PEN_ELIMIT over a limit, -PEN_ENOMEM; checks everything; *out is
 *                      untouched on failure, and otherwise points into the frame and into scratch
 * A NULL string encodes as "". Fields named `reserved` are written as zero. Threads: any, nothing is shared. */

struct pen_frame_header {
    uint32_t size; /* of the whole frame, bytes */
    uint16_t opcode, reserved;
    uint64_t sequence;
};

struct pen_bytes {
    const void *data;
    uint32_t size;
};

/* A range of the session's arena, bytes. */
struct pen_bulk {
    uint64_t offset, size;
};

enum pen_direction { PEN_DIRECTION_COMMAND, PEN_DIRECTION_REPLY, PEN_DIRECTION_CONTROL };

struct pen_message_info {
    const char *name;
    uint16_t opcode;
    enum pen_direction direction;
    uint16_t answer; /* opcode of the message that the sender waits for, or 0 */
};

/* Whether a frame's first bytes are a sane header; *out_size is then the frame's size (at most PEN_LIMIT_FRAME).
 * 0 or -PEN_EPROTO, also when fewer than a header's bytes are available. */
int pen_frame_check_header(const void *bytes, size_t available, size_t *out_size);
/* NULL: no such message. */
const struct pen_message_info *pen_message_info(uint16_t opcode);
/* Decodes whatever message it is and drops the result: 0 or the decoder's error. */
int pen_message_check(const void *frame, size_t size, struct pen_scratch *scratch);
/* One line: `SEQUENCE NAME FIELD=VALUE ...`, or one JSON object. 0, the decoder's error (nothing is then printed),
 * or -PEN_EIO. */
int pen_message_print(FILE *file, const void *frame, size_t size, bool json);
/* 1: *out is the arena range that the message carries; 0: it carries none; else the decoder's error. */
int pen_message_bulk(const void *frame, size_t size, struct pen_bulk *out);

//// source

#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are copied as they lie in memory");
_Static_assert(sizeof(struct pen_frame_header) == 16, "the header has no padding");

#define ALIGN(at, to) (((at) + ((to)-1)) & ~(size_t)((to)-1))

/* Where a decoder is in a frame, from the first field of varying size on. */
struct cursor {
    const unsigned char *frame;
    size_t at, size;
    struct pen_scratch *scratch;
};

struct printer {
    FILE *file;
    bool json;
    bool first; /* nothing yet inside the innermost bracket */
};

struct entry {
    struct pen_message_info info;
    int (*check)(const void *frame, size_t size, struct pen_scratch *scratch);
    int (*print)(struct printer *p, const void *frame, size_t size, struct pen_scratch *scratch);
    int (*bulk)(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_bulk *out);
};

//// helpers
static void put_u8(unsigned char *f, uint8_t value)
{
    *f = value;
}

static void put_u16(unsigned char *f, uint16_t value)
{
    memcpy(f, &value, sizeof value);
}

static void put_u32(unsigned char *f, uint32_t value)
{
    memcpy(f, &value, sizeof value);
}

static void put_u64(unsigned char *f, uint64_t value)
{
    memcpy(f, &value, sizeof value);
}

static void put_i32(unsigned char *f, int32_t value)
{
    memcpy(f, &value, sizeof value);
}

static void put_bulk(unsigned char *f, const struct pen_bulk *bulk)
{
    put_u64(f, bulk->offset);
    put_u64(f + 8, bulk->size);
}

static void put_header(unsigned char *f, size_t size, uint16_t opcode, uint64_t sequence)
{
    put_u32(f, (uint32_t)size);
    put_u16(f + 4, opcode);
    put_u16(f + 6, 0);
    put_u64(f + 8, sequence);
}

static uint8_t get_u8(const unsigned char *f)
{
    return *f;
}

static uint16_t get_u16(const unsigned char *f)
{
    uint16_t value;
    memcpy(&value, f, sizeof value);
    return value;
}

static uint32_t get_u32(const unsigned char *f)
{
    uint32_t value;
    memcpy(&value, f, sizeof value);
    return value;
}

static uint64_t get_u64(const unsigned char *f)
{
    uint64_t value;
    memcpy(&value, f, sizeof value);
    return value;
}

static int32_t get_i32(const unsigned char *f)
{
    int32_t value;
    memcpy(&value, f, sizeof value);
    return value;
}

static struct pen_bulk get_bulk(const unsigned char *f)
{
    return (struct pen_bulk){get_u64(f), get_u64(f + 8)};
}

static bool all_zero(const unsigned char *f, size_t count)
{
    unsigned char any = 0;
    for (size_t i = 0; i < count; i++)
        any |= f[i];
    return !any;
}

/* Sizes: false when over the limit. */
static bool size_list(size_t *at, uint32_t count, uint32_t limit, size_t element)
{
    *at = ALIGN(ALIGN(*at, 4) + 4, 8) + count * element;
    return count <= limit;
}

static bool size_bytes(size_t *at, size_t size, size_t limit)
{
    *at = ALIGN(*at, 4) + 4 + size;
    return size <= limit;
}

static bool size_string(size_t *at, const char *text, size_t limit)
{
    size_t length = text ? strnlen(text, limit + 1) : 0;
    *at = ALIGN(*at, 4) + 4 + length + 1;
    return length <= limit;
}

/* Encoding: each returns where it ended. */
static size_t pad(unsigned char *f, size_t at, size_t to)
{
    size_t end = ALIGN(at, to);
    while (at < end)
        f[at++] = 0;
    return end;
}

static size_t put_count(unsigned char *f, size_t at, uint32_t count)
{
    at = pad(f, at, 4);
    put_u32(f + at, count);
    return at + 4;
}

/* With items NULL: only the count and the padding before the elements. */
static size_t put_list(unsigned char *f, size_t at, const void *items, uint32_t count, size_t element)
{
    at = pad(f, put_count(f, at, count), 8);
    if (items && count)
        memcpy(f + at, items, count * element);
    return at + count * element;
}

static size_t put_bytes(unsigned char *f, size_t at, const void *data, uint32_t size)
{
    at = put_count(f, at, size);
    if (size)
        memcpy(f + at, data, size);
    return at + size;
}

static size_t put_string(unsigned char *f, size_t at, const char *text)
{
    size_t length = text ? strlen(text) : 0;
    at = put_bytes(f, at, text, (uint32_t)length);
    f[at] = 0;
    return at + 1;
}

/* Decoding. `most` bounds messages of fixed size too: they must match it exactly. */
static int check_frame(const unsigned char *f, size_t size, uint16_t opcode, size_t least, size_t most)
{
    if (((uintptr_t)f & 7) || size < least || size > most || (size & 7))
        return -PEN_EPROTO;
    if (get_u32(f) != size || get_u16(f + 4) != opcode || get_u16(f + 6))
        return -PEN_EPROTO;
    return 0;
}

static int take_padding(struct cursor *c, size_t to)
{
    size_t end = ALIGN(c->at, to);
    if (end > c->size || !all_zero(c->frame + c->at, end - c->at))
        return -PEN_EPROTO;
    c->at = end;
    return 0;
}

static int take_fixed(struct cursor *c, size_t to, size_t size, const unsigned char **out)
{
    int rc = take_padding(c, to);
    if (rc)
        return rc;
    if (c->size - c->at < size)
        return -PEN_EPROTO;
    *out = c->frame + c->at;
    c->at += size;
    return 0;
}

/* A count, checked against its limit and against the bytes that are left; `least` is what one element takes. */
static int take_count(struct cursor *c, uint32_t limit, size_t least, size_t to, uint32_t *out)
{
    const unsigned char *at;
    int rc = take_fixed(c, 4, 4, &at);
    if (rc)
        return rc;
    uint32_t count = get_u32(at);
    if (count > limit)
        return -PEN_ELIMIT;
    rc = take_padding(c, to);
    if (rc)
        return rc;
    if ((c->size - c->at) / least < count)
        return -PEN_EPROTO;
    *out = count;
    return 0;
}

static int take_list(struct cursor *c, uint32_t limit, size_t element, const void **out, uint32_t *out_count)
{
    int rc = take_count(c, limit, element, 8, out_count);
    if (rc)
        return rc;
    *out = c->frame + c->at;
    c->at += *out_count * element;
    return 0;
}

static int take_bytes(struct cursor *c, uint32_t limit, struct pen_bytes *out)
{
    int rc = take_count(c, limit, 1, 1, &out->size);
    if (rc)
        return rc;
    out->data = c->frame + c->at;
    c->at += out->size;
    return 0;
}

static int take_string(struct cursor *c, uint32_t limit, const char **out)
{
    struct pen_bytes text;
    const unsigned char *end;
    int rc = take_bytes(c, limit, &text);
    if (!rc)
        rc = take_fixed(c, 1, 1, &end);
    if (rc)
        return rc;
    if (*end || memchr(text.data, 0, text.size))
        return -PEN_EPROTO;
    *out = text.data;
    return 0;
}

static int take_end(struct cursor *c)
{
    int rc = take_padding(c, 8);
    if (rc)
        return rc;
    return c->at == c->size ? 0 : -PEN_EPROTO;
}

/* Printing. A name is NULL for an element of a list. */
static void print_name(struct printer *p, const char *name)
{
    if (!p->first)
        fputs(p->json || !name ? ", " : " ", p->file);
    p->first = false;
    if (name)
        fprintf(p->file, p->json ? "\"%s\": " : "%s=", name);
}

static void print_open(struct printer *p, const char *name, char bracket)
{
    print_name(p, name);
    fputc(bracket, p->file);
    p->first = true;
}

static void print_close(struct printer *p, char bracket)
{
    fputc(bracket, p->file);
    p->first = false;
}

static void print_unsigned(struct printer *p, const char *name, uint64_t value)
{
    print_name(p, name);
    fprintf(p->file, "%" PRIu64, value);
}

static void print_signed(struct printer *p, const char *name, int64_t value)
{
    print_name(p, name);
    fprintf(p->file, "%" PRId64, value);
}

static void print_word(struct printer *p, const char *name, const char *word)
{
    print_name(p, name);
    fprintf(p->file, p->json ? "\"%s\"" : "%s", word);
}

static void print_flags(struct printer *p, const char *name, uint32_t value, const char *const *names)
{
    bool first = true;
    print_name(p, name);
    if (p->json)
        fputc('[', p->file);
    for (uint32_t bit = 0; bit < 32; bit++) {
        if (!(value & (UINT32_C(1) << bit)))
            continue;
        if (!first)
            fputs(p->json ? ", " : "|", p->file);
        fprintf(p->file, p->json ? "\"%s\"" : "%s", names[bit]);
        first = false;
    }
    if (p->json)
        fputc(']', p->file);
    else if (first)
        fputc('0', p->file);
}

/* Quoted as in JSON, in text too, so that a line stays a line. */
static void print_string(struct printer *p, const char *name, const char *text)
{
    print_name(p, name);
    fputc('"', p->file);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t length = pen_utf8_length((const char *)at);
        if (*at == '"' || *at == '\\')
            fprintf(p->file, "\\%c", *at);
        else if (*at == '\n')
            fputs("\\n", p->file);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(p->file, "\\u%04x", *at);
        else if (!length)
            fputs("\\ufffd", p->file);
        else
            fwrite(at, 1, length, p->file);
        at += length ? length : 1;
    }
    fputc('"', p->file);
}

/* Hexadecimal; in text only the first 32. */
static void print_bytes(struct printer *p, const char *name, const struct pen_bytes *bytes)
{
    const unsigned char *data = bytes->data;
    uint32_t shown = p->json || bytes->size <= 32 ? bytes->size : 32;
    print_name(p, name);
    if (p->json)
        fputc('"', p->file);
    else
        fprintf(p->file, "<%" PRIu32 ">", bytes->size);
    for (uint32_t i = 0; i < shown; i++)
        fprintf(p->file, "%02x", data[i]);
    fputs(p->json ? "\"" : shown < bytes->size ? ".." : "", p->file);
}

static void print_bulk(struct printer *p, const char *name, const struct pen_bulk *bulk)
{
    print_open(p, name, '{');
    print_unsigned(p, "offset", bulk->offset);
    print_unsigned(p, "size", bulk->size);
    print_close(p, '}');
}

static void print_begin(struct printer *p, const void *frame, const char *message)
{
    uint64_t sequence = get_u64((const unsigned char *)frame + 8);
    if (p->json)
        fprintf(p->file, "{\"sequence\": %" PRIu64 ", \"op\": \"%s\"", sequence, message);
    else
        fprintf(p->file, "%" PRIu64 " %s", sequence, message);
    p->first = false;
}

//// tail
/* The entry of a frame whose header is sane and whose size is `size`; NULL otherwise. */
static const struct entry *entry_of(const void *frame, size_t size)
{
    size_t whole;
    if (pen_frame_check_header(frame, size, &whole) || whole != size)
        return NULL;
    return find(get_u16((const unsigned char *)frame + 4));
}

int pen_frame_check_header(const void *bytes, size_t available, size_t *out_size)
{
    const unsigned char *f = bytes;
    if (available < sizeof(struct pen_frame_header))
        return -PEN_EPROTO;
    size_t size = get_u32(f);
    if (size < sizeof(struct pen_frame_header) || size > PEN_LIMIT_FRAME || (size & 7) || get_u16(f + 6))
        return -PEN_EPROTO;
    *out_size = size;
    return 0;
}

const struct pen_message_info *pen_message_info(uint16_t opcode)
{
    const struct entry *entry = find(opcode);
    return entry ? &entry->info : NULL;
}

int pen_message_check(const void *frame, size_t size, struct pen_scratch *scratch)
{
    const struct entry *entry = entry_of(frame, size);
    return entry ? entry->check(frame, size, scratch) : -PEN_EPROTO;
}

int pen_message_print(FILE *file, const void *frame, size_t size, bool json)
{
    const struct entry *entry = entry_of(frame, size);
    struct pen_scratch scratch = {0};
    struct printer p = {.file = file, .json = json};
    if (!entry)
        return -PEN_EPROTO;
    int rc = entry->print(&p, frame, size, &scratch);
    pen_scratch_finish(&scratch);
    if (rc)
        return rc;
    fputs(json ? "}\n" : "\n", file);
    return ferror(file) ? -PEN_EIO : 0;
}

int pen_message_bulk(const void *frame, size_t size, struct pen_bulk *out)
{
    const struct entry *entry = entry_of(frame, size);
    struct pen_scratch scratch = {0};
    if (!entry)
        return -PEN_EPROTO;
    int rc = entry->bulk ? entry->bulk(frame, size, &scratch, out) : entry->check(frame, size, &scratch);
    pen_scratch_finish(&scratch);
    return rc;
}
