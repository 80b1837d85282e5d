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

#include "base/name.h"

/* Newer than the headers of some systems. */
#define ACCESS_REFER           (UINT64_C(1) << 13)
#define ACCESS_TRUNCATE        (UINT64_C(1) << 14)
#define SCOPE_ABSTRACT_SOCKETS (UINT64_C(1) << 0)
#define SCOPE_SIGNALS          (UINT64_C(1) << 1)
#define ABI_OF_SCOPES          6
struct ruleset {
    uint64_t files, network, scopes;
};

#define READ         ((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR))
#define WRITE        ((uint64_t)LANDLOCK_ACCESS_FS_WRITE_FILE)
#define OF_FILES     (LANDLOCK_ACCESS_FS_READ_FILE | WRITE | ACCESS_TRUNCATE) /* the others are folders' */
#define VENDORS      "/etc/OpenCL/vendors"
#define LINE         4096
#define LOADER_LINES 64 /* of each file */

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
    "accel*", "davinci*", "dma_heap", "dri",     "dxg",   "galcore",  "ion", "kfd",     "kgsl-3d0",
    "mali*",  "nvgpu*",   "nvhost*",  "nvidia*", "nvmap", "pvrsrvkm", "shm", "udmabuf",
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

static bool is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return !strncmp(path, folder, length) && path[length] == '/';
}

/* Calls for each entry of the folder but those that begin with a dot. */
static void each_entry(const struct jail *jail, const char *folder, const char *argument,
                       void (*apply)(const struct jail *, const char *path, const char *name, const char *argument))
{
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        char path[PATH_MAX];
        if (entry->d_name[0] != '.' && snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path)
            apply(jail, path, entry->d_name, argument);
    }
    if (entries)
        closedir(entries);
}

/* All of it but `secret`, which is no link and not in one. Of a folder on the way there that cannot be listed, nothing.
 */
static void allow_but(const struct jail *jail, const char *path, const char *name, const char *secret)
{
    struct stat status;
    if (!strcmp(path, secret) || (name && (lstat(path, &status) || S_ISLNK(status.st_mode))))
        return;
    if (is_below(secret, path))
        each_entry(jail, path, secret, allow_but);
    else
        allow(jail, path, READ);
}

