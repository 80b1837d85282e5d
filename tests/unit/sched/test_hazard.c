/* sched/hazard: against a slow model that keeps every access. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/error.h"
#include "sched/hazard.h"

enum { NODES = 3000, MOST = 64 };

/* A command of the model: what it accessed, and all that are known to be over before it, by the edges it was told. */
struct command {
    struct pen_hazard_node node;
    uint32_t count;
    struct {
        uint32_t region;
        uint64_t begin, end;
        enum pen_hazard_mode mode;
    } accesses[4];
    uint64_t before[NODES / 64 + 1];
};

static struct command commands[NODES];

struct told {
    struct command *to;
    uint32_t count;
};

static int tell(void *context, struct pen_hazard_node *before, enum pen_hazard_kind kind)
{
    (void)kind;
    struct told *told = context;
    struct command *from = (struct command *)before; /* its first member */
    uint32_t number = (uint32_t)(from - commands);
    assert_true(from != told->to);
    assert_false(told->to->before[number / 64] >> (number % 64) & 1 && from->node.met_by != told->to->node.ticket);
    for (uint32_t i = 0; i < NODES / 64 + 1; i++)
        told->to->before[i] |= from->before[i];
    told->to->before[number / 64] |= UINT64_C(1) << (number % 64);
    told->count++;
    return 0;
}

static bool conflict(const struct command *a, const struct command *b)
{
    for (uint32_t i = 0; i < a->count; i++)
        for (uint32_t j = 0; j < b->count; j++)
            if (a->accesses[i].region == b->accesses[j].region && a->accesses[i].begin < b->accesses[j].end &&
                b->accesses[j].begin < a->accesses[i].end &&
                (a->accesses[i].mode == PEN_HAZARD_WRITE || b->accesses[j].mode == PEN_HAZARD_WRITE))
                return true;
    return false;
}

static uint64_t seed;

