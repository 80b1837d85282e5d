/* base/name.h - names of files: those that programs send and that become paths, and how names end.
 * Threads: any. */
#ifndef PEN_BASE_NAME_H
#define PEN_BASE_NAME_H

#include <stdbool.h>

/* A header's: "N/relative/path", without empty parts, "." and "..". Below the directory that it is put into, whatever
 * happens. The worker ends a session that sends another; so a front end must not. */
bool pen_header_name_ok(const char *name);
bool pen_ends_with(const char *text, const char *end);

#endif
