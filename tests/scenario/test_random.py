#!/usr/bin/python3
"""What random_programs.py does with a program that goes wrong: the fake device forgets what commands have to wait for."""
import json
import os
import sys

import harness
import random_programs


class Failures(harness.Scenario):
    def test_what_remains(self):
        for culprits in ({3, 17}, {0}, {39}, {5, 6, 7, 30}, set(range(40))):
            tried = []
            left = random_programs.shrink(list(range(40)), lambda part: tried.append(part) or culprits <= set(part))
            self.assertEqual(set(left), culprits)
            self.assertLess(len(tried), 200)

    def test_lists(self):
        self.assertEqual(random_programs.only([0, 1, 2, 5, 7, 8]), '0-2,5-5,7-8')

    def test_a_fault_is_found(self):
        done = harness.run(sys.executable, os.path.join(harness.HERE, 'random_programs.py'), '--pool', 'fake-4', '--count', '30',
                           '--json', timeout=120, environment={'PENSTOCK_FAKE_DEAF': '1', 'TMPDIR': self.folder})
        self.assertEqual(done.returncode, 1, done.stderr)
        (failure,) = json.loads(done.stdout)['failures']
        self.assertIn('seed', failure['said'])
        self.assertLessEqual(failure['operations'], 6)
        self.assertGreater(failure['replays_that_differ'], 0)
        self.assertTrue(os.path.exists(failure['log']))


if __name__ == '__main__':
    harness.main()
