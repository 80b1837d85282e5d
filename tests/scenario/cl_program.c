/* scenario/cl_program.c - programs on any platform: builds and their logs, headers from the working directory and -I,
 * compile and link, callbacks, binaries there and back. Where a driver is known to differ from the specification the
 * check is made on Penstock alone, and says so. */
#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "program_check.h"

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK(file, "%s", path);
    if (file) {
        fputs(text, file);
        fclose(file);
    }
}

static cl_build_status build_status(cl_program program, cl_device_id device)
{
    cl_build_status status = 99;
    CHECK_OK(clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_STATUS, sizeof status, &status, NULL));
    return status;
}

static cl_program_binary_type binary_type(cl_program program, cl_device_id device)
{
    cl_program_binary_type type = 99;
    CHECK_OK(clGetProgramBuildInfo(program, device, CL_PROGRAM_BINARY_TYPE, sizeof type, &type, NULL));
    return type;
}

/* Builds again. PoCL 3.1 lets go of a released kernel a moment after its last launch is complete. */
static cl_int rebuild(struct cl_setup *s, cl_program program, const char *options)
{
    cl_int status = clBuildProgram(program, 1, s->devices, options, NULL, NULL);
    for (int i = 0; i < 1000 && !s->penstock && status == CL_INVALID_OPERATION; i++) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        status = clBuildProgram(program, 1, s->devices, options, NULL, NULL);
    }
    return status;
}

/* ---- creation and queries ------------------------------------------------------------------------------ */

static void check_creation(struct cl_setup *s)
{
    cl_int status;
    const char *strings[] = {"kernel void k(global int *o)", "{ *o = 7; } XXXX"};
    const size_t lengths[] = {0, 11};
    if (s->penstock) { /* natively PoCL 3.1 crashes */
        CHECK(!clCreateProgramWithSource(NULL, 2, strings, lengths, &status) && status == CL_INVALID_CONTEXT, "%d",
              status);
        CHECK(!clCreateProgramWithSource(s->context, 1, NULL, NULL, &status) && status == CL_INVALID_VALUE, "%d",
              status);
    }
    CHECK(!clCreateProgramWithSource(s->context, 0, strings, NULL, &status) && status == CL_INVALID_VALUE, "%d",
          status);
    cl_program program = clCreateProgramWithSource(s->context, 2, strings, lengths, &status);
    CHECK_OK(status);

    char text[256] = "";
    size_t size = 0;
    cl_uint count = 0;
    cl_context context = NULL;
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_SOURCE, sizeof text, text, &size));
    CHECK(strcmp(text, "kernel void k(global int *o){ *o = 7; }") == 0, "'%s'", text);
    CHECK(size == strlen(text) + 1, "%zu", size);
    CHECK_STATUS(clGetProgramInfo(program, CL_PROGRAM_SOURCE, 3, text, NULL), CL_INVALID_VALUE);
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_REFERENCE_COUNT, sizeof count, &count, NULL));
    CHECK(count == 1, "%u", count);
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_NUM_DEVICES, sizeof count, &count, NULL));
    CHECK(count == 1, "%u", count);
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_CONTEXT, sizeof context, &context, NULL));
    CHECK(context == s->context, "another context");
    CHECK_STATUS(clGetProgramInfo(program, 0x9999, 0, NULL, NULL), CL_INVALID_VALUE);
    CHECK_STATUS(clGetProgramInfo(program, CL_PROGRAM_NUM_KERNELS, sizeof size, &size, NULL),
                 CL_INVALID_PROGRAM_EXECUTABLE);
    cl_bool flag = CL_TRUE;
    if (s->penstock) /* PoCL 3.1 says no before it can know */
        for (cl_program_info name = CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT;
             name <= CL_PROGRAM_SCOPE_GLOBAL_DTORS_PRESENT; name++)
            CHECK_STATUS(clGetProgramInfo(program, name, sizeof flag, &flag, NULL), CL_INVALID_PROGRAM_EXECUTABLE);
    CHECK(build_status(program, s->devices[0]) == CL_BUILD_NONE, "built?");
    CHECK(binary_type(program, s->devices[0]) == CL_PROGRAM_BINARY_TYPE_NONE, "a binary?");
    CHECK(!clCreateKernel(program, "k", &status) && status == CL_INVALID_PROGRAM_EXECUTABLE, "%d", status);

    CHECK_OK(clBuildProgram(program, 0, NULL, "-DX=1", NULL, NULL));
    CHECK(build_status(program, s->devices[0]) == CL_BUILD_SUCCESS, "not built");
    CHECK(binary_type(program, s->devices[0]) == CL_PROGRAM_BINARY_TYPE_EXECUTABLE, "no executable");
    CHECK_OK(clGetProgramBuildInfo(program, s->devices[0], CL_PROGRAM_BUILD_OPTIONS, sizeof text, text, NULL));
    CHECK(strcmp(text, "-DX=1") == 0, "'%s'", text);
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_NUM_KERNELS, sizeof size, &size, NULL));
    CHECK(size == 1, "%zu", size);
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, sizeof text, text, NULL));
    CHECK(strcmp(text, "k") == 0, "'%s'", text);
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_SCOPE_GLOBAL_CTORS_PRESENT, sizeof flag, &flag, NULL));
    CHECK(!flag, "constructors?");
    CHECK(cl_check_run(s, program, "k") == 7, "wrong result");

    CHECK_OK(clRetainProgram(program));
    CHECK_OK(clReleaseProgram(program));
    CHECK_OK(clReleaseProgram(program));
    CHECK_STATUS(clReleaseProgram(NULL), CL_INVALID_PROGRAM);
}

/* ---- builds -------------------------------------------------------------------------------------------- */

