/* Where the daemon's socket is; listening and connecting. */
#include "net/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wire/futex.h"

#define BACKLOG 128
/* Daemons that start together hold the lock for less than a millisecond; others could hold it for ever. */
#define LOCK_MS       2000
#define LOCK_RETRY_MS 10
#define SOCKET        "penstockd.sock"
#define SYSTEM        "/run/penstock/" SOCKET

uint64_t pen_deadline_ms(uint64_t milliseconds)
{
    return pen_now_ns() + milliseconds * 1000000u;
}

/* ---- addresses --------------------------------------------------------------------------------------- */

int pen_unix_default_path(char *out_path, size_t size, struct pen_error *error)
{
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    const char *chosen = getenv("PENSTOCK_SOCKET");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    uid_t uid = getuid();
    int length;
    if (chosen && *chosen) {
        length = snprintf(path, sizeof path, "%s", chosen);
    } else if (runtime && *runtime) {
        length = snprintf(path, sizeof path, "%s/penstock/" SOCKET, runtime);
    } else if (uid == 0) {
        length = snprintf(path, sizeof path, SYSTEM);
    } else {
        struct stat status;
        snprintf(path, sizeof path, "/tmp/penstock-%u", (unsigned)uid);
        if (!lstat(path, &status) && (status.st_uid != uid || !S_ISDIR(status.st_mode))) {
            return pen_fail(error, -PEN_EPERM, "%s is not a directory of user %u: set PENSTOCK_SOCKET to use another",
                            path, (unsigned)uid);
        }
        length = snprintf(path, sizeof path, "/tmp/penstock-%u/" SOCKET, (unsigned)uid);
    }
    if (length < 0 || (size_t)length >= sizeof path || (size_t)length >= size) {
        return pen_fail(error, -PEN_ELIMIT,
                        "the daemon's socket has a path of %d bytes, at most %zu are allowed: set PENSTOCK_SOCKET",
                        length, (sizeof path < size ? sizeof path : size) - 1);
    }
    memcpy(out_path, path, (size_t)length + 1);
    return 0;
}

int pen_unix_client_paths(struct pen_unix_paths *out_paths, struct pen_error *error)
{
    const char *chosen = getenv("PENSTOCK_SOCKET");
    struct pen_unix_paths paths = {.count = 1};
    int rc = pen_unix_default_path(paths.path[0], sizeof paths.path[0], error);
    if (rc)
        return rc;
    if (!(chosen && *chosen) && strcmp(paths.path[0], SYSTEM))
        strcpy(paths.path[paths.count++], SYSTEM);
    *out_paths = paths;
    return 0;
}

static int address_of(const char *path, struct sockaddr_un *out_address, struct pen_error *error)
{
    size_t length = strlen(path);
    if (!length || length >= sizeof out_address->sun_path) {
        return pen_fail(error, -PEN_ELIMIT, "a socket's path may have 1 to %zu bytes, this has %zu: %s",
                        sizeof out_address->sun_path - 1, length, path);
    }
    *out_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out_address->sun_path, path, length + 1);
    return 0;
}

/* ---- listening --------------------------------------------------------------------------------------- */

/* Opens the directory of `path`, making it (0700, or 0710 of the group) when it is missing. Refuses one where others
 * could put a socket of their own in our socket's place, and one that keeps the group out. */
