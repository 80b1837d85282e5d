#!/usr/bin/python3
"""A connection that is reset at a moment of our choice: in the middle of a write's bytes, of a read's, of a reply. FFmpeg, on PoCL's
device on another host, must have the frames that it has natively. Without protection, so that one can see between the hosts which
moment it is."""
import os
import shutil
import signal
import struct
import subprocess
import time

import harness

PROGRAM = os.environ.get('PENSTOCK_PROGRAM', os.path.join(harness.BUILD, 'tests/scenario/session_program'))
POCL = '/etc/OpenCL/vendors/pocl.icd'
HEADER = struct.Struct('<IHHQ')
PART, PACKED = 0x0503, 0x0509  # messages that other bytes come after, how many is their second and their fourth number
REPLIES = range(0x0300, 0x0400)
BULK = 64 << 10  # PEN_LINK_INLINE_BYTES


class Flow:
    """One direction of a connection: frames and what comes after them."""

    def __init__(self):
        self.head = b''  # of a frame, that is not all there
        self.left = 0  # to come of the frame, or of the bytes after it
        self.after = 0  # bytes after the frame
        self.kind = None  # of what comes: 'frame', 'reply', 'bulk'

    def begin(self, data, at):
        """Takes more of a frame's head; how many bytes."""
        wanted = 48 if len(self.head) >= HEADER.size and HEADER.unpack_from(self.head)[1] in (PART, PACKED) else HEADER.size
        taken = data[at:at + wanted - len(self.head)]
        self.head += taken
        if len(self.head) < wanted:
            return len(taken)
        size, opcode, _, _ = HEADER.unpack_from(self.head)
        if opcode in (PART, PACKED):
            if wanted == HEADER.size and size > HEADER.size:
                return len(taken) + self.begin(data, at + len(taken))
            self.after = struct.unpack_from('<Q', self.head, 24 if opcode == PART else 40)[0]
        self.left = size - len(self.head)
        self.kind = 'reply' if opcode in REPLIES else 'frame'
        self.head = b''
        self.end()
        return len(taken)

    def end(self):
        """All of something has come: what is next?"""
        if self.left:
            return
        self.kind, self.left, self.after = ('bulk', self.after, 0) if self.after else (None, 0, 0)

    def walk(self, data):
        """(kind, where it goes on in data, how many bytes of it)"""
        at = 0
        while at < len(data):
            if self.kind is None:
                at += self.begin(data, at)
                continue
            count = min(self.left, len(data) - at)
            yield self.kind, at, count
            self.left -= count
            at += count
            self.end()


class Aimed(harness.Proxy):
    """Resets a connection, once, in the middle of the `which`th that is of that kind and comes from the program or goes to it."""

    def __init__(self, target, kind, from_program, which):
        self.kind, self.from_program, self.which = kind, from_program, which
        self.flows, self.seen, self.hit = {}, 0, False
        self.is_inner = set()
        super().__init__(target, lambda: None, None)

    def accept(self):
        before = set(self.pairs)
        super().accept()
        self.is_inner |= {sock for sock in self.pairs if sock not in before and sock.getsockname() == self.listener.getsockname()}

    def moment(self, sock, data):
        """Where in the data it is, or None."""
        flow, found = self.flows.setdefault(sock, Flow()), None
        for kind, at, count in flow.walk(data):
            if kind != self.kind or count < 2 or (kind == 'bulk' and count < BULK // 4) or found is not None:
                continue
            self.seen += 1
            if self.seen == self.which:
                found = at + count // 2
        return found

    def forward(self, sock):
        if self.hit or (sock in self.is_inner) != self.from_program:
            super().forward(sock)
            return
        other = self.pairs[sock][0]
        try:
            data = sock.recv(1 << 18)
            at = self.moment(sock, data) if data else None
            other.setblocking(True)
            other.sendall(data[:at])
            other.setblocking(False)
            if at is not None:
                self.hit = True
                time.sleep(0.02)  # what was sent is read
        except OSError:
            data = b''
        if not data or at is not None:
            self.close(sock, reset=bool(data))


class Reset(harness.Scenario):
    command = ['ffmpeg', '-hide_banner', '-loglevel', 'error', '-nostdin', '-init_hw_device', 'opencl=ocl:0.0', '-filter_hw_device', 'ocl',
               '-f', 'lavfi', '-i', 'testsrc2=size=640x480:rate=10:duration=2', '-filter_complex',
               'format=yuv420p,hwupload,transpose_opencl=dir=clock,hwdownload,format=yuv420p', '-f', 'framemd5', '-']

    def setUp(self):
        super().setUp()
        for needed in POCL, shutil.which('ffmpeg') or '/usr/bin/ffmpeg':
            if not os.path.exists(needed):
                self.skipTest(f'{needed} is not installed')

    def frames(self, **environment):
        done = subprocess.run(self.command, env=dict(os.environ, POCL_CACHE_DIR=self.path('pocl'), **environment), timeout=60 * harness.SLOW,
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        return done.stdout

    @harness.not_sanitized('FFmpeg was built without them')
    def test_reset_in_the_middle(self):
        native = self.frames(OCL_ICD_VENDORS=POCL)
        self.assertGreater(len(native.splitlines()), 20)
        pool = self.daemon(f'cache: {{dir: {self.folder}/cache}}\n' + harness.listen(self.path('daemon0')),
                           environment={'OCL_ICD_VENDORS': POCL, 'POCL_CACHE_DIR': self.path('pocl')},
                           arguments=['--log', 'debug', '--plain-tcp', '127.0.0.1:0'])
        address = pool.wait_log(r'listens without protection at (\S+)')
        beside = pool.start(PROGRAM, 'loop', '100', stdout=subprocess.PIPE, PENSTOCK_POOL=pool.tenant('bob'), PENSTOCK_SOCKET=os.devnull)
        self.addCleanup(beside.kill)
        self.assertEqual(beside.stdout.readline(), 'running\n')
        for what, kind, from_program, those in (('a write', 'bulk', True, (1, 5)), ('a read', 'bulk', False, (1, 5)),
                                                ('a reply', 'reply', False, (1, 2))):
            for which in those:
                with self.subTest(what=what, which=which):
                    proxy = Aimed(address, kind, from_program, which)
                    before = pool.log().count('a new connection')
                    far = self.frames(OCL_ICD_VENDORS=harness.VENDORS, PENSTOCK_POOL='tcp://' + proxy.address, PENSTOCK_SOCKET=os.devnull)
                    self.assertEqual(far, native)
                    self.assertTrue(proxy.hit)
                    self.assertGreater(pool.log().count('a new connection'), before)
        beside.send_signal(signal.SIGUSR1)  # a tenant's program, whose session is the first
        said, _ = beside.communicate(timeout=20 * harness.SLOW)
        self.assertEqual(beside.returncode, 0, said)
        self.assertLess(harness.slowest(said), 5000)
        self.assertNotRegex(pool.log(), 'session 1 of .*: a new connection')


if __name__ == '__main__':
    harness.main()
