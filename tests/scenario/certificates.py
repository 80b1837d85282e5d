"""A site's certificate authority, for scenarios: the openssl command makes it and what it signs."""
import os
import subprocess

CURVE = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes')
SERVER = 'subjectAltName=IP:127.0.0.1'


def openssl(*arguments):
    subprocess.run(['openssl', *arguments], check=True, capture_output=True, timeout=60)


class Authority:
    """Keeps its files, and those of whom it signs, in `folder`: NAME.pem and NAME.key."""

    def __init__(self, folder, name='authority'):
        self.folder, self.name = folder, name
        openssl('req', '-x509', *CURVE, '-keyout', self.path(name, 'key'), '-out', self.path(name), '-days', '2',
                '-subj', f'/CN={name}', '-addext', 'keyUsage=critical,keyCertSign')

    def path(self, name, kind='pem'):
        return os.path.join(self.folder, f'{name}.{kind}')

    def sign(self, name, subject=None, extensions='', days=2):
        """A certificate for a tenant of that name, or whatever else it says."""
        request, wanted = self.path(name, 'csr'), self.path(name, 'ext')
        with open(wanted, 'w', encoding='ascii') as file:
            file.write(extensions + '\n')
        openssl('req', *CURVE, '-keyout', self.path(name, 'key'), '-out', request, '-subj', subject or f'/CN={name}')
        openssl('x509', '-req', '-in', request, '-CA', self.path(self.name), '-CAkey', self.path(self.name, 'key'),
                '-days', str(days), '-extfile', wanted, '-out', self.path(name))

    def server(self, name='server', extensions=SERVER, days=2):
        """The daemon's certificate; what its configuration says under `listen`."""
        self.sign(name, '/O=pool', extensions, days)
        return f'certificate: {self.path(name)}, private_key: {self.path(name, "key")}, authority: {self.path(self.name)}'

    def pool(self, address, name):
        """The pool's address for whoever has that certificate."""
        return (f'penstock://{address}?certificate={self.path(name)}&private_key={self.path(name, "key")}'
                f'&authority={self.path(self.name)}')


def listen(folder, server):
    """The part of a configuration that lets tenants in, by key and by certificate."""
    return f'listen: {{tcp: "127.0.0.1:0", tenants: {folder}/tenants, {server}}}\n'
