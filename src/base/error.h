/* base/error.h - the one table of errors, and errors with a message.
 * Every function that can fail returns 0 or -PEN_E*, and leaves its outputs untouched on failure.
 * The numbers travel (replies, event slots, recorded logs): append, never renumber.
 * Threads: everything here may be called from any thread. */
#ifndef PEN_BASE_ERROR_H
#define PEN_BASE_ERROR_H

#include <stddef.h>

/* X(NAME, number, text) */
#define PEN_ERRORS(X)                                                                                                  \
    X(ENOMEM, 1, "out of host memory")                                                                                 \
    X(EINVAL, 2, "invalid value")                                                                                      \
    X(ELIMIT, 3, "over a named limit")                                                                                 \
    X(EPROTO, 4, "malformed message")                                                                                  \
    X(EGONE, 5, "the session is gone")                                                                                 \
    X(EIO, 6, "input or output failed")                                                                                \
    X(ENODEV, 7, "no such device")                                                                                     \
    X(EUNSUPPORTED, 8, "not supported by the device")                                                                  \
    X(ENOENT, 9, "no such object")                                                                                     \
    X(EVERSION, 10, "protocol versions differ")                                                                        \
    X(EPERM, 11, "not allowed")                                                                                        \
    X(EBUSY, 12, "busy")                                                                                               \
    X(ETIMEOUT, 13, "timed out")                                                                                       \
    X(ECONFIG, 14, "invalid configuration")                                                                            \
    X(EDEVMEM, 20, "out of device memory")                                                                             \
    X(EDEVRES, 21, "out of device resources")                                                                          \
    X(EDEPENDENCY, 22, "a command it waits for has failed")                                                            \
    X(EBUILD, 23, "program build failed")                                                                              \
    X(ECOMPILE, 24, "program compilation failed")                                                                      \
    X(ELINK, 25, "program link failed")                                                                                \
    X(EBINARY, 26, "invalid program binary")                                                                           \
    X(EBUILDOPTIONS, 27, "invalid build options")                                                                      \
    X(ECOMPILEROPTIONS, 28, "invalid compiler options")                                                                \
    X(ELINKEROPTIONS, 29, "invalid linker options")                                                                    \
    X(EEXECUTABLE, 30, "program has no executable for the device")                                                     \
    X(EKERNELNAME, 31, "no kernel of that name")                                                                       \
    X(EKERNELARGS, 32, "kernel arguments are not all set")                                                             \
    X(EARGINDEX, 33, "no such kernel argument")                                                                        \
    X(EARGVALUE, 34, "invalid kernel argument value")                                                                  \
    X(EARGSIZE, 35, "invalid kernel argument size")                                                                    \
    X(EDIMENSION, 36, "invalid work dimension")                                                                        \
    X(EGROUPSIZE, 37, "invalid work-group size")                                                                       \
    X(EITEMSIZE, 38, "invalid work-item size")                                                                         \
    X(EOFFSET, 39, "invalid global offset")                                                                            \
    X(EGLOBALSIZE, 40, "invalid global work size")                                                                     \
    X(EIMAGESIZE, 41, "invalid image size")                                                                            \
    X(EIMAGEFORMAT, 42, "image format not supported")                                                                  \
    X(EBUFFERSIZE, 43, "invalid buffer size")                                                                          \
    X(EOVERLAP, 44, "source and target overlap")                                                                       \
    X(EMISALIGNED, 45, "misaligned sub-buffer offset")                                                                 \
    X(EPARTITION, 46, "the device cannot be partitioned so")                                                           \
    X(EDEVICEGONE, 47, "device not available")                                                                         \
    X(EQUEUEPROPERTIES, 48, "queue properties not supported by the device")                                            \
    X(EDETACHED, 49, "the session is detached")

enum pen_error_code {
#define X(name, number, text) PEN_##name = (number),
    PEN_ERRORS(X)
#undef X
};

/* Text of -PEN_E* (or PEN_E*); never NULL. */
const char *pen_error_text(int error);
/* "ENOMEM" for -PEN_ENOMEM; "E?" when unknown. */
const char *pen_error_name(int error);

/* An error with the sentence that a person needs: what was being done, to what, what is allowed, which
 * setting changes it. Caller-owned, reusable; zero-initialize. */
struct pen_error {
    int code;
    char message[512];
};

/* Sets *error (may be NULL) and returns code, so that callers can `return pen_fail(error, -PEN_EINVAL, ...)`. */
int pen_fail(struct pen_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
