/* worker/span.c - see span.h. What a spanning device says of itself: what holds whichever of its members a command goes
 * to. Its description is the member's with the lowest version, with the smaller limit, the larger alignment, the
 * features that all have, and the compute units of all. */
#include "worker/span.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Device queries of OpenCL (CL/cl.h) that differ between members in a way that matters. All others are the first's. */
#define MAX_COMPUTE_UNITS    0x1002u
#define EXTENSIONS           0x1030u
#define NUMERIC_VERSION      0x105Eu
#define VERSIONED_EXTENSIONS 0x1060u

enum combine { SMALLER, LARGER, COMMON_BITS, COMMON_WORDS, COMMON_ENTRIES, NONE_LEFT };

struct rule {
    uint32_t first, last;
    enum combine how;
};

static const struct rule rules[] = {
    {0x1004, 0x1005, SMALLER},        /* work-group and work-item sizes */
    {0x100E, 0x1015, SMALLER},        /* image arguments, allocation, image extents */
    {0x1016, 0x1016, COMMON_BITS},    /* images */
    {0x1017, 0x1018, SMALLER},        /* parameters, samplers */
    {0x1019, 0x101A, LARGER},         /* alignments */
    {0x101B, 0x101B, COMMON_BITS},    /* single precision */
    {0x101F, 0x1021, SMALLER},        /* global memory, constants */
    {0x1023, 0x1023, SMALLER},        /* local memory */
    {0x1024, 0x1024, COMMON_BITS},    /* error correction */
    {0x1027, 0x102A, COMMON_BITS},    /* availability, compiler, execution, queues */
    {0x1030, 0x1030, COMMON_WORDS},   /* extensions */
    {0x1032, 0x1033, COMMON_BITS},    /* double and half precision */
    {0x1035, 0x1035, COMMON_BITS},    /* unified memory */
    {0x103E, 0x103E, COMMON_BITS},    /* linker */
    {0x1040, 0x1041, SMALLER},        /* images of buffers, arrays */
    {0x1043, 0x1045, NONE_LEFT},      /* it cannot be cut */
    {0x1049, 0x1049, SMALLER},        /* printf */
    {0x104A, 0x104B, LARGER},         /* alignments of images */
    {0x104C, 0x104C, SMALLER},        /* read-write images */
    {0x105B, 0x105B, COMMON_WORDS},   /* intermediate languages */
    {0x1060, 0x1062, COMMON_ENTRIES}, /* extensions and the like with their versions: in whole entries */
    {0x1063, 0x1065, COMMON_BITS},    /* atomics, work-groups that are not uniform */
    {0x1066, 0x1066, COMMON_ENTRIES}, /* versions of OpenCL C */
    {0x1068, 0x1069, COMMON_BITS},    /* collective functions, generic addresses */
    {0x106F, 0x106F, COMMON_ENTRIES}, /* features of OpenCL C */
    {PEN_KEY_FORMATS, PEN_KEY_FORMATS + 0xFF, COMMON_ENTRIES},
    {PEN_KEY_PARTS, PEN_KEY_PARTS + 0xFF, NONE_LEFT},
};

/* Bytes of a cl_image_format, of a cl_name_version. */
#define FORMAT_BYTES       8u
#define NAME_VERSION_BYTES 68u

static const struct pen_backend_property *find(const struct pen_backend_device *device, uint32_t key)
{
    for (uint32_t i = 0; i < device->property_count; i++)
        if (device->properties[i].key == key)
            return &device->properties[i];
    return NULL;
}

static uint64_t number(const void *bytes, uint32_t size)
{
    uint32_t small;
    uint64_t large;
    if (size == sizeof small) {
        memcpy(&small, bytes, sizeof small);
        return small;
    }
    memcpy(&large, bytes, sizeof large);
    return large;
}

/* Element by element: of 4 bytes, or of 8. */
static void combine_numbers(struct pen_backend_property *into, const struct pen_backend_property *other,
                            enum combine how)
{
    uint32_t width = into->size % 8 ? 4 : 8;
    unsigned char *a = into->value;
    const unsigned char *b = other->value;
    if (other->size != into->size || into->size % width)
        return;
    for (uint32_t at = 0; at < into->size; at += width) {
        uint64_t x = number(a + at, width), y = number(b + at, width);
        bool take = how == SMALLER ? y < x : how == LARGER && y > x;
        if (how == COMMON_BITS)
            for (uint32_t i = 0; i < width; i++)
                a[at + i] &= b[at + i];
        else if (take)
            memcpy(a + at, b + at, width);
    }
}

static bool has_word(const char *text, size_t text_size, const char *word, size_t size)
{
    for (size_t at = 0; at + size <= text_size; at++) {
        bool begins = !at || text[at - 1] == ' ';
        bool ends = at + size == text_size || text[at + size] == ' ' || !text[at + size];
        if (begins && ends && !memcmp(text + at, word, size))
            return true;
    }
    return false;
}

