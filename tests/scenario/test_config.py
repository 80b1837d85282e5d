#!/usr/bin/python3
"""Wrong configurations: file, line, key, what is allowed. And every key is in the manual."""
import os
import re
import unittest

import harness

# YAML, line of the complaint, and what it must say.
WRONG = [
    ('limits:\n  sesions: 3\n', 2, ['unknown key "limits.sesions"', 'allowed here', 'sessions']),
    ('\n\nfoo: 1\n', 3, ['unknown key "foo"', 'allowed here', 'socket', 'devices', 'workers']),
    ('devices:\n  - nam: x\n', 2, ['unknown key "devices[0].nam"', 'match', 'compute_units']),
    ('devices:\n  - match: x\n  - name: x\n', 3, ['devices[1]', '"match"']),
    ('devices:\n  - match: x\n    memory: 4GiBB\n', 3, ['devices[0].memory', '"4GiBB"', 'GiB']),
    ('devices:\n  - match: x\n    memory: 1KiB\n', 3, ['devices[0].memory', 'from 1MiB']),
    ('devices:\n  - match: x\n    compute_units: 0\n', 3, ['devices[0].compute_units', 'from 1 to']),
    ('devices:\n  - match: x\n    span: 1\n', 3, ['devices[0].span', 'from 2 to 64']),
    ('devices:\n  - match: x\n    parts: 65\n', 3, ['devices[0].parts', 'from 2 to 64']),
    ('devices:\n  - match: x\n    parts: 2\n    compute_units: 1\n', 2, ['devices[0]', '"compute_units"', '"parts"']),
    ('devices:\n  - match: x\n    class: tpu\n', 3, ['devices[0].class', 'cpu, gpu, accelerator, custom']),
    ('devices: all\n', 1, ['devices must be a list']),
    ('devices:\n  match: x\n', 2, ['devices must be a list']),
    ('limits: 3\n', 1, ['limits must be a mapping', 'connections']),
    ('workers:\n  warm: -1\n', 2, ['workers.warm', '"-1"', 'from 0 to 64']),
    ('workers:\n  warm: 65\n', 2, ['workers.warm', '"65"', 'from 0 to 64']),
    ('limits:\n  handshakes_per_s: 0\n', 2, ['limits.handshakes_per_s', '"0"', 'from 1 to 1000000']),
    ('limits:\n  handshake_burst: 2000000\n', 2, ['limits.handshake_burst', 'from 1 to 1000000']),
    ('workers:\n  warm: one\n', 2, ['workers.warm', '"one"']),
    ('workers:\n  warm: 99999999999999999999999\n', 2, ['workers.warm', 'from 0 to 64']),
    ('workers:\n  warm: 1\n  warm: 2\n', 3, ['workers.warm is given twice']),
    ('workers:\n  jail: maybe\n', 2, ['workers.jail', 'required, on, off']),
    ('workers:\n  path: worker\n', 2, ['workers.path', 'absolute path']),
    ('workers:\n  files: data\n', 2, ['workers.files', '"data"', 'absolute paths']),
    ('workers:\n  files: /a:data:/b\n', 2, ['workers.files', '"data"', 'absolute paths']),
    ('workers:\n  files: "/a:"\n', 2, ['workers.files', '""', 'absolute paths']),
    ('cache: {dir: here}\n', 1, ['cache.dir', 'absolute path']),
    ('cache:\n  size: [1]\n', 2, ['cache.size must be a single value']),
    ('cache:\n  size:\n', 2, ['cache.size is ""']),
    ('workers: [1\n', 2, ['not YAML']),
    ('workers:\n\twarm: 1\n', 2, ['not YAML']),
    ('backend: cuda\n', 1, ['backend', '"cuda"', 'opencl, fake']),
    ('log: loud\n', 1, ['log', 'error, warn, info, debug']),
    ('socket: penstockd.sock\n', 1, ['socket', 'absolute path']),
    ('socket_group: no-such-group\n', 1, ['socket_group', '"no-such-group"', 'a group that this host has']),
    ('socket_group: 4294967295\n', 1, ['socket_group', 'a group that this host has']),
    (f'socket: /{"x" * 120}\n', 1, ['socket', '107']),
    ('session:\n  ring: 300KiB\n', 2, ['session.ring', 'power of two']),
    ('session:\n  ring: 64KiB\n', 2, ['session.ring', '128']),
    ('session:\n  arena: 17MiB\n', 2, ['session.arena', 'multiple of 2MiB']),
    ('session:\n  arena: 1PiB\n', 2, ['session.arena', 'TiB']),
    ('session:\n  arena: 99999999TiB\n', 2, ['session.arena']),
    ('drivers:\n  environment:\n    1A: x\n', 3, ['drivers.environment.1A', 'letters']),
    ('drivers:\n  environment:\n    A: [x]\n', 3, ['drivers.environment.A', 'single value']),
    ('drivers:\n  environment: [A]\n', 2, ['drivers.environment must be a mapping']),
    ('? [a]\n: b\n', 1, ['single words']),
    ('workers: &w {warm: *w}\n', 1, ['workers.warm must be a single value']),
    ('- a\n', 1, ['the configuration must be a mapping']),
]