static int open_directory(const char *path, gid_t group, int *out_fd, struct pen_error *error)
{
    char directory[sizeof((struct sockaddr_un *)0)->sun_path] = ".";
    const char *slash = strrchr(path, '/');
    if (slash) {
        size_t length = slash == path ? 1 : (size_t)(slash - path);
        memcpy(directory, path, length);
        directory[length] = 0;
    }
    bool made = !mkdir(directory, 0700);
    if (!made && errno != EEXIST) {
        return pen_fail(error, errno == EACCES ? -PEN_EPERM : -PEN_EIO, "making the socket's directory %s: %s",
                        directory, strerror(errno));
    }
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat status;
    bool shared = group != PEN_UNIX_NO_GROUP;
    if (fd < 0 || (made && shared && (fchown(fd, (uid_t)-1, group) || fchmod(fd, 0710))) || fstat(fd, &status)) {
        int rc = pen_fail(error, errno == EPERM ? -PEN_EPERM : -PEN_EIO, "opening the socket's directory %s%s: %s",
                          directory, shared ? " for the members of socket_group" : "", strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    bool ours = status.st_uid == geteuid() || status.st_uid == 0;
    bool theirs = (status.st_mode & (S_IWGRP | S_IWOTH)) && !(status.st_mode & S_ISVTX);
    if (!ours || theirs) {
        close(fd);
        return pen_fail(
            error, -PEN_EPERM,
            "others may replace a socket in %s (owner %u, mode %o): it must be ours or root's, and writable by "
            "the owner only",
            directory, (unsigned)status.st_uid, (unsigned)(status.st_mode & 07777));
    }
    if (shared && !(status.st_mode & S_IXOTH) && !(status.st_mode & S_IXGRP && status.st_gid == group)) {
        close(fd);
        return pen_fail(error, -PEN_EPERM,
                        "members of socket_group (%u) cannot reach a socket in %s (group %u, mode %o): it must be "
                        "that group's, with mode 0710, or let all pass (0711)",
                        (unsigned)group, directory, (unsigned)status.st_gid, (unsigned)(status.st_mode & 07777));
    }
    *out_fd = fd;
    return 0;
}

/* Removes a socket that nobody listens on. */
static int remove_stale(const char *path, const struct sockaddr_un *address, struct pen_error *error)
{
    struct stat status;
    if (lstat(path, &status))
        return 0;
    if (!S_ISSOCK(status.st_mode))
        return pen_fail(error, -PEN_EBUSY, "%s exists and is no socket: remove it or set PENSTOCK_SOCKET", path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return pen_fail(error, -PEN_EIO, "socket: %s", strerror(errno));
    bool stale = connect(probe, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED;
    close(probe);
    if (!stale)
        return pen_fail(error, -PEN_EBUSY, "a daemon listens on %s already: stop it or set PENSTOCK_SOCKET", path);
    if (unlink(path) && errno != ENOENT)
        return pen_fail(error, -PEN_EIO, "removing the stale socket %s: %s", path, strerror(errno));
    return 0;
}

/* Two daemons that start together: one replaces at a time. The lock goes with the descriptor. */
static int lock_directory(int directory, const char *path, struct pen_error *error)
{
    const struct timespec pause = {.tv_nsec = LOCK_RETRY_MS * 1000000L};
    uint64_t deadline = pen_deadline_ms(LOCK_MS);
    while (flock(directory, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return pen_fail(error, -PEN_EIO, "locking the directory of %s: %s", path, strerror(errno));
        if (pen_now_ns() > deadline)
            return pen_fail(
                error, -PEN_EBUSY,
                "another process keeps the directory of %s locked (flock) for more than %d ms: end it, or set "
                "PENSTOCK_SOCKET to use another directory",
                path, LOCK_MS);
        nanosleep(&pause, NULL);
    }
    return 0;
}

int pen_unix_listen(const char *path, gid_t group, int *out_fd, struct pen_error *error)
{
    struct sockaddr_un address;
    int directory = -1, fd = -1;
    int rc = address_of(path, &address, error);
    if (rc || (rc = open_directory(path, group, &directory, error)))
        return rc;
    rc = lock_directory(directory, path, error);
    if (rc)
        goto out;
    rc = remove_stale(path, &address, error);
    if (rc)
        goto out;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool shared = group != PEN_UNIX_NO_GROUP;
    /* fchmod before bind: the file is born with mode 0600. */
    if (fd < 0 || fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)&address, sizeof address) ||
        (shared && chown(path, (uid_t)-1, group)) || chmod(path, shared ? 0660 : 0600) || listen(fd, BACKLOG)) {
        bool denied = errno == EACCES || errno == EPERM;
        rc = pen_fail(error, denied ? -PEN_EPERM : -PEN_EIO, "listening on %s%s: %s", path,
                      shared ? " for the members of socket_group" : "", strerror(errno));
        goto out;
    }
    *out_fd = fd;
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    close(directory);
    return rc;
}

int pen_unix_accept(int listen_fd, int *out_fd)
{
    int fd;
    do {
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? -PEN_ETIMEOUT : -PEN_EIO;
    *out_fd = fd;
    return 0;
}

/* ---- connecting -------------------------------------------------------------------------------------- */

static int connect_error(const char *path, int code, struct pen_error *error)
{
    switch (code) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
        return pen_fail(error, -PEN_ENOENT, "no daemon listens on %s: start penstockd, or set PENSTOCK_SOCKET", path);
    case EACCES:
    case EPERM:
        return pen_fail(error, -PEN_EPERM, "the daemon on %s is not for this user", path);
    case EAGAIN:
    case EINTR:
        return pen_fail(error, -PEN_ETIMEOUT, "the daemon on %s does not take connections", path);
    default:
        return pen_fail(error, -PEN_EIO, "connecting to %s: %s", path, strerror(code));
    }
}

int pen_unix_connect(const char *path, uint64_t deadline_ns, int *out_fd, struct pen_error *error)
{
    struct sockaddr_un address;
    int rc = address_of(path, &address, error);
    if (rc)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return pen_fail(error, -PEN_EIO, "socket: %s", strerror(errno));
    /* connect() to a full backlog waits for as long as a send may (unix(7)); it never says EINPROGRESS. */
    int failed;
    do {
        uint64_t now = pen_now_ns();
        uint64_t left = deadline_ns > now ? deadline_ns - now : 1000;
        struct timeval limit = {.tv_sec = (time_t)(left / 1000000000u), .tv_usec = (long)(left % 1000000000u / 1000)};
        if (deadline_ns != UINT64_MAX) {
            limit.tv_usec = limit.tv_sec || limit.tv_usec ? limit.tv_usec : 1;
            (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        }
        failed = connect(fd, (const struct sockaddr *)&address, sizeof address) ? errno : 0;
    } while (failed == EINTR && pen_now_ns() < deadline_ns);
    if (failed) {
        close(fd);
        return connect_error(path, failed, error);
    }
    struct timeval none = {0};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
    if (fcntl(fd, F_SETFL, O_NONBLOCK)) {
        rc = pen_fail(error, -PEN_EIO, "connecting to %s: %s", path, strerror(errno));
        close(fd);
        return rc;
    }
    *out_fd = fd;
    return 0;
}

int pen_unix_connect_first(const struct pen_unix_paths *paths, uint64_t deadline_ns, const char **out_path, int *out_fd,
                           struct pen_error *error)
{
    int rc = pen_unix_connect(paths->path[0], deadline_ns, out_fd, error);
    unsigned i = 0;
    /* Not also when that one is there and not for us, or too busy. */
    while (rc == -PEN_ENOENT && ++i < paths->count)
        rc = pen_unix_connect(paths->path[i], deadline_ns, out_fd, NULL) ? rc : 0;
    if (!rc)
        *out_path = paths->path[i];
    return rc;
}

int pen_unix_peer(int fd, struct pen_unix_peer *out_peer)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) || size != sizeof credentials)
        return -PEN_EIO;
    *out_peer = (struct pen_unix_peer){credentials.pid, credentials.uid, credentials.gid};
    return 0;
}
