#!/usr/bin/python3
"""Millions of commands in one session, with events, in several queues, on one device and on one that spans two: what the worker and
the program keep in memory must not grow with them. Ends with `N passed, N failed`."""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "conformance"))
from run import Pool

GROWTH_MIB = 8  # what the allocators may hold on to


def resident_mib(pid):
    """Of its own memory; the session's shared page and arena are of one size."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"RssAnon:\s+(\d+) kB", file.read()).group(1)) / 1024


def worker_of(pool):
    with open(pool.log.name, encoding="utf-8", errors="replace") as file:
        return re.findall(r"worker (\d+)", file.read())[-1]


def grows(pool, build, count):
    """MiB that program and worker have grown between a tenth of the commands and the last, and seconds."""
    begin = time.monotonic()
    with subprocess.Popen([os.path.join(build, "tests/scenario/session_program"), "many", str(count)], text=True,
                          env=dict(os.environ, **pool.environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        seen = []
        for _ in range(2):
            if program.stdout.readline() != "running\n":
                break
            seen.append([resident_mib(pid) for pid in (program.pid, worker_of(pool))])
            program.stdin.write("\n")
            program.stdin.flush()
        out, _ = program.communicate()
    if program.returncode or len(seen) < 2:
        raise RuntimeError(f"the program ended with {program.returncode}: {out}")
    return [after - before for before, after in zip(*seen)], time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="the build folder (default: build)")
    parser.add_argument("--commands", type=int, default=10_000_000, help="on each of the two (default: 10,000,000)")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    failed = 0
    for name, devices in (("one device", "compute_units: 1"), ("two spanned", "parts: 2, span: 2")):
        folder = tempfile.mkdtemp(prefix="penstock-soak-")
        pool = Pool(build, folder, "pocl", 1, extra=f'devices: [{{match: "*", {devices}}}]\n')
        try:
            (program, worker), seconds = grows(pool, build, options.commands)
            good = max(program, worker) <= GROWTH_MIB
            print(f"{options.commands} commands, {name}: the program has grown by {program:.1f} MiB, its worker by {worker:.1f} MiB "
                  f"(at most {GROWTH_MIB}), in {seconds:.1f} s: {'passed' if good else 'FAILED'}", flush=True)
            failed += not good
        finally:
            pool.close()
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{2 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