static void check_build_errors(struct cl_setup *s)
{
    cl_int status;
    cl_program program = cl_check_program(s->context, "kernel void broken(global int *o) { *o = nonsense_7; }");
    CHECK_STATUS(clBuildProgram(NULL, 0, NULL, "", NULL, NULL), CL_INVALID_PROGRAM);
    CHECK_STATUS(clBuildProgram(program, 1, NULL, "", NULL, NULL), CL_INVALID_VALUE);
    CHECK_STATUS(clBuildProgram(program, 0, s->devices, "", NULL, NULL), CL_INVALID_VALUE);
    CHECK_STATUS(clBuildProgram(program, 0, NULL, "", NULL, &status), CL_INVALID_VALUE);
    CHECK_STATUS(clBuildProgram(program, 1, s->devices, "", NULL, NULL), CL_BUILD_PROGRAM_FAILURE);
    CHECK(build_status(program, s->devices[0]) == CL_BUILD_ERROR, "no error");
    CHECK(strstr(cl_check_log(program, s->devices[0]), "nonsense_7"), "log: %s", cl_check_log(program, s->devices[0]));
    CHECK(!clCreateKernel(program, "broken", &status) && status == CL_INVALID_PROGRAM_EXECUTABLE, "%d", status);
    CHECK_STATUS(clBuildProgram(program, 1, s->devices, "-cl-no-such-option", NULL, NULL), CL_INVALID_BUILD_OPTIONS);
    cl_program empty = cl_check_program(s->context, "");
    CHECK_OK(clBuildProgram(empty, 0, NULL, "", NULL, NULL));
    CHECK_OK(clReleaseProgram(empty));
    /* the same program, made right by an option */
    CHECK_OK(clBuildProgram(program, 1, s->devices, "-D nonsense_7=42", NULL, NULL));
    CHECK(cl_check_run(s, program, "broken") == 42, "wrong result");

    /* with a kernel attached it may not be built again; without, it may */
    cl_kernel kernel = clCreateKernel(program, "broken", &status);
    CHECK_OK(status);
    CHECK_STATUS(clBuildProgram(program, 1, s->devices, "-D nonsense_7=43", NULL, NULL), CL_INVALID_OPERATION);
    CHECK_OK(clReleaseKernel(kernel));
    CHECK_OK(rebuild(s, program, "-D nonsense_7=43"));
    CHECK(cl_check_run(s, program, "broken") == 43, "wrong result");
    CHECK_OK(clReleaseProgram(program));
}

/* Options that no single command has room for, of a build and of a link. */
static void check_long_options(struct cl_setup *s)
{
    cl_program program = cl_check_program(s->context, "kernel void k(global int *o) { *o = M0 + M4999; }");
    const size_t room = 5000 * 20 + 1;
    char *options = malloc(room);
    size_t used = 0;
    for (int i = 0; i < 5000; i++)
        used += (size_t)snprintf(options + used, room - used, "-D M%d=%d ", i, i + 1);
    CHECK(used > 65536, "%zu bytes are not many", used);
    CHECK_OK(clBuildProgram(program, 0, NULL, options, NULL, NULL));
    CHECK(cl_check_run(s, program, "k") == 5001, "wrong result");
    CHECK_OK(rebuild(s, program, "-D M0=1 -D M4999=2"));
    CHECK(cl_check_run(s, program, "k") == 3, "the longer options are still there");
    CHECK_OK(clReleaseProgram(program));
    free(options);
}

/* A kernel whose name is too long for Penstock is not there; the others are. */
static void check_long_names(struct cl_setup *s)
{
    static const size_t lengths[] = {2500, 4096, 5000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char name[5001], source[5200], found[5001] = "";
        cl_int status;
        memset(name, 'n', lengths[i]);
        name[lengths[i]] = 0;
        snprintf(source, sizeof source,
                 "kernel void k(global int *o) { *o = 7; } kernel void %s(global int *o) { *o = 8; }", name);
        cl_program program = cl_check_program(s->context, source);
        CHECK_OK(clBuildProgram(program, 0, NULL, "", NULL, NULL));
        cl_kernel kernel = clCreateKernel(program, name, &status);
        if (kernel) {
            CHECK_OK(clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof found, found, NULL));
            CHECK(strcmp(found, name) == 0, "'%.20s...'", found);
            CHECK_OK(clReleaseKernel(kernel));
        } else {
            const char *log = cl_check_log(program, s->devices[0]);
            CHECK(lengths[i] > 4096 && status == CL_INVALID_KERNEL_NAME, "%zu: %d", lengths[i], status);
            CHECK(strstr(log, "5000 bytes, of at most 4096 (limit NAME)"), "log: %s", log);
        }
        CHECK(cl_check_run(s, program, "k") == 7, "wrong result");
        CHECK_OK(clReleaseProgram(program));
    }
}

static void check_printf(struct cl_setup *s)
{
    cl_program program = cl_check_program(
        s->context, "kernel void say(global int *o) { printf(\"said %d %s\\n\", 42, \"so\"); *o = 1; }");
    char path[] = "/tmp/cl-program-XXXXXX", text[64] = "";
    int saved = dup(1), file = mkstemp(path);
    CHECK_OK(clBuildProgram(program, 0, NULL, "", NULL, NULL));
    fflush(stdout);
    dup2(file, 1);
    CHECK(cl_check_run(s, program, "say") == 1, "wrong result");
    fflush(stdout);
    dup2(saved, 1);
    CHECK(pread(file, text, sizeof text - 1, 0) > 0, "nothing was printed");
    CHECK(strcmp(text, "said 42 so\n") == 0, "'%s'", text);
    close(saved);
    close(file);
    unlink(path);
    CHECK_OK(clReleaseProgram(program));
}

/* ---- headers from this host ---------------------------------------------------------------------------- */

static void check_include(struct cl_setup *s, const char *source, const char *options, cl_int expected)
{
    cl_program program = cl_check_program(s->context, source);
    cl_int status = clBuildProgram(program, 0, NULL, options, NULL, NULL);
    CHECK(status == CL_SUCCESS, "options '%s': %d, %s", options, status, cl_check_log(program, s->devices[0]));
    if (status == CL_SUCCESS) {
        cl_int value = cl_check_run(s, program, "k");
        CHECK(value == expected, "options '%s': %d, not %d", options, value, expected);
    }
    CHECK_OK(clReleaseProgram(program));
}

#define KERNEL "\nkernel void k(global int *o) { *o = VALUE; }\n"

#define MACROS "#define S_(x) #x\n#define S(x) S_(x)\n#define J_(x, y) x##y\n#define J(x, y) J_(x, y)\n"

