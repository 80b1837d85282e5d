#!/usr/bin/python3
"""Headers that only the device's own compiler can name: by its macros (`__OPENCL_VERSION__`), or when it is asked
(`__has_include`). For each device and each way, what the header says that was included, which is the same wherever the build runs."""
import os
import sys
import tempfile

os.environ["PYOPENCL_NO_CACHE"] = "1"
import pyopencl as cl

TEXT = """#define S_(x) #x
#define S(x) S_(x)
#define J_(x, y) x##y
#define J(x, y) J_(x, y)
#define HAS(x) __has_include(x)
#define HAS_ONE __has_include("one1.h")
"""
KERNEL = "\nkernel void J(k, VALUE)(void) {}\n"  # a name is asked for without running it, which takes PoCL long
SELF = "#ifndef SELF\n#define SELF\n#include __FILE__\n#else\n#define VALUE 5\n#endif\n"
HEADERS = {"one1.h": 1, "self.h": SELF}
HEADERS |= {f"{v}/x.h": v + 1 for v in (100, 110, 120, 200, 210, 220, 300)} | {f"cl{v}.h": v for v in (100, 110, 120, 200, 210, 220, 300)}
HEADERS |= {f"line{n}.h": n for n in range(20)} | {f"bytes{n}.h": n for n in (4, 8)} | {f"count{n}.h": n for n in range(4)}
WORDS = ("__IMAGE_SUPPORT__", "__ENDIAN_LITTLE__", "__FAST_RELAXED_MATH__", "cl_khr_fp64", "CL_VERSION_2_0", "POCL_DEVICE_ADDRESS_BITS")
HEADERS |= {f"is{word}.h": 0 for word in WORDS} | {f"is{n}.h": n for n in (1, 32, 64, 200)}
WAYS = [("#include S(J(cl, __OPENCL_VERSION__).h)", []),
        ("#include S(J(cl, __OPENCL_C_VERSION__).h)", ["-cl-std=CL1.2"]),
        ("#include S(__OPENCL_VERSION__/x.h)", []),
        ("#include S(J(line, __LINE__).h)", []),
        ("#include S(J(bytes, __SIZEOF_POINTER__).h)", []),
        ("#include S(J(count, __COUNTER__).h)", []),
        *((f"#include S(J(is, {word}).h)", []) for word in WORDS),
        ("#include S(J(is, __FAST_RELAXED_MATH__).h)", ["-cl-fast-relaxed-math"]),
        ("#define V __OPENCL_VERSION__\n#include S(FOLDER/J(cl, V).h)", ["-DFOLDER=."]),
        ('#include "self.h"', []),
        ('#if HAS("one1.h") && !HAS("one2.h")\n#define VALUE 2\n#else\n#define VALUE 3\n#endif', []),
        ("#if HAS(S(J(one, __ENDIAN_LITTLE__).h))\n#define VALUE 2\n#else\n#define VALUE 3\n#endif", []),
        ("#if HAS_ONE\n#define VALUE 2\n#else\n#define VALUE 3\n#endif", [])]


def value(context, text, options):
    try:
        program = cl.Program(context, TEXT + text + KERNEL).build(options)
    except cl.RuntimeError:
        return "does not build"
    return program.get_info(cl.program_info.KERNEL_NAMES)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, text in HEADERS.items():
            os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
            with open(name, "w", encoding="ascii") as file:
                file.write(text if isinstance(text, str) else f"#define VALUE {text}\n")
        devices = [device for platform in cl.get_platforms() for device in platform.get_devices()]
        for device in devices:
            context = cl.Context([device])
            built = 0
            for text, options in WAYS:
                result = value(context, text, options)
                built += result != "does not build"
                print(*options, text.replace("\n", " | "), "->", result, flush=True)
            if built < len(WAYS) // 2:
                sys.exit("that is no test")
        os.chdir("/")


main()
