#!/usr/bin/python3
"""Messages name settings that there are: what a string in src/ calls `section.key`, and what it says after "(setting: ", is
compared with the keys of src/daemon/config.c."""

import os
import re
import sys

import report

TABLE = os.path.join("daemon", "config.c")
BESIDE = {"drivers.environment"}  # its pairs have any names
KEY = re.compile(r'\{"([a-z_]+(?:\.[a-z0-9_]+)?)", KIND_')
STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*"(?:\s+"(?:[^"\\\n]|\\.)*")*')
SETTING = re.compile(r"\(settings?: ([a-z_.0-9]+)")


def strings(text):
    """(line number, literal): adjacent literals are one; names of headers are none."""
    text = re.sub(r"^\s*#\s*include.*$", "", text, flags=re.MULTILINE)
    for match in STRINGS.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, re.sub(r'"\s+"', "", match.group())


def mistakes(src):
    with open(os.path.join(src, TABLE), encoding="utf-8") as file:
        keys = set(KEY.findall(file.read())) | BESIDE
    sections = "|".join(sorted({key.split(".")[0] for key in keys if "." in key}))
    named = re.compile(rf"(?<![\w./<-])(?:{sections})\.[a-z_0-9]+(?![\w(])")
    for folder, _, names in os.walk(src):
        for name in sorted(names):
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as file:
                for line, text in strings(file.read()):
                    for setting in sorted(set(named.findall(text) + SETTING.findall(text)) - keys):
                        yield f"{path}:{line}: there is no setting {setting}"


if __name__ == "__main__":
    sys.exit(report.main(mistakes))
