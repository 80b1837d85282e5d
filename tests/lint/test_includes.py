#!/usr/bin/python3
"""The include-direction check refuses what it should, and names the line."""

import os
import subprocess
import sys
import tempfile
import unittest

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "includes.py")


def check(files):
    with tempfile.TemporaryDirectory() as src:
        for name, text in files.items():
            os.makedirs(os.path.join(src, os.path.dirname(name)), exist_ok=True)
            with open(os.path.join(src, name), "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run([sys.executable, CHECK, src], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.replace(src + "/", "")


class Includes(unittest.TestCase):
    def test_downward_is_fine(self):
        self.assertEqual(check({"wire/ring.c": '#include "wire/ring.h"\n#include "base/error.h"\n#include <stdio.h>\n',
                                "icd/event.c": '#include "penstock-protocol.h"\n'}), (0, ""))

    def test_upward(self):
        status, text = check({"base/map.c": '/* a */\n#include "wire/ring.h"\n'})
        self.assertEqual((status, text),
                         (1, "base/map.c:2: base must not include from wire; below it are: nothing\n"))

    def test_sideways(self):
        status, text = check({"sched/graph.h": '  #  include "mem/region.h"\n'})
        self.assertEqual((status, text),
                         (1, "sched/graph.h:1: sched must not include from mem; below it are: base\n"))

    def test_only_what_is_offered(self):
        self.assertEqual(check({"daemon/workers.c": '#include "worker/crash.h"\n'}), (0, ""))
        status, text = check({"daemon/workers.c": '#include "worker/work.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn("daemon/workers.c:1: of worker, only crash.h", text)

    def test_what_is_pure(self):
        self.assertEqual(check({"sched/place.c": '#include "sched/place.h"\n#include <assert.h>\n#include "base/list.h"\nfree(random);\n',
                                "worker/x.c": "#include <pthread.h>\n"}), (0, ""))
        for header in ("<time.h>", "<pthread.h>", "<stdio.h>", "<stdatomic.h>", "<unistd.h>", "<sys/mman.h>", '"base/thread.h"'):
            with self.subTest(header=header):
                status, text = check({"mem/region.c": f"\n#include {header}\n"})
                self.assertEqual(status, 1)
                self.assertIn("mem/region.c:2: mem has no I/O, clock or threads", text)
        for name in ("rand", "random", "srandom", "drand48", "srand48", "getenv", "secure_getenv", "putenv", "unsetenv", "realpath",
                     "mkstemp", "mktemp", "exit", "quick_exit", "atexit"):
            with self.subTest(name=name):
                status, text = check({"sched/fleet.c": f"    seed = {name}();\n"})
                self.assertEqual((status, text), (1, f"sched/fleet.c:1: sched has no effects outside itself: not {name}\n"))

    def test_unknown_folders(self):
        status, text = check({"extra/x.c": '#include "base/error.h"\n', "base/y.c": '#include "extra/x.h"\n'})
        self.assertEqual(status, 1)
        self.assertIn("extra/x.c:1: src/extra is not in the table", text)
        self.assertIn('base/y.c:1: "extra/x.h" is in no folder of src/', text)


if __name__ == "__main__":
    unittest.main()
