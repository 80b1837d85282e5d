/* worker/jail_files.h - the part of the jail that is about files, by Landlock (landlock(7)). What a kernel reads it can
 * hand to its program, which may be on another host: so it reads what drivers are made of, and nothing of the user's.
 *
 * Read:    where systems keep programs and libraries (/usr, /lib, /opt, the folders of ld.so.conf.d, ...), /sys, of
 * /proc what is no other process's, and of /etc what drivers and the C library look at; the folders of LD_LIBRARY_PATH;
 * the drivers that OCL_ICD_VENDORS, OPENCL_VENDOR_PATH and OCL_ICD_FILENAMES name, and the layers of OPENCL_LAYERS,
 * with what was installed with them: PREFIX/lib, share, bin and libexec, or, of a library that lies elsewhere, those
 * beside it; `others`. A process that a driver starts (PoCL: a linker) does not see itself in /proc. Written: the given
 * folders, which are read too, and devices: accelerators, those that all users may use, and `others`. No terminals, and
 * no disks. /dev/shm, which drivers use: what is there of the same user's is not kept apart.
 *
 * Threads: call it while there is one: only the calling thread, and what it starts, are held. */
#ifndef PEN_WORKER_JAIL_FILES_H
#define PEN_WORKER_JAIL_FILES_H

#include <stdbool.h>
#include <stddef.h>

struct pen_jail_files {
    const char *const *writable; /* folders that exist */
    size_t writable_count;
    const char *others; /* paths between colons (setting: workers.files); NULL: none */
    const char *secret; /* a folder that is in none of it but `others`; NULL: that of Penstock's configuration */
};

/* False when this system cannot. A path that cannot be had costs none of the others. *out_scoped: signals and abstract
 * sockets of processes outside are out of reach, too. Needs no_new_privs. */
bool pen_jail_restrict_files(const struct pen_jail_files *files, bool *out_scoped);

#endif
