/* Arbitrary commands to a worker's session on the fake device: it ends them with a sentence or carries them out, and
 * touches nothing outside (ASan). The session has objects with small ids already. The input is a list of commands in a
 * short form, so that mutations are mostly of ids and sizes that mean something:
 *   one byte: which command; one byte: how many tokens of its body follow, and how many words longer it is than with
 *   empty lists; tokens: a byte below 0xF0 is a u32 of that value, the others are values at the ends of ranges and raw
 *   words. What follows the last token is zero. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY_MAX 2048u

static const char text[] = "kernel inc(global data)\nkernel fill(global to, value word)\nkernel nop()\n"
                           "kernel rotate(global data, local scratch)\n";

/* clang-format off */
#define COMMANDS(X) \
    X(queue_create, QUEUE_CREATE) X(queue_destroy, QUEUE_DESTROY) X(device_partition, DEVICE_PARTITION) \
    X(region_create, REGION_CREATE) X(region_slice, REGION_SLICE) X(region_view, REGION_VIEW) \
    X(region_destroy, REGION_DESTROY) X(sampler_create, SAMPLER_CREATE) X(sampler_destroy, SAMPLER_DESTROY) \
    X(program_create, PROGRAM_CREATE) X(program_destroy, PROGRAM_DESTROY) X(program_header, PROGRAM_HEADER) \
    X(program_build, PROGRAM_BUILD) X(program_binary, PROGRAM_BINARY) X(program_constant, PROGRAM_CONSTANT) X(build_options, BUILD_OPTIONS) \
    X(kernel_create, KERNEL_CREATE) X(kernel_destroy, KERNEL_DESTROY) X(kernel_argument, KERNEL_ARGUMENT) \
    X(kernel_clone, KERNEL_CLONE) X(kernel_query, KERNEL_QUERY) X(kernel_suggest, KERNEL_SUGGEST) X(event_create, EVENT_CREATE) \
    X(event_set, EVENT_SET) X(event_destroy, EVENT_DESTROY) X(launch, LAUNCH) X(write, WRITE) X(read, READ) \
    X(copy, COPY) X(fill, FILL) X(migrate, MIGRATE) X(marker, MARKER) X(barrier, BARRIER) X(fatal, FATAL)
/* clang-format on */

static const uint16_t opcodes[] = {
#define X(name, number) PEN_OP_##number,
    COMMANDS(X)
#undef X
};

/* Words of the body of a command with empty lists. */
static size_t least_words(uint16_t opcode)
{
    size_t size = 0;
    switch (opcode) {
#define X(name, number)                                                                                                \
    case PEN_OP_##number:                                                                                              \
        size = pen_msg_##name##_size(&(const struct pen_msg_##name){0});                                               \
        break;
        COMMANDS(X)
#undef X
    default:
        break;
    }
    return (size - sizeof(struct pen_frame_header)) / 4;
}

static void prepare(struct rig *rig)
{
    rig_program(rig, 1, text);
    rig_build(rig, 1, 2);
    rig_kernel(rig, 1, 1, "inc");
    rig_kernel(rig, 2, 1, "fill");
    rig_kernel(rig, 3, 1, "nop");
    rig_queue(rig, 1, 1, 0, 1);
    rig_queue(rig, 2, 2, PEN_QUEUE_FLAG_OUT_OF_ORDER, 2);
    rig_queue(rig, 3, 1, PEN_QUEUE_FLAG_OUT_OF_ORDER | PEN_QUEUE_FLAG_PROFILING, 3);
    rig_buffer(rig, 1, 0, 64, true);
    rig_buffer(rig, 2, 4096, 16, false);
    RIG_SEND(rig, region_create, .region = 3, .kind = PEN_REGION_KIND_IMAGE2D, .size = 64, .arena_offset = 8192,
             .flags = rig->features & PEN_FEATURE_DIRECT ? PEN_REGION_FLAG_DIRECT : 0,
             .image = {.channel_order = 0x10B5, .channel_type = 0x10D2, .element_bytes = 4, .width = 4, .height = 4});
    RIG_SEND(rig, sampler_create, .sampler = 1, .address_mode = 0x1130, .filter_mode = 0x1140);
    RIG_SEND(rig, event_create, .event = 1, .slot = 1);
    rig_set_region(rig, 1, 0, 1);
    rig_set_region(rig, 2, 0, 2);
    rig_set_word(rig, 2, 1, 7);
    rig_pump(rig);
}

/* One token of the body; returns how many bytes of input it took. */
static size_t token(const uint8_t *data, size_t size, uint32_t *out)
{
    static const uint32_t words[] = {0xFFFFFFFF, 0x7FFFFFFF, 0x80000000,          4096,
                                     8192,       65536,      (uint32_t)RIG_ARENA, (uint32_t)RIG_ARENA - 64,
                                     0x10B5,     0x10DE};
    if (data[0] < 0xF0) {
        *out = data[0];
        return 1;
    }
    if (data[0] < 0xF0 + sizeof words / sizeof *words) {
        *out = words[data[0] - 0xF0];
        return 1;
    }
    size_t bytes = size - 1 < 4 ? size - 1 : 4;
    *out = 0;
    memcpy(out, data + 1, bytes);
    return 1 + bytes;
}

static size_t send_command(struct rig *rig, const uint8_t *data, size_t size)
{
    uint32_t body[BODY_MAX / 4] = {0};
    uint16_t opcode = opcodes[data[0] % (sizeof opcodes / sizeof *opcodes)];
    size_t used = 2, tokens = size > 1 ? data[1] & 63 : 0;
    size_t words = least_words(opcode) + (size > 1 ? data[1] >> 6 << 1 : 0);
    for (size_t i = 0; i < tokens && i < words && used < size; i++)
        used += token(data + used, size - used, &body[i]);
    struct pen_frame_header header = {.opcode = opcode, .sequence = ++rig->sequence};
    header.size = (uint32_t)((sizeof header + words * 4 + 7) & ~(size_t)7);
    unsigned char *frame = rig_begin(rig, header.size);
    memcpy(frame, &header, sizeof header);
    memcpy(frame + sizeof header, body, header.size - sizeof header);
    rig_commit(rig, header.size);
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rig rig;
    if (!size)
        return 0;
    rig_start(&rig, &(struct rig_options){.domains = 2, .indirect = data[0] & 1, .no_thread = true});
    prepare(&rig);
    for (size_t at = 1; at < size && !rig.work->failed;) {
        at += send_command(&rig, data + at, size - at);
        if (data[0] & 2)
            rig_pump(&rig);
    }
    rig_pump(&rig);
    rig_stop(&rig);
    return 0;
}
