/* state/log.h - a session's log in a file: what `penstock log record` writes and `dump` and `replay` read.
 *
 *   8 bytes "PENLOG\0\1", then entries, each 8-aligned:
 *     a frame of the schema (header with its size, sequence as in the session), then
 *     the bytes beside it, if it has any (padded with zeros to a multiple of 8):
 *       a message with a `bulk` field: that arena range's bytes, as they were when the command was executed;
 *       region_create with initialized = 1: the region's contents (`size` bytes).
 *   The first entries are `hello` (the program's name) and one `device` for each device (sequence 0).
 *   A `read_digest` entry carries the sequence of the `read` it belongs to; it follows it at some distance.
 *   A log that stops in the middle of an entry (the program was killed) is valid up to there.
 *
 * Ownership: writer and reader own their file descriptor (takes).
 * Threads:   a writer may be used from any thread (it locks); a reader from one.
 * Errors:    0 or -PEN_E*. A writer that failed once (full disk) drops everything after it and says so once. */
#ifndef PEN_STATE_LOG_H
#define PEN_STATE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PEN_LOG_MAGIC "PENLOG\0\1"

/* In `placed` and `executed`: commands have their sequence, copies that the worker makes by itself a number from here
 * on.
 */
#define PEN_LOG_COPIES (UINT64_C(1) << 63)

struct pen_log_writer;

/* Takes fd on success; writes the magic. */
int pen_log_writer_create(int fd, struct pen_log_writer **out_writer);
/* Flushes and closes. Accepts NULL. 0, or the first error. */
int pen_log_writer_destroy(struct pen_log_writer *writer);
/* Appends one entry; bulk may be NULL with bulk_size 0. `frame` is checked by the caller. */
int pen_log_append(struct pen_log_writer *writer, const void *frame, size_t size, const void *bulk, uint64_t bulk_size);
int pen_log_flush(struct pen_log_writer *writer);

struct pen_log_reader;

struct pen_log_entry {
    const void *frame; /* checked with pen_message_check; 8-aligned; valid until the next call */
    size_t size;
    uint16_t opcode;
    uint64_t sequence;
    const void *bulk; /* NULL when there is none */
    uint64_t bulk_size;
    uint64_t file_offset;
};

/* What the descriptor's file begins with: 1: a log of this version; 0: it is empty; -PEN_EVERSION: something else;
 * -PEN_EIO: it cannot be read, and errno tells why. */
int pen_log_probe(int fd);
/* Takes fd on success. -PEN_EVERSION when it is not a log of this version. */
int pen_log_reader_create(int fd, struct pen_log_reader **out_reader, struct pen_error *error);
void pen_log_reader_destroy(struct pen_log_reader *reader);
/* 1: an entry; 0: the end; -PEN_EPROTO with a sentence (file offset) when the log is damaged. */
int pen_log_next(struct pen_log_reader *reader, struct pen_log_entry *out_entry, struct pen_error *error);
/* True when the end was reached in the middle of an entry. */
bool pen_log_truncated(const struct pen_log_reader *reader);

/* Bytes beside a checked frame in a log: 0 when it has none. */
int pen_log_bulk_size(const void *frame, size_t size, uint64_t *out_size);

#endif
