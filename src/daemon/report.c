/* daemon/report.c - see report.h. */
#include "daemon/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static enum pen_report_level threshold = PEN_REPORT_INFO;

void pen_report_set_level(enum pen_report_level level)
{
    threshold = level;
}

void pen_report(enum pen_report_level level, const char *format, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (level > threshold)
        return;

    char line[2048];
    struct timeval now;
    struct tm local;
    gettimeofday(&now, NULL);
    localtime_r(&now.tv_sec, &local);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &local);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%03d %-5s penstockd[%d]: ", (int)(now.tv_usec / 1000),
                             names[level], (int)getpid());

    va_list args;
    va_start(args, format);
    int length = vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    size_t end = used + (length < 0 ? 0 : (size_t)length);
    if (end > sizeof line - 2)
        end = sizeof line - 2;
    for (size_t i = used; i < end; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    line[end] = '\n';
    /* One write, so that lines of several processes do not mix. Nothing can be done about a closed stderr. */
    ssize_t written = write(STDERR_FILENO, line, end + 1);
    (void)written;
}
