"""Two ends with a cable between them (cable.c), and what tests do with it: run programs at either end, shape it, cut it."""
import ctypes
import os
import socket
import statistics
import subprocess
import threading
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get('PENSTOCK_BUILD', os.path.join(TOP, 'build')))
CLONE_NEWNET = 0x40000000
LACKING = 77  # the exit status of what cannot be had here


class Cable:
    """Raises unittest.SkipTest where there can be none. Ends with its `with`, or with this process."""
    address = {'a': '192.0.2.1', 'b': '192.0.2.2'}

    def __init__(self, *commands, build=BUILD):
        self.process = subprocess.Popen([os.path.join(build, 'tests/net/cable')], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.namespace = {}
        for end in self.address:
            name, _, path = self.process.stdout.readline().strip().partition(' ')
            if name != end:
                self.fail()
            self.namespace[end] = path
        for command in commands:
            self.say(command)

    def fail(self):
        _, errors = self.process.communicate()
        if self.process.returncode == LACKING:
            raise unittest.SkipTest(errors.strip())
        raise AssertionError(f'cable ended with {self.process.returncode}: {errors}')

    def say(self, command):
        """What it answers, without the "ok"."""
        self.process.stdin.write(command + '\n')
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer.split(' ')[0] != 'ok':
            raise ValueError(answer or 'the cable has ended')
        return answer[3:]

    def count(self):
        """What was delivered and what was lost: {'a': (frames, bytes, lost), 'b': ...}, by the end that sent it."""
        numbers = [int(word) for word in self.say('count').split()]
        return {'a': tuple(numbers[:3]), 'b': tuple(numbers[3:])}

    def computed_ns(self):
        """Its own time on a CPU, that of the kernel for it included."""
        with open(f'/proc/{self.process.pid}/schedstat', encoding='ascii') as file:
            return int(file.read().split()[0])

    def at(self, end):
        """What to put before a command, for it to run there."""
        return ['nsenter', f'--net={self.namespace[end]}', '--']

    def socket(self, end, kind=socket.SOCK_STREAM, family=socket.AF_INET):
        """A socket of that end, for this process."""
        made = []

        def enter():  # a thread's namespace is its own, and a socket stays where it was made
            with open(self.namespace[end], 'rb') as file:
                if not ctypes.CDLL(None).setns(file.fileno(), CLONE_NEWNET):
                    made.append(socket.socket(family, kind))
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        made[0].settimeout(30)
        return made[0]

    def connection(self):
        """(socket at a, socket at b), connected."""
        with self.socket('b') as listening:
            listening.bind((self.address['b'], 0))
            listening.listen()
            near = self.socket('a')
            near.connect(listening.getsockname())
            far, _ = listening.accept()
        for end in (near, far):
            end.settimeout(30)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return near, far

    def round_trips(self, count=100):
        """How long so many round trips of a byte take, each; seconds, the shortest first."""
        times = []
        near, far = self.connection()
        with near, far:
            for _ in range(count):
                begin = time.monotonic()
                near.send(b'?')
                far.recv(1)
                far.send(b'!')
                near.recv(1)
                times.append(time.monotonic() - begin)
        return sorted(times)

    def round_trip(self):
        """Their median."""
        return statistics.median(self.round_trips())

    def transfer(self, size):
        """Seconds that so many bytes over one connection take, until the other end has them all."""
        near, far = self.connection()
        with near, far:
            begin = time.monotonic()
            sender = threading.Thread(target=near.sendall, args=(bytes(size),))
            sender.start()
            left = size
            while left:
                left -= len(far.recv(1 << 20))
            seconds = time.monotonic() - begin
            sender.join()
        return seconds

    def close(self):
        """Its exit status."""
        self.process.communicate()
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
