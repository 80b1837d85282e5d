#!/usr/bin/python3
"""Real programs over a network that is cut again and again (tests/net/cable.c): what they say must be what they say natively.

Most cuts last 50 ms to 1 s, three 10 s and two 40 s, at random moments. TCP gets over the short ones by itself, so every other also
resets the connections, and the session has to go on over another; of the long ones, too, one of 40 s does. Those, and the long
ones, are in the middle of a session, since a program that finds no pool when it starts goes without. Another tenant's session, whose
way is not cut, must not be disturbed meanwhile. Ends with `N passed, N failed`; about eight minutes.
"""
import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "conformance"))
from programs import programs
from run import VENDOR_LIBRARIES, FarPool, execute, judge, vendors

ONLY = r"^ffmpeg (?!nlmeans|deshake)|^hashcat MD5"  # what takes no minutes
LONG = [10, 10, 10, 40, 40]  # seconds
MADE_AGAIN = 0.7  # of the connections that are reset


class Cutter(threading.Thread):
    """Makes the cuts, with pauses between them."""

    def __init__(self, build, pool, count, chance):
        super().__init__(daemon=True)
        self.cable, self.log, self.chance = pool.cable, pool.log.name, chance
        self.list = [os.path.join(build, "src/cli/penstock"), "ps", "--json"], dict(os.environ, PENSTOCK_SOCKET=pool.socket)
        self.may_start = threading.Event()  # a program, now
        self.may_start.set()
        self.last = None  # the last session before the program that runs; None: none runs, or it may not be cut for long
        short = [(chance.uniform(0.05, 1), ("cut", "reset")[i % 2]) for i in range(count - len(LONG))]
        self.cuts = short + [(length, "reset" if i == len(LONG) - 1 else "cut") for i, length in enumerate(LONG)]
        chance.shuffle(self.cuts)
        self.made = self.resets = 0

    def last_session(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return max((int(number) for number in re.findall(r"session (\d+) of .*: worker", file.read())), default=0)

    def in_session(self):
        """The program that runs has a session, and knows it: it has sent commands."""
        last = self.last
        if last is None:
            return False
        command, environment = self.list
        sessions = json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
        return self.last == last and any(each["session"] > last and each["program"] != "session_program" and each["commands"]
                                         and each["state"] == "connected" for each in sessions)

    def run(self):
        for length, how in self.cuts:
            time.sleep(self.chance.uniform(0.2, 1))
            while length in LONG or how == "reset":
                self.may_start.clear()
                if self.in_session():
                    break
                self.may_start.set()
                time.sleep(0.05)
            self.cable.say(f"{how} {round(length * 1000)}ms")
            self.made += 1
            self.resets += how == "reset"
            if sys.stderr.isatty():
                print(f"\r{self.made} of {len(self.cuts)} cuts", end="", file=sys.stderr)
            time.sleep(length)
            self.may_start.set()


def beside(build, pool, cutter):
    """Sessions of another tenant at the pool's own end, one after the other; what went wrong with them."""
    program = [*pool.cable.at("b"), os.path.join(build, "tests/scenario/session_program"), "loop", "5"]
    environment = dict(os.environ, **pool.over["tcp"])
    wrong = 0
    while cutter.is_alive():
        begin = time.monotonic()
        status = subprocess.run(program, env=environment, stdout=subprocess.DEVNULL, check=False).returncode
        wrong += status != 0 or time.monotonic() - begin > 10
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="the build folder (default: build)")
    parser.add_argument("--cuts", type=int, default=200, help=f"how many, at least {len(LONG)} (default: 200)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="the moments and lengths of an earlier run")
    options = parser.parse_args()
    print(f"--seed {options.seed}", flush=True)
    table = [p for p in programs() if "pocl" in p.drivers and 1 in p.devices and re.search(ONLY, p.name)]
    folder = tempfile.mkdtemp(prefix="penstock-soak-")
    native_environment = {"OCL_ICD_VENDORS": vendors(os.path.join(folder, "native"), [VENDOR_LIBRARIES["pocl"]])}
    native = {p.name: execute(p, os.path.join(folder, "native-" + str(i)), native_environment) for i, p in enumerate(table)}
    pool = FarPool(os.path.abspath(options.build), folder, "pocl", 1, ["delay 500us"])
    cutter = Cutter(os.path.abspath(options.build), pool, options.cuts, random.Random(options.seed))
    disturbed, passed, failed = [], 0, 0
    neighbour = threading.Thread(target=lambda: disturbed.append(beside(os.path.abspath(options.build), pool, cutter)))
    try:
        cutter.start()
        neighbour.start()
        runs = 0
        while cutter.is_alive():
            for program in table:
                cutter.may_start.wait()
                far = program.__class__(**{**vars(program), "command": [*pool.at, *program.command]})
                cutter.last = cutter.last_session() if program.quick else None  # hashcat runs twice, and may be between
                through = execute(far, os.path.join(folder, f"far-{runs}"), pool.environment)
                cutter.last = None
                verdict, why = judge(native[program.name], through)
                runs += 1
                passed += verdict == "same"
                failed += verdict != "same"
                print(f"{cutter.made:3} cuts  {verdict:10} {program.name:32} native {native[program.name][3]:6.2f} s, Penstock {through[3]:6.2f} s  {why}",
                      flush=True)
                if verdict != "same":
                    print("\n".join("    | " + line for line in through[2].splitlines()[-12:]), flush=True)
        neighbour.join()
        with open(pool.log.name, encoding="utf-8", errors="replace") as file:
            again = file.read().count("a new connection")
        print(f"{cutter.made} cuts, {cutter.resets} of them with resets; {again} connections made again; "
              f"the other tenant was disturbed {disturbed[0]} times")
        # A session that ends, or says nothing while it is cut, needs no other connection.
        if cutter.made != options.cuts or again < cutter.resets * MADE_AGAIN or disturbed[0]:
            failed += 1
    finally:
        pool.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
