/* cli/vendors.c - see vendors.h. */
#include "cli/vendors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/name.h"

#define SYSTEM_VENDORS "/etc/OpenCL/vendors"

static int make_failed(const char *path, struct pen_error *error)
{
    return pen_fail(error, -PEN_EIO, "cannot write %.300s: %s", path, strerror(errno));
}

static int write_icd(const char *folder, const char *name, const char *library, struct pen_error *error)
{
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wxe");
    if (!file)
        return make_failed(path, error);
    fprintf(file, "%s\n", library);
    return fclose(file) ? make_failed(path, error) : 0;
}

/* Links to the .icd files of the other vendors; what names a library instead gets a file of its own. */
static int keep_others(const char *folder, const char *outer, struct pen_error *error)
{
    struct stat status;
    if (!outer || !*outer)
        outer = SYSTEM_VENDORS;
    if (stat(outer, &status) || !S_ISDIR(status.st_mode)) {
        char link_path[2 * PATH_MAX], target[2 * PATH_MAX];
        if (!pen_ends_with(outer, ".icd"))
            return write_icd(folder, "outer.icd", outer, error);
        snprintf(target, sizeof target, "%s%s", strchr(outer, '/') ? "" : SYSTEM_VENDORS "/", outer);
        snprintf(link_path, sizeof link_path, "%s/outer.icd", folder);
        return symlink(target, link_path) ? make_failed(link_path, error) : 0;
    }

    char real[PATH_MAX];
    DIR *directory = realpath(outer, real) ? opendir(real) : NULL;
    if (!directory)
        return pen_fail(error, -PEN_EIO, "cannot read the vendors' folder %.300s: %s", outer, strerror(errno));
    int rc = 0;
    for (struct dirent *entry; !rc && (entry = readdir(directory));) {
        char link_path[2 * PATH_MAX], target[2 * PATH_MAX];
        if (!pen_ends_with(entry->d_name, ".icd") || !strcmp(entry->d_name, "penstock.icd"))
            continue;
        snprintf(target, sizeof target, "%s/%s", real, entry->d_name);
        snprintf(link_path, sizeof link_path, "%s/%s", folder, entry->d_name);
        if (symlink(target, link_path))
            rc = make_failed(link_path, error);
    }
    closedir(directory);
    return rc;
}

int pen_vendors_folder(bool keep, const char *outer, struct pen_helper *helper, char *out_path, size_t size,
                       struct pen_error *error)
{
    char library[PATH_MAX];
    const char *chosen = getenv("PENSTOCK_ICD_PATH");
    if (!keep && !(chosen && *chosen)) {
        if (pen_place_find("vendors", PEN_DATADIR "/penstock/vendors", out_path, size))
            return 0;
    }
    if (chosen && *chosen)
        snprintf(library, sizeof library, "%s", chosen);
    else
        pen_place_find("../icd/libpenstock-icd.so", PEN_LIBDIR "/libpenstock-icd.so", library, sizeof library);
    if (access(library, R_OK))
        return pen_fail(error, -PEN_ENOENT, "cannot find Penstock's OpenCL library %.300s: %s (PENSTOCK_ICD_PATH)",
                        library, strerror(errno));

    int rc = helper->pid > 0 ? 0 : pen_helper_janitor(helper, error);
    if (rc)
        return rc;
    snprintf(out_path, size, "%.200s/vendors", helper->directory);
    if (mkdir(out_path, 0700))
        return make_failed(out_path, error);
    rc = write_icd(out_path, "penstock.icd", library, error);
    if (!rc && keep)
        rc = keep_others(out_path, outer, error);
    return rc;
}
