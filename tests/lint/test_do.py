#!/usr/bin/python3
"""./do counts as failed what it could not run. Meson is a function of the shell here, and nothing is built."""

import os
import subprocess
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def do(meson, commands):
    """The exit status and last line of these, where the shell does that for `meson COMMAND ...`, with the parts of ./do. What
    the ./do that runs this test has told its own `suites` does not count."""
    script = f"unset patience may_skip at_once without\nmeson() {{ {meson}\n}}\n. ./do help >/dev/null\nbuild_fuzzers() {{ :; }}\n{commands}\nfinish\n"
    done = subprocess.run(["bash", "-c", script], cwd=TOP, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


# Suites unit and fuzz have three tests, and all is well with them.
THREE = """
    case "$*" in
    configure*) ;;
    *--list*--suite\\ unit | *--list*--suite\\ fuzz) echo 'penstock:unit / map' ;;
    *--list*) echo 'No suitable tests defined.' && return 1 ;;
    *) printf 'Ok:                 %d\\n' 3 ;;
    esac"""


class Do(unittest.TestCase):
    def test_all_is_well(self):
        status, lines = do(THREE, "suites build unit; fuzz 1")
        self.assertEqual((status, lines[-1]), (0, "8 passed, 0 failed"), lines)

    def test_no_such_suite(self):
        """As one that was renamed, alone or beside one that is there."""
        for asked in "units", "unit units":
            with self.subTest(asked=asked):
                status, lines = do(THREE, f"step right true; suites build {asked}")
                self.assertEqual(status, 1)
                self.assertRegex(lines[-1], ", 1 failed$")
                self.assertIn("failed: build: no test is in suite units", lines)

    def test_fuzzing_is_not_left_out(self):
        """The build folder cannot be configured."""
        status, lines = do('[ "$1" != configure ]', "fuzz 1")
        self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed"), lines)


if __name__ == "__main__":
    unittest.main()
