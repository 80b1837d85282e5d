/* The build cache: what is put comes back; what is damaged, cut or another key's does not; the oldest go first; a full
 * disk is no error. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "rig.h"
#include "worker/cache.h"
#include "worker/files.h"

static char dir[64];

static const struct pen_argument_info arguments[] = {
    {.kind = PEN_ARGUMENT_KIND_REGION, .known = 1, .type_name = "int*", .name = "data"},
    {.kind = PEN_ARGUMENT_KIND_VALUE, .size = 4, .type_name = "int", .name = "n"},
};
static const struct pen_kernel_device_info device = {.device = 3, .work_group_size = 256};
static const struct pen_msg_kernel_info kernels[] = {
    {.name = "first",
     .attributes = "",
     .arguments = arguments,
     .arguments_count = 2,
     .devices = &device,
     .devices_count = 1},
    {.name = "second", .attributes = "reqd"},
};

static struct pen_cache *open_cache(uint64_t max)
{
    struct pen_cache *cache = pen_cache_open(dir, max);
    assert_non_null(cache);
    return cache;
}

static bool put(struct pen_cache *cache, uint64_t number, const char *binary, uint64_t size)
{
    const uint64_t key[2] = {number, ~number};
    const struct pen_build_result result = {.binary_type = 4, .global_variable_bytes = 12};
    return pen_cache_put(cache, key, binary, size, number % 2 ? "a log" : NULL, &result, kernels, 2);
}

static struct pen_cache_entry *get(struct pen_cache *cache, uint64_t number)
{
    const uint64_t key[2] = {number, ~number};
    return pen_cache_get(cache, key);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/penstock-cache-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    pen_file_remove_tree(dir);
    return 0;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct pen_cache *cache = open_cache(1 << 20);
    assert_null(get(cache, 1));
    assert_true(put(cache, 1, "binary", 6));
    assert_true(put(cache, 2, "other", 5));
    struct pen_cache_entry *entry = get(cache, 1);
    assert_non_null(entry);
    assert_int_equal(entry->binary_size, 6);
    assert_memory_equal(entry->binary, "binary", 6);
    assert_string_equal(entry->log, "a log");
    assert_int_equal(entry->result.binary_type, 4);
    assert_int_equal(entry->result.global_variable_bytes, 12);
    assert_int_equal(entry->kernel_count, 2);
    assert_string_equal(entry->kernels[0].name, "first");
    assert_int_equal(entry->kernels[0].arguments_count, 2);
    assert_string_equal(entry->kernels[0].arguments[1].type_name, "int");
    assert_int_equal(entry->kernels[0].devices[0].work_group_size, 256);
    assert_string_equal(entry->kernels[1].attributes, "reqd");
    pen_cache_entry_free(entry);
    entry = get(cache, 2);
    assert_non_null(entry);
    assert_null(entry->log);
    pen_cache_entry_free(entry);
    pen_cache_close(cache);
}

/* The one file of the cache. */
static void only_file(char *out, size_t size)
{
    char builds[96];
    snprintf(builds, sizeof builds, "%s/builds", dir);
    DIR *list = opendir(builds);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(list));)
        if (entry->d_name[0] != '.') {
            snprintf(out, size, "%s/%s", builds, entry->d_name);
            count++;
        }
    closedir(list);
    assert_int_equal(count, 1);
}

static void test_damage_at_every_byte(void **state)
{
    (void)state;
    struct pen_cache *cache = open_cache(1 << 20);
    char path[400];
    void *bytes;
    size_t size;
    assert_true(put(cache, 1, "binary", 6));
    only_file(path, sizeof path);
    assert_int_equal(pen_file_read(path, 1 << 20, &bytes, &size), 0);
    for (size_t i = 0; i < size; i++) {
        ((unsigned char *)bytes)[i] ^= 0x40;
        assert_int_equal(pen_file_write(path, bytes, size), 0);
        assert_null(get(cache, 1));
        ((unsigned char *)bytes)[i] ^= 0x40;
        assert_int_equal(pen_file_write(path, bytes, i), 0);
        assert_null(get(cache, 1));
    }
    assert_int_equal(pen_file_write(path, bytes, size), 0);
    struct pen_cache_entry *entry = get(cache, 1);
    assert_non_null(entry);
    pen_cache_entry_free(entry);
    /* A sound file under another's name. */
    const uint64_t other[2] = {9, ~UINT64_C(9)};
    char renamed[500];
    snprintf(renamed, sizeof renamed, "%s/builds/%016llx%016llx", dir, (unsigned long long)other[1],
             (unsigned long long)other[0]);
    assert_int_equal(rename(path, renamed), 0);
    assert_null(pen_cache_get(cache, other));
    free(bytes);
    pen_cache_close(cache);
}

