"""The real programs that must work through Penstock as they do natively: what to run, and what of the output counts.

All come from Debian. A program's output is what is compared, after `normalize` has dropped what may differ.
"""
import ast
import gzip
import json
import os
import re
import shlex
import textwrap
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from typing import Callable, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
DRIVERS = ("pocl", "rusticl", "oclgrind")
MIXED = ("rusticl", "oclgrind")  # whose devices can be behind one platform with PoCL's


def as_is(text: str) -> str:
    return text


@dataclass
class Program:
    name: str
    command: list
    quick: bool = False                 # part of ./do test
    normalize: Callable[[str], str] = as_is
    points: Optional[Callable[[str], dict]] = None  # what passed by name, for programs that are many tests; None: one test
    drivers: tuple = ("pocl",)          # where it runs natively within its time
    devices: tuple = (1, 2)             # with how many of one driver's it can be compared
    span: bool = True                   # on a device that spans parts of one
    mixed: tuple = ()                   # uses all devices: also with such a driver's and PoCL's behind one platform
    timeout_s: int = 300
    environment: dict = field(default_factory=dict)
    folder: Optional[str] = None        # where it runs; None: an empty folder of its own
    setup: Optional[Callable[[str], None]] = None  # gets the program's own empty working directory


# ------------------------------------------------------------------------------------------------ clinfo

# What a virtual device rightly answers by itself: what is reported as absent (SVM, native kernels, PoCL's built-in kernels, which cannot be
# built), and queues out of order, which the worker makes of rusticl's. Which device is a platform's default is the platform's to say.
OWN_ANSWERS = re.compile(r"CL_DEVICE_(SVM_CAPABILITIES|EXECUTION_CAPABILITIES|BUILT_IN_KERNELS|BUILT_IN_KERNELS_WITH_VERSION|"
                         r"QUEUE_ON_HOST_PROPERTIES)\b")
# Two of PoCL's are natively two whole devices, which it numbers; through Penstock they are parts of one.
WHOLE_ANSWERS = re.compile(r"CL_DEVICE_(MAX_COMPUTE_UNITS|PARTITION_MAX_SUB_DEVICES|PARTITION_PROPERTIES|VENDOR_ID)\b")
# A device that spans others is not cut again, and always weighs its queues' priorities.
UNCUT_ANSWERS = re.compile(r"CL_DEVICE_(PARTITION_MAX_SUB_DEVICES|PARTITION_PROPERTIES)\b")


def device_answers(text: str) -> str:
    lines = [" ".join(re.sub(r"^\[[^]]*\]\s*", "", line).split()) for line in text.splitlines()]
    kept = (line for line in lines if line.startswith("CL_DEVICE_") and not OWN_ANSWERS.match(line))
    return "\n".join(re.sub(r" \| CL_DEVICE_TYPE_DEFAULT", "", line) for line in kept)


def answers_of_two(text: str) -> str:
    return "\n".join(line for line in device_answers(text).splitlines() if not WHOLE_ANSWERS.match(line))


def answers_of_span(text: str) -> str:
    kept = (line for line in device_answers(text).splitlines() if not UNCUT_ANSWERS.match(line))
    return "\n".join(re.sub(r" cl_khr_priority_hints(:\w+)?", "", line) for line in kept)


# ------------------------------------------------------------------------------------------------ clpeak

def clpeak_rows(text: str) -> str:
    """The rows, not the figures; a row whose figure is 0 or missing stays visible. An unmap may take less than the microsecond that
    clpeak counts in, and then says inf."""
    rows = []
    for line in text.splitlines():
        match = re.match(r"\s+(\S.*?)\s*:\s*(\S+)?", line)
        if match and not re.search(r"Platform|Device|Driver|Compute units|Clock", line):
            value = match.group(2) or "nothing"
            figure = re.match(r"^[0-9.]+$", value) and float(value) > 0 or (value == "inf" and match.group(1).startswith("enqueueUnmap"))
            rows.append(f"{match.group(1)}: {'a figure' if figure else value}")
    return "\n".join(rows)


