/* worker/caches.h - the folders of the drivers' own caches, and what a full disk under them does.
 * Each driver's is below "drivers" in the worker's private folder: a link to the build cache's folder, or, when nothing
 * can be kept there, to a folder of the worker's own.
 *
 * Threads: none but the caller's may be in a driver. */
#ifndef PEN_WORKER_CACHES_H
#define PEN_WORKER_CACHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/crash.h"

/* What the disk of cache.dir must have left for drivers to keep theirs on it: they do not do without. */
#define PEN_CACHES_ROOM (UINT64_C(64) << 20)
#define PEN_CACHES      4

/* Whether so many bytes cannot be kept in cache.dir: then the page says why, for the daemon's log. */
bool pen_caches_lack_room(const char *cache_dir, uint64_t bytes, struct pen_crash_page *page);
/* Links "drivers" to the folder that is to be used now (cache_dir NULL: there is none). Before the drivers keep
 * anything.
 */
int pen_caches_link(const char *tmp_dir, const char *cache_dir, struct pen_crash_page *page);
/* Tells the drivers of their folders, and the caller, for the jail: directories that exist. The environment's stay. */
void pen_caches_announce(const char *tmp_dir, const char *out_folders[PEN_CACHES]);
/* A malloc'ed line for the log of a build that has failed, when its compiler could not write; NULL: it could. */
char *pen_caches_complain(const char *tmp_dir);

#endif
