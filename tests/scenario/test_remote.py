"""Sessions of programs on another host: what they outlive, and what ends them. The devices are the fake ones; all that
programs see on the way is in the modes `remote` and `cut` of the cl_* programs."""
import contextlib
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import time
import unittest

import frames
import harness

PROGRAM = os.environ['PENSTOCK_PROGRAM']
LOST = 3  # the program's exit status when OpenCL says that the device is gone


class Slow(harness.Proxy):
    """The answer to session_open, on the second connection after that of the query and what is said in its handshake, takes a
    while: is there another connection before it?"""
    early = None

    def __init__(self, *arguments):
        self.daemon_ends, self.said = [], 0
        super().__init__(*arguments)

    def accept(self):
        super().accept()
        self.daemon_ends.append(list(self.pairs)[-1])

    def forward(self, sock):
        if len(self.daemon_ends) > 1 and sock is self.daemon_ends[1]:
            self.said += 1
            if self.said == 2:
                time.sleep(0.5)
                self.early = len(self.daemon_ends) > 2 or bool(select.select([self.listener], [], [], 0)[0])
        super().forward(sock)


class Ticket(harness.Proxy):
    """Whoever connects here comes to the daemon with this token."""

    def __init__(self, target, token):
        self.hello = frames.encode('link_hello', *token)
        super().__init__(target, lambda: None, harness.seeded())

    def accept(self):
        super().accept()
        list(self.pairs)[-1].sendall(self.hello)


class Stranger(harness.Proxy):
    """While `says` is something, whoever connects hears that, and not the daemon."""
    says = None

    def accept(self):
        if self.says is None:
            super().accept()
            return
        inner, _ = self.listener.accept()
        self.accepted += 1
        with inner, contextlib.suppress(OSError):
            inner.settimeout(1)
            inner.recv(1 << 16)
            inner.sendall(self.says)


ALERT = bytes.fromhex('15030300020228')  # TLS: the handshake failed


