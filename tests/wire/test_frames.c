/* Every message, in every style of frames.py: the codec agrees with the second implementation, refuses each
 * truncation, and whatever damaged frame it lets through is one that it would itself have written.
 * Frames lie in allocations of exactly their size, so that ASan sees an overread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "frames.h"
#include TEST_HEADER

struct sample {
    char *name, *json;
    unsigned char *frame;
    size_t size;
};

static struct sample samples[512];
static size_t sample_count;
static struct pen_scratch scratch;

static unsigned char *copy_of(const void *bytes, size_t size)
{
    unsigned char *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    return copy;
}

static void load(const char *path)
{
    FILE *file = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    if (!file) {
        perror(path);
        exit(1);
    }
    while (sample_count < sizeof samples / sizeof *samples && getline(&line, &room, file) > 0) {
        struct sample *sample = &samples[sample_count++];
        char *rest = line;
        sample->name = strdup(strsep(&rest, "\t"));
        char *hex = strsep(&rest, "\t");
        sample->json = strdup(rest);
        sample->size = strlen(hex) / 2;
        sample->frame = malloc(sample->size);
        for (size_t i = 0; i < sample->size; i++) {
            char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
            sample->frame[i] = (unsigned char)strtoul(digits, NULL, 16);
        }
    }
    free(line);
    fclose(file);
}

static void unload(void)
{
    for (size_t i = 0; i < sample_count; i++) {
        free(samples[i].name);
        free(samples[i].json);
        free(samples[i].frame);
    }
    pen_scratch_finish(&scratch);
}

static int check(const void *frame, size_t size)
{
    int rc = pen_message_check(frame, size, &scratch);
    pen_scratch_reset(&scratch);
    return rc;
}

/* Refused, or exactly what the encoder makes of it. The damage is named in the message. */
static void expect_canonical(const struct sample *sample, const unsigned char *frame, size_t size, size_t at)
{
    _Alignas(8) static unsigned char out[PEN_LIMIT_FRAME];
    size_t out_size = 0;
    int rc = again(frame, size, &scratch, out, &out_size);
    pen_scratch_reset(&scratch);
    if (rc)
        return;
    if (out_size != size || memcmp(out, frame, size) != 0)
        fail_msg("%s damaged at byte %zu was accepted, but encodes otherwise", sample->name, at);
}

static void agrees_with_the_second_implementation(void **state)
{
    (void)state;
    assert_true(sample_count > 5);
    for (size_t i = 0; i < sample_count; i++) {
        struct sample *sample = &samples[i];
        int rc = check(sample->frame, sample->size);
        if (rc)
            fail_msg("%s is refused: %s", sample->name, pen_error_text(rc));
        _Alignas(8) static unsigned char out[PEN_LIMIT_FRAME];
        size_t size = 0;
        assert_int_equal(again(sample->frame, sample->size, &scratch, out, &size), 0);
        pen_scratch_reset(&scratch);
        if (size != sample->size || memcmp(out, sample->frame, size) != 0)
            fail_msg("%s is encoded differently (%zu bytes, expected %zu)", sample->name, size, sample->size);
    }
}

static void prints_as_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        char *text = NULL;
        size_t length = 0;
        FILE *file = open_memstream(&text, &length);
        assert_int_equal(pen_message_print(file, samples[i].frame, samples[i].size, true), 0);
        fclose(file);
        if (strcmp(text, samples[i].json) != 0)
            fail_msg("%s prints as\n%sand should as\n%s", samples[i].name, text, samples[i].json);
        free(text);
    }
}

static void prints_one_line_of_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        char *text = NULL;
        size_t length = 0;
        FILE *file = open_memstream(&text, &length);
        assert_int_equal(pen_message_print(file, samples[i].frame, samples[i].size, false), 0);
        fclose(file);
        assert_ptr_equal(strchr(text, '\n'), text + length - 1);
        free(text);
    }
}

