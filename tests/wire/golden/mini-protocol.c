/* Written by protocol/generate.py from mini.schema; change that instead. */
#include "mini-protocol.h"

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

static const char *const right_names[32] = {[0] = "read", [15] = "write"};

const char *pen_colour_name(enum pen_colour value)
{
    switch (value) {
    case PEN_COLOUR_RED:
        return "red";
    case PEN_COLOUR_GREEN:
        return "green";
    case PEN_COLOUR_BLUE:
        return "blue";
    }
    return NULL;
}

const char *pen_mood_name(enum pen_mood value)
{
    switch (value) {
    case PEN_MOOD_BAD:
        return "bad";
    case PEN_MOOD_FAIR:
        return "fair";
    case PEN_MOOD_GOOD:
        return "good";
    }
    return NULL;
}

const char *pen_size_name(enum pen_size value)
{
    switch (value) {
    case PEN_SIZE_SMALL:
        return "small";
    case PEN_SIZE_LARGE:
        return "large";
    }
    return NULL;
}

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

static bool known_colour(uint8_t value)
{
    return value == 1 || value == 2 || value == 128;
}

static bool known_mood(int32_t value)
{
    return value == -1 || value == 0 || value == 1;
}

static bool known_size(uint16_t value)
{
    return value <= 1;
}

static void encode_point(unsigned char *f, const struct pen_point *s)
{
    put_u8(f, s->layer);
    memset(f + 1, 0, 7);
    put_u64(f + 8, s->x);
    put_i32(f + 16, s->y);
    memset(f + 20, 0, 4);
}

static bool decode_point(const unsigned char *f, struct pen_point *out)
{
    out->layer = get_u8(f);
    if (!all_zero(f + 1, 7))
        return false;
    out->x = get_u64(f + 8);
    out->y = get_i32(f + 16);
    if (!all_zero(f + 20, 4))
        return false;
    return true;
}

static size_t put_point_list(unsigned char *f, size_t at, const struct pen_point *items, uint32_t count)
{
    at = put_list(f, at, NULL, count, 0);
    for (uint32_t i = 0; i < count; i++) {
        encode_point(f + at, &items[i]);
        at += 24;
    }
    return at;
}

static int take_point_list(struct cursor *c, uint32_t limit, const struct pen_point **out, uint32_t *out_count)
{
    uint32_t count;
    struct pen_point *items = NULL;
    int rc = take_count(c, limit, 24, 8, &count);
    if (rc)
        return rc;
    if (count) {
        items = pen_scratch_alloc(c->scratch, count * sizeof *items);
        if (!items)
            return -PEN_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!decode_point(c->frame + c->at, &items[i]))
            return -PEN_EPROTO;
        c->at += 24;
    }
    *out = items;
    *out_count = count;
    return 0;
}

static void print_point(struct printer *p, const char *name, const struct pen_point *s)
{
    print_open(p, name, '{');
    print_unsigned(p, "layer", s->layer);
    print_unsigned(p, "x", s->x);
    print_signed(p, "y", s->y);
    print_close(p, '}');
}

static bool size_tagged(size_t *io_at, const struct pen_tagged *s)
{
    size_t at = *io_at;
    if (!size_string(&at, s->tag, PEN_LIMIT_NAME))
        return false;
    at = ALIGN(at, 8) + 24;
    if (!size_list(&at, s->path_count, PEN_LIMIT_FEW, 24))
        return false;
    *io_at = at;
    return true;
}

static size_t encode_tagged(unsigned char *f, size_t at, const struct pen_tagged *s)
{
    at = put_string(f, at, s->tag);
    at = pad(f, at, 8);
    encode_point(f + at, &s->at);
    at += 24;
    at = put_point_list(f, at, s->path, s->path_count);
    return at;
}

static int decode_tagged(struct cursor *c, struct pen_tagged *out)
{
    const unsigned char *fixed;
    int rc;
    rc = take_string(c, PEN_LIMIT_NAME, &out->tag);
    if (rc)
        return rc;
    rc = take_fixed(c, 8, 24, &fixed);
    if (rc)
        return rc;
    if (!decode_point(fixed, &out->at))
        return -PEN_EPROTO;
    rc = take_point_list(c, PEN_LIMIT_FEW, &out->path, &out->path_count);
    if (rc)
        return rc;
    return 0;
}