static void combine_words(struct pen_backend_property *into, const struct pen_backend_property *other)
{
    char *text = into->value;
    size_t kept = 0, size = strnlen(text, into->size), their_size = strnlen(other->value, other->size);
    for (size_t at = 0; at < size;) {
        size_t word = strcspn(text + at, " ");
        if (at + word > size)
            word = size - at;
        if (word && has_word(other->value, their_size, text + at, word)) {
            if (kept)
                text[kept++] = ' ';
            memmove(text + kept, text + at, word);
            kept += word;
        }
        at += word + 1;
    }
    if (into->size) {
        text[kept] = 0;
        into->size = (uint32_t)kept + 1;
    }
}

static void combine_entries(struct pen_backend_property *into, const struct pen_backend_property *other)
{
    uint32_t width = into->key >= PEN_KEY_FORMATS ? FORMAT_BYTES : NAME_VERSION_BYTES, kept = 0;
    unsigned char *entries = into->value;
    const unsigned char *theirs = other->value;
    for (uint32_t at = 0; at + width <= into->size; at += width) {
        bool common = false;
        for (uint32_t i = 0; i + width <= other->size && !common; i += width)
            common = !memcmp(entries + at, theirs + i, width);
        if (!common)
            continue;
        memmove(entries + kept, entries + at, width);
        kept += width;
    }
    into->size = kept;
}

static void combine(struct pen_backend_property *into, const struct pen_backend_property *other, enum combine how)
{
    static const struct pen_backend_property nothing = {.value = (void *)(uintptr_t) ""};
    bool list = how == COMMON_WORDS || how == COMMON_ENTRIES;
    if (!other && !list)
        return;
    other = other ? other : &nothing;
    if (how == COMMON_WORDS)
        combine_words(into, other);
    else if (how == COMMON_ENTRIES)
        combine_entries(into, other);
    else
        combine_numbers(into, other, how);
}

static enum combine rule_of(uint32_t key, bool *out_found)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (key >= rules[i].first && key <= rules[i].last) {
            *out_found = true;
            return rules[i].how;
        }
    *out_found = false;
    return SMALLER;
}

static int copy_properties(struct pen_backend_device *device, const struct pen_backend_device *from)
{
    device->property_count = 0;
    device->properties = calloc(from->property_count ? from->property_count : 1, sizeof *device->properties);
    if (!device->properties)
        return -PEN_ENOMEM;
    for (uint32_t i = 0; i < from->property_count; i++) {
        bool found;
        struct pen_backend_property property = from->properties[i];
        if (rule_of(property.key, &found) == NONE_LEFT && found)
            continue;
        property.value = malloc(property.size + 1u);
        if (!property.value)
            return -PEN_ENOMEM;
        memcpy(property.value, from->properties[i].value, property.size);
        device->properties[device->property_count++] = property;
    }
    return 0;
}

static const struct pen_backend_device *lowest_version(const struct pen_offer *offer)
{
    const struct pen_backend_device *lowest = offer->members[0];
    uint64_t version = UINT64_MAX;
    for (uint32_t i = 0; i < offer->member_count; i++) {
        const struct pen_backend_property *its = find(offer->members[i], NUMERIC_VERSION);
        uint64_t number_of = its && its->size == 4 ? number(its->value, 4) : 0;
        if (number_of < version) {
            version = number_of;
            lowest = offer->members[i];
        }
    }
    return lowest;
}

/* More bytes at the end of a property. */
static int append(struct pen_backend_property *property, const void *bytes, uint32_t size)
{
    unsigned char *more = realloc(property->value, property->size + size + 1u);
    if (!more)
        return -PEN_ENOMEM;
    memcpy(more + property->size, bytes, size);
    property->value = more;
    property->size += size;
    return 0;
}

static bool has_entry(const struct pen_backend_property *property, const char *name)
{
    const char *entries = property->value;
    for (uint32_t at = 0; at + NAME_VERSION_BYTES <= property->size; at += NAME_VERSION_BYTES)
        if (!strncmp(entries + at + sizeof(uint32_t), name, NAME_VERSION_BYTES - sizeof(uint32_t)))
            return true;
    return false;
}

