/* cli/progress.c - a line on the terminal while something takes long. Shown by a timer's signal, since what takes long
 * is one blocking call. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/cli.h"

static char line[128];
static volatile sig_atomic_t shown;

static void show(int number)
{
    (void)number;
    ssize_t written = write(STDERR_FILENO, line, strlen(line));
    (void)written;
    shown = 1;
}

void pen_progress_begin(const char *what)
{
    if (!isatty(STDERR_FILENO))
        return;
    snprintf(line, sizeof line, "%.100s ...", what);
    shown = 0;
    struct sigaction action = {.sa_handler = show, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {1, 0}}, NULL);
}

void pen_progress_end(void)
{
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    if (shown)
        fputs("\r\033[K", stderr);
    shown = 0;
}
