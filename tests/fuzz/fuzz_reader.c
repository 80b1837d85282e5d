/* Any bytes as a stream: the buffered reader finds the same frames however the stream is cut. The first byte says how.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "net/unix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool what)
{
    if (!what)
        abort();
}

/* Feeds `step` bytes at a time; returns a hash of what came out, the error included. */
static uint64_t frames_of(const uint8_t *data, size_t size, size_t step)
{
    struct pen_frame_reader reader = {0};
    uint64_t hash = 14695981039346656037u;
    int rc = 0;
    for (size_t at = 0; at < size && rc >= 0;) {
        const void *frame;
        size_t length, space, claimed;
        void *to;
        require(!pen_frame_reader_space(&reader, &to, &space) && space);
        size_t part = size - at < step ? size - at : step;
        part = part < space ? part : space;
        memcpy(to, data + at, part);
        pen_frame_reader_filled(&reader, part);
        at += part;
        while ((rc = pen_frame_reader_next(&reader, &frame, &length)) == 1) {
            require(!pen_frame_check_header(frame, length, &claimed) && claimed == length && (uintptr_t)frame % 8 == 0);
            for (size_t i = 0; i < length; i++)
                hash = (hash ^ ((const uint8_t *)frame)[i]) * 1099511628211u;
        }
    }
    pen_frame_reader_finish(&reader);
    return hash * 31 + (uint64_t)-rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1)
        require(frames_of(data + 1, size - 1, data[0] + 1u) == frames_of(data + 1, size - 1, SIZE_MAX));
    return 0;
}
