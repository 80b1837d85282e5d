/* Loans: bulk goes from and to memory that is lent, once and whole, and nowhere near it when it is not lent any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "net/loan.h"
#include "net/unix.h"
#include "wire/futex.h"

#define ARENA  (UINT64_C(8) << 20)
#define OFFSET UINT64_C(4096)
#define BYTES  (UINT64_C(3) << 20)

struct end {
    struct pen_link *link;
    struct pen_loans loans;
    unsigned char *arena;
    uint64_t number, whole; /* of the part that comes; of the last range that is here */
    int socket;
};

static int take_part(void *context, const struct pen_msg_link_part *part, void **out_bulk)
{
    struct end *end = context;
    end->number = part->number;
    return pen_loans_take_part(&end->loans, part, out_bulk);
}

static int take_bulk(void *context)
{
    struct end *end = context;
    end->whole = end->number;
    return 0;
}

static void end_init(struct end *end)
{
    const struct pen_link_owner owner = {.part = take_part, .bulk = take_bulk, .context = end};
    *end = (struct end){.arena = calloc(1, ARENA)};
    assert_int_equal(pen_link_create(&owner, &end->link), 0);
    pen_loans_init(&end->loans, end->link, end->arena, ARENA);
}

static void end_finish(struct end *end)
{
    pen_link_destroy(end->link);
    pen_loans_finish(&end->loans);
    free(end->arena);
}

/* The first connection, or one in place of another. */
static void connect_ends(struct end *a, struct end *b)
{
    int fds[2];
    struct end *ends[] = {a, b};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    for (int i = 0; i < 2; i++) {
        struct pen_stream *stream;
        ends[i]->socket = fds[i];
        assert_int_equal(pen_stream_plain(fds[i], &stream), 0);
        assert_int_equal(pen_link_attach(ends[i]->link, stream, pen_link_received(ends[1 - i]->link)), 0);
    }
}

static unsigned char *pattern(uint64_t bytes, unsigned seed)
{
    unsigned char *memory = malloc(bytes);
    assert_non_null(memory);
    for (uint64_t i = 0; i < bytes; i++)
        memory[i] = (unsigned char)((i * 2654435761u + seed) >> 8);
    return memory;
}

static bool all(const unsigned char *bytes, uint64_t count, unsigned char value)
{
    return !count || (*bytes == value && !memcmp(bytes, bytes + 1, count - 1));
}

static void turn_both(struct end *a, struct end *b)
{
    assert_int_equal(pen_link_turn(a->link), 0);
    assert_int_equal(pen_link_turn(b->link), 0);
}

static void until_whole(struct end *from, struct end *to, uint64_t number)
{
    uint64_t deadline_ns = pen_deadline_ms(20000);
    while (to->whole != number && pen_now_ns() < deadline_ns)
        turn_both(from, to);
    assert_int_equal(to->whole, number);
}

static void from_and_to(void **unused)
{
    struct end a, b;
    (void)unused;
    end_init(&a);
    end_init(&b);
    connect_ends(&a, &b);
    unsigned char *source = pattern(BYTES, 1), *target = malloc(BYTES + 2);
    memset(target, 9, BYTES + 2);
    struct pen_loan out = {.offset = OFFSET, .bytes = BYTES, .memory = source};
    struct pen_loan in = {.offset = OFFSET, .bytes = BYTES, .memory = target + 1, .receives = true};
    pen_loan_begin(&a.loans, &out);
    pen_loan_begin(&b.loans, &in);
    assert_int_equal(pen_loans_add_range(&a.loans, OFFSET, BYTES, 1), 0);
    until_whole(&a, &b, 1);
    assert_memory_equal(target + 1, source, BYTES);
    assert_true(target[0] == 9 && target[BYTES + 1] == 9);
    pen_loan_end(&a.loans, &out);
    pen_loan_end(&b.loans, &in);
    /* A part of a range that was lent is from where it was lent from, at the range's place; what is outside is not. */
    pen_loan_begin(&a.loans, &out);
    a.arena[0] = 42;
    assert_int_equal(pen_loans_add_range(&a.loans, OFFSET + 100, 1000, 2), 0);
    assert_int_equal(pen_loans_add_range(&a.loans, 0, 1, 3), 0);
    until_whole(&a, &b, 3);
    assert_memory_equal(b.arena + OFFSET + 100, source + 100, 1000);
    assert_int_equal(b.arena[0], 42);
    pen_loan_end(&a.loans, &out);
    b.arena[0] = 0;
    memset(b.arena + OFFSET + 100, 0, 1000);
    assert_true(all(b.arena, ARENA, 0));
    end_finish(&a);
    end_finish(&b);
    free(source);
    free(target);
}