static uint32_t chance(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

/* Some that have nothing unfinished before them. */
static void finish_some(uint32_t until)
{
    for (uint32_t i = 0; i < until; i++) {
        struct command *c = &commands[i];
        bool first = c->node.ticket != 0;
        for (uint32_t k = 0; k < i && first; k++)
            first = !(c->before[k / 64] >> (k % 64) & 1) || !commands[k].node.ticket;
        if (first && chance(3) == 0)
            c->node.ticket = 0;
    }
}

static void random_commands(uint32_t size, uint32_t longest, uint32_t finish_one_in)
{
    struct pen_hazards hazards;
    struct pen_hazard_region regions[3] = {{0}};
    pen_hazards_init(&hazards);
    for (uint32_t i = 0; i < NODES; i++) {
        struct command *c = &commands[i];
        struct told told = {.to = c};
        *c = (struct command){.node.ticket = i + 1, .count = 1 + chance(3)};
        for (uint32_t a = 0; a < c->count; a++) {
            uint64_t begin = chance(size), bytes = 1 + chance(longest);
            c->accesses[a].region = chance(3);
            c->accesses[a].begin = begin;
            c->accesses[a].end = begin + bytes > size ? size : begin + bytes;
            c->accesses[a].mode = chance(2) ? PEN_HAZARD_READ : PEN_HAZARD_WRITE;
            assert_int_equal(pen_hazard_access(&hazards, &regions[c->accesses[a].region], begin, c->accesses[a].end,
                                               c->accesses[a].mode, &c->node, tell, &told),
                             0);
        }
        for (uint32_t k = 0; k < i; k++)
            if (commands[k].node.ticket && conflict(&commands[k], c))
                assert_true(c->before[k / 64] >> (k % 64) & 1);
        if (chance(finish_one_in) == 0)
            finish_some(i + 1);
    }
    for (uint32_t i = 0; i < 3; i++)
        pen_hazard_forget(&hazards, &regions[i]);
    pen_hazards_finish(&hazards);
}

static void test_random(void **state)
{
    (void)state;
    for (seed = 1; seed < 4; seed++) {
        uint64_t begun = seed;
        random_commands(100, 100, 20);
        random_commands(100000, 100, 100);
        random_commands(1000, 10, 3);
        seed = begun;
    }
}

/* Nothing is ordered but what conflicts. */
static int count_one(void *context, struct pen_hazard_node *before, enum pen_hazard_kind kind)
{
    (void)before, (void)kind;
    ++*(uint32_t *)context;
    return 0;
}

static void test_exact(void **state)
{
    (void)state;
    struct pen_hazards hazards;
    struct pen_hazard_region region = {0};
    struct pen_hazard_node node[6];
    uint32_t met = 0;
    pen_hazards_init(&hazards);
    for (uint32_t i = 0; i < 6; i++)
        node[i] = (struct pen_hazard_node){.ticket = i + 1};
#define ACCESS(i, begin, end, mode)                                                                                    \
    (met = 0, assert_int_equal(pen_hazard_access(&hazards, &region, begin, end, mode, &node[i], count_one, &met), 0),  \
     met)
    assert_int_equal(ACCESS(0, 0, 100, PEN_HAZARD_WRITE), 0);
    assert_int_equal(ACCESS(1, 0, 50, PEN_HAZARD_READ), 1);   /* the write */
    assert_int_equal(ACCESS(2, 50, 100, PEN_HAZARD_READ), 1); /* the write, not the other read */
    assert_int_equal(ACCESS(3, 0, 10, PEN_HAZARD_WRITE), 1);  /* one read; the write went before it */
    assert_int_equal(ACCESS(4, 60, 70, PEN_HAZARD_WRITE), 1); /* the other */
    assert_int_equal(ACCESS(5, 0, 100, PEN_HAZARD_WRITE), 4); /* both writes, and both reads of what is left */
    assert_int_equal(region.count, 1);
    node[5].ticket = 0;
    assert_int_equal(ACCESS(0, 0, 100, PEN_HAZARD_WRITE), 0);
#undef ACCESS
    pen_hazard_forget(&hazards, &region);
    pen_hazards_finish(&hazards);
}

/* However many pieces a program cuts a region into, what is kept is bounded, and nothing is lost when pieces become
 * one. */
static void test_bounded(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct pen_hazards hazards;
    struct pen_hazard_region region = {0};
    uint32_t met = 0;
    pen_hazards_init(&hazards);
    struct pen_hazard_node *writes = calloc(COUNT, sizeof *writes), *reads = calloc(COUNT, sizeof *reads);
    assert_true(writes && reads);
    for (uint64_t i = 0; i < COUNT; i++) {
        writes[i].ticket = 2 * i + 1;
        reads[i].ticket = 2 * i + 2;
        assert_int_equal(
            pen_hazard_access(&hazards, &region, i * 8, i * 8 + 4, PEN_HAZARD_WRITE, &writes[i], count_one, &met), 0);
        if (i % 2)
            assert_int_equal(
                pen_hazard_access(&hazards, &region, i * 8, i * 8 + 4, PEN_HAZARD_READ, &reads[i], count_one, &met), 0);
        assert_true(region.count <= PEN_HAZARD_PIECES + 1);
    }
    struct pen_hazard_node reader = {.ticket = 3 * COUNT}, writer = {.ticket = 3 * COUNT + 1};
    assert_int_equal(pen_hazard_access(&hazards, &region, 0, 8 * COUNT, PEN_HAZARD_READ, &reader, count_one, &met), 0);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(writes[i].met_by, reader.ticket);
    reader.ticket = 0;
    assert_int_equal(pen_hazard_access(&hazards, &region, 0, 8 * COUNT, PEN_HAZARD_WRITE, &writer, count_one, &met), 0);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal((i % 2 ? reads : writes)[i].met_by, writer.ticket);
    assert_int_equal(region.count, 1);
    free(writes);
    free(reads);
    pen_hazard_forget(&hazards, &region);
    pen_hazards_finish(&hazards);
}

static int note_kind(void *context, struct pen_hazard_node *before, enum pen_hazard_kind kind)
{
    enum pen_hazard_kind *kinds = context;
    kinds[before->ticket] = kind;
    return 0;
}

/* Why: by what the one before did, and what this one does. */
static void test_kinds(void **state)
{
    (void)state;
    struct pen_hazards hazards;
    struct pen_hazard_region region = {0};
    struct pen_hazard_node node[5];
    pen_hazards_init(&hazards);
    for (uint32_t i = 0; i < 5; i++)
        node[i] = (struct pen_hazard_node){.ticket = i + 1};
#define NONE ((enum pen_hazard_kind)9)
#define KINDS(i, begin, end, mode, ...)                                                                                \
    do {                                                                                                               \
        enum pen_hazard_kind kinds[6] = {NONE, NONE, NONE, NONE, NONE, NONE};                                          \
        const enum pen_hazard_kind expected[6] = {NONE, __VA_ARGS__, NONE};                                            \
        assert_int_equal(                                                                                              \
            pen_hazard_access(&hazards, &region, begin, end, PEN_HAZARD_##mode, &node[i], note_kind, kinds), 0);       \
        assert_memory_equal(kinds, expected, sizeof kinds);                                                            \
    } while (0)
    KINDS(0, 0, 16, WRITE, NONE, NONE, NONE, NONE);
    KINDS(1, 0, 8, READ, PEN_HAZARD_READ_AFTER_WRITE, NONE, NONE, NONE);
    KINDS(2, 0, 16, WRITE, PEN_HAZARD_WRITE_AFTER_WRITE, PEN_HAZARD_WRITE_AFTER_READ, NONE, NONE);
    KINDS(3, 0, 8, READ, NONE, NONE, PEN_HAZARD_READ_AFTER_WRITE, NONE);
    KINDS(4, 0, 4, WRITE, NONE, NONE, NONE, PEN_HAZARD_WRITE_AFTER_READ);
#undef KINDS
    pen_hazard_forget(&hazards, &region);
    pen_hazards_finish(&hazards);
}

/* A write that matters is told of behind those that have read it since; one that does not, is not. */
static void test_what_matters(void **state)
{
    (void)state;
    for (uint32_t matters = 0; matters < 2; matters++) {
        struct pen_hazards hazards;
        struct pen_hazard_region region = {0};
        struct pen_hazard_node copy = {.ticket = 1, .matters = matters}, read = {.ticket = 2}, write = {.ticket = 3};
        uint32_t met = 0;
        pen_hazards_init(&hazards);
        assert_int_equal(pen_hazard_access(&hazards, &region, 0, 8, PEN_HAZARD_WRITE, &copy, count_one, &met), 0);
        assert_int_equal(pen_hazard_access(&hazards, &region, 0, 8, PEN_HAZARD_READ, &read, count_one, &met), 0);
        assert_int_equal(met, 1);
        assert_int_equal(pen_hazard_access(&hazards, &region, 4, 8, PEN_HAZARD_WRITE, &write, count_one, &met), 0);
        assert_int_equal(met, 2 + matters);
        pen_hazard_forget(&hazards, &region);
        pen_hazards_finish(&hazards);
    }
}

/* It is told of behind those that have changed what it wrote, too, wherever they did, until something overwrites it. */
static void test_what_matters_behind_writes(void **state)
{
    (void)state;
    static const uint32_t bytes[][2] = {{0, 8}, {0, 16}, {4, 12}};
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        struct pen_hazards hazards;
        struct pen_hazard_region region = {0};
        struct pen_hazard_node nodes[20] = {{0}};
        uint32_t met = 0, begin = bytes[i][0], end = bytes[i][1], count = 0;
        pen_hazards_init(&hazards);
        for (uint32_t at = 0; at < 16; at += 2) { /* as many as a piece has no room for without memory of its own */
            nodes[count] = (struct pen_hazard_node){.ticket = count + 1, .matters = true};
            assert_int_equal(pen_hazard_access(&hazards, &region, at, at + 2, PEN_HAZARD_OVERWRITE, &nodes[count++],
                                               count_one, &met),
                             0);
        }
        assert_int_equal(met, 0);
        for (uint32_t changes = 0; changes < 3; changes++) { /* they meet the one before, and what matters */
            nodes[count].ticket = count + 1;
            met = 0;
            assert_int_equal(
                pen_hazard_access(&hazards, &region, begin, end, PEN_HAZARD_WRITE, &nodes[count++], count_one, &met),
                0);
            assert_int_equal(met, (end - begin) / 2 + (changes ? 1 : 0));
        }
        nodes[1].ticket = nodes[2].ticket = 0; /* over: bytes 2 to 6 */
        nodes[count].ticket = count + 1;
        met = 0;
        assert_int_equal(
            pen_hazard_access(&hazards, &region, begin, end, PEN_HAZARD_OVERWRITE, &nodes[count++], count_one, &met),
            0);
        assert_int_equal(met, (end - begin) / 2 + 1 - (begin ? 1 : 2));
        nodes[count].ticket = count + 1;
        met = 0;
        assert_int_equal(
            pen_hazard_access(&hazards, &region, begin, end, PEN_HAZARD_READ, &nodes[count], count_one, &met), 0);
        assert_int_equal(met, 1);
        pen_hazard_forget(&hazards, &region);
        pen_hazards_finish(&hazards);
    }
}

static int refuse(void *context, struct pen_hazard_node *before, enum pen_hazard_kind kind)
{
    (void)context, (void)before, (void)kind;
    return -PEN_ELIMIT;
}

static void test_error_of_meet(void **state)
{
    (void)state;
    struct pen_hazards hazards;
    struct pen_hazard_region region = {0};
    struct pen_hazard_node a = {.ticket = 1}, b = {.ticket = 2};
    uint32_t met = 0;
    pen_hazards_init(&hazards);
    assert_int_equal(pen_hazard_access(&hazards, &region, 0, 8, PEN_HAZARD_WRITE, &a, refuse, NULL), 0);
    assert_int_equal(pen_hazard_access(&hazards, &region, 0, 8, PEN_HAZARD_WRITE, &b, refuse, NULL), -PEN_ELIMIT);
    b.ticket = 3;
    assert_int_equal(pen_hazard_access(&hazards, &region, 0, 8, PEN_HAZARD_READ, &b, count_one, &met), 0);
    assert_int_equal(met, 1); /* the first still */
    pen_hazard_forget(&hazards, &region);
    pen_hazards_finish(&hazards);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_error_of_meet),
        cmocka_unit_test(test_what_matters),
        cmocka_unit_test(test_what_matters_behind_writes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
