/* cli/main.c - penstock: which command. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/streams.h"
#include "cli/cli.h"

static const char usage[] =
    "usage: penstock COMMAND [OPTION]... [ARGUMENT]...\n"
    "\n"
    "  run [--private] [--config FILE] [--span N] [--record FILE] [--keep-vendors]\n"
    "      [--json[=FILE]] -- PROGRAM [ARGUMENT]...\n"
    "                      run a program on the pool's devices\n"
    "  devices [--json] [--verbose] [--private] [--config FILE] [--span N]\n"
    "                      the pool's devices\n"
    "  ps [--json]         the sessions\n"
    "  detach [--park] SESSION [--json]\n"
    "                      send a session's program, on another host, away; the session is kept\n"
    "  attach SESSION [--json]\n"
    "                      let it come back, and go on\n"
    "  log record [--private] [--config FILE] [--span N] [--json[=FILE]] FILE -- PROGRAM [ARGUMENT]...\n"
    "                      run a program and write its session's log to FILE\n"
    "  log dump FILE [--json]\n"
    "                      print a log\n"
    "  log replay FILE [--json]\n"
    "                      do again what a log says, and compare what was read\n"
    "  log graph FILE      what ran where, and behind what: a graph for Graphviz\n"
    "  trace SESSION [--for SECONDS], trace FILE\n"
    "                      what runs when, or ran: a timeline for Perfetto or Chrome\n"
    "  tenant add NAME [--config FILE] [--host HOST:PORT] [--directory DIR] [--json]\n"
    "                      let NAME use this host's pool from elsewhere; print what it connects with\n"
    "  tenant list [--config FILE] [--directory DIR] [--json]\n"
    "  tenant revoke NAME [--config FILE] [--directory DIR]\n"
    "  tenant admit NAME [--config FILE] [--directory DIR]\n"
    "  stop [--keep-sessions]\n"
    "                      end the daemon; sessions of programs on other hosts are kept for the next\n"
    "  version, help\n"
    "\n"
    "Without a running penstockd, run, devices and log start one of their own that ends with them.\n"
    "PENSTOCK_SOCKET says where the daemon listens; see penstock(1).\n";

int pen_cli_fail(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("penstock: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return status;
}

int pen_cli_option(int argc, char **argv, const struct option *known)
{
    opterr = 0;
    int option = getopt_long(argc, argv, "+:", known, NULL);
    if (option == '?')
        pen_cli_fail(0, "\"%s\" is no option of \"%s\"; see penstock help", argv[optind - 1], argv[0]);
    if (option == ':') {
        pen_cli_fail(0, "%s needs a value; see penstock help", argv[optind - 1]);
        option = '?';
    }
    return option;
}

static int help(int argc, char **argv)
{
    (void)argc, (void)argv;
    fputs(usage, stdout);
    return 0;
}

static int version(int argc, char **argv)
{
    (void)argc, (void)argv;
    puts("penstock " PEN_VERSION);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"run", pen_cli_run},       {"devices", pen_cli_devices},
    {"tenant", pen_cli_tenant}, {"ps", pen_cli_ps},
    {"detach", pen_cli_detach}, {"attach", pen_cli_attach},
    {"log", pen_cli_log},       {"trace", pen_cli_trace},
    {"stop", pen_cli_stop},     {"version", version},
    {"--version", version},     {"help", help},
    {"--help", help},           {"-h", help},
};

/* After the command's words; what follows is a program's own. */
static bool wants_help(int argc, char **argv)
{
    bool two_words = argc > 2 && argv[2][0] != '-' && (!strcmp(argv[1], "log") || !strcmp(argv[1], "tenant"));
    int at = two_words ? 3 : 2;
    return at < argc && (!strcmp(argv[at], "--help") || !strcmp(argv[at], "-h"));
}

int main(int argc, char **argv)
{
    if (pen_streams_open(O_CLOEXEC)) /* `run` leaves the program the streams that we have */
        return PEN_EXIT_FAILED;
    if (argc < 2) {
        fputs(usage, stderr);
        return PEN_EXIT_USAGE;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name))
            continue;
        int status = wants_help(argc, argv) ? help(argc, argv) : commands[i].run(argc - 1, argv + 1);
        if (fflush(stdout) || ferror(stdout))
            return pen_cli_fail(PEN_EXIT_FAILED, "writing the output failed");
        return status;
    }
    return pen_cli_fail(
        PEN_EXIT_USAGE,
        "\"%s\" is no command; there are run, devices, ps, detach, attach, log, trace, tenant, stop, version and help",
        argv[1]);
}
