"""Several pools at once: one on this host, one on another (over TLS), both with fake devices, told by their memory."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import unittest

import harness

PROGRAM = os.environ['PENSTOCK_POOLS_PROGRAM']
HERE, THERE = '64 MiB', '128 MiB'  # the devices' memory


class Pools(harness.Scenario):
    def setUp(self):
        super().setUp()
        self.here = self.daemon('backend: fake\n', environment={'PENSTOCK_FAKE_MEMORY': str(64 << 20)})
        self.there = self.daemon('backend: fake\nsession: {reconnect_window: 1 s}\n' + harness.listen(self.path('daemon1')),
                                 environment={'PENSTOCK_FAKE_MEMORY': str(128 << 20), 'PENSTOCK_FAKE_DEVICES': '2'})
        self.remote = self.there.tenant('alice')
        self.name = self.remote.split('#')[0]

    def environment(self, pools):
        options = os.environ.get('TSAN_OPTIONS', '') + ':die_after_fork=0'  # a session elsewhere has threads, also in a child
        return self.here.program_environment() | {'PENSTOCK_POOL': pools, 'PENSTOCK_VERBOSE': '1', 'TSAN_OPTIONS': options}

    def run_program(self, *arguments, pools):
        return harness.run(PROGRAM, *arguments, environment=self.environment(pools))

    def start(self, *arguments, pools):
        program = subprocess.Popen([PROGRAM, *arguments], env=self.environment(pools), text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(program.communicate)
        self.addCleanup(program.kill)
        return program

    def devices(self, pools, *options):
        return harness.run(harness.PENSTOCK, 'devices', *options, environment=self.environment(pools))

    @contextlib.contextmanager
    def silent(self):
        """A pool where somebody listens and never says a word."""
        with socket.create_server(('127.0.0.1', 0)) as listener:
            yield self.remote.replace(self.there.address(), '127.0.0.1:%d' % listener.getsockname()[1])

    def test_all_of_them(self):
        """In the order of the list, however it is written."""
        here, there = f'{HERE}: ok\n', f'{THERE}: ok\n' * 2
        for pools, expected in [(f'local {self.remote}', here + there), (f'{self.remote},local', there + here),
                                (f' {self.remote} ,\n\tlocal\n', there + here), (self.remote, there), ('local', here),
                                (' , ', here), (f'local {self.remote} local', here + there + here)]:
            with self.subTest(pools=pools):
                done = self.run_program('each', pools=pools)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (0, expected, ''))

    def test_file(self):
        os.mkdir(self.path('penstock'))
        path = self.path('penstock/pool')
        environment = self.here.program_environment() | {'XDG_CONFIG_HOME': self.folder, 'PENSTOCK_SOCKET': '',
                                                         'XDG_RUNTIME_DIR': self.path('nowhere'), 'PENSTOCK_VERBOSE': '1'}
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), 'w', encoding='ascii') as file:
            file.write(f'# the big one\n\n{self.remote}\n  #{self.remote}\n{self.remote}  # again\n')
        done = harness.run(PROGRAM, 'each', environment=environment)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, f'{THERE}: ok\n' * 4, ''))
        listed = harness.run(harness.PENSTOCK, 'devices', '--json', environment=environment)
        self.assertEqual([each['pool'] for each in json.loads(listed.stdout)], [self.name] * 4, listed.stderr)
        with open(path, 'a', encoding='ascii') as file:
            file.write('gpu\n')
        done = harness.run(PROGRAM, 'each', environment=environment)
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"no platform: {path}, pool 3: a pool's address is penstock://HOST", done.stderr)
        os.chmod(path, 0o640)
        done = harness.run(PROGRAM, 'each', environment=environment)
        self.assertEqual(done.returncode, 2)
        self.assertIn(f'no platform: {path} is not used, since others can read or write it (mode 0640; 0600 is allowed)', done.stderr)
        os.remove(path)
        os.mkfifo(path, 0o600)
        done = harness.run(PROGRAM, 'each', environment=environment, timeout=10)
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"no platform: reading the pools' addresses from {path}: it is no file", done.stderr)

    def test_devices(self):
        done = self.devices(f'local {self.remote}', '--json')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertEqual([(each['pool'], each['id'], each['memory_bytes'] >> 20) for each in json.loads(done.stdout)],
                         [('local', 1, 64), (self.name, 1, 128), (self.name, 2, 128)])
        done = self.devices(f'local {self.remote}')
        self.assertRegex(done.stdout, rf'^local:\nNAME .*\n.* fake\n\n{self.name}:\nNAME .*\n.* fake\n.* fake\n$')
        self.assertNotIn(self.remote.split('#')[1], done.stdout + done.stderr)
        self.assertRegex(self.devices(self.remote).stdout, r'^NAME .*\n.* fake\n.* fake\n$')

    def test_name_of_bytes(self):
        """A host's name need not be UTF-8; JSON is. It is in a hosts file of a mount namespace's own: that takes no rights."""
        hosts = self.path('hosts')
        with open(hosts, 'wb') as file:
            file.write(b'127.0.0.1 h\xe9\n')
        wrapper = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', 'mount --bind "$0" /etc/hosts && exec "$@"', hosts)
        if subprocess.run([*wrapper, 'true'], check=False, capture_output=True).returncode:
            self.skipTest('no namespace in which a hosts file can be mounted')
        pool = self.remote.replace('127.0.0.1', os.fsdecode(b'h\xe9'))
        done = harness.run(*wrapper, harness.PENSTOCK, 'devices', '--json', environment=self.environment(pool))
        self.assertEqual([each and each['pool'] for each in json.loads(done.stdout)],
                         [self.name.replace('127.0.0.1', 'h\ufffd')] * 2, done.stderr)

    def test_replay(self):
        """With the first of several pools, and it is said which that is."""
        log = self.path('log')
        done = harness.run(harness.PENSTOCK, 'log', 'record', log, '--', PROGRAM, 'each', environment=self.environment('local'))
        self.assertEqual(done.returncode, 0, done.stderr)
        for pools, said in [('local', ''), (self.remote, ''),
                            (f'local {self.remote}', f'penstock: {log}: of 2 pools the first is used, local\n'),
                            (f'{self.remote} local', f'penstock: {log}: of 2 pools the first is used, {self.name}\n')]:
            with self.subTest(pools=pools):
                done = harness.run(harness.PENSTOCK, 'log', 'replay', log, environment=self.environment(pools))
                self.assertEqual((done.returncode, done.stderr), (0, said), done.stdout)

    def test_record(self):
        """Sessions elsewhere are not: that is said, and nothing runs that would go unrecorded."""
        log = self.path('log')
        record = [harness.PENSTOCK, 'log', 'record', log, '--', PROGRAM]
        done = harness.run(*record, 'each', environment=self.environment(self.remote))
        self.assertEqual((done.returncode, done.stdout, os.path.exists(log)), (1, '', False))
        self.assertIn('where the pool is, or use --private', done.stderr)
        done = harness.run(*record, 'each', environment=self.environment(f'local {self.remote}'))
        self.assertEqual((done.returncode, done.stdout), (1, 'wrong: setting up: -2\n'))
        self.assertIn(f'sessions on another host ({self.there.address()}) are not recorded', done.stderr)
        self.assertTrue(os.path.exists(log))

    def test_private_daemon(self):
        """It takes the place of all pools that are named; with pools named, none is started."""
        configuration = self.path('private.yaml')
        with open(configuration, 'w', encoding='ascii') as file:
            file.write('backend: fake\n')
        environment = self.environment(self.remote) | {'PENSTOCK_FAKE_MEMORY': str(32 << 20)}
        done = harness.run(harness.PENSTOCK, 'run', '--config', configuration, '--', PROGRAM, 'each', environment=environment)
        self.assertEqual((done.returncode, done.stdout), (0, '32 MiB: ok\n'), done.stderr)
        nowhere = {'PENSTOCK_SOCKET': self.path('none.sock')}
        done = harness.run(harness.PENSTOCK, 'devices', '--json', environment=environment | nowhere)
        self.assertEqual([each['pool'] for each in json.loads(done.stdout)], [self.name] * 2, done.stderr)
        done = harness.run(harness.PENSTOCK, 'devices', environment=environment | nowhere | {'PENSTOCK_POOL': 'local'})
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertIn('none.sock', done.stderr)

    def test_some_do_not_answer(self):
        """They hide nothing, hold up nobody for long, and it is said which and why."""
        with socket.create_server(('127.0.0.1', 0)) as listener:
            port = listener.getsockname()[1]
        refused = self.remote.replace(self.there.address(), f'127.0.0.1:{port}')
        stranger = re.sub('#.', '#B' if '#A' in self.remote else '#A', self.remote)
        with self.silent() as silent:
            for pool, seconds, why in [(refused, 1, 'refused'), (stranger, 1, 'does not accept the key of tenant alice'),
                                       (silent, 4, 'as tenant alice: no answer in time')]:
                name = pool.split('#')[0]
                with self.subTest(pool=pool):
                    begin = time.monotonic()
                    done = self.run_program('each', pools=f'{pool} local')
                    took = time.monotonic() - begin
                    self.assertEqual((done.returncode, done.stdout), (0, f'{HERE}: ok\n'))
                    self.assertRegex(done.stderr, rf'(?i)^penstock: {re.escape(name)}: .*{why}.*\n$')
                    self.assertLess(took, seconds * harness.SLOW)
                    done = self.devices(f'{pool} local {self.remote}', '--json')
                    self.assertEqual([each['pool'] for each in json.loads(done.stdout)], ['local', self.name, self.name])
                    self.assertEqual(done.returncode, 1)
                    self.assertRegex(done.stderr, rf'(?i)^penstock: {re.escape(name)}: .*{why}.*\n$')

    def test_none_answers(self):
        """No platform, at once; all are said."""
        with socket.create_server(('127.0.0.1', 0)) as listener:
            port = listener.getsockname()[1]
        refused = self.remote.replace(self.there.address(), f'127.0.0.1:{port}')
        nowhere = self.environment(f'{refused} local') | {'PENSTOCK_SOCKET': self.path('none.sock')}
        begin = time.monotonic()
        done = harness.run(PROGRAM, 'each', environment=nowhere)
        self.assertLess(time.monotonic() - begin, harness.SLOW)
        self.assertEqual((done.returncode, done.stdout), (2, 'no platform\n'))
        self.assertRegex(done.stderr, r'^penstock: penstock://.*/alice: .*\npenstock: local: .*none.sock.*\n'
                                      r'penstock: no platform: none of 2 pools has a device\n$')

    def test_too_many(self):
        done = self.devices('local ' * 33)
        self.assertEqual(done.returncode, 1)
        self.assertIn('PENSTOCK_POOL names more than 32 pools', done.stderr)

    def test_contexts(self):
        """Of devices of one pool; from a type, of the first that has one."""
        done = self.run_program('together', pools=f'{self.remote} local')
        self.assertEqual(done.returncode, 0)
        told, of_all, of_type = done.stdout.splitlines()
        self.assertRegex(told, f'^told: a context is of devices of one pool, .* {self.name} and local: one for each pool')
        self.assertEqual((of_all, of_type), ('all: -33:', 'from type: 0: 128 128'))
        self.assertRegex(done.stderr, '^penstock: no context: a context is of devices of one pool')
        done = self.run_program('together', pools=self.remote)
        self.assertEqual(done.stdout, 'all: 0: 128 128\nfrom type: 0: 128 128\n')

    def test_callbacks(self):
        for pools in f'{self.remote} local', f'local {self.remote}':
            done = self.run_program('callbacks', pools=pools)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertLess(float(done.stdout.split()[0]), 500 * harness.SLOW)

    def test_fork(self):
        done = self.run_program('fork', pools=f'local {self.remote}')
        self.assertEqual((done.returncode, done.stdout), (0, f'{HERE}: ok\n' + f'{THERE}: ok\n' * 2))
        for daemon in self.here, self.there:
            daemon.wait_log(r'session 2 of \S+ \(pid \d+\) ended')
            self.assertNotIn('session 3', daemon.log())

    def lose(self, end, devices):
        """Ends one of the two while both work: who is lost, when so many devices are."""
        program = self.start('loop', pools=f'local {self.remote}')
        self.assertEqual(program.stdout.readline(), 'running\n')
        end()
        patience = threading.Timer(30 * harness.SLOW, program.kill)
        patience.start()
        self.addCleanup(patience.cancel)
        for _ in range(devices):
            self.assertEqual(program.stdout.readline(), 'lost\n')
        out, _ = program.communicate('\n', timeout=30 * harness.SLOW)
        self.assertEqual(program.returncode, 0, out)
        return {line.split(':')[0] for line in out.splitlines() if 'lost' in line}

    def test_one_dies(self):
        """The other goes on."""
        workers = []

        def end():
            workers.extend(self.there.workers())
            self.there.process.kill()
        self.assertEqual(self.lose(end, devices=2), {THERE})
        harness.wait_for(lambda: not any(harness.alive(pid) for pid in workers), what='its workers gone')

    def test_this_hosts_dies(self):
        self.assertEqual(self.lose(self.here.process.kill, devices=1), {HERE})

    def test_worker_dies(self):
        self.there.expect(r'is lost: its worker \d+ was killed by signal 9')

        def end():
            os.kill(int(self.there.wait_log(r'session 1 of .*: worker (\d+)')), signal.SIGKILL)
        self.assertEqual(self.lose(end, devices=2), {THERE})

    def test_hangs_when_it_is_opened(self):
        """Who uses another pool does not wait for it, nor for a thread that forks and does."""
        program = self.start('late', pools=f'{self.remote} local')
        self.assertEqual(program.stdout.readline(), 'ready\n')
        os.kill(self.there.pid, signal.SIGSTOP)
        try:
            program.stdin.write('\n')
            program.stdin.flush()
            self.assertRegex(program.stdout.readline(), f'^{HERE}: 0 after')
        finally:
            os.kill(self.there.pid, signal.SIGCONT)
        for _ in range(2):
            self.assertRegex(program.stdout.readline(), f'^{THERE}: 0 after')
        self.assertEqual(program.wait(20 * harness.SLOW), 0)

    def test_broken_connection(self):
        """Who waits for the bytes of a device that cannot be reached waits alone; and is not told that they are here when
        they cannot be had any more."""
        for window, back, status in ('60 s', True, '0'), ('1 s', False, r'-\d+'):
            with self.subTest(window=window):
                self.break_connection(window, back, status)

    def test_full(self):
        """Nor does anybody wait with those who have sent to it until there was no room for more."""
        self.break_connection('60 s', True, '0', 'full')

    def test_full_and_fork(self):
        """Nor with a thread that forks then, which does wait with them."""
        self.break_connection('60 s', True, '0', 'full-fork')

    def break_connection(self, window, back, status, mode='hostptr'):
        far = self.daemon(f'backend: fake\nsession: {{reconnect_window: {window}}}\n' + harness.listen(self.path(f'daemon{len(self.daemons)}')),
                          environment={'PENSTOCK_FAKE_MEMORY': str(32 << 20)})
        proxy = harness.Proxy(far.address(), lambda: None, harness.seeded())
        program = self.start(mode, pools=f'{far.tenant("alice").replace(far.address(), proxy.address)} local')
        self.assertEqual(program.stdout.readline(), 'ready\n')
        proxy.open = False
        proxy.cut_all()
        harness.wait_for(lambda: proxy.cuts, what='the cut')
        begin = time.monotonic()
        program.stdin.write('\n')
        program.stdin.flush()
        self.assertRegex(program.stdout.readline(), f'^{HERE}: 0 after')
        self.assertLess(time.monotonic() - begin, 10 * harness.SLOW)
        proxy.open = back
        self.assertRegex(program.stdout.readline(), f'^32 MiB: {status} after')
        self.assertEqual(program.wait(20 * harness.SLOW), 0)

    def test_gone_when_it_is_opened(self):
        """A context from a type is had of the next."""
        program = self.start('type', pools=f'{self.remote} local')
        self.assertEqual(program.stdout.readline(), 'ready\n')
        self.assertEqual(self.there.stop(), 0)
        out, said = program.communicate('\n', timeout=30 * harness.SLOW)
        self.assertEqual((program.returncode, out), (0, 'from type: 0: 64\n'))
        self.assertRegex(said, '^penstock: no session: ')


if __name__ == '__main__':
    harness.main()
