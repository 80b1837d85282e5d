/* cli/run.c - penstock run: a program on the pool. With a daemon that is running and the vendors' folder that came
 * with Penstock it is a plain exec; otherwise we stay as the parent of the program and of a helper, and behave as the
 * program does: its exit status, its signals. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/outcome.h"
#include "cli/record.h"
#include "cli/run.h"
#include "cli/vendors.h"
#include "client/session.h"
#include "wire/futex.h"

/* ---- standing in for the program --------------------------------------------------------------------- */

/* Signals that somebody may send us and mean the program: all but those that are about ourselves. */
static void forwarded_signals(sigset_t *out)
{
    static const int own[] = {SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGSEGV,
                              SIGBUS,  SIGFPE,  SIGILL,  SIGTRAP, SIGABRT, SIGSYS};
    sigfillset(out);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(out, own[i]);
}

static _Noreturn void exec_program(char **argv)
{
    execvp(argv[0], argv);
    int reason = errno;
    pen_cli_fail(0, "cannot run %s: %s", argv[0], strerror(reason));
    _exit(reason == ENOENT ? 127 : 126); /* as shells have it */
}

/* Waits for the program. What a terminal sends, its whole process group has got already; what was sent to us alone is
 * passed on. */
static int attend(pid_t program, const sigset_t *signals)
{
    for (;;) {
        siginfo_t info;
        int number = sigwaitinfo(signals, &info), status;
        if (number < 0)
            continue;
        if (number != SIGCHLD) {
            if (info.si_code != SI_KERNEL)
                kill(program, number);
            continue;
        }
        if (waitpid(program, &status, WNOHANG) == program)
            return status;
    }
}

/* Ends as the program did. */
static int end_like(int status)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    int number = WTERMSIG(status);
    sigset_t one;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* the program has left its own */
    signal(number, SIG_DFL);
    sigemptyset(&one);
    sigaddset(&one, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    return 128 + number;
}

/* With a daemon of our own its end comes first. */
static void complete_record(const struct pen_helper *helper, const char *record)
{
    struct pen_error error = {0};
    if (record && !helper->socket[0] && pen_record_complete(&error))
        pen_cli_fail(0, "%s may not be complete yet: %s", record, error.message);
}

static void tell_no_record(const char *record, const char *program)
{
    char path[PEN_RECORD_PATH];
    uint64_t bytes;
    if (record && !pen_record_file(0, path, &bytes))
        pen_cli_fail(0, "no session of %s was recorded: it used no device of Penstock, and there is no %s", program,
                     record);
}

/* `outcome_fd`: where to say what came of it; -1: nowhere. */
static int run_as_child(char **argv, struct pen_helper *helper, const char *record, int outcome_fd)
{
    struct pen_outcome outcome = {
        .argv = argv, .private_daemon = helper->socket[0] != '\0', .recorded = record != NULL};
    sigset_t signals, before;
    pid_t parent = getpid();
    forwarded_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, &before);
    uint64_t begin_ns = pen_now_ns();
    pid_t program = fork();
    if (program == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* its devices go with us */
        if (getppid() != parent)
            _exit(PEN_EXIT_FAILED);
        exec_program(argv);
    }
    int status = program < 0 ? -1 : attend(program, &signals);
    int reason = errno;
    outcome.seconds = (double)(pen_now_ns() - begin_ns) / 1e9;
    outcome.status = status;
    if (program > 0)
        complete_record(helper, record);
    pen_helper_end(helper);
    if (program < 0)
        return pen_cli_fail(PEN_EXIT_FAILED, "cannot fork: %s", strerror(reason));
    tell_no_record(record, argv[0]);
    if (outcome_fd >= 0)
        pen_outcome_write(&outcome, outcome_fd);
    return end_like(status);
}

/* ---- the command ------------------------------------------------------------------------------------- */

int pen_run_program(const struct pen_run *run, char **argv)
{
    struct pen_error error = {0};
    struct pen_helper helper = {.lifeline = -1};
    char vendors[PATH_MAX] = "";
    char *outer = getenv("OCL_ICD_VENDORS");

    int outcome_fd = -1;
    int rc = run->json ? pen_outcome_open(run->json_to, &outcome_fd, &error) : 0;
    if (!rc && run->record)
        rc = pen_record_prepare(run->record, &error);
    if (!rc)
        rc = pen_helper_pool(&helper, &run->daemon, &error);
    if (!rc && run->record && !helper.socket[0] && pen_pools_elsewhere())
        rc = pen_fail(
            &error, -PEN_EUNSUPPORTED,
            "sessions on other hosts are not recorded, and PENSTOCK_POOL (or the file pool) names none here: record "
            "where the pool is, or use --private");
    /* Not until the daemon has been started: its workers look for drivers where we were told to. */
    if (!rc)
        rc = pen_vendors_folder(run->keep_vendors, outer, &helper, vendors, sizeof vendors, &error);
    if (rc) {
        pen_helper_end(&helper);
        return pen_cli_fail(PEN_EXIT_FAILED, "%s", error.message);
    }
    setenv("OCL_ICD_VENDORS", vendors, 1);
    if (!run->keep_vendors)
        unsetenv("OCL_ICD_FILENAMES"); /* more vendors, to the Khronos loader */
    if (helper.pid <= 0 && !run->record && !run->json)
        exec_program(argv);
    return run_as_child(argv, &helper, run->record, outcome_fd);
}

int pen_cli_run(int argc, char **argv)
{
    static const struct option known[] = {{"private", no_argument, NULL, 'p'},
                                          {"config", required_argument, NULL, 'c'},
                                          {"span", required_argument, NULL, 's'},
                                          {"record", required_argument, NULL, 'r'},
                                          {"keep-vendors", no_argument, NULL, 'k'},
                                          {"json", optional_argument, NULL, 'j'},
                                          {0}};
    struct pen_run run = {0};
    int option;
    while ((option = pen_cli_option(argc, argv, known)) != -1) {
        switch (option) {
        case 'p':
            run.daemon.always = true;
            break;
        case 'c':
            run.daemon.config = optarg;
            break;
        case 's':
            run.daemon.span = optarg;
            break;
        case 'r':
            run.record = optarg;
            break;
        case 'k':
            run.keep_vendors = true;
            break;
        case 'j':
            run.json = true;
            run.json_to = optarg;
            break;
        default:
            return PEN_EXIT_USAGE;
        }
    }
    if (optind == argc)
        return pen_cli_fail(PEN_EXIT_USAGE, "run needs a program: penstock run [OPTION]... -- PROGRAM [ARGUMENT]...");
    return pen_run_program(&run, argv + optind);
}
