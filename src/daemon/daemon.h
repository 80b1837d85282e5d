/* daemon/daemon.h - what the files of penstockd share: one struct, one event loop, one thread.
 * Model:     README.md
 * Ownership: struct pen_daemon owns everything below it; lists hold their entries.
 * Threads:   one; every function is called from the loop, none blocks.
 * Errors:    0 or -PEN_E*, with a sentence in *error where there is one. */
#ifndef PEN_DAEMON_DAEMON_H
#define PEN_DAEMON_DAEMON_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/list.h"
#include "daemon/config.h"
#include "daemon/rate.h"
#include "daemon/report.h"
#include "net/stream.h"
#include "net/tls.h"
#include "net/unix.h"

/* Longest program name kept; a listing of PEN_LIMIT_SESSIONS sessions still fits a frame. */
#define PEN_DAEMON_PROGRAM 64

enum pen_pool_state { PEN_POOL_PROBING, PEN_POOL_KNOWN, PEN_POOL_FAILED };

/* The devices that the daemon offers, as `penstock-worker --probe` told and the configuration changed them. */
struct pen_daemon_pool {
    enum pen_pool_state state;
    char failure[512];                   /* why, in state FAILED */
    struct evbuffer *listing;            /* the answer to device_list: whole frames; in state KNOWN */
    uint64_t number;                     /* digest of the listing; 0: none yet */
    uint64_t found;                      /* digest of what the drivers have; workers must have the same */
    uint64_t devices[PEN_LIMIT_DEVICES]; /* ids of those that are offered */
    uint32_t device_count;
};

struct pen_probe; /* probe.c */

struct pen_daemon {
    struct event_base *base;
    struct pen_config config;
    const char *config_file; /* NULL: defaults */
    int level;               /* enum pen_report_level, by --log; -1: as configured */
    char socket_path[PATH_MAX];
    char work_dir[PATH_MAX];        /* "<socket>.d": a directory for each worker in it */
    int work_fd;                    /* it, locked; -1: not ours */
    char worker_path[PATH_MAX];     /* the executable */
    struct rlimit descriptor_limit; /* as we were started; the workers' */
    const char *private_dir;        /* started by `penstock run` for one program, in this directory; NULL: not */
    bool owns_private;              /* it was empty when we started */
    uint64_t span;                  /* --span; 0: none */
    bool stopping;
    bool handed_over; /* sessions were left to the next daemon */

    /* clients.c */
    int listen_fd;
    int tcp_fd; /* -1: none */
    struct event *tcp_event;
    struct event *listen_event, *listen_pause;
    struct pen_list clients;             /* every connection that is not a worker's yet */
    uint32_t client_count, remote_count; /* of them from other hosts */

    /* gate.c */
    char tenants_dir[PATH_MAX];
    struct pen_certificates *certificates; /* that the configuration names; NULL: keys alone */
    int gate_fd;                           /* -1: no program of another host is let in */
    struct event *gate_event;
    struct pen_list knocks, tickets;
    uint64_t knock_count;
    struct pen_rates rates;       /* of connections, by their source */
    struct pen_bucket complaints; /* about keys' files */
    uint64_t complaints_kept;     /* that were one too many, since the last that was not */

    /* revoke.c */
    int revoke_fd; /* inotify; -1: no tenant has come yet */
    int revoke_wd; /* of its watch; -1: none */
    struct event *revoke_event;
    struct event *revoke_again; /* a timer; NULL: it was never needed */

    /* probe.c */
    struct pen_daemon_pool pool;
    struct pen_probe *probe; /* the one whose answer is awaited; NULL: none */
    struct pen_list probes;  /* all that have not ended yet */
    uint64_t next_probe;

    /* workers.c */
    struct pen_list workers;
    uint32_t spare_wanted; /* warm workers to keep; 0 in a private daemon once it has served */
    uint32_t start_failures;
    struct event *refill; /* timer: time to start another */
    uint64_t next_session, next_worker;
    char *cache_lacks; /* as a worker said it last; NULL: nothing */
};

/* main.c */

/* Stops listening, ends clients, probe and workers; the loop is left when the last process is gone. */
void pen_daemon_stop(struct pen_daemon *daemon);
/* The same, but sessions of programs on other hosts are left to the next daemon, unless this one is private. */
void pen_daemon_hand_over(struct pen_daemon *daemon);
/* Leaves the loop when the daemon is stopping and nothing runs any more. */
void pen_daemon_maybe_leave(struct pen_daemon *daemon);

/* probe.c */

/* Starts `penstock-worker --probe`, ending one that runs. The pool is PROBING until it is done. */
void pen_probe_start(struct pen_daemon *daemon);
/* Lets one that runs be killed, and does not wait for its end. */
void pen_probe_cancel(struct pen_daemon *daemon);
/* A child has ended: true when it was the probe. */
bool pen_probe_exited(struct pen_daemon *daemon, pid_t pid, int status);

/* workers.c */

