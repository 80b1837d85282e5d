/* cli/outcome.h - run --json: what came of a program, one object on one line. The program's standard output is its own:
 * the object goes to standard error, after all that the program wrote there, or to a file.
 * Errors: 0 or -PEN_E* with a sentence. */
#ifndef PEN_CLI_OUTCOME_H
#define PEN_CLI_OUTCOME_H

#include <stdbool.h>

#include "base/error.h"

struct pen_outcome {
    char *const *argv;
    int status;     /* as wait(2) gives it */
    double seconds; /* that it ran */
    bool private_daemon;
    bool recorded; /* to PENSTOCK_RECORD, FILE.1, ... */
};

/* Where to write: `file`, which is made or emptied; NULL: standard error. Before the program runs, so that it need not
 * run in vain. */
int pen_outcome_open(const char *file, int *out_fd, struct pen_error *error);
/* Writes it and closes fd. Failing is said, and is not the program's failure. */
void pen_outcome_write(const struct pen_outcome *outcome, int fd);

#endif
