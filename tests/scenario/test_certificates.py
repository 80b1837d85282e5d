"""Who gets in from another host with a certificate, and who does not, and what each is told. The devices are the fake ones."""
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import unittest

import certificates
import frames
import harness

PROGRAM = os.environ.get('PENSTOCK_PROGRAM', os.path.join(harness.BUILD, 'tests/scenario/session_program'))


class Full(harness.Proxy):
    """For a while whoever connects meets a pool, with the same certificate, that has no room."""
    full = False

    def __init__(self, target, site):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=site.path('authority'))
        self.context.load_cert_chain(site.path('server'), site.path('server', 'key'))
        super().__init__(target, lambda: None, harness.seeded())

    def accept(self):
        if not self.full:
            super().accept()
            return
        inner, _ = self.listener.accept()
        self.accepted += 1
        inner.settimeout(5)
        with contextlib.suppress(OSError), self.context.wrap_socket(inner, server_side=True) as protected:
            protected.recv(1 << 16)
            protected.sendall(frames.encode('hello', 1, 0, 0, 0, 'full') + frames.encode('refused', -3, 0, 'there are too many'))
            protected.recv(1 << 16)


class Certificates(harness.Scenario):
    def setUp(self):
        super().setUp()
        self.site = certificates.Authority(self.folder)

    def open(self, server=None):
        daemon = self.daemon('backend: fake\n' + certificates.listen(self.path('daemon0'), server or self.site.server()))
        daemon.address()
        return daemon

    def tenant(self, daemon, *words):
        return harness.run(harness.PENSTOCK, 'tenant', *words, '--directory', os.path.join(daemon.folder, 'tenants'))

    def devices(self, pool):
        begin = time.monotonic()
        done = harness.run(harness.PENSTOCK, 'devices', '--json', environment={
            'PENSTOCK_POOL': pool, 'PENSTOCK_SOCKET': os.devnull})
        self.assertLess(time.monotonic() - begin, 5 * harness.SLOW)
        return done

    def assertIn_(self, pool):
        done = self.devices(pool)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('fake', done.stdout)

    def assertRefused(self, pool, reason):
        done = self.devices(pool)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, reason)

    def test_right_certificate(self):
        daemon = self.open()
        self.site.sign('alice')
        self.assertIn_(self.site.pool(daemon.address(), 'alice'))
        daemon.wait_log('tenant alice has connected')

    def test_keys_beside_them(self):
        daemon = self.open()
        alice = daemon.tenant('alice')
        self.assertIn_(alice)
        for wrong in (alice.replace('/alice#', '/carol#'), alice[:-2] + ('AA' if alice[-2:] != 'AA' else 'EA')):
            self.assertRefused(wrong, 'does not accept the key')

    def test_tenants_that_are_refused(self):
        daemon = self.open()
        other = certificates.Authority(self.path('daemon0'), 'other')
        other.sign('mallory')
        shutil.copy(self.site.path('authority'), other.path('other'))  # what mallory says he believes
        self.assertRefused(other.pool(daemon.address(), 'mallory'), 'authority that it believes has not signed')
        for name, wanted, reason in (
                ('expired', {'days': -1}, 'certificate has expired'),
                ('capital', {'subject': '/CN=Alice'}, "common name is no tenant's"),
                ('path', {'subject': '/CN=..\\/alice'}, "common name is no tenant's"),
                ('nameless', {'subject': '/O=alice'}, "common name is no tenant's"),
                ('double', {'subject': '/CN=alice/CN=bob'}, "common name is no tenant's"),
                ('server', {'subject': '/CN=server', 'extensions': 'extendedKeyUsage=serverAuth'}, 'not for this use')):
            with self.subTest(name):
                self.site.sign(name, **wanted)
                self.assertRefused(self.site.pool(daemon.address(), name), reason)
        self.assertNotIn('has connected', daemon.log())

    def restart(self, revoked):
        """What a program's session comes to whose daemon is killed, and started again."""
        daemon = self.open()
        self.site.sign('alice')
        program = daemon.start(PROGRAM, 'loop', '60', stdout=subprocess.PIPE, PENSTOCK_SOCKET=os.devnull,
                               PENSTOCK_POOL=self.site.pool(daemon.address(), 'alice'))
        self.assertEqual(program.stdout.readline(), 'running\n')
        daemon.process.kill()
        daemon.process.wait()
        if revoked:
            self.assertEqual(self.tenant(daemon, 'revoke', 'alice').returncode, 0)
        with open(daemon.config, encoding='utf-8') as file:
            config = file.read().replace('127.0.0.1:0', daemon.address())
        after = harness.Daemon(daemon.folder, config, log='after.log')
        self.daemons.append(after)
        after.wait_log('session 1 of .* goes on')
        if not revoked:
            program.send_signal(signal.SIGUSR1)
        program.communicate(timeout=20 * harness.SLOW)
        after.wait_log('session 1 of .* ended')
        return program.returncode

    def test_no_room_for_a_while(self):
        """A session whose connection breaks does not end because its pool has too many just then."""
        daemon = self.open()
        self.site.sign('alice')
        proxy = Full(daemon.address(), self.site)
        program = daemon.start(PROGRAM, 'loop', '60', stdout=subprocess.PIPE, PENSTOCK_SOCKET=os.devnull,
                               PENSTOCK_POOL=self.site.pool(proxy.address, 'alice'))
        self.addCleanup(program.kill)
        self.assertEqual(program.stdout.readline(), 'running\n')
        accepted, proxy.full = proxy.accepted, True
        proxy.cut_all()
        harness.wait_for(lambda: proxy.accepted >= accepted + 3, what='tries')
        self.assertIsNone(program.poll())
        proxy.full = False
        daemon.wait_log('a new connection')
        program.send_signal(signal.SIGUSR1)
        out, _ = program.communicate(timeout=20 * harness.SLOW)
        self.assertEqual(program.returncode, 0, out)

    def test_restarted_daemon(self):
        self.assertEqual(self.restart(revoked=False), 0)

    def test_revoked_meanwhile(self):
        self.assertEqual(self.restart(revoked=True), 3)

    def test_revoked(self):
        daemon = self.open()
        for name in ('alice', 'bob'):
            self.site.sign(name)
        alice, bob = (self.site.pool(daemon.address(), name) for name in ('alice', 'bob'))
        self.assertIn_(alice)
        done = self.tenant(daemon, 'revoke', 'alice')
        self.assertEqual((done.returncode, 'has no key' in done.stderr), (0, True), done.stderr)
        self.assertRefused(alice, 'has been revoked')
        self.assertIn_(bob)
        key = daemon.tenant('alice')
        self.assertIn_(key)
        self.assertRefused(alice, 'has been revoked')
        self.assertEqual(self.tenant(daemon, 'list').stdout, 'alice (a new key; certificates are revoked)\n')
        self.assertEqual(self.tenant(daemon, 'revoke', 'alice').stderr, '')
        self.assertNotEqual(self.devices(key).returncode, 0)
        self.assertEqual(self.tenant(daemon, 'list').stdout, 'alice (revoked)\n')
        self.assertRegex(self.tenant(daemon, 'list', '--json').stdout, r'"key": false,\s+"revoked": true')
        self.assertEqual(self.tenant(daemon, 'admit', 'alice').returncode, 0)
        self.assertIn_(alice)
        self.assertEqual(self.tenant(daemon, 'list').stdout, '')
        done = self.tenant(daemon, 'admit', 'alice')
        self.assertEqual((done.returncode, 'has not been revoked' in done.stderr), (1, True), done.stderr)

    def test_revoked_while_it_runs(self):
        daemon = self.open()
        self.site.sign('alice')
        program = daemon.start(PROGRAM, 'loop', '60', stdout=subprocess.PIPE, PENSTOCK_POOL=self.site.pool(daemon.address(), 'alice'))
        try:
            self.assertEqual(program.stdout.readline(), 'running\n')
            self.tenant(daemon, 'revoke', 'alice')
            program.wait(20 * harness.SLOW)
            self.assertEqual(program.returncode, 3)
        finally:
            program.kill()
            program.wait()
            program.stdout.close()

    def test_no_certificate_and_older_versions(self):
        daemon = self.open()
        self.site.sign('alice')
        host, port = daemon.address().rsplit(':', 1)
        for version, certificate, reason in (('TLSv1_3', None, 'certificate.required'), ('TLSv1_2', None, 'version'),
                                             ('TLSv1_2', 'alice', 'version')):
            context = ssl.create_default_context(cafile=self.site.path('authority'))
            context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
            if certificate:
                context.load_cert_chain(self.site.path(certificate), self.site.path(certificate, 'key'))
            with self.subTest(version), socket.create_connection((host, int(port)), 10) as sock:
                with self.assertRaises(ssl.SSLError) as caught, context.wrap_socket(sock, server_hostname=host) as wrapped:
                    wrapped.recv(1)
                self.assertRegex(str(caught.exception).lower(), reason)
        self.assertIn_(self.site.pool(daemon.address(), 'alice'))

    def test_daemons_that_are_refused(self):
        self.site.sign('alice')
        other = certificates.Authority(self.folder, 'other')
        for name, server, reason in (
                ('elsewhere', self.site.server('elsewhere', 'subjectAltName=DNS:elsewhere.example,IP:127.0.0.2'), 'address mismatch'),
                ('unnamed', self.site.server('unnamed', ''), 'address mismatch'),
                ('old', self.site.server('old', days=-1), 'certificate has expired'),
                ('client', self.site.server('client', certificates.SERVER + '\nextendedKeyUsage=clientAuth'), '[Uu]nsuitable|purpose'),
                ('stranger', other.server('stranger'), 'unable to get local issuer')):
            with self.subTest(name):
                daemon = self.daemon('backend: fake\n' + certificates.listen(self.folder, server))
                self.assertRefused(self.site.pool(daemon.address(), 'alice'), f'its certificate is not accepted: .*({reason})')
                daemon.stop()
        daemon = self.daemon('backend: fake\n' + harness.listen(self.folder))
        self.assertRefused(self.site.pool(daemon.address(), 'alice'), 'keys alone')

    def test_files_of_a_program(self):
        daemon = self.open()
        for name in ('alice', 'bob'):
            self.site.sign(name)
        alice, key = self.site.pool(daemon.address(), 'alice'), self.site.path('alice', 'key')
        self.assertRefused(alice.replace('alice.key', 'bob.key'), 'private_key .*bob.key: it is not the key of')
        self.assertRefused(alice.replace('alice.pem', 'carol.pem'), 'certificate .*carol.pem: No such file')
        self.assertRefused(alice.replace('authority.pem', 'alice.key'), 'authority .*alice.key: it must hold .*PEM')
        os.chmod(key, 0o640)
        self.assertRefused(alice, 'private_key .*mode 0640')
        certificates.openssl('ec', '-in', key, '-aes128', '-passout', 'pass:secret', '-out', key + '2')
        os.chmod(key + '2', 0o600)
        self.assertRefused(alice.replace('alice.key', 'alice.key2'), 'private_key .*without a password')
        os.chmod(key, 0o600)
        self.assertIn_(alice)

    def test_renewed(self):
        daemon = self.open(self.site.server(days=-1))
        self.site.sign('alice')
        alice = self.site.pool(daemon.address(), 'alice')
        self.assertRefused(alice, 'certificate has expired')
        key = self.site.path('server', 'key')
        os.rename(key, key + '.away')
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_log(r'kept as it was: .*penstock.yaml:2: listen.private_key .*No such file')
        self.assertRefused(alice, 'certificate has expired')
        self.site.server()
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_log('configuration read again')
        self.assertIn_(alice)

    def test_configuration(self):
        self.site.server()
        self.site.server('other')
        good = {'certificate': self.site.path('server'), 'private_key': self.site.path('server', 'key'),
                'authority': self.site.path('authority')}
        os.chmod(self.site.path('other', 'key'), 0o644)
        for change, line, reason in (
                ({}, None, ''),
                ({'authority': None}, 3, 'listen.private_key needs listen.authority'),
                ({'certificate': None, 'private_key': None}, 2, 'listen.authority needs listen.private_key'),
                ({'certificate': 'server.pem'}, 2, 'listen.certificate is "server.pem"; it must be an absolute path'),
                ({'certificate': self.path('none')}, 2, f'listen.certificate {self.path("none")}: No such file'),
                ({'private_key': self.site.path('server')}, 3, 'listen.private_key .*0600 is allowed|must hold a private key'),
                ({'private_key': self.site.path('other', 'key')}, 3, 'listen.private_key .*mode 0644; 0600 is allowed'),
                ({'private_key': self.site.path('authority', 'key')}, 3, 'listen.private_key .*it is not the key of'),
                ({'authority': os.devnull}, 4, 'listen.authority /dev/null: it must hold one certificate')):
            path = self.path('penstock.yaml')
            with open(path, 'w', encoding='utf-8') as file:
                file.write('listen:\n' + ''.join(f'  {key}: {value}\n' for key, value in (good | change).items() if value))
            with self.subTest(change):
                done = harness.run(harness.PENSTOCKD, '--check', '--config', path)
                self.assertEqual(done.returncode, 1 if line else 0, done.stderr)
                self.assertRegex(done.stderr, f'{path}:{line}: ({reason})' if line else '^$')


if __name__ == '__main__':
    unittest.main(verbosity=2)