static void test_oldest_go(void **state)
{
    (void)state;
    static char binary[10000], large[15000];
    struct pen_cache *cache = open_cache(100000);
    for (uint64_t i = 1; i <= 9; i++) {
        assert_true(put(cache, i, binary, sizeof binary));
        usleep(2000);
    }
    struct pen_cache_entry *entry = get(cache, 1); /* used now: the youngest */
    assert_non_null(entry);
    pen_cache_entry_free(entry);
    usleep(2000);
    assert_true(put(cache, 10, binary, sizeof binary));
    assert_null(get(cache, 2));
    for (uint64_t i = 1; i <= 10; i += 9) {
        entry = get(cache, i);
        assert_non_null(entry);
        pen_cache_entry_free(entry);
    }
    pen_cache_close(cache);
    /* A smaller bound holds from the start; what is larger than all is not kept. */
    cache = open_cache(15000);
    assert_false(put(cache, 11, large, sizeof large));
    int left = 0;
    for (uint64_t i = 1; i <= 10; i++) {
        entry = get(cache, i);
        left += entry != NULL;
        pen_cache_entry_free(entry);
    }
    assert_int_equal(left, 1);
    pen_cache_close(cache);
}

static void test_cannot_be_had(void **state)
{
    (void)state;
    assert_null(pen_cache_open(NULL, 1 << 20));
    assert_null(pen_cache_open("/proc/nowhere", 1 << 20));
    pen_cache_close(NULL);
    /* A disk without room: writing fails, nobody minds, nothing half-written stays. */
    struct pen_cache *cache = open_cache(1 << 20);
    char builds[96];
    snprintf(builds, sizeof builds, "%s/builds", dir);
    assert_int_equal(rmdir(builds), 0);
    assert_int_equal(symlink("/dev/full", builds), 0);
    assert_false(put(cache, 1, "binary", 6));
    assert_null(get(cache, 1));
    assert_int_equal(unlink(builds), 0);
    pen_cache_close(cache);
    char full[96];
    snprintf(full, sizeof full, "%s/full", dir);
    assert_int_equal(symlink("/dev/full", full), 0);
    assert_int_equal(pen_file_write(full, "x", 1), -PEN_EIO); /* no link is followed */
}

/* ---- headers ---- */

static char *headers_path(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/headers/%s", dir, name);
    return path;
}

static void make_set(const char *name, uint64_t bytes, time_t age_s)
{
    const struct timespec then = {.tv_sec = time(NULL) - age_s}, times[] = {then, then};
    char path[300];
    snprintf(path, sizeof path, "%s/1/x.h", headers_path(name));
    void *text = calloc(1, bytes);
    assert_int_equal(pen_file_make_parents(path, 1), 0);
    assert_int_equal(pen_file_write(path, text, bytes), 0);
    free(text);
    assert_int_equal(utimensat(AT_FDCWD, headers_path(name), times, 0), 0);
}

static bool exists(const char *path)
{
    struct stat status;
    return !lstat(path, &status);
}

/* Sets of headers and builds have one bound; what a build uses stays. */
static void test_headers_go(void **state)
{
    (void)state;
    static char binary[10000];
    struct pen_cache *cache = open_cache(100000);
    make_set("used", 20000, 300);
    make_set("old.XyZ123", 20000, 200); /* of a worker that has crashed */
    make_set("young", 20000, 100);
    assert_true(put(cache, 1, binary, sizeof binary));
    pen_cache_close(cache);
    int fd = open(headers_path("used"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_SH), 0);
    cache = open_cache(70000);
    assert_true(exists(headers_path("used")));
    assert_false(exists(headers_path("old.XyZ123")));
    assert_true(exists(headers_path("young")));
    pen_cache_close(cache);
    close(fd);
    cache = open_cache(70000);
    assert_true(pen_cache_take_room(cache, 15000));
    assert_false(exists(headers_path("used")));
    assert_true(exists(headers_path("young")));
    assert_false(pen_cache_take_room(cache, 70000));
    pen_cache_close(cache);
}

/* How many of a session's builds of one program were made before. */
static uint64_t hits_of_session(struct rig_options options, const char *text)
{
    struct rig rig;
    options.cache_dir = dir;
    rig_start(&rig, &options);
    rig_program(&rig, 1, text);
    assert_int_equal(rig_build(&rig, 1, 1), 0);
    uint64_t hits = rig.crash->build_hits;
    rig_stop(&rig);
    return hits;
}

