#!/usr/bin/python3
"""The network that other tests run on: is it as slow, as narrow, as lossy and as cut as it was told to be? Bounds of time are for the
fastest of several, which a busy machine delays least."""
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'scenario')]
import cable
import harness


class Counted:
    """Numbered datagrams from a to b."""

    def __init__(self, network):
        self.network = network
        self.near, self.far = network.socket('a', socket.SOCK_DGRAM), network.socket('b', socket.SOCK_DGRAM)
        self.far.bind((network.address['b'], 0))
        self.near.connect(self.far.getsockname())
        self.sent = self.delivered = 0

    def send(self, count, size=100):
        for _ in range(count):
            self.near.send(self.sent.to_bytes(4, 'little').ljust(size, b'.'))
            self.sent += 1

    def arrived(self):
        """The numbers of those that have come since, once the fate of all that were sent is known."""
        harness.wait_for(lambda: sum(self.network.count()['a'][::2]) == self.sent, what='all datagrams delivered or lost')
        before, self.delivered = self.delivered, self.network.count()['a'][0]
        return [int.from_bytes(self.far.recv(4), 'little') for _ in range(self.delivered - before)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.near.close()
        self.far.close()


def namespaces_in_use():
    used = set()
    for pid in harness.processes():
        try:
            used.add(os.stat(f'/proc/{pid}/ns/net').st_ino)
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            pass
    return used


class CableTest(unittest.TestCase):
    def test_delay(self):
        with cable.Cable() as network:
            for delay_us in (0, 500, 5000):  # while it runs
                network.say(f'delay {delay_us}us')
                fastest = min(network.round_trips()) * 1e6
                self.assertGreaterEqual(fastest, 2 * delay_us)
                self.assertLess(fastest, 2 * delay_us + 400 * harness.SLOW)

    def test_rate(self):
        with cable.Cable('delay 500us', 'rate 50mbit') as network:
            speed = 0
            for _ in range(20):
                speed = max(speed, 8 * 2e6 / network.transfer(2_000_000) / 50e6)
                if speed > 0.9:
                    break
            self.assertTrue(0.9 < speed < 1, speed)
            network.say('rate 20mbit')
            self.assertLess(8 * 1e6 / network.transfer(1_000_000) / 50e6, 0.4)

    def test_both_ways_have_the_rate(self):
        with cable.Cable('rate 20mbit') as network:
            begin = time.monotonic()
            there = threading.Thread(target=network.transfer, args=(1_000_000,))
            there.start()
            near, far = network.connection()
            with near, far:
                back = threading.Thread(target=far.sendall, args=(bytes(1_000_000),))
                back.start()
                left = 1_000_000
                while left:
                    left -= len(near.recv(left))
                back.join()
            there.join()
            self.assertGreater(time.monotonic() - begin, 8e6 / 20e6)
            counts = network.count()
            self.assertTrue(all(counts[end][1] > 1_000_000 for end in 'ab'), counts)

    def test_queue(self):
        with cable.Cable('rate 1mbit', 'queue 10k') as network, Counted(network) as datagrams:
            datagrams.send(60, 1000)
            arrived = datagrams.arrived()
            self.assertEqual(arrived[:10], list(range(10)))
            self.assertLess(len(arrived), 20)

    def lost(self, seed, loss='10%', count=1000):
        found = set(range(count))
        with cable.Cable(f'loss {loss}', f'seed {seed}') as network, Counted(network) as datagrams:
            for _ in range(count // 50):
                datagrams.send(50)
                found -= set(datagrams.arrived())
        return found

    def test_loss(self):
        first = self.lost(7)
        self.assertTrue(50 <= len(first) <= 150, len(first))
        self.assertEqual(first, self.lost(7))
        self.assertNotEqual(first, self.lost(8))
        self.assertEqual(len(self.lost(7, '100%', 50)), 50)
        self.assertEqual(len(self.lost(7, '0%', 50)), 0)

    def carries(self, *commands):
        """What was lost of half a megabyte that arrived whole all the same."""
        sent = random.Random(1).randbytes(500_000)
        with cable.Cable('delay 1ms', *commands) as network:
            near, far = network.connection()
            with near, far:
                sender = threading.Thread(target=near.sendall, args=(sent,))
                sender.start()
                came = b''
                while len(came) < len(sent):
                    came += far.recv(1 << 16)
                sender.join()
            self.assertTrue(came == sent)
            return network.count()['a'][2]

    def test_what_arrives_is_what_was_sent(self):
        self.assertGreater(self.carries('loss 2%', 'mtu 9000'), 0)
        self.assertGreater(self.carries('loss 10%', 'offload on'), 0)

    def test_offload(self):
        """A segment goes through in one, and takes the time of the frames that it stands for."""
        with cable.Cable('delay 500us', 'rate 50mbit', 'offload on') as network:
            self.assertLess(8 * 2e6 / network.transfer(2_000_000) / 50e6, 0.97)
            frames, size, _ = network.count()['a']
            self.assertLess(frames, 2e6 / 1448 / 2)
            self.assertGreater(size, 2e6 + 2e6 / 1448 * 54)
            network.say('offload off')
            network.transfer(500_000)
            self.assertGreater(network.count()['a'][0] - frames, 5e5 / 1500)

    def test_cut_and_mend(self):
        with cable.Cable() as network, Counted(network) as datagrams:
            datagrams.send(3)
            self.assertEqual(datagrams.arrived(), [0, 1, 2])
            network.say('cut')
            datagrams.send(3)
            self.assertEqual(datagrams.arrived(), [])
            network.say('mend')
            datagrams.send(3)
            self.assertEqual(datagrams.arrived(), [6, 7, 8])
            network.say('delay 60s')
            datagrams.send(3)  # lost on its way
            network.say('cut')
            self.assertEqual(datagrams.arrived(), [])

    def test_cut_for_a_while(self):
        with cable.Cable() as network:
            near, far = network.connection()
            with near, far:
                begin = time.monotonic()
                network.say('cut 300ms')
                near.send(b'?')
                self.assertEqual(far.recv(1), b'?')  # TCP has sent it again
                self.assertGreaterEqual(time.monotonic() - begin, 0.3)

    def test_reset(self):
        """Either end, when it sends; also what was under way when it was reset has not arrived."""
        with cable.Cable('delay 5ms') as network:
            near, far = network.connection()
            with near, far:
                for end in near, far:
                    end.send(b'?')
                network.say('reset')
                for end in near, far:
                    end.send(b'!')
                    self.assertRaises(ConnectionResetError, end.recv, 1)
            network.say('mend')
            self.assertEqual(len(network.round_trips(1)), 1)

    def test_programs_at_the_ends(self):
        with cable.Cable() as network:
            for end in 'ab':
                done = harness.run(*network.at(end), 'cat', '/proc/net/fib_trie')
                self.assertIn(network.address[end], done.stdout)
            self.assertNotIn(network.address['a'], done.stdout)

    def test_nothing_is_left(self):
        for how in (lambda process: process.stdin.close(), lambda process: process.send_signal(signal.SIGKILL)):
            network = cable.Cable('delay 1ms')
            network.round_trips(3)
            namespaces = {os.stat(path).st_ino for path in network.namespace.values()}
            self.assertEqual(len(namespaces - {os.stat('/proc/self/ns/net').st_ino}), 2)
            how(network.process)
            network.process.wait(10)
            self.assertFalse(namespaces & namespaces_in_use())
            network.process.stdin.close()
            network.process.stdout.close()
            network.process.stderr.close()

    def test_an_interface_is_removed(self):
        remove = struct.pack('=IHHII BxHiII HH8s', 44, 17, 5, 1, 0, 0, 0, 0, 0, 0, 10, 3, b'cable')  # RTM_DELLINK, IFLA_IFNAME
        with cable.Cable() as network, network.socket('a', socket.SOCK_RAW, socket.AF_NETLINK) as netlink:
            netlink.send(remove)
            self.assertEqual(network.process.wait(10), 1)
            self.assertIn('interface', network.process.stderr.read())

    def test_words_it_does_not_know(self):
        with cable.Cable() as network:
            for words, answer in (('delay 5', '"delay" takes 0 to 60s.*not "5"'), ('delay', 'takes'), ('delay -1ms', 'takes'),
                                  ('rate 1gb', 'gbit'), ('loss 101%', '100%'), ('mtu 10', '68'), ('offload', 'on or off'), ('mend now', 'nothing'),
                                  ('dance', 'no command'), ('', 'no command'), ('cut off', 'time')):
                with self.assertRaisesRegex(ValueError, answer):
                    network.say(words)
            self.assertEqual(network.say('mend'), '')
            self.assertEqual(network.close(), 0)

    def test_says_what_it_lacks(self):
        done = subprocess.run(['setpriv', '--bounding-set=-all', '--inh-caps=-all', os.path.join(cable.BUILD, 'tests/net/cable')],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (cable.LACKING, ''))
        self.assertIn('/dev/net/tun', done.stderr)


if __name__ == '__main__':
    harness.main()
