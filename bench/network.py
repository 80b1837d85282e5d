#!/usr/bin/python3
"""Measure what a network between a program and its device costs, natively and through Penstock with the pool at the other end of a
network of our own (tests/net/cable.c), interleaved in one run: long chains of launches, bulk transfers with launches beside them
(network.c), the same with and without lz4 at 100 Mbit/s and 1 Gbit/s, and real programs, whose output is compared too.

Prints tables for the calls and one in Markdown for the programs. Exit status 1 when a program's result is another than natively; missed
goals are in the table only, and bench/README.md says how to read it.
"""
import dataclasses
import os
import re
import shutil
import statistics
import sys
import tempfile

import callpath
from callpath import MS
from run import FarPool, VENDOR_LIBRARIES, compare, vendors
from programs import programs

MBIT = 1e6 / 8
BARE_BYTES = 50_000_000
PACKING_MBIT = (100, 1000)
CHAINS = 7  # as in network.c
PROGRAMS = r"^clinfo|^clpeak (latency|compute)|^hashcat|^ffmpeg \w+$"


def rows(rate_mbit):
    def round_trips_more(count):
        return f"<= native + {count} trips", lambda native, row: native[row] + count * native["round_trip"]

    share = (f">= {0.9 * rate_mbit:g} Mbit/s", callpath.fixed(0.9 * rate_mbit * MBIT))
    shown = ("", None)
    return {
        "launch": ("one kernel and clFinish, median", ("ms", MS), *shown, True),
        "launch_p99": ("the same, 99th percentile", ("ms", MS), *shown, True),
        "chain_events": ("chain of 10,000 kernels by events, out-of-order queue", ("ms", MS), *round_trips_more(3), True),
        "chain_in_order": ("chain of 10,000 kernels, in-order queue", ("ms", MS), *round_trips_more(3), True),
        "writes": ("bulk writes", ("Mbit/s", MBIT), *share, False),
        "launch_beside_writes": ("one kernel and clFinish beside them, median", ("ms", MS), *shown, True),
        "launch_beside_writes_p99": ("the same, 99th percentile", ("ms", MS), *shown, True),
        "reads": ("bulk reads", ("Mbit/s", MBIT), *share, False),
        "launch_beside_reads": ("one kernel and clFinish beside them, median", ("ms", MS), *shown, True),
        "launch_beside_reads_p99": ("the same, 99th percentile", ("ms", MS), *shown, True),
    }


def emulation_ns(options, pool, row):
    """What the network computes for one of the row's chains: a network of wires would leave it to the hosts."""
    program = os.path.join(options.build, "bench", "network")
    before = pool.cable.computed_ns()
    callpath.measure([*pool.at, program, "Penstock", row], pool.environment)
    return (pool.cable.computed_ns() - before) / CHAINS


def measure_calls(options, pool, native):
    """The table."""
    program = os.path.join(options.build, "bench", "network")

    def near():
        bare = {"round_trip": pool.cable.round_trip() * 1e9, "bare": BARE_BYTES / pool.cable.transfer(BARE_BYTES)}
        return bare | callpath.measure([program, "Portable"], native)

    samples = callpath.interleaved(options.rounds, {
        "native": near, "remote": lambda: callpath.measure([*pool.at, program, "Penstock"], pool.environment)})
    bare = callpath.medians(samples["native"])
    print(f"a round trip of one byte over the network: {bare['round_trip'] / MS:.3g} ms; bare TCP: {bare['bare'] / MBIT:.0f} Mbit/s")
    table = callpath.compare(rows(options.rate_mbit), samples, "remote", "remote")
    for row in ("chain_events", "chain_in_order"):
        emulation = statistics.median(emulation_ns(options, pool, row) for _ in range(options.rounds))
        table.append({"row": row, "emulation": emulation})
        print(f"for one {rows(0)[row][0]}, the emulated network computes {emulation / MS:.3g} ms")
    return table


def rows_of_bulk():
    never_slower = (">= 0.95 x without", lambda without, row: 0.95 * without[row])
    both = {"writes": "bulk writes", "reads": "bulk reads"}
    table = {row + end: (f"{title} of {what}", ("Mbit/s", MBIT), *never_slower, False)
             for end, what in (("_text", "text"), ("", "noise")) for row, title in both.items()}
    for row, (title, *_) in list(table.items()):
        table["launch_beside_" + row] = (f"one kernel and clFinish beside {title}", ("ms", MS), "", None, True)
    return table


