/* worker/source.h - which of a kernel's pointers its source only reads through, where no qualifier says so.
 *
 * Method:  no compiler, but rules that err to one side: an argument `p` is only read if every place that names it has the
 *          form p[...], and what stands around it can neither assign to that nor take its address. Whatever is not
 *          understood counts as written: another form (`p + i`, `*p`, `f(p)`), a type that is not the language's own,
 *          a reserved name that is not known to be harmless, a text that includes others or whose lines may be read in
 *          two ways, brackets that a conditional may part, conditionals in or around the kernel, a macro that holds an
 *          assignment, an address, half a bracket or the name (docs/decisions/0017).
 * Threads: one at a time.
 * Errors:  none: without memory nothing is known. */
#ifndef PEN_WORKER_SOURCE_H
#define PEN_WORKER_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer texts are not looked at. */
#define PEN_SOURCE_BYTES 65536u

struct pen_source;

/* A text, for all of its kernels; NULL: there is nothing to be known of them. text: OpenCL C, zero-terminated; options:
 * of its build. Neither is kept. */
struct pen_source *pen_source_create(const char *text, const char *options);
/* Accepts NULL. */
void pen_source_destroy(struct pen_source *source);
/* out_reads[i]: argument i of the kernel, which has `count`, is a pointer that is only read through. False for all of
 * which that is not known. source may be NULL. */
void pen_source_reads(struct pen_source *source, const char *kernel, uint32_t count, bool *out_reads);

#endif
