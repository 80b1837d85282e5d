#!/usr/bin/python3
"""Measure what the worker's graph costs of a task that does nothing (tasks.c) beside StarPU (tasks_starpu.c), interleaved in one run:
hazards, placement, submission and completion, of graphs that both build while they run. StarPU's figure of a row is that of the
scheduler and the number of workers with which it is best. Then what is copied of a wavefront, on two devices with memories of their own
(copies.c).

Exit status 0 also when goals are missed: the table says so, and bench/README.md how to read it.
"""
import os
import sys

import callpath
from callpath import US, fixed, of_native

UNIT = ("us", US)
FAST = 500  # ns, with eight regions a task
TIMES = 4   # as fast as StarPU, where data is what orders the tasks
SETTINGS = [(scheduler, workers) for scheduler in ("eager", "lws") for workers in (1, 2)]


def both(starpu, row):
    return min(FAST, of_native(1 / TIMES)(starpu, row))


BOTH = ("<= 0.5 us, StarPU / 4", both)
RATIO = ("<= StarPU / 4", of_native(1 / TIMES))
# row: title, unit, goal in words, bound, less is better
ROWS = {row: (title, UNIT, *goal, True) for row, title, goal in (
    ("independent_1", "independent tasks, 1 region each", ("", None)),
    ("independent_8", "independent tasks, 8 regions each", ("<= 0.5 us", fixed(FAST))),
    ("chain_1", "chain, 1 region each", RATIO),
    ("chain_2", "chain, 2 regions each", RATIO),
    ("chain_4", "chain, 4 regions each", RATIO),
    ("chain_8", "chain, 8 regions each", BOTH),
    ("wavefront_3", "wavefronts of 32 x 32 tiles, up to 3 regions each", RATIO),
    ("wavefront_8", "wavefronts of 32 x 32 tiles, 8 regions each", BOTH),
    ("cholesky_3", "Cholesky, 24 x 24 tiles, up to 3 regions each", RATIO),
    ("cholesky_8", "Cholesky, 24 x 24 tiles, 8 regions each", BOTH))}


def starpu(options, scheduler, workers):
    program = os.path.join(options.build, "bench", "tasks_starpu")
    environment = {"STARPU_SCHED": scheduler, "STARPU_NCPU": str(workers), "STARPU_SILENT": "1"}
    return lambda: callpath.measure([program, *options.rows], environment)


def best_of(sides):
    """The samples of each row from the side that has the best median of it."""
    of_row = {row: min(sides, key=lambda side, row=row: callpath.medians(side)[row]) for row in sides[0][0]}
    return [{row: side[number][row] for row, side in of_row.items()} for number in range(len(sides[0]))]


COPIES = 1300        # of a wavefront of 32 x 32 tiles
KERNELS = (50, 100)  # us


def measure_copies(options):
    """In the devices' own time, and so the same in every run."""
    program, table = os.path.join(options.build, "bench", "copies"), []
    print()
    for kernel in KERNELS:
        figures = callpath.measure([program, str(kernel * 1000)])
        met = figures["copies"] <= COPIES
        print(f"copies of a wavefront of 32 x 32 tiles on two devices, kernels of {kernel} us: {figures['copies']:.0f}, <= {COPIES}: "
              f"{'met' if met else 'MISSED'} (in {figures['time']:.2f} of one device's time)")
        table.append({"row": f"copies_{kernel}", "ours": figures["copies"], "time": figures["time"], "bound": COPIES, "met": met})
    return table


def main():
    options = callpath.parser_of_rows(__doc__).parse_args()
    program = os.path.join(options.build, "bench", "tasks")
    if not os.path.exists(program + "_starpu"):
        sys.exit(f"tasks: there is no {program}_starpu to measure beside: it is built where libstarpu-dev is installed when Meson "
                 "configures, as `./do bench tasks` sees to")
    sides = {"penstock": lambda: callpath.measure([program, *options.rows])}
    sides |= {setting: starpu(options, *setting) for setting in SETTINGS}
    samples = callpath.interleaved(options.rounds, sides)
    samples["starpu"] = best_of([samples[setting] for setting in SETTINGS])
    table = callpath.compare(ROWS, samples, "penstock", "Penstock", base="starpu")
    callpath.write(options, "tasks", rows=table + measure_copies(options))


if __name__ == "__main__":
    main()
