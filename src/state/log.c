/* state/log.c - see log.h. */
#include "state/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "penstock-protocol.h"
#include "wire/arena.h"

/* More than this is written past the buffer. */
#define BUFFER_BYTES (1u << 20)
/* Longest bulk that a reader accepts. */
#define BULK_MAX (UINT64_C(1) << 40)

int pen_log_bulk_size(const void *frame, size_t size, uint64_t *out_size)
{
    struct pen_bulk bulk;
    int rc = pen_arena_bulk(frame, size, &bulk);
    if (rc)
        return rc;
    if (bulk.size > BULK_MAX)
        return -PEN_ELIMIT;
    *out_size = bulk.size;
    return 0;
}

static uint64_t padding(uint64_t size)
{
    return -size & 7;
}

/* ---- writer --------------------------------------------------------------------------------------------------- */

struct pen_log_writer {
    int fd;
    pthread_mutex_t lock;
    /* guarded by lock */
    int error; /* sticky */
    size_t used;
    unsigned char *buffer;
};

static int write_out(struct pen_log_writer *writer, const void *bytes, uint64_t size)
{
    const unsigned char *at = bytes;
    while (size && !writer->error) {
        ssize_t n = write(writer->fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            writer->error = -PEN_EIO;
            break;
        }
        at += n;
        size -= (uint64_t)n;
    }
    return writer->error;
}

static int flush(struct pen_log_writer *writer)
{
    int rc = write_out(writer, writer->buffer, writer->used);
    writer->used = 0;
    return rc;
}

static int put(struct pen_log_writer *writer, const void *bytes, uint64_t size)
{
    if (size > BUFFER_BYTES - writer->used) {
        flush(writer);
        if (size > BUFFER_BYTES)
            return write_out(writer, bytes, size);
    }
    if (size)
        memcpy(writer->buffer + writer->used, bytes, size);
    writer->used += size;
    return writer->error;
}

int pen_log_writer_create(int fd, struct pen_log_writer **out_writer)
{
    struct pen_log_writer *writer = calloc(1, sizeof *writer);
    if (!writer || !(writer->buffer = calloc(1, BUFFER_BYTES))) {
        free(writer);
        return -PEN_ENOMEM;
    }
    writer->fd = fd;
    if (put(writer, PEN_LOG_MAGIC, 8) || flush(writer)) {
        free(writer->buffer);
        free(writer);
        return -PEN_EIO;
    }
    pthread_mutex_init(&writer->lock, NULL);
    *out_writer = writer;
    return 0;
}

int pen_log_append(struct pen_log_writer *writer, const void *frame, size_t size, const void *bulk, uint64_t bulk_size)
{
    static const unsigned char zeros[8];
    pthread_mutex_lock(&writer->lock);
    put(writer, frame, size);
    put(writer, bulk, bulk_size);
    int rc = put(writer, zeros, padding(bulk_size));
    pthread_mutex_unlock(&writer->lock);
    return rc;
}

int pen_log_flush(struct pen_log_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    int rc = flush(writer);
    pthread_mutex_unlock(&writer->lock);
    return rc;
}

int pen_log_writer_destroy(struct pen_log_writer *writer)
{
    if (!writer)
        return 0;
    int rc = flush(writer);
    if (close(writer->fd) && !rc)
        rc = -PEN_EIO;
    pthread_mutex_destroy(&writer->lock);
    free(writer->buffer);
    free(writer);
    return rc;
}

/* ---- reader --------------------------------------------------------------------------------------------------- */

struct pen_log_reader {
    FILE *file;
    uint64_t offset;
    bool truncated;
    struct pen_scratch scratch;
    unsigned char *bulk;
    uint64_t bulk_capacity;
    unsigned char *frame; /* PEN_LIMIT_FRAME bytes */
};

int pen_log_probe(int fd)
{
    char magic[sizeof PEN_LOG_MAGIC - 1];
    size_t size = 0;
    ssize_t got = 1;
    while (size < sizeof magic && got > 0)
        if ((got = read(fd, magic + size, sizeof magic - size)) > 0)
            size += (size_t)got;
    if (got < 0)
        return -PEN_EIO;
    if (!size)
        return 0;
    return size == sizeof magic && !memcmp(magic, PEN_LOG_MAGIC, size) ? 1 : -PEN_EVERSION;
}

