/* Builds of a program for one device after another, on a session without a worker: what the worker is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "icd/entry.h"
#include "stub_session.h"

static cl_device_id devices[2];
static cl_context context;

static int set_up(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_platform_id platform = NULL;
    if (pen_clGetPlatformIDs(1, &platform, NULL) || pen_clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 2, devices, NULL))
        return 1;
    context = pen_clCreateContext(NULL, 2, devices, NULL, NULL, &error);
    return !context;
}

static int tear_down(void **state)
{
    (void)state;
    int failed = pen_clReleaseContext(context);
    stub_reset();
    return failed;
}

static cl_build_status status_of(cl_program program, int device)
{
    cl_build_status status = 99;
    assert_int_equal(
        pen_clGetProgramBuildInfo(program, devices[device], CL_PROGRAM_BUILD_STATUS, sizeof status, &status, NULL),
        CL_SUCCESS);
    return status;
}

static cl_int build(cl_program program, int device, const char *options)
{
    return pen_clBuildProgram(program, 1, &devices[device], options, NULL, NULL);
}

/* For how many devices the last build was. */
static uint32_t built_for(void)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_program_build message = {0};
    const struct stub_command *last = stub_last(PEN_OP_PROGRAM_BUILD);
    assert_non_null(last);
    assert_int_equal(pen_msg_program_build_decode(last->frame, last->size, &scratch, &message), 0);
    uint32_t count = message.devices_count;
    pen_scratch_finish(&scratch);
    return count;
}

/* ---- specialization constants ---- */

/* One of 32 bits, with SpecId 7. */
static const uint32_t module[] = {
    0x07230203,    0x00010200, 0,  8, 0, /* header */
    4u << 16 | 71, 2,          1,  7,    /* OpDecorate %2 SpecId 7 */
    4u << 16 | 21, 1,          32, 0,    /* %1 = OpTypeInt 32 0 */
    4u << 16 | 50, 1,          2,  0,    /* %2 = OpSpecConstant %1 0 */
};

/* The value of the last constant that was sent. */
static uint32_t constant_sent(void)
{
    struct pen_scratch scratch = {0};
    struct pen_msg_program_constant message = {0};
    uint32_t value = 0;
    const struct stub_command *last = stub_last(PEN_OP_PROGRAM_CONSTANT);
    assert_non_null(last);
    assert_int_equal(pen_msg_program_constant_decode(last->frame, last->size, &scratch, &message), 0);
    assert_int_equal(message.constant, 7);
    assert_int_equal(message.value.size, sizeof value);
    memcpy(&value, message.value.data, sizeof value);
    pen_scratch_finish(&scratch);
    return value;
}

/* A build is made with the constants as they are when it is asked for, for whichever device. */
static void test_constants_of_another_device(void **state)
{
    (void)state;
    cl_int error = 0;
    uint32_t value = 1;
    cl_program program = pen_clCreateProgramWithIL(context, module, sizeof module, &error);
    assert_int_equal(error, CL_SUCCESS);
    assert_int_equal(pen_clSetProgramSpecializationConstant(program, 7, sizeof value, &value), CL_SUCCESS);
    assert_int_equal(build(program, 0, ""), CL_SUCCESS);
    assert_int_equal(constant_sent(), 1);
    value = 2;
    assert_int_equal(pen_clSetProgramSpecializationConstant(program, 7, sizeof value, &value), CL_SUCCESS);
    assert_int_equal(build(program, 1, ""), CL_SUCCESS);
    assert_int_equal(constant_sent(), 2);
    assert_int_equal(built_for(), 1);
    assert_int_equal(stub_count(PEN_OP_PROGRAM_CREATE), 1);
    assert_int_equal(status_of(program, 0), CL_BUILD_SUCCESS);
    assert_int_equal(pen_clReleaseProgram(program), CL_SUCCESS);
}

/* As many as the worker takes, which would end the session for one more. */
static void test_most_constants(void **state)
{
    (void)state;
    enum { DECORATIONS = PEN_LIMIT_CONSTANTS + 1, HEAD = 5, TYPES = 8 };
    static uint32_t many[HEAD + 4 * DECORATIONS + TYPES];
    const uint32_t value = 1;
    cl_int error = 0;
    memcpy(many, module, HEAD * sizeof *many);
    for (uint32_t i = 0; i < DECORATIONS; i++)
        memcpy(&many[HEAD + 4 * i], (uint32_t[]){4u << 16 | 71, 2, 1, i}, 4 * sizeof *many);
    memcpy(&many[HEAD + 4 * DECORATIONS], &module[HEAD + 4], TYPES * sizeof *many);
    cl_program program = pen_clCreateProgramWithIL(context, many, sizeof many, &error);
    assert_int_equal(error, CL_SUCCESS);
    for (cl_uint i = 0; i < PEN_LIMIT_CONSTANTS; i++)
        assert_int_equal(pen_clSetProgramSpecializationConstant(program, i, sizeof value, &value), CL_SUCCESS);
    assert_int_equal(pen_clSetProgramSpecializationConstant(program, PEN_LIMIT_CONSTANTS, sizeof value, &value),
                     CL_OUT_OF_RESOURCES);
    assert_int_equal(pen_clSetProgramSpecializationConstant(program, 0, sizeof value, &value), CL_SUCCESS);
    assert_int_equal(build(program, 0, ""), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_PROGRAM_CONSTANT), PEN_LIMIT_CONSTANTS);
    assert_int_equal(pen_clReleaseProgram(program), CL_SUCCESS);
}

/* ---- texts ---- */

static cl_program program_of(const char *source)
{
    cl_int error = 0;
    cl_program program = pen_clCreateProgramWithSource(context, 1, &source, NULL, &error);
    assert_int_equal(error, CL_SUCCESS);
    return program;
}

