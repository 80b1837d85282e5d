/* base/error.c - see error.h. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

const char *pen_error_text(int error)
{
    switch (error < 0 ? -error : error) {
    case 0:
        return "success";
#define X(name, number, text)                                                                                          \
    case number:                                                                                                       \
        return text;
        PEN_ERRORS(X)
#undef X
    default:
        return "unknown error";
    }
}

const char *pen_error_name(int error)
{
    switch (error < 0 ? -error : error) {
#define X(name, number, text)                                                                                          \
    case number:                                                                                                       \
        return #name;
        PEN_ERRORS(X)
#undef X
    default:
        return "E?";
    }
}

int pen_fail(struct pen_error *error, int code, const char *format, ...)
{
    if (error) {
        va_list args;
        error->code = code;
        va_start(args, format);
        vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
    }
    return code;
}