int pen_workers_init(struct pen_daemon *daemon, struct pen_error *error);
void pen_workers_finish(struct pen_daemon *daemon);
/* Starts workers until there are as many spare as wanted or as clients wait for. */
void pen_workers_fill(struct pen_daemon *daemon);
/* Ends the workers that serve nobody (their options are out of date). */
void pen_workers_retire(struct pen_daemon *daemon);
/* Asks all to end, and after limits.stop_ms makes them. */
void pen_workers_stop(struct pen_daemon *daemon);
/* Leaves the sessions of programs on other hosts to the next daemon, as if this one had been killed. */
void pen_workers_leave(struct pen_daemon *daemon);
/* Takes over the sessions of a daemon that was killed, or has left them. */
void pen_workers_inherit(struct pen_daemon *daemon);
bool pen_workers_has(const struct pen_daemon *daemon, uint64_t number);
/* SIGCHLD. */
void pen_workers_reap(struct pen_daemon *daemon);
uint32_t pen_workers_sessions(const struct pen_daemon *daemon);
/* Fills up to `limit` entries; strings are borrowed from the workers. Of all sessions, or of those that are recorded
 * and asked for `record_name`. */
uint32_t pen_workers_list(struct pen_daemon *daemon, const char *record_name, struct pen_session_info *out,
                          uint32_t limit);

/* What a session is made from, or goes on with. */
struct pen_session_request {
    int client_fd;
    uint64_t resume; /* a session that gets a new connection; 0: a new one */
    int record_fd;   /* -1: not recorded */
    uint32_t features;
    uint64_t pool; /* whose ids the program knows; 0: any */
    pid_t client_pid;
    char program[PEN_DAEMON_PROGRAM];
    const char *record_path;                 /* "" when not recorded */
    const char *record_name;                 /* as it was asked for: record_path without its number */
    char tenant[PEN_TLS_IDENTITY_BYTES + 1]; /* "": a program of this host */
    bool protected;                          /* of a tenant's session: `secret` is for its connection */
    unsigned char secret[PEN_TLS_KEY_BYTES];
};
/* The pool is known: ends the warm workers whose drivers have other devices. */
void pen_workers_check(struct pen_daemon *daemon);
/* Hands the connection to a warm worker of the pool, which has its own copy of the descriptors from then on.
 * -PEN_EBUSY: none is warm; one is being started. */
int pen_workers_adopt(struct pen_daemon *daemon, const struct pen_session_request *request);
/* Whether the tenant's program on another host may have a new connection for its session. -PEN_EDEVICEGONE: there is
 * none; -PEN_EDETACHED: not now. */
int pen_workers_serve(const struct pen_daemon *daemon, const struct pen_msg_session_resume *which, const char *tenant);
/* Sends the session's program away, or lets it come back. -PEN_ENOENT: there is no such session; -PEN_EUNSUPPORTED: its
 * program is on this host. */
int pen_workers_detach(struct pen_daemon *daemon, uint64_t session, bool detached, bool parked,
                       struct pen_error *error);
/* Hands the connection to the worker of the session, which traces it; it has its own copy of the descriptor from then
 * on. -PEN_ENOENT: there is no such session. */
int pen_workers_trace(struct pen_daemon *daemon, uint64_t session, int client_fd, struct pen_error *error);
/* Hands a new connection to the worker of session request->resume, which has its own copy of the descriptor from then
 * on. Or as pen_workers_serve. */
int pen_workers_relink(struct pen_daemon *daemon, const struct pen_session_request *request);

/* The tenant's sessions end. */
void pen_workers_drop_tenant(struct pen_daemon *daemon, const char *tenant);
/* The same as pen_gate_unknown, of tenants who have sessions. */
bool pen_workers_unknown(struct pen_daemon *daemon, char out_tenant[PEN_TLS_IDENTITY_BYTES + 1]);

/* clients.c */

int pen_clients_init(struct pen_daemon *daemon, struct pen_error *error);
void pen_clients_finish(struct pen_daemon *daemon);
/* Closes the listening socket and removes it from the file system. */
void pen_clients_stop(struct pen_daemon *daemon);
/* The pool's state has changed: answer those who asked for devices. */
void pen_clients_pool_changed(struct pen_daemon *daemon);
/* A worker has become warm: serve those who wait. */
void pen_clients_worker_ready(struct pen_daemon *daemon);
/* One could not be taken, as errno says: none is for half a second, from this host or from others. */
void pen_clients_pause(struct pen_daemon *daemon);
/* Connections that wait for a worker. */
uint32_t pen_clients_waiting(const struct pen_daemon *daemon);

/* A program on another host, which has shown the tenant's key. Takes the stream. */
void pen_clients_admit(struct pen_daemon *daemon, struct pen_stream *stream, const char *tenant);
/* The tenant's connections are closed. */
void pen_clients_drop_tenant(struct pen_daemon *daemon, const char *tenant);
/* The same as pen_gate_unknown, of tenants who are connected. */
bool pen_clients_unknown(struct pen_daemon *daemon, char out_tenant[PEN_TLS_IDENTITY_BYTES + 1]);
/* A connection that has shown a ticket: request->client_fd, which is taken. */
void pen_clients_open_session(struct pen_daemon *daemon, const struct pen_session_request *request);

