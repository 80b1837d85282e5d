/* cli/run.h - running a program on the pool; for `run` and `log record`. */
#ifndef PEN_CLI_RUN_H
#define PEN_CLI_RUN_H

#include <stdbool.h>

struct pen_run {
    bool private_daemon; /* also when one is running */
    bool keep_vendors;   /* the other platforms stay visible to the program */
    const char *config;  /* of the private daemon; implies one */
    const char *record;  /* the session's log, or NULL */
    bool json;           /* say what came of it, outcome.h */
    const char *json_to; /* in this file; NULL: on standard error */
};

/* Returns the exit status, or not at all: the process becomes the program when nothing is left to do after it. */
int pen_run_program(const struct pen_run *run, char **argv);

#endif
