/* The arena's allocator against a model: a bit for each grain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/arena.h"

#define MODEL_BYTES (8ull << 20)
#define GRAINS      (MODEL_BYTES / PEN_ARENA_GRAIN)

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t random_below(uint64_t bound)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % bound;
}

struct allocation {
    uint64_t offset, size;
};

static unsigned char taken[GRAINS];

static bool model_free(uint64_t offset, uint64_t size)
{
    for (uint64_t g = offset / PEN_ARENA_GRAIN; g < (offset + size) / PEN_ARENA_GRAIN; g++)
        if (taken[g])
            return false;
    return true;
}

static void model_mark(uint64_t offset, uint64_t size, int value)
{
    memset(taken + offset / PEN_ARENA_GRAIN, value, size / PEN_ARENA_GRAIN);
}

/* Whether any place would do. */
static bool model_has_room(uint64_t size, uint64_t align)
{
    for (uint64_t at = 0; at + size <= MODEL_BYTES; at += align)
        if (model_free(at, size))
            return true;
    return false;
}

static void random_against_model(void **unused)
{
    (void)unused;
    static struct allocation live[4096];
    size_t count = 0, refused = 0;
    struct pen_space space = {0};
    memset(taken, 0, sizeof taken);
    assert_int_equal(pen_space_init(&space, MODEL_BYTES), 0);
    for (int step = 0; step < 40000; step++) {
        bool grow = (step / 5000) % 2 == 0;
        if (count < 4096 && random_below(100) < (grow ? 65 : 35)) {
            uint64_t scale = 1ull << random_below(random_below(50) ? 14 : 22);
            uint64_t size = 1 + random_below(scale), align = 1ull << random_below(13), offset = 1;
            uint64_t whole = (size + PEN_ARENA_GRAIN - 1) / PEN_ARENA_GRAIN * PEN_ARENA_GRAIN;
            uint64_t least = whole >= PEN_ARENA_HUGE ? PEN_ARENA_HUGE : PEN_ARENA_GRAIN;
            int rc = pen_space_alloc(&space, size, align, &offset);
            if (rc) {
                assert_int_equal(rc, -PEN_EDEVMEM);
                assert_int_equal(offset, 1); /* untouched on failure */
                assert_false(model_has_room(whole, align > least ? align : least));
                refused++;
                continue;
            }
            assert_true(offset % (align > least ? align : least) == 0 && offset + whole <= MODEL_BYTES);
            assert_true(model_free(offset, whole));
            assert_int_equal(pen_space_size(&space, offset), whole);
            model_mark(offset, whole, 1);
            live[count++] = (struct allocation){offset, whole};
        } else if (count) {
            size_t i = random_below(count);
            model_mark(live[i].offset, live[i].size, 0);
            assert_int_equal(pen_space_free(&space, live[i].offset), 0);
            assert_int_equal(pen_space_free(&space, live[i].offset), -PEN_EINVAL);
            live[i] = live[--count];
        }
        if (step % 97 == 0)
            pen_space_check(&space);
    }
    assert_true(refused > 0); /* the arena was full at times */
    while (count)
        assert_int_equal(pen_space_free(&space, live[--count].offset), 0);
    pen_space_check(&space);
    assert_int_equal(space.used_bytes, 0);
    uint64_t offset;
    assert_int_equal(pen_space_alloc(&space, MODEL_BYTES, 1, &offset), 0); /* all coalesced */
    pen_space_finish(&space);
}

static void refuses_nonsense(void **unused)
{
    (void)unused;
    struct pen_space space = {0};
    uint64_t offset = 7;
    assert_int_equal(pen_space_init(&space, 100), -PEN_EINVAL);
    pen_space_finish(&space); /* zeroed */
    assert_int_equal(pen_space_init(&space, MODEL_BYTES), 0);
    assert_int_equal(pen_space_alloc(&space, 0, 64, &offset), -PEN_EINVAL);
    assert_int_equal(pen_space_alloc(&space, 64, 48, &offset), -PEN_EINVAL);
    assert_int_equal(pen_space_alloc(&space, UINT64_MAX, 64, &offset), -PEN_EDEVMEM);
    assert_int_equal(pen_space_alloc(&space, 64, 1ull << 43, &offset), 0); /* 0 is aligned to anything */
    assert_int_equal(offset, 0);
    assert_int_equal(pen_space_alloc(&space, 64, 1ull << 43, &offset), -PEN_EDEVMEM);
    assert_int_equal(pen_space_free(&space, 64), -PEN_EINVAL);
    assert_int_equal(pen_space_free(&space, 3), -PEN_EINVAL);
    assert_int_equal(pen_space_free(&space, UINT64_MAX), -PEN_EINVAL);
    pen_space_finish(&space);
}

