#!/usr/bin/python3
"""penstockd with workers that behave as no real one would (stub_worker.py), and with clients that do."""
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import time
import unittest

import frames
import harness

EPERM, ETIMEOUT, ELIMIT, EVERSION, EPROTO, ENODEV, EDEVICEGONE = -11, -13, -3, -10, -4, -7, -47
DIRECT, RECORD = 1, 2


class Pool(harness.Scenario):
    def test_found(self):
        devices = self.daemon(stub='').devices()
        self.assertEqual([d[8] for d, _ in devices], ['cpu0', 'cpu1'])

    def test_configured(self):
        daemon = self.daemon('''
devices:
  - {match: "stub-1", name: fast, class: gpu, memory: 1GiB}
  - {match: "stub-2", enabled: off}
  - {match: "stub driver/stub-[04]", name: slow}
''', stub='', environment={'STUB_DEVICES': '5'})
        devices = daemon.devices()
        self.assertEqual([(d[0], d[8], d[1], d[3]) for d, _ in devices],
                         [(1, 'slow0', 0, 8 << 30), (2, 'fast', 1, 1 << 30), (5, 'slow1', 0, 8 << 30)])
        fast = devices[1][1]
        self.assertEqual(struct.unpack('<Q', fast[0x1000])[0], 4)         # CL_DEVICE_TYPE_GPU
        self.assertEqual(struct.unpack('<Q', fast[0x101F])[0], 1 << 30)   # CL_DEVICE_GLOBAL_MEM_SIZE
        self.assertEqual(struct.unpack('<Q', fast[0x1010])[0], 1 << 30)   # CL_DEVICE_MAX_MEM_ALLOC_SIZE

    def test_most_devices(self):
        devices = self.daemon(stub='', environment={'STUB_DEVICES': '70'}).devices()
        self.assertEqual(len(devices), 64)
        self.daemons[0].wait_log(r'not offered: there are 64 already.*\(limit DEVICES\)')

    def test_not_cut(self):
        """A device that was to be cut and is whole: it is said why."""
        for units, said in (96, True), (4, False), (2, False):
            with self.subTest(units):
                daemon = self.daemon('devices: [{match: "stub-0", compute_units: 4}, {match: "*"}]\n', stub='',
                                     environment={'STUB_UNITS': str(units)})
                daemon.wait_log('device stub-1|device cpu1')
                pattern = ('warn .*device "stub-0" of Stub Driver has 96 compute units and is not cut into parts of 4 '
                           r'\(`devices` in .*penstock.yaml\): .* more than 64 parts')
                self.assertEqual(bool(re.search(pattern, daemon.log())), said)
                self.assertNotIn('"stub-1" of Stub Driver has', daemon.log())

    def test_probe_fails(self):
        for word, sentence in [('probe-crash', r'killed by signal 11 .*one of the drivers it loads crashes'),
                               ('probe-hang', r'did not finish within 300 ms \(limits.probe_ms\)'),
                               ('probe-garbage', 'what it sent is no list of devices'),
                               ('probe-short', 'it ended before it had told all devices')]:
            with self.subTest(word):
                config = 'limits: {probe_ms: %d}\n' % (300 if word == 'probe-hang' else 30000)
                daemon = self.daemon(config, stub=word)
                daemon.wait_log('error .*looking for devices failed: .*' + sentence)
                connection = daemon.dial()
                connection.send('device_list')
                name, values = connection.receive()
                self.assertEqual((name, values[0]), ('refused', ENODEV))
                self.assertIn('OCL_ICD_VENDORS' if 'OCL_ICD_VENDORS' in os.environ else '/etc/OpenCL/vendors', values[2])
                self.assertIn('SIGHUP', values[2])

    def test_probe_again(self):
        daemon = self.daemon('drivers: {environment: {STUB: probe-crash}}\n', stub='')
        daemon.wait_log('looking for devices failed')
        daemon.write_config('devices: 3\n')
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_log('kept as it was: .*devices must be a list')
        daemon.write_config('drivers: {environment: {STUB: ""}}\n')
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_log('device cpu1: stub-1')
        self.assertEqual(len(daemon.devices()), 2)

    def test_probe_cancelled(self):
        """A probe that is no longer wanted ends by itself; the next has a directory of its own."""
        daemon = self.daemon('workers: {warm: 0}\ndrivers: {environment: {STUB: probe-hang}}\n', stub='')
        for count in range(1, 6):
            harness.wait_for(lambda: len(daemon.workers()) == 1 and os.listdir(daemon.socket + '.d'), what='one probe')
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_log('configuration read again', count=count)
        daemon.write_config('workers: {warm: 0}\n')
        daemon.process.send_signal(signal.SIGHUP)
        self.assertEqual(len(daemon.devices()), 2)
        harness.wait_for(lambda: not daemon.workers() and not os.listdir(daemon.socket + '.d'), what='nothing left')


