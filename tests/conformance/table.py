#!/usr/bin/python3
"""The tables of docs/conformance.md, "Real programs", from the files that run.py --json wrote.

A program that several files of the same pool have is told by the last. Exit status 1 when one is lost.
"""
import argparse
import json
import sys

GROUPS = {"piglit": "piglit's OpenCL list", "clblast": "CLBlast's test clients", "ffmpeg": "FFmpeg's filters"}


def read(paths):
    """By pool, in the order given: what the drivers call themselves, and the results by program."""
    pools = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            run = json.load(file)
        pool = pools.setdefault((run["driver"], run["devices"], run.get("span", 1)), {"results": {}})
        pool["versions"] = run["versions"]
        pool["results"].update((result["program"], result) for result in run["results"])
    return pools


def title(driver, devices, span):
    if span > 1:
        return f"{driver}, a span of {span}"
    if devices == 1:
        return driver
    return "pocl, two parts" if driver == "pocl" else f"{driver} and pocl"


def row_of(program):
    return GROUPS.get(program.split(" ", 1)[0], program)


def cell(results):
    if not results:
        return "–"
    verdicts = ["late" if "penstock_s" not in result else result["verdict"] for result in results]
    if len(results) == 1:
        return {"same": "same", "lost": "**lost**", "not native": "fails natively", "late": "not done natively in time"}[verdicts[0]]
    text = f"{verdicts.count('same')} of {len(results)} the same"
    if "lost" in verdicts:
        text += f", **{verdicts.count('lost')} lost**"
    if "not native" in verdicts:
        text += f"; {verdicts.count('not native')} fail natively"
    if "late" in verdicts:
        text += f"; {verdicts.count('late')} not done natively in time"
    points = sum(result.get("points", {}).get("kept", 0) for result in results)
    return text + (f" ({points} sub-tests)" if points else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="+")
    pools = read(parser.parse_args().file)
    rows = list(dict.fromkeys(row_of(program) for pool in pools.values() for program in pool["results"]))
    print("| | " + " | ".join(title(*key) for key in pools) + " |")
    print("|---" * (len(pools) + 1) + "|")
    for row in rows:
        cells = [cell([result for program, result in pool["results"].items() if row_of(program) == row]) for pool in pools.values()]
        print(f"| {row} | " + " | ".join(cells) + " |")
    print("\nDrivers:\n")
    for version in dict.fromkeys(version for pool in pools.values() for version in pool["versions"]):
        print(f"- {version}")
    for verdict, heading in (("lost", "Lost"), ("not native", "Fail natively")):
        reasons = {}
        for key, pool in pools.items():
            for result in pool["results"].values():
                if result["verdict"] == verdict:
                    reasons.setdefault((result["program"], result["why"].removeprefix("natively: ")), []).append(title(*key))
        print(f"\n{heading}:{'' if reasons else ' none.'}\n")
        by_why = {}
        for (program, why), where in reasons.items():
            by_why.setdefault(("; ".join(where), why), []).append(program)
        for (where, why), names in by_why.items():
            print(f"- {where}, {why}: {', '.join(names)}")
    return any(result["verdict"] == "lost" for pool in pools.values() for result in pool["results"].values())


if __name__ == "__main__":
    sys.exit(main())
