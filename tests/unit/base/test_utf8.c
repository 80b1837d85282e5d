/* Characters and what is none; cutting between them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

static void knows_characters(void **state)
{
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"", 0},
        {"a", 1},
        {"\x7f", 1},
        {"\x80", 0},     /* a continuation alone */
        {"\xc1\xbf", 0}, /* overlong */
        {"\xc2\x80", 2},
        {"\xc3", 0},
        {"\xc3(", 0},
        {"\xe0\x9f\xbf", 0}, /* overlong */
        {"\xe0\xa0\x80", 3},
        {"\xe2\x82", 0},
        {"\xed\x9f\xbf", 3},
        {"\xed\xa0\x80", 0},     /* a surrogate */
        {"\xf0\x8f\xbf\xbf", 0}, /* overlong */
        {"\xf0\x90\x80\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf4\x90\x80\x80", 0}, /* beyond U+10FFFF */
        {"\xf5\x80\x80\x80", 0},
        {"\xff", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(pen_utf8_length(cases[i].text), cases[i].length);
}

static void cuts_between_characters(void **state)
{
    static const char *const expected[] = {"",
                                           "a",
                                           "a",
                                           "a\xc3\xa9",
                                           "a\xc3\xa9",
                                           "a\xc3\xa9",
                                           "a\xc3\xa9\xe2\x82\xac",
                                           "a\xc3\xa9\xe2\x82\xac\xe9",
                                           "a\xc3\xa9\xe2\x82\xac\xe9z"};
    char out[16];
    (void)state;
    for (size_t size = 1; size <= 9; size++) {
        memset(out, 'x', sizeof out);
        pen_utf8_copy(out, size, "a\xc3\xa9\xe2\x82\xac\xe9z");
        assert_string_equal(out, expected[size - 1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(knows_characters), cmocka_unit_test(cuts_between_characters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
