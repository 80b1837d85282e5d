#!/usr/bin/python3
"""Programs on another host with more long transfers under way than there is room for: what waits takes a bounded part of memory
at both ends, and everything comes to be done. The device is PoCL's."""
import os
import re
import select
import signal
import subprocess
import sys
import time

import harness

sys.path.insert(0, os.path.join(harness.TOP, 'tests/net'))
from cable import Cable

POCL = '/etc/OpenCL/vendors/pocl.icd'
PROGRAM = os.environ.get('PENSTOCK_BULK_PROGRAM', os.path.join(harness.BUILD, 'tests/scenario/bulk_program'))
SESSION_PROGRAM = os.environ.get('PENSTOCK_PROGRAM', os.path.join(harness.BUILD, 'tests/scenario/session_program'))
MIB = 1 << 20
TRANSFER = 32 * MIB
UNDER_WAY = 256 * MIB  # PEN_LINK_BULK_BYTES
KEPT = 256 * MIB  # PEN_ARENA_KEPT_BYTES: was in use, and may be again
REST = 64 * MIB  # the buffer itself, the ring, what the socket has taken
COUNT = 12  # transfers: more than what is under way and the rest
MANY = 20  # more than all of that

LONG = 'gigabytes take minutes; the test that is left moves enough of them'


POURED = 96  # MiB that kernels print, in lines of 64 bytes
LINE = b'%07d and %07d more, of which there are many in a mebibyte\n'
LINES = MIB // 64
KEPT_OUTPUT = 16 * MIB  # PEN_LINK_KEPT_BYTES


def private(pid):
    """Bytes of memory of its own that the process has."""
    with open(f'/proc/{pid}/status', encoding='ascii') as file:
        return int(re.search(r'RssAnon:\s*(\d+) kB', file.read())[1]) * 1024


def shared(pid):
    """Bytes of shared memory that the process has, the arena's above all."""
    with open(f'/proc/{pid}/status', encoding='ascii') as file:
        return int(re.search(r'RssShmem:\s*(\d+) kB', file.read())[1]) * 1024


class Most:
    """Watches processes' shared memory until `seconds` are over, or the condition is true; the most that each had."""

    def __init__(self, *pids):
        self.most = dict.fromkeys(pids, 0)

    def watch(self, seconds, until=lambda: False):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            for pid in self.most:
                try:
                    self.most[pid] = max(self.most[pid], shared(pid))
                except (FileNotFoundError, ProcessLookupError, TypeError):
                    pass  # has ended
            time.sleep(0.01)
        return self.most