/* Every way to name the header in which VALUE is 1. By way of /proc it has a path that no other process can open. */
static void check_ways_to_include(struct cl_setup *s)
{
    static const char *const ways[][2] = {
        {"#include \"empty/../here.h\"", ""},
        {"#include \"../here.h\"", "-I empty"},
        {"%:include \"here.h\"", ""},
        {"#inc\\\nlude \"he\\\nre.h\"", ""},
        {"#define A \"here.h\"\n#define B A\n#include B", ""},
        {"#define M(x) <x>\n#include M(here.h)", ""},
        {"#define S_(x) #x\n#define S(x) S_(x)\n#include S(here.h)", ""},
        {"#define S(...) #__VA_ARGS__\n#include S(here.h)", ""},
        {"#include H", "-DH=<here.h>"},
        {"#define S_(x) #x\n#define S(x) S_(x)\n#include S(H)", "-D H=here.h"},
        {"#define S_(x) #x\n#define S(x) S_(x)\n#include S(D/value.h)", "-DD=next"},
        {"#define J(x, y) <x##y/value.h>\n#include J(ne, xt)", ""},
        {"#define NEXT \"next/none.h\"\n#include \"next.h\"\n#undef NEXT\n#define NEXT \"here.h\"\n#include \"next.h\"",
         ""},
        {"#if __has_include(\"here.h\")\n#define VALUE 1\n#endif", ""},
        {"#if !__has_include(\"daemons.h\")\n#include \"here.h\"\n#endif", ""},
        {"#include <two.h>", "-I next -I next/two"},
        {"#include \"/proc/self/cwd/here.h\"", ""},
        {"#define A \"/proc/self/cwd/here.h\"\n#include A", ""},
        {"#include A", "-DA=</proc/self/cwd/here.h>"},
        {"#define S_(x) #x\n#define S(x) S_(x)\n#include S(D/value.h)", "-D D=/proc/self/cwd/next"},
        {MACROS "#include S(J(cl, __OPENCL_VERSION__).h)\n#include S(120/J(cl, __LINE__).h)\n#include \"self.h\"",
         "-I version"},
        {MACROS "#include S(/proc/self/cwd/version/__OPENCL_C_VERSION__/J(cl, __IMAGE_SUPPORT__).h)\n"
                "#if !__has_include(S(version/J(cl, __FAST_RELAXED_MATH__).h))\n#error\n#endif",
         "-cl-std=CL1.2 -cl-fast-relaxed-math"},
        {"#define HAS(x) __has_include(x)\n#define HAS_ONE __has_include(\"120/cl1.h\")\n"
         "#if HAS(<120/cl2.h>) && HAS_ONE\n#define VALUE 1\n#endif",
         "-I version"},
    };
    static const int versions[] = {100, 110, 120, 200, 210, 220, 300};
    char source[512], path[64];
    CHECK(mkdir("empty", 0700) == 0 && mkdir("next", 0700) == 0 && mkdir("next/two", 0700) == 0, "mkdir: %d", errno);
    write_file("next.h", "#include NEXT\n");
    write_file("next/none.h", "");
    write_file("next/value.h", "#define VALUE 1\n");
    write_file("next/two.h", "#include_next <two.h>\n");
    write_file("next/two/two.h", "#define VALUE 1\n");
    write_file("self.h", "#ifndef SELF\n#define SELF\n#include __FILE__\n#else\n#define VALUE 1\n#endif\n");
    CHECK(mkdir("version", 0700) == 0 && mkdir("version/120", 0700) == 0, "mkdir: %d", errno);
    write_file("version/cl1.h", "#define VALUE 1\n");
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        snprintf(path, sizeof path, "version/cl%d.h", versions[i]);
        write_file(path, "#define VALUE 1\n");
    }
    for (int line = 1; line < 10; line++) {
        snprintf(path, sizeof path, "version/120/cl%d.h", line);
        write_file(path, "#define VALUE 1\n");
    }
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        snprintf(source, sizeof source, "%s\nkernel void k() { int value = VALUE; }\n", ways[i][0]);
        cl_program program = cl_check_program(s->context, source);
        cl_int status = clBuildProgram(program, 0, NULL, ways[i][1], NULL, NULL);
        CHECK(status == CL_SUCCESS, "%s, options '%s': %d, %s", ways[i][0], ways[i][1], status,
              cl_check_log(program, s->devices[0]));
        CHECK_OK(clReleaseProgram(program));
    }
}

static void check_headers(struct cl_setup *s)
{
    char directory[] = "/tmp/cl-program-XXXXXX", before[4096], options[256], source[256];
    CHECK(mkdtemp(directory) && getcwd(before, sizeof before) && chdir(directory) == 0, "%s", directory);
    CHECK(mkdir("one", 0700) == 0 && mkdir("one/sub", 0700) == 0 && mkdir("a b", 0700) == 0, "mkdir: %d", errno);
    write_file("here.h", "#define VALUE 1\n");
    write_file("one/one.h", "#include \"sub/two.h\"\n");
    write_file("one/sub/two.h", "#include \"../three.h\"\n");
    write_file("one/three.h", "#define VALUE 3\n");
    write_file("a b/space.h", "#define VALUE 4\n");
    write_file("one/up.h", "#include \"../here.h\"\n");

    check_include(s, "#include \"here.h\"" KERNEL, "", 1);
    check_include(s, "#include \"one.h\"" KERNEL, "-I one", 3);
    check_include(s, "#include <one.h>" KERNEL, "-Ione -DX", 3);
    check_include(s, "#include \"one/one.h\"" KERNEL, "", 3);
    check_include(s, "#include <up.h>" KERNEL, "-I one", 1);
    snprintf(options, sizeof options, "-I %s/one", directory);
    check_include(s, "#include <one.h>" KERNEL, options, 3);
    if (s->penstock) { /* PoCL 3.1 takes no spaces, in whatever quotes */
        check_include(s, "#include <space.h>" KERNEL, "-I\"a b\"", 4);
        check_include(s, "#include <space.h>" KERNEL, "-w -I \"a b\"", 4);
        snprintf(options, sizeof options, "-I\"%s/a b\"", directory);
        check_include(s, "#include <space.h>" KERNEL, options, 4);
    }
    snprintf(source, sizeof source, "#include \"%s/one/one.h\"" KERNEL, directory);
    check_include(s, source, "", 3);
    check_ways_to_include(s);
    /* the file as it is when it is built, not as it was */
    cl_program program = cl_check_program(s->context, "#include \"here.h\"" KERNEL);
    CHECK_OK(clBuildProgram(program, 0, NULL, "", NULL, NULL));
    CHECK(cl_check_run(s, program, "k") == 1, "wrong result");
    write_file("here.h", "#define VALUE 100\n");
    CHECK_OK(rebuild(s, program, ""));
    CHECK(cl_check_run(s, program, "k") == 100, "an old header");
    CHECK_OK(clReleaseProgram(program));
    program = cl_check_program(s->context, "#include \"missing.h\"" KERNEL);
    CHECK_STATUS(clBuildProgram(program, 0, NULL, "", NULL, NULL), CL_BUILD_PROGRAM_FAILURE);
    CHECK(strstr(cl_check_log(program, s->devices[0]), "missing.h"), "log: %s", cl_check_log(program, s->devices[0]));
    CHECK_OK(clReleaseProgram(program));

    snprintf(options, sizeof options, "rm -rf %s", directory);
    CHECK(chdir(before) == 0 && system(options) == 0, "cannot clean up");
}

/* ---- compile, link -------------------------------------------------------------------------------------- */

