/* cli/log.c - penstock log record, dump, replay and graph. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/execution.h"
#include "cli/run.h"
#include "penstock-protocol.h"
#include "state/log.h"

int pen_cli_open_log(const char *file, struct pen_log_reader **out_reader)
{
    struct pen_error error = {0};
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return pen_cli_fail(PEN_EXIT_FAILED, "cannot open %s: %s", file, strerror(errno));
    if (pen_log_reader_create(fd, out_reader, &error)) {
        close(fd);
        return pen_cli_fail(PEN_EXIT_FAILED, "%s: %s", file, error.message);
    }
    return 0;
}

int pen_cli_dump(const char *file, bool json)
{
    struct pen_log_reader *reader = NULL;
    struct pen_log_entry entry;
    struct pen_error error = {0};
    int rc = pen_cli_open_log(file, &reader);
    if (rc)
        return rc;
    while ((rc = pen_log_next(reader, &entry, &error)) == 1 && !ferror(stdout))
        pen_message_print(stdout, entry.frame, entry.size, json);
    if (rc == 0 && pen_log_truncated(reader))
        pen_cli_fail(0, "%s ends in the middle of an entry: its program was killed, or is still running", file);
    pen_log_reader_destroy(reader);
    return rc < 0 ? pen_cli_fail(PEN_EXIT_FAILED, "%s: %s", file, error.message) : 0;
}

static int record(int argc, char **argv)
{
    static const struct option known[] = {{"private", no_argument, NULL, 'p'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"span", required_argument, NULL, 's'},
                                          {"json", optional_argument, NULL, 'j'},
                                          {0}};
    struct pen_run run = {0};
    int option;
    while ((option = pen_cli_option(argc, argv, known)) != -1) {
        if (option == '?')
            return PEN_EXIT_USAGE;
        if (option == 'p') {
            run.daemon.always = true;
        } else if (option == 'c') {
            run.daemon.config = optarg;
        } else if (option == 's') {
            run.daemon.span = optarg;
        } else {
            run.json = true;
            run.json_to = optarg;
        }
    }
    run.record = optind < argc ? argv[optind++] : NULL;
    if (optind < argc && !strcmp(argv[optind], "--"))
        optind++;
    if (optind >= argc)
        return pen_cli_fail(PEN_EXIT_USAGE, "log record needs a file and a program: penstock log record FILE -- "
                                            "PROGRAM [ARGUMENT]...");
    return pen_run_program(&run, argv + optind);
}

/* FILE and --json in any order. `command` is what the user has written before. */
static int of_file(const char *command, int argc, char **argv, int (*work)(const char *file, bool json))
{
    const char *file = NULL;
    bool json = false;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--json"))
            json = true;
        else if (argv[i][0] == '-')
            return pen_cli_fail(PEN_EXIT_USAGE, "\"%s\" is no option of \"%s\"; see penstock help", argv[i], command);
        else if (file)
            return pen_cli_fail(PEN_EXIT_USAGE, "%s takes one file, not also \"%s\"", command, argv[i]);
        else
            file = argv[i];
    if (!file)
        return pen_cli_fail(PEN_EXIT_USAGE, "%s needs a file: penstock %s FILE", command, command);
    return work(file, json);
}

int pen_cli_log(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "record"))
        return record(argc - 1, argv + 1);
    if (!strcmp(what, "dump"))
        return of_file("log dump", argc - 1, argv + 1, pen_cli_dump);
    if (!strcmp(what, "replay"))
        return of_file("log replay", argc - 1, argv + 1, pen_cli_replay);
    if (!strcmp(what, "graph"))
        return of_file("log graph", argc - 1, argv + 1, pen_cli_graph);
    if (!*what)
        return pen_cli_fail(PEN_EXIT_USAGE, "log needs one more word: record, dump, replay or graph");
    return pen_cli_fail(PEN_EXIT_USAGE,
                        "\"log %s\" is no command; there are log record, log dump, log replay and log graph", what);
}
