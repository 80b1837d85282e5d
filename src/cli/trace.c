/* cli/trace.c - penstock trace: a timeline of a recorded session, or of one that runs, from now on. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/control.h"
#include "cli/execution.h"
#include "state/log.h"
#include "wire/futex.h"

/* How long a session is traced, unless --for says. */
#define TRACE_S 1.0
/* The longest that it may say. */
#define LONGEST_S 86400.0
/* For a worker to write the end of its trace. */
#define END_MS 10000

struct trace {
    const char *subject; /* a session's number, or a file */
    bool is_session;
    uint64_t session;
    double seconds; /* 0: not said */
};

/* ---- the command line --------------------------------------------------------------------------------------- */

static int parse_seconds(const char *text, double *out)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end || !(seconds > 0 && seconds <= LONGEST_S))
        return pen_cli_fail(PEN_EXIT_USAGE, "--for %s: seconds are allowed, above 0 and up to %.0f", text, LONGEST_S);
    *out = seconds;
    return 0;
}

/* What is only digits is a session's number: a file of such a name is written as ./12. */
static int parse_subject(const char *text, struct trace *trace)
{
    trace->subject = text;
    trace->is_session = strspn(text, "0123456789") == strlen(text);
    errno = 0;
    trace->session = trace->is_session ? strtoull(text, NULL, 10) : 0;
    if (errno)
        return pen_cli_fail(PEN_EXIT_USAGE, "\"%s\" is no session's number; penstock ps shows them", text);
    return 0;
}

static int parse(int argc, char **argv, struct trace *out)
{
    static const struct option known[] = {{"for", required_argument, NULL, 'f'}, {"json", no_argument, NULL, 'j'}, {0}};
    int rc = 0;
    while (!rc && optind < argc) {
        int option = pen_cli_option(argc, argv, known);
        if (option == '?')
            return PEN_EXIT_USAGE;
        if (option == 'f')
            rc = parse_seconds(optarg, &out->seconds);
        if (option != -1 || optind == argc)
            continue;
        if (out->subject)
            return pen_cli_fail(PEN_EXIT_USAGE, "trace takes one session or file, not also \"%s\"", argv[optind]);
        rc = parse_subject(argv[optind++], out);
    }
    if (!rc && !out->subject)
        return pen_cli_fail(PEN_EXIT_USAGE,
                            "trace needs a session's number, which penstock ps shows, or the file of a recorded one");
    if (!rc && out->seconds > 0 && !out->is_session)
        return pen_cli_fail(PEN_EXIT_USAGE, "--for is for sessions that run: %s is a file, which is shown whole",
                            out->subject);
    return rc;
}

/* ---- a session that runs ------------------------------------------------------------------------------------ */

/* Until the time is over, or somebody interrupts us, or the session has ended. */
static void wait_while_traced(int connection, double seconds)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    struct pollfd fds[] = {{.fd = connection, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
    uint64_t end_ns = pen_now_ns() + (uint64_t)(seconds * 1e9), now_ns;
    int ready = 0;
    while (ready <= 0 && (now_ns = pen_now_ns()) < end_ns)
        ready = poll(fds, 2, (int)((end_ns - now_ns) / 1000000) + 1);
    if (signal_fd >= 0)
        close(signal_fd);
}

/* Has the worker written it all? It closes the connection then, also by dying. */
static int end_trace(int connection, struct pen_error *error)
{
    struct pollfd poll_fd = {.fd = connection, .events = POLLIN};
    uint64_t end_ns = pen_deadline_ms(END_MS), now_ns;
    int ready = 0;
    shutdown(connection, SHUT_WR);
    while (ready <= 0 && (now_ns = pen_now_ns()) < end_ns)
        ready = poll(&poll_fd, 1, (int)((end_ns - now_ns) / 1000000) + 1);
    return ready > 0 ? 0 : pen_fail(error, -PEN_ETIMEOUT, "its worker has not written its end within %d ms", END_MS);
}

/* Takes the file. */
static int print_trace(int fd, const char *what, struct pen_error *error)
{
    struct pen_log_reader *reader;
    struct stat status = {0};
    int rc = lseek(fd, 0, SEEK_SET) || fstat(fd, &status) ? -PEN_EIO : 0;
    if (!rc)
        rc = pen_log_reader_create(fd, &reader, error);
    if (rc) {
        close(fd);
        return rc;
    }
    if (status.st_size > (off_t)(PEN_LIMIT_TRACE - 2 * PEN_LIMIT_FRAME))
        pen_cli_fail(0, "%s has done more than a trace holds (%u bytes, limit TRACE): its end is missing; --for less",
                     what, PEN_LIMIT_TRACE);
    return pen_timeline_read(reader, what) ? -PEN_EPROTO : 0;
}

static int trace_session(const struct trace *trace)
{
    const struct pen_msg_session_trace request = {trace->session};
    struct pen_control control;
    struct pen_error error = {0};
    char what[40];
    int fd = -1;
    snprintf(what, sizeof what, "session %" PRIu64, trace->session);
    int rc = pen_control_open(&control, &error);
    if (!rc)
        rc = PEN_CONTROL_ASK(&control, session_trace, &request, PEN_OP_SESSION_TRACED, &error);
    if (!rc && control.frame.fd_count != 1)
        rc = pen_fail(&error, -PEN_EPROTO, "%s: its worker has sent no file", what);
    if (!rc) {
        fd = control.frame.fds[0];
        control.frame.fds[0] = -1;
        wait_while_traced(control.fd, trace->seconds > 0 ? trace->seconds : TRACE_S);
        rc = end_trace(control.fd, &error);
    }
    pen_control_close(&control);
    if (!rc)
        rc = print_trace(fd, what, &error);
    else if (fd >= 0)
        close(fd);
    if (rc && error.code)
        return pen_cli_fail(PEN_EXIT_FAILED, "tracing %s: %s", what, error.message);
    return rc ? PEN_EXIT_FAILED : 0;
}

int pen_cli_trace(int argc, char **argv)
{
    struct trace trace = {0};
    int rc = parse(argc, argv, &trace);
    if (rc)
        return rc;
    return trace.is_session ? trace_session(&trace) : pen_cli_timeline(trace.subject);
}
