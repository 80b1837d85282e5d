#!/usr/bin/python3
"""The benchmarks' figures are written, each part's beside the others'. What the figures are is not looked at."""
import json
import os
import sys
import unittest

import harness

POCL = '/etc/OpenCL/vendors/pocl.icd'


@unittest.skipUnless(os.path.exists(POCL), 'PoCL is not installed')
class Bench(harness.Scenario):
    def bench(self, part, *arguments):
        done = harness.run(sys.executable, os.path.join(harness.TOP, 'bench', part), '--build', harness.BUILD, '--rounds', '1',
                           *arguments, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def rows(self, path, part):
        with open(path, encoding='utf-8') as file:
            figures = json.load(file)[part]
        self.assertEqual(figures['rounds'], 1)
        return [row['row'] for row in figures['rows']]

    def test_files(self):
        default = os.path.join(harness.BUILD, 'bench/calls.json')
        if os.path.exists(default):
            os.remove(default)
        self.assertIn(f'all samples: {default}', self.bench('callpath.py', 'argument'))
        self.assertIn('argument', self.rows(default, 'calls'))

        given = self.path('all.json')
        self.bench('callpath.py', '--json', given, 'argument')
        self.bench('remote.py', '--json', given, 'enqueue')
        self.assertIn('argument', self.rows(given, 'calls'))
        self.assertIn('enqueue', self.rows(given, 'remote'))


if __name__ == '__main__':
    harness.main()
