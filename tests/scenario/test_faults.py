#!/usr/bin/python3
"""What can go wrong with a pool on another host, while programs of several tenants are at work there: FFmpeg, on PoCL's device, each
with frames that must be those it has natively. One of them has nothing to do with any of it, and must not notice. Cuts of a network,
and what is lost on it, are `./do soak`'s and test_network.py's; resets at chosen moments test_reset.py's."""
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import harness

POCL = '/etc/OpenCL/vendors/pocl.icd'
WIDTH, HEIGHT = 160, 120
COMMAND = ['ffmpeg', '-hide_banner', '-loglevel', 'error', '-nostdin', '-init_hw_device', 'opencl=ocl:0.0', '-filter_hw_device', 'ocl',
           '-f', 'rawvideo', '-pixel_format', 'yuv420p', '-video_size', f'{WIDTH}x{HEIGHT}', '-i', 'pipe:0', '-filter_complex',
           'hwupload,transpose_opencl=dir=clock,hwdownload,format=yuv420p', '-flush_packets', '1', '-f', 'framemd5', '-']
PICTURES = [random.Random(number).randbytes(WIDTH * HEIGHT * 3 // 2) for number in range(8)]  # again and again
MOST = 1500  # frames
STRANGERS = 'limits: {handshakes: 16, handshake_burst: 10000}\n'  # many of them, of whom few are kept


class Program:
    """FFmpeg, which gets frame after frame, and is at work until it is told that they are enough."""

    def __init__(self, environment, pause=0.02):
        self.process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                                        env=os.environ | environment)
        self.lines, self.errors, self.longest = [], b'', 0  # s between two frames
        self.between, self.enough = pause, threading.Event()
        self.threads = [threading.Thread(target=each, daemon=True) for each in (self.feed, self.read, self.read_errors)]
        for thread in self.threads:
            thread.start()

    def feed(self):
        with contextlib.suppress(BrokenPipeError), self.process.stdin as pipe:
            for number in range(MOST):
                pipe.write(PICTURES[number % len(PICTURES)])
                if self.enough.wait(self.between):
                    return
            self.enough.wait()

    def read(self):
        with os.fdopen(os.dup(self.process.stdout.fileno()), encoding='ascii') as lines:
            last = None
            for line in lines:
                now = time.monotonic()
                self.longest = max(self.longest, now - (last or now))
                last = now
                self.lines.append(line)

    def read_errors(self):
        self.errors = self.process.stderr.readall()

    def finish(self):
        """Its status, when it has ended, which takes no half of reconnect_window."""
        self.enough.set()
        status = self.process.wait(30)
        for thread in self.threads:
            thread.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return status


class Recorder(harness.Proxy):
    """Keeps what a program says first on each of its connections."""

    def __init__(self, target):
        self.said = {}
        super().__init__(target, lambda: None, None)

    def forward(self, sock):
        if sock.getsockname() == self.listener.getsockname():
            with contextlib.suppress(OSError):
                self.said.setdefault(sock.getpeername(), sock.recv(1 << 18, socket.MSG_PEEK))
        super().forward(sock)


class Faults(harness.Scenario):
    def setUp(self):
        super().setUp()
        for needed in POCL, shutil.which('ffmpeg') or '/usr/bin/ffmpeg':
            if not os.path.exists(needed):
                self.skipTest(f'{needed} is not installed')
        self.drivers = {'OCL_ICD_VENDORS': POCL, 'POCL_CACHE_DIR': self.path('pocl')}
        native = Program(self.drivers, pause=0)
        harness.wait_for(lambda: len(native.lines) >= MOST, seconds=60, what='frames natively')
        self.assertEqual((native.finish(), native.errors), (0, b''))
        self.native = native.lines
        self.host = self.daemon(f'cache: {{dir: {self.folder}/cache}}\n' + STRANGERS + harness.listen(self.path('daemon0')),
                                environment=self.drivers)
        self.sessions = 0

    def launch(self, pool):
        program = Program({'OCL_ICD_VENDORS': harness.VENDORS, 'PENSTOCK_POOL': pool, 'PENSTOCK_SOCKET': os.devnull})
        self.addCleanup(program.process.kill)
        return program

    def listed(self):
        """What `penstock ps` says of each session."""
        return {each['session']: each for each in json.loads(self.host.run(harness.PENSTOCK, 'ps', '--json').stdout)}

    def wait_frames(self, *programs):
        """Until each has some more."""
        for program in programs:
            before = len(program.lines)
            harness.wait_for(lambda before=before, lines=program.lines: len(lines) > before + 10, seconds=30, what='frames')

    def start(self, pool):
        """One that is at work: (the program, its worker)."""
        program = self.launch(pool)
        self.sessions += 1
        self.wait_frames(program)
        return program, self.listed()[self.sessions]['worker']

    def assertNative(self, *programs):
        """They go on, and all was as it would have been natively."""
        self.wait_frames(*programs)
        for program in programs:
            self.assertEqual((program.finish(), program.errors), (0, b''))
            self.assertEqual(program.lines, self.native[:len(program.lines)])

    def assertFails(self, program):
        """It is told, while more frames come, and not only when it has waited for long."""
        self.assertGreater(program.process.wait(30), 0)
        program.finish()
        self.assertTrue(program.errors)

    def dial(self):
        host, port = self.host.address().rsplit(':', 1)
        return socket.create_connection((host, int(port)), 10)

    def assertStranger(self, said):
        """Who says this is told no more than that TLS is spoken here: its first flight, or an alert."""
        heard = b''
        with self.dial() as sock, contextlib.suppress(ConnectionResetError, TimeoutError):
            sock.settimeout(0.5)
            sock.sendall(said)
            while got := sock.recv(4096):
                heard += got
        self.assertLess(len(heard), 400)

    def crowd(self, idle):
        """A port scanner, peers that speak something else, and a thousand that say nothing and stay."""
        for _ in range(100):
            self.dial().close()
        self.assertStranger(b'GET / HTTP/1.0\r\n\r\n')
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        with self.dial() as sock, self.assertRaises((ssl.SSLError, OSError)):
            context.wrap_socket(sock).close()
        for _ in range(1000):
            idle.enter_context(self.dial())

    def restart(self):
        self.host.process.kill()
        self.host.process.wait()
        with open(self.host.config, encoding='utf-8') as file:
            text = file.read().replace('"127.0.0.1:0"', f'"{self.host.address()}"')
        self.host = harness.Daemon(self.host.folder, text, environment=self.drivers, log='penstockd1.log')
        self.daemons.append(self.host)
        self.host.wait_log('goes on', count=self.sessions)

    def test_what_programs_live_through(self):
        chance = harness.seeded()
        cut = harness.Proxy(self.host.address(), lambda: chance.uniform(0.1, 0.6), chance)
        undisturbed, broken, stalled = (self.start(self.host.tenant(name).replace(self.host.address(), address))[0] for name, address in (
            ('bob', self.host.address()), ('alice', cut.address), ('carol', self.host.address())))
        stalled.process.send_signal(signal.SIGSTOP)
        with contextlib.ExitStack() as idle:
            self.crowd(idle)
            self.restart()
            self.wait_frames(undisturbed, broken)
            harness.wait_for(lambda: cut.cuts > 5, seconds=30, what='cuts')
            stalled.process.send_signal(signal.SIGCONT)
            self.assertNative(undisturbed, broken, stalled)
        self.assertLess(undisturbed.longest, 5)

    def test_what_ends_programs(self):
        self.host.expect(r'is lost: its worker \d+ was killed by signal 9')
        recorder = Recorder(self.host.address())
        bob, alice, carol, dave = (self.host.tenant(name) for name in ('bob', 'alice', 'carol', 'dave'))
        undisturbed, _ = self.start(bob)
        robbed, worker = self.start(alice.replace(self.host.address(), recorder.address))
        revoked, _ = self.start(carol)
        killed, _ = self.start(dave)

        self.assertGreaterEqual(len(recorder.said), 3)
        for first in recorder.said.values():  # again: what begins a handshake with the tenant's key, or shows a ticket
            self.assertStranger(first)
        name, values = self.host.ask(bob, ('session_resume', 2, worker, 0))[1]
        self.assertEqual(name, 'refused', values)
        self.assertFails(self.launch(alice.split('#')[0] + '#' + bob.split('#')[1]))
        self.assertNotIn('session 5', self.host.log())

        self.wait_frames(robbed, revoked, killed)
        os.kill(worker, signal.SIGKILL)
        self.assertFails(robbed)
        done = harness.run(harness.PENSTOCK, 'tenant', 'revoke', 'carol', '--directory', os.path.join(self.host.folder, 'tenants'))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFails(revoked)
        self.assertFails(self.launch(carol))
        killed.process.kill()
        killed.finish()
        harness.wait_for(lambda: {number: each['state'] for number, each in self.listed().items()} == {1: 'connected', 4: 'broken'},
                         what='the two that are left')
        self.assertNative(undisturbed)
        self.assertLess(undisturbed.longest, 5)


if __name__ == '__main__':
    harness.main()
