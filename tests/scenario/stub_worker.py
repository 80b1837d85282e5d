#!/usr/bin/python3
"""In place of penstock-worker: speaks the daemon's side of its protocol and misbehaves as STUB says.

STUB is a list of words: probe-crash, probe-hang, probe-slow, probe-garbage, probe-short, start-crash, start-slow,
start-garbage, start-hang, start-other, start-trickle, adopt-crash, adopt-garbage, adopt-byte, adopt-stay,
adopt-linger. STUB_DEVICES: how many devices (2); STUB_NAME:
what they are called, but for a number (stub). STUB_UNITS: compute units of each (1). STUB_ENVIRONMENT: a file
that gets the names and values of its environment."""
import os
import signal
import socket
import struct
import sys
import time

import frames

PAGE_MAGIC = 0x68737263
SERVING = 2
POOL = 77
words = os.environ.get('STUB', '').split()
control = frames.Connection(socket.socket(fileno=3))


def die():
    os.kill(os.getpid(), signal.SIGSEGV)


def probe():
    count = int(os.environ.get('STUB_DEVICES', '2'))
    if 'probe-crash' in words:
        die()
    if 'probe-hang' in words:
        time.sleep(1000)
    if 'probe-slow' in words:
        time.sleep(11)
    if 'probe-garbage' in words:
        control.socket.sendall(b'\xff' * 64)
        return
    control.send('devices', count, 0, POOL, 'stub-jail')
    if 'probe-short' in words:
        return
    memory = struct.pack('<Q', 8 << 30)
    name = os.environ.get('STUB_NAME', 'stub')
    units = int(os.environ.get('STUB_UNITS', '1'))
    for i in range(count):
        control.send('device', i + 1, 0, 7, 8 << 30, units, 3, 1, 0, f'cpu{i}', f'{name}-{i}', 'Stub Driver', '1.0', 'opencl')
        control.send('device_property', i + 1, 0x1000, 0, struct.pack('<Q', 2))
        control.send('device_property', i + 1, 0x101F, 0, memory)
        control.send('device_property', i + 1, 0x1010, 0, memory)


def crash_page(kernels):
    """worker/crash.h"""
    fd = os.memfd_create('crash')
    names = b''.join(name.encode().ljust(120, b'\0') for name in kernels).ljust(480, b'\0')
    os.pwrite(fd, (struct.pack('<II', PAGE_MAGIC, len(kernels)) + names + struct.pack('<I', SERVING)).ljust(4096, b'\0'), 0)
    return fd


def serve():
    if 'start-crash' in words:
        die()
    if 'start-garbage' in words:
        control.socket.sendall(b'\xff' * 64)
        time.sleep(1000)
    if 'start-hang' in words:
        time.sleep(1000)
    if 'start-slow' in words:
        time.sleep(1)
    page = crash_page(['first_kernel', 'bad_kernel'])
    ready = ('ready', os.getpid(), 2, POOL + ('start-other' in words))
    if 'start-trickle' in words:
        data = frames.encode(*ready)
        for at, byte in enumerate(data):
            socket.send_fds(control.socket, [bytes([byte])], [page] if at == 0 else [])
            time.sleep(1 if at in (3, 20) else 0)
    else:
        control.send(*ready, fds=[page])
    data, fds, _, _ = socket.recv_fds(control.socket, 65536, 4)
    if not fds:
        return  # the end, or `shutdown`
    client = frames.Connection(socket.socket(fileno=fds[0]))
    client.socket.setblocking(True)
    if 'adopt-crash' in words:
        die()
    if 'adopt-garbage' in words:
        control.socket.sendall(b'\xff' * 64)
        time.sleep(1000)
    if 'adopt-byte' in words:
        control.socket.sendall(b'\0')
    if 'adopt-stay' in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    session, features = frames.decode(data)[1][:2]
    client.send('session_opened', session, features, 0, 0, 0, os.getpid(), 0, 0, 0)
    client.receive()
    if 'adopt-stay' in words:
        time.sleep(1000)
    if 'adopt-linger' in words:
        time.sleep(0.7)
        os.write(fds[1], b'whole')


if 'STUB_ENVIRONMENT' in os.environ:
    with open(os.environ['STUB_ENVIRONMENT'], 'a', encoding='utf-8') as file:
        file.writelines(f'{name}={value}\n' for name, value in os.environ.items())
for argument in sys.argv:
    if argument.startswith('--tmp-dir='):
        os.makedirs(argument.split('=')[1] + '/deep/er', exist_ok=True)
try:
    if '--probe' in sys.argv:
        probe()
    else:
        serve()
except (BrokenPipeError, ConnectionResetError):
    pass  # the daemon ended while we started
