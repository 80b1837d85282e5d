/* bench/timed.h - devices like those of instant.h, whose commands take time: each does one at a time, the oldest that
 * can begin, and copies go beside them. The time is theirs: it stands still until they go on, also for the rest of the
 * program. Threads: one, but for builds. */
#ifndef BENCH_TIMED_H
#define BENCH_TIMED_H

#include "backend/backend.h"

/* Of kernels that run so long, and copies of so many bytes a microsecond. */
struct pen_backend_ops timed_ops(uint64_t kernel_ns, uint64_t copied_per_us);
/* The next command that ends does. */
void timed_go_on(void);

#endif
