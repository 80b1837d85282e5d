/* Written by protocol/generate.py from mini.schema; change that instead. */
#ifndef PEN_MINI_PROTOCOL_H
#define PEN_MINI_PROTOCOL_H

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

#define PEN_PROTOCOL_NAME  "mini"
#define PEN_PROTOCOL_MAJOR 2
#define PEN_PROTOCOL_MINOR 5

/* Longest frame. */
#define PEN_LIMIT_FRAME 4096u
/* Longest name. */
#define PEN_LIMIT_NAME 16u
/* As many as fit on a hand. */
#define PEN_LIMIT_FEW 3u

enum pen_op {
    PEN_OP_PUT = 0x0001,
    PEN_OP_ASK = 0x0002,
    PEN_OP_TOLD = 0x0003,
    PEN_OP_NOTHING = 0x0004,
};

/* Values with gaps. */
enum pen_colour {
    PEN_COLOUR_RED = 1,
    PEN_COLOUR_GREEN = 2,
    PEN_COLOUR_BLUE = 128,
};
/* NULL for a value that the schema does not have. */
const char *pen_colour_name(enum pen_colour value);

/* How it is. */
enum pen_mood {
    PEN_MOOD_BAD = -1,
    /* As most days. */
    PEN_MOOD_FAIR = 0,
    PEN_MOOD_GOOD = 1,
};
/* NULL for a value that the schema does not have. */
const char *pen_mood_name(enum pen_mood value);

/* How large it is. */
enum pen_size {
    PEN_SIZE_SMALL = 0,
    PEN_SIZE_LARGE = 1,
};
/* NULL for a value that the schema does not have. */
const char *pen_size_name(enum pen_size value);

/* What one may do. */
enum pen_right {
    PEN_RIGHT_READ = 1u << 0,
    PEN_RIGHT_WRITE = 1u << 15,
};

/* Padded inside and at its end: `layer`, `x` and `y`. */
struct pen_point {
    uint8_t layer;
    uint64_t x;
    int32_t y;
};

/* A place with a name. */
struct pen_tagged {
    /* The name. */
    const char *tag; /* at most PEN_LIMIT_NAME bytes */
    struct pen_point at;
    /* How one comes there,
     * step by step. */
    const struct pen_point *path;
    uint32_t path_count; /* at most PEN_LIMIT_FEW */
};

/* Nothing but a bulk: `bytes`. */
struct pen_msg_put {
    struct pen_bulk bytes;
};
size_t pen_msg_put_size(const struct pen_msg_put *m);
void pen_msg_put_encode(const struct pen_msg_put *m, uint64_t sequence, void *frame);
int pen_msg_put_decode(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_msg_put *out);

/* A question: how `colour` and `rights` fit in a `range`. */
struct pen_msg_ask {
    /* Who asks. */
    uint64_t who;
    enum pen_colour colour;
    uint32_t rights; /* PEN_RIGHT_* */
    uint16_t reserved[3];
    int32_t range[2];
    /* Where it is asked. */
    struct pen_point at;
};
size_t pen_msg_ask_size(const struct pen_msg_ask *m);
void pen_msg_ask_encode(const struct pen_msg_ask *m, uint64_t sequence, void *frame);
int pen_msg_ask_decode(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_msg_ask *out);

/* The answer: `mood`, `size`, `raw` and `after_raw`, `all`, `last`, `one`, `text`, `few`. */
struct pen_msg_told {
    enum pen_mood mood;
    enum pen_size size;
    struct pen_bytes raw; /* at most PEN_LIMIT_NAME */
    uint64_t after_raw;
    const struct pen_tagged *all;
    uint32_t all_count; /* at most PEN_LIMIT_FEW */
    enum pen_colour last;
    struct pen_tagged one;
    const char *text; /* at most PEN_LIMIT_NAME bytes */
    const uint16_t *few;
    uint32_t few_count; /* at most PEN_LIMIT_FEW */
    struct pen_point end;
};
size_t pen_msg_told_size(const struct pen_msg_told *m);
void pen_msg_told_encode(const struct pen_msg_told *m, uint64_t sequence, void *frame);
int pen_msg_told_decode(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_msg_told *out);

/* Says nothing, both ways. */
struct pen_msg_nothing {
    uint8_t nothing; /* the message has no fields */
};
size_t pen_msg_nothing_size(const struct pen_msg_nothing *m);
void pen_msg_nothing_encode(const struct pen_msg_nothing *m, uint64_t sequence, void *frame);
int pen_msg_nothing_decode(const void *frame, size_t size, struct pen_scratch *scratch, struct pen_msg_nothing *out);

#endif