class Flow(harness.Scenario):
    def setUp(self):
        super().setUp()
        if not os.path.exists(POCL):
            self.skipTest('PoCL is not installed')

    def open(self, host='127.0.0.1', wrapper=(), config=''):
        self.pool = self.daemon(f'cache: {{dir: {self.folder}/cache}}\n' + config + harness.listen(self.path('daemon0'), host), wrapper=wrapper,
                                environment={'OCL_ICD_VENDORS': POCL, 'POCL_CACHE_DIR': self.path('pocl')})
        self.address = self.pool.tenant('alice')

    def start(self, *arguments, wrapper=()):
        """(program, its worker's pid), before its first transfer."""
        environment = self.pool.program_environment() | {'PENSTOCK_POOL': self.address, 'PENSTOCK_SOCKET': os.devnull}
        program = subprocess.Popen([*wrapper, PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                   env=environment)
        self.addCleanup(program.kill)
        self.expect(program, 'running')
        return program, int(self.pool.wait_log(r'session 1 of .*: worker (\d+)'))

    def expect(self, program, *lines):
        for line in lines:
            self.assertEqual(program.stdout.readline().decode().strip(), line)

    def finish(self, program, *pids):
        """It comes to its end, and finds what it is to find; the most shared memory that the processes had meanwhile."""
        said = []

        def has_ended():
            if select.select([program.stdout], [], [], 0)[0]:
                said.append(program.stdout.readline().decode().strip())
            return said and said[-1] != 'enqueued'
        most = Most(*pids).watch(100 * harness.SLOW, has_ended)
        program.communicate(timeout=10 * harness.SLOW)
        self.assertEqual((program.returncode, said[-1]), (0, 'right'))
        return most

    def fill(self, program):
        """It goes on until there is no more room, and no further."""
        harness.wait_for(lambda: shared(program.pid) > UNDER_WAY - TRANSFER, what='room used up')
        most = Most(program.pid).watch(1)
        self.assertLess(most[program.pid], UNDER_WAY + REST)

    @harness.not_sanitized(LONG)
    def test_a_stalled_reader(self):
        """It is stopped in the middle of its reads."""
        self.open()
        program, worker = self.start('reads', str(MANY))
        time.sleep(0.1)
        program.send_signal(signal.SIGSTOP)
        most = Most(worker).watch(1)
        self.assertLess(most[worker], UNDER_WAY + KEPT + REST)
        program.send_signal(signal.SIGCONT)
        most = self.finish(program, worker, program.pid)
        for pid in worker, program.pid:
            self.assertLess(most[pid], UNDER_WAY + KEPT + REST)
        harness.wait_for(lambda: not harness.alive(worker), what='that its worker has ended')

    @harness.not_sanitized(LONG)
    def test_one_that_stands_still(self):
        """For longer than a host may say nothing, with bytes on their way to it: its host says that there is no room."""
        self.open(config='session: {reconnect_window: 1 s}\n')
        program, worker = self.start('reads', str(MANY))
        time.sleep(0.1)
        program.send_signal(signal.SIGSTOP)
        time.sleep(14)
        self.assertTrue(harness.alive(worker))
        program.send_signal(signal.SIGCONT)
        self.finish(program)
        self.assertNotIn('a new connection', self.pool.log())

    def test_a_stalled_reader_of_all_at_once(self):
        """The worker knows of all its reads already, which become due just before it is stopped."""
        self.open()
        program, worker = self.start('late', str(COUNT))
        self.expect(program, 'enqueued')
        time.sleep(0.05)  # until the worker knows that
        program.send_signal(signal.SIGSTOP)
        most = Most(worker).watch(1)
        self.assertLess(most[worker], UNDER_WAY + REST)
        program.send_signal(signal.SIGCONT)
        self.finish(program)

    @harness.not_sanitized(LONG)
    def test_memory_is_given_back(self):
        """What waited for the program's own event took more than is kept."""
        self.open()
        program, worker = self.start('late', str(MANY))
        self.expect(program, 'enqueued', 'right')
        for pid in worker, program.pid:
            harness.wait_for(lambda: shared(pid) < KEPT + REST, what='memory given back')
        program.communicate()
        self.assertEqual(program.returncode, 0)

    @harness.not_sanitized(LONG)
    def test_a_slow_writer(self):
        cable = Cable('rate 100mbit')
        self.addCleanup(cable.close)
        self.open(cable.address['b'], cable.at('b'))
        program, worker = self.start('writes', str(COUNT), wrapper=cable.at('a'))
        self.fill(program)
        cable.say('rate 10gbit')
        most = self.finish(program, program.pid, worker)
        for pid in worker, program.pid:
            self.assertLess(most[pid], UNDER_WAY + KEPT + REST)

    @harness.not_sanitized(LONG)
    def test_detached(self):
        """Calls are taken until the bound is met, and wait then; all is done in the end."""
        self.open()
        program, _ = self.start('writes', str(COUNT))
        self.assertEqual(self.pool.run(harness.PENSTOCK, 'detach', '1').returncode, 0)
        self.fill(program)
        self.assertEqual(self.pool.run(harness.PENSTOCK, 'attach', '1').returncode, 0)
        self.finish(program)

    @harness.not_sanitized(LONG)
    def test_output(self):
        """Kernels that print much, while there is no connection, and while the program is stopped: they wait, and nothing is lost."""
        self.open()
        proxy = harness.Proxy(self.pool.address(), lambda: None, harness.seeded())
        environment = self.pool.program_environment() | {
            'PENSTOCK_POOL': self.address.replace(self.pool.address(), proxy.address), 'PENSTOCK_SOCKET': os.devnull}
        with subprocess.Popen([SESSION_PROGRAM, 'pour', str(POURED)], stdout=subprocess.PIPE, env=environment) as program:
            self.addCleanup(program.kill)
            worker, lines = int(self.pool.wait_log(r'session 1 of .*: worker (\d+)')), []
            while b'running\n' not in lines[-1:]:
                lines.append(program.stdout.readline())
                self.assertTrue(lines[-1], 'it has ended')
            before = private(worker)
            time.sleep(0.3)  # the kernels are there
            proxy.open = False
            proxy.cut_all()
            most = max(private(worker) for _ in range(60) if not time.sleep(0.05))
            program.send_signal(signal.SIGSTOP)
            proxy.open = True
            most = max(most, *(private(worker) for _ in range(20) if not time.sleep(0.05)))
            program.send_signal(signal.SIGCONT)
            lines += program.stdout.readlines()
        lines.remove(b'running\n')
        self.assertEqual(program.returncode, 0)
        self.assertLess(most, before + 3 * KEPT_OUTPUT)
        wanted = (LINE % (mib, number) for mib in range(POURED) for number in range(LINES))
        self.assertTrue(b''.join(lines) == b''.join(wanted), f'{len(lines)} lines')

    @harness.not_sanitized(LONG)
    def test_one_that_is_longer_than_the_bound(self):
        self.open()
        program, _ = self.start('late', '1', str(UNDER_WAY // MIB + 32))
        self.finish(program)


if __name__ == '__main__':
    harness.main()
