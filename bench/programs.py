#!/usr/bin/python3
"""Time whole programs natively and through Penstock, interleaved in one run, and hold the medians against 1.03 times native.

Jobs of two seconds and more, from Debian's packages. One round that is not counted fills the caches of all sides. Exit status 0 also
when the goal is missed: the table says so, and bench/README.md says why.

With --span: what hashcat and FFmpeg's filters gain where the device spans two, and that PyOpenCL, OpenCV and CLBlast lose nothing.
Natively on one core, through Penstock on a part of one core, and on a device that spans two such parts; why those that gain nothing
do not is in docs/scheduling.md.
"""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import callpath
from callpath import CONFORMANCE
from programs import FILTERS, ffmpeg_command
from run import Pool, VENDOR_LIBRARIES, vendors

GOAL = 1.03
FFMPEG = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-init_hw_device", "opencl=ocl:0.0", "-filter_hw_device", "ocl"]


def ffmpeg(clip, spec):
    return FFMPEG + ["-f", "lavfi", "-i", f"testsrc2={clip}", "-filter_complex",
                     f"format=yuv420p,hwupload,{spec},hwdownload,format=yuv420p", "-f", "md5", "-"]


def hashcat(mode, digits, mask):
    """A digest that no candidate has: all are tried, and hashcat says so with 1."""
    return ["hashcat", "--force", "-m", str(mode), "-a", "3", "--potfile-disable", "--quiet", "-O", "0" * digits, mask]


# title: command, exit status of success, how often one job runs it
JOBS = {
    "FFmpeg unsharp, 6 s of 1280x720": (ffmpeg("size=1280x720:rate=10:duration=6", "unsharp_opencl"), 0, 1),
    "FFmpeg nlmeans, 2 s of 320x240": (ffmpeg("size=320x240:rate=10:duration=2", "nlmeans_opencl"), 0, 1),
    "clpeak, memory bandwidth": (["clpeak", "--global-bandwidth"], 0, 1),
    "clpeak, transfers": (["clpeak", "--transfer-bandwidth"], 0, 1),
    "CLBlast xaxpy, 10 times": (["clblast_test_xaxpy", "-platform", "0", "-device", "0"], 0, 10),
    "CLBlast xgemv, 3 times": (["clblast_test_xgemv", "-platform", "0", "-device", "0"], 0, 3),
    "CLBlast xgemm": (["clblast_test_xgemm", "-platform", "0", "-device", "0"], 0, 1),
    "PyOpenCL, 10 times": (["/usr/bin/python3", "-u", os.path.join(CONFORMANCE, "pyopencl_ops.py")], 0, 10),
    "OpenCV UMat, 8 times": (["/usr/bin/python3", "-u", os.path.join(CONFORMANCE, "opencv_umat.py")], 0, 8),
    "hashcat SHA-256, 46 million candidates": (hashcat(1400, 64, "?l?l?l?l?d?d"), 1, 1),
}


def filter_job(name, spec):
    slow = name in ("nlmeans", "deshake")
    return ffmpeg_command(name, spec, seconds=2 if slow else 4, times=1 if slow else 2), 0, 1


SPAN_JOBS = {
    "hashcat MD5, 119 million candidates": (hashcat(0, 32, "?l?l?l?l?l?d"), 1, 1),
    "hashcat SHA-256, 46 million candidates": (hashcat(1400, 64, "?l?l?l?l?d?d"), 1, 1),
    **{f"FFmpeg {name}": filter_job(name, spec) for name, spec in FILTERS.items()},
    **{title: job for title, job in JOBS.items() if title.startswith(("PyOpenCL", "OpenCV", "CLBlast"))},
}


def run(job, folder, environment):
    command, success, times = job
    os.makedirs(os.path.join(folder, ".cache"), exist_ok=True)  # without it OpenCV takes one that all sides share
    full = dict(os.environ, HOME=folder, XDG_CACHE_HOME=os.path.join(folder, ".cache"), OPENCV_OPENCL_DEVICE=":CPU:", **environment)
    begin = time.monotonic()
    for _ in range(times):
        done = subprocess.run(command, cwd=folder, env=full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=600, check=False)
        if done.returncode != success:
            sys.exit(f"{' '.join(command)} failed with exit status {done.returncode}:\n{done.stdout.decode(errors='replace')[-2000:]}")
    return time.monotonic() - begin


def sample(job, rounds, sides, folder):
    """side -> seconds of each round."""
    samples = {side: [] for side in sides}
    for turn in range(rounds + 1):
        for side, environment in sides.items():
            seconds = run(job, f"{folder}-{side}", environment)
            if turn:
                samples[side].append(seconds)
    return samples


def against_native(options, folder, native, pools):
    pools.append(Pool(options.build, folder, "pocl", 1))
    sides = {"native": native, "penstock": pools[0].environment}
    table = []
    print(f"{'':40} {'native':>9} {'Penstock':>9} {'ratio':>6}  goal")
    for number, title in enumerate(t for t in JOBS if options.only in t):
        samples = sample(JOBS[title], options.rounds, sides, os.path.join(folder, str(number)))
        native_s, ours = (statistics.median(samples[side]) for side in sides)
        met = ours <= GOAL * native_s
        table.append({"job": title, "native_s": native_s, "penstock_s": ours, "ratio": ours / native_s, "met": met, "samples": samples})
        print(f"{title:40} {native_s:7.2f} s {ours:7.2f} s {ours / native_s:6.3f}  <= {GOAL} {'met' if met else 'MISSED'}", flush=True)
    print(f"{sum(r['met'] for r in table)} of {len(table)} goals met; {options.rounds} interleaved rounds, medians, caches warm")
    callpath.write(options, "programs", goal=GOAL, jobs=table)


def on_a_span(options, folder, native, pools):
    sides = {"native": native | {"POCL_MAX_PTHREAD_COUNT": "1"}}
    for side, how in (("one", "compute_units: 1"), ("span", "compute_units: 1, span: 2")):
        os.mkdir(os.path.join(folder, side))
        pools.append(Pool(options.build, os.path.join(folder, side), "pocl", 1, extra=f'devices: [{{match: "*", {how}}}]\n'))
        sides[side] = pools[-1].environment
    table = []
    print(f"{'':40} {'native':>9} {'one part':>9} {'two parts':>9} speed-up")
    for number, title in enumerate(t for t in SPAN_JOBS if options.only in t):
        samples = sample(SPAN_JOBS[title], options.rounds, sides, os.path.join(folder, str(number)))
        native_s, one, span = (statistics.median(samples[side]) for side in sides)
        table.append({"job": title, "native_s": native_s, "one_s": one, "span_s": span, "speed_up": one / span, "samples": samples})
        print(f"{title:40} {native_s:7.2f} s {one:7.2f} s {span:7.2f} s {one / span:8.2f}", flush=True)
    print(f"{options.rounds} interleaved rounds, medians, caches warm")
    callpath.write(options, "span_programs", jobs=table)


def main():
    parser = callpath.parser_of(__doc__)
    parser.add_argument("--only", default="", help="only jobs whose title contains this")
    parser.add_argument("--span", action="store_true", help="hashcat, FFmpeg's filters and others, on a device that spans two")
    options = parser.parse_args()

    folder = tempfile.mkdtemp(prefix="penstock-bench-")
    native = {"OCL_ICD_VENDORS": vendors(os.path.join(folder, "native"), [VENDOR_LIBRARIES["pocl"]])}
    pools = []
    try:
        (on_a_span if options.span else against_native)(options, folder, native, pools)
    finally:
        for pool in pools:
            pool.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