int pen_log_reader_create(int fd, struct pen_log_reader **out_reader, struct pen_error *error)
{
    int found = pen_log_probe(fd);
    if (found == -PEN_EIO)
        return pen_fail(error, -PEN_EIO, "the file cannot be read: %s", strerror(errno));
    if (found != 1)
        return pen_fail(error, -PEN_EVERSION,
                        "the file is no session's log of this version: it does not begin with PENLOG 1");
    struct pen_log_reader *reader = calloc(1, sizeof *reader);
    if (!reader || !(reader->frame = aligned_alloc(64, PEN_LIMIT_FRAME)) || !(reader->file = fdopen(fd, "rb"))) {
        if (reader)
            free(reader->frame);
        free(reader);
        return pen_fail(error, -PEN_ENOMEM, "out of memory to read a log");
    }
    reader->offset = sizeof PEN_LOG_MAGIC - 1;
    *out_reader = reader;
    return 0;
}

void pen_log_reader_destroy(struct pen_log_reader *reader)
{
    if (!reader)
        return;
    if (reader->file)
        fclose(reader->file);
    pen_scratch_finish(&reader->scratch);
    free(reader->bulk);
    free(reader->frame);
    free(reader);
}

bool pen_log_truncated(const struct pen_log_reader *reader)
{
    return reader->truncated;
}

/* 1 when all of it was read; 0 at the end (in the middle: truncated). */
static int take(struct pen_log_reader *reader, void *to, uint64_t size, bool first)
{
    size_t n = fread(to, 1, size, reader->file);
    if (n == size)
        return 1;
    reader->truncated = n || !first;
    return 0;
}

/* Grown as bytes arrive: a damaged size costs no more memory than the file has. */
static int take_bulk(struct pen_log_reader *reader, uint64_t size)
{
    uint64_t done = 0;
    while (done < size) {
        if (done == reader->bulk_capacity) {
            uint64_t capacity = done ? done * 2 : BUFFER_BYTES;
            unsigned char *grown = realloc(reader->bulk, capacity);
            if (!grown)
                return -PEN_ENOMEM;
            reader->bulk = grown;
            reader->bulk_capacity = capacity;
        }
        uint64_t want = reader->bulk_capacity < size ? reader->bulk_capacity - done : size - done;
        if (take(reader, reader->bulk + done, want, false) == 0)
            return 0;
        done += want;
    }
    return 1;
}

static int damaged(const struct pen_log_reader *reader, int code, struct pen_error *error)
{
    const struct pen_message_info *info = pen_message_info(((const struct pen_frame_header *)reader->frame)->opcode);
    if (code == -PEN_ELIMIT && info)
        return pen_fail(error, code,
                        "the log is damaged at byte %" PRIu64 ": \"%s\" is over a limit of one of its fields "
                        "(penstock.schema), or has more than %" PRIu64 " bytes beside it (limit BULK_MAX)",
                        reader->offset, info->name, BULK_MAX);
    return pen_fail(error, code, "the log is damaged at byte %" PRIu64 ": %s", reader->offset, pen_error_text(code));
}

int pen_log_next(struct pen_log_reader *reader, struct pen_log_entry *out_entry, struct pen_error *error)
{
    struct pen_frame_header *header = (struct pen_frame_header *)reader->frame;
    uint64_t bulk = 0;
    size_t size;
    pen_scratch_reset(&reader->scratch);
    int rc = take(reader, reader->frame, sizeof *header, true);
    if (rc <= 0)
        return rc;
    if ((rc = pen_frame_check_header(reader->frame, sizeof *header, &size)))
        return damaged(reader, rc, error);
    rc = take(reader, reader->frame + sizeof *header, size - sizeof *header, false);
    if (rc <= 0)
        return rc;
    if ((rc = pen_message_check(reader->frame, size, &reader->scratch)) ||
        (rc = pen_log_bulk_size(reader->frame, size, &bulk)))
        return damaged(reader, rc, error);
    rc = take_bulk(reader, bulk + padding(bulk));
    if (rc < 0)
        return pen_fail(error, rc, "out of memory for %" PRIu64 " bytes beside a command of the log", bulk);
    if (!rc)
        return 0;
    *out_entry = (struct pen_log_entry){.frame = reader->frame,
                                        .size = size,
                                        .opcode = header->opcode,
                                        .sequence = header->sequence,
                                        .bulk = bulk ? reader->bulk : NULL,
                                        .bulk_size = bulk,
                                        .file_offset = reader->offset};
    reader->offset += size + bulk + padding(bulk);
    return 1;
}
