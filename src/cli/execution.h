/* cli/execution.h - what became of a session's commands, read from a log: which ran where, behind which, and when.
 * Errors: printed, with an exit status. */
#ifndef PEN_CLI_EXECUTION_H
#define PEN_CLI_EXECUTION_H

#include <stdbool.h>

struct pen_log_reader;

/* `penstock log graph`: the executed graph for Graphviz, on standard output. */
int pen_cli_graph(const char *file, bool json);
/* A timeline for Perfetto or Chrome, on standard output, of a recorded session. */
int pen_cli_timeline(const char *file);
/* The same of a log that is read from its beginning (takes the reader), also of one without commands. `what`: for
 * sentences. */
int pen_timeline_read(struct pen_log_reader *reader, const char *what);

#endif
