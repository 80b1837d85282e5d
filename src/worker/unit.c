/* worker/unit.c - a program built for one device, or for several that are the same: found among those kept in this
 * session, in the cache on disk, or made by the driver. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "worker/cache.h"
#include "worker/caches.h"
#include "worker/module.h"
#include "worker/source.h"
#include "worker/work.h"

/* ---- keys --------------------------------------------------------------------------------------------------- */

static void add(XXH3_state_t *state, const void *bytes, uint64_t size)
{
    XXH3_128bits_update(state, &size, sizeof size); /* so that "ab" "c" is not "a" "bc" */
    if (size)
        XXH3_128bits_update(state, bytes, size);
}

static void add_text(XXH3_state_t *state, const char *text)
{
    add(state, text, strlen(text));
}

static bool is_key(const uint64_t key[2])
{
    return key[0] || key[1];
}

static void take_digest(XXH3_state_t *state, uint64_t key[2])
{
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    key[0] = hash.low64;
    key[1] = hash.high64;
}

/* Of all that the application gave. */
static void program_key(struct pen_work_program *program, XXH3_state_t *state)
{
    if (is_key(program->key))
        return;
    uint64_t kind = program->kind;
    XXH3_128bits_reset(state);
    add(state, &kind, sizeof kind);
    for (uint32_t i = 0; i < program->text_count; i++) {
        const struct pen_work_text *text = &program->texts[i];
        uint64_t device = text->device ? text->device->index : 0;
        add(state, &device, sizeof device);
        add(state, text->bytes, text->size);
    }
    for (uint32_t i = 0; i < program->header_count; i++) {
        add_text(state, program->headers[i].name);
        add(state, program->headers[i].bytes, program->headers[i].size);
    }
    for (uint32_t i = 0; i < program->constant_count; i++) {
        add(state, &program->constants[i].id, sizeof program->constants[i].id);
        add(state, program->constants[i].value, program->constants[i].size);
    }
    take_digest(state, program->key);
}

/* `here` names the device in this process, `anywhere` its driver and kind: for the cache on disk. 0, 0: not to be kept.
 */
