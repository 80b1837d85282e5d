#!/usr/bin/python3
"""Run real OpenCL programs natively and through Penstock, and compare what they say.

A program that fails natively is not counted against Penstock, but is listed. Exit status 1 when one is lost: it passes natively and
not through Penstock, or says something else. Ends with `N passed, N failed`.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from programs import DRIVERS, programs

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENDOR_LIBRARIES = {
    "pocl": "/usr/lib/x86_64-linux-gnu/libpocl.so.2",
    "rusticl": "/usr/lib/x86_64-linux-gnu/libRusticlOpenCL.so.1",
    "oclgrind": "/usr/lib/oclgrind/liboclgrind-rt-icd.so",
}
VENDOR_ENVIRONMENT = {"pocl": {}, "rusticl": {"RUSTICL_ENABLE": "llvmpipe"}, "oclgrind": {}}


def vendors(folder, libraries):
    """A folder for OCL_ICD_VENDORS with just these libraries."""
    os.makedirs(folder)
    for library in libraries:
        with open(os.path.join(folder, os.path.basename(library) + ".icd"), "w", encoding="ascii") as file:
            file.write(library + "\n")
    return folder


class Pool:
    """A private daemon over one driver, on a socket of its own."""

    def __init__(self, build, folder, driver, devices, extra=""):
        self.folder = folder
        self.socket = os.path.join(folder, "penstockd.sock")
        config = os.path.join(folder, "penstock.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"cache:\n  dir: {folder}/cache\n" + extra)
            if devices > 1:
                file.write("devices:\n  - match: \"*\"\n    compute_units: 1\n")
        environment = dict(os.environ, **VENDOR_ENVIRONMENT[driver])
        environment["OCL_ICD_VENDORS"] = vendors(os.path.join(folder, "vendors"), [VENDOR_LIBRARIES[driver]])
        self.log = open(os.path.join(folder, "penstockd.log"), "wb")
        self.daemon = subprocess.Popen([os.path.join(build, "src/daemon/penstockd"), "--config", config, "--socket", self.socket],
                                       stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment)
        deadline = time.monotonic() + 60
        while not os.path.exists(self.socket):
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                sys.exit("penstockd did not start:\n" + open(self.log.name, encoding="utf-8", errors="replace").read())
            time.sleep(0.02)
        self.environment = {
            "PENSTOCK_SOCKET": self.socket,
            "OCL_ICD_VENDORS": vendors(os.path.join(folder, "penstock"), [os.path.join(build, "src/icd/libpenstock-icd.so")]),
        }

    def close(self):
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(10)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
        self.log.close()


def execute(program, folder, environment):
    """(exit status or 'timeout', normalized standard output or points, raw output with standard error, seconds)"""
    os.makedirs(folder)
    if program.setup:
        program.setup(folder)
    full = dict(os.environ, HOME=folder, XDG_CACHE_HOME=os.path.join(folder, ".cache"), **program.environment)
    full.update(environment)
    begin = time.monotonic()
    try:
        done = subprocess.run(program.command, cwd=program.folder or folder, env=full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=program.timeout_s, check=False)
        status, raw, errors = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        status, raw, errors = "timeout", error.stdout or b"", error.stderr or b""
    text = raw.decode("utf-8", "replace")
    return status, program.points(text) if program.points else program.normalize(text), text + errors.decode("utf-8", "replace"), time.monotonic() - begin


def judge_points(native, through):
    """The same for a program that is many tests: none that passes natively may be lost."""
    passed = [name for name, good in native[1].items() if good]
    lost = [name for name in passed if not through[1].get(name)]
    if not passed:
        return "not native", f"natively: nothing passes, exit status {native[0]}"
    if lost:
        return "lost", f"{len(lost)} of {len(passed)}, exit status {through[0]}: {', '.join(lost[:4])}"
    return "same", ""


def judge(native, through):
    """'same', 'lost' or 'not native', and why."""
    if isinstance(native[1], dict):
        return judge_points(native, through)
    if native[0] != 0:
        return "not native", f"natively: exit status {native[0]}"
    if through[0] != 0:
        return "lost", f"through Penstock: exit status {through[0]}"
    if native[1] != through[1]:
        pairs = zip(native[1].splitlines() + ["(end)"], through[1].splitlines() + ["(end)"])
        line = next(((a, b) for a, b in pairs if a != b), ("(end)", "(more)"))
        return "lost", f"output differs: natively {line[0]!r}, through Penstock {line[1]!r}"
    return "same", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="the build folder (default: build)")
    parser.add_argument("--driver", choices=DRIVERS, default="pocl")
    parser.add_argument("--devices", type=int, choices=(1, 2), default=1)
    parser.add_argument("--quick", action="store_true", help="only the quick programs, those of ./do test")
    parser.add_argument("--only", help="only programs whose name contains this")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--keep", action="store_true", help="keep the working folder, and print it")
    options = parser.parse_args()

    table = [p for p in programs() if options.driver in p.drivers and options.devices in p.devices and (p.quick or not options.quick)
             and (not options.only or options.only in p.name)]
    missing = sorted({p.command[0] for p in table if not shutil.which(p.command[0])})
    if missing or not os.path.exists(VENDOR_LIBRARIES[options.driver]):
        sys.exit(f"not installed: {' '.join(missing) or VENDOR_LIBRARIES[options.driver]}; ./do installs what the tests need")
    if not table:
        sys.exit("no program matches")
    folder = tempfile.mkdtemp(prefix="penstock-conformance-")
    pool = Pool(options.build, os.path.join(folder), options.driver, options.devices)
    native_environment = dict(VENDOR_ENVIRONMENT[options.driver])
    native_environment["OCL_ICD_VENDORS"] = vendors(os.path.join(folder, "native"), [VENDOR_LIBRARIES[options.driver]])
    if options.devices > 1 and options.driver == "pocl":
        native_environment["POCL_DEVICES"] = "pthread pthread"
    results = []
    try:
        for number, program in enumerate(table):
            native = execute(program, os.path.join(folder, f"{number}-native"), native_environment)
            through = execute(program, os.path.join(folder, f"{number}-penstock"), pool.environment)
            verdict, why = judge(native, through)
            results.append({"program": program.name, "driver": options.driver, "devices": options.devices, "verdict": verdict, "why": why,
                            "native_s": round(native[3], 3), "penstock_s": round(through[3], 3)})
            print(f"{verdict:10} {program.name:32} native {native[3]:6.2f} s, Penstock {through[3]:6.2f} s  {why}", flush=True)
            if verdict == "lost":
                print("\n".join("    | " + line for line in through[2].splitlines()[-12:]), flush=True)
    finally:
        pool.close()
        if options.keep:
            print("kept:", folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    lost = sum(r["verdict"] == "lost" for r in results)
    same = sum(r["verdict"] == "same" for r in results)
    print(f"{same} passed, {lost} failed")
    return 1 if lost or not same else 0


if __name__ == "__main__":
    sys.exit(main())
