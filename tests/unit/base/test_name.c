/* Names of headers that stay below their directory, and those that would not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/name.h"

static void stays_below(void **state)
{
    static const struct {
        const char *name;
        bool ok;
    } cases[] = {
        {"0/a.h", true},    {"12/dir with spaces/a.h", true},
        {"0/...", true},    {"0/..a/.b/c..", true},
        {"0/\xff\n", true}, {"", false},
        {"a.h", false}, /* in no directory */
        {"/", false},       {"/a", false},
        {"/0/a.h", false},  {"0/", false},
        {"0//a.h", false},  {"0/a.h/", false},
        {".", false},       {"..", false},
        {"./a.h", false},   {"../a.h", false},
        {"0/.", false},     {"0/./a.h", false},
        {"0/..", false},    {"0/../a.h", false},
        {"0/a/..", false},  {"0/a/../../../etc/passwd", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(pen_header_name_ok(cases[i].name), cases[i].ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(stays_below)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
