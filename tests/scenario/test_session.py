#!/usr/bin/python3
"""Programs, daemon and workers together: on the fake device and on PoCL. What must hold when one of them dies."""
import ctypes
import errno
import glob
import json
import os
import platform
import re
import resource
import signal
import struct
import subprocess
import sys
import time
import unittest

import harness

PROGRAM = os.environ.get('PENSTOCK_PROGRAM', os.path.join(harness.BUILD, 'tests/scenario/session_program'))
POCL = '/etc/OpenCL/vendors/pocl.icd'
LOST = 3  # the program's exit status


def memory_files(pid):
    try:
        return [os.readlink(link) for link in glob.glob(f'/proc/{pid}/fd/*') if 'memfd:' in os.readlink(link)]
    except (FileNotFoundError, PermissionError):
        return []


def without_landlock():
    """In a child: from now on its processes find no Landlock, as on a kernel without it."""
    libc = ctypes.CDLL(None, use_errno=True)
    load, equal, leave = 0x20, 0x15, 0x06  # BPF: load a word, compare, return
    errno_enosys, allow, create_ruleset = 0x00050000 | errno.ENOSYS, 0x7FFF0000, 444
    program = b''.join(struct.pack('<HBBI', *each) for each in (
        (load, 0, 0, 0), (equal, 0, 1, create_ruleset), (leave, 0, 0, errno_enosys), (leave, 0, 0, allow)))
    buffer = ctypes.create_string_buffer(program)
    filter_ = struct.pack('HxxxxxxP', 4, ctypes.addressof(buffer))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filter_, 0, 0):  # NO_NEW_PRIVS, SECCOMP
        raise OSError(ctypes.get_errno(), 'no filter')