/* Inputs of a link that are no program, or another context's. */
static void check_foreign_inputs(struct cl_setup *s, cl_program compiled)
{
    cl_int status;
    cl_context context = clCreateContext(NULL, 1, s->devices, NULL, NULL, &status);
    CHECK_OK(status);
    cl_program other = cl_check_program(context, "int other(int x) { return x; }");
    CHECK_OK(clCompileProgram(other, 1, s->devices, "", 0, NULL, NULL, NULL, NULL));
    cl_program inputs[2] = {compiled, other};
    CHECK(!clLinkProgram(s->context, 1, s->devices, "", 2, inputs, NULL, NULL, &status) && status == CL_INVALID_CONTEXT,
          "%d", status);
    inputs[0] = NULL;
    CHECK(!clLinkProgram(s->context, 1, s->devices, "", 2, inputs, NULL, NULL, &status) && status == CL_INVALID_PROGRAM,
          "%d", status);
    CHECK_OK(clReleaseProgram(other));
    CHECK_OK(clReleaseContext(context));
}

static void check_compile_and_link(struct cl_setup *s)
{
    cl_int status;
    cl_device_id device = s->devices[0];
    cl_program main_program =
        cl_check_program(s->context, "#include \"dir/api.h\"\nkernel void k(global int *o) { *o = helper(VALUE); }");
    cl_program helper = cl_check_program(s->context, "int helper(int x) { return x * 2; }");
    cl_program headers[2] = {cl_check_program(s->context, "#include \"value.h\"\nint helper(int x);\n"),
                             cl_check_program(s->context, "#define VALUE 21\n")};
    const char *names[] = {"dir/api.h", "dir/value.h"};

    if (s->penstock) { /* natively PoCL 3.1 crashes */
        CHECK_STATUS(clCompileProgram(main_program, 1, &device, "", 1, NULL, names, NULL, NULL), CL_INVALID_VALUE);
        CHECK_STATUS(clCompileProgram(main_program, 1, &device, "", 0, headers, NULL, NULL, NULL), CL_INVALID_VALUE);
    }
    status = clCompileProgram(main_program, 1, &device, "", 0, NULL, NULL, NULL, NULL);
    CHECK(status == CL_COMPILE_PROGRAM_FAILURE, "%d", status);
    status = clCompileProgram(main_program, 1, &device, "", 2, headers, names, NULL, NULL);
    CHECK(status == CL_SUCCESS, "%d, %s", status, cl_check_log(main_program, device));
    CHECK(binary_type(main_program, device) == CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT, "no object");
    CHECK(!clCreateKernel(main_program, "k", &status) &&
              (status == CL_INVALID_PROGRAM_EXECUTABLE || !s->penstock), /* PoCL: CL_INVALID_KERNEL_NAME */
          "%d", status);

    cl_program inputs[2] = {main_program, helper};
    if (s->penstock) /* natively PoCL 3.1 crashes */
        CHECK(!clLinkProgram(s->context, 1, &device, "", 2, inputs, NULL, NULL, &status) &&
                  status == CL_INVALID_OPERATION,
              "a link with what was not compiled: %d", status);
    CHECK(!clLinkProgram(s->context, 1, &device, "", 0, NULL, NULL, NULL, &status) && status == CL_INVALID_VALUE, "%d",
          status);
    CHECK(!clLinkProgram(NULL, 1, &device, "", 2, inputs, NULL, NULL, &status) && status == CL_INVALID_CONTEXT, "%d",
          status);
    CHECK_OK(clCompileProgram(helper, 1, &device, "", 0, NULL, NULL, NULL, NULL));
    if (s->penstock) /* PoCL does not look at what is given */
        check_foreign_inputs(s, helper);
    cl_program linked = clLinkProgram(s->context, 1, &device, "", 2, inputs, NULL, NULL, &status);
    CHECK(status == CL_SUCCESS && linked, "%d, %s", status, linked ? cl_check_log(linked, device) : "");
    CHECK(binary_type(linked, device) == CL_PROGRAM_BINARY_TYPE_EXECUTABLE, "no executable");
    CHECK(cl_check_run(s, linked, "k") == 42, "wrong result");

    /* by way of a library */
    cl_program library = clLinkProgram(s->context, 1, &device, "-create-library", 1, &helper, NULL, NULL, &status);
    CHECK_OK(status);
    CHECK(binary_type(library, device) == CL_PROGRAM_BINARY_TYPE_LIBRARY, "no library");
    inputs[1] = library;
    cl_program again = clLinkProgram(s->context, 1, &device, "", 2, inputs, NULL, NULL, &status);
    CHECK(status == CL_SUCCESS && again, "%d", status);
    CHECK(cl_check_run(s, again, "k") == 42, "wrong result");
    if (s->penstock) /* PoCL does something */
        CHECK_STATUS(clBuildProgram(again, 1, &device, "", NULL, NULL), CL_INVALID_OPERATION);

    if (s->penstock) { /* natively PoCL gives no program for a failed link */
        cl_program failed = clLinkProgram(s->context, 1, &device, "", 1, &main_program, NULL, NULL, &status);
        CHECK(status == CL_LINK_PROGRAM_FAILURE && failed, "%d", status);
        CHECK(build_status(failed, device) == CL_BUILD_ERROR, "no error");
        CHECK_OK(clReleaseProgram(failed));
    }
    cl_program all[] = {main_program, helper, headers[0], headers[1], linked, library, again};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        CHECK_OK(clReleaseProgram(all[i]));
}

/* ---- callbacks ------------------------------------------------------------------------------------------ */

struct called {
    cl_program program;
    cl_device_id device;
    cl_build_status status;
    _Atomic int times; /* written last (release), read first (acquire) */
};

static void CL_CALLBACK note(cl_program program, void *user)
{
    struct called *called = user;
    cl_build_status status = 99;
    called->program = program;
    clGetProgramBuildInfo(program, called->device, CL_PROGRAM_BUILD_STATUS, sizeof status, &status, NULL);
    called->status = status;
    atomic_fetch_add(&called->times, 1);
}

static void wait_for(struct called *called)
{
    for (int i = 0; i < 10000 && !atomic_load(&called->times); i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    int times = atomic_load(&called->times);
    CHECK(times == 1, "called %d times", times);
}

static void check_callbacks(struct cl_setup *s)
{
    struct called called = {.device = s->devices[0]};
    cl_program program = cl_check_program(s->context, "kernel void k(global int *o) { *o = 5; }");
    CHECK_OK(clBuildProgram(program, 0, NULL, "-DCALLBACK", note, &called));
    wait_for(&called);
    CHECK(called.program == program && called.status == CL_BUILD_SUCCESS, "status %d", called.status);
    CHECK(cl_check_run(s, program, "k") == 5, "wrong result");
    CHECK_OK(clReleaseProgram(program));

    called = (struct called){.device = s->devices[0]};
    program = cl_check_program(s->context, "kernel void k(global int *o) { *o = nonsense_8; }");
    cl_int status = clBuildProgram(program, 0, NULL, "", note, &called);
    CHECK(status == CL_SUCCESS || status == CL_BUILD_PROGRAM_FAILURE, "%d", status); /* PoCL builds before it returns */
    wait_for(&called);
    CHECK(called.status == CL_BUILD_ERROR, "status %d", called.status);
    CHECK_OK(clReleaseProgram(program));
}

/* ---- binaries ------------------------------------------------------------------------------------------- */

/* malloc'ed */
static unsigned char *get_binary(cl_program program, size_t *out_size)
{
    *out_size = 0;
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof *out_size, out_size, NULL));
    CHECK(*out_size > 0, "no binary");
    unsigned char *bytes = calloc(1, *out_size + 1);
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL));
    return bytes;
}

