/* Pages of the arena made many at a time: which are, and which are left alone. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/pages.h"

#define PAGE  4096u
#define PIECE PEN_ARENA_HUGE
#define BYTES PEN_ARENA_BYTES_MIN /* 8 pieces */

struct side {
    unsigned char *base;
    struct pen_pages pages;
};

/* A test that this system cannot do is seen from the exit status. */
static bool skipped;

static int fd = -1;
static struct side program, worker;

static void map_side(struct side *side)
{
    struct pen_error error;
    void *base;
    assert_int_equal(pen_arena_map(fd, BYTES, &base, &error), 0);
    side->base = base;
    pen_pages_init(&side->pages, base, BYTES);
    assert_non_null(side->pages.made);
}

static int setup(void **state)
{
    (void)state;
    struct pen_error error;
    assert_int_equal(pen_arena_create(BYTES, &fd, &error), 0);
    map_side(&program);
    map_side(&worker);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pen_arena_unmap(program.base, BYTES);
    pen_arena_unmap(worker.base, BYTES);
    pen_pages_finish(&program.pages);
    pen_pages_finish(&worker.pages);
    close(fd);
    return 0;
}

/* Pages of the range that this side has mapped. */
static size_t mapped(const struct side *side, uint64_t offset, uint64_t size)
{
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    size_t count = 0;
    assert_true(pagemap >= 0);
    for (uint64_t at = offset; at < offset + size; at += PAGE) {
        uint64_t entry;
        off_t where = (off_t)((uintptr_t)(side->base + at) / PAGE * sizeof entry);
        assert_int_equal(pread(pagemap, &entry, sizeof entry, where), sizeof entry);
        count += entry >> 63;
    }
    close(pagemap);
    return count;
}

/* The kernel can do it at all. */
static bool can(void)
{
#ifdef MADV_POPULATE_WRITE
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool ok = page != MAP_FAILED && !madvise(page, PAGE, MADV_POPULATE_WRITE);
    munmap(page, PAGE);
    return ok;
#else
    return false;
#endif
}

static void test_fill(void **state)
{
    (void)state;
    if (!can()) {
        skipped = true;
        skip();
    }
    /* From the middle of piece 0 to the middle of piece 3: whole pieces are 1 and 2. */
    pen_pages_fill(&program.pages, PIECE / 2, 3 * PIECE);
    assert_int_equal(mapped(&program, PIECE, 2 * PIECE), 2 * PIECE / PAGE);
    assert_int_equal(mapped(&program, 0, PIECE), 0);
    assert_int_equal(mapped(&program, 3 * PIECE, PIECE), 0);
    assert_int_equal(mapped(&worker, 0, BYTES), 0);
    /* Once: what was given back since comes page by page, until it is said. */
    assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PIECE, PIECE), 0);
    pen_pages_fill(&program.pages, PIECE, PIECE);
    assert_int_equal(mapped(&program, PIECE, PIECE), 0);
    pen_pages_forget(&program.pages, PIECE + PAGE, PAGE);
    pen_pages_fill(&program.pages, PIECE, PIECE);
    assert_int_equal(mapped(&program, PIECE, PIECE), PIECE / PAGE);
}

static void test_small_and_absent(void **state)
{
    (void)state;
    struct pen_pages none = {0};
    pen_pages_fill(&program.pages, 0, PIECE - 1);
    pen_pages_fill(&program.pages, PIECE + PAGE, PIECE);
    pen_pages_fill(&program.pages, PIECE, 0);
    assert_int_equal(mapped(&program, 0, BYTES), 0);
    pen_pages_fill(&none, 0, BYTES);
    pen_pages_forget(&none, 0, BYTES);
    pen_pages_finish(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_and_absent, setup, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : skipped ? 77 : 0;
}
