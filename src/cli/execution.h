/* cli/execution.h - what became of a recorded session's commands, read from its log: which ran where, behind which, and
 * when. Errors: printed, with an exit status. */
#ifndef PEN_CLI_EXECUTION_H
#define PEN_CLI_EXECUTION_H

#include <stdbool.h>

/* `penstock log graph`: the executed graph for Graphviz, on standard output. */
int pen_cli_graph(const char *file, bool json);
/* `penstock trace`: a timeline for Perfetto or Chrome, on standard output (JSON, whatever is asked for). */
int pen_cli_timeline(const char *file, bool json);

#endif
