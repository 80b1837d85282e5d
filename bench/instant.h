/* bench/instant.h - devices that take no time, for what the worker itself costs: a command is done when the caller says
 * so, on its thread, after all that were submitted before it. Programs have the kernels task1 to task8, of so many
 * regions, the last of which they write.
 * Threads: one, but for builds. */
#ifndef BENCH_INSTANT_H
#define BENCH_INSTANT_H

#include "backend/backend.h"

#define INSTANT_DEVICES 2u

extern const struct pen_backend_ops instant_ops;

/* One of the devices: all of one driver, or each of its own. direct: they work in host memory. */
struct pen_backend_device instant_device(uint32_t index, bool one_driver, bool direct);
/* Has all that was submitted be done. */
void instant_run(void);

#endif
