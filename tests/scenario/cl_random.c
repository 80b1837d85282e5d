/* scenario/cl_random.c - random programs on any platform, beside a model that executes them one operation after the
 * other: the same bytes, and an order that the program can rely on.
 *
 *   cl_random PLATFORM [--seed N] [--count N] [--operations N] [--only LIST] [--repeat N]
 *             [--patience SECONDS] [--tame] [--verbose]
 *
 * PLATFORM: part of a platform's name. --seed: the first program's (1); --count: so many, one seed after the other (1).
 * --operations: how many a program has (by its seed). --only: of these, "0-4,7". --repeat: each so many times (1).
 * --patience: one that takes longer hangs (60). --tame: nothing that PoCL 3.1 does not live through, which is
 * rectangles copied from or to slices. --verbose: programs are printed before they run. Stops at the first that goes
 * wrong. Ends with 0, 1 when one has gone wrong or hung, 77 when there is no such platform. */
#include "random_program.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the fake backend has built in, for real drivers; and as it wants it. */
static const char source[] = "kernel void inc(global uint *data) { data[get_global_id(0)]++; }\n"
                             "kernel void fill(global uint *to, uint word) { to[get_global_id(0)] = word; }\n"
                             "kernel void copy(global uint *to, global uint *from)\n"
                             "{ size_t i = get_global_id(0); to[i] = from[i]; }\n"
                             "kernel void blend(global uint *to, global const uint *from, uint word)\n"
                             "{ size_t i = get_global_id(0); to[i] = to[i] * 1664525u + from[i] + word; }\n";
static const char fake_source[] =
    "kernel inc(global data)\nkernel fill(global to, value word)\n"
    "kernel copy(global to, global from)\nkernel mix(global to, global from, value word)\n";
static const char *const names[] = {"inc", "fill", "copy", "blend"}, *const fake_names[] = {"inc", "fill", "copy",
                                                                                            "mix"};

struct options {
    const char *platform, *only;
    uint32_t seed, count, operations, repeat, patience_s;
    bool tame, verbose;
};

static char hung[64]; /* what is said when the program at hand hangs */

static void on_alarm(int number)
{
    (void)number;
    if (write(STDOUT_FILENO, hung, strlen(hung)) < 0)
        _exit(2);
    _exit(1);
}

static uint32_t number_of(const char *text)
{
    char *end;
    unsigned long number = strtoul(text, &end, 0);
    if (*end || end == text || number > UINT32_MAX) {
        fprintf(stderr, "cl_random: \"%s\" is not a number\n", text);
        exit(2);
    }
    return (uint32_t)number;
}

static struct options parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"seed", 1, NULL, 's'}, {"count", 1, NULL, 'c'},   {"operations", 1, NULL, 'n'},
        {"only", 1, NULL, 'o'}, {"repeat", 1, NULL, 'r'},  {"patience", 1, NULL, 'p'},
        {"tame", 0, NULL, 't'}, {"verbose", 0, NULL, 'v'}, {0}};
    struct options options = {.seed = 1, .count = 1, .repeat = 1, .patience_s = 60};
    for (int which; (which = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (which == '?')
            exit(2);
        uint32_t number = optarg && which != 'o' ? number_of(optarg) : 0;
        options.seed = which == 's' ? number : options.seed;
        options.count = which == 'c' ? number : options.count;
        options.operations = which == 'n' ? number : options.operations;
        options.repeat = which == 'r' ? number : options.repeat;
        options.patience_s = which == 'p' ? number : options.patience_s;
        options.only = which == 'o' ? optarg : options.only;
        options.tame |= which == 't';
        options.verbose |= which == 'v';
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "cl_random: one part of a platform's name is needed\n");
        exit(2);
    }
    options.platform = argv[optind];
    return options;
}

