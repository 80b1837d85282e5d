/* base/copy.c - see copy.h. */
#include "base/copy.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __x86_64__
#include <cpuid.h>

#define ERMS (1u << 9) /* CPUID leaf 7, EBX: enhanced REP MOVSB (Intel SDM vol. 2, CPUID; AMD APM vol. 3) */

static bool has_string_copy(void)
{
    static _Atomic int known; /* 0: not asked yet; CPUID leaves a virtual machine */
    int has = atomic_load_explicit(&known, memory_order_relaxed);
    if (!has) {
        unsigned eax, ebx, ecx, edx;
        has = __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && ebx & ERMS ? 1 : -1;
        atomic_store_explicit(&known, has, memory_order_relaxed);
    }
    return has > 0;
}

/* Where the target lies less than a cache line behind the source, seen modulo a page, AMD's string copy is several
 * times slower than a loop (glibc's bug 30994). */
static bool string_copy_suits(const char *to, const char *from, size_t size)
{
    uintptr_t ahead = ((uintptr_t)to - (uintptr_t)from) % 4096;
    bool apart = (uintptr_t)to - (uintptr_t)from >= size && (uintptr_t)from - (uintptr_t)to >= size;
    return size >= PEN_COPY_LARGE && apart && (ahead == 0 || ahead >= 64) && has_string_copy();
}

void pen_copy(void *to, const void *from, size_t size)
{
    if (string_copy_suits(to, from, size))
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    else
        memmove(to, from, size);
}
#else
void pen_copy(void *to, const void *from, size_t size)
{
    memmove(to, from, size);
}
#endif
