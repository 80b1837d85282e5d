/* daemon/folder.c - the directories that are the daemon's: "<socket>.d" with one for each worker and probe in it, and
 * that of a private daemon. What others put there, or had there before, is left alone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/daemon.h"

/* For the daemon before us, which gives its workers limits.stop_ms, to end: as long, and this. */
#define ENDING_MS       2000
#define ENDING_RETRY_MS 20

/* ---- removing ---------------------------------------------------------------------------------------- */

/* Depth is bounded by the descriptors; a worker that nests deeper has its leftovers kept. */
static void empty_directory(int fd, unsigned depth)
{
    DIR *directory = fdopendir(fd);
    if (!directory) {
        close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (!unlinkat(fd, entry->d_name, 0) || depth == 0)
            continue;
        int inner = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (inner < 0)
            continue;
        empty_directory(inner, depth - 1);
        unlinkat(fd, entry->d_name, AT_REMOVEDIR);
    }
    closedir(directory);
}

void pen_remove_tree(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    empty_directory(fd, 64);
    rmdir(path);
}

/* ---- the workers' ------------------------------------------------------------------------------------ */

/* "worker-7", "worker-7.session", "worker-7.control", "probe-1": as workers.c, note.c and probe.c name them. The
 * worker's number; 0: a probe's. */
static bool is_ours(const char *name, uint64_t *out_number)
{
    bool probe = !strncmp(name, "probe-", 6), worker = !strncmp(name, "worker-", 7);
    const char *number = worker ? name + 7 : probe ? name + 6 : "";
    size_t digits = strspn(number, "0123456789");
    const char *rest = number + digits;
    *out_number = worker ? strtoull(number, NULL, 10) : 0;
    return digits && (!*rest || (worker && (!strcmp(rest, ".session") || !strcmp(rest, ".control"))));
}

void pen_folder_clean(const struct pen_daemon *daemon)
{
    uint64_t number;
    DIR *directory = opendir(daemon->work_dir);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[PATH_MAX + NAME_MAX + 2];
        snprintf(path, sizeof path, "%s/%s", daemon->work_dir, entry->d_name);
        if (is_ours(entry->d_name, &number) && !pen_workers_has(daemon, number) && unlink(path))
            pen_remove_tree(path);
    }
    closedir(directory);
}

static int check_work_dir(const struct pen_daemon *daemon, int fd, struct pen_error *error)
{
    struct stat status;
    if (fstat(fd, &status))
        return pen_fail(error, -PEN_EIO, "cannot look at %.300s: %s", daemon->work_dir, strerror(errno));
    if (status.st_uid == geteuid() && !(status.st_mode & (S_IWGRP | S_IWOTH)))
        return 0;
    return pen_fail(error, -PEN_EPERM,
                    "the workers' directory %.300s belongs to user %u and has mode %o: it must be of user %u and "
                    "writable by nobody else; remove it, or have another socket (--socket, `socket`)",
                    daemon->work_dir, (unsigned)status.st_uid, (unsigned)(status.st_mode & 07777), (unsigned)geteuid());
}

/* Locked, and still the directory of that name: the daemon before us removes it when it ends. */
static bool lock_work_dir(const struct pen_daemon *daemon, int fd)
{
    struct stat locked, named;
    return !flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &locked) && !stat(daemon->work_dir, &named) &&
           locked.st_ino == named.st_ino && locked.st_dev == named.st_dev;
}

/* Makes it if it is missing. 1: it is ours; 0: another's still. */
static int try_work_dir(struct pen_daemon *daemon, struct pen_error *error)
{
    if (mkdir(daemon->work_dir, 0700) && errno != EEXIST)
        return pen_fail(error, -PEN_EIO, "cannot make the workers' directory %.300s: %s", daemon->work_dir,
                        strerror(errno));
    int fd = open(daemon->work_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0; /* removed just now */
    if (fd < 0)
        return pen_fail(error, -PEN_EIO, "cannot open the workers' directory %.300s: %s", daemon->work_dir,
                        strerror(errno));
    int rc = check_work_dir(daemon, fd, error);
    if (!rc && lock_work_dir(daemon, fd)) {
        daemon->work_fd = fd;
        return 1;
    }
    close(fd);
    return rc;
}

/* A moment; or an error when we are told to stop: those signals are held while we start. */
static int wait_a_moment(struct pen_error *error)
{
    const struct timespec pause = {.tv_nsec = ENDING_RETRY_MS * 1000000L};
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGUSR1);
    int number = sigtimedwait(&stop, NULL, &pause);
    return number > 0 ? pen_fail(error, -PEN_EBUSY, "stopped by signal %d before it had started", number) : 0;
}

int pen_folder_open(struct pen_daemon *daemon, struct pen_error *error)
{
    const uint64_t wait_ms = daemon->config.stop_ms + ENDING_MS, deadline = pen_deadline_ms(wait_ms);
    bool said = false;
    int rc;
    snprintf(daemon->work_dir, sizeof daemon->work_dir, "%.4000s.d", daemon->socket_path);
    while ((rc = try_work_dir(daemon, error)) == 0) {
        if (pen_deadline_ms(0) > deadline)
            return pen_fail(error, -PEN_EBUSY,
                            "the penstockd before this one has not ended: it keeps %.300s locked (waited %" PRIu64
                            " ms, limits.stop_ms and %d s more)",
                            daemon->work_dir, wait_ms, ENDING_MS / 1000);
        if (!said)
            pen_report(PEN_REPORT_INFO, "the penstockd before this one is still ending; waiting for it");
        said = true;
        if ((rc = wait_a_moment(error)))
            return rc;
    }
    return rc < 0 ? rc : 0;
}

void pen_folder_close(struct pen_daemon *daemon)
{
    if (daemon->work_fd < 0)
        return;
    if (!daemon->handed_over) {
        pen_folder_clean(daemon);
        rmdir(daemon->work_dir); /* not if it holds what is not ours */
    }
    close(daemon->work_fd);
    daemon->work_fd = -1;
}

/* ---- a private daemon's ------------------------------------------------------------------------------ */

int pen_folder_take_private(struct pen_daemon *daemon, struct pen_error *error)
{
    DIR *directory = opendir(daemon->private_dir);
    int entries = 0;
    if (!directory && errno == ENOENT) {
        daemon->owns_private = true; /* made with the socket */
        return 0;
    }
    if (!directory)
        return pen_fail(error, -PEN_EIO, "cannot open the directory %.300s (--private): %s", daemon->private_dir,
                        strerror(errno));
    for (struct dirent *entry; (entry = readdir(directory));)
        entries += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(directory);
    if (entries)
        return pen_fail(error, -PEN_EBUSY,
                        "the directory %.300s is not empty (--private): it would be removed at the end",
                        daemon->private_dir);
    daemon->owns_private = true;
    return 0;
}

void pen_folder_remove_private(struct pen_daemon *daemon)
{
    char path[PATH_MAX + 16];
    if (!daemon->owns_private)
        return;
    snprintf(path, sizeof path, "%s/vendors", daemon->private_dir); /* cli/vendors.c */
    pen_remove_tree(path);
    rmdir(daemon->private_dir);
    daemon->owns_private = false;
}
