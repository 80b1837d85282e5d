#!/usr/bin/python3
"""Every entry point of the front end is named by a program that calls it through the loader: those in the lists of
src/icd/entry.h are looked for in tests/scenario/*.c, outside comments."""

import glob
import os
import re
import sys

import report

TABLE = os.path.join("icd", "entry.h")
PROGRAMS = os.path.join("..", "tests", "scenario", "*.[ch]")
ENTRY = re.compile(r"^ +X\((cl\w+)\)", re.MULTILINE)
COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|/\*.*?\*/|//[^\n]*', re.DOTALL)
WORD = re.compile(r"\bcl[A-Z]\w+")


def without_comments(text):
    """Strings stay: extensions' functions are found by their names."""
    return COMMENT.sub(lambda match: match.group() if match.group()[0] == '"' else " ", text)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def mistakes(src):
    named = set()
    for path in glob.glob(os.path.join(src, PROGRAMS)):
        named.update(WORD.findall(without_comments(read(path))))
    path = os.path.join(src, TABLE)
    text = read(path)
    for entry in ENTRY.finditer(text):
        if entry[1] not in named:
            yield f"{path}:{text.count(chr(10), 0, entry.start()) + 1}: no program of tests/scenario calls {entry[1]}"


if __name__ == "__main__":
    sys.exit(report.main(mistakes))
