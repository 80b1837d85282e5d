/* backend/fake_program.c - the fake's programs: a line of text names a kernel that is built in here.
 *
 *   # a comment         kernel inc(global data)         variable         error MESSAGE
 *
 * Arguments are `global`, `value` (4 bytes) and `local`, in the kernel's own order. `variable` is a word of the
 * program's own. `error` makes the build fail with that message in its log. A native binary is the text behind
 * "FAKE1\n". */
#include "backend/fake.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BINARY_MAGIC "FAKE1\n"
#define MOST_KERNELS 64
#define ALL          UINT64_MAX /* devices */

/* ---- the kernels --------------------------------------------------------------------------------------- */

/* Memory as words, at most `count` of them from `first`. */
static uint32_t *words(struct pen_fake_run *run, uint32_t index, uint64_t *count)
{
    struct pen_backend_memory *memory = run->arguments[index].memory;
    uint64_t held = memory ? memory->size / 4 : 0;

    held = held > run->first ? held - run->first : 0;
    if (*count > held)
        *count = held;
    return memory ? (uint32_t *)(void *)memory->bytes + run->first : NULL;
}

static int run_nop(struct pen_fake_run *run)
{
    (void)run;
    return 0;
}

static int run_inc(struct pen_fake_run *run)
{
    uint64_t count = run->count;
    uint32_t *data = words(run, 0, &count);

    for (uint64_t i = 0; i < count; i++)
        data[i]++;
    return 0;
}

static int run_copy(struct pen_fake_run *run)
{
    uint64_t count = run->count;
    uint32_t *to = words(run, 0, &count), *from = words(run, 1, &count);

    if (count)
        memmove(to, from, count * sizeof *to);
    return 0;
}

/* What comes out tells in which order they ran, and with what. */
static int run_mix(struct pen_fake_run *run)
{
    uint64_t count = run->count;
    uint32_t *to = words(run, 0, &count), *from = words(run, 1, &count);

    for (uint64_t i = 0; i < count; i++)
        to[i] = to[i] * 1664525 + from[i] + run->arguments[2].value;
    return 0;
}

static int run_fill(struct pen_fake_run *run)
{
    uint64_t count = run->count;
    uint32_t *to = words(run, 0, &count);

    for (uint64_t i = 0; i < count; i++)
        to[i] = run->arguments[1].value;
    return 0;
}

static int run_saxpy(struct pen_fake_run *run)
{
    uint64_t count = run->count;
    float *y = (float *)words(run, 0, &count), *x = (float *)words(run, 1, &count), a;

    memcpy(&a, &run->arguments[2].value, sizeof a);
    for (uint64_t i = 0; i < count; i++)
        y[i] += a * x[i];
    return 0;
}

/* data[i] = data[i + 1], cyclic, by way of local memory. */
static int run_rotate(struct pen_fake_run *run)
{
    uint64_t count = run->count;
    uint32_t *data = words(run, 0, &count);

    if (run->arguments[1].local_bytes < count * sizeof *data)
        return -PEN_EDEVRES;
    uint32_t *scratch = malloc(count * sizeof *data + 1);
    if (!scratch)
        return -PEN_ENOMEM;
    memcpy(scratch, data, count * sizeof *data);
    for (uint64_t i = 0; i < count; i++)
        data[i] = scratch[(i + 1) % count];
    free(scratch);
    return 0;
}

/* A kernel that writes where nothing is: the process dies of it. */
static int run_fault(struct pen_fake_run *run)
{
    uint32_t *volatile nowhere = (uint32_t *)(uintptr_t)64;

    *nowhere = (uint32_t)run->count;
    return 0;
}

static int run_sleep(struct pen_fake_run *run)
{
    uint32_t ms = run->arguments[0].value;
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&rest, &rest))
        ;
    return 0;
}

_Atomic bool pen_backend_fake_holds;

static int run_hold(struct pen_fake_run *run)
{
    const struct timespec pause = {.tv_nsec = 100000};

    (void)run;
    while (atomic_load(&pen_backend_fake_holds))
        nanosleep(&pause, NULL);
    return 0;
}

/* As a device's printf: to this process's standard output. */
static int run_print(struct pen_fake_run *run)
{
    char line[64];
    int length = snprintf(line, sizeof line, "fake prints %u\n", run->arguments[0].value);

    return write(STDOUT_FILENO, line, (size_t)length) == length ? 0 : -PEN_EIO;
}

