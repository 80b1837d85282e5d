/* base/streams.h - the standard streams.
 * Threads: one; to be called first of all. */
#ifndef PEN_BASE_STREAMS_H
#define PEN_BASE_STREAMS_H

/* Opens those of descriptors 0 to 2 that are closed, so that nothing else gets their numbers: what would be written to
 * standard error would go there, and children would keep it. Using them fails as before. `flags`: O_CLOEXEC, when what
 * this process executes shall find them closed; or 0. -PEN_EIO: there is no /dev/null. */
int pen_streams_open(int flags);

#endif
