/* cli/run.h - running a program on the pool; for `run` and `log record`. */
#ifndef PEN_CLI_RUN_H
#define PEN_CLI_RUN_H

#include <stdbool.h>

#include "cli/cli.h"

struct pen_run {
    struct pen_private daemon;
    bool keep_vendors;   /* the other platforms stay visible to the program */
    const char *record;  /* the session's log, or NULL */
    bool json;           /* say what came of it, outcome.h */
    const char *json_to; /* in this file; NULL: on standard error */
};

/* Returns the exit status, or not at all: the process becomes the program when nothing is left to do after it. */
int pen_run_program(const struct pen_run *run, char **argv);

#endif
