#!/usr/bin/python3
"""Random programs (cl_random.c) through Penstock, beside a model of what they do: the same bytes, the same order.

The pools: the fake device, alone and 2 and 4 as one that spans them, in the host's memory and with memory of their own, of
one driver and of several, with commands that take random times and overtake each other; PoCL in two parts; PoCL, rusticl
and Oclgrind as one. Of a program that goes wrong operations are left out, as long as it still does; what remains is printed,
recorded on one device, and replayed on the pool where it went wrong. Ends with `N passed, N failed`: programs."""
import argparse
import concurrent.futures
import itertools
import json
import os
import re
import shutil
import sys
import tempfile
import threading

import harness

PROGRAM = os.environ.get('PENSTOCK_RANDOM', os.path.join(harness.BUILD, 'tests/scenario/cl_random'))
LIBRARIES = {'pocl': 'libpocl.so.2', 'rusticl': 'libRusticlOpenCL.so.1', 'oclgrind': '/usr/lib/oclgrind/liboclgrind-rt-icd.so'}
BATCH = 125  # programs a daemon
REPEATS = 100  # of a program that is to go wrong: what it needs is a moment


class Pool:
    """Devices, and what of them makes the pool on which a log of it is recorded that is right."""

    def __init__(self, name, config, environment, alone, drivers=()):
        self.name, self.config, self.environment, self.alone, self.drivers = name, config, environment, alone, drivers

    def fake(self):
        return not self.drivers


def fake(span, domains=1, lazy=False, memory=''):
    """domains: 0: one, which is not in the host's memory; several are not, either. memory: bytes of each; '': enough."""
    environment = {'PENSTOCK_FAKE_DEVICES': str(span), 'PENSTOCK_FAKE_DOMAINS': str(domains or 1),
                   'PENSTOCK_FAKE_INDIRECT': str(int(domains != 1)), 'PENSTOCK_FAKE_LAZY': str(int(lazy)), 'PENSTOCK_FAKE_MEMORY': str(memory)}
    name = f'fake-{span}' + {0: '-indirect', 1: ''}.get(domains, f'-of-{domains}') + ('-lazy' if lazy else '') + ('-small' if memory else '')
    spans = f'devices: [{{match: "*", span: {span}}}]\n' if span > 1 else ''
    return Pool(name, f'backend: fake\n{spans}', environment, 'backend: fake\n')


def pools():
    small = 8192  # the two largest buffers that a command can have
    fakes = [fake(*each) for each in ((1,), (1, 0, True), (2,), (2, 2), (2, 0, True), (4,), (4, 4), (4, 2, True),
                                      (2, 2, False, small), (3, 0, False, small))]
    mixed = 'drivers: {environment: {RUSTICL_ENABLE: llvmpipe}}\ndevices: [{match: "*", span: 3}]\n'
    return fakes + [Pool('pocl', 'devices: [{match: "*", parts: 2, span: 2}]\n', {}, '', ('pocl',)),
                    Pool('mixed', mixed, {}, 'devices: [{match: "Portable*"}]\n', ('pocl', 'rusticl', 'oclgrind'))]


class Site:
    """Where daemons are started: a folder, and the drivers' list in it."""

    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count()

    def vendors(self, drivers):
        folder = os.path.join(self.folder, 'vendors-' + '-'.join(drivers))
        os.makedirs(folder, exist_ok=True)
        for name in drivers:
            with open(os.path.join(folder, name + '.icd'), 'w', encoding='ascii') as file:
                file.write(LIBRARIES[name] + '\n')
        return folder

    def environment(self, pool, seed):
        inherited = {name: value for name, value in os.environ.items() if name.startswith('PENSTOCK_FAKE_')}
        fakes = inherited | pool.environment | {'PENSTOCK_FAKE_SEED': str(seed)}
        return fakes if pool.fake() else {'OCL_ICD_VENDORS': self.vendors(pool.drivers),
                                              'POCL_CACHE_DIR': os.path.join(self.folder, 'pocl')}

    def daemon(self, config, environment):
        folder = os.path.join(self.folder, f'daemon{next(self.numbers)}')
        os.mkdir(folder, 0o700)
        config += f'cache: {{dir: {self.folder}/cache}}\n'
        config += 'workers: {jail: off}\n' if 'address' in harness.SANITIZERS else ''  # LeakSanitizer cannot look into a jailed worker
        config += 'limits: {stop_ms: 60000, worker_wait_ms: 60000}\n' if harness.SANITIZED else ''
        return harness.Daemon(folder, config, environment=environment, arguments=())


