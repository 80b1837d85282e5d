#!/usr/bin/python3
"""penstock trace of sessions that run: on PoCL, as long as it is asked for, and nothing before or after."""
import json
import os
import re
import signal
import subprocess
import time
import unittest

import harness

PROGRAM = os.environ.get('PENSTOCK_PROGRAM', os.path.join(harness.BUILD, 'tests/scenario/session_program'))
POCL = '/etc/OpenCL/vendors/pocl.icd'


@unittest.skipUnless(os.path.exists(POCL), 'PoCL is not installed')
class Live(harness.Scenario):
    def pool(self, config=''):
        daemon = self.daemon(f'cache: {{dir: {self.path("cache")}}}\n' + config, environment={'OCL_ICD_VENDORS': POCL})
        daemon.wait_log('is warm', 20)
        return daemon

    def begin(self, start, *arguments):
        """A program that has said that it is running."""
        running = start(*arguments, stdout=subprocess.PIPE)
        self.addCleanup(running.stdout.close)
        self.addCleanup(running.kill)
        self.assertEqual(running.stdout.readline(), 'running\n')
        return running

    def trace(self, run, *arguments):
        done = run(harness.PENSTOCK, 'trace', '1', *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        events = json.loads(done.stdout)['traceEvents']
        return [event for event in events if event['ph'] == 'X'], events

    def trace_kernels(self, run):
        """The same once there are some: the driver compiles at the first launch, and that may take longer than a trace."""
        def some():
            spans, events = self.trace(run, '--for', '0.3')
            return sum(span['name'] == 'inc' for span in spans) > 10 and (spans, events)
        return harness.wait_for(some, 20, 'kernels')

    def test_kernels(self):
        """What a program does meanwhile: its kernels, each once, one after the other."""
        daemon = self.pool()
        running = self.begin(daemon.start, PROGRAM, 'enqueue', '60')
        spans, events = self.trace_kernels(daemon.run)
        self.assertEqual(len({span['args']['command'] for span in spans}), len(spans))
        self.assertEqual({span['args']['status'] for span in spans}, {0})
        self.assertGreater(min(span['ts'] for span in spans), -1)
        self.assertLess(max(span['ts'] + span['dur'] for span in spans), 5e6 * harness.SLOW)
        self.assertTrue([event for event in events if event['ph'] == 'M' and 'part 0' in event['args']['name']])
        again, _ = self.trace_kernels(daemon.run)  # once more: only what came since
        self.assertGreater(min(span['args']['command'] for span in again), max(span['args']['command'] for span in spans))
        running.terminate()
        running.wait(10 * harness.SLOW)

    def test_idle(self):
        """One that does nothing has an empty timeline; whoever comes second is told; who is interrupted has what there is."""
        daemon = self.pool()
        running = self.begin(daemon.start, PROGRAM, 'idle', '60')
        self.assertEqual(self.trace(daemon.run, '--for', '0.1')[1], [])
        first = daemon.start(harness.PENSTOCK, 'trace', '1', '--for', '60', stdout=subprocess.PIPE)
        self.addCleanup(first.stdout.close)
        self.addCleanup(first.kill)
        daemon.wait_log('session 1 .*: traced', count=2)
        second = daemon.run(harness.PENSTOCK, 'trace', '1')
        self.assertEqual((second.returncode, second.stdout), (1, ''))
        self.assertIn('session 1 is not traced: somebody traces it already', second.stderr)
        time.sleep(0.2 * harness.SLOW)
        first.send_signal(signal.SIGINT)
        self.assertEqual(json.loads(first.stdout.read()), {'displayTimeUnit': 'ns', 'traceEvents': []})
        self.assertEqual(first.wait(10), 0)
        running.kill()

    def test_reader_killed(self):
        """Whoever traced is killed: the session goes on, and ends well; the next one may."""
        daemon = self.pool()
        running = self.begin(daemon.start, PROGRAM, 'enqueue', '4')
        reader = daemon.start(harness.PENSTOCK, 'trace', '1', '--for', '60', stdout=subprocess.DEVNULL)
        daemon.wait_log('session 1 .*: traced')
        reader.kill()
        reader.wait(10)
        harness.wait_for(lambda: not daemon.run(harness.PENSTOCK, 'trace', '1', '--for', '0.1').returncode, what='a trace')
        self.assertEqual(running.wait(60 * harness.SLOW), 0)

    def test_program_ends(self):
        """A session that ends is a trace that ends."""
        daemon = self.pool()
        self.begin(daemon.start, PROGRAM, 'enqueue', '2')
        begin = time.monotonic()
        spans, _ = self.trace(daemon.run, '--for', '60')
        self.assertLess(time.monotonic() - begin, 20 * harness.SLOW)
        self.assertTrue(spans)

    def reader(self, daemon):
        """Somebody who traces it for as long as it is there, and has done so for a while."""
        reader = subprocess.Popen([harness.PENSTOCK, 'trace', '1', '--for', '60'], env=daemon.program_environment(), text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(reader.kill)
        daemon.wait_log('session 1 .*: traced')
        time.sleep(0.3 * harness.SLOW)
        return reader

    def test_program_killed(self):
        """One that is killed while it has much to do: what ran until then is there, to the end."""
        daemon = self.pool()
        running = self.begin(daemon.start, PROGRAM, 'many', '1000000')
        reader = self.reader(daemon)
        running.kill()
        events, told = reader.communicate(timeout=20 * harness.SLOW)
        self.assertEqual((reader.returncode, told), (0, ''))
        self.assertTrue([event for event in json.loads(events)['traceEvents'] if event['ph'] == 'X'])

    def test_worker_killed(self):
        """What its worker took with it is missing, and one is told."""
        daemon = self.pool()
        self.begin(daemon.start, PROGRAM, 'idle', '60')
        reader = self.reader(daemon)
        daemon.expect('session 1 .* is lost: its worker .* was killed by signal 9')
        os.kill(int(daemon.wait_log(r'session 1 .*: worker (\d+)')), signal.SIGKILL)
        events, told = reader.communicate(timeout=20 * harness.SLOW)
        self.assertEqual((reader.returncode, json.loads(events)['traceEvents']), (0, []))
        self.assertIn('session 1: its worker has not written the end of its trace: what ran last is missing', told)

    def test_span(self):
        """A device that spans two: a lane for each part, and who waited for whom."""
        daemon = self.pool('devices: [{match: "*", parts: 2, span: 2}]\n')
        self.assertIn(' spans 2: ', daemon.run(harness.PENSTOCK, 'devices').stdout)
        self.assertEqual([device['spans'] for device in json.loads(daemon.run(harness.PENSTOCK, 'devices', '--json').stdout)], [2])
        self.begin(daemon.start, PROGRAM, 'many', '100000')
        spans, events = self.trace(daemon.run, '--for', '0.1')  # what comes before "running" has been compiled for
        self.assertEqual({re.search(r'part \d', event['args']['name'])[0] for event in events if event['ph'] == 'M'},
                         {'part 0', 'part 1'})
        self.assertTrue([event for event in events if event['ph'] == 's'])
        self.assertEqual({span['args']['times'] for span in spans}, {'observed'})  # its queues do not profile

    def test_readers(self):
        """What a kernel's text shows to be only read orders none that read it, too; what it does not show is taken for written. That
        the program comes from a binary that Penstock gave makes no difference: its text is in there."""
        daemon = self.pool('devices: [{match: "*", parts: 2, span: 2}]\n')
        log = self.path('log')
        for cached in ((), ('1',)):
            for _ in range(2):  # the first compiles while it launches
                done = daemon.run(harness.PENSTOCK, 'log', 'record', log, '--', PROGRAM, 'readers', *cached)
                self.assertEqual(done.returncode, 0, done.stderr)
                graph = daemon.run(harness.PENSTOCK, 'log', 'graph', log).stdout
                os.unlink(log)
            first, second, third, fourth = re.findall(r'(?m)^  n(\d+) \[label="(?:indexed|pointed)', graph)
            self.assertNotIn(f'n{first} -> n{second} ', graph)
            self.assertIn(f'n{third} -> n{fourth} [label=RAW]', graph)

    def test_private(self):
        """A program with a daemon of its own: its environment says where that listens."""
        environment = {**os.environ, 'OCL_ICD_VENDORS': POCL, 'PENSTOCK_SOCKET': self.path('none'), 'XDG_RUNTIME_DIR': ''}

        def start(*command, **options):
            return subprocess.Popen([harness.PENSTOCK, 'run', '--private', '--', *command], env=environment, text=True, **options)
        running = self.begin(start, PROGRAM, 'enqueue', '60')
        program = next(pid for pid in harness.children(running.pid) if os.readlink(f'/proc/{pid}/exe') == PROGRAM)
        with open(f'/proc/{program}/environ', encoding='utf-8') as file:
            environment |= dict(each.split('=', 1) for each in file.read().split('\0') if each.startswith('PENSTOCK_SOCKET='))
        self.trace_kernels(lambda *command: harness.run(*command, environment=environment))
        running.terminate()
        running.wait(10 * harness.SLOW)

    def test_unknown(self):
        done = self.pool().run(harness.PENSTOCK, 'trace', '7')
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertIn('there is no session 7', done.stderr)


if __name__ == '__main__':
    harness.main()
