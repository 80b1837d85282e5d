/* worker/crash.c - see crash.h. */
#include "worker/crash.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

_Static_assert(sizeof(struct pen_crash_page) <= PEN_CRASH_BYTES, "the crash page is one page");

int pen_crash_create(struct pen_crash_page **out_page, int *out_fd)
{
    int fd = memfd_create("penstock-crash", MFD_CLOEXEC);
    if (fd < 0)
        return -PEN_EIO;
    struct pen_crash_page *page = MAP_FAILED;
    if (!ftruncate(fd, PEN_CRASH_BYTES))
        page = mmap(NULL, PEN_CRASH_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        close(fd);
        return -PEN_EIO;
    }
    page->magic = PEN_CRASH_MAGIC;
    *out_page = page;
    *out_fd = fd;
    return 0;
}

void pen_crash_note(struct pen_crash_page *page, const char *kernel)
{
    uint32_t next = atomic_load_explicit(&page->next, memory_order_relaxed);
    char *slot = page->kernels[next % PEN_CRASH_KERNELS];
    const char *newest = page->kernels[(next - 1) % PEN_CRASH_KERNELS];
    if (next && !strncmp(newest, kernel, PEN_CRASH_NAME - 1))
        return;
    size_t length = strnlen(kernel, PEN_CRASH_NAME - 1);
    memcpy(slot, kernel, length);
    memset(slot + length, 0, PEN_CRASH_NAME - length);
    atomic_store_explicit(&page->next, next + 1, memory_order_relaxed);
}

void pen_crash_kernel(const struct pen_crash_page *page, uint32_t age, char *out, size_t size)
{
    uint32_t next = atomic_load_explicit(&page->next, memory_order_relaxed);
    if (!size)
        return;
    out[0] = 0;
    if (age >= PEN_CRASH_KERNELS || age >= next)
        return;
    const char *name = page->kernels[(next - 1 - age) % PEN_CRASH_KERNELS];
    size_t length = size - 1 < PEN_CRASH_NAME ? size - 1 : PEN_CRASH_NAME;
    memcpy(out, name, length); /* a copy first: the page may change under us */
    out[length] = 0;
}

const char *pen_crash_phase_name(const struct pen_crash_page *page)
{
    static const char *const names[PEN_CRASH_PHASES] = {"starting", "warm", "serving", "ended"};
    uint32_t phase = atomic_load_explicit(&page->phase, memory_order_relaxed);
    return phase < PEN_CRASH_PHASES ? names[phase] : "unknown";
}
