#!/usr/bin/python3
"""Runs an ordinary OpenCL program, and says what it says.

    run_program.py native|one|two|record|remote PROGRAM [ARGUMENT]...

native: on PoCL itself. one, two: through Penstock, on PoCL's device as a whole or cut in parts of one core. record: on
one, with the session recorded, so that all contents pass through the worker; the log must then be readable, and its
replay must read what the program has read. remote: on one, over TCP. The program is given a part of the platform's name as its first argument."""
import json
import os
import subprocess
import sys
import tempfile

import harness

POCL = '/etc/OpenCL/vendors/pocl.icd'


def main(mode, program, *arguments):
    if not os.path.exists(POCL):
        return 77
    with tempfile.TemporaryDirectory(prefix='penstock-test-') as folder:
        drivers = {'OCL_ICD_VENDORS': POCL, 'POCL_CACHE_DIR': os.path.join(folder, 'pocl')}
        if mode == 'native':
            return subprocess.run([program, 'Portable', *arguments], env=dict(os.environ, **drivers), check=False).returncode
        parts = 'devices: [{match: "*", compute_units: 1}]\n' if mode == 'two' else ''
        options = ['--log', 'debug'] + (['--plain-tcp', '127.0.0.1:0'] if mode == 'remote' else [])
        daemon = harness.Daemon(folder, f'cache: {{dir: {folder}/cache}}\n' + parts, environment=drivers, arguments=options)
        try:
            environment = daemon.program_environment()
            if mode == 'remote':
                environment['PENSTOCK_POOL'] = 'tcp://' + daemon.wait_log(r'listens without protection at (\S+)')
                environment['PENSTOCK_SOCKET'] = os.devnull
            log = os.path.join(folder, 'session.log')
            if mode == 'record':
                environment['PENSTOCK_RECORD'] = log
            status = subprocess.run([program, 'Penstock', *arguments], env=environment, check=False).returncode
            if mode == 'record' and status == 0:
                dump = daemon.run(harness.PENSTOCK, 'log', 'dump', log, '--json')
                lines = [json.loads(line) for line in dump.stdout.splitlines()]
                if dump.returncode or dump.stderr or len(lines) < 10:
                    print('log dump:', dump.returncode, dump.stderr, len(lines), 'lines', file=sys.stderr)
                    status = 1
                # One ends with a kernel that faults, and so would its replay.
                elif not any(line.get('name') == 'wild' for line in lines):
                    replay = daemon.run(harness.PENSTOCK, 'log', 'replay', log, timeout=100)
                    print('log replay:', replay.stdout, replay.stderr, file=sys.stderr)
                    status = replay.returncode
            return status
        finally:
            if daemon.process.poll() is not None:
                print('penstockd ended:', daemon.process.returncode, file=sys.stderr)
            daemon.stop()
            sys.stderr.write(daemon.log())


if __name__ == '__main__':
    code = main(*sys.argv[1:])
    sys.exit(code if code >= 0 else 128 - code)
