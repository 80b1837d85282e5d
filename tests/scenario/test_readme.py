"""README, "From another host": its lines, as they are there, on a host that has nothing of Penstock's yet. What they write to is
this test's own: they run in namespaces, with a copy of /etc, and a network of their own. "What a session did": its pictures are what
the tools make of what runs now."""
import html
import os
import re
import shutil
import subprocess
import unittest

import harness

PORT = 7470
# In the namespaces: $1 is a folder of ours. The configuration is where this build looks for it, and in /etc as well.
PREPARE = r"""
set -eu
mount --bind "$1/etc" /etc
[ "$2" = /etc ] || mount --bind "$1/etc" "$2"
for folder in /run /var/cache; do mount -t tmpfs none $folder; done
python3 -c 'import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 1))'  # up
"""
LISTENING = fr"""
until (exec 3<>/dev/tcp/127.0.0.1/{PORT}) 2>/dev/null; do sleep 0.1; done
"""


POCL = '/etc/OpenCL/vendors/pocl.icd'


def section(title):
    with open(os.path.join(harness.TOP, 'README.md'), encoding='utf-8') as file:
        return re.search(rf'\n## {title}\n(.*?)\n## ', file.read(), re.DOTALL)[1]


def commands():
    """The two blocks of commands."""
    return [block.strip('\n') for block in re.findall(r'(?:^    .*\n)+', section('From another host'), re.MULTILINE)]


def picture(name):
    """What README shows."""
    path = re.search(rf'\]\((docs/pictures/{name}\.svg)\)', section('What a session did'))[1]
    with open(os.path.join(harness.TOP, path), encoding='utf-8') as file:
        return html.unescape(file.read())


def numbered(names, edges):
    """A graph whose nodes are numbered anew, in their order: (names, edges). Ids are (is a copy, number)."""
    order = sorted(names)
    return [names[node] for node in order], sorted((order.index(a), order.index(b)) for a, b in edges)


def node(number):
    return int(number) >= 1 << 63, int(number)


def drawn_graph():
    text = picture('graph')
    names = {node(number): name for number, name in re.findall(r'(?s)<title>n(\d+)</title>.*?<text[^>]*>([a-z ]+)</text>', text)}
    return numbered(names, [(node(a), node(b)) for a, b in re.findall(r'(?s)<title>n(\d+)->n(\d+)</title>.*?>RAW</text>', text)])


def printed_graph(text):
    names = {node(number): name for number, name in re.findall(r'(?m)^  n(\d+) \[.*label="([a-z ]+)\\n', text)}
    return numbered(names, [(node(a), node(b)) for a, b in re.findall(r'(?m)^  n(\d+) -> n(\d+) \[label=RAW\];', text)])


def lanes_of(text):
    """The lanes, and what is in any."""
    return (sorted(re.findall(r'<g class="lane"><text[^>]*>([^<]+)', text)),
            sorted(re.findall(r'<g class="bar"><title>([a-z]+)', text)))


def following(graph):
    """The names, and what comes after what, by however many arrows: one that others imply is not there when what it leads from was
    over in time."""
    names, edges = graph
    after = {a: {c for b, c in edges if b == a} for a in range(len(names))}
    for _ in names:
        after = {a: direct.union(*(after[b] for b in direct)) for a, direct in after.items()}
    return names, after


class Readme(harness.Scenario):
    def inside(self, script, *arguments):
        """Runs it in namespaces of its own."""
        user = [] if os.geteuid() == 0 else ['--user', '--map-root-user']
        path = [os.path.dirname(each) for each in (harness.PENSTOCK, harness.PENSTOCKD)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(('PENSTOCK_', 'XDG_'))}
        environment |= {'HOME': self.path('home'), 'PATH': ':'.join(path + [environment['PATH']])}
        environment.pop('OCL_ICD_VENDORS', None)
        return subprocess.run(['unshare', *user, '--mount', '--net', 'bash', '-c', script, 'readme', *arguments], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60 * harness.SLOW, check=False)

    def setUp(self):
        super().setUp()
        done = self.inside('mount -t tmpfs none /run')
        if done.returncode:
            self.skipTest('no namespaces: ' + done.stderr.strip())

    def sysconfdir(self):
        """Of this build, by what its daemon says."""
        shown = harness.run(harness.PENSTOCKD, '--help').stdout
        return re.search(r'else (/\S+)/penstock/penstock.yaml', shown)[1]

    @harness.not_sanitized('clinfo is none of ours')
    def test_from_another_host(self):
        host, client = commands()
        self.assertEqual((len(host.splitlines()), len(client.splitlines())), (3, 2))
        subprocess.run(['cp', '-r', '/etc', self.path('etc')], stderr=subprocess.DEVNULL, check=False)  # but for what is secret
        shutil.rmtree(self.path('etc/penstock'), ignore_errors=True)
        with open(self.path('etc/hosts'), 'w', encoding='ascii') as file:
            file.write(f'127.0.0.1 localhost {os.uname().nodename}\n')
        os.mkdir(self.path('home'))
        shutil.copy(os.path.join(harness.VENDORS, 'penstock.icd'), self.path('etc/OpenCL/vendors'))  # as installed
        done = self.inside(PREPARE + f"""
            trap 'penstock stop' EXIT
            {{\n{host}\n}} > "$1/line"
            {LISTENING}
            {{\n{client}\n}} < "$1/line"
            """, self.folder, self.sysconfdir())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r'(?m)^  Platform Name +Penstock$')
        self.assertRegex(done.stdout, r'(?m)^  Device Name +\S')
        with open(self.path('line'), encoding='ascii') as file:
            self.assertRegex(file.read(), rf'^penstock://{os.uname().nodename}:{PORT}/alice#\S{{43}}\n$')
        self.assertIn(f'{self.sysconfdir()}/penstock/penstock.yaml', done.stderr)


@unittest.skipUnless(os.path.exists(POCL), 'PoCL is not installed')
class Pictures(harness.Scenario):
    def test_what_a_session_did(self):
        drivers = self.path('drivers')
        os.mkdir(drivers)
        shutil.copy(POCL, drivers)
        daemon = self.daemon('devices: [{match: "*", parts: 2, span: 2}]\n', environment={'OCL_ICD_VENDORS': drivers})
        log = self.path('session.log')
        done = daemon.run(harness.PENSTOCK, 'log', 'record', log, '--', os.path.join(harness.BUILD, 'examples/chains'))
        self.assertEqual((done.returncode, done.stdout), (0, '65536 sums, 0 of them wrong\n'), done.stderr)
        self.assertEqual(following(printed_graph(daemon.run(harness.PENSTOCK, 'log', 'graph', log).stdout)), following(drawn_graph()))
        trace = daemon.run(harness.PENSTOCK, 'trace', log).stdout
        drawn = subprocess.run([os.path.join(harness.TOP, 'docs/pictures/timeline.py')], input=trace, capture_output=True, text=True, check=True)
        self.assertEqual(lanes_of(drawn.stdout), lanes_of(picture('timeline')))


if __name__ == '__main__':
    harness.main()