def ticks(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as file:
        fields = file.read().rpartition(')')[2].split()
    return int(fields[11]) + int(fields[12])


class Sessions:
    """For each backend."""
    backend = None

    def pool(self, config='', warm=True, **options):
        config = f'cache: {{dir: {self.path("cache")}}}\n' + config if 'cache:' not in config else config
        daemon = self.daemon(f'backend: {self.backend}\n' + config, environment=self.environment(), **options)
        daemon.wait_log('is warm' if warm else r' device \w+: ', 20)
        return daemon

    def environment(self):
        return {'OCL_ICD_VENDORS': POCL, **harness.faults_stay()}

    def begin(self, daemon, *arguments, **environment):
        """A program that has said that it is running."""
        running = daemon.start(PROGRAM, *map(str, arguments), stdout=subprocess.PIPE, **environment)
        self.addCleanup(running.stdout.close)
        self.addCleanup(running.kill)
        line = running.stdout.readline()
        self.assertEqual(line, 'running\n', daemon.log())
        return running

    def end(self, running):
        """One that has looped for long enough goes on once more, and is right."""
        running.send_signal(signal.SIGUSR1)
        out, _ = running.communicate(timeout=30)
        self.assertEqual(running.returncode, 0, out)

    def worker_of(self, daemon, running):
        sessions = json.loads(daemon.run(harness.PENSTOCK, 'ps', '--json').stdout)
        return next(s['worker'] for s in sessions if s['pid'] == running.pid)

    def test_daemon_stopped(self):
        """The same in good order: programs are told that, and not that a worker died."""
        daemon = self.pool()
        running = self.begin(daemon, 'loop', 60)
        daemon.stop()
        self.assert_lost(running, why='penstockd has ended this session')

    def assert_lost(self, running, seconds=5, why='the worker died'):
        """It has been told within bounded time, and why, and has ended by itself."""
        out, _ = running.communicate(timeout=seconds * harness.SLOW)
        self.assertEqual(running.returncode, LOST, out)
        self.assertIn('lost: ', out)
        self.assertRegex(out, 'why: .*' + why)

    def assert_as_before(self, daemon, descriptors, spares=1):
        """The spare workers with their directories, and nothing of those that are gone."""
        harness.wait_for(lambda: len(daemon.workers()) == spares, 15, 'spare workers')
        harness.wait_for(lambda: len(os.listdir(daemon.socket + '.d')) == spares, what='their directories')
        harness.wait_for(lambda: daemon.descriptors() <= descriptors, what='descriptors closed')
        self.assertLessEqual(len(memory_files(daemon.pid)), spares)  # their crash pages

    def test_right(self):
        daemon = self.pool()
        done = daemon.run(PROGRAM, 'loop', '0.3')
        self.assertEqual(done.returncode, 0, done.stdout + daemon.log())
        self.assertRegex(done.stdout, r'^running\n\d+ rounds, the slowest [\d.]+ ms\n$')
        self.assertRegex(daemon.wait_log(r'session 1 of session_program .* ended: (\d+) commands, 0 failed'), r'\d{2,}')

    @harness.not_sanitized('a sanitizer wants the address space')
    def test_little_address_space(self):
        """A program whose own is bounded, or its daemon's too, maps as much of the arena as that allows."""
        config = f'backend: {self.backend}\ncache: {{dir: {self.path("cache")}}}\n'
        daemon = self.pool()
        with open(self.path('little.yaml'), 'w', encoding='ascii') as file:
            file.write(config)

        def limit(gib):
            return {'preexec_fn': lambda: resource.setrlimit(resource.RLIMIT_AS, (gib << 30, gib << 30))}

        for done in (daemon.run(PROGRAM, 'loop', '0.1', **limit(1)), daemon.run(PROGRAM, 'loop', '0.1', **limit(8)),
                     harness.run(harness.PENSTOCK, 'run', '--private', '--config', self.path('little.yaml'), '--', PROGRAM, 'loop', '0.1',
                                 environment=self.environment(), **limit(8))):
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_print(self):
        daemon = self.pool()
        prefix = 'fake' if self.backend == 'fake' else 'kernel'
        done = daemon.run(PROGRAM, 'print', '20')
        self.assertEqual(done.stdout, ''.join(f'{prefix} prints {i}\nprogram prints {i}\n' for i in range(20)))

    def test_ps(self):
        daemon = self.pool()
        running = self.begin(daemon, 'hold', 8)
        (session,) = json.loads(daemon.run(harness.PENSTOCK, 'ps', '--json').stdout)
        self.assertEqual((session['pid'], session['program']), (running.pid, 'session_program'))
        self.assertGreater(session['commands'], 3)
        self.assertGreaterEqual(session['memory_bytes'], 8 << 20)

    def test_two(self):
        daemon = self.pool('workers: {warm: 2}\n')
        running = [self.begin(daemon, 'loop', 60) for _ in range(3)]
        for one in running:
            self.end(one)

    def test_daemon_killed(self):
        """Programs end with errors in bounded time: computing, waiting, idle."""
        daemon = self.pool('workers: {warm: 3}\n')
        daemon.wait_log('is warm', count=3)
        running = [self.begin(daemon, 'loop', 60), self.begin(daemon, 'busy', 60000)]
        workers = daemon.workers()
        self.assertGreaterEqual(len(workers), 2)
        daemon.process.kill()
        daemon.process.wait()
        for one in running:
            self.assert_lost(one, why='penstockd (is gone, and its sessions with it|has ended this session)')
        harness.wait_for(lambda: not any(harness.alive(pid) for pid in workers), 5, 'workers gone')
        # The next daemon cleans up after it.
        after = harness.Daemon(daemon.folder, f'backend: {self.backend}\n', environment=self.environment())
        self.daemons.append(after)
        after.wait_log('is warm')
        harness.wait_for(lambda: len(os.listdir(after.socket + '.d')) == 1, what='old directories gone')

    def test_worker_killed(self):
        daemon = self.pool('workers: {warm: 2}\n')
        daemon.wait_log('is warm', count=2)
        daemon.expect('is lost: .*signal 9')
        victim, other = self.begin(daemon, 'loop', 60), self.begin(daemon, 'loop', 60)
        os.kill(self.worker_of(daemon, victim), signal.SIGKILL)
        self.assert_lost(victim)
        self.assertRegex(daemon.wait_log(r'session \d+ of session_program .* is lost: .*signal 9 .*'), '"inc"')
        self.end(other)
        self.assertEqual(daemon.run(PROGRAM, 'loop', '0.1').returncode, 0)

    def test_fault(self):
        """A kernel's fault is its session's, and the log names the kernel."""
        daemon = self.pool('workers: {warm: 2}\n')
        daemon.wait_log('is warm', count=2)
        daemon.expect('is lost: .*last kernel launched was "fault"')
        other = self.begin(daemon, 'loop', 60)
        self.assert_lost(self.begin(daemon, 'fault'))
        line = daemon.wait_log(r'error .*session \d+ of session_program \(pid \d+\) is lost: .*')
        self.assertIn('the last kernel launched was "fault", before it "inc"', line)
        self.end(other)

    def test_program_killed(self):
        """At random points of its life: no worker, directory, memory or descriptor is left."""
        daemon = self.pool()
        harness.wait_for(lambda: len(daemon.workers()) == 1, what='the probe has ended')
        descriptors, rng = daemon.descriptors(), harness.seeded()
        for turn in range(12):
            self.kill_soon(daemon, rng, ['loop', 60] if turn % 3 else ['busy', 60000])
        self.assert_as_before(daemon, descriptors)
        self.assertEqual(daemon.run(PROGRAM, 'loop', '0.1').returncode, 0)

    def kill_soon(self, daemon, rng, mode, **environment):
        running = daemon.start(PROGRAM, *map(str, mode), stdout=subprocess.DEVNULL, **environment)
        time.sleep(rng.random() * 0.15)
        running.kill()
        running.wait()

    def test_recorded_program_killed(self):
        """The same while its session is recorded: what there is of the log can be read."""
        daemon = self.pool()
        harness.wait_for(lambda: len(daemon.workers()) == 1, what='the probe has ended')
        descriptors, rng = daemon.descriptors(), harness.seeded()
        for turn in range(12):
            self.kill_soon(daemon, rng, ['loop', 60], PENSTOCK_RECORD=self.path(f'{turn}.log'))
        running = self.begin(daemon, 'loop', 60, PENSTOCK_RECORD=self.path('long.log'))
        running.kill()
        running.wait()
        self.assert_as_before(daemon, descriptors)
        logs = glob.glob(self.path('*.log'))
        self.assertIn(self.path('long.log'), logs)
        for log in logs:
            done = daemon.run(harness.PENSTOCK, 'log', 'dump', log)
            self.assertTrue(done.returncode == 0 or os.path.getsize(log) == 0, done.stderr)

    def test_program_killed_in_the_queue(self):
        """The same while it waits for a worker, which starts all the same and then is one too many."""
        daemon = self.pool('workers: {warm: 0}\n', warm=False)
        harness.wait_for(lambda: not daemon.workers(), what='the probe has ended')
        descriptors, rng = daemon.descriptors(), harness.seeded()
        for _ in range(3):
            harness.wait_for(lambda: not daemon.workers(), what='no worker for nobody')
            running = daemon.start(PROGRAM, 'loop', '60', stdout=subprocess.DEVNULL)
            (worker,) = harness.wait_for(daemon.workers, what='a worker is started for it')
            os.kill(worker, signal.SIGSTOP)
            self.kill_soon(daemon, rng, ['loop', 60])
            self.assertIsNone(running.poll())
            running.kill()
            running.wait()
            os.kill(worker, signal.SIGCONT)
        self.assert_as_before(daemon, descriptors, spares=0)
        self.assertEqual(daemon.run(PROGRAM, 'loop', '0.1').returncode, 0)

    def test_gone_when_adopted(self):
        """A worker whose client has gone meanwhile has not failed."""
        daemon = self.pool()
        (worker,) = harness.wait_for(lambda: len(daemon.workers()) == 1 and daemon.workers(), what='the probe has ended')
        os.kill(worker, signal.SIGSTOP)
        connection = daemon.dial()
        connection.send('session_open', 0, 0, 0, 'gone', '')
        daemon.wait_log(r'session 1 of gone .*: worker')
        connection.close()
        os.kill(worker, signal.SIGCONT)
        daemon.wait_log('session 1 of gone .* ended: 0 commands')

    def test_memory_goes(self):
        """A killed program's memory is free again."""
        daemon = self.pool()
        descriptors = daemon.descriptors()
        running = self.begin(daemon, 'hold', 64)
        worker = self.worker_of(daemon, running)
        self.assertTrue(memory_files(worker))
        running.kill()
        running.wait()
        harness.wait_for(lambda: not harness.alive(worker), 5, 'the worker has ended')
        self.assert_as_before(daemon, descriptors)

    def test_idle(self):
        """Nobody computes while a session is idle."""
        daemon = self.pool()
        running = self.begin(daemon, 'idle', 60)
        worker = self.worker_of(daemon, running)
        daemon.wait_log('is warm', count=2)
        time.sleep(0.5)
        everybody = [daemon.pid, running.pid, *daemon.workers()]
        self.assertIn(worker, everybody)
        before = [ticks(pid) for pid in everybody]
        time.sleep(2)
        used = [ticks(pid) - earlier for pid, earlier in zip(everybody, before)]
        self.assertLessEqual(max(used), 2, dict(zip(everybody, used)))

    def test_cache_unwritable(self):
        """A cache that cannot be had costs time, nothing else."""
        with open(self.path('file'), 'w', encoding='ascii'):
            pass
        for place in (self.path('file'), '/proc/penstock', '/dev/full/cache'):
            daemon = self.pool(f'cache: {{dir: {place}}}\n')
            self.assertEqual(daemon.run(PROGRAM, 'build', '3').stdout, 'built\n', place)

    def small_disk(self, size, *then):
        """(its folder, the start of a command that has it): in a mount namespace of its own, which takes no rights."""
        folder = self.path('small')
        os.makedirs(folder, exist_ok=True)
        wrapper = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-c',
                   f'mount -t tmpfs -o size={size} tmpfs "$0" && {{ {then[0] if then else ":"}; }} && exec "$@"', folder)
        if subprocess.run([*wrapper, 'true'], check=False, capture_output=True).returncode:
            self.skipTest('no namespace in which a file system can be mounted')
        with open(self.path('value.h'), 'w', encoding='ascii') as file:
            file.write('/* of the program */\n')
        return folder, wrapper

    def assert_builds(self, daemon):
        done = daemon.run(PROGRAM, 'include', '2', cwd=self.folder)
        self.assertEqual(done.stdout, 'built\n', daemon.log())

    FILL = 'head -c 4m /dev/zero > "$0/filler" 2>/dev/null || true'

    def test_cache_full(self):
        """On a small disk, which becomes full; on one that is full; and on one that becomes so when a worker is warm."""
        folder, wrapper = self.small_disk('16k')
        daemon = self.pool(f'cache: {{dir: {folder}}}\n', wrapper=wrapper)
        self.assertEqual(daemon.run(PROGRAM, 'build', '8').stdout, 'built\n')
        self.assert_builds(daemon)
        inside = f'/proc/{daemon.pid}/root{folder}'
        self.assertIn('builds', os.listdir(inside))
        self.assertEqual(os.listdir(folder), [])
        self.assertEqual(len(re.findall(r'warn .*\(cache\.dir\) is on a disk with less than 64 MiB left', daemon.log())), 1)

        _, wrapper = self.small_disk('2m', self.FILL)
        daemon = self.pool(f'cache: {{dir: {folder}}}\n', wrapper=wrapper)
        for _ in range(2):
            self.assert_builds(daemon)
        self.assertEqual(len(re.findall(r'warn .*\(cache\.dir\) cannot be written: No space left', daemon.log())), 1)

        _, wrapper = self.small_disk('80m')
        daemon = self.pool(f'cache: {{dir: {folder}}}\n', wrapper=wrapper)
        self.assertNotIn('cache.dir', daemon.log())
        with open(f'/proc/{daemon.pid}/root{folder}/filler', 'wb', buffering=0) as file:
            with self.assertRaises(OSError):
                while True:
                    file.write(bytes(1 << 20))
        self.assert_builds(daemon)

    def test_all_full(self):
        """The workers' folders are on a full disk too: a build's log says which, and what to set."""
        folder, wrapper = self.small_disk('2m', self.FILL)
        with open(self.path('small.yaml'), 'w', encoding='ascii') as file:
            file.write(f'backend: {self.backend}\ncache: {{dir: {folder}}}\n')
        environment = self.environment() | {'XDG_RUNTIME_DIR': folder}
        done = harness.run(*wrapper, harness.PENSTOCK, 'run', '--private', '--config', self.path('small.yaml'), '--',
                           PROGRAM, 'include', '1', environment=environment, cwd=self.folder)
        self.assertRegex(done.stdout, rf'log: (.*\n)*Penstock: {folder}/.*, where the driver\'s compiler writes \(setting: socket\), '
                                      r'cannot be written: No space left', done.stdout + done.stderr)

    def test_log(self):
        """A recorded session, printed, done again, and cut short."""
        daemon = self.pool()
        log = self.path('session.log')
        done = daemon.run(harness.PENSTOCK, 'log', 'record', log, '--', PROGRAM, 'loop', '0.2')
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines = daemon.run(harness.PENSTOCK, 'log', 'dump', log).stdout.splitlines()
        names = [line.split()[1] for line in lines]
        for name in ('hello', 'device', 'queue_create', 'program_create', 'program_build', 'kernel_create', 'launch',
                     'write', 'read', 'read_digest'):
            self.assertIn(name, names)
        objects = [json.loads(line) for line in daemon.run(harness.PENSTOCK, 'log', 'dump', log, '--json').stdout.splitlines()]
        self.assertEqual(len(objects), len(lines))
        self.assertTrue(all(isinstance(each, dict) for each in objects))

        done = daemon.run(harness.PENSTOCK, 'log', 'replay', log, '--json')
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual((result['different'], result['failed_builds'], result['truncated']), (0, 0, False))
        self.assertEqual(result['compared'], names.count('read_digest'))
        self.assertGreater(result['compared'], 0)

        with open(log, 'rb') as file:
            data = bytearray(file.read())
        with open(self.path('short.log'), 'wb') as file:
            file.write(data[:len(data) - 20])
        done = daemon.run(harness.PENSTOCK, 'log', 'dump', self.path('short.log'))
        self.assertEqual(done.returncode, 0)
        self.assertIn('ends in the middle of an entry', done.stderr)
        done = daemon.run(harness.PENSTOCK, 'log', 'replay', self.path('short.log'), '--json')
        self.assertEqual((done.returncode, json.loads(done.stdout)['truncated']), (0, True), done.stderr)

    def test_replay_of_what_nobody_set(self):
        """What the program waited for, has let go of and never set ends with the log."""
        daemon = self.pool()
        log = self.path('session.log')
        done = daemon.run(harness.PENSTOCK, 'log', 'record', log, '--', PROGRAM, 'abandon')
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        done = daemon.run(harness.PENSTOCK, 'log', 'replay', log, '--json')
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(json.loads(done.stdout)['different'], 0)

    def test_record_is_complete(self):
        """`log record` comes back when the session has ended, not when its program has."""
        daemon = self.pool()
        for _ in range(5):
            daemon.run(harness.PENSTOCK, 'log', 'record', self.path('session.log'), '--', PROGRAM, 'idle', '0')
            self.assertEqual(json.loads(daemon.run(harness.PENSTOCK, 'ps', '--json').stdout), [])

    def test_replay_differs(self):
        """A digest that is not what the replay reads is found."""
        daemon = self.pool()
        log = self.path('session.log')
        daemon.run(harness.PENSTOCK, 'log', 'record', log, '--', PROGRAM, 'idle', '0')
        with open(log, 'rb') as file:
            data = bytearray(file.read())
        data[-1 - len(data) % 8 - 8] ^= 1  # spoils something near the end; the digest is looked for below
        text = daemon.run(harness.PENSTOCK, 'log', 'dump', log, '--json').stdout
        digest = next(json.loads(line) for line in text.splitlines() if '"read_digest"' in line)
        with open(log, 'rb') as file:
            data = file.read()
        low = int(digest['low']).to_bytes(8, 'little')
        self.assertEqual(data.count(low), 1)
        with open(log, 'wb') as file:
            file.write(data.replace(low, bytes([low[0] ^ 1]) + low[1:]))
        done = daemon.run(harness.PENSTOCK, 'log', 'replay', log, '--json')
        self.assertEqual((done.returncode, json.loads(done.stdout)['different']), (1, 1), done.stderr)