static cl_program from_binary(struct cl_setup *s, const unsigned char *bytes, size_t size, cl_int expected)
{
    cl_int status = 99, each = 99;
    cl_program program = clCreateProgramWithBinary(s->context, 1, s->devices, &size, &bytes, &each, &status);
    CHECK(status == expected, "%d, not %d", status, expected);
    if (expected == CL_SUCCESS || expected == CL_INVALID_BINARY)
        CHECK(each == expected, "binary_status %d, not %d", each, expected);
    CHECK((program != NULL) == (expected == CL_SUCCESS), "program %p", (void *)program);
    return program;
}

static void check_binaries(struct cl_setup *s)
{
    cl_int status;
    size_t size, size_again;
    char directory[] = "/tmp/cl-program-XXXXXX", before[4096], command[64];
    CHECK(mkdtemp(directory) && getcwd(before, sizeof before) && chdir(directory) == 0, "%s", directory);
    write_file("v.h", "#define V 40\n");
    cl_program program = cl_check_program(s->context, "#include \"v.h\"\nkernel void k(global int *o) { *o = V + W; }");
    CHECK_OK(clBuildProgram(program, 0, NULL, "-D W=2", NULL, NULL));
    unsigned char *bytes = get_binary(program, &size), *again = get_binary(program, &size_again);
    CHECK(size == size_again && memcmp(bytes, again, size) == 0, "another binary the second time");
    free(again);
    CHECK_OK(clReleaseProgram(program));
    CHECK(unlink("v.h") == 0, "unlink: %d", errno); /* the binary is complete without it */
    snprintf(command, sizeof command, "rm -rf %s", directory);
    CHECK(chdir(before) == 0 && system(command) == 0, "cannot clean up");

    program = from_binary(s, bytes, size, CL_SUCCESS);
    CHECK(!clCreateKernel(program, "k", &status) && status == CL_INVALID_PROGRAM_EXECUTABLE, "%d", status);
    CHECK_STATUS(clCompileProgram(program, 0, NULL, "", 0, NULL, NULL, NULL, NULL), CL_INVALID_OPERATION);
    status = clBuildProgram(program, 0, NULL, "", NULL, NULL);
    CHECK(status == CL_SUCCESS, "%d, %s", status, cl_check_log(program, s->devices[0]));
    CHECK(cl_check_run(s, program, "k") == 42, "wrong result");
    cl_kernel kernel = clCreateKernel(program, "k", &status);
    CHECK_OK(status);
    CHECK_STATUS(clGetKernelArgInfo(kernel, 0, CL_KERNEL_ARG_NAME, 0, NULL, NULL), CL_KERNEL_ARG_INFO_NOT_AVAILABLE);
    if (s->penstock) /* but the binary knows what the argument is; natively this is a crash */
        CHECK_STATUS(clSetKernelArg(kernel, 0, sizeof s->context, &s->context), CL_INVALID_MEM_OBJECT);
    CHECK_OK(clReleaseKernel(kernel));
    again = get_binary(program, &size_again);
    free(again);
    CHECK_OK(clReleaseProgram(program));

    if (s->penstock) { /* natively, other errors and crashes are seen */
        for (size_t cut = 1; cut < size; cut += 1 + size / 37)
            from_binary(s, bytes, size - cut, CL_INVALID_BINARY);
        bytes[size / 2] ^= 1;
        from_binary(s, bytes, size, CL_INVALID_BINARY);
        bytes[size / 2] ^= 1;
    }
    from_binary(s, (const unsigned char *)"no binary at all", 16, CL_INVALID_BINARY);
    from_binary(s, bytes, 0, CL_INVALID_VALUE);
    from_binary(s, NULL, size, CL_INVALID_VALUE);
    free(bytes);
}

/* A compiled object and a library survive as binaries. */
static void check_object_binaries(struct cl_setup *s)
{
    cl_int status;
    size_t size;
    cl_device_id device = s->devices[0];
    cl_program object = cl_check_program(s->context, "int twice(int x) { return x * 2; }");
    cl_program user = cl_check_program(s->context, "int twice(int);\nkernel void k(global int *o) { *o = twice(21); }");
    CHECK_OK(clCompileProgram(object, 1, &device, "", 0, NULL, NULL, NULL, NULL));
    CHECK_OK(clCompileProgram(user, 1, &device, "", 0, NULL, NULL, NULL, NULL));
    unsigned char *bytes = get_binary(object, &size);
    cl_program loaded = from_binary(s, bytes, size, CL_SUCCESS);
    free(bytes);
    CHECK(binary_type(loaded, device) == CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT, "no object");
    cl_program library = clLinkProgram(s->context, 1, &device, "-create-library", 1, &loaded, NULL, NULL, &status);
    CHECK_OK(status);
    bytes = get_binary(library, &size);
    cl_program loaded_library = from_binary(s, bytes, size, CL_SUCCESS);
    free(bytes);
    CHECK(binary_type(loaded_library, device) == CL_PROGRAM_BINARY_TYPE_LIBRARY, "no library");
    cl_program inputs[] = {user, loaded_library};
    cl_program linked = clLinkProgram(s->context, 1, &device, "", 2, inputs, NULL, NULL, &status);
    CHECK_OK(status);
    bytes = get_binary(linked, &size);
    cl_program loaded_linked = from_binary(s, bytes, size, CL_SUCCESS);
    free(bytes);
    CHECK(binary_type(loaded_linked, device) == CL_PROGRAM_BINARY_TYPE_EXECUTABLE, "no executable");
    CHECK_OK(clBuildProgram(loaded_linked, 1, &device, "", NULL, NULL));
    CHECK(cl_check_run(s, loaded_linked, "k") == 42, "wrong result");
    cl_program all[] = {object, user, loaded, library, loaded_library, linked, loaded_linked};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        CHECK_OK(clReleaseProgram(all[i]));
}

