/* daemon/report.h - the daemon's log: one line a record on standard error, with time and level.
 * Threads: the daemon has one. */
#ifndef PEN_DAEMON_REPORT_H
#define PEN_DAEMON_REPORT_H

enum pen_report_level { PEN_REPORT_ERROR = 0, PEN_REPORT_WARN, PEN_REPORT_INFO, PEN_REPORT_DEBUG };

/* Records above `level` are dropped; at start it is info. */
void pen_report_set_level(enum pen_report_level level);
/* Control characters in the text become spaces, so that a record stays one line whatever a peer is called. */
void pen_report(enum pen_report_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