def measure_packing(options, pool):
    """The tables: what lz4 gains where it can, and costs where it cannot."""
    program = [*pool.at, os.path.join(options.build, "bench", "network"), "Penstock", "writes_text", "reads_text", "writes", "reads"]
    table = []
    for rate_mbit in PACKING_MBIT:
        pool.cable.say(f"rate {rate_mbit}mbit")
        print(f"with and without lz4, at {rate_mbit} Mbit/s:")
        samples = callpath.interleaved(options.rounds, {
            "without": lambda: callpath.measure(program, pool.environment | {"PENSTOCK_LZ4": "0"}),
            "with": lambda: callpath.measure(program, pool.environment)})
        table += callpath.compare(rows_of_bulk(), samples, "with", "with", base="without")
    return table


def measure_program(program, options, pool, native, folder):
    """Its row: medians of what a first run each, with nothing in any cache, is not counted in; what it said must be right every time."""
    results = []
    there = dataclasses.replace(program, command=[*pool.at, *program.command])
    for turn in range(options.rounds + 1):
        results.append(compare(there, os.path.join(folder, str(turn)), native, pool.environment)[0])
        if results[-1]["verdict"] != "same":
            break
    counted = results[1:] or results
    native_s, remote_s = (statistics.median(result.get(key, 0) for result in counted) for key in ("native_s", "penstock_s"))
    result = results[-1]["verdict"] + (", " if results[-1]["why"] else "") + results[-1]["why"]
    return {"program": program.name, "native_s": native_s, "remote_s": remote_s, "same": results[-1]["verdict"] == "same", "result": result,
            "samples": results}


def measure_programs(options, pool, native, folder):
    native = dict(native, POCL_CACHE_DIR=os.path.join(folder, "native-cache"))
    os.makedirs(native["POCL_CACHE_DIR"])
    print(f"| program | native | {2 * options.delay_us / 1000:g} ms away | result |\n|---|---|---|---|")
    table = []
    for number, program in enumerate(p for p in programs()
                                     if "pocl" in p.drivers and 1 in p.devices and re.search(options.only, p.name)):
        table.append(measure_program(program, options, pool, native, os.path.join(folder, f"program{number}")))
        row = table[-1]
        print(f"| {row['program']} | {row['native_s']:.2f} s | {row['remote_s']:.2f} s | {row['result']} |", flush=True)
    return table


def main():
    parser = callpath.parser_of(__doc__)
    parser.add_argument("--delay-us", type=float, default=500, help="of the network, each way (default: 500)")
    parser.add_argument("--rate-mbit", type=float, default=1000, help="of the network, each way (default: 1000)")
    parser.add_argument("--mtu", type=int, default=1500, help="of the network (default: 1500)")
    parser.add_argument("--only", default=PROGRAMS, help=f"programs of tests/conformance whose name this is found in (default: {PROGRAMS})")
    parser.add_argument("part", nargs="?", choices=["calls", "packing", "programs"], help="one of them (default: all)")
    options = parser.parse_args()
    network = [f"delay {options.delay_us}us", f"rate {options.rate_mbit}mbit", f"mtu {options.mtu}", "offload on"]
    folder = tempfile.mkdtemp(prefix="penstock-bench-")
    native = {"OCL_ICD_VENDORS": vendors(os.path.join(folder, "native"), [VENDOR_LIBRARIES["pocl"]])}
    calls, packing, table = [], [], []
    print(f"network: {', '.join(network)}; {options.rounds} rounds")
    pool = FarPool(options.build, folder, "pocl", 1, network)
    try:
        if options.part in (None, "calls"):
            calls = measure_calls(options, pool, native)
        if options.part in (None, "packing"):
            packing = measure_packing(options, pool)
            pool.cable.say(f"rate {options.rate_mbit}mbit")
        if options.part in (None, "programs"):
            table = measure_programs(options, pool, native, folder)
    finally:
        pool.close()
        shutil.rmtree(folder, ignore_errors=True)
    callpath.write(options, "network", network=network, rows=calls, packing=packing, programs=table)
    return not all(row["same"] for row in table)


if __name__ == "__main__":
    sys.exit(main())