static bool size_tagged_list(size_t *at, const struct pen_tagged *items, uint32_t count, uint32_t limit)
{
    if (!size_list(at, count, limit, 0))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!size_tagged(at, &items[i]))
            return false;
    return true;
}

static size_t put_tagged_list(unsigned char *f, size_t at, const struct pen_tagged *items, uint32_t count)
{
    at = put_list(f, at, NULL, count, 0);
    for (uint32_t i = 0; i < count; i++)
        at = encode_tagged(f, at, &items[i]);
    return at;
}

static int take_tagged_list(struct cursor *c, uint32_t limit, const struct pen_tagged **out, uint32_t *out_count)
{
    uint32_t count;
    struct pen_tagged *items = NULL;
    int rc = take_count(c, limit, 33, 8, &count);
    if (rc)
        return rc;
    if (count) {
        items = pen_scratch_alloc(c->scratch, count * sizeof *items);
        if (!items)
            return -PEN_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        rc = decode_tagged(c, &items[i]);
        if (rc)
            return rc;
    }
    *out = items;
    *out_count = count;
    return 0;
}

static void print_tagged(struct printer *p, const char *name, const struct pen_tagged *s)
{
    print_open(p, name, '{');
    print_string(p, "tag", s->tag);
    print_point(p, "at", &s->at);
    print_open(p, "path", '[');
    for (uint32_t i = 0; i < s->path_count; i++)
        print_point(p, NULL, &s->path[i]);
    print_close(p, ']');
    print_close(p, '}');
}

size_t pen_msg_put_size(const struct pen_msg_put *m)
{
    (void)m;
    return 32;
}

void pen_msg_put_encode(const struct pen_msg_put *m, uint64_t sequence, void *frame)
{
    unsigned char *f = frame;
    put_bulk(f + 16, &m->bytes);
    put_header(f, 32, PEN_OP_PUT, sequence);
}

int pen_msg_put_decode(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_msg_put *out)
{
    const unsigned char *f = frame;
    struct pen_msg_put m;
    int rc = check_frame(f, size, PEN_OP_PUT, 32, 32);
    if (rc)
        return rc;
    m.bytes = get_bulk(f + 16);
    (void)scratch;
    *out = m;
    return 0;
}

static int check_put(const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_put m;
    return pen_msg_put_decode(frame, size, scratch, &m);
}

static int print_msg_put(struct printer *p, const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_put m;
    int rc = pen_msg_put_decode(frame, size, scratch, &m);
    if (rc)
        return rc;
    print_begin(p, frame, "put");
    print_bulk(p, "bytes", &m.bytes);
    return 0;
}

static int bulk_put(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_bulk *out)
{
    struct pen_msg_put m;
    int rc = pen_msg_put_decode(frame, size, scratch, &m);
    if (rc)
        return rc;
    *out = m.bytes;
    return 1;
}

size_t pen_msg_ask_size(const struct pen_msg_ask *m)
{
    (void)m;
    return 72;
}

void pen_msg_ask_encode(const struct pen_msg_ask *m, uint64_t sequence, void *frame)
{
    unsigned char *f = frame;
    put_u64(f + 16, m->who);
    put_u8(f + 24, (uint8_t)m->colour);
    memset(f + 25, 0, 1);
    put_u16(f + 26, (uint16_t)m->rights);
    memset(f + 28, 0, 6);
    memset(f + 34, 0, 2);
    memcpy(f + 36, m->range, 8);
    memset(f + 44, 0, 4);
    encode_point(f + 48, &m->at);
    put_header(f, 72, PEN_OP_ASK, sequence);
}