/* ---- two devices ---------------------------------------------------------------------------------------- */

/* Builds for the second device, then for the first; both then run it, and give 1. */
static void build_one_by_one(struct cl_setup *s, cl_context context, cl_program program)
{
    cl_int status;
    CHECK_OK(clBuildProgram(program, 1, &s->devices[1], "", NULL, NULL));
    CHECK(build_status(program, s->devices[0]) == CL_BUILD_NONE, "built for the other");
    CHECK(build_status(program, s->devices[1]) == CL_BUILD_SUCCESS, "not built");
    CHECK_OK(clBuildProgram(program, 1, &s->devices[0], "", NULL, NULL));
    CHECK(build_status(program, s->devices[1]) == CL_BUILD_SUCCESS, "lost");
    for (int i = 0; i < 2; i++) {
        struct cl_setup one = {.context = context, .devices = {s->devices[i]}};
        one.queue = clCreateCommandQueue(context, s->devices[i], 0, &status);
        CHECK_OK(status);
        CHECK(cl_check_run(&one, program, "k") == 1, "wrong result on device %d", i);
        CHECK_OK(clReleaseCommandQueue(one.queue));
    }
}

/* By its absolute path, so that the worker gets another text. */
static void check_devices_with_header(struct cl_setup *s, cl_context context)
{
    char path[] = "/tmp/cl-program-XXXXXX", source[256];
    int file = mkstemp(path);
    CHECK(file >= 0, "%s", path);
    close(file);
    write_file(path, "#define VALUE 1\n");
    snprintf(source, sizeof source, "#include \"%s\"" KERNEL, path);
    cl_program program = cl_check_program(context, source);
    build_one_by_one(s, context, program);
    CHECK_OK(clReleaseProgram(program));
    unlink(path);
}

/* A kernel that is not the same function on all devices cannot be created; the others can. */
static void check_definitions(struct cl_setup *s, cl_context context)
{
    cl_program program = cl_check_program(context, "kernel void same(global int *o) { *o = 1; }\n"
                                                   "#ifdef MORE\n"
                                                   "kernel void other(global int *o, int n) { *o = n; }\n"
                                                   "#else\n"
                                                   "kernel void other(global int *o) { *o = 2; }\n"
                                                   "#endif\n");
    cl_kernel kernels[2] = {NULL};
    cl_uint count = 0;
    size_t size = 0;
    char names[64] = "";
    cl_int status;
    CHECK_OK(clBuildProgram(program, 1, &s->devices[0], "", NULL, NULL));
    CHECK_OK(clBuildProgram(program, 1, &s->devices[1], "-DMORE", NULL, NULL));
    CHECK(!clCreateKernel(program, "other", &status) && status == CL_INVALID_KERNEL_DEFINITION, "%d", status);
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_NUM_KERNELS, sizeof size, &size, NULL));
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, sizeof names, names, NULL));
    CHECK(size == 1 && !strcmp(names, "same"), "%zu kernels, %s", size, names);
    CHECK_OK(clCreateKernelsInProgram(program, 2, kernels, &count));
    CHECK(count == 1 && kernels[0] && !kernels[1], "%u kernels", count);
    CHECK_OK(clReleaseKernel(kernels[0]));
    CHECK_OK(clBuildProgram(program, 1, &s->devices[1], "", NULL, NULL));
    kernels[0] = clCreateKernel(program, "other", &status);
    CHECK_OK(status);
    CHECK_OK(clReleaseKernel(kernels[0]));
    CHECK_OK(clReleaseProgram(program));
}

/* Kernel k of the program on each of the two devices: what it wrote. */
static void check_runs(struct cl_setup *s, cl_context context, cl_program program, cl_int first, cl_int second)
{
    cl_int status, expected[2] = {first, second};
    for (int i = 0; i < 2; i++) {
        struct cl_setup one = {.context = context, .devices = {s->devices[i]}};
        one.queue = clCreateCommandQueue(context, s->devices[i], 0, &status);
        CHECK_OK(status);
        cl_int value = cl_check_run(&one, program, "k");
        CHECK(value == expected[i], "device %d: %d, not %d", i, value, expected[i]);
        CHECK_OK(clReleaseCommandQueue(one.queue));
    }
}

struct binaries {
    unsigned char *bytes[2]; /* malloc'ed */
    size_t sizes[2];
};

/* A program's, for both devices. */
static struct binaries get_binaries(cl_program program)
{
    struct binaries binaries = {.sizes = {0, 0}};
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof binaries.sizes, binaries.sizes, NULL));
    CHECK(binaries.sizes[0] && binaries.sizes[1], "%zu and %zu", binaries.sizes[0], binaries.sizes[1]);
    for (int i = 0; i < 2; i++)
        binaries.bytes[i] = calloc(1, binaries.sizes[i] + 1);
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binaries.bytes, binaries.bytes, NULL));
    return binaries;
}

static cl_program load_binaries(struct cl_setup *s, cl_context context, struct binaries *binaries)
{
    cl_int status, each[2] = {99, 99};
    cl_program program = clCreateProgramWithBinary(context, 2, s->devices, binaries->sizes,
                                                   (const unsigned char **)binaries->bytes, each, &status);
    CHECK(status == CL_SUCCESS && !each[0] && !each[1], "%d: %d, %d", status, each[0], each[1]);
    return program;
}

static void free_binaries(struct binaries *binaries)
{
    free(binaries->bytes[0]);
    free(binaries->bytes[1]);
}

/* Binaries of what is another program for each device: by its options, or altogether. */
static void check_unlike_binaries(struct cl_setup *s, cl_context context)
{
    const char *source = "kernel void k(global int *o) { *o = V; }\n"
                         "#if V == 2\n"
                         "kernel void other(global int *o, int n) { *o = n; }\n"
                         "#else\n"
                         "kernel void other(global int *o, global int *n) { *o = *n; }\n"
                         "#endif\n";
    cl_program programs[2] = {cl_check_program(context, source),
                              cl_check_program(context, "kernel void k(global int *o) { *o = 3; }")};
    cl_int status;
    CHECK_OK(clBuildProgram(programs[0], 1, &s->devices[0], "-DV=1", NULL, NULL));
    CHECK_OK(clBuildProgram(programs[0], 1, &s->devices[1], "-DV=2", NULL, NULL));
    CHECK_OK(clBuildProgram(programs[1], 0, NULL, "", NULL, NULL));
    struct binaries ones = get_binaries(programs[0]), others = get_binaries(programs[1]);
    cl_program loaded = load_binaries(s, context, &ones);
    for (int i = 0; loaded && i < 3; i++) { /* for both, then for one after the other */
        CHECK_OK(clBuildProgram(loaded, i ? 1 : 0, i ? &s->devices[i - 1] : NULL, "", NULL, NULL));
        check_runs(s, context, loaded, 1, 2);
        CHECK(!clCreateKernel(loaded, "other", &status) && status == CL_INVALID_KERNEL_DEFINITION, "%d", status);
    }
    struct binaries mixed = {{ones.bytes[0], others.bytes[1]}, {ones.sizes[0], others.sizes[1]}};
    cl_program joined = load_binaries(s, context, &mixed);
    if (joined) {
        CHECK_OK(clBuildProgram(joined, 0, NULL, "", NULL, NULL));
        check_runs(s, context, joined, 1, 3);
    }
    free_binaries(&ones);
    free_binaries(&others);
    cl_program all[] = {programs[0], programs[1], loaded, joined};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        CHECK_OK(clReleaseProgram(all[i]));
}

