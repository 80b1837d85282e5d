/* A client that writes any bytes to the ring and any number to head, between the reader's steps: the reader hands out
 * whole, private frames or -PEN_EPROTO for ever, and reads nothing outside the ring (ASan would not see it: the
 * mapping's neighbours are not readable, so that is a crash).
 *
 * The input is a program: 0 n bytes: written and published; 1 and eight bytes: head; 2: pen_ring_next; 3:
 * pen_ring_wait; 4 n bytes: written over what was published before. */
#include <stdlib.h>
#include <string.h>

#include "wire/ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pen_shared_view view;

static void require(bool what)
{
    if (!what)
        abort();
}

static void next(struct pen_ring_reader *reader, bool *broken)
{
    const void *frame = NULL;
    size_t size = 0, claimed;
    uint64_t before = reader->tail;
    int rc = pen_ring_next(reader, &frame, &size);
    require(rc == 1 || rc == 0 || rc == -PEN_EPROTO);
    require(!*broken || rc == -PEN_EPROTO);
    *broken = rc < 0;
    if (rc == 1) {
        require(frame == reader->frame && !pen_frame_check_header(frame, size, &claimed) && claimed == size);
        require(reader->tail == before + size && reader->head - reader->tail <= view.ring_bytes);
    } else {
        require(reader->tail == before && !frame && !size);
    }
}

/* Writes what is left of the input, at most `count` bytes, at `position` of the ring. */
static size_t scribble(uint64_t position, size_t count, const uint8_t *data, size_t left)
{
    count = count < left ? count : left;
    memcpy(view.ring + (position & (view.ring_bytes - 1)), data, count);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pen_ring_reader reader;
    int fd;
    bool broken = false;
    if (!view.shared)
        require(!pen_shared_create(PEN_RING_BYTES_MIN, &fd, &view, NULL));
    memset(view.ring, 0, PEN_LIMIT_FRAME);
    view.shared->head = view.shared->tail = 0;
    require(!pen_ring_reader_init(&reader, &view));
    for (size_t at = 0; at < size;) {
        uint8_t operation = data[at++] % 5;
        size_t left = size - at, count = left ? data[at] * 8u : 0;
        uint64_t head = view.shared->head;
        if ((operation == 0 || operation == 4) && left) {
            at++;
            at += scribble(operation ? reader.tail : head, count, data + at, left - 1);
            view.shared->head = operation ? head : head + count;
        } else if (operation == 1 && left >= sizeof head) {
            memcpy(&head, data + at, sizeof head);
            at += sizeof head;
            view.shared->head = head;
        } else if (operation == 3) {
            require(!!(pen_ring_wait(&reader, 0, 0) & PEN_RING_FRAMES) == pen_ring_ready(&reader));
        } else {
            next(&reader, &broken);
        }
    }
    for (int i = 0; i < 64; i++)
        next(&reader, &broken);
    pen_ring_reader_finish(&reader);
    return 0;
}
