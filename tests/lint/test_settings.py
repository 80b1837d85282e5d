#!/usr/bin/python3
"""The check of settings in messages finds what it should, names the line, and finds nothing in src/."""

import os
import subprocess
import sys
import tempfile
import unittest

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings.py")
TABLE = '{"socket", KIND_TEXT, 1}, {"session.ring", KIND_SIZE, 2},\n'


def check(text):
    with tempfile.TemporaryDirectory() as src:
        os.mkdir(os.path.join(src, "daemon"))
        for name, content in ("daemon/config.c", TABLE), ("x.c", text):
            with open(os.path.join(src, name), "w", encoding="utf-8") as file:
                file.write(content)
        done = subprocess.run([sys.executable, CHECK, src], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.replace(src + "/", "")


class Settings(unittest.TestCase):
    def test_known(self):
        self.assertEqual(check('"%s (setting: socket)"\n"session.ring is a power"\n"drivers.environment"\n'), (0, ""))

    def test_unknown(self):
        self.assertEqual(check('\n"see session.ring_bytes"'), (1, "x.c:2: there is no setting session.ring_bytes\n"))
        self.assertEqual(check('f("full (setting: "\n  "sockets)")'), (1, "x.c:1: there is no setting sockets\n"))

    def test_no_settings(self):
        self.assertEqual(check('#include "client/session.h"\n#include "session.h"\nsession.ring_bytes = 1; "/x/session.log"'), (0, ""))

    def test_all_of_src(self):
        done = subprocess.run([sys.executable, CHECK], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main()