/* gate.c */

int pen_gate_init(struct pen_daemon *daemon, struct pen_error *error);
/* Closed for good; strangers and promises are forgotten. */
void pen_gate_stop(struct pen_daemon *daemon);
/* Promises a session for whoever comes with the ticket, once, within limits.handshake_ms. */
int pen_gate_ticket(struct pen_daemon *daemon, const struct pen_session_request *request,
                    struct pen_msg_session_ticket *out_ticket);

/* Sessions that are promised, and not asked for yet. */
uint32_t pen_gate_promised(const struct pen_daemon *daemon);
/* Whether a tenant of that name is let in; "" always is: it is of a program without protection. Where that cannot be
 * told just now, so is he, and it is looked at again (pen_revoke_look_again). */
bool pen_gate_knows(struct pen_daemon *daemon, const char *tenant);
/* Forgets what it was promised. */
void pen_gate_drop_tenant(struct pen_daemon *daemon, const char *tenant);
/* True, and one of them, while tenants are promised something who are not let in any more. */
bool pen_gate_unknown(struct pen_daemon *daemon, char out_tenant[PEN_TLS_IDENTITY_BYTES + 1]);

/* revoke.c */

/* Watches the tenants' keys: a tenant has come. */
void pen_revoke_watch(struct pen_daemon *daemon);
/* Whether tenants who are here are let in still, soon. */
void pen_revoke_look_again(struct pen_daemon *daemon);
void pen_revoke_stop(struct pen_daemon *daemon);

/* spawn.c */

/* Most arguments of a worker's command line. */
#define PEN_SPAWN_ARGUMENTS 128
struct pen_arguments {
    char *items[PEN_SPAWN_ARGUMENTS + 1];
    unsigned count;
    bool failed; /* out of memory or of room; pen_spawn_worker refuses it */
};
void pen_arguments_add(struct pen_arguments *arguments, const char *format, ...) __attribute__((format(printf, 2, 3)));
void pen_arguments_finish(struct pen_arguments *arguments);
/* The options that the configuration gives every worker and the probe. */
void pen_arguments_common(struct pen_arguments *arguments, const struct pen_daemon *daemon);

/* The number of return_fd below in a worker. */
#define PEN_SPAWN_RETURN_FD 4
/* Starts penstock-worker in a process group of its own, killed with the daemon, its descriptor 3 being one end of a
 * socket pair, and PEN_SPAWN_RETURN_FD being return_fd, unless that is -1. *out_fd is the other end, non-blocking. */
int pen_spawn_worker(struct pen_daemon *daemon, const struct pen_arguments *arguments, int return_fd, pid_t *out_pid,
                     int *out_fd, struct pen_error *error);

/* note.c */

/* What is kept beside a worker's directory for the daemon after us, should we be killed: worker-N.control, a socket at
 * which the worker waits for it, and worker-N.session, whose session it serves. A worker can write neither. */
struct pen_note {
    uint64_t number; /* the worker's */
    uint64_t session, started_ns;
    pid_t pid, client_pid;
    bool detached;
    char program[PEN_DAEMON_PROGRAM];
    char tenant[PEN_TLS_IDENTITY_BYTES + 1];
};
/* The socket, listening. */
int pen_note_listen(const struct pen_daemon *daemon, uint64_t number, int *out_fd, struct pen_error *error);
/* The session; again, when it is detached or attached. 0 or -PEN_EIO. */
int pen_note_write(const struct pen_daemon *daemon, const struct pen_note *note);
/* Both go, if they are there. */
void pen_note_remove(const struct pen_daemon *daemon, uint64_t number);
/* Calls `take` for each session there whose worker lives, with a pidfd of it and a connection to its socket, which are
 * taken. */
void pen_note_each(struct pen_daemon *daemon,
                   void (*take)(struct pen_daemon *daemon, const struct pen_note *note, int pidfd, int control_fd));

/* folder.c */

/* Removes a directory with all that is in it; follows no link. */
void pen_remove_tree(const char *path);
/* Makes work_dir and takes it, waiting for a daemon that is still ending. Before signals are watched. */
int pen_folder_open(struct pen_daemon *daemon, struct pen_error *error);
/* Removes what a killed daemon left there, but for what the workers have that we know. */
void pen_folder_clean(const struct pen_daemon *daemon);
/* Removes what is ours in it, and it if that was all, unless it has sessions for the next daemon. No other process of
 * ours may be left. */
void pen_folder_close(struct pen_daemon *daemon);
/* private_dir becomes ours to remove; -PEN_EBUSY when it is not empty. */
int pen_folder_take_private(struct pen_daemon *daemon, struct pen_error *error);
void pen_folder_remove_private(struct pen_daemon *daemon);

#endif
