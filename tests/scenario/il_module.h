/* scenario/il_module.h - a SPIR-V 1.0 module by hand (SPIR-V specification, 2.3, 3.32), and the same in OpenCL C:
 *
 *     kernel void k(global uint *o) { *o = FLAG ? SEVEN : 1000; }
 *
 * with SEVEN, 5 unless SpecId 7 says otherwise, and FLAG, true unless SpecId 9 does. */
#ifndef IL_MODULE_H
#define IL_MODULE_H

#include <stdint.h>

enum { IL_SEVEN = 7, IL_FLAG = 9, IL_SEVEN_DEFAULT = 5, IL_OTHERWISE = 1000 };

#define OP(opcode_, words_) ((uint32_t)(words_) << 16 | (opcode_))

enum { VOID = 1, BOOL, UINT, POINTER, FUNCTION, SEVEN, FLAG, OTHERWISE, KERNEL, OUT, ENTRY, CHOSEN, BOUND };

static const uint32_t il_module[] = {
    0x07230203, 0x00010000, 0,         BOUND,
    0,          OP(17, 2),  4,                           /* OpCapability Addresses */
    OP(17, 2),  6,                                       /* OpCapability Kernel */
    OP(14, 3),  2,          2,                           /* OpMemoryModel Physical64 OpenCL */
    OP(15, 4),  6,          KERNEL,    'k',              /* OpEntryPoint Kernel %kernel "k" */
    OP(71, 4),  SEVEN,      1,         IL_SEVEN,         /* OpDecorate %seven SpecId 7 */
    OP(71, 4),  FLAG,       1,         IL_FLAG,          /* OpDecorate %flag SpecId 9 */
    OP(19, 2),  VOID,                                    /* %void = OpTypeVoid */
    OP(20, 2),  BOOL,                                    /* %bool = OpTypeBool */
    OP(21, 4),  UINT,       32,        0,                /* %uint = OpTypeInt 32 0 */
    OP(32, 4),  POINTER,    5,         UINT,             /* %pointer = OpTypePointer CrossWorkgroup %uint */
    OP(33, 4),  FUNCTION,   VOID,      POINTER,          /* %function = OpTypeFunction %void %pointer */
    OP(50, 4),  UINT,       SEVEN,     IL_SEVEN_DEFAULT, /* %seven = OpSpecConstant %uint 5 */
    OP(48, 3),  BOOL,       FLAG,                        /* %flag = OpSpecConstantTrue %bool */
    OP(43, 4),  UINT,       OTHERWISE, IL_OTHERWISE,     /* %otherwise = OpConstant %uint 1000 */
    OP(54, 5),  VOID,       KERNEL,    0,
    FUNCTION,                    /* %kernel = OpFunction %void None %function */
    OP(55, 3),  POINTER,    OUT, /* %out = OpFunctionParameter %pointer */
    OP(248, 2), ENTRY,           /* %entry = OpLabel */
    OP(169, 6), UINT,       CHOSEN,    FLAG,
    SEVEN,      OTHERWISE, /* %chosen = OpSelect %uint %flag %seven %otherwise */
    OP(62, 5),  OUT,        CHOSEN,    2,
    4,          /* OpStore %out %chosen Aligned 4 */
    OP(253, 1), /* OpReturn */
    OP(56, 1),  /* OpFunctionEnd */
};

/* With SEVEN and FLAG from the build's options. */
static const char il_source[] = "kernel void k(global uint *o) { *o = FLAG ? SEVEN : 1000; }";

#endif
