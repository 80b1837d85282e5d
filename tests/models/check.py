#!/usr/bin/python3
"""Every interleaving of the protocols between threads that the models (*.pml) describe, with Spin: none may deadlock or break an
assertion; and each model with a fault in it, as its comment lists them, must: else it would show nothing."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = {
    'doorbell': ['NO_FENCE_READER', 'NO_FENCE_WRITER', 'NO_FENCE_KICKER'],
    'completion': ['HOLD_LATE', 'NO_WAKE'],
    'publish': ['NO_FENCE_WORKER', 'LATE_EPOCH'],
    'flush': ['LOOK_ONCE', 'NO_KICK', 'LATE_DUE'],
    'loan': ['NO_WAIT', 'SENT_STAYS'],
    'order': ['KICK_BEFORE', 'NO_HOLDING', 'STAYS_PUT_OFF', 'NO_BEFORE'],
    'move': ['UNNOTED_SOURCE', 'READERS_HIDE', 'WRITERS_HIDE', 'REPLACE_HELD', 'LOST_ANYHOW', 'STAYS_VALID',
             'LOST_IN_TURN', 'BROUGHT_AGAIN'],
}


def check(model, *defines):
    """(number of errors, of states, what Spin says first)"""
    with tempfile.TemporaryDirectory() as folder:
        def run(*command):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise AssertionError(f'{" ".join(command)}: {done.stdout}{done.stderr}')
            return done.stdout
        run('spin', '-a', *(f'-D{name}' for name in defines), os.path.join(HERE, model + '.pml'))
        run('gcc', '-w', '-DSAFETY', '-o', 'pan', 'pan.c')
        said = run('./pan', '-m100000')
        errors, states = (int(re.search(pattern, said).group(1)) for pattern in (r'errors: (\d+)', r'(\d+) states, stored'))
        if 'max search depth too small' in said:
            raise AssertionError(f'{model} is deeper than is looked')
        return errors, states, next(iter(re.findall(r'^pan:1: .*', said, re.MULTILINE)), '')


class Models(unittest.TestCase):
    def test_all(self):
        self.assertEqual(sorted(MODELS), sorted(name[:-4] for name in os.listdir(HERE) if name.endswith('.pml')))
        for model, faults in MODELS.items():
            with self.subTest(model=model):
                errors, states, why = check(model)
                print(f'{model}: {states} states')
                self.assertEqual((errors, why), (0, ''))
            for fault in faults:
                with self.subTest(model=model, fault=fault):
                    errors, _, why = check(model, fault)
                    print(f'{model} with {fault}: {why or "nothing is found"}')
                    self.assertGreater(errors, 0)


if __name__ == '__main__':
    unittest.main()