/* What it has whatever its members have: priorities are weighed where commands wait for room on all of them. */
static int add_priorities(struct pen_backend_device *device)
{
    static const char name[] = "cl_khr_priority_hints";
    struct {
        uint32_t version;
        char name[NAME_VERSION_BYTES - sizeof(uint32_t)];
    } entry = {1u << 22, "cl_khr_priority_hints"}; /* 1.0.0, as CL_MAKE_VERSION */
    int rc = 0;
    for (uint32_t i = 0; i < device->property_count && !rc; i++) {
        struct pen_backend_property *property = &device->properties[i];
        char *text = property->value;
        size_t size = strnlen(text, property->size);
        if (property->key == EXTENSIONS && !has_word(text, size, name, sizeof name - 1)) {
            property->size = (uint32_t)size;
            rc = size ? append(property, " ", 1) : 0;
            rc = rc ? rc : append(property, name, sizeof name);
        } else if (property->key == VERSIONED_EXTENSIONS && !has_entry(property, name)) {
            rc = append(property, &entry, sizeof entry);
        }
    }
    return rc;
}

/* What all members have in common. */
static int describe(struct pen_offer *offer)
{
    struct pen_backend_device *device = &offer->device;
    const struct pen_backend_device *lowest = lowest_version(offer);
    *device = *lowest;
    device->domain = NULL;
    device->compute_units = 0;
    int rc = copy_properties(device, lowest);
    for (uint32_t m = 0; m < offer->member_count && !rc; m++) {
        const struct pen_backend_device *member = offer->members[m];
        device->compute_units += member->compute_units;
        device->flags &= member->flags;
        device->one_thread |= member->one_thread;
        if (member->memory_bytes < device->memory_bytes)
            device->memory_bytes = member->memory_bytes;
        for (uint32_t i = 0; i < device->property_count && member != lowest; i++) {
            bool found;
            enum combine how = rule_of(device->properties[i].key, &found);
            if (found)
                combine(&device->properties[i], find(member, device->properties[i].key), how);
        }
    }
    for (uint32_t i = 0; i < device->property_count; i++)
        if (device->properties[i].key == MAX_COMPUTE_UNITS && device->properties[i].size == 4)
            memcpy(device->properties[i].value, &device->compute_units, 4);
    return rc ? rc : add_priorities(device);
}

/* ---- groups --------------------------------------------------------------------------------------------------- */

static int rule_for(const struct pen_worker_options *options, const struct pen_backend_device *device)
{
    for (uint32_t i = 0; i < options->span_count; i++)
        if (pen_worker_matches(options->spans[i].pattern, device))
            return (int)i;
    return -1;
}

/* The devices that the one at `at` is offered with, itself first: as many as its rule says, or itself alone. */
static uint32_t group(const struct pen_worker_options *options, const struct pen_backend_device *devices,
                      uint32_t count, uint32_t at, bool *taken, const struct pen_backend_device **out_members)
{
    int rule = rule_for(options, &devices[at]);
    uint32_t wanted = rule < 0 ? 1 : options->spans[rule].count, found = 0;
    uint32_t indices[PEN_LIMIT_DEVICES] = {at};
    for (uint32_t i = at; i < count && found < wanted; i++)
        if (!taken[i] && rule_for(options, &devices[i]) == rule)
            indices[found++] = i;
    if (found < wanted)
        found = 1;
    for (uint32_t i = 0; i < found; i++) {
        taken[indices[i]] = true;
        out_members[i] = &devices[indices[i]];
    }
    return found;
}

static int make_offer(struct pen_offer *offer, const struct pen_backend_device *const *members, uint32_t count)
{
    assert(count && members[0]);
    offer->device = *members[0];
    if (count == 1)
        return 0;
    offer->members = malloc(count * sizeof *offer->members);
    if (!offer->members)
        return -PEN_ENOMEM;
    memcpy(offer->members, members, count * sizeof *offer->members);
    offer->member_count = count;
    return describe(offer);
}

int pen_offers_make(const struct pen_worker_options *options, const struct pen_backend_device *devices, uint32_t count,
                    struct pen_offer **out_offers, uint32_t *out_count)
{
    struct pen_offer *offers = calloc(count ? count : 1, sizeof *offers);
    bool *taken = calloc(count ? count : 1, sizeof *taken);
    uint32_t offer_count = 0;
    int rc = offers && taken ? 0 : -PEN_ENOMEM;
    for (uint32_t i = 0; i < count && !rc; i++) {
        const struct pen_backend_device *members[PEN_LIMIT_DEVICES] = {0};
        if (taken[i])
            continue;
        uint32_t found = group(options, devices, count, i, taken, members);
        rc = make_offer(&offers[offer_count++], members, found);
    }
    free(taken);
    if (rc) {
        pen_offers_free(offers, offer_count);
        return rc;
    }
    *out_offers = offers;
    *out_count = offer_count;
    return 0;
}

void pen_offers_free(struct pen_offer *offers, uint32_t count)
{
    for (uint32_t i = 0; offers && i < count; i++) {
        if (!offers[i].member_count)
            continue;
        for (uint32_t j = 0; j < offers[i].device.property_count; j++)
            free(offers[i].device.properties[j].value);
        free(offers[i].device.properties);
        free(offers[i].members);
    }
    free(offers);
}
