"""The few control messages that the scenarios speak by hand (protocol/penstock.schema), to be a client or a worker
that behaves as no real one would."""
import array
import base64
import socket
import struct

OPCODES = {
    'hello': 0x0401, 'refused': 0x0402, 'device_list': 0x0410, 'devices': 0x0411, 'device': 0x0412,
    'device_property': 0x0413, 'session_open': 0x0420, 'session_opened': 0x0421,
    'session_ticket': 0x0422, 'link_hello': 0x0500, 'link_resume': 0x0501, 'link_proof': 0x050a, 'session_resume': 0x0423, 'adopt': 0x0430, 'ready': 0x0431,
    'session_list': 0x0440, 'sessions': 0x0441, 'record_list': 0x0442, 'session_detach': 0x0443, 'shutdown': 0x0450, 'done': 0x0451, 'fatal': 0x0307,
}
NAMES = {number: name for name, number in OPCODES.items()}

# Fields in order: I u32, i i32, Q u64, s string, b bytes, k a key of 32 bytes.
LAYOUT = {
    'hello': 'IIIIs', 'refused': 'iIs', 'fatal': 'iIs', 'device_list': '', 'devices': 'IIQs', 'device': 'QIIQIIIIsssss',
    'device_property': 'QIIb', 'session_open': 'IIQss', 'session_opened': 'QIIQQIIQQ',
    'session_ticket': 'QQk', 'link_hello': 'QQ', 'link_resume': 'QQ', 'link_proof': 'QQ', 'session_resume': 'QII', 'adopt': 'QIIss', 'ready': 'IIQ',
    'session_list': '', 'record_list': 's', 'session_detach': 'QII', 'shutdown': '', 'done': 'iIs',
}


def encode(name, *values, sequence=0):
    body = bytearray(16)
    for kind, value in zip(LAYOUT[name], values, strict=True):
        if kind in 'Iiq':
            body += b'\0' * (-len(body) % 4) + struct.pack('<' + kind, value)
        elif kind == 'Q':
            body += b'\0' * (-len(body) % 8) + struct.pack('<Q', value)
        else:
            data = value.encode(errors='surrogateescape') if kind == 's' else value
            body += b'\0' * (-len(body) % 4) + struct.pack('<I', len(data)) + data + (b'\0' if kind == 's' else b'')
    body += b'\0' * (-len(body) % 8)
    body[:16] = struct.pack('<IHHQ', len(body), OPCODES[name], 0, sequence)
    return bytes(body)


def decode(frame):
    size, opcode, _, _ = struct.unpack_from('<IHHQ', frame)
    name, at, values = NAMES[opcode], 16, []
    for kind in LAYOUT.get(name, ''):
        if kind == 'k':
            values.append(frame[at:at + 32])
            at += 32
            continue
        width = 8 if kind == 'Q' else 4
        at += -at % width
        value = struct.unpack_from('<' + (kind if kind in 'IiQ' else 'I'), frame, at)[0]
        at += width
        if kind in 'sb':
            data = frame[at:at + value]
            at += value + (kind == 's')
            value = data.decode(errors='surrogateescape') if kind == 's' else data
        values.append(value)
    return name, values


def key(text):
    """The bytes of a tenant's key as it is written."""
    return base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))


class Connection:
    """One end of a stream socket that carries frames."""

    def __init__(self, sock):
        self.socket = sock
        self.pending = b''

    def send(self, name, *values, fds=()):
        data = encode(name, *values)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
        sent = self.socket.sendmsg([data], ancillary)
        if sent < len(data):
            self.socket.sendall(data[sent:])

    def receive(self):
        """(name, values), or None at the end of the stream."""
        found = self.receive_frame()
        return found and decode(found[1])

    def receive_frame(self):
        """(name, its bytes), or None."""
        while True:
            if len(self.pending) >= 16:
                size = struct.unpack_from('<I', self.pending)[0]
                if len(self.pending) >= size:
                    frame, self.pending = self.pending[:size], self.pending[size:]
                    return NAMES[struct.unpack_from('<H', frame, 4)[0]], frame
            data = self.read()
            if not data:
                return None
            self.pending += data

    def read(self):
        try:
            return self.socket.recv(65536)
        except ConnectionResetError:
            return b''

    def close(self):
        self.socket.close()


class Pipes(Connection):
    """Frames through a program that has the connection."""

    def __init__(self, to, come):
        super().__init__(None)
        self.to, self.come = to, come

    def send(self, name, *values, fds=()):
        self.to.write(encode(name, *values))
        self.to.flush()

    def read(self):
        return self.come.read1(65536)