class Workers(harness.Scenario):
    def test_workers_have_no_key(self):
        """Neither one that waits nor the probe, whatever the daemon was started with, or is told to give them."""
        key = 'penstock://elsewhere:1/alice#' + 43 * 'k'
        found = self.path('environment')
        daemon = self.daemon(f'drivers: {{environment: {{PENSTOCK_POOL: "{key}", OTHER: given}}}}\n', stub='',
                             environment={'STUB_ENVIRONMENT': found, 'PENSTOCK_POOL': key})
        daemon.wait_log('is warm')
        daemon.devices()
        with open(found, encoding='utf-8') as file:
            lines = file.read().splitlines()
        self.assertGreaterEqual(lines.count('OTHER=given'), 2)
        self.assertFalse([line.split('=')[0] for line in lines if 43 * 'k' in line])

    def test_warm(self):
        daemon = self.daemon('workers: {warm: 2}\n', stub='')
        daemon.wait_log('is warm', count=2)
        wait = time.monotonic()
        connection, (name, _) = daemon.open_session()
        self.assertEqual(name, 'session_opened')
        self.assertLess(time.monotonic() - wait, 0.2 * harness.SLOW)
        daemon.wait_log('is warm', count=3)
        connection.close()
        daemon.wait_log('session 1 of scenario .* ended')

    def test_none_warm(self):
        daemon = self.daemon('workers: {warm: 0}\n', stub='start-slow')
        daemon.wait_log('device cpu0')
        harness.wait_for(lambda: not daemon.workers(), what='no worker')
        connection, (name, _) = daemon.open_session()
        self.assertEqual(name, 'session_opened')
        connection.close()
        harness.wait_for(lambda: not daemon.workers(), what='no worker')

    def test_no_start(self):
        for word, sentence in [('start-crash', 'killed by signal 11'), ('start-garbage', 'sent something unexpected'),
                               ('start-hang', r'not ready within 200 ms \(limits.worker_start_ms\)')]:
            with self.subTest(word):
                start_ms = 200 if word == 'start-hang' else 30000
                daemon = self.daemon(f'limits: {{worker_wait_ms: 700, worker_start_ms: {start_ms}}}\n', stub=word)
                daemon.wait_log(sentence)
                _, (name, values) = daemon.open_session()
                self.assertEqual((name, values[0]), ('refused', ETIMEOUT))
                self.assertIn('limits.worker_wait_ms', values[2])
                # It backs off: 100, 200, 400, ... ms between starts.
                time.sleep(1)
                self.assertLess(len(daemon.log().split(f'killed by signal')), 8)
                daemon.stop()

    def test_missing(self):
        os.mkdir(self.path('d'))
        done = harness.run(harness.PENSTOCKD, '--socket', self.path('d/s'),
                           environment={'PENSTOCK_WORKER_PATH': '/nonexistent'})
        self.assertEqual(done.returncode, 1)
        self.assertIn('PENSTOCK_WORKER_PATH, workers.path', done.stderr)
        self.assertEqual(os.listdir(self.path('d')), [])

    def test_crash(self):
        """A session's death is its own, and the log says which kernel it was."""
        daemon = self.daemon('workers: {warm: 2}\n', stub='adopt-term')
        first, (name, one) = daemon.open_session('first')
        self.assertEqual(name, 'session_opened')
        second, (name, _) = daemon.open_session('second')
        self.assertEqual(name, 'session_opened')
        os.kill(one[5], signal.SIGKILL)
        self.assertIsNone(first.receive())
        daemon.wait_log(r'error .*session 1 of first \(pid \d+\) is lost: its worker \d+ was killed by signal 9 '
                        r'\(Killed\); the last kernel launched was "bad_kernel", before it "first_kernel"')
        listing = daemon.dial()
        listing.send('session_list')
        self.assertEqual(listing.receive()[0], 'sessions')
        second.socket.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            second.receive()

    def test_surplus_workers(self):
        """Workers that were started for clients that gave up do not stay."""
        daemon = self.daemon('limits: {worker_wait_ms: 200}\n', stub='start-slow')
        waiting = [daemon.dial() for _ in range(3)]
        for connection in waiting:
            connection.send('session_open', 0, 0, 0, 'x', '')
        for connection in waiting:
            self.assertEqual(connection.receive()[0], 'refused')
        self.assertGreaterEqual(len(daemon.workers()), 3)
        harness.wait_for(lambda: len(daemon.workers()) == 1, what='one worker to be left')
        time.sleep(0.3)
        self.assertEqual(len(daemon.workers()), 1)

    def test_worker_with_other_devices(self):
        """Ids are places in a list: a worker whose drivers made another list gets no session."""
        daemon = self.daemon('limits: {worker_wait_ms: 500}\n', stub='start-other')
        daemon.wait_log('sees other devices than the pool has')
        _, (name, values) = daemon.open_session()
        self.assertEqual((name, values[0]), ('refused', ETIMEOUT))

    def test_program_with_other_devices(self):
        """The same for a program that knows the list of before."""
        daemon = self.daemon(stub='')
        listing = daemon.dial()
        listing.send('device_list')
        _, (_, _, pool, _) = listing.receive()
        _, (name, values) = daemon.open_session(pool=pool + 1)
        self.assertEqual((name, values[0]), ('refused', EDEVICEGONE))
        self.assertIn('have changed', values[2])
        _, (name, _) = daemon.open_session(pool=pool)
        self.assertEqual(name, 'session_opened')

    def test_crash_at_adopt(self):
        daemon = self.daemon(stub='adopt-crash')
        daemon.wait_log('is warm')
        _, answer = daemon.open_session()
        self.assertIsNone(answer)
        daemon.wait_log('session 1 of scenario .* is lost: .*signal 11')

    def test_garbage_from_worker(self):
        daemon = self.daemon(stub='adopt-garbage')
        _, answer = daemon.open_session()
        self.assertIsNone(answer)
        daemon.wait_log('sent something unexpected')
        daemon.wait_log('session 1 of scenario .* is lost')

    def slowest_answer(self, daemon, seconds):
        """To others, who ask for as long."""
        slowest, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            connection = daemon.dial()
            connection.send('session_list')
            self.assertEqual(connection.receive()[0], 'sessions')
            connection.close()
            slowest = max(slowest, time.monotonic() - begin)
        return slowest

    def answers_at_once(self, seconds, start):
        """The daemon that start() makes does. One that waits takes a second, each time that it is made; a busy machine does not."""
        for _ in range(3):
            daemon = start()
            slowest = self.slowest_answer(daemon, seconds)
            if slowest < 0.8 * harness.SLOW:
                return daemon
        self.fail(f'an answer took {slowest} s')

    def test_word_from_a_session(self):
        """Kernels can write where a worker speaks to the daemon: the daemon does not listen for more."""
        def start():
            daemon = self.daemon('workers: {warm: 0}\n', stub='adopt-byte adopt-stay')
            daemon.open_session()
            return daemon
        daemon = self.answers_at_once(1.2, start)
        daemon.wait_log('sent something unexpected')
        daemon.wait_log('session 1 of scenario .* is lost: .*signal 9')

    def test_slow_word_from_a_worker(self):
        """A worker may take its time to say that it is ready; nobody waits for it."""
        daemon = self.answers_at_once(2.5, lambda: self.daemon(stub='start-trickle'))
        daemon.wait_log('is warm')
        connection, (name, _) = daemon.open_session()
        self.assertEqual(name, 'session_opened')
        connection.close()

    def test_directories(self):
        """A worker's directory goes with it, however deep; those of a killed daemon go at the next start."""
        daemon = self.daemon(stub='')
        daemon.wait_log('is warm')
        connection, (_, values) = daemon.open_session()
        folder = daemon.socket + '.d/worker-1'
        self.assertTrue(os.path.isdir(folder + '/deep/er'))
        os.kill(values[5], signal.SIGKILL)
        harness.wait_for(lambda: not os.path.exists(folder))
        connection.close()

    def test_reload(self):
        """SIGHUP: spare workers are replaced, sessions go on."""
        daemon = self.daemon('workers: {warm: 1}\n', stub='')
        connection, (_, values) = daemon.open_session()
        daemon.wait_log('is warm', count=2)
        before = set(daemon.workers())
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_log('configuration read again')
        harness.wait_for(lambda: not before & set(daemon.workers()) - {values[5]}, what='the old spares gone')
        self.assertIn(values[5], daemon.workers())
        connection.close()

    def test_reload_log(self):
        """SIGHUP changes what is logged, unless --log said."""
        for arguments, warm in ((), True), (('--log', 'info'), False):
            with self.subTest(arguments):
                daemon = self.daemon('workers: {warm: 0}\n', stub='', arguments=arguments)
                daemon.wait_log('device cpu1')
                daemon.write_config('log: debug\nlimits: {handshake_ms: 50}\n')
                daemon.process.send_signal(signal.SIGHUP)
                daemon.wait_log('configuration read again')
                self.assertIsNone(daemon.dial().receive())
                self.assertEqual('debug penstockd' in daemon.log(), warm)