static void knows_its_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        struct pen_frame_header header;
        memcpy(&header, samples[i].frame, sizeof header);
        const struct pen_message_info *info = pen_message_info(header.opcode);
        assert_non_null(info);
        assert_int_equal(info->opcode, header.opcode);
        assert_int_equal(strncmp(samples[i].name, info->name, strlen(info->name)), 0);
        assert_int_equal(samples[i].name[strlen(info->name)], '/');
    }
    assert_null(pen_message_info(0));
    assert_null(pen_message_info(0xffff));
}

/* Each prefix, as it is, and with a header that claims to be that short. */
static void refuses_every_truncation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        struct sample *sample = &samples[i];
        for (size_t size = 0; size < sample->size; size++) {
            unsigned char *frame = copy_of(sample->frame, size);
            if (!check(frame, size))
                fail_msg("%s cut to %zu of %zu bytes was accepted", sample->name, size, sample->size);
            uint32_t claimed = (uint32_t)size;
            if (size >= sizeof(struct pen_frame_header)) {
                memcpy(frame, &claimed, sizeof claimed);
                if (!check(frame, size))
                    fail_msg("%s, with a header for %zu of its %zu bytes, was accepted", sample->name, size,
                             sample->size);
            }
            free(frame);
        }
    }
}

static void refuses_bytes_after_the_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        struct sample *sample = &samples[i];
        unsigned char *frame = calloc(1, sample->size + 8);
        memcpy(frame, sample->frame, sample->size);
        if (!check(frame, sample->size + 8))
            fail_msg("%s followed by 8 bytes was accepted", sample->name);
        uint32_t claimed = (uint32_t)sample->size + 8;
        memcpy(frame, &claimed, sizeof claimed);
        if (!check(frame, sample->size + 8))
            fail_msg("%s made 8 bytes longer was accepted", sample->name);
        free(frame);
    }
}

static void survives_each_flipped_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        unsigned char *frame = copy_of(samples[i].frame, samples[i].size);
        for (size_t bit = 0; bit < 8 * samples[i].size; bit++) {
            frame[bit / 8] ^= (unsigned char)(1u << bit % 8);
            expect_canonical(&samples[i], frame, samples[i].size, bit / 8);
            frame[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
        free(frame);
    }
}

static void survives_hostile_numbers_everywhere(void **state)
{
    static const uint32_t hostile[] = {0,     1,          7,          255,        4096,      65535,
                                       65536, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
    (void)state;
    for (size_t i = 0; i < sample_count; i++) {
        unsigned char *frame = copy_of(samples[i].frame, samples[i].size);
        for (size_t at = 0; at + 4 <= samples[i].size; at += 4) {
            uint32_t old;
            memcpy(&old, frame + at, sizeof old);
            for (size_t h = 0; h < sizeof hostile / sizeof *hostile; h++) {
                memcpy(frame + at, &hostile[h], sizeof old);
                expect_canonical(&samples[i], frame, samples[i].size, at);
            }
            memcpy(frame + at, &old, sizeof old);
        }
        free(frame);
    }
}

static void refuses_a_misaligned_frame(void **state)
{
    (void)state;
    unsigned char *room = malloc(samples[0].size + 4);
    memcpy(room + 4, samples[0].frame, samples[0].size);
    assert_int_equal(check(room + 4, samples[0].size), -PEN_EPROTO);
    free(room);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_second_implementation),
        cmocka_unit_test(prints_as_json),
        cmocka_unit_test(prints_one_line_of_text),
        cmocka_unit_test(knows_its_messages),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(refuses_bytes_after_the_end),
        cmocka_unit_test(survives_each_flipped_bit),
        cmocka_unit_test(survives_hostile_numbers_everywhere),
        cmocka_unit_test(refuses_a_misaligned_frame),
    };
    if (argc != 2) {
        fprintf(stderr, "usage: %s frames.txt\n", argv[0]);
        return 2;
    }
    load(argv[1]);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unload();
    return failed;
}
