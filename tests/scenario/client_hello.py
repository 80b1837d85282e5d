"""The first words of a TLS 1.3 client that has a key, made by hand (RFC 8446 sections 4.1.2, 4.2.11 and 7.1): one that says what
OpenSSL's client would not."""
import hashlib
import hmac
import os
import struct

PSK_KE, PSK_DHE_KE = 0, 1  # psk_key_exchange_modes
X25519 = 0x001d
NOTHING = hashlib.sha256(b'').digest()


def expand(secret, label, context):
    """HKDF-Expand-Label, of 32 bytes."""
    label = b'tls13 ' + label
    info = struct.pack('>HB', 32, len(label)) + label + bytes([len(context)]) + context
    return hmac.digest(secret, info + b'\1', 'sha256')


def binder(secret, said):
    early = hmac.digest(bytes(32), secret, 'sha256')
    finished = expand(expand(early, b'ext binder', NOTHING), b'finished', b'')
    return hmac.digest(finished, hashlib.sha256(said).digest(), 'sha256')


def extension(number, data):
    return struct.pack('>HH', number, len(data)) + data


def vector(data):
    return struct.pack('>H', len(data)) + data


def client_hello(identity, secret, modes):
    """A record of that, with this key for a key exchange in one of the modes; with a share for an ephemeral one."""
    share = vector(struct.pack('>H', X25519) + vector(os.urandom(32)))
    key = vector(vector(identity.encode()) + bytes(4))
    before = b''.join((extension(43, b'\2\3\4'), extension(10, vector(struct.pack('>H', X25519))), extension(51, share),
                       extension(45, bytes([len(modes), *modes])), struct.pack('>HH', 41, len(key) + 35), key))
    body = b'\3\3' + os.urandom(32) + b'\0' + vector(b'\x13\1') + b'\1\0' + struct.pack('>H', len(before) + 35) + before
    said = b'\1' + (len(body) + 35).to_bytes(3, 'big') + body
    hello = said + vector(b'\x20' + binder(secret, said))
    return b'\x16\3\1' + vector(hello)