/* "0-4,7"; NULL: all. The operations that open gates and end maps are of every part. */
static struct random_set part_of(const struct random_program *program, const char *only)
{
    struct random_set part = {0};
    uint32_t listed = program->count - 2 * MOST_SLOTS;
    for (uint32_t i = only ? listed : 0; i < program->count; i++)
        random_add(&part, i);
    for (char *end; only && *only; only = *end ? end + 1 : end) {
        unsigned long first = strtoul(only, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
        if ((*end && *end != ',') || first > last || last >= listed) {
            fprintf(stderr, "cl_random: --only %s: there are operations 0 to %u\n", only, listed - 1);
            exit(2);
        }
        for (; first <= last; first++)
            random_add(&part, (uint32_t)first);
    }
    return part;
}

static void tame(const struct random_program *program, struct random_set *part)
{
    for (uint32_t i = 0; i < program->count; i++) {
        const struct random_operation *operation = &program->operations[i];
        if (operation->kind == RANDOM_COPY_RECT &&
            (operation->target >= program->buffer_count || operation->source >= program->buffer_count))
            random_remove(part, i);
    }
}

/* ---- the device ---------------------------------------------------------------------------------------------- */

static void must(cl_int status, const char *call)
{
    if (status == CL_SUCCESS)
        return;
    printf("%s: %d\n", call, status);
    exit(1);
}

/* Ends the program with 77 when there is none. */
static cl_device_id find(const char *part)
{
    cl_platform_id platforms[16];
    cl_uint count = 0;
    clGetPlatformIDs(16, platforms, &count);
    for (cl_uint i = 0; i < count && i < 16; i++) {
        char name[256] = "";
        cl_device_id device;
        clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name, name, NULL);
        if (strstr(name, part) && clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &device, NULL) == CL_SUCCESS)
            return device;
    }
    printf("no platform with a device has \"%s\" in its name\n", part);
    exit(77);
}

static struct random_device open_device(const char *platform)
{
    struct random_device made = {.device = find(platform)};
    char name[64] = "";
    cl_int status;
    clGetDeviceInfo(made.device, CL_DEVICE_NAME, sizeof name, name, NULL);
    bool fake = !strcmp(name, "fake");
    const char *text = fake ? fake_source : source;
    made.context = clCreateContext(NULL, 1, &made.device, NULL, NULL, &status);
    must(status, "clCreateContext");
    cl_program program = clCreateProgramWithSource(made.context, 1, &text, NULL, &status);
    must(status, "clCreateProgramWithSource");
    must(clBuildProgram(program, 1, &made.device, "", NULL, NULL), "clBuildProgram");
    for (int i = 0; i <= RANDOM_MIX; i++) {
        made.kernels[i] = clCreateKernel(program, (fake ? fake_names : names)[i], &status);
        must(status, "clCreateKernel");
    }
    clReleaseProgram(program);
    return made;
}

static void close_device(struct random_device *device)
{
    for (int i = 0; i <= RANDOM_MIX; i++)
        clReleaseKernel(device->kernels[i]);
    clReleaseContext(device->context);
}

/* ---- programs ------------------------------------------------------------------------------------------------ */

static bool run(const struct random_device *device, const struct options *options, uint32_t seed)
{
    static struct random_program program;
    static struct random_step steps[MOST_LISTED];
    random_generate(seed, options->operations, &program);
    struct random_set part = part_of(&program, options->only);
    if (options->tame)
        tame(&program, &part);
    random_plan(&program, &part, steps);
    if (options->verbose)
        random_print(&program, steps);
    snprintf(hung, sizeof hung, "seed %u: hangs, with %u operations\n", seed, program.count - 2 * MOST_SLOTS);
    alarm(options->patience_s);
    for (uint32_t i = 0; i < options->repeat; i++)
        if (!random_execute(device, &program, steps)) {
            printf("seed %u: wrong, with %u operations\n", seed, program.count - 2 * MOST_SLOTS);
            return false;
        }
    alarm(0);
    return true;
}

int main(int argc, char **argv)
{
    struct options options = parse(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGALRM, on_alarm);
    struct random_device device = open_device(options.platform);
    bool right = true;
    for (uint32_t i = 0; right && i < options.count; i++)
        right = run(&device, &options, options.seed + i);
    close_device(&device);
    return right ? 0 : 1;
}
