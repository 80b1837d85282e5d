/* scenario/cl_il.c - programs from SPIR-V: what they say of themselves, their specialization constants, there and back
 * by binaries, compiled and linked. Run with more_layer.c below, as of OpenCL 3.0 and as of 2.0 with cl_khr_il_program.
 */
#include "cl_check.h"

#include <CL/cl_ext.h>

#include "il_module.h"

static clCreateProgramWithILKHR_fn from_il;
static bool takes_constants; /* OpenCL 2.2 */

static cl_program new_program(struct world *w)
{
    cl_int status;
    cl_program program = from_il(w->context, il_module, sizeof il_module, &status);
    EXPECT_OK(status);
    return program;
}

static void set_constants(cl_program program, cl_uint seven, cl_uchar flag)
{
    EXPECT_OK(clSetProgramSpecializationConstant(program, IL_SEVEN, sizeof seven, &seven));
    EXPECT_OK(clSetProgramSpecializationConstant(program, IL_FLAG, sizeof flag, &flag));
}

static cl_uint result_of(struct world *w, cl_program program)
{
    const size_t one = 1;
    cl_uint value = 0;
    cl_int status;
    cl_kernel kernel = clCreateKernel(program, "k", &status);
    EXPECT_OK(status);
    cl_mem out = clCreateBuffer(w->context, CL_MEM_READ_WRITE, sizeof value, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clSetKernelArg(kernel, 0, sizeof out, &out));
    EXPECT_OK(clEnqueueNDRangeKernel(w->queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL));
    EXPECT_OK(clEnqueueReadBuffer(w->queue, out, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL));
    EXPECT_OK(clReleaseMemObject(out));
    EXPECT_OK(clReleaseKernel(kernel));
    return value;
}

static cl_program_binary_type type_of(struct world *w, cl_program program)
{
    cl_program_binary_type type = 99;
    EXPECT_OK(clGetProgramBuildInfo(program, w->device, CL_PROGRAM_BINARY_TYPE, sizeof type, &type, NULL));
    return type;
}

/* The same program from its binary. */
static cl_program again(struct world *w, cl_program program)
{
    size_t size = 0;
    cl_int status, taken = 99;
    EXPECT_OK(clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL));
    EXPECT(size > 0);
    unsigned char *bytes = malloc(size);
    EXPECT_OK(clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL));
    cl_program other =
        clCreateProgramWithBinary(w->context, 1, &w->device, &size, (const unsigned char **)&bytes, &taken, &status);
    free(bytes);
    EXPECT_OK(status);
    EXPECT_OK(taken);
    return other;
}

/* ---- what they say of themselves ------------------------------------------------------------------------ */

static void creation(struct world *w)
{
    const uint32_t none[8] = {0};
    const char *text = il_source;
    unsigned char il[2 * sizeof il_module];
    char source[16] = "x";
    size_t size = 0;
    cl_int status;
    cl_program program = new_program(w);
    if (w->strict) { /* natively the layer has made it of a text */
        EXPECT_OK(clGetProgramInfo(program, CL_PROGRAM_IL, sizeof il, il, &size));
        EXPECT(size == sizeof il_module && !memcmp(il, il_module, sizeof il_module));
        EXPECT_OK(clGetProgramInfo(program, CL_PROGRAM_SOURCE, sizeof source, source, &size));
        EXPECT(size == 1 && !source[0]);
    }
    EXPECT_OK(clReleaseProgram(program));
    if (w->strict) {
        EXPECT_REFUSED(from_il(w->context, NULL, sizeof il_module, &status), CL_INVALID_VALUE);
        EXPECT_REFUSED(from_il(w->context, il_module, 0, &status), CL_INVALID_VALUE);
        EXPECT_REFUSED(from_il(w->context, none, sizeof none, &status), CL_INVALID_VALUE);
        EXPECT_REFUSED(from_il(NULL, il_module, sizeof il_module, &status), CL_INVALID_CONTEXT);
    }
    program = clCreateProgramWithSource(w->context, 1, &text, NULL, &status);
    EXPECT_OK(status);
    EXPECT_OK(clGetProgramInfo(program, CL_PROGRAM_IL, 0, NULL, &size));
    EXPECT(size == 0);
    EXPECT_OK(clReleaseProgram(program));
}

