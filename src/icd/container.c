/* icd/container.c - see container.h. A recipe is a record whose content is records; a link's inputs nest. */
#include "icd/container.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/name.h"
#include "penstock-protocol.h"

enum tag {
    TAG_TYPE = 1,
    TAG_RECIPE,
    TAG_KEY,
    TAG_NATIVE,
    TAG_STEP,
    TAG_TEXT,
    TAG_OPTIONS,
    TAG_WIRE_OPTIONS,
    TAG_HEADER,
    TAG_CONSTANT,
    TAG_KERNEL
};

#define PRELUDE 24u

/* ---- writing ----------------------------------------------------------------------------------------- */

struct writer {
    unsigned char *bytes; /* NULL: count only */
    size_t size;
};

static void put(struct writer *writer, const void *bytes, size_t size)
{
    if (writer->bytes && size)
        memcpy(writer->bytes + writer->size, bytes, size);
    writer->size += size;
}

static void put_u32(struct writer *writer, uint32_t value)
{
    unsigned char bytes[4];
    for (unsigned i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    put(writer, bytes, sizeof bytes);
}

static void put_padding(struct writer *writer)
{
    static const unsigned char zeros[8];
    put(writer, zeros, (8 - writer->size % 8) % 8);
}

/* Returns where the length goes, for close_record. */
static size_t open_record(struct writer *writer, enum tag tag)
{
    put_u32(writer, (uint32_t)tag);
    size_t at = writer->size;
    put_u32(writer, 0);
    return at;
}

static void close_record(struct writer *writer, size_t at)
{
    struct writer length = {writer->bytes ? writer->bytes + at : NULL, 0};
    put_u32(&length, (uint32_t)(writer->size - at - 4));
    put_padding(writer);
}

static void put_record(struct writer *writer, enum tag tag, const void *bytes, size_t size)
{
    size_t at = open_record(writer, tag);
    put(writer, bytes, size);
    close_record(writer, at);
}

static void put_recipe(struct writer *writer, const struct pen_recipe *recipe)
{
    size_t record = open_record(writer, TAG_RECIPE);
    size_t at = open_record(writer, TAG_STEP);
    put_u32(writer, recipe->kind);
    put_u32(writer, recipe->step);
    close_record(writer, at);
    put_record(writer, TAG_TEXT, recipe->text, recipe->size);
    put_record(writer, TAG_OPTIONS, recipe->options, strlen(recipe->options));
    put_record(writer, TAG_WIRE_OPTIONS, recipe->wire_options, strlen(recipe->wire_options));
    for (uint32_t i = 0; i < recipe->header_count; i++) {
        at = open_record(writer, TAG_HEADER);
        put(writer, recipe->headers[i].name, strlen(recipe->headers[i].name) + 1);
        put(writer, recipe->headers[i].text, recipe->headers[i].size);
        close_record(writer, at);
    }
    for (uint32_t i = 0; i < recipe->constant_count; i++) {
        at = open_record(writer, TAG_CONSTANT);
        put_u32(writer, recipe->constants[i].id);
        put(writer, recipe->constants[i].value, recipe->constants[i].size);
        close_record(writer, at);
    }
    for (uint32_t i = 0; i < recipe->input_count; i++)
        put_recipe(writer, recipe->inputs[i]);
    close_record(writer, record);
}

static void put_container(struct writer *writer, const struct pen_container *container)
{
    put(writer, PEN_CONTAINER_MAGIC, 8);
    put_u32(writer, 0);
    put_u32(writer, 0);
    put_u32(writer, 0);
    put_u32(writer, 0);
    size_t at = open_record(writer, TAG_TYPE);
    put_u32(writer, container->binary_type);
    close_record(writer, at);
    put_recipe(writer, container->recipe);
    put_record(writer, TAG_KEY, container->key, strlen(container->key));
    if (container->native)
        put_record(writer, TAG_NATIVE, container->native, container->native_size);
    for (uint32_t i = 0; container->native && i < container->kernel_count; i++)
        put_record(writer, TAG_KERNEL, container->kernels[i].frame, container->kernels[i].size);
}

int pen_container_encode(const struct pen_container *container, void **out_bytes, size_t *out_size)
{
    struct writer writer = {0};
    put_container(&writer, container);
    if (writer.size > UINT32_MAX)
        return -PEN_ELIMIT;
    size_t size = writer.size;
    writer = (struct writer){.bytes = malloc(size)};
    if (!writer.bytes)
        return -PEN_ENOMEM;
    put_container(&writer, container);
    uint64_t checksum = XXH64(writer.bytes + PRELUDE, size - PRELUDE, 0);
    struct writer prelude = {writer.bytes + 8, 0};
    put_u32(&prelude, (uint32_t)size);
    put_u32(&prelude, 0);
    put_u32(&prelude, (uint32_t)checksum);
    put_u32(&prelude, (uint32_t)(checksum >> 32));
    *out_bytes = writer.bytes;
    *out_size = size;
    return 0;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

struct reader {
    const unsigned char *at, *end;
};

static uint32_t get_u32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* The next record when it has this tag: moves past it, gives its content. Records begin at multiples of 8. */
static bool take(struct reader *reader, enum tag tag, struct reader *out_content)
{
    if (reader->end - reader->at < 8 || get_u32(reader->at) != (uint32_t)tag)
        return false;
    uint64_t length = get_u32(reader->at + 4), padded = (length + 7) & ~UINT64_C(7);
    if ((uint64_t)(reader->end - reader->at) - 8 < padded)
        return false;
    for (uint64_t i = length; i < padded; i++)
        if (reader->at[8 + i])
            return false;
    *out_content = (struct reader){reader->at + 8, reader->at + 8 + length};
    reader->at += 8 + padded;
    return true;
}

static size_t left(const struct reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

/* A string without a zero byte inside; malloc'ed, NULL when malformed or out of memory. */
static char *get_string(const struct reader *content, size_t limit)
{
    if (left(content) > limit || memchr(content->at, 0, left(content)))
        return NULL;
    return strndup((const char *)content->at, left(content));
}

static int get_header(const struct reader *content, struct pen_recipe *recipe)
{
    const unsigned char *zero = memchr(content->at, 0, left(content));
    if (!zero || zero - content->at > PEN_LIMIT_NAME || recipe->header_count == PEN_LIMIT_HEADERS ||
        !pen_header_name_ok((const char *)content->at) || (size_t)(content->end - zero - 1) > PEN_LIMIT_PROGRAM)
        return -PEN_EBINARY;
    struct pen_recipe_header *grown = realloc(recipe->headers, (recipe->header_count + 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    recipe->headers = grown;
    struct pen_recipe_header header = {.name = strdup((const char *)content->at),
                                       .size = (size_t)(content->end - zero - 1)};
    header.text = malloc(header.size + 1);
    if (!header.name || !header.text) {
        free(header.name);
        free(header.text);
        return -PEN_ENOMEM;
    }
    memcpy(header.text, zero + 1, header.size);
    ((char *)header.text)[header.size] = 0;
    recipe->headers[recipe->header_count++] = header;
    return 0;
}

static int get_constant(const struct reader *content, struct pen_recipe *recipe)
{
    size_t size = left(content);
    if (size < 5 || size > 12 || recipe->constant_count == PEN_LIMIT_ARGUMENTS)
        return -PEN_EBINARY;
    struct pen_recipe_constant *grown = realloc(recipe->constants, (recipe->constant_count + 1) * sizeof *grown);
    if (!grown)
        return -PEN_ENOMEM;
    recipe->constants = grown;
    struct pen_recipe_constant constant = {.id = get_u32(content->at), .size = (uint32_t)size - 4};
    memcpy(constant.value, content->at + 4, size - 4);
    recipe->constants[recipe->constant_count++] = constant;
    return 0;
}

static int get_recipe(const struct reader *content, uint32_t depth, struct pen_recipe **out_recipe);

static int get_input(const struct reader *content, uint32_t depth, struct pen_recipe *recipe)
{
    if (recipe->input_count == PEN_LIMIT_INPUTS)
        return -PEN_EBINARY;
    struct pen_recipe **grown = realloc(recipe->inputs, (recipe->input_count + 1) * sizeof(struct pen_recipe *));
    if (!grown)
        return -PEN_ENOMEM;
    recipe->inputs = grown;
    int rc = get_recipe(content, depth + 1, &recipe->inputs[recipe->input_count]);
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
static int get_recipe_lists(struct reader *reader, uint32_t depth, struct pen_recipe *recipe)
{
    struct reader part;
    int rc = 0;
    while (!rc && take(reader, TAG_HEADER, &part))
        rc = get_header(&part, recipe);
    while (!rc && take(reader, TAG_CONSTANT, &part))
        rc = get_constant(&part, recipe);
    while (!rc && take(reader, TAG_RECIPE, &part))
        rc = get_input(&part, depth, recipe);
    if (rc)
        return rc;
    bool inputs_ok = (recipe->input_count > 0) == (recipe->kind == PEN_RECIPE_LINK);
    return left(reader) == 0 && inputs_ok && kind_and_step_ok(recipe) ? 0 : -PEN_EBINARY;
}

static int get_recipe(const struct reader *content, uint32_t depth, struct pen_recipe **out_recipe)
{
    struct reader reader = *content, step, text, options, wire_options;
    if (depth > PEN_RECIPE_DEPTH || !take(&reader, TAG_STEP, &step) || left(&step) != 8 ||
        !take(&reader, TAG_TEXT, &text) || left(&text) > PEN_LIMIT_PROGRAM || !take(&reader, TAG_OPTIONS, &options) ||
        !take(&reader, TAG_WIRE_OPTIONS, &wire_options))
        return -PEN_EBINARY;
    char *given = get_string(&options, PEN_LIMIT_OPTIONS), *wire = get_string(&wire_options, PEN_LIMIT_OPTIONS);
    struct pen_recipe *recipe = NULL;
    int rc = -PEN_EBINARY;
    if (given && wire) {
        recipe = pen_recipe_create((enum pen_recipe_kind)get_u32(step.at), get_u32(step.at + 4), text.at, left(&text),
                                   given, wire);
        rc = recipe ? get_recipe_lists(&reader, depth, recipe) : -PEN_ENOMEM;
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

/* Decoders want frames at multiples of 8, so it is the copy that is looked at. */
static int get_kernel(const struct reader *content, struct pen_container *container)
{
    size_t size = left(content), frame_size;
    if (size < sizeof(struct pen_frame_header) || size > PEN_LIMIT_FRAME ||
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
    memcpy(frame, content->at, size);
    struct pen_scratch scratch = {0};
    struct pen_msg_kernel_info info;
    int rc = pen_frame_check_header(frame, size, &frame_size);
    if (!rc)
        rc = frame_size == size ? pen_msg_kernel_info_decode(frame, size, &scratch, &info) : -PEN_EBINARY;
    if (!rc && info.devices_count)
        rc = -PEN_EBINARY;
    pen_scratch_finish(&scratch);
    if (rc) {
        free(frame);
        return rc == -PEN_ENOMEM ? rc : -PEN_EBINARY;
    }
    container->kernels[container->kernel_count++] = (struct pen_container_kernel){frame, size};
    return 0;
}

static int get_native(struct reader *reader, struct pen_container *container)
{
    struct reader key, native, kernel;
    if (!take(reader, TAG_KEY, &key) || !(container->key = get_string(&key, PEN_CONTAINER_KEY)))
        return -PEN_EBINARY;
    if (!left(reader))
        return 0;
    if (!take(reader, TAG_NATIVE, &native) || !left(&native) || left(&native) > PEN_LIMIT_PROGRAM)
        return -PEN_EBINARY;
    container->native_size = left(&native);
    container->native = malloc(container->native_size);
    if (!container->native)
        return -PEN_ENOMEM;
    memcpy(container->native, native.at, container->native_size);
    int rc = 0;
    while (!rc && take(reader, TAG_KERNEL, &kernel))
        rc = get_kernel(&kernel, container);
    return rc ? rc : left(reader) ? -PEN_EBINARY : 0;
}

int pen_container_decode(const void *bytes, size_t size, struct pen_container *out_container)
{
    const unsigned char *at = bytes;
    if (size < PRELUDE || memcmp(at, PEN_CONTAINER_MAGIC, 8) != 0 || get_u32(at + 8) != size || get_u32(at + 12) != 0 ||
        (get_u32(at + 16) | (uint64_t)get_u32(at + 20) << 32) != XXH64(at + PRELUDE, size - PRELUDE, 0))
        return -PEN_EBINARY;
    struct reader reader = {at + PRELUDE, at + size}, type, content;
    if (!take(&reader, TAG_TYPE, &type) || left(&type) != 4 || !take(&reader, TAG_RECIPE, &content))
        return -PEN_EBINARY;
    struct pen_container container = {.binary_type = get_u32(type.at)};
    /* CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT, _LIBRARY, _EXECUTABLE */
    if (container.binary_type != 1 && container.binary_type != 2 && container.binary_type != 4)
        return -PEN_EBINARY;
    int rc = get_recipe(&content, 1, &container.recipe);
    if (!rc)
        rc = get_native(&reader, &container);
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