static void unit_keys(struct pen_work_program *program, const struct pen_work_device *device, enum pen_build_step step,
                      const char *options, uint64_t here[2], uint64_t anywhere[2])
{
    here[0] = here[1] = anywhere[0] = anywhere[1] = 0;
    XXH3_state_t *state = step == PEN_BUILD_STEP_LINK ? NULL : XXH3_createState();
    if (!state)
        return;
    uint64_t number = step;
    program_key(program, state);
    XXH3_128bits_reset(state);
    add(state, program->key, sizeof program->key);
    add(state, &number, sizeof number);
    add_text(state, options);
    add_text(state, device->backend->vendor_name);
    add_text(state, device->backend->driver);
    add_text(state, device->backend->driver_version);
    take_digest(state, anywhere);
    number = device->index;
    add(state, &number, sizeof number);
    take_digest(state, here);
    XXH3_freeState(state);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

void pen_unit_unref(struct pen_work_unit *unit)
{
    if (--unit->refs)
        return;
    if (unit->backend)
        unit->work->ops->program_destroy(unit->backend);
    for (uint32_t i = 0; unit->reads && i < unit->kernel_count; i++)
        free(unit->reads[i]);
    free(unit->reads);
    if (unit->stored) {
        pen_cache_entry_free(unit->stored);
    } else {
        for (uint32_t i = 0; i < unit->kernel_count; i++)
            pen_backend_kernel_info_free(&unit->kernels[i]);
        free(unit->kernels);
    }
    free(unit->log);
    free(unit);
}

const struct pen_msg_kernel_info *pen_unit_kernel(const struct pen_work_unit *unit, const char *name)
{
    for (uint32_t i = 0; i < unit->kernel_count; i++)
        if (!strcmp(unit->kernels[i].name, name))
            return &unit->kernels[i];
    return NULL;
}

const bool *pen_unit_reads(const struct pen_work_unit *unit, const char *name, uint32_t argument_count)
{
    const struct pen_msg_kernel_info *info = pen_unit_kernel(unit, name);
    return info && unit->reads && info->arguments_count == argument_count ? unit->reads[info - unit->kernels] : NULL;
}

void pen_unit_find_reads(struct pen_work_unit *unit, const struct pen_work_program *program, const char *options)
{
    const struct pen_work_text *text = program->texts;
    bool module = program->kind == PEN_PROGRAM_KIND_IL;
    if (program->kind == PEN_PROGRAM_KIND_NATIVE || program->text_count != 1 || !unit->kernel_count ||
        !(unit->reads = calloc(unit->kernel_count, sizeof *unit->reads)))
        return;
    struct pen_source *source = NULL;
    if (!module && strlen((const char *)text->bytes) == text->size)
        source = pen_source_create((const char *)text->bytes, options);
    for (uint32_t i = 0; i < unit->kernel_count; i++) {
        const struct pen_msg_kernel_info *info = &unit->kernels[i];
        uint32_t count = info->arguments_count;
        bool *reads = unit->reads[i] = calloc(count ? count : 1, sizeof *reads);
        if (reads && module)
            pen_module_reads(text->bytes, text->size, info->name, count, reads);
        else if (reads)
            pen_source_reads(source, info->name, count, reads);
    }
    pen_source_destroy(source);
}

struct pen_work_unit *pen_unit_find(struct pen_work_program *program, const struct pen_work_device *device,
                                    enum pen_build_step step, const char *options, uint64_t out_key[2])
{
    struct pen_work *work = program->work;
    uint64_t anywhere[2];
    unit_keys(program, device, step, options, out_key, anywhere);
    for (uint32_t i = 0; i < PEN_WORK_UNITS_KEPT && is_key(out_key); i++) {
        struct pen_work_unit *unit = work->kept[i];
        if (!unit || memcmp(unit->key, out_key, sizeof unit->key) != 0)
            continue;
        unit->refs++;
        atomic_fetch_add_explicit(&work->crash->build_hits, 1, memory_order_relaxed);
        return unit;
    }
    return NULL;
}

void pen_unit_keep(struct pen_work_unit *unit, const uint64_t key[2])
{
    struct pen_work *work = unit->work;
    /* A program's own variables live in the driver's program: two of the application's must not share them. */
    if (!is_key(key) || is_key(unit->key) || unit->status || unit->result.global_variable_bytes)
        return;
    memcpy(unit->key, key, sizeof unit->key);
    struct pen_work_unit **place = &work->kept[work->kept_next++ % PEN_WORK_UNITS_KEPT];
    if (*place)
        pen_unit_unref(*place);
    *place = unit;
    unit->refs++;
}

void pen_unit_forget_all(struct pen_work *work)
{
    for (uint32_t i = 0; i < PEN_WORK_UNITS_KEPT; i++)
        if (work->kept[i])
            pen_unit_unref(work->kept[i]);
    memset(work->kept, 0, sizeof work->kept);
}

/* ---- the driver's part ------------------------------------------------------------------------------------------ */

static bool fits(const struct pen_msg_kernel_info *info)
{
    struct pen_msg_kernel_info most = *info;
    most.devices_count = PEN_LIMIT_DEVICES; /* only counted */
    return pen_msg_kernel_info_size(&most) != 0;
}

static bool blank(const char **text)
{
    char *empty = strdup("");
    if (!empty)
        return false;
    free((void *)(uintptr_t)*text);
    *text = empty;
    return true;
}

/* Types whose names the front end looks at are shorter. */
#define TYPE_NAME_KEPT 32u

/* A description goes out in one frame, with whatever devices it is built for. Very many arguments with very long names
 * go without names: first the arguments', then their types'. */
static int fit_frame(struct pen_msg_kernel_info *info)
{
    struct pen_argument_info *arguments = (struct pen_argument_info *)info->arguments;
    for (uint32_t i = 0; !fits(info) && i < info->arguments_count; i++)
        if (*arguments[i].name && !blank(&arguments[i].name))
            return -PEN_ENOMEM;
    for (uint32_t i = 0; !fits(info) && i < info->arguments_count; i++)
        if (strlen(arguments[i].type_name) > TYPE_NAME_KEPT && !blank(&arguments[i].type_name))
            return -PEN_ENOMEM;
    return fits(info) ? 0 : -PEN_ELIMIT;
}

/* What does not fit into memory is left out. */
__attribute__((format(printf, 2, 3))) static void add_to_log(struct pen_work_unit *unit, const char *format, ...)
{
    char *line, *log;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&line, format, arguments);
    va_end(arguments);
    if (length < 0)
        return;
    if (asprintf(&log, "%s%s", unit->log ? unit->log : "", line) >= 0) {
        free(unit->log);
        unit->log = log;
    }
    free(line);
}

/* Asks the driver for the kernels of an executable. One that it lists and then does not know is left out (Oclgrind,
 * when the kernel calls what it cannot interpret), or whose name is too long to travel: a program finds that out when
 * it creates it, and can use the others.
 */