# ----------------------------------------------------------------------------------------------- hashcat

def cracked(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if re.match(r"^([0-9a-f]{32,64}:|binaries )", line))


# Twice: the second run is to take all its binaries from hashcat's own cache, where the first has put them.
HASHCAT = """
    set -e
    kept() { find "$XDG_CACHE_HOME" -name '*.kernel' | sort | xargs md5sum | md5sum; }
    hashcat "$@"
    [ "$(find "$XDG_CACHE_HOME" -name '*.kernel' | wc -l)" -gt 0 ] && echo binaries kept
    before=$(kept; find "$XDG_CACHE_HOME" -name '*.kernel' -printf '%T@ ')
    hashcat "$@"
    [ "$before" = "$(kept; find "$XDG_CACHE_HOME" -name '*.kernel' -printf '%T@ ')" ] && echo binaries used again
"""


def hashcat(name, mode, digest, mask):
    def setup(folder):
        with open(os.path.join(folder, "hash"), "w", encoding="ascii") as file:
            file.write(digest + "\n")
    return Program(f"hashcat {name}",
                   ["sh", "-c", textwrap.dedent(HASHCAT), "hashcat", "--force", "-m", str(mode), "-a", "3", "--potfile-disable", "--quiet",
                    "-O", "hash", mask],
                   normalize=cracked, drivers=("pocl", "rusticl"), timeout_s=600, setup=setup)


# ------------------------------------------------------------------------------------------------ FFmpeg

SECOND_SIZE = {"overlay": (100, 80), "xfade": (320, 240)}  # of filters with two inputs, beside a clip of 320x240
FILTERS = {
    "avgblur": "avgblur_opencl=3",
    "unsharp": "unsharp_opencl",
    "convolution": "convolution_opencl=0 -1 0 -1 5 -1 0 -1 0",
    "boxblur": "boxblur_opencl=2",
    "sobel": "sobel_opencl",
    "dilation": "dilation_opencl",
    "transpose": "transpose_opencl=dir=clock",
    "pad": "pad_opencl=iw+80:ih+60:20:20",
    "nlmeans": "nlmeans_opencl",
    "overlay": "overlay_opencl=10:10",
    "xfade": "xfade_opencl=duration=0.2:offset=0.1:transition=wiperight",
    "deshake": "deshake_opencl",
    "colorkey": "colorkey_opencl=blue:0.3:0.1",
}


def ffmpeg_command(name, spec, seconds=2, times=1, part=1):
    """Of clips that are so many times, or such a part, as wide and as high as 320x240."""
    def clip(source, width, height):
        return f"{source}=size={width * times // part}x{height * times // part}:rate=10:duration={seconds}"
    fmt = "bgra" if name == "colorkey" else "yuv420p"
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-init_hw_device", "opencl=ocl:0.0",
               "-filter_hw_device", "ocl", "-f", "lavfi", "-i", clip("testsrc2", 320, 240)]
    if name in SECOND_SIZE:
        command += ["-f", "lavfi", "-i", clip("testsrc", *SECOND_SIZE[name]), "-filter_complex",
                    f"[0]format={fmt},hwupload[a];[1]format={fmt},hwupload[b];[a][b]{spec},hwdownload,format={fmt}"]
    else:
        command += ["-filter_complex", f"format={fmt},hwupload,{spec},hwdownload,format={fmt}"]
    return command + ["-f", "md5", "-"]


def ffmpeg(name, spec, part=1):
    """part: of the clip's width, height and length, for an interpreter."""
    slow = name in ("nlmeans", "deshake")
    return Program(f"ffmpeg {name}" + (", small" if part > 1 else ""), ffmpeg_command(name, spec, 2 / part, part=part), quick=not slow,
                   drivers=("oclgrind",) if part > 1 else ("pocl", "rusticl"), timeout_s=300)


# ------------------------------------------------------------------------------------------------ CLBlast

