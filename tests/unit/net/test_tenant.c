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
    static const char *const left[] = {"alice.revoked", "bob.key", "bob.revoked"};
    (void)unused;
    unlink(path);
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, left[i]);
        unlink(path);
    }
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
    bool had_key;
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

    assert_int_equal(pen_tenant_revoke(directory, "alice", &had_key, &error), 0);
    assert_true(had_key);
    assert_int_equal(pen_tenant_load(directory, "alice", &loaded, &error), -PEN_ENOENT);
    assert_int_equal(pen_tenant_revoke(directory, "alice", &had_key, &error), 0);
    assert_false(had_key);
    /* Another key this time. */
    assert_int_equal(pen_tenant_create(directory, "alice", &other, &error), 0);
    assert_memory_not_equal(made.secret, other.secret, sizeof made.secret);
}

/* A mark of the name's: a new key leaves it there. */
static void revoked_certificates(void **unused)
{
    struct pen_tls_key key;
    struct pen_error error;
    bool had_key;
    (void)unused;
    assert_int_equal(pen_tenant_check(directory, "bob", &error), 0);
    assert_int_equal(pen_tenant_check(directory, "../bob", &error), -PEN_EINVAL);
    assert_int_equal(pen_tenant_check(directory, "Bob", &error), -PEN_EINVAL);
    assert_int_equal(pen_tenant_revoke(directory, "bob", &had_key, &error), 0);
    assert_int_equal(pen_tenant_check(directory, "bob", &error), -PEN_EPERM);
    assert_int_equal(pen_tenant_create(directory, "bob", &key, &error), 0);
    assert_int_equal(pen_tenant_check(directory, "bob", &error), -PEN_EPERM);
    assert_int_equal(pen_tenant_admit(directory, "bob", &error), 0);
    assert_int_equal(pen_tenant_check(directory, "bob", &error), 0);
    assert_int_equal(pen_tenant_admit(directory, "bob", &error), -PEN_ENOENT);
    assert_int_equal(pen_tenant_check("/dev/null", "bob", &error), -PEN_EIO); /* nobody gets in by it */
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

static void names_of_pools(void **unused)
{
    static const char *const cases[][2] = {
        {"local", "local"},
        {"tcp://127.0.0.1:7470", "tcp://127.0.0.1:7470"},
        {"penstock://gpu:7470/alice#" KEY, "penstock://gpu:7470/alice"},
        {"penstock://gpu:7470?certificate=/a&private_key=/b&authority=/c", "penstock://gpu:7470"}};
    struct pen_pool_address address;
    char name[PEN_POOL_NAME_BYTES];
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(pen_pool_address_parse(cases[i][0], &address, NULL), 0);
        assert_int_equal(address.local, i == 0);
        pen_pool_address_name(&address, name);
        assert_string_equal(name, cases[i][1]);
    }
    assert_int_equal(pen_pool_address_parse("locals", &address, NULL), -PEN_EINVAL);
}

#define FILES "certificate=/c/alice.pem&private_key=/c/alice.key&authority=/c/ca.pem"

static void files_in_addresses(void **unused)
{
    static const char *const bad[] = {
        "penstock://gpu:7470?",
        "penstock://gpu?" FILES,
        "penstock://?" FILES,
        "penstock://gpu:7470?certificate=/a&private_key=/b",
        "penstock://gpu:7470?" FILES "&authority=/c",
        "penstock://gpu:7470?" FILES "&more=/d",
        "penstock://gpu:7470?certificate=a&private_key=/b&authority=/c",
        "penstock://gpu:7470?certificate=&private_key=/b&authority=/c",
        "penstock://gpu:7470?certificate=/a%2&private_key=/b&authority=/c",
        "penstock://gpu:7470?certificate=/a%00&private_key=/b&authority=/c",
        "penstock://gpu:7470?certificate=/a%-1&private_key=/b&authority=/c",
    };
    struct pen_pool_address address;
    struct pen_error error;
    char longest[PEN_POOL_ADDRESS_BYTES], name[PEN_CERTIFICATE_PATH + 1] = "/";
    (void)unused;
    assert_int_equal(pen_pool_address_parse("penstock://gpu:7470?" FILES, &address, &error), 0);
    assert_true(address.certified);
    assert_string_equal(address.host, "gpu:7470");
    assert_string_equal(address.files.certificate, "/c/alice.pem");
    assert_string_equal(address.files.private_key, "/c/alice.key");
    assert_string_equal(address.files.authority, "/c/ca.pem");
    assert_int_equal(
        pen_pool_address_parse("penstock://[::1]:7470?authority=/%61%26%25/b&certificate=/x#y/z&private_key=/k",
                               &address, &error),
        0);
    assert_string_equal(address.host, "[::1]:7470");
    assert_string_equal(address.files.authority, "/a&%/b");
    assert_string_equal(address.files.certificate, "/x#y/z");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(pen_pool_address_parse(bad[i], &address, &error), -PEN_EINVAL);
    memset(name + 1, 'n', PEN_CERTIFICATE_PATH - 2);
    snprintf(longest, sizeof longest, "penstock://gpu:7470?authority=%s&certificate=/c&private_key=/k", name);
    assert_int_equal(pen_pool_address_parse(longest, &address, &error), 0);
    assert_string_equal(address.files.authority, name);
    name[PEN_CERTIFICATE_PATH - 1] = 'n';
    snprintf(longest, sizeof longest, "penstock://gpu:7470?authority=%s&certificate=/c&private_key=/k", name);
    assert_int_equal(pen_pool_address_parse(longest, &address, &error), -PEN_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),     cmocka_unit_test(files),          cmocka_unit_test(revoked_certificates),
        cmocka_unit_test(addresses), cmocka_unit_test(names_of_pools), cmocka_unit_test(files_in_addresses)};
    return cmocka_run_group_tests_name("net-tenant", tests, set_up, tear_down);
}
