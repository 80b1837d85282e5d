#!/usr/bin/python3
"""Measure OpenCL calls natively and through Penstock, interleaved in one run, and hold the medians against the goals.

Prints a table and, with --json FILE, writes it. Exit status 0 also when goals are missed: the table says so, and bench/README.md says why.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "conformance"))
from run import Pool, VENDOR_LIBRARIES, vendors

US = 1e3
MS = 1e6

# row: what it is, unit (name, divisor), goal in words, goal(native value) -> bound, True when less is better
ROWS = {
    "enqueue": ("clEnqueueNDRangeKernel, bursts of 1,000: in the call", ("ns", 1), "<= 150 ns", lambda n: 150, True),
    "throughput": ("empty kernels a second, 10,000 and one clFinish", ("k/s", 1e3), ">= native", lambda n: n, False),
    "independent": ("independent kernels a second, out-of-order queue", ("k/s", 1e3), ">= native", lambda n: n, False),
    "finish": ("one kernel and clFinish, median", ("us", US), "<= native + 10 us", lambda n: n + 10 * US, True),
    "finish_p99": ("the same, 99th percentile", ("us", US), "<= 1.5 x native", lambda n: 1.5 * n, True),
    "read4": ("blocking read of 4 bytes", ("us", US), "<= 10 us", lambda n: 10 * US, True),
    "chain": ("chain of 1,000 kernels by events, out-of-order queue", ("ms", MS), "<= 1.5 x native", lambda n: 1.5 * n, True),
    "write_4K": ("blocking write, 4 KiB", ("GB/s", 1e9), ">= native", lambda n: n, False),
    "read_4K": ("blocking read, 4 KiB", ("GB/s", 1e9), ">= native", lambda n: n, False),
    "write_1M": ("blocking write, 1 MiB", ("GB/s", 1e9), ">= 0.9 x native", lambda n: 0.9 * n, False),
    "read_1M": ("blocking read, 1 MiB", ("GB/s", 1e9), ">= 0.9 x native", lambda n: 0.9 * n, False),
    "write_16M": ("blocking write, 16 MiB", ("GB/s", 1e9), ">= 0.9 x native", lambda n: 0.9 * n, False),
    "read_16M": ("blocking read, 16 MiB", ("GB/s", 1e9), ">= 0.9 x native", lambda n: 0.9 * n, False),
    "write_256M": ("blocking write, 256 MiB", ("GB/s", 1e9), ">= 0.9 x native", lambda n: 0.9 * n, False),
    "read_256M": ("blocking read, 256 MiB", ("GB/s", 1e9), ">= 0.9 x native", lambda n: 0.9 * n, False),
    "argument": ("clSetKernelArg", ("ns", 1), "<= 15 ns", lambda n: 15, True),
    "build_cold": ("build of 16 medium kernels, cold", ("ms", MS), "<= 1.1 x native", lambda n: 1.1 * n, True),
    "build_again": ("the same again", ("ms", MS), "<= 5 ms", lambda n: 5 * MS, True),
    "create": ("context and queue created", ("ms", MS), "<= native", lambda n: n, True),
}


def measure(program, platform, rows, environment):
    done = subprocess.run([program, platform, *rows], env=dict(os.environ, **environment), stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, timeout=600)
    if done.returncode:
        sys.exit(f"{program} failed on platform '{platform}' with exit status {done.returncode}")
    return {name: float(value) for name, value in (line.split() for line in done.stdout.decode().splitlines())}


def show(value, unit):
    return f"{value / unit[1]:.3g} {unit[0]}" if value / unit[1] < 100 else f"{value / unit[1]:.0f} {unit[0]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="the build folder (default: build)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds, at least 5 for a claim (default: 5)")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("rows", nargs="*", help="rows of callpath.c to run (default: all)")
    options = parser.parse_args()

    program = os.path.join(options.build, "bench", "callpath")
    folder = tempfile.mkdtemp(prefix="penstock-bench-")
    pool = Pool(options.build, folder, "pocl", 1)
    native_environment = {"OCL_ICD_VENDORS": vendors(os.path.join(folder, "native"), [VENDOR_LIBRARIES["pocl"]])}
    samples = {"native": [], "penstock": []}
    try:
        for number in range(options.rounds):
            samples["native"].append(measure(program, "Portable", options.rows, native_environment))
            samples["penstock"].append(measure(program, "Penstock", options.rows, pool.environment))
            if sys.stderr.isatty():
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    finally:
        pool.close()
        shutil.rmtree(folder, ignore_errors=True)

    table = []
    print(f"{'':54} {'native':>11} {'Penstock':>11} {'ratio':>6}  goal")
    for row, (title, unit, words, goal, less) in ROWS.items():
        if row not in samples["native"][0]:
            continue
        native = statistics.median(s[row] for s in samples["native"])
        ours = statistics.median(s[row] for s in samples["penstock"])
        bound = goal(native)
        met = ours <= bound if less else ours >= bound
        table.append({"row": row, "title": title, "native": native, "penstock": ours, "ratio": ours / native, "goal": words, "bound": bound,
                      "met": met, "samples": {side: [s[row] for s in samples[side]] for side in samples}})
        print(f"{title:54} {show(native, unit):>11} {show(ours, unit):>11} {ours / native:6.2f}  {words:18} {'met' if met else 'MISSED'}")
    print(f"{sum(r['met'] for r in table)} of {len(table)} goals met; {options.rounds} interleaved rounds, medians")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"rounds": options.rounds, "rows": table}, file, indent=1)


if __name__ == "__main__":
    main()
