/* icd/container.c - see container.h. */
#include "icd/container.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/name.h"
#include "base/scratch.h"
#include "penstock-protocol.h"

struct prelude {
    char magic[8];
    uint64_t size, checksum;
};

/* ---- writing ----------------------------------------------------------------------------------------- */

struct writer {
    unsigned char *bytes; /* NULL: count only */
    size_t size;
    bool failed; /* a message is over a limit */
};

/* Frames are multiples of 8 as they are. */
static void put(struct writer *writer, const void *bytes, size_t size)
{
    size_t padded = (size + 7) & ~(size_t)7;
    if (writer->bytes && size) {
        memcpy(writer->bytes + writer->size, bytes, size);
        memset(writer->bytes + writer->size + size, 0, padded - size);
    }
    writer->size += padded;
}

#define PUT_MESSAGE(writer_, name_, message_)                                                                          \
    do {                                                                                                               \
        size_t put_size_ = pen_msg_##name_##_size(message_);                                                           \
        if (put_size_ && (writer_)->bytes)                                                                             \
            pen_msg_##name_##_encode((message_), 0, (writer_)->bytes + (writer_)->size);                               \
        (writer_)->failed |= !put_size_;                                                                               \
        (writer_)->size += put_size_;                                                                                  \
    } while (0)

static void put_recipe(struct writer *writer, const struct pen_recipe *recipe)
{
    const struct pen_msg_container_recipe message = {.kind = recipe->kind,
                                                     .step = (enum pen_build_step)recipe->step,
                                                     .text_bytes = recipe->size,
                                                     .options_bytes = strlen(recipe->options),
                                                     .wire_options_bytes = strlen(recipe->wire_options),
                                                     .headers = recipe->header_count,
                                                     .constants = recipe->constant_count,
                                                     .inputs = recipe->input_count};
    PUT_MESSAGE(writer, container_recipe, &message);
    put(writer, recipe->text, recipe->size);
    put(writer, recipe->options, strlen(recipe->options));
    put(writer, recipe->wire_options, strlen(recipe->wire_options));
    for (uint32_t i = 0; i < recipe->header_count; i++) {
        const struct pen_recipe_header *from = &recipe->headers[i];
        const struct pen_msg_container_header header = {.text_bytes = from->size, .name = from->name};
        PUT_MESSAGE(writer, container_header, &header);
        put(writer, from->text, from->size);
    }
    for (uint32_t i = 0; i < recipe->constant_count; i++) {
        const struct pen_recipe_constant *from = &recipe->constants[i];
        const struct pen_msg_container_constant constant = {.constant = from->id, .value = {from->value, from->size}};
        PUT_MESSAGE(writer, container_constant, &constant);
    }
    for (uint32_t i = 0; i < recipe->input_count; i++)
        put_recipe(writer, recipe->inputs[i]);
}

static void put_container(struct writer *writer, const struct pen_container *container)
{
    const struct pen_msg_container message = {.binary_type = container->binary_type,
                                              .kernels = container->native ? container->kernel_count : 0,
                                              .native_bytes = container->native ? container->native_size : 0,
                                              .key = container->key};
    put(writer, &(struct prelude){PEN_CONTAINER_MAGIC, 0, 0}, sizeof(struct prelude));
    PUT_MESSAGE(writer, container, &message);
    put_recipe(writer, container->recipe);
    put(writer, container->native, message.native_bytes);
    for (uint32_t i = 0; i < message.kernels; i++)
        put(writer, container->kernels[i].frame, container->kernels[i].size);
}

