#!/usr/bin/python3
"""Measure what a program for one device and one in-order queue (span.c) gains when that device spans two: on one part of one core of
PoCL's device, and on a device that spans two such parts, interleaved in one run. What two cores can gain at most, two such programs
at the same time show, each on a part of its own: they share caches and memory, and perhaps a core.

Exit status 0 also when goals are missed: the table says so, and bench/README.md how to read it.
"""
import os
import shutil
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor

import callpath
from callpath import MS, of_native
from run import Pool

# row: title, unit, goal in words, bound, less is better; the bound is of what one part takes
ROWS = {
    "streams": ("two chains of 200 kernels of 0.3 ms", ("ms", MS), ">= 1.8 x one part", of_native(1 / 1.8), True),
    "product": ("product of matrices, 4 x 4 blocks", ("ms", MS), ">= 1.7 x one part", of_native(1 / 1.7), True),
    "stencil": ("Jacobi's iteration, 8 strips", ("ms", MS), ">= 1.7 x one part", of_native(1 / 1.7), True),
    "tasks": ("two chains of 10,000 empty kernels", ("ms", MS), "", None, True),
}


DECISION_NS = 2000


def measure_decision(options):
    """What one decision costs where there is much to decide (decision.c)."""
    program = os.path.join(options.build, "bench", "decision")
    samples = [callpath.measure([program])["decision"] for _ in range(options.rounds)]
    median = statistics.median(samples)
    print(f"\na decision, 1,000 devices and 100,000 commands that could go, simulated: {median / 1000:.3g} us, <= {DECISION_NS / 1000:g} us: "
          f"{'met' if median <= DECISION_NS else 'MISSED'}")
    return {"row": "decision", "ours": median, "bound": DECISION_NS, "met": median <= DECISION_NS, "samples": samples}


def main():
    options = callpath.parser_of_rows(__doc__).parse_args()
    program = os.path.join(options.build, "bench", "span")
    folder = tempfile.mkdtemp(prefix="penstock-bench-")
    pools = {}
    try:
        for side, how in (("one", "compute_units: 1"), ("other", "compute_units: 1"), ("span", "parts: 2, span: 2")):
            os.mkdir(os.path.join(folder, side))
            pools[side] = Pool(options.build, os.path.join(folder, side), "pocl", 1, extra=f'devices: [{{match: "*", {how}}}]\n')
        def through(side):
            return lambda: callpath.measure([program, "Penstock", *options.rows], pools[side].environment)

        def twice():
            with ThreadPoolExecutor(2) as both:
                first, second = (both.submit(through(side)) for side in ("one", "other"))
            return {row: max(took, second.result()[row]) / 2 for row, took in first.result().items()}

        samples = callpath.interleaved(options.rounds, {"one": through("one"), "span": through("span"), "limit": twice})
    finally:
        for pool in pools.values():
            pool.close()
        shutil.rmtree(folder, ignore_errors=True)
    table = callpath.compare(ROWS, samples, "span", "two parts", base="one")
    print()
    table += callpath.compare({row: (*how[:2], "", None, True) for row, how in ROWS.items()}, samples, "limit", "the most", base="one")
    table.append(measure_decision(options))
    callpath.write(options, "span", rows=table)


if __name__ == "__main__":
    main()