class Clients(harness.Scenario):
    def test_socket(self):
        daemon = self.daemon(stub='')
        self.assertEqual(stat.S_IMODE(os.stat(daemon.socket).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(daemon.socket + '.d').st_mode), 0o700)

    def test_second_daemon(self):
        daemon = self.daemon(stub='')
        done = harness.run(harness.PENSTOCKD, '--socket', daemon.socket,
                           environment={'PENSTOCK_WORKER_PATH': harness.STUB})
        self.assertEqual(done.returncode, 1)
        self.assertIn(daemon.socket, done.stderr)
        self.assertEqual(len(daemon.devices()), 2)

    def test_version(self):
        connection = self.daemon(stub='').dial(hello=False)
        connection.send('hello', 99, 0, 1, 0, 'from the future')
        self.assertEqual(connection.receive()[0], 'hello')
        name, values = connection.receive()
        self.assertEqual((name, values[0]), ('refused', EVERSION))
        self.assertIn('99.0', values[2])
        self.assertIsNone(connection.receive())

    def test_minor_version(self):
        """An older or newer minor version is served; of the features that it asks for, those that are known."""
        daemon = self.daemon(stub='')
        for minor in (0, 1, 77):
            connection = daemon.dial(hello=False)
            connection.send('hello', 1, minor, 1, 0, 'of another release')
            self.assertEqual(connection.receive()[0], 'hello')
            connection.send('session_open', 1 << 31 | 1 << 9 | DIRECT, 0, 0, 'x', '')
            name, values = connection.receive()
            self.assertEqual((name, values[1]), ('session_opened', DIRECT))

    def test_silent(self):
        daemon = self.daemon('limits: {handshake_ms: 150}\n', stub='')
        begin = time.monotonic()
        self.assertIsNone(daemon.dial(hello=False).receive())
        greeted = daemon.dial()
        self.assertIsNone(greeted.receive())
        self.assertGreater(time.monotonic() - begin, 0.25)

    def test_connections(self):
        daemon = self.daemon('limits: {connections: 3}\n', stub='')
        held = [daemon.dial() for _ in range(3)]
        name, values = daemon.dial(hello=False).receive()
        self.assertEqual((name, values[0]), ('refused', ELIMIT))
        self.assertIn('limits.connections', values[2])
        held.pop().close()
        harness.wait_for(lambda: self.is_greeted(daemon), what='room for one more')

    def is_greeted(self, daemon):
        connection = daemon.dial(hello=False)
        connection.send('hello', 1, 0, 1, 0, 'x')
        return connection.receive()[0] == 'hello'

    def test_sessions(self):
        daemon = self.daemon('limits: {sessions: 2}\n', stub='')
        held = [daemon.open_session() for _ in range(2)]
        self.assertEqual([answer[0] for _, answer in held], ['session_opened'] * 2)
        _, (name, values) = daemon.open_session()
        self.assertEqual((name, values[0]), ('refused', ELIMIT))
        self.assertIn('limits.sessions', values[2])
        held[0][0].close()
        daemon.wait_log('session 1 of scenario .* ended')
        _, (name, _) = daemon.open_session()
        self.assertEqual(name, 'session_opened')

    def test_malformed(self):
        daemon = self.daemon(stub='')
        daemon.wait_log(r'worker \d+ is warm')  # what it has by then, it keeps
        before = daemon.descriptors()
        rng = random.Random(1)
        hello = frames.encode('hello', 1, 0, 1, 0, 'x')
        wrong = [b'\xff' * 64, struct.pack('<IHHQ', 0xffffffff, 0x401, 0, 0), struct.pack('<IHHQ', 0, 0x401, 0, 0),
                 struct.pack('<IHHQ', 17, 0x401, 0, 0) + b'\0' * 8, frames.encode('device_list'),
                 hello + frames.encode('ready', 1, 2, 0), hello + frames.encode('hello', 1, 0, 1, 0, 'again'),
                 hello + hello[:16] + b'\xff' * (len(hello) - 16)]
        wrong += [hello + bytes(rng.randrange(256) for _ in range(rng.randrange(16, 400))) for _ in range(50)]
        for data in wrong:
            connection = daemon.dial(hello=False)
            connection.socket.sendall(data)
            connection.socket.shutdown(socket.SHUT_WR)
            while (answer := connection.receive()) is not None:
                self.assertIn(answer[0], ('hello', 'refused'))
            connection.close()
        for cut in range(len(hello)):
            connection = daemon.dial(hello=False)
            connection.socket.sendall(hello[:cut])
            connection.close()
        self.assertEqual(len(daemon.devices()), 2)
        harness.wait_for(lambda: daemon.descriptors() <= before + 2, what='connections closed')

    def test_pipelined(self):
        """Requests are answered one after another; none may follow one that waits."""
        daemon = self.daemon(stub='')
        daemon.wait_log('device cpu1')
        connection = daemon.dial()
        connection.socket.sendall(frames.encode('session_list') * 3 + frames.encode('device_list'))
        self.assertEqual([connection.receive()[0] for _ in range(4)], ['sessions'] * 3 + ['devices'])

    def test_does_not_read(self):
        """A peer that asks for ever and reads nothing costs the daemon neither memory nor time."""
        daemon = self.daemon('limits: {handshake_ms: 500}\n', stub='', environment={'STUB_DEVICES': '64'})
        daemon.wait_log('device cpu63')
        connection = daemon.dial()
        connection.socket.settimeout(0.2)
        try:
            for _ in range(10000):
                connection.socket.sendall(frames.encode('device_list') * 64)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        with open(f'/proc/{daemon.pid}/statm', encoding='ascii') as file:
            resident = int(file.read().split()[1]) * 4096
        self.assertLess(resident, 64 << 20 if not harness.SANITIZED else 1 << 30)
        self.assertEqual(len(daemon.devices()), 64)

    def test_waits_and_leaves(self):
        daemon = self.daemon('workers: {warm: 0}\n', stub='start-hang')
        connection = daemon.dial()
        connection.send('session_open', 0, 0, 0, 'x', '')
        harness.wait_for(daemon.workers, what='a worker is started')
        connection.close()
        self.assertEqual(len(daemon.devices()), 2)

    def test_shutdown(self):
        daemon = self.daemon(stub='')
        connection, _ = daemon.open_session()
        asker = daemon.dial()
        asker.send('shutdown')
        self.assertEqual(asker.receive()[0], 'done')
        self.assertEqual(daemon.process.wait(10), 0)
        self.assertIsNone(connection.receive())

    def test_record(self):
        daemon = self.daemon(stub='')
        target = self.path('log')
        for expected in ('log', 'log.1', 'log.2'):
            connection, (name, _) = daemon.open_session(features=RECORD | DIRECT, record=target)
            self.assertEqual(name, 'session_opened')
            self.assertTrue(os.path.exists(self.path(expected)))
            connection.close()
        for path, sentence in [('log', 'absolute path'), (self.path('no/such'), 'cannot create')]:
            _, (name, values) = daemon.open_session(features=RECORD, record=path)
            self.assertEqual(name, 'refused')
            self.assertIn(sentence, values[2])

    def test_record_names(self):
        """So many logs of one name, and no more."""
        daemon = self.daemon(stub='')
        for name in ['log'] + [f'log.{number}' for number in range(1, 100)]:
            os.mkdir(self.path(name))
        _, (name, values) = daemon.open_session(features=RECORD, record=self.path('log'))
        self.assertEqual((name, values[0]), ('refused', ELIMIT))
        self.assertIn(f'there are 100 files {self.path("log")}, {self.path("log")}.1, ...', values[2])
        os.rmdir(self.path('log.99'))
        _, (name, _) = daemon.open_session(features=RECORD, record=self.path('log'))
        self.assertEqual(name, 'session_opened')
        self.assertTrue(os.path.isfile(self.path('log.99')))

    def test_record_list(self):
        """Who records can ask for the sessions that write to its file, whichever of its names they got."""
        daemon = self.daemon('workers: {warm: 3}\n', stub='')
        held = [daemon.open_session(features=RECORD, record=self.path(name))[0] for name in ('a', 'a', 'b')]
        asker = daemon.dial()

        def count(name):
            asker.send('record_list', name and self.path(name))
            name, frame = asker.receive_frame()
            self.assertEqual(name, 'sessions')
            return struct.unpack_from('<I', frame, 16)[0]
        self.assertEqual([count(name) for name in ('a', 'b', 'c', 'a.1', '')], [2, 1, 0, 0, 0])
        held[0].close()
        harness.wait_for(lambda: count('a') == 1)
        for connection in held[1:]:
            connection.close()

    def test_refused_record(self):
        """Who is refused, or does not wait, leaves no file and no descriptor, however often it asks."""
        daemon = self.daemon('workers: {warm: 0}\nlimits: {worker_wait_ms: 100}\n', stub='start-hang')
        daemon.wait_log('device cpu1')
        before = daemon.descriptors()
        connection = daemon.dial()
        for _ in range(5):
            connection.send('session_open', RECORD, 0, 1234, 'x', self.path('log'))
            self.assertEqual(connection.receive()[1][0], EDEVICEGONE)
        harness.wait_for(lambda: daemon.descriptors() <= before + 1, what='no descriptor kept')
        self.assertEqual(sorted(os.listdir(self.folder)), ['daemon0'])
        connection.send('session_open', RECORD, 0, 0, 'x', self.path('log'))
        harness.wait_for(lambda: os.path.exists(self.path('log')), what='the log')
        self.assertEqual(connection.receive()[1][0], ETIMEOUT)
        harness.wait_for(lambda: not os.path.exists(self.path('log')), what='no log')

    def test_refused_while_waiting(self):
        """The pool changes under a client that waits: its request is over, its connection is not."""
        daemon = self.daemon('workers: {warm: 0}\nlimits: {worker_wait_ms: 60000}\n', stub='start-slow')
        connection = daemon.dial()
        connection.send('device_list')
        _, (count, _, pool, _) = connection.receive()
        for _ in range(count):
            for _ in range(connection.receive()[1][5]):
                connection.receive()
        connection.send('session_open', RECORD, 0, pool, 'x', self.path('log'))
        harness.wait_for(lambda: os.path.exists(self.path('log')), what='the log')
        daemon.write_config('workers: {warm: 1}\ndevices: [{match: "*", name: other}]\n')
        daemon.process.send_signal(signal.SIGHUP)
        name, values = connection.receive()
        self.assertEqual((name, values[0]), ('refused', EDEVICEGONE))
        self.assertFalse(os.path.exists(self.path('log')))
        daemon.wait_log('is warm')
        connection.send('device_list')
        self.assertEqual(connection.receive()[0], 'devices')