class Fake(Sessions, harness.Scenario):
    backend = 'fake'

    def test_first_call(self):
        """A warm worker makes a session in a few milliseconds: the fastest of several, which a busy machine delays least."""
        daemon = self.pool()
        times = []
        for turn in range(5):
            times.append(float(daemon.run(PROGRAM, 'first').stdout))
            daemon.wait_log('is warm', count=turn + 2)
        self.assertLess(min(times), 20 * harness.SLOW, times)

    def test_jail(self):
        """The log says what holds the workers; and the configuration can leave it off."""
        self.pool('workers: {jail: off}\n').wait_log('info .* is warm; jail: off$')
        self.pool().wait_log('info .* is warm; jail: .*no-new-privileges')

    @harness.not_sanitized('a sanitizer wants calls of its own')
    def test_jail_lacks(self):
        """On a system without Landlock: the log warns of it once; or, as configured, nothing is served."""
        daemon = self.pool(preexec=without_landlock)
        daemon.wait_log("warn .*the workers' jail is not whole on this system: .*without-landlock seccomp")
        self.assertEqual(daemon.run(PROGRAM, 'loop', '0.1').returncode, 0)
        self.assertEqual(daemon.log().count('is not whole'), 1)
        done = daemon.run(harness.PENSTOCK, 'devices', '--verbose')
        self.assertIn('without-landlock', done.stdout)

        daemon = self.daemon('backend: fake\nworkers: {jail: required}\n', preexec=without_landlock)
        daemon.expect('workers.jail is "required"|exited with 1 before it had a session')
        daemon.wait_log('error .*workers.jail is "required", and this system holds not all .*without-landlock')
        self.assertEqual(daemon.run(PROGRAM, 'first').returncode, 2)
        self.assertNotIn('is warm', daemon.log())

    def test_worker_gone_while_waiting(self):
        """A program that waits for a worker when its daemon dies is told."""
        daemon = self.pool()
        os.kill(daemon.pid, signal.SIGSTOP)
        running = daemon.start(PROGRAM, 'first', stdout=subprocess.PIPE)
        self.addCleanup(running.stdout.close)
        time.sleep(0.3)
        daemon.process.kill()
        self.assertEqual(running.communicate(timeout=20)[0], 'no platform\n')
        self.assertEqual(running.returncode, 2)


