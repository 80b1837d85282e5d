/* cli/record.c - see record.h. */
#include "cli/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state/log.h"

static int absolute_path(const char *file, char *out_path, size_t size, struct pen_error *error)
{
    char directory[PATH_MAX] = "";
    if (file[0] != '/' && !getcwd(directory, sizeof directory))
        return pen_fail(error, -PEN_EIO, "cannot tell the working directory: %s", strerror(errno));
    snprintf(out_path, size, "%s%s%s", directory, file[0] == '/' ? "" : "/", file);
    return 0;
}

/* A log, or empty. */
static int check_replaceable(const char *path, struct pen_error *error)
{
    char magic[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0)
        return pen_fail(error, -PEN_EIO, "cannot look into %s, to see whether it is a log: %s", path, strerror(errno));
    ssize_t got = read(fd, magic, sizeof magic);
    int reason = errno;
    close(fd);
    if (got < 0)
        return pen_fail(error, -PEN_EIO, "cannot read %s, to see whether it is a log: %s", path, strerror(reason));
    if (got != 0 && (got != (ssize_t)sizeof magic || memcmp(magic, PEN_LOG_MAGIC, sizeof magic)))
        return pen_fail(error, -PEN_EINVAL, "%s exists and is no session log; it is not written over", path);
    return 0;
}

static int make_way(const char *path, struct pen_error *error)
{
    struct stat status;
    if (lstat(path, &status))
        return errno == ENOENT
                   ? 0
                   : pen_fail(error, -PEN_EIO, "cannot write a session's log to %s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode)) /* a device or a pipe is as empty as a new file */
        return pen_fail(error, -PEN_EINVAL, "%s exists and is no regular file; a session's log is not written to it",
                        path);
    int rc = check_replaceable(path, error);
    if (!rc && unlink(path))
        rc = pen_fail(error, -PEN_EIO, "cannot replace %s: %s", path, strerror(errno));
    return rc;
}

int pen_record_prepare(const char *file, struct pen_error *error)
{
    char path[2 * PATH_MAX];
    int rc = absolute_path(file, path, sizeof path, error);
    if (!rc)
        rc = make_way(path, error);
    if (!rc)
        setenv("PENSTOCK_RECORD", path, 1);
    return rc;
}
