/* icd/meta.h - what is known of a built program's kernels, copied out of the worker's answers.
 * Ownership: malloc'ed. Threads: the caller's lock (program->lock). Errors: 0 or -PEN_ENOMEM. */
#ifndef PEN_ICD_META_H
#define PEN_ICD_META_H

#include "icd/object.h"

/* Copies everything that info points to. */
int pen_meta_copy(const struct pen_msg_kernel_info *info, struct pen_kernel_meta *out_meta);
void pen_meta_finish(struct pen_kernel_meta *meta);
void pen_meta_free(struct pen_kernel_meta *kernels, uint32_t count);
/* Adds what a build for some devices told (takes `added`, also on failure) to what is known of the others: kernels of
 * the same name become one, unless they are not the same function. */
int pen_meta_merge(struct pen_kernel_meta **kernels, uint32_t *count, struct pen_kernel_meta *added,
                   uint32_t added_count);
/* Forgets what is known for a device; kernels that no device has are dropped. */
void pen_meta_forget(struct pen_kernel_meta *kernels, uint32_t *count, uint64_t device);
/* Arguments that `kernels` do not know of are known from `given`, where a kernel of the same name has as many. */
int pen_meta_complete(struct pen_kernel_meta *kernels, uint32_t count, const struct pen_kernel_meta *given,
                      uint32_t given_count);
/* How many of them can be created: not those that differ between devices. */
uint32_t pen_meta_count(const struct pen_kernel_meta *kernels, uint32_t count);
/* NULL: no kernel of that name. Of several that differ, any. */
const struct pen_kernel_meta *pen_meta_find(const struct pen_kernel_meta *kernels, uint32_t count, const char *name);

#endif