/* A program that includes a file by its absolute path. */
static cl_program including(char *path)
{
    char source[200];
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    snprintf(source, sizeof source, "#include \"%s\"\nkernel void k(global int *o) { *o = 1; }", path);
    return program_of(source);
}

/* The text that the worker gets is not the program's own, but the same for both. */
static void test_absolute_include_for_another_device(void **state)
{
    (void)state;
    char path[] = "/tmp/pen-program-XXXXXX";
    cl_program program = including(path);
    assert_int_equal(build(program, 0, "-DFIRST"), CL_SUCCESS);
    assert_int_equal(build(program, 1, "-DSECOND"), CL_SUCCESS);
    assert_int_equal(status_of(program, 0), CL_BUILD_SUCCESS);
    assert_int_equal(status_of(program, 1), CL_BUILD_SUCCESS);
    assert_int_equal(built_for(), 1);
    assert_int_equal(stub_count(PEN_OP_PROGRAM_CREATE), 1);
    unlink(path);
    assert_int_equal(pen_clReleaseProgram(program), CL_SUCCESS);
}

/* Another text than what the first device's build was made of: it is made again for both. */
static void test_another_text_for_another_device(void **state)
{
    (void)state;
    char path[] = "/tmp/pen-program-XXXXXX";
    cl_program program = including(path);
    assert_int_equal(build(program, 0, ""), CL_SUCCESS);
    unlink(path);
    assert_int_equal(build(program, 1, ""), CL_SUCCESS);
    assert_int_equal(status_of(program, 0), CL_BUILD_SUCCESS);
    assert_int_equal(status_of(program, 1), CL_BUILD_SUCCESS);
    assert_int_equal(built_for(), 2);
    assert_int_equal(stub_count(PEN_OP_PROGRAM_CREATE), 2);
    assert_int_equal(pen_clReleaseProgram(program), CL_SUCCESS);
}

/* What is refused here takes nothing from the other device. */
static void test_refused_for_another_device(void **state)
{
    (void)state;
    static char options[PEN_LIMIT_OPTIONS + 100];
    memset(options, 'D', sizeof options - 1);
    options[0] = '-';
    cl_program program = program_of("kernel void k(global int *o) { *o = 1; }");
    assert_int_equal(build(program, 0, ""), CL_SUCCESS);
    assert_int_equal(build(program, 1, options), CL_INVALID_BUILD_OPTIONS);
    assert_int_equal(status_of(program, 0), CL_BUILD_SUCCESS);
    assert_int_equal(status_of(program, 1), CL_BUILD_ERROR);
    assert_int_equal(stub_count(PEN_OP_PROGRAM_BUILD), 1);
    assert_int_equal(build(program, 1, ""), CL_SUCCESS);
    assert_int_equal(stub_count(PEN_OP_PROGRAM_CREATE), 1);
    assert_int_equal(pen_clReleaseProgram(program), CL_SUCCESS);
}

/* Twelve macros of two definitions each: which headers they name is not looked for in all 4,096 ways, and the log says
 * so. */
static void test_remark_in_log(void **state)
{
    (void)state;
    char source[2048] = "#define S(x) <x>\n", *at = source + strlen(source), log[512] = "";
    for (int i = 0; i < 24; i++)
        at += sprintf(at, "#define W%d %d\n", i / 2, i);
    strcpy(at, "#if 0\n#include S(W0/W1/W2/W3/W4/W5/W6/W7/W8/W9/W10/W11)\n#endif\n");
    cl_program program = program_of(source);
    assert_int_equal(build(program, 0, ""), CL_SUCCESS);
    assert_int_equal(pen_clGetProgramBuildInfo(program, devices[0], CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL),
                     CL_SUCCESS);
    assert_non_null(strstr(log, "'S(W0/W1/W2"));
    strcpy(at, "#if 0\n#include S(W0)\n#endif\n");
    assert_int_equal(pen_clReleaseProgram(program), CL_SUCCESS);
    program = program_of(source);
    assert_int_equal(build(program, 0, ""), CL_SUCCESS);
    assert_int_equal(pen_clGetProgramBuildInfo(program, devices[0], CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL),
                     CL_SUCCESS);
    assert_string_equal(log, "");
    assert_int_equal(pen_clReleaseProgram(program), CL_SUCCESS);
}

/* IL, too, is made by a compiler. */
static void test_no_compiler(void **state)
{
    (void)state;
    cl_int error = 0;
    cl_device_id both[2] = {devices[0], NULL};
    assert_int_equal(pen_clGetDeviceIDs(NULL, CL_DEVICE_TYPE_CUSTOM, 1, &both[1], NULL), CL_SUCCESS);
    cl_context own = pen_clCreateContext(NULL, 2, both, NULL, NULL, &error);
    cl_program program = pen_clCreateProgramWithIL(own, module, sizeof module, &error);
    assert_int_equal(error, CL_SUCCESS);
    assert_int_equal(pen_clBuildProgram(program, 0, NULL, "", NULL, NULL), CL_COMPILER_NOT_AVAILABLE);
    assert_int_equal(pen_clCompileProgram(program, 1, &both[1], "", 0, NULL, NULL, NULL, NULL),
                     CL_COMPILER_NOT_AVAILABLE);
    assert_int_equal(pen_clBuildProgram(program, 1, both, "", NULL, NULL), CL_SUCCESS);
    assert_int_equal(pen_clReleaseProgram(program), CL_SUCCESS);
    assert_int_equal(pen_clReleaseContext(own), CL_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_constants_of_another_device, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_most_constants, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_absolute_include_for_another_device, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_text_for_another_device, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_for_another_device, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_compiler, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_remark_in_log, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("icd program", tests, NULL, NULL);
}
