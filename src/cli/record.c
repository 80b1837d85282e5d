/* cli/record.c - see record.h. */
#include "cli/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "penstock-protocol.h"
#include "state/log.h"

/* How long a session may take to end after its program. */
#define RECORD_END_MS 10000

static int absolute_path(const char *file, char *out_path, size_t size, struct pen_error *error)
{
    char directory[PATH_MAX] = "";
    if (file[0] != '/' && !getcwd(directory, sizeof directory))
        return pen_fail(error, -PEN_EIO, "cannot tell the working directory: %s", strerror(errno));
    int length = snprintf(out_path, size, "%s%s%s", directory, file[0] == '/' ? "" : "/", file);
    if (length < 0 || (size_t)length >= size)
        return pen_fail(error, -PEN_ELIMIT, "the path of a session's log may have %zu bytes, %.200s has %d", size - 1,
                        file, length);
    return 0;
}

/* A log, or empty. */
static int check_replaceable(const char *path, struct pen_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return pen_fail(error, -PEN_EIO, "cannot look into %s, to see whether it is a log: %s", path, strerror(errno));
    int found = pen_log_probe(fd), reason = errno;
    close(fd);
    if (found == -PEN_EIO)
        return pen_fail(error, -PEN_EIO, "cannot read %s, to see whether it is a log: %s", path, strerror(reason));
    if (found == -PEN_EVERSION)
        return pen_fail(error, -PEN_EINVAL, "%s exists and is no session log; it is not written over", path);
    return 0;
}

/* The daemon makes the log, and has nobody to tell that it cannot. */
static int check_folder(const char *path, struct pen_error *error)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path + 1), path);
    if (access(folder, W_OK | X_OK))
        return pen_fail(error, -PEN_EIO, "cannot write a session's log to %s: %s: %s", path, folder, strerror(errno));
    return 0;
}

static int check_way(const char *path, struct pen_error *error)
{
    struct stat status;
    if (lstat(path, &status))
        return errno == ENOENT
                   ? check_folder(path, error)
                   : pen_fail(error, -PEN_EIO, "cannot write a session's log to %s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode)) /* a device or a pipe is as empty as a new file */
        return pen_fail(error, -PEN_EINVAL, "%s exists and is no regular file; a session's log is not written to it",
                        path);
    return check_replaceable(path, error);
}

/* FILE, FILE.1, ...: as the daemon names them (clients.c). */
static void name_of(const char *path, unsigned number, char *out, size_t size)
{
    if (number)
        snprintf(out, size, "%s.%u", path, number);
    else
        snprintf(out, size, "%s", path);
}

/* All names or none: FILE.1 shall be the second session of this run, not of the one before. */
static int make_way(const char *path, struct pen_error *error)
{
    char name[PEN_RECORD_PATH];
    int rc = 0;
    for (unsigned i = 0; i < PEN_LIMIT_RECORDS && !rc; i++) {
        name_of(path, i, name, sizeof name);
        rc = check_way(name, error);
    }
    for (unsigned i = 0; i < PEN_LIMIT_RECORDS && !rc; i++) {
        name_of(path, i, name, sizeof name);
        if (unlink(name) && errno != ENOENT)
            rc = pen_fail(error, -PEN_EIO, "cannot replace %s: %s", name, strerror(errno));
    }
    return rc;
}

int pen_record_prepare(const char *file, struct pen_error *error)
{
    char path[PATH_MAX];
    int rc = absolute_path(file, path, sizeof path, error);
    if (!rc)
        rc = make_way(path, error);
    if (!rc)
        setenv("PENSTOCK_RECORD", path, 1);
    return rc;
}

int pen_record_complete(struct pen_error *error)
{
    return pen_sessions_wait(getenv("PENSTOCK_RECORD"), RECORD_END_MS, error);
}

bool pen_record_file(unsigned number, char out_path[PEN_RECORD_PATH], uint64_t *out_bytes)
{
    struct stat status;
    name_of(getenv("PENSTOCK_RECORD"), number, out_path, PEN_RECORD_PATH);
    if (number >= PEN_LIMIT_RECORDS || stat(out_path, &status))
        return false;
    *out_bytes = (uint64_t)status.st_size;
    return true;
}
