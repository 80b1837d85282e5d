/* worker/files.h - small things done to files. Errors: 0 or -PEN_E*. Threads: any. */
#ifndef PEN_WORKER_FILES_H
#define PEN_WORKER_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes the directories (0700) that the path needs, of which its first `from` bytes are known to exist. */
int pen_file_make_parents(const char *path, size_t from);
/* The directory itself, and what it needs. */
int pen_file_make_directory(const char *path);
/* Creates or replaces, mode 0600. A file half-written is removed; errno says why. */
int pen_file_write(const char *path, const void *bytes, size_t size);
/* malloc'ed contents; -PEN_ELIMIT over max bytes. */
int pen_file_read(const char *path, size_t max, void **out_bytes, size_t *out_size);
/* Whether so many bytes cannot be written into the directory, as far as can be told; why, as what is said of it. */
bool pen_file_lacks_room(const char *directory, uint64_t bytes, char *out_why, size_t why_size);
/* Removes a directory and all in it, following no links. */
void pen_file_remove_tree(const char *path);

#endif
