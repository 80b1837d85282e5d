/* The arena's file. */
#include "wire/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static bool bytes_ok(uint64_t bytes)
{
    return bytes >= PEN_ARENA_BYTES_MIN && bytes <= PEN_ARENA_BYTES_MAX && bytes % PEN_ARENA_HUGE == 0;
}

int pen_arena_create(uint64_t bytes, int *out_fd, struct pen_error *error)
{
    if (!bytes_ok(bytes)) {
        return pen_fail(error, -PEN_EINVAL,
                        "a session's arena cannot have %llu bytes: session.arena is a multiple of %llu from %llu to "
                        "%llu",
                        (unsigned long long)bytes, PEN_ARENA_HUGE, PEN_ARENA_BYTES_MIN, PEN_ARENA_BYTES_MAX);
    }
    int fd = memfd_create("penstock-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return pen_fail(error, -PEN_EIO, "making the session's arena: memfd_create: %s", strerror(errno));
    if (ftruncate(fd, (off_t)bytes) || fcntl(fd, F_ADD_SEALS, SEALS)) {
        int rc = pen_fail(error, -PEN_EIO, "making the session's arena of %llu bytes (setting: session.arena): %s",
                          (unsigned long long)bytes, strerror(errno));
        close(fd);
        return rc;
    }
    *out_fd = fd;
    return 0;
}

static int check(int fd, uint64_t bytes, struct pen_error *error)
{
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat status;
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &status) || !bytes_ok(bytes) ||
        (uint64_t)status.st_size != bytes) {
        return pen_fail(error, -PEN_EPROTO, "the session's arena is not a sealed memory file of %llu bytes",
                        (unsigned long long)bytes);
    }
    return 0;
}

static int map(int fd, uint64_t bytes, void **out_base, struct pen_error *error)
{
    /* One huge page more, to begin at a multiple of it; what is over is unmapped. */
    size_t reserved = bytes + PEN_ARENA_HUGE;
    unsigned char *base = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        return pen_fail(error, -PEN_ENOMEM,
                        "mapping the session's arena: %llu bytes of address space: %s (setting: session.arena; "
                        "`ulimit -v` bounds it, too)",
                        (unsigned long long)bytes, strerror(errno));
    }
    size_t before = (PEN_ARENA_HUGE - (uintptr_t)base % PEN_ARENA_HUGE) % PEN_ARENA_HUGE;
    unsigned char *at = base + before;
    if (before)
        munmap(base, before);
    munmap(at + bytes, PEN_ARENA_HUGE - before);
    if (mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) == MAP_FAILED) {
        int rc = pen_fail(error, -PEN_ENOMEM, "mapping the session's arena of %llu bytes: %s",
                          (unsigned long long)bytes, strerror(errno));
        munmap(at, bytes);
        return rc;
    }
    (void)madvise(at, bytes, MADV_HUGEPAGE); /* a hint: kernels without it use small pages */
    *out_base = at;
    return 0;
}

int pen_arena_map(int fd, uint64_t bytes, void **out_base, struct pen_error *error)
{
    int rc = check(fd, bytes, error);
    return rc ? rc : map(fd, bytes, out_base, error);
}

uint64_t pen_arena_within_limit(uint64_t bytes)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur / 2 >= bytes)
        return bytes;
    return limit.rlim_cur / 2 / PEN_ARENA_HUGE * PEN_ARENA_HUGE;
}

int pen_arena_map_some(int fd, uint64_t bytes, void **out_base, uint64_t *out_mapped, struct pen_error *error)
{
    uint64_t some = pen_arena_within_limit(bytes);
    int rc = check(fd, bytes, error);
    if (rc)
        return rc;
    while ((rc = map(fd, some, out_base, error)) && some / 2 >= PEN_ARENA_BYTES_MIN)
        some = some / 2 / PEN_ARENA_HUGE * PEN_ARENA_HUGE;
    if (!rc)
        *out_mapped = some;
    return rc;
}

void pen_arena_unmap(void *base, uint64_t bytes)
{
    if (base)
        munmap(base, bytes);
}

int pen_arena_bulk(const void *frame, size_t size, struct pen_bulk *out_bulk)
{
    struct pen_bulk bulk = {0};
    int rc;
    if (((const struct pen_frame_header *)frame)->opcode == PEN_OP_REGION_CREATE) {
        struct pen_scratch scratch = {0};
        struct pen_msg_region_create region;
        rc = pen_msg_region_create_decode(frame, size, &scratch, &region);
        pen_scratch_finish(&scratch);
        if (!rc && region.initialized)
            bulk = (struct pen_bulk){region.arena_offset, region.size};
    } else {
        rc = pen_message_bulk(frame, size, &bulk);
    }
    if (rc < 0)
        return rc;
    *out_bulk = bulk;
    return 0;
}
