/* Which devices are offered as one, and what such a one says of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/span.h"

#define DEVICES 5u

enum { UNITS, GROUP, ALIGN, FP, EXTENSIONS, VERSION, PARTS, FORMATS, PROPERTIES };

struct facts {
    uint32_t units, align, version, parts;
    uint64_t group, fp;
    char extensions[64];
    uint32_t formats[4][2];
};

static struct facts facts[DEVICES];
static struct pen_backend_property properties[DEVICES][PROPERTIES];
static struct pen_backend_device devices[DEVICES];

static void set(uint32_t device, uint32_t at, uint32_t key, void *value, size_t size)
{
    properties[device][at] = (struct pen_backend_property){.key = key, .size = (uint32_t)size, .value = value};
}

static void describe(uint32_t i, const char *name, uint32_t units)
{
    struct facts *of = &facts[i];
    of->units = units;
    set(i, UNITS, 0x1002, &of->units, 4);
    set(i, GROUP, 0x1004, &of->group, 8);
    set(i, ALIGN, 0x1019, &of->align, 4);
    set(i, FP, 0x101B, &of->fp, 8);
    set(i, EXTENSIONS, 0x1030, of->extensions, strlen(of->extensions) + 1);
    set(i, VERSION, 0x105E, &of->version, 4);
    set(i, PARTS, 0x1043, &of->parts, 4);
    set(i, FORMATS, PEN_KEY_FORMATS + 1, of->formats, sizeof of->formats);
    devices[i] = (struct pen_backend_device){.domain = (struct pen_backend_domain *)(void *)&devices[i],
                                             .flags = PEN_DEVICE_FLAG_DIRECT | PEN_DEVICE_FLAG_OUT_OF_ORDER,
                                             .compute_units = units,
                                             .memory_bytes = 1000 + i,
                                             .properties = properties[i],
                                             .property_count = PROPERTIES};
    strcpy(devices[i].vendor_name, name);
    strcpy(devices[i].driver, "driver");
}

static const struct pen_backend_property *find(const struct pen_backend_device *device, uint32_t key)
{
    for (uint32_t i = 0; i < device->property_count; i++)
        if (device->properties[i].key == key)
            return &device->properties[i];
    return NULL;
}

static void test_groups(void **state)
{
    (void)state;
    static const char *const names[DEVICES] = {"a", "b", "a", "a", "b"};
    struct pen_worker_options options = {.spans = {{"driver/A", 2}, {"*", 2}}, .span_count = 2};
    struct pen_offer *offers;
    uint32_t count;
    for (uint32_t i = 0; i < DEVICES; i++)
        describe(i, names[i], 1);
    assert_int_equal(pen_offers_make(&options, devices, DEVICES, &offers, &count), 0);
    assert_int_equal(count, 3); /* a a, b b, and an a for itself */
    assert_int_equal(offers[0].member_count, 2);
    assert_ptr_equal(offers[0].members[0], &devices[0]);
    assert_ptr_equal(offers[0].members[1], &devices[2]);
    assert_ptr_equal(offers[1].members[1], &devices[4]);
    assert_int_equal(offers[2].member_count, 0);
    assert_ptr_equal(offers[2].device.domain, devices[3].domain);
    pen_offers_free(offers, count);
    options.span_count = 0;
    assert_int_equal(pen_offers_make(&options, devices, DEVICES, &offers, &count), 0);
    assert_int_equal(count, DEVICES);
    pen_offers_free(offers, count);
    options = (struct pen_worker_options){.spans = {{"a", 1}, {"*", 2}}, .span_count = 2}; /* the first decides */
    assert_int_equal(pen_offers_make(&options, devices, DEVICES, &offers, &count), 0);
    assert_int_equal(count, 4);
    pen_offers_free(offers, count);
    assert_int_equal(pen_offers_make(&options, devices, 0, &offers, &count), 0);
    assert_int_equal(count, 0);
    pen_offers_free(offers, count);
}

/* What holds whichever of the two a command goes to. */
static void test_description(void **state)
{
    (void)state;
    const struct pen_worker_options options = {.spans = {{"*", 2}}, .span_count = 1};
    struct pen_offer *offers;
    uint32_t count;
    facts[0] = (struct facts){.align = 512,
                              .version = 3,
                              .parts = 8,
                              .group = 1024,
                              .fp = 7,
                              .extensions = "a_x b c_y b_z",
                              .formats = {{1, 1}, {2, 2}, {3, 3}, {4, 4}}};
    facts[1] = (struct facts){.align = 1024,
                              .version = 2,
                              .parts = 8,
                              .group = 256,
                              .fp = 14,
                              .extensions = "c_y b_z a b_",
                              .formats = {{4, 4}, {2, 2}, {9, 9}, {8, 8}}};
    describe(0, "first", 4);
    describe(1, "second", 3);
    devices[1].flags = PEN_DEVICE_FLAG_OUT_OF_ORDER;
    devices[1].one_thread = true;
    assert_int_equal(pen_offers_make(&options, devices, 2, &offers, &count), 0);
    assert_int_equal(count, 1);
    const struct pen_backend_device *span = &offers[0].device;
    assert_null(span->domain);
    assert_string_equal(span->vendor_name, "second"); /* the lower version */
    assert_int_equal(span->compute_units, 7);
    assert_int_equal(*(uint32_t *)find(span, 0x1002)->value, 7);
    assert_int_equal(*(uint64_t *)find(span, 0x1004)->value, 256);
    assert_int_equal(*(uint32_t *)find(span, 0x1019)->value, 1024);
    assert_int_equal(*(uint64_t *)find(span, 0x101B)->value, 6);
    const char *extensions = "c_y b_z cl_khr_priority_hints"; /* the last it has by itself */
    assert_string_equal(find(span, 0x1030)->value, extensions);
    assert_int_equal(find(span, 0x1030)->size, strlen(extensions) + 1);
    assert_null(find(span, 0x1043)); /* it cannot be cut */
    const struct pen_backend_property *formats = find(span, PEN_KEY_FORMATS + 1);
    assert_int_equal(formats->size, 16);
    assert_int_equal(((uint32_t *)formats->value)[0], 4);
    assert_int_equal(((uint32_t *)formats->value)[2], 2);
    assert_int_equal(span->flags, PEN_DEVICE_FLAG_OUT_OF_ORDER);
    assert_true(span->one_thread);
    assert_int_equal(span->memory_bytes, 1000);
    assert_string_equal(facts[0].extensions, "a_x b c_y b_z"); /* the members' own stay */
    pen_offers_free(offers, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_groups), cmocka_unit_test(test_description)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