/* Of /proc nothing that is another process's: its command line tells much, and is everybody's to read. */
static void allow_process(const struct jail *jail, const char *path, const char *name, const char *unused)
{
    (void)unused;
    if (name[strspn(name, "0123456789")])
        allow(jail, path, READ);
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

static void allow_device(const struct jail *jail, const char *path, const char *name, const char *unused)
{
    struct stat status;
    (void)unused;
    if (is_terminal(name) || stat(path, &status))
        return;
    bool everybodys = S_ISCHR(status.st_mode) && (status.st_mode & (S_IROTH | S_IWOTH)) == (S_IROTH | S_IWOTH);
    if (everybodys || is_accelerator(name))
        allow(jail, path, jail->all);
}

/* ---- drivers --------------------------------------------------------------------------------------------- */

static bool is_library_folder(const char *name)
{
    static const char *const names[] = {"lib", "lib32", "lib64", "libx32"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static void allow_library(const struct jail *jail, const char *path, const char *name, const char *unused)
{
    (void)unused;
    if (strstr(name, ".so"))
        allow(jail, path, READ);
}

/* Of a folder PREFIX/lib, or up to two below it, the length of PREFIX, and `path` ends behind PREFIX/lib then; else 0.
 * In a PREFIX right below the root (/var) are others' things, too. */
static size_t find_prefix(char *path)
{
    for (int up = 0; up < 3; up++) {
        char *name = strrchr(path, '/');
        if (!name || name == path)
            return 0;
        if (is_library_folder(name + 1))
            return strchr(path + 1, '/') < name ? (size_t)(name - path) : 0;
        *name = 0;
    }
    return 0;
}

/* A folder of libraries with what was installed with them; of one that is for other things, too, its libraries. */
static void allow_libraries(const struct jail *jail, const char *folder)
{
    static const char *const others[] = {"share", "bin", "libexec"};
    char real[PATH_MAX], path[PATH_MAX], other[PATH_MAX + 16];
    if (folder[0] != '/' || !realpath(folder, real))
        return;
    strcpy(path, real);
    size_t prefix = find_prefix(path);
    if (!prefix) {
        each_entry(jail, real, NULL, allow_library);
        return;
    }
    allow(jail, path, READ);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(other, sizeof other, "%.*s/%s", (int)prefix, path, others[i]);
        allow(jail, other, READ);
    }
}

/* A driver; one without a path is in a folder of the loader's. */
static void allow_driver(const struct jail *jail, const char *library)
{
    char path[PATH_MAX];
    if (!strchr(library, '/') || !realpath(library, path))
        return;
    *strrchr(path, '/') = 0;
    allow_libraries(jail, path);
}

/* The first line of a file, or of many, is a path: what to do with it. */
static void each_line(const struct jail *jail, const char *file, unsigned most,
                      void (*apply)(const struct jail *, const char *))
{
    char line[LINE];
    FILE *stream = fopen(file, "re");
    for (unsigned i = 0; stream && i < most && fgets(line, sizeof line, stream); i++) {
        line[strcspn(line, "\r\n")] = 0;
        apply(jail, line);
    }
    if (stream)
        fclose(stream);
}

static void allow_vendor(const struct jail *jail, const char *path, const char *name, const char *unused)
{
    (void)unused;
    if (!pen_ends_with(name, ".icd"))
        return;
    allow(jail, path, READ);
    each_line(jail, path, 1, allow_driver);
}

/* Where the loader looks for libraries, besides the system's own folders. */
static void allow_loader(const struct jail *jail, const char *path, const char *name, const char *unused)
{
    (void)unused;
    if (pen_ends_with(name, ".conf"))
        each_line(jail, path, LOADER_LINES, allow_libraries);
}

static const char *given(const char *variable, const char *otherwise)
{
    const char *value = getenv(variable);
    return value && *value ? value : otherwise;
}

/* As the loaders of Khronos and of ocl-icd find them: libOpenCL(7). */
static void allow_vendors(const struct jail *jail)
{
    const char *folder = given("OPENCL_VENDOR_PATH", VENDORS), *vendors = given("OCL_ICD_VENDORS", folder);
    char path[PATH_MAX];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s", folder, vendors);
    bool many = !stat(vendors, &status) && S_ISDIR(status.st_mode);
    if (!strchr(vendors, '/') && pen_ends_with(vendors, ".icd") && !access(path, R_OK))
        allow_vendor(jail, path, vendors, NULL);
    else if (many)
        each_entry(jail, vendors, NULL, allow_vendor);
    else if (pen_ends_with(vendors, ".icd"))
        allow_vendor(jail, vendors, vendors, NULL);
    else
        allow_driver(jail, vendors);
    if (many)
        allow(jail, vendors, LANDLOCK_ACCESS_FS_READ_DIR);
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

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

static void allow_system(const struct jail *jail, const char *secret)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof system_folders / sizeof *system_folders; i++)
        allow_but(jail, system_folders[i], NULL, secret);
    for (size_t i = 0; i < sizeof configuration / sizeof *configuration; i++) {
        snprintf(path, sizeof path, "/etc/%s", configuration[i]);
        allow(jail, path, READ);
    }
    each_entry(jail, "/etc/ld.so.conf.d", NULL, allow_loader);
    each_entry(jail, "/proc", NULL, allow_process);
    allow(jail, "/proc/self", READ | WRITE); /* thread names */
    allow(jail, "/proc/self/exe", READ);
    each_entry(jail, "/dev", NULL, allow_device);
    allow(jail, "/dev", LANDLOCK_ACCESS_FS_READ_DIR);
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

    allow_system(&jail, files->secret ? files->secret : PEN_SYSCONFDIR "/penstock");
    each_path(&jail, getenv("LD_LIBRARY_PATH"), allow_libraries);
    each_path(&jail, getenv("OCL_ICD_FILENAMES"), allow_driver);
    each_path(&jail, getenv("OPENCL_LAYERS"), allow_driver);
    allow_vendors(&jail);
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