static void build(struct world *w)
{
    cl_program program = new_program(w);
    char names[16] = "";
    EXPECT_OK(clBuildProgram(program, 1, &w->device, "", NULL, NULL));
    EXPECT(type_of(w, program) == CL_PROGRAM_BINARY_TYPE_EXECUTABLE);
    EXPECT_OK(clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, sizeof names, names, NULL));
    EXPECT(!strcmp(names, "k"));
    EXPECT(result_of(w, program) == IL_SEVEN_DEFAULT);
    EXPECT_OK(clReleaseProgram(program));
}

/* ---- constants ------------------------------------------------------------------------------------------ */

static void constants(struct world *w)
{
    cl_uint seven = 6;
    cl_uchar flag = 0;
    cl_program program = new_program(w);
    if (!takes_constants) {
        if (w->strict)
            EXPECT_STATUS(clSetProgramSpecializationConstant(program, IL_SEVEN, sizeof seven, &seven),
                          CL_INVALID_OPERATION);
        EXPECT_OK(clReleaseProgram(program));
        return;
    }
    EXPECT_OK(clSetProgramSpecializationConstant(program, IL_SEVEN, sizeof seven, &seven));
    EXPECT_OK(clBuildProgram(program, 1, &w->device, "", NULL, NULL));
    EXPECT(result_of(w, program) == 6);
    set_constants(program, 41, 1); /* for builds from now on */
    EXPECT(result_of(w, program) == 6);
    EXPECT_OK(clBuildProgram(program, 1, &w->device, "", NULL, NULL));
    EXPECT(result_of(w, program) == 41);
    EXPECT_OK(clSetProgramSpecializationConstant(program, IL_FLAG, sizeof flag, &flag));
    EXPECT_OK(clBuildProgram(program, 1, &w->device, "", NULL, NULL));
    EXPECT(result_of(w, program) == IL_OTHERWISE);
    EXPECT_OK(clReleaseProgram(program));
}

static void bad_constants(struct world *w)
{
    const cl_uint value = 1;
    const char *text = il_source;
    cl_int status;
    if (!w->strict || !takes_constants)
        return;
    cl_program program = new_program(w);
    cl_program plain = clCreateProgramWithSource(w->context, 1, &text, NULL, &status);
    EXPECT_OK(status);
    EXPECT_STATUS(clSetProgramSpecializationConstant(program, 8, sizeof value, &value), CL_INVALID_SPEC_ID);
    EXPECT_STATUS(clSetProgramSpecializationConstant(program, IL_SEVEN, 2, &value), CL_INVALID_VALUE);
    EXPECT_STATUS(clSetProgramSpecializationConstant(program, IL_SEVEN, 8, &value), CL_INVALID_VALUE);
    EXPECT_STATUS(clSetProgramSpecializationConstant(program, IL_SEVEN, sizeof value, NULL), CL_INVALID_VALUE);
    EXPECT_STATUS(clSetProgramSpecializationConstant(program, IL_FLAG, sizeof value, &value), CL_INVALID_VALUE);
    EXPECT_STATUS(clSetProgramSpecializationConstant(plain, IL_SEVEN, sizeof value, &value), CL_INVALID_PROGRAM);
    EXPECT_STATUS(clSetProgramSpecializationConstant(NULL, IL_SEVEN, sizeof value, &value), CL_INVALID_PROGRAM);
    EXPECT_OK(clBuildProgram(program, 1, &w->device, "", NULL, NULL));
    EXPECT(result_of(w, program) == IL_SEVEN_DEFAULT);
    EXPECT_OK(clReleaseProgram(program));
    EXPECT_OK(clReleaseProgram(plain));
}

/* ---- binaries, links ------------------------------------------------------------------------------------ */