class Remote(harness.Scenario):
    def open(self, window='60 s', config='', environment=None):
        """A daemon behind a proxy that cuts nothing by itself."""
        self.host = self.daemon(f'backend: fake\nsession: {{reconnect_window: {window}}}\n' + config
                                + harness.listen(self.path('daemon0')), environment=environment)
        self.proxy = harness.Proxy(self.host.address(), lambda: None, harness.seeded())
        return self.host

    def open_plain(self, window='60 s', config='', proxy=harness.Proxy):
        """The same without protection; where it is."""
        self.host = self.daemon(f'backend: fake\nsession: {{reconnect_window: {window}}}\n' + config,
                                arguments=('--log', 'debug', '--plain-tcp', '127.0.0.1:0'))
        address = self.host.wait_log(r'listens without protection at (\S+)')
        self.proxy = proxy(address, lambda: None, harness.seeded())
        return address

    def pool(self, tenant='alice'):
        return self.host.tenant(tenant).replace(self.host.address(), self.proxy.address)

    def start(self, *arguments, pool, **environment):
        program = self.host.start(PROGRAM, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, PENSTOCK_POOL=pool,
                                  PENSTOCK_SOCKET=os.devnull, **environment)
        self.addCleanup(program.kill)  # one that waits would keep our output open
        if arguments[0] in ('loop', 'idle', 'hold', 'keep', 'busy', 'burst', 'enqueue', 'churn'):
            self.assertEqual(program.stdout.readline(), 'running\n')
        return program

    def finish(self, program, seconds=20):
        out, _ = program.communicate(timeout=seconds * harness.SLOW)
        return program.returncode, out

    def end(self, program):
        """One that has looped for long enough goes on once more, and is right; what it said."""
        program.send_signal(signal.SIGUSR1)
        status, out = self.finish(program)
        self.assertEqual(status, 0, out)
        return out

    def test_goes_on(self):
        self.open()
        program = self.start('loop', '60', pool=self.pool())
        while self.proxy.cuts < 10:
            time.sleep(0.1 * self.proxy.chance.random())
            connections = self.host.log().count('a new connection')
            self.proxy.cut_all()
            self.host.wait_log('a new connection', count=connections + 1)
        self.end(program)

    def test_connects_twice_at_once(self):
        """The session's own connection is made while the ticket for it is on its way: a round trip less."""
        self.open()
        self.proxy = Slow(self.host.address(), lambda: None, harness.seeded())
        self.assertEqual(self.finish(self.start('first', pool=self.pool()))[0], 0)
        self.assertIs(self.proxy.early, True)

    def test_works_meanwhile(self):
        """What was sent is executed while there is no connection: 3 s of work and 2.5 s without one take no 5.5 s. With
        sanitizers all else takes longer: 6 s and 5.5 s take no 11.5 s there."""
        work = 6 if harness.SANITIZED else 3
        self.open()
        program = self.start('busy', str(work * 1000), pool=self.pool())
        begin = time.monotonic()
        time.sleep(0.5)  # the command is there
        self.proxy.open = False
        self.proxy.cut_all()
        time.sleep(work - 0.5)
        self.proxy.open = True
        self.assertEqual(self.finish(program)[0], 0)
        self.assertLess(time.monotonic() - begin, 2 * work - 1)

    def test_window_ends(self):
        self.open('1 s')
        program = self.start('loop', '60', pool=self.pool())
        self.proxy.open = False
        self.proxy.cut_all()
        begin = time.monotonic()
        status, out = self.finish(program)
        self.assertEqual(status, LOST, out)
        self.assertGreater(time.monotonic() - begin, 0.5)
        self.assertLess(time.monotonic() - begin, 8 * harness.SLOW)
        self.host.wait_log(r'session 1 of \S+ \(pid \d+\) ended')

    def test_stopped_worker(self):
        """One that reads nothing of what the daemon has to tell it keeps nobody else waiting."""
        self.open()
        program, worker = self.start('loop', '60', pool=self.pool()), self.worker()
        os.kill(worker, signal.SIGSTOP)
        try:
            connection, longest, answers = self.host.dial(), 0, set()
            for i in range(800):
                begin = time.monotonic()
                connection.send('session_detach', 1, 1 - i % 2, 0)
                answers.add(connection.receive()[0])
                longest = max(longest, time.monotonic() - begin)
                if longest > 0.5 * harness.SLOW:
                    break
        finally:
            os.kill(worker, signal.SIGCONT)
        self.assertLess(longest, 0.5 * harness.SLOW)
        self.assertEqual(answers, {'done', 'refused'})
        harness.wait_for(lambda: self.host.run(harness.PENSTOCK, 'attach', '1').returncode == 0, what='that it reads again')
        self.end(program)

    def test_stopped_worker_of_a_program_that_comes_back(self):
        self.host = self.daemon('backend: fake\n', arguments=['--log', 'debug', '--plain-tcp', '127.0.0.1:0'])
        address = self.host.wait_log(r'listens without protection at (\S+)')
        program = self.start('loop', '60', pool='tcp://' + address)
        worker, (host, port) = self.worker(), address.rsplit(':', 1)
        os.kill(worker, signal.SIGSTOP)
        try:
            for _ in range(400):
                with socket.create_connection((host, int(port)), 10) as sock:
                    sock.sendall(frames.encode('hello', 1, 0, 1, 0, 'x') + frames.encode('session_resume', 1, worker, 0))
            begin = time.monotonic()
            self.host.dial()
            self.assertLess(time.monotonic() - begin, 2 * harness.SLOW)
            self.host.wait_log('its worker takes no new connection')
        finally:
            os.kill(worker, signal.SIGCONT)
        self.end(program)

    def test_much_output_at_once(self):
        """More than what lies between the thread that waits and itself, since it is the one that receives, too."""
        count = 10000
        self.open()
        program = self.start('burst', str(count), pool=self.pool())
        time.sleep(0.3)  # it waits
        program.send_signal(signal.SIGSTOP)
        time.sleep(2)
        program.send_signal(signal.SIGCONT)
        status, out = self.finish(program)
        self.assertEqual((status, out.splitlines()), (0, [f'fake prints {i}' for i in range(count)]))

    @harness.not_sanitized('the fake device has a thread for each queue, and a worker that leaves waits for none of them')
    def test_more_queues_than_there_are_while_it_is_cut(self):
        """Whose work only the connection can tell to be over: the next queue waits for it to come back."""
        self.open()
        program = self.start('churn', '1200', pool=self.pool())
        self.proxy.open = False
        self.proxy.cut_all()
        time.sleep(3.5)
        self.assertIsNone(program.poll())
        self.proxy.open = True
        self.assertEqual(self.finish(program)[0], 0)

    def test_ended_program(self):
        """It says so: its session is not kept for the window."""
        self.open()
        self.assertEqual(self.finish(self.start('first', pool=self.pool()))[0], 0)
        self.host.wait_log(r'session 1 of \S+ \(pid \d+\) ended')

    def refuse_for_a_while(self, program, says):
        """It is told this when it connects again, and goes on later."""
        accepted = self.proxy.accepted
        connections = self.host.log().count('a new connection')
        self.proxy.says = says
        self.proxy.cut_all()
        harness.wait_for(lambda: self.proxy.accepted >= accepted + 3, what='tries')
        self.assertIsNone(program.poll())
        self.proxy.says = None
        self.host.wait_log('a new connection', count=connections + 1)

    def test_what_may_not_be_the_pools_word(self):
        """A refusal of the key, by whoever listens there for a moment, ends no session before its window does."""
        self.open('2 s')
        self.proxy = Stranger(self.host.address(), lambda: None, harness.seeded())
        program = self.start('loop', '60', pool=self.pool())
        for says in ALERT, b'HTTP/1.0 400 Bad Request\r\n\r\n':
            self.refuse_for_a_while(program, says)
        self.proxy.says = ALERT
        self.proxy.cut_all()
        begin = time.monotonic()
        status, out = self.finish(program)
        self.assertEqual(status, LOST, out)
        self.assertRegex(out, 'could not be made again: .*does not accept the key')
        self.assertGreater(time.monotonic() - begin, 1.5)

    def test_what_is_no_message(self):
        """The same where nothing is protected."""
        self.open_plain(proxy=Stranger)
        program = self.start('loop', '60', pool='tcp://' + self.proxy.address)
        self.refuse_for_a_while(program, b'HTTP/1.0 400 Bad Request\r\n\r\n')
        self.end(program)

    def test_connections_are_all_taken(self):
        """By another tenant: a session whose connection breaks goes on all the same, and the pool can be managed."""
        self.open(config='limits: {connections: 4, handshake_ms: 60000}\n')
        program = self.start('loop', '60', pool=self.pool())
        bob = self.host.tenant('bob')
        name, key = bob.rsplit('/', 1)[1].split('#')
        with contextlib.ExitStack() as held:
            for _ in range(4):
                connection = held.enter_context(harness.tls(self.host.address(), name, frames.key(key)))
                connection.send('hello', 1, 0, os.getpid(), 0, 'scenario')
                self.assertEqual(connection.receive()[0], 'hello')
            answers = self.host.ask(bob, ('device_list',))
            self.assertEqual((answers[1][0], answers[1][1][0]), ('refused', -3))
            self.assertIn('limits.connections', answers[1][1][2])
            self.proxy.cut_all()
            self.host.wait_log('a new connection')
            self.assertEqual(self.state(), 'connected')
            self.end(program)

    def test_those_that_there_is_no_room_for(self):
        """They are bounded, too; whoever says nothing gives way."""
        host, port = self.open_plain(config='limits: {connections: 3, handshake_ms: 60000}\n').rsplit(':', 1)
        program = self.start('loop', '60', pool='tcp://' + self.proxy.address)
        before = self.host.descriptors()
        with contextlib.ExitStack() as held:
            for _ in range(150):
                held.enter_context(socket.create_connection((host, int(port)), 10 * harness.SLOW))
            harness.wait_for(lambda: before + 60 < self.host.descriptors() < before + 3 + 64 + 10, what='few of them kept')
            self.proxy.cut_all()
            self.host.wait_log('a new connection')
            self.end(program)

    def test_ends_that_do_not_agree(self):
        """A program that has proven itself, and says that it has what was never sent: its session is no other for that, and
        ends when the program is gone."""
        host, port = self.open_plain('1 s').rsplit(':', 1)

        def dial():
            sock = socket.create_connection((host, int(port)), 10 * harness.SLOW)
            connection = frames.Connection(sock)
            connection.send('hello', 1, 0, os.getpid(), 0, 'scenario')
            self.assertEqual(connection.receive()[0], 'hello')
            return connection
        first = dial()
        first.send('session_open', 1 << 2, 0, 0, 'scenario', '')
        name, values = first.receive()
        self.assertEqual(name, 'session_opened')
        session, worker, proof = values[0], values[5], values[-2:]
        second = dial()
        second.send('session_resume', session, worker, 0)
        second.send('link_proof', *proof)
        second.send('link_resume', session, 1 << 63)
        self.assertEqual(second.receive()[0], 'link_resume')
        self.assertIsNone(second.receive())
        self.assertEqual(self.state(), 'connected')
        second.close()
        first.close()
        self.host.wait_log(r'session 1 of \S+ \(pid \d+\) ended', seconds=5)

    def test_killed_program(self):
        """Its session is kept for the window, since nobody knows that it will not come back; then it ends."""
        self.open('1 s')
        killed, leaving = self.start('loop', '60', pool=self.pool()), self.start('leave', pool=self.pool('bob'))
        killed.kill()
        killed.communicate()
        self.assertEqual(self.finish(leaving)[0], 0)
        time.sleep(0.3)
        self.assertNotRegex(self.host.log(), 'session . of .* ended')
        self.assertEqual([each['state'] for each in self.sessions()], ['broken', 'broken'])
        for session in 1, 2:
            self.host.wait_log(rf'session {session} of \S+ \(pid \d+\) ended', seconds=8)
        self.assertEqual(self.sessions(), [])

    def test_no_command(self):
        """What cannot be sent ends the session, with a word; it is not passed over in silence."""
        self.open()
        self.host.expect('is lost')
        status, out = self.finish(self.start('scribble', pool=self.pool()))
        self.assertEqual(status, LOST, out)
        self.assertRegex(out, 'why: .*a command could not be sent')

    def test_killed_worker(self):
        """The program is told at once, not after the window; others feel nothing."""
        self.open()
        program, other = self.start('loop', '60', pool=self.pool()), self.start('loop', '60', pool=self.pool('bob'))
        self.host.expect(r'is lost: its worker \d+ was killed by signal 9')
        os.kill(int(self.host.wait_log(r'session 1 of .*: worker (\d+)')), signal.SIGKILL)
        status, out = self.finish(program)
        self.assertEqual(status, LOST, out)
        self.end(other)

    def kill_daemon(self):
        self.host.process.kill()
        self.host.process.wait()

    def start_again(self, config=''):
        """The daemon, at the port that it had."""
        with open(self.host.config, encoding='utf-8') as file:
            text = file.read().replace('"127.0.0.1:0"', f'"{self.host.address()}"') + config
        self.host = harness.Daemon(self.host.folder, text, log=f'penstockd{len(self.daemons)}.log')
        self.daemons.append(self.host)
        self.assertEqual(self.host.address(), self.proxy.target)

    def worker(self, session=1):
        """The process that serves it, by the log of the daemon that opened it."""
        return int(self.host.wait_log(fr'session {session} of .*: worker (\d+)'))

    def sessions(self):
        done = self.host.run(harness.PENSTOCK, 'ps', '--json')
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def gone(self, *pids, seconds=10):
        harness.wait_for(lambda: not any(harness.alive(pid) for pid in pids), seconds, 'workers gone')

    def test_killed_daemon(self):
        """A daemon that does not come back: the session works on for the window."""
        self.open('2 s')
        program = self.start('loop', '60', pool=self.pool())
        worker = self.worker()
        self.kill_daemon()
        time.sleep(1)
        self.assertIsNone(program.poll())
        self.assertTrue(harness.alive(worker))
        status, out = self.finish(program)
        self.assertEqual(status, LOST, out)
        self.gone(worker)

    def test_restarted_daemon(self):
        """The program notices nothing; the next daemon knows its session, and gives it new connections."""
        window = 5 if harness.SANITIZED else 2  # s
        self.open(f'{window} s')
        pool, other = self.pool(), self.pool('bob')
        program = self.start('loop', '60', pool=pool)
        worker = self.worker()
        before, = self.sessions()
        self.kill_daemon()
        begin = time.monotonic()
        time.sleep(0.2)
        self.start_again()
        self.host.wait_log(r'session 1 of \S+ \(pid \d+\) goes on')
        self.assertEqual(self.proxy.cuts, 0)
        after, = self.sessions()
        self.assertEqual([after[key] for key in ('session', 'pid', 'worker', 'started', 'program')],
                         [before[key] for key in ('session', 'pid', 'worker', 'started', 'program')])
        self.assertEqual(after['worker'], worker)
        harness.wait_for(lambda: self.sessions()[0]['commands'] > before['commands'], what='its commands are counted')
        for tenant, answer in (other, 'refused'), (pool, 'session_ticket'):
            tenant = tenant.replace(self.proxy.address, self.host.address())
            self.assertEqual(self.host.ask(tenant, ('session_resume', 1, worker, 0))[1][0], answer)
        second = self.start('first', pool=other)
        self.host.wait_log(r'session 2 of \S+ \(pid \d+\): worker \d+')
        self.assertEqual(self.finish(second)[0], 0)
        self.proxy.cut_all()
        self.host.wait_log('a new connection')
        time.sleep(max(0, begin + window + 0.3 - time.monotonic()))  # it is not the window that it lives for
        self.end(program)
        self.host.wait_log(r'session 1 of \S+ \(pid \d+\) ended: \d{2,} commands, 0 failed')
        self.assertEqual(self.sessions(), [])
        self.gone(worker)
        left = set(os.listdir(self.host.socket + '.d'))
        self.assertFalse({each for each in left if each.endswith('.session') or each.split('.')[0] == 'worker-1'}, left)

    def test_handed_over(self):
        """The daemon ends in good order, with all but the sessions of other hosts' programs, which go on with the next one. Then
        that does the same."""
        self.open('5 s')
        program = self.start('loop', '60', pool=self.pool())
        here, (name, answer) = self.host.open_session()
        self.assertEqual(name, 'session_opened')
        worker, own = self.worker(), answer[5]
        before, accepted = self.sessions()[0], self.proxy.accepted
        for end in (lambda: self.assertEqual(self.host.run(harness.PENSTOCK, 'stop', '--keep-sessions').returncode, 0),
                    lambda: self.host.process.send_signal(signal.SIGUSR1)):
            workers = self.host.workers() + [own]
            end()
            self.assertEqual(self.host.process.wait(10 * harness.SLOW), 0)
            self.gone(*set(workers) - {worker})
            self.assertFalse(os.path.exists(self.host.socket))
            self.assertTrue(harness.alive(worker))
            time.sleep(0.1)
            self.start_again()
            self.host.wait_log(r'session 1 of \S+ \(pid \d+\) goes on')
        name, last = here.receive()
        self.assertEqual((name, last[-1], here.receive()), ('fatal', 'penstockd has ended this session', None))
        self.assertRegex(self.daemons[0].log(), 'session 1 of .* is left to the next penstockd')
        self.assertRegex(self.daemons[0].log(), 'session 2 of scenario .* ended')
        after, = self.sessions()
        self.assertEqual([after[key] for key in ('session', 'worker', 'started')],
                         [before[key] for key in ('session', 'worker', 'started')])
        self.assertEqual((self.proxy.cuts, self.proxy.accepted), (0, accepted))
        self.proxy.cut_all()
        self.host.wait_log('a new connection')
        self.end(program)
        self.host.wait_log(r'session 1 of \S+ \(pid \d+\) ended: \d{2,} commands, 0 failed')
        self.gone(worker)

    def test_restarted_twice(self):
        """With a connection broken meanwhile: the program comes back to whichever daemon there is."""
        self.open('5 s')
        program = self.start('loop', '60', pool=self.pool())
        worker = self.worker()
        for _ in range(2):
            self.kill_daemon()
            self.proxy.cut_all()
            time.sleep(0.3)
            self.start_again()
            self.host.wait_log('a new connection')
        self.end(program)
        self.gone(worker)

    def test_restarted_and_ended(self):
        """A session that is over by the time that the next daemon hears of its worker has ended, and is not lost."""
        self.open('5 s')
        program = self.start('loop', '60', pool=self.pool())
        worker = self.worker()
        self.kill_daemon()
        os.kill(worker, signal.SIGSTOP)
        self.start_again()
        self.host.wait_log('goes on')
        os.kill(self.host.pid, signal.SIGSTOP)
        os.kill(worker, signal.SIGCONT)
        self.end(program)
        harness.wait_for(lambda: not harness.alive(worker), what='its end')
        os.kill(self.host.pid, signal.SIGCONT)
        self.host.wait_log(r'session 1 of \S+ \(pid \d+\) ended: \d\d+ commands')

    def test_restarted_and_revoked(self):
        self.open()
        pool = self.pool()
        for between in (False, True):
            with self.subTest(between=between):
                program = self.start('loop', '60', pool=pool)
                harness.wait_for(lambda: self.sessions(), what='its session')
                worker = self.sessions()[0]['worker']
                self.kill_daemon()
                tenants = os.path.join(self.host.folder, 'tenants')
                revoke = [harness.PENSTOCK, 'tenant', 'revoke', 'alice', '--directory', tenants]
                if between:
                    self.assertEqual(harness.run(*revoke).returncode, 0)
                self.start_again()
                if not between:
                    self.host.wait_log('goes on')
                    self.assertEqual(harness.run(*revoke).returncode, 0)
                status, out = self.finish(program)
                self.assertEqual(status, LOST, out)
                self.gone(worker)
                pool = self.pool()

    def taken_over(self):
        """A program, and its worker, whose daemon was killed and is another by now."""
        self.open()
        program = self.start('loop', '60', pool=self.pool())
        worker = self.worker()
        self.kill_daemon()
        self.start_again()
        self.host.wait_log('goes on')
        return program, worker

    def test_restarted_and_stopped(self):
        """In good order: nothing is left (also see tearDown)."""
        program, worker = self.taken_over()
        self.assertEqual(self.host.stop(), 0)
        self.assertFalse(harness.alive(worker))
        self.assertFalse(os.path.exists(self.host.socket + '.d'))
        self.proxy.open = False
        program.kill()
        program.communicate()

    def test_stopped_daemon(self):
        """Nobody is waited for by a worker whose daemon has ended in good order."""
        self.open()
        program = self.start('loop', '60', pool=self.pool())
        worker = self.worker()
        begin = time.monotonic()
        self.assertEqual(self.host.stop(), 0)
        self.assertLess(time.monotonic() - begin, 4 * harness.SLOW)
        self.assertFalse(harness.alive(worker))
        program.kill()
        program.communicate()

    def test_restarted_and_killed_worker(self):
        program, worker = self.taken_over()
        self.host.expect(r'is lost: its worker \d+')
        harness.wait_for(lambda: self.sessions()[0]['commands'], what='its page')
        os.kill(worker, signal.SIGKILL)
        self.host.wait_log(fr'session 1 of \S+ \(pid \d+\) is lost: its worker {worker}, .* the last kernel launched was "inc"')
        status, out = self.finish(program)
        self.assertEqual(status, LOST, out)
        self.assertEqual(self.sessions(), [])

    def test_same_number(self):
        """A program whose session has ended with its daemon gets no other of that number."""
        self.open()
        pool = self.pool()
        direct = pool.replace(self.proxy.address, self.host.address())
        first = self.start('idle', '60', pool=pool)
        worker = self.worker()
        self.assertEqual(self.host.stop(), 0)
        self.proxy.open = False
        self.start_again()
        second = self.start('loop', '60', pool=direct)
        for pid, answer in (worker, 'refused'), (self.worker(), 'session_ticket'):
            self.assertEqual(self.host.ask(direct, ('session_resume', 1, pid, 0))[1][0], answer)
        self.end(second)
        first.kill()
        first.communicate()

    def test_ended_meanwhile(self):
        """A worker that has died while there was no daemon, and a note that is none."""
        self.open()
        program = self.start('loop', '60', pool=self.pool())
        worker = self.worker()
        self.kill_daemon()
        os.kill(worker, signal.SIGKILL)
        harness.wait_for(lambda: not harness.parent_and_state(worker), what='that nobody awaits it any more')
        folder = self.host.socket + '.d'
        for name, text in ('worker-7.session', 'no note'), ('worker-8.session', ''), ('worker-9.control', ''):
            with open(os.path.join(folder, name), 'w', encoding='ascii') as file:
                file.write(text)
        self.start_again()
        self.host.wait_log('session 1 of .* has ended while there was no penstockd')
        status, out = self.finish(program)
        self.assertEqual(status, LOST, out)
        self.assertEqual(self.sessions(), [])
        self.assertFalse([each for each in os.listdir(folder) if re.search(r'\.session$|-[789]\.', each)])

    def manage(self, command, session=1, options=()):
        """penstock detach, penstock attach."""
        done = self.host.run(harness.PENSTOCK, command, *options, str(session), '--json')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout), {'session': session, 'detached': command == 'detach'})

    def state(self, session=1):
        return {each['session']: each['state'] for each in self.sessions()}[session]

    def test_detached(self):
        """For longer than the window. Calls that wait for nothing return at once meanwhile, and are done in the end."""
        self.open('1 s')
        program = self.start('enqueue', '4', pool=self.pool())
        self.assertEqual(self.state(), 'connected')
        time.sleep(0.5)
        self.manage('detach')
        self.assertEqual(self.state(), 'detached')
        self.host.wait_log('refused tenant alice: session 1 is detached')
        commands = self.sessions()[0]['commands']
        time.sleep(1.5)
        self.assertEqual(self.sessions()[0]['commands'], commands)
        self.assertIsNone(program.poll())
        self.manage('attach')
        self.host.wait_log('a new connection')
        harness.wait_for(lambda: self.state() == 'connected', what='its connection')
        status, out = self.finish(program)
        self.assertEqual(status, 0, out)
        self.assertLess(float(out), 500 * harness.SLOW)
        self.host.wait_log(r'session 1 of \S+ \(pid \d+\) ended: \d{3,} commands, 0 failed')

    def memory_mib(self, kind, session=1):
        """Of the process that serves it."""
        worker = {each['session']: each['worker'] for each in self.sessions()}[session]
        with open(f'/proc/{worker}/status', encoding='ascii') as file:
            return int(re.search(rf'{kind}:\s+(\d+) kB', file.read()).group(1)) >> 10

    def test_parked(self):
        """Its device, which has memory of its own, is free of it meanwhile; then all is as it was."""
        self.open('1 s', environment={'PENSTOCK_FAKE_INDIRECT': '1'})
        program = self.start('keep', '64', pool=self.pool())
        before = self.memory_mib('RssAnon')
        self.manage('detach', options=['--park'])
        harness.wait_for(lambda: self.state() == 'parked', what='that it is parked')
        if not harness.SANITIZED:  # they keep what is freed for a while
            self.assertLess(self.memory_mib('RssAnon'), before - 60)
        self.assertGreaterEqual(self.memory_mib('RssShmem'), 64)
        self.manage('attach')
        harness.wait_for(lambda: self.state() == 'connected', what='its connection')
        program.stdin.write('\n')
        self.assertEqual(self.finish(program), (0, ''))

    def test_parked_when_it_is_done(self):
        """What was called is executed first; and one that was merely detached can be parked, too."""
        self.open('1 s', environment={'PENSTOCK_FAKE_INDIRECT': '1'})
        program = self.start('busy', '1500', pool=self.pool())
        self.manage('detach')
        self.manage('detach', options=['--park'])
        self.assertEqual(self.state(), 'detached')
        harness.wait_for(lambda: self.state() == 'parked', what='that it is parked')
        self.manage('attach')
        self.assertEqual(self.finish(program)[0], 0)

    def test_detached_while_broken(self):
        """The program hears of it from the daemon, or not at all: what it cannot reach meanwhile is no loss."""
        self.open('2 s')
        program = self.start('loop', '60', pool=self.pool())
        self.proxy.open = False
        self.proxy.cut_all()
        harness.wait_for(lambda: self.state() == 'broken', what='that it is broken')
        self.manage('detach')
        self.proxy.open = True
        self.host.wait_log('refused tenant alice: session 1 is detached')
        self.proxy.open = False
        time.sleep(2.5)
        self.manage('attach')
        self.proxy.open = True
        self.end(program)

    def test_detached_program_dies(self):
        """Its session is kept until it is attached; then nobody comes."""
        self.open('1 s')
        program = self.start('loop', '60', pool=self.pool())
        self.manage('detach')
        program.kill()
        program.communicate()
        time.sleep(1.5)
        self.assertEqual(self.state(), 'detached')
        self.manage('attach')
        self.assertEqual(self.state(), 'broken')
        self.host.wait_log(r'session 1 of \S+ \(pid \d+\) ended')

    def test_detached_and_restarted(self):
        """The next daemon knows it."""
        self.open('10 s')
        program = self.start('loop', '60', pool=self.pool())
        self.manage('detach')
        self.kill_daemon()
        self.start_again()
        self.host.wait_log('refused tenant alice: session 1 is detached')
        self.assertEqual(self.state(), 'detached')
        self.manage('attach')
        self.end(program)

    def test_detached_and_ended(self):
        """Its pool ends for good: nobody listens there any more, so that the program waits for the window, and not for ever."""
        self.open('1 s')
        program = self.start('loop', '60', pool=self.host.tenant('alice'))
        worker = self.worker()
        self.manage('detach')
        self.host.wait_log('refused tenant alice: session 1 is detached')
        self.kill_daemon()
        begin = time.monotonic()
        status, out = self.finish(program)
        self.assertEqual(status, LOST, out)
        self.assertRegex(out, 'could not be made again: .*refused')
        self.assertGreater(time.monotonic() - begin, 0.5)
        self.gone(worker)

    def test_detached_and_short_of_descriptors(self):
        """What the program itself lacks is no sign that its session is kept."""
        self.open('1 s')
        # ThreadSanitizer needs descriptors, too, to see which threads are known to be left.
        options = os.environ.get('TSAN_OPTIONS', '') + ':report_thread_leaks=0'
        program = self.start('loop', '60', pool=self.host.tenant('alice'), TSAN_OPTIONS=options)
        self.manage('detach')
        self.host.wait_log('refused tenant alice: session 1 is detached')
        resource.prlimit(program.pid, resource.RLIMIT_NOFILE, (0, resource.prlimit(program.pid, resource.RLIMIT_NOFILE)[1]))
        status, out = self.finish(program)
        self.assertEqual(status, LOST, out)
        self.assertRegex(out, 'could not be made again: .*open files')

    def test_detached_and_revoked(self):
        """Nobody can show then that he is the pool, so that it is believed when the window is over."""
        self.open('1 s')
        program = self.start('loop', '60', pool=self.pool())
        self.manage('detach')
        harness.run(harness.PENSTOCK, 'tenant', 'revoke', 'alice', '--directory', os.path.join(self.host.folder, 'tenants'))
        status, out = self.finish(program)
        self.assertEqual(status, LOST, out)

    def test_what_cannot_be_detached(self):
        self.open()
        alice = self.host.tenant('alice')
        connection, (name, _) = self.host.open_session()
        self.assertEqual(name, 'session_opened')
        for command in 'detach', 'attach':
            for session, part in (1, 'session 1 is of a program on this host'), (7, 'there is no session 7'):
                done = self.host.run(harness.PENSTOCK, command, str(session))
                self.assertEqual((done.returncode, done.stdout), (1, ''))
                self.assertIn(part, done.stderr)
        name, values = self.host.ask(alice, ('session_detach', 1, 1, 0))[1]
        self.assertEqual((name, values[0]), ('refused', -11))
        self.assertIn('may detach or attach', values[2])
        connection.close()

    def test_revoked(self):
        self.open()
        program, other = self.start('loop', '60', pool=self.pool()), self.start('loop', '60', pool=self.pool('bob'))
        done = harness.run(harness.PENSTOCK, 'tenant', 'revoke', 'alice', '--directory',
                           os.path.join(self.host.folder, 'tenants'))
        self.assertEqual(done.returncode, 0, done.stderr)
        status, out = self.finish(program)
        self.assertEqual(status, LOST, out)
        self.end(other)
        self.host.wait_log('tenant alice is revoked')

    def dial(self, *token):
        """A connection that has shown a ticket's token."""
        host, port = self.host.address().rsplit(':', 1)
        sock = socket.create_connection((host, int(port)), 10 * harness.SLOW)
        sock.sendall(frames.encode('link_hello', *token))
        return sock

    def test_ticket_outlives_its_connection(self):
        self.open()
        name, (*token, _) = self.host.ask(self.host.tenant('alice'), ('session_open', 0, 0, 0, 'early', ''))[1]
        self.assertEqual(name, 'session_ticket')
        time.sleep(0.3)  # the daemon knows by now that the tenant's connection is gone
        for _ in range(2):  # it is good once
            with self.dial(*token):
                self.host.wait_log('session 1 of early')
        self.assertNotIn('session 2', self.host.log())

    def ticket(self, tenant, worker):
        """For a new connection of session 1, as any process with the tenant's key gets one: token, key."""
        name, (*token, secret) = self.host.ask(tenant, ('session_resume', 1, worker, 0))[1]
        self.assertEqual(name, 'session_ticket')
        return token, secret

    def test_session_is_not_taken(self):
        """By another process with the tenant's key, that does not know what the program knows: it is told nothing, and the
        program loses not even its connection."""
        self.open()
        alice = self.pool()
        program = self.start('loop', '60', pool=alice)
        accepted = self.proxy.accepted
        for said in [('link_proof', 0, 0)], [('link_proof', 1, 2), ('link_resume', 1, 0)], [('link_resume', 1, 0)]:
            token, secret = self.ticket(alice, self.worker())
            relay = Ticket(self.host.address(), token)
            with harness.tls(relay.address, 'session', secret) as connection:
                for message in said:
                    connection.send(*message)
                self.assertIsNone(connection.receive(), said)
        self.assertIsNone(program.poll())
        self.end(program)
        self.assertEqual(self.proxy.accepted, accepted)
        self.assertEqual(len(re.findall('a new connection', self.host.log())), 3)

    def test_silence_holds_nothing_up(self):
        """Whoever has a ticket for the session, and then says nothing, or nothing after the handshake. More of them than the
        worker looks at do not keep the program out."""
        self.open()
        alice = self.pool()
        program = self.start('loop', '60', pool=alice)
        token, secret = self.ticket(alice, self.worker())
        relay = Ticket(self.host.address(), token)
        with harness.tls(relay.address, 'session', secret), contextlib.ExitStack() as idle:
            for _ in range(12):
                idle.enter_context(self.dial(*self.ticket(alice, self.worker())[0]))
            self.host.wait_log('a new connection', count=13)
            self.proxy.cut_all()
            self.host.wait_log('a new connection', count=14)
            out = self.end(program)
        self.assertLess(float(re.search(r'slowest ([\d.]+) ms', out)[1]), 1000 * harness.SLOW)

    def test_one_ticket_a_connection(self):
        """A tenant who asks for more of them, each of which is kept for a while, is not answered."""
        self.open()
        name, key = self.host.tenant('alice').rsplit('/', 1)[1].split('#')
        with harness.tls(self.host.address(), name, frames.key(key)) as connection:
            connection.send('hello', 1, 0, os.getpid(), 0, 'scenario')
            for _ in range(3):
                connection.send('session_open', 0, 0, 0, 'many', '')
            answers = [name for name, _ in iter(connection.receive, None)]
        self.assertEqual(answers, ['hello', 'session_ticket'])

    def test_what_is_this_hosts_own(self):
        """A tenant is not told what others do, nor may he manage it."""
        self.open()
        alice, bob = self.host.tenant('alice'), self.host.tenant('bob')
        program = self.start('loop', '60', pool=alice)
        for asked in ('session_list',), ('record_list', ''), ('session_detach', 1, 1, 0), ('shutdown',):
            name, values = self.host.ask(bob, asked)[1]
            self.assertEqual(name, 'refused', asked)
            self.assertRegex(values[2], "only programs on the pool's own host may ")
        self.end(program)

    def test_another_tenants_session(self):
        self.open()
        alice, bob = self.host.tenant('alice'), self.host.tenant('bob')
        program = self.start('loop', '60', pool=alice)
        worker = self.worker()
        own, = self.host.ask(alice, ('session_resume', 1, worker, 0))[1:]
        self.assertEqual(own[0], 'session_ticket')
        for session in (1, 2, 0, 2 ** 64 - 1):
            name, values = self.host.ask(bob, ('session_resume', session, worker, 0))[1]
            self.assertEqual(name, 'refused')
            self.assertIn(f'no session {session} of yours', values[2])
        here = self.host.dial()
        here.send('session_resume', 1, worker, 0)
        self.assertEqual(here.receive()[0], 'refused')
        self.end(program)


if __name__ == '__main__':
    unittest.main(verbosity=2)
