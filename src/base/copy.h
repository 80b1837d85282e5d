/* base/copy.h - copying bytes, also very many.
 * Threads: any. */
#ifndef PEN_BASE_COPY_H
#define PEN_BASE_COPY_H

#include <stddef.h>

/* From here on a copy is larger than what caches keep, and memory's bandwidth is what counts. */
#define PEN_COPY_LARGE ((size_t)8 << 20)

/* As memmove. Large copies that do not overlap use the processor's own string copy where that is the fastest:
 * bench/README.md has what it gains. */
void pen_copy(void *to, const void *from, size_t size);

#endif