def command(pool, *arguments):
    return [PROGRAM, 'Penstock', *map(str, arguments), *(['--tame'] if not pool.fake() else [])]


def execute(daemon, pool, *arguments):
    return daemon.run(*command(pool, *arguments), timeout=3600)


class Failure:
    """A program that went wrong, and what became of it."""

    def __init__(self, pool, seed, operations, said):
        self.pool, self.seed, self.operations, self.said = pool, seed, operations, said
        self.left = None  # operations that it takes to go wrong; None: it did not do so again
        self.text = ''
        self.log = None
        self.differed = 0  # of REPLAYS

    def as_json(self):
        return {'pool': self.pool.name, 'seed': self.seed, 'said': self.said, 'text': self.text,
                'operations': self.left and len(self.left), 'log': self.log,
                'replays_that_differ': self.differed}


# ---- running -------------------------------------------------------------------------------------------------


def run_batch(site, pool, first, count):
    """(programs that were right, the Failure or None)"""
    daemon = site.daemon(pool.config, site.environment(pool, first))
    try:
        done = execute(daemon, pool, '--seed', first, '--count', count)
        if done.returncode:
            last = execute(daemon, pool, '--seed', first, '--count', count, '--verbose') if 'seed' not in done.stdout else done
            found = re.findall(r'^seed (\d+)(?:: \w+, with (\d+) operations)?', last.stdout, re.MULTILINE)
            seed, operations = found[-1] if found else (first, 0)
            said = done.stdout + done.stderr + (f'ended with {done.returncode}\n' if done.returncode != 1 else '')
            return int(seed) - first, Failure(pool, int(seed), int(operations or 0), said)
    finally:
        daemon.stop()
    if daemon.complaints():
        return 0, Failure(pool, first, 0, daemon.log())
    shutil.rmtree(daemon.folder, ignore_errors=True)
    return count, None


