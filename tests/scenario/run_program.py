#!/usr/bin/python3
"""Runs an ordinary OpenCL program, and says what it says.

    run_program.py [--lost] [--quiet] [--layer FILE] native|one|two|span|record|remote|cut|certificate|plain|rusticl PROGRAM [ARGUMENT]...

native: on PoCL itself. one, two: through Penstock, on PoCL's device as a whole or cut in parts of one core. span: on a
device that spans two such parts. record: on
one, with the session recorded, so that all contents pass through the worker; the log must then be readable, and its
replay must read what the program has read. remote: on one, as a tenant, over TLS. cut: the same, with connections that
break again and again. certificate: the same, with a certificate in the place of a key. plain: on one, over TCP without
protection. rusticl: on Mesa's device in the place of PoCL's. --lost: the program's first session is lost to a
kernel that faults, as its replay must be, and the second is not. --quiet, with record: the log must have the program's
marks, and between them only what may be asked (cl_api.c). --layer: with that OpenCL layer above PoCL. The program is given a part of the platform's name as its first argument. Not only the program must be content: daemon and workers
must end well."""
import argparse
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

import certificates
import harness

POCL = '/etc/OpenCL/vendors/pocl.icd'
RUSTICL = '/etc/OpenCL/vendors/rusticl.icd'
# What cl_api.c fills a buffer with, and which commands may come then, until it does so with the last of these.
SILENCES = {'01cee451': {'program_binary', 'kernel_query'}, '02cee451': set(), '03cee451': None}


def dump(daemon, log):
    """What is wrong with how the log is printed: sentences."""
    done = daemon.run(harness.PENSTOCK, 'log', 'dump', log, '--json')
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or done.stderr or len(lines) < 10:
        return [f'log dump {log}: {done.returncode}, {done.stderr}, {len(lines)} lines']
    return []


def disturb(daemon, log):
    """What disturbs its silences: sentences."""
    wrong, allowed, seen = [], None, []
    for line in daemon.run(harness.PENSTOCK, 'log', 'dump', log).stdout.splitlines():
        name = line.split()[1]
        mark = name == 'fill' and re.search(r' pattern=<4>(\w+)', line)
        if mark and mark[1] in SILENCES:
            allowed = SILENCES[mark[1]]
            seen.append(mark[1])
        elif allowed is not None and name not in allowed | {'placed', 'executed'}:  # what became of those before
            wrong.append(f'{log}: "{line}" between queries')
    loud = list(SILENCES)[-1]
    expected = [each for mark in list(SILENCES)[:-1] for each in (mark, loud)]
    return wrong if seen == expected else wrong + [f'{log}: marks {seen}, not {expected}']


def draw(daemon, log):
    """What is wrong with its graph and its timeline: sentences."""
    graph = daemon.run(harness.PENSTOCK, 'log', 'graph', log)
    nodes = set(re.findall(r'^  (n\d+) \[', graph.stdout, re.MULTILINE))
    ends = {end for edge in re.findall(r'^  (n\d+) -> (n\d+) \[label=', graph.stdout, re.MULTILINE) for end in edge}
    trace = daemon.run(harness.PENSTOCK, 'trace', log)
    if graph.returncode or trace.returncode or graph.stderr or trace.stderr:
        return [f'log graph, trace {log}: {graph.returncode}, {trace.returncode}, {graph.stderr}, {trace.stderr}']
    events = [event for event in json.loads(trace.stdout)['traceEvents'] if event['ph'] == 'X']
    if not nodes or not ends <= nodes or not 0 < len(events) <= len(nodes) or min(event['dur'] for event in events) < 0:
        return [f'log graph, trace {log}: {len(nodes)} nodes, edges to {ends - nodes} that are none, {len(events)} events']
    return []


def replay(daemon, log):
    """What is wrong with the replay: sentences. One that compares nothing shows nothing."""
    done = daemon.run(harness.PENSTOCK, 'log', 'replay', log, timeout=100)
    print(f'log replay {log}:', done.stdout, done.stderr, file=sys.stderr)
    if done.returncode or not re.search(r' reads, [1-9]\d* compared, 0 different$', done.stdout, re.MULTILINE):
        return [f'log replay {log}: {done.returncode}, {done.stdout}, {done.stderr}']
    return []


def replay_lost(daemon, log):
    done = daemon.run(harness.PENSTOCK, 'log', 'replay', log, timeout=100)
    if done.returncode != 1 or 'worker' not in done.stderr:
        return [f'log replay {log}: {done.returncode}, {done.stdout}, {done.stderr}']
    return []


