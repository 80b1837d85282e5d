/* base/utf8.h - text that others chose: what of it is UTF-8 (RFC 3629).
 * Threads: any. */
#ifndef PEN_BASE_UTF8_H
#define PEN_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the character that zero-terminated `text` begins with; 0 when it begins with none. */
size_t pen_utf8_length(const char *text);
/* As much of `text` as `size` bytes hold, zero-terminated, cut between two characters. */
void pen_utf8_copy(char *out, size_t size, const char *text);

#endif