static int describe_kernels(struct pen_work_unit *unit)
{
    const struct pen_backend_ops *ops = unit->work->ops;
    char **names = NULL;
    uint32_t count = 0;
    if (unit->result.binary_type != 4)
        return 0;
    int rc = ops->program_kernels(unit->backend, &names, &count);
    if (rc)
        return rc;
    if (count > PEN_LIMIT_KERNELS)
        rc = -PEN_ELIMIT;
    else if (count && !(unit->kernels = calloc(count, sizeof *unit->kernels)))
        rc = -PEN_ENOMEM;
    for (uint32_t i = 0; i < count && !rc; i++) {
        struct pen_backend_kernel *kernel;
        if (strlen(names[i]) > PEN_LIMIT_NAME) {
            add_to_log(
                unit, "Penstock: the kernel %.64s... is left out: its name has %zu bytes, of at most %u (limit NAME)\n",
                names[i], strlen(names[i]), PEN_LIMIT_NAME);
            continue;
        }
        rc = ops->kernel_create(unit->backend, names[i], &kernel);
        if (rc == -PEN_EKERNELNAME) {
            rc = 0;
            continue;
        }
        if (rc)
            break;
        rc = ops->kernel_info(kernel, &unit->kernels[unit->kernel_count]);
        ops->kernel_destroy(kernel);
        if (!rc)
            rc = fit_frame(&unit->kernels[unit->kernel_count++]);
    }
    for (uint32_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return rc;
}

/* kernel_info may list every device of the domain: ours first, and alone. */
static void keep_own_device(struct pen_work_unit *unit)
{
    for (uint32_t i = 0; i < unit->kernel_count; i++) {
        struct pen_msg_kernel_info *info = &unit->kernels[i];
        struct pen_kernel_device_info *devices = (struct pen_kernel_device_info *)info->devices;
        for (uint32_t j = 0; j < info->devices_count; j++)
            if (devices[j].device == unit->device->backend->index) {
                devices[0] = devices[j];
                info->devices_count = 1;
                break;
            }
    }
}

static void indices_of(const struct pen_unit_devices *on, uint32_t out[PEN_LIMIT_DEVICES])
{
    for (uint32_t i = 0; i < on->count; i++)
        out[i] = on->devices[i]->backend->index;
}

/* Whose result and log are told: if it has failed, the first's that it failed for. */
static uint32_t telling(int rc, const struct pen_build_result *results, uint32_t count)
{
    for (uint32_t i = 0; i < count && rc; i++)
        if (results[i].outcome != PEN_BUILD_OUTCOME_SUCCESS)
            return i;
    return 0;
}

/* For its devices at once: what comes of the first comes of all, and a failure for any is one for all. */
static int program_build(struct pen_work_unit *unit, struct pen_backend_build *build, const struct pen_unit_devices *on,
                         struct pen_build_result *out_result, char **out_log)
{
    struct pen_backend_program *linked = NULL;
    struct pen_build_result results[PEN_LIMIT_DEVICES] = {{0}};
    char *logs[PEN_LIMIT_DEVICES] = {NULL};
    uint32_t indices[PEN_LIMIT_DEVICES];
    indices_of(on, indices);
    build->devices = indices;
    build->device_count = on->count;
    int rc = unit->work->ops->program_build(unit->device->domain->backend, build, &linked, results, logs);
    uint32_t told = telling(rc, results, on->count);
    *out_result = results[told];
    *out_log = logs[told];
    for (uint32_t i = 0; i < on->count; i++)
        if (i != told)
            free(logs[i]);
    if (linked)
        unit->backend = linked;
    return rc;
}

static int run_driver(struct pen_work_unit *unit, struct pen_backend_build *build, const struct pen_unit_devices *on)
{
    int rc = program_build(unit, build, on, &unit->result, &unit->log);
    if (!rc && !unit->backend)
        rc = -PEN_ELINK;
    if (!rc)
        rc = describe_kernels(unit);
    if (!rc)
        keep_own_device(unit);
    return rc;
}

static int create_backend(struct pen_work_unit *unit, const struct pen_work_program *program,
                          const struct pen_unit_devices *on)
{
    uint32_t indices[PEN_LIMIT_DEVICES];
    const struct pen_backend_ops *ops = unit->work->ops;
    const struct pen_work_text *text = pen_program_text(program, unit->device);
    if (!text)
        return -PEN_EBINARY;
    indices_of(on, indices);
    int rc = ops->program_create(unit->device->domain->backend, program->kind, indices, on->count, text->bytes,
                                 text->size, &unit->backend);
    for (uint32_t i = 0; i < program->constant_count && !rc; i++)
        rc = ops->program_constant(unit->backend, program->constants[i].id, program->constants[i].value,
                                   program->constants[i].size);
    return rc;
}

static int make_from_text(struct pen_work_unit *unit, struct pen_work_program *program, enum pen_build_step step,
                          const char *options, const struct pen_unit_devices *on)
{
    struct pen_headers headers;
    int rc = create_backend(unit, program, on);
    if (!rc)
        rc = pen_headers_place(program, options, &headers);
    if (rc)
        return rc;
    struct pen_backend_build build = {.step = step, .program = unit->backend, .options = headers.options};
    rc = run_driver(unit, &build, on);
    pen_headers_leave(&headers);
    return rc;
}

static int make_by_link(struct pen_work_unit *unit, const char *options, struct pen_work_unit *const *inputs,
                        uint32_t input_count, const struct pen_unit_devices *on)
{
    struct pen_backend_program *programs[PEN_LIMIT_INPUTS];
    for (uint32_t i = 0; i < input_count; i++) {
        if (!inputs[i] || !inputs[i]->backend || inputs[i]->status)
            return -PEN_EEXECUTABLE;
        programs[i] = inputs[i]->backend;
    }
    struct pen_backend_build build = {
        .step = PEN_BUILD_STEP_LINK, .options = options, .inputs = programs, .input_count = input_count};
    return run_driver(unit, &build, on);
}

/* ---- the cache on disk ----------------------------------------------------------------------------------- */

/* PoCL and Mesa keep what they compile in files of their own, which lie in our cache's folder (jail.c); asking PoCL for
 * a binary would compile every kernel for every shape there and then. */
static bool caches_itself(const struct pen_work_device *device)
{
    return strstr(device->backend->driver, "Portable Computing Language") || strstr(device->backend->driver, "rusticl");
}

static bool load(struct pen_work_unit *unit, const uint64_t key[2], const struct pen_unit_devices *on)
{
    struct pen_work *work = unit->work;
    struct pen_cache_entry *entry = is_key(key) && work->config.cache ? pen_cache_get(work->config.cache, key) : NULL;
    if (!entry)
        return false;
    struct pen_build_result result;
    struct pen_backend_build build = {.step = PEN_BUILD_STEP_BUILD, .options = ""};
    uint32_t indices[PEN_LIMIT_DEVICES];
    char *log = NULL;
    indices_of(on, indices);
    int rc = work->ops->program_create(unit->device->domain->backend, PEN_PROGRAM_KIND_NATIVE, indices, on->count,
                                       entry->binary, entry->binary_size, &unit->backend);
    build.program = unit->backend;
    if (!rc)
        rc = program_build(unit, &build, on, &result, &log);
    free(log);
    if (rc || (entry->log && !(unit->log = strdup(entry->log)))) {
        if (unit->backend)
            work->ops->program_destroy(unit->backend);
        unit->backend = NULL;
        pen_cache_entry_free(entry);
        return false;
    }
    unit->result = entry->result;
    unit->kernels = entry->kernels;
    unit->kernel_count = entry->kernel_count;
    unit->stored = entry;
    return true;
}

static void store(const struct pen_work_unit *unit, const uint64_t key[2])
{
    struct pen_work *work = unit->work;
    void *bytes = NULL;
    size_t size = 0;
    if (!is_key(key) || !work->config.cache || unit->status || unit->result.global_variable_bytes)
        return;
    if (work->ops->program_binary(unit->backend, unit->device->backend->index, &bytes, &size))
        return;
    if (!pen_cache_put(work->config.cache, key, bytes, size, unit->log, &unit->result, unit->kernels,
                       unit->kernel_count))
        pen_caches_lack_room(pen_cache_dir(work->config.cache), 1, work->crash);
    free(bytes);
}

/* A driver does not say that it could not write. */
static void complain_of_disk(struct pen_work_unit *unit)
{
    char *line = pen_caches_complain(unit->work->config.tmp_dir);
    if (line)
        add_to_log(unit, "%s", line);
    free(line);
}

int pen_unit_make(struct pen_work_program *program, const struct pen_unit_devices *on, enum pen_build_step step,
                  const char *options, struct pen_work_unit *const *inputs, uint32_t input_count,
                  struct pen_work_unit **out_unit)
{
    struct pen_work *work = program->work;
    struct pen_work_device *device = on->devices[0];
    uint64_t here[2], anywhere[2];
    unit_keys(program, device, step, options, here, anywhere);
    struct pen_work_unit *unit = calloc(1, sizeof *unit);
    if (!unit)
        return -PEN_ENOMEM;
    *unit = (struct pen_work_unit){.work = work, .refs = 1, .device = device};
    bool on_disk = step == PEN_BUILD_STEP_BUILD && program->kind != PEN_PROGRAM_KIND_NATIVE && !caches_itself(device);
    if (on_disk && load(unit, anywhere, on)) {
        atomic_fetch_add_explicit(&work->crash->build_hits, 1, memory_order_relaxed);
    } else {
        unit->status = step == PEN_BUILD_STEP_LINK ? make_by_link(unit, options, inputs, input_count, on)
                                                   : make_from_text(unit, program, step, options, on);
        if (unit->status && unit->result.outcome == PEN_BUILD_OUTCOME_SUCCESS)
            unit->result.outcome = PEN_BUILD_OUTCOME_FAILED;
        if (unit->status)
            complain_of_disk(unit);
        if (on_disk)
            store(unit, anywhere);
    }
    *out_unit = unit;
    return 0;
}
