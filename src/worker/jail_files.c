/* worker/jail_files.c - see jail_files.h. */
#include "worker/jail_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of some systems. */
#define ACCESS_REFER           (UINT64_C(1) << 13)
#define ACCESS_TRUNCATE        (UINT64_C(1) << 14)
#define SCOPE_ABSTRACT_SOCKETS (UINT64_C(1) << 0)
#define SCOPE_SIGNALS          (UINT64_C(1) << 1)
#define ABI_OF_SCOPES          6
struct ruleset {
    uint64_t files, network, scopes;
};

#define READ        ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR))
#define WRITE       ((uint64_t)LANDLOCK_ACCESS_FS_WRITE_FILE)
#define OF_FILES    (LANDLOCK_ACCESS_FS_READ_FILE | WRITE | ACCESS_TRUNCATE) /* the others are folders' */
#define VENDORS     "/etc/OpenCL/vendors"
#define VENDOR_LINE 4096

static const char *const system_folders[] = {
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/bin",
    "/sbin",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/opengl-driver",
    "/proc",
    "/sys",
};

/* Below /etc: of the C library, the loader, OpenSSL, and drivers. */
static const char *const configuration[] = {
    "OpenCL",       "alternatives",    "amd",           "drirc",        "glvnd",
    "group",        "ld.so.cache",     "ld.so.conf",    "ld.so.conf.d", "ld.so.preload",
    "locale.alias", "localtime",       "nsswitch.conf", "nvidia",       "os-release",
    "passwd",       "ssl/openssl.cnf", "timezone",      "vulkan",
};

/* Below /dev, whoever may use them: accelerators, what they are set up with, and shared memory. */
static const char *const accelerators[] = {
    "accel*", "davinci*", "dma_heap", "dri",     "dxg", "infiniband",
    "kfd",    "kgsl-3d0", "mali*",    "nvidia*", "shm", "udmabuf",
};

struct jail {
    int ruleset;
    uint64_t all; /* that this system knows */
};

