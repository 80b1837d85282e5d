#!/usr/bin/python3
"""Run real OpenCL programs natively and through Penstock, and compare what they say.

A program that fails natively is not counted against Penstock, but is listed; a quick one that is not known to do so counts as failed,
since nothing was compared. Exit status 1 when one is lost: it passes natively and not through Penstock, or says something else. Ends
with `N passed, N failed`.

Two devices: of PoCL, its device in parts of one compute unit, natively PoCL's own two; of another driver, its device and PoCL's behind
one platform, natively two platforms; then only programs run that use all devices they find. A span (--span): PoCL's device in so many
parts, offered as one device that spans them; natively that one device.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(TOP, "tests", "net")]
from cable import Cable
from programs import DRIVERS, may_fail_natively, programs

VENDOR_LIBRARIES = {
    "pocl": "/usr/lib/x86_64-linux-gnu/libpocl.so.2",
    "rusticl": "/usr/lib/x86_64-linux-gnu/libRusticlOpenCL.so.1",
    "oclgrind": "/usr/lib/oclgrind/liboclgrind-rt-icd.so",
}
VENDOR_ENVIRONMENT = {"RUSTICL_ENABLE": "llvmpipe"}  # it shows no device unasked


def vendors(folder, libraries):
    """A folder for OCL_ICD_VENDORS with just these libraries."""
    os.makedirs(folder)
    for library in libraries:
        with open(os.path.join(folder, os.path.basename(library) + ".icd"), "w", encoding="ascii") as file:
            file.write(library + "\n")
    return folder


def drivers_of(driver, devices):
    """The libraries of a pool."""
    mixed = [driver, "pocl"] if devices > 1 and driver != "pocl" else [driver]
    return [VENDOR_LIBRARIES[name] for name in mixed]


def versions(environment):
    """What the drivers of the devices that a program sees call themselves."""
    raw = subprocess.run(["clinfo", "--raw"], env=dict(os.environ, **environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         timeout=120, check=False).stdout.decode("utf-8", "replace")
    return [" ".join(pair) for pair in zip(re.findall(r"CL_DEVICE_NAME\s+(.*)", raw), re.findall(r"CL_DRIVER_VERSION\s+(.*)", raw))]


class Pool:
    """A private daemon over one driver, on a socket of its own."""
    at = []  # goes before the commands of programs that use it

    def __init__(self, build, folder, driver, devices, extra="", arguments=(), wrapper=()):
        self.folder = folder
        self.socket = os.path.join(folder, "penstockd.sock")
        config = os.path.join(folder, "penstock.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"cache:\n  dir: {folder}/cache\n" + extra)
            if devices > 1 and driver == "pocl":
                file.write("devices:\n  - match: \"*\"\n    compute_units: 1\n")
        environment = dict(os.environ, **VENDOR_ENVIRONMENT)
        environment["OCL_ICD_VENDORS"] = vendors(os.path.join(folder, "vendors"), drivers_of(driver, devices))
        self.log = open(os.path.join(folder, "penstockd.log"), "wb")
        self.daemon = subprocess.Popen([*wrapper, os.path.join(build, "src/daemon/penstockd"), "--config", config, "--socket", self.socket,
                                        *arguments], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment)
        deadline = time.monotonic() + 60
        while not os.path.exists(self.socket):
            if self.daemon.poll() is not None or time.monotonic() > deadline:
                self.fail("penstockd did not start")
            time.sleep(0.02)
        self.environment = {
            "PENSTOCK_SOCKET": self.socket,
            "OCL_ICD_VENDORS": vendors(os.path.join(folder, "penstock"), [os.path.join(build, "src/icd/libpenstock-icd.so")]),
        }
        if len(versions(self.environment)) < devices:
            self.fail("penstockd has too few devices")

    def fail(self, what):
        self.daemon.kill()
        with open(self.log.name, encoding="utf-8", errors="replace") as file:
            sys.exit(f"{what}:\n{file.read()}")

    def close(self):
        self.daemon.send_signal(signal.SIGTERM)
        try:
            self.daemon.wait(10)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
        self.log.close()


class RemotePool(Pool):
    """One that programs also reach by an address of `host`, where `wrapper` starts it: over["tls"] is the environment of a tenant's,
    over["tcp"] of one without protection, which that host alone has."""

    def __init__(self, build, folder, driver, devices, host="127.0.0.1", arguments=(), wrapper=()):
        tenants = os.path.join(folder, "tenants")
        super().__init__(build, folder, driver, devices, extra=f'listen: {{tcp: "{host}:0", tenants: {tenants}}}\n',
                         arguments=["--plain-tcp", "127.0.0.1:0", *arguments], wrapper=wrapper)
        with open(self.log.name, encoding="utf-8", errors="replace") as file:
            log = file.read()
        plain = re.search(r"listens without protection at (\S+)", log).group(1)
        address = re.search(r"listens for tenants at ([^;]+);", log).group(1)
        key = subprocess.run([os.path.join(build, "src/cli/penstock"), "tenant", "add", "test", "--directory", tenants, "--host", address],
                             stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        self.over = {name: {**self.environment, "PENSTOCK_POOL": pool, "PENSTOCK_SOCKET": os.devnull}
                     for name, pool in (("tcp", f"tcp://{plain}"), ("tls", key))}


class FarPool(RemotePool):
    """One at the far end of a network (tests/net/cable.c, which `network` is told), for programs at the near one."""

    def __init__(self, build, folder, driver, devices, network, arguments=()):
        self.cable = Cable(*network, build=build)
        super().__init__(build, folder, driver, devices, host=self.cable.address["b"], arguments=arguments, wrapper=self.cable.at("b"))
        self.environment = self.over["tls"]
        self.at = self.cable.at("a")

    def close(self):
        super().close()
        self.cable.close()


def execute(program, folder, environment):
    """(exit status or 'timeout', normalized standard output or points, raw output with standard error, seconds)"""
    os.makedirs(os.path.join(folder, ".cache"))  # some look for it, and take a shared one without
    if program.setup:
        program.setup(folder)
    full = dict(os.environ, HOME=folder, XDG_CACHE_HOME=os.path.join(folder, ".cache"), XDG_DATA_HOME=os.path.join(folder, ".data"),
                **program.environment)  # hashcat, for one, runs once for each of these
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


def compare(program, folder, native_environment, environment):
    """One program both ways; its result, and what it said through Penstock."""
    native = execute(program, folder + "-native", native_environment)
    if native[0] == "timeout":  # it would only take as long again
        return {"program": program.name, "verdict": "not native", "why": f"natively: not done in {program.timeout_s} s",
                "native_s": round(native[3], 3)}, ""
    through = execute(program, folder + "-penstock", environment)
    verdict, why = judge(native, through)
    result = {"program": program.name, "verdict": verdict, "why": why, "native_s": round(native[3], 3), "penstock_s": round(through[3], 3)}
    if program.points:
        passed = [name for name, good in native[1].items() if good]
        result["points"] = {"all": len(native[1]), "native": len(passed), "kept": sum(through[1].get(name, False) for name in passed)}
    return result, through[2]


def stop(*_):
    """Ends the run early: what is done so far is written, and a second signal does not hinder that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def head_of(options):
    """Which pool the results are of."""
    return {"driver": options.driver, "devices": options.devices, "span": options.span}