/* Wherever the connection breaks, the bytes arrive whole; when they have, the memory may change, though no
 * acknowledgement has come. */
static void across_cuts(void **unused)
{
    (void)unused;
    for (unsigned cut = 1; cut < 40; cut += 2) {
        struct end a, b;
        end_init(&a);
        end_init(&b);
        connect_ends(&a, &b);
        unsigned char *source = pattern(BYTES, cut), *target = malloc(BYTES), *same = pattern(BYTES, cut);
        struct pen_loan out = {.offset = OFFSET, .bytes = BYTES, .memory = source};
        struct pen_loan in = {.offset = OFFSET, .bytes = BYTES, .memory = target, .receives = true};
        pen_loan_begin(&a.loans, &out);
        pen_loan_begin(&b.loans, &in);
        assert_int_equal(pen_loans_add_range(&a.loans, OFFSET, BYTES, 1), 0);
        for (unsigned turn = 0; b.whole != 1; turn++) {
            if (turn % (cut % 7 + 1) == cut % 7) {
                assert_int_equal(shutdown(a.socket, SHUT_RDWR), 0);
                while (pen_link_turn(a.link) != -PEN_EGONE)
                    ;
                while (pen_link_turn(b.link) != -PEN_EGONE)
                    ;
                connect_ends(&a, &b);
            }
            assert_int_equal(pen_link_turn(a.link), 0);
            for (unsigned i = 0; i < cut % 5 + 1; i++)
                assert_int_equal(pen_link_turn(b.link), 0);
        }
        pen_loan_end(&a.loans, &out);
        pen_loan_end(&b.loans, &in);
        memset(source, 0, BYTES);
        pen_link_detach(a.link);
        pen_link_detach(b.link);
        connect_ends(&a, &b);
        for (int i = 0; i < 10; i++)
            turn_both(&a, &b);
        assert_memory_equal(target, same, BYTES);
        assert_true(all(b.arena, ARENA, 0));
        end_finish(&a);
        end_finish(&b);
        free(source);
        free(same);
        free(target);
    }
}

/* A loan that ends early, since the session is over or the peer ill-behaved: from then on the arena is at both ends of
 * it, whatever was under way. */
static void ends_early(void **unused)
{
    (void)unused;
    for (int turns = 0; turns < 6; turns++) {
        struct end a, b;
        end_init(&a);
        end_init(&b);
        memset(a.arena, 3, ARENA);
        connect_ends(&a, &b);
        unsigned char *source = malloc(BYTES), *target = malloc(BYTES);
        memset(source, 5, BYTES);
        memset(target, 1, BYTES);
        struct pen_loan out = {.offset = OFFSET, .bytes = BYTES, .memory = source};
        struct pen_loan in = {.offset = OFFSET, .bytes = BYTES, .memory = target, .receives = true};
        pen_loan_begin(&a.loans, &out);
        pen_loan_begin(&b.loans, &in);
        assert_int_equal(pen_loans_add_range(&a.loans, OFFSET, BYTES, 1), 0);
        for (int i = 0; i < turns; i++)
            turn_both(&a, &b);
        assert_int_not_equal(b.whole, 1);
        pen_loan_end(&b.loans, &in);
        pen_loan_end(&a.loans, &out);
        memset(source, 7, BYTES);
        memset(target, 1, BYTES);
        until_whole(&a, &b, 1);
        assert_true(all(target, BYTES, 1));
        assert_null(memchr(b.arena, 7, ARENA));
        assert_int_equal(b.arena[OFFSET + BYTES - 1], 3);
        end_finish(&a);
        end_finish(&b);
        free(source);
        free(target);
    }
}