/* A program from its executable, whose constants stay what they were. */
static void binaries(struct world *w)
{
    cl_program program = new_program(w);
    cl_uint seven = 3, expected = takes_constants ? 77 : IL_SEVEN_DEFAULT;
    size_t size = 1;
    if (takes_constants)
        set_constants(program, 77, 1);
    EXPECT_OK(clBuildProgram(program, 1, &w->device, "", NULL, NULL));
    if (takes_constants)
        set_constants(program, 3, 0); /* not of what is built */
    cl_program other = again(w, program);
    EXPECT_OK(clReleaseProgram(program));
    EXPECT_OK(clBuildProgram(other, 1, &w->device, "", NULL, NULL));
    EXPECT(result_of(w, other) == expected);
    if (w->strict) {
        EXPECT_OK(clGetProgramInfo(other, CL_PROGRAM_IL, 0, NULL, &size));
        EXPECT(size == 0);
    }
    if (w->strict && takes_constants)
        EXPECT_STATUS(clSetProgramSpecializationConstant(other, IL_SEVEN, sizeof seven, &seven), CL_INVALID_PROGRAM);
    program = again(w, other); /* and once more */
    EXPECT_OK(clReleaseProgram(other));
    EXPECT_OK(clBuildProgram(program, 1, &w->device, "", NULL, NULL));
    EXPECT(result_of(w, program) == expected);
    EXPECT_OK(clReleaseProgram(program));
}

/* Compiled, and linked by itself; what came of each step goes by its binary, which a compiled object's makes anew. */
static void links(struct world *w)
{
    cl_program program = new_program(w), linked, loaded;
    cl_uint expected = takes_constants ? 78 : IL_SEVEN_DEFAULT;
    cl_int status;
    if (takes_constants)
        set_constants(program, 78, 1);
    EXPECT_OK(clCompileProgram(program, 1, &w->device, "", 0, NULL, NULL, NULL, NULL));
    EXPECT(type_of(w, program) == CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT);
    linked = clLinkProgram(w->context, 1, &w->device, "", 1, &program, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT(result_of(w, linked) == expected);
    loaded = again(w, linked);
    EXPECT_OK(clBuildProgram(loaded, 1, &w->device, "", NULL, NULL));
    EXPECT(result_of(w, loaded) == expected);
    EXPECT_OK(clReleaseProgram(linked));
    EXPECT_OK(clReleaseProgram(loaded));
    loaded = again(w, program);
    EXPECT_OK(clReleaseProgram(program));
    EXPECT(type_of(w, loaded) == CL_PROGRAM_BINARY_TYPE_COMPILED_OBJECT);
    linked = clLinkProgram(w->context, 1, &w->device, "", 1, &loaded, NULL, NULL, &status);
    EXPECT_OK(status);
    EXPECT(result_of(w, linked) == expected);
    EXPECT_OK(clReleaseProgram(linked));
    EXPECT_OK(clReleaseProgram(loaded));
}

/* ---- which way in the device has -------------------------------------------------------------------------- */

static void find_ways(struct world *w)
{
    char text[8192] = "", version[1024] = "";
    int major = 0, minor = 0;
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_VERSION, sizeof version, version, NULL));
    EXPECT(sscanf(version, "OpenCL %d.%d", &major, &minor) == 2);
    takes_constants = major * 10 + minor >= 22;
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_IL_VERSION, sizeof text, text, NULL));
    EXPECT(strstr(text, "SPIR-V_1.0") != NULL);
    EXPECT_OK(clGetDeviceInfo(w->device, CL_DEVICE_EXTENSIONS, sizeof text, text, NULL));
    EXPECT(strstr(text, "cl_khr_il_program") != NULL);
    from_il =
        (clCreateProgramWithILKHR_fn)clGetExtensionFunctionAddressForPlatform(w->platform, "clCreateProgramWithILKHR");
    EXPECT(from_il != NULL);
    if (major * 10 + minor >= 21)
        from_il = clCreateProgramWithIL;
    else if (!from_il)
        exit(1);
}

int main(int argc, char **argv)
{
    static const struct check checks[] = {
        {"find_ways", find_ways},         {"creation", creation}, {"build", build}, {"constants", constants},
        {"bad_constants", bad_constants}, {"binaries", binaries}, {"links", links},
    };
    return run_checks(argc, argv, checks, sizeof checks / sizeof *checks);
}
