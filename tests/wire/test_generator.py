#!/usr/bin/python3
"""The generator itself: each schema in bad/ is refused with the line and message that its first line expects,
and golden/mini.schema gives the outputs beside it. `test_generator.py --update` rewrites those outputs."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
GENERATOR = os.path.join(HERE, "..", "..", "protocol", "generate.py")
GOLDEN = os.path.join(HERE, "golden")
BAD = os.path.join(HERE, "bad")
OUTPUTS = ["mini-protocol.h", "mini-protocol.c", "mini-protocol.md", "mini-protocol.dict"]


def generate(schema, *outputs):
    return subprocess.run([sys.executable, GENERATOR, schema, *outputs], capture_output=True, text=True, check=False)


def golden(folder):
    return generate(os.path.join(GOLDEN, "mini.schema"), *(os.path.join(folder, name) for name in OUTPUTS))


class Bad(unittest.TestCase):
    def test_refused_with_line_and_reason(self):
        names = sorted(os.listdir(BAD))
        self.assertGreater(len(names), 35)
        for name in names:
            path = os.path.join(BAD, name)
            with open(path, encoding="utf-8") as file:
                expected = file.readline().removeprefix("# expect: ").strip()
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                output = os.path.join(folder, "out.h")
                result = generate(path, output)
                self.assertNotEqual(result.returncode, 0)
                self.assertEqual(result.stderr.strip(), f"{name}:{expected}")
                self.assertFalse(os.path.exists(output), "an output was written")

    def test_unknown_output(self):
        with tempfile.TemporaryDirectory() as folder:
            result = generate(os.path.join(GOLDEN, "mini.schema"), os.path.join(folder, "out.xml"))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("unknown ending '.xml': .h, .c, .md, .dict are known", result.stderr)

    def test_no_arguments(self):
        result = subprocess.run([sys.executable, GENERATOR], capture_output=True, text=True, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("generate.py SCHEMA OUTPUT", result.stderr)


class Golden(unittest.TestCase):
    maxDiff = None

    def test_outputs(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(golden(folder).stderr, "")
            for name in OUTPUTS:
                with self.subTest(name):
                    with open(os.path.join(GOLDEN, name), encoding="utf-8") as wanted, \
                            open(os.path.join(folder, name), encoding="utf-8") as made:
                        self.assertEqual(made.read(), wanted.read())


if __name__ == "__main__":
    if "--update" in sys.argv:
        sys.exit(golden(GOLDEN).stderr)
    unittest.main()