def batches(chosen, seed, count):
    """(pool, first seed, how many): the pools take turns."""
    turn = itertools.cycle(chosen)
    size = max(1, min(BATCH, -(-count // len(chosen))))
    for first in range(0, count, size):
        yield next(turn), seed + first, min(size, count - first)


def run_all(site, work, jobs, progress):
    """Programs that were right, failures; as far as it came when it was interrupted."""
    right, failures, waiting = 0, [], iter(work)
    with concurrent.futures.ThreadPoolExecutor(jobs) as executor:
        running = {executor.submit(run_batch, site, *each) for each in itertools.islice(waiting, jobs)}
        try:
            while running:
                done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for each in done:
                    passed, failure = each.result()
                    right += passed
                    failures += [failure] if failure else []
                running |= {executor.submit(run_batch, site, *each) for each in itertools.islice(waiting, len(done))}
                progress(right, len(failures))
        except KeyboardInterrupt:
            return right, failures, True
    return right, failures, False


# ---- shrinking -----------------------------------------------------------------------------------------------


def only(operations):
    """[0, 1, 2, 5] -> "0-2,5-5" """
    runs = []
    for each in operations:
        if runs and runs[-1][1] == each - 1:
            runs[-1][1] = each
        else:
            runs.append([each, each])
    return ','.join(f'{first}-{last}' for first, last in runs)


def shrink(operations, fails):
    """What remains when as much as possible has been left out, first in large pieces (Zeller and Hildebrandt, IEEE TSE 28(2),
    2002), so that it still fails and no single one can be left out."""
    size = len(operations)
    while size:
        size = max(1, size // 2)
        before = len(operations)
        at = 0
        while at < len(operations) and len(operations) > 1:
            rest = operations[:at] + operations[at + size:]
            if rest and fails(rest):
                operations = rest
            else:
                at += size
        if size == 1 and len(operations) == before:
            return operations
    return operations


def reduce_failure(site, failure, seed):
    """Says what it takes for the failure."""
    pool = failure.pool
    daemon = site.daemon(pool.config, site.environment(pool, seed))
    which = ['--seed', failure.seed, '--operations', failure.operations]
    how = [*which, '--repeat', REPEATS, '--patience', 20 * harness.SLOW]
    try:
        if failure.operations and execute(daemon, pool, *how).returncode:
            failure.left = shrink(list(range(failure.operations)),
                                  lambda operations: execute(daemon, pool, *how, '--only', only(operations)).returncode != 0)
            failure.text = execute(daemon, pool, *how, '--only', only(failure.left), '--verbose').stdout
            record(site, failure, which, daemon)
    finally:
        daemon.stop()


REPLAYS = 20


def record(site, failure, which, daemon):
    """A log of it where it is right, which the pool's daemon then replays."""
    right = site.daemon(failure.pool.alone, site.environment(failure.pool, 0) | {'PENSTOCK_FAKE_DEAF': '0', 'PENSTOCK_FAKE_MEMORY': ''})
    log = os.path.join(site.folder, f'seed-{failure.seed}.log')
    try:
        done = right.run(harness.PENSTOCK, 'log', 'record', log, '--', *command(failure.pool, *which, '--only', only(failure.left)))
        if done.returncode:
            failure.said += f'recorded on one device: {done.stdout}{done.stderr}'
            return
    finally:
        right.stop()
    failure.log = log
    for _ in range(REPLAYS):
        failure.differed += daemon.run(harness.PENSTOCK, 'log', 'replay', log).returncode != 0


def explain(site, failure):
    print(f'\n{failure.pool.name}: {failure.said}'.rstrip())
    if failure.left is None:
        print('it does not go wrong again by itself')
        return
    print(f'{len(failure.left)} of {failure.operations} operations will do:\n{failure.text}'.rstrip())
    config = os.path.join(site.folder, f'{failure.pool.name}.yaml')
    with open(config, 'w', encoding='utf-8') as file:
        file.write(failure.pool.config)
    variables = ' '.join(f'{name}={value}' for name, value in site.environment(failure.pool, failure.seed).items())
    run = f'{variables} {harness.PENSTOCK} run --private --config {config} --'
    again = command(failure.pool, '--seed', failure.seed, '--operations', failure.operations, '--only', only(failure.left), '--repeat', REPEATS)
    print(f'again: {run} {" ".join(again)}')
    if failure.log:
        print(f'the log, recorded on one device, differs in {failure.differed} of {REPLAYS} replays:\n'
              f'    {run} {harness.PENSTOCK} log replay {failure.log}')


# ---- the command line ----------------------------------------------------------------------------------------


def main():
    known = {pool.name: pool for pool in pools()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pool', action='append', metavar='NAME', help=f'one of {", ".join(known)}; fake: all those (default: fake)')
    parser.add_argument('--count', type=int, default=1000, help='programs, of all pools together (default: 1000)')
    parser.add_argument('--seed', type=int, default=1, help="the first program's (default: 1)")
    parser.add_argument('--jobs', type=int, default=1, help='pools at a time (default: 1)')
    parser.add_argument('--json', action='store_true', help='what came of it as one JSON object')
    options = parser.parse_args()
    names = [name for asked in options.pool or ['fake'] for name in ([n for n in known if n.startswith('fake')] if asked == 'fake' else [asked])]
    if unknown := [name for name in names if name not in known]:
        parser.error(f'--pool {unknown[0]}: there are fake, {", ".join(known)}')
    site = Site(tempfile.mkdtemp(prefix='penstock-random-'))

    def progress(right, wrong):
        if sys.stderr.isatty():
            print(f'\r{right} of {options.count} programs, {wrong} wrong', end='', file=sys.stderr, flush=True)

    work = batches([known[name] for name in names], options.seed, options.count)
    right, failures, interrupted = run_all(site, work, options.jobs, progress)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for failure in failures:
        reduce_failure(site, failure, failure.seed)
    if options.json:
        print(json.dumps({'programs': right, 'interrupted': interrupted, 'failures': [each.as_json() for each in failures]}, indent=2))
    else:
        for failure in failures:
            explain(site, failure)
        print(f'{right} passed, {len(failures)} failed')
    if not failures:
        shutil.rmtree(site.folder, ignore_errors=True)
    return 130 if interrupted else 1 if failures or not right else 0


if __name__ == '__main__':
    sys.exit(main())
