/* Any bytes as a frame: the decoder reads nothing outside them (ASan), the printer prints what it lets through, and
 * what it lets through is exactly what the encoder makes of it. The header's size is mended, so that mutations reach
 * what comes after it. */
#include <stdlib.h>
#include <string.h>

#include "frames.h"
#include "penstock-protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const unsigned char *frame, size_t size)
{
    static _Alignas(8) unsigned char out[PEN_LIMIT_FRAME];
    static FILE *nowhere;
    static struct pen_scratch scratch;
    struct pen_bulk bulk;
    size_t out_size = 0;
    int rc = again(frame, size, &scratch, out, &out_size);
    pen_scratch_reset(&scratch);
    if ((pen_message_check(frame, size, &scratch) == 0) != (rc == 0))
        abort();
    pen_scratch_reset(&scratch);
    if (rc)
        return;
    if (out_size != size || memcmp(out, frame, size) != 0 || pen_message_bulk(frame, size, &bulk) < 0)
        abort();
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    if (pen_message_print(nowhere, frame, size, size & 8))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t claimed;
    pen_frame_check_header(data, size, &claimed);
    if (size < sizeof(struct pen_frame_header) || size > PEN_LIMIT_FRAME)
        return 0;
    size &= ~(size_t)7;
    unsigned char *frame = malloc(size);
    memcpy(frame, data, size);
    decode(frame, size);
    uint32_t mended = (uint32_t)size;
    memcpy(frame, &mended, sizeof mended);
    decode(frame, size);
    free(frame);
    return 0;
}
