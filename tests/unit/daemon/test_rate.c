/* daemon/rate: what a bucket holds, how fast it fills, whose it is, and which of too many is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "daemon/rate.h"

#define SECOND UINT64_C(1000000000)

static struct pen_rates rates;

static int start(void **state)
{
    (void)state;
    memset(&rates, 0, sizeof rates);
    return 0;
}

static struct pen_rate_address address(const char *text)
{
    struct sockaddr_storage from = {0};
    struct sockaddr_in *v4 = (void *)&from;
    struct sockaddr_in6 *v6 = (void *)&from;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        from.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        from.ss_family = AF_INET6;
    }
    return pen_rate_address_of(&from);
}

/* How many of 100 get through: 10 a second, 20 at once. */
static int take(const char *text, uint64_t now_ns)
{
    const struct pen_rate_address from = address(text);
    int good = 0;
    for (int i = 0; i < 100; i++)
        good += pen_rate_take(&rates, &from, 10, 20, now_ns) == PEN_RATE_OK;
    return good;
}

static void test_burst_and_rate(void **state)
{
    (void)state;
    uint64_t now = 1000 * SECOND;
    assert_int_equal(take("10.0.0.1", now), 20);
    assert_int_equal(take("10.0.0.1", now), 0);
    assert_int_equal(take("10.0.0.1", now + SECOND / 2), 5);
    assert_int_equal(take("10.0.0.1", now + SECOND / 2 + SECOND / 20), 0);
    assert_int_equal(take("10.0.0.1", now + SECOND / 2 + SECOND / 10), 1);
    assert_int_equal(take("10.0.0.1", now + 1000 * SECOND), 20);
}

static void test_addresses(void **state)
{
    (void)state;
    assert_int_equal(take("10.0.0.1", SECOND), 20);
    assert_int_equal(take("10.0.0.2", SECOND), 20);
    assert_int_equal(take("::ffff:10.0.0.1", SECOND), 0);
    assert_int_equal(take("2001:db8:1:2::1", SECOND), 20);
    assert_int_equal(take("2001:db8:1:2:3::1", SECOND), 0);
    assert_int_equal(take("2001:db8:1:3::1", SECOND), 20);
    assert_int_equal(rates.count, 4);
}

static void test_first_refusal(void **state)
{
    (void)state;
    const struct pen_rate_address from = address("192.0.2.7");
    for (int i = 0; i < 2; i++) {
        uint64_t now = (uint64_t)(i + 1) * 1000 * SECOND;
        assert_int_equal(pen_rate_take(&rates, &from, 1, 1, now), PEN_RATE_OK);
        assert_int_equal(pen_rate_take(&rates, &from, 1, 1, now), PEN_RATE_REFUSED_FIRST);
        assert_int_equal(pen_rate_take(&rates, &from, 1, 1, now), PEN_RATE_REFUSED);
    }
}

/* More addresses than are remembered: who has used up his tokens does not get new ones by it. */
static void test_too_many(void **state)
{
    char text[32];
    (void)state;
    assert_int_equal(take("10.0.0.1", SECOND), 20);
    for (uint32_t i = 0; i < 3 * PEN_RATE_ADDRESSES; i++) {
        snprintf(text, sizeof text, "10.1.%u.%u", i / 256, i % 256);
        const struct pen_rate_address from = address(text);
        assert_int_equal(pen_rate_take(&rates, &from, 10, 20, SECOND), PEN_RATE_OK);
    }
    assert_int_equal(rates.count, PEN_RATE_ADDRESSES);
    assert_int_equal(take("10.0.0.1", SECOND), 0);
}

static void test_given_back(void **state)
{
    (void)state;
    const struct pen_rate_address from = address("10.0.0.1"), other = address("10.0.0.2");
    assert_int_equal(take("10.0.0.1", SECOND), 20);
    for (int i = 0; i < 3; i++)
        pen_rate_give(&rates, &from, 10);
    pen_rate_give(&rates, &other, 10); /* it is not remembered */
    assert_int_equal(take("10.0.0.1", SECOND), 3);
    for (int i = 0; i < 40; i++) /* as many as it holds */
        pen_rate_give(&rates, &from, 10);
    assert_int_equal(take("10.0.0.1", SECOND), 20);
}

static void test_text(void **state)
{
    (void)state;
    char text[64];
    struct pen_rate_address from = address("192.0.2.7");
    pen_rate_address_text(&from, text);
    assert_string_equal(text, "192.0.2.7");
    from = address("2001:db8:1:2:3::1");
    pen_rate_address_text(&from, text);
    assert_string_equal(text, "2001:db8:1:2::/64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_burst_and_rate, start), cmocka_unit_test_setup(test_addresses, start),
        cmocka_unit_test_setup(test_first_refusal, start),  cmocka_unit_test_setup(test_too_many, start),
        cmocka_unit_test_setup(test_given_back, start),     cmocka_unit_test_setup(test_text, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