/* Compiled and linked with other options for each device, and so are the binaries of the objects and of the library. */
static void check_unlike_inputs(struct cl_setup *s, cl_context context)
{
    cl_int status;
    cl_program object = cl_check_program(context, "int value(void) { return V; }");
    cl_program user = cl_check_program(context, "int value(void);\nkernel void k(global int *o) { *o = value(); }");
    CHECK_OK(clCompileProgram(object, 1, &s->devices[0], "-DV=1", 0, NULL, NULL, NULL, NULL));
    CHECK_OK(clCompileProgram(object, 1, &s->devices[1], "-DV=2", 0, NULL, NULL, NULL, NULL));
    CHECK_OK(clCompileProgram(user, 0, NULL, "", 0, NULL, NULL, NULL, NULL));
    cl_program library = clLinkProgram(context, 0, NULL, "-create-library", 1, &object, NULL, NULL, &status);
    CHECK_OK(status);
    struct binaries objects = get_binaries(object), libraries = get_binaries(library);
    cl_program inputs[3] = {load_binaries(s, context, &objects), load_binaries(s, context, &libraries), NULL};
    for (int i = 0; i < 2; i++) {
        cl_program linked =
            clLinkProgram(context, 0, NULL, "", 2, (cl_program[]){user, inputs[i]}, NULL, NULL, &status);
        CHECK_OK(status);
        check_runs(s, context, linked, 1, 2);
        CHECK_OK(clReleaseProgram(linked));
    }
    /* the second device's alone */
    inputs[2] = clCreateProgramWithBinary(context, 1, &s->devices[1], &libraries.sizes[1],
                                          (const unsigned char **)&libraries.bytes[1], NULL, &status);
    CHECK_OK(status);
    cl_program linked =
        clLinkProgram(context, 1, &s->devices[1], "", 2, (cl_program[]){user, inputs[2]}, NULL, NULL, &status);
    CHECK_OK(status);
    struct cl_setup one = {.context = context, .devices = {s->devices[1]}};
    one.queue = clCreateCommandQueue(context, s->devices[1], 0, &status);
    cl_int value = cl_check_run(&one, linked, "k");
    CHECK(value == 2, "%d", value);
    CHECK_OK(clReleaseCommandQueue(one.queue));
    free_binaries(&objects);
    free_binaries(&libraries);
    cl_program all[] = {object, user, library, linked, inputs[0], inputs[1], inputs[2]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        CHECK_OK(clReleaseProgram(all[i]));
}

static void check_devices(struct cl_setup *s)
{
    if (s->device_count < 2)
        return;
    cl_int status;
    cl_context context = clCreateContext(NULL, 2, s->devices, NULL, NULL, &status);
    CHECK_OK(status);
    check_devices_with_header(s, context);
    check_definitions(s, context);
    check_unlike_binaries(s, context);
    check_unlike_inputs(s, context);
    cl_program program = cl_check_program(context, "kernel void k(global int *o) { *o = 1; }");
    build_one_by_one(s, context, program);
    size_t sizes[2] = {0, 0};
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof sizes, sizes, NULL));
    CHECK(sizes[0] && sizes[1], "%zu and %zu", sizes[0], sizes[1]);
    unsigned char *bytes[2] = {malloc(sizes[0]), malloc(sizes[1])};
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof bytes, bytes, NULL));
    cl_program loaded =
        clCreateProgramWithBinary(context, 2, s->devices, sizes, (const unsigned char **)bytes, NULL, &status);
    CHECK_OK(status);
    CHECK_OK(clBuildProgram(loaded, 0, NULL, "", NULL, NULL));
    CHECK_OK(clReleaseProgram(loaded));
    free(bytes[0]);
    free(bytes[1]);
    CHECK_OK(clReleaseProgram(program));
    CHECK_OK(clReleaseContext(context));
}

/* What is built for a device runs on its parts. */
static void check_parts(struct cl_setup *s)
{
    const cl_device_partition_property equally[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
    cl_device_id devices[3] = {0};
    cl_uint most = 0;
    cl_int status;
    CHECK_OK(clGetDeviceInfo(s->devices[0], CL_DEVICE_PARTITION_MAX_SUB_DEVICES, sizeof most, &most, NULL));
    if (most != 2)
        return;
    CHECK_OK(clCreateSubDevices(s->devices[0], equally, 2, devices, NULL));
    devices[2] = s->devices[0];
    cl_context context = clCreateContext(NULL, 3, devices, NULL, NULL, &status);
    CHECK_OK(status);
    cl_program program = cl_check_program(context, "kernel void k(global int *o) { *o = 3; }");
    CHECK_OK(clBuildProgram(program, 1, &s->devices[0], "", NULL, NULL));
    for (int i = 0; i < 3; i++) {
        CHECK(build_status(program, devices[i]) == CL_BUILD_SUCCESS, "not built for device %d", i);
        struct cl_setup one = {.context = context, .devices = {devices[i]}};
        one.queue = clCreateCommandQueue(context, devices[i], 0, &status);
        CHECK_OK(status);
        CHECK(cl_check_run(&one, program, "k") == 3, "wrong result on device %d", i);
        CHECK_OK(clReleaseCommandQueue(one.queue));
    }
    CHECK_OK(clReleaseProgram(program));
    CHECK_OK(clReleaseContext(context));
    CHECK_OK(clReleaseDevice(devices[0]));
    CHECK_OK(clReleaseDevice(devices[1]));
}

/* ---- a vendor's own binaries ------------------------------------------------------------------------------ */

#define BINARY_MOST 4194304u

/* What a command prints; malloc'ed. */
static unsigned char *output_of(const char *command, size_t *out_size)
{
    unsigned char *bytes = malloc(BINARY_MOST);
    FILE *from = popen(command, "r");
    *out_size = from && bytes ? fread(bytes, 1, BINARY_MOST, from) : 0;
    CHECK(from && pclose(from) == 0 && *out_size, "%s", command);
    return bytes;
}

/* What PoCL itself gives for a kernel that writes `value`, by a process of its own. */
static unsigned char *vendor_binary(int value, size_t *out_size)
{
    char command[512], self[256] = "";
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0, "no name");
    snprintf(command, sizeof command, "OCL_ICD_VENDORS=/etc/OpenCL/vendors/pocl.icd %s Portable --binary %d", self,
             value);
    return output_of(command, out_size);
}