def already(options):
    """The results that an earlier run with the same pool left in the --json file."""
    if not options.resume or not options.json or not os.path.exists(options.json):
        return []
    with open(options.json, encoding="utf-8") as file:
        earlier = {"span": 1} | json.load(file)  # older files do not name it
    asked = head_of(options)
    held = {name: earlier[name] for name in asked}
    if held != asked:
        sys.exit(f"{options.json}: results of {held}, asked for are those of {asked}")
    return earlier["results"]


def keep(path, head, results):
    """Writes the results as a whole or, when it is interrupted, not at all."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump({**head, "results": results}, file, indent=1)
    os.replace(path + ".part", path)


def fits(program, options):
    if options.span > 1:
        return program.span
    if options.devices > 1 and options.driver != "pocl":
        return options.driver in program.mixed
    return options.devices in program.devices


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="the build folder (default: build)")
    parser.add_argument("--driver", choices=DRIVERS, default="pocl")
    parser.add_argument("--devices", type=int, choices=(1, 2), default=1)
    parser.add_argument("--span", type=int, default=1, metavar="N", help="PoCL's device as one that spans N parts of it")
    parser.add_argument("--quick", action="store_true", help="only the quick programs, those of ./do test")
    parser.add_argument("--only", help="only programs whose name this regular expression is found in")
    parser.add_argument("--jobs", type=int, default=1, help="programs at a time (default: 1; more make the times worth nothing)")
    parser.add_argument("--json", help="write the results to this file, again after each program")
    parser.add_argument("--resume", action="store_true", help="keep what the --json file has already, and run the rest")
    parser.add_argument("--network", action="append", metavar="COMMAND",
                        help="with the pool at the other end of a network that is told this, as tests/net/cable.c says: 'delay 500us'")
    parser.add_argument("--native-cache", metavar="FOLDER", help="where PoCL keeps natively what it compiles, for this run and others")
    parser.add_argument("--keep", action="store_true", help="keep the working folder, and print it")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    if options.span > 1 and (options.driver, options.devices) != ("pocl", 1):
        parser.error("--span is of PoCL's one device: without --driver and --devices")

    table = [p for p in programs() if options.driver in p.drivers and fits(p, options) and (p.quick or not options.quick)
             and (not options.only or re.search(options.only, p.name))]
    missing = sorted({p.command[0] for p in table if not shutil.which(p.command[0])})
    if missing or not os.path.exists(VENDOR_LIBRARIES[options.driver]):
        sys.exit(f"not installed: {' '.join(missing) or VENDOR_LIBRARIES[options.driver]}; ./do installs what the tests need")
    if not table:
        sys.exit("no program matches")
    results, unexpected = already(options), 0
    done = {result["program"] for result in results}
    table = [program for program in table if program.name not in done]
    folder = tempfile.mkdtemp(prefix="penstock-conformance-")
    where = (options.build, folder, options.driver, options.devices)
    span = ["--span", str(options.span)] if options.span > 1 else []
    pool = FarPool(*where, options.network, arguments=span) if options.network else Pool(*where, arguments=span)
    table = [dataclasses.replace(program, command=[*pool.at, *program.command]) for program in table]
    native_environment = dict(VENDOR_ENVIRONMENT)
    native_environment["OCL_ICD_VENDORS"] = vendors(os.path.join(folder, "native"), drivers_of(options.driver, options.devices))
    if options.devices > 1 and options.driver == "pocl":
        native_environment["POCL_DEVICES"] = "pthread pthread"
    if options.native_cache:
        native_environment["POCL_CACHE_DIR"] = os.path.abspath(options.native_cache)
    drivers = versions(native_environment)
    signal.signal(signal.SIGTERM, stop)
    head = {**head_of(options), "versions": drivers}
    workers = concurrent.futures.ThreadPoolExecutor(options.jobs)
    try:
        pairs = [workers.submit(compare, program, os.path.join(folder, str(number)), native_environment, pool.environment)
                 for number, program in enumerate(table)]
        for number, pair in enumerate(pairs):
            result, said = pair.result()
            if result["verdict"] == "not native" and not may_fail_natively(table[number], options.driver, options.devices):
                result["why"] += "; programs.py does not know that it does (FAILS_NATIVELY)"
                unexpected += 1
            results.append(result)
            if options.json:
                keep(options.json, head, results)
            seconds = [f"{result[key]:6.2f} s" if key in result else "-" for key in ("native_s", "penstock_s")]
            print(f"{number + 1}/{len(table)} {result['verdict']:10} {result['program']:32} native {seconds[0]}, Penstock {seconds[1]}  "
                  f"{result['why']}", flush=True)
            if result["verdict"] == "lost":
                print("\n".join("    | " + line for line in said.splitlines()[-12:]), flush=True)
    finally:
        workers.shutdown(cancel_futures=True)
        pool.close()
        if options.keep:
            print("kept:", folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    lost = sum(r["verdict"] == "lost" for r in results)
    same = sum(r["verdict"] == "same" for r in results)
    print(f"{same} passed, {lost + unexpected} failed")
    return 1 if lost or unexpected or not same else 0


if __name__ == "__main__":
    sys.exit(main())