class Life(harness.Scenario):
    def test_idle(self):
        """No CPU when nothing happens, also with sessions open."""
        daemon = self.daemon(stub='')
        connection, _ = daemon.open_session()
        daemon.wait_log('is warm', count=2)
        time.sleep(0.3)
        before = daemon.cpu_ticks()
        time.sleep(2)
        self.assertLessEqual(daemon.cpu_ticks() - before, 1)
        connection.close()

    def test_closed_streams(self):
        """Without standard streams, and with nobody writing into what took their numbers."""
        daemon = self.daemon(stub='', preexec=lambda: [os.close(fd) for fd in range(3)])
        self.assertEqual(len(daemon.devices()), 2)
        connection, (name, _) = daemon.open_session()
        self.assertEqual(name, 'session_opened')
        self.assertEqual([os.readlink(f'/proc/{daemon.pid}/fd/{fd}') for fd in range(3)], ['/dev/null'] * 3)
        connection.close()

    def test_locked_directory(self):
        """Who locks the folder of the socket keeps a daemon from starting, with a sentence, not waiting for ever."""
        held = os.open(self.folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
        done = harness.run(harness.PENSTOCKD, '--socket', self.path('s'), timeout=10,
                           environment={'PENSTOCK_WORKER_PATH': harness.STUB})
        os.close(held)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f'another process keeps the directory of {self.path("s")} locked', done.stderr)
        self.assertIn('PENSTOCK_SOCKET', done.stderr)

    def test_term(self):
        daemon = self.daemon('limits: {stop_ms: 400}\n', stub='adopt-stay')
        connection, _ = daemon.open_session()
        workers = daemon.workers()
        self.assertTrue(workers)
        begin = time.monotonic()
        self.assertEqual(daemon.stop(), 0)
        self.assertGreater(time.monotonic() - begin, 0.3)
        self.assertFalse([pid for pid in workers if harness.alive(pid)])
        self.assertIsNone(connection.receive())

    def test_term_twice(self):
        daemon = self.daemon('limits: {stop_ms: 60000}\n', stub='adopt-stay')
        connection, _ = daemon.open_session()
        daemon.process.terminate()
        daemon.wait_log('stopping: signal 15')
        daemon.process.terminate()
        self.assertEqual(daemon.process.wait(10), 0)
        self.assertIsNone(connection.receive())

    def test_killed(self):
        """SIGKILL: workers vanish at once, and the next daemon finds its way."""
        daemon = self.daemon(stub='adopt-stay')
        connection, _ = daemon.open_session()
        daemon.wait_log('is warm', count=2)
        workers = daemon.workers()
        daemon.process.kill()
        daemon.process.wait()
        harness.wait_for(lambda: not any(harness.alive(pid) for pid in workers), 2, 'workers gone')
        self.assertIsNone(connection.receive())
        self.assertTrue(os.path.exists(daemon.socket + '.d'))
        after = harness.Daemon(daemon.folder, stub='')
        self.daemons.append(after)
        self.assertEqual(len(after.devices()), 2)
        after.wait_log('is warm')
        harness.wait_for(lambda: os.listdir(after.socket + '.d') == ['worker-1'], what='only its own directories')

    def penstockd(self, *arguments):
        return harness.run(harness.PENSTOCKD, *arguments, timeout=20,
                           environment={'PENSTOCK_WORKER_PATH': harness.STUB, 'STUB': ''})

    def write(self, name, text=''):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='ascii') as file:
            file.write(text)
        return path

    def test_private_directory(self):
        """It removes what it made, never what it was pointed to."""
        kept = self.write('home/vendors/kept')
        home = self.path('home')
        wrong = self.write('wrong.yaml', 'limits: {sesions: 1}\n')
        for arguments, status, part in ((['--check'], 0, 'is good'), (['--config', wrong], 1, 'unknown key'),
                                        ([], 1, f'{home} is not empty (--private)'),
                                        (['--socket', self.path('s')], 1, 'is not empty')):
            with self.subTest(arguments):
                done = self.penstockd('--private', home, *arguments)
                self.assertEqual(done.returncode, status)
                self.assertIn(part, done.stdout + done.stderr)
                self.assertTrue(os.path.exists(kept))

    def test_socket_group(self):
        """Members of the group use the pool, and do not manage it; others do not reach it."""
        if os.geteuid():
            self.skipTest('becoming other users needs root')
        group, nobody = 54321, 65534
        os.chmod(self.folder, 0o711)
        pool = self.path('pool/penstockd.sock')
        demo, penstock, icd = [shutil.copy(os.path.join(harness.BUILD, each), self.folder)
                               for each in ('examples/demo', 'src/cli/penstock', 'src/icd/libpenstock-icd.so')]
        vendor = self.write('penstock.icd', icd)
        for each in demo, penstock, icd, vendor:
            os.chmod(each, 0o755)
        with open(os.path.join(harness.TOP, 'docs/examples/two-devices.yaml'), encoding='utf-8') as file:
            config = self.write('daemon.yaml', file.read() + f'socket_group: {group}\n')
        daemon = subprocess.Popen([harness.PENSTOCKD, '--config', config, '--socket', pool], stderr=subprocess.DEVNULL)
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.terminate)
        harness.wait_for(lambda: os.path.exists(pool) and os.stat(pool).st_gid == group, what='the socket')
        self.assertEqual(stat.S_IMODE(os.stat(pool).st_mode), 0o660)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(pool)).st_mode), 0o710)
        environment = {'PENSTOCK_SOCKET': pool, 'OCL_ICD_VENDORS': vendor}

        def run_as(groups, *command):
            return harness.run(*command, environment=environment, user=nobody, group=nobody, extra_groups=groups, cwd='/')
        done = run_as([group], demo)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn('platform "Penstock" with ', done.stdout)
        done = run_as([group], penstock, 'stop')
        self.assertIn(f'only user 0, who runs penstockd, may stop it (you are user {nobody})', done.stderr)
        done = run_as([], demo)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('no OpenCL platform', done.stdout + done.stderr)

    def test_group_kept_out(self):
        """A folder through which the group's members cannot pass."""
        os.mkdir(self.path('x'), 0o700)
        config = self.write('x/yaml', f'socket_group: {os.getgid()}\n')
        done = self.penstockd('--config', config, '--socket', self.path('x/s'))
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"members of socket_group ({os.getgid()}) cannot reach a socket in {self.path('x')}", done.stderr)

    def test_directory_of_others(self):
        """<socket>.d may be there already, for something else."""
        config = self.write('x/s.d/conf/file')
        self.write('x/s.d/worker-x/file')
        self.write('x/s.d/worker-3/deep/file')
        process = subprocess.Popen([harness.PENSTOCKD, '--socket', self.path('x/s')], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL,
                                   env=dict(os.environ, PENSTOCK_WORKER_PATH=harness.STUB, STUB=''))
        self.addCleanup(process.kill)
        folder = self.path('x/s.d')
        harness.wait_for(lambda: sorted(os.listdir(folder)) == ['conf', 'worker-1', 'worker-x'],
                         what='its own directories only')
        process.terminate()
        process.wait(20)
        self.assertTrue(os.path.exists(config))
        self.assertEqual(sorted(os.listdir(self.path('x')) + os.listdir(folder)), ['conf', 's.d', 'worker-x'])
        os.chmod(folder, 0o777)
        done = self.penstockd('--socket', self.path('x/s'))
        self.assertEqual(done.returncode, 1)
        self.assertIn(f'{folder} belongs to user {os.getuid()} and has mode 777', done.stderr)
        self.assertEqual(os.listdir(self.path('x')), ['s.d'])

    def test_restart(self):
        """A daemon that starts while the one before still ends waits for it, and keeps what is its own."""
        before = self.daemon('limits: {stop_ms: 2500}\n', stub='adopt-stay')
        connection, _ = before.open_session()
        before.process.terminate()
        harness.wait_for(lambda: not os.path.exists(before.socket), what='no socket')
        after = harness.Daemon(before.folder, stub='', log='after.log')
        self.daemons.append(after)
        after.wait_log('the penstockd before this one is still ending')
        self.assertIsNone(before.process.poll())
        session, (name, _) = after.open_session()
        self.assertEqual(name, 'session_opened')
        self.assertEqual(before.process.wait(10), 0)
        time.sleep(0.2)
        self.assertIn('worker-1', os.listdir(after.socket + '.d'))
        self.assertIsNone(connection.receive())
        session.close()

    def test_restart_in_vain(self):
        before = self.daemon('limits: {stop_ms: 60000}\n', stub='adopt-stay')
        connection, _ = before.open_session()
        before.process.terminate()
        harness.wait_for(lambda: not os.path.exists(before.socket), what='no socket')
        for signalled in (False, True):
            after = harness.Daemon(before.folder, 'limits: {stop_ms: 0}\n', stub='', log='after.log')
            self.addCleanup(after.process.kill)
            after.wait_log('is still ending')
            if signalled:
                after.process.terminate()
            self.assertEqual(after.process.wait(10), 1)
            after.wait_log('stopped by signal 15' if signalled else 'waited 2000 ms, limits.stop_ms and 2 s more')
            self.assertFalse(os.path.exists(before.socket))
        before.process.terminate()
        self.assertEqual(before.process.wait(10), 0)
        self.assertIsNone(connection.receive())

    def test_nothing_leaks(self):
        """Clients that vanish at every point leave no descriptor, process or directory."""
        daemon = self.daemon(stub='')
        daemon.wait_log('is warm')
        before = daemon.descriptors()
        rng = random.Random(2)
        for _ in range(40):
            connection = daemon.dial(hello=False)
            for frame in (frames.encode('hello', 1, 0, 1, 0, 'x'), frames.encode('device_list'),
                          frames.encode('session_open', 0, 0, 0, 'x', '')):
                cut = rng.choice([len(frame)] * 3 + [rng.randrange(len(frame))])
                connection.socket.sendall(frame[:cut])
                if cut < len(frame):
                    break
            connection.close()
        harness.wait_for(lambda: daemon.descriptors() <= before, what='descriptors closed')
        harness.wait_for(lambda: len(daemon.workers()) == 1, what='one spare worker')
        harness.wait_for(lambda: len(os.listdir(daemon.socket + '.d')) == 1, what='one directory')


if __name__ == '__main__':
    harness.main()