@unittest.skipUnless(os.path.exists(POCL), 'PoCL is not installed')
class Pocl(Sessions, harness.Scenario):
    backend = 'opencl'

    def policies(self, **options):
        """Of a worker's threads while it serves: dispatch, the builder and PoCL's, and those that serve all of them. And the daemon's."""
        daemon = self.pool(**options)
        running = self.begin(daemon, 'loop', 60)
        worker = self.worker_of(daemon, running)
        of = {thread: os.sched_getscheduler(thread) for thread in map(int, os.listdir(f'/proc/{worker}/task'))}
        self.end(running)
        return of.pop(worker), list(of.values()), os.sched_getscheduler(daemon.pid)

    def test_gives_way(self):
        """The drivers' threads, and who serves, take no CPU from a program that is making calls (decision 0022)."""
        self.assertEqual(os.sched_getscheduler(0), os.SCHED_OTHER, 'this test is for the usual policy')
        dispatch, others, daemon = self.policies()
        self.assertEqual([dispatch, daemon], [os.SCHED_BATCH, os.SCHED_OTHER])
        self.assertGreaterEqual(others.count(os.SCHED_BATCH), 2)  # the builder, and at least one of PoCL's
        self.assertIn(os.SCHED_OTHER, others)  # watch

    def test_keeps_policy(self):
        """A daemon's policy that is not the usual one is that of all its workers' threads."""
        for policy in os.SCHED_BATCH, os.SCHED_IDLE:
            with self.subTest(policy=policy):
                dispatch, others, daemon = self.policies(preexec=lambda policy=policy: os.sched_setscheduler(0, policy, os.sched_param(0)))
                self.assertEqual({dispatch, daemon, *others}, {policy})

    def test_files(self):
        """A kernel reads what drivers are made of, and nothing else of the pool's host."""
        if platform.machine() != 'x86_64':
            self.skipTest('the kernel makes a system call of x86-64')
        secret = self.path('bob.key')
        with open(secret, 'w', encoding='ascii') as file:
            file.write('secret')

        def descriptor(daemon, path):
            done = daemon.run(PROGRAM, 'open', path)
            self.assertEqual(done.returncode, 0, done.stdout)
            return int(done.stdout)
        daemon = self.pool()
        self.assertGreaterEqual(descriptor(daemon, '/etc/ld.so.cache'), 0)
        self.assertEqual(descriptor(daemon, secret), -errno.EACCES)
        self.assertEqual(descriptor(daemon, os.path.dirname(daemon.socket)), -errno.EACCES)
        self.assertGreaterEqual(descriptor(self.pool(f'workers: {{files: "{secret}"}}\n'), secret), 0)

    @harness.not_sanitized('a sanitizer changes all times')
    def test_first_call(self):
        """Beyond the driver's own start it takes at most 20 ms; what it took natively is measured beside it. The fastest of several
        count, which a busy machine delays least."""
        daemon = self.pool()
        native, through = [], []
        for turn in range(6):
            environment = dict(os.environ, **self.environment(), POCL_CACHE_DIR=self.path('pocl'))
            done = subprocess.run([PROGRAM, 'first'], env=environment, stdout=subprocess.PIPE, text=True, check=True)
            native.append(float(done.stdout))
            through.append(float(daemon.run(PROGRAM, 'first').stdout))
            daemon.wait_log('is warm', count=turn + 2)
        # The first of each compiled the kernel.
        self.assertLess(min(through[1:]), min(native[1:]) + 20, (native, through))