/* What the peer says goes where nothing is lent to be received lands in the arena. */
static void only_where_it_may(void **unused)
{
    struct end a, b;
    (void)unused;
    end_init(&a);
    end_init(&b);
    memset(a.arena, 3, ARENA);
    connect_ends(&a, &b);
    unsigned char *sent = malloc(BYTES), *target = malloc(BYTES);
    memset(sent, 1, BYTES);
    memset(target, 1, BYTES);
    struct pen_loan out = {.offset = OFFSET, .bytes = BYTES, .memory = sent};
    struct pen_loan in = {.offset = OFFSET + BYTES, .bytes = BYTES, .memory = target, .receives = true};
    pen_loan_begin(&b.loans, &out);
    pen_loan_begin(&b.loans, &in);
    assert_int_equal(pen_loans_add_range(&a.loans, OFFSET, BYTES, 1), 0);                       /* to be sent */
    assert_int_equal(pen_link_add_range(a.link, a.arena, OFFSET + 2 * BYTES - 1, 2, 2), 0);     /* past the end */
    assert_int_equal(pen_link_add_range(a.link, a.arena, OFFSET + BYTES - 1, 2, 3), 0);         /* before the begin */
    assert_int_equal(pen_link_add_range(a.link, a.arena, OFFSET + BYTES - 1, BYTES / 2, 4), 0); /* the first part */
    until_whole(&a, &b, 4);
    assert_true(all(sent, BYTES, 1));
    assert_true(all(b.arena + OFFSET, BYTES + 1, 3));
    assert_true(all(target + BYTES - 1, 1, 1));
    pen_loan_end(&b.loans, &out);
    pen_loan_end(&b.loans, &in);
    end_finish(&a);
    end_finish(&b);
    free(sent);
    free(target);
}

/* The same memory lent for two ranges, one of which ends while the other is under way: both arrive. Received into, too.
 */
static void lent_twice(void **unused)
{
    const uint64_t bytes = 1 << 20;
    struct end a, b;
    (void)unused;
    end_init(&a);
    end_init(&b);
    connect_ends(&a, &b);
    unsigned char *source = pattern(bytes, 5), *target = malloc(bytes);
    struct pen_loan out[2], in[2];
    for (unsigned i = 0; i < 2; i++) {
        out[i] = (struct pen_loan){.offset = OFFSET + i * bytes, .bytes = bytes, .memory = source};
        in[i] = (struct pen_loan){.offset = OFFSET + i * bytes, .bytes = bytes, .memory = target, .receives = true};
        pen_loan_begin(&a.loans, &out[i]);
        pen_loan_begin(&b.loans, &in[i]);
        assert_int_equal(pen_loans_add_range(&a.loans, out[i].offset, bytes, i + 1), 0);
    }
    until_whole(&a, &b, 1);
    pen_loan_end(&a.loans, &out[0]);
    pen_loan_end(&b.loans, &in[0]);
    until_whole(&a, &b, 2);
    assert_memory_equal(target, source, bytes);
    pen_loan_end(&a.loans, &out[1]);
    pen_loan_end(&b.loans, &in[1]);
    assert_true(all(b.arena, ARENA, 0));
    end_finish(&a);
    end_finish(&b);
    free(source);
    free(target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(from_and_to), cmocka_unit_test(across_cuts),
                                       cmocka_unit_test(ends_early), cmocka_unit_test(only_where_it_may),
                                       cmocka_unit_test(lent_twice)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
