#!/usr/bin/python3
"""The check of entry points finds one that no program names, or only a comment, and finds nothing in src/."""

import os
import subprocess
import sys
import tempfile
import unittest

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "entries.py")
TABLE = "#define PEN_ENTRIES(X) \\\n    X(clFinish) \\\n    X(clFlush)\n#define X(name) pen_##name;\n"


def check(program):
    with tempfile.TemporaryDirectory() as top:
        for name, content in ("src/icd/entry.h", TABLE), ("tests/scenario/x.c", program):
            os.makedirs(os.path.join(top, os.path.dirname(name)))
            with open(os.path.join(top, name), "w", encoding="utf-8") as file:
                file.write(content)
        done = subprocess.run([sys.executable, CHECK, os.path.join(top, "src")], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.replace(top + "/", "")


class Entries(unittest.TestCase):
    def test_called(self):
        self.assertEqual(check('clFinish(queue);\nfind("clFlush");\n'), (0, ""))

    def test_not_called(self):
        missing = (1, "src/icd/entry.h:3: no program of tests/scenario calls clFlush\n")
        self.assertEqual(check("clFinish(queue);\n"), missing)
        self.assertEqual(check("clFinish(queue); /* not\nclFlush */ // clFlush\n"), missing)
        self.assertEqual(check("clFinish(queue); clFlushed(); pen_clFlush();\n"), missing)

    def test_all_of_src(self):
        done = subprocess.run([sys.executable, CHECK], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main()