#define GLOBAL PEN_ARGUMENT_KIND_REGION, "uint*"
#define CONST  PEN_ARGUMENT_KIND_REGION, "const uint*"
#define VALUE  PEN_ARGUMENT_KIND_VALUE, "uint"
#define LOCAL  PEN_ARGUMENT_KIND_LOCAL, "uint*"
static const struct pen_fake_builtin builtins[] = {
    {"nop", 0, {{0}}, run_nop},
    {"inc", 1, {{GLOBAL, "data"}}, run_inc},
    {"copy", 2, {{GLOBAL, "to"}, {CONST, "from"}}, run_copy},
    {"mix", 3, {{GLOBAL, "to"}, {CONST, "from"}, {VALUE, "word"}}, run_mix},
    {"fill", 2, {{GLOBAL, "to"}, {VALUE, "word"}}, run_fill},
    {"saxpy", 3, {{GLOBAL, "y"}, {GLOBAL, "x"}, {VALUE, "a"}}, run_saxpy},
    {"rotate", 2, {{GLOBAL, "data"}, {LOCAL, "scratch"}}, run_rotate},
    {"fault", 0, {{0}}, run_fault},
    {"sleep", 1, {{VALUE, "ms"}}, run_sleep},
    {"hold", 0, {{0}}, run_hold},
    {"print", 1, {{VALUE, "number"}}, run_print},
};

static const struct pen_fake_builtin *find_builtin(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++)
        if (strlen(builtins[i].name) == length && !memcmp(builtins[i].name, name, length))
            return &builtins[i];
    return NULL;
}

/* ---- programs ------------------------------------------------------------------------------------------ */

struct pen_backend_program {
    struct pen_backend_domain *domain;
    uint64_t devices; /* that it may be built for, by their indices */
    char *text;
    bool executable;
    const struct pen_fake_builtin *kernels[MOST_KERNELS];
    uint32_t kernel_count;
};

static int make_program(struct pen_backend_domain *domain, uint64_t devices, const void *text, size_t size,
                        struct pen_backend_program **out)
{
    struct pen_backend_program *program = calloc(1, sizeof *program);

    if (!program || !(program->text = calloc(1, size + 1))) {
        free(program);
        return -PEN_ENOMEM;
    }
    memcpy(program->text, text, size);
    program->domain = domain;
    program->devices = devices;
    *out = program;
    return 0;
}

/* -PEN_ENODEV: one of them is not there, or not among `of`. */
static int devices_of(const struct pen_backend_domain *domain, const uint32_t *devices, uint32_t count, uint64_t of,
                      uint64_t *out)
{
    *out = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (devices[i] >= domain->device_count || !(of >> devices[i] & 1))
            return -PEN_ENODEV;
        *out |= UINT64_C(1) << devices[i];
    }
    return 0;
}

int pen_fake_program_create(struct pen_backend_domain *domain, enum pen_program_kind kind, const uint32_t *devices,
                            uint32_t device_count, const void *bytes, size_t size, struct pen_backend_program **out)
{
    size_t magic = sizeof BINARY_MAGIC - 1;
    uint64_t of;
    int rc = pen_fake_fault(PEN_FAKE_PROGRAM, NULL);

    if (rc)
        return rc;
    if (kind == PEN_PROGRAM_KIND_IL)
        return -PEN_EUNSUPPORTED;
    if (kind == PEN_PROGRAM_KIND_SOURCE)
        return make_program(domain, ALL, bytes, size, out);
    if ((rc = devices_of(domain, devices, device_count, ALL, &of)))
        return rc;
    if (size < magic || memcmp(bytes, BINARY_MAGIC, magic) != 0)
        return -PEN_EBINARY;
    return make_program(domain, of, (const char *)bytes + magic, size - magic, out);
}

void pen_fake_program_destroy(struct pen_backend_program *program)
{
    if (!program)
        return;
    free(program->text);
    free(program);
}

int pen_fake_program_constant(struct pen_backend_program *program, uint32_t constant, const void *value, size_t size)
{
    (void)program, (void)constant, (void)value, (void)size;
    return -PEN_EUNSUPPORTED;
}

/* ---- parsing ------------------------------------------------------------------------------------------- */

