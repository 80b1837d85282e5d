#!/usr/bin/python3
"""Measure OpenCL calls natively and through Penstock, interleaved in one run, and hold the medians against the goals.

Prints a table and writes it, with all samples, as JSON. Exit status 0 also when goals are missed: the table says so, and bench/README.md says why.
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
CONFORMANCE = os.path.join(TOP, "tests", "conformance")
sys.path.insert(0, CONFORMANCE)
from run import Pool, VENDOR_LIBRARIES, vendors

US = 1e3
MS = 1e6

def fixed(bound):
    return lambda native, row: bound


def of_native(factor, more=0, row=None):
    """So many times what was measured natively, for this row or another, and so much more."""
    return lambda native, own: factor * native[row or own] + more


# row: what it is, unit (name, divisor), goal in words, goal(native values, row) -> bound, True when less is better
ROWS = {
    "enqueue": ("clEnqueueNDRangeKernel, bursts of 1,000: in the call", ("ns", 1), "<= 150 ns", fixed(150), True),
    "throughput": ("empty kernels a second, 10,000 and one clFinish", ("k/s", 1e3), ">= native", of_native(1), False),
    "independent": ("independent kernels a second, out-of-order queue", ("k/s", 1e3), ">= native", of_native(1), False),
    "finish": ("one kernel and clFinish, median", ("us", US), "<= native + 10 us", of_native(1, 10 * US), True),
    "finish_p99": ("the same, 99th percentile", ("us", US), "<= 1.5 x native", of_native(1.5), True),
    "read4": ("blocking read of 4 bytes", ("us", US), "<= 10 us", fixed(10 * US), True),
    "chain": ("chain of 1,000 kernels by events, out-of-order queue", ("ms", MS), "<= 1.5 x native", of_native(1.5), True),
    "write_4K": ("blocking write, 4 KiB", ("GB/s", 1e9), ">= native", of_native(1), False),
    "read_4K": ("blocking read, 4 KiB", ("GB/s", 1e9), ">= native", of_native(1), False),
    "write_1M": ("blocking write, 1 MiB", ("GB/s", 1e9), ">= 0.9 x native", of_native(0.9), False),
    "read_1M": ("blocking read, 1 MiB", ("GB/s", 1e9), ">= 0.9 x native", of_native(0.9), False),
    "write_16M": ("blocking write, 16 MiB", ("GB/s", 1e9), ">= 0.9 x native", of_native(0.9), False),
    "read_16M": ("blocking read, 16 MiB", ("GB/s", 1e9), ">= 0.9 x native", of_native(0.9), False),
    "write_256M": ("blocking write, 256 MiB", ("GB/s", 1e9), ">= 0.9 x native", of_native(0.9), False),
    "read_256M": ("blocking read, 256 MiB", ("GB/s", 1e9), ">= 0.9 x native", of_native(0.9), False),
    "argument": ("clSetKernelArg", ("ns", 1), "<= 15 ns", fixed(15), True),
    "build_cold": ("build of 16 medium kernels, cold", ("ms", MS), "<= 1.1 x native", of_native(1.1), True),
    "build_again": ("the same again", ("ms", MS), "<= 5 ms", fixed(5 * MS), True),
    "create": ("context and queue created", ("ms", MS), "<= native", of_native(1), True),
}


def measure(command, environment=None, seconds=600):
    """What a program prints: `row value`, a line each."""
    done = subprocess.run(command, env=dict(os.environ, **(environment or {})), stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, timeout=seconds)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with exit status {done.returncode}")
    return {name: float(value) for name, value in (line.split() for line in done.stdout.decode().splitlines())}


def interleaved(rounds, sides):
    """side -> [values of each round]; of each side one after the other, again and again."""
    samples = {side: [] for side in sides}
    for number in range(rounds):
        for side, sample in sides.items():
            samples[side].append(sample())
        if sys.stderr.isatty():
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return samples


def medians(samples):
    return {row: statistics.median(sample[row] for sample in samples) for row in samples[0]}


def show(value, unit):
    return f"{value / unit[1]:.3g} {unit[0]}" if value / unit[1] < 100 else f"{value / unit[1]:.0f} {unit[0]}"


def compare(rows, samples, side, heading, base="native"):
    """Prints a side beside the native one, or another; the table, for the file. A row's goal may be None: it is shown only."""
    native, ours = medians(samples[base]), medians(samples[side])
    table = []
    print(f"{'':54} {base:>11} {heading:>11} {'ratio':>6}  goal")
    for row, (title, unit, words, goal, less) in rows.items():
        if row not in ours:
            continue
        ratio = ours[row] / native[row]
        bound = goal(native, row) if goal else None
        met = None if bound is None else ours[row] <= bound if less else ours[row] >= bound
        table.append({"row": row, "side": side, "title": title, "native": native[row], "ours": ours[row], "ratio": ratio, "goal": words,
                      "bound": bound, "met": met, "samples": {s: [sample[row] for sample in samples[s]] for s in (base, side)}})
        print(f"{title:54} {show(native[row], unit):>11} {show(ours[row], unit):>11} {ratio:6.2f}  {words:18} "
              f"{'' if met is None else 'met' if met else 'MISSED'}".rstrip())
    with_goal = [row["met"] for row in table if row["met"] is not None]
    print(f"{sum(with_goal)} of {len(with_goal)} goals met; {len(samples[side])} interleaved rounds, medians", flush=True)
    return table


def parser_of(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="the build folder (default: build)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds, at least 5 for a claim (default: 5)")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file, beside other parts' (default: bench/PART.json in the build folder)")
    return parser


def parser_of_rows(description):
    parser = parser_of(description)
    parser.add_argument("rows", nargs="*", help="rows of callpath.c to run (default: all)")
    return parser


def write(options, part, **figures):
    """The part's figures under its name: what else the file holds stays."""
    path = options.json or os.path.join(options.build, "bench", part + ".json")
    held = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            held = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(held | {part: figures | {"rounds": options.rounds}}, file, indent=1)
    print(f"all samples: {path}")


def main():
    options = parser_of_rows(__doc__).parse_args()
    program = os.path.join(options.build, "bench", "callpath")
    folder = tempfile.mkdtemp(prefix="penstock-bench-")
    pool = Pool(options.build, folder, "pocl", 1)
    native = {"OCL_ICD_VENDORS": vendors(os.path.join(folder, "native"), [VENDOR_LIBRARIES["pocl"]])}
    try:
        samples = interleaved(options.rounds, {
            "native": lambda: measure([program, "Portable", *options.rows], native),
            "penstock": lambda: measure([program, "Penstock", *options.rows], pool.environment)})
    finally:
        pool.close()
        shutil.rmtree(folder, ignore_errors=True)
    table = compare(ROWS, samples, "penstock", "Penstock")
    write(options, "calls", rows=table)


if __name__ == "__main__":
    main()
