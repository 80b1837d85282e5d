/* worker/files.c - see files.h. */
#include "worker/files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"

/* Directories kept open by a tree walk. */
#define WALK_DEPTH 16

int pen_file_make_parents(const char *path, size_t from)
{
    char *copy = strdup(path);
    if (!copy)
        return -PEN_ENOMEM;
    int rc = 0;
    for (char *at = copy + from; !rc && (at = strchr(at, '/')); at++) {
        *at = 0;
        if (*copy && mkdir(copy, 0700) && errno != EEXIST)
            rc = -PEN_EIO;
        *at = '/';
    }
    free(copy);
    return rc;
}

int pen_file_make_directory(const char *path)
{
    int rc = pen_file_make_parents(path, 1);
    if (!rc && mkdir(path, 0700) && errno != EEXIST)
        rc = -PEN_EIO;
    return rc;
}

int pen_file_write(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -PEN_EIO;
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    if (close(fd) || done < size) {
        unlink(path);
        return -PEN_EIO;
    }
    return 0;
}

int pen_file_read(const char *path, size_t max, void **out_bytes, size_t *out_size)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), rc = -PEN_EIO;
    if (fd < 0)
        return errno == ENOENT ? -PEN_ENOENT : -PEN_EIO;
    if (fstat(fd, &status) || !S_ISREG(status.st_mode))
        goto out;
    rc = -PEN_ELIMIT;
    if ((uint64_t)status.st_size > max)
        goto out;
    size_t size = (size_t)status.st_size, done = 0;
    unsigned char *bytes = malloc(size + 1);
    rc = -PEN_ENOMEM;
    if (!bytes)
        goto out;
    while (done < size) {
        ssize_t n = read(fd, bytes + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    if (done < size) {
        free(bytes);
        rc = -PEN_EIO;
        goto out;
    }
    bytes[size] = 0;
    *out_bytes = bytes;
    *out_size = size;
    rc = 0;
out:
    close(fd);
    return rc;
}

bool pen_file_lacks_room(const char *directory, uint64_t bytes, char *out_why, size_t why_size)
{
    static const char probe[4096]; /* quotas and read-only mounts are not in the numbers */
    struct statvfs disk;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/room.%d", directory, (int)getpid());
    if (pen_file_write(path, probe, sizeof probe)) {
        snprintf(out_why, why_size, "cannot be written: %s", strerror(errno));
        return true;
    }
    unlink(path);
    if (statvfs(directory, &disk) || (uint64_t)disk.f_bavail * disk.f_frsize >= bytes)
        return false;
    snprintf(out_why, why_size, "is on a disk with less than %llu MiB left", (unsigned long long)(bytes >> 20));
    return true;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    remove(path);
    return 0;
}

void pen_file_remove_tree(const char *path)
{
    nftw(path, remove_one, WALK_DEPTH, FTW_DEPTH | FTW_PHYS);
}
