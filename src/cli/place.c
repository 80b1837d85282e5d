/* cli/place.c - where the other programs are, and temporary directories. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* So that "/penstockd.sock" fits a socket's address (107 bytes) after it. */
#define LONGEST_TEMPORARY 80

bool pen_place_find(const char *relative, const char *installed, char *out_path, size_t size)
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash) {
        *slash = '\0';
        char joined[2 * PATH_MAX], resolved[PATH_MAX];
        snprintf(joined, sizeof joined, "%s/%s", self, relative);
        if (realpath(joined, resolved)) {
            snprintf(out_path, size, "%s", resolved);
            return true;
        }
    }
    snprintf(out_path, size, "%s", installed);
    return !access(installed, F_OK);
}

int pen_place_temporary(char *out_path, size_t size, struct pen_error *error)
{
    const char *candidates[] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp"};
    int reason = ENOENT;
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++) {
        const char *parent = candidates[i];
        if (!parent || parent[0] != '/' || strlen(parent) > LONGEST_TEMPORARY)
            continue;
        snprintf(out_path, size, "%s/penstock-XXXXXX", parent);
        if (mkdtemp(out_path))
            return 0;
        reason = errno;
    }
    return pen_fail(error, -PEN_EIO,
                    "cannot make a temporary directory in XDG_RUNTIME_DIR, TMPDIR or /tmp (paths of at most %d bytes): "
                    "%s",
                    LONGEST_TEMPORARY, strerror(reason));
}

void pen_place_remove(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (!unlinkat(dirfd(directory), entry->d_name, 0))
            continue;
        char inner[PATH_MAX];
        if ((size_t)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) < sizeof inner)
            pen_place_remove(inner);
    }
    closedir(directory);
    rmdir(path);
}