struct parser {
    struct pen_backend_program *program;
    uint64_t variable_bytes; /* of the program's own */
    char log[256];           /* "" while all is well */
};

static const char *skip(const char *at, const char *end)
{
    while (at < end && isspace((unsigned char)*at))
        at++;
    return at;
}

static size_t word_length(const char *at, const char *end)
{
    const char *from = at;

    while (at < end && (isalnum((unsigned char)*at) || *at == '_' || *at == '.' || *at == '/'))
        at++;
    return (size_t)(at - from);
}

/* "(global data, value n)" against the built-in's own. */
static bool arguments_match(const struct pen_fake_builtin *builtin, const char *at, const char *end)
{
    static const char *const words_of[] = {
        [PEN_ARGUMENT_KIND_VALUE] = "value",
        [PEN_ARGUMENT_KIND_REGION] = "global",
        [PEN_ARGUMENT_KIND_SAMPLER] = "sampler",
        [PEN_ARGUMENT_KIND_LOCAL] = "local",
    };

    if (at == end || *at++ != '(')
        return false;
    for (uint32_t i = 0; i < builtin->argument_count; i++) {
        const char *kind = words_of[builtin->arguments[i].kind];
        at = skip(at, end);
        size_t length = word_length(at, end);
        if (length != strlen(kind) || memcmp(at, kind, length) != 0)
            return false;
        at = skip(at + length, end);
        at = skip(at + word_length(at, end), end);
        if (i + 1 < builtin->argument_count && (at == end || *at++ != ','))
            return false;
    }
    at = skip(at, end);
    return at < end && *at == ')' && skip(at + 1, end) == end;
}

static void parse_kernel(struct parser *parser, const char *at, const char *end, unsigned line)
{
    struct pen_backend_program *program = parser->program;
    size_t length = word_length(at, end);
    const struct pen_fake_builtin *builtin = find_builtin(at, length);

    if (!builtin)
        snprintf(parser->log, sizeof parser->log, "line %u: no kernel %.*s is built in", line, (int)length, at);
    else if (!arguments_match(builtin, at + length, end))
        snprintf(parser->log, sizeof parser->log, "line %u: wrong arguments for %s", line, builtin->name);
    else if (program->kernel_count == MOST_KERNELS)
        snprintf(parser->log, sizeof parser->log, "line %u: more than %d kernels", line, MOST_KERNELS);
    else
        program->kernels[program->kernel_count++] = builtin;
}

static void parse(struct parser *parser, const char *text)
{
    for (unsigned line = 1; *text && !parser->log[0]; line++) {
        const char *end = strchrnul(text, '\n'), *at = skip(text, end);
        size_t length = word_length(at, end);
        const char *rest = skip(at + length, end);
        if (length == 6 && !memcmp(at, "kernel", 6))
            parse_kernel(parser, rest, end, line);
        else if (length == 8 && !memcmp(at, "variable", 8))
            parser->variable_bytes += sizeof(uint32_t);
        else if (at != end && *at != '#')
            snprintf(parser->log, sizeof parser->log, "line %u: %.*s", line, (int)(end - at), at);
        text = *end ? end + 1 : end;
    }
}

/* ---- builds -------------------------------------------------------------------------------------------- */

static int link_text(const struct pen_backend_build *build, uint64_t devices, struct pen_backend_program **out)
{
    size_t size = 1;

    for (uint32_t i = 0; i < build->input_count; i++)
        size += strlen(build->inputs[i]->text) + 1;
    char *text = calloc(1, size);
    if (!text)
        return -PEN_ENOMEM;
    for (uint32_t i = 0; i < build->input_count; i++) {
        strcat(text, build->inputs[i]->text);
        strcat(text, "\n");
    }
    int rc = make_program(build->inputs[0]->domain, devices, text, strlen(text), out);
    free(text);
    return rc;
}

/* What keeps it from being built for the device; NULL: nothing. */
static const char *complaint(const struct parser *parser, uint32_t device)
{
    if (parser->log[0])
        return parser->log;
    return device + 1 == pen_fake.unbuilt ? "nothing can be built for this device" : NULL;
}