class NoDaemon(harness.Scenario):
    def test_no_drivers(self):
        """The folder that was looked into is the one that is named."""
        daemon = self.daemon(f'cache: {{dir: {self.path("cache")}}}\ndrivers: {{environment: {{OCL_ICD_VENDORS: /nope}}}}\n')
        daemon.expect('no OpenCL driver|exited with 1 before it had a session')
        daemon.wait_log('drivers are named by files in /nope ', 20)

    def test_nothing(self):
        """Without a daemon the front end yields nothing, at once, and others are not disturbed."""
        environment = {'PENSTOCK_SOCKET': self.path('none.sock'), 'OCL_ICD_VENDORS': harness.VENDORS}
        begin = time.monotonic()
        done = harness.run(PROGRAM, 'first', environment=environment)
        self.assertLess(time.monotonic() - begin, 0.5 * harness.SLOW)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (2, 'no platform\n', ''))

    def test_dead_socket(self):
        """The socket of a killed daemon is as good as none."""
        daemon = self.daemon(stub='')
        daemon.process.kill()
        daemon.process.wait()
        self.assertTrue(os.path.exists(daemon.socket))
        done = daemon.run(PROGRAM, 'first')
        self.assertEqual((done.returncode, done.stdout, done.stderr), (2, 'no platform\n', ''))

    @harness.not_sanitized('clinfo is not built with the sanitizer')
    @unittest.skipUnless(os.path.exists(POCL), 'PoCL is not installed')
    def test_others(self):
        os.mkdir(self.path('vendors'))
        os.symlink(POCL, self.path('vendors/pocl.icd'))
        os.symlink(os.path.join(harness.VENDORS, 'penstock.icd'), self.path('vendors/penstock.icd'))
        environment = {'PENSTOCK_SOCKET': self.path('none.sock'), 'OCL_ICD_VENDORS': self.path('vendors')}
        done = harness.run('clinfo', '-l', environment=environment)
        self.assertEqual(done.returncode, 0)
        self.assertIn('Portable Computing Language', done.stdout)
        self.assertNotIn('Penstock', done.stdout)
        daemon = self.daemon('backend: fake\n')
        daemon.wait_log('is warm')
        environment['PENSTOCK_SOCKET'] = daemon.socket
        done = harness.run('clinfo', '-l', environment=environment)
        self.assertIn('Portable Computing Language', done.stdout)
        self.assertIn('Penstock', done.stdout)


if __name__ == '__main__':
    harness.main()
