/* tests/wire/frames.h - what frames.py makes for the tests and the fuzzers. */
#ifndef PEN_TESTS_WIRE_FRAMES_H
#define PEN_TESTS_WIRE_FRAMES_H

#include <stddef.h>

struct pen_scratch;

/* Decodes a frame and encodes the result into out (room for a longest frame). *out_size is 0 when the encoder
 * refuses what the decoder let through. 0 or the decoder's error. */
int again(const void *frame, size_t size, struct pen_scratch *scratch, void *out, size_t *out_size);

#endif