int pen_fake_program_build(struct pen_backend_domain *domain, const struct pen_backend_build *build,
                           struct pen_backend_program **out_program, struct pen_build_result *results, char **logs)
{
    struct pen_backend_program *program = build->program;
    bool linking = build->step == PEN_BUILD_STEP_LINK, compiling = build->step == PEN_BUILD_STEP_COMPILE;
    uint64_t allowed = linking ? ALL : program->devices, devices;
    int rc = pen_fake_fault(PEN_FAKE_BUILD, NULL);

    if (!build->device_count || build->device_count > domain->device_count || (linking && !build->input_count))
        return -PEN_EINVAL;
    for (uint32_t i = 0; linking && i < build->input_count; i++)
        allowed &= build->inputs[i]->devices;
    if (!rc)
        rc = devices_of(domain, build->devices, build->device_count, allowed, &devices);
    if (!rc && linking)
        rc = link_text(build, devices, &program);
    if (rc)
        return rc;
    struct parser parser = {.program = program};
    bool failed = false;
    program->kernel_count = 0;
    parse(&parser, program->text);
    for (uint32_t i = 0; i < build->device_count; i++) {
        const char *why = complaint(&parser, build->devices[i]);
        failed |= why != NULL;
        results[i].outcome = why ? PEN_BUILD_OUTCOME_FAILED : PEN_BUILD_OUTCOME_SUCCESS;
        results[i].binary_type = why ? 0 : compiling ? 1 : 4;
        results[i].global_variable_bytes = parser.variable_bytes;
        logs[i] = why ? strdup(why) : NULL;
        results[i].log_bytes = logs[i] ? strlen(logs[i]) : 0;
    }
    program->executable = !failed && !compiling;
    if (linking && failed)
        pen_fake_program_destroy(program);
    else if (linking)
        *out_program = program;
    if (failed)
        return linking ? -PEN_ELINK : compiling ? -PEN_ECOMPILE : -PEN_EBUILD;
    return 0;
}

int pen_fake_program_binary(struct pen_backend_program *program, uint32_t device, void **out_bytes, size_t *out_size)
{
    size_t size = strlen(BINARY_MAGIC) + strlen(program->text);

    if (device >= program->domain->device_count || !program->executable)
        return -PEN_EEXECUTABLE;
    char *bytes = calloc(1, size + 1);
    if (!bytes)
        return -PEN_ENOMEM;
    strcat(strcat(bytes, BINARY_MAGIC), program->text);
    *out_bytes = bytes;
    *out_size = size;
    return 0;
}

int pen_fake_program_kernels(struct pen_backend_program *program, char ***out_names, uint32_t *out_count)
{
    if (!program->executable)
        return -PEN_EEXECUTABLE;
    char **names = calloc(program->kernel_count + 1, sizeof *names);
    if (!names)
        return -PEN_ENOMEM;
    for (uint32_t i = 0; i < program->kernel_count; i++)
        if (!(names[i] = strdup(program->kernels[i]->name))) {
            while (i--)
                free(names[i]);
            free(names);
            return -PEN_ENOMEM;
        }
    *out_names = names;
    *out_count = program->kernel_count;
    return 0;
}

/* ---- kernels ------------------------------------------------------------------------------------------- */

int pen_fake_kernel_create(struct pen_backend_program *program, const char *name, struct pen_backend_kernel **out)
{
    int rc = pen_fake_fault(PEN_FAKE_KERNEL, NULL);

    if (!rc && !program->executable)
        rc = -PEN_EEXECUTABLE;
    for (uint32_t i = 0; !rc && i < program->kernel_count; i++) {
        if (strcmp(program->kernels[i]->name, name) != 0)
            continue;
        struct pen_backend_kernel *kernel = calloc(1, sizeof *kernel);
        if (!kernel)
            return -PEN_ENOMEM;
        kernel->domain = program->domain;
        kernel->builtin = program->kernels[i];
        *out = kernel;
        return 0;
    }
    return rc ? rc : -PEN_EKERNELNAME;
}

void pen_fake_kernel_destroy(struct pen_backend_kernel *kernel)
{
    free(kernel);
}

static int fill_info(const struct pen_backend_kernel *kernel, struct pen_msg_kernel_info *info,
                     struct pen_argument_info *arguments, struct pen_kernel_device_info *devices)
{
    const struct pen_fake_builtin *builtin = kernel->builtin;

