/* Random programs in which one call of a driver fails: what the program is told agrees with what is in memory. A
 * command that says that it has done something has, also later; one that has failed has done nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

enum { Q = 10, P = 20, MIX = 30, R = 50, S = 70, E = 1000 };
#define BUFFERS  4u
#define WORDS    32u
#define COMMANDS 60u
#define AT(n_)   ((n_)*4096u)
#define BACK     (UINT64_C(1) << 20)

/* Words [first, end) of `to`; those of `from` from `source` on. */
struct command {
    enum { MIXES, COPIES, FILLS } kind;
    uint32_t to, from, first, end, source, word;
};

struct word {
    uint32_t value;
    bool unknown;
};

static uint64_t random_state;

static uint32_t pick(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

static struct command random_command(void)
{
    struct command command = {.kind = pick(8) < 6 ? MIXES
                                      : pick(2)   ? COPIES
                                                  : FILLS,
                              .to = pick(BUFFERS),
                              .from = pick(BUFFERS),
                              .word = pick(1000)};
    uint32_t count = 1 + pick(WORDS / 2);
    if (command.kind == MIXES) {
        command.first = command.source = pick(3) ? 0 : WORDS / 2;
        command.end = WORDS;
        return command;
    }
    if (command.kind == COPIES && command.from == command.to)
        command.from = (command.to + 1) % BUFFERS;
    command.first = pick(WORDS - count + 1);
    command.end = command.first + count;
    command.source = pick(WORDS - count + 1);
    return command;
}

static void send(struct rig *rig, const struct command *command, uint32_t slot)
{
    uint64_t bytes = (uint64_t)(command->end - command->first) * 4;
    if (command->kind == MIXES) {
        uint32_t base = command->first ? S : R;
        rig_set_region(rig, MIX, 0, base + command->to);
        rig_set_region(rig, MIX, 1, base + command->from);
        rig_set_word(rig, MIX, 2, command->word);
        rig_launch(rig, Q, MIX, WORDS, E + slot, slot, NULL, 0);
        return;
    }
    atomic_store(&rig->view.slots[slot].state, PEN_STATE_QUEUED);
    if (command->kind == COPIES)
        RIG_SEND(rig, copy, .queue = Q, .event = E + slot, .slot = slot, .source = R + command->from,
                 .target = R + command->to, .source_box = {.origin = {command->source * 4}},
                 .target_box = {.origin = {command->first * 4}}, .extent = {bytes, 1, 1});
    else
        RIG_SEND(rig, fill, .queue = Q, .event = E + slot, .slot = slot, .region = R + command->to,
                 .origin = {command->first * 4}, .extent = {bytes, 1, 1}, .pattern = {&command->word, 4});
}

/* What was to be overwritten as a whole, and was not, may be anything (worker/README, 12). */
static void apply(struct word words[BUFFERS][WORDS], const struct command *command, bool failed)
{
    struct word *to = words[command->to], *from = words[command->from];
    for (uint32_t i = command->first; i < command->end; i++) {
        const struct word *source = &from[command->source + i - command->first];
        if (command->kind == MIXES && !failed)
            to[i] =
                (struct word){to[i].value * 1664525 + source->value + command->word, to[i].unknown || source->unknown};
        else if (command->kind != MIXES && failed)
            to[i].unknown = true;
        else if (command->kind == COPIES)
            to[i] = *source;
        else if (command->kind == FILLS)
            to[i] = (struct word){.value = command->word};
    }
}

/* Of the calls that fail only one does: again then. */
static void read_back(struct rig *rig, uint64_t region)
{
    if (rig_read(rig, Q, region, WORDS, BACK))
        assert_int_equal(rig_read(rig, Q, region, WORDS, BACK), 0);
}

/* How many commands have failed. */
static uint32_t run(uint64_t seed, const struct rig_options *options)
{
    static struct word words[BUFFERS][WORDS];
    static struct command commands[COMMANDS];
    struct rig rig;
    uint32_t failed = 0;
    rig_start(&rig, options);
    rig_program(&rig, P, "kernel mix(global to, global from, value word)\n");
    assert_int_equal(rig_build(&rig, P, 1), 0);
    rig_kernel(&rig, MIX, P, "mix");
    rig_queue(&rig, Q, 1, 0, 0);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        for (uint32_t w = 0; w < WORDS; w++) {
            words[i][w] = (struct word){.value = pick(1000000)};
            memcpy(rig.arena + AT(i) + (size_t)w * 4, &words[i][w].value, 4);
        }
        rig_buffer(&rig, R + i, AT(i), WORDS, true);
        RIG_SEND(&rig, region_slice, .region = S + i, .parent = R + i, .offset = WORDS * 2, .size = WORDS * 2,
                 .flags = PEN_REGION_FLAG_KERNEL_READS | PEN_REGION_FLAG_KERNEL_WRITES);
    }
    for (uint32_t i = 0; i < COMMANDS; i++) {
        commands[i] = random_command();
        send(&rig, &commands[i], 1 + i);
        if (pick(8) == 0)
            rig_wait_slot(&rig, 1 + i);
    }
    for (uint32_t i = 0; i < COMMANDS; i++) {
        bool bad = rig_wait_slot(&rig, 1 + i) < 0;
        apply(words, &commands[i], bad);
        failed += bad;
    }
    for (uint32_t i = 0; i < BUFFERS; i++) {
        read_back(&rig, R + i);
        const uint32_t *back = (const uint32_t *)(const void *)(rig.arena + BACK);
        for (uint32_t w = 0; w < WORDS; w++)
            if (!words[i][w].unknown && back[w] != words[i][w].value)
                fail_msg("seed %llu, %s, %u devices: word %u of buffer %u is %u, not %u", (unsigned long long)seed,
                         options->fail, options->domains, w, i, back[w], words[i][w].value);
    }
    rig_stop(&rig);
    return failed;
}

/* What fails, and where, is the seed's; when it does, the threads'. */
static uint32_t run_seed(uint64_t seed)
{
    static const char *const calls[] = {"read", "write", "launch", "copy", "fill"};
    char fail[32], jitter[32];
    random_state = seed;
    uint32_t call = pick(10);
    snprintf(fail, sizeof fail, "%s:%u%s", calls[call < 8 ? call % 2 : 2 + pick(3)], 1 + pick(20),
             pick(2) ? ":late" : "");
    snprintf(jitter, sizeof jitter, "%llu", seed % 2 ? (unsigned long long)seed : 0);
    const struct rig_options options = {.domains = 2 + (uint32_t)(seed % 3),
                                        .span = true,
                                        .shared = seed % 7 == 0,
                                        .indirect = true,
                                        .seed = jitter,
                                        .memory = seed % 4 == 3 ? "400" : NULL, /* for three buffers of four */
                                        .fail = fail};
    return run(seed, &options);
}

static void test_random(void **state)
{
    (void)state;
    uint32_t failed = 0;
    for (uint64_t seed = 1; seed <= 150; seed++)
        failed += run_seed(seed);
    assert_true(failed > 150);
}

/* A copy is known to have failed while others are made for the command that it was made for. */
static void test_failing_while_others_are_made(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40; i++) {
        run_seed(631);
        run_seed(1602);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_failing_while_others_are_made)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