GOOD = ['', 'socket_group: root\n', 'socket_group: 0\n', '# nothing\n', '---\n', 'devices: []\n', 'workers: {warm: 0, jail: off}\n', 'workers: {jail: required}\n', 'workers: {files: "/a b:/c"}\n',
        'session: {ring: 2 MiB}\n',
        'drivers:\n  environment: {}\n', 'limits:\n  sessions: 1\n  connections: 1\n',
        'devices:\n  - {match: "*", name: d, class: gpu, memory: 1GB, compute_units: 2, enabled: no}\n',
        'devices:\n  - {match: "*", parts: 4, span: 2}\n']


class Configuration(harness.Scenario):
    def check(self, text):
        path = self.path('penstock.yaml')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        return path, harness.run(harness.PENSTOCKD, '--check', '--config', path)

    def test_wrong(self):
        for text, line, parts in WRONG:
            with self.subTest(text=text):
                path, done = self.check(text)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(f'{path}:{line}: ', done.stderr)
                for part in parts:
                    self.assertIn(part, done.stderr)
                self.assertEqual(done.stderr.count('\n'), 1, done.stderr)

    def test_good(self):
        for text in GOOD:
            with self.subTest(text=text):
                done = self.check(text)[1]
                self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_examples(self):
        folder = os.path.join(harness.TOP, 'docs/examples')
        examples = [name for name in os.listdir(folder) if name.endswith('.yaml')]
        self.assertGreaterEqual(len(examples), 2)
        for name in examples:
            done = harness.run(harness.PENSTOCKD, '--check', '--config', os.path.join(folder, name))
            self.assertEqual((done.returncode, done.stderr), (0, ''), name)

    def test_unreadable(self):
        done = harness.run(harness.PENSTOCKD, '--check', '--config', self.path('none.yaml'))
        self.assertEqual(done.returncode, 1)
        self.assertIn('none.yaml: cannot open the configuration: No such file', done.stderr)
        done = harness.run(harness.PENSTOCKD, '--check', '--config', self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn('Is a directory', done.stderr)
        with open(self.path('big.yaml'), 'w', encoding='ascii') as file:
            file.write('#' * (2 << 20))
        done = harness.run(harness.PENSTOCKD, '--check', '--config', self.path('big.yaml'))
        self.assertIn('longer than a configuration may be', done.stderr)

    def test_options(self):
        for arguments, part in [(['--nonsense'], 'nonsense'), (['--log', 'loud'], 'error, warn, info or debug'),
                                (['word'], '"word" is not an option'), (['--lifeline', 'x'], '--lifeline')]:
            done = harness.run(harness.PENSTOCKD, *arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn(part, done.stderr)
        self.assertIn('penstockd ', harness.run(harness.PENSTOCKD, '--version').stdout)
        self.assertIn('--config', harness.run(harness.PENSTOCKD, '--help').stdout)

    def test_manual(self):
        """The lists of allowed keys that the messages give are what the manual explains."""
        with open(os.path.join(harness.TOP, 'docs/man/penstock.yaml.5'), encoding='utf-8') as file:
            manual = file.read().replace('\\-', '-')
        for section in ('', 'devices', 'drivers', 'session', 'listen', 'limits', 'cache', 'workers'):
            wrong = {'': 'x: 1\n', 'devices': 'devices:\n  - x: 1\n'}.get(section, f'{section}:\n  x: 1\n')
            allowed = re.search('allowed here: (.*)', self.check(wrong)[1].stderr).group(1).split(', ')
            for key in allowed:
                name = f'{section}.{key}' if section and section != 'devices' else key
                self.assertIn(f'.B {name}\n', manual, f'penstock.yaml(5) does not explain {name}')


if __name__ == '__main__':
    harness.main()
