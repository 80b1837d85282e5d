/* base/name.h - names that programs send and that become paths.
 * Threads: any. */
#ifndef PEN_BASE_NAME_H
#define PEN_BASE_NAME_H

#include <stdbool.h>

/* A header's: "N/relative/path", without empty parts, "." and "..". Below the directory that it is put into, whatever
 * happens. The worker ends a session that sends another; so a front end must not. */
bool pen_header_name_ok(const char *name);

#endif