def through_penstock(mode, lost, quiet, program, folder, drivers):
    """What is wrong: sentences; and the program's exit status."""
    config = {'two': 'devices: [{match: "*", compute_units: 1}]\n',
              'span': 'devices: [{match: "*", parts: 2, span: 2}]\n',
              'rusticl': 'drivers: {environment: {RUSTICL_ENABLE: llvmpipe}}\n'}.get(mode, '')
    if lost:
        drivers = drivers | harness.faults_stay()
    config += 'workers: {jail: off}\n' if 'address' in harness.SANITIZERS else ''  # LeakSanitizer cannot look into a jailed worker
    config += 'limits: {stop_ms: 60000, worker_wait_ms: 60000}\n' if harness.SANITIZED else ''
    config += harness.listen(folder) if mode in ('remote', 'cut') else ''
    if mode == 'certificate':
        site = certificates.Authority(folder)
        site.sign('alice')
        config += certificates.listen(folder, site.server())
    with open(os.path.join(folder, 'daemons.h'), 'w', encoding='utf-8'):
        pass  # in the daemon's working directory, where no build of a program's looks
    daemon = harness.Daemon(folder, f'cache: {{dir: {folder}/cache}}\n' + config, environment=drivers,
                            arguments=['--log', 'debug', *(['--plain-tcp', '127.0.0.1:0'] if mode == 'plain' else [])])
    environment = daemon.program_environment()
    environment.pop('OPENCL_LAYERS', None)
    if mode == 'remote':
        environment |= {'PENSTOCK_POOL': daemon.tenant('alice'), 'PENSTOCK_SOCKET': os.devnull}
    if mode in ('cut', 'certificate'):
        chance = harness.seeded()
        longest = 0.2 if mode == 'cut' else 0.4  # a certificate is shown anew each time
        longest *= 2 if harness.SANITIZED else 1
        # They live longer and longer: a busy machine may need that to open the session, or to go on with it in its window.
        lives = itertools.count()
        proxy = harness.Proxy(daemon.address(), lambda: chance.uniform(0, longest * (1 + next(lives) / 8)), chance)
        pool = site.pool(daemon.address(), 'alice') if mode == 'certificate' else daemon.tenant('alice')
        environment |= {'PENSTOCK_POOL': pool.replace(daemon.address(), proxy.address), 'PENSTOCK_SOCKET': os.devnull}
    if mode == 'plain':
        environment |= {'PENSTOCK_POOL': 'tcp://' + daemon.wait_log(r'listens without protection at (\S+)'),
                        'PENSTOCK_SOCKET': os.devnull}
    log = os.path.join(folder, 'session.log')
    if mode == 'record':
        environment['PENSTOCK_RECORD'] = log
    if lost:
        daemon.expect(r'is lost: .*signal 11 .*; the last kernel launched was "wild"')
    wrong = []
    try:
        status = subprocess.run(program, env=environment, check=False).returncode
        if mode in ('cut', 'certificate'):
            print(f'{proxy.cuts} connections were broken', file=sys.stderr)
        if mode in ('cut', 'certificate') and proxy.cuts < 1:
            wrong = ['that is no test']
        if mode == 'record' and status == 0:
            harness.wait_for(lambda: json.loads(daemon.run(harness.PENSTOCK, 'ps', '--json').stdout) == [], what='the logs')
            wrong = dump(daemon, log)
            if quiet:
                wrong += disturb(daemon, log)
            if lost:
                wrong += replay_lost(daemon, log)
                log += '.1'
                wrong += dump(daemon, log)
            wrong += replay(daemon, log) + draw(daemon, log)
    finally:
        daemon.stop()
        sys.stderr.write(daemon.log())
    return wrong + daemon.complaints(), status


def natively(command, environment):
    """The exit status. PoCL 3.1 can crash of itself: its threads touch events of contexts that were released a moment before
    (POclReleaseEvent). What is tested here is the program, so that such a death counts only when it comes three times."""
    for _ in range(3):
        status = subprocess.run(command, env=dict(os.environ, **environment), check=False).returncode
        if status not in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
            break
        print(f'natively: ended by {signal.Signals(-status).name}', file=sys.stderr)
    return status


def main(*words):
    parser = argparse.ArgumentParser()
    for option in ('--lost', '--quiet'):
        parser.add_argument(option, action='store_true')
    parser.add_argument('--layer')
    parser.add_argument('mode')
    parser.add_argument('program')
    parser.add_argument('arguments', nargs=argparse.REMAINDER)
    given = parser.parse_args(words)
    driver = RUSTICL if given.mode == 'rusticl' else POCL
    drivers = {'OCL_ICD_VENDORS': driver} | ({'OPENCL_LAYERS': os.path.abspath(given.layer)} if given.layer else {})
    if not os.path.exists(driver):
        return 77
    with tempfile.TemporaryDirectory(prefix='penstock-test-') as folder:
        if given.mode == 'native':
            return natively([given.program, 'Portable', *given.arguments], drivers | {'POCL_CACHE_DIR': os.path.join(folder, 'pocl')})
        wrong, status = through_penstock(given.mode, given.lost, given.quiet, [given.program, 'Penstock', *given.arguments], folder,
                                         drivers)
        for sentence in wrong:
            print('wrong:', sentence, file=sys.stderr)
        return status or bool(wrong)


if __name__ == '__main__':
    code = main(*sys.argv[1:])
    sys.exit(code if code >= 0 else 128 - code)