/* A build is taken from an earlier session only for the same program on the same device of the same driver. */
static void test_builds_of_sessions(void **state)
{
    (void)state;
    static const char *const text = "kernel nop()\n";
    const struct rig_options same = {0}, others[] = {{.driver_version = "another version"},
                                                     {.driver = "another driver"},
                                                     {.vendor_name = "another device"}};
    assert_int_equal(hits_of_session(same, text), 0);
    assert_int_equal(hits_of_session(same, text), 1);
    assert_int_equal(hits_of_session(same, "# another\nkernel nop()\n"), 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(hits_of_session(others[i], text), 0);
        assert_int_equal(hits_of_session(others[i], text), 1);
    }
    assert_int_equal(hits_of_session(same, text), 1);
}

/* A program with one header of so many bytes is built; each number is another program, each letter another header. */
static void build_with_header(struct rig *rig, uint64_t number, char letter, uint64_t bytes)
{
    char text[64];
    snprintf(text, sizeof text, "# %llu\nkernel nop()\n", (unsigned long long)number);
    rig_program(rig, number, text);
    memset(rig->arena, letter, bytes);
    RIG_SEND(rig, program_header, .program = number, .name = "0/it.h", .text = {0, bytes});
    assert_int_equal(rig_build(rig, number, 1), 0);
}

/* The one set of headers in a folder; "" when there is none. */
static void only_set(const char *folder, char *out)
{
    DIR *list = opendir(folder);
    int count = 0;
    *out = 0;
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));)
        if (entry->d_name[0] != '.') {
            strcpy(out, entry->d_name);
            count++;
        }
    closedir(list);
    assert_in_range(count, 0, 1);
}

static void test_headers_of_builds(void **state)
{
    (void)state;
    struct rig rig;
    char name[300], path[400];
    rig_start(&rig, &(struct rig_options){.cache_dir = dir});
    build_with_header(&rig, 1, 'a', 1000);
    only_set(headers_path(""), name);
    assert_int_equal(strlen(name), 32);
    build_with_header(&rig, 2, 'a', 1000);
    only_set(headers_path(""), name);
    /* Half a set that a crashed worker with our number has left. */
    pen_file_remove_tree(headers_path(name));
    snprintf(path, sizeof path, "%s.%d/0/stale.h", headers_path(name), (int)getpid());
    assert_int_equal(pen_file_make_parents(path, 1), 0);
    assert_int_equal(pen_file_write(path, "x", 1), 0);
    build_with_header(&rig, 3, 'a', 1000);
    snprintf(path, sizeof path, "%s/0/it.h", headers_path(name));
    assert_true(exists(path));
    snprintf(path, sizeof path, "%s/0/stale.h", headers_path(name));
    assert_false(exists(path));
    rig_stop(&rig);
}

/* The rig's cache has 1 MiB. */
static void test_headers_are_bounded(void **state)
{
    (void)state;
    struct rig rig;
    int sets = 0;
    rig_start(&rig, &(struct rig_options){.cache_dir = dir});
    for (int i = 0; i < 25; i++)
        build_with_header(&rig, 1 + i, (char)('a' + i), 100000);
    DIR *list = opendir(headers_path(""));
    for (struct dirent *entry; (entry = readdir(list));)
        sets += entry->d_name[0] != '.';
    closedir(list);
    assert_in_range(sets, 1, 10);
    /* One that is larger than all: for its build only, in the worker's own folder. */
    build_with_header(&rig, 100, 'z', 2 << 20);
    char folder[100], name[300];
    snprintf(folder, sizeof folder, "%s/headers", rig.tmp_dir);
    only_set(folder, name);
    assert_string_equal(name, "");
    rig_stop(&rig);
}

static void test_headers_without_a_cache(void **state)
{
    (void)state;
    struct rig rig;
    char folder[100], name[300];
    rig_start(&rig, &(struct rig_options){0});
    for (int i = 0; i < 3; i++)
        build_with_header(&rig, 1 + i, (char)('a' + i), 1000);
    snprintf(folder, sizeof folder, "%s/headers", rig.tmp_dir);
    only_set(folder, name);
    assert_string_equal(name, "");
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_at_every_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_oldest_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cannot_be_had, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_builds_of_sessions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers_of_builds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers_are_bounded, setup, teardown),
        cmocka_unit_test(test_headers_without_a_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
