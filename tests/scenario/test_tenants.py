"""Who gets in from another host, and who does not. The devices are the fake ones."""
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time
import unittest

import frames
import harness
from client_hello import PSK_DHE_KE, PSK_KE, client_hello as hello_with_key

PROGRAM = os.environ.get('PENSTOCK_PROGRAM', os.path.join(harness.BUILD, 'tests/scenario/session_program'))
LOST = 3  # the program's exit status when OpenCL says that the device is gone
ELIMIT = -3
HANDSHAKE, ALERT = 22, 21  # records of TLS
ICD = os.path.join(harness.BUILD, 'src/icd/libpenstock-icd.so')


def client_hello():
    """The first bytes of a TLS connection."""
    come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(come, go, server_hostname='gate').do_handshake()
    return go.read()


class Late(harness.Proxy):
    """The second flight of whoever connects waits until it may go on."""

    def __init__(self, target):
        self.flights, self.waits, self.go = 0, threading.Event(), threading.Event()
        super().__init__(target, lambda: None, None)

    def forward(self, sock):
        if sock.getsockname() == self.listener.getsockname():
            self.flights += 1
            if self.flights == 2:
                self.waits.set()
                self.go.wait(20 * harness.SLOW)
        super().forward(sock)


class Heard(harness.Proxy):
    """Keeps what the daemon says."""

    def __init__(self, target):
        self.heard = b''
        super().__init__(target, lambda: None, None)

    def forward(self, sock):
        if sock.getsockname() != self.listener.getsockname():
            with contextlib.suppress(OSError):
                self.heard += sock.recv(1 << 18, socket.MSG_PEEK)
        super().forward(sock)


