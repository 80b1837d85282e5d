/* Packing: what comes out is what went in; it is done where it pays, and hostile blocks hurt nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "net/pack.h"
#include "penstock-protocol.h"
#include "wire/futex.h"

#define BYTES PEN_LIMIT_BLOCK

static unsigned char text[BYTES], noise[BYTES], back[BYTES];

static int set_up(void **state)
{
    uint32_t seed = 1;
    for (uint32_t i = 0; i < BYTES; i++) {
        text[i] = (unsigned char)("a line of text, and a number: "[i % 30] + (i % 30 == 29 ? i / 30 % 10 : 0));
        seed = seed * 1664525u + 1013904223u;
        noise[i] = (unsigned char)(seed >> 24);
    }
    return pen_pack_create((struct pen_pack **)state);
}

static int tear_down(void **state)
{
    pen_pack_destroy(*state);
    return 0;
}

/* The link has taken so many bytes in 30 ms, and wanted more all the time. */
static void measure(struct pen_pack *pack, uint64_t bytes)
{
    pen_pack_idle(pack);
    pen_pack_blocked(pack, 1000);
    usleep(30000);
    pen_pack_blocked(pack, 1000 + bytes);
}

/* Sends it as the link would: how many bytes it is then, 0: as it is. */
static size_t send_part(struct pen_pack *pack, const void *memory, uint64_t bytes, const void **out)
{
    size_t size = 0;
    if (pen_pack_wants(pack, bytes))
        pen_pack_part(pack, 4096, bytes, 7, memory, out, &size);
    return size;
}

/* 0, or what receiving it came to. */
static int receive(struct pen_pack *pack, const unsigned char *packed, size_t size)
{
    const struct pen_frame_header *header = (const void *)packed;
    struct pen_msg_link_packed message;
    struct pen_scratch scratch = {0};
    void *at;
    assert_int_equal(pen_msg_link_packed_decode(packed, header->size, &scratch, &message), 0);
    int rc = pen_pack_expect(pack, &message, &at);
    if (rc)
        return rc;
    assert_true(header->size + message.packed == size);
    memcpy(at, packed + header->size, message.packed);
    return pen_pack_unpack(pack, back);
}

static void there_and_back(void **state)
{
    const uint64_t sizes[] = {4096, 5000, 65536, BYTES - 1, BYTES};
    const void *packed;
    measure(*state, 300000);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = send_part(*state, text, sizes[i], &packed);
        assert_in_range(size, 1, sizes[i] / 4);
        memset(back, 0, sizeof back);
        assert_int_equal(receive(*state, packed, size), 0);
        assert_memory_equal(back, text, sizes[i]);
        assert_true(sizes[i] == BYTES || !back[sizes[i]]);
    }
}

static void only_where_it_pays(void **state)
{
    struct pen_pack *pack = *state;
    const void *packed;
    assert_int_equal(send_part(pack, text, BYTES, &packed), 0); /* nobody knows the link */
    pen_pack_blocked(pack, 1000);
    usleep(30000);
    pen_pack_idle(pack);
    pen_pack_blocked(pack, 301000); /* not all the time */
    assert_int_equal(send_part(pack, text, BYTES, &packed), 0);
    measure(pack, UINT64_C(1) << 40);
    (void)send_part(pack, text, BYTES, &packed); /* how fast these are packed is known then */
    usleep(2000);
    assert_int_equal(send_part(pack, text, BYTES, &packed), 0);
    for (int i = 0; i < 40; i++) /* each measurement counts half */
        measure(pack, 300000);
    assert_true(send_part(pack, text, BYTES, &packed) > 0);
}

/* What cannot be compressed is seldom looked at; what can then, soon again. */
static void noise_costs_nothing(void **state)
{
    struct pen_pack *pack = *state;
    const void *packed;
    size_t tries = 0;
    measure(pack, 300000);
    for (uint64_t until = pen_now_ns() + 300000000; pen_now_ns() < until; pen_pack_blocked(pack, 301000)) {
        size_t size = 1;
        if (!pen_pack_wants(pack, BYTES))
            continue;
        pen_pack_part(pack, 0, BYTES, 0, noise, &packed, &size);
        assert_int_equal(size, 0);
        tries++;
    }
    assert_in_range(tries, 2, 13);
    usleep(50000);
    assert_true(send_part(pack, text, BYTES, &packed) > 0);
}

/* The link does not hold us up any more: it is as good as unknown. */
static void not_for_a_link_that_waits(void **state)
{
    struct pen_pack *pack = *state;
    const void *packed;
    measure(pack, 300000);
    assert_true(send_part(pack, text, BYTES, &packed) > 0);
    pen_pack_blocked(pack, 301000);
    for (uint64_t sent = 0; sent <= 9 << 20;) {
        size_t size = send_part(pack, text, BYTES, &packed);
        sent += size ? size : BYTES;
    }
    assert_int_equal(send_part(pack, text, BYTES, &packed), 0);
}

static void hostile_blocks(void **state)
{
    static _Alignas(8) unsigned char bytes[2 * BYTES];
    struct pen_pack *pack = *state;
    const void *packed;
    void *at;
    measure(pack, 300000);
    size_t size = send_part(pack, text, BYTES, &packed);
    const size_t frame = ((const struct pen_frame_header *)packed)->size;
    memcpy(bytes, packed, size);
    const struct {
        uint64_t bytes, packed;
    } lies[] = {{BYTES + 1, 100}, {UINT64_MAX, 100}, {100, 0}, {100, 100}, {100, 101}, {100, UINT64_MAX}};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        const struct pen_msg_link_packed message = {0, lies[i].bytes, 0, lies[i].packed};
        assert_int_equal(pen_pack_expect(pack, &message, &at), -PEN_EPROTO);
    }
    const uint64_t whole[] = {size - frame + 1, BYTES - 1}; /* it is longer than that */
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        const struct pen_msg_link_packed message = {0, whole[i], 0, size - frame};
        pen_msg_link_packed_encode(&message, 0, bytes);
        memset(back, 0x55, sizeof back);
        assert_int_equal(receive(pack, bytes, size), -PEN_EPROTO);
        for (uint64_t at_end = whole[i]; at_end < BYTES; at_end++)
            assert_int_equal(back[at_end], 0x55);
    }
    for (size_t cut = 1; cut < size - frame; cut++) {
        const struct pen_msg_link_packed message = {0, BYTES, 0, size - frame - cut};
        pen_msg_link_packed_encode(&message, 0, bytes);
        assert_int_equal(receive(pack, bytes, size - cut), -PEN_EPROTO);
    }
    for (size_t i = frame; i < size; i++) {
        memcpy(bytes, packed, size);
        bytes[i] ^= 0xff;
        (void)receive(pack, bytes, size); /* another text, or none */
    }
    memcpy(bytes + frame, noise, BYTES);
    const struct pen_msg_link_packed message = {0, BYTES, 0, BYTES - 1};
    pen_msg_link_packed_encode(&message, 0, bytes);
    assert_int_equal(receive(pack, bytes, frame + BYTES - 1), -PEN_EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(there_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_where_it_pays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(noise_costs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_for_a_link_that_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hostile_blocks, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("net-pack", tests, NULL, NULL);
}
