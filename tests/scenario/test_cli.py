#!/usr/bin/python3
"""The command line: what it prints, what it returns, what `run` passes on, and what is left when it is killed."""
import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest

import harness

STUB_ENVIRONMENT = {'PENSTOCK_WORKER_PATH': harness.STUB, 'STUB': ''}


# A program with two sessions.
RECORDED = '''
import os, socket, sys
sys.path.insert(0, os.environ["SCENARIO"])
import frames
for _ in range(2):
    connection = frames.Connection(socket.socket(socket.AF_UNIX))
    connection.socket.connect(os.environ["PENSTOCK_SOCKET"])
    connection.send("hello", 1, 0, os.getpid(), 0, "x")
    connection.receive()
    connection.send("session_open", 2, 0, 0, "x", os.environ["PENSTOCK_RECORD"])
    connection.receive()
'''


def default_signals():
    """Whoever starts the tests may ignore some (nohup, a shell's background job), and so would what they start, for ever."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


class Commands(harness.Scenario):
    def penstock(self, *arguments, **options):
        """Without a daemon; workers are stubs."""
        environment = STUB_ENVIRONMENT | {'PENSTOCK_SOCKET': self.path('none.sock'), 'TMPDIR': self.folder,
                                          'XDG_RUNTIME_DIR': ''} | options.pop('environment', {})
        return harness.run(harness.PENSTOCK, *arguments, environment=environment, **options)

    def test_misunderstood(self):
        for arguments, part in [
                (['frobnicate'], '"frobnicate" is no command; there are run, devices'),
                (['devices', '--frob'], '"--frob" is no option of "devices"'), (['devices', 'x'], 'no argument "x"'),
                (['ps', '-x'], '"-x" is no option of "ps"'), (['run'], 'run needs a program'),
                (['run', '--config'], '--config needs a value'), (['run', '--frob', '--', 'true'], '"--frob" is no option'),
                (['log'], 'record, dump, replay or graph'), (['log', 'graph'], 'log graph needs a file'),
                (['trace'], "trace needs a session's number"), (['trace', 'a', 'b'], 'trace takes one session or file'),
                (['trace', '1', '--for', '0'], 'seconds are allowed'), (['trace', 'a', '--for', '1'], 'a is a file'),
                (['trace', '99999999999999999999'], "is no session's number"),
                (['log', 'graph', 'a', '--json'], 'penstock trace prints JSON'), (['log', 'frob'], '"log frob" is no command'),
                (['log', 'dump'], 'needs a file'), (['log', 'dump', 'a', 'b'], 'one file'),
                (['log', 'dump', 'a', '--frob'], '"--frob" is no option'), (['log', 'record', 'x'], 'needs a file and a program'),
                (['stop', 'now'], 'no argument "now"'), (['stop', '--now'], 'no option'), (['detach'], 'detach needs a session'), (['attach', '-1'], 'no option'),
                (['attach', '1', '2'], 'not also "2"'), (['detach', '1x'], '"1x" is no session')]:
            with self.subTest(arguments=arguments):
                done = self.penstock(*arguments)
                self.assertEqual((done.returncode, done.stdout), (2, ''))
                self.assertIn(part, done.stderr)

    def test_cannot(self):
        with open(self.path('text'), 'w', encoding='ascii') as file:
            file.write('not a log at all')
        for arguments, part in [
                (['ps'], 'no penstockd is running: nobody listens at ' + self.path('none.sock')),
                (['stop'], 'no penstockd is running'), (['trace', '1'], 'no penstockd is running'), (['log', 'dump', '/nonexistent'], 'cannot open /nonexistent'),
                (['log', 'graph', '/nonexistent'], 'cannot open /nonexistent'), (['trace', '/nonexistent'], 'cannot open'),
                (['trace', self.path('text')], 'text'),
                (['log', 'dump', self.path('text')], 'no session'), (['log', 'replay', self.path('text')], 'no session'),
                (['log', 'dump', self.folder], 'cannot be read: Is a directory'),
                (['log', 'record', self.path('text'), '--', 'true'], 'not written over'),
                (['log', 'record', self.path('none/x.log'), '--', 'true'], 'none/x.log: ' + self.path('none/: No such file')),
                (['devices', '--config', '/nonexistent'], 'cannot open the configuration')]:
            with self.subTest(arguments=arguments):
                done = self.penstock(*arguments)
                self.assertEqual((done.returncode, done.stdout), (1, ''), done.stderr)
                self.assertIn(part, done.stderr)
        with open(self.path('text'), encoding='ascii') as file:
            self.assertEqual(file.read(), 'not a log at all')
        wrong = {'PENSTOCK_POOL': 'penstock:'}
        for arguments in ['devices'], ['run', '--', 'true']:
            done = self.penstock(*arguments, environment=wrong)
            self.assertEqual((done.returncode, done.stdout), (1, ''), done.stderr)
            self.assertIn("PENSTOCK_POOL, pool 1: a pool's address is", done.stderr)
        self.assertEqual(self.penstock('run', '--private', '--', 'true', environment=wrong).returncode, 0)

    def test_help(self):
        done = self.penstock('help')
        self.assertEqual(done.returncode, 0)
        commands, _ = done.stdout.split('\nWithout a running')
        with open(os.path.join(harness.TOP, 'docs/meson.build'), encoding='utf-8') as file:
            installed = file.read()
        pages = {}
        for line in commands.splitlines():
            command = re.match(r'  (\w+)\b(?!,)', line)
            page = f'penstock-{command[1]}.1' if command else page if pages else None
            if not page:
                continue
            self.assertIn(f"'man/{page}'", installed)
            pages[page] = pages.get(page, set()) | set(re.findall('--[a-z-]{2,}', line))
        self.assertEqual(sorted(pages), [f'penstock-{name}.1' for name in ('attach', 'detach', 'devices', 'log', 'ps', 'run', 'stop', 'tenant', 'trace')])
        for page, options in pages.items():
            with open(os.path.join(harness.TOP, 'docs/man', page), encoding='utf-8') as file:
                manual = file.read().replace('\\-', '-')
            name = page[:-2]
            self.assertTrue(manual.startswith(f'.TH {name.upper()} 1 '), page)
            self.assertRegex(manual, rf'\n\.SH NAME\n{name} - .+\n\.SH SYNOPSIS\n')
            self.assertEqual(options - set(re.findall('--[a-z-]{2,}', manual)), set(), page)
        self.assertRegex(self.penstock('version').stdout, r'^penstock \d+\.\d+')
        for words in (['--help'], ['ps', '-h'], ['run', '--help'], ['log', '--help'], ['log', 'dump', '--help'], ['tenant', 'add', '--help']):
            self.assertEqual(self.penstock(*words).stdout, done.stdout, words)
        self.assertEqual(self.penstock('run', '--', 'echo', '--help-me').stdout, '--help-me\n')

    def test_devices(self):
        self.assertRegex(self.penstock('devices').stdout, r'cpu0 +cpu +1 +8.0 GiB +stub-0\n')
        devices = json.loads(self.penstock('devices', '--json', '--verbose').stdout)
        self.assertEqual([(d['id'], d['name'], d['class'], d['driver'], d['memory_bytes'], d['properties'])
                          for d in devices],
                         [(1, 'cpu0', 'cpu', 'Stub Driver', 8 << 30, 3), (2, 'cpu1', 'cpu', 'Stub Driver', 8 << 30, 3)])
        self.assertEqual({device['spans'] for device in devices}, {1})
        self.assertIn('direct', devices[0]['features'])
        self.assertEqual(devices[0]['jail'], 'stub-jail')
        self.assertIn("workers' jail: stub-jail\n", self.penstock('devices', '--verbose').stdout)
        done = self.penstock('devices', environment={'STUB': 'probe-crash'})
        self.assertEqual(done.returncode, 1)
        self.assertIn('one of the drivers it loads crashes', done.stderr)
        self.assertEqual(os.listdir(self.folder), [])

    def test_devices_are_waited_for(self):
        """A probe may take longer than a daemon is given to answer at all."""
        daemon = self.daemon(stub='probe-slow')
        done = daemon.run(harness.PENSTOCK, 'devices', '--json')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(json.loads(done.stdout)), 2)

    def test_sessions(self):
        daemon = self.daemon(stub='')
        connection, (_, answer) = daemon.open_session('some "program"')
        done = daemon.run(harness.PENSTOCK, 'ps', '--json')
        (session,) = json.loads(done.stdout)
        self.assertEqual((session['session'], session['program'], session['pid'], session['worker'], session['state']),
                         (1, 'some "program"', os.getpid(), answer[5], 'connected'))
        self.assertLess(abs(session['started'] - time.time()), 60)
        self.assertRegex(daemon.run(harness.PENSTOCK, 'ps').stdout, r'SESSION.*\n +1 +\d+ +\d+ .* connected +some "program"\n$')
        connection.close()
        harness.wait_for(lambda: json.loads(daemon.run(harness.PENSTOCK, 'ps', '--json').stdout) == [])
        self.assertEqual(daemon.run(harness.PENSTOCK, 'stop').returncode, 0)
        self.assertEqual(daemon.process.wait(10), 0)

    def test_private_daemon_has_no_next(self):
        done = self.penstock('run', '--private', '--', harness.PENSTOCK, 'stop', '--keep-sessions')
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertIn('private to a program', done.stderr)

    def test_names_that_are_no_text(self):
        """Names are bytes that others chose; JSON is text, whole."""
        daemon = self.daemon(stub='', environment={'STUB_NAME': 'caf\udce9'})
        held = [daemon.open_session(name) for name in ('caf\udce9 "x"', 'a' + 40 * '\u00e9', 64 * 'b')]
        sessions = json.loads(daemon.run(harness.PENSTOCK, 'ps', '--json').stdout)
        self.assertEqual([s['program'] for s in sessions], ['caf\ufffd "x"', 'a' + 31 * '\u00e9', 63 * 'b'])
        devices = json.loads(daemon.run(harness.PENSTOCK, 'devices', '--json').stdout)
        self.assertEqual([d['device'] for d in devices], ['caf\ufffd-0', 'caf\ufffd-1'])
        for connection, _ in held:
            connection.close()

    def test_full_output(self):
        daemon = self.daemon(stub='')
        with open('/dev/full', 'w', encoding='ascii') as full:
            done = subprocess.run([harness.PENSTOCK, 'ps'], env=daemon.environment, stdout=full, stderr=subprocess.PIPE,
                                  text=True, timeout=20, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn('writing the output failed', done.stderr)


class Run(harness.Scenario):
    """`penstock run` with a private daemon, unless a test starts one."""

    def setUp(self):
        super().setUp()
        self.temporary = self.path('tmp')
        os.mkdir(self.temporary)
        self.environment = dict(os.environ, TMPDIR=self.temporary, PENSTOCK_SOCKET=self.path('none.sock'),
                                XDG_RUNTIME_DIR='', **STUB_ENVIRONMENT)

    def run_program(self, *command, options=(), **more):
        return subprocess.run([harness.PENSTOCK, 'run', *options, '--', *command], env=self.environment, text=True,
                              capture_output=True, timeout=60, check=False, **more)

    def assert_clean(self):
        harness.wait_for(lambda: not os.listdir(self.temporary), 5, 'nothing in the temporary directory')

    def test_status(self):
        for code in (0, 1, 7, 255):
            self.assertEqual(self.run_program('sh', '-c', f'exit {code}').returncode, code)
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGINT):
            self.assertEqual(self.run_program('sh', '-c', f'kill -{int(number)} $$').returncode, -number)
        self.assertEqual(self.run_program('/nonexistent').returncode, 127)
        self.assertEqual(self.run_program('/etc/passwd').returncode, 126)
        self.assertEqual(os.listdir(self.temporary), [])

    def test_streams(self):
        done = self.run_program('sh', '-c', 'cat; echo err >&2', input='in\n')
        self.assertEqual((done.stdout, done.stderr), ('in\n', 'err\n'))

    def test_nothing_is_inherited(self):
        done = self.run_program('sh', '-c', 'ls /proc/$$/fd')
        self.assertEqual(done.stdout.split(), ['0', '1', '2'])
        done = self.run_program('sh', '-c', 'grep -E "Sig(Blk|Ign|Cgt)" /proc/self/status')
        native = subprocess.run(['sh', '-c', 'grep -E "Sig(Blk|Ign|Cgt)" /proc/self/status'], capture_output=True,
                                text=True, check=True)
        self.assertEqual(done.stdout, native.stdout)

    def test_closed_streams(self):
        """A stream that is closed stays so for the program, and what we open does not take its number."""
        daemon = self.daemon(stub='')
        look = f'''
import os
there = [str(fd) for fd in range(3) if os.path.exists("/proc/self/fd/%d" % fd)]
with open("{self.path('seen')}", "w") as file:
    file.write(" ".join(there))
os._exit(3)
'''
        for socket_path in (self.environment['PENSTOCK_SOCKET'], daemon.socket):
            self.environment['PENSTOCK_SOCKET'] = socket_path
            for closed in ((0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)):
                with self.subTest(closed, socket=socket_path):
                    done = subprocess.run(
                        [harness.PENSTOCK, 'run', '--', sys.executable, '-c', look],
                        env=self.environment, timeout=20, check=False,
                        preexec_fn=lambda closed=closed: [os.close(fd) for fd in closed])
                    self.assertEqual(done.returncode, 3)
                    with open(self.path('seen'), encoding='ascii') as file:
                        seen = [int(fd) for fd in file.read().split()]
                    self.assertEqual(seen, [fd for fd in range(3) if fd not in closed])
        done = subprocess.run([harness.PENSTOCK, 'ps'], env=self.environment, timeout=20, check=False,
                              preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stderr), (1, 'penstock: writing the output failed\n'))

    def test_environment(self):
        done = self.run_program('sh', '-c', 'echo $PENSTOCK_SOCKET; ls $OCL_ICD_VENDORS; cat $OCL_ICD_VENDORS/*')
        path, name, library = done.stdout.split()
        self.assertTrue(path.startswith(self.temporary))
        self.assertEqual(name, 'penstock.icd')
        self.assertEqual(library, os.path.join(harness.BUILD, 'src/icd/libpenstock-icd.so'))

    def test_keep_vendors(self):
        os.mkdir(self.path('vendors'))
        for name in ('a.icd', 'penstock.icd', 'note.txt'):
            with open(self.path('vendors/' + name), 'w', encoding='ascii') as file:
                file.write('/lib/a.so\n')
        self.environment['OCL_ICD_VENDORS'] = self.path('vendors')
        script = 'cd $OCL_ICD_VENDORS; ls; cat a.icd'
        self.assertEqual(self.run_program('sh', '-c', script, options=['--keep-vendors']).stdout,
                         'a.icd\npenstock.icd\n/lib/a.so\n')
        self.environment['OCL_ICD_VENDORS'] = '/lib/b.so'
        self.assertEqual(self.run_program('sh', '-c', 'cat $OCL_ICD_VENDORS/outer.icd',
                                          options=['--keep-vendors']).stdout, '/lib/b.so\n')
        self.assertEqual(os.listdir(self.temporary), [])

    def test_vendors_of_drivers(self):
        """The daemon's workers look for drivers where they were, not in the program's folder."""
        self.environment['OCL_ICD_VENDORS'] = '/some/where'
        script = f'tr "\\0" "\\n" </proc/$({harness.PENSTOCK} ps >/dev/null; pgrep -P $PPID penstockd)/environ'
        self.assertIn('OCL_ICD_VENDORS=/some/where', self.run_program('sh', '-c', script).stdout.split('\n'))

    def test_shared(self):
        """With a daemon running it is an exec: same process, no helper."""
        daemon = self.daemon(stub='')
        self.environment['PENSTOCK_SOCKET'] = daemon.socket
        started = subprocess.Popen([harness.PENSTOCK, 'run', 'sh', '-c', 'echo $$ $PENSTOCK_SOCKET'],
                                   env=self.environment, stdout=subprocess.PIPE, text=True)
        self.assertEqual(started.communicate()[0].split(), [str(started.pid), daemon.socket])
        done = self.run_program('sh', '-c', 'echo $PENSTOCK_SOCKET', options=['--private'])
        self.assertTrue(done.stdout.startswith(self.temporary))

    def test_janitor(self):
        daemon = self.daemon(stub='')
        self.environment |= {'PENSTOCK_SOCKET': daemon.socket, 'PENSTOCK_ICD_PATH': '/bin/true'}
        done = self.run_program('sh', '-c', 'cat $OCL_ICD_VENDORS/penstock.icd; exit 3')
        self.assertEqual((done.returncode, done.stdout), (3, '/bin/true\n'))
        self.assertEqual(os.listdir(self.temporary), [])
        running = self.start('sleep', '100')
        running.kill()
        running.wait()
        self.assert_clean()

    def start(self, *command, options=()):
        running = subprocess.Popen([harness.PENSTOCK, 'run', *options, '--', *command], env=self.environment, text=True,
                                   stdout=subprocess.PIPE)
        self.addCleanup(running.stdout.close)
        harness.wait_for(lambda: self.program_of(running, command[0]), what='the program runs')
        return running

    def program_of(self, running, name):
        return next((pid for pid in harness.children(running.pid) if harness.command(pid).startswith(name)), None)

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
            running = self.start('sh', '-c', f'trap "echo got; exit 9" {int(number)}; echo ready; '
                                             'while :; do sleep 0.05; done')
            self.assertEqual(running.stdout.readline(), 'ready\n')
            running.send_signal(number)
            self.assertEqual((running.communicate(timeout=20)[0], running.returncode), ('got\n', 9))
        self.assertEqual(os.listdir(self.temporary), [])

    def test_terminal(self):
        """^C at a terminal reaches the program once, and the pool outlives it."""
        running = subprocess.Popen(
            ['/usr/bin/python3', '-c', '''
import os, pty, subprocess, sys, time
pid, master = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "run", "--", "sh", "-c",
             "trap 'echo got; sleep 0.3; test -S $PENSTOCK_SOCKET && echo alive; exit 5' INT; echo ready; "
             "while :; do sleep 0.05; done"])
out = b""
while b"ready" not in out:
    out += os.read(master, 100)
os.write(master, b"\\x03")
try:
    while chunk := os.read(master, 100):
        out += chunk
except OSError:
    pass
print(out.decode().count("got"), "alive" in out.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
''', harness.PENSTOCK], env=self.environment, stdout=subprocess.PIPE, text=True)
        self.assertEqual(running.communicate(timeout=30)[0], '1 True 5\n')

    def test_killed(self):
        """SIGKILL for the command line: program, daemon and files vanish."""
        running = self.start('sleep', '100', options=['--keep-vendors'])
        self.assertEqual(len(os.listdir(self.temporary)), 1)
        children = harness.children(running.pid)
        self.assertEqual(len(children), 2)
        running.kill()
        running.wait()
        harness.wait_for(lambda: not any(harness.alive(pid) for pid in children), 5, 'children gone')
        self.assert_clean()

    def test_daemon_killed(self):
        """Who kills the private daemon leaves the program alone, and its directory behind for nobody."""
        running = self.start('sleep', '1')
        os.kill(self.program_of(running, harness.PENSTOCKD), signal.SIGKILL)
        self.assertEqual(running.wait(20), 0)
        self.assert_clean()

    def test_bad_configuration(self):
        with open(self.path('bad.yaml'), 'w', encoding='ascii') as file:
            file.write('limits: {sesions: 1}\n')
        done = self.run_program('true', options=['--config', self.path('bad.yaml')])
        self.assertEqual(done.returncode, 1)
        self.assertIn('bad.yaml:1: unknown key', done.stderr)
        self.environment['PENSTOCK_CONFIG'] = self.path('bad.yaml')
        self.assertIn('bad.yaml:1: unknown key', self.run_program('true').stderr)
        self.assertEqual(os.listdir(self.temporary), [])

    def test_record(self):
        """A recorded program is told where; an old log makes way."""
        target = self.path('session.log')
        with open(target, 'wb') as file:
            file.write(b'PENLOG\0\1' + b'old')
        done = self.run_program('sh', '-c', 'echo $PENSTOCK_RECORD', options=['--record', target])
        self.assertEqual(done.stdout, target + '\n')
        self.assertFalse(os.path.exists(target))
        self.assertIn(f'no session of sh was recorded: it used no device of Penstock, and there is no {target}', done.stderr)
        done = subprocess.run([harness.PENSTOCK, 'log', 'record', 'x.log', '--', 'sh', '-c', 'echo $PENSTOCK_RECORD'],
                              env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False)
        self.assertEqual(done.stdout, self.path('x.log') + '\n')

    def test_json(self):
        """What came of the program, beside what it writes itself."""
        done = self.run_program('sh', '-c', 'echo out; echo err >&2; sleep 0.1; exit 7', options=['--json'])
        self.assertEqual((done.returncode, done.stdout), (7, 'out\n'))
        words, line = done.stderr.splitlines()
        outcome = json.loads(line)
        self.assertEqual(words, 'err')
        self.assertTrue(0.1 <= outcome.pop('seconds') < 10)
        self.assertEqual(outcome, {'command': ['sh', '-c', 'echo out; echo err >&2; sleep 0.1; exit 7'],
                                   'exit_status': 7, 'signal': None, 'daemon': 'private'})
        option = '--json=' + self.path('out.json')
        for command, returned, status, number in ((['sh', '-c', 'kill -9 $$'], -9, None, 9), (['true'], 0, 0, None),
                                                  (['/nonexistent', 'caf\udce9'], 127, 127, None)):
            done = self.run_program(*command, options=[option])
            self.assertEqual((done.returncode, done.stdout), (returned, ''))
            with open(self.path('out.json'), encoding='utf-8') as file:
                outcome = json.loads(file.read())
            self.assertEqual((outcome['exit_status'], outcome['signal']), (status, number))
            self.assertEqual(outcome['command'], [word.replace('\udce9', '\ufffd') for word in command])
        done = self.run_program('touch', self.path('ran'), options=['--json=/nonexistent/x'])
        self.assertEqual(done.returncode, 1)
        self.assertIn('cannot write to /nonexistent/x (--json)', done.stderr)
        self.assertFalse(os.path.exists(self.path('ran')))

    def test_json_of_record(self):
        daemon = self.daemon(stub='adopt-linger')
        self.environment |= {'PENSTOCK_SOCKET': daemon.socket, 'SCENARIO': harness.HERE}
        done = subprocess.run(
            [harness.PENSTOCK, 'log', 'record', '--json', 'x', '--', 'python3', '-c', RECORDED], env=self.environment,
            cwd=self.folder, capture_output=True, text=True, check=False)
        outcome = json.loads(done.stderr)
        self.assertEqual((outcome['daemon'], outcome['exit_status']), ('running', 0))
        self.assertEqual(outcome['logs'], [{'file': self.path('x'), 'bytes': 5}, {'file': self.path('x.1'), 'bytes': 5}])

    def test_record_is_whole(self):
        """It returns when the sessions have ended, whichever process of the program they belong to."""
        daemon = self.daemon(stub='adopt-linger')
        self.environment['PENSTOCK_SOCKET'] = daemon.socket
        target = self.path('session.log')
        self.environment |= {'SCENARIO': harness.HERE, 'PROGRAM': RECORDED}
        done = self.run_program('sh', '-c', 'python3 -c "$PROGRAM"; true', options=['--record', target])
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        for path in (target, target + '.1'):
            with open(path, 'rb') as file:
                self.assertEqual(file.read(), b'whole')

    def test_record_names(self):
        """A run's logs replace all those of the run before, or none."""
        log, other = b'PENLOG\0\1' + b'old', b'text'
        for names in (('x', 'x.1', 'x.2', 'x.99'), ('x.2',)):
            for name in names:
                with open(self.path(name), 'wb') as file:
                    file.write(log)
            self.assertEqual(self.run_program('true', options=['--record', self.path('x')]).returncode, 0)
            self.assertEqual(os.listdir(self.folder), ['tmp'])
        for name, data in (('x', log), ('x.1', log), ('x.2', other)):
            with open(self.path(name), 'wb') as file:
                file.write(data)
        done = self.run_program('true', options=['--record', self.path('x')])
        self.assertEqual(done.returncode, 1)
        self.assertIn('x.2 exists and is no session log', done.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), ['tmp', 'x', 'x.1', 'x.2'])

    def test_record_replaces_logs_only(self):
        """What is no log stays, also what cannot be told from an empty file by reading it."""
        os.mkfifo(self.path('fifo'))
        os.symlink('/dev/null', self.path('null'))
        os.mkdir(self.path('folder'))
        with open(self.path('text'), 'w', encoding='ascii') as file:
            file.write('x')
        for name, part in [('fifo', 'fifo exists and is no regular file'), ('null', 'is no regular file'),
                           ('folder', 'is no regular file'), ('text', 'is no session log'),
                           ('text/x', 'text/x: Not a directory')]:
            with self.subTest(name):
                done = self.run_program('true', options=['--record', self.path(name)])
                self.assertEqual((done.returncode, done.stdout), (1, ''))
                self.assertIn(part, done.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), ['fifo', 'folder', 'null', 'text', 'tmp'])
        with open(self.path('empty'), 'w', encoding='ascii'):
            pass
        self.assertEqual(self.run_program('true', options=['--record', self.path('empty')]).returncode, 0)
        self.assertFalse(os.path.exists(self.path('empty')))


if __name__ == '__main__':
    default_signals()
    harness.main()
