"""What the scenarios share: a daemon of their own in a folder of its own, programs on it, and a look at what is left
behind. PENSTOCK_BUILD names the build folder, PENSTOCK_SANITIZE says how it was built."""
import contextlib
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import frames

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get('PENSTOCK_BUILD', os.path.join(TOP, 'build')))
SANITIZERS = os.environ.get('PENSTOCK_SANITIZE', 'none')  # as Meson's b_sanitize
SANITIZED = SANITIZERS != 'none'
PENSTOCK = os.path.join(BUILD, 'src/cli/penstock')
PENSTOCKD = os.path.join(BUILD, 'src/daemon/penstockd')
STUB = os.path.join(HERE, 'stub_worker.py')
VENDORS = os.path.join(BUILD, 'src/cli/vendors')
SLOW = 6 if SANITIZED else 1  # factor on times that are promised

NOT_SANITIZED = 'with sanitizers: '

# In a daemon's log, which its workers share.
SANITIZER_REPORT = r'(?:ERROR|WARNING): (?:Address|Leak|Thread)Sanitizer|runtime error: '
UNEXPECTED = r"""(?x) is\ lost:\ its\ worker | failed:\ its\ worker | before\ it\ had\ a\ session | \(limits\.
    | sent\ something\ unexpected | sees\ other\ devices | looking\ for\ devices\ failed"""


def faults_stay():
    """Environment of a daemon whose workers' kernels fault: a sanitizer must leave that to be the end."""
    options = ''.join(f':handle_{name}=0' for name in ('segv', 'sigbus', 'sigill', 'sigfpe', 'abort'))
    return {name: os.environ.get(name, '') + options for name in ('ASAN_OPTIONS', 'TSAN_OPTIONS')}


