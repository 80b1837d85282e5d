/* cli/record.h - the files that a recorded program's sessions are written to. The daemon makes them: FILE, FILE.1, ...
 * and never one that is there. Errors: 0 or -PEN_E* with a sentence. */
#ifndef PEN_CLI_RECORD_H
#define PEN_CLI_RECORD_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The longest path of a log with its number. */
#define PEN_RECORD_PATH (PATH_MAX + 16)

/* Sets PENSTOCK_RECORD to the absolute path of `file`, and makes way for the logs: only what is a log already, or an
 * empty file, is removed. */
int pen_record_prepare(const char *file, struct pen_error *error);
/* A log is whole when its session has ended, a moment after its program: waits until none of PENSTOCK_RECORD's runs.
 * -PEN_ETIMEOUT after 10 s. */
int pen_record_complete(struct pen_error *error);
/* The log of session `number` of PENSTOCK_RECORD's, from 0; false when there is none. */
bool pen_record_file(unsigned number, char out_path[PEN_RECORD_PATH], uint64_t *out_bytes);

#endif