static int print_binary(struct cl_setup *s, const char *value)
{
    char source[128];
    size_t size;
    snprintf(source, sizeof source, "kernel void k(global int *o) { *o = %s; }", value);
    cl_program program = cl_check_program(s->context, source);
    CHECK_OK(clBuildProgram(program, 0, NULL, "", NULL, NULL));
    unsigned char *bytes = get_binary(program, &size);
    CHECK(fwrite(bytes, 1, size, stdout) == size, "write: %d", errno);
    free(bytes);
    CHECK_OK(clReleaseProgram(program));
    return cl_check_failures != 0;
}

static void run_vendor_binaries(cl_context context, const cl_device_id devices[2])
{
    size_t sizes[2];
    unsigned char *bytes[2] = {vendor_binary(5, &sizes[0]), vendor_binary(6, &sizes[1])};
    cl_int status, statuses[2] = {99, 99};
    cl_program program =
        clCreateProgramWithBinary(context, 2, devices, sizes, (const unsigned char **)bytes, statuses, &status);
    CHECK(status == CL_SUCCESS && !statuses[0] && !statuses[1], "%d: %d, %d", status, statuses[0], statuses[1]);
    for (int i = 0; program && i < 4; i++) { /* for all devices, then for one after the other */
        if (i < 3)
            CHECK_OK(clBuildProgram(program, i == 0 ? 0 : 1, i == 0 ? NULL : &devices[i - 1], "", NULL, NULL));
        struct cl_setup one = {.context = context, .devices = {devices[i % 2]}};
        one.queue = clCreateCommandQueue(context, devices[i % 2], 0, &status);
        CHECK_OK(status);
        CHECK(cl_check_run(&one, program, "k") == 5 + i % 2, "wrong result on device %d", i % 2);
        CHECK_OK(clReleaseCommandQueue(one.queue));
    }
    if (program)
        CHECK_OK(clReleaseProgram(program));
    free(bytes[0]);
    free(bytes[1]);
}

/* One for each of two devices, as from different vendors, where each has its own. */
static void check_vendor_binaries(struct cl_setup *s)
{
    const cl_device_partition_property equally[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
    cl_device_id devices[2] = {s->devices[0], s->devices[1]};
    cl_int status;
    cl_uint most = 0;
    CHECK_OK(clGetDeviceInfo(s->devices[0], CL_DEVICE_PARTITION_MAX_SUB_DEVICES, sizeof most, &most, NULL));
    if (!s->penstock || (s->device_count < 2 && most != 2)) /* natively PoCL's parts have the binary of the whole */
        return;
    if (s->device_count < 2)
        CHECK_OK(clCreateSubDevices(s->devices[0], equally, 2, devices, NULL));
    cl_context context = clCreateContext(NULL, 2, devices, NULL, NULL, &status);
    CHECK_OK(status);
    run_vendor_binaries(context, devices);
    CHECK_OK(clReleaseContext(context));
    for (int i = 0; i < 2 && s->device_count < 2; i++)
        CHECK_OK(clReleaseDevice(devices[i]));
}

/* cl_khr_spir: LLVM's bitcode is built like a text, once and again. */
static void check_spir(struct cl_setup *s)
{
    static const char *const command = "echo 'kernel void k(global int *o) { *o = 7; }' | "
                                       "clang -cl-std=CL1.2 -target spir64 -x cl - -emit-llvm -c -o -";
    char extensions[4096] = "", version[256] = "";
    size_t size;
    cl_int status;
    CHECK_OK(clGetDeviceInfo(s->devices[0], CL_DEVICE_EXTENSIONS, sizeof extensions, extensions, NULL));
    CHECK_OK(clGetDeviceInfo(s->devices[0], CL_DEVICE_VERSION, sizeof version, version, NULL));
    if (!strstr(extensions, "cl_khr_spir")) {
        CHECK(!strstr(version, "PoCL"), "only %s", extensions);
        return;
    }
    unsigned char *bytes = output_of(command, &size);
    cl_program program = from_binary(s, bytes, size, CL_SUCCESS);
    if (s->penstock) /* natively PoCL says none, and Oclgrind an object */
        CHECK(binary_type(program, s->devices[0]) == CL_PROGRAM_BINARY_TYPE_INTERMEDIATE, "no SPIR");
    for (int i = 0; i < 2; i++) {
        status = clBuildProgram(program, 1, s->devices, i ? "-x spir -spir-std=1.2" : "", NULL, NULL);
        CHECK(status == CL_SUCCESS, "%d, %s", status, cl_check_log(program, s->devices[0]));
        CHECK(cl_check_run(s, program, "k") == 7, "wrong result");
    }
    CHECK_OK(clGetProgramInfo(program, CL_PROGRAM_IL, 0, NULL, &size));
    CHECK(size == 0, "%zu bytes of IL", size);
    if (s->penstock)
        CHECK(binary_type(program, s->devices[0]) == CL_PROGRAM_BINARY_TYPE_EXECUTABLE, "no executable");
    unsigned char *built = get_binary(program, &size);
    cl_program loaded = from_binary(s, built, size, CL_SUCCESS);
    CHECK_OK(clBuildProgram(loaded, 0, NULL, "", NULL, NULL));
    CHECK(cl_check_run(s, loaded, "k") == 7, "wrong result");
    CHECK_OK(clReleaseProgram(loaded));
    CHECK_OK(clReleaseProgram(program));
    from_binary(s, (const unsigned char *)"BC\xc0\xde and nothing else", 20, CL_INVALID_BINARY);
    free(bytes);
    free(built);
}

int main(int argc, char **argv)
{
    struct cl_setup setup = cl_check_begin(argc, argv);
    if (argc > 3 && !strcmp(argv[2], "--binary"))
        return print_binary(&setup, argv[3]);
    check_creation(&setup);
    check_build_errors(&setup);
    check_long_options(&setup);
    check_long_names(&setup);
    check_printf(&setup);
    check_headers(&setup);
    check_compile_and_link(&setup);
    check_callbacks(&setup);
    check_binaries(&setup);
    check_object_binaries(&setup);
    check_devices(&setup);
    check_parts(&setup);
    check_vendor_binaries(&setup);
    check_spir(&setup);
    return cl_check_end(&setup);
}
