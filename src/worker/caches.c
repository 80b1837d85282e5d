/* worker/caches.c - see caches.h. */
#include "worker/caches.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "worker/files.h"

/* A compiler that fails with less than this left may have failed for want of it. */
#define BUILD_ROOM (UINT64_C(1) << 20)

static const struct {
    const char *variable, *folder;
    bool ours; /* whatever the environment says */
} caches[PEN_CACHES] = {{"POCL_CACHE_DIR", "pocl", false},
                        {"MESA_SHADER_CACHE_DIR", "mesa", false},
                        {"CUDA_CACHE_PATH", "cuda", false},
                        {"XDG_CACHE_HOME", "xdg", true}};

bool pen_caches_lack_room(const char *cache_dir, uint64_t bytes, struct pen_crash_page *page)
{
    char why[96];
    if (!pen_file_lacks_room(cache_dir, bytes, why, sizeof why))
        return false;
    snprintf(page->cache, sizeof page->cache, "%.300s (cache.dir) %s", cache_dir, why);
    return true;
}

/* The folders in the directory of that name, made. */
static int make_folders(const char *directory)
{
    int rc = 0;
    for (size_t i = 0; i < PEN_CACHES && !rc; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", directory, caches[i].folder) < 0)
            return -PEN_ENOMEM;
        rc = pen_file_make_directory(path);
        free(path);
    }
    return rc;
}

static int link_to(const char *tmp_dir, const char *target)
{
    char made[PATH_MAX], path[PATH_MAX];
    snprintf(made, sizeof made, "%s/drivers.new", tmp_dir);
    snprintf(path, sizeof path, "%s/drivers", tmp_dir);
    return symlink(target, made) || rename(made, path) ? -PEN_EIO : 0;
}

int pen_caches_link(const char *tmp_dir, const char *cache_dir, struct pen_crash_page *page)
{
    char own[PATH_MAX];
    page->cache[0] = 0;
    if (cache_dir && !pen_caches_lack_room(cache_dir, PEN_CACHES_ROOM, page) && !make_folders(cache_dir))
        return link_to(tmp_dir, cache_dir);
    snprintf(own, sizeof own, "%s/own", tmp_dir);
    int rc = make_folders(own);
    return rc ? rc : link_to(tmp_dir, own);
}

void pen_caches_announce(const char *tmp_dir, const char *out_folders[PEN_CACHES])
{
    for (size_t i = 0; i < PEN_CACHES; i++) {
        char path[PATH_MAX];
        const char *given = caches[i].ours ? NULL : getenv(caches[i].variable);
        if (given)
            pen_file_make_directory(given); /* the jail keeps the driver from it */
        else
            snprintf(path, sizeof path, "%s/drivers/%s", tmp_dir, caches[i].folder);
        if (!given || realpath(given, path)) /* wherever we are */
            setenv(caches[i].variable, path, 1);
        out_folders[i] = getenv(caches[i].variable);
    }
}

static char *complain_of(const char *folder, const char *tmp_dir, const char *setting)
{
    char real[PATH_MAX], why[96], *line;
    if (!folder || !realpath(folder, real) || !pen_file_lacks_room(real, BUILD_ROOM, why, sizeof why))
        return NULL;
    size_t length = strlen(tmp_dir);
    if (!strncmp(real, tmp_dir, length)) /* the daemon's folder for it is beside its socket */
        setting = "socket";
    else if (!strncmp(folder, tmp_dir, length))
        setting = "cache.dir";
    return asprintf(&line, "Penstock: %s, where the driver's compiler writes (setting: %s), %s\n", real, setting, why) <
                   0
               ? NULL
               : line;
}

char *pen_caches_complain(const char *tmp_dir)
{
    char *line = complain_of(tmp_dir, tmp_dir, "socket");
    for (size_t i = 0; i < PEN_CACHES && !line; i++)
        line = complain_of(getenv(caches[i].variable), tmp_dir, caches[i].variable);
    return line;
}