class Tenants(harness.Scenario):
    def open(self, limits=''):
        daemon = self.daemon('backend: fake\n' + harness.listen(self.path('daemon0')) + limits)
        daemon.address()
        return daemon

    def devices(self, pool):
        """What a program with that pool sees."""
        return harness.run(harness.PENSTOCK, 'devices', '--json', environment={
            'PENSTOCK_POOL': pool, 'PENSTOCK_SOCKET': os.devnull})

    def revoke(self, daemon, name):
        done = harness.run(harness.PENSTOCK, 'tenant', 'revoke', name, '--directory', os.path.join(daemon.folder, 'tenants'))
        self.assertEqual(done.returncode, 0, done.stderr)

    def start(self, daemon, pool, *arguments):
        """A program on that pool, which runs."""
        program = daemon.start(PROGRAM, *arguments, stdout=subprocess.PIPE, PENSTOCK_POOL=pool, PENSTOCK_SOCKET=os.devnull)
        self.addCleanup(program.communicate)
        self.addCleanup(program.kill)
        self.assertEqual(program.stdout.readline(), 'running\n')
        return program

    def dial(self, daemon, source=''):
        host, port = daemon.address().rsplit(':', 1)
        return socket.create_connection((host, int(port)), 10 * harness.SLOW, (source, 0))

    def says(self, sock):
        """Whether it answers, and does not close the connection without a word."""
        try:
            return bool(sock.recv(1))
        except ConnectionResetError:
            return False

    def assertClosed(self, sock, seconds=10):
        sock.settimeout(seconds * harness.SLOW)
        try:
            while sock.recv(4096):
                pass
        except ConnectionResetError:
            pass

    def test_key_file(self):
        daemon = self.open()
        daemon.tenant('alice')
        path = os.path.join(daemon.folder, 'tenants', 'alice.key')
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        with open(path, encoding='ascii') as file:
            key = file.read().strip()
        self.assertNotIn(key, daemon.log())

    def test_key_on_no_command_line(self):
        """While programs run on the pool, one of them by `penstock run`."""
        daemon = self.open()
        alice = daemon.tenant('alice')
        key = alice.split('#')[1]
        self.start(daemon, alice, 'idle', '60')
        run = daemon.start(harness.PENSTOCK, 'run', PROGRAM, 'idle', '60', stdout=subprocess.PIPE, PENSTOCK_POOL=alice)
        self.addCleanup(run.communicate)
        self.addCleanup(run.terminate)
        self.assertEqual(run.stdout.readline(), 'running\n')
        lines = {pid: harness.command(pid) for pid in harness.processes()}
        for part in 'penstockd', 'penstock-worker', PROGRAM + ' idle':
            self.assertTrue(any(part in line for line in lines.values()), part)
        self.assertFalse([line for line in lines.values() if key in line])

    def test_key_alone(self):
        """Who has the key, and offers to do without an ephemeral key exchange, which the past rests on, is refused."""
        daemon = self.open()
        key = frames.key(daemon.tenant('alice').split('#')[1])
        for modes, answer in ([PSK_DHE_KE], HANDSHAKE), ([PSK_KE, PSK_DHE_KE], HANDSHAKE), ([PSK_KE], ALERT):
            with self.subTest(modes), self.dial(daemon) as sock:
                sock.sendall(hello_with_key('alice', key, modes))
                said = sock.recv(4096)
                self.assertEqual(said[0], answer)
                if answer == HANDSHAKE:
                    self.assertIn(b'\0\x33\0\x24\0\x1d\0\x20', said, 'a share of its own')

    def test_names_are_not_told(self):
        """Nobody hears on the wire whether there is a tenant of a name whose key he does not have."""
        daemon = self.open('limits: {handshakes: 100}\n')
        daemon.expect('is not used, since others can')
        alice, bob, carol = daemon.tenant('alice'), daemon.tenant('bob'), daemon.tenant('carol')
        os.chmod(os.path.join(daemon.folder, 'tenants', 'carol.key'), 0o644)
        heard = {}
        for what, wrong in (('another key', alice.split('#')[0] + '#' + bob.split('#')[1]), ('nobody', alice.replace('/alice#', '/dave#')),
                            ('a bad file', carol)):
            proxy = Heard(daemon.address())
            done = self.devices(wrong.replace(daemon.address(), proxy.address))
            self.assertIn('does not accept the key', done.stderr)
            heard[what] = proxy.heard
        self.assertEqual(heard['another key'][0], ALERT)
        self.assertEqual(len(set(heard.values())), 1, heard)

    def test_strangers_do_not_fill_the_log(self):
        """Whoever knows the name of a tenant whose key cannot be used has that written, now and then."""
        daemon = self.open()
        daemon.expect('is not used, since others can')
        alice, bob = daemon.tenant('alice'), daemon.tenant('bob')
        os.chmod(os.path.join(daemon.folder, 'tenants', 'bob.key'), 0o644)
        for _ in range(40):
            with self.dial(daemon) as sock:
                sock.sendall(hello_with_key('bob', bytes(32), [PSK_DHE_KE]))
                self.assertClosed(sock)
        self.assertEqual(self.devices(alice).returncode, 0)
        self.assertEqual(daemon.log().count('the key of tenant bob is not used'), 16)

    def revoked_during_the_handshake(self, again):
        """again: the name is given to somebody else at once, with another key."""
        daemon = self.open()
        bob = daemon.tenant('bob')
        late = Late(daemon.address())
        with harness.tls(late.address, 'bob', frames.key(bob.split('#')[1])) as connection:
            self.assertTrue(late.waits.wait(10 * harness.SLOW))
            self.revoke(daemon, 'bob')
            if again:
                daemon.tenant('bob')
            late.go.set()
            self.assertIsNone(connection.receive())
        daemon.wait_log('tenant bob was revoked meanwhile')
        self.assertNotIn('tenant bob has connected', daemon.log())

    def test_revoked_during_the_handshake(self):
        self.revoked_during_the_handshake(again=False)

    def test_another_of_that_name_during_the_handshake(self):
        self.revoked_during_the_handshake(again=True)

    def test_revoked_when_too_much_happens(self):
        """More than the kernel keeps for the daemon of what has changed in the tenants' directory."""
        with open('/proc/sys/fs/inotify/max_queued_events', encoding='ascii') as file:
            most = int(file.read())
        if most > 100000:
            self.skipTest('the kernel keeps more than that')
        daemon = self.open()
        programs = [self.start(daemon, daemon.tenant(name), 'loop', '60') for name in ('alice', 'bob')]
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            busy = os.path.join(daemon.folder, 'tenants', 'busy')
            for _ in range(most // 2 + 10):
                os.close(os.open(busy, os.O_CREAT))
                os.unlink(busy)
            self.revoke(daemon, 'bob')
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        self.assertEqual(programs[1].wait(20 * harness.SLOW), LOST)
        programs[0].send_signal(signal.SIGUSR1)
        self.assertEqual(programs[0].wait(20 * harness.SLOW), 0)

    def test_directory_goes_away(self):
        """And with it all keys."""
        daemon = self.open()
        program = self.start(daemon, daemon.tenant('alice'), 'loop', '60')
        os.rename(os.path.join(daemon.folder, 'tenants'), os.path.join(daemon.folder, 'elsewhere'))
        self.assertEqual(program.wait(20 * harness.SLOW), LOST)

    def test_directory_is_replaced(self):
        """The one that has its name is the tenants', and what becomes of the other one is nobody's affair."""
        daemon = self.open()
        programs = [self.start(daemon, daemon.tenant(name), 'loop', '60') for name in ('alice', 'bob', 'carol')]
        tenants, new, old = (os.path.join(daemon.folder, name) for name in ('tenants', 'new', 'old'))
        shutil.copytree(tenants, new)
        daemon.process.send_signal(signal.SIGSTOP)  # it does not see that there is none for a moment
        try:
            os.rename(tenants, old)
            os.rename(new, tenants)
            os.unlink(os.path.join(old, 'carol.key'))
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        self.revoke(daemon, 'bob')
        self.assertEqual(programs[1].wait(20 * harness.SLOW), LOST)
        shutil.rmtree(old)
        self.revoke(daemon, 'alice')  # is heard of after that
        self.assertEqual(programs[0].wait(20 * harness.SLOW), LOST)
        self.assertIsNone(programs[2].poll())
        programs[2].send_signal(signal.SIGUSR1)
        self.assertEqual(programs[2].wait(20 * harness.SLOW), 0)

    def test_a_key_that_cannot_be_read_just_now(self):
        """It is not taken for one that is gone, and looked at again."""
        daemon = self.open()
        programs = [self.start(daemon, daemon.tenant(name), 'loop', '60') for name in ('alice', 'bob')]
        daemon.wait_log('is warm', count=3)  # one that brings descriptors meanwhile would be ended
        tenants, new, old = (os.path.join(daemon.folder, name) for name in ('tenants', 'new', 'old'))
        shutil.copytree(tenants, new)
        os.unlink(os.path.join(new, 'bob.key'))
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            os.rename(tenants, old)
            os.rename(new, tenants)
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        daemon.wait_log('reading the key of tenant')
        time.sleep(0.2)
        self.assertEqual([program.poll() for program in programs], [None, None])
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
        self.assertEqual(programs[1].wait(20 * harness.SLOW), LOST)
        programs[0].send_signal(signal.SIGUSR1)
        self.assertEqual(programs[0].wait(20 * harness.SLOW), 0)

    def sessions(self, daemon):
        return len(json.loads(daemon.run(harness.PENSTOCK, 'ps', '--json').stdout))

    def test_promised_sessions_count(self):
        """What is promised is within limits.sessions, and is kept only while it is; what is not asked for in time is free again."""
        daemon = self.open(f'limits: {{sessions: 2, handshake_ms: {1000 * harness.SLOW}}}\n')
        alice, open_one = daemon.tenant('alice'), ('session_open', 0, 0, 0, 'many', '')
        tickets = [daemon.ask(alice, open_one)[1] for _ in range(3)]
        self.assertEqual([name for name, _ in tickets], ['session_ticket', 'session_ticket', 'refused'])
        self.assertEqual(tickets[2][1][0], ELIMIT)
        self.assertIn('limits.sessions', tickets[2][1][2])
        time.sleep(1.2 * harness.SLOW)
        self.assertEqual(daemon.ask(alice, open_one)[1][0], 'session_ticket')

    def test_promise_is_within_new_limits(self):
        daemon = self.open('limits: {sessions: 2, handshake_ms: 60000}\n')
        alice, open_one = daemon.tenant('alice'), ('session_open', 0, 0, 0, 'many', '')
        tickets = [daemon.ask(alice, open_one)[1][1] for _ in range(2)]
        with open(daemon.config, encoding='utf-8') as file:
            daemon.write_config(file.read().replace('sessions: 2', 'sessions: 1'))
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_log('configuration read again')
        with self.dial(daemon) as kept, self.dial(daemon) as other:
            kept.sendall(frames.encode('link_hello', *tickets[0][:2]))
            daemon.wait_log('session 1 of many')
            other.sendall(frames.encode('link_hello', *tickets[1][:2]))
            self.assertClosed(other)
            daemon.wait_log('refused tenant alice: there are 1 sessions')
            self.assertEqual(self.sessions(daemon), 1)
        daemon.wait_log('session 1 of many .* ended', seconds=15)

    def add(self, text, *arguments, **environment):
        """penstock tenant add, with this as the daemon's configuration."""
        with open(self.path('penstock.yaml'), 'w', encoding='utf-8') as file:
            file.write(text)
        return harness.run(harness.PENSTOCK, 'tenant', 'add', *arguments, environment={
            'PENSTOCK_CONFIG': self.path('penstock.yaml'), 'XDG_CONFIG_HOME': self.path('config')} | environment)

    def test_add_as_configured(self):
        """The address and the directory are the daemon's, which is said; options come before them."""
        file, keys = self.path('penstock.yaml'), self.path('keys')
        tcp = f'listen: {{tcp: "%s", tenants: {keys}}}\n'
        host = socket.gethostname()
        for i, (listen, address) in enumerate([('0.0.0.0:7999', f'{host}:7999'), ('[::]:7998', f'{host}:7998'),
                                               ('192.0.2.1:7', '192.0.2.1:7'), ('[2001:db8::1]:7', '[2001:db8::1]:7')]):
            done = self.add(tcp % listen, f'alice{i}')
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, rf'^penstock://{re.escape(address)}/alice{i}#\S{{43}}\n$')
            self.assertIn(f'listen.tcp in {file}, {listen}', done.stderr)
            self.assertTrue(os.path.exists(os.path.join(keys, f'alice{i}.key')))
        done = self.add(tcp % '0.0.0.0:7999', 'json', '--json')
        found = json.loads(done.stdout)
        self.assertRegex(found.pop('pool'), rf'^penstock://{host}:7999/json#')
        self.assertEqual(found, {'tenant': 'json', 'configuration': file, 'directory': keys})
        done = self.add(tcp % '0.0.0.0:7999', 'bob', '--host', 'elsewhere:1')
        self.assertTrue(done.stdout.startswith('penstock://elsewhere:1/bob#'), done.stdout)
        self.assertTrue(os.path.exists(os.path.join(keys, 'bob.key')))
        for wrong in 'elsewhere', 'elsewhere:x', ':1', 'elsewhere:70000':
            done = self.add(tcp % '0.0.0.0:7999', 'wrong', '--host', wrong)
            self.assertEqual((done.returncode, done.stdout), (2, ''))
            self.assertIn(f'--host: "{wrong}" is no address', done.stderr)
        done = self.add(tcp % '0.0.0.0:7999', 'carol', '--directory', self.path('other/deeper'))
        self.assertTrue(done.stdout.startswith(f'penstock://{host}:7999/carol#'), done.stdout)
        self.assertEqual(os.listdir(self.path('other/deeper')), ['carol.key'])
        done = self.add('', 'dave', '--config', self.path('none.yaml'))
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertIn('none.yaml: cannot open the configuration', done.stderr)
        done = self.add(tcp % '0.0.0.0:0', 'dave')
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertIn('give --host HOST:PORT', done.stderr)
        self.assertFalse(os.path.exists(os.path.join(keys, 'dave.key')))
        done = self.add(f'listen: {{tenants: {keys}}}', 'dave')
        self.assertIn(f'{file} has no listen.tcp: penstockd lets in nobody', done.stderr)
        listed = harness.run(harness.PENSTOCK, 'tenant', 'list', '--config', file)
        self.assertEqual(listed.stdout.split(), ['alice0', 'alice1', 'alice2', 'alice3', 'bob', 'dave', 'json'])

    def test_wrong_key_and_revoked_key(self):
        daemon = self.open()
        alice, bob = daemon.tenant('alice'), daemon.tenant('bob')
        self.assertEqual(self.devices(alice).returncode, 0)
        for wrong in (alice.split('#')[0] + '#' + bob.split('#')[1], alice.replace('/alice#', '/carol#')):
            done = self.devices(wrong)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn('does not accept the key', done.stderr)
            self.assertNotIn(wrong.split('#')[1], done.stderr)
        revoked = harness.run(harness.PENSTOCK, 'tenant', 'revoke', 'alice', '--directory', os.path.join(daemon.folder, 'tenants'))
        self.assertEqual(revoked.returncode, 0, revoked.stderr)
        self.assertNotEqual(self.devices(alice).returncode, 0)
        self.assertEqual(self.devices(bob).returncode, 0)

    def test_strangers(self):
        daemon = self.open()
        alice = daemon.tenant('alice')
        for said in (b'GET / HTTP/1.0\r\n\r\n', b'\0' * 64, bytes([32]) + b'\0' * 3 + b'\0\5' + b'\0' * 26, b'\x16\x03\x01' + b'\xff' * 600):
            with self.dial(daemon) as sock:
                sock.sendall(said)
                self.assertClosed(sock)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.minimum_version = context.maximum_version = version
            with self.dial(daemon) as sock, self.assertRaises((ssl.SSLError, OSError)):
                context.wrap_socket(sock).close()
        self.assertEqual(self.devices(alice).returncode, 0)
        self.assertIsNone(daemon.process.poll())

    def test_silence_keeps_nobody_out(self):
        """A thousand who say nothing, and some who begin a handshake and say no more."""
        daemon = self.open('limits: {handshakes: 16, handshake_ms: 60000, handshake_burst: 10000}\n')
        alice = daemon.tenant('alice')
        before, hello = daemon.descriptors(), client_hello()
        with contextlib.ExitStack() as idle:
            for i in range(1000):
                sock = idle.enter_context(self.dial(daemon))
                sock.sendall(hello[:(0, 0, 0, 1, 5, 100)[i % 6]])
                if i in (0, 500):
                    self.assertEqual(self.devices(alice).returncode, 0)
            self.assertEqual(self.devices(alice).returncode, 0)
            harness.wait_for(lambda: daemon.descriptors() <= before + 20, what='few strangers kept')

    def test_many_connections_keep_nobody_out(self):
        """Who comes too often is not read; others, and he himself a while later, are."""
        daemon = self.open('limits: {handshakes_per_s: 2, handshake_burst: 20}\n')
        daemon.expect('connections from 127.0.0.2 are closed')
        alice, hello, closed = daemon.tenant('alice'), client_hello(), 0
        for i in range(100):
            with self.dial(daemon, '127.0.0.2') as sock:
                sock.sendall(hello)
                closed += not self.says(sock)
                if i == 60:
                    self.assertEqual(self.devices(alice).returncode, 0)
        self.assertGreater(closed, 50)
        self.assertEqual(len(re.findall('connections from 127.0.0.2 are closed: 20 that show no key or ticket at once, then 2 a second', daemon.log())), 1)
        time.sleep(1)
        with self.dial(daemon, '127.0.0.2') as sock:
            sock.sendall(hello)
            self.assertTrue(self.says(sock))

    def test_tenants_do_not_count(self):
        """Programs that make more connections than strangers may, all at once."""
        daemon = self.open('limits: {handshakes_per_s: 1, handshake_burst: 4}\nworkers: {warm: 4}\n')
        daemon.expect('connections from 127.0.0.1 are closed')
        pool = {'PENSTOCK_POOL': daemon.tenant('alice'), 'PENSTOCK_SOCKET': os.devnull}
        programs = [daemon.start(PROGRAM, 'first', stdout=subprocess.PIPE, **pool) for _ in range(6)]
        said = [program.communicate(timeout=60 * harness.SLOW)[0] for program in programs]
        self.assertEqual([program.returncode for program in programs], [0] * 6, said)

    def test_silence_ends(self):
        daemon = self.open('limits: {handshake_ms: 200}\n')
        with self.dial(daemon) as sock:
            self.assertClosed(sock)

    def test_short_of_descriptors(self):
        """Who cannot be let in for want of them is not looked at again and again; afterwards he is let in."""
        daemon = self.open('limits: {handshakes: 1000, handshake_ms: 60000}\n')
        daemon.wait_log('is warm')
        daemon.wait_log('device ')
        alice, few = daemon.tenant('alice'), daemon.descriptors() + 20
        daemon.expect('cannot take a connection')
        most = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (few, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        with contextlib.ExitStack() as idle:
            for _ in range(60):
                idle.enter_context(self.dial(daemon))
            daemon.wait_log('cannot take a connection')
            before = daemon.cpu_ticks()
            time.sleep(1)
            self.assertLess(daemon.cpu_ticks() - before, 5)
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, most)
            self.assertEqual(self.devices(alice).returncode, 0)

    def test_fresh_daemon_listens_on_no_port(self):
        daemon = self.daemon('backend: fake\n')
        inodes = set()
        for fd in os.listdir(f'/proc/{daemon.pid}/fd'):
            try:
                inodes.add(os.readlink(f'/proc/{daemon.pid}/fd/{fd}'))
            except FileNotFoundError:
                pass
        for table in ('tcp', 'tcp6'):
            with open(f'/proc/net/{table}', encoding='ascii') as file:
                for line in file.readlines()[1:]:
                    self.assertNotIn(f'socket:[{line.split()[9]}]', inodes)

    def libraries(self, daemon, **environment):
        """What a program has loaded that has used a device."""
        program = daemon.start(PROGRAM, 'idle', '60', stdout=subprocess.PIPE, **environment)
        try:
            self.assertEqual(program.stdout.readline(), 'running\n')
            with open(f'/proc/{program.pid}/maps', encoding='utf-8') as file:
                return {os.path.basename(line.split()[5]) for line in file if '/' in line}
        finally:
            program.kill()
            program.wait()
            program.stdout.close()

    def test_tls_is_loaded_when_it_is_needed(self):
        daemon = self.open()
        needed = harness.run('readelf', '-d', ICD).stdout
        self.assertIn('[libc.so.6]', needed)
        self.assertNotRegex(needed, 'ssl|crypto')
        here, elsewhere = self.libraries(daemon), self.libraries(daemon, PENSTOCK_POOL=daemon.tenant('alice'))
        self.assertFalse([name for name in here if 'ssl' in name or 'crypto' in name or 'tls' in name])
        self.assertLessEqual({'libpenstock-tls.so', 'libssl.so.3'}, elsewhere)

    def test_tls_is_not_there(self):
        daemon = self.open()
        icd = shutil.copy(ICD, self.folder)
        vendor = self.path('alone.icd')
        with open(vendor, 'w', encoding='utf-8') as file:
            file.write(icd)
        environment = daemon.environment | {'OCL_ICD_VENDORS': vendor, 'PENSTOCK_VERBOSE': '1'}
        done = harness.run(PROGRAM, 'first', environment=environment | {'PENSTOCK_POOL': daemon.tenant('alice')})
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, f'needs libpenstock-tls.so, which is neither in {self.folder} nor in /.*installed')
        self.assertEqual(harness.run(PROGRAM, 'first', environment=environment).returncode, 0)

    def test_plain_tcp_stays_here(self):
        for address in ('0.0.0.0:0', '192.0.2.1:0', 'example'):
            done = harness.run(harness.PENSTOCKD, '--socket', self.path('s'), '--plain-tcp', address)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(address, done.stderr)

    def test_the_address_is_read_once(self):
        """A connection that broke is tried again, at the address that was found: also when its file is another by then."""
        os.makedirs(self.path('config/penstock'))
        file = self.path('config/penstock/pool')
        with socket.create_server(('127.0.0.1', 0)) as server, open(file, 'w', encoding='ascii') as text:
            server.settimeout(5 * harness.SLOW)
            os.chmod(file, 0o600)
            print('tcp://127.0.0.1:%d' % server.getsockname()[1], file=text, flush=True)
            environment = {name: value for name, value in os.environ.items() if not name.startswith('PENSTOCK_')}
            environment |= {'XDG_CONFIG_HOME': self.path('config'), 'OCL_ICD_VENDORS': harness.VENDORS}
            with subprocess.Popen([PROGRAM, 'first'], env=environment, stdout=subprocess.DEVNULL) as program:
                for _ in range(2):
                    connection, _ = server.accept()
                    if os.path.exists(file):
                        os.remove(file)
                    connection.close()
                program.kill()


if __name__ == '__main__':
    unittest.main(verbosity=2)