int pen_msg_ask_decode(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_msg_ask *out)
{
    const unsigned char *f = frame;
    struct pen_msg_ask m;
    int rc = check_frame(f, size, PEN_OP_ASK, 72, 72);
    if (rc)
        return rc;
    m.who = get_u64(f + 16);
    if (!known_colour(get_u8(f + 24)))
        return -PEN_EPROTO;
    m.colour = (enum pen_colour)get_u8(f + 24);
    if (!all_zero(f + 25, 1))
        return -PEN_EPROTO;
    m.rights = get_u16(f + 26);
    if (m.rights & ~UINT32_C(0x8001))
        return -PEN_EPROTO;
    if (!all_zero(f + 28, 6))
        return -PEN_EPROTO;
    memcpy(m.reserved, f + 28, 6);
    if (!all_zero(f + 34, 2))
        return -PEN_EPROTO;
    memcpy(m.range, f + 36, 8);
    if (!all_zero(f + 44, 4))
        return -PEN_EPROTO;
    if (!decode_point(f + 48, &m.at))
        return -PEN_EPROTO;
    (void)scratch;
    *out = m;
    return 0;
}

static int check_ask(const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_ask m;
    return pen_msg_ask_decode(frame, size, scratch, &m);
}

static int print_msg_ask(struct printer *p, const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_ask m;
    int rc = pen_msg_ask_decode(frame, size, scratch, &m);
    if (rc)
        return rc;
    print_begin(p, frame, "ask");
    print_unsigned(p, "who", m.who);
    print_word(p, "colour", pen_colour_name(m.colour));
    print_flags(p, "rights", m.rights, right_names);
    print_open(p, "range", '[');
    for (uint32_t i = 0; i < 2; i++)
        print_signed(p, NULL, m.range[i]);
    print_close(p, ']');
    print_point(p, "at", &m.at);
    return 0;
}

size_t pen_msg_told_size(const struct pen_msg_told *m)
{
    size_t at = 22;
    if (!size_bytes(&at, m->raw.size, PEN_LIMIT_NAME))
        return 0;
    at = ALIGN(at, 8) + 8;
    if (!size_tagged_list(&at, m->all, m->all_count, PEN_LIMIT_FEW))
        return 0;
    at = ALIGN(at, 1) + 1;
    if (!size_tagged(&at, &m->one))
        return 0;
    if (!size_string(&at, m->text, PEN_LIMIT_NAME))
        return 0;
    if (!size_list(&at, m->few_count, PEN_LIMIT_FEW, 2))
        return 0;
    at = ALIGN(at, 8) + 24;
    at = ALIGN(at, 8);
    return at <= PEN_LIMIT_FRAME ? at : 0;
}

void pen_msg_told_encode(const struct pen_msg_told *m, uint64_t sequence, void *frame)
{
    unsigned char *f = frame;
    put_i32(f + 16, (int32_t)m->mood);
    put_u16(f + 20, (uint16_t)m->size);
    size_t at = 22;
    at = put_bytes(f, at, m->raw.data, m->raw.size);
    at = pad(f, at, 8);
    put_u64(f + at, m->after_raw);
    at += 8;
    at = put_tagged_list(f, at, m->all, m->all_count);
    at = pad(f, at, 1);
    put_u8(f + at, (uint8_t)m->last);
    at += 1;
    at = encode_tagged(f, at, &m->one);
    at = put_string(f, at, m->text);
    at = put_list(f, at, m->few, m->few_count, 2);
    at = pad(f, at, 8);
    encode_point(f + at, &m->end);
    at += 24;
    at = pad(f, at, 8);
    put_header(f, at, PEN_OP_TOLD, sequence);
}

int pen_msg_told_decode(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_msg_told *out)
{
    const unsigned char *f = frame;
    struct pen_msg_told m;
    int rc = check_frame(f, size, PEN_OP_TOLD, 112, PEN_LIMIT_FRAME);
    if (rc)
        return rc;
    if (!known_mood(get_i32(f + 16)))
        return -PEN_EPROTO;
    m.mood = (enum pen_mood)get_i32(f + 16);
    if (!known_size(get_u16(f + 20)))
        return -PEN_EPROTO;
    m.size = (enum pen_size)get_u16(f + 20);
    struct cursor cursor = {f, 22, size, scratch}, *c = &cursor;
    const void *run;
    const unsigned char *fixed;
    rc = take_bytes(c, PEN_LIMIT_NAME, &m.raw);
    if (rc)
        return rc;
    rc = take_fixed(c, 8, 8, &fixed);
    if (rc)
        return rc;
    m.after_raw = get_u64(fixed);
    rc = take_tagged_list(c, PEN_LIMIT_FEW, &m.all, &m.all_count);
    if (rc)
        return rc;
    rc = take_fixed(c, 1, 1, &fixed);
    if (rc)
        return rc;
    if (!known_colour(get_u8(fixed)))
        return -PEN_EPROTO;
    m.last = (enum pen_colour)get_u8(fixed);
    rc = decode_tagged(c, &m.one);
    if (rc)
        return rc;
    rc = take_string(c, PEN_LIMIT_NAME, &m.text);
    if (rc)
        return rc;
    rc = take_list(c, PEN_LIMIT_FEW, 2, &run, &m.few_count);
    if (rc)
        return rc;
    m.few = run;
    rc = take_fixed(c, 8, 24, &fixed);
    if (rc)
        return rc;
    if (!decode_point(fixed, &m.end))
        return -PEN_EPROTO;
    rc = take_end(c);
    if (rc)
        return rc;
    *out = m;
    return 0;
}