/* What was freed last is given out again: its pages are there already. */
static void reuses_warm_memory(void **unused)
{
    (void)unused;
    struct pen_space space = {0};
    uint64_t first, second, other;
    assert_int_equal(pen_space_init(&space, 1ull << 32), 0);
    for (uint64_t size = 100; size < (64u << 20); size = size * 3 + 64) {
        assert_int_equal(pen_space_alloc(&space, size, 64, &first), 0);
        assert_int_equal(pen_space_alloc(&space, 64, 64, &other), 0); /* keeps it from coalescing forwards */
        assert_int_equal(pen_space_free(&space, first), 0);
        assert_int_equal(pen_space_alloc(&space, size, 64, &second), 0);
        assert_int_equal(first, second);
        assert_int_equal(pen_space_free(&space, second), 0);
        assert_int_equal(pen_space_free(&space, other), 0);
    }
    pen_space_check(&space);
    pen_space_finish(&space);
}

struct punched {
    uint64_t bytes;
    unsigned calls;
};

static void count_punch(void *context, uint64_t offset, uint64_t size)
{
    struct punched *punched = context;
    assert_true(offset % 4096 == 0 && size % 4096 == 0 && size);
    punched->bytes += size;
    punched->calls++;
}

static void trims_only_what_was_touched(void **unused)
{
    (void)unused;
    struct pen_space space = {0};
    struct punched punched = {0};
    uint64_t big, small;
    assert_int_equal(pen_space_init(&space, 1ull << 36), 0);
    assert_int_equal(pen_space_alloc(&space, 300ull << 20, 64, &big), 0);
    assert_int_equal(pen_space_alloc(&space, 8192, 4096, &small), 0);
    assert_int_equal(space.dirty_bytes, 0);
    assert_int_equal(pen_space_free(&space, big), 0);
    assert_int_equal(pen_space_free(&space, small), 0);
    assert_true(space.dirty_bytes >= (300ull << 20) && space.dirty_bytes < (303ull << 20));
    pen_space_trim(&space, 1ull << 40, count_punch, &punched);
    assert_int_equal(punched.calls, 0);
    pen_space_trim(&space, 128ull << 20, count_punch, &punched);
    assert_true(punched.bytes >= (300ull << 20) && punched.bytes < (303ull << 20));
    assert_int_equal(space.dirty_bytes, 0);
    pen_space_check(&space);
    pen_space_finish(&space);
}

static void file_is_sealed_and_sparse(void **unused)
{
    (void)unused;
    struct pen_error error = {0};
    int fd = -1;
    void *a, *b;
    const uint64_t bytes = 1ull << 30;
    assert_int_equal(pen_arena_create(123, &fd, &error), -PEN_EINVAL);
    assert_non_null(strstr(error.message, "session.arena "));
    assert_int_equal(fd, -1);
    assert_int_equal(pen_arena_create(bytes, &fd, &error), 0);
    assert_int_not_equal(ftruncate(fd, 4096), 0);
    assert_int_equal(pen_arena_map(fd, bytes / 2, &a, &error), -PEN_EPROTO);
    assert_int_equal(pen_arena_map(fd, bytes, &a, &error), 0);
    assert_int_equal(pen_arena_map(fd, bytes, &b, &error), 0);
    assert_int_equal((uintptr_t)a % PEN_ARENA_HUGE, 0);
    ((char *)a)[bytes - 1] = 42;
    assert_int_equal(((char *)b)[bytes - 1], 42);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    assert_true((uint64_t)status.st_blocks * 512 <= PEN_ARENA_HUGE);
    pen_arena_unmap(a, bytes);
    pen_arena_unmap(b, bytes);
    close(fd);
    fd = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
    assert_int_equal(pen_arena_map(fd, bytes, &a, &error), -PEN_EPROTO); /* not sealed: it could shrink under us */
    close(fd);
}

static void ranges(void **unused)
{
    (void)unused;
    assert_true(pen_arena_range_ok(100, 0, 100));
    assert_true(pen_arena_range_ok(100, 100, 0));
    assert_false(pen_arena_range_ok(100, 101, 0));
    assert_false(pen_arena_range_ok(100, 1, 100));
    assert_false(pen_arena_range_ok(100, 50, UINT64_MAX - 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_against_model),      cmocka_unit_test(refuses_nonsense),
        cmocka_unit_test(reuses_warm_memory),        cmocka_unit_test(trims_only_what_was_touched),
        cmocka_unit_test(file_is_sealed_and_sparse), cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