def clblast_results(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return "\n".join(line.strip() for line in text.splitlines() if re.search(r"Completed|passed|skipped|failed|Starting", line))


CLBLAST_QUICK = ("xaxpy", "xdot")
CLBLAST_ALL = (
    "xamax xasum xaxpy xaxpybatched xcol2im xconvgemm xcopy xdot xdotc xdotu xgbmv xgemm xgemmbatched xgemmstridedbatched xgemv xger "
    "xgerc xgeru xhad xhbmv xhemm xhemv xher xher2 xher2k xherk xhpmv xhpr xhpr2 xim2col xnrm2 xomatcopy xsbmv xscal xspmv xspr xspr2 "
    "xswap xsymm xsymv xsyr xsyr2 xsyr2k xsyrk xtbmv xtpmv xtrmm xtrmv xtrsm xtrsv").split()
CLBLAST_SLOW = "xcol2im xconvgemm xgbmv xgemm xgemmbatched xgemmstridedbatched xim2col xsyr2k".split()  # over 150 s on Oclgrind natively


# ------------------------------------------------------------------------------------------------- piglit

PIGLIT = "/usr/lib/x86_64-linux-gnu/piglit"


def piglit_points(text: str) -> dict:
    """Each sub-test and the test itself: did it pass, on every device and every platform that piglit found?"""
    points = {}
    for line in text.splitlines():
        if not line.startswith("PIGLIT:"):
            continue
        said = json.loads(line[len("PIGLIT:"):])
        for name, result in (said.get("subtest") or {"the test": said["result"]}).items():
            points[name] = points.get(name, True) and result in ("pass", "warn")
    return points


def piglit():
    """Every test of piglit's own list for OpenCL; the tests of the API are quick."""
    with gzip.open(os.path.join(PIGLIT, "tests/cl.xml.gz")) as file:
        tests = ElementTree.parse(file).getroot()
    table = []
    for test in tests:
        options = {o.get("name"): ast.literal_eval(o.get("value")) for o in test}
        if test.get("type") == "cl":
            command = [os.path.join(PIGLIT, "bin", options["command"][0]), *options["command"][1:], "-auto"]
        else:
            command = [os.path.join(PIGLIT, "bin/cl-program-tester"), os.path.join(PIGLIT, options["filename"])]
        table.append(Program("piglit " + test.get("name").replace("@", "/"), command, quick=test.get("type") == "cl",
                             points=piglit_points, drivers=DRIVERS, mixed=MIXED if test.get("type") == "cl" else (), timeout_s=300, folder=PIGLIT,
                             environment={"PIGLIT_SOURCE_DIR": PIGLIT}))
    return table


# ------------------------------------------------------------------------------------------ what fails natively

# Piglit's programs that fail natively, and are quick, by driver and number of devices (docs/conformance.md says why): they say nothing about
# Penstock. Another quick program that does is a comparison that was not made, and counts as failed.
OF_ALL = {"clgetextensionfunctionaddressforplatform", "clgetdeviceinfo", "clcreatecommandqueue", "clgetcommandqueueinfo",
          "clcreateprogramwithbinary", "clgetkernelinfo", "egl_khr_cl_event2"}
OF_RUSTICL = {"clenqueuefillimage", "clbuildprogram", "clcompileprogram", "cllinkprogram", "clgetkernelarginfo"}
OF_OCLGRIND = {"clgetdeviceids", "clcreatecontext", "clcreatecontextfromtype", "clcreatebuffer", "clgetprogrambuildinfo", "clcreatekernel",
               "clgetkernelworkgroupinfo", "clgetkernelarginfo", "clenqueuereadbuffer and clenqueuewritebuffer", "clenqueuefillbuffer",
               "clenqueuefillimage", "clenqueuemigratememobjects", "clbuildprogram", "clcompileprogram", "cllinkprogram"}
FAILS_NATIVELY = {
    ("pocl", 1): OF_ALL,
    ("pocl", 2): OF_ALL,
    ("rusticl", 1): (OF_ALL | OF_RUSTICL) - {"clcreatecommandqueue", "clgetkernelinfo"},
    ("rusticl", 2): OF_ALL | OF_RUSTICL,
    ("oclgrind", 1): (OF_ALL | OF_OCLGRIND) - {"clgetcommandqueueinfo"},
    ("oclgrind", 2): OF_ALL | OF_OCLGRIND,
}


def may_fail_natively(program, driver, devices):
    name = program.name.rpartition("/")[2]
    return not program.quick or name in FAILS_NATIVELY[driver, devices]


# ---------------------------------------------------------------------------------------------- the table

def pyopencl(*part):
    return [PYTHON, "-u", os.path.join(HERE, "pyopencl_ops.py"), *part]


def programs():
    table = [
        Program("clinfo", ["clinfo", "--raw"], quick=True, normalize=device_answers, drivers=DRIVERS, devices=(1,), span=False),
        Program("clinfo", ["clinfo", "--raw"], quick=True, normalize=answers_of_two, drivers=DRIVERS, devices=(2,), span=False, mixed=MIXED),
        Program("clinfo", ["clinfo", "--raw"], quick=True, normalize=answers_of_span, devices=()),
        Program("clpeak latency", ["clpeak", "--kernel-latency"], quick=True, normalize=clpeak_rows, drivers=("pocl", "rusticl"), mixed=MIXED),
        Program("clpeak transfers", ["clpeak", "--transfer-bandwidth"], normalize=clpeak_rows, drivers=("pocl", "rusticl"),
                mixed=("rusticl",), timeout_s=600),
        Program("clpeak compute", ["clpeak", "--compute-sp", "--compute-integer", "--global-bandwidth"], normalize=clpeak_rows,
                drivers=("pocl", "rusticl"), mixed=("rusticl",), timeout_s=900),
        hashcat("MD5", 0, "a722c63db8ec8625af6cf71cb8c2d939", "?l?l?l?l?d"),
        hashcat("SHA-256", 1400, "e6c3da5b206634d7f3f3586d747ffdb36b5c675757b380c6a5fe5c570c714349", "?l?l?l?l?d"),
        Program("PyOpenCL headers", [PYTHON, "-u", os.path.join(HERE, "pyopencl_headers.py")], drivers=DRIVERS, mixed=MIXED),
        Program("PyOpenCL", pyopencl(), drivers=DRIVERS, mixed=("rusticl",), timeout_s=600),
        # Most of its time is the compiler's, for reductions, scans and sorting. For a GPU of 32 KiB of local memory, which is what Oclgrind
        # shows, PyOpenCL writes scans that PoCL compiles for ten minutes.
        Program("PyOpenCL but scans", pyopencl("but-scans"), quick=True, drivers=("pocl", "oclgrind"), mixed=("oclgrind",)),
        Program("PyOpenCL threads", pyopencl("threads"), quick=True, drivers=("pocl", "rusticl"),
                mixed=("rusticl",)),
        Program("OpenCV UMat", [PYTHON, "-u", os.path.join(HERE, "opencv_umat.py")], drivers=DRIVERS, timeout_s=600,
                environment={"OPENCV_OPENCL_DEVICE": ":CPU:"}),
    ]
    table += [ffmpeg(name, spec, part) for part in (1, 5) for name, spec in FILTERS.items()]
    table += [Program(f"clblast {n}", [f"clblast_test_{n}", "-platform", "0", "-device", "0"], quick=n in CLBLAST_QUICK,
                      normalize=clblast_results, drivers=DRIVERS if n not in CLBLAST_SLOW else ("pocl", "rusticl"), timeout_s=900)
              for n in CLBLAST_ALL]
    table += piglit()
    return table


if __name__ == "__main__":
    for program in programs():
        print(f"{program.name:32} {'quick' if program.quick else '     '} {','.join(program.drivers):20} {shlex.join(program.command)[:120]}")