def parent_and_state(pid):
    """None: it is no more."""
    try:
        with open(f'/proc/{pid}/stat', 'rb') as file:
            state, parent = file.read().rpartition(b')')[2].split(maxsplit=2)[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(parent), state.decode()


def processes():
    """pid -> (parent, state), of everything that runs."""
    found = {int(name): parent_and_state(name) for name in os.listdir('/proc') if name.isdigit()}
    return {pid: each for pid, each in found.items() if each}


def children(parent):
    """Of those that run: pids."""
    return [pid for pid, (its, state) in processes().items() if its == parent and state != 'Z']


def command(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f'/proc/{pid}/cmdline', 'rb') as file:
        return file.read().replace(b'\0', b' ').decode('utf-8', 'replace')
    return ''


def alive(pid):
    """Runs, and is not merely waiting for its parent to notice."""
    found = parent_and_state(pid)
    return found is not None and found[1] != 'Z'


def wait_for(condition, seconds=10, what=None):
    """The condition's value once it is true."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'not within {seconds * SLOW} s: {what or condition}')
        time.sleep(0.01)


def listen(folder, host='127.0.0.1'):
    """The part of a configuration that lets tenants in."""
    return f'listen: {{tcp: "{host}:0", tenants: {folder}/tenants}}\n'


@contextlib.contextmanager
def tls(address, identity, secret):
    """Frames to a pool, from a TLS peer of another make that has this key."""
    with subprocess.Popen(
            ['openssl', 's_client', '-quiet', '-no_ign_eof', '-connect', address, '-tls1_3', '-psk_identity', identity, '-psk',
             secret.hex(), '-ciphersuites', 'TLS_AES_128_GCM_SHA256'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as peer:
        yield frames.Pipes(peer.stdin, peer.stdout)
        peer.kill()


class Proxy(threading.Thread):
    """Stands between programs and a daemon's TCP port, and breaks connections: after a time that `next_cut` gives (seconds;
    None: never), by a reset or an end of stream, in the middle of what is under way."""

    def __init__(self, target, next_cut, chance):
        super().__init__(daemon=True)
        self.target = target
        self.next_cut, self.chance = next_cut, chance
        self.cuts = self.accepted = 0
        self.open = True  # False: whoever comes is turned away
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = '%s:%d' % self.listener.getsockname()
        self.pairs = {}  # socket: (the other, when both are cut)
        self.start()

    def accept(self):
        inner, _ = self.listener.accept()
        self.accepted += 1
        outer = socket.socket()
        host, port = self.target.rsplit(':', 1)
        if not self.open or outer.connect_ex((host, int(port))):
            inner.close()
            outer.close()
            return
        wait = self.next_cut()
        end = None if wait is None else time.monotonic() + wait
        for sock in (inner, outer):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pairs |= {inner: (outer, end), outer: (inner, end)}

    def close(self, sock, reset=False):
        for each in (sock, self.pairs[sock][0]):
            del self.pairs[each]
            if reset:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            each.close()

    def cut(self, sock):
        self.cuts += 1
        self.close(sock, self.chance.random() < 0.5)

    def cut_all(self):
        """From another thread: at the next turn of this one."""
        for sock, (other, _) in list(self.pairs.items()):
            self.pairs[sock] = (other, 0)

    def forward(self, sock):
        other, end = self.pairs[sock]
        try:
            data = sock.recv(1 << 18)
            if not data:
                self.close(sock)
                return
            other.setblocking(True)
            if end is not None and time.monotonic() > end:
                other.sendall(data[:self.chance.randrange(len(data))])
                self.cut(sock)
                return
            other.sendall(data)
            other.setblocking(False)
        except OSError:
            self.close(sock)

    def ready(self):
        """Those that have something to say. Not by select(): descriptors may be many."""
        poller, sockets = select.poll(), {sock.fileno(): sock for sock in (self.listener, *self.pairs)}
        for number in sockets:
            poller.register(number, select.POLLIN)
        return [sockets[number] for number, _ in poller.poll(10)]

    def run(self):
        while True:
            for sock in self.ready():
                if sock is self.listener:
                    self.accept()
                elif sock in self.pairs:
                    self.forward(sock)
            now = time.monotonic()
            for sock, (_, end) in list(self.pairs.items()):
                if sock in self.pairs and end is not None and now > end:
                    self.cut(sock)


class Daemon:
    """A penstockd that listens in `folder`. Workers that end badly are found when it has ended (complaints), unless they are
    stubs, or the test says which sentences it expects of the log (expect)."""

    def __init__(self, folder, config='', stub=None, environment=None, arguments=('--log', 'debug'), preexec=None,
                 log='penstockd.log', wrapper=()):
        self.folder = folder
        self.socket = os.path.join(folder, 'penstockd.sock')
        self.config = os.path.join(folder, 'penstock.yaml')
        self.write_config(config)
        self.environment = dict(os.environ, PENSTOCK_SOCKET=self.socket, **(environment or {}))
        self.environment.pop('PENSTOCK_CONFIG', None)
        daemon_environment = dict(self.environment)
        if stub is not None:
            daemon_environment |= {'PENSTOCK_WORKER_PATH': STUB, 'STUB': stub}
        self.log_path = os.path.join(folder, log)
        with open(self.log_path, 'wb') as log_file:
            self.process = subprocess.Popen(
                [*wrapper, PENSTOCKD, '--config', self.config, '--socket', self.socket, *arguments],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file, env=daemon_environment, preexec_fn=preexec)
        self.pid = self.process.pid
        self.connections = []
        self.expected = ['.'] if stub is not None else []
        wait_for(lambda: self.listens() or self.process.poll() is not None, what='the socket')

    def listens(self):
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(self.socket) == 0

    def write_config(self, text):
        with open(self.config, 'w', encoding='utf-8') as file:
            file.write(text)

    def log(self):
        with open(self.log_path, encoding='utf-8', errors='replace') as file:
            return file.read()

    def wait_log(self, pattern, seconds=10, count=1):
        """The match in the log, once it is there (`count` times)."""
        try:
            return wait_for(lambda: (found := re.findall(pattern, self.log(), re.MULTILINE)) and len(found) >= count and found[-1],
                            seconds, f'"{pattern}" in the log')
        except AssertionError as error:
            raise AssertionError(f'{error}; the log:\n{self.log()}') from None

    def address(self):
        """Where it listens for tenants."""
        return self.wait_log(r'listens for tenants at ([^;]+);')

    def tenant(self, name):
        """Lets a tenant in; what it connects with."""
        done = run(PENSTOCK, 'tenant', 'add', name, '--directory', os.path.join(self.folder, 'tenants'), '--host', self.address())
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ask(self, tenant, *names):
        """What it answers a tenant who sends these messages after hello: names and values."""
        name, key = tenant.rsplit('/', 1)[1].split('#')
        with tls(self.address(), name, frames.key(key)) as connection:
            connection.send('hello', 1, 0, os.getpid(), 0, 'scenario')
            answers = [connection.receive()]
            for name, *values in names:
                connection.send(name, *values)
                answers.append(connection.receive())
        return answers

    def expect(self, pattern):
        """Lines of the log with it are no complaint."""
        self.expected.append(pattern)

    def complaints(self):
        """What is wrong with how it and its workers ended: sentences."""
        found = []
        if self.process.returncode not in (0, -signal.SIGKILL):
            found.append(f'penstockd ended with {self.process.returncode}')
        for line in self.log().splitlines():
            unexpected = re.search(UNEXPECTED, line) and not any(re.search(each, line) for each in self.expected)
            if unexpected or re.search(SANITIZER_REPORT, line):
                found.append(line)
        return found

    def workers(self):
        return children(self.pid)

    def dial(self, hello=True):
        """A connection, greeted."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20 * SLOW)
        sock.connect(self.socket)
        connection = frames.Connection(sock)
        self.connections.append(connection)
        if hello:
            connection.send('hello', 1, 0, os.getpid(), 0, 'scenario')
            name, _ = connection.receive()
            assert name == 'hello', name
        return connection

    def devices(self):
        """[(device values, {key: property})]"""
        connection = self.dial()
        connection.send('device_list')
        name, values = connection.receive()
        if name != 'devices':
            raise AssertionError((name, values))
        found = []
        for _ in range(values[0]):
            name, device = connection.receive()
            properties = [connection.receive()[1] for _ in range(device[5])]
            found.append((device, {key: value for _, key, _, value in properties}))
        connection.close()
        return found

    def open_session(self, program='scenario', features=0, record='', pool=0):
        """(connection, answer)"""
        connection = self.dial()
        connection.send('session_open', features, 0, pool, program, record)
        return connection, connection.receive()

    def cpu_ticks(self):
        with open(f'/proc/{self.pid}/stat', encoding='ascii') as file:
            fields = file.read().rpartition(')')[2].split()
        return int(fields[11]) + int(fields[12])

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def program_environment(self):
        """For programs that are started without `penstock run`."""
        return dict(self.environment, OCL_ICD_VENDORS=VENDORS)

    def run(self, *command, timeout=60, **options):
        """A program with the pool's devices."""
        return subprocess.run(command, env=self.program_environment(), timeout=timeout * SLOW, capture_output=True,
                              text=True, check=False, **options)

    def start(self, *command, stdin=None, stdout=None, **environment):
        return subprocess.Popen(command, env=self.program_environment() | environment, text=True, stdin=stdin, stdout=stdout)

    def stop(self):
        """Ends it as an operator would; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def slowest(said):
    """Milliseconds that the slowest round took, by what `session_program loop` says."""
    return float(re.search(r'the slowest ([\d.]+) ms', said)[1])


def seeded():
    """Random numbers; with what is printed here in the environment, the same again."""
    seed = int(os.environ.get('PENSTOCK_SEED') or random.randrange(1 << 32))
    print(f'PENSTOCK_SEED={seed}', file=sys.stderr)
    return random.Random(seed)


def not_sanitized(reason):
    """A test that a build with sanitizers does not have."""
    return unittest.skipIf(SANITIZED, NOT_SANITIZED + reason)


def main():
    """unittest.main; a test that was left out for want of something makes the status 77, so that it is seen."""
    result = unittest.main(exit=False).result
    lacking = [reason for _, reason in result.skipped if not reason.startswith(NOT_SANITIZED)]
    sys.exit(1 if not result.wasSuccessful() else 77 if lacking else 0)


class Scenario(unittest.TestCase):
    """A test with a temporary folder, whose daemons are ended and which leaves nothing behind."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='penstock-test-')
        self.daemons = []
        self.longMessage = True
        self.failed_before = self.failures()

    def failures(self):
        return len(self._outcome.result.failures + self._outcome.result.errors)

    def tearDown(self):
        workers = [pid for daemon in self.daemons for pid in daemon.workers()]
        for daemon in self.daemons:
            for connection in daemon.connections:
                connection.close()
            daemon.stop()
        left = [pid for pid in workers if alive(pid)]
        sockets = [d.socket for d in self.daemons if d.process.returncode != -signal.SIGKILL and
                   (os.path.exists(d.socket) or os.path.exists(d.socket + '.d'))]
        complaints = [each for daemon in self.daemons for each in daemon.complaints()]
        for daemon in self.daemons if complaints or self.failures() > self.failed_before else []:
            sys.stderr.write(daemon.log())
        shutil.rmtree(self.folder, ignore_errors=True)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual((left, sockets), ([], []), 'processes and sockets left behind')
        self.assertFalse(complaints, '\n'.join(complaints))

    def daemon(self, config='', stub=None, **options):
        folder = os.path.join(self.folder, f'daemon{len(self.daemons)}')
        os.mkdir(folder, 0o700)
        daemon = Daemon(folder, config, stub, **options)
        self.daemons.append(daemon)
        return daemon

    def path(self, name):
        return os.path.join(self.folder, name)


def run(*command, timeout=60, environment=None, **options):
    """Any program; its output is captured."""
    full = dict(os.environ, **(environment or {}))
    return subprocess.run(command, env=full, timeout=timeout * SLOW, capture_output=True, text=True, check=False,
                          **options)
