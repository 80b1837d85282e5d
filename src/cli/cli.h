/* cli/cli.h - what the files of the command line share. Each command is a function from its arguments to the exit
 * status: 0; 1 when it could not be done; 2 when it was not understood. What they print for people goes to stdout
 * (results) and stderr (what went wrong, progress); with --json, stdout is JSON, but for programs that are run, whose
 * it is (outcome.h).
 * Threads: one. */
#ifndef PEN_CLI_CLI_H
#define PEN_CLI_CLI_H

#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct pen_log_reader;

enum { PEN_EXIT_FAILED = 1, PEN_EXIT_USAGE = 2 };

/* argv[0] is the command's own name. */
int pen_cli_run(int argc, char **argv);
int pen_cli_devices(int argc, char **argv);
int pen_cli_ps(int argc, char **argv);
int pen_cli_detach(int argc, char **argv);
int pen_cli_attach(int argc, char **argv);
int pen_cli_stop(int argc, char **argv);
int pen_cli_tenant(int argc, char **argv);
int pen_cli_log(int argc, char **argv);
int pen_cli_trace(int argc, char **argv);
int pen_cli_dump(const char *file, bool json);
/* An exit status: 0 with a reader, or what is wrong has been said. */
int pen_cli_open_log(const char *file, struct pen_log_reader **out_reader);
int pen_cli_replay(const char *file, bool json);

/* ---- main.c ------------------------------------------------------------------------------------------ */

/* "penstock: SENTENCE" on stderr; returns status. */
int pen_cli_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* getopt_long that stops at the first word that is no option, with our words for what it does not know: '?' is
 * returned after the sentence has been printed. */
int pen_cli_option(int argc, char **argv, const struct option *known);

/* ---- sessions.c ---------------------------------------------------------------------------------------- */

/* Until the daemon has no session any more that is recorded to `path`; -PEN_ETIMEOUT with a sentence. */
int pen_sessions_wait(const char *path, uint64_t timeout_ms, struct pen_error *error);

/* ---- progress.c -------------------------------------------------------------------------------------- */

/* If stderr is a terminal and `what` is not over within a second, it is shown there until it is. */
void pen_progress_begin(const char *what);
void pen_progress_end(void);

/* ---- place.c: where things are ----------------------------------------------------------------------- */

/* The file of the build tree or installation: `relative` to this executable's folder, else `installed`. False when
 * neither is there. */
bool pen_place_find(const char *relative, const char *installed, char *out_path, size_t size);
/* A new directory, 0700, in XDG_RUNTIME_DIR or TMPDIR or /tmp, short enough for a socket in it. */
int pen_place_temporary(char *out_path, size_t size, struct pen_error *error);
void pen_place_remove(const char *path);

/* ---- helper.c: processes that end, and clean up, when this one does ------------------------------------ */

/* A daemon of our own, or merely a janitor: holds the other end of `lifeline`, and removes `directory` when that
 * closes, however we die. */
struct pen_helper {
    pid_t pid;    /* 0: none */
    int lifeline; /* -1: none */
    char directory[PATH_MAX];
    char socket[PATH_MAX]; /* "" without a daemon */
};

/* A daemon of our own. Zeroed: only if none is running, and as it is by default. */
struct pen_private {
    bool always;
    const char *config, *span; /* its --config and --span; either implies a daemon of our own */
};

/* Starts a private penstockd in a temporary directory and waits until it listens. */
int pen_helper_daemon(struct pen_helper *helper, const struct pen_private *how, struct pen_error *error);
/* Makes a temporary directory that is removed when we end. */
int pen_helper_janitor(struct pen_helper *helper, struct pen_error *error);
/* Ends it and waits until all is cleaned up. Accepts a zeroed one. */
void pen_helper_end(struct pen_helper *helper);

/* Whether a daemon answers where PENSTOCK_SOCKET or the defaults say. */
bool pen_helper_reachable(void);

/* For commands that look at the pools: those that are named, or the daemon that is running; else a private one, made
 * known by PENSTOCK_SOCKET and PENSTOCK_POOL. */
int pen_helper_pool(struct pen_helper *helper, const struct pen_private *how, struct pen_error *error);

#endif