static int check_told(const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_told m;
    return pen_msg_told_decode(frame, size, scratch, &m);
}

static int print_msg_told(struct printer *p, const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_told m;
    int rc = pen_msg_told_decode(frame, size, scratch, &m);
    if (rc)
        return rc;
    print_begin(p, frame, "told");
    print_word(p, "mood", pen_mood_name(m.mood));
    print_word(p, "size", pen_size_name(m.size));
    print_bytes(p, "raw", &m.raw);
    print_unsigned(p, "after_raw", m.after_raw);
    print_open(p, "all", '[');
    for (uint32_t i = 0; i < m.all_count; i++)
        print_tagged(p, NULL, &m.all[i]);
    print_close(p, ']');
    print_word(p, "last", pen_colour_name(m.last));
    print_tagged(p, "one", &m.one);
    print_string(p, "text", m.text);
    print_open(p, "few", '[');
    for (uint32_t i = 0; i < m.few_count; i++)
        print_unsigned(p, NULL, m.few[i]);
    print_close(p, ']');
    print_point(p, "end", &m.end);
    return 0;
}

size_t pen_msg_nothing_size(const struct pen_msg_nothing *m)
{
    (void)m;
    return 16;
}

void pen_msg_nothing_encode(const struct pen_msg_nothing *m, uint64_t sequence, void *frame)
{
    unsigned char *f = frame;
    (void)m;
    put_header(f, 16, PEN_OP_NOTHING, sequence);
}

int pen_msg_nothing_decode(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_msg_nothing *out)
{
    const unsigned char *f = frame;
    struct pen_msg_nothing m;
    int rc = check_frame(f, size, PEN_OP_NOTHING, 16, 16);
    if (rc)
        return rc;
    m.nothing = 0;
    (void)scratch;
    *out = m;
    return 0;
}

static int check_nothing(const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_nothing m;
    return pen_msg_nothing_decode(frame, size, scratch, &m);
}

static int print_msg_nothing(struct printer *p, const void *frame, size_t size, struct pen_scratch *scratch)
{
    struct pen_msg_nothing m;
    int rc = pen_msg_nothing_decode(frame, size, scratch, &m);
    if (rc)
        return rc;
    print_begin(p, frame, "nothing");
    (void)p;
    return 0;
}

static const struct entry entries[] = {
    {{"put", PEN_OP_PUT, PEN_DIRECTION_COMMAND, 0},
     check_put, print_msg_put, bulk_put},
    {{"ask", PEN_OP_ASK, PEN_DIRECTION_COMMAND, PEN_OP_TOLD},
     check_ask, print_msg_ask, NULL},
    {{"told", PEN_OP_TOLD, PEN_DIRECTION_REPLY, 0},
     check_told, print_msg_told, NULL},
    {{"nothing", PEN_OP_NOTHING, PEN_DIRECTION_CONTROL, PEN_OP_NOTHING},
     check_nothing, print_msg_nothing, NULL},
};

static const struct entry *find(uint16_t opcode)
{
    switch (opcode) {
    case PEN_OP_PUT:
        return &entries[0];
    case PEN_OP_ASK:
        return &entries[1];
    case PEN_OP_TOLD:
        return &entries[2];
    case PEN_OP_NOTHING:
        return &entries[3];
    default:
        return NULL;
    }
}

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
