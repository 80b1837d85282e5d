#!/usr/bin/python3
"""includes.py [SRC] - includes point downward only: a folder of src/ includes from itself, and from those below it
that BELOW names; and what is pure has no I/O, clock or threads: it calls what COMPUTES declares, and nothing else of the system.
Prints FILE:LINE for each that does not; exit status 1 then."""

import os
import re
import sys

import report

# folder -> the folders that it may include from. Whatever is not here has no place yet: give it one.
BELOW = {
    "base": (),
    "wire": ("base",),
    "net": ("base", "wire"),
    "client": ("base", "wire", "net"),
    "icd": ("base", "wire", "net", "client"),
    "api": ("base", "wire", "net", "client"),
    "backend": ("base", "wire"),
    "sched": ("base",),
    "mem": ("base",),
    "state": ("base", "wire", "sched", "mem"),
    "worker": ("base", "wire", "net", "backend", "sched", "mem", "state"),
    "daemon": ("base", "wire", "net", "sched", "mem", "worker"),
    "cli": ("base", "wire", "net", "client", "mem", "state", "worker", "daemon"),
}
# worker/ offers these to the daemon and the command line; the rest of it stays behind them.
OFFERED = {"worker": ("crash.h", "log.h")}
# Run by the worker, and to be run unchanged by the daemon and a simulator (ARCHITECTURE.md 8).
PURE = ("sched", "mem")
# What pure folders may include of other folders, and of the C library.
COMPUTED = ("base/error.h", "base/list.h", "penstock-protocol.h")
COMPUTES = ("assert.h", "limits.h", "stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "string.h")
# What stdlib.h has beside memory and numbers.
EFFECTS = re.compile(r"\b(" + "|".join("""getenv secure_getenv setenv unsetenv putenv clearenv getloadavg system
    exit _Exit quick_exit abort atexit at_quick_exit on_exit
    rand srand random srandom initstate setstate drand48 lrand48 mrand48 srand48 seed48 lcong48 arc4random arc4random_buf
    arc4random_uniform realpath canonicalize_file_name mktemp mkstemp mkostemp mkstemps mkostemps mkdtemp
    posix_openpt getpt grantpt unlockpt ptsname ptsname_r""".split()) + r")\s*\(")
INCLUDE = re.compile(r'\s*#\s*include\s+"([^"/]+)/([^"]+)"')
ANY = re.compile(r'\s*#\s*include\s+(["<])([^">]+)')


def mistakes(src):
    for folder, folders, files in os.walk(src):
        folders.sort()
        part = os.path.relpath(folder, src).split(os.sep)[0]
        for name in sorted(files):
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    match = INCLUDE.match(line)
                    if match:
                        yield from judge(f"{path}:{number}", part, *match.groups())
                    if part in PURE:
                        yield from judge_pure(f"{path}:{number}", part, line)


def judge(place, part, target, header):
    if part not in BELOW:
        yield f"{place}: src/{part} is not in the table of tests/lint/includes.py"
    elif target == part:
        return
    elif target not in BELOW:
        yield f"{place}: \"{target}/{header}\" is in no folder of src/; includes are by path from src/"
    elif target not in BELOW[part]:
        allowed = ", ".join(BELOW[part]) or "nothing"
        yield f"{place}: {part} must not include from {target}; below it are: {allowed}"
    elif header not in OFFERED.get(target, (header,)):
        yield f"{place}: of {target}, only {', '.join(OFFERED[target])} may be included from outside"


def judge_pure(place, part, line):
    match, effect = ANY.match(line), EFFECTS.search(line)
    if match:
        quote, header = match.groups()
        allowed = COMPUTES if quote == "<" else COMPUTED
        own = quote == '"' and header.split("/")[0] in BELOW and header.split("/")[0] not in BELOW[part]  # or judged above
        if header not in allowed and not own:
            yield f"{place}: {part} has no I/O, clock or threads; of {'the C library' if quote == '<' else 'others'} it may include " \
                  f"{', '.join(allowed)}, not {header}"
    elif effect:
        yield f"{place}: {part} has no effects outside itself: not {effect[1]}"


if __name__ == "__main__":
    sys.exit(report.main(mistakes))
