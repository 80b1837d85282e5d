/* cli/outcome.c - see outcome.h. */
#include "cli/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/record.h"

int pen_outcome_open(const char *file, int *out_fd, struct pen_error *error)
{
    int fd = file ? open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)
                  : fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (fd < 0)
        return pen_fail(error, -PEN_EIO, "cannot write to %s (--json): %s", file ? file : "standard error",
                        strerror(errno));
    *out_fd = fd;
    return 0;
}

static json_t *command_of(char *const *argv)
{
    json_t *array = json_array();
    for (; *argv; argv++)
        json_array_append_new(array, pen_json_text(*argv));
    return array;
}

static json_t *logs_of_run(void)
{
    json_t *array = json_array();
    char path[PEN_RECORD_PATH];
    uint64_t bytes;
    for (unsigned i = 0; pen_record_file(i, path, &bytes); i++)
        json_array_append_new(array, json_pack("{s:o, s:I}", "file", pen_json_text(path), "bytes", (json_int_t)bytes));
    return array;
}

void pen_outcome_write(const struct pen_outcome *outcome, int fd)
{
    int status = outcome->status;
    json_t *object = json_pack("{s:o, s:o, s:o, s:f, s:s}", "command", command_of(outcome->argv), "exit_status",
                               WIFEXITED(status) ? json_integer(WEXITSTATUS(status)) : json_null(), "signal",
                               WIFSIGNALED(status) ? json_integer(WTERMSIG(status)) : json_null(), "seconds",
                               outcome->seconds, "daemon", outcome->private_daemon ? "private" : "running");
    if (outcome->recorded)
        json_object_set_new(object, "logs", logs_of_run());
    char *line = json_dumps(object, 0);
    if (!line || dprintf(fd, "%s\n", line) < 0)
        pen_cli_fail(0, "cannot write what came of the program (--json): %s", strerror(errno));
    free(line);
    json_decref(object);
    close(fd);
}
