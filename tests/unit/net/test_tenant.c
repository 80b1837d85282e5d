/* Tenants' keys in files, and connection strings. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/tenant.h"

static char folder[] = "/tmp/penstock-test-XXXXXX";
static char directory[64], path[128];

static int set_up(void **unused)
{
    (void)unused;
    if (!mkdtemp(folder))
        return -1;
    snprintf(directory, sizeof directory, "%s/tenants", folder);
    snprintf(path, sizeof path, "%s/alice.key", directory);
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    unlink(path);
    rmdir(directory);
    return rmdir(folder);
}

static void names(void **unused)
{
    static const char *const good[] = {"a", "7", "alice", "lab-3.gpu_x", "abcdefghijklmnopqrstuvwxyz012345"};
    static const char *const bad[] = {
        "", "Alice", "a/b", "..", ".a", "-a", "a b", "\xc3\xa4", "abcdefghijklmnopqrstuvwxyz0123456"};
    (void)unused;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(pen_tenant_name_ok(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(pen_tenant_name_ok(bad[i]));
}

static void files(void **unused)
{
    struct pen_tls_key made, other, loaded;
    struct pen_error error;
    struct stat status;
    (void)unused;
    assert_int_equal(pen_tenant_load(directory, "alice", &loaded, &error), -PEN_ENOENT);
    assert_int_equal(pen_tenant_create(directory, "alice", &made, &error), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(pen_tenant_create(directory, "alice", &other, &error), -PEN_EBUSY);
    assert_int_equal(pen_tenant_load(directory, "alice", &loaded, &error), 0);
    assert_memory_equal(&made, &loaded, sizeof made);
    assert_int_equal(pen_tenant_load(directory, "../tenants/alice", &loaded, &error), -PEN_EINVAL);

    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(pen_tenant_load(directory, "alice", &loaded, &error), -PEN_EPERM);
    assert_non_null(strstr(error.message, "0640"));
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(pen_tenant_load(directory, "alice", &loaded, &error), -PEN_EPROTO);

    assert_int_equal(pen_tenant_remove(directory, "alice", &error), 0);
    assert_int_equal(pen_tenant_remove(directory, "alice", &error), -PEN_ENOENT);
    /* Another key this time. */
    assert_int_equal(pen_tenant_create(directory, "alice", &other, &error), 0);
    assert_memory_not_equal(made.secret, other.secret, sizeof made.secret);
}

#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd_v8"

static void addresses(void **unused)
{
    static const char *const good[] = {"penstock://gpu.example.org:7470/alice#" KEY,
                                       "penstock://[2001:db8::1]:7470/a#" KEY, "tcp://127.0.0.1:4711"};
    static const char *const bad[] = {"",
                                      "gpu:7470",
                                      "penstock://gpu:7470",
                                      "penstock://gpu:7470/alice",
                                      "penstock://gpu:7470/alice#",
                                      "penstock://gpu:7470/alice#short",
                                      "penstock://gpu:7470/alice#" KEY "x",
                                      "penstock://gpu/alice#" KEY,
                                      "penstock://:/Alice#" KEY,
                                      "penstock://gpu:7470/#" KEY,
                                      "penstock://gpu:7470/alice#AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd/v8",
                                      "penstock://gpu:7470/alice#AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd_v9",
                                      "tcp://",
                                      "tcp://host"};
    struct pen_pool_address address;
    struct pen_error error;
    char text[PEN_POOL_ADDRESS_BYTES];
    (void)unused;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(pen_pool_address_parse(good[i], &address, &error), 0);
        pen_pool_address_print(&address, text);
        assert_string_equal(text, good[i]);
    }
    assert_int_equal(pen_pool_address_parse(good[0], &address, &error), 0);
    assert_string_equal(address.host, "gpu.example.org:7470");
    assert_string_equal(address.key.identity, "alice");
    assert_int_equal(address.key.secret[1], 1);
    assert_int_equal(address.key.secret[31], 0xff);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(pen_pool_address_parse(bad[i], &address, &error), -PEN_EINVAL);
        assert_null(strstr(error.message, "AAECAwQ"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(files), cmocka_unit_test(addresses)};
    return cmocka_run_group_tests_name("net-tenant", tests, set_up, tear_down);
}
