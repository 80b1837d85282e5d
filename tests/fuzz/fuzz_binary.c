/* Any bytes as a portable program binary: the decoder reads nothing outside them (ASan), and what it takes is exactly
 * what the encoder makes of it. Size and checksum are mended, so that mutations reach what comes after them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "icd/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PRELUDE 24u

static void check(const unsigned char *bytes, size_t size)
{
    struct pen_container container = {0};
    if (pen_container_decode(bytes, size, &container))
        return;
    void *again;
    size_t again_size;
    if (pen_container_encode(&container, &again, &again_size) || again_size != size || memcmp(again, bytes, size) != 0)
        abort();
    free(again);
    pen_container_finish(&container);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size);
    if (size < PRELUDE)
        return 0;
    unsigned char *mended = malloc(size);
    if (!mended)
        return 0;
    memcpy(mended, data, size);
    memcpy(mended, PEN_CONTAINER_MAGIC, 8);
    uint64_t prelude[2] = {size, XXH64(mended + PRELUDE, size - PRELUDE, 0)};
    memcpy(mended + 8, prelude, sizeof prelude);
    check(mended, size);
    free(mended);
    return 0;
}
