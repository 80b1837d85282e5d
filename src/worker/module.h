/* worker/module.h - which of a kernel's pointers a module in SPIR-V says are only read through, and whether it prints.
 *
 * Method:  SPIR-V 1.2, sections 2.3, 2.4 and 3.38: a kernel's parameter with the attribute NoWrite, which its own
 *          compiler has found; OpenCL.std's instruction printf. The module comes from the program: every length is
 *          checked.
 * Threads: any.
 * Errors:  none: of a module that is none nothing is known. */
#ifndef PEN_WORKER_MODULE_H
#define PEN_WORKER_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer modules, and kernels with more parameters, are not looked at for what is read. */
#define PEN_MODULE_BYTES      1048576u
#define PEN_MODULE_PARAMETERS 256u

/* Does it call printf, or may it, being no module? One that it imports by that name is for the caller to look for. */
bool pen_module_may_print(const void *module, size_t size);
/* As pen_source_reads (worker/source.h). */
void pen_module_reads(const void *module, size_t size, const char *kernel, uint32_t count, bool *out_reads);

#endif