    for (uint32_t i = 0; i < builtin->argument_count; i++) {
        bool value = builtin->arguments[i].kind == PEN_ARGUMENT_KIND_VALUE;
        bool local = builtin->arguments[i].kind == PEN_ARGUMENT_KIND_LOCAL;
        bool constant = !strncmp(builtin->arguments[i].type, "const ", strlen("const "));
        arguments[i] = (struct pen_argument_info){
            .kind = builtin->arguments[i].kind,
            .address = value   ? 0x119e
                       : local ? 0x119c
                               : 0x119b, /* CL_KERNEL_ARG_ADDRESS_* */
            .access = 0x11a3,            /* CL_KERNEL_ARG_ACCESS_NONE */
            .known = 1,
            .size = value ? 4 : 0,
            .qualifiers = constant, /* CL_KERNEL_ARG_TYPE_CONST */
            .type_name = strdup(builtin->arguments[i].type + (constant ? strlen("const ") : 0)),
            .name = strdup(builtin->arguments[i].name),
        };
        info->arguments_count = i + 1;
        if (!arguments[i].type_name || !arguments[i].name)
            return -PEN_ENOMEM;
    }
    for (uint32_t i = 0; i < kernel->domain->device_count; i++)
        devices[i] = (struct pen_kernel_device_info){.device = i, .work_group_size = 1024, .preferred_multiple = 1};
    info->devices_count = kernel->domain->device_count;
    return info->name && info->attributes ? 0 : -PEN_ENOMEM;
}

int pen_fake_kernel_info(struct pen_backend_kernel *kernel, struct pen_msg_kernel_info *out_info)
{
    struct pen_argument_info *arguments = calloc(PEN_FAKE_ARGUMENTS, sizeof *arguments);
    struct pen_kernel_device_info *devices = calloc(kernel->domain->device_count, sizeof *devices);
    struct pen_msg_kernel_info info = {
        .name = strdup(kernel->builtin->name),
        .attributes = strdup(""),
        .arguments = arguments,
        .devices = devices,
    };
    int rc = arguments && devices ? fill_info(kernel, &info, arguments, devices) : -PEN_ENOMEM;

    if (rc) {
        pen_backend_kernel_info_free(&info);
        return rc;
    }
    *out_info = info;
    return 0;
}

int pen_fake_kernel_facts(struct pen_backend_kernel *kernel, uint32_t device, const uint64_t local[3],
                          uint32_t dimensions, struct pen_msg_kernel_facts *out)
{
    (void)kernel, (void)device, (void)local, (void)dimensions, (void)out;
    return -PEN_EUNSUPPORTED;
}

int pen_fake_kernel_suggest(struct pen_backend_queue *queue, const struct pen_backend_launch *launch,
                            uint64_t out_local[3])
{
    (void)queue, (void)launch, (void)out_local;
    return -PEN_EUNSUPPORTED;
}

static int set(struct pen_backend_kernel *kernel, uint32_t index, enum pen_argument_kind kind,
               struct pen_fake_value value)
{
    if (index >= kernel->builtin->argument_count)
        return -PEN_EARGINDEX;
    if (kernel->builtin->arguments[index].kind != kind)
        return -PEN_EARGVALUE;
    value.set = true;
    kernel->values[index] = value;
    return 0;
}

int pen_fake_set_value(struct pen_backend_kernel *kernel, uint32_t index, const void *value, size_t size)
{
    struct pen_fake_value made = {0};

    if (size != sizeof made.value)
        return -PEN_EARGSIZE;
    memcpy(&made.value, value, sizeof made.value);
    return set(kernel, index, PEN_ARGUMENT_KIND_VALUE, made);
}

int pen_fake_set_local(struct pen_backend_kernel *kernel, uint32_t index, size_t size)
{
    if (!size)
        return -PEN_EARGSIZE;
    return set(kernel, index, PEN_ARGUMENT_KIND_LOCAL, (struct pen_fake_value){.local_bytes = size});
}

int pen_fake_set_memory(struct pen_backend_kernel *kernel, uint32_t index, struct pen_backend_memory *memory)
{
    return set(kernel, index, PEN_ARGUMENT_KIND_REGION, (struct pen_fake_value){.memory = memory});
}

int pen_fake_set_sampler(struct pen_backend_kernel *kernel, uint32_t index, struct pen_backend_sampler *sampler)
{
    (void)sampler;
    return set(kernel, index, PEN_ARGUMENT_KIND_SAMPLER, (struct pen_fake_value){0});
}
