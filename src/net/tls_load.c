/* Finding and loading the module: see tls_module.h. */
#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/tls_module.h"

/* The directory of the library that this code is in, or of the program. */
static bool own_directory(char out[PATH_MAX])
{
    static const char here;
    Dl_info info;
    struct link_map *map;
    if (!dladdr1(&here, &info, (void **)&map, RTLD_DL_LINKMAP) ||
        !realpath(map->l_name[0] ? map->l_name : "/proc/self/exe", out))
        return false;
    *strrchr(out, '/') = '\0';
    return true;
}

/* Beside us, in a build's folder for net/, or installed. */
static int find(char out[PATH_MAX + 64], struct pen_error *error)
{
    static const char *const beside[] = {"", "/../net"};
    char own[PATH_MAX] = "";
    for (size_t i = 0; own_directory(own) && i < sizeof beside / sizeof *beside; i++) {
        snprintf(out, PATH_MAX + 64, "%s%s/" PEN_TLS_MODULE, own, beside[i]);
        if (!access(out, R_OK))
            return 0;
    }
    snprintf(out, PATH_MAX + 64, "%s", PEN_LIBDIR "/" PEN_TLS_MODULE);
    if (!access(out, R_OK))
        return 0;
    return pen_fail(error, -PEN_ENOENT,
                    "a pool on another host needs " PEN_TLS_MODULE ", which is neither in %.200s nor in " PEN_LIBDIR
                    ": it is installed with the rest of Penstock",
                    own);
}

/* What was loaded: it stays as long as the process. Release and acquire, for what is in it. */
static const struct pen_tls_module *_Atomic loaded;

int pen_tls_module_load(const struct pen_tls_module **out_module, struct pen_error *error)
{
    char path[PATH_MAX + 64];
    const struct pen_tls_module *module = atomic_load_explicit(&loaded, memory_order_acquire);
    if (module) {
        *out_module = module;
        return 0;
    }
    int rc = find(path, error);
    if (rc)
        return rc;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    module = library ? dlsym(library, PEN_TLS_MODULE_SYMBOL) : NULL;
    if (!module)
        return pen_fail(error, -PEN_EIO, "loading TLS for a pool on another host: %s (it needs OpenSSL 3: libssl3)",
                        dlerror());
    if (strcmp(module->version, PEN_VERSION) != 0) {
        return pen_fail(error, -PEN_EVERSION,
                        "%.200s is of Penstock %.20s, and the program uses " PEN_VERSION ": start it again", path,
                        module->version);
    }
    atomic_store_explicit(&loaded, module, memory_order_release);
    *out_module = module;
    return 0;
}