static int landlock_abi(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static uint64_t accesses_of(int abi)
{
    uint64_t accesses = READ | WRITE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                        LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                        LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                        LANDLOCK_ACCESS_FS_MAKE_SYM;
    if (abi >= 2)
        accesses |= ACCESS_REFER;
    if (abi >= 3)
        accesses |= ACCESS_TRUNCATE;
    return accesses;
}

/* A folder and all below it, or one file; links are followed. What is not there need not be allowed. */
static bool allow(const struct jail *jail, const char *path, uint64_t accesses)
{
    struct landlock_path_beneath_attr rule = {.parent_fd = open(path, O_PATH | O_CLOEXEC)};
    struct stat status;
    if (rule.parent_fd < 0)
        return false;
    bool folder = !fstat(rule.parent_fd, &status) && S_ISDIR(status.st_mode);
    rule.allowed_access = accesses & jail->all & (folder ? UINT64_MAX : OF_FILES);
    long rc = syscall(SYS_landlock_add_rule, jail->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
    return !rc;
}

/* All below `path` but `secret`, which is no link and not in one. */
static void allow_but(const struct jail *jail, const char *path, const char *secret)
{
    size_t length = strlen(path);
    DIR *folder = strncmp(secret, path, length) || (secret[length] && secret[length] != '/') ? NULL : opendir(path);
    if (!folder) {
        allow(jail, path, READ);
        return;
    }
    for (struct dirent *entry; secret[length] && (entry = readdir(folder));) {
        char child[PATH_MAX];
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && entry->d_type != DT_LNK &&
            snprintf(child, sizeof child, "%s/%s", path, entry->d_name) < (int)sizeof child)
            allow_but(jail, child, secret);
    }
    closedir(folder);
}

/* ---- devices --------------------------------------------------------------------------------------------- */

static bool is_accelerator(const char *name)
{
    for (size_t i = 0; i < sizeof accelerators / sizeof *accelerators; i++)
        if (!fnmatch(accelerators[i], name, 0))
            return true;
    return false;
}

/* Terminals are those of the user's other programs. */
static bool is_terminal(const char *name)
{
    return !strncmp(name, "tty", 3) || !strncmp(name, "pt", 2) || !strncmp(name, "std", 3) || !strcmp(name, "console");
}

static void allow_devices(const struct jail *jail)
{
    DIR *devices = opendir("/dev");
    struct stat status;
    if (!devices)
        return;
    for (struct dirent *entry; (entry = readdir(devices));) {
        char path[sizeof "/dev/" + sizeof entry->d_name];
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        if (entry->d_name[0] == '.' || is_terminal(entry->d_name) || stat(path, &status))
            continue;
        bool everybodys = S_ISCHR(status.st_mode) && (status.st_mode & (S_IROTH | S_IWOTH)) == (S_IROTH | S_IWOTH);
        if (everybodys || is_accelerator(entry->d_name))
            allow(jail, path, jail->all);
    }
    closedir(devices);
    allow(jail, "/dev", LANDLOCK_ACCESS_FS_READ_DIR);
}

/* ---- drivers --------------------------------------------------------------------------------------------- */

static bool is_library_folder(const char *name, size_t length)
{
    static const char *const names[] = {"lib", "lib32", "lib64", "libx32"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == length && !strncmp(names[i], name, length))
            return true;
    return false;
}

/* A driver's folder; and, of PREFIX/lib/..., all of that, and PREFIX/share. */
static void allow_installation(const struct jail *jail, const char *library)
{
    char path[PATH_MAX], share[PATH_MAX + sizeof "/share"], *last = NULL;
    if (!strchr(library, '/') || !realpath(library, path))
        return; /* the loader looks for it in the system's folders */
    *strrchr(path, '/') = 0;
    for (char *name = path; *name; name += strcspn(name, "/")) {
        name++;
        if (is_library_folder(name, strcspn(name, "/")))
            last = name;
    }
    if (last) {
        last[strcspn(last, "/")] = 0;
        snprintf(share, sizeof share, "%.*s/share", (int)(last - path) - 1, path);
        allow(jail, share, READ);
    }
    allow(jail, path, READ);
}

/* The driver that the file names. */
static void allow_vendor(const struct jail *jail, const char *file)
{
    char line[VENDOR_LINE];
    FILE *stream = fopen(file, "re");
    if (!stream)
        return;
    if (fgets(line, sizeof line, stream)) {
        line[strcspn(line, "\r\n")] = 0;
        allow_installation(jail, line);
    }
    fclose(stream);
}

/* A folder of such files, one of them, or a driver itself, as the loaders take it. */
static void allow_vendors(const struct jail *jail, const char *path)
{
    DIR *folder = opendir(path);
    allow(jail, path, READ);
    if (!folder) {
        size_t length = strlen(path);
        if (length > 4 && !strcmp(path + length - 4, ".icd"))
            allow_vendor(jail, path);
        else
            allow_installation(jail, path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char file[PATH_MAX];
        if (entry->d_name[0] != '.' && snprintf(file, sizeof file, "%s/%s", path, entry->d_name) < (int)sizeof file)
            allow_vendor(jail, file);
    }
    closedir(folder);
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

static void read_path(const struct jail *jail, const char *path)
{
    allow(jail, path, READ);
}

/* A device is used; anything else is read. */
static void other_path(const struct jail *jail, const char *path)
{
    struct stat status;
    bool device = !stat(path, &status) && (S_ISCHR(status.st_mode) || !strncmp(path, "/dev/", 5));
    if (!allow(jail, path, device ? jail->all : READ))
        fprintf(stderr, "penstock-worker: %s (workers.files) cannot be allowed in the jail: %s\n", path,
                strerror(errno));
}

/* Of paths between colons, each that is absolute. */
static void each_path(const struct jail *jail, const char *list, void (*apply)(const struct jail *, const char *))
{
    char *copy = list ? strdup(list) : NULL, *rest;
    for (char *path = copy ? strtok_r(copy, ":", &rest) : NULL; path; path = strtok_r(NULL, ":", &rest))
        if (path[0] == '/')
            apply(jail, path);
    free(copy);
}

static void allow_system(const struct jail *jail)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof system_folders / sizeof *system_folders; i++)
        allow_but(jail, system_folders[i], PEN_SYSCONFDIR "/penstock");
    for (size_t i = 0; i < sizeof configuration / sizeof *configuration; i++) {
        snprintf(path, sizeof path, "/etc/%s", configuration[i]);
        allow(jail, path, READ);
    }
    allow(jail, "/proc/self", WRITE); /* thread names */
    allow(jail, "/proc/self/exe", READ);
}

bool pen_jail_restrict_files(const struct pen_jail_files *files, bool *out_scoped)
{
    int abi = landlock_abi();
    *out_scoped = false;
    if (abi < 1)
        return false;
    struct ruleset attributes = {.files = accesses_of(abi)};
    if (abi >= ABI_OF_SCOPES)
        attributes.scopes = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
    const struct jail jail = {(int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0),
                              attributes.files};
    if (jail.ruleset < 0)
        return false;

    allow_system(&jail);
    allow_devices(&jail);
    each_path(&jail, getenv("LD_LIBRARY_PATH"), read_path);
    each_path(&jail, getenv("OCL_ICD_FILENAMES"), allow_installation);
    allow_vendors(&jail, getenv("OCL_ICD_VENDORS") ? getenv("OCL_ICD_VENDORS") : VENDORS);
    each_path(&jail, files->others, other_path);
    /* What cannot be allowed stays forbidden: no reason to go without the rest. */
    for (size_t i = 0; i < files->writable_count; i++)
        if (!allow(&jail, files->writable[i], jail.all))
            fprintf(stderr, "penstock-worker: %s cannot be made writable in the jail: %s\n", files->writable[i],
                    strerror(errno));
    bool ok = !syscall(SYS_landlock_restrict_self, jail.ruleset, 0);
    close(jail.ruleset);
    *out_scoped = ok && attributes.scopes;
    return ok;
}