int pen_container_encode(const struct pen_container *container, void **out_bytes, size_t *out_size)
{
    struct writer writer = {0};
    put_container(&writer, container);
    if (writer.failed || writer.size > UINT32_MAX)
        return -PEN_ELIMIT;
    size_t size = writer.size;
    writer = (struct writer){.bytes = malloc(size)};
    if (!writer.bytes)
        return -PEN_ENOMEM;
    put_container(&writer, container);
    struct prelude *prelude = (struct prelude *)(void *)writer.bytes;
    prelude->size = size;
    prelude->checksum = XXH64(prelude + 1, size - sizeof *prelude, 0);
    *out_bytes = writer.bytes;
    *out_size = size;
    return 0;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

struct reader {
    const unsigned char *at, *end; /* a multiple of 8 apart, and at one */
    struct pen_scratch scratch;
};

static size_t left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* So many bytes, and the zeros after them; NULL: they are not there. */
static const unsigned char *take(struct reader *reader, uint64_t size, uint64_t limit)
{
    const unsigned char *at = reader->at;
    if (size > limit || size > left(reader))
        return NULL;
    size_t padded = ((size_t)size + 7) & ~(size_t)7;
    for (size_t i = size; i < padded; i++)
        if (at[i])
            return NULL;
    reader->at += padded;
    return at;
}

/* The next frame, whole; NULL: there is none. */
static const unsigned char *take_frame(struct reader *reader, size_t *out_size)
{
    const unsigned char *at = reader->at;
    if (pen_frame_check_header(at, left(reader), out_size) || *out_size > left(reader) ||
        ((const struct pen_frame_header *)(const void *)at)->sequence)
        return NULL;
    reader->at += *out_size;
    return at;
}

#define TAKE_MESSAGE(reader_, name_, out_)                                                                             \
    __extension__({                                                                                                    \
        size_t take_size_;                                                                                             \
        const unsigned char *take_at_ = take_frame((reader_), &take_size_);                                            \
        take_at_ && !pen_msg_##name_##_decode(take_at_, take_size_, &(reader_)->scratch, (out_));                      \
    })

/* A string without a zero byte inside; malloc'ed, NULL when malformed or out of memory. */
static char *take_string(struct reader *reader, uint64_t size)
{
    const unsigned char *at = take(reader, size, PEN_LIMIT_OPTIONS);
    return at && !memchr(at, 0, size) ? strndup((const char *)at, size) : NULL;
}

static int get_header(struct reader *reader, struct pen_recipe *recipe)
{
    struct pen_msg_container_header message;
    const unsigned char *text = NULL;
    if (TAKE_MESSAGE(reader, container_header, &message))
        text = take(reader, message.text_bytes, PEN_LIMIT_PROGRAM);
    if (!text || recipe->header_count == PEN_LIMIT_HEADERS || !pen_header_name_ok(message.name))
        return -PEN_EBINARY;
    struct pen_recipe_header *grown = realloc(recipe->headers, (recipe->header_count + 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    recipe->headers = grown;
    struct pen_recipe_header header = {
        .name = strdup(message.name), .text = malloc(message.text_bytes + 1), .size = message.text_bytes};
    if (!header.name || !header.text) {
        free(header.name);
        free(header.text);
        return -PEN_ENOMEM;
    }
    *(char *)mempcpy(header.text, text, header.size) = 0;
    recipe->headers[recipe->header_count++] = header;
    return 0;
}

static int get_constant(struct reader *reader, struct pen_recipe *recipe)
{
    struct pen_msg_container_constant message;
    struct pen_recipe_constant constant;
    if (!TAKE_MESSAGE(reader, container_constant, &message) || !message.value.size ||
        message.value.size > sizeof constant.value || recipe->constant_count == PEN_LIMIT_CONSTANTS)
        return -PEN_EBINARY;
    struct pen_recipe_constant *grown = realloc(recipe->constants, (recipe->constant_count + 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    recipe->constants = grown;
    constant = (struct pen_recipe_constant){.id = message.constant, .size = message.value.size};
    memcpy(constant.value, message.value.data, message.value.size);
    recipe->constants[recipe->constant_count++] = constant;
    return 0;
}

static int get_recipe(struct reader *reader, uint32_t depth, struct pen_recipe **out_recipe);

static int get_input(struct reader *reader, uint32_t depth, struct pen_recipe *recipe)
{
    if (recipe->input_count == PEN_LIMIT_INPUTS)
        return -PEN_EBINARY;
    struct pen_recipe **grown = realloc(recipe->inputs, (recipe->input_count + 1) * sizeof(struct pen_recipe *));
    if (!grown)
        return -PEN_ENOMEM;
    recipe->inputs = grown;
    int rc = get_recipe(reader, depth + 1, &recipe->inputs[recipe->input_count]);
    if (!rc)
        recipe->input_count++;
    return rc;
}

static bool kind_and_step_ok(const struct pen_recipe *recipe)
{
    switch (recipe->kind) {
    case PEN_RECIPE_SOURCE:
    case PEN_RECIPE_IL:
        return recipe->step == PEN_BUILD_STEP_BUILD || recipe->step == PEN_BUILD_STEP_COMPILE;
    case PEN_RECIPE_NATIVE:
        return recipe->step == PEN_BUILD_STEP_BUILD;
    case PEN_RECIPE_LINK:
        return recipe->step == PEN_BUILD_STEP_LINK && !recipe->size && !recipe->header_count && !recipe->constant_count;
    }
    return false;
}

/* The parts of a recipe that may come several times. */
static int get_recipe_lists(struct reader *reader, uint32_t depth, const struct pen_msg_container_recipe *message,
                            struct pen_recipe *recipe)
{
    int rc = 0;
    for (uint32_t i = 0; !rc && i < message->headers; i++)
        rc = get_header(reader, recipe);
    for (uint32_t i = 0; !rc && i < message->constants; i++)
        rc = get_constant(reader, recipe);
    for (uint32_t i = 0; !rc && i < message->inputs; i++)
        rc = get_input(reader, depth, recipe);
    if (rc)
        return rc;
    bool inputs_ok = (recipe->input_count > 0) == (recipe->kind == PEN_RECIPE_LINK);
    return inputs_ok && kind_and_step_ok(recipe) ? 0 : -PEN_EBINARY;
}

static int get_recipe(struct reader *reader, uint32_t depth, struct pen_recipe **out_recipe)
{
    struct pen_msg_container_recipe message;
    const unsigned char *text = NULL;
    if (depth <= PEN_RECIPE_DEPTH && TAKE_MESSAGE(reader, container_recipe, &message))
        text = take(reader, message.text_bytes, PEN_LIMIT_PROGRAM);
    if (!text)
        return -PEN_EBINARY;
    char *given = take_string(reader, message.options_bytes);
    char *wire = given ? take_string(reader, message.wire_options_bytes) : NULL;
    struct pen_recipe *recipe = NULL;
    int rc = -PEN_EBINARY;
    if (wire) {
        recipe =
            pen_recipe_create((enum pen_recipe_kind)message.kind, message.step, text, message.text_bytes, given, wire);
        rc = recipe ? get_recipe_lists(reader, depth, &message, recipe) : -PEN_ENOMEM;
    }
    free(given);
    free(wire);
    if (rc) {
        pen_recipe_unref(recipe);
        return rc;
    }
    *out_recipe = recipe;
    return 0;
}

bool pen_container_is(const void *bytes, size_t size)
{
    return size >= 7 && memcmp(bytes, PEN_CONTAINER_MAGIC, 7) == 0;
}

static int get_kernel(struct reader *reader, struct pen_container *container)
{
    size_t size;
    struct pen_msg_kernel_info info;
    const unsigned char *at = take_frame(reader, &size);
    if (!at || pen_msg_kernel_info_decode(at, size, &reader->scratch, &info) || info.devices_count ||
        container->kernel_count == PEN_LIMIT_KERNELS)
        return -PEN_EBINARY;
    void *frame = malloc(size);
    struct pen_container_kernel *grown = realloc(container->kernels, (container->kernel_count + 1) * sizeof *grown);
    if (grown)
        container->kernels = grown;
    if (!frame || !grown) {
        free(frame);
        return -PEN_ENOMEM;
    }
    memcpy(frame, at, size);
    container->kernels[container->kernel_count++] = (struct pen_container_kernel){frame, size};
    return 0;
}

static int get_native(struct reader *reader, const struct pen_msg_container *message, struct pen_container *container)
{
    const unsigned char *native = take(reader, message->native_bytes, PEN_LIMIT_PROGRAM);
    if (!native || (message->kernels && !message->native_bytes))
        return -PEN_EBINARY;
    container->native_size = message->native_bytes;
    if (message->native_bytes && !(container->native = malloc(message->native_bytes)))
        return -PEN_ENOMEM;
    if (message->native_bytes)
        memcpy(container->native, native, message->native_bytes);
    int rc = 0;
    for (uint32_t i = 0; !rc && i < message->kernels; i++)
        rc = get_kernel(reader, container);
    return rc ? rc : left(reader) ? -PEN_EBINARY : 0;
}

static int get_container(struct reader *reader, struct pen_container *container)
{
    struct pen_msg_container message;
    /* CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT, _LIBRARY, _EXECUTABLE */
    if (!TAKE_MESSAGE(reader, container, &message) ||
        (message.binary_type != 1 && message.binary_type != 2 && message.binary_type != 4))
        return -PEN_EBINARY;
    container->binary_type = message.binary_type;
    if (!(container->key = strdup(message.key)))
        return -PEN_ENOMEM;
    int rc = get_recipe(reader, 1, &container->recipe);
    return rc ? rc : get_native(reader, &message, container);
}

int pen_container_decode(const void *bytes, size_t size, struct pen_container *out_container)
{
    struct prelude prelude;
    if (size < sizeof prelude || size % 8)
        return -PEN_EBINARY;
    memcpy(&prelude, bytes, sizeof prelude);
    if (memcmp(prelude.magic, PEN_CONTAINER_MAGIC, sizeof prelude.magic) != 0 || prelude.size != size ||
        prelude.checksum != XXH64((const char *)bytes + sizeof prelude, size - sizeof prelude, 0))
        return -PEN_EBINARY;
    unsigned char *copy = malloc(size); /* decoders want frames at multiples of 8 */
    if (!copy)
        return -PEN_ENOMEM;
    memcpy(copy, bytes, size);
    struct reader reader = {.at = copy + sizeof prelude, .end = copy + size};
    struct pen_container container = {0};
    int rc = get_container(&reader, &container);
    pen_scratch_finish(&reader.scratch);
    free(copy);
    if (rc) {
        pen_container_finish(&container);
        return rc;
    }
    *out_container = container;
    return 0;
}

void pen_container_finish(struct pen_container *container)
{
    pen_recipe_unref(container->recipe);
    for (uint32_t i = 0; i < container->kernel_count; i++)
        free(container->kernels[i].frame);
    free(container->kernels);
    free(container->key);
    free(container->native);
    *container = (struct pen_container){0};
}
